//! What one request for PCM will give, decided before its first byte.
//!
//! Pure: no I/O, no clock, no executor.

use super::{
    Ask, Error, Format,
    timeline::{self, Body, Slice},
};
use crate::{
    decode::{Encoding, Info, Sample, Spec, default_mask, frames_out},
    encode::{
        Coding, Output, Tags,
        wav::{self, Samples},
    },
};

/// The exact shape of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendition {
    /// The source.
    pub info: Info,
    /// Rate, channels and sample encoding of the answer.
    pub spec: Spec,
    /// Its form.
    pub format: Format,
    /// Which frames of the whole, counted at the answer's rate.
    pub slice: Slice,
}

impl Rendition {
    /// Decides the answer to `ask` for a source that is `info`.
    ///
    /// # Errors
    /// [`Error::Timeline`] when `t` lies behind the last frame; [`Error::Spec`] when the source cannot
    /// become what is asked for, [`Error::Unencodable`] when that is no choice of who asks.
    pub fn new(info: Info, ask: &Ask) -> Result<Self, Error> {
        let (own_hz, own_channels) = match ask.format {
            Format::Encoded(Coding { codec, .. }) => {
                (codec.rate_hz(info.rate_hz), codec.channels(info.channels.count))
            }
            _ => (info.rate_hz, info.channels.count),
        };
        let rate_hz = ask.rate_hz.unwrap_or(own_hz);
        let spec = Spec {
            rate_hz,
            channels: ask.channels.unwrap_or(own_channels),
            encoding: encoding(ask.format, &info),
            dither: ask.dither,
            quality: ask.quality,
        };
        spec.check(&info).map_err(|error| match ask.format {
            Format::Encoded(_) if rate_hz == own_hz => Error::Unencodable(error),
            _ => Error::Spec(error),
        })?;
        let total = total(&info, rate_hz);
        let slice = Slice::new(ask.start, ask.duration, rate_hz, total)?;
        Ok(Self { info, spec, format: ask.format, slice })
    }

    /// The same answer made of another source, whose rate and channels are brought to those that it has.
    ///
    /// # Errors
    /// As [`new`](Self::new): that source cannot become this.
    pub fn of_source(&self, info: Info) -> Result<Self, Error> {
        self.spec.check(&info)?;
        Ok(Self { info, ..self.clone() })
    }

    /// Frames of the whole that it is a slice of, counted at its rate, where they are known for sure.
    pub fn total(&self) -> Option<u64> {
        total(&self.info, self.spec.rate_hz)
    }

    /// Frames of the answer, where they are known for sure.
    pub fn frames(&self) -> Option<u64> {
        self.slice.frames()
    }

    /// The same, once it has turned out how many frames there are.
    pub fn of_frames(mut self, frames: u64) -> Self {
        self.slice = Slice { end: Some(self.slice.start + frames), exact: true, ..self.slice };
        self
    }

    /// What comes before the first frame. An encoder writes its own header.
    pub fn header(&self) -> Vec<u8> {
        self.wav().map_or_else(Vec::new, |wav| wav.header(self.frames()))
    }

    /// The header as it would have been, had it been known that the body has `bytes`; `None` where
    /// that was known, or where the header says nothing of it.
    pub fn header_of(&self, bytes: u64) -> Option<Vec<u8>> {
        let wav = self.wav().filter(|_| self.frames().is_none())?;
        let open = wav.header(None);
        let frames = (bytes - open.len() as u64) / self.spec.frame_bytes() as u64;
        // Past 4 GiB a header is longer, and there is no room for that.
        Some(wav.header(Some(frames))).filter(|known| known.len() == open.len())
    }

    /// Zero bytes after `frames` frames.
    pub fn padding_bytes(&self, frames: u64) -> u64 {
        self.wav().map_or(0, |wav| wav.padding_bytes(frames))
    }

    /// Its body, where that is known for sure to the byte. That of an encoder never is.
    pub fn body(&self) -> Option<Body> {
        let frames = self.frames().filter(|_| self.format.coding().is_none())?;
        Some(Body {
            header_bytes: self.header().len() as u64,
            frame_bytes: self.spec.frame_bytes() as u64,
            frames,
            padding_bytes: self.padding_bytes(frames),
        })
    }

    /// `Content-Type` of the body.
    pub fn content_type(&self) -> String {
        self.format.content_type(self.spec.rate_hz, self.spec.channels)
    }

    /// What an encoder is told; `None` where none is needed.
    pub fn output(&self) -> Option<Output> {
        let coding = self.format.coding()?;
        let Spec { rate_hz, channels, .. } = self.spec;
        Some(Output {
            codec: coding.codec,
            rate_hz,
            channels,
            samples: coding.codec.samples(bits(&self.info)),
            frames: self.frames(),
            level: coding.level,
            bit_rate: coding.bit_rate,
            serial: 0,
            tags: Tags::of(&self.info.tags, coding.codec, channels == self.info.channels.count),
        })
    }

    /// `X-Audio-Format`: what a sample is, also of those that are encoded.
    pub fn audio_format(&self) -> String {
        let encoding = match self.spec.encoding {
            Encoding::S16le => "s16le",
            Encoding::S16be => "s16be",
            Encoding::S24le => "s24le",
            Encoding::S32le => "s32le",
            Encoding::F32le => "f32le",
        };
        timeline::audio_format(encoding, self.spec.rate_hz, self.spec.channels, self.frames())
    }

    fn wav(&self) -> Option<wav::Format> {
        let samples = match self.format {
            Format::Wav => Samples::Integer { bits: 16 },
            Format::Wav24 => Samples::Integer { bits: 24 },
            Format::Wav32f => Samples::Float,
            _ => return None,
        };
        let own = self.spec.channels == self.info.channels.count;
        let mask = if own { self.info.channels.mask } else { default_mask(self.spec.channels) };
        let Spec { rate_hz, channels, .. } = self.spec;
        Some(wav::Format { rate_hz, channels, mask, samples })
    }
}

fn total(info: &Info, rate_hz: u32) -> Option<u64> {
    info.frames.map(|frames| frames_out(frames, info.rate_hz, rate_hz))
}

/// How samples lie in memory; of what is encoded, those that it is made from.
fn encoding(format: Format, source: &Info) -> Encoding {
    match format {
        Format::Wav | Format::S16le => Encoding::S16le,
        Format::Wav24 | Format::S24le => Encoding::S24le,
        Format::Wav32f | Format::F32le => Encoding::F32le,
        Format::S32le => Encoding::S32le,
        Format::S16be => Encoding::S16be,
        Format::Encoded(coding) => match coding.codec.samples(bits(source)) {
            Samples::Integer { bits: ..=16 } => Encoding::S16le,
            Samples::Integer { bits: 17..=24 } => Encoding::S24le,
            Samples::Integer { bits: 25.. } => Encoding::S32le,
            Samples::Float => Encoding::F32le,
        },
    }
}

/// Bits of a sample that nothing may be lost of. Floats as they are have 24 and an exponent, and are no
/// louder than 1 in what is finished; what a lossy codec decodes to is as exact as it is loud, and 16 are
/// what it was made of.
fn bits(source: &Info) -> Option<u16> {
    match source.sample {
        Sample::Integer { bits } => Some(bits as u16),
        Sample::Float if source.codec.starts_with("pcm_f") => Some(24),
        Sample::Float => None,
    }
}
