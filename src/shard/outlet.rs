//! Where a session's answer goes: to a connection of this core, or to another shard.

use std::rc::Rc;

use super::{Abort, Answer, Mail, Part, Refusal, mail::SessionKey};
use crate::{
    bufpool::Block,
    runtime::{ShardId, channel, event::Event, mailbox::Mailbox},
};

/// The receiving end is gone: the client left, or its connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// The sending side of one session.
pub(super) enum Outlet {
    /// The client's connection is on this core.
    Local {
        /// Takes the one answer.
        head: channel::Sender<Result<Answer, Refusal>>,
        /// Takes the body, as many blocks ahead as it has room for.
        body: channel::Sender<Part>,
    },
    /// The client's connection is on another core.
    Remote {
        /// Which one.
        front: ShardId,
        /// Its name for the session.
        key: SessionKey,
        /// What carries it there.
        mailbox: Rc<Mailbox<Mail>>,
        /// Blocks that may still go.
        credits: Rc<Credits>,
    },
}

impl Outlet {
    /// Sends what the answer is.
    pub(super) async fn head(&self, answer: Result<Answer, Refusal>) -> Result<(), Gone> {
        match self {
            Outlet::Local { head, .. } => head.send(answer).await.map_err(|_| Gone),
            Outlet::Remote { key, .. } => self.post(Mail::Head(*key, Box::new(answer))),
        }
    }

    /// Sends a part of the body, once the client has taken enough of those before. The one place
    /// where serving waits for the client.
    pub(super) async fn block(&self, block: Block) -> Result<(), Gone> {
        match self {
            Outlet::Local { body, .. } => body.send(Ok(Some(block))).await.map_err(|_| Gone),
            Outlet::Remote { key, credits, .. } => {
                credits.take().await;
                self.post(Mail::Block(*key, block))
            }
        }
    }

    /// Waits until a block can go, so that none is made that would have to wait.
    pub(super) async fn room(&self) {
        match self {
            Outlet::Local { body, .. } => body.room().await,
            Outlet::Remote { credits, .. } => credits.some().await,
        }
    }

    /// Ends the body: complete, or short.
    pub(super) async fn end(&self, result: Result<(), Abort>) {
        match (self, result) {
            (Outlet::Local { body, .. }, result) => {
                let _ = body.send(result.map(|()| None)).await;
            }
            (Outlet::Remote { key, .. }, result) => {
                let _ = self.post(Mail::End(*key, result));
            }
        }
    }

    fn post(&self, mail: Mail) -> Result<(), Gone> {
        let Outlet::Remote { front, mailbox, .. } = self else { return Err(Gone) };
        // A session's messages have their room reserved: full means that the peer is gone.
        mailbox.try_send(*front, mail).map_err(|_| Gone)
    }
}

/// Blocks that a front still has room for.
pub(super) struct Credits {
    left: std::cell::Cell<usize>,
    more: Event,
}

impl Credits {
    pub(super) fn new(blocks: usize) -> Self {
        Self { left: std::cell::Cell::new(blocks), more: Event::new() }
    }

    pub(super) fn add(&self, blocks: usize) {
        self.left.set(self.left.get() + blocks);
        self.more.notify_all();
    }

    async fn take(&self) {
        self.some().await;
        self.left.set(self.left.get() - 1);
    }

    /// Waits until there is one.
    async fn some(&self) {
        loop {
            let more = self.more.listen();
            if self.left.get() > 0 {
                return;
            }
            more.await;
        }
    }
}
