//! Decoded audio by byte ranges: every part is that part of the whole, whoever made it and whenever.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    ops::Range,
    time::Duration,
};

use kithara::demo;

use crate::{
    client::{Response, connect, read_response},
    node::{Node, node, scratch},
    origin::origin,
    wav,
};

/// Rate and format of what is asked for: as it is, and through the resampler.
const QUERIES: [&str; 5] = [
    "",
    "&format=f32le&d=3",
    "&rate=48000&format=s16le&d=3",
    "&rate=48000&format=f32le",
    "&rate=22050&channels=1&format=wav24",
];

/// Numbers that are the same in every run (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

impl Node {
    fn part(&self, target: &str, range: &Range<usize>) -> Response {
        let field = format!("Range: bytes={}-{}\r\n", range.start, range.end - 1);
        self.get_with(target, &field)
    }

    /// Asks for parts of it at random, in each of the [`QUERIES`].
    fn parts_are_the_whole(&self, src: &str, random: &mut Random) {
        for query in QUERIES {
            let target = format!("/v1/pcm?src={src}{query}");
            let whole = self.get(&target).ok().body;
            self.parts_are_those_of(&whole, &target, random, 4);
        }
    }

    /// Asks for so many parts at random, and compares them with the whole.
    fn parts_are_those_of(&self, whole: &[u8], target: &str, random: &mut Random, count: usize) {
        for _ in 0..count {
            let start = random.below(whole.len() as u64 - 1) as usize;
            let most = 1 << random.below(20);
            let length = 1 + random.below(most) as usize;
            let range = start..(start + length).min(whole.len());
            let part = self.part(target, &range);
            assert_eq!(part.status, 206, "{target} {range:?}");
            assert!(part.body == whole[range.clone()], "{target} {range:?}");
            let stated = format!("bytes {}-{}/{}", range.start, range.end - 1, whole.len());
            assert_eq!(part.field("content-range"), Some(&stated[..]));
        }
    }
}

#[test]
fn any_part_is_that_part_of_the_whole() {
    let node = node().shards(2).arg("--demo").start();
    let mut random = Random(4);
    for file in demo::FILES {
        node.parts_are_the_whole(&format!("demo:{}", file.name), &mut random);
    }
}

/// A connection that stays, so that one shard serves all its requests.
struct Line {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl Line {
    fn new(node: &Node) -> Self {
        Self { stream: connect(node.listen), ahead: Vec::new() }
    }

    fn ask(&mut self, target: &str, fields: &str) {
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        self.stream.write_all(head.as_bytes()).unwrap();
    }

    fn answer(&mut self) -> Response {
        read_response(&mut self.stream, &mut self.ahead, false)
    }

