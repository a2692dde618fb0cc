//! The inside of a decoder's coroutine: packets to frames on the trimmed timeline.

use std::rc::Rc;

use symphonia::core::{
    codecs::audio::{AudioCodecParameters, AudioDecoder},
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::{
    Error, Info,
    demux::{Demux, Lost, Next, Piece},
    headers::Header,
    opening::{self, Opened, Timeline},
    planes,
    shape::{Shape, make_decoder, shape_of, shape_of_params},
    skip::{Preroll, Skip},
    source::{Inside, Pause},
    tray::{Span, frames_end, offer, put, put_silence},
    xing::Claim,
};

/// Frames of one packet at most, whatever its container says: minutes more than any holds.
const PACKET_FRAMES: u64 = 1 << 24;
/// Packets in a row that a reader may stumble over before the rest is given up.
const STUMBLES: u32 = 64;

/// Reads and decodes the track to its end.
pub(super) fn run(
    inside: Rc<Inside<'_>>,
    wanted: Option<u32>,
    from_frame: u64,
) -> Result<(), Error> {
    let mut opened = opening::open(&inside, wanted)?;
    if let Demux::Empty = opened.demux {
        return announce_empty(&inside, &opened);
    }
    let mut player = Player::new(&inside, &opened, from_frame)?;
    player.state(&opened.demux);
    player.clock += opened.demux.pass(from_frame) as i64;
    let mut stumbles = 0;
    loop {
        match opened.demux.next() {
            Next::Piece(piece) => {
                stumbles = 0;
                player.play(&piece)?;
            }
            Next::Lost(lost) => player.lose(lost)?,
            Next::Broken(why) => {
                stumbles += 1;
                player.miss(0, why);
                if stumbles > STUMBLES {
                    break;
                }
            }
            Next::Changed => {
                player.end_link()?;
                match opening::open_link(&inside, &mut opened, wanted)? {
                    true => player.start_link(&opened)?,
                    false => player.miss(0, "the headers of a link do not open"),
                }
            }
            Next::End => break,
        }
        if player.is_done() {
            break;
        }
    }
    player.finish()
}

/// Says what a file is that has headers and nothing else.
fn announce_empty(inside: &Inside<'_>, opened: &Opened<'_>) -> Result<(), Error> {
    let shape = shape_of_params(&opened.params, opened.codec)?;
    let shape = shape.ok_or(Error::damaged("there is no packet"))?;
    announce(inside, &Known::of(opened), shape, &opened.timeline);
    Ok(())
}

/// Decodes packets and puts what lies on the timeline on the tray.
struct Player<'a, 'y> {
    inside: &'a Inside<'y>,
    /// What is known before the first packet decodes.
    known: Known,
    params: AudioCodecParameters,
    decoder: Box<dyn AudioDecoder>,
    /// What the decoder was made for, if that was announced before any packet decoded.
    stated: Option<Shape>,
    /// Set by the first decoded packet.
    shape: Option<Shape>,
    timeline: Timeline,
    claim: Option<Claim>,
    from_frame: u64,
    /// What of the decoded frames is wanted.
    span: Span,
    /// Where the next packet starts on the trimmed timeline; negative inside the delay.
    clock: i64,
    /// The clock where the running link of a chain starts.
    link_start: i64,
    /// The last frame header of a stream that may change.
    header: Option<Header>,
    /// Where the rate is not that of the track: the rate, and by how much less than a frame the clock
    /// is behind, in as many parts of one.
    late: (u32, u64),
    first_fault: Option<String>,
    priming: Priming,
    /// Frames of the packet decoded last, where the container counts none (Matroska knows milliseconds,
    /// and of many packets no length): one that does not decode is taken to be as long.
    inexact: Option<u64>,
    /// Packets before the wanted frame, while they are passed; `None` if all are decoded.
    skip: Option<Skip>,
}

/// What of Vorbis decodes to nothing: the first packet only fills the overlap of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Priming {
    Done,
    /// The next packet is the first of a link, and says where that starts.
    Link,
    /// What came before the next packet is lost.
    Loss,
}

impl Priming {
    fn of_link(codec: &str) -> Self {
        if codec == "vorbis" { Self::Link } else { Self::Done }
    }
}

struct Known {
    container: &'static str,
    codec: &'static str,
    tags: Vec<(String, String)>,
}

impl Known {
    fn of(opened: &Opened<'_>) -> Self {
        let (container, tags) = (opened.container.name(), opened.tags.clone());
        Self { container, codec: opened.codec, tags }
    }
}

