//! HLS on demand: how a presentation of variants and segments is fetched (RFC 8216).
//!
//! - [`abr`] (P): from which variant the next segment comes;
//! - `choice` (P): the variant and the track that a client asks for;
//! - `decrypt` (P): segments that are encrypted;
//! - `keys` (P): what they are encrypted with, and who unwraps what comes wrapped;
//! - `missing` (P): what cannot be had, by its name;
//! - `offer` (P): what there is to choose from;
//! - `parts` (P): a media playlist as a [tape](crate::stream::tape);
//! - [`playlist`] (P): what the playlists of a presentation say;
//! - `reader`: the one place that waits for bytes of segments;
//! - `schedule` (P): which segment is fetched next, ahead of who listens;
//! - `signs` (P): by what a source is taken for a playlist.

#![forbid(unsafe_code)]

pub mod abr;
mod choice;
mod decrypt;
mod keys;
mod missing;
mod offer;
mod parts;
pub mod playlist;
mod reader;
mod schedule;
mod signs;

pub use choice::{Error, Variants, is_only_choice};
pub use decrypt::BLOCK_BYTES as KEY_BYTES;
pub use keys::{IDENTITY, KeyName, KeyProcessor, KeyRefused};
pub use missing::{Called, Missing, Thing};
pub use offer::{Offer, OfferedTrack, OfferedVariant};
pub use parts::{Parts, Resource};
pub use reader::{BadPart, Body, Fetch, Local, PartLimits, Reader, Unfetched};
pub use schedule::{Reach, Schedule};
pub use signs::{begins_as_list, is_named_list, is_typed_list, says_nothing};
