//! MPEG audio and ADTS frames of one stream of a transport stream.
//!
//! - `packets`: the packets of 188 bytes;
//! - `payload`: the bytes that those of one stream carry.
//!
//! Nothing says how many frames a stream has, nor what of them its encoder put before the audio, so all
//! of them are heard. Frames follow each other. Only where packets are missing by their numbers, or
//! bytes are none of a frame, times are asked: those of the next PES packet tell how many frames are
//! lost. Frames that come before it are counted in advance.

mod packets;
mod payload;

use symphonia::core::{
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use self::payload::Entry;
pub(in crate::decode) use self::{
    packets::Packets,
    payload::{Choice, Payload},
};
use super::{Lost, Next, Piece, Stamp};
use crate::decode::{
    headers::{Header, Kind, is_trailer},
    index::{Point, State},
    ts::{Clock, Coding},
};

/// Bytes that are enough for any header.
const HEADER_BYTES: usize = 16;
/// How far into a stream a first frame is looked for.
const JUNK_BYTES: u64 = 512 << 10;
/// How far a time is looked for behind what is lost.
const LOOK_BYTES: u64 = 64 << 10;

/// Reads frame by frame.
pub(in crate::decode) struct Track<'y> {
    payload: Payload<'y>,
    /// What the stream is, by its first frame or by the first after its last change.
    like: Header,
    /// Its packets are HE-AAC, of which headers say what the core is.
    is_extended: bool,
    /// Length of the frame lent out last: it is passed at the next call.
    lent: usize,
    /// The last thing seen was not a frame, so the next one has to be confirmed by its successor.
    is_lost: bool,
    clock: Clock,
    gap: Gap,
    /// Where to enter to read the next frame, with so many before it.
    entry: Option<(Entry, u16)>,
}

/// Whether frames may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    No,
    /// Before the next one.
    Here,
    /// Before a frame that has passed: the next time will tell.
    Passed,
}

impl<'y> Track<'y> {
    /// Goes to the first frame of what is `coding`. `None`: there is none.
    pub(in crate::decode) fn open(payload: &mut Payload<'y>, coding: Coding) -> Option<Header> {
        while payload.place() < JUNK_BYTES {
            let bytes = payload.ahead(HEADER_BYTES);
            if bytes.len() < 4 {
                break;
            }
            let header = Header::parse(bytes).filter(|header| coding.holds(header.kind));
            if let Some(header) = header.filter(|header| is_followed(payload, header)) {
                return Some(header);
            }
            pass_junk(payload);
        }
        None
    }

    /// `payload` stands at the frame that `first` is the header of.
    pub(in crate::decode) fn new(payload: Payload<'y>, first: Header) -> Self {
        Self {
            payload,
            like: first,
            is_extended: false,
            lent: 0,
            is_lost: false,
            clock: Clock::default(),
            gap: Gap::No,
            entry: None,
        }
    }

    /// The same of HE-AAC.
    pub(in crate::decode) fn extended(self) -> Self {
        Self { is_extended: true, ..self }
    }

