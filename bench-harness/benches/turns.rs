//! What it costs that decoders take turns on a core, by the length of a turn.
//!
//! `cargo bench --bench turns [-- STREAMS REPEATS]`. Decoders of one file, from bytes in memory to 48 kHz
//! in 16 bits, go round once each is past its first block. A turn ends after so many blocks of the
//! resampler, or with the first frames after 200 us, or as a decoder by itself ends a slice of 200 us.
//! Printed is the speed of one alone in times of real time, and by kind of turn what of it many together
//! keep; by the least CPU time of interleaved runs.
//! The last row is the resampler without a decoder.
#![allow(clippy::print_stdout)]

use std::{
    fs,
    time::{Duration, Instant},
};

use kithara::{
    decode::{Ask, Blocks, Decoder, DecoderOptions, Pipeline, Quality, Resampler, Stacks, Step},
    stream::Resident,
};
use kithara_bench::{
    CODINGS, Scratch, Table, music,
    play::{SPEC, feed, pipeline, resident},
    thread_cpu,
};

/// Seconds of audio of each stream.
const SECONDS: usize = 2;
/// Frames of 44.1 and of 48 kHz in a block.
const BLOCK: Blocks = Blocks { input: 1176, output: 1280 };
/// Blocks that each stream makes.
const BLOCKS: usize = SECONDS * 48_000 / BLOCK.output / 8 * 8;

/// When a turn ends.
#[derive(Clone, Copy)]
enum Turn {
    Blocks(usize),
    /// Time is looked at with every tray of frames.
    Slice(Duration),
    /// Only a decoder looks at it: when it reads, and before a tray is full.
    Reads(Duration),
}

const TURNS: [Turn; 6] = [
    Turn::Blocks(1),
    Turn::Blocks(2),
    Turn::Blocks(4),
    Turn::Blocks(8),
    Turn::Slice(Duration::from_micros(200)),
    Turn::Reads(Duration::from_micros(200)),
];

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let (streams, repeats) = (numbers.next().unwrap_or(1000), numbers.next().unwrap_or(5));
    let scratch = Scratch::new("turns");
    println!("{streams} streams of {SECONDS} s, the best of {repeats}");
    let heads = ["", "alone", "1 block", "2", "4", "8", "200 us", "blocks", "by reads", "blocks"];
    let table = Table::new(12, heads);
    for (file, (name, _)) in music(scratch.path(), SECONDS + 2).iter().zip(CODINGS) {
        // The codebooks of a thousand decoders of Vorbis do not fit into this machine.
        if name == "music.ogg" {
            continue;
        }
        let bytes = resident(&fs::read(file).expect("the file was just made"));
        let stacks = Stacks::new(DecoderOptions { keep: streams, ..Default::default() });
        row(
            &table,
            name,
            repeats,
            |count, turn| {
                let mut all: Vec<_> = (0..count).map(|_| Playing::new(&stacks, &bytes)).collect();
                round(&mut all, |one| one.turn(turn))
            },
            streams,
        );
    }
    row(
        &table,
        "resampler",
        repeats,
        |count, turn| {
            let mut all: Vec<_> = (0..count).map(|_| Bare::new()).collect();
            round(&mut all, |one| one.turn(turn))
        },
        streams,
    );
}

/// Prints the row of `run`, which gets a number of streams and how they take turns, and says what the core
/// took for a second of audio and how many turns there were of each stream.
fn row(
    table: &Table<10>,
    name: &str,
    repeats: usize,
    run: impl Fn(usize, Turn) -> (f64, f64),
    streams: usize,
) {
    let (mut alone, mut together) = (f64::INFINITY, TURNS.map(|_| f64::INFINITY));
    let mut turns = TURNS.map(|_| 0.0);
    for _ in 0..repeats {
        // One stream is over before the clock of the core has gone far.
        let runs = 50;
        let costs: f64 = (0..runs).map(|_| run(1, Turn::Blocks(8)).0).sum();
        alone = alone.min(costs / f64::from(runs));
        for ((turn, least), count) in TURNS.into_iter().zip(&mut together).zip(&mut turns) {
            let (cost, its_turns) = run(streams, turn);
            (*least, *count) = (least.min(cost), its_turns);
        }
    }
    let [one, two, four, eight, slice, reads] = together.map(|cost| format!("{:.2}", alone / cost));
    let [.., in_slice, by_reads] = turns.map(|turns| format!("{:.1}", BLOCKS as f64 / turns));
    let (name, speed) = (name.to_owned(), format!("{:.0}", 1.0 / alone));
    table.row([name, speed, one, two, four, eight, slice, in_slice, reads, by_reads]);
}

