//! The inside of a decoder's coroutine: packets to frames on the trimmed timeline.

use std::rc::Rc;

use symphonia::{
    core::{
        audio::{Channels as Layout, GenericAudioBufferRef},
        codecs::audio::{
            AudioCodecParameters, AudioDecoder, AudioDecoderOptions, well_known::CODEC_ID_MP3,
        },
        packet::PacketRef,
        units::{Duration, Timestamp},
    },
    default::get_codecs,
};

use super::{
    Channels, Error, Frames, Info, Sample,
    demux::{Demux, Next},
    headers::Header,
    mp3::Mp3,
    opening::{self, Opened, Timeline},
    planes,
    skip::{Preroll, Skip},
    source::{Inside, Pause},
    xing::Claim,
};

/// Frames after which a tray goes out: one packet of most codecs. A larger tray saves nothing that
/// can be measured, and each stream holds one, and the room behind it for what it brought.
const TRAY_FRAMES: usize = 1024;
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
    player.clock += opened.demux.pass(from_frame) as i64;
    let mut stumbles = 0;
    loop {
        match opened.demux.next() {
            Next::Piece(piece) => {
                stumbles = 0;
                player.play(&piece.packet, piece.nominal, piece.header.as_ref())?;
            }
            Next::Broken(why) => {
                stumbles += 1;
                player.miss(0, why);
                if stumbles > STUMBLES {
                    break;
                }
            }
            Next::Changed => {
                player.end_link()?;
                opening::open_link(&mut opened, wanted)?;
                player.start_link(&opened)?;
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
    /// Channels in the last frame header of a stream where they may change.
    header_channels: u16,
    first_fault: Option<String>,
    /// The next decoded packet only fills the overlap of the one after it: Vorbis at its start.
    is_priming: bool,
    /// Packets before the wanted frame, while they are passed; `None` if all are decoded.
    skip: Option<Skip>,
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

/// What the first decoded packet settles.
#[derive(Clone, Copy)]
struct Shape {
    rate_hz: u32,
    channels: Channels,
    sample: Sample,
    lossy: bool,
    wide: bool,
}

impl<'a, 'y> Player<'a, 'y> {
    fn new(inside: &'a Inside<'y>, opened: &Opened<'y>, from_frame: u64) -> Result<Self, Error> {
        Ok(Self {
            inside,
            known: Known::of(opened),
            params: opened.params.clone(),
            decoder: make_decoder(&opened.params, opened.codec)?,
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
            header_channels: 0,
            first_fault: None,
            is_priming: opened.codec == "vorbis",
            skip: Preroll::of(opened.codec)
                .filter(|_| from_frame > 0 && opened.demux.counts_exactly())
                .map(Skip::new),
        })
    }

    fn is_done(&self) -> bool {
        self.timeline.frames.is_some_and(|frames| self.clock >= frames as i64)
    }

    /// Decodes one packet.
    fn play(
        &mut self,
        packet: &PacketRef<'_>,
        nominal: u64,
        header: Option<&Header>,
    ) -> Result<(), Error> {
        self.learn_end(nominal);
        if self.can_pass(nominal) {
            self.pass(packet, nominal, header);
            return Ok(());
        }
        if self.shape.is_some()
            && !self.is_priming
            && let Some(skip) = self.skip.take()
        {
            self.preroll(skip)?;
        }
        self.follow_channels(header)?;
        self.count_decoded();
        let decoded = match self.decoder.decode_ref(packet) {
            Ok(decoded) => decoded,
            Err(fault) => {
                let why = fault.to_string();
                self.miss(nominal, &why);
                return Ok(());
            }
        };
        let count = decoded.frames();
        if self.shape.is_none() && count > 0 {
            let shape = shape_of(&decoded, &self.params, self.known.codec)?;
            self.shape = Some(shape);
            // Everything is built now; a running decoder needs little of what that took.
            self.inside.below.release();
            announce(self.inside, &self.known, shape, &self.timeline);
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
        if std::mem::take(&mut self.is_priming) {
            self.start_at(packet);
            return Ok(());
        }
        if count as u64 != nominal {
            // Its container counts otherwise: frames have to be decoded to be counted.
            self.skip = None;
        }
        let count = self.span.untrimmed(count, packet.trim_end.get());
        let (from, to) = self.span.part(self.clock, count);
        if from < to {
            let mut tray = self.inside.desk.tray.borrow_mut();
            prepare(&mut tray, shape);
            if tray.is_empty() {
                self.inside.desk.tray_position.set((self.clock + from as i64) as u64);
            }
            planes::append(&decoded, (from, to), shape.lossy, shape.wide, &mut tray);
        }
        self.clock += count as i64;
        offer(self.inside);
        Ok(())
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
            && !self.is_priming
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
            self.follow_channels(passed.header.as_ref())?;
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

    /// Frames before granule 0 are of the encoder: the first page says how many.
    fn start_at(&mut self, packet: &PacketRef<'_>) {
        let start = packet.pts.get().saturating_add(packet.trim_start.get() as i64);
        self.clock = self.link_start + start.clamp(-(1 << 16), 0);
    }

    /// A new decoder where the channels of the stream change: its filters are of one shape.
    fn follow_channels(&mut self, header: Option<&Header>) -> Result<(), Error> {
        let Some(header) = header else { return Ok(()) };
        if self.header_channels != 0 && self.header_channels != header.channels {
            self.decoder = make_decoder(&self.params, self.known.codec)?;
        }
        self.header_channels = header.channels;
        Ok(())
    }

    /// A packet of `nominal` frames did not decode: silence of its length.
    fn miss(&mut self, nominal: u64, why: &str) {
        let undecoded = &self.inside.desk.undecoded;
        undecoded.set(undecoded.get() + 1);
        if self.first_fault.is_none() {
            tracing::debug!(why, "a packet did not decode");
            self.first_fault = Some(why.to_owned());
        }
        let nominal = i64::try_from(nominal).unwrap_or(i64::MAX).min(1 << 24);
        match self.shape {
            None => self.clock += nominal,
            Some(shape) => {
                put_silence(self.inside, shape, self.span, &mut self.clock, nominal);
            }
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
        self.is_priming = self.known.codec == "vorbis";
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
            announce(self.inside, &self.known, shape, &self.timeline);
            return Ok(());
        }
        Err(self.nothing_decoded())
    }

    fn nothing_decoded(&self) -> Error {
        Error::damaged(self.first_fault.clone().unwrap_or_else(|| "there is no packet".to_owned()))
    }
}

/// A part of the trimmed timeline.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: i64,
    /// `i64::MAX`: as far as there is anything.
    to: i64,
}

impl Span {
    /// How many of `count` frames are left where its container has `trimmed` them: that decides where
    /// nothing has told the end before.
    fn untrimmed(&self, count: usize, trimmed: u64) -> usize {
        let trimmed = if self.to == i64::MAX { trimmed } else { 0 };
        count.saturating_sub(usize::try_from(trimmed).unwrap_or(usize::MAX))
    }

    /// Which of `count` frames that start at `clock` lie in it.
    fn part(&self, clock: i64, count: usize) -> (usize, usize) {
        let within = |frame: i64| frame.saturating_sub(clock).clamp(0, count as i64) as usize;
        (within(self.from), within(self.to))
    }
}

fn frames_end(frames: Option<u64>) -> i64 {
    frames.map_or(i64::MAX, |frames| i64::try_from(frames).unwrap_or(i64::MAX))
}

/// Puts `count` frames of silence at the clock.
fn put_silence(inside: &Inside<'_>, shape: Shape, span: Span, clock: &mut i64, count: i64) {
    let mut left = count.max(0);
    while left > 0 {
        let piece = left.min(TRAY_FRAMES as i64);
        let (from, to) = span.part(*clock, piece as usize);
        if from < to {
            let mut tray = inside.desk.tray.borrow_mut();
            prepare(&mut tray, shape);
            if tray.is_empty() {
                inside.desk.tray_position.set((*clock + from as i64) as u64);
            }
            planes::append_silence(to - from, &mut tray);
        }
        *clock += piece;
        left -= piece;
        offer(inside);
    }
}

/// Gives the tray its planes.
fn prepare(tray: &mut Frames, shape: Shape) {
    let count = usize::from(shape.channels.count);
    tray.planes.resize_with(count, Vec::new);
    if shape.wide {
        tray.wide.resize_with(count, Vec::new);
    }
}

/// Leaves with the tray if it is full or the slice is over.
fn offer(inside: &Inside<'_>) {
    let load = inside.desk.tray.borrow().len();
    if load >= TRAY_FRAMES {
        inside.pause(Pause::Tray);
    } else if inside.time_is_up() {
        inside.pause(Pause::Slice);
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

fn shape_of(
    decoded: &GenericAudioBufferRef<'_>,
    params: &AudioCodecParameters,
    codec: &str,
) -> Result<Shape, Error> {
    let spec = decoded.spec();
    let bits = planes::integer_bits(decoded)
        .map(|stored| params.bits_per_sample.map_or(stored, |bits| bits.clamp(1, stored)));
    Ok(Shape {
        rate_hz: spec.rate(),
        channels: channels_of(spec.channels())?,
        sample: bits.map_or(Sample::Float, |bits| Sample::Integer { bits }),
        lossy: bits.is_none() && !codec.starts_with("pcm"),
        wide: bits.is_some_and(|bits| bits > 24),
    })
}

/// The same before anything decoded, of plain samples: they are what their parameters say.
fn shape_of_params(params: &AudioCodecParameters, codec: &str) -> Result<Option<Shape>, Error> {
    let (Some(rate_hz), Some(layout)) = (params.sample_rate, &params.channels) else {
        return Ok(None);
    };
    let is_float = matches!(codec, "pcm_f32le" | "pcm_f32be" | "pcm_f64le" | "pcm_f64be");
    let bits = params.bits_per_sample.unwrap_or(16);
    let sample = if is_float { Sample::Float } else { Sample::Integer { bits } };
    let channels = channels_of(layout)?;
    let wide = !is_float && bits > 24;
    Ok(Some(Shape { rate_hz, channels, sample, lossy: false, wide }))
}

/// Channels in the words of WAVE.
fn channels_of(layout: &Layout) -> Result<Channels, Error> {
    const DEFAULTS: [u32; 9] = [0, 0x4, 0x3, 0x7, 0x33, 0x37, 0x3F, 0x70F, 0x63F];
    let count = layout.count();
    let Some(default) = DEFAULTS.get(count).filter(|_| count > 0) else {
        return Err(Error::unsupported("more than eight channels"));
    };
    let mask = match layout {
        // The first 18 positions are those of WAVE.
        Layout::Positioned(positions) if count > 1 && positions.bits() < 1 << 18 => {
            positions.bits() as u32
        }
        _ => *default,
    };
    Ok(Channels { count: count as u16, mask })
}

fn make_decoder(
    params: &AudioCodecParameters,
    codec: &'static str,
) -> Result<Box<dyn AudioDecoder>, Error> {
    if params.codec == CODEC_ID_MP3 {
        return Ok(Box::new(Mp3::new(params)));
    }
    // Trimming is ours: the reader's idea of it is an estimate where no tag says better.
    let options = AudioDecoderOptions::default().gapless(false);
    get_codecs().make_audio_decoder(params, &options).map_err(|fault| {
        tracing::debug!(%fault, codec, "no decoder");
        Error::unsupported(codec)
    })
}
