//! An index as bytes, and back from bytes that may be anything.
//!
//! Pure: no I/O, no clock, no executor.

use super::{Index, LINKS, Link, POINTS, Point, STRIDE_PACKETS, State};
use crate::storage::crc32c;

/// "KIDX".
const MAGIC: [u8; 4] = *b"KIDX";
/// Another one where any field changes, or what decoders do at a point.
const VERSION: u8 = 4;
const SUM_BYTES: usize = 4;
/// Bytes of a written integer at most.
const INTEGER_BYTES: usize = 10;
/// Bytes of a point at most: three numbers and its state.
const POINT_BYTES: usize = 3 * INTEGER_BYTES + 1 + 2 * INTEGER_BYTES;

/// Bytes of a link at most: four numbers.
const LINK_BYTES: usize = 4 * INTEGER_BYTES;

impl Index {
    /// Bytes of a written index at most.
    pub const MOST_BYTES: usize =
        MAGIC.len() + 2 + 3 * INTEGER_BYTES + POINTS * POINT_BYTES + LINKS * LINK_BYTES + SUM_BYTES;

    /// The index as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([VERSION, self.stride_packets.trailing_zeros() as u8]);
        put(self.frames.map_or(0, |frames| frames + 1), &mut bytes);
        put(self.points.len() as u64, &mut bytes);
        put(self.links.len() as u64, &mut bytes);
        let mut before = FIRST;
        for link in &self.links {
            put_link(link, &before, &mut bytes);
            before = *link;
        }
        let mut before = START;
        for point in &self.points {
            put_point(point, &before, &mut bytes);
            before = *point;
        }
        let sum = crc32c(&bytes);
        bytes.extend(sum.to_le_bytes());
        debug_assert!(bytes.len() <= Self::MOST_BYTES);
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; `None` if it is anything else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM_BYTES)?)?;
        if bytes.len() > Self::MOST_BYTES || crc32c(body).to_le_bytes() != sum {
            return None;
        }
        let mut rest = body.strip_prefix(&MAGIC)?.strip_prefix(&[VERSION])?;
        let stride_packets = 1u32.checked_shl(take_byte(&mut rest)?.into())?;
        let frames = take(&mut rest)?.checked_sub(1);
        let count = usize::try_from(take(&mut rest)?).ok().filter(|count| *count <= POINTS)?;
        let links = usize::try_from(take(&mut rest)?).ok().filter(|links| *links <= LINKS)?;
        let mut index = Self {
            stride_packets,
            points: Vec::with_capacity(count),
            links: Vec::with_capacity(links),
            frames,
        };
        let mut before = FIRST;
        for _ in 0..links {
            before = take_link(&before, &mut rest)?;
            index.push_link(before).then_some(())?;
        }
        let mut before = START;
        for _ in 0..count {
            before = take_point(&before, &mut rest)?;
            index.push(before);
        }
        let is_whole = stride_packets >= STRIDE_PACKETS && index.points.len() == count;
        (is_whole && rest.is_empty()).then_some(index)
    }
}

/// What the first point is written against; of its state nothing is.
const START: Point = Point {
    position: 0,
    packet: 0,
    frame: 0,
    state: State::Frames { count: 0, mean_bytes: 0.0, constant: None },
};

/// What the first link is written against.
const FIRST: Link = Link { position: 0, frame: 0, packet: 0, delay: 0 };

fn put_link(link: &Link, before: &Link, into: &mut Vec<u8>) {
    put(link.position - before.position, into);
    put((link.packet - before.packet).into(), into);
    put(link.frame - before.frame, into);
    put(zigzag(link.delay), into);
}

fn take_link(before: &Link, from: &mut &[u8]) -> Option<Link> {
    Some(Link {
        position: before.position.checked_add(take(from)?)?,
        packet: before.packet.checked_add(take(from)?.try_into().ok()?)?,
        frame: before.frame.checked_add(take(from)?)?,
        // What no encoder puts before the audio is no index of ours.
        delay: Some(unzigzag(take(from)?)).filter(|delay| delay.unsigned_abs() < 1 << 40)?,
    })
}

fn put_point(point: &Point, before: &Point, into: &mut Vec<u8>) {
    put(point.position - before.position, into);
    put((point.packet - before.packet).into(), into);
    put(zigzag(point.frame - before.frame), into);
    match point.state {
        State::Frames { count, mean_bytes, constant } => {
            into.push(1);
            into.push(count);
            into.extend(mean_bytes.to_le_bytes());
            put(constant.map_or(0, |bits| u64::from(bits) + 1), into);
        }
        State::Page { granule, sequence, block, passed } => {
            into.push(2);
            put(zigzag(granule.wrapping_sub(point.frame)), into);
            put(sequence.into(), into);
            into.extend([block, passed]);
        }
        State::Fragment { passed } => {
            into.push(3);
            put(passed.into(), into);
        }
        State::Transport { pid, program, map_pid, passed } => {
            into.push(4);
            [pid, program, map_pid, passed].iter().for_each(|number| put((*number).into(), into));
        }
        State::Block { ticks, packet_frames, overlap } => {
            into.push(5);
            put(ticks, into);
            put(packet_frames.into(), into);
            into.push(overlap);
        }
    }
}

