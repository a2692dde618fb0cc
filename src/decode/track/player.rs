//! Packets to frames: which are decoded, which are passed, and where on the timeline they lie.

use symphonia::core::{
    codecs::audio::{AudioCodecParameters, AudioDecoder},
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::{Known, Wanted, announce};
use crate::decode::{
    Error,
    decoder::Mode,
    demux::{Demux, Piece},
    grid::{GRID_PACKETS, Grid},
    headers::Header,
    index::Point,
    opening::{self, Opened, Timeline},
    planes,
    shape::{Shape, make_decoder, shape_of},
    skip::{Preroll, Skip},
    source::{Inside, Pause},
    tray::{Span, frames_end, offer, put, put_silence},
    xing::Claim,
};

/// Frames of one packet at most, whatever its container says: minutes more than any holds.
const PACKET_FRAMES: u64 = 1 << 24;

/// Decodes packets and puts what lies on the timeline on the tray.
pub(super) struct Player<'a, 'y> {
    pub(super) inside: &'a Inside<'y>,
    /// What is known before the first packet decodes.
    pub(super) known: Known,
    pub(super) params: AudioCodecParameters,
    pub(super) decoder: Box<dyn AudioDecoder>,
    grid: Option<Grid>,
    /// What the decoder was made for, if that was announced before any packet decoded.
    pub(super) stated: Option<Shape>,
    /// Set by the first decoded packet.
    pub(super) shape: Option<Shape>,
    pub(super) timeline: Timeline,
    claim: Option<Claim>,
    from_frame: u64,
    mode: Mode,
    /// What of the decoded frames is wanted.
    pub(super) span: Span,
    /// Number of the next packet.
    pub(super) packet: u64,
    /// Where the next packet starts on the trimmed timeline; negative inside the delay.
    pub(super) clock: i64,
    /// The clock where the running link of a chain starts.
    pub(super) link_start: i64,
    pub(super) is_first_link: bool,
    /// A scan has tried to go to the end.
    has_jumped: bool,
    /// The last frame header of a stream that may change.
    header: Option<Header>,
    /// Where the rate is not that of the track: the rate, and by how much less than a frame the clock
    /// is behind, in as many parts of one.
    late: (u32, u64),
    pub(super) first_fault: Option<String>,
    pub(super) priming: Priming,
    /// Frames of the packet decoded last, where the container counts none (Matroska knows milliseconds,
    /// and of many packets no length): one that does not decode is taken to be as long.
    inexact: Option<u64>,
    /// Packets before the wanted frame, while they are passed; `None` if all are decoded.
    pub(super) skip: Option<Skip>,
    /// Where the decoder of a packet with a grid has to start, if that is passed.
    pub(super) back: Option<Back>,
    /// Packets are lost before the next one.
    pub(super) is_behind_loss: bool,
    /// What is decoded now only makes the decoder ready.
    pub(super) is_preroll: bool,
}

/// A place to go back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Back {
    point: Point,
    late: (u32, u64),
}

/// What of Vorbis decodes to nothing: the first packet only fills the overlap of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Priming {
    Done,
    /// The next packet is the first of a link, and says where that starts.
    Link,
    /// What came before the next packet is lost.
    Loss,
}

impl Priming {
    pub(super) fn of_link(codec: &str) -> Self {
        if codec == "vorbis" { Self::Link } else { Self::Done }
    }
}

impl<'a, 'y> Player<'a, 'y> {
    pub(super) fn new(
        inside: &'a Inside<'y>,
        opened: &Opened<'y>,
        wanted: Wanted,
    ) -> Result<Self, Error> {
        let from_frame = if wanted.mode == Mode::Scan { u64::MAX } else { wanted.from_frame };
        let make = if wanted.mode == Mode::Scan { Skip::scan } else { Skip::new };
        Ok(Self {
            inside,
            known: Known::of(opened),
            params: opened.params.clone(),
            decoder: make_decoder(&opened.params, opened.codec)?,
            grid: Grid::of(opened.codec),
            stated: None,
            shape: None,
            timeline: opened.timeline,
            claim: opened.claim,
            from_frame,
            mode: wanted.mode,
            span: Span {
                from: i64::try_from(from_frame).unwrap_or(i64::MAX),
                to: frames_end(opened.timeline.frames.or(opened.link_frames)),
            },
            packet: 0,
            clock: -opened.timeline.delay,
            link_start: 0,
            is_first_link: true,
            has_jumped: false,
            header: opened.demux.header(),
            late: (0, 0),
            first_fault: None,
            priming: Priming::of_link(opened.codec),
            inexact: (!opened.demux.counts_exactly()).then_some(0),
            skip: Preroll::of(opened.codec)
                .filter(|_| from_frame > 0 && opened.demux.counts_exactly())
                .map(make),
            back: None,
            is_behind_loss: false,
            is_preroll: false,
        })
    }

