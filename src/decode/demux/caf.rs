//! Packets of CAF, which follow each other: all of one length, or as long as a table says.

use std::{ops::Range, rc::Rc};

use symphonia::core::{
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::{Found, Lost, Next, PACKET_BYTES, Piece, column::Column};
use crate::decode::{
    alac, caf,
    source::{Inside, Window},
};

/// What is known of packets before they are read.
#[derive(Debug, Clone)]
pub(in crate::decode) struct Plan {
    /// Where they lie in the object.
    pub(in crate::decode) data: Range<u64>,
    /// How many there are at most.
    pub(in crate::decode) packets: u64,
    /// Where the entries of the table lie in the object, and whether they say how many frames packets hold.
    pub(in crate::decode) entries: Range<u64>,
    pub(in crate::decode) has_frames: bool,
    /// Bytes of each; `None`: its entry says them.
    pub(in crate::decode) packet_bytes: Option<u64>,
    /// Frames of each; `None`: its entry says them.
    pub(in crate::decode) packet_frames: Option<u64>,
    /// Of ALAC, the last packet may say that it holds fewer.
    pub(in crate::decode) alac: Option<alac::Config>,
    /// Whether a decoder starts with any packet, or on its grid.
    pub(in crate::decode) starts_anywhere: bool,
}

/// Reads packet after packet.
pub(in crate::decode) struct Packets<'y> {
    window: Window<'y>,
    entries: Column<'y>,
    plan: Plan,
    /// Frames that they decode to up to the last that is heard, where that is known.
    end: Option<u64>,
    cursor: Cursor,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    /// Number of the packet.
    packet: u64,
    /// Where it lies in the object.
    position: u64,
    /// Frames before it.
    frame: u64,
    /// Bytes of the table before its entry.
    entry: u64,
}

impl<'y> Packets<'y> {
    pub(in crate::decode) fn new(inside: &Rc<Inside<'y>>, plan: Plan) -> Self {
        let Range { start, end } = plan.entries;
        Self {
            window: Window::new(Rc::clone(inside), plan.data.start, plan.data.end),
            entries: Column::new(inside, start, end, 1, end - start),
            cursor: Cursor { packet: 0, position: plan.data.start, frame: 0, entry: 0 },
            end: None,
            plan,
        }
    }

    /// The same of which no more than so many decoded frames are heard.
    pub(in crate::decode) fn ends_at(self, end: Option<u64>) -> Self {
        Self { end, ..self }
    }

