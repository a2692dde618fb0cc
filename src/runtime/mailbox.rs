//! Messages between shards: one bounded ring per ordered pair of shards.
//!
//! What does not fit comes back to who sent it ([`Full`]); nothing queues out of sight. An idle
//! mailbox sleeps: the sender wakes the receiving shard by its eventfd, and only if that sleeps.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use glommio::{
    GlommioError,
    channels::shared_channel::{self, ConnectedSender, SharedReceiver, SharedSender},
};

use super::{Queue, ShardId, Task, event::Event, spawn};

/// Messages taken out of a peer's ring before the shard has asked for them. One is enough to be
/// fair; a few save the pump a wake-up per message.
const AHEAD: usize = 16;

/// The rings between all shards, before they are given out: made once, cloned into every shard.
#[derive(Debug)]
pub struct Mesh<M: Send> {
    ends: Arc<[Slot<M>]>,
    capacity: usize,
}

impl<M: Send> Clone for Mesh<M> {
    fn clone(&self) -> Self {
        Self { ends: Arc::clone(&self.ends), capacity: self.capacity }
    }
}

/// What one shard takes when it joins.
///
/// A lock, but none of the data path: each is locked once, at the start of its shard.
#[derive(Debug)]
#[allow(clippy::disallowed_types, reason = "hands ends to their shards at start, never again")]
struct Slot<M: Send>(std::sync::Mutex<Option<Ends<M>>>);

#[derive(Debug)]
struct Ends<M: Send> {
    /// By the number of the other shard; none to itself.
    to: Vec<Option<SharedSender<M>>>,
    from: Vec<Option<SharedReceiver<M>>>,
}

impl<M: Send + 'static> Mesh<M> {
    /// Makes rings for `shards` shards. Each holds `capacity` messages, rounded up to a power of
    /// two, and up to 16 more that the receiving shard has already taken out.
    ///
    /// # Panics
    ///
    /// If either is 0.
    #[allow(clippy::disallowed_types, reason = "see `Slot`")]
    pub fn new(shards: usize, capacity: usize) -> Self {
        assert!(shards > 0 && capacity > 0, "a mesh has shards and room");
        let mut all: Vec<_> = (0..shards).map(|_| Ends::unconnected(shards)).collect();
        for from in 0..shards {
            for to in (0..shards).filter(|to| *to != from) {
                let (sender, receiver) = shared_channel::new_bounded(capacity);
                all[from].to[to] = Some(sender);
                all[to].from[from] = Some(receiver);
            }
        }
        let slots = all.into_iter().map(|ends| Slot(std::sync::Mutex::new(Some(ends))));
        Self { ends: slots.collect(), capacity }
    }

    /// Takes this shard's ends and waits until every other shard has joined as well.
    ///
    /// Until then the shard polls, so all shards join first of all.
    ///
    /// # Panics
    ///
    /// If a shard joins twice, or there is none of that number.
    pub async fn join(&self, shard: ShardId) -> Mailbox<M> {
        let slot = &self.ends[usize::from(shard.0)];
        // Nobody panics while holding it, and what it guards is only taken.
        let ends = slot.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let ends = ends.expect("a shard joins a mesh once");
        let inbox = Rc::new(Inbox::new(ends.from.len(), self.capacity));
        let mut pumps = Vec::new();
        for (peer, from) in ends.from.into_iter().enumerate() {
            if let Some(from) = from {
                let pump = pump(from, Rc::clone(&inbox), peer);
                pumps.push(spawn(Queue::Io, "mailbox", pump));
            }
        }
        inbox.open.set(pumps.len());
        // Both ends of a pair wait for each other, so all connect at once.
        let connecting: Vec<_> = ends.to.into_iter().map(connect).collect();
        let mut to = Vec::with_capacity(connecting.len());
        for task in connecting {
            to.push(match task {
                Some(task) => Some(task.await.expect("connecting does not panic")),
                None => None,
            });
        }
        Mailbox { shard, to, inbox, _pumps: pumps }
    }
}

impl<M: Send> Ends<M> {
    fn unconnected(shards: usize) -> Self {
        Self { to: (0..shards).map(|_| None).collect(), from: (0..shards).map(|_| None).collect() }
    }
}

fn connect<M: Send + 'static>(sender: Option<SharedSender<M>>) -> Option<Task<ConnectedSender<M>>> {
    sender.map(|sender| spawn(Queue::Io, "mailbox-connect", sender.connect()))
}

/// Moves a peer's messages into the inbox.
///
/// glommio stores another waker at each poll of a ring that is empty. This task alone polls it,
/// once per wake-up; who waits for several peers waits for the inbox.
async fn pump<M: Send + 'static>(from: SharedReceiver<M>, inbox: Rc<Inbox<M>>, peer: usize) {
    let ring = from.connect().await;
    loop {
        inbox.room(peer, AHEAD).await;
        let Some(message) = ring.recv().await else { break };
        inbox.put(peer, message);
    }
    inbox.close();
}

