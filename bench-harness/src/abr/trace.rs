//! What a line carries: periods of bandwidth and latency, played in a loop.

use std::{fs, path::Path};

use serde_json::Value;

use super::{Random, unit};

/// A piecewise constant line.
pub struct Trace {
    /// What it is called.
    pub name: String,
    periods: Vec<Period>,
    /// When each period begins and what has come by then; after the last, the same of the whole.
    begins: Vec<(f64, f64)>,
}

/// A stretch of time in which the line stays the same.
#[derive(Clone, Copy)]
struct Period {
    seconds: f64,
    /// Bits per second.
    bandwidth: f64,
    /// From a request to its first byte, seconds.
    latency: f64,
}

impl Trace {
    /// # Panics
    /// When nothing ever comes, so that a download would never end.
    fn new(name: String, periods: Vec<Period>) -> Self {
        let mut begins = vec![(0.0, 0.0)];
        let (mut time, mut bits) = (0.0, 0.0);
        for period in &periods {
            time += period.seconds;
            bits += period.seconds * period.bandwidth;
            begins.push((time, bits));
        }
        assert!(bits > 0.0, "{name} carries nothing");
        Self { name, periods, begins }
    }

    /// Reads a list of `{duration_ms, bandwidth_kbps, latency_ms}`; `scale` multiplies the bandwidth.
    ///
    /// # Panics
    /// When it is none.
    pub fn read(path: &Path, scale: f64) -> Self {
        let text = fs::read_to_string(path).expect("the trace is readable");
        let list: Value = serde_json::from_str(&text).expect("a trace is JSON");
        let period = |entry: &Value| {
            let number = |key: &str| entry[key].as_f64().expect("a trace has numbers");
            Period {
                seconds: number("duration_ms") / 1e3,
                bandwidth: number("bandwidth_kbps") * 1e3 * scale,
                latency: number("latency_ms") / 1e3,
            }
        };
        let periods = list.as_array().expect("a trace is a list").iter().map(period).collect();
        Self::new(path.display().to_string(), periods)
    }

    /// A line that jumps between eight levels from 24 to 640 kbit/s, mostly to a neighbour, and is
    /// gone now and then.
    pub fn markov(seed: u64) -> Self {
        const LEVELS: u64 = 8;
        let mut random = Random(seed);
        let mut level = random.below(LEVELS);
        let mut periods = Vec::new();
        for _ in 0..200 {
            let is_gone = unit(&mut random) < 0.02;
            let top = (640.0_f64 / 24.0).ln() / (LEVELS - 1) as f64;
            let bandwidth = 24e3 * (top * level as f64).exp() * (0.85 + 0.3 * unit(&mut random));
            let mean_seconds = if is_gone { 4.0 } else { 10.0 };
            periods.push(Period {
                seconds: 0.5 - mean_seconds * (1.0 - unit(&mut random)).ln(),
                bandwidth: if is_gone { 0.0 } else { bandwidth },
                latency: 0.05 + 0.1 * unit(&mut random),
            });
            level = match unit(&mut random) {
                x if x < 0.1 => random.below(LEVELS),
                x if x < 0.55 => level.saturating_sub(1),
                _ => (level + 1).min(LEVELS - 1),
            };
        }
        Self::new(format!("markov {seed}"), periods)
    }

    /// When the first byte of a request of that time comes.
    pub fn first_byte(&self, asked: f64) -> f64 {
        let (whole, _) = self.whole();
        let at = self.begins.partition_point(|&(begin, _)| begin <= asked % whole);
        asked + self.periods[(at - 1).min(self.periods.len() - 1)].latency
    }

    /// What has come at that time, of a download that began with the line.
    pub fn bits_by(&self, time: f64) -> f64 {
        let (whole, bits) = self.whole();
        let rest = time % whole;
        let at = self.begins.partition_point(|&(begin, _)| begin <= rest).min(self.periods.len());
        let (begin, before) = self.begins[at - 1];
        (time / whole).floor() * bits + before + (rest - begin) * self.periods[at - 1].bandwidth
    }

    /// When `bits` have come that begin to come at `from`.
    pub fn end(&self, from: f64, bits: f64) -> f64 {
        let (whole, each) = self.whole();
        let target = self.bits_by(from) + bits;
        let rest = target % each;
        let at =
            self.begins.partition_point(|&(_, before)| before < rest).clamp(1, self.periods.len());
        let (begin, before) = self.begins[at - 1];
        // A line that is gone carries nothing of what remains, so what is divided by is not zero.
        let within =
            if rest > before { (rest - before) / self.periods[at - 1].bandwidth } else { 0.0 };
        ((target / each).floor() * whole + begin + within).max(from)
    }

    fn whole(&self) -> (f64, f64) {
        self.begins[self.begins.len() - 1]
    }
}
