//! Where a playlist wants to be played from (EXT-X-START, RFC 8216 section 4.3.5.2).
//!
//! Pure: no I/O, no clock, no executor.

use std::time::Duration;

use super::{attributes::Attributes, value::signed_seconds};

/// A time in a presentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Whether `offset` counts back from the end.
    pub is_from_end: bool,
    /// From the start or the end.
    pub offset: Duration,
    /// Whether it begins just there, rather than with the segment around it.
    pub is_precise: bool,
}

impl Start {
    /// `None` where it says no time, which no player minds.
    pub(super) fn read(attributes: Attributes) -> Option<Self> {
        let (is_from_end, offset) = signed_seconds(attributes.get("TIME-OFFSET")?)?;
        Some(Self { is_from_end, offset, is_precise: attributes.is_yes("PRECISE") })
    }

    /// The time from the start, in a presentation of that duration.
    pub fn in_presentation(self, duration: Duration) -> Duration {
        match self.is_from_end {
            true => duration.saturating_sub(self.offset),
            false => self.offset.min(duration),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_from_either_end_and_stays_inside() {
        let start = |list| Start::read(Attributes::new(list));
        let at = |list| {
            start(list).map(|start| start.in_presentation(Duration::from_secs(60)).as_secs_f64())
        };
        assert_eq!((at("TIME-OFFSET=10.5"), at("TIME-OFFSET=-10.5")), (Some(10.5), Some(49.5)));
        assert_eq!((at("TIME-OFFSET=61"), at("TIME-OFFSET=-61")), (Some(60.0), Some(0.0)));
        assert_eq!((at("PRECISE=YES"), at("TIME-OFFSET=soon")), (None, None));
        assert!(start("TIME-OFFSET=0,PRECISE=YES").unwrap().is_precise);
    }
}