/// One shard's messages.
///
/// # Shard
///
/// It stays where it was joined. Dropping it closes the rings; peers see [`Full::gone`].
#[derive(Debug)]
pub struct Mailbox<M: Send + 'static> {
    shard: ShardId,
    to: Vec<Option<ConnectedSender<M>>>,
    inbox: Rc<Inbox<M>>,
    _pumps: Vec<Task<()>>,
}

/// A message that was not sent, because its ring is full or its receiver gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full<M> {
    /// What was to be sent.
    pub message: M,
    /// The shard has left the mesh; it will never have room.
    pub gone: bool,
}

impl<M: Send + 'static> Mailbox<M> {
    /// The shard this is the mailbox of.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Sends `message` to `to`, which may be this shard. Messages of one pair keep their order.
    ///
    /// # Errors
    ///
    /// [`Full`] with the message; the caller decides who is refused.
    ///
    /// # Panics
    ///
    /// If there is no such shard.
    pub fn try_send(&self, to: ShardId, message: M) -> Result<(), Full<M>> {
        // glommio's `send` panics when two tasks race for the last slot; `try_send` does not.
        match &self.to[usize::from(to.0)] {
            Some(ring) => ring.try_send(message).map_err(refused),
            None => self.inbox.put_own(usize::from(to.0), message),
        }
    }

    /// The next message and who sent it, taking the peers in turn. `None` once every other shard
    /// has left and nothing is queued; a mesh of one shard never ends.
    ///
    /// # Cancellation
    ///
    /// No message is lost. One task receives at a time.
    pub async fn recv(&self) -> Option<(ShardId, M)> {
        poll_fn(|context| self.inbox.poll_take(context)).await
    }
}

fn refused<M>(error: GlommioError<M>) -> Full<M> {
    match error {
        GlommioError::Closed(glommio::ResourceType::Channel(message)) => {
            Full { message, gone: true }
        }
        GlommioError::WouldBlock(glommio::ResourceType::Channel(message)) => {
            Full { message, gone: false }
        }
        _ => unreachable!("a ring is full or closed"),
    }
}

/// What has arrived on this shard, by sender.
#[derive(Debug)]
struct Inbox<M> {
    queues: RefCell<Vec<VecDeque<M>>>,
    /// Whose turn it is.
    next: Cell<usize>,
    /// Peers that have not left.
    open: Cell<usize>,
    /// Messages this shard may have queued to itself.
    capacity: usize,
    waiting: RefCell<Option<Waker>>,
    taken: Event,
}

impl<M> Inbox<M> {
    fn new(shards: usize, capacity: usize) -> Self {
        Self {
            queues: RefCell::new((0..shards).map(|_| VecDeque::new()).collect()),
            next: Cell::new(0),
            open: Cell::new(0),
            capacity,
            waiting: RefCell::new(None),
            taken: Event::new(),
        }
    }

    /// Waits until fewer than `bound` messages of `peer` are queued.
    async fn room(&self, peer: usize, bound: usize) {
        while self.queues.borrow()[peer].len() >= bound {
            // Nothing runs between the check and this on one shard.
            self.taken.listen().await;
        }
    }

    fn put(&self, peer: usize, message: M) {
        self.queues.borrow_mut()[peer].push_back(message);
        self.wake();
    }

    fn put_own(&self, own: usize, message: M) -> Result<(), Full<M>> {
        if self.queues.borrow()[own].len() >= self.capacity {
            return Err(Full { message, gone: false });
        }
        self.put(own, message);
        Ok(())
    }

    fn close(&self) {
        self.open.set(self.open.get() - 1);
        self.wake();
    }

