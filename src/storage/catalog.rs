//! What a volume holds: its objects, and where their chunks lie.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! The catalog is what the records of the journal add up to. A running volume changes it by the
//! same functions that replay a journal, so the two cannot drift apart. An entry is small (about
//! 100 bytes, and 8 for each chunk), because a volume keeps one for every object it ever cached and
//! has not dropped; what is only needed while an object is used lies in its
//! [`StreamingResource`](super::StreamingResource).
//!
//! A generation that was dropped while it is in use stays under its slot until its user lets go, and
//! is no longer found by its object's name.

mod walk;

use std::{
    collections::{BTreeSet, HashMap, hash_map},
    hash::{BuildHasherDefault, Hasher},
    ops::Range,
};

use slab::Slab;

use super::{
    BLOCK_BYTES, CHUNK_BYTES, Generation, ObjectId,
    chunk_map::{ChunkMap, NUMBERS, Place},
    format::{FILLED_PER_RECORD, Filled, HEAD_CHUNK, Meta, Record},
};

/// The key of an entry while it is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u32);

/// Blocks of the volume.
pub(super) type Run = Range<u64>;

/// The objects of one volume.
#[derive(Default)]
pub(super) struct Catalog {
    entries: Slab<Entry>,
    by_object: HashMap<ObjectId, u32, BuildHasherDefault<Hashed>>,
    pinned: BTreeSet<ObjectId>,
    chunks: u64,
    /// Of the volume.
    blocks: u64,
}

/// One generation of one object.
struct Entry {
    // Two words, since a `u128` would align the entry to 16 bytes.
    object: [u64; 2],
    generation: Generation,
    meta: Meta,
    chunks: ChunkMap,
    /// Chunks of which other bytes are valid than their place in the object says: few, those at the
    /// ends of what was fetched.
    parts: Vec<(u32, Range<u32>)>,
    /// The response head, and its length in bytes; 0 where there is none.
    head: Place,
    head_bytes: u32,
    /// Blocks that all chunks take.
    blocks: u32,
    /// A resource is open on it.
    in_use: bool,
    /// It goes when its user does.
    dropped: bool,
}

impl Catalog {
    /// Of a volume of so many blocks.
    pub(super) fn new(blocks: u64) -> Self {
        Self { blocks, ..Self::default() }
    }

    /// Does what a record of the journal says; `free` is given the blocks that nothing names any
    /// more. Records that do not fit what is here are passed over: the page that held the one
    /// before may be lost.
    pub(super) fn apply(&mut self, record: &Record, free: &mut impl FnMut(Run)) {
        match record {
            Record::Object { object, generation, meta } => {
                let _ = self.begin(*object, *generation, *meta, free);
            }
            Record::Fill { object, generation, chunks } => {
                let Some(slot) = self.present(*object, *generation) else { return };
                let possible = chunks.iter().filter(|filled| is_possible(filled, self.blocks));
                let possible: Vec<_> = possible.collect();
                possible.into_iter().filter_map(|filled| self.fill(slot, filled)).for_each(free);
            }
            Record::Lost { object, generation, chunks } => {
                let Some(slot) = self.present(*object, *generation) else { return };
                chunks.iter().filter_map(|chunk| self.lose(slot, *chunk)).for_each(free);
            }
            Record::Commit { object, generation, length } => {
                let Some(slot) = self.present(*object, *generation) else { return };
                let meta = Meta { length: Some(*length), committed: true, ..self.meta(slot) };
                self.set_meta(slot, meta);
            }
            Record::Drop { object, generation } => {
                if let Some(slot) = self.present(*object, *generation) {
                    self.drop_object(slot, free);
                }
            }
            Record::Pin { object, pinned: true } => drop(self.pinned.insert(*object)),
            Record::Pin { object, pinned: false } => drop(self.pinned.remove(object)),
            Record::Snapshot { .. } => {}
        }
    }

