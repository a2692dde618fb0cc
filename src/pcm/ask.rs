//! What a client may ask of a decoded source.
//!
//! Pure: no I/O, no clock, no executor.

use std::fmt;

use super::{Format, timeline::Seconds};
use crate::decode::{Dither, Quality};

/// Names a source: a configured origin or library, and a path in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceName {
    /// The origin's or library's name.
    pub name: String,
    /// The path below its base, as it stands in a URL: it may be percent-encoded, and a `?` begins
    /// its query. Not empty.
    pub path: String,
}

impl SourceName {
    /// Where its original bytes are on this node, without its query.
    pub fn object_path(&self) -> String {
        format!("/o/{}/{}", self.name, self.path_without_query())
    }

    /// The path before its query.
    pub fn path_without_query(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

/// Without the query, which may hold a secret: this is what logs and errors show.
impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.path_without_query())
    }
}

/// The rates that can be asked for, in Hz.
pub const RATES_HZ: [u32; 14] = [
    8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000, 176_400,
    192_000,
];

/// A request for PCM of one source. What is `None` is as the source has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// What to decode.
    pub source: SourceName,
    /// In which form.
    pub format: Format,
    /// Frames per second, one of [`RATES_HZ`].
    pub rate_hz: Option<u32>,
    /// 1 to 8.
    pub channels: Option<u16>,
    /// Dither of the quantiser.
    pub dither: Dither,
    /// Preset of the resampler.
    pub quality: Quality,
    /// Where to begin.
    pub start: Option<Seconds>,
    /// How much; to the end where it is not given.
    pub duration: Option<Seconds>,
    /// Which audio track, counted from 0.
    pub track: Option<u32>,
}
