//! How the node fetches: once for everybody, and whole whatever the origin does.

use std::{thread, time::Duration};

use kithara::demo;

use crate::{client, node::node, origin::origin, wav};

/// Something longer than a few chunks that is no audio.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn a_broken_download_continues_where_it_stopped() {
    let song = bytes(1_000_000);
    let origin = origin().file("song", &song).breaks_after(200_000).breaks_after(300_000).start();
    let node = node().origin(&origin).start();
    let body = node.get("/o/origin/song").ok().body;
    assert!(body == song);
    assert_eq!(origin.ranges_asked("song"), [0, 200_000, 500_000]);
    // It continued the version it began, and said so.
    assert!(origin.asked("song")[1..].iter().all(|asked| asked.if_range.is_some()));
}

#[test]
fn decoded_audio_of_a_broken_download_is_the_same() {
    let file = demo::FILES.iter().find(|file| file.name.ends_with(".flac")).unwrap();
    let half = file.bytes.len() as u64 / 2;
    let origin = origin()
        .file("whole.flac", file.bytes)
        .file("broken.flac", file.bytes)
        .breaks_after(half)
        .start();
    let node = node().origin(&origin).start();
    let whole = node.wav("origin:whole.flac", "&rate=48000");
    let broken = node.wav("origin:broken.flac", "&rate=48000");
    assert!(whole.data == broken.data);
    assert_eq!(whole.frames() as u64, (file.frames * 48_000).div_ceil(u64::from(file.rate_hz)));
}

#[test]
fn a_crowd_on_a_cold_object_makes_one_request() {
    let song = bytes(600_000);
    let origin = origin().file("song", &song).start();
    let node = node().shards(2).origin(&origin).start();
    let held = origin.hold();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let listen = node.listen;
            thread::spawn(move || client::get(listen, "/o/origin/song", "").ok().body)
        })
        .collect();
    while origin.asked("song").is_empty() {
        thread::sleep(Duration::from_millis(1));
    }
    drop(held);
    for client in clients {
        assert!(client.join().unwrap() == song);
    }
    assert_eq!(origin.ranges_asked("song"), [0]);
}

#[test]
fn what_was_fetched_is_not_fetched_again() {
    let song = bytes(300_000);
    let origin = origin().file("song", &song).start();
    let node = node().origin(&origin).start();
    let cold = node.get("/o/origin/song").ok();
    let warm = node.get("/o/origin/song").ok();
    assert!(cold.body == song && warm.body == song);
    assert_eq!(origin.asked("song").len(), 1);
    assert!(warm.field("cache-status").unwrap().contains("hit"), "{:?}", warm.fields);
    assert!(!cold.field("cache-status").unwrap().contains("hit"), "{:?}", cold.fields);
}

/// Stereo in which nothing repeats.
fn wav(seconds: u32, version: u8) -> Vec<u8> {
    let noise = bytes(seconds as usize * 44_100 * 4);
    wav::stereo(44_100, noise.into_iter().map(|byte| byte ^ version))
}

/// What is here is fresh, and only who wants the rest learns that there is another one.
#[test]
fn who_wants_what_is_missing_of_a_song_that_changed_gets_the_new_one() {
    const ASKS: [&str; 4] = [
        "/o/origin/song",
        "/v1/pcm?src=origin:song&format=s16le&t=20",
        "/v1/transcode?src=origin:song&format=flac&t=20",
        "/v1/waveform?src=origin:song&points=8",
    ];
    let (old, new) = (wav(30, 1), wav(30, 2));
    for ask in ASKS {
        let origin = origin().file("song", &old).at_rate(20 << 20).start();
        let node = node().origin(&origin).start();
        assert_eq!(node.get_with("/o/origin/song", "Range: bytes=0-999\r\n").status, 206);
        // Nobody wants more of it.
        assert!(origin.sent_bytes("song") < old.len() as u64, "all of it came");
        origin.replace("song", &new);
        let late = if ask.starts_with("/o/") { "Range: bytes=4000000-\r\n" } else { "" };
        let answer = node.get_with(ask, late);
        assert!(matches!(answer.status, 200 | 206), "{ask}: {} {}", answer.status, answer.text());
        let right = match ask {
            "/o/origin/song" => &new[4_000_000..],
            _ if ask.contains("s16le") => &new[44 + 20 * 44_100 * 4..],
            _ => continue,
        };
        assert!(answer.body == right, "{ask}: of the old one");
    }
}

