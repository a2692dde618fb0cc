//! Whole conversations through the guard and hyper, over a socket pair in memory.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::pending,
    task::Context,
    time::Instant,
};

use futures_lite::future::block_on;
use http::Method;
use hyper::rt::ReadBufCursor;

use super::*;
use crate::{
    bufpool::{self, Block, BufPool, Class},
    runtime::channel,
    server::{
        guard::Refusal,
        wire::{drain, problem_response},
    },
    shard::{self, Cut, Part},
};

/// Gives the node what a client sends, piece by piece, then keeps the connection open or ends it.
#[derive(Clone)]
struct Client(Rc<RefCell<Script>>);

struct Script {
    pieces: VecDeque<Vec<u8>>,
    ends: bool,
    received: Vec<u8>,
    shut: bool,
}

impl Client {
    fn new(bytes: &[u8], step: usize, ends: bool) -> Self {
        let pieces = bytes.chunks(step).map(<[u8]>::to_vec).collect();
        Self(Rc::new(RefCell::new(Script { pieces, ends, received: Vec::new(), shut: false })))
    }

    fn received(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow().received).into_owned()
    }
}

impl Read for Client {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut script = self.0.borrow_mut();
        match script.pieces.pop_front() {
            Some(piece) => into.put_slice(&piece),
            // The client reads to the end before it goes.
            None if script.ends || script.shut => {}
            None => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Client {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().received.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().shut = true;
        Poll::Ready(Ok(()))
    }
}

/// Timers that never fire, except where a test is about them.
const TIME: Time = Time { now: std::time::Instant::now, sleep: |_| Box::pin(pending()) };

fn block(bytes: &[u8]) -> Block {
    let pool = BufPool::new(bufpool::Options { budget_bytes: 1 << 20 });
    let mut block = pool.take(Class::Small).unwrap();
    block[..bytes.len()].copy_from_slice(bytes);
    block.freeze(bytes.len())
}

fn fed(parts: [Part; 2]) -> Body {
    let (maker, body) = channel::bounded(2);
    parts.into_iter().for_each(|part| maker.try_send(part).ok().unwrap());
    Body::session(body, None, None, Cut::default().watch())
}

fn handle(request: Request<Incoming>) -> Answer {
    Box::pin(async move {
        let (head, mut body) = request.into_parts();
        drain(&mut body, 1 << 10).await.map_err(|_| Abort::Request)?;
        let body = match head.uri.path() {
            "/stream" => fed([Ok(Some(block(b"streamed").into())), Ok(None)]),
            "/broken" => fed([Ok(Some(block(b"half").into())), Err(shard::Abort::Failed)]),
            path => Body::small(format!("[{} {path}]", head.method)),
        };
        let mut response = Response::new(body);
        if head.method == Method::HEAD {
            response = Response::new(Body::empty());
            response.headers_mut().insert("content-length", "1234".parse().unwrap());
        }
        Ok(response)
    })
}

fn converse(bytes: &[u8], step: usize) -> (String, End) {
    let client = Client::new(bytes, step, false);
    let serving = serve(client.clone(), Options::default(), TIME, pending(), handle);
    let end = block_on(serving);
    (client.received(), end)
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let text = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
        GET /stream HTTP/1.1\r\nHost: a\r\n\r\n\
        HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd\
        GET /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\n";
    for step in [1, 7, 4096] {
        let (received, end) = converse(text, step);
        assert!(matches!(end, End::Closed), "{end:?}");
        assert_eq!(received.matches("HTTP/1.1 200 OK").count(), 6, "{received}");
        let order = ["[GET /1]", "[POST /2]", "streamed", "1234", "[POST /4]", "[GET /5]"];
        let places: Vec<_> = order.iter().map(|text| received.find(text).expect(text)).collect();
        assert!(places.is_sorted(), "{received}");
        assert!(!received.contains("never"));
    }
}

#[test]
fn a_refused_request_is_told_why_after_the_answers_before_it() {
    let text = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\
        Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /3 HTTP/1.1\r\n\r\n";
    for step in [1, 5, 4096] {
        let (received, end) = converse(text, step);
        assert!(matches!(end, End::Refused(Refusal::LengthAndCoding)), "{end:?}");
        let (first, second) = received.split_once("HTTP/1.1 400 Bad Request").expect("a refusal");
        assert!(first.ends_with("[GET /1]"), "{received}");
        assert!(second.contains("application/problem+json"), "{received}");
        assert!(!received.contains("/2") && !received.contains("/3"), "{received}");
    }
}

#[test]
fn a_bad_chunk_is_refused_instead_of_answered() {
    let text = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n";
    for step in [1, 5, 4096] {
        let (received, end) = converse(text, step);
        assert!(matches!(end, End::Refused(Refusal::ChunkEnd)), "{end:?}");
        assert!(received.starts_with("HTTP/1.1 400 "), "{received}");
    }
}

#[test]
fn a_body_that_fails_is_not_ended() {
    let (received, end) = converse(b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n", 4096);
    assert!(matches!(end, End::Broken(_)), "{end:?}");
    assert!(!received.contains("0\r\n\r\n"), "{received}");
}

#[test]
fn a_client_that_goes_away_drops_the_work() {
    let client = Client::new(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 4096, true);
    let never = |_: Request<Incoming>| -> Answer { Box::pin(pending()) };
    let end = block_on(serve(client, Options::default(), TIME, pending(), never));
    assert!(matches!(end, End::Broken(_)), "{end:?}");
}

#[test]
fn a_half_sent_head_is_not_waited_for() {
    let time = Time { sleep: |_| Box::pin(async {}), ..TIME };
    let patience = Patience { header_timeout: Duration::ZERO, ..Patience::default() };
    let options = Options { patience, ..Options::default() };
    let client = Client::new(b"GET / HT", 1, false);
    let end = block_on(serve(client.clone(), options, time, pending(), handle));
    assert!(matches!(end, End::Refused(Refusal::Slow)), "{end:?}");
    let silent = Patience { idle_timeout: Duration::ZERO, ..Patience::default() };
    let options = Options { patience: silent, ..Options::default() };
    let client = Client::new(b"", 1, false);
    let end = block_on(serve(client.clone(), options, time, pending(), handle));
    assert!(matches!(end, End::Late(Late::Idle)), "{end:?}");
    assert_eq!(client.received(), "");
}

thread_local! {
    /// Seconds of [`TICKING`]: each look at a timer takes one.
    static TICKS: Cell<u64> = const { Cell::new(0) };
}

/// Time in which a connection is driven again and again though nothing comes.
const TICKING: Time = Time { now: ticked, sleep: sleep_ticks };

fn ticked() -> Instant {
    thread_local!(static START: Instant = Instant::now());
    START.with(|start| *start) + Duration::from_secs(TICKS.get())
}

fn sleep_ticks(duration: Duration) -> Pin<Box<dyn Future<Output = ()>>> {
    let until = ticked() + duration;
    Box::pin(poll_fn(move |_| {
        TICKS.set(TICKS.get() + 1);
        assert!(TICKS.get() < 1000, "waited for ever");
        if ticked() < until { Poll::Pending } else { Poll::Ready(()) }
    }))
}

#[test]
fn a_half_sent_body_is_not_waited_for() {
    let body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
    let client = Client::new(body, 1, false);
    let end = block_on(serve(client.clone(), Options::default(), TICKING, pending(), handle));
    assert!(matches!(end, End::Refused(Refusal::Slow)), "{end:?}");
    assert!(client.received().starts_with("HTTP/1.1 408 "), "{}", client.received());
}

#[test]
fn an_idle_connection_ends_when_the_node_drains() {
    let client = Client::new(b"", 1, false);
    let end = block_on(serve(client, Options::default(), TIME, async {}, handle));
    assert!(matches!(end, End::Closed), "{end:?}");
}

#[test]
fn a_problem_carries_its_fields() {
    let response = problem_response(&Problem::no_such_range(7));
    assert_eq!(response.status(), 416);
    assert_eq!(response.headers()["content-range"], "bytes */7");
    let busy = problem_response(&Problem::busy("x", 2));
    assert_eq!(busy.headers()["retry-after"], "2");
}
