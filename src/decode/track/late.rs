//! A start in the middle: where a stream is entered, what of it is passed, and where a decoder has to
//! start so that the wanted frames come out as they would from the start.

use std::rc::Rc;

use symphonia::core::{
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::{
    player::{Player, Priming},
    stretches,
};
use crate::decode::{
    Error,
    decoder::Mode,
    demux::{Demux, Piece},
    index::{Link, Point},
    opening::Opened,
    shape::Shape,
    skip::{Preroll, Skip},
    source::Inside,
    tray::offer,
};

/// Packets that are passed before others may come in: to pass one takes less than to look at the clock
/// and let them.
const OFFER_PACKETS: u64 = 16;

/// A place to go back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Back {
    point: Point,
    late: (u32, u64),
}

impl<'y> Player<'_, 'y> {
    /// Enters the stream as near before the wanted frame as the pre-roll lets it: at a place that the
    /// demultiplexer knows, else at a point of the index. Where neither is there, packets are passed
    /// from the start.
    pub(super) fn enter(&mut self, demux: &mut Demux<'_>) {
        let (Some(skip), Some(shape)) = (&self.skip, self.stated) else { return };
        let preroll = skip.preroll();
        let frame = self.span.from.saturating_sub(preroll.most_frames(self.header.as_ref()));
        let is_found = self.mode == Mode::Play && self.find(demux, frame, preroll.entries());
        if is_found || self.enter_by_index(demux, frame) {
            self.is_entered(shape);
        }
        if is_found && matches!(preroll, Preroll::Grid(_)) {
            // This is where the decoder has to start.
            self.skip = None;
            self.lead_to = self.lead_end();
        }
    }

    /// The next packet is one in the middle, of a link that decodes to this.
    pub(super) fn is_entered(&mut self, shape: Shape) {
        if self.shape.is_none() {
            self.settle(shape);
        }
        self.priming = Priming::Done;
        (self.counts.are_right, self.has_played) = (true, true);
    }

    /// Goes to the link that holds the wanted frame, where the index says which that is.
    pub(super) fn enter_link(
        &mut self,
        inside: &Rc<Inside<'y>>,
        opened: &mut Opened<'y>,
        track: Option<u32>,
    ) -> Result<(), Error> {
        let is_wanted = self.mode == Mode::Play && self.skip.is_some() && self.out.is_some();
        let recording = inside.desk.recording.borrow();
        let link = recording.index().and_then(|index| index.link_at(self.from_frame)).copied();
        drop(recording);
        let is_other = |link: &Link| link.position != inside.resident.start().media;
        let Some(link) = link.filter(|_| is_wanted).filter(is_other) else { return Ok(()) };
        if stretches::go_to(inside, opened, track, link.position)?.is_some() {
            return Ok(());
        }
        opened.timeline.delay = link.delay;
        self.stamp = stretches::stamp(inside, opened).map(|stamp| (stamp, -link.delay));
        (self.start, self.packet) = (link.frame, link.packet.into());
        self.has_played = true;
        self.start_link(opened)
    }

    /// Goes to the packet of a frame, where that is told by the container.
    fn find(&mut self, demux: &mut Demux<'_>, frame: i64, entries: (u64, u64)) -> bool {
        let decoded = u64::try_from(frame.saturating_sub(self.link_clock));
        let Some(found) = decoded.ok().and_then(|decoded| demux.find(decoded, entries)) else {
            return false;
        };
        self.packet = self.link_packet + found.packet;
        self.clock = (found.frame as i64).saturating_add(self.link_clock);
        true
    }

    /// Goes to the last point of the index that is not behind a frame.
    fn enter_by_index(&mut self, demux: &mut Demux<'_>, frame: i64) -> bool {
        let point = self.point_before(frame);
        let Some(point) = point.filter(|point| demux.enter(point)) else { return false };
        (self.packet, self.clock) = (point.packet.into(), point.frame);
        // The whole lead that begins there lies before the wanted frame.
        self.back = self.preroll.and_then(|preroll| preroll.entered_at(self.packet)).map(|_| {
            let late = self.late;
            Back { point, late }
        });
        true
    }

    /// The last point of the index from which the pre-roll surely lies before the wanted frame: since it is
    /// not behind `frame`, or since a whole lead follows that ends before another begins.
    fn point_before(&self, frame: i64) -> Option<Point> {
        let recording = self.inside.desk.recording.borrow();
        let index = recording.index()?;
        let link = self.inside.resident.start().media;
        let far = index.before(link, frame).next();
        let has_leads = matches!(self.preroll, Some(Preroll::Grid(_)));
        let near = index.before(link, self.span.from).nth(1).filter(|_| has_leads);
        far.into_iter().chain(near).max_by_key(|point| point.packet).copied()
    }

    /// Goes over what a scan need not look at, once one packet has decoded.
    pub(super) fn jump(&mut self, demux: &mut Demux<'_>) {
        let is_scan = self.mode == Mode::Scan && self.skip.is_some() && self.shape.is_some();
        if is_scan && self.inside.resident.length().is_some() && !self.has_jumped {
            self.has_jumped = true;
            self.find(demux, i64::MAX, (1, 1));
        }
    }

    /// Keeps the place of a packet with which a decoder has to start, while packets are passed: of the
    /// first behind a loss, and of the first of a lead, once the last of it has come.
    pub(super) fn mark(&mut self, piece: &Piece<'_>) {
        let is_behind_loss = std::mem::take(&mut self.is_behind_loss);
        let Some(skip) = self.skip.as_ref().filter(|_| self.mode == Mode::Play) else { return };
        let (preroll, late) = (skip.preroll(), self.late);
        if let Some((position, state)) = piece.place
            && let Ok(packet) = self.packet.try_into()
        {
            let back = Back { point: Point { position, packet, frame: self.clock, state }, late };
            if let Some(point) = preroll.entered_at(self.packet) {
                self.next_back = Some((point, back));
            }
            if is_behind_loss && matches!(preroll, Preroll::Grid(_)) {
                self.back = Some(back);
            }
        }
        if let Some((_, back)) = self.next_back.take_if(|(point, _)| *point == self.packet + 1) {
            self.back = Some(back);
        }
    }

    /// Whether a packet before the wanted frame need not be decoded now, or at all.
    pub(super) fn can_pass(&self) -> bool {
        // One packet is decoded in any case: it settles what the track is.
        self.skip.is_some()
            && self.shape.is_some()
            && self.priming == Priming::Done
            && (self.restarts.is_none() || self.back.is_some() || self.mode == Mode::Scan)
    }

    /// Passes a packet of `nominal` frames.
    pub(super) fn pass(&mut self, piece: &Piece<'_>, nominal: u64) {
        let header = piece.header.as_ref();
        if let Some(skip) = &mut self.skip {
            let lead = skip.preroll().most_frames(header);
            match self.clock.saturating_add(lead) < self.span.from {
                // What comes behind it holds the pre-roll.
                true => skip.pass_far(),
                false => skip.pass(piece.packet.data, nominal, header),
            }
        }
        self.packet += 1;
        self.clock += self.span.untrimmed(nominal as usize, piece.trimmed) as i64;
        if self.packet.is_multiple_of(OFFER_PACKETS) {
            offer(self.inside);
        }
    }

    /// Decodes what a new decoder needs before the first wanted packet, to nothing.
    pub(super) fn preroll(&mut self, skip: Skip) -> Result<(), Error> {
        if skip.is_untouched() {
            return Ok(());
        }
        self.renew()?;
        if self.known.codec == "vorbis" {
            self.priming = Priming::Loss;
        }
        let (kept, clock) = (skip.into_preroll(), self.clock);
        self.packet -= kept.len() as u64;
        self.clock -= kept.iter().map(|passed| passed.frames as i64).sum::<i64>();
        self.is_preroll = true;
        for passed in kept {
            let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, &passed.data);
            let piece = Piece { header: passed.header, ..Piece::new(packet, passed.frames) };
            self.decode(&piece, passed.frames)?;
            offer(self.inside);
        }
        self.is_preroll = false;
        self.clock = clock;
        self.inside.below.release();
        Ok(())
    }

    /// Goes back to where the decoder has to start.
    pub(super) fn go_back(&mut self, demux: &mut Demux<'_>) -> Result<(), Error> {
        let Some(Back { point, late }) = self.back.take() else { return Ok(()) };
        (self.skip, self.next_back) = (None, None);
        if !demux.enter(&point) {
            return Err(Error::damaged("a packet is not where it was"));
        }
        (self.packet, self.clock, self.late) = (point.packet.into(), point.frame, late);
        self.lead_to = self.lead_end();
        self.renew()
    }

    /// Where the lead ends that begins with the next packet, if it need not be decoded twice. Packets
    /// with headers of their own may change what is decoded behind them.
    fn lead_end(&self) -> u64 {
        let restarts = self.restarts.as_ref().filter(|_| self.header.is_none());
        restarts.and_then(|restarts| restarts.grid().entered_at(self.packet)).unwrap_or(0)
    }

    /// Passes a packet that the next decoder will be given.
    pub(super) fn keep_lead(&mut self, packet: &PacketRef<'_>, nominal: u64) {
        if let Some(restarts) = &mut self.restarts {
            restarts.keep(self.packet, packet.data);
        }
        self.packet += 1;
        self.clock += nominal as i64;
        offer(self.inside);
    }
}
