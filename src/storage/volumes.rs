//! A shard's share of the cache directory.

pub(super) mod check;
pub(super) mod look;
mod opening;
mod shares;
#[cfg(test)]
mod tests;

pub use opening::Unopened;
pub use shares::{objects_known, queue_bytes, volumes_for};

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future;

use super::{
    Error, Generation, Kin, ObjectId, Stats,
    disk::Disk,
    format::Format,
    journal::Name,
    policy::{Kind, Snapshot},
    streaming::{KEEP_BYTES, StreamingResource},
    volume::{self, Common, Disks, Opening, Share, Volume, look::State},
};
use crate::bufpool::BufPool;

/// Where the cache is and which part of it this shard owns.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cache directory.
    pub dir: PathBuf,
    /// Which cache lies there, and how many volumes it has.
    pub format: Format,
    /// Bound of what all volumes hold, in bytes.
    pub size_bytes: u64,
    /// This shard's number.
    pub shard: u16,
    /// The number of shards.
    pub shards: u16,
    /// Which policy says what leaves a volume that is smaller than it was.
    pub policy: Kind,
    /// What a pin on a name holds for.
    pub kin: Kin,
}

/// The number of a volume in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VolumeIndex(pub u32);

/// The volumes that one shard owns. A clone is another handle to the same ones.
#[derive(Clone)]
pub struct Volumes {
    inner: Rc<Inner>,
}

struct Inner {
    /// By number; `None` where another shard owns it, or where the cache is off.
    volumes: Vec<Option<Rc<Volume>>>,
    /// Those of this shard that have none there, and how they are.
    absent: BTreeMap<VolumeIndex, State>,
    shards: u16,
    common: Common,
    /// What the eviction policy had said before this start, by volume, until it takes it.
    snapshots: RefCell<BTreeMap<VolumeIndex, Snapshot>>,
    /// Which cache it is, where there is one.
    format: Option<Format>,
}

/// A cached object as the eviction policy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub id: ObjectId,
    /// Bytes of its volume that it holds, in whole blocks.
    pub stored_bytes: u64,
    /// A resource is open on it.
    pub is_in_use: bool,
}

impl Volumes {
    /// No cache: all resources live in memory. Routing is that of `volumes` volumes all the same.
    pub fn off(volumes: u32, shards: u16, pool: BufPool) -> Self {
        Self { inner: Rc::new(Inner::empty(volumes.max(1), shards, 0, pool)) }
    }

    /// One volume on each of `disks`, all owned by this shard: for tests. It holds `capacity_bytes`
    /// of data, and its journal is a simulation of its own.
    ///
    /// # Panics
    /// When the pool is too small to begin with.
    pub fn on(disks: Vec<Disk>, capacity_bytes: u64, pool: BufPool) -> Self {
        let disks = disks.into_iter().map(|data| Disks { data, ..Disks::simulated() }).collect();
        let share = Share { data_bytes: capacity_bytes, journal_bytes: capacity_bytes };
        future::block_on(Self::over(disks, share, pool)).expect("a simulated journal opens")
    }

    /// One volume on each of `disks`, all owned by this shard.
    pub(super) async fn over(
        disks: Vec<Disks>,
        share: Share,
        pool: BufPool,
    ) -> Result<Self, Error> {
        let mut new = Inner::empty(disks.len() as u32, 1, disks.len(), pool);
        let mut openings = Vec::new();
        for (volume, disks) in (0..).zip(disks) {
            let name = Name { uuid: 1, volume };
            openings.push(Opening::read(name, disks, share, new.common.clone()).await?);
        }
        for opening in openings {
            new.open(opening).await?;
        }
        Ok(Self { inner: Rc::new(new) })
    }

    #[cfg(test)]
    pub(super) fn all_fit(&self) -> bool {
        self.owned().all(|volume| volume.fits())
    }

    #[cfg(test)]
    pub(super) fn wants_compaction(&self) -> bool {
        self.owned().any(|volume| volume.wants_compaction())
    }

    /// From now on `evict` is asked when a volume has no room for a chunk: it evicts one object of that
    /// volume, and says whether it could. The first one stays.
    pub fn evict_by(&self, evict: impl Fn(VolumeIndex) -> bool + 'static) {
        let _ = self.inner.common.evictor.0.set(Box::new(evict));
    }

    /// How many volumes the cache has, those of other shards included.
    pub fn count(&self) -> u32 {
        self.inner.volumes.len() as u32
    }

    /// Which cache it is; `None` where the cache is off.
    pub fn format(&self) -> Option<Format> {
        self.inner.format
    }

