//! Packets of one track of Matroska and WebM.
//!
//! symphonia's reader opens the file and says what its tracks are. It is not asked for packets: it does not
//! say what of a block is not to be heard, and counts in milliseconds, where most packets say by themselves
//! how many frames they hold.
//!
//! Frames follow each other. Only where damaged bytes were passed, the times of blocks are asked how many
//! are lost.

use std::{collections::VecDeque, ops::Range};

use symphonia::core::{
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::{Codec, Lost, Next, PACKET_BYTES, Piece, frames_of};
use crate::decode::{
    headers::{Header, Kind},
    index::{Point, State},
    matroska::{
        Block, CLUSTER, EBML, Element, GROUP, Group, SEGMENT, SIMPLE_BLOCK, TIMESTAMP, number,
        track_of,
    },
    source::Window,
};

pub(in crate::decode) const NS_PER_SECOND: u64 = 1_000_000_000;
const LAYER_3: Kind = Kind::Mpeg { layer: 3 };
/// Bytes that are enough to see of which track a block is.
const LOOK_BYTES: usize = 64;
/// The longest element that is read.
const LONGEST: u64 = PACKET_BYTES as u64;
/// The first bytes of clusters, blocks and groups.
const STARTS: [u8; 3] = [(CLUSTER >> 24) as u8, SIMPLE_BLOCK as u8, GROUP as u8];

/// What is known of a track before its packets are read.
pub(in crate::decode) struct Plan {
    /// Its number.
    pub(in crate::decode) track: u64,
    pub(in crate::decode) rate_hz: u32,
    /// Nanoseconds of a tick.
    pub(in crate::decode) tick_ns: u64,
    /// Frames that are decoded before frame 0.
    pub(in crate::decode) delay: i64,
    pub(in crate::decode) lengths: Lengths,
}

/// What says how many frames a packet holds.
pub(in crate::decode) enum Lengths {
    /// The packet.
    Packets(Codec),
    /// Its header, of MPEG audio.
    Headers,
    /// The codec: so many.
    Fixed(u64),
    /// Its length: so many bytes are a frame.
    Bytes(usize),
    /// Nothing.
    Unknown,
}

/// Reads element after element.
pub(in crate::decode) struct Track<'y> {
    window: Window<'y>,
    plan: Plan,
    /// The file has begun: what begins then is another.
    is_begun: bool,
    /// Time of the running cluster.
    cluster: Option<u64>,
    /// Damaged bytes were passed, and no block has shown since then how long they lasted.
    is_lost: bool,
    /// The running cluster has said its time behind them.
    is_timed: bool,
    last: Last,
    /// Length of the element that holds what is ready.
    held: u64,
    ready: VecDeque<Ready>,
    /// What is missing before the packets that are ready.
    lost: Option<Lost>,
    /// Where to enter to read what is ready, up to its first packet.
    place: Option<(u64, State)>,
    first: Option<First>,
}

/// What came last.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    /// The time of the last that had one, and the frames from its start on.
    block: Option<(u64, u64)>,
    /// Frames of its last packet.
    packet_frames: u64,
}

/// What the first packet says of the track.
#[derive(Debug, Clone, Copy)]
struct First {
    frames: u64,
    header: Option<Header>,
}

/// A packet of the element at the window.
struct Ready {
    bytes: Range<usize>,
    frames: u64,
    /// Frames at its end that nobody is to hear.
    trimmed: u64,
    header: Option<Header>,
    /// Where the track starts with it; negative before its frame 0.
    start: Option<i64>,
}

impl<'y> Track<'y> {
    /// `window` stands at the start of the file.
    pub(in crate::decode) fn new(window: Window<'y>, plan: Plan) -> Self {
        Self {
            window,
            plan,
            is_begun: false,
            cluster: None,
            is_lost: false,
            is_timed: false,
            last: Last::default(),
            held: 0,
            ready: VecDeque::new(),
            lost: None,
            place: None,
            first: None,
        }
    }

    /// Reads the first packet; its header, if it has one.
    pub(in crate::decode) fn begin(&mut self) -> Option<Header> {
        self.fill();
        self.header()
    }

    /// Frames of the first packet, once that was read.
    pub(super) fn first_frames(&self) -> u64 {
        self.first.map_or(0, |first| first.frames)
    }

    /// Header of the first packet, once that was read.
    pub(super) fn header(&self) -> Option<Header> {
        self.first.and_then(|first| first.header)
    }

    /// Whether it is known how many frames packets decode to.
    pub(super) fn counts_exactly(&self) -> bool {
        !matches!(self.plan.lengths, Lengths::Unknown)
    }

