//! Where a session's answer goes: to a connection of this core, or to another shard.
//!
//! A session has credits, and each block on its way to the client has one of them with it until
//! the socket has written it, or until it is dropped unwritten. So what the node holds for a client
//! that reads nothing is that many blocks, on whichever shards it and its source are.

use std::{
    cell::{Cell, OnceCell},
    ops::Deref,
    rc::Rc,
};

use super::{
    Abort, Answer, End, Mail, Part, Pass, Progress, Refusal, mail::SessionKey, promises::Promise,
    register::Registered,
};
use crate::{
    bufpool::Block,
    runtime::{ShardId, channel, event::Event, mailbox::Mailbox},
};

/// The receiving end is gone: the client left, or its connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// The sending side of one session.
pub(super) struct Outlet {
    /// Where the client's connection is.
    pub(super) way: Way,
    /// Blocks that may still be made for it.
    pub(super) credits: Rc<Credits>,
    /// What the operator sees of it.
    pub(super) registered: Registered,
    /// Whether the answer is out.
    pub(super) is_answered: Cell<bool>,
    /// Goes wherever the session's work goes, so that the shard does not end before it.
    pub(super) _pass: Pass,
}

/// Where a client's connection is.
pub(super) enum Way {
    /// On this core.
    Local {
        /// Takes the one answer.
        head: channel::Sender<Result<Answer, Refusal>>,
        /// Takes the body. It has room for all credits and the end.
        body: channel::Sender<Part>,
        /// Takes the steps of a prefetch. It has room for all credits.
        steps: Option<channel::Sender<Step>>,
    },
    /// On another core.
    Remote {
        /// Which one.
        front: ShardId,
        /// Its name for the session.
        key: SessionKey,
        /// What carries it there.
        mailbox: Rc<Mailbox<Mail>>,
    },
}

impl Way {
    /// The shard of the client, if it is not this one.
    pub(super) fn front(&self) -> Option<ShardId> {
        match self {
            Way::Local { .. } => None,
            Way::Remote { front, .. } => Some(*front),
        }
    }
}

impl Outlet {
    /// Sends what the answer is.
    pub(super) fn head(&self, answer: Result<Answer, Refusal>) -> Result<(), Gone> {
        self.is_answered.set(true);
        match &answer {
            Ok(_) => {}
            Err(Refusal::Cancelled) => self.registered.ends(End::Cancelled),
            Err(_) => self.registered.ends(End::Refused),
        }
        match &self.way {
            Way::Local { head, .. } => head.try_send(answer).map_err(|_| Gone),
            Way::Remote { key, .. } => self.post(Mail::Head(*key, Box::new(answer))),
        }
    }

    /// Waits until the client has taken enough for another block to be made. The one place where
    /// serving waits for the client.
    ///
    /// Before the block, not after it: otherwise each session would hold one more than its credits.
    pub(super) async fn credit(&self) -> Credit {
        Credits::take(&self.credits).await
    }

    /// Sends the next block of the body.
    pub(super) fn block(&self, credit: Credit, block: Block) -> Result<(), Gone> {
        self.registered.sent(block.len() as u64);
        match &self.way {
            Way::Local { body, .. } => {
                body.try_send(Ok(Some(Sent::new(block, credit)))).map_err(|_| Gone)
            }
            Way::Remote { key, .. } => {
                credit.goes_along();
                self.post(Mail::Block(*key, block))
            }
        }
    }

    /// Says how far a prefetch is.
    pub(super) fn step(&self, credit: Credit, progress: Progress) -> Result<(), Gone> {
        self.registered.is_at(progress.bytes_done);
        match &self.way {
            Way::Local { steps, .. } => {
                let steps = steps.as_ref().ok_or(Gone)?;
                steps.try_send(Step { progress, _credit: credit }).map_err(|_| Gone)
            }
            Way::Remote { key, .. } => {
                credit.goes_along();
                self.post(Mail::Step(*key, progress))
            }
        }
    }

    /// Ends the body: complete, or short.
    pub(super) fn end(&self, result: Result<(), Abort>) {
        self.registered.ends(match result {
            Ok(()) => End::Complete,
            Err(Abort::Failed) => End::Failed,
            Err(Abort::Cancelled) => End::Cancelled,
        });
        match &self.way {
            // A client that is gone needs no end.
            Way::Local { body, .. } => drop(body.try_send(result.map(|()| None))),
            Way::Remote { key, .. } => drop(self.post(Mail::End(*key, result))),
        }
    }

