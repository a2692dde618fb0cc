//! What a catalog keeps of one generation of one object, in few bytes.
//!
//! Pure: no I/O, no clock, no executor.

use std::{mem, ops::Range};

use super::Run;
use crate::storage::{
    BLOCK_BYTES, CHUNK_BYTES, Generation, ObjectId,
    chunk_map::{ChunkMap, NUMBERS, Place},
    format::{FILLED_PER_RECORD, Filled, HEAD_CHUNK, LENGTH_UNKNOWN, Meta, Record},
};

/// The last second that a time in the catalog can name, in the year 2106; what is later is kept as
/// this.
pub const LAST_SECOND: u64 = u32::MAX as u64;

/// No block has this number.
const NO_HEAD: u32 = NUMBERS;

/// One generation of one object. Whatever is here is there a million times, so that fields are as
/// small as what they hold allows; their order leaves no gaps.
pub(super) struct Entry {
    // Two words, since a `u128` would align the entry to 16 bytes.
    object: [u64; 2],
    pub(super) generation: Generation,
    /// The length, and what else [`Meta`] says; [`LENGTH_UNKNOWN`] where it is not known.
    length: u64,
    /// Whole: 32 bits of it would take one change in four thousand million for none.
    validator: u64,
    /// Until [`LAST_SECOND`].
    born: u32,
    expires: u32,
    chunks: ChunkMap,
    /// Chunks of which other bytes are valid than their place in the object says.
    parts: Option<Box<Parts>>,
    /// The response head, and the number of its last byte; in block [`NO_HEAD`] where there is none.
    head: Place,
    head_last: u16,
    committed: bool,
    pub(super) phase: Phase,
    /// Blocks that all chunks take.
    pub(super) blocks: u32,
}

/// Where a generation stands.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Phase {
    AtRest,
    /// A resource is open on it.
    InUse,
    /// The same, but it was dropped: it goes when its user does.
    Dropped,
}

impl Entry {
    pub(super) fn new(object: ObjectId, generation: Generation, meta: Meta) -> Self {
        Self {
            object: [object.0 as u64, (object.0 >> 64) as u64],
            generation,
            length: meta.length.unwrap_or(LENGTH_UNKNOWN),
            validator: meta.validator,
            born: seconds(meta.born),
            expires: seconds(meta.expires),
            chunks: ChunkMap::default(),
            parts: None,
            head: Place { block: NO_HEAD, checksum: 0 },
            head_last: 0,
            committed: meta.committed,
            phase: Phase::AtRest,
            blocks: 0,
        }
    }

    pub(super) fn is_present(&self) -> bool {
        self.phase != Phase::Dropped
    }

    pub(super) fn object(&self) -> ObjectId {
        ObjectId(u128::from(self.object[1]) << 64 | u128::from(self.object[0]))
    }

    pub(super) fn meta(&self) -> Meta {
        let Self { committed, validator, .. } = *self;
        let length = Some(self.length).filter(|length| *length != LENGTH_UNKNOWN);
        let (born, expires) = (self.born.into(), self.expires.into());
        Meta { length, committed, born, expires, validator }
    }

    /// The parts that follow from the length follow from another one now.
    pub(super) fn set_meta(&mut self, meta: Meta) {
        let length = meta.length.unwrap_or(LENGTH_UNKNOWN);
        let Meta { committed, born, expires, validator, .. } = meta;
        (self.committed, self.validator) = (committed, validator);
        (self.born, self.expires) = (seconds(born), seconds(expires));
        if length == self.length {
            return;
        }
        let chunks: Vec<_> = self.body().collect();
        self.length = length;
        let parts = chunks.into_iter().filter(|filled| !self.is_natural(filled));
        self.set_parts(parts.map(|filled| Part::of(&filled)).collect());
    }

    /// What it has on the heap besides itself, in bytes.
    pub(super) fn heap_bytes(&self) -> u64 {
        let parts = self.parts.as_ref().map_or(0, |parts| parts.heap_bytes());
        allocated(self.chunks.heap_bytes()) + parts
    }

    /// Where a chunk lies.
    pub(super) fn chunk(&self, chunk: u32) -> Option<Filled> {
        if chunk == HEAD_CHUNK {
            let Place { block, checksum } = self.head;
            let part = 0..u32::from(self.head_last) + 1;
            return (block != NO_HEAD).then_some(Filled { chunk, block, part, checksum });
        }
        let Place { block, checksum } = self.chunks.get(chunk)?;
        Some(Filled { chunk, block, part: self.part(chunk), checksum })
    }

