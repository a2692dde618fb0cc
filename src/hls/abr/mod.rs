//! Adaptive bitrate: from which variant the next segment comes.
//!
//! Pure: times, buffers and sizes are arguments; what to do is the answer.
//!
//! | file | what it says |
//! |---|---|
//! | `mode` | what a request says about variants |
//! | `ladder` | the variants in the order of what they take, and those that are gone |
//! | `estimator` | what an origin carries, by what came of it |
//! | `outlook` | what the next segments are worth by the buffer |
//! | `controller` | the variant of a session: decided, and later applied |
//! | `reason` | why, for the stream's record |
//!
//! An estimator belongs to an origin, a ladder to a presentation, a controller to a session. A decision changes
//! nothing. What it asks for may take a while (a playlist, an init section, a second decoder), so the moment
//! it is applied the controller looks again, and says so where it no longer holds.

mod controller;
mod estimator;
mod ladder;
mod mode;
mod outlook;
mod reason;
#[cfg(test)]
mod tests;

use std::fmt;

pub use controller::{Coming, Controller, Decision, Fetch, First, NoVariant, Situation, Stale};
pub use estimator::{Estimate, Estimator, Sample};
pub use ladder::Ladder;
pub use mode::{Mode, NoMode};
pub use reason::{Reason, Seen};

/// A variant, by its place in the multivariant playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariantIndex(pub u8);

/// A segment, by its place in the media playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentIndex(pub u32);

/// Counts the jumps of a session: what was decided before one does not hold after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epoch(pub u32);

impl SegmentIndex {
    /// The one so many segments later.
    fn after(self, segments: u32) -> Self {
        Self(self.0.saturating_add(segments))
    }
}

impl fmt::Display for VariantIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
