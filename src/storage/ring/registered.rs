//! Which pieces of memory the kernel was told of beforehand.
//!
//! Pure: it decides, and the ring tells the kernel.
//!
//! A pool hands out the block that came home last, so a few pieces do most of the work and all of them
//! get a place. Where there are more pieces than places, each that finds none looks at one place: if
//! nothing used that since the last look, it is taken over, else it is only marked. So what is used
//! stays, what the pool gave back to the allocator goes, and a table that is too small does not spend
//! its time on being rewritten.
//!
//! A place that an operation names is not taken over before that has ended: the kernel looks it up when
//! it comes to the operation, which may be later than when it is told of other memory there.

use std::collections::HashMap;

/// The places, each with the piece of memory in it.
pub(super) struct Registered {
    places: Vec<Place>,
    by_number: HashMap<u64, u16>,
    /// How many places there can be.
    most: u16,
    /// The place that is looked at next once all are taken.
    hand: u16,
}

struct Place {
    number: u64,
    /// Something used it since it was looked at last.
    is_used: bool,
    /// Operations that name it and have not ended.
    named: u32,
}

/// Where a piece of memory stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The kernel knows it by this number.
    At(u16),
    /// It may have this place once the kernel was told: say so by [`Registered::put`].
    Free(u16),
    /// Nowhere: do without.
    Nowhere,
}

impl Registered {
    pub(super) fn new(most: u16) -> Self {
        Self { places: Vec::new(), by_number: HashMap::new(), most, hand: 0 }
    }

    pub(super) fn find(&mut self, number: u64) -> Found {
        if let Some(place) = self.by_number.get(&number) {
            self.places[usize::from(*place)].is_used = true;
            return Found::At(*place);
        }
        if self.places.len() < usize::from(self.most) {
            return Found::Free(self.places.len() as u16);
        }
        let Some(place) = self.places.get_mut(usize::from(self.hand)) else {
            return Found::Nowhere;
        };
        let at = self.hand;
        self.hand = (self.hand + 1) % self.most;
        let was_used = std::mem::replace(&mut place.is_used, false);
        if was_used || place.named > 0 { Found::Nowhere } else { Found::Free(at) }
    }

    /// An operation names a place, until it is [`released`](Self::release).
    pub(super) fn hold(&mut self, place: u16) {
        self.places[usize::from(place)].named += 1;
    }

    /// An operation that named the place has ended.
    pub(super) fn release(&mut self, place: u16) {
        self.places[usize::from(place)].named -= 1;
    }

    /// The kernel knows the piece by that place's number now, and no more what was there.
    pub(super) fn put(&mut self, place: u16, number: u64) {
        let new = Place { number, is_used: true, named: 0 };
        match self.places.get_mut(usize::from(place)) {
            Some(old) => {
                assert_eq!(old.named, 0, "an operation names it");
                self.by_number.remove(&old.number);
                *old = new;
            }
            None => self.places.push(new),
        }
        self.by_number.insert(number, place);
    }

    /// The kernel takes no more: there are no further places than those that are taken.
    pub(super) fn no_more(&mut self) {
        self.most = self.places.len() as u16;
        self.hand = 0;
    }

    /// How many pieces the kernel knows.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::random::Random;

    fn put(registered: &mut Registered, number: u64) -> Found {
        let found = registered.find(number);
        if let Found::Free(place) = found {
            registered.put(place, number);
        }
        found
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut registered = Registered::new(2);
        assert_eq!(put(&mut registered, 10), Found::Free(0));
        assert_eq!(put(&mut registered, 11), Found::Free(1));
        // Both were used just now: marks first, then the one that is not used again.
        assert_eq!(put(&mut registered, 12), Found::Nowhere);
        assert_eq!(put(&mut registered, 12), Found::Nowhere);
        assert_eq!(registered.find(10), Found::At(0));
        assert_eq!(put(&mut registered, 12), Found::Nowhere);
        assert_eq!(put(&mut registered, 12), Found::Free(1));
        assert_eq!(registered.find(10), Found::At(0));
        assert_eq!(registered.find(12), Found::At(1));
    }

    #[test]
    fn what_an_operation_names_stays_until_it_has_ended() {
        let mut registered = Registered::new(1);
        assert_eq!(put(&mut registered, 10), Found::Free(0));
        registered.hold(0);
        registered.hold(0);
        assert!((0..4).all(|_| put(&mut registered, 11) == Found::Nowhere));
        registered.release(0);
        assert!((0..4).all(|_| put(&mut registered, 11) == Found::Nowhere));
        registered.release(0);
        assert_eq!(put(&mut registered, 11), Found::Free(0));
    }

    #[test]
    fn where_the_kernel_takes_none_there_is_no_place() {
        let mut registered = Registered::new(4);
        put(&mut registered, 1);
        registered.no_more();
        assert_eq!(registered.find(1), Found::At(0));
        assert_eq!(put(&mut registered, 2), Found::Nowhere);
        let mut none = Registered::new(0);
        assert_eq!(none.find(1), Found::Nowhere);
        let mut refused = Registered::new(3);
        refused.no_more();
        assert_eq!(refused.find(1), Found::Nowhere);
    }

    /// The model is what the kernel was told, place by place.
    #[test]
    fn a_number_is_found_only_where_the_kernel_has_it() {
        for seed in 1..=2_000 {
            let (mut random, mut kernel) = (Random(seed), HashMap::new());
            let most = 1 + random.below(6) as u16;
            let mut registered = Registered::new(most);
            for _ in 0..200 {
                let number = random.below(12);
                match registered.find(number) {
                    Found::At(place) => assert_eq!(kernel[&place], number, "seed {seed}"),
                    Found::Free(_) if random.below(20) == 0 => registered.no_more(),
                    Found::Free(place) => {
                        assert!(place < most, "seed {seed}");
                        registered.put(place, number);
                        kernel.insert(place, number);
                    }
                    Found::Nowhere => {}
                }
                assert_eq!(registered.count(), kernel.len(), "seed {seed}");
            }
        }
    }
}
