//! From bytes to a track: finds the container, opens its reader, chooses the track.

use std::{cell::Cell, collections::VecDeque, rc::Rc};

use symphonia::{
    core::{
        audio::{Channels, Position},
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
    Container, Error,
    demux::{Demux, Reader, Samples},
    elementary,
    headers::{self, Header, Kind, find_frames, tag_bytes},
    matroska, mp4, ogg, sbr,
    sniff::{by_frame, by_magic, is_ac3, is_markup},
    source::{Inside, Source, View, Window},
    tables, tags, wav, xing,
};

/// How far behind tags a first frame is looked for: cut-in streams and broken tags have junk there,
/// 200 kB of it in the worst file seen.
const JUNK_BYTES: u64 = 512 << 10;
/// Tags in a row before the audio. Real files have up to three.
const TAGS: usize = 16;
/// The ring of symphonia's stream, which insists on more than 32 KiB.
const RING_BYTES: usize = 64 << 10;

/// A track ready to be decoded.
pub(super) struct Opened<'y> {
    pub(super) demux: Demux<'y>,
    pub(super) container: Container,
    pub(super) params: AudioCodecParameters,
    pub(super) codec: &'static str,
    pub(super) timeline: Timeline,
    /// Frames of the running link of a chain, where that is known; `None` if there is no chain.
    pub(super) link_frames: Option<u64>,
    pub(super) tags: Vec<(String, String)>,
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

/// Opens the wanted audio track of the source.
pub(super) fn open<'y>(inside: &Rc<Inside<'y>>, wanted: Option<u32>) -> Result<Opened<'y>, Error> {
    let found = find(inside)?;
    match (found.container, found.header) {
        (Container::Other(name), _) => Err(Error::unsupported(name)),
        (_, Some(header)) => {
            the_only_one(wanted)?;
            open_elementary(inside, found, header)
        }
        _ => open_reader(inside, found, wanted),
    }
}

fn find(inside: &Inside<'_>) -> Result<Found, Error> {
    let (start, tags) = pass_tags(inside);
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
    let (start, header) = find_stream(inside, start).ok_or(Error::NotMedia)?;
    Ok(Found { container: by_frame(&header), start, header: Some(header), tags })
}

/// Where the tags before the audio end, and what they say.
fn pass_tags(inside: &Inside<'_>) -> (u64, Vec<(String, String)>) {
    let (mut start, mut tags) = (0, Vec::new());
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

fn open_elementary<'y>(
    inside: &Rc<Inside<'y>>,
    found: Found,
    header: Header,
) -> Result<Opened<'y>, Error> {
    let mut params = AudioCodecParameters::new();
    params.with_sample_rate(header.rate_hz);
    params.with_channels(Channels::Discrete(header.channels));
    let (codec, mut start, mut timeline) = ("mp3", found.start, Timeline::default());
    let codec = match header.kind {
        Kind::Adts => {
            params.for_codec(CODEC_ID_AAC);
            params.with_channels(aac_channels(header.channels)?);
            let packets = first_packets(inside, start, header);
            refuse_hidden_extension(packets.iter().map(Vec::as_slice), header.rate_hz)?;
            "aac"
        }
        Kind::Mpeg { .. } => {
            params.for_codec(CODEC_ID_MP3);
            (start, timeline) = pass_info_frame(inside, start, &header);
            codec
        }
    };
    let window = Window::new(Rc::clone(inside), start, u64::MAX);
    Ok(Opened {
        demux: Demux::Elementary(elementary::Frames::new(window, header)),
        container: found.container,
        params,
        codec,
        timeline,
        link_frames: None,
        tags: found.tags,
    })
}

/// Refuses HE-AAC that only its packets tell of, not the configuration of their core.
fn refuse_hidden_extension<'a>(
    packets: impl Iterator<Item = &'a [u8]>,
    core_hz: u32,
) -> Result<(), Error> {
    if sbr::is_extended(packets, core_hz) {
        return Err(Error::unsupported("aac (HE-AAC)"));
    }
    Ok(())
}

