//! The samples of a track by its fragments (ISO/IEC 14496-12, 8.8), one after another.
//!
//! Fragments are read as they are met: their boxes one by one, the entries of a run a few KiB at a
//! time. One whose boxes make no sense is passed, and the next looked for by its name.

use std::rc::Rc;

use super::Sample;
use crate::{
    decode::{
        demux::column::Column,
        mp4::{BOX_HEADER_BYTES, Defaults, box_header, u32_at, u64_at},
        source::{Inside, Window},
    },
    stream::tape,
};

/// Goes from fragment to fragment.
pub(super) struct Fragments<'y> {
    inside: Rc<Inside<'y>>,
    defaults: Defaults,
    /// Where the file starts in the object.
    base: u64,
    /// Where the next box of the file starts.
    at: u64,
    /// The fragment that is gone through.
    fragment: Span,
    /// The part of it that speaks of one track.
    part: Option<Part>,
    run: Option<Run<'y>>,
    /// Samples of the track in the fragment that were passed.
    passed: u64,
    /// Number of the last fragment.
    sequence: Option<u32>,
    /// Something was passed since the last sample.
    is_torn: bool,
    /// Where the next sample starts, in ticks.
    place: Option<u64>,
}

/// A box that is gone through.
#[derive(Debug, Default, Clone, Copy)]
struct Span {
    start: u64,
    /// Where the next box inside it starts.
    at: u64,
    end: u64,
}

/// What a fragment says of one track (`traf`).
#[derive(Debug, Clone, Copy)]
struct Part {
    span: Span,
    is_wanted: bool,
    defaults: Defaults,
    /// From where its runs count, and where the one before it ends.
    from: u64,
    next: u64,
}

/// Samples in a row (`trun`).
struct Run<'y> {
    entries: Option<Column<'y>>,
    flags: u32,
    count: u64,
    next: u64,
    position: u64,
}

/// What comes next.
pub(super) enum Met {
    Sample(Sample),
    /// So many ticks are missing before the next sample.
    Missing(u64),
}

const TICKS: u32 = 0x100;
const BYTES: u32 = 0x200;
/// What an entry of a run can say, a word each.
const FIELDS: [u32; 4] = [TICKS, BYTES, 0x400, 0x800];
/// Boxes that stand beside fragments, by which one is told from bytes that are none.
const BESIDE: [&[u8; 4]; 14] = [
    b"moof", b"mdat", b"styp", b"sidx", b"ssix", b"free", b"skip", b"emsg", b"prft", b"mfra",
    b"uuid", b"ftyp", b"moov", b"meta",
];
/// Bytes from the start of a fragment to the name of its first box.
const NAMES_BYTES: usize = 16;

impl<'y> Fragments<'y> {
    /// The fragments from the box on that starts at `start` in the object.
    pub(super) fn new(inside: &Rc<Inside<'y>>, base: u64, start: u64, defaults: Defaults) -> Self {
        Self {
            inside: Rc::clone(inside),
            defaults,
            base,
            at: start,
            fragment: Span::default(),
            part: None,
            run: None,
            passed: 0,
            sequence: None,
            is_torn: false,
            place: None,
        }
    }

    /// The same from the fragment that starts at `position` on, behind so many of its samples. `None`: they
    /// are not there.
    pub(super) fn entered(&self, position: u64, passed: u64) -> Option<Self> {
        let mut entered = self.at(position);
        if !entered.enter_fragment() || entered.fragment.start != position {
            return None;
        }
        while entered.passed < passed {
            entered.next()?;
        }
        Some(entered)
    }

    /// The same from the first fragment on that starts at `position` or behind.
    pub(super) fn at(&self, position: u64) -> Self {
        Self::new(&self.inside, self.base, position, self.defaults)
    }

    /// When the first sample is heard, in ticks, if its fragment says so.
    pub(super) fn first_time(mut self) -> Option<u64> {
        if !self.enter_fragment() {
            return None;
        }
        while self.place.is_none() && self.run.is_none() {
            if self.part.is_some_and(|part| part.span.at < part.span.end) {
                self.enter_run();
            } else if self.fragment.at < self.fragment.end {
                self.enter_part();
            } else {
                break;
            }
        }
        self.place
    }

    /// The next sample of the track, or what is missing before it. `None`: there is none.
    pub(super) fn next(&mut self) -> Option<Met> {
        loop {
            if let Some(met) = self.next_of_run() {
                return Some(met);
            }
            self.run = None;
            if self.part.is_some_and(|part| part.span.at < part.span.end) {
                if let Some(missing) = self.enter_run() {
                    return Some(Met::Missing(missing));
                }
            } else if self.fragment.at < self.fragment.end {
                self.enter_part();
            } else if !self.enter_fragment() {
                return None;
            }
        }
    }

