//! The disk under the cache: storage's ring against glommio's file with its copy, and both against the raw
//! disk, as fio has it.
//!
//! `cargo bench --bench storage [-- ROUNDS] [reads|fills|beside|hits]... [plain]`. Wants some GiB beside the
//! target directory, on the file system that is to be measured. Where fio is not installed, or with `plain`,
//! the raw disk is what plain io_uring gives. All arms take turns in each round, so what else the machine
//! does falls on all of them; ratios are medians of the rounds' ratios.

// What a shard found comes home to the thread that started it.
#![allow(clippy::disallowed_types)]

use std::{
    cell::{Cell, RefCell},
    fs,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    process::Command,
    rc::Rc,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kithara::{
    bufpool::{self, BufPool},
    runtime::{self, Queue},
    shard::ShardDisk,
    storage::{
        Device, Disk, Format, Generation, ObjectId, Options, Said, StreamingResource, Unopened,
        VolumeIndex, Volumes, policy,
    },
};
use kithara_bench::{
    Scratch, Table, median,
    plain::{self, Direction},
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const CHUNK: u64 = 64 * KIB;
/// The file that is read from and overwritten.
const FILE_BYTES: u64 = 512 * MIB;
/// How long one arm has its turn.
const TURN: Duration = Duration::from_millis(1500);
/// Chunks that are read together, and how many of these at a time: what one listener, and what a crowd
/// asks of a disk.
const READS: [(u64, usize); 3] = [(1, 8), (1, 32), (4, 8)];

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let rounds = words.iter().find_map(|word| word.parse().ok()).unwrap_or(7);
    let parts = ["reads", "fills", "beside", "hits"];
    let named = |part: &str| words.iter().any(|word| word == part);
    let wants = |part: &str| named(part) || !parts.into_iter().any(named);
    let scratch = Scratch::new("storage");
    let file = scratch.path().join("file");
    let raw = if named("plain") { Raw::Plain } else { Raw::found() };
    println!("the raw disk is by {}\n", raw.name());
    raw.write(&file, MIB, 4);
    if wants("reads") {
        reads(raw, &file, scratch.path(), rounds);
    }
    if wants("fills") {
        fills(raw, &file, scratch.path(), rounds);
    }
    if wants("beside") {
        readers_beside_a_fill(scratch.path(), rounds);
    }
    if wants("hits") {
        hits(scratch.path());
    }
}

// ---- reading ----

/// Who reads.
#[derive(Clone, Copy)]
enum Arm {
    Raw,
    /// The file by a device.
    File(Kind),
    /// An object by its resource, on the ring: found in the catalog, its checksums verified.
    Object,
}

const ARMS: [(&str, Arm); 5] = [
    ("raw", Arm::Raw),
    ("ring", Arm::File(Kind::Ring)),
    ("ring, nothing locked", Arm::File(Kind::Plain)),
    ("glommio and a copy", Arm::File(Kind::Dma)),
    ("ring, verified", Arm::Object),
];

fn reads(raw: Raw, file: &Path, dir: &Path, rounds: usize) {
    println!("random reads of a file of {} MiB, 0.95 of raw asked\n", FILE_BYTES / MIB);
    let table = Table::new(
        34,
        ["what", "MB/s", "of raw", "CPU us/MB", "of raw", "p50 us", "p99 us", "of raw"],
    );
    let cache = empty(dir);
    let filled = cache.clone();
    on_shard(Kind::Ring, async move |device| fill_large(device, filled).await);
    for (chunks, depth) in READS {
        let mut runs = ARMS.map(|_| Vec::new());
        for _ in 0..rounds {
            for ((_, arm), runs) in ARMS.into_iter().zip(&mut runs) {
                runs.push(match arm {
                    Arm::Raw => raw.reads(file, chunks, depth),
                    arm => read_by(arm, file, &cache, chunks, depth),
                });
            }
        }
        for ((arm, _), own) in ARMS.into_iter().zip(&runs) {
            let of = |value: fn(&Run) -> f64| {
                let middle = median(own.iter().map(value).collect());
                let ratio = own.iter().zip(&runs[0]).map(|(own, raw)| value(own) / value(raw));
                (format!("{middle:.0}"), format!("{:.2}", median(ratio.collect())))
            };
            let (speed, speed_ratio) = of(|run| run.mb_per_second);
            let (cpu, cpu_ratio) = of(|run| run.cpu_us_per_mb);
            let (p50, p99) = (of(|run| run.p50_us).0, of(|run| run.p99_us));
            let name = format!("{} KiB, {depth} at a time, {arm}", chunks * 64);
            table.row([name, speed, speed_ratio, cpu, cpu_ratio, p50, p99.0, p99.1]);
        }
    }
}

fn read_by(arm: Arm, file: &Path, cache: &Path, chunks: u64, depth: usize) -> Run {
    let (file, cache) = (file.to_owned(), cache.to_owned());
    match arm {
        Arm::Raw => unreachable!("it is no device"),
        Arm::File(kind) => on_shard(kind, async move |device| {
            let pool = pool(64);
            let (disk, _) = device.open(&file, FILE_BYTES).await.expect("it is there");
            let read = async move |position| joined(&disk, position, chunks, &pool).await;
            read_turn(read, FILE_BYTES, chunks, depth).await
        }),
        Arm::Object => on_shard(Kind::Ring, async move |device| {
            let volumes = volumes(&device, cache, 64).await;
            // Each read is one of the disk.
            volumes.limit_tier(0);
            let resource = volumes.find(ObjectId(1)).expect("it was filled");
            let read = async move |position| {
                let read = |chunk| resource.read_at(position + chunk * CHUNK, CHUNK as usize);
                for read in all((0..chunks).map(read)).await {
                    read.expect("the disk gives it").expect("it is there");
                }
            };
            read_turn(read, LARGE_BYTES, chunks, depth).await
        }),
    }
}

/// Leaves an object in a cache.
async fn fill_large(device: Device, cache: PathBuf) {
    let volumes = volumes(&device, cache, 64).await;
    let upkeep = Upkeep::start(&volumes);
    let resource = volumes.create(ObjectId(1), Generation(1));
    resource.set_length(LARGE_BYTES).expect("it has none yet");
    // What has no head is of no use, and does not outlive its user.
    resource.set_head(b"head", Said::default());
    write(&resource, 0..LARGE_BYTES, None).await;
    resource.flush().await;
    resource.commit().expect("all is there");
    drop(resource);
    upkeep.end(&volumes).await;
}

/// One arm in one round.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    mb_per_second: f64,
    cpu_us_per_mb: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Run {
    fn of(bytes: u64, took: Duration, cpu: Duration, mut each: Vec<u32>) -> Self {
        each.sort_unstable();
        let at = |part: f64| f64::from(each[((each.len() - 1) as f64 * part) as usize]) / 1e3;
        let megabytes = bytes as f64 / 1e6;
        Self {
            mb_per_second: megabytes / took.as_secs_f64(),
            cpu_us_per_mb: cpu.as_secs_f64() * 1e6 / megabytes,
            p50_us: at(0.5),
            p99_us: at(0.99),
        }
    }
}

/// Has `depth` readers read at random places of `bytes` bytes.
async fn read_turn(
    read: impl AsyncFn(u64) + 'static,
    bytes: u64,
    chunks: u64,
    depth: usize,
) -> Run {
    let (began, before, read) = (Instant::now(), cpu(), Rc::new(read));
    let readers: Vec<_> = (0..depth as u64)
        .map(|seed| {
            let read = Rc::clone(&read);
            runtime::spawn(Queue::Io, "reader", async move {
                let (mut random, mut each) = (seed + 1, Vec::new());
                while began.elapsed() < TURN {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let position = random % (bytes / CHUNK / chunks) * CHUNK * chunks;
                    let asked = Instant::now();
                    read(position).await;
                    each.push(asked.elapsed().as_nanos() as u32);
                }
                each
            })
        })
        .collect();
    let mut each = Vec::new();
    for reader in readers {
        each.extend(reader.await.expect("it does not panic"));
    }
    let bytes = each.len() as u64 * chunks * CHUNK;
    Run::of(bytes, began.elapsed(), cpu() - before, each)
}

/// Neighbouring chunks, asked for at once.
async fn joined(disk: &Disk, position: u64, chunks: u64, pool: &BufPool) {
    let read = |chunk| disk.read(position + chunk * CHUNK, CHUNK as usize, pool);
    all((0..chunks).map(read)).await.into_iter().for_each(|read| drop(read.expect("it is there")));
}

async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut ended = Vec::new();
    std::future::poll_fn(move |context| {
        waiting.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => {
                ended.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        match waiting.is_empty() {
            true => std::task::Poll::Ready(std::mem::take(&mut ended)),
            false => std::task::Poll::Pending,
        }
    })
    .await
}

// ---- writing ----

/// What a fill writes at a time, whole chunks as they come from an origin.
const OBJECT_BYTES: u64 = 4 * MIB;
const OBJECTS: u64 = 64;
/// Fills at a time.
const FILLS: u64 = 4;

fn fills(disk: Raw, file: &Path, dir: &Path, rounds: usize) {
    println!("\n{OBJECTS} objects of {} MiB, {FILLS} at a time, MB/s\n", OBJECT_BYTES / MIB);
    let table = Table::new(24, ["what", "growing", "of raw", "grown", "of raw", "CPU us/MB"]);
    let mut raw = Vec::new();
    let mut runs = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        raw.push(disk.write(file, 256 * KIB, 8));
        for (arm, kind) in [Kind::Ring, Kind::Dma].into_iter().enumerate() {
            let cache = empty(dir);
            runs[arm].push(on_shard(kind, move |device| fill_turn(device, cache)));
        }
    }
    let middle = median(raw.clone());
    table.row([
        "raw, 256 KiB, 8 deep".to_owned(),
        "-".into(),
        "-".into(),
        format!("{middle:.0}"),
        "1.00".into(),
        "-".into(),
    ]);
    for (name, own) in ["ring", "glommio and a copy"].into_iter().zip(&runs) {
        let speed = |of: fn(&Fill) -> f64| {
            let ratio = own.iter().zip(&raw).map(|(own, raw)| of(own) / raw);
            let middle = median(own.iter().map(of).collect());
            (format!("{middle:.0}"), format!("{:.2}", median(ratio.collect())))
        };
        let (growing, growing_ratio) = speed(|fill| fill.growing);
        let (grown, grown_ratio) = speed(|fill| fill.grown);
        let cpu = median(own.iter().map(|fill| fill.cpu_us_per_mb).collect());
        let cpu = format!("{cpu:.0}");
        table.row([name.to_owned(), growing, growing_ratio, grown, grown_ratio, cpu]);
    }
}