    /// The volume that an object lives in.
    pub fn of(&self, object: ObjectId) -> VolumeIndex {
        object.volume(self.inner.volumes.len() as u32)
    }

    /// The shard that owns a volume.
    pub fn owner(&self, volume: VolumeIndex) -> u16 {
        (volume.0 % u32::from(self.inner.shards)) as u16
    }

    /// The memory that resources lie in on their way.
    pub fn pool(&self) -> &BufPool {
        &self.inner.common.pool
    }

    /// The numbers of the volumes that this shard owns.
    pub fn own(&self) -> impl Iterator<Item = VolumeIndex> + '_ {
        let own = |(number, volume): (u32, &Option<_>)| volume.is_some().then_some(number);
        (0..).zip(&self.inner.volumes).filter_map(own).map(VolumeIndex)
    }

    /// A new, empty resource, in place of an older generation. Its chunks go to the volume of
    /// `object`; where the cache is off, or the volume is another shard's or takes nothing, they
    /// stay in memory.
    pub fn create(&self, object: ObjectId, generation: Generation) -> Rc<StreamingResource> {
        let home = self.volume(object).and_then(|volume| volume.begin(object, generation));
        self.resource(object, generation, home)
    }

    /// The present generation of an object that is in the cache and that nobody has open.
    pub fn find(&self, object: ObjectId) -> Option<Rc<StreamingResource>> {
        let (generation, home) = self.volume(object)?.find(object)?;
        Some(self.resource(object, generation, Some(home)))
    }

    fn resource(
        &self,
        object: ObjectId,
        generation: Generation,
        home: Option<volume::Home>,
    ) -> Rc<StreamingResource> {
        let Common { pool, counters, .. } = self.inner.common.clone();
        StreamingResource::new((object, generation), pool, KEEP_BYTES, home, counters)
    }

    /// Takes an object out of the cache. Its blocks are free when its last reader, and the last
    /// write that is under way, are gone.
    pub fn forget(&self, object: ObjectId) {
        self.volume(object).into_iter().for_each(|volume| volume.forget(object));
    }

    /// Whether the volume of `object`, where this shard has it, can note another object; else one has
    /// to go before. Where it notes nothing now none has to.
    pub fn has_place(&self, object: ObjectId) -> bool {
        self.volume(object).is_none_or(|volume| volume.has_place() || !volume.takes_records())
    }

    /// Whether the catalog of the volume of `object` has its share of memory, so that an object has to go
    /// before another comes, however many bytes are free.
    pub fn lacks_memory(&self, object: ObjectId) -> bool {
        self.volume(object).is_some_and(|volume| volume.lacks_memory())
    }

    /// Pins an object, or lets go of it. [`durable`](Self::durable) says when it will outlive a
    /// crash.
    pub fn pin(&self, object: ObjectId, pinned: bool) {
        self.volume(object).into_iter().for_each(|volume| volume.pin(object, pinned));
    }

    /// Whether another name can be pinned in the volume of this one.
    pub fn has_place_for_pin(&self, object: ObjectId) -> bool {
        self.volume(object).is_some_and(|volume| volume.has_place_for_pin())
    }

    /// Whether this very name is pinned.
    pub fn is_pinned(&self, object: ObjectId) -> bool {
        self.volume(object).is_some_and(|volume| volume.catalog().is_pinned(object))
    }

    /// The objects in a volume.
    pub fn objects(&self, volume: VolumeIndex) -> Vec<Object> {
        let Some(volume) = self.at(volume) else { return Vec::new() };
        let catalog = volume.catalog();
        let object = |(id, slot)| {
            let (stored_bytes, is_in_use) = (catalog.stored_bytes(slot), catalog.is_in_use(slot));
            Object { id, stored_bytes, is_in_use }
        };
        catalog.objects().map(object).collect()
    }

    /// What was given to [`remember`](Self::remember) last before this start, as far as the journal
    /// still has it; once.
    pub fn remembered(&self, volume: VolumeIndex) -> Snapshot {
        self.inner.snapshots.borrow_mut().remove(&volume).unwrap_or_default()
    }

    /// Keeps what the eviction policy says of a volume's objects, in pieces of at most
    /// [`SNAPSHOT_BYTES`](super::SNAPSHOT_BYTES), for the next start.
    pub fn remember(&self, volume: VolumeIndex, pieces: Vec<Vec<u8>>) {
        if let Some(volume) = self.at(volume) {
            volume.remember(pieces);
        }
    }

    /// Whether a volume has no such pieces since its journal was written anew, and takes them now.
    pub fn forgot(&self, volume: VolumeIndex) -> bool {
        self.at(volume).is_some_and(|volume| volume.forgot())
    }

    /// Whether a volume takes such pieces now: not while its device fails or its journal is behind.
    pub fn remembers(&self, volume: VolumeIndex) -> bool {
        self.at(volume).is_some_and(|volume| volume.takes_records())
    }

    /// Writes the records that are due, and says when to come again. A [`tick`](Self::tick) does that
    /// too, but while it makes one volume durable the others wait: so a second task calls this, and
    /// again when [`said`](Self::said) says so.
    ///
    /// # Cancellation
    /// Not to be dropped half-way: pages that were taken would be missing.
    pub async fn commit(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for volume in self.owned() {
            let due = volume.commit_if_due(now).await;
            next = [next, due].into_iter().flatten().min();
        }
        next
    }

    /// Resolves when there is something new for a [`commit`](Self::commit).
    pub async fn said(&self) {
        self.inner.common.said.wait().await;
    }

    /// Does what is due in this shard's volumes, and says when to come again; `None` where nothing
    /// waits. One task calls it, again when [`stirred`](Self::stirred) says so, and lets it end.
    pub async fn tick(&self, now: Instant, sync_interval: Duration) -> Option<Instant> {
        let mut next = self.inner.common.report(now);
        for volume in self.owned() {
            let due = volume.tick(now, sync_interval).await;
            next = [next, due].into_iter().flatten().min();
        }
        next
    }

    /// Says that there is something to do in time.
    pub fn stir(&self) {
        self.inner.common.stirred.stir();
        self.inner.common.said.stir();
    }

    /// Resolves when there is something new for a [`tick`](Self::tick).
    pub async fn stirred(&self) {
        self.inner.common.stirred.wait().await;
    }

    /// Waits until everything that was said so far of the volume of `object` is durable. Some task
    /// has to tick.
    ///
    /// # Errors
    /// What the device says.
    pub async fn durable(&self, object: ObjectId) -> io::Result<()> {
        self.all_durable(self.of(object)).await
    }

    /// The same of all that was said of a volume.
    ///
    /// # Errors
    /// What the device says.
    pub async fn all_durable(&self, volume: VolumeIndex) -> io::Result<()> {
        match self.at(volume) {
            Some(volume) => volume.durable().await,
            None => Ok(()),
        }
    }

    /// Makes everything durable at the end, one volume after another. Nobody ticks any more.
    ///
    /// # Errors
    /// The first that a device reports; the others are closed all the same.
    pub async fn close(&self, now: Instant) -> io::Result<()> {
        let mut outcome = Ok(());
        for volume in self.owned() {
            outcome = outcome.and(volume.close(now).await);
        }
        outcome
    }

    /// Bytes that this shard's volumes can still take.
    pub fn free_bytes(&self) -> u64 {
        self.owned().map(|volume| volume.free_bytes()).sum()
    }

    /// Bytes in use in this shard's volumes, in whole blocks.
    pub fn used_bytes(&self) -> u64 {
        self.owned().map(|volume| volume.used_bytes()).sum()
    }

    /// Bytes in use that an object holds: less than [`used_bytes`](Self::used_bytes) by what is being
    /// written.
    pub fn stored_bytes(&self) -> u64 {
        self.owned().map(|volume| volume.catalog().all_stored_bytes()).sum()
    }

    /// The free and used bytes of one volume, as (free, used); `None` where this shard does not own it.
    pub fn bytes_of(&self, volume: VolumeIndex) -> Option<(u64, u64)> {
        let volume = self.at(volume)?;
        Some((volume.free_bytes(), volume.used_bytes()))
    }

    /// Keeps chunks of at most `bytes` in memory, instead of three quarters of the pool's budget.
    pub fn limit_tier(&self, bytes: usize) {
        self.inner.common.tier.set_limit(bytes);
    }

    /// What storage did so far on this shard.
    pub fn stats(&self) -> Stats {
        self.inner.common.counters.get()
    }

    fn volume(&self, object: ObjectId) -> Option<&Rc<Volume>> {
        self.at(self.of(object))
    }

    /// A volume by its number, where this shard has it.
    fn at(&self, volume: VolumeIndex) -> Option<&Rc<Volume>> {
        self.inner.volumes.get(volume.0 as usize)?.as_ref()
    }

    fn owned(&self) -> impl Iterator<Item = &Rc<Volume>> {
        self.inner.volumes.iter().flatten()
    }
}
