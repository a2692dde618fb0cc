//! What the head of an origin's answer means for what was asked.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! The fields of an answer are an origin's claims about its body. They are compared with each
//! other and with the request here, before the first byte is stored under a position.

use std::ops::Range;

use http::{
    HeaderMap, HeaderName,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, IF_MODIFIED_SINCE, IF_NONE_MATCH, TRANSFER_ENCODING,
    },
};

use super::{content_range::ContentRange, error::Error, validator::Validator};

/// What to ask of a resource.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Positions from the first to before the second, or to the end. `None` asks without `Range`.
    pub range: Option<(u64, Option<u64>)>,
    /// Ask for the range only if the resource is still this one.
    pub if_range: Option<Validator>,
    /// More fields: those of the client that are passed on, and conditions.
    pub fields: HeaderMap,
    /// Only the head is wanted.
    pub head_only: bool,
    /// Whatever the origin answers is the answer: redirects, errors and codings too.
    pub as_it_is: bool,
    /// There is something to fall back on: one attempt is enough.
    pub once: bool,
}

/// Whether an answer of this status may be about how was asked, by HEAD or for a range, rather than
/// about what: another way of asking may then find it.
///
/// 400, 405 and 501 come from servers that do not understand a method or a field, 403 and 406 from walls
/// in front of them that forbid it, 500 from programs that break on it. All others are about the
/// resource (404, 410), who asks (401, 407) or the moment (408, 429, 502, 503, 504), however it is
/// asked. That of a range is 416 too, which is told apart by [`Answer::read`].
pub fn is_about_the_form(status: u16) -> bool {
    matches!(status, 400 | 403 | 405 | 406 | 500 | 501)
}

impl Ask {
    /// The same for all of it.
    pub(super) fn for_the_whole(&self) -> Self {
        Self { range: None, if_range: None, ..self.clone() }
    }

    /// Whether an answer of this status says that the origin does not give ranges of it.
    ///
    /// Of a resource whose version is known a 500 is a failure like others: it gave a range before.
    pub(super) fn is_refused_by(&self, status: u16) -> bool {
        let is_refused = match status {
            416 => true,
            500 => self.if_range.is_none(),
            status => is_about_the_form(status),
        };
        self.range.is_some() && is_refused
    }
}

/// A good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Bytes of the complete representation, where the origin says so.
    pub length: Option<u64>,
    /// What a partial answer holds; `None` for a whole one.
    pub range: Option<Range<u64>>,
    /// Bytes of this body, where they are known before its end.
    pub body_bytes: Option<u64>,
}

impl Answer {
    /// Judges an answer that is not a redirect.
    ///
    /// A `416` that only says that nothing lies behind the position is good, and empty: a first
    /// request cannot know that a file is empty.
    ///
    /// # Errors
    /// [`Error::Status`], [`Error::Changed`], [`Error::Encoded`] or [`Error::Malformed`].
    pub fn read(status: u16, headers: &HeaderMap, ask: &Ask) -> Result<Self, Error> {
        let is_conditional = [IF_NONE_MATCH, IF_MODIFIED_SINCE]
            .iter()
            .any(|condition| ask.fields.contains_key(condition));
        match status {
            200 if ask.as_it_is => Self::plain(headers, ask),
            200 => Self::whole(headers),
            206 => Self::part(headers, ask),
            204 if ask.as_it_is => Ok(Self { length: Some(0), range: None, body_bytes: Some(0) }),
            304 if is_conditional => Ok(Self { length: None, range: None, body_bytes: Some(0) }),
            304 => Err(Error::Status(304)),
            416 => Self::nothing(headers, ask),
            100..200 => Err(Error::Malformed("another answer was to follow")),
            _ if ask.as_it_is => Self::plain(headers, ask),
            status => Err(Error::Status(status)),
        }
    }

    /// An answer that is passed on and not looked into.
    fn plain(headers: &HeaderMap, ask: &Ask) -> Result<Self, Error> {
        let length = content_length(headers)?;
        let body_bytes = if ask.head_only { Some(0) } else { length };
        Ok(Self { length, range: None, body_bytes })
    }

