//! A bounded queue between tasks of one shard.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    mem,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use slab::Slab;

/// Makes a channel that holds at most `capacity` values.
///
/// # Panics
///
/// If `capacity` is 0.
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel without room passes nothing");
    let state = Rc::new(RefCell::new(State {
        queue: VecDeque::new(),
        capacity,
        receiver: None,
        blocked: Slab::new(),
        round: 0,
        senders: 1,
        receiving: true,
    }));
    (Sender { state: Rc::clone(&state), place: None }, Receiver { state })
}

/// The other side is gone. The value comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the channel is closed")]
pub struct Closed<T>(pub T);

/// Why [`Sender::try_send`] gave the value back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused<T> {
    /// There is no room now.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    capacity: usize,
    receiver: Option<Waker>,
    /// Who waits for room. All are woken when there is some; the first to run gets it.
    blocked: Slab<Waker>,
    /// How often `blocked` was emptied: places of earlier rounds are void, and taken by others.
    round: u64,
    senders: usize,
    receiving: bool,
}

impl<T> State<T> {
    fn is_full(&self) -> bool {
        self.queue.len() >= self.capacity
    }

    /// Where the sender that was given `place` waits, if it still does.
    fn still_waits(&self, place: Option<Place>) -> Option<usize> {
        place.filter(|place| place.round == self.round).map(|place| place.key)
    }

    /// All who wait for room, to be woken after the borrow.
    fn take_blocked(&mut self) -> Slab<Waker> {
        self.round += 1;
        mem::take(&mut self.blocked)
    }
}

/// A sender's place among the blocked.
#[derive(Debug, Clone, Copy)]
struct Place {
    round: u64,
    key: usize,
}

/// Puts values in. Clones put into the same channel.
#[derive(Debug)]
pub struct Sender<T> {
    state: Rc<RefCell<State<T>>>,
    /// Where this handle waits, from [`poll_send_ready`](Self::poll_send_ready).
    place: Option<Place>,
}

impl<T> Sender<T> {
    /// Puts `value` in, or gives it back at once.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the value.
    pub fn try_send(&self, value: T) -> Result<(), Refused<T>> {
        let mut state = self.state.borrow_mut();
        if !state.receiving {
            return Err(Refused::Closed(value));
        }
        if state.is_full() {
            return Err(Refused::Full(value));
        }
        state.queue.push_back(value);
        let receiver = state.receiver.take();
        drop(state);
        if let Some(waker) = receiver {
            waker.wake();
        }
        Ok(())
    }

    /// Puts `value` in as soon as there is room.
    ///
    /// # Errors
    ///
    /// [`Closed`] with the value, also if the receiver goes while this waits.
    ///
    /// # Cancellation
    ///
    /// The value is dropped, or it is in the channel: never both, never neither.
    pub async fn send(&self, value: T) -> Result<(), Closed<T>> {
        // A handle of its own, since several sends may wait through one.
        let mut waiting = self.clone();
        let mut value = value;
        loop {
            match self.try_send(value) {
                Ok(()) => return Ok(()),
                Err(Refused::Closed(back)) => return Err(Closed(back)),
                Err(Refused::Full(back)) => value = back,
            }
            // Others may take the room first, and closing is room as well: try again.
            poll_fn(|context| waiting.poll_send_ready(context)).await;
        }
    }

    /// Ready when [`try_send`](Self::try_send) will not say `Full`, which is also when it will say
    /// `Closed`. The room is not reserved.
    pub fn poll_send_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if !state.receiving || !state.is_full() {
            return Poll::Ready(());
        }
        match state.still_waits(self.place) {
            Some(key) => state.blocked[key].clone_from(context.waker()),
            None => {
                let key = state.blocked.insert(context.waker().clone());
                self.place = Some(Place { round: state.round, key });
            }
        }
        Poll::Pending
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        !self.state.borrow().receiving
    }

    /// Values in the channel now.
    pub fn len(&self) -> usize {
        self.state.borrow().queue.len()
    }

    /// Whether the channel is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.state.borrow_mut().senders += 1;
        Self { state: Rc::clone(&self.state), place: None }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        state.senders -= 1;
        let own = state.still_waits(self.place).map(|key| state.blocked.remove(key));
        let receiver = if state.senders == 0 { state.receiver.take() } else { None };
        drop(state);
        drop(own);
        if let Some(waker) = receiver {
            waker.wake();
        }
    }
}

