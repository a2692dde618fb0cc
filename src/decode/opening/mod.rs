//! From bytes to a track: finds the container, opens its reader, chooses the track.
//!
//! - `aac`: what AAC is by its configuration, and whether it is HE-AAC;
//! - `elementary`: MP3 and ADTS, which are frames and nothing else;
//! - `caf`: CAF;
//! - `flac`: FLAC;
//! - `matroska`: the packets of Matroska;
//! - `mp4`: MP4;
//! - `samples`: WAVE;
//! - `ts`: MPEG-TS;
//! - `reader`: what symphonia's readers open: AIFF, Matroska, Ogg, ADPCM in WAVE;
//! - `empty`: Ogg files of headers.

mod aac;
mod caf;
mod elementary;
mod empty;
mod flac;
mod matroska;
mod mp4;
mod reader;
mod samples;
mod ts;

use std::rc::Rc;

use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, well_known::*};

pub(super) use self::{
    elementary::{is_end, params_of},
    reader::open_link,
};
use super::{
    AudioTrack, Container, Error,
    demux::Demux,
    headers::{FREE_FORMAT_BYTES, Header, find_frames, free_header, is_free_format, tag_bytes},
    sniff::{by_frame, by_magic, is_ac3, is_markup},
    source::Inside,
    tags,
    xing::Claim,
};

/// How far behind tags a first frame is looked for: cut-in streams and broken tags have junk there,
/// 200 kB of it in the worst file seen.
const JUNK_BYTES: u64 = 512 << 10;

/// Tags in a row before the audio. Real files have up to three.
const TAGS: usize = 16;

/// A track ready to be decoded.
pub(super) struct Opened<'y> {
    pub(super) demux: Demux<'y>,
    pub(super) container: Container,
    pub(super) params: AudioCodecParameters,
    pub(super) codec: &'static str,
    pub(super) timeline: Timeline,
    /// Frames of the running link of a chain, where that is known; `None` if there is no chain.
    pub(super) link_frames: Option<u64>,
    /// A total that is only found to be true or not where the audio ends.
    pub(super) claim: Option<Claim>,
    pub(super) tags: Vec<(String, String)>,
    /// All audio tracks, where there are several.
    pub(super) tracks: Vec<AudioTrack>,
}

/// How decoded frames lie on the trimmed timeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Timeline {
    /// Frames decoded before frame 0; negative if silence comes first.
    pub(super) delay: i64,
    /// Total, where it can be trusted.
    pub(super) frames: Option<u64>,
}

/// Where the audio starts, and what it is.
struct Found {
    container: Container,
    start: u64,
    /// First frame header of an elementary stream.
    header: Option<Header>,
    tags: Vec<(String, String)>,
}

/// Opens the wanted audio track of the source; of a tape, that of its stretch.
pub(super) fn open<'y>(inside: &Rc<Inside<'y>>, wanted: Option<u32>) -> Result<Opened<'y>, Error> {
    match inside.resident.is_tape() {
        false => open_found(inside, find(inside)?, wanted),
        true => open_stretch(inside, find(inside)?, wanted),
    }
}

/// What a segment says of its length, it says of itself alone.
fn open_stretch<'y>(
    inside: &Rc<Inside<'y>>,
    mut found: Found,
    wanted: Option<u32>,
) -> Result<Opened<'y>, Error> {
    let is_segment = matches!(
        found.container,
        Container::Mp3 | Container::Adts | Container::Mp4 | Container::Ts
    );
    if !is_segment {
        let name = format!("{} as a segment", found.container.name());
        return Err(Error::unsupported(name));
    }
    if found.container == Container::Ts {
        found.start = inside.resident.start().media;
    }
    let mut opened = open_found(inside, found, wanted)?;
    (opened.timeline.frames, opened.claim) = (None, None);
    Ok(opened)
}