    fn whole(headers: &HeaderMap) -> Result<Self, Error> {
        check_codings(headers)?;
        let length = content_length(headers)?;
        Ok(Self { length, range: None, body_bytes: length })
    }

    fn part(headers: &HeaderMap, ask: &Ask) -> Result<Self, Error> {
        let (from, until) = ask.range.ok_or(Error::Malformed("partial answer not asked for"))?;
        check_codings(headers)?;
        let Some(ContentRange::Bytes { range, length }) = ContentRange::of(headers) else {
            return Err(Error::Malformed("partial answer without a valid Content-Range"));
        };
        // Less than asked for is allowed (RFC 9110 section 14.2), other bytes are not.
        if range.start != from || until.is_some_and(|until| range.end > until) {
            return Err(Error::Malformed("another range than asked for"));
        }
        let bytes = range.end - range.start;
        if content_length(headers)?.is_some_and(|said| said != bytes) {
            return Err(Error::Malformed("Content-Length differs from Content-Range"));
        }
        if ask.if_range.as_ref().is_some_and(|validator| validator.contradicted_by(headers)) {
            return Err(Error::Changed);
        }
        Ok(Self { length, range: Some(range), body_bytes: Some(bytes) })
    }

    fn nothing(headers: &HeaderMap, ask: &Ask) -> Result<Self, Error> {
        match (ContentRange::of(headers), ask.range) {
            (Some(ContentRange::Unsatisfied { length }), Some((from, _))) if from >= length => {
                Ok(Self { length: Some(length), range: None, body_bytes: Some(0) })
            }
            _ => Err(Error::Status(416)),
        }
    }
}

