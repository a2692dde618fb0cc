//! What stands in front of the first frame (RFC 9639 section 8).
//!
//! Pure: facts to bytes.
//!
//! ```text
//! fLaC | STREAMINFO 4+34 | SEEKTABLE 4+18n, if there is room for points | VORBIS_COMMENT, if wanted
//! ```
//!
//! The length follows from the [`Layout`] alone: a head that is written before anything is known can
//! be replaced by the final one in place.

use super::{BLOCK_FRAMES, Format, MAX_FRAMES};

/// Bytes of the marker and STREAMINFO.
pub const HEADER_BYTES: usize = 4 + BLOCK_HEADER_BYTES + STREAM_INFO_BYTES;
/// Bytes of a seek point (section 8.5.1).
const POINT_BYTES: usize = 18;
/// Bytes in front of a block of metadata (section 8.1).
const BLOCK_HEADER_BYTES: usize = 4;
const STREAM_INFO_BYTES: usize = 34;

/// Types of metadata blocks (section 8.1).
const STREAM_INFO: u8 = 0;
const SEEK_TABLE: u8 = 3;
const VORBIS_COMMENT: u8 = 4;

/// A frame that a player may start at (section 8.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeekPoint {
    /// The first sample of it, counted in each channel.
    pub sample: u64,
    /// Its first byte, counted from that of the first frame.
    pub offset: u64,
    /// Samples of it, in each channel.
    pub samples: u16,
}

/// What a player reads where there is room for a point and none is known.
const PLACEHOLDER: SeekPoint = SeekPoint { sample: u64::MAX, offset: 0, samples: 0 };

/// What blocks there are behind STREAMINFO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Points that the SEEKTABLE has room for; with 0 there is none.
    pub seek_points: usize,
    /// The list of a VORBIS_COMMENT (section 8.6); where it is empty there is none.
    pub comment: Vec<u8>,
}

impl Layout {
    /// Bytes of the head.
    pub fn bytes(&self) -> usize {
        let table = match self.seek_points {
            0 => 0,
            points => BLOCK_HEADER_BYTES + points * POINT_BYTES,
        };
        let comment = match self.comment.len() {
            0 => 0,
            bytes => BLOCK_HEADER_BYTES + bytes,
        };
        HEADER_BYTES + table + comment
    }
}

/// What is known of a stream once it has been encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Frames of the audio, that is samples of each channel.
    pub frames: u64,
    /// Bytes of the smallest FLAC frame.
    pub min_frame_bytes: u32,
    /// Bytes of the largest one.
    pub max_frame_bytes: u32,
    /// MD5 of the interleaved samples, little endian (section 8.2).
    pub md5: [u8; 16],
    /// Points for the SEEKTABLE, in order.
    pub seek_points: Vec<SeekPoint>,
}

/// The head of a stream of which the length may be known, and all the rest where `summary` is there.
///
/// Without a summary its fields are those of what is not known (section 8.2), and there are placeholders
/// for all points.
///
/// # Panics
/// If there are more points than the layout has room for.
pub fn head(
    format: Format,
    layout: &Layout,
    frames: Option<u64>,
    summary: Option<&Summary>,
) -> Vec<u8> {
    let mut head = Vec::with_capacity(layout.bytes());
    head.extend(b"fLaC");
    let is_last = *layout == Layout::default();
    put_block(&mut head, STREAM_INFO, is_last, &stream_info(format, frames, summary));
    if layout.seek_points > 0 {
        let points = summary.map_or(&[][..], |summary| &summary.seek_points);
        let is_last = layout.comment.is_empty();
        put_block(&mut head, SEEK_TABLE, is_last, &seek_table(layout.seek_points, points));
    }
    if !layout.comment.is_empty() {
        put_block(&mut head, VORBIS_COMMENT, true, &layout.comment);
    }
    assert_eq!(head.len(), layout.bytes());
    head
}

fn put_block(head: &mut Vec<u8>, kind: u8, is_last: bool, body: &[u8]) {
    head.extend((body.len() as u32).to_be_bytes());
    let at = head.len() - BLOCK_HEADER_BYTES;
    head[at] = kind | u8::from(is_last) << 7;
    head.extend(body);
}

