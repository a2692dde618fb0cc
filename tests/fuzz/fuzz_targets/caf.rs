//! Chunks of a CAF file of any bytes, and the numbers of its packet table: bounded walks over any sizes.
#![no_main]

use kithara::decode::fuzzing;
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::caf(bytes);
    // Most inputs have no marker.
    fuzzing::caf(&[&b"caff\0\x01\0\0"[..], bytes].concat());
});
