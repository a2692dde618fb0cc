//! A source that is put together out of parts: the segments of a variant, and what stands before them.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! How long a part is, nobody knows before it has come; so a position on a tape is the number of a part
//! and an offset in it, `part << 32 | offset`, and a part can be entered without those before it. Read in
//! order, parts that belong together are one object: behind the last byte of one follows the first of the
//! next, and an offset that lies behind its part means the parts that follow. Where they do not belong
//! together (a discontinuity, another init section, a part that cannot be had) a *stretch* ends: who reads
//! sees an end, and goes on with the next stretch by [`next_stretch`](Tape::next_stretch).

use std::{ops::Range, time::Duration};

/// Bits of a position that are an offset in its part.
const OFFSET_BITS: u32 = 32;

/// Parts of one tape at most.
pub const PARTS: u32 = 1 << 24;

/// The position of a part's first byte.
pub fn position_of(part: u32) -> u64 {
    u64::from(part) << OFFSET_BITS
}

/// The part of a position, and its offset there.
pub fn part_of(position: u64) -> (u32, u64) {
    ((position >> OFFSET_BITS) as u32, position & (u64::from(u32::MAX)))
}

/// What is known of a part before it comes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Part {
    /// How long it lasts, near enough.
    pub duration: Duration,
    /// The number of what has to be read before it, of those that were [added](Tape::add_head).
    pub head: Option<u32>,
    /// Whether it does not go on where the one before it ends.
    pub is_break: bool,
    /// Whether it is known to be missing.
    pub is_lost: bool,
}

/// All parts in their order, those that are only read before others behind them, and which of them are read
/// now.
#[derive(Debug, Default, Clone)]
pub struct Tape {
    media: Vec<Media>,
    /// Lengths of heads, where they are known.
    heads: Vec<Option<u32>>,
    /// Parts that are read in a row.
    stretch: Range<usize>,
    /// Something could not be had.
    is_torn: bool,
    /// Parts in a row that may be lost.
    borne: Option<u32>,
}

/// A part in 24 bytes.
#[derive(Debug, Clone, Copy)]
struct Media {
    /// Microseconds from the start of the tape to its end.
    end_us: u64,
    length: Option<u32>,
    head: u32,
    is_break: bool,
    /// Nothing of it is read, or nothing behind what came of it.
    is_lost: bool,
    /// Something of it could not be had, or was no media.
    is_missing: bool,
    /// That was known before.
    is_gap: bool,
}

/// No head.
const NONE: u32 = u32::MAX;

/// Where the reading of a stretch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// What says what the media is: before it, or the media itself.
    pub head: u64,
    /// The media.
    pub media: u64,
}

/// What lies between one stretch and the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// Where something is missing: how long it is, near enough, from the start of the stretch before to here.
    pub due: Option<Duration>,
    /// Whether something else starts here than what was before.
    pub is_break: bool,
    /// Whether this is the end of the tape.
    pub is_end: bool,
}

impl Tape {
    /// So many parts in a row may be lost; more are too many to go on.
    pub fn bear(&mut self, parts: u32) {
        self.borne = Some(parts);
    }

    /// Adds something that is read before others, and says its number.
    pub fn add_head(&mut self) -> u32 {
        self.heads.push(None);
        self.heads.len() as u32 - 1
    }

    /// Adds a part behind all others. More than [`PARTS`] are left out.
    pub fn push(&mut self, part: Part) {
        let Part { duration, head, is_break, is_lost } = part;
        if self.media.len() + self.heads.len() >= PARTS as usize {
            return;
        }
        let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let end_us = self.start_us(self.media.len()).saturating_add(duration_us);
        let head = head.unwrap_or(NONE);
        let (is_missing, is_gap, length) = (is_lost, is_lost, None);
        let media = Media { end_us, length, head, is_break, is_lost, is_missing, is_gap };
        self.media.push(media);
    }

    /// Goes to the first stretch, and says what is missing before it.
    pub fn rewind(&mut self) -> Join {
        self.stretch = 0..0;
        let join = self.next_stretch();
        Join { is_break: false, ..join }
    }

