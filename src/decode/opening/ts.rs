//! MPEG-TS: the program and the stream that are wanted, by its tables, and what that holds, by its first
//! frame.

use std::rc::Rc;

use super::{Found, Opened, Timeline, aac::he_aac_of, params_of, several};
use crate::decode::{
    AudioTrack, Error,
    demux::{
        Demux,
        ts::{Choice, Packets, Payload, Track},
    },
    headers::{Header, Kind},
    sniff::by_frame,
    source::{Inside, Window},
    ts::{Coding, Framing, Map, Stream, Tables},
};

/// How far tables are looked for: they come every half second at least.
const TABLES_BYTES: u64 = 4 << 20;
/// How far audio that they name is looked for. Before it may lie the pictures that are shown until then:
/// these are two seconds of 64 Mbit/s, which is more than Blu-ray has.
const AUDIO_BYTES: u64 = 16 << 20;
/// How far what its first packets are is looked for.
const SURVEY_BYTES: u64 = 2 * AUDIO_BYTES;

/// Opens the wanted audio stream of the first program that has any, its first if none is.
pub(super) fn open<'y>(
    inside: &Rc<Inside<'y>>,
    found: Found,
    wanted: Option<u32>,
) -> Result<Opened<'y>, Error> {
    let map = tables(inside, found.start)?;
    let choice = choose(&map, wanted)?;
    let track = |bytes| {
        let packets = packets(inside, found.start, bytes)?;
        first_frame(Payload::new(packets, choice), choice.coding)
    };
    let (_, header) = track(AUDIO_BYTES)?;
    let whole = || track(u64::MAX).map(|(track, _)| track);
    let mut params = params_of(&header)?;
    let (codec, demux) = match header.kind {
        Kind::Adts => {
            let packets = Demux::Ts(Box::new(track(SURVEY_BYTES)?.0));
            match he_aac_of(packets, &params, None)? {
                Some((codec, setup)) => {
                    params = setup.params();
                    (codec, whole()?.extended())
                }
                None => ("aac", whole()?),
            }
        }
        Kind::Mpeg { layer: 3 } => ("mp3", whole()?),
        Kind::Mpeg { .. } => return Err(Error::unsupported(by_frame(&header).name())),
    };
    Ok(Opened {
        demux: Demux::Ts(Box::new(demux)),
        container: found.container,
        params,
        codec,
        timeline: Timeline::default(),
        link_frames: None,
        claim: None,
        tags: found.tags,
        tracks: several(map.audio.iter().map(listed)),
    })
}

/// The packets that start at a position, as far as so many bytes go.
fn packets<'y>(inside: &Rc<Inside<'y>>, start: u64, bytes: u64) -> Result<Packets<'y>, Error> {
    let mut head = [0; 1024];
    let length = inside.read_full(start, &mut head);
    let framing = Framing::of(&head[..length]).ok_or(Error::NotMedia)?;
    let end = start.saturating_add(bytes);
    Ok(Packets::new(Window::new(Rc::clone(inside), start, end), framing))
}

/// The first program with audio by the tables of an init section, if there is one that has them (RFC 8216, 3.2),
/// else by those of the media that starts there.
fn tables(inside: &Rc<Inside<'_>>, media: u64) -> Result<Map, Error> {
    let by = |start| first_with_audio(packets(inside, start, TABLES_BYTES)?);
    let init = inside.resident.start().head;
    match inside.resident.is_tape() && init != media {
        true => by(init).or_else(|_| by(media)),
        false => by(media),
    }
}

/// The track at its first frame, and the header of that.
fn first_frame(mut payload: Payload<'_>, coding: Coding) -> Result<(Track<'_>, Header), Error> {
    match Track::open(&mut payload, coding) {
        Some(header) => Ok((Track::new(payload, header), header)),
        None if payload.is_scrambled() => Err(Error::unsupported("scrambled mpegts")),
        None => {
            let mib = AUDIO_BYTES >> 20;
            Err(Error::damaged(format!("there is no frame of audio in its first {mib} MiB")))
        }
    }
}

/// What a table says of a stream; its frames would say more.
fn listed(stream: &Stream) -> AudioTrack {
    let codec = match stream.coding {
        Coding::Adts => Some("aac"),
        // Of which layer its frames say.
        Coding::Mpeg => None,
        Coding::Other(name) => Some(name),
    };
    AudioTrack { codec, language: stream.language.clone(), ..AudioTrack::default() }
}

/// The wanted audio stream.
fn choose(map: &Map, wanted: Option<u32>) -> Result<Choice, Error> {
    let track = wanted.unwrap_or(0) as usize;
    match map.audio.get(track) {
        None => Err(Error::NoTrack { tracks: map.audio.len() }),
        Some(Stream { coding: Coding::Other(name), .. }) => Err(Error::unsupported(*name)),
        Some(Stream { pid, coding, .. }) => {
            Ok(Choice { program: map.program, track, coding: *coding, pid: *pid })
        }
    }
}

/// The first program that has audio, in the order in which they are listed.
fn first_with_audio(mut packets: Packets<'_>) -> Result<Map, Error> {
    let (mut tables, mut maps) = (Tables::default(), Vec::<Map>::new());
    while let Some((_, packet, payload)) = packets.next() {
        let new = tables.take(packet.pid, packet.is_start, payload);
        if new.is_empty() {
            continue;
        }
        for map in new {
            maps.retain(|known| known.program != map.program);
            maps.push(map);
        }
        let described = |number| maps.iter().find(|map| map.program == number);
        let numbers = tables.programs().iter().map(|program| program.number);
        // Those before it are known to have none.
        let known: Vec<_> = numbers.map_while(described).collect();
        if let Some(map) = known.iter().find(|map| !map.audio.is_empty()) {
            return Ok((*map).clone());
        }
        if !known.is_empty() && known.len() == tables.programs().len() {
            return Err(Error::NoAudio);
        }
    }
    // Programs that are listed may never come.
    let found = maps.into_iter().find(|map| !map.audio.is_empty());
    found.ok_or(Error::damaged("there is no table of programs"))
}
