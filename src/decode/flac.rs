//! What the headers of FLAC say (RFC 9639).
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].

use std::ops::Range;

use super::mp4::Read;

/// Bytes of STREAMINFO.
pub(super) const STREAM_INFO_BYTES: usize = 34;
/// Metadata blocks that are looked at: real files have a dozen.
const BLOCKS: u32 = 1024;
/// Lists of comments that are read: the format allows one, files with two are known.
const COMMENTS: usize = 16;

/// What STREAMINFO says (RFC 9639, 8.2), as far as it can be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamInfo {
    /// Frames of the longest block.
    pub(super) block_frames: u32,
    /// Bytes of the longest frame; 0 if it does not say.
    pub(super) most_bytes: u32,
    pub(super) rate_hz: u32,
    pub(super) channels: u16,
    /// Bits per sample.
    pub(super) bits: u32,
    /// The total, where it says one.
    pub(super) frames: Option<u64>,
}

impl StreamInfo {
    pub(super) fn parse(block: &[u8; STREAM_INFO_BYTES]) -> Option<Self> {
        let half = |at: usize| u32::from(u16::from_be_bytes([block[at], block[at + 1]]));
        let word = u64::from_be_bytes(block[10..18].try_into().ok()?);
        let frames = word & 0xF_FFFF_FFFF;
        let info = Self {
            block_frames: half(2),
            most_bytes: u32::from(block[7]) << 16 | half(8),
            rate_hz: (word >> 44) as u32,
            channels: ((word >> 41) & 7) as u16 + 1,
            bits: ((word >> 36) & 31) as u32 + 1,
            frames: (frames > 0).then_some(frames),
        };
        let blocks = 16..=info.block_frames;
        let is_sound = blocks.contains(&half(0))
            && (1..=655_350).contains(&info.rate_hz)
            && (4..=32).contains(&info.bits);
        is_sound.then_some(info)
    }

    /// The longest that a frame of `frames` is: one whose samples are stored as they are, or the
    /// longest that there is.
    pub(super) fn most_bytes_of(&self, frames: u32) -> usize {
        /// Those of a frame besides its samples, and of each channel.
        const OVERHEAD_BYTES: u64 = FRAME_HEADER_BYTES as u64 + 2;
        const CHANNEL_BYTES: u64 = 8;
        // The difference of two channels has one bit more.
        let bits = u64::from(frames) * u64::from(self.channels) * u64::from(self.bits + 1);
        let stored = bits.div_ceil(8) + u64::from(self.channels) * CHANNEL_BYTES + OVERHEAD_BYTES;
        (stored as usize).max(self.most_bytes as usize)
    }
}

/// STREAMINFO of a native stream that starts with `bytes`.
pub(super) fn stream_info(bytes: &[u8]) -> Option<StreamInfo> {
    // The first metadata block is this one. Its header is four bytes.
    let fields = bytes.strip_prefix(b"fLaC")?;
    let block = fields.get(4..)?.first_chunk().filter(|_| fields[0] & 0x7F == 0)?;
    StreamInfo::parse(block)
}

/// The blocks before the first frame of a native stream (RFC 9639, 8).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    /// STREAMINFO as it is, wherever it stands.
    pub(super) stream_info: Option<[u8; STREAM_INFO_BYTES]>,
    /// Where the lists of comments lie.
    pub(super) comments: Vec<Range<u64>>,
    /// Where the first seek table lies.
    pub(super) seek_table: Option<Range<u64>>,
    /// Where the frames start; where the last block starts that can be one, if [`is_whole`] is false.
    ///
    /// [`is_whole`]: Self::is_whole
    pub(super) end: u64,
    /// The last block says that it is the last.
    pub(super) is_whole: bool,
}

