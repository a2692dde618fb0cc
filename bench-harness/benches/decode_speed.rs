//! Decode, resample 44.1 to 48 kHz and quantise to 16 bits on one core, beside ffmpeg with soxr.
//!
//! `cargo bench --bench decode_speed [-- SECONDS REPEATS]`. Music of that length is synthesised and
//! encoded by ffmpeg. All take turns, so that a busy machine hurts all; the ratios are those of the
//! medians of CPU time: ffmpeg's user time to that of the decoding thread, and to the user time of
//! a whole `kithara pcm`, start and output included.
#![allow(clippy::print_stdout)]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use kithara::{
    bufpool::{self, BufPool, Class},
    decode::{Ask, Decoder, Dither, Encoding, Pipeline, Quality, Spec, StackOptions, Stacks, Step},
    stream::Resident,
};
use kithara_bench::{CODINGS, Scratch, Table, binary, median, music, thread_cpu};

/// The ratios that have to be reached, in the order of the codings; of Vorbis none is asked.
const NEEDED: [&str; 4] = ["1.05", "1.05", "1.20", "-"];

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let (seconds, repeats) = (numbers.next().unwrap_or(300), numbers.next().unwrap_or(7));
    let scratch = Scratch::new("decode-speed");
    let files = music(scratch.path(), seconds);
    let program = binary();
    println!("{seconds} s of stereo at 44.1 kHz, medians of {repeats}, CPU seconds");
    let heads = ["file", "thread", "process", "ffmpeg", "of thread", "of process", "needed"];
    let table = Table::new(12, heads);
    for ((file, (name, _)), needed) in files.iter().zip(CODINGS).zip(NEEDED) {
        let (mut ours, mut whole, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..repeats {
            ours.push(kithara_seconds(file, seconds));
            theirs.push(ffmpeg_seconds(file));
            whole.push(process_seconds(&program, file));
        }
        let [ours, whole, theirs] = [ours, whole, theirs].map(median);
        let seconds = [ours, whole, theirs].map(|seconds| format!("{seconds:.3}"));
        let ratios = [ours, whole].map(|seconds| format!("{:.2}", theirs / seconds));
        let ([ours, whole, theirs], [of_thread, of_process]) = (seconds, ratios);
        let (name, needed) = (name.to_owned(), needed.to_owned());
        table.row([name, ours, whole, theirs, of_thread, of_process, needed]);
    }
}

/// User time of a whole process of ours that does the same, as the shell that starts it says.
fn process_seconds(program: &Path, file: &Path) -> f64 {
    let output = Command::new("bash")
        .args(["-c", "TIMEFORMAT=%3U; time \"$0\" pcm \"$1\" -o - --rate 48000 --format s16le"])
        .args([program, file])
        .stdout(Stdio::null())
        .output()
        .expect("bash is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.lines().last().and_then(|line| line.trim().parse().ok()).expect("seconds")
}

/// User time as ffmpeg itself reports it, of one thread.
fn ffmpeg_seconds(file: &Path) -> f64 {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-benchmark", "-threads", "1", "-i"])
        .arg(file)
        .args(["-threads", "1", "-af", "aresample=48000:resampler=soxr", "-f", "s16le"])
        .args(["-y", "/dev/null"])
        .output()
        .expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let after = log.split("utime=").nth(1).expect("a benchmark line");
    after.split('s').next().and_then(|text| text.parse().ok()).expect("seconds")
}

/// CPU time of this thread for the same work, from bytes in pool blocks to bytes of a response.
fn kithara_seconds(file: &Path, seconds: usize) -> f64 {
    let bytes = fs::read(file).expect("the file was just made");
    let pool = BufPool::new(bufpool::Options { budget_bytes: 256 << 20 });
    let resident = Resident::new(Some(bytes.len() as u64));
    for (index, part) in bytes.chunks(64 << 10).enumerate() {
        let mut block = pool.take(Class::Large).expect("within the budget");
        block[..part.len()].copy_from_slice(part);
        resident.insert(index as u64 * (64 << 10), block.freeze(part.len()));
    }
    let stacks = Stacks::new(StackOptions::default());
    let before = thread_cpu();
    let written = decode(&stacks, resident);
    let spent = thread_cpu() - before;
    let frames = written / 4;
    assert!(frames.abs_diff(seconds * 48000) < 48000, "{frames} frames of {seconds} s");
    spent.as_secs_f64()
}

fn decode(stacks: &Stacks, resident: Resident) -> usize {
    let mut decoder = Decoder::new(stacks, resident, Ask::default()).expect("a stack");
    let mut pipeline = None;
    let (mut block, mut written) = (vec![0; 64 << 10], 0);
    loop {
        let step = decoder.step(Instant::now() + Duration::from_micros(200)).expect("sound");
        match step {
            Step::Opened => {
                let made = Pipeline::new(decoder.info().expect("opened"), SPEC, 0, None);
                pipeline = Some(made.expect("44.1 to 48 kHz"));
            }
            Step::Frames => {
                let pipeline = pipeline.as_mut().expect("opened before");
                pipeline.push(decoder.position(), decoder.frames());
                written += drain(pipeline, &mut block);
            }
            Step::Slice => {}
            Step::End => {
                let pipeline = pipeline.as_mut().expect("opened before");
                pipeline.finish();
                return written + drain(pipeline, &mut block);
            }
            Step::Need { position, .. } => panic!("all is resident, {position} is not"),
        }
    }
}

const SPEC: Spec = Spec {
    rate_hz: 48_000,
    channels: 2,
    encoding: Encoding::S16le,
    dither: Dither::None,
    quality: Quality::Good,
};

fn drain(pipeline: &mut Pipeline, block: &mut [u8]) -> usize {
    std::iter::from_fn(|| Some(pipeline.pull(block)).filter(|count| *count > 0)).sum()
}
