//! HE-AAC: as ffmpeg decodes it, at its whole rate however it is announced, the same from wherever it is
//! begun, and in its place where it is damaged.

use std::{fs, path::Path, process::Command, time::Instant};

use crate::{
    WHOLE, ffmpeg, fragment_packets, has_ffmpeg,
    hear::{Feed, Heard, Random, hear, hear_by, scan, small},
};

/// Frames of one packet, and before the first point of the grid.
const PACKET: usize = 2048;
const GRID_FRAMES: usize = 256 * PACKET;
/// The most that a sample may be: what is louder is damage, and held there.
const LIMIT: f32 = 8.0;

/// The small files, what they are, the channels of their core, and how near ffmpeg they come.
const FILES: [(&str, &str, u8, f32); 2] =
    [("he-aac.mp4", "he-aac", 2, 1e-6), ("he-aac-v2.mp4", "he-aac-v2", 1, 1e-4)];

/// Packets in ADTS, whose headers tell of the core alone: of 22.05 kHz.
fn adts(packets: &[Vec<u8>], channels: u8) -> Vec<u8> {
    let frame = |packet: &Vec<u8>| {
        let length = packet.len() as u32 + 7;
        let mut frame = vec![0xFF, 0xF1, 0x40 | 7 << 2, channels << 6];
        frame[3] |= (length >> 11) as u8;
        frame.extend([(length >> 3) as u8, (length << 5) as u8 | 0x1F, 0xFC]);
        frame.extend(packet);
        frame
    };
    packets.iter().flat_map(frame).collect()
}

/// The small file whose core has so many channels, in ADTS.
pub(crate) fn high_efficiency(core: u8) -> Vec<u8> {
    let (file, ..) = FILES[usize::from(core == 1)];
    adts(&repeated(file, 1), core)
}

/// The packets of a small file, so many times in a row.
fn repeated(file: &str, times: usize) -> Vec<Vec<u8>> {
    let packets = fragment_packets(&small(file));
    packets.iter().cycle().take(packets.len() * times).cloned().collect()
}

fn heard(bytes: &[u8]) -> Heard {
    let heard = hear(bytes, WHOLE, 0);
    assert_eq!((&heard.error, heard.undecoded), (&None, 0));
    heard
}

/// Bytes in a file that goes with its value.
fn stored(bytes: &[u8], suffix: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    fs::write(file.path(), bytes).unwrap();
    file
}

/// The largest difference up to a frame, where our frame `lead` is ffmpeg's first, and the length of
/// what that makes.
fn difference(heard: &Heard, path: &Path, lead: usize, frames: usize) -> (f32, usize) {
    let theirs = ffmpeg(path).expect("ffmpeg decodes it");
    let channels = heard.planes.len();
    let mut worst = 0.0f32;
    for (channel, plane) in heard.planes.iter().enumerate() {
        let theirs = theirs.iter().skip(channel).step_by(channels);
        let pairs = plane.iter().skip(lead).zip(theirs).take(frames);
        worst = pairs.map(|(our, their)| (our - their).abs()).fold(worst, f32::max);
    }
    (worst, theirs.len() / channels)
}

#[test]
fn both_versions_are_what_ffmpeg_makes_of_them() {
    for (file, codec, _, most) in FILES {
        let heard = heard(&small(file));
        let info = heard.info.clone().expect("opened");
        let said = (info.container, info.codec, info.rate_hz, info.channels.count);
        assert_eq!(said, ("mp4", codec, 44_100, 2));
        assert_eq!(heard.frames(), 22 * PACKET);
        if has_ffmpeg() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/material").join(file);
            let (worst, frames) = difference(&heard, &path, 0, usize::MAX);
            println!("{file}: {worst:.1e}");
            assert!(worst < most && frames == heard.frames(), "{file}: {worst:.1e}, {frames}");
        }
    }
}

