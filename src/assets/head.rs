//! What the origin said about a resource, and how it is kept beside its bytes.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! On disk it looks as it came: the URL on a line; the status and, in seconds of Unix time, when it
//! was asked for and when it came; a line with `?` for each field of the request that chose it
//! (`Vary`); a line for each field.
//!
//! ```text
//! http://cdn.example.com/audio/song.mp3
//! 200 1764201600 1764201601
//! ?accept-language: de
//! content-type: audio/mpeg
//! etag: "5f1c"
//! ```
//!
//! Behind the times, `redirected` and a URL say that it came from there, where the origin pointed to, and
//! `unproven` that nothing proves its version.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ETAG, LAST_MODIFIED},
};
use ring::digest::{SHA256, digest};
use url::Url;

/// What the origin said about a resource, when its generation began or was last validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status of the answer: 200 also where parts of it came.
    pub status: u16,
    /// Its end-to-end fields.
    pub fields: HeaderMap,
    /// When it was asked for, in seconds of Unix time.
    pub asked: u64,
    /// When it came.
    pub answered: u64,
    /// Where the origin pointed to, if it came from there.
    pub redirected: Option<Url>,
    /// No strong validator came with its bytes. A later answer gives them none: that a file was not written
    /// for a while does not tell which of two writes within one second they are of.
    pub unproven: bool,
    /// The fields of the request that `Vary` names.
    pub selecting: HeaderMap,
}

impl Default for Head {
    fn default() -> Self {
        let (fields, asked, answered, redirected, unproven, selecting) = Default::default();
        Self { status: 200, fields, asked, answered, redirected, unproven, selecting }
    }
}

impl Head {
    /// A strong `ETag` (RFC 9110, 8.8.1), where the origin gave one.
    pub fn strong_etag(&self) -> Option<&HeaderValue> {
        self.fields.get(ETAG).filter(|etag| etag.as_bytes().starts_with(b"\""))
    }

    /// A hash of what tells this version from others; 0 where nothing does.
    pub(super) fn validator_hash(&self) -> u64 {
        let validator = self.fields.get(ETAG).or_else(|| self.fields.get(LAST_MODIFIED));
        validator.map_or(0, |value| {
            let hash = digest(&SHA256, value.as_bytes());
            u64::from_le_bytes(hash.as_ref()[..8].try_into().expect("SHA-256 has 32 bytes")).max(1)
        })
    }

