//! The demo piece, "Seven strings": a few bars for two lyres, composed and rendered here.
//!
//! `cargo run --release --example compose -- DIR` writes three recordings to DIR, each 16 bit:
//! `piece.wav` (all of it, stereo, 44.1 kHz), `opening.wav` (its first bars) and `close.wav` (its
//! last seconds, mono, 22.05 kHz). `scripts/demo/make` encodes them. The same program gives the
//! same samples: the only noise is seeded.
//!
//! The strings are delay loops after Jaffe and Smith, "Extensions of the Karplus-Strong
//! Plucked-String Algorithm", Computer Music Journal 7(2), 1983; the room is a feedback delay
//! network after Jot and Chaigne, AES Convention 90, 1991.

use std::{
    f64::consts::{PI, TAU},
    fs, io,
    path::Path,
};

const RATE_HZ: f64 = 44_100.0;
const LENGTH_SECONDS: f64 = 24.0;
const OPENING_SECONDS: f64 = 5.2;
const CLOSE_SECONDS: f64 = 4.1;

/// An eighth note in seconds: six to a bar, a slow walking pace.
const EIGHTH_SECONDS: f64 = 0.275;
const EIGHTHS_PER_BAR: f64 = 6.0;

/// -1 dBFS, so that a lossy decoder's overshoot is seldom clipped.
const CEILING: f64 = 0.891_250_9;
/// What brings the mix to -16 LUFS, measured with ffmpeg's `ebur128`.
const LOUDNESS_GAIN: f64 = 2.1;

// ---------------------------------------------------------------------------------------------
// The score. D dorian; MIDI note numbers (69 is A4, 440 Hz); times in eighths.

/// Each bar's six accompanying notes; the first is the bass.
const BARS: [(&str, [u8; 6], f64); 12] = [
    ("Dm", [38, 57, 62, 65, 62, 57], 0.54),
    ("Dm", [38, 57, 62, 65, 62, 57], 0.54),
    ("Dm", [50, 57, 62, 65, 62, 57], 0.54),
    ("C", [48, 55, 60, 64, 60, 55], 0.48),
    ("Am", [45, 52, 57, 60, 64, 60], 0.44),
    ("Dm", [38, 57, 62, 65, 62, 57], 0.52),
    ("F", [41, 53, 57, 60, 65, 60], 0.60),
    ("G", [43, 55, 59, 62, 67, 62], 0.64),
    ("C", [48, 55, 60, 64, 67, 64], 0.62),
    ("F", [41, 57, 60, 65, 60, 57], 0.72),
    ("C", [36, 55, 60, 64, 60, 55], 0.60),
    ("Am", [45, 52, 57, 60, 57, 52], 0.46),
];

/// The melody of each bar: (note, length in eighths); 0 is a rest.
const MELODY: [&[(u8, f64)]; 12] = [
    &[(0, 6.0)],
    &[(69, 3.0), (74, 2.0), (76, 1.0)],
    &[(77, 2.0), (76, 1.0), (74, 3.0)],
    &[(76, 2.0), (74, 1.0), (72, 2.0), (67, 1.0)],
    &[(69, 6.0)],
    &[(69, 2.0), (74, 1.0), (76, 1.0), (77, 1.0), (79, 1.0)],
    &[(81, 3.0), (79, 2.0), (77, 1.0)],
    &[(79, 1.0), (77, 1.0), (76, 1.0), (74, 2.0), (71, 1.0)],
    &[(72, 2.0), (76, 1.0), (79, 3.0)],
    &[(81, 2.0), (84, 1.0), (81, 1.0), (79, 1.0), (77, 1.0)],
    &[(79, 2.0), (76, 1.0), (72, 2.0), (74, 1.0)],
    &[(76, 2.0), (74, 1.0), (71, 1.0), (72, 2.0)],
];