/// The first packets of an ADTS stream that differ from the one before them.
fn first_packets(inside: &Rc<Inside<'_>>, start: u64, first: Header) -> Vec<Vec<u8>> {
    let window = Window::new(Rc::clone(inside), start, u64::MAX);
    let mut frames = elementary::Frames::new(window, first);
    let mut packets: Vec<Vec<u8>> = Vec::new();
    for _ in 0..sbr::MOST_PACKETS {
        let Some((header, bytes)) = frames.next() else { break };
        let packet = bytes.get(header.header_bytes..).unwrap_or_default();
        if packets.last().is_none_or(|last| last != packet) {
            packets.push(packet.to_vec());
        }
        if packets.len() == sbr::PACKETS {
            break;
        }
    }
    packets
}

/// The first audio frame of an MP3, behind the one that only carries a Xing or VBRI tag, and what
/// that tag says about the timeline.
fn pass_info_frame(inside: &Inside<'_>, start: u64, header: &Header) -> (u64, Timeline) {
    let mut frame = vec![0; header.bytes];
    let length = inside.read_full(start, &mut frame);
    let Some(tag) = xing::parse(&frame[..length]) else { return (start, Timeline::default()) };
    let total = tag.packets.filter(|_| is_whole(inside, start, &tag)).map(|packets| {
        let decoded = u64::from(packets) * u64::from(header.frames);
        decoded.saturating_sub(u64::from(tag.delay) + u64::from(tag.padding))
    });
    let timeline = Timeline { delay: i64::from(tag.delay), frames: total };
    (start + header.bytes as u64, timeline)
}

/// Whether the tag counts exactly the bytes that are there: to the end of the object, or to a tag
/// behind the audio.
fn is_whole(inside: &Inside<'_>, start: u64, tag: &xing::Tag) -> bool {
    let (Some(length), Some(bytes)) = (inside.resident.length(), tag.bytes) else { return false };
    let end = start + u64::from(bytes);
    if end >= length {
        return end == length;
    }
    let mut behind = [0; 12];
    let got = inside.read_full(end, &mut behind);
    super::headers::is_trailer(&behind[..got])
}

/// The channels of an AAC channel configuration that we decode.
fn aac_channels(count: u16) -> Result<Channels, Error> {
    use symphonia::core::audio::layouts;
    match count {
        1 => Ok(layouts::CHANNEL_LAYOUT_MONO),
        2 => Ok(layouts::CHANNEL_LAYOUT_STEREO),
        0 => Err(Error::unsupported("aac (channels by program config)")),
        _ => Err(Error::unsupported("aac (more than two channels)")),
    }
}

