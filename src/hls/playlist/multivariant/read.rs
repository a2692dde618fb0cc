//! The reader of multivariant playlists (RFC 8216 section 4.3.4).
//!
//! Pure: no I/O, no clock, no executor.

use url::Url;

use super::{
    super::{
        attributes::Attributes,
        error::Error,
        line::{Line, Lines},
        scope::{Place, Scope},
        start::Start,
        value,
    },
    Content, Multivariant, Rendition, Variant,
};

/// Audio renditions of one presentation: four groups of as many languages as there are variants.
const RENDITIONS: usize = 256;

/// Keys to be fetched early.
const SESSION_KEYS: usize = 64;

const STREAM_INF: &str = "EXT-X-STREAM-INF";

/// Reads all lines.
///
/// # Errors
/// See [`Error`].
pub(in super::super) fn read(lines: Lines, scope: Scope) -> Result<Multivariant, Error> {
    let mut reader = Reader {
        scope,
        variants: Vec::new(),
        waiting: None,
        streams: 0,
        renditions: Vec::new(),
        session_keys: Vec::new(),
        start: None,
    };
    for line in lines {
        match line? {
            (line, Line::Tag { name, value }) => reader.tag(line, name, value)?,
            (line, Line::Uri(uri)) => reader.uri(line, uri)?,
        }
    }
    reader.finish()
}