/// Takes values out, in the order they were put in.
#[derive(Debug)]
pub struct Receiver<T> {
    state: Rc<RefCell<State<T>>>,
}

impl<T> Receiver<T> {
    /// The next value; `None` once the channel is empty and every sender is gone.
    ///
    /// # Cancellation
    ///
    /// No value is lost.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// [`recv`](Self::recv) for hand-written futures.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.state.borrow_mut();
        let Some(value) = state.queue.pop_front() else {
            if state.senders == 0 {
                return Poll::Ready(None);
            }
            state.receiver = Some(context.waker().clone());
            return Poll::Pending;
        };
        let woken = state.take_blocked();
        drop(state);
        woken.into_iter().for_each(|(_, waker)| waker.wake());
        Poll::Ready(Some(value))
    }

    /// Takes a value if one is there.
    pub fn try_recv(&mut self) -> Option<T> {
        let mut state = self.state.borrow_mut();
        let value = state.queue.pop_front()?;
        let woken = state.take_blocked();
        drop(state);
        woken.into_iter().for_each(|(_, waker)| waker.wake());
        Some(value)
    }

    /// Values in the channel now.
    pub fn len(&self) -> usize {
        self.state.borrow().queue.len()
    }

    /// Whether the channel is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        state.receiving = false;
        let left = mem::take(&mut state.queue);
        let woken = state.take_blocked();
        drop(state);
        // Their destructors may reach for this very channel.
        drop(left);
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{random::Random, turns::Turns};

    /// One history: senders that wait and are cancelled, and a receiver that may stop early.
    fn history(seed: u64) {
        let mut random = Random(seed);
        let capacity = 1 + random.below(4) as usize;
        let (sender, mut receiver) = bounded(capacity);
        let (mut turns, count) = (Turns::default(), 1 + random.below(4) as usize);
        let sent = Rc::new(RefCell::new(vec![Vec::new(); count]));
        let got = Rc::new(RefCell::new(vec![Vec::new(); count]));
        let senders: Vec<_> = (0..count)
            .map(|who| {
                let (sender, sent, values) = (sender.clone(), Rc::clone(&sent), random.below(20));
                turns.spawn(async move {
                    for value in 0..values {
                        if sender.send((who, value)).await.is_err() {
                            return;
                        }
                        sent.borrow_mut()[who].push(value);
                    }
                })
            })
            .collect();
        drop(sender);
        let takes = if random.below(3) == 0 { random.below(30) } else { u64::MAX };
        let its_got = Rc::clone(&got);
        let taker = turns.spawn(async move {
            for _ in 0..takes {
                assert!(receiver.len() <= capacity, "seed {seed}");
                let Some((who, value)) = receiver.recv().await else { return };
                its_got.borrow_mut()[who].push(value);
            }
        });
        while turns.step(&mut random) {
            if random.below(60) == 0 {
                turns.cancel(senders[random.below(count as u64) as usize]);
            }
        }
        let all = senders.into_iter().chain([taker]);
        assert!(all.into_iter().all(|task| turns.is_done(task)), "seed {seed}: somebody hangs");
        for (sent, got) in sent.borrow().iter().zip(got.borrow().iter()) {
            assert!(sent.starts_with(got), "seed {seed}: {got:?} of {sent:?}");
            assert!(takes < u64::MAX || sent == got, "seed {seed}: lost of {sent:?}: {got:?}");
        }
    }

    #[test]
    fn nothing_is_lost_doubled_or_stuck_in_any_interleaving() {
        (1..=2_000).for_each(history);
    }

    #[test]
    fn who_is_closed_on_gets_the_value_back() {
        let (sender, receiver) = bounded(1);
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(sender.try_send(2), Err(Refused::Full(2)));
        drop(receiver);
        assert_eq!(sender.try_send(3), Err(Refused::Closed(3)));
        assert!(sender.is_closed());
    }
}
