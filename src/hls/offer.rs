//! What a presentation has to choose from, as a client is told.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::Duration;

use super::playlist::Multivariant;

/// Its variants and its tracks; none where a playlist names segments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Each is asked for by its place here.
    pub variants: Vec<OfferedVariant>,
    /// Each is asked for by its place here, by its name or by its language.
    pub tracks: Vec<OfferedTrack>,
    /// When it wants to be played from, where it says so (EXT-X-START).
    pub start: Option<Duration>,
}

/// One encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedVariant {
    /// Bits per second at most, where the playlist says so.
    pub bandwidth: Option<u64>,
    /// Bits per second on average, likewise.
    pub average_bandwidth: Option<u64>,
    /// As RFC 6381 names them.
    pub codecs: Vec<Box<str>>,
    /// Where its playlist lies, without a query, which may hold a secret.
    pub url: String,
}

/// One audio rendition, in whichever variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedTrack {
    /// For people.
    pub name: Box<str>,
    /// As RFC 5646 tags it.
    pub language: Option<Box<str>>,
    /// How many, where the playlist says so.
    pub channels: Option<u64>,
    /// Whether it is for those who do not choose.
    pub is_default: bool,
}

impl Offer {
    /// What `list` has. When it is played from depends on how long a variant is.
    pub fn of(list: &Multivariant) -> Self {
        let variants = list.variants.iter().map(|variant| {
            let mut url = variant.urls[0].clone();
            url.set_query(None);
            OfferedVariant {
                bandwidth: variant.bandwidth,
                average_bandwidth: variant.average_bandwidth,
                codecs: variant.codecs.clone(),
                url: url.into(),
            }
        });
        let tracks = list.tracks().into_iter().map(|track| OfferedTrack {
            name: track.name.clone(),
            language: track.language.clone(),
            channels: track.channels,
            is_default: track.is_default,
        });
        Self { variants: variants.collect(), tracks: tracks.collect(), start: None }
    }
}
