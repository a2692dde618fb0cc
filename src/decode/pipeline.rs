//! The signal path from decoded frames to the bytes of a response: mix, resample, quantise.
//!
//! A pipeline makes one slice of one rendition. What it makes depends on the source, the [`Spec`]
//! and the positions of frames only, never on how the source was cut into packets, where the slice
//! starts, or how large the buffers are that it is pulled into.

use std::{collections::VecDeque, iter};

use super::{
    Frames, Info, Sample,
    mix::{MAX_CHANNELS, Mixer},
    quantise::{Dither, Encoding, quantise, quantise_wide, to_wide},
    resample::{Blocks, Quality, RatesRefused, Resampler, frames_out},
};

/// What the output is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spec {
    /// Frames per second.
    pub rate_hz: u32,
    /// 1 to 8.
    pub channels: u16,
    /// How a sample is written.
    pub encoding: Encoding,
    /// What is added before rounding.
    pub dither: Dither,
    /// The resampler's filter.
    pub quality: Quality,
}

impl Spec {
    /// Bytes of one frame.
    pub fn frame_bytes(&self) -> usize {
        usize::from(self.channels) * self.encoding.bytes()
    }
}

/// Why a source cannot become what was asked for. All of these are the request's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The ratio of the rates needs blocks that are too long.
    #[error(transparent)]
    Rates(#[from] RatesRefused),
    /// Neither side may have no channel or more than [`MAX_CHANNELS`].
    #[error("{0} channels; 1 to 8 are possible")]
    Channels(u16),
    /// A rate of zero.
    #[error("a sample rate of 0 Hz")]
    NoRate,
}

/// A running slice. Push frames, pull bytes.
#[derive(Debug)]
pub struct Pipeline {
    spec: Spec,
    rate_in_hz: u32,
    mixer: Mixer,
    stage: Stage,
    /// Position of the first frame that was wanted from the source.
    first: u64,
    /// Position of the next frame that is taken from the source.
    accepted: u64,
    /// Where the source ends, or where the slice needs no more of it.
    accept_until: u64,
    /// Position of the next frame that goes out.
    next: u64,
    /// Where the slice ends, as far as is known.
    until: Option<u64>,
    /// Whether the source promised its frames.
    promised: bool,
    finished: bool,
}

/// What stands between the mixed frames and the quantiser.
#[derive(Debug)]
enum Stage {
    /// Nothing: rates are equal.
    Direct(Held<f32>),
    /// Nothing, and the integers are wider than `f32` can hold.
    Wide(Held<i32>),
    /// The resampler.
    Resampled(Box<Resampled>),
}

impl Pipeline {
    /// A pipeline for frames `from` to `to` (exclusive; the end if `None`) of the output of `source`.
    ///
    /// Where the source promises its frames, exactly those go through: what is missing is silence,
    /// what is too long is cut.
    ///
    /// # Errors
    /// See [`SpecError`].
    pub fn new(source: &Info, spec: Spec, from: u64, to: Option<u64>) -> Result<Self, SpecError> {
        for count in [source.channels.count, spec.channels] {
            if !(1..=MAX_CHANNELS as u16).contains(&count) {
                return Err(SpecError::Channels(count));
            }
        }
        if source.rate_hz == 0 || spec.rate_hz == 0 {
            return Err(SpecError::NoRate);
        }
        let mixer = Mixer::new(source.channels, spec.channels);
        let blocks = match source.rate_hz == spec.rate_hz {
            true => None,
            false => Some(Blocks::of(source.rate_hz, spec.rate_hz, spec.quality)?),
        };
        let (accepted, needed) = match blocks {
            None => (from, to.unwrap_or(u64::MAX)),
            Some(blocks) => input_span(blocks, from, to),
        };
        let stage = match blocks {
            Some(blocks) => Stage::Resampled(Box::new(Resampled::new(blocks, &mixer, from))),
            None if is_wide(source) && mixer.is_identity() => {
                Stage::Wide(Held::new(mixer.planes()))
            }
            None => Stage::Direct(Held::new(mixer.planes())),
        };
        let total = source.frames.map(|frames| frames_out(frames, source.rate_hz, spec.rate_hz));
        Ok(Self {
            spec,
            rate_in_hz: source.rate_hz,
            mixer,
            stage,
            first: accepted,
            accepted,
            accept_until: source.frames.unwrap_or(u64::MAX).min(needed),
            next: from,
            until: least(total, to),
            promised: total.is_some(),
            finished: false,
        })
    }

