//! MPEG-TS: what is played out of it is what is played bare, however it is cut, and lies in its place
//! where something is missing.

use std::{collections::BTreeMap, fs, rc::Rc};

use kithara::decode::{Error, Index};

use crate::{
    WHOLE, ffmpeg, files, has_ffmpeg,
    he_aac::high_efficiency,
    hear::{Feed, Heard, Random, hear, hear_by, hear_track, is_same, scan, small, strings},
    index::check_start,
    material, worst,
};

/// Bytes of a packet.
const PACKET: usize = 188;
/// Ticks of a second.
const SECOND: u64 = 90_000;
/// Packets of MP3 that need those before them to be decoded.
const RESERVOIR: usize = 4;
/// ADTS and MPEG audio in the tables.
const ADTS: u8 = 0x0F;
const MPEG: u8 = 0x03;

/// Writes a transport stream of one program.
#[derive(Clone)]
struct Writer {
    bytes: Vec<u8>,
    /// Number of the next packet of each stream.
    counters: BTreeMap<u16, u8>,
    map_pid: u16,
    /// The streams by number, type and descriptors.
    streams: Vec<(u16, u8, &'static [u8])>,
}

impl Writer {
    fn new(map_pid: u16, streams: &[(u16, u8, &'static [u8])]) -> Self {
        Self { bytes: vec![], counters: BTreeMap::new(), map_pid, streams: streams.to_vec() }
    }

    /// One stream of a type.
    fn of(kind: u8) -> Self {
        Self::new(0x1000, &[(0x101, kind, &[])])
    }

    /// Adds a packet that carries as much of `payload` as fits; gives what does not.
    fn packet<'a>(&mut self, pid: u16, is_start: bool, payload: &'a [u8]) -> &'a [u8] {
        let counter = self.counters.entry(pid).or_default();
        let count = payload.len().min(PACKET - 4);
        let stuffing = PACKET - 4 - count;
        let control = if stuffing > 0 { 0x30 } else { 0x10 } | *counter;
        *counter = (*counter + 1) & 15;
        let start = if is_start { 0x40 } else { 0 };
        self.bytes.extend([0x47, start | (pid >> 8) as u8, pid as u8, control]);
        if stuffing > 0 {
            self.bytes.push(stuffing as u8 - 1);
            let field = [&[0][..], &[0xFF; PACKET]].concat();
            self.bytes.extend(&field[..stuffing - 1]);
        }
        self.bytes.extend(&payload[..count]);
        &payload[count..]
    }

    fn section(&mut self, pid: u16, id: u8, number: u16, entries: &[u8]) {
        let length = entries.len() as u8 + 9;
        let mut section = vec![id, 0xB0, length, (number >> 8) as u8, number as u8, 0xC1, 0, 0];
        section.extend(entries);
        section.extend(sum(&section).to_be_bytes());
        self.packet(pid, true, &[&[0], &section[..], &vec![0xFF; 183 - section.len()]].concat());
    }

    fn tables(&mut self) -> &mut Self {
        let map_pid = self.map_pid.to_be_bytes();
        self.section(0, 0, 1, &[0, 1, 0xE0 | map_pid[0], map_pid[1]]);
        let mut entries = vec![0xE1, 0, 0xF0, 0];
        for (pid, kind, said) in &self.streams {
            let [high, low] = pid.to_be_bytes();
            entries.extend([*kind, 0xE0 | high, low, 0xF0, said.len() as u8]);
            entries.extend(*said);
        }
        self.section(self.map_pid, 2, 1, &entries);
        self
    }

    /// Adds a PES packet of the first stream; of a length of 0 if `has_length` is not set.
    fn pes(&mut self, pts: Option<u64>, payload: &[u8], has_length: bool) -> &mut Self {
        let more = pts.map_or_else(Vec::new, |pts| {
            let pts = pts % (1 << 33);
            let parts = [0x21 | pts >> 29 & 14, pts >> 22, pts >> 14 | 1, pts >> 7, pts << 1 | 1];
            parts.map(|part| part as u8).to_vec()
        });
        let length = if has_length { payload.len() + 3 + more.len() } else { 0 };
        let mut head = vec![0, 0, 1, 0xC0];
        head.extend((length as u16).to_be_bytes());
        head.extend([0x80, if pts.is_some() { 0x80 } else { 0 }, more.len() as u8]);
        let bytes = [&head, &more, payload].concat();
        let (pid, mut is_start, mut rest) = (self.streams[0].0, true, &bytes[..]);
        while !rest.is_empty() {
            rest = self.packet(pid, is_start, rest);
            is_start = false;
        }
        self
    }

