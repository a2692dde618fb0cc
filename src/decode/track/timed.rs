//! A start in the middle of a tape of which no index tells where its frames lie: by the times that its parts have.
//!
//! The playlist says about when a part begins; what it holds says it exactly, in ticks from whatever moment its
//! encoder began with. So the ticks of the first part are asked as well, and what lies between is counted in whole
//! packets. Where there are no ticks, the playlist's own times are taken, to the nearest packet.

use std::{rc::Rc, time::Duration};

use super::{player::Player, stretches};
use crate::{
    decode::{
        Error,
        decoder::Mode,
        demux::Demux,
        opening::Opened,
        shape::Shape,
        skip::Preroll,
        source::Inside,
        times::{frames_of, time_of},
        tray::frames_end,
    },
    stream::tape::position_of,
};

/// Parts before the one that should hold a frame in which it is looked for.
const TRIES: u32 = 4;

impl<'y> Player<'_, 'y> {
    /// Goes near before the wanted frame, unless the stream was entered there or near the start is near enough.
    pub(super) fn enter_by_time(
        &mut self,
        inside: &Rc<Inside<'y>>,
        opened: &mut Opened<'y>,
        track: Option<u32>,
    ) -> Result<(), Error> {
        let is_wanted = self.mode == Mode::Play && self.skip.is_some() && inside.resident.is_tape();
        let recording = inside.desk.recording.borrow();
        // Where all packets were counted, so is each that is passed on the way: a time may be a packet off.
        let is_counted = recording.index().is_some_and(|index| index.frames().is_some());
        drop(recording);
        if !is_wanted || is_counted || !self.is_far(inside, opened) {
            return Ok(());
        }
        self.enter_stretch(inside, opened, track)?;
        if let Some(shape) = self.stated
            && self.enter_part(&mut opened.demux)
        {
            self.is_entered(shape);
            // What is counted from here on is nothing that an index is made of.
            (self.is_indexed, self.is_counted) = (false, false);
            self.back = None;
        }
        Ok(())
    }

    /// Whether a whole part lies between the next packet and the one that a decoder would start with.
    fn is_far(&self, inside: &Inside<'_>, opened: &Opened<'_>) -> bool {
        if self.stated.is_none() {
            return false;
        }
        let wanted = self.time(self.entry_frame(&opened.demux));
        let start =
            inside.resident.with_tape(|tape| tape.time_of(tape.part_at(wanted).saturating_sub(1)));
        start.is_some_and(|start| self.time(self.clock) < start)
    }

    /// When a frame of the running link is heard.
    fn time(&self, frame: i64) -> Duration {
        let rate_hz = |shape: Option<Shape>| shape.map_or(0, |shape| shape.rate_hz);
        let start = time_of(frames_end(Some(self.start)), rate_hz(self.out));
        start.saturating_add(time_of(frame, rate_hz(self.stated)))
    }

    /// The frame of the packet with which a decoder has to start at the latest.
    fn entry_frame(&self, demux: &Demux<'_>) -> i64 {
        let Some(preroll) = self.preroll else { return 0 };
        let most = preroll.most_frames(self.header.as_ref());
        let (Preroll::Grid(grid), Some(frames)) = (preroll, demux.packet_frames()) else {
            return self.span.from.saturating_sub(most);
        };
        let (every, lead) = grid.entries();
        let decoded = u64::try_from(self.span.from.saturating_sub(self.link_clock)).unwrap_or(0);
        let point = (decoded / frames) / every * every;
        let packet = point.saturating_sub(lead);
        let frames = i64::try_from(packet.saturating_mul(frames)).unwrap_or(i64::MAX);
        frames.saturating_add(self.link_clock)
    }

    /// Goes to the stretch that should hold the wanted frame, where that is not the first.
    fn enter_stretch(
        &mut self,
        inside: &Rc<Inside<'y>>,
        opened: &mut Opened<'y>,
        track: Option<u32>,
    ) -> Result<(), Error> {
        let wanted = self.time(self.entry_frame(&opened.demux));
        let other = inside.resident.with_tape(|tape| {
            let part = tape.part_at(wanted);
            (!tape.is_read(part)).then(|| tape.start_of(part))
        });
        let Some((first, start)) = other.flatten() else { return Ok(()) };
        if let Some(missing) = stretches::go_to(inside, opened, track, position_of(first))? {
            self.packet = 0;
            self.start_late(missing);
            return self.start_link(opened);
        }
        // What it is was told before a packet decoded.
        self.has_played = true;
        self.stamp = stretches::stamp(inside, opened).map(|stamp| (stamp, -opened.timeline.delay));
        let rate_hz = self.out.map_or(0, |shape| shape.rate_hz);
        self.start = u64::try_from(frames_of(start, rate_hz)).unwrap_or(0);
        self.start_link(opened)
    }

    /// Goes to the last part of the stretch whose first packet is not behind the one to start with.
    fn enter_part(&mut self, demux: &mut Demux<'_>) -> bool {
        let Some(shape) = self.stated else { return false };
        let (resident, first) = (&self.inside.resident, self.inside.resident.start().media);
        let wanted = self.entry_frame(demux);
        let Some((first_part, part)) =
            resident.with_tape(|tape| (tape.first(), tape.part_at(self.time(wanted))))
        else {
            return false;
        };
        let Some(start) = demux.enter_part(first) else { return false };
        for part in (first_part + 1..=part).rev().take(TRIES as usize) {
            let stamp = demux.enter_part(position_of(part)).flatten();
            let said = resident.with_tape(|tape| tape.time_of(part) - tape.time_of(first_part));
            let said = said.unwrap_or_default();
            let between = match start.zip(stamp) {
                Some((start, stamp)) => stamp.frames_since(&start, said, shape.rate_hz),
                None => frames_of(said, shape.rate_hz) as u64,
            };
            let (packets, frames) = match demux.packet_frames() {
                Some(frames) => {
                    let packets = (between + frames / 2) / frames;
                    (packets, packets * frames)
                }
                None => (0, between),
            };
            let clock = self.link_clock.saturating_add(frames as i64);
            if clock <= wanted {
                (self.packet, self.clock) = (self.link_packet + packets, clock);
                return true;
            }
        }
        demux.enter_part(first);
        (self.packet, self.clock) = (self.link_packet, self.link_clock);
        false
    }
}
