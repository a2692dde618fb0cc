//! The grid on which decoders of AAC start anew.
//!
//! Where a band is only noise, AAC says its energy, and the decoder makes the noise. It draws it from
//! a generator that goes on from packet to packet, so that frames would depend on where a decode
//! began. Therefore the decoder of every decode is a new one at each packet whose number is divisible
//! by [`GRID_PACKETS`], whether the stream has noise or not: PCM depends on the source alone. The
//! packet before is decoded first and dropped, for the overlap of the transform.

use symphonia::core::{
    codecs::audio::AudioDecoder,
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::Error;

/// Packets from one point of the grid to the next.
///
/// A new decoder costs as much as ten packets (152 us, of which most goes into the tables of a window;
/// a packet of stereo at 98 kbit/s 14.5): the grid takes 1.8 % of a decode. Who jumps into the middle
/// pays for it with 5 ms in the mean. With 128 packets that would be 1 ms, and 9 %.
pub(super) const GRID_PACKETS: u64 = 640;

/// Where on the grid a decode is.
#[derive(Debug, Default)]
pub(super) struct Grid {
    /// The packet before the next point of the grid, once it has come; empty if it is lost.
    before: Vec<u8>,
    /// The decoder is new, and has given nothing yet.
    is_new: bool,
}

impl Grid {
    /// The grid of a codec, if it has one.
    pub(super) fn of(codec: &str) -> Option<Self> {
        (codec == "aac").then(|| Self { before: Vec::new(), is_new: true })
    }

    /// Whether a packet is the first behind a point of the grid.
    pub(super) fn is_at(packet: u64) -> bool {
        packet > 0 && packet.is_multiple_of(GRID_PACKETS)
    }

    /// What came before is lost.
    pub(super) fn forget(&mut self) {
        self.before.clear();
        self.is_new = true;
    }

    /// Keeps a packet that the next one will need.
    pub(super) fn keep(&mut self, packet: u64, data: &[u8]) {
        if Self::is_at(packet + 1) {
            self.before.clear();
            self.before.extend_from_slice(data);
        }
    }

    /// A new decoder that has heard the packet before the grid's point.
    pub(super) fn restart(
        &mut self,
        make: impl Fn() -> Result<Box<dyn AudioDecoder>, Error>,
    ) -> Result<Box<dyn AudioDecoder>, Error> {
        let mut decoder = make()?;
        let before = std::mem::take(&mut self.before);
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, &before);
        if !before.is_empty() && decoder.decode_ref(&packet).is_err() {
            decoder = make()?;
        }
        self.before = before;
        self.forget();
        Ok(decoder)
    }

    /// Says whether a packet decoded. True: the decoder has to be replaced by a new one. A damaged
    /// packet that was its first may have told it of channels that the stream does not have.
    pub(super) fn has_decoded(&mut self, is_decoded: bool) -> bool {
        std::mem::take(&mut self.is_new) && !is_decoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_follow_each_other_and_the_first_packet_is_none() {
        let points: Vec<u64> = (0..1900).filter(|packet| Grid::is_at(*packet)).collect();
        assert_eq!(points, [640, 1280]);
    }

    #[test]
    fn only_the_packet_before_a_point_is_kept() {
        let mut grid = Grid::of("aac").expect("it has noise");
        assert!(Grid::of("mp3").is_none());
        for packet in 0..=GRID_PACKETS {
            grid.keep(packet, &[packet as u8]);
            let is_there = packet >= GRID_PACKETS - 1;
            assert_eq!(grid.before.first(), is_there.then_some(&127));
        }
        grid.forget();
        assert!(grid.before.is_empty());
    }

    #[test]
    fn a_new_decoder_that_stumbles_at_once_is_replaced_once() {
        let mut grid = Grid::default();
        grid.forget();
        assert_eq!(
            [false, false, true].map(|is_decoded| grid.has_decoded(is_decoded)),
            [true, false, false]
        );
        grid.forget();
        assert_eq!([true, false].map(|is_decoded| grid.has_decoded(is_decoded)), [false, false]);
    }
}
