//! A start in the middle of a tape of which no index tells where its frames lie: by the times that its parts have.
//!
//! The playlist says about when a part begins; what it holds says it exactly, in ticks from whatever moment its
//! encoder began with. So the ticks of the first part are asked as well, and what lies between is counted in whole
//! packets. Where there are no ticks, the playlist's own times are taken, to the nearest packet.

use std::rc::Rc;

use super::player::{Player, Priming};
use crate::{
    decode::{
        Error,
        decoder::Mode,
        demux::Demux,
        opening::{self, Opened},
        skip::Preroll,
        source::Inside,
        times::{frames_of, time_of},
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
        if !is_wanted || !self.is_far(inside, opened) {
            return Ok(());
        }
        self.enter_stretch(inside, opened, track)?;
        if let Some(shape) = self.stated
            && self.enter_part(&mut opened.demux)
        {
            (self.shape, self.priming) = (Some(shape), Priming::Done);
            self.counts.are_right = true;
            // What is counted from here on is nothing that an index is made of.
            (self.is_first_link, self.is_counted) = (false, false);
            self.back = None;
        }
        Ok(())
    }

    /// Whether a whole part lies between the next packet and the one that a decoder would start with.
    fn is_far(&self, inside: &Inside<'_>, opened: &Opened<'_>) -> bool {
        let Some(shape) = self.stated else { return false };
        let wanted = self.entry_frame(&opened.demux);
        let wanted = time_of(wanted, shape.rate_hz);
        let start =
            inside.resident.with_tape(|tape| tape.time_of(tape.part_at(wanted).saturating_sub(1)));
        start.is_some_and(|start| self.clock < frames_of(start, shape.rate_hz))
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
        let (resident, rate_hz) = (&inside.resident, self.stated.map_or(0, |shape| shape.rate_hz));
        let wanted = time_of(self.entry_frame(&opened.demux), rate_hz);
        let start = resident.with_tape(|tape| {
            let part = tape.part_at(wanted);
            (!tape.is_read(part)).then(|| tape.go_to(part))
        });
        let Some(start) = start.flatten() else { return Ok(()) };
        match opening::open(inside, track) {
            Ok(found) => {
                *opened = found;
                self.clock = frames_of(start, rate_hz);
                self.start_link(opened)
            }
            Err(error) => {
                tracing::debug!(%error, "a segment does not open");
                resident.rewind();
                *opened = opening::open(inside, track)?;
                Ok(())
            }
        }
    }

    /// Goes to the last part of the stretch whose first packet is not behind the one to start with.
    fn enter_part(&mut self, demux: &mut Demux<'_>) -> bool {
        let Some(shape) = self.stated else { return false };
        let (resident, first) = (&self.inside.resident, self.inside.resident.start().media);
        let wanted = self.entry_frame(demux);
        let Some((first_part, part)) =
            resident.with_tape(|tape| (tape.first(), tape.part_at(time_of(wanted, shape.rate_hz))))
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
