//! The frame headers of MPEG audio (ISO/IEC 11172-3, 13818-3) and of ADTS (ISO/IEC 13818-7).
//!
//! Pure: no I/O, no clock, no executor.

/// Bytes of an MPEG audio frame header.
pub(super) const MPEG_HEADER_BYTES: usize = 4;
/// Bytes of an ADTS header without its checksum.
pub(super) const ADTS_HEADER_BYTES: usize = 7;

/// Frames per second by the index that ADTS and AudioSpecificConfig share.
pub(super) const ADTS_RATES_HZ: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Which elementary stream a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// MPEG audio layer 1, 2 or 3.
    Mpeg {
        /// 1, 2 or 3.
        layer: u8,
    },
    /// AAC in ADTS.
    Adts,
}

/// What a frame header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Version bits, for comparison only.
    pub(super) version: u8,
    pub(super) rate_hz: u32,
    /// 0 where an AAC program config element says it.
    pub(super) channels: u16,
    /// Length of the whole frame with its header.
    pub(super) bytes: usize,
    /// Length of the header alone, with the checksum of ADTS.
    pub(super) header_bytes: usize,
    /// Frames (samples per channel) that it decodes to.
    pub(super) frames: u32,
    /// Bits per second, by which frames of one stream come out longer and shorter by a byte; 0 if it
    /// does not say.
    pub(super) bits_per_second: u32,
}

impl Header {
    /// Parses the header at the start of `bytes`, of whichever kind it is.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[0xFF, second, ..] = bytes else { return None };
        match second {
            0xF0 | 0xF1 | 0xF8 | 0xF9 => Self::parse_adts(bytes),
            second if second >= 0xE0 => Self::parse_mpeg(bytes),
            _ => None,
        }
    }

    fn parse_mpeg(bytes: &[u8]) -> Option<Self> {
        let &[_, b1, b2, b3, ..] = bytes else { return None };
        let (version, layer) = ((b1 >> 3) & 3, 4 - ((b1 >> 1) & 3));
        let (rate_index, rate) = ((b2 >> 4) as usize, (b2 >> 2) & 3);
        if version == 1 || layer == 4 || rate == 3 || matches!(rate_index, 0 | 15) {
            return None; // Reserved values, and the free format, of which a header says no length.
        }
        let rate_hz = [44_100, 48_000, 32_000][rate as usize] >> [2, 0, 1, 0][version as usize];
        let is_mpeg1 = version == 3;
        let bits_per_second = bit_rate(is_mpeg1, layer, rate_index) * 1000;
        let padding = ((b2 >> 1) & 1) as u32;
        let (frames, bytes) = match (layer, is_mpeg1) {
            (1, _) => (384, (12 * bits_per_second / rate_hz + padding) * 4),
            (3, false) => (576, 72 * bits_per_second / rate_hz + padding),
            _ => (1152, 144 * bits_per_second / rate_hz + padding),
        };
        Some(Self {
            kind: Kind::Mpeg { layer },
            version,
            rate_hz,
            channels: if b3 >> 6 == 3 { 1 } else { 2 },
            bytes: bytes as usize,
            header_bytes: MPEG_HEADER_BYTES,
            frames,
            bits_per_second,
        })
    }

    fn parse_adts(bytes: &[u8]) -> Option<Self> {
        let &[_, b1, b2, b3, b4, b5, b6, ..] = bytes else { return None };
        let rate_hz = *ADTS_RATES_HZ.get(((b2 >> 2) & 15) as usize)?;
        let channels = match ((b2 & 1) << 2) | (b3 >> 6) {
            7 => 8,
            configuration => u16::from(configuration),
        };
        let length = (usize::from(b3 & 3) << 11) | (usize::from(b4) << 3) | usize::from(b5 >> 5);
        let header_bytes = if b1 & 1 == 1 { ADTS_HEADER_BYTES } else { ADTS_HEADER_BYTES + 2 };
        let blocks = u32::from(b6 & 3) + 1;
        (length > header_bytes).then_some(Self {
            kind: Kind::Adts,
            version: b2 >> 6, // The profile: it does not change within a stream.
            rate_hz,
            channels,
            bytes: length,
            header_bytes,
            frames: 1024 * blocks,
            bits_per_second: 0,
        })
    }

    /// The same of a stream whose packets are extended: twice as many frames come at twice the rate.
    pub(super) fn extended(self) -> Self {
        Self { rate_hz: self.rate_hz * 2, frames: self.frames * 2, ..self }
    }

    /// Length of its frames in the mean, if the stream goes on at its bit rate.
    pub(super) fn mean_bytes(&self) -> f64 {
        match self.bits_per_second {
            0 => self.bytes as f64,
            bits => f64::from(bits) / 8.0 * f64::from(self.frames) / f64::from(self.rate_hz),
        }
    }

    /// Whether `other` can be a frame of the same stream. Channels may change, the rest does not.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.kind, self.version, self.rate_hz) == (other.kind, other.version, other.rate_hz)
    }
}

