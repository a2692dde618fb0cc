//! First frames of MP3 files: a tag or none, never a panic.
#![no_main]

use kithara::decode::fuzzing;
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::xing(bytes);
    // Most inputs have no frame header: one before them lets the tag be reached.
    fuzzing::xing(&[&[0xFF, 0xFB, 0x90, 0x64][..], bytes].concat());
});
