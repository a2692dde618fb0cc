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
//! with one message in it exactly while a task can run, and wakers that wait for a message.
//!
//! Each look uses a waker up, there are two looks a round, and rounds without a task can follow one
//! another for as long as the machine is busy: with a timer of 20 us, which is about what arming it
//! takes, sixteen in a row are common. So the first waker that is used up winds the bell: it sets a
//! timer for [`WIND`], and that one replaces them all. (Neither could replace its own kind, whose
//! table glommio has borrowed while it calls them.) The sleep that comes where none are left is no
//! longer than that timer, and an idle shard, whose bell is silent, has neither.
//!
//! Which tasks can run is counted by their wakers, so every task of a shard is a [`Counted`], and one
//! that is cancelled counts until it is dropped. Should one be slept over all the same, [`backstop`] wakes
//! the shard up once a second. Whether that happens is not known: without it one test of thousands, on a
//! busy machine, waited a minute for an answer. It did not again in 87 runs of that test without the
//! backstop, nor did one of 2.8 million reads of the disk, timers and blocking calls that a shard slept
//! for, with four busy threads beside two CPUs.
//!
//! Before its first task has hung it up a shard has no bell, and glommio nothing that could be told. So
//! who starts the thread interrupts its sleep by a signal until the bell hangs: [`see_it_begin`]. (Until
//! that task has begun is not enough: it waits while it hangs up the bell, and what wakes it then can be
//! slept over as well.)
//!
//! What happens on other threads comes by messages, completions and sockets, which glommio turns
//! into wake-ups on the shard. A waker that is called on another thread works, but glommio then
//! wakes the task behind the count's back: no task of this node waits in that way.

use std::{
    cell::{Cell, OnceCell, RefCell},
    future::Future,
    io,
    os::unix::thread::JoinHandleExt,
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread::JoinHandle,
    time::Duration,
};

use futures_lite::future;
use glommio::{
    channels::shared_channel::{self, ConnectedReceiver, ConnectedSender},
    timer::Timer,
};
use pin_project_lite::pin_project;

use super::ShardId;

/// Looks that the bell answers before it has to be wound: those of eight rounds.
const WAKERS: usize = 16;
/// How long a task that is slept over can be forgotten, and how often an idle shard wakes up.
const BACKSTOP: Duration = Duration::from_secs(1);
/// How long winding takes, which is the longest sleep over tasks that can run. As long as a round
/// that does run some.
const WIND: Duration = Duration::from_micros(250);
/// How often a shard wakes up while it has no bell yet.
const STARTING: Duration = Duration::from_millis(1);
/// How long the bell of a shard may take to hang before its thread is taken to sleep over that.
const HANGING: Duration = Duration::from_millis(20);
/// Interrupts the sleep of one thread. By itself it does nothing, and programs expect it to come
/// for no reason, since sockets with urgent data send it.
const INTERRUPT: i32 = signal_hook::consts::SIGURG;

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
    winds: RefCell<Timer>,
    is_winding: Cell<bool>,
    winder: Waker,
}

/// What waits for the bell. Called while glommio looks through its rings.
struct Answer;

impl Wake for Answer {
    fn wake(self: Arc<Self>) {
        USED.set(USED.get() + 1);
        with_bell(Bell::wind);
    }
}

/// What winds it. Called while glommio looks through its timers.
struct Winder;

