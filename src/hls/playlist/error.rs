//! Why a playlist is not played, as its callers tell it apart.

/// Why there is nothing to play.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is something else, which may be playable as what it is.
    #[error("this is no HLS playlist: {0}")]
    NotHls(&'static str),
    /// It is live, or an update of a live one.
    #[error(
        "the playlist is live; give one that has ended, with EXT-X-ENDLIST or EXT-X-PLAYLIST-TYPE:VOD"
    )]
    Live,
    /// What it names is encrypted in a way that this node cannot or may not decrypt.
    #[error(
        "line {line}: encrypted by {name}, and only AES-128 with an identity key can be decrypted; give \
         such a key beside it"
    )]
    Encrypted {
        /// Counted from 1: what is encrypted.
        line: usize,
        /// The methods, and their key formats where these are no identity.
        name: String,
    },
    /// What it names has no audio by its own account.
    #[error("there is no audio in it: {0}")]
    NoAudio(&'static str),
    /// No rendition is the track that is wanted.
    #[error("it has no such track; there are {0}")]
    NoTrack(String),
    /// It is longer than playlists may be.
    #[error("line {line}: over the limit `{name}` of {most}")]
    Limit {
        /// Counted from 1; 0 for the whole.
        line: usize,
        /// Its name.
        name: &'static str,
        /// Its value.
        most: usize,
    },
    /// A line says what no playlist says.
    #[error("line {line}: {tag} {problem}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// The tag, or `URI`.
        tag: &'static str,
        /// What is wrong, and what would be right.
        problem: &'static str,
    },
    /// It has ended and names nothing.
    #[error("the playlist names neither segments nor variants")]
    Empty,
}
