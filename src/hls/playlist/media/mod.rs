//! A media playlist: the segments of one variant or rendition in their order.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A segment takes 64 bytes and the letters of its URI: 10,000 of 29 letters 0.9 MB. What many share (keys,
//! init sections) they share here too.

mod keys;
mod read;

use std::{
    num::{NonZeroU16, NonZeroU64},
    ops::Range,
    rc::Rc,
    time::Duration,
};

use url::Url;

pub(super) use self::read::read;
use super::{
    start::Start,
    uris::{Uri, slice},
    variables::Variables,
};

/// All of an ended playlist.
#[derive(Debug)]
pub struct Media {
    url: Url,
    uris: Box<str>,
    variables: Variables,
    segments: Box<[Segment]>,
    first_sequence: u64,
    first_discontinuity_sequence: u64,
    duration: Duration,
    dates: Box<[(usize, i64)]>,
    start: Option<Start>,
}

/// A stretch of media, decoded after the one before it.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Of its resource.
    pub uri: Uri,
    /// Its part of the resource; all of it if `None`.
    pub byte_range: Option<ByteRange>,
    /// As the playlist has it, which is near what its frames last.
    pub duration: Duration,
    /// About so many kilobits per second, where that is said of its resource.
    pub kbits: Option<NonZeroU16>,
    /// Without one it is in the clear.
    pub key: Option<Rc<Key>>,
    /// What comes before it in the same form; there is none for MPEG-TS and packed audio.
    pub init: Option<Rc<InitSection>>,
    /// Discontinuities from the playlist's start up to this segment.
    discontinuities: u32,
    /// Whether it does not go on where the one before ends: timestamps or encoding change.
    pub is_discontinuity: bool,
    /// Whether its resource is known to be missing.
    pub is_gap: bool,
}

/// Bytes of a resource, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    start: u64,
    bytes: NonZeroU64,
}

/// A key for AES-128: CBC with padding over a whole segment or init section.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Of the 16 bytes, or of what they are made of.
    pub uri: Uri,
    /// `KEYFORMAT` and `KEYFORMATVERSIONS`, where it is not `identity`.
    pub format: Option<Rc<(Box<str>, Box<str>)>>,
    /// The initialization vector, if the playlist has one; see [`Media::iv`].
    iv: Option<u128>,
}

impl Key {
    /// The initialization vector, if the playlist has one.
    pub fn stated_iv(&self) -> Option<[u8; 16]> {
        self.iv.map(u128::to_be_bytes)
    }
}

/// What a decoder needs before the segments it goes with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InitSection {
    /// Of its resource.
    pub uri: Uri,
    /// Its part of the resource; all of it if `None`.
    pub byte_range: Option<ByteRange>,
    /// The key and its initialization vector; in the clear without.
    pub key: Option<(Rc<Key>, [u8; 16])>,
}

impl Media {
    /// In the order in which they are played; at least one.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// What `uri`, which is one of this playlist, stands for: resolved against where the playlist came
    /// from.
    pub fn url(&self, uri: Uri) -> Url {
        let text = slice(&self.uris, uri);
        // Each was resolved when it was read, and what is defined once stays so.
        let text = self.variables.replace(text, usize::MAX).expect("its variables are defined");
        self.url.join(&text).expect("it is a URI")
    }

    /// The sum of all segments.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// The media sequence number of a segment.
    pub fn sequence(&self, index: usize) -> u64 {
        self.first_sequence + index as u64
    }

    /// The discontinuity sequence number of a segment: equal ones of two variants have one timeline.
    pub fn discontinuity_sequence(&self, index: usize) -> u64 {
        self.first_discontinuity_sequence + u64::from(self.segments[index].discontinuities)
    }

    /// The initialization vector of a segment: its key's, else its media sequence number (RFC 8216 section
    /// 5.2).
    pub fn iv(&self, index: usize) -> [u8; 16] {
        let key = self.segments[index].key.as_ref();
        let iv = key.and_then(|key| key.iv);
        iv.unwrap_or_else(|| self.sequence(index).into()).to_be_bytes()
    }

    /// Segments whose date is stated, with milliseconds since 1970.
    pub fn dates_unix_ms(&self) -> &[(usize, i64)] {
        &self.dates
    }

    /// Where it wants to be played from.
    pub fn start(&self) -> Option<Start> {
        self.start
    }
}

impl ByteRange {
    /// `None` if it has no byte, or ends after the last position there is.
    fn new(start: u64, bytes: u64) -> Option<Self> {
        start.checked_add(bytes)?;
        Some(Self { start, bytes: NonZeroU64::new(bytes)? })
    }

    /// Positions in the resource.
    pub fn positions(self) -> Range<u64> {
        self.start..self.end()
    }

    /// Where what follows it begins.
    fn end(self) -> u64 {
        self.start + self.bytes.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_small() {
        assert_eq!(size_of::<Segment>(), 64);
    }
}
