//! What of a body goes out, in order: its header, frames of a timeline, what pads them.
//!
//! Pure: no I/O, no clock, no executor.

use std::ops::Range;

use super::{Piece, Rendition};
use crate::bufpool::Block;

/// The way through the body of one answer.
#[derive(Debug, Clone)]
pub struct Course {
    rendition: Rendition,
    /// Bytes that go out before the next frame.
    bytes: Vec<u8>,
    /// The first frame of the timeline that has a byte in it.
    from: u64,
    /// The one that is next.
    at: u64,
    /// Bytes of that frame that are left out.
    skip_bytes: u64,
    /// Bytes of frames that are still to go out, where that is known.
    left_bytes: Option<u64>,
    /// Bytes of zero that come last, where that is known.
    padding_bytes: Option<u64>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Bytes that are here: [`Course::bytes`].
    Bytes,
    /// The piece of the timeline that holds this frame: [`Course::cut`], or [`Course::end`] if there
    /// is none.
    Frame(u64),
    /// Nothing.
    End,
}

impl Course {
    /// That of the whole body, or of a part of it, in bytes, where its length is known.
    pub fn of(rendition: &Rendition, part: Option<&Range<u64>>) -> Self {
        let start = rendition.slice.start;
        let header = rendition.header();
        let Some((body, part)) = rendition.body().zip(part) else {
            let frames = rendition.slice.end.map(|end| end - start);
            let frame_bytes = rendition.spec.frame_bytes() as u64;
            return Self {
                rendition: rendition.clone(),
                bytes: header,
                from: start,
                at: start,
                skip_bytes: 0,
                left_bytes: frames.map(|frames| frames.saturating_mul(frame_bytes)),
                padding_bytes: rendition.body().map(|body| body.padding_bytes),
            };
        };
        let parts = body.parts(part.clone());
        let from = start + parts.frames.start;
        Self {
            rendition: rendition.clone(),
            bytes: header[parts.header.start as usize..parts.header.end as usize].to_vec(),
            from,
            at: from,
            skip_bytes: parts.skip_bytes,
            left_bytes: Some(parts.frames_bytes),
            padding_bytes: Some(parts.padding_bytes),
        }
    }

    /// What comes next.
    pub fn step(&mut self) -> Next {
        if self.bytes.is_empty() && self.left_bytes == Some(0) {
            self.pad();
        }
        match (self.bytes.is_empty(), self.left_bytes) {
            (false, _) => Next::Bytes,
            (true, Some(0)) => Next::End,
            (true, _) => Next::Frame(self.at),
        }
    }

    /// The frame of the timeline that is next, whatever comes before it.
    pub fn frame(&self) -> Option<u64> {
        (self.left_bytes != Some(0)).then_some(self.at)
    }

    /// Frames that went out, those before a part not among them.
    pub fn frames_done(&self) -> u64 {
        self.at - self.from
    }

