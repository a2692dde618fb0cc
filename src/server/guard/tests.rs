//! Hostile and well-formed messages, against the pure readers and through the guard.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use futures_lite::future::block_on;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::{
    Guard, Limits, Refusal,
    Refusal::*,
    chunked::Chunked,
    head::{Framing, HeadScan},
};

/// What must be refused, and why. `H` stands for a good Host line.
const REFUSED: &[(&str, Refusal)] = &[
    // Two lengths: one parser takes the first, one the last, one the other field.
    (
        "POST / HTTP/1.1\r\nHContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        LengthAndCoding,
    ),
    (
        "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        LengthAndCoding,
    ),
    ("POST / HTTP/1.1\r\nHContent-Length: 0\r\ntransfer-encoding:chunked\r\n\r\n", LengthAndCoding),
    ("POST / HTTP/1.1\r\nHContent-Length: 5\r\nContent-Length: 6\r\n\r\n", RepeatedContentLength),
    ("POST / HTTP/1.1\r\nHContent-Length: 5\r\nContent-Length: 5\r\n\r\n", RepeatedContentLength),
    ("POST / HTTP/1.1\r\nHContent-Length: 5\r\ncontent-length: 0\r\n\r\n", RepeatedContentLength),
    // Lengths that are no plain number.
    ("POST / HTTP/1.1\r\nHContent-Length: 5, 5\r\n\r\n", ContentLength),
    ("POST / HTTP/1.1\r\nHContent-Length: +5\r\n\r\n", ContentLength),
    ("POST / HTTP/1.1\r\nHContent-Length: -5\r\n\r\n", ContentLength),
    ("POST / HTTP/1.1\r\nHContent-Length: 0x5\r\n\r\n", ContentLength),
    ("POST / HTTP/1.1\r\nHContent-Length: 5 5\r\n\r\n", ContentLength),
    ("POST / HTTP/1.1\r\nHContent-Length: 5.0\r\n\r\n", ContentLength),
    ("POST / HTTP/1.1\r\nHContent-Length:\r\n\r\n", ContentLength),
    ("POST / HTTP/1.1\r\nHContent-Length: 18446744073709551617\r\n\r\n", ContentLength),
    ("POST / HTTP/1.1\r\nHContent-Length: 9223372036854775808\r\n\r\n", ContentLength),
    // Codings that one side might not see.
    ("POST / HTTP/1.1\r\nHTransfer-Encoding: identity\r\n\r\n", TransferCoding),
    ("POST / HTTP/1.1\r\nHTransfer-Encoding: gzip, chunked\r\n\r\n", TransferCoding),
    ("POST / HTTP/1.1\r\nHTransfer-Encoding: chunked, chunked\r\n\r\n", TransferCoding),
    ("POST / HTTP/1.1\r\nHTransfer-Encoding: chunked, identity\r\n\r\n", TransferCoding),
    ("POST / HTTP/1.1\r\nHTransfer-Encoding: xchunked\r\n\r\n", TransferCoding),
    ("POST / HTTP/1.1\r\nHTransfer-Encoding: \"chunked\"\r\n\r\n", TransferCoding),
    ("POST / HTTP/1.1\r\nHTransfer-Encoding: chunked;a=b\r\n\r\n", TransferCoding),
    ("POST / HTTP/1.1\r\nHTransfer-Encoding:\r\n\r\n", TransferCoding),
    (
        "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        TransferCoding,
    ),
    (
        "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
        TransferCoding,
    ),
    ("POST / HTTP/1.1\r\nHTransfer-Encoding: \x0bchunked\r\n\r\n", FieldValue),
    ("POST / HTTP/1.0\r\nHTransfer-Encoding: chunked\r\n\r\n", CodingInHttp10),
    ("POST / HTTP/1.1\r\nHTransfer-Encoding : chunked\r\n\r\n", SpaceBeforeColon),
    ("POST / HTTP/1.1\r\nHTransfer-Encoding\t: chunked\r\n\r\n", SpaceBeforeColon),
    ("POST / HTTP/1.1\r\nHContent-Length : 5\r\n\r\n", SpaceBeforeColon),
    // Lines that end or go on where others see none.
    ("POST / HTTP/1.1\r\nHX: a\r\n Transfer-Encoding: chunked\r\n\r\n", Folded),
    ("POST / HTTP/1.1\r\nHX: a\r\n\tb\r\n\r\n", Folded),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Folded),
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", BareLf),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", BareLf),
    ("GET / HTTP/1.1\r\nHX: a\nContent-Length: 5\r\n\r\n", BareLf),
    ("GET / HTTP/1.1\r\nH\n", BareLf),
    ("\nGET / HTTP/1.1\r\nH\r\n", BareLf),
    ("GET / HTTP/1.1\rHost: a\r\n\r\n", BareCr),
    ("GET / HTTP/1.1\r\nHX: a\rContent-Length: 5\r\n\r\n", BareCr),
    ("GET / HTTP/1.1\r\r\nH\r\n", BareCr),
    ("GET / HTTP/1.1\r\nH\rX", BareCr),
    ("GET / HTTP/1.1\r\nHX: a\0b\r\n\r\n", Nul),
    ("GET /\0 HTTP/1.1\r\nH\r\n", Nul),
    ("GET / HTTP/1.1\r\nHX\0: a\r\n\r\n", Nul),
    // Names and values.
    ("GET / HTTP/1.1\r\nHX Y: a\r\n\r\n", FieldName),
    ("GET / HTTP/1.1\r\nHX\r\n\r\n", FieldName),
    ("GET / HTTP/1.1\r\nH: a\r\n\r\n", FieldName),
    ("GET / HTTP/1.1\r\nH(X): a\r\n\r\n", FieldName),
    ("GET / HTTP/1.1\r\nHX\u{e9}: a\r\n\r\n", FieldName),
    ("GET / HTTP/1.1\r\nHX: a\x01\r\n\r\n", FieldValue),
    ("GET / HTTP/1.1\r\nHX: a\x7f\r\n\r\n", FieldValue),
    ("GET / HTTP/1.1\r\nHX: \x1b[31m\r\n\r\n", FieldValue),
    // Whose request is it?
    ("GET / HTTP/1.1\r\n\r\n", NoHost),
    ("GET / HTTP/1.1\r\nHHost: a\r\n\r\n", RepeatedHost),
    ("GET / HTTP/1.1\r\nHHost: b\r\n\r\n", RepeatedHost),
    ("GET / HTTP/1.0\r\nHHost: b\r\n\r\n", RepeatedHost),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Host),
    ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Host),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Host),
    ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Host),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Host),
    ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", Host),
    ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Host),
    // Request lines.
    ("GET  / HTTP/1.1\r\nH\r\n", RequestLine),
    ("GET /  HTTP/1.1\r\nH\r\n", RequestLine),
    ("GET / HTTP/1.1 \r\nH\r\n", RequestLine),
    ("GET / x HTTP/1.1\r\nH\r\n", RequestLine),
    ("GET\t/ HTTP/1.1\r\nH\r\n", RequestLine),
    ("GET /\r\nH\r\n", RequestLine),
    ("GET / http/1.1\r\nH\r\n", RequestLine),
    ("GET / HTTP/1.1x\r\nH\r\n", RequestLine),
    ("GET / HTTP/11\r\nH\r\n", RequestLine),
    ("\r\n\r\nGET / HTTP/1.1\r\nH\r\n", RequestLine),
    (" GET / HTTP/1.1\r\nH\r\n", Method),
    ("G@T / HTTP/1.1\r\nH\r\n", Method),
    ("GETGETGETGETGETGETGETGETGETGETGETGET / HTTP/1.1\r\nH\r\n", Method),
    ("GET / HTTP/2.0\r\nH\r\n", Version),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Version),
    ("GET / HTTP/0.9\r\nH\r\n", Version),
    ("GET / HTTP/1.2\r\nH\r\n", Version),
    ("CONNECT a:80 HTTP/1.1\r\nH\r\n", Tunnel),
    ("GET a HTTP/1.1\r\nH\r\n", Target),
    ("GET * HTTP/1.1\r\nH\r\n", Target),
    ("GET /a#b HTTP/1.1\r\nH\r\n", Target),
    ("GET /a\x01 HTTP/1.1\r\nH\r\n", Target),
    ("GET /<a> HTTP/1.1\r\nH\r\n", Target),
    ("GET ftp://a/ HTTP/1.1\r\nH\r\n", Target),
    ("GET http://u@a/ HTTP/1.1\r\nH\r\n", Target),
    ("GET http:///a HTTP/1.1\r\nH\r\n", Target),
    // Chunked bodies.
    ("C\r\n0\r\n\r\n", ChunkSize),
    ("Cg\r\n", ChunkSize),
    ("C0x5\r\n", ChunkSize),
    ("C-1\r\n", ChunkSize),
    ("C+5\r\n", ChunkSize),
    ("C 5\r\n", ChunkSize),
    ("C5 \r\n", ChunkSize),
    ("C;a\r\n", ChunkSize),
    ("C1000000000000000\r\n", ChunkSize),
    ("C0000000000000005\r\n", ChunkSize),
    ("C5\nhello\r\n", BareLf),
    ("C5\rhello\r\n", BareCr),
    ("C5;\r\n", ChunkExtension),
    ("C5; a\r\n", ChunkExtension),
    ("C5;a\x01\r\n", ChunkExtension),
    ("C5;a\n", BareLf),
    ("C5\r\nhelloworld\r\n", ChunkEnd),
    ("C5\r\nhello\n0\r\n\r\n", ChunkEnd),
    ("C5\r\nhello\r0\r\n\r\n", ChunkEnd),
    ("C0\r\nX : a\r\n\r\n", SpaceBeforeColon),
    ("C0\r\n X: a\r\n\r\n", Folded),
    ("C0\r\nX\r\n\r\n", FieldName),
    ("C0\r\nX: a\n\r\n", BareLf),
    ("C0\r\n\n", BareLf),
    ("C0\r\nContent-Length: 5\r\n\r\n", Trailers),
    ("C0\r\nTransfer-Encoding: chunked\r\n\r\n", Trailers),
    ("C0\r\nHost: b\r\n\r\n", Trailers),
];

