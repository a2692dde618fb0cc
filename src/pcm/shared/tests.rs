//! Who waits for whom, told without an executor: nothing here drives a decoder.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use super::*;
use crate::{
    bufpool::{Class, Options},
    decode::{Dither, Encoding, Quality},
    storage::Failure,
};

const WINDOW: u64 = 16_384;

fn renditions() -> (BufPool, Renditions) {
    let pool = BufPool::new(Options { budget_bytes: 8 << 20 });
    let renditions = Renditions::new(&pool);
    (pool, renditions)
}

fn listen(renditions: &Renditions, version: &str) -> Listening {
    listen_to(renditions, version, None)
}

/// Listens to a timeline of so many frames.
fn listen_to(renditions: &Renditions, version: &str, frames: Option<u64>) -> Listening {
    let (dither, quality) = (Dither::None, Quality::Good);
    let spec = Spec { rate_hz: 48_000, channels: 2, encoding: Encoding::S16le, dither, quality };
    let (version, track) = (version.to_owned(), 0);
    renditions.listen(TimelineKey { version, track, frames, spec }, frames)
}

fn window(pool: &BufPool, first: u64) -> Piece {
    let block = pool.take(Class::Large).unwrap().freeze(64 << 10);
    let cost = Duration::from_millis(1);
    Piece { first, frames: WINDOW, cost, is_torn: false, is_missing: false, block }
}

fn wanted(making: &Making) -> Option<(i64, bool)> {
    match making.call() {
        Call::Wanted { lead_us, is_first } => Some((lead_us, is_first)),
        Call::Idle | Call::Alone => None,
    }
}

#[test]
fn one_decoder_works_for_all_who_wait_and_stands_still_when_nobody_does() {
    let (pool, renditions) = renditions();
    let (one, other) = (listen(&renditions, "v"), listen(&renditions, "v"));
    let first = one.want(10, 500, false);
    assert!(matches!(first.look(), Look::Nobody));
    let making = one.begin(10);
    assert_eq!((making.from(), wanted(&making)), (0, Some((500, false))));
    let second = other.want(WINDOW + 5, -20, true);
    assert!(matches!(second.look(), Look::Coming));
    assert_eq!(wanted(&making), Some((-20, true)));
    making.put(window(&pool, 0));
    let Look::Piece(piece) = first.look() else { panic!("it is made") };
    assert_eq!((piece.range(), piece.cost), (0..WINDOW, Duration::from_millis(1)));
    let late = other.want(20, 0, false);
    let Look::Piece(piece) = late.look() else { panic!("it is here") };
    assert_eq!(piece.cost, Duration::ZERO, "this one did not wait for it");
    drop((first, late));
    assert_eq!(wanted(&making), Some((-20, true)));
    drop(second);
    assert_eq!(making.call(), Call::Idle);
    drop((one, other));
    assert_eq!(making.call(), Call::Alone);
}

#[test]
fn who_is_far_from_the_decoders_there_are_begins_another() {
    let (_pool, renditions) = renditions();
    let listener = listen(&renditions, "v");
    let _near = listener.begin(0);
    let far = listener.want(20 * WINDOW, 0, false);
    assert!(matches!(far.look(), Look::Nobody) && !listener.has_maker(20 * WINDOW));
    let second = listener.begin(20 * WINDOW);
    assert_eq!((second.from(), renditions.decoders()), (20 * WINDOW, 2));
    assert!(matches!(far.look(), Look::Coming));
    let other = listen(&renditions, "w");
    assert!(matches!(other.want(0, 0, true).look(), Look::Nobody), "another source");
}

#[test]
fn who_waits_for_one_that_is_given_up_fails_or_panics_hears_of_it() {
    let (_pool, renditions) = renditions();
    let listener = listen(&renditions, "v");
    let want = listener.want(0, 0, true);
    drop(listener.begin(0));
    assert!(matches!(want.look(), Look::Nobody));
    let gone = std::io::Error::other("the origin died");
    listener.begin(0).fail(&Error::Source(Failure::new(gone)));
    assert!(matches!(want.look(), Look::Failed(Error::Source(_))));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _making = listener.begin(0);
        panic!("of a decoder");
    }));
    assert!(panicked.is_err());
    let heard = want.look();
    assert!(matches!(heard, Look::Failed(Error::Decode(decode::Error::Panicked))), "{heard:?}");
}

