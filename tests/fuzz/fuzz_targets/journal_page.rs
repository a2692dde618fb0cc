//! Pages of a journal: any bytes open or do not, and what is sealed opens in its own place only.
#![no_main]

use kithara::storage::format::{PAGE_BYTES, PAGE_ROOM, Whose, open, records, seal};
use kithara_fuzz::fuzz_target;

fuzz_target!(|input: (u128, u32, u64, u32, &[u8])| {
    let (uuid, volume, epoch, number, bytes) = input;
    let place = Whose { uuid, volume, epoch };
    if let Some(found) = open(bytes, &place, number) {
        assert!(found.len() <= PAGE_ROOM);
    }
    let mut page = [0xEE; PAGE_BYTES];
    let inside = &bytes[..bytes.len().min(PAGE_ROOM)];
    page[8..][..inside.len()].copy_from_slice(inside);
    seal(&mut page, inside.len(), &place, number);
    assert_eq!(open(&page, &place, number), Some(inside));
    assert!(records(inside).count() <= inside.len() / 3);
    // Two places that differ in up to 32 bits in a row never have the same sum.
    assert_eq!(open(&page, &place, number.wrapping_add(1)), None);
    assert_eq!(open(&page, &Whose { volume: !volume, ..place }, number), None);
});
