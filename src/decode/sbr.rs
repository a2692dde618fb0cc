//! Spectral band replication in AAC packets: its signs where nothing announces it, and its place.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A plain decoder ignores the extension and plays half the band at half the rate. The extension is
//! a fill element right before the end of the packet (ISO/IEC 14496-3, 4.4.2.7), so it is looked for
//! from the end: reading up to it from the start would take a whole AAC parser.

use std::ops::Range;

/// Packets that are looked at. One that is the same as the one before it does not count: in digital
/// silence a chance would show eight times.
pub(super) const PACKETS: usize = 8;
/// Packets that are passed for that at most: three seconds of silence.
pub(super) const MOST_PACKETS: usize = 128;
/// Of those, how many must show the sign. One shows it by chance in 1.4 % of cases, three of eight
/// in 0.02 %; real streams show it in nearly all.
const HITS: usize = 3;
/// Cores up to this rate (Hz) mostly have the extension. Above it nearly none have: there three
/// quarters of the packets must show it, for plain streams are many and must not be refused.
const COMMON_CORE_HZ: u32 = 24_000;

/// The names of elements, by three bits.
const FILL: u32 = 6;
const END: u32 = 7;

/// Whether the first different `packets` of a stream are the core, of `core_hz`, of an extended one.
pub(super) fn is_extended<'a>(packets: impl Iterator<Item = &'a [u8]>, core_hz: u32) -> bool {
    let (mut looked, mut hits) = (0, 0);
    for packet in packets {
        looked += 1;
        hits += usize::from(ends_in_extension(packet));
    }
    // A short stream, or one of silence, has fewer to judge by.
    let enough = HITS.min(looked);
    hits > 0 && hits >= enough && (core_hz <= COMMON_CORE_HZ || hits * 4 >= looked * 3)
}

/// Whether `packet`, a raw data block, ends in a fill element with band replication data.
fn ends_in_extension(packet: &[u8]) -> bool {
    extension(packet).is_some()
}

/// The bits of the fill element with band replication data in which `packet`, a raw data block, ends.
fn extension(packet: &[u8]) -> Option<Range<usize>> {
    let last = packet.iter().rposition(|byte| *byte != 0)?;
    // The end element is 111, then zeros to the byte.
    let end = last * 8 + 8 - packet[last].trailing_zeros() as usize;
    if end < 3 || bits(packet, end - 3, 3) != END {
        return None;
    }
    filled_with_extension(packet, end - 3, 3)
}

/// The one of the fill elements that end at bit `end` which holds the extension. Encoders of constant
/// rate put a padding one behind it.
fn filled_with_extension(packet: &[u8], end: usize, most: u32) -> Option<Range<usize>> {
    if most == 0 {
        return None;
    }
    (1..=269).find_map(|count: usize| {
        let header = if count < 15 { 7 } else { 15 };
        let at = end.checked_sub(header + 8 * count)?;
        let counted = match bits(packet, at + 3, 4) {
            15 => count >= 15 && bits(packet, at + 7, 8) as usize + 14 == count,
            short => short as usize == count,
        };
        if !counted || bits(packet, at, 3) != FILL {
            return None;
        }
        match bits(packet, at + header, 4) {
            13 | 14 => Some(at..end),
            0 | 1 => filled_with_extension(packet, at, most - 1),
            _ => None,
        }
    })
}

/// A packet of silence, of one channel or of two, with the extension that `packet` ends in: whoever
/// decodes it knows what the header of the extension says, and has heard nothing.
pub(super) fn silence_with_extension(packet: &[u8], channels: u16) -> Option<Vec<u8>> {
    let extension = extension(packet)?;
    let mut made = Bits::default();
    // The element's kind and tag, which the extension belongs to.
    made.put(bits(packet, 0, 7), 7);
    // A window of the longest kind that holds no band: 1 reserved bit, 2 of its sequence, 1 of its
    // shape, 6 of how many bands, 1 of prediction.
    const WINDOW_BITS: usize = 11;
    // Pulses, temporal noise shaping and gain control: none.
    const TOOLS_BITS: usize = 3;
    let gain = |made: &mut Bits| made.put(0, 8);
    match channels {
        1 => {
            gain(&mut made);
            made.put(0, WINDOW_BITS + TOOLS_BITS);
        }
        _ => {
            // Both channels have the one window, and no band is of middle and side.
            made.put(1, 1);
            made.put(0, WINDOW_BITS + 2);
            for _ in 0..2 {
                gain(&mut made);
                made.put(0, TOOLS_BITS);
            }
        }
    }
    extension.for_each(|bit| made.put(bits(packet, bit, 1), 1));
    made.put(END, 3);
    Some(made.bytes)
}

/// Bits that are put one behind the other.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn put(&mut self, value: u32, count: usize) {
        for index in (0..count).rev() {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (value >> index & 1) as u8;
            self.bytes[self.count / 8] |= bit << (7 - self.count % 8);
            self.count += 1;
        }
    }
}

fn bits(bytes: &[u8], at: usize, count: usize) -> u32 {
    (at..at + count).fold(0, |value, bit| {
        let byte = bytes.get(bit / 8).copied().unwrap_or(0);
        (value << 1) | u32::from((byte >> (7 - bit % 8)) & 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_element_with_the_extension_before_the_end_is_seen() {
        // 110, count 2, kind 13, twelve bits, then 111 and padding.
        let packet = [0b1100_0101, 0b1010_1010, 0b1010_1011, 0b1100_0000];
        assert!(ends_in_extension(&packet));
        assert!(!ends_in_extension(&[0b1100_0100, 0b0010_1010, 0b1010_1011, 0b1100_0000]));
        assert!(!ends_in_extension(&[0; 8]));
        assert!(!ends_in_extension(&[]));
        // Digital silence of the encoders that are met most, mono and stereo.
        assert!(!ends_in_extension(&[0x01, 0x40, 0x20, 0x06, 0x4F, 0xDE, 0x02, 0x70, 0x0C]));
        assert!(!ends_in_extension(&[0x21, 0x10, 0x04, 0x60, 0x8C, 0x1C]));
        assert!(!ends_in_extension(&[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80]));
    }

    #[test]
    fn the_extension_of_a_packet_is_put_behind_silence() {
        let packet = [0b1100_0101, 0b1010_1010, 0b1010_1011, 0b1100_0000];
        assert_eq!(extension(&packet), Some(0..23));
        for (channels, before) in [(1, 29), (2, 43)] {
            let made = silence_with_extension(&packet, channels).expect("it has one");
            assert_eq!(extension(&made), Some(before..before + 23), "{channels}");
            assert_eq!(bits(&made, before, 23), bits(&packet, 0, 23));
        }
        assert_eq!(silence_with_extension(&[0xC4, 0x2A, 0xAB, 0xC0], 1), None);
    }

    #[test]
    fn a_core_of_a_high_rate_must_show_it_in_nearly_every_packet() {
        let with = [0b1100_0101, 0b1010_1010, 0b1010_1011, 0b1100_0000];
        let judge = |hits: usize, misses: usize, core_hz| {
            let packets = [vec![&with[..]; hits], vec![&[0][..]; misses]].concat();
            is_extended(packets.into_iter(), core_hz)
        };
        assert!(judge(3, 5, 22_050) && !judge(2, 6, 22_050));
        assert!(judge(6, 2, 32_000) && judge(8, 0, 48_000) && !judge(5, 3, 48_000));
        assert!(judge(1, 0, 32_000) && !judge(0, 0, 32_000));
    }
}
