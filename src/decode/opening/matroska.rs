//! Matroska and WebM: a track that symphonia's reader has found, and its packets.

use std::rc::Rc;

use symphonia::core::{
    audio::Channels,
    codecs::audio::{AudioCodecParameters, well_known::*},
};

use super::{
    aac, channels_of, codec_name, params_of,
    reader::{HE_AAC, codec_of},
    reads,
};
use crate::decode::{
    Error,
    demux::{
        Demux, LEAD_FRAMES, frames_of,
        matroska::{Lengths, NS_PER_SECOND, Plan, Track},
    },
    matroska::Times,
    mp4, opus, sbr,
    source::{Inside, Window},
};

/// The packets of a track, of which the reader says what it is, and the frames that they decode to before
/// frame 0. Of MP3, its first packet says what it is.
///
/// # Errors
/// [`Error::Unsupported`] where they are of no AAC that is decoded here.
pub(super) fn packets<'y>(
    inside: &Rc<Inside<'y>>,
    start: u64,
    track: u32,
    params: &mut AudioCodecParameters,
) -> Result<(Demux<'y>, i64), Error> {
    configure(params)?;
    let times = Times::read(&mut reads(inside, start), track.into());
    let is_opus = params.codec == CODEC_ID_OPUS;
    let rate_hz = if is_opus { opus::RATE_HZ } else { params.sample_rate.unwrap_or(0) };
    let delay = match is_opus {
        // What the container says of it was made of this, and ffmpeg counts it in frames of the recording: of one of
        // 8 kHz it says a sixth. The header is what the encoder says, and what ffmpeg and Chromium go by.
        true => opus::Head::of(params)?.preskip.into(),
        false => frames_of(times.delay_ns.unwrap_or(0), rate_hz.into(), NS_PER_SECOND),
    };
    let delay = delay.min(LEAD_FRAMES as u64) as i64;
    let new_track = |params: &AudioCodecParameters| {
        let (tick_ns, lengths) = (times.tick_ns, lengths_of(params)?);
        let plan = Plan { track: track.into(), rate_hz, tick_ns, delay, lengths };
        Ok(Track::new(Window::new(Rc::clone(inside), start, u64::MAX), plan))
    };
    if params.codec == CODEC_ID_AAC {
        let mut demux = Demux::Matroska(Box::new(new_track(params)?));
        let packets = aac::different(&mut demux, sbr::PACKETS);
        if sbr::is_extended(packets.iter().map(Vec::as_slice), rate_hz) {
            return Err(Error::unsupported(HE_AAC));
        }
    }
    let mut packets = new_track(params)?;
    if let Some(header) = packets.begin() {
        *params = params_of(&header)?;
    }
    Ok((Demux::Matroska(Box::new(packets)), delay))
}

/// Takes the rate of AAC, and which channels it has, from its own configuration.
///
/// # Errors
/// [`Error::Unsupported`] where that is of none that is decoded here.
fn configure(params: &mut AudioCodecParameters) -> Result<(), Error> {
    let Some(config) = params.extra_data.as_deref().filter(|_| params.codec == CODEC_ID_AAC) else {
        return Ok(());
    };
    if let Some(name) = mp4::refused_config(config) {
        return Err(Error::unsupported(name));
    }
    if mp4::extension(config).is_some() {
        return Err(Error::unsupported(HE_AAC));
    }
    let (rate_hz, channels) = (params.sample_rate.unwrap_or(0), channels_of(params).unwrap_or(0));
    *params = aac::params_by(config, rate_hz, channels);
    Ok(())
}

/// What says how many frames a packet holds.
fn lengths_of(params: &AudioCodecParameters) -> Result<Lengths, Error> {
    Ok(match params.codec {
        CODEC_ID_AAC => Lengths::Fixed(1024),
        CODEC_ID_MP3 => Lengths::Headers,
        CODEC_ID_FLAC | CODEC_ID_OPUS | CODEC_ID_VORBIS => Lengths::Packets(codec_of(params)?),
        codec if codec_name(codec).is_some_and(|name| name.starts_with("pcm")) => {
            let channels = params.channels.as_ref().map_or(0, Channels::count);
            let sample_bytes = params.bits_per_sample.unwrap_or(0) as usize / 8;
            match channels * sample_bytes {
                0 => Lengths::Unknown,
                frame_bytes => Lengths::Bytes(frame_bytes),
            }
        }
        _ => Lengths::Unknown,
    })
}
