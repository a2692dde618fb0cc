//! Heap of one decoding stream, for each file of the demo: decoder and pipeline to 48 kHz, without
//! the blocks that hold the file.
//!
//! `cargo run --release --features dhat --example heap`. Coroutine stacks are mapped, not
//! allocated, and so are not in it.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use kithara::{
    bufpool::{self, BufPool, Class},
    decode::{Ask, Decoder, Dither, Encoding, Pipeline, Quality, Spec, StackOptions, Stacks, Step},
    demo,
    stream::Resident,
};

#[cfg(feature = "dhat")]
#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const SPEC: Spec = Spec {
    rate_hz: 48_000,
    channels: 2,
    encoding: Encoding::S16le,
    dither: Dither::None,
    quality: Quality::Good,
};

fn main() {
    if cfg!(not(feature = "dhat")) {
        println!("without --features dhat the heap is not counted; decoding only");
    }
    let stacks = Stacks::new(StackOptions::default());
    for file in demo::FILES {
        let resident = resident(file.bytes);
        // A codec's tables are made once in a process, for all its streams.
        decode(&stacks, resident.clone());
        let peak_bytes = peak_of(|| decode(&stacks, resident));
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

/// The whole file in memory, as a finished fill leaves it.
fn resident(bytes: &[u8]) -> Resident {
    let pool = BufPool::new(bufpool::Options { budget_bytes: 64 << 20 });
    let resident = Resident::new(Some(bytes.len() as u64));
    let mut position = 0;
    for part in bytes.chunks(Class::Large.bytes()) {
        let mut block = pool.take(Class::Large).expect("within the budget");
        block[..part.len()].copy_from_slice(part);
        resident.insert(position, block.freeze(part.len()));
        position += part.len() as u64;
    }
    resident
}

fn decode(stacks: &Stacks, resident: Resident) {
    let mut decoder = Decoder::new(stacks, resident, Ask::default()).expect("a stack");
    let mut pipeline = None;
    loop {
        match decoder.step(Instant::now() + Duration::from_millis(1)).expect("sound") {
            Step::Opened => {
                let info = decoder.info().expect("opened");
                pipeline = Some(Pipeline::new(info, SPEC, 0, None).expect("to 48 kHz"));
            }
            Step::Frames => {
                let pipeline = pipeline.as_mut().expect("opened before");
                pipeline.push(decoder.position(), decoder.frames());
                drain(pipeline);
            }
            Step::Slice => {}
            Step::End => return,
            Step::Need { position, .. } => panic!("all is resident, {position} is not"),
        }
    }
}

fn drain(pipeline: &mut Pipeline) {
    let mut block = [0; 4096];
    while pipeline.pull(&mut block) > 0 {}
}