    /// Goes to the next stretch.
    pub fn next_stretch(&mut self) -> Join {
        let (from, end) = (self.stretch.start, self.stretch.end);
        let start = (end..self.media.len()).find(|at| !self.media[*at].is_lost);
        let start = start.unwrap_or(self.media.len());
        let is_torn = end.checked_sub(1).is_some_and(|last| end > from && self.media[last].is_lost);
        let is_missing = start > end || is_torn;
        let passed_us = self.start_us(start).saturating_sub(self.start_us(from));
        let between = self.media.get(end..=start.min(self.media.len().saturating_sub(1)));
        let is_break = between.is_some_and(|parts| parts.iter().any(|part| part.is_break));
        self.stretch = start..self.end_of(start);
        Join {
            due: is_missing.then_some(Duration::from_micros(passed_us)),
            is_break: is_break && end > 0,
            is_end: start == self.media.len(),
        }
    }

    /// Goes to the stretch that a part is of.
    pub fn go_to(&mut self, part: u32) {
        let (first, _) = self.start_of(part);
        self.stretch = first as usize..self.end_of(first as usize);
    }

    /// The first part of the stretch that a part is of, and when that starts, near enough.
    pub fn start_of(&self, part: u32) -> (u32, Duration) {
        let at = (part as usize).min(self.media.len().saturating_sub(1));
        let starts = |at: &usize| {
            let (before, part) = (self.media.get(at - 1), self.media[*at]);
            part.is_break || before.is_some_and(|before| before.is_lost || before.head != part.head)
        };
        let first = (1..=at).rev().find(starts).unwrap_or(0);
        (first as u32, Duration::from_micros(self.start_us(first)))
    }

    /// The first part of the stretch that is read now.
    pub fn first(&self) -> u32 {
        self.stretch.start as u32
    }

    /// The part behind the stretch that is read now.
    pub fn end(&self) -> u32 {
        self.stretch.end as u32
    }

    /// Whether a part is of the stretch that is read now.
    pub fn is_read(&self, part: u32) -> bool {
        self.stretch.contains(&(part as usize))
    }

    /// When a part starts, near enough.
    pub fn time_of(&self, part: u32) -> Duration {
        Duration::from_micros(self.start_us(part as usize))
    }

    /// The part that is heard at some time, near enough; the last behind the end.
    pub fn part_at(&self, time: Duration) -> u32 {
        let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let part = self.media.partition_point(|part| part.end_us <= time_us);
        part.min(self.media.len().saturating_sub(1)) as u32
    }

    /// Where the stretch starts that is read now.
    pub fn start(&self) -> Start {
        let media = position_of(self.stretch.start as u32);
        let head = self.media.get(self.stretch.start).map_or(NONE, |part| part.head);
        let head = if head == NONE { media } else { position_of(self.media.len() as u32 + head) };
        Start { head, media }
    }

    /// A part turned out to be so long.
    pub fn set_length(&mut self, part: u32, length: u32) {
        if let Some(known) = self.length_mut(part) {
            *known = Some(length);
        }
    }

    /// The rest of a part, or all of it, cannot be had: it is `length` bytes long, and no stretch goes on
    /// behind it. False: so many in a row are too many.
    #[must_use]
    pub fn lose(&mut self, part: u32, length: u32) -> bool {
        self.set_length(part, length);
        self.miss(part);
        let at = part as usize;
        let Some(media) = self.media.get_mut(at) else { return true };
        media.is_lost = true;
        if self.stretch.contains(&at) {
            self.stretch.end = if length == 0 { at } else { at + 1 };
        }
        let in_row = self.media[..=at].iter().rev().take_while(|media| media.is_lost);
        let looked_for = in_row.filter(|media| !media.is_gap).count();
        self.borne.is_none_or(|borne| looked_for <= borne as usize)
    }

