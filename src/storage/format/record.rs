//! Records of a journal: what happened to the objects of a volume.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! ```text
//! record     u8 kind, u16 bytes of the body, body
//!
//! kind       body
//! 1 object   object u128, generation u64, length u64, born u64, expires u64, validator u64, flags u8
//! 2 fill     object u128, generation u64, count u16, count times:
//!              chunk u32, block u32, first byte u16, last byte u16, checksum u32
//! 3 lost     object u128, generation u64, count u16, count times: chunk u32
//! 4 commit   object u128, generation u64, length u64
//! 5 drop     object u128, generation u64
//! 6 pin      object u128, flags u8
//! 7 snapshot bytes
//! 8 durable  pages u32
//!
//! flags      bit 0: committed (object), pinned (pin); the others zero
//! ```
//!
//! The body's length stands before it, so that a kind of a later version is passed over and a known
//! kind may get more fields at its end; lists carry their count for the same reason. Kind 0 is never
//! used: zeros are no records. The object comes first because all that is asked of a record at
//! first is whose it is. Of a valid part the last byte is stored instead of the end, which fits 16
//! bits for a whole chunk too, so that a chunk costs 16 bytes and not 20. There is no checksum: the
//! page has it.
//!
//! Order matters only among the records of one object: the later holds. `durable` is about all of them: where
//! the first so many pages of the journal name a chunk that was there already, it is durable in its new
//! place, and what it lay in before may be another's.

use std::ops::Range;

use super::{PAGE_ROOM, fields::Fields};
use crate::storage::{CHUNK_BYTES, Generation, ObjectId};

/// The number of the chunk that holds the response head.
pub const HEAD_CHUNK: u32 = u32::MAX;

/// A length that is not known, as it is stored.
pub const LENGTH_UNKNOWN: u64 = u64::MAX;

/// No object is as long: sums with such lengths would overflow.
pub const LENGTH_LIMIT: u64 = 1 << 62;

/// The most chunks that one `Fill` holds.
pub const FILLED_PER_RECORD: usize = (PAGE_ROOM - FRAME_BYTES - LIST_BYTES) / FILLED_BYTES;

/// The most chunks that one `Lost` holds.
pub const LOST_PER_RECORD: usize = (PAGE_ROOM - FRAME_BYTES - LIST_BYTES) / LOST_BYTES;

/// The most bytes that one `Snapshot` holds.
pub const SNAPSHOT_BYTES: usize = PAGE_ROOM - FRAME_BYTES;

const FRAME_BYTES: usize = 3;
const OBJECT_BYTES: usize = 16;
const GENERATION_BYTES: usize = 8;
const META_BYTES: usize = 33;
const LENGTH_BYTES: usize = 8;
const PAGES_BYTES: usize = 4;
const FLAGS_BYTES: usize = 1;
/// Of a list, without its items.
const LIST_BYTES: usize = OBJECT_BYTES + GENERATION_BYTES + 2;
const FILLED_BYTES: usize = 16;
const LOST_BYTES: usize = 4;

