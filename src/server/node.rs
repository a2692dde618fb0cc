//! The node: shards put together, listeners opened, drained and ended.

use std::{
    cell::RefCell,
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use slab::Slab;

use super::{
    connection::{self, Answer},
    demo_origin,
    guard::patience::Time,
    http::{self, Desk},
    life::{Cache, Life, Together},
    request::Door,
};
use crate::{
    assets, decode,
    file::Library,
    hls::KeyProcessor,
    net::{self, Origin},
    prefetch::{self, ListLimits, Prefetches},
    runtime::{
        self, Bound, Queue, ShardId, SocketOptions, Task, TcpListener, TcpStream,
        event::Event,
        mailbox::Mesh,
        signals::{Signal, Signals},
    },
    shard::{self, Cut, Gate, MAILBOX, Mail, Pass, Reason, Shard, reclaim, returns, tell_lines},
    storage::{self, Directory, Format, queue_bytes},
};

/// Everything a node is told.
#[derive(Clone)]
pub struct Options {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where the operator connects.
    pub admin: SocketAddr,
    /// The executors.
    pub runtime: runtime::Options,
    /// Buffer memory of all shards together, in bytes.
    pub memory_bytes: usize,
    /// Where the cache lies.
    pub cache_dir: PathBuf,
    /// How large it may grow, in bytes; 0 turns it off.
    pub cache_bytes: u64,
    /// How often it is made durable.
    pub sync: Duration,
    /// How resources are kept.
    pub assets: assets::Options,
    /// How each shard serves.
    pub shard: shard::Options,
    /// How origins are talked to.
    pub net: net::Options,
    /// The configured origins.
    pub origins: Vec<Origin>,
    /// The configured libraries.
    pub libraries: Vec<Library>,
    /// Who unwraps keys of presentations that come wrapped.
    pub key_processor: Option<Arc<dyn KeyProcessor>>,
    /// Whether the demo's origin runs inside.
    pub demo: bool,
    /// What a decoder may take.
    pub decoders: decode::DecoderOptions,
    /// How clients' connections are served.
    pub connection: connection::Options,
    /// Kernel buffers of clients' sockets.
    pub sockets: SocketOptions,
    /// Connections of all shards together.
    pub connections: usize,
    /// How much is prefetched, and how fast.
    pub prefetch: prefetch::Limits,
    /// The bounds of lists of sources.
    pub lists: ListLimits,
    /// How long running responses may take to finish at the end.
    pub shutdown_grace: Duration,
}

/// A node that answers.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// Where clients connect, with the port that was taken.
    pub listen: SocketAddr,
    /// Where the operator connects.
    pub admin: SocketAddr,
    /// How many shards there are.
    pub shards: usize,
}

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The executors or the sockets cannot be had.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The cache directory cannot be used.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// The connection to the operating system's facilities failed.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// What is told to who started the node.
#[derive(Clone, Copy)]
pub struct Tell {
    /// All shards answer.
    pub ready: fn(Ready),
    /// A shard could not start; the process cannot go on.
    pub failed: fn(Error) -> !,
}

/// Runs a node until it is told to end by a signal.
///
/// # Errors
/// What kept it from starting.
pub fn run(options: Options, tell: Tell) -> Result<(), Error> {
    let shards = options.runtime.shards;
    // Held until the last shard has ended.
    let directory = match options.is_cached() {
        true => match Directory::lock(&options.cache_dir, options.cache_bytes) {
            // Said by who checked the machine; a restart on a full disk is to serve all the same.
            Err(storage::Error::NotNow { .. }) => None,
            locked => Some(locked?),
        },
        false => None,
    };
    let media = Bound::all(options.listen, shards)?;
    let admin = Bound::all(options.admin, 1)?;
    let demo = match options.demo {
        true => Bound::all(demo_origin::ADDRESS, 1)?,
        false => Vec::new(),
    };
    let ready = Ready { listen: media[0].local_addr(), admin: admin[0].local_addr(), shards };
    let mut start = Start {
        sockets: Arc::new(Sockets { media, admin, demo }),
        mesh: Mesh::new(shards, MAILBOX),
        signals: Signals::install(shards)?,
        roots: net::Roots::load(),
        format: directory.as_ref().map(Directory::format),
        together: Together::new(shards),
        starting: Arc::new(AtomicUsize::new(shards)),
        ready,
        tell,
        options,
    };
    if let Some(demo) = start.sockets.demo.first() {
        start.options.origins.push(demo_origin::origin(demo.local_addr().port()));
    }
    runtime::run(start.options.runtime.clone(), move |id| shard_main(start.clone(), id))?;
    Ok(())
}

