//! HLS: presentations that ffmpeg makes of one recording, played as one steady stream.

use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use crate::{
    client,
    hls::{self, Form, Form::*, KEY, Presentation, differs_at, samples},
    node::{Node, node},
    origin::{Origin, origin},
};

/// Length of a segment, and how many there are.
const SECONDS: usize = 2;
const SEGMENTS: usize = 16;

/// Of a recording in which nothing repeats.
fn presentation(form: Form) -> Option<Presentation> {
    presentation_of(form, SEGMENTS)
}

fn presentation_of(form: Form, segments: usize) -> Option<Presentation> {
    let seconds = SECONDS * segments;
    let sound = format!(
        "aevalsrc=0.4*sin(2*PI*(300+20*t)*t)|0.3*sin(2*PI*(500-7*t)*t)+0.1*sin(2*PI*4000*t):s=44100:d={seconds}",
    );
    let presentation = hls::presentation(form, &sound)?;
    assert!(presentation.parts.len() >= segments, "{form:?} has too few segments");
    Some(presentation)
}

const PCM: &str = "/v1/pcm?src=origin:list.m3u8&format=f32le";

fn heard(node: &Node, query: &str) -> Vec<f32> {
    samples(&node.get(&format!("{PCM}{query}")).ok().body)
}

/// What is heard of `files` is what a decode of all of them in a row gives: on the first play, and with its length
/// and by ranges on the next.
#[track_caller]
fn is_one_recording(files: &Presentation, playlist: &str, whole: &[f32]) {
    let origin = files.on(origin(), "", playlist).file("the.key", &KEY).start();
    let node = node().shards(2).origin(&origin).start();
    let first = node.get(PCM).ok();
    assert_eq!(first.field("accept-ranges"), Some("none"));
    let frames = samples(&first.body);
    assert_eq!((frames.len(), differs_at(&frames, whole)), (whole.len(), None));
    let second = node.get(PCM).ok();
    let length = second.field("content-length").map(str::to_owned);
    assert_eq!(length, Some(first.body.len().to_string()));
    assert!(second.body == first.body);
    for (start, end) in [(0, 99), (1_234_567, 1_300_001), (7_000_003, 7_000_003)] {
        let part = node.get_with(PCM, &format!("Range: bytes={start}-{end}\r\n"));
        assert!(part.body == first.body[start..=end], "from {start}");
    }
    for part in 0..files.parts.len() {
        let asked = origin.asked(&format!("part{part:02}")).len();
        assert_eq!(asked, 1, "segment {part} is fetched once");
    }
}

fn plays_in_the_clear(form: Form) {
    let Some(presentation) = presentation(form) else { return };
    is_one_recording(&presentation, &presentation.plain(), &presentation.continuous());
}

/// By the numbers of its segments, and from the middle on by a vector that the playlist has.
fn plays_encrypted(form: Form) {
    let Some(presentation) = presentation(form) else { return };
    let whole = presentation.continuous();
    let (mut files, rest) = (presentation.encrypted(None), presentation.encrypted(Some(7)));
    files.parts.truncate(SEGMENTS / 2);
    files.parts.extend_from_slice(&rest.parts[SEGMENTS / 2..]);
    let key = "#EXT-X-KEY:METHOD=AES-128,URI=\"the.key\"";
    let playlist = files.playlist(|at| match at {
        0 => format!("{key}\n"),
        at if at == SEGMENTS / 2 => format!("{key},IV=0x7\n"),
        _ => String::new(),
    });
    is_one_recording(&files, &playlist, &whole);
}

#[test]
fn transport_streams_of_aac_are_one_recording() {
    plays_in_the_clear(Ts);
}

#[test]
fn transport_streams_of_mp3_are_one_recording() {
    plays_in_the_clear(TsMp3);
}

#[test]
fn packed_aac_is_one_recording() {
    plays_in_the_clear(Packed);
}

#[test]
fn packed_mp3_is_one_recording() {
    plays_in_the_clear(PackedMp3);
}

#[test]
fn fragments_of_aac_are_one_recording() {
    plays_in_the_clear(Fmp4);
}

#[test]
fn fragments_of_flac_are_one_recording() {
    plays_in_the_clear(Fmp4Flac);
}