    /// Takes the bytes that are next, as many as fit `into`, and says how many.
    pub fn bytes(&mut self, into: &mut [u8]) -> usize {
        let count = self.bytes.len().min(into.len());
        into[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes.drain(..count);
        count
    }

    /// What of `piece`, which holds the next frame, goes out.
    pub fn cut(&mut self, piece: &Piece) -> Block {
        let frame_bytes = self.rendition.spec.frame_bytes() as u64;
        let from = (self.at - piece.first) * frame_bytes + self.skip_bytes;
        let there = piece.block.len() as u64 - from;
        let count = self.left_bytes.map_or(there, |left| left.min(there));
        self.left_bytes = self.left_bytes.map(|left| left - count);
        let to = from + count;
        self.at = piece.first + to / frame_bytes;
        self.skip_bytes = to % frame_bytes;
        piece.block.slice(from as usize..to as usize)
    }

    /// The timeline ended before the next frame.
    pub fn end(&mut self) {
        self.left_bytes = Some(0);
    }

    /// The frames are out: what is behind them comes next.
    fn pad(&mut self) {
        let frames = self.frames_done();
        let padding_bytes = self.padding_bytes.replace(0);
        let padding_bytes = padding_bytes.unwrap_or_else(|| self.rendition.padding_bytes(frames));
        self.bytes = vec![0; padding_bytes as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bufpool::{BufPool, Class, Options},
        decode::{Channels, Info, Sample},
        pcm::{Ask, Format, SourceName, timeline::Seconds},
    };
    use std::time::Duration;

    fn seconds(text: &str) -> Option<Seconds> {
        Some(text.parse().unwrap())
    }

    fn rendition(format: Format, frames: Option<u64>, t: &str, d: Option<&str>) -> Rendition {
        let info = Info {
            container: "wav",
            codec: "pcm_s16le",
            rate_hz: 1000,
            channels: Channels { count: 1, mask: 4 },
            sample: Sample::Integer { bits: 16 },
            frames,
            tags: Vec::new(),
            tracks: Vec::new(),
        };
        let source = SourceName { name: "a".into(), path: "b".into(), is_file: true };
        let (rate_hz, channels, dither, quality, choice) = Default::default();
        let (start, duration) = (seconds(t), d.and_then(seconds));
        let ask =
            Ask { source, format, rate_hz, channels, dither, quality, start, duration, choice };
        Rendition::new(info, &ask).unwrap()
    }

    /// A timeline of so many frames in pieces of 10, each frame the bytes of its number.
    fn piece(pool: &BufPool, rendition: &Rendition, frames: u64, frame: u64) -> Option<Piece> {
        let frame_bytes = rendition.spec.frame_bytes();
        let first = frame - frame % 10;
        let range = first..(first + 10).min(frames);
        if frame >= frames {
            return None;
        }
        let bytes: Vec<u8> =
            range.clone().flat_map(|frame| vec![frame as u8; frame_bytes]).collect();
        let mut block = pool.take(Class::Small).unwrap();
        block[..bytes.len()].copy_from_slice(&bytes);
        let (frames, cost) = (range.end - first, Duration::ZERO);
        let block = block.freeze(bytes.len());
        Some(Piece { first, frames, cost, is_torn: false, is_missing: false, block })
    }

    fn all(rendition: &Rendition, frames: u64, part: Option<Range<u64>>) -> Vec<u8> {
        let pool = BufPool::new(Options { budget_bytes: 1 << 20 });
        let (mut course, mut out) = (Course::of(rendition, part.as_ref()), Vec::new());
        loop {
            match course.step() {
                Next::End => return out,
                Next::Bytes => {
                    let mut some = [0; 7];
                    let count = course.bytes(&mut some);
                    out.extend(&some[..count]);
                }
                Next::Frame(frame) => match piece(&pool, rendition, frames, frame) {
                    Some(piece) => out.extend(&course.cut(&piece)[..]),
                    None => course.end(),
                },
            }
        }
    }

    #[test]
    fn every_part_of_a_body_is_that_part_of_the_whole() {
        for format in [Format::Wav24, Format::Wav, Format::F32le] {
            for (t, d) in [("0", None), ("0.003", None), ("0.012", Some("0.011"))] {
                let rendition = rendition(format, Some(37), t, d);
                let whole = all(&rendition, 37, None);
                let length = rendition.body().unwrap().bytes();
                assert_eq!(whole.len() as u64, length);
                for start in 0..length {
                    for end in [start + 1, start + 5, start + 64, length] {
                        let end = end.min(length);
                        let part = all(&rendition, 37, Some(start..end));
                        assert_eq!(part, whole[start as usize..end as usize], "{start}..{end}");
                    }
                }
            }
        }
    }

    #[test]
    fn frames_before_a_part_did_not_go_out() {
        let rendition = rendition(Format::S16le, Some(37), "0", None);
        let pool = BufPool::new(Options { budget_bytes: 1 << 20 });
        let mut course = Course::of(&rendition, Some(&(40..74)));
        assert_eq!((course.step(), course.frames_done()), (Next::Frame(20), 0));
        course.cut(&piece(&pool, &rendition, 37, 20).unwrap());
        assert_eq!(course.frames_done(), 10);
    }

    #[test]
    fn where_the_end_is_not_known_the_timeline_tells() {
        let open = rendition(Format::Wav24, None, "0.003", None);
        let body = all(&open, 36, None);
        let header = open.header().len();
        assert_eq!(body.len(), header + 33 * 3 + 1, "an odd number of bytes is padded");
        assert_eq!((body[header], body[body.len() - 2]), (3, 35));
        let cut = rendition(Format::S16le, None, "0.003", Some("0.010"));
        assert_eq!(all(&cut, 36, None).len(), 20);
        assert_eq!(all(&cut, 8, None).len(), 10);
    }
}
