//! FLAC: frames are found whatever lies around them, and looked up without reading those before.

use std::ops::Range;

use crate::{
    hear::{Feed, WHOLE, hear, is_same, scan, strings},
    opening::block_bytes,
};

/// A stream in its parts: the marker and the blocks of metadata, and frames of 4096 frames each but
/// the last.
struct Stream {
    metadata: Vec<u8>,
    frames: Vec<Vec<u8>>,
}

/// Frames of a block.
const BLOCK: usize = 4096;

impl Stream {
    fn new() -> Self {
        let bytes = strings("strings.flac");
        let mut end = 4;
        while bytes[end] & 0x80 == 0 {
            end += block_bytes(&bytes, end);
        }
        end += block_bytes(&bytes, end);
        // Their numbers go up; the header of the last also says how long it is.
        let mut starts = vec![end];
        for at in end + 1..bytes.len() - 8 {
            let number = starts.len() as u8;
            let is_sound = |length: usize| {
                sum(&bytes[at..at + length], 8, 0x07) == u32::from(bytes[at + length])
            };
            if bytes[at..at + 2] == bytes[end..end + 2] && bytes[at + 4] == number {
                starts.extend((is_sound(5) || is_sound(7)).then_some(at));
            }
        }
        assert_eq!(starts.len(), 56, "5.2 s");
        let ends = starts.iter().copied().skip(1).chain([bytes.len()]);
        let frames = starts.iter().zip(ends).map(|(start, end)| bytes[*start..end].to_vec());
        Self { metadata: bytes[..end].to_vec(), frames: frames.collect() }
    }

    /// As many frames as there are, taken again and again, and numbered anew.
    fn long(frames: usize) -> Self {
        let short = Self::new();
        let full = &short.frames[..55];
        let frames: Vec<_> =
            (0..frames).map(|number| renumbered(&full[number % full.len()], number)).collect();
        let mut long = Self { metadata: short.metadata, frames };
        long.state(Some(long.frames.len() * BLOCK));
        long
    }

    /// Lets STREAMINFO state a total.
    fn state(&mut self, frames: Option<usize>) {
        let total = (frames.unwrap_or(0) as u32).to_be_bytes();
        self.metadata[22..26].copy_from_slice(&total);
        self.metadata[26..42].fill(0);
    }

    /// Puts a seek table behind STREAMINFO: points of the frames of these numbers, which may lie
    /// `beside` where they are.
    fn with_table(mut self, numbers: impl Iterator<Item = usize>, beside: u64) -> Self {
        let place =
            |number: usize| self.frames[..number].iter().map(Vec::len).sum::<usize>() as u64;
        let mut table: Vec<u8> = numbers
            .flat_map(|number| {
                let start = (number * BLOCK) as u64;
                let offset = place(number) + beside;
                [&start.to_be_bytes()[..], &offset.to_be_bytes(), &[0x10, 0]].concat()
            })
            .collect();
        // A point that is not used.
        table.extend([0xFF; 8]);
        table.extend([0; 10]);
        let length = (table.len() as u32).to_be_bytes();
        let block = [&[3], &length[1..], &table].concat();
        self.metadata.splice(42..42, block);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        self.part(0..self.frames.len())
    }

    /// The metadata, and of the frames these.
    fn part(&self, frames: Range<usize>) -> Vec<u8> {
        [&self.metadata[..], &self.frames[frames].concat()].concat()
    }
}

/// A frame with another number.
fn renumbered(frame: &[u8], number: usize) -> Vec<u8> {
    let number = match u16::try_from(number).expect("two or three bytes") {
        one @ 0..0x80 => vec![one as u8],
        two @ 0x80..0x800 => vec![0xC0 | (two >> 6) as u8, 0x80 | (two & 0x3F) as u8],
        three => {
            let low = |shift: u32| 0x80 | (three >> shift & 0x3F) as u8;
            vec![0xE0 | (three >> 12) as u8, low(6), low(0)]
        }
    };
    let mut new = [&frame[..4], &number].concat();
    new.push(sum(&new, 8, 0x07) as u8);
    new.extend(&frame[6..frame.len() - 2]);
    new.extend((sum(&new, 16, 0x8005) as u16).to_be_bytes());
    new
}

/// A checksum of so many bits.
fn sum(bytes: &[u8], bits: u32, polynomial: u32) -> u32 {
    let top = 1 << (bits - 1);
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << (bits - 8), |sum, _| {
            let next = if sum & top != 0 { sum << 1 ^ polynomial } else { sum << 1 };
            next & (2 * top - 1)
        })
    })
}

