//! MP3 of a constant bit rate, frame by frame while the PCM comes in.
//!
//! Layer III of MPEG-1, of MPEG-2 for half its rates (ISO/IEC 11172-3, 13818-3), and of the extension to
//! half of those. A decoder gives some frames before the first that was encoded, and whole MPEG frames;
//! the `tag` in front says how much of both to drop, so what is decoded is as long as what was encoded. The
//! same frames give the same bytes.
//!
//! Each MPEG frame holds its own data and none of its neighbours': the crate's encoder of whole streams,
//! which spreads it, keeps all of a stream in memory until its end. Nothing of that could be measured
//! (30 s of music at 64 to 192 kbit/s: 0.01 dB of noise).

mod tag;

use std::{env, ffi::OsString, sync::OnceLock};

use crc_fast::{CrcAlgorithm, Digest};
use rusty_mp3::{
    Mp3Encode, encoder_header,
    header::{FrameHeader, MpegVersion},
};

use super::{Codec, Error, Output, incoming::Incoming, outgoing::Outgoing};

/// Bits per second of each channel where nobody asks for others: of MPEG-1, and of the lower rates.
const CHANNEL_BIT_RATES: [u32; 2] = [64_000, 32_000];
/// The loudest that a sample may be: what is beyond is damage, and decoders clip at half of it.
const LIMIT: f32 = 2.0;
/// Frames by which this encoder is late.
const ENCODER_DELAY: u64 = 528;
/// Frames by which every decoder is late beyond that.
const DECODER_DELAY: u64 = 529;
/// Silence in front of the shorter blocks of MPEG-2: with it all that is to be dropped there is two whole
/// blocks. Of a third one ffmpeg would keep what it should drop where the audio ends in it.
const LOW_RATE_LEAD: u64 = 2 * 576 - ENCODER_DELAY - DECODER_DELAY;
/// MPEG frames of a stream at least: a single one is not believed to be any.
const MIN_PACKETS: u64 = 2;
/// Variables of the environment by which the crate's frames come out otherwise (`rusty_mp3` 1.0.5): switches
/// of its author's, which nobody can take from it while threads run.
const SWITCHES: [&str; 8] = [
    "MP3_PICK",
    "MP3_PSY_DOMAIN",
    "MP3_SHAPE",
    "MP3_SHORT_SHAPE",
    "MP3_SMR_DB",
    "MP3_STEREO",
    "MP3_THR_CAP",
    "RFF_MP3_XRPOW",
];

/// Those of them that are set, and to what, the same for as long as the process lives.
pub(super) fn switches() -> &'static str {
    static SWITCHES: OnceLock<String> = OnceLock::new();
    SWITCHES.get_or_init(|| set(|name| env::var_os(name)))
}

/// Those that are set as `variable` has them; nothing where none is.
fn set(variable: impl Fn(&str) -> Option<OsString>) -> String {
    let told = |name| variable(name).map(|value| format!(" {name}={value:?}"));
    SWITCHES.into_iter().filter_map(told).collect()
}

/// A running encoder. Push PCM, pull bytes.
pub struct Encoder {
    encoder: Mp3Encode,
    header: FrameHeader,
    /// The block that is being filled, and once it is, each channel of it.
    incoming: Incoming,
    planes: Vec<Vec<f32>>,
    /// Frames that will come, where that is known for sure.
    expected: Option<u64>,
    /// MPEG frames behind the tag.
    packets: u64,
    checksum: Digest,
    /// What the stream says of the music, in front of all.
    id3: Vec<u8>,
    is_finished: bool,
    encoded: Outgoing,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("mp3::Encoder")
            .field("header", &self.header)
            .field("packets", &self.packets)
            .finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder of interleaved floats. Of bit rates it has the one of its sample rate that is nearest to
    /// what is asked for.
    ///
    /// # Errors
    /// [`Error::Rate`] and [`Error::Channels`].
    pub(super) fn new(output: &Output) -> Result<Self, Error> {
        let Output { rate_hz, channels, bit_rate, frames, .. } = *output;
        Codec::Mp3.check(Some(rate_hz), Some(channels))?;
        let order: &[usize] = if channels == 1 { &[0] } else { &[0, 1] };
        let is_low = rate_hz < 32_000;
        let bit_rate =
            bit_rate.unwrap_or(u32::from(channels) * CHANNEL_BIT_RATES[usize::from(is_low)]);
        let header = encoder_header(rate_hz, channels, bit_rate / 1000);
        let header = header.map_err(|_| Error::Rate(Codec::Mp3))?;
        let block_frames = header.version.samples_per_frame();
        let mut made = Self {
            encoder: Mp3Encode::new(),
            incoming: Incoming::new(order, block_frames, LIMIT),
            planes: vec![Vec::with_capacity(block_frames); order.len()],
            header,
            expected: frames,
            packets: 0,
            checksum: Digest::new(CrcAlgorithm::Crc16Arc),
            id3: output.tags.id3(),
            is_finished: false,
            encoded: Outgoing::default(),
        };
        let lead = made.lead() as usize * order.len() * size_of::<f32>();
        made.push(&vec![0; lead]);
        Ok(made)
    }

