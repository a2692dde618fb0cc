//! What the sessions of a shard are promised of its core. Each counts as one second of audio per
//! second at the measured cost of its conversion, so that who was let in is not late because of
//! those that came after it.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! What a session decodes beyond its pace is not counted: it is done with what the others leave
//! (`schedule`). Nor does it spoil a cost, which is time of the core per time of audio, whenever
//! that is made. What is learnt of a conversion counts at once for all of its sessions: a crowd that
//! found a node which knew nothing yet is counted right as soon as it plays.

use std::{cell::RefCell, collections::HashMap, ops::Add, rc::Rc, time::Duration};

use crate::{
    decode::Quality,
    encode::Coding,
    pcm::Rendition,
    runtime::event::{Event, Listener},
};

/// What a conversion counts before it was measured, where none of its codec was: a few times what
/// plain stereo takes, which at 48 kHz was 1.3 ms a second in bulk (`cargo bench --bench latency`:
/// 772 s of audio a second) and up to half more at pace.
const UNMEASURED_SHARE: f64 = 0.01;
/// How much audio that guess stands for, in seconds: less than one block of it, so that it is soon
/// outweighed.
const GUESS_S: f64 = 0.25;
/// How much audio a mean remembers, in seconds: a sole listener's last minute.
const MEMORY_S: f64 = 60.0;
/// A block that took so many times the mean is an exception: tables that were cold, pages that were
/// new. It counts as no more, and as that, so that a cost which really rose is believed in the end.
const OUTLIER: f64 = 4.0;
/// Conversions that are remembered though nobody listens to them.
const IDLE_CONVERSIONS: usize = 64;

/// What decides the cost of a second of audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Conversion {
    codec: &'static str,
    /// Rate and channels of the source.
    from: (u32, u16),
    /// Rate and channels of the answer.
    to: (u32, u16),
    /// Of the resampler, where there is one.
    quality: Option<Quality>,
    /// Of an encoder, what it does.
    coding: Option<Coding>,
}

impl Conversion {
    pub(super) fn of(rendition: &Rendition) -> Self {
        let Rendition { info, spec, .. } = rendition;
        Self {
            codec: info.codec,
            from: (info.rate_hz, info.channels.count),
            to: (spec.rate_hz, spec.channels),
            quality: Some(spec.quality).filter(|_| info.rate_hz != spec.rate_hz),
            coding: None,
        }
    }

    /// Of PCM to what it is encoded as.
    pub(super) fn encoding(rendition: &Rendition) -> Self {
        let (to, coding) =
            ((rendition.spec.rate_hz, rendition.spec.channels), rendition.format.coding());
        Self { codec: rendition.format.name(), from: to, to, quality: None, coding }
    }
}

/// What is promised of a core; 1 is all of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promised {
    /// Sessions that decode.
    pub sessions: usize,
    /// What they take at their pace.
    pub share: f64,
    /// What they may take.
    pub share_at_most: f64,
}

/// The account of one shard.
#[derive(Debug)]
pub(super) struct Shares {
    at_most: f64,
    costs: Rc<RefCell<Costs>>,
    more: Event,
}

impl Shares {
    pub(super) fn new(at_most: f64) -> Self {
        Self { at_most, costs: Rc::default(), more: Event::new() }
    }

    /// Promises a session what its conversion costs; `None` where that could not be kept. Who is
    /// alone is let in at any cost.
    pub(super) fn give(&self, conversion: Conversion) -> Option<Share> {
        let Promised { sessions, share, share_at_most } = self.promised();
        let costs = self.costs.borrow();
        if sessions > 0 && share + costs.share_of(&conversion) > share_at_most {
            return None;
        }
        drop(costs);
        Some(self.keep(conversion))
    }

    /// Promises it to who was let in before and goes on, whether that can be kept or not.
    pub(super) fn keep(&self, conversion: Conversion) -> Share {
        self.costs.borrow_mut().enter(conversion);
        Share { costs: Rc::clone(&self.costs), conversion, more: self.more.clone() }
    }

    /// Ready once more can be promised than before this call.
    pub(super) fn more(&self) -> Listener {
        self.more.listen()
    }

    pub(super) fn promised(&self) -> Promised {
        let costs = self.costs.borrow();
        let all = costs.by_conversion.values();
        Promised {
            sessions: all.clone().map(|cost| cost.sessions).sum(),
            // A sum of nothing would be -0.
            share: all.map(|cost| cost.sessions as f64 * cost.share).fold(0.0, Add::add),
            share_at_most: self.at_most,
        }
    }
}

/// A session's share of the core. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Share {
    costs: Rc<RefCell<Costs>>,
    conversion: Conversion,
    more: Event,
}

