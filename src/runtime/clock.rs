//! Time on a shard: the clock, waiting, and giving way to others.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use glommio::{executor, timer::Timer};

/// The time limit of [`timeout`] passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct Elapsed;

/// The one clock of the node.
pub fn now() -> Instant {
    Instant::now()
}

/// The time of day, for what is said in dates.
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    Timer::new(duration).await;
}

/// Runs `future` for at most `limit`.
///
/// # Errors
///
/// [`Elapsed`] when the limit passed first; the future has then been dropped.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut timer = pin!(Timer::new(limit));
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        timer.as_mut().poll(context).map(|_| Err(Elapsed))
    })
    .await
}

/// Lets every other task of this queue, and queues that are due, run first.
pub async fn yield_now() {
    executor().yield_now().await;
}

/// Gives way if this queue's time slice is over; otherwise goes on at once.
pub async fn yield_if_needed() {
    executor().yield_if_needed().await;
}

/// Whether the time slice of the running queue is over. Cheap enough for inner loops.
pub fn need_preempt() -> bool {
    executor().need_preempt()
}
