//! MP3 and AAC that the node encodes: what ffmpeg decodes of them, on their way, from the cache and from the
//! command.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Command,
    time::Duration,
};

use kithara::demo;

use crate::{
    client::Response,
    node::{Node, kithara, node, scratch},
    origin::{Origin, origin},
};

/// A song, and the same without a length that is known before it was played.
const SOURCES: [&str; 2] = ["strings.flac", "strings.aac"];

fn bytes(name: &str) -> &'static [u8] {
    demo::FILES.iter().find(|file| file.name == name).unwrap().bytes
}

fn serving() -> Origin {
    SOURCES.iter().fold(origin(), |origin, name| origin.file(name, bytes(name))).start()
}

/// Interleaved samples by ffmpeg; `None`, and loudly so, where there is none.
fn heard_by_ffmpeg(encoded: &[u8], name: &str, dir: &Path) -> Option<Vec<f32>> {
    let path = dir.join(name);
    fs::write(&path, encoded).unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(&path).args(["-f", "f32le", "-"]);
    let Ok(output) = ffmpeg.output() else {
        let _ = writeln!(io::stderr(), "\n*** SKIPPED: no ffmpeg to decode with ***\n");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    Some(floats(&output.stdout))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|sample| f32::from_le_bytes(*sample)).collect()
}

/// The samples that are encoded.
fn played(node: &Node, query: &str) -> Vec<f32> {
    floats(&node.get(&format!("/v1/pcm?{query}&format=f32le")).ok().body)
}

/// How many decibels the difference is below the source.
fn distance(source: &[f32], decoded: &[f32]) -> f64 {
    let energy = |samples: &mut dyn Iterator<Item = f32>| -> f64 {
        samples.map(|sample| f64::from(sample * sample)).sum()
    };
    let mut noise = source.iter().zip(decoded).map(|(source, decoded)| source - decoded);
    10.0 * (energy(&mut source.iter().copied()) / energy(&mut noise)).log10()
}

/// An answer from what was kept.
#[track_caller]
fn kept(answer: Response) -> Vec<u8> {
    let answer = answer.ok();
    assert_eq!(answer.field("content-length"), Some(&*answer.body.len().to_string()));
    assert_eq!(answer.field("accept-ranges"), Some("bytes"));
    answer.body
}

#[cfg(feature = "mp3")]
#[test]
fn mp3_is_as_long_as_its_source_and_near_to_it() {
    let (origin, dir) = (serving(), scratch());
    let node = node().origin(&origin).start();
    let mut made = 0;
    for source in SOURCES {
        // At its own rate and as MPEG-2, whole and a part of it.
        for (own, bit_rate, least) in
            [("", "128k", 20.0), ("&rate=22050&channels=1&t=1&d=2", "64k", 20.0)]
        {
            let query = format!("src=origin:{source}{own}");
            let target = format!("/v1/transcode?{query}&format=mp3&bitrate={bit_rate}");
            let first = node.get(&target).ok();
            assert_eq!(first.field("content-type"), Some("audio/mpeg"));
            assert_eq!(first.field("content-length"), None);
            made += 1;
            node.wait_for("/transcodes/kept", made);
            let whole = kept(node.get(&target));
            assert_eq!(first.body.len(), whole.len(), "the front is as long as the final one");
            let part = node.get_with(&target, "Range: bytes=100-9999\r\n");
            assert!(part.status == 206 && part.body == whole[100..10_000]);
            let samples = played(&node, &query);
            let Some(heard) = heard_by_ffmpeg(&whole, "heard.mp3", dir.path()) else { continue };
            assert_eq!(heard.len(), samples.len(), "{target}");
            let near = distance(&samples, &heard);
            assert!(near > least, "{target}: {near:.1} dB");
            // Who played along has it from the same frame on, and no more at its end where that was known.
            let sent = heard_by_ffmpeg(&first.body, "sent.mp3", dir.path()).unwrap();
            assert!(sent.starts_with(&heard), "{target}");
            assert!(source.ends_with("aac") || sent.len() == heard.len(), "{target}");
        }
    }
}

