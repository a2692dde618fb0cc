//! The policy against an obvious model, and what it promises beyond that.

use std::collections::BTreeSet;

use super::*;

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }
}

const CAPACITY: u64 = 1000;

/// An object in the model: id, bytes, uses.
type Known = (u128, u64, u8);

/// The rules, in lists: oldest first, searched from end to end.
#[derive(Default)]
struct Model {
    is_lru: bool,
    small: Vec<Known>,
    main: Vec<Known>,
    small_held: Vec<Known>,
    main_held: Vec<Known>,
    /// `None` is one that was met again.
    ghosts: Vec<Option<u128>>,
}

impl Model {
    fn queues(&mut self) -> [&mut Vec<Known>; 4] {
        [&mut self.main_held, &mut self.main, &mut self.small_held, &mut self.small]
    }

    fn all(&self) -> impl Iterator<Item = &Known> {
        [&self.main_held, &self.main, &self.small_held, &self.small].into_iter().flatten()
    }

    fn take(&mut self, id: u128) -> Option<Known> {
        self.queues().into_iter().find_map(|queue| {
            let at = queue.iter().position(|known| known.0 == id)?;
            Some(queue.remove(at))
        })
    }

    fn known(&mut self, id: u128) -> Option<&mut Known> {
        self.queues().into_iter().flatten().find(|known| known.0 == id)
    }

    fn insert(&mut self, id: u128, bytes: u64) {
        if self.known(id).is_some() {
            return self.resize(id, bytes);
        }
        let ghost = self.ghosts.iter_mut().find(|ghost| **ghost == Some(id));
        if self.is_lru || ghost.and_then(Option::take).is_some() {
            self.main.push((id, bytes, 0));
        } else {
            self.small.push((id, bytes, 0));
        }
    }

    fn resize(&mut self, id: u128, bytes: u64) {
        if let Some(known) = self.known(id) {
            known.1 = bytes;
        }
    }

    fn touch(&mut self, id: u128) {
        if self.is_lru {
            let known = self.take(id);
            self.main.extend(known);
        } else if let Some(known) = self.known(id) {
            known.2 = (known.2 + 1).min(3);
        }
    }

    fn let_go(&mut self, id: u128) {
        for (held, queue) in
            [(&mut self.small_held, &mut self.small), (&mut self.main_held, &mut self.main)]
        {
            let at = held.iter().position(|known| known.0 == id);
            at.into_iter().for_each(|at| queue.insert(0, held.remove(at)));
        }
    }

    fn victim(&mut self, may_go: impl Fn(u128) -> bool) -> Option<u128> {
        self.release(ASKED_AGAIN, &may_go);
        match self.search(&may_go) {
            None => {
                self.release(usize::MAX, &may_go);
                self.search(&may_go)
            }
            found => found,
        }
    }

    fn release(&mut self, count: usize, may_go: &impl Fn(u128) -> bool) {
        for (held, queue) in
            [(&mut self.small_held, &mut self.small), (&mut self.main_held, &mut self.main)]
        {
            for _ in 0..held.len().min(count) {
                let known = held.remove(0);
                if may_go(known.0) { queue.insert(0, known) } else { held.push(known) }
            }
        }
    }

    fn search(&mut self, may_go: &impl Fn(u128) -> bool) -> Option<u128> {
        while !self.small.is_empty() || !self.main.is_empty() {
            let bytes = |queue: &Vec<Known>| queue.iter().map(|known| known.1).sum::<u64>();
            let ours = CAPACITY.saturating_sub(bytes(&self.small_held) + bytes(&self.main_held));
            let mean = self.all().map(|known| known.1).sum::<u64>() / self.all().count() as u64;
            let is_small_full = bytes(&self.small) * 10 >= ours;
            if self.main.is_empty() || is_small_full && !self.small.is_empty() {
                let known = self.small.remove(0);
                let wanted = 1 + u8::from(known.1 >= mean) + u8::from(known.1 > 4 * mean);
                if known.2 >= wanted {
                    self.main.push((known.0, known.1, 0));
                } else if may_go(known.0) {
                    return Some(self.gone(known.0));
                } else {
                    self.small_held.push(known);
                }
            } else {
                let known = self.main.remove(0);
                if known.2 > 0 {
                    self.main.push((known.0, known.1, known.2 - 1));
                } else if may_go(known.0) {
                    return Some(self.gone(known.0));
                } else {
                    self.main_held.push(known);
                }
            }
        }
        None
    }

