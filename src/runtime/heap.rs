//! The heap of the process, as the system sees it.

/// Gives free pages back to the system. To be run on the [blocking](super::blocking()) pool.
///
/// glibc gives back by itself only what lies free at the end of an arena, so one small piece that
/// lives long keeps all that lies before it: of 116 MiB that 150 decoders took, 114 stayed when they
/// were gone, and 25 after this. Lower thresholds for pieces of their own mappings left 40 to 98 and
/// more after each crowd, other allocators (jemalloc, mimalloc) 80 to 121.
///
/// An arena is locked meanwhile: a shard that allocates waits, for up to 50 ms where there are 90 MiB
/// to give back and the machine is busy. So it is nothing for every day.
pub fn give_back_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
