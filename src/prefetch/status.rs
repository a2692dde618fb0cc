//! Prefetches as JSON for the operator.
//!
//! Pure: no I/O, no clock, no executor.

use serde_json::{Value, json};

use super::{journal::Summary, queue::Status};

/// The document about one prefetch.
pub fn json(status: &Status) -> Value {
    let summary = &status.summary;
    let failures: Vec<_> = summary
        .failures
        .iter()
        .map(|(source, why)| json!({ "source": source, "error": why }))
        .collect();
    json!({
        "id": status.id,
        "state": status.state.name(),
        "bytes_done": summary.bytes_there(),
        "bytes_total": summary.bytes_total(),
        "error": status.error(),
        "warning": warning(summary),
        "unreachable": summary.is_unreachable,
        "source": summary.source,
        "sources": {
            "total": summary.sources,
            "done": summary.done,
            "failed": summary.failed,
            "there": summary.there.map(|there| there.sources),
        },
        "failures": failures,
        "frames": summary.check.map(|check| check.frames),
        "missing_frames": summary.check.map(|check| check.missing_frames),
        "undecoded_packets": summary.check.map(|check| check.undecoded_packets),
        "priority": summary.priority,
        "accepted_unix_ms": summary.accepted_unix_ms,
        "ended_unix_ms": summary.ended_unix_ms,
    })
}

/// What is wrong though nothing failed.
fn warning(summary: &Summary) -> Option<String> {
    let (done, evicted) = (summary.done, summary.evicted());
    (evicted > 0).then(|| {
        let there = done - evicted;
        format!(
            "{done} fetched, {there} there, {evicted} evicted since: the cache is smaller than the list"
        )
    })
}

/// The document about the youngest prefetches, how many more there are, and what waits and runs of
/// all.
pub fn list((listed, left_off): (Vec<Status>, usize), (waiting, running): (usize, usize)) -> Value {
    json!({
        "prefetches": listed.iter().map(json).collect::<Vec<_>>(),
        "left_off": left_off,
        "sources_waiting": waiting,
        "sources_running": running,
    })
}
