//! Which object leaves a full store: S3-FIFO, or the least recently used.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A [`Policy`] knows every object of its store, its bytes, how often it was used, and its place in
//! the queues. The store tells it what happens and asks for a [victim](Policy::victim) when bytes
//! are wanted. There are two kinds of stores: a volume, whose objects are those of the cache, and the
//! tier in memory, whose objects are chunks of them. What they have in common is a [`Name`].
//!
//! # S3-FIFO
//!
//! Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023. Most objects are used
//! once, so new ones are on trial in a small queue, a tenth of the bytes, and leave from there soon:
//!
//! ```text
//!   insert --> [ small ] --not proven--> evicted --> ( ghosts: fingerprints only )
//!                  |                                    |            ^
//!               proven                           inserted again      |
//!                  v                                    |            |
//!              [ main ] <-------------------------------+            |
//!               |    ^                                               |
//!               |    +-- used since: once more around, one use less  |
//!               +------- not used: evicted --------------------------+
//! ```
//!
//! A use counts 1, up to 3. Nothing moves on a hit, and one pass of a crawler through the whole
//! catalogue takes no more than the small queue.
//!
//! Three things differ from the paper. Shares of Belady's object hit ratio, mean over three recorded
//! traces and three generated ones at 1 % and 10 % of their bytes, each row with those above it (the
//! replay of `tests/eviction.rs`):
//!
//! | | share |
//! |---|---|
//! | the paper: two uses prove, as many ghosts as objects in main, of the small queue only | 0.762 |
//! | as many ghosts as objects: while the volume fills, main is empty, and stays so without ghosts | 0.782 |
//! | main's evicted leave ghosts too | 0.783 |
//! | an object proves itself by 1 use if it is smaller than the mean, by 3 if over 4 times as large | 0.794 |
//! | least recently used, for comparison | 0.638 |
//!
//! Judging by size raises the hit ratio by bytes as well: the room of one large object goes to several
//! small ones that were each used as often.
//!
//! # What may not go
//!
//! An object that is leased, pinned or filling when its turn comes is set aside: held, out of its
//! queue, so that no later search meets it again. Each search asks a few of the held first, and who
//! has become free returns to its place as the oldest. Only where nothing in the queues may go all that
//! is held is asked; a store that [says](Policy::let_go) who becomes free need not have that done twice.
//! Held bytes are not for this policy to give, so the small queue's tenth is a tenth of the rest.

mod ghosts;
mod nodes;
mod slots;
mod snapshot;

use ghosts::Ghosts;
use nodes::{MOST_USES, Nodes, Place, Slot};
pub use snapshot::{PIECE_BYTES, Remembered, Snapshot};

use crate::storage::ObjectId;

/// The small queue's share of the bytes is one in so many: the paper's tenth.
const SMALL_SHARE: u64 = 10;
/// An object is large that has more than so many times the mean bytes.
const LARGE: u64 = 4;
/// Held objects that one search asks again.
const ASKED_AGAIN: usize = 8;

/// How victims are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Objects on trial, proven ones, and ghosts.
    #[default]
    S3Fifo,
    /// The least recently used.
    Lru,
}

impl Kind {
    /// Its name, as the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::S3Fifo => "s3-fifo",
            Self::Lru => "lru",
        }
    }
}

/// What tells the objects of one store apart.
pub trait Name: Copy + Eq {
    /// 32 bits that stand for an object: in the index, among the ghosts, in a snapshot. Two objects
    /// that share them are told apart in the index, and elsewhere take each other's place, which
    /// costs no more than a worse guess.
    fn fingerprint(self) -> u32;
}

impl Name for ObjectId {
    fn fingerprint(self) -> u32 {
        // Ids of one volume agree in some bits, and those of a test in most.
        mix(self.0 as u64 ^ ((self.0 >> 64) as u64).rotate_left(32))
    }
}

/// 32 bits of which each depends on all of `bits`.
pub(super) fn mix(bits: u64) -> u32 {
    let mixed = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed >> 32) as u32
}

/// The objects of one store in the order in which they leave it.
#[derive(Debug, Clone)]
pub struct Policy<N = ObjectId> {
    kind: Kind,
    capacity_bytes: u64,
    nodes: Nodes<N>,
    ghosts: Ghosts,
    /// What happened since the last snapshot was encoded.
    changes: u64,
}

impl<N: Name> Policy<N> {
    /// That of an empty store of `capacity_bytes`.
    pub fn new(kind: Kind, capacity_bytes: u64) -> Self {
        let (nodes, ghosts) = (Nodes::default(), Ghosts::default());
        Self { kind, capacity_bytes, nodes, ghosts, changes: 0 }
    }

    /// A new object. What was evicted not long ago is not on trial again. Of one that is there
    /// already, only the bytes are noted.
    pub fn insert(&mut self, object: N, bytes: u64) {
        if self.nodes.find(object).is_some() {
            return self.resize(object, bytes);
        }
        let is_proven = match self.kind {
            Kind::S3Fifo => self.ghosts.take(object.fingerprint()),
            Kind::Lru => true,
        };
        let place = if is_proven { Place::Main } else { Place::Small };
        self.nodes.insert(object, bytes, place);
        self.changes += 1;
    }

    /// An object takes so many bytes now.
    pub fn resize(&mut self, object: N, bytes: u64) {
        if let Some(slot) = self.nodes.find(object) {
            self.nodes.set_bytes(slot, bytes);
        }
    }