struct Reader<'a> {
    scope: Scope<'a>,
    /// Each with its attributes as they are written.
    variants: Vec<(Attributes<'a>, Variant)>,
    /// What was said of the variant whose URI follows, and in which line.
    waiting: Option<(usize, Attributes<'a>)>,
    /// Variants, each redundant one counted.
    streams: usize,
    renditions: Vec<Rendition>,
    session_keys: Vec<Url>,
    start: Option<Start>,
}

impl<'a> Reader<'a> {
    fn tag(&mut self, line: usize, name: &str, value: &'a str) -> Result<(), Error> {
        let attributes = Attributes::new(value);
        match name {
            STREAM_INF => {
                self.nothing_waits()?;
                let most = self.scope.limits.uri_bytes;
                if value.len() > most {
                    return Err(Place { line, tag: STREAM_INF }.over("uri_bytes", most));
                }
                self.waiting = Some((line, attributes));
            }
            "EXT-X-MEDIA" if attributes.get("TYPE") == Some("AUDIO") => {
                self.rendition(line, attributes)?;
            }
            "EXT-X-SESSION-KEY" => self.session_key(line, attributes)?,
            "EXT-X-START" => self.start = Start::read(attributes),
            "EXT-X-DEFINE" => self.scope.define(line, attributes)?,
            "EXTINF" => {
                let place = Place { line, tag: "EXTINF" };
                return Err(place.malformed("stands in a playlist of variants; make them two"));
            }
            _ => {}
        }
        Ok(())
    }

    fn nothing_waits(&self) -> Result<(), Error> {
        match self.waiting {
            Some((line, _)) => {
                Err(Place { line, tag: STREAM_INF }
                    .malformed("has no URI; write it in the next line"))
            }
            None => Ok(()),
        }
    }

    fn uri(&mut self, line: usize, uri: &str) -> Result<(), Error> {
        let place = Place { line, tag: "URI" };
        let Some((line, attributes)) = self.waiting.take() else {
            return Err(place.malformed("belongs to no variant; write EXT-X-STREAM-INF before it"));
        };
        self.streams += 1;
        let most = self.scope.limits.variants;
        if self.streams > most {
            return Err(place.over("variants", most));
        }
        let uri = self.scope.text(place, uri)?;
        let url = self.scope.resolve(place, &uri)?;
        let same = self.variants.iter_mut().find(|(other, _)| is_redundant(*other, attributes));
        match same {
            Some((_, variant)) if variant.urls.contains(&url) => {}
            Some((_, variant)) => variant.urls.push(url),
            None => self.variants.push((attributes, self.variant(line, attributes, url)?)),
        }
        Ok(())
    }

    fn variant(&self, line: usize, attributes: Attributes, url: Url) -> Result<Variant, Error> {
        let place = Place { line, tag: STREAM_INF };
        let number = |name| attributes.get(name).and_then(value::integer);
        let codecs = self.scope.attribute(place, attributes, "CODECS")?.unwrap_or_default();
        let codecs = codecs.split(',').map(str::trim).filter(|codec| !codec.is_empty());
        let codecs: Vec<Box<str>> = codecs.map(Into::into).collect();
        Ok(Variant {
            urls: vec![url],
            bandwidth: number("BANDWIDTH"),
            average_bandwidth: number("AVERAGE-BANDWIDTH"),
            content: content(&codecs, attributes.get("RESOLUTION").is_some()),
            codecs,
            audio_group: self.scope.attribute(place, attributes, "AUDIO")?.map(Into::into),
        })
    }

    fn rendition(&mut self, line: usize, attributes: Attributes) -> Result<(), Error> {
        let place = Place { line, tag: "EXT-X-MEDIA" };
        if self.renditions.len() == RENDITIONS {
            return Err(place.malformed("is one of too many audio renditions"));
        }
        let text = |name| self.scope.attribute(place, attributes, name);
        let group = text("GROUP-ID")?.ok_or_else(|| place.malformed("has no GROUP-ID"))?;
        let uri = text("URI")?;
        let url = uri.map(|uri| self.scope.resolve(place, &uri)).transpose()?;
        // What follows a slash tells of kinds of channels.
        let channels = attributes.get("CHANNELS").and_then(|value| value.split('/').next());
        let rendition = Rendition {
            group: group.into(),
            name: text("NAME")?.unwrap_or_default().into(),
            language: text("LANGUAGE")?.map(Into::into),
            url,
            channels: channels.and_then(value::integer),
            is_default: attributes.is_yes("DEFAULT"),
            is_autoselect: attributes.is_yes("AUTOSELECT"),
        };
        self.renditions.push(rendition);
        Ok(())
    }

    /// Of those that can be used; whether there is one for each segment, its media playlist says.
    fn session_key(&mut self, line: usize, attributes: Attributes) -> Result<(), Error> {
        let place = Place { line, tag: "EXT-X-SESSION-KEY" };
        let format = attributes.get("KEYFORMAT").unwrap_or("identity");
        let is_usable = attributes.get("METHOD") == Some("AES-128") && format == "identity";
        let uri = self.scope.attribute(place, attributes, "URI")?.filter(|_| is_usable);
        let Some(uri) = uri.filter(|_| self.session_keys.len() < SESSION_KEYS) else {
            return Ok(());
        };
        let url = self.scope.resolve(place, &uri)?;
        if !self.session_keys.contains(&url) {
            self.session_keys.push(url);
        }
        Ok(())
    }

    fn finish(self) -> Result<Multivariant, Error> {
        self.nothing_waits()?;
        if self.variants.is_empty() {
            return Err(Error::Empty);
        }
        Ok(Multivariant {
            variants: self.variants.into_iter().map(|(_, variant)| variant).collect(),
            renditions: self.renditions,
            session_keys: self.session_keys,
            variables: self.scope.variables,
            start: self.start,
        })
    }
}

/// Whether two variants have the same attributes, but for where they are steered to.
fn is_redundant(one: Attributes, other: Attributes) -> bool {
    fn said<'a>(attributes: Attributes<'a>) -> Vec<(&'a str, &'a str)> {
        let said = attributes.iter().filter(|(name, _)| *name != "PATHWAY-ID");
        let mut said: Vec<_> = said.collect();
        said.sort_unstable();
        said
    }
    said(one) == said(other)
}

/// What these codecs are of. One that nobody knows may be audio.
fn content(codecs: &[Box<str>], has_pictures: bool) -> Content {
    const VIDEO: &[&str] = &[
        "avc", "av01", "dav1", "dva", "dvh", "hev", "hvc", "mjp", "mp4v", "vp0", "vp8", "vp9",
        "vvc",
    ];
    const TEXT: &[&str] = &["stpp", "wvtt"];
    let is_of = |kinds: &[&str], codec: &str| {
        let codec = codec.to_ascii_lowercase();
        kinds.iter().any(|kind| codec.starts_with(kind))
    };
    let has_video = has_pictures || codecs.iter().any(|codec| is_of(VIDEO, codec));
    let has_audio = codecs.iter().any(|codec| !is_of(VIDEO, codec) && !is_of(TEXT, codec));
    match (has_audio, has_video) {
        (true, false) => Content::Audio,
        (false, _) if !codecs.is_empty() => Content::Video,
        _ => Content::Any,
    }
}
