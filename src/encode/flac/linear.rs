//! Linear predictors computed from the signal (RFC 9639 section 9.2.6).
//!
//! Pure: samples to coefficients, and both to a residual. It is arithmetic of IEEE 754 alone, without
//! functions of a library that may round otherwise elsewhere: the same samples give the same bytes on
//! every machine.
//!
//! The coefficients are those that minimise the energy of what is left of a windowed signal: its
//! autocorrelation (Wiener, Levinson) is solved for all orders in one go (Durbin's recursion), with the
//! energy that each would leave. That tells what bits each order will take, and the least are taken.

use std::ops::Range;

use super::{effort::MAX_ORDER, rice::fold};

/// Zeros in front of the samples, so that a kernel may be longer than a predictor.
const BEFORE: usize = MAX_ORDER;
/// Zeros behind them, so that every sample has all lags.
const BEHIND: usize = MAX_ORDER + 2;
/// Bits of a coefficient, with its sign, for samples of up to 16 bits: with 17 bits of a side channel
/// and twelve products, decoders do with 32.
const PRECISION: u32 = 12;
/// The same for wider samples. 15 is the format's most.
const WIDE_PRECISION: u32 = 14;
/// The format has five bits with a sign for the shift, and forbids negative ones.
const MAX_SHIFT: i32 = 15;

/// A predictor as it was computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    /// Coefficients; the first is for the sample just before.
    coefficients: [f64; MAX_ORDER],
    order: usize,
    /// Bits that the residual and the coefficients are expected to take.
    pub(super) bits: f64,
}

/// A predictor as the format says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Predictor {
    /// Coefficients; the first is for the sample just before.
    coefficients: [i32; MAX_ORDER],
    pub(super) order: usize,
    /// Bits of a coefficient.
    pub(super) precision: u32,
    /// The sum of products is divided by two to this.
    pub(super) shift: u32,
}

/// Memory for samples as floating-point numbers.
pub(super) struct Scratch(Vec<f64>);

impl Scratch {
    pub(super) fn new(block: usize) -> Self {
        Self(Vec::with_capacity(BEFORE + block + BEHIND))
    }

    /// The samples between zeros.
    fn fill(&mut self, samples: impl Iterator<Item = f64>) {
        self.0.clear();
        self.0.extend([0.0; BEFORE]);
        self.0.extend(samples);
        self.0.extend([0.0; BEHIND]);
    }

    /// The best predictor of up to `order` by what is seen through a window over `part` of the samples.
    ///
    /// `None` where there is nothing to predict by: silence, or too few samples.
    pub(super) fn model(
        &mut self,
        samples: &[i32],
        part: Range<usize>,
        order: usize,
        depth: u32,
    ) -> Option<Model> {
        if part.len() <= 2 * MAX_ORDER {
            return None;
        }
        let energy = self.window(&samples[part]);
        let seen = &self.0[BEFORE..];
        let lags = if order <= 8 { correlate::<10>(seen) } else { correlate::<14>(seen) };
        let silent = lags[0] <= 0.0;
        (!silent).then(|| solve(&lags, order, energy, samples.len(), depth))
    }

    /// Fills in the samples through a window; gives the window's energy.
    ///
    /// It is flat over its middle half and falls off to both ends, as Tukey's with 0.5 does, by a cubic
    /// instead of a cosine.
    fn window(&mut self, samples: &[i32]) -> f64 {
        let slope = samples.len() / 4;
        let step = 1.0 / (slope as f64 + 1.0);
        let weight = |index: usize| {
            let x = (index as f64 + 1.0) * step;
            x * x * (3.0 - 2.0 * x)
        };
        let (rise, rest) = samples.split_at(slope);
        let (flat, fall) = rest.split_at(rest.len() - slope);
        let rising = rise.iter().enumerate().map(|(index, x)| f64::from(*x) * weight(index));
        let falling = fall.iter().enumerate();
        let falling = falling.map(|(index, x)| f64::from(*x) * weight(slope - 1 - index));
        self.fill(rising.chain(flat.iter().map(|x| f64::from(*x))).chain(falling));
        // The square of the slope has the area 13/35.
        flat.len() as f64 + 2.0 * slope as f64 * (13.0 / 35.0)
    }

