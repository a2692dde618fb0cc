//! FLAC, frame by frame while the PCM comes in (RFC 9639).
//!
//! Lossless PCM of 16 or 24 bits in blocks of fixed size, within the streamable subset (section 7)
//! wherever the rate has a code in frame headers. Nothing of the stream is kept but the block that is
//! being filled, and nothing is allocated for a block.
//!
//! A stream that is played while it is made begins with a head of what is known then: its total is
//! what was promised, its MD5 is zero ("unknown", section 8.2). One that is stored can have its head
//! replaced by a final one of the same length, with the sizes of frames, the MD5 and a SEEKTABLE.
//!
//! | file | subject |
//! |---|---|
//! | `effort` | what a level searches |
//! | `frame` | headers, and which pair of signals carries two channels |
//! | `subframe` | how one signal is coded |
//! | `fixed`, `linear` | predictors |
//! | `rice` | what they leave, in codes |
//! | `bits` | codes in bytes |
//! | `head`, `seek` | metadata |

mod bits;
mod effort;
mod fixed;
mod frame;
mod head;
mod linear;
mod rice;
mod seek;
mod subframe;
#[cfg(test)]
mod tests;

pub use self::head::{HEADER_BYTES, Layout, SeekPoint, Summary, head};
use self::{effort::Effort, frame::Coder, seek::SeekPoints};
use super::outgoing::Outgoing;

/// Frames per FLAC block, as the reference encoder has it from level 3 on.
pub const BLOCK_FRAMES: usize = 4096;
/// Most frames that STREAMINFO can state (36 bits).
pub const MAX_FRAMES: u64 = (1 << 36) - 1;
/// Effort where none is asked for, as the reference's tool has it.
pub const DEFAULT_LEVEL: u8 = 5;
/// The most effort.
pub const MAX_LEVEL: u8 = 8;

/// Most frames per second that frame headers can state. STREAMINFO has room for more (20 bits).
const MAX_RATE_HZ: u32 = 655_350;
/// Most channels.
const MAX_CHANNELS: u16 = 8;
/// Bytes of the widest frame of PCM.
const MAX_FRAME_BYTES: usize = MAX_CHANNELS as usize * 3;
/// Seconds between seek points, as long as there is room.
const SEEK_INTERVAL_SECONDS: u64 = 2;
/// Most seek points, in 11 kB: one each two seconds of up to 20 minutes, each 16 of two hours.
const MAX_SEEK_POINTS: usize = 600;

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
    /// There is no such effort.
    #[error("FLAC of level {0}; 0 to 8 are possible")]
    Level(u8),
}

/// What the frames are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    /// Frames per second.
    pub rate_hz: u32,
    /// Channels of a frame.
    pub channels: u16,
    /// Bits of a sample, 16 or 24.
    pub bits: u16,
}

impl Format {
    fn check(self) -> Result<(), Error> {
        let Self { rate_hz, channels, bits } = self;
        if bits != 16 && bits != 24 {
            return Err(Error::Bits(bits));
        }
        let fits = (1..=MAX_RATE_HZ).contains(&rate_hz) && (1..=MAX_CHANNELS).contains(&channels);
        if fits { Ok(()) } else { Err(Error::Format { rate_hz, channels }) }
    }

    fn sample_bytes(self) -> usize {
        usize::from(self.bits / 8)
    }

    fn frame_bytes(self) -> usize {
        usize::from(self.channels) * self.sample_bytes()
    }

    /// Samples between seek points at first.
    fn seek_interval(self) -> u64 {
        (u64::from(self.rate_hz) * SEEK_INTERVAL_SECONDS).max(BLOCK_FRAMES as u64)
    }

    /// Seek points for a stream of that length.
    fn seek_points(self, frames: Option<u64>) -> usize {
        let points = frames.map(|frames| frames.div_ceil(self.seek_interval()).max(1));
        points.map_or(MAX_SEEK_POINTS, |points| points.min(MAX_SEEK_POINTS as u64) as usize)
    }
}

