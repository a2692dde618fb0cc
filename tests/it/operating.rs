//! What the operator sees and does while clients are served.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    client,
    node::{Node, node, scratch},
    origin::origin,
};

/// Far more than the kernel's buffers take, so that who reads nothing is served for long.
const SONG_BYTES: usize = 64 << 20;

/// A node of two shards with one long song.
fn node_with_song() -> (Node, tempfile::TempDir) {
    let dir = scratch();
    std::fs::write(dir.path().join("song"), vec![3; SONG_BYTES]).unwrap();
    let node = node().shards(2).library("local", dir.path()).start();
    (node, dir)
}

/// Asks for the song and reads nothing.
fn listens(node: &Node) -> TcpStream {
    let mut stream = client::connect(node.listen);
    let request = format!("GET /o/local/song HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen);
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The streams of the node, once there are `count`, each with its first bytes out.
#[track_caller]
fn streams(node: &Node, count: usize) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let text = client::get(node.admin, "/v1/streams", "").ok().text();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&document["left_off"], &document["silent_shards"]),
            (&0.into(), &Value::Array(vec![]))
        );
        let streams = document["streams"].as_array().unwrap();
        let begun = streams.iter().all(|stream| stream["bytes"].as_u64().unwrap() > 0);
        if streams.len() == count && begun {
            return streams.clone();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "not {count} streams: {text}");
    }
}

#[test]
fn the_operator_ends_one_stream_and_no_other() {
    let (node, _dir) = node_with_song();
    // Eight clients land on both shards; the song is one shard's, so some sessions cross.
    let mut clients: Vec<_> = (0..8).map(|_| listens(&node)).collect();
    let listed = streams(&node, 8);
    let owner = &listed[0]["shard"];
    for stream in &listed {
        assert_eq!((&stream["source"], &stream["what"]), (&"local:song".into(), &"object".into()));
        assert_eq!((&stream["shard"], &stream["format"]), (owner, &Value::Null));
        assert!(stream["started_unix_ms"].as_u64().unwrap() > 1_600_000_000_000, "{stream}");
    }
    let crosses: Vec<_> = listed.iter().map(|stream| stream["client_shard"] != *owner).collect();
    assert!(crosses.contains(&true) && crosses.contains(&false), "{listed:?}");
    for crossing in [true, false] {
        let victim = crosses.iter().position(|crosses| *crosses == crossing).unwrap();
        let path = format!("/v1/streams/{}", listed[victim]["id"].as_str().unwrap());
        assert_eq!(client::request(node.admin, "DELETE", &path, "").status, 204);
    }
    node.wait_for("/cancelled", 2);
    let left = streams(&node, 6);
    assert!(left.iter().all(|stream| listed.iter().any(|old| old["id"] == stream["id"])));
    let answers =
        clients.iter_mut().map(|client| client::read_response(client, &mut Vec::new(), false));
    let (whole, short): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.complete);
    assert_eq!((whole.len(), short.len()), (6, 2));
    assert!(short.iter().all(|answer| answer.status == 200 && answer.body.len() < SONG_BYTES));
    node.wait_for("/sessions_now", 0);
    assert_eq!(node.counter("/aborted"), 0, "what the operator ended is counted apart");
}

#[test]
fn a_stream_that_is_not_there_cannot_be_ended() {
    let node = node().shards(2).arg("--demo").start();
    for id in [
        "0-0-1",
        "1-0-1",
        "2-0-1",
        "65535-0-1",
        "1",
        "0-1",
        "0-0-1/",
        "0-0-18446744073709551616",
        "..",
        "",
    ] {
        let answer = client::request(node.admin, "DELETE", &format!("/v1/streams/{id}"), "");
        assert_eq!(answer.status, 404, "{id}: {}", answer.text());
    }
    let answer = client::request(node.admin, "GET", "/v1/streams/0-0-1", "");
    assert_eq!((answer.status, answer.field("allow")), (405, Some("DELETE, OPTIONS")));
    assert_eq!(node.get("/v1/streams").status, 404);
    assert_eq!(client::request(node.listen, "DELETE", "/v1/streams/0-0-1", "").status, 404);
}

#[test]
fn a_page_of_another_site_ends_no_stream() {
    let (node, _dir) = node_with_song();
    let _client = listens(&node);
    let id = streams(&node, 1)[0]["id"].as_str().unwrap().to_owned();
    let delete = |fields: &str| {
        client::request(node.admin, "DELETE", &format!("/v1/streams/{id}"), fields).status
    };
    assert_eq!(delete("Origin: https://evil.example\r\n"), 403);
    assert_eq!(delete("Origin: null\r\n"), 403);
    assert_eq!(streams(&node, 1)[0]["id"], id);
    assert_eq!(delete(&format!("Origin: http://{}\r\n", node.admin)), 204);
    node.wait_for("/cancelled", 1);
}

/// Hears what happens, event by event: its name and its data.
pub struct Events(BufReader<TcpStream>);

impl Events {
    #[track_caller]
    pub fn of(node: &Node) -> Self {
        let mut stream = client::connect(node.admin);
        let request = format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", node.admin);
        stream.write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        Self(lines)
    }

