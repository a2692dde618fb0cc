//! The strict reader of request heads.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! It reads what RFC 9112 says and repairs nothing, so that there is no head which this node and
//! the proxy before it could understand in two ways. Every decision depends on the bytes before
//! it alone: however the head arrives in pieces, the answer is the same, and each byte is looked
//! at once when it comes and once when its line is whole.

use http::{Uri, uri::PathAndQuery};

use super::{
    Refusal,
    field::{Field, is_token},
};

/// The longest method: longer than any registered one, `UPDATEREDIRECTREF`, by half.
const METHOD_BYTES: usize = 32;
/// What a request line holds besides method and target: two spaces and the version.
const REST_OF_LINE_BYTES: usize = 2 + b"HTTP/1.1".len();
/// A larger Content-Length is no request this node could ever mean.
const CONTENT_LENGTH_MAX: u64 = i64::MAX as u64;

/// What a head may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole head, request line and last CRLF included.
    pub header_bytes: usize,
    /// Fields of a head.
    pub header_fields: usize,
    /// Bytes of the request target.
    pub uri_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header_bytes: 16 << 10, header_fields: 64, uri_bytes: 8 << 10 }
    }
}

/// Where the body of a request ends: RFC 9112, section 6.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After this many bytes; zero where the head announces no body.
    Length(u64),
    /// After the last chunk and its trailers.
    Chunked,
}

/// A whole, well-formed head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head, its empty line included.
    pub length: usize,
    /// How the body that follows is delimited.
    pub framing: Framing,
}

/// A head while it arrives.
#[derive(Debug, Clone)]
pub struct HeadScan {
    limits: Limits,
    /// Bytes looked at.
    scanned: usize,
    /// Where the line begins that is not whole yet.
    line_start: usize,
    /// The last byte was a CR, whose LF must follow.
    after_cr: bool,
    /// One empty line stood before the request line (section 2.2 allows it).
    skipped: bool,
    version: Option<Version>,
    fields: usize,
    hosts: usize,
    content_length: Option<u64>,
    chunked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

impl HeadScan {
    /// Nothing has arrived yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            scanned: 0,
            line_start: 0,
            after_cr: false,
            skipped: false,
            version: None,
            fields: 0,
            hosts: 0,
            content_length: None,
            chunked: false,
        }
    }

    /// Whether a request has begun: an empty line in front of one does not count.
    pub fn has_begun(&self) -> bool {
        self.scanned > self.line_start || self.version.is_some()
    }

    /// Looks at what is new in `bytes`, which is all of the head that arrived so far and
    /// whatever follows it. `None` means that the head is not whole yet.
    ///
    /// # Errors
    /// The head is refused, whatever comes after.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<Head>, Refusal> {
        while let Some(&byte) = bytes.get(self.scanned) {
            if self.scanned == self.limits.header_bytes {
                return Err(Refusal::HeadTooLarge);
            }
            self.scanned += 1;
            match (self.after_cr, byte) {
                (true, b'\n') => {
                    let line = &bytes[self.line_start..self.scanned - 2];
                    (self.after_cr, self.line_start) = (false, self.scanned);
                    if self.line(line)? {
                        return self.finish().map(Some);
                    }
                }
                (true, _) => return Err(Refusal::BareCr),
                (false, b'\r') => self.after_cr = true,
                (false, b'\n') => return Err(Refusal::BareLf),
                (false, 0) => return Err(Refusal::Nul),
                (false, _) => self.check_request_line(&bytes[self.line_start..self.scanned])?,
            }
        }
        Ok(None)
    }

    /// Refuses a request line that is too long before all of it has come.
    fn check_request_line(&self, line: &[u8]) -> Result<(), Refusal> {
        let most = METHOD_BYTES + self.limits.uri_bytes + REST_OF_LINE_BYTES;
        if self.version.is_some() || line.len() <= most {
            return Ok(());
        }
        let method = line.iter().take(METHOD_BYTES + 1).position(|byte| *byte == b' ');
        Err(if method.is_some() { Refusal::UriTooLong } else { Refusal::Method })
    }

    /// Takes one line; true for the empty one that ends the head.
    fn line(&mut self, line: &[u8]) -> Result<bool, Refusal> {
        match (self.version, line) {
            (None, []) if !self.skipped => self.skipped = true,
            (None, _) => self.version = Some(self.request_line(line)?),
            (Some(_), []) => return Ok(true),
            (Some(_), _) => self.field(Field::parse(line)?)?,
        }
        Ok(false)
    }

    fn request_line(&self, line: &[u8]) -> Result<Version, Refusal> {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (Some(method), Some(target), Some(version)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::RequestLine);
        };
        if target.is_empty() {
            return Err(Refusal::RequestLine);
        }
        if !is_token(method) || method.len() > METHOD_BYTES {
            return Err(Refusal::Method);
        }
        if target.len() > self.limits.uri_bytes {
            return Err(Refusal::UriTooLong);
        }
        let version = parse_version(version)?;
        check_target(method, target)?;
        Ok(version)
    }

    fn field(&mut self, field: Field<'_>) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > self.limits.header_fields {
            return Err(Refusal::TooManyFields);
        }
        if field.is("host") {
            self.host(field.value)
        } else if field.is("content-length") {
            self.content_length(field.value)
        } else if field.is("transfer-encoding") {
            self.transfer_encoding(field.value)
        } else {
            Ok(())
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.hosts += 1;
        if self.hosts > 1 {
            return Err(Refusal::RepeatedHost);
        }
        if is_host(value) { Ok(()) } else { Err(Refusal::Host) }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.content_length.is_some() {
            return Err(Refusal::RepeatedContentLength);
        }
        self.content_length = Some(parse_content_length(value).ok_or(Refusal::ContentLength)?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.version == Some(Version::Http10) {
            return Err(Refusal::CodingInHttp10);
        }
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::TransferCoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// What only the whole head tells.
    fn finish(&self) -> Result<Head, Refusal> {
        if self.hosts == 0 && self.version == Some(Version::Http11) {
            return Err(Refusal::NoHost);
        }
        let framing = match (self.chunked, self.content_length) {
            (true, Some(_)) => return Err(Refusal::LengthAndCoding),
            (true, None) => Framing::Chunked,
            (false, length) => Framing::Length(length.unwrap_or(0)),
        };
        Ok(Head { length: self.scanned, framing })
    }
}

fn parse_version(version: &[u8]) -> Result<Version, Refusal> {
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Refusal::Version)
        }
        _ => Err(Refusal::RequestLine),
    }
}

