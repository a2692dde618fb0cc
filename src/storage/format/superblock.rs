//! The superblock: which of a volume's two journals counts.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! ```text
//! file `super`                      one copy, 4 KiB
//!  0     copy of even sequences      0  u32   crc32c of bytes 4..4096
//!  4096  copy of odd sequences       4  u32   version, 1
//!                                    8  u128  uuid of the cache
//!                                   24  u64   sequence: one more with each write
//!                                   32  u64   epoch: the life of the journal that counts
//!                                   40  u32   number of the volume
//!                                   44  u8    the journal that counts, 0 or 1
//!                                   45  ...   zero
//! ```
//!
//! The copies are written in turn, so that a torn write hits the older one and the newer still
//! counts: the newest that is valid wins. A copy is a page of its own because a disk may damage
//! what shares a sector with what it writes. Sum and version stand first and stay where they are in
//! all versions, and the sum covers the page in all versions: a flipped bit in the version is damage,
//! not a newer program's work. Of the rest, the wide fields come first, so that each is aligned.

use super::fields::Fields;
use crate::storage::crc32c;

/// Bytes of one copy.
pub const SUPERBLOCK_BYTES: usize = 4096;

const VERSION: u32 = 1;
/// Where the fields end; later ones are appended.
const FIELDS_END: usize = 45;

/// What one copy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// The cache, as its `FORMAT` names it.
    pub uuid: u128,
    /// The number of the volume.
    pub volume: u32,
    /// Of two valid copies the one with the greater number counts.
    pub sequence: u64,
    /// The journal that counts, 0 or 1.
    pub journal: u8,
    /// The life of that journal: pages of another one do not count.
    pub epoch: u64,
}

/// Why a copy does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// It is sound and of that version, which this program does not know: refuse the cache.
    #[error(
        "a superblock of format {0} is not known here; use the version that wrote it, or another --cache"
    )]
    Newer(u32),
    /// It was torn, rotted or never written: the other copy may count.
    #[error("the superblock is damaged")]
    Damaged,
    /// Nothing is wrong with it, but it is not of this cache: FORMAT is another's, or the volume is.
    #[error(
        "its superblock is of the cache {uuid:032x}, volume {volume}, and FORMAT is not; put back the FORMAT \
         of that cache, or remove this one where all volumes are that cache's: it is written anew from them"
    )]
    Foreign {
        /// The cache that it names.
        uuid: u128,
        /// The volume that it names.
        volume: u32,
    },
}

