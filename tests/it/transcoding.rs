//! Audio that is encoded anew: as it is made, and as it is kept.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use kithara::{demo, encode::Codec};

use crate::{
    client::{self, Response},
    node::{Node, kithara, node, scratch},
    origin::{Origin, origin},
    wav,
};

/// Of each kind: MP3, AAC with and without a container, FLAC, PCM.
const SOURCES: [&str; 5] =
    ["strings.mp3", "strings.m4a", "strings.aac", "strings.flac", "strings.wav"];

const SONG: &str = "/v1/transcode?src=origin:strings.mp3&format=flac";

/// Bytes of the front that goes out while the rest is made: the marker and STREAMINFO.
const FRONT_BYTES: usize = 42;

fn serving() -> Origin {
    let files = demo::FILES.iter().filter(|file| SOURCES.contains(&file.name));
    files.fold(origin(), |origin, file| origin.file(file.name, file.bytes)).start()
}

/// So many seconds of stereo in which nothing repeats.
fn noise(seconds: u32) -> Vec<u8> {
    let mut state = 7_u64;
    let noise = (0..seconds * 44_100 * 4).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    wav::stereo(44_100, noise)
}

/// The samples in a FLAC stream, by our own decoder.
fn decoded(flac: &[u8], dir: &Path) -> Vec<u8> {
    let path = dir.join("heard.flac");
    fs::write(&path, flac).unwrap();
    let output = kithara(&["pcm", path.to_str().unwrap(), "-o", "-", "--format", "s16le"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The same by ffmpeg's; `None`, and loudly so, where there is none.
fn heard_by_ffmpeg(flac: &[u8], dir: &Path) -> Option<Vec<u8>> {
    let path = dir.join("heard.flac");
    fs::write(&path, flac).unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(&path).args(["-f", "s16le", "-"]);
    let Ok(output) = ffmpeg.output() else {
        let _ = writeln!(io::stderr(), "\n*** SKIPPED: no ffmpeg to decode with ***\n");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    Some(output.stdout)
}

/// An answer whose length was not known when it began.
#[track_caller]
fn made_now(answer: Response) -> Response {
    let answer = answer.ok();
    assert_eq!(answer.field("content-length"), None);
    assert_eq!(answer.field("accept-ranges"), Some("none"));
    assert_eq!(answer.field("content-type"), Some("audio/flac"));
    assert!(answer.field("etag").is_some_and(|etag| etag.starts_with('"')));
    answer
}

/// An answer from what was kept.
#[track_caller]
fn kept(answer: Response) -> Response {
    let answer = answer.ok();
    let length = answer.body.len().to_string();
    assert_eq!(answer.field("content-length"), Some(&*length));
    assert_eq!(answer.field("accept-ranges"), Some("bytes"));
    answer
}

/// What STREAMINFO says of the frames.
fn total(flac: &[u8]) -> u64 {
    assert!(flac.starts_with(b"fLaC"));
    u64::from_be_bytes(flac[18..26].try_into().unwrap()) & ((1 << 36) - 1)
}

/// What a table of seek points says of each: the first sample, where its frame begins behind the metadata,
/// and the samples of that frame; and where the metadata ends (RFC 9639 section 8).
fn seek_points(flac: &[u8]) -> (Vec<(u64, u64, u64)>, usize) {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let (mut points, mut at) = (Vec::new(), 4);
    loop {
        let (kind, length) = (flac[at], number(&flac[at + 1..at + 4]) as usize);
        let (body, end) = (&flac[at + 4..at + 4 + length], at + 4 + length);
        if kind & 0x7F == 3 {
            let point =
                |point: &[u8]| (number(&point[..8]), number(&point[8..16]), number(&point[16..18]));
            points = body.chunks_exact(18).map(point).collect();
        }
        if kind & 0x80 != 0 {
            points.retain(|(sample, ..)| *sample != u64::MAX);
            return (points, end);
        }
        at = end;
    }
}

/// The number in a frame of fixed blocks that begins with these bytes (RFC 9639 section 9.1).
#[track_caller]
fn frame_number(frame: &[u8]) -> u64 {
    assert_eq!(frame[..2], [0xFF, 0xF8], "no frame begins here");
    let (first, more) = match frame[4].leading_ones() {
        0 => (u64::from(frame[4]), 0),
        ones => (u64::from(frame[4]) & (0x7F >> ones), ones as usize - 1),
    };
    frame[5..5 + more].iter().fold(first, |number, byte| number << 6 | u64::from(byte & 0x3F))
}

/// Begins to read an answer, and has so many bytes of it.
fn begins(node: &Node, target: &str, bytes: usize) -> TcpStream {
    let mut stream = client::connect(node.listen);
    let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.read_exact(&mut vec![0; bytes]).unwrap();
    stream
}

#[test]
fn a_transcode_holds_the_samples_of_pcm_on_its_way_and_from_the_cache() {
    let (origin, dir) = (serving(), scratch());
    let node = node().origin(&origin).start();
    let mut made = 0;
    for source in SOURCES {
        for query in ["", "&rate=48000&channels=1", "&t=1.5&d=1.25"] {
            let target = format!("/v1/transcode?src=origin:{source}&format=flac{query}");
            let pcm = format!("/v1/pcm?src=origin:{source}&format=s16le{query}");
            let samples = node.get(&pcm).ok().body;
            let first = made_now(node.get(&target));
            assert!(decoded(&first.body, dir.path()) == samples, "{target}");
            made += 1;
            node.wait_for("/transcodes/kept", made);
            let second = kept(node.get(&target));
            assert!(decoded(&second.body, dir.path()) == samples, "{target}");
            if let Some(heard) = heard_by_ffmpeg(&second.body, dir.path()) {
                assert!(heard == samples, "{target}");
            }
            assert_ne!(first.field("etag"), second.field("etag"));
            assert!(second.body.ends_with(&first.body[FRONT_BYTES..]), "one body, two fronts");
            let channels =
                if query.contains("channels=1") || source.ends_with("wav") { 1 } else { 2 };
            assert_eq!(total(&second.body), samples.len() as u64 / (2 * channels), "{target}");
            // The checksum ends STREAMINFO; a table of where to seek follows it (RFC 9639 section 8).
            assert_eq!(second.body[26..42], md5::compute(&samples).0, "{target}");
            assert_eq!(second.body[42] & 0x7F, 3, "{target}");
            assert_eq!(second.field("x-audio-format"), node.head(&pcm).field("x-audio-format"));
        }
    }
}

#[test]
fn what_is_kept_is_an_object_like_any_other() {
    let origin = serving();
    let node = node().shards(2).origin(&origin).start();
    let head = node.head(SONG);
    assert_eq!((head.status, head.field("content-length")), (200, None));
    assert_eq!(node.counter("/frames"), 0, "a head needs no decode");
    let first = made_now(node.get(SONG));
    assert_eq!(first.field("etag"), head.field("etag"));
    node.wait_for("/transcodes/kept", 1);
    let whole = kept(node.get(SONG));
    let etag = whole.field("etag").unwrap();
    let head = node.head(SONG);
    assert_eq!(head.field("content-length"), Some(&*whole.body.len().to_string()));
    assert_eq!(head.field("etag"), Some(etag));
    let frames = node.counter("/frames");
    let mut state = 11_usize;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 20) % below
    };
    let length = whole.body.len();
    for round in 0..200 {
        // Those around the end of the front among them.
        let from = random(if round % 4 == 0 { 2 * FRONT_BYTES } else { length });
        let to = (from + random(if round % 3 == 0 { 200 } else { 200_000 })).min(length - 1);
        let part = node.get_with(SONG, &format!("Range: bytes={from}-{to}\r\n"));
        assert_eq!(part.status, 206);
        let said = format!("bytes {from}-{to}/{length}");
        assert_eq!(part.field("content-range"), Some(&*said));
        assert!(part.body == whole.body[from..=to], "{said}");
    }
    let with = |fields: &str| node.get_with(SONG, fields);
    assert_eq!(with(&format!("If-None-Match: {etag}\r\n")).status, 304);
    assert_eq!(with(&format!("Range: bytes={length}-\r\n")).status, 416);
    assert_eq!(with(&format!("Range: bytes=0-9\r\nIf-Range: {etag}\r\n")).status, 206);
    let other = first.field("etag").unwrap();
    assert_eq!(with(&format!("Range: bytes=0-9\r\nIf-Range: {other}\r\n")).status, 200);
    assert_eq!(node.counter("/frames"), frames, "nothing is decoded for what is kept");
    // `/v1/pcm` has the same by another name.
    let pcm = node.get("/v1/pcm?src=origin:strings.mp3&format=flac");
    assert!(kept(pcm).body == whole.body);
}

#[test]
fn each_point_of_a_kept_table_is_where_the_frame_begins_that_it_names() {
    const BLOCK_FRAMES: u64 = 4096;
    let origin = origin().file("noise.wav", &noise(21));
    let songs = demo::FILES.iter().filter(|file| SOURCES.contains(&file.name));
    let origin = songs.fold(origin, |origin, file| origin.file(file.name, file.bytes)).start();
    let node = node().origin(&origin).start();
    let mut made = 0;
    for query in ["strings.mp3&channels=1", "strings.m4a&t=13", "noise.wav"] {
        let target = format!("/v1/transcode?src=origin:{query}&format=flac");
        made_now(node.get(&target));
        made += 1;
        node.wait_for("/transcodes/kept", made);
        let flac = kept(node.get(&target)).body;
        let ((points, begin), total) = (seek_points(&flac), total(&flac));
        let rate_hz = u64::from_be_bytes(flac[18..26].try_into().unwrap()) >> 44;
        assert!(points.len() as u64 >= total / (3 * rate_hz), "{query}: {points:?}");
        assert_eq!((points[0].0, points[0].1), (0, 0), "{query}");
        assert!(points.is_sorted_by_key(|point| (point.0, point.1)));
        for (sample, offset, samples) in points {
            let number = frame_number(&flac[begin + offset as usize..]);
            assert_eq!(number * BLOCK_FRAMES, sample, "{query}");
            assert_eq!(samples, BLOCK_FRAMES.min(total - sample), "{query}");
        }
    }
}

#[test]
fn what_is_kept_outlives_a_restart_and_a_kill() {
    let (origin, dir) = (serving(), scratch());
    let start = || node().origin(&origin).cache(dir.path()).start();
    let first = start();
    made_now(first.get(SONG));
    first.wait_for("/transcodes/kept", 1);
    let whole = kept(first.get(SONG)).body;
    first.signal("-TERM");
    first.ended(Duration::from_secs(20));
    let second = start();
    assert!(kept(second.get(SONG)).body == whole);
    assert_eq!(second.counter("/transcodes/begun"), 0);
    let cut = format!("{SONG}&d=2");
    made_now(second.get(&cut));
    second.wait_for("/transcodes/kept", 1);
    // Commits are every 100 ms. There is nothing to see them by from outside.
    thread::sleep(Duration::from_secs(1));
    second.signal("-KILL");
    second.ended(Duration::from_secs(20));
    let third = start();
    assert!(kept(third.get(SONG)).body == whole);
    kept(third.get(&cut));
}

#[test]
fn what_a_kill_left_half_made_is_made_anew() {
    let (origin, dir) = (origin().file("noise.wav", &noise(60)).start(), scratch());
    let start = || node().origin(&origin).cache(dir.path()).start();
    let target = "/v1/transcode?src=origin:noise.wav&format=flac";
    let first = start();
    let listener = begins(&first, target, 4_000_000);
    thread::sleep(Duration::from_secs(1));
    first.signal("-KILL");
    first.ended(Duration::from_secs(20));
    drop(listener);
    let second = start();
    let answer = made_now(second.get(target));
    assert!(decoded(&answer.body, dir.path()) == noise(60)[44..]);
    second.wait_for("/transcodes/kept", 1);
    kept(second.get(target));
}

#[test]
fn it_goes_with_the_version_of_its_source_and_with_a_purge() {
    let song = |name: &str| demo::FILES.iter().find(|file| file.name == name).unwrap().bytes;
    let origin = origin().file("song", song("strings.flac")).says("cache-control", "max-age=0");
    let (origin, dir) = (origin.start(), scratch());
    let node = node().origin(&origin).start();
    let target = "/v1/transcode?src=origin:song&format=flac";
    let before = made_now(node.get(target));
    node.wait_for("/transcodes/kept", 1);
    kept(node.get(target));
    origin.replace("song", song("strings.wav"));
    let after = made_now(node.get(target));
    assert_ne!(before.field("etag"), after.field("etag"));
    let samples = node.get("/v1/pcm?src=origin:song&format=s16le").ok().body;
    assert!(decoded(&after.body, dir.path()) == samples);
    node.wait_for("/transcodes/kept", 2);
    kept(node.get(target));
    let purged = client::request(node.admin, "DELETE", "/v1/assets/origin:song", "");
    assert_eq!(purged.status, 204, "{}", purged.text());
    made_now(node.get(target));
}

#[test]
fn two_at_once_share_an_encoder_and_who_leaves_ends_it_only_when_alone() {
    let wav = noise(60);
    let (origin, dir) = (origin().file("noise.wav", &wav).start(), scratch());
    let node = node().origin(&origin).start();
    let target = "/v1/transcode?src=origin:noise.wav&format=flac";
    // One that leaves alone: nothing stays.
    drop(begins(&node, target, 100_000));
    node.wait_for("/sessions_now", 0);
    assert_eq!((node.counter("/transcodes/begun"), node.counter("/transcodes/kept")), (1, 0));
    // One that leaves while another listens, who came later and gets all of it.
    let leaves = begins(&node, target, 4_000_000);
    let second = begins(&node, target, 100);
    drop(leaves);
    drop(second);
    node.wait_for("/sessions_now", 0);
    assert_eq!(node.counter("/transcodes/joined"), 1);
    let slow = begins(&node, target, 1_000_000);
    let whole = made_now(node.get(target));
    assert!(decoded(&whole.body, dir.path()) == wav[44..]);
    drop(slow);
    assert_eq!((node.counter("/transcodes/begun"), node.counter("/transcodes/joined")), (3, 2));
    node.wait_for("/transcodes/kept", 1);
    assert!(kept(node.get(target)).body.ends_with(&whole.body[FRONT_BYTES..]));
}

#[test]
fn where_everything_is_pinned_it_streams_and_is_not_kept() {
    const SONGS: usize = 12;
    let files = (0..SONGS).map(|song| (format!("song-{song}"), noise(10)));
    let origin = files.fold(origin(), |origin, (name, wav)| origin.file(&name, &wav)).start();
    let (node, dir) = (node().cache_size("16MiB").origin(&origin).start(), scratch());
    for song in 0..SONGS {
        let pin = format!("/v1/assets/origin:song-{song}/pin");
        assert_eq!(client::request(node.admin, "PUT", &pin, "").status, 204);
        node.get(&format!("/o/origin/song-{song}")).ok();
    }
    for song in 0..SONGS {
        let target = format!("/v1/transcode?src=origin:song-{song}&format=flac");
        let answer = made_now(node.get(&target));
        assert!(decoded(&answer.body, dir.path()) == noise(10)[44..], "{song}");
    }
    node.wait_for("/sessions_now", 0);
    assert!(node.counter("/transcodes/kept") < SONGS as u64, "the cache was not full");
}

#[test]
fn a_format_without_an_encoder_is_said_to_be_one() {
    let origin = serving();
    let node = node().origin(&origin).start();
    for codec in Codec::ALL.into_iter().filter(|codec| !codec.is_built()) {
        let format = codec.name();
        let answer = node.get(&format!("/v1/transcode?src=origin:strings.mp3&format={format}"));
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, problem["status"].as_u64()), (415, Some(415)));
        let feature = format!("`--features {format}`");
        assert!(problem["detail"].as_str().unwrap().contains(&feature), "{problem}");
        assert!(problem["hint"].as_str().unwrap().contains("format=flac"), "{problem}");
    }
    assert_eq!(origin.asked("strings.mp3").len(), 0);
}