impl Wake for Winder {
    fn wake(self: Arc<Self>) {
        with_bell(|bell| bell.is_winding.set(false));
        replace_used();
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

    /// Replaces `count` wakers. Not from within one of them.
    fn supply(&self, count: usize) {
        self.silence();
        // A poll of an empty ring leaves a waker behind.
        (0..count).for_each(|_| self.poll());
    }

    /// Not from within the winder.
    fn wind(&self) {
        if !self.is_winding.replace(true) {
            let mut timer = self.winds.borrow_mut();
            timer.reset(WIND);
            let set = Pin::new(&mut *timer).poll(&mut Context::from_waker(&self.winder));
            // The thread lost its CPU for that long: the next waker tries again.
            self.is_winding.set(set.is_pending());
        }
    }

    fn poll(&self) {
        let _ = pin!(self.from.recv()).poll(&mut Context::from_waker(&self.waker));
    }
}

/// Hangs up the bell of this shard. Runs as the first thing on it.
pub(super) async fn start() {
    let (to, from) = shared_channel::new_bounded(1);
    let (from, to) = awake(future::zip(from.connect(), to.connect())).await;
    let bell = Bell {
        to,
        from,
        rings: Cell::new(false),
        waker: Arc::new(Answer).into(),
        winds: RefCell::new(Timer::new(WIND)),
        is_winding: Cell::new(false),
        winder: Arc::new(Winder).into(),
    };
    bell.supply(WAKERS);
    if READY.get() > 0 {
        bell.ring();
    }
    let is_first = BELL.with(|own| own.set(bell).is_ok());
    assert!(is_first, "a thread runs one shard");
}

/// Wakes the shard up now and then, for as long as it runs.
pub(super) fn backstop() {
    glommio::spawn_local(async {
        loop {
            Timer::new(BACKSTOP).await;
        }
    })
    .detach();
}

/// How far the start of a shard has come, in the order in which its thread says so.
#[derive(Debug)]
pub(super) enum Begun {
    /// The executor is made and about to run.
    Executor,
    /// The bell hangs.
    Bell,
}

/// Waits until the bell of the shard on `thread` hangs, or the thread has ended, and interrupts its
/// sleep as long as it does not.
pub(super) fn see_it_begin<T>(thread: &JoinHandle<T>, begun: &mpsc::Receiver<Begun>) {
    // Making an executor takes what it takes.
    if begun.recv().is_err() {
        return;
    }
    while let Err(mpsc::RecvTimeoutError::Timeout) = begun.recv_timeout(HANGING) {
        // SAFETY: the thread is not joined, so its name is valid, though it may have ended.
        unsafe { libc::pthread_kill(thread.as_pthread_t(), INTERRUPT) };
    }
}

/// Makes [`INTERRUPT`] end a sleep and do nothing else. Once per process.
pub(super) fn install_interrupt() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), io::ErrorKind>> = OnceLock::new();
    let install = || signal_hook::flag::register(INTERRUPT, Arc::default());
    let installed = INSTALLED.get_or_init(|| install().map(drop).map_err(|error| error.kind()));
    installed.map_err(io::Error::from)
}

