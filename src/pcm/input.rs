//! Where a decoder's bytes come from.

use std::ops::Range;

use crate::{
    hls,
    storage::Failure,
    stream::{Reader, Resident},
};

/// One source, to be read by one decoder.
pub enum Input {
    /// One object.
    File(Reader),
    /// The segments of a variant.
    Hls(Box<hls::Reader>),
}

impl Input {
    /// The bytes that are in memory, for the side that must not wait.
    pub(super) fn resident(&self) -> Resident {
        match self {
            Self::File(reader) => reader.resident(),
            Self::Hls(reader) => reader.resident(),
        }
    }

    /// Whether all of it is surely on this node.
    pub(super) fn has_all(&self) -> bool {
        match self {
            Self::File(reader) => reader.has_all(),
            Self::Hls(_) => false,
        }
    }

    /// Waits until the first byte of `need` is resident, or is known never to come.
    ///
    /// # Errors
    /// The reason for which it cannot be had.
    ///
    /// # Cancellation
    /// What became resident stays so.
    pub(super) async fn fetch(&mut self, need: Range<u64>) -> Result<(), Failure> {
        match self {
            Self::File(reader) => reader.fetch(need).await,
            Self::Hls(reader) => reader.fetch(need).await,
        }
    }
}

impl From<Reader> for Input {
    fn from(reader: Reader) -> Self {
        Self::File(reader)
    }
}
