//! The slab: free blocks by size class, and the budget that bounds them all.

// The one lock of the data path: a block dropped on another core comes home through it.
#![allow(clippy::disallowed_types)]

use std::{
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::block::{BlockMut, Slot};

/// How large a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 4 KiB: heads, small pieces.
    Small,
    /// 16 KiB: one allocation unit of the disk.
    Medium,
    /// 64 KiB: one chunk of a resource, one window of PCM.
    Large,
}

impl Class {
    /// All classes, smallest first.
    pub const ALL: [Class; 3] = [Class::Small, Class::Medium, Class::Large];

    /// The size of a block of this class.
    pub const fn bytes(self) -> usize {
        match self {
            Class::Small => 4 << 10,
            Class::Medium => 16 << 10,
            Class::Large => 64 << 10,
        }
    }

    /// The smallest class that holds `bytes`, or the largest where none does.
    pub fn holding(bytes: usize) -> Class {
        Self::ALL.into_iter().find(|class| bytes <= class.bytes()).unwrap_or(Class::Large)
    }
}

/// What a pool may use.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bound of all blocks, on loan and free, and of all charges together.
    pub budget_bytes: usize,
}

/// The budget is used up. Who asked waits, sheds load or refuses; nothing is allocated behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the buffer memory of this shard is used up")]
pub struct Exhausted;

/// Counters of one pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Loans served from a free list.
    pub hits: u64,
    /// Loans for which memory had to be allocated.
    pub misses: u64,
    /// Loans and charges refused because the budget was used up.
    pub refused: u64,
    /// Times the lock was held by another core when it was wanted.
    pub contended: u64,
    /// Bytes on loan or charged now.
    pub used_bytes: usize,
    /// The most that `used_bytes` ever was.
    pub high_water_bytes: usize,
    /// Bytes allocated for blocks, on loan or free.
    pub allocated_bytes: usize,
    /// The bound of all of it.
    pub budget_bytes: usize,
}

impl Stats {
    /// How full the budget is, 0.0 to 1.0.
    pub fn fullness(&self) -> f64 {
        self.used_bytes as f64 / self.budget_bytes.max(1) as f64
    }
}

/// The pool of one core. A clone is another handle to the same pool; none leaves the core.
#[derive(Clone)]
pub struct BufPool {
    home: Arc<Home>,
    /// A pool is taken from on its own core only; blocks find home by themselves.
    _stays: std::marker::PhantomData<Rc<()>>,
}

impl BufPool {
    /// An empty pool: memory is allocated when it is first asked for, and kept.
    pub fn new(options: Options) -> Self {
        let stats = Stats { budget_bytes: options.budget_bytes, ..Stats::default() };
        let state = State { free: Default::default(), stats };
        Self { home: Arc::new(Home(Mutex::new(state))), _stays: std::marker::PhantomData }
    }

    /// Takes a block on loan.
    ///
    /// # Errors
    /// [`Exhausted`] when that would go over the budget.
    pub fn take(&self, class: Class) -> Result<BlockMut, Exhausted> {
        let slot = self.home.lock().take(class)?;
        let slot = slot.unwrap_or_else(|| Slot::allocate(class));
        Ok(BlockMut::new(slot, Arc::clone(&self.home)))
    }

    /// Counts memory that lives elsewhere (a DMA buffer, a decoder) until the charge is dropped.
    ///
    /// # Errors
    /// [`Exhausted`] when that would go over the budget.
    pub fn charge(&self, bytes: usize) -> Result<Charge, Exhausted> {
        let mut state = self.home.lock();
        state.reserve(bytes)?;
        state.use_up(bytes);
        Ok(Charge { home: Arc::clone(&self.home), bytes })
    }

    /// The counters as they are now.
    pub fn stats(&self) -> Stats {
        self.home.lock().stats
    }
}

/// Bytes counted in a pool's budget though they lie elsewhere. Dropping it gives them back.
pub struct Charge {
    home: Arc<Home>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.home.lock().stats.used_bytes -= self.bytes;
    }
}

/// Where blocks come home to, from any core.
pub(super) struct Home(Mutex<State>);

impl Home {
    fn lock(&self) -> MutexGuard<'_, State> {
        if let Ok(state) = self.0.try_lock() {
            return state;
        }
        // Nothing in here panics half-way, so a poisoned state is a whole state.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.stats.contended += 1;
        state
    }

    pub(super) fn take_back(&self, slot: Box<Slot>) {
        let mut state = self.lock();
        state.stats.used_bytes -= slot.class().bytes();
        state.free[slot.class() as usize].push(slot);
    }
}

// Boxed, since a block on loan points at its slot, which must not move.
#[expect(clippy::vec_box)]
struct State {
    free: [Vec<Box<Slot>>; 3],
    stats: Stats,
}

