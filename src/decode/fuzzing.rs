//! Doors into the pure parsers, for the fuzz targets only.

use super::{Index, flac, mp4, wav, xing};
use crate::storage::crc32c;

/// Looks for a Xing, Info or VBRI tag in an MP3 frame; says whether there is one.
pub fn xing(frame: &[u8]) -> bool {
    xing::parse(frame).is_some()
}

/// Reads the metadata of a FLAC stream, and every header of a frame in it; says how many there are.
pub fn flac(bytes: &[u8]) -> usize {
    let metadata = flac::read_metadata(&mut |at, into| copy(bytes, at, into));
    assert!(metadata.end <= bytes.len().max(4) as u64);
    let info = metadata.stream_info.and_then(|block| flac::StreamInfo::parse(&block));
    let headers = (0..bytes.len()).filter_map(|at| flac::FrameHeader::parse(&bytes[at..]));
    let of_it = headers.filter(|header| {
        assert!((1..=1 << 16).contains(&header.frames) && header.bytes <= flac::FRAME_HEADER_BYTES);
        info.is_some_and(|info| header.is_of(&info) && header.start(&info) < header.end(&info))
    });
    of_it.count()
}

/// Reads the boxes of an MP4 file and what follows from them; says how many tracks there are.
pub fn mp4_boxes(bytes: &[u8]) -> usize {
    let mut read = |at, into: &mut [u8]| copy(bytes, at, into);
    let Some(movie) = mp4::read(&mut read, 16 << 20) else { return 0 };
    for track in &movie.tracks {
        let _ = (track.entry.refused(), track.entry.frame_bytes());
        for rate_hz in [8_000, 44_100, u32::MAX] {
            let timeline = movie.timeline(track, rate_hz);
            assert!(timeline.frames.is_none_or(|frames| frames <= 1 << 62));
        }
    }
    movie.tracks.len()
}

/// Reads a seek index, as it is and as if its sum were right; says whether it is one.
pub fn seek_index(bytes: &[u8]) -> bool {
    let read = |bytes: &[u8]| {
        let index = Index::parse(bytes)?;
        assert!(bytes.len() <= Index::MOST_BYTES);
        assert_eq!(Index::parse(&index.to_bytes()).as_ref(), Some(&index));
        Some(index)
    };
    let body = &bytes[..bytes.len().saturating_sub(4)];
    let is_one = read(bytes).is_some();
    read(&[body, &crc32c(body).to_le_bytes()].concat()).is_some() || is_one
}

/// Reads the header of a WAVE file; says how many frames it has, where that is known.
pub fn wav(bytes: &[u8]) -> Option<u64> {
    let length = bytes.len() as u64;
    let wav = wav::read(&mut |at, into| copy(bytes, at, into), Some(length)).ok()??;
    assert!(wav.data.end <= length && wav.data.start <= wav.data.end);
    wav.frames()
}

fn copy(bytes: &[u8], at: u64, into: &mut [u8]) -> usize {
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let count = rest.len().min(into.len());
    into[..count].copy_from_slice(&rest[..count]);
    count
}
