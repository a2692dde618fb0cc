//! The queues as bytes: what a node remembers of use over a restart.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! An object's bytes and that it is there, the journal knows; a snapshot adds its place and its
//! uses. So an object is named by the upper 30 bits of its fingerprint only, and takes 4 bytes.
//! Where two objects share them (500 pairs in a million), they take each other's place.
//!
//! A snapshot is cut into pieces of at most [`PIECE_BYTES`], each a record of the journal. All
//! numbers are little endian:
//!
//! ```text
//! 0    version, 1
//! 4    number of this piece, from 0
//! 8    objects in the main queue, in the whole snapshot
//! 12   objects in the small queue
//! 16   ghosts
//! 20   the entries of this piece, 4 bytes each; all but the last piece hold 995
//!
//! entry of an object   31        2 1    0      of a ghost   31           0
//!                      fingerprint  uses                    fingerprint
//! ```
//!
//! The counts stand in every piece, so that a piece can be judged alone and where an entry belongs
//! follows from its position: main, then small, then ghosts, each oldest first. A tear in the
//! journal costs the snapshot it hits, and the one before it counts.

use super::{Ghosts, Kind, MOST_USES, Name, Nodes, Place, Policy};
use crate::storage::ObjectId;

/// The longest piece, in bytes.
pub const PIECE_BYTES: usize = 4000;
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 20;
const ENTRY_BYTES: usize = 4;
const PIECE_ENTRIES: usize = (PIECE_BYTES - HEAD_BYTES) / ENTRY_BYTES;
/// Lowest bits of an object's entry that hold its uses.
const USES_BITS: u32 = 2;

/// What a snapshot keeps, one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// An object of the main queue; of LRU, every object.
    Main {
        /// Which.
        object: ObjectId,
        /// How often it was used, up to 3, less its rounds.
        uses: u8,
    },
    /// An object on trial.
    Small {
        /// Which.
        object: ObjectId,
        /// How often it was used, up to 3.
        uses: u8,
    },
    /// An object that was evicted from its trial.
    Ghost {
        /// What is left of its id.
        fingerprint: u32,
    },
}

impl Remembered {
    fn entry(self) -> u32 {
        match self {
            Self::Main { object, uses } | Self::Small { object, uses } => {
                object.fingerprint() & !u32::from(MOST_USES) | u32::from(uses)
            }
            Self::Ghost { fingerprint } => fingerprint,
        }
    }
}

impl Policy {
    /// All objects and ghosts: the main queue, the small one, the ghosts, each oldest first. What is
    /// held stands where it returns to, as the oldest of its queue.
    pub fn snapshot(&self) -> impl Iterator<Item = Remembered> {
        let with_uses = |slot| (self.nodes.name(slot), self.nodes.uses(slot));
        let of = move |held, place| {
            self.nodes.in_order(held).chain(self.nodes.in_order(place)).map(with_uses)
        };
        let main = of(Place::MainHeld, Place::Main);
        let small = of(Place::SmallHeld, Place::Small);
        main.map(|(object, uses)| Remembered::Main { object, uses })
            .chain(small.map(|(object, uses)| Remembered::Small { object, uses }))
            .chain(self.ghosts.in_order().map(|fingerprint| Remembered::Ghost { fingerprint }))
    }

    /// What changed since the last [`encode`](Self::encode), in objects that came, went, moved or
    /// were used: who writes snapshots of many objects can wait until it is worth while.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The snapshot as pieces of at most [`PIECE_BYTES`], in order; none where nothing changed since
    /// the last time, unless it is asked for `anyway`.
    pub fn encode(&mut self, anyway: bool) -> Vec<Vec<u8>> {
        if std::mem::take(&mut self.changes) == 0 && !anyway {
            return Vec::new();
        }
        let count = |places: [Place; 2]| -> usize {
            places.iter().map(|place| self.nodes.queue(*place).len).sum()
        };
        let entries: Vec<_> = self.snapshot().map(Remembered::entry).collect();
        let main = count([Place::Main, Place::MainHeld]);
        let small = count([Place::Small, Place::SmallHeld]);
        let counts = [main, small, entries.len() - main - small].map(|count| count as u32);
        // Nothing at all is one piece too: it says that what was remembered before is gone.
        let pieces = entries.len().div_ceil(PIECE_ENTRIES).max(1);
        let piece = |number: usize| {
            let from = number * PIECE_ENTRIES;
            let to = entries.len().min(from + PIECE_ENTRIES);
            encode_piece(&Head { number: number as u32, counts }, &entries[from..to])
        };
        (0..pieces).map(piece).collect()
    }

    /// The policy of a volume that was opened again: `objects` are what the journal found in it, with
    /// their bytes, oldest first. An object that the snapshot does not name is taken for new.
    pub fn restore(
        kind: Kind,
        capacity_bytes: u64,
        snapshot: &Snapshot,
        objects: impl IntoIterator<Item = (ObjectId, u64)>,
    ) -> Self {
        let mut policy = Self::new(kind, capacity_bytes);
        for (object, bytes) in objects {
            // Held until the snapshot names it.
            match policy.nodes.find(object) {
                Some(slot) => policy.nodes.set_bytes(slot, bytes),
                None => policy.nodes.insert(object, bytes, UNNAMED),
            }
        }
        let whole = &snapshot.whole;
        place_named(&mut policy.nodes, whole, kind);
        place_others(&mut policy.nodes, kind);
        if kind == Kind::S3Fifo {
            let bound = policy.len();
            remember_ghosts(&mut policy.ghosts, whole.ghosts(), bound);
        }
        policy
    }
}

