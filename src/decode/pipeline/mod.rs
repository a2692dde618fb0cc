//! The signal path from decoded frames to the bytes of a response: mix, resample, quantise.
//!
//! A pipeline makes one slice of one rendition. What it makes depends on the source, the [`Spec`]
//! and the positions of frames only, never on how the source was cut into packets, where the slice
//! starts, or how large the buffers are that it is pulled into.
//!
//! - `held`: frames that wait side by side, silence among them as a number;
//! - `resampled`: the resampler and the block that it works on.

mod held;
mod resampled;
#[cfg(test)]
mod tests;

use std::iter;

use self::{
    held::{Held, SILENCE_FRAMES, routed},
    resampled::Resampled,
};
use super::{
    Frames, Info, Sample,
    mix::{MAX_CHANNELS, Mixer},
    quantise::{Dither, Encoding, from_wide, quantise, quantise_wide, to_wide},
    resample::{Blocks, Quality, RatesRefused, frames_out},
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

    /// Whether a source can become it.
    ///
    /// # Errors
    /// See [`SpecError`].
    pub fn check(&self, source: &Info) -> Result<(), SpecError> {
        self.blocks(source).map(drop)
    }

    /// The resampler's blocks, where one is needed.
    fn blocks(&self, source: &Info) -> Result<Option<Blocks>, SpecError> {
        for count in [source.channels.count, self.channels] {
            if !(1..=MAX_CHANNELS as u16).contains(&count) {
                return Err(SpecError::Channels(count));
            }
        }
        match (source.rate_hz, self.rate_hz) {
            (0, _) | (_, 0) => Err(SpecError::NoRate),
            (own, wanted) if own == wanted => Ok(None),
            (own, wanted) => Ok(Some(Blocks::of(own, wanted, self.quality)?)),
        }
    }
}

/// Why a source cannot become what was asked for.
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

/// Frames that lie side by side, by the channels of the output.
enum Slices<'a> {
    Float(&'a [&'a [f32]]),
    Wide(&'a [&'a [i32]]),
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
        let blocks = spec.blocks(source)?;
        let mixer = Mixer::new(source.channels, spec.channels);
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
                self.mixer.mix(&frames.planes, skip, count, &mut stage.planes);
                count
            }
        };
        self.accepted += count as u64;
        count == most
    }

    /// The source has ended at `position`: what it did not give before that is silence.
    pub fn finish_at(&mut self, position: u64) {
        if !self.finished {
            self.silence_until(position.min(self.accept_until));
            self.finish();
        }
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
        let Spec { encoding, dither, .. } = self.spec;
        let frame_bytes = self.spec.frame_bytes();
        let mut written = 0;
        loop {
            let room = (into.len() - written) / frame_bytes;
            let (next, rest) = (self.next, &mut into[written..]);
            let frames = self.pull_some(room, |slices, count| {
                let into = &mut rest[..count * frame_bytes];
                match slices {
                    Slices::Float(slices) => quantise(encoding, dither, next, slices, into),
                    Slices::Wide(slices) => quantise_wide(encoding, dither, next, slices, into),
                }
            });
            if frames == 0 {
                return written;
            }
            written += frames * frame_bytes;
        }
    }

    /// Appends up to `most` frames to `into` as they are before they are rounded, and says how many. Zero
    /// means that more must be pushed, or that [`is_done`](Self::is_done).
    pub fn pull_frames(&mut self, most: usize, into: &mut Frames) -> usize {
        let mut taken = 0;
        loop {
            let frames = self.pull_some(most - taken, |slices, _| match slices {
                Slices::Float(slices) => {
                    let planes = into.planes.iter_mut().zip(slices);
                    planes.for_each(|(plane, slice)| plane.extend_from_slice(slice));
                }
                Slices::Wide(slices) => {
                    let planes = into.planes.iter_mut().zip(slices);
                    planes.for_each(|(plane, slice)| {
                        plane.extend(slice.iter().map(|sample| from_wide(*sample)));
                    });
                }
            });
            if frames == 0 {
                return taken;
            }
            taken += frames;
        }
    }

    /// Hands up to `most` frames that lie side by side to `visit`; 0 if there are none.
    fn pull_some(&mut self, most: usize, visit: impl FnOnce(Slices<'_>, usize)) -> usize {
        let left = self.until.map_or(u64::MAX, |until| until.saturating_sub(self.next));
        let most = left.min(most.min(SILENCE_FRAMES) as u64) as usize;
        if most == 0 {
            return 0;
        }
        let routes = self.mixer.routes();
        let frames = match &mut self.stage {
            Stage::Direct(held) => held.take(most, |planes, count| {
                visit(Slices::Float(&routed(planes, routes, count)[..routes.len()]), count);
            }),
            Stage::Wide(held) => held.take(most, |planes, count| {
                visit(Slices::Wide(&routed(planes, routes, count)[..routes.len()]), count);
            }),
            Stage::Resampled(stage) => {
                if !stage.refill(self.finished) {
                    return 0;
                }
                stage.take(most, |planes, count| {
                    visit(Slices::Float(&routed(planes, routes, count)[..routes.len()]), count);
                })
            }
        };
        self.next += frames as u64;
        frames
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
