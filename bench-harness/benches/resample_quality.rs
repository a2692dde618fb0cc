//! How clean and how fast our resampler is, beside SoX and ffmpeg, in one run and by one ruler.
//!
//! `cargo bench --bench resample_quality [-- REPEATS]`. All get the same WAV files of 32-bit floats and
//! give floats, so that no rounding of ours or theirs to integers counts. What is measured, of each pair
//! of rates:
//!
//! - THD+N: what is left of a sine of -1 dBFS, 997 Hz and 10 kHz, without the sine; the worse of both;
//! - ripple: the largest difference in level of tones between 20 Hz and 20 kHz, and where the level is
//!   0.1 and 3 dB below that of 1 kHz;
//! - aliases: downwards what becomes of tones above the lower Nyquist frequency, from 50 Hz above it on;
//!   upwards what else comes of tones below it, up to 50 Hz below it. The worst tone counts, with all
//!   that comes of it;
//! - speed in times of real time on one core: ours by CPU time of the pipeline, theirs by user time of the
//!   program less that of one that only copies the file; medians of interleaved runs.
//!
//! A sine is fitted by least squares in a window of whole periods, where fits of several do not disturb
//! each other. The ends of each signal are not looked at: a filter that begins is not what is asked about.
#![allow(clippy::print_stdout)]