impl State {
    /// A free slot, or `None` after reserving the room to allocate one.
    fn take(&mut self, class: Class) -> Result<Option<Box<Slot>>, Exhausted> {
        let free = self.free[class as usize].pop();
        if free.is_some() {
            self.stats.hits += 1;
        } else {
            self.reserve(class.bytes())?;
            self.stats.misses += 1;
            self.stats.allocated_bytes += class.bytes();
        }
        self.use_up(class.bytes());
        Ok(free)
    }

    /// Makes room for `bytes` more, giving free blocks of any class back to the allocator.
    fn reserve(&mut self, bytes: usize) -> Result<(), Exhausted> {
        if self.stats.used_bytes + bytes > self.stats.budget_bytes {
            self.stats.refused += 1;
            return Err(Exhausted);
        }
        while self.held_bytes() + bytes > self.stats.budget_bytes {
            let slot = self.free.iter_mut().rev().find_map(Vec::pop).expect("free blocks fill it");
            self.stats.allocated_bytes -= slot.class().bytes();
        }
        Ok(())
    }

    /// What is on loan or charged, and what lies free.
    fn held_bytes(&self) -> usize {
        let free = |class: Class| self.free[class as usize].len() * class.bytes();
        self.stats.used_bytes + Class::ALL.into_iter().map(free).sum::<usize>()
    }

    fn use_up(&mut self, bytes: usize) {
        self.stats.used_bytes += bytes;
        self.stats.high_water_bytes = self.stats.high_water_bytes.max(self.stats.used_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(budget_bytes: usize) -> BufPool {
        BufPool::new(Options { budget_bytes })
    }

    #[test]
    fn a_block_is_recycled() {
        let pool = pool(1 << 20);
        let first = pool.take(Class::Large).unwrap().as_ptr();
        let second = pool.take(Class::Large).unwrap().as_ptr();
        assert_eq!(first, second);
        let stats = pool.stats();
        assert_eq!((stats.hits, stats.misses, stats.used_bytes), (1, 1, 0));
        assert_eq!(stats.high_water_bytes, 64 << 10);
    }

    #[test]
    fn the_budget_is_never_exceeded() {
        let pool = pool(128 << 10);
        let held = [pool.take(Class::Large).unwrap(), pool.take(Class::Large).unwrap()];
        assert_eq!(pool.take(Class::Small).unwrap_err(), Exhausted);
        assert!(pool.charge(1).is_err());
        drop(held);
        // Free blocks of one class make room for another.
        let small: Vec<_> = (0..32).map(|_| pool.take(Class::Small).unwrap()).collect();
        assert_eq!(pool.take(Class::Small).unwrap_err(), Exhausted);
        assert_eq!(pool.stats().allocated_bytes, 128 << 10);
        drop(small);
        assert_eq!(pool.stats().used_bytes, 0);
        assert_eq!(pool.stats().refused, 3);
    }

    #[test]
    fn a_charge_counts_until_it_is_dropped() {
        let pool = pool(64 << 10);
        let charge = pool.charge(1).unwrap();
        assert_eq!(pool.take(Class::Large).unwrap_err(), Exhausted);
        drop(charge);
        pool.take(Class::Large).unwrap();
    }

    #[test]
    fn a_frozen_block_keeps_its_bytes_for_every_reader() {
        let pool = pool(1 << 20);
        let mut block = pool.take(Class::Small).unwrap();
        block[..5].copy_from_slice(b"audio");
        let whole = block.freeze(5);
        let part = whole.slice(1..4);
        drop(whole);
        assert_eq!(&*part, b"udi");
        assert_eq!(&*part.slice(1..2).into_bytes(), b"d");
        assert_eq!(pool.stats().used_bytes, 4 << 10);
        drop(part);
        assert_eq!(pool.stats().used_bytes, 0);
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn blocks_dropped_on_another_core_come_home() {
        let pool = pool(1 << 20);
        let block = pool.take(Class::Large).unwrap().freeze(100);
        let copies: Vec<_> = (0..100).map(|_| block.clone()).collect();
        drop(block);
        let (left, right) = (copies[..50].to_vec(), copies[50..].to_vec());
        drop(copies);
        let threads = [left, right].map(|part| std::thread::spawn(move || drop(part)));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(pool.stats().used_bytes, 0);
        pool.take(Class::Large).unwrap();
        assert_eq!(pool.stats().hits, 1);
    }

    #[test]
    fn blocks_are_aligned_for_direct_io() {
        let pool = pool(1 << 20);
        for class in Class::ALL {
            assert_eq!(pool.take(class).unwrap().as_ptr() as usize % 4096, 0);
        }
    }
}