    /// The next event; `None` at the clean end.
    fn next(&mut self) -> Option<(String, Value)> {
        let mut name = None;
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "it ended without its last chunk");
            // Between them stand the lines of the chunked coding.
            match line.trim_end().split_once(": ") {
                Some(("event", event)) => name = Some(event.to_owned()),
                Some(("data", data)) => {
                    return Some((name.unwrap(), serde_json::from_str(data).unwrap()));
                }
                _ if line == "0\r\n" => return None,
                _ => {}
            }
        }
    }

    /// The data of the next event of this name that `is` like this.
    pub fn wait(&mut self, wanted: &str, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let (name, data) = self.next().expect("it goes on");
            if name == wanted && is(&data) {
                return data;
            }
        }
    }
}

#[test]
fn what_happens_on_every_shard_is_told() {
    let origin = origin().file("song", &vec![7; 300_000]).start();
    let dir = scratch();
    for file in 0..8 {
        std::fs::write(dir.path().join(file.to_string()), vec![3; 1000]).unwrap();
    }
    let node = node().shards(2).origin(&origin).library("local", dir.path()).start();
    let mut events = Events::of(&node);
    // Whatever shard answers this has heard before it that somebody listens.
    streams(&node, 0);
    // Of these names some belong to either shard.
    let ended: Vec<_> = (0..8)
        .map(|file| {
            node.get(&format!("/o/local/{file}")).ok();
            events.wait("session_ended", |_| true)
        })
        .collect();
    for ended in &ended {
        assert_eq!((&ended["status"], &ended["bytes"]), (&"complete".into(), &1000.into()));
        assert!(ended["seconds"].as_f64().unwrap() < 60.0, "{ended}");
        assert!(ended["time_unix_ms"].as_u64().unwrap() > 1_600_000_000_000, "{ended}");
    }
    assert!([0, 1].iter().all(|shard| ended.iter().any(|ended| ended["shard"] == *shard)));
    node.get("/o/origin/song").ok();
    let begun = events.wait("session_begun", |begun| begun["source"] == "origin:song");
    assert_eq!(begun["what"], "object");
    let url = |data: &Value| data["url"].as_str().unwrap().ends_with("/song");
    events.wait("fill_begun", url);
    assert_eq!(events.wait("fill_ended", url)["bytes"], 300_000);
    assert_eq!(node.get("/v1/probe?src=origin:nothing").status, 404);
    let failed = events.wait("fill_failed", |_| true);
    assert!(failed["url"].as_str().unwrap().ends_with("/nothing"), "{failed}");
    events.wait("session_ended", |ended| ended["status"] == "refused");
    node.signal("-TERM");
    events.wait("drain_begun", |drain| drain["shard"] == 0);
    assert!(events.next().is_none_or(|(name, _)| name == "drain_begun"));
    // Not after the grace: a listener holds no node up.
    assert!(node.ended(Duration::from_secs(10)).0.success());
}

#[test]
fn a_listener_that_reads_nothing_is_told_how_much_it_missed() {
    const SESSIONS: u64 = 4_000;
    let dir = scratch();
    // A long name, since it is the bytes of the events that fill what the kernel takes.
    let name = "a".repeat(250);
    std::fs::write(dir.path().join(&name), "a").unwrap();
    let node = node().library("local", dir.path()).start();
    let (mut slow, mut quick) = (Events::of(&node), Events::of(&node));
    let mut client = client::connect(node.listen);
    let request = format!("GET /o/local/{name} HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen);
    for _ in 0..SESSIONS {
        client.write_all(request.as_bytes()).unwrap();
        assert_eq!(client::read_response(&mut client, &mut Vec::new(), false).status, 200);
        quick.wait("session_ended", |_| true);
    }
    let (mut told, mut dropped) = (0, 0);
    while told + dropped < 2 * SESSIONS {
        match slow.next().expect("it goes on") {
            (name, data) if name == "dropped" => dropped += data["events"].as_u64().unwrap(),
            _ => told += 1,
        }
    }
    assert!(told > 256 && dropped > 0, "{told} told, {dropped} dropped");
    assert_eq!(told + dropped, 2 * SESSIONS, "each is told or counted");
}

#[test]
fn who_is_turned_away_is_told_of() {
    // The operator's connection is none of the clients'.
    let node = node().set("LIMITS__CONNECTIONS", "1").start();
    let mut events = Events::of(&node);
    let _second = client::connect(node.listen);
    assert_eq!(node.get("/livez").status, 503);
    events.wait("refused", |refused| refused["reason"] == "connections");
}

#[test]
fn listeners_are_bounded_and_leave_nothing() {
    let node = node().start();
    let mut listeners: Vec<_> = (0..8).map(|_| Events::of(&node)).collect();
    assert_eq!(client::get(node.admin, "/events", "").status, 503);
    listeners.pop();
    let began = Instant::now();
    loop {
        let mut stream = client::connect(node.admin);
        let request = format!("HEAD /events HTTP/1.1\r\nHost: {}\r\n\r\n", node.admin);
        stream.write_all(request.as_bytes()).unwrap();
        if client::read_response(&mut stream, &mut Vec::new(), true).status == 200 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "its place is not free again");
    }
    assert_eq!(node.get("/events").status, 404);
}
