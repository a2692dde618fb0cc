//! The node's controller as a rule of the model.

use std::time::{Duration, Instant};

use kithara::hls::abr::{
    Coming, Controller, Decision, Epoch, Estimate, Estimator, Fetch, First, Ladder, Mode, Sample,
    SegmentIndex, Situation, VariantIndex,
};

use super::{BUFFER, Download, LADDER, Rule, Trace, View};

/// What is assumed of an origin that nothing is known of, bits per second.
const ASSUMED: u32 = 128_000;

/// The node's controller with an origin of its own.
pub struct Ours {
    ladder: Ladder,
    controller: Controller,
    estimator: Estimator,
    begin: Instant,
    /// What was expected when the present fetch began.
    expected: Option<Estimate>,
    /// What of the present fetch the estimator has seen: bits, and seconds since the request.
    seen: (f64, f64),
    /// What is known of the line, in place of what is estimated.
    told: Option<Estimate>,
}

impl Default for Ours {
    fn default() -> Self {
        Self {
            ladder: Ladder::new(&LADDER.map(|rate| rate as u64)),
            controller: Controller::new(Mode::Auto, First::Bandwidth(ASSUMED)),
            estimator: Estimator::default(),
            begin: Instant::now(),
            expected: None,
            seen: (0.0, 0.0),
            told: None,
        }
    }
}

impl Ours {
    fn now(&self, view: &View) -> Instant {
        self.begin + Duration::from_secs_f64(view.now)
    }

    /// Calls `decide` with what the controller may know.
    fn in_situation<T>(
        &mut self,
        view: &View,
        decide: impl FnOnce(&mut Controller, &Situation<'_>) -> T,
    ) -> T {
        let sizes = |variant: VariantIndex, segment: SegmentIndex| {
            let bits = view.media.bits.get(segment.0 as usize)?;
            Some((bits[usize::from(variant.0)] / 8.0) as u64)
        };
        let situation = Situation {
            ladder: &self.ladder,
            estimate: self.told.or(self.estimator.estimate()),
            segment: SegmentIndex(view.segment as u32),
            epoch: Epoch(0),
            ahead: Duration::from_secs_f64(view.buffer),
            capacity: Duration::from_secs_f64(BUFFER),
            coming: Coming {
                segments: (view.media.segments() - view.segment) as u32,
                duration: Duration::from_secs_f64(view.media.segment),
                sizes: &sizes,
            },
        };
        decide(&mut self.controller, &situation)
    }

    /// Tells the estimator what came since it was told last.
    fn tell(&mut self, view: &View, download: &Download) {
        let (bits, until) = self.seen;
        let from = until.max(download.latency);
        let sample = sample(download.got - bits, download.time - from, download.latency);
        if download.time > from && self.estimator.add(&sample, self.now(view)) {
            self.seen = (download.got, download.time);
        }
    }
}

fn sample(bits: f64, seconds: f64, latency: f64) -> Sample {
    Sample {
        bytes: (bits / 8.0) as u64,
        duration: Duration::from_secs_f64(seconds),
        latency: Duration::from_secs_f64(latency),
    }
}

fn take(controller: &mut Controller, decision: &Decision, situation: &Situation<'_>) -> usize {
    controller.apply(decision, situation).expect("nothing happened in between");
    usize::from(decision.variant.0)
}

impl Rule for Ours {
    fn choose(&mut self, view: &View) -> (usize, f64) {
        self.expected = self.estimator.estimate();
        let variant = self.in_situation(view, |controller, situation| {
            let decision = controller.decide(situation).expect("there are variants");
            take(controller, &decision, situation)
        });
        (variant, 0.0)
    }

    fn abandon(&mut self, view: &View, download: &Download) -> Option<usize> {
        self.tell(view, download);
        let fetch = Fetch {
            variant: VariantIndex(download.variant as u8),
            bytes: Some((download.bits / 8.0) as u64),
            got: (download.got / 8.0) as u64,
            // In the model a fetch is the whole line, of which the estimator hears while bytes come.
            pace: None,
            silent: Duration::ZERO,
        };
        self.in_situation(view, |controller, situation| {
            let decision = controller.give_up(situation, &fetch)?;
            Some(take(controller, &decision, situation))
        })
    }

    fn fetched(&mut self, view: &View, download: &Download, _abandoned: Option<usize>) {
        self.tell(view, download);
        self.seen = (0.0, 0.0);
        if download.time > download.latency {
            let seconds = download.time - download.latency;
            self.estimator.learn(&sample(download.got, seconds, download.latency), self.expected);
        }
        self.expected = self.estimator.estimate();
    }
}

/// Ours, but told what the line will carry in the next seconds: how much of what is missing to the optimum is
/// missing knowledge.
pub struct Told<'a> {
    ours: Ours,
    trace: &'a Trace,
    seconds: f64,
}

impl<'a> Told<'a> {
    /// How far off what is told is for a whole segment, as the deviation of a logarithm.
    const SPREAD: f64 = 0.2;

    /// Of a line of which so many seconds are known in advance.
    pub fn new(trace: &'a Trace, seconds: f64) -> Self {
        Self { ours: Ours::default(), trace, seconds }
    }

    fn look(&mut self, view: &View) {
        let bits = self.trace.bits_by(view.now + self.seconds) - self.trace.bits_by(view.now);
        let latency = self.trace.first_byte(view.now) - view.now;
        let bandwidth = (bits / self.seconds).max(1e3);
        let told = Estimate { bandwidth, rise: 0.0, spread: Self::SPREAD, latency };
        self.ours.told = Some(told);
    }
}

impl Rule for Told<'_> {
    fn choose(&mut self, view: &View) -> (usize, f64) {
        self.look(view);
        self.ours.choose(view)
    }

    fn abandon(&mut self, view: &View, download: &Download) -> Option<usize> {
        self.look(view);
        self.ours.abandon(view, download)
    }

    fn fetched(&mut self, view: &View, download: &Download, abandoned: Option<usize>) {
        self.ours.fetched(view, download, abandoned);
    }
}
