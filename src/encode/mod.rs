//! PCM frames to an output format: what goes in front of them, and what they are turned into.
//!
//! - `codec`: which formats there are, what they are called and what they take;
//! - `encoder`: one encoder of whichever of them; a further one is a variant there;
//! - [`flac`], [`opus`], and with the features of these names `mp3`, `aac`: those of them that are built;
//! - `incoming`, `outgoing`: what waits in front of an encoder, and behind it;
//! - `ogg`: the pages that Opus lies in;
//! - `tags`: what a stream says of the music, in the form that its format has for that;
//! - [`wav`]: the header of what is not encoded.
#![forbid(unsafe_code)]

#[cfg(feature = "aac")]
pub mod aac;
mod codec;
mod encoder;
pub mod flac;
mod incoming;
#[cfg(feature = "mp3")]
pub mod mp3;
mod ogg;
pub mod opus;
mod outgoing;
mod tags;
pub mod wav;

pub use codec::{Codec, Coding, parse_bit_rate};
pub use encoder::{Encoder, Error, Output};
pub use tags::Tags;
