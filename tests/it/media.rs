//! What lies in the files of origins: whole, damaged, cut off, or something else.

use kithara::demo;

use crate::{
    client::Response,
    node::{Node, node},
    origin::{Origin, origin},
};

macro_rules! material {
    ($($name:literal),*) => {
        [$(($name, include_bytes!(concat!("../material/", $name)).as_slice())),*]
    };
}

/// An origin with files of `tests/material`, and a node in front of it.
fn serving(files: &[(&str, &[u8])]) -> (Origin, Node) {
    let origin = files.iter().fold(origin(), |origin, (name, bytes)| origin.file(name, bytes));
    let origin = origin.start();
    let node = node().origin(&origin).start();
    (origin, node)
}

fn problem(response: &Response) -> (u16, serde_json::Value) {
    assert_eq!(response.field("content-type"), Some("application/problem+json"));
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

/// An MPEG frame whose head is good and whose body refers to bytes before it, over and over.
fn hollow_mp3() -> Vec<u8> {
    let mut frame = vec![0; 417];
    frame[..5].copy_from_slice(&[0xFF, 0xFB, 0x90, 0x00, 200]);
    frame
}

#[test]
fn media_in_which_nothing_decodes_is_told_from_what_is_no_media() {
    let (_origin, node) = serving(&[
        ("hollow.mp3", &hollow_mp3()),
        ("page.mp3", include_bytes!("../material/captive-portal.mp3")),
        ("index.m4a", include_bytes!("../material/no-moov.m4a")),
    ]);
    let (status, said) = problem(&node.get("/v1/pcm?src=origin:hollow.mp3"));
    assert_eq!((status, said["type"].as_str()), (422, Some("urn:kithara:problem:damaged")));
    assert_eq!(said["detail"], "nothing in origin:hollow.mp3 decodes");
    // Which takes a decode to know, so that a question about the head does not hear of it.
    assert_eq!(node.head("/v1/pcm?src=origin:hollow.mp3").status, 200);
    for name in ["page.mp3", "index.m4a"] {
        let status = node.get(&format!("/v1/pcm?src=origin:{name}")).status;
        assert!([415, 422].contains(&status), "{name}: {status}");
    }
    // The bytes are given all the same.
    assert_eq!(node.get("/o/origin/hollow.mp3").ok().body, hollow_mp3());
}

/// An ID3v2.3 tag with a picture of so many bytes.
fn picture_tag(bytes: u32) -> Vec<u8> {
    let frame_bytes = bytes + 14;
    let mut tag = b"ID3\x03\0\0".to_vec();
    tag.extend([21, 14, 7, 0].map(|shift| ((frame_bytes + 10) >> shift) as u8 & 0x7F));
    tag.extend(b"APIC");
    tag.extend(frame_bytes.to_be_bytes());
    tag.extend(b"\0\0\0image/png\0\x03\0\0");
    tag.resize(tag.len() + bytes as usize, 0xFF);
    tag
}

#[test]
fn a_large_tag_before_the_audio_costs_no_frame() {
    let song = demo::FILES.iter().find(|file| file.name == "strings.mp3").unwrap();
    let tagged = [&picture_tag(700_000), song.bytes].concat();
    let [small] = material!("big-id3.mp3");
    let (origin, node) = serving(&[small, ("tagged.mp3", &tagged), ("song.mp3", song.bytes)]);
    let wav = node.wav("origin:big-id3.mp3", "");
    assert_eq!((wav.frames(), wav.rate, wav.channels), (23_616, 22_050, 1));
    assert_eq!(node.wav("origin:tagged.mp3", "").frames() as u64, song.frames);
    let (whole, part) =
        (node.wav("origin:song.mp3", ""), node.wav("origin:tagged.mp3", "&t=1&d=1"));
    let frame = 2 * usize::from(whole.channels);
    let second = song.rate_hz as usize * frame;
    assert!(part.data == whole.data[second..2 * second]);
    assert_eq!(origin.asked("tagged.mp3").len(), 1, "it is read through once");
}

#[test]
fn a_transport_stream_is_probed_played_and_encoded_anew() {
    let (_origin, node) = serving(&material!("aac.ts"));
    let probe = node.get("/v1/probe?src=origin:aac.ts").ok().text();
    let probe: serde_json::Value = serde_json::from_str(&probe).unwrap();
    assert_eq!((&probe["container"], &probe["codec"]), (&"mpegts".into(), &"aac".into()));
    let whole = node.wav("origin:aac.ts", "");
    assert_eq!((whole.frames(), whole.rate, whole.channels), (45_056, 44_100, 2));
    let part = node.wav("origin:aac.ts", "&t=0.5&d=0.25");
    assert!(part.data == whole.data[4 * 22_050..4 * 33_075]);
    let flac = node.get("/v1/transcode?src=origin:aac.ts&format=flac").ok().body;
    assert!(flac.starts_with(b"fLaC"));
}

#[test]
fn a_damaged_file_keeps_its_length_and_what_is_good_of_it() {
    let (_origin, node) = serving(&material!("damaged.flac", "damaged.mp3"));
    for name in ["damaged.flac", "damaged.mp3"] {
        let probe: serde_json::Value =
            serde_json::from_str(&node.get(&format!("/v1/probe?src=origin:{name}")).ok().text())
                .unwrap();
        let wav = node.wav(&format!("origin:{name}"), "");
        if let Some(frames) = probe["frames"].as_u64() {
            assert_eq!(wav.frames() as u64, frames, "{name}");
        }
        let heard = wav.data.iter().filter(|byte| **byte != 0).count();
        assert!(heard > wav.data.len() / 2, "{name}: {heard} of {} bytes", wav.data.len());
    }
    assert!(node.counter("/undecoded_packets") > 0, "what did not decode is counted");
}

/// The whole that is promised comes, with silence where bytes are missing that nobody has.
#[test]
fn a_file_that_was_cut_at_its_origin_keeps_its_promise() {
    let files = material!("truncated.flac", "truncated.wav");
    let (_origin, node) = serving(&files);
    for (name, frames) in [("truncated.flac", 44_100), ("truncated.wav", 22_050)] {
        let wav = node.wav(&format!("origin:{name}"), "");
        assert_eq!(wav.frames(), frames, "{name}");
        let (begin, end) = wav.data.split_at(wav.data.len() / 2);
        assert!(begin.iter().any(|byte| *byte != 0), "{name}: what is there is heard");
        assert!(
            end[end.len() * 3 / 4..].iter().all(|byte| *byte == 0),
            "{name}: the rest is silent"
        );
    }
}

/// A cut MP3 promises nothing: its frames are counted, and its end is a clean one.
#[test]
fn a_cut_file_that_promises_nothing_ends_where_it_ends() {
    let file = demo::FILES.iter().find(|file| file.name == "strings-bare.mp3").unwrap();
    let half = &file.bytes[..file.bytes.len() / 2 + 100];
    let [truncated] = material!("truncated.mp3");
    let (_origin, node) = serving(&[truncated, ("half.mp3", half)]);
    for name in ["truncated.mp3", "half.mp3"] {
        let answer = node.get(&format!("/v1/pcm?src=origin:{name}&format=s16le")).ok();
        assert_eq!(
            answer.field("content-length"),
            Some(&answer.body.len().to_string()[..]),
            "{name}"
        );
        assert!(answer.body.len() > 4 * 1152 && answer.body.len() % 4 == 0, "{name}");
    }
}
