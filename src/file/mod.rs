//! A plain file: one resource, fetched from where readers want it.
//!
//! [`Files::open`] turns a source into an [`Opened`] file: from an origin through the cache, or
//! from a library in place. The fill of an origin's file is one task that holds the permit. It
//! looks at the demands that readers registered with the resource, and keeps just the fetches
//! running that lead to them (`plan`); one that only prefetches want goes on as they allow it
//! ([`Pace`](crate::assets::Pace)). A fetch that fails is the failure of those who wait for its
//! bytes; the resource fails as a whole only where nothing of it was learnt, or where its bytes
//! cannot be trusted or completed any more.

#![forbid(unsafe_code)]

pub mod conditional;
mod error;
mod fill;
#[cfg(test)]
mod fill_tests;
mod open;
mod plan;
pub mod range;

pub use error::Error;
pub use open::{Files, Library, Opened, Presence};