    fn next_of_run(&mut self) -> Option<Met> {
        let (run, part) = (self.run.as_mut()?, self.part.as_mut()?);
        if run.next >= run.count {
            part.next = run.position;
            return None;
        }
        let (ticks, bytes) = run.sample(&part.defaults)?;
        // Samples of no bytes that no entry speaks of are none.
        let count = if run.entries.is_none() && bytes == 0 { run.count - run.next } else { 1 };
        let sample = Sample {
            position: run.position,
            bytes: bytes as usize,
            ticks: u64::from(ticks).saturating_mul(count),
            count,
            place: Some((self.fragment.start, self.passed)),
        };
        self.passed += count;
        run.next += count;
        run.position = run.position.saturating_add(bytes.into());
        self.is_torn = false;
        self.place = self.place.map(|place| place.saturating_add(sample.ticks));
        Some(Met::Sample(sample))
    }

    /// Passes what is left of the run, and says how many samples and ticks those were.
    pub(super) fn pass_run(&mut self) -> (u64, u64) {
        let (Some(run), Some(part)) = (self.run.as_mut(), self.part.as_ref()) else {
            return (0, 0);
        };
        let (count, mut ticks) = (run.count - run.next, 0_u64);
        if run.flags & TICKS == 0 {
            ticks = count.saturating_mul(part.defaults.ticks.into());
        } else {
            while let Some((each, _)) = run.sample(&part.defaults) {
                (ticks, run.next) = (ticks.saturating_add(each.into()), run.next + 1);
            }
        }
        run.next = run.count;
        self.passed += count;
        self.place = self.place.map(|place| place.saturating_add(ticks));
        (count, ticks)
    }

    /// The header of a box at `at`: its name, where its content starts and where it ends.
    fn header(&self, at: u64, end: u64) -> Option<([u8; 4], Span)> {
        let mut head = [0; BOX_HEADER_BYTES];
        let got = self.inside.read_full(at, &mut head);
        let (kind, start, stop) = box_header(&head[..got], at)?;
        let is_sound = (start..=end).contains(&stop);
        is_sound.then_some((kind, Span { start: at, at: start, end: stop }))
    }

    /// Goes into the next fragment. `false`: there is none.
    fn enter_fragment(&mut self) -> bool {
        self.part = None;
        loop {
            self.at = self.inside.settled(self.at);
            match self.header(self.at, u64::MAX) {
                Some((kind, span)) if &kind == b"moof" && self.stands_before(span.end) => {
                    (self.fragment, self.at, self.passed) = (span, span.end, 0);
                    return true;
                }
                Some((kind, span)) if BESIDE.contains(&&kind) && self.stands_before(span.end) => {
                    self.at = span.end;
                }
                Some(_) => match self.find_fragment() {
                    Some(found) => self.at = found,
                    None => return false,
                },
                None => return false,
            }
        }
    }

    /// Whether a box that ends there is followed by another, or by the end.
    fn stands_before(&self, at: u64) -> bool {
        let mut head = [0; 8];
        match self.inside.read_full(at, &mut head) {
            8 => BESIDE.iter().any(|kind| head[4..] == kind[..]),
            _ => true,
        }
    }

    /// Where the next fragment starts behind bytes that are no box.
    fn find_fragment(&mut self) -> Option<u64> {
        self.is_torn = true;
        let mut window = Window::new(Rc::clone(&self.inside), self.at + 1, u64::MAX);
        loop {
            let bytes = window.ahead(NAMES_BYTES);
            let is_start = |head: &[u8]| &head[4..8] == b"moof" && &head[12..] == b"mfhd";
            match bytes.windows(NAMES_BYTES).position(is_start) {
                Some(found) => return Some(window.position() + found as u64),
                None if bytes.len() < NAMES_BYTES => return None,
                None => {
                    let passed = bytes.len() - NAMES_BYTES + 1;
                    window.skip(passed as u64);
                }
            }
        }
    }

    /// Goes into the next part of the fragment, if its next box is one.
    fn enter_part(&mut self) {
        let Some((kind, span)) = self.header(self.fragment.at, self.fragment.end) else {
            (self.fragment.at, self.is_torn) = (self.fragment.end, true);
            return;
        };
        self.fragment.at = span.end;
        match &kind {
            b"mfhd" => {
                let mut body = [0; 8];
                self.inside.read_full(span.at, &mut body);
                let number = u32_at(&body, 4);
                self.is_torn |= self.sequence.is_some_and(|last| number > last.saturating_add(1));
                self.sequence = Some(number);
            }
            b"traf" => {
                let next = self.part.map_or(self.fragment.start, |part| part.next);
                let defaults = Defaults { track: 0, ..self.defaults };
                let from = self.fragment.start;
                self.part = Some(Part { span, is_wanted: false, defaults, from, next });
            }
            _ => {}
        }
    }

