//! Heap of one decoding stream, for each file of the demo: decoder and pipeline to 48 kHz, without
//! the blocks that hold the file.
//!
//! `cargo run --release --features dhat --example heap`. Coroutine stacks are mapped, not
//! allocated, and so are not in it.
#![allow(clippy::print_stdout)]

use kithara::{
    decode::{DecoderOptions, Stacks},
    demo,
};
use kithara_bench::play::{play, resident};

#[cfg(feature = "dhat")]
#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn main() {
    if cfg!(not(feature = "dhat")) {
        println!("without --features dhat the heap is not counted; decoding only");
    }
    let stacks = Stacks::new(DecoderOptions::default());
    for file in demo::FILES {
        let resident = resident(file.bytes);
        // A codec's tables are made once in a process, for all its streams.
        play(&stacks, resident.clone());
        let peak_bytes = peak_of(|| {
            play(&stacks, resident);
        });
        match peak_bytes {
            Some(bytes) => println!("{:<24} {:>6} KiB", file.name, bytes >> 10),
            None => println!("{:<24} decoded", file.name),
        }
    }
}

/// Most bytes of heap during `work`, beyond what was there before it.
#[cfg(feature = "dhat")]
fn peak_of(work: impl FnOnce()) -> Option<usize> {
    // A profiler counts only blocks that are allocated while it lives.
    let _profiler = dhat::Profiler::builder().testing().build();
    work();
    Some(dhat::HeapStats::get().max_bytes)
}

#[cfg(not(feature = "dhat"))]
fn peak_of(work: impl FnOnce()) -> Option<usize> {
    work();
    None
}