use std::{
    f64::consts::TAU,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kithara::decode::{Dither, Encoding, Frames, Quality, Spec};
use kithara_bench::{
    Scratch, Table, median,
    signal::{resample, tones},
    thread_cpu, user_time,
};

/// Pairs of rates, in Hz.
const PAIRS: [(u32, u32); 3] = [(44100, 48000), (48000, 44100), (96000, 44100)];
/// Seconds of a signal that are not looked at, at either end.
const EDGE_SECONDS: f64 = 0.5;
/// What is lower is said to be this: a tool of 32-bit integers may give nothing at all.
const FLOOR_DB: f64 = -180.0;
/// Seconds of music for the speed.
const MUSIC_SECONDS: usize = 60;

/// Who resamples.
enum Way {
    Ours(Quality),
    /// SoX, and an option of its effect `rate`.
    Sox(&'static str),
    /// ffmpeg, and options of its filter `aresample`.
    Ffmpeg(&'static str),
}

const WAYS: [(&str, Way); 8] = [
    ("fast", Way::Ours(Quality::Fast)),
    ("good", Way::Ours(Quality::Good)),
    ("best", Way::Ours(Quality::Best)),
    ("SoX rate -h", Way::Sox("-h")),
    ("SoX rate -v", Way::Sox("-v")),
    ("ffmpeg soxr, 20 bits", Way::Ffmpeg(":resampler=soxr:precision=20")),
    ("ffmpeg soxr, 28 bits", Way::Ffmpeg(":resampler=soxr:precision=28")),
    ("ffmpeg default", Way::Ffmpeg("")),
];

fn main() {
    let repeats = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let scratch = Scratch::new("resample-quality");
    let ways: Vec<_> = WAYS.iter().filter(|(name, way)| way.is_there(name)).collect();
    for (from_hz, to_hz) in PAIRS {
        println!("{from_hz} to {to_hz} Hz");
        let heads = [
            "",
            "THD+N dB",
            "ripple dB",
            "-0.1 dB at Hz",
            "-3 dB at Hz",
            "aliases dB",
            "x real time",
        ];
        let table = Table::new(20, heads);
        let bench = Bench { dir: scratch.path(), from_hz, to_hz };
        let speeds = bench.speeds(&ways, repeats);
        for ((name, way), speed) in ways.iter().zip(speeds) {
            let band = bench.band(way);
            table.row([
                (*name).to_owned(),
                format!("{:.1}", bench.distortion(way)),
                format!("{:.4}", band.ripple_db),
                format!("{:.0}", band.tenth_hz),
                format!("{:.0}", band.half_hz),
                format!("{:.1}", bench.aliases(way)),
                format!("{speed:.0}"),
            ]);
        }
    }
}

impl Way {
    /// Whether it can be measured here. Says so if not.
    fn is_there(&self, name: &str) -> bool {
        let mut probe = match self {
            Self::Ours(_) => return true,
            Self::Sox(_) => command("sox", "-n -n trim 0 0.1"),
            Self::Ffmpeg(options) => {
                let mut probe = command("ffmpeg", "-v error -f lavfi -i anullsrc=d=0.1 -af");
                probe.arg(format!("aresample=48000{options}")).args(["-f", "null", "-"]);
                probe
            }
        };
        let probed = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let is_there = probed.is_ok_and(|status| status.success());
        if !is_there {
            println!("SKIPPED: {name} is not installed here, or not built in");
        }
        is_there
    }
}

/// One pair of rates.
struct Bench<'a> {
    dir: &'a Path,
    from_hz: u32,
    to_hz: u32,
}

/// What a filter keeps.
struct Band {
    ripple_db: f64,
    tenth_hz: f64,
    half_hz: f64,
}

impl Bench<'_> {
    fn distortion(&self, way: &Way) -> f64 {
        let of_tone = |hz: u32| {
            let signal = [Tone { hz, level: db_to_level(-1.0), phase: 0.0 }];
            let out = self.through(way, &synthesise(&signal, 3, self.from_hz));
            let window = &out[self.window(3.0, EDGE_SECONDS)];
            let fit = Fit::of(window, hz, self.to_hz);
            level_to_db(rms(&fit.without(window)) / fit.rms())
        };
        [997, 10_000].map(of_tone).into_iter().fold(f64::NEG_INFINITY, f64::max)
    }

    /// All tones at once: a filter is linear, and over whole seconds they are orthogonal.
    fn band(&self, way: &Way) -> Band {
        const LEVEL: f64 = 0.01;
        let lower = self.from_hz.min(self.to_hz);
        let all: Vec<u32> = [20, 30, 40].into_iter().chain((50..lower / 2).step_by(50)).collect();
        // Phases by the square of the place keep the sum of the tones low.
        let phase = |place: usize| TAU / 2.0 * (place * place) as f64 / all.len() as f64;
        let tone = |(place, hz): (usize, &u32)| Tone { hz: *hz, level: LEVEL, phase: phase(place) };
        let signal: Vec<Tone> = all.iter().enumerate().map(tone).collect();
        let out = self.through(way, &synthesise(&signal, 2, self.from_hz));
        let window = &out[self.window(2.0, EDGE_SECONDS)];
        let gain = |hz: &u32| level_to_db(Fit::of(window, *hz, self.to_hz).level() / LEVEL);
        let gains: Vec<f64> = all.iter().map(gain).collect();
        let at_1_khz = gains[all.iter().position(|hz| *hz == 1000).expect("a step")];
        let audible =
            all.iter().zip(&gains).filter(|(hz, _)| **hz <= 20_000).map(|(_, gain)| *gain);
        let (least, most) = audible
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), gain| {
                (gain.min(least), gain.max(most))
            });
        let falls = |by_db: f64| crossing(&all, &gains, at_1_khz - by_db);
        Band { ripple_db: most - least, tenth_hz: falls(0.1), half_hz: falls(3.0) }
    }

    /// One tone after another, a second each.
    fn aliases(&self, way: &Way) -> f64 {
        const LEVEL: f64 = 0.5;
        let lower = self.from_hz.min(self.to_hz) / 2;
        let (is_down, highest) = (self.from_hz > self.to_hz, self.from_hz / 2);
        let all: Vec<u32> = match is_down {
            true => (lower + 50..highest).step_by((highest - lower) as usize / 24 * 2).collect(),
            false => (1050..lower).step_by(1000).chain([lower - 500, lower - 50]).collect(),
        };
        let tone = |hz: &u32| {
            let tone = [Tone { hz: *hz & !1, level: LEVEL, phase: 0.0 }];
            synthesise(&tone, 1, self.from_hz)
        };
        let out = self.through(way, &all.iter().flat_map(tone).collect::<Vec<_>>());
        let seconds = out.chunks_exact(self.to_hz as usize);
        let rest = |(second, hz): (&[f32], &u32)| {
            let window = &second[self.window(1.0, 0.25)];
            match is_down {
                true => rms(window.iter().map(|x| f64::from(*x)).collect::<Vec<_>>().as_slice()),
                false => rms(&Fit::of(window, *hz & !1, self.to_hz).without(window)),
            }
        };
        let worst = seconds.zip(&all).map(rest).fold(0.0, f64::max);
        level_to_db(worst / (LEVEL / 2.0_f64.sqrt()))
    }

    /// Times of real time, by way.
    fn speeds(&self, ways: &[&(&str, Way)], repeats: usize) -> Vec<f64> {
        let music = tones(2, MUSIC_SECONDS * self.from_hz as usize);
        let wav = self.write(&music);
        let mut spent = vec![Vec::new(); ways.len()];
        for _ in 0..repeats {
            for ((_, way), spent) in ways.iter().zip(&mut spent) {
                spent.push(self.seconds(way, &music, &wav));
            }
        }
        spent.into_iter().map(|spent| MUSIC_SECONDS as f64 / median(spent)).collect()
    }

    /// What it takes to resample the music.
    fn seconds(&self, way: &Way, music: &Frames, wav: &Path) -> f64 {
        let Way::Ours(quality) = way else {
            let time = |work| user_time(&self.line(way, work), [wav, Path::new("/dev/null")]).0;
            return (time(true) - time(false)).max(0.001);
        };
        let before = thread_cpu();
        resample(music, self.from_hz, self.spec(*quality, 2), |block| {
            std::hint::black_box(block);
        });
        (thread_cpu() - before).as_secs_f64()
    }

    /// The command of a tool that resamples the file `$0` to raw floats `$1`, or copies it only.
    fn line(&self, way: &Way, resamples: bool) -> String {
        let to_hz = self.to_hz;
        match (way, resamples) {
            (Way::Ours(_), _) => unreachable!("ours is no tool"),
            (Way::Sox(option), true) => {
                format!("sox --single-threaded -D \"$0\" -t f32 \"$1\" rate {option} {to_hz}")
            }
            (Way::Sox(_), false) => "sox --single-threaded -D \"$0\" -t f32 \"$1\"".into(),
            (Way::Ffmpeg(options), true) => format!(
                "ffmpeg -v error -y -threads 1 -i \"$0\" -threads 1 \
                 -af aresample={to_hz}{options} -c:a pcm_f32le -f f32le \"$1\""
            ),
            (Way::Ffmpeg(_), false) => "ffmpeg -v error -y -threads 1 -i \"$0\" -threads 1 \
                                        -c:a pcm_f32le -f f32le \"$1\""
                .into(),
        }
    }

    /// What becomes of a signal of one channel.
    fn through(&self, way: &Way, signal: &[f32]) -> Vec<f32> {
        let frames = Frames { planes: vec![signal.to_vec()], wide: Vec::new() };
        let mut bytes = Vec::new();
        match way {
            Way::Ours(quality) => {
                resample(&frames, self.from_hz, self.spec(*quality, 1), |block| {
                    bytes.extend_from_slice(block);
                })
            }
            _ => {
                let (wav, raw) = (self.write(&frames), self.dir.join("out.f32"));
                user_time(&self.line(way, true), [&wav, &raw]);
                bytes = fs::read(raw).expect("it was just made");
            }
        }
        bytes.as_chunks().0.iter().map(|sample| f32::from_le_bytes(*sample)).collect()
    }

    fn spec(&self, quality: Quality, channels: u16) -> Spec {
        let (encoding, dither) = (Encoding::F32le, Dither::None);
        Spec { rate_hz: self.to_hz, channels, encoding, dither, quality }
    }

    /// Frames of the output that are looked at, of `seconds`, without `edge` seconds at either end.
    fn window(&self, seconds: f64, edge: f64) -> Range<usize> {
        let frame = |seconds: f64| (seconds * f64::from(self.to_hz)) as usize;
        frame(edge)..frame(seconds - edge)
    }

    /// A WAV file of 32-bit floats.
    fn write(&self, frames: &Frames) -> PathBuf {
        let channels = frames.planes.len() as u32;
        let (length, frame_bytes) = (frames.len() as u32 * channels * 4, channels * 4);
        let mut bytes = Vec::with_capacity(44 + length as usize);
        bytes.extend(b"RIFF");
        bytes.extend((36 + length).to_le_bytes());
        bytes.extend(b"WAVEfmt \x10\0\0\0\x03\0");
        bytes.extend((channels as u16).to_le_bytes());
        bytes.extend(self.from_hz.to_le_bytes());
        bytes.extend((self.from_hz * frame_bytes).to_le_bytes());
        bytes.extend((frame_bytes as u16).to_le_bytes());
        bytes.extend(b"\x20\0data");
        bytes.extend(length.to_le_bytes());
        for frame in 0..frames.len() {
            bytes.extend(frames.planes.iter().flat_map(|plane| plane[frame].to_le_bytes()));
        }
        let path = self.dir.join("in.wav");
        fs::write(&path, bytes).expect("the target directory can be written");
        path
    }
}

