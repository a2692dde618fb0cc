//! Containers that symphonia's readers open: what is refused before they look, how they are
//! made, and which of their tracks is taken.

use std::{cell::Cell, collections::VecDeque, rc::Rc};

use symphonia::{
    core::{
        audio::Channels,
        codecs::{
            CodecParameters,
            audio::{AudioCodecId, AudioCodecParameters, well_known::*},
        },
        errors::Error as Fault,
        formats::{FormatOptions, FormatReader, Track as Listed},
        io::{MediaSourceStream, MediaSourceStreamOptions},
    },
    default::formats,
};

use super::{
    Found, Opened, Timeline, channels_of, codec_name, empty, matroska, plausible, reads, samples,
    several, the_only_one,
};
use crate::decode::{
    AudioTrack, Container, Error, alac,
    demux::{Codec, Demux, Pages, Reader},
    matroska::{names, without_chapters_and_cues},
    ogg, opus, sbr,
    source::{Inside, Source, View, Window},
    tags,
    vorbis::Blocks,
};

/// The ring of symphonia's stream, which insists on more than 32 KiB.
const RING_BYTES: usize = 64 << 10;

/// What is decoded out of MP4, CAF, ADTS and MPEG-TS alone.
pub(super) const HE_AAC: &str = "aac (HE-AAC outside of MP4, CAF, ADTS and MPEG-TS)";

pub(super) fn open<'y>(
    inside: &Rc<Inside<'y>>,
    found: Found,
    wanted: Option<u32>,
) -> Result<Opened<'y>, Error> {
    let streams = match found.container {
        Container::Ogg => ogg::streams(&mut reads(inside, found.start)),
        _ => Vec::new(),
    };
    refuse_ogg(&streams)?;
    if found.container == Container::Wav
        && let Some(opened) = samples::open(inside, &found)?
    {
        the_only_one(wanted)?;
        return Ok(opened);
    }
    let mut format = match make_reader(inside, &found) {
        Ok(format) => format,
        Err(error) => {
            let opened = empty::open(inside, found, &streams).ok_or(error)?;
            return the_only_one(wanted).map(|()| opened);
        }
    };
    let mut listed = choose(&*format, &streams, wanted)?;
    let Some(CodecParameters::Audio(mut params)) = listed.codec_params.clone() else {
        return Err(Error::NoAudio);
    };
    let codec =
        codec_name(params.codec).ok_or_else(|| Error::unsupported(refused(params.codec)))?;
    if codec == "opus" && ![Container::Ogg, Container::Matroska].contains(&found.container) {
        return Err(Error::unsupported("opus"));
    }
    if codec == "alac" && params.bits_per_sample.is_none() {
        params.bits_per_sample = alac_config(&params).map(|config| config.bits);
    }
    // symphonia 0.6.1 undoes the steps of a coupling in their order, not in the reverse (Vorbis I
    // 4.3.5): where there is more than one, other channels than were meant come out.
    if codec == "vorbis" && params.channels.as_ref().is_some_and(|channels| channels.count() > 2) {
        return Err(Error::unsupported("vorbis (more than two channels)"));
    }
    let tail = tail(inside, &found);
    let last_page = tail.map(|tail| tail.last);
    // Of links that all have one number, the last page speaks for all that it is of.
    let length = inside.resident.length().unwrap_or(0).saturating_sub(found.start);
    let is_of_several =
        |tail: ogg::Tail| tail.is_of_several(&mut reads(inside, found.start), length);
    let is_repeated = streams.len() == 1 && tail.is_some_and(is_of_several);
    let may_be_chained = found.container == Container::Ogg
        && (is_repeated
            || last_page.is_none_or(|last| streams.iter().all(|one| one.serial != last.serial)));
    if let Some(last) = last_page.filter(|last| last.is_last && last.serial == listed.id) {
        // The reader does not look past a damaged page.
        listed.num_frames = listed.num_frames.or(u64::try_from(last.granule).ok());
    }
    let tracks = tracks(inside, &found, &*format, &streams);
    let mut tags = found.tags;
    tags::collect(&mut *format, &mut tags);
    let container = found.container;
    let (mut demux, delay) = match container {
        Container::Ogg => (pages(inside, found.start, &listed, &params)?, 0),
        Container::Matroska => matroska::packets(inside, found.start, listed.id, &mut params)?,
        _ => (packets(format, &listed, &params)?, 0),
    };
    let timeline = match opus_start(&mut demux, &params)? {
        Some((delay, start)) => {
            let end = last_page.filter(|last| last.serial == listed.id && last.granule >= 0);
            let frames = start
                .zip(end)
                .map(|(start, end)| end.granule.saturating_sub(start).saturating_sub(delay));
            listed.num_frames = frames.and_then(|frames| u64::try_from(frames).ok());
            Timeline { delay, frames: listed.num_frames }
        }
        None => Timeline { delay, ..stated(inside, container, &listed, &params) },
    };
    let may_be_chained = may_be_chained
        // STREAMINFO states the total, and what could tell of others is not at hand.
        && (last_page.is_some() || codec != "flac" || timeline.frames.is_none());
    let timeline = match may_be_chained {
        // What is stated is the length of the first link.
        true => Timeline { frames: None, ..timeline },
        false => plausible(inside, timeline),
    };
    let is_of_link = may_be_chained && !is_repeated;
    let link_frames = listed.num_frames.filter(|frames| is_of_link && *frames > 0);
    let claim = None;
    Ok(Opened { demux, container, params, codec, timeline, link_frames, claim, tags, tracks })
}