/// Accepts origin-form, absolute-form, and `*` for OPTIONS (section 3.2).
///
/// The bytes are judged by the parser that reads the target again behind the guard, so the two
/// cannot disagree. It takes UTF-8 above ASCII as it stands, since people type it into curl. A
/// fragment is never sent (RFC 9110, section 7.1), and that parser would drop it in silence.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    if method == b"CONNECT" {
        return Err(Refusal::Tunnel);
    }
    let good = match target {
        _ if target.contains(&b'#') => false,
        b"*" => method == b"OPTIONS",
        [b'/', ..] => PathAndQuery::try_from(target).is_ok(),
        _ => is_absolute(target),
    };
    if good { Ok(()) } else { Err(Refusal::Target) }
}

fn is_absolute(target: &[u8]) -> bool {
    let Ok(uri) = Uri::try_from(target) else { return false };
    let http = uri.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https");
    let plain = uri.authority().is_some_and(|authority| is_host(authority.as_str().as_bytes()));
    http && plain
}

/// Whether `value` is `uri-host [ ":" port ]` (RFC 9110, section 7.2) with a host in it.
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', rest @ ..] => match rest.iter().position(|byte| *byte == b']') {
            Some(end) => (is_ip_literal(&rest[..end]), &rest[end + 1..]),
            None => return false,
        },
        _ => {
            let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
            (is_name(&value[..end]), &value[end..])
        }
    };
    let port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    host && port
}

fn is_ip_literal(inside: &[u8]) -> bool {
    !inside.is_empty() && inside.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte))
}

/// `reg-name` of RFC 3986, section 3.2.2, without the sub-delimiters no host name has.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(byte))
}

fn parse_content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (number <= CONTENT_LENGTH_MAX).then_some(number)
}
