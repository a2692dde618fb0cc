//! What the rules think of the line.

use super::super::{Download, LADDER, View};

/// The highest variant of which a segment comes within its own length.
pub(super) fn within_its_length(line: &Line, view: &View, safety: f64) -> usize {
    let segment = view.media.segment;
    let fits = |&variant: &usize| {
        line.latency + segment * LADDER[variant] / (line.rate * safety) <= segment
    };
    (1..LADDER.len()).take_while(fits).last().unwrap_or(0)
}

/// What is thought of the line.
#[derive(Clone, Copy)]
pub(super) struct Line {
    /// Bits per second.
    pub(super) rate: f64,
    /// Seconds.
    pub(super) latency: f64,
}

/// Two means with weights that halve over time, of which the more careful counts.
pub(super) struct Means {
    half_lives: [f64; 2],
    rates: [f64; 2],
    latencies: [f64; 2],
    seconds: f64,
    samples: f64,
}

impl Means {
    pub(super) fn new(half_lives: [f64; 2]) -> Self {
        Self { half_lives, rates: [0.0; 2], latencies: [0.0; 2], seconds: 0.0, samples: 0.0 }
    }

    pub(super) fn push(&mut self, download: &Download, segment: f64) {
        let seconds = download.time - download.latency;
        for at in 0..2 {
            let old = 0.5_f64.powf(seconds / self.half_lives[at]);
            self.rates[at] = old * self.rates[at] + (1.0 - old) * download.bits / seconds;
            let old = 0.5_f64.powf(segment / self.half_lives[at]);
            self.latencies[at] = old * self.latencies[at] + (1.0 - old) * download.latency;
        }
        self.seconds += seconds;
        self.samples += 1.0;
    }

    pub(super) fn line(&self, segment: f64) -> Option<Line> {
        let full = |weight: f64, at: usize| 1.0 - 0.5_f64.powf(weight / self.half_lives[at]);
        let rate = |at: usize| self.rates[at] / full(self.seconds, at);
        let latency = |at: usize| self.latencies[at] / full(self.samples * segment, at);
        (self.samples > 0.0)
            .then(|| Line { rate: rate(0).min(rate(1)), latency: latency(0).max(latency(1)) })
    }
}

impl Default for Means {
    fn default() -> Self {
        Self::new([3.0, 8.0])
    }
}
