//! What an AAC track is by its configuration, and whether it is HE-AAC: by that, or by its first packets where it,
//! or the header of ADTS, tells of their core alone.

use symphonia::core::{
    audio::Channels,
    codecs::audio::{AudioCodecParameters, well_known::CODEC_ID_AAC},
};

use super::channels_of;
use crate::decode::{
    Error,
    demux::{Demux, Next},
    he_aac::{Setup, Survey},
    mp4::{self, Extension},
    sbr, surround,
};

/// Packets that are looked at for a header of the extension: of those that encoders write every half
/// second, two come in so many at any rate.
const HEADER_PACKETS: usize = 48;

/// What a decoder needs to know of a track of this configuration. Its container says that it has `rate_hz` and
/// `channels`, which counts where the configuration does not say it.
pub(super) fn params_by(config: &[u8], rate_hz: u32, channels: u16) -> AudioCodecParameters {
    if let Some(surround) = surround::params_of(config) {
        return surround;
    }
    let speakers = mp4::speakers(config);
    let channels = speakers.map_or(channels, |speakers| speakers.count_ones() as u16);
    let mut params = AudioCodecParameters::new();
    params.for_codec(CODEC_ID_AAC).with_channels(Channels::Discrete(channels));
    params.with_sample_rate(mp4::core_rate_hz(config).unwrap_or(rate_hz));
    if !config.is_empty() {
        params.with_extra_data(config.into());
    }
    params
}

/// What an AAC track is that may be HE-AAC, and what is known of it then: by its configuration, or by
/// packets of the core that `params` are of, which say it themselves.
///
/// # Errors
/// [`Error::Unsupported`] where it is HE-AAC of more channels than are decoded.
pub(super) fn he_aac_of(
    mut demux: Demux<'_>,
    params: &AudioCodecParameters,
    stated: Option<Extension>,
) -> Result<Option<(&'static str, Setup)>, Error> {
    let (core_hz, core_channels) =
        (params.sample_rate.unwrap_or(0), channels_of(params).unwrap_or(0));
    let mut packets = different(&mut demux, sbr::PACKETS);
    if stated.is_none() && !sbr::is_extended(packets.iter().map(Vec::as_slice), core_hz) {
        return Ok(None);
    }
    if core_channels > 2 {
        return Err(Error::unsupported("aac (HE-AAC of more than two channels)"));
    }
    let mut survey =
        Survey::new(core_hz, core_channels, stated.and_then(|stated| stated.has_stereo));
    packets.iter().for_each(|packet| survey.look_at(packet));
    while !survey.has_header() && packets.len() < HEADER_PACKETS {
        let more = different(&mut demux, sbr::PACKETS);
        if more.is_empty() {
            break;
        }
        more.iter().for_each(|packet| survey.look_at(packet));
        packets.extend(more);
    }
    Ok(Some(survey.end()))
}

/// The next packets that differ from the one before them.
pub(super) fn different(demux: &mut Demux<'_>, most: usize) -> Vec<Vec<u8>> {
    let mut packets: Vec<Vec<u8>> = Vec::new();
    for _ in 0..sbr::MOST_PACKETS {
        match demux.next() {
            Next::Piece(piece) => {
                if packets.last().is_none_or(|last| last != piece.packet.data) {
                    packets.push(piece.packet.data.to_vec());
                }
            }
            Next::Lost(_) => {}
            _ => break,
        }
        if packets.len() == most {
            break;
        }
    }
    packets
}
