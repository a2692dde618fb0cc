//! What a small request, and a listener who plays at real time, notice of decoders that want all of
//! the core.
//!
//! `cargo bench --bench latency [-- ROUNDS SECONDS]`. A release node of one shard, pinned to the
//! first CPU; the clients share another. Rounds with and without `/livez` requests take turns.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::{
    io::Read,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use kithara_bench::{CODINGS, Keep, Node, Scratch, Stream, leave_first_cpu, median, music};

/// Bytes of one second of the PCM that all clients ask for: 48 kHz, stereo, 16 bit.
const SECOND_BYTES: u64 = 48_000 * 4;
/// Clients that read as fast as they can.
const GREEDY: usize = 8;
/// Clients that play.
const PACED: usize = 50;
/// What a player takes at a time, and what it has in hand when it begins.
const SIP: Duration = Duration::from_millis(100);
const IN_HAND: Duration = Duration::from_millis(500);

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<u64>().ok());
    let (rounds, seconds) = (numbers.next().unwrap_or(5), numbers.next().unwrap_or(5));
    let scratch = Scratch::new("latency");
    music(scratch.path(), 120);
    let node = Node::start(1, scratch.path(), scratch.path());
    leave_first_cpu();
    let round = Duration::from_secs(seconds);
    small_requests(&node, rounds, round);
    players(&node, 2 * round);
}

/// Rounds of nothing but bulk decoding, in turn with rounds where somebody asks for `/livez`.
fn small_requests(node: &Node, rounds: u64, round: Duration) {
    let crowd = Crowd::start(node.listen, GREEDY);
    thread::sleep(Duration::from_secs(1));
    let mut waits = Histogram::<u64>::new(3).expect("3 digits are possible");
    let (mut kept, mut speed, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let alone = crowd.measure(node, || thread::sleep(round));
        let asked = crowd.measure(node, || ask(node.listen, round, &mut waits));
        kept.push(asked.0 / alone.0);
        speed.push(asked.0);
        busy.push(asked.1);
    }
    let ms = |quantile| waits.value_at_quantile(quantile) as f64 / 1000.0;
    println!("{GREEDY} clients read decoded {} as fast as they can", codecs());
    println!("  the core is busy {:5.1} % of the time", 100.0 * median(busy));
    println!("  audio made, in seconds a second   {:8.0}", median(speed));
    println!("  the same, of what bulk alone makes {:6.1} %, needed 90", 100.0 * median(kept));
    println!("{} requests for /livez meanwhile, a request each 2 ms, in ms", waits.len());
    println!(
        "  p50 {:.2}  p99 {:.2}, needed 2  p99.9 {:.2}  max {:.2}",
        ms(0.5),
        ms(0.99),
        ms(0.999),
        ms(1.0)
    );
}

fn codecs() -> String {
    CODINGS.map(|(name, _)| name).join(", ")
}

fn path(index: usize) -> String {
    format!("/v1/pcm?src=local:{}&rate=48000&format=s16le", CODINGS[index % CODINGS.len()].0)
}

fn ask(node: SocketAddr, round: Duration, waits: &mut Histogram<u64>) {
    let mut keep = Keep::new(node, "/livez");
    let end = Instant::now() + round;
    while Instant::now() < end {
        let _ = waits.record(keep.ask().as_micros() as u64);
        thread::sleep(Duration::from_millis(2));
    }
}

/// Clients that read as fast as they can until they are dropped.
struct Crowd {
    stop: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn start(node: SocketAddr, clients: usize) -> Self {
        let (stop, bytes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |index| {
            let (stop, bytes) = (Arc::clone(&stop), Arc::clone(&bytes));
            thread::spawn(move || devour(node, &path(index), &stop, &bytes))
        };
        let threads = (0..clients).map(client).collect();
        Self { stop, bytes, threads }
    }

    /// Seconds of audio per second while `work` runs, and the share of the core that was used.
    fn measure(&self, node: &Node, work: impl FnOnce()) -> (f64, f64) {
        let before = (Instant::now(), self.bytes.load(Ordering::Relaxed), node.usage().cpu);
        work();
        let passed = before.0.elapsed().as_secs_f64();
        let bytes = self.bytes.load(Ordering::Relaxed) - before.1;
        let cpu = node.usage().cpu - before.2;
        (bytes as f64 / SECOND_BYTES as f64 / passed, cpu.as_secs_f64() / passed)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client fails only by its panic");
        }
    }
}

fn devour(node: SocketAddr, path: &str, stop: &AtomicBool, bytes: &AtomicU64) {
    let mut into = vec![0; 256 << 10];
    while !stop.load(Ordering::Relaxed) {
        let mut stream = Stream::open(node, path, None).expect("the node plays");
        while !stop.load(Ordering::Relaxed) {
            let count = stream.read(&mut into).expect("the body is sound");
            if count == 0 {
                break;
            }
            bytes.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

/// Players, alone and then beside one client that reads as fast as it can.
fn players(node: &Node, round: Duration) {
    println!("{PACED} players, {} ms in hand, {} s each", IN_HAND.as_millis(), round.as_secs());
    for greedy in [0, 1] {
        let crowd = Crowd::start(node.listen, greedy);
        let players: Vec<_> = (0..PACED)
            .map(|index| {
                let listen = node.listen;
                thread::spawn(move || play(listen, &path(index), index, round))
            })
            .collect();
        let mut slack = Histogram::<u64>::new(3).expect("3 digits are possible");
        let (mut late, mut sips) = (0, 0);
        let (speed, busy) = crowd.measure(node, || {
            for player in players {
                let played = player.join().expect("a player fails only by its panic");
                late += played.late;
                sips += played.waits.len();
                slack.add(&played.waits).expect("the same digits");
            }
        });
        println!(
            "  beside {greedy} greedy: {late} of {sips} sips late, needed 0; a sip waits p99 {:.1} ms, max {:.1} ms; \
             the greedy one gets {speed:.0} s a second, core {:.0} %",
            slack.value_at_quantile(0.99) as f64 / 1000.0,
            slack.max() as f64 / 1000.0,
            100.0 * busy
        );
    }
}

/// How one player fared.
struct Played {
    late: u64,
    /// How long it waited for each sip, in microseconds.
    waits: Histogram<u64>,
}

/// Plays in real time: begins with [`IN_HAND`], and takes a [`SIP`] whenever that much was heard.
fn play(node: SocketAddr, path: &str, index: usize, round: Duration) -> Played {
    // Listeners do not all come at once.
    thread::sleep(Duration::from_millis(20) * index as u32);
    let bytes_of = |time: Duration| (SECOND_BYTES as u128 * time.as_millis() / 1000) as usize;
    let mut stream = Stream::open(node, path, Some(32 << 10)).expect("the node plays");
    stream.read_exact(&mut vec![0; bytes_of(IN_HAND)]).expect("the body is sound");
    let began = Instant::now();
    let mut played = Played { late: 0, waits: Histogram::new(3).expect("3 digits are possible") };
    let mut sip = vec![0; bytes_of(SIP)];
    for count in 1..(round.as_millis() / SIP.as_millis()) as u32 {
        let room = began + SIP * count;
        thread::sleep(room.saturating_duration_since(Instant::now()));
        stream.read_exact(&mut sip).expect("the body is sound");
        let waited = room.elapsed();
        let _ = played.waits.record(waited.as_micros() as u64);
        // What it had in hand is heard before this sip is due.
        played.late += u64::from(waited > IN_HAND - SIP);
    }
    played
}
