//! What is to be prefetched, in which order, how many at a time, and what became of it.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A prefetch has sources, and each of them is an [`Item`] that waits, runs and ends by itself.
//! Items go by priority, then by age. Those of one origin (or library) share a `lane`: so many run
//! at a time, and what they fetch is paid off at the origin's rate before more is begun. An item
//! that fails in a way that may pass waits longer each time, and in the end has failed. Where the origin
//! says when to come again (`Retry-After`), nothing of its lane is begun before that.

mod lane;
mod lists;
mod prefetch;
mod replay;
#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use lane::Lane;
use prefetch::{Phase, Prefetch, Work};
pub use prefetch::{State, Status};

use super::{
    journal::{Ended, Record, Summary, There},
    spec::{Spec, Variants},
};
use crate::{
    pcm::SourceName,
    shard::{Ahead, Prefetched, Progress},
};

/// Items that run at a time, of all origins together. Each may have a session at another shard,
/// where there are 256 for this one's clients.
pub(super) const RUNNING: usize = 64;

/// Memory of the names that wait, in bytes.
pub(in crate::prefetch) const NAME_BYTES: usize = 16 << 20;

/// Prefetches that have ended and can still be asked for: so many, and so long.
pub(super) const ENDED_KEPT: usize = 1_000;
/// See [`ENDED_KEPT`].
pub(super) const ENDED_KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

/// Failures of one prefetch that are told; the others are counted.
pub(super) const FAILURES_TOLD: usize = 8;

/// The bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Sources that wait or run.
    pub sources: usize,
    /// Of one origin, those that run.
    pub connections: usize,
    /// Bytes per second fetched from one origin.
    pub rate: u64,
    /// Attempts after the first.
    pub retries: u32,
    /// The wait before the first of them; doubled each time, and at least half of that.
    pub backoff: Duration,
    /// What that wait grows to.
    pub backoff_max: Duration,
}

impl Default for Limits {
    /// Those of `[limits]`.
    fn default() -> Self {
        Self {
            sources: 10_000,
            connections: 4,
            rate: 64 << 20,
            retries: 5,
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
        }
    }
}

/// One source of one prefetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    /// Which prefetch.
    pub id: u64,
    /// Which of its sources.
    pub index: u32,
}

/// An item that is to be begun.
#[derive(Debug, Clone)]
pub struct Start {
    /// Which one.
    pub item: Item,
    /// What it is.
    pub ahead: Ahead,
    /// Which variants are wanted, if it is a presentation.
    pub variants: Variants,
    /// It is the first of its prefetch.
    pub is_first: bool,
    /// It comes out of a list.
    pub is_listed: bool,
}

/// What an item came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It is there.
    Fetched(Prefetched),
    /// It is a list of these.
    Listed(Vec<SourceName>),
}

/// Why an item did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// One sentence.
    pub why: String,
    /// The origin could not be asked.
    pub is_unreachable: bool,
    /// Whether another attempt is made.
    pub again: Again,
    /// How long the origin asked to be left alone.
    pub hold: Option<Duration>,
}

impl Failed {
    /// It would end the same again.
    pub fn for_good(why: &str) -> Self {
        Self { why: why.to_owned(), is_unreachable: false, again: Again::Never, hold: None }
    }
}

/// Whether another attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// No: it would end the same.
    Never,
    /// As long as there are attempts left.
    Counted,
    /// Yes: it was not the origin's doing.
    Free,
}

/// Why a prefetch is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Later there may be.
    #[error("the queue is full")]
    Now,
    /// There never is for so many.
    #[error("there are more sources than the queue ever holds")]
    Never,
}

/// What the end of an attempt came to.
#[derive(Debug, Default)]
pub struct Settled {
    /// What the journal is to keep.
    pub record: Option<Record>,
    /// This was the last item of its prefetch: what is there of all has to be [said](Queue::close).
    pub is_last: bool,
}

/// The prefetches of a node.
pub struct Queue {
    limits: Limits,
    prefetches: BTreeMap<u64, Prefetch>,
    /// By the name of an origin or library.
    lanes: BTreeMap<String, Lane>,
    /// Items that wait for their next attempt.
    delayed: BTreeSet<(Instant, Place)>,
    /// Lists that were read and wait for room for their sources.
    full_lists: BTreeSet<Item>,
    /// Those that ended, the oldest first.
    ended: VecDeque<u64>,
    /// Sources that wait or run.
    open: usize,
    running: usize,
    name_bytes: usize,
    last_id: u64,
}

/// Where an item stands: the most urgent, then the oldest, first.
type Place = (Reverse<u8>, Item);

