//! `FORMAT` of any bytes: what is read is written out as it was; another version is refused whatever
//! follows it.
#![no_main]

use kithara::storage::format::{Format, FormatError};
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // No input has a sum that fits: with one behind it the lines are reached.
    let sum = format!("crc32c {:08x}\n", crc32c::crc32c(bytes));
    check(&[bytes, sum.as_bytes()].concat());
    let later = [b"kithara-cache 2\n", bytes].concat();
    assert_eq!(Format::parse(&later), Err(FormatError::Newer(2)));
});

fn check(text: &[u8]) {
    if let Ok(format) = Format::parse(text) {
        assert!((1..=65_536).contains(&format.volumes));
        assert_eq!(format.encode().as_bytes(), text);
    }
}
