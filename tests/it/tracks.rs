//! Files with several tracks of audio: what there is to choose from, and what is chosen.

use std::{
    io::{self, Write},
    path::Path,
    process::Command,
};

use serde_json::{Value, json};

use crate::node::{kithara, node, scratch};

/// A second of each of two tones, of which the second is in stereo and at a higher rate. False, and loudly so,
/// where there is no ffmpeg.
fn make(path: &Path, codec: &str) -> bool {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", "sine=f=440:d=1:r=44100"]);
    ffmpeg.args(["-f", "lavfi", "-i", "sine=f=880:d=1:r=48000", "-map", "0:a", "-map", "1:a"]);
    ffmpeg.args(["-c:a", codec, "-ac:a:1", "2", "-metadata:s:a:1", "language=deu"]);
    // Of these containers one has names for people, and one a place for them.
    ffmpeg.args(["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "title=Kommentar"]);
    ffmpeg.args(["-metadata:s:a:1", "handler_name=Kommentar"]);
    let Ok(output) = ffmpeg.arg(path).output() else {
        let _ = writeln!(io::stderr(), "\n*** SKIPPED: no ffmpeg to make tracks with ***\n");
        return false;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

#[test]
fn what_there_is_to_choose_from_is_told() {
    let dir = scratch();
    let node = node().library("local", dir.path()).start();
    let track = |number: u32, codec: &str, rate: u32, channels: u32| {
        json!({
            "number": number, "name": null, "language": null, "codec": codec, "rate": rate,
            "channels": channels, "default": number == 0,
        })
    };
    for (name, codec, has_language, has_name) in [
        ("two.m4a", "aac", true, true),
        ("two.mkv", "flac", true, true),
        ("two.ts", "aac", true, false),
        // Its streams have numbers by lot.
        ("two.ogg", "vorbis", false, false),
        ("too.ogg", "vorbis", false, false),
        ("tow.ogg", "vorbis", false, false),
        ("wto.ogg", "vorbis", false, false),
    ] {
        let encoder = if codec == "vorbis" { "libvorbis" } else { codec };
        if !make(&dir.path().join(name), encoder) {
            return;
        }
        let mut tracks = [track(0, codec, 44_100, 1), track(1, codec, 48_000, 2)];
        if has_language {
            (tracks[0]["language"], tracks[1]["language"]) = ("eng".into(), "deu".into());
        }
        if has_name {
            tracks[1]["name"] = "Kommentar".into();
        }
        if name.ends_with("ts") {
            // Its tables do not say it, and its frames are not looked at for that.
            (tracks[1]["rate"], tracks[1]["channels"]) = Default::default();
        }
        let probed = node.get(&format!("/v1/probe?src=local:{name}")).ok().text();
        let probed: Value = serde_json::from_str(&probed).unwrap();
        assert_eq!(probed["tracks"], Value::from(tracks.to_vec()), "{name}");
        // What is told is what is played.
        for (number, rate, channels) in [(0, 44_100, 1), (1, 48_000, 2)] {
            let wav = node.wav(&format!("local:{name}"), &format!("&track={number}"));
            assert_eq!((wav.rate, wav.channels), (rate, channels), "{name}");
        }
        assert_eq!(node.get(&format!("/v1/pcm?src=local:{name}&track=2")).status, 400);
        let output = kithara(&["probe", dir.path().join(name).to_str().unwrap()]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let row = format!("track  0: {codec}  44100 Hz  1 channels");
        assert!(text.contains(&row), "{name}: {text}");
        assert_eq!(text.contains("Kommentar  (deu)"), has_name, "{name}: {text}");
    }
}

#[test]
fn of_one_track_there_is_no_choice() {
    let node = node().arg("--demo").start();
    for name in ["strings.m4a", "strings.mp3", "strings.ogg", "strings.wav"] {
        let probed: Value =
            serde_json::from_str(&node.get(&format!("/v1/probe?src=demo:{name}")).ok().text())
                .unwrap();
        assert_eq!(probed["tracks"], json!([]), "{name}");
    }
}
