//! Vorbis and FLAC packets out of the pages of one Ogg stream, each where it lies in the stream.
//!
//! symphonia's reader opens the stream and says what it is. It is not asked for packets: behind a
//! lost page it places them where the last page ended, and nothing tells that one was lost.

use std::{collections::VecDeque, ops::Range};

use symphonia::core::{
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::{Lost, Next, Piece};
use crate::decode::{
    flac,
    index::{Point, State},
    ogg::{PAGE_HEADER_BYTES, Page},
    source::Window,
    vorbis,
};

/// Reads page by page, over what is none.
pub(in crate::decode) struct Pages<'y> {
    window: Window<'y>,
    serial: u32,
    codec: Codec,
    /// What the last page carries, behind the packet that a page before it began.
    body: Vec<u8>,
    /// Bytes at the end of `body` of a packet that the next page goes on with.
    begun: usize,
    ready: VecDeque<Ready>,
    /// The first pages of all streams that start together are behind.
    is_begun: bool,
    /// Number of the last page.
    sequence: Option<u32>,
    /// Frames up to the end of the last page, as the stream counts them.
    granule: Option<i64>,
    /// Bytes were passed since the last page that belong to none.
    passed_junk: bool,
    /// What is missing before the packets that are ready.
    lost: Option<Lost>,
    /// Where the page of the packets that are ready lies, if the stream can be entered there, while
    /// the first of them is still to come.
    place: Option<(u64, State)>,
}

/// What says how many frames a packet holds.
pub(in crate::decode) enum Codec {
    Vorbis(vorbis::Blocks),
    Flac,
}

/// A packet of the page.
struct Ready {
    bytes: Range<usize>,
    frames: u64,
    /// Frames at its end that the stream does not have.
    trimmed: u64,
    /// Where a link starts with it; negative before its frame 0.
    start: Option<i64>,
}

/// The furthest that a link may start before its frame 0: frames of the encoder.
const LEAD_FRAMES: i64 = 1 << 16;
/// The longest packet: a FLAC frame of 65,535 frames of eight channels of 32 bits.
const PACKET_BYTES: usize = 2 << 20;

impl<'y> Pages<'y> {
    /// `window` stands at the first page of a link, whose stream `serial` is wanted.
    pub(in crate::decode) fn new(window: Window<'y>, serial: u32, codec: Codec) -> Self {
        Self {
            window,
            serial,
            codec,
            body: Vec::new(),
            begun: 0,
            ready: VecDeque::new(),
            is_begun: false,
            sequence: None,
            granule: None,
            passed_junk: false,
            lost: None,
            place: None,
        }
    }

    /// Where the next page starts.
    pub(in crate::decode) fn position(&self) -> u64 {
        self.window.position()
    }

    /// Goes on to the link behind the one that starts here.
    pub(in crate::decode) fn pass_link(&mut self) {
        self.is_begun = false;
    }

