//! Counted permits with a queue: who comes first is served first.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// A number of permits of one shard. Clones are the same permits.
#[derive(Debug, Clone)]
pub(super) struct Permits {
    state: Rc<State>,
}

#[derive(Debug)]
struct State {
    free: Cell<usize>,
    queue: RefCell<VecDeque<Rc<Waiter>>>,
}

#[derive(Debug, Default)]
struct Waiter {
    granted: Cell<bool>,
    gone: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Permits {
    pub(super) fn new(count: usize) -> Self {
        Self { state: Rc::new(State { free: Cell::new(count), queue: RefCell::default() }) }
    }

    /// Waits for a permit, behind all who wait already.
    ///
    /// # Cancellation
    /// The place in the queue is given up; a permit that was granted meanwhile goes to the next.
    pub(super) fn take(&self) -> Take {
        Take { permits: self.clone(), waiter: None }
    }

    /// Takes a permit if one is free and nobody waits for it.
    fn try_take(&self) -> bool {
        let free = self.state.free.get();
        self.state.free.set(free.saturating_sub(1));
        free > 0
    }

    /// Gives a permit to the first who still waits, or back.
    fn release(&self) {
        let next = loop {
            let next = self.state.queue.borrow_mut().pop_front();
            match next {
                Some(waiter) if waiter.gone.get() => {}
                other => break other,
            }
        };
        let Some(waiter) = next else { return self.state.free.set(self.state.free.get() + 1) };
        waiter.granted.set(true);
        let waker = waiter.waker.take();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// The right to one connection. Dropping it passes it on.
#[derive(Debug)]
pub(super) struct Permit {
    permits: Permits,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.release();
    }
}

/// Waits for a [`Permit`].
#[derive(Debug)]
pub(super) struct Take {
    permits: Permits,
    waiter: Option<Rc<Waiter>>,
}

impl Future for Take {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        if self.waiter.is_none() && self.permits.try_take() {
            return Poll::Ready(Permit { permits: self.permits.clone() });
        }
        let queue = &self.permits.state.queue;
        let waiter = self.waiter.clone().unwrap_or_else(|| {
            let waiter = Rc::<Waiter>::default();
            queue.borrow_mut().push_back(Rc::clone(&waiter));
            waiter
        });
        if waiter.granted.take() {
            waiter.gone.set(true);
            return Poll::Ready(Permit { permits: self.permits.clone() });
        }
        waiter.waker.replace(Some(context.waker().clone()));
        self.waiter = Some(waiter);
        Poll::Pending
    }
}

impl Drop for Take {
    fn drop(&mut self) {
        let Some(waiter) = &self.waiter else { return };
        waiter.gone.set(true);
        if waiter.granted.take() {
            self.permits.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn who_comes_first_is_served_first() {
        block_on(async {
            let permits = Permits::new(1);
            let held = permits.take().await;
            let (mut first, mut second) = (permits.take(), permits.take());
            assert!(poll_once(&mut first).await.is_none());
            assert!(poll_once(&mut second).await.is_none());
            drop(held);
            assert!(poll_once(&mut second).await.is_none());
            let held = poll_once(&mut first).await.expect("the first is served");
            drop(held);
            assert!(poll_once(&mut second).await.is_some());
        });
    }

    #[test]
    fn who_goes_away_loses_nothing_for_others() {
        block_on(async {
            let permits = Permits::new(1);
            let held = permits.take().await;
            let (mut gone, mut granted, mut last) =
                (permits.take(), permits.take(), permits.take());
            for take in [&mut gone, &mut granted, &mut last] {
                assert!(poll_once(take).await.is_none());
            }
            drop(gone);
            drop(held);
            drop(granted);
            let held = poll_once(&mut last).await.expect("passed on twice");
            drop(held);
            assert!(poll_once(&mut permits.take()).await.is_some(), "and back at the end");
        });
    }
}
