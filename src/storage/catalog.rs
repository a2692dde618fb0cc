//! What a volume holds: its objects, and where their chunks lie.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! The catalog is what the records of the journal add up to. A running volume changes it by the
//! same functions that replay a journal, so the two cannot drift apart. An entry is small, because a
//! volume keeps one for every object it ever cached and has not dropped; what is only needed while an
//! object is used lies in its [`StreamingResource`](super::StreamingResource).
//!
//! An entry takes 88 bytes and its place in the index 6 to 11; an object of one chunk has no more than
//! that, others have the words of their [`ChunkMap`](super::chunk_map::ChunkMap) on the heap. With the eviction policy's node, a
//! million objects took, a piece (`cargo bench --bench recovery`, while they are read and after it):
//!
//! | | 1 chunk | 4 chunks |
//! |---|---|---|
//! | entries of 120 bytes, each chunk map a vector | 221 | 254 |
//! | entries of 88 bytes, a map of one chunk in place | 141 | 206 |
//!
//! That is what the memory for it is counted by. Which blocks are free is known besides, in the two trees of
//! the volume's [`allocator`](super::allocator): 16 bytes in each for a run of free blocks, and with what the nodes of a tree
//! leave empty some 60 for both. A volume that fills has a few runs; one that is full has as many as
//! pieces lie free between its chunks, which is one for each object at the very most.
//!
//! A generation that was dropped while it is in use stays under its slot until its user lets go, and
//! is no longer found by its object's name.

mod entry;
mod walk;

use std::{collections::BTreeSet, mem, ops::Range};

use hashbrown::HashTable;
use slab::Slab;

pub use self::entry::LAST_SECOND;
pub(super) use self::entry::run_of;
use self::entry::{Entry, Phase};
use super::{
    BLOCK_BYTES, CHUNK_BYTES, Generation, ObjectId,
    chunk_map::NUMBERS,
    format::{Filled, HEAD_CHUNK, Meta, Record},
};

/// The key of an entry while it is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(u32);

/// Blocks of the volume.
pub(super) type Run = Range<u64>;

/// The objects of one volume.
#[derive(Default)]
pub(super) struct Catalog {
    entries: Slab<Entry>,
    /// The present entries by their object's name, which is not repeated here.
    by_object: HashTable<u32>,
    pinned: BTreeSet<ObjectId>,
    chunks: u64,
    /// What the entries have on the heap besides themselves, in bytes.
    heap_bytes: u64,
    /// Blocks that all chunks take, and all there are in the volume.
    stored_blocks: u64,
    blocks: u64,
}

/// About what an object of `object_bytes` takes, in bytes, when it rests.
pub(super) fn bytes_of(object_bytes: u64) -> u64 {
    let chunks = object_bytes.div_ceil(CHUNK_BYTES);
    let words = if chunks > 1 { chunks + 1 } else { 0 };
    (mem::size_of::<Entry>() + mem::size_of::<u32>()) as u64 + words * mem::size_of::<u64>() as u64
}

/// What a pin takes of a journal, in bytes: a record of 20, and of a page what that leaves over.
pub(super) const PIN_BYTES: u64 = 24;