    /// Puts what a predictor leaves of the samples behind the first `order` into `residual`, folded.
    /// False where a number is beyond what the format allows (RFC 9639 section 9.2.7.3).
    pub(super) fn residual(
        &mut self,
        samples: &[i32],
        predictor: &Predictor,
        residual: &mut Vec<u32>,
    ) -> bool {
        self.fill(samples.iter().map(|sample| f64::from(*sample)));
        residual.clear();
        residual.resize(samples.len() - predictor.order, 0);
        let first = BEFORE + predictor.order;
        match predictor.order {
            ..=8 => Kernel::<8>::new(predictor).run(&self.0, first, residual),
            _ => Kernel::<MAX_ORDER>::new(predictor).run(&self.0, first, residual),
        }
    }
}

/// The autocorrelation of what is followed by zeros, at `LAGS` lags.
///
/// The lags lie beside each other in vectors, so that the order of additions is the same in every
/// build.
fn correlate<const LAGS: usize>(samples: &[f64]) -> [f64; MAX_ORDER + 1] {
    let mut sums = [0.0; LAGS];
    for ahead in samples.windows(LAGS) {
        for (sum, later) in sums.iter_mut().zip(ahead) {
            *sum += ahead[0] * later;
        }
    }
    std::array::from_fn(|lag| sums.get(lag).copied().unwrap_or(0.0))
}

/// Durbin's recursion over all orders; gives the predictor that is expected to take the least bits.
fn solve(lags: &[f64], most: usize, energy: f64, count: usize, depth: u32) -> Model {
    let precision = precision(depth);
    let mut coefficients = [0.0; MAX_ORDER];
    let mut left = lags[0];
    let mut best = Model { coefficients, order: 0, bits: f64::INFINITY };
    for order in 1..=most {
        let known = &coefficients[..order - 1];
        let products = known.iter().zip(lags[1..order].iter().rev()).map(|(c, lag)| c * lag);
        let reflection = (lags[order] - products.sum::<f64>()) / left;
        let before = coefficients;
        for index in 0..order - 1 {
            coefficients[index] -= reflection * before[order - 2 - index];
        }
        coefficients[order - 1] = reflection;
        left *= 1.0 - reflection * reflection;
        // Rounding has eaten what was left: the signal is predicted as well as can be said.
        if left.is_nan() || left <= 0.0 {
            break;
        }
        let bits = residual_bits(left / energy) * (count - order) as f64
            + order as f64 * f64::from(precision + depth);
        if bits < best.bits {
            best = Model { coefficients, order, bits };
        }
    }
    best
}

/// Bits that a number of that mean square is expected to take in Rice codes: the entropy of a Laplacian
/// distribution, `log2(e * sqrt(2 * variance))`, and what such codes lose.
pub(super) fn residual_bits(mean_square: f64) -> f64 {
    const LOSS: f64 = 0.03;
    (0.5 * log2(mean_square.max(1e-9)) + 1.942_695 + LOSS).max(1.0)
}

/// The binary logarithm to 1e-5, by arithmetic alone.
fn log2(value: f64) -> f64 {
    const MANTISSA_BITS: u64 = (1 << 52) - 1;
    let mantissa = f64::from_bits(value.to_bits() & MANTISSA_BITS | 1.0_f64.to_bits());
    // The series of the inverse hyperbolic tangent.
    let x = (mantissa - 1.0) / (mantissa + 1.0);
    let (square, scale) = (x * x, 2.0 * std::f64::consts::LOG2_E);
    let series = 1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square / 7.0));
    f64::from(exponent(value)) + scale * x * series
}

/// The power of two at or below a positive number.
fn exponent(value: f64) -> i32 {
    (value.to_bits() >> 52) as i32 - 1023
}

fn precision(depth: u32) -> u32 {
    if depth <= 17 { PRECISION } else { WIDE_PRECISION }
}

