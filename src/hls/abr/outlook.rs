//! What the next segments are worth, by the buffer they are begun with.
//!
//! Pure.
//!
//! A stochastic look-ahead. The line may carry what is expected of it, or more, or less: a few scenarios, each as
//! likely as the origin's past says. In each of them the segments to come are played as well as can be, by
//! backward induction over the buffer, with their sizes where they are known; what is in the buffer at the end
//! has a worth of its own. A variant for the next segment is then weighed over all scenarios: in each it is
//! fetched, or given up for a lower one once it is seen that it will not come. That second way is what makes a
//! high variant worth trying: without it the share of the optimum was 63 % instead of 68 for segments of ten seconds.
//!
//! A second of a variant is worth the logarithm of its bandwidth by that of the lowest, and a second of silence
//! takes [`SILENCE`]. The numbers were tried out in `cargo bench --bench abr`.

use super::{
    controller::Situation,
    ladder::{RUNGS, Rung},
};

/// Scenarios: how many deviations from the expected logarithm, and how likely.
const SCENARIOS: [(f64, f64); 5] =
    [(-1.6, 0.1), (-0.75, 0.23), (0.0, 0.34), (0.75, 0.23), (1.6, 0.1)];

/// What of the spread a scenario takes: much of it is noise between segments, and evens out.
const SPREAD: f64 = 0.62;
const LEAST_SPREAD: f64 = 0.1;
const MOST_SPREAD: f64 = 1.5;

/// The lower of two means is below what comes, by so much of the scenarios' spread, and of the way to the higher.
const CAUTION: f64 = 0.4;
const RISE: f64 = 0.25;

/// How far it looks, in seconds of media. Farther is worse: no scenario stays true for long.
const HORIZON_SECONDS: f64 = 15.0;

/// The buffer is told apart in so many steps.
const STEPS: usize = 24;

/// Beyond this a longer buffer is worth nothing by itself.
const RESERVE_SECONDS: f64 = 25.0;

/// What a second of silence takes, and what a second in the buffer is worth at the horizon.
const SILENCE: f64 = 10.0;
const BUFFERED: f64 = 1.4;

/// Until it is seen that a segment will not come, seconds.
const NOTICE_SECONDS: f64 = 1.5;

/// The worth of a buffer at each step.
type Table = [f64; STEPS + 1];

/// The scenarios of one moment.
pub(super) struct Outlook {
    /// Of each scenario bits per second, likelihood, and the worth of what comes after the next segment.
    scenarios: [(f64, f64, Table); SCENARIOS.len()],
    utilities: [f64; RUNGS],
    /// Bits of the next segment in each rung.
    sizes: [f64; RUNGS],
    count: usize,
    segment: f64,
    step: f64,
    buffer: f64,
    latency: f64,
}

/// One segment as it may be fetched: what is played of it is worth, what has to come, and when it begins.
#[derive(Clone, Copy)]
struct Fetch {
    worth: f64,
    bits: f64,
    latency: f64,
}

impl Outlook {
    /// `None` where nothing is expected of the origin, or nothing can be fetched.
    pub(super) fn new(situation: &Situation<'_>, rungs: &[Rung]) -> Option<Self> {
        let estimate = situation.estimate?;
        let segment = situation.coming.duration.as_secs_f64().max(0.1);
        let capacity = situation.capacity.as_secs_f64().max(segment);
        let spread = (estimate.spread * SPREAD).clamp(LEAST_SPREAD, MOST_SPREAD);
        let lowest = rungs.first()?.bandwidth as f64;
        let mut outlook = Self {
            scenarios: SCENARIOS.map(|(deviations, likelihood)| {
                let off = RISE * estimate.above + spread * (deviations + CAUTION);
                (estimate.bandwidth * off.exp(), likelihood, [0.0; STEPS + 1])
            }),
            utilities: [0.0; RUNGS],
            sizes: [0.0; RUNGS],
            count: rungs.len(),
            segment,
            step: capacity.min(RESERVE_SECONDS.max(2.0 * segment)) / STEPS as f64,
            buffer: situation.ahead.as_secs_f64(),
            latency: estimate.latency,
        };
        for (utility, rung) in outlook.utilities.iter_mut().zip(rungs) {
            *utility = (rung.bandwidth as f64 / lowest).ln();
        }
        outlook.look_ahead(situation, rungs);
        outlook.sizes = outlook.sizes_of(situation, rungs, 0);
        Some(outlook)
    }