/// A running encoder. Push PCM, pull bytes.
pub struct Encoder {
    format: Format,
    layout: Layout,
    coder: Coder,
    /// Samples of the block that is being filled, by channel.
    planes: Vec<Vec<i32>>,
    /// Frames of it that are there.
    filled: usize,
    /// A frame of PCM that was cut by a push.
    cut: [u8; MAX_FRAME_BYTES],
    cut_bytes: usize,
    /// FLAC frames that were encoded, and frames of audio in them.
    blocks: u64,
    frames: u64,
    encoded: Outgoing,
    /// What is learned for a final head, where there will be one.
    learned: Option<Learned>,
}

/// What is known of a stream so far.
struct Learned {
    md5: md5::Context,
    min_frame_bytes: u32,
    max_frame_bytes: u32,
    /// Bytes of all frames.
    frame_bytes: u64,
    seek_points: SeekPoints,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Encoder").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder of [`DEFAULT_LEVEL`] whose first bytes are the header, with the total if `frames` are
    /// known and fit.
    ///
    /// # Errors
    /// What FLAC cannot hold, see [`Error`].
    pub fn new(rate_hz: u32, channels: u16, bits: u16, frames: Option<u64>) -> Result<Self, Error> {
        Self::streamed(Format { rate_hz, channels, bits }, DEFAULT_LEVEL, frames)
    }

    /// An encoder of that level, 0 to 8 as the reference's tool has them, of a stream that is played
    /// while it is made: a STREAMINFO with the total, if it is known and fits, and nothing else.
    ///
    /// # Errors
    /// What FLAC cannot hold, and levels that there are not, see [`Error`].
    pub fn streamed(format: Format, level: u8, frames: Option<u64>) -> Result<Self, Error> {
        Self::begin(format, level, frames, Layout::default(), None)
    }

    /// The same of a stream that is stored: its head has room for what [`head`](Self::head) gives in
    /// the end. The table of seek points is as long as `frames` need, if they are known; `comment` is the
    /// list of a VORBIS_COMMENT.
    ///
    /// # Errors
    /// As [`streamed`](Self::streamed).
    pub fn stored(
        format: Format,
        level: u8,
        frames: Option<u64>,
        comment: Vec<u8>,
    ) -> Result<Self, Error> {
        let layout = Layout { seek_points: format.seek_points(frames), comment };
        let learned = Learned {
            md5: md5::Context::new(),
            min_frame_bytes: u32::MAX,
            max_frame_bytes: 0,
            frame_bytes: 0,
            seek_points: SeekPoints::new(layout.seek_points, format.seek_interval()),
        };
        Self::begin(format, level, frames, layout, Some(learned))
    }

    fn begin(
        format: Format,
        level: u8,
        frames: Option<u64>,
        layout: Layout,
        learned: Option<Learned>,
    ) -> Result<Self, Error> {
        format.check()?;
        let coder = Coder::new(format, Effort::of(level).ok_or(Error::Level(level))?);
        Ok(Self {
            format,
            encoded: Outgoing::of(head(format, &layout, frames, None)),
            layout,
            planes: vec![vec![0; BLOCK_FRAMES]; coder.planes()],
            coder,
            filled: 0,
            cut: [0; MAX_FRAME_BYTES],
            cut_bytes: 0,
            blocks: 0,
            frames: 0,
            learned,
        })
    }

    /// Takes interleaved frames, little endian, of the encoder's bits; whole or cut anywhere.
    /// Whole blocks are encoded at once.
    pub fn push(&mut self, mut pcm: &[u8]) {
        let frame_bytes = self.format.frame_bytes();
        if self.cut_bytes > 0 {
            let (part, rest) = pcm.split_at(pcm.len().min(frame_bytes - self.cut_bytes));
            self.cut[self.cut_bytes..][..part.len()].copy_from_slice(part);
            self.cut_bytes += part.len();
            if self.cut_bytes < frame_bytes {
                return;
            }
            self.cut_bytes = 0;
            let frame = self.cut;
            self.push_frames(&frame[..frame_bytes]);
            pcm = rest;
        }
        let (whole, cut) = pcm.split_at(pcm.len() / frame_bytes * frame_bytes);
        self.push_frames(whole);
        self.cut[..cut.len()].copy_from_slice(cut);
        self.cut_bytes = cut.len();
    }