    /// The next packet, or what was lost before it.
    pub(super) fn next(&mut self) -> Next<'_> {
        if !self.fill() {
            return Next::End;
        }
        if let Some(lost) = self.lost.take() {
            return Next::Lost(lost);
        }
        let place = self.place.take();
        let ready = self.ready.pop_front().expect("a packet is ready");
        let Ready { bytes, frames, trimmed, header, start } = ready;
        let data = &self.window.ahead(bytes.end)[bytes];
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::new(frames), data);
        Next::Piece(Piece { trimmed, start, header, place, ..Piece::new(packet, frames) })
    }

    /// See [`Demux::enter`](super::Demux::enter).
    pub(super) fn enter(&mut self, point: &Point) -> bool {
        let State::Block { ticks, packet_frames, overlap } = point.state else { return false };
        let before = self.window.position();
        self.window.go_to(point.position);
        let element = Element::parse(self.window.ahead(Element::HEADER_BYTES));
        if !element.is_some_and(|element| self.is_ours(&element)) {
            self.window.go_to(before);
            return false;
        }
        self.ready.clear();
        (self.held, self.lost, self.place) = (0, None, None);
        (self.is_begun, self.is_lost, self.cluster) = (true, false, Some(ticks));
        self.last = Last { block: None, packet_frames: packet_frames.into() };
        if let Lengths::Packets(Codec::Vorbis(blocks)) = &mut self.plan.lengths {
            blocks.follow(overlap);
        }
        true
    }

    /// Reads up to the next packets of the track. False at the end.
    fn fill(&mut self) -> bool {
        while self.ready.is_empty() {
            self.window.skip(std::mem::take(&mut self.held));
            let Some(element) = self.find() else { return false };
            let is_inside = [SEGMENT, CLUSTER].contains(&element.id);
            self.held = element.bytes().filter(|_| !is_inside).unwrap_or(element.header_bytes);
            match element.id {
                EBML if self.is_begun => return false,
                SEGMENT | CLUSTER => (self.is_begun, self.cluster) = (true, None),
                TIMESTAMP => {
                    self.cluster = self.body(&element).and_then(number);
                    self.is_timed = self.cluster.is_some();
                }
                SIMPLE_BLOCK | GROUP if self.is_ours(&element) => self.take(&element),
                _ => {}
            }
        }
        true
    }

    /// Goes to the next element, over what is none. `None` at the end.
    fn find(&mut self) -> Option<Element> {
        let mut is_searching = false;
        loop {
            let element = Element::parse(self.window.ahead(Element::HEADER_BYTES));
            if let Some(element) = element.filter(Element::is_sound)
                && (!is_searching || self.is_followed(&element))
            {
                return Some(element);
            }
            is_searching = true;
            self.lose();
            let bytes = self.window.ahead(1);
            let next = bytes.iter().skip(1).position(|byte| STARTS.contains(byte));
            let count = next.map_or(bytes.len(), |next| next + 1);
            if count == 0 {
                return None;
            }
            self.window.skip(count as u64);
        }
    }

    fn lose(&mut self) {
        (self.is_lost, self.is_timed) = (true, false);
    }

    /// Whether what looks like an element among damaged bytes is one: a cluster has a long name, and behind a
    /// block of the track another element stands.
    fn is_followed(&mut self, element: &Element) -> bool {
        let is_block = [SIMPLE_BLOCK, GROUP].contains(&element.id) && self.is_ours(element);
        let Some(bytes) = element.bytes().filter(|bytes| is_block && *bytes <= LONGEST) else {
            return element.id == CLUSTER;
        };
        let end = self.window.position().saturating_add(bytes);
        let mut behind = [0; Element::HEADER_BYTES];
        let got = self.window.read_elsewhere(end, &mut behind);
        let next = Element::parse(&behind[..got]);
        next.is_some_and(|next| next.is_sound()) || self.window.is_behind(end)
    }

    /// Whether a block or a group at the window is of the track: others are not read.
    fn is_ours(&mut self, element: &Element) -> bool {
        let bytes = self.window.ahead(LOOK_BYTES);
        let body = bytes.get(element.header_bytes as usize..).unwrap_or_default();
        track_of(body, element.id == GROUP) == Some(self.plan.track)
    }

    /// What the element at the window holds. `None`: it does not come whole.
    fn body(&mut self, element: &Element) -> Option<&[u8]> {
        let bytes = element.bytes().filter(|bytes| *bytes <= LONGEST)? as usize;
        self.window.ahead(bytes).get(element.header_bytes as usize..bytes)
    }

    /// Takes the packets of a block or of a group, which stands at the window.
    fn take(&mut self, element: &Element) {
        let Some((block, discarded_ns)) = self.block(element) else {
            self.lose();
            return;
        };
        let time = self.time_of(&block);
        self.lost = self.missing_before(time).filter(|_| self.is_lost);
        // The start of another cluster may be among what was passed.
        self.is_lost &= !self.is_timed;
        let is_known = self.lost.is_none() && !self.is_lost;
        let state = self.state().filter(|_| is_known);
        self.place = state.map(|state| (self.window.position(), state));
        block.packets.into_iter().for_each(|place| self.push(place));
        let frames = self.ready.iter().map(|ready| ready.frames).sum::<u64>();
        let discarded = frames_of(discarded_ns, self.plan.rate_hz.into(), NS_PER_SECOND);
        self.trim(discarded);
        let heard = frames.saturating_sub(discarded);
        self.last.block = match (time, self.last.block) {
            (None, before) => before.map(|(time, passed)| (time, passed + heard)),
            (Some(time), _) => Some((time, heard)),
        };
    }

    /// The time of a block, if that is known. Behind damage, one that would lie before the last is of a
    /// cluster whose time was lost.
    fn time_of(&mut self, block: &Block) -> Option<u64> {
        let time = self.cluster.and_then(|ticks| ticks.checked_add_signed(block.ticks.into()));
        let is_behind = |time| self.last.block.is_none_or(|(before, _)| before < time);
        let time = time.filter(|time| !self.is_lost || is_behind(*time));
        self.cluster = self.cluster.filter(|_| time.is_some());
        time
    }

    /// The block in an element, its packets by where they lie behind the start of that; and nanoseconds at
    /// its end that nobody is to hear.
    fn block(&mut self, element: &Element) -> Option<(Block, u64)> {
        let body = self.body(element)?;
        let Group { block: place, discarded_ns } = match element.id {
            GROUP => Group::parse(body)?,
            _ => Group { block: 0..body.len(), discarded_ns: 0 },
        };
        let mut block = Block::parse(&body[place.clone()])?;
        let start = element.header_bytes as usize + place.start;
        for packet in &mut block.packets {
            *packet = start + packet.start..start + packet.end;
        }
        Some((block, discarded_ns))
    }

    /// What is missing before a block of this time, as far as that can be told.
    fn missing_before(&self, time: Option<u64>) -> Option<Lost> {
        let (time, (before, frames)) = time.zip(self.last.block)?;
        let packet_frames = Some(self.last.packet_frames).filter(|frames| *frames > 0)?;
        let frames_per_tick = self.plan.tick_ns.saturating_mul(self.plan.rate_hz.into());
        let passed = frames_of(time.saturating_sub(before), frames_per_tick, NS_PER_SECOND);
        // Ticks are rounded, and most packets are of one length.
        let gap = passed.saturating_sub(frames);
        let packets = gap.saturating_add(packet_frames / 2) / packet_frames;
        let frames = packets.saturating_mul(packet_frames);
        (packets > 0).then_some(Lost { frames, rate_hz: None, packets })
    }

    /// What has to be known to read the block that comes next.
    fn state(&self) -> Option<State> {
        let overlap = match &self.plan.lengths {
            Lengths::Packets(Codec::Vorbis(blocks)) => blocks.last(),
            _ => 0,
        };
        let packet_frames = self.last.packet_frames.try_into().ok()?;
        Some(State::Block { ticks: self.cluster?, packet_frames, overlap })
    }

    /// Adds a packet of the element at the window.
    fn push(&mut self, bytes: Range<usize>) {
        let packet = &self.window.ahead(bytes.end)[bytes.clone()];
        let (frames, header) = self.plan.lengths.of(packet);
        // One that does not say it is as long as the one before.
        let frames = if frames == 0 { self.last.packet_frames } else { frames };
        self.last.packet_frames = frames;
        // Of Vorbis, the first is not heard.
        let start = self.first.is_none().then_some(-self.plan.delay);
        self.first.get_or_insert(First { frames, header });
        self.ready.push_back(Ready { bytes, frames, trimmed: 0, header, start });
    }

    /// Takes `frames` off the end of the packets.
    fn trim(&mut self, frames: u64) {
        let mut left = frames;
        for ready in self.ready.iter_mut().rev() {
            ready.trimmed = ready.frames.min(left);
            left -= ready.trimmed;
        }
    }
}

impl Lengths {
    /// Frames of a packet, 0 if it does not say that; its header, if it has one.
    fn of(&mut self, packet: &[u8]) -> (u64, Option<Header>) {
        match self {
            Self::Packets(codec) => (codec.frames(packet), None),
            Self::Headers => {
                let header = Header::parse(packet).filter(|header| header.kind == LAYER_3);
                (header.map_or(0, |header| header.frames.into()), header)
            }
            Self::Fixed(frames) => (*frames, None),
            Self::Bytes(frame_bytes) => ((packet.len() / *frame_bytes) as u64, None),
            Self::Unknown => (0, None),
        }
    }
}
