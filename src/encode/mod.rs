//! PCM frames to an output format: what goes in front of them, and what they are turned into.
#![forbid(unsafe_code)]

pub mod flac;
pub mod wav;
