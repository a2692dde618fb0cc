//! The formats that audio is encoded to: what they are called, and what they take.
//!
//! Pure: no I/O, no clock, no executor.

use std::ops::RangeInclusive;

#[cfg(feature = "mp3")]
use super::mp3;
use super::{Error, flac, wav::Samples};

/// Raised where streams come out otherwise of the same samples: 2, since they say what the music is.
const REVISION: u32 = 2;

/// A format that audio is encoded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// FLAC in its own container (RFC 9639).
    Flac,
    /// Opus in Ogg (RFC 7845).
    Opus,
    /// MPEG-1/2 layer III.
    Mp3,
    /// AAC-LC in ADTS.
    Aac,
}

impl Codec {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Flac, Self::Opus, Self::Mp3, Self::Aac];

    /// The name as the parameter `format` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flac => "flac",
            Self::Opus => "opus",
            Self::Mp3 => "mp3",
            Self::Aac => "aac",
        }
    }

    /// The codec called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Flac => "audio/flac",
            Self::Opus => "audio/ogg; codecs=opus",
            Self::Mp3 => "audio/mpeg",
            Self::Aac => "audio/aac",
        }
    }

    /// How its files end, without the point, the usual one first.
    pub fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Flac => &["flac"],
            Self::Opus => &["opus", "ogg", "oga"],
            Self::Mp3 => &["mp3"],
            Self::Aac => &["aac"],
        }
    }

    /// The codec of a file that ends in `ending`, in lower case.
    pub fn from_ending(ending: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.endings().contains(&ending))
    }

    /// Whether this build has an encoder for it.
    pub fn is_built(self) -> bool {
        match self {
            Self::Flac | Self::Opus => true,
            Self::Mp3 => cfg!(feature = "mp3"),
            Self::Aac => cfg!(feature = "aac"),
        }
    }

    /// What its bytes depend on besides the samples and what is asked for: part of what they are called.
    pub fn identity(self) -> String {
        let switches = match self {
            #[cfg(feature = "mp3")]
            Self::Mp3 => mp3::switches(),
            _ => "",
        };
        format!(" written-{REVISION}{switches}")
    }

    /// How the samples that are pushed lie, where those of the source have so many `bits`; `None` where a
    /// lossy codec made them. What loses nothing takes as many as there are, up to 24: more are noise, and
    /// few players take FLAC of 32.
    pub fn samples(self, bits: Option<u16>) -> Samples {
        match (self, bits) {
            (Self::Flac, Some(17..)) => Samples::Integer { bits: 24 },
            (Self::Flac, _) => Samples::Integer { bits: 16 },
            (Self::Opus | Self::Mp3 | Self::Aac, _) => Samples::Float,
        }
    }

    /// The rate that audio of `source_hz` is encoded at where none is asked for: the nearest one that the
    /// format has.
    pub fn rate_hz(self, source_hz: u32) -> u32 {
        let rates = self.rates_hz().unwrap_or_default().iter().copied();
        rates.min_by_key(|rate_hz| rate_hz.abs_diff(source_hz)).unwrap_or(source_hz)
    }

    /// Rates that can be asked for, in Hz; `None` where all can.
    pub fn rates_hz(self) -> Option<&'static [u32]> {
        match self {
            Self::Flac => None,
            // Its own clock, whatever was given to the encoder (RFC 7845 section 4).
            Self::Opus => Some(&[48_000]),
            Self::Mp3 => {
                Some(&[8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
            }
            Self::Aac => Some(&[
                8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000,
                88_200, 96_000,
            ]),
        }
    }

    /// The channels that audio of so many is encoded with where none are asked for: as many of them as
    /// the format has.
    pub fn channels(self, source: u16) -> u16 {
        source.min(self.max_channels())
    }

    /// Most channels of a stream.
    pub fn max_channels(self) -> u16 {
        match self {
            Self::Flac | Self::Opus => 8,
            Self::Mp3 | Self::Aac => 2,
        }
    }

    /// Whether frames of any source could be encoded with the rate and the channels that are asked for.
    ///
    /// # Errors
    /// [`Error::Rate`] or [`Error::Channels`] if not.
    pub fn check(self, rate_hz: Option<u32>, channels: Option<u16>) -> Result<(), Error> {
        let is_one = |rates: &[u32]| rate_hz.is_none_or(|rate_hz| rates.contains(&rate_hz));
        let counts = 1..=self.max_channels();
        match () {
            () if !self.rates_hz().is_none_or(is_one) => Err(Error::Rate(self)),
            () if !channels.is_none_or(|count| counts.contains(&count)) => {
                Err(Error::Channels(self))
            }
            () => Ok(()),
        }
    }

    /// Levels of compression that can be asked for, the fastest first; `None` where there are none.
    pub fn levels(self) -> Option<RangeInclusive<u8>> {
        match self {
            Self::Flac => Some(0..=flac::MAX_LEVEL),
            Self::Opus | Self::Mp3 | Self::Aac => None,
        }
    }

    /// The level where none is asked for.
    fn default_level(self) -> Option<u8> {
        self.levels().map(|_| flac::DEFAULT_LEVEL)
    }

    /// Bit rates that can be asked for, in bits per second; `None` where there are none.
    pub fn bit_rates(self) -> Option<RangeInclusive<u32>> {
        match self {
            Self::Flac => None,
            Self::Opus => Some(6_000..=510_000),
            Self::Mp3 => Some(8_000..=320_000),
            Self::Aac => Some(8_000..=512_000),
        }
    }
}

