//! What was found out about sources, so that a second listener need not open them again.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use crate::{
    decode::{Index, Info},
    pcm::Error,
    runtime::event::Event,
};

/// Sources that are kept in mind: a few hundred bytes each, more with long tags.
const SOURCES: usize = 1024;
/// What their indices take at most, in bytes: those of a hundred hours of MP3. What goes for want of room
/// still lies beside its source.
const INDEX_BYTES: usize = 8 << 20;

/// What is known of one track of one version of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// What it is. Its frames are those that were decided once.
    pub info: Info,
    /// Where its packets lie, as far as that was found out.
    pub index: RefCell<Option<Rc<Index>>>,
    /// Somebody counts its packets, or did, in vain.
    is_counted: Cell<bool>,
}

/// The right to count the packets of a source.
pub struct Counting {
    known: Rc<Known>,
    /// Nobody need try again.
    is_last: bool,
}

impl Counting {
    /// Nothing came of it, and nothing would another time: who plays it to its end may learn more.
    pub fn was_in_vain(mut self) {
        self.is_last = true;
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.known.is_counted.set(self.is_last);
    }
}

impl Known {
    /// A source that says `info` of itself, and of which somebody found out `index`.
    pub fn new(info: Info, index: Option<Rc<Index>>) -> Self {
        let frames = info.frames.or_else(|| index.as_ref()?.frames());
        let (info, index) = (Info { frames, ..info }, RefCell::new(index));
        Self { info, index, is_counted: Cell::new(false) }
    }

    /// The right to count its packets, unless somebody has it.
    pub fn counting(self: &Rc<Self>) -> Option<Counting> {
        let is_free = !self.is_counted.replace(true);
        is_free.then(|| Counting { known: Rc::clone(self), is_last: false })
    }

    fn index_bytes(&self) -> usize {
        self.index.borrow().as_ref().map_or(0, |index| index.memory_bytes())
    }

    /// Whether `index` says more than what is known.
    fn is_news(&self, index: &Index) -> bool {
        let known = self.index.borrow();
        known.as_ref().is_none_or(|known| {
            let is_longer = index.reach() > known.reach();
            is_longer || (known.frames().is_none() && index.frames().is_some())
        })
    }
}

/// Names a track of a version of a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KnownName {
    /// The version of the source, and the source.
    pub version: String,
    /// Its track, as it was asked for.
    pub track: Option<u32>,
}

/// The sources that were wanted last.
#[derive(Default)]
pub(super) struct Understood {
    sources: HashMap<KnownName, (u64, Rc<Known>)>,
    /// By when they were wanted.
    order: BTreeMap<u64, KnownName>,
    wanted: u64,
    /// Those that somebody is just finding out about.
    under_way: HashMap<KnownName, Rc<Attempt>>,
}

/// What is known of a source.
pub enum Knowledge {
    /// This.
    Known(Rc<Known>),
    /// Nothing: who asked finds it out, and the others wait.
    Mine(Understanding),
    /// Nothing yet: another one is at it.
    Theirs(Rc<Attempt>),
}

/// One who finds out what a source is, as those see it who wait for that.
#[derive(Default)]
pub struct Attempt {
    over: RefCell<Option<Result<(), Error>>>,
    ended: Event,
}

impl Attempt {
    /// Waits until it is over; then one may look again.
    ///
    /// # Errors
    /// Why it failed: it would fail again.
    pub async fn ended(&self) -> Result<(), Error> {
        loop {
            let ended = self.ended.listen();
            if let Some(outcome) = &*self.over.borrow() {
                return outcome.clone();
            }
            ended.await;
        }
    }
}

/// The right to find out what a source is. Dropping it lets the next one try.
pub struct Understanding {
    understood: Rc<RefCell<Understood>>,
    name: KnownName,
    attempt: Rc<Attempt>,
}

impl Understanding {
    /// This is what it is.
    pub fn learn(self, known: Known) -> Rc<Known> {
        self.understood.borrow_mut().insert(&self.name, known)
    }

    /// It cannot be found out: those who wait need not try as well.
    pub fn fail(self, error: &Error) {
        self.attempt.over.replace(Some(Err(error.clone())));
    }
}

impl Drop for Understanding {
    fn drop(&mut self) {
        self.understood.borrow_mut().under_way.remove(&self.name);
        self.attempt.over.borrow_mut().get_or_insert(Ok(()));
        self.attempt.ended.notify_all();
    }
}

impl Understood {
    /// What is known of a source, or whose turn it is to find it out.
    pub(super) fn knowledge(this: &Rc<RefCell<Self>>, name: &KnownName) -> Knowledge {
        let mut understood = this.borrow_mut();
        if let Some(known) = understood.get(name) {
            return Knowledge::Known(known);
        }
        if let Some(attempt) = understood.under_way.get(name) {
            return Knowledge::Theirs(Rc::clone(attempt));
        }
        let attempt = Rc::<Attempt>::default();
        understood.under_way.insert(name.clone(), Rc::clone(&attempt));
        Knowledge::Mine(Understanding { understood: Rc::clone(this), name: name.clone(), attempt })
    }

