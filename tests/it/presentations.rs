//! HLS: presentations that ffmpeg makes of one recording, played as one steady stream.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Command,
};

use aes::Aes128;
use cbc::{
    Encryptor,
    cipher::{BlockModeEncrypt, KeyIvInit},
};

use crate::{
    node::{Node, kithara, node, scratch},
    origin::{Builder, origin},
};

/// Length of a segment, and how many there are.
const SECONDS: usize = 2;
const SEGMENTS: usize = 16;
const KEY: [u8; 16] = *b"sixteen  letters";

/// How segments hold what is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Ts,
    TsMp3,
    Packed,
    PackedMp3,
    Fmp4,
    Fmp4Flac,
    Fmp4Alac,
}

use Form::*;

impl Form {
    fn codec(self) -> &'static [&'static str] {
        match self {
            // Noise that a decoder makes up is other noise behind each start.
            Ts | Packed | Fmp4 => &["-c:a", "aac", "-aac_pns", "0", "-b:a", "96k"],
            TsMp3 | PackedMp3 => &["-c:a", "libmp3lame", "-b:a", "96k"],
            Fmp4Flac => &["-c:a", "flac", "-strict", "-2"],
            Fmp4Alac => &["-c:a", "alac"],
        }
    }

    fn muxer(self) -> &'static [&'static str] {
        match self {
            Ts | TsMp3 => &["-f", "hls", "-hls_segment_filename", "part%02d"],
            Packed => &["-f", "segment", "-segment_format", "adts"],
            PackedMp3 => &[
                "-f",
                "segment",
                "-segment_format",
                "mp3",
                "-segment_format_options",
                "write_xing=0",
            ],
            Fmp4 | Fmp4Flac | Fmp4Alac => {
                &["-f", "hls", "-hls_segment_type", "fmp4", "-hls_segment_filename", "part%02d"]
            }
        }
    }
}

/// A presentation, file by file, and the same bytes in a row.
struct Presentation {
    parts: Vec<Vec<u8>>,
    /// Of each part, as ffmpeg says it.
    seconds: Vec<String>,
    init: Option<Vec<u8>>,
}