/// How long a connection that comes while the node drains may say nothing.
const LATE_PATIENCE: Duration = Duration::from_secs(1);

/// How long responses have that were cut at the end of the grace: what was made is written, unless
/// the client takes nothing.
const CUT_PATIENCE: Duration = Duration::from_secs(1);

/// Connections of the operator, on the one shard that has its door. Apart from those of clients, so
/// that nobody in front of the other door can shut it.
const OPERATORS: usize = 32;

/// How many clients are told at a time, on each shard, that there are too many.
const TURNED_AWAY_AT_ONCE: usize = 64;

/// What every shard gets to begin with.
#[derive(Clone)]
struct Start {
    options: Options,
    sockets: Arc<Sockets>,
    mesh: Mesh<Mail>,
    signals: Signals,
    roots: net::Roots,
    /// Which cache there is, where there is one.
    format: Option<Format>,
    /// Shards that have not read their part of it yet.
    together: Together,
    /// Shards that do not answer yet.
    starting: Arc<AtomicUsize>,
    ready: Ready,
    tell: Tell,
}

/// The listening sockets. Clients come to every shard, the operator and the demo to the first.
struct Sockets {
    media: Vec<Bound>,
    admin: Vec<Bound>,
    demo: Vec<Bound>,
}

impl Sockets {
    fn of(&self, id: ShardId) -> std::io::Result<Vec<(Door, TcpListener)>> {
        let own = usize::from(id.0);
        let bound = [(Door::Media, self.media.get(own)), (Door::Admin, self.admin.get(own))];
        let bound = bound.into_iter().filter_map(|(door, bound)| Some((door, bound?)));
        bound.map(|(door, bound)| Ok((door, bound.try_clone()?.listener()?))).collect()
    }
}

async fn shard_main(start: Start, id: ShardId) {
    let tell = start.tell;
    if let Err(error) = live(start, id).await {
        (tell.failed)(error);
    }
}

/// One shard from its start to its end.
async fn live(start: Start, id: ShardId) -> Result<(), Error> {
    let options = &start.options;
    let mut signals = start.signals.on(id)?;
    let mailbox = start.mesh.join(id).await;
    let cache = start.format.map_or(Cache::Off, Cache::Sized);
    let life = Life::begin(options, cache, &start.roots, mailbox, &start.together).await?;
    let shard = Rc::clone(&life.shard);
    let _returning = returns(&shard.pool)?;
    let prefetches = prefetches(&start, id, &shard).await;
    let prefetching = prefetches.clone().ok().map(|prefetches| {
        runtime::spawn(Queue::Background, "prefetches", prefetches.run(Rc::clone(&shard)))
    });
    let reclaiming = runtime::spawn(Queue::Background, "reclaim", reclaim(Rc::clone(&shard)));
    let telling = runtime::spawn(Queue::Background, "lines", tell_lines(Rc::clone(&shard)));
    let mut listeners = start.sockets.of(id)?;
    let desk = Desk { shard: Rc::clone(&shard), prefetches };
    let house = House::new(&start, Rc::new(desk));
    let demo = match start.sockets.demo.get(usize::from(id.0)) {
        Some(bound) => Some(House::demo(&start, bound.try_clone()?.listener()?)),
        None => None,
    };
    let closers: Vec<_> = listeners.iter().map(|(_, listener)| listener.closer()).collect();
    let accepting: Vec<_> =
        listeners.drain(..).map(|(door, listener)| house.accept(door, listener)).collect();
    start.answers();

    while signals.next().await != Signal::Drain {
        tracing::warn!("the configuration is not read again by this version: restart the node");
    }
    tracing::info!(shard = id.0, "draining");
    shard.drain();
    house.drain();
    if let Some(prefetching) = prefetching {
        house.prefetches().into_iter().for_each(|prefetches| prefetches.close());
        // It has ended or it panicked; either was logged.
        let _ = prefetching.await;
    }
    let deadline = runtime::now() + options.shutdown_grace;
    house.empty(&shard.cut, options.shutdown_grace).await;
    shard.farewell(deadline.saturating_duration_since(runtime::now())).await;
    closers.iter().for_each(runtime::Closer::close);
    for task in accepting {
        // It has ended or it panicked; either was logged.
        let _ = task.await;
    }
    drop((demo, reclaiming, telling));
    if let Err(error) = life.end().await {
        tracing::warn!(%error, "the cache cannot be made durable");
    }
    Ok(())
}