    /// The next packet, or what is missing before it. What is missing at the end is missing to what was promised.
    pub(super) fn next(&mut self) -> Next<'_> {
        let mut lost = Lost { frames: 0, rate_hz: None, packets: 0 };
        loop {
            let cursor = self.cursor;
            let Some(bytes) = self.pass() else { return Next::End };
            let frames = self.cursor.frame - cursor.frame;
            if !(1..=PACKET_BYTES as u64).contains(&bytes) {
                lost.frames = lost.frames.saturating_add(frames);
                lost.packets += 1;
                continue;
            }
            if lost.packets > 0 {
                self.cursor = cursor;
                return Next::Lost(lost);
            }
            self.window.go_to(cursor.position);
            let Some(data) = self.window.ahead(bytes as usize).get(..bytes as usize) else {
                return Next::End;
            };
            let is_last = self.cursor.packet == self.plan.packets;
            let frames = last_frames(self.plan.alac.filter(|_| is_last), data, frames);
            self.cursor.frame = cursor.frame + frames;
            let behind = self.end.map_or(0, |end| self.cursor.frame.saturating_sub(end));
            let packet = PacketRef::new(0, Timestamp::ZERO, Duration::new(frames), data);
            return Next::Piece(Piece {
                trimmed: behind.min(frames),
                ..Piece::new(packet, frames)
            });
        }
    }

    /// Passes one packet, and says how many bytes it has.
    fn pass(&mut self) -> Option<u64> {
        if self.cursor.packet >= self.plan.packets {
            return None;
        }
        let said = if self.plan.packet_bytes.is_none() { self.entry()? } else { 0 };
        let bytes = self.plan.packet_bytes.unwrap_or(said);
        let said = if self.plan.has_frames { self.entry()? } else { 0 };
        let frames = self.plan.packet_frames.unwrap_or(said);
        self.cursor.packet += 1;
        self.cursor.position = self.cursor.position.checked_add(bytes)?;
        self.cursor.frame = self.cursor.frame.checked_add(frames)?;
        Some(bytes)
    }

    /// The next number of the table.
    fn entry(&mut self) -> Option<u64> {
        let Self { entries, cursor, .. } = self;
        caf::entry(|| {
            let byte = entries.entry(cursor.entry)?.first().copied();
            cursor.entry += 1;
            byte
        })
    }

    /// Frames that all packets decode to, where all but the last hold as many. Of ALAC, that one is looked at.
    pub(in crate::decode) fn frames(&mut self) -> Option<u64> {
        let Some(before) = self.plan.packets.checked_sub(1) else { return Some(0) };
        let each = self.plan.packet_frames?;
        let mut last = each;
        if let Some(config) = self.plan.alac {
            let cursor = self.cursor;
            let found = self.go_to(before);
            let position = std::mem::replace(&mut self.cursor, cursor).position;
            let mut head = [0; alac::HEADER_BYTES];
            let got = found.map_or(0, |()| self.window.read_elsewhere(position, &mut head));
            last = last_frames(Some(config), &head[..got], each);
        }
        before.checked_mul(each)?.checked_add(last)
    }

    /// Goes to the last packet at or before `frame` that the table finds. As [`Demux::find`](super::Demux::find).
    pub(super) fn find(&mut self, frame: u64, (every, lead): (u64, u64)) -> Option<Found> {
        let each = self.plan.packet_frames.filter(|each| self.plan.starts_anywhere && *each > 0)?;
        let last = self.end.map_or(u64::MAX, |end| end.saturating_sub(1));
        let packet = (frame.min(last) / each).min(self.plan.packets.checked_sub(1)?);
        let point = (packet.saturating_add(lead) / every * every).saturating_sub(lead);
        let cursor = self.cursor;
        if self.go_to(point).is_none() || !self.is_there() {
            self.cursor = cursor;
            return None;
        }
        Some(Found { packet: point, frame: self.cursor.frame })
    }

    /// Goes to a packet by its number.
    fn go_to(&mut self, packet: u64) -> Option<()> {
        if packet < self.cursor.packet {
            let position = self.plan.data.start;
            self.cursor = Cursor { packet: 0, position, frame: 0, entry: 0 };
        }
        if let Some((bytes, frames)) = self.plan.packet_bytes.zip(self.plan.packet_frames)
            && !self.plan.has_frames
        {
            let position = packet.checked_mul(bytes)?.checked_add(self.plan.data.start)?;
            let frame = packet.checked_mul(frames)?;
            self.cursor = Cursor { packet, position, frame, entry: 0 };
        }
        while self.cursor.packet < packet {
            self.pass()?;
        }
        Some(())
    }

    /// Whether the next packet is there to its end.
    fn is_there(&mut self) -> bool {
        let cursor = self.cursor;
        let bytes = self.pass().filter(|bytes| (1..=PACKET_BYTES as u64).contains(bytes));
        self.cursor = cursor;
        self.window.go_to(cursor.position);
        bytes.is_some_and(|bytes| self.window.ahead(bytes as usize).len() as u64 >= bytes)
    }
}

/// Frames of a packet that is to have `frames`, if it is the last and tells.
fn last_frames(alac: Option<alac::Config>, packet: &[u8], frames: u64) -> u64 {
    alac.map_or(frames, |config| config.frames(packet).min(frames))
}