    /// Announces the track before a packet is decoded: a decoder knows its shape from the headers. What
    /// a container says of MP3 may be false, so that takes a packet.
    pub(super) fn state(&mut self, demux: &Demux<'_>) {
        if self.known.codec == "mp3" && !matches!(demux, Demux::Elementary(_)) {
            return;
        }
        let Ok(shape) = shape_of(&self.decoder.last_decoded(), &self.params, self.known.codec)
        else {
            return;
        };
        self.stated = Some(shape);
        announce(self.inside, &self.known, shape, &self.timeline);
        self.inside.pause(Pause::Slice);
    }

    /// Enters the stream as near before the wanted frame as the pre-roll lets it: at a place that the
    /// demultiplexer knows, else at a point of the index. Where neither is there, packets are passed
    /// from the start.
    pub(super) fn enter(&mut self, demux: &mut Demux<'_>) {
        let (Some(skip), Some(shape)) = (&self.skip, self.stated) else { return };
        let preroll = skip.preroll();
        let frame = self.span.from.saturating_sub(preroll.most_frames(self.header.as_ref()));
        let is_found = self.mode == Mode::Play && self.find(demux, frame, preroll.grid());
        if is_found || self.enter_by_index(demux, frame) {
            (self.shape, self.priming) = (Some(shape), Priming::Done);
        }
        if is_found && preroll == Preroll::Grid {
            // This is where the decoder has to start.
            self.skip = None;
        }
    }

    /// Goes to the packet of a frame, where that is told by the container.
    fn find(&mut self, demux: &mut Demux<'_>, frame: i64, grid: u64) -> bool {
        let decoded = u64::try_from(frame.saturating_add(self.timeline.delay));
        let Some(found) = decoded.ok().and_then(|decoded| demux.find(decoded, grid)) else {
            return false;
        };
        self.packet = found.packet;
        self.clock = (found.frame as i64).saturating_sub(self.timeline.delay);
        true
    }

    /// Goes to the last point of the index that is not behind a frame.
    fn enter_by_index(&mut self, demux: &mut Demux<'_>, frame: i64) -> bool {
        let recording = self.inside.desk.recording.borrow();
        let point = recording.index().and_then(|index| index.before(frame)).copied();
        drop(recording);
        let Some(point) = point.filter(|point| demux.enter(point)) else { return false };
        (self.packet, self.clock) = (point.packet.into(), point.frame);
        true
    }

