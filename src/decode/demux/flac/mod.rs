//! FLAC frames one after another: the demultiplexer of native streams.
//!
//! A frame does not say how long it is. It ends where the checksum over all of it comes out, and
//! that is tried where a header stands that can be the next one's. Every header says where its frame
//! lies in the stream, so what is missing before it is known, and any frame can be looked up.
//!
//! - `lookup`: how a frame far ahead is found.

mod lookup;

use std::ops::Range;

use crc_fast::{CrcAlgorithm, Digest};
use symphonia::core::{
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::{Lost, Next, PACKET_BYTES, Piece};
use crate::decode::{
    flac::{FRAME_HEADER_BYTES, FrameHeader, StreamInfo},
    headers::{is_trailer, junk_bytes, tag_bytes},
    source::Window,
};

/// Reads frame by frame, over junk and tags between them.
pub(in crate::decode) struct Frames<'y> {
    window: Window<'y>,
    info: StreamInfo,
    /// Where the metadata ends, from which a seek table counts.
    start: u64,
    /// Where a seek table lies in the object.
    seek_table: Option<Range<u64>>,
    /// Frames of the stream that this one was cut out of which lie before it, for headers go on to count them.
    cut: u64,
    /// The frame at the window, if that is known.
    found: Option<Frame>,
    /// Length of the frame lent out last: it is passed at the next call.
    lent: usize,
    /// Where the next frame starts in the stream; where it says that it does if `None`.
    place: Option<u64>,
    /// Frames of the one before.
    before: u64,
}

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    /// Where it lies in the stream.
    start: u64,
    frames: u64,
    bytes: usize,
}

impl Frame {
    fn end(&self) -> u64 {
        self.start + self.frames
    }
}

/// How much is looked through at once.
const STEP_BYTES: usize = 4 << 10;
/// Headers in a frame that are not of the next: with so many the frame is given up. One is chance
/// once in a hundred thousand frames; a row of them are sound frames behind damage, or were made to
/// be searched for ever.
const FALSE_HEADERS: u32 = 4;
/// Bytes of the shortest subframe and of the checksum.
const BODY_BYTES: usize = 2 + 2;
/// Fewer bytes behind the last frame are no tag.
const FEW_BYTES: usize = 4;
/// Bytes that tell what stands behind the last frame.
const TRAILER_BYTES: usize = 16;

impl<'y> Frames<'y> {
    /// `window` stands where the metadata ends. A stream of which `is_whole` says that it was not cut
    /// out of another starts with its frame 0.
    pub(in crate::decode) fn new(
        window: Window<'y>,
        info: StreamInfo,
        seek_table: Option<Range<u64>>,
        is_whole: bool,
    ) -> Self {
        let (start, place) = (window.position(), is_whole.then_some(0));
        Self { window, info, start, seek_table, cut: 0, found: None, lent: 0, place, before: 0 }
    }

    /// Goes to the first frame. False: there is none.
    ///
    /// One right behind the metadata that is not the first of its stream is that of a piece cut out of it. It
    /// starts there, as for every player, rather than with silence in the place of what was cut off.
    pub(in crate::decode) fn begin(&mut self) -> bool {
        let Some(first) = self.find() else { return false };
        if first.start > 0 && self.window.position() == self.start {
            self.cut = first.start;
            // What is stated is the length of the whole, and may be that of the piece.
            self.info.frames = self.last_end();
            self.stand_at(self.start);
            self.place = Some(0);
        }
        true
    }

    /// Frames of the piece that was cut out of a stream, if it is one; the inner `None` where its end is not at
    /// hand.
    pub(in crate::decode) fn cut_frames(&self) -> Option<Option<u64>> {
        (self.cut > 0).then_some(self.info.frames)
    }

