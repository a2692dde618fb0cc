//! A look at what lies in a volume, and a check of it, without opening anything.
//!
//! An object is opened by one resource at a time, and who opens it counts as its user. A look is none:
//! it reads where the catalog says, and who got those blocks meanwhile is found out by the checksum.

use super::Volume;
use crate::{
    bufpool::Block,
    storage::{
        BLOCK_BYTES, Error, Generation, Identity, ObjectId, Said,
        catalog::{Slot, run_of},
        checksum,
        chunk::valid,
        format::{Filled, HEAD_CHUNK, Meta, Record},
    },
};

/// An object in the cache, as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    /// Its name.
    pub id: ObjectId,
    /// Which of its contents over time.
    pub generation: Generation,
    /// Length in bytes, where it is known.
    pub length: Option<u64>,
    /// What is said of it.
    pub said: Said,
    /// Bytes of its volume that it holds, in whole blocks.
    pub stored_bytes: u64,
    /// Bytes of it that are on disk.
    pub present_bytes: u64,
}

/// How a volume is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// Objects in it.
    pub objects: u64,
    /// Their chunks.
    pub chunks: u64,
    /// Names that are pinned, whether there is something of them or not.
    pub pins: u64,
    /// Bytes in use, in whole blocks.
    pub used_bytes: u64,
    /// Bytes it can still take.
    pub free_bytes: u64,
    /// Bytes that its device took nothing to, set aside until the next start.
    pub bad_bytes: u64,
    /// How long its journal is, in bytes.
    pub journal_bytes: u64,
    /// Its device failed, and is tried again now and then.
    pub is_off: bool,
    /// Its device has no room for more, which is tried as well.
    pub is_full: bool,
    /// What lies in it is not known: it is not there, or its superblock could not be read. It is off until
    /// the next start.
    pub is_unread: bool,
    /// Pages of its journal that were not what was written, at the start, or were not given: what they said
    /// is lost, or not known. In the second case it is off.
    pub lost_pages: u64,
}

impl State {
    /// Of a volume that is not there.
    pub(in crate::storage) fn absent() -> Self {
        Self { is_off: true, is_unread: true, ..Self::default() }
    }
}

/// What a chunk on disk is.
#[derive(Debug)]
pub(in crate::storage) enum Found {
    /// What was written, with its valid bytes.
    Sound(Block),
    /// Something else.
    Rotten,
    /// The device gives nothing.
    Unreadable,
    /// No longer where it was looked for: it was written anew or dropped meanwhile.
    Gone,
}

/// The valid bytes of a chunk that was read, where they are what was written.
pub(super) fn sound(
    (object, generation): (ObjectId, Generation),
    filled: &Filled,
    blocks: &Block,
) -> Option<Block> {
    let (chunk, part) = (u64::from(filled.chunk), filled.part.clone());
    let identity = Identity { object, generation, chunk, part };
    let bytes = valid(&filled.part, blocks);
    (checksum(&identity, &bytes) == filled.checksum).then_some(bytes)
}

impl Volume {
    /// An object as it lies here.
    pub(in crate::storage) fn resident(&self, object: ObjectId) -> Option<Resident> {
        let catalog = self.catalog.borrow();
        let slot = catalog.find(object)?;
        let Meta { length, born, expires, validator, .. } = catalog.meta(slot);
        let bytes = |filled: Filled| u64::from(filled.part.end - filled.part.start);
        Some(Resident {
            id: object,
            generation: catalog.name(slot).1,
            length,
            said: Said { born, expires, validator },
            stored_bytes: catalog.stored_bytes(slot),
            present_bytes: catalog.chunks(slot).map(bytes).sum(),
        })
    }

    /// The chunks of an object from number `from` on, the response head not among them.
    pub(in crate::storage) fn chunks_of(&self, object: ObjectId, from: u32) -> Vec<Filled> {
        let catalog = self.catalog.borrow();
        let chunks = |slot| catalog.chunks(slot).filter(|filled| filled.chunk >= from).collect();
        catalog.find(object).map(chunks).unwrap_or_default()
    }