#[test]
fn the_end_is_the_same_for_all_and_what_was_made_outlives_its_decoder() {
    let (pool, renditions) = renditions();
    let making = listen(&renditions, "v").begin(0);
    making.put(window(&pool, 0));
    making.end(WINDOW);
    let later = listen(&renditions, "v");
    assert!(matches!(later.want(5, 0, true).look(), Look::Piece(_)));
    assert!(matches!(later.want(WINDOW, 0, false).look(), Look::End));
    assert_eq!((later.end(), renditions.decoders()), (Some(WINDOW), 0));
    assert_eq!(renditions.stats().bytes, 64 << 10);
}

#[test]
fn who_jumps_leaves_a_decoder_alone_and_who_pauses_does_not() {
    let (pool, renditions) = renditions();
    let (pauses, jumps) = (listen(&renditions, "v"), listen(&renditions, "v"));
    let makings: Vec<_> = (0..3).map(|jump| jumps.begin(jump * 20 * WINDOW)).collect();
    for jump in [1, 2, 0] {
        makings[jump as usize].put(window(&pool, jump * 20 * WINDOW));
    }
    let alone = || jumps.timeline.alone().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(alone(), [makings[1].key], "both may come back to the last two");
    let next = jumps.want(100 * WINDOW, 0, true);
    assert_eq!(alone(), [makings[2].key, makings[1].key], "this one will not");
    drop(next);
    let back = jumps.want(21 * WINDOW, 0, false);
    assert_eq!(alone(), [makings[2].key], "one goes on, for one is waited");
    makings[1].put(window(&pool, 21 * WINDOW));
    let hits = renditions.stats().hits;
    assert_eq!(alone(), [makings[2].key], "it has been told, and comes back");
    assert_eq!(renditions.stats().hits, hits, "to look is no use of it");
    drop((pauses, back));
    assert_eq!(alone(), [makings[0].key, makings[2].key]);
}

#[test]
fn what_was_made_before_the_length_was_known_serves_who_knows_it() {
    let (pool, renditions) = renditions();
    let made_to = |version: &str, end: Option<u64>| {
        let making = listen(&renditions, version).begin(0);
        making.put(window(&pool, 0));
        if let Some(end) = end {
            making.end(end);
        }
    };
    let is_here = |version: &str, frames: Option<u64>| {
        let listener = listen_to(&renditions, version, frames);
        let want = listener.want(10, 0, true);
        matches!(want.look(), Look::Piece(_))
    };
    made_to("as long", Some(WINDOW));
    assert!(is_here("as long", Some(WINDOW)) && is_here("as long", Some(WINDOW)));
    made_to("longer than it was", Some(WINDOW));
    assert!(!is_here("longer than it was", Some(WINDOW + 1)));
    assert!(is_here("longer than it was", None), "it stays with those who do not know");
    made_to("not at its end", None);
    assert!(!is_here("not at its end", Some(WINDOW)));
}

#[test]
fn of_decoders_left_alone_those_are_kept_that_made_something_last_wherever_that_was() {
    let (pool, renditions) = renditions();
    let versions = ["u", "v", "w"];
    let makings = versions.map(|version| listen(&renditions, version).begin(0));
    for at in [2, 0, 1] {
        makings[at].put(window(&pool, 0));
    }
    let alone = |but_for| {
        let alone = renditions.table.alone(but_for).into_iter();
        let named = alone.map(|(timeline, _)| {
            makings.iter().position(|making| Rc::ptr_eq(&making.timeline, &timeline)).unwrap()
        });
        named.collect::<Vec<_>>()
    };
    assert_eq!((alone(0), alone(1), alone(3)), (vec![1, 0, 2], vec![0, 2], vec![]));
    let back = listen(&renditions, "w");
    assert_eq!(alone(1), [0], "somebody listens to that one");
    drop(back);
}

/// Windows that the store of these tests holds.
const STORE: u64 = 32;

/// Listeners, each at its own place, and the decoders that they need.
struct Crowd {
    pool: BufPool,
    renditions: Renditions,
    /// Those who are still there, and how many windows each has heard.
    listeners: Vec<Option<(Listening, u64)>>,
    makings: Vec<Making>,
    /// Windows that were made.
    made: u64,
}

impl Crowd {
    fn new() -> Self {
        let (pool, renditions) = renditions();
        Self { pool, renditions, listeners: Vec::new(), makings: Vec::new(), made: 0 }
    }

    /// One more begins to listen, and hears so many windows alone.
    fn joins(&mut self, version: &str, windows: u64) -> usize {
        self.listeners.push(Some((listen(&self.renditions, version), 0)));
        let listener = self.listeners.len() - 1;
        self.hears(listener, windows);
        listener
    }