    /// A part turned out to be no media, though what follows it in its stretch is read.
    pub fn miss(&mut self, part: u32) {
        self.is_torn = true;
        if let Some(media) = self.media.get_mut(part as usize) {
            media.is_missing = true;
        }
    }

    /// Whether something is missing of the part that is heard at some time.
    pub fn is_missing_at(&self, time: Duration) -> bool {
        self.media.get(self.part_at(time) as usize).is_some_and(|media| media.is_missing)
    }

    /// Whether something was [lost](Self::lose).
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// The position at which a byte lies, of one that may lie behind its part.
    pub fn normal(&self, position: u64) -> u64 {
        let (mut part, mut offset) = part_of(position);
        while let Some(length) = self.length(part)
            && offset >= u64::from(length)
            && (part as usize + 1) < self.stretch.end
        {
            offset -= u64::from(length);
            part += 1;
        }
        position_of(part) | offset.min(u32::MAX.into())
    }

    /// Whether the stretch, or the head, ends at or before a position. There is nothing in a part that there
    /// is not.
    pub fn at_end(&self, position: u64) -> bool {
        let (part, offset) = part_of(self.normal(position));
        let at = part as usize;
        let is_behind = match at < self.media.len() {
            true => at >= self.stretch.end,
            false => at - self.media.len() >= self.heads.len(),
        };
        is_behind || self.length(part).is_some_and(|length| offset >= length.into())
    }

    /// Bytes that lie before a position, as far as lengths are known.
    pub fn bytes_before(&self, position: u64) -> u64 {
        let (part, offset) = part_of(position);
        let before = self.media.iter().take(part as usize).filter_map(|media| media.length);
        before.map(u64::from).sum::<u64>().saturating_add(offset)
    }

    fn start_us(&self, at: usize) -> u64 {
        at.checked_sub(1).and_then(|before| self.media.get(before)).map_or(0, |part| part.end_us)
    }

    /// The part behind those that are read in a row from `start` on.
    fn end_of(&self, start: usize) -> usize {
        let Some(first) = self.media.get(start) else { return start };
        let rest = self.media[start + 1..].iter();
        let goes_on = |part: &&Media| !part.is_break && !part.is_lost && part.head == first.head;
        start + 1 + rest.take_while(goes_on).count()
    }

    fn length(&self, part: u32) -> Option<u32> {
        let part = part as usize;
        match self.media.get(part) {
            Some(media) => media.length,
            None => *self.heads.get(part - self.media.len())?,
        }
    }

