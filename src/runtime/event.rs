//! Waking everyone on a shard who waits for something to change.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use slab::Slab;

/// Something that happens again and again, and that any number of tasks wait for.
///
/// Make the listener, check the state, then wait: a notification between the check and the wait
/// is seen, since a listener counts from when it was made.
#[derive(Debug, Clone, Default)]
pub struct Event {
    state: Rc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How often it has happened.
    count: Cell<u64>,
    waiting: RefCell<Slab<Waker>>,
}

impl Event {
    /// An event that has not happened.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes all listeners made until now.
    pub fn notify_all(&self) {
        self.state.count.set(self.state.count.get().wrapping_add(1));
        let woken = self.state.waiting.take();
        // Wakers run outside of the borrow: they may be anything.
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// A future that is ready once the event has happened after this call.
    pub fn listen(&self) -> Listener {
        Listener { seen: self.state.count.get(), state: self.state.clone(), key: None }
    }
}

/// Waits for the next notification. Dropping it gives the wait up.
#[derive(Debug)]
#[must_use = "a listener does nothing unless it is awaited"]
pub struct Listener {
    state: Rc<State>,
    seen: u64,
    /// Its place among the waiting, which is void as soon as the count moves on.
    key: Option<usize>,
}

impl Future for Listener {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.state.count.get() != self.seen {
            return Poll::Ready(());
        }
        let state = Rc::clone(&self.state);
        let mut waiting = state.waiting.borrow_mut();
        match self.key {
            Some(key) => waiting[key].clone_from(context.waker()),
            None => self.key = Some(waiting.insert(context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(key) = self.key.filter(|_| self.state.count.get() == self.seen) {
            let waker = self.state.waiting.borrow_mut().remove(key);
            drop(waker);
        }
    }
}