#[test]
fn fragments_of_alac_are_one_recording() {
    plays_in_the_clear(Fmp4Alac);
}

#[test]
fn encrypted_transport_streams_are_one_recording() {
    plays_encrypted(Ts);
}

#[test]
fn encrypted_packed_audio_is_one_recording() {
    plays_encrypted(Packed);
}

#[test]
fn encrypted_fragments_are_one_recording() {
    plays_encrypted(Fmp4);
}

/// Samples of one segment.
const SEGMENT: usize = 2 * 44_100 * SECONDS;

#[test]
fn a_segment_that_is_missing_is_silence_of_its_length() {
    for form in [Ts, Fmp4] {
        let Some(presentation) = presentation(form) else { return };
        let whole = presentation.continuous();
        let origin = presentation.on(origin(), "", &presentation.plain()).start();
        origin.answers("part05", Some(404));
        let node = node().origin(&origin).start();
        let frames = heard(&node, "");
        // A decoder that starts anew has to swing in.
        let near = 2 * 2048;
        assert_eq!(frames.len(), whole.len(), "{form:?}");
        let (from, to) = (5 * SEGMENT, 6 * SEGMENT);
        assert_eq!(differs_at(&frames[..from - near], &whole), None, "{form:?}");
        assert!(frames[from + near..to - near].iter().all(|sample| *sample == 0.0), "{form:?}");
        assert_eq!(differs_at(&frames[to + near..], &whole[to + near..]), None, "{form:?}");
    }
}

/// What is fetched for it are the segments around it, and the first, whose times others are counted from.
#[test]
fn a_jump_into_what_nobody_played_is_exact_and_fetches_little() {
    for form in [Ts, PackedMp3, Fmp4, Fmp4Flac] {
        let Some(presentation) = presentation(form) else { return };
        let whole = presentation.continuous();
        let origin = presentation.on(origin(), "", &presentation.plain()).start();
        for (t, d) in [("20.5", 2), ("27.123", 1), ("3.9", 1)] {
            let node = node().origin(&origin).start();
            let before = origin.order().len();
            let part = heard(&node, &format!("&t={t}&d={d}"));
            let start = (t.parse::<f64>().unwrap() * 44_100.0).round() as usize * 2;
            let there = &whole[start..start + d * 2 * 44_100];
            assert_eq!((part.len(), differs_at(&part, there)), (there.len(), None), "{form:?} {t}");
            let asked = origin.order().split_off(before);
            let parts = asked.iter().filter(|name| name.starts_with("part")).count();
            assert!(parts <= 9, "{form:?} {t}: {asked:?}");
        }
    }
}