impl Share {
    /// So much `audio` was made in so much time of the core.
    pub(super) fn measured(&self, decode: Duration, audio: Duration) {
        let mut costs = self.costs.borrow_mut();
        let cost = costs.by_conversion.get_mut(&self.conversion);
        cost.expect("kept while it has a session").measured(decode, audio);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.costs.borrow_mut().leave(self.conversion);
        self.more.notify_all();
    }
}

/// What conversions cost: those with a session, and of the others those that had one last. So there
/// are no more than sessions, whatever sources clients find, and [`IDLE_CONVERSIONS`].
#[derive(Debug, Default)]
struct Costs {
    by_conversion: HashMap<Conversion, Cost>,
    /// Counts sessions that left.
    left: u64,
}

impl Costs {
    /// The mean of a conversion; of a new one a guess, for which the dearest of its codec stands.
    fn share_of(&self, conversion: &Conversion) -> f64 {
        let known = self.by_conversion.get(conversion).map(|cost| cost.share);
        known.unwrap_or_else(|| {
            let all = self.by_conversion.iter();
            let of_codec = all.filter(|(other, _)| other.codec == conversion.codec);
            let dearest = of_codec.map(|(_, cost)| cost.share).reduce(f64::max);
            dearest.unwrap_or(UNMEASURED_SHARE)
        })
    }

    fn enter(&mut self, conversion: Conversion) {
        let share = self.share_of(&conversion);
        let new = Cost { share, audio_s: GUESS_S, sessions: 0, left: 0 };
        self.by_conversion.entry(conversion).or_insert(new).sessions += 1;
    }

    fn leave(&mut self, conversion: Conversion) {
        self.left += 1;
        let cost = self.by_conversion.get_mut(&conversion).expect("kept while it has a session");
        cost.sessions -= 1;
        cost.left = self.left;
        let idle = || self.by_conversion.iter().filter(|(_, cost)| cost.sessions == 0);
        if idle().count() > IDLE_CONVERSIONS
            && let Some(oldest) = idle().min_by_key(|(_, cost)| cost.left).map(|(key, _)| *key)
        {
            self.by_conversion.remove(&oldest);
        }
    }
}

/// What a conversion costs.
#[derive(Debug)]
struct Cost {
    /// Time of the core per time of audio: the mean of the audio before.
    share: f64,
    /// How much that is, in seconds.
    audio_s: f64,
    /// Who listens to it now.
    sessions: usize,
    /// When a session left it, as [`Costs`] counts.
    left: u64,
}