/// STREAMINFO (section 8.2). A length that it cannot hold is not known to it.
fn stream_info(
    format: Format,
    frames: Option<u64>,
    summary: Option<&Summary>,
) -> [u8; STREAM_INFO_BYTES] {
    let frames = summary.map_or(frames, |summary| Some(summary.frames));
    let total = frames.filter(|frames| *frames <= MAX_FRAMES).unwrap_or(0);
    let fields = u64::from(format.rate_hz) << 44
        | u64::from(format.channels - 1) << 41
        | u64::from(format.bits - 1) << 36
        | total;
    let mut info = [0; STREAM_INFO_BYTES];
    // The sizes of blocks are those of all but the last.
    info[..2].copy_from_slice(&(BLOCK_FRAMES as u16).to_be_bytes());
    info[2..4].copy_from_slice(&(BLOCK_FRAMES as u16).to_be_bytes());
    info[10..18].copy_from_slice(&fields.to_be_bytes());
    if let Some(summary) = summary {
        info[4..7].copy_from_slice(&summary.min_frame_bytes.to_be_bytes()[1..]);
        info[7..10].copy_from_slice(&summary.max_frame_bytes.to_be_bytes()[1..]);
        info[18..].copy_from_slice(&summary.md5);
    }
    info
}

/// SEEKTABLE (section 8.5): points in order, then placeholders.
fn seek_table(room: usize, points: &[SeekPoint]) -> Vec<u8> {
    assert!(points.len() <= room, "a table has room for its points");
    let mut table = Vec::with_capacity(room * POINT_BYTES);
    let points = points.iter().chain(std::iter::repeat(&PLACEHOLDER));
    for point in points.take(room) {
        table.extend(point.sample.to_be_bytes());
        table.extend(point.offset.to_be_bytes());
        table.extend(point.samples.to_be_bytes());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format { rate_hz: 44_100, channels: 2, bits: 16 };

    fn full() -> Layout {
        Layout { seek_points: 3, comment: b"\x02\0\0\0me\0\0\0\0".to_vec() }
    }

    fn summary() -> Summary {
        Summary {
            frames: 5000,
            min_frame_bytes: 0x0001_0203,
            max_frame_bytes: 0x0004_0506,
            md5: [9; 16],
            seek_points: vec![SeekPoint { sample: 0, offset: 0, samples: 4096 }],
        }
    }

    #[test]
    fn the_final_head_is_as_long_as_the_first() {
        for layout in [Layout::default(), full(), Layout { comment: Vec::new(), ..full() }] {
            let summary = Summary { seek_points: Vec::new(), ..summary() };
            let first = head(FORMAT, &layout, None, None);
            assert_eq!(head(FORMAT, &layout, Some(1), Some(&summary)).len(), first.len());
            assert_eq!(first.len(), layout.bytes());
        }
    }

    #[test]
    fn blocks_follow_each_other_and_the_last_one_says_so() {
        let head = head(FORMAT, &full(), None, Some(&summary()));
        assert_eq!(head[..8], *b"fLaC\x00\x00\x00\x22");
        assert_eq!(head[8..18], [0x10, 0, 0x10, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(head[18..26], [0x0A, 0xC4, 0x42, 0xF0, 0, 0, 0x13, 0x88]);
        assert_eq!(head[26..42], [9; 16]);
        assert_eq!(head[42..46], [3, 0, 0, 54]);
        assert_eq!(head[46..64], *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0");
        let placeholder = [[0xFF; 8].as_slice(), &[0; 10]].concat();
        assert_eq!(head[64..100], placeholder.repeat(2));
        assert_eq!(head[100..104], [0x84, 0, 0, 10]);
        assert_eq!(head[104..], full().comment);
    }

    #[test]
    fn a_length_that_has_no_room_is_not_known() {
        assert_eq!(head(FORMAT, &Layout::default(), Some(MAX_FRAMES), None)[21..26], [0xFF; 5]);
        let long = head(FORMAT, &Layout::default(), Some(MAX_FRAMES + 1), None);
        assert_eq!(long[21..26], [0xF0, 0, 0, 0, 0]);
    }
}
