//! What a resource keeps in memory: chunks that no disk takes, or not yet.

use std::{ops::Range, rc::Rc};

use super::{StreamingResource, WRITES_IN_FLIGHT};
use crate::storage::{CHUNK_BYTES, chunk::Chunk};

impl StreamingResource {
    /// Chunks that had no memory to be written with, the oldest first: tried again whenever some may
    /// be there.
    pub(super) fn store_kept(self: &Rc<Self>) {
        loop {
            self.store_head();
            let mut state = self.state.borrow_mut();
            if !state.is_cached() || state.writes_in_flight >= WRITES_IN_FLIGHT {
                return;
            }
            let Some(index) = state.kept.pop_front() else { return };
            let Some(Chunk::Memory(memory)) = state.chunks.get(&index) else { continue };
            let memory = memory.clone();
            drop(state);
            if self.store(index, &memory).is_err() {
                return self.state.borrow_mut().kept.push_front(index);
            }
        }
    }

    /// No disk takes this chunk: it stays in memory as long as there is room.
    pub(super) fn keep(&self, index: u64, token: u64) {
        let mut state = self.state.borrow_mut();
        if state.frozen(index, token).is_none() {
            return;
        }
        state.kept.push_back(index);
        drop(state);
        self.counters.count(|stats| stats.kept_chunks += 1);
        self.shrink();
    }

    /// Drops the oldest kept chunks that nobody wants, until the rest is within the bound.
    pub(super) fn shrink(&self) {
        while self.state.borrow().kept_bytes() > self.keep_bytes {
            let unwanted = self.oldest_unwanted();
            let Some(index) = unwanted else { return };
            self.counters.count(|stats| stats.dropped_chunks += 1);
            let stored = self.stored(index);
            self.state.borrow_mut().forget(index, stored);
        }
    }

    fn oldest_unwanted(&self) -> Option<u64> {
        self.state.borrow().kept.iter().copied().find(|index| !self.is_wanted(*index))
    }

    pub(super) fn is_wanted(&self, index: u64) -> bool {
        let chunk = index * CHUNK_BYTES..(index + 1) * CHUNK_BYTES;
        let wants = |range: &Range<u64>| range.start < chunk.end && chunk.start < range.end;
        self.demands.any(wants) || self.is_needed(index)
    }

    /// Whether a reader cannot go on without this chunk. Such a chunk always has room, or readers
    /// whose demands fill the memory would wait for each other for ever; what that adds to the bound
    /// is a chunk per reader.
    fn is_needed(&self, index: u64) -> bool {
        let begins = |range: &Range<u64>| range.start / CHUNK_BYTES == index;
        self.demands.any(begins) || self.readers.any(begins)
    }

    pub(super) fn has_room(&self, index: u64) -> bool {
        let state = self.state.borrow();
        if state.chunks.contains_key(&index) || self.stored(index).is_some() {
            return true;
        }
        if state.is_cached() {
            return state.writes_in_flight < WRITES_IN_FLIGHT;
        }
        state.kept_bytes() + CHUNK_BYTES <= self.keep_bytes
            || self.is_needed(index)
            || self.oldest_unwanted().is_some()
    }

    /// Demands changed: what was wanted may not be any more.
    pub(super) fn note_demands(self: &Rc<Self>) {
        self.store_kept();
        self.shrink();
        self.fills.wake(|()| true);
    }
}