/// Kilobits per second by the table of the standard.
fn bit_rate(is_mpeg1: bool, layer: u8, index: usize) -> u32 {
    const TABLE: [[u32; 15]; 5] = [
        [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let row = match (is_mpeg1, layer) {
        (true, layer) => usize::from(layer) - 1,
        (false, 1) => 3,
        (false, _) => 4,
    };
    TABLE[row][index]
}

/// How many frames must follow each other before bytes with nothing else to say for themselves are
/// taken for a stream. Two can be chance in 200 kB of noise, three were not.
const CHAIN: usize = 3;

/// The first frame in `bytes` from which a chain of frames runs: its offset and header.
///
/// `ends` says that the source ends with `bytes`; then a shorter chain is enough if it runs into
/// the end.
pub(super) fn find_frames(bytes: &[u8], ends: bool) -> Option<(usize, Header)> {
    let mut from = 0;
    while let Some(sync) = bytes[from..].iter().position(|&byte| byte == 0xFF) {
        let at = from + sync;
        if let Some(header) = Header::parse(&bytes[at..])
            && runs(&bytes[at..], &header, ends, at == 0)
        {
            return Some((at, header));
        }
        from = at + 1;
    }
    None
}

/// Whether a chain of frames like `first` starts at `bytes`.
pub(super) fn runs(bytes: &[u8], first: &Header, ends: bool, at_start: bool) -> bool {
    let (mut offset, mut length) = (first.bytes, 1);
    while length < CHAIN {
        if offset >= bytes.len() {
            // One frame alone is believed if the source ends exactly with it.
            return ends && (offset == bytes.len() || length >= 2);
        }
        match Header::parse(&bytes[offset..]) {
            Some(next) if first.is_like(&next) => offset += next.bytes,
            // What follows the audio is a tag, or too short to tell.
            _ => return ends && (at_start || length >= 2) && is_trailer(&bytes[offset..]),
        }
        length += 1;
    }
    true
}

/// In so many bytes lie three frames of the free format: each has at most 5,760 (640 kbit/s at 8 kHz).
pub(super) const FREE_FORMAT_BYTES: usize = 12 << 10;

/// Whether `bytes` begin with MPEG audio whose frames are of some length that no header tells: three in a
/// row, all as long but for their padding.
pub(super) fn is_free_format(bytes: &[u8]) -> bool {
    let Some((kind, padding)) = free_header(bytes) else { return false };
    let next = |at: usize| free_header(bytes.get(at..)?).filter(|(next, _)| *next == kind);
    let last = bytes.len().min(FREE_FORMAT_BYTES) / 2;
    // A frame has side information: headers do not stand next to each other.
    (24..last).any(|at| next(at).is_some_and(|(_, more)| next(2 * at - padding + more).is_some()))
}

/// What all frames of a stream in the free format have in common, and the bytes of padding of this one.
pub(super) fn free_header(bytes: &[u8]) -> Option<([u8; 2], usize)> {
    let &[0xFF, b1, b2, _, ..] = bytes else { return None };
    let (version, layer) = ((b1 >> 3) & 3, 4 - ((b1 >> 1) & 3));
    let is_free = b1 >= 0xE0 && version != 1 && layer != 4 && b2 >> 4 == 0 && (b2 >> 2) & 3 != 3;
    let slot_bytes = if layer == 1 { 4 } else { 1 };
    is_free.then_some(([b1, b2 & 0xFC], usize::from((b2 >> 1) & 1) * slot_bytes))
}

/// Whether `bytes` begin one of the tags that follow audio, or are too few to be a frame.
pub(super) fn is_trailer(bytes: &[u8]) -> bool {
    bytes.len() < 4
        || [&b"TAG"[..], b"APETAGEX", b"LYRICSBEGIN", b"ID3"].iter().any(|m| bytes.starts_with(m))
}

/// Bytes of the footer of an APEv2 tag, and of its header.
const APE_FOOTER_BYTES: u64 = 32;

/// Length of the tag at the start of `bytes` (ID3v2, ID3v1, APEv2), if one is there.
pub(super) fn tag_bytes(bytes: &[u8]) -> Option<u64> {
    match bytes {
        [b'I', b'D', b'3', 2..=4, _, flags, a, b, c, d, ..] if (a | b | c | d) & 0x80 == 0 => {
            let size = [a, b, c, d].iter().fold(0, |size, &&byte| (size << 7) | u64::from(byte));
            let footer = if flags & 0x10 != 0 { 10 } else { 0 };
            Some(10 + size + footer)
        }
        [b'T', b'A', b'G', ..] => Some(128),
        [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', _, _, _, _, size @ ..] => {
            let size: [u8; 4] = size.get(..4)?.try_into().ok()?;
            let has_header = bytes.get(23).is_some_and(|flags| flags & 0x20 != 0);
            let size = u64::from(u32::from_le_bytes(size));
            // The size counts items and footer; a header comes on top.
            (size >= APE_FOOTER_BYTES)
                .then_some(size + if has_header { APE_FOOTER_BYTES } else { 0 })
        }
        _ => None,
    }
}

/// How many of `bytes` to pass, the first at least, for the next that may start a frame or a tag.
pub(super) fn junk_bytes(bytes: &[u8]) -> usize {
    let next = bytes.iter().skip(1).position(|byte| matches!(byte, 0xFF | b'T' | b'A' | b'I'));
    next.map_or(bytes.len(), |next| next + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of MPEG 1 layer 3, 128 kbit/s, 44.1 kHz, joint stereo.
    const MP3: [u8; 4] = [0xFF, 0xFB, 0x90, 0x64];

    fn stream(frames: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..frames {
            let start = bytes.len();
            bytes.extend(MP3);
            bytes.resize(start + 417, 0);
        }
        bytes
    }

    #[test]
    fn a_layer_3_header_says_its_length() {
        let header = Header::parse(&MP3).unwrap();
        assert_eq!(header.kind, Kind::Mpeg { layer: 3 });
        assert_eq!((header.bytes, header.frames, header.rate_hz), (417, 1152, 44_100));
        assert_eq!(header.channels, 2);
    }

    #[test]
    fn an_adts_header_says_its_length() {
        let bytes = [0xFF, 0xF1, 0x50, 0x80, 0x2E, 0x7F, 0xFC];
        let header = Header::parse(&bytes).unwrap();
        assert_eq!((header.kind, header.rate_hz, header.channels), (Kind::Adts, 44_100, 2));
        assert_eq!((header.bytes, header.header_bytes, header.frames), (371, 7, 1024));
    }

    #[test]
    fn frames_are_found_behind_junk_and_single_syncs_are_not_believed() {
        let mut bytes = vec![0xFF, 0xFB, 0x90, 0x64, 1, 2, 3, 0xFF, 0xFF];
        let junk = bytes.len();
        bytes.extend(stream(4));
        assert_eq!(find_frames(&bytes, false).map(|found| found.0), Some(junk));
        assert_eq!(find_frames(&bytes[..junk], true), None);
    }

    #[test]
    fn a_lonely_frame_is_believed_at_the_start_of_a_source_that_ends_with_it() {
        assert!(find_frames(&stream(1), true).is_some());
        assert!(find_frames(&stream(1), false).is_none());
    }

    #[test]
    fn the_free_format_is_known_by_three_frames_of_one_length() {
        let frames = |lengths: &[(usize, u8)]| {
            let mut bytes = Vec::new();
            for (length, padding) in lengths {
                let start = bytes.len();
                bytes.extend([0xFF, 0xFB, padding << 1, 0x64]);
                bytes.resize(start + length, 0);
            }
            bytes
        };
        let stream = frames(&[(1306, 1), (1305, 0), (1306, 1)]);
        assert!(is_free_format(&stream) && is_free_format(&stream[..2615]));
        assert!(!is_free_format(&stream[..2614]), "two can be chance");
        assert!(!is_free_format(&frames(&[(1306, 1), (1306, 0), (1306, 1)])), "none is as long");
        assert!(!is_free_format(&stream[1..]) && !is_free_format(&[0xFF; 5000]));
    }

    #[test]
    fn tags_say_their_length() {
        assert_eq!(tag_bytes(b"ID3\x03\x00\x00\x00\x00\x02\x01"), Some(10 + 257));
        assert_eq!(tag_bytes(b"TAG..."), Some(128));
        assert_eq!(tag_bytes(b"ID3\x03\x00\x00\x80\x00\x02\x01"), None);
        let ape = |size: u8| [b"APETAGEX\xD0\x07\0\0", &[size, 0, 0, 0][..], &[0; 16]].concat();
        assert_eq!(tag_bytes(&ape(40)), Some(40));
        assert_eq!(tag_bytes(&ape(31)), None, "it is shorter than its own footer");
    }

    #[test]
    fn junk_ends_where_a_frame_or_a_tag_may_start_and_not_at_once() {
        for (bytes, count) in
            [(&b"T..ID3"[..], 3), (b"TAG", 1), (b"..\xFF", 2), (b"...", 3), (b"", 0)]
        {
            assert_eq!(junk_bytes(bytes), count, "{bytes:?}");
        }
    }
}
