//! Heap of one decoding stream, for each file of the demo or for those that are named: decoder and
//! pipeline to 48 kHz, without the blocks that hold the file; and how often it asks for memory for each
//! packet, once it is under way.
//!
//! `cargo run --release --features dhat --example heap -- [FILE...]`. Coroutine stacks are mapped, not
//! allocated, and so are not in it.
#![allow(clippy::print_stdout)]

use kithara::{
    decode::{DecoderOptions, Stacks},
    demo,
    stream::Resident,
};
use kithara_bench::play::{Playing, play, resident};

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
        let whole = counted(|| {
            play(&stacks, resident.clone());
        });
        match whole {
            Some((_, peak_bytes)) => {
                let steady = steady(&stacks, &resident);
                println!(
                    "{name:<24} {:>6} KiB {steady:>8.2} allocations a packet",
                    peak_bytes >> 10
                );
            }
            None => println!("{name:<24} decoded"),
        }
    }
}

/// Allocations for each packet, in the second half of a stream.
fn steady(stacks: &Stacks, resident: &Resident) -> f64 {
    let mut first = Playing::new(stacks, resident.clone());
    while first.goes_on() {}
    let (half, mut playing) = (first.packets() / 2, Playing::new(stacks, resident.clone()));
    while playing.packets() < half && playing.goes_on() {}
    let began = playing.packets();
    // Of what the end itself takes nothing is counted.
    let work = || while playing.packets() + 2 < 2 * half && playing.goes_on() {};
    let (blocks, _) = counted(work).expect("it is counted");
    blocks as f64 / (playing.packets() - began) as f64
}

/// How many blocks of heap `work` takes, and their most bytes at a time beyond what was there before it.
#[cfg(feature = "dhat")]
fn counted(work: impl FnOnce()) -> Option<(u64, usize)> {
    // A profiler counts only blocks that are allocated while it lives.
    let _profiler = dhat::Profiler::builder().testing().build();
    work();
    let stats = dhat::HeapStats::get();
    Some((stats.total_blocks, stats.max_bytes))
}

#[cfg(not(feature = "dhat"))]
fn counted(work: impl FnOnce()) -> Option<(u64, usize)> {
    work();
    None
}
