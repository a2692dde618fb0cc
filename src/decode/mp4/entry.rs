//! The sample entry of an audio track: what its samples are (ISO/IEC 14496-12, 12.2.3, and the
//! QuickTime File Format, Sound Sample Description).
//!
//! Pure: no I/O, no clock, no executor.

use super::{config::refused_config, u32_at};

/// What one audio track's samples are.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::decode) struct Entry {
    /// Its four letters.
    pub(in crate::decode) kind: [u8; 4],
    /// Object type indication of the elementary stream descriptor; 0 if there is none.
    pub(in crate::decode) object_type: u8,
    /// What the decoder is told: AudioSpecificConfig, ALACSpecificConfig or STREAMINFO.
    pub(in crate::decode) config: Vec<u8>,
    pub(in crate::decode) channels: u16,
    pub(in crate::decode) rate_hz: u32,
    /// What plain samples are.
    pub(in crate::decode) pcm: Option<Pcm>,
}

/// Samples as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) enum Pcm {
    Alaw,
    Mulaw,
    Plain { bits: u16, is_float: bool, is_signed: bool, is_big_endian: bool },
}

impl Pcm {
    /// Bytes of one.
    pub(in crate::decode) fn sample_bytes(self) -> u32 {
        match self {
            Self::Alaw | Self::Mulaw => 1,
            Self::Plain { bits, .. } => u32::from(bits).div_ceil(8),
        }
    }
}

/// Bytes of an entry before what depends on its version.
const BASE_BYTES: usize = 36;

impl Entry {
    /// The first entry of a sample description, of which `body` is the content.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let entry = body.get(8..)?;
        let entry = entry.get(..u32_at(entry, 0) as usize).unwrap_or(entry);
        let kind = entry.get(4..8)?.try_into().ok()?;
        let mut read = Self {
            kind,
            channels: u16_at(entry, 24),
            rate_hz: u32::from(u16_at(entry, 32)),
            ..Self::default()
        };
        let version = u16_at(entry, 16);
        if version == 2 && u32_at(entry, 52) == 0x7F00_0000 {
            let rate = entry.get(40..48).and_then(|rate| rate.try_into().ok());
            read.rate_hz = rate.map_or(0.0, f64::from_be_bytes) as u32;
            read.channels = u16::try_from(u32_at(entry, 48)).unwrap_or(0);
        }
        read.pcm = pcm(entry, version);
        read.configure(entry);
        Some(read)
    }

    /// Reads the box inside that is for the decoder. It is found by its name, for its place depends on
    /// the version, and on the box in which QuickTime puts it.
    fn configure(&mut self, entry: &[u8]) {
        match &self.kind {
            b"alac" => {
                let cookie = named(entry, b"alac").and_then(|content| content.get(4..));
                self.config = cookie.unwrap_or_default().to_vec();
                if self.config.len() >= 24 {
                    (self.rate_hz, self.channels) =
                        (u32_at(&self.config, 20), u16::from(self.config[9]));
                }
            }
            // The first block is STREAMINFO, behind its header.
            b"fLaC" => {
                let blocks = named(entry, b"dfLa").and_then(|content| content.get(4..));
                let block =
                    blocks.filter(|block| block.first().is_some_and(|kind| kind & 0x7F == 0));
                self.config = block.and_then(|block| block.get(4..38)).unwrap_or_default().to_vec();
            }
            _ => {
                let descriptors = named(entry, b"esds").and_then(|content| content.get(4..));
                (self.object_type, self.config) = described(descriptors.unwrap_or_default());
            }
        }
    }

    /// Bytes of a frame of plain samples.
    pub(in crate::decode) fn frame_bytes(&self) -> Option<u32> {
        let sample_bytes = self.pcm?.sample_bytes();
        Some(sample_bytes * u32::from(self.channels)).filter(|bytes| *bytes > 0)
    }

    /// Whether its configuration is one of AAC.
    pub(in crate::decode) fn is_aac(&self) -> bool {
        &self.kind == b"mp4a" && matches!(self.object_type, 0x40 | 0x66 | 0x67)
    }

    /// The name of a codec that is known and not decoded.
    pub(in crate::decode) fn refused(&self) -> Option<&'static str> {
        Some(match &self.kind {
            b"ac-3" => "ac3",
            b"ec-3" => "eac3",
            b"ac-4" => "ac4",
            b"dtsc" | b"dtsh" | b"dtse" | b"dtsl" | b"dtsx" => "dts",
            b"mhm1" | b"mhm2" | b"mha1" | b"mha2" => "mpegh_3d_audio",
            b"iamf" => "iamf",
            b"Opus" => "opus",
            b"samr" => "amr_nb",
            b"sawb" => "amr_wb",
            b"enca" => "encrypted audio",
            b"mp4a" => match self.object_type {
                0xA5 => "ac3",
                0xA6 => "eac3",
                0xA9..=0xAC => "dts",
                0xDD => "vorbis in mp4",
                _ => return refused_config(&self.config),
            },
            _ => return None,
        })
    }
}

/// The content of a box of that kind, wherever it stands in `entry`.
fn named<'a>(entry: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    let inside = entry.get(BASE_BYTES..)?;
    let at = inside.windows(4).skip(4).position(|name| name == kind)?;
    let bytes = u32_at(inside, at) as usize;
    let content = inside.get(at + 8..)?;
    Some(content.get(..bytes.checked_sub(8)?).unwrap_or(content))
}

