//! A multivariant playlist: variants and renditions of one presentation.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! I-frame lists and renditions of video and text are left out.

mod audio;
mod read;

use url::Url;

pub use self::audio::{Audio, Track};
pub(super) use self::read::read;
use super::{start::Start, variables::Variables};

/// All of it.
#[derive(Debug)]
pub struct Multivariant {
    /// In the playlist's order, by which a client numbers them; at least one.
    pub variants: Vec<Variant>,
    /// Those of audio, in the playlist's order.
    pub renditions: Vec<Rendition>,
    /// Keys that will be needed, to be fetched early: those that can be used.
    pub session_keys: Vec<Url>,
    /// For the media playlists that import them.
    pub variables: Variables,
    /// Where it wants to be played from.
    pub start: Option<Start>,
}

/// One encoding of the presentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Its media playlist, and then those that are as good: redundant variants, whose attributes are the
    /// same.
    pub urls: Vec<Url>,
    /// Bits per second at most; unknown where the playlist, against its standard, has no such number.
    pub bandwidth: Option<u64>,
    /// Bits per second on average.
    pub average_bandwidth: Option<u64>,
    /// Of all that is played with it, as RFC 6381 names them; empty if unknown.
    pub codecs: Vec<Box<str>>,
    /// The group of audio renditions that go with it.
    pub audio_group: Option<Box<str>>,
    /// What is in it.
    pub content: Content,
}

/// What a variant's playlist says is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Nothing but audio.
    Audio,
    /// Nothing but video, or text.
    Video,
    /// Both; or nothing is said, and then there may be.
    Any,
}

/// An audio rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// The group by which variants refer to it.
    pub group: Box<str>,
    /// For people.
    pub name: Box<str>,
    /// As RFC 5646 tags it.
    pub language: Option<Box<str>>,
    /// Its media playlist; without one it lies in the variant's own.
    pub url: Option<Url>,
    /// How many, where the playlist says so.
    pub channels: Option<u64>,
    /// Whether it is for those who do not choose.
    pub is_default: bool,
    /// Whether it may be chosen for those who do not.
    pub is_autoselect: bool,
}
