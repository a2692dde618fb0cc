//! What a client asks for, of what a multivariant playlist has.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::Duration;

use url::Url;

use super::{
    abr::{
        Coming, Controller, Epoch, Estimate, First, Ladder, Mode, SegmentIndex, Situation,
        VariantIndex,
    },
    playlist::{self, Multivariant, Track, Variables},
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
    /// A key cannot be had, or what came for it is none.
    #[error("its key {name}: {why}")]
    NoKey {
        /// Where it lies.
        name: String,
        /// What its origin said, or what is wrong with it.
        why: String,
    },
    /// A variant's playlist names variants.
    #[error("the playlist of a variant names variants, where segments should be")]
    Nested,
}

/// The variants that have the track that is wanted.
#[derive(Debug)]
pub struct Variants {
    /// By rung: the place in the playlist.
    numbers: Vec<VariantIndex>,
    /// By rung: media playlists that are as good as each other.
    urls: Vec<Vec<Url>>,
    ladder: Ladder,
    variables: Variables,
}

impl Variants {
    /// Those of `list`.
    ///
    /// # Errors
    /// A track that there is not, or nothing that can be heard.
    pub fn of(list: &Multivariant, track: Track<'_>) -> Result<Self, Error> {
        let audio = list.audio(track)?;
        let bandwidth = |at: usize| {
            let variant = &list.variants[at];
            variant.average_bandwidth.or(variant.bandwidth).unwrap_or(0)
        };
        let bandwidths: Vec<_> = audio.iter().map(|audio| bandwidth(audio.variant)).collect();
        Ok(Self {
            numbers: audio.iter().map(|audio| VariantIndex(audio.variant as u8)).collect(),
            urls: audio.iter().map(|audio| audio.urls.to_vec()).collect(),
            ladder: Ladder::new(&bandwidths),
            variables: list.variables.clone(),
        })
    }

    /// The variant's place in the playlist.
    pub fn number(&self, rung: VariantIndex) -> VariantIndex {
        self.numbers[usize::from(rung.0)]
    }

    /// The rung of a variant.
    pub fn rung(&self, number: VariantIndex) -> Option<VariantIndex> {
        let at = self.numbers.iter().position(|known| *known == number)?;
        Some(VariantIndex(at as u8))
    }

    /// The media playlists of a rung, which are as good as each other.
    pub fn urls(&self, rung: VariantIndex) -> &[Url] {
        &self.urls[usize::from(rung.0)]
    }

    /// The rungs, by what they take.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// What the media playlists may refer to by name.
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Their rungs in the order of the playlist.
    pub fn rungs(&self) -> impl Iterator<Item = VariantIndex> + use<> {
        (0..self.numbers.len() as u8).map(VariantIndex)
    }

    /// Whether there is something to choose, were it of two that are as good as each other.
    pub fn are_several(&self) -> bool {
        self.numbers.len() > 1 || self.urls.iter().any(|urls| urls.len() > 1)
    }

    /// The rung to begin with, none of those that are `lost`.
    ///
    /// # Errors
    /// There is no variant of that number with the track, or no other.
    pub fn choose(
        &self,
        mode: Mode,
        estimate: Option<Estimate>,
        lost: &[VariantIndex],
    ) -> Result<VariantIndex, Error> {
        let numbers = || {
            let numbers = self.numbers.iter().map(ToString::to_string);
            numbers.collect::<Vec<_>>().join(", ")
        };
        let rung = match mode {
            Mode::Fixed(wanted) => self.rung(wanted),
            mode => self.first(mode, estimate, lost),
        };
        rung.ok_or_else(|| Error::NoVariant(numbers()))
    }

    fn first(
        &self,
        mode: Mode,
        estimate: Option<Estimate>,
        lost: &[VariantIndex],
    ) -> Option<VariantIndex> {
        let coming = Coming { segments: 1, duration: Duration::from_secs(4), sizes: &|_, _| None };
        let situation = Situation {
            ladder: &self.ladder,
            estimate,
            segment: SegmentIndex(0),
            epoch: Epoch(0),
            ahead: Duration::ZERO,
            capacity: Duration::ZERO,
            coming,
        };
        let mut controller = Controller::new(mode, First::Bandwidth(ASSUMED_BANDWIDTH));
        lost.iter().for_each(|rung| controller.lose(*rung));
        Some(controller.decide(&situation).ok()?.variant)
    }
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
