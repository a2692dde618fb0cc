//! Decoded audio as frames of a timeline: what a client asks for, what it will get, and the player
//! that makes it.
//!
//! A [`Rendition`] is decided once, before the first byte goes out: rate, channels, format, the
//! slice of frames, and from these every length. The [`Player`] then decodes, and neither waits for
//! bytes while it does nor knows who listens.

#![forbid(unsafe_code)]

mod ask;
mod error;
mod format;
mod player;
mod rendition;
pub mod timeline;

pub use ask::{Ask, BadSource, RATES_HZ, SourceName};
pub use error::Error;
pub use format::Format;
pub use player::{Player, STREAM_BYTES, Work, codec_bytes};
pub use rendition::Rendition;