    fn wake(&self) {
        let waiting = self.waiting.take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn poll_take(&self, context: &mut Context<'_>) -> Poll<Option<(ShardId, M)>> {
        if let Some((peer, message)) = self.take() {
            return Poll::Ready(Some((ShardId(peer as u16), message)));
        }
        let alone = self.queues.borrow().len() == 1;
        if self.open.get() == 0 && !alone {
            return Poll::Ready(None);
        }
        self.waiting.replace(Some(context.waker().clone()));
        Poll::Pending
    }

    /// The oldest message of the next peer that has one.
    fn take(&self) -> Option<(usize, M)> {
        let mut queues = self.queues.borrow_mut();
        let count = queues.len();
        let turn = self.next.get();
        let peer = (0..count).map(|i| (turn + i) % count).find(|peer| !queues[*peer].is_empty())?;
        let message = queues[peer].pop_front()?;
        let was_full = queues[peer].len() + 1 == AHEAD;
        drop(queues);
        self.next.set((peer + 1) % count);
        if was_full {
            self.taken.notify_all();
        }
        Some((peer, message))
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Wake};

    use super::*;
    use crate::runtime::{Options, run, yield_now};

    const MESSAGES: u64 = 10_000;

    #[test]
    fn ten_thousand_messages_cross_both_ways_in_order() {
        let mesh = Mesh::<u64>::new(2, 64);
        let options = Options { shards: 2, blocking_threads: 1, oversubscribe: true };
        run(options, move |shard| {
            let mesh = mesh.clone();
            async move {
                let mailbox = Rc::new(mesh.join(shard).await);
                let peer = ShardId(1 - shard.0);
                let sending = Rc::clone(&mailbox);
                let sender = spawn(Queue::Io, "sends", async move {
                    for mut message in 0..MESSAGES {
                        while let Err(full) = sending.try_send(peer, message) {
                            assert!(!full.gone);
                            message = full.message;
                            yield_now().await;
                        }
                    }
                });
                for expected in 0..MESSAGES {
                    assert_eq!(mailbox.recv().await, Some((peer, expected)));
                }
                sender.await.expect("sending does not panic");
            }
        })
        .expect("shards start");
    }

    #[test]
    fn a_full_ring_gives_the_message_back() {
        let mesh = Mesh::<u32>::new(1, 4);
        let options = Options { shards: 1, blocking_threads: 1, oversubscribe: true };
        run(options, move |shard| {
            let mesh = mesh.clone();
            async move {
                let mailbox = mesh.join(shard).await;
                for message in 0..4 {
                    mailbox.try_send(shard, message).expect("there is room");
                }
                assert_eq!(mailbox.try_send(shard, 4), Err(Full { message: 4, gone: false }));
                assert_eq!(mailbox.recv().await, Some((shard, 0)));
                mailbox.try_send(shard, 4).expect("there is room again");
            }
        })
        .expect("a shard starts");
    }

    /// glommio's own `send` panics in this.
    #[test]
    fn tasks_that_race_for_the_last_slot_all_get_through_once() {
        const TASKS: usize = 64;
        let mesh = Mesh::<usize>::new(2, 2);
        let options = Options { shards: 2, blocking_threads: 1, oversubscribe: true };
        run(options, move |shard| {
            let mesh = mesh.clone();
            async move {
                let mailbox = Rc::new(mesh.join(shard).await);
                if shard == ShardId(0) {
                    let send = async |mailbox: Rc<Mailbox<usize>>, task: usize| {
                        while mailbox.try_send(ShardId(1), task).is_err() {
                            yield_now().await;
                        }
                    };
                    let tasks: Vec<_> = (0..TASKS)
                        .map(|task| spawn(Queue::Io, "races", send(Rc::clone(&mailbox), task)))
                        .collect();
                    for task in tasks {
                        task.await.expect("sending does not panic");
                    }
                } else {
                    let mut came = [0; TASKS];
                    for _ in 0..TASKS {
                        came[mailbox.recv().await.expect("more is to come").1] += 1;
                    }
                    assert_eq!(came, [1; TASKS]);
                }
            }
        })
        .expect("shards start");
    }

    /// Of a ring of glommio's, each poll would keep one more.
    #[test]
    fn polls_of_an_empty_mailbox_keep_one_waker() {
        struct Quiet;
        impl Wake for Quiet {
            fn wake(self: Arc<Self>) {}
        }
        let mesh = Mesh::<u32>::new(2, 4);
        let options = Options { shards: 2, blocking_threads: 1, oversubscribe: true };
        run(options, move |shard| {
            let mesh = mesh.clone();
            async move {
                let mailbox = mesh.join(shard).await;
                if shard == ShardId(1) {
                    mailbox.try_send(ShardId(0), 7).expect("there is room");
                    assert_eq!(mailbox.recv().await, None, "the other one leaves first");
                    return;
                }
                // From now on the ring is connected, and empty.
                assert_eq!(mailbox.recv().await, Some((ShardId(1), 7)));
                let quiet = Arc::new(Quiet);
                for _ in 0..100 {
                    let waker = Arc::clone(&quiet).into();
                    let polled = pin!(mailbox.recv()).poll(&mut Context::from_waker(&waker));
                    assert!(polled.is_pending());
                }
                assert_eq!(Arc::strong_count(&quiet), 2, "ours, and that of the last poll");
            }
        })
        .expect("shards start");
    }

    #[test]
    fn peers_take_turns_however_much_one_of_them_sends() {
        let inbox = Inbox::new(4, 8);
        inbox.open.set(3);
        (0..12).for_each(|message| inbox.put(1, message));
        (0..3).for_each(|message| inbox.put(3, message));
        let order: Vec<_> = std::iter::from_fn(|| inbox.take()).collect();
        let peers: Vec<_> = order.iter().map(|(peer, _)| *peer).collect();
        assert_eq!(peers, [1, 3, 1, 3, 1, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        let of_first: Vec<_> = order.iter().filter(|(peer, _)| *peer == 1).collect();
        assert!(of_first.is_sorted(), "messages of one pair keep their order");
    }
}
