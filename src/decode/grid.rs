//! The grids on which decoders of AAC, HE-AAC and Opus start anew.
//!
//! Where a band is only noise, AAC says its energy, and the decoder makes the noise. It draws it from
//! a generator that goes on from packet to packet, so that frames would depend on where a decode
//! began. HE-AAC does so too with the bands that it replicates, and Opus, which also predicts each
//! packet from the ones before without an end. Therefore the decoder of every decode is a new one at
//! each packet whose number is divisible by that of the [`Grid`], whether the stream has noise or not:
//! PCM depends on the source alone. The packets right before, its lead, are decoded first and dropped:
//! for the overlap of the transform, and for what is predicted to come near to what was meant.

use symphonia::core::{
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::{Error, he_aac, opus, spares::Lent};

/// Packets of AAC from one point of the grid to the next.
///
/// A new decoder costs as much as ten packets (152 us, of which most goes into the tables of a window;
/// a packet of stereo at 98 kbit/s 14.5): the grid takes 3.5 % of a decode. Who jumps into the middle
/// pays for it with 2.5 ms in the mean. With 128 packets that would be 1 ms, and 9 %; with 640 a jump
/// took up to 7 ms, with 384 up to 5.3 (`cargo bench --bench listening -- jumps`, 5 asked).
const AAC_PACKETS: u64 = 320;
/// Frames of a packet of AAC.
const AAC_FRAMES: u64 = 1024;
/// Blocks that a frame of ADTS has at most: each is as long as a packet.
const ADTS_BLOCKS: u64 = 4;

/// Packets of HE-AAC before those that are heard. Its bands are predicted from those of the packet
/// before, up to one with a header of the extension: encoders write those every half second, which is
/// 10 packets of 22.05 kHz. (Of a stream in which no packet but the first stands for itself, nobody
/// hears those bands who begins later.)
const HE_AAC_LEAD: u64 = 16;
/// Packets of HE-AAC from one point of the grid to the next: 12 s.
///
/// A new decoder costs less than a packet (of stereo at 64 kbit/s 190 us): its lead takes 6 % of a
/// decode. Who jumps into the middle pays for it with 27 ms in the mean. With 128 packets that would
/// be 15 ms, and 13 %.
const HE_AAC_PACKETS: u64 = 256;

/// Frames that a new decoder of Opus is given before those that are heard: 500 ms. The 80 ms of RFC 7845
/// (4.6) are for who seeks: a packet's energies are predicted from those of the one before, so what a new
/// decoder does not know of them halves every 20 ms, and every listener would hear it (19 dB of signal to
/// noise behind 80 ms, 139 behind these).
const OPUS_LEAD_FRAMES: u64 = 24_000;
/// Packets in that at most: they last 2.5 ms at least.
const OPUS_LEAD_PACKETS: u64 = 200;
/// Leads from one point of the grid to the next, so 5 s.
///
/// A new decoder costs as much as one packet of 20 ms (44 us; a packet of stereo at 96 kbit/s 50), and
/// its lead 25: the grid takes 10 % of a decode. Who jumps into the middle pays for it with 7 ms in the
/// mean.
const OPUS_LEADS: u64 = 10;

/// At which packets of a stream decoders start anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    /// Packets from one point to the next.
    every: u64,
    /// Packets before a point that a new decoder is given.
    lead: u64,
    /// Frames of a packet at most, or of a block where a packet has a header of its own.
    packet_frames: u64,
    /// Number of the packet from which they are counted: the first of its stream.
    first: u64,
}

impl Grid {
    /// The grid of a codec, if it has one. The first packet of its stream has `first_frames`, where the
    /// container counts them.
    pub(super) fn of(codec: &str, first_frames: u64) -> Option<Self> {
        match codec {
            "aac" => {
                Some(Self { every: AAC_PACKETS, lead: 1, packet_frames: AAC_FRAMES, first: 0 })
            }
            codec if he_aac::is_it(codec) => Some(Self {
                every: HE_AAC_PACKETS,
                lead: HE_AAC_LEAD,
                packet_frames: he_aac::PACKET_FRAMES,
                first: 0,
            }),
            "opus" => {
                let lead = OPUS_LEAD_FRAMES.div_ceil(first_frames.max(1));
                let lead = lead.min(OPUS_LEAD_PACKETS);
                let every = OPUS_LEADS * lead;
                Some(Self { every, lead, packet_frames: opus::PACKET_FRAMES, first: 0 })
            }
            _ => None,
        }
    }

    /// The same for a stream that begins with a packet of this number.
    pub(super) fn counted_from(self, first: u64) -> Self {
        Self { first, ..self }
    }

    /// Packets from one point to the next, and in the lead of each.
    pub(super) fn entries(self) -> (u64, u64) {
        (self.every, self.lead)
    }

