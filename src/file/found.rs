//! How an open found its source, for who answers and for who watches.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::Duration;

/// How a source was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// In the cache, or by the origin.
    pub how: How,
    /// Others had asked the origin already, and their answer did for this one too.
    pub collapsed: bool,
    /// Its age in seconds, where it has one.
    pub age: Option<u64>,
    /// Seconds for which it is fresh; negative where it is not.
    pub ttl: Option<i64>,
    /// How long the origin's answer was waited for.
    pub origin: Option<Duration>,
}

/// In the cache, or by the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Every byte was here.
    Hit,
    /// Some bytes were here.
    Partial,
    /// It was here, stale, and is asked for behind the answer.
    Stale,
    /// It was here, stale, and the origin failed: with this status, or without an answer.
    Kept {
        /// What the origin answered.
        status: Option<u16>,
    },
    /// It was here, stale, and the origin, which has just failed, was left alone.
    Spared,
    /// It was here, and the origin said that it is still so.
    Validated,
    /// What was here was not to be given, and the origin had another.
    Replaced,
    /// Nothing was here.
    Absent,
    /// What was here is for requests with other fields.
    Unselected,
    /// It is a library's, read in place.
    InPlace,
}

impl Found {
    /// Bytes of it were waited for: by the origin, unless all of them were here.
    pub fn waited(&mut self, wait: Duration) {
        if let Some(origin) = &mut self.origin {
            *origin += wait;
        } else if self.how == How::Partial {
            self.origin = Some(wait);
        }
    }

    /// As `how` says, and nothing else.
    pub(super) fn just(how: How) -> Self {
        Self { how, collapsed: false, age: None, ttl: None, origin: None }
    }
}
