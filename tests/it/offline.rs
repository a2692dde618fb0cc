//! What the commands do that need no node.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use kithara::demo;

use crate::{
    node::{kithara, scratch},
    origin::origin,
    wav::Wav,
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
    assert!(pcm(&["--duration", "1e1"]).contains("without a sign and an exponent"));
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

#[test]
fn no_name_of_its_source_is_overwritten() {
    let dir = scratch();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (own, linked, symbolic) = (at("same.wav"), at("linked.wav"), at("symbolic.wav"));
    fs::copy(song("strings.wav"), &own).unwrap();
    fs::hard_link(&own, &linked).unwrap();
    symlink(&own, &symbolic).unwrap();
    let before = fs::read(&own).unwrap();
    let library = format!("lib={}", dir.path().display());
    for (source, to) in [
        (own.as_str(), own.as_str()),
        (&own, &linked),
        (&own, &symbolic),
        (&symbolic, &linked),
        ("lib:same.wav", &linked),
    ] {
        let said = ended(&kithara(&["pcm", source, "-o", to, "--library", &library]), 2);
        assert!(said.contains("the source itself"), "{said}");
        assert!(fs::read(&own).unwrap() == before, "{source} into {to}");
    }
    let appended = File::options().append(true).open(&own).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kithara"));
    command.args(["pcm", &own, "-o", "-"]).current_dir(dir.path()).stdout(appended);
    ended(&command.output().unwrap(), 2);
    assert!(fs::read(&own).unwrap() == before, "behind its own end");
    let other = at("other.wav");
    fs::write(&other, vec![1; before.len() * 2]).unwrap();
    ended(&kithara(&["pcm", &own, "-o", &other]), 0);
    assert_eq!(fs::metadata(&other).unwrap().len(), before.len() as u64, "nothing old is left");
}

#[test]
fn a_pipe_with_a_name_is_written_to_like_any_other() {
    let output = kithara(&["pcm", &song("strings.aac"), "-o", "/dev/stdout"]);
    ended(&output, 0);
    assert_eq!(Wav::parse(&output.stdout).stated as usize, output.stdout.len() - 44);
}

#[test]
fn a_local_file_is_played_whatever_origins_are_called() {
    let dir = scratch();
    let out = dir.path().join("x.wav");
    let (song, out) = (song("strings.flac"), out.to_str().unwrap());
    for name in ["source", "file", "here", "local"] {
        let origin = format!("{name}=http://127.0.0.1:9/");
        ended(&kithara(&["pcm", &song, "-o", out, "--duration", "0.1", "--origin", &origin]), 0);
    }
}

#[test]
fn a_url_that_is_typed_in_full_is_asked_for_as_it_is() {
    let song = fs::read(song("strings.mp3")).unwrap();
    let names = ["a%2Fb.mp3", "a%5Cb.mp3", "100%2525.mp3"];
    let origin = names.iter().fold(origin(), |origin, name| origin.file(name, &song)).start();
    for name in names {
        let url = format!("http://{}/{name}", origin.address());
        ended(&kithara(&["probe", &url]), 0);
        assert!(!origin.asked(name).is_empty(), "{:?}", origin.order());
    }
}
