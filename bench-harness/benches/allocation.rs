//! Memory of one decoding stream, by codec and by part: decoder, its stack, resampler, input.
//!
//! `cargo bench --bench allocation`. A counting allocator sees what the decoder and the pipeline
//! hold after each step, without the blocks of the pool; the pool says what of the source is in
//! memory; the kernel says which pages of the stack are in it at the end: those that opening touched
//! were given back before the first frame. What streams of a core share of a resampler is said apart.
//! Then the release node plays to clients that stop reading: what the process holds more for each of
//! them is all of it together, blocks of PCM and the connection included.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    io::Read,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use kithara::{
    bufpool::{self, BufPool, Class},
    decode::{Ask, Decoder, DecoderOptions, Pipeline, Stacks, Step},
    stream::Resident,
};
use kithara_bench::{
    CODINGS, Node, Scratch, Stream, Table, music, play,
    stack::{guarded, touched},
};

/// Counts what is allocated and not yet freed.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; only a counter is kept beside.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// As a shard's decoders have it.
const STACK_BYTES: usize = 1 << 20;
/// Streams that the node is asked to hold, for each codec.
const STREAMS: usize = 40;
/// What one stream may cost in KiB, and for Vorbis with its large tables.
const NEEDED_KIB: usize = 512;
const NEEDED_VORBIS_KIB: usize = 2048;

fn main() {
    let scratch = Scratch::new("allocation");
    let files = music(scratch.path(), 60);
    println!("KiB of one stream, 44.1 to 48 kHz, s16, at its most");
    let heads = ["file", "decoder", "stack", "resampler", "input", "sum", "in node", "needed"];
    let table = Table::new(12, heads);
    for (file, (name, _)) in files.iter().zip(CODINGS) {
        let parts = parts(file);
        let whole = in_node(scratch.path(), name);
        let needed = if name.ends_with("ogg") { NEEDED_VORBIS_KIB } else { NEEDED_KIB };
        let Parts { decoder, stack, resampler, input } = parts;
        let sum = decoder + stack + resampler + input;
        let [decoder, stack, resampler, input, sum, whole] =
            [decoder, stack, resampler, input, sum, whole].map(|bytes| kib(bytes).to_string());
        let (name, needed) = (name.to_owned(), needed.to_string());
        table.row([name, decoder, stack, resampler, input, sum, whole, needed]);
    }
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

/// The most that each part had, in bytes.
#[derive(Default)]
struct Parts {
    decoder: usize,
    stack: usize,
    resampler: usize,
    input: usize,
}

/// Plays a file in this process, fed as a session is: a block of 64 KiB when one is missing.
fn parts(file: &Path) -> Parts {
    let bytes = fs::read(file).expect("the file was just made");
    let pool = BufPool::new(bufpool::Options { budget_bytes: 64 << 20 });
    // One before that which is measured: what is made once a process or a core is nobody's.
    let _ = measured(&bytes, &pool);
    measured(&bytes, &pool).0
}

fn measured(bytes: &[u8], pool: &BufPool) -> (Parts, Option<Pipeline>) {
    let stacks = Stacks::new(DecoderOptions {
        stack_bytes: STACK_BYTES,
        keep: 0,
        ..DecoderOptions::default()
    });
    let resident = Resident::new(Some(bytes.len() as u64));
    let mut block = vec![0; 64 << 10];
    let mut parts = Parts::default();
    let blocks = || pool.stats().allocated_bytes;
    let at_first = LIVE.load(Ordering::Relaxed) - blocks();
    let guards = guarded();
    let mut decoder = Decoder::new(&stacks, resident.clone(), Ask::default()).expect("a stack");
    let stack = guarded().into_iter().find(|start| !guards.contains(start));
    let stack = stack.expect("a decoder has a stack with a guard page");
    let mut pipeline: Option<Pipeline> = None;
    let mut pipeline_bytes = 0;
    loop {
        let before = LIVE.load(Ordering::Relaxed) - blocks();
        match decoder.step(Instant::now() + Duration::from_millis(1)).expect("sound") {
            Step::Need { position, .. } => {
                resident.clear();
                let part = &bytes[position as usize..];
                let part = &part[..part.len().min(64 << 10)];
                let mut room = pool.take(Class::Large).expect("within the budget");
                room[..part.len()].copy_from_slice(part);
                resident.insert(position, room.freeze(part.len()));
                parts.input = parts.input.max(pool.stats().used_bytes);
            }
            Step::Opened => {
                let before = LIVE.load(Ordering::Relaxed);
                pipeline = Some(play::pipeline(&decoder));
                pipeline_bytes = LIVE.load(Ordering::Relaxed) - before;
            }
            Step::Frames => {
                let held = LIVE.load(Ordering::Relaxed) - blocks() - at_first - pipeline_bytes;
                parts.decoder = parts.decoder.max(held);
                let before = LIVE.load(Ordering::Relaxed);
                let pipeline = pipeline.as_mut().expect("opened before");
                play::feed(pipeline, &decoder, &mut block);
                let grown = LIVE.load(Ordering::Relaxed).wrapping_sub(before) as isize;
                pipeline_bytes = pipeline_bytes.saturating_add_signed(grown);
                parts.resampler = parts.resampler.max(pipeline_bytes);
            }
            Step::Slice => {}
            Step::End => break,
        }
        let held = LIVE.load(Ordering::Relaxed) - blocks();
        parts.decoder =
            parts.decoder.max((held.max(before) - at_first).saturating_sub(pipeline_bytes));
    }
    parts.stack = touched(stack, STACK_BYTES);
    (parts, pipeline)
}

/// What a node holds more for each client that plays a copy of `name`, which nobody else plays, and has
/// stopped reading for less than the node waits before it gives up a decoder.
fn in_node(dir: &Path, name: &str) -> usize {
    let node = Node::start(1, dir, dir);
    for number in 0..STREAMS + 2 {
        let copy = dir.join(format!("{number}.{name}"));
        fs::copy(dir.join(name), copy).expect("the scratch directory takes it");
    }
    let open = |number: usize| {
        let path = format!("/v1/pcm?src=local:{number}.{name}&rate=48000&format=s16le");
        let mut stream = Stream::open(node.listen, &path, Some(32 << 10)).expect("the node plays");
        stream.read_exact(&mut vec![0; 64 << 10]).expect("the body is sound");
        stream
    };
    // The first ones make what all share.
    let shared: Vec<Stream> = (0..2).map(open).collect();
    thread::sleep(Duration::from_millis(300));
    let before = node.usage();
    let streams: Vec<Stream> = (2..STREAMS + 2).map(open).collect();
    thread::sleep(Duration::from_millis(500));
    let after = node.usage();
    assert!(after.threads <= before.threads, "no thread belongs to a stream");
    drop((shared, streams));
    (after.private_bytes - before.private_bytes) as usize / STREAMS
}
