//! The slab: free blocks by size class, and the budget that bounds them all.
//!
//! Of the blocks on loan some are *idle*: their keeper holds them in case somebody wants them, and
//! nobody does just now. They are the pool's to call in, so what it can lend is
//!
//! ```text
//! budget = in use (on loan or charged, not idle) + idle + room        lendable: idle + room
//! ```
//!
//! and a loan is refused only where it would be if nothing was kept.

// The one lock of the data path: a block dropped on another core comes home through it.
#![allow(clippy::disallowed_types)]

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, ThreadId},
};

use super::{
    block::{BlockMut, Slot},
    line::{Line, Turn},
};

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
    /// Of these, what nobody but its keeper holds: given up as soon as it is asked for.
    pub idle_bytes: usize,
    /// The most that was ever in use: `used_bytes` without `idle_bytes`.
    pub high_water_bytes: usize,
    /// The same since [`release_free`](BufPool::release_free) was called last.
    pub peak_bytes: usize,
    /// Bytes allocated for blocks, on loan or free.
    pub allocated_bytes: usize,
    /// The bound of all of it.
    pub budget_bytes: usize,
}

impl Stats {
    /// How much of the budget is in use, 0.0 to 1.0.
    pub fn fullness(&self) -> f64 {
        self.in_use_bytes() as f64 / self.budget_bytes.max(1) as f64
    }

    /// Bytes that somebody needs now.
    pub fn in_use_bytes(&self) -> usize {
        self.used_bytes.saturating_sub(self.idle_bytes)
    }
}

/// The pool of one core. A clone is another handle to the same pool; none leaves the core.
#[derive(Clone)]
pub struct BufPool {
    home: Arc<Home>,
    keepers: Rc<RefCell<Vec<Keeper>>>,
    /// A pool is taken from on its own core only; blocks find home by themselves.
    _stays: std::marker::PhantomData<Rc<()>>,
}

impl BufPool {
    /// An empty pool: memory is allocated when it is first asked for, and kept.
    pub fn new(options: Options) -> Self {
        let stats = Stats { budget_bytes: options.budget_bytes, ..Stats::default() };
        let state = State { free: Default::default(), stats, idle_bytes: 0, line: Line::default() };
        let (state, thread, bell) = (Mutex::new(state), thread::current().id(), OnceLock::new());
        let home = Arc::new(Home { state, thread, bell });
        Self { home, keepers: Rc::default(), _stays: std::marker::PhantomData }
    }

    /// Where a loan lacks room, `keeper` is told how many bytes, and gives up idle blocks of so many
    /// or all it has. Keepers are asked in the order in which they came: what costs least to have again
    /// comes first. They must not take from the pool.
    pub fn on_shortage(&self, keeper: impl Fn(usize) + 'static) {
        self.keepers.borrow_mut().push(Box::new(keeper));
    }

    /// Where a block comes home on another core and somebody [waits](Self::turn), `bell` is rung
    /// there; on this core [`answer`](Self::answer) has to follow. The first bell stays. Without one
    /// the waiting are woken from the other core.
    pub fn on_return_elsewhere(&self, bell: impl Fn() + Send + Sync + 'static) {
        let _ = self.home.bell.set(Box::new(bell));
    }

    /// The bell was rung.
    pub fn answer(&self) {
        self.home.call(self.home.lock());
    }

    /// A place in the line of those who wait for memory.
    pub fn turn(&self) -> Turn {
        Turn::new(Arc::clone(&self.home))
    }

    /// Takes a block on loan.
    ///
    /// # Errors
    /// [`Exhausted`] when that would go over the budget.
    pub fn take(&self, class: Class) -> Result<BlockMut, Exhausted> {
        let slot = self.lend(|state| state.take(class))?;
        let slot = slot.unwrap_or_else(|| Slot::allocate(class));
        Ok(BlockMut::new(slot, Arc::clone(&self.home)))
    }