    fn gone(&mut self, id: u128) -> u128 {
        if !self.is_lru {
            self.ghosts.push(Some(id));
            let surplus = self.ghosts.len().saturating_sub(self.all().count());
            self.ghosts.drain(..surplus);
        }
        id
    }

    fn snapshot(&self) -> Vec<Remembered> {
        let main = self.main_held.iter().chain(&self.main);
        let small = self.small_held.iter().chain(&self.small);
        let main = main.map(|k| Remembered::Main { object: ObjectId(k.0), uses: k.2 });
        let small = small.map(|k| Remembered::Small { object: ObjectId(k.0), uses: k.2 });
        let ghosts = self.ghosts.iter().flatten();
        let ghosts =
            ghosts.map(|id| Remembered::Ghost { fingerprint: ObjectId(*id).fingerprint() });
        main.chain(small).chain(ghosts).collect()
    }
}

/// A policy and its model, living through the same.
struct Both {
    policy: Policy,
    model: Model,
    /// What may not go.
    leased: BTreeSet<u128>,
}

impl Both {
    fn new(kind: Kind) -> Self {
        let model = Model { is_lru: kind == Kind::Lru, ..Model::default() };
        Self { policy: Policy::new(kind, CAPACITY), model, leased: BTreeSet::new() }
    }

    fn step(&mut self, random: &mut Random) {
        let Self { policy, model, leased } = self;
        let id = u128::from(random.below(60));
        let bytes = [random.below(20), random.below(200)][random.below(2) as usize];
        match random.below(14) {
            0..=3 => {
                policy.insert(ObjectId(id), bytes);
                model.insert(id, bytes);
            }
            4..=6 => {
                policy.touch(ObjectId(id));
                model.touch(id);
            }
            7 => {
                policy.resize(ObjectId(id), bytes);
                model.resize(id, bytes);
            }
            8 if random.below(4) == 0 => {
                policy.remove(ObjectId(id));
                model.take(id);
            }
            9 if !leased.remove(&id) => {
                leased.insert(id);
            }
            12 => {
                leased.remove(&id);
                policy.let_go(ObjectId(id));
                model.let_go(id);
            }
            13 => {
                let victim = policy.victim_of_queues(|object| !leased.contains(&object.0));
                let expected = model.search(&|id| !leased.contains(&id));
                assert_eq!(victim.map(|object| object.0), expected);
            }
            _ => {
                let victim = policy.victim(|object| !leased.contains(&object.0));
                let expected = model.victim(|id| !leased.contains(&id));
                assert_eq!(victim.map(|object| object.0), expected);
            }
        }
        assert_eq!(policy.len(), model.all().count());
        assert_eq!(policy.bytes(), model.all().map(|known| known.1).sum::<u64>());
        assert!(policy.snapshot().eq(model.snapshot()), "a queue differs");
    }

    /// Goes on with a policy that was restored from the bytes of this one.
    fn restart(&mut self) {
        let (kind, pieces) = (self.policy.kind, self.policy.encode(false));
        if pieces.is_empty() {
            return;
        }
        let objects: Vec<_> = self.model.all().map(|k| (ObjectId(k.0), k.1)).collect();
        self.policy = Policy::restore(kind, CAPACITY, &snapshot(pieces), objects.into_iter().rev());
        let Model { small, main, small_held, main_held, ghosts, .. } = &mut self.model;
        main.splice(0..0, main_held.drain(..));
        small.splice(0..0, small_held.drain(..));
        // The bound holds at once, and those that were met again do not count.
        ghosts.retain(Option::is_some);
        ghosts.drain(..ghosts.len().saturating_sub(small.len() + main.len()));
        assert!(self.policy.snapshot().eq(self.model.snapshot()), "a restart changed a queue");
    }
}

#[test]
fn random_histories_agree_with_the_model() {
    for seed in 0..400 {
        for kind in [Kind::S3Fifo, Kind::Lru] {
            let mut random = Random(seed);
            let mut both = Both::new(kind);
            let told = std::panic::AssertUnwindSafe(|| {
                for _ in 0..500 {
                    both.step(&mut random);
                    if random.below(100) == 0 {
                        both.restart();
                    }
                }
            });
            let outcome = std::panic::catch_unwind(told);
            assert!(outcome.is_ok(), "{kind:?}, seed {seed}");
        }
    }
}