    /// Begins a generation, in place of an older one; or sets what is said of the present one.
    pub(super) fn begin(
        &mut self,
        object: ObjectId,
        generation: Generation,
        meta: Meta,
        free: &mut impl FnMut(Run),
    ) -> Slot {
        if let Some(slot) = self.find(object) {
            if self.entry(slot).generation == generation {
                self.set_meta(slot, meta);
                return slot;
            }
            self.drop_object(slot, free);
        }
        let slot = self.entries.insert(Entry::new(object, generation, meta)) as u32;
        self.by_object.insert(object, slot);
        Slot(slot)
    }

    /// The present generation of an object.
    pub(super) fn find(&self, object: ObjectId) -> Option<Slot> {
        self.by_object.get(&object).copied().map(Slot)
    }

    /// Puts a chunk where it was written; the blocks it had before.
    pub(super) fn fill(&mut self, slot: Slot, filled: &Filled) -> Option<Run> {
        let entry = &mut self.entries[slot.0 as usize];
        let before = entry.take_out(filled.chunk);
        entry.put(filled);
        self.chunks += u64::from(before.is_none());
        before
    }

    /// Takes a chunk out; the blocks it had.
    pub(super) fn lose(&mut self, slot: Slot, chunk: u32) -> Option<Run> {
        let lost = self.entries[slot.0 as usize].take_out(chunk)?;
        self.chunks -= 1;
        Some(lost)
    }

    pub(super) fn set_meta(&mut self, slot: Slot, meta: Meta) {
        self.entries[slot.0 as usize].set_meta(meta);
    }

    /// Drops a generation: at once, or when its user lets go.
    pub(super) fn drop_object(&mut self, slot: Slot, free: &mut impl FnMut(Run)) {
        let entry = &mut self.entries[slot.0 as usize];
        let object = entry.object();
        entry.dropped = true;
        if let hash_map::Entry::Occupied(named) = self.by_object.entry(object)
            && *named.get() == slot.0
        {
            named.remove();
        }
        self.remove_if_done(slot, free);
    }

