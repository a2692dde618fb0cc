//! Blocks that nothing names any more, and chunks that wait for them.
//!
//! A chunk leaves the catalog at once, and the journal when the record of that is written. A start between
//! the two finds the chunk named; were its blocks others' by then, it would find other bytes in them:
//! never served, but a check of the cache would take it for rot, and an operator would replace a good disk.
//! So nobody gets such blocks before the record is written. That takes a commit and no sync: it is what
//! a killed process leaves that is meant here. A power cut may lose a record and keep the bytes of who
//! came next, as it may lose the bytes and keep their record.
//!
//! Of a chunk that was written anew, with more of it, a power cut must not take what was durable before: it
//! may be pinned. What it lay in leaves only with the next sync, and a start [knows](crate::storage::superseded) of it
//! until then.
//!
//! A full volume has no other blocks than those that are leaving. There a chunk waits for the commit, which
//! is due at once then rather than with the next group; to its writer it is a write that takes a little
//! longer. Where not even the commit finds memory, the blocks are given out all the same: to wait for
//! memory with memory in hand might be for ever. Where the commit fails the volume is off, and who waits is
//! refused as who comes then: a broken disk may be well again tomorrow, or never.

use std::{cell::Cell, collections::VecDeque, io, ops::Range, rc::Rc};

use super::{Refused, Reserved, Volume};
use crate::{
    bufpool::{Block, Exhausted},
    storage::{BLOCK_BYTES, disk::Data, superseded::MOST},
};

/// The most objects that leave for one chunk: where what is free lies in pieces, a run of blocks may be a
/// long way.
const EVICTIONS: usize = 64;

/// The blocks that are leaving, and who waits for them, the longest first. What was taken to be freed
/// counts until it is, or others would leave for who waits for it.
#[derive(Default)]
pub(super) struct Leaving {
    runs: Vec<Range<u64>>,
    blocks: u64,
    /// Those that chunks lay in which were written anew elsewhere, how many such chunks, a sync under way
    /// included, and how many blocks.
    replaced: Vec<Range<u64>>,
    replaced_chunks: usize,
    replaced_blocks: u64,
    waiting: VecDeque<Chunk>,
    /// What those want.
    wanted_blocks: u64,
}

/// A chunk on its way to the disk, and who is told how that went.
struct Chunk {
    bytes: Block,
    done: Box<dyn FnOnce(io::Result<Reserved>)>,
    /// How many objects may still leave for it.
    evictions: usize,
}

/// Where a chunk finds room.
enum Room {
    Here(Range<u64>),
    /// In blocks that are leaving.
    Soon,
    Nowhere,
}

impl Chunk {
    fn blocks(&self) -> u64 {
        self.bytes.len() as u64 / BLOCK_BYTES
    }
}

impl Leaving {
    /// How many blocks are free as soon as their records are written, and promised to nobody.
    pub(super) fn unwanted_blocks(&self) -> u64 {
        self.blocks.saturating_sub(self.wanted_blocks)
    }

    /// How many there are of both kinds.
    pub(super) fn all_blocks(&self) -> u64 {
        self.blocks + self.replaced_blocks
    }

    /// Whether so many chunks were written anew that a sync is due, and no others are before it.
    fn waits_for_sync(&self) -> bool {
        self.replaced_chunks >= MOST
    }

    fn add(&mut self, run: Range<u64>) {
        self.blocks += run.end - run.start;
        self.runs.push(run);
    }

    fn take(&mut self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.runs)
    }

    fn wait(&mut self, chunk: Chunk) {
        self.wanted_blocks += chunk.blocks();
        self.waiting.push_back(chunk);
    }

    fn take_waiting(&mut self) -> VecDeque<Chunk> {
        self.wanted_blocks = 0;
        std::mem::take(&mut self.waiting)
    }
}

impl Volume {
    /// Begins to write `bytes`, whole blocks, or has them wait for room that is about to come; `done`
    /// gets the blocks they lie in, or why not.
    ///
    /// The write ends even where nobody cares any more, and only then its blocks can be free again.
    ///
    /// # Errors
    /// [`Refused`]: nothing has begun, and `done` is not called.
    pub(super) fn store(
        self: &Rc<Self>,
        bytes: Block,
        done: impl FnOnce(io::Result<Reserved>) + 'static,
    ) -> Result<(), Refused> {
        if self.takes_no_chunks() {
            return Err(Refused::Off);
        }
        if !self.journal.takes_more() || self.leaving.borrow().waits_for_sync() {
            self.common.stirred.stir();
            return Err(Refused::Later);
        }
        let mut evictions = EVICTIONS;
        match self.room(bytes.len() as u64 / BLOCK_BYTES, &mut evictions) {
            Room::Here(run) => {
                self.begin_write(run, bytes, done).map_err(|Exhausted| Refused::Later)
            }
            Room::Soon => {
                self.wait(Chunk { bytes, done: Box::new(done), evictions });
                Ok(())
            }
            Room::Nowhere => Err(Refused::Off),
        }
    }

    /// What was free when a fill began may have gone to others, or lie in pieces: then as few objects
    /// leave as make room for this. Where none may, others that wait may have less need by then.
    fn room(&self, blocks: u64, evictions: &mut usize) -> Room {
        loop {
            let run = self.blocks.borrow_mut().allocate(blocks);
            if let Some(run) = run {
                return Room::Here(run);
            }
            if self.leaving.borrow().unwanted_blocks() >= blocks {
                return Room::Soon;
            }
            if *evictions == 0 || !self.common.evictor.evict_one(self.number) {
                let is_enough = self.leaving.borrow().blocks >= blocks;
                return if is_enough { Room::Soon } else { Room::Nowhere };
            }
            *evictions -= 1;
        }
    }

