//! The store of one shard: open, lease, fill, forget, make room.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    ops::Deref,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue};

use super::{
    Key,
    eviction::{Candidate, victims},
};
use crate::{
    runtime::{self, event::Event},
    storage::{Failure, Generation, ObjectId, StreamingResource, VolumeIndex, Volumes},
};

/// What a store is told by the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long a resource is taken for unchanged at its origin.
    pub media_ttl: Duration,
    /// The longest resource, in bytes: what is longer, or does not end, is no file.
    pub object_bytes: u64,
}

impl Default for Options {
    /// Media seldom changes; ten minutes bound how long a replaced file lives on. Four
    /// gibibytes are six hours of uncompressed stereo.
    fn default() -> Self {
        Self { media_ttl: Duration::from_secs(600), object_bytes: 4 << 30 }
    }
}

/// Counters of one store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Opens of a resource that was complete.
    pub hits: u64,
    /// Opens of one that was not, but for which a fill ran or bytes were there.
    pub partial_hits: u64,
    /// Opens of one of which nothing was there.
    pub misses: u64,
    /// Resources evicted to make room.
    pub evicted: u64,
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

/// Who watches a store.
type Observer = Box<dyn Fn(&Key, News<'_>)>;

/// What the origin said about a resource when its generation began.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// The end-to-end fields of the answer.
    pub fields: HeaderMap,
    /// A strong `ETag`, where the origin gave one.
    pub etag: Option<HeaderValue>,
}

/// One generation of one resource.
pub struct Asset {
    /// What it is the resource of.
    pub key: Key,
    /// Which version of it.
    pub generation: Generation,
    /// Its bytes.
    pub resource: Rc<StreamingResource>,
    /// Told when the last lease is dropped.
    pub deserted: Event,
    head: OnceCell<Head>,
    born: Instant,
    opened: Cell<u64>,
    leases: Cell<usize>,
    filling: Cell<bool>,
    /// The table that holds it, until it is forgotten.
    held_in: Weak<Assets>,
}

/// The present generations of a shard.
type Assets = RefCell<HashMap<ObjectId, Rc<Asset>>>;

impl Asset {
    /// What the origin said, once it said something.
    pub fn head(&self) -> Option<&Head> {
        self.head.get()
    }

    /// Notes what the origin said. The first word of a generation counts.
    pub fn set_head(&self, head: Head) {
        let _ = self.head.set(head);
    }

    /// Whether somebody reads it now.
    pub fn is_leased(&self) -> bool {
        self.leases.get() > 0
    }

    /// Its next open begins a new generation.
    fn forget(&self) {
        let Some(assets) = self.held_in.upgrade() else { return };
        let mut assets = assets.borrow_mut();
        let is_present =
            assets.get(&self.key.id).is_some_and(|held| held.generation == self.generation);
        let forgotten = is_present.then(|| assets.remove(&self.key.id));
        drop(assets);
        // Its blocks are given back outside of the borrow.
        drop(forgotten);
    }

    /// A lease or the permit is gone. What no disk holds would take memory for ever, since nothing
    /// evicts it: it goes with its last user.
    fn let_go(&self) {
        if !self.is_leased() && !self.filling.get() && !self.resource.is_cached() {
            self.forget();
        }
    }
}

/// The right to read a generation: while one lives, the generation is not evicted.
pub struct Lease(Rc<Asset>);

impl Lease {
    fn new(asset: &Rc<Asset>) -> Self {
        asset.leases.set(asset.leases.get() + 1);
        Lease(Rc::clone(asset))
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Lease::new(&self.0)
    }
}

impl Deref for Lease {
    type Target = Asset;

    fn deref(&self) -> &Asset {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let left = self.0.leases.get() - 1;
        self.0.leases.set(left);
        if left == 0 {
            self.0.deserted.notify_all();
            self.0.let_go();
        }
    }
}

/// The right, and the duty, to fill a generation. One exists at most; dropping it gives it up.
pub struct FillPermit(Rc<Asset>);

impl Deref for FillPermit {
    type Target = Rc<Asset>;

    fn deref(&self) -> &Rc<Asset> {
        &self.0
    }
}

impl Drop for FillPermit {
    fn drop(&mut self) {
        self.0.filling.set(false);
        self.0.let_go();
    }
}

/// The cache of one shard.
pub struct AssetStore {
    options: Options,
    volumes: Volumes,
    assets: Rc<Assets>,
    opens: Cell<u64>,
    stats: Cell<Stats>,
    observer: OnceCell<Observer>,
}

impl AssetStore {
    /// A store over `volumes`.
    pub fn new(options: Options, volumes: Volumes) -> Self {
        Self {
            options,
            volumes,
            assets: Rc::default(),
            opens: Cell::new(0),
            stats: Cell::default(),
            observer: OnceCell::new(),
        }
    }