/// The second lyre answers where the first one rests: (bar, eighth, note, strength).
const ANSWERS: [(usize, f64, u8, f64); 13] = [
    (4, 2.0, 76, 0.34),
    (4, 3.0, 79, 0.38),
    (4, 4.0, 81, 0.42),
    (4, 5.0, 79, 0.34),
    (8, 3.0, 72, 0.40),
    (8, 4.0, 76, 0.46),
    (8, 5.0, 74, 0.42),
    (9, 0.0, 72, 0.50),
    (9, 2.0, 76, 0.46),
    (9, 3.0, 72, 0.46),
    (10, 0.0, 71, 0.44),
    (10, 2.0, 67, 0.40),
    (10, 3.0, 64, 0.36),
];

/// The last chord, rolled from the bass: open fifths around one third.
const LAST_CHORD: [u8; 7] = [38, 45, 50, 57, 62, 65, 74];

#[derive(Clone, Copy)]
enum Voice {
    Bass,
    Arpeggio,
    Melody,
    Answer,
}

impl Voice {
    /// -1.0 is left, 1.0 is right.
    fn pan(self) -> f64 {
        match self {
            Voice::Bass => 0.0,
            Voice::Arpeggio => -0.38,
            Voice::Melody => 0.16,
            Voice::Answer => 0.58,
        }
    }

    fn level(self) -> f64 {
        match self {
            Voice::Bass => 0.80,
            Voice::Arpeggio => 0.52,
            Voice::Melody => 1.0,
            Voice::Answer => 0.62,
        }
    }

    /// Where along the string the plectrum strikes; nearer the bridge is brighter.
    fn pluck_position(self) -> f64 {
        match self {
            Voice::Bass => 0.31,
            Voice::Arpeggio => 0.27,
            Voice::Melody => 0.17,
            Voice::Answer => 0.21,
        }
    }

    /// Seconds in which a string of 220 Hz fades by 60 dB.
    fn decay_seconds(self) -> f64 {
        match self {
            Voice::Bass => 4.2,
            Voice::Arpeggio => 2.6,
            Voice::Melody => 3.6,
            Voice::Answer => 3.0,
        }
    }
}

struct Pluck {
    at_seconds: f64,
    note: u8,
    /// 0.0 is silent, 1.0 as hard as the player ever strikes.
    strength: f64,
    /// Seconds until the hand damps the string.
    ring_seconds: f64,
    voice: Voice,
}

/// Seconds at a place of the score, with the slowing down of the last two bars.
fn seconds(bar: usize, eighth: f64) -> f64 {
    let at = bar as f64 * EIGHTHS_PER_BAR + eighth;
    let slows_from = 10.5 * EIGHTHS_PER_BAR;
    let late = (at - slows_from).max(0.0);
    0.08 + EIGHTH_SECONDS * (at + 0.018 * late * late)
}

fn score() -> Vec<Pluck> {
    let mut plucks = Vec::new();
    for (bar, (_, notes, strength)) in BARS.iter().enumerate() {
        accompany(bar, notes, *strength, &mut plucks);
        sing(bar, *strength, &mut plucks);
    }
    for (bar, eighth, note, strength) in ANSWERS {
        let at_seconds = seconds(bar, eighth);
        plucks.push(Pluck { at_seconds, note, strength, ring_seconds: 1.4, voice: Voice::Answer });
    }
    finish(&mut plucks);
    humanise(&mut plucks);
    plucks
}

fn accompany(bar: usize, notes: &[u8; 6], strength: f64, plucks: &mut Vec<Pluck>) {
    for (eighth, note) in notes.iter().enumerate() {
        let voice = if eighth == 0 { Voice::Bass } else { Voice::Arpeggio };
        let accent = [1.0, 0.72, 0.80, 0.92, 0.76, 0.70][eighth];
        plucks.push(Pluck {
            at_seconds: seconds(bar, eighth as f64),
            note: *note,
            strength: strength * accent,
            ring_seconds: if eighth == 0 { 1.9 } else { 1.2 },
            voice,
        });
    }
}

fn sing(bar: usize, strength: f64, plucks: &mut Vec<Pluck>) {
    let mut eighth = 0.0;
    for (note, length) in MELODY[bar] {
        if *note > 0 {
            plucks.push(Pluck {
                at_seconds: seconds(bar, eighth),
                note: *note,
                strength: (strength + 0.16) * if eighth == 0.0 { 1.05 } else { 0.95 },
                ring_seconds: length * EIGHTH_SECONDS + 0.5,
                voice: Voice::Melody,
            });
        }
        eighth += length;
    }
}