/// Reads where the blocks of a stream lie, and STREAMINFO.
pub(super) fn read_metadata(read: &mut Read<'_>) -> Metadata {
    const STREAM_INFO: u8 = 0;
    const SEEK_TABLE: u8 = 3;
    const COMMENT: u8 = 4;
    let mut metadata = Metadata { end: 4, ..Metadata::default() };
    for _ in 0..BLOCKS {
        let mut head = [0; 4];
        if read(metadata.end, &mut head) < head.len() {
            break;
        }
        let start = metadata.end + 4;
        let end = start + (u64::from(u32::from_be_bytes(head)) & 0xFF_FFFF);
        match head[0] & 0x7F {
            STREAM_INFO if metadata.stream_info.is_none() => {
                let mut block = [0; STREAM_INFO_BYTES];
                let is_there = read(start, &mut block) == block.len();
                metadata.stream_info = is_there.then_some(block);
            }
            COMMENT if metadata.comments.len() < COMMENTS => metadata.comments.push(start..end),
            SEEK_TABLE if metadata.seek_table.is_none() => metadata.seek_table = Some(start..end),
            _ => {}
        }
        if read(end - 1, &mut [0]) == 0 {
            break;
        }
        metadata.end = end;
        metadata.is_whole = head[0] & 0x80 != 0;
        if metadata.is_whole {
            break;
        }
    }
    metadata
}

/// Bytes of the longest header of a frame.
pub(super) const FRAME_HEADER_BYTES: usize = 16;

/// What the header of a frame says (RFC 9639, 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Its number, or that of its first frame where blocks differ in their length.
    number: Number,
    pub(super) frames: u32,
    /// `None` if STREAMINFO says it; so of `bits`.
    rate_hz: Option<u32>,
    channels: u16,
    bits: Option<u32>,
    pub(super) bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    OfBlock(u64),
    OfFrame(u64),
}

impl FrameHeader {
    /// Parses the header at the start of `bytes`, of which [`FRAME_HEADER_BYTES`] are enough.
    /// `None` also if its checksum is another.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[0xFF, sync @ (0xF8 | 0xF9), sizes, kinds, ..] = bytes else { return None };
        if sizes >> 4 == 0 || sizes & 15 == 15 || kinds >> 4 > 10 || kinds & 1 != 0 {
            return None;
        }
        let (number, number_bytes) = coded_number(bytes.get(4..)?)?;
        let mut bytes_there = 4 + number_bytes;
        let (frames, size_bytes) = block_frames(sizes >> 4, bytes.get(bytes_there..)?)?;
        bytes_there += size_bytes;
        let (rate_hz, rate_bytes) = coded_rate(sizes & 15, bytes.get(bytes_there..)?)?;
        bytes_there += rate_bytes;
        let is_sound = *bytes.get(bytes_there)? == checksum(&bytes[..bytes_there]);
        is_sound.then_some(Self {
            number: if sync == 0xF8 { Number::OfBlock(number) } else { Number::OfFrame(number) },
            frames,
            rate_hz,
            channels: if kinds >> 4 < 8 { u16::from(kinds >> 4) + 1 } else { 2 },
            bits: coded_bits(kinds >> 1 & 7)?,
            bytes: bytes_there + 1,
        })
    }

    /// Whether it can be of the stream.
    pub(super) fn is_of(&self, info: &StreamInfo) -> bool {
        self.frames <= info.block_frames
            && self.channels == info.channels
            && self.rate_hz.is_none_or(|rate_hz| rate_hz == info.rate_hz)
            && self.bits.is_none_or(|bits| bits == info.bits)
    }

    /// Where it lies in the stream: the number of its first frame.
    pub(super) fn start(&self, info: &StreamInfo) -> u64 {
        match self.number {
            Number::OfFrame(frame) => frame,
            // All blocks but the last are equally long.
            Number::OfBlock(block) => block * u64::from(info.block_frames),
        }
    }

    /// Where the next starts.
    pub(super) fn end(&self, info: &StreamInfo) -> u64 {
        self.start(info) + u64::from(self.frames)
    }
}