/// What a reader says of all its audio tracks.
fn tracks(
    inside: &Inside<'_>,
    found: &Found,
    format: &dyn FormatReader,
    streams: &[ogg::Stream],
) -> Vec<AudioTrack> {
    let names = match found.container {
        Container::Matroska => names(&mut reads(inside, found.start)),
        _ => Vec::new(),
    };
    several(audio_tracks(format, streams).into_iter().filter_map(|track| {
        let Some(CodecParameters::Audio(params)) = &track.codec_params else { return None };
        let name = names.iter().find(|(number, _)| *number == u64::from(track.id));
        let rate_hz = match params.codec {
            CODEC_ID_OPUS => Some(opus::RATE_HZ),
            _ => params.sample_rate,
        };
        Some(AudioTrack {
            codec: codec_name(params.codec).or_else(|| name_of_refused(params.codec)),
            rate_hz,
            channels: channels_of(params),
            language: track.language.as_deref().and_then(AudioTrack::language),
            name: name.map(|(_, name)| name.clone()),
        })
    }))
}

/// The packets that a reader of symphonia's gives of a track.
///
/// # Errors
/// [`Error::Unsupported`] where they hide that they are HE-AAC.
fn packets<'y>(
    format: Box<dyn FormatReader + 'y>,
    listed: &Listed,
    params: &AudioCodecParameters,
) -> Result<Demux<'y>, Error> {
    let frames_per_tick = frames_per_tick(listed, params);
    let mut reader = Reader {
        track: listed.id,
        format,
        frames_per_tick,
        fixed: (params.codec == CODEC_ID_AAC).then_some(1024),
        counts_exactly: frames_per_tick.0 == frames_per_tick.1,
        early: VecDeque::new(),
        current: None,
    };
    if params.codec == CODEC_ID_AAC {
        let core_hz = params.sample_rate.unwrap_or(0);
        if sbr::is_extended(reader.peek(sbr::PACKETS, sbr::MOST_PACKETS), core_hz) {
            return Err(Error::unsupported(HE_AAC));
        }
    }
    Ok(Demux::Symphonia(reader))
}

/// Goes on to the next link of a chained stream, at which its pages stand. False if nothing opens
/// there.
///
/// # Errors
/// [`Error::Unsupported`] if it is not like the ones before it: what goes out has one shape.
pub(in crate::decode) fn open_link<'y>(
    inside: &Rc<Inside<'y>>,
    opened: &mut Opened<'y>,
    wanted: Option<u32>,
) -> Result<bool, Error> {
    let other = || Error::unsupported("a chain of streams that differ in codec, rate or channels");
    let Demux::Ogg(before) = &mut opened.demux else { return Err(other()) };
    let (container, start, serial) = (opened.container, before.position(), before.serial());
    let found = Found { container, start, header: None, tags: Vec::new() };
    let Ok(format) = make_reader(inside, &found) else {
        before.pass_link();
        return Ok(false);
    };
    let streams = ogg::streams(&mut reads(inside, start));
    let listed = choose(&*format, &streams, wanted).map_err(|_| other())?;
    let Some(CodecParameters::Audio(params)) = listed.codec_params.clone() else {
        return Err(other());
    };
    let shape = |params: &AudioCodecParameters| {
        let channels = params.channels.as_ref().map(Channels::count);
        (params.codec, params.sample_rate, channels, params.bits_per_sample)
    };
    if shape(&params) != shape(&opened.params) {
        return Err(other());
    }
    opened.demux = pages(inside, start, &listed, &params)?;
    // Where the next has the same number, the reader takes its end for that of this one.
    opened.link_frames = listed.num_frames.filter(|frames| *frames > 0 && listed.id != serial);
    if let Some((delay, _)) = opus_start(&mut opened.demux, &params)? {
        (opened.timeline.delay, opened.link_frames) = (delay, None);
    }
    opened.params = params;
    Ok(true)
}

