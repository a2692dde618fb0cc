//! An index while a track is passed: what was known of it before, and what is new.
//!
//! Pure: no I/O, no clock, no executor.

use std::rc::Rc;

use super::{Index, Link, Point, State};

/// What a decoder passes, in order from the start of its track or from a point of the index that it
/// was given.
#[derive(Debug, Default)]
pub(in crate::decode) struct Recording {
    /// What was known before; shared, so it costs nothing to have it.
    known: Option<Rc<Index>>,
    /// That and what is new, once there is something.
    new: Option<Index>,
}

impl Recording {
    pub(in crate::decode) fn new(known: Option<Rc<Index>>) -> Self {
        Self { known, new: None }
    }

    /// The index up to here.
    pub(in crate::decode) fn index(&self) -> Option<&Index> {
        self.new.as_ref().or(self.known.as_deref())
    }

    /// The same, if it says more than the one that was known before.
    pub(in crate::decode) fn news(&self) -> Option<&Index> {
        self.new.as_ref()
    }

    /// Whether a point at `packet` would be a new one.
    pub(in crate::decode) fn wants(&self, packet: u64) -> bool {
        u32::try_from(packet).is_ok() && self.index().is_none_or(|index| index.wants(packet))
    }

    /// Takes the point at a packet that is wanted.
    pub(in crate::decode) fn push(&mut self, position: u64, packet: u64, frame: i64, state: State) {
        let packet = u32::try_from(packet).expect("the packet was wanted");
        self.changed().push(Point { position, packet, frame, state });
    }

    /// Takes a link that starts here. False: nothing of it can be written down.
    pub(in crate::decode) fn push_link(&mut self, link: Link) -> bool {
        match self.index().is_some_and(|index| index.has(&link)) {
            true => true,
            false => self.changed().push_link(link),
        }
    }

    /// All of the track has passed: so many frames.
    pub(in crate::decode) fn end(&mut self, frames: u64) {
        if self.index().and_then(Index::frames) != Some(frames) {
            self.changed().end(frames);
        }
    }

    fn changed(&mut self) -> &mut Index {
        let known = &self.known;
        self.new.get_or_insert_with(|| known.as_deref().cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: State = State::Frames { count: 0, mean_bytes: 0.0, constant: None };

    #[test]
    fn what_is_known_is_shared_until_something_new_comes() {
        let mut first = Recording::new(None);
        for packet in 0..1000 {
            if first.wants(packet) {
                first.push(packet * 400, packet, packet as i64 * 1152, STATE);
            }
        }
        let known = Rc::new(first.news().expect("points").clone());
        let mut second = Recording::new(Some(Rc::clone(&known)));
        assert!((0..960).all(|packet| !second.wants(packet)) && second.news().is_none());
        second.end(1_152_000);
        second.push(400_000, 1024, 1_179_648, STATE);
        let new = second.news().expect("a point and a total");
        assert_eq!((new.frames(), new.reach()), (Some(1_152_000), 400_000));
        assert_eq!((known.frames(), known.reach()), (None, 960 * 400));
        let mut third = Recording::new(Some(Rc::new(new.clone())));
        third.end(1_152_000);
        assert!(third.news().is_none(), "the same total is no news");
    }

    #[test]
    fn packets_that_no_index_can_number_are_not_wanted() {
        assert!(!Recording::new(None).wants(1 << 32));
    }
}