/// What is left of the snapshots in a journal: the last one of which every piece is there, in order.
///
/// The others are forgotten as they are read; a journal has one for each few seconds since it was
/// begun. Memory is bounded by the bytes given: entries are counted as they come and not as they are
/// promised.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    whole: Whole,
    /// One that came after it, of which pieces are missing so far.
    begun: Option<Whole>,
}

impl Snapshot {
    /// Reads the next piece of those that the journal has. Bytes that are no piece are passed over.
    pub fn read(&mut self, piece: &[u8]) {
        let Some((head, entries)) = decode_piece(piece) else { return };
        let mut collected = match self.begun.take() {
            _ if head.number == 0 => Whole { counts: head.counts, entries: Vec::new() },
            Some(begun) if follows(&begun, &head) => begun,
            _ => return,
        };
        collected.entries.extend(entries);
        if collected.entries.len() == head.entries() {
            self.whole = collected;
        } else {
            self.begun = Some(collected);
        }
    }

    /// Memory it takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let begun = self.begun.as_ref().map_or(0, |begun| begun.entries.capacity());
        (self.whole.entries.capacity() + begun) * size_of::<u32>()
    }
}

impl<P: AsRef<[u8]>> FromIterator<P> for Snapshot {
    fn from_iter<I: IntoIterator<Item = P>>(pieces: I) -> Self {
        let mut snapshot = Self::default();
        pieces.into_iter().for_each(|piece| snapshot.read(piece.as_ref()));
        snapshot
    }
}

/// Where objects are until it is known where they belong: a restored policy holds none.
const UNNAMED: Place = Place::SmallHeld;

/// Puts what a snapshot names where it says, with its uses.
fn place_named(nodes: &mut Nodes<ObjectId>, whole: &Whole, kind: Kind) {
    let main = whole.main().iter().map(|entry| (entry, Place::Main));
    let small = whole.small().iter().map(|entry| (entry, Place::Small));
    for (entry, place) in main.chain(small) {
        let Some(slot) = nodes.find_by_beginning(*entry, USES_BITS, UNNAMED) else { continue };
        match kind {
            Kind::S3Fifo => {
                nodes.set_uses(slot, *entry as u8 & MOST_USES);
                nodes.make_newest(slot, place);
            }
            // It counts no uses: one left over from another policy would never be used up.
            Kind::Lru => nodes.make_newest(slot, Place::Main),
        }
    }
}

/// Objects that came after the snapshot are the newest.
fn place_others(nodes: &mut Nodes<ObjectId>, kind: Kind) {
    let place = if kind == Kind::Lru { Place::Main } else { Place::Small };
    while let Some(slot) = nodes.oldest(UNNAMED) {
        nodes.make_newest(slot, place);
    }
}

fn remember_ghosts(ghosts: &mut Ghosts, entries: &[u32], bound: usize) {
    let newest = &entries[entries.len().saturating_sub(bound)..];
    newest.iter().for_each(|fingerprint| ghosts.insert(*fingerprint, bound));
}

/// What every piece of a snapshot says of the whole, and which piece it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    number: u32,
    /// Of main, small and ghosts.
    counts: [u32; 3],
}

impl Head {
    fn entries(&self) -> usize {
        self.counts.iter().map(|count| *count as usize).sum()
    }

    /// Entries of this piece; `None` where the snapshot has no such piece.
    fn own_entries(&self) -> Option<usize> {
        let before = self.number as usize * PIECE_ENTRIES;
        let is_there = self.number == 0 || before < self.entries();
        is_there.then(|| (self.entries() - before).min(PIECE_ENTRIES))
    }
}

fn encode_piece(head: &Head, entries: &[u32]) -> Vec<u8> {
    let [main, small, ghosts] = head.counts;
    let words = [VERSION, head.number, main, small, ghosts];
    words.iter().chain(entries).flat_map(|word| word.to_le_bytes()).collect()
}

/// A piece's head and entries; `None` where the bytes are none.
fn decode_piece(bytes: &[u8]) -> Option<(Head, impl Iterator<Item = u32>)> {
    let (head, entries) = bytes.split_at_checked(HEAD_BYTES)?;
    let word = |at: &[u8]| u32::from_le_bytes(at.try_into().expect("four bytes"));
    let mut words = head.chunks_exact(ENTRY_BYTES).map(word);
    let mut next = || words.next().expect("a head has five words");
    let version = next();
    let head = Head { number: next(), counts: [next(), next(), next()] };
    let is_whole = entries.len() == head.own_entries()? * ENTRY_BYTES;
    (version == VERSION && is_whole).then(|| (head, entries.chunks_exact(ENTRY_BYTES).map(word)))
}

/// A snapshot, or the beginning of one.
#[derive(Debug, Clone, Default)]
struct Whole {
    counts: [u32; 3],
    entries: Vec<u32>,
}

impl Whole {
    fn main(&self) -> &[u32] {
        &self.entries[..self.counts[0] as usize]
    }

    fn small(&self) -> &[u32] {
        &self.entries[self.counts[0] as usize..][..self.counts[1] as usize]
    }

    fn ghosts(&self) -> &[u32] {
        &self.entries[self.counts[0] as usize + self.counts[1] as usize..]
    }
}

fn follows(begun: &Whole, head: &Head) -> bool {
    begun.counts == head.counts && begun.entries.len() == head.number as usize * PIECE_ENTRIES
}
