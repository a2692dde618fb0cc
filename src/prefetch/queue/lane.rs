//! The items of one origin or library: those that wait, how many run, and what its rate still has to
//! pay off.
//!
//! Pure: no I/O, no clock, no executor.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::Place;

/// The items of one origin.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) waiting: BTreeSet<Place>,
    pub(super) running: usize,
    /// When what was fetched from it is paid off.
    pub(super) paid_at: Option<Instant>,
}

impl Lane {
    pub(super) fn debt(&self, now: Instant) -> Duration {
        self.paid_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    pub(super) fn spend(&mut self, bytes: u64, rate: u64, now: Instant) {
        let from = self.paid_at.map_or(now, |at| at.max(now));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.paid_at = from.checked_add(Duration::from_nanos(nanos));
    }
}
