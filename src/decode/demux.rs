//! Packets out of containers, whoever's reader reads them.

use std::collections::VecDeque;

use symphonia::core::{
    errors::Error as Fault,
    formats::FormatReader,
    packet::{Packet, PacketRef},
    units::{Duration, Timestamp},
};

use super::{
    elementary,
    headers::{Header, Kind},
    pages::Pages,
    source::Window,
};

/// One packet, still in its reader's memory.
pub(super) struct Piece<'a> {
    pub(super) packet: PacketRef<'a>,
    /// Frames that it decodes to, by its container.
    pub(super) nominal: u64,
    /// Frames at its end that the track does not have.
    pub(super) trimmed: u64,
    /// Where a link starts with it, where its container says so; negative before its frame 0.
    pub(super) start: Option<i64>,
    /// Its own header, in streams that have nothing else.
    pub(super) header: Option<Header>,
}

/// Packets that their container says were there, and are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// Frames that they held.
    pub(super) frames: u64,
    /// Frames per second, where that is not what the track says.
    pub(super) rate_hz: Option<u32>,
    pub(super) packets: u64,
}

/// What came instead of a packet.
pub(super) enum Next<'a> {
    Piece(Piece<'a>),
    /// Damaged bytes were passed before the next packet.
    Lost(Lost),
    /// The reader could not make sense of some bytes, and may of the next.
    Broken(&'static str),
    /// The next link of a chained stream begins, with tracks of its own.
    Changed,
    End,
}

/// A reader of one container, and which of its tracks is wanted.
pub(super) enum Demux<'y> {
    /// MP3 and ADTS.
    Elementary(elementary::Frames<'y>),
    /// WAVE.
    Samples(Samples<'y>),
    /// A file of headers.
    Empty,
    /// Ogg.
    Ogg(Pages<'y>),
    /// All the others.
    Symphonia(Reader<'y>),
}

/// A reader of symphonia's.
pub(super) struct Reader<'y> {
    pub(super) format: Box<dyn FormatReader + 'y>,
    pub(super) track: u32,
    /// Frames per tick of the track's time base, as a fraction.
    pub(super) frames_per_tick: (u64, u64),
    /// Frames of every packet, where the codec fixes them.
    pub(super) fixed: Option<u64>,
    /// The durations of its packets are exactly the frames that they decode to.
    pub(super) counts_exactly: bool,
    /// Packets say by a number of their own where they start, so that a missing one is seen.
    pub(super) has_places: bool,
    /// Where the next packet starts, in ticks; where it says that it does if `None`.
    pub(super) place: Option<i64>,
    /// Packets that were looked at before their turn.
    pub(super) early: VecDeque<Packet>,
    /// The packet lent out last.
    pub(super) current: Option<Packet>,
}

impl Demux<'_> {
    /// The next packet of the track.
    pub(super) fn next(&mut self) -> Next<'_> {
        match self {
            Self::Elementary(frames) => frames.next().map_or(Next::End, next_frame),
            Self::Samples(samples) => samples.next(),
            Self::Empty => Next::End,
            Self::Ogg(pages) => pages.next(),
            Self::Symphonia(reader) => reader.next(),
        }
    }

    /// Whether the nominal frames of packets are those that they decode to.
    pub(super) fn counts_exactly(&self) -> bool {
        match self {
            Self::Elementary(_) | Self::Samples(_) | Self::Empty | Self::Ogg(_) => true,
            Self::Symphonia(reader) => reader.counts_exactly,
        }
    }

    /// Passes at most `frames` frames without reading them and says how many it passed: only where
    /// their place is known.
    pub(super) fn pass(&mut self, frames: u64) -> u64 {
        match self {
            Self::Samples(samples) => samples.pass(frames),
            _ => 0,
        }
    }
}

/// A frame of a stream that is frames and nothing else.
fn next_frame(seen: elementary::Seen<'_>) -> Next<'_> {
    let (header, bytes) = match seen {
        elementary::Seen::Frame(header, bytes) => (header, bytes),
        elementary::Seen::Lost(lost) => return Next::Lost(lost),
    };
    let skip = if header.kind == Kind::Adts { header.header_bytes } else { 0 };
    let nominal = u64::from(header.frames);
    let data = &bytes[skip.min(bytes.len())..];
    let packet = PacketRef::new(0, Timestamp::ZERO, Duration::new(nominal), data);
    Next::Piece(Piece { packet, nominal, trimmed: 0, start: None, header: Some(header) })
}

/// Samples in a row, cut into packets of whole frames.
pub(super) struct Samples<'y> {
    window: Window<'y>,
    frame_bytes: usize,
    /// Length of the packet lent out last: it is passed at the next call.
    lent: usize,
}

/// Bytes of a packet at most.
const PACKET_BYTES: usize = 8 << 10;

impl<'y> Samples<'y> {
    /// `window` holds the samples and nothing else.
    pub(super) fn new(window: Window<'y>, frame_bytes: u32) -> Self {
        Self { window, frame_bytes: frame_bytes as usize, lent: 0 }
    }

    fn next(&mut self) -> Next<'_> {
        self.window.skip(std::mem::take(&mut self.lent) as u64);
        let most = PACKET_BYTES - PACKET_BYTES % self.frame_bytes;
        let there = self.window.ahead(most);
        let frames = there.len().min(most) / self.frame_bytes;
        if frames == 0 {
            return Next::End;
        }
        self.lent = frames * self.frame_bytes;
        let (nominal, data) = (frames as u64, &there[..self.lent]);
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::new(nominal), data);
        Next::Piece(Piece { packet, nominal, trimmed: 0, start: None, header: None })
    }

    fn pass(&mut self, frames: u64) -> u64 {
        self.window.skip(frames.saturating_mul(self.frame_bytes as u64));
        frames
    }
}

