//! FLAC, frame by frame while the PCM comes in.
//!
//! Lossless PCM of 16 or 24 bits in blocks of fixed size (RFC 9639). Nothing of the stream is kept
//! but the block that is being filled, so the head goes out before the length or the checksum of the
//! audio is known: the MD5 field is zero ("unknown", RFC 9639 section 8.2), the total is what was
//! promised.

use flacenc::{
    bitsink::ByteSink,
    component::{BitRepr, StreamInfo},
    config,
    error::{Verified, Verify},
    source::{Fill, FrameBuf},
};

/// Frames per FLAC block, as the reference encoder has it at every level up to 5 and above.
pub const BLOCK_FRAMES: usize = 4096;
/// Bytes in front of the first block: the marker and STREAMINFO.
pub const HEADER_BYTES: usize = 4 + 4 + 34;
/// Most frames that STREAMINFO can state (36 bits).
pub const MAX_FRAMES: u64 = (1 << 36) - 1;

/// Most frames per second that STREAMINFO can state (20 bits, as far as frame headers can say it).
const MAX_RATE_HZ: u32 = 655_350;
/// Up to here the encoder crate knows rates.
const FRAME_RATE_MAX_HZ: u32 = 96_000;
/// A rate that frame headers have no code for: they then say "see STREAMINFO", which we write.
const RATE_IN_STREAMINFO_HZ: u32 = 95_801;

/// Why a stream cannot be FLAC. All of these are the request's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// FLAC has 16 or 24 bits here.
    #[error("FLAC of {0} bits; 16 and 24 are possible")]
    Bits(u16),
    /// Rates of 1 to 655350 Hz and 1 to 8 channels are FLAC's.
    #[error("FLAC of {channels} channels at {rate_hz} Hz")]
    Format {
        /// Frames per second.
        rate_hz: u32,
        /// Channels of a frame.
        channels: u16,
    },
}

/// A running encoder. Push PCM, pull bytes.
pub struct Encoder {
    config: Verified<config::Encoder>,
    info: StreamInfo,
    buffer: FrameBuf,
    frame_bytes: usize,
    sample_bytes: usize,
    /// PCM of the block that is being filled.
    pending: Vec<u8>,
    blocks: usize,
    encoded: ByteSink,
    /// Bytes of `encoded` that were pulled already.
    pulled: usize,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Encoder").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder whose first bytes are the header, with the total if `frames` are known and fit.
    ///
    /// # Errors
    /// What FLAC cannot hold, see [`Error`].
    pub fn new(rate_hz: u32, channels: u16, bits: u16, frames: Option<u64>) -> Result<Self, Error> {
        if bits != 16 && bits != 24 {
            return Err(Error::Bits(bits));
        }
        let unfit = |_| Error::Format { rate_hz, channels };
        if !(1..=MAX_RATE_HZ).contains(&rate_hz) {
            return Err(Error::Format { rate_hz, channels });
        }
        let count = usize::from(channels);
        let rate = if rate_hz > FRAME_RATE_MAX_HZ { RATE_IN_STREAMINFO_HZ } else { rate_hz };
        let info = StreamInfo::new(rate as usize, count, bits.into()).map_err(unfit)?;
        let sample_bytes = usize::from(bits / 8);
        let mut encoder = Self {
            config: settings(),
            buffer: FrameBuf::with_size(count, BLOCK_FRAMES).map_err(unfit)?,
            frame_bytes: count * sample_bytes,
            sample_bytes,
            pending: Vec::with_capacity(BLOCK_FRAMES * count * sample_bytes),
            blocks: 0,
            encoded: ByteSink::new(),
            pulled: 0,
            info,
        };
        encoder.put(&header(rate_hz, channels, bits, frames));
        Ok(encoder)
    }

