//! Superblocks of any bytes: what is read says the same when written out, and of two copies a valid
//! one is found beside any other bytes.
#![no_main]

use kithara::storage::format::{SUPERBLOCK_BYTES, Superblock, SuperblockError, newest};
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // No input is a page with a sum that fits: made one, its fields are reached.
    let mut page = [0; SUPERBLOCK_BYTES];
    let count = bytes.len().min(SUPERBLOCK_BYTES - 4);
    page[4..][..count].copy_from_slice(&bytes[..count]);
    let sum = crc32c::crc32c(&page[4..]);
    page[..4].copy_from_slice(&sum.to_le_bytes());
    check(&page);
});

fn check(page: &[u8]) {
    let valid = Superblock { uuid: 1, volume: 2, sequence: 3, journal: 1, epoch: 4 };
    let both = newest([Some(page), Some(&valid.encode())], valid.uuid, valid.volume);
    match Superblock::parse(page) {
        Ok(superblock) => {
            assert_eq!(Superblock::parse(&superblock.encode()), Ok(superblock.clone()));
            assert!(superblock.journal <= 1 && superblock.copy() <= SUPERBLOCK_BYTES as u64);
            let found = both.unwrap().unwrap();
            assert!(found == valid || found == superblock);
        }
        Err(SuperblockError::Damaged) => assert_eq!(both, Ok(Some(valid))),
        Err(newer) => assert_eq!(both, Err(newer)),
    }
}
