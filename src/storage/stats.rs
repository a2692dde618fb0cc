//! Counters of a shard's storage.

use std::cell::Cell;

/// What storage did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Chunks read from disk and verified.
    pub reads: u64,
    /// Bytes read from disk.
    pub read_bytes: u64,
    /// Chunks written to disk.
    pub writes: u64,
    /// Bytes of data written to disk.
    pub written_bytes: u64,
    /// Bytes of zeros written to grow the volumes.
    pub zeroed_bytes: u64,
    /// Chunks that the disk gave back with other bytes: found and dropped, never served.
    pub corrupt_chunks: u64,
    /// Reads that the disk refused: the chunk became a miss, or a page of a journal was passed over.
    pub read_errors: u64,
    /// Writes that the disk refused; the chunk stayed in memory.
    pub write_errors: u64,
    /// Chunks for which the volume had no room; they stayed in memory.
    pub no_space: u64,
    /// Objects that hold half their volume, so that the rest of them is not kept.
    pub long_objects: u64,
    /// Chunks kept in memory instead of on disk, for whatever reason.
    pub kept_chunks: u64,
    /// Chunks kept in memory that were dropped again to stay within the bound.
    pub dropped_chunks: u64,
    /// Objects that had no place at the start, in fewer bytes or less memory than before: evicted.
    pub unplaced: u64,
    /// Those of them for which there was no memory.
    pub unplaced_for_memory: u64,
    /// Chunks of pinned objects that were moved at the start, into fewer bytes.
    pub moved_chunks: u64,
    /// Memory that knows what lies where, in bytes, counted in the shard's budget.
    pub catalog_bytes: u64,
    /// Volumes that take no bytes now, because their device refused some.
    pub volumes_off: u64,
    /// Volumes that do not grow now, because their device has no room for it.
    pub volumes_full: u64,
    /// Bytes of places on disk that took nothing, set aside until the next start.
    pub bad_bytes: u64,
    /// The tier in memory.
    pub tier: TierStats,
}

/// What the tier in memory did so far, in chunks, and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TierStats {
    /// Found in memory: no disk read.
    pub hits: u64,
    /// Not found, so read from disk.
    pub misses: u64,
    /// Taken in.
    pub admitted: u64,
    /// Left to make room for others.
    pub evicted: u64,
    /// Given up because a stream, a fill or a write needed the memory.
    pub given_back: u64,
    /// Bytes of blocks held now.
    pub bytes: u64,
}

/// The counters of one shard, shared by its volumes and resources.
#[derive(Default)]
pub(super) struct Counters(Cell<Stats>);

impl Counters {
    pub(super) fn count(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.0.get();
        change(&mut stats);
        self.0.set(stats);
    }

    pub(super) fn get(&self) -> Stats {
        self.0.get()
    }
}
