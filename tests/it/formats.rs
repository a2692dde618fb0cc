//! What parameters make of a source that has more than most: 24 bits, six channels.

use std::{
    fs,
    io::{self, Write},
    process::Command,
};

use crate::{
    node::{Node, node, scratch},
    origin::{Origin, origin},
    wav::Wav,
};

const SOURCE: &[u8] = include_bytes!("../material/surround-24.flac");
const FRAMES: usize = 12_000;
const CHANNELS: usize = 6;
const TARGET: &str = "/v1/pcm?src=origin:surround-24.flac";

fn serving() -> (Origin, Node) {
    let origin = origin().file("surround-24.flac", SOURCE).start();
    let node = node().origin(&origin).start();
    (origin, node)
}

fn get(node: &Node, query: &str) -> Vec<u8> {
    node.get(&format!("{TARGET}{query}")).ok().body
}

/// The source's own integers: its STREAMINFO ends with their MD5 (RFC 9639 section 8.2).
fn integers(node: &Node) -> Vec<i32> {
    let bytes = get(node, "&format=s24le");
    assert_eq!(md5::compute(&bytes).0, SOURCE[26..42]);
    bytes
        .chunks_exact(3)
        .map(|word| i32::from_le_bytes([0, word[0], word[1], word[2]]) >> 8)
        .collect()
}

/// Bytes of a sample, what they say, and what they are to say of an integer of 24 bits.
type Samples = (usize, fn(&[u8]) -> f64, fn(i32) -> f64);

const S16LE: Samples =
    (2, |word| i16::from_le_bytes([word[0], word[1]]).into(), |sample| upper_16(sample));
const S16BE: Samples =
    (2, |word| i16::from_be_bytes([word[0], word[1]]).into(), |sample| upper_16(sample));
const S24LE: Samples = (
    3,
    |word| (i32::from_le_bytes([0, word[0], word[1], word[2]]) >> 8).into(),
    |sample| sample.into(),
);
const S32LE: Samples =
    (4, |word| i32::from_le_bytes(word.try_into().unwrap()).into(), |sample| (sample << 8).into());
const F32LE: Samples = (
    4,
    |word| f32::from_le_bytes(word.try_into().unwrap()).into(),
    |sample| f64::from(sample) / f64::from(1 << 23),
);

/// To the nearest, ties to even, and no further than the highest.
fn upper_16(sample: i32) -> f64 {
    (f64::from(sample) / 256.0).round_ties_even().min(32_767.0)
}

#[test]
fn every_format_has_the_samples_of_the_source() {
    let (_origin, node) = serving();
    let source = integers(&node);
    assert_eq!(source.len(), FRAMES * CHANNELS);
    for (format, encoding, (bytes, read, expected)) in [
        ("wav", "s16le", S16LE),
        ("wav24", "s24le", S24LE),
        ("wav32f", "f32le", F32LE),
        ("s16le", "s16le", S16LE),
        ("s24le", "s24le", S24LE),
        ("s32le", "s32le", S32LE),
        ("f32le", "f32le", F32LE),
        ("s16be", "s16be", S16BE),
    ] {
        let answer = node.get(&format!("{TARGET}&format={format}")).ok();
        let stated = format!("{encoding};rate=48000;channels=6;frames={FRAMES}");
        assert_eq!(answer.field("x-audio-format"), Some(stated.as_str()), "{format}");
        let data = match format.starts_with("wav") {
            true => data_of(&answer.body, bytes),
            false => answer.body,
        };
        assert_eq!(data.len(), source.len() * bytes, "{format}");
        for (at, (word, sample)) in data.chunks_exact(bytes).zip(&source).enumerate() {
            let (frame, channel) = (at / CHANNELS, at % CHANNELS);
            assert_eq!(read(word), expected(*sample), "{format}, frame {frame}, channel {channel}");
        }
    }
}

fn data_of(wav: &[u8], bytes: usize) -> Vec<u8> {
    let wav = Wav::parse(wav);
    assert_eq!((wav.rate, wav.channels), (48_000, CHANNELS as u16));
    assert_eq!((usize::from(wav.bits), wav.stated as usize), (bytes * 8, wav.data.len()));
    wav.data
}