/// The entries grow by an eighth: doubled, a volume would hold room for as many again as it has.
const GROWTH: usize = 8;

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
            Record::Object { object, generation, meta } => match self.find(*object) {
                Some(slot) if self.entry(slot).generation == *generation => {
                    self.set_meta(slot, *meta);
                }
                older => {
                    older.into_iter().for_each(|slot| self.drop_object(slot, free));
                    self.begin(*object, *generation, *meta);
                }
            },
            Record::Fill { object, generation, chunks } => {
                let Some(slot) = self.find_generation(*object, *generation) else { return };
                let possible = chunks.iter().filter(|filled| is_possible(filled, self.blocks));
                let possible: Vec<_> = possible.collect();
                possible.into_iter().filter_map(|filled| self.fill(slot, filled)).for_each(free);
            }
            Record::Lost { object, generation, chunks } => {
                let Some(slot) = self.find_generation(*object, *generation) else { return };
                chunks.iter().filter_map(|chunk| self.lose(slot, *chunk)).for_each(free);
            }
            Record::Commit { object, generation, length } => {
                let Some(slot) = self.find_generation(*object, *generation) else { return };
                let meta = Meta { length: Some(*length), committed: true, ..self.meta(slot) };
                self.set_meta(slot, meta);
            }
            Record::Drop { object, generation } => {
                if let Some(slot) = self.find_generation(*object, *generation) {
                    self.drop_object(slot, free);
                }
            }
            Record::Pin { object, pinned: true } => drop(self.pinned.insert(*object)),
            Record::Pin { object, pinned: false } => drop(self.pinned.remove(object)),
            Record::Snapshot { .. } | Record::Durable { .. } => {}
        }
    }

    /// Begins a generation of an object that has none: an older one was dropped.
    pub(super) fn begin(&mut self, object: ObjectId, generation: Generation, meta: Meta) -> Slot {
        debug_assert!(self.find(object).is_none(), "{object} has a generation");
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(self.entries.len() / GROWTH + 1);
        }
        let entry = Entry::new(object, generation, meta);
        self.heap_bytes += entry.heap_bytes();
        let slot = self.entries.insert(entry) as u32;
        let entries = &self.entries;
        self.by_object.insert_unique(hash(object), slot, |slot| hash_of(entries, *slot));
        Slot(slot)
    }

    /// The present generation of an object.
    pub(super) fn find(&self, object: ObjectId) -> Option<Slot> {
        let is_it = |slot: &u32| self.entries[*slot as usize].object() == object;
        self.by_object.find(hash(object), is_it).copied().map(Slot)
    }

    /// The same where it is this one.
    pub(super) fn find_generation(&self, object: ObjectId, generation: Generation) -> Option<Slot> {
        self.find(object).filter(|slot| self.entry(*slot).generation == generation)
    }

    /// Puts a chunk where it was written; the blocks it had before.
    pub(super) fn fill(&mut self, slot: Slot, filled: &Filled) -> Option<Run> {
        let before = self.change(slot, |entry| {
            let before = entry.take_out(filled.chunk);
            entry.put(filled);
            before
        });
        self.chunks += u64::from(before.is_none());
        before
    }

    /// Takes a chunk out; the blocks it had.
    pub(super) fn lose(&mut self, slot: Slot, chunk: u32) -> Option<Run> {
        let lost = self.change(slot, |entry| entry.take_out(chunk))?;
        self.chunks -= 1;
        Some(lost)
    }

    pub(super) fn set_meta(&mut self, slot: Slot, meta: Meta) {
        self.change(slot, |entry| entry.set_meta(meta));
    }

    /// Changes an entry and counts what it takes.
    fn change<T>(&mut self, slot: Slot, change: impl FnOnce(&mut Entry) -> T) -> T {
        let entry = &mut self.entries[slot.0 as usize];
        let (heap_bytes, blocks) = (entry.heap_bytes(), entry.blocks);
        let outcome = change(entry);
        self.heap_bytes = self.heap_bytes - heap_bytes + entry.heap_bytes();
        self.stored_blocks = self.stored_blocks - u64::from(blocks) + u64::from(entry.blocks);
        outcome
    }

    /// Drops a generation: at once, or when its user lets go.
    pub(super) fn drop_object(&mut self, slot: Slot, free: &mut impl FnMut(Run)) {
        let entry = &mut self.entries[slot.0 as usize];
        let object = entry.object();
        let is_in_use = entry.phase != Phase::AtRest;
        entry.phase = Phase::Dropped;
        if let Ok(named) = self.by_object.find_entry(hash(object), |named| *named == slot.0) {
            named.remove();
        }
        if !is_in_use {
            self.remove(slot, free);
        }
    }

    /// Marks an entry as in use, until [`close`](Self::close).
    ///
    /// # Panics
    /// When it is in use: one resource stands for a generation.
    pub(super) fn open(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot.0 as usize];
        assert!(entry.phase == Phase::AtRest, "{} is open twice", entry.object());
        entry.phase = Phase::InUse;
    }

    pub(super) fn close(&mut self, slot: Slot, free: &mut impl FnMut(Run)) {
        if self.is_dropped(slot) {
            return self.remove(slot, free);
        }
        self.change(slot, |entry| {
            entry.phase = Phase::AtRest;
            entry.shrink();
        });
    }

    fn remove(&mut self, slot: Slot, free: &mut impl FnMut(Run)) {
        let entry = self.entries.remove(slot.0 as usize);
        self.heap_bytes -= entry.heap_bytes();
        self.stored_blocks -= u64::from(entry.blocks);
        entry.filled().for_each(|filled| free(run_of(&filled)));
        self.chunks -= entry.filled().count() as u64;
    }

    // ---- what is known of an object ----

    pub(super) fn meta(&self, slot: Slot) -> Meta {
        self.entry(slot).meta()
    }

    pub(super) fn name(&self, slot: Slot) -> (ObjectId, Generation) {
        (self.entry(slot).object(), self.entry(slot).generation)
    }

    pub(super) fn is_dropped(&self, slot: Slot) -> bool {
        self.entry(slot).phase == Phase::Dropped
    }

    pub(super) fn is_in_use(&self, slot: Slot) -> bool {
        self.entry(slot).phase != Phase::AtRest
    }

    /// Whether a pin is on this very name.
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

    /// The same with the response head.
    pub(super) fn all_chunks(&self, slot: Slot) -> impl Iterator<Item = Filled> + '_ {
        self.entry(slot).filled()
    }

    /// Bytes of the volume that an object takes, in whole blocks.
    pub(super) fn stored_bytes(&self, slot: Slot) -> u64 {
        u64::from(self.entry(slot).blocks) * BLOCK_BYTES
    }

    // ---- all of them ----

    /// Bytes of the volume that all objects take, in whole blocks.
    pub(super) fn all_stored_bytes(&self) -> u64 {
        self.stored_blocks * BLOCK_BYTES
    }

    /// The present objects.
    pub(super) fn objects(&self) -> impl Iterator<Item = (ObjectId, Slot)> + '_ {
        let named = |slot: &u32| (self.entries[*slot as usize].object(), Slot(*slot));
        self.by_object.iter().map(named)
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
            let Some(entry) = self.entries.get(number as usize).filter(|entry| entry.is_present())
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
        self.entries.len() as u64 * OBJECT_BYTES + self.chunks * CHUNK_BYTES + self.pin_bytes()
    }

    /// What of that are pins.
    pub(super) fn pin_bytes(&self) -> u64 {
        self.pinned.len() as u64 * PIN_BYTES
    }

    /// Memory that it takes, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        let entries = self.entries.capacity() * mem::size_of::<Entry>();
        let pins = self.pinned.len() * 2 * mem::size_of::<ObjectId>();
        (entries + self.by_object.allocation_size() + pins) as u64 + self.heap_bytes
    }

    /// The same without room that is kept for growth: what comes back when objects go.
    pub(super) fn held_bytes(&self) -> u64 {
        self.entries.len() as u64 * bytes_of(0) + self.heap_bytes
    }

    /// Gives back memory that was kept for growth: after recovery.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        let entries = &self.entries;
        self.by_object.shrink_to_fit(|slot| hash_of(entries, *slot));
        self.entries.iter_mut().for_each(|(_, entry)| entry.shrink());
        self.heap_bytes = self.entries.iter().map(|(_, entry)| entry.heap_bytes()).sum();
    }

    fn entries_end(&self) -> u32 {
        self.entries.iter().next_back().map_or(0, |(last, _)| last as u32 + 1)
    }

    fn entry(&self, slot: Slot) -> &Entry {
        &self.entries[slot.0 as usize]
    }
}

