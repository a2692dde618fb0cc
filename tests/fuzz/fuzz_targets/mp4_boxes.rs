//! Boxes of MP4 files and chunks of WAVE files: bounded walks over any sizes.
#![no_main]

use kithara::decode::fuzzing;
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::mp4_boxes(bytes);
    fuzzing::wav(bytes);
});