    /// So many come, each so many windows after the one before.
    fn come(&mut self, count: usize, version: &str, lag: u64) {
        for _ in 0..count {
            self.joins(version, 0);
            self.all_hear(lag);
        }
    }

    /// All who are there hear so many windows, side by side.
    fn all_hear(&mut self, windows: u64) {
        for _ in 0..windows {
            (0..self.listeners.len()).for_each(|listener| self.hears(listener, 1));
        }
    }

    /// One hears so many windows. What is not here it waits for until it is made.
    fn hears(&mut self, listener: usize, windows: u64) {
        let Some((listening, heard)) = &mut self.listeners[listener] else { return };
        for number in *heard..*heard + windows {
            let want = listening.want(number * WINDOW, 0, false);
            while !matches!(want.look(), Look::Piece(_)) {
                if matches!(want.look(), Look::Nobody) {
                    self.makings.push(listening.begin(number * WINDOW));
                }
                let called = self.makings.iter().find(|making| wanted(making).is_some()).unwrap();
                let next = called.timeline.makings.borrow()[called.key].next;
                called.put(window(&self.pool, next));
                self.made += 1;
            }
        }
        *heard += windows;
    }

    fn leaves(&mut self, listener: usize) {
        self.listeners[listener] = None;
    }
}

#[test]
fn who_follows_within_what_the_store_holds_needs_no_decoder() {
    let mut crowd = Crowd::new();
    crowd.come(2, "v", STORE * 3 / 4);
    crowd.all_hear(10 * STORE);
    assert_eq!((crowd.made, crowd.makings.len() as u64), (10 * STORE + STORE * 3 / 2, 1));
}

#[test]
fn a_crowd_one_behind_another_needs_a_decoder_for_each_distance_that_does_not_fit() {
    // Of 19 distances there fit 28, 14 and 7. While one goes, another gains what it leaves, or loses.
    for (lag, decoders) in [(1, 1), (2, 20 - 14 + 2), (4, 20 - 7 + 4)] {
        let mut crowd = Crowd::new();
        crowd.come(20, "v", lag);
        let (begun, windows) = (crowd.made, 6 * STORE);
        crowd.all_hear(windows);
        let made = crowd.made - begun;
        assert!(made <= windows * decoders, "{lag}: {made} for {windows}");
    }
}

#[test]
fn who_is_too_far_behind_decodes_for_itself_and_takes_nothing_from_the_others() {
    let mut crowd = Crowd::new();
    crowd.joins("v", 4 * STORE);
    crowd.come(2, "v", STORE / 2);
    let begun = crowd.made;
    crowd.all_hear(10 * STORE);
    assert_eq!(crowd.made - begun, 2 * 10 * STORE, "one for the first, one for the two behind");
}

#[test]
fn what_one_who_left_had_heard_is_kept_for_who_comes_to_it() {
    let mut crowd = Crowd::new();
    crowd.come(2, "v", STORE / 2);
    crowd.all_hear(2 * STORE);
    crowd.leaves(0);
    let made = crowd.made;
    crowd.joins("w", STORE);
    crowd.hears(1, STORE / 2);
    assert_eq!(crowd.made - made, STORE, "those of the other source alone");
}

#[test]
fn for_who_pauses_nothing_is_kept() {
    let mut crowd = Crowd::new();
    let (leaves, _pauses) = (crowd.joins("v", STORE / 2), crowd.joins("v", 1));
    crowd.leaves(leaves);
    crowd.joins("w", 2 * STORE);
    let (first, begun) = (crowd.joins("x", STORE * 3 / 4), crowd.made);
    let second = crowd.joins("x", 0);
    for _ in 0..4 * STORE {
        crowd.hears(first, 1);
        crowd.hears(second, 1);
    }
    assert_eq!(crowd.made - begun, 4 * STORE);
}

#[test]
fn of_what_others_lack_memory_for_that_goes_first_to_which_nobody_comes() {
    let mut crowd = Crowd::new();
    crowd.come(2, "v", STORE * 3 / 8);
    crowd.all_hear(2 * STORE);
    let (made, mut lacked) = (crowd.made, Vec::new());
    while crowd.renditions.stats().given_back < STORE / 2 {
        lacked.push(crowd.pool.take(Class::Large).unwrap());
    }
    crowd.hears(1, STORE * 3 / 8);
    assert_eq!(crowd.made, made);
    crowd.makings.clear();
    while crowd.renditions.stats().bytes > 0 {
        lacked.push(crowd.pool.take(Class::Large).unwrap());
    }
}