fn filled(kind: Kind, objects: u128) -> Policy {
    let mut policy = Policy::new(kind, objects as u64 * 10);
    (0..objects).for_each(|id| policy.insert(ObjectId(id), 10));
    policy
}

fn evict(policy: &mut Policy, count: usize) {
    for _ in 0..count {
        policy.victim(|_| true).expect("all may go");
    }
}

#[test]
fn a_search_ends_where_nothing_may_go_and_finds_what_is_released() {
    for kind in [Kind::S3Fifo, Kind::Lru] {
        let mut policy = filled(kind, 1000);
        (0..500).for_each(|id| policy.touch(ObjectId(id)));
        let mut asked = 0;
        for _ in 0..3 {
            let nothing = policy.victim(|_| {
                asked += 1;
                false
            });
            assert_eq!(nothing, None);
        }
        assert!(asked < 5000, "{kind:?}: {asked} questions");
        assert_eq!((policy.len(), policy.bytes()), (1000, 10_000));
        assert_eq!(policy.victim(|object| object.0 == 777), Some(ObjectId(777)));
    }
}

#[test]
fn many_held_objects_cost_a_search_no_more_than_a_few_questions() {
    for kind in [Kind::S3Fifo, Kind::Lru] {
        let mut policy = filled(kind, 2000);
        let mut asked = 0;
        for _ in 0..500 {
            let victim = policy.victim(|object| {
                asked += 1;
                object.0 >= 1000
            });
            assert!(victim.is_some_and(|object| object.0 >= 1000));
        }
        assert!(asked <= 1000 + 500 * (2 * ASKED_AGAIN + 1), "{kind:?}: {asked} questions");
    }
}

#[test]
fn where_who_may_go_is_let_go_nobody_is_asked_again() {
    for kind in [Kind::S3Fifo, Kind::Lru] {
        let mut policy = filled(kind, 1000);
        assert_eq!(policy.victim(|_| false), None);
        let refuse = |object| panic!("{object} was asked already");
        assert_eq!(policy.victim_of_queues(refuse), None);
        policy.let_go(ObjectId(777));
        policy.insert(ObjectId(1000), 10);
        let mut victims = std::iter::from_fn(|| {
            policy.victim_of_queues(|object| [777, 1000].contains(&object.0))
        });
        assert_eq!([victims.next(), victims.next()], [777, 1000].map(|id| Some(ObjectId(id))));
        assert_eq!(victims.next(), None, "{kind:?}");
    }
}

#[test]
fn who_was_passed_over_keeps_its_place() {
    for kind in [Kind::S3Fifo, Kind::Lru] {
        let mut policy = filled(kind, 10);
        assert_eq!(policy.victim(|object| object.0 != 0), Some(ObjectId(1)));
        assert_eq!(policy.victim(|_| true), Some(ObjectId(0)), "{kind:?}");
        assert_eq!(policy.victim(|_| true), Some(ObjectId(2)), "{kind:?}");
    }
}

#[test]
fn what_is_held_does_not_fill_the_small_queue() {
    let mut policy = filled(Kind::S3Fifo, 10);
    evict(&mut policy, 5);
    // Five of ten are in main, as they came back; the other five are new and held.
    (0..5).for_each(|id| policy.insert(ObjectId(id), 10));
    policy.insert(ObjectId(20), 1);
    let victim = policy.victim(|object| !(5..10).contains(&object.0));
    assert_eq!(victim, Some(ObjectId(0)), "one byte on trial is not a tenth of what is left");
}

#[test]
fn a_scan_passes_through_the_small_queue_only() {
    let mut policy = filled(Kind::S3Fifo, 100);
    (0..90).for_each(|id| (0..2).for_each(|_| policy.touch(ObjectId(id))));
    for id in 1000..5000 {
        policy.victim(|_| true).expect("all may go");
        policy.insert(ObjectId(id), 10);
    }
    let victims: Vec<_> = std::iter::from_fn(|| policy.victim(|_| true)).collect();
    assert_eq!(victims.iter().filter(|object| object.0 < 90).count(), 90);
}

