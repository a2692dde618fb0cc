//! AudioSpecificConfig: what kind of AAC a track holds (ISO/IEC 14496-3, 1.6.2.1).
//!
//! Pure: no I/O, no clock, no executor.

use crate::decode::headers::ADTS_RATES_HZ;

/// The name of the kind of AAC that we do not decode.
///
/// A spectral band replication that is ignored would play half the band at half the rate.
pub(in crate::decode) fn refused_config(config: &[u8]) -> Option<&'static str> {
    let mut bits = Bits { bytes: config, at: 0 };
    let object = bits.object_type()?;
    match object {
        5 | 29 => return Some("aac (HE-AAC)"),
        36 => return Some("mp4als"),
        42 => return Some("aac (xHE-AAC)"),
        2 => {}
        32..=34 => return None,
        _ => return Some("aac (not Low Complexity)"),
    }
    bits.rate()?;
    if bits.take(4)? > 2 {
        return Some("aac (more than two channels)");
    }
    bits.take(3)?;
    // The backward-compatible signal behind the plain configuration.
    let is_extended = bits.take(11)? == 0x2B7 && bits.object_type()? == 5 && bits.take(1)? == 1;
    is_extended.then_some("aac (HE-AAC)")
}

/// The rate of the core. A sample entry often says that of the extension.
pub(in crate::decode) fn core_rate_hz(config: &[u8]) -> Option<u32> {
    let mut bits = Bits { bytes: config, at: 0 };
    bits.object_type()?;
    bits.rate().filter(|rate| *rate > 0)
}

/// The channels of the core, where that is one or two.
pub(in crate::decode) fn core_channels(config: &[u8]) -> Option<u16> {
    let mut bits = Bits { bytes: config, at: 0 };
    bits.object_type()?;
    bits.rate()?;
    bits.take(4).filter(|channels| matches!(channels, 1 | 2)).map(|channels| channels as u16)
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        (0..count).try_fold(0, |value, _| {
            let byte = *self.bytes.get(self.at / 8)?;
            let bit = (byte >> (7 - self.at % 8)) & 1;
            self.at += 1;
            Some((value << 1) | u32::from(bit))
        })
    }

    fn object_type(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)?),
            object => Some(object),
        }
    }

    fn rate(&mut self) -> Option<u32> {
        match self.take(4)? {
            15 => self.take(24),
            index => ADTS_RATES_HZ.get(index as usize).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_efficiency_is_named_however_it_is_signalled() {
        assert_eq!(refused_config(&[0x12, 0x10]), None);
        assert_eq!(core_rate_hz(&[0x12, 0x10]), Some(44_100));
        assert_eq!(core_channels(&[0x12, 0x10]), Some(2));
        assert_eq!(core_rate_hz(&[0x13, 0x90]), Some(22_050));
        assert_eq!(refused_config(&[0x2B, 0x92, 0x08, 0x00]), Some("aac (HE-AAC)"));
        assert_eq!(refused_config(&[0x13, 0x90, 0x56, 0xE5, 0xA0]), Some("aac (HE-AAC)"));
    }
}
