//! The prefetches of a node: taking them in, carrying them out, saying how far they are.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    path::Path,
    rc::Rc,
    time::Instant,
};

use futures_lite::future;

use super::{
    Again, Came, Error, Failed, Item, Limits, ListLimits, NoRoom, NotKept, Spec, Start, State,
    Status,
    journal::{Record, Summary, There},
    ledger::Ledger,
    lists::{self, Unread},
    playlist,
    queue::Queue,
    unix_ms,
};
use crate::{
    file, net,
    pcm::SourceName,
    runtime::{self, ShardId, Task, event::Event},
    shard::{
        Ahead, Answer, Chore, Done, End, Prefetched, Refusal, Shard, Step, Stored, What, shown,
    },
    storage::ObjectId,
};

/// Objects that a shard is asked about at a time.
const ASKED_AT_ONCE: usize = 256;

/// What the prefetches of a node are told by the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The bounds of the queue.
    pub limits: Limits,
    /// The bounds of lists among the sources.
    pub lists: ListLimits,
    /// The bound of the journal.
    pub journal_bytes: u64,
}

/// The prefetches of a node.
pub struct Prefetches {
    queue: RefCell<Queue>,
    lists: ListLimits,
    pub(super) ledger: Option<Ledger>,
    running: RefCell<HashMap<Item, Task<()>>>,
    /// Something can be begun, or something ended.
    changed: Event,
    is_closed: Cell<bool>,
}

/// Why a prefetch is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The queue has no room.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// It would not outlive a crash.
    #[error(transparent)]
    NotKept(#[from] NotKept),
    /// No source may be called so.
    #[error("{of}: {error}")]
    Source {
        /// Which one.
        of: SourceName,
        /// Why.
        error: file::Error,
    },
}

