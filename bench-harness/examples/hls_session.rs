//! Memory of one session that plays a presentation of HLS at its pace, row by row.
//!
//! `cargo run --release --example hls_session [-- STREAMS]`. Music of 44.1 kHz as AAC of 128 kbit/s, in segments of
//! 4 s: in fragments of MP4, and in MPEG-TS with AES-128; at the source's rate, and made 48 kHz.
//!
//! First one decoder plays in this process as a session has it play, its bytes coming by blocks of 64 KiB: a
//! counting allocator and the pool say what each part held at its most, the kernel which pages of the stack are in
//! memory in the end. Then so many clients play presentations of their own, all in three variants, from a node in
//! this process, at their pace; what the process has in use more for each of them is all of it together. What the
//! node only keeps for who may come (decoded windows, hot chunks, its catalog) is not in use.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::{
    io::Read,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use futures_lite::future::block_on;
use kithara::{
    bufpool::{self, Block, BufPool, Class},
    decode::{Ask, Decoder, DecoderOptions, Pipeline, Spec, Stacks, Step},
    hls::{
        Body, Called, Fetch, KeyName, Local, Missing, PartLimits, Parts, Reader, Resource,
        Unfetched,
        playlist::{Limits, Playlist, Variables, parse},
    },
    pcm,
};
use kithara_bench::{
    Counting, Scratch, Stream, Table,
    hls::{Files, Form, Manner, node, origin, presentation, shard},
    play::{SPEC, feed},
    stack::{guarded, touched},
};

#[global_allocator]
static HEAP: Counting = Counting::new();

const STACK_BYTES: usize = 1 << 20;
const SECONDS: usize = 120;
/// Clients that play together, unless another number is given.
const STREAMS: usize = 20;
/// What one session may take.
const ASKED_KIB: usize = 1536;
/// How long they play before it is looked at, and how often that is done.
const PLAYED: Duration = Duration::from_secs(8);
const LOOKS: usize = 10;

fn main() {
    let streams = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(STREAMS);
    let scratch = Scratch::new("hls-session");
    let sound = format!(
        "aevalsrc=0.4*sin(2*PI*(300+20*t)*t)|0.3*sin(2*PI*(500-7*t)*t)+0.1*sin(2*PI*4000*t):s=44100:d={SECONDS}"
    );
    let kinds = [("fmp4", Form::Fmp4), ("ts-aes", Form::TsAes)]
        .map(|(name, form)| (name, presentation(&scratch.path().join(name), form, &sound, 4.0)));
    println!("KiB of one session, AAC of 44.1 kHz, s16, at its most");
    let heads =
        ["", "playlists", "decoder", "stack", "resampler", "segments", "sum", "in node", "asked"];
    let table = Table::new(14, heads);
    let node = Playing::new(kinds.clone(), scratch.path());
    for (name, files) in &kinds {
        for rate_hz in [44_100, 48_000] {
            // What is made once in a process is nobody's.
            measured(files, rate_hz);
            let rows = measured(files, rate_hz);
            let sum: usize = rows.iter().sum();
            let whole = node.each(name, rate_hz, streams);
            let [sum, whole] = [sum, whole].map(kib);
            let rows = rows.map(kib).map(|row| row.to_string());
            let [playlists, decoder, stack, resampler, segments] = rows;
            let name = format!("{name} {rate_hz}");
            let (sum, whole, asked) = (sum.to_string(), whole.to_string(), ASKED_KIB.to_string());
            table.row([name, playlists, decoder, stack, resampler, segments, sum, whole, asked]);
        }
    }
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

// --- One decoder, in this thread ---------------------------------------------------------------

/// Segments that are in memory: they cost the session nothing but the blocks in which they come.
struct Given {
    files: Files,
    pool: BufPool,
}

struct Bytes {
    left: &'static [u8],
    pool: BufPool,
}

impl Fetch for Given {
    fn open(&self, resource: &Resource, from: u64) -> Local<'_, Result<Box<dyn Body>, Unfetched>> {
        let name = resource.url.path().trim_start_matches('/');
        let left = self.files[name].get(from as usize..).unwrap_or_default();
        let body = Bytes { left, pool: self.pool.clone() };
        Box::pin(async move { Ok(Box::new(body) as Box<dyn Body>) })
    }

    fn missing(&self, missing: &Missing) {
        panic!("{missing}");
    }

    fn called(&self, url: &url::Url) -> Called {
        panic!("nothing is missing, and {url} is no name")
    }

    fn key<'a>(&'a self, name: &'a KeyName) -> Local<'a, Result<[u8; 16], Unfetched>> {
        let key = self.files[name.url.path().trim_start_matches('/')];
        Box::pin(async move { Ok(key.try_into().expect("16 bytes")) })
    }
}

