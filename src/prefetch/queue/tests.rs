//! Histories of the queue against a plain list of items.

use super::*;
use crate::{pcm::SourceName, storage::random::Random};

const LIMITS: Limits = Limits {
    sources: 12,
    connections: 2,
    rate: 1_000,
    retries: 2,
    backoff: Duration::from_millis(100),
    backoff_max: Duration::from_millis(300),
};

fn spec(sources: &[&str], priority: u8) -> Spec {
    let source = |text: &&str| SourceName::parse(text, |_| false).unwrap();
    Spec { priority, ..Spec::of(sources.iter().map(source).collect()) }
}

fn done(bytes: u64) -> Result<Came, Failed> {
    let progress = Progress { bytes_done: bytes, bytes_total: Some(bytes), spent_bytes: 0 };
    Ok(Came::Fetched(Prefetched { progress, check: None }))
}

fn lists(sources: usize) -> Result<Came, Failed> {
    Ok(Came::Listed(vec![SourceName::parse("b:y", |_| false).unwrap(); sources]))
}

fn fails(again: Again) -> Result<Came, Failed> {
    Err(Failed { why: "no".into(), is_unreachable: true, again, hold: None })
}

fn item(id: u64, index: u32) -> Item {
    Item { id, index }
}

fn start(queue: &mut Queue, now: Instant) -> Option<Item> {
    queue.next(now).map(|start| start.item)
}

#[test]
fn an_attempt_that_failed_waits_longer_each_time_until_it_is_the_last() {
    let (mut queue, began) = (Queue::new(LIMITS), Instant::now());
    queue.accept(spec(&["a:x"], 5), 7);
    let mut now = began;
    for wait in [50, 100, 150] {
        assert_eq!(start(&mut queue, now), Some(item(1, 0)));
        let settled = queue.settle(item(1, 0), fails(Again::Counted), (now, 8), 0);
        if wait == 150 {
            assert!(settled.is_last && queue.status(1).unwrap().state == State::Running);
            queue.close(1, None, 8);
            let status = queue.status(1).unwrap();
            assert_eq!((status.state, status.error().as_deref()), (State::Failed, Some("a:x: no")));
            assert!(status.summary.is_unreachable && settled.record.is_some());
            assert_eq!(queue.wake_at(now), None);
            return;
        }
        assert_eq!(queue.status(1).unwrap().state, State::Queued);
        assert_eq!(queue.status(1).unwrap().error().as_deref(), Some("a:x: no"));
        assert_eq!(start(&mut queue, now), None);
        now += Duration::from_millis(wait);
        assert_eq!(queue.wake_at(began), Some(now));
    }
}

#[test]
fn what_is_not_the_origins_doing_counts_as_no_attempt() {
    let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
    queue.accept(spec(&["a:x"], 5), 0);
    for round in 1..50 {
        let now = now + round * LIMITS.backoff_max;
        assert_eq!(start(&mut queue, now), Some(item(1, 0)));
        queue.settle(item(1, 0), fails(Again::Free), (now, 0), u64::MAX);
    }
    assert_eq!(queue.status(1).unwrap().state, State::Queued);
}

#[test]
fn the_sources_of_a_list_come_behind_the_others_as_soon_as_there_is_room() {
    let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
    for _ in 0..2 {
        queue.accept(spec(&["a:list", "a:x"], 5), 0);
    }
    let lists_of = |queue: &mut Queue, id, sources, now| {
        let settled = queue.settle(item(id, 0), lists(sources), (now, 0), 0);
        (settled.record.is_some(), queue.status(id).unwrap())
    };
    assert_eq!([(); 2].map(|()| start(&mut queue, now)), [Some(item(1, 0)), Some(item(1, 1))]);
    let (_, never) = lists_of(&mut queue, 1, LIMITS.sources + 1, now);
    assert_eq!(never.error().unwrap(), format!("a:list: {}", NoRoom::Never));
    assert_eq!(start(&mut queue, now), Some(item(2, 0)));
    let (is_read, waits) = lists_of(&mut queue, 2, LIMITS.sources - 1, now);
    let why = format!("a:list: {}", NoRoom::Now);
    assert_eq!((is_read, waits.error(), waits.state), (false, Some(why), State::Queued));
    // It is not the only one that waits for room; who comes first gets it.
    queue.accept(spec(&["a:list"], 9), 0);
    assert_eq!(start(&mut queue, now), Some(item(3, 0)));
    let (is_read, unfolded) = lists_of(&mut queue, 3, LIMITS.sources - 2, now);
    assert!(is_read, "{unfolded:?}");
    assert_eq!((unfolded.summary.sources, unfolded.summary.done), (LIMITS.sources - 2, 0));
    assert_eq!(queue.counts(), (LIMITS.sources, 1));
    let first = queue.next(now).unwrap();
    assert!(first.item == item(3, 1) && first.is_listed && !first.is_first);
}

