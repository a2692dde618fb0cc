//! What a client may ask of a decoded source.
//!
//! Pure: no I/O, no clock, no executor.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{Error, Format, timeline::Seconds};
use crate::{
    decode::{Dither, Quality},
    hls::{
        abr::{Mode, VariantIndex},
        playlist::Track,
    },
};

/// Names a source: a configured origin or library, and a path in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceName {
    /// The origin's or library's name.
    pub name: String,
    /// The path below its base, not empty. That of an origin is as it stands in a URL: it may be
    /// percent-encoded, and a `?` begins its query. That of a library is as the file system has it.
    pub path: String,
    /// Whether it is a library's.
    pub is_file: bool,
}

/// Why a text names no source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSource {
    /// It is a URL of its own, of no configured origin.
    #[error("a URL is no source here; name a configured origin or library, as NAME:path")]
    Url,
    /// It has another form.
    #[error("a source is NAME:path, with the name of a configured origin or library")]
    Form,
}

/// The longest name of an origin or a library, in bytes.
const NAME_BYTES: usize = 64;

impl SourceName {
    /// Reads `NAME:path`; `is_library` says which names are those of libraries. Whether there is
    /// such a source is another question.
    ///
    /// # Errors
    /// See [`BadSource`].
    pub fn parse(text: &str, is_library: impl Fn(&str) -> bool) -> Result<Self, BadSource> {
        let (name, path) = text.split_once(':').ok_or(BadSource::Form)?;
        let scheme = name.eq_ignore_ascii_case("http") || name.eq_ignore_ascii_case("https");
        if scheme || path.starts_with("//") {
            return Err(BadSource::Url);
        }
        if !Self::is_name(name) || path.is_empty() || path.starts_with('/') {
            return Err(BadSource::Form);
        }
        Ok(Self { name: name.to_owned(), path: path.to_owned(), is_file: is_library(name) })
    }

    /// Whether an origin or a library could be called so.
    pub fn is_name(name: &str) -> bool {
        let byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !name.is_empty() && name.len() <= NAME_BYTES && name.bytes().all(byte)
    }

    /// The text that [`parse`](Self::parse) reads, its query included: for no other eye.
    pub fn text(&self) -> String {
        format!("{}:{}", self.name, self.path)
    }

    /// Where its original bytes are on this node, without its query.
    pub fn object_path(&self) -> String {
        match self.is_file {
            true => format!("/o/{}/{}", self.name, utf8_percent_encode(&self.path, NOT_IN_PATHS)),
            false => format!("/o/{}/{}", self.name, self.path_without_query()),
        }
    }

    /// The path before its query.
    pub fn path_without_query(&self) -> &str {
        match self.is_file {
            true => &self.path,
            false => self.path.split('?').next().unwrap_or_default(),
        }
    }
}

/// What is encoded of a file's path in a URL: all but `pchar` and `/` (RFC 3986 section 3.3).
const NOT_IN_PATHS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

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
    /// Which of what the source has.
    pub choice: Choice,
}

/// Which of the audio of a source is wanted, where it has more than one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// Its track; the one for those who do not choose, where none is given.
    pub track: Option<TrackName>,
    /// Of a presentation.
    pub variant: Mode,
}

/// Names a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackName {
    /// Counted from 0.
    Number(u32),
    /// By the name of a rendition, or its language.
    Text(String),
}

impl Choice {
    /// The track, as a presentation has them.
    pub fn track_name(&self) -> Track<'_> {
        match &self.track {
            None => Track::Default,
            Some(TrackName::Number(number)) => Track::Number(*number as usize),
            Some(TrackName::Text(text)) => Track::Named(text),
        }
    }

    /// The track, as a file has them.
    ///
    /// # Errors
    /// A track with a name, or a variant: a file has neither.
    pub fn of_file(&self) -> Result<Option<u32>, Error> {
        if matches!(self.variant, Mode::Fixed(VariantIndex(1..))) {
            return Err(Error::NoVariants);
        }
        match self.track {
            None => Ok(None),
            Some(TrackName::Number(number)) => Ok(Some(number)),
            Some(TrackName::Text(_)) => Err(Error::NoNames),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_as_it_is_and_linked_as_a_url() {
        let path = "50%25? #1 é.wav".to_owned();
        let file = SourceName { name: "local".into(), path: path.clone(), is_file: true };
        assert_eq!(file.to_string(), "local:50%25? #1 é.wav");
        assert_eq!(file.object_path(), "/o/local/50%2525%3F%20%231%20%C3%A9.wav");
        let object = SourceName { is_file: false, ..file };
        assert_eq!(object.to_string(), "local:50%25");
        assert_eq!(object.object_path(), "/o/local/50%25");
    }
}
