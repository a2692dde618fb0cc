//! A bell that keeps the executor from sleeping while tasks can run.
//!
//! glommio 0.9 runs no task in a round whose preemption timer has fired before the first one, which
//! happens when the thread loses its CPU for 250 us at that point. It takes such a round for
//! "nothing to do" and goes to sleep, and tasks that can run wait for the next event from outside,
//! for ever if there is none: two shards that exchanged 10,000 messages on a busy machine hung in
//! one of eight runs.
//!
//! Before it sleeps it asks once more for timers, completions and messages of other executors, and
//! if one of them woke somebody it begins another round instead. So each shard has a ring to itself
//! with one message in it exactly while a task can run, and wakers that wait for a message: one is
//! used up at each look, [`WAKERS`] are there, and the next task that runs replaces them. Sleeping
//! over a task that can run would take that many looks in a row without any task in between.
//!
//! Which tasks can run is counted by their wakers, so every task of a shard is a [`Counted`]. What
//! glommio runs without one (a write under way, the drop of a cancelled task) has the old remedy: a
//! timer once a second.

use std::{
    cell::{Cell, OnceCell},
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use glommio::{
    channels::shared_channel::{self, ConnectedReceiver, ConnectedSender},
    timer::Timer,
};
use pin_project_lite::pin_project;

use super::ShardId;

/// Looks before a sleep that the bell answers without a task having run: two for each round.
const WAKERS: usize = 32;
/// How long what is not counted can be forgotten, and how often an idle shard wakes up.
const BACKSTOP: Duration = Duration::from_secs(1);

thread_local! {
    /// Tasks of this shard that can run.
    static READY: Cell<usize> = const { Cell::new(0) };
    static BELL: OnceCell<Bell> = const { OnceCell::new() };
    /// Wakers that a look has used up.
    static USED: Cell<usize> = const { Cell::new(0) };
}

/// The ring of a shard to itself.
struct Bell {
    to: ConnectedSender<()>,
    from: ConnectedReceiver<()>,
    /// Whether the message is in it.
    rings: Cell<bool>,
    waker: Waker,
}

/// What waits for the bell: it only counts that it was asked.
struct Answer;

impl Wake for Answer {
    fn wake(self: Arc<Self>) {
        USED.set(USED.get() + 1);
    }
}

impl Bell {
    /// From within a waker too: glommio calls those while its own tables are borrowed, so this
    /// touches none of them.
    fn ring(&self) {
        if !self.rings.replace(true) {
            // There is room for the one message, and both ends live as long as the shard.
            let _ = self.to.try_send(());
        }
    }

    fn silence(&self) {
        if self.rings.replace(false) {
            self.poll();
        }
    }

    /// Replaces `count` wakers. Not from within a waker.
    fn supply(&self, count: usize) {
        self.silence();
        // A poll of an empty ring leaves a waker behind.
        (0..count).for_each(|_| self.poll());
    }

    fn poll(&self) {
        let _ = pin!(self.from.recv()).poll(&mut Context::from_waker(&self.waker));
    }
}

/// Hangs up the bell of this shard. Runs as the first thing on it.
pub(super) async fn start() {
    let (to, from) = shared_channel::new_bounded(1);
    let to = glommio::spawn_local(to.connect());
    let (from, to) = (from.connect().await, to.await);
    let bell = Bell { to, from, rings: Cell::new(false), waker: Arc::new(Answer).into() };
    bell.supply(WAKERS);
    if READY.get() > 0 {
        bell.ring();
    }
    let is_first = BELL.with(|own| own.set(bell).is_ok());
    assert!(is_first, "a thread runs one shard");
    glommio::spawn_local(async {
        loop {
            Timer::new(BACKSTOP).await;
        }
    })
    .detach();
}

fn one_more() {
    READY.set(READY.get() + 1);
    if READY.get() == 1 {
        with_bell(Bell::ring);
    }
}

fn one_less() {
    READY.set(READY.get() - 1);
    if READY.get() == 0 {
        with_bell(Bell::silence);
    }
}

fn replace_used() {
    if USED.get() > 0 {
        with_bell(|bell| {
            bell.supply(USED.take());
            if READY.get() > 0 {
                bell.ring();
            }
        });
    }
}

/// There is none while the shard starts, and none while its thread ends.
fn with_bell(act: impl FnOnce(&Bell)) {
    let _ = BELL.try_with(|bell| bell.get().map(act));
}

/// A task's waker: wakes the task, and counts it.
struct Call {
    shard: Option<ShardId>,
    /// glommio's own, known at the first poll.
    task: OnceLock<Waker>,
    /// The task is counted as one that can run, or has ended.
    is_ready: AtomicBool,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // From another thread glommio wakes by a message, which no executor sleeps over.
        if ShardId::current() == self.shard && !self.is_ready.swap(true, Ordering::Relaxed) {
            one_more();
        }
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

pin_project! {
    /// A future that is counted while it can run.
    ///
    /// It holds a waker of its own task: one that nobody can wake any more is not dropped before it
    /// is cancelled.
    pub(super) struct Counted<F> {
        call: Arc<Call>,
        waker: Waker,
        has_ended: bool,
        #[pin]
        future: F,
    }

    impl<F> PinnedDrop for Counted<F> {
        fn drop(this: Pin<&mut Self>) {
            this.project_end();
        }
    }
}

impl<F> Counted<F> {
    /// `future`, which is about to become a task of this shard.
    pub(super) fn new(future: F) -> Self {
        let (shard, is_ready) = (ShardId::current(), AtomicBool::new(true));
        let call = Arc::new(Call { shard, task: OnceLock::new(), is_ready });
        one_more();
        Self { waker: Arc::clone(&call).into(), call, has_ended: false, future }
    }

    /// Whoever still has its waker does not count it any more.
    fn project_end(self: Pin<&mut Self>) {
        let this = self.project();
        let was_ready = this.call.is_ready.swap(true, Ordering::Relaxed);
        if !std::mem::replace(this.has_ended, true) && was_ready {
            one_less();
        }
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.as_mut().project();
        let task = this.call.task.get_or_init(|| context.waker().clone());
        debug_assert!(task.will_wake(context.waker()), "a task has one waker");
        if this.call.is_ready.swap(false, Ordering::Relaxed) {
            one_less();
        }
        replace_used();
        let polled = this.future.poll(&mut Context::from_waker(this.waker));
        if polled.is_ready() {
            self.project_end();
        }
        polled
    }
}