    /// Where the response head of an object lies.
    pub(in crate::storage) fn head_of(&self, object: ObjectId) -> Option<(Generation, Filled)> {
        let catalog = self.catalog.borrow();
        let slot = catalog.find(object)?;
        Some((catalog.name(slot).1, catalog.chunk(slot, HEAD_CHUNK)?))
    }

    /// Reads a chunk and checks that it is what it was written as.
    ///
    /// # Errors
    /// [`Error::Exhausted`] alone: what the device says is in what was found.
    pub(in crate::storage) async fn examine(
        &self,
        (object, generation): (ObjectId, Generation),
        filled: &Filled,
    ) -> Result<Found, Error> {
        let run = run_of(filled);
        let (position, length) = (run.start * BLOCK_BYTES, (run.end - run.start) * BLOCK_BYTES);
        let read = match self.disk.read(position, length as usize, &self.common.pool).await {
            Err(Error::Exhausted(exhausted)) => return Err(exhausted.into()),
            read => read,
        };
        let name = (object, generation);
        let bytes = read.as_ref().ok().and_then(|blocks| sound(name, filled, blocks));
        Ok(match (bytes, read) {
            (Some(bytes), _) => Found::Sound(bytes),
            _ if !self.lies_there((object, generation), filled) => Found::Gone,
            (None, Ok(_)) => Found::Rotten,
            (None, Err(_)) => Found::Unreadable,
        })
    }

    /// Whether a chunk is still where it was.
    pub(in crate::storage) fn lies_there(
        &self,
        (object, generation): (ObjectId, Generation),
        filled: &Filled,
    ) -> bool {
        let catalog = self.catalog.borrow();
        let slot = catalog.find(object).filter(|slot| catalog.name(*slot).1 == generation);
        slot.is_some_and(|slot| catalog.chunk(slot, filled.chunk).as_ref() == Some(filled))
    }

    /// Takes a chunk that is not sound out of an object, or the object where it is the head. Whether
    /// that was done: not while the object is in use, since its user keeps account of what it has.
    pub(in crate::storage) fn take_out(
        &self,
        (object, generation): (ObjectId, Generation),
        filled: &Filled,
    ) -> bool {
        let Some(slot) = self.at_rest(object) else { return false };
        if !self.lies_there((object, generation), filled) {
            return false;
        }
        self.common.counters.count(|stats| stats.corrupt_chunks += 1);
        if filled.chunk == HEAD_CHUNK {
            self.drop_object(slot);
            return true;
        }
        let lost = self.catalog.borrow_mut().lose(slot, filled.chunk);
        lost.into_iter().for_each(self.leaving());
        self.log(&Record::Lost { object, generation, chunks: vec![filled.chunk] });
        true
    }

    fn at_rest(&self, object: ObjectId) -> Option<Slot> {
        let catalog = self.catalog.borrow();
        catalog.find(object).filter(|slot| !catalog.is_in_use(*slot))
    }

    /// The object is fresh until `at` and no longer.
    pub(in crate::storage) fn expire(&self, object: ObjectId, at: u64) {
        let mut catalog = self.catalog.borrow_mut();
        let Some(slot) = catalog.find(object) else { return };
        let generation = catalog.name(slot).1;
        let meta = Meta { expires: at, ..catalog.meta(slot) };
        catalog.set_meta(slot, meta);
        drop(catalog);
        self.log(&Record::Object { object, generation, meta });
    }

    /// Has the journal written anew, where pages of it are lost, some time soon. They count no longer.
    pub(in crate::storage) fn renew(&self) {
        if !self.journal.is_shut() && self.lost_pages.take() > 0 {
            self.is_to_renew.set(true);
            self.common.stirred.stir();
        }
    }

    /// How the volume is.
    pub(in crate::storage) fn state(&self) -> State {
        let catalog = self.catalog.borrow();
        let (objects, chunks) = catalog.counts();
        State {
            objects: objects as u64,
            chunks,
            pins: catalog.pin_count() as u64,
            used_bytes: self.used_bytes(),
            free_bytes: self.free_bytes(),
            bad_bytes: self.bad.borrow().blocks() * BLOCK_BYTES,
            journal_bytes: self.journal.length(),
            is_off: self.takes_no_chunks(),
            is_full: self.is_full(),
            is_unread: self.journal.is_shut(),
            lost_pages: self.lost_pages.get(),
        }
    }
}
