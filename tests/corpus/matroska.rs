//! Matroska and WebM: as long as they say, to the frame, and whatever lies between their packets.

use std::{fs, rc::Rc};

use kithara::decode::Index;

use crate::{
    WHOLE, ffmpeg, has_ffmpeg,
    hear::{Feed, Random, hear, hear_by, is_same, scan, small},
    index::{check_start, encoded},
    ogg::packets,
    worst,
};

/// Nanoseconds of a frame of 48 kHz, times three.
const THREE_FRAMES_NS: u64 = 62_500;
/// Frames of a packet of `opus.ogg`.
const PACKET: usize = 960;
/// Frames that it is to be decoded before its first.
const PRESKIP: u64 = 312;

/// An element.
pub(crate) fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64 | 1 << 56).to_be_bytes();
    [id, &length, content].concat()
}

fn integer(id: &[u8], value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

/// A file of one track.
pub(crate) fn file(track: &[Vec<u8>], clusters: &[u8]) -> Vec<u8> {
    let info = [
        element(&[0x2A, 0xD7, 0xB1], &[0x0F, 0x42, 0x40]),
        element(&[0x4D, 0x80], b"test"),
        element(&[0x57, 0x41], b"test"),
    ];
    let segment = [
        element(&[0x15, 0x49, 0xA9, 0x66], &info.concat()),
        element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], &track.concat())),
        clusters.to_vec(),
    ];
    let head = element(&[0x1A, 0x45, 0xDF, 0xA3], &element(&[0x42, 0x82], b"matroska"));
    [head, element(&[0x18, 0x53, 0x80, 0x67], &segment.concat())].concat()
}

/// What is said of track 1, with these headers of its codec and this delay.
pub(crate) fn track(codec: &[u8], private: &[u8], rate_hz: f64, delay_ns: u64) -> Vec<Vec<u8>> {
    let audio = [element(&[0xB5], &rate_hz.to_be_bytes()), integer(&[0x9F], 1)].concat();
    let private = Some(private).filter(|private| !private.is_empty());
    vec![
        integer(&[0xD7], 1),
        integer(&[0x73, 0xC5], 1),
        integer(&[0x83], 2),
        element(&[0x86], codec),
        private.map_or_else(Vec::new, |private| element(&[0x63, 0xA2], private)),
        integer(&[0x56, 0xAA], delay_ns),
        element(&[0xE1], &audio),
    ]
}

/// How the packets of a file are put into it.
#[derive(Clone, Copy)]
struct Shape {
    /// Packets of a block.
    laced: usize,
    /// Blocks of a cluster.
    blocks: usize,
    /// What stands between blocks.
    between: fn(usize) -> Vec<u8>,
    has_sizes: bool,
}

const PLAIN: Shape = Shape { laced: 1, blocks: 10, between: |_| Vec::new(), has_sizes: true };

/// `opus.ogg` in Matroska, of which so many frames at the end are not to be heard.
fn opus_in(shape: Shape, discarded: u64) -> Vec<u8> {
    let packets = packets(&small("opus.ogg"));
    let (head, packets) = (&packets[0], &packets[2..]);
    let mut clusters = Vec::new();
    let count = packets.len();
    for (number, cluster) in packets.chunks(shape.laced * shape.blocks).enumerate() {
        let first = number * shape.laced * shape.blocks;
        let mut body = integer(&[0xE7], first as u64 * 20);
        for (block, laced) in cluster.chunks(shape.laced).enumerate() {
            body.extend((shape.between)(first + block));
            let at = block * shape.laced;
            let content = lace(at as i16 * 20, laced);
            match first + at + laced.len() == count && discarded > 0 {
                true => {
                    let padding = integer(&[0x75, 0xA2], discarded * THREE_FRAMES_NS / 3);
                    body.extend(element(&[0xA0], &[element(&[0xA1], &content), padding].concat()));
                }
                false => body.extend(element(&[0xA3], &content)),
            }
        }
        let id = &[0x1F, 0x43, 0xB6, 0x75];
        let unknown = [&id[..], &[0x01], &[0xFF; 7], &body].concat();
        clusters.extend(if shape.has_sizes { element(id, &body) } else { unknown });
    }
    file(&track(b"A_OPUS", head, 48_000.0, PRESKIP * THREE_FRAMES_NS / 3), &clusters)
}

