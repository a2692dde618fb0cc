//! Places of a device that take no bytes, though the rest of it does.
//!
//! A write that fails does not say whether its place is bad or the whole device. A place that took
//! nothing is set aside until the next start, or the best fit would give it to the next chunk, and to the
//! one after. Where several in a row take nothing it is the device: the volume is off as well. A device with
//! more of them than may be set aside is at its end, and is not turned on and off for ever: it is off until
//! enough of those places take bytes again, as after an outage that was not theirs.

use std::{io, ops::Range};

use super::{BLOCK_BYTES, Data, Error, Reserved, Volume};
use crate::storage::notices::Notice;

/// So much is set aside in a volume at most.
const BAD_BYTES: u64 = 4 << 20;

/// So many writes that fail one after another are no bad place.
const UNWRITTEN: u32 = 4;

/// The last free block may be such a place, too: so many are asked whether the device takes bytes.
const ASKED: usize = 2;

/// What was set aside.
#[derive(Default)]
pub(super) struct Bad {
    runs: Vec<Range<u64>>,
    blocks: u64,
    /// Writes that failed, one after another.
    unwritten: u32,
}

impl Bad {
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// A write went well, or the volume begins anew.
    pub(super) fn end_row(&mut self) {
        self.unwritten = 0;
    }

    fn has_room(&self) -> bool {
        self.blocks * BLOCK_BYTES < BAD_BYTES
    }

    fn add(&mut self, run: Range<u64>) {
        self.blocks += run.end - run.start;
        self.runs.push(run);
    }
}

impl Volume {
    /// A write to these blocks failed, and not for want of room.
    pub(super) fn failed(&self, reserved: Reserved, error: &io::Error) {
        // What was on its way when the volume was turned off says nothing of its own place.
        if self.is_off() {
            return;
        }
        let (has_room, is_device) = {
            let mut bad = self.bad.borrow_mut();
            bad.unwritten += 1;
            (bad.has_room(), bad.unwritten >= UNWRITTEN)
        };
        if has_room {
            self.set_aside(reserved, error);
        }
        if is_device || !has_room {
            self.turn_off(error);
        }
    }

    fn set_aside(&self, reserved: Reserved, error: &io::Error) {
        let position = reserved.position();
        let bytes = reserved.bytes() as u64;
        self.bad.borrow_mut().add(reserved.keep());
        self.common.counters.count(|stats| stats.bad_bytes += bytes);
        if self.common.notes(Notice::Bad) {
            tracing::warn!(
                volume = self.number.0,
                position,
                bytes,
                %error,
                "a place on disk takes no bytes; it is left alone until the next start"
            );
        }
    }

    /// Whether the device takes bytes somewhere, and gives them back.
    pub(super) async fn takes_bytes(&self) -> bool {
        if !self.bad.borrow().has_room() && !self.try_bad_places().await {
            return false;
        }
        let mut asked = Vec::new();
        let mut takes = false;
        while !takes && asked.len() < ASKED {
            let run = self.blocks.borrow_mut().allocate_last();
            let Some(run) = run else { break };
            takes = self.try_blocks(&run).await.is_ok();
            asked.push(run);
        }
        if asked.is_empty() {
            // It is full, and has no block to spare.
            takes = self.disk.sync().await.is_ok();
        }
        asked.into_iter().for_each(self.freeing());
        takes
    }

    /// Frees the places that take bytes again; whether another one could be set aside then.
    async fn try_bad_places(&self) -> bool {
        let Bad { runs, .. } = std::mem::take(&mut *self.bad.borrow_mut());
        for run in runs {
            let bytes = (run.end - run.start) * BLOCK_BYTES;
            match self.try_blocks(&run).await {
                Ok(()) => {
                    self.common.counters.count(|stats| stats.bad_bytes -= bytes);
                    self.freeing()(run);
                }
                Err(_) => self.bad.borrow_mut().add(run),
            }
        }
        self.bad.borrow().has_room()
    }

    /// Writes zeros to blocks that are nobody's, a chunk's at most, and reads them.
    async fn try_blocks(&self, run: &Range<u64>) -> Result<(), Error> {
        let (position, pool) = (run.start * BLOCK_BYTES, &self.common.pool);
        let length = ((run.end - run.start) * BLOCK_BYTES) as usize;
        self.disk.write_whole(position, Data::Zeros(length), pool).await?;
        self.disk.read(position, length, pool).await?;
        self.unread.set(0);
        Ok(())
    }
}
