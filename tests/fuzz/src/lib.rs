//! What fuzz targets have in common: a bound on each allocation, and how bytes become segments.

use std::alloc::{GlobalAlloc, Layout, System};

use kithara::decode::fuzzing::{Segment, segments};
pub use libfuzzer_sys::fuzz_target;

/// The longest allocation that anything from outside may lead to. libFuzzer's own bound of this kind needs
/// a sanitizer.
const ALLOCATION_BYTES: usize = 64 << 20;

#[global_allocator]
static BOUNDED: Bounded = Bounded;

struct Bounded;

// SAFETY: all memory is the system's, by the layout that was asked for.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        is_bounded(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        is_bounded(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        is_bounded(bytes);
        // SAFETY: the caller's.
        unsafe { System.realloc(memory, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Ends the program where an allocation is too long: libFuzzer keeps the input.
fn is_bounded(bytes: usize) {
    if bytes > ALLOCATION_BYTES {
        std::process::abort();
    }
}

/// Plays `bytes` as segments behind a head. The last byte says how they are cut: into so many, by its lowest
/// two bits, of which each of the others goes on where the one before it ends, by the next three.
pub fn play(head: &[u8], bytes: &[u8]) -> usize {
    let Some((how, bytes)) = bytes.split_last() else { return 0 };
    let count = usize::from(how & 3) + 1;
    let piece = bytes.len().div_ceil(count).max(1);
    let cut = bytes.chunks(piece).enumerate();
    let cut: Vec<_> =
        cut.map(|(at, bytes)| Segment { bytes, goes_on: how >> (at + 2) & 1 == 0 }).collect();
    segments(head, &cut)
}
