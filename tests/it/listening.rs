//! What a listener hears: decoded audio, exact, from every format, whichever way it was fetched.

use kithara::demo::{self, Codec, Recording};

use crate::{node::node, origin::origin, wav::Wav};

/// The samples of a recording as the demo's WAVE file has them.
fn wave_of(recording: Recording) -> Vec<i16> {
    let is_it = |file: &&demo::File| file.recording == recording && file.name.ends_with(".wav");
    let file = demo::FILES.iter().find(is_it).expect("the close of the piece is there as WAVE");
    Wav::parse(file.bytes).samples()
}

fn file(name: &str) -> &'static demo::File {
    demo::FILES.iter().find(|file| file.name == name).expect("a file of the demo")
}

#[test]
fn every_demo_file_has_its_frames() {
    let node = node().arg("--demo").start();
    for file in demo::FILES {
        let wav = node.wav(&format!("demo:{}", file.name), "");
        assert_eq!(wav.frames() as u64, file.frames, "{}", file.name);
        assert_eq!((wav.rate, wav.channels), (file.rate_hz, file.channels), "{}", file.name);
    }
}

#[test]
fn lossless_files_give_back_the_recording_bit_for_bit() {
    let node = node().arg("--demo").start();
    let recording = wave_of(Recording::Close);
    for name in ["strings.wav", "strings.aiff", "strings-alac.m4a"] {
        assert!(node.wav(&format!("demo:{name}"), "").samples() == recording, "{name}");
    }
}

#[test]
fn a_flac_file_matches_its_own_checksum() {
    let node = node().arg("--demo").start();
    let flac = file("strings.flac");
    // STREAMINFO ends with the MD5 of the samples (RFC 9639 section 8.2).
    let stated = &flac.bytes[8 + 18..8 + 34];
    let samples = node.get("/v1/pcm?src=demo:strings.flac&format=s16le").ok().body;
    assert_eq!(md5::compute(&samples).0, stated);
}

#[test]
fn a_length_is_promised_where_it_is_known_and_kept() {
    let node = node().arg("--demo").start();
    for file in demo::FILES {
        let response = node.get(&format!("/v1/pcm?src=demo:{}&format=s16le", file.name)).ok();
        let length = u64::from(file.channels) * 2 * file.frames;
        assert_eq!(response.body.len() as u64, length, "{}", file.name);
        match response.field("content-length") {
            Some(stated) => assert_eq!(stated, length.to_string(), "{}", file.name),
            None => assert_eq!(response.field("accept-ranges"), Some("none"), "{}", file.name),
        }
    }
}

#[test]
fn an_unknown_length_is_said_to_be_unknown() {
    let bytes = file_without_length();
    let origin = origin().file("song.aac", bytes).start();
    let node = node().origin(&origin).start();
    let response = node.get("/v1/pcm?src=origin:song.aac").ok();
    assert_eq!(response.field("content-length"), None);
    assert_eq!(Wav::parse(&response.body).stated, u32::MAX);
}

/// ADTS says nowhere how much there is.
fn file_without_length() -> &'static [u8] {
    let adts = |file: &&demo::File| file.codec == Codec::Aac && file.name.ends_with(".aac");
    demo::FILES.iter().find(adts).expect("the demo has ADTS").bytes
}

#[test]
fn a_slice_is_that_part_of_the_whole() {
    let node = node().arg("--demo").start();
    for file in demo::FILES {
        for query in ["&rate=48000&format=f32le", "&format=s16le"] {
            let target = format!("/v1/pcm?src=demo:{}{query}", file.name);
            let whole = node.get(&target).ok().body;
            let part = node.get(&format!("{target}&t=1.5&d=0.75")).ok().body;
            let rate = if query.contains("48000") { 48_000 } else { file.rate_hz as usize };
            let frame = usize::from(file.channels) * if query.contains("f32") { 4 } else { 2 };
            let from = (rate * 3).div_ceil(2) * frame;
            let frames = (rate as f64 * 0.75 + 0.5).floor() as usize;
            assert!(part == whole[from..from + frames * frame], "{target}");
        }
    }
}

#[test]
fn the_same_bytes_cold_and_warm_and_through_either_shard() {
    let node = node().shards(2).arg("--demo").start();
    for file in demo::FILES {
        let target = format!("/v1/pcm?src=demo:{}&rate=48000&channels=2&format=s16le", file.name);
        let first = node.get(&target).ok();
        // Sixteen connections land on both listeners; one of the shards is not the owner.
        for _ in 0..16 {
            let again = node.get(&target).ok();
            assert!(again.body == first.body, "{}", file.name);
            assert_eq!(again.field("etag"), first.field("etag"));
        }
    }
}

