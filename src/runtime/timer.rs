//! hyper's timer on the shard's clock.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use glommio::timer::Timer;
use hyper::rt::Sleep;
use send_wrapper::SendWrapper;

use super::clock;

/// The timer to give to hyper's builders. Without one hyper's header timeout silently does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct HyperTimer;

impl hyper::rt::Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(HyperSleep::after(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(clock::now()))
    }

    fn now(&self) -> Instant {
        clock::now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<HyperSleep>() {
            Some(mut sleep) => sleep.reset(deadline),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

/// A timer of the shard that claims to be `Send`.
///
/// hyper wants `Send + Sync` of every sleep, though a connection never leaves its shard. The
/// wrapper checks at each use, and at its drop, that this is still the thread that made it, so a
/// mistake is a panic and never a race.
struct HyperSleep(SendWrapper<Timer>);

impl HyperSleep {
    fn after(duration: Duration) -> Self {
        Self(SendWrapper::new(Timer::new(duration)))
    }

    fn reset(&mut self, deadline: Instant) {
        self.0.reset(deadline.saturating_duration_since(clock::now()));
    }
}

impl Sleep for HyperSleep {}

impl fmt::Debug for HyperSleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HyperSleep")
    }
}

impl Future for HyperSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut *self.0).poll(context).map(|_| ())
    }
}
