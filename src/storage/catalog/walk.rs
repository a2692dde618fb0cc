//! A walk over a catalog, a few entries at a time.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Entries are numbered, and a number stays with its entry as long as that is there. So who goes on
//! from a number meets each object that was there all the while once, whatever comes and goes.

use std::ops::RangeInclusive;

use super::Catalog;
use crate::storage::ObjectId;

impl Catalog {
    /// The present objects with their numbers, of `most` numbers from `from` on, and the number to
    /// go on with; `None` behind the last.
    pub(in crate::storage) fn walk(
        &self,
        from: u32,
        most: u32,
    ) -> (Vec<(u32, ObjectId)>, Option<u32>) {
        let end = self.entries_end();
        let until = from.saturating_add(most).min(end);
        let present = |number: u32| {
            let entry = self.entries.get(number as usize).filter(|entry| entry.is_present())?;
            Some((number, entry.object()))
        };
        ((from..until).filter_map(present).collect(), (until < end).then_some(until))
    }

    /// The first `most` pinned objects from `from` on, in the order of their names.
    pub(in crate::storage) fn pins(&self, from: ObjectId, most: usize) -> Vec<ObjectId> {
        self.pinned.range(from..).take(most).copied().collect()
    }

    /// Whether a pin is on some name of these.
    pub(in crate::storage) fn has_pin(&self, names: RangeInclusive<ObjectId>) -> bool {
        self.pinned.range(names).next().is_some()
    }

    pub(in crate::storage) fn pin_count(&self) -> usize {
        self.pinned.len()
    }

    /// How many objects are present, and how many chunks they have.
    pub(in crate::storage) fn counts(&self) -> (usize, u64) {
        (self.by_object.len(), self.chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{
        Generation,
        format::{Meta, Record},
        random::Random,
    };

    /// Objects come and go between the steps of a walk; it meets those that stay, each once.
    #[test]
    fn who_is_there_all_the_while_is_met_once() {
        for seed in 1..=300 {
            let (mut random, mut catalog) = (Random(seed), Catalog::new(1));
            let begin = |catalog: &mut Catalog, number: u64| {
                let (object, generation) = (ObjectId(number.into()), Generation(number));
                let record = Record::Object { object, generation, meta: Meta::default() };
                catalog.apply(&record, &mut drop);
            };
            (0..50).for_each(|number| begin(&mut catalog, number));
            let (mut met, mut from, mut stays) = (Vec::new(), Some(0), [true; 50]);
            while let Some(number) = from {
                let step = 1 + random.below(9) as u32;
                let (objects, next) = catalog.walk(number, step);
                assert!(objects.len() <= step as usize, "seed {seed}");
                met.extend(objects.into_iter().map(|(_, object)| object.0 as u64));
                from = next;
                let goes = random.below(50);
                if let Some(slot) = catalog.find(ObjectId(goes.into())) {
                    catalog.drop_object(slot, &mut drop);
                    stays[goes as usize] = false;
                }
                begin(&mut catalog, 100 + random.below(20));
            }
            for number in (0..50).filter(|number| stays[*number as usize]) {
                let times = met.iter().filter(|other| **other == number).count();
                assert_eq!(times, 1, "seed {seed}, object {number}");
            }
        }
    }
}
