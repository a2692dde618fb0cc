//! The resampler with the block before it and the block behind it.

use super::held::Planes;
use crate::decode::{
    mix::Mixer,
    resample::{Blocks, Resampler},
};

/// The resampler with the block before it and the block behind it. Nothing else waits: what does not
/// fit into the block stays with the decoder, as large as its packets are.
#[derive(Debug)]
pub(super) struct Resampled {
    resampler: Resampler,
    /// The block of input as far as it has come.
    pub(super) input: Vec<Vec<f32>>,
    /// Frames of silence that come behind it, before anything else. A number, so that a gap of hours
    /// costs nothing.
    pub(super) silence: u64,
    /// One block of output, of which frames `ready` are still to go out.
    output: Vec<Vec<f32>>,
    ready: std::ops::Range<usize>,
    /// Frames of the filter's output that come before the first of the slice: its delay, at the
    /// start of the timeline, or the pre-roll and what lies before the slice in its block.
    drop: u64,
}

impl Resampled {
    pub(super) fn new(blocks: Blocks, mixer: &Mixer, from: u64) -> Self {
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
    pub(super) fn room(&mut self) -> usize {
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
    pub(super) fn refill(&mut self, finished: bool) -> bool {
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
    pub(super) fn take(
        &mut self,
        most: usize,
        visit: impl FnOnce(Planes<'_, f32>, usize),
    ) -> usize {
        let (from, count) = (self.ready.start, self.ready.len().min(most));
        visit(Planes::Audio { planes: &self.output, from }, count);
        self.ready.start += count;
        count
    }
}
