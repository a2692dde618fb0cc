//! Questions to other shards that were not answered yet.

use std::cell::RefCell;

use slab::Slab;

use crate::runtime::{ShardId, channel};

/// What this shard has asked others and they have not answered, by shard. A place is free again
/// when the answer came, waited for or not, so no answer is taken for another's.
pub(super) struct Asked<T> {
    under_way: Vec<RefCell<Slab<channel::Sender<T>>>>,
    /// Of one shard at a time: the mailbox has room for so many answers.
    most: usize,
}

impl<T> Asked<T> {
    pub(super) fn new(shards: usize, most: usize) -> Self {
        Self { under_way: (0..shards).map(|_| RefCell::default()).collect(), most }
    }

    /// A place for one more question, and where its answer comes; `None` where there are too many.
    pub(super) fn begin(&self, peer: ShardId) -> Option<(u16, channel::Receiver<T>)> {
        let mut under_way = self.under_way[usize::from(peer.0)].borrow_mut();
        if under_way.len() == self.most {
            return None;
        }
        let (answer, answered) = channel::bounded(1);
        Some((under_way.insert(answer) as u16, answered))
    }

    pub(super) fn end(&self, peer: ShardId, place: u16, answer: T) {
        let asked = self.under_way[usize::from(peer.0)].borrow_mut().try_remove(place.into());
        // Who asked may not wait any more.
        let _ = asked.map(|asked| asked.try_send(answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_under_way_than_there_is_room_for() {
        let asked = Asked::new(2, 16);
        let mut questions: Vec<_> = (0..16).map(|_| asked.begin(ShardId(1)).unwrap()).collect();
        assert!(asked.begin(ShardId(1)).is_none());
        assert!(asked.begin(ShardId(0)).is_some(), "the bound is that of a pair");
        let (place, answered) = &mut questions[7];
        asked.end(ShardId(1), *place, "yes");
        assert_eq!(answered.try_recv(), Some("yes"));
        assert!(asked.begin(ShardId(1)).is_some());
    }
}
