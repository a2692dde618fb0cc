//! How long one waits for memory that others are about to give back.

use std::time::{Duration, Instant};

use crate::{
    bufpool::{BlockMut, BufPool, Class, Exhausted, Turn},
    runtime,
};

/// After this long, memory does not come back by itself: whoever holds it waits likewise.
const LONGEST: Duration = Duration::from_secs(30);

/// A block to write to. Where there is no memory for it, others have it for the moment, and it is waited for.
///
/// # Errors
/// [`Exhausted`] once patience has ended.
///
/// # Cancellation
/// Nothing is lost.
pub async fn take(pool: &BufPool, class: Class) -> Result<BlockMut, Exhausted> {
    let mut patience = Patience::default();
    loop {
        match pool.take(class) {
            Err(_) if patience.wait(pool, class.bytes()).await => {}
            taken => return taken,
        }
    }
}

/// The patience of one piece of work that found no memory. It is spent by one wait after another,
/// and whole again in the next piece of work; until then it keeps its place in the line.
#[derive(Default)]
pub struct Patience {
    /// When memory was first missed.
    since: Option<Instant>,
    turn: Option<Turn>,
}

impl Patience {
    /// Waits until `pool` can lend `bytes`, which has to be all that the work needs. `false`: it has
    /// been long enough, and the work has to be given up.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn wait(&mut self, pool: &BufPool, bytes: usize) -> bool {
        let since = *self.since.get_or_insert_with(runtime::now);
        let left = LONGEST.saturating_sub(runtime::now().saturating_duration_since(since));
        let turn = self.turn.get_or_insert_with(|| pool.turn());
        let called = !left.is_zero() && runtime::timeout(left, turn.room(bytes)).await.is_ok();
        // Where it was there already others gave it back just now, and they are to go on as well.
        runtime::yield_if_needed().await;
        called
    }
}
