//! What the operator sees and does while clients are served.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    client,
    node::{Node, node, scratch},
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
    let answers = clients.iter_mut().map(|client| client::read_response(client, false));
    let (whole, short): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.complete);
    assert_eq!((whole.len(), short.len()), (6, 2));
    assert!(short.iter().all(|answer| answer.status == 200 && answer.body.len() < SONG_BYTES));
    node.wait_for("/sessions_now", 0);
    assert_eq!(node.counter("/aborted"), 0, "what the operator ended is counted apart");
}

#[test]
fn a_stream_that_is_not_there_cannot_be_ended() {
    let node = node().shards(2).arg("--demo").start();
    for id in ["0-1", "1-1", "2-1", "65535-1", "1", "0-1/", "0-18446744073709551616", "..", ""] {
        let answer = client::request(node.admin, "DELETE", &format!("/v1/streams/{id}"), "");
        assert_eq!(answer.status, 404, "{id}: {}", answer.text());
    }
    let answer = client::request(node.admin, "GET", "/v1/streams/0-1", "");
    assert_eq!((answer.status, answer.field("allow")), (405, Some("DELETE, OPTIONS")));
    assert_eq!(node.get("/v1/streams").status, 404);
    assert_eq!(client::request(node.listen, "DELETE", "/v1/streams/0-1", "").status, 404);
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
