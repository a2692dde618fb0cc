//! A shard's share of the cache directory.

use std::{fs, io, path::PathBuf, rc::Rc};

use super::{
    Dma, Error, Generation, ObjectId, Stats,
    directory::volume_path,
    disk::Disk,
    stats::Counters,
    streaming::{KEEP_BYTES, StreamingResource},
    volume::Volume,
};
use crate::bufpool::BufPool;

/// The most volumes a cache has.
const VOLUMES: u32 = 256;
/// What a volume should hold at least, in bytes.
const VOLUME_BYTES: u64 = 256 << 20;
/// The fewest volumes, where the cache is too small for that.
const FEWEST_VOLUMES: u32 = 4;

/// The number of volumes of a cache of `size_bytes`: the largest power of two up to 256 that leaves
/// each 256 MiB, and at least 4 (RULES 2).
pub fn volumes_for(size_bytes: u64) -> u32 {
    let fitting = u32::try_from(size_bytes / VOLUME_BYTES).unwrap_or(u32::MAX);
    let power = fitting.checked_ilog2().map_or(0, |log| 1 << log.min(VOLUMES.ilog2()));
    power.max(FEWEST_VOLUMES)
}

/// Where the cache is and which part of it this shard owns.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cache directory.
    pub dir: PathBuf,
    /// Bound of what all volumes hold, in bytes.
    pub size_bytes: u64,
    /// The number of volumes, where it is not to follow from the size.
    pub volumes: Option<u32>,
    /// This shard's number.
    pub shard: u16,
    /// The number of shards.
    pub shards: u16,
}

impl Options {
    /// How many volumes that makes.
    pub fn volume_count(&self) -> u32 {
        self.volumes.unwrap_or_else(|| volumes_for(self.size_bytes)).max(1)
    }
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
    shards: u16,
    pool: BufPool,
    counters: Rc<Counters>,
}

impl Volumes {
    /// Opens this shard's volumes, creating what is not there. Run on the shard, with the
    /// [`Directory`](super::Directory) locked.
    ///
    /// What an earlier run left in the files is not used: there is no journal yet that says what it
    /// is. The files are used again as they are, since overwriting is faster than growing.
    ///
    /// # Errors
    /// [`Error::Directory`] with what to do. Too little room on the file system is no error here: it
    /// shows when bytes are written.
    pub async fn open(options: &Options, pool: BufPool) -> Result<Self, Error> {
        let count = options.volume_count();
        let capacity = capacity_of_each(options.size_bytes, count);
        let counters = Rc::default();
        let mut volumes = vec![None; count as usize];
        if options.shard == 0 || u32::from(options.shard) < count {
            Dma::probe(&options.dir).await?;
        }
        for number in
            (0..count).filter(|v| v % u32::from(options.shards) == u32::from(options.shard))
        {
            let path = volume_path(&options.dir, number);
            fs::create_dir_all(path.parent().expect("a file in a directory")).map_err(|error| {
                let problem = format!("cannot be created: {error}");
                Error::Directory { path: path.clone(), problem }
            })?;
            let (disk, grown) = Dma::open(&path, capacity).await?;
            let volume =
                Volume::new(Disk::Dma(disk), capacity, grown, pool.clone(), Rc::clone(&counters));
            volumes[number as usize] = Some(volume);
        }
        Ok(Self::new(volumes, options.shards, pool, counters))
    }

    /// No cache: all resources live in memory. Routing is that of `volumes` volumes all the same.
    pub fn off(volumes: u32, shards: u16, pool: BufPool) -> Self {
        Self::new(vec![None; volumes.max(1) as usize], shards, pool, Rc::default())
    }

    /// One volume on each of `disks`, all owned by this shard: for tests.
    pub fn on(disks: Vec<Disk>, capacity_bytes: u64, pool: BufPool) -> Self {
        let counters: Rc<Counters> = Rc::default();
        let volume =
            |disk| Some(Volume::new(disk, capacity_bytes, 0, pool.clone(), Rc::clone(&counters)));
        let volumes = disks.into_iter().map(volume).collect();
        Self::new(volumes, 1, pool.clone(), counters)
    }

    fn new(
        volumes: Vec<Option<Rc<Volume>>>,
        shards: u16,
        pool: BufPool,
        counters: Rc<Counters>,
    ) -> Self {
        assert!(!volumes.is_empty() && shards > 0, "a cache has a volume and an owner");
        Self { inner: Rc::new(Inner { volumes, shards, pool, counters }) }
    }

    /// How many volumes the cache has, those of other shards included.
    pub fn count(&self) -> u32 {
        self.inner.volumes.len() as u32
    }

    /// The volume that an object lives in.
    pub fn of(&self, object: ObjectId) -> VolumeIndex {
        object.volume(self.inner.volumes.len() as u32)
    }

    /// The shard that owns a volume.
    pub fn owner(&self, volume: VolumeIndex) -> u16 {
        (volume.0 % u32::from(self.inner.shards)) as u16
    }