/// A block of track 1 at a time behind that of its cluster, its packets laced in the manner of Xiph.
fn lace(ticks: i16, packets: &[Vec<u8>]) -> Vec<u8> {
    let [high, low] = ticks.to_be_bytes();
    let is_laced = packets.len() > 1;
    let mut block = vec![0x81, high, low, if is_laced { 2 } else { 0 }];
    if is_laced {
        block.push(packets.len() as u8 - 1);
        for packet in &packets[..packets.len() - 1] {
            block.extend(vec![255; packet.len() / 255]);
            block.push((packet.len() % 255) as u8);
        }
    }
    [block, packets.concat()].concat()
}

/// What lies between the blocks of a film.
fn pictures(number: usize) -> Vec<u8> {
    let picture = element(&[0xA3], &[&[0x82, 0, 0, 0x80][..], &vec![0xA3; 3000]].concat());
    let group = element(&[0xA0], &element(&[0xA1], &[&[0x82, 0, 0, 0][..], &[0x5A; 900]].concat()));
    let padding = element(&[0xEC], &[0xA3; 70]);
    [picture, group, padding].into_iter().take(number % 4).flatten().collect()
}

/// The same as `opus.ogg`.
#[track_caller]
fn assert_is_ogg(bytes: &[u8]) {
    let (ogg, heard) = (hear(&small("opus.ogg"), WHOLE, 0), hear(bytes, WHOLE, 0));
    assert_eq!((&heard.error, heard.undecoded), (&None, 0));
    assert_eq!(heard.frames(), ogg.frames());
    assert!(is_same(&heard, &ogg, 0));
    let info = heard.info.clone().expect("opened");
    assert_eq!((info.container, info.codec, info.rate_hz), ("matroska", "opus", 48_000));
    let scanned = scan(bytes, None);
    assert_eq!((scanned.total(), scanned.index), (Some(48_000), heard.index));
}

/// Frames of the last packet that `opus.ogg` does not have.
fn discarded() -> u64 {
    let count = packets(&small("opus.ogg")).len() - 2;
    (count * PACKET) as u64 - PRESKIP - 48_000
}

#[test]
fn opus_is_what_it_is_in_ogg_however_it_lies_in_clusters() {
    assert_is_ogg(&opus_in(PLAIN, discarded()));
    assert_is_ogg(&opus_in(Shape { laced: 3, ..PLAIN }, discarded()));
    assert_is_ogg(&opus_in(Shape { has_sizes: false, ..PLAIN }, discarded()));
    assert_is_ogg(&opus_in(Shape { between: pictures, ..PLAIN }, discarded()));
    // Another file behind it is not part of it.
    let whole = opus_in(PLAIN, discarded());
    assert_is_ogg(&[&whole[..], &whole].concat());
}

/// `opus.ogg` in one cluster, where the container says so much of what comes before the first frame.
fn delayed(delay_ns: u64) -> Vec<u8> {
    let packets = packets(&small("opus.ogg"));
    let all = cluster((0, &packets[2..]));
    file(&track(b"A_OPUS", &packets[0], 48_000.0, delay_ns), &all)
}

#[test]
fn opus_begins_where_its_own_header_says_whatever_the_container_does() {
    let ogg = hear(&small("opus.ogg"), WHOLE, 0);
    for delay_ns in [0, 1_083_333, PRESKIP * THREE_FRAMES_NS / 3, 80_000_000] {
        let heard = hear(&delayed(delay_ns), WHOLE, 0);
        assert_eq!((&heard.error, heard.undecoded), (&None, 0));
        assert_eq!(heard.frames() as u64, 48_000 + discarded(), "{delay_ns} ns");
        assert!(heard.planes[0][..48_000] == ogg.planes[0][..], "{delay_ns} ns");
    }
}

