//! What the log is told of what happens to volumes.

use std::time::Instant;

use super::Common;
use crate::storage::notices::Notice;

impl Common {
    /// Whether the log is told of what happened to a volume now; else it is told how often it did.
    pub(super) fn notes(&self, notice: Notice) -> bool {
        self.stirred.stir();
        self.notices.borrow_mut().note(notice)
    }

    /// Tells the log what happened to further volumes. When that is due next.
    pub(in crate::storage) fn report(&self, now: Instant) -> Option<Instant> {
        for (notice, further) in self.notices.borrow_mut().report(now) {
            match notice {
                Notice::Off(cause) => {
                    tracing::warn!(further, %cause, "more volumes of the cache take no more bytes");
                }
                Notice::On => tracing::info!(further, "more volumes of the cache take bytes again"),
                Notice::Full => {
                    tracing::warn!(further, "more volumes of the cache have no room to grow");
                }
                Notice::Room => {
                    tracing::info!(further, "more volumes of the cache have room to grow again");
                }
                Notice::Bad => tracing::warn!(further, "more places on disk take no bytes"),
                Notice::Lost => tracing::warn!(further, "more chunks on disk were lost"),
                Notice::Pages => tracing::warn!(further, "more journals of the cache lost pages"),
            }
        }
        self.notices.borrow().next()
    }
}
