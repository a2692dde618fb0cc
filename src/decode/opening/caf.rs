//! The Core Audio Format: samples in a row, or packets of a codec.

use std::rc::Rc;

use symphonia::core::{
    audio::{Channels, Position},
    codecs::audio::{AudioCodecId, AudioCodecParameters, well_known::*},
};

use super::{Found, Opened, Timeline, aac, codec_name, fits, mp4::pcm_of, plausible, reads};
use crate::decode::{
    Error, alac,
    caf::{self, Caf, Format, Table},
    demux::{
        Demux, Samples,
        caf::{Packets, Plan},
    },
    he_aac,
    mp4::{self, Pcm},
    source::{Inside, Window},
    tags,
};

/// Opens a CAF file.
pub(super) fn open<'y>(inside: &Rc<Inside<'y>>, found: Found) -> Result<Opened<'y>, Error> {
    let length = inside.resident.length().map(|length| length.saturating_sub(found.start));
    let is_at_hand = inside.resident.length_at_hand().is_some();
    let caf = caf::read(&mut reads(inside, found.start), length, is_at_hand)?;
    let (codec, params, demux, timeline) = match caf.format.pcm() {
        Some(pcm) => samples(inside, found.start, &caf, pcm)?,
        None => packets(inside, found.start, &caf)?,
    };
    let mut tags = found.tags;
    if let Some(texts) = &caf.texts {
        let start = found.start.saturating_add(texts.start);
        tags::read_strings(inside, start, texts.end - texts.start, &mut tags);
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
        tracks: Vec::new(),
    })
}

/// What a track is, and its packets.
type Track<'y> = (&'static str, AudioCodecParameters, Demux<'y>, Timeline);

/// Samples in a row, of a file that starts at `base`.
fn samples<'y>(
    inside: &Rc<Inside<'y>>,
    base: u64,
    caf: &Caf,
    pcm: Pcm,
) -> Result<Track<'y>, Error> {
    let format = &caf.format;
    let unsupported = || Error::unsupported(format!("pcm of {} bits", format.bits));
    let (id, bits) = pcm_of(pcm).ok_or_else(unsupported)?;
    let codec = codec_name(id).ok_or_else(unsupported)?;
    let frame_bytes = pcm.sample_bytes() * u32::from(format.channels);
    if ![0, frame_bytes].contains(&(format.packet_bytes / format.packet_frames.max(1))) {
        // Nothing says at which end of its word such a sample lies.
        return Err(Error::unsupported("pcm in words wider than its samples"));
    }
    let mut params = params_of(format, id);
    if bits.is_some() {
        params.with_bits_per_sample(format.bits);
    }
    let mask = caf.mask.filter(|mask| mask.count_ones() == u32::from(format.channels));
    if let Some(positions) = mask.and_then(Position::from_wave_channel_mask) {
        params.with_channels(Channels::Positioned(positions));
    }
    let [start, end] = [caf.data.start, caf.data.end].map(|at| base.saturating_add(at));
    let window = Window::new(Rc::clone(inside), start, end);
    // What is written while it is sent says anything of its length.
    let bytes = caf.promised_bytes().filter(|_| inside.resident.length().is_some());
    let frames = bytes.map(|bytes| bytes / u64::from(frame_bytes));
    let demux = Demux::Samples(Samples::new(window, frame_bytes));
    Ok((codec, params, demux, Timeline { delay: 0, frames }))
}