/// MB/s of filling a volume that grows, and one that has grown.
struct Fill {
    growing: f64,
    grown: f64,
    cpu_us_per_mb: f64,
}

async fn fill_turn(device: Device, cache: PathBuf) -> Fill {
    let volumes = volumes(&device, cache, 64).await;
    let upkeep = Upkeep::start(&volumes);
    let growing = fill_all(&volumes).await;
    (0..OBJECTS).for_each(|object| volumes.forget(ObjectId(object.into())));
    runtime::sleep(Duration::from_millis(300)).await;
    let before = cpu();
    let grown = fill_all(&volumes).await;
    let cpu = (cpu() - before).as_secs_f64() * 1e6 / ((OBJECTS * OBJECT_BYTES) as f64 / 1e6);
    upkeep.end(&volumes).await;
    Fill { growing, grown, cpu_us_per_mb: cpu }
}

/// Fills every object, and says how many MB a second went to the disk.
async fn fill_all(volumes: &Volumes) -> f64 {
    let (began, next) = (Instant::now(), Rc::new(Cell::new(0)));
    let one_by_one = |_| {
        let (volumes, next) = (volumes.clone(), Rc::clone(&next));
        async move {
            while next.get() < OBJECTS {
                let object = next.replace(next.get() + 1);
                let resource = volumes
                    .create(ObjectId(object.into()), Generation(began.elapsed().as_nanos() as u64));
                resource.set_length(OBJECT_BYTES).expect("it has none yet");
                write(&resource, 0..OBJECT_BYTES, None).await;
                resource.flush().await;
                resource.commit().expect("all is there");
                assert!(resource.is_cached(), "the disk took it");
            }
        }
    };
    all((0..FILLS).map(one_by_one)).await;
    (OBJECTS * OBJECT_BYTES) as f64 / 1e6 / began.elapsed().as_secs_f64()
}

