//! Clients that read slowly, leave, or are too many: what they cost, and who is told.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use kithara::demo;

use crate::{
    client,
    node::{Node, node, scratch},
    origin::origin,
};

const CHUNK: u64 = 64 << 10;

/// Asks for `target` and reads nothing.
fn asks(node: &Node, target: &str) -> TcpStream {
    let mut stream = client::connect(node.listen);
    let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen);
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn a_client_that_reads_nothing_costs_no_more_than_its_blocks() {
    let dir = scratch();
    // Far more than the kernel's buffers take.
    std::fs::write(dir.path().join("song"), vec![3; 64 << 20]).unwrap();
    let node = node().shards(2).library("local", dir.path()).start();
    let idle = node.counter("/memory/used_bytes");
    let streams: Vec<_> = (0..6).map(|_| asks(&node, "/o/local/song")).collect();
    // Four blocks each, on whichever shard they were accepted.
    let held = idle + 6 * 4 * CHUNK;
    node.wait_for("/memory/used_bytes", held);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(node.counter("/memory/used_bytes"), held);
    drop(streams);
    node.wait_for("/memory/used_bytes", idle);
    node.wait_for("/sessions_now", 0);
}

#[test]
fn a_slow_reader_slows_its_decoder() {
    let node = node().shards(2).arg("--demo").start();
    let target = "/v1/pcm?src=demo:strings.flac&rate=192000&format=f32le&channels=8";
    let whole = node.get(target).ok().body.len() as u64;
    let before = node.counter("/body_bytes");
    let stream = asks(&node, target);
    std::thread::sleep(Duration::from_millis(500));
    let made = node.counter("/body_bytes") - before;
    // Two blocks of its own, and what the kernel took; of 32 MB.
    assert!(whole > 24 << 20 && made < 12 << 20, "{made} of {whole}");
    drop(stream);
    node.wait_for("/sessions_now", 0);
}

#[test]
fn a_client_that_leaves_stops_the_work_on_either_shard() {
    let song = demo::FILES.iter().find(|file| file.name.ends_with(".flac")).unwrap();
    let origin = origin().file("song.flac", song.bytes).at_rate(20_000).start();
    let node = node().shards(2).origin(&origin).start();
    // Eight connections land on both listeners; one of the shards is not the owner.
    let streams: Vec<_> = (0..8).map(|_| asks(&node, "/v1/pcm?src=origin:song.flac")).collect();
    for mut stream in streams {
        stream.read_exact(&mut [0; 100]).unwrap();
    }
    node.wait_for("/sessions_now", 0);
}

#[test]
fn one_connection_too_many_is_told_so_and_counted() {
    let node = node().set("LIMITS__CONNECTIONS", "4").start();
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = client::connect(node.listen);
        let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen);
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(client::read_response(&mut stream, &mut Vec::new(), false).status, 200);
        held.push(stream);
    }
    let fourth = client::connect(node.listen);
    let refused = node.get("/livez");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.field("retry-after"), Some("5"));
    assert!(refused.text().contains("limits.connections"), "{}", refused.text());
    drop((held, fourth));
    let began = std::time::Instant::now();
    while node.get("/livez").status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    assert!(node.counter("/refused/connections") >= 1);
}

