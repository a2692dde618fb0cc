//! Blocks on loan: written by one owner, then shared.
//!
//! The count of references lies in the slot beside the memory, and slots are recycled with it, so
//! taking, freezing, sharing and dropping a block allocates nothing. One bit of the same word says
//! that a keeper holds one of the references: so it is always known, without asking anybody, which
//! blocks nobody but their keeper holds, and the pool counts those as its own to call in.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    fmt,
    ops::{Deref, DerefMut, Range},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering, fence},
    },
};

use bytes::Bytes;

use super::pool::{Class, Home};

/// Direct I/O wants buffers, positions and lengths aligned to this.
const ALIGNMENT: usize = 4096;

/// In the word of references: one of them is that of a keeper.
const SPARE: usize = 1 << (usize::BITS - 1);
/// The word of a block that its keeper alone holds.
const IDLE: usize = SPARE | 1;

/// One piece of memory and the count of those who read it. Lives until its pool gives it back.
pub(super) struct Slot {
    /// How many there are, and [`SPARE`].
    references: AtomicUsize,
    number: u64,
    class: Class,
    memory: NonNull<u8>,
}

// SAFETY: the memory is plain bytes; who may touch them is ruled by `BlockMut` (exclusive) and
// `Block` (shared, never written), not by the thread they are on.
unsafe impl Send for Slot {}
// SAFETY: as above; the only shared mutable part is the atomic count.
unsafe impl Sync for Slot {}

/// Pieces of memory that this process has allocated so far.
static ALLOCATED: AtomicU64 = AtomicU64::new(0);

impl Slot {
    pub(super) fn allocate(class: Class) -> Box<Slot> {
        let layout = Self::layout(class);
        // SAFETY: the layout has a size above zero.
        let memory = unsafe { alloc_zeroed(layout) };
        let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
        let number = ALLOCATED.fetch_add(1, Ordering::Relaxed);
        Box::new(Slot { references: AtomicUsize::new(0), number, class, memory })
    }

    pub(super) fn class(&self) -> Class {
        self.class
    }

    fn memory(&self) -> Memory {
        Memory { number: self.number, start: self.memory, class: self.class }
    }

    fn layout(class: Class) -> Layout {
        Layout::from_size_align(class.bytes(), ALIGNMENT).expect("classes are small powers of two")
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        debug_assert_eq!(self.references.load(Ordering::Relaxed), 0);
        // SAFETY: allocated in `allocate` with this very layout, and freed nowhere else.
        unsafe { dealloc(self.memory.as_ptr(), Self::layout(self.class)) }
    }
}

/// The piece of memory that a block lies in, for who tells the kernel of it beforehand.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// No two pieces that the process ever allocated have the same, wherever they lie.
    pub number: u64,
    /// Its first byte.
    pub start: NonNull<u8>,
    /// How large it is.
    pub class: Class,
}

/// A block with one owner, who may write it.
///
/// Its length is the whole of its [`Class`]; [`freeze`](Self::freeze) says how much of it counts.
/// What it held before is still in it: memory of a pool is not zeroed between loans.
pub struct BlockMut {
    /// `None` only after it was given away by `freeze` or `drop`.
    slot: Option<Box<Slot>>,
    home: Arc<Home>,
}

impl BlockMut {
    pub(super) fn new(slot: Box<Slot>, home: Arc<Home>) -> Self {
        Self { slot: Some(slot), home }
    }

    /// Ends the writing: the first `length` bytes become shared and fixed.
    ///
    /// # Panics
    /// When `length` is more than the block holds.
    pub fn freeze(mut self, length: usize) -> Block {
        assert!(length <= self.len(), "a block of {} has no byte {length}", self.len());
        let slot = self.slot.take().expect("present until given away");
        slot.references.store(1, Ordering::Relaxed);
        let slot = NonNull::from(Box::leak(slot));
        Block { slot, home: Arc::clone(&self.home), start: 0, end: length as u32 }
    }

    /// The memory it lies in.
    pub fn memory(&self) -> Memory {
        self.slot().memory()
    }

    fn slot(&self) -> &Slot {
        self.slot.as_ref().expect("present until given away")
    }
}

impl Deref for BlockMut {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let slot = self.slot();
        // SAFETY: the memory is initialised, of this length, and borrowed as long as `self`.
        unsafe { std::slice::from_raw_parts(slot.memory.as_ptr(), slot.class.bytes()) }
    }
}

