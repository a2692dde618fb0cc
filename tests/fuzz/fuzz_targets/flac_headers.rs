//! Metadata and frame headers of FLAC: bounded, and a start and an end that can be.
#![no_main]

use kithara::decode::fuzzing;
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::flac(bytes);
    // Most inputs have no marker.
    fuzzing::flac(&[&b"fLaC"[..], bytes].concat());
});
