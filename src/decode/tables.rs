//! The packet table of CAF, which symphonia's reader would load whole.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].

use super::mp4::Read;

/// Chunks that are looked at: real files have a dozen.
const PARTS: u32 = 1024;

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
