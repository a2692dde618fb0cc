//! What a device refuses: a write it has no room for, a write or reads that fail.

use std::{io, ops::Range, time::Instant};

use super::{Reserved, Volume};
use crate::storage::{BLOCK_BYTES, Error, disk::Data};

/// So many reads that fail one after another are no bad sector.
const UNREAD: u32 = 4;

impl Volume {
    pub(super) fn note_written(&self, reserved: &Reserved) {
        self.written.set(self.written.get().max(reserved.run.end));
    }

    /// The device refused what was to be written to these blocks. Where it was new space it wanted, the
    /// volume goes on in what it has; else it is off.
    pub(super) fn refused(&self, reserved: Reserved, error: &io::Error) {
        let is_new = reserved.run.end > self.written.get();
        if error.kind() != io::ErrorKind::StorageFull || !is_new {
            return self.turn_off(error);
        }
        let was_full = self.is_full();
        self.withheld.borrow_mut().push(reserved.keep());
        self.blocks.borrow_mut().set_full(true);
        if !was_full {
            let bytes = self.written.get() * BLOCK_BYTES;
            tracing::warn!(
                bytes,
                "a volume of the cache has no room to grow; tried again each 10 s"
            );
            self.common.stirred.stir();
        }
    }

    pub(super) fn is_full(&self) -> bool {
        !self.withheld.borrow().is_empty()
    }

    /// Tries whether the device has room again, if it is time; when it will be.
    pub(super) async fn try_to_grow(&self, now: Instant) -> Instant {
        let due = self.due.borrow_mut().probe_at(now);
        if now < due {
            return due;
        }
        self.due.borrow_mut().probed();
        let first = self.withheld.borrow().first().map_or(0, |run| run.start);
        let zeros = Data::Zeros(BLOCK_BYTES as usize);
        if self.disk.write_whole(first * BLOCK_BYTES, zeros, &self.common.pool).await.is_ok() {
            self.blocks.borrow_mut().set_full(false);
            self.withheld.take().into_iter().for_each(self.freeing());
            tracing::info!("a volume of the cache has room to grow again");
        }
        self.due.borrow_mut().probe_at(now)
    }

    /// How a read of a chunk ended. One that fails costs its chunk; several in a row turn the volume
    /// off.
    pub(super) fn note_read(&self, outcome: Result<(), &io::Error>) {
        let Err(error) = outcome else { return self.unread.set(0) };
        self.unread.set(self.unread.get() + 1);
        if self.unread.get() == UNREAD {
            self.turn_off(error);
        }
    }

    /// Whether the device gives back a block that it took.
    pub(super) async fn read_back(&self, run: &Range<u64>) -> Result<(), Error> {
        let position = run.start * BLOCK_BYTES;
        self.disk.read(position, BLOCK_BYTES as usize, &self.common.pool).await?;
        self.unread.set(0);
        Ok(())
    }
}
