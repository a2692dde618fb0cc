//! Pure: PCM on its way into an encoder. Bytes that are cut anywhere become blocks of whole frames, of
//! samples that any encoder can bear.

/// Bytes of a sample that is pushed.
const SAMPLE_BYTES: usize = 4;

/// A block of frames that is being filled, interleaved.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Which channel of a frame that is pushed each one of the block is.
    order: &'static [usize],
    /// The loudest that a sample may be.
    limit: f32,
    /// Bytes of a frame that is not whole yet.
    pending: Vec<u8>,
    block: Vec<f32>,
    /// Samples of the block that are there.
    filled: usize,
    frames: u64,
}

impl Incoming {
    /// Takes frames of as many channels as `order` has, in blocks of so many frames. A sample beyond
    /// `limit` is made as loud as that; what is no number is silence.
    pub(super) fn new(order: &'static [usize], block_frames: usize, limit: f32) -> Self {
        let pending = Vec::with_capacity(order.len() * SAMPLE_BYTES);
        let block = vec![0.0; order.len() * block_frames];
        Self { order, limit, pending, block, filled: 0, frames: 0 }
    }

    /// Frames that were pushed whole.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// The block, once it is full.
    pub(super) fn block(&self) -> &[f32] {
        debug_assert!(self.is_full(), "it is asked for when it is full");
        &self.block
    }

    /// Copies the block to `planes`, one of each channel.
    #[cfg(any(feature = "aac", feature = "mp3"))]
    pub(super) fn copy_to(&self, planes: &mut [Vec<f32>]) {
        for (channel, plane) in planes.iter_mut().enumerate() {
            plane.clear();
            plane.extend(self.block().iter().skip(channel).step_by(self.order.len()));
        }
    }

    /// Takes floats in little endian until the block is full, and returns what is left then; `None` where
    /// all was taken and there is room for more. A full block is used before more is taken.
    pub(super) fn fill<'a>(&mut self, pcm: &'a [u8]) -> Option<&'a [u8]> {
        self.begin();
        let rest = self.complete(pcm);
        let frame_bytes = self.order.len() * SAMPLE_BYTES;
        let room = (self.block.len() - self.filled) / self.order.len();
        let (frames, rest) = rest.split_at(room.min(rest.len() / frame_bytes) * frame_bytes);
        frames.chunks_exact(frame_bytes).for_each(|frame| self.put(frame));
        if self.is_full() {
            return Some(rest);
        }
        self.pending.extend_from_slice(rest);
        None
    }

    /// Fills the block with silence.
    pub(super) fn fill_with_silence(&mut self) {
        self.begin();
        self.block[self.filled..].fill(0.0);
        self.filled = self.block.len();
    }

    fn is_full(&self) -> bool {
        self.filled == self.block.len()
    }

    /// Makes room where the block was used.
    fn begin(&mut self) {
        if self.is_full() {
            self.filled = 0;
        }
    }

    /// Ends the frame that was cut, and returns what is behind it.
    fn complete<'a>(&mut self, pcm: &'a [u8]) -> &'a [u8] {
        let frame_bytes = self.order.len() * SAMPLE_BYTES;
        if self.pending.is_empty() {
            return pcm;
        }
        let (head, rest) = pcm.split_at(pcm.len().min(frame_bytes - self.pending.len()));
        self.pending.extend_from_slice(head);
        if self.pending.len() == frame_bytes {
            let frame = std::mem::take(&mut self.pending);
            self.put(&frame);
            self.pending = frame;
            self.pending.clear();
        }
        rest
    }

    fn put(&mut self, frame: &[u8]) {
        let into = &mut self.block[self.filled..self.filled + self.order.len()];
        let (samples, _) = frame.as_chunks::<SAMPLE_BYTES>();
        for (sample, from) in into.iter_mut().zip(self.order) {
            *sample = limited(f32::from_le_bytes(samples[*from]), self.limit);
        }
        self.filled += self.order.len();
        self.frames += 1;
    }
}

/// `sample` as loud as it may be; what is no number is silence.
fn limited(sample: f32, limit: f32) -> f32 {
    if sample.is_nan() { 0.0 } else { sample.clamp(-limit, limit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blocks that come of pieces, and what is left in the last one.
    fn blocks<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<f32>>, u64) {
        let (mut incoming, mut blocks) = (Incoming::new(&[1, 0], 3, 2.0), Vec::new());
        for mut piece in pieces {
            while let Some(rest) = incoming.fill(piece) {
                blocks.push(incoming.block().to_vec());
                piece = rest;
            }
        }
        incoming.fill_with_silence();
        blocks.push(incoming.block().to_vec());
        (blocks, incoming.frames())
    }

    fn bytes(samples: &[f32]) -> Vec<u8> {
        samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
    }

    #[test]
    fn the_blocks_are_the_same_however_the_bytes_are_cut() {
        let samples: Vec<f32> = (0..16).map(|sample| sample as f32 / 16.0).collect();
        let pcm = bytes(&samples);
        let whole = blocks([&pcm[..]].into_iter());
        assert_eq!((whole.0.len(), whole.1), (3, 8));
        assert_eq!(whole.0[0], [1, 0, 3, 2, 5, 4].map(|sample| sample as f32 / 16.0));
        assert_eq!(whole.0[2][2..], [15.0 / 16.0, 14.0 / 16.0, 0.0, 0.0]);
        for piece in 1..pcm.len() {
            assert_eq!(blocks(pcm.chunks(piece)), whole, "in pieces of {piece}");
        }
        // A frame that is not whole is no frame.
        assert_eq!(blocks([&pcm[..57]].into_iter()).1, 7);
    }

    #[test]
    fn samples_are_numbers_within_the_limit() {
        let odd = [f32::NAN, f32::INFINITY, -1e16, 1.5, -0.0, f32::NEG_INFINITY];
        let (blocks, _) = blocks([&bytes(&odd)[..]].into_iter());
        assert_eq!(blocks[0], [2.0, 0.0, 1.5, -2.0, -2.0, 0.0]);
    }
}
