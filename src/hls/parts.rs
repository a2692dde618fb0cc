//! A media playlist as a tape: which resource each part is.
//!
//! Pure: no I/O, no clock, no executor.

use std::{
    num::NonZeroU16,
    ops::{Range, RangeInclusive},
    rc::Rc,
    time::Duration,
};

use url::Url;

use super::{
    keys::{IDENTITY, KeyName},
    playlist::{ByteRange, InitSection, Key, Media, Uri},
};
use crate::stream::tape::{Part, Tape};

/// The parts of one variant: its segments in their order, and behind them its init sections.
#[derive(Debug)]
pub struct Parts {
    media: Media,
    /// Each once.
    inits: Vec<Rc<InitSection>>,
    tape: Tape,
}

/// By how much variants that are cut alike may seem not to be: by one in so many of a segment.
const UNEVEN: u32 = 4;

/// Where the bytes of a part lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Where.
    pub url: Url,
    /// Its bytes there; all if `None`.
    pub range: Option<Range<u64>>,
    /// The key that they are encrypted with, and the initialization vector.
    pub key: Option<(KeyName, [u8; 16])>,
}

impl Parts {
    /// Those of `media`.
    pub fn new(media: Media) -> Self {
        let mut inits: Vec<Rc<InitSection>> = Vec::new();
        for init in media.segments().iter().filter_map(|segment| segment.init.as_ref()) {
            if !inits.iter().any(|known| Rc::ptr_eq(known, init)) {
                inits.push(Rc::clone(init));
            }
        }
        let tape = tape(&media, &inits);
        Self { media, inits, tape }
    }

    /// What the playlist says.
    pub fn media(&self) -> &Media {
        &self.media
    }

    /// The tape that they are, as if nothing of it were known.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// How many segments there are.
    pub fn segments(&self) -> u32 {
        self.media.segments().len() as u32
    }

    /// Whether a segment is known to be missing.
    pub fn is_gap(&self, segment: u32) -> bool {
        self.media.segments().get(segment as usize).is_some_and(|segment| segment.is_gap)
    }

    /// Where a part lies. `None`: there is no such part.
    pub fn resource(&self, part: u32) -> Option<Resource> {
        let (at, segments) = (part as usize, self.media.segments());
        if let Some(segment) = segments.get(at) {
            let key = segment.key.as_ref().map(|key| (key, self.media.iv(at)));
            return Some(self.resource_of(segment.uri, segment.byte_range, key));
        }
        let init = self.inits.get(at - segments.len())?;
        let key = init.key.as_ref().map(|(key, iv)| (key, *iv));
        Some(self.resource_of(init.uri, init.byte_range, key))
    }

    /// The segments that are heard in some time, of which the cuts are another variant's: where that is cut
    /// alike, one of them, though what is said of times is not quite right.
    pub fn heard(&self, time: Range<Duration>) -> RangeInclusive<u32> {
        let uneven = time.end.saturating_sub(time.start) / UNEVEN;
        let last = self.tape.part_at(time.end.saturating_sub(uneven));
        self.tape.part_at(time.start + uneven)..=last
    }

    /// Bytes of a segment, where the playlist says how many there are, or about how many.
    pub fn bytes(&self, segment: u32) -> Option<u64> {
        let segment = self.media.segments().get(segment as usize)?;
        let range = segment.byte_range.map(ByteRange::positions);
        let about = |kbits: NonZeroU16| {
            let bytes = f64::from(kbits.get()) * 125.0 * segment.duration.as_secs_f64();
            bytes as u64
        };
        range.map(|range| range.end - range.start).or_else(|| segment.kbits.map(about))
    }

    fn resource_of(
        &self,
        uri: Uri,
        range: Option<ByteRange>,
        key: Option<(&Rc<Key>, [u8; 16])>,
    ) -> Resource {
        Resource {
            url: self.media.url(uri),
            range: range.map(ByteRange::positions),
            key: key.map(|(key, iv)| (self.key_name(key), iv)),
        }
    }

    fn key_name(&self, key: &Key) -> KeyName {
        let (url, iv) = (self.media.url(key.uri), key.stated_iv());
        let (format, versions) =
            key.format.as_deref().cloned().unwrap_or_else(|| (IDENTITY.into(), "1".into()));
        KeyName { url, format, versions, iv }
    }
}

