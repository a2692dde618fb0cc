//! Packed audio of any bytes, as ADTS or MPEG audio comes without a container: the packets of its segments,
//! at each place where they can be entered.
#![no_main]

use kithara_fuzz::{fuzz_target, play};

fuzz_target!(|bytes: &[u8]| {
    play(&[], bytes);
});