const OBJECT: u8 = 1;
const FILL: u8 = 2;
const LOST: u8 = 3;
const COMMIT: u8 = 4;
const DROP: u8 = 5;
const PIN: u8 = 6;
const SNAPSHOT: u8 = 7;
const DURABLE: u8 = 8;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A generation begins, and an older one of the object goes; or the present one changes its
    /// meta.
    Object {
        /// The object.
        object: ObjectId,
        /// Its generation from now on.
        generation: Generation,
        /// What holds for it from now on.
        meta: Meta,
    },
    /// Chunks are in `data`.
    Fill {
        /// The object.
        object: ObjectId,
        /// The generation whose bytes these are.
        generation: Generation,
        /// At most [`FILLED_PER_RECORD`].
        chunks: Vec<Filled>,
    },
    /// Chunks were found damaged: they are no longer there.
    Lost {
        /// The object.
        object: ObjectId,
        /// The generation that lost them.
        generation: Generation,
        /// Numbers of chunks, at most [`LOST_PER_RECORD`].
        chunks: Vec<u32>,
    },
    /// The object's length is settled, and no more bytes come.
    Commit {
        /// The object.
        object: ObjectId,
        /// The generation that is complete.
        generation: Generation,
        /// Its length in bytes, below [`LENGTH_LIMIT`].
        length: u64,
    },
    /// A generation is gone, with all its chunks.
    Drop {
        /// The object.
        object: ObjectId,
        /// The generation that is gone.
        generation: Generation,
    },
    /// An operator pins an object, in all its generations, or no longer does.
    Pin {
        /// The object.
        object: ObjectId,
        /// Whether it is pinned from now on.
        pinned: bool,
    },
    /// What the eviction policy wants back after a restart.
    Snapshot {
        /// Known to the policy alone; at most [`SNAPSHOT_BYTES`].
        bytes: Vec<u8>,
    },
    /// Chunks that were written anew are durable where they are now.
    Durable {
        /// In how many first pages of the journal they are named.
        pages: u32,
    },
}

/// What is known of a generation besides its bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Length in bytes where it is known, below [`LENGTH_LIMIT`].
    pub length: Option<u64>,
    /// All bytes were there once, and the length is final.
    pub committed: bool,
    /// When the generation began, in seconds since 1970.
    pub born: u64,
    /// Until when it is fresh, in seconds since 1970.
    pub expires: u64,
    /// A hash of the origin's validator; 0 where there is none.
    pub validator: u64,
}

/// Where a chunk lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// Number of the chunk in the object, or [`HEAD_CHUNK`].
    pub chunk: u32,
    /// Its first block in `data`. Nothing here says that the volume has it.
    pub block: u32,
    /// The valid bytes, from the start of the chunk; not empty, and within 64 KiB.
    pub part: Range<u32>,
    /// Of the valid bytes, as [`checksum`](crate::storage::checksum) says.
    pub checksum: u32,
}

/// The records in `bytes`, in their order.
///
/// Kinds that are not known and records that are damaged are passed over. Where the framing ends or
/// runs past the bytes, nothing more comes.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Record> {
    let mut rest = Fields(bytes);
    let frames = std::iter::from_fn(move || next_frame(&mut rest));
    frames.filter_map(|(kind, body)| Record::read(kind, Fields(body)))
}

fn next_frame<'a>(rest: &mut Fields<'a>) -> Option<(u8, &'a [u8])> {
    let kind = rest.u8().filter(|kind| *kind != 0)?;
    let length = rest.u16()?;
    Some((kind, rest.bytes(length.into())?))
}

impl Record {
    /// How many bytes [`encode`](Self::encode) adds.
    pub fn encoded_len(&self) -> usize {
        let body = match self {
            Self::Object { .. } => OBJECT_BYTES + GENERATION_BYTES + META_BYTES,
            Self::Fill { chunks, .. } => LIST_BYTES + chunks.len() * FILLED_BYTES,
            Self::Lost { chunks, .. } => LIST_BYTES + chunks.len() * LOST_BYTES,
            Self::Commit { .. } => OBJECT_BYTES + GENERATION_BYTES + LENGTH_BYTES,
            Self::Drop { .. } => OBJECT_BYTES + GENERATION_BYTES,
            Self::Pin { .. } => OBJECT_BYTES + FLAGS_BYTES,
            Self::Snapshot { bytes } => bytes.len(),
            Self::Durable { .. } => PAGES_BYTES,
        };
        FRAME_BYTES + body
    }

