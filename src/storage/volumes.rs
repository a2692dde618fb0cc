//! A shard's share of the cache directory.

pub(super) mod check;
pub(super) mod look;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future;

use super::{
    CHUNK_BYTES, Error, Generation, Kin, ObjectId, Sim, Stats, catalog,
    directory::VolumeFiles,
    disk::{Device, Disk},
    error::cannot_write,
    format::{Format, SUPERBLOCK_BYTES},
    journal::{Files, Name},
    policy::{Kind, Snapshot},
    streaming::{KEEP_BYTES, StreamingResource},
    tier::Tier,
    volume::{self, Common, Disks, Opening, Share, Volume, look::State},
};
use crate::bufpool::BufPool;

/// The most volumes a cache has.
const VOLUMES: u32 = 256;
/// What a volume should hold at least, in bytes.
const VOLUME_BYTES: u64 = 256 << 20;
/// The fewest volumes, where the cache is too small for that.
const FEWEST_VOLUMES: u32 = 4;

/// The number of volumes of a new cache of `size_bytes`: the largest power of two up to 256 that
/// leaves each 256 MiB, and at least 4 (RULES 2).
pub fn volumes_for(size_bytes: u64) -> u32 {
    let fitting = u32::try_from(size_bytes / VOLUME_BYTES).unwrap_or(u32::MAX);
    let power = fitting.checked_ilog2().map_or(0, |log| 1 << log.min(VOLUMES.ilog2()));
    power.max(FEWEST_VOLUMES)
}

/// How many objects of `object_bytes` the catalogs of all shards know in `memory_bytes` of buffer memory.
pub fn objects_known(memory_bytes: u64, object_bytes: u64) -> u64 {
    memory_bytes / CATALOG_SHARE as u64 / catalog::bytes_of(object_bytes)
}

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

/// A shard's volumes that were read, before anything in them is changed.
pub struct Unopened {
    volumes: Inner,
    openings: Vec<(VolumeFiles, Opening)>,
    share: Share,
}

impl Unopened {
    /// Reads what this shard's volumes hold, creating what is not there. Run on the shard, with the
    /// [`Directory`](super::Directory) locked.
    ///
    /// # Errors
    /// [`Error::Directory`] with what to do. Too little room on the file system is no error here: it
    /// shows when bytes are written.
    pub async fn read(options: &Options, device: &Device, pool: BufPool) -> Result<Self, Error> {
        let Options { dir, format, size_bytes, shard, shards, policy, kin } = options;
        let own = (u32::from(*shard)..format.volumes).step_by(usize::from(*shards));
        let mut volumes = Inner::empty(format.volumes, *shards, own.len(), pool);
        volumes.format = Some(*format);
        (volumes.common.policy, volumes.common.kin) = (*policy, *kin);
        if *shard == 0 || own.len() > 0 {
            device.probe(dir, &volumes.common.pool).await?;
        }
        let share = Share::of(*size_bytes, format.volumes);
        let (mut openings, mut missing) = (Vec::new(), None);
        for number in own {
            let files = VolumeFiles::of(dir, number);
            match volumes.read(format.uuid, number, files, device, share).await {
                Err(Error::NotNow { problem, .. }) => {
                    volumes.common.counters.count(|stats| stats.volumes_off += 1);
                    volumes.absent.insert(VolumeIndex(number), State::absent());
                    missing = Some(problem);
                }
                opening => openings.push(opening?),
            }
        }
        if let Some(problem) = missing {
            tracing::warn!(problem, "volumes that are not there are off until the next start");
        }
        Ok(Self { volumes, openings, share })
    }

    /// Opens them as large as they are to be: what has no place in them goes, and their files are cut.
    /// Not before every shard has read its own, since one that cannot be as small ends the start.
    ///
    /// # Errors
    /// As of [`read`](Self::read).
    pub async fn open(self) -> Result<Volumes, Error> {
        let Self { mut volumes, openings, share } = self;
        for (files, opening) in openings {
            let volume = volumes.open(opening).await.map_err(|error| files.unusable(error))?;
            if volume.fits() {
                cut(&files, share);
            }
        }
        tell_unplaced(&volumes.common.counters.get());
        Ok(Volumes { inner: Rc::new(volumes) })
    }
}

