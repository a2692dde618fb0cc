//! Those who wait for memory, in the order in which they came.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::pool::Home;

/// Who waits, by the number of the place. Nobody is called before those in front of it were.
#[derive(Default)]
pub(super) struct Line {
    waiting: BTreeMap<u64, Waiting>,
    last: u64,
}

struct Waiting {
    bytes: usize,
    waker: Waker,
    /// It was woken and has not run yet: what it came for is not promised to others.
    is_called: bool,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The wakers of those for whom, one after another, `lendable_bytes` suffice.
    pub(super) fn call(&mut self, mut lendable_bytes: usize) -> Vec<Waker> {
        let mut called = Vec::new();
        for waiting in self.waiting.values_mut() {
            if !waiting.is_called {
                if waiting.bytes > lendable_bytes {
                    break;
                }
                waiting.is_called = true;
                called.push(waiting.waker.clone());
            }
            lendable_bytes = lendable_bytes.saturating_sub(waiting.bytes);
        }
        called
    }

    /// Takes out that place if it was called; else it waits there.
    fn enter(&mut self, number: u64, bytes: usize, waker: &Waker) -> bool {
        let waiting = self.waiting.entry(number).or_insert_with(|| Waiting {
            bytes,
            waker: waker.clone(),
            is_called: false,
        });
        if waiting.is_called {
            self.waiting.remove(&number);
            return true;
        }
        waiting.waker.clone_from(waker);
        false
    }
}

/// A place in the line. Who was called, tried, and found that another had been faster stands where
/// it stood.
pub struct Turn {
    home: Arc<Home>,
    number: u64,
}

impl Turn {
    pub(super) fn new(home: Arc<Home>) -> Self {
        let number = home.lock().line.next_number();
        Self { home, number }
    }

    /// Resolves once `bytes` can be lent, and nobody who came before waits for them. Nothing is
    /// reserved. To ask for less than one needs is to be called in vain, again and again.
    ///
    /// # Cancellation
    /// The next in line are called.
    pub fn room(&mut self, bytes: usize) -> impl Future<Output = ()> {
        Room { turn: self, bytes }
    }
}

struct Room<'a> {
    turn: &'a mut Turn,
    bytes: usize,
}

impl Future for Room<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Turn { home, number } = &*self.turn;
        let mut state = home.lock();
        // Once before, so that it stands in the line, and once after it may have been called.
        if !state.line.enter(*number, self.bytes, context.waker()) {
            home.call(state);
            state = home.lock();
            if !state.line.enter(*number, self.bytes, context.waker()) {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut state = self.turn.home.lock();
        if state.line.waiting.remove(&self.turn.number).is_some() {
            self.turn.home.call(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;
    use crate::bufpool::{BufPool, Class, Options};

    const BLOCK: usize = 64 << 10;

    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Calls {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn pool(blocks: usize) -> BufPool {
        BufPool::new(Options { budget_bytes: blocks * BLOCK })
    }

    fn poll(future: Pin<&mut impl Future<Output = ()>>, calls: &Arc<Calls>) -> bool {
        let waker = Waker::from(Arc::clone(calls));
        future.poll(&mut Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn each_block_that_comes_home_calls_the_first_who_can_do_with_it() {
        let pool = pool(3);
        let mut held: Vec<_> = (0..3).map(|_| pool.take(Class::Large).unwrap()).collect();
        let calls = [(); 3].map(|()| Arc::<Calls>::default());
        let mut turns = [(); 3].map(|()| pool.turn());
        let [first, second, third] = &mut turns;
        let mut first = pin!(first.room(2 * BLOCK));
        let mut second = pin!(second.room(BLOCK));
        let mut third = pin!(third.room(BLOCK));
        assert!(!poll(first.as_mut(), &calls[0]));
        assert!(!poll(second.as_mut(), &calls[1]) && !poll(third.as_mut(), &calls[2]));
        let counts = || calls.each_ref().map(|calls| calls.count());
        held.pop();
        assert_eq!(counts(), [0, 0, 0], "the first needs two");
        held.pop();
        assert_eq!(counts(), [1, 0, 0], "and has both");
        held.pop();
        assert_eq!(counts(), [1, 1, 0]);
        assert!(!poll(third.as_mut(), &calls[2]), "nobody overtakes");
        assert!(poll(first.as_mut(), &calls[0]) && poll(second.as_mut(), &calls[1]));
        assert!(poll(third.as_mut(), &calls[2]), "they took nothing");
    }

    #[test]
    fn who_gives_up_passes_its_call_on() {
        let pool = pool(1);
        let held = pool.take(Class::Large).unwrap();
        let (calls, mut gone, mut next) = (Arc::<Calls>::default(), pool.turn(), pool.turn());
        let mut next = pin!(next.room(BLOCK));
        {
            let mut gone = pin!(gone.room(BLOCK));
            assert!(!poll(gone.as_mut(), &Arc::default()) && !poll(next.as_mut(), &calls));
            drop(held);
            assert_eq!(calls.count(), 0);
        }
        assert_eq!(calls.count(), 1);
        assert!(poll(next.as_mut(), &calls));
    }

    #[test]
    fn who_was_called_in_vain_stands_where_it_stood() {
        let pool = pool(1);
        let held = pool.take(Class::Large).unwrap();
        let (mut early, mut late) = (pool.turn(), pool.turn());
        let (calls, its_calls) = (Arc::<Calls>::default(), Arc::<Calls>::default());
        let mut later = pin!(late.room(BLOCK));
        assert!(!poll(later.as_mut(), &calls));
        assert!(!poll(pin!(early.room(BLOCK)), &its_calls));
        let mut again = pin!(early.room(BLOCK));
        assert!(!poll(again.as_mut(), &its_calls));
        drop(held);
        assert_eq!((its_calls.count(), calls.count()), (1, 0));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_block_that_comes_home_on_another_core_rings_the_bell_there() {
        let pool = pool(1);
        let block = pool.take(Class::Large).unwrap().freeze(1);
        let (rung, calls) = (Arc::<Calls>::default(), Arc::<Calls>::default());
        let bell = Arc::clone(&rung);
        pool.on_return_elsewhere(move || Wake::wake_by_ref(&bell));
        let mut turn = pool.turn();
        let mut room = pin!(turn.room(BLOCK));
        assert!(!poll(room.as_mut(), &calls));
        std::thread::spawn(move || drop(block)).join().unwrap();
        assert_eq!((rung.count(), calls.count()), (1, 0), "wakers are not touched there");
        pool.answer();
        assert_eq!(calls.count(), 1);
        assert!(poll(room.as_mut(), &calls));
    }

    #[test]
    fn what_is_idle_is_room() {
        let pool = pool(1);
        let block = pool.take(Class::Large).unwrap().freeze(1);
        let (calls, mut turn) = (Arc::<Calls>::default(), pool.turn());
        let kept = crate::bufpool::Spare::new(block.clone());
        let mut room = pin!(turn.room(BLOCK));
        assert!(!poll(room.as_mut(), &calls));
        drop(block);
        assert_eq!(calls.count(), 1);
        assert!(poll(room.as_mut(), &calls));
        drop(kept);
    }
}