#[test]
fn an_origin_without_ranges_or_length_is_no_error() {
    let song = bytes(300_000);
    let origin = origin()
        .file("plain", &song)
        .without_ranges()
        .file("endless", &song)
        .without_length()
        .start();
    let node = node().origin(&origin).start();
    assert!(node.get("/o/origin/plain").ok().body == song);
    assert!(node.get("/o/origin/endless").ok().body == song);
}

/// 405 and 501 of those that do not know it, 403 and 406 of a wall before them, 400 and 500 of those that
/// break on it.
#[test]
fn an_origin_that_refuses_ranges_or_head_is_no_error() {
    const REFUSALS: [u16; 7] = [400, 403, 405, 406, 416, 500, 501];
    let file = demo::FILES.iter().find(|file| file.name == "strings.mp3").unwrap();
    let name = |status| format!("{status}.mp3");
    let origin = REFUSALS.into_iter().fold(origin(), |origin, status| {
        let origin = origin.file(&name(status), file.bytes).refuses_ranges(status);
        // That is for ranges alone.
        if status == 416 { origin } else { origin.refuses_head(status) }
    });
    let origin = origin.start();
    let node = node().origin(&origin).start();
    for status in REFUSALS {
        let name = name(status);
        let path = format!("/o/origin/{name}");
        assert_eq!(node.head(&path).status, 200, "{status}");
        let part = node.get_with(&path, "Range: bytes=1000-1999\r\n");
        assert_eq!(part.status, 206, "{status}: {}", part.text());
        assert!(part.body == file.bytes[1000..2000], "{status}");
        assert_eq!(
            node.wav(&format!("origin:{name}"), "").frames() as u64,
            file.frames,
            "{status}"
        );
        assert!(node.get(&path).ok().body == file.bytes, "{status}");
        let asked = origin.asked(&name);
        let ranges = asked.iter().filter(|asked| asked.field("range").is_some()).count();
        assert_eq!(ranges, 1, "{status}: after one it is known");
    }
}

#[test]
fn what_an_origin_refuses_in_every_form_is_refused() {
    let origin = origin().file("locked", b"").status(403).file("broken", b"").status(500).start();
    let node = node().origin(&origin).set("LIMITS__ORIGIN_RETRIES", "0").start();
    assert_eq!(node.get("/o/origin/locked").status, 403);
    assert_eq!(node.get("/v1/pcm?src=origin:broken").status, 502);
    // With a range, and once without.
    assert_eq!((origin.asked("locked").len(), origin.asked("broken").len()), (2, 2));
}

