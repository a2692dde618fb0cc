//! What the operator wants in the cache is there before a client asks, and costs clients nothing.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kithara::demo;

use crate::{
    client,
    node::{Node, node, scratch},
    operating::Events,
    origin::{Builder, Origin, origin},
};

const MIB: usize = 1 << 20;

fn song(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Five songs of 400 kB, `song-0` to `song-4`.
fn album() -> Origin {
    let songs = (0..5).map(|number| (format!("song-{number}"), song(400_000)));
    songs.fold(origin(), |origin, (name, bytes)| origin.file(&name, &bytes)).start()
}

#[track_caller]
fn is_a_hit(node: &Node, target: &str, body: &[u8]) {
    let answer = node.get(target).ok();
    assert!(answer.body == body, "other bytes");
    assert!(answer.field("cache-status").unwrap().starts_with("kithara; hit"));
}

#[test]
fn what_was_prefetched_is_served_without_the_origin() {
    let bytes = song(400_000);
    // What comes all at once has come before anybody says that only a prefetch wants it.
    let slow = |origin: Builder, number| {
        origin.file(&format!("song-{number}"), &bytes).at_rate(2 * MIB as u64)
    };
    let origin = (0..4).fold(origin(), slow).start();
    let node = node().shards(2).origin(&origin).start();
    let spec = r#"{"src": ["origin:song-0", "origin:song-1", "origin:song-2", "origin:song-3"]}"#;
    let told = node.wait_for_end(&node.prefetch(spec), "done");
    assert_eq!((&told["bytes_done"], &told["bytes_total"]), (&1_600_000.into(), &1_600_000.into()));
    assert_eq!(told["sources"]["done"], 4);
    assert!(told["error"].is_null() && told["ended_unix_ms"].as_u64().is_some(), "{told}");
    for number in 0..4 {
        is_a_hit(&node, &format!("/o/origin/song-{number}"), &bytes);
        assert_eq!(origin.asked(&format!("song-{number}")).len(), 1);
    }
    assert_eq!(node.counter("/sessions/prefetch"), 4);
    assert!(node.counter("/prefetch/bytes") > 0);
    let again = node.wait_for_end(&node.prefetch(r#"{"src": "origin:song-0"}"#), "done");
    assert_eq!(again["bytes_done"], 400_000);
    assert_eq!(origin.asked("song-0").len(), 1, "it was there");
    let listed = node.told("/v1/prefetch");
    let ids = listed["prefetches"].as_array().unwrap().iter().map(|one| one["id"].as_u64());
    assert_eq!(ids.collect::<Vec<_>>(), [Some(2), Some(1)]);
    assert_eq!((&listed["sources_waiting"], &listed["sources_running"]), (&0.into(), &0.into()));
}

#[test]
fn a_killed_node_goes_on_where_it_was() {
    let (bytes, dir) = (song(4 * MIB), scratch());
    let origin = origin()
        .file("first", &bytes)
        .at_rate(2 * MIB as u64)
        .file("second", &bytes)
        .at_rate(40 * MIB as u64)
        .start();
    let start = || {
        node().origin(&origin).cache(dir.path()).set("LIMITS__PREFETCH_CONNECTIONS", "1").start()
    };
    let first = start();
    let running = first.prefetch(r#"{"src": "origin:first"}"#);
    let waiting = first.prefetch(r#"{"src": "origin:second", "priority": 1}"#);
    first.wait_until(&running, |told| told["bytes_done"].as_u64().unwrap() > MIB as u64);
    // What was written is in the journal of its volume within 100 ms.
    thread::sleep(Duration::from_millis(500));
    first.signal("-KILL");
    first.ended(Duration::from_secs(10));
    let second = start();
    second.wait_for_end(&running, "done");
    second.wait_for_end(&waiting, "done");
    let asked = origin.ranges_asked("first");
    assert!(asked.len() == 2 && asked[1] > MIB as u64, "{asked:?}");
    is_a_hit(&second, "/o/origin/first", &bytes);
    is_a_hit(&second, "/o/origin/second", &bytes);
    // What has ended is remembered as well, and not done again.
    second.signal("-TERM");
    assert!(second.ended(Duration::from_secs(10)).0.success());
    let third = start();
    assert_eq!(third.told(&waiting)["state"], "done");
    assert_eq!(third.prefetch(r#"{"src": "origin:first"}"#), "/v1/prefetch/3");
    assert_eq!(origin.ranges_asked("first").len(), 2);
}

#[test]
fn a_drain_does_not_wait_for_prefetches_and_loses_none() {
    let (bytes, dir) = (song(2 * MIB), scratch());
    let origin = origin().file("song", &bytes).at_rate(256 << 10).start();
    let first = node().shards(2).origin(&origin).cache(dir.path()).start();
    let prefetch = first.prefetch(r#"{"src": "origin:song"}"#);
    first.wait_until(&prefetch, |told| told["state"] == "running");
    first.signal("-TERM");
    assert!(first.ended(Duration::from_secs(5)).0.success());
    let second = node().shards(1).origin(&origin).cache(dir.path()).start();
    assert_eq!(second.told(&prefetch)["error"], serde_json::Value::Null);
    second.wait_until(&prefetch, |told| told["state"] == "running");
}

#[test]
fn an_origin_that_fails_is_asked_again_and_one_that_stays_dead_is_reported() {
    let bytes = song(300_000);
    let origin = origin()
        .file("recovers", &bytes)
        .fails_first(2)
        .file("dead", &bytes)
        .fails_first(99)
        .file("gone", b"")
        .status(404)
        .file("cut", &bytes)
        .breaks_after(100_000)
        .start();
    let node = node()
        .origin(&origin)
        .set("LIMITS__ORIGIN_RETRIES", "0")
        .set("LIMITS__PREFETCH_BACKOFF", "20ms")
        .set("LIMITS__PREFETCH_RETRIES", "2")
        .start();
    let recovers = node.prefetch(r#"{"src": "origin:recovers"}"#);
    let dead = node.prefetch(r#"{"src": "origin:dead"}"#);
    let gone = node.prefetch(r#"{"src": ["origin:gone", "origin:cut"]}"#);
    node.wait_for_end(&recovers, "done");
    assert_eq!(origin.asked("recovers").len(), 3);
    let told = node.wait_for_end(&dead, "failed");
    assert_eq!(told["error"], "origin:dead: origin answered 503");
    assert_eq!(origin.asked("dead").len(), 3);
    let told = node.wait_for_end(&gone, "failed");
    assert_eq!(told["error"], "origin:gone: origin answered 404");
    assert_eq!((&told["sources"]["done"], &told["sources"]["failed"]), (&1.into(), &1.into()));
    assert_eq!(told["failures"][0]["source"], "origin:gone");
    assert_eq!(told["bytes_total"], 300_000, "what is not there hides nothing else");
    assert_eq!(origin.asked("gone").len(), 1, "no is no");
    assert_eq!(origin.ranges_asked("cut"), [0, 100_000]);
    // Of what is cut its fill may fetch the rest before the prefetch comes to the break.
    let failures = node.counter("/prefetch/failures");
    assert!((2 + 3 + 1..=2 + 3 + 1 + 1).contains(&failures), "{failures}");
}

#[test]
fn an_origin_that_asks_to_be_left_alone_is_and_goes_on_where_it_was() {
    let bytes = song(300_000);
    let busy = origin().file("first", &bytes).fails_first(1).asks_to_wait(1);
    let busy = busy.file("second", &bytes).start();
    let node = node()
        .origin(&busy)
        .set("LIMITS__ORIGIN_RETRIES", "0")
        .set("LIMITS__PREFETCH_BACKOFF", "20ms")
        .set("LIMITS__PREFETCH_CONNECTIONS", "1")
        .start();
    let prefetch = node.prefetch(r#"{"src": ["origin:first", "origin:second"]}"#);
    node.wait_for_end(&prefetch, "done");
    assert_eq!(busy.order(), ["first", "first", "second"], "it was asked for something meanwhile");
}

#[test]
fn an_origin_that_is_not_there_is_called_unreachable() {
    let origin = origin().start();
    let flag = origin.flag();
    drop(origin);
    let node = node()
        .arg("--origin")
        .arg(&flag)
        .set("LIMITS__ORIGIN_RETRIES", "0")
        .set("LIMITS__PREFETCH_RETRIES", "0")
        .start();
    let told = node.wait_for_end(&node.prefetch(r#"{"src": "origin:song"}"#), "failed");
    assert_eq!(told["unreachable"], true, "{told}");
}

#[test]
fn what_is_cancelled_stops_and_stays_cancelled() {
    let (bytes, dir) = (song(16 * MIB), scratch());
    let origin = origin().file("song", &bytes).at_rate(2 * MIB as u64).start();
    let first = node().shards(2).origin(&origin).cache(dir.path()).start();
    let prefetch = first.prefetch(r#"{"src": ["origin:song", "origin:other"]}"#);
    first.wait_until(&prefetch, |told| told["bytes_done"].as_u64().unwrap() > MIB as u64 / 2);
    let delete = |node: &Node, path: &str| client::request(node.admin, "DELETE", path, "").status;
    assert_eq!(delete(&first, &prefetch), 204);
    let told = first.told(&prefetch);
    assert_eq!(told["state"], "cancelled");
    assert!(told["bytes_done"].as_u64().unwrap() > MIB as u64 / 2, "{told}");
    // No fetch goes on for what nobody wants.
    assert!(origin.sent_bytes("song") < 8 * MIB as u64);
    assert_eq!(delete(&first, &prefetch), 204, "twice is no error");
    assert_eq!(delete(&first, "/v1/prefetch/99"), 404);
    first.wait_for("/sessions_now", 0);
    let asked = origin.asked("song").len();
    first.signal("-KILL");
    first.ended(Duration::from_secs(10));
    let second = node().origin(&origin).cache(dir.path()).start();
    assert_eq!(second.told(&prefetch)["state"], "cancelled");
    assert_eq!(origin.asked("song").len(), asked);
}

#[test]
fn the_more_urgent_goes_first_and_then_the_older() {
    let origin = album();
    let node = node().origin(&origin).set("LIMITS__PREFETCH_CONNECTIONS", "1").start();
    let held = origin.hold();
    let ask = |song: u32, priority: u32| {
        node.prefetch(&format!(r#"{{"src": "origin:song-{song}", "priority": {priority}}}"#))
    };
    let all = [ask(0, 0), ask(1, 1), ask(2, 5), ask(3, 9), ask(4, 5)];
    drop(held);
    all.iter().for_each(|prefetch| drop(node.wait_for_end(prefetch, "done")));
    assert_eq!(origin.order(), ["song-0", "song-3", "song-2", "song-4", "song-1"]);
}

#[test]
fn a_client_that_wants_the_same_overtakes_and_shares() {
    let bytes = song(4 * MIB);
    let origin = origin().file("song", &bytes).start();
    let node = node().shards(2).origin(&origin).set("LIMITS__PREFETCH_RATE", "128KiB/s").start();
    let prefetch = node.prefetch(r#"{"src": "origin:song"}"#);
    node.wait_until(&prefetch, |told| told["bytes_done"].as_u64().unwrap() > 0);
    let began = Instant::now();
    assert!(node.get("/o/origin/song").ok().body == bytes);
    // By itself it would take half a minute.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(origin.ranges_asked("song"), [0], "one fetch for both");
    node.wait_for_end(&prefetch, "done");
    assert!(node.counter("/prefetch/bytes") < MIB as u64, "the client's bytes are not counted");
}

#[test]
fn what_is_prefetched_keeps_to_the_rate_of_its_origin() {
    let bytes = song(MIB);
    let origin = origin().file("a", &bytes).file("b", &bytes).start();
    let node = node().shards(2).origin(&origin).set("LIMITS__PREFETCH_RATE", "1MiB/s").start();
    let began = Instant::now();
    node.wait_for_end(&node.prefetch(r#"{"src": ["origin:a", "origin:b"]}"#), "done");
    // The first steps of both are free: half a mebibyte each.
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
}

#[test]
fn of_one_origin_only_so_many_are_fetched_at_a_time() {
    let songs = (0..12).map(|number| format!("song-{number}"));
    let origin = songs
        .clone()
        .fold(origin(), |origin, name| origin.file(&name, &song(200_000)).at_rate(2 * MIB as u64));
    let origin = origin.start();
    let node = node().origin(&origin).set("LIMITS__PREFETCH_CONNECTIONS", "3").start();
    let sources: Vec<_> = songs.map(|name| format!("\"origin:{name}\"")).collect();
    let prefetch = node.prefetch(&format!(r#"{{"src": [{}]}}"#, sources.join(",")));
    node.wait_for_end(&prefetch, "done");
    assert_eq!(origin.most_bodies(), 3);
}

#[test]
fn a_full_queue_is_busy_and_takes_more_later() {
    let origin = album();
    let node = node().origin(&origin).set("LIMITS__PREFETCH_QUEUE", "2").start();
    let held = origin.hold();
    let first = node.prefetch(r#"{"src": "origin:song-0"}"#);
    let second = node.prefetch(r#"{"src": "origin:song-1"}"#);
    let full = node.asks_ahead(r#"{"src": "origin:song-2"}"#);
    assert_eq!((full.status, full.field("retry-after")), (503, Some("10")), "{}", full.text());
    let never = node.asks_ahead(r#"{"src": ["origin:song-2", "origin:song-3", "origin:song-4"]}"#);
    assert_eq!(never.status, 400, "{}", never.text());
    drop(held);
    node.wait_for_end(&first, "done");
    node.wait_for_end(&second, "done");
    node.wait_for_end(&node.prefetch(r#"{"src": ["origin:song-2", "origin:song-3"]}"#), "done");
}

#[test]
fn of_a_large_object_only_the_ranges_are_fetched() {
    let bytes = song(20 * MIB);
    let origin = origin().file("song", &bytes).at_rate(64 * MIB as u64).start();
    let node = node().origin(&origin).start();
    let spec = r#"{"src": "origin:song", "ranges": [[15000000, 15100000], [1000, 2000]]}"#;
    let told = node.wait_for_end(&node.prefetch(spec), "done");
    assert_eq!((&told["bytes_done"], &told["bytes_total"]), (&101_000.into(), &101_000.into()));
    let asked = origin.asked("song").len();
    assert!(origin.sent_bytes("song") < 8 * MIB as u64, "{}", origin.sent_bytes("song"));
    let part = node.get_with("/o/origin/song", "Range: bytes=15000000-15099999\r\n");
    assert!(part.status == 206 && part.body == bytes[15_000_000..15_100_000]);
    // A client reads ahead of what it asks for: that lies behind the range.
    let later = &origin.ranges_asked("song")[asked..];
    assert!(later.iter().all(|from| *from >= 15_100_000), "{later:?}");
    let outside = r#"{"src": "origin:song", "ranges": [[40000000, 40000001]]}"#;
    let told = node.wait_for_end(&node.prefetch(outside), "failed");
    assert!(told["error"].as_str().unwrap().contains("20971520 bytes"), "{told}");
}

#[test]
fn of_what_is_longer_than_half_a_volume_a_prefetch_says_how_much_is_kept() {
    let bytes = song(9 * MIB);
    let origin = origin().file("book", &bytes).at_rate(16 * MIB as u64).start();
    let node = node().origin(&origin).cache_size("17MiB").start();
    let told =
        node.wait_for_end(&node.prefetch(r#"{"src": "origin:book", "decode": false}"#), "failed");
    let kept = told["bytes_done"].as_u64().unwrap();
    assert!((MIB as u64..5 * MIB as u64 / 2).contains(&kept), "{told}");
    let why = format!(
        "origin:book: the cache keeps {kept} of its 9437184 bytes: one object may hold half a volume"
    );
    assert_eq!((&told["error"], &told["bytes_total"]), (&why.into(), &(9 * MIB).into()));
    let asked = origin.asked("book").len();
    assert!(origin.sent_bytes("book") < 5 * MIB as u64, "the rest was fetched for nothing");
    let part = r#"{"src": "origin:book", "ranges": [[0, 1048576]]}"#;
    assert_eq!(node.wait_for_end(&node.prefetch(part), "done")["bytes_done"], MIB);
    let beyond = r#"{"src": "origin:book", "ranges": [[8000000, 8100000]]}"#;
    let told = node.wait_for_end(&node.prefetch(beyond), "failed");
    assert_eq!(told["bytes_done"], 0, "{told}");
    assert_eq!(origin.asked("book").len(), asked, "nothing was asked for that does not stay");
}

#[test]
fn what_does_not_stay_is_not_said_to_be_there() {
    let bytes = song(3 * MIB);
    let origin = origin()
        .file("unproven", &bytes)
        .without_validator()
        .file("private", &bytes)
        .says("Cache-Control", "no-store")
        .start();
    let node = node().origin(&origin).start();
    let part = r#"{"src": "origin:unproven", "ranges": [[1000, 101000]]}"#;
    let told = node.wait_for_end(&node.prefetch(part), "failed");
    assert!(told["error"].as_str().unwrap().contains("no strong validator"), "{told}");
    let told = node.wait_for_end(&node.prefetch(r#"{"src": "origin:private"}"#), "failed");
    assert!(told["error"].as_str().unwrap().contains("does not let it be stored"), "{told}");
    // As a whole it stays, and then its parts are there too.
    node.wait_for_end(&node.prefetch(r#"{"src": "origin:unproven"}"#), "done");
    is_a_hit(&node, "/o/origin/unproven", &bytes);
    assert_eq!(node.wait_for_end(&node.prefetch(part), "done")["bytes_done"], 100_000);
}

/// No container says it of these, and there is no time to find it out while a listener waits.
#[test]
fn what_was_checked_has_its_length_when_it_is_played_first() {
    let (names, dir) = (["strings.aac", "strings-bare.mp3"], scratch());
    let files = demo::FILES.iter().filter(|file| names.contains(&file.name));
    let origin = files.fold(origin(), |origin, file| origin.file(file.name, file.bytes)).start();
    let start = || node().origin(&origin).cache(dir.path()).set("LIMITS__SCAN_WAIT", "0s").start();
    let is_sized = |node: &Node, name: &str| {
        let target = format!("/v1/pcm?src=origin:{name}&format=s16le&d=1");
        node.head(&target).ok().field("content-length").is_some()
    };
    let check = |node: &Node, decode: bool| {
        for name in names {
            let spec = format!(r#"{{"src": "origin:{name}", "decode": {decode}}}"#);
            node.wait_for_end(&node.prefetch(&spec), "done");
        }
    };
    let first = start();
    check(&first, false);
    // Of this one somebody has asked before what it is.
    assert!(!is_sized(&first, names[0]));
    check(&first, true);
    names.iter().for_each(|name| assert!(is_sized(&first, name), "{name}"));
    first.signal("-TERM");
    assert!(first.ended(Duration::from_secs(10)).0.success());
    let second = start();
    names.iter().for_each(|name| assert!(is_sized(&second, name), "{name} after a restart"));
}

#[test]
fn a_check_decodes_what_was_fetched_and_says_what_it_found() {
    let file = demo::FILES.iter().find(|file| file.name.ends_with("strings.flac")).unwrap();
    let damaged = |ending: &str| {
        let file = demo::FILES.iter().find(|file| file.name.ends_with(ending)).unwrap();
        let (mut bytes, middle) = (file.bytes.to_vec(), file.bytes.len() / 2);
        bytes[middle..middle + 5000].fill(0x55);
        bytes
    };
    let half = &file.bytes[..file.bytes.len() / 2];
    let origin = origin()
        .file("song.flac", file.bytes)
        .file("song.m4a", demo::FILES.iter().find(|file| file.name == "strings.m4a").unwrap().bytes)
        .file("half.flac", half)
        .file("damaged.m4a", &damaged("strings.m4a"))
        .file("page", b"<!doctype html><title>Sign in</title>")
        .start();
    let node = node().shards(2).origin(&origin).start();
    let told = node.prefetch(r#"{"src": "origin:song.flac", "decode": true}"#);
    let told = node.wait_for_end(&told, "done");
    assert_eq!(told["frames"], file.frames);
    assert_eq!((&told["undecoded_packets"], &told["missing_frames"]), (&0.into(), &0.into()));
    let lossy = node.prefetch(r#"{"src": "origin:song.m4a", "decode": true}"#);
    assert_eq!(node.wait_for_end(&lossy, "done")["missing_frames"], 0);
    let told = node.prefetch(r#"{"src": "origin:half.flac", "decode": true}"#);
    let told = node.wait_for_end(&told, "done");
    // Each packet there is decodes, and only the length tells.
    assert!(told["missing_frames"].as_u64().unwrap() > 0, "{told}");
    let told = node.prefetch(r#"{"src": "origin:damaged.m4a", "decode": true}"#);
    let told = node.wait_for_end(&told, "done");
    assert!(told["undecoded_packets"].as_u64().unwrap() > 0, "{told}");
    let told = node.prefetch(r#"{"src": "origin:page", "decode": true}"#);
    let told = node.wait_for_end(&told, "failed");
    assert!(told["error"].as_str().unwrap().contains("container"), "{told}");
    assert_eq!(origin.asked("page").len(), 1, "it is not fetched again for that");
}

#[test]
fn a_list_of_sources_is_each_of_them() {
    let list =
        "#EXTM3U\r\n#EXTINF:3,One\r\n../lists/one.mp3\r\n\r\norigin:other/two.mp3\r\nlocal:three";
    let live = "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\nsegment-0.ts\n";
    let origin = origin()
        .file("lists/all.m3u", list.as_bytes())
        .file("lists/one.mp3", &song(1000))
        .file("other/two.mp3", &song(2000))
        .file("hls.m3u8", live.as_bytes())
        .file("bad.m3u", b"https://elsewhere.example/song.mp3")
        .start();
    let dir = scratch();
    std::fs::write(dir.path().join("three"), song(4000)).unwrap();
    let node = node().origin(&origin).library("local", dir.path()).start();
    let told = node.prefetch(r#"{"src": "origin:lists/all.m3u"}"#);
    let told = node.wait_for_end(&told, "done");
    // A library's file is read where it lies: there is nothing to bring.
    assert_eq!((&told["sources"]["done"], &told["bytes_total"]), (&3.into(), &3000.into()));
    for (list, why) in [
        ("origin:hls.m3u8", "the playlist is live"),
        ("origin:bad.m3u", "line 1 is no source"),
        ("origin:nothing.m3u", "origin answered 404"),
    ] {
        let told = node.wait_for_end(&node.prefetch(&format!(r#"{{"src": "{list}"}}"#)), "failed");
        let error = told["error"].as_str().unwrap();
        assert!(error.starts_with(&format!("{list}: {why}")), "{told}");
        assert_eq!(told["sources"]["failed"], 1, "{told}");
    }
}

#[test]
fn a_list_is_known_by_its_type_too_and_one_in_a_list_is_refused() {
    let origin = origin()
        .file("all", b"one.mp3\nself")
        .says("Content-Type", "Audio/X-MPEGURL; charset=utf-8")
        .file("one.mp3", &song(1000))
        .file("self", b"self")
        .says("Content-Type", "audio/mpegurl")
        .file("live", b"#EXTM3U\n#EXT-X-TARGETDURATION:6\n")
        .says("Content-Type", "application/vnd.apple.mpegurl")
        .start();
    let node = node().origin(&origin).start();
    let told = node.wait_for_end(&node.prefetch(r#"{"src": "origin:all"}"#), "failed");
    assert_eq!((&told["sources"]["total"], &told["sources"]["done"]), (&2.into(), &1.into()));
    assert_eq!(told["error"], "origin:self: it is a list, and was listed itself");
    let told = node.wait_for_end(&node.prefetch(r#"{"src": "origin:live"}"#), "failed");
    assert!(told["error"].as_str().unwrap().contains("the playlist is live"), "{told}");
}

#[test]
fn a_list_is_asked_for_again_like_any_source_and_outlives_a_restart() {
    let (dir, names) = (scratch(), ["song-0", "song-1", "song-2"]);
    let origin = origin().file("list.m3u", names.join("\n").as_bytes()).fails_first(2);
    let origin = names
        .iter()
        .fold(origin, |origin, name| origin.file(name, &song(400_000)).at_rate(400_000))
        .start();
    let start = || {
        node()
            .origin(&origin)
            .cache(dir.path())
            .set("LIMITS__ORIGIN_RETRIES", "0")
            .set("LIMITS__PREFETCH_BACKOFF", "20ms")
            .set("LIMITS__PREFETCH_CONNECTIONS", "1")
            .start()
    };
    let first = start();
    let prefetch = first.prefetch(r#"{"src": "origin:list.m3u"}"#);
    first.wait_until(&prefetch, |told| told["sources"]["done"] == 1);
    assert_eq!(origin.asked("list.m3u").len(), 3);
    first.signal("-TERM");
    assert!(first.ended(Duration::from_secs(10)).0.success());
    let second = start();
    let told = second.wait_for_end(&prefetch, "done");
    assert_eq!((&told["sources"]["total"], &told["sources"]["done"]), (&3.into(), &3.into()));
    assert_eq!(origin.asked("list.m3u").len(), 3, "it was read");
    assert_eq!(origin.asked("song-0").len(), 1, "it was there");
}

#[test]
fn what_is_evicted_again_by_the_rest_of_its_list_is_not_said_to_be_there() {
    let names: Vec<_> = (0..40).map(|number| format!("song-{number}")).collect();
    let songs = origin().file("list.m3u", names.join("\n").as_bytes());
    let origin = names.iter().fold(songs, |origin, name| origin.file(name, &song(MIB))).start();
    let (node, dir) = (node().shards(2).origin(&origin).cache_size("17MiB").start(), scratch());
    let told = node.wait_for_end(&node.prefetch(r#"{"src": "origin:list.m3u"}"#), "done");
    let number = |pointer: &str| told.pointer(pointer).and_then(|number| number.as_u64()).unwrap();
    let there = number("/sources/there");
    assert!((4..17).contains(&there) && number("/sources/done") == 40, "{told}");
    assert_eq!(number("/bytes_done"), there * MIB as u64);
    let evicted = 40 - there;
    let warning = format!(
        "40 fetched, {there} there, {evicted} evicted since: the cache is smaller than the list"
    );
    assert_eq!(told["warning"], warning);
    let hit = |name: &&String| {
        let answer =
            node.get_with(&format!("/o/origin/{name}"), "Cache-Control: only-if-cached\r\n");
        answer.status == 200
    };
    assert_eq!(names.iter().filter(hit).count() as u64, there);
    let flag = origin.flag();
    let cache = dir.path().to_str().unwrap();
    let args = ["--cache", cache, "--cache-size", "17MiB", "--origin", &flag, "origin:list.m3u"];
    let (code, out, err) = prefetch(&args);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("40 sources, ") && out.contains("; 40 fetched, "), "{out}");
    assert!(out.ends_with("evicted since: the cache is smaller than the list\n"), "{out}");
}

#[test]
fn what_finds_no_room_is_tried_again_and_comes_when_there_is_some() {
    let names: Vec<_> = (0..120).map(|number| format!("song-{number}")).collect();
    let songs = names.iter().fold(origin(), |origin, name| origin.file(name, &song(MIB / 2)));
    let origin = songs.file("late", &song(MIB)).start();
    let node = node()
        .origin(&origin)
        .cache_size("17MiB")
        .set("LIMITS__PREFETCH_BACKOFF", "100ms")
        .set("LIMITS__PREFETCH_RETRIES", "9")
        .start();
    let pin = |method: &str, name: &str| {
        let path = format!("/v1/assets/origin:{name}/pin");
        let answer = client::request(node.admin, method, &path, "");
        assert_eq!(answer.status, 204, "{}", answer.text());
    };
    for name in &names {
        pin("PUT", name);
        node.get(&format!("/o/origin/{name}")).ok();
    }
    let late = node.prefetch(r#"{"src": "origin:late"}"#);
    node.wait_until(&late, |told| {
        told["error"].as_str().is_some_and(|error| error.contains("there is no room"))
    });
    names.iter().for_each(|name| pin("DELETE", name));
    node.wait_for_end(&late, "done");
    is_a_hit(&node, "/o/origin/late", &song(MIB));
}

#[test]
fn a_bad_request_names_what_is_wrong_with_it() {
    let node = node().arg("--demo").start();
    for (spec, status, named) in [
        ("", 400, "JSON"),
        ("{}", 400, "`src` is missing"),
        (r#"{"src": "demo:strings.mp3", "priorty": 1}"#, 400, "did you mean `priority`"),
        (r#"{"src": "demo:strings.mp3", "priority": 10}"#, 400, "from 0 to 9"),
        (r#"{"src": "demo:strings.mp3", "ranges": [[5, 5]]}"#, 400, "`ranges[0]`"),
        (r#"{"src": ["demo:strings.mp3", "nowhere:a"]}"#, 404, "nowhere"),
        (r#"{"src": "demo:a/../b"}"#, 400, "no path inside"),
        (r#"{"src": "https://example.com/a.mp3"}"#, 403, "URL"),
    ] {
        let answer = node.asks_ahead(spec);
        assert_eq!(answer.status, status, "{spec}: {}", answer.text());
        assert_eq!(answer.field("content-type"), Some("application/problem+json"));
        assert!(answer.text().contains(named), "{spec}: {}", answer.text());
    }
    assert_eq!(node.asks_ahead(&" ".repeat(MIB + 1)).status, 413);
    for path in ["/v1/prefetch/1", "/v1/prefetch/01", "/v1/prefetch/x", "/v1/prefetch/"] {
        assert_eq!(client::get(node.admin, path, "").status, 404, "{path}");
    }
    assert_eq!(client::request(node.admin, "PUT", "/v1/prefetch", "").status, 405);
    assert_eq!(client::get(node.listen, "/v1/prefetch", "").status, 404);
    assert_eq!(client::request(node.listen, "POST", "/v1/prefetch", "").status, 404);
}

#[test]
fn a_prefetch_is_told_of_from_its_beginning_to_its_end() {
    let origin = origin().file("song", &song(300_000)).file("gone", b"").status(404).start();
    let node = node().shards(2).origin(&origin).start();
    let mut events = Events::of(&node);
    node.prefetch(r#"{"src": "origin:song"}"#);
    let begun = events.wait("prefetch_begun", |begun| begun["id"] == 1);
    assert_eq!((&begun["source"], &begun["sources"]), (&"origin:song".into(), &1.into()));
    let ended = events.wait("prefetch_ended", |ended| ended["id"] == 1);
    assert_eq!((&ended["status"], &ended["bytes"]), (&"complete".into(), &300_000.into()));
    node.prefetch(r#"{"src": ["origin:gone?token=1", "origin:song"]}"#);
    let failed = events.wait("prefetch_failed", |failed| failed["id"] == 2);
    assert_eq!(
        (&failed["sources"], &failed["why"]),
        (&1.into(), &"origin:gone: origin answered 404".into())
    );
    let held = origin.hold();
    let prefetch = node.prefetch(r#"{"src": "origin:other"}"#);
    assert_eq!(client::request(node.admin, "DELETE", &prefetch, "").status, 204);
    assert_eq!(events.wait("prefetch_ended", |_| true)["status"], "cancelled");
    drop(held);
}

#[test]
fn without_a_cache_there_is_nothing_to_prefetch_into() {
    let node = node().arg("--demo").cache_size("0B").start();
    let answer = node.asks_ahead(r#"{"src": "demo:strings.mp3"}"#);
    assert_eq!(answer.status, 409, "{}", answer.text());
}

#[test]
fn a_journal_of_another_version_is_left_alone() {
    let dir = scratch();
    let journal = dir.path().join("prefetch");
    std::fs::write(&journal, "kithara-prefetch 2\nwhatever").unwrap();
    let node = node().arg("--demo").cache(dir.path()).start();
    let answer = node.asks_ahead(r#"{"src": "demo:strings.mp3"}"#);
    assert_eq!(answer.status, 409, "{}", answer.text());
    node.wav("demo:strings.mp3", "");
    node.signal("-TERM");
    assert!(node.ended(Duration::from_secs(10)).0.success());
    assert_eq!(std::fs::read_to_string(&journal).unwrap(), "kithara-prefetch 2\nwhatever");
}

/// Runs `kithara prefetch`; its exit code, and what it wrote to stdout and stderr.
fn prefetch(args: &[&str]) -> (i32, String, String) {
    let output = command(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kithara"));
    command.arg("prefetch").args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

#[test]
fn the_command_fills_a_cache_that_a_node_then_serves() {
    let (origin, dir) = (album(), scratch());
    let cache = dir.path().to_str().unwrap();
    let sized = ["--cache", cache, "--cache-size", "256MiB"];
    let flag = origin.flag();
    let url = format!("{}song-1", flag.split_once('=').unwrap().1);
    let args = [&sized[..], &["--origin", &flag, "origin:song-0", &url]].concat();
    let (code, out, err) = prefetch(&args);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("2 sources, 781.2 KiB there after "), "{out}");
    let node = node().shards(2).origin(&origin).cache(dir.path()).start();
    is_a_hit(&node, "/o/origin/song-0", &song(400_000));
    is_a_hit(&node, "/o/origin/song-1", &song(400_000));
    let (code, _, err) = prefetch(&args);
    assert!(code == 74 && err.contains("in use"), "{code}: {err}");
    let admin = format!("http://{}", node.admin);
    let (code, out, err) = prefetch(&["--node", &admin, "origin:song-2"]);
    assert!(code == 0 && out.starts_with("1 source, 390.6 KiB there"), "{code} {out} {err}");
    is_a_hit(&node, "/o/origin/song-2", &song(400_000));
    let (code, _, err) = prefetch(&["--node", &admin, "nowhere:song"]);
    assert!(code == 1 && err.contains("nowhere"), "{code}: {err}");
    let (code, _, err) = prefetch(&["--node", &admin, "song"]);
    assert!(code == 2 && err.contains("NAME:path"), "{code}: {err}");
}

#[test]
fn the_command_brings_parts_of_a_source() {
    let bytes = song(20 * MIB);
    let (origin, dir) = (origin().file("song", &bytes).at_rate(64 * MIB as u64).start(), scratch());
    let (cache, flag) = (dir.path().to_str().unwrap(), origin.flag());
    let here = ["--cache", cache, "--cache-size", "256MiB", "--origin", &flag, "origin:song"];
    let ranges = ["--range", "15000000-15100000", "--range", "1000-2000"];
    let (code, out, err) = prefetch(&[&here[..], &ranges].concat());
    assert!(code == 0 && out.starts_with("1 source, 98.6 KiB there after "), "{out}{err}");
    let node = node().origin(&origin).start();
    let admin = format!("http://{}", node.admin);
    let there = ["--node", &admin, "origin:song"];
    let (code, out, err) = prefetch(&[&there[..], &ranges].concat());
    assert!(code == 0 && out.starts_with("1 source, 98.6 KiB there after "), "{out}{err}");
    assert!(origin.sent_bytes("song") < 16 * MIB as u64, "{}", origin.sent_bytes("song"));
    for (args, named) in [
        (&["--range", "9-5"][..], "A-B"),
        (&["--range", "0-9", "origin:other"], "one source"),
        (&["--range", "0-9", "--decode"], "--decode"),
    ] {
        let (code, _, err) = prefetch(&[&there[..], args].concat());
        assert!(code == 2 && err.contains(named), "{code}: {err}");
    }
}

#[test]
fn the_command_says_by_its_code_that_an_origin_is_not_there() {
    let origin = origin().file("gone", b"").status(404).start();
    // Nobody listens on the first of all ports.
    let dead = "dead=http://127.0.0.1:1/";
    let dir = scratch();
    let cache = ["--cache", dir.path().to_str().unwrap(), "--cache-size", "256MiB"];
    let flag = origin.flag();
    let (code, _, err) = prefetch(&[&cache[..], &["--origin", &flag, "origin:gone"]].concat());
    assert!(code == 1 && err.contains("origin:gone: origin answered 404"), "{code}: {err}");
    let args = [&cache[..], &["--origin", dead, "dead:song"]].concat();
    let output = command(&args)
        .env("KITHARA_LIMITS__PREFETCH_RETRIES", "0")
        .env("KITHARA_LIMITS__ORIGIN_RETRIES", "0")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{err}");
    let (code, _, err) = prefetch(&["--node", "http://127.0.0.1:1", "a:b"]);
    assert!(code == 69 && err.contains("admin listener"), "{code}: {err}");
}

#[test]
fn an_interrupted_command_keeps_what_has_come_and_goes_on_from_there() {
    let bytes = song(8 * MIB);
    let (origin, dir) = (origin().file("song", &bytes).at_rate(4 * MIB as u64).start(), scratch());
    let flag = origin.flag();
    let cache = dir.path().to_str().unwrap();
    let args = ["--cache", cache, "--cache-size", "256MiB", "--origin", &flag, "origin:song"];
    let mut running = command(&args).spawn().unwrap();
    let mut said = BufReader::new(running.stderr.take().unwrap());
    let mut line = String::new();
    // A line comes for each tenth.
    let percent = |line: &str| -> Option<u64> {
        line.strip_prefix("prefetch: ")?.split_once('%')?.0.parse().ok()
    };
    while percent(&line).is_none_or(|percent| percent < 20) {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended early");
    }
    let killed = Command::new("kill").args(["-INT", &running.id().to_string()]).status();
    assert!(killed.unwrap().success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains("interrupted"), "{rest}");
    assert_eq!(prefetch(&args).0, 0);
    let asked = origin.ranges_asked("song");
    assert!(asked.len() == 2 && asked[1] > MIB as u64, "{asked:?}");
}