fn finish(plucks: &mut Vec<Pluck>) {
    let at = seconds(12, 0.0);
    for (index, note) in LAST_CHORD.into_iter().enumerate() {
        plucks.push(Pluck {
            at_seconds: at + 0.07 * index as f64,
            note,
            strength: 0.52 + 0.02 * index as f64,
            ring_seconds: 6.0,
            voice: match index {
                0 | 1 => Voice::Bass,
                6 => Voice::Melody,
                _ => Voice::Arpeggio,
            },
        });
    }
    let last = Pluck {
        at_seconds: at + 1.25,
        note: 86,
        strength: 0.26,
        ring_seconds: 6.0,
        voice: Voice::Answer,
    };
    plucks.push(last);
}

/// A hand is a few milliseconds early or late and never strikes twice alike.
fn humanise(plucks: &mut [Pluck]) {
    let mut noise = Noise(0x5eed_0001);
    for pluck in plucks {
        pluck.at_seconds += 0.005 * noise.next();
        pluck.strength *= 1.0 + 0.06 * noise.next();
    }
}

// ---------------------------------------------------------------------------------------------
// The instrument.

/// xorshift64: uniform in -1.0..1.0, the same on every machine.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

fn frequency_hz(note: u8) -> f64 {
    440.0 * 2.0_f64.powf((f64::from(note) - 69.0) / 12.0)
}

/// One vibrating string: a delay loop with a damping filter and a fractional tuning allpass.
struct StringLoop {
    line: Vec<f64>,
    at: usize,
    gain: f64,
    damping: f64,
    damped: f64,
    tuning: f64,
    tuned: (f64, f64),
}

impl StringLoop {
    fn new(frequency_hz: f64, decay_seconds: f64, damping: f64, excitation: &[f64]) -> Self {
        // The damping filter delays by `damping` frames at low frequencies, the allpass by the rest.
        let period = RATE_HZ / frequency_hz - damping;
        let whole = (period - 0.2).floor();
        let fraction = period - whole;
        let mut line = vec![0.0; whole as usize];
        for (slot, sample) in line.iter_mut().zip(excitation) {
            *slot = *sample;
        }
        Self {
            line,
            at: 0,
            gain: 10.0_f64.powf(-3.0 / (frequency_hz * decay_seconds)),
            damping,
            damped: 0.0,
            tuning: (1.0 - fraction) / (1.0 + fraction),
            tuned: (0.0, 0.0),
        }
    }

    fn next(&mut self) -> f64 {
        let out = self.line[self.at];
        let damped = (1.0 - self.damping) * out + self.damping * self.damped;
        self.damped = out;
        let (before_in, before_out) = self.tuned;
        let tuned = self.tuning * (damped - before_out) + before_in;
        self.tuned = (damped, tuned);
        self.line[self.at] = self.gain * tuned;
        self.at = (self.at + 1) % self.line.len();
        out
    }
}

/// One period of what the plectrum leaves on the string: the bend at its place, a little of its
/// scrape, and less of both above what its strength can excite.
fn excitation(pluck: &Pluck, period: usize, noise: &mut Noise) -> Vec<f64> {
    let place = pluck.voice.pluck_position();
    let bent = (place * period as f64) as usize;
    let bend = |at: usize| if at < bent { 1.0 - place } else { -place };
    let raw: Vec<f64> = (0..period).map(|at| bend(at) + 0.22 * noise.next()).collect();
    // Harder is brighter; two one-pole filters in a row keep a soft stroke dark. They run over the
    // period twice, so that its end meets its beginning.
    let brightness = 0.10 + 0.50 * pluck.strength;
    let (mut first, mut second) = (0.0, 0.0);
    let mut shaped = vec![0.0; period];
    for at in 0..2 * period {
        first += brightness * (raw[at % period] - first);
        second += brightness * (first - second);
        shaped[at % period] = second;
    }
    let mean = shaped.iter().sum::<f64>() / period as f64;
    shaped.iter_mut().for_each(|sample| *sample -= mean);
    let power = shaped.iter().map(|sample| sample * sample).sum::<f64>() / period as f64;
    let scale = 0.2 / power.sqrt().max(1e-9);
    shaped.iter_mut().for_each(|sample| *sample *= scale);
    shaped
}