#[test]
fn every_format_says_what_it_is_and_is_it() {
    let node = node().arg("--demo").start();
    let name = demo::FILES.iter().find(|file| file.name.ends_with(".wav")).unwrap().name;
    let frames = file(name).frames;
    let channels = u64::from(file(name).channels);
    for (format, kind, bytes) in [
        ("s16le", "application/octet-stream", 2),
        ("s24le", "application/octet-stream", 3),
        ("s32le", "application/octet-stream", 4),
        ("f32le", "application/octet-stream", 4),
        ("s16be", "audio/L16;rate=", 2),
    ] {
        let response = node.get(&format!("/v1/pcm?src=demo:{name}&format={format}")).ok();
        let content_type = response.field("content-type").unwrap();
        assert!(content_type.starts_with(kind), "{format}: {content_type}");
        assert_eq!(response.body.len() as u64, frames * channels * bytes, "{format}");
        let audio = response.field("x-audio-format").unwrap();
        assert!(audio.starts_with(&format!("{format};")), "{audio}");
        assert!(audio.ends_with(&format!("frames={frames}")), "{audio}");
    }
    let big_endian = node.get(&format!("/v1/pcm?src=demo:{name}&format=s16be")).ok().body;
    let little_endian = node.get(&format!("/v1/pcm?src=demo:{name}&format=s16le")).ok().body;
    let swapped: Vec<u8> = big_endian.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    assert!(swapped == little_endian);
    let flac = node.get(&format!("/v1/pcm?src=demo:{name}&format=flac")).ok();
    assert_eq!(flac.field("content-type"), Some("audio/flac"));
    assert!(flac.body.starts_with(b"fLaC"));
}

/// Slices end at every place within a block; what was lost at an end would be missed frames.
#[test]
fn flac_output_has_all_its_frames() {
    let node = node().arg("--demo").start();
    let mut origin = origin();
    let mut expected = Vec::new();
    for (index, (rate, channels)) in
        [(8_000, 2), (8_000, 6), (22_050, 2), (48_000, 1), (96_000, 3)].into_iter().enumerate()
    {
        for seconds in ["0.5", "1", "2.3", "5"] {
            let query = format!("rate={rate}&channels={channels}&d={seconds}&format=flac");
            let flac = node.get(&format!("/v1/pcm?src=demo:strings.mp3&{query}")).ok().body;
            let name = format!("{index}-{seconds}.flac");
            origin = origin.file(&name, &flac);
            let frames = (seconds.parse::<f64>().unwrap() * f64::from(rate) + 0.5) as usize;
            expected.push((name, frames));
        }
    }
    let origin = origin.start();
    let again = crate::node::node().origin(&origin).start();
    for (name, frames) in expected {
        let probe = again.get(&format!("/v1/probe?src=origin:{name}")).ok().text();
        let wav = again.wav(&format!("origin:{name}"), "");
        assert_eq!(wav.frames(), frames, "{name}: {probe}");
    }
}

#[test]
fn a_head_request_promises_what_get_keeps() {
    let node = node().arg("--demo").start();
    for file in demo::FILES {
        let target = format!("/v1/pcm?src=demo:{}", file.name);
        let (head, get) = (node.head(&target), node.get(&target).ok());
        assert_eq!(head.status, 200);
        assert!(head.body.is_empty());
        for name in ["content-length", "content-type", "etag", "x-audio-format"] {
            assert_eq!(head.field(name), get.field(name), "{name} of {}", file.name);
        }
    }
}

/// With an origin at real-time speed the first PCM leaves before a tenth of the body has come.
#[test]
fn music_plays_while_it_is_fetched() {
    let song = demo::FILES.iter().find(|file| file.name.ends_with(".flac")).unwrap();
    let seconds = song.frames / u64::from(song.rate_hz);
    let rate = song.bytes.len() as u64 / seconds;
    let origin = origin().file("song.flac", song.bytes).at_rate(rate).start();
    let node = node().origin(&origin).start();
    let mut stream = crate::client::connect(node.listen);
    use std::io::{Read, Write};
    let request =
        format!("GET /v1/pcm?src=origin:song.flac HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen);
    let began = std::time::Instant::now();
    stream.write_all(request.as_bytes()).unwrap();
    let mut byte = [0; 4096];
    let count = stream.read(&mut byte).unwrap();
    assert!(byte[..count].starts_with(b"HTTP/1.1 200"));
    let waited = began.elapsed().as_secs_f64();
    assert!(waited < seconds as f64 / 10.0, "the first PCM came after {waited} s of {seconds} s");
}