/// Well-formed neighbours of what is refused.
const ACCEPTED: &[&str] = &[
    "GET / HTTP/1.1\r\nH\r\n",
    "\r\nGET / HTTP/1.1\r\nH\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.1\r\nhost:a:7700\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: \t[::1]:80 \r\n\r\n",
    "GET /a?b=c&d=%20 HTTP/1.1\r\nHX:\r\nX: a b\tc\r\n\r\n",
    "GET /\u{e9} HTTP/1.1\r\nHX: \u{e9}\r\n\r\n",
    "GET http://a/b?c HTTP/1.1\r\nH\r\n",
    "OPTIONS * HTTP/1.1\r\nH\r\n",
    "GET / HTTP/1.1\r\nHContent-Length: 0\r\n\r\n",
    "POST / HTTP/1.1\r\nHContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.0\r\nContent-Length: 005\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
    "C5\r\nhello\r\n0\r\n\r\n",
    "CA;a=b;c=\"d e\"\r\nhelloworld\r\n1\r\n!\r\n00\r\n\r\n",
    "C0\r\nX-Sum: abc\r\nY: d\r\n\r\n",
];

/// Writes out the short forms of the tables.
fn message(short: &str) -> Vec<u8> {
    let long = match short.strip_prefix('C') {
        Some(body) if !short.starts_with("CONNECT") => {
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
        }
        _ => match short.split_once("\r\nH") {
            Some((line, rest)) if !rest.starts_with("ost") => {
                format!(
                    "{line}\r\nHost: a\r\n{}",
                    rest.strip_prefix("\r\n").map_or(rest.to_owned(), |r| format!("\r\n{r}"))
                )
            }
            _ => short.to_owned(),
        },
    };
    long.into_bytes()
}