    /// The next frame, or what was lost before it.
    pub(in crate::decode) fn next(&mut self) -> Next<'_> {
        self.window.skip(std::mem::take(&mut self.lent) as u64);
        let Some(frame) = self.find() else { return Next::End };
        if let Some(lost) = self.lost_before(&frame) {
            return Next::Lost(lost);
        }
        self.found = None;
        (self.lent, self.before) = (frame.bytes, frame.frames);
        let data = &self.window.ahead(frame.bytes)[..frame.bytes];
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::new(frame.frames), data);
        Next::Piece(Piece::new(packet, frame.frames))
    }

    /// What is missing before `frame`. Numbers that go back say nothing.
    fn lost_before(&mut self, frame: &Frame) -> Option<Lost> {
        let place = self.place.unwrap_or(frame.start);
        let frames = frame.start.saturating_sub(place);
        if frames == 0 {
            self.place = Some(frame.end());
            return None;
        }
        self.place = Some(frame.start);
        // The last of a stream may be a short one.
        let packets = frames.div_ceil(frame.frames.max(self.before));
        Some(Lost { frames, rate_hz: None, packets })
    }

    /// Goes to the next whole frame. `None`: there is none.
    fn find(&mut self) -> Option<Frame> {
        while self.found.is_none() {
            let bytes = self.window.ahead(FRAME_HEADER_BYTES);
            if bytes.is_empty() {
                return None;
            }
            match FrameHeader::parse(bytes).filter(|header| header.is_of(&self.info)) {
                Some(header) => match self.measure(&header) {
                    Ok(bytes) => {
                        let (start, frames) = (self.start_of(&header), header.frames.into());
                        self.found = Some(Frame { start, frames, bytes });
                    }
                    Err(damaged) => self.window.skip(damaged as u64),
                },
                None => self.pass_junk(),
            }
        }
        self.found
    }

    /// Where the frame of a header lies.
    fn start_of(&self, header: &FrameHeader) -> u64 {
        header.start(&self.info).saturating_sub(self.cut)
    }

    /// Goes on to the next byte that may start a frame or a tag.
    fn pass_junk(&mut self) {
        let bytes = self.window.ahead(STEP_BYTES);
        let count = tag_bytes(bytes).unwrap_or_else(|| junk_bytes(bytes) as u64);
        self.window.skip(count.max(1));
    }

    /// The length of the frame at the window, which starts with `header`; `Err` if it is not whole,
    /// with what of it to pass.
    fn measure(&mut self, header: &FrameHeader) -> Result<usize, usize> {
        let most = self.info.most_bytes_of(header.frames).min(PACKET_BYTES);
        let failed = match self.find_end(header, most) {
            Ok(end) => return Ok(end),
            Err(failed) => failed,
        };
        let is_last = self.info.frames == Some(self.start_of(header) + u64::from(header.frames));
        let bytes = self.window.ahead(failed.within + TRAILER_BYTES);
        let ends = header.bytes + BODY_BYTES..failed.within;
        let (tagged, any) = ends_of_last(bytes, ends, failed.next);
        tagged.or(any.filter(|_| is_last)).ok_or(failed.next)
    }

    /// Where the frame at the window ends, by the header behind it.
    fn find_end(&mut self, header: &FrameHeader, most: usize) -> Result<usize, NoEnd> {
        let follows = header.end(&self.info);
        let mut sum = Sum::new();
        let (mut next, mut false_headers) = (None, 0);
        let mut at = header.bytes + BODY_BYTES;
        loop {
            let wanted = at + STEP_BYTES;
            let bytes = self.window.ahead(wanted);
            // At the end of the source a header need not have all the bytes that one may have.
            let ends = bytes.len() < wanted;
            let to = if ends { bytes.len() } else { bytes.len() + 1 - FRAME_HEADER_BYTES };
            while let Some(sync) = bytes.get(at..to).and_then(find_sync) {
                at += sync;
                let found = FrameHeader::parse(&bytes[at..]);
                if let Some(found) = found.filter(|found| found.is_of(&self.info)) {
                    if sum.is_zero_at(bytes, at) {
                        return Ok(at);
                    }
                    // That it has the next number is no chance.
                    if found.start(&self.info) == follows {
                        return Err(NoEnd { next: at, within: at });
                    }
                    let next = *next.get_or_insert(at);
                    false_headers += 1;
                    if false_headers == FALSE_HEADERS {
                        return Err(NoEnd { next, within: next });
                    }
                }
                at += 1;
            }
            at = at.max(to.saturating_sub(1));
            if ends || at > most {
                return Err(NoEnd {
                    next: next.unwrap_or(at.max(1)),
                    within: most.min(bytes.len()),
                });
            }
        }
    }
}

/// What is known of a frame that is not followed by the header of another.
struct NoEnd {
    /// Where the next may start.
    next: usize,
    /// The frame ends at or before that.
    within: usize,
}

/// Where a frame may end that no other follows.
///
/// The first is for sure: its checksum comes out there, and all the bytes end, or a tag or another
/// stream starts. The second is where the frame behind may start, or what was looked at ends, if the
/// checksum comes out anywhere before that: chance does it, but behind the last frame of a stream
/// there may be anything, and the decoder knows where to stop.
///
/// A few bytes before the very end it comes out by chance, too: then the end counts.
fn ends_of_last(bytes: &[u8], within: Range<usize>, next: usize) -> (Option<usize>, Option<usize>) {
    let (mut sum, mut any, mut nearly) = (0, None, None);
    for (index, byte) in bytes.iter().enumerate().take(within.end) {
        sum = step(sum, *byte);
        if sum != 0 || index + 1 < within.start {
            continue;
        }
        let behind = &bytes[index + 1..];
        if (1..FEW_BYTES).contains(&behind.len()) {
            nearly = Some(index + 1);
            continue;
        }
        if behind.is_empty() || is_trailer(behind) || behind.starts_with(b"fLaC") {
            return (Some(index + 1), any);
        }
        if index < next {
            any = Some(next.min(within.end).min(bytes.len()));
        }
    }
    (nearly, any)
}

