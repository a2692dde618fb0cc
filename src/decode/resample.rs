//! Sample rate conversion by a fixed rational ratio, in blocks on a grid of their own.
//!
//! The method is that of rubato's FFT resampler: a block of `input` frames is transformed, its
//! spectrum cut and filtered, and what comes back is added to the tail of the block before. A block
//! of `output` frames depends on its own input and on that of the block before it, and on nothing
//! else. So a stream that starts anywhere, one block early and on the grid, comes to the same bits as
//! a stream that started at frame 0.
//!
//! An instance of rubato's `Fft` holds transforms, filter, room to work in and copies of both blocks:
//! 126 KiB for two channels at 44.1 to 48 kHz. Only the tail is the stream's own; all else is the
//! same for every stream of a grid, and lies here once per core. A test holds the samples to rubato's,
//! bit for bit. The only file that names `rubato` and `realfft`.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    sync::Arc,
};

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex, num_complex::Complex};
use rubato::{WindowFunction, calculate_cutoff};

/// How sharp the filter is: a longer block keeps more of the band below the lower Nyquist frequency. All
/// are level to 0.00005 dB from 20 Hz to 20 kHz where that is 22.05 kHz, with THD+N and aliases of -133.9 dB
/// or less, which is the rounding of `f32` (`cargo bench --bench resample_quality`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Quality {
    /// Blocks of 588 frames at the lower rate: least delay and memory; 0.1 dB down at 21.3 of 22.05 kHz.
    Fast,
    /// Blocks of 1176 frames: 0.1 dB down at 21.7 kHz.
    #[default]
    Good,
    /// Blocks of 2352 frames: 0.1 dB down at 21.9 kHz.
    Best,
}

impl Quality {
    /// Frames of a block at the lower of the two rates, for pairs that allow it.
    fn lower_frames(self) -> u32 {
        match self {
            Self::Fast => 588,
            Self::Good => 1176,
            Self::Best => 2352,
        }
    }
}

/// Most frames of a block on either side; a pair of rates that cannot do with that is refused.
pub const MAX_BLOCK_FRAMES: u32 = 8192;

/// The rates a request may ask for, in Hz.
pub const RATES_HZ: [u32; 14] = [
    8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000, 176_400,
    192_000,
];

/// A pair of rates whose ratio needs blocks that are too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{from_hz} Hz cannot become {to_hz} Hz exactly; nearest rates that can: {}", list(nearest))]
pub struct RatesRefused {
    /// The source's rate.
    pub from_hz: u32,
    /// The rate that was asked for.
    pub to_hz: u32,
    /// Rates the source can have instead, the nearest first; its own is always one of them.
    pub nearest: Vec<u32>,
}

fn list(rates_hz: &[u32]) -> String {
    rates_hz.iter().map(|rate| format!("{rate} Hz")).collect::<Vec<_>>().join(", ")
}

/// The grid of a pair of rates: blocks of `input` frames become blocks of `output` frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Frames of a block at the source's rate. Even.
    pub input: usize,
    /// Frames of a block at the requested rate. Even.
    pub output: usize,
}

impl Blocks {
    /// The grid for a pair of rates in Hz.
    ///
    /// The block is the reduced ratio times a factor: the smallest without primes above 7 (so that
    /// the transforms stay fast) that gives the preset's length at the lower rate, less where the
    /// higher rate would pass [`MAX_BLOCK_FRAMES`]. Both sides are even, which makes the filter's
    /// delay a whole number of frames on either.
    ///
    /// # Errors
    /// A reduced ratio that exceeds [`MAX_BLOCK_FRAMES`] is refused. Rates are not zero.
    pub fn of(from_hz: u32, to_hz: u32, quality: Quality) -> Result<Self, RatesRefused> {
        let (input, output) = reduced(from_hz, to_hz);
        let (lower, higher) = (input.min(output), input.max(output));
        if higher > MAX_BLOCK_FRAMES {
            return Err(RatesRefused { from_hz, to_hz, nearest: nearest(from_hz, to_hz) });
        }
        let step = if (input | output) & 1 == 1 { 2 } else { 1 };
        let wanted = quality.lower_frames().div_ceil(lower * step);
        let most = (MAX_BLOCK_FRAMES / (higher * step)).max(1);
        let factor = step * smooth_at_least(wanted).min(smooth_at_most(most));
        Ok(Self { input: (input * factor) as usize, output: (output * factor) as usize })
    }

    /// The block whose output holds frame `frame` of the resampled timeline.
    pub fn holding(&self, frame: u64) -> u64 {
        (frame + self.delay()) / self.output as u64
    }