    /// The shard that has accepted it, as the operator is told while more is on its way than sockets hold.
    fn shard(&mut self, node: &Node) -> usize {
        self.ask("/o/origin/long", "");
        self.stream.peek(&mut [0]).unwrap();
        let told = node.told("/v1/streams");
        let streams = told["streams"].as_array().unwrap();
        assert_eq!(streams.len(), 1, "{told}");
        let shard = streams[0]["client_shard"].as_u64().unwrap();
        assert_eq!(self.answer().ok().body.len(), LONG_BYTES);
        shard as usize
    }
}

const LONG_BYTES: usize = 8 << 20;

/// A connection that each of two shards has accepted.
fn one_of_each_shard(node: &Node) -> [Line; 2] {
    let mut lines = [None, None];
    // The kernel deals them out at random: that one shard gets all of so many is seen by nobody.
    for _ in 0..64 {
        let mut line = Line::new(node);
        let shard = line.shard(node);
        lines[shard] = Some(line);
        if lines.iter().all(Option::is_some) {
            break;
        }
    }
    lines.map(|line| line.expect("each shard accepts some"))
}

#[test]
fn any_part_is_the_same_through_each_shard() {
    let origin = origin().file("long", &[7; LONG_BYTES]).start();
    let node = node().shards(2).origin(&origin).arg("--demo").start();
    let mut lines = one_of_each_shard(&node);
    let mut random = Random(9);
    for file in demo::FILES {
        for query in ["&d=3", "&rate=48000&format=f32le&d=3"] {
            let target = format!("/v1/pcm?src=demo:{}{query}", file.name);
            // Parts first: now this shard has them made, now the other.
            let parts = [0, 1, 1, 0].map(|shard| {
                let start = 44 + random.below(60_000) as usize;
                let range = start..start + 1 + random.below(40_000) as usize;
                let field = format!("Range: bytes={}-{}\r\n", range.start, range.end - 1);
                let parts = [shard, 1 - shard].map(|shard| {
                    lines[shard].ask(&target, &field);
                    lines[shard].answer()
                });
                (range, parts)
            });
            let whole = node.get(&target).ok().body;
            for (range, parts) in parts {
                for part in parts {
                    assert_eq!((part.status, part.complete), (206, true), "{target} {range:?}");
                    assert!(part.body == whole[range.clone()], "{target} {range:?}");
                }
            }
        }
    }
    let told = node.told("/v1/shards");
    let served = |shard: &serde_json::Value| shard["sessions"]["pcm"].as_u64().unwrap() > 0;
    assert!(told["shards"].as_array().unwrap().iter().all(served), "both own some of them");
}

#[test]
fn any_part_of_opus_is_that_part_of_the_whole() {
    let origin = origin().file("song.opus", include_bytes!("../material/opus.ogg")).start();
    let node = node().shards(2).origin(&origin).start();
    node.parts_are_the_whole("origin:song.opus", &mut Random(6));
}

#[test]
fn any_part_of_he_aac_is_that_part_of_the_whole() {
    let origin = origin().file("song.mp4", include_bytes!("../material/he-aac-v2.mp4")).start();
    let node = node().shards(2).origin(&origin).start();
    node.parts_are_the_whole("origin:song.mp4", &mut Random(8));
}

#[test]
fn a_part_is_the_same_if_nobody_listened_before_and_after_a_restart() {
    let cache = scratch();
    let mut random = Random(5);
    let start = |shards| node().shards(shards).cache(cache.path()).arg("--demo").start();
    let first = start(2);
    let shapes = ["", "&format=f32le", "&rate=48000", "&rate=48000&format=f32le"];
    let targets: Vec<_> = demo::FILES
        .iter()
        .flat_map(|file| shapes.map(|shape| format!("/v1/pcm?src=demo:{}{shape}&d=3", file.name)))
        .collect();
    // Parts first, so that nothing of the whole was made.
    let parts: Vec<_> = targets
        .iter()
        .map(|target| {
            let start = 44 + random.below(40_000) as usize;
            let range = start..start + 1 + random.below(80_000) as usize;
            (range.clone(), first.part(target, &range).body)
        })
        .collect();
    first.signal("-KILL");
    drop(first);
    let second = start(2);
    let wholes: Vec<_> = targets
        .iter()
        .zip(&parts)
        .map(|(target, (range, part))| {
            let whole = second.get(target).ok().body;
            assert!(*part == whole[range.clone()], "{target} {range:?}");
            second.parts_are_those_of(&whole, target, &mut random, 2);
            whole
        })
        .collect();
    second.signal("-TERM");
    second.ended(Duration::from_secs(20));
    let third = start(1);
    for (target, whole) in targets.iter().zip(&wholes) {
        third.parts_are_those_of(whole, target, &mut random, 1);
    }
}

#[test]
fn what_begins_later_has_its_own_parts() {
    let node = node().arg("--demo").start();
    let mut random = Random(6);
    let target = "/v1/pcm?src=demo:strings.flac&t=1.5&d=2.25&format=wav24";
    let whole = node.get(target).ok().body;
    node.parts_are_those_of(&whole, target, &mut random, 20);
    let last = node.get_with(target, "Range: bytes=-5\r\n");
    assert!(last.status == 206 && last.body == whole[whole.len() - 5..]);
    let head = node.part(target, &(0..44));
    assert!(head.body == whole[..44], "a header is a part like any other");
}

#[test]
fn conditions_and_ranges_that_cannot_be() {
    let node = node().arg("--demo").start();
    let target = "/v1/pcm?src=demo:strings.flac";
    let whole = node.get(target).ok();
    let length = whole.body.len();
    assert_eq!(whole.field("accept-ranges"), Some("bytes"));
    let beyond = node.get_with(target, &format!("Range: bytes={length}-\r\n"));
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.field("content-range"), Some(&format!("bytes */{length}")[..]));
    let etag = whole.field("etag").unwrap();
    let if_range = |validator: &str| {
        let fields = format!("Range: bytes=100-199\r\nIf-Range: {validator}\r\n");
        node.get_with(target, &fields)
    };
    assert_eq!((if_range(etag).status, if_range(etag).body.len()), (206, 100));
    assert_eq!((if_range("\"other\"").status, if_range("\"other\"").body.len()), (200, length));
    let had = node.get_with(target, &format!("Range: bytes=0-9\r\nIf-None-Match: {etag}\r\n"));
    assert_eq!((had.status, had.body.len()), (304, 0));
    let several = node.get_with(target, "Range: bytes=0-9,20-29\r\n");
    assert_eq!((several.status, several.body.len()), (200, length));
    let head = node.head(target);
    assert_eq!(head.field("accept-ranges"), Some("bytes"));
    assert_eq!(head.field("content-length"), Some(&length.to_string()[..]));
}

