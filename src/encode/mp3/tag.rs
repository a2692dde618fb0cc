//! Pure: the Info tag: a silent MPEG frame in front of all others, which says how many they are, and what
//! of their audio does not belong to the source.
//!
//! ```text
//! header | side information, zero | "Info" flags [packets] [bytes] [places] [quality]   Xing's fields
//!                                 | encoder .. delay padding .. bytes, checksum         LAME's
//!                                 | checksum of all before it | zeros
//! ```
//!
//! LAME's fields are those of revision 0 ("Mp3 Info Tag rev 1 specifications", G. Bouvigne). Of a
//! constant bit rate every place follows from the others; the table is there for readers who want one.

use crc_fast::{CrcAlgorithm, checksum};
use rusty_mp3::{
    frame::ChannelMode,
    header::{FrameHeader, MpegVersion},
    tables::{BITRATE_V1_L3, BITRATE_V2_L3},
};

/// Who encoded it. Readers look for the first four letters before they believe the delay.
const ENCODER: &[u8; 9] = b"LAMEkitha";
/// Bytes of Xing's fields when all are there, and of LAME's.
const TAG_BYTES: usize = 4 + 4 + 4 + 4 + 100 + 4 + 36;
/// Which of Xing's fields are there: all four, or the bytes alone.
const ALL_FIELDS: u32 = 0b1111;
const BYTES_ONLY: u32 = 0b0010;
/// Bytes of a stream whose end is not known, or is beyond the field. ffmpeg takes a frame without any
/// number for audio.
const UNKNOWN_BYTES: u32 = u32::MAX;

/// What is said of the audio.
#[derive(Debug, Clone, Copy)]
pub(super) struct Audio {
    /// MPEG frames behind the tag.
    pub(super) packets: u64,
    /// Frames at their end that are not of the source.
    pub(super) padding: u32,
    /// CRC-16 of the MPEG frames; 0 where they are not there yet.
    pub(super) checksum: u16,
}

/// The tag of a stream whose MPEG frames have the header `stream`, and whose audio begins behind `delay`
/// frames.
pub(super) fn frame(stream: &FrameHeader, delay: u32, audio: Option<Audio>) -> Vec<u8> {
    let header = with_room(stream);
    let mut tag = header.to_bytes().to_vec();
    tag.resize(4 + header.side_info_len(), 0);
    tag.extend(b"Info");
    let mut bytes = UNKNOWN_BYTES;
    if let Some(audio) = audio {
        let all = header.frame_size() as u64 + audio.packets * stream.frame_size() as u64;
        bytes = u32::try_from(all).unwrap_or(UNKNOWN_BYTES);
        tag.extend(ALL_FIELDS.to_be_bytes());
        tag.extend((audio.packets as u32).to_be_bytes());
        tag.extend(bytes.to_be_bytes());
        // In parts of 256 of the whole, at each hundredth of the time.
        tag.extend((0..100_u32).map(|place| (place * 256 / 100) as u8));
        tag.extend([0; 4]);
    } else {
        tag.extend(BYTES_ONLY.to_be_bytes());
        tag.extend(bytes.to_be_bytes());
    }
    tag.extend(ENCODER);
    // A constant bit rate; its low-pass, levels and flags are not told. Nor is the bit rate: that of 128
    // would stand where short files look like video then.
    tag.push(1);
    tag.extend([0; 11]);
    let padding = audio.map_or(0, |audio| audio.padding);
    tag.extend(&(delay << 12 | padding).to_be_bytes()[1..]);
    let rate = match stream.sample_rate {
        44_100 => 1,
        48_000 => 2,
        _ => 0,
    };
    let mode = if is_stereo(stream) { JOINT_STEREO } else { 0 };
    tag.extend([rate << 6 | mode << 2, 0, 0, 0]);
    tag.extend(bytes.to_be_bytes());
    tag.extend(audio.map_or(0, |audio| audio.checksum).to_be_bytes());
    let checksum = checksum(CrcAlgorithm::Crc16Arc, &tag) as u16;
    tag.extend(checksum.to_be_bytes());
    tag.resize(header.frame_size(), 0);
    tag
}

/// What LAME calls the mode of frames that are coded jointly or not, as each of them says.
const JOINT_STEREO: u8 = 3;

fn is_stereo(header: &FrameHeader) -> bool {
    header.channel_mode.channels() == 2
}

/// The header of an MPEG frame of the stream that the tag fits into: its bit rate may be higher.
fn with_room(stream: &FrameHeader) -> FrameHeader {
    let mut header = stream.clone();
    if is_stereo(stream) {
        // As all of them say it, or readers would not take them for one stream.
        header.channel_mode =
            ChannelMode::JointStereo { ms_stereo: false, intensity_stereo: false };
    }
    let bit_rates = match header.version {
        MpegVersion::V1 => BITRATE_V1_L3,
        _ => BITRATE_V2_L3,
    };
    for bit_rate in bit_rates.into_iter().filter(|it| *it >= stream.bitrate_kbps) {
        header.bitrate_kbps = bit_rate;
        if header.frame_size() >= 4 + header.side_info_len() + TAG_BYTES {
            break;
        }
    }
    header
}