/// Adds one pluck to the mix. Two loops a hair apart are the string's two planes of motion.
fn play(pluck: &Pluck, seed: u64, mix: &mut [[f64; 2]]) {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15 ^ (seed << 17 | 1));
    let frequency = frequency_hz(pluck.note);
    let burst = excitation(pluck, (RATE_HZ / frequency) as usize, &mut noise);
    let decay = pluck.voice.decay_seconds() * (220.0 / frequency).powf(0.45);
    let damping = (0.42 - 0.20 * pluck.strength).clamp(0.12, 0.42);
    let mut upright = StringLoop::new(frequency * 1.000_35, decay, damping, &burst);
    let mut sideways = StringLoop::new(frequency * 0.999_65, decay * 0.7, damping, &burst);

    let from = (pluck.at_seconds * RATE_HZ) as usize;
    let ring = (pluck.ring_seconds * RATE_HZ) as usize;
    let release = 0.22 * RATE_HZ;
    let level = pluck.voice.level() * pluck.strength.powf(1.3);
    let [left, right] = pan(pluck.voice.pan());
    for (frame, out) in mix.iter_mut().skip(from).enumerate() {
        let damped = ring.min(frame);
        let fade = (-4.0 * (frame - damped) as f64 / release).exp();
        if fade < 1e-4 {
            break;
        }
        // The attack of a finger is not a step.
        let attack = (frame as f64 / 40.0).min(1.0);
        let gain = level * fade * attack;
        let (up, side) = (upright.next(), sideways.next());
        out[0] += gain * left * (0.55 * up + 0.45 * side);
        out[1] += gain * right * (0.45 * up + 0.55 * side);
    }
}

/// Equal power from left to right.
fn pan(place: f64) -> [f64; 2] {
    let angle = (place + 1.0) * PI / 4.0;
    [angle.cos(), angle.sin()]
}

/// A resonance of the sound box: a two-pole filter added to the dry sound.
struct Resonance {
    a1: f64,
    a2: f64,
    gain: f64,
    past: [f64; 2],
}

impl Resonance {
    fn new(frequency_hz: f64, width_hz: f64, gain: f64) -> Self {
        let radius = (-PI * width_hz / RATE_HZ).exp();
        let angle = TAU * frequency_hz / RATE_HZ;
        let a1 = 2.0 * radius * angle.cos();
        // Without this factor the filter's height at its peak would depend on where it lies.
        let peak = (1.0 - radius) * 2.0 * angle.sin();
        Self { a1, a2: -radius * radius, gain: gain * peak, past: [0.0; 2] }
    }

    fn next(&mut self, input: f64) -> f64 {
        let out = input + self.a1 * self.past[0] + self.a2 * self.past[1];
        self.past = [out, self.past[0]];
        self.gain * out
    }
}

/// The sound box of wood and hide: three low resonances, the same for both lyres.
fn resonate(mix: &mut [[f64; 2]]) {
    for channel in 0..2 {
        let mut modes = [
            Resonance::new(118.0, 28.0, 0.7),
            Resonance::new(236.0, 40.0, 0.8),
            Resonance::new(415.0, 60.0, 0.6),
        ];
        for frame in mix.iter_mut() {
            let dry = frame[channel];
            frame[channel] += modes.iter_mut().map(|mode| mode.next(dry)).sum::<f64>();
        }
    }
}

/// A small stone room: eight delay lines, mixed by a Householder matrix, darker as they fade.
struct Room {
    lines: [Vec<f64>; 8],
    at: [usize; 8],
    dark: [f64; 8],
    gain: [f64; 8],
}

impl Room {
    /// Delays in frames, mutually prime so that no echo repeats another.
    const DELAYS: [usize; 8] = [1103, 1277, 1493, 1721, 1999, 2203, 2473, 2767];
    const DECAY_SECONDS: f64 = 1.9;