#[test]
fn what_has_no_length_has_no_parts() {
    let node = node().arg("--demo").start();
    let whole = node.get_with("/v1/pcm?src=demo:strings.mp3&format=flac", "Range: bytes=0-9\r\n");
    assert_eq!((whole.status, whole.field("accept-ranges")), (200, Some("none")));
    assert!(whole.body.len() > 10);
}

#[test]
fn packets_are_counted_where_nothing_else_tells_how_many_there_are() {
    let cache = scratch();
    let start =
        |wait| node().cache(cache.path()).arg("--demo").set("LIMITS__SCAN_WAIT", wait).start();
    let (first, names) = (start("5s"), ["strings.aac", "strings-bare.mp3"]);
    let bodies = names.map(|name| {
        let file = demo::FILES.iter().find(|file| file.name == name).unwrap();
        let target = format!("/v1/pcm?src=demo:{name}&format=s16le");
        let made = first.counter("/frames");
        let head = first.head(&target);
        let length = 2 * u64::from(file.channels) * file.frames;
        assert_eq!(head.field("content-length"), Some(&length.to_string()[..]), "{name}");
        assert_eq!(first.counter("/frames"), made, "a head decodes nothing");
        let whole = first.get(&target).ok();
        assert_eq!((whole.body.len() as u64, whole.field("etag")), (length, head.field("etag")));
        (target, whole)
    });
    first.signal("-TERM");
    first.ended(Duration::from_secs(20));
    // What was counted lies beside the source: nothing is passed again.
    let second = start("0s");
    for (target, whole) in bodies {
        let head = second.head(&target);
        assert_eq!(head.field("etag"), whole.field("etag"), "{target}");
        second.parts_are_those_of(&whole.body, &target, &mut Random(8), 3);
    }
}

#[test]
fn what_only_the_end_tells_is_known_from_then_on() {
    let node = node().arg("--demo").set("LIMITS__SCAN_WAIT", "0s").start();
    for name in ["strings.aac", "strings-bare.mp3"] {
        let target = format!("/v1/pcm?src=demo:{name}");
        let first = node.get(&target).ok();
        assert_eq!(first.field("content-length"), None, "{name}");
        let made = node.counter("/frames");
        let second = node.get(&target).ok();
        assert_eq!(node.counter("/frames"), made, "{name}: no frame of it is made again");
        assert_eq!(second.field("content-length"), Some(&second.body.len().to_string()[..]));
        assert!(second.body[44..] == first.body[44..], "{name}");
        assert_ne!(second.field("etag"), first.field("etag"));
        node.parts_are_those_of(&second.body, &target, &mut Random(7), 3);
    }
}

