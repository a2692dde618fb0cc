//! The Xing, Info, LAME and VBRI tags in the first frame of an MP3 file.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A tag is only as true as its file is whole: who reads it compares [`Tag::bytes`] with what is
//! there before believing [`Tag::packets`]. The delay holds either way.

use super::headers::{Header, Kind};

/// Frames by which every MP3 decoder is late: 528 of the filter banks and one more.
const DECODER_DELAY: u32 = 529;

/// What the tag says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tag {
    /// MPEG frames that follow the one with the tag.
    pub(super) packets: Option<u32>,
    /// Bytes of all MPEG frames, that with the tag included.
    pub(super) bytes: Option<u32>,
    /// Frames to drop at the start, the decoder's own delay included; 0 if no encoder said.
    pub(super) delay: u32,
    /// Frames to drop at the end, the decoder's own delay taken off.
    pub(super) padding: u32,
}

/// What a tag says of the whole, to be believed where the bytes that it counts end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// Frames of the trimmed timeline.
    pub(super) frames: u64,
    /// Position behind the last byte.
    pub(super) end: u64,
}

/// The tag in the MPEG frame `frame`, if it is one instead of audio.
pub(super) fn parse(frame: &[u8]) -> Option<Tag> {
    let header = Header::parse(frame)?;
    let Kind::Mpeg { layer: 3 } = header.kind else { return None };
    let side_information = match (header.version == 3, header.channels) {
        (true, 1) => 17,
        (true, _) => 32,
        (false, 1) => 9,
        (false, _) => 17,
    };
    let checksum = if frame[1] & 1 == 0 { 2 } else { 0 };
    // Encoders differ on whether the checksum counts; look at both places.
    frame
        .get(4 + side_information..)
        .and_then(parse_xing)
        .or_else(|| frame.get(4 + side_information + checksum..).and_then(parse_xing))
        .or_else(|| frame.get(36..).and_then(parse_vbri))
}

fn parse_xing(tag: &[u8]) -> Option<Tag> {
    let mut rest = tag.strip_prefix(b"Xing").or_else(|| tag.strip_prefix(b"Info"))?;
    let flags = take_u32(&mut rest)?;
    let packets = if flags & 1 != 0 { Some(take_u32(&mut rest)?) } else { None };
    let bytes = if flags & 2 != 0 { Some(take_u32(&mut rest)?) } else { None };
    for (flag, length) in [(4, 100), (8, 4)] {
        if flags & flag != 0 {
            rest = rest.get(length..)?;
        }
    }
    let (delay, padding) = parse_lame(rest).unwrap_or((0, 0));
    Some(Tag { packets: packets.filter(|packets| *packets > 0), bytes, delay, padding })
}

/// Delay and padding from the extension of LAME, which libavformat writes too.
fn parse_lame(extension: &[u8]) -> Option<(u32, u32)> {
    let encoder = extension.get(..4)?;
    if ![b"LAME", b"Lavf", b"Lavc"].iter().any(|name| encoder == *name) {
        return None;
    }
    let &[a, b, c] = extension.get(21..24)? else { return None };
    let delay = (u32::from(a) << 4) | u32::from(b >> 4);
    let padding = (u32::from(b & 15) << 8) | u32::from(c);
    Some((delay + DECODER_DELAY, padding.saturating_sub(DECODER_DELAY)))
}

fn parse_vbri(tag: &[u8]) -> Option<Tag> {
    // Version, delay and quality stand before the counts. The delay is left alone: its meaning
    // differs between the versions of the one encoder that wrote it.
    let mut rest = tag.strip_prefix(b"VBRI")?.get(6..)?;
    let bytes = take_u32(&mut rest)?;
    let packets = take_u32(&mut rest)?;
    Some(Tag { packets: Some(packets), bytes: Some(bytes), ..Tag::default() })
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (word, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: &[u8], at: usize) -> Vec<u8> {
        let mut frame = vec![0; 417];
        frame[..4].copy_from_slice(&[0xFF, 0xFB, 0x90, 0x64]);
        frame[at..at + tag.len()].copy_from_slice(tag);
        frame
    }

    #[test]
    fn a_lame_tag_says_frames_bytes_delay_and_padding() {
        let mut tag = b"Info\0\0\0\x0F\0\0\0\x27\0\0\x21\x8A".to_vec();
        tag.extend([0; 104]);
        tag.extend(b"LAME3.100");
        tag.resize(tag.len() + 12, 0);
        tag.extend([0x24, 0x04, 0xCC]);
        let tag = parse(&frame(&tag, 36)).unwrap();
        assert_eq!((tag.packets, tag.bytes), (Some(39), Some(0x218A)));
        assert_eq!((tag.delay, tag.padding), (576 + 529, 0x4CC - 529));
    }

    #[test]
    fn a_vbri_tag_says_frames_and_bytes() {
        let tag = parse(&frame(b"VBRI\0\x01\0\0\0\0\0\0\x10\0\0\0\0\x75", 36)).unwrap();
        assert_eq!((tag.packets, tag.bytes, tag.delay), (Some(0x75), Some(0x1000), 0));
    }

    #[test]
    fn audio_is_no_tag_and_cut_tags_are_none() {
        assert_eq!(parse(&frame(b"", 36)), None);
        assert_eq!(parse(&frame(b"Info\0\0\0\x0F\0\0", 36)[..44]), None);
    }
}