#[test]
fn what_was_evicted_again_is_not_there_and_was_done_all_the_same() {
    let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
    queue.accept(spec(&["a:x", "b:y", "c:z"], 5), 0);
    for result in [done(5), done(6), fails(Again::Never)] {
        let item = start(&mut queue, now).unwrap();
        queue.settle(item, result, (now, 0), 0);
    }
    let (sources, is_whole) = queue.done(1);
    let names: Vec<_> = sources.iter().map(SourceName::text).collect();
    assert_eq!((&names[..], is_whole), (&["a:x".to_owned(), "b:y".to_owned()][..], true));
    assert_eq!(queue.cancel(1, 0), Some(vec![]), "it is too late");
    let record = queue.close(1, Some(There { sources: 1, bytes: 6 }), 0);
    let Status { state, summary, .. } = queue.status(1).unwrap();
    assert_eq!((state, summary.evicted(), summary.bytes_there()), (State::Failed, 1, 6));
    assert!(record.is_some());
}

#[test]
fn what_was_fetched_is_paid_off_before_more_is() {
    let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
    queue.accept(spec(&["a:x", "a:y", "b:z"], 5), 0);
    assert_eq!(start(&mut queue, now), Some(item(1, 0)));
    let progress = Progress { bytes_done: 500, bytes_total: None, spent_bytes: 500 };
    assert_eq!(queue.progress(item(1, 0), progress, now), Duration::from_millis(500));
    let later = now + Duration::from_millis(200);
    let progress = Progress { spent_bytes: 600, ..progress };
    assert_eq!(queue.progress(item(1, 0), progress, later), Duration::from_millis(400));
    assert_eq!(start(&mut queue, later), Some(item(1, 2)), "another origin's");
    assert_eq!(start(&mut queue, later), None);
    let paid = now + Duration::from_millis(600);
    assert_eq!(queue.wake_at(later), Some(paid));
    assert_eq!(start(&mut queue, paid), Some(item(1, 1)));
}

#[test]
fn an_origin_that_names_a_time_is_left_alone_till_then_and_no_other() {
    let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
    queue.accept(spec(&["a:x", "a:y", "b:z"], 5), 0);
    assert_eq!(start(&mut queue, now), Some(item(1, 0)));
    let busy = |hold| Err(Failed { hold: Some(hold), ..fails(Again::Counted).unwrap_err() });
    let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    queue.settle(item(1, 0), busy(minute), (now, 0), 0);
    assert_eq!(start(&mut queue, now), Some(item(1, 2)), "another origin's");
    let later = now + minute - Duration::from_millis(1);
    assert_eq!(start(&mut queue, later), None);
    assert_eq!(queue.wake_at(later), Some(now + minute));
    let then = now + minute;
    assert_eq!(start(&mut queue, then), Some(item(1, 0)));
    queue.settle(item(1, 0), busy(1_000 * hour), (then, 0), 0);
    assert_eq!((start(&mut queue, then), hour), (None, lane::HELD_MAX));
    assert_eq!(start(&mut queue, then + hour), Some(item(1, 0)), "not for ever");
}