    fn wait(&self, chunk: Chunk) {
        self.leaving.borrow_mut().wait(chunk);
        self.due.borrow_mut().hurry();
        self.common.stirred.stir();
        self.common.said.stir();
    }

    /// What takes blocks that nothing names any more. The record of that follows at once, or
    /// [`free_recorded`](Self::free_recorded) is called.
    pub(super) fn leaving(&self) -> impl FnMut(Range<u64>) + '_ {
        |run| self.leaving.borrow_mut().add(run)
    }

    /// The same for a chunk that was written anew, until that is durable.
    pub(super) fn replaced(&self, run: Range<u64>) {
        let mut leaving = self.leaving.borrow_mut();
        leaving.replaced_blocks += run.end - run.start;
        leaving.replaced_chunks += 1;
        leaving.replaced.push(run);
        if leaving.replaced_chunks >= MOST / 2 {
            self.due.borrow_mut().hurry_sync();
            self.common.stirred.stir();
        }
    }

    /// Takes what was replaced so far; to be given [back](Self::keep_replaced), or
    /// [freed](Self::free_replaced) once it is durable.
    pub(super) fn take_replaced(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.leaving.borrow_mut().replaced)
    }

    pub(super) fn keep_replaced(&self, replaced: Vec<Range<u64>>) {
        self.leaving.borrow_mut().replaced.extend(replaced);
    }

    /// Frees blocks whose chunks are durable elsewhere, and writes the chunks that waited for some.
    pub(super) fn free_replaced(self: &Rc<Self>, replaced: Vec<Range<u64>>) {
        let mut leaving = self.leaving.borrow_mut();
        leaving.replaced_blocks -= blocks_of(&replaced);
        leaving.replaced_chunks -= replaced.len();
        drop(leaving);
        replaced.into_iter().for_each(self.freeing());
        self.place_waiting();
    }

    /// Frees what is leaving, if all records are written: that of this was before it left.
    pub(super) fn free_recorded(&self) {
        if self.journal.pending_bytes() == 0 && !self.writing.get() {
            self.free(self.take_leaving());
        }
    }

    /// Takes what is leaving now; to be given [back](Self::keep_leaving), or [freed](Self::free_left).
    pub(super) fn take_leaving(&self) -> Vec<Range<u64>> {
        self.leaving.borrow_mut().take()
    }

    pub(super) fn keep_leaving(&self, left: Vec<Range<u64>>) {
        self.leaving.borrow_mut().runs.extend(left);
    }

    /// Frees blocks that have left, and writes the chunks that waited for them.
    pub(super) fn free_left(self: &Rc<Self>, left: Vec<Range<u64>>) {
        self.free(left);
        self.place_waiting();
    }

    fn free(&self, left: Vec<Range<u64>>) {
        self.leaving.borrow_mut().blocks -= blocks_of(&left);
        left.into_iter().for_each(self.freeing());
    }

    fn place_waiting(self: &Rc<Self>) {
        let waiting = self.leaving.borrow_mut().take_waiting();
        waiting.into_iter().for_each(|chunk| self.place(chunk));
    }

    /// Chunks wait for what is leaving.
    pub(super) fn is_waited_for(&self) -> bool {
        self.leaving.borrow().wanted_blocks > 0
    }

    /// The device takes nothing more for now: who waits is told.
    pub(super) fn refuse_waiting(&self, error: io::ErrorKind) {
        let waiting = self.leaving.borrow_mut().take_waiting();
        waiting.into_iter().for_each(|chunk| (chunk.done)(Err(error.into())));
    }

    /// Begins to write a chunk that waited, unless it has to wait again.
    fn place(self: &Rc<Self>, mut chunk: Chunk) {
        // A chunk before it may have met a device that fails.
        if self.takes_no_chunks() {
            return (chunk.done)(Err(io::ErrorKind::Other.into()));
        }
        match self.room(chunk.blocks(), &mut chunk.evictions) {
            Room::Here(run) => self.begin_after_wait(run, chunk),
            Room::Soon => self.wait(chunk),
            Room::Nowhere => (chunk.done)(Err(io::ErrorKind::StorageFull.into())),
        }
    }

    fn begin_after_wait(self: &Rc<Self>, run: Range<u64>, Chunk { bytes, done, .. }: Chunk) {
        let done = Rc::new(Cell::new(Some(done)));
        let its_done = Rc::clone(&done);
        let tell = move |outcome| {
            if let Some(done) = its_done.take() {
                done(outcome);
            }
        };
        // It was told that the write has begun, and hears of what kept it from that as of any failure.
        if self.begin_write(run, bytes, tell).is_err()
            && let Some(done) = done.take()
        {
            done(Err(io::ErrorKind::OutOfMemory.into()));
        }
    }

    fn begin_write(
        self: &Rc<Self>,
        run: Range<u64>,
        bytes: Block,
        done: impl FnOnce(io::Result<Reserved>) + 'static,
    ) -> Result<(), Exhausted> {
        let reserved = self.reserve(run);
        let (length, position, me) = (bytes.len() as u64, reserved.position(), Rc::clone(self));
        let written = move |outcome: io::Result<()>| {
            me.note(&outcome, length);
            done(match outcome {
                Ok(()) => {
                    me.note_written(&reserved);
                    Ok(reserved)
                }
                Err(error) => {
                    me.refused(reserved, &error);
                    Err(error)
                }
            });
        };
        self.disk.write(position, Data::Bytes(bytes), &self.common.pool, written)?;
        self.grow();
        Ok(())
    }
}

fn blocks_of(runs: &[Range<u64>]) -> u64 {
    runs.iter().map(|run| run.end - run.start).sum()
}
