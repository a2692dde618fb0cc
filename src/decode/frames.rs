//! Decoded frames between a decoder and what mixes, resamples and quantises them.

/// Frames of every channel, planar, as they came from one or more packets.
///
/// Values are `f32` in -1.0..1.0 (a lossy codec may overshoot). Sources of up to 24 bits are exact
/// in them. Wider integers keep their own values beside, so that they can go through untouched.
#[derive(Debug, Default, Clone)]
pub struct Frames {
    /// One plane per channel, all of one length.
    pub planes: Vec<Vec<f32>>,
    /// The same frames as integers of 32 bits, left-aligned; empty unless the source has more than
    /// 24 bits per sample.
    pub wide: Vec<Vec<i32>>,
}

impl Frames {
    /// No frames, for `channels` planes.
    pub fn new(channels: usize) -> Self {
        Self { planes: vec![Vec::new(); channels], wide: Vec::new() }
    }

    /// Number of frames (samples per channel).
    pub fn len(&self) -> usize {
        self.planes.first().map_or(0, Vec::len)
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets go of the frames and keeps the memory.
    pub fn clear(&mut self) {
        self.planes.iter_mut().for_each(Vec::clear);
        self.wide.iter_mut().for_each(Vec::clear);
    }

    /// Lets go of the first `count` frames.
    pub fn drop_front(&mut self, count: usize) {
        self.planes.iter_mut().for_each(|plane| drop(plane.drain(..count)));
        self.wide.iter_mut().for_each(|plane| drop(plane.drain(..count)));
    }

    /// Keeps the first `count` frames.
    pub fn truncate(&mut self, count: usize) {
        self.planes.iter_mut().for_each(|plane| plane.truncate(count));
        self.wide.iter_mut().for_each(|plane| plane.truncate(count));
    }
}