impl Model {
    /// The predictor in whole numbers; `None` where coefficients vanish or are none.
    pub(super) fn quantise(&self, depth: u32) -> Option<Predictor> {
        let precision = precision(depth);
        let used = &self.coefficients[..self.order];
        let largest = used.iter().fold(0.0, |most: f64, c| most.max(c.abs()));
        if !(largest > 0.0 && largest.is_finite()) {
            return None;
        }
        let most = (1 << (precision - 1)) - 1;
        // The power of two above the largest coefficient leaves room for all of them.
        let shift = (precision as i32 - 2 - exponent(largest)).clamp(0, MAX_SHIFT);
        let mut predictor = Predictor {
            coefficients: [0; MAX_ORDER],
            order: self.order,
            precision,
            shift: shift as u32,
        };
        let scale = f64::from(1 << shift);
        let mut carried = 0.0;
        for (whole, coefficient) in predictor.coefficients.iter_mut().zip(used) {
            // What rounding takes of one is given to the next, so that the sum of all keeps its value.
            carried += coefficient * scale;
            *whole = (carried.round() as i32).clamp(-most - 1, most);
            carried -= f64::from(*whole);
        }
        Some(predictor)
    }
}

impl Predictor {
    /// Those in use; the first is for the sample just before.
    pub(super) fn coefficients(&self) -> &[i32] {
        &self.coefficients[..self.order]
    }
}

/// A sum with this is rounded to a whole number: there is no room behind the point.
const WHOLE: f64 = (3_u64 << 51) as f64;
/// Samples that are predicted side by side.
const LANES: usize = 8;

/// A predictor for samples in floating point.
///
/// Numbers of 64 bits hold all sums exactly: twelve products of 25 and 14 bits have 43. So one kernel
/// serves all widths, and every processor has vectors of them.
struct Kernel<const TAPS: usize> {
    /// Coefficients; the last is for the sample just before.
    taps: [f64; TAPS],
    start: f64,
    scale: f64,
    /// What was left so far, so that its upper half tells whether any of it was beyond 32 bits.
    beyond: u64,
}

impl<const TAPS: usize> Kernel<TAPS> {
    fn new(predictor: &Predictor) -> Self {
        let mut taps = [0.0; TAPS];
        for (tap, coefficient) in taps.iter_mut().rev().zip(predictor.coefficients()) {
            *tap = f64::from(*coefficient);
        }
        let unit = f64::from(1 << predictor.shift);
        // Half a unit less, and half of the least difference more: what is rounded to the nearest whole
        // number then is rounded down.
        Self { taps, start: 0.5 - 0.5 * unit, scale: 1.0 / unit, beyond: 0 }
    }

    /// Puts what is left of the samples from `first` on into `residual`, folded; false where the format
    /// does not allow that.
    fn run(mut self, samples: &[f64], first: usize, residual: &mut [u32]) -> bool {
        let past = &samples[first - TAPS..first + residual.len()];
        let (chunks, rest) = residual.as_chunks_mut::<LANES>();
        let mut at = 0;
        for chunk in chunks {
            *chunk = self.left(&past[at..at + TAPS + LANES]);
            at += LANES;
        }
        for one in rest {
            [*one] = self.left(&past[at..at + TAPS + 1]);
            at += 1;
        }
        // In all that fit 32 bits this is less than 2^32; the least number that fits is forbidden too.
        self.beyond >> 32 == 0 && residual.iter().all(|folded| *folded != u32::MAX)
    }

