//! The resampler with the block that it works on.

use super::held::Planes;
use crate::decode::{
    mix::Mixer,
    resample::{Blocks, Resampler},
};

/// The resampler with one block, which is input until it is whole and output until that has gone
/// out. Nothing else waits: what does not fit stays with the decoder, as large as its packets are.
#[derive(Debug)]
pub(super) struct Resampled {
    resampler: Resampler,
    /// The block of input as far as it has come, or a block of output.
    pub(super) planes: Vec<Vec<f32>>,
    /// Frames of silence that come behind the input, before anything else. A number, so that a gap
    /// of hours costs nothing.
    pub(super) silence: u64,
    /// Frames of the output that are still to go out. Empty: the planes are input.
    ready: std::ops::Range<usize>,
    /// Frames of the filter's output that come before the first of the slice: its delay, at the
    /// start of the timeline, or the pre-roll and what lies before the slice in its block.
    drop: u64,
}

impl Resampled {
    pub(super) fn new(blocks: Blocks, mixer: &Mixer, from: u64) -> Self {
        let planes = mixer.planes();
        let start = blocks.holding(from).saturating_sub(1) * blocks.output as u64;
        let frames = blocks.input.max(blocks.output);
        Self {
            resampler: Resampler::new(blocks, planes),
            planes: (0..planes).map(|_| Vec::with_capacity(frames)).collect(),
            silence: 0,
            ready: 0..0,
            drop: from + blocks.delay() - start,
        }
    }

    /// How many frames may be appended to the planes now: none before all silence has gone into
    /// them, and none while they are output.
    pub(super) fn room(&mut self) -> usize {
        if !self.ready.is_empty() {
            return 0;
        }
        self.add_silence();
        self.resampler.blocks().input - self.filled()
    }

    /// Frames of the block of input that are there.
    fn filled(&self) -> usize {
        self.planes.first().map_or(0, Vec::len)
    }

    fn add_silence(&mut self) {
        let (filled, most) = (self.filled(), self.resampler.blocks().input);
        let end = most.min(filled + self.silence.min(most as u64) as usize);
        self.planes.iter_mut().for_each(|plane| plane.resize(end, 0.0));
        self.silence -= (end - filled) as u64;
    }

    /// Makes blocks until there is a frame to go out. False if the input does not suffice.
    pub(super) fn refill(&mut self, finished: bool) -> bool {
        let blocks = self.resampler.blocks();
        while self.ready.is_empty() {
            let is_whole = self.room() == 0;
            if !finished && !is_whole {
                return false;
            }
            self.planes.iter_mut().for_each(|plane| plane.resize(blocks.input, 0.0));
            self.resampler.block(&mut self.planes);
            let before = self.drop.min(blocks.output as u64);
            self.drop -= before;
            self.ready = before as usize..blocks.output;
            self.begin_if_gone();
        }
        true
    }

    /// Hands up to `most` frames of the block to `visit` and lets go of them.
    pub(super) fn take(
        &mut self,
        most: usize,
        visit: impl FnOnce(Planes<'_, f32>, usize),
    ) -> usize {
        let (from, count) = (self.ready.start, self.ready.len().min(most));
        visit(Planes::Audio { planes: &self.planes, from }, count);
        self.ready.start += count;
        self.begin_if_gone();
        count
    }

    /// Once the output has gone out, the planes are for input again.
    fn begin_if_gone(&mut self) {
        if self.ready.is_empty() {
            self.planes.iter_mut().for_each(Vec::clear);
        }
    }
}
