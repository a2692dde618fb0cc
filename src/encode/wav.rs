//! The header of a WAVE file.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! One header per (format, frames): it has no room that depends on anything else, so every byte of
//! the response has a position before the first frame is decoded.
//!
//! ```text
//! RIFF size WAVE                    RF64 -1 WAVE               from 4 GiB on (EBU Tech 3306)
//!                                   ds64 28 riff data frames 0
//! fmt  16 or 40 ..                  fmt  ..                    40: WAVEFORMATEXTENSIBLE
//! fact 4 frames                     fact 4 -1                  floats only
//! data size                         data -1
//! ```

/// How samples are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Samples {
    /// Signed integers of 16, 24 or 32 bits.
    Integer {
        /// Bits per sample.
        bits: u16,
    },
    /// IEEE 754 binary32.
    Float,
}

impl Samples {
    fn bits(self) -> u16 {
        match self {
            Self::Integer { bits } => bits,
            Self::Float => 32,
        }
    }

    /// The format tag of WAVEFORMATEX, which is also how the sub-format's GUID begins.
    fn tag(self) -> u16 {
        match self {
            Self::Integer { .. } => 1,
            Self::Float => 3,
        }
    }
}

/// What the frames are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    /// Frames per second.
    pub rate_hz: u32,
    /// Channels of a frame.
    pub channels: u16,
    /// Which speakers they are, one bit per channel; 0 names none.
    pub mask: u32,
    /// How samples are stored.
    pub samples: Samples,
}

/// What stands in a 32-bit size that is unknown, or that is in `ds64`. Players read on to the end.
const NOT_HERE: u32 = u32::MAX;
/// `WAVE_FORMAT_EXTENSIBLE`.
const EXTENSIBLE: u16 = 0xFFFE;
/// The sub-format GUID behind its first two bytes, which are the format tag.
const SUBFORMAT_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];
const DS64_BYTES: u64 = 8 + 28;

impl Format {
    /// Bytes of one frame.
    pub fn frame_bytes(&self) -> u64 {
        u64::from(self.channels) * u64::from(self.samples.bits() / 8)
    }

    /// Bytes behind the last frame: chunks have even lengths, so an odd one is followed by a zero.
    pub fn padding_bytes(&self, frames: u64) -> u64 {
        frames.saturating_mul(self.frame_bytes()) % 2
    }

    /// The header in front of `frames` frames, or of as many as come if `None`.
    pub fn header(&self, frames: Option<u64>) -> Vec<u8> {
        let chunks = self.fmt_chunk();
        let fact_bytes = if self.samples == Samples::Float { 12 } else { 0 };
        let sizes = frames.map(|frames| {
            let data = frames.saturating_mul(self.frame_bytes());
            let before = 4 + chunks.len() as u64 + fact_bytes + 8;
            (before.saturating_add(data).saturating_add(data % 2), data)
        });
        let mut header = Vec::with_capacity(128);
        match sizes {
            Some((riff, data)) if riff >= u64::from(NOT_HERE) => {
                put_riff(&mut header, b"RF64", NOT_HERE);
                put_chunk(&mut header, b"ds64", 28);
                for size in [riff.saturating_add(DS64_BYTES), data, frames.unwrap_or(0)] {
                    header.extend(size.to_le_bytes());
                }
                header.extend(0_u32.to_le_bytes());
                self.put_rest(&mut header, &chunks, NOT_HERE, NOT_HERE);
            }
            Some((riff, data)) => {
                put_riff(&mut header, b"RIFF", riff as u32);
                self.put_rest(&mut header, &chunks, frames.unwrap_or(0) as u32, data as u32);
            }
            None => {
                put_riff(&mut header, b"RIFF", NOT_HERE);
                // Readers take a fact of 0 for "not stated", and one of all ones for a length.
                self.put_rest(&mut header, &chunks, 0, NOT_HERE);
            }
        }
        header
    }

    fn put_rest(&self, header: &mut Vec<u8>, fmt: &[u8], frames: u32, data: u32) {
        header.extend(fmt);
        if self.samples == Samples::Float {
            put_chunk(header, b"fact", 4);
            header.extend(frames.to_le_bytes());
        }
        put_chunk(header, b"data", data);
    }

