//! The outline of a source, as JSON.
//!
//! Pure: no I/O, no clock, no executor.

use serde_json::{Value, json};

use crate::{
    decode::Info,
    pcm::{Peaks, timeline},
};

/// The document about `source`.
pub(super) fn json(source: &str, info: &Info, peaks: &Peaks) -> String {
    let point = |value: f32| Value::from((f64::from(value) * SCALE).round() / SCALE);
    let points: Vec<_> =
        peaks.peaks().iter().map(|peak| [point(peak.min), point(peak.max)]).collect();
    let duration = timeline::duration(peaks.frames(), info.rate_hz).parse::<f64>().ok();
    let document = json!({
        "source": source,
        "rate": info.rate_hz,
        "channels": info.channels.count,
        "frames": peaks.frames(),
        "duration": duration,
        "points": points.len(),
        "peaks": points,
    });
    format!("{document}\n")
}

/// Peaks are given to the fifth decimal: finer than a sample of 16 bits.
const SCALE: f64 = 1e5;
