//! What PCM is called on the wire.
//!
//! Pure: no I/O, no clock, no executor.

use crate::encode::{Codec, Coding};

/// A value of the parameter `format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// WAV with 16 bit samples.
    Wav,
    /// WAV with 24 bit samples.
    Wav24,
    /// WAV with 32 bit float samples.
    Wav32f,
    /// Bare signed 16 bit samples, little endian.
    S16le,
    /// Bare signed 24 bit samples in 3 bytes, little endian.
    S24le,
    /// Bare signed 32 bit samples, little endian.
    S32le,
    /// Bare 32 bit float samples, little endian.
    F32le,
    /// Bare signed 16 bit samples, big endian: `audio/L16` (RFC 3551, section 4.5.11).
    S16be,
    /// Encoded: a FLAC stream, say.
    Encoded(Coding),
}

impl Format {
    /// FLAC as its encoder has it by itself.
    pub const FLAC: Self = Self::Encoded(Coding::plain(Codec::Flac));

    /// Those that go by a name alone, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Wav,
        Self::Wav24,
        Self::Wav32f,
        Self::S16le,
        Self::S24le,
        Self::S32le,
        Self::F32le,
        Self::S16be,
        Self::FLAC,
    ];

    /// The name as the parameter has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Wav24 => "wav24",
            Self::Wav32f => "wav32f",
            Self::S16le => "s16le",
            Self::S24le => "s24le",
            Self::S32le => "s32le",
            Self::F32le => "f32le",
            Self::S16be => "s16be",
            Self::Encoded(coding) => coding.codec.name(),
        }
    }

    /// What encodes it, where something does.
    pub fn coding(self) -> Option<Coding> {
        match self {
            Self::Encoded(coding) => Some(coding),
            _ => None,
        }
    }

    /// What its bytes depend on besides the samples and what is asked for: part of what they are called.
    pub fn identity(self) -> String {
        self.coding().map_or_else(String::new, |coding| coding.codec.identity())
    }

    /// The format called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The value of `Content-Type`.
    pub fn content_type(self, rate_hz: u32, channels: u16) -> String {
        match self {
            Self::Wav | Self::Wav24 | Self::Wav32f => "audio/wav".to_owned(),
            Self::Encoded(coding) => coding.codec.content_type().to_owned(),
            Self::S16be => format!("audio/L16;rate={rate_hz};channels={channels}"),
            _ => "application/octet-stream".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_by_its_name() {
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Some(format));
        }
        assert_eq!(Format::from_name("WAV"), None);
    }

    #[test]
    fn the_headers_are_those_of_the_interface() {
        assert_eq!(Format::S16be.content_type(44_100, 2), "audio/L16;rate=44100;channels=2");
        assert_eq!(Format::Wav24.content_type(48_000, 1), "audio/wav");
    }
}
