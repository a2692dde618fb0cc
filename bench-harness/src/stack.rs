//! Which pages of a decoder's stack are in memory.

use std::{fs, os::unix::fs::FileExt};

const PAGE_BYTES: usize = 4096;

/// Where mappings begin that have a guard page below them, as stacks do.
///
/// # Panics
/// Where the kernel does not say it.
pub fn guarded() -> Vec<usize> {
    let maps = fs::read_to_string("/proc/self/maps").expect("Linux says");
    let of = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).ok());
        let is_guard = rest.starts_with("---p") && end? - start? == PAGE_BYTES;
        is_guard.then_some(end?)
    };
    maps.lines().filter_map(of).collect()
}

/// Pages from `start` on that are in memory, in bytes, of a stack of `bytes`.
///
/// # Panics
/// Where the kernel does not say it.
pub fn touched(start: usize, bytes: usize) -> usize {
    let mut entries = vec![0; bytes / PAGE_BYTES * 8];
    let pagemap = fs::File::open("/proc/self/pagemap").expect("Linux says");
    pagemap.read_exact_at(&mut entries, (start / PAGE_BYTES * 8) as u64).expect("it is mapped");
    // The top bit of the eight bytes of a page says that it is present.
    entries.as_chunks::<8>().0.iter().filter(|entry| entry[7] >> 7 == 1).count() * PAGE_BYTES
}
