//! MP3 and ADTS: frames in a row, behind a frame that may speak for all of them.

use std::rc::Rc;

use symphonia::core::{
    audio::{Channels, layouts},
    codecs::audio::{
        AudioCodecParameters,
        well_known::{CODEC_ID_AAC, CODEC_ID_MP3},
    },
};

use super::{Found, Opened, TAGS, Timeline, aac::he_aac_of};
use crate::decode::{
    Error,
    demux::{Demux, elementary},
    headers::{Header, Kind, is_trailer, tag_bytes},
    mp4,
    source::{Inside, Window},
    surround,
    xing::{self, Claim},
};

pub(super) fn open<'y>(
    inside: &Rc<Inside<'y>>,
    found: Found,
    header: Header,
) -> Result<Opened<'y>, Error> {
    let mut params = params_of(&header)?;
    let frames = |start| {
        let window = Window::new(Rc::clone(inside), start, u64::MAX);
        elementary::Frames::new(window, header)
    };
    let (mut start, mut timeline, mut claim) = (found.start, Timeline::default(), None);
    let (codec, demux) = match header.kind {
        Kind::Adts => {
            let packets = Demux::Elementary(frames(start));
            match he_aac_of(packets, &params, None)? {
                Some((codec, setup)) => {
                    params = setup.params();
                    (codec, frames(start).extended())
                }
                None => ("aac", frames(start)),
            }
        }
        Kind::Mpeg { .. } => {
            (start, timeline, claim) = pass_info_frame(inside, start, &header);
            ("mp3", frames(start))
        }
    };
    Ok(Opened {
        demux: Demux::Elementary(demux),
        container: found.container,
        params,
        codec,
        timeline,
        link_frames: None,
        claim,
        tags: found.tags,
        tracks: Vec::new(),
    })
}

/// What a decoder of the frames behind `header` needs to know.
pub(in crate::decode) fn params_of(header: &Header) -> Result<AudioCodecParameters, Error> {
    let mut params = AudioCodecParameters::new();
    params.with_sample_rate(header.rate_hz);
    match header.kind {
        Kind::Adts if header.channels > 2 => {
            let config = mp4::config_of(header.rate_hz, header.channels);
            let surround = config.and_then(|config| surround::params_of(&config));
            return surround.ok_or_else(|| Error::unsupported("aac"));
        }
        Kind::Adts => {
            params.for_codec(CODEC_ID_AAC).with_channels(aac_channels(header.channels)?);
        }
        Kind::Mpeg { .. } => {
            params.for_codec(CODEC_ID_MP3).with_channels(Channels::Discrete(header.channels));
        }
    }
    Ok(params)
}

/// The first audio frame of an MP3, behind the one that only carries a Xing or VBRI tag, and what
/// that tag says about the timeline: for sure, or to be seen where the audio ends.
fn pass_info_frame(
    inside: &Inside<'_>,
    start: u64,
    header: &Header,
) -> (u64, Timeline, Option<Claim>) {
    let mut frame = vec![0; header.bytes];
    let length = inside.read_full(start, &mut frame);
    let Some(tag) = xing::parse(&frame[..length]) else {
        return (start, Timeline::default(), None);
    };
    let claim = tag.packets.zip(tag.bytes).map(|(packets, bytes)| {
        let decoded = u64::from(packets) * u64::from(header.frames);
        let frames = decoded.saturating_sub(u64::from(tag.delay) + u64::from(tag.padding));
        Claim { frames, end: start + u64::from(bytes) }
    });
    let is_at_hand = |claim: &Claim| {
        inside.resident.length() == Some(claim.end) || inside.resident.length_at_hand().is_some()
    };
    // One that is false has no effect on what is there, but that there should be something.
    let is_sure = |claim: &Claim| is_at_hand(claim) && is_end(inside, claim.end);
    let (sure, claim) = match claim {
        Some(claim) if is_sure(&claim) => (Some(claim.frames), None),
        claim => (None, claim),
    };
    let timeline = Timeline { delay: i64::from(tag.delay), frames: sure };
    (start + header.bytes as u64, timeline, claim)
}

/// Whether the audio ends at `end`: with the object, or with tags behind the audio. Behind those of a stream that
/// others were put behind, theirs begins.
pub(in crate::decode) fn is_end(inside: &Inside<'_>, end: u64) -> bool {
    if let Some(length) = inside.resident.length()
        && end >= length
    {
        return end == length;
    }
    let mut behind = [0; 12];
    let got = inside.read_full(end, &mut behind);
    match got {
        0 => inside.resident.length() == Some(end),
        got => is_trailer(&behind[..got]) && !is_followed(inside, end),
    }
}

/// Whether frames come behind the tags that begin at `at`.
fn is_followed(inside: &Inside<'_>, mut at: u64) -> bool {
    let mut head = [0; 32];
    for _ in 0..TAGS {
        let got = inside.read_full(at, &mut head);
        match tag_bytes(&head[..got]) {
            Some(bytes) => at = at.saturating_add(bytes),
            None => return Header::parse(&head[..got]).is_some(),
        }
    }
    false
}

/// One channel or two.
fn aac_channels(count: u16) -> Result<Channels, Error> {
    match count {
        1 => Ok(layouts::CHANNEL_LAYOUT_MONO),
        2 => Ok(layouts::CHANNEL_LAYOUT_STEREO),
        _ => Err(Error::unsupported("aac (channels by program config in ADTS)")),
    }
}
