//! The sessions of all shards, as JSON for the operator.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::shard::{Listed, Report};

/// The document about the sessions of all shards, the oldest of each shard first. It says how many
/// it leaves off, and which shards did not answer.
pub(super) fn json(reports: &[Option<Report>]) -> String {
    let streams: Vec<_> =
        reports.iter().flatten().flat_map(|report| report.sessions.iter().map(stream)).collect();
    let left_off: usize = reports.iter().flatten().map(|report| report.sessions_left_off).sum();
    let silent = reports.iter().enumerate().filter(|(_, report)| report.is_none());
    let silent: Vec<_> = silent.map(|(shard, _)| shard).collect();
    let document = json!({ "streams": streams, "left_off": left_off, "silent_shards": silent });
    format!("{document:#}\n")
}

fn stream(session: &Listed) -> Value {
    json!({
        "id": session.id.to_string(),
        "shard": session.id.shard.0,
        "client_shard": session.front.0,
        "source": session.source,
        "what": session.what,
        "format": session.format,
        "started_unix_ms": unix_ms(session.started),
        "bytes": session.bytes,
        "stalls": session.stalls,
        "segment": session.hearing.map(|hearing| hearing.segment),
        "missing_segments": session.hearing.map(|hearing| hearing.missing),
        "variant": session.hearing.and_then(|hearing| hearing.variant).map(|variant| variant.0),
        "why": session.why,
    })
}

/// Milliseconds since 1970; 0 for a clock that stands before that.
pub(super) fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