#[test]
fn what_is_discarded_at_the_end_is_all_that_is() {
    let whole = hear(&opus_in(PLAIN, 0), WHOLE, 0);
    assert_eq!(whole.frames() as u64, 48_000 + discarded());
    for frames in [1, 480, 959, 960] {
        let cut = hear(&opus_in(PLAIN, frames), WHOLE, 0);
        assert_eq!(cut.frames(), whole.frames() - frames as usize);
        assert!(whole.planes[0].starts_with(&cut.planes[0]));
    }
}

#[test]
fn a_late_start_is_a_slice_of_the_whole_by_an_index_or_without() {
    let packets = packets(&small("opus.ogg"));
    let long: Vec<_> = packets[2..].iter().cycle().take(2000).cloned().collect();
    let clusters: Vec<u8> = long.chunks(50).enumerate().flat_map(cluster).collect();
    let bytes = file(&track(b"A_OPUS", &packets[0], 48_000.0, 6_500_000), &clusters);
    let (whole, scanned) = (hear(&bytes, WHOLE, 0), scan(&bytes, None));
    assert_eq!((whole.frames(), &whole.index), (2000 * PACKET - 312, &scanned.index));
    let index = scanned.index.expect("an index");
    let index = Rc::new(Index::parse(&index.to_bytes()).expect("what was written is read"));
    let mut random = Random(3);
    for from in (0..12).map(|_| random.below(whole.frames() as u64)) {
        check_start(&whole, &bytes, Some(&index).filter(|_| from % 4 > 0), from).expect("a slice");
    }
    let feed = Feed { piece_bytes: 4 << 10, ..WHOLE };
    let late = hear_by(&bytes, feed, whole.frames() as u64 * 9 / 10, Some(&index));
    assert!(late.fed < bytes.len() / 2, "{} of {}", late.fed, bytes.len());
}

/// A second of packets.
fn cluster((number, packets): (usize, &[Vec<u8>])) -> Vec<u8> {
    let blocks = packets.iter().enumerate();
    let blocks = blocks.flat_map(|(at, packet)| {
        element(&[0xA3], &lace(at as i16 * 20, std::slice::from_ref(packet)))
    });
    let time = integer(&[0xE7], number as u64 * 1000);
    element(&[0x1F, 0x43, 0xB6, 0x75], &[time, blocks.collect()].concat())
}

#[test]
fn damaged_bytes_are_silence_as_long_as_they_lasted() {
    let bytes = opus_in(PLAIN, discarded());
    let whole = hear(&bytes, WHOLE, 0);
    for (at, count) in [(3, 400), (2, 30), (5, 1000), (7, 3)] {
        let mut damaged = bytes.clone();
        let at = bytes.len() / 10 * at;
        damaged[at..at + count].fill(0x55);
        let heard = hear(&damaged, WHOLE, 0);
        assert_eq!((&heard.error, heard.frames()), (&None, whole.frames()), "{count} at {at}");
        assert_eq!(scan(&damaged, None).total(), Some(48_000), "{count} at {at}");
    }
    // A whole cluster.
    let starts = clusters(&bytes);
    let mut damaged = bytes.clone();
    damaged[starts[2]..starts[3]].fill(0);
    let heard = hear(&damaged, WHOLE, 0);
    assert_eq!((&heard.error, heard.frames(), heard.undecoded), (&None, whole.frames(), 10));
    let lost = 20 * PACKET - 312..30 * PACKET - 312;
    assert!(heard.planes[0][lost.clone()].iter().all(|sample| *sample == 0.0));
    assert!(heard.planes[0][..lost.start] == whole.planes[0][..lost.start]);
}

/// Where clusters start.
fn clusters(bytes: &[u8]) -> Vec<usize> {
    let is_one = |at: &usize| bytes[*at..].starts_with(&[0x1F, 0x43, 0xB6, 0x75]);
    (0..bytes.len()).filter(is_one).collect()
}

#[test]
fn a_time_that_lies_ages_ahead_behind_damage_is_no_silence_without_end() {
    let mut bytes = opus_in(PLAIN, discarded());
    let start = clusters(&bytes)[2];
    // The block before it, and its header.
    bytes[start - 130..start].fill(0x55);
    // Behind the headers of the cluster and of its time.
    bytes[start + 12 + 9..][..8].fill(0xFF);
    let heard = hear(&bytes, WHOLE, 0);
    assert_eq!(heard.error, None);
    assert!(heard.frames() <= 48_000, "{}", heard.frames());
}

