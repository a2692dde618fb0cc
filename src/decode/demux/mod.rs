//! Packets out of containers.
//!
//! - `elementary`: MPEG audio and ADTS frames in a row;
//! - `flac`: FLAC;
//! - `samples`: WAVE;
//! - `pages`: Ogg;
//! - `reader`: what symphonia's readers demultiplex.

pub(super) mod elementary;
pub(super) mod flac;
mod pages;
mod reader;
mod samples;

use symphonia::core::packet::PacketRef;

pub(super) use self::{
    pages::{Codec, Pages},
    reader::Reader,
    samples::Samples,
};
use super::headers::Header;

/// One packet, still in its reader's memory.
pub(super) struct Piece<'a> {
    pub(super) packet: PacketRef<'a>,
    /// Frames that it decodes to, by its container.
    pub(super) nominal: u64,
    /// Frames at its end that the track does not have.
    pub(super) trimmed: u64,
    /// Where a link starts with it, where its container says so; negative before its frame 0.
    pub(super) start: Option<i64>,
    /// Its own header, in streams that have nothing else.
    pub(super) header: Option<Header>,
}

/// Packets that their container says were there, and are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// Frames that they held.
    pub(super) frames: u64,
    /// Frames per second, where that is not what the track says.
    pub(super) rate_hz: Option<u32>,
    pub(super) packets: u64,
}

/// What came instead of a packet.
pub(super) enum Next<'a> {
    Piece(Piece<'a>),
    /// Damaged bytes were passed before the next packet.
    Lost(Lost),
    /// The reader could not make sense of some bytes, and may of the next.
    Broken(&'static str),
    /// The next link of a chained stream begins, with tracks of its own.
    Changed,
    End,
}

/// A reader of one container, and which of its tracks is wanted.
pub(super) enum Demux<'y> {
    /// MP3 and ADTS.
    Elementary(elementary::Frames<'y>),
    /// FLAC.
    Flac(flac::Frames<'y>),
    /// WAVE.
    Samples(Samples<'y>),
    /// A file of headers.
    Empty,
    /// Ogg.
    Ogg(Pages<'y>),
    /// All the others.
    Symphonia(Reader<'y>),
}

impl Demux<'_> {
    /// The next packet of the track.
    pub(super) fn next(&mut self) -> Next<'_> {
        match self {
            Self::Elementary(frames) => frames.next_piece(),
            Self::Flac(frames) => frames.next(),
            Self::Samples(samples) => samples.next(),
            Self::Empty => Next::End,
            Self::Ogg(pages) => pages.next(),
            Self::Symphonia(reader) => reader.next(),
        }
    }

    /// Whether the nominal frames of packets are those that they decode to.
    pub(super) fn counts_exactly(&self) -> bool {
        match self {
            Self::Symphonia(reader) => reader.counts_exactly,
            _ => true,
        }
    }

    /// Passes at most `frames` frames without reading them and says how many it passed: only where
    /// their place is known, or can be looked up.
    pub(super) fn pass(&mut self, frames: u64) -> u64 {
        match self {
            Self::Samples(samples) => samples.pass(frames),
            Self::Flac(stream) => stream.go_to(frames),
            _ => 0,
        }
    }
}
