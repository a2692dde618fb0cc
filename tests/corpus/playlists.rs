//! Every playlist of the corpus: read, or refused with a reason.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use kithara::hls::playlist::{
    Error, Limits, Media, Multivariant, Playlist, Track, Variables, parse,
};
use url::Url;

use crate::{files, has_ffmpeg, material_of};

/// How many end in which way.
const COUNTS: [(&str, u32); 9] = [
    ("I-frames", 3),
    ("empty", 1),
    ("encrypted", 6),
    ("live", 43),
    ("malformed", 9),
    ("media", 116),
    ("multivariant", 43),
    ("not HLS", 3),
    ("video alone", 14),
];

fn read(path: &Path) -> Result<Playlist, Error> {
    let url = Url::parse("https://origin.example/a/list.m3u8?t=1").unwrap();
    parse(&fs::read(path).unwrap(), &url, &Variables::default(), &Limits::default())
}

/// Those that stand alone, and those of presentations.
fn playlists() -> Option<Vec<PathBuf>> {
    let mut found = files(&material_of("playlists")?);
    found.extend(presentations()?);
    Some(found)
}

fn presentations() -> Option<Vec<PathBuf>> {
    let folders = files(&material_of("hls")?);
    let inside = folders.iter().filter(|folder| folder.is_dir()).flat_map(|folder| files(folder));
    Some(inside.filter(|path| path.extension().is_some_and(|ending| ending == "m3u8")).collect())
}

#[test]
fn every_playlist_is_read_or_refused_with_a_reason() {
    let Some(playlists) = playlists() else { return };
    let mut counts = BTreeMap::<&str, u32>::new();
    for path in playlists {
        let verdict = match read(&path) {
            Ok(Playlist::Media(media)) => {
                holds_what_is_written(&media, &fs::read_to_string(&path).unwrap());
                "media"
            }
            Ok(Playlist::Multivariant(multivariant)) => heard(&multivariant),
            Err(error) => refused(&error),
        };
        *counts.entry(verdict).or_default() += 1;
        println!("{verdict:24} {}", path.display());
    }
    let counts: Vec<_> = counts.into_iter().collect();
    assert_eq!(counts, COUNTS);
}

fn refused(error: &Error) -> &'static str {
    assert!(error.to_string().len() > 10);
    match error {
        Error::NotHls(_) => "not HLS",
        Error::Live => "live",
        Error::Encrypted { .. } => "encrypted",
        Error::NoAudio(_) => "I-frames",
        Error::Malformed { .. } => "malformed",
        Error::Empty => "empty",
        Error::NoTrack(_) | Error::Limit { .. } => panic!("{error}"),
    }
}

fn heard(multivariant: &Multivariant) -> &'static str {
    match multivariant.audio(Track::Default) {
        Ok(_) => "multivariant",
        Err(Error::NoAudio(_)) => "video alone",
        Err(other) => panic!("{other}"),
    }
}

/// Segments and durations as a reader of one kind of line finds them.
fn holds_what_is_written(media: &Media, text: &str) {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("#EXTINF:"));
    let seconds: Vec<f64> =
        lines.map(|line| line.split(',').next().unwrap().trim().parse().unwrap()).collect();
    assert_eq!(media.segments().len(), seconds.len());
    for (segment, seconds) in media.segments().iter().zip(&seconds) {
        assert!((segment.duration.as_secs_f64() - seconds).abs() < 1e-9);
        assert!(media.url(segment.uri).has_host());
    }
    assert!((media.duration().as_secs_f64() - seconds.iter().sum::<f64>()).abs() < 1e-6);
}

#[test]
fn presentations_are_as_long_as_ffmpeg_has_them() {
    let Some(presentations) = presentations() else { return };
    if !has_ffmpeg() {
        return;
    }
    let mut compared = 0;
    for path in presentations {
        let (Ok(Playlist::Media(media)), Some(theirs)) = (read(&path), ffprobe(&path)) else {
            continue;
        };
        // It cuts each duration to microseconds.
        let off = media.duration().abs_diff(theirs);
        assert!(off <= Duration::from_micros(media.segments().len() as u64), "{}", path.display());
        compared += 1;
    }
    assert_eq!(compared, 23);
}

fn ffprobe(path: &Path) -> Option<Duration> {
    let output = Command::new("ffprobe")
        .args(["-v", "quiet", "-allowed_extensions", "ALL", "-protocol_whitelist", "file,crypto"])
        .args(["-show_entries", "format=duration", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .ok()?;
    let seconds = String::from_utf8(output.stdout).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs_f64(seconds))
}