    /// Adds PES packets of so many frames each, the first at a time.
    fn frames(&mut self, stream: &Stream, together: usize, from: u64) -> &mut Self {
        let mut at = 0;
        for frames in stream.frames.chunks(together) {
            self.pes(Some(from + stream.ticks(at)), &frames.concat(), true);
            at += frames.len();
        }
        self
    }
}

/// The sum behind a section.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            (sum << 1) ^ if sum >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    })
}

/// Frames in a row, and how long one is.
#[derive(Clone)]
struct Stream {
    kind: u8,
    frames: Vec<Vec<u8>>,
    /// Samples of a frame, of 44.1 kHz.
    samples: usize,
}

impl Stream {
    fn adts(times: usize) -> Self {
        let length = |head: &[u8]| {
            usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5] >> 5)
        };
        Self::cut(ADTS, &strings("strings.aac").repeat(times), 1024, length)
    }

    fn mp3() -> Self {
        const KBITS: [usize; 15] =
            [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
        let length = |head: &[u8]| {
            144_000 * KBITS[usize::from(head[2] >> 4)] / 44_100 + usize::from(head[2] >> 1 & 1)
        };
        Self::cut(MPEG, &strings("strings-bare.mp3"), 1152, length)
    }

    fn cut(kind: u8, mut bytes: &[u8], samples: usize, length: impl Fn(&[u8]) -> usize) -> Self {
        let mut frames = Vec::new();
        while bytes.len() > 7 && length(bytes) <= bytes.len() {
            assert_eq!(bytes[0], 0xFF);
            let (frame, rest) = bytes.split_at(length(bytes));
            frames.push(frame.to_vec());
            bytes = rest;
        }
        assert!(frames.len() > 80, "{}", frames.len());
        Self { kind, frames, samples }
    }

    fn bare(&self) -> Vec<u8> {
        self.frames.concat()
    }

    /// When a frame is to be heard.
    fn ticks(&self, frame: usize) -> u64 {
        (frame * self.samples) as u64 * SECOND / 44_100
    }

    /// Some of the frames.
    fn part(&self, range: std::ops::Range<usize>) -> Self {
        Self { frames: self.frames[range].to_vec(), ..self.clone() }
    }
}

/// What a stream is by itself.
fn bare(stream: &Stream) -> Heard {
    let heard = hear(&stream.bare(), WHOLE, 0);
    assert_eq!((&heard.error, heard.undecoded), (&None, 0));
    assert_eq!(heard.frames(), stream.frames.len() * stream.samples);
    heard
}

/// Panics unless bytes are played as the whole was, and a scan counts so much.
#[track_caller]
fn assert_is(bytes: &[u8], whole: &Heard) {
    let heard = hear(bytes, WHOLE, 0);
    assert_eq!((&heard.error, heard.undecoded), (&None, 0));
    assert_eq!(heard.frames(), whole.frames());
    assert!(is_same(&heard, whole, 0));
    let info = heard.info.clone().expect("opened");
    assert_eq!((info.container, info.frames), ("mpegts", None));
    assert_eq!(Some(info.codec), whole.info.as_ref().map(|info| info.codec));
    let scanned = scan(bytes, None);
    assert_eq!(scanned.total(), Some(whole.frames() as u64));
    assert_eq!(scanned.index, heard.index);
}

#[test]
fn frames_in_a_transport_stream_are_played_as_they_are_bare() {
    for stream in [Stream::adts(1), Stream::mp3()] {
        let whole = bare(&stream);
        for together in [1, 7, 40] {
            let written = Writer::of(stream.kind).tables().frames(&stream, together, 0).clone();
            assert_is(&written.bytes, &whole);
        }
        // One whose length is not said, and which is not said to be heard at any time.
        let written = Writer::of(stream.kind).tables().pes(None, &stream.bare(), false).clone();
        assert_is(&written.bytes, &whole);
    }
}

