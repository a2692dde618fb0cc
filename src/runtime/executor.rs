//! Starting the shards: one pinned executor thread per core.

use std::{
    any::Any,
    cell::Cell,
    ffi::CString,
    fmt,
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    process,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use glommio::{
    CpuSet, GlommioError, LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement,
};
use rustix::{
    process::{Resource, getrlimit, setrlimit},
    thread::{sched_getaffinity, set_name},
};

use super::{
    Error, clock, panics, queue,
    rescue::{self, Begun, Counted},
    spawn,
};

/// The number of a shard, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How long a queue runs before another may: with slices of 200 us it bounds what a request waits.
const PREEMPT_TIMER: Duration = Duration::from_micros(250);
/// Entries of each of a shard's three rings. A full ring delays submission, it loses nothing.
const RING_ENTRIES: usize = 256;
/// Memory each shard registers with its rings. It counts three times against the limit on locked
/// memory, once per ring; DMA buffers beyond it are ordinary memory.
const RING_MEMORY_BYTES: usize = 256 << 10;
/// Locked memory one shard needs: three registrations and the rings themselves.
const LOCKED_BYTES_PER_SHARD: u64 = 3 * RING_MEMORY_BYTES as u64 + (256 << 10);
/// What the process exits with when a shard's main future panics (`EX_SOFTWARE`).
const EXIT_PANICKED: i32 = 70;

/// How the shards are started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Shards, one CPU each.
    pub shards: usize,
    /// Threads per shard for calls that block: name resolution and file system metadata.
    pub blocking_threads: usize,
    /// Lets shards share CPUs when there are more of them. Only tests want that.
    pub oversubscribe: bool,
}

impl Default for Options {
    /// One shard per CPU this process may use; 2 blocking threads each, since a name that does not
    /// resolve holds one for seconds.
    fn default() -> Self {
        let shards = allowed_cpus().map_or(1, |cpus| cpus.len());
        Self { shards, blocking_threads: 2, oversubscribe: false }
    }
}

/// Starts one pinned executor per shard, runs `main` on each, and waits until all have ended. A task
/// that still lives when `main` returns is cancelled, and dropped while its executor is there.
///
/// A panic that reaches a shard's main future ends the process with status 70: the other shards
/// would go on without the data that shard owned.
///
/// # Errors
///
/// Before `main` has run anywhere: what is missing, with its remedy.
pub fn run<F, Fut>(options: Options, main: F) -> Result<(), Error>
where
    F: Fn(ShardId) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let cpus = allowed_cpus()?;
    check(&options, cpus.len())?;
    probe(options.shards)?;
    panics::install_hook();
    rescue::install_interrupt().map_err(Error::System)?;
    let mut threads = Vec::with_capacity(options.shards);
    for shard in 0..options.shards {
        let start = Start {
            id: ShardId(shard as u16),
            cpu: cpus[shard % cpus.len()],
            cpus: cpus.clone(),
            blocking_threads: options.blocking_threads.max(1),
        };
        threads.push(start.thread(main.clone())?);
    }
    threads.iter().for_each(|(thread, begun)| rescue::see_it_begin(thread, begun));
    threads.into_iter().try_for_each(|(thread, _)| match thread.join() {
        Ok(ended) => ended,
        // The shard's thread has reported the panic and is ending the process.
        Err(payload) => abort("a shard", payload.as_ref()),
    })
}

/// Checks that `shards` executors can run here: io_uring is there and enough memory may be locked.
/// Raises the soft limit on locked memory to the hard one where that helps.
///
/// # Errors
///
/// What is missing, with its remedy.
pub fn probe(shards: usize) -> Result<(), Error> {
    // glommio panics without io_uring, so this ring of our own asks first.
    io_uring::IoUring::new(2)
        .map_err(|source| Error::IoUring { remedy: remedy(&source), source })?;
    let needed = locked_bytes(shards);
    let mut limits = getrlimit(Resource::Memlock);
    if limits.current.is_none_or(|soft| soft >= needed) {
        return Ok(());
    }
    if let Some(limit) = limits.maximum.filter(|hard| *hard < needed) {
        return Err(Error::Memlock { limit, needed });
    }
    limits.current = limits.maximum;
    setrlimit(Resource::Memlock, limits).map_err(|errno| Error::System(errno.into()))
}

