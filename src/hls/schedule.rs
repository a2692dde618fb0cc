//! Which segment is fetched next, ahead of who listens.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! It begins with one, and doubles with each that is played: who jumps about, or wants a second of sound, has
//! little fetched for nothing.

use std::{collections::VecDeque, time::Duration};

use crate::stream::tape::Tape;

/// How far ahead of a listener segments are fetched.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// Of media.
    pub time: Duration,
    /// Of segments.
    pub bytes: u64,
}

/// What was fetched ahead of one listener.
#[derive(Debug)]
pub struct Schedule {
    reach: Reach,
    /// Segments that may be ahead for now.
    count: u32,
    /// The segment that is played.
    position: u32,
    /// Whether it is fetched too, where none was before it.
    begins_there: bool,
    /// Those behind it that were fetched, in a row, with their bytes.
    fetched: VecDeque<(u32, u64)>,
}

impl Schedule {
    /// Of a listener who has not begun. What is played first comes without it.
    pub fn new(reach: Reach) -> Self {
        Self { reach, count: 1, position: 0, begins_there: false, fetched: VecDeque::new() }
    }

    /// The same where also that is to be fetched.
    pub fn with_first(reach: Reach, position: u32) -> Self {
        Self { position, begins_there: true, ..Self::new(reach) }
    }

    /// The listener has come to a segment, by playing those before it.
    pub fn play(&mut self, position: u32) {
        for _ in self.position..position {
            self.count = self.count.saturating_mul(2);
        }
        self.begins_there &= self.position == position;
        self.position = position;
        while self.fetched.front().is_some_and(|(segment, _)| *segment <= position) {
            self.fetched.pop_front();
        }
    }

    /// The listener has jumped to a segment.
    pub fn jump(&mut self, position: u32) {
        (self.count, self.position) = (1, position);
        self.fetched.clear();
    }

    /// What was fetched is of no use, from the segment on that is played.
    pub fn again(&mut self) {
        self.begins_there = true;
        self.fetched.clear();
    }

    /// The listener has come to a segment: by playing, if it is at most so many behind the one before.
    pub fn come_to(&mut self, position: u32, near: u32) {
        match position.checked_sub(self.position) {
            Some(0) => {}
            Some(ahead) if ahead <= near => self.play(position),
            _ => self.jump(position),
        }
    }

    /// The segment to fetch now. `None`: not before the listener has moved.
    pub fn next(&self, tape: &Tape, segments: u32) -> Option<u32> {
        let next = self.due();
        let bytes: u64 = self.fetched.iter().map(|(_, bytes)| bytes).sum();
        let time = tape.time_of(next).saturating_sub(tape.time_of(self.position));
        let is_near = next - self.position <= self.count && time <= self.reach.time;
        (next < segments && is_near && bytes < self.reach.bytes).then_some(next)
    }

    /// A segment was fetched, of so many bytes; or it cannot be.
    pub fn fetched(&mut self, segment: u32, bytes: u64) {
        if segment == self.due() {
            self.begins_there = false;
            self.fetched.push_back((segment, bytes));
        }
    }

    /// The one behind those that were fetched, or that are played.
    fn due(&self) -> u32 {
        match self.fetched.back() {
            Some((last, _)) => last + 1,
            None if self.begins_there => self.position,
            None => self.position + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::tape::Part;

    const SEGMENTS: u32 = 100;

    fn tape() -> Tape {
        let mut tape = Tape::default();
        let part = Part { duration: Duration::from_secs(4), ..Part::default() };
        (0..SEGMENTS).for_each(|_| tape.push(part));
        tape
    }

    /// Fetches all that may be, of so many bytes each, and says up to where.
    fn fetch(schedule: &mut Schedule, bytes: u64) -> u32 {
        let tape = tape();
        while let Some(segment) = schedule.next(&tape, SEGMENTS) {
            schedule.fetched(segment, bytes);
        }
        schedule.fetched.back().map_or(schedule.position, |(last, _)| *last)
    }

    fn schedule() -> Schedule {
        Schedule::new(Reach { time: Duration::from_secs(120), bytes: 1000 })
    }

    #[test]
    fn who_asks_for_what_comes_soon_plays_on_and_others_jump() {
        let mut schedule = schedule();
        schedule.jump(10);
        assert_eq!(fetch(&mut schedule, 10), 11);
        schedule.come_to(12, 16);
        assert_eq!(fetch(&mut schedule, 10), 16);
        schedule.come_to(12, 16);
        assert_eq!(schedule.next(&tape(), SEGMENTS), None);
        schedule.come_to(50, 16);
        assert_eq!(fetch(&mut schedule, 10), 51);
        schedule.come_to(40, 16);
        assert_eq!(fetch(&mut schedule, 10), 41);
    }

    #[test]
    fn it_goes_farther_with_each_segment_that_is_played() {
        let mut schedule = schedule();
        let reached = [0, 1, 2, 3].map(|segment| {
            schedule.play(segment);
            fetch(&mut schedule, 1)
        });
        assert_eq!(reached, [1, 3, 6, 11]);
    }

    #[test]
    fn it_goes_no_farther_than_its_bounds() {
        let mut schedule = schedule();
        (0..20).for_each(|segment| {
            schedule.play(segment);
            fetch(&mut schedule, 1);
        });
        assert_eq!(fetch(&mut schedule, 1), 19 + 30, "120 seconds are 30 segments");
        let mut large = super::tests::schedule();
        (0..10).for_each(|segment| {
            large.play(segment);
            fetch(&mut large, 300);
        });
        assert_eq!(fetch(&mut large, 300), 9 + 4, "the fourth begins below the bound");
        let mut last = super::tests::schedule();
        last.play(SEGMENTS - 1);
        assert_eq!(last.next(&tape(), SEGMENTS), None);
    }

    #[test]
    fn the_first_is_fetched_too_where_that_is_wanted() {
        let mut schedule = Schedule::with_first(Reach { time: Duration::MAX, bytes: 1000 }, 7);
        assert_eq!(schedule.next(&tape(), SEGMENTS), Some(7));
        schedule.play(7);
        schedule.fetched(7, 1);
        assert_eq!(fetch(&mut schedule, 1), 8);
        let mut late = Schedule::with_first(Reach { time: Duration::MAX, bytes: 1000 }, 7);
        late.play(8);
        assert_eq!(late.next(&tape(), SEGMENTS), Some(9), "it is played already");
        fetch(&mut late, 1);
        late.again();
        assert_eq!(late.next(&tape(), SEGMENTS), Some(8));
    }

    #[test]
    fn who_plays_faster_than_can_be_fetched_is_not_waited_for() {
        let mut schedule = schedule();
        fetch(&mut schedule, 1);
        schedule.play(5);
        assert_eq!(fetch(&mut schedule, 1), 5 + 30);
    }

    #[test]
    fn a_jump_begins_anew() {
        let mut schedule = schedule();
        (0..4).for_each(|segment| schedule.play(segment));
        fetch(&mut schedule, 1);
        schedule.jump(50);
        assert_eq!(fetch(&mut schedule, 1), 51);
        schedule.jump(10);
        assert_eq!(fetch(&mut schedule, 1), 11);
        // What was under way for the place before says nothing here.
        schedule.fetched(52, 1);
        assert_eq!(fetch(&mut schedule, 1), 11);
    }
}
