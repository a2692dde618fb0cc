//! Opening a shard's volumes: all are read before anything in one is changed.

use std::{collections::BTreeMap, fs, rc::Rc};

use super::{Inner, Options, VolumeIndex, Volumes, shares::CATALOG_SHARE};
use crate::{
    bufpool::BufPool,
    storage::{
        Device, Disk, Error, Sim, Stats,
        directory::VolumeFiles,
        error::cannot_write,
        journal::{Files, Name},
        policy::Kind,
        tier::Tier,
        volume::{Common, Disks, Opening, Share, Volume, look::State},
    },
};

/// A shard's volumes that were read, before anything in them is changed.
pub struct Unopened {
    volumes: Inner,
    openings: Vec<(VolumeFiles, Opening)>,
    share: Share,
}

impl Unopened {
    /// Reads what this shard's volumes hold, creating what is not there. Run on the shard, with the
    /// [`Directory`](crate::storage::Directory) locked.
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

impl Inner {
    /// `own` of the volumes are to be added.
    pub(super) fn empty(volumes: u32, shards: u16, own: usize, pool: BufPool) -> Self {
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

    pub(super) async fn read(
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

    pub(super) async fn open(&mut self, opening: Opening) -> Result<Rc<Volume>, Error> {
        let (volume, snapshot) = opening.open().await?;
        let number = volume.number();
        self.snapshots.get_mut().insert(number, snapshot);
        self.volumes[number.0 as usize] = Some(Rc::clone(&volume));
        Ok(volume)
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

    pub(super) fn simulated() -> Self {
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
