//! What is played: 600 s of audio in seven variants.

use super::{Random, unit};

/// What the variants take, bits per second.
pub const LADDER: [f64; 7] = [32e3, 64e3, 96e3, 128e3, 192e3, 256e3, 320e3];

/// How much of it there is, seconds.
pub const MEDIA: f64 = 600.0;

/// How far a segment may be from what its variant takes.
const VARIATION: f64 = 0.06;

/// A presentation with the sizes of all its segments.
pub struct Media {
    /// Length of a segment, seconds.
    pub segment: f64,
    /// Of each segment the bits in each variant.
    pub bits: Vec<[f64; LADDER.len()]>,
}

impl Media {
    /// Segments of that length, their sizes from that seed.
    pub fn new(segment: f64, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut varied =
            |rate: f64| rate * segment * (1.0 + VARIATION * (2.0 * unit(&mut random) - 1.0));
        let count = (MEDIA / segment).round() as usize;
        let bits = (0..count).map(|_| LADDER.map(&mut varied)).collect();
        Self { segment, bits }
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.bits.len()
    }
}

/// What a second of a variant is worth: the logarithm of its rate, 0 for the lowest.
pub fn utility(variant: usize) -> f64 {
    (LADDER[variant] / LADDER[0]).ln()
}