    /// Appends the record to `into`.
    ///
    /// # Panics
    /// When it is longer than a page has room for.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let (before, length) = (into.len(), self.encoded_len());
        assert!(length <= PAGE_ROOM, "a record of {length} bytes fits no page");
        into.push(self.kind());
        into.extend(((length - FRAME_BYTES) as u16).to_le_bytes());
        self.write_body(into);
        debug_assert_eq!(into.len() - before, length);
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Object { .. } => OBJECT,
            Self::Fill { .. } => FILL,
            Self::Lost { .. } => LOST,
            Self::Commit { .. } => COMMIT,
            Self::Drop { .. } => DROP,
            Self::Pin { .. } => PIN,
            Self::Snapshot { .. } => SNAPSHOT,
            Self::Durable { .. } => DURABLE,
        }
    }

    fn write_body(&self, into: &mut Vec<u8>) {
        match self {
            Self::Object { object, generation, meta } => {
                write_identity(*object, *generation, into);
                meta.write(into);
            }
            Self::Fill { object, generation, chunks } => {
                write_identity(*object, *generation, into);
                into.extend((chunks.len() as u16).to_le_bytes());
                chunks.iter().for_each(|filled| filled.write(into));
            }
            Self::Lost { object, generation, chunks } => {
                write_identity(*object, *generation, into);
                into.extend((chunks.len() as u16).to_le_bytes());
                into.extend(chunks.iter().flat_map(|chunk| chunk.to_le_bytes()));
            }
            Self::Commit { object, generation, length } => {
                write_identity(*object, *generation, into);
                into.extend(length.to_le_bytes());
            }
            Self::Drop { object, generation } => write_identity(*object, *generation, into),
            Self::Pin { object, pinned } => {
                into.extend(object.0.to_le_bytes());
                into.push(u8::from(*pinned));
            }
            Self::Snapshot { bytes } => into.extend(bytes),
            Self::Durable { pages } => into.extend(pages.to_le_bytes()),
        }
    }

    /// Reads a body; what follows the known fields is passed over.
    fn read(kind: u8, mut body: Fields<'_>) -> Option<Self> {
        match kind {
            OBJECT => {
                let (object, generation) = read_identity(&mut body)?;
                Some(Self::Object { object, generation, meta: Meta::read(&mut body)? })
            }
            FILL => {
                let (object, generation) = read_identity(&mut body)?;
                Some(Self::Fill { object, generation, chunks: read_filled(&mut body)? })
            }
            LOST => {
                let (object, generation) = read_identity(&mut body)?;
                let count = usize::from(body.u16()?);
                let mut items = Fields(body.bytes(count * LOST_BYTES)?);
                let chunks = std::iter::from_fn(|| items.u32()).collect();
                Some(Self::Lost { object, generation, chunks })
            }
            COMMIT => {
                let (object, generation) = read_identity(&mut body)?;
                let length = body.u64().filter(|length| *length < LENGTH_LIMIT)?;
                Some(Self::Commit { object, generation, length })
            }
            DROP => {
                let (object, generation) = read_identity(&mut body)?;
                Some(Self::Drop { object, generation })
            }
            PIN => {
                let object = ObjectId(body.u128()?);
                Some(Self::Pin { object, pinned: read_flag(&mut body)? })
            }
            SNAPSHOT => Some(Self::Snapshot { bytes: body.0.to_vec() }),
            DURABLE => Some(Self::Durable { pages: body.u32()? }),
            _ => None,
        }
    }
}

impl Meta {
    fn write(&self, into: &mut Vec<u8>) {
        let length = self.length.unwrap_or(LENGTH_UNKNOWN);
        for number in [length, self.born, self.expires, self.validator] {
            into.extend(number.to_le_bytes());
        }
        into.push(u8::from(self.committed));
    }

    fn read(body: &mut Fields<'_>) -> Option<Self> {
        let length = match body.u64()? {
            LENGTH_UNKNOWN => None,
            length if length < LENGTH_LIMIT => Some(length),
            _absurd => return None,
        };
        let (born, expires, validator) = (body.u64()?, body.u64()?, body.u64()?);
        Some(Self { length, born, expires, validator, committed: read_flag(body)? })
    }
}

