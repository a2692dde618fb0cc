//! What the commands do that need no node.

use std::{fs, path::Path, process::Output};

use kithara::demo;

use crate::{
    node::{kithara, scratch},
    origin::origin,
};

/// How a command ended, and what it said.
#[track_caller]
fn ended(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// A file of the demo, as a command is given it.
fn song(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/material").join(name);
    path.to_str().unwrap().to_owned()
}

/// With connections that are still open at its end, and many times: which task is dropped last is a
/// matter of moments.
#[test]
fn a_command_that_did_its_work_says_nothing_at_its_end() {
    let file = demo::FILES.iter().find(|file| file.name == "strings.mp3").unwrap();
    let origin = origin()
        .file("strings.mp3", file.bytes)
        .file("whole.mp3", file.bytes)
        .refuses_ranges(416)
        .start();
    let dir = scratch();
    let out = dir.path().join("x.wav");
    for name in ["strings.mp3", "whole.mp3"] {
        let url = format!("http://{}/{name}", origin.address());
        for _ in 0..15 {
            let pcm = kithara(&["pcm", &url, "-o", out.to_str().unwrap(), "--duration", "0.1"]);
            assert_eq!(ended(&pcm, 0), "", "pcm of {name}");
            assert_eq!(ended(&kithara(&["probe", &url]), 0), "", "probe of {name}");
        }
        assert_eq!(fs::metadata(&out).unwrap().len(), 44 + 4_410 * 4, "{name}");
    }
}

#[test]
fn what_a_server_would_refuse_of_a_query_is_wrong_on_the_command_line() {
    let dir = scratch();
    let out = dir.path().join("x.wav");
    let song = song("strings.flac");
    let pcm = |args: &[&str]| {
        let all = [&["pcm", &song, "-o", out.to_str().unwrap()], args].concat();
        ended(&kithara(&all), 2)
    };
    assert!(pcm(&["--duration", "0"]).contains("seconds above 0"));
    let late = pcm(&["--start", "1000"]);
    assert!(late.contains("starts past the end") && late.contains("below 5.200"), "{late}");
    assert!(pcm(&["--rate", "44101"]).contains("44100"));
    assert!(!out.exists(), "nothing was written");
}

#[test]
fn help_is_to_be_had_as_people_ask_for_it() {
    for args in [&["help"][..], &["help", "serve"], &["help", "cache", "pin"]] {
        let output = kithara(args);
        assert_eq!(ended(&output, 0), "");
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(shown.contains("Usage: kithara"), "{args:?}: {shown}");
    }
}

#[test]
fn more_shards_than_cores_are_too_many_whatever_the_memory() {
    let said = ended(&kithara(&["serve", "--shards", "9999", "--check"]), 78);
    assert!(said.contains("`shards` is 9999"), "{said}");
}
