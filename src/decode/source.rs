//! The bytes of a track as the inside of a decoder's coroutine sees them: synchronous.
//!
//! A read of bytes that are not resident leaves the coroutine and goes on when they are. So does a
//! read after the slice's time is up, though the bytes are there: probing and demultiplexing can be
//! long, and the core has others to serve.

use std::{
    cell::{Cell, RefCell},
    io::{self, Read, Seek, SeekFrom},
    rc::Rc,
    time::Instant,
};

use send_wrapper::SendWrapper;
use symphonia::core::io::MediaSource;

use super::{
    Frames, Info,
    coroutine::{Below, Leave},
    index::Recording,
    spares::Spares,
};
use crate::{bufpool::Block, stream::Resident};

/// Why the inside left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// `length` bytes at `position` are wanted and the first of them is missing.
    Need { position: u64, length: usize },
    /// The slice's time is up.
    Slice,
    /// The tray is full.
    Tray,
}

/// What inside and outside of a coroutine share. Only one of them runs at a time.
pub(super) struct Desk {
    /// When the running slice ends.
    pub(super) until: Cell<Instant>,
    /// New frames, put here inside and taken outside.
    pub(super) tray: RefCell<Frames>,
    /// Index of the tray's first frame on the trimmed timeline.
    pub(super) tray_position: Cell<u64>,
    /// Frames of the trimmed timeline, once its last packet has passed.
    pub(super) frames_there: Cell<Option<u64>>,
    /// What was passed, for a seek index.
    pub(super) recording: RefCell<Recording>,
    /// What the track is, once it is known.
    pub(super) info: RefCell<Option<Info>>,
    /// Packets that were given to the codec.
    pub(super) decoded: Cell<u64>,
    /// Packets that did not decode.
    pub(super) undecoded: Cell<u64>,
    /// Frames that went on the tray and are no silence.
    pub(super) made: Cell<u64>,
    /// Where the last read of the source ended.
    pub(super) read_to: Cell<u64>,
}

/// The inside's way to bytes, and out.
pub(super) struct Inside<'y> {
    pub(super) leave: &'y Leave<(), Pause>,
    pub(super) below: Below,
    pub(super) desk: Rc<Desk>,
    pub(super) resident: Resident,
    /// What tables of the container may take of memory.
    pub(super) table_bytes: u64,
    pub(super) spares: Spares,
}

impl Inside<'_> {
    /// Leaves; comes back in the next slice.
    pub(super) fn pause(&self, pause: Pause) {
        self.leave.suspend(pause);
    }

    /// Whether the slice is over.
    pub(super) fn time_is_up(&self) -> bool {
        Instant::now() >= self.desk.until.get()
    }

    /// Copies at least one byte from `position` on, unless the source ends there (0).
    pub(super) fn read(&self, position: u64, into: &mut [u8]) -> usize {
        if into.is_empty() {
            return 0;
        }
        if self.time_is_up() {
            self.pause(Pause::Slice);
        }
        loop {
            let count = self.resident.read(position, into);
            if count > 0 || self.resident.at_end(position) {
                self.desk.read_to.set(self.resident.normal(position + count as u64));
                return count;
            }
            let position = self.resident.normal(position);
            self.pause(Pause::Need { position, length: into.len() });
        }
    }

    /// Up to `most` bytes from `position` on as they lie in memory, if more than `have` lie together there
    /// now. Where none is had yet, it waits for the first, unless the source ends there.
    fn lend(&self, position: u64, most: usize, have: usize) -> Option<Block> {
        if self.time_is_up() {
            self.pause(Pause::Slice);
        }
        loop {
            let block = self.resident.lend(position, most).filter(|block| block.len() > have);
            if let Some(block) = &block {
                self.desk.read_to.set(self.resident.normal(position + block.len() as u64));
            }
            if block.is_some() || have > 0 || self.resident.at_end(position) {
                return block;
            }
            let position = self.resident.normal(position);
            self.pause(Pause::Need { position, length: most });
        }
    }

    /// The position at which the byte lies that is read at `position`: on a tape, it may lie in the next part.
    pub(super) fn settled(&self, position: u64) -> u64 {
        self.read(position, &mut [0]);
        self.resident.normal(position)
    }

    /// Fills `into` from `position` on; less than its length only where the source ends.
    pub(super) fn read_full(&self, position: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            match self.read(position + done as u64, &mut into[done..]) {
                0 => break,
                count => done += count,
            }
        }
        done
    }
}

/// A source for symphonia's readers, whose position 0 is byte `start` of the object.
pub(super) struct Source<'y> {
    // symphonia asks for `Send + Sync`; nothing of a decoder ever leaves its thread.
    inside: SendWrapper<Rc<Inside<'y>>>,
    start: u64,
    position: u64,
    view: SendWrapper<View>,
}