impl Filled {
    fn write(&self, into: &mut Vec<u8>) {
        let Self { chunk, block, part, checksum } = self;
        let possible = part.start < part.end && u64::from(part.end) <= CHUNK_BYTES;
        debug_assert!(possible, "{part:?} is no part of a chunk");
        into.extend(chunk.to_le_bytes());
        into.extend(block.to_le_bytes());
        into.extend((part.start as u16).to_le_bytes());
        into.extend((part.end.wrapping_sub(1) as u16).to_le_bytes());
        into.extend(checksum.to_le_bytes());
    }

    fn read(item: &[u8]) -> Option<Self> {
        let mut item = Fields(item);
        let (chunk, block) = (item.u32()?, item.u32()?);
        let part = u32::from(item.u16()?)..u32::from(item.u16()?) + 1;
        let checksum = item.u32()?;
        (!part.is_empty()).then_some(Self { chunk, block, part, checksum })
    }
}

/// The chunks of a `Fill`, without those that are damaged.
fn read_filled(body: &mut Fields<'_>) -> Option<Vec<Filled>> {
    let count = usize::from(body.u16()?);
    let items = body.bytes(count * FILLED_BYTES)?;
    let mut chunks = Vec::with_capacity(count);
    chunks.extend(items.chunks_exact(FILLED_BYTES).filter_map(Filled::read));
    Some(chunks)
}

fn write_identity(object: ObjectId, generation: Generation, into: &mut Vec<u8>) {
    into.extend(object.0.to_le_bytes());
    into.extend(generation.0.to_le_bytes());
}

fn read_identity(body: &mut Fields<'_>) -> Option<(ObjectId, Generation)> {
    Some((ObjectId(body.u128()?), Generation(body.u64()?)))
}

