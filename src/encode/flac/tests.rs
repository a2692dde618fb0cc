//! Streams that are read back, by the decoder that serves FLAC sources.

use super::*;
use crate::encode::Tags;

/// Pushes PCM in pieces of those lengths, again and again, and pulls what comes.
fn run(encoder: &mut Encoder, pcm: &[u8], cuts: &[usize]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), pcm);
    for cut in cuts.iter().cycle() {
        let (part, after) = rest.split_at(rest.len().min(*cut));
        encoder.push(part);
        rest = after;
        if rest.is_empty() {
            encoder.finish();
        }
        let mut buffer = [0; 777];
        loop {
            let count = encoder.pull(&mut buffer);
            if count == 0 {
                break;
            }
            out.extend_from_slice(&buffer[..count]);
        }
        if rest.is_empty() {
            break;
        }
    }
    out
}

fn encode(pcm: &[u8], channels: u16, bits: u16, cuts: &[usize]) -> Vec<u8> {
    encode_at(DEFAULT_LEVEL, pcm, channels, bits, cuts)
}

fn encode_at(level: u8, pcm: &[u8], channels: u16, bits: u16, cuts: &[usize]) -> Vec<u8> {
    let frames = pcm.len() as u64 / u64::from(channels) / u64::from(bits / 8);
    let format = Format { rate_hz: 44_100, channels, bits };
    let mut encoder = Encoder::streamed(format, level, Some(frames)).expect("possible");
    run(&mut encoder, pcm, cuts)
}

fn tone(frames: usize, channels: usize, bits: u32) -> Vec<u8> {
    let scale = f64::from(1_u32 << (bits - 1)) * 0.7;
    let mut pcm = Vec::new();
    for frame in 0..frames {
        for channel in 0..channels {
            let phase = frame as f64 * 0.05 * (channel + 1) as f64;
            let value = ((phase.sin() + (phase * 7.3).sin() * 0.2) * scale / 1.2) as i32;
            pcm.extend_from_slice(&value.to_le_bytes()[..bits as usize / 8]);
        }
    }
    pcm
}

/// Reads the stream back.
fn decoded(flac: Vec<u8>, bits: u32) -> Vec<u8> {
    let frames = frames(flac, bits);
    frames.into_iter().flat_map(|(_, pcm)| pcm).collect()
}

/// Every FLAC frame, and the PCM in it.
fn frames(flac: Vec<u8>, bits: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
    use symphonia::core::{
        codecs::audio::AudioDecoderOptions,
        formats::{FormatOptions, TrackType, probe::Hint},
        io::MediaSourceStream,
        meta::MetadataOptions,
    };
    let stream = MediaSourceStream::new(Box::new(std::io::Cursor::new(flac)), Default::default());
    let mut reader = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
        .expect("FLAC");
    let track = reader.default_track(TrackType::Audio).expect("a track");
    let parameters = track.codec_params.as_ref().and_then(|params| params.audio()).cloned();
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters.expect("audio"), &AudioDecoderOptions::default())
        .expect("a decoder");
    let mut frames = Vec::new();
    let mut samples: Vec<i32> = Vec::new();
    while let Some(packet) = reader.next_packet().expect("whole packets") {
        let buffer = decoder.decode(&packet).expect("no damage");
        buffer.copy_to_vec_interleaved(&mut samples);
        let mut pcm = Vec::new();
        for sample in &samples {
            let value = sample >> (32 - bits);
            pcm.extend_from_slice(&value.to_le_bytes()[..bits as usize / 8]);
        }
        frames.push((packet.data.to_vec(), pcm));
    }
    frames
}

#[test]
fn what_comes_out_decodes_to_what_went_in() {
    for channels in 1..=8 {
        for bits in [16, 24] {
            for frames in [1, 2, 5, 31, 256, 257, 4095, 4096, 4097, 9000] {
                let pcm = tone(frames, channels, bits);
                let flac = encode(&pcm, channels as u16, bits as u16, &[1000]);
                assert!(decoded(flac, bits) == pcm, "{channels} channels, {bits} bits, {frames}");
            }
        }
    }
}

/// Samples of a kind, by a seed.
fn random(seed: u64, frames: usize, channels: usize, bits: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as i32
    };
    let most = (1 << (bits - 1)) - 1;
    let shared = next() & 1 == 0;
    let mut samples = vec![0_i32; frames * channels];
    for channel in 0..channels {
        let kind = if shared { seed as i32 } else { next() }.rem_euclid(8);
        // Of each kind some are loud and some soft.
        let size = most >> (next() as u32 % bits);
        let (mut now, mut speed) = (next() % (size + 1), 0);
        for frame in 0..frames {
            let at = frame * channels + channel;
            samples[at] = match kind {
                0 => 0,
                1 => size,
                2 => next() >> (32 - bits),
                3 => {
                    if frame / 50 % 2 == 0 {
                        most
                    } else {
                        -most - 1
                    }
                }
                4 => now & -16,
                5 => {
                    if next() % 1000 == 0 {
                        most
                    } else {
                        0
                    }
                }
                6 if channel > 0 => samples[at - 1] + next() % 3,
                _ => now,
            }
            .clamp(-most - 1, most);
            speed = (speed + next() % 20).clamp(-500, 500);
            now = (now + speed).clamp(-size, size);
        }
    }
    let bytes =
        samples.iter().flat_map(|sample| sample.to_le_bytes().into_iter().take(bits as usize / 8));
    bytes.collect()
}

