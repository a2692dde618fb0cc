//! Stories of a session whose variants are 64, 128 and 320 kbit/s.

use std::time::Duration;

use super::{
    Coming, Controller, Decision, Epoch, Estimate, Fetch, First, Ladder, Mode, NoVariant, Reason,
    SegmentIndex, Situation, Stale, VariantIndex,
};

const LOW: VariantIndex = VariantIndex(0);
const MIDDLE: VariantIndex = VariantIndex(1);
const HIGH: VariantIndex = VariantIndex(2);

/// The fetch of a segment of the highest variant, which has just begun.
const FETCH: Fetch =
    Fetch { variant: HIGH, bytes: None, got: 0, pace: None, silent: Duration::ZERO };

/// What a session sees.
struct Listening {
    ladder: Ladder,
    controller: Controller,
    /// Expected of the origin, kbit/s; none before anything came.
    carries: Option<f64>,
    ahead_seconds: u64,
    segment: u32,
    epoch: u32,
}

fn listening(mode: Mode) -> Listening {
    Listening {
        ladder: Ladder::new(&[64_000, 128_000, 320_000]),
        controller: Controller::new(mode, First::Bandwidth(130_000)),
        carries: Some(1000.0),
        ahead_seconds: 12,
        segment: 0,
        epoch: 0,
    }
}