    /// The first frame of the source that the slice depends on. A decoder that is exact from there
    /// on gives the output of the whole; earlier frames are ignored.
    pub fn first_frame_in(&self) -> u64 {
        self.first
    }

    /// Position of the next frame of the output.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Where the output ends, in frames, as far as is known.
    pub fn end(&self) -> Option<u64> {
        self.until
    }

    /// Whether all frames of the slice have been pulled.
    pub fn is_done(&self) -> bool {
        self.until.is_some_and(|until| self.next >= until)
    }

    /// Takes of `frames`, whose first is frame `position` of the trimmed timeline, what there is room
    /// for, and says whether that was all. If not, pull until nothing comes and push the same again.
    ///
    /// Frames are taken once and in order: what lies before the wanted position or was taken already
    /// is ignored, what is left out is silence. Pull before the next push, or frames pile up.
    #[must_use]
    pub fn push(&mut self, position: u64, frames: &Frames) -> bool {
        if self.finished || frames.is_empty() {
            return true;
        }
        let end = position.saturating_add(frames.len() as u64).min(self.accept_until);
        self.silence_until(position.min(end));
        let (skip, count) =
            (self.accepted.saturating_sub(position), end.saturating_sub(self.accepted));
        if count == 0 {
            return true;
        }
        let (skip, most) = (skip as usize, count as usize);
        let count = match &mut self.stage {
            Stage::Direct(held) => {
                held.append(most, |into| self.mixer.mix(&frames.planes, skip, most, into));
                most
            }
            Stage::Wide(held) => {
                held.append(most, |into| copy_wide(frames, skip, most, into));
                most
            }
            Stage::Resampled(stage) => {
                let count = stage.room().min(most);
                self.mixer.mix(&frames.planes, skip, count, &mut stage.input);
                count
            }
        };
        self.accepted += count as u64;
        count == most
    }

    /// The source has ended: what it promised and did not give is silence.
    pub fn finish(&mut self) {
        if self.finished {
            return;
        }
        self.finished = true;
        if self.promised {
            return self.silence_until(self.accept_until);
        }
        // Where the slice needed no more of the source, this lies behind the slice.
        let total = frames_out(self.accepted, self.rate_in_hz, self.spec.rate_hz);
        self.until = least(self.until, Some(total));
    }

    /// Writes as many whole frames to `into` as there are and fit, and returns their bytes. Zero
    /// means that more must be pushed, or that [`is_done`](Self::is_done), or that not one frame fits.
    pub fn pull(&mut self, into: &mut [u8]) -> usize {
        let frame_bytes = self.spec.frame_bytes();
        let mut written = 0;
        loop {
            let room = ((into.len() - written) / frame_bytes) as u64;
            let most =
                room.min(self.until.map_or(u64::MAX, |until| until.saturating_sub(self.next)));
            if most == 0 {
                return written;
            }
            let frames =
                self.pull_some(most.min(SILENCE_FRAMES as u64) as usize, &mut into[written..]);
            if frames == 0 {
                return written;
            }
            written += frames * frame_bytes;
            self.next += frames as u64;
        }
    }

