//! What the boxes of an MP4 file say: its tracks and where their tables lie, edit lists, gapless
//! tags.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].
//!
//! Only small boxes are read whole (ISO/IEC 14496-12); durations are summed as they pass. Depth,
//! number of boxes and table sizes are bounded.
//!
//! - `boxes`: the walk over them;
//! - `entry`: what the samples of a track are;
//! - `config`: what kind of AAC;
//! - `program`: which channels, where it is not one of the usual ways.

mod boxes;
mod config;
mod entry;
mod program;

use std::ops::Range;

pub(super) use self::{
    boxes::read,
    config::{
        Extension, config_of, core_rate_hz, extension, has_program, refused_config, speakers,
    },
    entry::{Entry, Pcm, described},
};
use super::{Error, opening::Timeline};

/// Copies bytes at a position and says how many; fewer than asked for only at the end.
pub(super) type Read<'a> = dyn FnMut(u64, &mut [u8]) -> usize + 'a;

/// What the boxes of a movie say.
#[derive(Debug, Default)]
pub(super) struct Movie {
    pub(super) tracks: Vec<Track>,
    /// Ticks per second of edit durations.
    timescale: u64,
    /// What iTunes' gapless tag says.
    gapless: Option<Gapless>,
    /// Samples come in fragments, so the tables do not say how many.
    fragmented: bool,
    /// Where the first box of samples or the first fragment starts.
    first_media: Option<u64>,
    /// What the samples of a track's fragments are where they do not say it.
    defaults: Vec<Defaults>,
    /// Names of tags and their texts.
    pub(super) tags: Vec<(String, String)>,
    /// What its tables take of memory if they are read; `u64::MAX` where more boxes would have to be
    /// looked at than are.
    pub(super) table_bytes: u64,
}

/// Frames that are heard, and those before and behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gapless {
    delay: u64,
    padding: u64,
    length: u64,
}

/// The furthest that twice of what a gapless tag counts may be off the frames that there are, for it
/// to count those of an HE-AAC core: a packet.
const HALF_OFF_FRAMES: u64 = 2048;

impl Gapless {
    /// The same in the frames of which samples make `frames`. Some encoders count those of the core
    /// that HE-AAC has at half the rate.
    fn scaled(self, frames: u64) -> Self {
        let counted = self.delay.saturating_add(self.padding).saturating_add(self.length);
        if counted.saturating_mul(2).abs_diff(frames) > HALF_OFF_FRAMES {
            return self;
        }
        Self { delay: self.delay * 2, padding: self.padding * 2, length: self.length * 2 }
    }
}

/// What the boxes of a track say.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) id: u32,
    pub(super) is_audio: bool,
    pub(super) entry: Entry,
    /// As its header says it, or better a box of its own.
    pub(super) language: Option<String>,
    /// What its handler is called, unless that is a name of handlers.
    pub(super) name: Option<String>,
    pub(super) tables: Tables,
    /// Ticks per second.
    pub(super) timescale: u64,
    /// Sum of all sample durations.
    ticks: u64,
    /// Duration in the movie's ticks, and where in the media (-1: silence).
    edits: Vec<(u64, i64)>,
}

/// Where the tables of a track lie, behind the sizes and names of their boxes.
#[derive(Debug, Default, Clone)]
pub(super) struct Tables {
    /// `stts`
    pub(super) durations: Range<u64>,
    /// `stsc`
    pub(super) chunks: Range<u64>,
    /// `stsz`, or `stz2` if `is_compact`.
    pub(super) sizes: Range<u64>,
    pub(super) is_compact: bool,
    /// `stco`, or `co64` if `is_long`.
    pub(super) offsets: Range<u64>,
    pub(super) is_long: bool,
}

/// What the samples of a track's fragments are where those do not say it (`trex`).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Defaults {
    pub(super) track: u32,
    pub(super) ticks: u32,
    pub(super) bytes: u32,
}

impl Track {
    /// That nothing here decodes it: by the name of its codec, or by its four letters.
    pub(super) fn unsupported(&self) -> Error {
        match self.entry.refused() {
            Some(name) => Error::unsupported(name),
            None => Error::unsupported(self.entry.kind.escape_ascii().to_string()),
        }
    }
}

impl Movie {
    /// Where the first fragment may start, if a track has samples in fragments.
    pub(super) fn fragments(&self, track: &Track) -> Option<u64> {
        self.first_media.filter(|_| self.fragmented || track.ticks == 0)
    }

    /// What the fragments of a track need not say.
    pub(super) fn defaults(&self, track: u32) -> Defaults {
        let found = self.defaults.iter().find(|defaults| defaults.track == track);
        found.copied().unwrap_or(Defaults { track, ..Defaults::default() })
    }

