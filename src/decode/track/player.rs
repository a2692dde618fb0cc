//! Packets to frames: which are decoded, which are passed, and where on the timeline they lie.

use symphonia::core::codecs::audio::AudioCodecParameters;

use super::{Known, Wanted, announce, late::Back, stretches::Progress, way::Way};
use crate::decode::{
    Error,
    decoder::Mode,
    demux::{Demux, LEAD_FRAMES, Piece, Stamp},
    grid::{Grid, Restarts},
    he_aac,
    headers::Header,
    opening::{self, Opened, Timeline},
    planes,
    resample::frames_out,
    shape::{Shape, make_decoder, renew_decoder, shape_of},
    skip::{Preroll, Skip},
    source::{Inside, Pause},
    spares::Lent,
    tray::{Span, frames_end, offer},
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
    pub(super) decoder: Lent,
    pub(super) restarts: Option<Restarts>,
    /// What a new decoder needs before a packet; `None` if that is all.
    pub(super) preroll: Option<Preroll>,
    /// What the decoder of the running link was made for, if that is told before any packet decodes.
    pub(super) stated: Option<Shape>,
    /// What packets of the running link decode to: set by the first that does, of a later link also by what is
    /// stated.
    pub(super) shape: Option<Shape>,
    /// What the timeline is: that of the first link.
    pub(super) out: Option<Shape>,
    /// Where frames of the running link go; as long as it has a shape.
    way: Option<Way>,
    /// Frame of the timeline that is frame 0 of the running link.
    pub(super) start: u64,
    /// Where on the timeline the frames of the links before it end. What lies between is silence.
    given: u64,
    pub(super) timeline: Timeline,
    pub(super) claim: Option<Claim>,
    pub(super) from_frame: u64,
    pub(super) mode: Mode,
    /// What of the decoded frames of the link is wanted.
    pub(super) span: Span,
    /// Number of the next packet.
    pub(super) packet: u64,
    /// Frames of the one before it.
    pub(super) nominal: u64,
    /// Where the next packet starts, in frames of the trimmed link; negative inside the delay.
    pub(super) clock: i64,
    /// When the first packet of the running stretch of a tape is to be heard, and the clock before it.
    pub(super) stamp: Option<(Stamp, i64)>,
    /// The clock before its first packet, and the number of that.
    pub(super) link_clock: i64,
    pub(super) link_packet: u64,
    /// How far it is on a tape.
    pub(super) progress: Progress,
    /// All packets from the first on were counted.
    pub(super) is_counted: bool,
    /// What passes may be written into an index.
    pub(super) is_indexed: bool,
    /// A packet has decoded, or did so for whoever made the index.
    pub(super) has_played: bool,
    /// A scan has tried to go to the end.
    pub(super) has_jumped: bool,
    /// The last frame header of a stream that may change.
    pub(super) header: Option<Header>,
    /// Where the rate is not that of the track: the rate, and by how much less than a frame the clock
    /// is behind, in as many parts of one.
    pub(super) late: (u32, u64),
    pub(super) first_fault: Option<String>,
    pub(super) priming: Priming,
    /// Frames of the packet decoded last, where nothing counts them (Matroska does not those of ALAC): one
    /// that does not decode is taken to be as long.
    inexact: Option<u64>,
    pub(super) counts: Counts,
    /// Packets before the wanted frame, while they are passed; `None` if all are decoded.
    pub(super) skip: Option<Skip>,
    /// Where the decoder of a packet with a grid has to start, if that is passed.
    pub(super) back: Option<Back>,
    /// The same for packets from a point of the grid on whose lead is being passed.
    pub(super) next_back: Option<(u64, Back)>,
    /// Packets are lost before the next one.
    pub(super) is_behind_loss: bool,
    /// Number of the packet before which the lead of a new decoder is only kept, not decoded.
    pub(super) lead_to: u64,
    /// What is decoded now only makes the decoder ready.
    pub(super) is_preroll: bool,
}

