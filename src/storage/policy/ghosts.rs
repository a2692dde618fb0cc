//! Objects that were evicted lately, by fingerprint: what comes back soon has proved itself.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A queue of fingerprints, and an index that knows which are there: 4 bytes and 5.3 to 10.7 a
//! ghost. One that was met again leaves the index at once and the queue when its turn comes, so it
//! counts towards the bound until then.

use std::collections::VecDeque;

use super::slots::Slots;

/// The ghosts of one volume.
#[derive(Debug, Clone, Default)]
pub(super) struct Ghosts {
    /// Oldest first.
    fingerprints: VecDeque<u32>,
    /// The number of the oldest; they are numbered as they come, modulo [`NUMBERS`].
    first: u32,
    /// Numbers of those that were not met again.
    index: Slots,
}

/// Numbers before they start over: far more than ghosts, and none of them is `u32::MAX`.
const NUMBERS: u32 = 1 << 31;

impl Ghosts {
    /// Adds the newest, and lets the oldest go beyond `bound`.
    pub(super) fn insert(&mut self, fingerprint: u32, bound: usize) {
        self.take(fingerprint);
        self.fingerprints.push_back(fingerprint);
        let number = self.first.wrapping_add(self.fingerprints.len() as u32 - 1) % NUMBERS;
        let Self { fingerprints, first, index } = self;
        index.insert(number, |number| at(fingerprints, *first, number));
        while self.fingerprints.len() > bound {
            self.drop_oldest();
        }
    }

    /// Whether that one is there; it is not any more.
    pub(super) fn take(&mut self, fingerprint: u32) -> bool {
        let Self { fingerprints, first, index } = self;
        let hash_of = |number| at(fingerprints, *first, number);
        let found = index.find(fingerprint, |number| hash_of(number) == fingerprint);
        if let Some(number) = found {
            index.remove(number, hash_of);
        }
        found.is_some()
    }

    /// The ghosts, oldest first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = u32> + '_ {
        let is_there = |(offset, fingerprint): &(usize, &u32)| self.has(*offset, **fingerprint);
        self.fingerprints.iter().enumerate().filter(is_there).map(|(_, fingerprint)| *fingerprint)
    }

    /// Memory it takes, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.fingerprints.capacity() * size_of::<u32>() + self.index.memory_bytes()
    }

    fn drop_oldest(&mut self) {
        let fingerprint = self.fingerprints[0];
        if self.has(0, fingerprint) {
            let Self { fingerprints, first, index } = self;
            index.remove(*first, |number| at(fingerprints, *first, number));
        }
        self.fingerprints.pop_front();
        self.first = (self.first + 1) % NUMBERS;
    }

    /// Whether the one at that offset from the oldest was not met again.
    fn has(&self, offset: usize, fingerprint: u32) -> bool {
        let number = (self.first + offset as u32) % NUMBERS;
        self.index.find(fingerprint, |found| found == number).is_some()
    }
}

fn at(fingerprints: &VecDeque<u32>, first: u32, number: u32) -> u32 {
    fingerprints[(number.wrapping_sub(first) % NUMBERS) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::policy::tests::Random;

    #[test]
    fn random_histories_agree_with_a_list() {
        for seed in 0..300 {
            let mut random = Random(seed);
            // Numbers start over within the history.
            let mut ghosts = Ghosts { first: NUMBERS - 50, ..Ghosts::default() };
            let mut model: Vec<(u32, bool)> = Vec::new();
            for _ in 0..200 {
                let fingerprint = random.below(12) as u32 * 0x1555_5555;
                let known = model.iter_mut().find(|(f, is_there)| *f == fingerprint && *is_there);
                let was_there = known.map(|known| known.1 = false).is_some();
                if random.below(2) == 0 {
                    assert_eq!(ghosts.take(fingerprint), was_there, "seed {seed}");
                } else {
                    let bound = random.below(10) as usize;
                    ghosts.insert(fingerprint, bound);
                    model.push((fingerprint, true));
                    model.drain(..model.len().saturating_sub(bound));
                }
                let expected = model.iter().filter(|(_, is_there)| *is_there).map(|(f, _)| *f);
                assert!(ghosts.in_order().eq(expected), "seed {seed}");
            }
        }
    }
}