    /// Goes on to the next run of the part, if its next box is one. Says what is missing before it.
    fn enter_run(&mut self) -> Option<u64> {
        let mut part = self.part.take()?;
        let found = self.header(part.span.at, part.span.end);
        let Some((kind, span)) = found else {
            (part.span.at, self.is_torn) = (part.span.end, true);
            self.part = Some(part);
            return None;
        };
        part.span.at = span.end;
        let mut missing = None;
        match &kind {
            b"tfhd" => self.describe(&mut part, &span),
            b"tfdt" if part.is_wanted => missing = self.place_at(&span),
            b"trun" => {
                let mut run = self.run_of(&part, &span);
                if part.is_wanted {
                    self.run = Some(run);
                } else {
                    run.pass(&part.defaults);
                    part.next = run.position;
                }
            }
            _ => {}
        }
        self.part = Some(part);
        missing
    }

    /// Reads what a part says of its samples (`tfhd`).
    fn describe(&self, part: &mut Part, span: &Span) {
        let mut body = [0; 36];
        let room = (span.end - span.at).min(body.len() as u64) as usize;
        self.inside.read_full(span.at, &mut body[..room]);
        let flags = u32_at(&body, 0);
        let track = u32_at(&body, 4);
        part.is_wanted = track == self.defaults.track;
        let mut at = 8;
        let mut take = |flag: u32, bytes: usize| {
            let is_there = flags & flag != 0;
            let here = at;
            at += if is_there { bytes } else { 0 };
            is_there.then_some(here)
        };
        part.from = match take(1, 8) {
            Some(at) => self.start_of_file().saturating_add(u64_at(&body, at)),
            // Without a place of its own it goes on where the part before it ends.
            None if flags & 0x2_0000 == 0 => part.next,
            None => self.fragment.start,
        };
        part.next = part.from;
        take(2, 4);
        let ticks = take(8, 4).map(|at| u32_at(&body, at));
        let bytes = take(0x10, 4).map(|at| u32_at(&body, at));
        part.defaults = Defaults {
            track,
            ticks: ticks.unwrap_or(self.defaults.ticks),
            bytes: bytes.unwrap_or(self.defaults.bytes),
        };
    }

    /// Where the file starts that the fragment lies in.
    fn start_of_file(&self) -> u64 {
        match self.inside.resident.is_tape() {
            true => tape::position_of(tape::part_of(self.fragment.start).0),
            false => self.base,
        }
    }

    /// Reads where the part's samples start (`tfdt`), and says what is missing before. A jump is only
    /// followed where something was passed: by itself, no player does.
    fn place_at(&mut self, span: &Span) -> Option<u64> {
        let mut body = [0; 12];
        self.inside.read_full(span.at, &mut body);
        let start = match body[0] {
            0 => u64::from(u32_at(&body, 4)),
            _ => u64_at(&body, 4),
        };
        let place = self.place.replace(start).filter(|_| self.is_torn);
        place.and_then(|place| start.checked_sub(place)).filter(|missing| *missing > 0)
    }

    /// Reads the start of a run.
    fn run_of(&self, part: &Part, span: &Span) -> Run<'y> {
        let mut body = [0; 12];
        self.inside.read_full(span.at, &mut body);
        let (flags, count) = (u32_at(&body, 0) & 0xFF_FFFF, u64::from(u32_at(&body, 4)));
        let offset = i64::from(u32_at(&body, 8) as i32);
        let position = match flags & 1 {
            0 => part.next,
            _ => part.from.saturating_add_signed(offset),
        };
        let words = |flags: u32, of: &[u32]| of.iter().filter(|flag| flags & **flag != 0).count();
        let start = span.at + 8 + 4 * words(flags, &[1, 4]) as u64;
        let entry_bytes = 4 * words(flags, &FIELDS);
        let entries = (entry_bytes > 0)
            .then(|| Column::new(&self.inside, start, span.end, entry_bytes, count));
        let count = entries.as_ref().map_or(count, Column::count);
        Run { entries, flags, count, next: 0, position }
    }
}

impl Run<'_> {
    /// Ticks and bytes of the next sample.
    fn sample(&mut self, defaults: &Defaults) -> Option<(u32, u32)> {
        let (flags, next) = (self.flags, self.next);
        if next >= self.count {
            return None;
        }
        let Some(entries) = &mut self.entries else {
            return Some((defaults.ticks, defaults.bytes));
        };
        let ticks = if flags & TICKS != 0 { entries.word(next, 0)? } else { defaults.ticks };
        let before = usize::from(flags & TICKS != 0);
        let bytes = if flags & BYTES != 0 { entries.word(next, before)? } else { defaults.bytes };
        Some((ticks, bytes))
    }

    /// Goes to the end, for where that lies.
    fn pass(&mut self, defaults: &Defaults) {
        if self.flags & BYTES == 0 {
            let all = self.count.saturating_mul(defaults.bytes.into());
            self.position = self.position.saturating_add(all);
            self.next = self.count;
        }
        while let Some((_, bytes)) = self.sample(defaults) {
            self.position = self.position.saturating_add(bytes.into());
            self.next += 1;
        }
    }
}