#[test]
fn it_is_the_same_whatever_announces_it() {
    for (file, codec, core, _) in FILES {
        let bytes = small(file);
        let whole = heard(&bytes);
        let in_adts = heard(&adts(&fragment_packets(&bytes), core));
        // Low Complexity at 22.05 kHz, and nothing behind it.
        let mut hidden = bytes.clone();
        let config = bytes.windows(2).position(|word| word == [5, 4]).expect("four bytes") + 2;
        hidden[config..config + 4].copy_from_slice(&[0x13, 0x80 | core << 3, 0, 0]);
        let hidden = heard(&hidden);
        for (other, container) in [(in_adts, "adts"), (hidden, "mp4")] {
            let info = other.info.expect("opened");
            let said = (info.container, info.codec, info.rate_hz, info.channels.count);
            assert_eq!(said, (container, codec, 44_100, 2));
            assert!(other.planes == whole.planes, "{file} in {container}");
        }
    }
}

#[test]
fn a_core_of_any_rate_is_played_at_twice_that() {
    let packets = fragment_packets(&small("he-aac.mp4"));
    let bytes = adts(&packets, 2);
    // 48, 44.1, 32, 24, 22.05 and 16 kHz: of another than its own it decodes to something else.
    for (rate, hz) in [(3, 48_000), (4, 44_100), (5, 32_000), (6, 24_000), (7, 22_050), (8, 16_000)]
    {
        let mut bytes = bytes.clone();
        let mut at = 0;
        for packet in &packets {
            bytes[at + 2] = 0x40 | rate << 2;
            at += packet.len() + 7;
        }
        let info = hear(&bytes, WHOLE, 0).info.expect("opened");
        assert_eq!((info.codec, info.rate_hz), ("he-aac", hz * 2));
    }
}

/// Where the one edit of a file starts in its media.
fn media_time(bytes: &[u8]) -> usize {
    let edit = bytes.windows(4).position(|name| name == b"elst").expect("an edit list") + 4;
    let time = bytes[edit + 12..edit + 16].try_into().expect("a word");
    u32::from_be_bytes(time) as usize
}

#[test]
fn files_begin_where_their_edit_lists_say_and_end_with_their_last_packet() {
    if !has_ffmpeg() {
        return;
    }
    for (file, _, core, most) in FILES {
        let stream = stored(&adts(&repeated(file, 1), core), ".aac");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/material").join(file);
        // Announced, and hidden behind a plain configuration; whole, and from within packet 10 on.
        for (input, filter) in [(source.as_path(), "null"), (stream.path(), "aac_adtstoasc")] {
            for (start, packets) in [("0", 22), ("0.48", 12)] {
                let made = stored(&[], ".m4a");
                let status = Command::new("ffmpeg")
                    .args(["-v", "error", "-y", "-ss", start, "-i"])
                    .arg(input)
                    .args(["-c", "copy", "-bsf:a", filter])
                    .arg(made.path())
                    .status();
                assert!(status.expect("ffmpeg runs").success());
                let bytes = fs::read(made.path()).unwrap();
                let heard = heard(&bytes);
                let skipped = media_time(&bytes);
                // ffmpeg takes the frames of an edit for those of a core, and skips twice as many.
                let (worst, frames) = difference(&heard, made.path(), skipped, usize::MAX);
                println!("{file} by {filter} from {start}: {worst:.1e}, {frames} frames");
                let promised = heard.info.as_ref().and_then(|info| info.frames);
                assert_eq!(promised, Some((packets * PACKET - skipped) as u64));
                assert_eq!(
                    (heard.frames(), frames),
                    (packets * PACKET - skipped, heard.frames() - skipped)
                );
                assert!(worst < most, "{file}: {worst:.1e}");
            }
        }
    }
}

