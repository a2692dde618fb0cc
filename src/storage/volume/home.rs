//! An object's entry in its volume, while a resource is open on it.

use std::{io, ops::Range, rc::Rc};

use super::{Refused, Volume};
use crate::{
    bufpool::Block,
    storage::{
        BLOCK_BYTES, Error, Generation, ObjectId,
        catalog::{Slot, run_of},
        format::{Filled, Meta, Record},
        notices::Notice,
        tier::ChunkName,
    },
};

/// One object's entry, held open. When it is dropped the entry rests, or goes if it was dropped.
pub(in crate::storage) struct Home {
    pub(super) volume: Rc<Volume>,
    pub(super) slot: Slot,
}

impl Home {
    /// Where a chunk lies on disk.
    pub(in crate::storage) fn chunk(&self, chunk: u32) -> Option<Filled> {
        self.volume.catalog.borrow().chunk(self.slot, chunk)
    }

    /// All chunks on disk in order.
    pub(in crate::storage) fn chunks(&self) -> Vec<Filled> {
        self.volume.catalog.borrow().chunks(self.slot).collect()
    }

    /// Reads the blocks of a chunk.
    pub(in crate::storage) async fn read(&self, filled: &Filled) -> Result<Block, Error> {
        let run = run_of(filled);
        let (position, length) = (run.start * BLOCK_BYTES, (run.end - run.start) * BLOCK_BYTES);
        let read = self.volume.disk.read(position, length as usize, &self.volume.common.pool).await;
        match &read {
            Ok(_) => self.volume.note_read(Ok(())),
            Err(Error::Io(error)) => self.volume.note_read(Err(error)),
            Err(_) => {}
        }
        read
    }

    /// A chunk out of memory, if it is there.
    pub(in crate::storage) fn warm(&self, filled: &Filled) -> Option<Block> {
        self.volume.common.tier.get(self.name_of(filled), filled)
    }

    /// Keeps the bytes of a chunk in memory, as long as nobody needs it for something else.
    pub(in crate::storage) fn keep_warm(&self, filled: &Filled, bytes: Block) {
        self.volume.common.tier.admit(self.name_of(filled), filled, bytes);
    }

    fn name_of(&self, filled: &Filled) -> ChunkName {
        let (object, generation) = self.volume.catalog.borrow().name(self.slot);
        ChunkName { object, generation, chunk: filled.chunk }
    }

    /// Begins to write the blocks of a chunk; see [`Volume::store`].
    pub(in crate::storage) fn store(
        &self,
        bytes: Block,
        done: impl FnOnce(io::Result<Reserved>) + 'static,
    ) -> Result<(), Refused> {
        self.volume.store(bytes, done)
    }

    /// Notes where a chunk lies now, and says it.
    pub(in crate::storage) fn filled(
        &self,
        reserved: Reserved,
        chunk: u32,
        part: Range<u32>,
        checksum: u32,
    ) -> Filled {
        let block = u32::try_from(reserved.keep().start).expect("a volume has less blocks");
        let filled = Filled { chunk, block, part, checksum };
        let before = self.volume.catalog.borrow_mut().fill(self.slot, &filled);
        if let Some(run) = before {
            // Of a generation that was dropped nothing is recorded any more, nor missed.
            match self.volume.catalog.borrow().is_dropped(self.slot) {
                true => self.volume.leaving()(run),
                false => self.volume.replaced(run),
            }
        }
        let chunks = vec![filled.clone()];
        self.log(|object, generation| Record::Fill { object, generation, chunks });
        filled
    }

    /// The disk gave back something else: the chunk is missing from now on.
    pub(in crate::storage) fn lose(&self, chunk: u32) {
        let lost = self.volume.catalog.borrow_mut().lose(self.slot, chunk);
        lost.into_iter().for_each(self.volume.leaving());
        self.log(|object, generation| Record::Lost { object, generation, chunks: vec![chunk] });
        if self.volume.common.notes(Notice::Lost) {
            let (object, _) = self.volume.catalog.borrow().name(self.slot);
            tracing::warn!(%object, chunk, "a chunk on disk is lost");
        }
    }

    /// What is said of the object.
    pub(in crate::storage) fn meta(&self) -> Meta {
        self.volume.catalog.borrow().meta(self.slot)
    }

    /// Says something else of it.
    pub(in crate::storage) fn set_meta(&self, meta: Meta) {
        if self.meta() != meta {
            self.volume.catalog.borrow_mut().set_meta(self.slot, meta);
            self.log(|object, generation| Record::Object { object, generation, meta });
        }
    }

    /// All of it came.
    pub(in crate::storage) fn commit(&self, length: u64) {
        let meta = Meta { length: Some(length), committed: true, ..self.meta() };
        if self.meta() != meta {
            self.volume.catalog.borrow_mut().set_meta(self.slot, meta);
            self.log(|object, generation| Record::Commit { object, generation, length });
        }
    }

    /// The object is not to be found any more; its blocks come free with this.
    pub(in crate::storage) fn discard(&self) {
        self.volume.drop_object(self.slot);
    }

    /// Whether nobody finds it any more.
    pub(in crate::storage) fn is_dropped(&self) -> bool {
        self.volume.catalog.borrow().is_dropped(self.slot)
    }

    pub(in crate::storage) fn stored_bytes(&self) -> u64 {
        self.volume.catalog.borrow().stored_bytes(self.slot)
    }

    /// One object may hold half its volume (RULES 2).
    pub(in crate::storage) fn share_bytes(&self) -> u64 {
        self.volume.capacity_bytes() / 2
    }

    /// What happens to a generation that was dropped is nothing for the journal.
    fn log(&self, record: impl FnOnce(ObjectId, Generation) -> Record) {
        let catalog = self.volume.catalog.borrow();
        if catalog.is_dropped(self.slot) {
            return self.volume.free_recorded();
        }
        let (object, generation) = catalog.name(self.slot);
        self.volume.log(&record(object, generation));
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let volume = &self.volume;
        // An entry of which nothing is stored says nothing that is worth keeping.
        if volume.catalog.borrow().stored_bytes(self.slot) == 0 {
            volume.drop_object(self.slot);
        }
        if volume.catalog.borrow().is_dropped(self.slot) {
            let (object, generation) = volume.catalog.borrow().name(self.slot);
            volume.common.tier.forget(object, generation);
        }
        volume.catalog.borrow_mut().close(self.slot, &mut volume.leaving());
        volume.free_recorded();
    }
}

/// A run of blocks that something is written to. They are free again when this is dropped.
pub(in crate::storage) struct Reserved {
    pub(super) volume: Rc<Volume>,
    pub(super) run: Range<u64>,
    /// Nothing was ever written to some of them: the file grows.
    pub(super) is_new: bool,
}

impl Reserved {
    /// Somebody else accounts for them now.
    pub(super) fn keep(mut self) -> Range<u64> {
        std::mem::take(&mut self.run)
    }

    pub(super) fn bytes(&self) -> usize {
        ((self.run.end - self.run.start) * BLOCK_BYTES) as usize
    }

    /// Where it begins on the device, in bytes.
    pub(super) fn position(&self) -> u64 {
        self.run.start * BLOCK_BYTES
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.run.is_empty() {
            self.volume.blocks.borrow_mut().release(self.run.clone());
        }
    }
}
