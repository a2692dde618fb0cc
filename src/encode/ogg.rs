//! Ogg pages, one behind the other while packets come (RFC 3533).
//!
//! ```text
//! OggS 0 flags granule(8) serial(4) sequence(4) crc(4) segments(1) lengths.. packets..
//! ```
//!
//! A page holds whole packets: none of those here is longer than a page.

/// Lengths of 255 bytes or less that a page has room for.
const SEGMENTS: usize = 255;
/// Bytes of a page before its lengths.
const HEAD_BYTES: usize = 27;
/// Where in it the checksum stands.
const CRC_AT: usize = 22;

/// The page is the first of its stream, or the last.
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// The pages of one stream.
#[derive(Debug)]
pub(super) struct Pages {
    serial: u32,
    sequence: u32,
    lengths: Vec<u8>,
    packets: Vec<u8>,
}

impl Pages {
    /// A stream of that number, of whose packets none is longer than `packet_bytes`.
    pub(super) fn new(serial: u32, packet_bytes: usize) -> Self {
        assert!(segments(packet_bytes) <= SEGMENTS, "a packet fits into a page");
        Self { serial, sequence: 0, lengths: Vec::new(), packets: Vec::new() }
    }

    /// Whether a packet of so many bytes fits into the page that is being filled.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.lengths.len() + segments(bytes) <= SEGMENTS
    }

    /// Puts a packet into the page.
    pub(super) fn put(&mut self, packet: &[u8]) {
        assert!(self.has_room(packet.len()), "a packet lies in one page");
        self.lengths.extend(std::iter::repeat_n(255, packet.len() / 255));
        self.lengths.push((packet.len() % 255) as u8);
        self.packets.extend_from_slice(packet);
    }

    /// Writes the page behind `into`, and begins the next. `granule` is that of the end of its last
    /// packet.
    pub(super) fn write(&mut self, granule: u64, is_last: bool, into: &mut Vec<u8>) {
        let start = into.len();
        let first = if self.sequence == 0 { FIRST } else { 0 };
        let last = if is_last { LAST } else { 0 };
        into.extend_from_slice(b"OggS");
        into.extend_from_slice(&[0, first | last]);
        into.extend_from_slice(&granule.to_le_bytes());
        into.extend_from_slice(&self.serial.to_le_bytes());
        into.extend_from_slice(&self.sequence.to_le_bytes());
        into.extend_from_slice(&[0; 4]);
        into.push(self.lengths.len() as u8);
        debug_assert_eq!(into.len() - start, HEAD_BYTES);
        into.extend_from_slice(&self.lengths);
        into.extend_from_slice(&self.packets);
        let crc = crc(&into[start..]);
        into[start + CRC_AT..][..4].copy_from_slice(&crc.to_le_bytes());
        self.sequence += 1;
        self.lengths.clear();
        self.packets.clear();
    }
}

/// Lengths that a packet takes.
fn segments(bytes: usize) -> usize {
    bytes / 255 + 1
}

/// Its polynomial is that of Ethernet, and nothing of it is turned around: neither bits nor words.
const POLYNOMIAL: u32 = 0x04C1_1DB7;

/// What a byte does to the sum.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            let carry = sum >> 31;
            sum = (sum << 1) ^ (POLYNOMIAL * carry);
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| (sum << 8) ^ TABLE[usize::from((sum >> 24) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_writer_is_written_the_same() {
        // The first page of a file of libopusenc: OpusHead of stereo.
        let head = [
            b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', 1, 2, 0x38, 1, 0x80, 0xBB, 0, 0, 0, 0,
            0,
        ];
        let mut pages = Pages::new(0x1234_5678, 100);
        pages.put(&head);
        let mut written = Vec::new();
        pages.write(0, false, &mut written);
        assert_eq!(&written[..6], b"OggS\0\x02");
        assert_eq!(written[14..22], [0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0]);
        assert_eq!(written[26..28], [1, 19]);
        assert_eq!(written[28..], head);
        // By the rule: the sum of a page with its sum in the place of zeros is that of no other.
        let sum = u32::from_le_bytes(written[22..26].try_into().unwrap());
        written[22..26].fill(0);
        assert_eq!(crc(&written), sum);
        assert_eq!(crc(b"123456789"), 0x89A1_897F, "the check value of this sum");
    }

    #[test]
    fn lengths_say_where_packets_end_and_a_full_page_has_no_room() {
        let mut pages = Pages::new(1, 1275);
        for bytes in [0, 254, 255, 510, 600] {
            pages.put(&vec![7; bytes]);
        }
        assert_eq!(pages.lengths, [0, 254, 255, 0, 255, 255, 0, 255, 255, 90]);
        while pages.has_room(1275) {
            pages.put(&[0; 1275]);
        }
        assert_eq!(pages.lengths.len(), 10 + 40 * 6);
        assert!(pages.has_room(4 * 255) && !pages.has_room(5 * 255));
        let mut written = Vec::new();
        pages.write(960, false, &mut written);
        pages.write(u64::MAX >> 1, true, &mut written);
        let last = &written[written.len() - HEAD_BYTES..];
        assert_eq!((last[5], last[18], last[26]), (LAST, 1, 0));
    }
}
