//! Requests replayed against the node's eviction policy, beside LRU and the best there could be.
//!
//! A replay is what a volume does, without the bytes: what is there is a hit; what is not is
//! inserted, and victims leave until it fits. What is larger than a volume is served through.
//!
//! `tests/eviction.rs` includes this folder by its path, so it uses nothing of the harness.

mod belady;
mod cases;
pub(crate) mod random;
mod trace;

use std::collections::HashSet;

use belady::belady;
pub use cases::{check, measure};
use kithara::storage::{
    ObjectId,
    policy::{Kind, Policy},
};
use random::Random;
use trace::Trace;
pub use trace::{generated, recorded};

/// Hits of all requests, and bytes of hits of all bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ratio {
    /// By requests.
    pub objects: f64,
    /// By bytes.
    pub bytes: f64,
}

/// Hits and misses so far.
#[derive(Debug, Default)]
struct Count {
    hits: u64,
    hit_bytes: u64,
    requests: u64,
    bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: u64, is_hit: bool) {
        self.requests += 1;
        self.bytes += bytes;
        self.hits += u64::from(is_hit);
        self.hit_bytes += if is_hit { bytes } else { 0 };
    }

    fn ratio(&self) -> Ratio {
        let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
        Ratio { objects: share(self.hits, self.requests), bytes: share(self.hit_bytes, self.bytes) }
    }
}

/// Replays `trace` against `volumes` volumes that together hold `capacity_bytes`.
pub fn replay(trace: &Trace, kind: Kind, capacity_bytes: u64, volumes: u32) -> Ratio {
    let each_bytes = capacity_bytes / u64::from(volumes);
    let mut all: Vec<_> = (0..volumes).map(|_| Volume::new(kind, each_bytes)).collect();
    let mut count = Count::default();
    for request in &trace.requests {
        let object = id(request.object);
        let volume = &mut all[object.volume(volumes).0 as usize];
        count.add(request.bytes, volume.request(object, request.bytes));
    }
    count.ratio()
}

/// One volume without its bytes.
struct Volume {
    policy: Policy,
    capacity_bytes: u64,
    holds: HashSet<ObjectId>,
}

impl Volume {
    fn new(kind: Kind, capacity_bytes: u64) -> Self {
        Self { policy: Policy::new(kind, capacity_bytes), capacity_bytes, holds: HashSet::new() }
    }

    /// Whether it was a hit.
    fn request(&mut self, object: ObjectId, bytes: u64) -> bool {
        if self.holds.contains(&object) {
            self.policy.touch(object);
            return true;
        }
        if bytes > self.capacity_bytes {
            return false;
        }
        while self.policy.bytes() + bytes > self.capacity_bytes {
            let victim = self.policy.victim(|_| true).expect("what is full holds something");
            assert!(self.holds.remove(&victim), "a victim was there");
        }
        self.policy.insert(object, bytes);
        self.holds.insert(object);
        false
    }
}

/// The id of a trace's object. Ids of real objects are hashes, so these are too: they name volumes.
fn id(object: u64) -> ObjectId {
    let mut random = Random(object);
    ObjectId(u128::from(random.next()) << 64 | u128::from(random.next()))
}
