//! Playlists of HLS on demand: what they say, read from their bytes (RFC 8216, with what
//! draft-pantos-hls-rfc8216bis adds to variables).
//!
//! Pure: no I/O, no clock, no executor.
//!
//! [`parse`] takes what real playlists contain: a byte order mark, either end of line, spaces and empty
//! attributes in lists, values without their quotes, tags nobody knows. What it refuses it refuses whole,
//! by an [`Error`] that says whose decision it is: a playlist that is half understood would be a
//! presentation with holes. What says nothing about audio (titles, dates, parts of segments, steering,
//! I-frames) is passed over.
//!
//! The reader of tags is our own (`line`, `attributes`, `value`), since a crate would be the larger part:
//! `quick-m3u8` 0.8 reads durations as `f64` with NaN and infinity among them, takes a URI without quotes,
//! which real playlists have, for none, and a tag with one space too many for unknown, so that every line
//! had to be rewritten first.
//!
//! - `line`: lines with their numbers, as tags and URIs; `attributes`, `value`: what stands in a tag;
//! - `scope`: what a text is read against, which is the URL, the variables and the limits;
//!   `variables` hold what was defined, `uris` each URI once;
//! - `media`, `multivariant`: the two kinds, each a model and its reader.

mod attributes;
mod error;
mod line;
mod media;
mod multivariant;
mod scope;
mod start;
mod uris;
mod value;
mod variables;

use url::Url;

pub use self::{
    error::Error,
    media::{ByteRange, InitSection, Key, Media, Segment},
    multivariant::{Audio, Content, Multivariant, Rendition, Track, Variant},
    start::Start,
    uris::Uri,
    variables::Variables,
};
use self::{
    line::{Line, Lines},
    scope::Scope,
};
use super::keys::IDENTITY;

/// One of the two kinds of playlist.
#[derive(Debug)]
pub enum Playlist {
    /// It names variants, each with a media playlist.
    Multivariant(Multivariant),
    /// It names segments.
    Media(Media),
}

/// What a playlist may take. The names are those of `[limits]`.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one playlist.
    pub playlist_bytes: usize,
    /// Lines of one playlist: a day of 1 s segments.
    pub playlist_lines: usize,
    /// Variants of one presentation, redundant ones among them.
    pub variants: usize,
    /// Bytes of one URI or one value, once its variables are replaced.
    pub uri_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { playlist_bytes: 4 << 20, playlist_lines: 100_000, variants: 64, uri_bytes: 8 << 10 }
    }
}

/// Reads the playlist that came from `url`, the last one where there were redirects. `imports` are the
/// variables of the multivariant playlist that named it, none for a first one.
///
/// # Errors
/// See [`Error`].
pub fn parse(
    bytes: &[u8],
    url: &Url,
    imports: &Variables,
    limits: &Limits,
) -> Result<Playlist, Error> {
    parse_with_keys(bytes, url, imports, limits, &[IDENTITY])
}

/// The same where keys of these formats can be had.
///
/// # Errors
/// See [`Error`].
pub fn parse_with_keys(
    bytes: &[u8],
    url: &Url,
    imports: &Variables,
    limits: &Limits,
    key_formats: &[&str],
) -> Result<Playlist, Error> {
    if bytes.len() > limits.playlist_bytes {
        let (line, most) = (0, limits.playlist_bytes);
        return Err(Error::Limit { line, name: "playlist_bytes", most });
    }
    let lines = Lines::new(bytes, limits.playlist_lines)?;
    let scope = Scope::new(url, imports, limits, key_formats);
    match kind(lines.clone())? {
        Kind::Multivariant => multivariant::read(lines, scope).map(Playlist::Multivariant),
        Kind::Media => media::read(lines, scope).map(Playlist::Media),
    }
}

enum Kind {
    Multivariant,
    Media,
}

/// What the playlist is by the first tag that only one kind has. Tags that packagers put into either by
/// mistake do not count.
fn kind(lines: Lines) -> Result<Kind, Error> {
    let mut has_tags = false;
    for line in lines {
        let (_, Line::Tag { name, .. }) = line? else { continue };
        match name {
            "EXT-X-STREAM-INF" | "EXT-X-MEDIA" | "EXT-X-I-FRAME-STREAM-INF" => {
                return Ok(Kind::Multivariant);
            }
            // A list of songs has this one too, and no other.
            "EXTINF" if !has_tags => {}
            "EXTINF" => return Ok(Kind::Media),
            name => has_tags |= name.starts_with("EXT-X-"),
        }
    }
    match has_tags {
        true => Ok(Kind::Media),
        false => Err(Error::NotHls("it has no tag of HLS, so it may be a list of files")),
    }
}

#[cfg(test)]
mod tests;
