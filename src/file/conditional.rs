//! Conditional requests: RFC 9110, section 13.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderName,
    header::{
        DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
    },
};

/// What is known of the representation that would be sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Current<'a> {
    /// Its entity tag with its quotes, and `W/` in front where it is weak.
    pub etag: Option<&'a str>,
    /// When it was last modified, in whole seconds.
    pub last_modified: Option<SystemTime>,
    /// When it was made, which is no earlier.
    pub made: Option<SystemTime>,
}

impl<'a> Current<'a> {
    /// What the fields of a representation say of it.
    pub fn of(fields: &'a HeaderMap) -> Self {
        let text = |name: HeaderName| fields.get(name).and_then(|value| value.to_str().ok());
        let date = |name| text(name).and_then(|text| httpdate::parse_http_date(text).ok());
        Self { etag: text(ETAG), last_modified: date(LAST_MODIFIED), made: date(DATE) }
    }
}

/// The fields of a request that make it conditional, as they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// All values of `If-Match`, joined with commas.
    pub if_match: Option<String>,
    /// All values of `If-None-Match`, joined with commas.
    pub if_none_match: Option<String>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<String>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<String>,
}

impl Conditions {
    /// The conditions among a request's fields. A value that is no text counts as no field.
    pub fn of(fields: &HeaderMap) -> Self {
        let list = |name: HeaderName| {
            let values = fields.get_all(name);
            let values: Vec<_> = values.iter().filter_map(|value| value.to_str().ok()).collect();
            (!values.is_empty()).then(|| values.join(", "))
        };
        Self {
            if_match: list(IF_MATCH),
            if_none_match: list(IF_NONE_MATCH),
            if_modified_since: list(IF_MODIFIED_SINCE),
            if_unmodified_since: list(IF_UNMODIFIED_SINCE),
        }
    }
}

/// How to go on with a GET or HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As if it were unconditional.
    Proceed,
    /// The client has it: 304.
    NotModified,
    /// The client wants another one: 412.
    Failed,
}

/// Weighs the conditions in the order of section 13.2.2.
pub fn evaluate(conditions: &Conditions, current: Current<'_>) -> Verdict {
    if let Some(list) = &conditions.if_match {
        if !matches(list, current.etag, strong_match) {
            return Verdict::Failed;
        }
    } else if let Some(since) = date(conditions.if_unmodified_since.as_deref())
        && current.last_modified.is_some_and(|modified| modified > since)
    {
        return Verdict::Failed;
    }
    if let Some(list) = &conditions.if_none_match {
        if matches(list, current.etag, weak_match) {
            return Verdict::NotModified;
        }
    } else if let Some(since) = date(conditions.if_modified_since.as_deref())
        // Without a time of modification that of the answer counts (RFC 9111 section 4.3.2).
        && current.last_modified.or(current.made).is_some_and(|modified| modified <= since)
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether a `Range` is to be honoured beside this `If-Range` (section 13.1.5); where it is not,
/// the whole is sent.
///
/// A date counts only if it is a strong validator: `now` is over a second after it, so that the
/// representation cannot have changed again within it (section 8.8.2.2).
pub fn range_applies(if_range: Option<&str>, current: Current<'_>, now: SystemTime) -> bool {
    let Some(validator) = if_range.map(|value| value.trim_matches([' ', '\t'])) else {
        return true;
    };
    if validator.starts_with(['"', 'W']) && validator.contains('"') {
        return current.etag.is_some_and(|etag| strong_match(validator, etag));
    }
    let (Some(date), Some(modified)) = (date(Some(validator)), current.last_modified) else {
        return false;
    };
    date == modified && modified + Duration::from_secs(1) < now
}

fn date(field: Option<&str>) -> Option<SystemTime> {
    httpdate::parse_http_date(field?.trim_matches([' ', '\t'])).ok()
}

/// Whether `list`, a list of entity tags or `*`, holds `etag`.
fn matches(list: &str, etag: Option<&str>, equal: fn(&str, &str) -> bool) -> bool {
    // `*` asks whether anything is there at all, and something is.
    if list.trim_matches([' ', '\t']) == "*" {
        return true;
    }
    etag.is_some_and(|etag| tags(list).any(|tag| equal(tag, etag)))
}

/// The well-formed tags of a list, up to the first malformed one.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let quote = if rest.starts_with("W/\"") { 2 } else { 0 };
        let inside = rest.get(quote..)?.strip_prefix('"')?;
        let end = quote + 1 + inside.find('"')? + 1;
        let (tag, after) = rest.split_at(end);
        let separated = after.is_empty() || after.starts_with([' ', '\t', ',']);
        rest = if separated { after } else { "" };
        separated.then_some(tag)
    })
}

/// Equal and both strong (section 8.8.3.2).
fn strong_match(one: &str, other: &str) -> bool {
    one == other && one.starts_with('"') && one.len() >= 2
}

