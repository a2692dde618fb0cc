//! Random numbers for the tests of every layer: a seed that fails is all that is needed to repeat it.

use std::{env, ops::Range, panic::RefUnwindSafe};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A range inside `0..bound`, now and then an empty one.
    pub(crate) fn range(&mut self, bound: u64) -> Range<u64> {
        let start = self.below(bound);
        start..start + self.below(bound - start + 1)
    }
}

/// Tries a history with each of so many seeds, or of `SEEDS`; `FIRST_SEED` lets processes share the
/// work, and `SEED` repeats the one that failed.
pub(crate) fn for_each_seed(seeds: u64, history: impl Fn(u64) + RefUnwindSafe) {
    let number = |name: &str| -> Option<u64> { env::var(name).ok()?.parse().ok() };
    let first = number("FIRST_SEED").unwrap_or(1);
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("SEEDS").unwrap_or(seeds),
    };
    for seed in seeds {
        let told = std::panic::catch_unwind(|| history(seed));
        assert!(told.is_ok(), "SEED={seed} repeats it");
    }
}
