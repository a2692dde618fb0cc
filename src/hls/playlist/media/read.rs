//! The reader of media playlists (RFC 8216 sections 4.3.2 and 4.3.3).
//!
//! Pure: no I/O, no clock, no executor.

use std::{collections::HashSet, num::NonZeroU16, rc::Rc, time::Duration};

use super::{
    super::super::keys::IDENTITY,
    super::{
        attributes::Attributes,
        error::Error,
        line::{Line, Lines},
        scope::{Place, Scope},
        start::Start,
        uris::{Uri, Uris},
        value,
    },
    ByteRange, InitSection, Key, Media, Segment,
    keys::{Holding, Keys},
};

/// The longest presentation: its frames at any rate are far from the end of 64 bits.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// How much longer than a playlist its URIs may be together once variables stand in them, in playlists.
const LONGER_BY_VARIABLES: usize = 16;

/// Reads all lines.
///
/// # Errors
/// See [`Error`].
pub(in super::super) fn read(lines: Lines, scope: Scope) -> Result<Media, Error> {
    let mut reader = Reader::new(scope);
    for line in lines {
        match line? {
            (line, Line::Tag { name, value }) => reader.tag(line, name, value)?,
            (line, Line::Uri(uri)) => reader.segment(line, uri)?,
        }
    }
    reader.finish()
}

struct Reader<'a> {
    scope: Scope<'a>,
    uris: Uris,
    /// Of all URIs, with what their variables stand for.
    uri_bytes: usize,
    segments: Vec<Segment>,
    next: Next,
    keys: Keys,
    init: Option<Rc<InitSection>>,
    /// Equal keys and init sections are one, also where others stand between.
    known_keys: HashSet<Rc<Key>>,
    known_inits: HashSet<Rc<InitSection>>,
    first_sequence: u64,
    first_discontinuity_sequence: u64,
    discontinuities: u32,
    /// What was said of all segments from here on.
    kbits: Option<NonZeroU16>,
    duration: Duration,
    dates: Vec<(usize, i64)>,
    start: Option<Start>,
    is_ended: bool,
}

/// What was said of the next segment alone.
#[derive(Default)]
struct Next {
    /// With its line.
    duration: Option<(usize, Duration)>,
    /// Length, and where it begins if that is said.
    byte_range: Option<(u64, Option<u64>)>,
    is_discontinuity: bool,
    is_gap: bool,
    date_unix_ms: Option<i64>,
}

impl<'a> Reader<'a> {
    fn new(scope: Scope<'a>) -> Self {
        Self {
            scope,
            uris: Uris::default(),
            uri_bytes: 0,
            segments: Vec::new(),
            next: Next::default(),
            keys: Keys::default(),
            init: None,
            known_keys: HashSet::new(),
            known_inits: HashSet::new(),
            first_sequence: 0,
            first_discontinuity_sequence: 0,
            discontinuities: 0,
            kbits: None,
            duration: Duration::ZERO,
            dates: Vec::new(),
            start: None,
            is_ended: false,
        }
    }

    fn tag(&mut self, line: usize, name: &str, value: &str) -> Result<(), Error> {
        let attributes = Attributes::new(value);
        match name {
            "EXTINF" => self.duration(line, value)?,
            "EXT-X-BYTERANGE" => self.next.byte_range = Some(byte_range(line, value)?),
            "EXT-X-DISCONTINUITY" => self.discontinuity(),
            "EXT-X-BITRATE" => self.kbits = value.parse().ok(),
            "EXT-X-GAP" => self.next.is_gap = true,
            "EXT-X-PROGRAM-DATE-TIME" => self.next.date_unix_ms = value::date_unix_ms(value),
            "EXT-X-KEY" => self.key(line, attributes)?,
            "EXT-X-MAP" => self.init(line, attributes)?,
            "EXT-X-MEDIA-SEQUENCE" => self.first_sequence = self.first(line, value)?,
            "EXT-X-DISCONTINUITY-SEQUENCE" => {
                let place = Place { line, tag: "EXT-X-DISCONTINUITY-SEQUENCE" };
                self.first_discontinuity_sequence = number(place, value)?;
            }
            "EXT-X-START" => self.start = Start::read(attributes),
            "EXT-X-DEFINE" => self.scope.define(line, attributes)?,
            "EXT-X-ENDLIST" => self.is_ended = true,
            "EXT-X-PLAYLIST-TYPE" => self.is_ended |= value == "VOD",
            // What it skips was in an answer before it.
            "EXT-X-SKIP" => return Err(Error::Live),
            "EXT-X-I-FRAMES-ONLY" => return Err(Error::NoAudio("it lists I-frames of video")),
            "EXT-X-STREAM-INF" => {
                let place = Place { line, tag: "EXT-X-STREAM-INF" };
                return Err(place.malformed("stands in a playlist of segments; make them two"));
            }
            _ => {}
        }
        Ok(())
    }