fn tape(media: &Media, inits: &[Rc<InitSection>]) -> Tape {
    let head = |init: &Rc<InitSection>| inits.iter().position(|known| Rc::ptr_eq(known, init));
    let mut tape = Tape::default();
    inits.iter().for_each(|_| {
        tape.add_head();
    });
    for (index, segment) in media.segments().iter().enumerate() {
        tape.push(Part {
            duration: segment.duration,
            head: segment.init.as_ref().and_then(head).map(|at| at as u32),
            is_break: segment.is_discontinuity && index > 0,
            is_lost: segment.is_gap,
        });
    }
    tape
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hls::playlist::{Limits, Playlist, Variables, parse},
        stream::tape::position_of,
    };

    fn parts(text: &str) -> Parts {
        let url = Url::parse("http://origin/a/list.m3u8").unwrap();
        let parsed = parse(text.as_bytes(), &url, &Variables::default(), &Limits::default());
        match parsed.unwrap() {
            Playlist::Media(media) => Parts::new(media),
            Playlist::Multivariant(_) => panic!("it is a media playlist"),
        }
    }

    #[test]
    fn what_is_heard_in_the_time_of_a_segment_of_another_variant_is_found() {
        let list = |seconds: &[&str]| {
            let lines = seconds.iter().map(|seconds| format!("#EXTINF:{seconds},\na\n"));
            let lines = lines.collect::<String>();
            parts(&format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n{lines}#EXT-X-ENDLIST\n"))
        };
        let heard = |parts: &Parts, from: f64, to: f64| {
            parts.heard(Duration::from_secs_f64(from)..Duration::from_secs_f64(to))
        };
        let alike = list(&["2.02", "1.98", "2.01", "1.9"]);
        for at in 0..4 {
            assert_eq!(heard(&alike, f64::from(2 * at), f64::from(2 * at + 2)), at..=at);
        }
        let longer = list(&["3", "3", "3"]);
        let found = [0.0, 2.0, 4.0, 6.0].map(|at| heard(&longer, at, at + 2.0));
        assert_eq!(found, [0..=0, 0..=1, 1..=1, 2..=2]);
        assert_eq!(heard(&list(&["1", "1", "1", "1"]), 0.0, 3.0), 0..=2);
        assert_eq!(heard(&alike, 100.0, 102.0), 3..=3, "the last behind the end");
    }

    #[test]
    fn a_playlist_may_say_how_long_its_segments_are() {
        let parts = parts(
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na\n#EXT-X-BITRATE:96\n#EXTINF:4,\nb\n\
             #EXTINF:2,\n#EXT-X-BYTERANGE:50@100\nc\n#EXTINF:2,\nd\n#EXT-X-BITRATE:none\n#EXTINF:2,\ne\n\
             #EXT-X-ENDLIST\n",
        );
        let bytes = [0, 1, 2, 3, 4, 5].map(|part| parts.bytes(part));
        assert_eq!(bytes, [None, Some(48_000), Some(50), Some(24_000), None, None]);
    }

    #[test]
    fn each_part_has_its_place_and_its_key() {
        let parts = parts(
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n\
             #EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"100@0\"\n\
             #EXTINF:4,\n#EXT-X-BYTERANGE:50@100\nall.mp4\n\
             #EXT-X-KEY:METHOD=AES-128,URI=\"../key\"\n#EXTINF:4,\nb.m4s\n\
             #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"other.mp4\"\n#EXTINF:4,\nc.m4s\n#EXT-X-ENDLIST\n",
        );
        let url = |path: &str| Url::parse(&format!("http://origin/{path}")).unwrap();
        let clear = |path, range| Resource { url: url(path), range, key: None };
        assert_eq!(parts.segments(), 3);
        assert_eq!(parts.resource(0), Some(clear("a/all.mp4", Some(100..150))));
        let mut iv = [0; 16];
        iv[15] = 8;
        let name =
            KeyName { url: url("key"), format: "identity".into(), versions: "1".into(), iv: None };
        let key = Some((name, iv));
        assert_eq!(parts.resource(1), Some(Resource { url: url("a/b.m4s"), range: None, key }));
        assert_eq!(parts.resource(3), Some(clear("a/init.mp4", Some(0..100))));
        assert_eq!(parts.resource(4).map(|part| part.url), Some(url("a/other.mp4")));
        assert_eq!(parts.resource(5), None);

        let mut tape = parts.tape().clone();
        tape.rewind();
        assert_eq!(tape.start().head, position_of(3));
        assert!(tape.next_stretch().is_break);
        assert_eq!(tape.start().head, position_of(4));
    }
}
