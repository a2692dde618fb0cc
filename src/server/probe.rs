//! What a source is, as JSON: the same document on the command line and over HTTP.
//!
//! Pure: no I/O, no clock, no executor.

use serde_json::{Map, Value, json};

use crate::{
    decode::Sample,
    hls::{OfferedTrack, OfferedVariant},
    pcm::timeline,
    shard::Probed,
};

/// The document about `source`.
pub fn json(source: &str, probed: &Probed) -> String {
    let Probed { info, offer } = probed;
    let sample = match info.sample {
        Sample::Integer { bits } => json!({ "kind": "integer", "bits": bits }),
        Sample::Float => json!({ "kind": "float" }),
    };
    let tags: Map<String, Value> =
        info.tags.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let duration = info.frames.map(|frames| timeline::duration(frames, info.rate_hz));
    let duration = duration.and_then(|text| text.parse::<f64>().ok());
    let mut text = serde_json::to_string_pretty(&json!({
        "source": source,
        "container": info.container,
        "codec": info.codec,
        "rate": info.rate_hz,
        "channels": info.channels.count,
        "channel_mask": info.channels.mask,
        "sample": sample,
        "frames": info.frames,
        "duration": duration,
        "tags": tags,
        "variants": offer.variants.iter().enumerate().map(variant).collect::<Vec<_>>(),
        "tracks": offer.tracks.iter().enumerate().map(track).collect::<Vec<_>>(),
    }))
    .expect("a document of strings and numbers can be written");
    text.push('\n');
    text
}

fn variant((number, variant): (usize, &OfferedVariant)) -> Value {
    json!({
        "number": number,
        "bandwidth": variant.bandwidth,
        "average_bandwidth": variant.average_bandwidth,
        "codecs": variant.codecs,
        "url": variant.url,
    })
}

fn track((number, track): (usize, &OfferedTrack)) -> Value {
    json!({ "number": number, "name": track.name, "language": track.language })
}
