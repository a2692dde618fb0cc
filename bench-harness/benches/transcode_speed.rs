//! PCM to FLAC on one core beside the reference's tool at the same level, and to Opus beside that of
//! libopus at the same bit rate: speed and size.
//!
//! `cargo bench --bench transcode_speed [-- REPEATS [FILE]]`. The music is FILE, decoded by ffmpeg, or
//! the lossless rendition among the test material (beside the checkout or where `TEST_MATERIAL` says),
//! or the demo's own piece. Ours is the CPU time of encoding from memory, as a stored stream with its
//! MD5; the tool's is the user time of a process that reads a WAV, which has an MD5 too. Opus is made of the
//! same music at 48 kHz, by `opusenc` at the complexity that ours has. Both take turns, so that a busy
//! machine hurts both; the figures are of the medians.
#![allow(clippy::print_stdout)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kithara::encode::{Codec, Encoder, Output, Tags, flac::MAX_LEVEL, opus, wav::Samples};
use kithara_bench::{Scratch, Table, median, thread_cpu, user_time};

/// The shortest music that is worth a measurement; shorter is repeated.
const SECONDS: usize = 60;
const RATE_HZ: usize = 44_100;
const OPUS_RATE_HZ: usize = opus::RATE_HZ as usize;
/// Kilobits per second of both channels.
const OPUS_BIT_RATES: [u32; 4] = [48, 96, 128, 256];
const CHANNELS: usize = 2;
/// Bytes in front of the samples of the WAV that is written here.
const WAV_HEADER_BYTES: usize = 44;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let repeats = arguments.next().map_or(7, |text| text.parse().expect("a number of repeats"));
    let file = arguments.next().map_or_else(material, PathBuf::from);
    let scratch = Scratch::new("transcode-speed");
    println!("{}, medians of {repeats}", file.display());
    for bits in [16, 24] {
        to_flac(&file, bits, repeats, scratch.path());
    }
    to_opus(&file, repeats, scratch.path());
}

fn to_flac(file: &Path, bits: usize, repeats: usize, scratch: &Path) {
    let pcm = decoded(file, RATE_HZ, bits);
    let seconds = (pcm.len() / CHANNELS / (bits / 8)) as f64 / RATE_HZ as f64;
    println!("\nFLAC of {bits} bits, {seconds:.1} s");
    let heads = ["level", "x real time", "flac's", "ratio", "bytes", "flac's bytes", "size"];
    let table = Table::new(5, heads);
    let wav = scratch.join("music.wav");
    fs::write(&wav, [wav_header(pcm.len(), RATE_HZ, bits), pcm.clone()].concat()).expect("a disk");
    let samples = Samples::Integer { bits: bits as u16 };
    let frames = Some((pcm.len() / CHANNELS / (bits / 8)) as u64);
    for level in 0..=MAX_LEVEL {
        let output = Output { level: Some(level), frames, ..output(Codec::Flac, samples) };
        let beside = beside(repeats, || encode(&pcm, &output), || flac(&wav, level));
        table.row(beside.row(level.to_string(), seconds));
    }
}

fn to_opus(file: &Path, repeats: usize, scratch: &Path) {
    let pcm = decoded(file, OPUS_RATE_HZ, 16);
    let floats = floats(&pcm);
    let seconds = (pcm.len() / CHANNELS / 2) as f64 / OPUS_RATE_HZ as f64;
    println!("\nOpus, {seconds:.1} s");
    let heads = ["kbit/s", "x real time", "opusenc's", "ratio", "bytes", "opusenc's bytes", "size"];
    let table = Table::new(6, heads);
    let wav = scratch.join("music-48.wav");
    fs::write(&wav, [wav_header(pcm.len(), OPUS_RATE_HZ, 16), pcm].concat()).expect("a disk");
    for kilobits in OPUS_BIT_RATES {
        let bit_rate = Some(kilobits * 1000);
        let output = Output { bit_rate, ..output(Codec::Opus, Samples::Float) };
        let beside = beside(repeats, || encode(&floats, &output), || opusenc(&wav, kilobits));
        table.row(beside.row(kilobits.to_string(), seconds));
    }
}

/// What both took, in the median, and the bytes that they made.
struct Beside {
    ours: (f64, usize),
    theirs: (f64, usize),
}

/// Has both take turns. Each says its CPU seconds, and the bytes of its stream.
fn beside(
    repeats: usize,
    ours: impl Fn() -> (f64, usize),
    theirs: impl Fn() -> (f64, usize),
) -> Beside {
    let (ours, theirs): (Vec<_>, Vec<_>) = (0..repeats).map(|_| (ours(), theirs())).unzip();
    let middle = |made: Vec<(f64, usize)>| {
        (median(made.iter().map(|(spent, _)| *spent).collect()), made[0].1)
    };
    Beside { ours: middle(ours), theirs: middle(theirs) }
}

