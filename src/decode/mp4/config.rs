//! AudioSpecificConfig: what kind of AAC a track holds (ISO/IEC 14496-3, 1.6.2.1).
//!
//! Pure: no I/O, no clock, no executor.

use super::program;
use crate::decode::headers::ADTS_RATES_HZ;

/// Speakers by the channel configuration, in the words of WAVE (1.6.3.5): none of 0, where a program config
/// element says it, nor of those from 8 on.
const SPEAKERS: [u32; 8] = [0, 0x4, 0x3, 0x7, 0x107, 0x37, 0x3F, 0x63F];

/// What a configuration says of spectral band replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct Extension {
    /// Frames per second of what is heard.
    pub(in crate::decode) rate_hz: u32,
    /// Whether one channel becomes two, where that is said.
    pub(in crate::decode) has_stereo: Option<bool>,
}

/// The name of the kind of AAC that we do not decode.
///
/// A spectral band replication that is ignored would play half the band at half the rate.
pub(in crate::decode) fn refused_config(config: &[u8]) -> Option<&'static str> {
    let mut bits = Bits { bytes: config, at: 0 };
    let object = bits.object_type()?;
    match object {
        2 | 5 | 29 => {}
        36 => return Some("mp4als"),
        42 => return Some("aac (xHE-AAC)"),
        32..=34 => return None,
        _ => return Some("aac (not Low Complexity)"),
    }
    let core_hz = bits.rate()?;
    let channels = bits.take(4)?;
    if channels > 7 {
        return Some("aac (a channel configuration above 7)");
    }
    if channels == 0 && object == 2 && speakers(config).is_none() {
        return Some("aac (a program of other channels than those of 7.1)");
    }
    let Some(extension) = extension(config) else {
        // One that says no more than that it is extended.
        return (object != 2).then_some("aac (HE-AAC that does not say its rate)");
    };
    if !matches!(channels, 1 | 2) {
        return Some("aac (HE-AAC of more than two channels)");
    }
    if extension.rate_hz != core_hz.saturating_mul(2) {
        return Some("aac (HE-AAC of another rate than twice its core's)");
    }
    if object != 2 {
        bits.rate()?;
        if bits.object_type()? != 2 {
            return Some("aac (HE-AAC whose core is not Low Complexity)");
        }
    }
    (bits.take(1)? == 1).then_some("aac (HE-AAC of 960 frames)")
}

/// What a configuration says of spectral band replication: in front of the core (1.6.5.2), or behind
/// it, where old decoders do not look.
pub(in crate::decode) fn extension(config: &[u8]) -> Option<Extension> {
    let mut bits = Bits { bytes: config, at: 0 };
    let object = bits.object_type()?;
    bits.rate()?;
    let channels = bits.take(4)?;
    if matches!(object, 5 | 29) {
        let has_stereo = (object == 29).then_some(true);
        return Some(Extension { rate_hz: bits.rate()?, has_stereo });
    }
    bits.take(3)?;
    if channels == 0 {
        program::speakers(&mut bits)?;
    }
    if bits.take(11)? != 0x2B7 || bits.object_type()? != 5 || bits.take(1)? != 1 {
        return None;
    }
    let rate_hz = bits.rate()?;
    let is_said = bits.take(11) == Some(0x548);
    Some(Extension { rate_hz, has_stereo: bits.take(1).filter(|_| is_said).map(|flag| flag == 1) })
}

/// The rate of the core. A sample entry often says that of the extension.
pub(in crate::decode) fn core_rate_hz(config: &[u8]) -> Option<u32> {
    let mut bits = Bits { bytes: config, at: 0 };
    bits.object_type()?;
    bits.rate().filter(|rate| *rate > 0)
}

/// The speakers that the channels are for, in the words of WAVE. `None`: it does not say it, or others than
/// WAVE has.
pub(in crate::decode) fn speakers(config: &[u8]) -> Option<u32> {
    let mut bits = Bits { bytes: config, at: 0 };
    let object = bits.object_type()?;
    bits.rate()?;
    match bits.take(4)? {
        0 if object == 2 => {
            bits.take(3)?;
            program::speakers(&mut bits)
        }
        channels => SPEAKERS.get(channels as usize).copied().filter(|mask| *mask != 0),
    }
}

