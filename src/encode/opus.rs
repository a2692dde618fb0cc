//! Opus in Ogg, packet by packet while the PCM comes in.
//!
//! Floats at 48 kHz in packets of 20 ms (RFC 6716), in pages of a second at most (RFC 7845). A decoder
//! gives a few frames before those that were encoded, which the head says, and
//! whole packets, of which the last page says where they end: what is decoded is as long as what was
//! encoded. The same frames give the same bytes.

use opus_pure::{Application, MAX_PACKET_BYTES, OpusMSEncoder};

use super::{Tags, incoming::Incoming, ogg::Pages, outgoing::Outgoing};

/// The rate that Opus has, whatever was recorded.
pub const RATE_HZ: u32 = 48_000;
/// Frames of a packet: 20 ms.
pub const BLOCK_FRAMES: usize = 960;
/// Most channels of a stream for listeners (family 1).
const MAX_CHANNELS: u16 = 8;
/// Packets of a page at most: a second.
const PAGE_PACKETS: usize = 50;
/// Bits per second of each channel, where nobody asks for others.
const CHANNEL_BIT_RATE: u32 = 64_000;
/// The loudest that a sample may be: what is beyond is damage, and decoders clip at half of it.
const LIMIT: f32 = 2.0;

/// Which channel of WAVE's order each one of Vorbis' is, by how many there are.
const ORDERS: [&[usize]; MAX_CHANNELS as usize] = [
    &[0],
    &[0, 1],
    &[0, 2, 1],
    &[0, 1, 2, 3],
    &[0, 2, 1, 3, 4],
    &[0, 2, 1, 4, 5, 3],
    &[0, 2, 1, 5, 6, 4, 3],
    &[0, 2, 1, 6, 7, 4, 5, 3],
];

/// Bytes that a stream of two channels takes at most beyond 256 KiB, and each further
/// stream: 379 KiB in all at 510 kbit/s, and 198 (1172 of the five streams of eight channels).
const STREAM_BYTES: usize = 144 << 10;
const FURTHER_STREAM_BYTES: usize = 208 << 10;

/// Why a stream cannot be Opus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Opus runs at 48 kHz and has 1 to 8 channels.
    #[error("Opus of {channels} channels at {rate_hz} Hz; 1 to 8 at 48000 Hz are possible")]
    Format {
        /// Frames per second.
        rate_hz: u32,
        /// Channels of a frame.
        channels: u16,
    },
}

