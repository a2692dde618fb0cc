//! Segments that cannot be had: which they are is told, how many is counted, and too many are an error.

use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use crate::{
    client,
    hls::{self, Form::*, Presentation},
    node::{Node, node},
    origin::{Origin, origin},
};

const PCM: &str = "/v1/pcm?src=origin:list.m3u8&format=s16le";

/// Six segments of two seconds.
fn short() -> Option<Presentation> {
    hls::presentation(
        PackedMp3,
        "aevalsrc=0.4*sin(2*PI*(300+40*t)*t)|0.3*sin(2*PI*500*t):s=44100:d=12",
    )
}

fn told(node: &Node, query: &str) -> (u16, serde_json::Value) {
    let answer = node.get(query);
    (answer.status, serde_json::from_str(&answer.text()).unwrap())
}

#[test]
fn what_is_missing_is_named_and_where_it_can_be_seen() {
    let Some(presentation) = short() else { return };
    let secret = presentation.plain().replace("\npart", "\npart?token=SECRET&of=part");
    let origin = presentation.on(origin(), "", &secret).file("keyed.m3u8", b"").start();
    let node = node().origin(&origin).set("LIMITS__ORIGIN_RETRIES", "0").start();
    let (status, said) = told(&node, PCM);
    assert_eq!(status, 404, "{said}");
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.contains("segment 3 (counted from 0) of origin:list.m3u8"), "{said}");
    assert!(detail.contains("origin:part does not exist"), "{said}");
    assert!(said["hint"].as_str().unwrap().contains("/o/origin/part"), "{said}");
    let (_, log) = {
        node.signal("-TERM");
        node.ended(Duration::from_secs(20))
    };
    assert!(log.contains("a segment is missing") && log.contains("segment 0"), "{log}");
    assert!(!format!("{said}{log}").contains("SECRET"));
}

#[test]
fn a_key_that_is_missing_is_named_as_one() {
    let Some(presentation) = short() else { return };
    let key = |at: usize| match at {
        0 => "#EXT-X-KEY:METHOD=AES-128,URI=\"the.key\"\n".to_owned(),
        _ => String::new(),
    };
    let files = presentation.encrypted(None);
    let origin = files.on(origin(), "", &files.playlist(key)).start();
    let node = node().origin(&origin).set("LIMITS__ORIGIN_RETRIES", "0").start();
    let (status, said) = told(&node, PCM);
    assert_eq!(status, 502, "{said}");
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.contains("the key of segment 3"), "{said}");
    assert!(detail.contains("origin:the.key"), "{said}");
}

/// Of a hundred segments the first are there. What is heard of the others has an end.
#[test]
fn an_origin_that_is_gone_is_no_endless_silence() {
    let Some(presentation) = short() else { return };
    let gone: String = (0..94).map(|at| format!("#EXTINF:2,\ngone{at}\n")).collect();
    let playlist = presentation.plain().replace("#EXT-X-ENDLIST\n", &gone) + "#EXT-X-ENDLIST\n";
    let origin = presentation.on(origin(), "", &playlist).start();
    let node = node()
        .origin(&origin)
        .set("LIMITS__MISSING_SEGMENTS", "8")
        .set("LIMITS__ORIGIN_RETRIES", "0")
        .start();
    let answer = node.get(PCM);
    assert_eq!((answer.status, answer.complete), (200, false), "it is no clean end");
    let asked = (0..94).filter(|at| !origin.asked(&format!("gone{at}")).is_empty()).count();
    assert!((9..40).contains(&asked), "{asked} were asked for");
    assert_eq!(node.counter("/hls/missing_segments"), 8);
    node.signal("-TERM");
    let (_, log) = node.ended(Duration::from_secs(20));
    let lines = log.lines().filter(|line| line.contains("a segment is missing")).count();
    assert_eq!(lines, 1, "{log}");
    assert!(log.contains("a body ends short"), "{log}");
}

/// Pages of a captive portal are no segments either.
#[test]
fn what_is_no_media_has_an_end_too() {
    let Some(presentation) = short() else { return };
    let pages: String = (0..40).map(|_| "#EXT-X-DISCONTINUITY\n#EXTINF:2,\npage\n").collect();
    let playlist = presentation.plain().replace("#EXT-X-ENDLIST\n", &pages) + "#EXT-X-ENDLIST\n";
    let page = b"<!doctype html><title>Sign in</title><p>Welcome to the airport network.";
    let origin = presentation.on(origin(), "", &playlist).file("page", page).start();
    let few = |most: &str| node().origin(&origin).set("LIMITS__MISSING_SEGMENTS", most).start();
    assert!(!few("8").get(PCM).complete);
    let whole = few("60").get(PCM).ok().body.len();
    assert!(whole >= (12 + 80) * 44_100 * 4, "{whole}");
}

/// Listens up to a frame, and says what the operator is told then.
fn heard_up_to(node: &Node, origin: &Origin, seconds: usize) -> serde_json::Value {
    let mut stream = client::connect(node.listen);
    write!(stream, "GET {PCM} HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    stream.read_exact(&mut vec![0; seconds * 44_100 * 4]).unwrap();
    let begun = Instant::now();
    loop {
        let streams = node.told("/v1/streams")["streams"].as_array().unwrap().clone();
        let mine = streams.into_iter().find(|stream| stream["what"] == "pcm").unwrap();
        if mine["segment"].as_u64() >= Some(seconds as u64 / 2 - 1) {
            return mine;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{mine} {:?}", origin.order());
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn each_listener_is_told_how_many_segments_it_heard_as_silence() {
    let Some(presentation) = short() else { return };
    let origin = presentation.on(origin(), "", &presentation.plain()).start();
    origin.answers("part01", Some(404));
    origin.answers("part03", Some(404));
    let node = node().origin(&origin).set("LIMITS__ORIGIN_RETRIES", "0").start();
    let told = heard_up_to(&node, &origin, 11);
    assert_eq!(told["missing_segments"].as_u64(), Some(2), "{told}");
    // Who comes when all is made hears the same.
    let told = heard_up_to(&node, &origin, 11);
    assert_eq!(told["missing_segments"].as_u64(), Some(2), "{told}");
}
