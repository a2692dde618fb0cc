//! A start in the middle: which packets need not be decoded, and which are decoded only so that the
//! ones behind them come out as they would from the start.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Packets before the wanted frame pass through a queue. Those that the pre-roll of their codec
//! still needs stay in it, as copies; the others drop out undecoded. How much pre-roll makes a new
//! decoder bit-identical was measured: MP3 right after 3 packets at 128 kbit/s (395 of 395), Vorbis
//! after 1 (391 of 391), FLAC at once. AAC with noise substitution never is, so it is decoded from
//! the last point on at which every decoder of it is a new one (`grid`), and so are HE-AAC and Opus.

use std::collections::VecDeque;

use super::{
    grid::Grid,
    headers::{Header, Kind},
};

/// What a new decoder needs before a packet to decode it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preroll {
    /// This many packets.
    Packets(usize),
    /// Packets whose main data fills the bit reservoir of MP3 twice, and two more for the overlap
    /// of the transform and the filter banks.
    Reservoir,
    /// None: decoding starts at the last point of the grid, whose place is kept instead.
    Grid(Grid),
}

/// Frames of the longest block of Vorbis.
const VORBIS_FRAMES: i64 = 8192;
/// Packets of MPEG-1, of 96 bytes at least, that surely hold the pre-roll of MP3.
const MPEG1_PACKETS: i64 = 32;

impl Preroll {
    /// The pre-roll of a codec, which may have a grid; `None` if it has to be decoded from the start.
    pub(super) fn of(codec: &str, grid: Option<Grid>) -> Option<Self> {
        match codec {
            _ if grid.is_some() => grid.map(Self::Grid),
            "mp3" => Some(Self::Reservoir),
            "vorbis" => Some(Self::Packets(2)),
            "flac" | "alac" => Some(Self::Packets(0)),
            codec if codec.starts_with("pcm") => Some(Self::Packets(0)),
            _ => None,
        }
    }

    /// How many frames before the wanted one a stream has to be entered, so that what is passed from
    /// there on surely holds the pre-roll. `header` is that of any frame of an elementary stream.
    pub(super) fn most_frames(self, header: Option<&Header>) -> i64 {
        match (self, header.map_or(0, |header| header.frames)) {
            (Self::Packets(0), _) => 0,
            // One more than it is, as what starts at the place is not passed.
            (Self::Packets(count), _) => (count as i64 + 1) * VORBIS_FRAMES,
            (Self::Reservoir, 1152) => MPEG1_PACKETS * 1152,
            (Self::Reservoir, frames) => (KEPT as i64 + 1) * i64::from(frames),
            // A point stands before the lead of one of the grid: that is passed as well.
            (Self::Grid(grid), _) => grid.most_frames(header.is_some()),
        }
    }

    /// Where a container has tables, a stream may be entered at packets that are so many before one
    /// whose number is divisible by so much.
    pub(super) fn entries(self) -> (u64, u64) {
        if let Self::Grid(grid) = self { grid.entries() } else { (1, 1) }
    }

    /// Whether a stream may be entered at a packet.
    pub(super) fn is_entry(self, packet: u64) -> bool {
        !matches!(self, Self::Grid(_)) || self.entered_at(packet).is_some()
    }

    /// The point of the grid whose lead begins with a packet.
    pub(super) fn entered_at(self, packet: u64) -> Option<u64> {
        if let Self::Grid(grid) = self { grid.entered_at(packet) } else { None }
    }
}

/// The furthest that main data can lie before its MP3 frame: `main_data_begin` has 9 bits.
const RESERVOIR_BYTES: usize = 511;
/// The longest side information, and a checksum: what of a frame surely is no main data.
const SIDE_BYTES: usize = 32 + 2;
/// Packets kept at most, whatever their headers say: 8 kbit/s needs half of them.
const KEPT: usize = 256;

/// A packet that was passed.
#[derive(Debug, Clone)]
pub(super) struct Passed {
    pub(super) data: Vec<u8>,
    pub(super) header: Option<Header>,
    /// Frames that it stands for.
    pub(super) frames: u64,
    /// Main data that it holds at least.
    main_bytes: usize,
}

/// The packets passed last.
#[derive(Debug)]
pub(super) struct Skip {
    preroll: Preroll,
    /// No packet behind those that are passed will be wanted.
    is_scan: bool,
    kept: VecDeque<Passed>,
    /// Sum of their main data.
    main_bytes: usize,
    is_untouched: bool,
}

impl Skip {
    pub(super) fn new(preroll: Preroll) -> Self {
        Self { preroll, is_scan: false, kept: VecDeque::new(), main_bytes: 0, is_untouched: true }
    }

    /// One that passes all there is.
    pub(super) fn scan(preroll: Preroll) -> Self {
        Self { is_scan: true, ..Self::new(preroll) }
    }

    /// The same before anything was passed, of a decoder that needs this much.
    pub(super) fn anew(&self, preroll: Preroll) -> Self {
        Self { is_scan: self.is_scan, ..Self::new(preroll) }
    }