/// The only flag there is; those of later versions are passed over.
fn read_flag(body: &mut Fields<'_>) -> Option<bool> {
    Some(body.u8()? & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{format::tests::hex, random::Random};

    const OBJECT_ID: ObjectId = ObjectId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
    const GENERATION: Generation = Generation(0x0102_0304_0506_0708);
    const IDENTITY: &str = "7766554433221100efcdab8967452301\
                            0807060504030201";

    fn encoded(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.encode(&mut bytes));
        bytes
    }

    fn read(bytes: &[u8]) -> Vec<Record> {
        records(bytes).collect()
    }

    fn fill(chunks: Vec<Filled>) -> Record {
        Record::Fill { object: OBJECT_ID, generation: GENERATION, chunks }
    }

    fn filled(part: Range<u32>) -> Filled {
        Filled { chunk: 0x11, block: 0x2233, part, checksum: 0x89ab_cdef }
    }

    fn commit(length: u64) -> Record {
        Record::Commit { object: OBJECT_ID, generation: GENERATION, length }
    }

    fn object(length: Option<u64>) -> Record {
        let meta = Meta { length, committed: true, born: 0x44, expires: 0x55, validator: 0x66 };
        Record::Object { object: OBJECT_ID, generation: GENERATION, meta }
    }

    fn lost(chunks: Vec<u32>) -> Record {
        Record::Lost { object: OBJECT_ID, generation: GENERATION, chunks }
    }

    fn gone() -> Record {
        Record::Drop { object: OBJECT_ID, generation: GENERATION }
    }

    fn pin(pinned: bool) -> Record {
        Record::Pin { object: OBJECT_ID, pinned }
    }

    #[test]
    fn the_bytes_are_those_of_format_1() {
        let one = |record: Record| hex(&encoded(&[record]));
        let number = |n: u8| format!("{n:02x}00000000000000");
        let meta = [number(0x33), number(0x44), number(0x55), number(0x66)].concat();
        assert_eq!(one(object(Some(0x33))), format!("013900{IDENTITY}{meta}01"));
        assert!(one(object(None)).starts_with(&format!("013900{IDENTITY}ffffffffffffffff44")));
        assert_eq!(
            one(fill(vec![filled(0..65_536), filled(0x102..0x304)])),
            format!(
                "023a00{IDENTITY}0200\
                 11000000332200000000ffffefcdab89\
                 110000003322000002010303efcdab89"
            ),
        );
        let lost = lost(vec![5, HEAD_CHUNK]);
        assert_eq!(one(lost), format!("032200{IDENTITY}020005000000ffffffff"));
        assert_eq!(one(commit(0x33)), format!("042000{IDENTITY}{}", number(0x33)));
        assert_eq!(one(gone()), format!("051800{IDENTITY}"));
        assert_eq!(one(pin(true)), format!("061100{}01", &IDENTITY[..32]));
        assert_eq!(one(Record::Snapshot { bytes: vec![0xAB, 0xCD] }), "070200abcd");
        assert_eq!(one(Record::Durable { pages: 0x33 }), "08040033000000");
    }

    #[test]
    fn the_longest_records_fill_a_page() {
        let longest = [
            fill(vec![filled(0..1); FILLED_PER_RECORD]),
            lost(vec![7; LOST_PER_RECORD]),
            Record::Snapshot { bytes: vec![7; SNAPSHOT_BYTES] },
        ];
        for (record, spare) in longest.into_iter().zip([FILLED_BYTES, LOST_BYTES, 1]) {
            let length = record.encoded_len();
            assert!(length <= PAGE_ROOM && PAGE_ROOM - length < spare, "{length}");
            assert_eq!(read(&encoded(std::slice::from_ref(&record))), [record]);
        }
        assert_eq!((FILLED_PER_RECORD, LOST_PER_RECORD, SNAPSHOT_BYTES), (253, 1014, 4085));
    }

    #[test]
    #[should_panic(expected = "fits no page")]
    fn a_record_longer_than_a_page_is_not_written() {
        encoded(&[Record::Snapshot { bytes: vec![0; SNAPSHOT_BYTES + 1] }]);
    }

    #[test]
    fn impossible_lengths_are_damage() {
        let absurd = [commit(LENGTH_LIMIT), object(Some(LENGTH_LIMIT)), commit(u64::MAX)];
        assert_eq!(read(&encoded(&absurd)), []);
        let longest = [commit(LENGTH_LIMIT - 1), object(Some(LENGTH_LIMIT - 1))];
        assert_eq!(read(&encoded(&longest)), longest);
    }

    #[test]
    fn an_empty_part_costs_its_own_chunk_only() {
        let chunks = vec![filled(0..1), filled(2..3), filled(65_535..65_536)];
        let mut bytes = encoded(&[fill(chunks.clone()), gone()]);
        let second = FRAME_BYTES + LIST_BYTES + FILLED_BYTES;
        bytes[second + 8] = 3;
        assert_eq!(read(&bytes), [fill(vec![chunks[0].clone(), chunks[2].clone()]), gone()]);
    }

    #[test]
    fn a_list_that_counts_more_than_it_has_is_damage() {
        for record in [fill(vec![filled(0..1); 2]), lost(vec![1, 2])] {
            let mut bytes = encoded(&[record, gone()]);
            bytes[FRAME_BYTES + LIST_BYTES - 2..][..2].fill(0xFF);
            assert_eq!(read(&bytes), [gone()]);
        }
    }

    #[test]
    fn flags_of_later_versions_are_passed_over() {
        let mut bytes = encoded(&[pin(true), pin(false)]);
        let first = FRAME_BYTES + OBJECT_BYTES;
        bytes[first] |= 0xFE;
        *bytes.last_mut().unwrap() |= 0xFE;
        assert_eq!(read(&bytes), [pin(true), pin(false)]);
    }

    #[test]
    fn zeros_are_no_records() {
        assert_eq!(read(&[0; PAGE_ROOM]), []);
        let mut bytes = encoded(&[gone()]);
        bytes.extend([0; 3]);
        gone().encode(&mut bytes);
        assert_eq!(read(&bytes), [gone()], "kind 0 ends the framing");
    }

    #[test]
    fn cut_bytes_lose_the_records_that_are_cut() {
        let mut random = Random(1);
        let all: Vec<_> = (0..20).map(|_| any_record(&mut random)).collect();
        let bytes = encoded(&all);
        let (mut whole, mut next_end) = (0, all[0].encoded_len());
        for end in 0..=bytes.len() {
            if end == next_end {
                whole += 1;
                next_end += all.get(whole).map_or(1, Record::encoded_len);
            }
            assert_eq!(read(&bytes[..end]), all[..whole], "cut at {end}");
        }
        assert_eq!(whole, 20);
    }

    /// A journal of a later version, or a damaged one: among known records lie unknown kinds, known
    /// ones with more fields at the end, and known ones that are too short.
    #[test]
    fn what_is_sound_is_read_among_anything_else() {
        for seed in 1..=2_000 {
            let mut random = Random(seed);
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for _ in 0..random.below(30) {
                let record = any_record(&mut random);
                let mut one = encoded(std::slice::from_ref(&record));
                let opaque = matches!(record, Record::Snapshot { .. });
                match random.below(4) {
                    0 => one[0] = 9 + random.below(247) as u8,
                    1 if !opaque => {
                        one.truncate(FRAME_BYTES + random.below(body_len(&one)) as usize);
                        restate_length(&mut one);
                    }
                    2 if !opaque => {
                        one.extend((0..random.below(9)).map(|_| random.next() as u8));
                        restate_length(&mut one);
                        expected.push(record);
                    }
                    _ => expected.push(record),
                }
                bytes.extend(one);
            }
            assert_eq!(read(&bytes), expected, "seed {seed}");
        }
    }

    #[test]
    fn any_bytes_are_taken_and_what_is_read_is_written_as_it_was() {
        for seed in 1..=2_000 {
            let mut random = Random(seed);
            let mut bytes = encoded(&[any_record(&mut random), any_record(&mut random)]);
            for _ in 0..random.below(8) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.next() as u8;
            }
            let found = read(&bytes);
            let again = encoded(&found);
            assert!(again.len() <= bytes.len(), "seed {seed}");
            assert_eq!(read(&again), found, "seed {seed}");
        }
    }

    fn body_len(record: &[u8]) -> u64 {
        (record.len() - FRAME_BYTES) as u64
    }

    fn restate_length(record: &mut [u8]) {
        let length = body_len(record) as u16;
        record[1..FRAME_BYTES].copy_from_slice(&length.to_le_bytes());
    }

    fn any_record(random: &mut Random) -> Record {
        let object = ObjectId(u128::from(random.next()) << 64 | u128::from(random.next()));
        let generation = Generation(random.next());
        let count = random.below(6);
        match random.below(8) {
            0 => Record::Object { object, generation, meta: any_meta(random) },
            1 => {
                let chunks = (0..count).map(|_| any_filled(random)).collect();
                Record::Fill { object, generation, chunks }
            }
            2 => {
                let chunks = (0..count).map(|_| random.next() as u32).collect();
                Record::Lost { object, generation, chunks }
            }
            3 => Record::Commit { object, generation, length: random.below(LENGTH_LIMIT) },
            4 => Record::Drop { object, generation },
            5 => Record::Pin { object, pinned: random.below(2) == 0 },
            6 => Record::Durable { pages: random.next() as u32 },
            _ => Record::Snapshot { bytes: (0..count).map(|_| random.next() as u8).collect() },
        }
    }

    fn any_meta(random: &mut Random) -> Meta {
        Meta {
            length: (random.below(3) > 0).then(|| random.below(LENGTH_LIMIT)),
            committed: random.below(2) == 0,
            born: random.next(),
            expires: random.next(),
            validator: random.next(),
        }
    }

    fn any_filled(random: &mut Random) -> Filled {
        let start = random.below(CHUNK_BYTES) as u32;
        let end = start + 1 + random.below(CHUNK_BYTES - u64::from(start)) as u32;
        let (chunk, block) = (random.next() as u32, random.next() as u32);
        Filled { chunk, block, part: start..end, checksum: random.next() as u32 }
    }
}
