//! What the lines to origins carry, by what came over them.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Of each line one shard has the estimator of the node. The others tell it what came over theirs, and are told what
//! is to be expected; [`Told`] is what waits to be told to one of them.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
    time::Instant,
};

use url::Url;

use crate::{
    hls::abr::{Estimate, Estimator, Sample},
    runtime::ShardId,
};

/// Lines that are kept in mind: to the hosts of those origins that are configured, and more only where there are
/// very many.
const LINES: usize = 1024;

/// Samples that wait to be told to one shard. What comes beyond that says hardly more.
const SAMPLES: usize = 256;

/// The lines of one shard.
pub(super) struct Lines {
    own: ShardId,
    /// Those whose estimators are here.
    estimators: RefCell<HashMap<Rc<str>, Estimator>>,
    /// What is expected of any.
    estimates: RefCell<HashMap<Rc<str>, Estimate>>,
    /// By shard.
    peers: Vec<Peer>,
}

/// Another shard.
#[derive(Default)]
struct Peer {
    to_tell: RefCell<Told>,
    /// It was told something, and has not said that it heard it.
    is_told: Cell<bool>,
}

/// What one shard tells another.
#[derive(Debug, Default)]
pub struct Told {
    /// What came over lines whose estimators the other has.
    heard: Vec<(Box<str>, Heard)>,
    /// What is expected of those whose estimators this one has.
    expected: HashMap<Box<str>, Estimate>,
}

/// What came over a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) sample: Sample,
    /// When it had come.
    pub(super) at: Instant,
    /// It is all that came of a fetch, of whose begin this was expected.
    pub(super) whole: Option<Option<Estimate>>,
}

impl Lines {
    /// Those of one of so many shards.
    pub(super) fn new(own: ShardId, shards: usize) -> Self {
        let peers = (0..shards).map(|_| Peer::default()).collect();
        Self { own, estimators: RefCell::default(), estimates: RefCell::default(), peers }
    }

    /// What is expected of a line, if anything came over it.
    pub(super) fn estimate(&self, line: &str) -> Option<Estimate> {
        self.estimates.borrow().get(line).copied()
    }

    /// Something came over a line.
    pub(super) fn hear(&self, line: &Rc<str>, heard: Heard) {
        match self.home(line) {
            home if home == self.own => self.learn(line, heard),
            home => {
                let mut told = self.peers[usize::from(home.0)].to_tell.borrow_mut();
                if told.heard.len() < SAMPLES {
                    told.heard.push((Box::from(&**line), heard));
                }
            }
        }
    }

    /// What is to be told to another shard now, if anything is and it has heard what it was told before.
    pub(super) fn tell(&self, peer: ShardId) -> Option<Told> {
        let peer = &self.peers[usize::from(peer.0)];
        if peer.is_told.get() || peer.to_tell.borrow().is_empty() {
            return None;
        }
        peer.is_told.set(true);
        Some(peer.to_tell.take())
    }

    /// Whether something waits to be told to anybody who listens.
    pub(super) fn has_news(&self) -> bool {
        let mut peers = self.peers.iter();
        peers.any(|peer| !peer.is_told.get() && !peer.to_tell.borrow().is_empty())
    }

    /// Another shard heard what it was told.
    pub(super) fn was_heard(&self, peer: ShardId) {
        self.peers[usize::from(peer.0)].is_told.set(false);
    }

    /// Takes in what another shard tells.
    pub(super) fn take_in(&self, told: Told) {
        for (line, heard) in told.heard {
            self.learn(&Rc::from(line), heard);
        }
        for (line, estimate) in told.expected {
            self.expect(&Rc::from(line), estimate);
        }
    }

    fn learn(&self, line: &Rc<str>, heard: Heard) {
        let Some(estimate) = self.estimator_learns(line, heard) else { return };
        self.expect(line, estimate);
        let others = self.peers.iter().enumerate().filter(|(at, _)| *at != usize::from(self.own.0));
        for (_, peer) in others {
            let mut told = peer.to_tell.borrow_mut();
            if told.expected.len() < LINES {
                told.expected.insert(Box::from(&**line), estimate);
            }
        }
    }

