//! Validators: what tells one version of a resource from another.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Only strong ones are kept, since only they allow bytes of two answers to be joined (RFC 9110
//! sections 8.8 and 13.1.5). A weak ETag says "as good as the same", which splices two encodings.

use std::time::Duration;

use http::{
    HeaderMap, HeaderValue,
    header::{DATE, ETAG, HeaderName, LAST_MODIFIED},
};

/// How much older than its answer a `Last-Modified` must be to be strong.
///
/// RFC 9110 section 8.8.2.2 asks for one second if both come from one clock, and for "enough
/// difference to make clock synchronization issues unlikely" if not. Which clock it was, nobody
/// tells; 60 s is what HTTP asked for before (RFC 7232 section 2.2.2).
const SETTLED: Duration = Duration::from_secs(60);

/// A strong validator, in the very bytes the origin sent: it compares them byte by byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validator {
    /// An entity tag without `W/`, quotes included.
    StrongEtag(HeaderValue),
    /// A modification time that was settled when the answer was made.
    LastModified(HeaderValue),
}

impl Validator {
    /// The strong validator of an answer with these fields, if it has one.
    ///
    /// A time is not taken where there is an ETag, even a weak one: RFC 9110 section 13.1.5
    /// forbids to make a range conditional on it.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        if headers.contains_key(ETAG) {
            let tag = single(headers, ETAG)?;
            return is_strong_tag(tag.as_bytes()).then(|| Self::StrongEtag(tag.clone()));
        }
        let modified = single(headers, LAST_MODIFIED)?;
        let date = single(headers, DATE)?;
        is_settled(modified, date).then(|| Self::LastModified(modified.clone()))
    }

    /// What goes into `If-Range` (RFC 9110 section 13.1.5).
    pub fn if_range(&self) -> &HeaderValue {
        match self {
            Self::StrongEtag(value) | Self::LastModified(value) => value,
        }
    }

    /// Whether a partial answer with these fields says that it is of another version.
    ///
    /// A `206` to `If-Range` must repeat the ETag but need not repeat `Last-Modified` (RFC 9110
    /// section 15.3.7), so what is missing is no contradiction.
    pub fn contradicted_by(&self, headers: &HeaderMap) -> bool {
        let (name, value) = match self {
            Self::StrongEtag(value) => (ETAG, value),
            Self::LastModified(value) => (LAST_MODIFIED, value),
        };
        headers.get_all(name).iter().any(|other| other != value)
    }
}

/// What an answer says of its version without proving it: a weak ETag, a time that is not settled.
///
/// Two answers that agree in these may still be of two versions; two that do not agree are. It is
/// all there is to go by with an origin that gives no strong validator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signs {
    etag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
}

impl Signs {
    /// The signs of an answer with these fields.
    pub fn of(headers: &HeaderMap) -> Self {
        let one = |name| single(headers, name).cloned();
        Self { etag: one(ETAG), modified: one(LAST_MODIFIED) }
    }

    /// Whether an answer with these fields says that it is of another version. What is missing is
    /// no contradiction: a `206` may leave out what an earlier answer said.
    pub fn contradicted_by(&self, headers: &HeaderMap) -> bool {
        let differs = |name, own: &Option<HeaderValue>| {
            own.as_ref().is_some_and(|own| headers.get_all(name).iter().any(|other| other != own))
        };
        differs(ETAG, &self.etag) || differs(LAST_MODIFIED, &self.modified)
    }
}

fn single(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let only = values.next()?;
    values.next().is_none().then_some(only)
}

/// `DQUOTE *etagc DQUOTE` (RFC 9110 section 8.8.3).
fn is_strong_tag(tag: &[u8]) -> bool {
    let [b'"', inner @ .., b'"'] = tag else { return false };
    inner.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7E | 0x80..))
}

fn is_settled(modified: &HeaderValue, date: &HeaderValue) -> bool {
    let time = |value: &HeaderValue| httpdate::parse_http_date(value.to_str().ok()?).ok();
    let (Some(modified), Some(date)) = (time(modified), time(date)) else { return false };
    date.duration_since(modified).is_ok_and(|age| age >= SETTLED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";
    const MINUTE_LATER: &str = "Sun, 06 Nov 1994 12:01:00 GMT";
    const SECOND_LATER: &str = "Sun, 06 Nov 1994 12:00:01 GMT";

    #[test]
    fn a_strong_etag_is_a_validator_and_a_weak_one_is_not() {
        let strong = Validator::of(&headers(&[(ETAG, "\"abc\"")]));
        assert_eq!(strong, Some(Validator::StrongEtag(HeaderValue::from_static("\"abc\""))));
        for bad in ["W/\"abc\"", "abc", "\"", "\"a\"b\"", "\"a b\"", "'a'", ""] {
            assert_eq!(Validator::of(&headers(&[(ETAG, bad)])), None, "{bad}");
        }
    }

    #[test]
    fn a_weak_etag_forbids_the_time_as_well() {
        let both = headers(&[(ETAG, "W/\"a\""), (LAST_MODIFIED, NOON), (DATE, MINUTE_LATER)]);
        assert_eq!(Validator::of(&both), None);
    }

    #[test]
    fn a_time_is_strong_only_when_it_was_settled() {
        let of = |date| Validator::of(&headers(&[(LAST_MODIFIED, NOON), (DATE, date)]));
        assert!(of(MINUTE_LATER).is_some());
        assert_eq!(of(SECOND_LATER), None);
        assert_eq!(of(NOON), None);
        assert_eq!(of("yesterday"), None);
        assert_eq!(Validator::of(&headers(&[(LAST_MODIFIED, NOON)])), None, "no Date");
        let future = headers(&[(LAST_MODIFIED, MINUTE_LATER), (DATE, NOON)]);
        assert_eq!(Validator::of(&future), None);
    }

    #[test]
    fn two_etags_are_none() {
        assert_eq!(Validator::of(&headers(&[(ETAG, "\"a\""), (ETAG, "\"b\"")])), None);
    }

    #[test]
    fn a_partial_answer_contradicts_only_by_what_it_says() {
        let tag = Validator::StrongEtag(HeaderValue::from_static("\"a\""));
        assert!(!tag.contradicted_by(&headers(&[])));
        assert!(!tag.contradicted_by(&headers(&[(ETAG, "\"a\"")])));
        assert!(tag.contradicted_by(&headers(&[(ETAG, "\"b\"")])));
        assert!(tag.contradicted_by(&headers(&[(ETAG, "W/\"a\"")])));
    }

    #[test]
    fn signs_contradict_by_what_both_answers_say() {
        let signs = Signs::of(&headers(&[(ETAG, "W/\"a\""), (LAST_MODIFIED, NOON)]));
        assert!(!signs.contradicted_by(&headers(&[])));
        assert!(!signs.contradicted_by(&headers(&[(LAST_MODIFIED, NOON)])));
        assert!(signs.contradicted_by(&headers(&[(LAST_MODIFIED, MINUTE_LATER)])));
        assert!(signs.contradicted_by(&headers(&[(ETAG, "W/\"b\""), (LAST_MODIFIED, NOON)])));
        assert!(!Signs::of(&headers(&[])).contradicted_by(&headers(&[(ETAG, "\"b\"")])));
    }
}