/// Reads a message with the pure readers, its head given in pieces of `step` bytes.
/// `Some` is the length of the message.
fn read(bytes: &[u8], step: usize) -> Result<Option<usize>, Refusal> {
    let mut scan = HeadScan::new(Limits::default());
    let mut end = 0;
    let head = loop {
        end = (end + step).min(bytes.len());
        match scan.advance(&bytes[..end])? {
            Some(head) => break head,
            None if end == bytes.len() => return Ok(None),
            None => {}
        }
    };
    let Framing::Chunked = head.framing else {
        let Framing::Length(length) = head.framing else { unreachable!() };
        let length = head.length + usize::try_from(length).unwrap();
        return Ok((length <= bytes.len()).then_some(length));
    };
    let (mut chunked, mut at) = (Chunked::default(), head.length);
    while at < bytes.len() {
        let end = (at + step).min(bytes.len());
        let progress = chunked.advance(&bytes[at..end])?;
        at += progress.taken;
        if progress.done {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

#[test]
fn hostile_messages_are_refused_for_their_reason_however_they_are_cut() {
    assert!(REFUSED.len() >= 48);
    for (short, refusal) in REFUSED {
        let bytes = message(short);
        for step in [1, 2, 3, 7, bytes.len()] {
            assert_eq!(read(&bytes, step), Err(*refusal), "{:?} by {step}", short);
        }
    }
}

#[test]
fn well_formed_messages_end_where_they_end() {
    for short in ACCEPTED {
        let mut bytes = message(short);
        let length = bytes.len();
        bytes.extend_from_slice(b"GET /next");
        for step in [1, 2, 3, 7, bytes.len()] {
            assert_eq!(read(&bytes, step), Ok(Some(length)), "{short:?} by {step}");
        }
        for cut in 0..length {
            assert_eq!(read(&bytes[..cut], cut.max(1)), Ok(None), "{short:?} cut at {cut}");
        }
    }
}

#[test]
fn limits_hold_to_the_byte() {
    let limits = Limits::default();
    let target =
        |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(bytes - 1));
    let head = |bytes: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(bytes - rest))
    };
    let fields =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(count - 1));
    for step in [1, 4096, usize::MAX >> 1] {
        let of = |text: String| read(text.as_bytes(), step).map(|end| end.is_some());
        assert_eq!(of(target(limits.uri_bytes)), Ok(true));
        assert_eq!(of(target(limits.uri_bytes + 1)), Err(UriTooLong));
        assert_eq!(of(target(limits.header_bytes * 4)), Err(UriTooLong));
        assert_eq!(of(head(limits.header_bytes)), Ok(true));
        assert_eq!(of(head(limits.header_bytes + 1)), Err(HeadTooLarge));
        assert_eq!(of(fields(limits.header_fields)), Ok(true));
        assert_eq!(of(fields(limits.header_fields + 1)), Err(TooManyFields));
        assert_eq!(of("a".repeat(100_000)), Err(Method));
    }
}

