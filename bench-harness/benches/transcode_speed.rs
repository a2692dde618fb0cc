//! PCM to FLAC on one core, beside the reference's tool at the same level: speed and size.
//!
//! `cargo bench --bench transcode_speed [-- REPEATS [FILE]]`. The music is FILE, decoded by ffmpeg, or
//! the lossless rendition among the test material (beside the checkout or where `TEST_MATERIAL` says),
//! or the demo's own piece. Ours is the CPU time of encoding from memory, as a stored stream with its
//! MD5; the tool's is the user time of a process that reads a WAV, which has an MD5 too. Both take
//! turns, so that a busy machine hurts both; the figures are of the medians.
#![allow(clippy::print_stdout)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kithara::encode::flac::{Encoder, Format, MAX_LEVEL};
use kithara_bench::{Scratch, Table, median, thread_cpu};

/// The shortest music that is worth a measurement; shorter is repeated.
const SECONDS: usize = 60;
const RATE_HZ: usize = 44_100;
const CHANNELS: usize = 2;
/// Bytes in front of the samples of the WAV that is written here.
const WAV_HEADER_BYTES: usize = 44;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let repeats = arguments.next().map_or(7, |text| text.parse().expect("a number of repeats"));
    let file = arguments.next().map_or_else(material, PathBuf::from);
    let scratch = Scratch::new("transcode-speed");
    println!("{}, medians of {repeats}", file.display());
    let heads = ["level", "x real time", "flac's", "ratio", "bytes", "flac's bytes", "size"];
    for bits in [16, 24] {
        let pcm = decoded(&file, bits);
        let seconds = (pcm.len() / CHANNELS / (bits / 8)) as f64 / RATE_HZ as f64;
        println!("\n{bits} bits, {seconds:.1} s");
        let table = Table::new(5, heads);
        let wav = scratch.path().join("music.wav");
        fs::write(&wav, [wav_header(pcm.len(), bits), pcm.clone()].concat()).expect("a disk");
        for level in 0..=MAX_LEVEL {
            let (mut ours, mut theirs, mut sizes) = (Vec::new(), Vec::new(), (0, 0));
            for _ in 0..repeats {
                let (spent, bytes) = encode(&pcm, bits, level);
                ours.push(spent);
                sizes.0 = bytes;
                let (spent, bytes) = flac(&wav, level);
                theirs.push(spent);
                sizes.1 = bytes;
            }
            let [ours, theirs] = [ours, theirs].map(median);
            table.row([
                level.to_string(),
                format!("{:.0}", seconds / ours),
                format!("{:.0}", seconds / theirs),
                format!("{:.2}", theirs / ours),
                sizes.0.to_string(),
                sizes.1.to_string(),
                format!("{:.4}", sizes.0 as f64 / sizes.1 as f64),
            ]);
        }
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

/// Stereo at 44.1 kHz, long enough. What has 16 bits gets others below them by being made softer.
fn decoded(file: &Path, bits: usize) -> Vec<u8> {
    let (format, filter) =
        if bits == 16 { ("s16le", "anull") } else { ("s24le", "aformat=s32,volume=0.777") };
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args(["-af", filter, "-ar", "44100", "-ac", "2", "-f", format, "-"])
        .output()
        .expect("ffmpeg is installed");
    let pcm = output.stdout;
    assert!(!pcm.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let wanted = SECONDS * RATE_HZ * CHANNELS * bits / 8;
    pcm.repeat(wanted.div_ceil(pcm.len()))
}

/// A plain WAVE header: nothing but the format and the length.
fn wav_header(pcm_bytes: usize, bits: usize) -> Vec<u8> {
    let frame_bytes = CHANNELS * bits / 8;
    let word = |value: usize| (value as u32).to_le_bytes();
    let half = |value: usize| (value as u16).to_le_bytes();
    let mut header = Vec::new();
    header.extend(b"RIFF");
    header.extend(word(WAV_HEADER_BYTES - 8 + pcm_bytes));
    header.extend(b"WAVEfmt ");
    header.extend(word(16));
    header.extend([half(1), half(CHANNELS)].concat());
    header.extend([word(RATE_HZ), word(RATE_HZ * frame_bytes)].concat());
    header.extend([half(frame_bytes), half(bits)].concat());
    header.extend(b"data");
    header.extend(word(pcm_bytes));
    header
}

/// CPU seconds of this thread, and the bytes of the stream.
fn encode(pcm: &[u8], bits: usize, level: u8) -> (f64, usize) {
    let frame_bytes = CHANNELS * bits / 8;
    let frames = (pcm.len() / frame_bytes) as u64;
    let format = Format { rate_hz: RATE_HZ as u32, channels: 2, bits: bits as u16 };
    let mut block = vec![0; 64 << 10];
    let (before, mut bytes) = (thread_cpu(), 0);
    let mut encoder = Encoder::stored(format, level, Some(frames)).expect("possible");
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
    std::hint::black_box(encoder.head());
    ((thread_cpu() - before).as_secs_f64(), bytes)
}

/// User seconds of the reference's tool, as the shell says, and the bytes of its file.
fn flac(wav: &Path, level: u8) -> (f64, usize) {
    let into = wav.with_extension("flac");
    let output = Command::new("bash")
        .args([
            "-c",
            "TIMEFORMAT=%3U; time flac -s -f --no-padding --no-seektable \"-$0\" -o \"$1\" \"$2\"",
        ])
        .arg(level.to_string())
        .args([&into, wav])
        .output()
        .expect("bash is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let seconds = said.lines().last().and_then(|line| line.trim().parse().ok());
    let bytes = fs::metadata(&into).expect("flac wrote it").len() as usize;
    (seconds.expect("the shell says it last"), bytes)
}
