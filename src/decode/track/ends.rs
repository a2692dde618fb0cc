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
    tray::{Span, frames_end},
};

impl Player<'_, '_> {
    /// A link of a chain ended: what is missing of it is silence, what was too much is cut.
    pub(super) fn end_link(&mut self) -> Result<(), Error> {
        let is_tried = self.inside.desk.decoded.get() > 0 || self.first_fault.is_some();
        match self.shape {
            // Headers alone, of a link without a packet, or a link that did not open.
            None if !is_tried || self.has_played => {}
            None => return Err(self.nothing_decoded()),
            // What was promised is the length of all links.
            Some(_) if self.timeline.frames.is_some() => {}
            Some(_) if self.span.to < i64::MAX => {
                self.put_silence(self.span.to - self.clock);
                self.clock = self.span.to;
            }
            Some(_) => {}
        }
        self.close_link();
        // What comes behind is not entered by itself.
        self.is_indexed = false;
        Ok(())
    }

    /// The next link starts where the one before it ended, with a decoder of its own.
    pub(super) fn start_link(&mut self, opened: &Opened<'_>) -> Result<(), Error> {
        (self.params, self.known.codec) = (opened.params.clone(), opened.codec);
        self.renew()?;
        self.priming = Priming::of_link(self.known.codec);
        (self.header, self.late) = (opened.demux.header(), (0, 0));
        self.counts_of(&opened.demux);
        let left = self.timeline.frames.map(|frames| frames.saturating_sub(self.start));
        self.span = Span {
            from: frames_end(Some(self.from_frame.saturating_sub(self.start))),
            to: frames_end(opened.link_frames).min(frames_end(left)),
        };
        self.clock = -opened.timeline.delay;
        (self.link_clock, self.link_packet) = (self.clock, self.packet);
        self.progress = Progress::start(self.inside, self.clock);
        // Its packets may be of another length.
        let grid = Grid::of(self.known.codec, opened.demux.first_frames());
        let grid = grid.map(|grid| grid.counted_from(self.packet));
        self.restarts = grid.map(Restarts::new);
        self.preroll = Preroll::of(self.known.codec, grid);
        // What was passed belongs to another decoder.
        let preroll = self.preroll.filter(|_| opened.demux.counts_exactly());
        self.skip = self.skip.take().zip(preroll).map(|(skip, preroll)| skip.anew(preroll));
        (self.back, self.next_back, self.lead_to) = (None, None, 0);
        self.stated = self.shape_told(&opened.demux);
        if let Some(shape) = self.stated.filter(|_| self.has_played) {
            self.settle(shape);
            self.put_lead();
        }
        Ok(())
    }

    /// The packets ended: silence up to what was promised.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.close_link();
        let there = self.start;
        self.inside.desk.frames_there.set(Some(there));
        if !self.has_played {
            return self.finish_empty(there);
        }
        if self.is_counted && !self.inside.resident.is_torn() {
            self.inside.desk.recording.borrow_mut().end(self.timeline.frames.unwrap_or(there));
        }
        self.be_silent_to(self.timeline.frames.unwrap_or(there));
        Ok(())
    }

    /// Nothing decoded: right for a track of no frames, or if none of them is wanted, else damage. So is what was
    /// to have some, though nobody can say how many.
    fn finish_empty(self, there: u64) -> Result<(), Error> {
        let is_claimed = self.claim.is_some_and(|claim| claim.frames > 0);
        let is_there = |frames: u64| there >= frames;
        let is_whole = !is_claimed && self.timeline.frames.is_none_or(is_there);
        let is_tried = self.inside.desk.decoded.get() > 0 || self.first_fault.is_some();
        if is_whole
            && !is_tried
            && let Some(shape) = shape_of_params(&self.params, self.known.codec)?
        {
            if self.out.is_none() {
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