#[test]
fn what_ffmpeg_writes_is_played_too() {
    let stream = Stream::adts(1).part(0..44);
    let heard = hear(&small("aac.ts"), WHOLE, 0);
    assert_eq!((heard.frames(), &heard.error), (44 * 1024, &None));
    assert!(is_same(&heard, &bare(&stream), 0));
}

#[test]
fn frames_may_cross_packets_of_any_length() {
    let stream = Stream::adts(1);
    let whole = bare(&stream);
    let mut random = Random(3);
    for most in [3, 200, 3000] {
        let (bytes, mut at) = (stream.bare(), 0);
        let mut writer = Writer::of(stream.kind);
        writer.tables();
        while at < bytes.len() {
            let count = (1 + random.below(most) as usize).min(bytes.len() - at);
            // Times that are of no frame are not looked at where nothing is missing.
            let pts = Some(random.below(1 << 33)).filter(|pts| pts % 2 == 0);
            writer.pes(pts, &bytes[at..at + count], random.below(2) == 0);
            at += count;
        }
        assert_is(&writer.bytes, &whole);
    }
}

#[test]
fn segments_in_a_row_are_one_stream_though_each_begins_anew() {
    let stream = Stream::adts(2);
    let whole = bare(&stream);
    let mut segments = Vec::new();
    for (number, at) in (0..stream.frames.len()).step_by(43).enumerate() {
        let part = stream.part(at..stream.frames.len().min(at + 43));
        // Numbers of streams, of packets and of the map, all of them other ones.
        let pid = 0x101 + number as u16 % 3;
        let mut writer =
            Writer::new(0x1000 + number as u16 % 2, &[(pid, ADTS, &[]), (0x90, 0x1B, &[])]);
        writer.counters = BTreeMap::from([(0, 5), (pid, number as u8 * 7 % 16)]);
        writer.tables().frames(&part, 9, (1 << 33) - 3 * SECOND + stream.ticks(at));
        segments.extend(writer.bytes);
    }
    assert_is(&segments, &whole);
}

#[test]
fn a_frame_may_begin_in_one_segment_and_end_in_the_next() {
    let stream = Stream::adts(1);
    let bytes = stream.bare();
    let mut segments = Vec::new();
    for (number, piece) in bytes.chunks(20_011).enumerate() {
        let mut writer = Writer::of(ADTS);
        writer.counters.insert(0x101, number as u8 * 5 % 16);
        segments.extend(writer.tables().pes(None, piece, false).bytes.clone());
    }
    assert_is(&segments, &bare(&stream));
}

/// The frames from the first to the last in which two decodes differ.
fn difference(one: &Heard, other: &Heard) -> std::ops::Range<usize> {
    let (one, other) = (&one.planes[0], &other.planes[0]);
    let differs = |at: &usize| one[*at] != other[*at];
    let mut frames = 0..one.len().min(other.len());
    let first = frames.clone().find(differs).unwrap_or(usize::MAX);
    first..frames.rfind(differs).map_or(first, |last| last + 1)
}

#[test]
fn packets_that_are_missing_are_silence_in_their_place() {
    let stream = Stream::mp3();
    let whole = bare(&stream);
    let written = Writer::of(MPEG).tables().frames(&stream, 8, SECOND).clone().bytes;
    let packets = written.len() / PACKET;
    for (at, count) in [(packets / 3, 1), (packets / 2, 2), (packets / 2 + 1, 5), (packets / 4, 15)]
    {
        let cut = [&written[..at * PACKET], &written[(at + count) * PACKET..]].concat();
        let heard = hear(&cut, WHOLE, 0);
        assert_eq!((&heard.error, heard.frames()), (&None, whole.frames()), "{count} at {at}");
        let lost = heard.undecoded as usize;
        // Those that are hurt, and those that need what is lost to be decoded.
        let hurt = difference(&whole, &heard);
        assert!((1..=count + RESERVOIR).contains(&lost), "{count} at {at}: {lost} lost");
        assert!(hurt.len() <= (lost + 4) * 1152, "{count} at {at}: {hurt:?}, {lost} lost");
        let silent = hurt.start.next_multiple_of(1152)..hurt.start.next_multiple_of(1152) + 100;
        assert!(heard.planes[0][silent].iter().all(|sample| *sample == 0.0));
        assert_eq!(scan(&cut, None).total(), Some(whole.frames() as u64));
    }
}

