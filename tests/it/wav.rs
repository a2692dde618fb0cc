//! Just enough of WAVE to compare samples.

/// A WAVE file of stereo in 16 bits.
pub fn stereo(rate: u32, data: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let data: Vec<u8> = data.into_iter().collect();
    let length = data.len() as u32;
    let mut wav = b"RIFF".to_vec();
    wav.extend((length + 36).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    wav.extend(rate.to_le_bytes());
    wav.extend((rate * 4).to_le_bytes());
    wav.extend(b"\x04\0\x10\0data");
    wav.extend(length.to_le_bytes());
    wav.extend(data);
    wav
}

/// A WAVE file as a client got it.
pub struct Wav {
    pub rate: u32,
    pub channels: u16,
    pub bits: u16,
    pub data: Vec<u8>,
    /// What the `data` chunk says about its length.
    pub stated: u32,
}

impl Wav {
    pub fn parse(bytes: &[u8]) -> Wav {
        assert!(bytes.starts_with(b"RIFF") && &bytes[8..12] == b"WAVE", "no WAVE");
        let u16_at = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap());
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let mut at = 12;
        let mut format = 0;
        loop {
            let (name, size) = (&bytes[at..at + 4], u32_at(at + 4));
            match name {
                b"fmt " => format = at + 8,
                b"data" => {
                    let left = bytes.len() - at - 8;
                    let length = if size == u32::MAX { left } else { left.min(size as usize) };
                    return Wav {
                        rate: u32_at(format + 4),
                        channels: u16_at(format + 2),
                        bits: u16_at(format + 14),
                        data: bytes[at + 8..at + 8 + length].to_vec(),
                        stated: size,
                    };
                }
                _ => {}
            }
            at += 8 + size as usize + (size as usize & 1);
        }
    }

    pub fn frames(&self) -> usize {
        self.data.len() / (usize::from(self.channels) * usize::from(self.bits) / 8)
    }

    pub fn samples(&self) -> Vec<i16> {
        assert_eq!(self.bits, 16);
        self.data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    }
}
