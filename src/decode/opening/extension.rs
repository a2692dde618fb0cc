//! Whether an AAC track is HE-AAC: by its configuration, or by its first packets where that, or the
//! header of ADTS, tells of their core alone.

use crate::decode::{
    Error,
    demux::{Demux, Next},
    he_aac::{Setup, Survey},
    mp4::Extension,
    sbr,
};

/// Packets that are looked at for a header of the extension: of those that encoders write every half
/// second, two come in so many at any rate.
const HEADER_PACKETS: usize = 48;

/// What an AAC track is that may be HE-AAC, and what is known of it then: by its configuration, or by
/// packets of a core of `core_hz` that say it themselves.
///
/// # Errors
/// [`Error::Unsupported`] where it is HE-AAC of more channels than are decoded.
pub(super) fn he_aac_of(
    mut demux: Demux<'_>,
    core_hz: u32,
    core_channels: u16,
    stated: Option<Extension>,
) -> Result<Option<(&'static str, Setup)>, Error> {
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
