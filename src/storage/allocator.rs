//! Which blocks of a volume are in use.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A volume's file is written from its start and only ever grows at its *frontier*: below it every
//! block was written once, with zeros or with data, so that a later write is an overwrite, which is
//! the fast kind. A chunk asks for one run of blocks and gets the smallest free run that holds it;
//! the frontier moves only when none does. Chunks are stored whole (four blocks), except an
//! object's tail and interrupted fills, so dropping any object of a chunk or more frees a run that
//! every chunk fits into: a chunk is never cut into pieces.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// Free and used blocks, by number. It knows no bytes.
#[derive(Debug)]
pub(super) struct Allocator {
    /// Free runs below the frontier: start to length. No two touch.
    free: BTreeMap<u64, u64>,
    /// The same runs by (length, start), for the best fit.
    by_length: BTreeSet<(u64, u64)>,
    /// Blocks in `free`.
    free_blocks: u64,
    /// Blocks below it were given out at least once, or lay in the file when it was opened.
    frontier: u64,
    capacity: u64,
    /// The device has no room behind the frontier.
    is_full: bool,
}

impl Allocator {
    /// All blocks free, the first `grown` of them below the frontier.
    pub(super) fn new(capacity: u64, grown: u64) -> Self {
        let frontier = grown.min(capacity);
        let (free, by_length) = (BTreeMap::new(), BTreeSet::new());
        let mut new = Self { free, by_length, free_blocks: 0, frontier, capacity, is_full: false };
        new.add(0..frontier);
        new
    }

    /// The blocks of `used` in use, all others free. A run that overlaps one before it, or lies beyond
    /// what was grown, cannot be what it was taken for: its index is in what is returned.
    pub(super) fn with_used(capacity: u64, grown: u64, used: &[Range<u64>]) -> (Self, Vec<usize>) {
        let frontier = grown.min(capacity);
        let mut new = Self { frontier, ..Self::new(capacity, 0) };
        let mut order: Vec<_> = (0..used.len()).collect();
        order.sort_unstable_by_key(|index| used[*index].start);
        let (mut free_from, mut impossible) = (0, Vec::new());
        for index in order {
            let run = &used[index];
            if run.start < free_from || run.end > frontier {
                impossible.push(index);
                continue;
            }
            new.add(free_from..run.start);
            free_from = run.end;
        }
        new.add(free_from..frontier);
        (new, impossible)
    }

    /// A run of `blocks` blocks, or `None` where no run is that long: the volume is full.
    pub(super) fn allocate(&mut self, blocks: u64) -> Option<Range<u64>> {
        debug_assert!(blocks > 0);
        let Some(&(length, start)) = self.by_length.range((blocks, 0)..).next() else {
            return self.advance(blocks);
        };
        self.take(start, length);
        self.add(start + blocks..start + length);
        Some(start..start + blocks)
    }

    /// The last free block below the frontier, else the first above it. What a device refused lies
    /// there, where it has no room to grow.
    pub(super) fn allocate_last(&mut self) -> Option<Range<u64>> {
        let Some((start, length)) = self.free.last_key_value().map(|(s, l)| (*s, *l)) else {
            return self.advance(1);
        };
        self.take(start, length);
        self.add(start..start + length - 1);
        Some(start + length - 1..start + length)
    }

    /// The next `blocks` blocks at the frontier, though others may be free: to grow the file.
    pub(super) fn advance(&mut self, blocks: u64) -> Option<Range<u64>> {
        let end = self.frontier.checked_add(blocks).filter(|end| *end <= self.capacity)?;
        if self.is_full {
            return None;
        }
        let run = self.frontier..end;
        self.frontier = end;
        Some(run)
    }

    /// Gives back blocks that were given out.
    ///
    /// # Panics
    /// When one of them is free already: two owners of a block would overwrite each other.
    pub(super) fn release(&mut self, run: Range<u64>) {
        assert!(run.end <= self.frontier, "{run:?} was never given out");
        let before =
            self.free.range(..run.end).next_back().map(|(start, length)| (*start, *length));
        let after = self.free.get(&run.end).copied();
        let mut merged = run.clone();
        if let Some((start, length)) = before {
            assert!(start + length <= run.start, "{run:?} is free already");
            if start + length == run.start {
                self.take(start, length);
                merged.start = start;
            }
        }
        if let Some(length) = after {
            self.take(run.end, length);
            merged.end += length;
        }
        self.add(merged);
    }

    /// Whether the device has no room behind the frontier: then there is none to give.
    pub(super) fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// Blocks that nobody uses and that can be given out, below the frontier or not.
    pub(super) fn free_blocks(&self) -> u64 {
        self.free_blocks + if self.is_full { 0 } else { self.capacity - self.frontier }
    }