impl<'a, 'y> Player<'a, 'y> {
    fn new(inside: &'a Inside<'y>, opened: &Opened<'y>, from_frame: u64) -> Result<Self, Error> {
        Ok(Self {
            inside,
            known: Known::of(opened),
            params: opened.params.clone(),
            decoder: make_decoder(&opened.params, opened.codec)?,
            stated: None,
            shape: None,
            timeline: opened.timeline,
            claim: opened.claim,
            from_frame,
            span: Span {
                from: i64::try_from(from_frame).unwrap_or(i64::MAX),
                to: frames_end(opened.timeline.frames.or(opened.link_frames)),
            },
            clock: -opened.timeline.delay,
            link_start: 0,
            header: None,
            late: (0, 0),
            first_fault: None,
            priming: Priming::of_link(opened.codec),
            inexact: (!opened.demux.counts_exactly()).then_some(0),
            skip: Preroll::of(opened.codec)
                .filter(|_| from_frame > 0 && opened.demux.counts_exactly())
                .map(Skip::new),
        })
    }

    /// Announces the track before a packet is decoded: a decoder knows its shape from the headers. What
    /// a container says of MP3 may be false, so that takes a packet.
    fn state(&mut self, demux: &Demux<'_>) {
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

    fn is_done(&self) -> bool {
        self.timeline.frames.is_some_and(|frames| self.clock >= frames as i64)
    }

    /// Decodes one packet.
    fn play(&mut self, piece: &Piece<'_>) -> Result<(), Error> {
        let (packet, header) = (&piece.packet, piece.header.as_ref());
        let nominal = self.frames_of(piece.nominal, header.map(|header| header.rate_hz));
        let nominal = nominal.min(PACKET_FRAMES);
        self.learn_end(nominal);
        if self.can_pass(nominal) {
            self.pass(packet, nominal, header);
            return Ok(());
        }
        if self.shape.is_some()
            && self.priming == Priming::Done
            && let Some(skip) = self.skip.take()
        {
            self.preroll(skip)?;
        }
        if let Err(fault) = self.follow(header) {
            self.miss(nominal, &fault.to_string());
            return Ok(());
        }
        self.count_decoded();
        let decoded = match self.decoder.decode_ref(packet) {
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
        if count as u64 != nominal {
            // Its container counts otherwise: frames have to be decoded to be counted.
            self.skip = None;
        }
        let count = self.span.untrimmed(count, piece.trimmed);
        put(self.inside, shape, self.span, &mut self.clock, count, |part, tray| {
            planes::append(&decoded, part, shape.lossy, shape.wide, tray);
        });
        Ok(())
    }

    /// How many frames of the track last as long as `frames` of `rate_hz`.
    fn frames_of(&mut self, frames: u64, rate_hz: Option<u32>) -> u64 {
        let (Some(shape), Some(rate_hz)) = (self.shape, rate_hz) else { return frames };
        if rate_hz == shape.rate_hz {
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

    /// Whether a packet that ends before the wanted frame need not be decoded now, or at all.
    fn can_pass(&self, nominal: u64) -> bool {
        let end = self.clock.saturating_add(i64::try_from(nominal).unwrap_or(i64::MAX));
        // One packet is decoded in any case: it settles what the track is.
        self.skip.is_some()
            && self.shape.is_some()
            && self.priming == Priming::Done
            && end <= i64::try_from(self.from_frame).unwrap_or(i64::MAX)
    }

    fn pass(&mut self, packet: &PacketRef<'_>, nominal: u64, header: Option<&Header>) {
        if let Some(skip) = &mut self.skip {
            skip.pass(packet.data, header);
        }
        self.clock += nominal as i64;
        offer(self.inside);
    }

    /// Decodes what a new decoder needs before the first wanted packet, to nothing.
    fn preroll(&mut self, skip: Skip) -> Result<(), Error> {
        if skip.is_untouched() {
            return Ok(());
        }
        self.decoder = make_decoder(&self.params, self.known.codec)?;
        for passed in skip.into_preroll() {
            self.follow(passed.header.as_ref())?;
            self.count_decoded();
            let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, &passed.data);
            if let Err(fault) = self.decoder.decode_ref(&packet) {
                tracing::debug!(%fault, "a packet of the pre-roll did not decode");
            }
            offer(self.inside);
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
            self.decoder = make_decoder(&params, self.known.codec)?;
            self.params = params;
        }
        self.header = Some(*header);
        Ok(())
    }

    /// Packets are gone: silence in their place, and behind it a decoder that knows nothing of what
    /// came before.
    fn lose(&mut self, lost: Lost) -> Result<(), Error> {
        let frames = self.frames_of(lost.frames, lost.rate_hz);
        let end = u64::try_from(self.clock).unwrap_or(0).saturating_add(frames);
        if opening::is_plausible(self.inside, end, self.span.to) {
            self.miss_all(lost.packets, frames, "the bytes of packets are damaged");
        } else {
            self.miss(0, "packets say that they lie where the track does not reach");
        }
        self.decoder = make_decoder(&self.params, self.known.codec)?;
        if self.priming == Priming::Link {
            // The link started with what is lost.
            self.priming = Priming::Loss;
        }
        self.prime_again();
        if let Some(skip) = &mut self.skip {
            *skip = skip.anew();
        }
        Ok(())
    }

    /// Behind a packet that was not decoded, the next of Vorbis has nothing to overlap.
    fn prime_again(&mut self) {
        if self.known.codec == "vorbis" && self.priming == Priming::Done {
            self.decoder.reset();
            self.priming = Priming::Loss;
        }
    }

    /// A packet of `nominal` frames did not decode: silence of its length.
    fn miss(&mut self, nominal: u64, why: &str) {
        self.miss_all(1, nominal, why);
    }

    /// So many packets, of `frames` in all, did not decode.
    fn miss_all(&mut self, packets: u64, frames: u64, why: &str) {
        let undecoded = &self.inside.desk.undecoded;
        undecoded.set(undecoded.get().saturating_add(packets));
        if self.first_fault.is_none() {
            tracing::debug!(why, "a packet did not decode");
            self.first_fault = Some(why.to_owned());
        }
        let frames = i64::try_from(frames).unwrap_or(i64::MAX);
        match self.shape {
            None => self.clock = self.clock.saturating_add(frames),
            Some(shape) => put_silence(self.inside, shape, self.span, &mut self.clock, frames),
        }
    }

    /// A link of a chain ended: what is missing of it is silence, what was too much is cut.
    fn end_link(&mut self) -> Result<(), Error> {
        let Some(shape) = self.shape else { return Err(self.nothing_decoded()) };
        if self.span.to < i64::MAX {
            let missing = self.span.to - self.clock;
            put_silence(self.inside, shape, self.span, &mut self.clock, missing);
            self.clock = self.span.to;
        }
        Ok(())
    }

    /// The next link of a chain starts where the one before it ended, with a decoder of its own.
    fn start_link(&mut self, opened: &Opened<'_>) -> Result<(), Error> {
        self.params = opened.params.clone();
        self.decoder = make_decoder(&self.params, self.known.codec)?;
        self.priming = Priming::of_link(self.known.codec);
        self.link_start = self.clock;
        self.span.from = self.span.from.max(self.clock);
        self.span.to = frames_end(opened.link_frames.map(|frames| frames + self.clock as u64));
        if self.skip.is_some() {
            // What was passed belongs to another decoder.
            self.skip = Preroll::of(self.known.codec).map(Skip::new);
        }
        Ok(())
    }

    /// The packets ended: silence up to what was promised.
    fn finish(mut self) -> Result<(), Error> {
        self.inside.desk.frames_there.set(Some(self.clock.min(self.span.to).max(0) as u64));
        let Some(shape) = self.shape else {
            return self.finish_empty();
        };
        if let Some(frames) = self.timeline.frames {
            let missing = frames as i64 - self.clock;
            put_silence(self.inside, shape, self.span, &mut self.clock, missing);
        }
        Ok(())
    }

    /// Nothing decoded: right for a track of no frames, or if none of them is wanted, else damage.
    fn finish_empty(self) -> Result<(), Error> {
        let is_whole = self.timeline.frames.is_none_or(|frames| self.clock >= frames as i64);
        let is_tried = self.inside.desk.decoded.get() > 0 || self.first_fault.is_some();
        if is_whole
            && !is_tried
            && let Some(shape) = shape_of_params(&self.params, self.known.codec)?
        {
            if self.stated.is_none() {
                announce(self.inside, &self.known, shape, &self.timeline);
            }
            return Ok(());
        }
        Err(self.nothing_decoded())
    }

    fn nothing_decoded(&self) -> Error {
        Error::damaged(self.first_fault.clone().unwrap_or_else(|| "there is no packet".to_owned()))
    }
}

fn announce(inside: &Inside<'_>, known: &Known, shape: Shape, timeline: &Timeline) {
    *inside.desk.info.borrow_mut() = Some(Info {
        container: known.container,
        codec: known.codec,
        rate_hz: shape.rate_hz,
        channels: shape.channels,
        sample: shape.sample,
        frames: timeline.frames,
        tags: known.tags.clone(),
    });
}