impl Beside {
    fn row(&self, name: String, seconds: f64) -> [String; 7] {
        let Self { ours, theirs } = self;
        [
            name,
            format!("{:.0}", seconds / ours.0),
            format!("{:.0}", seconds / theirs.0),
            format!("{:.2}", theirs.0 / ours.0),
            ours.1.to_string(),
            theirs.1.to_string(),
            format!("{:.4}", ours.1 as f64 / theirs.1 as f64),
        ]
    }
}

/// The music where none is named.
fn material() -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let beside = checkout.join("../shared/material");
    let root = std::env::var_os("TEST_MATERIAL").map_or(beside, PathBuf::from);
    let music = root.join("hls/kithara_hls/index-slossless-a1.m3u8");
    if music.exists() { music } else { checkout.join("src/demo/material/strings.flac") }
}

/// Stereo, long enough. What has 16 bits gets others below them by being made softer.
fn decoded(file: &Path, rate_hz: usize, bits: usize) -> Vec<u8> {
    let (format, filter) =
        if bits == 16 { ("s16le", "anull") } else { ("s24le", "aformat=s32,volume=0.777") };
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args(["-af", filter, "-ar", &rate_hz.to_string(), "-ac", "2", "-f", format, "-"])
        .output()
        .expect("ffmpeg is installed");
    let pcm = output.stdout;
    assert!(!pcm.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let wanted = SECONDS * rate_hz * CHANNELS * bits / 8;
    pcm.repeat(wanted.div_ceil(pcm.len()))
}

/// A plain WAVE header: nothing but the format and the length.
fn wav_header(pcm_bytes: usize, rate_hz: usize, bits: usize) -> Vec<u8> {
    let frame_bytes = CHANNELS * bits / 8;
    let word = |value: usize| (value as u32).to_le_bytes();
    let half = |value: usize| (value as u16).to_le_bytes();
    let mut header = Vec::new();
    header.extend(b"RIFF");
    header.extend(word(WAV_HEADER_BYTES - 8 + pcm_bytes));
    header.extend(b"WAVEfmt ");
    header.extend(word(16));
    header.extend([half(1), half(CHANNELS)].concat());
    header.extend([word(rate_hz), word(rate_hz * frame_bytes)].concat());
    header.extend([half(frame_bytes), half(bits)].concat());
    header.extend(b"data");
    header.extend(word(pcm_bytes));
    header
}

/// Samples of 16 bits as an encoder of Opus takes them.
fn floats(pcm: &[u8]) -> Vec<u8> {
    let samples = pcm.as_chunks().0.iter().map(|sample| i16::from_le_bytes(*sample));
    samples.flat_map(|sample| (f32::from(sample) / 32_768.0).to_le_bytes()).collect()
}

/// What is asked of an encoder.
fn output(codec: Codec, samples: Samples) -> Output {
    let rate_hz = if codec == Codec::Opus { OPUS_RATE_HZ } else { RATE_HZ };
    Output {
        codec,
        rate_hz: rate_hz as u32,
        channels: CHANNELS as u16,
        samples,
        frames: None,
        level: None,
        bit_rate: None,
        serial: 1,
        tags: Tags::default(),
    }
}

/// CPU seconds of this thread, and the bytes of the stream.
fn encode(pcm: &[u8], output: &Output) -> (f64, usize) {
    let mut block = vec![0; 64 << 10];
    let (before, mut bytes) = (thread_cpu(), 0);
    let mut encoder = Encoder::new(output).expect("possible");
    let mut pull = |encoder: &mut Encoder| {
        loop {
            match encoder.pull(&mut block) {
                0 => return,
                count => bytes += count,
            }
        }
    };
    for part in pcm.chunks(64 << 10) {
        encoder.push(part);
        pull(&mut encoder);
    }
    encoder.finish();
    pull(&mut encoder);
    let front = encoder.final_front();
    ((thread_cpu() - before).as_secs_f64(), bytes + front.len())
}

/// User seconds of the reference's tool, and the bytes of its file.
fn flac(wav: &Path, level: u8) -> (f64, usize) {
    let into = wav.with_extension("flac");
    let command = format!("flac -s -f --no-padding --no-seektable -{level} -o \"$0\" \"$1\"");
    tool(&command, &into, wav)
}

/// The same of libopus' tool.
fn opusenc(wav: &Path, kilobits: u32) -> (f64, usize) {
    /// That of `opus-pure` where nobody sets it.
    const COMPLEXITY: u32 = 9;
    let into = wav.with_extension("opus");
    let command = format!("opusenc --quiet --comp {COMPLEXITY} --bitrate {kilobits} \"$1\" \"$0\"");
    tool(&command, &into, wav)
}

/// User seconds of a command that makes `into` of a WAV, and the bytes of it.
fn tool(command: &str, into: &Path, wav: &Path) -> (f64, usize) {
    let (seconds, _) = user_time(command, [into, wav]);
    (seconds, fs::metadata(into).expect("the tool wrote it").len() as usize)
}
