//! When the memory that a crowd took goes back to the system.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::{Duration, Instant};

/// What is less is not worth the trouble, in bytes.
const WORTH_BYTES: usize = 16 << 20;
/// Who comes back at once finds the memory still there.
const CALM: Duration = Duration::from_secs(5);
/// Giving back makes the shard wait for a moment: so seldom.
const INTERVAL: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing until a session ends.
    Wait,
    /// To look again then.
    LookAt(Instant),
    /// To give back what is free.
    GiveBack,
}

/// How long much less has been in use than was, and when memory was given back before.
#[derive(Debug, Default)]
pub(super) struct Thrift {
    low_since: Option<Instant>,
    given_back: Option<Instant>,
}

impl Thrift {
    /// Looks at the most that was in use since memory was given back, and at what is now.
    pub(super) fn look(&mut self, peak_bytes: usize, in_use_bytes: usize, now: Instant) -> Next {
        let is_low = in_use_bytes <= peak_bytes / 2;
        if !is_low || peak_bytes - in_use_bytes < WORTH_BYTES {
            self.low_since = None;
            return Next::Wait;
        }
        let calm = *self.low_since.get_or_insert(now) + CALM;
        let due = self.given_back.map_or(calm, |given_back| calm.max(given_back + INTERVAL));
        if now < due {
            return Next::LookAt(due);
        }
        *self = Self { low_since: None, given_back: Some(now) };
        Next::GiveBack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn what_a_crowd_took_is_given_back_once_it_has_been_gone_for_a_while() {
        let (mut thrift, start, peak) = (Thrift::default(), Instant::now(), 100 * MIB);
        assert_eq!(thrift.look(peak, peak, start), Next::Wait);
        assert_eq!(thrift.look(peak, 60 * MIB, start), Next::Wait, "most of it is there");
        assert_eq!(thrift.look(peak, 10 * MIB, start), Next::LookAt(after(start, 5)));
        assert_eq!(thrift.look(peak, 9 * MIB, after(start, 3)), Next::LookAt(after(start, 5)));
        assert_eq!(thrift.look(peak, 9 * MIB, after(start, 5)), Next::GiveBack);
        assert_eq!(thrift.look(9 * MIB, 0, after(start, 6)), Next::Wait, "nothing is left to give");
    }

    #[test]
    fn who_comes_back_in_time_finds_it_there() {
        let (mut thrift, start, peak) = (Thrift::default(), Instant::now(), 100 * MIB);
        assert_eq!(thrift.look(peak, MIB, start), Next::LookAt(after(start, 5)));
        assert_eq!(thrift.look(peak, 90 * MIB, after(start, 5)), Next::Wait);
        assert_eq!(thrift.look(peak, MIB, after(start, 8)), Next::LookAt(after(start, 13)));
    }

    #[test]
    fn crowd_after_crowd_it_is_given_back_once_a_minute() {
        let (mut thrift, start, peak) = (Thrift::default(), Instant::now(), 100 * MIB);
        thrift.look(peak, 0, start);
        assert_eq!(thrift.look(peak, 0, after(start, 5)), Next::GiveBack);
        assert_eq!(thrift.look(peak, 0, after(start, 11)), Next::LookAt(after(start, 65)));
        assert_eq!(thrift.look(peak, 0, after(start, 65)), Next::GiveBack);
    }

    #[test]
    fn little_stays_where_it_is() {
        assert_eq!(Thrift::default().look(15 * MIB, 0, Instant::now()), Next::Wait);
    }
}