#[test]
fn all_kinds_of_signals_survive_at_all_levels() {
    for seed in 0..180 {
        let (channels, bits) = (1 + seed as usize * 5 % 8, if seed % 3 == 0 { 24 } else { 16 });
        let channels = if seed % 2 == 0 { 2 } else { channels };
        let frames = [1, 17, 192, 4096, 4608, 5000][seed as usize % 6];
        let pcm = random(seed, frames, channels, bits);
        let level = seed as u8 % 9;
        let flac = encode_at(level, &pcm, channels as u16, bits as u16, &[4099]);
        let most = frame::max_frame_bytes(
            Format { rate_hz: 44_100, channels: channels as u16, bits: bits as u16 },
            frames,
        );
        assert!(flac.len() <= HEADER_BYTES + most + 100, "seed {seed}: {} bytes", flac.len());
        assert!(decoded(flac, bits) == pcm, "seed {seed}");
    }
}

#[test]
fn what_is_simple_is_short() {
    let bytes = |pcm: &[u8], channels| encode(pcm, channels, 16, &[5000]).len() - HEADER_BYTES;
    assert_eq!(bytes(&[0; 4096 * 4], 2), 6 + 2 * 3 + 2, "a constant is its one sample");
    let noise = noise(4096 * 2);
    assert_eq!(bytes(&noise, 1), 6 + 1 + noise.len() + 2, "noise goes out as it is");
    let soft: Vec<u8> = noise.chunks(2).flat_map(|pair| [0, pair[1] & 0xF0]).collect();
    assert!(bytes(&soft, 1) < noise.len() / 4 + 20, "zeros below all samples are cut off");
    let both: Vec<u8> = noise.chunks(2).flat_map(|pair| [pair, pair].concat()).collect();
    assert!(bytes(&both, 2) < noise.len() + 20, "one side that is the other costs nothing");
}

#[test]
fn more_effort_is_not_longer() {
    let pcm = tone(40_000, 2, 16);
    let lengths: Vec<_> =
        [0, 2, 3, 5, 8].iter().map(|level| encode_at(*level, &pcm, 2, 16, &[9000]).len()).collect();
    assert!(lengths.is_sorted_by(|a, b| a >= b), "{lengths:?}");
}

#[test]
fn a_stored_stream_gets_a_head_that_is_true() {
    let format = Format { rate_hz: 8000, channels: 2, bits: 24 };
    for frames in [0, 1, 4096, 100_000] {
        for promised in [None, Some(frames)] {
            let pcm = tone(frames as usize, 2, 24);
            let mut encoder =
                Encoder::stored(format, 5, promised, Tags::default().comments()).expect("possible");
            let mut flac = run(&mut encoder, &pcm, &[7777]);
            let head = encoder.head();
            flac[..head.len()].copy_from_slice(&head);
            let summary = encoder.summary().expect("it was stored");
            assert_eq!((summary.frames, summary.md5), (frames, md5::compute(&pcm).0));
            if frames == 0 {
                assert_eq!((summary.min_frame_bytes, summary.max_frame_bytes), (0, 0));
                assert_eq!((flac.len(), summary.seek_points), (head.len(), vec![]));
                continue;
            }
            let found = self::frames(flac.clone(), 24);
            let sizes = found.iter().map(|(bytes, _)| bytes.len() as u32);
            assert_eq!(sizes.clone().min(), Some(summary.min_frame_bytes));
            assert_eq!(sizes.max(), Some(summary.max_frame_bytes));
            assert_eq!(summary.seek_points.len() as u64, frames.div_ceil(4 * 4096).max(1));
            for point in &summary.seek_points {
                let (bytes, pcm) = &found[point.sample as usize / BLOCK_FRAMES];
                assert!(flac[head.len() + point.offset as usize..].starts_with(bytes));
                assert_eq!(pcm.len() / 6, usize::from(point.samples));
            }
        }
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 3_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn full_scale_noise_survives() {
    let pcm = noise(30_000);
    for bits in [16, 24] {
        assert!(decoded(encode(&pcm, 2, bits, &[4096]), u32::from(bits)) == pcm);
    }
}

#[test]
fn the_stream_does_not_depend_on_how_pushes_were_cut() {
    let pcm = tone(9000, 2, 16);
    let whole = encode(&pcm, 2, 16, &[usize::MAX]);
    assert!(encode(&pcm, 2, 16, &[1, 7, 4096, 3, 20_000]) == whole);
}

#[test]
fn the_header_states_the_total() {
    let flac = encode(&tone(5000, 2, 16), 2, 16, &[usize::MAX]);
    assert_eq!(&flac[..8], b"fLaC\x80\x00\x00\x22");
    assert_eq!(flac[8..12], [0x10, 0, 0x10, 0]);
    assert_eq!(u32::from_be_bytes(flac[22..26].try_into().expect("4 bytes")), 5000);
    assert_eq!(flac[HEADER_BYTES..][..2], [0xFF, 0xF8]);
}

#[test]
fn what_flac_cannot_hold_is_refused() {
    let format = Format { rate_hz: 44_100, channels: 2, bits: 16 };
    assert_eq!(Encoder::streamed(format, 9, None).unwrap_err(), Error::Level(9));
    assert_eq!(Encoder::new(44100, 2, 32, None).unwrap_err(), Error::Bits(32));
    assert!(matches!(Encoder::new(44100, 9, 16, None), Err(Error::Format { channels: 9, .. })));
    assert!(Encoder::new(192_000, 8, 24, None).is_ok());
}
