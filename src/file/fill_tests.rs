//! Stories of a fill: readers that jump, leave and come back, and an origin that is slow, gives its
//! file in parts, breaks off or becomes another one.

mod unproven;

use std::{
    cell::Cell,
    future::Future,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    ops::Range,
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use futures_lite::FutureExt;

use super::{Error, Files};
use crate::{
    assets::{self, AssetStore, News},
    bufpool::{self, BufPool},
    net::{self, Client, Origin, Resolver, Roots, Table},
    runtime::{self, Queue, now, sleep, spawn, timeout, yield_now},
    storage::{
        BLOCK_BYTES, CHUNK_BYTES, Disk, Failure, SNAPSHOT_BYTES, Sim, VolumeIndex, Volumes,
        random::Random,
    },
    stream::Reader,
};

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
/// A hang is a failed test, not a hung one.
const PATIENCE: Duration = Duration::from_secs(20);

/// The bytes at some positions: neighbours, chunks and versions all differ. Each version begins at another
/// place of the same noise, over and over, since making noise takes longer than all else.
fn content(range: Range<u64>, version: u64) -> Vec<u8> {
    const NOISE_BYTES: u64 = 100_003;
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut random = Random(0);
        (0..NOISE_BYTES).map(|_| random.next() as u8).collect()
    });
    let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
    let mut at = range.start;
    while at < range.end {
        let from = (at + version * 4099) % NOISE_BYTES;
        let count = (range.end - at).min(NOISE_BYTES - from);
        bytes.extend_from_slice(&NOISE[from as usize..(from + count) as usize]);
        at += count;
    }
    bytes
}

/// What the origin has and how it gives it.
#[derive(Clone)]
pub(super) struct Song {
    length: u64,
    version: u64,
    /// Each answer is of a version of its own.
    ages: bool,
    /// Fields that speak for the version.
    fields: String,
    ranges: bool,
    /// Says in a part how long the whole is.
    says_length: bool,
    /// At most this much is given at once.
    part_bytes: u64,
    /// Bytes per millisecond of one connection.
    pace_bytes: u64,
    /// Nothing here is given: the connection breaks.
    broken: Range<u64>,
}

impl Song {
    pub(super) fn new(length: u64) -> Self {
        Self {
            length,
            version: 1,
            ages: false,
            fields: "ETag: \"v1\"\r\n".to_owned(),
            ranges: true,
            says_length: true,
            part_bytes: u64::MAX,
            pace_bytes: u64::MAX,
            broken: 0..0,
        }
    }

    /// Nothing proves that parts of it belong together.
    pub(super) fn without_validator(self) -> Self {
        Self { fields: String::new(), ..self }
    }

    fn head(&self, part: &Range<u64>, is_part: bool) -> String {
        let (fields, length) = (&self.fields, part.end - part.start);
        if !is_part {
            return format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n");
        }
        let all = if self.says_length { self.length.to_string() } else { "*".to_owned() };
        let range = format!("Content-Range: bytes {}-{}/{all}\r\n", part.start, part.end - 1);
        format!("HTTP/1.1 206 Part\r\n{fields}{range}Content-Length: {length}\r\n\r\n")
    }
}

/// An origin on threads of its own.
pub(super) struct Slow {
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    #[allow(clippy::disallowed_types, reason = "the other side of the network is no shard")]
    song: std::sync::Mutex<Song>,
    /// Where each request began.
    #[allow(clippy::disallowed_types, reason = "the other side of the network is no shard")]
    asked: std::sync::Mutex<Vec<u64>>,
    /// Bodies that are being sent now.
    bodies: AtomicUsize,
    sent_bytes: AtomicUsize,
    /// While set, bodies stand still.
    held: AtomicBool,
}

impl Slow {
    #[allow(clippy::disallowed_methods, reason = "the other side of the network is no shard")]
    pub(super) fn start(song: Song) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            song: song.into(),
            asked: Vec::new().into(),
            bodies: 0.into(),
            sent_bytes: 0.into(),
            held: false.into(),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.converse(socket));
            }
        });
        Self { address, state }
    }

    fn asked(&self) -> Vec<u64> {
        self.state.asked()
    }
}

impl State {
    fn asked(&self) -> Vec<u64> {
        self.asked.lock().unwrap().clone()
    }

