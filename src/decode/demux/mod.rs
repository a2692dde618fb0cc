//! Packets out of containers.
//!
//! - `caf`: packets of CAF;
//! - `column`: the entries of a table, a few KiB of them at a time;
//! - `elementary`: MPEG audio and ADTS frames in a row;
//! - `flac`: FLAC;
//! - `matroska`: Matroska and WebM;
//! - `mp4`: MP4, by tables and by fragments;
//! - `samples`: samples in a row, of WAVE and CAF;
//! - `pages`: Ogg;
//! - `stamp`: when a packet is to be heard;
//! - `ts`: MPEG-TS;
//! - `reader`: what symphonia's readers demultiplex.

pub(super) mod caf;
mod column;
pub(super) mod elementary;
pub(super) mod flac;
pub(super) mod matroska;
pub(super) mod mp4;
mod pages;
mod reader;
mod samples;
mod stamp;
pub(super) mod ts;

use symphonia::core::packet::PacketRef;

pub(super) use self::{
    pages::{Codec, Pages},
    reader::Reader,
    samples::Samples,
    stamp::Stamp,
};
use super::{
    headers::Header,
    index::{Point, State},
};

/// The longest packet that is read: a FLAC frame of 65,535 frames of eight channels of 32 bits.
pub(super) const PACKET_BYTES: usize = 2 << 20;
/// Bytes of plain samples that are one packet at most.
const TOGETHER_BYTES: usize = 8 << 10;
/// The furthest that a link may start before its frame 0: frames of the encoder.
pub(super) const LEAD_FRAMES: i64 = 1 << 16;

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
    /// Where the stream can be entered to read this packet next, and what has to be known there.
    pub(super) place: Option<(u64, State)>,
}

impl<'a> Piece<'a> {
    /// A packet of which nothing else is known.
    pub(super) fn new(packet: PacketRef<'a>, nominal: u64) -> Self {
        Self { packet, nominal, trimmed: 0, start: None, header: None, place: None }
    }
}

/// A packet that was found without reading those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Packets before it, where they are counted; else 0, and no grid is asked.
    pub(super) packet: u64,
    /// Frames before it, as they decode: those of the encoder's delay count.
    pub(super) frame: u64,
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
    /// CAF.
    Caf(Box<caf::Packets<'y>>),
    /// MP3 and ADTS.
    Elementary(elementary::Frames<'y>),
    /// FLAC.
    Flac(flac::Frames<'y>),
    /// Matroska and WebM.
    Matroska(Box<matroska::Track<'y>>),
    /// MP4.
    Mp4(Box<mp4::Track<'y>>),
    /// WAVE, and samples as they are in CAF.
    Samples(Samples<'y>),
    /// A file of headers.
    Empty,
    /// Ogg.
    Ogg(Pages<'y>),
    /// MPEG-TS.
    Ts(Box<ts::Track<'y>>),
    /// All the others.
    Symphonia(Reader<'y>),
}

impl Demux<'_> {
    /// The next packet of the track.
    pub(super) fn next(&mut self) -> Next<'_> {
        match self {
            Self::Caf(packets) => packets.next(),
            Self::Elementary(frames) => frames.next(),
            Self::Flac(frames) => frames.next(),
            Self::Matroska(track) => track.next(),
            Self::Mp4(track) => track.next(),
            Self::Samples(samples) => samples.next(),
            Self::Empty => Next::End,
            Self::Ogg(pages) => pages.next(),
            Self::Ts(track) => track.next(),
            Self::Symphonia(reader) => reader.next(),
        }
    }

    /// Whether the nominal frames of packets are those that they decode to.
    pub(super) fn counts_exactly(&self) -> bool {
        match self {
            Self::Symphonia(reader) => reader.counts_exactly,
            Self::Matroska(track) => track.counts_exactly(),
            Self::Mp4(track) => track.counts_exactly(),
            _ => true,
        }
    }

    /// Frames of the first packet, where packets of one codec differ in that.
    pub(super) fn first_frames(&self) -> u64 {
        match self {
            Self::Ogg(pages) => pages.first_frames(),
            Self::Matroska(track) => track.first_frames(),
            _ => 0,
        }
    }

    /// The first header of a stream of frames that have headers of their own.
    pub(super) fn header(&self) -> Option<Header> {
        match self {
            Self::Elementary(frames) => Some(frames.header()),
            Self::Matroska(track) => track.header(),
            Self::Ts(track) => Some(track.header()),
            _ => None,
        }
    }

    /// Goes to the last packet that starts at or before `frame`, or to the end if there are not so
    /// many, where tables, arithmetic or the headers of packets tell its place. Of packets numbered
    /// from 0, only the first and those will do that stand as many as the second of `entries` before
    /// one whose number is divisible by the first. `None`: no more than before is known, and the next
    /// packet is the one that it was.
    pub(super) fn find(&mut self, frame: u64, entries: (u64, u64)) -> Option<Found> {
        match self {
            // Its packets are cut where one likes.
            Self::Samples(samples) => Some(samples.find(frame)),
            Self::Flac(stream) => {
                let frame = Some(stream.go_to(frame)).filter(|frame| *frame > 0)?;
                Some(Found { packet: 0, frame })
            }
            Self::Caf(packets) => packets.find(frame, entries),
            Self::Mp4(track) => track.find_packet(frame, entries),
            _ => None,
        }
    }

    /// Frames of each packet, where all have as many.
    pub(super) fn packet_frames(&self) -> Option<u64> {
        match self {
            Self::Elementary(frames) => Some(frames.header().frames.into()),
            Self::Ts(track) => Some(track.header().frames.into()),
            Self::Mp4(track) => track.packet_frames(),
            _ => None,
        }
    }

    /// Goes to the first packet that begins in a part of a tape, and says when that is heard, if its container
    /// does. `None`: it cannot go there.
    pub(super) fn enter_part(&mut self, position: u64) -> Option<Option<Stamp>> {
        match self {
            Self::Elementary(frames) => Some(frames.enter_part(position)),
            Self::Mp4(track) => track.enter_part(position),
            Self::Ts(track) => Some(track.enter_part(position)),
            _ => None,
        }
    }

    /// Goes to a packet that was passed before, by this demultiplexer or by another of the same
    /// bytes. False: it cannot go there, and the next packet is the one that it was.
    pub(super) fn enter(&mut self, point: &Point) -> bool {
        match self {
            Self::Elementary(frames) => frames.enter(point),
            Self::Matroska(track) => track.enter(point),
            Self::Mp4(track) => track.enter(point),
            Self::Ogg(pages) => pages.enter(point),
            Self::Ts(track) => track.enter(point),
            _ => false,
        }
    }
}

/// Frames of so many ticks, of which each is `numerator / denominator` of one, to the nearest.
pub(super) fn frames_of(ticks: u64, numerator: u64, denominator: u64) -> u64 {
    let half = u128::from(denominator / 2);
    let frames = (u128::from(ticks) * u128::from(numerator) + half) / u128::from(denominator);
    u64::try_from(frames).unwrap_or(u64::MAX)
}
