//! The promise of slices, and what a pipeline does with sources that break theirs.

use super::*;
use crate::{
    decode::{Channels, default_mask},
    storage::random::Random,
};

const QUALITIES: [Quality; 3] = [Quality::Fast, Quality::Good, Quality::Best];

fn info(rate_hz: u32, count: u16, frames: Option<u64>) -> Info {
    Info {
        container: "wav",
        codec: "pcm_f32le",
        rate_hz,
        channels: Channels { count, mask: default_mask(count) },
        sample: Sample::Float,
        frames,
        tags: Vec::new(),
        tracks: Vec::new(),
    }
}

fn spec(rate_hz: u32, channels: u16, encoding: Encoding) -> Spec {
    Spec { rate_hz, channels, encoding, dither: Dither::None, quality: Quality::Good }
}

fn noise(channels: u16, frames: usize, seed: u64) -> Frames {
    let mut random = Random(seed);
    let mut sample = || (random.below(1 << 24) as f32 / 8_388_608.0 - 1.0) * 0.8;
    let plane = |_| (0..frames).map(|_| sample()).collect();
    Frames { planes: (0..channels).map(plane).collect(), wide: Vec::new() }
}

fn part(frames: &Frames, from: usize, to: usize) -> Frames {
    let mut part = frames.clone();
    part.truncate(to);
    part.drop_front(from.min(to));
    part
}

/// Everything a pipeline makes of `frames` pushed from `start` on, in pushes of up to `cut`
/// frames and pulls of up to `cut` bytes more than a frame.
fn render(mut pipeline: Pipeline, frames: &Frames, start: usize, cut: u64, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let (mut out, mut at) = (Vec::new(), start);
    let frame_bytes = pipeline.spec.frame_bytes();
    loop {
        let mut buffer = vec![0; frame_bytes + random.below(cut) as usize];
        loop {
            let count = pipeline.pull(&mut buffer);
            assert_eq!(count % frame_bytes, 0);
            if count == 0 {
                break;
            }
            out.extend_from_slice(&buffer[..count]);
        }
        if pipeline.is_done() {
            return out;
        }
        if at == frames.len() {
            assert!(!pipeline.finished, "a finished pipeline is done once it is pulled empty");
            pipeline.finish();
            continue;
        }
        let end = (at + 1 + random.below(cut) as usize).min(frames.len());
        if pipeline.push(at as u64, &part(frames, at, end)) {
            at = end;
        }
    }
}

fn whole(info: &Info, spec: Spec, frames: &Frames) -> Vec<u8> {
    render(Pipeline::new(info, spec, 0, None).expect("possible"), frames, 0, 5000, 1)
}

/// The promise the node stands on: a slice is the slice of the whole, however it was made.
#[test]
fn any_slice_is_bit_identical_to_the_whole() {
    let pairs = [
        (44100, 48000, 2, 2),
        (48000, 44100, 1, 2),
        (96000, 44100, 2, 1),
        (8000, 48000, 6, 2),
        (22050, 16000, 2, 2),
        (44100, 44100, 2, 2),
        (44100, 192_000, 1, 1),
    ];
    let mut random = Random(11);
    for (from_hz, to_hz, channels, to_channels) in pairs {
        for quality in QUALITIES {
            let frames = noise(channels, 15_000 + random.below(3000) as usize, 5);
            let encoding = [Encoding::F32le, Encoding::S16le][random.below(2) as usize];
            let dither = [Dither::None, Dither::Tpdf][random.below(2) as usize];
            let spec = Spec { quality, dither, ..spec(to_hz, to_channels, encoding) };
            let promised = [None, Some(frames.len() as u64)][random.below(2) as usize];
            let info = info(from_hz, channels, promised);
            let whole = whole(&info, spec, &frames);
            let total = frames_out(frames.len() as u64, from_hz, to_hz);
            assert_eq!(whole.len() as u64, total * spec.frame_bytes() as u64);
            for seed in 0..12 {
                let from = random.below(total);
                let to = (random.below(3) > 0).then(|| from + random.below(total - from + 1));
                let pipeline = Pipeline::new(&info, spec, from, to).expect("possible");
                let first = pipeline.first_frame_in();
                let start = first - random.below(first + 1).min(100);
                let start = start.min(frames.len() as u64) as usize;
                let slice = render(pipeline, &frames, start, 1 + random.below(6000), seed);
                let bytes = |frame: u64| frame as usize * spec.frame_bytes();
                let expected = &whole[bytes(from)..bytes(to.unwrap_or(total))];
                assert!(
                    slice == expected,
                    "{from_hz} to {to_hz} {quality:?}, frames {from} to {to:?}, seed {seed}"
                );
            }
        }
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().expect("4"))).collect()
}