#[test]
fn an_object_that_comes_back_is_not_on_trial_again() {
    let mut policy = filled(Kind::S3Fifo, 100);
    assert_eq!(policy.victim(|_| true), Some(ObjectId(0)));
    policy.remove(ObjectId(1));
    policy.insert(ObjectId(0), 10);
    policy.insert(ObjectId(1), 10);
    let is_main = |id| {
        let main = |r| matches!(r, Remembered::Main { object: ObjectId(found), .. } if found == id);
        policy.snapshot().any(main)
    };
    assert!(is_main(0) && !is_main(1), "what was removed leaves no ghost");
}

#[test]
fn large_objects_must_be_used_more_often_than_small_ones() {
    let proven = |bytes: u64, uses: usize| {
        let mut policy = Policy::new(Kind::S3Fifo, 2000);
        policy.insert(ObjectId(0), bytes);
        (1..100).for_each(|id| policy.insert(ObjectId(id), 10));
        (0..uses).for_each(|_| policy.touch(ObjectId(0)));
        policy.victim(|_| true) != Some(ObjectId(0))
    };
    assert_eq!([0, 1].map(|uses| proven(5, uses)), [false, true]);
    assert_eq!([1, 2].map(|uses| proven(10, uses)), [false, true]);
    assert_eq!([2, 3].map(|uses| proven(100, uses)), [false, true]);
}

#[test]
fn an_object_costs_about_forty_bytes_and_a_ghost_sixteen() {
    for kind in [Kind::S3Fifo, Kind::Lru] {
        let mut policy = Policy::new(kind, u64::MAX);
        let mut costs = Vec::new();
        for id in 0..300_000_u128 {
            policy.insert(ObjectId(id << 40), 1 << 20);
            if id >= 1000 {
                costs.push(policy.memory_bytes() as f64 / policy.len() as f64);
            }
        }
        let mean = costs.iter().sum::<f64>() / costs.len() as f64;
        let most = costs.iter().copied().fold(0.0, f64::max);
        assert!(mean < 43.0 && most < 47.0, "{mean:.1} in the mean, {most:.1} at most");
    }
    let mut policy = filled(Kind::S3Fifo, 100_000);
    let before = policy.memory_bytes();
    for id in 100_000..1_000_000 {
        policy.victim(|_| true).expect("all may go");
        policy.insert(ObjectId(id), 10);
    }
    let ghosts = policy.snapshot().filter(|r| matches!(r, Remembered::Ghost { .. })).count();
    assert!((99_000..=100_000).contains(&ghosts), "{ghosts} ghosts");
    let more = policy.memory_bytes() - before;
    assert!(more <= 16 * 100_000, "{more} bytes for 100,000 ghosts");
}

fn objects(ids: std::ops::Range<u128>) -> impl Iterator<Item = (ObjectId, u64)> {
    ids.map(|id| (ObjectId(id), 10))
}