/// Locked memory that so many shards need, in bytes.
pub fn locked_bytes(shards: usize) -> u64 {
    LOCKED_BYTES_PER_SHARD * shards as u64
}

/// Memory that each of so many shards may lock beyond what it needs, in bytes: of what is left to this
/// user, one half, since other processes count against the same limit.
pub fn lockable_bytes(shards: usize) -> u64 {
    let Some(limit) = getrlimit(Resource::Memlock).current else { return u64::MAX };
    limit.saturating_sub(locked_bytes(shards)) / 2 / shards as u64
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "it is forbidden here; set sysctl kernel.io_uring_disabled=0, and in a container use a \
             seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register"
        }
        io::ErrorKind::Unsupported => {
            "this kernel is built without it; Linux 5.8 or newer is needed"
        }
        io::ErrorKind::OutOfMemory => "raise the limit on locked memory (`ulimit -l`)",
        _ => "Linux 5.8 or newer is needed",
    }
}

fn check(options: &Options, cpus: usize) -> Result<(), Error> {
    let shards = options.shards;
    match shards {
        0 => Err(Error::NoShards),
        _ if shards > cpus && !options.oversubscribe => Err(Error::TooManyShards { shards, cpus }),
        _ if shards > usize::from(u16::MAX) => Err(Error::TooManyShards { shards, cpus }),
        _ => Ok(()),
    }
}

/// The CPUs in the affinity mask of this thread, sorted: `taskset` and cpusets are honoured.
fn allowed_cpus() -> Result<Vec<usize>, Error> {
    let mask = sched_getaffinity(None).map_err(|errno| Error::System(errno.into()))?;
    let cpus = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu));
    Ok(cpus.collect())
}

/// A shard's thread, and what it says of its beginning.
type Shard = (JoinHandle<Result<(), Error>>, mpsc::Receiver<Begun>);

/// All that one shard's thread needs to begin.
struct Start {
    id: ShardId,
    cpu: usize,
    cpus: Vec<usize>,
    blocking_threads: usize,
}

impl Start {
    fn thread<F, Fut>(self, main: F) -> Result<Shard, Error>
    where
        F: Fn(ShardId) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let (tell, begun) = mpsc::channel();
        let thread = thread::Builder::new()
            .name(format!("kithara-shard-{}", self.id))
            .spawn(move || {
                let executor = self.executor()?;
                SHARD.set(Some(self.id));
                // Whoever started the shard listens, or is gone with the process.
                let _ = tell.send(Begun::Executor);
                let life = Counted::new(live(self.id, tell, main));
                let life = catch_unwind(AssertUnwindSafe(|| executor.run(life)));
                life.map_err(|payload| abort(&format!("shard {}", self.id), payload.as_ref()))
            })
            .map_err(Error::System)?;
        Ok((thread, begun))
    }

    /// The executor, with a blocking pool that may use every allowed core.
    fn executor(&self) -> Result<LocalExecutor, Error> {
        let pool = CpuSet::online().map_err(system)?.filter(|at| self.cpus.contains(&at.cpu));
        // The pool's threads are made inside `make` and inherit the name this thread then has.
        rename(&format!("kithara-pool-{}", self.id));
        let executor = LocalExecutorBuilder::new(Placement::Fixed(self.cpu))
            .preempt_timer(PREEMPT_TIMER)
            .ring_depth(RING_ENTRIES)
            .io_memory(RING_MEMORY_BYTES)
            .blocking_thread_pool_placement(PoolPlacement::Fenced(self.blocking_threads, pool))
            .make()
            .map_err(system)?;
        rename(&format!("kithara-shard-{}", self.id));
        Ok(executor)
    }
}

thread_local! {
    static SHARD: Cell<Option<ShardId>> = const { Cell::new(None) };
}

impl ShardId {
    /// The shard this thread runs, if it runs one.
    pub fn current() -> Option<Self> {
        SHARD.get()
    }
}