/// The checksum of a frame (CRC-16 by x^16 + x^15 + x^2 + 1) with one byte more: 0 behind the last.
fn step(sum: u16, byte: u8) -> u16 {
    const TABLE: [u16; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < table.len() {
            let (mut sum, mut bit) = ((index as u16) << 8, 0);
            while bit < 8 {
                sum = if sum & 0x8000 != 0 { sum << 1 ^ 0x8005 } else { sum << 1 };
                bit += 1;
            }
            table[index] = sum;
            index += 1;
        }
        table
    };
    sum << 8 ^ TABLE[usize::from((sum >> 8) as u8 ^ byte)]
}

/// The same over many bytes at once.
struct Sum {
    digest: Digest,
    done: usize,
}

impl Sum {
    fn new() -> Self {
        Self { digest: Digest::new(CrcAlgorithm::Crc16Umts), done: 0 }
    }

    /// Whether it is that of the first `end` of `bytes`, which does not go back.
    fn is_zero_at(&mut self, bytes: &[u8], end: usize) -> bool {
        self.digest.update(&bytes[self.done..end]);
        self.done = end;
        self.digest.finalize() == 0
    }
}

/// Where in `bytes` a header may start.
fn find_sync(bytes: &[u8]) -> Option<usize> {
    /// So many are looked at together: one in eight times as many has a byte of ones.
    const LANES: usize = 32;
    let mut at = 0;
    while at + 1 < bytes.len() {
        let lanes = &bytes[at..bytes.len().min(at + LANES)];
        if lanes.iter().fold(false, |any, byte| any | (*byte == 0xFF)) {
            let pairs = bytes[at..bytes.len().min(at + LANES + 1)].windows(2);
            let found = pairs.clone().position(|two| two[0] == 0xFF && two[1] & 0xFE == 0xF8);
            if let Some(found) = found {
                return Some(at + found);
            }
        }
        at += LANES;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_wherever_they_stand_and_nothing_else_is() {
        for length in 2..100 {
            let mut bytes = vec![0xFF; length];
            assert_eq!(find_sync(&bytes), None);
            for at in 0..length - 1 {
                bytes[at + 1] = 0xF8 | at as u8 & 1;
                assert_eq!(find_sync(&bytes), Some(at), "{at} of {length}");
                bytes[at + 1] = 0xFF;
            }
        }
        assert_eq!(find_sync(&[0xFF]), None);
        assert_eq!(find_sync(&[]), None);
    }

    #[test]
    fn both_ways_to_the_checksum_agree() {
        let bytes: Vec<u8> = (0..1000u32).map(|index| ((index * index) >> 3) as u8).collect();
        let slow = bytes.iter().fold(0, |sum, byte| step(sum, *byte));
        let whole = [&bytes[..], &slow.to_be_bytes()].concat();
        assert_eq!(whole.iter().fold(0, |sum, byte| step(sum, *byte)), 0);
        let mut sum = Sum::new();
        assert!(!sum.is_zero_at(&whole, 100));
        assert!(!sum.is_zero_at(&whole, 1000));
        assert!(sum.is_zero_at(&whole, 1002));
    }

    #[test]
    fn a_last_frame_ends_with_the_source_or_before_a_tag() {
        let body = [7, 8, 9];
        let sum = body.iter().fold(0, |sum, byte| step(sum, *byte));
        let frame = [&body[..], &sum.to_be_bytes()].concat();
        let ends = |behind: &[u8]| ends_of_last(&[&frame[..], behind].concat(), 4..100, 100);
        assert_eq!(ends(b"").0, Some(5));
        assert_eq!(ends(b"TAG and more").0, Some(5));
        assert_eq!(ends(b"fLaC and another").0, Some(5));
        assert_eq!(ends(&[0; 7]).0, Some(12), "zeros change no checksum");
        assert_eq!(ends(b"abc").0, Some(5), "three bytes are no frame");
        assert_eq!(ends(b"anything else"), (None, Some(18)), "the decoder stops where it ends");
        assert_eq!(ends_of_last(&frame[..4], 4..100, 100), (None, None), "cut off");
        let other = [&frame[..], b"header"].concat();
        assert_eq!(ends_of_last(&other, 4..100, 4), (None, None), "that is where another starts");
    }

    /// Four frames of four channels, of which the checksum comes out after 24 of 27 bytes as well.
    #[test]
    fn a_checksum_that_comes_out_just_before_the_end_is_chance() {
        let frame = [
            0xff, 0xf8, 0x6a, 0x38, 0x00, 0x03, 0xcf, 0x00, 0x73, 0x73, 0x00, 0x73, 0x73, 0x00,
            0x73, 0x73, 0x02, 0x73, 0x73, 0x77, 0x73, 0x73, 0x0a, 0x73, 0x73, 0x81, 0x29,
        ];
        assert_eq!(frame[..24].iter().fold(0, |sum, byte| step(sum, *byte)), 0);
        assert_eq!(ends_of_last(&frame, 11..27, 26).0, Some(27));
    }
}