    /// Goes over what a scan need not look at, once one packet has decoded.
    pub(super) fn jump(&mut self, demux: &mut Demux<'_>) {
        let is_scan = self.mode == Mode::Scan && self.skip.is_some() && self.shape.is_some();
        if is_scan && self.inside.resident.length().is_some() && !self.has_jumped {
            self.has_jumped = true;
            self.find(demux, i64::MAX, 1);
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.timeline.frames.is_some_and(|frames| self.clock >= frames as i64)
    }

    /// Takes one packet. False: what was passed before it has to be decoded first, see
    /// [`go_back`](Self::go_back).
    pub(super) fn play(&mut self, piece: &Piece<'_>) -> Result<bool, Error> {
        let header = piece.header.as_ref();
        let nominal = self.frames_of(piece.nominal, header.map(|header| header.rate_hz));
        let nominal = nominal.min(PACKET_FRAMES);
        self.learn_end(nominal);
        self.record(piece);
        if self.is_early(nominal) {
            self.mark(piece);
            if self.can_pass() {
                self.pass(&piece.packet, nominal, header);
                return Ok(true);
            }
        } else if self.back.is_some() {
            return Ok(false);
        } else if self.shape.is_some()
            && self.priming == Priming::Done
            && let Some(skip) = self.skip.take()
        {
            self.preroll(skip)?;
        }
        self.decode(piece, nominal)?;
        Ok(true)
    }

    /// Goes back to where the decoder has to start.
    pub(super) fn go_back(&mut self, demux: &mut Demux<'_>) -> Result<(), Error> {
        let Some(Back { point, late }) = self.back.take() else { return Ok(()) };
        self.skip = None;
        if !demux.enter(&point) {
            return Err(Error::damaged("a packet is not where it was"));
        }
        (self.packet, self.clock, self.late) = (point.packet.into(), point.frame, late);
        self.renew()
    }

    /// Decodes one packet, which is to have `nominal` frames.
    fn decode(&mut self, piece: &Piece<'_>, nominal: u64) -> Result<(), Error> {
        let (packet, header, number) = (&piece.packet, piece.header.as_ref(), self.packet);
        self.packet += 1;
        if let Some(skip) = &mut self.skip {
            skip.keep(packet.data, nominal, header);
        }
        if let Some(grid) = self.grid.as_mut().filter(|_| Grid::is_at(number)) {
            self.decoder = grid.restart(|| make_decoder(&self.params, self.known.codec))?;
            self.inside.below.release();
        }
        if let Err(fault) = self.follow(header) {
            self.miss(nominal, &fault.to_string());
            return Ok(());
        }
        self.count_decoded();
        let decoded = self.decoder.decode_ref(packet);
        if let Some(grid) = &mut self.grid {
            grid.keep(number, packet.data);
            let fault = decoded.as_ref().err().map(ToString::to_string);
            if grid.has_decoded(fault.is_none()) {
                self.decoder = make_decoder(&self.params, self.known.codec)?;
                self.miss(nominal, &fault.unwrap_or_default());
                return Ok(());
            }
        }
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(fault) => {
                let nominal = self.inexact.filter(|frames| *frames > 0).unwrap_or(nominal);
                self.miss(nominal, &fault.to_string());
                self.prime_again();
                return Ok(());
            }
        };
        let count = decoded.frames();
        if self.shape.is_none() && count > 0 {
            let shape = shape_of(&decoded, &self.params, self.known.codec)?;
            // Everything is built now; a running decoder needs little of what that took.
            self.inside.below.release();
            if self.stated.is_none() {
                announce(self.inside, &self.known, shape, &self.timeline);
            }
            let shape = self.stated.unwrap_or(shape);
            self.shape = Some(shape);
            // Silence that an edit list asks for, then what did not decode before this packet.
            let lead = self.clock + self.timeline.delay.max(0);
            self.clock = -self.timeline.delay.max(0);
            put_silence(self.inside, shape, self.span, &mut self.clock, lead);
        }
        let Some(shape) = self.shape else { return Ok(()) };
        if decoded.spec().rate() != shape.rate_hz {
            self.miss(nominal, "the rate changed");
            return Ok(());
        }
        match std::mem::replace(&mut self.priming, Priming::Done) {
            Priming::Done => {}
            Priming::Link => {
                // Frames before granule 0 are of the encoder: the first page says how many.
                self.clock = self.link_start + piece.start.unwrap_or(0).clamp(-(1 << 16), 0);
                return Ok(());
            }
            Priming::Loss => {
                put_silence(self.inside, shape, self.span, &mut self.clock, nominal as i64);
                return Ok(());
            }
        }
        if self.inexact.is_some() && count > 0 {
            self.inexact = Some(count as u64);
        }
        // A frame that tells its own length has it. Where a container counts otherwise than its
        // packets, they have to be decoded to be counted.
        let short = header.map_or(0, |_| (nominal as i64).saturating_sub(count as i64));
        if header.is_none() && count as u64 != nominal {
            self.skip = None;
        }
        let count = self.span.untrimmed(count, piece.trimmed);
        put(self.inside, shape, self.span, &mut self.clock, count, |part, tray| {
            planes::append(&decoded, part, shape.lossy, shape.wide, tray);
        });
        put_silence(self.inside, shape, self.span, &mut self.clock, short);
        Ok(())
    }

    /// How many frames of the track last as long as `frames` of `rate_hz`.
    pub(super) fn frames_of(&mut self, frames: u64, rate_hz: Option<u32>) -> u64 {
        let (Some(shape), Some(rate_hz)) = (self.shape, rate_hz) else { return frames };
        if rate_hz == shape.rate_hz {
            self.late = (0, 0);
            return frames;
        }
        let late = if self.late.0 == rate_hz { self.late.1 } else { 0 };
        let parts = frames.saturating_mul(shape.rate_hz.into()).saturating_add(late);
        self.late = (rate_hz, parts % u64::from(rate_hz));
        parts / u64::from(rate_hz)
    }