#[test]
fn a_segment_that_is_missing_is_silence_of_its_length() {
    let stream = Stream::mp3();
    let whole = bare(&stream);
    let segment = |from: usize, to: usize| {
        let mut writer = Writer::of(MPEG);
        writer.counters.insert(0x101, from as u8 % 16);
        writer.tables().frames(&stream.part(from..to), 8, stream.ticks(from)).bytes.clone()
    };
    let last = stream.frames.len();
    let heard = hear(&[segment(0, 30), segment(60, last)].concat(), WHOLE, 0);
    assert_eq!(heard.frames(), whole.frames());
    assert!((30..=30 + RESERVOIR as u64).contains(&heard.undecoded), "{}", heard.undecoded);
    assert!(heard.planes[0][30 * 1152..60 * 1152].iter().all(|sample| *sample == 0.0));
    assert!(heard.planes[0][..30 * 1152] == whole.planes[0][..30 * 1152]);
    assert!(heard.planes[0][65 * 1152..] == whole.planes[0][65 * 1152..]);
}

#[test]
fn times_that_start_anew_are_no_loss() {
    let stream = Stream::adts(1);
    let half = stream.frames.len() / 2;
    for second in [0, 3 * SECOND, 3600 * SECOND] {
        let mut first = Writer::of(ADTS);
        first.tables().frames(&stream.part(0..half), 5, 60 * SECOND);
        let mut other = Writer::of(ADTS);
        other.tables().frames(&stream.part(half..stream.frames.len()), 5, second);
        assert_is(&[first.bytes, other.bytes].concat(), &bare(&stream));
    }
}

#[test]
fn a_stream_that_says_that_its_time_is_new_has_lost_nothing() {
    let stream = Stream::adts(1);
    let half = stream.frames.len() / 2;
    let mut first = Writer::of(ADTS);
    first.tables().frames(&stream.part(0..half), 5, 0);
    let mut other = Writer::of(ADTS);
    let rest = stream.part(half..stream.frames.len());
    // Four seconds later than it should be.
    other.tables().frames(&rest, 5, stream.ticks(half) + 4 * SECOND);
    let at = 2 * PACKET;
    let silent = hear(&[&first.bytes[..], &other.bytes].concat(), WHOLE, 0);
    assert!(silent.undecoded > 150, "{}", silent.undecoded);
    // A packet that carries nothing says so.
    let said = [&[0x47, 0x01, 0x01, 0x20, 183, 0x80][..], &[0xFF; 182]].concat();
    let bytes = [&first.bytes[..], &other.bytes[..at], &said, &other.bytes[at..]].concat();
    assert_is(&bytes, &bare(&stream));
}

#[test]
fn packets_of_others_and_packets_that_come_twice_change_nothing() {
    let stream = Stream::adts(1);
    let written = Writer::of(ADTS).tables().frames(&stream, 6, 0).clone().bytes;
    let mut random = Random(9);
    let mut bytes = Vec::new();
    for packet in written.chunks(PACKET) {
        bytes.extend(packet);
        let mut other = packet.to_vec();
        match random.below(4) {
            0 => (other[1], other[2]) = (0x1F, 0xFF),
            1 => (other[1], other[2]) = (0x42, 0x10),
            2 => {}
            _ => continue,
        }
        bytes.extend(other);
    }
    assert_is(&bytes, &bare(&stream));
}

#[test]
fn packets_may_have_a_time_before_them_or_parity_behind() {
    let stream = Stream::adts(1);
    let whole = bare(&stream);
    let written = Writer::of(ADTS).tables().frames(&stream, 6, 0).clone().bytes;
    let around = |before: usize, behind: usize| -> Vec<u8> {
        let packets = written.chunks(PACKET);
        packets.flat_map(|packet| [&vec![7; before], packet, &vec![7; behind]].concat()).collect()
    };
    assert_is(&around(4, 0), &whole);
    assert_is(&around(0, 16), &whole);
}

