//! Lines of a playlist with their numbers: tags and URIs, without comments and empty ones (RFC 8216
//! section 4.1).
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Text is UTF-8. What is not is let pass where nobody reads it, in comments and titles.

use super::error::Error;

/// One line that says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A line that begins with `#EXT`.
    Tag {
        /// Without `#`, up to the colon.
        name: &'a str,
        /// What follows the colon; nothing where there is none.
        value: &'a str,
    },
    /// Any other that is no comment.
    Uri(&'a str),
}

/// The lines after `#EXTM3U`.
#[derive(Debug, Clone)]
pub(super) struct Lines<'a> {
    left: &'a [u8],
    number: usize,
    most: usize,
}

impl<'a> Lines<'a> {
    /// At most `most` lines of any kind.
    pub(super) fn new(bytes: &'a [u8], most: usize) -> Result<Self, Error> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut lines = Self { left: bytes, number: 0, most };
        // Comments and empty lines were seen before it.
        let first = std::iter::from_fn(|| lines.cut()).find(|line| !says_nothing(line));
        match first.and_then(|line| line.strip_prefix(b"#EXTM3U")) {
            Some(rest) if rest.first().is_none_or(u8::is_ascii_whitespace) => Ok(lines),
            _ => Err(Error::NotHls("its first line is not #EXTM3U")),
        }
    }

    /// The next line without the spaces around it.
    fn cut(&mut self) -> Option<&'a [u8]> {
        if self.left.is_empty() {
            return None;
        }
        let end = self.left.iter().position(|byte| *byte == b'\n');
        let line = &self.left[..end.unwrap_or(self.left.len())];
        self.left = &self.left[end.map_or(self.left.len(), |end| end + 1)..];
        self.number += 1;
        Some(line.trim_ascii())
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<(usize, Line<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let bytes = self.cut()?;
            let line = self.number;
            if line > self.most {
                return Some(Err(Error::Limit { line, name: "playlist_lines", most: self.most }));
            }
            if says_nothing(bytes) {
                continue;
            }
            return Some(text(bytes, line).map(|text| (line, read(text))));
        }
    }
}

fn says_nothing(line: &[u8]) -> bool {
    line.is_empty() || (line.starts_with(b"#") && !line.starts_with(b"#EXT"))
}

fn text(bytes: &[u8], line: usize) -> Result<&str, Error> {
    std::str::from_utf8(bytes).or_else(|error| match bytes.starts_with(b"#EXTINF") {
        // The duration stands before the title.
        true => Ok(std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()),
        false => {
            let problem = "is not UTF-8; write it so, and URIs percent-encoded";
            Err(Error::Malformed { line, tag: "text", problem })
        }
    })
}

fn read(text: &str) -> Line<'_> {
    let Some(tag) = text.strip_prefix('#') else { return Line::Uri(text) };
    let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
    Line::Tag { name: name.trim_end(), value: value.trim_start() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Result<Vec<(usize, Line<'_>)>, Error> {
        Lines::new(text, 6)?.collect()
    }

    #[test]
    fn tags_and_uris_keep_the_numbers_of_their_lines() {
        let text =
            b"\xef\xbb\xbf# old\n#EXTM3U \r\n# no: tag\r\n#EXTINF : 4,T\xe9\r\n\r\n  a b.ts \t";
        let tag = Line::Tag { name: "EXTINF", value: "4,T" };
        assert_eq!(lines(text), Ok(vec![(4, tag), (6, Line::Uri("a b.ts"))]));
    }

    #[test]
    fn what_does_not_begin_as_a_playlist_is_none() {
        for text in [&b""[..], b"\n", b"#EXTM3UX", b"a\n#EXTM3U", b"\xff\xfe#\0E\0", b"<html>"] {
            assert!(matches!(lines(text), Err(Error::NotHls(_))), "{text:?}");
        }
        assert_eq!(lines(b"#EXTM3U url=x"), Ok(vec![]));
    }

    #[test]
    fn lines_are_counted_and_are_text() {
        let long = lines(b"#EXTM3U\n\n\n\n\n\na");
        assert_eq!(long, Err(Error::Limit { line: 7, name: "playlist_lines", most: 6 }));
        for text in [&b"#EXTM3U\na\xe9.ts"[..], b"#EXTM3U\n#EXT-X-KEY:URI=\xe9"] {
            assert!(matches!(lines(text), Err(Error::Malformed { line: 2, .. })), "{text:?}");
        }
        assert_eq!(lines(b"#EXTM3U\n#\xe9"), Ok(vec![]));
    }
}
