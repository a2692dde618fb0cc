//! Which fetches a resource needs, given who waits for what.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Fetches run forward from a chunk boundary until they meet bytes that are present. A reader who
//! wants bytes a little ahead of a running fetch waits for it; one who wants bytes far ahead, or
//! behind, gets a fetch of its own. A fetch that no reader's path leads to is cancelled.

use std::ops::Range;

/// A wanted position this far ahead of a running fetch is still left to it. Beyond, a request of
/// its own is sooner there than the fetch (1 MiB at 100 Mbit/s takes 80 ms, one round trip).
pub(super) const JOIN_BYTES: u64 = 1 << 20;

/// Fetches of one resource at a time; more would only divide the origin's bandwidth.
pub(super) const FETCHES: usize = 4;

/// What is to be changed about the running fetches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Fetches to cancel, by their index, ascending.
    pub cancel: Vec<usize>,
    /// Positions where a new fetch is to begin.
    pub start: Vec<u64>,
}

/// Decides for `gaps`, the first missing position on the way of each reader, and `fetches`, the
/// position that each running fetch writes next.
pub(super) fn plan(gaps: &[u64], fetches: &[u64]) -> Plan {
    if gaps.is_empty() {
        return Plan::default();
    }
    let serves = |fetch: u64, gap: u64| (fetch..=fetch + JOIN_BYTES).contains(&gap);
    let mut cancel: Vec<_> = (0..fetches.len())
        .filter(|&index| !gaps.iter().any(|&gap| serves(fetches[index], gap)))
        .collect();
    // Of two that lead to the same readers, the one behind is the one too many.
    let mut served: Vec<u64> = Vec::new();
    let mut start = Vec::new();
    let kept = |index: &usize| !cancel.contains(index);
    served.extend((0..fetches.len()).filter(kept).map(|index| fetches[index]));
    for &gap in gaps {
        if served.len() < FETCHES && !served.iter().any(|&fetch| serves(fetch, gap)) {
            served.push(gap);
            start.push(gap);
        }
    }
    cancel.sort_unstable();
    Plan { cancel, start }
}

/// Whether a fill goes on after its last reader left: when it is half done, or has just begun.
/// Otherwise what it wrote stays and the origin is spared the rest.
pub(super) fn goes_on_alone(present_bytes: u64, length: Option<u64>, fetched_bytes: u64) -> bool {
    fetched_bytes < JOIN_BYTES || length.is_some_and(|length| present_bytes >= length / 2)
}

/// The range a demand covers, cut at the end of the resource where that is known.
pub(super) fn within(demand: &Range<u64>, length: Option<u64>) -> Range<u64> {
    let end = length.map_or(demand.end, |length| length.min(demand.end));
    demand.start.min(end)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_reader_just_ahead_waits_for_the_running_fetch() {
        assert_eq!(plan(&[MIB], &[0]), Plan::default());
        assert_eq!(plan(&[0], &[0]), Plan::default());
    }

    #[test]
    fn a_reader_far_ahead_gets_its_own_fetch() {
        let plan = plan(&[0, 5 * MIB], &[0]);
        assert_eq!(plan, Plan { cancel: vec![], start: vec![5 * MIB] });
    }

    #[test]
    fn a_fetch_that_leads_to_nobody_is_cancelled() {
        let plan = plan(&[5 * MIB], &[0, 5 * MIB]);
        assert_eq!(plan, Plan { cancel: vec![0], start: vec![] });
    }

    #[test]
    fn readers_that_wait_for_nothing_change_nothing() {
        assert_eq!(plan(&[], &[7 * MIB]), Plan::default());
    }

    #[test]
    fn neighbours_share_a_new_fetch_and_its_number_is_bounded() {
        assert_eq!(plan(&[9 * MIB, 9 * MIB + 4], &[]).start, [9 * MIB]);
        let many: Vec<_> = (0..20).map(|i| i * 10 * MIB).collect();
        assert_eq!(plan(&many, &[]).start.len(), FETCHES);
    }

    #[test]
    fn a_fill_without_readers_ends_unless_half_done_or_just_begun() {
        assert!(goes_on_alone(0, None, 0));
        assert!(!goes_on_alone(2 * MIB, None, 2 * MIB));
        assert!(!goes_on_alone(2 * MIB, Some(10 * MIB), 2 * MIB));
        assert!(goes_on_alone(5 * MIB, Some(10 * MIB), 2 * MIB));
    }
}