/// A running encoder. Push PCM, pull bytes.
pub struct Encoder {
    encoder: OpusMSEncoder,
    channels: usize,
    /// The packet that is being filled, in the order of Vorbis.
    incoming: Incoming,
    packet: Vec<u8>,
    pages: Pages,
    in_page: usize,
    /// Frames that a decoder gives before the first that was pushed.
    preskip: u16,
    /// Frames that a decoder gives of all packets.
    granule: u64,
    is_finished: bool,
    encoded: Outgoing,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("opus::Encoder")
            .field("channels", &self.channels)
            .field("incoming", &self.incoming.frames())
            .field("granule", &self.granule)
            .finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder of interleaved floats, whose head can be pulled at once. `bit_rate` is that of all
    /// channels in bits per second; `serial` tells its stream from others that may stand beside it.
    /// Its gain is 0, so what `tags` say of loudness is of the samples as they are pushed.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn new(
        rate_hz: u32,
        channels: u16,
        bit_rate: Option<u32>,
        serial: u32,
        tags: &Tags,
    ) -> Result<Self, Error> {
        let refused = Error::Format { rate_hz, channels };
        if rate_hz != RATE_HZ || !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(refused);
        }
        let (count, family) = (usize::from(channels), u8::from(channels > 2));
        let encoder = OpusMSEncoder::new(RATE_HZ as i32, count, family, Application::Audio);
        let mut encoder = encoder.map_err(|_| refused)?;
        let bit_rate = bit_rate.unwrap_or(CHANNEL_BIT_RATE * u32::from(channels));
        encoder.set_bitrate(i32::try_from(bit_rate).unwrap_or(i32::MAX));
        let preskip = encoder.streams()[0].lookahead() as u16;
        let packet_bytes = encoder.nb_streams() * MAX_PACKET_BYTES;
        let mut made = Self {
            channels: count,
            incoming: Incoming::new(ORDERS[count - 1], BLOCK_FRAMES, LIMIT),
            packet: vec![0; packet_bytes],
            pages: Pages::new(serial, STREAM_PACKET_BYTES * encoder.nb_streams()),
            in_page: 0,
            preskip,
            granule: 0,
            is_finished: false,
            encoded: Outgoing::default(),
            encoder,
        };
        made.write_head(family, tags);
        Ok(made)
    }

    /// Bytes that it holds at most beyond 256 KiB.
    pub fn further_bytes(&self) -> usize {
        STREAM_BYTES + (self.encoder.nb_streams() - 1) * FURTHER_STREAM_BYTES
    }

    /// The two pages before the audio (RFC 7845, 5.1 and 5.2).
    fn write_head(&mut self, family: u8, tags: &Tags) {
        let mut head = b"OpusHead\x01".to_vec();
        head.push(self.channels as u8);
        head.extend(self.preskip.to_le_bytes());
        head.extend(RATE_HZ.to_le_bytes());
        // No gain.
        head.extend([0, 0, family]);
        if family == 1 {
            let layout = self.encoder.layout();
            head.extend([layout.nb_streams as u8, layout.nb_coupled_streams as u8]);
            head.extend(&layout.mapping);
        }
        let tags = [b"OpusTags", &tags.comments()[..]].concat();
        for packet in [head, tags] {
            self.pages.put(&packet);
            self.pages.write(0, false, self.encoded.end());
        }
    }

    /// Takes interleaved frames, floats in little endian, whole or cut anywhere. Whole packets are
    /// encoded at once.
    pub fn push(&mut self, mut pcm: &[u8]) {
        assert!(!self.is_finished, "no more frames come");
        while let Some(rest) = self.incoming.fill(pcm) {
            self.encode_block();
            pcm = rest;
        }
    }

    /// Encodes the packet that is full, and writes the page that has no room for it.
    fn encode_block(&mut self) {
        let block = self.incoming.block();
        let length = self.encoder.encode(block, BLOCK_FRAMES, &mut self.packet);
        let length =
            length.expect("a whole block of plain samples encodes, and there is room for it");
        if self.in_page == PAGE_PACKETS || !self.pages.has_room(length) {
            self.write_page(false);
        }
        self.pages.put(&self.packet[..length]);
        self.in_page += 1;
        self.granule += BLOCK_FRAMES as u64;
    }

    fn write_page(&mut self, is_last: bool) {
        // What is beyond the last frame was never pushed (RFC 7845, 4.4).
        let end = if is_last { self.end() } else { self.granule };
        self.pages.write(end, is_last, self.encoded.end());
        self.in_page = 0;
    }

    /// Frames that a decoder gives up to the last that was pushed.
    fn end(&self) -> u64 {
        self.incoming.frames() + u64::from(self.preskip)
    }

    /// Encodes what is left: no more frames come. A frame that was not pushed whole is dropped.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        // Silence until the last frame has come through the encoder.
        while self.granule < self.end() {
            self.incoming.fill_with_silence();
            self.encode_block();
        }
        self.write_page(true);
    }

    /// Copies encoded bytes to `into` and returns how many; 0 asks for more PCM or is the end.
    pub fn pull(&mut self, into: &mut [u8]) -> usize {
        self.encoded.pull(into)
    }
}

/// Bytes that a packet of one stream has at most: how it was made, a frame, and a length before it.
const STREAM_PACKET_BYTES: usize = 1 + 1275 + 2;
