//! Which shard owns a resource.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! The hash of a resource's canonical URL names a volume, and volume `v` belongs to shard
//! `v % shards`. Changing the number of shards moves whole volumes, never bytes.

use crate::{assets::Key, runtime::ShardId};

/// How ownership is dealt out.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Volumes of the cache; where there is none, as many as there are shards serve as well.
    pub volumes: u32,
    /// Shards of the node.
    pub shards: u16,
}

impl Route {
    /// The shard that fetches, stores, reads and decodes the resource.
    pub fn owner(&self, key: &Key) -> ShardId {
        let volume = key.id.volume(self.volumes).0;
        ShardId((volume % u32::from(self.shards)) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_owns_about_the_same() {
        let route = Route { volumes: 32, shards: 4 };
        let mut counts = [0; 4];
        for song in 0..4_000 {
            let owner = route.owner(&Key::of_library("music", &format!("{song}.flac")));
            counts[owner.0 as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
