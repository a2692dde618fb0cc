//! MP4: a movie box, and samples anywhere.

use std::rc::Rc;

use symphonia::core::{
    audio::Channels,
    codecs::audio::{AudioCodecId, AudioCodecParameters, well_known::*},
};

use super::{
    Found, Opened, Timeline, aac, channels_of, codec_name, fits, plausible, reads, several,
};
use crate::decode::{
    AudioTrack, Error, alac,
    demux::{
        Demux,
        mp4::{Plan, Track},
    },
    flac::StreamInfo,
    he_aac,
    mp4::{self, Entry, Movie, Pcm},
    source::Inside,
    tags,
};

/// Opens the wanted audio track of an MP4 file, its first if none is.
pub(super) fn open<'y>(
    inside: &Rc<Inside<'y>>,
    found: Found,
    wanted: Option<u32>,
) -> Result<Opened<'y>, Error> {
    let movie = mp4::read(&mut reads(inside, found.start), inside.table_bytes);
    let movie = movie.ok_or(Error::damaged("there is no movie box"))?;
    fits(inside, "sample tables", movie.table_bytes)?;
    let track = choose(&movie, wanted)?;
    let mut params = params_of(&track.entry).ok_or_else(|| track.unsupported())?;
    let mut codec = codec_name(params.codec).ok_or_else(|| track.unsupported())?;
    let packets = |params: &AudioCodecParameters, codec| {
        packets(inside, &found, &movie, track, params, codec)
    };
    if codec == "aac" {
        let (core, _) = packets(&params, codec);
        let stated = mp4::extension(&track.entry.config);
        if let Some((name, setup)) = aac::he_aac_of(core, &params, stated)? {
            (codec, params) = (name, setup.params());
        }
    }
    let (demux, timeline) = packets(&params, codec);
    let mut tags = found.tags;
    for (name, text) in &movie.tags {
        tags::push(&mut tags, name, text.clone());
    }
    Ok(Opened {
        demux,
        container: found.container,
        params,
        codec,
        timeline: plausible(inside, timeline),
        link_frames: None,
        claim: None,
        tags,
        tracks: several(movie.audio_tracks().map(listed)),
    })
}

/// What the boxes of a track say of it.
fn listed(track: &mp4::Track) -> AudioTrack {
    let params = params_of(&track.entry);
    let decoded = params.as_ref().and_then(|params| codec_name(params.codec));
    AudioTrack {
        codec: track.entry.refused().or(decoded),
        rate_hz: params.as_ref().and_then(|params| params.sample_rate),
        channels: params.as_ref().and_then(channels_of),
        language: track.language.clone(),
        name: track.name.clone(),
    }
}

/// The packets of a track, and where on its timeline they lie.
fn packets<'y>(
    inside: &Rc<Inside<'y>>,
    found: &Found,
    movie: &Movie,
    track: &mp4::Track,
    params: &AudioCodecParameters,
    codec: &str,
) -> (Demux<'y>, Timeline) {
    let rate_hz = params.sample_rate.unwrap_or(0);
    let timeline = movie.timeline(track, rate_hz);
    let fixed = match codec {
        "aac" => Some(1024),
        codec if he_aac::is_it(codec) => Some(he_aac::PACKET_FRAMES),
        _ => None,
    };
    let plan = Plan {
        base: found.start,
        tables: track.tables.clone(),
        fragments: fragments(inside, found, movie, track),
        ticks_per_second: track.timescale,
        rate_hz,
        frames: timeline.frames.and_then(|frames| frames.checked_add_signed(timeline.delay)),
        fixed,
        frame_bytes: track.entry.frame_bytes(),
        // Silence before the first packet moves them all.
        starts_anywhere: fixed.is_none() && codec != "mp3" && timeline.delay >= 0,
    };
    (Demux::Mp4(Box::new(Track::new(inside, plan))), timeline)
}

