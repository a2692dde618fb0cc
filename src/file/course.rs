//! How far one request of a fill has come.

use std::{
    cell::{Cell, OnceCell},
    ops::Range,
    time::Instant,
};

use super::plan::Running;
use crate::{
    assets::Asset,
    runtime,
    storage::{CHUNK_BYTES, Failure},
};

/// How far a request has come. What it says after its cancellation reaches nobody, since the fill
/// has let go of it: no error of an abandoned position is delivered.
pub(super) struct Course {
    pub(super) running: Cell<Running>,
    /// Nobody but prefetches wants its bytes.
    pub(super) is_paced: Cell<bool>,
    /// When its head came, and where the first byte belongs.
    measured: Cell<Option<(Instant, u64)>>,
    /// Its answer is a part, so that another could begin where it breaks off.
    pub(super) is_part: Cell<bool>,
    pub(super) outcome: OnceCell<Result<(), Failure>>,
}

impl Course {
    /// One that has just been asked for.
    pub(super) fn new(running: Running) -> Self {
        let (is_paced, measured, is_part, outcome) = Default::default();
        Self { running: Cell::new(running), is_paced, measured, is_part, outcome }
    }

    pub(super) fn position(&self) -> u64 {
        self.running.get().position
    }

    /// What it will bring, judged by what it has brought.
    pub(super) fn running(&self) -> Running {
        let running = self.running.get();
        // What is held back on purpose says nothing of the origin.
        let begun = self.measured.get().filter(|_| !self.is_paced.get());
        let Some((since, from)) = begun else { return running };
        running.judged(running.position - from, runtime::now() - since)
    }

    /// What does not come where it has failed, as [`lost`](super::plan::lost) takes it.
    pub(super) fn failed(&self) -> Running {
        match self.is_part.get() {
            true => Running::at(self.position()),
            false => self.running(),
        }
    }

    pub(super) fn set_paced(&self, is_paced: bool) {
        if self.is_paced.replace(is_paced) && !is_paced && self.measured.get().is_some() {
            self.begins();
        }
    }

    /// From here on it is judged.
    pub(super) fn begins(&self) {
        self.measured.set(Some((runtime::now(), self.position())));
    }

    /// What it has of its last chunk goes to the disk: no other fetch may come to end that chunk.
    pub(super) fn save(&self, asset: &Asset) {
        asset.resource.save(self.position().saturating_sub(1));
    }

    pub(super) fn move_to(&self, position: u64) {
        self.running.set(Running { position, ..self.running.get() });
    }
}

/// Since when the last chunk of a fetch has been partial, after `written` came `now`; `None` where it
/// is full.
pub(super) fn partial_since(
    before: Option<Instant>,
    written: Range<u64>,
    now: Instant,
) -> Option<Instant> {
    let is_same_chunk = written.start / CHUNK_BYTES == written.end / CHUNK_BYTES;
    let since = before.filter(|_| is_same_chunk).unwrap_or(now);
    (!written.end.is_multiple_of(CHUNK_BYTES)).then_some(since)
}
