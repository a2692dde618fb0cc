//! Why media gave no frames, as the callers tell it apart.

use std::borrow::Cow;

/// Why a decoder stopped.
///
/// What is wrong with single packets is not here: they become silence of their own length and are
/// counted. These are the reasons for which the whole track is refused or given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are known, and we have nothing that decodes them. Answered with 415.
    #[error("{name} is not supported")]
    Unsupported {
        /// Codec or container, by the name people use.
        name: Cow<'static, str>,
    },
    /// The bytes are of no audio container we know. Answered with 415.
    #[error("no audio container was found in the bytes")]
    NotMedia,
    /// A container without an audio track. Answered with 415.
    #[error("the media has no audio track")]
    NoAudio,
    /// An audio track was asked for by a number that is none. Answered with 400.
    #[error("the media has no such audio track; it has {tracks}")]
    NoTrack {
        /// How many there are; they count from 0.
        tracks: usize,
    },
    /// An audio track in which not one packet decodes. Answered with 422.
    #[error("nothing in the media decodes: {why}")]
    Damaged {
        /// What the parser or the decoder said first.
        why: Cow<'static, str>,
    },
    /// Tables of the container would take more memory than their limit. Answered with 415.
    #[error("the {table} of its container would take more than {limit_bytes} bytes of memory")]
    TooLarge {
        /// Which tables.
        table: &'static str,
        /// The limit that it broke.
        limit_bytes: u64,
    },
    /// The decoder panicked. Its coroutine is gone; the shard is not. Answered with 500.
    #[error("the decoder failed internally")]
    Panicked,
    /// No stack for another decoder: the address space or the memory is used up. Answered with 503.
    #[error("no memory for another decoder")]
    NoStack,
}

impl Error {
    pub(super) fn unsupported(name: impl Into<Cow<'static, str>>) -> Self {
        Self::Unsupported { name: name.into() }
    }

    pub(super) fn damaged(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Damaged { why: why.into() }
    }
}