/// What a client may change is a parameter that is not valid; what nobody can ask for otherwise is a
/// source that the format cannot hold.
#[test]
fn what_a_format_never_takes_is_400_and_what_it_cannot_hold_415() {
    let origin = origin()
        .file("odd.wav", &wav::stereo(44_101, vec![0; 40_000]))
        .file("fast.wav", &wav::stereo(700_000, vec![0; 400_000]))
        .start();
    let node = node().origin(&origin).start();
    for (source, query, status, names) in [
        ("nowhere", "flac&level=200", 400, "`level` of flac is 0 to 8"),
        ("nowhere", "opus&level=5", 400, "opus has no `level`"),
        ("nowhere", "opus&bitrate=600k", 400, "`bitrate` of opus is 6000 to 510000"),
        ("nowhere", "opus&rate=44100", 400, "`rate` of opus is 48000"),
        ("odd.wav", "flac&rate=48000", 400, "44101 Hz cannot become 48000 Hz"),
        ("odd.wav", "opus", 415, "44101 Hz cannot become 48000 Hz"),
        ("odd.wav", "opus&rate=48000", 415, "44101 Hz cannot become 48000 Hz"),
        ("fast.wav", "flac", 415, "FLAC of 2 channels at 700000 Hz"),
    ] {
        let target = format!("/v1/transcode?src=origin:{source}&format={query}");
        let answer = node.get(&target);
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, problem["status"].as_u64()), (status, Some(status.into())));
        assert!(problem["detail"].as_str().unwrap().contains(names), "{target}: {problem}");
        let says_another = problem["hint"].as_str().is_some_and(|hint| hint.contains("`format`"));
        assert_eq!(says_another, status == 415, "{target}: {problem}");
        assert_eq!(node.head(&target).status, status, "{target}");
    }
    assert_eq!(origin.asked("nowhere").len(), 0, "no source could mend the parameter");
    made_now(node.get("/v1/transcode?src=origin:odd.wav&format=flac"));
    assert_eq!(node.get("/v1/pcm?src=origin:fast.wav&format=flac").status, 415);
    assert_eq!(node.get("/v1/pcm?src=origin:fast.wav").status, 200);
}

