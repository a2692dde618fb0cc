//! Packets of a transport stream one after another, over what is none.

use crate::decode::{
    source::Window,
    ts::{Framing, Packet},
};

/// Reads packet by packet.
pub(in crate::decode) struct Packets<'y> {
    window: Window<'y>,
    framing: Framing,
    /// Length of the packet lent out last: it is passed at the next call.
    lent: usize,
}

impl<'y> Packets<'y> {
    /// `window` stands at the first packet.
    pub(in crate::decode) fn new(window: Window<'y>, framing: Framing) -> Self {
        Self { window, framing, lent: 0 }
    }

    /// Where the next packet starts, or what lies before it.
    pub(in crate::decode) fn position(&self) -> u64 {
        self.window.position() + self.lent as u64
    }

    pub(super) fn go_to(&mut self, position: u64) {
        self.window.go_to(position);
        self.lent = 0;
    }

    /// The next packet that came whole, where it starts, and its payload. `None`: there is no more.
    pub(in crate::decode) fn next(&mut self) -> Option<(u64, Packet, &[u8])> {
        self.window.skip(std::mem::take(&mut self.lent) as u64);
        let framing = self.framing;
        loop {
            let bytes = self.window.ahead(framing.bytes());
            if bytes.len() < framing.bytes() {
                return None;
            }
            let packet = framing.packet(bytes).and_then(Packet::parse);
            let Some(packet) = packet else {
                let count = framing.find(self.window.ahead(framing.find_bytes()));
                self.window.skip(count as u64);
                continue;
            };
            if packet.is_damaged {
                self.window.skip(framing.stride as u64);
                continue;
            }
            self.lent = framing.stride;
            let position = self.window.position();
            let bytes = framing.packet(self.window.ahead(framing.bytes()))?;
            let payload = &bytes[packet.payload.clone()];
            return Some((position, packet, payload));
        }
    }
}