#[test]
fn what_ended_is_kept_for_a_while_and_not_for_ever() {
    let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
    for number in 0..ENDED_KEPT as u64 + 3 {
        let id = queue.accept(spec(&["a:x"], 5), number);
        assert_eq!(start(&mut queue, now), Some(item(id, 0)));
        queue.settle(item(id, 0), done(1), (now, number), 0);
        queue.close(id, None, number);
    }
    assert!(queue.status(3).is_none() && queue.status(4).is_some());
    assert_eq!(queue.list(10).1, ENDED_KEPT - 10);
    queue.forget_old(ENDED_KEPT_MS + 500);
    assert!(queue.status(500).is_none() && queue.status(501).is_some());
    assert_eq!(queue.name_bytes, 0);
}

#[test]
fn what_was_accepted_stays_though_fewer_may_be_now() {
    let mut queue = Queue::new(LIMITS);
    for _ in 0..3 {
        queue.accept(spec(&["a:x", "a:y"], 5), 0);
    }
    let mut fewer = Queue::new(Limits { sources: 2, ..LIMITS });
    queue.records().into_iter().for_each(|record| fewer.apply(record));
    assert!((1..=3).all(|id| fewer.status(id).is_some()));
    assert!(fewer.has_room(&spec(&["a:z"], 5)).is_err());
}

#[test]
fn what_could_not_be_kept_never_was() {
    let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
    let id = queue.accept(spec(&["a:x", "a:y"], 5), 0);
    assert_eq!(start(&mut queue, now), Some(item(1, 0)));
    assert_eq!(queue.take_back(id), [item(1, 0)]);
    assert_eq!((queue.counts(), queue.name_bytes), ((0, 0), 0));
    assert!(queue.status(id).is_none());
    assert_eq!(queue.accept(spec(&["a:x"], 5), 0), 2);
}

/// What a plain list of items knows.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Known {
    Waiting(Option<Instant>),
    Running,
    Ended,
}

struct Model {
    item: Item,
    origin: &'static str,
    priority: u8,
    failures: u32,
    known: Known,
    is_listed: bool,
    /// A list that waits for room.
    is_full: bool,
}

struct History {
    queue: Queue,
    items: Vec<Model>,
    /// What the journal has.
    records: Vec<Record>,
    now: Instant,
    paid_at: BTreeMap<&'static str, Instant>,
    seed: u64,
}

impl History {
    fn new(seed: u64) -> Self {
        let (items, records, paid_at) = Default::default();
        Self { queue: Queue::new(LIMITS), items, records, now: Instant::now(), paid_at, seed }
    }

    fn unix_ms(&self) -> u64 {
        1_000 + self.records.len() as u64
    }

    fn accept(&mut self, random: &mut Random) {
        const SOURCES: [(&str, &str); 3] = [("a", "a:x"), ("b", "b:y"), ("c", "c:z")];
        let chosen: Vec<_> =
            (0..=random.below(3)).map(|_| SOURCES[random.below(3) as usize]).collect();
        let texts: Vec<_> = chosen.iter().map(|(_, text)| *text).collect();
        let spec = spec(&texts, random.below(3) as u8);
        let open = self.items.iter().filter(|one| one.known != Known::Ended).count();
        let fits = open + chosen.len() <= LIMITS.sources;
        assert_eq!(self.queue.has_room(&spec).is_ok(), fits, "seed {}", self.seed);
        if !fits {
            return;
        }
        let unix_ms = self.unix_ms();
        let (priority, id) = (spec.priority, self.queue.accept(spec.clone(), unix_ms));
        let summary = Summary::of(&spec, unix_ms);
        let asked = chosen.len() as u32;
        self.records.push(Record::Accepted { id, unix_ms, spec, asked, ended: vec![], summary });
        let new = chosen.iter().enumerate().map(|(index, (origin, _))| Model {
            item: item(id, index as u32),
            origin,
            priority,
            failures: 0,
            known: Known::Waiting(None),
            is_listed: false,
            is_full: false,
        });
        self.items.extend(new);
    }

    /// The one that has to be next.
    fn expected(&self) -> Option<Item> {
        let running = |origin: &str| {
            let of_it = self.items.iter().filter(|one| one.origin == origin);
            of_it.filter(|one| one.known == Known::Running).count()
        };
        let is_free = |origin: &str| {
            running(origin) < LIMITS.connections
                && self.paid_at.get(origin).is_none_or(|at| *at <= self.now)
        };
        let waits = |one: &&Model| match one.known {
            Known::Waiting(at) => at.is_none_or(|at| at <= self.now) && is_free(one.origin),
            _ => false,
        };
        let due = self.items.iter().filter(waits);
        due.min_by_key(|one| (Reverse(one.priority), one.item)).map(|one| one.item)
    }