/// A piece of music and noise by syom's encoder, in ADTS.
fn encoded(seconds: usize, channels: usize, is_second: bool) -> Vec<u8> {
    let mut random = Random(3);
    let noise: Vec<f32> = (0..997).map(|_| random.below(2000) as f32 / 1e3 - 1.0).collect();
    let plane = |channel: usize| -> Vec<f32> {
        let sample = |frame: usize| {
            let t = frame as f32 / 44_100.0;
            let tone = (t * (440.0 + 110.0 * channel as f32) * std::f32::consts::TAU).sin();
            let high = (t * 9000.0 * std::f32::consts::TAU).sin() * (t * 3.0).sin();
            0.2 * tone + 0.1 * high + 0.05 * noise[frame * (channel + 1) % noise.len()]
        };
        (0..seconds * 44_100).map(sample).collect()
    };
    let planes: Vec<Vec<f32>> = (0..channels).map(plane).collect();
    let options = syom::EncodeOptions::default().with_bitrate_bps(32_000).with_he(true);
    let options = if is_second { options.with_he_v2(true) } else { options };
    syom::encode_with(&planes, 44_100, &options).expect("it encodes")
}

#[test]
fn what_another_encoder_made_is_what_ffmpeg_makes_of_it() {
    if !has_ffmpeg() {
        return;
    }
    for (channels, is_second, codec) in
        [(1, false, "he-aac"), (2, false, "he-aac"), (2, true, "he-aac-v2")]
    {
        let bytes = encoded(11, channels, is_second);
        let heard = heard(&bytes);
        // Of one channel nobody knows but that a second may come.
        let info = heard.info.clone().expect("opened");
        assert_eq!((info.codec, info.channels.count, info.rate_hz), (codec, 2, 44_100));
        let file = stored(&bytes, ".aac");
        let (worst, frames) = difference(&heard, file.path(), 0, usize::MAX);
        println!("{codec} of {channels}: {worst:.1e}");
        assert!(worst < 1e-3 && frames == heard.frames(), "{worst:.1e}, {frames}");
    }
}

/// Energies of parts of four packets.
fn energies(samples: impl Iterator<Item = f32>) -> Vec<f32> {
    let samples: Vec<f32> = samples.collect();
    samples.chunks(4 * PACKET).map(|part| part.iter().map(|sample| sample * sample).sum()).collect()
}

#[test]
fn behind_the_grid_it_is_as_loud_as_ffmpeg_makes_it() {
    if !has_ffmpeg() {
        return;
    }
    for (file, _, core, _) in FILES {
        let bytes = adts(&repeated(file, 30), core);
        let heard = heard(&bytes);
        let theirs = ffmpeg(stored(&bytes, ".aac").path()).expect("ffmpeg decodes it");
        assert_eq!(theirs.len(), 2 * heard.frames());
        for (channel, plane) in heard.planes.iter().enumerate() {
            let theirs = energies(theirs.iter().skip(channel).step_by(2).copied());
            for (our, their) in energies(plane.iter().copied()).into_iter().zip(theirs) {
                assert!((our - their).abs() < 0.05 * their + 1e-3, "{file}: {our} {their}");
            }
        }
    }
}

#[test]
fn every_start_gives_the_frames_of_the_whole() {
    for (file, _, core, _) in FILES {
        // Headers come with every tenth packet; that with which the lead of a point begins has none.
        let bytes = adts(&repeated(file, 30), core);
        let whole = heard(&bytes);
        let total = whole.frames();
        let scanned = scan(&bytes, None);
        assert_eq!(scanned.total(), Some(total as u64));
        let mut random = Random(5);
        let mut starts: Vec<usize> = (0..3).map(|_| random.below(total as u64) as usize).collect();
        starts.extend([GRID_FRAMES - 1, GRID_FRAMES, 2 * GRID_FRAMES + 1, total - 1]);
        let feed = Feed { frames: 50_000, ..WHOLE };
        for from in starts {
            for index in [None, scanned.index.as_ref()] {
                let late = hear_by(&bytes, feed, from as u64, index);
                let pairs = late.planes.iter().zip(&whole.planes);
                let is_same = pairs
                    .fold(true, |so_far, (late, whole)| so_far && whole[from..].starts_with(late));
                assert!(is_same && late.frames() > 0 && late.error.is_none(), "{file} from {from}");
            }
        }
    }
}

