//! HLS: the variant that is heard follows what the origin carries, and what is there.

use std::{
    fs,
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use crate::{
    client,
    hls::{self, Form, Form::*, Presentation, differs_at, samples},
    node::{Node, node, scratch},
    operating::Events,
    origin::{Builder, Origin, origin},
};

/// Sixteen seconds in which nothing repeats, in parts of two.
fn recording(form: Form) -> Option<Presentation> {
    cut(form, "2")
}

fn cut(form: Form, seconds: &str) -> Option<Presentation> {
    let sound = "aevalsrc=0.4*sin(2*PI*(300+20*t)*t)|0.3*sin(2*PI*(500-7*t)*t)+0.1*sin(2*PI*4000*t):s=44100:d=16";
    hls::presentation_cut(form, sound, seconds)
}

/// Of one part, samples.
const PART: usize = 2 * 2 * 44_100;

const HIGH: &str = "#EXT-X-STREAM-INF:BANDWIDTH=96000\nhigh/list.m3u8\n";
const LOW: &str = "#EXT-X-STREAM-INF:BANDWIDTH=32000\nlow/list.m3u8\n";

/// Two variants of one recording, the high one with something wrong about each of its files.
fn ladder([high, low]: [&Presentation; 2], wrong: impl Fn(Builder, &str) -> Builder) -> Builder {
    let list = format!("#EXTM3U\n{HIGH}{LOW}");
    let mut builder = low.on(origin().file("list.m3u8", list.as_bytes()), "low/", &low.plain());
    builder = builder.file("high/list.m3u8", high.plain().as_bytes());
    for (name, bytes) in high.files() {
        builder = wrong(builder.file(&format!("high/{name}"), bytes), &name);
    }
    builder
}

fn both() -> Option<[Presentation; 2]> {
    Some([recording(Ts)?, recording(PackedLow)?])
}

/// The same with something wrong about these parts of the high variant.
fn with_wrong(
    both: &[Presentation; 2],
    parts: std::ops::Range<usize>,
    wrong: impl Fn(Builder) -> Builder,
) -> Origin {
    let [high, low] = both;
    let names: Vec<_> = parts.map(|part| format!("part{part:02}")).collect();
    let is_wrong = |name: &str| names.iter().any(|wrong| wrong == name);
    ladder([high, low], |builder, name| if is_wrong(name) { wrong(builder) } else { builder })
        .start()
}

const PCM: &str = "/v1/pcm?src=origin:list.m3u8&format=f32le";

fn heard(node: &Node) -> Vec<f32> {
    samples(&node.get(PCM).ok().body)
}

/// One variant is heard up to somewhere in a range of frames, and then the other, without a frame between them.
#[track_caller]
fn goes_over(frames: &[f32], [before, after]: [&[f32]; 2], parts: std::ops::Range<f64>) {
    let frame = |parts: f64| (parts * PART as f64 / 2.0) as usize;
    let left = differs_at(frames, before).expect("the other is heard at some time");
    assert!((frame(parts.start)..frame(parts.end)).contains(&left), "left at frame {left}");
    // Where it was left they may look alike for a moment.
    let near = left + 2;
    assert_eq!(differs_at(&frames[2 * near..], &after[2 * near..]), None, "left at frame {left}");
    assert!(frames.len().abs_diff(after.len()) < 2 * 4608, "{} of {}", frames.len(), after.len());
}

#[test]
fn where_the_line_gets_slow_another_variant_goes_on_at_the_very_frame() {
    let Some(both) = both() else { return };
    let origin = with_wrong(&both, 3..9, |file| file.at_rate(4000));
    let node = node().origin(&origin).start();
    let answer = node.get(PCM).ok();
    assert_eq!((answer.field("etag"), answer.field("accept-ranges")), (None, Some("none")));
    let [high, low] = both.each_ref().map(Presentation::continuous);
    goes_over(&samples(&answer.body), [&high, &low], 2.5..5.0);
    assert!(node.counter("/hls/variant_switches") > 0);
}

/// Nothing is known of the origin, and the first segment says it.
#[test]
fn a_line_that_is_slow_from_the_start_is_noticed_in_the_first_segment() {
    let Some(both) = both() else { return };
    let origin = with_wrong(&both, 0..9, |file| file.at_rate(3000));
    let node = node().origin(&origin).start();
    let begun = Instant::now();
    let frames = heard(&node);
    assert!(begun.elapsed() < Duration::from_secs(12), "one part takes 8 s: {:?}", begun.elapsed());
    let [high, low] = both.each_ref().map(Presentation::continuous);
    goes_over(&frames, [&high, &low], 0.0..1.0);
}

#[test]
fn a_fetch_that_stalls_is_given_up_for_a_lower_variant() {
    let Some(both) = both() else { return };
    let [high, low] = both.each_ref().map(Presentation::continuous);
    // Before its first byte, or in its middle: of the first part, or of one on the way.
    for (part, bytes) in [(0, 0), (0, 4000), (3, 0), (3, 4000)] {
        let origin = with_wrong(&both, part..part + 1, |file| file.stalls_after(bytes));
        let node = node().shards(2).origin(&origin).start();
        let begun = Instant::now();
        let frames = heard(&node);
        assert!(begun.elapsed() < Duration::from_secs(12), "{part} {bytes}: {:?}", begun.elapsed());
        let parts = (part as f64 - 0.5).max(0.0)..part as f64 + 1.0;
        goes_over(&frames, [&high, &low], parts);
    }
}

/// Who plays as fast as it is heard has the time for that in its buffer.
#[test]
fn who_plays_at_pace_hears_nothing_of_a_fetch_that_stalls() {
    let Some(both) = both() else { return };
    let origin = with_wrong(&both, 4..9, |file| file.stalls_after(1000));
    let node = node().origin(&origin).start();
    let mut stream = client::connect(node.listen);
    write!(stream, "GET {PCM} HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    let (mut bytes, begun) = (vec![0; PART / 2], Instant::now());
    // A tenth of a second at a time, with a second in hand.
    for tenth in 0..110 {
        stream.read_exact(&mut bytes[..2 * 4 * 4410]).unwrap();
        let due = Duration::from_millis(100 * tenth).saturating_sub(Duration::from_secs(1));
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    let played = record(&node);
    assert_eq!((&played["variant"], &played["stalls"]), (&1.into(), &0.into()), "{played}");
    assert!(played["why"].is_string(), "{played}");
}

/// What the operator sees of the only one who listens.
fn record(node: &Node) -> serde_json::Value {
    let streams = node.told("/v1/streams")["streams"].as_array().unwrap().clone();
    streams.into_iter().find(|stream| stream["what"] == "pcm").unwrap()
}

/// The line brings less than is played.
#[test]
fn who_waits_for_what_is_due_is_seen_to_stall() {
    let Some(recording) = recording(Ts) else { return };
    let mut origin = origin().file("list.m3u8", recording.plain().as_bytes());
    for (name, bytes) in recording.files() {
        origin = origin.file(&name, bytes).at_rate(8000);
    }
    let origin = origin.start();
    let node = node().origin(&origin).start();
    let mut events = Events::of(&node);
    let mut stream = client::connect(node.listen);
    write!(stream, "GET {PCM} HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    stream.read_exact(&mut vec![0; 2 * PART * 4]).unwrap();
    let played = record(&node);
    assert!(played["stalls"].as_u64() > Some(0), "{played}");
    let stalled = events.wait("stalled", |stalled| stalled["id"] == played["id"]);
    assert!(stalled["seconds"].as_f64() >= Some(0.1), "{stalled}");
}

/// A disk carries all of them.
#[test]
fn a_library_is_heard_in_its_best_variant() {
    let Some([high, low]) = both() else { return };
    let dir = scratch();
    let high_line = HIGH.replace("96000", "9000000");
    fs::write(dir.path().join("list.m3u8"), format!("#EXTM3U\n{LOW}{high_line}")).unwrap();
    for (folder, files) in [("high", &high), ("low", &low)] {
        let folder = dir.path().join(folder);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("list.m3u8"), files.plain()).unwrap();
        files.files().iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
    }
    let node = node().library("origin", dir.path()).start();
    let (frames, whole) = (heard(&node), high.continuous());
    // In the rate of the first in the list, which is the same here.
    assert_eq!((frames.len(), differs_at(&frames, &whole)), (whole.len(), None));
}

/// Of the variant that is gone nothing is heard as silence.
#[test]
fn a_variant_that_dies_is_left_before_its_end() {
    let Some(both) = both() else { return };
    let origin = with_wrong(&both, 3..9, |file| file.status(404));
    let node = node().origin(&origin).start();
    let frames = heard(&node);
    let [high, low] = both.each_ref().map(Presentation::continuous);
    goes_over(&frames, [&high, &low], 2.5..3.01);
    assert_eq!(node.counter("/hls/missing_segments"), 0);
}

#[test]
fn a_presentation_begins_with_what_can_be_had_of_it() {
    let Some(both) = both() else { return };
    let [_, low] = both.each_ref().map(Presentation::continuous);
    let page = "<!doctype html><title>Sign in</title>".repeat(50);
    let gone = with_wrong(&both, 0..9, |file| file.status(404));
    let page = ladder([&both[0], &both[1]], |builder, name| {
        builder.file(&format!("high/{name}"), page.as_bytes())
    });
    let no_list = ladder([&both[0], &both[1]], |builder, _| builder);
    let no_list = no_list.file("high/list.m3u8", b"").status(404);
    for (what, origin) in [("gone", gone), ("page", page.start()), ("no list", no_list.start())] {
        let node = node().shards(2).origin(&origin).start();
        let frames = heard(&node);
        assert_eq!((frames.len(), differs_at(&frames, &low)), (low.len(), None), "{what}");
        let probed = node.get("/v1/probe?src=origin:list.m3u8").ok().text();
        assert!(probed.contains("\"mp3\""), "{what}: {probed}");
    }
}

#[test]
fn what_no_variant_has_is_refused() {
    let Some(both) = both() else { return };
    let origin = ladder([&both[0], &both[1]], |builder, _| builder.status(404));
    let origin = (0..9)
        .fold(origin, |origin, part| origin.file(&format!("low/part{part:02}"), b"").status(404));
    let origin = origin.start();
    let node = node().origin(&origin).start();
    assert_eq!(node.get(PCM).status, 404);
}

/// Two playlists of one variant are as good as each other, and so are their segments.
#[test]
fn a_redundant_variant_stands_in_for_segments_that_are_gone() {
    let Some(high) = recording(Ts) else { return };
    let list = format!("#EXTM3U\n{HIGH}{}", HIGH.replace("high/", "other/"));
    let origin = high.on(origin().file("list.m3u8", list.as_bytes()), "high/", &high.plain());
    let mut origin = high.on(origin, "other/", &high.plain());
    for part in 4..high.parts.len() {
        origin = origin.file(&format!("high/part{part:02}"), b"").status(404);
    }
    let origin = origin.start();
    let node = node().origin(&origin).start();
    let (frames, whole) = (heard(&node), high.continuous());
    assert_eq!((frames.len(), differs_at(&frames, &whole)), (whole.len(), None));
    assert!(origin.asked("other/part06").len() == 1 && origin.asked("high/part02").len() == 1);
}

#[test]
fn variants_may_be_cut_at_other_times_than_each_other() {
    let Some((high, low)) = cut(Ts, "2").zip(cut(PackedLow, "3")) else { return };
    let both = [high, low];
    let origin = with_wrong(&both, 3..9, |file| file.status(404));
    let node = node().origin(&origin).start();
    let frames = heard(&node);
    let [high, low] = both.each_ref().map(Presentation::continuous);
    goes_over(&frames, [&high, &low], 2.5..3.01);
    for part in 0..6 {
        assert!(origin.asked(&format!("low/part{part:02}")).len() <= 1, "{:?}", origin.order());
    }
}

/// Those of the first in the playlist, whichever is heard first.
#[test]
fn rate_and_channels_are_the_same_whichever_variant_is_heard_first() {
    let mono = "aevalsrc=0.4*sin(2*PI*(300+20*t)*t):s=22050:d=16";
    let Some((high, low)) = recording(Ts).zip(hls::presentation(PackedLow, mono)) else { return };
    let both = [high, low];
    let swapped = ladder([&both[0], &both[1]], |builder, _| builder);
    let swapped = swapped.file("list.m3u8", format!("#EXTM3U\n{LOW}{HIGH}").as_bytes()).start();
    let dead = with_wrong(&both, 1..9, |file| file.status(404));
    let slow = with_wrong(&both, 0..9, |file| file.at_rate(3000));
    let well = with_wrong(&both, 0..0, |file| file);
    for (what, origin, shape) in [
        ("well", well, "f32le;rate=44100;channels=2"),
        ("dead", dead, "f32le;rate=44100;channels=2"),
        ("slow", slow, "f32le;rate=44100;channels=2"),
        ("swapped", swapped, "f32le;rate=22050;channels=1"),
    ] {
        let node = node().origin(&origin).start();
        let answer = node.get(PCM).ok();
        assert_eq!(answer.field("x-audio-format"), Some(shape), "{what}");
        let (rate, channels) = if what == "swapped" { (22_050, 1) } else { (44_100, 2) };
        let seconds = answer.body.len() as f64 / f64::from(4 * rate * channels);
        assert!((seconds - 16.0).abs() < 0.2, "{what}: {seconds} s");
    }
}

/// What a session has read of playlists it keeps, though no cache may.
#[test]
fn a_playlist_that_is_not_to_be_stored_is_read_once_by_a_session() {
    let Some(both) = both() else { return };
    let mut origin = ladder([&both[0], &both[1]], |builder, name| match name {
        "part03" | "part04" => builder.at_rate(3000),
        _ => builder,
    });
    for (folder, at) in [("high/", 0), ("low/", 1)] {
        origin = origin.file(&format!("{folder}list.m3u8"), both[at].plain().as_bytes());
        origin = origin.says("Cache-Control", "no-store");
    }
    let origin = origin.start();
    let node = node().origin(&origin).start();
    heard(&node);
    assert!(node.counter("/hls/variant_switches") > 0);
    for list in ["high/list.m3u8", "low/list.m3u8"] {
        assert_eq!(origin.asked(list).len(), 1, "{list}");
    }
}
