//! A plain file: one resource, fetched from where readers want it.
//!
//! [`Files::open`] turns a source into an [`Opened`] file: from an origin through the cache, or
//! from a library in place. What is not in the cache, or not fresh any more, is asked for by one
//! `inquiry` for all who wait: the origin says that what is here is still good, or gives another
//! generation, or an answer for one client alone, which nobody else and no disk gets to see. Where the
//! origin fails, what is stale is given if it may be, and for a moment (`pause`) without asking. Whether
//! what is here may be given is settled once, before the first byte of an answer.
//!
//! One URL has one home, and there may be more than one object in it: answers that `Vary`, and a
//! redirect beside what it leads to, which `/o/` passes on and decoding follows.
//!
//! The fill of an origin's file is one task that holds the permit. It
//! looks at the demands that readers registered with the resource, and keeps just the fetches
//! running that lead to them (`plan`); one that only prefetches want goes on as they allow it
//! ([`Pace`](crate::assets::Pace)). A fetch that fails is the failure of those who wait for its
//! bytes; the resource fails as a whole only where nothing of it was learnt, or where its bytes
//! cannot be trusted or completed any more.

#![forbid(unsafe_code)]

mod asker;
pub mod conditional;
mod course;
mod error;
#[cfg(test)]
mod fault_tests;
mod fill;
#[cfg(test)]
mod fill_tests;
mod found;
mod inquiry;
mod open;
mod pause;
mod plan;
pub mod range;
mod refill;
mod stay;

pub use asker::passed_on;
pub use error::Error;
pub use found::{Found, How};
pub use open::{Files, Library, Opened};
pub use stay::{is_of_another_version, is_proven, stays};