/// Refuses bodies that are not the representation's own bytes.
fn check_codings(headers: &HeaderMap) -> Result<(), Error> {
    let only = |name: HeaderName, coding: &str| {
        headers
            .get_all(name)
            .iter()
            .all(|value| value.as_bytes().eq_ignore_ascii_case(coding.as_bytes()))
    };
    // hyper undoes chunks and would hand on what a further transfer coding made.
    if only(CONTENT_ENCODING, "identity") && only(TRANSFER_ENCODING, "chunked") {
        return Ok(());
    }
    Err(Error::Encoded)
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Ok(None); // Overridden, RFC 9112 section 6.3.
    }
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = text.and_then(|text| text.parse().ok());
    length.map(Some).ok_or(Error::Malformed("Content-Length is no number"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::ETAG};

    use super::*;

    fn read(
        status: u16,
        fields: &[(&'static str, &'static str)],
        range: Option<(u64, Option<u64>)>,
    ) -> Result<Answer, Error> {
        let if_range = Some(Validator::StrongEtag(HeaderValue::from_static("\"a\"")));
        Answer::read(status, &headers(fields), &Ask { range, if_range, ..Ask::default() })
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    const OPEN: Option<(u64, Option<u64>)> = Some((10, None));

    #[test]
    fn a_part_is_good_if_it_is_the_one_asked_for() {
        let part = read(206, &[("content-range", "bytes 10-19/20")], OPEN).unwrap();
        assert_eq!(part, Answer { length: Some(20), range: Some(10..20), body_bytes: Some(10) });
        let short = read(206, &[("content-range", "bytes 10-14/*")], OPEN).unwrap();
        assert_eq!(short, Answer { length: None, range: Some(10..15), body_bytes: Some(5) });
    }

    #[test]
    fn a_wrong_part_is_refused() {
        let bounded = Some((10, Some(15)));
        for (range, field) in [
            (OPEN, "bytes 0-9/20"),
            (OPEN, "bytes 11-19/20"),
            (OPEN, "bytes */20"),
            (OPEN, "bytes 10-19"),
            (bounded, "bytes 10-15/20"),
            (None, "bytes 10-19/20"),
        ] {
            let answer = read(206, &[("content-range", field)], range);
            assert!(matches!(answer, Err(Error::Malformed(_))), "{field}: {answer:?}");
        }
        assert!(matches!(read(206, &[], OPEN), Err(Error::Malformed(_))));
        let two = [("content-range", "bytes 10-19/20"), ("content-length", "9")];
        assert!(matches!(read(206, &two, OPEN), Err(Error::Malformed(_))));
    }

    #[test]
    fn a_part_of_another_version_is_a_change() {
        let fields = [("content-range", "bytes 10-19/20"), (ETAG.as_str(), "\"b\"")];
        let map = fields.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value))
        });
        let if_range = Some(Validator::StrongEtag(HeaderValue::from_static("\"a\"")));
        let answer =
            Answer::read(206, &map.collect(), &Ask { range: OPEN, if_range, ..Ask::default() });
        assert_eq!(answer, Err(Error::Changed));
    }

    #[test]
    fn a_whole_answer_to_a_range_is_no_error() {
        let whole = read(200, &[("content-length", "20")], OPEN).unwrap();
        assert_eq!(whole, Answer { length: Some(20), range: None, body_bytes: Some(20) });
        let open = read(200, &[("transfer-encoding", "chunked")], OPEN).unwrap();
        assert_eq!(open, Answer { length: None, range: None, body_bytes: None });
    }

    #[test]
    fn nothing_behind_the_position_is_an_empty_answer() {
        let empty = read(416, &[("content-range", "bytes */0")], Some((0, None))).unwrap();
        assert_eq!(empty, Answer { length: Some(0), range: None, body_bytes: Some(0) });
        assert!(read(416, &[("content-range", "bytes */10")], OPEN).is_ok());
        assert_eq!(read(416, &[("content-range", "bytes */11")], OPEN), Err(Error::Status(416)));
        assert_eq!(read(416, &[], OPEN), Err(Error::Status(416)));
    }

    #[test]
    fn what_is_passed_on_is_not_judged() {
        let ask = Ask { range: Some((0, None)), as_it_is: true, ..Ask::default() };
        let read = |status, fields: &[_], ask: &Ask| Answer::read(status, &headers(fields), ask);
        let page = Answer { length: Some(7), range: None, body_bytes: Some(7) };
        for status in [200, 201, 302, 401, 404, 500, 599] {
            let fields = [("content-length", "7"), ("content-encoding", "gzip")];
            assert_eq!(read(status, &fields, &ask), Ok(page.clone()), "{status}");
        }
        let only_head = Ask { head_only: true, ..ask.clone() };
        let bodiless = read(200, &[("content-length", "7")], &only_head).unwrap();
        assert_eq!((bodiless.length, bodiless.body_bytes), (Some(7), Some(0)));
        assert_eq!(read(204, &[], &ask).unwrap().body_bytes, Some(0));
        assert!(read(101, &[], &ask).is_err());
        assert!(read(206, &[("content-range", "bytes 3-4/9")], &ask).is_err());
    }

    #[test]
    fn a_refusal_of_ranges_is_told_from_one_of_the_resource() {
        let ask = Ask { range: OPEN, ..Ask::default() };
        let known = Ask {
            if_range: Some(Validator::StrongEtag(HeaderValue::from_static("\"a\""))),
            ..ask.clone()
        };
        for status in [400, 403, 405, 406, 416, 500, 501] {
            assert!(ask.is_refused_by(status), "{status}");
            assert_eq!(known.is_refused_by(status), status != 500, "{status}");
            assert!(!ask.for_the_whole().is_refused_by(status), "{status}");
        }
        for status in [200, 206, 302, 304, 401, 404, 407, 408, 410, 429, 502, 503, 504] {
            assert!(!ask.is_refused_by(status), "{status}");
        }
    }

    #[test]
    fn a_304_is_an_answer_to_a_condition_only() {
        let mut ask = Ask::default();
        assert_eq!(Answer::read(304, &HeaderMap::new(), &ask), Err(Error::Status(304)));
        ask.fields.insert(IF_NONE_MATCH, HeaderValue::from_static("\"a\""));
        assert_eq!(Answer::read(304, &HeaderMap::new(), &ask).unwrap().body_bytes, Some(0));
    }

    #[test]
    fn codings_that_were_not_asked_for_are_refused() {
        for field in [
            ("content-encoding", "gzip"),
            ("content-encoding", "identity, br"),
            ("transfer-encoding", "gzip, chunked"),
        ] {
            assert_eq!(read(200, &[field], None), Err(Error::Encoded), "{field:?}");
        }
        assert!(read(200, &[("content-encoding", "Identity")], None).is_ok());
    }
}
