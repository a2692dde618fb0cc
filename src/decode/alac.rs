//! What ALAC says of itself: its configuration, and how many frames a packet holds.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Sources: ALACMagicCookieDescription of Apple's `alac`, and the headers of elements there.

use super::mp4::u32_at;

/// Bytes of an ALACSpecificConfig.
const CONFIG_BYTES: usize = 24;

/// Bytes of a packet in which it says how many frames it holds.
pub(super) const HEADER_BYTES: usize = 8;

/// What the configuration of a track says (ALACSpecificConfig).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Config {
    /// Frames of a packet that does not say how many it holds.
    pub(super) packet_frames: u32,
    /// Bits per sample.
    pub(super) bits: u32,
    pub(super) channels: u16,
    pub(super) rate_hz: u32,
}

impl Config {
    /// Reads one of the version that there is. `None`: it is none.
    pub(super) fn parse(config: &[u8]) -> Option<Self> {
        let bits = u32::from(*config.get(5)?);
        let is_sound =
            config.len() >= CONFIG_BYTES && config[4] == 0 && [16, 20, 24, 32].contains(&bits);
        is_sound.then(|| Self {
            packet_frames: u32_at(config, 0),
            bits,
            channels: config[9].into(),
            rate_hz: u32_at(config, 20),
        })
    }

    /// Frames that a packet decodes to. All hold as many but one that says it, which encoders do of the last.
    pub(super) fn frames(&self, packet: &[u8]) -> u64 {
        let said = said_frames(packet).filter(|frames| (1..=self.packet_frames).contains(frames));
        said.unwrap_or(self.packet_frames).into()
    }
}

/// Frames of a packet by the header of its first element, if that says them: in 32 bits behind 23, the fourth
/// from behind of which is set.
fn said_frames(packet: &[u8]) -> Option<u32> {
    /// Those of which an element of channels begins: one, a pair, and the low frequencies.
    const CHANNELS: [u8; 3] = [0, 1, 3];
    let head = packet.first_chunk::<HEADER_BYTES>().map(|head| u64::from_be_bytes(*head))?;
    let has_frames = head >> (63 - 19) & 1 == 1;
    let is_first = CHANNELS.contains(&((head >> 61) as u8));
    (is_first && has_frames).then_some((head >> (64 - 23 - 32)) as u32)
}

/// The configuration in a magic cookie: alone, or in the boxes in which QuickTime kept it.
pub(super) fn config_in(cookie: &[u8]) -> &[u8] {
    const BOX_BYTES: usize = 8;
    let mut rest = cookie;
    if rest.get(4..8) == Some(b"frma") {
        rest = rest.get(BOX_BYTES + 4..).unwrap_or_default();
    }
    if rest.get(4..8) == Some(b"alac") {
        // Behind a word of version and flags.
        rest = rest.get(BOX_BYTES + 4..).unwrap_or_default();
    }
    rest
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Packets of 4096 frames of so many bits and channels, at 44.1 kHz.
    pub(in crate::decode) fn config(bits: u8, channels: u8) -> Vec<u8> {
        let head = [0, 0, 0x10, 0, 0, bits, 40, 10, 14, channels, 0, 255];
        [&head[..], &[0; 8], &44_100_u32.to_be_bytes()].concat()
    }

    #[test]
    fn a_packet_may_say_that_it_is_short() {
        let config = Config::parse(&config(24, 2)).expect("sound");
        assert_eq!((config.packet_frames, config.bits, config.channels), (4096, 24, 2));
        assert_eq!(config.rate_hz, 44_100);
        assert_eq!(config.frames(&[0x20, 0, 0x04, 0, 2, 0x11, 0x0C, 1]), 4096);
        // 1368 frames.
        assert_eq!(config.frames(&[0x20, 0, 0x14, 0, 0, 0x0A, 0xB0, 1]), 1368);
        for frames in [0_u32, 4097] {
            let [.., high, low] = (frames << 1).to_be_bytes();
            assert_eq!(config.frames(&[0x20, 0, 0x14, 0, 0, high, low, 1]), 4096, "{frames}");
        }
        assert_eq!(config.frames(&[0xC0, 0, 0x14, 0, 0, 0x0A, 0xB0, 1]), 4096, "a fill element");
        assert_eq!(config.frames(&[0x20, 0, 0x14, 0]), 4096, "cut off");
    }

    #[test]
    fn a_cookie_is_unwrapped() {
        let config = config(16, 1);
        let boxed = [&b"\0\0\0\x24alac\0\0\0\0"[..], &config].concat();
        let old = [&b"\0\0\0\x0Cfrmaalac"[..], &boxed].concat();
        for cookie in [&config, &boxed, &old] {
            assert_eq!(config_in(cookie), config);
        }
        for cut in 0..old.len() {
            assert!(config_in(&old[..cut]).len() <= config.len());
        }
        assert_eq!(Config::parse(&config[..23]), None);
        let other = [&config[..4], &[1], &config[5..]].concat();
        assert_eq!(Config::parse(&other), None, "of another version");
    }
}
