//! Ogg streams, taken apart and put together.

use std::ops::Range;

use crate::opening::block_bytes;

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
