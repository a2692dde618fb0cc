//! Heap of one decoding stream, for each file of the demo or for those that are named: decoder and
//! pipeline to 48 kHz, without the blocks that hold the file.
//!
//! `cargo run --release --features dhat --example heap -- [FILE...]`. Coroutine stacks are mapped, not
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
    let named: Vec<(String, Vec<u8>)> = std::env::args()
        .skip(1)
        .map(|path| (path.clone(), std::fs::read(&path).expect("a file that can be read")))
        .collect();
    let of_demo = demo::FILES.iter().map(|file| (file.name, file.bytes));
    let files: Vec<(&str, &[u8])> = match named.is_empty() {
        true => of_demo.collect(),
        false => named.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect(),
    };
    for (name, bytes) in files {
        let resident = resident(bytes);
        // A codec's tables are made once in a process, for all its streams.
        play(&stacks, resident.clone());
        let peak_bytes = peak_of(|| {
            play(&stacks, resident);
        });
        match peak_bytes {
            Some(bytes) => println!("{name:<24} {:>6} KiB", bytes >> 10),
            None => println!("{name:<24} decoded"),
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