    /// The next packet, or what was lost before it.
    pub(super) fn next(&mut self) -> Next<'_> {
        while self.ready.is_empty() {
            let Some(page) = self.find() else { return Next::End };
            let page_start = self.window.position();
            if page.is_first && self.is_begun {
                return Next::Changed;
            }
            self.is_begun |= !page.is_first;
            if page.serial == self.serial {
                let state = self.state_before(&page);
                self.take(&page);
                let is_clean = self.lost.is_none() && !self.ready.is_empty();
                self.place = state.filter(|_| is_clean).map(|state| (page_start, state));
            }
            self.window.skip(page.bytes());
        }
        if let Some(lost) = self.lost.take() {
            return Next::Lost(lost);
        }
        let ready = self.ready.pop_front().expect("a packet is ready");
        let packet = PacketRef::new(
            self.serial,
            Timestamp::new(ready.start.unwrap_or(0)),
            Duration::new(ready.frames),
            &self.body[ready.bytes.clone()],
        );
        let Ready { frames, trimmed, start, .. } = ready;
        let place = self.place.take();
        Next::Piece(Piece { trimmed, start, place, ..Piece::new(packet, frames) })
    }

    /// What has to be known to read `page` next. `None` where it begins inside a packet, and where
    /// something is missing before it, or any other packet.
    fn state_before(&self, page: &Page) -> Option<State> {
        let (sequence, granule) = (self.sequence?, self.granule?);
        let is_next = !page.is_continued && page.sequence == sequence.wrapping_add(1);
        let block = match &self.codec {
            Codec::Vorbis(blocks) => blocks.last(),
            Codec::Flac => 0,
        };
        is_next.then_some(State::Page { granule, sequence, block })
    }

    /// See [`Demux::enter`](super::Demux::enter).
    pub(super) fn enter(&mut self, point: &Point) -> bool {
        let State::Page { granule, sequence, block } = point.state else { return false };
        let before = self.window.position();
        self.window.go_to(point.position);
        let page = Page::parse(self.window.ahead(PAGE_HEADER_BYTES));
        let is_there = page.is_some_and(|page| {
            let length = page.bytes() as usize;
            (page.serial, page.sequence) == (self.serial, sequence.wrapping_add(1))
                && self.window.ahead(length).get(..length).is_some_and(Page::is_sound)
        });
        if !is_there {
            self.window.go_to(before);
            return false;
        }
        self.body.clear();
        self.ready.clear();
        (self.begun, self.lost, self.place) = (0, None, None);
        (self.is_begun, self.passed_junk) = (true, false);
        (self.sequence, self.granule) = (Some(sequence), Some(granule));
        if let Codec::Vorbis(blocks) = &mut self.codec {
            blocks.follow(block);
        }
        true
    }

    /// Passes what is no sound page. `None`: no more comes whole.
    fn find(&mut self) -> Option<Page> {
        loop {
            if let Some(page) = Page::parse(self.window.ahead(PAGE_HEADER_BYTES)) {
                let length = page.bytes() as usize;
                if self.window.ahead(length).get(..length).is_some_and(Page::is_sound) {
                    return Some(page);
                }
            }
            let bytes = self.window.ahead(1);
            let next = bytes.iter().skip(1).position(|byte| *byte == b'O');
            let count = next.map_or(bytes.len(), |next| next + 1);
            if count == 0 {
                return None;
            }
            self.passed_junk = true;
            self.window.skip(count as u64);
        }
    }

    /// Takes the packets of the page at the window.
    fn take(&mut self, page: &Page) {
        let is_next = self.sequence.is_none_or(|last| page.sequence == last.wrapping_add(1));
        let is_ahead = self.sequence.is_some_and(|last| page.sequence > last);
        // A multiplexer that does not count its pages has lost none.
        let is_lost = !is_next && (is_ahead || self.passed_junk);
        self.passed_junk = false;
        self.sequence = Some(page.sequence);
        let kept = if page.is_continued && !is_lost { self.begun } else { 0 };
        self.body.drain(..self.body.len() - kept);
        self.cut(page);
        self.place(page, is_lost);
    }

    /// Cuts the page into packets. One that began on a page that is not there is left out.
    fn cut(&mut self, page: &Page) {
        let bytes = self.window.ahead(page.bytes() as usize);
        let (mut start, mut end) = (0, self.body.len());
        let mut is_torn = page.is_continued && end == 0;
        self.body.extend_from_slice(page.body(bytes));
        self.begun = 0;
        for (length, ends) in Page::packets(bytes) {
            end += length;
            let packet = &self.body[start..end];
            let is_whole = !std::mem::take(&mut is_torn) && self.codec.is_audio(packet);
            if is_whole && ends {
                let frames = self.codec.frames(packet);
                self.ready.push_back(Ready { bytes: start..end, frames, trimmed: 0, start: None });
            } else if is_whole && packet.len() <= PACKET_BYTES {
                self.begun = packet.len();
            }
            start = end;
        }
    }

    /// Finds the place of the page's packets by its granule position, and what is missing before.
    ///
    /// A granule position that jumps though no page is missing is not followed, as by no player.
    fn place(&mut self, page: &Page, is_lost: bool) {
        let mut frames: u64 = self.ready.iter().map(|ready| ready.frames).sum();
        let longest = self.ready.iter().map(|ready| ready.frames).max().unwrap_or(0).max(1);
        let Some(first) = self.ready.front_mut() else { return };
        let granule = Some(page.granule).filter(|granule| *granule >= 0);
        let start_by = |frames: u64| granule.map(|granule| granule.saturating_sub(frames as i64));
        let before = self.granule.unwrap_or(0);
        let mut start = before;
        if is_lost && start_by(frames) != Some(before) {
            if let Codec::Vorbis(_) = self.codec {
                // It has nothing to overlap.
                frames -= std::mem::take(&mut first.frames);
            }
            let gap = start_by(frames).map_or(0, |start| start.saturating_sub(before)).max(0);
            start = before.saturating_add(gap);
            let packets = (gap as u64).div_ceil(longest).max(1);
            self.lost = Some(Lost { frames: gap as u64, rate_hz: None, packets });
        } else if self.granule.is_none() {
            // A link that was cut out of another starts with its first packet all the same.
            start = start_by(frames).filter(|_| !page.is_last).unwrap_or(0).clamp(-LEAD_FRAMES, 0);
            first.start = Some(start);
        }
        let end = start.saturating_add(frames as i64);
        if page.is_last {
            self.trim(end.saturating_sub(granule.unwrap_or(end)));
        }
        self.granule = Some(granule.unwrap_or(end));
    }

    /// Takes `frames` off the end of the packets.
    fn trim(&mut self, frames: i64) {
        let mut left = u64::try_from(frames).unwrap_or(0);
        for ready in self.ready.iter_mut().rev() {
            ready.trimmed = ready.frames.min(left);
            left -= ready.trimmed;
        }
    }
}

impl Codec {
    /// Whether a packet that starts so is no header.
    fn is_audio(&self, packet: &[u8]) -> bool {
        match self {
            Self::Vorbis(_) => packet.first().is_some_and(|first| first & 1 == 0),
            Self::Flac => packet.first() == Some(&0xFF),
        }
    }

    fn frames(&mut self, packet: &[u8]) -> u64 {
        match self {
            Self::Vorbis(blocks) => blocks.frames(packet),
            Self::Flac => flac::frames(packet).unwrap_or(0),
        }
    }
}