#[test]
fn bytes_that_are_no_packet_are_passed() {
    let stream = Stream::mp3();
    let whole = bare(&stream);
    let written = Writer::of(MPEG).tables().frames(&stream, 6, 0).clone().bytes;
    let half = written.len() / 2 / PACKET * PACKET;
    let with_junk = [&written[..half], &[0x47; 77], &[0; 500], &written[half..]].concat();
    assert_is(&with_junk, &whole);
    // Cut anywhere and going on anywhere.
    let cut = [&written[..half - 100], &written[half + 300..]].concat();
    let heard = hear(&cut, WHOLE, 0);
    assert_eq!((heard.frames(), heard.error), (whole.frames(), None));
}

#[test]
fn what_is_not_decoded_is_refused_by_its_name() {
    let cases: [(u8, &[u8], &str); 8] = [
        (0x81, &[], "ac3"),
        (0x87, &[], "eac3"),
        (0x11, &[], "aac_latm"),
        (0x06, &[0x05, 4, b'O', b'p', b'u', b's'], "opus"),
        (0x06, &[0x6A, 1, 0], "ac3"),
        (0xCF, &[], "aac (SAMPLE-AES)"),
        (0xC1, &[], "ac3 (SAMPLE-AES)"),
        (0x82, &[], "dts"),
    ];
    for (kind, said, name) in cases {
        let written = Writer::new(0x100, &[(0x101, kind, said)]).tables().clone();
        let refused = hear(&written.bytes.repeat(3), WHOLE, 0).error;
        assert_eq!(refused, Some(Error::Unsupported { name: name.into() }));
    }
    let layer_2 = Stream {
        kind: MPEG,
        frames: vec![[&[0xFF, 0xFD, 0x80, 0][..], &[0; 413]].concat(); 9],
        samples: 1152,
    };
    let written = Writer::of(MPEG).tables().frames(&layer_2, 3, 0).clone();
    assert_eq!(
        hear(&written.bytes, WHOLE, 0).error,
        Some(Error::Unsupported { name: "mp2".into() })
    );
    let video = Writer::new(0x100, &[(0x101, 0x1B, &[]), (0x102, 0x06, &[])]).tables().clone();
    assert_eq!(hear(&video.bytes.repeat(3), WHOLE, 0).error, Some(Error::NoAudio));
    let nothing = Writer::of(ADTS).tables().clone();
    let error = hear(&nothing.bytes.repeat(3), WHOLE, 0).error;
    assert!(matches!(error, Some(Error::Damaged { .. })), "{error:?}");
}

/// Packets of pictures.
fn pictures(bytes: usize) -> Vec<u8> {
    let packet = [&[0x47, 0x01, 0x00, 0x10][..], &[0x5A; PACKET - 4]].concat();
    packet.repeat(bytes / PACKET)
}

#[test]
fn audio_that_is_listed_and_never_comes_is_not_looked_for_to_the_end() {
    let listed = Writer::of(ADTS).tables().clone().bytes;
    for endless in [pictures(40 << 20), vec![0; 40 << 20]] {
        let begun = pictures(4 * PACKET);
        let heard = hear(&[&listed[..], &begun, &endless].concat(), WHOLE, 0);
        let why = "there is no frame of audio in its first 16 MiB";
        assert_eq!(heard.error, Some(Error::Damaged { why: why.into() }));
        assert!(heard.fed <= 17 << 20, "{} bytes", heard.fed);
    }
}

#[test]
fn audio_may_begin_behind_seconds_of_pictures() {
    let stream = Stream::mp3();
    let mut writer = Writer::of(MPEG).tables().clone();
    writer.bytes.extend(pictures(12 << 20));
    writer.frames(&stream, 9, 0);
    assert_is(&writer.bytes, &bare(&stream));
}

#[test]
fn tables_that_never_come_are_not_looked_for_to_the_end() {
    let bytes = [pictures(PACKET * 6), vec![0; 40 << 20]].concat();
    let heard = hear(&bytes, WHOLE, 0);
    assert!(matches!(heard.error, Some(Error::Damaged { .. })), "{:?}", heard.error);
    assert!(heard.fed <= 5 << 20, "{} bytes", heard.fed);
}

