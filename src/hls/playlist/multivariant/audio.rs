//! Which audio is played: the rendition that a track names, in each variant.
//!
//! Pure: no I/O, no clock, no executor.

use url::Url;

use super::{super::error::Error, Content, Multivariant, Rendition, Variant};

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track<'a> {
    /// What the playlist has for those who do not choose.
    Default,
    /// Of [`Multivariant::tracks`], counted from 0.
    Number(usize),
    /// A NAME, or else a LANGUAGE: `en` is also `en-GB`.
    Named(&'a str),
}

/// Where the audio of a variant lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audio<'a> {
    /// Of [`Multivariant::variants`].
    pub variant: usize,
    /// The rendition, if the variant has several.
    pub rendition: Option<&'a Rendition>,
    /// Its media playlist, and others that are as good; at least one.
    pub urls: &'a [Url],
}

impl Multivariant {
    /// The renditions that differ in name or language, whatever their group.
    pub fn tracks(&self) -> Vec<&Rendition> {
        let mut tracks: Vec<&Rendition> = Vec::new();
        for rendition in &self.renditions {
            if !tracks.iter().any(|track| is_same_track(track, rendition)) {
                tracks.push(rendition);
            }
        }
        tracks
    }

    /// The audio of each variant that has that track, in the order of variants.
    ///
    /// # Errors
    /// [`Error::NoAudio`] if all is video, [`Error::NoTrack`] if no variant has the track.
    pub fn audio(&self, track: Track) -> Result<Vec<Audio<'_>>, Error> {
        let variants = self.variants.iter().enumerate();
        let heard: Vec<_> = variants.filter(|(_, variant)| self.is_heard(variant)).collect();
        if heard.is_empty() {
            return Err(Error::NoAudio("its variants are of video alone"));
        }
        let tracks = self.tracks();
        let audio = heard.into_iter().filter_map(|(index, variant)| {
            let group = self.group(variant);
            let rendition = match track {
                // Without renditions there is one track, and nobody named it.
                Track::Default | Track::Number(0) if group.is_empty() => None,
                Track::Default => Some(default(&group)?),
                Track::Number(number) => Some(same(&group, tracks.get(number)?)?),
                Track::Named(name) => Some(named(&group, name)?),
            };
            let own = rendition.and_then(|rendition| rendition.url.as_ref());
            let urls = own.map_or(&variant.urls[..], std::slice::from_ref);
            Some(Audio { variant: index, rendition, urls })
        });
        let audio: Vec<_> = audio.collect();
        if audio.is_empty() { Err(Error::NoTrack(self.track_names())) } else { Ok(audio) }
    }

    /// Whether there is audio in a variant or beside it.
    fn is_heard(&self, variant: &Variant) -> bool {
        variant.content != Content::Video || self.group(variant).iter().any(|r| r.url.is_some())
    }

    /// Its renditions; none also where it refers to a group that is not there.
    fn group(&self, variant: &Variant) -> Vec<&Rendition> {
        let group = |rendition: &&Rendition| Some(&rendition.group) == variant.audio_group.as_ref();
        self.renditions.iter().filter(group).collect()
    }

    fn track_names(&self) -> String {
        let names: Vec<_> = self
            .tracks()
            .into_iter()
            .map(|track| match &track.language {
                Some(language) => format!("`{}` ({language})", track.name),
                None => format!("`{}`", track.name),
            })
            .collect();
        if names.is_empty() { "number 0 alone".into() } else { names.join(", ") }
    }
}

fn is_same_track(one: &Rendition, other: &Rendition) -> bool {
    one.name == other.name && one.language == other.language
}

/// What stands for a choice that nobody made.
fn default<'a>(group: &[&'a Rendition]) -> Option<&'a Rendition> {
    let find = |is: fn(&&&Rendition) -> bool| group.iter().find(is);
    let found = find(|r| r.is_default).or_else(|| find(|r| r.is_autoselect));
    found.or(group.first()).copied()
}

fn same<'a>(group: &[&'a Rendition], track: &Rendition) -> Option<&'a Rendition> {
    group.iter().find(|rendition| is_same_track(rendition, track)).copied()
}

fn named<'a>(group: &[&'a Rendition], name: &str) -> Option<&'a Rendition> {
    let by_name = group.iter().find(|rendition| *rendition.name == *name);
    by_name.or_else(|| group.iter().find(|rendition| speaks(rendition, name))).copied()
}

/// Whether it is in that language, or in a kind of it (RFC 4647 section 3.3.1).
fn speaks(rendition: &Rendition, language: &str) -> bool {
    let Some(tag) = &rendition.language else { return false };
    let Some((start, rest)) = tag.split_at_checked(language.len()) else { return false };
    start.eq_ignore_ascii_case(language) && (rest.is_empty() || rest.starts_with('-'))
}
