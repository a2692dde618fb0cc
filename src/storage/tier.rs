//! The tier in memory: chunks in front of the disk, for as long as nobody needs the memory.
//!
//! Direct I/O passes the kernel's page cache by, so what is read often would be read from the disk
//! each time. Chunks that were read, or that a fill wrote while somebody reads the object, stay here
//! as the pool blocks that they are: a hit is a reference more, no copy and no disk.
//!
//! Which chunks stay is decided by the same [`Policy`] that chooses what leaves a volume. A chunk
//! that is read once, by whoever passes through the whole catalogue, is on trial in a tenth of the
//! tier and leaves from there.
//!
//! # Its memory
//!
//! ```text
//! memory of the shard = in use (streams, fills, writes) + idle chunks of the tier + room
//! tier <= 3/4 of it, and as much less as is in use
//! ```
//!
//! Its blocks are [spare](Spare): the pool counts those that nobody reads just now as idle, calls
//! them in when somebody lacks memory, and judges by what is in use whether read-ahead stops and new
//! streams are refused. So nobody waits and nobody is refused because of the tier. An entry costs
//! about 150 bytes beside its block.
//!
//! # Its truth
//!
//! A chunk is known by object, generation and number, and given out only while the catalog names a
//! chunk of the same valid part and checksum. It goes with its generation.

use std::{cell::RefCell, collections::BTreeMap, ops::Range, rc::Rc};

use super::{
    Generation, ObjectId,
    format::Filled,
    policy::{Kind, Name, Policy, mix},
    stats::Counters,
};
use crate::bufpool::{Block, BufPool, Spare};

/// Of the budget of its pool, what the tier takes at most. The rest is lent without asking it.
const SHARE: (usize, usize) = (3, 4);

/// Which chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChunkName {
    pub(super) object: ObjectId,
    pub(super) generation: Generation,
    pub(super) chunk: u32,
}

impl Name for ChunkName {
    fn fingerprint(self) -> u32 {
        let object = self.object.0 as u64 ^ ((self.object.0 >> 64) as u64).rotate_left(32);
        let generation = self.generation.0.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        let number = u64::from(self.chunk).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mix(object.wrapping_add(generation).wrapping_add(number))
    }
}

/// The chunks of one shard that are in memory.
pub(super) struct Tier {
    state: RefCell<State>,
    counters: Rc<Counters>,
}

struct State {
    limit_bytes: usize,
    policy: Policy<ChunkName>,
    chunks: BTreeMap<ChunkName, Warm>,
}

/// One chunk's valid part.
struct Warm {
    bytes: Spare,
    part: Range<u32>,
    checksum: u32,
}

impl Warm {
    fn is(&self, filled: &Filled) -> bool {
        self.part == filled.part && self.checksum == filled.checksum
    }
}

impl Tier {
    /// An empty tier, whose blocks `pool` may call in.
    pub(super) fn new(pool: &BufPool, counters: Rc<Counters>) -> Rc<Self> {
        let limit_bytes = pool.stats().budget_bytes / SHARE.1 * SHARE.0;
        let policy = Policy::new(Kind::S3Fifo, limit_bytes as u64);
        let state = RefCell::new(State { limit_bytes, policy, chunks: BTreeMap::new() });
        let tier = Rc::new(Self { state, counters });
        let of_pool = Rc::downgrade(&tier);
        pool.on_shortage(move |bytes| {
            of_pool.upgrade().into_iter().for_each(|tier| tier.give_back(bytes));
        });
        tier
    }

    /// The chunk that the catalog says is `filled`.
    pub(super) fn get(&self, name: ChunkName, filled: &Filled) -> Option<Block> {
        let mut state = self.state.borrow_mut();
        let bytes = state.chunks.get(&name).filter(|warm| warm.is(filled));
        let bytes = bytes.map(|warm| warm.bytes.block());
        if bytes.is_some() {
            state.policy.touch(name);
        }
        self.counters.count(|stats| match bytes {
            Some(_) => stats.tier.hits += 1,
            None => stats.tier.misses += 1,
        });
        bytes
    }