/// A number that is coded as characters are in UTF-8, and up to seven bytes long, and its bytes.
fn coded_number(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = match first.leading_ones() {
        0 => return Some((u64::from(first), 1)),
        ones @ 2..=7 => ones as usize,
        _ => return None,
    };
    let start = u64::from(first) & (0x7F >> length);
    let rest = bytes.get(1..length)?;
    let number = rest.iter().try_fold(start, |number, byte| {
        (byte & 0xC0 == 0x80).then_some(number << 6 | u64::from(byte & 0x3F))
    });
    Some((number?, length))
}

/// The frames of a block by their code and by what may follow the number, and the bytes of that.
fn block_frames(code: u8, behind: &[u8]) -> Option<(u32, usize)> {
    Some(match code {
        1 => (192, 0),
        2..=5 => (144 << code, 0),
        6 => (u32::from(*behind.first()?) + 1, 1),
        7 => (u32::from(u16::from_be_bytes(*behind.first_chunk()?)) + 1, 2),
        8..=15 => (1 << code, 0),
        _ => return None,
    })
}

/// The rate by its code and by what may follow, and the bytes of that.
fn coded_rate(code: u8, behind: &[u8]) -> Option<(Option<u32>, usize)> {
    const RATES_HZ: [u32; 11] =
        [88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];
    let half = || Some(u32::from(u16::from_be_bytes(*behind.first_chunk()?)));
    Some(match code {
        0 => (None, 0),
        1..=11 => (Some(RATES_HZ[usize::from(code) - 1]), 0),
        12 => (Some(u32::from(*behind.first()?) * 1000), 1),
        13 => (Some(half()?), 2),
        14 => (Some(half()? * 10), 2),
        _ => return None,
    })
}

/// Bits per sample by their code; the inner `None` if STREAMINFO says it.
fn coded_bits(code: u8) -> Option<Option<u32>> {
    Some(match code {
        0 => None,
        1 => Some(8),
        2 => Some(12),
        4 => Some(16),
        5 => Some(20),
        6 => Some(24),
        7 => Some(32),
        _ => return None,
    })
}

/// The checksum of a header: CRC-8 by x^8 + x^2 + x + 1.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ byte, |sum: u8, _| if sum & 0x80 != 0 { sum << 1 ^ 7 } else { sum << 1 })
    })
}

