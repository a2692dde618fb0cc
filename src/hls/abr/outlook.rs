//! What the next segments are worth, by the buffer they are begun with.
//!
//! Pure.
//!
//! A stochastic look-ahead. The line may carry what was seen of late, or more, or less: a few scenarios, each as
//! likely as the origin's past says. In each of them the segments to come are played as well as can be, by
//! backward induction over the buffer and the variant before, with their sizes where they are known; what is in
//! the buffer at the end has a worth of its own. A variant for the next segment is then weighed over all scenarios:
//! in each it is fetched, or given up for a lower one once it is seen that it will not come.
//!
//! A second of a variant is worth the logarithm of its bandwidth by that of the lowest, a second of silence takes
//! [`SILENCE`], and a switch takes [`UP`] or [`DOWN`]. The numbers were found by `cargo bench --bench abr` on every
//! other of the recorded lines and on generated ones that it does not show, with looks at all of them on the way; `UP`
//! was set by the change that was asked for, on all. What made a difference:
//! - A rise is believed at once: the quick of the two means alone tells what comes next as well as both together.
//!   That is 8 points of the optimum on lines that come back after a minute of next to nothing, 1 to 2 on others.
//! - A switch is foreseen to be paid again on the way back. At the same score segments differ by an eighth less
//!   than with a price that is known only at the moment of the choice.
//! - A fetch may be given up, so a high variant is worth trying: 5 points for segments of ten seconds.
//!
//! A choice among seven variants takes 23 us with segments of 10 s, 57 us with 4 s and 123 us with 2 s, and 20 KiB of
//! stack.
//!
//! What made none: scenarios that are drawn anew after a while, or that are not known to the later choices; a worth
//! of buffers found by value iteration over recorded lines, in place of scenarios; a time after a switch without
//! another.

use super::{
    controller::Situation,
    ladder::{RUNGS, Rung},
};

/// Scenarios: how many deviations from the expected logarithm, and how likely.
const SCENARIOS: [(f64, f64); 5] =
    [(-1.6, 0.1), (-0.75, 0.23), (0.0, 0.34), (0.75, 0.23), (1.6, 0.1)];

/// What of the spread a scenario takes: much of it is noise between segments, and evens out.
const SPREAD: f64 = 0.64;
const LEAST_SPREAD: f64 = 0.1;
const MOST_SPREAD: f64 = 1.5;

/// What was seen of late is below what comes, by so much of the scenarios' spread.
const CAUTION: f64 = 0.62;

/// How far it looks, in seconds of media. Farther is worse: no scenario stays true for long.
const HORIZON_SECONDS: f64 = 12.0;

/// The buffer is told apart in so many steps.
const STEPS: usize = 24;

/// Beyond this a longer buffer is worth nothing by itself.
const RESERVE_SECONDS: f64 = 25.0;

/// What a second of silence takes, and what a second in the buffer is worth at the horizon.
const SILENCE: f64 = 11.0;
const BUFFERED: f64 = 1.33;

/// What a switch takes from the lowest to the highest bandwidth and back, and of a smaller one its share. It costs a
/// second decoder, and a listener who hears many does not hear that they were right. Going up is what can be left.
const UP: f64 = 13.25;
const DOWN: f64 = 4.0;

/// Until it is seen that a segment will not come, seconds.
const NOTICE_SECONDS: f64 = 2.0;

/// The worth of a buffer at each step.
type Table = [f64; STEPS + 1];

/// The scenarios of one moment.
pub(super) struct Outlook {
    scenarios: [Scenario; SCENARIOS.len()],
    utilities: [f64; RUNGS],
    /// Bandwidths of the rungs by that of the highest.
    shares: [f64; RUNGS],
    /// Bits of the next segment in each rung.
    sizes: [f64; RUNGS],
    count: usize,
    segment: f64,
    step: f64,
    buffer: f64,
    latency: f64,
}

/// What the line may carry.
struct Scenario {
    /// Bits per second.
    bandwidth: f64,
    likelihood: f64,
    /// What comes after the next segment is worth, by the rung that it was fetched in.
    after: [Table; RUNGS],
}