impl Superblock {
    /// The page of this copy.
    pub fn encode(&self) -> [u8; SUPERBLOCK_BYTES] {
        debug_assert!(self.journal <= 1, "there are two journals");
        let mut page = [0; SUPERBLOCK_BYTES];
        page[4..8].copy_from_slice(&VERSION.to_le_bytes());
        page[8..24].copy_from_slice(&self.uuid.to_le_bytes());
        page[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        page[32..40].copy_from_slice(&self.epoch.to_le_bytes());
        page[40..44].copy_from_slice(&self.volume.to_le_bytes());
        page[44..FIELDS_END].copy_from_slice(&[self.journal]);
        let sum = crc32c(&page[4..]);
        page[..4].copy_from_slice(&sum.to_le_bytes());
        page
    }

    /// Reads one copy.
    ///
    /// # Errors
    /// [`SuperblockError::Newer`] and [`SuperblockError::Damaged`].
    pub fn parse(page: &[u8]) -> Result<Self, SuperblockError> {
        let page: &[u8; SUPERBLOCK_BYTES] =
            page.try_into().map_err(|_| SuperblockError::Damaged)?;
        let mut fields = Fields(page);
        match (fields.u32(), fields.u32()) {
            (sum, _) if sum != Some(crc32c(&page[4..])) => Err(SuperblockError::Damaged),
            (_, Some(VERSION)) => Self::read(fields).ok_or(SuperblockError::Damaged),
            (_, version) => Err(SuperblockError::Newer(version.unwrap_or_default())),
        }
    }

    /// The position of its copy in the file.
    pub fn copy(&self) -> u64 {
        self.sequence % 2 * SUPERBLOCK_BYTES as u64
    }

    fn read(mut fields: Fields<'_>) -> Option<Self> {
        let (uuid, sequence, epoch) = (fields.u128()?, fields.u64()?, fields.u64()?);
        let (volume, journal) = (fields.u32()?, fields.u8()?);
        (journal <= 1).then_some(Self { uuid, volume, sequence, journal, epoch })
    }
}

/// What the two copies of volume `volume` of cache `uuid` say together; `None` where neither is
/// sound.
///
/// Copies that are missing or damaged are passed over, and beside one that counts those of another
/// cache or volume, which a device put there.
///
/// # Errors
/// [`SuperblockError::Newer`] where either copy is: to use the older one would undo what a newer
/// program wrote. [`SuperblockError::Foreign`] where all that is sound is another's.
pub fn newest(
    copies: [Option<&[u8]>; 2],
    uuid: u128,
    volume: u32,
) -> Result<Option<Superblock>, SuperblockError> {
    let (own, foreign): (Vec<_>, Vec<_>) =
        sound(copies)?.into_iter().partition(|found| found.uuid == uuid && found.volume == volume);
    match (own.into_iter().max_by_key(|found| found.sequence), foreign.first()) {
        (None, Some(&Superblock { uuid, volume, .. })) => {
            Err(SuperblockError::Foreign { uuid, volume })
        }
        (newest, _) => Ok(newest),
    }
}

/// The cache that the copies of volume `volume` are of; `None` where that is not clear.
///
/// # Errors
/// [`SuperblockError::Newer`] where either copy is.
pub fn uuid_of(copies: [Option<&[u8]>; 2], volume: u32) -> Result<Option<u128>, SuperblockError> {
    let found = sound(copies)?;
    let first = found.first().map(|first| first.uuid);
    let agrees = |copy: &Superblock| Some(copy.uuid) == first && copy.volume == volume;
    Ok(first.filter(|_| found.iter().all(agrees)))
}

fn sound(copies: [Option<&[u8]>; 2]) -> Result<Vec<Superblock>, SuperblockError> {
    let parsed = copies.into_iter().flatten().map(Superblock::parse);
    parsed.filter(|copy| *copy != Err(SuperblockError::Damaged)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{format::tests::hex, random::Random};

    const UUID: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;

    fn superblock(sequence: u64) -> Superblock {
        let (journal, epoch) = (1, 0x0102_0304_0506_0708);
        Superblock { uuid: UUID, volume: 9, sequence, journal, epoch }
    }

    fn sum_again(page: &mut [u8]) {
        let sum = crc32c(&page[4..]);
        page[..4].copy_from_slice(&sum.to_le_bytes());
    }

    /// A sound page of that version.
    fn of_version(version: u32) -> [u8; SUPERBLOCK_BYTES] {
        let mut page = superblock(9).encode();
        page[4..8].copy_from_slice(&version.to_le_bytes());
        sum_again(&mut page);
        page
    }

    #[test]
    fn the_bytes_are_those_of_format_1() {
        let page = superblock(0x1112_1314_1516_1718).encode();
        let fields = concat!(
            "eafe6f96",
            "01000000",
            "7766554433221100efcdab8967452301",
            "1817161514131211",
            "0807060504030201",
            "09000000",
            "01",
        );
        assert_eq!(hex(&page[..45]), fields);
        assert_eq!(page[45..], [0; SUPERBLOCK_BYTES - 45]);
    }

    #[test]
    fn what_is_written_is_read() {
        for seed in 1..=1_000 {
            let mut random = Random(seed);
            let written = Superblock {
                uuid: u128::from(random.next()) << 64 | u128::from(random.next()),
                volume: random.next() as u32,
                sequence: random.next(),
                journal: random.below(2) as u8,
                epoch: random.next(),
            };
            assert_eq!(Superblock::parse(&written.encode()), Ok(written), "seed {seed}");
        }
    }

    #[test]
    fn copies_alternate() {
        assert_eq!(superblock(0).copy(), 0);
        assert_eq!(superblock(1).copy(), 4096);
        assert_eq!(superblock(2).copy(), 0);
    }

    #[test]
    fn every_flipped_bit_is_damage() {
        let page = superblock(1).encode();
        for bit in 0..page.len() * 8 {
            let mut flipped = page;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Superblock::parse(&flipped), Err(SuperblockError::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn what_was_never_written_or_is_cut_is_damage() {
        let page = superblock(1).encode();
        for bytes in [&[][..], &[0; SUPERBLOCK_BYTES], &[0xFF; SUPERBLOCK_BYTES], &page[..4095]] {
            assert_eq!(Superblock::parse(bytes), Err(SuperblockError::Damaged));
        }
    }

    #[test]
    fn fields_of_later_programs_are_passed_over_and_a_third_journal_is_damage() {
        let mut page = superblock(1).encode();
        page[45..53].fill(7);
        sum_again(&mut page);
        assert_eq!(Superblock::parse(&page), Ok(superblock(1)));
        page[44] = 2;
        sum_again(&mut page);
        assert_eq!(Superblock::parse(&page), Err(SuperblockError::Damaged));
    }

    #[test]
    fn the_newest_valid_copy_counts() {
        let (older, newer) = (superblock(4).encode(), superblock(5).encode());
        let mut torn = newer;
        torn[4..].fill(0);
        let newest = |copies| newest(copies, UUID, 9).unwrap().map(|found| found.sequence);
        assert_eq!(newest([Some(&older), Some(&newer)]), Some(5));
        assert_eq!(newest([Some(&newer), Some(&older)]), Some(5));
        assert_eq!(newest([Some(&older), Some(&torn)]), Some(4));
        assert_eq!(newest([None, Some(&newer)]), Some(5));
        assert_eq!(newest([Some(&torn), None]), None);
        assert_eq!(newest([None, None]), None);
    }

    #[test]
    fn copies_of_others_are_passed_over() {
        let foreign = Superblock { uuid: UUID + 1, ..superblock(7) }.encode();
        let neighbour = Superblock { volume: 8, ..superblock(8) }.encode();
        let own = superblock(1).encode();
        for other in [&foreign, &neighbour] {
            assert_eq!(newest([Some(other), Some(&own)], UUID, 9), Ok(Some(superblock(1))));
        }
    }

    #[test]
    fn copies_that_are_all_of_others_are_named() {
        let foreign = Superblock { uuid: UUID + 1, ..superblock(7) }.encode();
        let named = Err(SuperblockError::Foreign { uuid: UUID + 1, volume: 9 });
        assert_eq!(newest([Some(&[0; SUPERBLOCK_BYTES]), Some(&foreign)], UUID, 9), named);
        assert_eq!(uuid_of([None, Some(&foreign)], 9), Ok(Some(UUID + 1)));
        assert_eq!(uuid_of([None, Some(&foreign)], 8), Ok(None), "of another volume");
        let own = superblock(1).encode();
        assert_eq!(uuid_of([Some(&own), Some(&foreign)], 9), Ok(None), "of two caches");
        assert_eq!(uuid_of([None, Some(&of_version(2))], 9), Err(SuperblockError::Newer(2)));
    }

    #[test]
    fn a_newer_copy_refuses_in_either_place() {
        let (own, later) = (superblock(10).encode(), of_version(2));
        for copies in [[Some(&own[..]), Some(&later[..])], [Some(&later[..]), Some(&own[..])]] {
            assert_eq!(newest(copies, UUID, 9), Err(SuperblockError::Newer(2)));
        }
        assert_eq!(Superblock::parse(&of_version(0)), Err(SuperblockError::Newer(0)));
    }
}
