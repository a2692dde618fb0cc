//! Packets of a transport stream, and how they lie in a file.
//!
//! Pure: no I/O, no clock, no executor.

use std::ops::Range;

/// Bytes of a packet.
const PACKET_BYTES: usize = 188;
/// The first byte of each.
const SYNC: u8 = 0x47;
/// Packets in a row by which a stream is told from chance.
const CHAIN: usize = 3;
/// The same at the start of a file, where nothing else tells.
const FIRST_CHAIN: usize = 5;

/// What lies around each packet of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct Framing {
    /// Bytes from one packet to the next.
    pub(in crate::decode) stride: usize,
    /// Bytes before the packet: the time of its arrival.
    lead: usize,
}

/// Plain, with times of arrival (Blu-ray), with parity (broadcast).
const FRAMINGS: [Framing; 3] = [
    Framing { stride: PACKET_BYTES, lead: 0 },
    Framing { stride: PACKET_BYTES + 4, lead: 4 },
    Framing { stride: PACKET_BYTES + 16, lead: 0 },
];

impl Framing {
    /// How packets lie in the file whose first bytes `head` are, if it is a transport stream.
    pub(in crate::decode) fn of(head: &[u8]) -> Option<Self> {
        let is_it = |framing: &Self| {
            head.len() >= framing.bytes()
                && framing.runs(head, FIRST_CHAIN.min(head.len() / framing.stride))
        };
        FRAMINGS.into_iter().find(is_it)
    }

    /// Bytes up to the end of a packet.
    pub(in crate::decode) fn bytes(self) -> usize {
        self.lead + PACKET_BYTES
    }

    /// The packet at the start of `bytes`, which are [`bytes`](Self::bytes) at least, without what lies
    /// around it. `None`: none starts there.
    pub(in crate::decode) fn packet(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes.get(self.lead..self.bytes()).filter(|packet| packet[0] == SYNC)
    }

    /// Bytes that are enough for [`find`](Self::find).
    pub(in crate::decode) fn find_bytes(self) -> usize {
        (CHAIN + 1) * self.stride
    }

    /// How many of `bytes` to pass, the first at least, for the next packet, where none starts here.
    pub(in crate::decode) fn find(self, bytes: &[u8]) -> usize {
        let last = self.stride.min(bytes.len());
        let found = (1..last).find(|at| self.runs(&bytes[*at..], CHAIN));
        found.unwrap_or(last)
    }

    /// Whether `bytes` are so many packets in a row, as far as they go.
    fn runs(self, bytes: &[u8], packets: usize) -> bool {
        let mut syncs = bytes.iter().skip(self.lead).step_by(self.stride).take(packets);
        syncs.all(|byte| *byte == SYNC)
    }
}

/// What the header of a packet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decode) struct Packet {
    /// The stream it belongs to.
    pub(in crate::decode) pid: u16,
    /// A section or a packet of an elementary stream starts in it.
    pub(in crate::decode) is_start: bool,
    /// Who received it could not mend it.
    pub(in crate::decode) is_damaged: bool,
    pub(in crate::decode) is_scrambled: bool,
    /// Times are others from here on.
    pub(in crate::decode) is_discontinuous: bool,
    /// Counts the packets of its stream that have a payload, modulo 16.
    pub(in crate::decode) counter: u8,
    /// Where its payload lies in it.
    pub(in crate::decode) payload: Range<usize>,
}

impl Packet {
    /// Parses a whole packet.
    pub(in crate::decode) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[SYNC, b1, b2, b3, adaptation_bytes, flags, ..] = bytes else { return None };
        let (has_adaptation, has_payload) = (b3 & 0x20 != 0, b3 & 0x10 != 0);
        let start = if has_adaptation { 5 + usize::from(adaptation_bytes) } else { 4 };
        let end = bytes.len().min(PACKET_BYTES);
        Some(Self {
            pid: u16::from_be_bytes([b1 & 0x1F, b2]),
            is_start: b1 & 0x40 != 0,
            // An adaptation field that reaches past its packet is damage as well.
            is_damaged: b1 & 0x80 != 0 || start > end,
            is_scrambled: b3 & 0xC0 != 0,
            is_discontinuous: has_adaptation && adaptation_bytes > 0 && flags & 0x80 != 0,
            counter: b3 & 0x0F,
            payload: if has_payload { start.min(end)..end } else { end..end },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(framing: Framing, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..count {
            bytes.resize(bytes.len() + framing.lead, 9);
            bytes.push(SYNC);
            bytes.resize(bytes.len() + framing.stride - framing.lead - 1, 0);
        }
        bytes
    }

    #[test]
    fn each_framing_is_known_by_its_first_packets() {
        for framing in FRAMINGS {
            for count in [1, 2, 30] {
                let bytes = packets(framing, count);
                // One packet alone may lie in any of them.
                let found = Framing::of(&bytes).expect("packets");
                assert_eq!(found.lead, framing.lead);
                assert!(count == 1 || found == framing, "{found:?}");
            }
        }
        assert_eq!(Framing::of(&packets(FRAMINGS[0], 1)[..187]), None);
        assert_eq!(Framing::of(&[&packets(FRAMINGS[0], 2)[..], &[0; 900]].concat()), None);
        assert_eq!(Framing::of(b""), None);
    }

    #[test]
    fn lost_packets_are_found_again_behind_whatever_lies_between() {
        for framing in FRAMINGS {
            for junk in [1, 100, 187] {
                let bytes = [&vec![0x47; junk][..], &packets(framing, 5)].concat();
                // A byte like the first of a packet is not enough.
                assert_eq!(framing.find(&[&[1], &bytes[..]].concat()), junk + 1);
            }
            assert_eq!(framing.find(&[0; 1000]), framing.stride);
            assert_eq!(framing.find(&[0]), 1);
        }
    }

    #[test]
    fn headers_say_where_the_payload_lies() {
        let mut bytes = packets(FRAMINGS[0], 1);
        bytes[1..6].copy_from_slice(&[0x41, 0x01, 0x3A, 7, 0x80]);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.pid, packet.counter, packet.payload.clone()), (0x101, 10, 12..188));
        assert!(packet.is_start && packet.is_discontinuous && !packet.is_damaged);
        bytes[4] = 200;
        let packet = Packet::parse(&bytes).unwrap();
        assert!(packet.is_damaged && packet.payload.is_empty());
        bytes[3] = 0x20;
        assert!(Packet::parse(&bytes).unwrap().payload.is_empty());
    }
}
