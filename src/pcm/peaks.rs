//! The outline of a timeline: its lowest and highest sample in each of so many equal parts.
//!
//! Pure: no I/O, no clock, no executor.

use std::ops::Range;

/// Parts that can be asked for.
pub const MOST_POINTS: u32 = 4096;

/// The samples of one part, of all channels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// The lowest, -1.0 or more.
    pub min: f32,
    /// The highest, 1.0 or less.
    pub max: f32,
}

/// An outline that is being drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Peaks {
    frames: u64,
    peaks: Vec<Peak>,
}

/// What the bytes of an outline begin with.
const MAGIC: &[u8; 4] = b"kpk1";

impl Peaks {
    /// That of `frames` frames in so many parts; in as many as there are frames, if those are fewer.
    pub fn new(frames: u64, points: u32) -> Self {
        let points = frames.min(points.min(MOST_POINTS).into());
        // Nothing is lower or higher before anything is there.
        let nothing = Peak { min: f32::INFINITY, max: f32::NEG_INFINITY };
        Self { frames, peaks: vec![nothing; points as usize] }
    }

    /// Frames of the whole.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The parts.
    pub fn peaks(&self) -> &[Peak] {
        &self.peaks
    }

    /// Takes interleaved frames, `f32` little endian, of which the first is frame `first`.
    pub fn push(&mut self, first: u64, pcm: &[u8], channels: u16) {
        let frame_bytes = 4 * usize::from(channels);
        let mut rest = pcm;
        let mut at = first;
        while let Some(point) = self.point_of(at) {
            let frames = (rest.len() / frame_bytes) as u64;
            let count = (self.range(point).end - at).min(frames);
            if count == 0 {
                return;
            }
            let (part, after) = rest.split_at(count as usize * frame_bytes);
            self.take(point, part);
            (rest, at) = (after, at + count);
        }
    }

    fn take(&mut self, point: usize, part: &[u8]) {
        let peak = &mut self.peaks[point];
        for sample in part.chunks_exact(4) {
            let sample = f32::from_le_bytes(sample.try_into().expect("four bytes"));
            let sample = sample.clamp(-1.0, 1.0);
            peak.min = peak.min.min(sample);
            peak.max = peak.max.max(sample);
        }
    }

    /// The part that a frame lies in.
    fn point_of(&self, frame: u64) -> Option<usize> {
        if frame >= self.frames {
            return None;
        }
        let points = self.peaks.len() as u128;
        let guess = (u128::from(frame) * points / u128::from(self.frames)) as usize;
        // Rounding may have it one part early.
        Some(if frame < self.range(guess).end { guess } else { guess + 1 })
    }

    fn range(&self, point: usize) -> Range<u64> {
        let edge = |point: usize| {
            (point as u128 * u128::from(self.frames) / self.peaks.len() as u128) as u64
        };
        edge(point)..edge(point + 1)
    }

    /// As bytes, to be kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.frames.to_le_bytes());
        for Peak { min, max } in &self.peaks {
            bytes.extend(min.to_le_bytes());
            bytes.extend(max.to_le_bytes());
        }
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) made of an outline in `points` parts.
    pub fn parse(bytes: &[u8], points: u32) -> Option<Self> {
        let (frames, rest) = bytes.strip_prefix(MAGIC)?.split_at_checked(8)?;
        let frames = u64::from_le_bytes(frames.try_into().ok()?);
        let mut peaks = Self::new(frames, points);
        let float = |bytes: &[u8]| bytes.try_into().ok().map(f32::from_le_bytes);
        if rest.len() != 8 * peaks.peaks.len() {
            return None;
        }
        for (peak, bytes) in peaks.peaks.iter_mut().zip(rest.chunks_exact(8)) {
            *peak = Peak { min: float(&bytes[..4])?, max: float(&bytes[4..])? };
        }
        Some(peaks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcm(samples: &[f32]) -> Vec<u8> {
        samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
    }

    /// Against the obvious model, however the frames were cut.
    #[test]
    fn each_part_has_the_extremes_of_its_frames() {
        for (frames, points) in [(1000, 7), (10, 4), (3, 800), (4096, 4096), (5000, 4096)] {
            let sample = |at: u64| ((at * 7919 % 2003) as f32 / 1001.0) - 1.0;
            let samples: Vec<f32> = (0..frames * 2).map(sample).collect();
            let mut peaks = Peaks::new(frames, points);
            for cut in samples.chunks(2 * 37).enumerate() {
                peaks.push(cut.0 as u64 * 37, &pcm(cut.1), 2);
            }
            let count = frames.min(points.into());
            assert_eq!(peaks.peaks().len() as u64, count);
            for (point, peak) in (0..count).zip(peaks.peaks()) {
                let range = (point * frames / count)..((point + 1) * frames / count);
                let part = &samples[2 * range.start as usize..2 * range.end as usize];
                let min = part.iter().copied().fold(f32::INFINITY, f32::min).max(-1.0);
                let max = part.iter().copied().fold(f32::NEG_INFINITY, f32::max).min(1.0);
                assert_eq!(*peak, Peak { min, max }, "{point} of {count}");
            }
            assert_eq!(Peaks::parse(&peaks.to_bytes(), points), Some(peaks));
        }
    }

    #[test]
    fn what_was_not_made_here_is_no_outline() {
        let bytes = Peaks::new(100, 10).to_bytes();
        assert!(Peaks::parse(&bytes, 10).is_some());
        assert_eq!(Peaks::parse(&bytes, 11), None);
        assert_eq!(Peaks::parse(&bytes[..bytes.len() - 1], 10), None);
        assert_eq!(Peaks::parse(b"kpk1", 10), None);
        assert!(Peaks::new(0, 800).peaks().is_empty());
    }
}
