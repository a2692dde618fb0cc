//! What one request for PCM will give, decided before its first byte.
//!
//! Pure: no I/O, no clock, no executor.

use super::{
    Ask, Error, Format,
    timeline::{self, Body, Slice},
};
use crate::{
    decode::{Encoding, Info, Sample, Spec, default_mask, frames_out},
    encode::wav::{self, Samples},
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
    /// [`Error::Timeline`] when `t` lies behind the last frame.
    pub fn new(info: Info, ask: &Ask) -> Result<Self, Error> {
        let rate_hz = ask.rate_hz.unwrap_or(info.rate_hz);
        let spec = Spec {
            rate_hz,
            channels: ask.channels.unwrap_or(info.channels.count),
            encoding: encoding(ask.format, info.sample),
            dither: ask.dither,
            quality: ask.quality,
        };
        let total = info.frames.map(|frames| frames_out(frames, info.rate_hz, rate_hz));
        let slice = Slice::new(ask.start, ask.duration, rate_hz, total)?;
        Ok(Self { info, spec, format: ask.format, slice })
    }

    /// Frames of the answer, where they are known for sure.
    pub fn frames(&self) -> Option<u64> {
        self.slice.frames()
    }

    /// What comes before the first frame. A FLAC encoder writes its own header.
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

    /// Its body, where that is known for sure to the byte. A FLAC stream never is.
    pub fn body(&self) -> Option<Body> {
        let frames = self.frames().filter(|_| self.format != Format::Flac)?;
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

    /// `X-Audio-Format`: what a sample is, also of those that FLAC holds.
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

/// How samples lie in memory; for FLAC, what it is made from: 24 bits where the source has more
/// than 16, for nothing must be lost.
fn encoding(format: Format, source: Sample) -> Encoding {
    match (format, source) {
        (Format::Flac, Sample::Integer { bits: 17.. }) => Encoding::S24le,
        (Format::Wav | Format::S16le | Format::Flac, _) => Encoding::S16le,
        (Format::Wav24 | Format::S24le, _) => Encoding::S24le,
        (Format::Wav32f | Format::F32le, _) => Encoding::F32le,
        (Format::S32le, _) => Encoding::S32le,
        (Format::S16be, _) => Encoding::S16be,
    }
}
