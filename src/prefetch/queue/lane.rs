//! The items of one origin or library: those that wait, how many run, and how long no more of them
//! are begun.
//!
//! Pure: no I/O, no clock, no executor.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::Place;

/// The longest that an origin is left alone because it asked for it: what it says by mistake, or a
/// clock that is wrong, holds no queue for days.
pub(super) const HELD_MAX: Duration = Duration::from_secs(60 * 60);

/// The items of one origin.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) waiting: BTreeSet<Place>,
    pub(super) running: usize,
    /// When what was fetched from it is paid off.
    pub(super) paid_at: Option<Instant>,
    /// Until when it asked to be left alone.
    held_until: Option<Instant>,
}

impl Lane {
    pub(super) fn debt(&self, now: Instant) -> Duration {
        self.paid_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// How long nothing is begun: what runs pays off what was fetched, and an origin that named a time
    /// is asked nothing before it.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let held = self.held_until.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        held.max(self.debt(now))
    }

    /// The origin asked to be left alone for so long. The longest of what it asked counts.
    pub(super) fn hold(&mut self, wait: Duration, now: Instant) {
        self.held_until = self.held_until.max(Some(now + wait.min(HELD_MAX)));
    }

    pub(super) fn spend(&mut self, bytes: u64, rate: u64, now: Instant) {
        let from = self.paid_at.map_or(now, |at| at.max(now));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.paid_at = from.checked_add(Duration::from_nanos(nanos));
    }
}
