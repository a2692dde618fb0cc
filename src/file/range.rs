//! Which part of a representation a `Range` field asks for: RFC 9110, section 14.
//!
//! Pure: no I/O, no clock, no executor.

use std::ops::Range;

/// More ranges than this are answered with the whole, as section 14.2 advises against floods.
const RANGES: usize = 8;

/// What to send of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of it, with 200.
    Whole,
    /// These bytes of it, with 206. Never empty.
    Part(Range<u64>),
    /// Nothing, with 416: no byte that was asked for exists.
    Unsatisfiable,
}

/// What `field`, the value of `Range`, selects of a representation of `length` bytes.
///
/// A field that is absent, malformed, or in another unit is ignored (section 14.2). Several ranges
/// are answered with the whole, which section 14.2 allows too, unless none of them exists.
pub fn select(field: Option<&[u8]>, length: u64) -> Selection {
    let Some(specs) = field.and_then(parse) else { return Selection::Whole };
    if length == 0 {
        // No part can be named of nothing, so an empty 200 tells more than an error.
        return Selection::Whole;
    }
    let mut parts = specs.iter().filter_map(|spec| spec.part(length));
    match (parts.next(), specs.len()) {
        (None, _) => Selection::Unsatisfiable,
        (Some(part), 1) => Selection::Part(part),
        (Some(_), _) => Selection::Whole,
    }
}

/// Where the one part begins that `field` asks for; 0 where that depends on the length, or where it asks
/// for several.
pub fn first_position(field: Option<&[u8]>) -> u64 {
    match field.and_then(parse).as_deref() {
        Some(&[Spec::Between(first, _)]) => first,
        _ => 0,
    }
}

/// The value of `Content-Range` for `part` of `length` bytes.
pub fn content_range(part: &Range<u64>, length: u64) -> String {
    debug_assert!(part.start < part.end && part.end <= length);
    format!("bytes {}-{}/{length}", part.start, part.end - 1)
}

/// The value of `Content-Range` that goes with 416.
pub fn unsatisfied_range(length: u64) -> String {
    format!("bytes */{length}")
}

/// One member of a range set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    /// From a first byte to a last one, which is part of it.
    Between(u64, u64),
    /// The last bytes.
    Last(u64),
}

impl Spec {
    fn part(self, length: u64) -> Option<Range<u64>> {
        let part = match self {
            Self::Between(first, last) => first..last.saturating_add(1).min(length),
            Self::Last(bytes) => length.saturating_sub(bytes)..length,
        };
        (!part.is_empty()).then_some(part)
    }
}

/// The members of a `bytes` range set, at most one more than [`RANGES`] of them.
fn parse(field: &[u8]) -> Option<Vec<Spec>> {
    let text = std::str::from_utf8(field).ok()?;
    let (unit, set) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") || set.starts_with([' ', '\t']) {
        return None;
    }
    let mut specs = Vec::new();
    for member in set.split(',').map(|member| member.trim_matches([' ', '\t'])) {
        // Empty members are to be ignored (section 5.6.1.2).
        if member.is_empty() {
            continue;
        }
        let spec = parse_spec(member)?;
        if specs.len() <= RANGES {
            specs.push(spec);
        }
    }
    (!specs.is_empty()).then_some(specs)
}

fn parse_spec(member: &str) -> Option<Spec> {
    let (first, last) = member.split_once('-')?;
    match (first, last) {
        ("", last) => Some(Spec::Last(number(last)?)),
        (first, "") => Some(Spec::Between(number(first)?, u64::MAX)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::Between(first, last))
        }
    }
}

/// A decimal number; one too large for any representation becomes the largest there is.
fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_100(field: &str) -> Selection {
        select(Some(field.as_bytes()), 100)
    }

    #[test]
    fn a_single_range_is_a_part() {
        assert_eq!(of_100("bytes=0-0"), Selection::Part(0..1));
        assert_eq!(of_100("bytes=10-19"), Selection::Part(10..20));
        assert_eq!(of_100("bytes=90-"), Selection::Part(90..100));
        assert_eq!(of_100("bytes=0-"), Selection::Part(0..100));
        assert_eq!(of_100("bytes=-10"), Selection::Part(90..100));
        assert_eq!(of_100("BYTES=99-99"), Selection::Part(99..100));
    }

    #[test]
    fn a_part_begins_where_it_says_so_for_any_length() {
        let first = |field: &str| first_position(Some(field.as_bytes()));
        assert_eq!((first("bytes=10-19"), first("bytes=7-"), first("bytes=0-")), (10, 7, 0));
        for field in ["bytes=-10", "bytes=5-6,8-9", "bytes=x-", "lines=5-6"] {
            assert_eq!(first(field), 0, "{field}");
        }
        assert_eq!(first_position(None), 0);
    }

    #[test]
    fn what_lies_past_the_end_is_cut() {
        assert_eq!(of_100("bytes=50-1000"), Selection::Part(50..100));
        assert_eq!(of_100("bytes=-1000"), Selection::Part(0..100));
        assert_eq!(of_100("bytes=0-99999999999999999999999"), Selection::Part(0..100));
        assert_eq!(of_100("bytes=-99999999999999999999999"), Selection::Part(0..100));
    }

    #[test]
    fn a_range_of_no_byte_is_unsatisfiable() {
        assert_eq!(of_100("bytes=100-"), Selection::Unsatisfiable);
        assert_eq!(of_100("bytes=100-200"), Selection::Unsatisfiable);
        assert_eq!(of_100("bytes=-0"), Selection::Unsatisfiable);
        assert_eq!(of_100("bytes=18446744073709551615-"), Selection::Unsatisfiable);
        assert_eq!(of_100("bytes=200-, -0"), Selection::Unsatisfiable);
    }

    #[test]
    fn a_malformed_field_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-a",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=2-1",
            "bytes= 0-1",
            "bytes =0-1",
            "items=0-1",
            "bytes=0-1;2-3",
            "bytes=0 - 1",
            "bytes=0x0-1",
            "bytes=0-1,x",
            "bytes:0-1",
            "bytes=\u{660}-1",
        ] {
            assert_eq!(of_100(field), Selection::Whole, "{field:?}");
        }
        assert_eq!(select(Some(b"bytes=\xff-1"), 100), Selection::Whole);
        assert_eq!(select(None, 100), Selection::Whole);
    }

    #[test]
    fn empty_members_do_not_count() {
        assert_eq!(of_100("bytes=,0-1"), Selection::Part(0..2));
        assert_eq!(of_100("bytes=0-1 , "), Selection::Part(0..2));
    }

    #[test]
    fn several_ranges_are_the_whole() {
        assert_eq!(of_100("bytes=0-1,4-5"), Selection::Whole);
        assert_eq!(of_100("bytes=0-1,200-"), Selection::Whole);
        assert_eq!(of_100(&format!("bytes={}", "0-1,".repeat(4000))), Selection::Whole);
    }

    #[test]
    fn nothing_is_sent_whole() {
        assert_eq!(select(Some(b"bytes=0-"), 0), Selection::Whole);
        assert_eq!(select(Some(b"bytes=-1"), 0), Selection::Whole);
    }

    #[test]
    fn content_range_names_the_last_byte() {
        assert_eq!(content_range(&(10..20), 100), "bytes 10-19/100");
        assert_eq!(unsatisfied_range(100), "bytes */100");
    }
}