impl Prefetches {
    /// The queue of a cache directory, as it was when its last node ended.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(
        dir: &Path,
        options: Options,
        libraries: Vec<String>,
    ) -> Result<Rc<Self>, Error> {
        let Options { limits, lists, journal_bytes } = options;
        let now = unix_ms(runtime::wall_clock());
        let (ledger, queue) = Ledger::open(dir, journal_bytes, limits, libraries, now).await?;
        Ok(Rc::new(Self::of(queue, Some(ledger), lists)))
    }

    /// A queue that ends with its process.
    pub fn in_memory(limits: Limits, lists: ListLimits) -> Rc<Self> {
        Rc::new(Self::of(Queue::new(limits), None, lists))
    }

    pub(super) fn of(queue: Queue, ledger: Option<Ledger>, lists: ListLimits) -> Self {
        let (running, changed, is_closed) = Default::default();
        Self { queue: RefCell::new(queue), lists, ledger, running, changed, is_closed }
    }

    /// Takes a prefetch in: it is durable when this returns, and goes on by itself.
    ///
    /// # Errors
    /// Why it does not.
    ///
    /// # Cancellation
    /// It may or may not be accepted.
    pub async fn accept(&self, spec: Spec) -> Result<u64, Refused> {
        self.queue.borrow().has_room(&spec)?;
        let now = unix_ms(runtime::wall_clock());
        let id = self.queue.borrow_mut().accept(spec.clone(), now);
        if let Some(ledger) = &self.ledger {
            let summary = Summary::of(&spec, now);
            let (asked, ended) = (spec.sources.len() as u32, Vec::new());
            let record = Record::Accepted { id, unix_ms: now, spec, asked, ended, summary };
            if let Err(not_kept) = ledger.keep(&record).await {
                let items = self.queue.borrow_mut().take_back(id);
                self.stop(items);
                return Err(not_kept.into());
            }
        }
        self.changed.notify_all();
        Ok(id)
    }

    /// Cancels a prefetch; `false`: there is none of this number. What is there of it stays.
    ///
    /// # Errors
    /// The disk does not take it: after a crash it would go on.
    pub async fn cancel(&self, shard: &Shard, id: u64) -> Result<bool, NotKept> {
        let now = unix_ms(runtime::wall_clock());
        let was_over = self.queue.borrow().is_over(id);
        let Some(items) = self.queue.borrow_mut().cancel(id, now) else { return Ok(false) };
        if was_over {
            return Ok(true);
        }
        self.stop(items);
        self.changed.notify_all();
        let bytes = self.status(id).map_or(0, |status| status.summary.bytes_done);
        shard.tell(|| What::PrefetchEnded { id, end: End::Cancelled, bytes });
        if let Some(ledger) = &self.ledger {
            ledger.keep(&Record::Cancelled { id, unix_ms: now }).await?;
        }
        Ok(true)
    }

    /// One prefetch.
    pub fn status(&self, id: u64) -> Option<Status> {
        self.queue.borrow().status(id)
    }

    /// The youngest prefetches, the youngest first, and how many more there are.
    pub fn list(&self, most: usize) -> (Vec<Status>, usize) {
        let mut queue = self.queue.borrow_mut();
        queue.forget_old(unix_ms(runtime::wall_clock()));
        queue.list(most)
    }

    /// Sources that wait, and those that run.
    pub fn counts(&self) -> (usize, usize) {
        self.queue.borrow().counts()
    }

    /// Waits until a prefetch has ended.
    pub async fn ended(&self, id: u64) -> Option<Status> {
        loop {
            let changed = self.changed.listen();
            match self.status(id) {
                Some(status) if !status.state.is_end() => changed.await,
                status => return status,
            }
        }
    }

    /// Does what the queue decides, until it is [`close`](Self::close)d. Without work it sleeps.
    pub async fn run(self: Rc<Self>, shard: Rc<Shard>) {
        let writing = async {
            if let Some(ledger) = &self.ledger {
                ledger.run().await;
            }
        };
        let working = async {
            self.begin_all(&shard).await;
            self.ledger.iter().for_each(Ledger::close);
        };
        future::zip(writing, working).await;
    }

    /// Stops what runs, which stays in the queue, and lets [`run`](Self::run) come to its end.
    pub fn close(&self) {
        self.is_closed.set(true);
        self.changed.notify_all();
    }

    async fn begin_all(self: &Rc<Self>, shard: &Rc<Shard>) {
        loop {
            let changed = self.changed.listen();
            if self.is_closed.get() {
                let running = std::mem::take(&mut *self.running.borrow_mut());
                for task in running.into_values() {
                    task.cancel().await;
                }
                return;
            }
            let now = runtime::now();
            let start = self.queue.borrow_mut().next(now);
            if let Some(start) = start {
                self.begin(shard, start);
                continue;
            }
            let wake_at = self.queue.borrow().wake_at(now);
            future::or(changed, until(wake_at)).await;
        }
    }

    fn begin(self: &Rc<Self>, shard: &Rc<Shard>, start: Start) {
        let item = start.item;
        if start.is_first
            && let Some(status) = self.status(item.id)
        {
            let (source, sources) = (status.summary.source, status.summary.sources);
            shard.tell(|| What::PrefetchBegun { id: item.id, source, sources });
        }
        let (me, its_shard) = (Rc::clone(self), Rc::clone(shard));
        let task = runtime::spawn(runtime::Queue::Background, "prefetch", async move {
            let result = me.attempt(&its_shard, start).await;
            me.settle(&its_shard, item, result).await;
        });
        self.running.borrow_mut().insert(item, task);
    }

    /// One attempt at one source, or at the list that it is.
    async fn attempt(&self, shard: &Rc<Shard>, start: Start) -> Result<Came, Failed> {
        let Start { item, ahead, variants, is_listed, .. } = start;
        let source = ahead.source.clone();
        if !playlist::is_playlist(&source) {
            match self.fetch(shard, item, ahead).await {
                Err(Refusal::List) => {}
                fetched => return fetched.map(Came::Fetched).map_err(|refusal| failed(&refusal)),
            }
        }
        if is_listed {
            return Err(Failed::for_good("it is a list, and was listed itself"));
        }
        let listed = lists::read(shard, &source, variants, self.lists).await;
        listed.map(Came::Listed).map_err(|unread| match unread {
            Unread::Refused(refusal) => failed(&refusal),
            Unread::Broken => {
                Failed { again: Again::Counted, ..Failed::for_good(&unread.to_string()) }
            }
            unread => Failed::for_good(&unread.to_string()),
        })
    }

    async fn fetch(
        &self,
        shard: &Rc<Shard>,
        item: Item,
        ahead: Ahead,
    ) -> Result<Prefetched, Refusal> {
        let mut prefetching = shard.prefetch(ahead)?;
        loop {
            let step = async {
                match prefetching.steps.recv().await {
                    Some(step) => Next::Step(step),
                    // There are no more of them: the answer comes, or the session is gone.
                    None => future::pending().await,
                }
            };
            let answer = async {
                Next::Answer(prefetching.answer.recv().await.unwrap_or(Err(Refusal::Broken)))
            };
            match future::or(step, answer).await {
                Next::Step(step) => self.pay(item, step).await,
                Next::Answer(Ok(Answer::Prefetched(prefetched))) => return Ok(prefetched),
                Next::Answer(Ok(_)) => return Err(Refusal::Broken),
                Next::Answer(Err(refusal)) => return Err(refusal),
            }
        }
    }

    /// Lets a source go on when its origin's rate allows it.
    async fn pay(&self, item: Item, step: Step) {
        let wait = self.queue.borrow_mut().progress(item, step.progress, runtime::now());
        if !wait.is_zero() {
            runtime::sleep(wait).await;
        }
        drop(step);
    }

    async fn settle(&self, shard: &Rc<Shard>, item: Item, result: Result<Came, Failed>) {
        let now = (runtime::now(), unix_ms(runtime::wall_clock()));
        let random = RandomState::new().hash_one(0);
        let settled = self.queue.borrow_mut().settle(item, result, now, random);
        self.note(settled.record.as_ref());
        if settled.is_last {
            let there = self.there(shard, item.id).await;
            let now = unix_ms(runtime::wall_clock());
            let closed = self.queue.borrow_mut().close(item.id, there, now);
            self.note(closed.as_ref());
            self.status(item.id).into_iter().for_each(|status| tell_end(shard, &status));
        }
        // A task cannot cancel itself: its handle is let go.
        let task = self.running.borrow_mut().remove(&item);
        task.into_iter().for_each(Task::detach);
        self.changed.notify_all();
    }

    fn note(&self, record: Option<&Record>) {
        if let (Some(ledger), Some(record)) = (&self.ledger, record) {
            ledger.note(record);
        }
    }

    /// What the cache has of the sources of a prefetch that are done; `None` where a shard does not say.
    async fn there(&self, shard: &Rc<Shard>, id: u64) -> Option<There> {
        let (sources, is_whole) = self.queue.borrow().done(id);
        let mut there = There::default();
        let mut objects: HashMap<ShardId, Vec<ObjectId>> = HashMap::new();
        for source in sources {
            if shard.files.is_library(&source.name) {
                there.sources += 1;
            } else if let Ok(key) = shard.files.key(&source.name, &source.path) {
                let volume = shard.files.store().volumes().of(key.id);
                objects.entry(shard.owner_of(volume)).or_default().push(key.id);
            }
        }
        for (owner, objects) in objects {
            for objects in objects.chunks(ASKED_AT_ONCE) {
                let chore = Chore::Stored { objects: objects.to_vec(), is_whole };
                let Ok(Done::Stored(Stored { objects, bytes })) = shard.chore(owner, chore).await
                else {
                    return None;
                };
                there.sources += objects;
                there.bytes += bytes;
            }
        }
        Some(there)
    }

    fn stop(&self, items: Vec<Item>) {
        let mut running = self.running.borrow_mut();
        let tasks: Vec<_> = items.iter().filter_map(|item| running.remove(item)).collect();
        drop(running);
        drop(tasks);
    }
}

/// What an attempt says next.
enum Next {
    Step(Step),
    Answer(Result<Answer, Refusal>),
}

fn failed(refusal: &Refusal) -> Failed {
    let again = match refusal {
        Refusal::Full | Refusal::Draining => Again::Free,
        other if other.may_pass() => Again::Counted,
        _ => Again::Never,
    };
    let error = refusal.origin_error();
    let is_unreachable = error.is_some_and(net::Error::is_unreachable);
    let hold = match error {
        Some(net::Error::Later { after, .. }) => Some(*after),
        _ => None,
    };
    Failed { why: refusal.reason(), is_unreachable, again, hold }
}

fn tell_end(shard: &Shard, status: &Status) {
    let (id, summary) = (status.id, &status.summary);
    match status.state {
        State::Failed => shard.tell(|| What::PrefetchFailed {
            id,
            sources: summary.failed,
            why: shown(&status.error().unwrap_or_default()),
        }),
        _ => {
            let bytes = summary.bytes_there();
            shard.tell(|| What::PrefetchEnded { id, end: End::Complete, bytes })
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => runtime::sleep(at.saturating_duration_since(runtime::now())).await,
        None => future::pending().await,
    }
}