    /// All chunks but the response head, in order.
    pub(super) fn body(&self) -> impl Iterator<Item = Filled> + '_ {
        self.chunks.iter().map(|(chunk, Place { block, checksum })| {
            let part = self.part(chunk);
            Filled { chunk, block, part, checksum }
        })
    }

    /// All chunks, the response head first.
    pub(super) fn filled(&self) -> impl Iterator<Item = Filled> + '_ {
        self.chunk(HEAD_CHUNK).into_iter().chain(self.body())
    }

    fn part(&self, chunk: u32) -> Range<u32> {
        match self.part_at(chunk) {
            Ok(at) => self.parts()[at].range(),
            Err(_) => self.natural_part(chunk),
        }
    }

    /// Where a chunk's part is, or would be.
    fn part_at(&self, chunk: u32) -> Result<usize, usize> {
        self.parts().binary_search_by_key(&chunk, |part| part.chunk)
    }

    fn parts(&self) -> &[Part] {
        self.parts.as_ref().map_or(&[], |parts| &parts.0)
    }

    fn set_parts(&mut self, parts: Vec<Part>) {
        self.parts = (!parts.is_empty()).then(|| Box::new(Parts(parts)));
    }

    fn is_natural(&self, filled: &Filled) -> bool {
        filled.part == self.natural_part(filled.chunk)
    }

    /// What of a chunk is valid once it is complete.
    fn natural_part(&self, chunk: u32) -> Range<u32> {
        let start = u64::from(chunk) * CHUNK_BYTES;
        0..self.length.saturating_sub(start).min(CHUNK_BYTES) as u32
    }

    /// Puts a chunk where it was written: it is nowhere else.
    pub(super) fn put(&mut self, filled: &Filled) {
        let place = Place { block: filled.block, checksum: filled.checksum };
        self.blocks += blocks_of(&filled.part);
        if filled.chunk == HEAD_CHUNK {
            (self.head, self.head_last) = (place, last_of(&filled.part));
            return;
        }
        self.chunks.set(filled.chunk, place);
        self.note_part(filled);
    }

    fn note_part(&mut self, filled: &Filled) {
        self.forget_part(filled.chunk);
        if !self.is_natural(filled)
            && let Err(at) = self.part_at(filled.chunk)
        {
            self.parts.get_or_insert_default().0.insert(at, Part::of(filled));
        }
    }

    fn forget_part(&mut self, chunk: u32) {
        if let Ok(at) = self.part_at(chunk) {
            let mut parts = self.parts.take().map_or_else(Vec::new, |parts| parts.0);
            parts.remove(at);
            self.set_parts(parts);
        }
    }

    /// Takes a chunk out; the blocks it had.
    pub(super) fn take_out(&mut self, chunk: u32) -> Option<Run> {
        let filled = self.chunk(chunk)?;
        self.blocks -= blocks_of(&filled.part);
        if chunk == HEAD_CHUNK {
            self.head.block = NO_HEAD;
        } else {
            self.chunks.remove(chunk);
            self.forget_part(chunk);
        }
        Some(run_of(&filled))
    }

    /// Gives back memory that was kept for growth.
    pub(super) fn shrink(&mut self) {
        self.chunks.shrink();
    }

    /// What makes it.
    pub(super) fn records(&self, into: &mut Vec<Record>) {
        let (object, generation) = (self.object(), self.generation);
        into.push(Record::Object { object, generation, meta: self.meta() });
        let filled: Vec<_> = self.filled().collect();
        let fill = |chunks: &[Filled]| Record::Fill { object, generation, chunks: chunks.to_vec() };
        into.extend(filled.chunks(FILLED_PER_RECORD).map(fill));
    }
}

/// The blocks that hold the valid part of a chunk.
pub(in crate::storage) fn run_of(filled: &Filled) -> Run {
    let start = u64::from(filled.block);
    start..start + u64::from(blocks_of(&filled.part))
}

/// How many blocks a valid part touches.
fn blocks_of(part: &Range<u32>) -> u32 {
    part.end.div_ceil(BLOCK_BYTES as u32) - part.start / BLOCK_BYTES as u32
}

/// Parts of chunks, in order: few objects have any, and those few, at the ends of what was fetched.
#[derive(Default)]
struct Parts(Vec<Part>);

/// The valid part of a chunk.
#[derive(Clone, Copy)]
struct Part {
    chunk: u32,
    first: u16,
    last: u16,
}

impl Part {
    fn of(filled: &Filled) -> Self {
        let first = filled.part.start as u16;
        Self { chunk: filled.chunk, first, last: last_of(&filled.part) }
    }

    fn range(self) -> Range<u32> {
        u32::from(self.first)..u32::from(self.last) + 1
    }
}

impl Parts {
    fn heap_bytes(&self) -> u64 {
        let parts = self.0.capacity() * mem::size_of::<Part>();
        allocated(mem::size_of::<Self>() as u64) + allocated(parts as u64)
    }
}

/// The last byte of a valid part: 65536, where a whole chunk ends, takes a bit more than it.
fn last_of(part: &Range<u32>) -> u16 {
    part.end.wrapping_sub(1) as u16
}

fn seconds(time: u64) -> u32 {
    time.min(LAST_SECOND) as u32
}

/// What the allocator takes for so many bytes.
fn allocated(bytes: u64) -> u64 {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}