#[test]
fn scrambled_packets_are_refused_and_in_the_middle_are_missing() {
    let stream = Stream::mp3();
    let written = Writer::of(MPEG).tables().frames(&stream, 6, 0).clone().bytes;
    let scrambled = |from: usize, to: usize| {
        let mut bytes = written.clone();
        let packets = bytes.chunks_mut(PACKET).take(to).skip(from);
        packets.for_each(|packet| packet[3] |= 0x80);
        bytes
    };
    let error = hear(&scrambled(2, usize::MAX), WHOLE, 0).error;
    assert_eq!(error, Some(Error::Unsupported { name: "scrambled mpegts".into() }));
    let heard = hear(&scrambled(50, 60), WHOLE, 0);
    assert_eq!((heard.frames(), heard.error), (stream.frames.len() * 1152, None));
    assert!((3..=10 + RESERVOIR as u64).contains(&heard.undecoded), "{}", heard.undecoded);
}

#[test]
fn the_track_is_chosen_by_its_place_in_the_first_program_with_audio() {
    let (aac, mp3) = (Stream::adts(1), Stream::mp3());
    let mut writer =
        Writer::new(0x100, &[(0x101, 0x1B, &[]), (0x102, MPEG, &[]), (0x103, ADTS, &[])]);
    writer.tables();
    writer.streams.remove(0);
    writer.frames(&mp3, 5, 0);
    writer.streams.remove(0);
    writer.frames(&aac, 5, 0);
    let first = hear(&writer.bytes, WHOLE, 0);
    assert!(is_same(&first, &bare(&mp3), 0));
    let track = |track| hear_track(&writer.bytes, track);
    assert!(is_same(&track(1), &bare(&aac), 0));
    assert_eq!(track(2).error, Some(Error::NoTrack { tracks: 2 }));
}

#[test]
fn a_late_start_is_a_slice_of_the_whole_whatever_is_damaged() {
    let mut random = Random(17);
    for (stream, together) in [(Stream::adts(6), 4), (Stream::mp3(), 3), (Stream::adts(5), 17)] {
        let written = Writer::of(stream.kind).tables().frames(&stream, together, 0).clone().bytes;
        for round in 0..6 {
            let mut bytes = written.clone();
            for _ in 0..round {
                let at = 2 * PACKET + random.below((bytes.len() - 2000) as u64) as usize;
                let length = 1 + random.below(600) as usize;
                match random.below(3) {
                    0 => bytes[at..at + length].fill(0x55),
                    1 => drop(bytes.drain(at..at + length)),
                    _ => bytes[at] ^= 1 << random.below(8),
                }
            }
            let whole = hear(&bytes, WHOLE, 0);
            let scanned = scan(&bytes, None);
            assert_eq!(scanned.total(), Some(whole.frames() as u64), "round {round}");
            assert_eq!(scanned.index, whole.index, "round {round}");
            let index = scanned.index.expect("an index");
            assert!(index.reach() > 0, "round {round}");
            let index = Rc::new(Index::parse(&index.to_bytes()).expect("what was written is read"));
            for from in (0..8).map(|_| random.below(whole.frames() as u64)) {
                let index = Some(&index).filter(|_| from % 4 != 3);
                check_start(&whole, &bytes, index, from).expect("a slice");
            }
        }
    }
}

#[test]
fn a_late_start_by_an_index_reads_little_of_what_lies_before() {
    let stream = Stream::adts(12);
    let bytes = Writer::of(ADTS).tables().frames(&stream, 4, 0).clone().bytes;
    let index = scan(&bytes, None).index.expect("an index");
    let whole = hear(&bytes, WHOLE, 0);
    let feed = Feed { piece_bytes: 4 << 10, ..WHOLE };
    let late = hear_by(&bytes, feed, whole.frames() as u64 * 9 / 10, Some(&index));
    assert!(late.fed < bytes.len() / 2, "{} of {}", late.fed, bytes.len());
}

