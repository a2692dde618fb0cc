//! What is common to the tests of encoders that lose something: what they encode, and how near to it a
//! decoder comes.

use std::{fs, path::Path, process::Command};

use kithara::encode::{Codec, Encoder, Output, Tags};
use tempfile::NamedTempFile;

use crate::{
    WHOLE, ffmpeg,
    hear::{Heard, Random, hear},
};

pub(crate) fn output(codec: Codec, rate_hz: u32, channels: u16, bit_rate: Option<u32>) -> Output {
    Output {
        codec,
        rate_hz,
        channels,
        samples: codec.samples(None),
        frames: None,
        level: None,
        bit_rate,
        serial: 7,
        tags: Tags::default(),
    }
}

/// Noise that changes, and tones over it, of the same loudness in each channel; the tones are its own. They
/// are as long as at 48 kHz.
pub(crate) fn source(frames: usize, channels: usize) -> Vec<f32> {
    let mut random = Random(9);
    let mut low = vec![0.0f32; channels];
    let mut samples = Vec::with_capacity(frames * channels);
    for frame in 0..frames {
        for (channel, low) in low.iter_mut().enumerate() {
            let t = frame as f32 / 48_000.0;
            let noise = random.below(2001) as f32 / 1000.0 - 1.0;
            *low += 0.1 * (noise - *low);
            let tone = |hz: f32| (t * hz * std::f32::consts::TAU).sin();
            let pitch = 220.0 * (1 + channel) as f32;
            samples.push(
                0.2 * tone(pitch) + 0.1 * tone(pitch * 7.3) + 0.3 * *low * (0.6 + 0.4 * tone(3.0)),
            );
        }
    }
    samples
}

/// What the encoder makes of samples that are pushed in pieces of these bytes, behind its final front.
pub(crate) fn encode(
    output: &Output,
    samples: &[f32],
    mut piece: impl FnMut() -> usize,
) -> Vec<u8> {
    let pcm: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut encoder = Encoder::new(output).expect("it can be encoded");
    let mut encoded = Vec::new();
    let mut pull = |encoder: &mut Encoder, into: usize| {
        let mut room = vec![0; into];
        loop {
            match encoder.pull(&mut room) {
                0 => break,
                count => encoded.extend(&room[..count]),
            }
        }
    };
    let mut rest = &pcm[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
        encoder.push(now);
        pull(&mut encoder, 1 + now.len() % 4001);
        rest = later;
    }
    encoder.finish();
    pull(&mut encoder, 8192);
    [encoder.final_front(), encoded].concat()
}

/// The same of samples that come in large pieces.
pub(crate) fn whole(output: &Output, samples: &[f32]) -> Vec<u8> {
    encode(output, samples, || 1 << 16)
}

/// What our own decoder gives of it, which nothing disturbs.
pub(crate) fn heard(bytes: &[u8]) -> Heard {
    let heard = hear(bytes, WHOLE, 0);
    assert_eq!((&heard.error, heard.undecoded), (&None, 0));
    heard
}

/// A file of a codec.
pub(crate) fn stored(codec: Codec, bytes: &[u8]) -> NamedTempFile {
    let suffix = format!(".{}", codec.endings()[0]);
    let file = tempfile::Builder::new().suffix(&suffix).tempfile().unwrap();
    fs::write(file.path(), bytes).unwrap();
    file
}

/// What ffmpeg decodes of what it encodes itself.
pub(crate) fn encoded_by_ffmpeg(output: &Output, samples: &[f32], options: &[&str]) -> Vec<f32> {
    let from = NamedTempFile::new().unwrap();
    let pcm: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    fs::write(from.path(), pcm).unwrap();
    let to = stored(output.codec, &[]);
    let Output { rate_hz, channels, bit_rate, .. } = output;
    let shape = [rate_hz.to_string(), channels.to_string(), bit_rate.unwrap().to_string()];
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "f32le", "-ar", &shape[0], "-ac", &shape[1], "-i"])
        .arg(from.path())
        .args(["-b:a", &shape[2]])
        .args(options)
        .arg(to.path())
        .status();
    assert!(status.expect("ffmpeg runs").success());
    decoded_by_ffmpeg(to.path())
}

pub(crate) fn decoded_by_ffmpeg(path: &Path) -> Vec<f32> {
    ffmpeg(path).expect("ffmpeg decodes it")
}

/// Samples that no microphone gives, among others that one does.
pub(crate) fn odd_source(frames: usize, channels: usize) -> Vec<f32> {
    let mut random = Random(3);
    let mut samples = source(frames, channels);
    for part in samples.chunks_mut(1777) {
        let kind = random.below(8);
        for sample in part {
            *sample = match kind {
                0 => f32::from_bits(random.below(1 << 32) as u32),
                1 => [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][random.below(3) as usize],
                2 => [1e16, -1e16, 1e-40, -0.0, 65_536.0][random.below(5) as usize],
                3 => random.below(3) as f32 - 1.0,
                4 => 0.0,
                5 => *sample * 1e-6,
                _ => *sample,
            };
        }
    }
    samples
}

/// How many decibels the difference is below the source.
pub(crate) fn distance(source: &[f32], decoded: &[f32]) -> f32 {
    let energy =
        |samples: &mut dyn Iterator<Item = f32>| samples.map(|s| f64::from(s * s)).sum::<f64>();
    let noise = energy(&mut source.iter().zip(decoded).map(|(source, decoded)| source - decoded));
    (10.0 * (energy(&mut source.iter().copied()) / noise).log10()) as f32
}