#[test]
fn any_damage_ends_in_frames_or_an_error() {
    let bytes = opus_in(Shape { between: pictures, laced: 2, ..PLAIN }, 100);
    let mut random = Random(5);
    for round in 0..200 {
        let mut damaged = bytes.clone();
        for _ in 0..=random.below(40) {
            let at = random.below(damaged.len() as u64) as usize;
            damaged[at] = random.below(256) as u8;
        }
        damaged.truncate(1 + random.below(damaged.len() as u64) as usize);
        let heard = hear(&damaged, WHOLE, random.below(2) * 9000);
        assert_ne!(heard.error, Some(kithara::decode::Error::Panicked), "round {round}");
    }
}

/// What ffmpeg decodes of bytes; Opus by libopus, as a name in it has that.
fn theirs(bytes: &[u8], is_opus: bool) -> Vec<f32> {
    let suffix = if is_opus { ".opus" } else { ".mka" };
    let file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    fs::write(file.path(), bytes).unwrap();
    ffmpeg(file.path()).expect("ffmpeg decodes it")
}

#[test]
fn what_ffmpeg_writes_is_as_long_as_it_reads_it() {
    if !has_ffmpeg() {
        return;
    }
    let kinds: [(&[&str], &str); 13] = [
        // Of these the container says another delay than the header of Opus.
        (&["-c:a", "libopus", "-ar", "8000"], ".webm"),
        (&["-c:a", "libopus", "-ar", "12000"], ".mka"),
        (&["-c:a", "libopus", "-ar", "24000"], ".webm"),
        (&["-c:a", "libopus", "-b:a", "96k"], ".webm"),
        (&["-c:a", "libopus", "-b:a", "64k", "-frame_duration", "2.5"], ".mka"),
        (&["-c:a", "libopus", "-b:a", "32k", "-ac", "1", "-frame_duration", "60"], ".webm"),
        (&["-c:a", "libvorbis", "-q:a", "3"], ".webm"),
        (&["-c:a", "libvorbis", "-q:a", "3"], ".mka"),
        (&["-c:a", "aac", "-b:a", "128k", "-aac_pns", "0"], ".mka"),
        (&["-c:a", "flac"], ".mka"),
        (&["-c:a", "alac"], ".mka"),
        (&["-c:a", "pcm_s24le"], ".mka"),
        (&["-c:a", "libmp3lame", "-b:a", "128k"], ".mka"),
    ];
    for (arguments, suffix) in kinds {
        for length in ["4.2", "3.00317"] {
            let bytes = encoded(5, &[arguments, &["-t", length]].concat(), suffix);
            let is_opus = arguments.contains(&"libopus");
            let (ours, theirs) = (hear(&bytes, WHOLE, 0), theirs(&bytes, is_opus));
            let channels = ours.planes.len();
            assert_eq!((&ours.error, ours.undecoded), (&None, 0), "{arguments:?}");
            println!("{arguments:?} {length}: {} {}", ours.frames(), theirs.len() / channels);
            if is_opus {
                let rate_hz = arguments.iter().position(|word| *word == "-ar");
                let rate_hz = rate_hz.map_or("44100", |at| arguments[at + 1]);
                let [rate_hz, length] = [rate_hz, length].map(|text| text.parse::<f64>().unwrap());
                let source = (length * rate_hz).ceil() / rate_hz * 48_000.0;
                // It is resampled before it is encoded, where that is 44.1 kHz.
                assert!((ours.frames() as f64 - source).abs() < 9.0, "{arguments:?}: {source}");
            }
            let scanned = scan(&bytes, None);
            assert_eq!(scanned.total(), Some(ours.frames() as u64), "{arguments:?}");
            assert_eq!(ours.frames(), theirs.len() / channels, "{arguments:?} {length}");
            let (worst, _) = worst(&ours, &theirs, 0);
            assert!(worst < 1e-3, "{arguments:?} {length}: {worst:.1e}");
        }
    }
}
