//! Whether a session forgets the variants that it left: 1,000 switches, and the heap beside them.
//!
//! `cargo run --release --example switches [-- SWITCHES]`. A presentation of two variants that are nearly as good as
//! each other. By its playlist (EXT-X-BITRATE) every other segment of each takes far more than the line carries, of
//! the one those that are even, of the other those that are odd: so each segment is heard in the variant in which the
//! one before was not.
//!
//! It is played twice, faster than its pace. The first time the node fetches it, which is what its cache and its catalog
//! grow by. The second time all that is heard is there, and what the heap of the whole process grows by is what a
//! switch leaves behind. Blocks of the pool are said apart; the origin and the client have threads that are not
//! counted.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::{
    io::Read,
    thread,
    time::{Duration, Instant},
};

use kithara::server::{Options, Ready};
use kithara_bench::{
    Counting, Scratch, Stream, Table, apart,
    hls::{Files, Form, Manner, node, origin, presentation, shard},
};

#[global_allocator]
static HEAP: Counting = Counting::new();

const SWITCHES: usize = 1000;
/// Of a segment, in seconds. Of a shorter one too little comes for anything to be known of the line.
const SEGMENT: f64 = 1.0;
/// What the line carries, in bits per second: segments at 30 times their pace.
const LINE: u32 = 4_000_000;
/// How far ahead it is fetched: of who has more in hand a segment may take some seconds.
const READ_AHEAD: Duration = Duration::from_secs(1);
/// What segments are said to take, in thousands of bits per second.
const USUAL: u32 = 130;
const TOO_MUCH: u32 = 60_000;
/// How much faster than its pace the client reads.
const FASTER: f64 = 12.0;
/// Rows of the table, of each time that it is played.
const LOOKS: usize = 10;
/// How far the looks may be apart, in KiB: what is under way at one is not at another.
const FLAT_KIB: usize = 256;

fn main() {
    apart();
    let switches = std::env::args().nth(1).and_then(|count| count.parse().ok());
    let switches: usize = switches.unwrap_or(SWITCHES);
    let scratch = Scratch::new("switches");
    // Before anything is known of the line, and where the client is early, nothing is chosen anew.
    let seconds = (switches * 4) as f64 * SEGMENT;
    let sound = format!("sine=440:sample_rate=44100:d={seconds}");
    let files = presentation(&scratch.path().join("hls"), Form::Ts, &sound, SEGMENT);
    let manner = Manner { bits_per_second: Some(LINE), is_kept };
    let address = origin(manner, ladder(&files));
    let near = |options: &mut Options| options.shard.reach.time = READ_AHEAD;
    let ready = node(address, scratch.path(), "128MiB", near);

    let table = Table::new(10, ["played", "switches", "heap KiB", "blocks KiB", "missing", "s"]);
    play(&table, "first", ready, switches);
    let heap_kib = play(&table, "again", ready, switches);
    assert!(heap_kib.len() > LOOKS, "fewer than {switches} switches were made");
    // At the first look what was played before may not yet be gone.
    let later = &heap_kib[1..];
    let (least, most) = (later.iter().min(), later.iter().max());
    let (least, most) = (least.expect("it was looked at"), most.expect("likewise"));
    assert!(most - least <= FLAT_KIB, "the heap has from {least} to {most} KiB");
    println!("The heap stays within {} KiB.", most - least);
}

/// What the origin has: `master.m3u8`, and the segments below the folder of each variant.
fn ladder(files: &Files) -> impl Fn(&str) -> Option<&'static [u8]> + Send + Sync + 'static {
    let list = str::from_utf8(files["list.m3u8"]).expect("a playlist is text");
    let lists = [0, 1].map(|parity| &*said(list, parity).into_bytes().leak());
    let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=140000\n0/list.m3u8\n\
                  #EXT-X-STREAM-INF:BANDWIDTH=141000\n1/list.m3u8\n";
    let files = files.clone();
    move |path| match path.split_once('/') {
        None => (path == "master.m3u8").then_some(master.as_bytes()),
        Some(("0", "list.m3u8")) => Some(lists[0]),
        Some(("1", "list.m3u8")) => Some(lists[1]),
        Some((_, name)) => files.get(name).copied(),
    }
}

/// What takes too much by its playlist is never there, though parts of it are read where a variant is entered.
fn is_kept(path: &str) -> bool {
    let parts = path
        .split_once("/part")
        .map(|(variant, number)| [variant, number].map(str::parse::<usize>));
    match parts {
        Some([Ok(variant), Ok(number)]) => number % 2 == variant,
        _ => true,
    }
}

/// The playlist of the variant whose segments are as usual where their number has this parity.
fn said(list: &str, parity: usize) -> String {
    let mut number = 0;
    let lines = list.lines().map(|line| {
        if !line.starts_with("#EXTINF") {
            return format!("{line}\n");
        }
        let kbits = if number % 2 == parity { USUAL } else { TOO_MUCH };
        number += 1;
        format!("#EXT-X-BITRATE:{kbits}\n{line}\n")
    });
    lines.collect()
}

/// Plays it until so many switches were made, or to its end; says how large the heap was at each look.
fn play(table: &Table<6>, name: &str, ready: Ready, switches: usize) -> Vec<usize> {
    let path = "/v1/pcm?src=music:master.m3u8&format=s16le";
    let before = made(ready);
    let mut stream = Stream::open(ready.listen, path, Some(32 << 10)).expect("it plays");
    let (mut heap_kib, mut next, begun) = (Vec::new(), 0, Instant::now());
    let mut piece = vec![0; 44_100 / 5];
    for tenth in 1.. {
        let is_over = stream.read_exact(&mut piece).is_err() || next > switches;
        let due = Duration::from_millis(100 * tenth).div_f64(FASTER);
        thread::sleep(due.saturating_sub(begun.elapsed()));
        let (now, missing) = made(ready);
        let now = now - before.0;
        if now >= next && !is_over {
            next = now + switches / LOOKS;
            heap_kib.push(HEAP.heap_bytes() >> 10);
            table.row([
                name.to_owned(),
                now.to_string(),
                (HEAP.heap_bytes() >> 10).to_string(),
                (HEAP.block_bytes() >> 10).to_string(),
                missing.to_string(),
                begun.elapsed().as_secs().to_string(),
            ]);
        }
        if is_over {
            break;
        }
    }
    heap_kib
}

/// Switches that the node has made, and segments that were missing.
fn made(ready: Ready) -> (usize, u64) {
    let said = shard(ready.admin);
    let count = |name: &str| said["hls"][name].as_u64().expect("it is said");
    (count("variant_switches") as usize, count("missing_segments"))
}
