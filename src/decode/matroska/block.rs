//! The packets of a block, of which several may be laced together, and what the group around it says.
//!
//! Pure: no I/O, no clock, no executor.

use std::ops::Range;

use super::element::{Element, children, number, variable};

/// The block of a group.
const BLOCK: u32 = 0xA1;
const DISCARD_PADDING: u32 = 0x75A2;
/// How packets are laced: their sizes as in Ogg, or all the same; else as numbers of EBML.
const XIPH: u8 = 1;
const EQUAL: u8 = 2;

/// What a block holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decode) struct Block {
    /// Number of its track.
    pub(in crate::decode) track: u64,
    /// When it is to be heard, behind the time of its cluster.
    pub(in crate::decode) ticks: i16,
    /// Where its packets lie in it.
    pub(in crate::decode) packets: Vec<Range<usize>>,
}

/// Where in a group its block lies, and what is said of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decode) struct Group {
    pub(in crate::decode) block: Range<usize>,
    /// Nanoseconds at the end of the block that nobody is to hear.
    pub(in crate::decode) discarded_ns: u64,
}

impl Group {
    /// Reads what a group holds.
    pub(in crate::decode) fn parse(body: &[u8]) -> Option<Self> {
        let (mut block, mut discarded_ns) = (None, 0);
        for (id, place) in children(body) {
            match id {
                BLOCK => block = Some(place),
                DISCARD_PADDING => discarded_ns = padding_ns(&body[place]),
                _ => {}
            }
        }
        Some(Self { block: block?, discarded_ns })
    }
}

/// Number of the track of a block, or of the group that begins with one.
pub(in crate::decode) fn track_of(body: &[u8], is_group: bool) -> Option<u64> {
    let block = match Element::parse(body).filter(|_| is_group) {
        Some(element) if element.id == BLOCK => body.get(element.header_bytes as usize..)?,
        Some(_) => return None,
        None => body,
    };
    variable(block).map(|(track, _)| track)
}

/// A signed integer; less than 0 means the start of a block, where only the codec's delay is told.
fn padding_ns(content: &[u8]) -> u64 {
    let is_negative = content.first().is_some_and(|first| first & 0x80 != 0);
    number(content).filter(|_| !is_negative).unwrap_or(0)
}

impl Block {
    /// Parses the whole block.
    pub(in crate::decode) fn parse(bytes: &[u8]) -> Option<Self> {
        let (track, track_bytes) = variable(bytes)?;
        let &[high, low, flags, ref body @ ..] = &bytes[track_bytes..] else { return None };
        let start = bytes.len() - body.len();
        let packets = match (flags >> 1) & 3 {
            // One is as long as all.
            0 => cut(start, body, EQUAL, 1)?,
            lacing => {
                let (count, laced) = body.split_first()?;
                cut(bytes.len() - laced.len(), laced, lacing, usize::from(*count) + 1)?
            }
        };
        Some(Self { track, ticks: i16::from_be_bytes([high, low]), packets })
    }
}

/// Where `count` packets lie that are laced together in `laced`, which starts at `start`.
fn cut(start: usize, laced: &[u8], lacing: u8, count: usize) -> Option<Vec<Range<usize>>> {
    let (mut rest, mut sizes) = (laced, Vec::with_capacity(count));
    while sizes.len() + 1 < count {
        sizes.push(match lacing {
            XIPH => xiph_size(&mut rest)?,
            EQUAL => laced.len() / count,
            _ => ebml_size(&mut rest, sizes.last().copied())?,
        });
    }
    let mut at = start + laced.len() - rest.len();
    let end = start + laced.len();
    let mut packets = Vec::with_capacity(count);
    for size in sizes {
        packets.push(at..at.checked_add(size).filter(|next| *next <= end)?);
        at += size;
    }
    packets.push(at..end);
    // The last of equal ones is as long as the others.
    (lacing != EQUAL || laced.len().is_multiple_of(count)).then_some(packets)
}

/// A size as the sum of bytes up to the first that is not 255.
fn xiph_size(rest: &mut &[u8]) -> Option<usize> {
    let full = rest.iter().take_while(|byte| **byte == 255).count();
    let last = usize::from(*rest.get(full)?);
    *rest = &rest[full + 1..];
    Some(full * 255 + last)
}

/// A size, or how much more it is than the one before.
fn ebml_size(rest: &mut &[u8], before: Option<usize>) -> Option<usize> {
    let (value, bytes) = variable(rest)?;
    *rest = &rest[bytes..];
    let Some(before) = before else { return usize::try_from(value).ok() };
    let middle = (1i64 << (7 * bytes - 1)) - 1;
    before.checked_add_signed(isize::try_from(i64::try_from(value).ok()? - middle).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(bytes: &[u8]) -> Option<Vec<&[u8]>> {
        let block = Block::parse(bytes)?;
        Some(block.packets.into_iter().map(|range| &bytes[range]).collect())
    }

    #[test]
    fn packets_are_cut_as_they_were_laced() {
        let plain = [&[0x81, 0xFF, 0xFE, 0x80][..], b"abc"].concat();
        let block = Block::parse(&plain).unwrap();
        assert_eq!((block.track, block.ticks), (1, -2));
        assert_eq!(packets(&plain), Some(vec![&b"abc"[..]]));
        let xiph = [&[0x40, 9, 0, 0, 0x02, 2, 1, 3][..], b"abbbcc"].concat();
        assert_eq!(Block::parse(&xiph).map(|block| block.track), Some(9));
        assert_eq!(packets(&xiph), Some(vec![&b"a"[..], b"bbb", b"cc"]));
        let long = [&[0x81, 0, 0, 0x02, 1, 255, 1][..], &[7; 300]].concat();
        assert_eq!(packets(&long), Some(vec![&[7; 256][..], &[7; 44]]));
        let fixed = [&[0x81, 0, 0, 0x04, 2][..], b"aabbcc"].concat();
        assert_eq!(packets(&fixed), Some(vec![&b"aa"[..], b"bb", b"cc"]));
        // 3, then 3 - 2, then what is left.
        let ebml = [&[0x81, 0, 0, 0x06, 2, 0x83, 0xBD][..], b"aaabcc"].concat();
        assert_eq!(packets(&ebml), Some(vec![&b"aaa"[..], b"b", b"cc"]));
    }

    #[test]
    fn laces_that_do_not_fit_are_none() {
        for bytes in [
            &[0x81, 0, 0, 0x02, 1, 9, 7, 7][..],
            &[0x81, 0, 0, 0x04, 1, 7, 7, 7],
            &[0x81, 0, 0, 0x06, 2, 0x81, 0x80, 7],
            &[0x81, 0, 0, 0x02],
            &[0x81, 0, 0],
            &[],
        ] {
            assert_eq!(Block::parse(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_group_says_what_of_its_block_is_not_heard() {
        let block = [0xA1, 0x85, 0x83, 0, 0, 0, 7];
        let padded = [&block[..], &[0x75, 0xA2, 0x82, 0x10, 0]].concat();
        assert_eq!(Group::parse(&padded), Some(Group { block: 2..7, discarded_ns: 4096 }));
        let before = [&[0x75, 0xA2, 0x81, 0xFF][..], &block].concat();
        assert_eq!(Group::parse(&before), Some(Group { block: 6..11, discarded_ns: 0 }));
        assert_eq!((track_of(&padded, true), track_of(&before, true)), (Some(3), None));
        assert_eq!(Group::parse(&[0x75, 0xA2, 0x81, 0xFF]), None);
    }
}