/// One segment as it may be fetched: what is played of it is worth, what has to come, and when it begins.
#[derive(Clone, Copy)]
struct Fetch {
    rung: usize,
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
        let highest = rungs.last()?.bandwidth as f64;
        let mut outlook = Self {
            scenarios: SCENARIOS.map(|(deviations, likelihood)| {
                // A rise that was just seen goes on more often than not.
                let off = estimate.rise + spread * (deviations + CAUTION);
                let bandwidth = estimate.bandwidth * off.exp();
                Scenario { bandwidth, likelihood, after: [[0.0; STEPS + 1]; RUNGS] }
            }),
            utilities: [0.0; RUNGS],
            shares: [0.0; RUNGS],
            sizes: [0.0; RUNGS],
            count: rungs.len(),
            segment,
            step: capacity.min(RESERVE_SECONDS.max(2.0 * segment)) / STEPS as f64,
            buffer: situation.ahead.as_secs_f64(),
            latency: estimate.latency,
        };
        for (at, rung) in rungs.iter().enumerate() {
            outlook.utilities[at] = (rung.bandwidth as f64 / lowest).ln();
            outlook.shares[at] = rung.bandwidth as f64 / highest;
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
        self.mean(|scenario| {
            let whole = self.outcome(&fetch, self.buffer, scenario);
            let instead = |lower| {
                let late = self.fetch(lower, self.latency + NOTICE_SECONDS);
                self.outcome(&late, self.buffer, scenario)
            };
            (0..rung).map(instead).fold(whole, f64::max)
        })
    }

    /// What it is worth to wait for the rest of the next segment, so many bits, of which nothing comes for so long.
    pub(super) fn worth_of_rest(&self, rung: usize, bits: f64, seconds: f64) -> f64 {
        let rest = Fetch { bits, ..self.fetch(rung, seconds) };
        self.mean(|scenario| self.outcome(&rest, self.buffer, scenario))
    }

    /// What a switch to `rung` takes, from a variant of that share of the highest bandwidth.
    pub(super) fn switch(&self, share: f64, rung: usize) -> f64 {
        let up = self.shares[rung] - share;
        if up > 0.0 { UP * up } else { DOWN * -up }
    }

    /// Bits of the next segment in `rung`.
    pub(super) fn bits(&self, rung: usize) -> f64 {
        self.sizes[rung]
    }

    fn fetch(&self, rung: usize, latency: f64) -> Fetch {
        let worth = self.utilities[rung] * self.segment;
        Fetch { rung, worth, bits: self.sizes[rung], latency }
    }

    fn mean(&self, worth: impl Fn(&Scenario) -> f64) -> f64 {
        self.scenarios.iter().map(|scenario| scenario.likelihood * worth(scenario)).sum()
    }

    /// Fills the tables of the scenarios from the horizon back to the next segment.
    fn look_ahead(&mut self, situation: &Situation<'_>, rungs: &[Rung]) {
        let left = situation.coming.segments.saturating_sub(1) as usize;
        let farthest = ((HORIZON_SECONDS / self.segment).round() as usize).max(1);
        if farthest <= left {
            let at_horizon = std::array::from_fn(|at| BUFFERED * at as f64 * self.step);
            self.scenarios.iter_mut().for_each(|scenario| scenario.after = [at_horizon; RUNGS]);
        }
        // There is no request before there is room for what it brings.
        let most = (situation.capacity.as_secs_f64() - self.segment).max(0.0);
        for ahead in (1..=farthest.min(left)).rev() {
            self.sizes = self.sizes_of(situation, rungs, ahead as u32);
            for at in 0..self.scenarios.len() {
                self.scenarios[at].after = self.best(&self.scenarios[at], most);
            }
        }
    }

    /// What one segment and all after it are worth at most, by the rung before and the buffer it is begun with.
    fn best(&self, scenario: &Scenario, most: f64) -> [Table; RUNGS] {
        let mut best = [[f64::MIN; STEPS + 1]; RUNGS];
        for at in 0..=STEPS {
            let buffer = (at as f64 * self.step).min(most);
            for rung in 0..self.count {
                let worth = self.outcome(&self.fetch(rung, self.latency), buffer, scenario);
                for (table, share) in best[..self.count].iter_mut().zip(self.shares) {
                    table[at] = table[at].max(worth - self.switch(share, rung));
                }
            }
        }
        best
    }

    /// The worth of a fetch begun with that buffer, and of all after it.
    fn outcome(&self, fetch: &Fetch, buffer: f64, scenario: &Scenario) -> f64 {
        let seconds = fetch.latency + fetch.bits / scenario.bandwidth;
        let silence = (seconds - buffer).max(0.0);
        let then = (buffer - seconds).max(0.0) + self.segment;
        fetch.worth - SILENCE * silence + self.read(&scenario.after[fetch.rung], then)
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