/// What a reader of symphonia's is shown of the object, so that it reads what it would refuse.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// While set, its length is not shown: the reader goes through it in order and looks nothing up
    /// behind the audio.
    pub(super) in_order: Rc<Cell<bool>>,
    pub(super) patches: Vec<Patch>,
}

/// Bytes that stand in the place of others, and where.
pub(super) type Patch = (u64, Vec<u8>);

impl<'y> Source<'y> {
    pub(super) fn new(inside: Rc<Inside<'y>>, start: u64, view: View) -> Self {
        let (inside, view) = (SendWrapper::new(inside), SendWrapper::new(view));
        Self { inside, start, position: start, view }
    }
}

impl View {
    /// Puts the patches over `bytes` that were read at `at`.
    fn cover(&self, at: u64, bytes: &mut [u8]) {
        for (place, patch) in &self.patches {
            let from = at.max(*place);
            let to = (at + bytes.len() as u64).min(place + patch.len() as u64);
            if from < to {
                let covered = &mut bytes[(from - at) as usize..(to - at) as usize];
                covered.copy_from_slice(&patch[(from - place) as usize..(to - place) as usize]);
            }
        }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inside.read(self.position, into);
        self.view.cover(self.position - self.start, &mut into[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Source<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => self.start.checked_add(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => {
                self.byte_len().and_then(|length| (self.start + length).checked_add_signed(offset))
            }
        };
        match target {
            Some(target) if target >= self.start => {
                self.position = target;
                Ok(target - self.start)
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl MediaSource for Source<'_> {
    fn is_seekable(&self) -> bool {
        self.byte_len().is_some()
    }

    fn byte_len(&self) -> Option<u64> {
        let length = self.inside.resident.length().filter(|_| !self.view.in_order.get())?;
        Some(length.saturating_sub(self.start))
    }
}

/// Bytes of the source that lie ahead of a reader of ours: as they lie in a block, or joined out of two
/// where what is wanted crosses from one to the next.
pub(super) struct Window<'y> {
    inside: Rc<Inside<'y>>,
    /// What lies ahead; `None`: it is joined.
    lent: Option<Block>,
    joined: Vec<u8>,
    /// Where the unread part of them starts.
    from: usize,
    /// Position in the object of the first unread byte.
    position: u64,
    /// Nothing at or after this position belongs to the audio.
    end: u64,
}

/// How much of a block a window looks at together: several packets, and little enough that others are
/// let in often.
const LENT_BYTES: usize = 8 << 10;

impl<'y> Window<'y> {
    pub(super) fn new(inside: Rc<Inside<'y>>, position: u64, end: u64) -> Self {
        Self { inside, lent: None, joined: Vec::new(), from: 0, position, end }
    }

    /// Where it stands in the object.
    pub(super) fn position(&self) -> u64 {
        self.inside.resident.normal(self.position)
    }

    /// Whether so many bytes lie in one part there, those being ahead.
    pub(super) fn is_in_one_part(&self, bytes: usize) -> bool {
        let last = self.position.saturating_add(bytes as u64 - 1);
        self.inside.resident.normal(last) == last
    }

    /// At least `count` bytes from the current position on; fewer only at the end of the source.
    pub(super) fn ahead(&mut self, count: usize) -> &[u8] {
        while self.unread().len() < count && self.refill(count) {}
        self.unread()
    }

    /// Where the audio ends at the latest, by what is known.
    pub(super) fn end(&self) -> u64 {
        self.end.min(self.inside.resident.length().unwrap_or(u64::MAX))
    }

    /// Whether the object is known to end at or before that.
    pub(super) fn is_behind(&self, position: u64) -> bool {
        self.inside.resident.at_end(position)
    }

    /// Length of the object, if its end can be had before all the rest.
    pub(super) fn length_at_hand(&self) -> Option<u64> {
        self.inside.resident.length_at_hand()
    }

    /// Copies bytes that lie anywhere in the object; fewer only at its end.
    pub(super) fn read_elsewhere(&self, position: u64, into: &mut [u8]) -> usize {
        self.inside.read_full(position, into)
    }

    /// Goes to any position.
    pub(super) fn go_to(&mut self, position: u64) {
        let ahead = position.checked_sub(self.position);
        match ahead.filter(|ahead| *ahead <= self.unread().len() as u64) {
            Some(ahead) => self.skip(ahead),
            None => {
                self.let_go();
                self.position = position;
            }
        }
    }

    /// Goes `count` bytes on.
    pub(super) fn skip(&mut self, count: u64) {
        self.position = self.position.saturating_add(count);
        match usize::try_from(count).ok().filter(|count| *count < self.unread().len()) {
            Some(count) => self.from += count,
            None => self.let_go(),
        }
    }

    fn unread(&self) -> &[u8] {
        &self.lent.as_deref().unwrap_or(&self.joined)[self.from..]
    }

    fn let_go(&mut self) {
        (self.lent, self.from) = (None, 0);
        self.joined.clear();
    }

    /// Has more than before from its position on. `false` at the end.
    fn refill(&mut self, count: usize) -> bool {
        let have = self.unread().len();
        let room = self.end.saturating_sub(self.position);
        let most = room.min(count.max(LENT_BYTES) as u64) as usize;
        if most <= have {
            return false;
        }
        match self.inside.lend(self.position, most, have) {
            Some(block) => {
                self.let_go();
                self.lent = Some(block);
                true
            }
            None => self.join(count.min(most)),
        }
    }

    /// Adds to what is left of one block the first bytes of the next, up to `count` in all.
    fn join(&mut self, count: usize) -> bool {
        match self.lent.take() {
            Some(block) => {
                self.joined.clear();
                self.joined.extend_from_slice(&block[self.from..]);
            }
            None => drop(self.joined.drain(..self.from)),
        }
        self.from = 0;
        let have = self.joined.len();
        self.joined.resize(count, 0);
        let got =
            self.inside.read(self.position.saturating_add(have as u64), &mut self.joined[have..]);
        self.joined.truncate(have + got);
        got > 0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        bufpool::{self, BufPool, Class},
        decode::{Ask, Decoder, DecoderOptions, Stacks, Step},
        demo,
        stream::tape::{Part, Tape, part_of},
    };

    /// The bits on the left of the first frames of a source of which `bring` makes resident what is needed.
    fn played(resident: &Resident, mut bring: impl FnMut(&BufPool, u64)) -> Vec<u32> {
        let pool = BufPool::new(bufpool::Options { budget_bytes: 1 << 20 });
        let stacks = Stacks::new(DecoderOptions::default());
        let mut decoder = Decoder::new(&stacks, resident.clone(), Ask::default()).unwrap();
        let mut heard = Vec::new();
        while heard.len() < 50_000 {
            match decoder.step(Instant::now() + Duration::from_secs(10)).unwrap() {
                Step::Need { position, .. } => bring(&pool, position),
                Step::Frames => {
                    heard.extend(decoder.frames().planes[0].iter().map(|sample| sample.to_bits()));
                }
                Step::End => break,
                _ => {}
            }
        }
        heard
    }

    /// Nothing is resident but these bytes.
    fn put(resident: &Resident, pool: &BufPool, position: u64, bytes: &[u8]) {
        let mut block = pool.take(Class::holding(bytes.len())).unwrap();
        block[..bytes.len()].copy_from_slice(bytes);
        resident.clear();
        resident.insert(position, block.freeze(bytes.len()));
    }

    /// What is heard of `bytes`, of which a block of `block_bytes` at a time is here.
    fn heard(bytes: &[u8], block_bytes: usize) -> Vec<u32> {
        let resident = Resident::new(Some(bytes.len() as u64));
        played(&resident, |pool, position| {
            let start = position as usize / block_bytes * block_bytes;
            let block = &bytes[start..bytes.len().min(start + block_bytes)];
            put(&resident, pool, start as u64, block);
        })
    }

    /// The same of parts of so many bytes each, of which none says how long it is before it has come.
    fn heard_of_parts(bytes: &[u8], part_bytes: usize) -> Vec<u32> {
        let parts: Vec<_> = bytes.chunks(part_bytes).collect();
        let mut tape = Tape::default();
        parts.iter().for_each(|_| tape.push(Part::default()));
        let resident = Resident::of_tape(tape);
        played(&resident, |pool, position| {
            let (part, offset) = part_of(position);
            match parts[part as usize].get(offset as usize..).filter(|rest| !rest.is_empty()) {
                Some(rest) => put(&resident, pool, position, rest),
                None => {
                    let length = parts[part as usize].len() as u32;
                    resident.with_tape(|tape| tape.set_length(part, length));
                }
            }
        })
    }

    #[test]
    fn segments_are_one_object_wherever_they_are_cut() {
        for name in ["strings-bare.mp3", "strings.aac"] {
            let file = demo::FILES.iter().find(|file| file.name == name).unwrap();
            let whole = heard(file.bytes, 64 << 10);
            for part_bytes in [997, 4096, 30_000] {
                let of_parts = heard_of_parts(file.bytes, part_bytes);
                assert!(of_parts.starts_with(&whole), "{name} {part_bytes}");
            }
        }
    }

    #[test]
    fn packets_are_the_same_in_one_block_and_across_many() {
        for file in demo::FILES {
            let whole = heard(file.bytes, 64 << 10);
            for block_bytes in [997, 4096] {
                assert!(heard(file.bytes, block_bytes) == whole, "{} {block_bytes}", file.name);
            }
        }
    }
}
