//! Decode, resample 44.1 to 48 kHz and quantise to 16 bits on one core, beside ffmpeg with soxr. Opus is at
//! 48 kHz and resampled by neither.
//!
//! `cargo bench --bench decode_speed [-- SECONDS REPEATS]`. Music of that length is synthesised and
//! encoded by ffmpeg. All take turns, so that a busy machine hurts all; the ratios are those of the
//! medians of CPU time. Like stands beside like: a whole `kithara pcm` beside a whole `ffmpeg`, by the
//! user time that the shell says of either; and the decoding thread alone, without start and output,
//! beside what ffmpeg's `-benchmark` counts, which begins once its input is open. `strict` sets our
//! whole process against that count.
//!
//! Then decoding alone, of the thread and by libavcodec: what `-benchmark` counts of a decode to nowhere, in
//! the samples that it decodes to, interleaved.
#![allow(clippy::print_stdout)]

use std::{fs, path::Path};

use kithara::{
    decode::{DecoderOptions, Stacks},
    stream::Resident,
};
use kithara_bench::{
    CODINGS, Coding, OPUS, Scratch, Table, binary, coded, median, music,
    play::{SPEC, decode, play, resident},
    thread_cpu, user_time,
};

/// The ratios that have to be reached, in the order of the codings, with the resampler and of decoding
/// alone; and what libavcodec decodes to.
const NEEDED: [(&str, &str, &str); 6] = [
    ("1.25", "1.05", "pcm_f32le"),
    ("1.15", "0.85", "pcm_f32le"),
    ("1.25", "1.15", "pcm_s16le"),
    ("-", "0.93", "pcm_f32le"),
    ("-", "1.15", "pcm_s16le"),
    ("-", "-", "pcm_f32le"),
];

/// All that is measured.
fn codings() -> impl Iterator<Item = Coding> {
    CODINGS.into_iter().chain([OPUS])
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let (seconds, repeats) = (numbers.next().unwrap_or(300), numbers.next().unwrap_or(7));
    let scratch = Scratch::new("decode-speed");
    let mut files = music(scratch.path(), seconds);
    files.push(coded(scratch.path(), OPUS));
    let program = binary();
    println!("{seconds} s of stereo at 44.1 kHz, medians of {repeats}, CPU seconds");
    let heads =
        ["file", "process", "ffmpeg", "ratio", "thread", "its work", "ratio", "strict", "needed"];
    let table = Table::new(16, heads);
    for ((file, (name, _)), (needed, ..)) in files.iter().zip(codings()).zip(NEEDED) {
        let [mut thread, mut process, mut work, mut ffmpeg] = [const { Vec::new() }; 4];
        for _ in 0..repeats {
            thread.push(thread_seconds(file, seconds));
            process.push(process_seconds(&program, file));
            let to_48 = "-af aresample=48000:resampler=soxr -f s16le";
            let (in_work, in_all) = ffmpeg_seconds(file, to_48);
            work.push(in_work);
            ffmpeg.push(in_all);
        }
        let [thread, process, work, ffmpeg] = [thread, process, work, ffmpeg].map(median);
        let number = |seconds: f64| format!("{seconds:.3}");
        let ratio = |theirs: f64, ours: f64| format!("{:.2}", theirs / ours);
        table.row([
            name.to_owned(),
            number(process),
            number(ffmpeg),
            ratio(ffmpeg, process),
            number(thread),
            number(work),
            ratio(work, thread),
            ratio(work, process),
            needed.to_owned(),
        ]);
    }
    println!("\ndecoding alone, milliseconds of CPU for a second of audio");
    let table = Table::new(16, ["file", "thread", "libavcodec", "ratio", "needed"]);
    for ((file, (name, _)), (_, needed, samples)) in files.iter().zip(codings()).zip(NEEDED) {
        let [mut ours, mut theirs] = [const { Vec::new() }; 2];
        for _ in 0..repeats {
            ours.push(decode_seconds(file, seconds));
            theirs.push(ffmpeg_seconds(file, &format!("-c:a {samples} -f null")).0);
        }
        let [ours, theirs] = [ours, theirs].map(median);
        let number = |spent: f64| format!("{:.3}", spent * 1e3 / seconds as f64);
        let ratio = format!("{:.2}", theirs / ours);
        table.row([name.to_owned(), number(ours), number(theirs), ratio, needed.to_owned()]);
    }
}

/// User time of a whole process of ours.
fn process_seconds(program: &Path, file: &Path) -> f64 {
    let command = "\"$0\" pcm \"$1\" -o - --rate 48000 --format s16le";
    user_time(command, [program, file]).0
}

/// User time of ffmpeg with one thread: as it says itself, of its work, and of the whole process.
fn ffmpeg_seconds(file: &Path, output: &str) -> (f64, f64) {
    let command = format!(
        "ffmpeg -hide_banner -benchmark -threads 1 -i \"$0\" -threads 1 {output} -y /dev/null"
    );
    let (whole, log) = user_time(&command, [file]);
    let after = log.split("utime=").nth(1).expect("a benchmark line");
    let work = after.split('s').next().and_then(|text| text.parse().ok());
    (work.expect("seconds"), whole)
}

/// CPU time of this thread for the same work, from bytes in pool blocks to bytes of a response.
fn thread_seconds(file: &Path, seconds: usize) -> f64 {
    on_thread(file, seconds, |stacks, resident| {
        let frames = play(stacks, resident) / SPEC.frame_bytes();
        frames as f64 / f64::from(SPEC.rate_hz)
    })
}

/// CPU time of this thread for decoding alone.
fn decode_seconds(file: &Path, seconds: usize) -> f64 {
    on_thread(file, seconds, decode)
}

/// CPU time of this thread for `work`, which says how many seconds it made: as many as wanted, but for one.
fn on_thread(file: &Path, wanted: usize, work: fn(&Stacks, Resident) -> f64) -> f64 {
    let resident = resident(&fs::read(file).expect("the file was just made"));
    let stacks = Stacks::new(DecoderOptions::default());
    let before = thread_cpu();
    let seconds = work(&stacks, resident);
    let spent = thread_cpu() - before;
    assert!((seconds - wanted as f64).abs() < 1.0, "{seconds} s of {wanted}");
    spent.as_secs_f64()
}
