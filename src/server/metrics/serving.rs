//! What clients get, and what is decoded and encoded for them.
//!
//! Pure: no I/O, no clock, no executor.

use super::family::{Family, by, counter, gauge, one};

pub(super) const FAMILIES: &[Family] = &[
    counter("connections", "Connections that were taken.", |shard| one(shard.stats.connections)),
    gauge("connections_open", "Connections now, the operator's among them.", |shard| {
        one(shard.connections_now)
    }),
    counter(
        "sessions",
        "Sessions begun at the shard that owns their source, by what they asked for.",
        |shard| {
            let [pcm, object, probe, prefetch, waveform, transcode] = shard.stats.sessions;
            by(
                "kind",
                [
                    ("pcm", pcm),
                    ("object", object),
                    ("probe", probe),
                    ("prefetch", prefetch),
                    ("waveform", waveform),
                    ("transcode", transcode),
                ],
            )
        },
    ),
    gauge(
        "sessions_open",
        "Sessions now, those that are forwarded for other shards among them.",
        |shard| one(shard.sessions_now),
    ),
    counter("sessions_cancelled", "Sessions that the operator ended.", |shard| {
        one(shard.stats.cancelled)
    }),
    counter("refused", "What was turned away, by the bound that was reached.", |shard| {
        let refused = shard.stats.refused;
        by(
            "reason",
            [
                ("memory", refused.memory),
                ("decode_share", refused.decode_share),
                ("slots", refused.slots),
                ("draining", refused.draining),
                ("connections", refused.connections),
            ],
        )
    }),
    counter("sent_bytes", "Bytes of bodies that were given out.", |shard| one(shard.stats.bytes)),
    counter("bodies_aborted", "Bodies that ended short because their source failed.", |shard| {
        one(shard.stats.aborted)
    }),
    counter(
        "decoded_audio_seconds",
        "Audio that decoders made, by codec: once for all who hear it, without pre-roll and the silence in the place of damage.",
        |shard| by("codec", shard.stats.decoded.by_codec().iter().copied()),
    ),
    counter("undecoded_packets", "Packets that did not decode and became silence.", |shard| {
        one(shard.stats.undecoded_packets)
    }),
    counter("pcm_frames", "Frames of PCM made, at the rates of the answers.", |shard| {
        one(shard.stats.frames)
    }),
    gauge("decoders", "Decoders that are there, also those that stand still.", |shard| {
        one(shard.decoders)
    }),
    gauge(
        "decode_sessions",
        "Decoders and encoders that a share of the core is promised to.",
        |shard| one(shard.decode.sessions),
    ),
    gauge("decode_promised_ratio", "Of the core, what is promised to them.", |shard| {
        one(shard.decode.share)
    }),
    gauge("decode_promisable_ratio", "Of the core, what is promised at most.", |shard| {
        one(shard.decode.share_at_most)
    }),
    counter(
        "transcodes",
        "Transcodes: encoders that began, sessions that joined one, what was kept, and sessions that were given that.",
        |shard| {
            let transcodes = shard.stats.transcodes;
            by(
                "outcome",
                [
                    ("begun", transcodes.begun),
                    ("joined", transcodes.joined),
                    ("kept", transcodes.kept),
                    ("reused", transcodes.reused),
                ],
            )
        },
    ),
    counter(
        "hls_missing_segments",
        "Segments of presentations that could not be had and became silence, each time that one was wanted.",
        |shard| one(shard.stats.missing_segments),
    ),
    counter(
        "hls_variant_switches",
        "Times that another variant of a presentation was heard than before.",
        |shard| one(shard.stats.variant_switches),
    ),
    counter("prefetched_bytes", "Bytes that were fetched for prefetches and no client.", |shard| {
        one(shard.stats.prefetched_bytes)
    }),
    counter(
        "prefetch_failures",
        "Sources that could not be prefetched, each time one was tried.",
        |shard| one(shard.stats.prefetch_failures),
    ),
];