fn open_reader<'y>(
    inside: &Rc<Inside<'y>>,
    found: Found,
    wanted: Option<u32>,
) -> Result<Opened<'y>, Error> {
    let movie = match found.container {
        Container::Mp4 => read_movie(inside, found.start)?,
        _ => None,
    };
    let streams = match found.container {
        Container::Ogg => ogg::streams(&mut reads(inside, found.start)),
        _ => Vec::new(),
    };
    refuse_ogg(&streams)?;
    if found.container == Container::Caf {
        let bytes = tables::packet_table_bytes(&mut reads(inside, found.start));
        fits(inside, "packet table", bytes)?;
    }
    if found.container == Container::Wav
        && let Some(opened) = open_wav(inside, &found)?
    {
        the_only_one(wanted)?;
        return Ok(opened);
    }
    let least_bytes = movie.as_ref().map_or(0, |movie| movie.media_end);
    let mut format = match make_reader(inside, &found, least_bytes) {
        Ok(format) => format,
        Err(error) => {
            let opened = open_empty(inside, found, &streams).ok_or(error)?;
            return the_only_one(wanted).map(|()| opened);
        }
    };
    let listed = choose(&*format, movie.as_ref(), wanted)?;
    let Some(CodecParameters::Audio(mut params)) = listed.codec_params.clone() else {
        return Err(Error::NoAudio);
    };
    let boxes = movie.as_ref().and_then(|m| m.tracks.iter().find(|track| track.id == listed.id));
    if let Some(name) = boxes.and_then(mp4::Track::refused) {
        return Err(Error::unsupported(name));
    }
    let codec =
        codec_name(params.codec).ok_or_else(|| Error::unsupported(refused(params.codec)))?;
    if codec == "aac"
        && matches!(found.container, Container::Mp4 | Container::Matroska)
        && let Some(config) = params.extra_data.as_deref()
    {
        if let Some(name) = mp4::refused_config(config) {
            return Err(Error::unsupported(name));
        }
        params.sample_rate = mp4::core_rate_hz(config).or(params.sample_rate);
    }
    if codec == "alac" && params.bits_per_sample.is_none() {
        params.bits_per_sample = params.extra_data.as_deref().and_then(alac_bits);
    }
    let timeline = match (&movie, boxes, params.sample_rate) {
        (Some(movie), Some(track), Some(rate_hz)) => movie.timeline(track, rate_hz),
        _ => stated(inside, found.container, &listed, &params),
    };
    let is_chained = found.container == Container::Ogg && is_chained(inside, &found, &streams);
    let timeline = match is_chained {
        // What is stated is the length of the first link.
        true => Timeline { frames: None, ..timeline },
        false => plausible(inside, timeline),
    };
    let link_frames = listed.num_frames.filter(|frames| is_chained && *frames > 0);
    let frames_per_tick = frames_per_tick(&listed, &params);
    let mut tags = found.tags;
    tags::collect(&mut *format, &mut tags);
    let mut reader = Reader {
        track: listed.id,
        format,
        frames_per_tick,
        fixed: (params.codec == CODEC_ID_AAC).then_some(1024),
        // Matroska's milliseconds count no frames.
        counts_exactly: found.container != Container::Matroska
            && frames_per_tick.0 == frames_per_tick.1,
        early: VecDeque::new(),
        current: None,
    };
    if codec == "aac" {
        refuse_hidden_extension(
            reader.peek(sbr::PACKETS, sbr::MOST_PACKETS),
            params.sample_rate.unwrap_or(0),
        )?;
    }
    Ok(Opened {
        demux: Demux::Symphonia(reader),
        container: found.container,
        params,
        codec,
        timeline,
        link_frames,
        tags,
    })
}

/// Bits per sample by the ALACSpecificConfig, which the reader does not pass on.
fn alac_bits(config: &[u8]) -> Option<u32> {
    let bits = config.get(5).map(|bits| u32::from(*bits));
    bits.filter(|bits| config.len() >= 24 && config[4] == 0 && [16, 20, 24, 32].contains(bits))
}

/// Goes on to the next link of a chained stream, which its reader has come to.
///
/// # Errors
/// [`Error::Unsupported`] if it is not like the ones before it: what goes out has one shape.
pub(super) fn open_link(opened: &mut Opened<'_>, wanted: Option<u32>) -> Result<(), Error> {
    let other = || Error::unsupported("a chain of streams that differ in codec, rate or channels");
    let Demux::Symphonia(reader) = &mut opened.demux else { return Err(other()) };
    let listed = choose(&*reader.format, None, wanted).map_err(|_| other())?;
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
    reader.start_link(listed.id);
    opened.params = params;
    opened.link_frames = listed.num_frames.filter(|frames| *frames > 0);
    Ok(())
}

fn is_chained(inside: &Inside<'_>, found: &Found, streams: &[ogg::Stream]) -> bool {
    let length = inside.resident.length().map(|length| length.saturating_sub(found.start));
    let mut read = reads(inside, found.start);
    length.is_some_and(|length| ogg::is_chained(&mut read, length, streams))
}

/// Reads of a source whose position 0 is `start`, for what is parsed here.
fn reads<'a>(inside: &'a Inside<'_>, start: u64) -> impl FnMut(u64, &mut [u8]) -> usize {
    move |at, into| inside.read_full(start.saturating_add(at), into)
}

