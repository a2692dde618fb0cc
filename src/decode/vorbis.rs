//! How many frames a Vorbis packet adds, without decoding it.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Source: Vorbis I, 4.2 and 4.3. A packet is a block of one of two sizes, by its mode, and its first
//! half overlaps the block before it. The modes stand at the end of the setup header, behind tables
//! that nothing but a decoder can read: they are found from the end, as every parser does.

/// Bytes of an identification header, behind which the setup header follows.
const IDENT_BYTES: usize = 30;
/// Bits of a mode: block flag, window type, transform type, mapping.
const MODE_BITS: usize = 1 + 16 + 16 + 8;
/// Modes that a stream can have.
const MODES: usize = 64;

/// The block sizes of a stream, and the last block seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blocks {
    /// Frames of a short and of a long block.
    sizes: [u64; 2],
    /// Whether a packet of each mode is a long block.
    modes: Vec<bool>,
    before: Option<u64>,
}

impl Blocks {
    /// Reads the identification header and the setup header behind it.
    pub(super) fn parse(headers: &[u8]) -> Option<Self> {
        let (ident, setup) = headers.split_at_checked(IDENT_BYTES)?;
        let sizes = [1 << (ident[28] & 15), 1 << (ident[28] >> 4)];
        Some(Self { sizes, modes: modes(setup)?, before: None })
    }

    /// Log2 of the frames of the last block; 0 if there was none.
    pub(super) fn last(&self) -> u8 {
        self.before.map_or(0, |block| block.trailing_zeros() as u8)
    }

    /// Goes on behind a block of which [`last`](Self::last) said this.
    pub(super) fn follow(&mut self, last: u8) {
        self.before = 1u64.checked_shl(last.into()).filter(|block| *block > 1);
    }

    /// Frames that a decoder has whole once `packet` is decoded too; 0 for the first, which has
    /// nothing to overlap.
    pub(super) fn frames(&mut self, packet: &[u8]) -> u64 {
        let bits = usize::BITS - (self.modes.len() - 1).leading_zeros();
        let first = packet.first().copied().unwrap_or(1);
        let mode = usize::from(first >> 1) & ((1 << bits) - 1);
        let Some(is_long) = self.modes.get(mode).filter(|_| first & 1 == 0) else { return 0 };
        let block = self.sizes[usize::from(*is_long)];
        self.before.replace(block).map_or(0, |before| (before + block) / 4)
    }
}

/// The block flags of the modes at the end of a setup header.
fn modes(setup: &[u8]) -> Option<Vec<bool>> {
    // Behind the last mode stands one bit that is set, and zeros to the byte.
    let last = setup.iter().rposition(|byte| *byte != 0)?;
    let end = last * 8 + 7 - setup[last].leading_zeros() as usize;
    let is_mode = |at: usize| bits(setup, at + 1, 32) == 0 && bits(setup, at + 33, 8) < 64;
    let starts = (1..=MODES).map_while(|count| end.checked_sub(count * MODE_BITS));
    let modes = starts.take_while(|start| is_mode(*start)).enumerate();
    // Before the first mode stands how many there are; a mapping may look like one more.
    let first =
        modes.filter(|(index, start)| *start >= 6 && bits(setup, start - 6, 6) == *index as u64);
    let (_, first) = first.last()?;
    Some((first..end).step_by(MODE_BITS).map(|at| bits(setup, at, 1) == 1).collect())
}

/// `count` bits at bit `at`, which is the lowest, as Vorbis packs them.
fn bits(bytes: &[u8], at: usize, count: usize) -> u64 {
    (0..count).fold(0, |value, index| {
        let bit = (bytes[(at + index) / 8] >> ((at + index) % 8)) & 1;
        value | u64::from(bit) << index
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers with blocks of 256 and 2048 frames and these modes, behind bits that say nothing.
    fn headers(modes: &[bool]) -> Vec<u8> {
        let mut bits = vec![true, false, true, true, false];
        let mut push = |value: u64, count: usize| {
            bits.extend((0..count).map(|index| value >> index & 1 == 1));
        };
        push(modes.len() as u64 - 1, 6);
        for is_long in modes {
            push(u64::from(*is_long), 1);
            push(0, 32);
            push(1, 8);
        }
        push(1, 1);
        let byte =
            |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        let mut headers = vec![0; IDENT_BYTES];
        headers[28] = 0xB8;
        headers.extend(bits.chunks(8).map(byte));
        headers
    }

    #[test]
    fn a_packet_adds_a_quarter_of_its_block_and_of_the_one_before() {
        let mut blocks = Blocks::parse(&headers(&[false, true])).unwrap();
        let (short, long) = (&[0b000][..], &[0b010][..]);
        let frames = [long, long, short, short, long].map(|packet| blocks.frames(packet));
        assert_eq!(frames, [0, 1024, 576, 128, 576]);
        assert_eq!([blocks.frames(&[1]), blocks.frames(&[])], [0; 2]);
    }

    #[test]
    fn modes_are_found_however_many_there_are() {
        for count in [1, 2, 3, 17, 64] {
            let modes: Vec<bool> = (0..count).map(|mode| mode % 3 == 1).collect();
            let parsed = Blocks::parse(&headers(&modes)).unwrap();
            assert_eq!(parsed.modes, modes);
        }
    }

    #[test]
    fn what_is_no_setup_header_has_no_modes() {
        for bytes in [&[][..], &[0; 40], &[0xFF; 100], &headers(&[true])[..36]] {
            assert_eq!(Blocks::parse(bytes), None);
        }
    }
}