/// Equal, weak or not.
fn weak_match(one: &str, other: &str) -> bool {
    one.strip_prefix("W/").unwrap_or(one) == other.strip_prefix("W/").unwrap_or(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"a\"";

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn tagged(etag: &str) -> Current<'_> {
        Current { etag: Some(etag), ..Current::default() }
    }

    fn none_match(list: &str, etag: &str) -> Verdict {
        let if_none_match = Some(list.to_owned());
        evaluate(&Conditions { if_none_match, ..Conditions::default() }, tagged(etag))
    }

    #[test]
    fn a_listed_tag_is_not_sent_again() {
        for list in ["\"a\"", "\"b\", \"a\"", "W/\"a\"", "\"b\",W/\"a\" ", "*", " * ", ",\"a\""] {
            assert_eq!(none_match(list, TAG), Verdict::NotModified, "{list}");
        }
        assert_eq!(none_match("\"a\"", "W/\"a\""), Verdict::NotModified, "weak comparison");
        for list in ["\"b\"", "a", "\"a", "", "\"a\"x", "\"A\"", "x, \"a\""] {
            assert_eq!(none_match(list, TAG), Verdict::Proceed, "{list}");
        }
    }

    #[test]
    fn a_list_may_be_spread_over_several_fields() {
        let mut fields = HeaderMap::new();
        fields.append(IF_NONE_MATCH, "\"b\"".parse().unwrap());
        fields.append(IF_NONE_MATCH, "\"a\"".parse().unwrap());
        assert_eq!(evaluate(&Conditions::of(&fields), tagged(TAG)), Verdict::NotModified);
    }

    #[test]
    fn a_comma_inside_a_tag_does_not_part_it() {
        assert_eq!(none_match("\"x,y\"", "\"x,y\""), Verdict::NotModified);
        assert_eq!(none_match("\"x,\"", "\"x\""), Verdict::Proceed);
    }

    #[test]
    fn a_match_is_strong() {
        let verdict = |list: &str, etag| {
            let if_match = Some(list.to_owned());
            evaluate(&Conditions { if_match, ..Conditions::default() }, tagged(etag))
        };
        assert_eq!(verdict("\"a\"", TAG), Verdict::Proceed);
        assert_eq!(verdict("*", TAG), Verdict::Proceed);
        assert_eq!(verdict("\"b\"", TAG), Verdict::Failed);
        assert_eq!(verdict("W/\"a\"", "W/\"a\""), Verdict::Failed);
    }

    #[test]
    fn dates_count_where_no_tags_are_given() {
        let date = || Some("Thu, 01 Jan 1970 00:01:40 GMT".to_owned());
        let modified =
            |seconds| Current { etag: Some(TAG), last_modified: Some(at(seconds)), made: None };
        let since = Conditions { if_modified_since: date(), ..Conditions::default() };
        assert_eq!(evaluate(&since, modified(100)), Verdict::NotModified);
        assert_eq!(evaluate(&since, modified(101)), Verdict::Proceed);
        let tags = Conditions { if_none_match: Some("\"b\"".to_owned()), ..since.clone() };
        assert_eq!(evaluate(&tags, modified(100)), Verdict::Proceed);
        let unmodified = Conditions { if_unmodified_since: date(), ..Conditions::default() };
        assert_eq!(evaluate(&unmodified, modified(100)), Verdict::Proceed);
        assert_eq!(evaluate(&unmodified, modified(101)), Verdict::Failed);
        let garbage =
            Conditions { if_modified_since: Some("yesterday".to_owned()), ..Conditions::default() };
        assert_eq!(evaluate(&garbage, modified(100)), Verdict::Proceed);
    }

    #[test]
    fn without_a_time_of_modification_that_of_the_answer_counts_for_what_is_newer() {
        let since = |text: &str| Conditions {
            if_modified_since: Some(text.to_owned()),
            if_unmodified_since: Some("Thu, 01 Jan 1970 00:00:01 GMT".to_owned()),
            ..Conditions::default()
        };
        let current = Current { made: Some(at(100)), ..Current::default() };
        let verdict = |text| evaluate(&since(text), current);
        assert_eq!(verdict("Thu, 01 Jan 1970 00:01:40 GMT"), Verdict::NotModified);
        assert_eq!(verdict("Thu, 01 Jan 1970 00:01:39 GMT"), Verdict::Proceed);
    }

    #[test]
    fn a_range_of_another_version_does_not_apply() {
        let now = at(1000);
        assert!(range_applies(None, tagged(TAG), now));
        assert!(range_applies(Some("\"a\""), tagged(TAG), now));
        for if_range in ["\"b\"", "W/\"a\"", "a", "", "*", "\"a\", \"a\""] {
            assert!(!range_applies(Some(if_range), tagged(TAG), now), "{if_range}");
        }
        assert!(!range_applies(Some("W/\"a\""), tagged("W/\"a\""), now));
        assert!(!range_applies(Some("\"a\""), Current::default(), now));
    }

    #[test]
    fn a_date_in_if_range_must_be_exact_and_old_enough() {
        let date = Some("Thu, 01 Jan 1970 00:01:40 GMT");
        let modified =
            |seconds| Current { etag: None, last_modified: Some(at(seconds)), made: None };
        assert!(range_applies(date, modified(100), at(1000)));
        assert!(!range_applies(date, modified(99), at(1000)), "older is another version too");
        assert!(!range_applies(date, modified(101), at(1000)));
        assert!(!range_applies(date, modified(100), at(100)), "it may change within the second");
    }
}
