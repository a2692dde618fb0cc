//! The store of one shard: open, lease, fill, forget; `room` evicts, `tending` is the operator's.
//!
//! A generation is in one of two states. While somebody holds it, it is an [`Asset`] with its
//! resource (`asset`); at rest it is an entry in the catalog of its volume, which outlives the process. The
//! last holder that lets go puts it to rest, and what no disk holds is gone with it.

mod asset;
mod derived;
mod kin;
mod question;
mod room;
pub(super) mod tending;
#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::{Rc, Weak},
    time::{Duration, Instant, SystemTime},
};

pub use asset::{Asset, FillPermit, Lease};
pub use question::Question;

use super::{
    Head, Key, Pace,
    freshness::{self, Use},
};
use crate::{
    bufpool::{Charge, Exhausted},
    runtime::{self, event::Event},
    storage::{
        self, Failure, Generation, KEEP_BYTES, LAST_SECOND, ObjectId, Said, StreamingResource,
        VolumeIndex, Volumes,
        policy::{Kind, Policy},
    },
};

/// What a store is told by the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long a resource is taken for unchanged at its origin, which says nothing of that.
    pub media_ttl: Duration,
    /// The longest resource, in bytes: what is longer, or does not end, is no file.
    pub object_bytes: u64,
    /// What leaves a full volume.
    pub policy: Kind,
}

impl Default for Options {
    /// Media seldom changes; ten minutes bound how long a replaced file lives on. Four
    /// gibibytes are six hours of uncompressed stereo.
    fn default() -> Self {
        let media_ttl = Duration::from_secs(600);
        Self { media_ttl, object_bytes: 4 << 30, policy: Kind::S3Fifo }
    }
}

/// Counters of one store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Opens of a resource that was complete.
    pub hits: u64,
    /// Opens of one that was not, but that was begun.
    pub partial_hits: u64,
    /// Generations begun, shared or not.
    pub misses: u64,
    /// Resources evicted to make room, by the start too.
    pub evicted: u64,
    /// Those of them that left because the catalog has its share of memory: there may have been room on disk.
    pub evicted_for_memory: u64,
    /// Those of them that left because the journal of their volume holds no more: as before.
    pub evicted_for_journal: u64,
}

/// What happens to a resource, for who watches the store.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// Its fetching began.
    FillBegun,
    /// Its fetching ended: it is complete, or nobody wants the rest.
    FillEnded {
        /// Bytes that were fetched.
        bytes: u64,
    },
    /// Its fetching failed for everybody who waited.
    FillFailed(&'a Failure),
    /// It left to make room.
    Evicted,
}