    /// Marks an entry as in use, until [`close`](Self::close).
    ///
    /// # Panics
    /// When it is in use: one resource stands for a generation.
    pub(super) fn open(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot.0 as usize];
        assert!(!std::mem::replace(&mut entry.in_use, true), "{} is open twice", entry.object());
    }

    pub(super) fn close(&mut self, slot: Slot, free: &mut impl FnMut(Run)) {
        self.entries[slot.0 as usize].in_use = false;
        self.remove_if_done(slot, free);
    }

    fn remove_if_done(&mut self, slot: Slot, free: &mut impl FnMut(Run)) {
        let entry = self.entry(slot);
        if entry.dropped && !entry.in_use {
            let entry = self.entries.remove(slot.0 as usize);
            entry.filled().for_each(|filled| free(run_of(&filled)));
            self.chunks -= entry.filled().count() as u64;
        }
    }

    // ---- what is known of an object ----

    pub(super) fn meta(&self, slot: Slot) -> Meta {
        self.entry(slot).meta
    }

    pub(super) fn name(&self, slot: Slot) -> (ObjectId, Generation) {
        (self.entry(slot).object(), self.entry(slot).generation)
    }

    pub(super) fn is_dropped(&self, slot: Slot) -> bool {
        self.entry(slot).dropped
    }

    pub(super) fn is_in_use(&self, slot: Slot) -> bool {
        self.entry(slot).in_use
    }

    pub(super) fn is_pinned(&self, object: ObjectId) -> bool {
        self.pinned.contains(&object)
    }

    /// Where a chunk lies.
    pub(super) fn chunk(&self, slot: Slot, chunk: u32) -> Option<Filled> {
        self.entry(slot).chunk(chunk)
    }

    /// All chunks that lie on disk, in order, the response head not among them.
    pub(super) fn chunks(&self, slot: Slot) -> impl Iterator<Item = Filled> + '_ {
        self.entry(slot).body()
    }

    /// Bytes of the volume that an object takes, in whole blocks.
    pub(super) fn stored_bytes(&self, slot: Slot) -> u64 {
        u64::from(self.entry(slot).blocks) * BLOCK_BYTES
    }

    // ---- all of them ----

    /// The present objects.
    pub(super) fn objects(&self) -> impl Iterator<Item = (ObjectId, Slot)> + '_ {
        self.by_object.iter().map(|(object, slot)| (*object, Slot(*slot)))
    }

    /// All blocks that a chunk lies in, with its owner.
    pub(super) fn runs(&self) -> impl Iterator<Item = (Run, Slot, u32)> + '_ {
        self.entries.iter().flat_map(|(slot, entry)| {
            entry.filled().map(move |filled| (run_of(&filled), Slot(slot as u32), filled.chunk))
        })
    }

    /// The records that make all of this, one object after another, beginning with the entry
    /// numbered `from`; and the number to go on with. About `room` bytes of them, but at least one
    /// entry's; `None` after the last.
    ///
    /// What changes between two calls is in records of its own, which come later in the same
    /// journal: they say what is, not what changes, so it does not matter which of the two saw it.
    pub(super) fn snapshot(&self, from: u32, room: usize) -> (Vec<Record>, Option<u32>) {
        let mut records = Vec::new();
        if from == 0 {
            let pin = |object: &ObjectId| Record::Pin { object: *object, pinned: true };
            records.extend(self.pinned.iter().map(pin));
        }
        let mut bytes = 0;
        for number in from..self.entries_end() {
            if bytes >= room {
                return (records, Some(number));
            }
            let Some(entry) = self.entries.get(number as usize).filter(|entry| !entry.dropped)
            else {
                continue;
            };
            let its_first = records.len();
            entry.records(&mut records);
            bytes += records[its_first..].iter().map(Record::encoded_len).sum::<usize>();
        }
        (records, None)
    }

    /// About how long all of [`snapshot`](Self::snapshot) is, in bytes.
    pub(super) fn snapshot_bytes(&self) -> u64 {
        const OBJECT_BYTES: u64 = 96;
        const CHUNK_BYTES: u64 = 16;
        (self.entries.len() + self.pinned.len()) as u64 * OBJECT_BYTES + self.chunks * CHUNK_BYTES
    }

    /// Gives back memory that was kept for growth: after recovery.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        self.by_object.shrink_to_fit();
        self.entries.iter_mut().for_each(|(_, entry)| entry.chunks.shrink());
    }

    fn entries_end(&self) -> u32 {
        self.entries.iter().next_back().map_or(0, |(last, _)| last as u32 + 1)
    }

    fn present(&self, object: ObjectId, generation: Generation) -> Option<Slot> {
        self.find(object).filter(|slot| self.entry(*slot).generation == generation)
    }

    fn entry(&self, slot: Slot) -> &Entry {
        &self.entries[slot.0 as usize]
    }
}

impl Entry {
    fn new(object: ObjectId, generation: Generation, meta: Meta) -> Self {
        Self {
            object: [object.0 as u64, (object.0 >> 64) as u64],
            generation,
            meta,
            chunks: ChunkMap::default(),
            parts: Vec::new(),
            head: Place { block: 0, checksum: 0 },
            head_bytes: 0,
            blocks: 0,
            in_use: false,
            dropped: false,
        }
    }

    fn object(&self) -> ObjectId {
        ObjectId(u128::from(self.object[1]) << 64 | u128::from(self.object[0]))
    }

    /// The parts that follow from the length follow from another one now.
    fn set_meta(&mut self, meta: Meta) {
        if meta.length == self.meta.length {
            self.meta = meta;
            return;
        }
        let chunks: Vec<_> = self.body().collect();
        self.meta = meta;
        chunks.iter().for_each(|filled| self.note_part(filled));
    }