    /// Frames of an MPEG frame.
    pub fn block_frames(&self) -> usize {
        self.header.version.samples_per_frame()
    }

    /// Frames of silence that were put in front.
    fn lead(&self) -> u64 {
        if self.header.version == MpegVersion::V1 { 0 } else { LOW_RATE_LEAD }
    }

    /// What the tag says of so many frames of audio.
    fn audio(&self, frames: u64) -> tag::Audio {
        let (block, delay) = (self.block_frames() as u64, ENCODER_DELAY + self.lead());
        let packets = (delay + frames + DECODER_DELAY).div_ceil(block).max(MIN_PACKETS);
        let padding = packets * block - delay - frames;
        tag::Audio { packets, padding: padding as u32, checksum: 0 }
    }

    /// The tags: what they say of the music, and as far as it is known before the audio how long it is.
    pub fn front(&self) -> Vec<u8> {
        self.tag(self.expected.map(|frames| self.audio(frames)))
    }

    /// The tags of a stream that is finished.
    pub fn final_front(&self) -> Vec<u8> {
        let checksum = self.checksum.clone().finalize() as u16;
        self.tag(Some(tag::Audio { checksum, ..self.audio(self.frames()) }))
    }

    fn tag(&self, audio: Option<tag::Audio>) -> Vec<u8> {
        let tag = tag::frame(&self.header, (ENCODER_DELAY + self.lead()) as u32, audio);
        [&self.id3[..], &tag].concat()
    }

    /// Frames that were pushed.
    fn frames(&self) -> u64 {
        self.incoming.frames() - self.lead()
    }

    /// Takes interleaved frames, floats in little endian, whole or cut anywhere. Whole blocks are encoded at
    /// once.
    pub fn push(&mut self, mut pcm: &[u8]) {
        assert!(!self.is_finished, "no more frames come");
        while let Some(rest) = self.incoming.fill(pcm) {
            self.encode_block();
            pcm = rest;
        }
    }

    fn encode_block(&mut self) {
        self.incoming.copy_to(&mut self.planes);
        let frame = self.encoder.encode_frame(&self.header, &self.planes, None);
        let frame = frame.expect("a whole block of plain samples encodes");
        self.checksum.update(&frame);
        self.packets += 1;
        self.encoded.end().extend_from_slice(&frame);
    }

    /// Encodes what is left: no more frames come. A frame that was not pushed whole is dropped.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        let packets = self.audio(self.frames()).packets;
        // Silence until the last frame has come through the encoder.
        while self.packets < packets {
            self.incoming.fill_with_silence();
            self.encode_block();
        }
    }

    /// Copies encoded bytes to `into` and returns how many; 0 asks for more PCM or is the end.
    pub fn pull(&mut self, into: &mut [u8]) -> usize {
        self.encoded.pull(into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_that_are_set_are_named_with_what_they_are_set_to() {
        assert_eq!(set(|_| None), "");
        let variable = |name: &str| (name == "MP3_STEREO").then(|| "ms".into());
        assert_eq!(set(variable), " MP3_STEREO=\"ms\"");
    }
}
