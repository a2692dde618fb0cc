//! The samples of one track of an MP4 file, wherever they lie in it.
//!
//! - `tables`: by the tables of the movie box;
//! - `fragments`: by fragments.

mod fragments;
mod tables;

use std::rc::Rc;

use symphonia::core::{
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use self::{
    fragments::{Fragments, Met},
    tables::Samples,
};
use super::{Found, Lost, Next, PACKET_BYTES, Piece, Stamp, TOGETHER_BYTES, frames_of};
use crate::decode::{
    index::{Point, State},
    mp4::{Defaults, Tables},
    source::{Inside, Window},
};

/// What is known of a track before its samples are read.
pub(in crate::decode) struct Plan {
    /// Where the file starts in the object.
    pub(in crate::decode) base: u64,
    pub(in crate::decode) tables: Tables,
    /// Where in the object fragments start, if there are any, and what they need not say.
    pub(in crate::decode) fragments: Option<(u64, Defaults)>,
    pub(in crate::decode) ticks_per_second: u64,
    pub(in crate::decode) rate_hz: u32,
    /// Frames up to the end of the timeline, where that is known.
    pub(in crate::decode) frames: Option<u64>,
    /// Frames of every packet, where the codec fixes them.
    pub(in crate::decode) fixed: Option<u64>,
    /// Bytes of a frame, where samples are frames as they are.
    pub(in crate::decode) frame_bytes: Option<u32>,
    /// Whether a decoder starts with any packet.
    pub(in crate::decode) starts_anywhere: bool,
}

/// Reads sample after sample.
pub(in crate::decode) struct Track<'y> {
    window: Window<'y>,
    plan: Plan,
    samples: Samples<'y>,
    fragments: Option<Fragments<'y>>,
    /// A sample that is there, behind some that are not.
    ready: Option<Sample>,
    /// What is missing before it.
    missing: Missing,
}

/// Where a sample lies in the object, and how long it lasts. Several of equal length may be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    position: u64,
    bytes: usize,
    ticks: u64,
    count: u64,
    /// Where its fragment starts, and how many samples of that are before it.
    place: Option<(u64, u64)>,
}

/// Samples that are not there.
#[derive(Debug, Default, Clone, Copy)]
struct Missing {
    packets: u64,
    ticks: u64,
    /// Ticks besides, of packets that nothing speaks of.
    gap: u64,
}

impl<'y> Track<'y> {
    pub(in crate::decode) fn new(inside: &Rc<Inside<'y>>, plan: Plan) -> Self {
        let fragments = plan
            .fragments
            .map(|(start, defaults)| Fragments::new(inside, plan.base, start, defaults));
        Self {
            window: Window::new(Rc::clone(inside), plan.base, u64::MAX),
            samples: Samples::new(inside, plan.base, &plan.tables, plan.frame_bytes),
            fragments,
            plan,
            ready: None,
            missing: Missing::default(),
        }
    }

    /// Whether the frames of a packet are known: by its codec, or since ticks are frames.
    pub(in crate::decode) fn counts_exactly(&self) -> bool {
        self.plan.fixed.is_some() || self.plan.ticks_per_second == u64::from(self.plan.rate_hz)
    }