    pub(super) fn get(&mut self, name: &KnownName) -> Option<Rc<Known>> {
        let (last, known) = self.sources.get_mut(name)?;
        self.wanted += 1;
        self.order.remove(last);
        *last = self.wanted;
        self.order.insert(self.wanted, name.clone());
        Some(Rc::clone(known))
    }

    /// More was found out about a source. False if it was known.
    pub(super) fn learn_index(&mut self, name: &KnownName, index: &Rc<Index>) -> bool {
        let Some(known) = self.get(name).filter(|known| known.is_news(index)) else {
            return false;
        };
        match known.info.frames {
            Some(_) => {
                known.index.replace(Some(Rc::clone(index)));
                self.shrink();
            }
            // Who listens already goes on without a length.
            None => drop(self.insert(name, Known::new(known.info.clone(), Some(Rc::clone(index))))),
        }
        true
    }

    fn insert(&mut self, name: &KnownName, known: Known) -> Rc<Known> {
        let known = Rc::new(known);
        self.wanted += 1;
        self.order.insert(self.wanted, name.clone());
        let before = self.sources.insert(name.clone(), (self.wanted, Rc::clone(&known)));
        if let Some((last, _)) = before {
            self.order.remove(&last);
        }
        self.shrink();
        known
    }

    /// Forgets the sources that were wanted longest ago, until all bounds hold. The last one stays.
    fn shrink(&mut self) {
        let mut bytes: usize = self.sources.values().map(|(_, known)| known.index_bytes()).sum();
        while (self.sources.len() > SOURCES || bytes > INDEX_BYTES)
            && self.sources.len() > 1
            && let Some((_, oldest)) = self.order.pop_first()
            && let Some((_, known)) = self.sources.remove(&oldest)
        {
            bytes -= known.index_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    use crate::decode::{self, Channels, Sample};

    fn known(rate_hz: u32) -> Known {
        let info = Info {
            container: "wav",
            codec: "pcm_s16le",
            rate_hz,
            channels: Channels { count: 2, mask: 3 },
            sample: Sample::Integer { bits: 16 },
            frames: Some(1),
            tags: Vec::new(),
            tracks: Vec::new(),
        };
        Known::new(info, None)
    }

    fn name(version: &str) -> KnownName {
        KnownName { version: version.to_owned(), track: None }
    }

    fn learnt(understood: &Rc<RefCell<Understood>>, version: &str) -> Option<u32> {
        match Understood::knowledge(understood, &name(version)) {
            Knowledge::Known(known) => Some(known.info.rate_hz),
            Knowledge::Mine(_) | Knowledge::Theirs(_) => None,
        }
    }

    fn learn(understood: &Rc<RefCell<Understood>>, version: &str, rate_hz: u32) {
        match Understood::knowledge(understood, &name(version)) {
            Knowledge::Mine(understanding) => drop(understanding.learn(known(rate_hz))),
            Knowledge::Known(_) | Knowledge::Theirs(_) => panic!("{version} is new"),
        }
    }

    #[test]
    fn the_last_thousand_are_known() {
        let understood = Rc::default();
        learn(&understood, "kept", 1);
        for rate_hz in 0..2000 {
            learn(&understood, &format!("v{rate_hz}"), rate_hz);
            assert_eq!(learnt(&understood, "kept"), Some(1));
        }
        let inner = understood.borrow();
        assert_eq!((inner.sources.len(), inner.order.len()), (SOURCES, SOURCES));
        drop(inner);
        assert_eq!((learnt(&understood, "v900"), learnt(&understood, "v1999")), (None, Some(1999)));
    }

    #[test]
    fn one_finds_it_out_and_where_it_goes_away_the_next_does() {
        let understood = Rc::default();
        let ask = || Understood::knowledge(&understood, &name("v"));
        let Knowledge::Mine(first) = ask() else { panic!("nobody knows") };
        let Knowledge::Theirs(attempt) = ask() else { panic!("somebody is at it") };
        drop(first);
        assert!(block_on(attempt.ended()).is_ok());
        let Knowledge::Mine(second) = ask() else { panic!("nobody is at it") };
        second.learn(known(7));
        assert!(matches!(ask(), Knowledge::Known(_)));
    }

    #[test]
    fn one_counts_at_a_time_and_nobody_where_it_was_in_vain() {
        let known = Rc::new(known(1));
        let first = known.counting().unwrap();
        assert!(known.counting().is_none());
        drop(first);
        known.counting().unwrap().was_in_vain();
        assert!(known.counting().is_none());
    }

    #[test]
    fn who_waits_for_one_who_fails_hears_why() {
        let understood = Rc::default();
        let ask = || Understood::knowledge(&understood, &name("v"));
        let Knowledge::Mine(first) = ask() else { panic!("nobody knows") };
        let Knowledge::Theirs(attempt) = ask() else { panic!("somebody is at it") };
        first.fail(&Error::Decode(decode::Error::NotMedia));
        let heard = block_on(attempt.ended());
        assert!(matches!(heard, Err(Error::Decode(decode::Error::NotMedia))));
        assert!(matches!(ask(), Knowledge::Mine(_)), "who comes later may try");
    }
}