    /// Where a total is only claimed, it is known once a packet of `nominal` frames would go past it:
    /// by then the bytes where the audio is to end are the next ones.
    fn learn_end(&mut self, nominal: u64) {
        let end = self.clock.saturating_add(i64::try_from(nominal).unwrap_or(i64::MAX));
        let is_passed = |claim: &mut Claim| end > frames_end(Some(claim.frames));
        if let Some(claim) = self.claim.take_if(is_passed)
            && opening::is_end(self.inside, claim.end)
        {
            self.span.to = frames_end(Some(claim.frames));
        }
    }

    /// Writes down where a packet lies, if a stream can be entered there: behind the first that
    /// decoded, in the first link of a chain, and at the rate of the track.
    fn record(&self, piece: &Piece<'_>) {
        let (Some((position, state)), Some(shape), Some(preroll)) =
            (piece.place, self.shape, Preroll::of(self.known.codec))
        else {
            return;
        };
        let is_plain = piece.header.is_none_or(|header| header.rate_hz == shape.rate_hz)
            && self.priming == Priming::Done
            && self.is_first_link;
        let mut recording = self.inside.desk.recording.borrow_mut();
        if is_plain
            && (self.packet + 1).is_multiple_of(preroll.grid())
            && recording.wants(self.packet)
        {
            recording.push(position, self.packet, self.clock, state);
        }
    }

    /// Keeps the place of a packet with which a decoder has to start, while packets are passed.
    fn mark(&mut self, piece: &Piece<'_>) {
        let Some(skip) = self.skip.as_ref().filter(|_| self.mode == Mode::Play) else { return };
        let is_start = (self.packet + 1).is_multiple_of(GRID_PACKETS) || self.is_behind_loss;
        if let Some((position, state)) = piece.place.filter(|_| is_start)
            && skip.preroll() == Preroll::Grid
            && let Ok(packet) = self.packet.try_into()
        {
            let point = Point { position, packet, frame: self.clock, state };
            self.back = Some(Back { point, late: self.late });
            self.is_behind_loss = false;
        }
    }

    /// Whether a packet ends before the wanted frame.
    fn is_early(&self, nominal: u64) -> bool {
        let end = self.clock.saturating_add(i64::try_from(nominal).unwrap_or(i64::MAX));
        end <= i64::try_from(self.from_frame).unwrap_or(i64::MAX)
    }

    /// Whether a packet before the wanted frame need not be decoded now, or at all.
    fn can_pass(&self) -> bool {
        // One packet is decoded in any case: it settles what the track is.
        self.skip.is_some()
            && self.shape.is_some()
            && self.priming == Priming::Done
            && (self.grid.is_none() || self.back.is_some() || self.mode == Mode::Scan)
    }

    fn pass(&mut self, packet: &PacketRef<'_>, nominal: u64, header: Option<&Header>) {
        if let Some(skip) = &mut self.skip {
            skip.pass(packet.data, nominal, header);
        }
        self.packet += 1;
        self.clock += nominal as i64;
        offer(self.inside);
    }

    /// Decodes what a new decoder needs before the first wanted packet, to nothing.
    fn preroll(&mut self, skip: Skip) -> Result<(), Error> {
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

    /// A decoder that knows nothing of what came before.
    pub(super) fn renew(&mut self) -> Result<(), Error> {
        self.decoder = make_decoder(&self.params, self.known.codec)?;
        if let Some(grid) = &mut self.grid {
            grid.forget();
        }
        Ok(())
    }

    fn count_decoded(&self) {
        let decoded = &self.inside.desk.decoded;
        decoded.set(decoded.get() + 1);
    }

    /// A new decoder where the stream changes its channels or its rate: its filters are of one shape.
    fn follow(&mut self, header: Option<&Header>) -> Result<(), Error> {
        let Some(header) = header else { return Ok(()) };
        let is_same =
            |before: Header| (before.rate_hz, before.channels) == (header.rate_hz, header.channels);
        if !self.header.is_none_or(is_same) {
            let params = opening::params_of(header)?;
            self.params = params;
            self.renew()?;
        }
        self.header = Some(*header);
        Ok(())
    }
}