    /// Counts memory that lives elsewhere (a DMA buffer, a decoder) until the charge is dropped.
    ///
    /// # Errors
    /// [`Exhausted`] when that would go over the budget.
    pub fn charge(&self, bytes: usize) -> Result<Charge, Exhausted> {
        self.lend(|state| {
            state.reserve(bytes)?;
            state.use_up(bytes);
            Ok(())
        })?;
        Ok(Charge { home: Arc::clone(&self.home), bytes })
    }

    /// Lends what `take` takes, if need be of what is idle.
    fn lend<T>(&self, take: impl Fn(&mut State) -> Result<T, Lacks>) -> Result<T, Exhausted> {
        let mut state = self.home.lock();
        let mut lacks = match take(&mut state) {
            Ok(taken) => return Ok(taken),
            Err(lacks) => lacks,
        };
        for keeper in self.keepers.borrow().iter() {
            if state.idle_bytes <= 0 {
                break;
            }
            // Not under the lock: the keeper's blocks come home through it.
            drop(state);
            keeper(lacks.0);
            state = self.home.lock();
            lacks = match take(&mut state) {
                Ok(taken) => return Ok(taken),
                Err(lacks) => lacks,
            };
        }
        state.stats.refused += 1;
        Err(Exhausted)
    }

    /// Gives the memory of blocks that are not on loan back to the allocator, and says how many bytes.
    pub fn release_free(&self) -> usize {
        let free = self.home.lock().take_free();
        // Freed out of the lock.
        bytes_of(&free)
    }

    /// The counters as they are now.
    pub fn stats(&self) -> Stats {
        self.home.lock().stats()
    }
}

/// Who gives up idle blocks.
type Keeper = Box<dyn Fn(usize)>;

/// Bytes counted in a pool's budget though they lie elsewhere. Dropping it gives them back.
pub struct Charge {
    home: Arc<Home>,
    bytes: usize,
}

impl Charge {
    /// What it stands for is kept from now on only as long as nobody else needs its memory.
    pub fn into_idle(self) -> Idle {
        self.home.idle(self.bytes);
        Idle(self)
    }

    /// There are `bytes` now, and nobody can be asked: an index that grew by an entry. What goes over
    /// the budget by this is refused to others.
    pub fn set(&mut self, bytes: usize) {
        let mut state = self.home.lock();
        state.stats.used_bytes -= self.bytes;
        state.use_up(bytes);
        state.trim(0);
        self.bytes = bytes;
        self.home.returned(state);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut state = self.home.lock();
        state.stats.used_bytes -= self.bytes;
        self.home.returned(state);
    }
}

/// A charge for what nobody uses just now. Whoever holds it gives it up when the pool
/// [asks](BufPool::on_shortage).
pub struct Idle(Charge);

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.home.no_longer_idle(self.0.bytes);
    }
}

/// Where blocks come home to, from any core.
pub(super) struct Home {
    state: Mutex<State>,
    /// The pool's own.
    thread: ThreadId,
    bell: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Home {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        if let Ok(state) = self.state.try_lock() {
            return state;
        }
        // Nothing in here panics half-way, so a poisoned state is a whole state.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.stats.contended += 1;
        state
    }

    pub(super) fn take_back(&self, slot: Box<Slot>) {
        let mut state = self.lock();
        state.stats.used_bytes -= slot.class().bytes();
        state.free[slot.class() as usize].push(slot);
        self.returned(state);
    }

    /// Nobody but its keeper holds a block any more.
    pub(super) fn idle(&self, bytes: usize) {
        let mut state = self.lock();
        state.idle_bytes += bytes as isize;
        self.returned(state);
    }

    /// Somebody besides its keeper holds a block, or it is kept no more.
    pub(super) fn no_longer_idle(&self, bytes: usize) {
        let mut state = self.lock();
        state.idle_bytes -= bytes as isize;
        state.note_high_water();
    }