    fn new() -> Self {
        let gain =
            |delay: usize| 10.0_f64.powf(-3.0 * delay as f64 / RATE_HZ / Self::DECAY_SECONDS);
        Self {
            lines: Self::DELAYS.map(|delay| vec![0.0; delay]),
            at: [0; 8],
            dark: [0.0; 8],
            gain: Self::DELAYS.map(gain),
        }
    }

    fn next(&mut self, input: [f64; 2]) -> [f64; 2] {
        let mut heard = [0.0; 8];
        for (index, line) in self.lines.iter().enumerate() {
            self.dark[index] += 0.48 * (line[self.at[index]] - self.dark[index]);
            heard[index] = self.dark[index];
        }
        let shared = heard.iter().sum::<f64>() / 4.0;
        for (index, line) in self.lines.iter_mut().enumerate() {
            line[self.at[index]] = input[index % 2] + self.gain[index] * (heard[index] - shared);
            self.at[index] = (self.at[index] + 1) % line.len();
        }
        [heard[0] - heard[2] + heard[4] - heard[7], heard[1] - heard[3] + heard[5] - heard[6]]
    }
}

fn reverberate(mix: &mut [[f64; 2]]) {
    let mut room = Room::new();
    let early = (0.014 * RATE_HZ) as usize;
    let dry = mix.to_vec();
    for (index, frame) in mix.iter_mut().enumerate() {
        let input = index.checked_sub(early).map_or([0.0; 2], |at| dry[at]);
        let wet = room.next(input);
        frame[0] += 0.17 * wet[0];
        frame[1] += 0.17 * wet[1];
    }
}

// ---------------------------------------------------------------------------------------------
// The master.

/// Takes out what lies under hearing: a one-pole high-pass at 25 Hz.
fn high_pass(mix: &mut [[f64; 2]]) {
    let keep = (-TAU * 25.0 / RATE_HZ).exp();
    for channel in 0..2 {
        let (mut before, mut out) = (0.0, 0.0);
        for frame in mix.iter_mut() {
            out = keep * (out + frame[channel] - before);
            before = frame[channel];
            frame[channel] = out;
        }
    }
}

/// Holds peaks under the ceiling: gain falls over 5 ms before a peak and recovers within 120 ms.
fn limit(mix: &mut [[f64; 2]]) {
    let ahead = (0.005 * RATE_HZ) as usize;
    let held = held_gain(mix, 2 * ahead);
    // Averaged over as long as it was held early, the gain is smooth and still low enough.
    let mut sum = 0.0;
    for (at, frame) in mix.iter_mut().enumerate() {
        sum += held[at] - if at >= ahead { held[at - ahead] } else { 0.0 };
        let gain = sum / ahead.min(at + 1) as f64;
        *frame = frame.map(|sample| sample * gain);
    }
}

/// The gain each frame may have, taken `ahead` frames early and given back slowly.
fn held_gain(mix: &[[f64; 2]], ahead: usize) -> Vec<f64> {
    let allowed: Vec<f64> = mix
        .iter()
        .map(|frame| (CEILING / frame[0].abs().max(frame[1].abs()).max(1e-9)).min(1.0))
        .collect();
    let recover = 1.0 - (-1.0 / (0.12 * RATE_HZ)).exp();
    let mut held = 1.0_f64;
    (0..mix.len())
        .map(|at| {
            let near = allowed[at..(at + ahead).min(mix.len())].iter();
            let lowest = near.fold(1.0_f64, |low, gain| low.min(*gain));
            held = lowest.min(held + recover * (1.0 - held));
            held
        })
        .collect()
}

/// Fades the last seconds to nothing, so that the end is an end.
fn fade_out(mix: &mut [[f64; 2]], seconds: f64) {
    let frames = (seconds * RATE_HZ) as usize;
    let from = mix.len() - frames;
    for (index, frame) in mix[from..].iter_mut().enumerate() {
        let gain = 0.5 + 0.5 * (PI * (index + 1) as f64 / frames as f64).cos();
        frame[0] *= gain;
        frame[1] *= gain;
    }
}

fn fade_in(mix: &mut [[f64; 2]], seconds: f64) {
    let frames = (seconds * RATE_HZ) as usize;
    for (index, frame) in mix[..frames].iter_mut().enumerate() {
        let gain = 0.5 - 0.5 * (PI * index as f64 / frames as f64).cos();
        frame[0] *= gain;
        frame[1] *= gain;
    }
}

