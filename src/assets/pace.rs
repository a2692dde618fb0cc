//! How fast a resource is fetched that nobody waits for.
//!
//! A prefetch allows so many bytes at a time, and the fetch that only prefetches want takes each of
//! them before it goes on. So what a prefetch fetches is as slow as the prefetch itself, which has
//! the least share of its core and is told by its origin's rate when to go on. A fetch that a client
//! waits for takes nothing from here.

use std::cell::Cell;

use crate::runtime::event::{Event, Listener};

/// Bytes that prefetches allow the fetches of one resource.
#[derive(Debug, Default)]
pub struct Pace {
    left_bytes: Cell<u64>,
    spent_bytes: Cell<u64>,
    changed: Event,
    used_up: Event,
}

impl Pace {
    /// Allows `bytes` from here on. What was allowed before and not used is among them: a prefetch
    /// that a client has overtaken saves nothing for later.
    pub fn allow(&self, bytes: u64) {
        self.left_bytes.set(bytes.max(self.left_bytes.get()));
        self.changed.notify_all();
    }

    /// Takes `bytes` if any are left: the last ones may be more than that, since what has come is
    /// not cut.
    pub fn take(&self, bytes: u64) -> bool {
        let left = self.left_bytes.get();
        if left == 0 {
            return false;
        }
        self.left_bytes.set(left.saturating_sub(bytes));
        self.spent_bytes.set(self.spent_bytes.get() + bytes);
        if left <= bytes {
            self.used_up.notify_all();
        }
        true
    }

    /// Bytes that were taken so far.
    pub fn spent_bytes(&self) -> u64 {
        self.spent_bytes.get()
    }

    /// Waits until nothing is left.
    pub async fn used_up(&self) {
        loop {
            let used_up = self.used_up.listen();
            if self.left_bytes.get() == 0 {
                return;
            }
            used_up.await;
        }
    }

    /// Ready once more was allowed after this call, or a client came.
    pub fn changed(&self) -> Listener {
        self.changed.listen()
    }

    /// Has the fetches look again whether they have to ask here at all.
    pub fn look_again(&self) {
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn what_is_left_can_be_taken_and_the_last_may_be_more() {
        let pace = Pace::default();
        assert!(!pace.take(1));
        pace.allow(100);
        assert!(pace.take(60) && pace.take(60) && !pace.take(1));
        assert_eq!(pace.spent_bytes(), 120);
        pace.allow(100);
        pace.allow(100);
        assert!(pace.take(100) && !pace.take(1), "nothing was saved");
    }

    #[test]
    fn who_allows_hears_when_it_is_used_up() {
        let pace = Pace::default();
        pace.allow(2);
        block_on(async {
            let mut used_up = Box::pin(pace.used_up());
            assert!(poll_once(&mut used_up).await.is_none());
            pace.take(1);
            assert!(poll_once(&mut used_up).await.is_none());
            pace.take(1);
            assert!(poll_once(&mut used_up).await.is_some());
        });
    }
}