/// A sine of whole Hz; `level` is its peak.
struct Tone {
    hz: u32,
    level: f64,
    phase: f64,
}

fn synthesise(signal: &[Tone], seconds: u32, rate_hz: u32) -> Vec<f32> {
    let mut out = vec![0.0_f64; (seconds * rate_hz) as usize];
    for Tone { hz, level, phase } in signal {
        for (frame, sample) in out.iter_mut().enumerate() {
            *sample += level * (angle(frame, *hz, rate_hz) + phase).sin();
        }
    }
    out.into_iter().map(|sample| sample as f32).collect()
}

/// The angle of a sine at a frame, without the loss of a large product.
fn angle(frame: usize, hz: u32, rate_hz: u32) -> f64 {
    TAU * (frame as u64 * u64::from(hz) % u64::from(rate_hz)) as f64 / f64::from(rate_hz)
}

/// The sine that fits a window of whole periods best.
struct Fit {
    hz: u32,
    rate_hz: u32,
    sine: f64,
    cosine: f64,
}

impl Fit {
    fn of(window: &[f32], hz: u32, rate_hz: u32) -> Self {
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (frame, sample) in window.iter().enumerate() {
            let (sin, cos) = angle(frame, hz, rate_hz).sin_cos();
            sine += f64::from(*sample) * sin;
            cosine += f64::from(*sample) * cos;
        }
        let scale = 2.0 / window.len() as f64;
        Self { hz, rate_hz, sine: sine * scale, cosine: cosine * scale }
    }