#[test]
fn a_crowd_on_one_asset_costs_one_decode() {
    const CROWD: usize = 200;
    let name = "strings.flac";
    let frames = demo::FILES.iter().find(|file| file.name == name).unwrap().frames;
    let bytes = demo::FILES.iter().find(|file| file.name == name).unwrap().bytes;
    let origin = origin().file(name, bytes).start();
    let node = node().shards(2).origin(&origin).start();
    let target = format!("/v1/pcm?src=origin:{name}&rate=48000");
    let bodies: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CROWD).map(|_| scope.spawn(|| node.get(&target).ok().body)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    let made = node.counter("/frames");
    assert_eq!(made, (frames * 48_000).div_ceil(44_100));
}

/// One who takes of a body what it is told to.
struct Taker(BufReader<TcpStream>);

impl Taker {
    fn of(node: &Node, target: &str) -> Self {
        let mut stream = connect(node.listen);
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen).unwrap();
        let mut body = BufReader::new(stream);
        let mut line = String::from("head");
        while !line.trim_end().is_empty() {
            line.clear();
            body.read_line(&mut line).unwrap();
        }
        Self(body)
    }

    fn takes(&mut self, expected: &[u8]) {
        let mut part = vec![0; expected.len()];
        self.0.read_exact(&mut part).unwrap();
        assert!(part == expected, "other bytes");
    }
}

