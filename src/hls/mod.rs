//! HLS on demand: how a presentation of variants and segments is fetched (RFC 8216).
//!
//! - [`playlist`] (P): what the playlists of a presentation say.

#![forbid(unsafe_code)]

pub mod playlist;
