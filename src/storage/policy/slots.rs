//! A hash table of slot numbers: who owns the slots knows what is in them.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Open addressing with linear probing, at most three quarters full, so 5.3 to 10.7 bytes an entry.
//! The key is not in the table: a caller asks by hash and says by a closure which slot it means,
//! and gives the hash of a slot where entries move. Of a hash the upper bits choose the bucket, so
//! entries whose hashes begin alike lie together, and can be found by that beginning alone.

/// No slot.
const EMPTY: u32 = u32::MAX;
/// The smallest table that is not empty, in buckets.
const FEWEST: usize = 8;

/// The table. Every slot number but `u32::MAX` can be in it, once.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots {
    /// None, or a power of two.
    buckets: Vec<u32>,
    used: usize,
}

impl Slots {
    /// The entry under `hash` that `is_meant`.
    pub(super) fn find(&self, hash: u32, is_meant: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash)?;
        while self.buckets[at] != EMPTY {
            if is_meant(self.buckets[at]) {
                return Some(self.buckets[at]);
            }
            at = self.after(at);
        }
        None
    }

    /// Adds a slot that is not in the table yet.
    pub(super) fn insert(&mut self, slot: u32, hash_of: impl Fn(u32) -> u32) {
        assert_ne!(slot, EMPTY, "a table of slots is full");
        if (self.used + 1) * 4 > self.buckets.len() * 3 {
            self.rebuild((self.buckets.len() * 2).max(FEWEST), &hash_of);
        }
        self.used += 1;
        self.place(slot, hash_of(slot));
    }

    /// Takes out a slot that is in the table.
    pub(super) fn remove(&mut self, slot: u32, hash_of: impl Fn(u32) -> u32) {
        let mut hole = self.home(hash_of(slot)).expect("the slot is in the table");
        while self.buckets[hole] != slot {
            assert_ne!(self.buckets[hole], EMPTY, "the slot is in the table");
            hole = self.after(hole);
        }
        // Later entries of the run move up unless that would put them before their home.
        let mut at = self.after(hole);
        while self.buckets[at] != EMPTY {
            let home = self.home(hash_of(self.buckets[at])).expect("there are buckets");
            if self.distance(home, at) >= self.distance(hole, at) {
                self.buckets[hole] = self.buckets[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.buckets[hole] = EMPTY;
        self.used -= 1;
        if self.used * 8 < self.buckets.len() && self.buckets.len() > FEWEST {
            self.rebuild(self.buckets.len() / 2, &hash_of);
        }
    }

    /// Entries in the table.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Memory it takes, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<u32>()
    }

    fn rebuild(&mut self, buckets: usize, hash_of: impl Fn(u32) -> u32) {
        let before = std::mem::replace(&mut self.buckets, vec![EMPTY; buckets]);
        for slot in before.into_iter().filter(|slot| *slot != EMPTY) {
            self.place(slot, hash_of(slot));
        }
    }

    fn place(&mut self, slot: u32, hash: u32) {
        let mut at = self.home(hash).expect("there are buckets");
        while self.buckets[at] != EMPTY {
            at = self.after(at);
        }
        self.buckets[at] = slot;
    }

    /// Where the search for `hash` begins; nowhere in a table without buckets.
    fn home(&self, hash: u32) -> Option<usize> {
        let buckets = self.buckets.len() as u64;
        (buckets > 0).then(|| ((u64::from(hash) * buckets) >> 32) as usize)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.buckets.len() - 1)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.buckets.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::storage::policy::tests::Random;

    /// Few hashes, so that runs are long and wrap around the end.
    fn hash(slot: u32) -> u32 {
        [0, 1 << 31, u32::MAX, u32::MAX - 1, 7 << 29][slot as usize % 5]
    }

    #[test]
    fn random_histories_agree_with_a_set() {
        for seed in 0..300 {
            let mut random = Random(seed);
            let (mut slots, mut model) = (Slots::default(), BTreeSet::new());
            for _ in 0..400 {
                let slot = random.below(60) as u32;
                if model.remove(&slot) {
                    slots.remove(slot, hash);
                } else if random.below(3) > 0 {
                    slots.insert(slot, hash);
                    model.insert(slot);
                }
                assert_eq!(slots.len(), model.len(), "seed {seed}");
                let asked = random.below(60) as u32;
                let found = slots.find(hash(asked), |slot| slot == asked);
                assert_eq!(found.is_some(), model.contains(&asked), "seed {seed}, {asked}");
            }
            let all: Vec<_> = model.iter().copied().collect();
            all.iter().for_each(|slot| slots.remove(*slot, hash));
            assert!(slots.len() == 0 && slots.memory_bytes() <= 64, "an empty table is small");
        }
    }

    #[test]
    fn memory_stays_within_eleven_bytes_an_entry() {
        let hash = |slot: u32| slot.wrapping_mul(0x9e37_79b9);
        let mut slots = Slots::default();
        for slot in 0..100_000 {
            slots.insert(slot, hash);
            assert!(slot < 1000 || slots.memory_bytes() <= 11 * slots.len());
        }
        assert!((0..100_000).all(|slot| slots.find(hash(slot), |found| found == slot).is_some()));
    }
}