/// The crate heeds variables of the environment: what comes of it must not go by one name with the rest.
#[cfg(feature = "mp3")]
#[test]
fn what_the_environment_makes_of_mp3_has_a_name_of_its_own() {
    let (origin, dir) = (serving(), scratch());
    let song = |format| format!("/v1/transcode?src=origin:strings.flac&format={format}");
    let first = node().origin(&origin).cache(dir.path()).start();
    let (mp3, flac) = (first.get(&song("mp3")).ok(), first.get(&song("flac")).ok());
    first.wait_for("/transcodes/kept", 2);
    first.signal("-TERM");
    first.ended(Duration::from_secs(30));
    let second = node().origin(&origin).cache(dir.path()).variable("MP3_STEREO", "lr").start();
    let other = second.get(&song("mp3")).ok();
    assert!(other.body != mp3.body, "the crate heeds it no more");
    assert_eq!(other.field("content-length"), None, "it is not what was kept");
    assert_ne!(other.field("etag"), mp3.field("etag"));
    let frames = &flac.body[42..];
    assert!(kept(second.get(&song("flac"))).ends_with(frames), "others are what they were");
}

#[cfg(feature = "aac")]
#[test]
fn aac_has_all_of_its_source_a_packet_later() {
    const PACKET: usize = 1024;
    let (origin, dir) = (serving(), scratch());
    let node = node().origin(&origin).start();
    for (made, (query, channels)) in
        [("src=origin:strings.flac", 2), ("src=origin:strings.aac&rate=48000&channels=1", 1)]
            .into_iter()
            .enumerate()
    {
        let target = format!("/v1/transcode?{query}&format=aac");
        let first = node.get(&target).ok();
        assert_eq!(first.field("content-type"), Some("audio/aac"));
        node.wait_for("/transcodes/kept", made as u64 + 1);
        assert!(kept(node.get(&target)) == first.body);
        let samples = played(&node, query);
        let Some(heard) = heard_by_ffmpeg(&first.body, "heard.aac", dir.path()) else { return };
        let frames = samples.len() / channels;
        assert_eq!(heard.len() / channels, PACKET + frames.next_multiple_of(PACKET), "{target}");
        let near = distance(&samples, &heard[PACKET * channels..]);
        assert!(near > 15.0, "{target}: {near:.1} dB");
    }
}

#[test]
fn what_the_format_does_not_have_becomes_the_nearest_and_what_is_asked_for_is_refused() {
    let surround =
        fs::read(format!("{}/tests/material/surround-24.flac", env!("CARGO_MANIFEST_DIR")));
    let origin = origin().file("surround.flac", &surround.unwrap()).start();
    let node = node().origin(&origin).start();
    for format in [cfg!(feature = "mp3").then_some("mp3"), cfg!(feature = "aac").then_some("aac")] {
        let Some(format) = format else { continue };
        let target = format!("/v1/transcode?src=origin:surround.flac&format={format}");
        let made = node.get(&target).ok();
        let shape = made.field("x-audio-format").unwrap();
        assert!(shape.contains("rate=48000;channels=2"), "{shape}");
        let refused = node.get(&format!("{target}&channels=6"));
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains(&format!("`channels` of {format} is 1 to 2")));
        assert_eq!(node.get(&format!("{target}&rate=192000")).status, 400);
        assert_eq!(node.get(&format!("{target}&bitrate=1k")).status, 400);
        assert_eq!(node.get(&format!("{target}&level=3")).status, 400);
    }
}

#[test]
fn the_command_writes_what_the_node_keeps() {
    let (origin, dir) = (serving(), scratch());
    let node = node().origin(&origin).start();
    let song = dir.path().join("song.flac");
    fs::write(&song, bytes("strings.flac")).unwrap();
    let mut made = 0;
    for format in [cfg!(feature = "mp3").then_some("mp3"), cfg!(feature = "aac").then_some("aac")] {
        let Some(format) = format else { continue };
        let to = dir.path().join(format!("song.{format}"));
        let (song, to_name) = (song.to_str().unwrap(), to.to_str().unwrap());
        let output = kithara(&["transcode", song, "-o", to_name, "--bitrate", "96k"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let target = format!("/v1/transcode?src=origin:strings.flac&format={format}&bitrate=96k");
        node.get(&target).ok();
        made += 1;
        node.wait_for("/transcodes/kept", made);
        assert!(fs::read(&to).unwrap() == kept(node.get(&target)), "{format}");
    }
}