/// Who watches a store. It hears the URL of a resource, or its id where only that is known.
type Observer = Box<dyn Fn(&str, News<'_>)>;

/// What the generations of a store tell when they go.
struct Held {
    volumes: Volumes,
    assets: RefCell<HashMap<u128, Weak<Asset>>>,
    asked: RefCell<question::Asked>,
    policies: RefCell<BTreeMap<VolumeIndex, Policy>>,
    /// Volumes in which no one that the policy set aside may go: all were asked, and who may go since was
    /// let go. Thousands may be pinned, and a full volume looks for a victim with each chunk.
    stuck: RefCell<BTreeSet<VolumeIndex>>,
    /// What of the shard's memory the policies take, and what of that is counted in its budget: whole
    /// [`COUNTED_BYTES`].
    policy_bytes: Cell<usize>,
    counted: RefCell<Option<Charge>>,
    stats: Cell<Stats>,
    observer: OnceCell<Observer>,
}

impl Held {
    fn present(&self, id: u128) -> Option<Rc<Asset>> {
        self.assets.borrow().get(&id).and_then(Weak::upgrade)
    }

    /// The policy of the volume that an object lives in, where this shard has it.
    fn policy<T>(&self, id: ObjectId, ask: impl FnOnce(&mut Policy) -> T) -> Option<T> {
        self.policy_of(self.volumes.of(id), ask)
    }

    fn policy_of<T>(&self, volume: VolumeIndex, ask: impl FnOnce(&mut Policy) -> T) -> Option<T> {
        let mut policies = self.policies.borrow_mut();
        let policy = policies.get_mut(&volume)?;
        let before = policy.memory_bytes();
        let answer = ask(policy);
        let after = policy.memory_bytes();
        drop(policies);
        if before != after {
            self.count_policies(self.policy_bytes.get() - before + after);
        }
        Some(answer)
    }

    fn update(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    fn tell(&self, url: &str, news: News<'_>) {
        if let Some(observer) = self.observer.get() {
            observer(url, news);
        }
    }

    fn count_policies(&self, bytes: usize) {
        let before = self.policy_bytes.replace(bytes);
        if before / COUNTED_BYTES != bytes / COUNTED_BYTES
            && let Some(charge) = &mut *self.counted.borrow_mut()
        {
            charge.set(bytes - bytes % COUNTED_BYTES);
        }
    }
}

/// The cache of one shard.
pub struct AssetStore {
    options: Options,
    held: Rc<Held>,
    /// When the policies were last kept for the next start, and whether they changed since.
    remembered: Cell<Option<Instant>>,
    is_touched: Cell<bool>,
    /// Those that are still to be kept of all that are kept now.
    to_remember: RefCell<Vec<VolumeIndex>>,
}

impl AssetStore {
    /// A store over `volumes`, with what lies in them.
    pub fn new(options: Options, volumes: Volumes) -> Self {
        let policy = |volume| {
            let objects = volumes.objects(volume);
            let objects = objects.into_iter().map(|object| (object.id, object.stored_bytes));
            let (free, used) = volumes.bytes_of(volume).unwrap_or_default();
            let snapshot = volumes.remembered(volume);
            (volume, Policy::restore(options.policy, free + used, &snapshot, objects))
        };
        let policies: BTreeMap<_, _> = volumes.own().map(policy).collect();
        let bytes = policies.values().map(Policy::memory_bytes).sum();
        let counted = RefCell::new(volumes.pool().charge(0).ok());
        let policies = RefCell::new(policies);
        let (assets, asked, stuck, policy_bytes, observer) = Default::default();
        let storage::Stats { unplaced, unplaced_for_memory, .. } = volumes.stats();
        let stats = Stats {
            evicted: unplaced,
            evicted_for_memory: unplaced_for_memory,
            ..Stats::default()
        };
        let stats = Cell::new(stats);
        let held = Held {
            volumes,
            assets,
            asked,
            policies,
            stuck,
            policy_bytes,
            counted,
            stats,
            observer,
        };
        let held = Rc::new(held);
        held.count_policies(bytes);
        let evictor = Rc::downgrade(&held);
        let evict = move |volume| evictor.upgrade().is_some_and(|held| held.evict_one(volume));
        held.volumes.evict_by(evict);
        let (remembered, is_touched, to_remember) = Default::default();
        Self { options, held, remembered, is_touched, to_remember }
    }

    /// The longest resource, in bytes.
    pub fn object_bytes(&self) -> u64 {
        self.options.object_bytes
    }

    /// What leaves a full volume.
    pub fn policy(&self) -> Kind {
        self.options.policy
    }

    /// The volumes under this store.
    pub fn volumes(&self) -> &Volumes {
        &self.held.volumes
    }

    /// From now on `observer` hears what happens to the resources. The first one stays.
    pub fn observe(&self, observer: impl Fn(&str, News<'_>) + 'static) {
        let _ = self.held.observer.set(Box::new(observer));
    }

    /// Something happened to the resource of this URL.
    pub fn tell(&self, url: &str, news: News<'_>) {
        self.held.tell(url, news);
    }

    /// How long a resource is fresh whose origin says nothing of it, in seconds.
    pub fn media_ttl(&self) -> u64 {
        self.options.media_ttl.as_secs()
    }

    /// Opens the present generation of `key`, whether it is fresh or not. Who takes it
    /// [counts](Self::count) it.
    ///
    /// # Errors
    /// [`Exhausted`] where there is no memory to read what was said of it.
    pub async fn find(&self, key: &Key) -> Result<Option<Lease>, Exhausted> {
        loop {
            let Some(asset) = self.held.present(key.id.0).or_else(|| self.wake(key)) else {
                return Ok(None);
            };
            let lease = Lease::new(&asset);
            if asset.recall().await? {
                self.touch(key);
                return Ok(Some(lease));
            }
            self.forget(&asset);
        }
    }

    /// What was found is what was asked for.
    pub fn count(&self, lease: &Lease) {
        self.held.update(|stats| {
            if lease.resource.is_complete() {
                stats.hits += 1;
            } else {
                stats.partial_hits += 1;
            }
        });
    }

    /// Begins a generation of `key` of which the origin said `head`, in place of an older one. It
    /// is to be filled: ask for its [`permit`](Self::permit).
    pub fn begin(&self, key: &Key, head: Head) -> Lease {
        self.held.present(key.id.0).into_iter().for_each(|old| self.forget(&old));
        // First, so that nobody else goes for want of its place.
        self.held.volumes.forget(key.id);
        self.held.policy(key.id, |policy| policy.remove(key.id));
        self.make_place(key.id);
        let resource = self.held.volumes.create(key.id, Generation::random());
        self.held.policy(key.id, |policy| policy.insert(key.id, 0));
        let asset = self.asset(key, resource, Rc::downgrade(&self.held));
        self.held.assets.borrow_mut().insert(key.id.0, Rc::downgrade(&asset));
        let born = unix_seconds(runtime::wall_clock());
        asset.said.set(Said { born, ..Said::default() });
        self.refresh(&asset, head);
        self.touch(key);
        self.held.update(|stats| stats.misses += 1);
        Lease::new(&asset)
    }

    /// The same for who must not share it: nothing of it comes to the disk, and nobody finds it.
    pub fn begin_alone(&self, key: &Key, head: Head) -> Lease {
        let resource = StreamingResource::in_memory(self.held.volumes.pool().clone(), KEEP_BYTES);
        let asset = self.asset(key, resource, Weak::new());
        asset.head.replace(Some(Rc::new(head)));
        self.held.update(|stats| stats.misses += 1);
        Lease::new(&asset)
    }

    /// The origin says `head` of what is here: it is the same, and fresh again.
    pub fn refresh(&self, asset: &Asset, head: Head) {
        let expires = self.expiry(&head);
        asset.set_head(head, expires);
    }

    /// Whether an operator wants it asked for before it is given again.
    pub fn is_invalidated(&self, lease: &Lease) -> bool {
        lease.is_shared() && lease.said.get().expires == tending::INVALIDATED
    }

    /// When it is stale for every use.
    fn expiry(&self, head: &Head) -> u64 {
        let lifetime = |use_| freshness::lifetime(head, use_, self.media_ttl());
        let lifetime = lifetime(Use::Original).max(lifetime(Use::Media));
        let expires = (head.answered + lifetime).saturating_sub(head.age(head.answered));
        expires.clamp(tending::INVALIDATED + 1, LAST_SECOND)
    }

    /// The right to fill a generation that is not complete and that nobody fills: whoever gets it
    /// must fetch what readers demand, or fail the resource and [`forget`](Self::forget) it.
    pub fn permit(&self, lease: &Lease) -> Option<FillPermit> {
        let wants_fill = !lease.resource.is_complete() && !lease.filling.replace(true);
        wants_fill.then(|| FillPermit(Rc::clone(&lease.0)))
    }

    /// Takes a generation out of the store: its next open begins a new one. Its readers keep it.
    pub fn forget(&self, asset: &Asset) {
        asset.forget();
    }

    /// Resources held now, complete or not.
    pub fn len(&self) -> usize {
        self.held.assets.borrow().len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The counters as they are now.
    pub fn stats(&self) -> Stats {
        self.held.stats.get()
    }

    fn touch(&self, key: &Key) {
        self.held.policy(key.id, |policy| policy.touch(key.id));
        if !self.is_touched.replace(true) {
            self.held.volumes.stir();
        }
    }

    /// A generation that rests.
    fn wake(&self, key: &Key) -> Option<Rc<Asset>> {
        let resource = self.held.volumes.find(key.id)?;
        let said = resource.said().unwrap_or_default();
        let asset = self.asset(key, resource, Rc::downgrade(&self.held));
        asset.said.set(said);
        self.held.assets.borrow_mut().insert(key.id.0, Rc::downgrade(&asset));
        Some(asset)
    }

    fn asset(&self, key: &Key, resource: Rc<StreamingResource>, held: Weak<Held>) -> Rc<Asset> {
        Rc::new(Asset {
            key: key.clone(),
            generation: match held.strong_count() {
                0 => Generation::random(),
                _ => resource.generation(),
            },
            resource,
            deserted: Event::new(),
            pace: Pace::default(),
            in_order: Cell::new(false),
            begins: Cell::new(0),
            is_without_parts: Cell::new(false),
            head: RefCell::default(),
            said: Cell::default(),
            leases: Cell::new(0),
            filling: Cell::new(false),
            held,
        })
    }
}

/// Memory is counted in such steps, so that not every object asks the pool.
const COUNTED_BYTES: usize = 64 << 10;

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