    fn change(&self, change: impl FnOnce(&mut Song)) {
        change(&mut self.song.lock().unwrap());
    }

    fn converse(&self, mut socket: TcpStream) {
        socket.set_nodelay(true).unwrap();
        // What is on its way counts as sent: little of it should be.
        socket2::SockRef::from(&socket).set_send_buffer_size(16 << 10).unwrap();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        while let Some(range) = read_range(&mut reader) {
            let song = self.song.lock().unwrap().clone();
            self.change(|song| song.version += u64::from(song.ages));
            self.asked.lock().unwrap().push(range.start);
            if !self.answer(&song, range, &mut socket) {
                return;
            }
        }
    }

    /// Whether the connection lives on.
    fn answer(&self, song: &Song, asked: Range<u64>, socket: &mut TcpStream) -> bool {
        if asked.start >= song.length && song.ranges {
            let all = format!("Content-Range: bytes */{}\r\nContent-Length: 0\r\n", song.length);
            return socket.write_all(format!("HTTP/1.1 416 No\r\n{all}\r\n").as_bytes()).is_ok();
        }
        let start = if song.ranges { asked.start } else { 0 };
        let end = asked.end.min(song.length).min(start.saturating_add(song.part_bytes));
        let part = start..if song.ranges { end } else { song.length };
        if song.broken.contains(&start) {
            return false;
        }
        self.bodies.fetch_add(1, Ordering::SeqCst);
        let sent = self.send(song, part, socket);
        self.bodies.fetch_sub(1, Ordering::SeqCst);
        sent
    }

    #[allow(clippy::disallowed_methods, reason = "the other side of the network is no shard")]
    fn send(&self, song: &Song, part: Range<u64>, socket: &mut TcpStream) -> bool {
        if socket.write_all(song.head(&part, song.ranges).as_bytes()).is_err() {
            return false;
        }
        let mut at = part.start;
        while at < part.end {
            while self.held.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let end = part.end.min(at + song.pace_bytes.min(64 * KIB));
            let bytes = content(at..end, song.version);
            let is_broken = song.broken.start.max(at) < song.broken.end.min(end);
            if is_broken || socket.write_all(&bytes).is_err() {
                return false;
            }
            self.sent_bytes.fetch_add(bytes.len(), Ordering::SeqCst);
            at = end;
            if song.pace_bytes < u64::MAX {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        true
    }
}

/// The range that the next request asks for.
fn read_range(reader: &mut impl BufRead) -> Option<Range<u64>> {
    let mut range = 0..u64::MAX;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            return Some(range);
        }
        if let Some(("range", value)) = line.trim_end().to_lowercase().split_once(": ") {
            let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
            let end = last.parse::<u64>().map_or(u64::MAX, |last| last + 1);
            range = first.parse().ok()?..end;
        }
    }
}

/// What a story plays in: a store over a simulated disk, and the files of one origin.
pub(super) struct World {
    files: Rc<Files>,
    pool: BufPool,
    disk: Sim,
}

impl World {
    fn new(address: SocketAddr) -> Self {
        Self::with_volume(address, 256 * MIB)
    }

    fn with_volume(address: SocketAddr, bytes: u64) -> Self {
        let pool = BufPool::new(bufpool::Options { budget_bytes: 64 << 20 });
        let disk = Sim::default();
        let volumes = Volumes::on(vec![Disk::Sim(disk.clone())], bytes, pool.clone());
        Self { disk, ..Self::over(address, volumes, pool) }
    }

    pub(super) fn over(address: SocketAddr, volumes: Volumes, pool: BufPool) -> Self {
        let store = Rc::new(AssetStore::new(assets::Options::default(), volumes));
        let options = net::Options {
            retry_base: Duration::from_millis(1),
            retry_longest: Duration::from_millis(2),
            ..net::Options::default()
        };
        let table = Resolver::Table(Table::default());
        let client = Client::new(options, &Roots::only([]).unwrap(), table);
        let base = format!("http://{address}/").parse().unwrap();
        let origin = Origin::new("origin", base).unwrap().allow_literal();
        let files = Rc::new(Files::new(store, client, vec![origin], vec![]));
        Self { files, pool, disk: Sim::default() }
    }