    fn length_mut(&mut self, part: u32) -> Option<&mut Option<u32>> {
        let (part, media) = (part as usize, self.media.len());
        match self.media.get_mut(part) {
            Some(media) => Some(&mut media.length),
            None => self.heads.get_mut(part - media),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn part() -> Part {
        Part { duration: SECOND, head: None, is_break: false, is_lost: false }
    }

    fn tape(parts: &[Part]) -> Tape {
        let mut tape = Tape::default();
        tape.add_head();
        tape.add_head();
        parts.iter().for_each(|part| tape.push(*part));
        tape
    }

    #[test]
    fn parts_follow_each_other_as_their_lengths_become_known() {
        let mut tape = tape(&[part(), part(), part()]);
        let join = tape.rewind();
        assert_eq!(join, Join { due: None, is_break: false, is_end: false });
        assert_eq!(tape.start(), Start { head: 0, media: 0 });
        assert_eq!(tape.normal(100), 100);
        tape.set_length(0, 100);
        tape.set_length(1, 0);
        assert_eq!((tape.normal(99), tape.normal(100)), (99, position_of(2)));
        assert_eq!(tape.normal(107), position_of(2) + 7);
        assert!(!tape.at_end(107));
        tape.set_length(2, 7);
        assert!(tape.at_end(107) && !tape.at_end(106) && tape.at_end(position_of(2) + 900));
        assert_eq!(tape.bytes_before(position_of(2) + 3), 103);
        assert_eq!(tape.next_stretch(), Join { due: None, is_break: false, is_end: true });
    }

    #[test]
    fn a_stretch_ends_where_something_else_starts() {
        let with = |head| Part { head: Some(head), ..part() };
        let mut tape = tape(&[with(0), with(0), Part { is_break: true, ..with(0) }, with(1)]);
        tape.rewind();
        assert_eq!(tape.start(), Start { head: position_of(4), media: 0 });
        tape.set_length(1, 10);
        assert!(tape.at_end(position_of(1) + 10), "it does not go on with what is behind a break");
        assert!(!tape.at_end(position_of(4)));
        tape.set_length(4, 8);
        assert!(tape.at_end(position_of(4) + 8), "a head is by itself");
        assert_eq!(tape.next_stretch(), Join { due: None, is_break: true, is_end: false });
        assert_eq!(tape.start(), Start { head: position_of(4), media: position_of(2) });
        assert_eq!(tape.next_stretch(), Join { due: None, is_break: false, is_end: false });
        assert_eq!(tape.start(), Start { head: position_of(5), media: position_of(3) });
        assert!(tape.next_stretch().is_end);
    }

    #[test]
    fn where_there_is_no_part_nothing_is_waited_for() {
        let mut tape = tape(&[part()]);
        tape.rewind();
        assert!(!tape.at_end(position_of(1)) && !tape.at_end(position_of(2)), "heads");
        assert!(tape.at_end(position_of(3)) && tape.at_end(u64::MAX));
    }

    #[test]
    fn parts_and_stretches_are_found_by_time() {
        let other = Part { is_break: true, ..part() };
        let mut tape = tape(&[part(), part(), other, part(), part()]);
        tape.rewind();
        let found = |tape: &Tape, seconds: f64| tape.part_at(Duration::from_secs_f64(seconds));
        assert_eq!([0.0, 0.99, 1.0, 4.5, 9.0].map(|at| found(&tape, at)), [0, 0, 1, 4, 4]);
        assert!(tape.is_read(1) && !tape.is_read(2));
        assert_eq!(tape.start_of(4), (2, 2 * SECOND));
        tape.go_to(4);
        assert_eq!((tape.first(), tape.is_read(4), tape.is_read(1)), (2, true, false));
        tape.go_to(1);
        assert_eq!((tape.first(), tape.start_of(1)), (0, (0, Duration::ZERO)));
        assert_eq!(Tape::default().part_at(SECOND), 0);
    }

    #[test]
    fn more_than_so_many_in_a_row_are_too_many() {
        let mut tape = tape(&[part(); 9]);
        tape.bear(2);
        tape.rewind();
        assert!([0, 1, 3, 4].iter().all(|part| tape.lose(*part, 0)));
        assert!(!tape.lose(2, 0), "those before it are one row with it");
        assert!(tape.lose(8, 0));
    }

    #[test]
    fn what_is_missing_lasts_as_long_as_is_said() {
        let gap = Part { is_lost: true, ..part() };
        let mut tape = tape(&[gap, part(), part(), gap, part(), part(), gap]);
        assert_eq!(tape.rewind().due, Some(SECOND));
        assert_eq!(tape.start().media, position_of(1));
        tape.set_length(2, 5);
        assert!(tape.at_end(position_of(2) + 5));
        assert_eq!(tape.next_stretch().due, Some(3 * SECOND));
        // The second half of a part never comes.
        assert!(tape.lose(4, 9));
        let missing = |seconds| tape.is_missing_at(SECOND * seconds);
        assert_eq!([0, 1, 3, 4, 5].map(missing), [true, false, true, true, false]);
        assert!(!tape.at_end(position_of(4) + 8) && tape.at_end(position_of(4) + 9));
        assert_eq!(tape.next_stretch().due, Some(SECOND));
        assert_eq!(tape.start().media, position_of(5));
        // Nothing comes.
        assert!(tape.lose(5, 0));
        assert!(tape.at_end(position_of(5)));
        let end = Join { due: Some(2 * SECOND), is_break: false, is_end: true };
        assert_eq!(tape.next_stretch(), end);
    }
}