    /// Its peak.
    fn level(&self) -> f64 {
        self.sine.hypot(self.cosine)
    }

    fn rms(&self) -> f64 {
        self.level() / 2.0_f64.sqrt()
    }

    /// The window without it.
    fn without(&self, window: &[f32]) -> Vec<f64> {
        let rest = |(frame, sample): (usize, &f32)| {
            let (sin, cos) = angle(frame, self.hz, self.rate_hz).sin_cos();
            f64::from(*sample) - self.sine * sin - self.cosine * cos
        };
        window.iter().enumerate().map(rest).collect()
    }
}

/// Where the gains fall below `limit` for the first time, between two tones in proportion; the highest
/// tone if they do not.
fn crossing(tones_hz: &[u32], gains: &[f64], limit: f64) -> f64 {
    let Some(at) = gains.iter().position(|gain| *gain < limit).filter(|at| *at > 0) else {
        return tones_hz.last().copied().map_or(0.0, f64::from);
    };
    let (below, above) = (f64::from(tones_hz[at - 1]), f64::from(tones_hz[at]));
    below + (above - below) * (gains[at - 1] - limit) / (gains[at - 1] - gains[at])
}

fn rms(samples: &[f64]) -> f64 {
    (samples.iter().map(|x| x * x).sum::<f64>() / samples.len() as f64).sqrt()
}

fn level_to_db(level: f64) -> f64 {
    (20.0 * level.log10()).max(FLOOR_DB)
}

fn db_to_level(db: f64) -> f64 {
    10.0_f64.powf(db / 20.0)
}

fn command(program: &str, arguments: &str) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace());
    command
}
