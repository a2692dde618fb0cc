//! An allocator that knows how much of the heap is in use, for programs that have a node inside them.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicIsize, Ordering},
};

/// Counts what is allocated and not yet freed, but by threads that stand [`apart`]. Blocks of the pool, which
/// alone are aligned to pages, it counts by themselves.
pub struct Counting {
    heap: AtomicIsize,
    blocks: AtomicIsize,
}

thread_local! {
    static IS_APART: Cell<bool> = const { Cell::new(false) };
}

/// What this thread allocates is not counted.
pub fn apart() {
    IS_APART.set(true);
}

impl Counting {
    /// One that has seen nothing.
    pub const fn new() -> Self {
        Self { heap: AtomicIsize::new(0), blocks: AtomicIsize::new(0) }
    }

    /// Bytes of the heap, without blocks.
    pub fn heap_bytes(&self) -> usize {
        self.heap.load(Ordering::Relaxed).max(0) as usize
    }

    /// Bytes of blocks, those that nobody holds among them.
    pub fn block_bytes(&self) -> usize {
        self.blocks.load(Ordering::Relaxed).max(0) as usize
    }

    fn count(&self, layout: Layout, sign: isize) {
        // A thread that is ending is none of the bench's.
        if IS_APART.try_with(Cell::get).unwrap_or(false) {
            return;
        }
        let counter = if layout.align() >= 4096 { &self.blocks } else { &self.heap };
        counter.fetch_add(sign * layout.size() as isize, Ordering::Relaxed);
    }
}

impl Default for Counting {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: every call goes to the system's allocator as it came; only counters are kept beside.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count(layout, 1);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.count(layout, -1);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