#[test]
fn chunk_extensions_and_trailers_are_bounded() {
    let body = |body: String| read(&message(&format!("C{body}")), 4096);
    assert!(body(format!("1;{}\r\na\r\n0\r\n\r\n", "a".repeat(256))).is_ok());
    assert_eq!(body(format!("1;{}\r\n", "a".repeat(257))), Err(ChunkExtension));
    let many = format!("1;{}\r\na\r\n", "a".repeat(200)).repeat(30);
    assert_eq!(body(many), Err(ChunkExtension));
    assert_eq!(body(format!("0\r\nX: {}\r\n\r\n", "a".repeat(5000))), Err(Trailers));
    assert_eq!(body(format!("0\r\n{}\r\n", "X: a\r\n".repeat(17))), Err(Trailers));
}

/// A socket in memory: what the peer sent, in the pieces in which reads see it.
#[derive(Default)]
struct Wire {
    incoming: VecDeque<Vec<u8>>,
    ended: bool,
    waker: Option<Waker>,
    written: Vec<u8>,
}

#[derive(Clone, Default)]
struct Socket(Rc<RefCell<Wire>>);

impl Socket {
    fn send(&self, bytes: &[u8], step: usize) {
        let mut wire = self.0.borrow_mut();
        wire.incoming.extend(bytes.chunks(step.max(1)).map(<[u8]>::to_vec));
        if let Some(waker) = wire.waker.take() {
            waker.wake();
        }
    }

