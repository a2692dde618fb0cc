//! The variants of a presentation in the order of what they take.
//!
//! Pure.

use super::{Mode, VariantIndex};

/// How many variants a choice weighs. Of more, so many are taken evenly: neighbours among that many hardly differ,
/// and a choice has to fit a slice of the core's time.
pub(super) const RUNGS: usize = 16;

/// The variants of a presentation, lowest first. Sessions of one presentation can share it.
#[derive(Debug)]
pub struct Ladder(Box<[Rung]>);

/// A variant in the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rung {
    pub(super) variant: VariantIndex,
    /// Bits per second.
    pub(super) bandwidth: u64,
}

impl Ladder {
    /// Of variants in playlist order, each with its mean bandwidth in bits per second, or the peak where the
    /// playlist says no mean.
    ///
    /// # Panics
    /// When there are more than 64, the limit of a playlist.
    pub fn new(bandwidths: &[u64]) -> Self {
        assert!(bandwidths.len() <= Lost::MOST, "a playlist has at most {} variants", Lost::MOST);
        let rung = |(at, &bandwidth): (usize, &u64)| Rung {
            variant: VariantIndex(at as u8),
            bandwidth: bandwidth.max(1),
        };
        let mut rungs: Box<[_]> = bandwidths.iter().enumerate().map(rung).collect();
        rungs.sort_by_key(|rung| rung.bandwidth);
        Self(rungs)
    }

    /// Those that `mode` allows, the one first that takes most.
    pub fn best_first(&self, mode: Mode) -> impl Iterator<Item = VariantIndex> {
        let rungs = self.usable(mode, Lost::default());
        let variants: Vec<_> = rungs.as_slice().iter().rev().map(|rung| rung.variant).collect();
        variants.into_iter()
    }

    /// What a variant takes, in bits per second.
    pub fn bandwidth(&self, variant: VariantIndex) -> u64 {
        self.rung(variant).map_or(0, |rung| rung.bandwidth)
    }

    /// A variant of it.
    pub(super) fn rung(&self, variant: VariantIndex) -> Option<Rung> {
        self.0.iter().copied().find(|rung| rung.variant == variant)
    }

    /// Those that `mode` allows and that are not lost; of equal ones, which stand in for each other, the first.
    pub(super) fn usable(&self, mode: Mode, lost: Lost) -> Rungs {
        let alive = || self.0.iter().copied().filter(move |rung| !lost.has(rung.variant));
        let lowest = alive().next();
        let is_allowed = move |rung: &Rung| match mode {
            Mode::Auto => true,
            Mode::Fixed(variant) => rung.variant == variant,
            Mode::Max(bits) => rung.bandwidth <= bits || Some(*rung) == lowest,
        };
        let mut last = 0;
        let is_new =
            move |rung: &Rung| std::mem::replace(&mut last, rung.bandwidth) != rung.bandwidth;
        Rungs::new(alive().filter(is_allowed).filter(is_new))
    }
}

/// The variants that are gone, one bit each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lost(u64);

impl Lost {
    const MOST: usize = u64::BITS as usize;

    pub(super) fn add(&mut self, variant: VariantIndex) {
        self.0 |= Self::bit(variant);
    }

    pub(super) fn remove(&mut self, variant: VariantIndex) {
        self.0 &= !Self::bit(variant);
    }

    pub(super) fn has(self, variant: VariantIndex) -> bool {
        self.0 & Self::bit(variant) != 0
    }

    /// None for what no ladder has.
    fn bit(variant: VariantIndex) -> u64 {
        1u64.checked_shl(variant.0.into()).unwrap_or(0)
    }
}

/// The variants of one choice, lowest first.
pub(super) struct Rungs {
    rungs: [Rung; RUNGS],
    count: usize,
}

impl Rungs {
    fn new(all: impl Iterator<Item = Rung> + Clone) -> Self {
        let nothing = Rung { variant: VariantIndex(0), bandwidth: 1 };
        let (mut rungs, mut count) = ([nothing; RUNGS], 0);
        let many = all.clone().count();
        for (at, rung) in all.enumerate() {
            // Lowest and highest are always among them.
            let is_due = many <= RUNGS || at * (RUNGS - 1) >= count * (many - 1);
            if is_due {
                rungs[count] = rung;
                count += 1;
            }
        }
        Self { rungs, count }
    }

    pub(super) fn as_slice(&self) -> &[Rung] {
        &self.rungs[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable(ladder: &Ladder, mode: Mode, lost: &[u8]) -> Vec<u8> {
        let mut gone = Lost::default();
        lost.iter().for_each(|&variant| gone.add(VariantIndex(variant)));
        ladder.usable(mode, gone).as_slice().iter().map(|rung| rung.variant.0).collect()
    }

    #[test]
    fn variants_are_weighed_from_the_lowest_to_the_highest() {
        let ladder = Ladder::new(&[128_000, 32_000, 320_000]);
        assert_eq!(usable(&ladder, Mode::Auto, &[]), [1, 0, 2]);
        assert_eq!(usable(&ladder, Mode::Max(128_000), &[]), [1, 0]);
        assert_eq!(usable(&ladder, Mode::Fixed(VariantIndex(2)), &[]), [2]);
    }

    #[test]
    fn a_limit_below_all_variants_leaves_the_lowest_that_is_there() {
        let ladder = Ladder::new(&[128_000, 32_000, 320_000]);
        assert_eq!(usable(&ladder, Mode::Max(1), &[]), [1]);
        assert_eq!(usable(&ladder, Mode::Max(1), &[1]), [0]);
    }

    #[test]
    fn a_redundant_variant_stands_in_for_one_that_is_lost() {
        let ladder = Ladder::new(&[64_000, 64_000, 128_000]);
        assert_eq!(usable(&ladder, Mode::Auto, &[]), [0, 2]);
        assert_eq!(usable(&ladder, Mode::Auto, &[0]), [1, 2]);
        assert_eq!(usable(&ladder, Mode::Fixed(VariantIndex(0)), &[0]), [0; 0]);
    }

    #[test]
    fn of_many_variants_the_lowest_and_the_highest_are_kept() {
        let all: Vec<_> = (1..=64).map(|at| at * 10_000).collect();
        let kept = usable(&Ladder::new(&all), Mode::Auto, &[]);
        assert_eq!((kept.len(), kept[0], kept[RUNGS - 1]), (RUNGS, 0, 63));
    }
}