/// Writes a range in pieces as a socket gives them, at most so many bytes a second.
async fn write(resource: &Rc<StreamingResource>, range: std::ops::Range<u64>, pace: Option<f64>) {
    let (piece, began) = (vec![0x5A; 64 << 10], Instant::now());
    for at in range.clone().step_by(piece.len()) {
        if let Some(pace) = pace {
            let due = Duration::from_secs_f64((at - range.start) as f64 / pace);
            let early = due.saturating_sub(began.elapsed());
            if !early.is_zero() {
                runtime::sleep(early).await;
            }
        }
        while resource.write_at(at, &piece).await.is_err() {
            // The pool has no block: writes that are under way have them.
            runtime::yield_now().await;
        }
    }
}

// ---- reading what is being filled ----

const LARGE_BYTES: u64 = 128 * MIB;
/// Of the object, what is there before.
const THERE_BYTES: u64 = 64 * MIB;
/// What an origin gives, in bytes a second: a gigabit.
const PACE: f64 = 120e6;

fn readers_beside_a_fill(dir: &Path, rounds: usize) {
    println!("\n64 KiB reads, one at a time, of an object that is being filled, us\n");
    let heads =
        ["what", "p50", "p99", "p50 at 1 Gbit/s", "p99", "of quiet", "p99 unpaced", "of quiet"];
    let table = Table::new(24, heads);
    for (name, kind) in [("ring", Kind::Ring), ("glommio and a copy", Kind::Dma)] {
        let mut runs = Vec::new();
        for _ in 0..rounds {
            let cache = empty(dir);
            runs.push(on_shard(kind, move |device| beside_turn(device, cache)));
        }
        let of = |which: usize, part: fn(&Run) -> f64| {
            median(runs.iter().map(|run: &[Run; 3]| part(&run[which])).collect())
        };
        let ratio = |which: usize| {
            let ratios = runs.iter().map(|run| run[which].p99_us / run[0].p99_us);
            format!("{:.2}", median(ratios.collect()))
        };
        let shown = |value: f64| format!("{value:.0}");
        table.row([
            name.to_owned(),
            shown(of(0, |run| run.p50_us)),
            shown(of(0, |run| run.p99_us)),
            shown(of(1, |run| run.p50_us)),
            shown(of(1, |run| run.p99_us)),
            ratio(1),
            shown(of(2, |run| run.p99_us)),
            ratio(2),
        ]);
    }
}

