//! Compressed bytes to PCM frames.
//!
//! A [`Decoder`] decodes one track of one source. It runs on a stack of its own ([`Stacks`]) and
//! says what it needs ([`Step`]); the layer above fetches bytes and consumes frames. Frames come on
//! the trimmed timeline: encoder delay and padding are gone, what did not decode is silence of its
//! own length, and the promised total ([`Info::frames`]) is what comes out.
//!
//! What a request wants of the frames, a [`Pipeline`] makes: mixed, resampled, quantised.
//!
//! [`sniff`] names the container by its bytes. MP3, ADTS and WAVE are demultiplexed here; the other
//! containers by symphonia's readers. WAVE is ours for good: symphonia's reader refuses files that
//! every player plays (odd lists, sizes of a pipe, RF64), and finding frames in it is arithmetic.

mod coroutine;
mod decoder;
mod demux;
mod elementary;
mod error;
mod frames;
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod identity;
mod info;
mod matroska;
mod mix;
mod mp3;
mod mp4;
mod ogg;
mod opening;
mod pipeline;
mod planes;
mod quantise;
mod resample;
mod sbr;
mod skip;
mod sniff;
mod source;
mod tables;
mod tags;
mod track;
mod wav;
mod xing;

pub use coroutine::{Options as DecoderOptions, Stacks};
pub use decoder::{Ask, Decoder, Step};
pub use error::Error;
pub use frames::Frames;
pub use identity::identity;
pub use info::{Channels, Info, Sample};
pub use mix::{MAX_CHANNELS, Mixer, default_mask};
pub use pipeline::{Pipeline, Spec, SpecError};
pub use quantise::{Dither, Encoding, quantise, quantise_wide};
pub use resample::{
    Blocks, MAX_BLOCK_FRAMES, Quality, RATES_HZ, RatesRefused, Resampler, frames_out,
};
pub use sniff::{Container, sniff};