impl Queue {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            prefetches: BTreeMap::new(),
            lanes: BTreeMap::new(),
            delayed: BTreeSet::new(),
            full_lists: BTreeSet::new(),
            ended: VecDeque::new(),
            open: 0,
            running: 0,
            name_bytes: 0,
            last_id: 0,
        }
    }

    /// Sources that wait, and those that run.
    pub fn counts(&self) -> (usize, usize) {
        (self.open - self.running, self.running)
    }

    /// Whether there is room for one more prefetch.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn has_room(&self, spec: &Spec) -> Result<(), NoRoom> {
        let (sources, bytes) = (spec.sources.len(), spec.name_bytes());
        if sources > self.limits.sources || bytes > NAME_BYTES {
            return Err(NoRoom::Never);
        }
        let fits =
            self.open + sources <= self.limits.sources && self.name_bytes + bytes <= NAME_BYTES;
        if fits { Ok(()) } else { Err(NoRoom::Now) }
    }

    /// Takes a prefetch in, and gives it a number. There is room: [`has_room`](Self::has_room).
    pub fn accept(&mut self, spec: Spec, unix_ms: u64) -> u64 {
        let id = self.last_id + 1;
        let asked = spec.sources.len() as u32;
        self.enter(id, spec, asked, unix_ms);
        id
    }

    fn enter(&mut self, id: u64, spec: Spec, asked: u32, unix_ms: u64) {
        self.last_id = self.last_id.max(id);
        self.open += spec.sources.len();
        self.name_bytes += spec.name_bytes();
        let summary = Summary::of(&spec, unix_ms);
        for (index, source) in spec.sources.iter().enumerate() {
            let item = Item { id, index: index as u32 };
            let lane = self.lanes.entry(source.name.clone()).or_default();
            lane.waiting.insert((Reverse(spec.priority), item));
        }
        let items = vec![Phase::default(); spec.sources.len()];
        let work = Some(Work { spec, asked, items, is_begun: false });
        self.prefetches.insert(id, Prefetch { work, is_cancelled: false, summary });
    }

    /// The next item to begin, unless as many run as may. It runs from here on.
    pub fn next(&mut self, now: Instant) -> Option<Start> {
        self.move_due(now);
        if self.running >= RUNNING {
            return None;
        }
        let connections = self.limits.connections;
        let free = |lane: &&mut Lane| lane.running < connections && lane.wait(now).is_zero();
        let lanes = self.lanes.values_mut().filter(free);
        let lane = lanes.filter(|lane| !lane.waiting.is_empty()).min_by_key(|lane| {
            lane.waiting.first().copied().expect("those without were left out")
        })?;
        let (_, item) = lane.waiting.pop_first()?;
        lane.running += 1;
        self.running += 1;
        let work = self.prefetches.get_mut(&item.id)?.work.as_mut()?;
        let phase = &mut work.items[item.index as usize];
        if let Phase::Waiting { failures, progress, .. } = phase {
            let progress = Progress { spent_bytes: 0, ..*progress };
            *phase = Phase::Running { failures: *failures, progress };
        }
        let is_first = !std::mem::replace(&mut work.is_begun, true);
        let is_listed = item.index >= work.asked;
        let (ahead, variants) = (work.spec.ahead(item.index), work.spec.variants);
        Some(Start { item, ahead, variants, is_first, is_listed })
    }

    /// When there may be a next item, if nothing else changes before.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let free =
            |lane: &&Lane| lane.running < self.limits.connections && !lane.waiting.is_empty();
        let paid = self.lanes.values().filter(free).map(|lane| now + lane.wait(now)).min();
        let paid = paid.filter(|_| self.running < RUNNING);
        paid.into_iter().chain(self.delayed.first().map(|(at, _)| *at)).min()
    }

    /// An item has come so far. Says how long its next step waits for the origin's rate.
    pub fn progress(&mut self, item: Item, progress: Progress, now: Instant) -> Duration {
        let rate = self.limits.rate;
        let Some((phase, lane)) = self.running_item(item) else { return Duration::ZERO };
        let before = std::mem::replace(phase, progress);
        lane.spend(progress.spent_bytes.saturating_sub(before.spent_bytes), rate, now);
        lane.debt(now)
    }

    fn running_item(&mut self, item: Item) -> Option<(&mut Progress, &mut Lane)> {
        let work = self.prefetches.get_mut(&item.id)?.work.as_mut()?;
        let lane = self.lanes.get_mut(&work.spec.sources[item.index as usize].name)?;
        match &mut work.items[item.index as usize] {
            Phase::Running { progress, .. } => Some((progress, lane)),
            _ => None,
        }
    }

    /// An attempt has ended. `random` is uniform over all of `u64`.
    pub fn settle(
        &mut self,
        item: Item,
        result: Result<Came, Failed>,
        (now, unix_ms): (Instant, u64),
        random: u64,
    ) -> Settled {
        if let Ok(Came::Fetched(done)) = &result {
            self.progress(item, done.progress, now);
        }
        let hold = result.as_ref().err().and_then(|failed| failed.hold);
        let left = self.leave_lane(item, hold.map(|wait| (wait, now)));
        let Some(failures) = left else { return Settled::default() };
        let ended = match result {
            Ok(Came::Fetched(done)) => Ended { done: Some(done), ..Ended::default() },
            Ok(Came::Listed(sources)) => match self.has_room_for_listed(item, &sources) {
                Ok(()) => {
                    self.unfold(item, &sources);
                    let record = Record::Listed { id: item.id, index: item.index, sources };
                    return Settled { record: Some(record), is_last: false };
                }
                Err(why @ NoRoom::Now) => {
                    self.full_lists.insert(item);
                    let bound = self.limits.backoff_max;
                    let wait = bound / 2 + share(bound / 2, random);
                    self.wait_again(item, failures, why.to_string(), now + wait);
                    return Settled::default();
                }
                Err(why @ NoRoom::Never) => {
                    Ended { why: Some(why.to_string()), ..Ended::default() }
                }
            },
            Err(failed) => match self.delay(&failed, failures) {
                Some((failures, bound)) => {
                    let wait = bound / 2 + share(bound / 2, random);
                    self.wait_again(item, failures, failed.why, now + wait);
                    return Settled::default();
                }
                None => Ended {
                    done: None,
                    why: Some(failed.why),
                    is_unreachable: failed.is_unreachable,
                },
            },
        };
        let record =
            Record::Ended { id: item.id, index: item.index, unix_ms, ended: ended.clone() };
        self.end_item(item, &ended);
        Settled { record: Some(record), is_last: self.is_over(item.id) }
    }

    /// Whether all items of a prefetch have ended.
    pub fn is_over(&self, id: u64) -> bool {
        self.prefetches.get(&id).is_some_and(Prefetch::is_over)
    }

    /// The sources of a prefetch that are done, and whether all of each is wanted.
    pub fn done(&self, id: u64) -> (Vec<SourceName>, bool) {
        let work = self.prefetches.get(&id).and_then(|prefetch| prefetch.work.as_ref());
        work.map_or_else(Default::default, |work| (work.done(), work.spec.ranges.is_empty()))
    }

    /// A prefetch whose items have all ended ends, with what is `there` of them, where that is known. What
    /// the journal is to keep of that.
    pub fn close(&mut self, id: u64, there: Option<There>, unix_ms: u64) -> Option<Record> {
        if let Some(prefetch) = self.prefetches.get_mut(&id) {
            prefetch.summary.there = there;
        }
        self.end(id, unix_ms);
        there.map(|there| Record::There { id, there })
    }

    /// How often it has failed by now, and the most that it waits; `None` for no other attempt.
    fn delay(&self, failed: &Failed, failures: u32) -> Option<(u32, Duration)> {
        let Limits { retries, backoff, backoff_max, .. } = self.limits;
        let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
        let bound = backoff.saturating_mul(factor).min(backoff_max);
        match failed.again {
            Again::Free => Some((failures, bound)),
            Again::Counted if failures < retries => Some((failures + 1, bound)),
            Again::Counted | Again::Never => None,
        }
    }

    fn leave_lane(&mut self, item: Item, hold: Option<(Duration, Instant)>) -> Option<u32> {
        let work = self.prefetches.get_mut(&item.id)?.work.as_mut()?;
        let Phase::Running { failures, .. } = work.items[item.index as usize] else { return None };
        let lane = self.lanes.get_mut(&work.spec.sources[item.index as usize].name)?;
        lane.running -= 1;
        hold.into_iter().for_each(|(wait, now)| lane.hold(wait, now));
        self.running -= 1;
        Some(failures)
    }

    fn wait_again(&mut self, item: Item, failures: u32, why: String, at: Instant) {
        let Some(work) = self.prefetches.get_mut(&item.id).and_then(|one| one.work.as_mut()) else {
            return;
        };
        let why = Some(format!("{}: {why}", work.spec.sources[item.index as usize]));
        let phase = &mut work.items[item.index as usize];
        if let Phase::Running { progress, .. } = phase {
            *phase = Phase::Waiting { failures, progress: *progress, why };
        }
        self.delayed.insert((at, (Reverse(work.spec.priority), item)));
    }

    fn move_due(&mut self, now: Instant) {
        while let Some((at, place)) = self.delayed.first().copied().filter(|(at, _)| *at <= now) {
            self.delayed.remove(&(at, place));
            let item = place.1;
            let work = self.prefetches.get(&item.id).and_then(|one| one.work.as_ref());
            let Some(work) = work else { continue };
            let name = work.spec.sources[item.index as usize].name.clone();
            self.lanes.entry(name).or_default().waiting.insert(place);
        }
    }

    /// Notes how an item ended.
    fn end_item(&mut self, item: Item, ended: &Ended) {
        let Some(prefetch) = self.prefetches.get_mut(&item.id) else { return };
        let Some(work) = &mut prefetch.work else { return };
        let Some(phase) = work.items.get_mut(item.index as usize) else { return };
        if matches!(phase, Phase::Ended { .. }) {
            return;
        }
        let last = std::mem::replace(phase, Phase::Ended { is_done: ended.done.is_some() });
        let source = work.spec.sources[item.index as usize].to_string();
        let place = (Reverse(work.spec.priority), item);
        if let Some(lane) = self.lanes.get_mut(&work.spec.sources[item.index as usize].name) {
            lane.waiting.remove(&place);
        }
        self.open -= 1;
        self.full_lists.remove(&item);
        prefetch.summary.count(&source, ended, last.progress());
    }

    /// Lets go of everything but the summary.
    fn end(&mut self, id: u64, unix_ms: u64) {
        let Some(prefetch) = self.prefetches.get_mut(&id) else { return };
        let Some(work) = prefetch.work.take() else { return };
        prefetch.summary.ended_unix_ms = Some(unix_ms);
        self.name_bytes -= work.spec.name_bytes();
        self.delayed.retain(|(_, (_, item))| item.id != id);
        self.full_lists.retain(|item| item.id != id);
        self.ended.push_back(id);
        self.forget_old(unix_ms);
    }

    /// Forgets what ended too long ago.
    pub fn forget_old(&mut self, unix_ms: u64) {
        let is_old = |summary: &Summary| {
            summary.ended_unix_ms.is_some_and(|at| at.saturating_add(ENDED_KEPT_MS) < unix_ms)
        };
        while let Some(id) = self.ended.front() {
            let oldest = self.prefetches.get(id);
            if self.ended.len() <= ENDED_KEPT && !oldest.is_none_or(|one| is_old(&one.summary)) {
                return;
            }
            self.prefetches.remove(id);
            self.ended.pop_front();
        }
    }

    /// Cancels a prefetch; those of its items that run are to be stopped. `None`: there is none.
    /// One that has ended stays as it is.
    pub fn cancel(&mut self, id: u64, unix_ms: u64) -> Option<Vec<Item>> {
        let prefetch = self.prefetches.get_mut(&id)?;
        let Some(work) = prefetch.work.as_ref().filter(|work| !work.is_over()) else {
            return Some(Vec::new());
        };
        prefetch.is_cancelled = true;
        let mut running = Vec::new();
        for (index, phase) in work.items.iter().enumerate() {
            let item = Item { id, index: index as u32 };
            let lane = self.lanes.get_mut(&work.spec.sources[index].name);
            match phase {
                Phase::Running { .. } => {
                    lane.into_iter().for_each(|lane| lane.running -= 1);
                    self.running -= 1;
                    running.push(item);
                }
                Phase::Waiting { .. } => lane.into_iter().for_each(|lane| {
                    lane.waiting.remove(&(Reverse(work.spec.priority), item));
                }),
                Phase::Ended { .. } => continue,
            }
            self.open -= 1;
            prefetch.summary.add(phase.progress());
        }
        self.end(id, unix_ms);
        Some(running)
    }

    /// Undoes [`accept`](Self::accept): nobody was told of it.
    pub fn take_back(&mut self, id: u64) -> Vec<Item> {
        let running = self.cancel(id, 0).unwrap_or_default();
        self.prefetches.remove(&id);
        self.ended.retain(|ended| *ended != id);
        running
    }

    /// One prefetch.
    pub fn status(&self, id: u64) -> Option<Status> {
        Some(self.prefetches.get(&id)?.status(id))
    }

    /// The youngest prefetches, the youngest first, and how many more there are.
    pub fn list(&self, most: usize) -> (Vec<Status>, usize) {
        let listed = self.prefetches.iter().rev().take(most).map(|(id, one)| one.status(*id));
        (listed.collect(), self.prefetches.len().saturating_sub(most))
    }
}

/// The share of `bound` that `random` stands for.
fn share(bound: Duration, random: u64) -> Duration {
    let nanos = (bound.as_nanos() * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
