//! How long one waits for memory that others are about to give back.

use std::time::{Duration, Instant};

use crate::runtime;

/// Blocks come home from other cores, which cannot wake anybody here: so one looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// After this long, memory does not come back by itself: whoever holds it waits likewise.
const LONGEST: Duration = Duration::from_secs(30);

/// The patience of one piece of work that found no memory. It is spent by one wait after another,
/// and whole again in the next piece of work.
#[derive(Debug, Default)]
pub struct Patience {
    /// When memory was first missed.
    since: Option<Instant>,
}

impl Patience {
    /// Waits a little. `false`: it has been long enough, and the work has to be given up.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn wait(&mut self) -> bool {
        let since = *self.since.get_or_insert_with(runtime::now);
        let is_left = since.elapsed() < LONGEST;
        if is_left {
            runtime::sleep(LOOK_AGAIN).await;
        }
        is_left
    }
}