#[test]
fn behind_a_damaged_packet_the_next_is_heard_though_it_has_no_header() {
    for (file, _, core, _) in FILES {
        let mut packets = repeated(file, 2);
        let whole = heard(&adts(&packets, core));
        // Headers come with packets 0, 10 and 20.
        packets[13].fill(0xFF);
        let damaged = hear(&adts(&packets, core), WHOLE, 0);
        assert_eq!((damaged.undecoded, damaged.frames()), (1, whole.frames()), "{file}");
        let energy = |heard: &Heard, packet: usize| {
            let part = &heard.planes[0][packet * PACKET..][..PACKET];
            part.iter().map(|sample| sample * sample).sum::<f32>()
        };
        assert!(damaged.planes[0][..13 * PACKET] == whole.planes[0][..13 * PACKET]);
        assert_eq!(energy(&damaged, 13), 0.0);
        // What was heard of the next is as late as the filters are: by half a packet.
        for packet in 16..30 {
            let (after, before) = (energy(&damaged, packet), energy(&whole, packet));
            assert!(
                (after - before).abs() < 0.2 * before + 1e-3,
                "{file} {packet}: {after} {before}"
            );
        }
    }
}

/// Damage of every kind in thousands of packets: no panic, no sample past the limit, and no packet that
/// holds the core for long.
#[test]
fn damaged_packets_neither_panic_nor_hang_nor_come_out_loud() {
    let mut random = Random(11);
    let (mut heard_frames, mut slowest) = (0, 0.0f32);
    for round in 0..1000 {
        let (file, _, core, _) = FILES[round % 2];
        let mut packets = fragment_packets(&small(file));
        for packet in &mut packets {
            if random.below(3) > 0 {
                continue;
            }
            for _ in 0..=random.below(4) {
                let at = random.below(packet.len() as u64) as usize;
                packet[at] ^= 1 << random.below(8);
            }
            if random.below(10) == 0 {
                packet.truncate(1 + random.below(packet.len() as u64) as usize);
            }
        }
        let bytes = adts(&packets, core);
        let began = Instant::now();
        let heard = hear(&bytes, WHOLE, random.below(2) * 9000);
        slowest = slowest.max(began.elapsed().as_secs_f32());
        assert_ne!(heard.error, Some(kithara::decode::Error::Panicked), "round {round}");
        for plane in &heard.planes {
            assert!(plane.iter().all(|sample| sample.abs() <= LIMIT), "round {round}");
        }
        heard_frames += heard.frames();
    }
    println!("{heard_frames} frames, the slowest file took {slowest:.2} s");
    assert!(heard_frames > 1000 * 10 * PACKET && slowest < 5.0);
}

/// Elements by the hundred in one packet: each takes time, so packets are no longer than they may be.
#[test]
fn a_packet_of_very_many_elements_does_not_hold_the_core() {
    let packets = fragment_packets(&small("he-aac.mp4"));
    // An element of one channel that holds nothing is 29 bits.
    let mut many = vec![0u8; 6000];
    let count = 6000 * 8 / 29 - 1;
    (0..3).for_each(|bit| many[(count * 29 + bit) / 8] |= 0x80 >> ((count * 29 + bit) % 8));
    let mut long = packets.clone();
    long.extend(std::iter::repeat_n(many, 50));
    let began = Instant::now();
    let heard = hear(&adts(&long, 2), WHOLE, 0);
    assert_eq!((heard.error, heard.undecoded), (None, 50));
    assert!(began.elapsed().as_secs() < 2, "{:?}", began.elapsed());
}