#[test]
fn the_end_of_the_grace_cuts_between_two_blocks_and_says_how_many() {
    let dir = scratch();
    let song: Vec<u8> = (0..100_u32 << 20 >> 2).flat_map(u32::to_le_bytes).collect();
    std::fs::write(dir.path().join("song"), &song).unwrap();
    let node = node().library("local", dir.path()).set("SHUTDOWN_GRACE", "300ms").start();
    let mut stream = asks(&node, "/o/local/song");
    let mut begun = vec![0; 1 << 20];
    stream.read_exact(&mut begun).unwrap();
    node.signal("-TERM");
    // A paced reader: what is left of 100 MiB takes longer than the grace.
    let mut piece = vec![0; 64 << 10];
    loop {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => begun.extend_from_slice(&piece[..count]),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let head = begun.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let body = &begun[head..];
    assert!(song.starts_with(body) && body.len() < song.len(), "{}", body.len());
    assert_eq!(body.len() as u64 % CHUNK, 0, "{}", body.len());
    let (status, log) = node.ended(Duration::from_secs(10));
    assert!(status.success(), "{log}");
    assert!(log.contains("cut short") && log.contains("responses=1"), "{log}");
}

#[test]
fn the_operator_sees_every_shard_and_clients_see_none() {
    let node = node().shards(2).arg("--demo").start();
    node.wav("demo:strings.flac", "");
    assert_eq!(node.counter("/sessions/pcm"), 1);
    assert!(node.counter("/frames") > 0 && node.counter("/memory/budget_bytes") > 0);
    assert_eq!(node.get("/v1/shards").status, 404);
    let rebound = "GET /v1/shards HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(client::raw(node.admin, rebound.as_bytes(), false).status, 421);
}

#[test]
fn where_memory_runs_short_some_are_refused_and_nobody_is_cut_off() {
    let song = demo::FILES.iter().find(|file| file.name.ends_with(".flac")).unwrap();
    let name = |number: usize| format!("song{number}.flac");
    // Slow enough for all of them to be there at once.
    let origin = (0..60).fold(origin(), |origin, number| {
        origin.file(&name(number), song.bytes).at_rate(song.bytes.len() as u64)
    });
    let origin = origin.start();
    let node = node().memory("32MiB").origin(&origin).start();
    // Half of them want the same, and half something of their own.
    let targets = (0..120_usize).map(|number| name(number.saturating_sub(60)));
    let streams: Vec<_> = targets
        .map(|name| asks(&node, &format!("/v1/pcm?src=origin:{name}&format=f32le")))
        .collect();
    let (mut whole, mut refused) = (0, 0);
    for mut stream in streams {
        let answer = client::read_response(&mut stream, &mut Vec::new(), false);
        match answer.status {
            200 => whole += usize::from(answer.complete),
            503 => refused += usize::from(answer.field("retry-after").is_some()),
            other => panic!("{other}: {}", answer.text()),
        }
    }
    println!("{whole} whole, {refused} refused");
    assert!(whole + refused == 120 && whole > 20, "{whole} whole, {refused} refused");
    assert_eq!(node.counter("/refused/memory"), refused as u64);
}

/// Asks for `target` and reads the first of the answer, which must be a good one.
#[track_caller]
fn is_let_in(node: &Node, target: &str) -> TcpStream {
    let mut stream = asks(node, target);
    let mut head = [0; 100];
    stream.read_exact(&mut head).unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    stream
}

#[test]
fn a_core_whose_time_is_promised_refuses_the_next_listener_until_one_has_left() {
    let node = node().arg("--demo").set("LIMITS__DECODE_SHARE", "0.0001").start();
    // More than the kernel's buffers take, so that who does not read stays.
    let long = "/v1/pcm?src=demo:strings.flac&rate=192000&format=f32le&channels=8";
    let (other, sharing) = ("/v1/pcm?src=demo:strings.mp3&d=1", long);
    let first = is_let_in(&node, long);
    // Who wants the same costs no more.
    let second = is_let_in(&node, sharing);
    for target in ["/v1/pcm?src=demo:strings.flac&rate=96000", other] {
        let refused = node.get(target);
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.field("retry-after"), Some("5"));
        assert!(refused.text().contains("limits.decode_share"), "{}", refused.text());
        assert_eq!(node.head(target).status, 200, "a head decodes nothing");
    }
    node.get("/v1/probe?src=demo:strings.mp3").ok();
    node.get("/o/demo/strings.mp3").ok();
    assert_eq!(node.counter("/refused/decode_share"), 2);
    assert_eq!(node.counter("/decode/sessions"), 1);
    drop((first, second));
    node.wait_for("/decode/sessions", 0);
    node.get(other).ok();
}

#[test]
fn who_jumps_about_a_song_counts_as_one_listener() {
    let node = node().arg("--demo").set("LIMITS__DECODE_SHARE", "0.0001").start();
    for second in [0, 4, 2, 1, 3] {
        let target = "/v1/pcm?src=demo:strings.flac&rate=192000&format=f32le&channels=8";
        node.get(&format!("{target}&t={second}&d=0.1")).ok();
    }
    assert_eq!(node.counter("/refused/decode_share"), 0);
}

#[test]
fn a_download_as_fast_as_it_goes_counts_as_one_listener_and_keeps_nobody_out() {
    let dir = scratch();
    std::fs::write(dir.path().join("long.wav"), half_an_hour()).unwrap();
    let node = node().arg("--demo").library("local", dir.path()).start();
    let song = "/v1/pcm?src=local:long.wav";
    let _pauses = is_let_in(&node, song);
    let mut greedy = is_let_in(&node, song);
    let mut read = 0;
    let mut reads = |seconds: usize| {
        let end = read + seconds * 22_050 * 2;
        let mut piece = vec![0; 64 << 10];
        while read < end {
            read += greedy.read(&mut piece).unwrap();
        }
    };
    let began = std::time::Instant::now();
    reads(600);
    assert!(began.elapsed() < Duration::from_secs(300), "it is no faster than a listener");
    for codec in ["strings.mp3", "strings.flac"] {
        node.wav(&format!("demo:{codec}"), "");
        is_let_in(&node, song);
    }
    let decode = &node.told("/v1/shards")["shards"][0]["decode"];
    assert!(decode["promised_share"].as_f64().unwrap() < 0.5, "{decode}");
    reads(1000);
    assert_eq!(node.counter("/refused/decode_share"), 0);
}

/// WAVE of 22.05 kHz, mono, 16 bits: the head of the demo's, and silence.
fn half_an_hour() -> Vec<u8> {
    let wave = demo::FILES.iter().find(|file| file.name == "strings.wav").unwrap();
    let data_bytes = 1800 * 22_050 * 2_u32;
    let mut song = wave.bytes[..44].to_vec();
    song[4..8].copy_from_slice(&(data_bytes + 36).to_le_bytes());
    song[40..44].copy_from_slice(&data_bytes.to_le_bytes());
    song.resize(44 + data_bytes as usize, 0);
    song
}