#[test]
fn the_command_says_which_build_has_an_encoder() {
    let dir = scratch();
    let song = dir.path().join("song.mp3");
    fs::write(&song, demo::FILES.iter().find(|file| file.name == "strings.mp3").unwrap().bytes)
        .unwrap();
    for codec in Codec::ALL.into_iter().filter(|codec| !codec.is_built()) {
        let to = dir.path().join(format!("again.{}", codec.name()));
        let refused = kithara(&["transcode", song.to_str().unwrap(), "-o", to.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(&format!("`--features {}`", codec.name())), "{said}");
        assert!(!to.exists());
    }
}

#[test]
fn the_command_writes_what_the_node_sends() {
    let (origin, dir) = (serving(), scratch());
    let node = node().origin(&origin).start();
    let song = dir.path().join("song.mp3");
    let out = dir.path().join("song.flac");
    fs::write(&song, demo::FILES.iter().find(|file| file.name == "strings.mp3").unwrap().bytes)
        .unwrap();
    let (song, out_name) = (song.to_str().unwrap(), out.to_str().unwrap());
    let output = kithara(&["transcode", song, "-o", out_name, "--rate", "48000"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let target = format!("{SONG}&rate=48000");
    let sent = made_now(node.get(&target)).body;
    node.wait_for("/transcodes/kept", 1);
    assert!(fs::read(&out).unwrap() == kept(node.get(&target)).body);
    // A pipe gets what a client gets.
    let piped = kithara(&["transcode", song, "-o", "-", "--format", "flac", "--rate", "48000"]);
    assert!(piped.stdout == sent);
}

/// A second of stereo in floats, each of which is a whole number of 24 bits.
fn floats() -> Vec<u8> {
    let sample = |frame: u32| ((frame * 7919 % 16_777_216) as f32 - 8_388_608.0) / 8_388_608.0;
    let data: Vec<u8> = (0..2 * 44_100).flat_map(|frame| sample(frame).to_le_bytes()).collect();
    let size = |bytes: usize| (bytes as u32).to_le_bytes();
    let form = [3_u16, 2].map(u16::to_le_bytes).concat();
    let rates = [44_100_u32, 44_100 * 8].map(u32::to_le_bytes).concat();
    let last = [8_u16, 32].map(u16::to_le_bytes).concat();
    let head = [b"WAVEfmt ", &size(16)[..], &form, &rates, &last, b"data", &size(data.len())];
    let body = [&head.concat()[..], &data].concat();
    [b"RIFF", &size(body.len())[..], &body].concat()
}

#[test]
fn flac_has_24_bits_of_floats_and_16_of_what_a_lossy_codec_made() {
    let wav = floats();
    let mp3 = demo::FILES.iter().find(|file| file.name == "strings.mp3").unwrap();
    let origin = origin().file("floats.wav", &wav).file("strings.mp3", mp3.bytes).start();
    let node = node().origin(&origin).start();
    for (source, bits) in [("floats.wav", 24), ("strings.mp3", 16)] {
        let flac = node.get(&format!("/v1/transcode?src=origin:{source}&format=flac")).ok();
        let said = u16::from_be_bytes([flac.body[20], flac.body[21]]) >> 4 & 31;
        assert_eq!(said + 1, bits, "{source}");
        assert!(flac.field("x-audio-format").unwrap().starts_with(&format!("s{bits}le;")));
    }
    let flac = node.get("/v1/transcode?src=origin:floats.wav&format=flac").ok();
    let dir = scratch();
    let path = dir.path().join("floats.flac");
    fs::write(&path, &flac.body).unwrap();
    let path = path.to_str().unwrap();
    let heard = kithara(&["pcm", path, "-o", "-", "--format", "f32le"]).stdout;
    assert!(heard == wav[44..], "nothing is lost");
}