async fn live<F, Fut>(id: ShardId, tell: mpsc::Sender<Begun>, main: F)
where
    F: Fn(ShardId) -> Fut,
    Fut: Future<Output = ()>,
{
    queue::create();
    rescue::start().await;
    let _ = tell.send(Begun::Bell);
    rescue::backstop();
    // The first sleep of an executor is up to 20 ms late; it is spent here.
    clock::sleep(Duration::from_millis(1)).await;
    main(id).await;
    spawn::end_all().await;
}

/// Ends the process after a panic that nothing contained; the hook has printed it.
fn abort(who: &str, payload: &(dyn Any + Send)) -> ! {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    give_up(&format!("{who} panicked"), text.unwrap_or("no message"))
}

/// Ends the process, since a part of it has ended that nothing goes on without.
pub fn give_up(what: &str, why: &str) -> ! {
    eprintln!("kithara: {what} ({why}); the node cannot go on");
    process::exit(EXIT_PANICKED)
}

/// Names this thread as `/proc` shows it, which keeps 15 bytes.
fn rename(name: &str) {
    let short = if name.len() > 15 { name.trim_start_matches("kithara-") } else { name };
    if let Ok(name) = CString::new(short) {
        // A thread without a name works as well.
        let _ = set_name(&name);
    }
}

fn system(error: GlommioError<()>) -> Error {
    Error::System(error.into())
}

#[cfg(test)]
mod tests {
    use std::{fs, rc::Rc};

    use super::*;
    use crate::runtime::{self, Queue, blocking, event::Event, sleep, spawn};

    fn shards(shards: usize) -> Options {
        Options { shards, blocking_threads: 2, oversubscribe: true }
    }

    /// Name and a field of `status` of every thread of this process.
    fn threads(field: &str) -> Vec<(String, String)> {
        let tasks = fs::read_dir("/proc/self/task").expect("procfs is mounted");
        let status =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
        let value = |status: &str, name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        status
            .filter_map(|status| Some((value(&status, "Name:")?, value(&status, field)?)))
            .collect()
    }

    #[test]
    fn a_shard_runs_on_one_cpu_and_its_blocking_pool_on_all() {
        run(shards(1), |_| async {
            let own: Vec<_> = fs::read_to_string("/proc/thread-self/status")
                .expect("procfs is mounted")
                .lines()
                .filter_map(|line| line.strip_prefix("Cpus_allowed_list:\t"))
                .map(str::to_owned)
                .collect();
            assert!(own[0].parse::<usize>().is_ok(), "a shard may run on {own:?}");
            let pool = blocking(|| sched_getaffinity(None).expect("a thread has a mask").count());
            let all = allowed_cpus_of_process();
            assert_eq!(pool.await.expect("it did not panic") as usize, all);
        })
        .expect("a shard starts");
    }

    fn allowed_cpus_of_process() -> usize {
        let pid = rustix::process::getpid();
        sched_getaffinity(Some(pid)).expect("a process has a mask").count() as usize
    }

    #[test]
    fn more_shards_than_cpus_are_refused() {
        let options = Options { shards: 4096, ..Options::default() };
        assert!(matches!(run(options, |_| async {}), Err(Error::TooManyShards { .. })));
        let options = Options { shards: 0, ..Options::default() };
        assert!(matches!(run(options, |_| async {}), Err(Error::NoShards)));
    }

    #[test]
    fn panics_in_tasks_and_on_the_pool_leave_the_shard_alive() {
        run(shards(1), |_| async {
            for _ in 0..3 {
                let task = spawn(Queue::Decode, "breaks", async { panic!("on purpose") });
                assert_eq!(task.await, Err::<(), _>(runtime::Panicked { name: "breaks" }));
                let call = blocking(|| -> () { panic!("on purpose") }).await;
                assert!(call.is_err());
                assert_eq!(blocking(|| 7).await, Ok(7));
            }
        })
        .expect("a shard starts");
    }

