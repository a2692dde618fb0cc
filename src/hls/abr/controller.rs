//! The variant of a session: decided, and later applied.
//!
//! Pure.

use std::time::Duration;

use super::{
    Epoch, Estimate, Ladder, Mode, SegmentIndex, VariantIndex,
    ladder::{Lost, Rung},
    outlook::Outlook,
    reason::{Reason, Seen},
};

/// What has to be won per second of media where a fetch is given up: what came of it is lost for sure.
const GIVE_UP: f64 = 0.03;

/// How long nothing may come of a fetch before that says anything: beyond a few latencies, a new connection among
/// them.
const HUSH_SECONDS: f64 = 1.0;
const HUSH_LATENCIES: f64 = 2.0;

/// A fetch of which nothing came for so long beyond that may never end.
const DEAD_SECONDS: f64 = 2.0;

/// Chooses the variant of one session: at most 48 bytes, from its first segment to its last.
#[derive(Debug)]
pub struct Controller {
    lost: Lost,
    mode: Mode,
    first: First,
    current: Option<VariantIndex>,
}

/// How the first variant is chosen while nothing is known of the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// This one, or the lowest where it cannot be had.
    Variant(VariantIndex),
    /// The highest that so many bits per second carry.
    Bandwidth(u32),
}

/// What a choice is made of.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    /// The variants there are.
    pub ladder: &'a Ladder,
    /// What is expected of the origin, if anything came of it.
    pub estimate: Option<Estimate>,
    /// The segment that is fetched next, or is being fetched.
    pub segment: SegmentIndex,
    /// The session's present epoch.
    pub epoch: Epoch,
    /// Media that is there ahead of the listener.
    pub ahead: Duration,
    /// How much of it there may be.
    pub capacity: Duration,
    /// What is known of the segments.
    pub coming: Coming<'a>,
}

/// The segments that are still to come.
#[derive(Clone, Copy)]
pub struct Coming<'a> {
    /// How many, the next one included.
    pub segments: u32,
    /// How long they are, on the average.
    pub duration: Duration,
    /// Bytes of a segment where they are known: from a byte range, a head, or the cache.
    pub sizes: &'a dyn Fn(VariantIndex, SegmentIndex) -> Option<u64>,
}

impl Coming<'_> {
    pub(super) fn bytes(&self, variant: VariantIndex, segment: SegmentIndex) -> Option<u64> {
        (self.sizes)(variant, segment)
    }
}

/// A variant for a segment. It holds nothing and changes nothing until it is applied.
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use]
pub struct Decision {
    /// The variant to fetch.
    pub variant: VariantIndex,
    /// From which segment on.
    pub segment: SegmentIndex,
    /// In which epoch it was decided.
    pub epoch: Epoch,
    /// Why.
    pub reason: Reason,
}

/// A fetch that is on its way.
#[derive(Debug, Clone, Copy)]
pub struct Fetch {
    /// Of which variant.
    pub variant: VariantIndex,
    /// Bytes that are to come, where that is known.
    pub bytes: Option<u64>,
    /// Bytes that came.
    pub got: u64,
    /// Bits per second of late, if it is no matter of the line alone: it may be slower than others.
    pub pace: Option<f64>,
    /// How long nothing has come.
    pub silent: Duration,
}

/// No variant that the mode allows is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no variant is left")]
pub struct NoVariant;

/// Why a decision no longer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// The session jumped.
    #[error("the session jumped")]
    Jumped,
    /// Another segment is next.
    #[error("another segment is next")]
    Passed,
    /// The variant went.
    #[error("the variant is gone")]
    Gone,
    /// By what is known now another is better.
    #[error("variant {by} is better by now")]
    Overtaken {
        /// Which.
        by: VariantIndex,
    },
}

impl Controller {
    /// Of a session that has not begun.
    pub fn new(mode: Mode, first: First) -> Self {
        Self { lost: Lost::default(), mode, first, current: None }
    }

