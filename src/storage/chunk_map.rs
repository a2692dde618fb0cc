//! Where the chunks of one object lie, in eight bytes each.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Most objects are there from their start to their end, or in a few long runs. So a run is a word
//! that says where it begins and how long it is, followed by a word for each of its chunks: its
//! first block and its checksum. All runs of an object share one slice; they are in order, and no
//! two touch. Words behind the last run are zero: room for more.
//!
//! ```text
//! run    1 | first chunk (31 bits) | chunks (32 bits)
//! chunk  0 | first block (31 bits) | checksum (32 bits)
//! ```
//!
//! An object of one chunk has nothing on the heap: there a slice costs twice what it holds.

use std::mem;

/// The first block of a chunk in its volume, and the checksum of its valid part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: u32,
    pub(super) checksum: u32,
}

/// Places by chunk, in 16 bytes and what is on the heap.
#[derive(Debug, Clone)]
pub(super) enum ChunkMap {
    /// Of chunk 0, and there is no other.
    First(Place),
    Runs(Box<[u64]>),
}

/// No chunk and no block has this number or a higher one: 128 TiB of an object, 32 TiB of a volume.
pub(super) const NUMBERS: u32 = 1 << 31;

const RUN: u64 = 1 << 63;

/// A slice that is full grows by one in so many: an object that comes chunk by chunk is seldom
/// copied, and wastes little until it [rests](ChunkMap::shrink).
const GROWTH: usize = 4;

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

impl Default for ChunkMap {
    fn default() -> Self {
        Self::Runs(Box::default())
    }
}

impl ChunkMap {
    pub(super) fn get(&self, chunk: u32) -> Option<Place> {
        match self {
            Self::First(place) => (chunk == 0).then_some(*place),
            Self::Runs(words) => Some(unpack(words[run_of(words, chunk)?.word(chunk)])),
        }
    }

    /// Puts a chunk at `place`; what it was before.
    ///
    /// # Panics
    /// When a number is not below [`NUMBERS`].
    pub(super) fn set(&mut self, chunk: u32, place: Place) -> Option<Place> {
        assert!(chunk < NUMBERS && place.block < NUMBERS, "{chunk} at {place:?}");
        match self {
            Self::First(first) if chunk == 0 => Some(mem::replace(first, place)),
            Self::Runs(words) if chunk == 0 && words.is_empty() => {
                *self = Self::First(place);
                None
            }
            _ => set(self.words(), chunk, place),
        }
    }

    /// Takes a chunk out; where it was.
    pub(super) fn remove(&mut self, chunk: u32) -> Option<Place> {
        self.get(chunk)?;
        remove(self.words(), chunk)
    }

    /// All chunks in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Place)> + '_ {
        let (first, words) = match self {
            Self::First(place) => (Some((0, *place)), &[][..]),
            Self::Runs(words) => (None, &**words),
        };
        let places = move |run: Run| {
            (run.first..run.end()).map(move |chunk| (chunk, unpack(words[run.word(chunk)])))
        };
        first.into_iter().chain(runs(words).flat_map(places))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.iter().count()
    }

    /// Gives back room that was kept for growth.
    pub(super) fn shrink(&mut self) {
        let Self::Runs(words) = self else { return };
        let used = used(words);
        match words[..used] {
            [run, place] if run == head(0, 1) => *self = Self::First(unpack(place)),
            _ if used < words.len() => {
                let mut all = mem::take(words).into_vec();
                all.truncate(used);
                *words = all.into_boxed_slice();
            }
            _ => {}
        }
    }

    /// Memory that it has on the heap, in bytes.
    pub(super) fn heap_bytes(&self) -> u64 {
        match self {
            Self::First(_) => 0,
            Self::Runs(words) => mem::size_of_val(&**words) as u64,
        }
    }

    /// Its runs, on the heap.
    fn words(&mut self) -> &mut Box<[u64]> {
        if let Self::First(place) = *self {
            *self = Self::Runs(Box::new([head(0, 1), pack(place)]));
        }
        match self {
            Self::Runs(words) => words,
            Self::First(_) => unreachable!("it was just turned into runs"),
        }
    }
}

