//! Seek indices as they lie in a cache: read or not, never a panic, and the same when written again.
#![no_main]

use kithara::decode::fuzzing;
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::seek_index(bytes);
});