/// ffmpeg's of a recording in which nothing repeats; `None`, and loudly so, where there is no ffmpeg.
fn presentation(form: Form, dir: &Path) -> Option<Presentation> {
    let sound = format!(
        "aevalsrc=0.4*sin(2*PI*(300+20*t)*t)|0.3*sin(2*PI*(500-7*t)*t)+0.1*sin(2*PI*4000*t):s=44100:d={}",
        SECONDS * SEGMENTS
    );
    let dir = dir.join(format!("{form:?}"));
    fs::create_dir(&dir).unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.current_dir(&dir).args(["-v", "error", "-f", "lavfi", "-i", &sound, "-map", "0:a"]);
    ffmpeg.args(form.codec()).args(form.muxer());
    match form {
        Packed | PackedMp3 => {
            ffmpeg.args(["-segment_time", "2", "-segment_list", "list.m3u8", "part%02d"])
        }
        _ => ffmpeg.args(["-hls_time", "2", "-hls_playlist_type", "vod", "list.m3u8"]),
    };
    let Ok(output) = ffmpeg.output() else {
        let _ =
            writeln!(io::stderr(), "\n*** SKIPPED: no ffmpeg to make a presentation with ***\n");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| fs::read(dir.join(name)).ok();
    let parts: Vec<_> = (0..).map_while(|at| read(&format!("part{at:02}"))).collect();
    assert!(parts.len() >= SEGMENTS, "{form:?} has {} segments", parts.len());
    let list = fs::read_to_string(dir.join("list.m3u8")).unwrap();
    let seconds = list.lines().filter_map(|line| line.strip_prefix("#EXTINF:"));
    let seconds = seconds.map(|line| line.trim_end_matches(',').to_owned()).collect();
    Some(Presentation { parts, seconds, init: read("init.mp4") })
}

impl Presentation {
    /// Its media playlist, with a line before each segment.
    fn playlist(&self, line: impl Fn(usize) -> String) -> String {
        let mut text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:3\n".to_owned();
        if self.init.is_some() {
            text += "#EXT-X-MAP:URI=\"init.mp4\"\n";
        }
        for (at, seconds) in self.seconds.iter().enumerate() {
            text += &format!("{}#EXTINF:{seconds},\npart{at:02}\n", line(at));
        }
        text + "#EXT-X-ENDLIST\n"
    }

    fn plain(&self) -> String {
        self.playlist(|_| String::new())
    }

    /// Its files.
    fn on(&self, origin: Builder, playlist: &str) -> Builder {
        let origin = origin.file("list.m3u8", playlist.as_bytes());
        let parts = self.parts.iter().enumerate();
        let origin =
            parts.fold(origin, |origin, (at, part)| origin.file(&format!("part{at:02}"), part));
        match &self.init {
            Some(init) => origin.file("init.mp4", init),
            None => origin,
        }
    }

    /// The same with each segment encrypted, by its number where `iv` has no vector.
    fn encrypted(&self, iv: Option<u128>) -> Self {
        let encrypt = |(at, part): (usize, &Vec<u8>)| {
            let iv = iv.unwrap_or(at as u128).to_be_bytes();
            let mut cipher = Encryptor::<Aes128>::new(&KEY.into(), &iv.into());
            let padding = 16 - part.len() % 16;
            let mut bytes = [&part[..], &vec![padding as u8; padding]].concat();
            for block in bytes.as_chunks_mut::<16>().0 {
                cipher.encrypt_block(block.into());
            }
            bytes
        };
        let parts = self.parts.iter().enumerate().map(encrypt).collect();
        Self { parts, seconds: self.seconds.clone(), init: self.init.clone() }
    }

    /// What a decode of all bytes in a row gives.
    fn continuous(&self, dir: &Path) -> Vec<f32> {
        let path = dir.join("whole");
        let mut bytes = self.init.clone().unwrap_or_default();
        self.parts.iter().for_each(|part| bytes.extend(part));
        fs::write(&path, bytes).unwrap();
        let output = kithara(&["pcm", path.to_str().unwrap(), "-o", "-", "--format", "f32le"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        samples(&output.stdout)
    }
}

fn samples(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|sample| f32::from_le_bytes(*sample)).collect()
}

const PCM: &str = "/v1/pcm?src=origin:list.m3u8&format=f32le";

fn heard(node: &Node, query: &str) -> Vec<f32> {
    samples(&node.get(&format!("{PCM}{query}")).ok().body)
}

/// The first frame at which two recordings differ by more than a sample of 16 bits can show.
fn differs_at(one: &[f32], other: &[f32]) -> Option<usize> {
    let pairs = one.iter().zip(other);
    pairs.enumerate().find(|(_, (a, b))| (*a - *b).abs() > 1e-4).map(|(at, _)| at / 2)
}

/// What is heard of `files` is what a decode of all of them in a row gives: on the first play, and with its length
/// and by ranges on the next.
#[track_caller]
fn is_one_recording(files: &Presentation, playlist: &str, whole: &[f32]) {
    let origin = files.on(origin(), playlist).file("the.key", &KEY).start();
    let node = node().shards(2).origin(&origin).start();
    let first = node.get(PCM).ok();
    assert_eq!(first.field("accept-ranges"), Some("none"));
    let frames = samples(&first.body);
    assert_eq!((frames.len(), differs_at(&frames, whole)), (whole.len(), None));
    let second = node.get(PCM).ok();
    let length = second.field("content-length").map(str::to_owned);
    assert_eq!(length, Some(first.body.len().to_string()));
    assert!(second.body == first.body);
    for (start, end) in [(0, 99), (1_234_567, 1_300_001), (7_000_003, 7_000_003)] {
        let part = node.get_with(PCM, &format!("Range: bytes={start}-{end}\r\n"));
        assert!(part.body == first.body[start..=end], "from {start}");
    }
    for part in 0..files.parts.len() {
        let asked = origin.asked(&format!("part{part:02}")).len();
        assert_eq!(asked, 1, "segment {part} is fetched once");
    }
}

fn plays_in_the_clear(form: Form) {
    let dir = scratch();
    let Some(presentation) = presentation(form, dir.path()) else { return };
    is_one_recording(&presentation, &presentation.plain(), &presentation.continuous(dir.path()));
}

/// By the numbers of its segments, and from the middle on by a vector that the playlist has.
fn plays_encrypted(form: Form) {
    let dir = scratch();
    let Some(presentation) = presentation(form, dir.path()) else { return };
    let whole = presentation.continuous(dir.path());
    let (mut files, rest) = (presentation.encrypted(None), presentation.encrypted(Some(7)));
    files.parts.truncate(SEGMENTS / 2);
    files.parts.extend_from_slice(&rest.parts[SEGMENTS / 2..]);
    let key = "#EXT-X-KEY:METHOD=AES-128,URI=\"the.key\"";
    let playlist = files.playlist(|at| match at {
        0 => format!("{key}\n"),
        at if at == SEGMENTS / 2 => format!("{key},IV=0x7\n"),
        _ => String::new(),
    });
    is_one_recording(&files, &playlist, &whole);
}

#[test]
fn transport_streams_of_aac_are_one_recording() {
    plays_in_the_clear(Ts);
}

#[test]
fn transport_streams_of_mp3_are_one_recording() {
    plays_in_the_clear(TsMp3);
}

#[test]
fn packed_aac_is_one_recording() {
    plays_in_the_clear(Packed);
}

#[test]
fn packed_mp3_is_one_recording() {
    plays_in_the_clear(PackedMp3);
}

#[test]
fn fragments_of_aac_are_one_recording() {
    plays_in_the_clear(Fmp4);
}

#[test]
fn fragments_of_flac_are_one_recording() {
    plays_in_the_clear(Fmp4Flac);
}

#[test]
fn fragments_of_alac_are_one_recording() {
    plays_in_the_clear(Fmp4Alac);
}

#[test]
fn encrypted_transport_streams_are_one_recording() {
    plays_encrypted(Ts);
}

#[test]
fn encrypted_packed_audio_is_one_recording() {
    plays_encrypted(Packed);
}

#[test]
fn encrypted_fragments_are_one_recording() {
    plays_encrypted(Fmp4);
}

/// Samples of one segment.
const SEGMENT: usize = 2 * 44_100 * SECONDS;

#[test]
fn a_segment_that_is_missing_is_silence_of_its_length() {
    let dir = scratch();
    for form in [Packed, Fmp4Flac] {
        let Some(presentation) = presentation(form, dir.path()) else { return };
        let whole = presentation.continuous(dir.path());
        let origin = presentation.on(origin(), &presentation.plain()).start();
        origin.answers("part05", Some(404));
        let node = node().origin(&origin).start();
        let frames = heard(&node, "");
        // Segments are cut between packets, and a decoder that starts anew has to swing in.
        let (near, packet) = (2 * 2048, 2 * 1024);
        assert!(frames.len().abs_diff(whole.len()) <= packet, "{form:?} {}", frames.len());
        let (from, to) = (5 * SEGMENT, 6 * SEGMENT);
        assert_eq!(differs_at(&frames[..from - near], &whole), None, "{form:?}");
        assert!(frames[from + near..to - near].iter().all(|sample| *sample == 0.0), "{form:?}");
        let shift = frames.len() as isize - whole.len() as isize;
        let behind = &whole[to + near..];
        let same = &frames[(to + near).strict_add_signed(shift)..];
        assert_eq!(differs_at(same, behind), None, "{form:?}");
    }
}

/// What is fetched for it are the segments around it, and the first, whose times others are counted from.
#[test]
fn a_jump_into_what_nobody_played_is_exact_and_fetches_little() {
    let dir = scratch();
    for form in [Ts, PackedMp3, Fmp4, Fmp4Flac] {
        let Some(presentation) = presentation(form, dir.path()) else { return };
        let whole = presentation.continuous(dir.path());
        let origin = presentation.on(origin(), &presentation.plain()).start();
        for (t, d) in [("20.5", 2), ("27.123", 1), ("3.9", 1)] {
            let node = node().origin(&origin).start();
            let before = origin.order().len();
            let part = heard(&node, &format!("&t={t}&d={d}"));
            let start = (t.parse::<f64>().unwrap() * 44_100.0).round() as usize * 2;
            let there = &whole[start..start + d * 2 * 44_100];
            assert_eq!((part.len(), differs_at(&part, there)), (there.len(), None), "{form:?} {t}");
            let asked = origin.order().split_off(before);
            let parts = asked.iter().filter(|name| name.starts_with("part")).count();
            assert!(parts <= 7, "{form:?} {t}: {asked:?}");
        }
    }
}
