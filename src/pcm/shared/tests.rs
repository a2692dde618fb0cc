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
    Piece { first, frames: WINDOW, cost: Duration::from_millis(1), block }
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
    assert_eq!(alone(), [makings[2].key], "it has been told, and comes back");
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
