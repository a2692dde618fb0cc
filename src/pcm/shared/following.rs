//! Where listeners are, of all timelines, and so which pieces one of them is coming to.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Who follows another on a timeline wants what that one has had, once, and soon. What lies between the
//! two is worth keeping as a whole or not at all: one piece that is missing costs a decoder. So it is
//! decided by distances, the shortest first, for as many as fit (interval caching: Dan and Sitaram, "A
//! generalized interval caching policy", SPIE 2667, 1996):
//!
//! ```text
//! pieces    . . [ ][ ][ ][ ][ ][ ][ ][ ]
//!            ^ comes to these         ^ had them, or made them and left
//! ```
//!
//! Who is too far behind for that has a decoder of its own. Time is told by the bytes that were put in
//! the store: who has not moved while all of it could be exchanged pauses, and keeps nothing.

use std::collections::BTreeMap;

use super::{TimelineId, store::Name};

/// Of the store, what is kept for those who come to it at most: all but one in so many.
const OTHERS_SHARE: u64 = 8;

/// Tells listeners apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListenerId(pub(super) u64);

/// A listener, and the frame that it wanted last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) timeline: TimelineId,
    pub(super) frame: u64,
    pub(super) listener: ListenerId,
}

/// The places of those who listen, and do not pause.
#[derive(Default)]
pub(super) struct Following {
    places: BTreeMap<Place, State>,
}

struct State {
    moved_at: u64,
    /// What lies before it is kept. So it is also until that is decided.
    fits: bool,
}

impl Following {
    /// A listener wants a frame, and was at another before.
    pub(super) fn moves(&mut self, from: Option<Place>, to: Place, put_bytes: u64) {
        let before = from.and_then(|from| self.places.remove(&from));
        let fits = before.is_none_or(|state| state.fits);
        self.places.insert(to, State { moved_at: put_bytes, fits });
    }

    /// A listener is there no more.
    pub(super) fn leaves(&mut self, from: Place) {
        self.places.remove(&from);
    }

    /// Frames to a piece from the nearest listener behind it; `None` if there is none, or what lies
    /// before that one is not kept.
    pub(super) fn distance(&self, (timeline, first): Name) -> Option<u64> {
        let place = |frame| Place { timeline, frame, listener: ListenerId(0) };
        let (nearest, state) = self.places.range(place(0)..place(first)).next_back()?;
        state.fits.then(|| first - nearest.frame)
    }

    /// Decides anew whom to keep pieces for, in a store of `limit_bytes`. `bytes` tells what there is
    /// from a place to the frame of the next listener, or to the end.
    pub(super) fn decide(
        &mut self,
        put_bytes: u64,
        limit_bytes: u64,
        bytes: impl Fn(&Place, Option<u64>) -> u64,
    ) {
        self.places.retain(|_, state| put_bytes - state.moved_at <= limit_bytes);
        let mut distances: Vec<_> = self
            .neighbours()
            .map(|(place, next)| (bytes(&place, next), place))
            // Those about as far go by who was here first: which is nearer changes with every step.
            .map(|(bytes, place)| (bytes.checked_ilog2(), place.listener, bytes, place))
            .collect();
        distances.sort_unstable();
        let (mut sum, most) = (0_u64, limit_bytes - limit_bytes / OTHERS_SHARE);
        for (_, _, bytes, place) in distances {
            sum = sum.saturating_add(bytes);
            if let Some(state) = self.places.get_mut(&place) {
                state.fits = sum <= most;
            }
        }
    }

    /// Each place with the frame of the next one on its timeline.
    fn neighbours(&self) -> impl Iterator<Item = (Place, Option<u64>)> {
        let next = self.places.keys().skip(1).map(Some).chain([None]);
        self.places.keys().zip(next).map(|(place, next)| {
            let next = next.filter(|next| next.timeline == place.timeline);
            (*place, next.map(|next| next.frame))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 800;

    fn at(timeline: u64, frame: u64, listener: u64) -> Place {
        Place { timeline: TimelineId(timeline), frame, listener: ListenerId(listener) }
    }

    /// A byte is a frame, and each timeline has a thousand.
    fn decide(following: &mut Following, put_bytes: u64) {
        let bytes = |place: &Place, next: Option<u64>| next.unwrap_or(1000) - place.frame;
        following.decide(put_bytes, LIMIT, bytes);
    }

    fn of(places: &[Place]) -> Following {
        let mut following = Following::default();
        places.iter().for_each(|place| following.moves(None, *place, 0));
        following
    }

    #[test]
    fn a_piece_is_as_far_as_the_nearest_listener_behind_it() {
        let following = of(&[at(1, 100, 1), at(1, 300, 2), at(2, 250, 3)]);
        let distances =
            [100, 101, 300, 301].map(|first| following.distance((TimelineId(1), first)));
        assert_eq!(distances, [None, Some(1), Some(200), Some(1)]);
    }

    #[test]
    fn the_shortest_distances_are_kept_as_many_as_fit() {
        let mut following = of(&[at(1, 0, 1), at(1, 600, 2), at(1, 700, 3), at(2, 900, 4)]);
        decide(&mut following, 0);
        let is_kept = |timeline, first| following.distance((TimelineId(timeline), first)).is_some();
        assert!(is_kept(1, 650) && is_kept(2, 950) && is_kept(1, 750), "100, 100 and 300");
        assert!(!is_kept(1, 450), "another 600 are too many");
    }

    #[test]
    fn of_those_about_as_far_the_same_are_kept_whichever_is_nearer_just_now() {
        let mut following = of(&[at(1, 550, 1), at(2, 540, 2)]);
        decide(&mut following, 0);
        let is_kept =
            |following: &Following, id| following.distance((TimelineId(id), 990)).is_some();
        assert!(is_kept(&following, 1) && !is_kept(&following, 2));
        following.moves(Some(at(2, 540, 2)), at(2, 560, 2), 0);
        decide(&mut following, 0);
        assert!(is_kept(&following, 1) && !is_kept(&following, 2));
        following.leaves(at(1, 550, 1));
        decide(&mut following, 0);
        assert!(is_kept(&following, 2));
    }

    #[test]
    fn who_pauses_keeps_nothing_until_it_goes_on() {
        let mut following = of(&[at(1, 900, 1), at(1, 950, 2)]);
        following.moves(Some(at(1, 950, 2)), at(1, 951, 2), 500);
        decide(&mut following, LIMIT + 1);
        let distance = |following: &Following| following.distance((TimelineId(1), 940));
        assert_eq!(distance(&following), None);
        following.moves(Some(at(1, 900, 1)), at(1, 910, 1), LIMIT + 1);
        assert_eq!(distance(&following), Some(30));
    }
}