/// Where the origin can only begin again, a position behind the break is nowhere to be had. Some want one
/// before they can say anything, and others come to it.
#[test]
fn who_wants_what_lies_behind_a_break_is_told_so_where_no_range_leads_there() {
    const RETRIES: usize = 1;
    // The first may have given up before anybody has come to what lies behind the break. Then who looks for
    // an index or an end sets out anew, and who decodes does so again.
    const FETCHES: usize = 3;
    const INDEX_LAST: &str = "strings-moov-last.m4a";
    const WAYS: [(&str, &str, &str); 6] = [
        ("GET", "/o/origin/", "strings.mp3"),
        ("GET", "/v1/pcm?src=origin:", INDEX_LAST),
        ("GET", "/v1/probe?src=origin:", INDEX_LAST),
        ("HEAD", "/v1/pcm?src=origin:", INDEX_LAST),
        ("GET", "/v1/pcm?src=origin:", "strings.mp3"),
        ("GET", "/v1/pcm?src=origin:", "strings.ogg"),
    ];
    const REFUSED: usize = 4;
    let bytes_of = |name| demo::FILES.iter().find(|file| file.name == name).unwrap().bytes;
    let cases = || (0..WAYS.len()).flat_map(|way| (0..4).map(move |case| (way, case)));
    let name = |way, case| format!("{way}-{case}");
    let origin = cases().fold(origin(), |origin, (way, case)| {
        let bytes = bytes_of(WAYS[way].2);
        let (origin, half) = (origin.file(&name(way, case), bytes), bytes.len() as u64 / 2);
        let origin = origin.without_ranges();
        let origin = if case & 1 == 0 { origin } else { origin.without_validator() };
        let breaks = case & 2 == 0;
        if breaks { origin.always_breaks_after(half) } else { origin.stalls_after(half) }
    });
    let origin = origin.start();
    let node = node()
        .origin(&origin)
        .set("LIMITS__ORIGIN_INACTIVITY", "300ms")
        .set("LIMITS__ORIGIN_RETRIES", &RETRIES.to_string())
        .start();
    let range = format!("Range: bytes={}-\r\n", bytes_of("strings.mp3").len() - 1000);
    let ask = |way: usize, case| {
        let (method, path, _) = WAYS[way];
        let fields = if path.starts_with("/o/") { &range } else { "" };
        client::request(node.listen, method, &format!("{path}{}", name(way, case)), fields)
    };
    thread::scope(|threads| {
        let told: Vec<_> = cases()
            .map(|(way, case)| ((way, case), threads.spawn(move || ask(way, case))))
            .collect();
        for ((way, case), told) in told {
            let (told, asked) = (told.join().unwrap(), origin.asked(&name(way, case)).len());
            let status = match (way < REFUSED, case & 2 == 0) {
                (true, true) => 502,
                (true, false) => 504,
                (false, _) => 200,
            };
            assert_eq!(told.status, status, "{:?}, case {case}: {}", WAYS[way], told.text());
            assert!(way < REFUSED || !told.complete, "{:?}, case {case}", WAYS[way]);
            // Where nothing proves that it would be the same, a fetch that broke is not gone on with.
            let attempts = if case & 1 == 0 { 1 + RETRIES } else { 1 };
            let most = FETCHES * attempts;
            assert!(asked <= most, "{:?}, case {case}: {asked} requests", WAYS[way]);
        }
    });
}

/// Neither the counts of a tag nor the last granule are known for sure before the end has come.
#[test]
fn audio_ends_where_it_ends_though_only_the_end_tells() {
    for name in ["strings.mp3", "strings.ogg"] {
        let file = demo::FILES.iter().find(|file| file.name == name).unwrap();
        let slow = file.bytes.len() as u64;
        let origin = origin()
            .file("told", file.bytes)
            .file("endless", file.bytes)
            .without_length()
            .file("whole", file.bytes)
            .without_ranges()
            .at_rate(slow)
            .start();
        let node = node().origin(&origin).start();
        let told = node.wav("origin:told", "");
        assert_eq!(told.frames() as u64, file.frames, "{name}");
        for other in ["endless", "whole"] {
            let answer = node.get(&format!("/v1/pcm?src=origin:{other}&format=s16le")).ok();
            assert_eq!(answer.field("content-length"), None, "{other} {name}");
            assert_eq!(answer.body.len(), told.data.len(), "{other} {name}");
            assert!(answer.body == told.data, "{other} {name}");
            let again = node.get(&format!("/v1/pcm?src=origin:{other}&format=s16le")).ok();
            assert!(again.field("content-length").is_some(), "{other} {name}");
            assert!(again.body == told.data, "{other} {name}");
        }
    }
}

/// Where the index stands, and that there is one, shows only at the end of a body of unknown length.
#[test]
fn an_mp4_plays_from_an_origin_that_tells_no_length_wherever_its_index_is() {
    for name in ["strings.m4a", "strings-moov-last.m4a"] {
        let file = demo::FILES.iter().find(|file| file.name == name).unwrap();
        let origin =
            origin().file("told", file.bytes).file("endless", file.bytes).without_length().start();
        let node = node().origin(&origin).start();
        let told = node.wav("origin:told", "");
        let endless = node.wav("origin:endless", "");
        assert_eq!(endless.frames() as u64, file.frames, "{name}");
        assert!(endless.data == told.data, "{name}");
    }
}

