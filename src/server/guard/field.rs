//! One field line of a head or of a trailer section.
//!
//! Pure: no I/O, no clock, no executor.

use super::Refusal;

/// A field as it stands on its line: RFC 9112, section 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, a token (RFC 9110, section 5.6.2), in the case it was sent.
    pub name: &'a [u8],
    /// The value without the white space around it.
    pub value: &'a [u8],
}

impl<'a> Field<'a> {
    /// Reads `line`, which comes without its CRLF.
    ///
    /// # Errors
    /// What breaks RFC 9112, section 5; nothing is repaired.
    pub fn parse(line: &'a [u8]) -> Result<Self, Refusal> {
        if line.first().is_some_and(|byte| is_space(*byte)) {
            return Err(Refusal::Folded);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Refusal::FieldName)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.last().is_some_and(|byte| is_space(*byte)) {
            return Err(Refusal::SpaceBeforeColon);
        }
        if !is_token(name) {
            return Err(Refusal::FieldName);
        }
        if !value.iter().all(|byte| is_text(*byte)) {
            return Err(Refusal::FieldValue);
        }
        Ok(Self { name, value: trim(value) })
    }

    /// Whether this is the field called `name`.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Whether `bytes` is a token of RFC 9110, section 5.6.2: at least one `tchar`.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// Whether `byte` is a `tchar`.
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `byte` may stand in a field value: white space, visible ASCII, or an obsolete byte
/// above ASCII.
pub fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value
        && is_space(*first)
    {
        value = rest;
    }
    while let [rest @ .., last] = value
        && is_space(*last)
    {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_value_is_not_part_of_it() {
        let field = Field::parse(b"Range: \t bytes=0-1 \t").unwrap();
        assert_eq!((field.name, field.value), (&b"Range"[..], &b"bytes=0-1"[..]));
        assert_eq!(Field::parse(b"X:").unwrap().value, b"");
        assert_eq!(Field::parse(b"X: \t ").unwrap().value, b"");
        assert!(field.is("rANGE") && !field.is("Ranges"));
    }

    #[test]
    fn a_value_may_hold_colons_and_bytes_above_ascii() {
        assert_eq!(Field::parse(b"X: a:b \xc3\xa9").unwrap().value, b"a:b \xc3\xa9");
    }

    #[test]
    fn a_malformed_line_is_refused_with_its_reason() {
        for (line, refusal) in [
            (&b"X : a"[..], Refusal::SpaceBeforeColon),
            (b"X\t: a", Refusal::SpaceBeforeColon),
            (b" X: a", Refusal::Folded),
            (b"\tX: a", Refusal::Folded),
            (b"X", Refusal::FieldName),
            (b": a", Refusal::FieldName),
            (b"a b: c", Refusal::FieldName),
            (b"a@b: c", Refusal::FieldName),
            (b"a\x80: c", Refusal::FieldName),
            (b"X: a\x01b", Refusal::FieldValue),
            (b"X: a\x7fb", Refusal::FieldValue),
            (b"X: \x0b", Refusal::FieldValue),
        ] {
            assert_eq!(Field::parse(line), Err(refusal), "{:?}", line.escape_ascii().to_string());
        }
    }
}