/// A whole file whose headers are followed by no audio at all: readers look for the first packet and
/// fail, players play nothing.
fn open_empty<'y>(
    inside: &Rc<Inside<'y>>,
    found: Found,
    streams: &[ogg::Stream],
) -> Option<Opened<'y>> {
    let length = inside.resident.length()?.saturating_sub(found.start);
    let mut read = reads(inside, found.start);
    let (codec, shape) = match (found.container, streams.first()) {
        (Container::Flac, _) => (CODEC_ID_FLAC, headers::read_empty_flac(&mut read, length)?),
        (Container::Ogg, Some(stream)) => {
            let (codec, shape, packets) = match stream.packet.as_slice() {
                [1, b'v', b'o', b'r', b'b', b'i', b's', _, _, _, _, channels, rate @ ..] => {
                    let rate_hz = u32::from_le_bytes(rate.get(..4)?.try_into().ok()?);
                    (CODEC_ID_VORBIS, (rate_hz, u16::from(*channels), None), 3)
                }
                packet if packet.starts_with(b"\x7FFLAC") => {
                    (CODEC_ID_FLAC, headers::stream_info(packet.get(9..)?)?, 2)
                }
                _ => return None,
            };
            ogg::is_headers_only(&mut read, length, packets).then_some((codec, shape))?
        }
        _ => return None,
    };
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
        tags: found.tags,
    })
}

/// The boxes of an MP4 file, with a refusal where none of its audio is ours.
///
/// symphonia's reader fails as a whole on some of what it does not know; the name is said here.
fn read_movie(inside: &Inside<'_>, start: u64) -> Result<Option<mp4::Movie>, Error> {
    let movie = mp4::read(&mut reads(inside, start), inside.table_bytes);
    let Some(movie) = movie else { return Ok(None) };
    fits(inside, "sample tables", movie.table_bytes)?;
    let mut audio = movie.tracks.iter().filter(|track| track.is_audio).peekable();
    if audio.peek().is_none() {
        return Err(Error::NoAudio);
    }
    let mut refused = audio.map(mp4::Track::refused);
    let first = refused.next().flatten();
    match first {
        Some(name) if refused.all(|name| name.is_some()) => Err(Error::unsupported(name)),
        _ => Ok(Some(movie)),
    }
}

/// Refuses tables that would take too much memory, before they are loaded.
fn fits(inside: &Inside<'_>, table: &'static str, bytes: u64) -> Result<(), Error> {
    let limit_bytes = inside.table_bytes;
    if bytes > limit_bytes { Err(Error::TooLarge { table, limit_bytes }) } else { Ok(()) }
}

/// Refuses by name what the first packet of an Ogg stream says it is.
fn refuse_ogg(streams: &[ogg::Stream]) -> Result<(), Error> {
    let Some(ogg::Stream { packet, .. }) = streams.first() else { return Ok(()) };
    let known: [(&[u8], &str); 3] =
        [(b"OpusHead", "opus"), (b"Speex   ", "speex"), (b"CELT    ", "celt")];
    match known.iter().find(|(magic, _)| packet.starts_with(magic)) {
        Some((_, name)) => Err(Error::unsupported(*name)),
        None => Ok(()),
    }
}

/// Opens a WAVE file of samples in a row. `None`: its blocks are for symphonia's reader.
fn open_wav<'y>(inside: &Rc<Inside<'y>>, found: &Found) -> Result<Option<Opened<'y>>, Error> {
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
    let (id, is_integer) = wav_codec(wav.coding);
    let mut params = AudioCodecParameters::new();
    params.for_codec(id).with_sample_rate(wav.rate_hz).with_channels(wav_channels(&wav));
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
        tags,
    }))
}

/// The codec of a coding, and whether its samples are plain integers.
fn wav_codec(coding: wav::Coding) -> (AudioCodecId, bool) {
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

fn wav_channels(wav: &wav::Wav) -> Channels {
    let positions = wav.mask.and_then(|mask| Position::from_bits(u64::from(mask)));
    positions.map_or(Channels::Discrete(wav.channels), Channels::Positioned)
}

/// What the container itself says of the timeline, where it can be believed.
fn stated(
    inside: &Inside<'_>,
    container: Container,
    listed: &Listed,
    params: &AudioCodecParameters,
) -> Timeline {
    let frames = match (container, inside.resident.length()) {
        (Container::Flac, _) => listed.num_frames.filter(|frames| *frames > 0),
        (Container::Ogg, Some(_)) if params.codec == CODEC_ID_VORBIS => listed.num_frames,
        (Container::Ogg, _) if params.codec == CODEC_ID_FLAC => {
            listed.num_frames.filter(|frames| *frames > 0)
        }
        (Container::Wav | Container::Aiff | Container::Caf, Some(_)) => listed.num_frames,
        _ => None,
    };
    Timeline { delay: 0, frames }
}

/// `timeline` without a total that its bytes cannot hold: a damaged header must not become hours of
/// promised silence.
fn plausible(inside: &Inside<'_>, timeline: Timeline) -> Timeline {
    /// A constant FLAC frame, the densest there is: 65,535 frames in 11 bytes.
    const FRAMES_PER_BYTE: u64 = 6_000;
    let most = inside.resident.length().map_or(u64::MAX, |b| b.saturating_mul(FRAMES_PER_BYTE));
    Timeline { frames: timeline.frames.filter(|frames| *frames <= most), ..timeline }
}

/// The name of a codec that symphonia's readers know and nothing here decodes.
fn refused(id: AudioCodecId) -> &'static str {
    match id {
        CODEC_ID_OPUS => "opus",
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
        _ => "this codec",
    }
}