    /// A hit: somebody opened an object that was there.
    pub fn touch(&mut self, object: N) {
        let Some(slot) = self.nodes.find(object) else { return };
        match self.kind {
            Kind::S3Fifo => {
                let uses = self.nodes.uses(slot);
                self.nodes.set_uses(slot, (uses + 1).min(MOST_USES));
                self.changes += u64::from(uses < MOST_USES);
            }
            Kind::Lru => {
                self.nodes.make_newest(slot, Place::Main);
                self.changes += 1;
            }
        }
    }

    /// An object is gone for another reason than room. It leaves no ghost.
    pub fn remove(&mut self, object: N) {
        if let Some(slot) = self.nodes.find(object) {
            self.nodes.remove(slot);
            self.changes += 1;
        }
    }

    /// Takes out the object that leaves next, of those that `may_go`; `None` where none may.
    ///
    /// A search ends: an object is set aside once, moves up once, goes around as often as it was
    /// used, and each was paid for by an insertion or a hit. Only where nothing in the queues may
    /// go, all that is held is asked.
    pub fn victim(&mut self, mut may_go: impl FnMut(N) -> bool) -> Option<N> {
        self.release(ASKED_AGAIN, &mut may_go);
        if let Some(found) = self.victim_of_queues(&mut may_go) {
            return Some(found);
        }
        self.release(usize::MAX, &mut may_go);
        self.victim_of_queues(may_go)
    }

    /// The same where no one that is held may go, and is not to be asked: there was no victim, and all who
    /// could go since were [let go](Self::let_go).
    pub fn victim_of_queues(&mut self, mut may_go: impl FnMut(N) -> bool) -> Option<N> {
        while let Some((slot, place)) = self.next() {
            let object = self.nodes.name(slot);
            if self.stays(slot, place) {
                continue;
            }
            if may_go(object) {
                self.evict(slot);
                return Some(object);
            }
            self.nodes.make_newest(slot, place.held());
        }
        None
    }

    /// An object may go again: if it was set aside, it returns to its place.
    pub fn let_go(&mut self, object: N) {
        let Some(slot) = self.nodes.find(object) else { return };
        match self.nodes.place(slot) {
            Place::SmallHeld => self.nodes.make_oldest(slot, Place::Small),
            Place::MainHeld => self.nodes.make_oldest(slot, Place::Main),
            Place::Small | Place::Main => {}
        }
    }

    /// The store holds as much as it can now, however much it may: its disk, its journal or the memory has
    /// room for no more. The queues have their shares of that until more is there when this is said again.
    pub fn set_full(&mut self) {
        self.capacity_bytes = self.bytes();
    }

    /// The store holds so many bytes from now on.
    pub fn set_capacity(&mut self, capacity_bytes: u64) {
        self.capacity_bytes = capacity_bytes;
    }

    /// Bytes of all objects.
    pub fn bytes(&self) -> u64 {
        Place::ALL.iter().map(|place| self.nodes.queue(*place).bytes).sum()
    }

    /// Objects.
    pub fn len(&self) -> usize {
        Place::ALL.iter().map(|place| self.nodes.queue(*place).len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory it takes, in bytes: at most about 47 an object, and 15 a ghost.
    pub fn memory_bytes(&self) -> usize {
        self.nodes.memory_bytes() + self.ghosts.memory_bytes()
    }

    /// Asks up to `count` of each kind of the held, the longest held first, and returns those that
    /// may go to their places.
    fn release(&mut self, count: usize, may_go: &mut impl FnMut(N) -> bool) {
        for (held, place) in [(Place::SmallHeld, Place::Small), (Place::MainHeld, Place::Main)] {
            for _ in 0..self.nodes.queue(held).len.min(count) {
                let slot = self.nodes.oldest(held).expect("the queue is as long as it says");
                if may_go(self.nodes.name(slot)) {
                    self.nodes.make_oldest(slot, place);
                } else {
                    self.nodes.make_newest(slot, held);
                }
            }
        }
    }

    /// Whose turn it is, and in which queue.
    fn next(&self) -> Option<(Slot, Place)> {
        let held_bytes = [Place::SmallHeld, Place::MainHeld].map(|p| self.nodes.queue(p).bytes);
        let ours = self.capacity_bytes.saturating_sub(held_bytes.iter().sum());
        let is_small_full =
            self.nodes.queue(Place::Small).bytes.saturating_mul(SMALL_SHARE) >= ours;
        let turns = match is_small_full {
            true => [Place::Small, Place::Main],
            false => [Place::Main, Place::Small],
        };
        turns.into_iter().find_map(|place| Some((self.nodes.oldest(place)?, place)))
    }

    /// Moves on the one whose turn it is, where it was used enough to stay.
    fn stays(&mut self, slot: Slot, place: Place) -> bool {
        let uses = self.nodes.uses(slot);
        let left = match place {
            Place::Small if uses >= self.proving_uses(slot) => 0,
            Place::Main if uses > 0 => uses - 1,
            _ => return false,
        };
        self.nodes.set_uses(slot, left);
        self.nodes.make_newest(slot, Place::Main);
        self.changes += 1;
        true
    }

    /// Uses on trial that take an object to the main queue: its price in the room of others.
    fn proving_uses(&self, slot: Slot) -> u8 {
        let mean_bytes = self.bytes() / self.len() as u64;
        match self.nodes.bytes(slot) {
            bytes if bytes < mean_bytes => 1,
            bytes if bytes <= mean_bytes.saturating_mul(LARGE) => 2,
            _ => 3,
        }
    }

    fn evict(&mut self, slot: Slot) {
        let ghost = self.nodes.name(slot).fingerprint();
        self.nodes.remove(slot);
        if self.kind == Kind::S3Fifo {
            self.ghosts.insert(ghost, self.len());
        }
        self.changes += 1;
    }
}

#[cfg(test)]
mod tests;
