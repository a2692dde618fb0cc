//! Sample rate conversion by a fixed rational ratio, in blocks on a grid of their own.
//!
//! The only file that names `rubato`. Its FFT resampler turns blocks of `input` frames into blocks
//! of `output` frames; a block depends on its own input and on that of the block before it, and on
//! nothing else. So a stream that starts anywhere, one block early and on the grid, comes to the
//! same bits as a stream that started at frame 0.

use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

/// How sharp the filter is: a longer block keeps more of the band below the lower Nyquist frequency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Quality {
    /// Blocks of 588 frames at the lower rate: least delay and memory.
    Fast,
    /// Blocks of 1176 frames: flat to 20 kHz at 44.1 kHz.
    #[default]
    Good,
    /// Blocks of 2352 frames.
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
pub struct Resampler {
    fft: Fft<f32>,
    blocks: Blocks,
    channels: usize,
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Resampler").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

impl Resampler {
    /// A resampler that has heard nothing but silence. `channels` is not zero.
    pub fn new(blocks: Blocks, channels: usize) -> Self {
        let fft = Fft::new_custom(
            blocks.input,
            blocks.output,
            blocks.input,
            1,
            channels,
            WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .expect("block sizes are positive");
        debug_assert_eq!(fft.input_frames_next() % blocks.input, 0);
        Self { fft, blocks, channels }
    }

    /// The grid it runs on.
    pub fn blocks(&self) -> Blocks {
        self.blocks
    }

    /// Turns the next block of `input` into the next of `output`; planes have at least the frames of
    /// a block on their side.
    pub fn block(&mut self, input: &[Vec<f32>], output: &mut [Vec<f32>]) {
        let input = SequentialSliceOfVecs::new(input, self.channels, self.blocks.input);
        let output = SequentialSliceOfVecs::new_mut(output, self.channels, self.blocks.output);
        let (input, mut output) = (input.expect("a whole block"), output.expect("a whole block"));
        let done = self.fft.process_into_buffer(&input, &mut output, None);
        debug_assert!(
            matches!(done, Ok(sizes) if sizes == (self.blocks.input, self.blocks.output))
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn frames_out_is_the_ceiling() {
        assert_eq!(frames_out(0, 44100, 48000), 0);
        assert_eq!(frames_out(1, 44100, 48000), 2);
        assert_eq!(frames_out(147, 44100, 48000), 160);
        assert_eq!(frames_out(44100 * 3600, 44100, 44100), 44100 * 3600);
        assert_eq!(frames_out(u64::MAX, 1, 2), u64::MAX);
    }
}
