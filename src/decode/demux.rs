//! Packets out of containers, whoever's reader reads them.

use std::collections::VecDeque;

use symphonia::core::{
    errors::Error as Fault,
    formats::FormatReader,
    packet::{Packet, PacketRef},
    units::{Duration, Timestamp},
};

use super::{elementary, headers::Header, source::Window};

/// One packet, still in its reader's memory.
pub(super) struct Piece<'a> {
    pub(super) packet: PacketRef<'a>,
    /// Frames that it decodes to, by its container.
    pub(super) nominal: u64,
    /// Its own header, in streams that have nothing else.
    pub(super) header: Option<Header>,
}

/// What came instead of a packet.
pub(super) enum Next<'a> {
    Piece(Piece<'a>),
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
    /// Packets that were looked at before their turn.
    pub(super) early: VecDeque<Packet>,
    /// The packet lent out last.
    pub(super) current: Option<Packet>,
}

impl Demux<'_> {
    /// The next packet of the track.
    pub(super) fn next(&mut self) -> Next<'_> {
        match self {
            Self::Elementary(frames) => match frames.next() {
                None => Next::End,
                Some((header, bytes)) => {
                    let skip = if header.kind == super::headers::Kind::Adts {
                        header.header_bytes
                    } else {
                        0
                    };
                    let nominal = u64::from(header.frames);
                    let packet = PacketRef::new(
                        0,
                        Timestamp::ZERO,
                        Duration::new(nominal),
                        &bytes[skip.min(bytes.len())..],
                    );
                    Next::Piece(Piece { packet, nominal, header: Some(header) })
                }
            },
            Self::Samples(samples) => samples.next(),
            Self::Empty => Next::End,
            Self::Symphonia(reader) => reader.next(),
        }
    }

    /// Whether the nominal frames of packets are those that they decode to.
    pub(super) fn counts_exactly(&self) -> bool {
        match self {
            Self::Elementary(_) | Self::Samples(_) | Self::Empty => true,
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
        Next::Piece(Piece { packet, nominal, header: None })
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

    /// Goes on with a track of the next link of a chain.
    pub(super) fn start_link(&mut self, track: u32) {
        self.track = track;
        self.early.clear();
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
        let packet = self.current.insert(packet);
        let (numerator, denominator) = self.frames_per_tick;
        let nominal = self.fixed.unwrap_or_else(|| {
            let ticks = u128::from(packet.block_dur().get());
            let frames = (ticks * u128::from(numerator) + u128::from(denominator / 2))
                / u128::from(denominator);
            u64::try_from(frames).unwrap_or(u64::MAX)
        });
        Next::Piece(Piece { packet: packet.as_packet_ref(), nominal, header: None })
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
