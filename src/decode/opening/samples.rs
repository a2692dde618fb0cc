//! WAVE: samples in a row, found by arithmetic.

use std::rc::Rc;

use symphonia::core::{
    audio::{Channels, Position},
    codecs::audio::{AudioCodecId, AudioCodecParameters, well_known::*},
};

use super::{Found, Opened, Timeline, codec_name, plausible, reads};
use crate::decode::{
    Error,
    demux::{Demux, Samples},
    source::{Inside, Window},
    tags, wav,
};

/// Opens a WAVE file of samples in a row. `None`: its blocks are for symphonia's reader.
pub(super) fn open<'y>(
    inside: &Rc<Inside<'y>>,
    found: &Found,
) -> Result<Option<Opened<'y>>, Error> {
    let length = inside.resident.length().map(|length| length.saturating_sub(found.start));
    let Some(wav) = wav::read(&mut reads(inside, found.start), length)? else { return Ok(None) };
    let mut tags = found.tags.clone();
    for (kind, range) in &wav.texts {
        tags::read_riff(
            inside,
            *kind,
            found.start + range.start,
            range.end - range.start,
            &mut tags,
        );
    }
    let (id, is_integer) = codec_of(wav.coding);
    let mut params = AudioCodecParameters::new();
    params.for_codec(id).with_sample_rate(wav.rate_hz).with_channels(channels_of(&wav));
    if is_integer {
        params.with_bits_per_sample(wav.bits);
    }
    let start = found.start.saturating_add(wav.data.start);
    let window = Window::new(Rc::clone(inside), start, found.start.saturating_add(wav.data.end));
    // A total is only believed where the object's length is known: what is made while it is sent
    // says anything.
    let frames = length.and_then(|_| wav.frames());
    Ok(Some(Opened {
        demux: Demux::Samples(Samples::new(window, wav.frame_bytes)),
        container: found.container,
        params,
        codec: codec_name(id).expect("every coding of ours has a decoder"),
        timeline: plausible(inside, Timeline { delay: 0, frames }),
        link_frames: None,
        claim: None,
        tags,
        tracks: Vec::new(),
    }))
}

/// The codec of a coding, and whether its samples are plain integers.
fn codec_of(coding: wav::Coding) -> (AudioCodecId, bool) {
    use wav::Coding;
    match coding {
        Coding::U8 => (CODEC_ID_PCM_U8, true),
        Coding::S16 => (CODEC_ID_PCM_S16LE, true),
        Coding::S24 => (CODEC_ID_PCM_S24LE, true),
        Coding::S32 => (CODEC_ID_PCM_S32LE, true),
        Coding::F32 => (CODEC_ID_PCM_F32LE, false),
        Coding::F64 => (CODEC_ID_PCM_F64LE, false),
        Coding::Alaw => (CODEC_ID_PCM_ALAW, false),
        Coding::Mulaw => (CODEC_ID_PCM_MULAW, false),
    }
}

fn channels_of(wav: &wav::Wav) -> Channels {
    let positions = wav.mask.and_then(|mask| Position::from_bits(u64::from(mask)));
    positions.map_or(Channels::Discrete(wav.channels), Channels::Positioned)
}