impl Body for Bytes {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Block>, Unfetched>> {
        let (piece, left) = self.left.split_at(self.left.len().min(Class::Large.bytes()));
        self.left = left;
        if piece.is_empty() {
            return Poll::Ready(Ok(None));
        }
        let mut block = self.pool.take(Class::Large).expect("within the budget");
        block[..piece.len()].copy_from_slice(piece);
        Poll::Ready(Ok(Some(block.freeze(piece.len()))))
    }
}

/// The most that playlists, decoder, stack, resampler and segments held.
fn measured(files: &Files, rate_hz: u32) -> [usize; 5] {
    let pool = BufPool::new(bufpool::Options { budget_bytes: 64 << 20 });
    let options = DecoderOptions { stack_bytes: STACK_BYTES, keep: 0, ..Default::default() };
    let stacks = Stacks::new(options);
    let at_first = HEAP.heap_bytes();
    let parts = Rc::new(Parts::new(media(files)));
    let fetch = Rc::new(Given { files: files.clone(), pool: pool.clone() });
    let playlists = 3 * (HEAP.heap_bytes() - at_first);
    let before = HEAP.heap_bytes();
    let mut reader = Reader::new(parts, fetch, pool.clone(), PartLimits::default());
    let guards = guarded();
    let mut decoder = Decoder::new(&stacks, reader.resident(), Ask::default()).expect("a stack");
    let stack = guarded().into_iter().find(|start| !guards.contains(start));
    let (mut pipeline, mut pipeline_bytes) = (None::<Pipeline>, 0);
    let (mut decoding, mut resampling, mut segments) = (0, 0, 0);
    let mut block = vec![0; 64 << 10];
    let aside = block.len();
    loop {
        let step = decoder.step(Instant::now() + Duration::from_millis(1)).expect("sound");
        let held = HEAP.heap_bytes().saturating_sub(before + pipeline_bytes + aside);
        decoding = decoding.max(held);
        match step {
            Step::Need { position, length } => {
                let need = position..position + length as u64;
                pinned(reader.fetch(need)).expect("all is here");
                segments = segments.max(pool.stats().used_bytes);
            }
            Step::Opened => {
                let before = HEAP.heap_bytes();
                let spec = Spec { rate_hz, ..SPEC };
                let info = decoder.info().expect("opened");
                pipeline = Some(Pipeline::new(info, spec, 0, None).expect("such a rate"));
                pipeline_bytes = HEAP.heap_bytes() - before;
            }
            Step::Frames => {
                let before = HEAP.heap_bytes();
                feed(pipeline.as_mut().expect("opened before"), &decoder, &mut block);
                let grown = HEAP.heap_bytes() as isize - before as isize;
                pipeline_bytes = pipeline_bytes.saturating_add_signed(grown);
                resampling = resampling.max(pipeline_bytes);
            }
            Step::Slice => {}
            Step::End => break,
        }
    }
    let stack = touched(stack.expect("it has a guard page"), STACK_BYTES);
    [playlists, decoding, stack, resampling, segments]
}

fn pinned<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    block_on(std::future::poll_fn(|context| Pin::as_mut(&mut future).poll(context)))
}

fn media(files: &Files) -> kithara::hls::playlist::Media {
    let url = "http://origin/list.m3u8".parse().expect("a URL");
    let (imports, limits) = (Variables::default(), Limits::default());
    match parse(files["list.m3u8"], &url, &imports, &limits).expect("it is one") {
        Playlist::Media(media) => media,
        Playlist::Multivariant(_) => unreachable!("it names segments"),
    }
}

// --- A node of sessions ------------------------------------------------------------------------

