//! Compressed bytes to PCM frames.
//!
//! A [`Decoder`] decodes one track of one source. It runs on a stack of its own ([`Stacks`]) and
//! says what it needs ([`Step`]); the layer above fetches bytes and consumes frames. Frames come on
//! the trimmed timeline: encoder delay and padding are gone, what did not decode is silence of its
//! own length, and the promised total ([`Info::frames`]) is what comes out.
//!
//! A frame lies where its packet says: by the numbers of FLAC frames, by the granule positions of Ogg
//! pages, by the tables of MP4 and the arithmetic of PCM. MP3 and ADTS have nothing of the kind; what
//! was passed there to find the next frame is as long as its bytes would last. In MPEG-TS and Matroska
//! frames follow each other too, and where some are missing, times say how many. What a stream is,
//! its headers say before a packet is decoded; MP3 for which a container speaks takes one. Where it
//! turns into something else, its first shape stays: other channels are mixed, another rate is silence
//! in time. Where a source is put together out of stretches, each is decoded as what it is, and mixed and
//! resampled to what the first was.
//!
//! Any frame comes out the same wherever a decode began. One that begins in the middle passes what
//! lies before, and decodes as much of it to nothing as makes its decoder that of a decode from the
//! start: by the bit reservoir of MP3, two packets of Vorbis, none of FLAC. AAC may draw noise from a
//! generator that never comes back to a state, so does HE-AAC, and Opus never forgets; every decoder of
//! them starts anew on a grid of packets.
//!
//! What is passed, by a decode or by a scan, is written into an [`Index`]; a later decoder that is
//! given it enters the stream right before the frame that it wants.
//!
//! What a request wants of the frames, a [`Pipeline`] makes: mixed, resampled, quantised.
//!
//! [`sniff`] names the container by its bytes. MP3, ADTS, MPEG-TS, FLAC, MP4, CAF, WAVE, Ogg's pages
//! and Matroska's blocks are demultiplexed here; AIFF, ADPCM in WAVE, and the headers of Ogg and
//! Matroska, by symphonia's readers. What is ours lends packets out of the blocks that hold the source
//! (copies of those that two blocks share, and of Ogg and MPEG-TS, which cut them up), keeps of tables a
//! few KiB, and looks a late start up where headers or tables say where a frame lies. WAVE is ours for
//! good: symphonia's reader refuses files that every player plays (odd lists, sizes of a pipe, RF64), and
//! finding frames in it is arithmetic.

mod adapter;
mod alac;
mod caf;
mod coroutine;
mod decoder;
mod demux;
mod error;
mod flac;
mod frames;
#[doc(hidden)]
pub mod fuzzing;
mod grid;
mod he_aac;
mod headers;
mod identity;
mod index;
mod info;
mod matroska;
mod mix;
mod mp3;
mod mp4;
mod ogg;
mod opening;
mod opus;
mod pipeline;
mod planes;
mod quantise;
mod resample;
mod sbr;
mod shape;
mod skip;
mod sniff;
mod source;
mod spares;
mod surround;
mod tags;
mod times;
mod track;
mod tray;
mod ts;
mod vorbis;
mod wav;
mod xing;

pub use coroutine::{Options as DecoderOptions, Stacks};
pub use decoder::{Ask, Decoder, Mode, Step};
pub use error::Error;
pub use frames::Frames;
pub use identity::identity;
pub use index::Index;
pub use info::{AudioTrack, Channels, Info, Sample};
pub use mix::{MAX_CHANNELS, Mixer, default_mask};
pub use pipeline::{Pipeline, Spec, SpecError};
pub use quantise::{Dither, Encoding, quantise, quantise_wide};
pub use resample::{
    Blocks, MAX_BLOCK_FRAMES, Quality, RATES_HZ, RatesRefused, Resampler, frames_out,
};
pub use sniff::{Container, sniff};
pub use spares::VORBIS_BYTES;
pub use times::time_of;
