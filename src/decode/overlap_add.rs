//! The resampler: blocks through their spectrum, added where they overlap.
//!
//! The only file that names `realfft`. A block of input, with as much silence behind it, becomes a
//! spectrum; the low-pass is a product there, and the other rate a longer or a shorter spectrum.
//! Back in time it is two blocks of output long: the second is added to what comes next.
//!
//! The arithmetic is that of rubato's `Fft` (MIT), to the bit; a test holds it to that. rubato gives
//! each resampler its own transforms, filter and work space, 150 KiB for stereo of 44.1 to 48 kHz.
//! Of these only the overlap belongs to a stream, 5 KiB a channel. The rest is a [`Plan`], and the
//! streams of a core that convert the same pair of rates share it.

use std::{
    cell::RefCell,
    f64::consts::PI,
    rc::{Rc, Weak},
    sync::Arc,
};

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex, num_complex::Complex};

use super::resample::Blocks;

/// A running conversion. Planar `f32`, one block of one channel at a time.
pub struct Resampler {
    plan: Rc<Plan>,
    /// By channel: the end of the block before, which reaches into the next.
    overlaps: Vec<Vec<f32>>,
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Resampler").field("blocks", &self.blocks()).finish_non_exhaustive()
    }
}

impl Resampler {
    /// A resampler that has heard nothing but silence.
    pub fn new(blocks: Blocks, channels: usize) -> Self {
        Self { plan: Plan::shared(blocks), overlaps: vec![vec![0.0; blocks.output]; channels] }
    }

    /// The grid it runs on.
    pub fn blocks(&self) -> Blocks {
        self.plan.blocks
    }

    /// Turns the next block of `channel`, which `fill` writes, into the next of `output`.
    pub fn block(&mut self, channel: usize, fill: impl FnOnce(&mut [f32]), output: &mut [f32]) {
        self.plan.convert(fill, &mut self.overlaps[channel], output);
    }
}

/// What conversions between one pair of rates have in common.
struct Plan {
    blocks: Blocks,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// Spectrum of the low-pass, with the transforms' scale in it.
    filter: Vec<Complex<f32>>,
    work: RefCell<Work>,
}

/// What one block needs while it is converted.
struct Work {
    /// Two blocks of input.
    input: Vec<f32>,
    /// The spectrum of either side.
    spectrum: Vec<Complex<f32>>,
    /// Two blocks of output.
    output: Vec<f32>,
    scratch: Vec<Complex<f32>>,
}

thread_local! {
    /// Plans that live on this core; as many as there are pairs of rates in use, and dead ones until
    /// the next is made.
    static PLANS: RefCell<Vec<Weak<Plan>>> = const { RefCell::new(Vec::new()) };
}

impl Plan {
    /// The plan that others on this core use, or a new one.
    fn shared(blocks: Blocks) -> Rc<Self> {
        PLANS.with_borrow_mut(|plans| {
            let alive = plans.iter().filter_map(Weak::upgrade).find(|plan| plan.blocks == blocks);
            alive.unwrap_or_else(|| {
                let plan = Rc::new(Self::new(blocks));
                plans.retain(|plan| plan.strong_count() > 0);
                plans.push(Rc::downgrade(&plan));
                plan
            })
        })
    }

    fn new(blocks: Blocks) -> Self {
        let Blocks { input, output } = blocks;
        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(2 * input);
        let inverse = planner.plan_fft_inverse(2 * output);
        let mut work = Work {
            input: low_pass(blocks),
            spectrum: vec![Complex::ZERO; input.max(output) + 1],
            output: vec![0.0; 2 * output],
            scratch: vec![Complex::ZERO; forward.get_scratch_len().max(inverse.get_scratch_len())],
        };
        work.transform(&*forward);
        let filter = work.spectrum[..=input].to_vec();
        Self { blocks, forward, inverse, filter, work: RefCell::new(work) }
    }

    fn convert(&self, fill: impl FnOnce(&mut [f32]), overlap: &mut [f32], output: &mut [f32]) {
        let mut work = self.work.borrow_mut();
        let (block, silence) = work.input.split_at_mut(self.blocks.input);
        fill(block);
        silence.fill(0.0);
        work.transform(&*self.forward);
        // Of two lengths, the bins of the shorter; its last one, at its Nyquist frequency, only where
        // the other spectrum has a place for it.
        let bins = self.blocks.output.min(self.blocks.input + 1);
        let (band, above) = work.spectrum[..=self.blocks.output].split_at_mut(bins);
        band.iter_mut().zip(&self.filter).for_each(|(bin, filter)| *bin *= filter);
        above.fill(Complex::ZERO);
        work.transform_back(&*self.inverse);
        let (now, later) = work.output.split_at(self.blocks.output);
        for ((out, now), before) in output.iter_mut().zip(now).zip(&*overlap) {
            *out = now + before;
        }
        overlap.copy_from_slice(later);
    }
}

impl Work {
    fn transform(&mut self, forward: &dyn RealToComplex<f32>) {
        let spectrum = &mut self.spectrum[..forward.complex_len()];
        let scratch = &mut self.scratch[..forward.get_scratch_len()];
        let done = forward.process_with_scratch(&mut self.input, spectrum, scratch);
        debug_assert!(done.is_ok(), "{done:?}");
    }

