//! Samples in a row: the demultiplexer of WAVE.

use symphonia::core::{
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::{Next, Piece};
use crate::decode::source::Window;

/// Samples in a row, cut into packets of whole frames.
pub(in crate::decode) struct Samples<'y> {
    window: Window<'y>,
    frame_bytes: usize,
    /// Length of the packet lent out last: it is passed at the next call.
    lent: usize,
}

/// Bytes of a packet at most.
const PACKET_BYTES: usize = 8 << 10;

impl<'y> Samples<'y> {
    /// `window` holds the samples and nothing else.
    pub(in crate::decode) fn new(window: Window<'y>, frame_bytes: u32) -> Self {
        Self { window, frame_bytes: frame_bytes as usize, lent: 0 }
    }

    pub(super) fn next(&mut self) -> Next<'_> {
        self.window.skip(std::mem::take(&mut self.lent) as u64);
        let most = PACKET_BYTES - PACKET_BYTES % self.frame_bytes;
        let there = self.window.ahead(most);
        let frames = there.len().min(most) / self.frame_bytes;
        if frames == 0 {
            return Next::End;
        }
        self.lent = frames * self.frame_bytes;
        let (nominal, data) = (frames as u64, &there[..self.lent]);
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::new(nominal), data);
        Next::Piece(Piece { packet, nominal, trimmed: 0, start: None, header: None })
    }

    /// See [`Demux::pass`](super::Demux::pass).
    pub(super) fn pass(&mut self, frames: u64) -> u64 {
        self.window.skip(frames.saturating_mul(self.frame_bytes as u64));
        frames
    }
}