    /// Writes up to `most` frames that lie side by side; 0 if there are none.
    fn pull_some(&mut self, most: usize, into: &mut [u8]) -> usize {
        let Spec { encoding, dither, .. } = self.spec;
        let (routes, next) = (self.mixer.routes(), self.next);
        let frame_bytes = self.spec.frame_bytes();
        match &mut self.stage {
            Stage::Direct(held) => held.take(most, |planes, count| {
                let slices = routed(planes, routes, count);
                let into = &mut into[..count * frame_bytes];
                quantise(encoding, dither, next, &slices[..routes.len()], into);
            }),
            Stage::Wide(held) => held.take(most, |planes, count| {
                let slices = routed(planes, routes, count);
                let into = &mut into[..count * frame_bytes];
                quantise_wide(encoding, dither, next, &slices[..routes.len()], into);
            }),
            Stage::Resampled(stage) => {
                if !stage.refill(self.finished) {
                    return 0;
                }
                stage.take(most, |planes, count| {
                    let slices = routed(planes, routes, count);
                    let into = &mut into[..count * frame_bytes];
                    quantise(encoding, dither, next, &slices[..routes.len()], into);
                })
            }
        }
    }

    /// Holds silence from the wanted position to `position`.
    fn silence_until(&mut self, position: u64) {
        let missing = position.saturating_sub(self.accepted);
        match &mut self.stage {
            Stage::Direct(held) => held.append_silence(missing),
            Stage::Wide(held) => held.append_silence(missing),
            Stage::Resampled(stage) => stage.silence += missing,
        }
        self.accepted += missing;
    }
}

/// Which frames of the source a resampled slice needs: from one block before the one that holds its
/// first frame, to the end of the one that holds its last.
fn input_span(blocks: Blocks, from: u64, to: Option<u64>) -> (u64, u64) {
    let block_frames = blocks.input as u64;
    let first = blocks.holding(from).saturating_sub(1) * block_frames;
    let end = |to: u64| (blocks.holding(to.saturating_sub(1)) + 1).saturating_mul(block_frames);
    (first, to.map_or(u64::MAX, end))
}

fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

fn is_wide(source: &Info) -> bool {
    matches!(source.sample, Sample::Integer { bits } if bits > 24)
}

/// Appends the integers of `frames`, made from the floats where a packet has none.
fn copy_wide(frames: &Frames, skip: usize, count: usize, into: &mut [Vec<i32>]) {
    for (channel, out) in into.iter_mut().enumerate() {
        match (frames.wide.get(channel), frames.planes.get(channel)) {
            (Some(wide), _) if !wide.is_empty() => out.extend(&wide[skip..skip + count]),
            (_, Some(plane)) => out.extend(plane[skip..skip + count].iter().map(|x| to_wide(*x))),
            _ => out.extend(iter::repeat_n(0, count)),
        }
    }
}

/// Silence that slices are taken of; no more frames are written at a time.
const SILENCE_FRAMES: usize = 8192;

/// A sample that has a silence.
trait Silent: Copy + 'static {
    const SILENCE: &'static [Self; SILENCE_FRAMES];
}

impl Silent for f32 {
    const SILENCE: &'static [Self; SILENCE_FRAMES] = &[0.0; SILENCE_FRAMES];
}

impl Silent for i32 {
    const SILENCE: &'static [Self; SILENCE_FRAMES] = &[0; SILENCE_FRAMES];
}

/// One slice per output channel, `count` frames each, following the routes.
fn routed<'a, T: Silent>(
    planes: Planes<'a, T>,
    routes: &[Option<usize>],
    count: usize,
) -> [&'a [T]; MAX_CHANNELS] {
    let mut slices: [&[T]; MAX_CHANNELS] = [&[]; MAX_CHANNELS];
    for (slice, route) in slices.iter_mut().zip(routes) {
        *slice = match (route, planes) {
            (Some(plane), Planes::Audio { planes, from }) => &planes[*plane][from..from + count],
            _ => &T::SILENCE[..count],
        };
    }
    slices
}

/// Frames side by side: parts of planes, or silence.
#[derive(Clone, Copy)]
enum Planes<'a, T> {
    Audio { planes: &'a [Vec<T>], from: usize },
    Silence,
}

/// Frames that wait for the next stage. Silence is held as a number, so a gap of hours costs nothing.
#[derive(Debug)]
struct Held<T> {
    planes: Vec<Vec<T>>,
    /// Frames at the start of the planes that were taken already.
    taken: usize,
    /// What is held, in order. Seldom more than one.
    runs: VecDeque<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    silent: bool,
    frames: u64,
}

