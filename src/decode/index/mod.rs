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
//! Of a source that is put together out of stretches (`stream::tape`) it also says where each of them starts: points
//! of one lie behind its start and count frames from there, at its own rate.
//!
//! At most [`POINTS`] points are kept: there is one for each `stride` packets, at the first of them
//! that can be entered, and the stride doubles when the table is full. An hour of MP3 (137,813
//! packets) has 2,154 points, in 34 KB when written.
//!
//! As bytes, integers being LEB128 and those that can go down zigzag:
//!
//! ```text
//! magic 4 | version 1 | log2 of stride 1 | 0, or total frames + 1 | number of points | number of links
//! for each link, what it has more than the one before it, and its delay:
//!     position | packet number | frame | delay (zigzag)
//! for each point, what it has more than the one before it:
//!     position | packet number | frame (zigzag) | kind of state 1 | state
//! CRC-32C of all that, 4, little-endian
//! ```

mod bytes;
mod recording;

pub(super) use self::recording::Recording;

/// Points of an index at most: with 48 bytes each it takes 192 KiB of memory at most.
pub(super) const POINTS: usize = 4096;
/// Links of an index at most: with 32 bytes each they take 128 KiB of memory at most.
pub(super) const LINKS: usize = 4096;
/// Packets from one point to the next at least: to pass them costs less than to decode two.
const STRIDE_PACKETS: u32 = 64;

/// The seek index of one track of one generation of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    /// Packets of which one can be a point: a power of two.
    stride_packets: u32,
    /// In the order of their packets, not two of them within one stride.
    points: Vec<Point>,
    /// In their order; none of a source of one link.
    links: Vec<Link>,
    frames: Option<u64>,
}

/// A stretch of a tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    /// Where its media starts.
    pub(super) position: u64,
    /// Frame of the timeline that is its frame 0.
    pub(super) frame: u64,
    /// Packets before it.
    pub(super) packet: u32,
    /// Frames that it decodes to before its frame 0; negative if silence comes first.
    pub(super) delay: i64,
}

/// A packet at which a stream can be entered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Where its demultiplexer has to start, in bytes.
    pub(super) position: u64,
    /// Packets before it, those that were lost included.
    pub(super) packet: u32,
    /// Its first frame on the trimmed timeline of its link; negative inside the encoder's delay.
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
        let (points, links) = Default::default();
        Self { stride_packets: STRIDE_PACKETS, points, links, frames: None }
    }
}

impl Index {
    /// Frames of the whole trimmed timeline; `None` while nobody has passed all of it.
    pub fn frames(&self) -> Option<u64> {
        self.frames
    }

    /// What it takes of memory.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.points.capacity() * size_of::<Point>()
            + self.links.capacity() * size_of::<Link>()
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
        // Of a fragment there may be several; another link counts its own frames.
        let link = self.links.last().map_or(0, |link| link.position);
        let follows = |last: &Point| {
            let is_in_order = last.position < link || last.frame <= point.frame;
            last.position <= point.position && is_in_order
        };
        if !self.wants(point.packet.into()) || !self.points.last().is_none_or(follows) {
            return;
        }
        self.points.push(point);
        if self.points.len() > POINTS {
            self.thin();
        }
    }

    /// Takes a link behind all others. False: nothing behind its start can be written down.
    pub(super) fn push_link(&mut self, link: Link) -> bool {
        let follows = |last: &Link| {
            last.position < link.position && last.packet <= link.packet && last.frame <= link.frame
        };
        let is_taken = self.links.len() < LINKS && self.links.last().is_none_or(follows);
        if is_taken {
            self.links.push(link);
        }
        is_taken
    }

    /// Whether a link is one of those that are known.
    pub(super) fn has(&self, link: &Link) -> bool {
        let found = self.links.binary_search_by_key(&link.position, |known| known.position);
        found.is_ok_and(|at| self.links[at] == *link)
    }

    /// The link that holds a frame of the timeline.
    pub(super) fn link_at(&self, frame: u64) -> Option<&Link> {
        let behind = self.links.partition_point(|link| link.frame <= frame);
        self.links.get(behind.checked_sub(1)?)
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

    /// The points at or before a frame of the link that starts at a position, the last first.
    pub(super) fn before(&self, link: u64, frame: i64) -> impl Iterator<Item = &Point> {
        let next = self.links.iter().find(|next| next.position > link);
        let end = next.map_or(u64::MAX, |next| next.position);
        let at = |position| self.points.partition_point(|point| point.position < position);
        let points = &self.points[at(link)..at(end)];
        let behind = points.partition_point(|point| point.frame <= frame);
        points[..behind].iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: State = State::Fragment { passed: 0 };

    /// Three links of 1000 packets each; the second at half the rate, so that it counts half as many frames.
    fn of_links() -> Index {
        let mut index = Index::default();
        for (at, frames) in [(0, 1024), (1, 512), (2, 1024)] {
            let (position, packet) = (at << 32, 1000 * at as u32);
            let link = Link { position, frame: at * 1_024_000, packet, delay: 1024 };
            assert!(index.push_link(link) && !index.push_link(link) && index.has(&link));
            for passed in 0..1000 {
                let (packet, frame) = (packet + passed, i64::from(passed) * frames - 1024);
                let position = position + u64::from(passed) * 100;
                index.push(Point { position, packet, frame, state: STATE });
            }
        }
        index
    }

    #[test]
    fn a_frame_is_looked_for_in_its_link_alone() {
        let index = of_links();
        let link = |frame| index.link_at(frame).map(|link| link.position >> 32);
        assert_eq!([0, 1_023_999, 1_024_000, 9_000_000].map(link), [0, 0, 1, 2].map(Some));
        let point = |link: u64, frame| index.before(link << 32, frame).next();
        assert_eq!(point(0, i64::MAX).map(|point| point.packet), Some(960));
        assert_eq!(point(1, 100_000).map(|point| point.packet / 64), Some((1000 + 197) / 64));
        assert_eq!(point(1, i64::MAX).map(|point| point.position >> 32), Some(1));
        assert_eq!(point(2, -2000), None);
        assert_eq!(Index::parse(&index.to_bytes()), Some(index));
    }

    #[test]
    fn links_have_a_bound() {
        let mut index = Index::default();
        let mut push = |at: usize| {
            let (position, frame) = (at as u64, at as u64);
            index.push_link(Link { position, frame, packet: 0, delay: 0 })
        };
        assert!((0..LINKS).all(&mut push) && !push(LINKS));
    }
}