    /// The longest resource, in bytes.
    pub fn object_bytes(&self) -> u64 {
        self.options.object_bytes
    }

    /// The volumes under this store.
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// From now on `observer` hears what happens to the resources. The first one stays.
    pub fn observe(&self, observer: impl Fn(&Key, News<'_>) + 'static) {
        let _ = self.observer.set(Box::new(observer));
    }

    /// Something happened to the resource of this key.
    pub fn tell(&self, key: &Key, news: News<'_>) {
        if let Some(observer) = self.observer.get() {
            observer(key, news);
        }
    }

    /// Opens the present generation of `key`, or begins one.
    ///
    /// The permit comes with it when the resource is not complete and nobody fills it: whoever gets
    /// it must fetch what readers demand, or fail the resource and [`forget`](Self::forget) it.
    pub fn open(&self, key: &Key) -> (Lease, Option<FillPermit>) {
        let asset = self.current(key);
        self.opens.set(self.opens.get() + 1);
        asset.opened.set(self.opens.get());
        self.count(&asset);
        let lease = Lease::new(&asset);
        let wants_fill = !asset.resource.is_complete() && !asset.filling.replace(true);
        (lease, wants_fill.then(|| FillPermit(asset)))
    }

    /// Takes a generation out of the store: its next open begins a new one. Its readers keep it.
    pub fn forget(&self, asset: &Asset) {
        asset.forget();
    }

    /// Evicts what was not opened for longest until `bytes` more fit into the volume of `asset`, or
    /// until nothing is left that may go.
    pub fn make_room(&self, asset: &Asset, bytes: u64) {
        let volume = self.volumes.of(asset.key.id);
        let Some((free_bytes, _)) = self.volumes.bytes_of(volume) else { return };
        let missing_bytes = bytes.saturating_sub(free_bytes);
        if missing_bytes == 0 {
            return;
        }
        for victim in victims(self.evictable(volume), missing_bytes) {
            tracing::debug!(url = %victim.key.url, "evicted");
            self.forget(&victim);
            self.update(|stats| stats.evicted += 1);
            self.tell(&victim.key, News::Evicted);
        }
    }

    /// Resources held, complete or not.
    pub fn len(&self) -> usize {
        self.assets.borrow().len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The counters as they are now.
    pub fn stats(&self) -> Stats {
        self.stats.get()
    }

    fn evictable(&self, volume: VolumeIndex) -> Vec<Candidate<Rc<Asset>>> {
        let free = |asset: &&Rc<Asset>| {
            !asset.is_leased() && !asset.filling.get() && self.volumes.of(asset.key.id) == volume
        };
        let candidate = |asset: &Rc<Asset>| Candidate {
            opened: asset.opened.get(),
            bytes: asset.resource.stored_bytes(),
            name: Rc::clone(asset),
        };
        self.assets.borrow().values().filter(free).map(candidate).collect()
    }

    fn current(&self, key: &Key) -> Rc<Asset> {
        let mut assets = self.assets.borrow_mut();
        if let Some(asset) = assets.get(&key.id)
            && (asset.filling.get() || asset.born.elapsed() < self.options.media_ttl)
        {
            return Rc::clone(asset);
        }
        let asset = Rc::new(self.begin(key));
        assets.insert(key.id, Rc::clone(&asset));
        asset
    }

    fn begin(&self, key: &Key) -> Asset {
        let generation = Generation::random();
        let resource = self.volumes.create(key.id, generation);
        Asset {
            key: key.clone(),
            generation,
            resource,
            deserted: Event::new(),
            head: OnceCell::new(),
            born: runtime::now(),
            opened: Cell::new(0),
            leases: Cell::new(0),
            filling: Cell::new(false),
            held_in: Rc::downgrade(&self.assets),
        }
    }

    fn count(&self, asset: &Asset) {
        self.update(|stats| {
            if asset.resource.is_complete() {
                stats.hits += 1;
            } else if asset.filling.get() || asset.head().is_some() {
                stats.partial_hits += 1;
            } else {
                stats.misses += 1;
            }
        });
    }

    fn update(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bufpool::{self, BufPool},
        storage::{CHUNK_BYTES, Disk, Sim, turns::Turns},
    };

    const CAPACITY: u64 = 4 << 20;

    fn pool() -> BufPool {
        BufPool::new(bufpool::Options { budget_bytes: 8 << 20 })
    }

    fn store() -> AssetStore {
        let volumes = Volumes::on(vec![Disk::Sim(Sim::default())], CAPACITY, pool());
        AssetStore::new(Options::default(), volumes)
    }

    fn key(number: u32) -> Key {
        Key::of_library("music", &format!("{number}.flac"))
    }

    /// Fills a resource with `chunks` chunks, all it has.
    fn fill(lease: &Lease, chunks: u64) {
        let resource = Rc::clone(&lease.resource);
        let mut turns = Turns::default();
        turns.spawn(async move {
            resource.set_length(chunks * CHUNK_BYTES).unwrap();
            let bytes = vec![7; (chunks * CHUNK_BYTES) as usize];
            resource.write_at(0, &bytes).await.unwrap();
            resource.flush().await;
            resource.commit().unwrap();
        });
        turns.run();
        assert!(lease.resource.is_complete());
    }

    #[test]
    fn of_two_opens_one_gets_the_permit_and_both_the_same_bytes() {
        let store = store();
        let (first, permit) = store.open(&key(1));
        let (second, none) = store.open(&key(1));
        assert!(permit.is_some() && none.is_none());
        assert_eq!(first.generation, second.generation);
        drop(permit);
        let (_third, again) = store.open(&key(1));
        assert!(again.is_some(), "a permit that was given up is not given again");
        fill(&first, 1);
        drop(again);
        assert!(store.open(&key(1)).1.is_none(), "nothing is left to fill");
        let Stats { hits, partial_hits, misses, .. } = store.stats();
        assert_eq!((hits, partial_hits, misses), (1, 1, 2));
    }

    #[test]
    fn leases_are_counted_and_the_last_one_tells() {
        let store = store();
        let (first, _permit) = store.open(&key(1));
        let second = first.clone();
        let asset = Rc::clone(&first.0);
        let mut turns = Turns::default();
        let told = turns.spawn(asset.deserted.listen());
        drop(first);
        turns.run();
        assert!(asset.is_leased() && !turns.is_done(told));
        drop(second);
        turns.run();
        assert!(!asset.is_leased() && turns.is_done(told));
    }

    #[test]
    fn room_is_made_of_the_oldest_that_is_neither_read_nor_filled() {
        let store = store();
        let left = Rc::new(RefCell::new(Vec::new()));
        let observer = Rc::clone(&left);
        store.observe(move |key, news| match news {
            News::Evicted => observer.borrow_mut().push(key.clone()),
            other => panic!("{other:?}"),
        });
        // Half the volume: four resources of an eighth.
        let opened: Vec<_> = (0..4).map(|number| store.open(&key(number))).collect();
        opened.iter().for_each(|(lease, _)| fill(lease, 8));
        let generation: Vec<_> = opened.iter().map(|(lease, _)| lease.generation).collect();
        let mut opened = opened.into_iter();
        let (read, _) = opened.next().unwrap();
        let (_, filled) = opened.next().unwrap();
        assert!(filled.is_some());
        drop(opened);
        let (new, _permit) = store.open(&key(9));
        store.make_room(&new, CAPACITY / 2 + 1);
        assert_eq!(store.stats().evicted, 1);
        let is_held = |number: u32| {
            let assets = store.assets.borrow();
            assets.get(&key(number).id).is_some_and(|a| a.generation == generation[number as usize])
        };
        assert_eq!([0, 1, 2, 3].map(is_held), [true, true, false, true]);
        store.make_room(&new, CAPACITY);
        assert_eq!([0, 1, 2, 3].map(is_held), [true, true, false, false]);
        assert_eq!(*left.borrow(), [key(2), key(3)]);
        let free = store.volumes.free_bytes();
        assert_eq!(free, CAPACITY - 16 * CHUNK_BYTES, "evicted blocks are free at once");
        assert_eq!(read.resource.present_bytes(), 8 * CHUNK_BYTES);
    }

    #[test]
    fn what_no_disk_holds_goes_with_its_last_user() {
        let pool = pool();
        let store = AssetStore::new(Options::default(), Volumes::off(4, 1, pool.clone()));
        for number in 0..100 {
            let (lease, permit) = store.open(&key(number));
            fill(&lease, 4);
            drop(permit);
            assert_eq!(store.len(), 1);
        }
        assert_eq!((store.len(), pool.stats().used_bytes), (0, 0));
        let (lease, permit) = store.open(&key(1));
        drop(lease);
        assert_eq!(store.len(), 1, "a fill still uses it");
        drop(permit);
        assert!(store.is_empty());
    }

    #[test]
    fn a_forgotten_generation_is_read_on_and_not_opened_again() {
        let store = store();
        let (old, _) = store.open(&key(1));
        fill(&old, 1);
        store.forget(&old);
        let (new, permit) = store.open(&key(1));
        assert!(permit.is_some() && new.generation != old.generation);
        store.forget(&old);
        assert_eq!(store.open(&key(1)).0.generation, new.generation);
        assert_eq!(old.resource.present_bytes(), CHUNK_BYTES);
    }
}