    /// The variant that was applied last.
    pub fn current(&self) -> Option<VariantIndex> {
        self.current
    }

    /// A variant can no longer be had: its playlist or its segments are gone, after all retries.
    pub fn lose(&mut self, variant: VariantIndex) {
        self.lost.add(variant);
    }

    /// A variant that was lost is to be tried once more.
    pub fn regain(&mut self, variant: VariantIndex) {
        self.lost.remove(variant);
    }

    /// The variant for the next segment.
    ///
    /// # Errors
    /// Where none is left: 404 of a fixed one, and of the presentation otherwise.
    pub fn decide(&self, situation: &Situation<'_>) -> Result<Decision, NoVariant> {
        let rungs = situation.ladder.usable(self.mode, self.lost);
        let (variant, reason) = self.choose(situation, rungs.as_slice()).ok_or(NoVariant)?;
        Ok(situation.decision(variant, reason))
    }

    /// Takes a decision into effect, if it still holds.
    ///
    /// # Errors
    /// Where it does not. Nothing has changed then, and the session decides again.
    pub fn apply(&mut self, decision: &Decision, situation: &Situation<'_>) -> Result<(), Stale> {
        if decision.epoch != situation.epoch {
            return Err(Stale::Jumped);
        }
        if decision.segment != situation.segment {
            return Err(Stale::Passed);
        }
        if self.lost.has(decision.variant) {
            return Err(Stale::Gone);
        }
        // A fetch that was given up is gone: what else could have been done then is no question any more.
        let is_given_up = matches!(decision.reason, Reason::Stalled { .. });
        let now = self.decide(situation).map_err(|NoVariant| Stale::Gone)?;
        if now.variant != decision.variant && !is_given_up {
            return Err(Stale::Overtaken { by: now.variant });
        }
        self.current = Some(decision.variant);
        Ok(())
    }

    /// What to fetch instead of what is on its way, if that takes so long that a lower variant from the beginning
    /// is worth more than the rest; a higher one where there is no lower, and nothing comes. To be asked from time to
    /// time while bytes come slowly.
    pub fn give_up(&self, situation: &Situation<'_>, fetch: &Fetch) -> Option<Decision> {
        let rungs = situation.ladder.usable(self.mode, self.lost);
        let rungs = rungs.as_slice();
        let at = rungs.iter().position(|rung| rung.variant == fetch.variant)?;
        let bytes = fetch.bytes_in(situation, rungs[at]);
        let left = bytes.saturating_sub(fetch.got) as f64 * 8.0;
        let estimate = fetch.estimate(situation, rungs[at]);
        let hush = fetch.hush(&estimate);
        let is_known = situation.estimate.is_some() || fetch.pace.is_some() || hush > 0.0;
        let bandwidth =
            fetch.pace.map_or(estimate.bandwidth, |pace| pace.min(estimate.bandwidth)).max(1.0);
        // What has not come for a while will not come for as long again.
        let is_late = hush + left / bandwidth > situation.ahead.as_secs_f64() / 2.0;
        if !is_known || !is_late {
            return None;
        }
        let outlook = Outlook::new(&Situation { estimate: Some(estimate), ..*situation }, rungs)?;
        let rest = left * estimate.bandwidth / bandwidth;
        let stay = outlook.worth_of_rest(at, rest, hush) + GIVE_UP * outlook.segment();
        let is_dead = hush >= DEAD_SECONDS;
        let others = if is_dead && at == 0 { 1..rungs.len() } else { 0..at };
        let others = others.filter(|&rung| is_dead || outlook.bits(rung) < left);
        let instead = best(others, |rung| outlook.worth(rung))?;
        let reason = Reason::Stalled { from: fetch.variant, got: fetch.got, bytes };
        let helps = outlook.worth(instead) > stay;
        helps.then(|| situation.decision(rungs[instead].variant, reason))
    }

