//! Ogg streams, taken apart and put together.

use std::ops::Range;

use kithara::decode::Error;

use crate::{
    hear::{WHOLE, hear, hear_track, is_same, small, strings},
    opening::block_bytes,
};

/// Pages of an Ogg stream.
pub(crate) fn pages(bytes: &[u8]) -> Vec<Range<usize>> {
    let (mut at, mut pages) = (0, Vec::new());
    while at < bytes.len() {
        let lacing = &bytes[at + 27..][..usize::from(bytes[at + 26])];
        let end = at + 27 + lacing.iter().map(|length| 1 + usize::from(*length)).sum::<usize>();
        pages.push(at..end);
        at = end;
    }
    pages
}

/// Gives every page of an Ogg stream another serial number, and its checksum.
pub(crate) fn renumbered(bytes: &[u8], serial: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let lacing = usize::from(bytes[at + 26]);
        let body: usize = bytes[at + 27..][..lacing].iter().map(|byte| usize::from(*byte)).sum();
        let page = &mut bytes[at..at + 27 + lacing + body];
        page[14..18].copy_from_slice(&serial.to_le_bytes());
        page[22..26].fill(0);
        let sum = page.iter().fold(0u32, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
                (sum << 1) ^ if sum >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
            })
        });
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        at += 27 + lacing + body;
    }
    bytes
}

/// A page of one packet.
fn page(flags: u8, granule: u64, sequence: u32, packet: &[u8]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(granule.to_le_bytes());
    page.extend([0; 4]);
    page.extend(sequence.to_le_bytes());
    page.extend([0; 4]);
    let lacing = packet.len() / 255;
    page.push(lacing as u8 + 1);
    page.extend(vec![255; lacing]);
    page.push((packet.len() % 255) as u8);
    page.extend(packet);
    page
}

/// A FLAC file of blocks of 4096 frames in Ogg, a page for each (RFC 9639, 10.1).
pub(crate) fn in_ogg(flac: &[u8]) -> Vec<u8> {
    let info = 4..4 + block_bytes(flac, 4);
    let mut start = 4;
    while flac[start] & 0x80 == 0 {
        start += block_bytes(flac, start);
    }
    start += block_bytes(flac, start);
    let first = [&b"\x7FFLAC\x01\0\0\x01fLaC\0"[..], &flac[info][1..]].concat();
    let comment = b"\x84\0\0\x08\0\0\0\0\0\0\0\0";
    let mut ogg = [page(2, 0, 0, &first), page(0, 0, 1, comment)].concat();
    let head = [flac[start], flac[start + 1]];
    let total = u64::from(u32::from_be_bytes(flac[22..26].try_into().expect("four bytes")));
    for number in 0.. {
        let next = char::from_u32(number + 1).expect("few frames").to_string().into_bytes();
        let rest = &flac[start + 4..];
        let is_next =
            |at: &usize| rest[*at..].starts_with(&head) && rest[at + 4..].starts_with(&next);
        let end = (0..rest.len() - 16).find(is_next).map(|at| start + 4 + at);
        let flags = if end.is_none() { 4 } else { 0 };
        let granule = total.min(u64::from(number + 1) * 4096);
        ogg.extend(page(flags, granule, number + 2, &flac[start..end.unwrap_or(flac.len())]));
        let Some(end) = end else { break };
        start = end;
    }
    renumbered(&ogg, 5)
}

/// The packets of an Ogg stream, its headers among them.
pub(crate) fn packets(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut packet) = (Vec::new(), Vec::new());
    for page in pages(bytes) {
        let lacing = usize::from(bytes[page.start + 26]);
        let mut at = page.start + 27 + lacing;
        for length in &bytes[page.start + 27..][..lacing] {
            packet.extend(&bytes[at..][..usize::from(*length)]);
            at += usize::from(*length);
            if *length < 255 {
                packets.push(std::mem::take(&mut packet));
            }
        }
    }
    packets
}

/// Streams that start together: a page of each in turn.
fn multiplexed(streams: &[&[u8]]) -> Vec<u8> {
    let pages: Vec<Vec<_>> = streams.iter().map(|stream| pages(stream)).collect();
    let most = pages.iter().map(Vec::len).max().unwrap_or(0);
    let page = |stream: usize, page: usize| pages[stream].get(page).cloned();
    let turns = (0..most).flat_map(|number| (0..streams.len()).map(move |stream| (stream, number)));
    let bytes = turns.filter_map(|(stream, number)| Some(&streams[stream][page(stream, number)?]));
    bytes.flatten().copied().collect()
}

#[test]
fn tracks_are_numbered_as_they_begin_whatever_their_serial_numbers() {
    let (vorbis, opus, flac) = (strings("strings.ogg"), small("opus.ogg"), strings("strings.flac"));
    let (vorbis, flac) = (&vorbis[..], &in_ogg(&flac)[..]);
    let streams = [(vorbis, "vorbis"), (&opus[..], "opus"), (flac, "flac")];
    let alone = streams.map(|(bytes, _)| hear(bytes, WHOLE, 0));
    let film = [page(2, 0, 0, b"\x80theora"), page(4, 9, 1, b"pictures")].concat();
    for serials in [[1, 2, 3], [3, 1, 2], [0xFFFF_FFFF, 7, 0x8000_0000]] {
        let numbered: Vec<_> =
            (0..3).map(|number| renumbered(streams[number].0, serials[number])).collect();
        let film = renumbered(&film, 5);
        let [first, second, third] = [&numbered[0][..], &numbered[1], &numbered[2]];
        for bytes in [
            multiplexed(&[first, second, third]),
            multiplexed(&[&film, first, second, third]),
            multiplexed(&[first, second, &film, third]),
        ] {
            for (number, (_, codec)) in streams.iter().enumerate() {
                let heard = hear_track(&bytes, number as u32);
                let (error, info) = (heard.error.clone(), heard.info.clone());
                assert_eq!(
                    (error, info.map(|info| info.codec)),
                    (None, Some(*codec)),
                    "{serials:?}"
                );
                assert_eq!(heard.frames(), alone[number].frames(), "{codec} {serials:?}");
                assert!(is_same(&heard, &alone[number], 0), "{codec} {serials:?}");
            }
            assert_eq!(hear_track(&bytes, 3).error, Some(Error::NoTrack { tracks: 3 }));
        }
    }
}