fn set(words: &mut Box<[u64]>, chunk: u32, place: Place) -> Option<Place> {
    if let Some(run) = run_of(words, chunk) {
        return Some(unpack(mem::replace(&mut words[run.word(chunk)], pack(place))));
    }
    let before = runs(words).take_while(|run| run.first < chunk).last();
    let after = runs(words).find(|run| run.first > chunk);
    let touching =
        (before.filter(|run| run.end() == chunk), after.filter(|run| run.first == chunk + 1));
    match touching {
        (None, None) => {
            let at = after.map_or_else(|| used(words), |run| run.at);
            open(words, at, 2);
            (words[at], words[at + 1]) = (head(chunk, 1), pack(place));
        }
        (Some(run), None) => {
            open(words, run.next_at(), 1);
            words[run.next_at()] = pack(place);
            words[run.at] = head(run.first, run.count + 1);
        }
        (None, Some(run)) => {
            open(words, run.at + 1, 1);
            words[run.at] = head(chunk, run.count + 1);
            words[run.at + 1] = pack(place);
        }
        (Some(run), Some(next)) => {
            words[next.at] = pack(place);
            words[run.at] = head(run.first, run.count + 1 + next.count);
        }
    }
    None
}

fn remove(words: &mut [u64], chunk: u32) -> Option<Place> {
    let run = run_of(words, chunk)?;
    let word = run.word(chunk);
    let was = unpack(words[word]);
    let (before, after) = (chunk - run.first, run.end() - chunk - 1);
    match (before, after) {
        (0, 0) => close(words, run.at, 2),
        (_, 0) => {
            close(words, word, 1);
            words[run.at] = head(run.first, before);
        }
        (0, _) => {
            close(words, word, 1);
            words[run.at] = head(chunk + 1, after);
        }
        (..) => {
            words[run.at] = head(run.first, before);
            words[word] = head(chunk + 1, after);
        }
    }
    Some(was)
}

/// Makes a gap of `count` words at `at`.
fn open(words: &mut Box<[u64]>, at: usize, count: usize) {
    let used = used(words);
    if used + count > words.len() {
        let mut all = mem::take(words).into_vec();
        let length = used + count + used / GROWTH;
        all.reserve_exact(length - all.len());
        all.resize(length, 0);
        *words = all.into_boxed_slice();
    }
    words.copy_within(at..used, at + count);
}

/// Takes out `count` words at `at`.
fn close(words: &mut [u64], at: usize, count: usize) {
    let used = used(words);
    words.copy_within(at + count..used, at);
    words[used - count..used].fill(0);
}

fn runs(words: &[u64]) -> impl Iterator<Item = Run> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let word = *words.get(at).filter(|word| **word & RUN != 0)?;
        let run = Run { at, first: ((word & !RUN) >> 32) as u32, count: word as u32 };
        at = run.next_at();
        Some(run)
    })
}

fn run_of(words: &[u64], chunk: u32) -> Option<Run> {
    let run = runs(words).find(|run| chunk < run.end())?;
    (run.first <= chunk).then_some(run)
}

/// How many words the runs take.
fn used(words: &[u64]) -> usize {
    runs(words).last().map_or(0, Run::next_at)
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
            assert!(map.heap_bytes() <= 8 * (u64::from(chunk) * 5 / 4 + 3), "{chunk}");
        }
        map.shrink();
        assert_eq!((map.heap_bytes(), map.len()), (1001 * 8, 1000));
        assert_eq!(map.get(999), Some(Place { block: 3996, checksum: !0 }));
        assert_eq!(map.get(1000), None);
    }

    #[test]
    fn an_object_of_one_chunk_has_nothing_on_the_heap() {
        assert_eq!(size_of::<ChunkMap>(), 16);
        let (place, mut map) = (Place { block: 0, checksum: 0 }, ChunkMap::default());
        map.set(0, place);
        assert_eq!((map.heap_bytes(), map.get(0)), (0, Some(place)));
        // It got more, and lost it again.
        map.set(1, place);
        map.remove(1);
        map.shrink();
        assert_eq!((map.heap_bytes(), map.get(0), map.get(1)), (0, Some(place), None));
        map.remove(0);
        assert_eq!((map.heap_bytes(), map.get(0)), (16, None));
        map.shrink();
        assert_eq!((map.heap_bytes(), map.len()), (0, 0));
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
                if random.below(8) == 0 {
                    map.shrink();
                }
                let ChunkMap::Runs(words) = &map else { continue };
                let runs: Vec<_> = runs(words).collect();
                assert!(runs.windows(2).all(|two| two[0].end() < two[1].first), "seed {seed}");
                assert!(words[used(words)..].iter().all(|word| *word == 0), "seed {seed}");
            }
        }
    }
}
