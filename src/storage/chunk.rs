//! One chunk of a resource that is not on disk: being filled, or on its way.

use std::ops::Range;

use super::{BLOCK_BYTES, CHUNK_BYTES, range_set::RangeSet};
use crate::bufpool::{Block, BlockMut, BufPool, Class, Exhausted};

/// Where the bytes of a chunk are. Positions are counted from the start of the chunk.
pub(super) enum Chunk {
    /// Bytes still arrive.
    Filling(Filling),
    /// No more bytes arrive, and they are in memory.
    Memory(Memory),
}

/// A chunk whose bytes arrive. Bytes that are there never change.
pub(super) struct Filling {
    block: BlockMut,
    parts: RangeSet,
    /// The last copy made for a reader, and where it starts: readers who follow a fill closely
    /// want the same bytes, and share them.
    copy: Option<(u32, Block)>,
}

/// A frozen chunk in memory: while it is written, or because it could not be.
#[derive(Clone)]
pub(super) struct Memory {
    /// The whole chunk; zeros outside of `part`.
    pub(super) block: Block,
    pub(super) part: Range<u32>,
    /// Tells this state of the chunk from earlier ones, whose writes may end later.
    pub(super) token: u64,
}

/// Less than this is not worth sharing: a copy of what came since costs as little.
const SHARED_BYTES: usize = 4 << 10;

impl Filling {
    /// An empty chunk, or one that goes on from `bytes` at `start`.
    pub(super) fn new(block: BlockMut, start: u32, bytes: &[u8]) -> Self {
        let mut new = Self { block, parts: RangeSet::default(), copy: None };
        new.add(start, bytes);
        new
    }

    /// Adds bytes at `start`. Those that are there already stay as they are.
    pub(super) fn add(&mut self, start: u32, bytes: &[u8]) {
        let (from, to) = (u64::from(start), u64::from(start) + bytes.len() as u64);
        while let Some(gap) = self.parts.next_gap(from..to) {
            let source = &bytes[(gap.start - from) as usize..(gap.end - from) as usize];
            self.block[gap.start as usize..gap.end as usize].copy_from_slice(source);
            self.parts.insert(gap);
        }
    }

    /// A shared copy of at most `max` bytes from `at` on; `None` where none are.
    pub(super) fn read(
        &mut self,
        at: u32,
        max: usize,
        pool: &BufPool,
    ) -> Result<Option<Block>, Exhausted> {
        let Some(end) = self.parts.present_from(u64::from(at)) else { return Ok(None) };
        if let Some(shared) = self.shared(at, end as u32) {
            return Ok(Some(shared.slice(0..shared.len().min(max))));
        }
        let bytes = &self.block[at as usize..end as usize];
        let mut copy = pool.take(Class::holding(bytes.len()))?;
        copy[..bytes.len()].copy_from_slice(bytes);
        let copy = copy.freeze(bytes.len());
        self.copy = Some((at, copy.clone()));
        Ok(Some(copy.slice(0..copy.len().min(max))))
    }

    fn shared(&self, at: u32, end: u32) -> Option<Block> {
        let (start, copy) = self.copy.as_ref()?;
        let skipped = at.checked_sub(*start)? as usize;
        let rest = copy.len().checked_sub(skipped)?;
        let worth = rest >= SHARED_BYTES || rest == (end - at) as usize;
        (worth && rest > 0).then(|| copy.slice(skipped..copy.len()))
    }

    /// Whether all of its first `length` bytes are there.
    pub(super) fn is_complete(&self, length: u64) -> bool {
        self.parts.covers(&(0..length))
    }

    /// Whether it can be stored as it is: one part, not several with holes between.
    pub(super) fn is_one_part(&self) -> bool {
        self.parts.only().is_some()
    }

    /// Ends the filling.
    ///
    /// # Panics
    /// When its bytes are not one part.
    pub(super) fn freeze(mut self, token: u64) -> Memory {
        let part = self.parts.only().expect("only chunks of one part are frozen");
        // What others left in the block stays out of the file.
        self.block[..part.start as usize].fill(0);
        self.block[part.end as usize..].fill(0);
        let block = self.block.freeze(CHUNK_BYTES as usize);
        Memory { block, part: part.start as u32..part.end as u32, token }
    }
}

impl Memory {
    /// The bytes of the valid part.
    pub(super) fn bytes(&self) -> Block {
        self.block.slice(self.part.start as usize..self.part.end as usize)
    }

    /// The blocks that go to disk: those the valid part touches.
    pub(super) fn blocks(&self) -> Block {
        let start = whole_blocks_before(self.part.start);
        let end = u64::from(self.part.end).next_multiple_of(BLOCK_BYTES);
        self.block.slice(start as usize..end as usize)
    }
}

/// The valid part of a chunk, in the blocks that hold it.
pub(super) fn valid(part: &Range<u32>, blocks: &Block) -> Block {
    let first = whole_blocks_before(part.start);
    blocks.slice((part.start - first) as usize..(part.end - first) as usize)
}

impl Chunk {
    /// What a frozen chunk holds; `None` while it is filled.
    pub(super) fn part(&self) -> Option<Range<u32>> {
        match self {
            Chunk::Filling(_) => None,
            Chunk::Memory(memory) => Some(memory.part.clone()),
        }
    }
}

fn whole_blocks_before(position: u32) -> u32 {
    position - position % BLOCK_BYTES as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bufpool::Options;

    fn pool() -> BufPool {
        BufPool::new(Options { budget_bytes: 1 << 20 })
    }

    fn filling(pool: &BufPool) -> Filling {
        let mut block = pool.take(Class::Large).unwrap();
        block.fill(0xEE);
        Filling::new(block, 0, &[])
    }

    #[test]
    fn bytes_that_are_there_do_not_change() {
        let pool = pool();
        let mut filling = filling(&pool);
        filling.add(2, b"cd");
        filling.add(0, b"abXXef");
        assert_eq!(&*filling.read(0, 100, &pool).unwrap().unwrap(), b"abcdef");
        assert!(filling.read(6, 100, &pool).unwrap().is_none());
    }

    #[test]
    fn readers_at_one_place_share_one_copy() {
        let pool = pool();
        let mut filling = filling(&pool);
        filling.add(0, &[1; 10_000]);
        let first = filling.read(0, 64 << 10, &pool).unwrap().unwrap();
        let used = pool.stats().used_bytes;
        let second = filling.read(5_000, 100, &pool).unwrap().unwrap();
        assert_eq!((first.len(), second.len()), (10_000, 100));
        assert_eq!(pool.stats().used_bytes, used);
        filling.add(10_000, &[2; 100]);
        assert_eq!(filling.read(10_000, 200, &pool).unwrap().unwrap().len(), 100);
    }

    #[test]
    fn nothing_of_an_earlier_owner_goes_to_disk() {
        let pool = pool();
        let mut filling = filling(&pool);
        filling.add(20_000, b"audio");
        let memory = filling.freeze(1);
        let blocks = memory.blocks();
        assert_eq!((blocks.len(), &*memory.bytes()), (16 << 10, &b"audio"[..]));
        assert_eq!(blocks.iter().filter(|byte| **byte != 0).count(), 5);
    }
}
