//! Where chunks lay before they were written anew, as a start finds it in the journal.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! The record of a chunk is written before its bytes are durable, and neither waits for the other. Where more
//! came of a chunk that was durable, a power cut may keep the record of its new place and lose what lies
//! there. The old place is nobody's until the new one is durable, so the bytes of before are still there:
//! this is what remembers them. A record says up to where all is durable; from there on a volume
//! has [`MOST`] such chunks at most.

use std::collections::{BTreeMap, VecDeque};

use super::{
    Generation, ObjectId,
    catalog::{Catalog, Slot},
    format::{Filled, Record},
};

/// A volume syncs before it has so many chunks that were written anew and are not durable, and takes no
/// others meanwhile.
pub(super) const MOST: usize = 2048;

/// What a start remembers at most, in chunks, of 56 bytes each: those, and what was on its way then. Of a
/// journal that does not say what is durable the last ones count.
const REMEMBERED: usize = 2 * MOST;

/// What was found so far, the oldest first.
#[derive(Default)]
pub(super) struct Superseded(VecDeque<Older>);

struct Older {
    /// The page with the record of the new place.
    page: u32,
    object: ObjectId,
    generation: Generation,
    filled: Filled,
}

/// A chunk of which more than one place may be the one that counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Doubtful {
    pub(super) slot: Slot,
    /// The place that was said last.
    pub(super) newest: Filled,
    /// Those before it, the last one first.
    pub(super) older: Vec<Filled>,
}

impl Superseded {
    /// Looks at a record on the page of this number, before the catalog does as it says.
    pub(super) fn note(&mut self, catalog: &Catalog, page: u32, record: &Record) {
        match record {
            Record::Fill { object, generation, chunks } => {
                let Some(slot) = catalog.find_generation(*object, *generation) else { return };
                for chunk in chunks {
                    let before = catalog.chunk(slot, chunk.chunk).filter(|before| before != chunk);
                    before.into_iter().for_each(|filled| {
                        self.add(Older { page, object: *object, generation: *generation, filled });
                    });
                }
            }
            Record::Durable { pages } => {
                while self.0.front().is_some_and(|older| older.page < *pages) {
                    self.0.pop_front();
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, older: Older) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(older);
    }

    /// The chunks that are still there, when all was read.
    pub(super) fn doubtful(self, catalog: &Catalog) -> Vec<Doubtful> {
        let mut chunks = BTreeMap::<(Slot, u32), Vec<Filled>>::new();
        for Older { object, generation, filled, .. } in self.0.into_iter().rev() {
            if let Some(slot) = catalog.find_generation(object, generation) {
                chunks.entry((slot, filled.chunk)).or_default().push(filled);
            }
        }
        let doubtful = chunks.into_iter().filter_map(|((slot, chunk), older)| {
            let newest = catalog.chunk(slot, chunk)?;
            Some(Doubtful { slot, newest, older })
        });
        doubtful.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::format::Meta;

    const OBJECT: ObjectId = ObjectId(1);

    fn at(block: u32, end: u32) -> Filled {
        Filled { chunk: 0, block, part: 0..end, checksum: block }
    }

    fn fill(generation: u64, filled: Filled) -> Record {
        Record::Fill { object: OBJECT, generation: Generation(generation), chunks: vec![filled] }
    }

    /// What is in doubt after these records, each on a page of its own.
    fn doubtful(records: &[Record]) -> Vec<(Filled, Vec<Filled>)> {
        let (mut catalog, mut superseded) = (Catalog::new(100_000), Superseded::default());
        for (page, record) in (0..).zip(records) {
            superseded.note(&catalog, page, record);
            catalog.apply(record, &mut drop);
        }
        let doubtful = superseded.doubtful(&catalog);
        doubtful.into_iter().map(|chunk| (chunk.newest, chunk.older)).collect()
    }

    fn begun(generation: u64) -> Record {
        let generation = Generation(generation);
        Record::Object { object: OBJECT, generation, meta: Meta::default() }
    }

    #[test]
    fn what_was_written_anew_is_in_doubt_until_that_is_durable() {
        let [first, second, third] = [(0, 10), (4, 20), (8, 30)].map(|(block, end)| at(block, end));
        let mut records = vec![begun(1), fill(1, first.clone())];
        assert_eq!(doubtful(&records), []);
        records.extend([fill(1, second.clone()), fill(1, second.clone()), fill(1, third.clone())]);
        assert_eq!(doubtful(&records), [(third.clone(), vec![second.clone(), first])]);
        // The first lies on page 1, the second on 2 and again on 3, the third on 4.
        records.push(Record::Durable { pages: 2 });
        assert_eq!(doubtful(&records)[0].1.len(), 2, "page 2 is not among the first two");
        for pages in [3, 4] {
            records.push(Record::Durable { pages });
            assert_eq!(doubtful(&records), [(third.clone(), vec![second.clone()])], "{pages}");
        }
        records.push(Record::Durable { pages: 5 });
        assert_eq!(doubtful(&records), []);
    }

    #[test]
    fn what_is_gone_is_in_no_doubt() {
        let [first, second] = [at(0, 10), at(4, 20)];
        let mut records = vec![begun(1), fill(1, first), fill(1, second.clone())];
        let lost = Record::Lost { object: OBJECT, generation: Generation(1), chunks: vec![0] };
        records.push(lost);
        assert_eq!(doubtful(&records), []);
        records.pop();
        records.extend([begun(2), fill(2, second)]);
        assert_eq!(doubtful(&records), []);
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let fills = (0..3 * MOST as u32).map(|block| fill(1, at(4 * block, 10)));
        let records: Vec<_> = std::iter::once(begun(1)).chain(fills).collect();
        let [(newest, older)] = &doubtful(&records)[..] else { panic!("it is one chunk") };
        assert_eq!((newest.block, older.len()), (4 * (3 * MOST as u32 - 1), REMEMBERED));
        assert_eq!(older[0].block + 4, newest.block);
    }
}