#[test]
fn a_far_range_does_not_wait_for_what_lies_before_it() {
    let song = bytes(8 << 20);
    let origin = origin().file("song", &song).at_rate(1 << 20).start();
    let node = node().origin(&origin).start();
    let fields = "Range: bytes=8000000-8000999\r\n";
    let part = node.get_with("/o/origin/song", fields);
    assert_eq!(part.status, 206);
    assert!(part.body == song[8_000_000..8_001_000]);
    let asked = origin.ranges_asked("song");
    assert!(asked.iter().any(|from| *from > 7_900_000), "{asked:?}");
}

#[test]
fn a_version_that_changes_under_a_download_never_mixes() {
    let (old, new) = (bytes(1_000_000), vec![7; 1_000_000]);
    let origin = origin().file("song", &old).breaks_after(500_000).at_rate(2_000_000).start();
    let node = node().origin(&origin).start();
    let listen = node.listen;
    let reader = thread::spawn(move || client::get(listen, "/o/origin/song", ""));
    while origin.asked("song").is_empty() {
        thread::sleep(Duration::from_millis(1));
    }
    origin.replace("song", &new);
    let response = reader.join().unwrap();
    // Cut short is right; a body with bytes of both is not.
    assert!(!response.complete);
    assert!(old.starts_with(&response.body));
    assert!(node.get("/o/origin/song").ok().body == new);
}

#[test]
fn redirects_are_followed_for_audio() {
    let file = demo::FILES.iter().find(|file| file.name.ends_with(".flac")).unwrap();
    let origin = origin()
        .file("song.flac", file.bytes)
        .file("moved.flac", b"")
        .redirects_to("/song.flac")
        .start();
    let node = node().origin(&origin).start();
    assert_eq!(node.wav("origin:moved.flac", "").frames() as u64, file.frames);
}

#[test]
fn a_client_that_goes_away_stops_the_fetch() {
    let song = bytes(64 << 20);
    let origin = origin().file("song", &song).at_rate(4 << 20).start();
    let node = node().origin(&origin).start();
    {
        use std::io::{Read, Write};
        let mut stream = client::connect(node.listen);
        let request = format!("GET /o/origin/song HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen);
        stream.write_all(request.as_bytes()).unwrap();
        // Past the first mebibyte a fill without readers is given up.
        let mut taken = vec![0; 2 << 20];
        stream.read_exact(&mut taken).unwrap();
    }
    // A later reader of the far end is not served by the old fetch, so it asks by itself; by then
    // the old one has to be gone or the origin's pace would show in the time.
    let part = node.get_with("/o/origin/song", "Range: bytes=67000000-67000099\r\n");
    assert_eq!(part.status, 206);
    assert!(part.body == song[67_000_000..67_000_100]);
}

/// 32 MiB of silence, as a WAV file.
fn long_wav() -> Vec<u8> {
    wav::stereo(48_000, vec![0; 32 << 20])
}

#[test]
fn who_wants_little_of_a_large_object_has_little_of_it_fetched() {
    use std::io::{Read, Write};
    let (song, names) = (long_wav(), ["head", "range", "probe", "leaver"]);
    let origin = names.iter().fold(origin(), |origin, name| {
        origin.file(&format!("{name}.wav"), &song).at_rate(16 << 20)
    });
    let origin = origin.start();
    let node = node().origin(&origin).start();
    assert_eq!(node.head("/o/origin/head.wav").status, 200);
    let byte = node.get_with("/o/origin/range.wav", "Range: bytes=0-0\r\n");
    assert_eq!((byte.status, byte.body), (206, b"R".to_vec()));
    let probe = node.get("/v1/probe?src=origin:probe.wav").ok().text();
    assert!(probe.contains("48000"), "{probe}");
    let mut stream = client::connect(node.listen);
    let request = format!("GET /o/origin/leaver.wav HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen);
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 1 << 10]).unwrap();
    drop(stream);
    for name in names {
        // The first mebibyte is fetched for whoever comes next; what the origin sends until it sees
        // that no more is wanted is on the wire. For a head nothing is.
        let sent = origin.sent_bytes(&format!("{name}.wav"));
        let least = u64::from(name != "head");
        assert!((least..=3 << 20).contains(&sent), "{name}: {sent} of {}", song.len());
    }
}
