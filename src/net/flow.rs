//! How fast the body of an answer comes, for who wants to know what the line carries.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Told is what comes while it is waited for. Who reads may pause (a prefetch at its rate, a disk that is slow), and
//! what the line brought meanwhile lies in buffers: it comes at once, and says nothing.

use std::time::{Duration, Instant};

use url::Url;

/// A stretch of a body, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// What came.
    pub bytes: u64,
    /// How long it came, latency and pauses not included.
    pub time: Duration,
    /// From the request to the head of the answer.
    pub latency: Duration,
    /// It is all that came of this answer, and was told in stretches before.
    pub is_whole: bool,
}

/// Hears of the flow of one answer.
pub type Watch = Box<dyn FnMut(Flow)>;

/// Gives each request that is made for a URL somebody who hears of it.
pub(super) type Watches = Box<dyn Fn(&Url) -> Watch>;

/// A stretch is at least that long, but for the last one: even what is slow says something then.
const STRETCH: Duration = Duration::from_millis(500);

/// Who reads on within this has not paused.
const PAUSE: Duration = Duration::from_millis(50);

/// What comes sooner was there already.
const AT_ONCE: Duration = Duration::from_millis(1);

/// Measures one answer, until it is told that that is all.
pub(super) struct Meter {
    watch: Watch,
    latency: Duration,
    stretch: Came,
    whole: Came,
    /// When it was read last, or asked for since.
    since: Instant,
    is_asked: bool,
    /// What comes first came in a pause.
    is_behind_pause: bool,
}

/// Bytes, and how long they came.
#[derive(Debug, Clone, Copy, Default)]
struct Came {
    bytes: u64,
    time: Duration,
}

impl Meter {
    /// For an answer to what is asked `now`.
    pub(super) fn new(watch: Watch, now: Instant) -> Self {
        Self {
            watch,
            latency: Duration::ZERO,
            stretch: Came::default(),
            whole: Came::default(),
            since: now,
            is_asked: true,
            is_behind_pause: false,
        }
    }

    /// The head is there.
    pub(super) fn begins(&mut self, now: Instant) {
        self.latency = now.saturating_duration_since(self.since);
        (self.since, self.is_asked) = (now, false);
    }

    /// More is asked for.
    pub(super) fn asks(&mut self, now: Instant) {
        let paused = now.saturating_duration_since(self.since);
        if paused > PAUSE && !self.is_asked {
            self.is_behind_pause = true;
            self.since = now;
        }
        self.is_asked = true;
    }

    /// So much came of what was asked for.
    pub(super) fn comes(&mut self, bytes: u64, now: Instant) {
        let waited = now.saturating_duration_since(self.since);
        (self.since, self.is_asked) = (now, false);
        if self.is_behind_pause && waited < AT_ONCE {
            return;
        }
        self.is_behind_pause = false;
        self.add(bytes, waited);
        if self.stretch.time >= STRETCH {
            self.tell_stretch();
        }
    }

    /// Nothing comes any more.
    pub(super) fn ends(&mut self, now: Instant) {
        if self.is_asked {
            self.add(0, now.saturating_duration_since(self.since));
        }
        if self.stretch.bytes > 0 || !self.stretch.time.is_zero() {
            self.tell_stretch();
        }
        self.tell(self.whole, true);
    }

    fn add(&mut self, bytes: u64, time: Duration) {
        for came in [&mut self.stretch, &mut self.whole] {
            came.bytes += bytes;
            came.time += time;
        }
    }

    fn tell_stretch(&mut self) {
        let stretch = std::mem::take(&mut self.stretch);
        self.tell(stretch, false);
    }

    fn tell(&mut self, Came { bytes, time }: Came, is_whole: bool) {
        (self.watch)(Flow { bytes, time, latency: self.latency, is_whole });
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    /// A body that is read, and what is told of it: bytes, milliseconds, and whether that is all.
    struct Reading {
        meter: Meter,
        now: Instant,
        told: Rc<RefCell<Vec<(u64, u128, bool)>>>,
    }

    fn reading() -> Reading {
        let told = Rc::<RefCell<Vec<_>>>::default();
        let (into, now) = (Rc::clone(&told), Instant::now());
        let watch = Box::new(move |flow: Flow| {
            assert_eq!(flow.latency, Duration::from_millis(70));
            into.borrow_mut().push((flow.bytes, flow.time.as_millis(), flow.is_whole));
        });
        let mut meter = Meter::new(watch, now - Duration::from_millis(70));
        meter.begins(now);
        Reading { meter, now, told }
    }

    impl Reading {
        fn pause(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
        }

        /// So much comes after so long.
        fn read(&mut self, bytes: u64, millis: u64) {
            self.meter.asks(self.now);
            self.pause(millis);
            self.meter.comes(bytes, self.now);
        }

        fn end(mut self) -> Vec<(u64, u128, bool)> {
            self.meter.ends(self.now);
            self.told.take()
        }
    }

    #[test]
    fn what_comes_is_told_in_stretches_and_as_a_whole() {
        let mut reading = reading();
        (0..6).for_each(|_| reading.read(1000, 200));
        assert_eq!(reading.end(), [(3000, 600, false), (3000, 600, false), (6000, 1200, true)]);
    }

    #[test]
    fn what_came_while_nobody_read_says_nothing() {
        let mut reading = reading();
        reading.read(1000, 600);
        reading.pause(5000);
        (0..4).for_each(|_| reading.read(16_000, 0));
        reading.read(1000, 200);
        reading.read(1000, 0);
        assert_eq!(reading.end(), [(1000, 600, false), (2000, 200, false), (3000, 800, true)]);
    }

    #[test]
    fn waiting_in_vain_is_told_too() {
        let mut reading = reading();
        reading.read(1000, 10);
        reading.meter.asks(reading.now);
        reading.pause(3000);
        // Asked once more, since who waited was called away.
        reading.meter.asks(reading.now);
        reading.pause(1000);
        assert_eq!(reading.end(), [(1000, 4010, false), (1000, 4010, true)]);
    }

    #[test]
    fn an_answer_that_never_began_brought_nothing() {
        let told = Rc::<RefCell<Vec<_>>>::default();
        let (into, now) = (Rc::clone(&told), Instant::now());
        let mut meter = Meter::new(Box::new(move |flow| into.borrow_mut().push(flow)), now);
        meter.ends(now + Duration::from_secs(4));
        let flow = |is_whole| {
            let (time, latency) = (Duration::from_secs(4), Duration::ZERO);
            Flow { bytes: 0, time, latency, is_whole }
        };
        assert_eq!(told.take(), [flow(false), flow(true)]);
    }
}