    /// glommio keeps a result that nobody takes for ever, and what it holds with it.
    #[test]
    fn the_result_of_a_blocking_call_that_nobody_waits_for_is_dropped() {
        struct Tell(mpsc::Sender<()>);
        impl Drop for Tell {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (sender, dropped) = mpsc::channel();
        run(shards(1), move |_| {
            let tell = Tell(sender.clone());
            async move {
                let (release, released) = mpsc::channel();
                let call = blocking(move || {
                    let _ = released.recv();
                    tell
                });
                assert!(runtime::timeout(Duration::from_millis(5), call).await.is_err());
                release.send(()).expect("the call waits");
                // The pool's thread is the same for the next one.
                while blocking(|| ()).await.is_err() {}
            }
        })
        .expect("a shard starts");
        assert_eq!(dropped.recv_timeout(Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn a_cancelled_task_is_dropped_on_its_own_shard() {
        struct Tell(mpsc::Sender<thread::ThreadId>);
        impl Drop for Tell {
            fn drop(&mut self) {
                let _ = self.0.send(thread::current().id());
            }
        }
        let (sender, dropped) = mpsc::channel();
        let (here, shard) = mpsc::channel();
        run(shards(1), move |_| {
            let (tell, here) = (Tell(sender.clone()), here.clone());
            async move {
                here.send(thread::current().id()).expect("the test listens");
                let task = spawn(Queue::Io, "waits", async move {
                    let _tell = tell;
                    std::future::pending::<()>().await;
                });
                sleep(Duration::from_millis(2)).await;
                assert!(task.cancel().await.is_none());
            }
        })
        .expect("a shard starts");
        assert_eq!(dropped.recv(), Ok(shard.recv().expect("the shard ran")));
    }

    /// What it holds needs the executor to be dropped, as sockets and tasks do.
    #[test]
    fn no_task_outlives_the_main_future_of_its_shard() {
        struct Tell(mpsc::Sender<&'static str>, &'static str);
        impl Drop for Tell {
            fn drop(&mut self) {
                drop(spawn(Queue::Io, "needs the executor", async {}));
                let _ = self.0.send(self.1);
            }
        }
        let (sender, dropped) = mpsc::channel();
        run(shards(1), move |_| {
            let tell = |what| Tell(sender.clone(), what);
            let tells = [tell("held"), tell("detached"), tell("cancelled"), tell("new")];
            async move {
                let waits = |tell| async move {
                    let _tell = tell;
                    std::future::pending::<()>().await;
                };
                let [held, detached, cancelled, new] = tells.map(waits);
                let holds = spawn(Queue::Decode, "holds", held);
                let outer = async move {
                    let _holds = holds;
                    detached.await;
                };
                spawn(Queue::Background, "detached", outer).detach();
                let task = spawn(Queue::Io, "cancelled", cancelled);
                sleep(Duration::from_millis(2)).await;
                drop(task);
                spawn(Queue::Io, "new", new).detach();
            }
        })
        .expect("a shard starts");
        let mut dropped: Vec<_> = dropped.try_iter().collect();
        dropped.sort_unstable();
        assert_eq!(dropped, ["cancelled", "detached", "held", "new"]);
    }

    #[test]
    fn the_first_sleep_of_a_main_future_is_not_late() {
        let (sender, took) = mpsc::channel();
        run(shards(1), move |_| {
            let sender = sender.clone();
            async move {
                let began = runtime::now();
                sleep(Duration::from_millis(2)).await;
                sender.send(began.elapsed()).expect("the test listens");
            }
        })
        .expect("a shard starts");
        let took = took.recv().expect("the shard ran");
        assert!(took < Duration::from_millis(18), "it took {took:?}");
    }

    #[test]
    fn idle_shards_do_not_wake_up() {
        let (sender, samples) = mpsc::channel();
        run(shards(2), move |shard| {
            let sender = sender.clone();
            async move {
                let sample = || {
                    let text = fs::read_to_string("/proc/thread-self/status").expect("procfs");
                    let line =
                        text.lines().find(|l| l.starts_with("voluntary_ctxt")).expect("line");
                    line.split_once(':').expect("value").1.trim().parse::<u64>().expect("number")
                };
                sleep(Duration::from_millis(50)).await;
                let before = sample();
                sleep(Duration::from_secs(2)).await;
                sender.send((shard, sample() - before)).expect("the test listens");
            }
        })
        .expect("shards start");
        for (shard, switches) in samples.iter().take(2) {
            println!("shard {shard}: {switches} voluntary switches in 2 s");
            // The end of the sleep, the backstop's two or three, and one or two of the kernel's.
            assert!(switches <= 6, "shard {shard} woke {switches} times in 2 s of idling");
        }
    }

    #[test]
    fn threads_are_named_after_what_they_do() {
        let (sender, seen) = mpsc::channel();
        run(shards(1), move |_| {
            let sender = sender.clone();
            async move { sender.send(threads("Cpus_allowed_list:")).expect("the test listens") }
        })
        .expect("a shard starts");
        let seen = seen.recv().expect("the shard ran");
        for name in ["kithara-shard-0", "kithara-pool-0"] {
            assert!(seen.iter().any(|(known, _)| known == name), "{name} is not in {seen:?}");
        }
    }

    /// Panics on one shard while another would run for ever: in a process of its own.
    #[test]
    fn a_shard_that_dies_takes_the_process_with_it() {
        const CHILD: &str = "KITHARA_TEST_DIES";
        if std::env::var_os(CHILD).is_some() {
            let _ = run(shards(2), |shard| async move {
                assert!(shard != ShardId(1), "on purpose");
                std::future::pending::<()>().await;
            });
            return;
        }
        let name = "runtime::executor::tests::a_shard_that_dies_takes_the_process_with_it";
        let mut child = process::Command::new(std::env::current_exe().expect("a test is a file"));
        let child = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output();
        let child = child.expect("it starts");
        let said = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.code(), Some(EXIT_PANICKED), "{said}");
        assert!(said.contains("shard 1 panicked (on purpose)"), "{said}");
    }

    /// By counts of equal pieces of work, so that a slow machine changes nothing.
    #[test]
    fn queues_that_compete_get_the_core_by_their_shares() {
        run(shards(1), |_| async {
            let work = async |done: Rc<Cell<u64>>| loop {
                let began = runtime::now();
                while began.elapsed() < Duration::from_micros(100) {}
                done.set(done.get() + 1);
                runtime::yield_if_needed().await;
            };
            let counts = [Queue::Decode, Queue::Background].map(|queue| {
                let count = Rc::new(Cell::new(0));
                (spawn(queue, "spins", work(Rc::clone(&count))), count)
            });
            let pieces = || counts.each_ref().map(|(_, count)| count.get());
            // On a machine that is busy pieces are of very different lengths: many of them.
            while pieces().iter().sum::<u64>() < 5_000 {
                sleep(Duration::from_millis(20)).await;
            }
            let [decode, background] = pieces();
            for (task, _) in counts {
                let _ = task.cancel().await;
            }
            // 200 shares to 20.
            assert!(background > 0, "the background starves");
            assert!(decode > 3 * background, "{decode} pieces to {background}");
        })
        .expect("a shard starts");
    }

    /// By pieces of decoding and not by time: a machine that is slow is slow for them as well.
    #[test]
    fn a_request_waits_for_one_slice_of_decoding_and_not_for_all_decoders() {
        const DECODERS: usize = 8;
        const REQUESTS: usize = 200;
        run(shards(1), |_| async {
            let (pieces, asked) = (Rc::new(Cell::new(0_u64)), Event::new());
            let decode = async |pieces: Rc<Cell<u64>>, asked: Event| loop {
                let began = runtime::now();
                while began.elapsed() < Duration::from_micros(50) {}
                pieces.set(pieces.get() + 1);
                if pieces.get().is_multiple_of(50) {
                    asked.notify_all();
                }
                runtime::yield_if_needed().await;
            };
            let decoders = [(); DECODERS].map(|()| {
                spawn(Queue::Decode, "decodes", decode(Rc::clone(&pieces), asked.clone()))
            });
            let requests = spawn(Queue::Io, "answers", async move {
                let mut waited = Vec::new();
                for _ in 0..REQUESTS {
                    asked.listen().await;
                    waited.push(pieces.get() % 50);
                }
                waited
            });
            let mut waited = requests.await.expect("it does not panic");
            for decoder in decoders {
                let _ = decoder.cancel().await;
            }
            waited.sort_unstable();
            // 250 us are five pieces, and one more is under way; the pieces of a round of all
            // decoders would be forty.
            let nine_in_ten = waited[REQUESTS * 9 / 10];
            println!("{nine_in_ten} pieces, at most {}", waited[REQUESTS - 1]);
            assert!(nine_in_ten <= 8, "one in ten waited for {nine_in_ten} pieces or more");
        })
        .expect("a shard starts");
    }
}
