//! What happens on the shards, as server-sent events (WHATWG HTML, section 9.2).
//!
//! Pure: no I/O, no clock, no executor.

use serde_json::{Value, json};

use super::streams::unix_ms;
use crate::shard::{End, Notice, Reason, What};

/// One event: its name, and a line of JSON.
pub(super) fn text(notice: &Notice) -> String {
    let (name, mut data) = parts(&notice.what);
    data["shard"] = notice.shard.0.into();
    data["time_unix_ms"] = unix_ms(notice.at).into();
    format!("event: {name}\ndata: {data}\n\n")
}

fn parts(what: &What) -> (&'static str, Value) {
    match what {
        What::SessionBegun { id, source, job } => {
            ("session_begun", json!({ "id": id.to_string(), "source": source, "what": job }))
        }
        What::SessionEnded { id, end, bytes, lasted } => (
            "session_ended",
            json!({
                "id": id.to_string(),
                "status": end_name(*end),
                "bytes": bytes,
                "seconds": lasted.as_secs_f64(),
            }),
        ),
        What::FillBegun { url } => ("fill_begun", json!({ "url": url })),
        What::FillEnded { url, bytes } => ("fill_ended", json!({ "url": url, "bytes": bytes })),
        What::FillFailed { url, why } => ("fill_failed", json!({ "url": url, "why": why })),
        What::Evicted { url } => ("evicted", json!({ "url": url })),
        What::PrefetchBegun { id, source, sources } => {
            ("prefetch_begun", json!({ "id": id, "source": source, "sources": sources }))
        }
        What::PrefetchEnded { id, end, bytes } => {
            ("prefetch_ended", json!({ "id": id, "status": end_name(*end), "bytes": bytes }))
        }
        What::PrefetchFailed { id, sources, why } => {
            ("prefetch_failed", json!({ "id": id, "sources": sources, "why": why }))
        }
        What::SegmentBegun { id, hearing } => {
            let variant = hearing.variant.map(|variant| variant.0);
            let data = json!({
                "id": id.to_string(), "segment": hearing.segment, "variant": variant,
            });
            ("segment_begun", data)
        }
        What::Stalled { id, lasted } => {
            ("stalled", json!({ "id": id.to_string(), "seconds": lasted.as_secs_f64() }))
        }
        What::SegmentFetched { playlist, segment, bytes, took } => (
            "segment_fetched",
            json!({
                "playlist": playlist,
                "segment": segment,
                "bytes": bytes,
                "origin_seconds": took.map(|took| took.as_secs_f64()),
            }),
        ),
        What::VariantChosen { source, segment, variant, why } => (
            "variant_chosen",
            json!({ "source": source, "segment": segment, "variant": variant.0, "why": why }),
        ),
        What::SegmentMissing { playlist, segment, why } => {
            ("segment_missing", json!({ "playlist": playlist, "segment": segment, "why": why }))
        }
        What::KeyFetched { playlist } => ("key_fetched", json!({ "playlist": playlist })),
        What::Refused { reason } => ("refused", json!({ "reason": reason_name(*reason) })),
        What::DrainBegun => ("drain_begun", json!({})),
        What::Dropped { notices } => ("dropped", json!({ "events": notices })),
    }
}

fn end_name(end: End) -> &'static str {
    match end {
        End::Complete => "complete",
        End::Refused => "refused",
        End::Failed => "failed",
        End::Cancelled => "cancelled",
        End::Left => "left",
    }
}

/// As `/v1/shards` has them.
fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Memory => "memory",
        Reason::DecodeShare => "decode_share",
        Reason::Slots => "slots",
        Reason::Draining => "draining",
        Reason::Connections => "connections",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{runtime::ShardId, shard::SessionId};

    #[test]
    fn an_event_is_its_name_and_one_line() {
        let what = What::SessionEnded {
            id: SessionId { shard: ShardId(1), slot: 3, generation: 7 },
            end: End::Left,
            bytes: 3,
            lasted: Duration::from_millis(1500),
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(12_345);
        assert_eq!(
            text(&Notice { shard: ShardId(1), at, what }),
            "event: session_ended\ndata: {\"bytes\":3,\"id\":\"1-3-7\",\"seconds\":1.5,\"shard\":1,\
             \"status\":\"left\",\"time_unix_ms\":12345}\n\n"
        );
    }

    #[test]
    fn no_name_breaks_a_line() {
        let what = What::Evicted { url: "a\nevent: forged\r\n\u{2028}".to_owned() };
        let text = text(&Notice { shard: ShardId(0), at: SystemTime::UNIX_EPOCH, what });
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains('\r'));
    }
}