#[test]
fn who_follows_another_costs_no_decode_though_memory_does_not_hold_the_whole() {
    const STEP: usize = 256 << 10;
    let samples: Vec<u8> =
        (0..48 * STEP as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let steps: Vec<_> = samples.chunks(STEP).collect();
    let origin = origin().file("long.wav", &wav::stereo(48_000, samples.clone())).start();
    let node = node().memory("24MiB").origin(&origin).start();
    let target = "/v1/pcm?src=origin:long.wav&format=s16le";
    let (mut first, lag) = (Taker::of(&node, target), 12);
    steps[..lag].iter().for_each(|step| first.takes(step));
    let mut second = Taker::of(&node, target);
    for (step, ahead) in steps.iter().zip(&steps[lag..]) {
        second.takes(step);
        first.takes(ahead);
    }
    steps[steps.len() - lag..].iter().for_each(|step| second.takes(step));
    assert_eq!(node.counter("/frames"), samples.len() as u64 / 4);
}

#[test]
fn an_outline_is_that_of_the_samples_and_is_drawn_once() {
    let node = node().arg("--demo").start();
    for name in ["strings.flac", "strings.aac"] {
        let samples = node.get(&format!("/v1/pcm?src=demo:{name}&format=f32le")).ok().body;
        let samples: Vec<f32> = samples
            .chunks_exact(4)
            .map(|sample| f32::from_le_bytes(sample.try_into().unwrap()))
            .collect();
        let file = demo::FILES.iter().find(|file| file.name == name).unwrap();
        let channels = usize::from(file.channels);
        let made = node.counter("/frames");
        let told = node.get(&format!("/v1/waveform?src=demo:{name}&points=50")).ok().text();
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(node.counter("/frames"), made, "what was heard is not decoded again");
        assert_eq!(
            (told["frames"].as_u64(), told["points"].as_u64()),
            (Some(file.frames), Some(50))
        );
        for (point, peak) in told["peaks"].as_array().unwrap().iter().enumerate() {
            let edge = |point: usize| point * file.frames as usize / 50 * channels;
            let part = &samples[edge(point)..edge(point + 1)];
            let max = part.iter().copied().fold(-1.0, f32::max);
            let min = part.iter().copied().fold(1.0, f32::min);
            let is_near = |told: &serde_json::Value, real: f32| {
                (told.as_f64().unwrap() - f64::from(real)).abs() < 1e-5
            };
            assert!(is_near(&peak[0], min) && is_near(&peak[1], max), "{name} {point}: {peak}");
        }
    }
    let hidden = node.get("/v1/waveform?src=demo:strings.flac&points=9999");
    assert_eq!(hidden.status, 400);
}

#[test]
fn an_outline_is_not_drawn_for_who_has_it() {
    const OUTLINE: &str = "/v1/waveform?src=demo:strings.flac&points=50";
    let (dir, other) = (scratch(), scratch());
    let first = node().arg("--demo").cache(dir.path()).start();
    let whole = first.get(OUTLINE).ok();
    let etag = whole.field("etag").unwrap().to_owned();
    assert!(etag.starts_with('"'));
    let has = |etag: &str| format!("If-None-Match: {etag}\r\n");
    // One that has heard nothing of it yet.
    let node = node().arg("--demo").cache(other.path()).start();
    let same = node.get_with(OUTLINE, &has(&etag));
    assert_eq!((same.status, same.body.len(), same.field("etag")), (304, 0, Some(&*etag)));
    assert_eq!(node.counter("/frames"), 0);
    let another = OUTLINE.replace("50", "51");
    let another = node.get_with(&another, &has(&etag)).ok();
    assert_ne!(another.field("etag"), Some(&*etag));
    assert_eq!(node.get_with(OUTLINE, "If-Match: \"another\"\r\n").status, 412);
    assert_eq!(node.get_with(OUTLINE, &has("\"another\"")).ok().body, whole.body);
}

/// As ffmpeg has it of `-t 0`: nothing of the source, in whatever it is asked for.
#[test]
fn a_slice_of_no_length_is_an_empty_resource() {
    let node = node().arg("--demo").start();
    let target = "/v1/pcm?src=demo:strings.mp3&t=1";
    let empty = node.get(&format!("{target}&d=0")).ok();
    assert_eq!(wav::Wav::parse(&empty.body).frames(), 0);
    assert_eq!(empty.field("content-length"), Some("44"));
    assert_eq!(empty.field("x-content-duration"), Some("0.000"));
    let etag = empty.field("etag").expect("it has a name of its own");
    // What snaps to no frame is the same.
    let next = node.get(&format!("{target}&d=0.00001")).ok();
    assert!(next.body == empty.body && next.field("etag") == Some(etag));
    assert_ne!(node.head(&format!("{target}&d=1")).field("etag"), Some(etag));
    let head = node.head(&format!("{target}&d=0.0"));
    assert_eq!((head.field("content-length"), head.field("etag")), (Some("44"), Some(etag)));
    let unchanged = node.get_with(&format!("{target}&d=0"), &format!("If-None-Match: {etag}\r\n"));
    assert_eq!(unchanged.status, 304);
    let bare = format!("{target}&d=0&format=s16le");
    assert!(node.get(&bare).ok().body.is_empty());
    let range = node.get_with(&bare, "Range: bytes=0-\r\n");
    assert_eq!((range.status, range.body.len()), (200, 0), "no part can be named of nothing");
    assert_eq!(node.get(&format!("{target}00&d=0")).status, 400, "there is nothing to begin at");
    let flac = node.get("/v1/transcode?src=demo:strings.mp3&format=flac&d=0").ok();
    assert!(flac.body.starts_with(b"fLaC"));
    for wrong in ["d=-1", "d=1e1", "t=1e1", "t=-0"] {
        let refused = node.get(&format!("/v1/pcm?src=demo:strings.mp3&{wrong}"));
        assert_eq!(refused.status, 400, "{wrong}");
        assert!(refused.text().contains("without a sign and an exponent"), "{}", refused.text());
    }
}