impl Reader<'_> {
    /// Looks at the track's first packets before their turn, and gives those that differ from the
    /// one before them: `count` of the first `most`, fewer where the reader stumbles.
    pub(super) fn peek(&mut self, count: usize, most: usize) -> impl Iterator<Item = &[u8]> {
        let mut different = 0;
        while different < count
            && self.early.len() < most
            && let Ok(Some(packet)) = self.read()
        {
            let is_new = self.early.back().is_none_or(|last| last.data != packet.data);
            different += usize::from(is_new);
            self.early.push_back(packet);
        }
        let before = std::iter::once(None).chain(self.early.iter().map(Some));
        let pairs = self.early.iter().zip(before);
        pairs
            .filter(|(packet, before)| before.is_none_or(|before| before.data != packet.data))
            .map(|(packet, _)| &packet.data[..])
    }

    /// The track's next packet of the reader.
    fn read(&mut self) -> Result<Option<Packet>, Fault> {
        loop {
            match self.format.next_packet()? {
                Some(packet) if packet.track_id != self.track => {}
                other => return Ok(other),
            }
        }
    }

    fn next(&mut self) -> Next<'_> {
        let packet = match self.early.pop_front() {
            Some(packet) => packet,
            None => match self.read() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Next::End,
                Err(fault) => return broken(&fault),
            },
        };
        if let Some(lost) = self.lost_before(&packet) {
            self.early.push_front(packet);
            return Next::Lost(lost);
        }
        let nominal = self.fixed.unwrap_or_else(|| self.frames(packet.block_dur().get()));
        let (trimmed, start) = (packet.trim_end.get(), packet.trim_start.get() as i64);
        let start = packet.pts.get().saturating_add(start);
        let packet = self.current.insert(packet).as_packet_ref();
        Next::Piece(Piece { packet, nominal, trimmed, start: Some(start), header: None })
    }

    /// What is missing before `packet`, which is the next. Numbers that go back say nothing.
    fn lost_before(&mut self, packet: &Packet) -> Option<Lost> {
        if !self.has_places {
            return None;
        }
        let (ticks, start) = (packet.block_dur().get(), packet.pts.get());
        let place = self.place.unwrap_or(start);
        let missing = u64::try_from(start.saturating_sub(place)).unwrap_or(0);
        if missing == 0 {
            self.place = Some(start.saturating_add_unsigned(ticks));
            return None;
        }
        self.place = Some(start);
        // The last packet of a track may be a short one.
        let before = self.current.as_ref().map_or(0, |before| before.block_dur().get());
        let packets = missing.div_ceil(ticks.max(before).max(1));
        Some(Lost { frames: self.frames(missing), rate_hz: None, packets })
    }

    /// Frames of so many ticks.
    fn frames(&self, ticks: u64) -> u64 {
        let (numerator, denominator) = self.frames_per_tick;
        let frames = (u128::from(ticks) * u128::from(numerator) + u128::from(denominator / 2))
            / u128::from(denominator);
        u64::try_from(frames).unwrap_or(u64::MAX)
    }
}

/// What an error of a reader means for the loop around it.
fn broken(fault: &Fault) -> Next<'static> {
    match fault {
        Fault::ResetRequired => Next::Changed,
        // The source never fails, it only ends: a packet that it cuts off is not one.
        Fault::IoError(_) => Next::End,
        Fault::DecodeError(why) | Fault::Unsupported(why) | Fault::LimitError(why) => {
            Next::Broken(why)
        }
        _ => Next::Broken("unreadable"),
    }
}