/// The reader of a container. A file of boxes is at least `least_bytes` long.
fn make_reader<'y>(
    inside: &Rc<Inside<'y>>,
    found: &Found,
    least_bytes: u64,
) -> Result<Box<dyn FormatReader + 'y>, Error> {
    let read = &mut reads(inside, found.start);
    let patches = match found.container {
        Container::Matroska => matroska::without_chapters_and_cues(read),
        Container::Flac => tables::without_seek_tables(read),
        _ => Vec::new(),
    };
    let reader = |is_in_order: &Rc<Cell<bool>>| {
        let in_order = Rc::clone(is_in_order);
        let view = View { in_order, least_bytes, patches: patches.clone() };
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
        Container::Flac => boxed(formats::FlacReader::try_new(stream, options)),
        Container::Ogg => boxed(formats::OggReader::try_new(stream, options)),
        Container::Mp4 => boxed(formats::IsoMp4Reader::try_new(stream, options)),
        Container::Matroska => boxed(formats::MkvReader::try_new(stream, options)),
        Container::Wav => boxed(formats::WavReader::try_new(stream, options)),
        Container::Aiff => boxed(formats::AiffReader::try_new(stream, options)),
        Container::Caf => boxed(formats::CafReader::try_new(stream, options)),
        Container::Mp3 | Container::Adts | Container::Other(_) => {
            Err(Error::unsupported(container.name()))
        }
    }
}

/// What holds one track holds no other.
fn the_only_one(wanted: Option<u32>) -> Result<(), Error> {
    match wanted {
        None | Some(0) => Ok(()),
        Some(_) => Err(Error::NoTrack { tracks: 1 }),
    }
}

/// The wanted audio track. Those of a movie are counted in its own boxes: the reader leaves out
/// tracks of codecs that it does not know.
fn choose(
    format: &dyn FormatReader,
    movie: Option<&mp4::Movie>,
    wanted: Option<u32>,
) -> Result<Listed, Error> {
    let is_audio = |track: &&Listed| matches!(track.codec_params, Some(CodecParameters::Audio(_)));
    let mut known = format.tracks().iter().filter(is_audio);
    let boxes: Vec<_> = movie.iter().flat_map(|movie| movie.audio_tracks()).collect();
    let Some(index) = wanted.map(|wanted| wanted as usize) else {
        let unknown = || boxes.first().map_or(Error::NoAudio, |track| track.unsupported());
        return known.next().cloned().ok_or_else(unknown);
    };
    let tracks = if movie.is_some() { boxes.len() } else { known.clone().count() };
    if tracks == 0 {
        return Err(Error::NoAudio);
    }
    let found = match boxes.get(index) {
        Some(track) => {
            known.find(|listed| listed.id == track.id).ok_or_else(|| track.unsupported())
        }
        None => known.nth(index).filter(|_| index < tracks).ok_or(Error::NoTrack { tracks }),
    };
    found.cloned()
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

/// The name of a codec that we decode.
fn codec_name(id: AudioCodecId) -> Option<&'static str> {
    Some(match id {
        CODEC_ID_AAC => "aac",
        CODEC_ID_ALAC => "alac",
        CODEC_ID_FLAC => "flac",
        CODEC_ID_MP3 => "mp3",
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
