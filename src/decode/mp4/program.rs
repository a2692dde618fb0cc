//! Program config element: which channels there are where no channel configuration says it (ISO/IEC 14496-3,
//! 4.5.1.2).
//!
//! Pure: no I/O, no clock, no executor.

use super::config::Bits;

/// Speakers of WAVE, a bit each.
const FRONT: u32 = 0x3;
const FRONT_CENTER: u32 = 0x4;
const LOW_FREQUENCY: u32 = 0x8;
const BACK: u32 = 0x30;
const BACK_CENTER: u32 = 0x100;
const SIDE: u32 = 0x600;

/// Where the elements of a program stand: a pair, and another, and the one in the middle.
struct Row {
    pairs: [u32; 2],
    center: u32,
}

/// In the order of the element. A second pair in front is what the channel configuration of 7.1 calls that, and
/// everybody has at the sides. A single one at the sides has low frequencies: so ffmpeg writes 5.1.
const ROWS: [Row; 3] = [
    Row { pairs: [FRONT, SIDE], center: FRONT_CENTER },
    Row { pairs: [SIDE, 0], center: LOW_FREQUENCY },
    Row { pairs: [BACK, 0], center: BACK_CENTER },
];

/// Reads one; says which speakers its channels are for. `None`: it is cut, or has others than 7.1.
pub(super) fn speakers(bits: &mut Bits<'_>) -> Option<u32> {
    // Its tag, the profile and the rate, which are those of the configuration around it.
    bits.take(4 + 2 + 4)?;
    let rows = [bits.take(4)?, bits.take(4)?, bits.take(4)?];
    let (low, data, coupled) = (bits.take(2)?, bits.take(3)?, bits.take(4)?);
    // How it may be mixed down: to one channel, to two, and by which matrix.
    for length in [4, 4, 3] {
        if bits.take(1)? == 1 {
            bits.take(length)?;
        }
    }
    let mut mask = 0;
    for (count, row) in rows.into_iter().zip(ROWS) {
        add_row(bits, count, &row, &mut mask)?;
    }
    for _ in 0..low {
        bits.take(4)?;
        add(&mut mask, LOW_FREQUENCY)?;
    }
    bits.take(4 * data as usize)?;
    bits.take(5 * coupled as usize)?;
    bits.align();
    // A comment.
    for _ in 0..bits.take(8)? {
        bits.take(8)?;
    }
    (mask != 0).then_some(mask)
}

fn add_row(bits: &mut Bits<'_>, count: u32, row: &Row, mask: &mut u32) -> Option<()> {
    let mut pairs = row.pairs.into_iter();
    for _ in 0..count {
        let is_pair = bits.take(1)? == 1;
        bits.take(4)?;
        let speakers = if is_pair { pairs.next()? } else { row.center };
        add(mask, speakers)?;
    }
    Some(())
}

/// One speaker has one channel.
fn add(mask: &mut u32, speakers: u32) -> Option<()> {
    let is_new = speakers != 0 && *mask & speakers == 0;
    is_new.then(|| *mask |= speakers)
}

#[cfg(test)]
mod tests {
    use crate::decode::mp4::{extension, has_program, refused_config, speakers};

    /// A configuration of Low Complexity at 48 kHz with a program of these elements: pairs (1) and single ones
    /// (0) in front, at the sides and behind, and so many of low frequencies.
    fn config(front: &[u8], side: &[u8], back: &[u8], low: u8) -> Vec<u8> {
        let mut bits = vec![];
        let mut put = |value: usize, count: usize| {
            (0..count).rev().for_each(|bit| bits.push((value >> bit & 1) as u8));
        };
        let fields = [
            // Low Complexity, 48 kHz, no channel configuration; and the program's own profile and rate.
            (2, 5),
            (3, 4),
            (0, 4 + 3 + 4),
            (1, 2),
            (3, 4),
            (front.len(), 4),
            (side.len(), 4),
            (back.len(), 4),
            (low.into(), 2),
            (0, 3 + 4 + 3),
        ];
        fields.into_iter().for_each(|(value, count)| put(value, count));
        for (tag, is_pair) in [front, side, back].concat().into_iter().enumerate() {
            put(is_pair.into(), 1);
            put(tag, 4);
        }
        (0..low).for_each(|_| put(0, 4));
        bits.resize(bits.len().next_multiple_of(8), 0);
        bits.extend([0, 0, 0, 0, 0, 0, 1, 0]);
        bits.extend([0; 16]);
        bits.chunks(8).map(|byte| byte.iter().fold(0, |value, bit| value << 1 | bit)).collect()
    }

    #[test]
    fn a_program_says_which_speakers_its_channels_are_for() {
        for (front, side, back, low, mask) in [
            (&[0][..], &[][..], &[][..], 0, 0x4),
            (&[1], &[], &[], 0, 0x3),
            (&[0, 1], &[1], &[], 1, 0x60F),
            (&[0, 1], &[], &[1], 1, 0x3F),
            (&[0, 1, 1], &[], &[1], 1, 0x63F),
            (&[1], &[], &[0], 0, 0x103),
            (&[0, 1], &[0], &[1], 0, 0x3F),
        ] {
            let config = config(front, side, back, low);
            assert_eq!(speakers(&config), Some(mask), "{front:?} {side:?} {back:?} {low}");
            assert_eq!((refused_config(&config), extension(&config)), (None, None));
            assert!(has_program(&config));
        }
    }

    #[test]
    fn a_program_of_other_channels_is_refused_by_name() {
        for config in [
            config(&[0, 0], &[], &[], 0),
            config(&[1], &[0], &[], 1),
            config(&[1], &[], &[], 2),
            config(&[], &[], &[], 0),
            config(&[0, 1], &[1], &[], 1)[..6].to_vec(),
        ] {
            let name = "aac (a program of other channels than those of 7.1)";
            assert_eq!((speakers(&config), refused_config(&config)), (None, Some(name)));
        }
    }
}
