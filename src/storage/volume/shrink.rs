//! How a volume becomes smaller, before its file is cut.

mod plan;

use std::io;

pub(super) use self::plan::Plan;
use super::{Common, Disk, upkeep::durable_up_to};
use crate::storage::{
    BLOCK_BYTES, Error,
    allocator::Allocator,
    catalog::{Catalog, Slot, run_of},
    disk::Data,
    format::{Filled, Record},
    journal::Journal,
};

/// A volume that is to hold `blocks` blocks and has `grown`, which is more.
pub(super) struct Smaller<'a> {
    pub(super) blocks: u64,
    pub(super) grown: u64,
    pub(super) disk: &'a Disk,
    pub(super) journal: &'a Journal,
    pub(super) common: &'a Common,
}

impl Smaller<'_> {
    /// Does as planned: drops what lies beyond the end and moves what is pinned, and says so in the
    /// journal; what of the blocks is free then. The bytes are durable when this returns.
    ///
    /// # Errors
    /// [`Error::Io`] with what to do; what is pinned is where it was, in the file and in the journal.
    pub(super) async fn shrink(
        self,
        catalog: &mut Catalog,
        Plan { dropped, moves }: Plan,
    ) -> Result<Allocator, Error> {
        for slot in &dropped {
            let (object, generation) = catalog.name(*slot);
            catalog.drop_object(*slot, &mut drop);
            self.journal.append(&Record::Drop { object, generation });
        }
        if !dropped.is_empty() && !moves.is_empty() {
            // Before others are written to where they lay: a check after a kill would take that for rot.
            // A journal that fails is written anew later, and until then nothing is cut.
            let _ = self.journal.commit().await;
        }
        for (slot, filled, block) in &moves {
            self.shift(catalog, *slot, filled, *block).await.map_err(cannot_move)?;
        }
        if !moves.is_empty() {
            self.disk.sync().await.map_err(|error| cannot_move(error.into()))?;
            self.journal.append(&durable_up_to(self.journal.length()));
        }
        self.common.counters.count(|stats| {
            stats.unplaced += dropped.len() as u64;
            stats.moved_chunks += moves.len() as u64;
        });
        let used: Vec<_> = catalog.runs().map(|(run, ..)| run).collect();
        Ok(Allocator::with_used(self.blocks, self.grown, &used).0)
    }

    async fn shift(
        &self,
        catalog: &mut Catalog,
        slot: Slot,
        filled: &Filled,
        block: u32,
    ) -> Result<(), Error> {
        let (object, generation) = catalog.name(slot);
        let (run, pool) = (run_of(filled), &self.common.pool);
        let length = ((run.end - run.start) * BLOCK_BYTES) as usize;
        match self.disk.read(run.start * BLOCK_BYTES, length, pool).await {
            Ok(bytes) => {
                let to = u64::from(block) * BLOCK_BYTES;
                self.disk.write_whole(to, Data::Bytes(bytes), pool).await?;
                let moved = Filled { block, ..filled.clone() };
                catalog.fill(slot, &moved);
                self.journal.append(&Record::Fill { object, generation, chunks: vec![moved] });
            }
            // As for a reader: the disk does not have it any more.
            Err(Error::Io(_)) => {
                catalog.lose(slot, filled.chunk);
                let chunks = vec![filled.chunk];
                self.journal.append(&Record::Lost { object, generation, chunks });
                self.common.counters.count(|stats| stats.read_errors += 1);
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }
}

fn cannot_move(error: Error) -> Error {
    match error {
        Error::Io(error) => {
            let problem =
                format!("pinned objects cannot be moved: {error}; set a larger cache.size");
            io::Error::new(error.kind(), problem).into()
        }
        other => other,
    }
}
