//! Which fetches a resource needs, given who waits for what.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Fetches run forward from a chunk boundary until they meet bytes that are present. A reader who
//! wants bytes a little ahead of a running fetch waits for it; one who wants bytes far ahead, or
//! behind, gets a fetch of its own. A fetch that no reader's path leads to is cancelled.
//!
//! Of a resource without a strong validator there is one fetch, and everybody waits for it, as long as that
//! serves them: bytes of two answers could be of two versions.

use std::{iter, ops::Range, time::Duration};

use crate::storage::{CHUNK_BYTES, RangeSet};

/// A wanted position this far ahead of a running fetch is still left to it. Beyond, a request of
/// its own is sooner there than the fetch (1 MiB at 100 Mbit/s takes 80 ms, one round trip).
pub(super) const JOIN_BYTES: u64 = 1 << 20;

/// And so is one that a running fetch will have come to in this time, going on as it did until now:
/// about two round trips around the world. An origin that sends as fast as it plays comes to the end of
/// a song at its end, and readers look there for tags, lengths and indices before they begin.
pub(super) const JOIN_TIME: Duration = Duration::from_millis(250);

/// Fetches of one resource at a time; more would only divide the origin's bandwidth.
pub(super) const FETCHES: usize = 4;

/// What a running fetch will bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Running {
    /// What it writes next.
    pub position: u64,
    /// How far ahead of that it is waited for, in bytes: [`JOIN_BYTES`], or all there is where the
    /// origin knows no ranges and would only begin again.
    pub reach_bytes: u64,
}

impl Running {
    /// A fetch that begins at `position`.
    pub(super) fn at(position: u64) -> Self {
        Self { position, reach_bytes: JOIN_BYTES }
    }

    /// A fetch of all there is, from an origin that knows no ranges, that has come to `position`.
    pub(super) fn whole(position: u64) -> Self {
        Self { position, reach_bytes: u64::MAX }
    }

    fn is_whole(self) -> bool {
        self.reach_bytes == u64::MAX
    }

    /// The same, judged by the bytes that it has brought in the time since its head came.
    pub(super) fn judged(self, brought_bytes: u64, ran: Duration) -> Self {
        if self.is_whole() || ran < JOIN_TIME {
            return self;
        }
        let reach = u128::from(brought_bytes) * JOIN_TIME.as_nanos() / ran.as_nanos();
        Self { reach_bytes: reach.min(u128::from(JOIN_BYTES)) as u64, ..self }
    }

    fn leads_to(self, gap: u64) -> bool {
        self.led().contains(&gap)
    }

    /// What it is waited for. Never two in one chunk: what lies in the chunk that it writes is left
    /// to it.
    fn led(self) -> Range<u64> {
        let reach = self.position.saturating_add(self.reach_bytes);
        self.position..reach.saturating_add(1).max(self.chunk_end())
    }

    /// Whether who waits for `gap` may get a fetch of its own, should this one turn out to be slow.
    pub(super) fn may_be_late_for(self, gap: u64) -> bool {
        !self.is_whole() && gap >= self.chunk_end() && self.leads_to(gap)
    }

    fn chunk_end(self) -> u64 {
        (self.position / CHUNK_BYTES + 1).saturating_mul(CHUNK_BYTES)
    }
}

/// One reader's way through what is present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    /// The first missing position on it.
    pub gap: u64,
    /// Whether the reader wants it now; else what is present is enough for its read-ahead.
    pub is_wanted: bool,
    /// Whether the reader is a prefetch, for which nobody waits.
    pub is_paced: bool,
}

/// Where a request begins that is made for who wants `position` before anything is known of the
/// resource: there, in whole chunks, unless a fetch from the beginning will soon have come to it.
pub(super) fn first_request(position: u64) -> u64 {
    if position <= JOIN_BYTES { 0 } else { position - position % CHUNK_BYTES }
}

/// What is to be changed about the running fetches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Fetches to cancel, by their index, ascending.
    pub cancel: Vec<usize>,
    /// Positions where a new fetch is to begin.
    pub start: Vec<u64>,
}

