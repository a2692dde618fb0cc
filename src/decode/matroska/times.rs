//! How long ticks are, and how long a codec's delay: symphonia's reader keeps the one in times that it
//! rounds, and the other to itself.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].

use super::element::{Element, INFO, TRACKS, before_clusters, children, number};
use crate::decode::mp4::Read;

/// Bytes of what is said of a file or of its tracks that are looked at.
const BODY_BYTES: u64 = 1 << 20;
const TICK: u32 = 0x2A_D7B1;
pub(super) const TRACK: u32 = 0xAE;
pub(super) const TRACK_NUMBER: u32 = 0xD7;
const CODEC_DELAY: u32 = 0x56AA;

/// What is said of the times of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct Times {
    /// Nanoseconds of a tick.
    pub(in crate::decode) tick_ns: u64,
    /// What is decoded before the first frame that was meant, if that is said.
    pub(in crate::decode) delay_ns: Option<u64>,
}

impl Times {
    /// Those of a track, as far as they are said before the first cluster.
    pub(in crate::decode) fn read(read: &mut Read<'_>, track: u64) -> Self {
        let mut times = Self { tick_ns: 1_000_000, delay_ns: None };
        for (at, element) in before_clusters(read) {
            if ![INFO, TRACKS].contains(&element.id) {
                continue;
            }
            let body = body_of(read, at, &element);
            for (id, place) in children(&body) {
                let content = &body[place];
                match id {
                    TICK => times.tick_ns = number(content).unwrap_or(times.tick_ns),
                    TRACK if find(content, TRACK_NUMBER) == Some(track) => {
                        times.delay_ns = find(content, CODEC_DELAY);
                    }
                    _ => {}
                }
            }
        }
        times
    }
}

/// What an element at `at` holds, as far as that is looked at.
pub(super) fn body_of(read: &mut Read<'_>, at: u64, element: &Element) -> Vec<u8> {
    let mut body = vec![0; element.size.unwrap_or(0).min(BODY_BYTES) as usize];
    let got = read(at + element.header_bytes, &mut body);
    body.truncate(got);
    body
}

/// The integer of this name among `body`.
pub(super) fn find(body: &[u8], wanted: u32) -> Option<u64> {
    children(body).find(|(id, _)| *id == wanted).and_then(|(_, place)| number(&body[place]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::mp4::tests::source;

    #[test]
    fn the_delay_is_that_of_the_track() {
        let info = b"\x15\x49\xA9\x66\x86\x2A\xD7\xB1\x82\x03\xE8";
        let one = b"\xAE\x8A\xD7\x81\x01\x56\xAA\x84\x00\x63\x2E\xA0";
        let other = b"\xAE\x83\xD7\x81\x02";
        let tracks = [b"\x16\x54\xAE\x6B\x91", &one[..], other].concat();
        let start = b"\x1A\x45\xDF\xA3\x82ab\x18\x53\x80\x67\xFF";
        let bytes = [&start[..], info, &tracks, b"\x1F\x43\xB6\x75\x80"].concat();
        let times = |track| Times::read(&mut source(&bytes), track);
        assert_eq!(times(1), Times { tick_ns: 1000, delay_ns: Some(6_500_000) });
        assert_eq!(times(2), Times { tick_ns: 1000, delay_ns: None });
        let nothing = Times::read(&mut source(b"\x1A\x45\xDF\xA3"), 1);
        assert_eq!(nothing, Times { tick_ns: 1_000_000, delay_ns: None });
    }
}
