//! How long a connection waits for its peer, kept by one timer that is set as seldom as can be.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use super::{Exchange, Waiting};
use crate::runtime;

/// A wait that is over when it is ready.
pub type Timer = Pin<Box<dyn Future<Output = ()>>>;

/// Where the time comes from: the shard's clock and timers, or a test's.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    /// What time it is.
    pub now: fn() -> Instant,
    /// Waits this long.
    pub sleep: fn(Duration) -> Timer,
}

impl Time {
    /// The time of the shard this runs on.
    pub const SHARD: Self =
        Self { now: runtime::now, sleep: |duration| Box::pin(runtime::sleep(duration)) };
}

/// The times of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the first byte of a head to its last; also between two pieces of a request body.
    pub header_timeout: Duration,
    /// Between two requests, and before the first.
    pub idle_timeout: Duration,
    /// While the peer takes no byte of a response.
    pub write_stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_stall: Duration::from_secs(30),
        }
    }
}

/// What the peer was too late with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// The next request. Close without a word.
    Idle,
    /// The rest of a head. The client is told.
    Head,
    /// The rest of a request body. The client is told.
    Body,
    /// Reading what was sent.
    Reading,
}

impl Late {
    /// The name of the limit, as it is counted in `kithara_refused_total{reason}`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle_timeout",
            Self::Head | Self::Body => "header_timeout",
            Self::Reading => "write_stall",
        }
    }
}

impl Patience {
    /// When patience with the peer ends, and for what, should nothing happen until then.
    pub fn due(&self, exchange: &Exchange) -> Option<(Instant, Late)> {
        if let Some(since) = exchange.blocked_since() {
            return Some((since + self.write_stall, Late::Reading));
        }
        match exchange.waiting() {
            (Waiting::Idle, since) => Some((since + self.idle_timeout, Late::Idle)),
            (Waiting::Head, since) => Some((since + self.header_timeout, Late::Head)),
            (Waiting::Body, since) => Some((since + self.header_timeout, Late::Body)),
            (Waiting::Nothing, _) => None,
        }
    }
}

/// Drives `conversation` until it ends or the peer of `exchange` is too late.
///
/// One timer per connection. It is set anew only when it fires, or when something is due before
/// it: requests that follow each other in time cost two comparisons.
///
/// # Cancellation
/// Drops the timer; `conversation` is left as it is.
pub async fn within<C: Future + Unpin>(
    mut conversation: C,
    exchange: &Exchange,
    patience: Patience,
    time: Time,
) -> Result<C::Output, Late> {
    let mut armed: Option<(Instant, Timer)> = None;
    poll_fn(move |cx| {
        if let Poll::Ready(output) = Pin::new(&mut conversation).poll(cx) {
            return Poll::Ready(Ok(output));
        }
        loop {
            let Some((due, late)) = patience.due(exchange) else { return Poll::Pending };
            match &mut armed {
                Some((at, timer)) if *at <= due => {
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    if (time.now)() >= due {
                        return Poll::Ready(Err(late));
                    }
                    armed = None;
                }
                _ => {
                    let rest = due.saturating_duration_since((time.now)());
                    armed = Some((due, (time.sleep)(rest)));
                }
            }
        }
    })
    .await
}
