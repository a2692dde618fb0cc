//! What is to be done for a volume when: commits, syncs, probes.
//!
//! Pure: no I/O, no clock, no executor.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::storage::Trouble;

/// Records wait so long for others to be written with, or until there are so many bytes of them.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
const COMMIT_BYTES: usize = 64 << 10;
/// How often a device that failed is tried again.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// The state of it.
#[derive(Default)]
pub(super) struct Due {
    /// Since when records wait for their commit.
    pending: Option<Instant>,
    /// Somebody waits for the commit of what is pending.
    urgent: bool,
    /// The next sync is not to wait for its time.
    sync_is_urgent: bool,
    /// Since when the device holds what is not durable.
    unsynced: Option<Instant>,
    /// When a device that failed is tried again.
    probe: Option<Instant>,
    /// How many times somebody asked for everything to be durable, and how many were answered.
    asked: u64,
    answered: u64,
    /// How the last answer went.
    outcome: Option<Trouble>,
}

impl Due {
    /// Whether to commit `bytes` of records that wait.
    pub(super) fn wants_commit(&mut self, now: Instant, bytes: usize) -> bool {
        if bytes == 0 {
            self.pending = None;
            return false;
        }
        let since = *self.pending.get_or_insert(now);
        let is_old = now >= since + COMMIT_INTERVAL;
        is_old || bytes >= COMMIT_BYTES || self.urgent || self.is_asked()
    }

    /// The next commit is waited for.
    pub(super) fn hurry(&mut self) {
        self.urgent = true;
    }

    /// The next sync is due as soon as all records are written.
    pub(super) fn hurry_sync(&mut self) {
        (self.urgent, self.sync_is_urgent) = (true, true);
    }

    /// All records were written: they are not durable yet.
    pub(super) fn committed(&mut self, now: Instant) {
        (self.pending, self.urgent) = (None, false);
        self.unsynced.get_or_insert(now);
    }

    pub(super) fn wants_sync(&self, now: Instant, interval: Duration) -> bool {
        self.is_asked()
            || self.sync_is_urgent
            || self.unsynced.is_some_and(|since| now >= since + interval)
    }

    /// A sync begins: how many questions its outcome will answer.
    pub(super) fn begin_sync(&mut self) -> u64 {
        (self.unsynced, self.sync_is_urgent) = (None, false);
        self.asked
    }

    /// When to look again, where nothing else happens. What is overdue could not be done, and is no
    /// reason to look again at once.
    pub(super) fn next(&self, now: Instant, sync_interval: Duration) -> Option<Instant> {
        let commit = self.pending.map(|since| since + COMMIT_INTERVAL);
        let sync = self.unsynced.map(|since| since + sync_interval);
        let due = [commit, sync].into_iter().flatten().min();
        due.map(|at| if at > now { at } else { now + COMMIT_INTERVAL })
    }

    /// When the records that wait are to be written.
    pub(super) fn next_commit(&self, now: Instant) -> Option<Instant> {
        Self { pending: self.pending, ..Self::default() }.next(now, COMMIT_INTERVAL)
    }

    /// The same while the device takes nothing and is tried again at `probe`.
    pub(super) fn next_while_off(&self, now: Instant, probe: Instant) -> Instant {
        let probe = if probe > now { probe } else { now + PROBE_INTERVAL };
        // Nothing is synced meanwhile.
        self.next_commit(now).map_or(probe, |at| at.min(probe))
    }

    /// When a device that failed is tried again.
    pub(super) fn probe_at(&mut self, now: Instant) -> Instant {
        *self.probe.get_or_insert(now + PROBE_INTERVAL)
    }

    /// It is being tried.
    pub(super) fn probed(&mut self) {
        self.probe = None;
    }

    /// Somebody asks for everything to be durable; the number of the question.
    pub(super) fn ask(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    /// The first `questions` are answered; all of them by a failure.
    pub(super) fn answer(&mut self, questions: u64, outcome: Option<Trouble>) {
        self.answered = if outcome.is_some() { self.asked } else { questions };
        self.outcome = outcome;
    }

    /// How a question was answered; `None` while it is not.
    pub(super) fn answer_to(&self, question: u64) -> Option<io::Result<()>> {
        let outcome = || self.outcome.map_or(Ok(()), |trouble| Err(trouble.into()));
        (self.answered >= question).then(outcome)
    }

    fn is_asked(&self) -> bool {
        self.asked > self.answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_secs(5);

    #[test]
    fn records_wait_a_while_for_others_unless_they_are_many_or_asked_for() {
        let (start, mut due) = (Instant::now(), Due::default());
        assert!(!due.wants_commit(start, 0) && due.next(start, SYNC).is_none());
        assert!(!due.wants_commit(start, 10));
        assert_eq!(due.next(start, SYNC), Some(start + COMMIT_INTERVAL));
        assert!(due.wants_commit(start, COMMIT_BYTES));
        assert!(due.wants_commit(start + COMMIT_INTERVAL, 10));
        due.hurry();
        assert!(due.wants_commit(start, 10));
        due.committed(start);
        assert!(!due.wants_commit(start, 10));
        due.committed(start);
        assert_eq!(due.next(start, SYNC), Some(start + SYNC));
        due.ask();
        assert!(due.wants_commit(start, 10) && due.wants_sync(start, SYNC));
    }

    #[test]
    fn a_question_that_came_during_a_sync_waits_for_the_next() {
        let mut due = Due::default();
        let first = due.ask();
        let questions = due.begin_sync();
        let second = due.ask();
        due.answer(questions, None);
        assert!(matches!(due.answer_to(first), Some(Ok(()))));
        assert!(due.answer_to(second).is_none());
        due.answer(0, Some(io::ErrorKind::Other.into()));
        assert!(matches!(due.answer_to(second), Some(Err(_))));
    }

    #[test]
    fn a_device_that_takes_nothing_is_not_asked_in_a_loop() {
        let now = Instant::now();
        let long_ago = now.checked_sub(Duration::from_secs(60)).unwrap();
        let due = Due { pending: Some(long_ago), unsynced: Some(long_ago), ..Due::default() };
        for probe in [now, long_ago, now + PROBE_INTERVAL] {
            assert!(due.next_while_off(now, probe) >= now + COMMIT_INTERVAL);
        }
        let idle = Due { unsynced: Some(long_ago), ..Due::default() };
        assert_eq!(idle.next_while_off(now, now + PROBE_INTERVAL), now + PROBE_INTERVAL);
    }

    #[test]
    fn a_device_is_tried_again_once_in_an_interval() {
        let (start, mut due) = (Instant::now(), Due::default());
        assert_eq!(due.probe_at(start), start + PROBE_INTERVAL);
        let later = start + Duration::from_secs(3);
        assert_eq!(due.probe_at(later), start + PROBE_INTERVAL);
        due.probed();
        assert_eq!(due.probe_at(later), later + PROBE_INTERVAL);
    }
}
