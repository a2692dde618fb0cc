//! The file `FORMAT`: what the cache directory is.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! ```text
//! kithara-cache 1                            name and version
//! uuid 32 digits, hexadecimal                of this cache; its superblocks and pages carry it
//! volumes 32                                 fixed for good: an object's volume follows from it
//! block_bytes 16384
//! chunk_bytes 65536
//! crc32c 89abcdef                            of all lines above, with their ends
//! ```
//!
//! It is text, since the first to open it may be a person who wonders what fills the disk. The
//! version comes first and alone decides whether the rest is read: a later version may have any
//! rest. The sum comes last because it covers what stands before it. Version 1 has exactly these
//! lines, each in exactly one spelling; more lines are another version.

use crate::storage::{BLOCK_BYTES, CHUNK_BYTES, crc32c};

const NAME: &str = "kithara-cache ";
const VERSION: u32 = 1;
const MOST_VOLUMES: u32 = 1 << 16;

/// What `FORMAT` says of a cache of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Tells this cache from all others, and from an earlier one in the same directory.
    pub uuid: u128,
    /// How many volumes it has, 1 to 65,536.
    pub volumes: u32,
}

/// Why a directory is not used. Nothing in it is deleted or changed for any of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It is of that version, which this program does not know, whatever the rest says.
    #[error("format {0} is not known here; use the version that wrote it")]
    Newer(u32),
    /// It is ours and of this version, but not as it was written.
    #[error("FORMAT is damaged, {0}")]
    Damaged(&'static str),
    /// Something else made this file.
    #[error("FORMAT is not of a kithara cache")]
    NotOurs,
}

impl Format {
    /// The version of the format.
    pub const VERSION: u32 = VERSION;

    /// The text of the file.
    pub fn encode(&self) -> String {
        let Self { uuid, volumes } = self;
        let lines = format!(
            "{NAME}{VERSION}\nuuid {uuid:032x}\nvolumes {volumes}\n\
             block_bytes {BLOCK_BYTES}\nchunk_bytes {CHUNK_BYTES}\n"
        );
        let sum = crc32c(lines.as_bytes());
        format!("{lines}crc32c {sum:08x}\n")
    }

    /// Reads the file.
    ///
    /// # Errors
    /// As [`FormatError`] says.
    pub fn parse(text: &[u8]) -> Result<Self, FormatError> {
        let damaged = FormatError::Damaged;
        match version(text)? {
            VERSION => {}
            other => return Err(FormatError::Newer(other)),
        }
        let text = std::str::from_utf8(text).map_err(|_| damaged("it is not text"))?;
        let (lines, sum) = split_sum(text).ok_or(damaged("its end is missing"))?;
        if u32::from_str_radix(sum, 16) != Ok(crc32c(lines.as_bytes())) {
            return Err(damaged("its checksum does not fit"));
        }
        let uuid = value(lines, "uuid").and_then(|hex| u128::from_str_radix(hex, 16).ok());
        let volumes = value(lines, "volumes").and_then(|number| number.parse().ok());
        let format = Self {
            uuid: uuid.ok_or(damaged("it has no uuid"))?,
            volumes: volumes
                .filter(|volumes| (1..=MOST_VOLUMES).contains(volumes))
                .ok_or(damaged("it has no possible number of volumes"))?,
        };
        // What else there is, the sizes among it, has one spelling.
        let as_written = format.encode() == text;
        as_written.then_some(format).ok_or(damaged("it has lines that this version never writes"))
    }
}

/// The version in the first line. One beyond all numbers is the greatest.
fn version(text: &[u8]) -> Result<u32, FormatError> {
    let Some(rest) = text.strip_prefix(NAME.as_bytes()) else {
        let cut = NAME.as_bytes().starts_with(text);
        return Err(if cut { FormatError::Damaged("it is cut") } else { FormatError::NotOurs });
    };
    let digits = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(FormatError::Damaged("it has no version"));
    }
    let shift =
        |number: u32, digit: &u8| number.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    Ok(digits.iter().fold(0, shift))
}

/// The lines that are summed, and the sum.
fn split_sum(text: &str) -> Option<(&str, &str)> {
    let end = text.rfind("\ncrc32c ")? + 1;
    let (lines, last) = text.split_at(end);
    Some((lines, last.strip_prefix("crc32c ")?.strip_suffix('\n')?))
}