fn open_found<'y>(
    inside: &Rc<Inside<'y>>,
    found: Found,
    wanted: Option<u32>,
) -> Result<Opened<'y>, Error> {
    let mut opened = match (found.container, found.header) {
        (Container::Other(name), _) => Err(Error::unsupported(name)),
        (_, Some(header)) => {
            the_only_one(wanted)?;
            elementary::open(inside, found, header)
        }
        (Container::Flac, _) => {
            the_only_one(wanted)?;
            flac::open(inside, found)
        }
        (Container::Caf, _) => {
            the_only_one(wanted)?;
            caf::open(inside, found)
        }
        (Container::Mp4, _) => mp4::open(inside, found, wanted),
        (Container::Ts, _) => ts::open(inside, found, wanted),
        _ => reader::open(inside, found, wanted),
    }?;
    let Opened { tracks, params, codec, .. } = &mut opened;
    if let Some(track) = tracks.get_mut(wanted.unwrap_or(0) as usize) {
        // Of the one that is opened more is known than its container lists.
        (track.codec, track.rate_hz) = (Some(*codec), params.sample_rate);
        track.channels = channels_of(params);
    }
    Ok(opened)
}

fn find(inside: &Inside<'_>) -> Result<Found, Error> {
    let (start, tags) = pass_tags(inside, inside.resident.start().head);
    let mut head = vec![0; 4096];
    let length = inside.read_full(start, &mut head);
    head.truncate(length);
    if let Some(container) = by_magic(&head) {
        return Ok(Found { container, start, header: None, tags });
    }
    if let Some(name) = is_ac3(&head) {
        return Err(Error::unsupported(name));
    }
    if is_markup(&head) {
        return Err(Error::NotMedia);
    }
    if free_header(&head).is_some() && is_free(inside, start) {
        return Err(Error::unsupported("MPEG audio in the free format"));
    }
    let (start, header) = find_stream(inside, start).ok_or(Error::NotMedia)?;
    Ok(Found { container: by_frame(&header), start, header: Some(header), tags })
}

/// Where the tags that start there end, before the audio, and what they say.
fn pass_tags(inside: &Inside<'_>, start: u64) -> (u64, Vec<(String, String)>) {
    let (mut start, mut tags) = (start, Vec::new());
    for _ in 0..TAGS {
        let mut head = [0; 32];
        let length = inside.read_full(start, &mut head);
        match tag_bytes(&head[..length]) {
            Some(bytes) if head.starts_with(b"ID3") => {
                if tags.is_empty() {
                    tags = tags::read_id3(inside, start, bytes);
                }
                start += bytes;
            }
            _ => break,
        }
    }
    (start, tags)
}

/// Whether what starts like the free format goes on like it.
fn is_free(inside: &Inside<'_>, start: u64) -> bool {
    let mut frames = vec![0; FREE_FORMAT_BYTES];
    let length = inside.read_full(start, &mut frames);
    is_free_format(&frames[..length])
}

/// Looks for the first chain of frames, through junk.
fn find_stream(inside: &Inside<'_>, start: u64) -> Option<(u64, Header)> {
    const STEP: usize = 16 << 10;
    /// Three of the longest frames, so that a chain that starts in one piece is seen whole.
    const OVERLAP: usize = 3 * 8192;
    let mut piece = vec![0; STEP + OVERLAP];
    let mut at = start;
    while at < start + JUNK_BYTES {
        // Small files and good ones are settled by the first few frames.
        let wanted = if at == start { 6 << 10 } else { piece.len() };
        let length = inside.read_full(at, &mut piece[..wanted]);
        if let Some((offset, header)) = find_frames(&piece[..length], length < wanted) {
            return Some((at + offset as u64, header));
        }
        if length < wanted {
            return None;
        }
        at += (wanted.saturating_sub(OVERLAP)).max(if at == start { 1 } else { STEP }) as u64;
    }
    None
}

/// Reads of a source whose position 0 is `start`, for what is parsed here.
fn reads<'a>(inside: &'a Inside<'_>, start: u64) -> impl FnMut(u64, &mut [u8]) -> usize {
    move |at, into| inside.read_full(start.saturating_add(at), into)
}