/// Decides for the `ways` of all readers and the running fetches. Those of clients come first: a
/// fetch that only prefetches want gives way where there are as many as may be.
pub(super) fn plan(ways: &[Way], fetches: &[Running]) -> Plan {
    let (paced, clients): (Vec<Way>, Vec<Way>) = ways.iter().partition(|way| way.is_paced);
    let mut order: Vec<_> = (0..fetches.len()).collect();
    order.sort_by_key(|&index| is_paced(ways, fetches[index]));
    let leads = |index: &usize| ways.iter().any(|way| fetches[*index].leads_to(way.gap));
    let (kept, mut cancel): (Vec<_>, Vec<_>) = order.into_iter().partition(leads);
    let mut served: Vec<_> = kept.iter().map(|&index| (fetches[index], Some(index))).collect();
    let mut start = Vec::new();
    for way in clients.into_iter().chain(paced).filter(|way| way.is_wanted) {
        if served.iter().any(|(fetch, _)| fetch.leads_to(way.gap)) {
            continue;
        }
        if served.len() >= FETCHES && !way.is_paced {
            let last = served.pop_if(|(fetch, of)| of.is_some() && is_paced(ways, *fetch));
            cancel.extend(last.and_then(|(_, index)| index));
        }
        if served.len() < FETCHES {
            // Those that give way stand at the end.
            served.insert(0, (Running::at(way.gap), None));
            start.push(way.gap);
        }
    }
    cancel.sort_unstable();
    Plan { cancel, start }
}

/// Decides the same where nothing proves that two answers are of one version: there is one fetch, and
/// everybody waits for it. Where it has to begin, if it has to; `None` where somebody wants what lies before
/// `reached`, where it is or where its answer ended: that would have to come of another one.
pub(super) fn plan_in_order(
    ways: &[Way],
    reached: Option<u64>,
    is_running: bool,
) -> Option<Option<u64>> {
    let mut wanted = ways.iter().filter(|way| way.is_wanted).map(|way| way.gap);
    let Some(first) = wanted.clone().min() else { return Some(None) };
    let is_ahead = reached.is_none_or(|reached| wanted.all(|gap| gap >= reached));
    is_ahead.then(|| (!is_running).then(|| reached.unwrap_or(first)))
}

/// Whether only prefetches are led to by `fetch`.
pub(super) fn is_paced(ways: &[Way], fetch: Running) -> bool {
    let mut led = ways.iter().filter(|way| fetch.leads_to(way.gap)).peekable();
    led.peek().is_some() && led.all(|way| way.is_paced)
}

/// What does not come now that a fetch broke off and `others` go on: the rest of its chunk, since
/// chunks are what is asked for, but for what another fetch leads to.
///
/// Who waits further ahead is not among the losers: it gets a fetch of its own, which may find what
/// this one did not. Unless this one was of all there is: any other would begin where it began and
/// break off where it broke, so that nothing behind it comes.
pub(super) fn lost(failed: Running, others: &[Running]) -> Vec<Range<u64>> {
    let end = if failed.is_whole() { u64::MAX } else { failed.chunk_end() };
    let mut led = RangeSet::default();
    others.iter().for_each(|other| led.insert(other.led()));
    let first = led.next_gap(failed.position..end);
    iter::successors(first, |gap| led.next_gap(gap.end..end)).collect()
}

