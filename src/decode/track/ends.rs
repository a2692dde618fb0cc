//! The ends of a track and of the links of a chain: silence up to what was promised.

use super::{
    announce,
    player::{Player, Priming},
    stretches::Progress,
};
use crate::decode::{
    Error,
    grid::{Grid, Restarts},
    opening::Opened,
    shape::shape_of_params,
    skip::Preroll,
    tray::{frames_end, put_silence},
};

impl Player<'_, '_> {
    /// A link of a chain ended: what is missing of it is silence, what was too much is cut.
    pub(super) fn end_link(&mut self) -> Result<(), Error> {
        let is_tried = self.inside.desk.decoded.get() > 0 || self.first_fault.is_some();
        match self.shape {
            // Headers alone, of a link without a packet.
            None if !is_tried => {}
            None => return Err(self.nothing_decoded()),
            // What was promised is the length of all links.
            Some(_) if self.timeline.frames.is_some() => {}
            Some(shape) if self.span.to < i64::MAX => {
                let missing = self.span.to - self.clock;
                put_silence(self.inside, shape, self.span, &mut self.clock, missing);
                self.clock = self.span.to;
            }
            Some(_) => {}
        }
        // What came of it may end before its frame 0.
        self.clock = self.clock.max(self.link_start);
        Ok(())
    }

    /// The next link of a chain starts where the one before it ended, with a decoder of its own.
    pub(super) fn start_link(&mut self, opened: &Opened<'_>) -> Result<(), Error> {
        self.params = opened.params.clone();
        self.renew()?;
        self.priming = Priming::of_link(self.known.codec);
        self.is_first_link = false;
        self.link_start = self.clock;
        if self.shape.is_some() {
            // Else silence is still to be put in front.
            self.span.from = self.span.from.max(self.clock);
        }
        let link_end = frames_end(opened.link_frames.map(|frames| frames + self.clock as u64));
        self.span.to = link_end.min(frames_end(self.timeline.frames));
        self.clock -= opened.timeline.delay;
        (self.link_clock, self.link_packet) = (self.clock, self.packet);
        self.progress = Progress::start(self.inside, self.clock);
        // Its packets may be of another length.
        let grid = Grid::of(self.known.codec, opened.demux.first_frames());
        let grid = grid.map(|grid| grid.counted_from(self.packet));
        self.restarts = grid.map(Restarts::new);
        self.preroll = Preroll::of(self.known.codec, grid);
        // What was passed belongs to another decoder.
        self.skip = self.skip.take().zip(self.preroll).map(|(skip, preroll)| skip.anew(preroll));
        (self.back, self.next_back, self.lead_to) = (None, None, 0);
        Ok(())
    }

    /// The packets ended: silence up to what was promised.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let there = self.clock.min(self.span.to).max(self.link_start) as u64;
        self.inside.desk.frames_there.set(Some(there));
        let Some(shape) = self.shape else {
            return self.finish_empty(there);
        };
        if self.is_counted && !self.inside.resident.is_torn() {
            self.inside.desk.recording.borrow_mut().end(self.timeline.frames.unwrap_or(there));
        }
        if let Some(frames) = self.timeline.frames {
            let missing = frames as i64 - self.clock;
            put_silence(self.inside, shape, self.span, &mut self.clock, missing);
        }
        Ok(())
    }

    /// Nothing decoded: right for a track of no frames, or if none of them is wanted, else damage.
    fn finish_empty(self, there: u64) -> Result<(), Error> {
        let is_whole = self.timeline.frames.is_none_or(|frames| self.clock >= frames as i64);
        let is_tried = self.inside.desk.decoded.get() > 0 || self.first_fault.is_some();
        if is_whole
            && !is_tried
            && let Some(shape) = shape_of_params(&self.params, self.known.codec)?
        {
            if self.stated.is_none() {
                announce(self.inside, &self.known, shape, &self.timeline);
            }
            self.inside.desk.recording.borrow_mut().end(self.timeline.frames.unwrap_or(there));
            return Ok(());
        }
        Err(self.nothing_decoded())
    }

    fn nothing_decoded(&self) -> Error {
        Error::damaged(self.first_fault.clone().unwrap_or_else(|| "there is no packet".to_owned()))
    }
}