fn render() -> Vec<[f64; 2]> {
    let mut mix = vec![[0.0; 2]; (LENGTH_SECONDS * RATE_HZ) as usize];
    for (seed, pluck) in score().iter().enumerate() {
        play(pluck, seed as u64 + 1, &mut mix);
    }
    resonate(&mut mix);
    reverberate(&mut mix);
    high_pass(&mut mix);
    for frame in &mut mix {
        *frame = frame.map(|sample| LOUDNESS_GAIN * sample);
    }
    limit(&mut mix);
    fade_out(&mut mix, 1.2);
    mix
}

/// Both channels together at half the rate, through a windowed-sinc low-pass of 95 taps.
fn half_rate_mono(stereo: &[[f64; 2]]) -> Vec<f64> {
    const SIDE: isize = 47;
    let taps: Vec<f64> = (-SIDE..=SIDE).map(half_band_tap::<SIDE>).collect();
    let mono = |at: isize| {
        let frame = usize::try_from(at).ok().and_then(|at| stereo.get(at));
        frame.map_or(0.0, |frame| (frame[0] + frame[1]) / 2.0)
    };
    (0..stereo.len() as isize / 2)
        .map(|out| (-SIDE..=SIDE).zip(&taps).map(|(tap, gain)| gain * mono(2 * out + tap)).sum())
        .collect()
}

/// A sinc cut at 0.46 of the half rate under a Blackman window.
fn half_band_tap<const SIDE: isize>(tap: isize) -> f64 {
    let x = 0.46 * tap as f64;
    let sinc = if tap == 0 { 1.0 } else { (PI * x).sin() / (PI * x) };
    let place = PI * tap as f64 / (SIDE + 1) as f64;
    0.46 * sinc * (0.42 + 0.5 * place.cos() + 0.08 * (2.0 * place).cos())
}

// ---------------------------------------------------------------------------------------------
// The recording.

/// 16 bit with triangular dither of one step, seeded.
fn quantise(samples: impl Iterator<Item = f64>) -> Vec<i16> {
    let mut noise = Noise(0xd17e_0001);
    samples
        .map(|sample| {
            let dither = 0.5 * (noise.next() + noise.next());
            (sample * 32_768.0 + dither).round().clamp(-32_768.0, 32_767.0) as i16
        })
        .collect()
}

fn write_wav(path: &Path, rate_hz: u32, channels: u16, samples: &[i16]) -> io::Result<()> {
    let data_bytes = samples.len() as u32 * 2;
    let block_align = channels * 2;
    let mut file = Vec::with_capacity(44 + samples.len() * 2);
    file.extend(b"RIFF");
    file.extend((36 + data_bytes).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate_hz.to_le_bytes());
    file.extend((rate_hz * u32::from(block_align)).to_le_bytes());
    file.extend(block_align.to_le_bytes());
    file.extend(16_u16.to_le_bytes());
    file.extend(b"data");
    file.extend(data_bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    fs::write(path, file)
}

fn write_stereo(path: &Path, frames: &[[f64; 2]]) -> io::Result<()> {
    write_wav(path, RATE_HZ as u32, 2, &quantise(frames.iter().flatten().copied()))
}

fn main() -> io::Result<()> {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: compose DIR");
        std::process::exit(2);
    };
    let dir = Path::new(&dir);
    fs::create_dir_all(dir)?;
    let piece = render();
    write_stereo(&dir.join("piece.wav"), &piece)?;

    let mut opening = piece[..(OPENING_SECONDS * RATE_HZ) as usize].to_vec();
    fade_out(&mut opening, 0.4);
    write_stereo(&dir.join("opening.wav"), &opening)?;

    let mut close = piece[piece.len() - (CLOSE_SECONDS * RATE_HZ) as usize..].to_vec();
    fade_in(&mut close, 0.05);
    let close = quantise(half_rate_mono(&close).into_iter());
    write_wav(&dir.join("close.wav"), RATE_HZ as u32 / 2, 1, &close)
}
