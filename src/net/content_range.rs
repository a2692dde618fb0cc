//! The `Content-Range` field: which bytes of what an answer holds.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Read strictly (RFC 9110 section 14.4): a range that contradicts itself, or that is not the one
//! asked for, would put bytes at a wrong position of a stored resource.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, header::CONTENT_RANGE};

/// What a `Content-Range` of unit `bytes` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentRange {
    /// `bytes first-last/length`, as a half-open range. Never empty, never past `length`.
    Bytes {
        /// Positions in the complete representation.
        range: Range<u64>,
        /// Bytes of the complete representation, if the sender knows them (`*` if not).
        length: Option<u64>,
    },
    /// `bytes */length`: nothing of what was asked for exists.
    Unsatisfied {
        /// Bytes of the complete representation.
        length: u64,
    },
}

impl ContentRange {
    /// Reads a field value; `None` if it breaks the grammar or contradicts itself.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let space = value.iter().position(|byte| *byte == b' ')?;
        let (unit, rest) = (&value[..space], &value[space + 1..]);
        if !unit.eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        let (range, length) = split(rest, b'/')?;
        if range == b"*" {
            return Some(Self::Unsatisfied { length: number(length)? });
        }
        let (first, last) = split(range, b'-')?;
        // The end is exclusive here: u64::MAX as last position has none.
        let range = number(first)?..number(last)?.checked_add(1)?;
        let length = if length == b"*" { None } else { Some(number(length)?) };
        let consistent = range.start < range.end && length.is_none_or(|all| range.end <= all);
        consistent.then_some(Self::Bytes { range, length })
    }

    /// The one `Content-Range` of a head; `None` if there is none, or more than one, or a bad one.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(CONTENT_RANGE).iter().map(HeaderValue::as_bytes);
        let only = values.next()?;
        values.next().is_none().then(|| Self::parse(only))?
    }
}

fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = text.iter().position(|byte| *byte == at)?;
    Some((&text[..position], &text[position + 1..]))
}

/// Digits only: `str::parse` would take a `+`.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(range: Range<u64>, length: impl Into<Option<u64>>) -> Option<ContentRange> {
        Some(ContentRange::Bytes { range, length: length.into() })
    }

    #[test]
    fn good_ranges_are_read() {
        assert_eq!(ContentRange::parse(b"bytes 0-499/1234"), bytes(0..500, 1234));
        assert_eq!(ContentRange::parse(b"BYTES 0-0/1"), bytes(0..1, 1));
        assert_eq!(ContentRange::parse(b"bytes 42-1233/*"), bytes(42..1234, None));
        let unsatisfied = Some(ContentRange::Unsatisfied { length: 47 });
        assert_eq!(ContentRange::parse(b"bytes */47"), unsatisfied);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for bad in ["bytes 5-4/10", "bytes 0-10/10", "bytes 10-10/10", "bytes 0-0/0"] {
            assert_eq!(ContentRange::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for bad in [
            "",
            "bytes",
            "bytes ",
            "bytes 0-1",
            "bytes=0-1/2",
            "bytes  0-1/2",
            "bytes 0 - 1/2",
            "bytes +0-1/2",
            "bytes -1/2",
            "bytes 0-/2",
            "bytes 0-1/",
            "bytes 0-1/2/3",
            "bytes 0-1-2/4",
            "bytes */*",
            "bytes 0-1/2 ",
            "bytes 0-1/2, bytes 0-1/2",
            "items 0-1/2",
            "bytes 0-18446744073709551615/*",
            "bytes 0-1/18446744073709551616",
            "bytes 0x0-1/2",
        ] {
            assert_eq!(ContentRange::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn two_fields_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_RANGE, HeaderValue::from_static("bytes 0-1/2"));
        assert_eq!(ContentRange::of(&headers), bytes(0..2, 2));
        headers.append(CONTENT_RANGE, HeaderValue::from_static("bytes 0-1/2"));
        assert_eq!(ContentRange::of(&headers), None);
    }

    /// Whatever is read says again, written out, what was read.
    #[test]
    fn reading_what_was_written_gives_the_same() {
        for first in 0..20u64 {
            for last in 0..20u64 {
                for length in 0..20u64 {
                    let text = format!("bytes {first}-{last}/{length}");
                    let good = first <= last && last < length;
                    let read = bytes(first..last + 1, length).filter(|_| good);
                    assert_eq!(ContentRange::parse(text.as_bytes()), read, "{text}");
                }
            }
        }
    }
}
