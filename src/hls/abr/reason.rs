//! Why a variant was chosen.
//!
//! Pure.

use std::{fmt, time::Duration};

use super::{Estimate, VariantIndex};

/// What a decision followed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reason {
    /// The request or the configuration names it.
    Named,
    /// There is no other.
    Only,
    /// Nothing is known of the origin yet.
    Assumed {
        /// Bits per second.
        bandwidth: u32,
    },
    /// Nothing is known of the origin yet, and the one before goes on, or the lowest where there was none.
    Unknown,
    /// It stays the best.
    Kept(Seen),
    /// It is better, and higher.
    Up(Seen),
    /// It is better, and lower.
    Down(Seen),
    /// The one before is gone.
    Escape {
        /// Which.
        from: VariantIndex,
    },
    /// The fetch of the one before takes too long.
    Stalled {
        /// Which.
        from: VariantIndex,
        /// Bytes that had come.
        got: u64,
        /// Bytes that were to come.
        bytes: u64,
    },
}

/// What was seen when it was decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// What was expected of the origin.
    pub estimate: Estimate,
    /// Media that was there ahead of the listener.
    pub ahead: Duration,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named => write!(f, "named"),
            Self::Only => write!(f, "only one"),
            Self::Assumed { bandwidth } => write!(f, "assumed {} kbit/s", bandwidth / 1000),
            Self::Unknown => write!(f, "nothing known of the origin"),
            Self::Kept(seen) => write!(f, "kept at {seen}"),
            Self::Up(seen) => write!(f, "up at {seen}"),
            Self::Down(seen) => write!(f, "down at {seen}"),
            Self::Escape { from } => write!(f, "variant {from} is gone"),
            Self::Stalled { from, got, bytes } => {
                write!(f, "variant {from} stalled at {got} of {bytes} bytes")
            }
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kbits = self.estimate.bandwidth / 1e3;
        write!(f, "{kbits:.0} kbit/s, {:.1} s ahead", self.ahead.as_secs_f64())
    }
}