/// The pages of the Ogg stream at `start`, for its packets.
fn pages<'y>(
    inside: &Rc<Inside<'y>>,
    start: u64,
    listed: &Listed,
    params: &AudioCodecParameters,
) -> Result<Demux<'y>, Error> {
    let window = Window::new(Rc::clone(inside), start, u64::MAX);
    Ok(Demux::Ogg(Pages::new(window, listed.id, codec_of(params)?)))
}

/// What the configuration of ALAC says, which the reader does not pass on.
pub(super) fn alac_config(params: &AudioCodecParameters) -> Option<alac::Config> {
    params.extra_data.as_deref().and_then(alac::Config::parse)
}

/// What says how many frames a packet of FLAC, Opus or Vorbis holds.
pub(super) fn codec_of(params: &AudioCodecParameters) -> Result<Codec, Error> {
    let codec = match params.codec {
        CODEC_ID_FLAC => Some(Codec::Flac),
        CODEC_ID_OPUS => Some(Codec::Opus),
        _ => params.extra_data.as_deref().and_then(Blocks::parse).map(Codec::Vorbis),
    };
    codec.ok_or(Error::damaged("the setup header has no modes"))
}

/// Frames that Opus decodes to before frame 0, and what its stream counts before the first of them, if
/// there is one. `None` for other codecs.
///
/// # Errors
/// [`Error::Unsupported`] where its channels are not for listeners.
fn opus_start(
    demux: &mut Demux<'_>,
    params: &AudioCodecParameters,
) -> Result<Option<(i64, Option<i64>)>, Error> {
    let Demux::Ogg(pages) = demux else { return Ok(None) };
    if params.codec != CODEC_ID_OPUS {
        return Ok(None);
    }
    let head = opus::Head::of(params)?;
    Ok(Some((head.preskip.into(), pages.first().map(|first| first.granule))))
}

/// The end of an Ogg file, which says whether other streams follow the first. `None` if it is not at hand.
fn tail(inside: &Inside<'_>, found: &Found) -> Option<ogg::Tail> {
    if found.container != Container::Ogg {
        return None;
    }
    let length = inside.resident.length_at_hand()?.saturating_sub(found.start);
    ogg::Tail::read(&mut reads(inside, found.start), length)
}

/// Refuses by name what the first packet of an Ogg stream says it is.
fn refuse_ogg(streams: &[ogg::Stream]) -> Result<(), Error> {
    let Some(ogg::Stream { packet, .. }) = streams.first() else { return Ok(()) };
    if packet.starts_with(b"OpusHead") {
        // symphonia's reader knows fewer mappings, and refuses them without a name.
        return opus::Head::parse(packet).map(drop);
    }
    let known: [(&[u8], &str); 2] = [(b"Speex   ", "speex"), (b"CELT    ", "celt")];
    match known.iter().find(|(magic, _)| packet.starts_with(magic)) {
        Some((_, name)) => Err(Error::unsupported(*name)),
        None => Ok(()),
    }
}

/// The reader of a container.
fn make_reader<'y>(
    inside: &Rc<Inside<'y>>,
    found: &Found,
) -> Result<Box<dyn FormatReader + 'y>, Error> {
    let read = &mut reads(inside, found.start);
    let patches = match found.container {
        Container::Matroska => without_chapters_and_cues(read),
        Container::Ogg => ogg::false_checksums(read),
        _ => Vec::new(),
    };
    let reader = |is_in_order: &Rc<Cell<bool>>| {
        let in_order = Rc::clone(is_in_order);
        let view = View { in_order, patches: patches.clone() };
        let source = Source::new(Rc::clone(inside), found.start, view);
        let options = MediaSourceStreamOptions { buffer_len: RING_BYTES };
        new_reader(found.container, MediaSourceStream::new(Box::new(source), options))
    };
    match found.container {
        // It would look behind the audio first, where seldom anything is, and reads 64 KiB before
        // that to get there. From then on any frame is found by arithmetic.
        Container::Aiff => {
            let in_order = Rc::new(Cell::new(true));
            let first = reader(&in_order);
            in_order.set(false);
            first.or_else(|error| reader(&in_order).map_err(|_| error))
        }
        Container::Ogg if inside.resident.length_at_hand().is_none() => {
            reader(&Rc::new(true.into()))
        }
        // These look there too, and a file that was cut ends before that.
        Container::Matroska | Container::Ogg => {
            reader(&Rc::default()).or_else(|error| reader(&Rc::new(true.into())).map_err(|_| error))
        }
        _ => reader(&Rc::default()),
    }
}