    /// Takes interleaved frames, little endian, of the encoder's bits; whole or cut anywhere.
    /// Whole blocks are encoded at once.
    pub fn push(&mut self, mut pcm: &[u8]) {
        let block_bytes = BLOCK_FRAMES * self.frame_bytes;
        while !pcm.is_empty() {
            let (part, rest) = pcm.split_at(pcm.len().min(block_bytes - self.pending.len()));
            self.pending.extend_from_slice(part);
            if self.pending.len() == block_bytes {
                self.encode_pending();
            }
            pcm = rest;
        }
    }

    /// Encodes what is left as a shorter last block. A frame that was not pushed whole is dropped.
    pub fn finish(&mut self) {
        self.pending.truncate(self.pending.len() / self.frame_bytes * self.frame_bytes);
        if !self.pending.is_empty() {
            self.encode_pending();
        }
    }

    /// Whether everything that was encoded has been pulled.
    pub fn is_empty(&self) -> bool {
        self.encoded.as_slice().len() == self.pulled
    }

    /// Copies encoded bytes to `into` and returns how many; 0 asks for more PCM or is the end.
    pub fn pull(&mut self, into: &mut [u8]) -> usize {
        let ready = &self.encoded.as_slice()[self.pulled..];
        let count = ready.len().min(into.len());
        into[..count].copy_from_slice(&ready[..count]);
        self.pulled += count;
        if self.pulled == self.encoded.as_slice().len() {
            self.encoded.clear();
            self.pulled = 0;
        }
        count
    }

    fn put(&mut self, bytes: &[u8]) {
        use flacenc::bitsink::BitSink;
        self.encoded.write_bytes_aligned(bytes).expect("memory takes every byte");
    }

    fn encode_pending(&mut self) {
        self.buffer
            .fill_le_bytes(&self.pending, self.sample_bytes)
            .expect("whole frames of a checked width");
        self.pending.clear();
        flacenc::encode_fixed_size_frame(&self.config, &self.buffer, self.blocks, &self.info)
            .expect("samples have the width of the stream")
            .write(&mut self.encoded)
            .expect("memory takes every byte");
        self.blocks += 1;
    }
}

/// The marker and STREAMINFO, the only and last metadata block (RFC 9639 sections 8.1 and 8.2).
fn header(rate_hz: u32, channels: u16, bits: u16, frames: Option<u64>) -> [u8; HEADER_BYTES] {
    let total = frames.filter(|frames| *frames <= MAX_FRAMES).unwrap_or(0);
    let fields = (u64::from(rate_hz) << 44)
        | (u64::from(channels - 1) << 41)
        | (u64::from(bits - 1) << 36)
        | total;
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(b"fLaC\x80\x00\x00\x22");
    header[8..10].copy_from_slice(&(BLOCK_FRAMES as u16).to_be_bytes());
    header[10..12].copy_from_slice(&(BLOCK_FRAMES as u16).to_be_bytes());
    // Six bytes of unknown frame sizes, then the fields, then the unknown MD5.
    header[18..26].copy_from_slice(&fields.to_be_bytes());
    header
}

