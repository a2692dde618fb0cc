//! What a source is, as JSON: the same document on the command line and over HTTP.
//!
//! Pure: no I/O, no clock, no executor.

use serde_json::{Map, Value, json};

use crate::{
    decode::{AudioTrack, Sample},
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
        "start": offer.start.map(|start| start.as_secs_f64()),
        "tags": tags,
        "variants": offer.variants.iter().enumerate().map(variant).collect::<Vec<_>>(),
        "tracks": tracks(probed),
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

/// What there is to choose from: of a presentation, or in a file. Whatever is not known is null.
fn tracks(Probed { info, offer }: &Probed) -> Vec<Value> {
    match offer.tracks.is_empty() {
        true => info.tracks.iter().enumerate().map(track).collect(),
        false => offer.tracks.iter().enumerate().map(rendition).collect(),
    }
}

/// Who does not choose gets the first.
fn track((number, track): (usize, &AudioTrack)) -> Value {
    json!({
        "number": number,
        "name": track.name,
        "language": track.language,
        "codec": track.codec,
        "rate": track.rate_hz,
        "channels": track.channels,
        "default": number == 0,
    })
}

/// What it is coded in, the variants say.
fn rendition((number, track): (usize, &OfferedTrack)) -> Value {
    json!({
        "number": number,
        "name": track.name,
        "language": track.language,
        "codec": null,
        "rate": null,
        "channels": track.channels,
        "default": track.is_default,
    })
}
