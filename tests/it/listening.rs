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
    let node = node().origin(&origin).set("LIMITS__SCAN_WAIT", "0s").start();
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
        let cold = node.get(&target).ok();
        // By now the length of each is known.
        let first = node.get(&target).ok();
        assert!(first.body == cold.body, "{}", file.name);
        // Sixteen connections land on both listeners; one of the shards is not the owner.
        for _ in 0..16 {
            let again = node.get(&target).ok();
            assert!(again.body == first.body, "{}", file.name);
            assert_eq!(again.field("etag"), first.field("etag"));
        }
    }
}

#[test]
fn the_first_track_has_one_name_however_it_is_asked_for() {
    let node = node().arg("--demo").start();
    for name in ["strings.m4a", "strings.flac"] {
        let target = format!("/v1/pcm?src=demo:{name}");
        let (default, first) = (node.head(&target), node.head(&format!("{target}&track=0")));
        assert!(default.field("etag").is_some());
        assert_eq!(default.field("etag"), first.field("etag"), "{name}");
    }
}

#[test]
fn samples_without_a_head_can_be_accepted_by_their_type() {
    let node = node().arg("--demo").start();
    let target = "/v1/pcm?src=demo:strings.mp3&d=0.1";
    let accepted = node.get_with(target, "Accept: application/octet-stream\r\n").ok();
    assert_eq!(accepted.field("content-type"), Some("application/octet-stream"));
    assert!(accepted.field("x-audio-format").unwrap().starts_with("s16le;"));
    assert!(accepted.body == node.get(&format!("{target}&format=s16le")).ok().body);
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

/// With an origin at real-time speed, whether it knows ranges or not, the first PCM leaves before a tenth
/// of the body has come. Counted in bytes, and short songs come slower than that, so that a machine that is slow changes little.
#[test]
fn music_plays_before_a_tenth_of_it_has_come() {
    // Name, how often the audio is repeated, and how much slower it comes.
    let songs = [
        ("strings.mp3", 1, 4),
        ("strings-bare.mp3", 1, 2),
        ("strings.aac", 6, 1),
        ("strings.m4a", 1, 2),
        ("strings.ogg", 8, 1),
        ("strings.flac", 1, 8),
        ("strings.wav", 6, 1),
        ("strings.aiff", 6, 1),
    ];
    let songs = songs.map(|(name, times, slower)| {
        let song = file(name);
        let rate = song.bytes.len() as u64 * u64::from(song.rate_hz) / song.frames;
        (name, longer(song, times), rate / slower)
    });
    let origin = songs
        .iter()
        .fold(origin(), |origin, (name, bytes, rate)| {
            let origin = origin.file(name, bytes).at_rate(*rate);
            origin.file(&format!("all-{name}"), bytes).without_ranges().at_rate(*rate)
        })
        .start();
    let node = node().shards(2).origin(&origin).start();
    let hear = &|name: &str| {
        use std::io::{Read, Write};
        let mut stream = crate::client::connect(node.listen);
        let request =
            format!("GET /v1/pcm?src=origin:{name} HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen);
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = vec![0; 4096];
        let count = stream.read(&mut head).unwrap();
        let sent = origin.sent_bytes_by_now(name);
        assert!(head[..count].starts_with(b"HTTP/1.1 200"), "{name}");
        sent
    };
    std::thread::scope(|threads| {
        let both = |name: &&str| [String::from(*name), format!("all-{name}")];
        let names = songs.iter().flat_map(|(name, bytes, _)| both(name).map(|name| (name, bytes)));
        let heard: Vec<_> = names
            .map(|(name, bytes)| (name.clone(), bytes, threads.spawn(move || hear(&name))))
            .collect();
        for (name, bytes, heard) in heard {
            let (sent, all) = (heard.join().unwrap(), bytes.len() as u64);
            println!("{name}: {sent} of {all}, {:.1} %", sent as f64 * 100.0 / all as f64);
            assert!(sent * 10 < all, "{name} is heard after {sent} bytes of {all}");
        }
    });
}

/// The demo's file with its audio so many times: a tenth of five seconds is hardly a block.
fn longer(song: &demo::File, times: usize) -> Vec<u8> {
    let bytes = song.bytes;
    match &bytes[..4] {
        _ if times == 1 => bytes.to_vec(),
        b"RIFF" => {
            let (head, audio) = bytes.split_at(44);
            let mut head = head.to_vec();
            let audio = audio.repeat(times);
            head[4..8].copy_from_slice(&(audio.len() as u32 + 36).to_le_bytes());
            head[40..44].copy_from_slice(&(audio.len() as u32).to_le_bytes());
            [head, audio].concat()
        }
        b"FORM" => {
            let (head, audio) = bytes.split_at(54);
            let mut head = head.to_vec();
            let audio = audio.repeat(times);
            head[4..8].copy_from_slice(&(audio.len() as u32 + 46).to_be_bytes());
            head[22..26].copy_from_slice(&(song.frames as u32 * times as u32).to_be_bytes());
            head[42..46].copy_from_slice(&(audio.len() as u32 + 8).to_be_bytes());
            [head, audio].concat()
        }
        b"OggS" => longer_ogg(song, times),
        _ => bytes.repeat(times),
    }
}

/// The pages of the audio so many times, each time counted on (RFC 3533 section 6).
fn longer_ogg(song: &demo::File, times: usize) -> Vec<u8> {
    let (mut pages, mut rest) = (Vec::new(), song.bytes);
    while !rest.is_empty() {
        let lacing = usize::from(rest[26]);
        let body: usize = rest[27..27 + lacing].iter().map(|byte| usize::from(*byte)).sum();
        let (page, after) = rest.split_at(27 + lacing + body);
        pages.push(page);
        rest = after;
    }
    let granule = |page: &[u8]| u64::from_le_bytes(page[6..14].try_into().unwrap());
    let audio = pages.iter().position(|page| granule(page) > 0).unwrap();
    let (headers, audio) = pages.split_at(audio);
    let mut longer = headers.concat();
    let mut number = headers.len() as u32;
    for time in 0..times {
        for page in audio {
            let mut page = page.to_vec();
            page[5] = if time + 1 == times { page[5] } else { page[5] & !4 };
            let counted = granule(&page) + song.frames * time as u64;
            page[6..14].copy_from_slice(&counted.to_le_bytes());
            page[18..22].copy_from_slice(&number.to_le_bytes());
            page[22..26].fill(0);
            let sum = page.iter().fold(0u32, |sum, byte| {
                (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
                    (sum << 1) ^ if sum >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
                })
            });
            page[22..26].copy_from_slice(&sum.to_le_bytes());
            longer.extend(page);
            number += 1;
        }
    }
    longer
}