/// With each segment that is played more are fetched ahead, while the client takes its time.
#[test]
fn segments_are_fetched_before_they_are_played() {
    let Some(presentation) = presentation(Ts) else { return };
    let origin = presentation.on(origin(), "", &presentation.plain()).start();
    let node = node().shards(2).origin(&origin).start();
    let mut stream = client::connect(node.listen);
    write!(stream, "GET {PCM} HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    let heard = SEGMENT * 4 * 6;
    stream.read_exact(&mut vec![0; heard]).unwrap();
    let streams = node.told("/v1/streams")["streams"].as_array().unwrap().clone();
    let played = streams.iter().find(|stream| stream["what"] == "pcm").unwrap();
    assert!(played["segment"].as_u64() >= Some(5), "{played}");
    let last = format!("part{:02}", presentation.parts.len() - 1);
    let begun = Instant::now();
    while origin.asked(&last).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", origin.order());
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_was_prefetched_has_its_length_when_it_is_played_first() {
    let Some((high, low)) = presentation_of(Ts, 8).zip(presentation_of(PackedLow, 8)) else {
        return;
    };
    let origin = ladder(&high, &low, 10_000_000);
    let node = node().shards(2).origin(&origin).start();
    let told = node.prefetch(r#"{"src": "origin:list.m3u8", "variants": "all"}"#);
    let told = node.wait_for_end(&told, "done");
    let segments = (high.parts.len() + low.parts.len()) as u64;
    assert_eq!(told["sources"]["done"].as_u64(), Some(segments), "{told}");
    let asked = origin.order().len();
    for (variant, presentation) in [(0, &high), (1, &low)] {
        let answer = node.get(&format!("{PCM}&variant={variant}")).ok();
        let bytes = presentation.continuous().len() * 4;
        assert_eq!(answer.field("content-length"), Some(&*bytes.to_string()), "{variant}");
    }
    assert_eq!(origin.order().len(), asked, "nothing is asked for again");
}

/// Two variants of one recording, of which the first takes more than the line carries.
fn ladder(high: &Presentation, low: &Presentation, bytes_per_second: u64) -> Origin {
    let list = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=96000\nhigh/list.m3u8\n\
                #EXT-X-STREAM-INF:BANDWIDTH=32000\nlow/list.m3u8\n";
    let mut builder = origin().file("list.m3u8", list.as_bytes());
    for (folder, presentation) in [("high/", high), ("low/", low)] {
        builder = builder.file(&format!("{folder}list.m3u8"), presentation.plain().as_bytes());
        for (name, bytes) in presentation.files() {
            builder = builder.file(&format!("{folder}{name}"), bytes).at_rate(bytes_per_second);
        }
    }
    builder.start()
}

#[test]
fn a_variant_that_is_here_is_what_all_hear_who_do_not_choose() {
    let Some((high, low)) = presentation_of(Ts, 8).zip(presentation_of(PackedLow, 8)) else {
        return;
    };
    let origin = ladder(&high, &low, 10_000_000);
    let node = node().origin(&origin).start();
    let low = node.get(&format!("{PCM}&variant=1")).ok();
    let any = node.get(PCM).ok();
    let location = any.field("content-location");
    assert_eq!(location, Some("/v1/pcm?src=origin:list.m3u8&format=f32le&variant=1"));
    assert_eq!(any.field("content-length"), Some(&*low.body.len().to_string()));
    assert!(any.field("etag").is_some() && any.body == low.body);
    let part = node.get_with(PCM, "Range: bytes=800000-900000\r\n");
    assert!(part.status == 206 && part.body == low.body[800_000..=900_000]);
}

/// Of a fault that passes nothing stays: what is kept is of all segments.
#[test]
fn what_is_made_while_a_segment_is_missing_is_not_kept() {
    let Some(presentation) = presentation_of(Ts, 8) else { return };
    let origin = presentation.on(origin(), "", &presentation.plain()).start();
    let node = node().origin(&origin).start();
    let flac = "/v1/transcode?src=origin:list.m3u8&format=flac";
    origin.answers("part03", Some(404));
    node.get(flac).ok();
    origin.answers("part03", None);
    let begun = Instant::now();
    // What is kept has its length.
    let kept = loop {
        let answer = node.get(flac).ok();
        if answer.field("content-length").is_some() {
            break answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is kept");
        thread::sleep(Duration::from_millis(500));
    };
    let whole = presentation.continuous();
    assert_eq!(differs_at(&hls::decoded(&kept.body), &whole), None);
    assert_eq!(differs_at(&heard(&node, ""), &whole), None);
}

/// An outline is kept likewise, and what was drawn of less has no name under which a client could keep it.
#[test]
fn what_is_drawn_while_a_segment_is_missing_is_not_kept() {
    let Some(presentation) = presentation_of(Ts, 8) else { return };
    let origin = presentation.on(origin(), "", &presentation.plain()).start();
    let node = || node().origin(&origin).start();
    let drawn = |node: &Node| {
        let answer = node.get("/v1/waveform?src=origin:list.m3u8&points=16").ok();
        (answer.text(), answer.field("etag").is_some())
    };
    let (whole, has_etag) = drawn(&node());
    assert!(has_etag);
    origin.answers("part03", Some(404));
    let node = node();
    let (torn, has_etag) = drawn(&node);
    assert!(torn != whole && !has_etag, "an eighth of it is silence");
    origin.answers("part03", None);
    let begun = Instant::now();
    while drawn(&node) != (whole.clone(), true) {
        assert!(begun.elapsed() < Duration::from_secs(60), "what was drawn of less stays");
        thread::sleep(Duration::from_millis(500));
    }
}
