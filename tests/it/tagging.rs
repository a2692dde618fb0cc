//! What encoded audio says of the music: what its source says of it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::Path,
    process::Command,
};

use kithara::encode::Codec;
use serde_json::Value;

use crate::node::{Node, kithara, node, scratch};

/// What is said of each source, by the names that ffmpeg has for it.
const SAID: [(&str, &str); 9] = [
    ("title", "Sieben Saiten, für zwei"),
    ("artist", "Lyra & Kithara"),
    ("album", "Strings"),
    ("album_artist", "Various"),
    ("date", "2026"),
    ("track", "3/12"),
    ("genre", "Ancient"),
    ("composer", "Anon."),
    ("comment", "a=b; c"),
];

/// Sources with these tags, in each way to hold them.
const SOURCES: [&str; 6] =
    ["song.mp3", "song.flac", "song.m4a", "song.opus", "song.ogg", "song.wav"];

type Tags = BTreeMap<String, String>;

/// A second of sound that says of itself what is given; false, and loudly so, where there is no ffmpeg.
fn make(path: &Path, said: &[(&str, &str)]) -> bool {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args([
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "aevalsrc=sin(900*t)|sin(1100*t):s=48000:d=1",
    ]);
    for (name, text) in said {
        ffmpeg.args(["-metadata", &format!("{name}={text}")]);
    }
    if path.extension().is_some_and(|ending| ending == "ogg") {
        ffmpeg.args(["-c:a", "libvorbis"]);
    }
    let Ok(output) = ffmpeg.arg(path).output() else {
        let _ = writeln!(io::stderr(), "\n*** SKIPPED: no ffmpeg to tag with ***\n");
        return false;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// What ffmpeg finds said in a file: of the file, or of its stream.
fn told(path: &Path) -> Tags {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-of", "json", "-show_entries", "format_tags:stream_tags"]);
    let output = ffprobe.arg(path).output().expect("it comes with ffmpeg");
    assert!(output.status.success() && output.stderr.is_empty(), "{path:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = [&document["format"]["tags"], &document["streams"][0]["tags"]];
    let tags = all.into_iter().filter_map(Value::as_object).flatten();
    tags.map(|(name, text)| (name.to_lowercase(), text.as_str().unwrap().to_owned())).collect()
}

/// What is told, with a number of several in one text as ffmpeg writes it.
fn joined(mut tags: Tags) -> Tags {
    if let Some(total) = tags.remove("tracktotal") {
        tags.entry("track".to_owned()).and_modify(|track| *track += &format!("/{total}"));
    }
    tags
}

/// A source in a format, as it is made and as it is kept.
fn transcodes(node: &Node, name: &str, codec: Codec, kept: &mut u64) -> [Vec<u8>; 2] {
    let target = format!("/v1/transcode?src=local:{name}&format={}", codec.name());
    let made = node.get(&target).ok().body;
    *kept += 1;
    node.wait_for("/transcodes/kept", *kept);
    [made, node.get(&target).ok().body]
}

#[test]
fn a_transcode_says_of_the_music_what_its_source_says() {
    let dir = scratch();
    if !SOURCES.iter().all(|name| make(&dir.path().join(name), &SAID)) {
        return;
    }
    let (node, mut kept) = (node().library("local", dir.path()).start(), 0);
    for source in SOURCES {
        let said = told(&dir.path().join(source));
        // RIFF has no place for two of them.
        let wanted: Vec<_> = SAID.iter().filter(|(name, _)| said.contains_key(*name)).collect();
        assert!(wanted.len() >= 7, "{source}: {said:?}");
        for codec in Codec::ALL.into_iter().filter(|codec| codec.is_built()) {
            let path = dir.path().join(format!("out.{}", codec.endings()[0]));
            for bytes in transcodes(&node, source, codec, &mut kept) {
                fs::write(&path, &bytes).unwrap();
                let told = joined(told(&path));
                for (name, text) in &wanted {
                    let told = told.get(*name).map(String::as_str);
                    assert_eq!(told, Some(*text), "{name} of {source} as {}", codec.name());
                }
                let encoder = told.get("encoder").map_or("", String::as_str);
                assert!(!encoder.contains("Lavf"), "{encoder} did not write it");
            }
        }
    }
}

#[test]
fn it_is_as_long_as_without_tags() {
    let dir = scratch();
    let plain = dir.path().join("plain.flac");
    if !make(&plain, &[]) {
        return;
    }
    make(&dir.path().join("tagged.flac"), &SAID);
    for codec in Codec::ALL.into_iter().filter(|codec| codec.is_built()) {
        let frames = ["plain.flac", "tagged.flac"].map(|name| {
            let (from, to) =
                (dir.path().join(name), dir.path().join(format!("x.{}", codec.endings()[0])));
            let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
            assert!(kithara(&["transcode", from, "-o", to]).status.success());
            let pcm = kithara(&["pcm", to, "-o", "-", "--format", "s16le"]).stdout;
            let mut ffmpeg = Command::new("ffmpeg");
            let heard =
                ffmpeg.args(["-v", "error", "-i", to, "-f", "s16le", "-"]).output().unwrap();
            assert!(heard.stderr.is_empty(), "{}", String::from_utf8_lossy(&heard.stderr));
            (pcm.len(), heard.stdout.len())
        });
        assert_eq!(frames[0], frames[1], "{}", codec.name());
    }
}

#[test]
fn the_tools_of_a_format_read_what_is_said() {
    let dir = scratch();
    if !make(&dir.path().join("song.mp3"), &SAID) {
        return;
    }
    let (node, mut kept) = (node().library("local", dir.path()).start(), 0);
    for (codec, tool, args) in [
        (Codec::Flac, "metaflac", &["--no-utf8-convert", "--export-tags-to=-"][..]),
        (Codec::Opus, "opusinfo", &[]),
    ] {
        let path = dir.path().join(format!("out.{}", codec.endings()[0]));
        for bytes in transcodes(&node, "song.mp3", codec, &mut kept) {
            fs::write(&path, bytes).unwrap();
            let Ok(output) = Command::new(tool).args(args).arg(&path).output() else {
                let _ = writeln!(io::stderr(), "\n*** SKIPPED: no {tool} ***\n");
                break;
            };
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && !text.contains("WARNING"), "{text}");
            for comment in
                ["ALBUMARTIST=Various", "TRACKNUMBER=3", "TRACKTOTAL=12", "COMMENT=a=b; c"]
            {
                assert!(text.lines().any(|line| line.trim() == comment), "{comment} in {text}");
            }
        }
    }
}

/// ReplayGain is of the samples; Opus counts otherwise, and has no peaks (RFC 7845 section 5.2.1).
#[test]
fn how_loud_it_is_goes_along_in_the_terms_of_the_format() {
    let dir = scratch();
    let gain = [
        ("REPLAYGAIN_TRACK_GAIN", "-7.03 dB"),
        ("REPLAYGAIN_TRACK_PEAK", "0.988"),
        ("title", "Loud"),
    ];
    if !make(&dir.path().join("song.flac"), &gain) {
        return;
    }
    let node = node().library("local", dir.path()).start();
    let told = |source: &str, query: &str| {
        let path = dir.path().join("out");
        fs::write(&path, node.get(&format!("/v1/transcode?src=local:{source}&{query}")).ok().body)
            .unwrap();
        told(&path)
    };
    let loudness = |source: &str, query: &str| -> Vec<(String, String)> {
        let is_it = |name: &str| name.starts_with("replaygain_") || name.starts_with("r128_");
        told(source, query).into_iter().filter(|(name, _)| is_it(name)).collect()
    };
    let plain = [("replaygain_track_gain", "-7.03 dB"), ("replaygain_track_peak", "0.988")];
    let plain = plain.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(loudness("song.flac", "format=flac&level=0"), plain);
    let opus = [("r128_track_gain".to_owned(), "-3080".to_owned())];
    assert_eq!(loudness("song.flac", "format=opus"), opus);
    // It was of two channels.
    for format in ["flac", "opus"] {
        let told = told("song.flac", &format!("format={format}&channels=1"));
        assert_eq!(told.get("title").map(String::as_str), Some("Loud"));
        assert!(told.keys().all(|name| !name.contains("gain")), "{told:?}");
    }
    // And back, to the hundredth.
    fs::write(
        dir.path().join("back.opus"),
        node.get("/v1/transcode?src=local:song.flac&format=opus").ok().body,
    )
    .unwrap();
    assert_eq!(loudness("back.opus", "format=flac"), plain[..1]);
}