/// The queue of prefetches, on the shard of the operator's listener; or why there is none. What is
/// wrong with its journal keeps no node from serving.
async fn prefetches(
    start: &Start,
    id: ShardId,
    shard: &Shard,
) -> Result<Rc<Prefetches>, &'static str> {
    if usize::from(id.0) >= start.sockets.admin.len() {
        return Err("is the operator's");
    }
    let options = &start.options;
    if start.format.is_none() {
        return Err("needs a cache, and it is off");
    }
    let libraries = options.libraries.iter().map(|library| library.name.clone()).collect();
    let prefetches = prefetch::Options {
        limits: options.prefetch,
        lists: options.lists,
        journal_bytes: queue_bytes(options.cache_bytes),
    };
    let opened = Prefetches::open(&options.cache_dir, prefetches, libraries).await;
    opened.map_err(|error| {
        tracing::error!(shard = shard.id.0, %error, "nothing is prefetched");
        "has no journal that can be used, see the log"
    })
}

impl Options {
    fn is_cached(&self) -> bool {
        self.cache_bytes > 0
    }
}

impl Start {
    /// Counts this shard as one that answers; the last one says that the node is ready.
    fn answers(&self) {
        if self.starting.fetch_sub(1, Ordering::AcqRel) == 1 {
            (self.tell.ready)(self.ready);
        }
    }
}

/// The connections of one shard's clients.
struct House {
    handler: Handler,
    connection: connection::Options,
    sockets: SocketOptions,
    /// How many there may be.
    most: usize,
    gate: Gate,
    /// Those among them that came by the operator's door, which are not of `most`.
    operators: Gate,
    /// Those above that, who are being told.
    turned_away: Gate,
    draining: Event,
    drains: std::cell::Cell<bool>,
    tasks: RefCell<Slab<Option<Task<()>>>>,
}

/// What answers the requests of a house.
enum Handler {
    Shard(Rc<Desk>),
    Demo(demo_origin::Files),
}

impl House {
    fn new(start: &Start, desk: Rc<Desk>) -> Rc<Self> {
        let options = &start.options;
        let most = options.connections.div_ceil(options.runtime.shards);
        let gate = desk.shard.connections.clone();
        Rc::new(Self { gate, ..Self::of(Handler::Shard(desk), options, most) })
    }

    /// The demo's origin has a house of its own, which lives as long as the node.
    fn demo(start: &Start, listener: TcpListener) -> Task<()> {
        let house = Rc::new(Self::of(
            Handler::Demo(demo_origin::Files::new()),
            &start.options,
            demo_origin::CONNECTIONS,
        ));
        house.accept(Door::Media, listener)
    }

    fn of(handler: Handler, options: &Options, most: usize) -> Self {
        Self {
            handler,
            connection: options.connection,
            sockets: options.sockets,
            most,
            gate: Gate::default(),
            operators: Gate::default(),
            turned_away: Gate::default(),
            draining: Event::new(),
            drains: std::cell::Cell::new(false),
            tasks: RefCell::default(),
        }
    }

    fn prefetches(&self) -> Option<&Rc<Prefetches>> {
        match &self.handler {
            Handler::Shard(desk) => desk.prefetches.as_ref().ok(),
            Handler::Demo(_) => None,
        }
    }

    fn accept(self: &Rc<Self>, door: Door, listener: TcpListener) -> Task<()> {
        let house = Rc::clone(self);
        runtime::spawn(Queue::Io, "accept", async move {
            let address = listener.local_addr();
            if let Err(error) = listener.serve(|stream, _peer| house.take(door, stream)).await {
                tracing::error!(%address, %error, "no more connections are accepted");
            }
        })
    }

