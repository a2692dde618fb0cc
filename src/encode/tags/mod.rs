//! What an encoded stream says of what it holds: title, artist and the like, as its source has them.
//!
//! Pure: texts to bytes.
//!
//! | format | form | file |
//! |---|---|---|
//! | FLAC, Opus | comments of Xiph's | `comments` |
//! | MP3, AAC | an ID3v2.4 tag in front | `id3` |
//!
//! Texts alone: no pictures. What is said of how the source was encoded is left out, for it was encoded
//! anew; and how loud it is goes along where that is still so, in the terms of the format (`loudness`).

mod comments;
#[cfg(any(feature = "mp3", feature = "aac"))]
mod id3;
mod loudness;

use super::Codec;

/// Bytes of all names and texts together at most: what is beyond is left out. A page of Ogg holds twice as many.
const TAGS_BYTES: usize = 32 << 10;

/// Who wrote a stream.
const VENDOR: &str = concat!("kithara ", env!("CARGO_PKG_VERSION"));

/// Names that say how a source was encoded, how long it was or how it is divided.
const OF_THE_SOURCE: &[&str] = &[
    "approximate duration in seconds",
    "bps",
    "channel configuration",
    "compatible_brands",
    "creation_time",
    "cuesheet",
    "duration",
    "encoded_by",
    "encoder",
    "encoder_options",
    "encoder_settings",
    "encoding",
    "encoding application",
    "itunnorm",
    "itunsmpb",
    "length",
    "major_brand",
    "minor_version",
    "nominal bit rate",
    "number_of_bytes",
    "number_of_frames",
    "source encoder",
    "waveformatextensible_channel_mask",
];

/// What iTunes puts before names of its own and of others.
const ITUNES: &str = "com.apple.itunes:";

/// Names, in lower case, and texts, in the order of the source. One name may have several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// What a stream of `codec` says of a source whose tags are these. `is_as_loud`: nothing was mixed, so
    /// what they say of its loudness holds.
    pub fn of(source: &[(String, String)], codec: Codec, is_as_loud: bool) -> Self {
        let plain = source.iter().map(|(name, text)| (plain_name(name), text.as_str()));
        let plain: Vec<_> = plain.filter(|(name, _)| is_of_the_music(name)).collect();
        let loud = loudness::of(&plain, codec).into_iter().filter(|_| is_as_loud);
        let kept = plain.iter().filter(|(name, _)| !loudness::is_it(name));
        let kept = kept.map(|(name, text)| (name.clone(), (*text).to_owned()));
        let mut tags: Vec<_> = kept.chain(loud).collect();
        join_totals(&mut tags);
        let mut left = TAGS_BYTES;
        tags.retain(|(name, text)| match left.checked_sub(name.len() + text.len()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        });
        Self(tags)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn plain_name(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    name.strip_prefix(ITUNES).map_or(name.clone(), str::to_owned)
}

/// Whether a tag says something of the music, by a name that every format can have.
fn is_of_the_music(name: &str) -> bool {
    let is_text = name.bytes().all(|byte| matches!(byte, b' '..=b'}') && byte != b'=');
    is_text && !name.is_empty() && !name.starts_with('_') && !OF_THE_SOURCE.contains(&name)
}

/// A number of several is one text, as in `3/12`: comments have two.
fn join_totals(tags: &mut Vec<(String, String)>) {
    for (name, totals) in
        [("track", ["tracktotal", "totaltracks"]), ("disc", ["disctotal", "totaldiscs"])]
    {
        let total = tags.iter().find(|(other, _)| totals.contains(&&other[..]));
        let Some(total) = total.map(|(_, total)| total.clone()) else { continue };
        if let Some((_, number)) = tags.iter_mut().find(|(other, _)| other == name) {
            if !number.contains('/') {
                *number = format!("{number}/{total}");
            }
            tags.retain(|(other, _)| !totals.contains(&&other[..]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn tags(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn what_the_music_is_goes_along_and_how_it_was_encoded_does_not() {
        let source = tags(&[
            ("title", "Seven strings"),
            ("encoder", "Lavf59"),
            ("©xyz", "+52.5"),
            ("a=b", "c"),
            ("track", "3"),
            ("tracktotal", "12"),
            ("com.apple.iTunes:MusicBrainz Track Id", "1f"),
            ("_statistics_tags", "BPS"),
        ]);
        let kept =
            tags(&[("title", "Seven strings"), ("track", "3/12"), ("musicbrainz track id", "1f")]);
        assert_eq!(Tags::of(&source, Codec::Flac, true), Tags(kept));
    }

    #[test]
    fn what_is_beyond_the_bound_is_left_out() {
        let long = "a".repeat(1024);
        let names: Vec<_> = (0..64).map(|name| format!("name {name}")).collect();
        let mut source: Vec<_> = names.iter().map(|name| (&name[..], &long[..])).collect();
        source.push(("title", "short"));
        let kept = Tags::of(&tags(&source), Codec::Opus, true);
        let bytes: usize = kept.0.iter().map(|(name, text)| name.len() + text.len()).sum();
        assert!(bytes <= TAGS_BYTES && kept.0.len() > 30, "{bytes}");
        assert_eq!(kept.0.last(), Some(&("title".to_owned(), "short".to_owned())));
    }
}