#[test]
fn a_snapshot_of_many_pieces_comes_back_in_order() {
    let mut policy = filled(Kind::S3Fifo, 5000);
    (0..5000).filter(|id| id % 3 == 0).for_each(|id| {
        policy.touch(ObjectId(id));
        policy.touch(ObjectId(id));
    });
    evict(&mut policy, 1000);
    let pieces = policy.encode(false);
    assert!(pieces.len() >= 5 && pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
    assert!(policy.encode(false).is_empty(), "nothing changed since");
    let known = objects(0..5000).filter(|(object, _)| policy.nodes.find(*object).is_some());
    let restored = Policy::restore(Kind::S3Fifo, 50_000, &snapshot(&pieces), known);
    assert!(restored.snapshot().eq(policy.snapshot()));
    assert_eq!(restored.bytes(), policy.bytes());
    policy.touch(ObjectId(4999));
    assert_eq!(policy.encode(false).len(), pieces.len());
}

#[test]
fn the_last_whole_snapshot_counts_and_newer_objects_are_new() {
    let mut policy = filled(Kind::Lru, 2500);
    let first = policy.encode(false);
    policy.touch(ObjectId(0));
    let mut torn = policy.encode(false);
    assert_eq!(torn.len(), 3);
    torn.pop();
    let last = snapshot(first.iter().chain(&torn));
    let mut restored = Policy::restore(Kind::Lru, 1, &last, objects(0..2600));
    assert_eq!(restored.len(), 2600);
    assert_eq!(restored.victim(|_| true), Some(ObjectId(0)));
    let order: Vec<_> = std::iter::from_fn(|| restored.victim(|_| true)).map(|o| o.0).collect();
    assert!(order.into_iter().eq(1..2600));
}

/// A journal that was not compacted for an hour has seven hundred of them.
#[test]
fn snapshots_that_others_followed_take_no_memory() {
    let mut policy = filled(Kind::Lru, 2500);
    let mut found = Snapshot::default();
    for _ in 0..20 {
        policy.touch(ObjectId(0));
        policy.encode(false).iter().for_each(|piece| found.read(piece));
        assert!(found.memory_bytes() <= 2 * 2 * 2500 * 4, "{} bytes", found.memory_bytes());
    }
    let mut restored = Policy::restore(Kind::Lru, 1, &found, objects(0..2500));
    assert_eq!(restored.victim(|_| true), Some(ObjectId(1)));
}

fn snapshot(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Snapshot {
    pieces.into_iter().collect()
}

#[test]
fn what_is_no_whole_snapshot_does_not_count() {
    let mut policy = filled(Kind::Lru, 2500);
    policy.touch(ObjectId(0));
    let good = policy.encode(false);
    let mut restored = Policy::restore(Kind::Lru, 1, &snapshot(&good), objects(0..2500));
    assert_eq!(restored.victim(|_| true), Some(ObjectId(1)));
    let change = |piece: usize, change: fn(&mut Vec<u8>)| {
        let mut pieces = good.clone();
        change(&mut pieces[piece]);
        pieces
    };
    for bad in [
        change(0, |piece| piece[0] += 1),
        change(1, |piece| piece[8] += 1),
        change(1, |piece| piece[4] = 2),
        change(2, |piece| piece.push(0)),
        change(2, |piece| piece.extend([0; 4])),
        change(0, |piece| piece.truncate(PIECE_BYTES - 4)),
        vec![good[0].clone(), good[2].clone(), good[1].clone()],
        good[1..].to_vec(),
        good[..2].to_vec(),
    ] {
        let mut restored = Policy::restore(Kind::Lru, 1, &snapshot(bad), objects(0..2500));
        assert_eq!(restored.victim(|_| true), Some(ObjectId(0)));
    }
    // Objects that are gone do no harm.
    let mut few =
        Policy::restore(Kind::Lru, 1, &snapshot(&good), objects(0..3).chain(objects(9..10)));
    let order: Vec<_> = std::iter::from_fn(|| few.victim(|_| true)).map(|o| o.0).collect();
    assert_eq!(order, [1, 2, 9, 0]);
}

#[test]
fn a_snapshot_of_the_other_policy_is_of_use() {
    let mut policy = filled(Kind::S3Fifo, 100);
    (0..50).for_each(|id| (0..3).for_each(|_| policy.touch(ObjectId(id))));
    assert_eq!(policy.victim(|_| true), Some(ObjectId(50)));
    let lru = Policy::restore(Kind::Lru, 1000, &snapshot(policy.encode(false)), objects(0..100));
    let in_order: Vec<_> = lru.nodes.in_order(Place::Main).map(|s| lru.nodes.name(s).0).collect();
    assert_eq!(in_order[..50], (0..50).collect::<Vec<_>>(), "main comes before the trial");
    assert!(lru.snapshot().all(|r| matches!(r, Remembered::Main { uses: 0, .. })));
}

#[test]
fn arbitrary_pieces_are_passed_over() {
    let mut policy = filled(Kind::S3Fifo, 30);
    evict(&mut policy, 5);
    let good = policy.encode(false).remove(0);
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let mut piece = good.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(20) as usize;
            piece[at] = [0, 1, 0x7f, 0xff, random.below(256) as u8][random.below(5) as usize];
        }
        piece.truncate(random.below(200) as usize);
        let found = snapshot([&piece, &good, &piece]);
        let restored = Policy::restore(Kind::S3Fifo, 300, &found, objects(0..30));
        assert_eq!((restored.len(), restored.bytes()), (30, 300), "seed {seed}");
    }
}