/// Audio tracks that are listed at most.
const LISTED: usize = 64;

/// What there is to choose from, if there is.
fn several(tracks: impl Iterator<Item = AudioTrack>) -> Vec<AudioTrack> {
    let tracks: Vec<_> = tracks.take(LISTED).collect();
    if tracks.len() > 1 { tracks } else { Vec::new() }
}

fn channels_of(params: &AudioCodecParameters) -> Option<u16> {
    params.channels.as_ref().and_then(|channels| u16::try_from(channels.count()).ok())
}

/// What holds one track holds no other.
fn the_only_one(wanted: Option<u32>) -> Result<(), Error> {
    match wanted {
        None | Some(0) => Ok(()),
        Some(_) => Err(Error::NoTrack { tracks: 1 }),
    }
}

/// Refuses tables that would take too much memory, before they are loaded.
fn fits(inside: &Inside<'_>, table: &'static str, bytes: u64) -> Result<(), Error> {
    let limit_bytes = inside.table_bytes;
    if bytes > limit_bytes { Err(Error::TooLarge { table, limit_bytes }) } else { Ok(()) }
}

/// A constant FLAC frame, the densest there is: 65,535 frames in 11 bytes.
const FRAMES_PER_BYTE: u64 = 6_000;

/// `timeline` without a total that its bytes cannot hold: a damaged header must not become hours of
/// promised silence.
fn plausible(inside: &Inside<'_>, timeline: Timeline) -> Timeline {
    let most = inside.resident.length().map_or(u64::MAX, |b| b.saturating_mul(FRAMES_PER_BYTE));
    Timeline { frames: timeline.frames.filter(|frames| *frames <= most), ..timeline }
}

/// Whether a packet can start at frame `at`, behind those that are lost: its track reaches so far,
/// and so do the bytes that were read.
pub(super) fn is_plausible(inside: &Inside<'_>, at: u64, end: i64) -> bool {
    let read = inside.resident.bytes_before(inside.desk.read_to.get());
    let most = read.saturating_mul(FRAMES_PER_BYTE);
    at <= most && i64::try_from(at).is_ok_and(|at| at <= end)
}

/// The name of a codec that we decode.
fn codec_name(id: AudioCodecId) -> Option<&'static str> {
    Some(match id {
        CODEC_ID_AAC => "aac",
        CODEC_ID_ALAC => "alac",
        CODEC_ID_FLAC => "flac",
        CODEC_ID_MP3 => "mp3",
        CODEC_ID_OPUS => "opus",
        CODEC_ID_VORBIS => "vorbis",
        CODEC_ID_ADPCM_MS => "adpcm_ms",
        CODEC_ID_ADPCM_IMA_WAV => "adpcm_ima_wav",
        CODEC_ID_ADPCM_IMA_QT => "adpcm_ima_qt",
        CODEC_ID_PCM_ALAW => "pcm_alaw",
        CODEC_ID_PCM_MULAW => "pcm_mulaw",
        CODEC_ID_PCM_U8 => "pcm_u8",
        CODEC_ID_PCM_S8 => "pcm_s8",
        CODEC_ID_PCM_S16LE => "pcm_s16le",
        CODEC_ID_PCM_S16BE => "pcm_s16be",
        CODEC_ID_PCM_S24LE => "pcm_s24le",
        CODEC_ID_PCM_S24BE => "pcm_s24be",
        CODEC_ID_PCM_S32LE => "pcm_s32le",
        CODEC_ID_PCM_S32BE => "pcm_s32be",
        CODEC_ID_PCM_F32LE => "pcm_f32le",
        CODEC_ID_PCM_F32BE => "pcm_f32be",
        CODEC_ID_PCM_F64LE => "pcm_f64le",
        CODEC_ID_PCM_F64BE => "pcm_f64be",
        _ => return None,
    })
}