/// What the start did to make room, in all volumes.
fn tell_unplaced(Stats { unplaced, unplaced_for_memory, moved_chunks, .. }: &Stats) {
    if *unplaced > 0 || *moved_chunks > 0 {
        tracing::warn!(
            evicted = unplaced,
            for_memory = unplaced_for_memory,
            moved_chunks,
            "the cache had more objects than size or memory allow now: some left, what is pinned moved"
        );
    }
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
        let Some(volume) = &self.inner.volumes[volume.0 as usize] else { return Vec::new() };
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
        if let Some(volume) = &self.inner.volumes[volume.0 as usize] {
            volume.remember(pieces);
        }
    }

    /// Whether a volume has no such pieces since its journal was written anew, and takes them now.
    pub fn forgot(&self, volume: VolumeIndex) -> bool {
        self.inner.volumes[volume.0 as usize].as_ref().is_some_and(|volume| volume.forgot())
    }

    /// Whether a volume takes such pieces now: not while its device fails or its journal is behind.
    pub fn remembers(&self, volume: VolumeIndex) -> bool {
        self.inner.volumes[volume.0 as usize].as_ref().is_some_and(|volume| volume.takes_records())
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
        match self.inner.volumes.get(volume.0 as usize).and_then(Option::as_ref) {
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
        let volume = self.inner.volumes.get(volume.0 as usize)?.as_ref()?;
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
        self.inner.volumes[self.of(object).0 as usize].as_ref()
    }

    fn owned(&self) -> impl Iterator<Item = &Rc<Volume>> {
        self.inner.volumes.iter().flatten()
    }
}

impl Inner {
    /// `own` of the volumes are to be added.
    fn empty(volumes: u32, shards: u16, own: usize, pool: BufPool) -> Self {
        assert!(volumes > 0 && shards > 0, "a cache has a volume and an owner");
        let (counters, stirred, said, evictor, snapshots) = Default::default();
        let catalog_bytes = (pool.stats().budget_bytes / CATALOG_SHARE / own.max(1)) as u64;
        let tier = Tier::new(&pool, Rc::clone(&counters));
        let (as_they_are, policy) = (false, Kind::default());
        let common = Common {
            pool,
            tier,
            counters,
            stirred,
            said,
            evictor,
            catalog_bytes,
            as_they_are,
            policy,
            kin: |id| id..=id,
            notices: Rc::default(),
        };
        let (volumes, format, absent) = (vec![None; volumes as usize], None, BTreeMap::new());
        Self { volumes, absent, shards, common, snapshots, format }
    }

    async fn read(
        &self,
        uuid: u128,
        volume: u32,
        files: VolumeFiles,
        device: &Device,
        share: Share,
    ) -> Result<(VolumeFiles, Opening), Error> {
        let disks = Disks::open(device, &files).await?;
        let opening = Opening::read(Name { uuid, volume }, disks, share, self.common.clone()).await;
        let opening = opening.map_err(|error| files.unusable(error))?;
        Ok((files, opening))
    }

    async fn open(&mut self, opening: Opening) -> Result<Rc<Volume>, Error> {
        let (volume, snapshot) = opening.open().await?;
        let number = volume.number();
        self.snapshots.get_mut().insert(number, snapshot);
        self.volumes[number.0 as usize] = Some(Rc::clone(&volume));
        Ok(volume)
    }
}

/// Of a shard's memory the catalogs of its volumes may take one in so many bytes.
const CATALOG_SHARE: usize = 2;
/// What lies beside the volumes: FORMAT, and the files that each shard tries direct I/O on.
const BESIDE_BYTES: u64 = 64 << 10;

