//! What is kept: resources, their chunks on disk and in memory, and decoded audio.
//!
//! Pure: no I/O, no clock, no executor.

use super::family::{Family, Samples, by, counter, gauge, one};
use crate::{shard::Report, storage::State};

pub(super) const FAMILIES: &[Family] = &[
    counter("cache_opens", "Resources that were opened: whole, begun, or fetched anew.", |shard| {
        let assets = shard.assets;
        by(
            "result",
            [("hit", assets.hits), ("partial", assets.partial_hits), ("miss", assets.misses)],
        )
    }),
    counter("cache_evictions", "Resources that left to make room, by what was short.", |shard| {
        let assets = shard.assets;
        let (memory, journal) = (assets.evicted_for_memory, assets.evicted_for_journal);
        let disk = assets.evicted.saturating_sub(memory + journal);
        by("reason", [("disk", disk), ("memory", memory), ("journal", journal)])
    }),
    gauge("cache_resources_open", "Resources that somebody reads or fills now.", |shard| {
        one(shard.assets_open)
    }),
    gauge("cache_objects", "Objects on disk.", |shard| of_volumes(shard, |volume| volume.objects)),
    gauge("cache_chunks", "Chunks of them.", |shard| of_volumes(shard, |volume| volume.chunks)),
    gauge(
        "cache_pins",
        "Names that are pinned, whether there is something of them or not.",
        |shard| of_volumes(shard, |volume| volume.pins),
    ),
    gauge("cache_used_bytes", "Bytes of the volumes in use, in whole blocks.", |shard| {
        one(shard.used_bytes)
    }),
    gauge("cache_stored_bytes", "Bytes in use that an object holds.", |shard| {
        one(shard.stored_bytes)
    }),
    gauge("cache_free_bytes", "Bytes that the volumes can still take.", |shard| {
        one(shard.free_bytes)
    }),
    gauge(
        "cache_bad_bytes",
        "Bytes of places on disk that took nothing, set aside until the next start.",
        |shard| one(shard.storage.bad_bytes),
    ),
    gauge("cache_journal_bytes", "Length of the journals.", |shard| {
        of_volumes(shard, |volume| volume.journal_bytes)
    }),
    gauge("cache_catalog_bytes", "Memory that knows what lies where.", |shard| {
        one(shard.storage.catalog_bytes)
    }),
    gauge(
        "cache_volumes_off",
        "Volumes that take no bytes now, because their device refused some.",
        |shard| one(shard.storage.volumes_off),
    ),
    gauge(
        "cache_volumes_full",
        "Volumes that do not grow now, because their device has no room.",
        |shard| one(shard.storage.volumes_full),
    ),
    counter(
        "cache_long_objects",
        "Objects that hold half their volume, so that the rest is not kept.",
        |shard| one(shard.storage.long_objects),
    ),
    counter(
        "cache_unplaced_objects",
        "Objects that had no place at the start, and were evicted.",
        |shard| one(shard.storage.unplaced),
    ),
    counter(
        "cache_moved_chunks",
        "Chunks of pinned objects that were moved at the start.",
        |shard| one(shard.storage.moved_chunks),
    ),
    counter("disk_read_chunks", "Chunks read from disk and verified.", |shard| {
        one(shard.storage.reads)
    }),
    counter("disk_read_bytes", "Bytes read from disk.", |shard| one(shard.storage.read_bytes)),
    counter("disk_written_chunks", "Chunks written to disk.", |shard| one(shard.storage.writes)),
    counter("disk_written_bytes", "Bytes of data written to disk.", |shard| {
        one(shard.storage.written_bytes)
    }),
    counter("disk_zeroed_bytes", "Bytes of zeros written to grow the volumes.", |shard| {
        one(shard.storage.zeroed_bytes)
    }),
    counter(
        "disk_corrupt_chunks",
        "Chunks that the disk gave back with other bytes: dropped, never served.",
        |shard| one(shard.storage.corrupt_chunks),
    ),
    counter("disk_errors", "Operations that the disk refused.", |shard| {
        by(
            "operation",
            [("read", shard.storage.read_errors), ("write", shard.storage.write_errors)],
        )
    }),
    counter("disk_no_space_chunks", "Chunks for which the volume had no room.", |shard| {
        one(shard.storage.no_space)
    }),
    counter("disk_kept_chunks", "Chunks kept in memory instead of on disk.", |shard| {
        one(shard.storage.kept_chunks)
    }),
    counter(
        "disk_dropped_chunks",
        "Chunks kept in memory that were dropped to stay within the bound.",
        |shard| one(shard.storage.dropped_chunks),
    ),
    counter("tier_lookups", "Chunks that were looked for in memory.", |shard| {
        let tier = shard.storage.tier;
        by("result", [("hit", tier.hits), ("miss", tier.misses)])
    }),
    counter("tier_admitted_chunks", "Chunks taken into memory.", |shard| {
        one(shard.storage.tier.admitted)
    }),
    counter(
        "tier_left_chunks",
        "Chunks that left memory: for others, or because it was wanted.",
        |shard| {
            let tier = shard.storage.tier;
            by("reason", [("evicted", tier.evicted), ("given_back", tier.given_back)])
        },
    ),
    gauge("tier_bytes", "Bytes of chunks in memory.", |shard| one(shard.storage.tier.bytes)),
    counter("pcm_hits", "Pieces of decoded audio that were found in memory.", |shard| {
        one(shard.pcm.hits)
    }),
    counter("pcm_admitted_pieces", "Pieces of decoded audio taken into memory.", |shard| {
        one(shard.pcm.admitted)
    }),
    counter(
        "pcm_left_pieces",
        "Pieces of decoded audio that left memory: for others, or because it was wanted.",
        |shard| {
            by("reason", [("evicted", shard.pcm.evicted), ("given_back", shard.pcm.given_back)])
        },
    ),
    gauge("pcm_bytes", "Bytes of decoded audio in memory.", |shard| one(shard.pcm.bytes)),
];

/// The sum over the volumes of a shard.
fn of_volumes(shard: &Report, number: fn(&State) -> u64) -> Samples {
    one(shard.volumes.iter().map(number).sum::<u64>())
}
