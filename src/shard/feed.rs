//! How notices reach those who listen for them, on this shard or another.
//!
//! A shard with listeners keeps one pull at each of the others, which answers it with what it has
//! as soon as it has something. So there is never more than one batch under way between two shards,
//! nobody polls, and a node that nobody listens to sends nothing. A shard that is pulled by nobody
//! any more collects one line at most.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use slab::Slab;

use super::{
    Mail, Shard,
    notice::{Line, Notice, What},
};
use crate::runtime::{
    self, ShardId,
    event::{self, Event},
    mailbox::Mailbox,
};

/// Listeners of one shard at a time.
const LISTENERS: usize = 8;

/// The notices of one shard. A clone is another handle to the same feed.
#[derive(Clone)]
pub(super) struct Feed {
    inner: Rc<Inner>,
}

struct Inner {
    mailbox: Rc<Mailbox<Mail>>,
    listeners: RefCell<Slab<Line>>,
    /// Something came for them, or nothing will any more.
    came: Event,
    is_closed: Cell<bool>,
    /// By shard: whether a pull is there.
    pulling: Vec<Cell<bool>>,
    /// What the other shard is to hear, once one has ever asked.
    outbox: RefCell<Option<Line>>,
    /// Whose pull is here. The operator's listener is on one shard, so only one pulls.
    pulled_by: Cell<Option<ShardId>>,
}

impl Feed {
    pub(super) fn new(mailbox: Rc<Mailbox<Mail>>, shards: usize) -> Self {
        Self {
            inner: Rc::new(Inner {
                mailbox,
                listeners: RefCell::default(),
                came: Event::new(),
                is_closed: Cell::new(false),
                pulling: vec![Cell::new(false); shards],
                outbox: RefCell::default(),
                pulled_by: Cell::new(None),
            }),
        }
    }

    /// Something happened here. Costs nothing where nobody has ever listened.
    pub(super) fn tell(&self, what: impl FnOnce() -> What) {
        let inner = &self.inner;
        let has_listeners = !inner.listeners.borrow().is_empty();
        if !has_listeners && inner.outbox.borrow().is_none() {
            return;
        }
        let notice =
            Notice { shard: inner.mailbox.shard(), at: runtime::wall_clock(), what: what() };
        if let Some(outbox) = &mut *inner.outbox.borrow_mut() {
            outbox.push(notice.clone());
        }
        self.deliver(notice);
        self.answer_pull();
    }

    fn deliver(&self, notice: Notice) {
        for (_, line) in &mut *self.inner.listeners.borrow_mut() {
            line.push(notice.clone());
        }
        self.inner.came.notify_all();
    }

    /// Another shard wants to hear what happens here; `fresh`: from now on.
    pub(super) fn pulled(&self, peer: ShardId, fresh: bool) {
        let mut outbox = self.inner.outbox.borrow_mut();
        let line = outbox.get_or_insert_default();
        if fresh {
            line.clear();
        }
        drop(outbox);
        self.inner.pulled_by.set(Some(peer));
        self.answer_pull();
    }

    fn answer_pull(&self) {
        let inner = &self.inner;
        let Some(peer) = inner.pulled_by.get() else { return };
        let notices = inner.outbox.borrow_mut().as_mut().map(Line::take).unwrap_or_default();
        if !notices.is_empty() {
            inner.pulled_by.set(None);
            // Its room is reserved by the pull: refused only by a shard that has ended.
            let _ = inner.mailbox.try_send(peer, Mail::Notices(notices));
        }
    }

    /// What a pull brought.
    pub(super) fn take_in(&self, peer: ShardId, notices: Vec<Notice>) {
        self.inner.pulling[usize::from(peer.0)].set(false);
        if self.inner.listeners.borrow().is_empty() {
            return;
        }
        notices.into_iter().for_each(|notice| self.deliver(notice));
        self.pull(peer, false);
    }

    fn pull(&self, peer: ShardId, fresh: bool) {
        if !self.inner.pulling[usize::from(peer.0)].replace(true) {
            let _ = self.inner.mailbox.try_send(peer, Mail::Pull { fresh });
        }
    }

    /// The listeners hear what waits for them, and then the end.
    pub(super) fn close(&self) {
        self.inner.is_closed.set(true);
        self.inner.came.notify_all();
    }
}

/// Somebody who hears what happens on all shards. Dropping it leaves nothing.
pub struct Listening {
    feed: Feed,
    place: usize,
    came: event::Listener,
}

impl Listening {
    /// The next notice; `None` once the shard drains and all of them were heard.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        loop {
            let inner = &self.feed.inner;
            if let Some(notice) = inner.listeners.borrow_mut()[self.place].pop() {
                return Poll::Ready(Some(notice));
            }
            if inner.is_closed.get() {
                return Poll::Ready(None);
            }
            if Pin::new(&mut self.came).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.came = inner.came.listen();
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let line = self.feed.inner.listeners.borrow_mut().remove(self.place);
        drop(line);
    }
}

impl Shard {
    /// Listens to what happens on all shards from now on, unless as many listen as may.
    pub fn listen(&self) -> Option<Listening> {
        let inner = &self.feed.inner;
        let mut listeners = inner.listeners.borrow_mut();
        if listeners.len() == LISTENERS {
            return None;
        }
        let place = listeners.insert(Line::default());
        drop(listeners);
        let others = (0..self.route.shards).map(ShardId).filter(|id| *id != self.id);
        others.for_each(|other| self.feed.pull(other, true));
        Some(Listening { feed: self.feed.clone(), place, came: inner.came.listen() })
    }
}