    fn transform_back(&mut self, inverse: &dyn ComplexToReal<f32>) {
        let spectrum = &mut self.spectrum[..inverse.complex_len()];
        let scratch = &mut self.scratch[..inverse.get_scratch_len()];
        let done = inverse.process_with_scratch(spectrum, &mut self.output, scratch);
        debug_assert!(done.is_ok(), "{done:?}");
    }
}

/// The low-pass in time, one block long, with a block of silence behind it: a sinc under a squared
/// Blackman-Harris window.
fn low_pass(blocks: Blocks) -> Vec<f32> {
    let Blocks { input, output } = blocks;
    let relative_cutoff = match input > output {
        true => cutoff(output) * output as f32 / input as f32,
        false => cutoff(input),
    };
    let tap = |frame: usize| {
        let window = blackman_harris(frame, input) as f32;
        window * window * sinc((frame as f32 - (input / 2) as f32) * relative_cutoff)
    };
    let taps: Vec<f32> = (0..input).map(tap).collect();
    let sum = taps.iter().fold(0.0, |sum: f32, tap| sum + tap);
    let mut filter: Vec<f32> = taps.into_iter().map(|tap| tap / sum / (2 * input) as f32).collect();
    filter.resize(2 * input, 0.0);
    filter
}

/// Where the low-pass begins to cut, relative to the Nyquist frequency, for a window of `frames`:
/// rubato's fit for this window.
fn cutoff(frames: usize) -> f32 {
    let frames = frames as f32;
    let [a, b, c] = [13.745_202_940_783_823_f64, 121.735_325_863_749_34, 5_964.163_279_612_051]
        .map(|constant| constant as f32);
    1.0 / (a / frames + b / (frames * frames) + c / (frames * frames * frames) + 1.0)
}

/// The periodic window of four terms (F. J. Harris, 1978).
fn blackman_harris(frame: usize, frames: usize) -> f64 {
    let (frame, frames) = (frame as f64, frames as f64);
    let term = |times: f64| (times * PI * frame / frames).cos();
    0.35875 - 0.48829 * term(2.0) + 0.14128 * term(4.0) - 0.01168 * term(6.0)
}

fn sinc(x: f32) -> f32 {
    use std::f32::consts::PI;
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

#[cfg(test)]
mod tests {
    use rubato::{
        Fft, FixedSync, Resampler as _, WindowFunction,
        audioadapter_buffers::direct::SequentialSliceOfVecs,
    };

    use super::*;
    use crate::{
        decode::{Quality, RATES_HZ},
        storage::random::Random,
    };

    const BLOCKS: usize = 3;

    fn noise(frames: usize) -> Vec<f32> {
        let mut random = Random(frames as u64);
        (0..frames).map(|_| random.below(1 << 24) as f32 / 8_388_608.0 - 1.0).collect()
    }

    fn ours(blocks: Blocks, input: &[f32]) -> Vec<f32> {
        let mut resampler = Resampler::new(blocks, 1);
        let mut output = vec![0.0; blocks.output];
        let block = |block: &[f32]| {
            resampler.block(0, |into| into.copy_from_slice(block), &mut output);
            output.clone()
        };
        input.chunks_exact(blocks.input).flat_map(block).collect()
    }

    fn theirs(blocks: Blocks, input: &[f32]) -> Vec<f32> {
        let Blocks { input: frames, output } = blocks;
        let window = WindowFunction::BlackmanHarris2;
        let fft = Fft::new_custom(frames, output, frames, 1, 1, window, FixedSync::Both);
        let mut fft = fft.expect("sizes are positive");
        let block = |block: &[f32]| {
            let (input, mut output) = ([block.to_vec()], [vec![0.0; output]]);
            let length = output[0].len();
            let input = SequentialSliceOfVecs::new(&input, 1, frames).expect("a block");
            let mut into = SequentialSliceOfVecs::new_mut(&mut output, 1, length).expect("a block");
            fft.process_into_buffer(&input, &mut into, None).expect("blocks");
            let [output] = output;
            output
        };
        input.chunks_exact(frames).flat_map(block).collect()
    }

    #[test]
    fn every_pair_of_rates_comes_to_the_bits_of_rubato() {
        for (index, from_hz) in RATES_HZ.into_iter().enumerate() {
            for to_hz in RATES_HZ.into_iter().filter(|to_hz| *to_hz != from_hz) {
                let quality = [Quality::Fast, Quality::Good, Quality::Best][index % 3];
                let blocks = Blocks::of(from_hz, to_hz, quality).expect("an offered rate");
                let input = noise(BLOCKS * blocks.input);
                assert!(ours(blocks, &input) == theirs(blocks, &input), "{from_hz} to {to_hz}");
            }
        }
    }

    #[test]
    fn resamplers_of_one_pair_share_a_plan_and_the_last_one_drops_it() {
        let blocks = Blocks { input: 14, output: 18 };
        let (a, b) = (Resampler::new(blocks, 1), Resampler::new(blocks, 2));
        assert!(Rc::ptr_eq(&a.plan, &b.plan));
        let plan = Rc::downgrade(&a.plan);
        drop((a, b));
        assert!(plan.upgrade().is_none());
        let _next = Resampler::new(Blocks { input: 18, output: 14 }, 1);
        assert_eq!(PLANS.with_borrow(Vec::len), 1);
    }
}
