//! The body of a response, fed by the session that makes it.
//!
//! A body knows its length and its end, so that hyper sends `Content-Length` and keeps the
//! connection (RULES 31). A body that cannot be finished ends with an error: the client sees its
//! connection close short, and never takes a part for the whole.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER},
};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::{events, guard::exchange::Ticket, problem::Problem};
use crate::{
    file::range::unsatisfied_range,
    runtime::{self, channel::Receiver},
    shard::{self, Listening, Part, Sent, Session, Watch},
};

/// Why a body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Abort {
    /// What was to be sent can no longer be had. The reason was logged where it broke.
    #[error("the source failed")]
    Failed,
    /// The operator ended it.
    #[error("the operator cancelled the response")]
    Cancelled,
    /// Its maker is gone without a word: it was cancelled, or it panicked.
    #[error("the response was given up")]
    Vanished,
    /// The node is going down, and the time for running responses is over.
    #[error("the response was cut, because the node is shutting down")]
    Cut,
    /// Its maker ended before the length that was promised.
    #[error("the response is shorter than it was said to be")]
    Short,
    /// Its maker made more than the length that was promised.
    #[error("the response is longer than it was said to be")]
    Overrun,
    /// The request's own body could not be read, so there is nothing to answer.
    #[error("the request was cut")]
    Request,
}

/// The body of a response.
#[derive(Default)]
pub struct Body {
    content: Content,
    /// Holds back the next request of the connection until this is dropped.
    ticket: Option<Ticket>,
    /// Keeps hyper from reading what is left of the request as long as this is written.
    unread: Option<Incoming>,
}

#[derive(Default)]
enum Content {
    #[default]
    Empty,
    Small(Bytes),
    Stream(Stream),
    Events(Listening),
}

impl Body {
    /// No bytes. Also the body of every answer to HEAD, whose `Content-Length` is set by hand.
    pub fn empty() -> Self {
        Self::default()
    }

    /// These bytes.
    pub fn small(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let content = if bytes.is_empty() { Content::Empty } else { Content::Small(bytes) };
        Self::of(content)
    }

    /// The body that a session makes: `length` bytes of it where that is known. The session is
    /// dropped with it.
    pub fn session(
        parts: Receiver<Part>,
        session: Option<Session>,
        length: Option<u64>,
        cut: Watch,
    ) -> Self {
        let over = length == Some(0);
        let unwritten = Rc::default();
        let stream =
            Stream { parts, left: length, over, abort: None, unwritten, cut, _session: session };
        Self::of(Content::Stream(stream))
    }

    /// What happens, as it happens. It ends when the node drains.
    pub fn events(listening: Listening) -> Self {
        Self::of(Content::Events(listening))
    }

    fn of(content: Content) -> Self {
        Self { content, ..Self::default() }
    }

    /// Takes what is not read of the request's own body along, so that nobody waits for it.
    #[must_use]
    pub fn with_unread(mut self, unread: Option<Incoming>) -> Self {
        self.unread = unread;
        self
    }

    /// Lets the connection's next request wait for the end of this body.
    #[must_use]
    pub fn with_ticket(mut self, ticket: Ticket) -> Self {
        self.ticket = Some(ticket);
        self
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let piece = match &mut self.content {
            Content::Empty => None,
            Content::Small(bytes) => {
                let bytes = std::mem::take(bytes);
                self.content = Content::Empty;
                Some(Ok(bytes))
            }
            Content::Stream(stream) => ready!(stream.poll(cx)),
            Content::Events(listening) => {
                let notice = ready!(listening.poll_next(cx));
                notice.map(|notice| Ok(events::text(&notice).into()))
            }
        };
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Small(_) | Content::Events(_) => false,
            Content::Stream(stream) => stream.over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Small(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Events(_) => SizeHint::new(),
            Content::Stream(stream) => stream.left.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

struct Stream {
    parts: Receiver<Part>,
    /// Bytes to come, where that is known.
    left: Option<u64>,
    over: bool,
    /// Why it ends short, once what was made before is written.
    abort: Option<Abort>,
    unwritten: Rc<Unwritten>,
    cut: Watch,
    /// Dropping it stops the work.
    _session: Option<Session>,
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Abort>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.abort.is_none() {
            match ready!(self.next(cx)) {
                Ok(Some(sent)) => return Poll::Ready(Some(Ok(self.unwritten.lend(sent)))),
                Ok(None) => {
                    self.over = true;
                    return Poll::Ready(None);
                }
                Err(abort) => self.abort = Some(abort),
            }
        }
        // hyper throws away what it has not written when a body fails, so it fails after that: the
        // client gets whole blocks, all that there are.
        ready!(self.unwritten.poll_none(cx));
        self.over = true;
        self.cut.ended_short();
        Poll::Ready(self.abort.take().map(Err))
    }

    /// The next block, or `None` at the end of a body that is as long as it was said to be.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Sent>, Abort>> {
        if self.cut.poll(cx) {
            return Poll::Ready(Err(Abort::Cut));
        }
        Poll::Ready(match ready!(self.parts.poll_recv(cx)) {
            Some(Ok(Some(sent))) => self.take(sent.len() as u64).map(|()| Some(sent)),
            Some(Ok(None)) if self.left.is_none() => Ok(None),
            Some(Ok(None)) => Err(Abort::Short),
            Some(Err(shard::Abort::Failed)) => Err(Abort::Failed),
            Some(Err(shard::Abort::Cancelled)) => Err(Abort::Cancelled),
            None => Err(Abort::Vanished),
        })
    }

    fn take(&mut self, bytes: u64) -> Result<(), Abort> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes).ok_or(Abort::Overrun)?;
            self.over = *left == 0;
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.over {
            self.cut.ended_short();
        }
    }
}