impl DerefMut for BlockMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        let slot = self.slot();
        // SAFETY: as in `deref`, and nobody else holds this slot.
        unsafe { std::slice::from_raw_parts_mut(slot.memory.as_ptr(), slot.class.bytes()) }
    }
}

impl Drop for BlockMut {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.home.take_back(slot);
        }
    }
}

impl fmt::Debug for BlockMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockMut({} bytes)", self.len())
    }
}

/// Bytes that nobody writes any more, shared by reference, on any core.
///
/// A clone or a [`slice`](Self::slice) costs one atomic addition. The whole block stays on loan
/// until the last of them is dropped.
pub struct Block {
    slot: NonNull<Slot>,
    home: Arc<Home>,
    start: u32,
    end: u32,
}

// SAFETY: a `Block` only reads its bytes, which nobody writes while one lives; the count is atomic.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// A part of these bytes.
    ///
    /// # Panics
    /// When `range` reaches outside.
    pub fn slice(&self, range: Range<usize>) -> Block {
        assert!(range.start <= range.end && range.end <= self.len(), "{range:?} of {}", self.len());
        let mut part = self.clone();
        part.start = self.start + range.start as u32;
        part.end = self.start + range.end as u32;
        part
    }

    /// The same bytes for hyper, without a copy: the block comes home when the socket has them.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }

    /// What the pool counts for it: the whole of its class.
    pub fn loan_bytes(&self) -> usize {
        self.slot().class.bytes()
    }

    /// The memory it lies in, perhaps beside others.
    pub fn memory(&self) -> Memory {
        self.slot().memory()
    }

    fn slot(&self) -> &Slot {
        // SAFETY: the slot lives until the last `Block` gives it back, and this is one.
        unsafe { self.slot.as_ref() }
    }
}

impl Clone for Block {
    fn clone(&self) -> Self {
        if self.slot().references.fetch_add(1, Ordering::Relaxed) == IDLE {
            self.home.no_longer_idle(self.loan_bytes());
        }
        Block { slot: self.slot, home: Arc::clone(&self.home), start: self.start, end: self.end }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // Who is not the last may not look at the slot after it let go: the last may be gone too.
        let bytes = self.loan_bytes();
        match self.slot().references.fetch_sub(1, Ordering::Release) {
            1 => {}
            before if before == IDLE + 1 => return self.home.idle(bytes),
            _ => return,
        }
        fence(Ordering::Acquire);
        // SAFETY: leaked in `freeze`, and the count that reached zero says this is the last one.
        let slot = unsafe { Box::from_raw(self.slot.as_ptr()) };
        self.home.take_back(slot);
    }
}

/// A block that is kept only as long as nobody else needs its memory. Whoever keeps such blocks
/// gives them up when the pool [asks](super::BufPool::on_shortage).
///
/// While others hold the block as well it is in use, and giving it up frees nothing. A block is kept
/// by one keeper at a time.
pub struct Spare(Block);

impl Spare {
    /// Keeps `block`.
    pub fn new(block: Block) -> Self {
        let before = block.slot().references.fetch_or(SPARE, Ordering::Relaxed);
        debug_assert!(before & SPARE == 0, "a block has one keeper");
        if before == 1 {
            block.home.idle(block.loan_bytes());
        }
        Self(block)
    }

    /// The block, for who wants to read it.
    pub fn block(&self) -> Block {
        self.0.clone()
    }

    /// Whether nobody else holds it now.
    pub fn is_idle(&self) -> bool {
        self.0.slot().references.load(Ordering::Relaxed) == IDLE
    }

    /// What the pool counts for it.
    pub fn loan_bytes(&self) -> usize {
        self.0.loan_bytes()
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if self.0.slot().references.fetch_and(!SPARE, Ordering::Relaxed) == IDLE {
            self.0.home.no_longer_idle(self.0.loan_bytes());
        }
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let length = (self.end - self.start) as usize;
        // SAFETY: `start..end` lies inside the memory, is initialised and is not written any more.
        unsafe {
            let first = self.slot().memory.as_ptr().add(self.start as usize);
            std::slice::from_raw_parts(first, length)
        }
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes)", self.len())
    }
}
