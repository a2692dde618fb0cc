//! Decoded audio as frames of a timeline: what a client asks for, what it will get, and what
//! makes it.
//!
//! A [`Rendition`] is decided once, before the first byte goes out: rate, channels, format, the
//! slice of frames, and from these every length. Its frames are those of a timeline, which all who want
//! the same PCM of a source share ([`Renditions`]): a [`Maker`] makes it piece by piece, once for all.
//! Nothing here waits for bytes, and nothing knows who listens.

#![forbid(unsafe_code)]

mod ask;
mod course;
mod error;
mod format;
mod grid;
mod input;
mod maker;
mod peaks;
mod rendition;
mod shared;
pub mod timeline;

pub use ask::{Ask, BadSource, Choice, RATES_HZ, SourceName, TrackName};
pub use course::{Course, Next};
pub use error::Error;
pub use format::Format;
pub use grid::{Grid, Piece};
pub use input::Input;
pub use maker::{Maker, STREAM_BYTES, Work, codec_bytes};
pub use peaks::{MOST_POINTS, Peak, Peaks};
pub use rendition::Rendition;
pub use shared::{
    Attempt, Call, Counting, Doubt, Knowledge, Known, KnownName, Listening, Look, Making,
    RECENT_WINDOWS, Renditions, Seat, StoreStats, TimelineKey, Understanding, Want,
};