impl Listening {
    fn with<T>(&mut self, what: impl FnOnce(&mut Controller, &Situation<'_>) -> T) -> T {
        let estimate =
            |kbits: f64| Estimate { bandwidth: kbits * 1e3, rise: 0.0, spread: 0.3, latency: 0.05 };
        let situation = Situation {
            ladder: &self.ladder,
            estimate: self.carries.map(estimate),
            segment: SegmentIndex(self.segment),
            epoch: Epoch(self.epoch),
            ahead: Duration::from_secs(self.ahead_seconds),
            capacity: Duration::from_secs(25),
            coming: Coming {
                segments: 150 - self.segment,
                duration: Duration::from_secs(4),
                sizes: &|_, _| None,
            },
        };
        what(&mut self.controller, &situation)
    }

    fn decide(&mut self) -> Decision {
        self.with(|controller, situation| controller.decide(situation)).expect("one is left")
    }

    fn apply(&mut self, decision: &Decision) -> Result<(), Stale> {
        self.with(|controller, situation| controller.apply(decision, situation))
    }

    /// Plays a segment; which variant and why.
    fn next(&mut self) -> (VariantIndex, Reason) {
        let decision = self.decide();
        self.apply(&decision).expect("nothing happened in between");
        self.segment += 1;
        (decision.variant, decision.reason)
    }

    fn give_up(&mut self, bytes: u64, got: u64) -> Option<Decision> {
        self.give_up_of(&Fetch { bytes: Some(bytes), got, ..FETCH })
    }

    fn give_up_of(&mut self, fetch: &Fetch) -> Option<Decision> {
        self.with(|controller, situation| controller.give_up(situation, fetch))
    }
}

#[test]
fn the_first_variant_is_what_the_option_says() {
    let mut session = listening(Mode::Auto);
    session.carries = None;
    assert_eq!(session.next(), (MIDDLE, Reason::Assumed { bandwidth: 130_000 }));
    assert_eq!(session.next(), (MIDDLE, Reason::Unknown), "and it stays while nothing is known");
    session.controller = Controller::new(Mode::Auto, First::Variant(HIGH));
    assert_eq!(session.next(), (HIGH, Reason::Named));
    session.controller = Controller::new(Mode::Auto, First::Bandwidth(10));
    assert_eq!(session.next().0, LOW);
}

#[test]
fn the_highest_variant_is_played_that_the_origin_carries() {
    let mut session = listening(Mode::Auto);
    for (carries, variant) in [(1000.0, HIGH), (160.0, MIDDLE), (50.0, LOW), (1000.0, HIGH)] {
        session.carries = Some(carries);
        session.ahead_seconds = if carries < 100.0 { 2 } else { 12 };
        assert_eq!(session.next().0, variant, "{carries} kbit/s");
    }
}

#[test]
fn a_reason_says_what_was_seen() {
    let mut session = listening(Mode::Auto);
    session.next();
    assert_eq!(session.next().1.to_string(), "kept at 1000 kbit/s, 12.0 s ahead");
    (session.carries, session.ahead_seconds) = (Some(50.0), 2);
    assert_eq!(session.next().1.to_string(), "down at 50 kbit/s, 2.0 s ahead");
    session.carries = Some(1000.0);
    assert_eq!(session.next().1.to_string(), "up at 1000 kbit/s, 2.0 s ahead");
}

#[test]
fn known_sizes_count_for_more_than_the_bandwidth_of_a_playlist() {
    let mut session = listening(Mode::Auto);
    (session.carries, session.ahead_seconds) = (Some(100.0), 5);
    let variant = session.with(|controller, situation| {
        // The piece is silent from here on, and a segment of the highest variant takes 4 kB.
        let coming = Coming { sizes: &|_, _| Some(4000), ..situation.coming };
        controller.decide(&Situation { coming, ..*situation }).map(|decision| decision.variant)
    });
    assert_eq!(variant, Ok(HIGH));
    assert_ne!(session.next().0, HIGH);
}

#[test]
fn a_dead_variant_is_left() {
    let mut session = listening(Mode::Auto);
    assert_eq!(session.next().0, HIGH);
    session.controller.lose(HIGH);
    assert_eq!(session.next(), (MIDDLE, Reason::Escape { from: HIGH }));
    assert_eq!(session.next().0, MIDDLE, "and not gone back to");
    session.controller.regain(HIGH);
    assert_eq!(session.next().0, HIGH, "until it may be there again");
    session.controller.lose(HIGH);
    session.next();
    session.controller.lose(MIDDLE);
    assert_eq!(session.next(), (LOW, Reason::Escape { from: MIDDLE }));
    assert_eq!(session.next(), (LOW, Reason::Only));
    session.controller.lose(LOW);
    assert_eq!(session.with(|controller, situation| controller.decide(situation)), Err(NoVariant));
}

#[test]
fn a_fixed_variant_is_kept_or_fails() {
    let mut session = listening(Mode::Fixed(HIGH));
    (session.carries, session.ahead_seconds) = (Some(10.0), 0);
    assert_eq!(session.next(), (HIGH, Reason::Named));
    assert_eq!(session.give_up(160_000, 1000), None);
    session.controller.lose(HIGH);
    assert_eq!(session.with(|controller, situation| controller.decide(situation)), Err(NoVariant));
}

#[test]
fn a_limit_holds_however_much_the_origin_carries() {
    let mut session = listening(Mode::Max(200_000));
    session.carries = Some(100_000.0);
    assert_eq!(session.next().0, MIDDLE);
    session.controller.lose(MIDDLE);
    assert_eq!(session.next().0, LOW);
}

#[test]
fn a_stalled_fetch_is_given_up_only_where_that_helps() {
    let mut session = listening(Mode::Auto);
    (session.carries, session.ahead_seconds) = (Some(40.0), 8);
    let decision = session.give_up(160_000, 10_000).expect("150 kB would take 30 s, 32 kB take 6");
    let reason = Reason::Stalled { from: HIGH, got: 10_000, bytes: 160_000 };
    assert_eq!((decision.variant, decision.reason), (LOW, reason));
    assert_eq!(session.give_up(160_000, 150_000), None, "the rest is smaller than any other");
    assert_eq!(session.give_up(160_000, 126_000), None, "the rest takes 7 s, and 8 are there");
    session.ahead_seconds = 24;
    session.carries = Some(400.0);
    assert_eq!(session.give_up(160_000, 10_000), None, "it will be there in time");
}

/// For how many seconds of a fetch nothing comes before it is given up, while what is there is played; and for which
/// variant. None: it is waited for to the last second.
fn given_up_after(session: &mut Listening, fetch: Fetch) -> Option<(u64, VariantIndex)> {
    let ahead = session.ahead_seconds;
    (0..ahead).find_map(|seconds| {
        session.ahead_seconds = ahead - seconds;
        let silent = Duration::from_secs(seconds);
        let instead = session.give_up_of(&Fetch { silent, ..fetch })?;
        Some((seconds, instead.variant))
    })
}

#[test]
fn a_fetch_of_which_nothing_comes_is_given_up_while_there_is_time_for_another() {
    let begun = Fetch { bytes: Some(160_000), got: 80_000, ..FETCH };
    for fetch in [FETCH, begun, Fetch { bytes: Some(160_000), ..FETCH }] {
        for carries in [None, Some(1000.0)] {
            let mut session = listening(Mode::Auto);
            session.carries = carries;
            let (seconds, variant) = given_up_after(&mut session, fetch).expect("it is dead");
            assert!((3..=9).contains(&seconds), "{fetch:?} {carries:?}: after {seconds} s of 12");
            assert!(variant < HIGH, "{fetch:?} {carries:?}");
        }
    }
}

#[test]
fn a_hush_that_is_no_more_than_latency_is_none() {
    let mut session = listening(Mode::Auto);
    let silent = Duration::from_millis(900);
    for (carries, ahead_seconds) in [(Some(1000.0), 1), (None, 0)] {
        (session.carries, session.ahead_seconds) = (carries, ahead_seconds);
        assert_eq!(session.give_up_of(&Fetch { silent, ..FETCH }), None, "{carries:?}");
    }
}

#[test]
fn below_a_dead_variant_that_is_the_lowest_there_is_a_higher_one() {
    let mut session = listening(Mode::Auto);
    let fetch = Fetch { variant: LOW, ..FETCH };
    let (seconds, variant) = given_up_after(&mut session, fetch).expect("it is dead");
    assert!((3..=9).contains(&seconds) && variant > LOW, "after {seconds} s: {variant}");
    session.ahead_seconds = 2;
    let slow = Fetch { pace: Some(1_000.0), got: 100, ..fetch };
    assert_eq!(session.give_up_of(&slow), None, "what comes slowly is all that there is");
}

#[test]
fn a_fetch_that_is_slower_than_its_origin_is_given_up_by_its_own_pace() {
    let mut session = listening(Mode::Auto);
    session.ahead_seconds = 8;
    let fetch = Fetch { bytes: Some(160_000), got: 10_000, ..FETCH };
    assert_eq!(session.give_up_of(&fetch), None, "the line carries it");
    let slow = Fetch { pace: Some(40e3), ..fetch };
    assert!(session.give_up_of(&slow).is_some_and(|decision| decision.variant < HIGH));
    session.carries = None;
    assert!(session.give_up_of(&slow).is_some_and(|decision| decision.variant < HIGH));
}

#[test]
fn what_was_given_up_is_replaced_though_the_line_came_back() {
    let mut session = listening(Mode::Auto);
    (session.carries, session.ahead_seconds) = (Some(40.0), 8);
    let decision = session.give_up(160_000, 10_000).expect("it is late");
    session.carries = Some(1000.0);
    assert_eq!(session.apply(&decision), Ok(()));
    assert_eq!(session.controller.current(), Some(LOW));
}

#[test]
fn a_decision_that_no_longer_holds_is_not_applied() {
    let mut session = listening(Mode::Auto);
    let high = session.decide();
    assert_eq!(high.variant, HIGH);

    (session.carries, session.ahead_seconds) = (Some(50.0), 2);
    assert_eq!(session.apply(&high), Err(Stale::Overtaken { by: LOW }));
    (session.carries, session.ahead_seconds) = (Some(1000.0), 12);
    session.segment = 1;
    assert_eq!(session.apply(&high), Err(Stale::Passed));
    (session.segment, session.epoch) = (0, 1);
    assert_eq!(session.apply(&high), Err(Stale::Jumped));
    session.epoch = 0;
    session.controller.lose(HIGH);
    assert_eq!(session.apply(&high), Err(Stale::Gone));

    assert_eq!(session.controller.current(), None, "and nothing has changed");
}

#[test]
fn there_are_lines_on_which_each_of_two_variants_is_kept() {
    let mut session = listening(Mode::Auto);
    let is_kept = |session: &mut Listening, variant| {
        session.controller = Controller::new(Mode::Auto, First::Variant(variant));
        let carries = session.carries.take();
        session.next();
        session.carries = carries;
        session.decide().variant == variant
    };
    let keeps_both = (100..400).any(|kbits| {
        session.carries = Some(f64::from(kbits));
        session.segment = 0;
        is_kept(&mut session, MIDDLE) && is_kept(&mut session, HIGH)
    });
    assert!(keeps_both);
}

#[test]
fn a_switch_up_has_to_be_worth_it_in_what_is_still_to_come() {
    let mut session = listening(Mode::Auto);
    session.carries = None;
    session.segment = 148;
    assert_eq!(session.next().0, MIDDLE);
    session.carries = Some(1000.0);
    assert_eq!(session.decide().variant, MIDDLE, "one segment is not worth a second decoder");
    session.segment = 100;
    assert_eq!(session.decide().variant, HIGH);
}

#[test]
fn a_rise_that_was_just_seen_counts() {
    let mut session = listening(Mode::Auto);
    (session.carries, session.ahead_seconds) = (Some(60.0), 8);
    assert_eq!(session.decide().variant, LOW);
    let variant = session.with(|controller, situation| {
        let estimate = situation.estimate.map(|estimate| Estimate { rise: 2.0, ..estimate });
        controller.decide(&Situation { estimate, ..*situation }).map(|decision| decision.variant)
    });
    assert_eq!(variant, Ok(HIGH));
}

#[test]
fn the_state_of_a_session_is_small() {
    assert!(size_of::<Controller>() <= 48, "{}", size_of::<Controller>());
}

#[test]
fn nothing_in_a_situation_makes_a_decision_impossible() {
    let mut session = listening(Mode::Auto);
    for carries in [0.001, 1.0, 1e9] {
        for ahead_seconds in [0, 1, 1_000_000] {
            for segment in [0, 149, 150] {
                session.carries = Some(carries);
                session.ahead_seconds = ahead_seconds;
                session.segment = segment;
                let _ = session.decide();
                let _ = session.give_up(u64::MAX, 0);
                let _ = session.give_up(0, 1);
                for pace in [None, Some(0.0), Some(1e9)] {
                    for silent in [Duration::ZERO, Duration::MAX] {
                        let _ = session.give_up_of(&Fetch { pace, silent, ..FETCH });
                    }
                }
            }
        }
    }
}