    /// Waits until nothing is written any more.
    async fn rests(&self) {
        let mut operations = u64::MAX;
        while std::mem::replace(&mut operations, self.disk.operations()) != operations {
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn open(&self) -> Result<Reader, Error> {
        self.open_song("song").await
    }

    /// To pass it on from a position on.
    async fn open_at(&self, position: u64) -> Result<Reader, Error> {
        let fields = http::HeaderMap::new();
        let opened = self.files.open_original("origin", "song", &fields, position).await?;
        Ok(Reader::new(opened.source, self.pool.clone(), MIB))
    }

    pub(super) async fn open_song(&self, name: &str) -> Result<Reader, Error> {
        let opened = timeout(PATIENCE, self.files.open("origin", name)).await;
        let source = opened.expect("opening hangs")?.source;
        Ok(Reader::new(source, self.pool.clone(), MIB))
    }
}

/// Reads what is needed, waits no longer than a hang, and checks every byte that came.
async fn read(reader: &mut Reader, need: Range<u64>, version: u64) -> Result<u64, Failure> {
    let fetched = timeout(PATIENCE, reader.fetch(need.clone())).await;
    fetched.unwrap_or_else(|_| panic!("a read at {} hangs", need.start))?;
    Ok(check(reader, need, version))
}

/// How many bytes from the start of `range` are resident; all of them must be the right ones.
fn check(reader: &Reader, range: Range<u64>, version: u64) -> u64 {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    let count = reader.resident().read(range.start, &mut bytes);
    let right = content(range.start..range.start + count as u64, version);
    assert!(bytes[..count] == right, "a stale byte at {range:?}");
    count as u64
}

/// Reads from `from` to the end, or to the error.
pub(super) async fn follow(reader: &mut Reader, from: u64, version: u64) -> (u64, Option<Failure>) {
    let mut at = from;
    while !reader.resident().at_end(at) {
        match read(reader, at..at + 100 * KIB, version).await {
            Ok(count) => at += count,
            Err(failure) => return (at, Some(failure)),
        }
    }
    (at, None)
}

/// Waits until so many bodies are sent: the origin sees only by its writes that one is given up.
async fn settle(origin: &State, is_settled: impl Fn(usize) -> bool) {
    let began = now();
    while !is_settled(origin.bodies.load(Ordering::SeqCst)) {
        let bodies = origin.bodies.load(Ordering::SeqCst);
        assert!(began.elapsed() < PATIENCE, "{bodies} bodies are still sent");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Runs a story against an origin, on a shard: a panic on a shard would end the process.
pub(super) fn story<T, F, Fut>(origin: &Slow, story: F) -> T
where
    T: Send + 'static,
    F: Fn(World) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let (address, (sender, receiver)) = (origin.address, mpsc::channel());
    let options = runtime::Options { shards: 1, blocking_threads: 1, oversubscribe: true };
    let main = move |_| {
        let (story, sender) = (story.clone(), sender.clone());
        async move {
            let told = AssertUnwindSafe(story(World::new(address))).catch_unwind().await;
            let _ = sender.send(told);
        }
    };
    runtime::run(options, main).expect("a shard starts");
    let told = receiver.recv().expect("the story has an end");
    told.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("SEED={seed} repeats it");
    seed
}

#[test]
fn a_thousand_jumps_during_a_slow_fill_meet_no_stale_byte_and_no_false_end() {
    let song = Song { pace_bytes: 32 * KIB, broken: BROKEN, ..Song::new(LENGTH) };
    let (origin, seed) = (Slow::start(song), seed());
    let state = Arc::clone(&origin.state);
    let (epochs, abandoned, failures) =
        story(&origin, move |world| jump(world, seed, Arc::clone(&state)));
    let (asked, sent) = (origin.asked().len(), origin.state.sent_bytes.load(Ordering::SeqCst));
    println!(
        "{epochs} epochs, {abandoned} abandoned, {failures} failed; {asked} requests, {} KiB sent",
        sent as u64 / KIB
    );
    assert!(epochs > JUMPS * 8 / 10 && abandoned > 50 && failures > 5);
    assert!(sent as u64 <= LENGTH + LENGTH / 2, "{sent} bytes were sent of {LENGTH}");
}

#[test]
fn what_the_disk_loses_under_a_reader_is_fetched_again() {
    let origin = Slow::start(Song::new(MIB));
    let state = Arc::clone(&origin.state);
    story(&origin, move |world| heal(world, Arc::clone(&state)));
}

async fn heal(world: World, origin: Arc<State>) {
    let mut reader = rot(&world, MIB).await;
    assert_eq!(origin.asked().len(), 1);
    let (end, failure) = follow(&mut reader, 200 * KIB, 1).await;
    assert!(end == MIB && failure.is_none(), "{end}: {failure:?}");
    let corrupt_chunks = world.files.store().volumes().stats().corrupt_chunks;
    assert!(origin.asked().len() > 1 && corrupt_chunks >= 12);
}

/// Bytes that were lost are here again before the disk has them, and behind them more may be lost.
#[test]
fn who_reads_what_the_disk_loses_does_not_wait_for_it_to_write() {
    let origin = Slow::start(Song::new(4 * CHUNK_BYTES));
    story(&origin, |world| async move {
        let mut reader = rot(&world, 4 * CHUNK_BYTES).await;
        world.disk.hold_writes();
        let (end, failure) = follow(&mut reader, CHUNK_BYTES, 1).await;
        assert!(end == 4 * CHUNK_BYTES && failure.is_none(), "{end}: {failure:?}");
        world.disk.release_all();
    });
}

#[test]
fn what_is_lost_of_a_song_that_nothing_proves_the_same_ends_short_and_begins_anew() {
    let origin = Slow::start(Song { fields: String::new(), ..Song::new(MIB) });
    let state = Arc::clone(&origin.state);
    story(&origin, move |world| begin_anew(world, Arc::clone(&state)));
}

async fn begin_anew(world: World, origin: Arc<State>) {
    let mut reader = rot(&world, MIB).await;
    let (end, failure) = follow(&mut reader, 200 * KIB, 1).await;
    let cause = failure.as_ref().and_then(Failure::cause::<net::Error>);
    assert_eq!((end < MIB, cause), (true, Some(&net::Error::Changed)), "{failure:?}");
    assert_eq!(origin.asked().len(), 1, "bytes of what may be another version were fetched");
    origin.change(|song| song.version = 2);
    let mut reader = world.open().await.unwrap();
    let (end, failure) = follow(&mut reader, 0, 2).await;
    assert!(end == MIB && failure.is_none(), "{end}: {failure:?}");
}

/// A reader of a song of so many bytes that is on disk, where now every page has a flipped bit.
async fn rot(world: &World, length: u64) -> Reader {
    let volumes = world.files.store().volumes();
    volumes.limit_tier(0);
    let mut reader = world.open().await.unwrap();
    let (end, failure) = follow(&mut reader, 0, 1).await;
    assert!(end == length && failure.is_none());
    drop(reader);
    // A fill that still runs would see the loss by itself.
    let began = now();
    while !world.files.store().is_empty() {
        assert!(began.elapsed() < PATIENCE, "the song does not come to rest");
        sleep(Duration::from_millis(1)).await;
    }
    let mut reader = world.open().await.unwrap();
    read(&mut reader, 0..10, 1).await.unwrap();
    let disk = &world.disk;
    (0..disk.length()).step_by(4096).for_each(|page| disk.flip(page + 77, 3));
    reader
}

const LENGTH: u64 = 48 * MIB + 12_345;
const BROKEN: Range<u64> = 20 * MIB..21 * MIB;
const JUMPS: u64 = 1_000;

/// Jumps about in the song. How many epochs there were, and how many jumps were abandoned, and
/// failed where they had to.
async fn jump(world: World, seed: u64, origin: Arc<State>) -> (u64, u64, u64) {
    let mut random = Random(seed);
    let mut reader = world.open().await.unwrap();
    let (mut abandoned, mut failures) = (0, 0);
    for number in 0..JUMPS {
        let at = match random.below(20) {
            0 => LENGTH + random.below(3),
            1 => LENGTH - 1 - random.below(KIB),
            2 => BROKEN.start + random.below(MIB),
            _ => random.below(LENGTH),
        };
        let need = at..at + 1 + random.below(80 * KIB);
        // Half of the jumps do not wait for what they asked for.
        let limit = if random.below(2) == 0 { random.below(3) } else { 20_000 };
        let fetched = timeout(Duration::from_millis(limit), reader.fetch(need.clone())).await;
        let count = check(&reader, need, 1);
        assert!(!reader.resident().at_end(at) || at >= LENGTH, "a false end at {at}");
        match fetched {
            Err(_) if limit < 3 => abandoned += 1,
            Err(_) => panic!("a read at {at} hangs"),
            Ok(Ok(())) => assert_eq!(count == 0, at >= LENGTH, "at {at}"),
            // A fetch begins at its chunk, and breaks off where the next bytes are broken.
            Ok(Err(failure)) => {
                let near = BROKEN.start - 2 * CHUNK_BYTES..BROKEN.end;
                assert!(near.contains(&at), "the error of another position at {at}: {failure}");
                failures += 1;
            }
        }
        if number % 100 == 99 {
            // Fetches of abandoned epochs are gone: one reader has one at most.
            settle(&origin, |bodies| bodies <= 1).await;
        }
    }
    (reader.epoch(), abandoned, failures)
}

#[test]
fn the_fetch_of_an_abandoned_position_goes_on_only_while_another_reader_waits_for_it() {
    let origin = Slow::start(Song { pace_bytes: 4 * KIB, ..Song::new(32 * MIB) });
    let state = Arc::clone(&origin.state);
    story(&origin, move |world| {
        let state = Arc::clone(&state);
        async move {
            let (mut first, mut second) =
                (world.open().await.unwrap(), world.open().await.unwrap());
            // More than a reader wants ahead once it has jumped.
            let mut at = 0;
            while at < 1_300 * KIB {
                at += read(&mut first, at..at + 64 * KIB, 1).await.unwrap();
            }
            read(&mut second, 0..1, 1).await.unwrap();
            settle(&state, |bodies| bodies == 1).await;
            read(&mut first, 16 * MIB..16 * MIB + 1, 1).await.unwrap();
            settle(&state, |bodies| bodies == 2).await;
            read(&mut second, 16 * MIB..16 * MIB + 1, 1).await.unwrap();
            settle(&state, |bodies| bodies == 1).await;
            // Also where all that is wanted now is here already.
            read(&mut first, 0..1, 1).await.unwrap();
            settle(&state, |bodies| bodies == 1).await;
            read(&mut second, 0..1, 1).await.unwrap();
            settle(&state, |bodies| bodies == 0).await;
            // They were cancelled: none of them got to its end.
            let sent = state.sent_bytes.load(Ordering::SeqCst) as u64;
            assert!(sent < 10 * MIB, "{sent} bytes were sent");
        }
    });
}

#[test]
fn the_rest_of_a_chunk_is_fetched_from_where_it_ends() {
    let origin = Slow::start(Song { part_bytes: 1000, ..Song::new(8 * MIB) });
    story(&origin, |world| async move {
        let opened = world.files.open("origin", "song").await.unwrap();
        let resource = Rc::clone(&opened.lease().unwrap().resource);
        for from in [5 * MIB, 5 * MIB + 5000] {
            let _demand = resource.demand(from..from + 100, 0);
            while resource.present_from(from).is_none() {
                sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let asked = origin.asked();
    let from_1000: Vec<_> = (0..6).map(|part| 5 * MIB + part * 1000).collect();
    assert_eq!(asked[1..7], from_1000, "{asked:?}");
}

#[test]
fn what_came_of_a_chunk_before_its_fetch_was_given_up_is_on_disk() {
    let origin = Slow::start(Song::new(64 * MIB));
    let state = Arc::clone(&origin.state);
    story(&origin, move |world| {
        let state = Arc::clone(&state);
        async move {
            let mut stays = world.open().await.unwrap();
            read(&mut stays, 0..100, 1).await.unwrap();
            // Not as slow as what is written for that.
            state.change(|song| song.pace_bytes = KIB);
            for jump in 1..20 {
                let mut reader = world.open().await.unwrap();
                let from = jump * 3 * MIB + 40 * KIB;
                read(&mut reader, from..from + 100, 1).await.unwrap();
            }
            let opened = world.files.open("origin", "song").await.unwrap();
            let resource = Rc::clone(&opened.lease().unwrap().resource);
            let unsaved = || resource.present_bytes() - resource.stored_bytes_of(&(0..64 * MIB));
            // The song's own fetch may have part of a chunk, and the last of the jumps.
            let began = now();
            while unsaved() > 2 * CHUNK_BYTES {
                assert!(began.elapsed() < PATIENCE, "{} bytes are not written", unsaved());
                sleep(Duration::from_millis(2)).await;
            }
            drop(stays);
        }
    });
}

#[test]
fn a_range_that_cannot_be_had_fails_who_waits_for_it_and_nobody_else() {
    let song = Song { pace_bytes: 64 * KIB, broken: 8 * MIB..9 * MIB, ..Song::new(16 * MIB) };
    let origin = Slow::start(song);
    let state = Arc::clone(&origin.state);
    story(&origin, move |world| {
        let state = Arc::clone(&state);
        async move {
            let (mut near, mut far) = (world.open().await.unwrap(), world.open().await.unwrap());
            read(&mut near, 0..1, 1).await.unwrap();
            let refused = read(&mut far, 8 * MIB..8 * MIB + 1, 1).await.unwrap_err();
            assert!(matches!(refused.cause(), Some(net::Error::Connection(_))), "{refused}");
            // The other one reads on, up to where it is broken.
            let (at, failure) = follow(&mut near, 1, 1).await;
            assert!(failure.is_some() && at == 8 * MIB, "at {at}: {failure:?}");
            // The one that was refused jumps to where there is something.
            read(&mut far, 12 * MIB..12 * MIB + 9, 1).await.unwrap();
            // What is here serves who comes later, and what was broken is asked for anew.
            state.change(|song| song.broken = 0..0);
            let asked = state.asked().len();
            let mut late = world.open().await.unwrap();
            let (end, failure) = follow(&mut late, 0, 1).await;
            assert!(failure.is_none() && end == 16 * MIB, "at {end}: {failure:?}");
            let again = state.asked()[asked..].to_vec();
            assert!(again.iter().all(|from| *from >= 8 * MIB), "fetched again: {again:?}");
        }
    });
}

#[test]
fn an_origin_without_ranges_is_not_asked_again_at_each_jump() {
    let origin = Slow::start(Song { ranges: false, pace_bytes: 32 * KIB, ..Song::new(12 * MIB) });
    story(&origin, |world| async move {
        let (mut first, mut second) = (world.open().await.unwrap(), world.open().await.unwrap());
        let jumping = async {
            for at in [3 * MIB, 9 * MIB, 6 * MIB, 11 * MIB] {
                let _ = timeout(Duration::from_millis(9), first.fetch(at..at + 9)).await;
            }
            read(&mut first, 11 * MIB..11 * MIB + 9, 1).await
        };
        let (jumped, (end, failure)) =
            futures_lite::future::zip(jumping, follow(&mut second, 0, 1)).await;
        assert!(jumped.is_ok() && failure.is_none() && end == 12 * MIB, "{failure:?}");
    });
    assert_eq!(origin.state.asked(), [0]);
}

#[test]
fn who_opens_just_as_a_deserted_fill_ends_gets_its_bytes() {
    // Past the first mebibyte and before the half, a fill ends with its last reader.
    let origin = Slow::start(Song { pace_bytes: 64 * KIB, ..Song::new(8 * MIB) });
    story(&origin, |world| async move {
        let world = Rc::new(world);
        for yields in 0..16 {
            let mut reader = world.open().await.unwrap();
            let mut at = 0;
            while at < 1_200 * KIB {
                at += read(&mut reader, at..at + 64 * KIB, 1).await.unwrap();
            }
            drop(reader);
            for _ in 0..yields {
                yield_now().await;
            }
            let client = async |world: Rc<World>, number: u64| {
                let mut reader = world.open().await.unwrap();
                let missing = (2 + number % 4) * MIB;
                read(&mut reader, missing..missing + 9, 1).await.unwrap();
            };
            let clients: Vec<_> = (0..8)
                .map(|number| spawn(Queue::Io, "client", client(Rc::clone(&world), number)))
                .collect();
            for client in clients {
                client.await.expect("a client that opened in the window got nothing");
            }
            // The next round begins with nothing.
            let opened = world.files.open("origin", "song").await.unwrap();
            world.files.store().forget(opened.lease().unwrap());
        }
    });
}

/// A fill whose last reader has left writes what it has of its last chunk, which may take as long as
/// the disk likes. Who comes meanwhile must not wait for that one to fetch: it does not any more.
#[test]
fn who_opens_while_a_deserted_fill_is_still_written_gets_its_bytes() {
    let origin = Slow::start(Song { pace_bytes: 64 * KIB, ..Song::new(8 * MIB) });
    let state = Arc::clone(&origin.state);
    story(&origin, move |world| {
        let state = Arc::clone(&state);
        async move {
            loop {
                let mut reader = world.open().await.unwrap();
                let mut at = 0;
                while at < 1_200 * KIB {
                    at += read(&mut reader, at..at + 64 * KIB, 1).await.unwrap();
                }
                state.held.store(true, Ordering::SeqCst);
                world.rests().await;
                world.disk.hold();
                drop(reader);
                state.held.store(false, Ordering::SeqCst);
                settle(&state, |bodies| bodies == 0).await;
                if world.disk.held() > 0 {
                    break;
                }
                // The machine was so busy that the last chunk was written before, being slow.
                world.disk.release_all();
                let opened = world.files.open("origin", "song").await.unwrap();
                world.files.store().forget(opened.lease().unwrap());
            }
            let mut late = world.open().await.unwrap();
            read(&mut late, 4 * MIB..4 * MIB + 9, 1).await.unwrap();
            world.disk.release_all();
        }
    });
}

/// As on a disk that takes its time, or while the journal is turned over.
#[test]
fn what_ends_while_the_journal_is_behind_is_kept_whole() {
    let origin = Slow::start(Song::new(4 * CHUNK_BYTES + 99));
    let state = Arc::clone(&origin.state);
    story(&origin, move |world| end_behind(world, Arc::clone(&state)));
    assert_eq!(origin.asked(), [0], "all of it stayed");
}

async fn end_behind(world: World, state: Arc<State>) {
    let volumes = world.files.store().volumes().clone();
    state.held.store(true, Ordering::SeqCst);
    let mut reader = world.open().await.unwrap();
    volumes.remember(VolumeIndex(0), vec![vec![7; SNAPSHOT_BYTES]; 70]);
    state.held.store(false, Ordering::SeqCst);
    for is_again in [false, true] {
        let (end, failure) = follow(&mut reader, 0, 1).await;
        assert!(failure.is_none() && end == 4 * CHUNK_BYTES + 99, "{failure:?} at {end}");
        drop(reader);
        let began = now();
        while !is_again && !world.files.store().is_empty() {
            assert!(began.elapsed() < PATIENCE, "it does not come to rest");
            sleep(Duration::from_millis(300)).await;
            volumes.tick(now(), Duration::from_secs(5)).await;
        }
        reader = world.open().await.unwrap();
    }
}

#[test]
fn who_waits_for_a_fill_that_panics_is_told_and_may_come_again() {
    let origin = Slow::start(Song::new(MIB));
    story(&origin, |world| async move {
        let is_first = Cell::new(true);
        world.files.store().observe(move |_, news| {
            assert!(!matches!(news, News::FillBegun) || !is_first.take(), "on purpose");
        });
        let mut reader = world.open().await.unwrap();
        assert!(read(&mut reader, 0..9, 1).await.is_err(), "nobody fetched anything");
        let mut again = world.open().await.unwrap();
        let (end, failure) = follow(&mut again, 0, 1).await;
        assert!(end == MIB && failure.is_none(), "{end}: {failure:?}");
    });
}

#[test]
fn a_fetch_that_nobody_waits_for_ends_after_its_first_mebibyte() {
    let origin = Slow::start(Song { pace_bytes: 64 * KIB, ..Song::new(48 * MIB) });
    let state = Arc::clone(&origin.state);
    story(&origin, move |world| {
        let state = Arc::clone(&state);
        async move {
            drop(world.open().await.unwrap());
            settle(&state, |bodies| bodies == 0).await;
        }
    });
    let sent = origin.state.sent_bytes.load(Ordering::SeqCst) as u64;
    assert!((MIB..3 * MIB).contains(&sent), "{sent} bytes were sent for nobody");
}

#[test]
fn where_memory_runs_short_little_is_asked_for_ahead_of_its_need() {
    let origin = Slow::start(Song::new(8 * MIB));
    story(&origin, |world| async move {
        let opened = world.files.open("origin", "song").await.unwrap();
        let resource = Rc::clone(&opened.lease().unwrap().resource);
        let mut reader = Reader::new(opened.source, world.pool.clone(), MIB);
        let ahead = || resource.demands().iter().map(|demand| demand.range.end).max().unwrap();
        let others = world.pool.charge(56 << 20).unwrap();
        read(&mut reader, 0..9, 1).await.unwrap();
        assert_eq!(ahead(), CHUNK_BYTES);
        drop(others);
        // What was read is resident, and the rest is asked for from there.
        read(&mut reader, 0..9, 1).await.unwrap();
        assert!(ahead() >= 4 * CHUNK_BYTES, "{}", ahead());
    });
}

/// A long song is fetched far ahead of a slow reader as long as the disk takes it. What would come then
/// is dropped before the reader is there.
#[test]
fn what_the_disk_takes_no_more_of_is_fetched_when_its_reader_comes_near() {
    let origin = Slow::start(Song { pace_bytes: 32 * KIB, ..Song::new(24 * MIB) });
    let (address, state) = (origin.address, Arc::clone(&origin.state));
    story(&origin, move |_| {
        let state = Arc::clone(&state);
        async move {
            let world = World::with_volume(address, 16 * MIB);
            let mut reader = world.open().await.unwrap();
            read(&mut reader, 0..9, 1).await.unwrap();
            settle(&state, |bodies| bodies == 0).await;
            let sent = state.sent_bytes.load(Ordering::SeqCst) as u64;
            assert!((8 * MIB..16 * MIB).contains(&sent), "{sent} bytes were sent");
            let (end, failure) = follow(&mut reader, 0, 1).await;
            assert!(failure.is_none() && end == 24 * MIB, "{failure:?} at {end}");
            let asked = state.asked();
            assert!(asked.len() > 1 && asked[1..].iter().all(|at| *at > 7 * MIB), "{asked:?}");
        }
    });
}

/// What leaves a full cache is what something else needs the place of, not all that might come.
#[test]
fn who_wants_little_of_a_long_song_drives_little_out() {
    let origin = Slow::start(Song::new(4 * MIB));
    let (address, state) = (origin.address, Arc::clone(&origin.state));
    story(&origin, move |_| {
        let state = Arc::clone(&state);
        async move {
            let world = World::with_volume(address, 64 * MIB);
            for number in 0..15 {
                let mut reader = world.open_song(&format!("song-{number}")).await.unwrap();
                assert_eq!(follow(&mut reader, 0, 1).await.0, 4 * MIB);
            }
            state.change(|song| (song.length, song.pace_bytes) = (48 * MIB, 64 * KIB));
            for number in 0..4 {
                let mut reader = world.open_song(&format!("long-{number}")).await.unwrap();
                read(&mut reader, 0..9, 1).await.unwrap();
                drop(reader);
                settle(&state, |bodies| bodies == 0).await;
            }
            let evicted = world.files.store().stats().evicted;
            assert!(evicted <= 4, "{evicted} songs left for four times a mebibyte");
        }
    });
}

/// An origin that stands still in the middle of a chunk, or gives it by and by.
#[test]
fn a_chunk_that_comes_slowly_is_on_disk_before_it_is_full() {
    let song = Song { pace_bytes: 100, ..Song::new(80 * KIB + 77) };
    let origin = Slow::start(song);
    let state = Arc::clone(&origin.state);
    story(&origin, move |world| begin_slowly(world, Arc::clone(&state)));
    assert_eq!(origin.asked(), [0], "what was written early was not asked for again");
}

async fn begin_slowly(world: World, state: Arc<State>) {
    let mut reader = world.open().await.unwrap();
    read(&mut reader, 0..1, 1).await.unwrap();
    let volumes = world.files.store().volumes().clone();
    let stored = || volumes.objects(VolumeIndex(0)).iter().map(|o| o.stored_bytes).sum::<u64>();
    let (began, head) = (now(), BLOCK_BYTES);
    while stored() <= head {
        assert!(began.elapsed() < PATIENCE, "it is not written");
        sleep(Duration::from_millis(2)).await;
    }
    state.change(|song| song.pace_bytes = u64::MAX);
    let sent = state.sent_bytes.load(Ordering::SeqCst) as u64;
    assert!(sent < CHUNK_BYTES, "{sent} bytes are no partial chunk");
    let (end, failure) = follow(&mut reader, 0, 1).await;
    assert!(failure.is_none() && end == 80 * KIB + 77, "{failure:?} at {end}");
}