/// Pieces of what a disk is read in.
const SMALL: Feed = Feed { piece_bytes: 8 << 10, ..WHOLE };

#[test]
fn a_frame_far_ahead_is_looked_up() {
    let plain = Stream::long(1500);
    let table = || (0..1500).step_by(50);
    let streams = [
        plain.bytes(),
        Stream::long(1500).with_table(table(), 0).bytes(),
        // Tables that lie: where frames are, and in which order.
        Stream::long(1500).with_table(table(), 77).bytes(),
        Stream::long(1500).with_table(table().rev(), 0).bytes(),
    ];
    let whole = hear(&streams[0], WHOLE, 0);
    assert_eq!((whole.planes[0].len(), whole.undecoded), (1500 * BLOCK, 0));
    for (index, bytes) in streams.iter().enumerate() {
        for from in [1, 50 * BLOCK, 700 * BLOCK - 1, 700 * BLOCK, 1_234_567, 1499 * BLOCK + 9] {
            let late = hear(bytes, SMALL, from as u64);
            assert!(is_same(&late, &whole, from), "{index} from {from}");
            let rest = bytes.len() - bytes.len() / 1500 * (from / BLOCK);
            assert!(late.fed < rest + (512 << 10), "{index} from {from}: {} read", late.fed);
        }
    }
}

#[test]
fn a_late_start_gives_what_is_there_where_nothing_can_be_looked_up() {
    let long = Stream::long(300);
    let mut unstated = Stream::long(300);
    unstated.state(None);
    let mut damaged = long.bytes();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 40_000].fill(0xAA);
    let other = Stream::new().bytes();
    for (name, bytes) in [
        ("a total that is not stated", unstated.bytes()),
        ("one that is stated and not there", long.part(0..200)),
        ("the middle of a stream", long.part(100..300)),
        ("damage", damaged),
        ("another stream behind it", [&long.bytes()[..], &other].concat()),
        ("a tag behind it", [&long.bytes()[..], b"TAG", &[0; 125]].concat()),
    ] {
        let whole = hear(&bytes, WHOLE, 0);
        let total = whole.planes[0].len();
        for from in [7 * BLOCK, total / 2 - 5000, total / 2, total / 2 + 60_000, total - 1] {
            let late = hear(&bytes, WHOLE, from as u64);
            assert!(is_same(&late, &whole, from), "{name}: from {from} of {total}");
        }
    }
    // What does not come out of order is not looked up.
    let feed = Feed { in_order: true, ..WHOLE };
    let late = hear(&long.bytes(), feed, 200 * BLOCK as u64);
    assert!(late.planes[0][..] == hear(&long.bytes(), WHOLE, 0).planes[0][200 * BLOCK..]);
}

#[test]
fn what_was_cut_out_of_a_stream_is_what_is_there_whatever_its_total_says() {
    let mut stream = Stream::new();
    let whole = hear(&stream.bytes(), WHOLE, 0);
    let total = whole.frames();
    for part in [10..56, 10..30, 55..56] {
        let there = part.start * BLOCK..total.min(part.end * BLOCK);
        for stated in [Some(total), Some(there.len()), Some(1), None] {
            stream.state(stated);
            let bytes = stream.part(part.clone());
            let piece = hear(&bytes, WHOLE, 0);
            assert_eq!((piece.undecoded, &piece.error), (0, &None), "{part:?} of {stated:?}");
            let promised = piece.info.as_ref().and_then(|info| info.frames);
            assert_eq!(promised, Some(there.len() as u64), "{part:?} of {stated:?}");
            assert!(
                piece.planes[0][..] == whole.planes[0][there.clone()],
                "{part:?} of {stated:?}"
            );
            let late = hear(&bytes, WHOLE, BLOCK as u64 / 2);
            assert!(is_same(&late, &piece, BLOCK / 2), "{part:?} of {stated:?}");
            // Where its end comes last, nothing is promised.
            let in_order = hear(&bytes, Feed { in_order: true, ..WHOLE }, 0);
            assert_eq!(in_order.info.as_ref().and_then(|info| info.frames), None);
            assert!(is_same(&in_order, &piece, 0), "{part:?} of {stated:?}");
            assert_eq!(scan(&bytes, None).total(), Some(there.len() as u64));
        }
    }
}