fn take_point(before: &Point, from: &mut &[u8]) -> Option<Point> {
    let position = before.position.checked_add(take(from)?)?;
    let packet = before.packet.checked_add(take(from)?.try_into().ok()?)?;
    let frame = before.frame.checked_add(unzigzag(take(from)?))?;
    let state = match take_byte(from)? {
        1 => State::Frames {
            count: take_byte(from)?,
            mean_bytes: take_float(from)?,
            constant: match take(from)?.checked_sub(1) {
                Some(bits) => Some(bits.try_into().ok()?),
                None => None,
            },
        },
        2 => State::Page {
            granule: unzigzag(take(from)?).wrapping_add(frame),
            sequence: take(from)?.try_into().ok()?,
            block: take_byte(from)?,
            passed: take_byte(from)?,
        },
        3 => State::Fragment { passed: take(from)?.try_into().ok()? },
        4 => State::Transport {
            pid: take(from)?.try_into().ok()?,
            program: take(from)?.try_into().ok()?,
            map_pid: take(from)?.try_into().ok()?,
            passed: take(from)?.try_into().ok()?,
        },
        5 => State::Block {
            ticks: take(from)?,
            packet_frames: take(from)?.try_into().ok()?,
            overlap: take_byte(from)?,
        },
        _ => return None,
    };
    Some(Point { position, packet, frame, state })
}

fn put(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn take(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(from)?;
        let part = u64::from(byte & 0x7F);
        if part << shift >> shift != part {
            return None;
        }
        value |= part << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take_byte(from: &mut &[u8]) -> Option<u8> {
    let (first, rest) = from.split_first()?;
    *from = rest;
    Some(*first)
}

/// A length that frames can have.
fn take_float(from: &mut &[u8]) -> Option<f32> {
    let (bytes, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(f32::from_le_bytes(*bytes)).filter(|value| (0.0..65_536.0).contains(value))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64: a seed is all that is needed to repeat a failure.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z ^ (z >> 31)) % bound
        }
    }

    fn state(random: &mut Random) -> State {
        match random.below(4) {
            0 => State::Frames {
                count: random.below(17) as u8,
                mean_bytes: random.below(1 << 20) as f32 / 256.0,
                constant: Some(random.below(1 << 32) as u32).filter(|bits| bits % 2 == 0),
            },
            1 => State::Transport {
                pid: random.below(1 << 16) as u16,
                program: random.below(1 << 16) as u16,
                map_pid: random.below(1 << 16) as u16,
                passed: random.below(1 << 16) as u16,
            },
            2 => State::Block {
                ticks: random.below(u64::MAX),
                packet_frames: random.below(1 << 32) as u32,
                overlap: random.below(14) as u8,
            },
            _ => State::Page {
                granule: random.below(u64::MAX) as i64,
                sequence: random.below(1 << 32) as u32,
                block: random.below(14) as u8,
                passed: random.below(256) as u8,
            },
        }
    }

    fn index(random: &mut Random, points: u64) -> Index {
        let mut index = Index::default();
        let mut link = FIRST;
        for _ in 0..random.below(4) * random.below(1000) {
            link.position += 1 + random.below(1 << 40);
            link.packet += random.below(1000) as u32;
            link.frame += random.below(1 << 20);
            link.delay = random.below(4000) as i64 - 1000;
            index.push_link(link);
        }
        let mut point = Point { frame: -1105, ..START };
        for _ in 0..points {
            point.position += 1 + random.below(1 << 20);
            point.packet += 1 + random.below(300) as u32;
            point.frame += random.below(1 << 18) as i64;
            point.state = state(random);
            index.push(point);
        }
        if random.below(2) == 0 {
            index.end(random.below(u64::MAX));
        }
        index
    }

    #[test]
    fn what_was_written_is_read_and_as_large_as_said() {
        for seed in 0..200 {
            let mut random = Random(seed);
            let points = random.below(20_000);
            let index = index(&mut random, points);
            let bytes = index.to_bytes();
            assert!(bytes.len() <= Index::MOST_BYTES, "seed {seed}");
            assert_eq!(Index::parse(&bytes), Some(index), "seed {seed}");
        }
    }

    #[test]
    fn no_damage_is_taken_for_an_index() {
        let mut random = Random(3);
        let bytes = index(&mut random, 200).to_bytes();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << random.below(8);
            assert_eq!(Index::parse(&damaged), None, "byte {at}");
            assert_eq!(Index::parse(&bytes[..at]), None, "{at} bytes");
        }
    }

    /// Behind a right sum stands whatever somebody wrote there.
    #[test]
    fn any_fields_with_a_right_sum_are_read_within_bounds() {
        let mut random = Random(4);
        let whole = index(&mut random, 50).to_bytes();
        let (mut read, mut kept) = (0, 0);
        for _ in 0..20_000 {
            let mut body = whole[..whole.len() - SUM_BYTES].to_vec();
            for _ in 0..=random.below(3) {
                let at = 5 + random.below(body.len() as u64 - 5) as usize;
                body[at] = random.below(256) as u8;
            }
            body.extend(crc32c(&body).to_le_bytes());
            if let Some(index) = Index::parse(&body) {
                assert!(index.points.len() <= POINTS);
                assert_eq!(Index::parse(&index.to_bytes()), Some(index));
                read += 1;
            } else {
                kept += 1;
            }
        }
        assert!(read > 100 && kept > 100, "{read} {kept}");
    }

    #[test]
    fn an_hour_of_music_takes_few_bytes() {
        let mut index = Index::default();
        let state = State::Frames { count: 16, mean_bytes: 417.959, constant: Some(128_000) };
        for packet in 0..137_813u32 {
            let (position, frame) = (u64::from(packet) * 418, i64::from(packet) * 1152);
            index.push(Point { position, packet, frame, state });
        }
        assert_eq!((index.points.len(), index.to_bytes().len() / 1000), (2154, 34));
    }
}
