//! The stream that hyper reads from and writes to.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::{
    Exchange, Limits, Refusal, Waiting,
    chunked::Chunked,
    head::{Framing, HeadScan},
};

/// One read from the socket. It lands on the stack, so that a connection that waits owns nothing.
const READ_BYTES: usize = 4 << 10;

/// A stream of vetted HTTP/1 messages over the stream `S`; see the [module](super).
#[derive(Debug)]
pub struct Guard<S> {
    io: S,
    limits: Limits,
    clock: fn() -> Instant,
    exchange: Rc<Exchange>,
    /// What was read and not passed on. Its first `vetted` bytes may pass.
    held: BytesMut,
    vetted: usize,
    phase: Phase,
    /// Whether bytes of a response to the current message went out.
    answering: bool,
}

/// What the bytes behind the vetted ones are.
#[derive(Debug)]
enum Phase {
    /// The head of the next message.
    Head(HeadScan),
    /// The rest of a body of known length.
    Length(u64),
    /// The rest of a chunked body.
    Chunked(Box<Chunked>),
    /// Later messages, held until the response to this one is written.
    Answer,
    /// Nothing more is read: the peer is gone or refused.
    Closed(Option<Refusal>),
}

impl<S> Guard<S> {
    /// Guards `io`, a connection that was just accepted; `clock` says what time it is.
    pub fn new(io: S, limits: Limits, clock: fn() -> Instant) -> Self {
        Self {
            io,
            limits,
            clock,
            exchange: Rc::new(Exchange::new(clock())),
            held: BytesMut::new(),
            vetted: 0,
            phase: Phase::Head(HeadScan::new(limits)),
            answering: false,
        }
    }

    /// What is shared with the responses and the task of this connection.
    pub fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }

    /// Why the connection is closed, if the peer broke the rules.
    pub fn refusal(&self) -> Option<Refusal> {
        match &self.phase {
            Phase::Closed(refusal) => *refusal,
            _ => None,
        }
    }

    /// Whether the client can still be told why: not in the middle of another response.
    pub fn may_answer(&self) -> bool {
        !self.answering
    }

    /// Whether the peer has closed its side, so that nothing more can come.
    pub fn is_at_end(&self) -> bool {
        matches!(self.phase, Phase::Closed(None))
    }

    /// The guarded stream; what was read from it and not passed on is lost.
    pub fn into_inner(self) -> S {
        self.io
    }

    /// Lets the next part of what is held pass, if it is whole enough to be judged.
    ///
    /// False means that more must be read first.
    fn vet(&mut self) -> Result<bool, Refusal> {
        match &mut self.phase {
            Phase::Head(scan) => {
                let Some(head) = scan.advance(&self.held)? else { return Ok(false) };
                self.vetted = head.length;
                self.phase = Phase::after_head(head.framing);
                self.answering = false;
                self.exchange.vet();
                self.exchange.wait(Waiting::Nothing, self.exchange.waiting().1);
            }
            Phase::Length(left) => {
                self.vetted = usize::try_from(*left).unwrap_or(usize::MAX).min(self.held.len());
                *left -= self.vetted as u64;
                if *left == 0 {
                    self.phase = Phase::Answer;
                }
            }
            Phase::Chunked(chunked) => {
                let progress = chunked.advance(&self.held)?;
                self.vetted = progress.taken;
                if progress.done {
                    self.phase = Phase::Answer;
                }
            }
            Phase::Answer | Phase::Closed(_) => {}
        }
        Ok(self.vetted > 0)
    }

    fn close(&mut self, refusal: Option<Refusal>) {
        self.phase = Phase::Closed(refusal);
        self.held = BytesMut::new();
        self.vetted = 0;
    }

    /// Hands vetted bytes to hyper.
    fn pass(&mut self, into: &mut ReadBufCursor<'_>) {
        let bytes = self.vetted.min(into.remaining());
        into.put_slice(&self.held[..bytes]);
        self.held.advance(bytes);
        self.vetted -= bytes;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// Notes what the peer is waited for, before a read that may have to wait.
    fn note_waiting(&self) {
        let waiting = match &self.phase {
            Phase::Head(scan) if scan.has_begun() => Waiting::Head,
            Phase::Head(_) => Waiting::Idle,
            Phase::Length(_) | Phase::Chunked(_) => Waiting::Body,
            Phase::Answer | Phase::Closed(_) => Waiting::Nothing,
        };
        // Looking again is no progress: only bytes that came (see `fill`) begin the wait anew.
        if waiting != Waiting::Nothing && self.exchange.waiting().0 != waiting {
            self.exchange.wait(waiting, (self.clock)());
        }
    }
}

impl Phase {
    fn after_head(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self::Answer,
            Framing::Length(left) => Self::Length(left),
            Framing::Chunked => Self::Chunked(Box::default()),
        }
    }
}

impl<S: Read + Unpin> Guard<S> {
    /// Reads once from the socket. Zero is its end.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, read.unfilled()))?;
        self.held.extend_from_slice(read.filled());
        if self.exchange.waiting().0 == Waiting::Body {
            // Whether more of the body is wanted now is for its reader to say.
            self.exchange.wait(Waiting::Nothing, self.exchange.waiting().1);
        }
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Reads on while a response is on its way, only to see whether the peer is still there.
    ///
    /// Where the buffer is full nothing is read: then the end is seen by writing.
    fn watch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.held.len() < self.limits.header_bytes {
            if ready!(self.fill(cx))? == 0 {
                self.close(None);
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }
}

impl<S: Read + Unpin> Read for Guard<S> {
    /// Gives bytes of the current message, or none at its connection's end.
    ///
    /// # Cancellation
    /// What was read stays held.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let guard = &mut *self;
        loop {
            if guard.vetted > 0 {
                guard.pass(&mut into);
                return Poll::Ready(Ok(()));
            }
            match guard.phase {
                Phase::Closed(_) => return Poll::Ready(Ok(())),
                Phase::Answer => {
                    ready!(guard.watch(cx))?;
                    continue;
                }
                _ => {}
            }
            match guard.vet() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(refusal) => {
                    guard.close(Some(refusal));
                    continue;
                }
            }
            guard.note_waiting();
            if ready!(guard.fill(cx))? == 0 {
                guard.close(None);
            }
        }
    }
}

impl<S: Write + Unpin> Guard<S> {
    /// Takes note of how a write went.
    fn wrote(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(bytes)) => {
                self.answering |= *bytes > 0;
                self.exchange.took(*bytes);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.exchange.block(self.clock),
        }
        result
    }
}

impl<S: Write + Unpin> Write for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// Flushes, and looks at the next message when that was the end of a response.
    ///
    /// hyper calls this when nothing it has buffered is left to write. It does not read again on
    /// its own, because its last read found nothing: it is woken if there is something held.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        if matches!(self.phase, Phase::Answer) && self.vetted == 0 && self.exchange.response_ended()
        {
            self.phase = Phase::Head(HeadScan::new(self.limits));
            self.answering = false;
            if self.held.is_empty() {
                self.note_waiting();
            } else {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
