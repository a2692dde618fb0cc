//! What lies in a shard's volumes, for who tends the cache; `check` reads all of it.

use std::{
    fs,
    ops::{Range, RangeInclusive},
    path::Path,
    rc::Rc,
};

use super::{Inner, VolumeIndex, Volumes, shares::JOURNAL_BYTES};
use crate::{
    bufpool::{Block, BufPool},
    storage::{
        CHUNK_BYTES, Device, Error, Format, ObjectId,
        directory::VolumeFiles,
        format::Filled,
        volume::{
            Share,
            look::{Found, Resident, State},
        },
    },
};

impl Volumes {
    /// Opens all volumes of a cache as large as they are, for who tends it while no node runs. What
    /// is configured may differ from what they were written with, and a look must not cut them.
    ///
    /// # Errors
    /// [`Error::Directory`] with what to do.
    pub async fn open_as_they_are(
        dir: &Path,
        format: Format,
        device: &Device,
        pool: BufPool,
    ) -> Result<Self, Error> {
        let mut new = Inner::empty(format.volumes, 1, 0, pool);
        new.common.as_they_are = true;
        new.format = Some(format);
        device.probe(dir, &new.common.pool).await?;
        for volume in 0..format.volumes {
            let files = VolumeFiles::of(dir, volume);
            if !files.superblock.exists() {
                // A first start that was cut short may have left no more than the directory. Journals
                // without what says which of them counts cannot be read.
                let state = if files.hold_nothing() { State::default() } else { State::absent() };
                new.absent.insert(VolumeIndex(volume), state);
                continue;
            }
            let share = Share::of_files(&files);
            let (files, opening) = new.read(format.uuid, volume, files, device, share).await?;
            new.open(opening).await.map_err(|error| files.unusable(error))?;
        }
        Ok(Self { inner: Rc::new(new) })
    }

    /// Whether what is said of an object is kept: not where the cache is off.
    pub fn keeps(&self, object: ObjectId) -> bool {
        self.volume(object).is_some()
    }

    /// The objects of a volume with their numbers, of `most` numbers from `from` on, and the number
    /// to go on with; `None` behind the last. Each object that is there all the while is met once.
    pub fn walk(
        &self,
        volume: VolumeIndex,
        from: u32,
        most: u32,
    ) -> (Vec<(u32, ObjectId)>, Option<u32>) {
        let volume = self.at(volume);
        volume.map_or_else(Default::default, |volume| volume.catalog().walk(from, most))
    }

    /// The first `most` pinned names of a volume from `from` on, in order.
    pub fn pins(&self, volume: VolumeIndex, from: ObjectId, most: usize) -> Vec<ObjectId> {
        let volume = self.at(volume);
        volume.map_or_else(Vec::new, |volume| volume.catalog().pins(from, most))
    }

    /// Whether a pin is on some name of these in a volume.
    pub fn has_pin(&self, volume: VolumeIndex, names: RangeInclusive<ObjectId>) -> bool {
        let volume = self.at(volume);
        volume.is_some_and(|volume| volume.catalog().has_pin(names))
    }

    /// An object as it lies on disk.
    pub fn resident(&self, object: ObjectId) -> Option<Resident> {
        self.volume(object)?.resident(object)
    }

    /// The bytes of an object that are on disk, in order, as few ranges as that are.
    pub fn ranges(&self, object: ObjectId) -> Vec<Range<u64>> {
        let chunks = self.volume(object).map(|volume| volume.chunks_of(object, 0));
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for part in chunks.unwrap_or_default().iter().map(bytes_of) {
            match ranges.last_mut() {
                Some(last) if last.end == part.start => last.end = part.end,
                _ => ranges.push(part),
            }
        }
        ranges
    }

    /// The response head of an object, whether a resource is open on it or not; `None` where it is
    /// not there or not sound.
    ///
    /// # Errors
    /// [`Error::Exhausted`] where the pool has no block to read into.
    pub async fn head(&self, object: ObjectId) -> Result<Option<Block>, Error> {
        let Some(volume) = self.volume(object) else { return Ok(None) };
        let Some((generation, filled)) = volume.head_of(object) else { return Ok(None) };
        match volume.examine((object, generation), &filled).await? {
            Found::Sound(bytes) => Ok(Some(bytes)),
            Found::Rotten | Found::Unreadable | Found::Gone => Ok(None),
        }
    }

    /// The object is fresh until `at`, in seconds of Unix time, and no longer.
    pub fn expire(&self, object: ObjectId, at: u64) {
        self.volume(object).into_iter().for_each(|volume| volume.expire(object, at));
    }

    /// Where a chunk of an object lies on its device, in bytes; or its response head.
    #[cfg(test)]
    pub(crate) fn place_of(&self, object: ObjectId, chunk: Option<u32>) -> u64 {
        let volume = self.volume(object).unwrap();
        let filled = match chunk {
            Some(chunk) => volume.chunks_of(object, chunk).remove(0),
            None => volume.head_of(object).unwrap().1,
        };
        u64::from(filled.block) * crate::storage::BLOCK_BYTES
    }

    /// How a volume is, whether it is there or not; `None` where this shard does not own it.
    pub fn state(&self, volume: VolumeIndex) -> Option<State> {
        match self.inner.volumes.get(volume.0 as usize)? {
            Some(there) => Some(there.state()),
            None => self.inner.absent.get(&volume).copied(),
        }
    }

    /// How all volumes of this shard are, those that are not there among them.
    pub fn states(&self) -> Vec<(VolumeIndex, State)> {
        let all = (0..self.count()).map(VolumeIndex);
        all.filter_map(|volume| Some((volume, self.state(volume)?))).collect()
    }

    /// Has the journal of a volume written anew, where pages of it are lost.
    pub fn renew(&self, volume: VolumeIndex) {
        let volume = self.at(volume);
        volume.into_iter().for_each(|volume| volume.renew());
    }
}

impl Share {
    /// What a volume has that is neither to be cut nor to grow: journals of twice their length, so
    /// that what is written now has room.
    fn of_files(files: &VolumeFiles) -> Self {
        let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        let [first, second] = &files.journals;
        let journal_bytes = 2 * length(first).max(length(second)) + JOURNAL_BYTES;
        Self { data_bytes: length(&files.data).next_multiple_of(CHUNK_BYTES), journal_bytes }
    }
}

/// The valid part of a chunk, as bytes of its object.
pub(super) fn bytes_of(filled: &Filled) -> Range<u64> {
    let start = u64::from(filled.chunk) * CHUNK_BYTES;
    start + u64::from(filled.part.start)..start + u64::from(filled.part.end)
}