    fn chunk(&self, chunk: u32) -> Option<Filled> {
        if chunk == HEAD_CHUNK {
            let Place { block, checksum } = self.head;
            let part = 0..self.head_bytes;
            return (self.head_bytes > 0).then_some(Filled { chunk, block, part, checksum });
        }
        let Place { block, checksum } = self.chunks.get(chunk)?;
        Some(Filled { chunk, block, part: self.part(chunk), checksum })
    }

    fn body(&self) -> impl Iterator<Item = Filled> + '_ {
        self.chunks.iter().map(|(chunk, Place { block, checksum })| {
            let part = self.part(chunk);
            Filled { chunk, block, part, checksum }
        })
    }

    fn filled(&self) -> impl Iterator<Item = Filled> + '_ {
        self.chunk(HEAD_CHUNK).into_iter().chain(self.body())
    }

    fn part(&self, chunk: u32) -> Range<u32> {
        let other = self.parts.iter().find(|(other, _)| *other == chunk);
        other.map_or_else(|| self.natural_part(chunk), |(_, part)| part.clone())
    }

    /// What of a chunk is valid once it is complete.
    fn natural_part(&self, chunk: u32) -> Range<u32> {
        let start = u64::from(chunk) * CHUNK_BYTES;
        let end = self.meta.length.unwrap_or(u64::MAX);
        0..end.saturating_sub(start).min(CHUNK_BYTES) as u32
    }

    fn put(&mut self, filled: &Filled) {
        let place = Place { block: filled.block, checksum: filled.checksum };
        self.blocks += blocks_of(&filled.part);
        if filled.chunk == HEAD_CHUNK {
            (self.head, self.head_bytes) = (place, filled.part.end);
            return;
        }
        self.chunks.set(filled.chunk, place);
        self.note_part(filled);
    }

    fn note_part(&mut self, filled: &Filled) {
        self.forget_part(filled.chunk);
        if filled.part != self.natural_part(filled.chunk) {
            self.parts.push((filled.chunk, filled.part.clone()));
        }
    }

    fn forget_part(&mut self, chunk: u32) {
        self.parts.retain(|(other, _)| *other != chunk);
    }

    fn take_out(&mut self, chunk: u32) -> Option<Run> {
        let filled = self.chunk(chunk)?;
        self.blocks -= blocks_of(&filled.part);
        if chunk == HEAD_CHUNK {
            self.head_bytes = 0;
        } else {
            self.chunks.remove(chunk);
            self.forget_part(chunk);
        }
        Some(run_of(&filled))
    }

    fn records(&self, into: &mut Vec<Record>) {
        let (object, generation) = (self.object(), self.generation);
        into.push(Record::Object { object, generation, meta: self.meta });
        let filled: Vec<_> = self.filled().collect();
        let fill = |chunks: &[Filled]| Record::Fill { object, generation, chunks: chunks.to_vec() };
        into.extend(filled.chunks(FILLED_PER_RECORD).map(fill));
    }
}

/// The blocks that hold the valid part of a chunk.
pub(super) fn run_of(filled: &Filled) -> Run {
    let start = u64::from(filled.block);
    start..start + u64::from(blocks_of(&filled.part))
}

/// How many blocks a valid part touches.
pub(super) fn blocks_of(part: &Range<u32>) -> u32 {
    part.end.div_ceil(BLOCK_BYTES as u32) - part.start / BLOCK_BYTES as u32
}

/// Whether a record's chunk can be one at all, on a volume of so many blocks.
fn is_possible(filled: &Filled, blocks: u64) -> bool {
    (filled.chunk < NUMBERS || filled.chunk == HEAD_CHUNK)
        && filled.block < NUMBERS
        && run_of(filled).end <= blocks
        && (filled.chunk != HEAD_CHUNK || filled.part.start == 0)
}

/// The name of an object is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, object: u128) {
        // The low bits chose the volume.
        self.0 = (object >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