    /// Ends what will never be complete, as the operator wants it.
    pub(super) fn cancel(&self) {
        match self.is_answered.get() {
            true => self.end(Err(Abort::Cancelled)),
            // A client that is gone needs no answer.
            false => drop(self.head(Err(Refusal::Cancelled))),
        }
    }

    fn post(&self, mail: Mail) -> Result<(), Gone> {
        let Way::Remote { front, mailbox, .. } = &self.way else { return Err(Gone) };
        // A session's messages have their room reserved: full means that the peer is gone.
        mailbox.try_send(*front, mail).map_err(|_| Gone)
    }
}

/// How far a prefetch is. It goes on, by a step at most, once this is dropped.
#[derive(Debug)]
pub struct Step {
    /// As of now.
    pub progress: Progress,
    pub(super) _credit: Credit,
}

/// A block on its way to the client, and the credit that it goes on.
#[derive(Debug)]
pub struct Sent {
    block: Block,
    _credit: Option<Credit>,
}

impl Sent {
    pub(super) fn new(block: Block, credit: Credit) -> Self {
        Self { block, _credit: Some(credit) }
    }

    /// The block. A clone of it is memory that no credit stands for.
    pub fn block(&self) -> &Block {
        &self.block
    }
}

/// A block that no session counts.
impl From<Block> for Sent {
    fn from(block: Block) -> Self {
        Self { block, _credit: None }
    }
}

impl Deref for Sent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.block
    }
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// The right to have one block under way. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Credit {
    to: To,
}

/// To whom a credit goes back.
#[derive(Debug)]
enum To {
    /// To the session on this shard.
    Here(Rc<Credits>),
    /// To the session on another one.
    There(Rc<Crossing>),
    /// To nobody here: it went to the front with its block.
    Nobody,
}

impl Credit {
    /// The credit of a block that came from another shard.
    pub(super) fn of(crossing: Rc<Crossing>) -> Self {
        Self { to: To::There(crossing) }
    }

    fn goes_along(mut self) {
        self.to = To::Nobody;
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        match &self.to {
            To::Here(credits) => credits.add(1),
            To::There(crossing) => crossing.post(Mail::Credit(crossing.key, 1)),
            To::Nobody => {}
        }
    }
}

/// Credits that a session has left.
#[derive(Debug)]
pub(super) struct Credits {
    left: Cell<usize>,
    more: Event,
    /// The memory behind them, promised for as long as one of them is out.
    promise: OnceCell<Promise>,
}

impl Credits {
    pub(super) fn new(blocks: usize) -> Rc<Self> {
        Rc::new(Self { left: Cell::new(blocks), more: Event::new(), promise: OnceCell::new() })
    }

    /// What blocks these credits allow to be made.
    pub(super) fn left(&self) -> usize {
        self.left.get()
    }

    /// Keeps `promise` until the session and all its blocks are gone.
    pub(super) fn back(&self, promise: Promise) {
        let _ = self.promise.set(promise);
    }

    pub(super) fn add(&self, blocks: usize) {
        self.left.set(self.left.get() + blocks);
        self.more.notify_all();
    }

    async fn take(self: &Rc<Self>) -> Credit {
        loop {
            let more = self.more.listen();
            if let Some(left) = self.left.get().checked_sub(1) {
                self.left.set(left);
                return Credit { to: To::Here(Rc::clone(self)) };
            }
            more.await;
        }
    }
}

/// A session that this shard's client has on another shard, which hears of it when nothing here
/// has any more to do with it: neither the response nor a block of it.
#[derive(Debug)]
pub(super) struct Crossing {
    pub(super) mailbox: Rc<Mailbox<Mail>>,
    pub(super) owner: ShardId,
    pub(super) key: SessionKey,
    pub(super) _pass: Pass,
}

impl Crossing {
    fn post(&self, mail: Mail) {
        // Room for it is reserved, so it fails only where the owner is gone.
        let _ = self.mailbox.try_send(self.owner, mail);
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        self.post(Mail::Close(self.key));
    }
}
