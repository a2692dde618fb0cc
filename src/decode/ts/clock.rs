//! When frames are to be heard, and how many are missing before one that is late.
//!
//! Pure: no I/O, no clock, no executor.

use crate::decode::headers::Header;

/// Times count 90 kHz in 33 bits, and start anew every 26.5 hours.
const TICKS_PER_SECOND: f64 = 90_000.0;
const ROUND: f64 = (1u64 << 33) as f64;
/// The longest time that can be lost: what jumps further was put together of streams with times of
/// their own. ffmpeg draws the line there too.
const LONGEST_SECONDS: f64 = 10.0;

/// When the next packet is due, by the last that had a time. The packets in between say how long they
/// are, so they are added up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::decode) struct Clock {
    due: Option<f64>,
}

impl Clock {
    /// `between` packets like that of `header` lie before the one of this time.
    pub(in crate::decode) fn set(&mut self, pts: u64, between: u64, header: &Header) {
        self.due = Some(pts as f64 - between as f64 * ticks(header));
    }

    /// A packet has passed.
    pub(in crate::decode) fn pass(&mut self, header: &Header) {
        self.due = self.due.map(|due| due + ticks(header));
    }

    /// How many packets like that of `header` last until `other`, where that is not too long. What is
    /// early or late by less than half a packet is in time.
    pub(in crate::decode) fn packets_until(&self, other: &Self, header: &Header) -> u64 {
        let Some((due, other)) = self.due.zip(other.due) else { return 0 };
        let ahead = (other - due).rem_euclid(ROUND);
        if ahead > LONGEST_SECONDS * TICKS_PER_SECOND {
            0
        } else {
            (ahead / ticks(header)).round() as u64
        }
    }
}

/// How long a packet lasts.
fn ticks(header: &Header) -> f64 {
    f64::from(header.frames) * TICKS_PER_SECOND / f64::from(header.rate_hz)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1024 frames of 44.1 kHz: 2089.8 ticks.
    fn header() -> Header {
        Header::parse(&[0xFF, 0xF1, 0x50, 0x80, 0x2E, 0x7F, 0xFC]).unwrap()
    }

    /// Packets that are missing between one that ends at a time and one that has another.
    fn missing(due: u64, pts: u64) -> u64 {
        let (mut clock, mut other) = (Clock::default(), Clock::default());
        clock.set(due, 0, &header());
        other.set(pts, 0, &header());
        clock.packets_until(&other, &header())
    }

    #[test]
    fn whole_packets_are_missing_and_parts_of_one_are_not() {
        assert_eq!(missing(90_000, 90_000 + 6269), 3);
        assert_eq!(missing(90_000, 90_000 + 1044), 0);
        assert_eq!(missing(90_000, 90_000 + 1046), 1);
    }

    #[test]
    fn times_go_on_behind_their_last() {
        assert_eq!(missing((1 << 33) - 1000, 1090), 1);
        assert_eq!(missing((1 << 33) - 1000, 90), 1);
        assert_eq!(missing((1 << 33) - 1000, 5), 0);
    }

    #[test]
    fn what_goes_back_or_far_ahead_is_another_time() {
        assert_eq!(missing(90_000, 80_000), 0);
        assert_eq!(missing(90_000, 90_000 + 899_000), 430);
        assert_eq!(missing(90_000, 90_000 + 901_000), 0);
        let unset = Clock::default();
        assert_eq!(unset.packets_until(&unset, &header()), 0);
    }

    #[test]
    fn packets_without_a_time_are_added_up() {
        let (mut clock, mut other) = (Clock::default(), Clock::default());
        clock.set(0, 0, &header());
        (0..100_000).for_each(|_| clock.pass(&header()));
        other.set(208_979_592 + 4180, 1, &header());
        assert_eq!(clock.packets_until(&other, &header()), 1);
    }
}