    fn duration(&mut self, line: usize, value: &str) -> Result<(), Error> {
        self.nothing_waits()?;
        self.next.duration = Some((line, duration(line, value)?));
        Ok(())
    }

    /// A duration without its URI is a hole, or where a playlist was cut.
    fn nothing_waits(&self) -> Result<(), Error> {
        match self.next.duration {
            Some((line, _)) => {
                Err(Place { line, tag: "EXTINF" }.malformed("has no URI; write one after it"))
            }
            None => Ok(()),
        }
    }

    fn discontinuity(&mut self) {
        self.next.is_discontinuity = true;
        // No more than there are lines.
        self.discontinuities = self.discontinuities.saturating_add(1);
    }

    /// The media sequence number, of which what is already read may have made use.
    fn first(&self, line: usize, value: &str) -> Result<u64, Error> {
        let place = Place { line, tag: "EXT-X-MEDIA-SEQUENCE" };
        if !self.segments.is_empty() || self.init.is_some() {
            return Err(place.malformed("stands after a segment or EXT-X-MAP; write it before"));
        }
        number(place, value)
    }

    fn key(&mut self, line: usize, attributes: Attributes) -> Result<(), Error> {
        let place = Place { line, tag: "EXT-X-KEY" };
        let Some(method) = attributes.get("METHOD") else {
            return Err(
                place.malformed("has no METHOD; write METHOD=NONE for what is in the clear")
            );
        };
        if method == "NONE" {
            self.keys.clear();
            return Ok(());
        }
        let format = attributes.get("KEYFORMAT").unwrap_or(IDENTITY);
        let holding = match (method, format) {
            ("AES-128", format) if self.scope.takes_keys(format) => {
                Holding::Usable(self.usable_key(place, attributes)?)
            }
            (method, IDENTITY) => Holding::Unusable(method.to_owned()),
            (method, format) => Holding::Unusable(format!("{method} ({format})")),
        };
        match self.keys.hold(format, holding) {
            true => Ok(()),
            false => Err(place.malformed("is one of too many key formats at one time")),
        }
    }

    fn usable_key(&mut self, place: Place, attributes: Attributes) -> Result<Rc<Key>, Error> {
        let uri = self.uri_attribute(place, attributes)?;
        let iv = self.scope.attribute(place, attributes, "IV")?;
        let iv = match iv.map(|iv| value::hexadecimal(&iv)) {
            Some(None) => {
                return Err(place.malformed("has an IV that is no 0x with up to 32 digits"));
            }
            iv => iv.flatten(),
        };
        let format = attributes.get("KEYFORMAT").filter(|format| *format != IDENTITY);
        let format = format.map(|format| {
            let versions = attributes.get("KEYFORMATVERSIONS").unwrap_or("1");
            Rc::new((format.into(), versions.into()))
        });
        Ok(shared(&mut self.known_keys, Key { uri, format, iv }))
    }

    fn init(&mut self, line: usize, attributes: Attributes) -> Result<(), Error> {
        let place = Place { line, tag: "EXT-X-MAP" };
        let uri = self.uri_attribute(place, attributes)?;
        let byte_range = match attributes.get("BYTERANGE") {
            // Without an offset it is the resource's first bytes.
            Some(text) => value::byte_range(text)
                .and_then(|(bytes, start)| ByteRange::new(start.unwrap_or(0), bytes))
                .map(Some)
                .ok_or_else(|| place.malformed("has a BYTERANGE that is no LENGTH@OFFSET"))?,
            None => None,
        };
        // An IV is required here; without one players take the number of the segment that follows.
        let sequence = u128::from(self.first_sequence) + self.segments.len() as u128;
        let key = self.keys.holding(line)?.cloned();
        let key = key.map(|key| {
            let iv = key.iv.unwrap_or(sequence).to_be_bytes();
            (key, iv)
        });
        let init = InitSection { uri, byte_range, key };
        self.init = Some(shared(&mut self.known_inits, init));
        Ok(())
    }

