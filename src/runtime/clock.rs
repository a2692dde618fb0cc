//! Time on a shard: the clock, waiting, and giving way to others.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
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

/// What this shard's thread has had of its core so far.
pub fn core_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    Timer::new(duration).await;
}

/// One timer for many waits, one after another: a timer of its own for each would be an allocation
/// for each.
///
/// It is set when a future has to wait and stays set when that is over: whoever owns it is then
/// woken once for nothing, a limit after the last wait.
#[derive(Debug, Default)]
pub struct Alarm {
    timer: Option<Timer>,
}

impl Alarm {
    /// Runs `future` for at most `limit` from when it first has to wait.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] when the limit passed first; the future has then been dropped.
    pub async fn within<F: Future>(
        &mut self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let mut is_set = false;
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            let timer = self.timer.get_or_insert_with(|| Timer::new(limit));
            if !std::mem::replace(&mut is_set, true) {
                timer.reset(limit);
            }
            Pin::new(timer).poll(context).map(|_| Err(Elapsed))
        })
        .await
    }
}

/// Runs `future` for at most `limit` from when it first has to wait.
///
/// # Errors
///
/// [`Elapsed`] when the limit passed first; the future has then been dropped.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    Alarm::default().within(limit, future).await
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