    /// Takes in the bytes of a chunk that the catalog says is `filled`.
    pub(super) fn admit(&self, name: ChunkName, filled: &Filled, bytes: Block) {
        let state = self.state.borrow();
        let is_here = state.chunks.get(&name).is_some_and(|warm| warm.is(filled));
        let limit_bytes = state.limit_bytes;
        drop(state);
        if is_here || bytes.loan_bytes() > limit_bytes {
            return;
        }
        self.remove(name);
        self.shrink(limit_bytes - bytes.loan_bytes());
        let loan_bytes = bytes.loan_bytes() as u64;
        let (part, checksum) = (filled.part.clone(), filled.checksum);
        let warm = Warm { bytes: Spare::new(bytes), part, checksum };
        let mut state = self.state.borrow_mut();
        state.policy.insert(name, loan_bytes);
        state.chunks.insert(name, warm);
        drop(state);
        self.counters.count(|stats| {
            stats.tier.admitted += 1;
            stats.tier.bytes += loan_bytes;
        });
    }

    /// A generation is gone, and its chunks with it.
    pub(super) fn forget(&self, object: ObjectId, generation: Generation) {
        let name = |chunk| ChunkName { object, generation, chunk };
        let next = || {
            let state = self.state.borrow();
            state.chunks.range(name(0)..=name(u32::MAX)).next().map(|(name, _)| *name)
        };
        while let Some(chunk) = next() {
            self.remove(chunk);
        }
    }

    /// Holds at most `limit_bytes` from now on.
    pub(super) fn set_limit(&self, limit_bytes: usize) {
        self.state.borrow_mut().limit_bytes = limit_bytes;
        self.shrink(limit_bytes);
    }

    /// Gives up blocks of so many bytes that nobody reads just now, or all of them.
    fn give_back(&self, bytes: usize) {
        let mut given_back = 0;
        while given_back < bytes {
            let Some(warm) = self.pop(Spare::is_idle) else { return };
            given_back += warm.bytes.loan_bytes();
            self.counters.count(|stats| stats.tier.given_back += 1);
        }
    }

    /// Evicts until at most so many bytes are held.
    fn shrink(&self, bytes: usize) {
        let is_over = || self.state.borrow().policy.bytes() > bytes as u64;
        while is_over() && self.pop(|_| true).is_some() {
            self.counters.count(|stats| stats.tier.evicted += 1);
        }
    }

    /// Takes out the chunk whose turn it is. It is dropped by the caller, out of the borrow: a block
    /// that comes home wakes who waits for it.
    fn pop(&self, may_go: impl Fn(&Spare) -> bool) -> Option<Warm> {
        let mut state = self.state.borrow_mut();
        let State { policy, chunks, .. } = &mut *state;
        policy.set_full();
        let victim = policy.victim(|name| may_go(&chunks[&name].bytes))?;
        let warm = chunks.remove(&victim).expect("the policy knows what is here");
        drop(state);
        self.count_out(&warm);
        Some(warm)
    }

    fn remove(&self, name: ChunkName) {
        let mut state = self.state.borrow_mut();
        let removed = state.chunks.remove(&name);
        state.policy.remove(name);
        drop(state);
        removed.iter().for_each(|warm| self.count_out(warm));
    }

