//! How the size of a cache is divided among its volumes, and its memory among what knows them.
//!
//! Pure: no I/O, no clock, no executor.

use crate::storage::{CHUNK_BYTES, catalog, format::SUPERBLOCK_BYTES, volume::Share};

/// The most volumes a cache has.
const VOLUMES: u32 = 256;
/// What a volume should hold at least, in bytes.
const VOLUME_BYTES: u64 = 256 << 20;
/// The fewest volumes, where the cache is too small for that.
const FEWEST_VOLUMES: u32 = 4;

/// The number of volumes of a new cache of `size_bytes`: the largest power of two up to 256 that
/// leaves each 256 MiB, and at least 4 (RULES 2).
pub fn volumes_for(size_bytes: u64) -> u32 {
    let fitting = u32::try_from(size_bytes / VOLUME_BYTES).unwrap_or(u32::MAX);
    let power = fitting.checked_ilog2().map_or(0, |log| 1 << log.min(VOLUMES.ilog2()));
    power.max(FEWEST_VOLUMES)
}

/// How many objects of `object_bytes` the catalogs of all shards know in `memory_bytes` of buffer memory.
pub fn objects_known(memory_bytes: u64, object_bytes: u64) -> u64 {
    memory_bytes / CATALOG_SHARE as u64 / catalog::bytes_of(object_bytes)
}

/// Of a shard's memory the catalogs of its volumes may take one in so many bytes.
pub(super) const CATALOG_SHARE: usize = 2;
/// What lies beside the volumes: FORMAT, and the files that each shard tries direct I/O on.
const BESIDE_BYTES: u64 = 64 << 10;

/// Of the size, the queue of prefetches may take one in so many bytes; two, while it is written anew.
const QUEUE_SHARE: u64 = 256;
/// But not less: some hundred sources.
const QUEUE_LEAST_BYTES: u64 = 64 << 10;
/// And not more: ten thousand sources take a megabyte or two.
const QUEUE_MOST_BYTES: u64 = 64 << 20;

/// What a cache of `size_bytes` leaves to the queue of prefetches, which lies beside its volumes.
pub fn queue_bytes(size_bytes: u64) -> u64 {
    (size_bytes / QUEUE_SHARE).clamp(QUEUE_LEAST_BYTES, QUEUE_MOST_BYTES)
}

/// The least a journal has: a few commits between compactions.
pub(super) const JOURNAL_BYTES: u64 = 64 << 10;

impl Share {
    /// A journal gets 1/128: its records are 43 bytes for a chunk of 64 KiB, which is 1/1500, and it
    /// holds them twice and more before it is compacted.
    pub(super) fn of(size_bytes: u64, volumes: u32) -> Self {
        let beside_bytes = BESIDE_BYTES + 2 * queue_bytes(size_bytes);
        let each = size_bytes.saturating_sub(beside_bytes) / u64::from(volumes);
        let journal_bytes = (each / 128).max(JOURNAL_BYTES);
        let rest = each.saturating_sub(2 * journal_bytes + 2 * SUPERBLOCK_BYTES as u64);
        Self { data_bytes: rest - rest % CHUNK_BYTES, journal_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_volumes_follows_from_the_size() {
        let sizes = [(0, 4), (1 << 30, 4), (2 << 30, 8), (10 << 30, 32), (3 << 30, 8)];
        for (size, volumes) in sizes {
            assert_eq!(volumes_for(size), volumes, "{size}");
        }
        assert_eq!(volumes_for(1 << 40), 256);
        assert_eq!(volumes_for(u64::MAX), 256);
    }

    #[test]
    fn the_volumes_with_what_lies_beside_them_never_exceed_the_size() {
        for size in [2_000_000, 16 << 20, 10 << 30, (10 << 30) + 12_345] {
            let volumes = volumes_for(size);
            let share = Share::of(size, volumes);
            let each = share.data_bytes + 2 * share.journal_bytes + 2 * SUPERBLOCK_BYTES as u64;
            let beside_bytes = BESIDE_BYTES + 2 * queue_bytes(size);
            assert!(each * u64::from(volumes) + beside_bytes <= size);
        }
    }
}
