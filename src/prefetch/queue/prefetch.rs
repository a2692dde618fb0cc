//! One prefetch: how far each of its sources is, and what is told of all.
//!
//! Pure: no I/O, no clock, no executor.

use super::super::{journal::Summary, spec::Spec};
use crate::{pcm::SourceName, shard::Progress};

/// How far a prefetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing of it runs; it waits for its turn, or for another attempt.
    Queued,
    /// Something of it runs.
    Running,
    /// All of it is there.
    Done,
    /// Some of it cannot be had.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl State {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing follows.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// One prefetch, at the moment of the look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its number.
    pub id: u64,
    /// How far it is.
    pub state: State,
    /// Its sources, their bytes, and what failed; of one that has not ended, so far.
    pub summary: Summary,
    /// Why something waits for another attempt, as the last one said.
    pub last_error: Option<String>,
}

impl Status {
    /// What to say of it where something went wrong.
    pub fn error(&self) -> Option<String> {
        let failure = self.summary.failures.first();
        let failed = failure.map(|(source, why)| format!("{source}: {why}"));
        failed.or_else(|| self.last_error.clone())
    }
}

/// One prefetch.
pub(super) struct Prefetch {
    /// `None` once it has ended: then only the summary is left.
    pub(super) work: Option<Work>,
    pub(super) is_cancelled: bool,
    pub(super) summary: Summary,
}

pub(super) struct Work {
    pub(super) spec: Spec,
    /// How many of its sources were asked for. Those behind them come out of lists.
    pub(super) asked: u32,
    pub(super) items: Vec<Phase>,
    pub(super) is_begun: bool,
}

/// One item of a prefetch that has not ended.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    Waiting { failures: u32, progress: Progress, why: Option<String> },
    Running { failures: u32, progress: Progress },
    Ended { is_done: bool },
}

impl Default for Phase {
    fn default() -> Self {
        Self::Waiting { failures: 0, progress: Progress::default(), why: None }
    }
}

impl Phase {
    pub(super) fn progress(&self) -> Progress {
        match self {
            Self::Waiting { progress, .. } | Self::Running { progress, .. } => *progress,
            Self::Ended { .. } => Progress::default(),
        }
    }
}

impl Work {
    pub(super) fn ended(&self) -> Vec<u32> {
        let ended = |(_, phase): &(usize, &Phase)| matches!(phase, Phase::Ended { .. });
        self.items.iter().enumerate().filter(ended).map(|(index, _)| index as u32).collect()
    }

    /// Whether all items have ended.
    pub(super) fn is_over(&self) -> bool {
        self.items.iter().all(|phase| matches!(phase, Phase::Ended { .. }))
    }

    pub(super) fn done(&self) -> Vec<SourceName> {
        let done = |(_, phase): &(_, &Phase)| matches!(phase, Phase::Ended { is_done: true });
        let items = self.spec.sources.iter().zip(&self.items);
        items.filter(done).map(|(source, _)| source.clone()).collect()
    }
}

impl Prefetch {
    /// Whether nothing of it is left to do.
    pub(super) fn is_over(&self) -> bool {
        self.work.as_ref().is_none_or(Work::is_over)
    }

    pub(super) fn status(&self, id: u64) -> Status {
        let mut summary = self.summary.clone();
        let mut last_error = None;
        let mut is_running = false;
        for phase in self.work.iter().flat_map(|work| &work.items) {
            match phase {
                Phase::Ended { .. } => continue,
                Phase::Running { .. } => is_running = true,
                Phase::Waiting { why, .. } => last_error = last_error.or_else(|| why.clone()),
            }
            summary.add(phase.progress());
        }
        let state = match &self.work {
            _ if self.is_cancelled => State::Cancelled,
            None if summary.failed > 0 => State::Failed,
            None => State::Done,
            // It is found out what is there.
            Some(_) if is_running || self.is_over() => State::Running,
            Some(_) => State::Queued,
        };
        Status { id, state, summary, last_error }
    }
}
