//! What a client asks for, of what a multivariant playlist has.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::Duration;

use url::Url;

use super::{
    abr::{Coming, Controller, Epoch, First, Ladder, Mode, SegmentIndex, Situation, VariantIndex},
    playlist::{self, Multivariant, Track},
};

/// What a line carries of which nothing is known, in bits per second.
const ASSUMED_BANDWIDTH: u32 = 1_000_000;

/// Why a presentation is not played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// For what one of its playlists says.
    #[error(transparent)]
    Playlist(#[from] playlist::Error),
    /// It has no variant of that number with the track that is wanted.
    #[error("it has no such variant; there are {0}")]
    NoVariant(String),
    /// A playlist leads where none of its origin may.
    #[error("a playlist leads out of its library, or to another scheme than HTTP")]
    LeadsOut,
    /// The playlist of a variant came only in part.
    #[error("the playlist of a variant broke off")]
    BrokenOff,
    /// A key is none.
    #[error("a key of it is not one of AES-128: it has not 16 bytes")]
    BadKey,
    /// A variant's playlist names variants.
    #[error("the playlist of a variant names variants, where segments should be")]
    Nested,
}

/// The variant that is played, and the media playlists of it that are as good as each other.
///
/// # Errors
/// A track or a variant that there is not, or nothing that can be heard.
pub fn choose<'a>(
    list: &'a Multivariant,
    track: Track<'_>,
    mode: Mode,
) -> Result<(VariantIndex, &'a [Url]), Error> {
    let audio = list.audio(track)?;
    let bandwidth = |at: usize| {
        let variant = &list.variants[at];
        variant.average_bandwidth.or(variant.bandwidth).unwrap_or(0)
    };
    // Those without the track are none.
    let bandwidths: Vec<_> = audio.iter().map(|audio| bandwidth(audio.variant)).collect();
    let numbers =
        || audio.iter().map(|audio| audio.variant.to_string()).collect::<Vec<_>>().join(", ");
    let position = match mode {
        Mode::Fixed(wanted) => {
            audio.iter().position(|audio| audio.variant == usize::from(wanted.0))
        }
        mode => first(&bandwidths, mode),
    };
    let chosen = &audio[position.ok_or_else(|| Error::NoVariant(numbers()))?];
    Ok((VariantIndex(chosen.variant as u8), chosen.urls))
}

/// The place of the one to begin with, while nothing is known of its origin.
fn first(bandwidths: &[u64], mode: Mode) -> Option<usize> {
    let ladder = Ladder::new(bandwidths);
    let coming = Coming { segments: 1, duration: Duration::from_secs(4), sizes: &|_, _| None };
    let situation = Situation {
        ladder: &ladder,
        estimate: None,
        segment: SegmentIndex(0),
        epoch: Epoch(0),
        ahead: Duration::ZERO,
        capacity: Duration::ZERO,
        coming,
    };
    let controller = Controller::new(mode, First::Bandwidth(ASSUMED_BANDWIDTH));
    Some(usize::from(controller.decide(&situation).ok()?.variant.0))
}

/// Whether a media playlist, which is its own only variant, has what is wanted.
///
/// # Errors
/// It has not.
pub fn is_only_choice(track: Track<'_>, mode: Mode) -> Result<(), Error> {
    if !matches!(track, Track::Default | Track::Number(0)) {
        return Err(playlist::Error::NoTrack("number 0 alone".to_owned()).into());
    }
    match mode {
        Mode::Fixed(VariantIndex(1..)) => Err(Error::NoVariant("0 alone".to_owned())),
        _ => Ok(()),
    }
}
