//! A byte source with a position: what is resident, read-ahead, epochs.
//!
//! The asynchronous side ([`Reader`]) waits for bytes and makes them [`Resident`]; the synchronous
//! side (a decoder) copies from what is resident and says what it needs next. Nothing else in the
//! node waits for bytes.

#![forbid(unsafe_code)]

mod ahead;
mod patience;
mod reader;
mod resident;
mod write;

pub use patience::Patience;
pub use reader::{Reader, Source};
pub use resident::Resident;
pub use write::write;