/// Gives turns to all until none goes on. CPU time for each second of audio, and turns of each stream.
fn round<T>(all: &mut [T], mut turn: impl FnMut(&mut T) -> bool) -> (f64, f64) {
    let before = thread_cpu();
    let (mut goes_on, mut turns) = (true, 0_usize);
    while goes_on {
        goes_on = false;
        for one in &mut *all {
            goes_on |= turn(one);
            turns += 1;
        }
    }
    let audio = (all.len() * BLOCKS * BLOCK.output) as f64 / 48_000.0;
    ((thread_cpu() - before).as_secs_f64() / audio, turns as f64 / all.len() as f64)
}

/// A stream under way.
struct Playing {
    decoder: Decoder,
    pipeline: Pipeline,
    block: Vec<u8>,
    /// Bytes that are made, and with which it is done.
    made: usize,
    until: usize,
}

impl Playing {
    fn new(stacks: &Stacks, bytes: &Resident) -> Self {
        let mut decoder = Decoder::new(stacks, bytes.clone(), Ask::default()).expect("a stack");
        while decoder.info().is_none() {
            decoder.step(far()).expect("sound");
        }
        let pipeline = pipeline(&decoder);
        let mut new = Self { decoder, pipeline, block: vec![0; 4096], made: 0, until: usize::MAX };
        new.turn(Turn::Blocks(1));
        new.until = new.made + BLOCKS * BLOCK.output * SPEC.frame_bytes();
        new
    }

    /// Whether it goes on.
    fn turn(&mut self, turn: Turn) -> bool {
        let (end, until) = match turn {
            Turn::Blocks(count) => (self.made + count * BLOCK.output * SPEC.frame_bytes(), far()),
            Turn::Slice(slice) | Turn::Reads(slice) => (usize::MAX, Instant::now() + slice),
        };
        let looks = !matches!(turn, Turn::Reads(_));
        while self.made < end.min(self.until) {
            match self.decoder.step(until).expect("sound") {
                Step::Frames => {
                    self.made += feed(&mut self.pipeline, &self.decoder, &mut self.block);
                    if looks && Instant::now() >= until {
                        break;
                    }
                }
                Step::Slice => break,
                step => panic!("{step:?} in the middle"),
            }
        }
        self.made < self.until
    }
}

fn far() -> Instant {
    Instant::now() + Duration::from_hours(1)
}

/// A resampler that gets the same block again and again.
struct Bare {
    resampler: Resampler,
    planes: Vec<Vec<f32>>,
    left: usize,
}

impl Bare {
    fn new() -> Self {
        let blocks = Blocks::of(44100, 48000, Quality::Good).expect("possible");
        assert_eq!(blocks, BLOCK);
        let planes = vec![vec![0.1; BLOCK.output]; 2];
        Self { resampler: Resampler::new(blocks, 2), planes, left: BLOCKS }
    }

    fn turn(&mut self, turn: Turn) -> bool {
        let (count, until) = match turn {
            Turn::Blocks(count) => (count, far()),
            Turn::Slice(slice) | Turn::Reads(slice) => (usize::MAX, Instant::now() + slice),
        };
        for _ in 0..count.min(self.left) {
            self.planes.iter_mut().for_each(|plane| plane.truncate(BLOCK.input));
            self.resampler.block(&mut self.planes);
            self.left -= 1;
            if Instant::now() >= until {
                break;
            }
        }
        self.left > 0
    }
}
