//! A byte source with a position: what is resident, read-ahead, epochs.
//!
//! The asynchronous side ([`Reader`]) waits for bytes and makes them [`Resident`]; the synchronous
//! side (a decoder) copies from what is resident and says what it needs next. Nothing else in the
//! node waits for bytes. What is put together out of parts is a [`tape`].

#![forbid(unsafe_code)]

mod ahead;
mod patience;
mod reader;
mod resident;
pub mod tape;
mod write;

pub use patience::{Patience, take};
pub use reader::{Reader, Source};
pub use resident::Resident;
pub use write::write;