    pub(super) fn preroll(&self) -> Preroll {
        self.preroll
    }

    /// Whether nothing was passed, so that a decoder can simply go on.
    pub(super) fn is_untouched(&self) -> bool {
        self.is_untouched
    }

    /// Passes a packet so far before the wanted frame that no pre-roll holds it, nor one before it.
    pub(super) fn pass_far(&mut self) {
        self.is_untouched = false;
        self.kept.clear();
        self.main_bytes = 0;
    }

    /// Passes a packet undecoded.
    pub(super) fn pass(&mut self, data: &[u8], frames: u64, header: Option<&Header>) {
        self.is_untouched = false;
        self.keep(data, frames, header);
    }

    /// Keeps a packet, and lets go of those that no pre-roll needs any more. One that was decoded, for
    /// it was the first, will be part of the pre-roll all the same.
    pub(super) fn keep(&mut self, data: &[u8], frames: u64, header: Option<&Header>) {
        if matches!(self.preroll, Preroll::Packets(0) | Preroll::Grid(_)) || self.is_scan {
            return;
        }
        // The memory of the packet that drops out is that of the one that comes in.
        let mut memory = Vec::new();
        while self.has_spare() {
            let oldest = self.kept.pop_front().expect("spare packets are there");
            self.main_bytes -= oldest.main_bytes;
            memory = oldest.data;
        }
        memory.clear();
        memory.extend_from_slice(data);
        let main_bytes = header.map_or(0, main_bytes);
        self.main_bytes += main_bytes;
        self.kept.push_back(Passed { data: memory, header: header.copied(), frames, main_bytes });
    }

    /// The packets to decode before the first that is wanted.
    pub(super) fn into_preroll(self) -> VecDeque<Passed> {
        self.kept
    }

    /// Whether the pre-roll is complete without the oldest packet.
    fn has_spare(&self) -> bool {
        let Some(oldest) = self.kept.front() else { return false };
        match self.preroll {
            Preroll::Packets(count) => self.kept.len() > count,
            Preroll::Grid(_) => true,
            Preroll::Reservoir => {
                let newest = self.kept.iter().rev().take(2).map(|packet| packet.main_bytes);
                let behind = self.main_bytes - oldest.main_bytes;
                let filled = behind.saturating_sub(newest.sum()) >= 2 * RESERVOIR_BYTES;
                filled && self.kept.len() > 3 || self.kept.len() >= KEPT
            }
        }
    }
}

/// Main data that a frame holds at least.
fn main_bytes(header: &Header) -> usize {
    match header.kind {
        Kind::Mpeg { .. } => header.bytes.saturating_sub(header.header_bytes + SIDE_BYTES),
        Kind::Adts => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of an MPEG 1 frame of 44.1 kHz with this index of bit rates.
    fn header(index: u8) -> Header {
        Header::parse(&[0xFF, 0xFB, index << 4, 0x64]).unwrap()
    }

    fn kept(header: &Header, packets: usize) -> usize {
        let mut skip = Skip::new(Preroll::Reservoir);
        (0..packets).for_each(|_| skip.pass(&[0; 32], 1152, Some(header)));
        skip.into_preroll().len()
    }

    #[test]
    fn the_reservoir_is_filled_twice_before_two_packets() {
        // 417 bytes of 128 kbit/s hold 379 of main data, 104 of 32 kbit/s hold 66.
        let at_128 = kept(&header(9), 1000);
        assert_eq!(at_128, 1 + 3 + 2, "three fill it, two overlap, and the oldest is still there");
        let at_32 = kept(&header(1), 1000);
        assert_eq!(at_32, 1 + 16 + 2);
        assert_eq!(kept(&header(1), 5), 5);
    }

    #[test]
    fn packets_that_hold_no_main_data_are_bounded() {
        let mut tiny = header(1);
        tiny.bytes = 24;
        assert_eq!(kept(&tiny, 10_000), KEPT);
    }

    #[test]
    fn codecs_without_memory_keep_nothing() {
        let mut skip = Skip::new(Preroll::of("flac", None).unwrap());
        (0..100).for_each(|_| skip.pass(&[0; 32], 4096, None));
        assert!(skip.into_preroll().is_empty());
        assert_eq!(Preroll::of("adpcm_ms", None), None);
    }

    #[test]
    fn no_stream_keeps_more_than_is_passed_from_where_it_is_entered() {
        for index in 1..15 {
            // A stream of the lowest rate is the hardest.
            let frames = i64::from(header(index).frames);
            let passed = Preroll::Reservoir.most_frames(Some(&header(index))) / frames;
            assert!(kept(&header(index), 1000) as i64 <= passed, "index {index}");
        }
    }

    #[test]
    fn a_scan_keeps_nothing() {
        let mut skip = Skip::scan(Preroll::Reservoir);
        (0..100).for_each(|_| skip.pass(&[0; 32], 1152, Some(&header(9))));
        assert!(
            skip.anew(Preroll::Reservoir).into_preroll().is_empty()
                && skip.into_preroll().is_empty()
        );
    }
}
