//! The five fixed predictors (RFC 9639 section 9.2.5).
//!
//! Pure: samples to differences.
//!
//! That of order n is right where the n-th difference of the samples is zero, and what it leaves is
//! that difference.

use super::{linear::residual_bits, rice::fold};

/// The longest of them.
pub(super) const MAX_FIXED_ORDER: usize = 4;

/// The order whose residual is smallest, and the mean size of what it leaves.
pub(super) fn best(samples: &[i32]) -> (usize, f64) {
    let sums = sums(samples);
    let count = samples.len().saturating_sub(MAX_FIXED_ORDER).max(1) as f64;
    let most = MAX_FIXED_ORDER.min(samples.len().saturating_sub(1));
    let order = (0..=most).min_by_key(|order| sums[*order]).unwrap_or(0);
    (order, sums[order] as f64 / count)
}

/// Bits that a residual of that mean size, without signs, and the samples in front of it are expected
/// to take.
pub(super) fn expected_bits(mean: f64, count: usize, order: usize, depth: u32) -> f64 {
    // A Laplacian distribution of that mean has this variance.
    let left = residual_bits(2.0 * mean * mean) * (count - order) as f64;
    left + order as f64 * f64::from(depth)
}

/// Samples that are looked at side by side.
const LANES: usize = 8;
/// Samples of which sums have room in 32 bits: eight in each lane, of 28 bits.
const RUN: usize = 8 * LANES;

/// The sums of what each order leaves, without signs, over the samples that all of them predict.
fn sums(samples: &[i32]) -> [u64; MAX_FIXED_ORDER + 1] {
    let mut sums = [0; MAX_FIXED_ORDER + 1];
    let mut rest = samples;
    while rest.len() > MAX_FIXED_ORDER {
        let mut run = &rest[..rest.len().min(RUN + MAX_FIXED_ORDER)];
        let mut lanes = [[0; LANES]; MAX_FIXED_ORDER + 1];
        while run.len() >= LANES + MAX_FIXED_ORDER {
            add(&mut lanes, run);
            run = &run[LANES..];
        }
        for (sum, lanes) in sums.iter_mut().zip(lanes) {
            *sum += lanes.iter().map(|lane| u64::from(*lane)).sum::<u64>();
        }
        while run.len() > MAX_FIXED_ORDER {
            let mut lane = [[0; 1]; MAX_FIXED_ORDER + 1];
            add(&mut lane, run);
            for (sum, [lane]) in sums.iter_mut().zip(lane) {
                *sum += u64::from(lane);
            }
            run = &run[1..];
        }
        rest = &rest[(rest.len() - MAX_FIXED_ORDER).min(RUN)..];
    }
    sums
}

/// Adds what each order leaves of `N` samples behind [`MAX_FIXED_ORDER`].
#[inline(always)]
fn add<const N: usize>(sums: &mut [[u32; N]; MAX_FIXED_ORDER + 1], samples: &[i32]) {
    let past: [&[i32; N]; MAX_FIXED_ORDER + 1] =
        std::array::from_fn(|at| samples[at..].first_chunk().expect("there are N behind each"));
    for lane in 0..N {
        let [a, b, c, d, e] = past.map(|samples| samples[lane]);
        sums[0][lane] += e.unsigned_abs();
        sums[1][lane] += first([d, e]).unsigned_abs();
        sums[2][lane] += second([c, d, e]).unsigned_abs();
        sums[3][lane] += third([b, c, d, e]).unsigned_abs();
        sums[4][lane] += fourth([a, b, c, d, e]).unsigned_abs();
    }
}

// Samples have at most 25 bits, with a sign, so that a fourth difference has 29.

fn first([a, b]: [i32; 2]) -> i32 {
    b - a
}

fn second([a, b, c]: [i32; 3]) -> i32 {
    c - 2 * b + a
}

fn third([a, b, c, d]: [i32; 4]) -> i32 {
    d - 3 * (c - b) - a
}

fn fourth([a, b, c, d, e]: [i32; 5]) -> i32 {
    e - 4 * (d + b) + 6 * c + a
}

/// Puts what the predictor of `order` leaves of the samples behind the first `order` into `residual`,
/// folded.
pub(super) fn residual(samples: &[i32], order: usize, residual: &mut Vec<u32>) {
    match order {
        0 => fill(samples, residual, |[a]| a),
        1 => fill(samples, residual, first),
        2 => fill(samples, residual, second),
        3 => fill(samples, residual, third),
        _ => fill(samples, residual, fourth),
    }
}

/// Folds what `left` makes of every `N` samples in a row.
fn fill<const N: usize>(samples: &[i32], residual: &mut Vec<u32>, left: impl Fn([i32; N]) -> i32) {
    residual.clear();
    let windows = samples.windows(N).map(|window| window.try_into().expect("N samples"));
    residual.extend(windows.map(|window| fold(left(window))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_polynomial_leaves_nothing_at_its_degree_and_one() {
        for degree in 0..4_u32 {
            let samples: Vec<i32> = (1..60_i32).map(|x| x.pow(degree) + 7).collect();
            let (order, mean) = best(&samples);
            assert_eq!((order, mean), (degree as usize + 1, 0.0));
            let mut left = Vec::new();
            residual(&samples, order, &mut left);
            assert_eq!(left, vec![0; 59 - order]);
        }
    }

    #[test]
    fn the_extremes_of_25_bits_fit() {
        let samples: Vec<i32> = (0..64).map(|x| [-(1 << 24), (1 << 24) - 1][x % 2]).collect();
        assert_eq!(best(&samples).0, 0);
        let mut left = Vec::new();
        residual(&samples, 4, &mut left);
        let most = 8 * ((1 << 25) - 1);
        assert_eq!(left[..2], [fold(-most), fold(most)]);
    }

    #[test]
    fn few_samples_have_short_predictors() {
        for count in 1..8 {
            let samples: Vec<i32> = (0..count).map(|x| x * x * 100).collect();
            assert!(best(&samples).0 < count as usize);
        }
    }
}