async fn beside_turn(device: Device, cache: PathBuf) -> [Run; 3] {
    // So little memory that the tier holds a small part of it.
    let volumes = volumes(&device, cache, 12).await;
    let upkeep = Upkeep::start(&volumes);
    let mut runs = [Run::default(); 3];
    for (run, pace) in [(1, Some(PACE)), (2, None)] {
        let resource = volumes.create(ObjectId(1), Generation(run as u64));
        resource.set_length(LARGE_BYTES).expect("it has none yet");
        write(&resource, 0..THERE_BYTES, None).await;
        resource.flush().await;
        if run == 1 {
            runs[0] = read_until(&resource, runtime::sleep(TURN)).await;
        }
        let fill = write(&resource, THERE_BYTES..LARGE_BYTES, pace);
        runs[run] = read_until(&resource, fill).await;
        resource.flush().await;
        volumes.forget(ObjectId(1));
    }
    upkeep.end(&volumes).await;
    runs
}

/// Reads chunks at random from what is there, until `end`.
async fn read_until(resource: &Rc<StreamingResource>, end: impl Future<Output = ()>) -> Run {
    let (began, each) = (Instant::now(), RefCell::new(Vec::new()));
    let reading = async {
        let mut random = 7_u64;
        loop {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let position = random % (THERE_BYTES / CHUNK) * CHUNK;
            let asked = Instant::now();
            let read = resource.read_at(position, CHUNK as usize).await;
            if let Ok(Some(_)) = read {
                each.borrow_mut().push(asked.elapsed().as_nanos() as u32);
            }
            runtime::yield_if_needed().await;
        }
    };
    futures_lite::future::or(end, reading).await;
    let each = each.into_inner();
    Run::of(each.len() as u64 * CHUNK, began.elapsed(), Duration::ZERO, each)
}

