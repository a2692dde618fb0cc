//! Presentations that ffmpeg makes, for stories of HLS.

use std::{
    fs,
    io::{self, Write},
    process::Command,
};

use aes::Aes128;
use cbc::{
    Encryptor,
    cipher::{BlockModeEncrypt, KeyIvInit},
};

use crate::{
    node::{kithara, scratch},
    origin::Builder,
};

/// What segments are encrypted with.
pub const KEY: [u8; 16] = *b"sixteen  letters";

/// How segments hold what is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Ts,
    TsMp3,
    Packed,
    PackedMp3,
    /// The same of a third of the bits.
    PackedLow,
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
            PackedLow => &["-c:a", "libmp3lame", "-b:a", "32k"],
            Fmp4Flac => &["-c:a", "flac", "-strict", "-2"],
            Fmp4Alac => &["-c:a", "alac"],
        }
    }

    fn muxer(self) -> &'static [&'static str] {
        match self {
            Ts | TsMp3 => &["-f", "hls", "-hls_segment_filename", "part%02d"],
            Packed => &["-f", "segment", "-segment_format", "adts"],
            PackedMp3 | PackedLow => &[
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

/// A presentation, file by file.
pub struct Presentation {
    pub parts: Vec<Vec<u8>>,
    /// Of each part, as ffmpeg says it.
    pub seconds: Vec<String>,
    pub init: Option<Vec<u8>>,
}

/// ffmpeg's of a sound, one part every two seconds; `None`, and loudly so, where there is no ffmpeg.
pub fn presentation(form: Form, sound: &str) -> Option<Presentation> {
    presentation_cut(form, sound, "2")
}

/// The same with parts of so many seconds.
pub fn presentation_cut(form: Form, sound: &str, seconds: &str) -> Option<Presentation> {
    let dir = scratch();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.current_dir(&dir).args(["-v", "error", "-f", "lavfi", "-i", sound, "-map", "0:a"]);
    ffmpeg.args(form.codec()).args(form.muxer());
    match form {
        Packed | PackedMp3 | PackedLow => {
            ffmpeg.args(["-segment_time", seconds, "-segment_list", "list.m3u8", "part%02d"])
        }
        _ => ffmpeg.args(["-hls_time", seconds, "-hls_playlist_type", "vod", "list.m3u8"]),
    };
    let Ok(output) = ffmpeg.output() else {
        let _ =
            writeln!(io::stderr(), "\n*** SKIPPED: no ffmpeg to make a presentation with ***\n");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| fs::read(dir.path().join(name)).ok();
    let parts: Vec<_> = (0..).map_while(|at| read(&format!("part{at:02}"))).collect();
    let list = fs::read_to_string(dir.path().join("list.m3u8")).unwrap();
    let seconds = list.lines().filter_map(|line| line.strip_prefix("#EXTINF:"));
    let seconds = seconds.map(|line| line.trim_end_matches(',').to_owned()).collect();
    Some(Presentation { parts, seconds, init: read("init.mp4") })
}

impl Presentation {
    /// Its media playlist, with a line before each segment.
    pub fn playlist(&self, line: impl Fn(usize) -> String) -> String {
        let mut text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n".to_owned();
        if self.init.is_some() {
            text += "#EXT-X-MAP:URI=\"init.mp4\"\n";
        }
        for (at, seconds) in self.seconds.iter().enumerate() {
            text += &format!("{}#EXTINF:{seconds},\npart{at:02}\n", line(at));
        }
        text + "#EXT-X-ENDLIST\n"
    }

    pub fn plain(&self) -> String {
        self.playlist(|_| String::new())
    }

    /// Its files, with names as they are in a folder; none of them for the origin itself.
    pub fn on(&self, origin: Builder, folder: &str, playlist: &str) -> Builder {
        let origin = origin.file(&format!("{folder}list.m3u8"), playlist.as_bytes());
        self.files()
            .into_iter()
            .fold(origin, |origin, (name, bytes)| origin.file(&format!("{folder}{name}"), bytes))
    }

    /// What its playlist names.
    pub fn files(&self) -> Vec<(String, &[u8])> {
        let parts = self.parts.iter().enumerate();
        let parts = parts.map(|(at, part)| (format!("part{at:02}"), &part[..]));
        parts.chain(self.init.as_deref().map(|init| ("init.mp4".to_owned(), init))).collect()
    }

    /// The same with each segment encrypted, by its number where `iv` has no vector.
    pub fn encrypted(&self, iv: Option<u128>) -> Self {
        let parts = self.parts.iter().enumerate();
        let parts = parts.map(|(at, part)| encrypted(part, &KEY, iv.unwrap_or(at as u128)));
        let parts = parts.collect();
        Self { parts, seconds: self.seconds.clone(), init: self.init.clone() }
    }

    /// All of it in a row.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.init.clone().unwrap_or_default();
        self.parts.iter().for_each(|part| bytes.extend(part));
        bytes
    }

    /// What a decode of all bytes in a row gives.
    pub fn continuous(&self) -> Vec<f32> {
        decoded(&self.bytes())
    }
}

/// The same bytes, padded and encrypted.
pub fn encrypted(bytes: &[u8], key: &[u8; 16], iv: u128) -> Vec<u8> {
    let mut cipher = Encryptor::<Aes128>::new(key.into(), &iv.to_be_bytes().into());
    let padding = 16 - bytes.len() % 16;
    let mut bytes = [bytes, &vec![padding as u8; padding]].concat();
    for block in bytes.as_chunks_mut::<16>().0 {
        cipher.encrypt_block(block.into());
    }
    bytes
}

/// What a file holds.
pub fn decoded(bytes: &[u8]) -> Vec<f32> {
    decoded_as(bytes, &[])
}

/// The same by other flags of `kithara pcm`.
pub fn decoded_as(bytes: &[u8], flags: &[&str]) -> Vec<f32> {
    let dir = scratch();
    let path = dir.path().join("whole");
    fs::write(&path, bytes).unwrap();
    let args = ["pcm", path.to_str().unwrap(), "-o", "-", "--format", "f32le"];
    let output = kithara(&[&args, flags].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    samples(&output.stdout)
}

pub fn samples(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|sample| f32::from_le_bytes(*sample)).collect()
}

/// The first frame at which two recordings differ by more than a sample of 16 bits can show.
pub fn differs_at(one: &[f32], other: &[f32]) -> Option<usize> {
    let pairs = one.iter().zip(other);
    pairs.enumerate().find(|(_, (a, b))| (*a - *b).abs() > 1e-4).map(|(at, _)| at / 2)
}
