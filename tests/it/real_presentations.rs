//! HLS as others pack it: each presentation of the material has ffmpeg's frames, or is listed with the reason.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::node::{Node, node};

const FIRST: &str = "ffmpeg drops the first packet of AAC in transport streams";
const EDITED: &str = "its edit list trims what the encoder put before";
const LATE: &str = "its edit list begins with 43 ms of nothing, which are silence";
const SILENT: &str = "segments that are not there are silence as long as the playlist says";

/// Playlists that have other frames than ffmpeg's, and why.
const DIFFERS: &[(&str, usize, &str)] = &[
    ("shaka_hls-ts-aac/playlist.m3u8", 1_523_712, FIRST),
    ("media3_cmaf_multi-segment/playlist.m3u8", 133_120, EDITED),
    ("media3_cmaf_multi-segment/stream_0.m3u8", 133_120, EDITED),
    ("media3_hls_multi-segment/playlist.m3u8", 47_976, LATE),
    ("kithara_hls/index-shq-a1.m3u8", 9_702_400, SILENT),
    ("kithara_hls/index-slossless-a1.m3u8", 9_710_644, SILENT),
    ("kithara_drm/index-shq-a1.m3u8", 9_699_328, SILENT),
    ("kithara_drm/index-slossless-a1.m3u8", 9_710_644, SILENT),
    ("kithara_drm/index-smq-a1.m3u8", 9_699_328, SILENT),
];

/// Playlists of which there is nothing to play, by their folders or names, with the status and the word that say so.
const REFUSED: &[(&str, u16, &str)] = &[
    ("media3_cmaf_multi-segment/stream_1", 415, "no audio track"),
    ("media3_hls_interstitials/", 403, "another scheme than HTTP"),
    ("shaka_hls-aes-256/", 415, "AES-256"),
    ("shaka_hls-chapters/index", 415, "video alone"),
    ("shaka_hls-chapters/media", 415, "no audio track"),
    ("shaka_hls-interstitial/ad.", 415, "no audio track"),
    ("shaka_hls-interstitial/list", 415, "no audio track"),
    ("shaka_hls-interstitial/main", 415, "no audio track"),
    ("shaka_hls-raw-ac3/", 415, "ac3"),
    ("shaka_hls-raw-ec3/", 415, "eac3"),
    ("shaka_hls-sample-aes/", 415, "SAMPLE-AES"),
    ("shaka_hls-ts-ac3/", 415, "ac3"),
    ("shaka_hls-ts-b-frames/index", 415, "video alone"),
    ("shaka_hls-ts-b-frames/playlist", 415, "no audio track"),
    ("shaka_hls-ts-ec3/", 415, "eac3"),
    ("shaka_hls-ts-muxed-opus", 415, "opus"),
];

fn material() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/material");
    let root = env::var_os("TEST_MATERIAL").map_or(beside, PathBuf::from);
    if root.join("hls").is_dir() {
        return Some(root);
    }
    let _ = writeln!(io::stderr(), "\n*** SKIPPED: no material (set TEST_MATERIAL) ***\n");
    None
}

/// The playlists of a kind with ffmpeg's frames; 0 of what it does not play.
fn expected(material: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<(String, usize)> {
    let table = fs::read_to_string(material.join("EXPECT_ffmpeg51.tsv")).unwrap();
    let row = |line: &str| {
        let cells: Vec<_> = line.split('\t').collect();
        let path = cells[0].strip_prefix("hls/").filter(|path| is_wanted(path))?;
        Some((path.to_owned(), cells[5].parse().unwrap()))
    };
    table.lines().filter_map(row).collect()
}

#[track_caller]
fn comes_to_what_is_listed(node: &Node, path: &str, frames: usize) {
    let query = format!("/v1/pcm?src=material:{path}&format=s16le&channels=1&variant=0");
    let answer = node.get(&query);
    let is_of = |(start, ..): &&(&str, u16, &str)| path.starts_with(start);
    if let Some((_, status, word)) = REFUSED.iter().find(is_of) {
        let text = answer.text();
        assert!(answer.status == *status && text.contains(word), "{path}: {text}");
        return;
    }
    let differs = DIFFERS.iter().find(|(listed, ..)| *listed == path);
    let (wanted, why) = differs.map_or((frames, "as ffmpeg"), |(_, frames, why)| (*frames, *why));
    assert!(differs.is_none_or(|(_, ours, _)| *ours != frames), "{path} need not be listed");
    assert_eq!(answer.ok().body.len() / 2, wanted, "{path}: {why}");
}

/// Of them, those that are wanted.
fn come_to_what_is_listed(count: usize, is_wanted: impl Fn(&str) -> bool) {
    let Some(material) = material() else { return };
    let node = node().shards(2).library("material", &material.join("hls")).start();
    let playlists = expected(&material, is_wanted);
    assert_eq!(playlists.len(), count);
    playlists.iter().for_each(|(path, frames)| comes_to_what_is_listed(&node, path, *frames));
}

#[test]
fn presentations_of_others_have_their_frames_or_a_reason() {
    come_to_what_is_listed(23, |path| !path.starts_with("kithara_"));
}

/// Of those that are complete, one: each is minutes long.
#[test]
fn ladders_of_which_much_is_missing_keep_their_length() {
    let is_torn = |path: &str| DIFFERS.iter().any(|(listed, ..)| *listed == path);
    come_to_what_is_listed(5, |path| path.starts_with("kithara_") && is_torn(path));
}

#[test]
fn an_encrypted_presentation_of_others_is_complete() {
    come_to_what_is_listed(1, |path| path == "kithara_drm/index-slq-a1.m3u8");
}