    /// The delay of the filter in frames of the output: half a block.
    pub fn delay(&self) -> u64 {
        self.output as u64 / 2
    }
}

/// Frames after conversion of `frames`: the ceiling of the exact ratio.
pub fn frames_out(frames: u64, from_hz: u32, to_hz: u32) -> u64 {
    let exact = (u128::from(frames) * u128::from(to_hz)).div_ceil(u128::from(from_hz.max(1)));
    u64::try_from(exact).unwrap_or(u64::MAX)
}

/// The ratio without common factors.
fn reduced(from_hz: u32, to_hz: u32) -> (u32, u32) {
    let (mut a, mut b) = (from_hz, to_hz);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (from_hz / a, to_hz / a)
}

/// Up to three rates that a source can have, by their distance to the one it cannot have.
fn nearest(from_hz: u32, to_hz: u32) -> Vec<u32> {
    let possible = |rate: &u32| {
        let (input, output) = reduced(from_hz, *rate);
        input.max(output) <= MAX_BLOCK_FRAMES && *rate != from_hz
    };
    let mut rates: Vec<u32> = RATES_HZ.into_iter().filter(possible).collect();
    rates.sort_by_key(|rate| rate.abs_diff(to_hz));
    rates.truncate(2);
    rates.push(from_hz);
    rates.sort_by_key(|rate| rate.abs_diff(to_hz));
    rates
}

fn is_smooth(mut number: u32) -> bool {
    for prime in [2, 3, 5, 7] {
        while number.is_multiple_of(prime) {
            number /= prime;
        }
    }
    number == 1
}

fn smooth_at_least(number: u32) -> u32 {
    (number..).find(|number| is_smooth(*number)).expect("a power of two is smooth")
}

fn smooth_at_most(number: u32) -> u32 {
    (1..=number).rev().find(|number| is_smooth(*number)).expect("1 is smooth")
}

/// A running conversion. Planar `f32`, one block at a time.
#[derive(Debug)]
pub struct Resampler {
    engine: Rc<Engine>,
    /// By channel: what the last block adds to the next.
    tails: Vec<Vec<f32>>,
}

impl Resampler {
    /// A resampler that has heard nothing but silence. `channels` is not zero.
    pub fn new(blocks: Blocks, channels: usize) -> Self {
        Self { engine: Engine::of(blocks), tails: vec![vec![0.0; blocks.output]; channels] }
    }

    /// The grid it runs on.
    pub fn blocks(&self) -> Blocks {
        self.engine.blocks
    }

    /// Turns each of `planes`, which holds the next block of input, into the next block of output.
    pub fn block(&mut self, planes: &mut [Vec<f32>]) {
        for (plane, tail) in planes.iter_mut().zip(&mut self.tails) {
            self.engine.turn(plane, tail);
        }
    }
}

thread_local! {
    /// Those that streams of this core run on.
    static ENGINES: RefCell<Vec<Weak<Engine>>> = const { RefCell::new(Vec::new()) };
}

/// What all streams of a core that run on one grid share. It lives as long as one of them does.
struct Engine {
    blocks: Blocks,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// The filter's spectrum.
    filter: Vec<Complex<f32>>,
    room: RefCell<Room>,
}

/// Room to work in, which keeps nothing from one block to the next.
struct Room {
    input: Vec<f32>,
    input_spectrum: Vec<Complex<f32>>,
    input_scratch: Vec<Complex<f32>>,
    output: Vec<f32>,
    output_spectrum: Vec<Complex<f32>>,
    output_scratch: Vec<Complex<f32>>,
}

impl Engine {
    /// The engine of this core for a grid.
    fn of(blocks: Blocks) -> Rc<Self> {
        ENGINES.with_borrow_mut(|engines| {
            engines.retain(|engine| engine.strong_count() > 0);
            let mut running = engines.iter().filter_map(Weak::upgrade);
            if let Some(engine) = running.find(|engine| engine.blocks == blocks) {
                return engine;
            }
            let engine = Rc::new(Self::new(blocks));
            engines.push(Rc::downgrade(&engine));
            engine
        })
    }

    fn new(blocks: Blocks) -> Self {
        let mut planner = RealFftPlanner::new();
        // Twice the block, so that what the filter smears over its end is not wrapped to its start.
        let forward = planner.plan_fft_forward(2 * blocks.input);
        let inverse = planner.plan_fft_inverse(2 * blocks.output);
        let room = Room {
            input: forward.make_input_vec(),
            input_spectrum: forward.make_output_vec(),
            input_scratch: forward.make_scratch_vec(),
            output: inverse.make_output_vec(),
            output_spectrum: inverse.make_input_vec(),
            output_scratch: inverse.make_scratch_vec(),
        };
        let filter = filter(blocks, &*forward);
        Self { blocks, forward, inverse, filter, room: room.into() }
    }

