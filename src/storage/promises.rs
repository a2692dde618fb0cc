//! What a cache has answered and must keep, for the simulators: pins, and what was there of what is pinned.
//!
//! A pin, or its end, that was answered outlives every crash, and so does what was on disk of a pinned
//! object then. What a medium damages is promised by nobody: from then on nothing is noted.

use std::{collections::BTreeMap, ops::Range};

use super::{Crash, Generation, ObjectId, Volumes, random::Random, turns::at_once};

/// The promises that count now.
#[derive(Default)]
pub(crate) struct Promises {
    pins: BTreeMap<ObjectId, bool>,
    bytes: BTreeMap<ObjectId, Bytes>,
    /// What was damaged, or may fail.
    damage: Damage,
    /// Counts what happens, and when that was: who is answered may have asked long before.
    moment: u64,
    asked: BTreeMap<ObjectId, u64>,
    gone: BTreeMap<ObjectId, u64>,
    damaged: u64,
}

type Bytes = (Generation, Vec<Range<u64>>);

/// What somebody asked for who is not answered yet.
pub(crate) struct Asked {
    object: ObjectId,
    pinned: bool,
    moment: u64,
    /// What was on disk of it then.
    bytes: Option<Bytes>,
}

/// What may happen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Luck {
    /// Disks fail and rot, and power is cut.
    Bad,
    /// Power is cut, and disks do what they are to do.
    Power,
    /// Nothing but kills.
    Good,
}

impl Luck {
    pub(crate) fn crash(self, random: &mut Random) -> Crash {
        let all = [Crash::Kill, Crash::Lost, Crash::Reordered, Crash::Torn];
        match self {
            Luck::Good => Crash::Kill,
            Luck::Bad | Luck::Power => all[random.below(4) as usize],
        }
    }
}

/// What a device does to what it holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Damage {
    #[default]
    None,
    /// Operations fail, and a chunk that cannot be read is lost.
    Failing,
    /// Some of the data are others.
    Data,
    /// Journals or superblocks are others.
    Journal,
}

impl Promises {
    /// Somebody said so, and was not answered yet: after a crash either may be.
    pub(crate) fn asked(&mut self, volumes: &Volumes, object: ObjectId, pinned: bool) -> Asked {
        if self.pins.get(&object) != Some(&pinned) {
            self.pins.remove(&object);
            self.bytes.remove(&object);
        }
        let moment = self.next();
        self.asked.insert(object, moment);
        // Without its head an object is of no use, and goes when that is found out.
        let has_head = || matches!(at_once(volumes.head(object)), Some(Ok(Some(_))));
        let resident = volumes.resident(object).filter(|_| pinned && has_head());
        let bytes = resident.map(|resident| (resident.generation, volumes.ranges(object)));
        Asked { object, pinned, moment, bytes }
    }

    /// And it was answered, if that was the last that was asked.
    pub(crate) fn answered(&mut self, Asked { object, pinned, moment, bytes }: Asked) {
        if self.asked.get(&object) != Some(&moment) {
            return;
        }
        let damage = if self.damaged > moment { Damage::Journal } else { self.damage };
        if damage < Damage::Journal {
            self.pins.insert(object, pinned);
        }
        self.bytes.remove(&object);
        let is_there = self.gone.get(&object).is_none_or(|gone| *gone < moment);
        if let Some(bytes) = bytes.filter(|_| damage == Damage::None && is_there) {
            self.bytes.insert(object, bytes);
        }
    }

    fn next(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// An object was taken away, or began anew.
    pub(crate) fn gone(&mut self, object: ObjectId) {
        let moment = self.next();
        self.gone.insert(object, moment);
        self.bytes.remove(&object);
    }

    pub(crate) fn damaged(&mut self, damage: Damage) {
        self.damaged = self.next();
        self.damage = self.damage.max(damage);
        self.bytes.clear();
        if self.damage == Damage::Journal {
            self.pins.clear();
        }
    }

    /// Whether nothing but the devices themselves put anything into them.
    pub(crate) fn is_undamaged(&self) -> bool {
        self.damage <= Damage::Failing
    }

    /// After a crash, before anything was done: all that was promised is so.
    pub(crate) fn check(&mut self, volumes: &Volumes) {
        if self.damage == Damage::Failing {
            self.damage = Damage::None;
        }
        for (object, pinned) in &self.pins {
            assert_eq!(volumes.is_pinned(*object), *pinned, "{object}: it was answered");
        }
        for (object, (generation, ranges)) in &self.bytes {
            let resource = volumes.find(*object).filter(|r| r.generation() == *generation);
            let resource = resource.unwrap_or_else(|| panic!("{object} is lost, and was pinned"));
            for range in ranges {
                let mut at = range.start;
                while at < range.end {
                    let read = at_once(resource.read_at(at, usize::MAX)).expect("nothing is held");
                    let bytes = read.unwrap();
                    let bytes =
                        bytes.unwrap_or_else(|| panic!("{object} at {at} is lost, and was pinned"));
                    at += bytes.len() as u64;
                }
            }
        }
    }
}
