//! The tables of FLAC and CAF, which symphonia's readers would load whole.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].

use super::{mp4::Read, source::Patch};

/// Metadata blocks or chunks that are looked at: real files have a dozen.
const PARTS: u32 = 1024;

/// Padding in the place of every seek table of a FLAC file (RFC 9639, 8.5).
///
/// Nothing here seeks by it, and a table in falling order takes the reader, which sorts by
/// insertion, a time that grows with its square.
pub(super) fn without_seek_tables(read: &mut Read<'_>) -> Vec<Patch> {
    const LAST: u8 = 0x80;
    const PADDING: u8 = 1;
    const SEEK_TABLE: u8 = 3;
    let mut patches = Vec::new();
    let mut at = 4;
    for _ in 0..PARTS {
        let mut block = [0; 4];
        if read(at, &mut block) < block.len() {
            break;
        }
        if block[0] & !LAST == SEEK_TABLE {
            patches.push((at, vec![block[0] & LAST | PADDING]));
        }
        if block[0] & LAST != 0 {
            break;
        }
        at += 4 + (u64::from(u32::from_be_bytes(block)) & 0xFF_FFFF);
    }
    patches
}

/// What the packet table of a CAF file takes of memory. Its reader believes the number of packets,
/// whatever the chunk's length.
pub(super) fn packet_table_bytes(read: &mut Read<'_>) -> u64 {
    /// Place, start, frames and size, in words.
    const PACKET_BYTES: u64 = 32;
    const HEADER_BYTES: usize = 12;
    let (mut at, mut packets) = (8_u64, 0);
    for _ in 0..PARTS {
        let mut chunk = [0; HEADER_BYTES + 8];
        let got = read(at, &mut chunk);
        if got < HEADER_BYTES {
            break;
        }
        let word = |at: usize| i64::from_be_bytes(chunk[at..at + 8].try_into().expect("8 bytes"));
        if chunk.starts_with(b"pakt") {
            packets = packets.max(u64::try_from(word(HEADER_BYTES)).unwrap_or(0));
        }
        // Negative: audio to the end of the file.
        let next = u64::try_from(word(4)).ok();
        match next.and_then(|length| (at + HEADER_BYTES as u64).checked_add(length)) {
            Some(next) => at = next,
            None => break,
        }
    }
    packets.saturating_mul(PACKET_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::mp4::tests::source;

    #[test]
    fn seek_tables_of_flac_become_padding_wherever_they_stand() {
        let flac = b"fLaC\x00\0\0\x02ab\x03\0\0\x12123456789012345678\x04\0\0\0\x83\0\0\0";
        let patches = without_seek_tables(&mut source(flac));
        assert_eq!(patches, [(10, vec![0x01]), (36, vec![0x81])]);
        assert!(without_seek_tables(&mut source(b"fLaC\x80\0\0\0")).is_empty());
    }

    #[test]
    fn a_packet_table_takes_what_it_says_though_its_chunk_is_short() {
        let caf = |packets: i64| {
            let desc = [&b"caff\0\x01\0\0desc\0\0\0\0\0\0\0\x04abcd"[..]].concat();
            let pakt = [&b"pakt\0\0\0\0\0\0\0\x18"[..], &packets.to_be_bytes(), &[0; 16]];
            [desc, pakt.concat(), b"data\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF".to_vec()].concat()
        };
        assert_eq!(packet_table_bytes(&mut source(&caf(10))), 320);
        assert_eq!(packet_table_bytes(&mut source(&caf(i64::MAX))), u64::MAX);
        assert_eq!(packet_table_bytes(&mut source(&caf(-1))), 0);
        for fill in [0u8, 1, 0x7F, 0xFF] {
            packet_table_bytes(&mut source(&[fill; 5000]));
        }
    }
}