    /// There is more to lend than before.
    fn returned(&self, state: MutexGuard<'_, State>) {
        if state.line.is_empty() {
            return;
        }
        match self.bell.get() {
            // Wakers of this shard's tasks are its own to call and to drop.
            Some(bell) if thread::current().id() != self.thread => {
                drop(state);
                bell();
            }
            _ => self.call(state),
        }
    }

    /// Calls those of the waiting for whom there is memory now.
    pub(super) fn call(&self, mut state: MutexGuard<'_, State>) {
        let lendable_bytes = state.lendable_bytes();
        let called = state.line.call(lendable_bytes);
        // Wakers run outside of the lock: they may be anything.
        drop(state);
        called.into_iter().for_each(|waker| waker.wake());
    }
}

/// Why a loan was not given: so many bytes are in the way.
struct Lacks(usize);

/// Free blocks by class. Boxed, since a block on loan points at its slot, which must not move.
type Free = [Vec<Box<Slot>>; 3];

fn bytes_of(free: &Free) -> usize {
    free.iter().flatten().map(|slot| slot.class().bytes()).sum()
}

pub(super) struct State {
    free: Free,
    /// But for the idle bytes.
    stats: Stats,
    /// Below zero for a moment, where two cores that pass a block to and fro come to say so in the
    /// other order.
    idle_bytes: isize,
    pub(super) line: Line,
}

