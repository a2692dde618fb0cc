//! What a device refuses: a write it has no room for, a write or reads that fail.

use std::{io, time::Instant};

use super::{Reserved, Volume};
use crate::storage::{
    BLOCK_BYTES, Error, Hindrance, disk::Data, error::is_no_room, notices::Notice,
};

/// So many reads that fail one after another are no bad sector.
const UNREAD: u32 = 4;
/// Of old blocks so many bytes may lie in holes that there is no room for. A file system that writes each
/// block elsewhere has no room for any of them.
const HOLES_BYTES: u64 = 4 << 20;

impl Volume {
    pub(super) fn note_written(&self, reserved: &Reserved) {
        self.written.set(self.written.get().max(reserved.run.end));
        self.bad.borrow_mut().end_row();
    }

    /// The device refused what was to be written to these blocks. Where it was new space it wanted, the
    /// volume goes on in what it has; where it is no hindrance of the whole file system it may be this
    /// [place](Self::failed) alone; else the volume is off.
    ///
    /// Several writes wait at a time, and one behind another may find room that it does not: there is
    /// a hole then, which a later start takes for old blocks.
    pub(super) fn refused(&self, reserved: Reserved, error: &io::Error) {
        if Hindrance::of(error).is_none() {
            return self.failed(reserved, error);
        }
        let is_new = reserved.is_new || self.withheld_bytes() < HOLES_BYTES;
        if !is_no_room(error) || !is_new {
            return self.turn_off(error);
        }
        self.withheld.borrow_mut().push(reserved.keep());
        self.blocks.borrow_mut().set_full(true);
        self.note_room();
    }

    pub(super) fn is_off(&self) -> bool {
        self.off.get().is_some()
    }

    /// Whether a chunk that comes now is refused.
    pub(super) fn takes_no_chunks(&self) -> bool {
        self.is_off() || self.journal.is_broken()
    }

    /// The device is left alone for a while. Nobody waits for what it would have written next: one that
    /// is off already may be worse now.
    pub(super) fn turn_off(&self, error: &io::Error) {
        self.refuse_waiting(error.kind());
        if self.off.replace(Some(error.into())).is_some() {
            return;
        }
        self.common.counters.count(|stats| stats.volumes_off += 1);
        if self.common.notes(Notice::Off(error.kind())) {
            tracing::warn!(
                volume = self.number.0,
                %error,
                "a volume of the cache takes no more bytes; tried again each 10 s"
            );
        }
    }

    /// The device is well again.
    pub(super) fn turn_on(&self) {
        if self.off.take().is_none() {
            return;
        }
        self.bad.borrow_mut().end_row();
        self.common.counters.count(|stats| stats.volumes_off -= 1);
        if self.common.notes(Notice::On) {
            tracing::info!(volume = self.number.0, "a volume of the cache takes bytes again");
        }
    }

    fn withheld_bytes(&self) -> u64 {
        let withheld = self.withheld.borrow();
        withheld.iter().map(|run| (run.end - run.start) * BLOCK_BYTES).sum()
    }

    /// Whether the device has no room for more of the data or of the journal.
    pub(super) fn is_full(&self) -> bool {
        !self.withheld.borrow().is_empty() || self.journal.is_full()
    }

    /// Says when the device has no room any more, and when it has some again.
    pub(super) fn note_room(&self) {
        let is_full = self.is_full();
        if self.was_full.replace(is_full) == is_full {
            return;
        }
        self.common.counters.count(|stats| match is_full {
            true => stats.volumes_full += 1,
            false => stats.volumes_full -= 1,
        });
        let (volume, bytes) = (self.number.0, self.written.get() * BLOCK_BYTES);
        match is_full {
            true if self.common.notes(Notice::Full) => tracing::warn!(
                volume,
                bytes,
                "a volume of the cache has no room to grow; tried again each 10 s"
            ),
            false if self.common.notes(Notice::Room) => {
                tracing::info!(volume, "a volume of the cache has room to grow again");
            }
            _ => {}
        }
        self.common.stirred.stir();
    }

    /// Tries whether the device has room again, if it is time; when it will be.
    pub(super) async fn try_to_grow(&self, now: Instant) -> Instant {
        let due = self.due.borrow_mut().probe_at(now);
        if now < due {
            return due;
        }
        self.due.borrow_mut().probed();
        let first = self.withheld.borrow().first().cloned();
        if let Some(run) = first {
            let zeros = Data::Zeros(((run.end - run.start) * BLOCK_BYTES) as usize);
            let position = run.start * BLOCK_BYTES;
            if self.disk.write_whole(position, zeros, &self.common.pool).await.is_ok() {
                self.blocks.borrow_mut().set_full(false);
                self.withheld.take().into_iter().for_each(self.freeing());
            }
        }
        if self.journal.is_full() && !self.writing.get() {
            self.writing.set(true);
            let grown = self.journal.try_to_grow().await;
            self.writing.set(false);
            self.common.said.stir();
            if let Err(Error::Io(error)) = grown {
                self.turn_off(&error);
            }
        }
        self.note_room();
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
}
