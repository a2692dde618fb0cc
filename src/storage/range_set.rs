//! Which byte ranges of a resource are present.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A resource fills in any order, since a seek starts a download in the middle of it. The ranges
//! themselves are kept by `rangemap`; this adds the questions that readers and fills ask.

use std::ops::Range;

/// Disjoint half-open ranges of byte positions, sorted; touching ones are one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RangeSet {
    ranges: rangemap::RangeSet<u64>,
}

impl RangeSet {
    /// Adds `range`. An empty range adds nothing.
    pub fn insert(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.ranges.insert(range);
        }
    }

    /// Takes `range` out, present or not.
    pub fn remove(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.ranges.remove(range);
        }
    }

    /// Whether all of `range` is present. An empty range always is.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.present_from(range.start).is_some_and(|end| range.end <= end)
    }

    /// Where the presence that includes byte `at` ends, or `None` if that byte is missing.
    pub fn present_from(&self, at: u64) -> Option<u64> {
        self.ranges.get(&at).map(|range| range.end)
    }

    /// The first missing range inside `within`: what to download next.
    pub fn next_gap(&self, within: Range<u64>) -> Option<Range<u64>> {
        if within.is_empty() {
            return None;
        }
        self.ranges.gaps(&within).next()
    }

    /// How many bytes of `within` are missing.
    pub fn missing_bytes(&self, within: Range<u64>) -> u64 {
        if within.is_empty() {
            return 0;
        }
        self.ranges.gaps(&within).map(|gap| gap.end - gap.start).sum()
    }

    /// All ranges, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.ranges.iter()
    }

    /// The one range there is: `None` where there are none or several.
    pub fn only(&self) -> Option<Range<u64>> {
        let mut ranges = self.ranges.iter();
        let first = ranges.next()?;
        ranges.next().is_none().then(|| first.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::random::Random;

    fn set(ranges: &[Range<u64>]) -> RangeSet {
        let mut set = RangeSet::default();
        ranges.iter().cloned().for_each(|range| set.insert(range));
        set
    }

    #[test]
    fn touching_ranges_become_one() {
        assert_eq!(set(&[0..4, 4..8]), set(std::slice::from_ref(&(0..8))));
        assert_eq!(set(&[4..8, 0..4]).only(), Some(0..8));
        assert_eq!(set(&[0..4, 5..8]).only(), None);
    }

    #[test]
    fn the_next_gap_ends_where_presence_begins() {
        let set = set(&[0..4, 8..12]);
        assert_eq!(set.next_gap(0..20), Some(4..8));
        assert_eq!(set.next_gap(9..20), Some(12..20));
        assert_eq!(set.next_gap(0..4), None);
        assert_eq!(set.next_gap(6..6), None);
    }

    /// Against the obvious model, one bit per byte, over many short random histories.
    #[test]
    fn behaves_like_a_bitmap() {
        for seed in 1..=2_000 {
            let mut random = Random(seed);
            let (mut set, mut bitmap) = (RangeSet::default(), [false; 64]);
            for _ in 0..12 {
                let range = random.range(64);
                let add = random.below(3) > 0;
                if add {
                    set.insert(range.clone())
                } else {
                    set.remove(range.clone())
                }
                bitmap[range.start as usize..range.end as usize].fill(add);
                let within = random.range(64);
                let bits = &bitmap[within.start as usize..within.end as usize];
                let gap = bits.iter().position(|present| !present).map(|missing| {
                    let length = bits[missing..].iter().take_while(|present| !**present).count();
                    let start = within.start + missing as u64;
                    start..start + length as u64
                });
                assert_eq!(set.covers(&within), gap.is_none(), "seed {seed}, {within:?}");
                assert_eq!(set.next_gap(within.clone()), gap, "seed {seed}, {within:?}");
            }
        }
    }
}
