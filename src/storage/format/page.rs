//! A page of a journal: some records and a checksum that says where they belong.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! ```text
//! 0  u32  crc32c of: uuid u128, volume u32, epoch u64, number of the page u32, bytes 4..4096
//! 4  u16  bytes of records in this page, at most 4088
//! 6  u16  zero
//! 8  ...  records, whole ones only
//!    ...  zero
//! ```
//!
//! A page is what a disk is asked to write at once; it may still be torn between sectors of 512
//! bytes, which the sum finds. Records do not cross pages, so that a damaged page costs its own
//! records and no others. The sum begins with the identity of the page, which is stored nowhere in
//! it: pages of an earlier life of the file, of another volume, or written to another place are not
//! valid, and a journal is used again without being erased.

use super::fields::Fields;
use crate::storage::checksum::{crc32c, crc32c_append};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// Bytes of records that a page has room for.
pub const PAGE_ROOM: usize = PAGE_BYTES - HEADER_BYTES;

const HEADER_BYTES: usize = 8;

/// Whose journal a page is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// The cache.
    pub uuid: u128,
    /// The volume.
    pub volume: u32,
    /// The life of the journal.
    pub epoch: u64,
}

/// Makes `page` number `number` of the journal: its records are bytes `8..8 + used`.
///
/// Whatever lies after them becomes zero.
///
/// # Panics
/// When `page` is not [`PAGE_BYTES`] long or `used` is more than [`PAGE_ROOM`].
pub fn seal(page: &mut [u8], used: usize, whose: &Whose, number: u32) {
    assert!(page.len() == PAGE_BYTES && used <= PAGE_ROOM, "{used} bytes in {}", page.len());
    page[4..6].copy_from_slice(&(used as u16).to_le_bytes());
    page[6..8].fill(0);
    page[HEADER_BYTES + used..].fill(0);
    let sum = checksum(page, whose, number);
    page[..4].copy_from_slice(&sum.to_le_bytes());
}

/// The bytes of the records in page `number` of the journal, or `None` where it is not that page.
pub fn open<'a>(page: &'a [u8], whose: &Whose, number: u32) -> Option<&'a [u8]> {
    if page.len() != PAGE_BYTES {
        return None;
    }
    let mut fields = Fields(page);
    if fields.u32()? != checksum(page, whose, number) {
        return None;
    }
    let (used, _zero) = (fields.u16()?, fields.u16()?);
    fields.bytes(used.into())
}

fn checksum(page: &[u8], whose: &Whose, number: u32) -> u32 {
    let mut identity = [0; 32];
    identity[..16].copy_from_slice(&whose.uuid.to_le_bytes());
    identity[16..20].copy_from_slice(&whose.volume.to_le_bytes());
    identity[20..28].copy_from_slice(&whose.epoch.to_le_bytes());
    identity[28..].copy_from_slice(&number.to_le_bytes());
    crc32c_append(crc32c(&identity), &page[4..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{format::tests::hex, random::Random};

    fn place() -> Whose {
        let uuid = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
        Whose { uuid, volume: 9, epoch: 0x0102_0304_0506_0708 }
    }

    /// Page 3 with these records.
    fn page(records: &[u8]) -> [u8; PAGE_BYTES] {
        let mut page = [0xEE; PAGE_BYTES];
        page[HEADER_BYTES..][..records.len()].copy_from_slice(records);
        seal(&mut page, records.len(), &place(), 3);
        page
    }

    fn sum_again(page: &mut [u8]) {
        let sum = checksum(page, &place(), 3);
        page[..4].copy_from_slice(&sum.to_le_bytes());
    }

    #[test]
    fn the_bytes_are_those_of_format_1() {
        let page = page(b"records");
        assert_eq!(hex(&page[..15]), "e74ec45b070000007265636f726473");
        assert_eq!(page[15..], [0; PAGE_BYTES - 15]);
    }

    #[test]
    fn what_is_sealed_is_opened() {
        for seed in 1..=1_000 {
            let mut random = Random(seed);
            let used = random.below(PAGE_ROOM as u64 + 1) as usize;
            let mut page: Vec<_> = (0..PAGE_BYTES).map(|_| random.next() as u8).collect();
            let records = page[HEADER_BYTES..][..used].to_vec();
            let place = Whose {
                uuid: u128::from(random.next()),
                volume: random.next() as u32,
                epoch: random.next(),
            };
            let number = random.next() as u32;
            seal(&mut page, used, &place, number);
            assert_eq!(open(&page, &place, number), Some(&records[..]), "seed {seed}");
        }
    }

    #[test]
    fn a_page_counts_in_its_own_place_only() {
        let page = page(b"records");
        assert!(open(&page, &place(), 3).is_some());
        assert_eq!(open(&page, &place(), 2), None);
        for other in [
            Whose { uuid: place().uuid + 1, ..place() },
            Whose { uuid: place().uuid ^ 1 << 127, ..place() },
            Whose { volume: 8, ..place() },
            Whose { epoch: place().epoch - 1, ..place() },
        ] {
            assert_eq!(open(&page, &other, 3), None, "{other:?}");
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let mut page = page(&[0x5A; 300]);
        for bit in 0..PAGE_BYTES * 8 {
            page[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&page, &place(), 3), None, "bit {bit}");
            page[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(open(&page, &place(), 3).is_some());
    }

    /// Any of the eight sectors may be the old one: zeros, or a page of an earlier life.
    #[test]
    fn a_torn_page_is_found() {
        let new = page(&[0x5A; PAGE_ROOM]);
        let mut earlier = [0xA5; PAGE_BYTES];
        seal(&mut earlier, PAGE_ROOM, &Whose { epoch: 1, ..place() }, 3);
        for old in [[0; PAGE_BYTES], earlier] {
            for sectors in 0..u8::MAX {
                let mut torn = old;
                for sector in (0..8).filter(|sector| sectors >> sector & 1 == 1) {
                    let bytes = sector * 512..(sector + 1) * 512;
                    torn[bytes.clone()].copy_from_slice(&new[bytes]);
                }
                assert_eq!(open(&torn, &place(), 3), None, "sectors {sectors:08b}");
            }
        }
    }

    #[test]
    fn what_was_never_written_or_is_cut_is_no_page() {
        assert_eq!(open(&[0; PAGE_BYTES], &place(), 3), None);
        assert_eq!(open(&[], &place(), 3), None);
        assert_eq!(open(&page(b"records")[..PAGE_BYTES - 1], &place(), 3), None);
        let mut shorter = page(b"records")[..PAGE_BYTES - 1].to_vec();
        sum_again(&mut shorter);
        assert_eq!(open(&shorter, &place(), 3), None, "though its sum fits");
    }

    #[test]
    fn more_records_than_there_is_room_for_are_damage_under_a_sum_that_fits() {
        let mut page = page(&[1; PAGE_ROOM]);
        assert_eq!(open(&page, &place(), 3).map(<[u8]>::len), Some(PAGE_ROOM));
        page[4..6].copy_from_slice(&(PAGE_ROOM as u16 + 1).to_le_bytes());
        sum_again(&mut page);
        assert_eq!(open(&page, &place(), 3), None);
    }
}