#[test]
fn a_tone_keeps_its_phase_and_level() {
    for (from_hz, to_hz) in [(44100, 48000), (48000, 44100), (8000, 48000), (96000, 44100)] {
        for quality in QUALITIES {
            let tone = |rate: u32, frame: usize| {
                (frame as f64 * 997.0 * std::f64::consts::TAU / f64::from(rate)).sin() * 0.5
            };
            let plane = (0..20_000).map(|frame| tone(from_hz, frame) as f32).collect();
            let frames = Frames { planes: vec![plane], wide: Vec::new() };
            let spec = Spec { quality, ..spec(to_hz, 1, Encoding::F32le) };
            let out = floats(&whole(&info(from_hz, 1, None), spec, &frames));
            let edge = 9000.min(out.len() / 3);
            for (frame, sample) in out[..out.len() - edge].iter().enumerate().skip(edge) {
                let error = f64::from(*sample) - tone(to_hz, frame);
                assert!(error.abs() < 2e-6, "{from_hz} to {to_hz} at {frame}: {error:e}");
            }
        }
    }
}

#[test]
fn promised_frames_are_padded_or_cut() {
    let frames = noise(2, 5000, 3);
    for (from_hz, to_hz) in [(44100, 44100), (44100, 48000)] {
        let spec = spec(to_hz, 2, Encoding::S16le);
        let exact = whole(&info(from_hz, 2, None), spec, &frames);
        for promised in [3000, 7000] {
            let made = whole(&info(from_hz, 2, Some(promised)), spec, &frames);
            assert_eq!(made.len() as u64, 4 * frames_out(promised, from_hz, to_hz));
            let mut changed = part(&frames, 0, 5000.min(promised as usize));
            changed.planes.iter_mut().for_each(|plane| plane.resize(promised as usize, 0.0));
            assert!(made == whole(&info(from_hz, 2, None), spec, &changed));
            // Up to the first block that holds a changed frame.
            let same = 4 * 1900;
            assert!(made[..same] == exact[..same]);
        }
    }
}

#[test]
fn a_slice_of_an_unknown_length_ends_with_the_source() {
    let frames = noise(1, 5000, 3);
    for to_hz in [44100, 48000] {
        let spec = spec(to_hz, 1, Encoding::S16le);
        let pipeline = Pipeline::new(&info(44100, 1, None), spec, 100, Some(9_000)).expect("ok");
        let made = render(pipeline, &frames, 0, 700, 4);
        assert_eq!(made.len() as u64, 2 * (frames_out(5000, 44100, to_hz) - 100));
        let behind = Pipeline::new(&info(44100, 1, None), spec, 90_000, None).expect("ok");
        assert!(render(behind, &frames, 0, 700, 4).is_empty());
    }
}