/// Frames in the frame at the start of `bytes`, which a sound page holds. `None` if it is none.
///
/// A header whose own checksum is another counts too: what does not decode is silence so long.
pub(super) fn frames(bytes: &[u8]) -> Option<u64> {
    let &[0xFF, 0xF8 | 0xF9, sizes, _, ref rest @ ..] = bytes else { return None };
    let (_, number_bytes) = coded_number(rest)?;
    let (frames, _) = block_frames(sizes >> 4, rest.get(number_bytes..)?)?;
    Some(u64::from(frames))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::decode::mp4::tests::source;

    /// STREAMINFO of 44.1 kHz, two channels, 16 bits, blocks of 4096 and so many frames.
    pub(in crate::decode) fn info_block(frames: u64) -> [u8; STREAM_INFO_BYTES] {
        let mut block = [0; STREAM_INFO_BYTES];
        block[..4].copy_from_slice(&[0x10, 0, 0x10, 0]);
        block[10..18].copy_from_slice(&(0x0AC4_42F0_0000_0000 | frames).to_be_bytes());
        block
    }

    /// The marker, and blocks by their kinds.
    fn file(blocks: &[(u8, &[u8])]) -> Vec<u8> {
        let block =
            |(kind, body): &(u8, &[u8])| [&[*kind, 0, 0, body.len() as u8][..], body].concat();
        [b"fLaC".to_vec(), blocks.iter().flat_map(block).collect()].concat()
    }

    #[test]
    fn blocks_are_found_wherever_they_stand() {
        let info = info_block(7);
        let bytes = file(&[(4, b"ab"), (3, &[0; 18]), (1, b""), (0, &info), (0x84, b"c")]);
        let metadata = read_metadata(&mut source(&bytes));
        assert_eq!(metadata.stream_info, Some(info));
        assert_eq!(metadata.comments, [8..10, 78..79]);
        assert_eq!(metadata.seek_table, Some(14..32));
        assert_eq!((metadata.end, metadata.is_whole), (bytes.len() as u64, true));
    }

    #[test]
    fn a_block_that_reaches_behind_the_file_is_where_frames_are_looked_for() {
        let info = info_block(7);
        let mut bytes = file(&[(0, &info), (0x81, b"frames and no padding")]);
        bytes[4 + 38 + 1] = 1;
        let metadata = read_metadata(&mut source(&bytes));
        assert_eq!((metadata.end, metadata.is_whole), (42, false));
        assert_eq!(metadata.stream_info, Some(info));
        assert!(!read_metadata(&mut source(b"fLaC\x80\0\0")).is_whole);
    }

    #[test]
    fn stream_info_that_cannot_be_is_none() {
        let info = StreamInfo::parse(&info_block(44_100)).unwrap();
        assert_eq!((info.rate_hz, info.channels, info.bits), (44_100, 2, 16));
        assert_eq!((info.block_frames, info.frames), (4096, Some(44_100)));
        assert_eq!(StreamInfo::parse(&info_block(0)).unwrap().frames, None);
        // Blocks of 0 to 4096 frames, of 4096 to 0; no rate; one bit.
        let odd: [&[(usize, u8)]; 4] =
            [&[(0, 0)], &[(2, 0)], &[(10, 0), (11, 0), (12, 2)], &[(13, 0)]];
        for changes in odd {
            let mut block = info_block(1);
            changes.iter().for_each(|(at, byte)| block[*at] = *byte);
            assert_eq!(StreamInfo::parse(&block), None, "{changes:?}");
        }
    }

    /// A header with its checksum.
    pub(in crate::decode) fn header(fields: &[u8]) -> Vec<u8> {
        [fields, &[checksum(fields)]].concat()
    }

    #[test]
    fn a_header_says_where_its_frame_lies() {
        let info = StreamInfo::parse(&info_block(0)).unwrap();
        let bytes = header(&[0xFF, 0xF8, 0xC9, 0xA8, 0xC2, 0x80]);
        let parsed = FrameHeader::parse(&bytes).unwrap();
        assert_eq!((parsed.start(&info), parsed.end(&info)), (128 * 4096, 129 * 4096));
        assert_eq!(parsed.bytes, 7);
        assert!(parsed.is_of(&info));
        let bytes = header(&[0xFF, 0xF9, 0x7C, 0x18, 0xC2, 0x80, 0, 99, 44]);
        let parsed = FrameHeader::parse(&bytes).unwrap();
        assert_eq!((parsed.start(&info), parsed.end(&info)), (128, 228));
        assert!(!parsed.is_of(&info), "44 kHz");
        let cut = &bytes[..bytes.len() - 1];
        assert_eq!(FrameHeader::parse(cut), None, "cut off");
        assert_eq!(FrameHeader::parse(&[cut, &[1]].concat()), None, "another checksum");
        for reserved in [[0x09, 0xA8], [0xCF, 0xA8], [0xC9, 0xB8], [0xC9, 0xA9], [0xC9, 0xA6]] {
            let fields = [&[0xFF, 0xF8][..], &reserved, &[0, 0, 0]].concat();
            assert_eq!(FrameHeader::parse(&header(&fields)), None, "{reserved:X?}");
        }
    }

    #[test]
    fn a_frame_says_how_many_frames_it_holds() {
        let frame =
            |size: u8, rest: &[u8]| frames(&[&[0xFF, 0xF8, size << 4, 0x18], rest].concat());
        assert_eq!(frame(1, &[0]), Some(192));
        assert_eq!(
            [2, 5, 8, 12, 15].map(|size| frame(size, &[0]).unwrap()),
            [576, 4608, 256, 4096, 32768]
        );
        assert_eq!(frame(6, &[0x7F, 9]), Some(10));
        assert_eq!(frame(7, &[0xC2, 0x80, 1, 0]), Some(257));
        assert_eq!(frame(7, &[0xC2, 0x80, 1]), None, "cut off");
        assert_eq!(frame(0, &[0]), None, "reserved");
        assert_eq!(frames(b"OggS....."), None);
    }
}