#[test]
fn damage_ends_in_frames_or_an_error() {
    let mut random = Random(23);
    let stream = Stream::mp3().part(0..40);
    let written = Writer::of(stream.kind).tables().frames(&stream, 3, 0).clone().bytes;
    for round in 0..400 {
        let mut bytes = written.clone();
        for _ in 0..=random.below(60) {
            let at = random.below(bytes.len() as u64) as usize;
            // Heads of packets more often than what they carry.
            let at = if random.below(2) == 0 { at / PACKET * PACKET + at % 20 } else { at };
            bytes[at % written.len()] ^= 1 << random.below(8);
        }
        bytes.truncate(1 + random.below(bytes.len() as u64) as usize);
        let heard = hear(&bytes, WHOLE, random.below(2) * 9000);
        assert_ne!(heard.error, Some(Error::Panicked), "round {round}");
    }
}

#[test]
fn real_segments_in_a_row_are_what_ffmpeg_makes_of_them() {
    /// What ffmpeg 5.1 makes of their playlist: all but a first frame that holds only the encoder's name.
    const FRAMES: usize = 1_522_688;
    let Some(root) = material() else { return };
    let folder = root.with_file_name("hls").join("shaka_hls-ts-aac");
    let paths = files(&folder).into_iter();
    let segments = paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "ts"));
    let bytes: Vec<u8> = segments.flat_map(|path| fs::read(path).unwrap()).collect();
    let heard = hear(&bytes, WHOLE, 0);
    assert_eq!((heard.frames(), &heard.error, heard.undecoded), (FRAMES + 1024, &None, 0));
    let scanned = scan(&bytes, None);
    assert_eq!(scanned.total(), Some(heard.frames() as u64));
    for from in [400_000, 1_000_000, 1_500_000] {
        check_start(&heard, &bytes, scanned.index.as_ref(), from).expect("a slice");
    }
    if has_ffmpeg() {
        let file = tempfile::Builder::new().suffix(".ts").tempfile().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        let theirs = ffmpeg(file.path()).expect("ffmpeg decodes it");
        assert_eq!(theirs.len(), 2 * FRAMES);
        let (worst, _) = worst(&heard, &theirs, 1024);
        assert!(worst < 1e-3, "{worst}");
    }
}

#[test]
fn high_efficiency_is_found_in_it_as_it_is_bare() {
    for core in [1, 2] {
        let bytes = high_efficiency(core);
        let whole = hear(&bytes, WHOLE, 0);
        let mut writer = Writer::of(ADTS);
        // Whole frames or not does not matter.
        bytes.chunks(2000).fold(writer.tables(), |writer, part| writer.pes(None, part, true));
        let heard = hear(&writer.bytes, WHOLE, 0);
        assert!(is_same(&heard, &whole, 0) && heard.frames() == 22 * 2048);
        let codec = |heard: &Heard| heard.info.as_ref().map(|info| (info.codec, info.rate_hz));
        assert_eq!(codec(&heard), codec(&whole));
        assert_eq!(codec(&heard).map(|said| said.1), Some(44_100));
        assert_eq!(scan(&writer.bytes, None).total(), Some(22 * 2048));
    }
}

/// Segments that are frames alone begin with a tag that says when they are to be heard.
#[test]
fn segments_that_are_frames_behind_a_tag_are_one_stream() {
    let mut tag = b"ID3\x04\0\0\0\0\0\x3FPRIV\0\0\0\x35\0\0".to_vec();
    tag.extend(b"com.apple.streaming.transportStreamTimestamp\0\0\0\0\0\0\x01\x5F\x90");
    assert_eq!(tag.len(), 10 + 0x3F);
    for stream in [Stream::adts(2), Stream::mp3()] {
        let whole = bare(&stream);
        let segment = |frames: &[Vec<u8>]| [&tag[..], &frames.concat()].concat();
        let bytes: Vec<u8> = stream.frames.chunks(31).flat_map(segment).collect();
        let heard = hear(&bytes, WHOLE, 0);
        assert_eq!((&heard.error, heard.undecoded), (&None, 0));
        assert!(is_same(&heard, &whole, 0) && heard.frames() == whole.frames());
        let scanned = scan(&bytes, None);
        assert_eq!(scanned.total(), Some(whole.frames() as u64));
        let from = whole.frames() as u64 * 2 / 3;
        check_start(&whole, &bytes, scanned.index.as_ref(), from).expect("a slice");
    }
}
