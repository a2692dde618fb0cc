//! Samples in a row: the demultiplexer of WAVE, and of CAF where it has no codec.

use symphonia::core::{
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::{Found, Next, Piece, TOGETHER_BYTES};
use crate::decode::source::Window;

/// Samples in a row, cut into packets of whole frames.
pub(in crate::decode) struct Samples<'y> {
    window: Window<'y>,
    /// Where they start in the object.
    start: u64,
    frame_bytes: usize,
    /// Length of the packet lent out last: it is passed at the next call.
    lent: usize,
}

impl<'y> Samples<'y> {
    /// `window` holds the samples and nothing else.
    pub(in crate::decode) fn new(window: Window<'y>, frame_bytes: u32) -> Self {
        let start = window.position();
        Self { window, start, frame_bytes: frame_bytes as usize, lent: 0 }
    }

    pub(super) fn next(&mut self) -> Next<'_> {
        self.window.skip(std::mem::take(&mut self.lent) as u64);
        let most = TOGETHER_BYTES - TOGETHER_BYTES % self.frame_bytes;
        let there = self.window.ahead(most);
        let frames = there.len().min(most) / self.frame_bytes;
        if frames == 0 {
            return Next::End;
        }
        self.lent = frames * self.frame_bytes;
        let (nominal, data) = (frames as u64, &there[..self.lent]);
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::new(nominal), data);
        Next::Piece(Piece::new(packet, nominal))
    }

    /// See [`Demux::find`](super::Demux::find).
    pub(super) fn find(&mut self, frame: u64) -> Found {
        let frame_bytes = self.frame_bytes as u64;
        let frame = frame.min(self.window.end().saturating_sub(self.start) / frame_bytes);
        self.window.go_to(self.start + frame * frame_bytes);
        self.lent = 0;
        Found { packet: 0, frame }
    }
}