    fn segment(&mut self, line: usize, uri: &str) -> Result<(), Error> {
        let place = Place { line, tag: "URI" };
        let next = std::mem::take(&mut self.next);
        let Some((_, duration)) = next.duration else {
            return Err(place.malformed("has no duration; write EXTINF before it"));
        };
        self.lengthen(place, duration)?;
        let uri = self.uri(place, uri)?;
        let byte_range = match next.byte_range {
            Some((bytes, start)) => Some(self.byte_range(line, uri, bytes, start)?),
            None => None,
        };
        self.dates.extend(next.date_unix_ms.map(|date| (self.segments.len(), date)));
        self.segments.push(Segment {
            uri,
            byte_range,
            duration,
            kbits: self.kbits,
            key: self.keys.holding(line)?.cloned(),
            init: self.init.clone(),
            discontinuities: self.discontinuities,
            is_discontinuity: next.is_discontinuity,
            is_gap: next.is_gap,
        });
        Ok(())
    }

    fn lengthen(&mut self, place: Place, duration: Duration) -> Result<(), Error> {
        let sum = self.duration.checked_add(duration).filter(|sum| *sum <= LONGEST);
        self.duration =
            sum.ok_or_else(|| place.malformed("ends more than a year after the start"))?;
        Ok(())
    }

    /// Where no start is said, it is the end of the segment before, which must be of the same resource.
    fn byte_range(
        &self,
        line: usize,
        uri: Uri,
        bytes: u64,
        start: Option<u64>,
    ) -> Result<ByteRange, Error> {
        let place = Place { line, tag: "EXT-X-BYTERANGE" };
        let before = self.segments.last().filter(|before| before.uri == uri);
        let start = start.or_else(|| Some(before?.byte_range?.end()));
        let start = start.ok_or_else(|| {
            place.malformed(
                "has no offset, and no part of this resource comes before; write LENGTH@OFFSET",
            )
        })?;
        ByteRange::new(start, bytes)
            .ok_or_else(|| place.malformed("is of no bytes that there can be"))
    }

    fn uri_attribute(&mut self, place: Place, attributes: Attributes) -> Result<Uri, Error> {
        let uri = attributes.get("URI").ok_or_else(|| place.malformed("has no URI"))?;
        self.uri(place, uri)
    }

    fn uri(&mut self, place: Place, uri: &str) -> Result<Uri, Error> {
        if let Some(known) = self.uris.find(uri) {
            return Ok(known);
        }
        let whole = self.scope.text(place, uri)?;
        self.uri_bytes += whole.len();
        if self.uri_bytes / LONGER_BY_VARIABLES > self.scope.limits.playlist_bytes {
            return Err(
                place.malformed("is too long together with all before it; use fewer variables")
            );
        }
        self.scope.resolve(place, &whole)?;
        self.uris.add(uri).ok_or_else(|| place.over("playlist_bytes", u32::MAX as usize))
    }

    fn finish(self) -> Result<Media, Error> {
        if !self.is_ended {
            return Err(Error::Live);
        }
        self.nothing_waits()?;
        if self.segments.is_empty() {
            return Err(Error::Empty);
        }
        Ok(Media {
            url: self.scope.url.clone(),
            uris: self.uris.finished(),
            variables: self.scope.variables,
            segments: self.segments.into_boxed_slice(),
            first_sequence: self.first_sequence,
            first_discontinuity_sequence: self.first_discontinuity_sequence,
            duration: self.duration,
            dates: self.dates.into_boxed_slice(),
            start: self.start,
        })
    }
}

/// The one in `known` that equals `value`.
fn shared<T: Eq + std::hash::Hash>(known: &mut HashSet<Rc<T>>, value: T) -> Rc<T> {
    if let Some(known) = known.get(&value) {
        return Rc::clone(known);
    }
    let value = Rc::new(value);
    known.insert(Rc::clone(&value));
    value
}

/// What stands before the title.
fn duration(line: usize, value: &str) -> Result<Duration, Error> {
    let (duration, _title) = value.split_once(',').unwrap_or((value, ""));
    let place = Place { line, tag: "EXTINF" };
    value::seconds(duration.trim_end())
        .ok_or_else(|| place.malformed("is no duration in seconds, as 9.009"))
}

fn byte_range(line: usize, value: &str) -> Result<(u64, Option<u64>), Error> {
    let place = Place { line, tag: "EXT-X-BYTERANGE" };
    value::byte_range(value).ok_or_else(|| place.malformed("is no LENGTH@OFFSET"))
}

/// One that can be counted on from for as many lines as there are; 0 where none is said.
fn number(place: Place, value: &str) -> Result<u64, Error> {
    let number = if value.is_empty() { Some(0) } else { value::integer(value) };
    let number = number.filter(|number| *number < 1 << 63);
    number.ok_or_else(|| place.malformed("is no number below 2^63"))
}