/// Waits for `future` without any sleep that lasts.
async fn awake<T>(future: impl Future<Output = T>) -> T {
    let tick = async {
        loop {
            Timer::new(STARTING).await;
        }
    };
    future::or(future, tick).await
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
#[derive(Debug)]
pub(super) struct Call {
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

    /// Its waker. Called before it is cancelled, the task counts until it is dropped.
    pub(super) fn call(&self) -> Arc<Call> {
        Arc::clone(&self.call)
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

#[cfg(test)]
// Shards of the tests' own are threads too.
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::os::fd::AsFd;

    use glommio::{LocalExecutorBuilder, Placement};
    use rustix::thread::{NanosleepRelativeResult, Timespec};

    use super::*;
    use crate::runtime::{
        EventFd, Queue, blocking,
        event::Event,
        mailbox::{Mailbox, Mesh},
        now, queue, sleep, spawn, yield_now,
    };

    /// No task that can run waits longer, on a machine that is busy with other tests too.
    const LATEST: Duration = Duration::from_secs(1);
    /// Each kind of wake-up, with nothing else on its shard that could wake it.
    const EACH: Duration = Duration::from_millis(400);
    /// Fires before the first task of many rounds, and late enough to let most of them run.
    const PREEMPT_TIMER: Duration = Duration::from_micros(20);

    /// Runs `main` on a shard that wants to sleep over its tasks all the time.
    fn restless<F>(main: impl FnOnce() -> F + Send + 'static) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static>,
    {
        let (tell, begun) = mpsc::channel();
        install_interrupt().expect("signals can be handled");
        let thread = std::thread::spawn(move || {
            let executor = LocalExecutorBuilder::new(Placement::Unbound)
                .preempt_timer(PREEMPT_TIMER)
                .make()
                .expect("io_uring");
            tell.send(Begun::Executor).expect("the test listens");
            executor.run(Counted::new(async move {
                queue::create();
                start().await;
                let _ = tell.send(Begun::Bell);
                main().await
            }))
        });
        see_it_begin(&thread, &begun);
        thread
    }

    /// Repeats `step` for a while; how long the slowest took.
    async fn repeat(name: &'static str, mut step: impl AsyncFnMut()) -> (&'static str, Duration) {
        let (began, mut slowest, mut steps) = (now(), Duration::ZERO, 0);
        while began.elapsed() < EACH {
            let before = now();
            step().await;
            slowest = slowest.max(before.elapsed());
            steps += 1;
        }
        println!("{name}: {steps} times, the slowest {slowest:?}");
        (name, slowest)
    }

    /// The rounds of `story`, or the end of patience: a shard that sleeps over its last task
    /// sleeps for ever.
    fn never_late<F>(story: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = (&'static str, Duration)>,
    {
        let (sender, ended) = mpsc::channel();
        let _shard = restless(move || async move {
            let _ = sender.send(story().await);
        });
        let (name, slowest) = ended.recv_timeout(10 * LATEST).expect("the shard sleeps");
        assert!(slowest < LATEST, "{name} waited {slowest:?}");
    }

    #[test]
    fn shards_begin_though_they_would_sleep_over_their_first_task() {
        for _ in 0..20 {
            restless(|| async {}).join().expect("the shard ends");
        }
    }

    #[test]
    fn a_thread_that_sleeps_at_its_beginning_is_interrupted() {
        install_interrupt().expect("signals can be handled");
        let (tell, begun) = mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            tell.send(Begun::Executor).expect("the test listens");
            let slept = rustix::thread::nanosleep(&Timespec { tv_sec: 10, tv_nsec: 0 });
            tell.send(Begun::Bell).expect("the test listens");
            matches!(slept, NanosleepRelativeResult::Interrupted(_))
        });
        see_it_begin(&sleeper, &begun);
        assert!(sleeper.join().expect("it ends"), "it slept to the end");
    }

    #[test]
    fn a_task_that_another_wakes_is_never_late() {
        never_late(|| async {
            let (ping, pong) = (Event::new(), Event::new());
            let (its_ping, its_pong, mut rung) = (ping.clone(), pong.clone(), ping.listen());
            let _other = spawn(Queue::Decode, "other", async move {
                loop {
                    rung.await;
                    rung = its_ping.listen();
                    its_pong.notify_all();
                }
            });
            repeat("an event", async || {
                let answer = pong.listen();
                ping.notify_all();
                answer.await;
            })
            .await
        });
    }

    #[test]
    fn a_task_that_gives_way_is_never_late() {
        never_late(|| repeat("giving way", yield_now));
    }

    #[test]
    fn a_task_that_waits_for_a_timer_is_never_late() {
        never_late(|| repeat("a timer", async || sleep(Duration::from_micros(100)).await));
    }

    #[test]
    fn a_task_that_waits_for_the_blocking_pool_is_never_late() {
        never_late(|| repeat("a blocking call", async || blocking(|| ()).await.unwrap()));
    }

    /// As the disk's ring does, which glommio knows by its eventfd alone.
    #[test]
    fn a_task_that_waits_for_an_eventfd_is_never_late() {
        never_late(|| async {
            let bell = EventFd::new().expect("a descriptor");
            let ringer = bell.as_fd().try_clone_to_owned().expect("a descriptor");
            let (ask, asked) = mpsc::channel();
            std::thread::spawn(move || {
                for () in asked {
                    rustix::io::write(&ringer, &1_u64.to_ne_bytes()).expect("it is open");
                }
            });
            repeat("an eventfd", async || {
                ask.send(()).expect("the thread listens");
                bell.rung().await.expect("readable");
            })
            .await
        });
    }

    #[test]
    fn tasks_that_wait_for_another_shard_are_never_late() {
        async fn echo(mailbox: &Mailbox<u64>) {
            while let Some((from, number)) = mailbox.recv().await {
                mailbox.try_send(from, number).expect("one message is under way");
            }
        }
        let mesh = Mesh::new(2, 4);
        let other = mesh.clone();
        let _other = restless(move || async move { echo(&other.join(ShardId(1)).await).await });
        never_late(move || async move {
            let mailbox = mesh.join(ShardId(0)).await;
            repeat("a message", async || {
                mailbox.try_send(ShardId(1), 7).expect("one message is under way");
                assert_eq!(mailbox.recv().await, Some((ShardId(1), 7)));
            })
            .await
        });
    }

    #[test]
    fn what_a_cancelled_task_held_is_dropped_and_never_late() {
        struct Tell(Event);
        impl Drop for Tell {
            fn drop(&mut self) {
                self.0.notify_all();
            }
        }
        never_late(|| {
            repeat("a drop", async || {
                let (dropped, started) = (Event::new(), Event::new());
                let (tell, waiting) = (Tell(dropped.clone()), dropped.listen());
                let (its_start, start) = (started.clone(), started.listen());
                let task = spawn(Queue::Background, "dropped", async move {
                    let _tell = tell;
                    its_start.notify_all();
                    std::future::pending::<()>().await;
                });
                start.await;
                drop(task);
                waiting.await;
            })
        });
    }
}
