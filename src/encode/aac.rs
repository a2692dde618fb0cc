//! AAC-LC in ADTS (ISO/IEC 13818-7), frame by frame while the PCM comes in.
//!
//! What it says of the music stands in a tag of ID3 in front, as players know it from packed audio of HLS:
//! ffmpeg, mpv and Chromium read on behind it.
//! ADTS says nothing of where the audio begins or ends. A decoder gives [`BLOCK_FRAMES`] frames before the
//! first that was encoded, and silence behind the last until its packet is full. The same frames give the
//! same bytes.

use syom::EncodeOptions;

use super::{Codec, Error, Output, incoming::Incoming, outgoing::Outgoing};

/// Frames of a packet, and those by which a decoder is late.
pub const BLOCK_FRAMES: usize = 1024;
/// Bits per second of each channel, where nobody asks for others.
const CHANNEL_BIT_RATE: u32 = 64_000;
/// Bits of a packet for each channel at most (ISO/IEC 14496-3, 4.5.3.1).
const CHANNEL_PACKET_BITS: u32 = 6144;
/// The loudest that a sample may be: the encoder takes no other.
const LIMIT: f32 = 1.0;

/// A running encoder. Push PCM, pull bytes.
pub struct Encoder {
    encoder: syom::Encoder,
    /// The packet that is being filled, and once it is, each channel of it.
    incoming: Incoming,
    planes: Vec<Vec<f32>>,
    /// Frames that were given to the encoder.
    given: u64,
    is_finished: bool,
    encoded: Outgoing,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("aac::Encoder").field("given", &self.given).finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder of interleaved floats. Of bit rates it has the highest of its sample rate at most.
    ///
    /// # Errors
    /// [`Error::Rate`] and [`Error::Channels`].
    pub(super) fn new(output: &Output) -> Result<Self, Error> {
        let Output { rate_hz, channels, bit_rate, .. } = *output;
        Codec::Aac.check(Some(rate_hz), Some(channels))?;
        let order: &[usize] = if channels == 1 { &[0] } else { &[0, 1] };
        let options = options(rate_hz, channels, bit_rate);
        let encoder = syom::Encoder::new(rate_hz, order.len(), &options);
        let encoder = encoder.map_err(|_| Error::Rate(Codec::Aac))?;
        Ok(Self {
            encoder,
            incoming: Incoming::new(order, BLOCK_FRAMES, LIMIT),
            planes: vec![Vec::with_capacity(BLOCK_FRAMES); order.len()],
            given: 0,
            is_finished: false,
            encoded: Outgoing::of(output.tags.id3()),
        })
    }

    /// Takes interleaved frames, floats in little endian, whole or cut anywhere. Whole packets are encoded
    /// at once.
    pub fn push(&mut self, mut pcm: &[u8]) {
        assert!(!self.is_finished, "no more frames come");
        while let Some(rest) = self.incoming.fill(pcm) {
            self.encode_block();
            pcm = rest;
        }
    }

    fn encode_block(&mut self) {
        self.incoming.copy_to(&mut self.planes);
        let planes: Vec<&[f32]> = self.planes.iter().map(Vec::as_slice).collect();
        let into = self.encoded.end();
        let encoded = self.encoder.feed(&planes, |packet| {
            into.extend_from_slice(packet.au);
            Ok(())
        });
        encoded.expect("a whole block of plain samples encodes");
        self.given += BLOCK_FRAMES as u64;
    }

    /// Encodes what is left: no more frames come. A frame that was not pushed whole is dropped.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        // What had no frame at all is a packet of silence: a stream of none is not AAC.
        while self.given < self.incoming.frames().max(1) {
            self.incoming.fill_with_silence();
            self.encode_block();
        }
        let into = self.encoded.end();
        let ended = self.encoder.finish(|packet| {
            into.extend_from_slice(packet.au);
            Ok(())
        });
        ended.expect("what took whole blocks ends");
    }

    /// Copies encoded bytes to `into` and returns how many; 0 asks for more PCM or is the end.
    pub fn pull(&mut self, into: &mut [u8]) -> usize {
        self.encoded.pull(into)
    }
}

/// How to encode. Short windows in groups are 0.3 to 0.9 dB less noise than each alone (30 s of music at 64
/// and 128 kbit/s), and no slower; of the other tools that the crate has off none was both.
fn options(rate_hz: u32, channels: u16, bit_rate: Option<u32>) -> EncodeOptions {
    let bit_rate = bit_rate.unwrap_or(u32::from(channels) * CHANNEL_BIT_RATE);
    let highest = u32::from(channels) * CHANNEL_PACKET_BITS * rate_hz / BLOCK_FRAMES as u32;
    EncodeOptions::adts().with_bitrate_bps(bit_rate.min(highest)).with_short_group(true)
}
