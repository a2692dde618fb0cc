//! The way of a link's frames to the tray: to their place on the timeline, and to its rate and channels.
//!
//! A link is what a decoder decodes in one go: a stretch of a tape, a link of a chain, or all there is. It has a
//! clock of its own, which starts at its frame 0, and the rate and the channels that its packets have. Those of
//! the timeline are those of the first link. What has others is mixed and resampled as a whole of its own, so that
//! its frames depend on nothing before it, and takes `ceil(frames * rate_out / rate_in)` of them.

use crate::decode::{
    Frames, Info, Pipeline, Sample, Spec,
    pipeline::SpecError,
    planes,
    quantise::{Dither, Encoding},
    resample::{Quality, frames_out},
    shape::Shape,
    source::Inside,
    tray::{self, Span, offer, prepare},
};

/// Frames of silence that are put at a time.
const SILENCE_FRAMES: i64 = 1024;

/// Where frames of one link go.
pub(super) struct Way {
    /// Frame of the timeline that is frame 0 of the link.
    start: u64,
    shape: Shape,
    out: Shape,
    conversion: Option<Box<Conversion>>,
}

/// What makes frames of a link to such of the timeline.
struct Conversion {
    pipeline: Pipeline,
    /// On their way into it.
    frames: Frames,
}

impl Way {
    /// That of a link of `shape` which starts at frame `start`, to a timeline of `out`, of which nothing is wanted
    /// before frame `from`.
    ///
    /// # Errors
    /// Rates that cannot be converted into each other.
    pub(super) fn new(shape: Shape, out: Shape, start: u64, from: u64) -> Result<Self, SpecError> {
        let is_same = shape.rate_hz == out.rate_hz && shape.channels.count == out.channels.count;
        // Where packets are only counted, nothing is wanted at all.
        let conversion = match is_same || from == u64::MAX {
            true => None,
            false => Some(Box::new(Conversion::new(shape, out, from.saturating_sub(start))?)),
        };
        Ok(Self { start, shape, out, conversion })
    }

    /// That of frames which are as they go out, from the start.
    pub(super) fn plain(out: Shape) -> Self {
        Self { start: 0, shape: out, out, conversion: None }
    }

    /// What the link decodes to.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// The first frame of the link that matters to what is wanted from frame `from` of the timeline on.
    pub(super) fn first(&self, from: u64) -> i64 {
        let first = match &self.conversion {
            Some(conversion) => conversion.pipeline.first_frame_in(),
            None => from.saturating_sub(self.start),
        };
        i64::try_from(first).unwrap_or(i64::MAX)
    }

    /// Puts those of `count` frames at the clock that lie in the span, as `append` does.
    pub(super) fn put(
        &mut self,
        inside: &Inside<'_>,
        span: Span,
        clock: &mut i64,
        count: usize,
        append: impl FnOnce((usize, usize), &mut Frames),
    ) {
        let (from, to) = span.part(*clock, count);
        if from < to {
            let position = (*clock + from as i64) as u64;
            match &mut self.conversion {
                None => tray::put(inside, self.out, self.start.saturating_add(position), |tray| {
                    append((from, to), tray);
                }),
                Some(conversion) => {
                    prepare(&mut conversion.frames, self.shape);
                    append((from, to), &mut conversion.frames);
                    conversion.convert(inside, self.out, self.start, position);
                }
            }
        }
        *clock += count as i64;
        offer(inside);
    }

    /// Puts `count` frames of silence at the clock.
    pub(super) fn put_silence(
        &mut self,
        inside: &Inside<'_>,
        span: Span,
        clock: &mut i64,
        count: i64,
    ) {
        let end = clock.saturating_add(count.max(0));
        // What nobody wants need not be counted out.
        *clock = span.from.clamp(*clock, end);
        while *clock < end.min(span.to) {
            let piece = (end - *clock).min(SILENCE_FRAMES) as usize;
            self.put(inside, span, clock, piece, |(from, to), frames| {
                planes::append_silence(to - from, frames);
            });
        }
        *clock = end;
    }

    /// The link ends at a frame of its own. All of it goes out; the frame of the timeline behind it.
    pub(super) fn end(&mut self, inside: &Inside<'_>, frames: u64) -> u64 {
        if let Some(conversion) = &mut self.conversion {
            conversion.pipeline.finish_at(frames);
            conversion.drain(inside, self.out, self.start);
        }
        let frames = frames_out(frames, self.shape.rate_hz, self.out.rate_hz);
        self.start.saturating_add(frames)
    }
}

impl Conversion {
    fn new(shape: Shape, out: Shape, from: u64) -> Result<Self, SpecError> {
        let info = Info {
            container: "",
            codec: "",
            rate_hz: shape.rate_hz,
            channels: shape.channels,
            sample: Sample::Float,
            frames: None,
            tags: Vec::new(),
            tracks: Vec::new(),
        };
        let spec = Spec {
            rate_hz: out.rate_hz,
            channels: out.channels.count,
            encoding: Encoding::F32le,
            dither: Dither::None,
            quality: Quality::Good,
        };
        let pipeline = Pipeline::new(&info, spec, from, None)?;
        Ok(Self { pipeline, frames: Frames::default() })
    }

    /// Takes the frames in, of which the first is `position` of the link, and puts out what comes of them.
    fn convert(&mut self, inside: &Inside<'_>, out: Shape, start: u64, position: u64) {
        loop {
            let is_taken = self.pipeline.push(position, &self.frames);
            self.drain(inside, out, start);
            if is_taken {
                break;
            }
        }
        self.frames.clear();
    }

    fn drain(&mut self, inside: &Inside<'_>, out: Shape, start: u64) {
        loop {
            let position = start.saturating_add(self.pipeline.position());
            let room = tray::room(inside);
            let mut count = 0;
            tray::put(inside, out, position, |tray| count = self.pipeline.pull_frames(room, tray));
            if count == 0 {
                return;
            }
            offer(inside);
        }
    }
}