    fn begin(&mut self) {
        let expected = self.expected();
        assert_eq!(start(&mut self.queue, self.now), expected, "seed {}", self.seed);
        if let Some(item) = expected {
            self.of(item).known = Known::Running;
        } else if let Some(at) = self.queue.wake_at(self.now) {
            assert!(at > self.now, "seed {}: it would be looked at for ever", self.seed);
        }
    }

    fn of(&mut self, item: Item) -> &mut Model {
        self.items.iter_mut().find(|one| one.item == item).unwrap()
    }

    fn running(&self, random: &mut Random) -> Option<Item> {
        let running: Vec<_> = self.items.iter().filter(|one| one.known == Known::Running).collect();
        let chosen = random.below(running.len().max(1) as u64) as usize;
        running.get(chosen).map(|one| one.item)
    }

    fn spend(&mut self, random: &mut Random) {
        let Some(item) = self.running(random) else { return };
        let before = match self.queue.prefetches[&item.id].work.as_ref().unwrap().items
            [item.index as usize]
        {
            Phase::Running { progress, .. } => progress,
            _ => panic!("seed {}: it runs", self.seed),
        };
        let bytes = random.below(300);
        let spent_bytes = before.spent_bytes + bytes;
        let progress = Progress { bytes_done: spent_bytes, bytes_total: None, spent_bytes };
        let (now, origin) = (self.now, self.of(item).origin);
        let paid_at = self.paid_at.entry(origin).or_insert(now);
        *paid_at = (*paid_at).max(now) + Duration::from_millis(bytes);
        let paid_at = *paid_at;
        assert_eq!(self.queue.progress(item, progress, now), paid_at - now, "{}", self.seed);
    }

    fn settle(&mut self, random: &mut Random) {
        let Some(item) = self.running(random) else { return };
        let (now, unix_ms) = (self.now, self.unix_ms());
        if random.below(4) == 0 && !self.of(item).is_listed {
            return self.unfold(item, 1 + random.below(LIMITS.sources as u64 + 1) as usize);
        }
        let again = [Again::Never, Again::Counted, Again::Free][random.below(3) as usize];
        let result = if random.below(2) == 0 { done(9) } else { fails(again) };
        let is_done = result.is_ok();
        let settled = self.queue.settle(item, result, (now, unix_ms), 0);
        let one = self.of(item);
        let bound = (LIMITS.backoff * (1 << one.failures)).min(LIMITS.backoff_max);
        let is_last = again == Again::Counted && one.failures == LIMITS.retries;
        if is_done || again == Again::Never || is_last {
            (one.known, one.is_full) = (Known::Ended, false);
        } else {
            one.failures += u32::from(again == Again::Counted);
            one.known = Known::Waiting(Some(now + bound / 2));
        }
        let has_ended = one.known == Known::Ended;
        assert_eq!(settled.record.is_some(), has_ended, "seed {}", self.seed);
        self.records.extend(settled.record);
        self.end(item, settled.is_last);
    }

    fn end(&mut self, item: Item, is_last: bool) {
        let mut all = self.items.iter().filter(|one| one.item.id == item.id);
        let is_over = all.all(|one| one.known == Known::Ended);
        assert_eq!(is_last, is_over, "seed {}", self.seed);
        if is_last {
            let there = There { sources: item.index as usize, bytes: 5 };
            let there = item.id.is_multiple_of(2).then_some(there);
            self.records.extend(self.queue.close(item.id, there, self.unix_ms()));
        }
    }