    fn count_out(&self, warm: &Warm) {
        let bytes = warm.bytes.loan_bytes() as u64;
        self.counters.count(|stats| stats.tier.bytes -= bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bufpool::{Class, Options},
        storage::random::Random,
    };

    const CHUNK: usize = 64 << 10;

    fn tier(blocks: usize) -> (BufPool, Rc<Tier>) {
        let pool = BufPool::new(Options { budget_bytes: blocks * CHUNK });
        let tier = Tier::new(&pool, Rc::default());
        (pool, tier)
    }

    fn name(object: u128, generation: u64, chunk: u32) -> ChunkName {
        ChunkName { object: ObjectId(object), generation: Generation(generation), chunk }
    }

    fn filled(chunk: u32, checksum: u32) -> Filled {
        Filled { chunk, block: 0, part: 0..9, checksum }
    }

    #[test]
    fn a_chunk_is_given_for_nothing_but_what_the_catalog_says() {
        let (pool, tier) = tier(8);
        let block = pool.take(Class::Small).unwrap().freeze(9);
        tier.admit(name(1, 1, 3), &filled(3, 7), block);
        assert!(tier.get(name(1, 1, 3), &filled(3, 7)).is_some());
        assert!(tier.get(name(1, 1, 3), &filled(3, 8)).is_none(), "another checksum");
        let other_part = Filled { part: 0..8, ..filled(3, 7) };
        assert!(tier.get(name(1, 1, 3), &other_part).is_none());
        assert!(tier.get(name(1, 2, 3), &filled(3, 7)).is_none(), "another generation");
        assert!(tier.get(name(2, 1, 3), &filled(3, 7)).is_none(), "another object");
        assert!(tier.get(name(1, 1, 4), &filled(4, 7)).is_none());
    }

    #[test]
    fn chunks_do_not_share_fingerprints_because_their_objects_are_alike() {
        let chunks = |object: u64| (0..100).map(move |chunk| (object, chunk));
        let prints: std::collections::HashSet<_> = (0..100)
            .flat_map(chunks)
            .flat_map(|(object, chunk)| [(object, object), (object, 1)].map(|one| (one, chunk)))
            .map(|((object, generation), chunk)| name(object.into(), generation, chunk))
            .map(Name::fingerprint)
            .collect();
        assert!(prints.len() > 19_880, "{}", prints.len());
    }

    /// What a block of a chunk holds: its name.
    fn block(pool: &BufPool, name: ChunkName) -> Option<Block> {
        let class = if name.chunk % 5 == 4 { Class::Medium } else { Class::Large };
        let mut block = pool.take(class).ok()?;
        block[..3].copy_from_slice(&[
            name.object.0 as u8,
            name.generation.0 as u8,
            name.chunk as u8,
        ]);
        Some(block.freeze(9))
    }

    fn history(seed: u64) {
        let (pool, tier) = tier(16);
        let mut random = Random(seed);
        let (mut readers, mut streams) = (Vec::new(), Vec::new());
        for _ in 0..400 {
            let name = name(random.below(4).into(), random.below(2), random.below(5) as u32);
            let filled = filled(name.chunk, name.generation.0 as u32);
            match random.below(12) {
                0..6 => {
                    let found = tier.get(name, &filled).or_else(|| {
                        let block = block(&pool, name)?;
                        tier.admit(name, &filled, block.clone());
                        Some(block)
                    });
                    let of = [name.object.0 as u8, name.generation.0 as u8, name.chunk as u8];
                    found.iter().for_each(|found| assert_eq!(found[..3], of, "seed {seed}"));
                    if random.below(4) == 0 && readers.len() < 8 {
                        readers.extend(found);
                    }
                }
                6 => readers.clear(),
                7..10 => streams.extend(pool.charge(random.below(3 * CHUNK as u64) as usize)),
                10 => streams.clear(),
                _ => tier.forget(name.object, name.generation),
            }
            let (stats, held) = (pool.stats(), tier.counters.get().tier.bytes);
            let state = tier.state.borrow();
            assert_eq!(held, state.policy.bytes(), "seed {seed}");
            assert_eq!(state.policy.len(), state.chunks.len(), "seed {seed}");
            assert!(held <= 12 * CHUNK as u64, "seed {seed}");
            let idle = |warm: &Warm| warm.bytes.is_idle().then_some(warm.bytes.loan_bytes());
            let idle: usize = state.chunks.values().filter_map(idle).sum();
            assert_eq!(stats.idle_bytes, idle, "seed {seed}");
            let lendable = stats.budget_bytes - stats.in_use_bytes();
            drop(state);
            if random.below(20) == 0 {
                drop(pool.charge(lendable).expect("what is not in use can be had"));
            }
        }
        readers.clear();
        streams.clear();
        tier.set_limit(0);
        assert_eq!(pool.stats().used_bytes, 0, "seed {seed}");
    }

    #[test]
    fn random_histories_keep_the_sums_and_refuse_nothing_that_is_not_in_use() {
        (1..=200).for_each(history);
    }
}