/// By somebody else's decoder: what a file says of itself has to be right for that too.
#[test]
fn ffmpeg_reads_what_we_write_of_24_bits_to_the_last_of_them() {
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        let _ = writeln!(io::stderr(), "\n*** SKIPPED: no ffmpeg to decode with ***\n");
        return;
    }
    let ((_origin, node), dir) = (serving(), scratch());
    let source = integers(&node);
    for format in ["flac", "wav24"] {
        let path = dir.path().join(format);
        fs::write(&path, get(&node, &format!("&format={format}"))).unwrap();
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-i"]).arg(&path).args(["-f", "s32le", "-"]);
        let output = ffmpeg.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{format}: {said}");
        let words = output.stdout.chunks_exact(4);
        let heard: Vec<_> =
            words.map(|word| i32::from_le_bytes(word.try_into().unwrap()) >> 8).collect();
        assert!(heard == source, "{format}: {} samples, others than there were", heard.len());
    }
}

#[test]
fn dither_is_noise_within_a_step_and_the_same_each_time() {
    let (_origin, node) = serving();
    let words = |bytes: &[u8]| -> Vec<i32> {
        bytes.chunks_exact(2).map(|word| i16::from_le_bytes([word[0], word[1]]).into()).collect()
    };
    let plain = get(&node, "&format=s16le");
    assert!(plain == get(&node, "&format=s16le&dither=none"));
    let dithered = get(&node, "&format=s16le&dither=tpdf");
    assert!(dithered == get(&node, "&format=s16le&dither=tpdf"));
    let part = get(&node, "&format=s16le&dither=tpdf&t=0.1&d=0.05");
    assert!(part == dithered[4_800 * CHANNELS * 2..7_200 * CHANNELS * 2], "it is the frame's own");
    let steps: Vec<_> = words(&dithered).iter().zip(words(&plain)).map(|(a, b)| a - b).collect();
    assert_eq!(steps.len(), FRAMES * CHANNELS);
    assert!(steps.iter().all(|step| step.abs() <= 1), "{:?}", steps.iter().max());
    // Noise of a triangle as wide as two steps moves a sample in every other place or so, and to
    // either side alike.
    let (moved, sum) = (steps.iter().filter(|step| **step != 0).count(), steps.iter().sum::<i32>());
    assert!((0.2..0.6).contains(&(moved as f64 / steps.len() as f64)), "{moved}");
    assert!(f64::from(sum).abs() < 0.02 * steps.len() as f64, "{sum}");
}

#[test]
fn each_quality_has_the_length_and_a_sound_of_its_own() {
    let (_origin, node) = serving();
    let of = |quality: &str| node.get(&format!("{TARGET}&rate=44100&format=s24le{quality}")).ok();
    let answers = ["&quality=fast", "&quality=good", "&quality=best"].map(of);
    for answer in &answers {
        let frames = (FRAMES * 44_100).div_ceil(48_000);
        assert_eq!(answer.body.len(), frames * CHANNELS * 3);
        assert_eq!(answer.field("content-length"), Some(answer.body.len().to_string().as_str()));
    }
    let [fast, good, best] = &answers;
    for (one, other) in [(fast, good), (good, best), (best, fast)] {
        assert!(one.body != other.body && one.field("etag") != other.field("etag"));
    }
    assert!(of("").body == good.body, "good is what is not asked for");
}

/// Decoded again by the node itself: as long as the source, and each channel is its own.
#[test]
fn six_channels_come_back_out_of_opus_and_the_bytes_are_the_same_each_time() {
    let (_origin, node) = serving();
    let target = "/v1/transcode?src=origin:surround-24.flac&format=opus&bitrate=510k";
    let encoded = node.get(target).ok();
    assert_eq!(encoded.field("content-type"), Some("audio/ogg; codecs=opus"));
    assert!(node.get(target).ok().body == encoded.body);
    let again = origin().file("again.opus", &encoded.body).start();
    let other = self::node().origin(&again).start();
    let floats = |node: &Node, target: &str| -> Vec<f32> {
        let words = node.get(target).ok().body;
        words.chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
    };
    let decoded = floats(&other, "/v1/pcm?src=origin:again.opus&format=f32le");
    let source = floats(&node, &format!("{TARGET}&format=f32le"));
    assert_eq!((decoded.len(), source.len()), (FRAMES * CHANNELS, FRAMES * CHANNELS));
    for channel in 0..CHANNELS {
        let pairs = || source[channel..].iter().zip(&decoded[channel..]).step_by(CHANNELS);
        let noise: f32 = pairs().map(|(source, decoded)| (source - decoded).powi(2)).sum();
        let signal: f32 = pairs().map(|(source, _)| source.powi(2)).sum();
        assert!(noise * 10.0 < signal, "channel {channel}: {noise} in {signal}");
    }
}
