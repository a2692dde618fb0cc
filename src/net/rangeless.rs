//! Resources that their origins give only as a whole.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! By resource and not by server: what a program makes as it sends it, and the files beside it, often
//! share a name.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

/// How long it is remembered. Who mends an origin need not restart its nodes.
const KEPT: Duration = Duration::from_secs(600);

/// How many are remembered. With more, the oldest cost one request more when they are asked for again.
const RESOURCES: usize = 1024;

/// What of a shard's origins is not asked for by ranges.
#[derive(Debug, Default)]
pub(super) struct Rangeless {
    /// By the hash of their URLs: two that have the same are fetched whole for a while.
    until: HashMap<u64, Instant>,
    /// Oldest first.
    order: VecDeque<u64>,
    hasher: RandomState,
}

impl Rangeless {
    /// A range of the resource at `url` was refused, and the whole was given.
    pub(super) fn learn(&mut self, url: &str, now: Instant) {
        let key = self.hasher.hash_one(url);
        if self.until.insert(key, now + KEPT).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > RESOURCES
            && let Some(oldest) = self.order.pop_front()
        {
            self.until.remove(&oldest);
        }
    }

    /// Whether ranges of it were refused lately.
    pub(super) fn contains(&self, url: &str, now: Instant) -> bool {
        self.until.get(&self.hasher.hash_one(url)).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_forgotten_in_time() {
        let (mut rangeless, now) = (Rangeless::default(), Instant::now());
        rangeless.learn("http://a/b", now);
        assert!(rangeless.contains("http://a/b", now) && !rangeless.contains("http://a/c", now));
        assert!(!rangeless.contains("http://a/b", now + KEPT));
        rangeless.learn("http://a/b", now + KEPT);
        assert!(rangeless.contains("http://a/b", now + KEPT));
    }

    #[test]
    fn any_number_of_resources_takes_bounded_room() {
        let (mut rangeless, now) = (Rangeless::default(), Instant::now());
        (0..2 * RESOURCES).for_each(|index| rangeless.learn(&index.to_string(), now));
        assert_eq!((rangeless.until.len(), rangeless.order.len()), (RESOURCES, RESOURCES));
        assert!(rangeless.contains(&(2 * RESOURCES - 1).to_string(), now));
        assert!(!rangeless.contains("0", now));
    }
}