/// What a container says of the frames of its packets.
pub(super) struct Counts {
    /// They are meant to be those that packets decode to.
    are_exact: bool,
    /// A packet has decoded to as many, or the stream was entered by them.
    pub(super) are_right: bool,
}

impl Counts {
    fn new(demux: &Demux<'_>) -> Self {
        Self { are_exact: demux.counts_exactly(), are_right: false }
    }

    /// See [`Player::inexact`].
    fn inexact(demux: &Demux<'_>) -> Option<u64> {
        (!demux.counts_exactly()).then_some(0)
    }

    /// How many of the frames that a packet decoded to are its own, and how many are missing. One that
    /// tells its own length has that; and where the container was right before, it is so of damage that
    /// decodes to anything. `None`: the container counts otherwise.
    fn of(&mut self, count: usize, nominal: u64, header: Option<&Header>) -> Option<(usize, i64)> {
        let missing = (nominal as i64).saturating_sub(count as i64);
        if header.is_some() {
            return Some((count, missing));
        }
        self.are_right |= self.are_exact && missing == 0;
        self.are_right.then(|| (count.min(nominal as usize), missing))
    }
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
        let grid = Grid::of(opened.codec, opened.demux.first_frames());
        let preroll = Preroll::of(opened.codec, grid);
        Ok(Self {
            inside,
            known: Known::of(opened),
            params: opened.params.clone(),
            decoder: make_decoder(&opened.params, opened.codec, &inside.spares)?,
            restarts: grid.map(Restarts::new),
            preroll,
            stated: None,
            shape: None,
            out: None,
            way: None,
            start: 0,
            given: 0,
            timeline: opened.timeline,
            claim: opened.claim,
            from_frame,
            mode: wanted.mode,
            span: Span {
                from: i64::try_from(from_frame).unwrap_or(i64::MAX),
                to: frames_end(opened.timeline.frames.or(opened.link_frames)),
            },
            packet: 0,
            nominal: 0,
            clock: -opened.timeline.delay,
            link_clock: -opened.timeline.delay,
            link_packet: 0,
            stamp: None,
            progress: Progress::start(inside, -opened.timeline.delay),
            is_counted: true,
            is_indexed: true,
            has_played: false,
            has_jumped: false,
            header: opened.demux.header(),
            late: (0, 0),
            first_fault: None,
            priming: Priming::of_link(opened.codec),
            inexact: Counts::inexact(&opened.demux),
            counts: Counts::new(&opened.demux),
            skip: preroll.filter(|_| from_frame > 0 && opened.demux.counts_exactly()).map(make),
            back: None,
            next_back: None,
            is_behind_loss: false,
            lead_to: 0,
            is_preroll: false,
        })
    }

    /// Announces the track before a packet is decoded: a decoder knows its shape from the headers. What
    /// a container says of MP3 may be false, so that takes a packet.
    pub(super) fn state(&mut self, demux: &Demux<'_>) {
        self.stated = self.shape_told(demux);
        if let Some(shape) = self.stated {
            self.out = Some(shape);
            announce(self.inside, &self.known, shape, &self.timeline);
            self.inside.pause(Pause::Slice);
        }
    }

    /// What the decoder of the running link is made for, if that can be told.
    pub(super) fn shape_told(&self, demux: &Demux<'_>) -> Option<Shape> {
        if self.known.codec == "mp3" && demux.header().is_none() {
            return None;
        }
        shape_of(&self.decoder.last_decoded(), &self.params, self.known.codec).ok()
    }

    /// The running link decodes to this: its frames have a way from now on.
    pub(super) fn settle(&mut self, shape: Shape) {
        let out = *self.out.get_or_insert(shape);
        self.be_silent_to(self.start);
        let way = Way::new(shape, out, self.start, self.from_frame);
        // What cannot be converted is silence, in time.
        let way = way.unwrap_or_else(|error| {
            tracing::debug!(%error, "a stretch is not heard");
            let shape = out;
            Way::new(shape, out, self.start, self.from_frame).expect("nothing is to be converted")
        });
        self.shape = Some(way.shape());
        self.span.from = way.first(self.from_frame);
        self.way = Some(way);
    }

    /// Silence on the timeline from where the links before this ended.
    pub(super) fn be_silent_to(&mut self, end: u64) {
        let missing = frames_end(Some(end.saturating_sub(self.given)));
        if let Some(out) = self.out.filter(|_| missing > 0) {
            let span = Span { from: frames_end(Some(self.from_frame)), to: i64::MAX };
            let mut clock = frames_end(Some(self.given));
            Way::plain(out).put_silence(self.inside, span, &mut clock, missing);
        }
        self.given = self.given.max(end);
    }

    /// Puts `count` frames of silence at the clock.
    pub(super) fn put_silence(&mut self, count: i64) {
        match &mut self.way {
            None => self.clock = self.clock.saturating_add(count),
            Some(way) => way.put_silence(self.inside, self.span, &mut self.clock, count),
        }
    }

    /// The running link has ended: the next one starts behind it.
    pub(super) fn close_link(&mut self) {
        // What came of it may end before its frame 0.
        let frames = u64::try_from(self.clock.min(self.span.to)).unwrap_or(0);
        match self.way.take() {
            Some(mut way) => {
                self.start = way.end(self.inside, frames);
                self.given = self.start;
            }
            None => {
                let rates = self.stated.zip(self.out);
                let frames = rates
                    .map_or(frames, |(link, out)| frames_out(frames, link.rate_hz, out.rate_hz));
                self.start = self.start.saturating_add(frames);
            }
        }
        (self.shape, self.clock) = (None, 0);
    }

    /// The next link is that of a demultiplexer, which counts as it does.
    pub(super) fn counts_of(&mut self, demux: &Demux<'_>) {
        (self.inexact, self.counts) = (Counts::inexact(demux), Counts::new(demux));
    }

    pub(super) fn is_done(&self) -> bool {
        let end = i64::try_from(self.start).unwrap_or(i64::MAX).saturating_add(self.clock);
        self.timeline.frames.is_some_and(|frames| end >= frames_end(Some(frames)))
    }

    /// Takes one packet. False: what was passed before it has to be decoded first, see
    /// [`go_back`](Self::go_back).
    pub(super) fn play(&mut self, piece: &Piece<'_>) -> Result<bool, Error> {
        let header = piece.header.as_ref();
        let nominal = self.frames_of(piece.nominal, header.map(|header| header.rate_hz));
        let nominal = nominal.min(PACKET_FRAMES);
        self.nominal = nominal;
        self.follow_part(piece.place.map(|(position, _)| position))?;
        self.learn_end(nominal);
        self.record(piece);
        if self.packet < self.lead_to && self.is_early(nominal) {
            self.keep_lead(&piece.packet, nominal);
            return Ok(true);
        }
        if self.is_early(nominal) {
            self.mark(piece);
            if self.can_pass() {
                self.pass(piece, nominal);
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

    /// Decodes one packet, which is to have `nominal` frames.
    pub(super) fn decode(&mut self, piece: &Piece<'_>, nominal: u64) -> Result<(), Error> {
        let (packet, header, number) = (&piece.packet, piece.header.as_ref(), self.packet);
        self.packet += 1;
        if let Some(skip) = &mut self.skip {
            skip.keep(packet.data, nominal, header);
        }
        if let Some(restarts) = self.restarts.as_mut().filter(|on| on.grid().is_at(number)) {
            let renew = |decoder: &mut _| renew_decoder(decoder, &self.params, self.known.codec);
            restarts.restart(&mut self.decoder, renew, || offer(self.inside))?;
            self.inside.below.release();
        }
        if let Err(fault) = self.follow(header) {
            self.miss(nominal, &fault.to_string());
            return Ok(());
        }
        self.count_decoded();
        let decoded = self.decoder.decode_ref(packet);
        if let Some(restarts) = &mut self.restarts {
            restarts.keep(number, packet.data);
            let fault = decoded.as_ref().err().map(ToString::to_string);
            if restarts.has_decoded(fault.is_none()) {
                renew_decoder(&mut self.decoder, &self.params, self.known.codec)?;
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
        let (count, rate_hz) = (decoded.frames(), decoded.spec().rate());
        self.has_played |= count > 0;
        if self.shape.is_none() && count > 0 {
            let shape = shape_of(&decoded, &self.params, self.known.codec);
            self.begin(shape.or_else(|error| self.out.ok_or(error))?);
        }
        let Some(shape) = self.shape else { return Ok(()) };
        if rate_hz != shape.rate_hz {
            self.miss(nominal, "the rate changed");
            return Ok(());
        }
        match std::mem::replace(&mut self.priming, Priming::Done) {
            Priming::Done => {}
            Priming::Link => {
                // Frames before granule 0 are of the encoder: the first page says how many.
                self.clock = piece.start.unwrap_or(0).clamp(-LEAD_FRAMES, 0);
                return Ok(());
            }
            Priming::Loss => {
                self.put_silence(nominal as i64);
                return Ok(());
            }
        }
        if self.inexact.is_some() && count > 0 {
            self.inexact = Some(count as u64);
        }
        let (count, short) = match self.counts.of(count, nominal, header) {
            Some(counted) => counted,
            // They have to be decoded to be counted.
            None => {
                self.skip = None;
                (count, 0)
            }
        };
        let count = self.span.untrimmed(count, piece.trimmed);
        let out_hz = self.out.map_or(shape.rate_hz, |out| out.rate_hz);
        let decoded = self.decoder.last_decoded();
        if let Some(way) = &mut self.way {
            way.put(self.inside, self.span, &mut self.clock, count, |part, frames| {
                let made = &self.inside.desk.made;
                let count = (part.1 - part.0) as u64;
                made.set(made.get() + frames_out(count, shape.rate_hz, out_hz));
                planes::append(&decoded, part, shape.lossy, shape.wide, frames);
            });
        }
        self.put_silence(short);
        Ok(())
    }

    /// The first packet of the link decoded, to this.
    fn begin(&mut self, shape: Shape) {
        // Everything is built now; a running decoder needs little of what that took.
        self.inside.below.release();
        if self.out.is_none() {
            announce(self.inside, &self.known, shape, &self.timeline);
        }
        self.settle(self.stated.unwrap_or(shape));
        self.put_lead();
    }

    /// Puts what lies before the next packet: silence that an edit list asks for, then what did not decode.
    pub(super) fn put_lead(&mut self) {
        let delay = (-self.link_clock).max(0);
        let lead = self.clock + delay;
        self.clock = -delay;
        self.put_silence(lead);
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
    /// decoded, in the first link of a chain or any stretch of a tape, and at the rate of that.
    fn record(&self, piece: &Piece<'_>) {
        let (Some((position, state)), Some(shape), Some(preroll)) =
            (piece.place, self.shape, self.preroll)
        else {
            return;
        };
        let is_plain = piece.header.is_none_or(|header| header.rate_hz == shape.rate_hz)
            && self.priming == Priming::Done
            && self.is_indexed;
        let mut recording = self.inside.desk.recording.borrow_mut();
        let is_wanted = is_plain && preroll.is_entry(self.packet) && recording.wants(self.packet);
        // Behind what is missing now, frames lie where they may not lie another time.
        if is_wanted && !self.inside.resident.is_torn() {
            recording.push(position, self.packet, self.clock, state);
        }
    }

    /// Whether a packet ends before the wanted frame.
    fn is_early(&self, nominal: u64) -> bool {
        let end = self.clock.saturating_add(i64::try_from(nominal).unwrap_or(i64::MAX));
        end <= self.span.from
    }

    /// A decoder that knows nothing of what came before.
    pub(super) fn renew(&mut self) -> Result<(), Error> {
        renew_decoder(&mut self.decoder, &self.params, self.known.codec)?;
        if let Some(restarts) = &mut self.restarts {
            restarts.forget();
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
            self.params = match he_aac::is_it(self.known.codec) {
                true => he_aac::Setup::changed(&self.params, header),
                false => opening::params_of(header)?,
            };
            self.renew()?;
        }
        self.header = Some(*header);
        Ok(())
    }
}