    /// The next packet, or what is missing before it.
    pub(in crate::decode) fn next(&mut self) -> Next<'_> {
        let sample = match self.ready.take().or_else(|| self.find()) {
            Some(sample) => sample,
            // What is missing at the end is missing to what was promised.
            None => return Next::End,
        };
        let missing = std::mem::take(&mut self.missing);
        if missing.packets > 0 || missing.gap > 0 {
            self.ready = Some(sample);
            let gap = self.frames_of(missing.gap);
            let frames = self.frames(missing.packets, missing.ticks).saturating_add(gap);
            return Next::Lost(Lost { frames, rate_hz: None, packets: missing.packets.max(1) });
        }
        let nominal = self.frames(sample.count, sample.ticks);
        self.window.go_to(sample.position);
        let data = &self.window.ahead(sample.bytes)[..sample.bytes];
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::new(nominal), data);
        let place = sample.place.and_then(|(position, passed)| {
            Some((position, State::Fragment { passed: passed.try_into().ok()? }))
        });
        Next::Piece(Piece { place, ..Piece::new(packet, nominal) })
    }

    /// Goes to a sample of a fragment that was passed before. As [`Demux::enter`](super::Demux::enter).
    pub(in crate::decode) fn enter(&mut self, point: &Point) -> bool {
        let (State::Fragment { passed }, Some(fragments)) = (point.state, &self.fragments) else {
            return false;
        };
        let Some(entered) = fragments.entered(point.position, passed.into()) else { return false };
        self.fragments = Some(entered);
        self.samples.go_to_end();
        (self.ready, self.missing) = (None, Missing::default());
        true
    }

    /// Frames of each packet, where its codec fixes them.
    pub(in crate::decode) fn packet_frames(&self) -> Option<u64> {
        self.plan.fixed
    }

    /// See [`Demux::enter_part`](super::Demux::enter_part).
    pub(in crate::decode) fn enter_part(&mut self, position: u64) -> Option<Option<Stamp>> {
        let entered = self.fragments.as_ref()?.at(position);
        let ticks = self.fragments.as_ref()?.at(position).first_time();
        self.fragments = Some(entered);
        self.samples.go_to_end();
        (self.ready, self.missing) = (None, Missing::default());
        let ticks_per_second = self.plan.ticks_per_second;
        Some(ticks.map(|ticks| Stamp { ticks, ticks_per_second, round: None }))
    }

    /// The next sample that is there.
    fn find(&mut self) -> Option<Sample> {
        loop {
            let sample = self.next_sample()?;
            if self.is_there(&sample) {
                return Some(sample);
            }
            self.miss(sample.count, sample.ticks);
            if self.window.is_behind(sample.position) {
                // So are those that follow it in a row.
                let (count, ticks) = self.samples.pass_chunk();
                self.miss(count, ticks);
                let (count, ticks) = self.fragments.as_mut().map_or((0, 0), Fragments::pass_run);
                self.miss(count, ticks);
            }
        }
    }

    fn miss(&mut self, count: u64, ticks: u64) {
        self.missing.packets = self.missing.packets.saturating_add(count);
        self.missing.ticks = self.missing.ticks.saturating_add(ticks);
    }

    fn next_sample(&mut self) -> Option<Sample> {
        let together = if self.plan.frame_bytes.is_some() { TOGETHER_BYTES as u32 } else { 0 };
        if let Some(sample) = self.samples.next(together) {
            return Some(sample);
        }
        loop {
            match self.fragments.as_mut()?.next()? {
                Met::Sample(sample) => return Some(sample),
                Met::Missing(ticks) => self.missing.gap = self.missing.gap.saturating_add(ticks),
            }
        }
    }

    fn is_there(&mut self, sample: &Sample) -> bool {
        if !(1..=PACKET_BYTES).contains(&sample.bytes) || self.window.is_behind(sample.position) {
            return false;
        }
        self.window.go_to(sample.position);
        let is_whole = self.window.ahead(sample.bytes).len() >= sample.bytes;
        is_whole && self.window.is_in_one_part(sample.bytes)
    }

    /// Frames of so many packets.
    fn frames(&self, packets: u64, ticks: u64) -> u64 {
        match self.plan.fixed {
            Some(fixed) => fixed.saturating_mul(packets),
            None => self.frames_of(ticks),
        }
    }

    /// Frames of so many ticks.
    fn frames_of(&self, ticks: u64) -> u64 {
        frames_of(ticks, self.plan.rate_hz.into(), self.plan.ticks_per_second.max(1))
    }

    /// Goes to the last packet at or before `frame` whose place the tables tell. As
    /// [`Demux::find`](super::Demux::find).
    pub(in crate::decode) fn find_packet(
        &mut self,
        frame: u64,
        (every, lead): (u64, u64),
    ) -> Option<Found> {
        // Behind the last frame there may be packets of none.
        let last = self.plan.frames.map_or(u64::MAX, |frames| frames.saturating_sub(1));
        let (frame, before) = (frame.min(last), (self.samples.cursor(), self.ready));
        let frame = match self.plan.fixed {
            Some(fixed) => {
                let point = (frame / fixed + lead) / every * every;
                self.samples.go_to_sample(point.saturating_sub(lead)).map(|packet| packet * fixed)
            }
            None if every > 1 || !self.plan.starts_anywhere || !self.counts_exactly() => None,
            None => self.samples.go_to_tick(frame),
        };
        let packet = self.samples.cursor().next;
        let sample = frame.and_then(|_| self.samples.next(0));
        match (frame, sample.filter(|sample| self.is_there(sample))) {
            (Some(frame), Some(sample)) => {
                (self.ready, self.missing) = (Some(sample), Missing::default());
                Some(Found { packet, frame })
            }
            _ => {
                self.samples.go_back(before.0);
                self.ready = before.1;
                None
            }
        }
    }
}