/// Packets of a codec, of a file that starts at `base`.
fn packets<'y>(inside: &Rc<Inside<'y>>, base: u64, caf: &Caf) -> Result<Track<'y>, Error> {
    if caf.format.needs_table() && caf.table.is_none() {
        return Err(Error::damaged("its packet table is missing"));
    }
    let table_bytes = caf.table.as_ref().map_or(0, |table| table.entries.end - table.entries.start);
    fits(inside, "packet table", table_bytes)?;
    let mut params = coded_params_of(caf)?;
    let mut codec = codec_name(params.codec).ok_or_else(|| unsupported(&caf.format))?;
    if codec == "aac" {
        let core = Packets::new(inside, plan(base, caf, codec, &params));
        let stated = params.extra_data.as_deref().and_then(mp4::extension);
        let core = Demux::Caf(Box::new(core));
        if let Some((name, setup)) = aac::he_aac_of(core, &params, stated)? {
            (codec, params) = (name, setup.params());
        }
    }
    let plan = plan(base, caf, codec, &params);
    // The last packet of ALAC is looked at, where that is not to wait for all before it.
    let is_looked_at = plan.alac.is_none() || inside.resident.length_at_hand().is_some();
    let ratio = (plan.packet_frames.unwrap_or(1), u64::from(caf.format.packet_frames));
    let mut packets = Packets::new(inside, plan);
    let decoded = is_looked_at.then(|| packets.frames()).flatten();
    let ends = Ends::of(caf.table.as_ref(), ratio, decoded);
    let frames = ends.end.filter(|_| ends.is_sure).map(|end| end.saturating_sub(ends.priming));
    let timeline = Timeline { delay: ends.priming as i64, frames };
    Ok((codec, params, Demux::Caf(Box::new(packets.ends_at(ends.end))), timeline))
}

/// Which of the decoded frames are heard.
struct Ends {
    /// Frames before the first.
    priming: u64,
    /// Frames up to the last.
    end: Option<u64>,
    /// No packet that was not looked at may end before.
    is_sure: bool,
}

impl Ends {
    /// By the table, of which one packet has the second of `ratio` in frames and decodes to the first; and by what
    /// all packets decode to, if that is known.
    fn of(table: Option<&Table>, ratio: (u64, u64), decoded: Option<u64>) -> Self {
        let scaled = |frames: u64| match ratio {
            (each, said) if said > 0 && each != said => frames.saturating_mul(each) / said,
            _ => frames,
        };
        let priming = table.map_or(0, |table| scaled(table.priming));
        // Some writers leave it at 0.
        let said = table.filter(|table| table.frames > 0);
        let said = said.map(|table| priming.saturating_add(scaled(table.frames)));
        let has_remainder = table.is_some_and(|table| table.remainder > 0);
        let end = said.into_iter().chain(decoded).min();
        Self { priming, end, is_sure: decoded.is_some() || has_remainder }
    }
}

/// Where the packets lie, and what is known of them.
fn plan(base: u64, caf: &Caf, codec: &str, params: &AudioCodecParameters) -> Plan {
    let format = &caf.format;
    let said = |value: u32| (value > 0).then_some(u64::from(value));
    let entries = caf.table.as_ref().filter(|_| format.needs_table());
    let packets = match (entries, caf.promised_bytes()) {
        (Some(table), _) => table.packets,
        (None, Some(bytes)) => bytes / u64::from(format.packet_bytes),
        (None, None) => u64::MAX,
    };
    let entries = entries.map_or(0..0, |table| table.entries.clone());
    Plan {
        data: base.saturating_add(caf.data.start)..base.saturating_add(caf.data.end),
        packets,
        entries: base.saturating_add(entries.start)..base.saturating_add(entries.end),
        has_frames: format.packet_frames == 0,
        packet_bytes: said(format.packet_bytes),
        packet_frames: match codec {
            "aac" => Some(1024),
            codec if he_aac::is_it(codec) => Some(he_aac::PACKET_FRAMES),
            _ => said(format.packet_frames),
        },
        alac: params
            .extra_data
            .as_deref()
            .filter(|_| codec == "alac")
            .and_then(alac::Config::parse),
        starts_anywhere: codec != "mp3",
    }
}

fn params_of(format: &Format, id: AudioCodecId) -> AudioCodecParameters {
    let mut params = AudioCodecParameters::new();
    params.for_codec(id).with_sample_rate(format.rate_hz);
    params.with_channels(Channels::Discrete(format.channels));
    params
}