/// Whether the channels are named by a program config element, in whose order they then come.
pub(in crate::decode) fn has_program(config: &[u8]) -> bool {
    let mut bits = Bits { bytes: config, at: 0 };
    let before = bits.object_type().and(bits.rate());
    before.is_some() && bits.take(4) == Some(0)
}

/// The configuration of Low Complexity of this rate, of one of [`ADTS_RATES_HZ`], and of so many channels by a
/// channel configuration. `None`: there is none.
pub(in crate::decode) fn config_of(rate_hz: u32, channels: u16) -> Option<[u8; 2]> {
    const LOW_COMPLEXITY: u16 = 2;
    let rate = ADTS_RATES_HZ.iter().position(|hz| *hz == rate_hz)? as u16;
    let of = |mask: &u32| mask.count_ones() == u32::from(channels);
    let channels = SPEAKERS.iter().position(|mask| *mask != 0 && of(mask))? as u16;
    Some((LOW_COMPLEXITY << 11 | rate << 7 | channels << 3).to_be_bytes())
}

/// Bits of a configuration.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next of them; `None` where it ends before.
    pub(super) fn take(&mut self, count: usize) -> Option<u32> {
        (0..count).try_fold(0, |value, _| {
            let byte = *self.bytes.get(self.at / 8)?;
            let bit = (byte >> (7 - self.at % 8)) & 1;
            self.at += 1;
            Some((value << 1) | u32::from(bit))
        })
    }

    /// Goes on at the next byte.
    pub(super) fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
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
        assert_eq!(speakers(&[0x12, 0x10]), Some(0x3));
        assert_eq!(core_rate_hz(&[0x13, 0x90]), Some(22_050));
        let said = |rate_hz, has_stereo| Some(Extension { rate_hz, has_stereo });
        for (config, expected) in [
            (&[0x12, 0x10][..], None),
            (&[0x2B, 0x92, 0x08, 0x00], said(44_100, None)),
            (&[0xEB, 0x8A, 0x08, 0x00], said(44_100, Some(true))),
            (&[0x13, 0x90, 0x56, 0xE5, 0xA0], said(44_100, None)),
            (&[0x13, 0x88, 0x56, 0xE5, 0xA5, 0x48, 0x80], said(44_100, Some(true))),
            (&[0x13, 0x88, 0x56, 0xE5, 0xA5, 0x48, 0x00], said(44_100, Some(false))),
            (&[0x13, 0x90, 0x56, 0xE5, 0x00], None),
        ] {
            assert_eq!(extension(config), expected, "{config:02x?}");
            assert_eq!(refused_config(config), None, "{config:02x?}");
        }
    }

    #[test]
    fn high_efficiency_that_is_not_decoded_is_refused_by_name() {
        let refused = |config: &[u8]| refused_config(config).unwrap_or_default();
        // 22.05 kHz becomes 22.05 kHz, 48 kHz, and says nothing.
        let one = "aac (HE-AAC of another rate than twice its core's)";
        assert_eq!(refused(&[0x2B, 0x93, 0x88, 0x00]), one);
        assert_eq!(refused(&[0x2B, 0x91, 0x88, 0x00]), one);
        assert_eq!(refused(&[0x2B, 0x92]), "aac (HE-AAC that does not say its rate)");
        assert_eq!(
            refused(&[0x2B, 0x92, 0x0C, 0x00]),
            "aac (HE-AAC whose core is not Low Complexity)"
        );
        assert_eq!(refused(&[0x2B, 0x92, 0x0A, 0x00]), "aac (HE-AAC of 960 frames)");
        assert_eq!(refused(&[0x2B, 0xB2, 0x08, 0x00]), "aac (HE-AAC of more than two channels)");
        assert_eq!(refused(&[0x12, 0x60]), "aac (a channel configuration above 7)");
        assert_eq!(refused(&[0x2B]), "");
    }

    #[test]
    fn a_configuration_that_is_made_says_what_it_was_made_of() {
        for (channels, mask) in
            [(1, 0x4), (2, 0x3), (3, 0x7), (4, 0x107), (5, 0x37), (6, 0x3F), (8, 0x63F)]
        {
            let config = config_of(48_000, channels).expect("there is one");
            assert_eq!((core_rate_hz(&config), speakers(&config)), (Some(48_000), Some(mask)));
            assert_eq!((refused_config(&config), has_program(&config)), (None, false));
        }
        assert_eq!(
            (config_of(48_000, 7), config_of(48_001, 2), config_of(48_000, 0)),
            (None, None, None)
        );
    }
}
