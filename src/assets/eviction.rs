//! Which resources leave when a volume is full: the least recently opened first.
//!
//! Pure: no I/O, no clock, no executor.

/// A resource as the policy sees it.
pub(super) struct Candidate<T> {
    /// What the caller knows it by.
    pub name: T,
    /// When it was last opened, as a count of opens.
    pub opened: u64,
    /// Bytes of its volume that it would give back.
    pub bytes: u64,
}

/// The fewest, oldest resources that together give `wanted_bytes`; all of them if that is not
/// enough. Leased and filling resources are not offered.
pub(super) fn victims<T>(mut candidates: Vec<Candidate<T>>, wanted_bytes: u64) -> Vec<T> {
    candidates.sort_unstable_by_key(|candidate| candidate.opened);
    let mut freed_bytes = 0;
    candidates
        .into_iter()
        .take_while(|candidate| {
            let needed = freed_bytes < wanted_bytes;
            freed_bytes += candidate.bytes;
            needed
        })
        .map(|candidate| candidate.name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(wanted_bytes: u64) -> Vec<char> {
        let candidate = |name: char, opened, bytes| Candidate { name, opened, bytes };
        victims(
            vec![candidate('c', 9, 5), candidate('a', 1, 5), candidate('b', 4, 5)],
            wanted_bytes,
        )
    }

    #[test]
    fn the_least_recently_opened_go_first_and_no_more_than_needed() {
        assert!(names(0).is_empty());
        assert_eq!(names(5), ['a']);
        assert_eq!(names(6), ['a', 'b']);
        assert_eq!(names(100), ['a', 'b', 'c']);
    }
}
