//! Compressed bytes to PCM frames.
//!
//! A [`Decoder`] decodes one track of one source. It runs on a stack of its own ([`Stacks`]) and
//! says what it needs ([`Step`]); the layer above fetches bytes and consumes frames. Frames come on
//! the trimmed timeline: encoder delay and padding are gone, what did not decode is silence of its
//! own length, and the promised total ([`Info::frames`]) is what comes out.
//!
//! A frame lies where its packet says: by the numbers of FLAC frames, by the granule positions of Ogg
//! pages, by the tables of MP4 and the arithmetic of PCM. MP3 and ADTS have nothing of the kind; what
//! was passed there to find the next frame is as long as its bytes would last. What a stream is, its
//! headers say before a packet is decoded; MP3 inside of another container takes one. Where it turns
//! into something else, its first shape stays: other channels are mixed, another rate is silence in
//! time.
//!
//! What a request wants of the frames, a [`Pipeline`] makes: mixed, resampled, quantised.
//!
//! [`sniff`] names the container by its bytes. MP3, ADTS, FLAC, WAVE and Ogg's pages are demultiplexed
//! here; the other containers, and the headers of Ogg, by symphonia's readers. What is ours lends packets
//! out of a few KiB that lie ahead, and where its headers say where a frame lies, a start in the middle
//! looks it up. WAVE is ours for good: symphonia's reader refuses files that every player plays (odd
//! lists, sizes of a pipe, RF64), and finding frames in it is arithmetic.

mod coroutine;
mod decoder;
mod demux;
mod error;
mod flac;
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
mod shape;
mod skip;
mod sniff;
mod source;
mod tables;
mod tags;
mod track;
mod tray;
mod vorbis;
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