/// Of the size, the queue of prefetches may take one in so many bytes; two, while it is written anew.
const QUEUE_SHARE: u64 = 256;
/// But not less: some hundred sources.
const QUEUE_LEAST_BYTES: u64 = 64 << 10;
/// And not more: ten thousand sources take a megabyte or two.
const QUEUE_MOST_BYTES: u64 = 64 << 20;

/// What a cache of `size_bytes` leaves to the queue of prefetches, which lies beside its volumes.
pub fn queue_bytes(size_bytes: u64) -> u64 {
    (size_bytes / QUEUE_SHARE).clamp(QUEUE_LEAST_BYTES, QUEUE_MOST_BYTES)
}

/// The least a journal has: a few commits between compactions.
const JOURNAL_BYTES: u64 = 64 << 10;

impl Share {
    /// A journal gets 1/128: its records are 43 bytes for a chunk of 64 KiB, which is 1/1500, and it
    /// holds them twice and more before it is compacted.
    fn of(size_bytes: u64, volumes: u32) -> Self {
        let beside_bytes = BESIDE_BYTES + 2 * queue_bytes(size_bytes);
        let each = size_bytes.saturating_sub(beside_bytes) / u64::from(volumes);
        let journal_bytes = (each / 128).max(JOURNAL_BYTES);
        let rest = each.saturating_sub(2 * journal_bytes + 2 * SUPERBLOCK_BYTES as u64);
        Self { data_bytes: rest - rest % CHUNK_BYTES, journal_bytes }
    }
}

impl Disks {
    async fn open(device: &Device, files: &VolumeFiles) -> Result<Self, Error> {
        fs::create_dir_all(files.dir()).map_err(|error| cannot_write(files.dir(), &error))?;
        let [first, second] = &files.journals;
        // What a larger cache wrote is read first, and cut when what is to stay was written anew.
        let (data, grown_bytes) = device.open(&files.data, u64::MAX).await?;
        let (superblock, _) = device.open(&files.superblock, u64::MAX).await?;
        let (first, first_length) = device.open(first, u64::MAX).await?;
        let (second, second_length) = device.open(second, u64::MAX).await?;
        let (journals, lengths) = ([first, second], [first_length, second_length]);
        Ok(Self { data, grown_bytes, journal: Files { superblock, journals, lengths } })
    }

    fn simulated() -> Self {
        let sim = || Disk::Sim(Sim::default());
        let journal = Files { superblock: sim(), journals: [sim(), sim()], lengths: [0, 0] };
        Self { data: sim(), grown_bytes: 0, journal }
    }
}