/// Whether a fill goes on while nobody reads: when it is half done of the `length` that is to be kept, or
/// has just begun. Otherwise what it wrote stays and the origin is spared the rest. It is asked when the
/// last reader leaves and after each piece that comes later, so a glance at a large resource costs about a
/// mebibyte.
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
    use crate::storage::random::Random;

    const MIB: u64 = 1 << 20;

    fn wanted(gaps: &[u64]) -> Vec<Way> {
        gaps.iter().map(|&gap| Way { gap, is_wanted: true, is_paced: false }).collect()
    }

    fn running(positions: &[u64]) -> Vec<Running> {
        positions.iter().map(|&position| Running::at(position)).collect()
    }

    fn plan_of(gaps: &[u64], positions: &[u64]) -> Plan {
        plan(&wanted(gaps), &running(positions))
    }

    #[test]
    fn a_reader_just_ahead_waits_for_the_running_fetch() {
        assert_eq!(plan_of(&[MIB], &[0]), Plan::default());
        assert_eq!(plan_of(&[0], &[0]), Plan::default());
    }

    #[test]
    fn a_reader_ahead_of_a_slow_fetch_gets_its_own() {
        let far = 300 * 1024;
        let after =
            |brought_bytes, ms| Running::at(9).judged(brought_bytes, Duration::from_millis(ms));
        assert_eq!(
            plan(&wanted(&[far]), &[after(0, 249)]),
            Plan::default(),
            "nothing is known yet"
        );
        assert!(after(0, 249).may_be_late_for(far));
        // As fast as it plays, at 128 kbit/s.
        let own = Plan { cancel: vec![0], start: vec![far] };
        assert_eq!(plan(&wanted(&[far]), &[after(4_000, 250)]), own);
        assert_eq!(plan(&wanted(&[far]), &[after(0, 400)]), own, "one that stands still");
        assert_eq!(plan(&wanted(&[far]), &[after(4 * MIB, 1_000)]), Plan::default());
        assert_eq!(after(400 * MIB, 1_000).reach_bytes, JOIN_BYTES);
        let near = CHUNK_BYTES - 1;
        assert_eq!(plan(&wanted(&[near]), &[after(0, 9_000)]), Plan::default(), "of its own chunk");
        assert!(!after(0, 0).may_be_late_for(near));
        let whole = Running::whole(0);
        assert_eq!(whole.judged(0, Duration::from_secs(9)), whole);
    }

    #[test]
    fn a_reader_far_ahead_gets_its_own_fetch() {
        let plan = plan_of(&[0, 5 * MIB], &[0]);
        assert_eq!(plan, Plan { cancel: vec![], start: vec![5 * MIB] });
    }

    #[test]
    fn a_fetch_that_leads_to_nobody_is_cancelled() {
        let plan = plan_of(&[5 * MIB], &[0, 5 * MIB]);
        assert_eq!(plan, Plan { cancel: vec![0], start: vec![] });
    }

    #[test]
    fn a_reader_with_enough_ahead_keeps_its_fetch_and_starts_none() {
        let fed = [Way { gap: 7 * MIB, is_wanted: false, is_paced: false }];
        assert_eq!(plan(&fed, &running(&[7 * MIB])), Plan::default());
        assert_eq!(plan(&fed, &[]), Plan::default());
        assert_eq!(plan(&fed, &running(&[2 * MIB])).cancel, [0], "one that it left behind");
    }

    #[test]
    fn a_fetch_that_cannot_begin_elsewhere_is_waited_for() {
        let whole = Running::whole(MIB);
        assert_eq!(plan(&wanted(&[MIB, 90 * MIB]), &[whole]), Plan::default());
        assert_eq!(plan(&wanted(&[0]), &[whole]), Plan { cancel: vec![0], start: vec![0] });
    }

    #[test]
    fn where_nothing_proves_a_version_all_wait_for_the_one_fetch() {
        let far = wanted(&[MIB, 90 * MIB]);
        assert_eq!(plan_in_order(&far, Some(MIB), true), Some(None));
        assert_eq!(plan_in_order(&far, None, false), Some(Some(MIB)));
        assert_eq!(plan_in_order(&far[1..], Some(MIB), false), Some(Some(MIB)), "where it ended");
        assert_eq!(plan_in_order(&wanted(&[5, MIB]), Some(MIB), true), None);
        assert_eq!(plan_in_order(&wanted(&[5]), Some(MIB), false), None);
        let fed = [Way { gap: 5, is_wanted: false, is_paced: false }];
        assert_eq!(plan_in_order(&fed, Some(MIB), true), Some(None));
        assert_eq!(plan_in_order(&fed, Some(MIB), false), Some(None));
    }

    #[test]
    fn a_client_is_fetched_for_before_a_prefetch() {
        let mut ways = wanted(&[40 * MIB, 0, 10 * MIB, 20 * MIB]);
        ways[0].is_paced = true;
        let fetches = running(&[40 * MIB, 0, 10 * MIB, 20 * MIB]);
        assert_eq!(plan(&ways, &fetches), Plan::default());
        assert!(is_paced(&ways, fetches[0]) && !is_paced(&ways, fetches[1]));
        ways.extend(wanted(&[30 * MIB]));
        assert_eq!(plan(&ways, &fetches), Plan { cancel: vec![0], start: vec![30 * MIB] });
        ways[0].gap = 10 * MIB;
        assert!(!is_paced(&ways, fetches[2]), "what a client wants too is no prefetch's");
    }

    #[test]
    fn neighbours_share_a_new_fetch_and_its_number_is_bounded() {
        assert_eq!(plan_of(&[9 * MIB, 9 * MIB + 4], &[]).start, [9 * MIB]);
        let many: Vec<_> = (0..20).map(|i| i * 10 * MIB).collect();
        assert_eq!(plan_of(&many, &[]).start.len(), FETCHES);
    }

    /// What a plan must be, whatever the ways and the fetches are.
    #[test]
    fn every_plan_serves_who_wants_something_and_nobody_else() {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        println!("SEED={seed}");
        let mut random = Random(seed);
        for _ in 0..20_000 {
            let ways: Vec<_> = (0..random.below(7))
                .map(|_| Way {
                    gap: random.below(12 * MIB),
                    is_wanted: random.below(3) > 0,
                    is_paced: random.below(3) == 0,
                })
                .collect();
            let fetches: Vec<_> = (0..random.below(5))
                .map(|_| match random.below(8) {
                    0 => Running::whole(random.below(12 * MIB)),
                    _ => Running::at(random.below(12 * MIB)),
                })
                .collect();
            let plan = plan(&ways, &fetches);
            let mut after: Vec<_> = (0..fetches.len())
                .filter(|index| !plan.cancel.contains(index))
                .map(|index| fetches[index])
                .collect();
            after.extend(plan.start.iter().map(|&gap| Running::at(gap)));
            let led = |gap| after.iter().any(|fetch| fetch.leads_to(gap));
            let case = format!("{ways:?} {fetches:?} {plan:?}");
            assert!(after.len() <= FETCHES.max(fetches.len()), "{case}");
            for fetch in &after {
                assert!(ways.iter().any(|way| fetch.leads_to(way.gap)), "for nobody: {case}");
            }
            if after.len() < FETCHES {
                let mut wanted = ways.iter().filter(|way| way.is_wanted);
                assert!(wanted.all(|way| led(way.gap)), "starves: {case}");
            }
            let mut clients = ways.iter().filter(|way| way.is_wanted && !way.is_paced);
            if after.iter().any(|fetch| is_paced(&ways, *fetch)) {
                assert!(clients.all(|way| led(way.gap)), "waits for a prefetch: {case}");
            }
        }
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "it is the one that is lost")]
    fn lost_is_the_rest_of_a_chunk_that_no_other_fetch_comes_to() {
        let lost = |others: &[u64]| lost(Running::at(MIB), &running(others));
        let chunk_end = MIB + CHUNK_BYTES;
        assert_eq!(lost(&[]), [MIB..chunk_end]);
        assert_eq!(lost(&[MIB + 1, 0]), [], "the one behind comes to it");
        assert_eq!(lost(&[MIB + 5]), [MIB..MIB + 5], "the one ahead brings the rest");
        assert_eq!(lost(&[chunk_end]), [MIB..chunk_end]);
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "it is the one that is lost")]
    fn lost_is_all_behind_a_fetch_of_the_whole_that_no_other_fetch_comes_to() {
        let whole = Running::whole(MIB);
        assert_eq!(lost(whole, &[]), [MIB..u64::MAX]);
        assert_eq!(lost(whole, &[Running::whole(9)]), [], "the one behind comes to it");
        assert_eq!(lost(whole, &[Running::whole(MIB + 9)]), [MIB..MIB + 9]);
        let behind = 5 * MIB + JOIN_BYTES + 1;
        assert_eq!(lost(whole, &running(&[5 * MIB])), [MIB..5 * MIB, behind..u64::MAX]);
    }

    #[test]
    fn a_fill_without_readers_ends_unless_half_done_or_just_begun() {
        assert!(goes_on_alone(0, None, 0));
        assert!(!goes_on_alone(2 * MIB, None, 2 * MIB));
        assert!(!goes_on_alone(2 * MIB, Some(10 * MIB), 2 * MIB));
        assert!(goes_on_alone(5 * MIB, Some(10 * MIB), 2 * MIB));
    }
}