fn new_reader<'y>(
    container: Container,
    stream: MediaSourceStream<'y>,
) -> Result<Box<dyn FormatReader + 'y>, Error> {
    let options = FormatOptions::default();
    fn boxed<'y, R: FormatReader + 'y>(
        reader: Result<R, Fault>,
    ) -> Result<Box<dyn FormatReader + 'y>, Error> {
        match reader {
            Ok(reader) => Ok(Box::new(reader)),
            Err(fault) => Err(Error::damaged(fault.to_string())),
        }
    }
    match container {
        Container::Ogg => boxed(formats::OggReader::try_new(stream, options)),
        Container::Matroska => boxed(formats::MkvReader::try_new(stream, options)),
        Container::Wav => boxed(formats::WavReader::try_new(stream, options)),
        Container::Aiff => boxed(formats::AiffReader::try_new(stream, options)),
        Container::Mp3
        | Container::Adts
        | Container::Flac
        | Container::Caf
        | Container::Mp4
        | Container::Ts
        | Container::Other(_) => Err(Error::unsupported(container.name())),
    }
}

/// The wanted audio track.
fn choose(
    format: &dyn FormatReader,
    streams: &[ogg::Stream],
    wanted: Option<u32>,
) -> Result<Listed, Error> {
    let tracks = audio_tracks(format, streams);
    if tracks.is_empty() {
        return Err(Error::NoAudio);
    }
    let found = tracks.get(wanted.unwrap_or(0) as usize);
    found.map(|track| (*track).clone()).ok_or(Error::NoTrack { tracks: tracks.len() })
}

/// The audio tracks in the order of the file. Where that is Ogg, of these streams, the reader has them by
/// their numbers, which are drawn by lot.
fn audio_tracks<'a>(format: &'a dyn FormatReader, streams: &[ogg::Stream]) -> Vec<&'a Listed> {
    let is_audio = |track: &&Listed| matches!(track.codec_params, Some(CodecParameters::Audio(_)));
    let mut tracks: Vec<_> = format.tracks().iter().filter(is_audio).collect();
    let place = |track: &&Listed| streams.iter().position(|stream| stream.serial == track.id);
    tracks.sort_by_key(|track| place(track).unwrap_or(usize::MAX));
    tracks
}

/// Frames per tick of the track's time base, as a fraction.
fn frames_per_tick(listed: &Listed, params: &AudioCodecParameters) -> (u64, u64) {
    match (listed.time_base, params.sample_rate) {
        (Some(base), Some(rate)) => {
            (u64::from(base.numer.get()) * u64::from(rate), u64::from(base.denom.get()))
        }
        _ => (1, 1),
    }
}

/// What the container itself says of the timeline, where it can be believed.
fn stated(
    inside: &Inside<'_>,
    container: Container,
    listed: &Listed,
    params: &AudioCodecParameters,
) -> Timeline {
    let frames = match (container, inside.resident.length()) {
        (Container::Ogg, Some(_)) if params.codec == CODEC_ID_VORBIS => listed.num_frames,
        (Container::Ogg, _) if params.codec == CODEC_ID_FLAC => {
            listed.num_frames.filter(|frames| *frames > 0)
        }
        (Container::Wav | Container::Aiff, Some(_)) => listed.num_frames,
        _ => None,
    };
    Timeline { delay: 0, frames }
}

/// The name of a codec that symphonia's readers know and nothing here decodes.
fn refused(id: AudioCodecId) -> &'static str {
    name_of_refused(id).unwrap_or("this codec")
}

fn name_of_refused(id: AudioCodecId) -> Option<&'static str> {
    Some(match id {
        CODEC_ID_SPEEX => "speex",
        CODEC_ID_AC3 => "ac3",
        CODEC_ID_EAC3 => "eac3",
        CODEC_ID_AC4 => "ac4",
        CODEC_ID_DCA => "dts",
        CODEC_ID_MP1 => "mp1",
        CODEC_ID_MP2 => "mp2",
        CODEC_ID_WAVPACK => "wavpack",
        CODEC_ID_TTA => "tta",
        CODEC_ID_TRUEHD => "truehd",
        _ => return None,
    })
}