/// Cuts what a larger cache wrote. No chunk lies behind the share of the data any more, nothing of the
/// current journal behind that of a journal, and the other one says nothing.
fn cut(files: &VolumeFiles, Share { data_bytes, journal_bytes }: Share) {
    let [first, second] = &files.journals;
    for (path, bytes) in
        [(&files.data, data_bytes), (first, journal_bytes), (second, journal_bytes)]
    {
        if fs::metadata(path).is_ok_and(|file| file.len() <= bytes) {
            continue;
        }
        let cut = fs::File::options().write(true).open(path);
        if let Err(error) = cut.and_then(|file| file.set_len(bytes)) {
            tracing::warn!(%error, path = %path.display(), "a file of the cache cannot be cut");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::FileExt, path::Path};

    use super::*;
    use crate::{
        bufpool,
        storage::{
            dma::tests::on_shard,
            tests::{device, directory_on_disk},
        },
    };

    #[test]
    fn the_number_of_volumes_follows_from_the_size() {
        let sizes = [(0, 4), (1 << 30, 4), (2 << 30, 8), (10 << 30, 32), (3 << 30, 8)];
        for (size, volumes) in sizes {
            assert_eq!(volumes_for(size), volumes, "{size}");
        }
        assert_eq!(volumes_for(1 << 40), 256);
        assert_eq!(volumes_for(u64::MAX), 256);
    }

    #[test]
    fn the_volumes_with_what_lies_beside_them_never_exceed_the_size() {
        for size in [2_000_000, 16 << 20, 10 << 30, (10 << 30) + 12_345] {
            let volumes = volumes_for(size);
            let share = Share::of(size, volumes);
            let each = share.data_bytes + 2 * share.journal_bytes + 2 * SUPERBLOCK_BYTES as u64;
            let beside_bytes = BESIDE_BYTES + 2 * queue_bytes(size);
            assert!(each * u64::from(volumes) + beside_bytes <= size);
        }
    }

    async fn opened(options: &Options, pool: BufPool) -> Result<Volumes, Error> {
        Unopened::read(options, &device(), pool).await?.open().await
    }

    const LENGTH: usize = 150_000;

    fn content(object: u128) -> Vec<u8> {
        (0..LENGTH).map(|at| (at as u128 * 31 + object * 7 + at as u128 / 251) as u8).collect()
    }

    /// How often this process has the data file of each volume below `dir` open. Executors of earlier
    /// shards leave theirs open: they close files in a later round than their last.
    fn open_files(dir: &Path) -> BTreeMap<u32, usize> {
        let mut open = BTreeMap::new();
        for fd in fs::read_dir("/proc/self/fd").unwrap() {
            let Ok(link) = fs::read_link(fd.unwrap().path()) else { continue };
            let volume = link.strip_prefix(dir).ok().filter(|path| path.ends_with("data"));
            let volume = volume.and_then(|path| path.parent()?.to_str());
            let number = volume.and_then(|name| name.strip_prefix("volume.")?.parse().ok());
            if let Some(number) = number {
                *open.entry(number).or_default() += 1;
            }
        }
        open
    }

    async fn read_all(resource: &Rc<StreamingResource>) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(block) = resource.read_at(all.len() as u64, usize::MAX).await.unwrap() {
            all.extend_from_slice(&block);
        }
        all
    }

    async fn fill_and_read_back(volumes: &Volumes, object: ObjectId) -> Rc<StreamingResource> {
        let resource = volumes.create(object, Generation(1));
        resource.set_length(LENGTH as u64).unwrap();
        resource.write_at(0, &content(object.0)).await.unwrap();
        resource.flush().await;
        resource.commit().unwrap();
        assert!(resource.is_cached() && resource.stored_bytes() >= LENGTH as u64);
        assert!(read_all(&resource).await == content(object.0), "{object} came back changed");
        resource
    }

    #[test]
    fn each_shard_opens_its_own_volumes_and_reads_back_what_it_wrote() {
        let Some(dir) = directory_on_disk() else { return };
        for shards in [1, 2, 4] {
            let dir = dir.path().join(shards.to_string());
            for shard in 0..shards {
                let options = Options {
                    dir: dir.clone(),
                    size_bytes: 16 << 20,
                    format: Format { uuid: 7, volumes: 4 },
                    shard,
                    shards,
                    policy: Kind::default(),
                    kin: |id| id..=id,
                };
                fs::create_dir_all(&dir).unwrap();
                on_shard(serve_own(options));
            }
            let data = |number| fs::metadata(VolumeFiles::of(&dir, number).data).unwrap().len();
            let files = (0..4).map(data);
            assert!(files.sum::<u64>() <= 16 << 20);
        }
    }

    async fn serve_own(options: Options) {
        let pool = BufPool::new(bufpool::Options { budget_bytes: 4 << 20 });
        let before = open_files(&options.dir);
        let volumes = opened(&options, pool.clone()).await.unwrap();
        let is_own = |number: &u32| volumes.owner(VolumeIndex(*number)) == options.shard;
        let own: Vec<_> = (0..4).filter(is_own).collect();
        let after = open_files(&options.dir);
        let opened: Vec<_> = after
            .keys()
            .copied()
            .filter(|number| before.get(number) != after.get(number))
            .collect();
        assert_eq!(opened, own);
        for object in (0..8).map(ObjectId) {
            if own.contains(&volumes.of(object).0) {
                fill_and_read_back(&volumes, object).await;
            } else {
                let foreign = volumes.create(object, Generation(1));
                assert!(!foreign.is_cached() && volumes.bytes_of(volumes.of(object)).is_none());
            }
        }
        assert!(volumes.stats().reads >= 2 * 3 && volumes.stats().corrupt_chunks == 0);
        volumes.close(Instant::now()).await.unwrap();
        let used = u64::try_from(own.len()).unwrap() * 2 * LENGTH.next_multiple_of(16 << 10) as u64;
        assert_eq!((volumes.used_bytes(), pool.stats().in_use_bytes()), (used, 0));
    }

    #[test]
    fn whole_and_partial_objects_outlive_every_change_of_the_number_of_shards() {
        let Some(dir) = directory_on_disk() else { return };
        for (start, shards) in [2, 1, 4, 2].into_iter().enumerate() {
            let mut seen = 0;
            for shard in 0..shards {
                let options = Options {
                    dir: dir.path().to_owned(),
                    size_bytes: 16 << 20,
                    format: Format { uuid: 7, volumes: 4 },
                    shard,
                    shards,
                    policy: Kind::default(),
                    kin: |id| id..=id,
                };
                seen += on_shard(go_on(options, start as u64));
            }
            assert_eq!(seen, 16, "start {start}");
        }
    }

    /// Checks what this shard has of 16 objects, and adds a piece to each that is partial. How many
    /// objects it has.
    async fn go_on(options: Options, start: u64) -> usize {
        const FROM: u64 = 30_000;
        const PIECE: u64 = 25_000;
        let pool = BufPool::new(bufpool::Options { budget_bytes: 4 << 20 });
        let volumes = opened(&options, pool).await.unwrap();
        let is_own = |object: &ObjectId| volumes.bytes_of(volumes.of(*object)).is_some();
        let own: Vec<_> = (0..16).map(ObjectId).filter(is_own).collect();
        for object in &own {
            let all = content(object.0);
            if start == 0 && object.0 % 2 == 0 {
                fill_and_read_back(&volumes, *object).await;
                continue;
            }
            let resource = match start {
                0 => volumes.create(*object, Generation(1)),
                _ => volumes.find(*object).expect("it is lost"),
            };
            if object.0 % 2 == 0 {
                assert!(resource.is_committed() && read_all(&resource).await == all);
                continue;
            }
            let mut at = FROM;
            while let Some(block) = resource.read_at(at, usize::MAX).await.unwrap() {
                assert_eq!(*block, all[at as usize..at as usize + block.len()], "{object}");
                at += block.len() as u64;
            }
            assert_eq!(at, FROM + start * PIECE, "{object} at start {start}");
            let piece = &all[at as usize..(at + PIECE) as usize];
            resource.write_at(at, piece).await.unwrap();
            resource.flush().await;
            assert_eq!(resource.present_bytes(), (start + 1) * PIECE);
        }
        volumes.close(Instant::now()).await.unwrap();
        own.len()
    }

    #[test]
    fn a_byte_that_was_flipped_on_disk_is_a_miss_and_is_counted() {
        let Some(dir) = directory_on_disk() else { return };
        let dir = dir.path().to_owned();
        on_shard(async move {
            let options = Options {
                dir: dir.clone(),
                size_bytes: 8 << 20,
                format: Format { uuid: 7, volumes: 1 },
                shard: 0,
                shards: 1,
                policy: Kind::default(),
                kin: |id| id..=id,
            };
            let pool = BufPool::new(bufpool::Options { budget_bytes: 4 << 20 });
            let volumes = opened(&options, pool).await.unwrap();
            let resource = fill_and_read_back(&volumes, ObjectId(3)).await;
            // What is in memory would be right all the same.
            volumes.limit_tier(0);
            flip(&VolumeFiles::of(&dir, 0).data, 100);
            assert!(resource.read_at(100, 10).await.unwrap().is_none());
            assert_eq!(volumes.stats().corrupt_chunks, 1);
            assert_eq!(resource.next_gap(0..LENGTH as u64), Some(0..super::super::CHUNK_BYTES));
            assert!(!resource.is_complete());
            resource.write_at(0, &content(3)).await.unwrap();
            resource.flush().await;
            assert!(read_all(&resource).await == content(3), "it was not healed");
        });
    }

    /// One has lost its superblock; of another a first start left no more than the directory.
    #[test]
    fn a_look_tells_of_volumes_that_it_cannot_read() {
        let Some(dir) = directory_on_disk() else { return };
        let dir = dir.path().to_owned();
        on_shard(async move {
            let format = Format { uuid: 7, volumes: 4 };
            let options = Options {
                dir: dir.clone(),
                size_bytes: 16 << 20,
                format,
                shard: 0,
                shards: 1,
                policy: Kind::default(),
                kin: |id| id..=id,
            };
            let pool = BufPool::new(bufpool::Options { budget_bytes: 4 << 20 });
            let volumes = opened(&options, pool.clone()).await.unwrap();
            for object in (0..8).map(ObjectId) {
                fill_and_read_back(&volumes, object).await;
            }
            volumes.close(Instant::now()).await.unwrap();
            drop(volumes);
            fs::remove_file(VolumeFiles::of(&dir, 1).superblock).unwrap();
            fs::remove_dir_all(VolumeFiles::of(&dir, 2).dir()).unwrap();
            let looked = Volumes::open_as_they_are(&dir, format, &device(), pool).await.unwrap();
            let states = looked.states();
            let unread: Vec<_> = states.iter().map(|(_, state)| state.is_unread).collect();
            assert_eq!(unread, [false, true, false, false]);
            let off: Vec<_> = states.iter().map(|(_, state)| state.is_off).collect();
            assert_eq!(off, unread);
            assert!(!VolumeFiles::of(&dir, 1).superblock.exists(), "a look wrote it");
        });
    }

    #[test]
    fn a_volume_of_an_unknown_version_is_left_as_it_is() {
        let Some(dir) = directory_on_disk() else { return };
        let dir = dir.path().to_owned();
        on_shard(async move {
            let large = Options {
                dir: dir.clone(),
                size_bytes: 16 << 20,
                format: Format { uuid: 7, volumes: 1 },
                shard: 0,
                shards: 1,
                policy: Kind::default(),
                kin: |id| id..=id,
            };
            let pool = BufPool::new(bufpool::Options { budget_bytes: 4 << 20 });
            let volumes = opened(&large, pool.clone()).await.unwrap();
            for object in 0..20 {
                fill_and_read_back(&volumes, ObjectId(object)).await;
            }
            volumes.close(Instant::now()).await.unwrap();
            let files = VolumeFiles::of(&dir, 0);
            let mut copies = fs::read(&files.superblock).unwrap();
            for copy in copies.chunks_exact_mut(SUPERBLOCK_BYTES) {
                copy[4] = 2;
                let sum = crate::storage::crc32c(&copy[4..]);
                copy[..4].copy_from_slice(&sum.to_le_bytes());
            }
            fs::write(&files.superblock, copies).unwrap();
            let bytes = || [&files.data, &files.journals[0]].map(|path| fs::read(path).unwrap());
            let before = bytes();
            let small = Options { size_bytes: 2 << 20, ..large };
            let refused = opened(&small, pool).await.err().expect("version 2");
            assert!(refused.to_string().contains("the version that wrote it"), "{refused}");
            assert!(before[0].len() > 2 << 20 && bytes() == before, "it was changed");
        });
    }

    /// Turns over a bit of what an empty volume was given first.
    fn flip(path: &Path, position: u64) {
        let file = fs::File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, position).unwrap();
        file.write_all_at(&[byte[0] ^ 4], position).unwrap();
        file.sync_all().unwrap();
    }
}