    /// Free blocks that were written before: a chunk that lands there overwrites.
    pub(super) fn ahead_blocks(&self) -> u64 {
        self.free_blocks
    }

    /// Blocks in use.
    pub(super) fn used_blocks(&self) -> u64 {
        self.frontier - self.free_blocks
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    fn add(&mut self, run: Range<u64>) {
        let length = run.end - run.start;
        if length > 0 {
            self.free.insert(run.start, length);
            self.by_length.insert((length, run.start));
            self.free_blocks += length;
        }
    }

    fn take(&mut self, start: u64, length: u64) {
        self.free.remove(&start);
        self.by_length.remove(&(length, start));
        self.free_blocks -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::random::Random;

    #[test]
    fn neighbours_are_given_out_in_order_and_merge_when_they_come_back() {
        let mut allocator = Allocator::new(16, 16);
        assert_eq!(allocator.allocate(4), Some(0..4));
        assert_eq!(allocator.allocate(4), Some(4..8));
        allocator.release(0..4);
        allocator.release(4..8);
        assert_eq!(allocator.allocate(16), Some(0..16));
    }

    #[test]
    fn the_file_grows_only_when_no_old_run_is_long_enough() {
        let mut allocator = Allocator::new(16, 4);
        assert_eq!(allocator.allocate(2), Some(0..2));
        assert_eq!(allocator.allocate(4), Some(4..8));
        assert_eq!(allocator.allocate_last(), Some(3..4));
        assert_eq!(allocator.allocate_last(), Some(2..3));
        assert_eq!(allocator.advance(9), None);
        assert_eq!(allocator.free_blocks(), 8);
    }

    #[test]
    fn what_is_said_to_be_used_is_checked() {
        let used = [4..8, 0..2, 6..10, 14..18, 12..13];
        let (mut allocator, impossible) = Allocator::with_used(32, 16, &used);
        assert_eq!(impossible, [2, 3]);
        assert_eq!((allocator.used_blocks(), allocator.ahead_blocks()), (7, 9));
        let free: Vec<_> = allocator.free.iter().map(|(start, length)| (*start, *length)).collect();
        assert_eq!(free, [(2, 2), (8, 4), (13, 3)]);
        allocator.release(4..8);
        assert_eq!(allocator.allocate(10), Some(2..12));
    }

    #[test]
    #[should_panic(expected = "free already")]
    fn a_block_is_not_given_back_twice() {
        let mut allocator = Allocator::new(16, 16);
        let run = allocator.allocate(4).unwrap();
        allocator.release(run.clone());
        allocator.release(run);
    }

    /// Against one bit per block, over random histories of taking and giving back.
    #[test]
    fn behaves_like_a_bitmap() {
        for seed in 1..=1_000 {
            let mut random = Random(seed);
            let mut allocator = Allocator::new(64, random.below(65));
            let (mut used, mut held) = ([false; 64], Vec::<Range<u64>>::new());
            for _ in 0..60 {
                if random.below(2) == 0 && !held.is_empty() {
                    let run = held.swap_remove(random.below(held.len() as u64) as usize);
                    used[run.start as usize..run.end as usize].fill(false);
                    allocator.release(run);
                } else {
                    let blocks = 1 + random.below(4);
                    let run = match random.below(8) {
                        0 => allocator.advance(blocks),
                        _ => allocator.allocate(blocks),
                    };
                    let Some(run) = run else { continue };
                    let bits = &mut used[run.start as usize..run.end as usize];
                    assert_eq!(bits.len() as u64, blocks, "seed {seed}");
                    assert!(bits.iter().all(|used| !used), "seed {seed}: {run:?} twice");
                    bits.fill(true);
                    held.push(run);
                }
                let count = used.iter().filter(|used| **used).count() as u64;
                assert_eq!(allocator.used_blocks(), count, "seed {seed}");
                assert_eq!(allocator.free_blocks(), 64 - count, "seed {seed}");
            }
            held.into_iter().for_each(|run| allocator.release(run));
            let rest = 64 - allocator.frontier;
            assert_eq!(allocator.by_length.len(), (allocator.frontier > 0) as usize, "seed {seed}");
            assert_eq!(allocator.ahead_blocks() + rest, 64, "seed {seed}");
        }
    }

    #[test]
    fn a_full_volume_refuses_until_something_comes_back() {
        let mut allocator = Allocator::new(8, 0);
        let runs: Vec<_> = (0..2).map(|_| allocator.allocate(4).unwrap()).collect();
        assert_eq!(allocator.allocate(1), None);
        allocator.release(runs[0].clone());
        assert_eq!(allocator.allocate(4), Some(0..4));
    }
}