    /// A source is found to be a list.
    fn unfold(&mut self, list: Item, sources: usize) {
        let open = self.items.iter().filter(|one| one.known != Known::Ended).count();
        let full = self.items.iter().filter(|one| one.is_full && one.item != list).count();
        let settled = self.queue.settle(list, lists(sources), (self.now, self.unix_ms()), 0);
        let (now, priority) = (self.now, self.of(list).priority);
        let one = self.of(list);
        if sources <= LIMITS.sources && open - 1 - full + sources > LIMITS.sources {
            (one.is_full, one.known) = (true, Known::Waiting(Some(now + LIMITS.backoff_max / 2)));
            assert!(settled.record.is_none(), "seed {}", self.seed);
            return;
        }
        (one.is_full, one.known) = (false, Known::Ended);
        self.records.extend(settled.record);
        if sources > LIMITS.sources {
            return self.end(list, settled.is_last);
        }
        let first = self.items.iter().filter(|one| one.item.id == list.id).count() as u32;
        self.items.extend((first..first + sources as u32).map(|index| Model {
            item: item(list.id, index),
            origin: "b",
            priority,
            failures: 0,
            known: Known::Waiting(None),
            is_listed: true,
            is_full: false,
        }));
    }

    fn cancel(&mut self, random: &mut Random) {
        let Some(last) = self.items.last() else { return };
        let (id, unix_ms) = (random.below(last.item.id + 2), self.unix_ms());
        let is_there = self.items.iter().any(|one| one.item.id == id);
        let cancelled = self.queue.cancel(id, unix_ms);
        assert_eq!(cancelled.is_some(), is_there, "seed {}", self.seed);
        let mut running = Vec::new();
        for one in self.items.iter_mut().filter(|one| one.item.id == id) {
            one.is_full = false;
            if std::mem::replace(&mut one.known, Known::Ended) == Known::Running {
                running.push(one.item);
            }
        }
        assert_eq!(cancelled.unwrap_or_default(), running, "seed {}", self.seed);
        if is_there {
            self.records.push(Record::Cancelled { id, unix_ms });
        }
    }

    fn check(&self) {
        let count =
            |known: fn(&Known) -> bool| self.items.iter().filter(|one| known(&one.known)).count();
        let waiting = count(|known| matches!(known, Known::Waiting(_)));
        let running = count(|known| matches!(known, Known::Running));
        assert_eq!(self.queue.counts(), (waiting, running), "seed {}", self.seed);
    }

    /// A node that starts with this journal knows what has ended, and begins the rest anew.
    fn check_restart(&self) {
        let (mut replayed, mut rewritten) = (Queue::new(LIMITS), Queue::new(LIMITS));
        self.records.iter().cloned().for_each(|record| replayed.apply(record));
        replayed.records().into_iter().for_each(|record| rewritten.apply(record));
        for queue in [&replayed, &rewritten] {
            let open = self.items.iter().filter(|one| one.known != Known::Ended).count();
            assert_eq!(queue.counts(), (open, 0), "seed {}", self.seed);
            assert_eq!(queue.name_bytes, self.queue.name_bytes, "seed {}", self.seed);
            assert_eq!(queue.last_id, self.queue.last_id);
            for (id, own) in &self.queue.prefetches {
                let (own, theirs) = (own.status(*id), queue.status(*id).unwrap());
                if own.state.is_end() {
                    let progress = |status: &Status| {
                        let Summary { done, failed, sources, there, .. } = status.summary;
                        (status.state, done, failed, sources, there)
                    };
                    assert_eq!(progress(&own), progress(&theirs), "seed {}", self.seed);
                    assert_eq!(own.summary.failures, theirs.summary.failures);
                } else {
                    assert_eq!(theirs.state, State::Queued, "seed {}", self.seed);
                    let ended = |status: &Status| (status.summary.done, status.summary.failed);
                    assert_eq!(ended(&own), ended(&theirs), "seed {}", self.seed);
                }
            }
        }
    }
}

#[test]
fn every_history_keeps_order_bounds_and_counts_and_outlives_a_restart() {
    for seed in 1..=2_000 {
        let (mut random, mut history) = (Random(seed), History::new(seed));
        for _ in 0..80 {
            match random.below(12) {
                0 | 1 => history.accept(&mut random),
                2..6 => history.begin(),
                6 | 7 => history.settle(&mut random),
                8 | 9 => history.spend(&mut random),
                10 => history.cancel(&mut random),
                _ => history.now += Duration::from_millis(random.below(200)),
            }
            history.check();
        }
        history.check_restart();
    }
}
