//! Packets of any bytes into the decoder of HE-AAC: each is an error, or as long as all are.
#![no_main]

use kithara::decode::fuzzing;
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::he_aac(bytes);
});
