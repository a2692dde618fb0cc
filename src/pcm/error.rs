//! Why there is no PCM, as the callers tell it apart.

use super::timeline;
use crate::{
    bufpool::Exhausted,
    decode::{self, SpecError},
    encode,
    storage::Failure,
};

/// Why what was asked for cannot be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The bytes cannot be had.
    #[error(transparent)]
    Source(#[from] Failure),
    /// The bytes are there and cannot be decoded.
    #[error(transparent)]
    Decode(#[from] decode::Error),
    /// `t` lies behind the end.
    #[error(transparent)]
    Timeline(#[from] timeline::Error),
    /// The source cannot become what was asked for.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The format cannot hold the source, whatever is asked for beside.
    #[error(transparent)]
    Encode(#[from] encode::Error),
    /// The source cannot be brought to the rate of the format.
    #[error("the format has a rate of its own: {0}")]
    Unencodable(SpecError),
    /// A file has one variant.
    #[error("a file has no variants")]
    NoVariants,
    /// The tracks of a file have numbers.
    #[error("the tracks of a file have numbers, not names")]
    NoNames,
    /// No memory for another stream.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}
