//! What a source is, as JSON: the same document on the command line and over HTTP.
//!
//! Pure: no I/O, no clock, no executor.

use serde_json::{Map, Value, json};

use crate::{
    decode::{Info, Sample},
    pcm::timeline,
};

/// The document about `source`.
pub fn json(source: &str, info: &Info) -> String {
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
        "variants": [],
    }))
    .expect("a document of strings and numbers can be written");
    text.push('\n');
    text
}
