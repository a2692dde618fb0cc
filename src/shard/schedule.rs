//! Whose turn it is to decode: the session with the smallest lead.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A session's lead is the audio it has delivered minus the time since its first byte. Who plays at
//! real time and is short of audio has a small one; who downloads as fast as it can soon has a
//! large one, and so never makes the others late. Sessions more than [`AHEAD_US`] ahead are in no
//! hurry at all: among them turns go round.

use slab::Slab;

/// Lead beyond which order no longer matters, in microseconds.
const AHEAD_US: i64 = 30_000_000;

/// Names a waiting session until it takes its turn, or leaves.
pub(super) type Ticket = usize;

/// Who waits for a turn, and whether one is given. At most one session has a turn.
#[derive(Default)]
pub(super) struct Schedule {
    waiting: Slab<Waiting>,
    /// Whether the turn is given to somebody, who may not have noticed yet.
    given: bool,
    /// Who that is, as long as it has not noticed. Its place stays taken, so that its ticket names
    /// nobody else.
    called: Option<Ticket>,
    /// Counts arrivals: among equals, first come, first served.
    arrivals: u64,
}

struct Waiting {
    lead_us: i64,
    arrival: u64,
}

impl Schedule {
    /// Joins those who wait. `lead_us` is what the session has over, in microseconds of audio.
    pub(super) fn join(&mut self, lead_us: i64) -> Ticket {
        self.arrivals += 1;
        let lead_us = lead_us.min(AHEAD_US);
        self.waiting.insert(Waiting { lead_us, arrival: self.arrivals })
    }

    /// Stops waiting. Who was called gives the turn back by that.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.waiting.remove(ticket);
        if self.called.take_if(|called| *called == ticket).is_some() {
            self.given = false;
        }
    }

    /// Calls the one who needs the turn most, unless it is given or nobody waits.
    pub(super) fn call(&mut self) -> Option<Ticket> {
        if self.given {
            return None;
        }
        let next = self.waiting.iter().min_by_key(|(_, w)| (w.lead_us, w.arrival))?.0;
        self.given = true;
        self.called = Some(next);
        self.called
    }

    /// Whether `ticket` was called. If so its turn begins, and it waits no longer.
    pub(super) fn begin(&mut self, ticket: Ticket) -> bool {
        let is_called = self.called.take_if(|called| *called == ticket).is_some();
        if is_called {
            self.waiting.remove(ticket);
        }
        is_called
    }

    /// The turn is over.
    pub(super) fn end(&mut self) {
        debug_assert!(self.given && self.called.is_none());
        self.given = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls somebody, whose turn begins at once.
    fn give(schedule: &mut Schedule) -> Option<Ticket> {
        let ticket = schedule.call()?;
        assert!(schedule.begin(ticket));
        Some(ticket)
    }

    #[test]
    fn the_smallest_lead_goes_first() {
        let mut schedule = Schedule::default();
        let [late, early] = [schedule.join(500_000), schedule.join(-20_000)];
        assert_eq!(give(&mut schedule), Some(early));
        assert_eq!(schedule.call(), None);
        schedule.end();
        assert_eq!(give(&mut schedule), Some(late));
    }

    #[test]
    fn those_far_ahead_share_what_is_left_in_turn() {
        let mut schedule = Schedule::default();
        let [far, farther] = [schedule.join(90_000_000), schedule.join(40_000_000)];
        assert_eq!(give(&mut schedule), Some(far));
        schedule.end();
        let again = schedule.join(91_000_000);
        assert_eq!(give(&mut schedule), Some(farther));
        schedule.end();
        assert_eq!(give(&mut schedule), Some(again));
    }

    #[test]
    fn who_leaves_is_not_called() {
        let mut schedule = Schedule::default();
        let [gone, stays] = [schedule.join(0), schedule.join(1)];
        schedule.leave(gone);
        assert_eq!(schedule.call(), Some(stays));
    }

    #[test]
    fn who_comes_while_another_is_called_is_not_taken_for_it() {
        let mut schedule = Schedule::default();
        let called = schedule.join(0);
        assert_eq!(schedule.call(), Some(called));
        let next = schedule.join(0);
        assert!(!schedule.begin(next));
        schedule.leave(called);
        assert_eq!(schedule.call(), Some(next));
    }

    /// One core, a paced crowd and one glutton: nobody of the crowd falls behind.
    #[test]
    fn a_glutton_makes_nobody_late() {
        const SLICE_US: i64 = 200;
        // One slice yields 100 ms of audio; the crowd of 50 uses a tenth of the core.
        const AUDIO_US: i64 = 100_000;
        let mut schedule = Schedule::default();
        let mut delivered = vec![0_i64; 51];
        let (mut now, mut worst) = (0, 0);
        let mut tickets = std::collections::HashMap::new();
        while now < 20_000_000 {
            for (session, audio) in delivered.iter().enumerate() {
                let glutton = session == 50;
                let hungry = glutton || audio - now < 2 * AUDIO_US;
                if hungry && !tickets.values().any(|waiting| *waiting == session) {
                    tickets.insert(schedule.join(audio - now), session);
                }
            }
            if let Some(ticket) = give(&mut schedule) {
                delivered[tickets.remove(&ticket).unwrap()] += AUDIO_US;
                schedule.end();
            }
            now += SLICE_US;
            let crowd = &delivered[..50];
            if now > 100_000 {
                worst = worst.min(crowd.iter().map(|audio| audio - now).min().unwrap());
            }
        }
        assert!(worst > -1_000, "somebody was {worst} us late");
        assert!(delivered[50] > 1_000_000_000, "the glutton got {} us", delivered[50]);
    }
}