    /// One more connection, unless there are too many.
    fn take(self: &Rc<Self>, door: Door, stream: TcpStream) {
        let Some(pass) = self.admit(door) else { return self.turn_away(stream) };
        if stream.set(self.sockets).is_err() {
            return; // Gone already.
        }
        if let Handler::Shard(desk) = &self.handler {
            desk.shard.stats.borrow_mut().connections += 1;
        }
        let slot = self.tasks.borrow_mut().insert(None);
        let leaving = Leaving { house: Rc::clone(self), slot, _passes: pass };
        let conversation = Rc::clone(self).converse(door, stream, leaving);
        let task = runtime::spawn(Queue::Io, "connection", conversation);
        self.tasks.borrow_mut()[slot] = Some(task);
    }

    /// Lets one more in by `door`, unless those who came by it are too many already.
    fn admit(&self, door: Door) -> Option<(Pass, Option<Pass>)> {
        let pass = self.gate.enter()?;
        let operators = self.operators.inside();
        match door {
            Door::Admin if operators < OPERATORS => Some((pass, self.operators.enter())),
            Door::Media if self.gate.inside() - operators <= self.most => Some((pass, None)),
            _ => None,
        }
    }

    /// Tells a client that the node is full, as long as that is cheap: who comes in a flood of
    /// thousands just finds its connection closed.
    fn turn_away(&self, stream: TcpStream) {
        if let Handler::Shard(desk) = &self.handler {
            desk.shard.refused(Reason::Connections);
        }
        let pass = self.turned_away.enter();
        let Some(pass) = pass.filter(|_| self.turned_away.inside() <= TURNED_AWAY_AT_ONCE) else {
            return;
        };
        let farewell = async move {
            connection::turn_away(stream, Time::SHARD).await;
            drop(pass);
        };
        runtime::spawn(Queue::Io, "turn-away", farewell).detach();
    }

    async fn converse(self: Rc<Self>, door: Door, stream: TcpStream, _leaving: Leaving) {
        let house = Rc::clone(&self);
        let handler = move |request| -> Answer {
            match &house.handler {
                Handler::Shard(desk) => Box::pin(http::handle(Rc::clone(desk), door, request)),
                Handler::Demo(files) => Box::pin(std::future::ready(Ok(files.handle(&request)))),
            }
        };
        let mut options = self.connection;
        let draining: Pin<Box<dyn Future<Output = ()>>> = match self.drains.get() {
            false => {
                let (drained, came) = (self.draining.listen(), runtime::now());
                // Who has just come may be about to ask: it gets an answer too.
                Box::pin(async move {
                    drained.await;
                    runtime::sleep(LATE_PATIENCE.saturating_sub(came.elapsed())).await;
                })
            }
            // Who comes now is told, by an answer that closes the connection; who says nothing has
            // no long wait.
            true => {
                options.patience.idle_timeout = options.patience.idle_timeout.min(LATE_PATIENCE);
                Box::pin(std::future::pending())
            }
        };
        let end = connection::serve(stream, options, Time::SHARD, draining, handler).await;
        tracing::trace!(?end, "a connection ended");
    }

    /// Requests in progress become the last ones of their connections.
    fn drain(&self) {
        self.drains.set(true);
        self.draining.notify_all();
    }

    /// Waits until all connections have ended. After `grace` the responses that still run end on the
    /// boundary of a block (RULES 32), and those whose clients do not take even that much are cut.
    async fn empty(&self, cut: &Cut, grace: Duration) {
        if runtime::timeout(grace, self.gate.empty()).await.is_ok() {
            return;
        }
        cut.make();
        if runtime::timeout(CUT_PATIENCE, self.gate.empty()).await.is_err() {
            let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
            drop(tasks);
            self.gate.empty().await;
        }
        tracing::warn!(responses = cut.responses(), "cut short: they did not finish in the grace");
    }
}

/// What a connection leaves behind when it ends: nothing.
struct Leaving {
    house: Rc<House>,
    slot: usize,
    _passes: (Pass, Option<Pass>),
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // A task cannot cancel itself: its handle is let go, which then has nothing to cancel.
        let task = self
            .house
            .tasks
            .try_borrow_mut()
            .ok()
            .and_then(|mut tasks| tasks.try_remove(self.slot).flatten());
        if let Some(task) = task {
            task.detach();
        }
    }
}
