//! A file on plain io_uring, with direct I/O and nothing above it: what a disk gives where fio is not there
//! to say so.

#![allow(unsafe_code)] // The kernel gets addresses.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    fs::File,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::Path,
    time::Instant,
};

use io_uring::{IoUring, opcode, types::Fd};
use rustix::fs::OFlags;

/// What is done to each block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It is read.
    Read,
    /// It is written over.
    Write,
}

/// Reads or writes blocks of `block` bytes, `depth` at a time, at the positions that `next` gives until it
/// gives none. How long each took, in nanoseconds.
///
/// # Panics
/// When the kernel has no io_uring, or the file no such block.
pub fn carry(
    path: &Path,
    direction: Direction,
    block: usize,
    depth: usize,
    mut next: impl FnMut() -> Option<u64>,
) -> Vec<u32> {
    let mut open = File::options();
    open.read(true).write(direction == Direction::Write).create(direction == Direction::Write);
    let file = open.custom_flags(OFlags::DIRECT.bits() as i32).open(path).expect("direct I/O");
    let mut blocks: Vec<_> = (0..depth).map(|_| Block::new(block)).collect();
    // After the blocks, so that the ring ends before the memory that it was told of.
    let mut ring = IoUring::new(depth as u32).expect("io_uring");
    let mut began = vec![Instant::now(); depth];
    let (mut idle, mut each): (Vec<_>, Vec<_>) = ((0..depth).collect(), Vec::new());
    loop {
        while let Some(place) = idle.last().copied()
            && let Some(position) = next()
        {
            idle.pop();
            let (fd, start) = (Fd(file.as_raw_fd()), blocks[place].start());
            let entry = match direction {
                Direction::Read => {
                    opcode::Read::new(fd, start, block as u32).offset(position).build()
                }
                Direction::Write => {
                    opcode::Write::new(fd, start, block as u32).offset(position).build()
                }
            };
            began[place] = Instant::now();
            // SAFETY: the file is open and the block is nobody else's until this has ended: its place is
            // idle again only then, and this function returns only when all places are.
            unsafe { ring.submission().push(&entry.user_data(place as u64)) }
                .expect("there is room");
        }
        if idle.len() == depth {
            return each;
        }
        ring.submit_and_wait(1).expect("the kernel takes them");
        for ended in ring.completion() {
            assert_eq!(ended.result(), block as i32, "a block is done whole");
            let place = ended.user_data() as usize;
            each.push(began[place].elapsed().as_nanos() as u32);
            idle.push(place);
        }
    }
}

/// Memory as direct I/O wants it.
struct Block {
    start: *mut u8,
    layout: Layout,
}

impl Block {
    fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, 4096).expect("a block has some bytes");
        assert!(layout.size() > 0, "a block has some bytes");
        // SAFETY: the layout has a size.
        let start = unsafe { alloc_zeroed(layout) };
        assert!(!start.is_null(), "there is memory");
        Self { start, layout }
    }

    fn start(&mut self) -> *mut u8 {
        self.start
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, and the kernel is done with it.
        unsafe { dealloc(self.start, self.layout) };
    }
}