/// A node in this process, and how many presentations were played of it.
struct Playing {
    listen: SocketAddr,
    admin: SocketAddr,
    played: std::cell::Cell<usize>,
}

/// What is in use.
#[derive(Debug, Clone, Copy)]
struct InUse {
    heap: usize,
    blocks: usize,
    stacks: usize,
}

impl Playing {
    /// Below `KIND/NUMBER/`, whatever the number, lies the presentation of that kind.
    fn new(kinds: [(&'static str, Files); 2], scratch: &Path) -> Self {
        let master = (0..3).map(|n| {
            let bandwidth = 128_000 + n;
            format!("#EXT-X-STREAM-INF:BANDWIDTH={bandwidth}\n{n}/list.m3u8\n")
        });
        let master = format!("#EXTM3U\n{}", master.collect::<String>());
        let master: &'static [u8] = master.into_bytes().leak();
        let address = origin(Manner::default(), move |path| {
            let (kind, rest) = path.split_once('/')?;
            let (_, name) = rest.split_once('/')?;
            let (_, files) = kinds.iter().find(|(name, _)| *name == kind)?;
            match name.split_once('/') {
                None => (name == "master.m3u8").then_some(master),
                Some((_, name)) => files.get(name).copied(),
            }
        });
        let ready = node(address, scratch, "256MiB", |_| {});
        Self { listen: ready.listen, admin: ready.admin, played: 0.into() }
    }

    /// What is in use more for each of so many clients.
    fn each(&self, kind: &str, rate_hz: u32, count: usize) -> usize {
        let warm = self.play(kind, rate_hz, 1);
        let before = self.in_use();
        drop(warm);
        let streams = self.play(kind, rate_hz, count);
        let after = self.in_use();
        drop(streams);
        // They are gone, and so is what was theirs, before the next ones come.
        while shard(self.admin)["pcm"]["decoders"] != 0 {
            thread::sleep(Duration::from_millis(100));
        }
        let more = |of: fn(&InUse) -> usize| of(&after).saturating_sub(of(&before));
        let more = more(|it| it.heap) + more(|it| it.blocks) + more(|it| it.stacks);
        more / (count - 1)
    }

    /// Clients that read at their pace for a while, and go on.
    fn play(&self, kind: &str, rate_hz: u32, count: usize) -> Vec<Stream> {
        let first = self.played.replace(self.played.get() + count);
        let mut streams: Vec<_> = (first..first + count)
            .map(|number| {
                let path = format!(
                    "/v1/pcm?src=music:{kind}/{number}/master.m3u8&rate={rate_hz}&format=s16le"
                );
                Stream::open(self.listen, &path, Some(32 << 10)).expect("the node plays")
            })
            .collect();
        let mut piece = vec![0; rate_hz as usize * 4 / 10];
        let begun = Instant::now();
        for tenth in 1.. {
            streams.iter_mut().for_each(|stream| stream.read_exact(&mut piece).expect("it plays"));
            let due = Duration::from_millis(100) * tenth;
            if due > PLAYED {
                break;
            }
            thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        streams
    }

    /// The most of several looks.
    fn in_use(&self) -> InUse {
        let looks = (0..LOOKS).map(|_| {
            thread::sleep(Duration::from_millis(20));
            self.look()
        });
        let most = |a: InUse, b: InUse| InUse {
            heap: a.heap.max(b.heap),
            blocks: a.blocks.max(b.blocks),
            stacks: a.stacks.max(b.stacks),
        };
        looks.reduce(most).expect("there are looks")
    }

    fn look(&self) -> InUse {
        let said = shard(self.admin);
        let bytes = |pointer: &str| said.pointer(pointer).and_then(|it| it.as_u64()).expect("said");
        let catalog = bytes("/disk/catalog_bytes");
        let charged = catalog + bytes("/pcm/decoders") * pcm::STREAM_BYTES as u64;
        let blocks = bytes("/memory/used_bytes") - bytes("/memory/idle_bytes") - charged;
        let stacks = guarded().into_iter().map(|start| touched(start, STACK_BYTES)).sum();
        InUse { heap: HEAP.heap_bytes() - catalog as usize, blocks: blocks as usize, stacks }
    }
}
