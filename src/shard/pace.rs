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
}

impl Pace {
    /// One that starts with the first `frames`.
    pub(super) fn new(rate_hz: u32, frames: u64, now: Instant) -> Self {
        Self { started: now, rate_hz, frames }
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
}
