//! The disk under the cache: storage's ring against glommio's file with its copy, and both against fio.
//!
//! `cargo bench --bench storage [-- ROUNDS]`. Wants fio (`apt-get install fio`) and some GiB beside the
//! target directory, on the file system that is to be measured. All arms take turns in each round, so
//! what else the machine does falls on all of them; ratios are medians of the rounds' ratios.

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
        Device, Disk, Format, Generation, ObjectId, Options, StreamingResource, VolumeIndex,
        Volumes,
    },
};
use kithara_bench::{Scratch, Table, median};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const CHUNK: u64 = 64 * KIB;
/// The file that is read from and overwritten.
const FILE_BYTES: u64 = 512 * MIB;
/// How long one arm has its turn.
const TURN: Duration = Duration::from_millis(1500);
/// Reads at a time.
const DEPTH: usize = 8;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(7);
    let scratch = Scratch::new("storage");
    let file = scratch.path().join("file");
    fio(&file, &["--rw=write", "--bs=1M", "--iodepth=4"]);
    reads(&file, rounds);
    fills(&file, scratch.path(), rounds);
    readers_beside_a_fill(scratch.path(), rounds);
}

// ---- reading ----

fn reads(file: &Path, rounds: usize) {
    println!("random reads, {DEPTH} at a time, of a file of {} MiB\n", FILE_BYTES / MIB);
    let table = Table::new(
        24,
        ["what", "MB/s", "of fio", "CPU us/MB", "of fio", "p50 us", "p99 us", "of fio"],
    );
    for chunks in [1, 4] {
        let arms = ["fio", "ring", "ring, nothing locked", "glommio and a copy"];
        let mut runs: Vec<Vec<Run>> = arms.map(|_| Vec::new()).into();
        for _ in 0..rounds {
            runs[0].push(fio_reads(file, chunks));
            for (arm, kind) in [Kind::Ring, Kind::Plain, Kind::Dma].into_iter().enumerate() {
                let file = file.to_owned();
                runs[arm + 1].push(on_shard(kind, move |device| read_turn(device, file, chunks)));
            }
        }
        for (arm, own) in arms.into_iter().zip(&runs) {
            let of = |value: fn(&Run) -> f64| {
                let middle = median(own.iter().map(value).collect());
                let ratio = own.iter().zip(&runs[0]).map(|(own, fio)| value(own) / value(fio));
                (format!("{middle:.0}"), format!("{:.2}", median(ratio.collect())))
            };
            let (speed, speed_ratio) = of(|run| run.mb_per_second);
            let (cpu, cpu_ratio) = of(|run| run.cpu_us_per_mb);
            let (p99, p99_ratio) = of(|run| run.p99_us);
            let name = format!("{} KiB, {arm}", chunks * 64);
            table.row([
                name,
                speed,
                speed_ratio,
                cpu,
                cpu_ratio,
                of(|run| run.p50_us).0,
                p99,
                p99_ratio,
            ]);
        }
    }
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

async fn read_turn(device: Device, file: PathBuf, chunks: u64) -> Run {
    let pool = pool(64);
    let (disk, _) = device.open(&file, FILE_BYTES).await.expect("it is there");
    let (began, before) = (Instant::now(), cpu());
    let readers: Vec<_> = (0..DEPTH as u64)
        .map(|seed| {
            let (disk, pool) = (disk.clone(), pool.clone());
            runtime::spawn(Queue::Io, "reader", async move {
                let (mut random, mut each) = (seed + 1, Vec::new());
                while began.elapsed() < TURN {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let position = random % (FILE_BYTES / CHUNK / chunks) * CHUNK * chunks;
                    let asked = Instant::now();
                    joined(&disk, position, chunks, &pool).await;
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

fn fills(file: &Path, dir: &Path, rounds: usize) {
    println!("\n{OBJECTS} objects of {} MiB, {FILLS} at a time, MB/s\n", OBJECT_BYTES / MIB);
    let table = Table::new(24, ["what", "growing", "of fio", "grown", "of fio", "CPU us/MB"]);
    let mut raw = Vec::new();
    let mut runs = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let said = fio(file, &["--rw=write", "--bs=256k", "--iodepth=8"]);
        raw.push(number(&said, "\"write\" :", "\"bw_bytes\"") / 1e6);
        for (arm, kind) in [Kind::Ring, Kind::Dma].into_iter().enumerate() {
            let cache = empty(dir);
            runs[arm].push(on_shard(kind, move |device| fill_turn(device, cache)));
        }
    }
    let fio = median(raw.clone());
    table.row([
        "fio, 256 KiB, 8 deep".to_owned(),
        "-".into(),
        "-".into(),
        format!("{fio:.0}"),
        "1.00".into(),
        "-".into(),
    ]);
    for (name, own) in ["ring", "glommio and a copy"].into_iter().zip(&runs) {
        let speed = |of: fn(&Fill) -> f64| {
            let ratio = own.iter().zip(&raw).map(|(own, fio)| of(own) / fio);
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
    let options = Options { dir, format, size_bytes: 512 * MIB, shard: 0, shards: 1 };
    Volumes::open(&options, device, pool(megabytes)).await.expect("a new cache")
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

// ---- fio ----

fn fio_reads(file: &Path, chunks: u64) -> Run {
    let (size, depth) = (format!("--bs={}k", chunks * 64), format!("--iodepth={DEPTH}"));
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
    let output = command.args(arguments).output().expect("this wants fio: apt-get install fio");
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
