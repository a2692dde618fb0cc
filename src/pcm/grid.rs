//! Where the PCM of a timeline is cut into windows, and these into pieces.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A window is what is made in one go: the largest power of two of frames that fits a block and half a
//! second. Decoders begin where a window does, so that what they make fits together whoever began it.
//! The first window of a decoder comes out in quarters, since somebody waits for it; the others whole.

use std::{ops::Range, time::Duration};

use crate::{
    bufpool::{Block, Class},
    decode::Spec,
};

/// Into how many pieces the first window of a decoder is cut.
const FIRST_PIECES: u64 = 4;

/// The cuts of one timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    window_frames: u64,
    frame_bytes: u64,
}

/// Frames that lie side by side, made once and shared by all who listen.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The first of them on its timeline.
    pub first: u64,
    /// How many.
    pub frames: u64,
    /// Time of the core that it took to make them; nothing for one who did not wait for that.
    pub cost: Duration,
    /// Something of the source was missing, and may be there when they are made another time.
    pub is_torn: bool,
    /// They stand in the place of a segment that is missing, or of one of which something is.
    pub is_missing: bool,
    /// Their bytes and nothing else.
    pub block: Block,
}

impl Piece {
    /// Which frames it holds.
    pub fn range(&self) -> Range<u64> {
        self.first..self.first + self.frames
    }
}

impl Grid {
    /// That of PCM like this.
    pub fn of(spec: &Spec) -> Self {
        let frame_bytes = spec.frame_bytes() as u64;
        let fit = Class::Large.bytes() as u64 / frame_bytes;
        let most = fit.min(u64::from(spec.rate_hz) / 2).max(1);
        Self { window_frames: 1 << most.ilog2(), frame_bytes }
    }

    /// Frames of a window.
    pub fn window_frames(&self) -> u64 {
        self.window_frames
    }

    /// Bytes of a frame.
    pub fn frame_bytes(&self) -> u64 {
        self.frame_bytes
    }

    /// Where the window starts that holds `frame`.
    pub fn window_of(&self, frame: u64) -> u64 {
        frame - frame % self.window_frames
    }

    /// Frames of the piece that starts at `first`, of a decoder that began at `from`.
    pub(super) fn piece_frames(&self, from: u64, first: u64) -> u64 {
        match first < from + self.window_frames {
            true => (self.window_frames / FIRST_PIECES).max(1),
            false => self.window_frames,
        }
    }

    /// The block that so many frames fit.
    pub(super) fn class(&self, frames: u64) -> Class {
        Class::holding((frames * self.frame_bytes) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Dither, Encoding, Quality};

    fn grid(channels: u16, rate_hz: u32, encoding: Encoding) -> Grid {
        let (dither, quality) = (Dither::None, Quality::Good);
        Grid::of(&Spec { rate_hz, channels, encoding, dither, quality })
    }

    #[test]
    fn a_window_fits_a_block_and_half_a_second() {
        let frames = |channels, rate_hz, encoding| grid(channels, rate_hz, encoding).window_frames;
        assert_eq!(frames(2, 48_000, Encoding::S16le), 16_384);
        assert_eq!(frames(2, 8_000, Encoding::S16le), 2048);
        assert_eq!(frames(2, 192_000, Encoding::S24le), 8192);
        assert_eq!(frames(8, 192_000, Encoding::F32le), 2048);
        assert_eq!(frames(1, 1, Encoding::S16le), 1);
    }

    #[test]
    fn a_decoder_begins_with_quarters_and_they_fill_its_first_window() {
        let grid = grid(2, 48_000, Encoding::S16le);
        assert_eq!(grid.window_of(40_000), 32_768);
        let (mut first, mut pieces) = (32_768, Vec::new());
        while first < 3 * 32_768 {
            pieces.push(grid.piece_frames(32_768, first));
            first += pieces.last().unwrap();
        }
        assert_eq!(pieces, [4096, 4096, 4096, 4096, 16_384, 16_384, 16_384]);
        assert_eq!(grid.class(4096), Class::Medium);
        assert_eq!(grid.class(16_384), Class::Large);
    }
}