    /// The next packet, or what was lost before it.
    pub(in crate::decode) fn next(&mut self) -> Next<'_> {
        self.payload.skip(std::mem::take(&mut self.lent));
        let Some(header) = self.find() else { return Next::End };
        self.is_lost = false;
        self.like = header;
        let said = self.header();
        let nominal = u64::from(said.frames);
        let packets = self.missing(&header);
        if packets > 0 {
            let frames = packets.saturating_mul(nominal);
            return Next::Lost(Lost { frames, rate_hz: Some(said.rate_hz), packets });
        }
        let place = self.take_start(&header);
        self.clock.pass(&header);
        self.lent = header.bytes;
        let skip = if header.kind == Kind::Adts { header.header_bytes } else { 0 };
        let data = &self.payload.ahead(header.bytes)[skip..header.bytes];
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::new(nominal), data);
        Next::Piece(Piece { header: Some(said), place, ..Piece::new(packet, nominal) })
    }

    /// What is known of the last frame, or of the first, by its header.
    pub(in crate::decode) fn header(&self) -> Header {
        if self.is_extended { self.like.extended() } else { self.like }
    }

    /// See [`Demux::enter`](super::Demux::enter).
    pub(super) fn enter(&mut self, point: &Point) -> bool {
        let Some((entry, passed)) = Entry::of(point.position, point.state) else { return false };
        let (mark, before) = (self.payload.mark(), (self.like, self.lent, self.is_lost));
        let times = (self.clock, self.gap, self.entry);
        (self.lent, self.is_lost) = (0, false);
        (self.clock, self.gap, self.entry) = (Clock::default(), Gap::No, None);
        let is_there = self.payload.enter(entry)
            && self.starts_anew()
            && (0..passed).all(|_| matches!(self.next(), Next::Piece(_)));
        if !is_there {
            self.payload.go_back(mark);
            (self.like, self.lent, self.is_lost) = before;
            (self.clock, self.gap, self.entry) = times;
        }
        is_there
    }

    /// See [`Demux::enter_part`](super::Demux::enter_part).
    pub(super) fn enter_part(&mut self, position: u64) -> Option<Stamp> {
        self.payload.start_anew(position);
        (self.lent, self.is_lost) = (0, true);
        (self.clock, self.gap, self.entry) = (Clock::default(), Gap::No, None);
        self.find()?;
        (self.is_lost, self.gap) = (false, Gap::No);
        time_here(&mut self.payload).map(Stamp::mpeg)
    }

    /// Whether a frame is here that can be the first of the stream.
    fn starts_anew(&mut self) -> bool {
        let header = Header::parse(self.payload.ahead(HEADER_BYTES));
        let header = header.filter(|header| header.kind == self.like.kind);
        self.like = header.unwrap_or(self.like);
        header.is_some()
    }

    /// Goes to the next frame. `None` at the end: a frame that it cuts off is not one, and what no
    /// frame follows was not audio.
    fn find(&mut self) -> Option<Header> {
        loop {
            let bytes = self.payload.ahead(HEADER_BYTES);
            if bytes.len() < 4 {
                return None;
            }
            match Header::parse(bytes) {
                Some(header) if self.starts(&header)? => return Some(header),
                _ => {
                    (self.is_lost, self.gap) = (true, self.gap.opened());
                    pass_junk(&mut self.payload);
                }
            }
        }
    }

    /// Whether a frame of the stream starts here. `None`: the source ends inside it.
    fn starts(&mut self, header: &Header) -> Option<bool> {
        if self.like.kind != header.kind {
            return Some(false);
        }
        // Streams that were put behind each other may differ in their rate.
        let is_next = !self.is_lost && self.like.is_like(header);
        let is_whole = self.payload.ahead(header.bytes).len() >= header.bytes;
        let is_torn = self.payload.bytes_to_break().is_some();
        match is_next && !is_torn {
            true => is_whole.then_some(true),
            false => Some(is_whole && is_followed(&mut self.payload, header)),
        }
    }

    /// How many packets are missing before the frame of `header`, at which the payload stands.
    fn missing(&mut self, header: &Header) -> u64 {
        if let Some(broken) = self.payload.take_break() {
            self.gap = self.gap.opened();
            if broken.is_new_time {
                self.clock = Clock::default();
            }
        }
        if self.gap == Gap::No {
            return 0;
        }
        self.entry = None;
        let time = match self.gap {
            Gap::Here => {
                let mark = self.payload.mark();
                let time = time_ahead(&mut self.payload, header);
                self.payload.go_back(mark);
                time
            }
            _ => time_here(&mut self.payload).map(|pts| (pts, 0)),
        };
        let Some((pts, between)) = time else {
            self.gap = Gap::Passed;
            return 0;
        };
        let mut clock = Clock::default();
        clock.set(pts, between, header);
        let packets = self.clock.packets_until(&clock, header);
        (self.clock, self.gap) = (clock, Gap::No);
        packets
    }

    /// Takes the frame at hand out of its PES packet, with the time if it is the first of that; where to
    /// enter to read it, if a PES packet started with a frame and nothing is missing since.
    fn take_start(&mut self, header: &Header) -> Option<(u64, State)> {
        if let Some((start, is_at_start)) = self.payload.start() {
            self.payload.pass_starts();
            if let Some(pts) = start.pts {
                self.clock.set(pts, 0, header);
            }
            let is_entry = is_at_start && start.pts.is_some();
            self.entry = start.entry.filter(|_| is_entry).map(|entry| (entry, 0));
        }
        // What comes has to be the same for who did not see what was before.
        let is_whole = self.gap == Gap::No && self.payload.bytes_to_break().is_none();
        let (entry, passed) = self.entry.take().filter(|_| is_whole)?;
        self.entry = passed.checked_add(1).map(|passed| (entry, passed));
        Some(entry.place(passed))
    }
}

impl Gap {
    fn opened(self) -> Self {
        if self == Self::No { Self::Here } else { self }
    }
}

/// Whether a frame is there to its end, and followed by another.
fn is_followed(payload: &mut Payload<'_>, header: &Header) -> bool {
    let bytes = payload.ahead(header.bytes + HEADER_BYTES);
    bytes.get(header.bytes..).is_some_and(|behind| {
        is_trailer(behind) || Header::parse(behind).is_some_and(|next| header.is_like(&next))
    })
}

/// Goes on to the next byte that may start a frame: behind what is missing, if a frame there would be
/// torn.
fn pass_junk(payload: &mut Payload<'_>) {
    let to_break = payload.bytes_to_break();
    let bytes = payload.ahead(1);
    let next = bytes.iter().skip(1).position(|byte| *byte == 0xFF);
    let count = to_break.unwrap_or(next.map_or(bytes.len(), |next| next + 1));
    payload.skip_junk(count);
}

/// The time of the frame at which a payload stands, if it is the first of its PES packet.
fn time_here(payload: &mut Payload<'_>) -> Option<u64> {
    payload.start().and_then(|(start, _)| start.pts)
}

/// The next time, and how many frames lie before it, the one of `header` that is here included. `None`:
/// something is missing before it, or it lies too far.
fn time_ahead(payload: &mut Payload<'_>, header: &Header) -> Option<(u64, u64)> {
    let (end, mut bytes, mut between) = (payload.place() + LOOK_BYTES, header.bytes, 0);
    while payload.place() < end {
        if let Some(pts) = time_here(payload) {
            return Some((pts, between));
        }
        if payload.ahead(bytes).len() < bytes || payload.bytes_to_break().is_some() {
            break;
        }
        payload.pass_starts();
        payload.skip(bytes);
        between += 1;
        let next = Header::parse(payload.ahead(HEADER_BYTES))?;
        bytes = Some(next.bytes).filter(|_| next.is_like(header))?;
    }
    None
}