/// Reads bits per second, also in thousands as encoders have it: `128k`.
pub fn parse_bit_rate(text: &str) -> Option<u32> {
    let (digits, scale) = text.strip_suffix('k').map_or((text, 1), |digits| (digits, 1000));
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse::<u32>().ok().filter(|_| is_number)?.checked_mul(scale)
}

/// A codec, and how hard it is to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Coding {
    /// Which one.
    pub codec: Codec,
    /// One of [`Codec::levels`]; the codec's own where it is not given.
    pub level: Option<u8>,
    /// Bits per second, one of [`Codec::bit_rates`]; the codec's own where it is not given.
    pub bit_rate: Option<u32>,
}

impl Coding {
    /// As the codec has it by itself.
    pub const fn plain(codec: Codec) -> Self {
        Self { codec, level: None, bit_rate: None }
    }

    /// As it is asked for.
    ///
    /// # Errors
    /// What this build cannot do, and what the codec does not take.
    pub fn new(codec: Codec, level: Option<u8>, bit_rate: Option<u32>) -> Result<Self, Error> {
        // Who names what goes without saying wants the same bytes as who does not.
        let named = level.filter(|level| codec.default_level() != Some(*level));
        let coding = Self { codec, level: named, bit_rate };
        let is_within = |range: Option<RangeInclusive<u32>>, value: Option<u32>| {
            value.is_none_or(|value| range.is_some_and(|range| range.contains(&value)))
        };
        let levels = codec.levels().map(|levels| (*levels.start()).into()..=(*levels.end()).into());
        match () {
            () if !codec.is_built() => Err(Error::NotBuilt(codec)),
            () if !is_within(levels, level.map(u32::from)) => Err(Error::Level(codec)),
            () if !is_within(codec.bit_rates(), bit_rate) => Err(Error::BitRate(codec)),
            () => Ok(coding),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_is_found_by_its_name_and_by_each_ending() {
        for codec in Codec::ALL {
            assert_eq!(Codec::from_name(codec.name()), Some(codec));
            for ending in codec.endings() {
                assert_eq!(Codec::from_ending(ending), Some(codec), "{ending}");
            }
        }
        assert_eq!((Codec::from_name("FLAC"), Codec::from_ending("wav")), (None, None));
    }

    #[test]
    fn what_a_codec_does_not_take_is_refused() {
        assert_eq!(Coding::new(Codec::Flac, None, None), Ok(Coding::plain(Codec::Flac)));
        assert_eq!(Coding::new(Codec::Flac, Some(5), None), Ok(Coding::plain(Codec::Flac)));
        assert_eq!(Coding::new(Codec::Flac, None, Some(128_000)), Err(Error::BitRate(Codec::Flac)));
        assert_eq!(Coding::new(Codec::Flac, Some(200), None), Err(Error::Level(Codec::Flac)));
        for codec in Codec::ALL {
            let coding = Coding::new(codec, None, None);
            assert_eq!(coding.is_ok(), codec.is_built(), "{coding:?}");
        }
    }

    #[test]
    fn what_a_codec_does_not_have_becomes_the_nearest_that_it_has() {
        for (codec, source, own) in [
            (Codec::Flac, (700_001, 6), (700_001, 6)),
            (Codec::Opus, (44_100, 6), (48_000, 6)),
            (Codec::Mp3, (44_100, 1), (44_100, 1)),
            (Codec::Mp3, (96_000, 6), (48_000, 2)),
            (Codec::Mp3, (6000, 2), (8000, 2)),
            (Codec::Aac, (96_000, 6), (96_000, 2)),
            (Codec::Aac, (192_000, 2), (96_000, 2)),
        ] {
            assert_eq!((codec.rate_hz(source.0), codec.channels(source.1)), own, "{codec:?}");
        }
    }

    #[test]
    fn what_a_codec_never_has_is_refused_with_what_it_has() {
        for codec in Codec::ALL {
            assert_eq!(codec.check(None, None), Ok(()));
            assert_eq!(codec.check(Some(48_000), Some(2)), Ok(()));
        }
        assert_eq!(Codec::Flac.check(Some(192_000), Some(8)), Ok(()));
        let refused = Codec::Mp3.check(Some(44_100), Some(3)).unwrap_err();
        assert_eq!(refused.to_string(), "`channels` of mp3 is 1 to 2");
        let refused = Codec::Opus.check(Some(44_100), None).unwrap_err();
        assert_eq!(refused.to_string(), "`rate` of opus is 48000");
    }

    #[test]
    fn bit_rates_are_numbers_or_thousands() {
        for (text, bit_rate) in
            [("128000", Some(128_000)), ("128k", Some(128_000)), ("k", None), ("+1", None)]
        {
            assert_eq!(parse_bit_rate(text), bit_rate, "{text}");
        }
        assert_eq!((parse_bit_rate("4294968k"), parse_bit_rate("128K")), (None, None));
    }

    #[test]
    fn nothing_is_lost_of_samples_in_flac() {
        let bits = |source| Codec::Flac.samples(source);
        assert_eq!(bits(Some(24)), Samples::Integer { bits: 24 });
        assert_eq!(bits(Some(16)), Samples::Integer { bits: 16 });
        assert_eq!(bits(None), Samples::Integer { bits: 16 });
    }
}
