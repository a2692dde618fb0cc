//! Keys as playlists name them, and who makes keys out of what comes for them.
//!
//! Pure: no I/O, no clock, no executor.

use url::Url;

use super::KEY_BYTES;

/// The key format of keys that lie there as they are.
pub const IDENTITY: &str = "identity";

/// A key as a playlist names it (`EXT-X-KEY`, RFC 8216 section 4.3.2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    /// Where it lies.
    pub url: Url,
    /// `KEYFORMAT`: `identity`, where the playlist says none.
    pub format: Box<str>,
    /// `KEYFORMATVERSIONS`: `1`, where the playlist says none.
    pub versions: Box<str>,
    /// `IV`, where the playlist says one; else each segment has its own.
    pub iv: Option<[u8; 16]>,
}

/// Makes keys out of what is fetched for them, where that is not the key itself: for a program that runs a node
/// of its own.
///
/// It is called once for each key that is not known yet, on a thread beside the shard, and may wait there for
/// somebody else. No more than one call of a shard runs at a time. One that has not returned after 10 s has
/// failed, as has one that panics: segments of that key are missing then, and the shard asks again for others
/// when the call returns.
///
/// What is fetched has at most `limits.key_bytes`. Keys stay in memory, 256 of each shard.
///
/// ```
/// use kithara::hls::{KeyName, KeyProcessor, KeyRefused};
///
/// /// Keys whose bytes were combined with those of a pad.
/// struct Padded([u8; 16]);
///
/// impl KeyProcessor for Padded {
///     fn formats(&self) -> &'static [&'static str] {
///         &["com.example.padded"]
///     }
///
///     fn unwrap_key(&self, name: &KeyName, wrapped: &[u8]) -> Result<[u8; 16], KeyRefused> {
///         let wrapped = <[u8; 16]>::try_from(wrapped);
///         let wrapped = wrapped.map_err(|_| KeyRefused::new("it has not 16 bytes"))?;
///         Ok(std::array::from_fn(|at| wrapped[at] ^ self.0[at]))
///     }
/// }
/// ```
pub trait KeyProcessor: Send + Sync {
    /// The key formats (`KEYFORMAT`) that it unwraps. Presentations that have keys of no other are played, where
    /// their METHOD is AES-128. One of `identity` means those that name none, too; else these are taken as they
    /// come.
    fn formats(&self) -> &'static [&'static str] {
        &[IDENTITY]
    }

    /// The key in what came for it.
    ///
    /// # Errors
    /// Why there is none: it is told to clients and to the log.
    fn unwrap_key(&self, name: &KeyName, wrapped: &[u8]) -> Result<[u8; KEY_BYTES], KeyRefused>;
}

/// Why there is no key in what came for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyRefused(Box<str>);

impl KeyRefused {
    /// In a few words, in which there is no secret.
    pub fn new(why: impl Into<Box<str>>) -> Self {
        Self(why.into())
    }
}