#[test]
fn what_is_left_out_is_silence() {
    let mut frames = noise(2, 9000, 8);
    frames.planes.iter_mut().for_each(|plane| plane[2000..6000].fill(0.0));
    for to_hz in [44100, 48000] {
        let (info, spec) = (info(44100, 2, None), spec(to_hz, 2, Encoding::S16le));
        let mut pipeline = Pipeline::new(&info, spec, 0, None).expect("possible");
        let (mut made, mut count) = (vec![0; 9000 * 8], 0);
        for (position, frames) in [
            (0, part(&frames, 0, 2000)),
            (6000, part(&frames, 6000, 9000)),
            (4000, part(&frames, 0, 500)),
        ] {
            while !pipeline.push(position, &frames) {
                count += pipeline.pull(&mut made[count..]);
            }
        }
        pipeline.finish();
        count += pipeline.pull(&mut made[count..]);
        assert!(made[..count] == whole(&info, spec, &frames));
    }
}

#[test]
fn a_gap_of_years_holds_no_memory_and_the_slice_ends() {
    let (info, spec) = (info(44100, 2, None), spec(48000, 2, Encoding::S16le));
    let mut pipeline = Pipeline::new(&info, spec, 0, Some(10_000)).expect("possible");
    assert!(pipeline.push(u64::MAX - 5, &noise(2, 100, 1)), "nothing of it is in the slice");
    let mut made = vec![1; 40_004];
    assert_eq!(pipeline.pull(&mut made), 40_000);
    assert!(pipeline.is_done() && made[..40_000].iter().all(|byte| *byte == 0));
}

#[test]
fn integers_wider_than_floats_stay_what_they_are() {
    let wide: Vec<i32> = (0..4000).map(|x: i32| x.wrapping_mul(0x1234_5677)).collect();
    let plane = wide.iter().map(|x| *x as f32 / 2_147_483_648.0).collect();
    let frames = Frames { planes: vec![plane], wide: vec![wide.clone()] };
    let info = Info { sample: Sample::Integer { bits: 32 }, ..info(44100, 1, Some(4000)) };
    let made = whole(&info, spec(44100, 1, Encoding::S32le), &frames);
    let expected: Vec<u8> = wide.iter().flat_map(|x| x.to_le_bytes()).collect();
    assert!(made == expected);
    // Through the mixer they are floats.
    let both = whole(&info, spec(44100, 2, Encoding::S32le), &frames);
    assert_eq!(both.len(), 2 * expected.len());
}

#[test]
fn a_copied_channel_is_the_same_as_a_resampled_one() {
    let mono = noise(1, 4000, 2);
    let stereo =
        Frames { planes: vec![mono.planes[0].clone(), mono.planes[0].clone()], wide: vec![] };
    let spec = spec(48000, 2, Encoding::F32le);
    let copied = whole(&info(44100, 1, None), spec, &mono);
    assert!(copied == whole(&info(44100, 2, None), spec, &stereo));
}

#[test]
fn what_cannot_be_made_is_refused() {
    let new = |info: &Info, rate_hz, channels| {
        Pipeline::new(info, spec(rate_hz, channels, Encoding::S16le), 0, None).err()
    };
    let source = info(44100, 2, None);
    assert_eq!(new(&source, 48000, 0), Some(SpecError::Channels(0)));
    assert_eq!(new(&source, 48000, 9), Some(SpecError::Channels(9)));
    assert_eq!(new(&source, 0, 2), Some(SpecError::NoRate));
    assert!(matches!(new(&source, 44101, 2), Some(SpecError::Rates(_))));
    assert_eq!(new(&source, 192_000, 8), None);
}

#[test]
fn steady_pushes_do_not_allocate() {
    let (info, spec) = (info(44100, 2, None), spec(48000, 2, Encoding::S16le));
    let frames = noise(2, 1152, 1);
    let mut pipeline = Pipeline::new(&info, spec, 0, None).expect("possible");
    let mut buffer = vec![0; 8192];
    let mut capacity = Vec::new();
    for packet in 0..200 {
        while !pipeline.push(packet * 1152, &frames) {
            while pipeline.pull(&mut buffer) > 0 {}
        }
        let Stage::Resampled(stage) = &pipeline.stage else { panic!("rates differ") };
        capacity.push(stage.planes[0].capacity());
    }
    assert!(capacity.iter().all(|frames| *frames == 1280), "{capacity:?}");
}