    /// A new, empty resource. Its chunks go to the volume of `object`; where the cache is off, or
    /// the volume is another shard's, they stay in memory.
    pub fn create(&self, object: ObjectId, generation: Generation) -> Rc<StreamingResource> {
        let inner = &self.inner;
        let volume = inner.volumes[self.of(object).0 as usize].clone();
        let (pool, counters) = (inner.pool.clone(), Rc::clone(&inner.counters));
        StreamingResource::new((object, generation), pool, KEEP_BYTES, volume, counters)
    }

    /// Takes a resource out of the cache. Its blocks are free when its last reader, and the last
    /// write that is under way, are gone.
    pub fn remove(&self, resource: Rc<StreamingResource>) {
        // The drop record of the journal will be written here.
        drop(resource);
    }

    /// Makes what was written durable, one volume after another.
    ///
    /// # Errors
    /// The first that a device reports; the others are synced all the same.
    pub async fn sync(&self) -> io::Result<()> {
        let mut outcome = Ok(());
        for volume in self.owned() {
            outcome = outcome.and(volume.sync().await);
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

    /// The same of one volume, as (free, used); `None` where this shard does not own it.
    pub fn bytes_of(&self, volume: VolumeIndex) -> Option<(u64, u64)> {
        let volume = self.inner.volumes.get(volume.0 as usize)?.as_ref()?;
        Some((volume.free_bytes(), volume.used_bytes()))
    }

    /// What storage did so far on this shard.
    pub fn stats(&self) -> Stats {
        self.inner.counters.get()
    }

    fn owned(&self) -> impl Iterator<Item = &Rc<Volume>> {
        self.inner.volumes.iter().flatten()
    }
}

/// Whole chunks, so that capacity is a bound that is never passed.
fn capacity_of_each(size_bytes: u64, volumes: u32) -> u64 {
    let each = size_bytes / u64::from(volumes);
    each - each % super::CHUNK_BYTES
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::FileExt, path::Path};

    use super::*;
    use crate::{
        bufpool,
        storage::{dma::tests::on_shard, tests::directory_on_disk},
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
    fn the_volumes_together_never_exceed_the_size() {
        for size in [0, 1, 1_000_000, 10 << 30, (10 << 30) + 12_345] {
            let volumes = volumes_for(size);
            assert!(capacity_of_each(size, volumes) * u64::from(volumes) <= size);
        }
    }

    const LENGTH: usize = 150_000;

    fn content(object: u128) -> Vec<u8> {
        (0..LENGTH).map(|at| (at as u128 * 31 + object * 7 + at as u128 / 251) as u8).collect()
    }

    /// How often this process has each volume's data file below `dir` open. Executors of earlier
    /// shards leave theirs open: they close files in a later round than their last.
    fn open_files(dir: &Path) -> BTreeMap<u32, usize> {
        let mut open = BTreeMap::new();
        for fd in fs::read_dir("/proc/self/fd").unwrap() {
            let Ok(link) = fs::read_link(fd.unwrap().path()) else { continue };
            let volume = link.strip_prefix(dir).ok().and_then(|path| path.parent()?.to_str());
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
                    volumes: Some(4),
                    shard,
                    shards,
                };
                fs::create_dir_all(&dir).unwrap();
                on_shard(serve_own(options));
            }
            let files = (0..4).map(|number| fs::metadata(volume_path(&dir, number)).unwrap().len());
            assert!(files.sum::<u64>() <= 16 << 20);
        }
    }

    async fn serve_own(options: Options) {
        let pool = BufPool::new(bufpool::Options { budget_bytes: 4 << 20 });
        let before = open_files(&options.dir);
        let volumes = Volumes::open(&options, pool.clone()).await.unwrap();
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
        volumes.sync().await.unwrap();
        assert_eq!((volumes.used_bytes(), pool.stats().used_bytes), (0, 0));
    }

    #[test]
    fn a_byte_that_was_flipped_on_disk_is_a_miss_and_is_counted() {
        let Some(dir) = directory_on_disk() else { return };
        let dir = dir.path().to_owned();
        on_shard(async move {
            let options = Options {
                dir: dir.clone(),
                size_bytes: 8 << 20,
                volumes: Some(1),
                shard: 0,
                shards: 1,
            };
            let pool = BufPool::new(bufpool::Options { budget_bytes: 4 << 20 });
            let volumes = Volumes::open(&options, pool).await.unwrap();
            let resource = fill_and_read_back(&volumes, ObjectId(3)).await;
            flip(&volume_path(&dir, 0), 100);
            assert!(resource.read_at(100, 10).await.unwrap().is_none());
            assert_eq!(volumes.stats().corrupt_chunks, 1);
            assert_eq!(resource.next_gap(0..LENGTH as u64), Some(0..super::super::CHUNK_BYTES));
            assert!(!resource.is_complete());
            resource.write_at(0, &content(3)).await.unwrap();
            resource.flush().await;
            assert!(read_all(&resource).await == content(3), "it was not healed");
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