/// What the samples are, of the kinds that have no codec.
fn pcm(entry: &[u8], version: u16) -> Option<Pcm> {
    let bits = u16_at(entry, 26);
    // QuickTime's words are big-endian if nothing says otherwise.
    let is_little = named(entry, b"enda").is_some_and(|content| u16_at(content, 0) == 1);
    let plain = |bits, is_float, is_big_endian| {
        Some(Pcm::Plain { bits, is_float, is_signed: true, is_big_endian })
    };
    match entry.get(4..8)? {
        b"alaw" => Some(Pcm::Alaw),
        b"ulaw" => Some(Pcm::Mulaw),
        b"raw " if bits == 8 => {
            Some(Pcm::Plain { bits, is_float: false, is_signed: false, is_big_endian: false })
        }
        b"sowt" if matches!(bits, 8 | 16) => plain(bits, false, false),
        b"twos" if matches!(bits, 8 | 16) => plain(bits, false, true),
        b"in24" => plain(24, false, !is_little),
        b"in32" => plain(32, false, !is_little),
        b"fl32" => plain(32, true, !is_little),
        b"fl64" => plain(64, true, !is_little),
        b"lpcm" if version == 2 => {
            let (bits, flags) = (u16::try_from(u32_at(entry, 56)).ok()?, u32_at(entry, 60));
            Some(Pcm::Plain {
                bits,
                is_float: flags & 1 != 0,
                is_big_endian: flags & 2 != 0,
                is_signed: flags & 4 != 0,
            })
        }
        _ => None,
    }
}

/// What an elementary stream descriptor (ISO/IEC 14496-1, 7.2.6.5) says: the object type, and what the decoder is
/// told.
pub(in crate::decode) fn described(mut rest: &[u8]) -> (u8, Vec<u8>) {
    let mut object_type = 0;
    while let Some((tag, content, after)) = descriptor(rest) {
        rest = match tag {
            3 => content.get(3..).unwrap_or_default(),
            4 => {
                object_type = content.first().copied().unwrap_or(0);
                content.get(13..).unwrap_or_default()
            }
            5 => return (object_type, content.to_vec()),
            _ => after,
        };
    }
    (object_type, Vec::new())
}

/// Tag, content and rest of an MPEG-4 descriptor.
fn descriptor(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, mut rest) = bytes.split_first()?;
    let mut length = 0usize;
    for _ in 0..4 {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        length = (length << 7) | usize::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            break;
        }
    }
    let length = length.min(rest.len());
    Some((tag, &rest[..length], &rest[length..]))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |half| u16::from_be_bytes([half[0], half[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample description of one entry: its kind, version, bits, and what stands in it behind the
    /// fields of all versions.
    fn description(kind: &[u8; 4], version: u8, bits: u8, inside: &[u8]) -> Vec<u8> {
        let mut entry = [&[0, 0, 0, 0], &kind[..], &[0; 8], &[0, version], &[0; 6]].concat();
        entry.extend([0, 2, 0, bits, 0, 0, 0, 0, 0xBB, 0x80, 0, 0]);
        entry.extend(inside);
        let length = entry.len() as u32;
        entry[..4].copy_from_slice(&length.to_be_bytes());
        [&[0, 0, 0, 0, 0, 0, 0, 1], &entry[..]].concat()
    }

    fn atom(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
    }

    #[test]
    fn the_box_for_the_decoder_is_found_wherever_it_stands() {
        let esds =
            [0, 0, 0, 0, 3, 25, 0, 1, 0, 4, 17, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 2];
        let esds = atom(b"esds", &[&esds[..], &[0x12, 0x10]].concat());
        let plain = Entry::parse(&description(b"mp4a", 0, 16, &esds)).unwrap();
        assert_eq!((plain.object_type, &plain.config[..]), (0x40, &[0x12, 0x10][..]));
        assert_eq!((plain.rate_hz, plain.channels), (48_000, 2));
        let wave =
            [&[0; 16][..], &atom(b"wave", &[atom(b"frma", b"mp4a"), esds].concat())].concat();
        assert_eq!(Entry::parse(&description(b"mp4a", 1, 16, &wave)).unwrap(), plain);

        let mut cookie = [0; 24];
        (cookie[9], cookie[22]) = (1, 0x56);
        let alac = atom(b"alac", &[&[0; 4][..], &cookie].concat());
        let alac = Entry::parse(&description(b"alac", 0, 16, &alac)).unwrap();
        assert_eq!((alac.rate_hz, alac.channels), (0x5600, 1));
        assert_eq!(alac.config, cookie);

        let flac = atom(b"dfLa", &[&[0, 0, 0, 0, 0x80, 0, 0, 34][..], &[7; 34]].concat());
        let flac = Entry::parse(&description(b"fLaC", 0, 16, &flac)).unwrap();
        assert_eq!(flac.config, [7; 34]);
    }

    #[test]
    fn plain_samples_say_what_they_are() {
        let pcm = |kind, bits, inside: &[u8]| {
            Entry::parse(&description(kind, 0, bits, inside)).unwrap().pcm
        };
        let plain = |bits, is_float, is_big_endian| {
            Some(Pcm::Plain { bits, is_float, is_signed: true, is_big_endian })
        };
        assert_eq!(pcm(b"sowt", 16, &[]), plain(16, false, false));
        assert_eq!(pcm(b"twos", 8, &[]), plain(8, false, true));
        assert_eq!(pcm(b"in24", 16, &[]), plain(24, false, true));
        let little = atom(b"wave", &atom(b"enda", &[0, 1]));
        assert_eq!(pcm(b"fl32", 16, &little), plain(32, true, false));
        assert_eq!(pcm(b"raw ", 16, &[]), None);
        assert_eq!(pcm(b"mp4a", 16, &[]), None);
    }

    #[test]
    fn a_cut_entry_is_what_is_there() {
        let whole = description(b"alac", 0, 16, &atom(b"alac", &[0; 28]));
        for length in 0..whole.len() {
            let read = Entry::parse(&whole[..length]);
            assert_eq!(read.is_some(), length >= 16, "{length}");
        }
    }
}