impl State {
    /// A free slot, or `None` after reserving the room to allocate one.
    fn take(&mut self, class: Class) -> Result<Option<Box<Slot>>, Lacks> {
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
    fn reserve(&mut self, bytes: usize) -> Result<(), Lacks> {
        let lacking = (self.stats.used_bytes + bytes).saturating_sub(self.stats.budget_bytes);
        if lacking > 0 {
            return Err(Lacks(lacking));
        }
        self.trim(bytes);
        Ok(())
    }

    /// Gives free blocks to the allocator until `bytes` more fit the budget, or none is left.
    fn trim(&mut self, bytes: usize) {
        while self.held_bytes() + bytes > self.stats.budget_bytes {
            let Some(slot) = self.free.iter_mut().rev().find_map(Vec::pop) else { return };
            self.stats.allocated_bytes -= slot.class().bytes();
        }
    }

    /// Takes out all free blocks, to be freed; a new peak begins.
    fn take_free(&mut self) -> Free {
        let free = std::mem::take(&mut self.free);
        self.stats.allocated_bytes -= bytes_of(&free);
        self.stats.peak_bytes = self.stats().in_use_bytes();
        free
    }

    /// What is on loan or charged, and what lies free.
    fn held_bytes(&self) -> usize {
        let free = |class: Class| self.free[class as usize].len() * class.bytes();
        self.stats.used_bytes + Class::ALL.into_iter().map(free).sum::<usize>()
    }

    fn use_up(&mut self, bytes: usize) {
        self.stats.used_bytes += bytes;
        self.note_high_water();
    }

    fn stats(&self) -> Stats {
        Stats { idle_bytes: self.idle_bytes.max(0) as usize, ..self.stats }
    }

    fn note_high_water(&mut self) {
        let in_use_bytes = self.stats().in_use_bytes();
        self.stats.high_water_bytes = self.stats.high_water_bytes.max(in_use_bytes);
        self.stats.peak_bytes = self.stats.peak_bytes.max(in_use_bytes);
    }

    /// What can be lent, of what is free and what is idle.
    pub(super) fn lendable_bytes(&self) -> usize {
        self.stats.budget_bytes.saturating_sub(self.stats().in_use_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::bufpool::{Block, Spare};

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
    fn what_is_not_on_loan_is_released_and_what_is_comes_home_later() {
        let pool = pool(1 << 20);
        let held = pool.take(Class::Large).unwrap();
        drop([Class::Small, Class::Medium, Class::Large].map(|class| pool.take(class).unwrap()));
        assert_eq!((pool.release_free(), pool.release_free()), (84 << 10, 0));
        assert_eq!(pool.stats().allocated_bytes, 64 << 10);
        assert_eq!((pool.stats().peak_bytes, pool.stats().high_water_bytes), (64 << 10, 148 << 10));
        drop(held);
        assert_eq!(pool.release_free(), 64 << 10);
        pool.take(Class::Large).unwrap();
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
    fn what_cannot_be_refused_is_refused_to_others() {
        let pool = pool(128 << 10);
        let mut charge = pool.charge(0).unwrap();
        drop(pool.take(Class::Large).unwrap());
        charge.set(100 << 10);
        assert_eq!(pool.stats().allocated_bytes, 0, "a free block is kept over the budget");
        assert_eq!(pool.take(Class::Large).unwrap_err(), Exhausted);
        charge.set(200 << 10);
        assert_eq!(pool.take(Class::Small).unwrap_err(), Exhausted);
        charge.set(64 << 10);
        pool.take(Class::Large).unwrap();
        drop(charge);
        assert_eq!(pool.stats().used_bytes, 0);
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

    fn kept(pool: &BufPool, class: Class) -> Spare {
        Spare::new(pool.take(class).unwrap().freeze(1))
    }

    #[test]
    fn what_nobody_but_its_keeper_holds_is_lent_to_others_at_once() {
        let pool = pool(256 << 10);
        let held: Rc<RefCell<VecDeque<Spare>>> = Rc::default();
        let keeper = Rc::clone(&held);
        pool.on_shortage(move |bytes| {
            let mut given_up = 0;
            while given_up < bytes && keeper.borrow().front().is_some_and(Spare::is_idle) {
                given_up += keeper.borrow_mut().pop_front().unwrap().loan_bytes();
            }
        });
        held.borrow_mut().extend((0..4).map(|_| kept(&pool, Class::Large)));
        let stats = pool.stats();
        assert_eq!((stats.used_bytes, stats.idle_bytes), (256 << 10, 256 << 10));
        assert_eq!((stats.fullness(), stats.high_water_bytes), (0.0, 64 << 10));
        let work = [pool.take(Class::Large).unwrap(), pool.take(Class::Large).unwrap()];
        let charge = pool.charge(1).unwrap();
        assert_eq!((held.borrow().len(), pool.stats().refused), (1, 0));
        let reader = held.borrow()[0].block();
        assert!(pool.take(Class::Large).is_err(), "the last one is in use");
        assert_eq!((pool.stats().idle_bytes, pool.stats().refused), (0, 1));
        assert_eq!(&reader[..], &[0]);
        drop(reader);
        pool.take(Class::Large).unwrap();
        assert!(held.borrow().is_empty());
        drop((work, charge));
        assert_eq!((pool.stats().used_bytes, pool.stats().idle_bytes), (0, 0));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn it_is_always_known_what_is_idle_whoever_reads_it_wherever() {
        let pool = pool(1 << 20);
        let kept: Vec<_> = (0..8).map(|_| kept(&pool, Class::Small)).collect();
        for _ in 0..200 {
            let readers: Vec<Block> = kept.iter().map(Spare::block).collect();
            assert_eq!(pool.stats().in_use_bytes(), 32 << 10);
            let copies = readers.clone();
            let threads = [readers, copies].map(|part| std::thread::spawn(move || drop(part)));
            // While others let go of them they are taken up again.
            kept.iter().for_each(|kept| drop(kept.block()));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(pool.stats().idle_bytes, 32 << 10);
        }
        let reader = kept[0].block();
        drop(kept);
        assert_eq!((pool.stats().idle_bytes, pool.stats().used_bytes), (0, 4 << 10));
        drop(reader);
        assert_eq!(pool.stats().used_bytes, 0);
    }

    #[test]
    fn blocks_are_aligned_for_direct_io() {
        let pool = pool(1 << 20);
        for class in Class::ALL {
            assert_eq!(pool.take(class).unwrap().as_ptr() as usize % 4096, 0);
        }
    }
}
