//! Whole Ogg files whose headers are followed by no audio at all: readers look for the first packet and
//! fail, players play nothing.

use std::rc::Rc;

use symphonia::core::{
    audio::Channels,
    codecs::audio::{
        AudioCodecParameters,
        well_known::{CODEC_ID_FLAC, CODEC_ID_OPUS, CODEC_ID_VORBIS},
    },
};

use super::{Found, Opened, Timeline, codec_name, reads};
use crate::decode::{demux::Demux, flac, ogg, source::Inside};

/// Opens a file of headers. `None` if it is none.
pub(super) fn open<'y>(
    inside: &Rc<Inside<'y>>,
    found: Found,
    streams: &[ogg::Stream],
) -> Option<Opened<'y>> {
    let length = inside.resident.length()?.saturating_sub(found.start);
    let mut read = reads(inside, found.start);
    let (codec, shape, packets) = match streams.first()?.packet.as_slice() {
        [1, b'v', b'o', b'r', b'b', b'i', b's', _, _, _, _, channels, rate @ ..] => {
            let rate_hz = u32::from_le_bytes(rate.get(..4)?.try_into().ok()?);
            (CODEC_ID_VORBIS, (rate_hz, u16::from(*channels), None), 3)
        }
        packet if packet.starts_with(b"OpusHead") => {
            (CODEC_ID_OPUS, (48_000, u16::from(*packet.get(9)?), None), 2)
        }
        packet if packet.starts_with(b"\x7FFLAC") => {
            let info = flac::stream_info(packet.get(9..)?)?;
            (CODEC_ID_FLAC, (info.rate_hz, info.channels, Some(info.bits)), 2)
        }
        _ => return None,
    };
    if !ogg::is_headers_only(&mut read, length, packets) {
        return None;
    }
    let (rate_hz, channels, bits) = shape;
    let mut params = AudioCodecParameters::new();
    params.for_codec(codec).with_sample_rate(rate_hz).with_channels(Channels::Discrete(channels));
    if let Some(bits) = bits {
        params.with_bits_per_sample(bits);
    }
    Some(Opened {
        demux: Demux::Empty,
        container: found.container,
        params,
        codec: codec_name(codec)?,
        timeline: Timeline { delay: 0, frames: Some(0) },
        link_frames: None,
        claim: None,
        tags: found.tags,
        tracks: Vec::new(),
    })
}