    fn end(&self) {
        self.0.borrow_mut().ended = true;
    }
}

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.0.borrow_mut();
        let Some(mut piece) = wire.incoming.pop_front() else {
            if wire.ended {
                return Poll::Ready(Ok(()));
            }
            wire.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let rest = piece.split_off(piece.len().min(into.remaining()));
        into.put_slice(&piece);
        if !rest.is_empty() {
            wire.incoming.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn guard(socket: &Socket) -> Guard<Socket> {
    Guard::new(socket.clone(), Limits::default(), Instant::now)
}

/// All that can be read now, and whether the end was among it.
fn read_now(guard: &mut Guard<Socket>) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        let mut space = [0; 512];
        let mut read = ReadBuf::new(&mut space);
        match Pin::new(&mut *guard).poll_read(&mut cx, read.unfilled()) {
            Poll::Pending => return (all, false),
            Poll::Ready(result) => result.unwrap(),
        }
        if read.filled().is_empty() {
            return (all, true);
        }
        all.extend_from_slice(read.filled());
    }
}

fn flush(guard: &mut Guard<Socket>) {
    block_on(poll_fn(|cx| Pin::new(&mut *guard).poll_flush(cx))).unwrap();
}

#[test]
fn through_the_guard_a_hostile_message_is_the_end() {
    for (short, refusal) in REFUSED {
        let bytes = message(short);
        for step in [1, 5, bytes.len()] {
            let socket = Socket::default();
            socket.send(&bytes, step);
            let mut guard = guard(&socket);
            let (_, ended) = read_now(&mut guard);
            assert!(ended, "{short:?} by {step}");
            assert_eq!(guard.refusal(), Some(*refusal), "{short:?} by {step}");
            assert!(guard.may_answer());
        }
    }
}

#[test]
fn the_next_message_is_held_until_the_response_is_flushed() {
    for short in ACCEPTED {
        let first = message(short);
        for step in [1, 5, 4096] {
            let socket = Socket::default();
            let next = message(ACCEPTED[0]);
            socket.send(&[first.as_slice(), &next].concat(), step);
            let mut guard = guard(&socket);
            assert_eq!(read_now(&mut guard), (first.clone(), false), "{short:?}");
            let ticket = guard.exchange().ticket();
            flush(&mut guard);
            assert_eq!(read_now(&mut guard), (vec![], false), "the response goes on");
            drop(ticket);
            assert_eq!(read_now(&mut guard), (vec![], false), "it is not flushed");
            flush(&mut guard);
            assert_eq!(read_now(&mut guard), (next, false));
            assert_eq!(guard.exchange().requests(), 2);
        }
    }
}

#[test]
fn a_peer_that_goes_away_is_seen_behind_held_bytes() {
    let socket = Socket::default();
    let first = message(ACCEPTED[0]);
    socket.send(&[first.as_slice(), b"GET /more"].concat(), 7);
    let mut guard = guard(&socket);
    assert_eq!(read_now(&mut guard), (first, false));
    socket.end();
    assert_eq!(read_now(&mut guard), (vec![], true));
    assert_eq!(guard.refusal(), None);
    assert!(guard.is_at_end());
}

#[test]
fn what_is_held_is_bounded() {
    let socket = Socket::default();
    socket.send(&message(ACCEPTED[0]), 4096);
    socket.send(&vec![b'a'; 1 << 20], 4096);
    let mut guard = guard(&socket);
    read_now(&mut guard);
    let left: usize = socket.0.borrow().incoming.iter().map(Vec::len).sum();
    assert!(left > (1 << 20) - (24 << 10), "{left} bytes were left to the socket");
}
