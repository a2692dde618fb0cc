//! What a body costs in allocations for each chunk that is served and each piece that is fetched, and
//! PCM for each packet that is decoded.
//!
//! The node runs in this process, over a counting allocator; the origin and the client run on
//! threads whose allocations are counted apart. A binary of its own, for the allocator sees all of it.
#![allow(clippy::disallowed_methods, reason = "nothing but the node itself is a shard")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use kithara::{
    bufpool::{self, BufPool, Class},
    cli,
    decode::{
        Ask, Decoder, DecoderOptions, Dither, Encoding, Pipeline, Quality, Spec, Stacks, Step,
    },
    demo,
    stream::Resident,
};

/// Counts allocations of all threads but those of the tests' own, and of these each by itself.
struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
    static HERE: Cell<u64> = const { Cell::new(0) };
}

impl Counting {
    fn count() {
        // A thread that is ending is none of ours: they wait to the end of the process.
        if IS_OURS.try_with(|is_ours| !is_ours.get()).unwrap_or(true) {
            COUNT.fetch_add(1, Ordering::Relaxed);
        } else {
            HERE.set(HERE.get() + 1);
        }
    }
}

// SAFETY: every call goes to the system's allocator as it came; only a counter is kept beside.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        Self::count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CHUNK_BYTES: usize = 64 << 10;
/// A hang is a failed test, not a hung one.
const PATIENCE: Duration = Duration::from_secs(60);

/// A thread whose allocations are not the node's.
fn ours(run: impl FnOnce() + Send + 'static) {
    thread::spawn(|| {
        IS_OURS.set(true);
        run();
    });
}

/// A path whose body has `bytes` bytes and comes in pieces of `piece_bytes` each.
fn path(bytes: usize, piece_bytes: usize) -> String {
    format!("{bytes}/{piece_bytes}")
}

/// Starts an origin of bodies in pieces of HTTP's own, each of which hyper hands over alone.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    ours(move || {
        for socket in listener.incoming().flatten() {
            ours(move || while answer(&socket).is_some() {});
        }
    });
    address
}

