//! A transcode as it is kept: among the values that are made of its source.
//!
//! ```text
//! body | front        about it: the bytes of the body, and the frames of audio
//! ```
//!
//! A client gets the front first. It lies behind the body since it is not known before that is whole.

use std::{fmt, ops::Range};

use super::index::Place;
use crate::{
    assets::{AssetStore, FillPermit, Lease},
    bufpool::Exhausted,
    decode,
    pcm::{Ask, Rendition},
};

/// What a transcode is called among the values that are made of its source.
#[derive(Debug, Clone)]
pub(super) struct Made {
    place: Place,
    /// Of the source, and of what decodes and encodes it.
    version: String,
    name: String,
}

impl Made {
    /// What is made for `ask`, of which the answer is `rendition`.
    pub(super) fn of(place: &Place, ask: &Ask, rendition: &Rendition) -> Self {
        let (decoded, written) = (decode::identity(), rendition.format.identity());
        let version = format!("{} {decoded}{written}", place.name.version);
        // Not how many frames there are: before it was played to its end that may not be known.
        let (of, cut) = ((place.variant, place.name.track), (ask.start, ask.duration));
        let text = format!("{of:?} {:?} {:?} {cut:?}", rendition.spec, rendition.format);
        let name = format!("transcode.{}", super::pcm::hash(&text));
        Self { place: place.clone(), version, name }
    }

    /// Of what it is made.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The one that is here or is being made.
    ///
    /// # Errors
    /// [`Exhausted`] where there is no memory to read what is said of it.
    pub(super) async fn find(&self, store: &AssetStore) -> Result<Option<Lease>, Exhausted> {
        match self.place.is_shared {
            true => store.find_derived(&self.place.key, &self.version, &self.name).await,
            // What is for one client alone nobody finds.
            false => Ok(None),
        }
    }

    /// Begins to make it, in place of what was here.
    pub(super) fn begin(&self, store: &AssetStore) -> (Lease, FillPermit) {
        let Place { key, is_shared, .. } = &self.place;
        store.begin_derived(key, &self.version, &self.name, *is_shared)
    }
}

/// What is said of a transcode beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct About {
    /// Bytes of the body; the front is behind them.
    pub(super) body_bytes: u64,
    /// Frames of audio.
    pub(super) frames: u64,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.body_bytes, self.frames)
    }
}

impl About {
    fn parse(text: &str) -> Option<Self> {
        let (body_bytes, frames) = text.split_once(' ')?;
        Some(Self { body_bytes: body_bytes.parse().ok()?, frames: frames.parse().ok()? })
    }
}

/// A transcode of which all is here.
pub(super) struct Stored {
    pub(super) lease: Lease,
    about: About,
    length: u64,
}

impl Stored {
    /// What this is a lease on, if that is whole.
    pub(super) fn of(lease: &Lease) -> Option<Self> {
        let about = About::parse(&AssetStore::about(lease)?)?;
        let length = lease.resource.length().filter(|length| *length >= about.body_bytes)?;
        Some(Self { lease: lease.clone(), about, length })
    }

    /// Frames of audio.
    pub(super) fn frames(&self) -> u64 {
        self.about.frames
    }

    /// `Content-Length` of the whole.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Where the bytes of a part of it lie, in order. Either may be empty.
    pub(super) fn places(&self, part: &Range<u64>) -> [Range<u64>; 2] {
        places(self.about.body_bytes, self.length, part)
    }
}

fn places(body_bytes: u64, length: u64, part: &Range<u64>) -> [Range<u64>; 2] {
    let front_bytes = length - body_bytes;
    let front = part.start.min(front_bytes)..part.end.min(front_bytes);
    let body = part.start.max(front_bytes)..part.end.clamp(front_bytes, length);
    [
        body_bytes + front.start..body_bytes + front.end,
        body.start.min(length) - front_bytes..body.end - front_bytes,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_back() {
        let about = About { body_bytes: 17, frames: 4096 };
        assert_eq!(About::parse(&about.to_string()), Some(about));
        for damaged in ["", "17", "17 ", "-1 2", "1 2 3"] {
            assert_eq!(About::parse(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn any_part_is_that_part_of_front_and_body() {
        for (body_bytes, front_bytes) in [(7, 3), (0, 3), (7, 0), (0, 0)] {
            let length = body_bytes + front_bytes;
            let stored: Vec<u64> = (front_bytes..length).chain(0..front_bytes).collect();
            for start in 0..=length {
                for end in start..=length {
                    let places = places(body_bytes, length, &(start..end));
                    let bytes =
                        places.map(|place| &stored[place.start as usize..place.end as usize]);
                    let wanted: Vec<u64> = (start..end).collect();
                    assert_eq!(bytes.concat(), wanted, "{start}..{end} of {body_bytes}");
                }
            }
        }
    }
}
