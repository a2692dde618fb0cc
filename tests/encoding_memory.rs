//! What an encoder holds at its most, beside what is promised for it.
//!
//! A binary of its own, for the allocator counts all of the process.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use kithara::encode::{Codec, Encoder, Output, Tags, wav::Samples};

/// Counts the bytes that are there, and the most of them that were.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; only a counter is kept beside.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let bytes = BYTES.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(bytes, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What is promised for every encoder (`shard/promises`).
const PROMISED_BYTES: usize = 256 << 10;
/// Blocks that are encoded.
const TURNS: usize = 20;

/// The most bytes that an encoder held beyond what was there before it, and what it says of itself.
fn held(output: &Output) -> (usize, usize) {
    let sample_bytes = match output.samples {
        Samples::Integer { bits } => usize::from(bits) / 8,
        Samples::Float => 4,
    };
    let mut state = 5_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let turn_bytes =
        Encoder::new(output).unwrap().turn_frames() * usize::from(output.channels) * sample_bytes;
    let turn: Vec<u8> = (0..turn_bytes / 4).flat_map(|_| noise().to_le_bytes()).collect();
    let mut bytes = [0; 4096];
    let before = BYTES.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let mut encoder = Encoder::new(output).unwrap();
    for _ in 0..TURNS {
        encoder.push(&turn);
        while encoder.pull(&mut bytes) > 0 {}
    }
    encoder.finish();
    while encoder.pull(&mut bytes) > 0 {}
    let _ = encoder.final_front();
    (PEAK.load(Ordering::Relaxed) - before, encoder.further_bytes())
}

/// One test, for the counter is the process's.
#[test]
fn no_encoder_holds_more_than_is_promised_for_it() {
    let shapes = [
        (Codec::Flac, 48_000, 2, None),
        (Codec::Flac, 48_000, 8, None),
        (Codec::Opus, 48_000, 2, Some(510_000)),
        (Codec::Opus, 48_000, 8, Some(510_000)),
        (Codec::Mp3, 48_000, 2, Some(320_000)),
        (Codec::Mp3, 24_000, 2, Some(160_000)),
        (Codec::Aac, 96_000, 2, Some(512_000)),
        (Codec::Aac, 44_100, 1, Some(64_000)),
    ];
    for (codec, rate_hz, channels, bit_rate) in shapes {
        if !codec.is_built() {
            continue;
        }
        let samples = codec.samples(Some(24));
        let (frames, level, serial) = (None, codec.levels().map(|levels| *levels.end()), 0);
        // As much as a stream may say.
        let texts: Vec<_> =
            (0..64).map(|name| (format!("name {name}"), "text".repeat(256))).collect();
        let tags = Tags::of(&texts, codec, true);
        let output =
            Output { codec, rate_hz, channels, samples, frames, level, bit_rate, serial, tags };
        // Its tables are made once in a process, for all its streams.
        held(&output);
        let (held, further) = held(&output);
        println!("{codec:?}, {channels} channels at {rate_hz} Hz: {} KiB", held >> 10);
        assert!(held <= PROMISED_BYTES + further, "{codec:?}: {held} bytes, {further} further");
    }
}
