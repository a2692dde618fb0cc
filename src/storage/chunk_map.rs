//! Where the chunks of one object lie, in eight bytes each.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Most objects are there from their start to their end, or in a few long runs. So a run is a word
//! that says where it begins and how long it is, followed by a word for each of its chunks: its
//! first block and its checksum. All runs of an object share one vector; they are in order, and no
//! two touch.
//!
//! ```text
//! run    1 | first chunk (31 bits) | chunks (32 bits)
//! chunk  0 | first block (31 bits) | checksum (32 bits)
//! ```

/// The first block of a chunk in its volume, and the checksum of its valid part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: u32,
    pub(super) checksum: u32,
}

/// Places by chunk.
#[derive(Debug, Default, Clone)]
pub(super) struct ChunkMap {
    words: Vec<u64>,
}

/// No chunk and no block has this number or a higher one: 128 TiB of an object, 32 TiB of a volume.
pub(super) const NUMBERS: u32 = 1 << 31;

const RUN: u64 = 1 << 63;

/// A run's head, unpacked.
#[derive(Clone, Copy)]
struct Run {
    /// Where its word is.
    at: usize,
    first: u32,
    count: u32,
}

impl Run {
    fn end(self) -> u32 {
        self.first + self.count
    }

    /// Where the word of its chunk is.
    fn word(self, chunk: u32) -> usize {
        self.at + 1 + (chunk - self.first) as usize
    }

    fn next_at(self) -> usize {
        self.at + 1 + self.count as usize
    }
}

impl ChunkMap {
    pub(super) fn get(&self, chunk: u32) -> Option<Place> {
        let run = self.run_of(chunk)?;
        Some(unpack(self.words[run.word(chunk)]))
    }

    /// Puts a chunk at `place`; what it was before.
    ///
    /// # Panics
    /// When a number is not below [`NUMBERS`].
    pub(super) fn set(&mut self, chunk: u32, place: Place) -> Option<Place> {
        assert!(chunk < NUMBERS && place.block < NUMBERS, "{chunk} at {place:?}");
        if let Some(run) = self.run_of(chunk) {
            let word = &mut self.words[run.word(chunk)];
            return Some(unpack(std::mem::replace(word, pack(place))));
        }
        let before = self.runs().take_while(|run| run.first < chunk).last();
        let after = self.runs().find(|run| run.first > chunk);
        let before = before.filter(|run| run.end() == chunk);
        let after = after.filter(|run| run.first == chunk + 1);
        match (before, after) {
            (None, None) => {
                let at = self.runs().find(|run| run.first > chunk).map(|run| run.at);
                let at = at.unwrap_or(self.words.len());
                self.words.splice(at..at, [head(chunk, 1), pack(place)]);
            }
            (Some(run), None) => {
                self.words.insert(run.next_at(), pack(place));
                self.words[run.at] = head(run.first, run.count + 1);
            }
            (None, Some(run)) => {
                self.words[run.at] = head(chunk, run.count + 1);
                self.words.insert(run.at + 1, pack(place));
            }
            (Some(run), Some(next)) => {
                self.words[next.at] = pack(place);
                self.words[run.at] = head(run.first, run.count + 1 + next.count);
            }
        }
        None
    }

    /// Takes a chunk out; where it was.
    pub(super) fn remove(&mut self, chunk: u32) -> Option<Place> {
        let run = self.run_of(chunk)?;
        let word = run.word(chunk);
        let was = unpack(self.words[word]);
        let (before, after) = (chunk - run.first, run.end() - chunk - 1);
        match (before, after) {
            (0, 0) => drop(self.words.drain(run.at..=word)),
            (_, 0) => {
                self.words.remove(word);
                self.words[run.at] = head(run.first, before);
            }
            (0, _) => {
                self.words.remove(word);
                self.words[run.at] = head(chunk + 1, after);
            }
            (..) => {
                self.words[run.at] = head(run.first, before);
                self.words[word] = head(chunk + 1, after);
            }
        }
        Some(was)
    }

    /// All chunks in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Place)> + '_ {
        self.runs().flat_map(move |run| {
            (run.first..run.end()).map(move |chunk| (chunk, unpack(self.words[run.word(chunk)])))
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.runs().map(|run| run.count as usize).sum()
    }

    /// Gives back room that was kept for growth.
    pub(super) fn shrink(&mut self) {
        self.words.shrink_to_fit();
    }

    /// Memory that it has on the heap, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        (self.words.capacity() * size_of::<u64>()) as u64
    }

    fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let word = *self.words.get(at)?;
            let run = Run { at, first: ((word & !RUN) >> 32) as u32, count: word as u32 };
            at = run.next_at();
            Some(run)
        })
    }

    fn run_of(&self, chunk: u32) -> Option<Run> {
        let run = self.runs().find(|run| chunk < run.end())?;
        (run.first <= chunk).then_some(run)
    }
}

fn head(first: u32, count: u32) -> u64 {
    RUN | u64::from(first) << 32 | u64::from(count)
}

fn pack(place: Place) -> u64 {
    u64::from(place.block) << 32 | u64::from(place.checksum)
}

fn unpack(word: u64) -> Place {
    Place { block: (word >> 32) as u32, checksum: word as u32 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::storage::random::Random;

    #[test]
    fn an_object_read_in_order_is_one_run_of_a_word_a_chunk() {
        let mut map = ChunkMap::default();
        for chunk in 0..1000 {
            map.set(chunk, Place { block: chunk * 4, checksum: !0 });
        }
        assert_eq!((map.words.len(), map.len()), (1001, 1000));
        assert_eq!(map.get(999), Some(Place { block: 3996, checksum: !0 }));
        assert_eq!(map.get(1000), None);
    }

    #[test]
    fn behaves_like_a_tree() {
        for seed in 1..=500 {
            let mut random = Random(seed);
            let (mut map, mut model) = (ChunkMap::default(), BTreeMap::new());
            for _ in 0..100 {
                let chunk = match random.below(20) {
                    0 => NUMBERS - 1 - random.below(3) as u32,
                    _ => random.below(24) as u32,
                };
                let place =
                    Place { block: random.below(1 << 31) as u32, checksum: random.next() as u32 };
                match random.below(3) {
                    0 => assert_eq!(map.remove(chunk), model.remove(&chunk), "seed {seed}"),
                    _ => {
                        assert_eq!(map.set(chunk, place), model.insert(chunk, place), "seed {seed}")
                    }
                }
                assert!(map.iter().eq(model.iter().map(|(c, p)| (*c, *p))), "seed {seed}");
                assert_eq!((map.len(), map.get(chunk)), (model.len(), model.get(&chunk).copied()));
                let runs: Vec<_> = map.runs().collect();
                assert!(runs.windows(2).all(|two| two[0].end() < two[1].first), "seed {seed}");
            }
        }
    }
}
