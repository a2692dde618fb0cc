//! When packets are to be heard, by their container.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::Duration;

use super::frames_of;

/// When a packet is to be heard, from whatever moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct Stamp {
    pub(super) ticks: u64,
    pub(super) ticks_per_second: u64,
    /// After so many ticks they begin anew.
    pub(super) round: Option<u64>,
}

impl Stamp {
    /// As MPEG-TS counts, and HLS for packed audio.
    pub(super) fn mpeg(ticks: u64) -> Self {
        Self { ticks, ticks_per_second: 90_000, round: Some(1 << 33) }
    }

    /// Frames from one to another that is `said` later, near enough: times may begin anew in between.
    pub(in crate::decode) fn frames_since(
        &self,
        start: &Self,
        said: Duration,
        rate_hz: u32,
    ) -> u64 {
        let per_second = self.ticks_per_second.max(1);
        let mut ticks = self.ticks.wrapping_sub(start.ticks);
        if let Some(round) = self.round {
            let said = said.as_micros() * u128::from(per_second) / 1_000_000;
            let said = u64::try_from(said).unwrap_or(u64::MAX / 2);
            ticks = ticks.wrapping_add(round) % round;
            let rounds = (said + round / 2).saturating_sub(ticks) / round;
            ticks += rounds * round;
        }
        frames_of(ticks, rate_hz.into(), per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_apart_though_they_begin_anew() {
        let stamp = |ticks| Stamp { ticks, ticks_per_second: 90_000, round: Some(1 << 33) };
        let frames = |from, to, seconds| {
            stamp(to).frames_since(&stamp(from), Duration::from_secs(seconds), 44_100)
        };
        assert_eq!(frames(126_000, 126_000 + 900_000, 10), 441_000);
        assert_eq!(frames((1 << 33) - 450_000, 450_000, 10), 441_000);
        // 30 hours are more than all of 33 bits.
        let thirty_hours = 30 * 3600;
        assert_eq!(
            frames(7, 7 + 90_000 * thirty_hours % (1 << 33), thirty_hours),
            44_100 * thirty_hours
        );
        let ticks = |ticks| Stamp { ticks, ticks_per_second: 44_100, round: None };
        assert_eq!(ticks(1_024_000).frames_since(&ticks(1024), Duration::ZERO, 44_100), 1_022_976);
    }
}
