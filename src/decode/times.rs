//! Times and frames, where a time is only near enough.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::Duration;

/// Frames that last so long, to the nearest.
pub(super) fn frames_of(time: Duration, rate_hz: u32) -> i64 {
    let frames = (time.as_micros() * u128::from(rate_hz) + 500_000) / 1_000_000;
    i64::try_from(frames).unwrap_or(i64::MAX / 2)
}

/// When a frame is heard; at once if it lies before the first.
pub fn time_of(frame: i64, rate_hz: u32) -> Duration {
    let frame = u64::try_from(frame).unwrap_or(0);
    let us = u128::from(frame) * 1_000_000 / u128::from(rate_hz.max(1));
    Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX))
}
