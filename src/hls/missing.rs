//! What of a presentation cannot be had, by its name.
//!
//! Pure: no I/O, no clock, no executor.

use std::fmt;

use crate::storage::Failure;

/// One thing that a playlist leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    /// A segment, counted from 0.
    Segment(u32),
    /// What stands before segments.
    Init,
    /// What a segment, counted from 0, is decrypted with.
    Key(u32),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(number) => write!(f, "segment {number} (counted from 0)"),
            Self::Init => f.write_str("an init section"),
            Self::Key(number) => write!(f, "the key of segment {number} (counted from 0)"),
        }
    }
}

/// What a client asks for to have the same, without a query, which may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// The source that it is of. `None`: it lies at another host, and has no name here.
    pub name: Option<String>,
    /// Where it lies there.
    pub path: String,
}

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}:{}", self.path),
            None => write!(f, "{} at another host", self.path),
        }
    }
}

/// It cannot be had, and nothing stands in its place.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{thing}, {called}: {why}")]
pub struct Missing {
    /// What it is.
    pub thing: Thing,
    /// Where it lies.
    pub called: Called,
    /// Why.
    pub why: Failure,
}

impl Missing {
    /// Why something is missing in the end, if a failure is about that; else the failure itself.
    pub fn reason(failure: &Failure) -> &Failure {
        failure.cause::<Self>().map_or(failure, |missing| &missing.why)
    }
}