/// Where fragments start, if there are any: of a tape, where its media does.
fn fragments(
    inside: &Inside<'_>,
    found: &Found,
    movie: &Movie,
    track: &mp4::Track,
) -> Option<(u64, mp4::Defaults)> {
    let is_behind_head = inside.resident.is_tape() && inside.resident.start().media != found.start;
    let start = match is_behind_head {
        true => Some(inside.resident.start().media),
        false => movie.fragments(track).map(|start| found.start.saturating_add(start)),
    };
    Some((start?, movie.defaults(track.id)))
}

fn choose(movie: &Movie, wanted: Option<u32>) -> Result<&mp4::Track, Error> {
    let tracks: Vec<_> = movie.audio_tracks().collect();
    if tracks.is_empty() {
        return Err(Error::NoAudio);
    }
    let track = tracks.get(wanted.unwrap_or(0) as usize);
    let track = track.ok_or(Error::NoTrack { tracks: tracks.len() })?;
    match track.entry.refused() {
        Some(_) => Err(track.unsupported()),
        None => Ok(track),
    }
}

/// What a decoder of the samples needs to know. `None`: there is none.
fn params_of(entry: &Entry) -> Option<AudioCodecParameters> {
    let (mut rate_hz, mut channels) = (entry.rate_hz, entry.channels);
    if entry.is_aac() {
        return Some(aac::params_by(&entry.config, rate_hz, channels)).filter(is_sound);
    }
    let mut params = AudioCodecParameters::new();
    let config = || entry.config.clone().into_boxed_slice();
    let id = match (&entry.kind, entry.object_type) {
        (b"mp4a", 0x69 | 0x6B) | (b".mp3", _) => CODEC_ID_MP3,
        (b"alac", _) if entry.config.len() >= 24 => {
            params.bits_per_sample = alac::Config::parse(&entry.config).map(|config| config.bits);
            params.with_extra_data(config());
            CODEC_ID_ALAC
        }
        (b"fLaC", _) => {
            let info = StreamInfo::parse(entry.config.first_chunk()?)?;
            (rate_hz, channels) = (info.rate_hz, info.channels);
            params.with_bits_per_sample(info.bits).with_extra_data(config());
            CODEC_ID_FLAC
        }
        _ => {
            let (id, bits) = pcm_of(entry.pcm?)?;
            if let Some(bits) = bits {
                params.with_bits_per_sample(bits);
            }
            id
        }
    };
    params.for_codec(id).with_sample_rate(rate_hz);
    params.with_channels(Channels::Discrete(channels));
    Some(params).filter(is_sound)
}

fn is_sound(params: &AudioCodecParameters) -> bool {
    params.sample_rate.is_some_and(|hz| hz > 0)
        && channels_of(params).is_some_and(|count| count > 0)
}

/// The codec of plain samples, and their bits where they are integers.
pub(super) fn pcm_of(pcm: Pcm) -> Option<(AudioCodecId, Option<u32>)> {
    let Pcm::Plain { bits, is_float, is_signed, is_big_endian } = pcm else {
        let is_alaw = pcm == Pcm::Alaw;
        return Some((if is_alaw { CODEC_ID_PCM_ALAW } else { CODEC_ID_PCM_MULAW }, None));
    };
    let id = match (is_float, bits, is_big_endian) {
        (true, 32, true) => CODEC_ID_PCM_F32BE,
        (true, 32, false) => CODEC_ID_PCM_F32LE,
        (true, 64, true) => CODEC_ID_PCM_F64BE,
        (true, 64, false) => CODEC_ID_PCM_F64LE,
        (false, 8, _) if !is_signed => CODEC_ID_PCM_U8,
        (false, 8, _) => CODEC_ID_PCM_S8,
        _ if !is_signed => return None,
        (false, 16, true) => CODEC_ID_PCM_S16BE,
        (false, 16, false) => CODEC_ID_PCM_S16LE,
        (false, 24, true) => CODEC_ID_PCM_S24BE,
        (false, 24, false) => CODEC_ID_PCM_S24LE,
        (false, 32, true) => CODEC_ID_PCM_S32BE,
        (false, 32, false) => CODEC_ID_PCM_S32LE,
        _ => return None,
    };
    Some((id, (!is_float).then_some(bits.into())))
}