    fn estimator_learns(&self, line: &Rc<str>, heard: Heard) -> Option<Estimate> {
        let mut estimators = self.estimators.borrow_mut();
        make_room(&mut estimators, line);
        let estimator = estimators.entry(Rc::clone(line)).or_default();
        match heard.whole {
            None => {
                estimator.add(&heard.sample, heard.at);
            }
            Some(expected) => estimator.learn(&heard.sample, expected),
        }
        estimator.estimate()
    }

    fn expect(&self, line: &Rc<str>, estimate: Estimate) {
        let mut estimates = self.estimates.borrow_mut();
        make_room(&mut estimates, line);
        estimates.insert(Rc::clone(line), estimate);
    }

    /// The shard that has the estimator of a line.
    fn home(&self, line: &str) -> ShardId {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        ShardId((hasher.finish() % self.peers.len() as u64) as u16)
    }
}

impl Told {
    fn is_empty(&self) -> bool {
        self.heard.is_empty() && self.expected.is_empty()
    }
}

/// The line to the host of a URL.
pub(super) fn line_to(url: &Url) -> Rc<str> {
    url.origin().ascii_serialization().into()
}

/// Forgets all lines rather than to have more.
fn make_room<T>(lines: &mut HashMap<Rc<str>, T>, line: &str) {
    if lines.len() >= LINES && !lines.contains_key(line) {
        lines.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn heard(bytes: u64) -> Heard {
        let latency = Duration::from_millis(10);
        let sample = Sample { bytes, duration: Duration::from_secs(1), latency };
        Heard { sample, at: Instant::now(), whole: None }
    }

    fn bandwidth(lines: &Lines, line: &str) -> Option<u64> {
        lines.estimate(line).map(|estimate| estimate.bandwidth.round() as u64)
    }

    /// Three shards, the one first that has the estimator of a line.
    fn three(line: &Rc<str>) -> [Lines; 3] {
        let shards = [0, 1, 2].map(|at| Lines::new(ShardId(at), 3));
        let home = shards[0].home(line).0;
        [0, 1, 2].map(|at| Lines::new(ShardId((home + at) % 3), 3))
    }

    /// What `from` has to say reaches `to`.
    fn tells(from: &Lines, to: &Lines) -> bool {
        let told = from.tell(to.own);
        let any = told.is_some();
        to.take_in(told.unwrap_or_default());
        any
    }

    #[test]
    fn of_each_line_one_shard_has_the_estimator_and_all_know_it() {
        let line = line_to(&Url::parse("http://cdn.example:8080/a/b?c").unwrap());
        assert_eq!(&*line, "http://cdn.example:8080");
        let [home, one, other] = three(&line);
        one.hear(&line, heard(1000));
        assert_eq!(bandwidth(&one, &line), None, "it is not for itself to say");
        assert!(one.has_news() && tells(&one, &home) && !tells(&one, &other));
        assert_eq!(bandwidth(&home, &line), Some(8000));
        assert!(tells(&home, &one) && tells(&home, &other));
        assert_eq!([&one, &other].map(|lines| bandwidth(lines, &line)), [Some(8000); 2]);
        assert!([&home, &one, &other].iter().all(|lines| !lines.has_news()));
    }

    #[test]
    fn who_has_not_heard_yet_is_told_later_and_not_more_than_fits() {
        let line = Rc::from("http://cdn.example");
        let [home, one, _] = three(&line);
        one.hear(&line, heard(1000));
        assert!(tells(&one, &home));
        (0..2 * SAMPLES).for_each(|_| one.hear(&line, heard(1000)));
        assert!(!one.has_news() && one.tell(home.own).is_none());
        one.was_heard(home.own);
        assert_eq!(one.tell(home.own).map(|told| told.heard.len()), Some(SAMPLES));
    }

    #[test]
    fn there_are_only_so_many_lines() {
        let lines = Lines::new(ShardId(0), 1);
        for at in 0..2 * LINES {
            lines.hear(&Rc::from(format!("http://{at}")), heard(1000));
        }
        let kept = (lines.estimators.borrow().len(), lines.estimates.borrow().len());
        assert!(kept.0 <= LINES && kept.1 <= LINES, "{kept:?}");
    }
}