/// What a decoder of the packets needs to know.
///
/// # Errors
/// [`Error::Unsupported`] where there is none.
fn coded_params_of(caf: &Caf) -> Result<AudioCodecParameters, Error> {
    let format = &caf.format;
    match &format.kind {
        b"alac" => {
            let config = alac::config_in(&caf.cookie);
            let read = alac::Config::parse(config).filter(|config| config.rate_hz > 0);
            let read = read.ok_or(Error::damaged("its magic cookie is none of ALAC"))?;
            let mut params = params_of(format, CODEC_ID_ALAC);
            params.with_extra_data(config.into()).with_bits_per_sample(read.bits);
            params.with_sample_rate(read.rate_hz).with_channels(Channels::Discrete(read.channels));
            Ok(params)
        }
        b"aac " | b"aach" | b"aacp" => aac_params_of(caf),
        b".mp3" => Ok(params_of(format, CODEC_ID_MP3)),
        b"ima4" => ima_params_of(format),
        _ => Err(unsupported(format)),
    }
}

/// Of ADPCM by Apple's IMA 4:1, whose packets all are alike.
fn ima_params_of(format: &Format) -> Result<AudioCodecParameters, Error> {
    const PACKET_FRAMES: u32 = 64;
    const CHANNEL_BYTES: u32 = 34;
    let packet_bytes = CHANNEL_BYTES * u32::from(format.channels);
    if (format.packet_frames, format.packet_bytes) != (PACKET_FRAMES, packet_bytes) {
        return Err(Error::damaged("its packets are of another length than those of ima4"));
    }
    let mut params = params_of(format, CODEC_ID_ADPCM_IMA_QT);
    params.with_bits_per_sample(16).with_max_frames_per_packet(PACKET_FRAMES.into());
    params.with_frames_per_block(PACKET_FRAMES.into());
    Ok(params)
}

fn aac_params_of(caf: &Caf) -> Result<AudioCodecParameters, Error> {
    let config = aac_config(&caf.cookie);
    if let Some(name) = mp4::refused_config(&config) {
        return Err(Error::unsupported(name));
    }
    Ok(aac::params_by(&config, caf.format.rate_hz, caf.format.channels))
}

/// The AudioSpecificConfig in a magic cookie: in an elementary stream descriptor, which may stand behind a word of
/// version and flags, or alone.
fn aac_config(cookie: &[u8]) -> Vec<u8> {
    const ES_DESCRIPTOR: u8 = 3;
    match cookie {
        [ES_DESCRIPTOR, ..] => mp4::described(cookie).1,
        [0, 0, 0, 0, descriptors @ ..] => mp4::described(descriptors).1,
        config => config.to_vec(),
    }
}

/// That nothing here decodes the packets: by the name of their codec, or by its four letters.
fn unsupported(format: &Format) -> Error {
    let name = match &format.kind {
        b"MAC3" => "mace3",
        b"MAC6" => "mace6",
        b"QDMC" => "qdmc",
        b"QDM2" => "qdm2",
        b"Qclp" => "qcelp",
        b"agsm" => "gsm",
        b"ilbc" => "ilbc",
        b"samr" => "amr_nb",
        b"sawb" => "amr_wb",
        b".mp1" => "mp1",
        b".mp2" => "mp2",
        b"ac-3" | b"cac3" => "ac3",
        b"ec-3" => "eac3",
        b"opus" => "opus",
        b"flac" => "flac in caf",
        b"ms\0\x02" => "adpcm_ms",
        b"ms\0\x11" => "adpcm_ima_wav",
        b"ms\0\x31" => "gsm_ms",
        b"usac" => "aac (xHE-AAC)",
        b"aacl" | b"aace" | b"aacf" | b"aacg" | b"aacs" => "aac (not Low Complexity)",
        kind => return Error::unsupported(kind.escape_ascii().to_string()),
    };
    Error::unsupported(name)
}
