//! What a resource knows of its bytes: which are present, which are in memory, which do not come.
//!
//! It does nothing by itself, and nothing in it waits: the resource looks here, lets go, and acts.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

use super::{Piece, Wait};
use crate::{
    bufpool::{Block, BufPool},
    storage::{
        CHUNK_BYTES, Error, Failure,
        chunk::{Chunk, Memory},
        format::Filled,
        range_set::RangeSet,
        volume::Home,
    },
};

/// Ranges of one resource that are known not to come, at a time. Readers of what is forgotten wait
/// until their fill tries it again.
const LOST_RANGES: usize = 16;

/// The state of a resource.
pub(super) struct State {
    pub(super) keeping: Keeping,
    pub(super) length: Option<u64>,
    /// Behind the last byte that ever came.
    pub(super) end: u64,
    pub(super) committed: bool,
    pub(super) failure: Option<Failure>,
    /// What does not come until somebody asks anew, the oldest first.
    pub(super) lost: VecDeque<(Range<u64>, Failure)>,
    pub(super) present: RangeSet,
    /// Those that are not on disk, or not with all their bytes.
    pub(super) chunks: BTreeMap<u64, Chunk>,
    /// The response head, at most a chunk long, until there is memory to write it with.
    pub(super) head: Option<Box<[u8]>>,
    /// Chunks kept in memory, the oldest first.
    pub(super) kept: VecDeque<u64>,
    pub(super) writes_in_flight: usize,
    pub(super) last_token: u64,
}

impl State {
    /// With what is on disk already.
    pub(super) fn new(home: Option<&Home>) -> Self {
        let meta = home.map(Home::meta).unwrap_or_default();
        let stored = home.map(Home::chunks).unwrap_or_default();
        let (present, end) = presence(&stored);
        Self {
            keeping: Keeping::of(home),
            length: meta.length,
            end,
            committed: meta.committed,
            failure: None,
            lost: VecDeque::new(),
            present,
            chunks: BTreeMap::new(),
            head: None,
            kept: VecDeque::new(),
            writes_in_flight: 0,
            last_token: 0,
        }
    }

    /// Whether new chunks go to disk.
    pub(super) fn is_cached(&self) -> bool {
        self.keeping == Keeping::Chunks
    }

    /// Whether there is something in memory alone that the disk may still take.
    pub(super) fn has_left(&self) -> bool {
        let has_head = self.head.is_some() && self.keeping != Keeping::Nothing;
        has_head || self.is_cached() && !self.kept.is_empty()
    }

    /// How a wait for `range` ends now; `None` while it does not.
    pub(super) fn look(&self, range: &Range<u64>) -> Option<Result<Wait, Failure>> {
        let end = self.length.map_or(range.end, |length| range.end.min(length));
        // In memory there may never be room for all of it at once.
        let chunk_end = (range.start / CHUNK_BYTES + 1).saturating_mul(CHUNK_BYTES);
        let end = if self.is_cached() { end } else { end.min(chunk_end) };
        if self.committed && self.length.is_some_and(|length| range.start >= length) {
            return Some(Ok(Wait::Eof));
        }
        let is_here = range.start < end && self.present.covers(&(range.start..end));
        if is_here || range.is_empty() {
            return Some(Ok(Wait::Ready));
        }
        let gap = || self.present.next_gap(range.start..end).map_or(range.start, |gap| gap.start);
        let failure = self.failure.as_ref().or_else(|| self.lost_at(gap()))?;
        match self.present.present_from(range.start) {
            Some(_) => Some(Ok(Wait::Ready)),
            None => Some(Err(failure.clone())),
        }
    }

    pub(super) fn lose_range(&mut self, range: Range<u64>, failure: Failure) {
        self.lost.push_back((range, failure));
        if self.lost.len() > LOST_RANGES {
            self.lost.pop_front();
        }
    }

    /// Why the missing byte at `position` does not come.
    pub(super) fn lost_at(&self, position: u64) -> Option<&Failure> {
        let lost = self.lost.iter().rev().find(|(range, _)| range.contains(&position));
        lost.map(|(_, failure)| failure)
    }

    /// Somebody sets out from `position`: what is lost on that way is tried again.
    pub(super) fn ask_anew(&mut self, position: u64) {
        self.lost.retain(|(lost, _)| lost.end <= position);
    }

    pub(super) fn at_hand(
        &mut self,
        position: u64,
        max: usize,
        stored: Option<Filled>,
        pool: &BufPool,
    ) -> Result<AtHand, Error> {
        if self.present.present_from(position).is_none() || max == 0 {
            return Ok(AtHand::Nothing);
        }
        let (index, at) = (position / CHUNK_BYTES, (position % CHUNK_BYTES) as u32);
        let bytes = match self.chunks.get_mut(&index) {
            Some(Chunk::Filling(filling)) => filling.read(at, max, pool)?,
            Some(Chunk::Memory(memory)) => {
                let start = index * CHUNK_BYTES + u64::from(memory.part.start);
                slice_of(&(start, memory.bytes()), position, max)
            }
            None => match stored {
                Some(stored) => return Ok(AtHand::OnDisk(stored)),
                None => None,
            },
        };
        Ok(bytes.map_or(AtHand::Nothing, AtHand::Bytes))
    }

