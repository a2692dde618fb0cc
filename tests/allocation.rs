//! What a body costs in allocations for each chunk that is served and each piece that is fetched.
//!
//! The node runs in this process, over a counting allocator; the origin and the client run on
//! threads whose allocations are not counted. A binary of its own, for the allocator sees all of it.
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
use kithara::cli;

/// Counts allocations of all threads but those of the test's own.
struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

impl Counting {
    fn count() {
        // A thread that is ending is none of ours: they wait to the end of the process.
        if IS_OURS.try_with(|is_ours| !is_ours.get()).unwrap_or(true) {
            COUNT.fetch_add(1, Ordering::Relaxed);
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

/// One test, for the counter is the process's.
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
