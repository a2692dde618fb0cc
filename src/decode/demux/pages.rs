//! Vorbis, Opus and FLAC packets out of the pages of one Ogg stream, each where it lies in the stream.
//!
//! symphonia's reader opens the stream and says what it is. It is not asked for packets: behind a
//! lost page it places them where the last page ended, and nothing tells that one was lost.

use std::{collections::VecDeque, ops::Range};

use symphonia::core::{
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::{LEAD_FRAMES, Lost, Next, PACKET_BYTES, Piece};
use crate::decode::{
    flac,
    index::{Point, State},
    ogg::{PAGE_HEADER_BYTES, Page},
    opus,
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
    /// Where the page of the packets that are ready lies, if the stream can be entered there to read
    /// the next of them.
    place: Option<Place>,
    /// Packets of the page that is entered which are not wanted.
    to_pass: u8,
    first: Option<First>,
}

/// What the first page with packets says of the stream.
#[derive(Debug, Clone, Copy)]
pub(in crate::decode) struct First {
    /// What the stream counts before its first packet: not 0 if it was cut out of another.
    pub(in crate::decode) granule: i64,
    /// Frames of that packet.
    pub(in crate::decode) frames: u64,
}

/// A page that can be entered.
#[derive(Debug, Clone, Copy)]
struct Place {
    position: u64,
    granule: i64,
    /// Number of the page before it.
    sequence: u32,
    block: u8,
    /// Packets that came of it so far.
    passed: u8,
    /// One of them began on a page before it.
    is_torn: bool,
}

/// What says how many frames a packet holds.
pub(in crate::decode) enum Codec {
    Vorbis(vorbis::Blocks),
    Opus,
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
            to_pass: 0,
            first: None,
        }
    }

    /// What the first page with packets says, if the link has one. Reads it, if that has not been.
    pub(in crate::decode) fn first(&mut self) -> Option<First> {
        self.fill();
        self.first
    }

    /// Frames of the first packet, once its page was read.
    pub(in crate::decode) fn first_frames(&self) -> u64 {
        self.first.map_or(0, |first| first.frames)
    }

    /// Where the next page starts.
    pub(in crate::decode) fn position(&self) -> u64 {
        self.window.position()
    }

    /// Number of the stream.
    pub(in crate::decode) fn serial(&self) -> u32 {
        self.serial
    }

    /// Goes on to the link behind the one that starts here.
    pub(in crate::decode) fn pass_link(&mut self) {
        self.is_begun = false;
    }

    /// The next packet, or what was lost before it.
    pub(super) fn next(&mut self) -> Next<'_> {
        if let Some(next) = self.fill() {
            return next;
        }
        if let Some(lost) = self.lost.take() {
            return Next::Lost(lost);
        }
        let place = self.take_place();
        let ready = self.ready.pop_front().expect("a packet is ready");
        let packet = PacketRef::new(
            self.serial,
            Timestamp::new(ready.start.unwrap_or(0)),
            Duration::new(ready.frames),
            &self.body[ready.bytes.clone()],
        );
        let Ready { frames, trimmed, start, .. } = ready;
        Next::Piece(Piece { trimmed, start, place, ..Piece::new(packet, frames) })
    }

    /// Reads up to the next page that has packets of the stream; says what came instead.
    fn fill(&mut self) -> Option<Next<'static>> {
        while self.ready.is_empty() {
            let Some(page) = self.find() else { return Some(Next::End) };
            let page_start = self.window.position();
            if page.is_first && self.is_begun {
                return Some(Next::Changed);
            }
            self.is_begun |= !page.is_first;
            if page.serial == self.serial {
                let place = self.place_before(&page, page_start);
                self.take(&page);
                let is_clean = self.lost.is_none() && !self.ready.is_empty();
                self.place = place.filter(|_| is_clean);
                self.pass();
            }
            self.window.skip(page.bytes());
        }
        None
    }

    /// The place of `page`, if nothing is missing before it.
    fn place_before(&self, page: &Page, position: u64) -> Option<Place> {
        let (sequence, granule) = (self.sequence?, self.granule?);
        let block = match &self.codec {
            Codec::Vorbis(blocks) => blocks.last(),
            Codec::Opus | Codec::Flac => 0,
        };
        let is_torn = page.is_continued && self.begun > 0;
        let place = Place { position, granule, sequence, block, passed: 0, is_torn };
        (page.sequence == sequence.wrapping_add(1)).then_some(place)
    }

    /// Passes what is not wanted of the page that was entered.
    fn pass(&mut self) {
        let count = usize::from(std::mem::take(&mut self.to_pass)).min(self.ready.len());
        self.ready.drain(..count);
        if let Some(place) = &mut self.place {
            place.passed = count as u8;
        }
    }

    /// Where to enter to read the next packet first, and what has to be known there. Of Vorbis and FLAC
    /// that is the start of a page that begins with a packet. A packet of Opus needs none before it to
    /// say how long it is.
    fn take_place(&mut self) -> Option<(u64, State)> {
        let is_opus = matches!(self.codec, Codec::Opus);
        let Place { position, granule, sequence, block, mut passed, is_torn } = self.place?;
        self.place = self.place.filter(|_| is_opus && passed < u8::MAX);
        if let Some(place) = &mut self.place {
            place.passed += 1;
        }
        if is_torn {
            // Who enters here does not see the packet that began before.
            if passed == 0
                && let Some(place) = &mut self.place
            {
                place.granule += self.ready.front().map_or(0, |torn| torn.frames as i64);
            }
            passed = passed.checked_sub(1)?;
        }
        Some((position, State::Page { granule, sequence, block, passed }))
    }

    /// See [`Demux::enter`](super::Demux::enter).
    pub(super) fn enter(&mut self, point: &Point) -> bool {
        let State::Page { granule, sequence, block, passed } = point.state else { return false };
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
        self.to_pass = passed;
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
        let stated = start_by(frames).filter(|_| !page.is_last && !is_lost).unwrap_or(0);
        self.first.get_or_insert(First { granule: stated, frames: first.frames });
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
            start = stated.clamp(-LEAD_FRAMES, 0);
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
            Self::Opus => {
                let is_header = packet.starts_with(b"OpusHead") || packet.starts_with(b"OpusTags");
                !packet.is_empty() && !is_header
            }
            Self::Flac => packet.first() == Some(&0xFF),
        }
    }

    /// Frames that a packet decodes to; 0 if it is none.
    pub(super) fn frames(&mut self, packet: &[u8]) -> u64 {
        match self {
            Self::Vorbis(blocks) => blocks.frames(packet),
            Self::Opus => opus::frames(packet),
            Self::Flac => flac::frames(packet).unwrap_or(0),
        }
    }
}
