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
        let mut woken = self.state.waiting.take();
        // Wakers run outside of the borrow: they may be anything.
        woken.drain().for_each(Waker::wake);
        // Its memory serves those who wait next, unless some do already.
        let mut waiting = self.state.waiting.borrow_mut();
        if waiting.is_empty() {
            *waiting = woken;
        }
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

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        task::Wake,
    };

    use super::*;
    use crate::storage::random::Random;

    #[derive(Default)]
    struct Calls(AtomicU64);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A listener, and what a simple model knows of it.
    struct Modelled {
        listener: Listener,
        calls: Arc<Calls>,
        happened: bool,
        /// It was polled and waits: the next notification has to wake it once.
        waits: bool,
        woken: u64,
    }

    fn history(seed: u64) {
        let (mut random, event) = (Random(seed), Event::new());
        let mut listeners: Vec<Modelled> = Vec::new();
        for _ in 0..60 {
            let chosen = random.below(listeners.len().max(1) as u64) as usize;
            match random.below(8) {
                0 => {
                    event.notify_all();
                    for one in &mut listeners {
                        one.happened = true;
                        one.woken += u64::from(std::mem::take(&mut one.waits));
                    }
                }
                1 if !listeners.is_empty() => {
                    let gone = listeners.swap_remove(chosen);
                    drop(gone.listener);
                    assert_eq!(Arc::strong_count(&gone.calls), 1, "seed {seed}: a waker stays");
                }
                2..5 => listeners.push(Modelled {
                    listener: event.listen(),
                    calls: Arc::default(),
                    happened: false,
                    waits: false,
                    woken: 0,
                }),
                _ => {
                    let Some(one) = listeners.get_mut(chosen) else { continue };
                    let waker = Waker::from(Arc::clone(&one.calls));
                    let mut context = Context::from_waker(&waker);
                    let polled = Pin::new(&mut one.listener).poll(&mut context);
                    assert_eq!(polled.is_ready(), one.happened, "seed {seed}");
                    one.waits = !one.happened;
                }
            }
            for one in &listeners {
                let calls = one.calls.0.load(Ordering::Relaxed);
                assert_eq!(calls, one.woken, "seed {seed}: woken too often or not at all");
            }
        }
    }

    #[test]
    fn each_who_waits_is_woken_once_by_what_happens_after_it_began_to_listen() {
        (1..=3_000).for_each(history);
    }
}