    /// Its audio tracks, whether anything here decodes them or not.
    pub(super) fn audio_tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter().filter(|track| track.is_audio)
    }

    /// How the decoded frames of a track lie on the trimmed timeline, at `rate_hz`.
    ///
    /// The end is the earlier of the gapless tag's and the samples' own; the edit list's duration,
    /// which is rounded to the movie's ticks, cuts only if it is shorter by more than one of them.
    pub(super) fn timeline(&self, track: &Track, rate_hz: u32) -> Timeline {
        let scaled = |ticks: u64, per_second: u64| {
            let frames = u128::from(ticks) * u128::from(rate_hz) / u128::from(per_second.max(1));
            u64::try_from(frames).unwrap_or(u64::MAX).min(1 << 48)
        };
        let mut silence = 0;
        let mut real = None;
        for &(duration, media_time) in &track.edits {
            match u64::try_from(media_time) {
                Err(_) => silence += scaled(duration, self.timescale),
                Ok(start) => {
                    real = Some((scaled(start, track.timescale), scaled(duration, self.timescale)));
                    break;
                }
            }
        }
        let all = scaled(track.ticks, track.timescale);
        let gapless = self.gapless.map(|gapless| gapless.scaled(all));
        let delay = match (real, gapless) {
            (Some((start, _)), _) => start,
            (None, Some(gapless)) => gapless.delay,
            (None, None) => 0,
        };
        let mut length = all.saturating_sub(delay);
        if let Some(gapless) = gapless.filter(|gapless| gapless.length > 0) {
            length = length.min(gapless.length);
        }
        let tick = scaled(1, self.timescale) + 1;
        if let Some((_, cut)) = real.filter(|(_, cut)| *cut > 0 && cut + tick < length) {
            length = cut;
        }
        let is_known = !self.fragmented && track.ticks > 0;
        Timeline {
            delay: delay as i64 - silence as i64,
            frames: is_known.then_some(length + silence),
        }
    }
}

/// Bytes of the longest header of a box.
pub(super) const BOX_HEADER_BYTES: usize = 16;

/// What the header of a box says that starts with `head` at `at`: its name, where its content starts,
/// and where it ends, which may be before. `None` if it is none.
pub(super) fn box_header(head: &[u8], at: u64) -> Option<([u8; 4], u64, u64)> {
    let kind = *head.get(4..)?.first_chunk()?;
    let (start, length) = match u32_at(head, 0) {
        0 => (at + 8, u64::MAX - at),
        1 if head.len() >= BOX_HEADER_BYTES => (at + 16, u64_at(head, 8)),
        length => (at + 8, u64::from(length)),
    };
    Some((kind, start, at.checked_add(length)?))
}

/// The word at `at`; 0 if it is not there.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_be_bytes)
}

/// The double word at `at`; 0 if it is not there.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
    word.map_or(0, u64::from_be_bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn track(timescale: u64, ticks: u64, edits: &[(u64, i64)]) -> Track {
        Track { timescale, ticks, edits: edits.to_vec(), ..Track::default() }
    }

    #[test]
    fn the_earlier_end_wins_and_a_rounded_edit_does_not_cut() {
        let mut movie = Movie { timescale: 1000, ..Movie::default() };
        let edited = track(48_000, 69_632, &[(1428, 1024)]);
        // 1428 ms are 68,544 frames: 64 less than the samples, and more than a tick of 48.
        assert_eq!(movie.timeline(&edited, 48_000), Timeline { delay: 1024, frames: Some(68_544) });
        movie.gapless = Some(Gapless { delay: 1024, padding: 62, length: 68_546 });
        assert_eq!(movie.timeline(&edited, 48_000).frames, Some(68_546));
    }

    #[test]
    fn a_gapless_tag_may_count_the_frames_of_a_core() {
        let gapless = Gapless { delay: 1000, padding: 48, length: 20_456 };
        let movie = Movie { gapless: Some(gapless), ..Movie::default() };
        for timescale in [22_050, 44_100] {
            // 21 packets, by the ticks of the core and by those of what is heard.
            let ticks = 21 * 2048 * timescale / 44_100;
            let heard = movie.timeline(&track(timescale, ticks, &[]), 44_100);
            assert_eq!(heard, Timeline { delay: 2000, frames: Some(40_912) });
        }
        let plain = movie.timeline(&track(44_100, 21 * 1024, &[]), 44_100);
        assert_eq!(plain, Timeline { delay: 1000, frames: Some(20_456) });
    }

    #[test]
    fn an_empty_edit_is_silence() {
        let movie = Movie { timescale: 1000, ..Movie::default() };
        let shifted = track(48_000, 48_000, &[(500, -1), (1000, 0)]);
        assert_eq!(
            movie.timeline(&shifted, 48_000),
            Timeline { delay: -24_000, frames: Some(72_000) }
        );
    }

    /// A file that is here, as [`Read`] reads one.
    pub(in crate::decode) fn source(bytes: &[u8]) -> impl FnMut(u64, &mut [u8]) -> usize {
        move |at, into| {
            let rest = bytes.get(at as usize..).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            count
        }
    }
}
