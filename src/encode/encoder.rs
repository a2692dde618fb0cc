//! One encoder of whichever codec: push PCM, pull bytes.
//!
//! What a stream begins with may depend on all of it: a total, a checksum, a table of where to seek.
//! Such a *front* goes out provisional, and is there as it should be once the encoder has finished.

use std::{fmt::Display, ops::RangeInclusive};

use super::{Codec, flac, wav::Samples};

/// What is encoded, and into what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The format.
    pub codec: Codec,
    /// Frames per second.
    pub rate_hz: u32,
    /// Channels of a frame.
    pub channels: u16,
    /// How the samples that are pushed lie, as [`Codec::samples`] says.
    pub samples: Samples,
    /// Frames that will come, where that is known for sure.
    pub frames: Option<u64>,
    /// One of [`Codec::levels`]; the codec's own where it is not given.
    pub level: Option<u8>,
    /// Bits per second, one of [`Codec::bit_rates`]; the codec's own where it is not given.
    pub bit_rate: Option<u32>,
}

/// Why there is no such encoder. All of these are the request's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// This build has no encoder for it.
    #[error("this build has no encoder for {}", .0.name())]
    NotBuilt(Codec),
    /// No such level of it.
    #[error("{}", takes(.0, "level", .0.levels()))]
    Level(Codec),
    /// No such bit rate of it.
    #[error("{}", takes(.0, "bitrate", .0.bit_rates()))]
    BitRate(Codec),
    /// FLAC cannot hold it.
    #[error(transparent)]
    Flac(#[from] flac::Error),
}

fn takes<T: Display>(codec: &Codec, what: &str, range: Option<RangeInclusive<T>>) -> String {
    match range {
        Some(range) => {
            format!("`{what}` of {} is {} to {}", codec.name(), range.start(), range.end())
        }
        None => format!("{} has no `{what}`", codec.name()),
    }
}

/// A running encoder.
#[derive(Debug)]
pub enum Encoder {
    /// Of FLAC.
    Flac(flac::Encoder),
}

impl Encoder {
    /// An encoder, whose front can be pulled at once.
    ///
    /// # Errors
    /// What the codec cannot hold, see [`Error`].
    pub fn new(output: &Output) -> Result<Self, Error> {
        let Output { codec, rate_hz, channels, samples, frames, .. } = *output;
        match codec {
            Codec::Flac => {
                let bits = match samples {
                    Samples::Integer { bits } => bits,
                    Samples::Float => 32,
                };
                Ok(Self::Flac(flac::Encoder::new(rate_hz, channels, bits, frames)?))
            }
            Codec::Opus | Codec::Mp3 | Codec::Aac => Err(Error::NotBuilt(codec)),
        }
    }

    /// Frames that are worth a turn of the core: a block of the codec.
    pub fn turn_frames(&self) -> usize {
        match self {
            Self::Flac(_) => flac::BLOCK_FRAMES,
        }
    }

    /// Takes interleaved frames, little endian, whole or cut anywhere. Whole blocks are encoded at once.
    pub fn push(&mut self, pcm: &[u8]) {
        match self {
            Self::Flac(encoder) => encoder.push(pcm),
        }
    }

    /// Encodes what is left: no more frames come. A frame that was not pushed whole is dropped.
    pub fn finish(&mut self) {
        match self {
            Self::Flac(encoder) => encoder.finish(),
        }
    }

    /// Copies encoded bytes to `into` and returns how many; 0 asks for more PCM or is the end.
    pub fn pull(&mut self, into: &mut [u8]) -> usize {
        match self {
            Self::Flac(encoder) => encoder.pull(into),
        }
    }
}
