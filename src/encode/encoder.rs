//! One encoder of whichever codec: push PCM, pull bytes.
//!
//! What a stream begins with may depend on all of it: a total, a checksum, a table of where to seek.
//! Such a *front* goes out provisional, and is there as it should be once the encoder has finished.

use std::{fmt::Display, ops::RangeInclusive};

#[cfg(feature = "aac")]
use super::aac;
#[cfg(feature = "mp3")]
use super::mp3;
use super::{Codec, Tags, flac, opus, wav::Samples};

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
    /// What tells the stream apart, where its format numbers streams.
    pub serial: u32,
    /// What it says of the music.
    pub tags: Tags,
}

/// Why there is no such encoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// This build has no encoder for it.
    #[error("this build has no encoder for {name}; one with `--features {name}` has", name = .0.name())]
    NotBuilt(Codec),
    /// No such level of it.
    #[error("{}", takes(.0, "level", .0.levels()))]
    Level(Codec),
    /// No such bit rate of it.
    #[error("{}", takes(.0, "bitrate", .0.bit_rates()))]
    BitRate(Codec),
    /// It never has this rate.
    #[error("`rate` of {} is {}", .0.name(), list(.0.rates_hz().unwrap_or_default()))]
    Rate(Codec),
    /// It never has as many channels.
    #[error("{}", takes(.0, "channels", Some(1..=.0.max_channels())))]
    Channels(Codec),
    /// FLAC cannot hold it.
    #[error(transparent)]
    Flac(#[from] flac::Error),
    /// Opus cannot hold it.
    #[error(transparent)]
    Opus(#[from] opus::Error),
}

fn takes<T: Display>(codec: &Codec, what: &str, range: Option<RangeInclusive<T>>) -> String {
    match range {
        Some(range) => {
            format!("`{what}` of {} is {} to {}", codec.name(), range.start(), range.end())
        }
        None => format!("{} has no `{what}`", codec.name()),
    }
}

fn list(rates_hz: &[u32]) -> String {
    rates_hz.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// A running encoder.
#[derive(Debug)]
pub enum Encoder {
    /// Of FLAC.
    Flac(Box<Flac>),
    /// Of Opus.
    Opus(Box<opus::Encoder>),
    /// Of MP3.
    #[cfg(feature = "mp3")]
    Mp3(Box<mp3::Encoder>),
    /// Of AAC.
    #[cfg(feature = "aac")]
    Aac(Box<aac::Encoder>),
}

/// FLAC, of which the final front has a checksum and a table of where to seek.
#[derive(Debug)]
pub struct Flac {
    encoder: flac::Encoder,
    front: Vec<u8>,
    room: Vec<u8>,
    further_bytes: usize,
}

/// Bytes for each channel of FLAC, which holds 257 KiB of two, and 347 of eight.
const FLAC_CHANNEL_BYTES: usize = 16 << 10;

/// How often its comments are there: in the layout, in what comes out first, and in both fronts, which others
/// have as well.
const COPIES: usize = 6;

impl Encoder {
    /// An encoder that has had nothing yet.
    ///
    /// # Errors
    /// What the codec cannot hold, see [`Error`].
    pub fn new(output: &Output) -> Result<Self, Error> {
        match output.codec {
            Codec::Flac => Ok(Self::Flac(Box::new(Flac::new(output)?))),
            Codec::Opus => {
                let Output { rate_hz, channels, bit_rate, serial, .. } = *output;
                let encoder =
                    opus::Encoder::new(rate_hz, channels, bit_rate, serial, &output.tags)?;
                Ok(Self::Opus(Box::new(encoder)))
            }
            #[cfg(feature = "mp3")]
            Codec::Mp3 => Ok(Self::Mp3(Box::new(mp3::Encoder::new(output)?))),
            #[cfg(feature = "aac")]
            Codec::Aac => Ok(Self::Aac(Box::new(aac::Encoder::new(output)?))),
            #[cfg(not(all(feature = "aac", feature = "mp3")))]
            other => Err(Error::NotBuilt(other)),
        }
    }

    /// Frames that are worth a turn of the core: a block of the codec.
    pub fn turn_frames(&self) -> usize {
        match self {
            Self::Flac(_) => flac::BLOCK_FRAMES,
            Self::Opus(_) => opus::BLOCK_FRAMES,
            #[cfg(feature = "mp3")]
            Self::Mp3(encoder) => encoder.block_frames(),
            #[cfg(feature = "aac")]
            Self::Aac(_) => aac::BLOCK_FRAMES,
        }
    }

    /// Bytes that it holds at most beyond 256 KiB.
    pub fn further_bytes(&self) -> usize {
        match self {
            Self::Flac(flac) => flac.further_bytes,
            Self::Opus(encoder) => encoder.further_bytes(),
            #[cfg(feature = "mp3")]
            Self::Mp3(_) => 0,
            #[cfg(feature = "aac")]
            Self::Aac(_) => 0,
        }
    }

    /// What goes out before the body where that is sent while it is made. Empty where the body says all by
    /// itself.
    pub fn front(&self) -> Vec<u8> {
        match self {
            Self::Flac(flac) => flac.front.clone(),
            Self::Opus(_) => Vec::new(),
            #[cfg(feature = "mp3")]
            Self::Mp3(encoder) => encoder.front(),
            #[cfg(feature = "aac")]
            Self::Aac(_) => Vec::new(),
        }
    }

    /// What goes out before it where the [final front](Self::final_front), which is as long, will take
    /// its place.
    pub fn room(&self) -> Vec<u8> {
        match self {
            Self::Flac(flac) => flac.room.clone(),
            Self::Opus(_) => Vec::new(),
            #[cfg(feature = "mp3")]
            Self::Mp3(encoder) => encoder.front(),
            #[cfg(feature = "aac")]
            Self::Aac(_) => Vec::new(),
        }
    }

    /// What stands before the body of a stream that is [finished](Self::finish).
    pub fn final_front(&self) -> Vec<u8> {
        match self {
            Self::Flac(flac) => flac.encoder.head(),
            Self::Opus(_) => Vec::new(),
            #[cfg(feature = "mp3")]
            Self::Mp3(encoder) => encoder.final_front(),
            #[cfg(feature = "aac")]
            Self::Aac(_) => Vec::new(),
        }
    }

    /// Takes interleaved frames, little endian, whole or cut anywhere. Whole blocks are encoded at once.
    pub fn push(&mut self, pcm: &[u8]) {
        match self {
            Self::Flac(flac) => flac.encoder.push(pcm),
            Self::Opus(encoder) => encoder.push(pcm),
            #[cfg(feature = "mp3")]
            Self::Mp3(encoder) => encoder.push(pcm),
            #[cfg(feature = "aac")]
            Self::Aac(encoder) => encoder.push(pcm),
        }
    }

    /// Encodes what is left: no more frames come. A frame that was not pushed whole is dropped.
    pub fn finish(&mut self) {
        match self {
            Self::Flac(flac) => flac.encoder.finish(),
            Self::Opus(encoder) => encoder.finish(),
            #[cfg(feature = "mp3")]
            Self::Mp3(encoder) => encoder.finish(),
            #[cfg(feature = "aac")]
            Self::Aac(encoder) => encoder.finish(),
        }
    }

    /// Copies bytes of the body to `into` and returns how many; 0 asks for more PCM or is the end.
    pub fn pull(&mut self, into: &mut [u8]) -> usize {
        match self {
            Self::Flac(flac) => flac.encoder.pull(into),
            Self::Opus(encoder) => encoder.pull(into),
            #[cfg(feature = "mp3")]
            Self::Mp3(encoder) => encoder.pull(into),
            #[cfg(feature = "aac")]
            Self::Aac(encoder) => encoder.pull(into),
        }
    }
}

impl Flac {
    fn new(output: &Output) -> Result<Self, Error> {
        let Output { rate_hz, channels, samples, frames, level, .. } = *output;
        let bits = match samples {
            Samples::Integer { bits } => bits,
            Samples::Float => 32,
        };
        let (format, level) =
            (flac::Format { rate_hz, channels, bits }, level.unwrap_or(flac::DEFAULT_LEVEL));
        // Who plays along needs no more than what there is to say.
        let comment = if output.tags.is_empty() { Vec::new() } else { output.tags.comments() };
        let front = flac::head(format, &flac::Layout { seek_points: 0, comment }, frames, None);
        let comment = output.tags.comments();
        let further_bytes = usize::from(channels) * FLAC_CHANNEL_BYTES + COPIES * comment.len();
        let mut encoder = flac::Encoder::stored(format, level, frames, comment)?;
        let (mut room, mut piece) = (Vec::new(), [0; 512]);
        loop {
            match encoder.pull(&mut piece) {
                0 => break,
                count => room.extend_from_slice(&piece[..count]),
            }
        }
        Ok(Self { encoder, front, room, further_bytes })
    }
}
