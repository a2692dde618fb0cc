//! What the guard, the response and the task of one connection know of each other.

use std::{cell::Cell, rc::Rc, time::Instant};

/// What the connection waits for from its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The next request; none of it has arrived.
    Idle,
    /// The rest of a head.
    Head,
    /// More of a request body that somebody wants to read.
    Body,
    /// Nothing: a response is being made or sent.
    Nothing,
}

/// The state of one connection, shared between its [`Guard`](super::Guard), which hyper owns, the
/// bodies of its responses, and the task that drives it.
///
/// Shared by `Rc` within a shard; every access is a `Cell`'s.
#[derive(Debug)]
pub struct Exchange {
    /// Messages that were let through to hyper.
    vetted: Cell<u64>,
    /// The message whose response ended last.
    ended: Cell<u64>,
    waiting: Cell<(Waiting, Instant)>,
    /// Since when the socket takes no byte of what is to be written.
    blocked: Cell<Option<Instant>>,
    /// Bytes the socket took.
    written: Cell<u64>,
}

impl Exchange {
    /// A connection that was accepted at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            vetted: Cell::new(0),
            ended: Cell::new(0),
            waiting: Cell::new((Waiting::Idle, now)),
            blocked: Cell::new(None),
            written: Cell::new(0),
        }
    }

    /// The right of the current message's response to hold the next message back. Give it to the
    /// response's body: the response has ended when the ticket is dropped.
    pub fn ticket(self: &Rc<Self>) -> Ticket {
        Ticket { exchange: Rc::clone(self), message: self.vetted.get() }
    }

    /// Requests that were let through so far.
    pub fn requests(&self) -> u64 {
        self.vetted.get()
    }

    /// What is waited for, and since when.
    ///
    /// The time is that of the last progress: a body that trickles starts anew with each piece, a
    /// head does not.
    pub fn waiting(&self) -> (Waiting, Instant) {
        self.waiting.get()
    }

    /// Since when the peer takes nothing although there is something to write.
    pub fn blocked_since(&self) -> Option<Instant> {
        self.blocked.get()
    }

    /// Bytes the socket took so far, heads and framing included.
    pub fn written_bytes(&self) -> u64 {
        self.written.get()
    }

    pub(super) fn vet(&self) {
        self.vetted.set(self.vetted.get() + 1);
    }

    pub(super) fn response_ended(&self) -> bool {
        self.ended.get() == self.vetted.get()
    }

    pub(super) fn wait(&self, waiting: Waiting, now: Instant) {
        self.waiting.set((waiting, now));
    }

    pub(super) fn took(&self, bytes: usize) {
        self.blocked.set(None);
        self.written.set(self.written.get() + bytes as u64);
    }

    pub(super) fn block(&self, clock: fn() -> Instant) {
        if self.blocked.get().is_none() {
            self.blocked.set(Some(clock()));
        }
    }
}

/// Held by the body of a response for as long as it has something to send.
#[derive(Debug)]
pub struct Ticket {
    exchange: Rc<Exchange>,
    message: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let ended = &self.exchange.ended;
        ended.set(ended.get().max(self.message));
    }
}