// ---- what is hot ----

/// Chunks that are read again and again.
const HOT_CHUNKS: u64 = 64;

fn hits(dir: &Path) {
    println!("\nreads of {HOT_CHUNKS} chunks that are hot\n");
    let cache = empty(dir);
    let (run, disk_reads) = on_shard(Kind::Ring, async move |device| {
        fill_large(device.clone(), cache.clone()).await;
        let volumes = volumes(&device, cache, 64).await;
        let resource = volumes.find(ObjectId(1)).expect("it was filled");
        let read = async move |position| {
            let read = resource.read_at(position, CHUNK as usize).await;
            read.expect("the disk gives it").expect("it is there");
            runtime::yield_if_needed().await;
        };
        // Twice, since what was read once may be a scan.
        for chunk in (0..2 * HOT_CHUNKS).map(|chunk| chunk % HOT_CHUNKS) {
            read(chunk * CHUNK).await;
        }
        let before = volumes.stats().reads;
        let run = read_turn(read, HOT_CHUNKS * CHUNK, 1, 8).await;
        (run, volumes.stats().reads - before)
    });
    let table = Table::new(24, ["what", "GB/s", "CPU us/MB", "disk reads"]);
    let speed = format!("{:.1}", run.mb_per_second / 1e3);
    table.row([
        "ring".to_owned(),
        speed,
        format!("{:.1}", run.cpu_us_per_mb),
        disk_reads.to_string(),
    ]);
    assert_eq!(disk_reads, 0, "a hit on a warm chunk costs no disk read");
}

// ---- volumes ----

fn pool(megabytes: usize) -> BufPool {
    BufPool::new(bufpool::Options { budget_bytes: megabytes << 20 })
}

fn own_folder() -> PathBuf {
    let here = std::env::current_exe().expect("this program has a path");
    here.parent().expect("a program lies in a directory").to_owned()
}

fn empty(dir: &Path) -> PathBuf {
    let cache = dir.join("cache");
    let _ = fs::remove_dir_all(&cache);
    fs::create_dir_all(&cache).expect("it can be written");
    cache
}

async fn volumes(device: &Device, dir: PathBuf, megabytes: usize) -> Volumes {
    let format = Format { uuid: 1, volumes: 1 };
    let (shard, shards, policy) = (0, 1, policy::Kind::default());
    let kin = kithara::assets::kin;
    let options = Options { dir, format, size_bytes: 512 * MIB, shard, shards, policy, kin };
    let unopened = Unopened::read(&options, device, pool(megabytes)).await.expect("a new cache");
    unopened.open().await.expect("a new cache")
}

/// What a shard does for its volumes in time.
struct Upkeep {
    ended: Rc<Cell<bool>>,
    task: runtime::Task<()>,
}