    /// Encodes what is left as a shorter last block. A frame that was not pushed whole is dropped.
    pub fn finish(&mut self) {
        self.cut_bytes = 0;
        if self.filled > 0 {
            self.encode_block();
        }
    }

    /// Whether everything that was encoded has been pulled.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// Copies encoded bytes to `into` and returns how many; 0 asks for more PCM or is the end.
    pub fn pull(&mut self, into: &mut [u8]) -> usize {
        self.encoded.pull(into)
    }

    /// What is known of a stored stream by now, which is all once it is finished; `None` of a streamed
    /// one.
    pub fn summary(&self) -> Option<Summary> {
        let learned = self.learned.as_ref()?;
        Some(Summary {
            frames: self.frames,
            // Without a frame neither is known, which is 0.
            min_frame_bytes: learned.min_frame_bytes.min(learned.max_frame_bytes),
            max_frame_bytes: learned.max_frame_bytes,
            md5: learned.md5.clone().finalize().0,
            seek_points: learned.seek_points.points().to_vec(),
        })
    }

    /// The final head of a finished stream, as long as the one that it began with and that it replaces.
    pub fn head(&self) -> Vec<u8> {
        head(self.format, &self.layout, Some(self.frames), self.summary().as_ref())
    }

    /// Takes whole frames.
    fn push_frames(&mut self, mut pcm: &[u8]) {
        let frame_bytes = self.format.frame_bytes();
        if let Some(learned) = &mut self.learned {
            learned.md5.consume(pcm);
        }
        while !pcm.is_empty() {
            let room = (BLOCK_FRAMES - self.filled) * frame_bytes;
            let (part, rest) = pcm.split_at(pcm.len().min(room));
            self.fill(part);
            if self.filled == BLOCK_FRAMES {
                self.encode_block();
            }
            pcm = rest;
        }
    }

    /// Puts samples of whole frames, for which there is room, into their planes.
    fn fill(&mut self, pcm: &[u8]) {
        let (frame_bytes, sample_bytes) = (self.format.frame_bytes(), self.format.sample_bytes());
        let channels = usize::from(self.format.channels);
        for (channel, plane) in self.planes.iter_mut().take(channels).enumerate() {
            let samples = pcm[channel * sample_bytes..].chunks(frame_bytes);
            let into = plane[self.filled..].iter_mut().zip(samples);
            match sample_bytes {
                2 => into.for_each(|(into, bytes)| {
                    *into = i16::from_le_bytes([bytes[0], bytes[1]]).into();
                }),
                _ => into.for_each(|(into, bytes)| {
                    *into = i32::from_le_bytes([0, bytes[0], bytes[1], bytes[2]]) >> 8;
                }),
            }
        }
        self.filled += pcm.len() / frame_bytes;
    }

    fn encode_block(&mut self) {
        let encoded = self.encoded.end();
        let before = encoded.len();
        self.coder.encode(&mut self.planes, self.filled, self.blocks, encoded);
        if let Some(learned) = &mut self.learned {
            let bytes = (encoded.len() - before) as u32;
            learned.seek_points.pass(SeekPoint {
                sample: self.frames,
                offset: learned.frame_bytes,
                samples: self.filled as u16,
            });
            learned.min_frame_bytes = learned.min_frame_bytes.min(bytes);
            learned.max_frame_bytes = learned.max_frame_bytes.max(bytes);
            learned.frame_bytes += u64::from(bytes);
        }
        self.blocks += 1;
        self.frames += self.filled as u64;
        self.filled = 0;
    }
}
