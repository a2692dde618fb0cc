//! What the shards have done, as JSON for the operator.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{runtime::Queue, shard::Report};

/// The document about all shards, by their number; a shard that did not answer is `null`.
pub(super) fn json(reports: &[Option<Report>]) -> String {
    let shards: Vec<_> = reports.iter().map(|report| report.as_ref().map(shard)).collect();
    format!("{:#}\n", json!({ "shards": shards }))
}

fn shard(report: &Report) -> Value {
    let Report { id, stats, sessions_now, memory, decode, assets, storage, core, .. } = report;
    let [pcm, object, probe, prefetch, waveform, transcode] = stats.sessions;
    let queues: Vec<_> = core.queues.iter().map(|queue| queue.busy.as_secs_f64()).collect();
    let queues: Map<_, _> = Queue::ALL
        .iter()
        .zip(queues)
        .map(|(queue, seconds)| (format!("{queue:?}").to_lowercase(), seconds.into()))
        .collect();
    json!({
        "shard": id.0,
        "uptime_seconds": report.uptime.as_secs_f64(),
        "connections_now": report.connections_now,
        "connections": stats.connections,
        "sessions_now": sessions_now,
        "sessions": {
            "pcm": pcm, "object": object, "probe": probe, "prefetch": prefetch, "waveform": waveform,
            "transcode": transcode,
        },
        "transcodes": {
            "begun": stats.transcodes.begun,
            "joined": stats.transcodes.joined,
            "kept": stats.transcodes.kept,
            "reused": stats.transcodes.reused,
        },
        "decoded_seconds": stats.decoded.by_codec().iter().map(decoded).collect::<Map<_, _>>(),
        "frames": stats.frames,
        "body_bytes": stats.bytes,
        "undecoded_packets": stats.undecoded_packets,
        "hls": {
            "missing_segments": stats.missing_segments,
            "playlists_read": stats.playlists_read,
            "variant_switches": stats.variant_switches,
        },
        "prefetch": { "bytes": stats.prefetched_bytes, "failures": stats.prefetch_failures },
        "aborted": stats.aborted,
        "cancelled": stats.cancelled,
        "refused": {
            "memory": stats.refused.memory,
            "decode_share": stats.refused.decode_share,
            "slots": stats.refused.slots,
            "draining": stats.refused.draining,
            "connections": stats.refused.connections,
        },
        "memory": {
            "used_bytes": memory.used_bytes,
            "idle_bytes": memory.idle_bytes,
            "high_water_bytes": memory.high_water_bytes,
            "allocated_bytes": memory.allocated_bytes,
            "budget_bytes": memory.budget_bytes,
            "refused": memory.refused,
            "trims": stats.trims,
        },
        "decode": {
            "sessions": decode.sessions,
            "promised_share": decode.share,
            "share_at_most": decode.share_at_most,
        },
        "pcm": {
            "decoders": report.decoders,
            "bytes": report.pcm.bytes,
            "hits": report.pcm.hits,
            "admitted": report.pcm.admitted,
            "evicted": report.pcm.evicted,
            "given_back": report.pcm.given_back,
        },
        "cache": {
            "hits": assets.hits,
            "partial_hits": assets.partial_hits,
            "misses": assets.misses,
            "evicted": assets.evicted,
            "evicted_for_memory": assets.evicted_for_memory,
            "evicted_for_journal": assets.evicted_for_journal,
        },
        "disk": {
            "used_bytes": report.used_bytes,
            "stored_bytes": report.stored_bytes,
            "free_bytes": report.free_bytes,
            "catalog_bytes": storage.catalog_bytes,
            "volumes_off": storage.volumes_off,
            "volumes_full": storage.volumes_full,
            "bad_bytes": storage.bad_bytes,
            "reads": storage.reads,
            "read_bytes": storage.read_bytes,
            "writes": storage.writes,
            "written_bytes": storage.written_bytes,
            "zeroed_bytes": storage.zeroed_bytes,
            "corrupt_chunks": storage.corrupt_chunks,
            "read_errors": storage.read_errors,
            "write_errors": storage.write_errors,
            "no_space": storage.no_space,
            "long_objects": storage.long_objects,
            "kept_chunks": storage.kept_chunks,
            "dropped_chunks": storage.dropped_chunks,
        },
        "tier": {
            "hits": storage.tier.hits,
            "misses": storage.tier.misses,
            "admitted": storage.tier.admitted,
            "evicted": storage.tier.evicted,
            "given_back": storage.tier.given_back,
            "bytes": storage.tier.bytes,
        },
        "core": {
            "busy_seconds": core.busy.as_secs_f64(),
            "awake_seconds": core.awake.as_secs_f64(),
            "polls": core.polls,
            "queue_seconds": queues,
        },
    })
}

fn decoded((codec, audio): &(&'static str, Duration)) -> (String, Value) {
    ((*codec).to_owned(), audio.as_secs_f64().into())
}