impl Upkeep {
    fn start(volumes: &Volumes) -> Self {
        let (volumes, ended) = (volumes.clone(), Rc::new(Cell::new(false)));
        let its_ended = Rc::clone(&ended);
        let task = runtime::spawn(Queue::Background, "upkeep", async move {
            while !its_ended.get() {
                volumes.tick(runtime::now(), Duration::from_secs(5)).await;
                runtime::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { ended, task }
    }

    async fn end(self, volumes: &Volumes) {
        self.ended.set(true);
        self.task.await.expect("it does not panic");
        assert_eq!(volumes.stats().corrupt_chunks, 0);
        assert!(volumes.bytes_of(VolumeIndex(0)).is_some());
        volumes.close(runtime::now()).await.expect("a disk");
    }
}

// ---- arms ----

/// What carries the bytes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Ring,
    /// A ring that the kernel tells nothing of beforehand.
    Plain,
    Dma,
}

/// Runs `work` on a shard of its own with such a device.
fn on_shard<T, F>(kind: Kind, work: impl FnOnce(Device) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let result = Arc::new(Mutex::new(None));
    let (work, its_result) = (Arc::new(Mutex::new(Some(work))), Arc::clone(&result));
    let options = runtime::Options { shards: 1, blocking_threads: 1, oversubscribe: false };
    runtime::run(options, move |_| {
        let (work, result) = (Arc::clone(&work), Arc::clone(&its_result));
        async move {
            let disk = match kind {
                Kind::Ring => ShardDisk::on_ring(64 * MIB).expect("io_uring"),
                Kind::Plain => ShardDisk::on_ring(0).expect("io_uring"),
                Kind::Dma => ShardDisk::by_copy(),
            };
            let work = work.lock().unwrap().take().expect("one shard runs it");
            let device = disk.device().clone();
            device.probe(&own_folder(), &pool(1)).await.expect("direct I/O");
            let output = work(device).await;
            disk.end().await;
            *result.lock().unwrap() = Some(output);
        }
    })
    .expect("a shard starts");
    let mut result = result.lock().unwrap();
    result.take().expect("it has ended")
}

/// CPU time of this process, its kernel threads for the rings included.
fn cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

// ---- the raw disk ----

/// Who says what the disk gives.
#[derive(Clone, Copy)]
enum Raw {
    Fio,
    Plain,
}

impl Raw {
    fn found() -> Self {
        let version = Command::new("fio").arg("--version").output();
        if version.is_ok_and(|said| said.status.success()) { Self::Fio } else { Self::Plain }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fio => "fio",
            Self::Plain => "plain io_uring, without fio",
        }
    }

    /// Writes the file in order; MB/s.
    fn write(self, file: &Path, block: u64, depth: usize) -> f64 {
        if let Self::Fio = self {
            let (size, depth) = (format!("--bs={block}"), format!("--iodepth={depth}"));
            let said = fio(file, &["--rw=write", &size, &depth]);
            return number(&said, "\"write\" :", "\"bw_bytes\"") / 1e6;
        }
        let (began, mut positions) = (Instant::now(), (0..FILE_BYTES).step_by(block as usize));
        plain::carry(file, Direction::Write, block as usize, depth, || positions.next());
        FILE_BYTES as f64 / 1e6 / began.elapsed().as_secs_f64()
    }

    /// Reads it at random places.
    fn reads(self, file: &Path, chunks: u64, depth: usize) -> Run {
        if let Self::Fio = self {
            return fio_reads(file, chunks, depth);
        }
        let (began, before, mut random) = (Instant::now(), cpu(), 1_u64);
        let next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let position = random % (FILE_BYTES / CHUNK / chunks) * CHUNK * chunks;
            (began.elapsed() < TURN).then_some(position)
        };
        let each = plain::carry(file, Direction::Read, (chunks * CHUNK) as usize, depth, next);
        let bytes = each.len() as u64 * chunks * CHUNK;
        Run::of(bytes, began.elapsed(), cpu() - before, each)
    }
}

fn fio_reads(file: &Path, chunks: u64, depth: usize) -> Run {
    let (size, depth) = (format!("--bs={}k", chunks * 64), format!("--iodepth={depth}"));
    let turn = format!("--runtime={}ms", TURN.as_millis());
    let said = fio(file, &["--rw=randread", &size, &depth, "--time_based", &turn]);
    let read = |name: &str| number(&said, "\"read\"", name);
    let speed = read("\"bw_bytes\"") / 1e6;
    let cpu = number(&said, "\"job_runtime\"", "\"usr_cpu\"")
        + number(&said, "\"job_runtime\"", "\"sys_cpu\"");
    Run {
        mb_per_second: speed,
        cpu_us_per_mb: cpu / 100.0 * 1e6 / speed,
        p50_us: read("\"50.000000\"") / 1e3,
        p99_us: read("\"99.000000\"") / 1e3,
    }
}

/// Runs fio on `file` and gives back what it says as JSON.
fn fio(file: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("fio");
    command.args(["--name=fio", "--direct=1", "--ioengine=io_uring", "--output-format=json"]);
    command.arg(format!("--filename={}", file.display())).arg(format!("--size={FILE_BYTES}"));
    let output = command.args(arguments).output().expect("it was there a moment ago");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The number behind the first `name` behind `section`.
fn number(said: &str, section: &str, name: &str) -> f64 {
    let behind = said.split_once(section).map_or("", |(_, rest)| rest);
    let behind = behind.split_once(name).map_or("", |(_, rest)| rest);
    let text = behind.trim_start_matches([' ', ':']);
    let end = text.find([',', '\n', '}']).unwrap_or(0);
    text[..end].trim().parse().expect("fio gives a number")
}
