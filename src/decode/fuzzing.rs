//! Doors into the parsers, for the fuzz targets only.

mod segments;

use symphonia::core::{
    codecs::audio::AudioDecoder,
    packet::PacketRef,
    units::{Duration, Timestamp},
};

pub use self::segments::{Segment, segments};
use super::{
    Index, alac, caf,
    demux::elementary::timestamp,
    flac,
    he_aac::{self, HeAac, Survey},
    headers::tag_bytes,
    mp4, tags, ts, wav, xing,
};
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

/// Reads the chunks of a CAF file and the entries of its table; says how many of those there are.
pub fn caf(bytes: &[u8]) -> usize {
    let length = bytes.len() as u64;
    let caf = caf::read(&mut |at, into| copy(bytes, at, into), Some(length), true);
    let Ok(caf) = caf else { return 0 };
    assert!(caf.data.start <= caf.data.end && caf.data.end <= length.max(caf.data.start));
    assert!(caf.promised_bytes().is_some_and(|bytes| bytes >= caf.data.end - caf.data.start));
    let config = alac::Config::parse(alac::config_in(&caf.cookie));
    let most = config.map_or(0, |config| u64::from(config.packet_frames));
    assert!(config.is_none_or(|config| config.frames(bytes) <= most));
    let _ = (caf.format.pcm(), mp4::described(&caf.cookie));
    let Some(table) = caf.table else { return 0 };
    let mut at = table.entries.start;
    let mut entries = 0;
    while let Some(number) = caf::entry(|| {
        let byte = *bytes.get(usize::try_from(at).ok()?)?;
        at += 1;
        Some(byte)
    }) {
        assert!(number < 1 << 63);
        entries += 1;
    }
    entries
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

/// Looks at packets of HE-AAC, as they stand behind lengths of two bytes, and decodes them; says how many
/// decode.
pub fn he_aac(bytes: &[u8]) -> usize {
    let &[what, ref rest @ ..] = bytes else { return 0 };
    let core_hz =
        [16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 7350, 12_345][usize::from(what & 7)];
    let has_stereo = [None, Some(true), Some(false), None][usize::from(what >> 4 & 3)];
    let packets = || {
        let mut rest = rest;
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
            let (packet, behind) = behind.split_at(length);
            rest = behind;
            Some(packet)
        })
    };
    let mut survey = Survey::new(core_hz, 1 + u16::from(what >> 3 & 1), has_stereo);
    packets().take(8).for_each(|packet| survey.look_at(packet));
    let (codec, setup) = survey.end();
    assert!(he_aac::is_it(codec));
    let mut decoder = HeAac::new(&setup.params()).expect("its own parameters");
    let decodes = |packet| {
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, packet);
        let Ok(heard) = decoder.decode_ref(&packet) else { return false };
        assert_eq!((heard.frames() as u64, heard.spec().rate()), (2048, core_hz * 2));
        true
    };
    packets().map(decodes).filter(|decodes| *decodes).count()
}

/// Reads an ID3v2 tag; says how many texts it has.
pub fn id3(bytes: &[u8]) -> usize {
    let texts = tags::parse_id3(bytes);
    assert!(texts.iter().all(|(name, text)| !name.is_empty() && text.len() <= 3 * 1024));
    assert!(tag_bytes(bytes).is_none_or(|length| length > 0));
    assert!(timestamp(bytes).is_none_or(|ticks| ticks < 1 << 33));
    texts.len()
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

/// Reads the packets of a transport stream, its tables and the headers of what it carries; says how many
/// maps of programs there are.
pub fn ts(bytes: &[u8]) -> usize {
    let Some(framing) = ts::Framing::of(bytes) else { return 0 };
    let (mut tables, mut maps, mut at) = (ts::Tables::default(), 0, 0);
    while bytes.len() - at >= framing.bytes() {
        let rest = &bytes[at..];
        let Some((packet, whole)) =
            framing.packet(rest).and_then(|whole| Some((ts::Packet::parse(whole)?, whole)))
        else {
            let passed = framing.find(&rest[..rest.len().min(framing.find_bytes())]);
            assert!(passed > 0);
            at += passed;
            continue;
        };
        let payload = &whole[packet.payload.clone()];
        maps += tables.take(packet.pid, packet.is_start, payload).len();
        assert!(tables.programs().len() <= 64);
        if let ts::Head::Whole { header_bytes, pts, .. } = ts::parse_head(payload) {
            assert!(header_bytes <= payload.len() && pts.is_none_or(|pts| pts < 1 << 33));
        }
        at = bytes.len().min(at + framing.stride);
    }
    maps
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