/// Blocks of one response that hyper has and the socket has not written.
#[derive(Default)]
struct Unwritten {
    blocks: Cell<usize>,
    waiting: Cell<Option<Waker>>,
}

impl Unwritten {
    fn lend(self: &Rc<Self>, sent: Sent) -> Bytes {
        self.blocks.set(self.blocks.get() + 1);
        runtime::lend(Lent { sent, unwritten: Rc::clone(self) })
    }

    fn poll_none(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.blocks.get() == 0 {
            return Poll::Ready(());
        }
        self.waiting.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

/// A block that hyper has.
struct Lent {
    sent: Sent,
    unwritten: Rc<Unwritten>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.sent
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let blocks = &self.unwritten.blocks;
        blocks.set(blocks.get() - 1);
        if blocks.get() == 0
            && let Some(waker) = self.unwritten.waiting.take()
        {
            waker.wake();
        }
    }
}

/// The response that says `problem`.
pub fn problem_response(problem: &Problem) -> Response<Body> {
    let mut response = Response::new(Body::small(problem.to_json()));
    *response.status_mut() =
        StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(seconds) = problem.retry_after_seconds {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(allow) = problem.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(length) = problem.length
        && let Ok(value) = HeaderValue::from_str(&unsatisfied_range(length))
    {
        headers.insert(CONTENT_RANGE, value);
    }
    response
}

/// Why a request body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undrained {
    /// It exceeds the limit, or says that it will: answer 413.
    TooLarge {
        /// What it may be.
        limit_bytes: u64,
    },
    /// It broke off or its framing is refused: answer nothing, return [`Abort::Request`].
    Cut,
}

/// Reads a request body that means nothing to its end, so that a malformed one is noticed before
/// the request is answered.
///
/// # Errors
/// The body exceeds `limit_bytes`, or breaks off.
pub async fn drain(body: &mut Incoming, limit_bytes: u64) -> Result<(), Undrained> {
    let mut bytes = 0;
    while let Some(data) = piece(body, bytes, limit_bytes).await? {
        bytes += data.len() as u64;
    }
    Ok(())
}

/// Reads a request body that means something.
///
/// # Errors
/// As [`drain`].
pub async fn collect(body: &mut Incoming, limit_bytes: u64) -> Result<Vec<u8>, Undrained> {
    let mut bytes = Vec::new();
    while let Some(data) = piece(body, bytes.len() as u64, limit_bytes).await? {
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// The next piece of a request body of which there were `bytes` so far; trailers are empty ones.
async fn piece(
    body: &mut Incoming,
    bytes: u64,
    limit_bytes: u64,
) -> Result<Option<Bytes>, Undrained> {
    if body.is_end_stream() {
        return Ok(None);
    }
    let is_within = |more: u64| bytes.saturating_add(more) <= limit_bytes;
    // A length that was announced is known before its bytes are there.
    if !is_within(body.size_hint().lower()) {
        return Err(Undrained::TooLarge { limit_bytes });
    }
    match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        None => Ok(None),
        Some(Err(_)) => Err(Undrained::Cut),
        Some(Ok(frame)) => match frame.into_data().unwrap_or_default() {
            data if is_within(data.len() as u64) => Ok(Some(data)),
            _ => Err(Undrained::TooLarge { limit_bytes }),
        },
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;
    use crate::{
        bufpool::{BufPool, Class, Options},
        runtime::channel,
        shard::Cut,
    };

    /// All pieces of a body, and how it ended.
    fn collect(mut body: Body) -> (Vec<u8>, Result<(), Abort>) {
        let mut all = Vec::new();
        block_on(async {
            while !body.is_end_stream() {
                match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                    None => break,
                    Some(Err(abort)) => return (all, Err(abort)),
                    Some(Ok(frame)) => all.extend_from_slice(&frame.into_data().unwrap()),
                }
            }
            (all, Ok(()))
        })
    }

    fn block(bytes: &[u8]) -> Part {
        let pool = BufPool::new(Options { budget_bytes: 1 << 20 });
        let mut block = pool.take(Class::Small).unwrap();
        block[..bytes.len()].copy_from_slice(bytes);
        Ok(Some(block.freeze(bytes.len()).into()))
    }

    /// What a client gets of two parts and then `end`, or of a session that just vanishes.
    fn fed(length: Option<u64>, end: Option<Part>) -> (Vec<u8>, Result<(), Abort>) {
        let (maker, parts) = channel::bounded(4);
        let all = [Some(block(b"ab")), Some(block(b"cd")), end];
        all.into_iter().flatten().for_each(|part| maker.try_send(part).ok().unwrap());
        drop(maker);
        collect(Body::session(parts, None, length, Cut::default().watch()))
    }

    #[test]
    fn a_body_knows_its_length_and_its_end() {
        assert!(Body::empty().is_end_stream());
        assert_eq!(Body::small("abc").size_hint().exact(), Some(3));
        assert_eq!(collect(Body::small("abc")), (b"abc".to_vec(), Ok(())));
        let watch = || Cut::default().watch();
        let session = |length| Body::session(channel::bounded(1).1, None, length, watch());
        assert_eq!(session(Some(4)).size_hint().exact(), Some(4));
        assert!(session(Some(0)).is_end_stream());
        assert_eq!(session(None).size_hint().exact(), None);
    }

    #[test]
    fn only_a_whole_body_ends_well() {
        let all = b"abcd".to_vec();
        assert_eq!(fed(Some(4), None), (all.clone(), Ok(())));
        assert_eq!(fed(None, Some(Ok(None))), (all.clone(), Ok(())));
        assert_eq!(fed(None, None), (all.clone(), Err(Abort::Vanished)));
        assert_eq!(fed(Some(5), None), (all.clone(), Err(Abort::Vanished)));
        assert_eq!(fed(Some(5), Some(Ok(None))), (all.clone(), Err(Abort::Short)));
        assert_eq!(fed(None, Some(Err(shard::Abort::Failed))), (all, Err(Abort::Failed)));
        assert_eq!(fed(Some(3), Some(Ok(None))), (b"ab".to_vec(), Err(Abort::Overrun)));
    }

    #[test]
    fn a_failed_body_fails_after_its_last_block_is_written() {
        let (maker, parts) = channel::bounded(2);
        maker.try_send(block(b"ab")).ok().unwrap();
        maker.try_send(Err(shard::Abort::Failed)).ok().unwrap();
        let cut = Cut::default();
        let mut body = Body::session(parts, None, Some(4), cut.watch());
        let mut poll = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Some(Ok(frame))) = poll() else { panic!("there is a block") };
        assert!(poll().is_pending(), "the socket has yet to write it");
        drop(frame);
        assert!(matches!(poll(), Poll::Ready(Some(Err(Abort::Failed)))));
        assert!(matches!(poll(), Poll::Ready(None)));
        assert_eq!(cut.responses(), 0);
    }

    #[test]
    fn a_cut_ends_a_body_between_two_blocks_and_is_counted() {
        let (maker, parts) = channel::bounded(2);
        maker.try_send(block(b"ab")).ok().unwrap();
        let cut = Cut::default();
        let mut body = Body::session(parts, None, Some(4), cut.watch());
        let mut poll = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Some(Ok(frame))) = poll() else { panic!("there is a block") };
        assert!(poll().is_pending());
        cut.make();
        maker.try_send(block(b"cd")).ok().unwrap();
        assert!(poll().is_pending(), "the socket has yet to write what it was given");
        drop(frame);
        assert!(matches!(poll(), Poll::Ready(Some(Err(Abort::Cut)))));
        drop(body);
        assert_eq!(cut.responses(), 1);
        // Too slow even for that: it goes with its connection.
        drop(Body::session(channel::bounded(1).1, None, Some(4), cut.watch()));
        drop(Body::session(channel::bounded(1).1, None, Some(0), cut.watch()));
        assert_eq!(cut.responses(), 2);
    }
}