    /// What tells this version from others, for people: its `ETag`, or its `Last-Modified`.
    pub(super) fn validator(&self) -> Option<String> {
        let validator = self.fields.get(ETAG).or_else(|| self.fields.get(LAST_MODIFIED));
        validator.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The URL that such bytes are about.
    pub(super) fn url_of(bytes: &[u8]) -> Option<String> {
        let line = bytes.split(|byte| *byte == b'\n').next()?;
        String::from_utf8(line.to_vec()).ok()
    }

    /// As bytes, with the URL it is about.
    pub fn encode(&self, url: &str) -> Vec<u8> {
        let Self { status, asked, answered, .. } = self;
        let redirected = self.redirected.as_ref().map(|url| format!("{REDIRECTED}{url}"));
        let redirected = redirected.unwrap_or_default();
        let unproven = if self.unproven { UNPROVEN } else { "" };
        let start = format!("{url}\n{status} {asked} {answered}{redirected}{unproven}\n");
        let mut bytes = start.into_bytes();
        let mut line = |mark: &[u8], name: &HeaderName, value: &HeaderValue| {
            bytes.extend([mark, name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        };
        self.selecting.iter().for_each(|(name, value)| line(b"?", name, value));
        self.fields.iter().for_each(|(name, value)| line(b"", name, value));
        bytes
    }

    /// What [`encode`](Self::encode) made; `None` where it is about another URL, or is damaged.
    pub fn decode(bytes: &[u8], url: &str) -> Option<Self> {
        let mut lines = bytes.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
        if lines.next()? != url.as_bytes() {
            return None;
        }
        let mut head = Self::decode_start(lines.next()?)?;
        for line in lines {
            let (fields, line) = match line.strip_prefix(b"?") {
                Some(line) => (&mut head.selecting, line),
                None => (&mut head.fields, line),
            };
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            let value = HeaderValue::from_bytes(line[colon + 1..].strip_prefix(b" ")?).ok()?;
            fields.try_append(name, value).ok()?;
        }
        Some(head)
    }

    fn decode_start(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let (line, unproven) = without(line, UNPROVEN);
        let (line, redirected) = match line.split_once(REDIRECTED) {
            Some((line, url)) => (line, Some(Url::parse(url).ok()?)),
            None => (line, None),
        };
        let mut numbers = line.split(' ').map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let (status, asked, answered) = (next()?, next()?, next()?);
        let status = u16::try_from(status).ok()?;
        numbers.next().is_none().then_some(Self {
            status,
            asked,
            answered,
            redirected,
            unproven,
            ..Self::default()
        })
    }
}

/// A line without its last word, and whether it had it.
fn without<'a>(line: &'a str, word: &str) -> (&'a str, bool) {
    line.strip_suffix(word).map_or((line, false), |line| (line, true))
}

/// What follows the times of an answer from elsewhere, before its URL.
const REDIRECTED: &str = " redirected ";
/// And behind that.
const UNPROVEN: &str = " unproven";

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let mut fields = HeaderMap::new();
        fields.append("content-type", HeaderValue::from_static("audio/mpeg"));
        fields.append("etag", HeaderValue::from_static("\"a: b\""));
        fields.append("x-twice", HeaderValue::from_static("1"));
        fields.append("x-twice", HeaderValue::from_static(""));
        let mut selecting = HeaderMap::new();
        selecting.append("accept-language", HeaderValue::from_static("de"));
        Head { fields, selecting, asked: 17, answered: 18, ..Head::default() }
    }

    #[test]
    fn what_was_said_comes_back() {
        let bytes = head().encode("http://a/b");
        assert_eq!(Head::decode(&bytes, "http://a/b"), Some(head()));
        assert_eq!(Head::decode(&Head::default().encode("x"), "x"), Some(Head::default()));
        let elsewhere = Url::parse("https://cdn.example.com/a%20b?t=1").ok();
        let moved = Head { status: 404, redirected: elsewhere, ..head() };
        assert_eq!(Head::decode(&moved.encode("x"), "x"), Some(moved.clone()));
        for head in [Head { unproven: true, ..moved }, Head { unproven: true, ..head() }] {
            assert_eq!(Head::decode(&head.encode("x"), "x"), Some(head));
        }
    }

    #[test]
    fn the_words_about_another_url_are_none_about_this() {
        assert_eq!(Head::decode(&head().encode("http://a/b"), "http://a/c"), None);
        let bytes = head().encode("u");
        assert!((0..bytes.len()).all(|end| Head::decode(&bytes[..end], "u") != Some(head())));
        for damaged in [
            "u\n",
            "u\n200 1\n",
            "u\n200 1 2 3\n",
            "u\n200 1 2\nno field\n",
            "u\n-1 1 2\n",
            "u\n200 1 2 redirected\n",
            "u\n200 1 2 redirected to\n",
        ] {
            assert_eq!(Head::decode(damaged.as_bytes(), "u"), None, "{damaged}");
        }
    }

    #[test]
    fn a_weak_etag_is_not_a_strong_one() {
        assert_eq!(head().strong_etag().unwrap(), "\"a: b\"");
        let mut weak = Head::default();
        weak.fields.insert("etag", HeaderValue::from_static("W/\"a\""));
        assert!(weak.strong_etag().is_none() && weak.validator_hash() != 0);
        assert_eq!(Head::default().validator_hash(), 0);
    }
}