    /// What is left of the `N` samples behind the first `TAPS`, folded.
    #[inline(always)]
    fn left<const N: usize>(&mut self, samples: &[f64]) -> [u32; N] {
        let mut sums = [self.start; N];
        for (tap, past) in self.taps.iter().zip(samples.windows(N)) {
            for (sum, sample) in sums.iter_mut().zip(past) {
                *sum += sample * tap;
            }
        }
        let mut left = [0; N];
        for ((left, sum), now) in left.iter_mut().zip(sums).zip(&samples[TAPS..]) {
            let predicted = (sum * self.scale + WHOLE) - WHOLE;
            let bits = (now - predicted + WHOLE).to_bits().wrapping_sub(WHOLE.to_bits());
            self.beyond |= bits.wrapping_add(1 << 31);
            *left = fold(bits as u32 as i32);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 4096;

    fn tone(frequencies: &[f64], amplitude: f64) -> Vec<i32> {
        let share = amplitude / frequencies.len() as f64;
        let sample =
            |index: usize| frequencies.iter().map(|f| (f * index as f64).sin() * share).sum();
        (0..BLOCK).map(|index| f64::round(sample(index)) as i32).collect()
    }

    fn predictor(samples: &[i32], order: usize, depth: u32) -> Predictor {
        let model = Scratch::new(BLOCK).model(samples, 0..samples.len(), order, depth);
        model.expect("a signal").quantise(depth).expect("coefficients")
    }

    /// What is left, by the format's document in whole numbers.
    fn left(samples: &[i32], predictor: &Predictor) -> Vec<u32> {
        let order = predictor.order;
        let left = |index: usize| {
            let past = samples[index - order..index].iter().rev();
            let products =
                past.zip(predictor.coefficients()).map(|(s, c)| i64::from(*s) * i64::from(*c));
            i64::from(samples[index]) - (products.sum::<i64>() >> predictor.shift)
        };
        (order..samples.len()).map(|index| fold(i32::try_from(left(index)).unwrap())).collect()
    }

    #[test]
    fn the_residual_is_that_of_whole_numbers() {
        for (order, depth) in [(1, 16), (6, 16), (8, 17), (8, 24), (12, 25)] {
            let amplitude = f64::from((1 << (depth - 1)) - 1);
            for frequencies in [&[0.01][..], &[0.3, 0.31, 1.7], &[3.0, 0.002]] {
                let samples = tone(frequencies, amplitude);
                let predictor = predictor(&samples, order, depth);
                let mut residual = Vec::new();
                assert!(Scratch::new(BLOCK).residual(&samples, &predictor, &mut residual));
                assert_eq!(residual, left(&samples, &predictor), "{order} {depth} {frequencies:?}");
            }
        }
    }

    #[test]
    fn a_residual_beyond_32_bits_is_seen() {
        let mut samples = vec![0; 64];
        let mut coefficients = [0; MAX_ORDER];
        coefficients[0] = -(1 << 13);
        let predictor = Predictor { coefficients, order: 1, precision: 14, shift: 0 };
        let mut allowed = |sample: i32| {
            samples[20] = sample;
            Scratch::new(64).residual(&samples, &predictor, &mut Vec::new())
        };
        // Left of the sample behind it is 2^13 of these.
        assert!(allowed((1 << 18) - 1) && !allowed(1 << 18) && !allowed(1 << 22));
        // The least number of 32 bits is forbidden.
        assert!(allowed(1 - (1 << 18)) && !allowed(-(1 << 18)) && !allowed(-(1 << 22)));
    }

    #[test]
    fn two_tones_leave_half_a_percent() {
        let samples = tone(&[0.2, 0.9], 20_000.0);
        let predictor = predictor(&samples, 8, 16);
        let left = left(&samples, &predictor);
        let mean = left.iter().map(|folded| f64::from(*folded)).sum::<f64>() / left.len() as f64;
        assert!(mean < 100.0, "{mean} of 20000");
    }

    #[test]
    fn silence_and_few_samples_have_no_model() {
        let mut scratch = Scratch::new(BLOCK);
        assert!(scratch.model(&[0; BLOCK], 0..BLOCK, 8, 16).is_none());
        assert!(scratch.model(&[5; 24], 0..24, 8, 16).is_none());
        assert!(scratch.model(&[5; 25], 0..25, 8, 16).is_some());
    }

    #[test]
    fn the_logarithm_is_close() {
        for value in [1e-9, 0.3, 0.999, 1.0, 1.5, 2.0, 12_345.678, 1e15] {
            assert!((log2(value) - value.log2()).abs() < 1e-4, "{value}");
        }
    }

    #[test]
    fn coefficients_fit_their_bits() {
        for depth in [16, 24] {
            for frequency in [1e-3, 0.1, 3.1] {
                let predictor = predictor(&tone(&[frequency], 30_000.0), 12, depth);
                let most = 1 << (predictor.precision - 1);
                let fits = |c: &i32| (-most..most).contains(c);
                assert!(predictor.coefficients().iter().all(fits), "{predictor:?}");
            }
        }
    }
}
