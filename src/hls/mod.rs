//! HLS on demand: how a presentation of variants and segments is fetched (RFC 8216).
//!
//! - [`abr`] (P): from which variant the next segment comes;
//! - [`playlist`] (P): what the playlists of a presentation say.

#![forbid(unsafe_code)]

pub mod abr;
pub mod playlist;