    /// Length of a segment, seconds.
    pub(super) fn segment(&self) -> f64 {
        self.segment
    }

    /// What it is worth to fetch the next segment in `rung`.
    pub(super) fn worth(&self, rung: usize) -> f64 {
        let fetch = self.fetch(rung, self.latency);
        self.mean(|(bandwidth, after)| {
            let whole = self.outcome(&fetch, self.buffer, bandwidth, after);
            let instead = |lower| {
                let late = self.fetch(lower, self.latency + NOTICE_SECONDS);
                self.outcome(&late, self.buffer, bandwidth, after)
            };
            (0..rung).map(instead).fold(whole, f64::max)
        })
    }

    /// What it is worth to wait for the rest of the next segment, so many bits.
    pub(super) fn worth_of_rest(&self, rung: usize, bits: f64) -> f64 {
        let rest = Fetch { bits, ..self.fetch(rung, 0.0) };
        self.mean(|(bandwidth, after)| self.outcome(&rest, self.buffer, bandwidth, after))
    }

    /// Bits of the next segment in `rung`.
    pub(super) fn bits(&self, rung: usize) -> f64 {
        self.sizes[rung]
    }

    fn fetch(&self, rung: usize, latency: f64) -> Fetch {
        let worth = self.utilities[rung] * self.segment;
        Fetch { worth, bits: self.sizes[rung], latency }
    }

    fn mean(&self, worth: impl Fn((f64, &Table)) -> f64) -> f64 {
        let weighed = |(bandwidth, likelihood, after): &(f64, f64, Table)| {
            likelihood * worth((*bandwidth, after))
        };
        self.scenarios.iter().map(weighed).sum()
    }

    /// Fills the tables of the scenarios from the horizon back to the next segment.
    fn look_ahead(&mut self, situation: &Situation<'_>, rungs: &[Rung]) {
        let left = situation.coming.segments.saturating_sub(1) as usize;
        let farthest = ((HORIZON_SECONDS / self.segment).round() as usize).max(1);
        if farthest <= left {
            let at_horizon = std::array::from_fn(|at| BUFFERED * at as f64 * self.step);
            self.scenarios.iter_mut().for_each(|(_, _, table)| *table = at_horizon);
        }
        for ahead in (1..=farthest.min(left)).rev() {
            self.sizes = self.sizes_of(situation, rungs, ahead as u32);
            for at in 0..self.scenarios.len() {
                let (bandwidth, _, after) = &self.scenarios[at];
                self.scenarios[at].2 = self.best_by_buffer(*bandwidth, after, situation);
            }
        }
    }

    /// What one segment and all after it are worth at most, by the buffer it is begun with.
    fn best_by_buffer(&self, bandwidth: f64, after: &Table, situation: &Situation<'_>) -> Table {
        // There is no request before there is room for what it brings.
        let most = situation.capacity.as_secs_f64() - self.segment;
        std::array::from_fn(|at| {
            let buffer = (at as f64 * self.step).min(most).max(0.0);
            let outcome =
                |rung| self.outcome(&self.fetch(rung, self.latency), buffer, bandwidth, after);
            (0..self.count).map(outcome).fold(f64::MIN, f64::max)
        })
    }

    /// The worth of a fetch begun with that buffer, and of all `after` it.
    fn outcome(&self, fetch: &Fetch, buffer: f64, bandwidth: f64, after: &Table) -> f64 {
        let seconds = fetch.latency + fetch.bits / bandwidth;
        let silence = (seconds - buffer).max(0.0);
        let then = (buffer - seconds).max(0.0) + self.segment;
        fetch.worth - SILENCE * silence + self.read(after, then)
    }

    /// A table between its steps; beyond them it stays as it is.
    fn read(&self, table: &Table, buffer: f64) -> f64 {
        let at = (buffer / self.step).min(STEPS as f64);
        let below = (at as usize).min(STEPS - 1);
        table[below] + (at - below as f64) * (table[below + 1] - table[below])
    }

    /// Bits of a segment in each rung.
    fn sizes_of(&self, situation: &Situation<'_>, rungs: &[Rung], ahead: u32) -> [f64; RUNGS] {
        let mut sizes = [0.0; RUNGS];
        for (size, rung) in sizes.iter_mut().zip(rungs) {
            let known = situation.coming.bytes(rung.variant, situation.segment.after(ahead));
            *size = known.map_or(rung.bandwidth as f64 * self.segment, |bytes| bytes as f64 * 8.0);
        }
        sizes
    }
}