    fn choose(&self, situation: &Situation<'_>, rungs: &[Rung]) -> Option<(VariantIndex, Reason)> {
        let lowest = rungs.first()?;
        if let Mode::Fixed(variant) = self.mode {
            return Some((variant, Reason::Named));
        }
        if let [only] = rungs {
            let lost = self.current.filter(|current| self.lost.has(*current));
            let reason = lost.map_or(Reason::Only, |from| Reason::Escape { from });
            return Some((only.variant, reason));
        }
        let Some(outlook) = Outlook::new(situation, rungs) else {
            return Some(self.begin(rungs, lowest.variant));
        };
        let current = self.current.and_then(|variant| situation.ladder.rung(variant));
        let highest = rungs.last()?.bandwidth as f64;
        let rung = best(0..rungs.len(), |rung| {
            let share = |current: Rung| current.bandwidth as f64 / highest;
            let switch = current.map_or(0.0, |current| outlook.switch(share(current), rung));
            outlook.worth(rung) - switch
        })?;
        let seen = Seen { estimate: situation.estimate?, ahead: situation.ahead };
        Some((rungs[rung].variant, self.reason(current, rungs[rung], seen)))
    }

    /// While nothing is known of the origin.
    fn begin(&self, rungs: &[Rung], lowest: VariantIndex) -> (VariantIndex, Reason) {
        let is_there = |variant: &VariantIndex| rungs.iter().any(|rung| rung.variant == *variant);
        match (self.current.filter(is_there), self.first) {
            (Some(current), _) => (current, Reason::Unknown),
            (None, First::Variant(variant)) if is_there(&variant) => (variant, Reason::Named),
            (None, First::Variant(_)) => (lowest, Reason::Unknown),
            (None, First::Bandwidth(bandwidth)) => {
                let carried = rungs.iter().rfind(|rung| rung.bandwidth <= bandwidth.into());
                (carried.map_or(lowest, |rung| rung.variant), Reason::Assumed { bandwidth })
            }
        }
    }

    fn reason(&self, current: Option<Rung>, chosen: Rung, seen: Seen) -> Reason {
        match current {
            Some(current) if self.lost.has(current.variant) => {
                Reason::Escape { from: current.variant }
            }
            Some(current) if current.bandwidth > chosen.bandwidth => Reason::Down(seen),
            Some(current) if current.bandwidth == chosen.bandwidth => Reason::Kept(seen),
            _ => Reason::Up(seen),
        }
    }
}

impl Fetch {
    /// How many there are to come, where nobody says it as many as are usual.
    fn bytes_in(&self, situation: &Situation<'_>, rung: Rung) -> u64 {
        let usual =
            || (rung.bandwidth as f64 * situation.coming.duration.as_secs_f64() / 8.0) as u64;
        let known = || situation.coming.bytes(self.variant, situation.segment);
        self.bytes.or_else(known).unwrap_or_else(usual)
    }

    /// What is expected of its origin: where nothing is known but this fetch, what came of it; and where nothing did,
    /// that it is what its variant was chosen for.
    fn estimate(&self, situation: &Situation<'_>, rung: Rung) -> Estimate {
        let unknown = || Estimate::assumed(self.pace.unwrap_or(rung.bandwidth as f64));
        situation.estimate.unwrap_or_else(unknown)
    }

    /// Seconds for which nothing came, beyond what is usual.
    fn hush(&self, estimate: &Estimate) -> f64 {
        let usual = HUSH_SECONDS + HUSH_LATENCIES * estimate.latency;
        (self.silent.as_secs_f64() - usual).max(0.0)
    }
}

impl Situation<'_> {
    fn decision(&self, variant: VariantIndex, reason: Reason) -> Decision {
        Decision { variant, segment: self.segment, epoch: self.epoch, reason }
    }
}

/// The rung of the highest worth.
fn best(rungs: impl Iterator<Item = usize>, worth: impl Fn(usize) -> f64) -> Option<usize> {
    let weighed = rungs.map(|rung| (rung, worth(rung)));
    weighed.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(rung, _)| rung)
}