/// What follows `name` in its line.
fn value<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::random::Random;

    const UUID: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;

    /// `lines` with the sum that fits.
    fn summed(lines: &str) -> Vec<u8> {
        format!("{lines}crc32c {:08x}\n", crc32c(lines.as_bytes())).into_bytes()
    }

    fn lines() -> String {
        let text = Format { uuid: UUID, volumes: 32 }.encode();
        text[..text.rfind("crc32c").unwrap()].to_owned()
    }

    fn damaged(text: &[u8]) -> bool {
        matches!(Format::parse(text), Err(FormatError::Damaged(_)))
    }

    #[test]
    fn the_text_is_the_one_of_format_1() {
        let text = "kithara-cache 1\n\
                    uuid 0123456789abcdef0011223344556677\n\
                    volumes 32\n\
                    block_bytes 16384\n\
                    chunk_bytes 65536\n\
                    crc32c 5539ff5e\n";
        assert_eq!(Format { uuid: UUID, volumes: 32 }.encode(), text);
    }

    #[test]
    fn what_is_written_is_read() {
        for seed in 1..=1_000 {
            let mut random = Random(seed);
            let uuid = u128::from(random.next()) << random.below(65) | u128::from(random.next());
            let format = Format { uuid, volumes: 1 + random.below(1 << 16) as u32 };
            assert_eq!(Format::parse(format.encode().as_bytes()), Ok(format), "seed {seed}");
        }
    }

    #[test]
    fn another_version_is_refused_whatever_follows() {
        let newer = |text: &[u8]| match Format::parse(text) {
            Err(FormatError::Newer(version)) => version,
            other => panic!("{other:?}"),
        };
        assert_eq!(newer(b"kithara-cache 2\n"), 2);
        assert_eq!(newer(b"kithara-cache 17"), 17);
        assert_eq!(newer(b"kithara-cache 0\n"), 0);
        assert_eq!(newer(b"kithara-cache 3\n\xFF\xFE\0 anything"), 3);
        assert_eq!(newer(&summed(&lines().replace("cache 1", "cache 2"))), 2);
        assert_eq!(newer(b"kithara-cache 99999999999999999999999\n"), u32::MAX);
    }

    #[test]
    fn a_foreign_file_is_not_ours() {
        for text in ["kithara 1\n", "Kithara-cache 1\n", "\nkithara-cache 1\n", "{}", "\0"] {
            assert_eq!(Format::parse(text.as_bytes()), Err(FormatError::NotOurs), "{text}");
        }
    }

    #[test]
    fn a_cut_file_is_damaged_at_every_byte() {
        let text = Format { uuid: UUID, volumes: 32 }.encode();
        for end in 0..text.len() {
            assert!(damaged(&text.as_bytes()[..end]), "{end}");
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let text = Format { uuid: UUID, volumes: 32 }.encode().into_bytes();
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Format::parse(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn values_that_cannot_be_are_damage_under_a_sum_that_fits() {
        assert!(!damaged(&summed(&lines())));
        for (from, to) in [
            ("volumes 32", "volumes 0"),
            ("volumes 32", "volumes 65537"),
            ("volumes 32", "volumes 032"),
            ("volumes 32", "volumes +32"),
            ("volumes 32\n", ""),
            ("block_bytes 16384", "block_bytes 4096"),
            ("chunk_bytes 65536", "chunk_bytes 131072"),
            ("uuid 0", "uuid "),
            ("uuid 0123456789abcdef", "uuid 0123456789ABCDEF"),
            ("cache 1\n", "cache 1\r\n"),
            ("cache 1\n", "cache 01\n"),
            ("chunk_bytes 65536\n", "chunk_bytes 65536\nlater 1\n"),
        ] {
            let changed = lines().replace(from, to);
            assert_ne!(changed, lines(), "{from}");
            assert!(damaged(&summed(&changed)), "{from} to {to}");
        }
    }

    #[test]
    fn the_bounds_of_the_volumes_are_allowed() {
        for volumes in [1, 1 << 16] {
            let format = Format { uuid: 0, volumes };
            assert_eq!(Format::parse(format.encode().as_bytes()), Ok(format));
        }
    }
}
