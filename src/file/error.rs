//! Why a file cannot be opened, as the callers tell it apart.

use crate::storage::Failure;

/// Why there is no file.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No origin and no library has that name.
    #[error("there is no origin or library called `{0}`")]
    UnknownSource(String),
    /// The path leads out of its source, or has a byte that no path has.
    #[error("the path `{0}` is not one inside its source")]
    BadPath(String),
    /// A library has no such file.
    #[error("there is no such file in the library")]
    NotFound,
    /// A link in a library leads out of it, or in a circle.
    #[error("a link there leads out of the library, or in a circle")]
    LeadsOut,
    /// The file system lets the user of this process not read a file of a library, or not go to it.
    #[error("this user may not read the file, or not enter a folder on its way")]
    NotPermitted,
    /// A file of a library cannot be read.
    #[error("the library's file cannot be read: {0}")]
    Unreadable(String),
    /// A body that is longer than any file may be, or that has no end: a live stream.
    #[error("the source is longer than {limit_bytes} bytes, or has no end (live)")]
    TooLong {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// It is not in the cache, and the client wants it from there only.
    #[error("it is not in the cache, and `only-if-cached` forbids to fetch it")]
    NotCached,
    /// The bytes cannot be had from the origin.
    #[error(transparent)]
    Source(#[from] Failure),
}
