//! Pauses after a failed validation: what is stale and may be given while its origin fails is given for
//! a moment without asking again, so that a crowd costs an origin in trouble one request in that time.
//!
//! Pure: no I/O, no clock, no executor.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{assets::freshness::Trouble, storage::ObjectId};

/// How long one lasts. Short enough that nobody notices when the origin is back; a crowd asks hundreds
/// of times in it.
const PAUSE: Duration = Duration::from_secs(1);

/// How many are remembered. With more, the oldest end early, and cost a request each.
const PAUSES: usize = 4096;

/// The objects whose origin is not asked now.
#[derive(Default)]
pub(super) struct Pauses {
    failed: HashMap<ObjectId, (Instant, Trouble)>,
    /// Oldest first. One that began anew stands here twice.
    order: VecDeque<(ObjectId, Instant)>,
}

impl Pauses {
    /// The origin failed.
    pub(super) fn begin(&mut self, id: ObjectId, trouble: Trouble, now: Instant) {
        let until = now + PAUSE;
        while let Some((oldest, until)) = self.order.front().copied()
            && (until <= now || self.order.len() == PAUSES)
        {
            self.order.pop_front();
            self.remove(oldest, until);
        }
        self.failed.insert(id, (until, trouble));
        self.order.push_back((id, until));
    }

    /// The origin answered.
    pub(super) fn end(&mut self, id: ObjectId) {
        self.failed.remove(&id);
    }

    /// How it failed, as long as it is not to be asked.
    pub(super) fn trouble(&self, id: ObjectId, now: Instant) -> Option<Trouble> {
        let (until, trouble) = *self.failed.get(&id)?;
        (now < until).then_some(trouble)
    }

    fn remove(&mut self, id: ObjectId, until: Instant) {
        if self.failed.get(&id).is_some_and(|failed| failed.0 == until) {
            self.failed.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_by_time_or_by_an_answer_and_can_begin_anew() {
        let (mut pauses, now, id) = (Pauses::default(), Instant::now(), ObjectId(7));
        let just = Duration::from_nanos(1);
        pauses.begin(id, Trouble::Answered, now);
        assert_eq!(pauses.trouble(id, now + PAUSE - just), Some(Trouble::Answered));
        assert_eq!(pauses.trouble(id, now + PAUSE), None);
        assert_eq!(pauses.trouble(ObjectId(8), now), None);
        pauses.begin(id, Trouble::Unreachable, now + PAUSE / 2);
        assert_eq!(pauses.trouble(id, now + PAUSE), Some(Trouble::Unreachable));
        pauses.begin(ObjectId(8), Trouble::Answered, now + PAUSE);
        assert_eq!(pauses.trouble(id, now + PAUSE), Some(Trouble::Unreachable), "the later counts");
        pauses.end(id);
        assert_eq!(pauses.trouble(id, now + PAUSE), None);
    }

    #[test]
    fn there_are_only_so_many_and_those_that_are_over_take_no_room() {
        let (mut pauses, now) = (Pauses::default(), Instant::now());
        let mut begin = |id, now| pauses.begin(ObjectId(id), Trouble::Answered, now);
        (0..PAUSES as u128 + 3).for_each(|id| begin(id, now));
        assert_eq!((pauses.failed.len(), pauses.order.len()), (PAUSES, PAUSES));
        assert!(pauses.trouble(ObjectId(2), now).is_none());
        assert!(pauses.trouble(ObjectId(3), now).is_some());
        pauses.begin(ObjectId(0), Trouble::Answered, now + PAUSE);
        assert_eq!((pauses.failed.len(), pauses.order.len()), (1, 1));
    }
}
