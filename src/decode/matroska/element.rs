//! Elements of EBML: their headers, and which of them there are.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].

use std::{iter, ops::Range};

use crate::decode::mp4::Read;

/// Elements before the first cluster that are looked at.
const ELEMENTS: u32 = 64;
/// The longest element that may stand between packets: the name of most is one byte, which damage makes
/// out of any other.
const BETWEEN_BYTES: u64 = 16 << 20;

pub(in crate::decode) const EBML: u32 = 0x1A45_DFA3;
pub(in crate::decode) const SEGMENT: u32 = 0x1853_8067;
pub(super) const INFO: u32 = 0x1549_A966;
pub(super) const TRACKS: u32 = 0x1654_AE6B;
pub(super) const CHAPTERS: u32 = 0x1043_A770;
pub(super) const CUES: u32 = 0x1C53_BB6B;
pub(super) const SEEK_HEAD: u32 = 0x114D_9B74;
const ATTACHMENTS: u32 = 0x1941_A469;
const TAGS: u32 = 0x1254_C367;
pub(in crate::decode) const CLUSTER: u32 = 0x1F43_B675;
/// Time of a cluster.
pub(in crate::decode) const TIMESTAMP: u32 = 0xE7;
pub(in crate::decode) const SIMPLE_BLOCK: u32 = 0xA3;
/// A block, and what is said of it.
pub(in crate::decode) const GROUP: u32 = 0xA0;
/// What else stands in clusters or between them: position, length of the one before, silent tracks, an
/// encrypted block, padding, a checksum.
const OTHERS: [u32; 6] = [0xA7, 0xAB, 0x5854, 0xAF, 0xEC, 0xBF];

/// The header of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct Element {
    pub(in crate::decode) id: u32,
    /// Bytes behind the header; `None` if that is not known.
    pub(in crate::decode) size: Option<u64>,
    pub(in crate::decode) header_bytes: u64,
}

impl Element {
    /// Bytes that are enough for any header.
    pub(in crate::decode) const HEADER_BYTES: usize = 12;

    /// Parses the header at the start of `bytes`.
    pub(in crate::decode) fn parse(bytes: &[u8]) -> Option<Self> {
        let id_bytes = bytes.first()?.leading_zeros() as usize + 1;
        if id_bytes > 4 {
            return None;
        }
        let id = bytes.get(..id_bytes)?.iter().fold(0, |id, byte| (id << 8) | u32::from(*byte));
        let (size, size_bytes) = variable(&bytes[id_bytes..])?;
        let unknown = (1u64 << (7 * size_bytes)) - 1;
        let size = Some(size).filter(|size| *size != unknown);
        Some(Self { id, size, header_bytes: (id_bytes + size_bytes) as u64 })
    }

    pub(super) fn read(read: &mut Read<'_>, at: u64) -> Option<Self> {
        let mut head = [0; Self::HEADER_BYTES];
        let got = read(at, &mut head);
        Self::parse(&head[..got])
    }

    /// Its length with its header; `None` if that is not known.
    pub(in crate::decode) fn bytes(&self) -> Option<u64> {
        self.header_bytes.checked_add(self.size?)
    }

    /// Whether it is one of those that a file consists of, outside of what this one holds.
    pub(in crate::decode) fn is_sound(&self) -> bool {
        match self.id {
            SEGMENT | CLUSTER => true,
            EBML | INFO | TRACKS | CHAPTERS | CUES | SEEK_HEAD | ATTACHMENTS | TAGS => {
                self.size.is_some()
            }
            TIMESTAMP => self.size.is_some_and(|size| size <= 8),
            id if id == SIMPLE_BLOCK || id == GROUP || OTHERS.contains(&id) => {
                self.size.is_some_and(|size| size <= BETWEEN_BYTES)
            }
            _ => false,
        }
    }

    /// The header of a void element that takes the place of this one.
    pub(super) fn as_void(&self) -> Option<Vec<u8>> {
        let size_bytes = (self.header_bytes - 1).min(8);
        let left = self.header_bytes - 1 - size_bytes;
        let size = (1u64 << (7 * size_bytes)) | (self.size? + left);
        let size = size.to_be_bytes();
        Some([&[0xEC], &size[8 - size_bytes as usize..]].concat())
    }
}

/// The elements before the first cluster, and where each starts.
pub(super) fn before_clusters(read: &mut Read<'_>) -> Vec<(u64, Element)> {
    let (mut elements, mut at) = (Vec::new(), 0u64);
    for _ in 0..ELEMENTS {
        let Some(element) = Element::read(read, at).filter(|element| element.id != CLUSTER) else {
            break;
        };
        elements.push((at, element));
        let bytes =
            if element.id == SEGMENT { Some(element.header_bytes) } else { element.bytes() };
        match bytes.and_then(|bytes| at.checked_add(bytes)) {
            Some(next) => at = next,
            None => break,
        }
    }
    elements
}

/// The names of the whole elements in `body`, and where in it lies what each holds.
pub(super) fn children(body: &[u8]) -> impl Iterator<Item = (u32, Range<usize>)> {
    let mut at = 0;
    iter::from_fn(move || {
        let element = Element::parse(&body[at..])?;
        let start = at + element.header_bytes as usize;
        let end = start.checked_add(usize::try_from(element.size?).ok()?)?;
        at = Some(end).filter(|end| *end <= body.len())?;
        Some((element.id, start..end))
    })
}

/// An integer of up to eight bytes.
pub(in crate::decode) fn number(content: &[u8]) -> Option<u64> {
    let value = content.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte));
    (content.len() <= 8).then_some(value)
}

/// An integer whose first byte says how many it has, and how many those are.
pub(super) fn variable(bytes: &[u8]) -> Option<(u64, usize)> {
    let count = bytes.first()?.leading_zeros() as usize + 1;
    let value = number(bytes.get(..count).filter(|_| count <= 8)?)?;
    Some((value & ((1 << (7 * count)) - 1), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_say_how_long_they_are() {
        let read = [
            (&[0x81][..], Some((1, 1))),
            (&[0x40, 2], Some((2, 2))),
            (&[0x10, 0, 1, 0], Some((256, 4))),
            (&[1, 0, 0, 0, 0, 0, 0, 9], Some((9, 8))),
            (&[0x40], None),
            (&[0, 0xFF], None),
            (&[], None),
        ];
        for (bytes, expected) in read {
            assert_eq!(variable(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn children_end_where_one_is_not_whole() {
        let body = [0xD7, 0x81, 5, 0x56, 0xAA, 0x82, 1, 2, 0xD7, 0x85, 1];
        let found: Vec<_> = children(&body).collect();
        assert_eq!(found, [(0xD7, 2..3), (0x56AA, 6..8)]);
        assert_eq!(children(&[0xA0, 0xFF, 1]).count(), 0);
    }

    #[test]
    fn what_stands_between_packets_has_a_bound() {
        let sound = |bytes: &[u8]| Element::parse(bytes).is_some_and(|element| element.is_sound());
        assert!(sound(&[0xA3, 0x84]) && sound(&[0x1F, 0x43, 0xB6, 0x75, 0xFF]));
        assert!(!sound(&[0xA3, 0xFF]) && !sound(&[0xA3, 0x08, 0xFF, 0xFF, 0xFF, 0xFF]));
        assert!(!sound(&[0xE7, 0x89]) && !sound(&[0xB5, 0x84]));
    }
}