    /// Adds bytes to a chunk that is being filled.
    pub(super) fn add(&mut self, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        if let Some(Chunk::Filling(filling)) = self.chunks.get_mut(&(at / CHUNK_BYTES)) {
            filling.add((at % CHUNK_BYTES) as u32, bytes);
            self.present.insert(at..end);
            // They came after all.
            self.lost.retain(|(lost, _)| lost.end <= at || end <= lost.start);
            self.end = self.end.max(end);
        }
    }

    /// Whether a chunk that is being filled has all the bytes it will ever have.
    pub(super) fn is_full(&self, index: u64) -> bool {
        let start = index * CHUNK_BYTES;
        let end = self.length.unwrap_or(u64::MAX).min(start + CHUNK_BYTES);
        let Some(Chunk::Filling(filling)) = self.chunks.get(&index) else { return false };
        end > start && filling.is_complete(end - start)
    }

    /// Chunks that are being filled and can be stored as they are. Those with holes stay in memory.
    pub(super) fn partial(&self) -> Vec<u64> {
        let is_partial = |chunk: &Chunk| matches!(chunk, Chunk::Filling(f) if f.is_one_part());
        self.chunks.iter().filter(|(_, chunk)| is_partial(chunk)).map(|(index, _)| *index).collect()
    }

    /// A chunk is on disk now, if it is still the frozen one that `token` names: its bytes.
    pub(super) fn settle(&mut self, index: u64, token: u64) -> Option<Block> {
        let bytes = self.frozen(index, token)?.bytes();
        self.chunks.remove(&index);
        Some(bytes)
    }

    /// The chunk, if it is still the frozen one that `token` names.
    pub(super) fn frozen(&mut self, index: u64, token: u64) -> Option<&mut Memory> {
        match self.chunks.get_mut(&index) {
            Some(Chunk::Memory(memory)) if memory.token == token => Some(memory),
            _ => None,
        }
    }

    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept.len() as u64 * CHUNK_BYTES
    }

    /// Takes a frozen chunk out: its bytes are missing, but for those that are on disk.
    pub(super) fn forget(&mut self, index: u64, stored: Option<Filled>) {
        let Some(chunk) = self.chunks.remove(&index) else { return };
        if let Some(part) = chunk.part() {
            self.present.remove(in_object(index, &part));
        }
        if let Some(stored) = stored {
            self.present.insert(in_object(index, &stored.part));
        }
        self.kept.retain(|kept| *kept != index);
    }

    /// What was on disk is not, unless it is in memory as well.
    pub(super) fn absent(&mut self, stored: &Filled) {
        let index = u64::from(stored.chunk);
        if !self.chunks.contains_key(&index) {
            self.present.remove(in_object(index, &stored.part));
        }
    }
}

/// What of a resource goes to disk from now on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// Every chunk.
    Chunks,
    /// The response head alone: with another chunk it would hold over half its volume.
    Head,
    /// Nothing.
    Nothing,
}

impl Keeping {
    /// With what is on disk already.
    fn of(home: Option<&Home>) -> Self {
        let Some(home) = home else { return Self::Nothing };
        let is_short = home.meta().length.is_some_and(|length| length <= home.share_bytes());
        match is_short || home.stored_bytes() + CHUNK_BYTES <= home.share_bytes() {
            true => Self::Chunks,
            false => Self::Head,
        }
    }
}

/// A part of a chunk, as bytes of the object.
pub(super) fn in_object(index: u64, part: &Range<u32>) -> Range<u64> {
    let start = index * CHUNK_BYTES;
    start + u64::from(part.start)..start + u64::from(part.end)
}

/// What is present when just `stored` is, and where the last of it ends.
pub(super) fn presence(stored: &[Filled]) -> (RangeSet, u64) {
    let mut present = RangeSet::default();
    let mut run = 0..0;
    for filled in stored {
        let part = in_object(u64::from(filled.chunk), &filled.part);
        if part.start != run.end {
            present.insert(std::mem::replace(&mut run, part));
        } else {
            run.end = part.end;
        }
    }
    let end = run.end;
    present.insert(run);
    (present, end)
}

/// Where the bytes at a position can be had.
pub(super) enum AtHand {
    Bytes(Block),
    OnDisk(Filled),
    Nothing,
}

/// What of a piece lies at `position`, at most `max` bytes.
pub(super) fn slice_of((start, bytes): &Piece, position: u64, max: usize) -> Option<Block> {
    let from = usize::try_from(position.checked_sub(*start)?).ok()?;
    let to = bytes.len().min(from.saturating_add(max));
    (from < to).then(|| bytes.slice(from..to))
}