impl<T: Silent> Held<T> {
    fn new(planes: usize) -> Self {
        Self { planes: vec![Vec::new(); planes], taken: 0, runs: VecDeque::with_capacity(4) }
    }

    /// Adds `count` frames, which `fill` appends to every plane.
    fn append(&mut self, count: usize, fill: impl FnOnce(&mut [Vec<T>])) {
        for plane in &mut self.planes {
            plane.drain(..self.taken);
            // Packets are of one length: room for more than is asked now would stay unused.
            plane.reserve_exact(count);
        }
        self.taken = 0;
        fill(&mut self.planes);
        self.add_run(Run { silent: false, frames: count as u64 });
    }

    fn append_silence(&mut self, frames: u64) {
        if frames > 0 {
            self.add_run(Run { silent: true, frames });
        }
    }

    fn add_run(&mut self, run: Run) {
        match self.runs.back_mut() {
            Some(last) if last.silent == run.silent => last.frames += run.frames,
            _ => self.runs.push_back(run),
        }
    }

    /// Hands up to `most` frames that lie side by side to `visit`, lets go of them and says how many.
    fn take(&mut self, most: usize, visit: impl FnOnce(Planes<'_, T>, usize)) -> usize {
        let Some(run) = self.runs.front_mut() else { return 0 };
        let count = run.frames.min(most as u64) as usize;
        run.frames -= count as u64;
        if run.silent {
            visit(Planes::Silence, count);
        } else {
            visit(Planes::Audio { planes: &self.planes, from: self.taken }, count);
            self.taken += count;
        }
        if run.frames == 0 {
            self.runs.pop_front();
        }
        count
    }
}

/// The resampler with the block before it and the block behind it. Nothing else waits: what does not
/// fit into the block stays with the decoder, as large as its packets are.
#[derive(Debug)]
struct Resampled {
    resampler: Resampler,
    /// The block of input as far as it has come.
    input: Vec<Vec<f32>>,
    /// Frames of silence that come behind it, before anything else. A number, so that a gap of hours
    /// costs nothing.
    silence: u64,
    /// One block of output, of which frames `ready` are still to go out.
    output: Vec<Vec<f32>>,
    ready: std::ops::Range<usize>,
    /// Frames of the filter's output that come before the first of the slice: its delay, at the
    /// start of the timeline, or the pre-roll and what lies before the slice in its block.
    drop: u64,
}

impl Resampled {
    fn new(blocks: Blocks, mixer: &Mixer, from: u64) -> Self {
        let planes = mixer.planes();
        let start = blocks.holding(from).saturating_sub(1) * blocks.output as u64;
        Self {
            resampler: Resampler::new(blocks, planes),
            input: (0..planes).map(|_| Vec::with_capacity(blocks.input)).collect(),
            silence: 0,
            output: vec![vec![0.0; blocks.output]; planes],
            ready: 0..0,
            drop: from + blocks.delay() - start,
        }
    }

    /// Frames of the block of input that are there.
    fn filled(&self) -> usize {
        self.input.first().map_or(0, Vec::len)
    }

    /// How many frames may be appended to the input now: none before all silence has gone into it.
    fn room(&mut self) -> usize {
        self.add_silence();
        self.resampler.blocks().input - self.filled()
    }

    fn add_silence(&mut self) {
        let (filled, most) = (self.filled(), self.resampler.blocks().input);
        let end = most.min(filled + self.silence.min(most as u64) as usize);
        self.input.iter_mut().for_each(|plane| plane.resize(end, 0.0));
        self.silence -= (end - filled) as u64;
    }

    /// Makes blocks until there is a frame to go out. False if the input does not suffice.
    fn refill(&mut self, finished: bool) -> bool {
        let blocks = self.resampler.blocks();
        while self.ready.is_empty() {
            let is_whole = self.room() == 0;
            if !finished && !is_whole {
                return false;
            }
            self.input.iter_mut().for_each(|plane| plane.resize(blocks.input, 0.0));
            self.resampler.block(&self.input, &mut self.output);
            self.input.iter_mut().for_each(Vec::clear);
            let before = self.drop.min(blocks.output as u64);
            self.drop -= before;
            self.ready = before as usize..blocks.output;
        }
        true
    }