/// Whether a record's chunk can be one at all, on a volume of so many blocks.
fn is_possible(filled: &Filled, blocks: u64) -> bool {
    (filled.chunk < NUMBERS || filled.chunk == HEAD_CHUNK)
        && filled.block < NUMBERS
        && run_of(filled).end <= blocks
        && (filled.chunk != HEAD_CHUNK || filled.part.start == 0)
}

/// The name of an object is a hash already; its low bits chose the volume.
fn hash(object: ObjectId) -> u64 {
    (object.0 >> 64) as u64 ^ object.0 as u64
}

fn hash_of(entries: &Slab<Entry>, slot: u32) -> u64 {
    hash(entries[slot as usize].object())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::policy::{Kind, Policy};

    const OBJECTS: u64 = 4_000;

    /// A catalog of so many whole objects of `chunks` chunks each, with a head, as a start finds it.
    fn catalog(chunks: u32) -> Catalog {
        let mut catalog = Catalog::new(u64::from(NUMBERS));
        let mut block = 0;
        for number in 0..OBJECTS {
            let (object, generation) = (ObjectId(u128::from(number) << 64), Generation(number));
            let length = Some(u64::from(chunks) * CHUNK_BYTES - 1);
            let meta = Meta { length, committed: true, ..Meta::default() };
            catalog.apply(&Record::Object { object, generation, meta }, &mut drop);
            for chunk in (0..chunks).chain([HEAD_CHUNK]) {
                let end = if chunk == chunks - 1 { CHUNK_BYTES - 1 } else { CHUNK_BYTES };
                let filled = Filled { chunk, block, part: 0..end as u32, checksum: block };
                block += 4;
                let fill = Record::Fill { object, generation, chunks: vec![filled] };
                catalog.apply(&fill, &mut drop);
            }
        }
        catalog.shrink();
        catalog
    }

    /// What is asked: 200 bytes, and 8 for each chunk.
    #[test]
    fn an_object_takes_less_memory_than_is_asked() {
        assert_eq!((size_of::<Entry>(), size_of::<Option<Entry>>()), (88, 88));
        let mut policy = Policy::new(Kind::S3Fifo, 1 << 40);
        (0..OBJECTS).for_each(|number| policy.insert(ObjectId(number.into()), 1));
        for (chunks, most) in [(1, 100), (4, 150)] {
            let catalog = catalog(chunks).memory_bytes() / OBJECTS;
            let all = catalog + policy.memory_bytes() as u64 / OBJECTS;
            assert!(catalog <= most && all <= most + 50, "{chunks} chunks: {catalog} of {all}");
        }
    }

    #[test]
    fn what_an_entry_says_is_what_it_was_told_with_times_to_the_last_second() {
        let mut catalog = Catalog::new(100);
        let later = LAST_SECOND + 1;
        for (told, kept) in [(0, 0), (LAST_SECOND, LAST_SECOND), (later, LAST_SECOND)] {
            let meta = |time| Meta { born: time, expires: time, validator: !0, ..Meta::default() };
            let slot = catalog.begin(ObjectId(told.into()), Generation(1), meta(told));
            assert_eq!(catalog.meta(slot), meta(kept));
            catalog.set_meta(slot, meta(told));
            assert_eq!(catalog.meta(slot), meta(kept));
        }
    }

    /// A head may be a whole chunk, and lie in the first block; so may the chunk beside it.
    #[test]
    fn the_whole_of_a_chunk_and_of_a_head_is_kept() {
        let mut catalog = Catalog::new(100);
        let slot = catalog.begin(ObjectId(1), Generation(1), Meta::default());
        for chunk in [HEAD_CHUNK, 0] {
            assert_eq!(catalog.chunk(slot, chunk), None);
            for end in [1, CHUNK_BYTES as u32] {
                let filled = Filled { chunk, block: 0, part: 0..end, checksum: 0 };
                catalog.fill(slot, &filled);
                assert_eq!(catalog.chunk(slot, chunk), Some(filled));
            }
            assert_eq!(catalog.lose(slot, chunk), Some(0..4));
            assert_eq!((catalog.chunk(slot, chunk), catalog.stored_bytes(slot)), (None, 0));
        }
    }
}
