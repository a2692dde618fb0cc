//! Any PCM as FLAC: what is decoded is what was encoded.
//!
//! The first four bytes choose the format, the level and how pushes are cut.
#![no_main]

use std::time::{Duration, Instant};

use kithara::{
    bufpool::{BufPool, Class, Options},
    decode::{Ask, Decoder, DecoderOptions, Stacks, Step},
    encode::flac::{Encoder, Format},
    stream::Resident,
};
use kithara_fuzz::fuzz_target;

const RATES_HZ: [u32; 8] = [11_025, 8_000, 44_100, 48_000, 65_537, 192_000, 255_001, 655_350];

fuzz_target!(|bytes: &[u8]| {
    let Some(([channels, rate, level, cut], pcm)) = bytes.split_first_chunk::<4>() else { return };
    let format = Format {
        rate_hz: RATES_HZ[usize::from(*rate) % RATES_HZ.len()],
        channels: 1 + u16::from(*channels % 8),
        bits: if *channels < 128 { 16 } else { 24 },
    };
    let sample_bytes = usize::from(format.bits / 8);
    let frame_bytes = usize::from(format.channels) * sample_bytes;
    let whole = &pcm[..pcm.len() / frame_bytes * frame_bytes];
    let flac = encode(pcm, whole.len() / frame_bytes, format, *level % 9, usize::from(*cut) + 1);
    if whole.is_empty() {
        return;
    }
    let mut samples = whole.chunks_exact(sample_bytes).map(|sample| match sample {
        [low, high] => f32::from(i16::from_le_bytes([*low, *high])) / 32_768.0,
        [low, middle, high] => {
            (i32::from_le_bytes([0, *low, *middle, *high]) >> 8) as f32 / 8_388_608.0
        }
        _ => unreachable!("two bytes or three"),
    });
    decode(&flac, usize::from(format.channels), |sample| {
        assert_eq!(Some(sample), samples.next());
    });
    assert_eq!(samples.next(), None, "all came");
});

fn encode(pcm: &[u8], frames: usize, format: Format, level: u8, cut: usize) -> Vec<u8> {
    let mut encoder = Encoder::stored(format, level, Some(frames as u64), Vec::new()).expect("possible");
    pcm.chunks(cut * 16).for_each(|part| encoder.push(part));
    encoder.finish();
    let mut flac = vec![0; 1 << 20];
    let count = encoder.pull(&mut flac);
    assert!(encoder.is_empty());
    flac.truncate(count);
    let head = encoder.head();
    flac[..head.len()].copy_from_slice(&head);
    flac
}

/// Gives every sample, interleaved.
fn decode(flac: &[u8], channels: usize, mut hear: impl FnMut(f32)) {
    let stacks = Stacks::new(DecoderOptions::default());
    let resident = Resident::new(Some(flac.len() as u64));
    insert(&resident, flac);
    let mut decoder = Decoder::new(&stacks, resident, Ask::default()).expect("a stack");
    loop {
        match decoder.step(Instant::now() + Duration::from_secs(60)) {
            Ok(Step::Frames) => {
                let frames = decoder.frames();
                assert_eq!(frames.planes.len(), channels);
                for frame in 0..frames.len() {
                    frames.planes.iter().for_each(|plane| hear(plane[frame]));
                }
            }
            Ok(Step::Opened | Step::Slice) => {}
            Ok(Step::End) => break,
            Ok(Step::Need { .. }) => panic!("all is there"),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(decoder.undecoded_packets(), 0);
}

fn insert(resident: &Resident, bytes: &[u8]) {
    let pool = BufPool::new(Options { budget_bytes: 4 << 20 });
    for (index, piece) in bytes.chunks(Class::Large.bytes()).enumerate() {
        let mut block = pool.take(Class::holding(piece.len())).expect("there is room");
        block[..piece.len()].copy_from_slice(piece);
        resident.insert((index * Class::Large.bytes()) as u64, block.freeze(piece.len()));
    }
}