#[test]
fn a_frame_far_ahead_in_a_piece_is_looked_up() {
    let mut long = Stream::long(400);
    long.state(Some(1000 * BLOCK));
    let bytes = long.part(150..400);
    let whole = hear(&bytes, WHOLE, 0);
    assert_eq!(whole.frames(), 250 * BLOCK);
    let small = Feed { piece_bytes: 4096, ..WHOLE };
    let late = hear(&bytes, small, 200 * BLOCK as u64 + 7);
    assert!(is_same(&late, &whole, 200 * BLOCK + 7));
    assert!(late.fed < bytes.len() / 2, "{} of {} bytes read", late.fed, bytes.len());
}

#[test]
fn frames_that_are_damaged_at_the_start_were_there() {
    let stream = Stream::new();
    let mut bytes = stream.bytes();
    let whole = hear(&bytes, WHOLE, 0);
    let start = stream.metadata.len();
    let end = start + stream.frames[..10].iter().map(Vec::len).sum::<usize>();
    bytes[start..end].fill(0x55);
    let heard = hear(&bytes, WHOLE, 0);
    assert_eq!((heard.undecoded, heard.frames()), (10, whole.frames()));
    assert!(heard.planes[0][..10 * BLOCK].iter().all(|sample| *sample == 0.0));
    assert!(heard.planes[0][10 * BLOCK..] == whole.planes[0][10 * BLOCK..]);
}

#[test]
fn what_lies_around_the_frames_of_flac_is_no_damage() {
    let stream = Stream::new();
    let whole = hear(&stream.bytes(), WHOLE, 0);
    let tag = [&b"TAG"[..], &[b' '; 125]].concat();
    let id3 = [&b"ID3\x04\0\0\0\0\x02\0"[..], &[0xFF; 256]].concat();
    let junk = [0xFF, 0xF8, 0xC9, 0x18, 7].repeat(3000);
    for (name, before, between, behind) in [
        ("a tag behind", &[][..], &[][..], &tag[..]),
        ("zeros behind", &[], &[], &[0; 50_000]),
        ("junk behind", &[], &[], &junk),
        ("another stream behind", &[], &[], &stream.bytes()),
        ("a tag before", &id3, &[], &[]),
        ("junk and a tag before the frames", &[], &[&junk[..], &id3].concat(), &[]),
        ("all of it", &id3, &id3, &[&tag[..], &junk].concat()),
    ] {
        let frames = stream.frames.concat();
        let bytes = [before, &stream.metadata, between, &frames, behind].concat();
        let heard = hear(&bytes, WHOLE, 0);
        assert_eq!(heard.undecoded, 0, "{name}");
        assert!(is_same(&heard, &whole, 0), "{name}");
    }
    // A tag that was put between two frames.
    let (first, second) = (stream.part(0..20), stream.frames[20..].concat());
    let heard = hear(&[&first[..], &id3, &second].concat(), WHOLE, 0);
    assert!(is_same(&heard, &whole, 0) && heard.undecoded == 0);
}

#[test]
fn a_block_that_is_too_long_hides_no_frame() {
    let stream = Stream::new();
    let whole = hear(&stream.bytes(), WHOLE, 0);
    let mut bytes = stream.bytes();
    // The padding before the frames reaches behind the file.
    let padding = stream.metadata.len() - 8196;
    assert_eq!(bytes[padding], 0x81);
    bytes[padding + 1] = 0xFF;
    let heard = hear(&bytes, WHOLE, 0);
    assert!(is_same(&heard, &whole, 0) && heard.undecoded == 0);
}

/// Headers in a row that fit the stream, none of which a frame follows.
#[test]
fn headers_without_frames_are_passed_in_time_that_goes_with_their_number() {
    let stream = Stream::long(1);
    for number in [0_usize, 1, 77] {
        let mut header = [&stream.frames[0][..4], &[number as u8]].concat();
        header.push(sum(&header, 8, 0x07) as u8);
        let mut bytes = [&stream.metadata[..], &header.repeat(60_000)].concat();
        // A block of the longest, so that a frame may be as long as all of it.
        bytes[8..12].fill(0xFF);
        let heard = hear(&bytes, WHOLE, 0);
        assert!(heard.error.is_some(), "there is no frame");
        bytes.extend(&stream.frames[0]);
        let heard = hear(&bytes, WHOLE, 0);
        assert_eq!((heard.error, heard.decoded), (None, 1));
    }
}