    /// Whether a packet is the first behind a point of the grid.
    pub(super) fn is_at(self, packet: u64) -> bool {
        packet > self.first && (packet - self.first).is_multiple_of(self.every)
    }

    /// The point whose lead begins with a packet.
    pub(super) fn entered_at(self, packet: u64) -> Option<u64> {
        let point = packet + self.lead;
        self.is_at(point).then_some(point)
    }

    /// Whether a packet is of a lead.
    fn is_lead(self, packet: u64) -> bool {
        (packet - self.first) % self.every >= self.every - self.lead
    }

    /// Frames from the start of a lead to the first that may be wanted of whoever enters there.
    pub(super) fn most_frames(self, has_headers: bool) -> i64 {
        let blocks = if has_headers { ADTS_BLOCKS } else { 1 };
        ((self.lead + 1) * self.packet_frames * blocks) as i64
    }
}

/// Where on its grid a decode is.
#[derive(Debug)]
pub(super) struct Restarts {
    grid: Grid,
    /// The lead of the next point, as far as it has come and none of it is lost.
    lead: Vec<Vec<u8>>,
    /// The decoder is new, and has given nothing yet.
    is_new: bool,
}

impl Restarts {
    pub(super) fn new(grid: Grid) -> Self {
        Self { grid, lead: Vec::new(), is_new: true }
    }

    pub(super) fn grid(&self) -> Grid {
        self.grid
    }

    /// What came before is lost.
    pub(super) fn forget(&mut self) {
        self.lead.clear();
        self.is_new = true;
    }

    /// Keeps a packet that the next point will need.
    pub(super) fn keep(&mut self, packet: u64, data: &[u8]) {
        if self.grid.is_lead(packet) {
            self.lead.push(data.to_vec());
        }
    }

    /// Makes of a decoder one that has heard nothing but the lead of the grid's point. Before each packet of
    /// that others may come in by `pause`.
    pub(super) fn restart(
        &mut self,
        decoder: &mut Lent,
        renew: impl Fn(&mut Lent) -> Result<(), Error>,
        pause: impl Fn(),
    ) -> Result<(), Error> {
        renew(decoder)?;
        for data in &self.lead {
            pause();
            let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, data);
            if decoder.decode_ref(&packet).is_err() {
                renew(decoder)?;
            }
        }
        self.forget();
        Ok(())
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

    fn aac() -> Grid {
        Grid::of("aac", 0).expect("it has noise")
    }

    #[test]
    fn points_follow_each_other_and_the_first_packet_is_none() {
        let points: Vec<u64> = (0..1900).filter(|packet| aac().is_at(*packet)).collect();
        assert_eq!(points, [320, 640, 960, 1280, 1600]);
        let entries: Vec<_> = (0..1900).filter_map(|packet| aac().entered_at(packet)).collect();
        assert_eq!(entries, points);
    }

    #[test]
    fn the_lead_of_opus_lasts_as_long_whatever_its_packets_do() {
        let grid = |frames| Grid::of("opus", frames).expect("it has a grid");
        let leads =
            [120, 480, 960, 2880, 5760].map(|frames| (grid(frames).lead, grid(frames).every));
        assert_eq!(leads, [(200, 2000), (50, 500), (25, 250), (9, 90), (5, 50)]);
        assert_eq!(grid(0), grid(120), "where nothing is known it is the longest");
        assert_eq!((grid(960).entered_at(225), grid(960).entered_at(226)), (Some(250), None));
    }

    #[test]
    fn only_the_packets_before_a_point_are_kept() {
        assert!(Grid::of("mp3", 1152).is_none());
        for codec in ["aac", "he-aac", "he-aac-v2", "opus"] {
            let grid = Grid::of(codec, 960).expect("it has a grid");
            let mut restarts = Restarts::new(grid);
            for packet in 0..grid.every {
                restarts.keep(packet, &[packet as u8]);
                let first = restarts.lead.first().map(|data| data[0]);
                let start = grid.every - grid.lead;
                assert_eq!(first, (packet >= start).then_some(start as u8));
            }
            assert_eq!(restarts.lead.len() as u64, grid.lead);
            restarts.forget();
            assert!(restarts.lead.is_empty());
        }
    }

    #[test]
    fn a_new_decoder_that_stumbles_at_once_is_replaced_once() {
        let mut restarts = Restarts::new(aac());
        restarts.forget();
        assert_eq!(
            [false, false, true].map(|is_decoded| restarts.has_decoded(is_decoded)),
            [true, false, false]
        );
        restarts.forget();
        assert_eq!(
            [true, false].map(|is_decoded| restarts.has_decoded(is_decoded)),
            [false, false]
        );
    }
}