    /// Plain for what every reader of 1991 knows, extensible for more channels or bits.
    fn fmt_chunk(&self) -> Vec<u8> {
        let bits = self.samples.bits();
        let extensible = self.channels > 2 || bits > 16;
        let mut chunk = Vec::with_capacity(48);
        put_chunk(&mut chunk, b"fmt ", if extensible { 40 } else { 16 });
        chunk.extend(if extensible { EXTENSIBLE } else { self.samples.tag() }.to_le_bytes());
        chunk.extend(self.channels.to_le_bytes());
        chunk.extend(self.rate_hz.to_le_bytes());
        let bytes_per_second = u64::from(self.rate_hz) * self.frame_bytes();
        chunk.extend(u32::try_from(bytes_per_second).unwrap_or(u32::MAX).to_le_bytes());
        chunk.extend((self.frame_bytes() as u16).to_le_bytes());
        chunk.extend(bits.to_le_bytes());
        if extensible {
            chunk.extend(22_u16.to_le_bytes());
            chunk.extend(bits.to_le_bytes());
            chunk.extend(self.mask.to_le_bytes());
            chunk.extend(self.samples.tag().to_le_bytes());
            chunk.extend(SUBFORMAT_TAIL);
        }
        chunk
    }
}

fn put_riff(into: &mut Vec<u8>, kind: &[u8; 4], size: u32) {
    put_chunk(into, kind, size);
    into.extend(b"WAVE");
}

fn put_chunk(into: &mut Vec<u8>, kind: &[u8; 4], size: u32) {
    into.extend(kind);
    into.extend(size.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(channels: u16, samples: Samples) -> Format {
        Format { rate_hz: 48_000, channels, mask: (1 << channels) - 1, samples }
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
    }

    const S16: Samples = Samples::Integer { bits: 16 };
    const S24: Samples = Samples::Integer { bits: 24 };

    #[test]
    fn stereo_of_16_bits_is_the_classic_44_bytes() {
        let header = format(2, S16).header(Some(1000));
        assert_eq!(header.len(), 44);
        assert_eq!(&header[..4], b"RIFF");
        assert_eq!(u32_at(&header, 4), 36 + 4000);
        assert_eq!(&header[8..16], b"WAVEfmt ");
        assert_eq!(header[20..24], [1, 0, 2, 0]);
        assert_eq!(u32_at(&header, 24), 48_000);
        assert_eq!(u32_at(&header, 28), 192_000);
        assert_eq!(header[32..36], [4, 0, 16, 0]);
        assert_eq!(&header[36..40], b"data");
        assert_eq!(u32_at(&header, 40), 4000);
    }

    #[test]
    fn more_bits_or_channels_are_extensible() {
        for (format, tag) in
            [(format(2, S24), 1), (format(6, S16), 1), (format(1, Samples::Float), 3)]
        {
            let header = format.header(Some(10));
            assert_eq!(u32_at(&header, 16), 40);
            assert_eq!(header[20..22], [0xFE, 0xFF]);
            assert_eq!(u32_at(&header, 40), format.mask);
            assert_eq!(header[44], tag);
            assert_eq!(header[46..60], SUBFORMAT_TAIL);
            let riff = u64::from(u32_at(&header, 4));
            assert_eq!(riff + 8, header.len() as u64 + 10 * format.frame_bytes());
        }
    }

    #[test]
    fn an_odd_chunk_is_padded_and_counted() {
        let format = format(1, S24);
        assert_eq!((format.padding_bytes(3), format.padding_bytes(4)), (1, 0));
        let header = format.header(Some(3));
        assert_eq!(u64::from(u32_at(&header, 4)) + 8, header.len() as u64 + 9 + 1);
        assert_eq!(u32_at(&header, header.len() - 4), 9);
    }

    #[test]
    fn an_unknown_length_is_all_ones_in_both_sizes() {
        let header = format(2, S16).header(None);
        assert_eq!((u32_at(&header, 4), u32_at(&header, 40)), (u32::MAX, u32::MAX));
    }

    #[test]
    fn from_4_gib_on_the_sizes_are_in_ds64() {
        let format = format(2, S16);
        let most = (u64::from(u32::MAX) - 1 - 36) / 4;
        assert_eq!(&format.header(Some(most))[..4], b"RIFF");
        let frames = most + 1;
        let header = format.header(Some(frames));
        assert_eq!(&header[..4], b"RF64");
        assert_eq!(u32_at(&header, 4), u32::MAX);
        assert_eq!(&header[12..16], b"ds64");
        assert_eq!(u64_at(&header, 20) + 8, header.len() as u64 + frames * 4);
        assert_eq!(u64_at(&header, 28), frames * 4);
        assert_eq!(u64_at(&header, 36), frames);
        assert_eq!(u32_at(&header, header.len() - 4), u32::MAX);
    }
}
