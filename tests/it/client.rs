//! A client: one request per connection, and all that came back.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// One answer, as far as it came.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body ended as its framing promised.
    pub complete: bool,
    /// From the request to the first byte of the body.
    pub first_byte: Option<Duration>,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        assert!(self.complete, "the body ended short after {} bytes", self.body.len());
        self
    }
}

/// Sends `GET target` with more fields (each ending in CRLF) and reads the answer to its end.
pub fn get(node: SocketAddr, target: &str, fields: &str) -> Response {
    request(node, "GET", target, fields)
}

pub fn request(node: SocketAddr, method: &str, target: &str, fields: &str) -> Response {
    let text =
        format!("{method} {target} HTTP/1.1\r\nHost: {node}\r\nConnection: close\r\n{fields}\r\n");
    raw(node, text.as_bytes(), method == "HEAD")
}

/// Sends bytes as they are and reads one answer.
pub fn raw(node: SocketAddr, bytes: &[u8], head_only: bool) -> Response {
    let mut stream = connect(node);
    stream.write_all(bytes).unwrap();
    read_response(&mut stream, &mut Vec::new(), head_only)
}

pub fn connect(node: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(node).unwrap();
    stream.set_nodelay(true).unwrap();
    // Longer than any answer takes; a hang becomes a failed test and not a hung one.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Reads one answer. `ahead` is what was read before and not used; what comes behind the answer is
/// left there for the next call.
pub fn read_response(stream: &mut TcpStream, ahead: &mut Vec<u8>, head_only: bool) -> Response {
    let began = Instant::now();
    let head_end = loop {
        if let Some(at) = find(ahead, b"\r\n\r\n") {
            break at + 4;
        }
        if read_some(stream, ahead) == 0 {
            panic!("no head in {:?}", String::from_utf8_lossy(ahead));
        }
    };
    let head = String::from_utf8(ahead.drain(..head_end).collect()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let fields: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let body = Vec::new();
    let mut response = Response { status, fields, body, complete: false, first_byte: None };
    if head_only || status == 304 || status == 204 {
        response.complete = true;
        return response;
    }
    let length = response.field("content-length").map(|text| text.parse::<usize>().unwrap());
    let chunked = response.field("transfer-encoding").is_some();
    let mut looked = 0;
    loop {
        if !ahead.is_empty() && response.first_byte.is_none() {
            response.first_byte = Some(began.elapsed());
        }
        let whole = match length {
            Some(length) => (ahead.len() >= length).then(|| ahead.drain(..length).collect()),
            // Only where an end has come: a long body is not gone through at each read.
            None if chunked && find(&ahead[looked..], b"0\r\n\r\n").is_some() => {
                take_chunked(ahead)
            }
            None => None,
        };
        if let Some(body) = whole {
            (response.body, response.complete) = (body, true);
            return response;
        }
        looked = ahead.len().saturating_sub(4);
        if read_some(stream, ahead) == 0 {
            break;
        }
    }
    // Only a body without any framing ends with its connection.
    response.complete = length.is_none() && !chunked;
    response.body = if chunked { Vec::new() } else { std::mem::take(ahead) };
    response
}

fn read_some(stream: &mut TcpStream, into: &mut Vec<u8>) -> usize {
    let mut buffer = [0; 64 << 10];
    let count = match stream.read(&mut buffer) {
        Ok(count) => count,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
        Err(error) => panic!("the node went silent: {error}"),
    };
    into.extend_from_slice(&buffer[..count]);
    count
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// Takes a chunked body off the front of `bytes` and returns its content, if it is whole.
fn take_chunked(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (mut content, mut rest) = (Vec::new(), &bytes[..]);
    loop {
        let at = find(rest, b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).ok()?, 16).ok()?;
        rest = &rest[at + 2..];
        if size == 0 {
            let end = bytes.len() - rest.strip_prefix(b"\r\n")?.len();
            bytes.drain(..end);
            return Some(content);
        }
        content.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