    /// Hands up to `most` frames of the block to `visit` and lets go of them.
    fn take(&mut self, most: usize, visit: impl FnOnce(Planes<'_, f32>, usize)) -> usize {
        let (from, count) = (self.ready.start, self.ready.len().min(most));
        visit(Planes::Audio { planes: &self.output, from }, count);
        self.ready.start += count;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decode::{Channels, default_mask},
        storage::random::Random,
    };

    const QUALITIES: [Quality; 3] = [Quality::Fast, Quality::Good, Quality::Best];

    fn info(rate_hz: u32, count: u16, frames: Option<u64>) -> Info {
        Info {
            container: "wav",
            codec: "pcm_f32le",
            rate_hz,
            channels: Channels { count, mask: default_mask(count) },
            sample: Sample::Float,
            frames,
            tags: Vec::new(),
        }
    }

    fn spec(rate_hz: u32, channels: u16, encoding: Encoding) -> Spec {
        Spec { rate_hz, channels, encoding, dither: Dither::None, quality: Quality::Good }
    }

    fn noise(channels: u16, frames: usize, seed: u64) -> Frames {
        let mut random = Random(seed);
        let mut sample = || (random.below(1 << 24) as f32 / 8_388_608.0 - 1.0) * 0.8;
        let plane = |_| (0..frames).map(|_| sample()).collect();
        Frames { planes: (0..channels).map(plane).collect(), wide: Vec::new() }
    }

    fn part(frames: &Frames, from: usize, to: usize) -> Frames {
        let mut part = frames.clone();
        part.truncate(to);
        part.drop_front(from.min(to));
        part
    }

    /// Everything a pipeline makes of `frames` pushed from `start` on, in pushes of up to `cut`
    /// frames and pulls of up to `cut` bytes more than a frame.
    fn render(
        mut pipeline: Pipeline,
        frames: &Frames,
        start: usize,
        cut: u64,
        seed: u64,
    ) -> Vec<u8> {
        let mut random = Random(seed);
        let (mut out, mut at) = (Vec::new(), start);
        let frame_bytes = pipeline.spec.frame_bytes();
        loop {
            let mut buffer = vec![0; frame_bytes + random.below(cut) as usize];
            loop {
                let count = pipeline.pull(&mut buffer);
                assert_eq!(count % frame_bytes, 0);
                if count == 0 {
                    break;
                }
                out.extend_from_slice(&buffer[..count]);
            }
            if pipeline.is_done() {
                return out;
            }
            if at == frames.len() {
                assert!(!pipeline.finished, "a finished pipeline is done once it is pulled empty");
                pipeline.finish();
                continue;
            }
            let end = (at + 1 + random.below(cut) as usize).min(frames.len());
            if pipeline.push(at as u64, &part(frames, at, end)) {
                at = end;
            }
        }
    }

    fn whole(info: &Info, spec: Spec, frames: &Frames) -> Vec<u8> {
        render(Pipeline::new(info, spec, 0, None).expect("possible"), frames, 0, 5000, 1)
    }

    /// The promise the node stands on: a slice is the slice of the whole, however it was made.
    #[test]
    fn any_slice_is_bit_identical_to_the_whole() {
        let pairs = [
            (44100, 48000, 2, 2),
            (48000, 44100, 1, 2),
            (96000, 44100, 2, 1),
            (8000, 48000, 6, 2),
            (22050, 16000, 2, 2),
            (44100, 44100, 2, 2),
            (44100, 192_000, 1, 1),
        ];
        let mut random = Random(11);
        for (from_hz, to_hz, channels, to_channels) in pairs {
            for quality in QUALITIES {
                let frames = noise(channels, 15_000 + random.below(3000) as usize, 5);
                let encoding = [Encoding::F32le, Encoding::S16le][random.below(2) as usize];
                let dither = [Dither::None, Dither::Tpdf][random.below(2) as usize];
                let spec = Spec { quality, dither, ..spec(to_hz, to_channels, encoding) };
                let promised = [None, Some(frames.len() as u64)][random.below(2) as usize];
                let info = info(from_hz, channels, promised);
                let whole = whole(&info, spec, &frames);
                let total = frames_out(frames.len() as u64, from_hz, to_hz);
                assert_eq!(whole.len() as u64, total * spec.frame_bytes() as u64);
                for seed in 0..12 {
                    let from = random.below(total);
                    let to = (random.below(3) > 0).then(|| from + random.below(total - from + 1));
                    let pipeline = Pipeline::new(&info, spec, from, to).expect("possible");
                    let first = pipeline.first_frame_in();
                    let start = first - random.below(first + 1).min(100);
                    let start = start.min(frames.len() as u64) as usize;
                    let slice = render(pipeline, &frames, start, 1 + random.below(6000), seed);
                    let bytes = |frame: u64| frame as usize * spec.frame_bytes();
                    let expected = &whole[bytes(from)..bytes(to.unwrap_or(total))];
                    assert!(
                        slice == expected,
                        "{from_hz} to {to_hz} {quality:?}, frames {from} to {to:?}, seed {seed}"
                    );
                }
            }
        }
    }

    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().expect("4"))).collect()
    }

    #[test]
    fn a_tone_keeps_its_phase_and_level() {
        for (from_hz, to_hz) in [(44100, 48000), (48000, 44100), (8000, 48000), (96000, 44100)] {
            for quality in QUALITIES {
                let tone = |rate: u32, frame: usize| {
                    (frame as f64 * 997.0 * std::f64::consts::TAU / f64::from(rate)).sin() * 0.5
                };
                let plane = (0..20_000).map(|frame| tone(from_hz, frame) as f32).collect();
                let frames = Frames { planes: vec![plane], wide: Vec::new() };
                let spec = Spec { quality, ..spec(to_hz, 1, Encoding::F32le) };
                let out = floats(&whole(&info(from_hz, 1, None), spec, &frames));
                let edge = 9000.min(out.len() / 3);
                for (frame, sample) in out[..out.len() - edge].iter().enumerate().skip(edge) {
                    let error = f64::from(*sample) - tone(to_hz, frame);
                    assert!(error.abs() < 2e-6, "{from_hz} to {to_hz} at {frame}: {error:e}");
                }
            }
        }
    }

    #[test]
    fn promised_frames_are_padded_or_cut() {
        let frames = noise(2, 5000, 3);
        for (from_hz, to_hz) in [(44100, 44100), (44100, 48000)] {
            let spec = spec(to_hz, 2, Encoding::S16le);
            let exact = whole(&info(from_hz, 2, None), spec, &frames);
            for promised in [3000, 7000] {
                let made = whole(&info(from_hz, 2, Some(promised)), spec, &frames);
                assert_eq!(made.len() as u64, 4 * frames_out(promised, from_hz, to_hz));
                let mut changed = part(&frames, 0, 5000.min(promised as usize));
                changed.planes.iter_mut().for_each(|plane| plane.resize(promised as usize, 0.0));
                assert!(made == whole(&info(from_hz, 2, None), spec, &changed));
                // Up to the first block that holds a changed frame.
                let same = 4 * 1900;
                assert!(made[..same] == exact[..same]);
            }
        }
    }

    #[test]
    fn a_slice_of_an_unknown_length_ends_with_the_source() {
        let frames = noise(1, 5000, 3);
        for to_hz in [44100, 48000] {
            let spec = spec(to_hz, 1, Encoding::S16le);
            let pipeline =
                Pipeline::new(&info(44100, 1, None), spec, 100, Some(9_000)).expect("ok");
            let made = render(pipeline, &frames, 0, 700, 4);
            assert_eq!(made.len() as u64, 2 * (frames_out(5000, 44100, to_hz) - 100));
            let behind = Pipeline::new(&info(44100, 1, None), spec, 90_000, None).expect("ok");
            assert!(render(behind, &frames, 0, 700, 4).is_empty());
        }
    }

    #[test]
    fn what_is_left_out_is_silence() {
        let mut frames = noise(2, 9000, 8);
        frames.planes.iter_mut().for_each(|plane| plane[2000..6000].fill(0.0));
        for to_hz in [44100, 48000] {
            let (info, spec) = (info(44100, 2, None), spec(to_hz, 2, Encoding::S16le));
            let mut pipeline = Pipeline::new(&info, spec, 0, None).expect("possible");
            let (mut made, mut count) = (vec![0; 9000 * 8], 0);
            for (position, frames) in [
                (0, part(&frames, 0, 2000)),
                (6000, part(&frames, 6000, 9000)),
                (4000, part(&frames, 0, 500)),
            ] {
                while !pipeline.push(position, &frames) {
                    count += pipeline.pull(&mut made[count..]);
                }
            }
            pipeline.finish();
            count += pipeline.pull(&mut made[count..]);
            assert!(made[..count] == whole(&info, spec, &frames));
        }
    }

    #[test]
    fn a_gap_of_years_holds_no_memory_and_the_slice_ends() {
        let (info, spec) = (info(44100, 2, None), spec(48000, 2, Encoding::S16le));
        let mut pipeline = Pipeline::new(&info, spec, 0, Some(10_000)).expect("possible");
        assert!(pipeline.push(u64::MAX - 5, &noise(2, 100, 1)), "nothing of it is in the slice");
        let mut made = vec![1; 40_004];
        assert_eq!(pipeline.pull(&mut made), 40_000);
        assert!(pipeline.is_done() && made[..40_000].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn integers_wider_than_floats_stay_what_they_are() {
        let wide: Vec<i32> = (0..4000).map(|x: i32| x.wrapping_mul(0x1234_5677)).collect();
        let plane = wide.iter().map(|x| *x as f32 / 2_147_483_648.0).collect();
        let frames = Frames { planes: vec![plane], wide: vec![wide.clone()] };
        let info = Info { sample: Sample::Integer { bits: 32 }, ..info(44100, 1, Some(4000)) };
        let made = whole(&info, spec(44100, 1, Encoding::S32le), &frames);
        let expected: Vec<u8> = wide.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert!(made == expected);
        // Through the mixer they are floats.
        let both = whole(&info, spec(44100, 2, Encoding::S32le), &frames);
        assert_eq!(both.len(), 2 * expected.len());
    }

    #[test]
    fn a_copied_channel_is_the_same_as_a_resampled_one() {
        let mono = noise(1, 4000, 2);
        let stereo =
            Frames { planes: vec![mono.planes[0].clone(), mono.planes[0].clone()], wide: vec![] };
        let spec = spec(48000, 2, Encoding::F32le);
        let copied = whole(&info(44100, 1, None), spec, &mono);
        assert!(copied == whole(&info(44100, 2, None), spec, &stereo));
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let new = |info: &Info, rate_hz, channels| {
            Pipeline::new(info, spec(rate_hz, channels, Encoding::S16le), 0, None).err()
        };
        let source = info(44100, 2, None);
        assert_eq!(new(&source, 48000, 0), Some(SpecError::Channels(0)));
        assert_eq!(new(&source, 48000, 9), Some(SpecError::Channels(9)));
        assert_eq!(new(&source, 0, 2), Some(SpecError::NoRate));
        assert!(matches!(new(&source, 44101, 2), Some(SpecError::Rates(_))));
        assert_eq!(new(&source, 192_000, 8), None);
    }

    #[test]
    fn steady_pushes_do_not_allocate() {
        let (info, spec) = (info(44100, 2, None), spec(48000, 2, Encoding::S16le));
        let frames = noise(2, 1152, 1);
        let mut pipeline = Pipeline::new(&info, spec, 0, None).expect("possible");
        let mut buffer = vec![0; 8192];
        let mut capacity = Vec::new();
        for packet in 0..200 {
            while !pipeline.push(packet * 1152, &frames) {
                while pipeline.pull(&mut buffer) > 0 {}
            }
            let Stage::Resampled(stage) = &pipeline.stage else { panic!("rates differ") };
            capacity.push(stage.input[0].capacity());
        }
        assert!(capacity.iter().all(|frames| *frames == 1176), "{capacity:?}");
    }
}