    /// Turns `plane` from a block of input into one of output, and `tail` from what the block before
    /// adds to it into what it adds to the next.
    fn turn(&self, plane: &mut Vec<f32>, tail: &mut [f32]) {
        let Blocks { input, output } = self.blocks;
        let room = &mut *self.room.borrow_mut();
        room.input[..input].copy_from_slice(plane);
        room.input[input..].fill(0.0);
        self.forward
            .process_with_scratch(
                &mut room.input,
                &mut room.input_spectrum,
                &mut room.input_scratch,
            )
            .expect("the lengths are the transform's");
        // What both rates have of the spectrum, without the lower one's Nyquist frequency.
        let common = if input < output { input + 1 } else { output };
        for ((to, from), gain) in
            room.output_spectrum.iter_mut().zip(&room.input_spectrum[..common]).zip(&self.filter)
        {
            *to = *from * *gain;
        }
        room.output_spectrum[common..].fill(Complex::ZERO);
        self.inverse
            .process_with_scratch(
                &mut room.output_spectrum,
                &mut room.output,
                &mut room.output_scratch,
            )
            .expect("the ends of a spectrum of finite samples are real");
        let (head, next_tail) = room.output.split_at(output);
        plane.clear();
        plane.extend(head.iter().zip(&*tail).map(|(new, old)| new + old));
        tail.copy_from_slice(next_tail);
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Engine").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

/// The spectrum of the filter that keeps what both rates have: a sinc as long as the block of input,
/// under a squared Blackman-Harris window, as rubato makes it.
fn filter(blocks: Blocks, forward: &dyn RealToComplex<f32>) -> Vec<Complex<f32>> {
    const WINDOW: WindowFunction = WindowFunction::BlackmanHarris2;
    let Blocks { input, output } = blocks;
    let cutoff: f32 = match input > output {
        true => calculate_cutoff::<f32>(output, WINDOW) * output as f32 / input as f32,
        false => calculate_cutoff(input, WINDOW),
    };
    let tap = |at: usize| {
        let window = blackman_harris(at, input) as f32;
        window * window * sinc((at as f32 - (input / 2) as f32) * cutoff)
    };
    let mut taps: Vec<f32> = (0..input).map(tap).collect();
    let sum: f32 = taps.iter().sum();
    taps.iter_mut().for_each(|tap| *tap = *tap / sum / (2 * input) as f32);
    taps.resize(2 * input, 0.0);
    let mut spectrum = forward.make_output_vec();
    forward.process(&mut taps, &mut spectrum).expect("the lengths are the transform's");
    spectrum
}

/// The periodic Blackman-Harris window of `length` points.
fn blackman_harris(at: usize, length: usize) -> f64 {
    let cosine = |times: f64| (times * std::f64::consts::PI * at as f64 / length as f64).cos();
    0.35875 - 0.48829 * cosine(2.0) + 0.14128 * cosine(4.0) - 0.01168 * cosine(6.0)
}

fn sinc(x: f32) -> f32 {
    let angle = x * std::f32::consts::PI;
    if x == 0.0 { 1.0 } else { angle.sin() / angle }
}

#[cfg(test)]
mod tests {
    use rubato::{
        Fft, FixedSync, Resampler as _, audioadapter_buffers::direct::SequentialSliceOfVecs,
    };

    use super::*;
    use crate::storage::random::Random;

    fn blocks(from_hz: u32, to_hz: u32, quality: Quality) -> (usize, usize) {
        let blocks = Blocks::of(from_hz, to_hz, quality).expect("possible");
        (blocks.input, blocks.output)
    }

    #[test]
    fn the_presets_are_the_measured_blocks() {
        assert_eq!(blocks(44100, 48000, Quality::Fast), (588, 640));
        assert_eq!(blocks(44100, 48000, Quality::Good), (1176, 1280));
        assert_eq!(blocks(44100, 48000, Quality::Best), (2352, 2560));
        assert_eq!(blocks(48000, 44100, Quality::Good), (1280, 1176));
        assert_eq!(blocks(96000, 44100, Quality::Good), (2560, 1176));
        assert_eq!(blocks(48000, 96000, Quality::Good), (1176, 2352));
        assert_eq!(blocks(44100, 192_000, Quality::Good), (1176, 5120));
    }

    #[test]
    fn all_offered_rates_convert_in_even_smooth_blocks() {
        for from_hz in RATES_HZ {
            for to_hz in RATES_HZ.into_iter().filter(|to_hz| *to_hz != from_hz) {
                for quality in [Quality::Fast, Quality::Good, Quality::Best] {
                    let (input, output) = blocks(from_hz, to_hz, quality);
                    for frames in [input as u32, output as u32] {
                        assert!(frames.is_multiple_of(2) && is_smooth(frames), "{from_hz} {to_hz}");
                        assert!(frames <= MAX_BLOCK_FRAMES, "{from_hz} {to_hz}");
                    }
                    let ratio = input as u64 * u64::from(to_hz);
                    assert_eq!(ratio, output as u64 * u64::from(from_hz));
                }
            }
        }
    }

    #[test]
    fn a_ratio_that_does_not_reduce_is_refused_with_its_neighbours() {
        let refused = Blocks::of(44101, 48000, Quality::Good).expect_err("48000/44101");
        assert_eq!(refused.nearest, [44101]);
        let refused = Blocks::of(32000, 44101, Quality::Good).expect_err("44101/32000");
        assert_eq!(refused.nearest, [44100, 48000, 32000]);
        assert!(refused.to_string().contains("44100 Hz, 48000 Hz"), "{refused}");
    }

    /// Blocks of noise through rubato itself.
    fn by_rubato(blocks: Blocks, noise: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let Blocks { input, output } = blocks;
        let window = WindowFunction::BlackmanHarris2;
        let mut fft =
            Fft::new_custom(input, output, input, 1, 1, window, FixedSync::Both).expect("possible");
        let turn = |block: &Vec<f32>| {
            let (from, mut into) = ([block.clone()], [vec![0.0; output]]);
            let from = SequentialSliceOfVecs::new(&from, 1, input).expect("a whole block");
            let mut to = SequentialSliceOfVecs::new_mut(&mut into, 1, output).expect("a block");
            fft.process_into_buffer(&from, &mut to, None).expect("whole blocks");
            let [block] = into;
            block
        };
        noise.iter().map(turn).collect()
    }

    #[test]
    fn samples_are_those_of_rubato_bit_for_bit() {
        let mut random = Random(3);
        let qualities = [Quality::Fast, Quality::Good, Quality::Best];
        for (from_hz, to_hz) in [
            (44100, 48000),
            (48000, 44100),
            (96000, 44100),
            (8000, 192_000),
            (22050, 48000),
            (48000, 24000),
            (11025, 96000),
            (192_000, 8000),
        ] {
            for quality in qualities {
                let blocks = Blocks::of(from_hz, to_hz, quality).expect("possible");
                let mut sample = |_| random.below(1 << 24) as f32 / 8_388_608.0 - 1.0;
                let mut noise: Vec<Vec<f32>> =
                    (0..3).map(|_| (0..blocks.input).map(&mut sample).collect()).collect();
                let expected = by_rubato(blocks, &noise);
                let mut resampler = Resampler::new(blocks, 1);
                for (block, expected) in noise.iter_mut().zip(&expected) {
                    resampler.block(std::slice::from_mut(block));
                    assert!(block == expected, "{from_hz} to {to_hz} {quality:?}");
                }
            }
        }
    }

    #[test]
    fn streams_of_a_grid_share_all_but_their_tails() {
        let (one, other) = (blocks_of(Quality::Good), blocks_of(Quality::Fast));
        let streams = [Resampler::new(one, 2), Resampler::new(one, 1), Resampler::new(other, 2)];
        assert!(Rc::ptr_eq(&streams[0].engine, &streams[1].engine));
        assert!(!Rc::ptr_eq(&streams[0].engine, &streams[2].engine));
        let engine = Rc::downgrade(&streams[0].engine);
        drop(streams);
        assert!(engine.upgrade().is_none(), "it goes with the last of them");
    }

    fn blocks_of(quality: Quality) -> Blocks {
        Blocks::of(44100, 48000, quality).expect("possible")
    }

    #[test]
    fn frames_out_is_the_ceiling() {
        assert_eq!(frames_out(0, 44100, 48000), 0);
        assert_eq!(frames_out(1, 44100, 48000), 2);
        assert_eq!(frames_out(147, 44100, 48000), 160);
        assert_eq!(frames_out(44100 * 3600, 44100, 44100), 44100 * 3600);
        assert_eq!(frames_out(u64::MAX, 1, 2), u64::MAX);
    }
}
