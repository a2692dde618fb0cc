//! FLAC: metadata, then frames.

use std::rc::Rc;

use symphonia::core::{
    audio::Channels,
    codecs::audio::{AudioCodecParameters, well_known::CODEC_ID_FLAC},
};

use super::{Found, Opened, Timeline, plausible, reads};
use crate::decode::{
    Error,
    demux::{Demux, flac::Frames},
    flac::{self, STREAM_INFO_BYTES, StreamInfo},
    source::{Inside, Window},
    tags,
};

/// Opens a native FLAC stream.
pub(super) fn open<'y>(inside: &Rc<Inside<'y>>, found: Found) -> Result<Opened<'y>, Error> {
    let metadata = flac::read_metadata(&mut reads(inside, found.start));
    let block = metadata.stream_info.ok_or(Error::damaged("there is no STREAMINFO"))?;
    let info = StreamInfo::parse(&block).ok_or(Error::damaged("STREAMINFO cannot be"))?;
    let mut tags = found.tags;
    for range in &metadata.comments {
        let start = found.start + range.start;
        tags::read_comments(inside, start, range.end - range.start, &mut tags);
    }
    let start = found.start + metadata.end;
    let timeline = plausible(inside, Timeline { delay: 0, frames: info.frames });
    let table = metadata.seek_table.map(|at| found.start + at.start..found.start + at.end);
    let window = Window::new(Rc::clone(inside), start, u64::MAX);
    let mut frames = Frames::new(window, info, table, timeline.frames.is_some());
    let is_empty =
        metadata.is_whole && info.frames.is_none() && inside.resident.length() == Some(start);
    let (demux, timeline) = match is_empty {
        true => (Demux::Empty, Timeline { delay: 0, frames: Some(0) }),
        false if frames.begin() => {
            let frames_there = frames.cut_frames().unwrap_or(timeline.frames);
            (Demux::Flac(frames), Timeline { delay: 0, frames: frames_there })
        }
        false => return Err(Error::damaged("there is no frame")),
    };
    Ok(Opened {
        demux,
        container: found.container,
        params: params_of(&info, block),
        codec: "flac",
        timeline,
        link_frames: None,
        claim: None,
        tags,
        tracks: Vec::new(),
    })
}

/// What a decoder of the frames needs to know.
fn params_of(info: &StreamInfo, mut block: [u8; STREAM_INFO_BYTES]) -> AudioCodecParameters {
    // The lengths of frames, which it does not need and may refuse.
    block[4..10].fill(0);
    let mut params = AudioCodecParameters::new();
    params
        .for_codec(CODEC_ID_FLAC)
        .with_extra_data(Box::new(block))
        .with_sample_rate(info.rate_hz)
        .with_bits_per_sample(info.bits)
        .with_channels(Channels::Discrete(info.channels));
    params
}
