//! What a cache has answered and must keep, for the simulators: pins, and what was there of what is pinned.
//!
//! A pin, or its end, that was answered outlives every crash, and so does what was on disk of a pinned
//! object then. What a medium damages is promised by nobody: from then on nothing is noted.

use std::{collections::BTreeMap, ops::Range};

use super::{Generation, ObjectId, Volumes, turns::at_once};

/// The promises that count now.
#[derive(Default)]
pub(crate) struct Promises {
    pins: BTreeMap<ObjectId, bool>,
    bytes: BTreeMap<ObjectId, (Generation, Vec<Range<u64>>)>,
    /// What was damaged, or may fail.
    damage: Damage,
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
    pub(crate) fn asked(&mut self, object: ObjectId, pinned: bool) {
        if self.pins.get(&object) != Some(&pinned) {
            self.pins.remove(&object);
            self.bytes.remove(&object);
        }
    }

    /// And it was answered.
    pub(crate) fn answered(&mut self, volumes: &Volumes, object: ObjectId, pinned: bool) {
        if self.damage < Damage::Journal {
            self.pins.insert(object, pinned);
        }
        self.bytes.remove(&object);
        // Without its head an object is of no use, and goes when that is found out.
        let has_head = || matches!(at_once(volumes.head(object)), Some(Ok(Some(_))));
        if self.damage == Damage::None
            && pinned
            && has_head()
            && let Some(resident) = volumes.resident(object)
        {
            self.bytes.insert(object, (resident.generation, volumes.ranges(object)));
        }
    }

    /// An object was taken away, or began anew.
    pub(crate) fn gone(&mut self, object: ObjectId) {
        self.bytes.remove(&object);
    }

    pub(crate) fn damaged(&mut self, damage: Damage) {
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
