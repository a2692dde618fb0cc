//! Waiting for a turn to decode.

use std::{
    cell::RefCell,
    collections::HashMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::schedule::{Schedule, Ticket};

/// The turns of one task queue. One session at a time has one.
#[derive(Clone, Default)]
pub(super) struct Turns {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Default)]
struct Inner {
    schedule: Schedule,
    wakers: HashMap<Ticket, Waker>,
}

impl Inner {
    fn call_next(&mut self) {
        let called = self.schedule.call();
        if let Some(waker) = called.and_then(|ticket| self.wakers.remove(&ticket)) {
            waker.wake();
        }
    }
}

impl Turns {
    /// Waits until it is this session's turn; `lead_us` is the audio it has over.
    ///
    /// # Cancellation
    /// Dropping the future gives the place, or the turn, to the next.
    pub(super) fn wait(&self, lead_us: i64) -> Waiting {
        let mut inner = self.inner.borrow_mut();
        let ticket = inner.schedule.join(lead_us);
        inner.call_next();
        Waiting { turns: self.clone(), ticket: Some(ticket) }
    }
}

/// A place among those who wait.
pub(super) struct Waiting {
    turns: Turns,
    /// `None` once it became a turn.
    ticket: Option<Ticket>,
}

impl Future for Waiting {
    type Output = Turn;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        let turns = self.turns.clone();
        let mut inner = turns.inner.borrow_mut();
        let ticket = self.ticket.expect("not polled after it was ready");
        if !inner.schedule.begin(ticket) {
            inner.wakers.insert(ticket, cx.waker().clone());
            return Poll::Pending;
        }
        self.ticket = None;
        Poll::Ready(Turn { turns: self.turns.clone() })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut inner = self.turns.inner.borrow_mut();
        inner.wakers.remove(&ticket);
        inner.schedule.leave(ticket);
        inner.call_next();
    }
}

/// The right to decode for one slice. Dropping it calls the next.
pub(super) struct Turn {
    turns: Turns,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut inner = self.turns.inner.borrow_mut();
        inner.schedule.end();
        inner.call_next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(waiting: &mut Waiting) -> Poll<Turn> {
        Pin::new(waiting).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn one_at_a_time_the_neediest_first() {
        let turns = Turns::default();
        let mut first = turns.wait(0);
        let Poll::Ready(turn) = poll(&mut first) else { panic!("nobody else waits") };
        let (mut rich, mut poor) = (turns.wait(1_000), turns.wait(10));
        assert!(poll(&mut rich).is_pending() && poll(&mut poor).is_pending());
        drop(turn);
        assert!(poll(&mut rich).is_pending());
        assert!(poll(&mut poor).is_ready());
        assert!(poll(&mut rich).is_ready());
    }

    #[test]
    fn who_was_called_and_goes_away_passes_the_turn_on() {
        let turns = Turns::default();
        let called = turns.wait(0);
        let mut next = turns.wait(0);
        assert!(poll(&mut next).is_pending());
        drop(called);
        assert!(poll(&mut next).is_ready());
    }

    #[test]
    fn who_stops_waiting_is_not_called() {
        let turns = Turns::default();
        let mut has = turns.wait(0);
        let turn = poll(&mut has);
        let gone = turns.wait(0);
        let mut next = turns.wait(5);
        drop(gone);
        drop(turn);
        assert!(poll(&mut next).is_ready());
    }
}
