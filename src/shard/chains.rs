//! Which segments follow which, of playlists that passed through this node as they are.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A client that plays by itself asks for a playlist and then for segment after segment. Each of them has its
//! home by its URL, so a shard keeps in mind those that it owns: which segment of which playlist lies where.

use std::collections::VecDeque;

use crate::{pcm::SourceName, storage::ObjectId};

/// Playlists that are kept in mind.
const CHAINS: usize = 64;
/// Segments of all of them together: 1 MiB.
const SEGMENTS: usize = 1 << 15;

/// Where a segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// In which resource.
    pub(super) resource: ObjectId,
    /// At which of its bytes.
    pub(super) start: u64,
    /// The segment, counted from 0.
    pub(super) segment: u32,
}

/// The playlists that passed last.
#[derive(Debug, Default)]
pub(super) struct Chains {
    chains: VecDeque<Chain>,
}

#[derive(Debug)]
struct Chain {
    of: SourceName,
    version: String,
    /// In their order.
    places: Vec<Place>,
}

impl Chains {
    /// Whether this version of a playlist is known.
    pub(super) fn knows(&self, of: &SourceName, version: &str) -> bool {
        self.chains.iter().any(|chain| chain.of == *of && chain.version == version)
    }

    /// A version of a playlist names segments at these places. Of another version nothing is known any more.
    pub(super) fn learn(&mut self, of: SourceName, version: String, mut places: Vec<Place>) {
        self.chains.retain(|chain| chain.of != of);
        places.sort_unstable();
        places.truncate(SEGMENTS);
        places.shrink_to_fit();
        self.chains.push_back(Chain { of, version, places });
        while self.chains.len() > CHAINS || self.segments() > SEGMENTS {
            self.chains.pop_front();
        }
    }

    /// A playlist is no longer known.
    pub(super) fn forget(&mut self, of: &SourceName) {
        self.chains.retain(|chain| chain.of != *of);
    }

    /// The segment that a byte of a resource is of, and its playlist: the one that passed last.
    pub(super) fn find(&self, resource: ObjectId, position: u64) -> Option<(&SourceName, u32)> {
        self.chains.iter().rev().find_map(|chain| {
            let behind = chain
                .places
                .partition_point(|place| (place.resource, place.start) <= (resource, position));
            let place = chain.places[..behind].last()?;
            (place.resource == resource).then_some((&chain.of, place.segment))
        })
    }

    fn segments(&self) -> usize {
        self.chains.iter().map(|chain| chain.places.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> SourceName {
        SourceName { name: "origin".into(), path: path.into(), is_file: false }
    }

    fn place(resource: u128, start: u64, segment: u32) -> Place {
        Place { resource: ObjectId(resource), start, segment }
    }

    #[test]
    fn a_segment_is_found_by_its_resource_and_its_bytes() {
        let mut chains = Chains::default();
        let places = vec![place(7, 500, 1), place(7, 0, 0), place(9, 0, 2), place(7, 900, 3)];
        chains.learn(of("list"), "1".into(), places);
        let found = |resource, at| chains.find(ObjectId(resource), at).map(|(_, segment)| segment);
        assert_eq!([0, 499, 500, 2000].map(|at| found(7, at)), [0, 0, 1, 3].map(Some));
        assert_eq!((found(9, 70), found(8, 0)), (Some(2), None));
        assert!(chains.knows(&of("list"), "1") && !chains.knows(&of("list"), "2"));
        chains.learn(of("list"), "2".into(), vec![place(9, 0, 0)]);
        assert_eq!(chains.find(ObjectId(7), 0), None);
        chains.forget(&of("list"));
        assert!(!chains.knows(&of("list"), "2"));
    }

    #[test]
    fn those_that_passed_last_are_kept() {
        let mut chains = Chains::default();
        for list in 0..=CHAINS {
            chains.learn(of(&list.to_string()), String::new(), vec![place(list as u128, 0, 0)]);
        }
        assert_eq!((chains.find(ObjectId(0), 0), chains.segments()), (None, CHAINS));
        let many = (0..2 * SEGMENTS).map(|at| place(1000 + at as u128, 0, at as u32));
        chains.learn(of("long"), String::new(), many.collect());
        assert_eq!((chains.segments(), chains.chains.len()), (SEGMENTS, 1));
    }
}
