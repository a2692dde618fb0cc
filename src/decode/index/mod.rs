//! The seek index of a track: where in its source packets lie, which frames they hold, and how many
//! there are in all.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A stream that has no table of its own says where frame n lies only to who passes all packets
//! before it. What was passed once, by a decode or by a scan, is written down here: a decoder that
//! is given the index enters the stream at a point of it and makes the frames that a decode from the
//! start would make. An index is true of one generation of a source and of one track.
//!
//! At most [`POINTS`] points are kept: there is one for each `stride` packets, at the first of them
//! that can be entered, and the stride doubles when the table is full. An hour of MP3 (137,813
//! packets) has 2,154 points, in 34 KB when written.
//!
//! As bytes, integers being LEB128 and those that can go down zigzag:
//!
//! ```text
//! magic 4 | version 1 | log2 of stride 1 | 0, or total frames + 1 | number of points
//! for each point, what it has more than the one before it:
//!     position | packet number | frame (zigzag) | kind of state 1 | state
//! CRC-32C of all that, 4, little-endian
//! ```

mod bytes;
mod recording;

pub(super) use self::recording::Recording;

/// Points of an index at most: with 48 bytes each it takes 192 KiB of memory at most.
pub(super) const POINTS: usize = 4096;
/// Packets from one point to the next at least: to pass them costs less than to decode two.
const STRIDE_PACKETS: u32 = 64;

/// The seek index of one track of one generation of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    /// Packets of which one can be a point: a power of two.
    stride_packets: u32,
    /// In the order of their packets, not two of them within one stride.
    points: Vec<Point>,
    frames: Option<u64>,
}

/// A packet at which a stream can be entered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Where its demultiplexer has to start, in bytes.
    pub(super) position: u64,
    /// Packets before it, those that were lost included.
    pub(super) packet: u32,
    /// Its first frame on the trimmed timeline; negative inside the encoder's delay.
    pub(super) frame: i64,
    pub(super) state: State,
}

/// What a demultiplexer knew there of what came before, so far as that decides what comes behind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum State {
    /// MPEG audio or ADTS: how long frames are, and so how many of them damaged bytes held.
    Frames {
        /// Frames that the mean is taken over, as far as that matters.
        count: u8,
        mean_bytes: f32,
        /// Bits per second, if all frames so far say the same.
        constant: Option<u32>,
    },
    /// A page of Ogg.
    Page {
        /// Frames up to the page, as the stream counts them.
        granule: i64,
        /// Number of the page before it.
        sequence: u32,
        /// Log2 of the last block's frames, in Vorbis; else 0.
        block: u8,
        /// Packets of the page before the one that is meant, without one that it only ends.
        passed: u8,
    },
    /// A fragment of MP4.
    Fragment {
        /// Packets of it before the one that is meant.
        passed: u32,
    },
    /// A block of Matroska.
    Block {
        /// Time of its cluster.
        ticks: u64,
        /// Frames of the packet before it.
        packet_frames: u32,
        /// Log2 of the last block's frames, in Vorbis; else 0.
        overlap: u8,
    },
    /// A packet of MPEG-TS in which a PES packet starts, and a frame with it.
    Transport {
        /// Number of its stream.
        pid: u16,
        /// Number of the program that it belongs to.
        program: u16,
        /// Number of the stream that describes that.
        map_pid: u16,
        /// Frames from there to the one that is meant.
        passed: u16,
    },
}

impl Default for Index {
    fn default() -> Self {
        Self { stride_packets: STRIDE_PACKETS, points: Vec::new(), frames: None }
    }
}

impl Index {
    /// Frames of the whole trimmed timeline; `None` while nobody has passed all of it.
    pub fn frames(&self) -> Option<u64> {
        self.frames
    }

    /// What it takes of memory.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.points.capacity() * size_of::<Point>()
    }

    /// Bytes of the source that its points reach to.
    pub fn reach(&self) -> u64 {
        self.points.last().map_or(0, |point| point.position)
    }

    /// Whether a point at `packet` would be taken.
    pub(super) fn wants(&self, packet: u64) -> bool {
        let stride = u64::from(self.stride_packets);
        let is_new = |last: &Point| packet / stride > u64::from(last.packet) / stride;
        self.points.last().is_none_or(is_new)
    }

    /// Takes a point behind all others, if it is wanted.
    pub(super) fn push(&mut self, point: Point) {
        // Of a fragment there may be several.
        let follows = |last: &Point| last.position <= point.position && last.frame <= point.frame;
        if !self.wants(point.packet.into()) || !self.points.last().is_none_or(follows) {
            return;
        }
        self.points.push(point);
        if self.points.len() > POINTS {
            self.thin();
        }
    }

    /// Doubles the stride, and keeps the first point of each.
    fn thin(&mut self) {
        self.stride_packets *= 2;
        let stride = self.stride_packets;
        self.points.dedup_by_key(|point| point.packet / stride);
    }

    pub(super) fn end(&mut self, frames: u64) {
        self.frames = Some(frames);
    }

    /// The points at or before a frame, the last first.
    pub(super) fn before(&self, frame: i64) -> impl Iterator<Item = &Point> {
        let behind = self.points.partition_point(|point| point.frame <= frame);
        self.points[..behind].iter().rev()
    }
}
