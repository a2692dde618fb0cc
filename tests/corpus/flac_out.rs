//! FLAC that we write: the format's own tool passes it, ffmpeg reads the same samples out of it, and
//! it is as short as the tool's.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use kithara::encode::flac::{Encoder, Format, MAX_LEVEL};

use crate::{has_ffmpeg, material, say_skipped};

/// Bytes of a table of seek points for a stream whose length is not known before.
const SEEK_TABLE_BYTES: u64 = 4 + 18 * 600;

/// The length that is allowed beside the tool's of the same level: one in a hundred more, and a hundred
/// bytes of metadata.
fn most_bytes(theirs: u64) -> u64 {
    theirs + theirs / 100 + 100
}

fn has_flac() -> bool {
    let there = Command::new("flac").arg("--version").output().is_ok();
    if !there {
        say_skipped("no flac to check with");
    }
    there
}

/// Samples by ffmpeg, interleaved, of the encoder's bits.
fn pcm(path: &Path, format: Format) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-ac", &format.channels.to_string(), "-ar", &format.rate_hz.to_string()])
        .args(["-f", &format!("s{}le", format.bits), "-"])
        .output()
        .expect("ffmpeg runs");
    assert!(!output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A stored stream with its final head.
fn encode(pcm: &[u8], format: Format, level: u8) -> Vec<u8> {
    let mut encoder = Encoder::stored(format, level, None, Vec::new()).expect("possible");
    let (mut flac, mut block) = (Vec::new(), [0; 4096]);
    for part in pcm.chunks(10_007) {
        encoder.push(part);
    }
    encoder.finish();
    while !encoder.is_empty() {
        let count = encoder.pull(&mut block);
        flac.extend_from_slice(&block[..count]);
    }
    let head = encoder.head();
    flac[..head.len()].copy_from_slice(&head);
    flac
}

/// Runs the tool, which also warns of what is odd.
fn flac(arguments: &[&str], input: &Path) {
    let output = Command::new("flac")
        .args(arguments)
        .arg(input)
        .stdin(Stdio::null())
        .output()
        .expect("flac runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", input.display());
}

/// What the tool makes of the same samples, in bytes.
fn tools_bytes(dir: &Path, pcm: &[u8], format: Format, level: u8) -> u64 {
    let (raw, into) = (dir.join("music.raw"), dir.join("tool.flac"));
    fs::write(&raw, pcm).unwrap();
    let arguments = [
        format!("-{level}"),
        format!("--channels={}", format.channels),
        format!("--bps={}", format.bits),
        format!("--sample-rate={}", format.rate_hz),
        format!("--output-name={}", into.display()),
    ];
    let mut all = vec!["-s", "-f", "--no-padding", "--no-seektable"];
    all.extend(["--force-raw-format", "--endian=little", "--sign=signed"]);
    all.extend(arguments.iter().map(String::as_str));
    flac(&all, &raw);
    fs::metadata(&into).unwrap().len()
}

fn check(path: &Path, format: Format, levels: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let samples = pcm(path, format);
    let ours = dir.path().join("ours.flac");
    for level in levels {
        let bytes = encode(&samples, format, *level);
        fs::write(&ours, &bytes).unwrap();
        flac(&["-t", "-s", "-w"], &ours);
        assert!(pcm(&ours, format) == samples, "{format:?}, level {level}");
        let theirs = tools_bytes(dir.path(), &samples, format, *level);
        let most = most_bytes(theirs);
        let ours = bytes.len() as u64 - SEEK_TABLE_BYTES;
        assert!(ours <= most, "{format:?}, level {level}: {ours} bytes, theirs {theirs}");
    }
}

#[test]
fn flac_that_we_write_is_passed_by_the_tool_and_played_by_ffmpeg() {
    if !has_ffmpeg() || !has_flac() {
        return;
    }
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/material/strings.flac");
    let surround = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/material/surround-24.flac");
    let all: Vec<u8> = (0..=MAX_LEVEL).collect();
    check(&demo, Format { rate_hz: 44_100, channels: 2, bits: 16 }, &all);
    check(&demo, Format { rate_hz: 96_000, channels: 2, bits: 24 }, &[0, 5, 8]);
    check(&demo, Format { rate_hz: 8_000, channels: 1, bits: 16 }, &[5]);
    check(&surround, Format { rate_hz: 48_000, channels: 6, bits: 24 }, &[5]);
    check(&surround, Format { rate_hz: 655_350, channels: 1, bits: 16 }, &[5]);
}

#[test]
fn music_of_the_material_is_as_short_as_the_tools() {
    let Some(root) = material() else { return };
    if !has_ffmpeg() || !has_flac() {
        return;
    }
    let music = ["media3_flac_bear.flac", "lofty_full_test.flac", "kithara_sawtooth.flac"];
    for file in music {
        check(&root.join(file), Format { rate_hz: 44_100, channels: 2, bits: 16 }, &[5]);
    }
}
