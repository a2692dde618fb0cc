//! Resident bytes against an obvious model: whatever is inserted and let go, what is read is what
//! the source has there.

#![no_main]

use kithara::{
    bufpool::{BufPool, Class, Options},
    stream::Resident,
};
use kithara_fuzz::fuzz_target;

/// What the source has at a position.
fn source(position: u64) -> u8 {
    (position.wrapping_mul(31) ^ (position >> 8)) as u8
}

fuzz_target!(|data: &[u8]| {
    let pool = BufPool::new(Options { budget_bytes: 4 << 20 });
    let resident = Resident::new(None);
    for step in data.chunks_exact(4) {
        let position = u64::from(u16::from_le_bytes([step[1], step[2]]));
        match step[0] % 4 {
            0 | 1 => insert(&pool, &resident, position, 1 + usize::from(step[3]) * 8),
            2 => resident.clear(),
            _ => read(&resident, position, usize::from(step[3]) * 8),
        }
    }
});

fn insert(pool: &BufPool, resident: &Resident, position: u64, length: usize) {
    let Ok(mut block) = pool.take(Class::Small) else { return };
    for (offset, byte) in block.iter_mut().take(length).enumerate() {
        *byte = source(position + offset as u64);
    }
    resident.insert(position, block.freeze(length));
    let mut first = [0];
    assert_eq!(resident.read(position, &mut first), 1, "what was inserted is there");
}

fn read(resident: &Resident, position: u64, length: usize) {
    let mut into = vec![0; length];
    let count = resident.read(position, &mut into);
    assert_eq!(count as u64, (length as u64).min(resident.resident_to(position) - position));
    for (offset, byte) in into[..count].iter().enumerate() {
        assert_eq!(*byte, source(position + offset as u64), "at {}", position + offset as u64);
    }
}