impl Cost {
    fn measured(&mut self, decode: Duration, audio: Duration) {
        if audio.is_zero() {
            return;
        }
        let audio_s = audio.as_secs_f64();
        let share = (decode.as_secs_f64() / audio_s).min(OUTLIER * self.share);
        self.audio_s += audio_s;
        self.share += (share - self.share) * (audio_s / self.audio_s);
        self.audio_s = self.audio_s.min(MEMORY_S);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::random::Random;

    const BLOCK: Duration = Duration::from_millis(250);

    fn conversion(codec: &'static str, to_hz: u32) -> Conversion {
        let quality = Some(Quality::Good);
        Conversion { codec, from: (44_100, 2), to: (to_hz, 2), quality, coding: None }
    }

    fn mp3() -> Conversion {
        conversion("mp3", 48_000)
    }

    /// A minute of audio and more, each block in so much time.
    fn plays(share: &Share, block_ms: f64) {
        (0..1000).for_each(|_| share.measured(Duration::from_secs_f64(block_ms / 1e3), BLOCK));
    }

    fn is_about(shares: &Shares, share: f64) -> bool {
        (shares.promised().share / share - 1.0).abs() < 0.02
    }

    #[test]
    fn no_more_is_promised_than_there_is_and_what_is_given_up_is_there_again() {
        let shares = Shares::new(3.5 * UNMEASURED_SHARE);
        let mut held: Vec<_> = (0..3).map(|_| shares.give(mp3()).unwrap()).collect();
        assert!(shares.give(mp3()).is_none());
        assert!(shares.give(conversion("flac", 48_000)).is_none());
        held.pop();
        assert!(shares.give(mp3()).is_some());
    }

    #[test]
    fn who_is_alone_is_let_in_at_any_cost() {
        let shares = Shares::new(0.85);
        let alone = shares.give(mp3()).unwrap();
        plays(&alone, 1000.0);
        assert!(is_about(&shares, 4.0) && shares.give(mp3()).is_none());
        drop(alone);
        assert!(shares.give(mp3()).is_some());
    }

    #[test]
    fn what_is_learnt_counts_for_all_who_are_there() {
        let shares = Shares::new(0.85);
        let crowd: Vec<_> = std::iter::from_fn(|| shares.give(mp3())).collect();
        assert_eq!(crowd.len(), (0.85 / UNMEASURED_SHARE) as usize);
        plays(&crowd[0], 0.5);
        assert!(is_about(&shares, 0.002 * crowd.len() as f64));
        let more = std::iter::from_fn(|| shares.give(mp3())).collect::<Vec<_>>().len();
        assert!((410..=425).contains(&(crowd.len() + more)), "{more} more");
    }

    #[test]
    fn how_fast_a_session_reads_changes_nothing() {
        let shares = Shares::new(0.85);
        let [paced, greedy] = [(); 2].map(|()| shares.give(mp3()).unwrap());
        for _ in 0..1000 {
            paced.measured(BLOCK / 100, BLOCK);
            (0..100).for_each(|_| greedy.measured(BLOCK / 100, BLOCK));
        }
        assert!(is_about(&shares, 0.02));
    }

    #[test]
    fn one_that_was_never_measured_counts_as_the_dearest_of_its_codec() {
        let shares = Shares::new(0.85);
        for (to_hz, block_ms) in [(48_000, 0.5), (96_000, 7.5), (44_100, 0.25)] {
            plays(&shares.give(conversion("mp3", to_hz)).unwrap(), block_ms);
        }
        let _new = shares.give(conversion("mp3", 192_000)).unwrap();
        assert!(is_about(&shares, 0.03));
        let _other = shares.give(conversion("flac", 192_000)).unwrap();
        assert!(is_about(&shares, 0.03 + UNMEASURED_SHARE));
    }

    #[test]
    fn a_guess_is_soon_outweighed_and_an_exception_moves_a_mean_but_little() {
        let shares = Shares::new(0.85);
        let share = shares.give(mp3()).unwrap();
        (0..12).for_each(|_| share.measured(BLOCK / 500, BLOCK));
        assert!(shares.promised().share < 0.003, "after three seconds {:?}", shares.promised());
        plays(&share, 0.5);
        share.measured(Duration::from_secs(10), BLOCK);
        assert!(is_about(&shares, 0.002), "{:?}", shares.promised());
        // Half of the core is taken by another process for long.
        plays(&share, 1.0);
        assert!(is_about(&shares, 0.004), "{:?}", shares.promised());
    }

    #[test]
    fn time_without_audio_is_no_cost() {
        let shares = Shares::new(0.85);
        let share = shares.give(mp3()).unwrap();
        share.measured(BLOCK, Duration::ZERO);
        assert!(is_about(&shares, UNMEASURED_SHARE));
    }

    #[test]
    fn of_conversions_without_a_session_those_heard_last_are_remembered() {
        let shares = Shares::new(f64::INFINITY);
        let stays = shares.give(conversion("flac", 1)).unwrap();
        for to_hz in 0..1000 {
            drop(shares.give(conversion("mp3", to_hz)).unwrap());
        }
        let costs = shares.costs.borrow();
        let is_known = |to_hz| costs.by_conversion.contains_key(&conversion("mp3", to_hz));
        assert_eq!(costs.by_conversion.len(), 1 + IDLE_CONVERSIONS);
        assert!((1000 - 64..1000).all(is_known) && !(0..1000 - 64).any(is_known));
        drop(costs);
        plays(&stays, 1.0);
    }

    #[test]
    fn in_any_history_those_who_are_there_are_counted_and_no_others() {
        for seed in 1..=200 {
            let (mut random, shares) = (Random(seed), Shares::new(0.2));
            let mut held: Vec<(u32, Share)> = Vec::new();
            for _ in 0..300 {
                let to_hz = random.below(100) as u32;
                match random.below(3) {
                    0 if !held.is_empty() => {
                        held.swap_remove(random.below(held.len() as u64) as usize);
                    }
                    1 if !held.is_empty() => {
                        let (_, share) = &held[random.below(held.len() as u64) as usize];
                        share.measured(Duration::from_micros(random.below(20_000)), BLOCK);
                    }
                    _ => {
                        let before = shares.promised();
                        let cost = shares.costs.borrow().share_of(&conversion("mp3", to_hz));
                        let share = shares.give(conversion("mp3", to_hz));
                        let fits = held.is_empty() || before.share + cost <= 0.2;
                        assert_eq!(share.is_some(), fits, "seed {seed}");
                        held.extend(share.map(|share| (to_hz, share)));
                    }
                }
                let costs = shares.costs.borrow();
                let cost = |to_hz| costs.by_conversion[&conversion("mp3", to_hz)].share;
                let sum: f64 = held.iter().map(|(to_hz, _)| cost(*to_hz)).sum();
                let promised = shares.promised();
                assert_eq!(promised.sessions, held.len(), "seed {seed}");
                assert!((promised.share - sum).abs() < 1e-9, "seed {seed}");
                let idle = costs.by_conversion.values().filter(|cost| cost.sessions == 0).count();
                assert!(idle <= IDLE_CONVERSIONS, "seed {seed}");
            }
        }
    }
}
