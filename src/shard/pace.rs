//! How far ahead of real time a session is.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::{Duration, Instant};

/// Audio that a session has had, against the time since its first byte.
#[derive(Debug)]
pub(super) struct Pace {
    started: Instant,
    rate_hz: u32,
    frames: u64,
    /// How much later than by then it plays.
    late_us: i64,
}

/// What comes so little late that no player notices.
const UNNOTICED: Duration = Duration::from_millis(100);

impl Pace {
    /// One that starts with the first `frames`.
    pub(super) fn new(rate_hz: u32, frames: u64, now: Instant) -> Self {
        Self { started: now, rate_hz, frames, late_us: 0 }
    }

    /// It has so many frames by now. How much audio that is since the last time.
    pub(super) fn sent(&mut self, frames: u64) -> Duration {
        let before = std::mem::replace(&mut self.frames, frames);
        Duration::from_micros(self.us(frames - before))
    }

    /// Audio delivered minus time passed, in microseconds.
    pub(super) fn lead_us(&self, now: Instant) -> i64 {
        self.us(self.frames) as i64 - (now - self.started).as_micros() as i64
    }

    /// The client has room for more: if it was not in time for what it has, it plays that later.
    pub(super) fn takes(&mut self, now: Instant) {
        self.catch_up(now);
    }

    /// More is there for it. If that is later than what it has lasts: by how much it plays later from now on.
    pub(super) fn comes(&mut self, now: Instant) -> Option<Duration> {
        Some(self.catch_up(now)).filter(|late| *late >= UNNOTICED)
    }

    fn catch_up(&mut self, now: Instant) -> Duration {
        let late_us = (-self.lead_us(now) - self.late_us).max(0);
        self.late_us += late_us;
        Duration::from_micros(late_us.unsigned_abs())
    }

    fn us(&self, frames: u64) -> u64 {
        frames.saturating_mul(1_000_000) / u64::from(self.rate_hz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_is_what_was_sent_minus_what_was_played() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(48_000, 4_800, start);
        assert_eq!(pace.lead_us(start), 100_000);
        assert_eq!(pace.lead_us(after(300)), -200_000);
        assert_eq!(pace.sent(28_800), Duration::from_millis(500));
        assert_eq!(pace.lead_us(after(300)), 300_000);
        assert_eq!(pace.sent(28_800), Duration::ZERO);
    }

    #[test]
    fn who_waits_longer_than_what_it_has_stalls_and_plays_on_later() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(48_000, 48_000, start);
        assert_eq!(pace.comes(after(1050)), None, "it is hardly late");
        pace.sent(96_000);
        assert_eq!(pace.comes(after(3050)), Some(Duration::from_secs(1)));
        pace.sent(144_000);
        assert_eq!(pace.comes(after(4000)), None, "it plays a second later by now");
        // The client itself took its time.
        pace.takes(after(9000));
        assert_eq!(pace.comes(after(9050)), None);
    }
}
