//! What the log is told of the volumes of a shard: the first of a kind at once, and how many came after.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A cache has up to 256 volumes, and what happens to their device happens to all of them.

use std::{
    io,
    time::{Duration, Instant},
};

/// How long after the first of a kind the others are counted and not said.
const INTERVAL: Duration = Duration::from_secs(10);

/// What happens to a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// It takes no more bytes, because of such an error.
    Off(io::ErrorKind),
    /// It takes bytes again.
    On,
    /// It does not grow any more.
    Full,
    /// It grows again.
    Room,
    /// A place in it takes nothing.
    Bad,
    /// A chunk in it is lost.
    Lost,
    /// Pages of its journal are lost.
    Pages,
}

/// What was said lately.
#[derive(Default)]
pub(super) struct Notices {
    said: Vec<Said>,
}

struct Said {
    notice: Notice,
    /// How often since.
    further: u64,
    /// When that is told.
    at: Option<Instant>,
}

impl Notices {
    /// It happened; whether that is to be said now.
    pub(super) fn note(&mut self, notice: Notice) -> bool {
        if let Some(said) = self.said.iter_mut().find(|said| said.notice == notice) {
            said.further += 1;
            return false;
        }
        self.said.push(Said { notice, further: 0, at: None });
        true
    }

    /// What happened further, how often, once that is due.
    pub(super) fn report(&mut self, now: Instant) -> Vec<(Notice, u64)> {
        let mut due = Vec::new();
        self.said.retain_mut(|said| {
            let is_due = *said.at.get_or_insert(now + INTERVAL) <= now;
            if is_due && said.further > 0 {
                due.push((said.notice, said.further));
            }
            !is_due
        });
        due
    }

    /// When the next report is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.said.iter().filter_map(|said| said.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::{Notice::*, *};

    #[test]
    fn of_many_volumes_the_first_is_said_and_the_others_are_counted() {
        let (start, mut notices) = (Instant::now(), Notices::default());
        assert!(notices.report(start).is_empty() && notices.next().is_none());
        let off = Off(io::ErrorKind::ReadOnlyFilesystem);
        let said = (0..256).filter(|_| notices.note(off)).count();
        assert_eq!(said, 1);
        assert!(notices.note(Off(io::ErrorKind::Other)), "another cause");
        assert!(notices.note(Lost) && !notices.note(Lost));
        assert!(notices.report(start).is_empty());
        assert_eq!(notices.next(), Some(start + INTERVAL));
        assert_eq!(notices.report(start + INTERVAL), [(off, 255), (Lost, 1)]);
        assert!(notices.next().is_none());
        assert!(notices.note(off), "it is worth a word again");
    }
}
