//! Tags of any bytes, alone and before segments of packed audio: what they say is bounded, and what follows
//! them is found.
#![no_main]

use kithara::decode::fuzzing;
use kithara_fuzz::{fuzz_target, play};

/// A frame of ADTS, of silence.
const FRAME: [u8; 13] =
    [0xFF, 0xF1, 0x50, 0x80, 0x01, 0xBF, 0xFC, 0x21, 0x10, 0x04, 0x60, 0x8C, 0x1C];

fuzz_target!(|bytes: &[u8]| {
    fuzzing::id3(bytes);
    let Some((how, tag)) = bytes.split_last() else { return };
    let audio = FRAME.repeat(4);
    play(&[], &[tag, &audio, tag, &audio, &[*how]].concat());
});