/// The encoder's search. The reference's level 5 has linear prediction up to order 8.
fn settings() -> Verified<config::Encoder> {
    let mut settings = config::Encoder::default();
    settings.block_size = BLOCK_FRAMES;
    settings.multithread = false;
    settings.subframe_coding.qlpc.lpc_order = 8;
    settings.into_verified().expect("constants within their limits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(pcm: &[u8], channels: u16, bits: u16, cuts: &[usize]) -> Vec<u8> {
        let frames = pcm.len() as u64 / u64::from(channels) / u64::from(bits / 8);
        let mut encoder = Encoder::new(44100, channels, bits, Some(frames)).expect("possible");
        let (mut out, mut buffer, mut rest) = (Vec::new(), [0; 777], pcm);
        for cut in cuts.iter().cycle() {
            let (part, after) = rest.split_at(rest.len().min(*cut));
            encoder.push(part);
            rest = after;
            if rest.is_empty() {
                encoder.finish();
            }
            loop {
                let count = encoder.pull(&mut buffer);
                if count == 0 {
                    break;
                }
                out.extend_from_slice(&buffer[..count]);
            }
            if rest.is_empty() {
                return out;
            }
        }
        out
    }

    fn tone(frames: usize, channels: usize, bits: u32) -> Vec<u8> {
        let scale = f64::from(1_u32 << (bits - 1)) * 0.7;
        let mut pcm = Vec::new();
        for frame in 0..frames {
            for channel in 0..channels {
                let phase = frame as f64 * 0.05 * (channel + 1) as f64;
                let value = ((phase.sin() + (phase * 7.3).sin() * 0.2) * scale / 1.2) as i32;
                pcm.extend_from_slice(&value.to_le_bytes()[..bits as usize / 8]);
            }
        }
        pcm
    }

    /// Reads the stream back with the decoder that serves FLAC sources.
    fn decoded(flac: Vec<u8>, bits: u32) -> Vec<u8> {
        use symphonia::core::{
            codecs::audio::AudioDecoderOptions,
            formats::{FormatOptions, TrackType, probe::Hint},
            io::MediaSourceStream,
            meta::MetadataOptions,
        };
        let stream =
            MediaSourceStream::new(Box::new(std::io::Cursor::new(flac)), Default::default());
        let mut reader = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .expect("FLAC");
        let track = reader.default_track(TrackType::Audio).expect("a track");
        let parameters = track.codec_params.as_ref().and_then(|params| params.audio()).cloned();
        let mut decoder = symphonia::default::get_codecs()
            .make_audio_decoder(&parameters.expect("audio"), &AudioDecoderOptions::default())
            .expect("a decoder");
        let mut pcm = Vec::new();
        let mut samples: Vec<i32> = Vec::new();
        while let Some(packet) = reader.next_packet().expect("whole packets") {
            let buffer = decoder.decode(&packet).expect("no damage");
            buffer.copy_to_vec_interleaved(&mut samples);
            for sample in &samples {
                let value = sample >> (32 - bits);
                pcm.extend_from_slice(&value.to_le_bytes()[..bits as usize / 8]);
            }
        }
        pcm
    }

    #[test]
    fn what_comes_out_decodes_to_what_went_in() {
        for (channels, bits) in [(1, 16), (2, 16), (2, 24), (6, 16), (8, 24)] {
            for frames in [1, 31, 4095, 4096, 10_000] {
                let pcm = tone(frames, channels, bits);
                let flac = encode(&pcm, channels as u16, bits as u16, &[1000]);
                assert!(decoded(flac, bits) == pcm, "{channels} channels, {bits} bits, {frames}");
            }
        }
    }

    #[test]
    fn full_scale_noise_survives() {
        let mut state = 3_u64;
        let pcm: Vec<u8> = (0..30_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        for bits in [16, 24] {
            assert!(decoded(encode(&pcm, 2, bits, &[4096]), u32::from(bits)) == pcm);
        }
    }

    #[test]
    fn the_stream_does_not_depend_on_how_pushes_were_cut() {
        let pcm = tone(9000, 2, 16);
        let whole = encode(&pcm, 2, 16, &[usize::MAX]);
        assert!(encode(&pcm, 2, 16, &[1, 7, 4096, 3, 20_000]) == whole);
    }

    #[test]
    fn the_header_states_the_total() {
        let flac = encode(&tone(5000, 2, 16), 2, 16, &[usize::MAX]);
        assert_eq!(&flac[..8], b"fLaC\x80\x00\x00\x22");
        assert_eq!(flac[8..12], [0x10, 0, 0x10, 0]);
        assert_eq!(u32::from_be_bytes(flac[22..26].try_into().expect("4 bytes")), 5000);
        assert_eq!(flac[HEADER_BYTES..][..2], [0xFF, 0xF8]);
    }

    #[test]
    fn what_flac_cannot_hold_is_refused() {
        assert_eq!(Encoder::new(44100, 2, 32, None).unwrap_err(), Error::Bits(32));
        assert!(matches!(Encoder::new(44100, 9, 16, None), Err(Error::Format { channels: 9, .. })));
        assert!(Encoder::new(192_000, 8, 24, None).is_ok());
    }
}