/// Answers one request; `None` where the connection has ended.
fn answer(mut socket: &TcpStream) -> Option<()> {
    let head = read_head(&mut BufReader::new(socket))?;
    let path = head.split(' ').nth(1)?.trim_start_matches('/').split_once('/')?;
    let (bytes, piece_bytes): (usize, usize) = (path.0.parse().ok()?, path.1.parse().ok()?);
    let piece = vec![b'x'; piece_bytes];
    let piece = [format!("{piece_bytes:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
    let fields = "ETag: \"a\"\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
    let head = format!("HTTP/1.1 200 OK\r\n{fields}");
    let body = piece.repeat(bytes / piece_bytes);
    socket.write_all(&[head.as_bytes(), &body, b"0\r\n\r\n"].concat()).ok()
}

/// The lines up to the first empty one.
fn read_head(from: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// A node in this process.
fn node(origin: SocketAddr) -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap();
    drop(free);
    let scratch = tempfile::Builder::new()
        .prefix("allocation")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap();
    let flags = format!(
        "kithara serve --listen {listen} --admin 127.0.0.1:0 --shards 1 --cache {} \
         --cache-size 64MiB --memory 256MiB --origin origin=http://{origin}/",
        scratch.path().display()
    );
    thread::spawn(move || {
        let cli = cli::Cli::try_parse_from(flags.split_whitespace()).unwrap();
        let _scratch = scratch;
        let ended = cli::run(&cli).map(|_| ()).map_err(|failure| failure.report().to_string());
        panic!("the node ended: {ended:?}");
    });
    let since = Instant::now();
    while TcpStream::connect(listen).is_err() {
        assert!(since.elapsed() < PATIENCE, "the node does not get ready");
        thread::sleep(Duration::from_millis(20));
    }
    listen
}

/// Bytes of a response's body, which comes whole.
fn get(node: SocketAddr, path: &str) -> usize {
    let mut socket = TcpStream::connect(node).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET /o/origin/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut from = BufReader::with_capacity(CHUNK_BYTES, socket);
    let head = read_head(&mut from).expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut body = Vec::new();
    from.read_to_end(&mut body).unwrap();
    body.len()
}

/// Allocations of the node while it answers.
fn cost(node: SocketAddr, path: &str) -> u64 {
    let before = COUNT.load(Ordering::Relaxed);
    assert!(get(node, path) > 0);
    COUNT.load(Ordering::Relaxed) - before
}

/// A node over an origin of its own, which has served once what all later requests share.
fn warmed_up() -> SocketAddr {
    let origin = origin();
    // The node's own threads are counted: they must not inherit what this one is.
    IS_OURS.set(false);
    let node = node(origin);
    IS_OURS.set(true);
    for _ in 0..3 {
        cost(node, &path(16 * CHUNK_BYTES, CHUNK_BYTES));
    }
    node
}

/// The counter of the node's threads is the process's: no other test has a node.
#[test]
fn a_body_costs_little_for_each_chunk_served_and_each_piece_fetched() {
    /// 9 were counted: for the read, its slot in the ring, and handing the block to hyper.
    const PER_CHUNK: usize = 20;
    /// 7 were counted, all of them for the look at what readers demand, which goes on after each
    /// piece that one of them has taken (`Fill::steer`). To receive, copy and write one costs none.
    const PER_PIECE: usize = 12;
    let node = warmed_up();
    let cost = |path: &str| cost(node, path) as usize;

    let served = [32, 128].map(|chunks| {
        let path = path(chunks * CHUNK_BYTES, CHUNK_BYTES);
        cost(&path);
        cost(&path)
    });
    let more = 128 - 32;
    assert!(served[1] < served[0] + more * PER_CHUNK, "of 32 and 128 chunks: {served:?}");

    let bytes = 32 * CHUNK_BYTES;
    // In pieces that none had above, so that neither is here already.
    let fetched = [CHUNK_BYTES / 2, 1 << 10].map(|piece_bytes| cost(&path(bytes, piece_bytes)));
    let more = bytes / (1 << 10) - 64;
    assert!(fetched[1] < fetched[0] + more * PER_PIECE, "in 64 and 2048 pieces: {fetched:?}");
}

/// A source that is all in memory.
fn resident(bytes: &[u8]) -> Resident {
    let pool = BufPool::new(bufpool::Options { budget_bytes: 64 << 20 });
    let resident = Resident::new(Some(bytes.len() as u64));
    for (index, part) in bytes.chunks(Class::Large.bytes()).enumerate() {
        let mut block = pool.take(Class::Large).unwrap();
        block[..part.len()].copy_from_slice(part);
        resident.insert((index * Class::Large.bytes()) as u64, block.freeze(part.len()));
    }
    resident
}

/// Packets between the first quarter and the end of a source, and what this thread allocates to make them 48 kHz.
fn steady(bytes: &[u8], frames: u64) -> (u64, u64) {
    let stacks = Stacks::new(DecoderOptions::default());
    let until = Instant::now() + PATIENCE;
    let mut decoder = Decoder::new(&stacks, resident(bytes), Ask::default()).unwrap();
    while decoder.step(until).unwrap() != Step::Opened {}
    let info = decoder.info().unwrap();
    let rate_hz = 48_000;
    let spec = Spec {
        rate_hz,
        channels: info.channels.count,
        encoding: Encoding::S16le,
        dither: Dither::None,
        quality: Quality::Good,
    };
    let mut pipeline = Pipeline::new(info, spec, 0, None).unwrap();
    let mut block = vec![0; 64 << 10];
    let mut go_on_to = |frame: u64| {
        let began = (decoder.decoded_packets(), HERE.get());
        while decoder.position() < frame {
            if decoder.step(until).unwrap() == Step::Frames {
                while !pipeline.push(decoder.position(), decoder.frames()) {
                    while pipeline.pull(&mut block) > 0 {}
                }
                while pipeline.pull(&mut block) > 0 {}
            }
        }
        (decoder.decoded_packets() - began.0, HERE.get() - began.1)
    };
    go_on_to(frames / 4);
    // Of what the end itself takes nothing is counted.
    go_on_to(frames - frames / 16)
}

#[test]
fn a_packet_is_decoded_without_an_allocation() {
    /// What a decoder takes of AAC, which starts anew every 320 packets, and the like of others.
    const FEW: u64 = 8;
    IS_OURS.set(true);
    let of_demo = demo::FILES.iter().map(|file| (file.name, file.bytes, file.frames));
    let opus: (_, &[u8], _) = ("opus.ogg", include_bytes!("material/opus.ogg"), 48_000);
    for (name, bytes, frames) in of_demo.chain([opus]) {
        let (packets, allocations) = steady(bytes, frames);
        // The reader of AIFF is symphonia's, and lends no packet.
        let theirs = if name.ends_with("aiff") { packets } else { 0 };
        let is_few = allocations <= theirs + packets.div_ceil(FEW);
        assert!(is_few, "{name}: {allocations} for {packets} packets");
    }
}

#[test]
fn a_packet_of_he_aac_costs_what_its_decoder_takes() {
    /// 28 were counted.
    const PER_PACKET: u64 = 32;
    IS_OURS.set(true);
    for bytes in
        [&include_bytes!("material/he-aac.mp4")[..], &include_bytes!("material/he-aac-v2.mp4")[..]]
    {
        let (packets, allocations) = steady(bytes, 44_100);
        assert!(allocations <= packets * PER_PACKET, "{allocations} for {packets} packets");
    }
}
