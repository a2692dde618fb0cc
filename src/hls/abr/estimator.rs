//! What an origin carries, as far as can be told from what came of it.
//!
//! Pure: times are arguments.
//!
//! There is one for each origin on the node, on the shard that owns what is said about it. It is fed while bytes
//! come, so a line that breaks down in the middle of a segment is seen in that segment.

use std::time::{Duration, Instant};

/// Half-lives of the two means, of which the lower counts: one is quick to fall, the other slow to rise.
const HALF_LIVES_SECONDS: [f64; 2] = [2.0, 10.0];

/// A sample counts for the time since the one before, but for a pause at most this much: what was seen before a
/// pause says less than what is seen now.
const PAUSE_SECONDS: f64 = 5.0;

/// Less than this says more about latency and buffers on the way than about throughput.
const SMALL_BYTES: u64 = 4 * 1024;

/// Unless it took this long, which says that hardly anything comes.
const LONG: Duration = Duration::from_millis(500);

/// How far off the first prediction may be, as the deviation of a logarithm.
const FIRST_SPREAD: f64 = 0.5;

/// How long a first byte takes until that is known, seconds.
const FIRST_LATENCY: f64 = 0.1;

/// How much of what was believed about latency and spread the next fetch replaces.
const LATENCY_SHARE: f64 = 0.3;
const SPREAD_SHARE: f64 = 0.4;

/// A prediction is never further off than this, and no line is taken to be slower than that.
const FARTHEST: f64 = 2.5;
const SLOWEST: f64 = 1_000.0;

/// A stretch of a fetch from an origin, or the whole of it. What comes from the cache is none.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// How much came; nothing of a line that is dead.
    pub bytes: u64,
    /// How long it came, latency not included.
    pub duration: Duration,
    /// From the request to the first byte.
    pub latency: Duration,
}

/// What can be expected of an origin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Bits per second.
    pub bandwidth: f64,
    /// How far above that the quick mean is, as a logarithm: a rise that was seen, but not for long.
    pub rise: f64,
    /// Standard deviation of the logarithm of what came by what was expected.
    pub spread: f64,
    /// From a request to its first byte, seconds.
    pub latency: f64,
}

impl Estimate {
    /// What a disk of this node carries: more than any audio takes.
    pub const DISK: Self = Self { bandwidth: 1e9, rise: 0.0, spread: 0.1, latency: 0.001 };

    /// What is assumed where nothing is known but bits per second.
    pub(super) fn assumed(bandwidth: f64) -> Self {
        let bandwidth = bandwidth.max(SLOWEST);
        Self { bandwidth, rise: 0.0, spread: FIRST_SPREAD, latency: FIRST_LATENCY }
    }
}

/// Collects the samples of an origin.
#[derive(Debug)]
pub struct Estimator {
    means: [Mean; 2],
    last: Option<Instant>,
    latency: f64,
    variance: f64,
}

impl Default for Estimator {
    fn default() -> Self {
        let means = [Mean::default(); 2];
        Self { means, last: None, latency: FIRST_LATENCY, variance: FIRST_SPREAD * FIRST_SPREAD }
    }
}

impl Estimator {
    /// Takes a stretch of a fetch that ended `now`. `false`: it is too small to say anything, and the caller
    /// should go on counting until there is more.
    pub fn add(&mut self, sample: &Sample, now: Instant) -> bool {
        if !counts(sample) {
            return false;
        }
        let seconds = sample.duration.as_secs_f64();
        let since =
            self.last.map_or(seconds, |last| now.saturating_duration_since(last).as_secs_f64());
        let weight = since.clamp(seconds, seconds + PAUSE_SECONDS);
        for (mean, half_life) in self.means.iter_mut().zip(HALF_LIVES_SECONDS) {
            mean.add(bandwidth(sample), weight / half_life);
        }
        self.last = Some(now);
        true
    }

    /// Learns from a whole fetch how far off what was `expected` at its begin was.
    pub fn learn(&mut self, whole: &Sample, expected: Option<Estimate>) {
        if !counts(whole) {
            return;
        }
        self.latency += LATENCY_SHARE * (whole.latency.as_secs_f64() - self.latency);
        if let Some(expected) = expected {
            let off = (bandwidth(whole).max(SLOWEST) / expected.bandwidth).ln();
            let off = off.clamp(-FARTHEST, FARTHEST);
            self.variance += SPREAD_SHARE * (off * off - self.variance);
        }
    }

    /// What is expected now; nothing before the first sample.
    pub fn estimate(&self) -> Option<Estimate> {
        self.last?;
        let [quick, slow] = self.means.map(|mean| mean.value().max(SLOWEST));
        let bandwidth = quick.min(slow);
        Some(Estimate {
            bandwidth,
            rise: (quick / bandwidth).ln(),
            spread: self.variance.sqrt(),
            latency: self.latency,
        })
    }
}

fn counts(sample: &Sample) -> bool {
    sample.bytes >= SMALL_BYTES || sample.duration >= LONG
}

/// Bits per second.
fn bandwidth(sample: &Sample) -> f64 {
    sample.bytes as f64 * 8.0 / sample.duration.as_secs_f64().max(1e-3)
}

/// A mean in which what is older counts less.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn add(&mut self, value: f64, half_lives: f64) {
        let old = (-half_lives).exp2();
        self.sum = old * self.sum + (1.0 - old) * value;
        self.weight = old * self.weight + (1.0 - old);
    }

    fn value(self) -> f64 {
        self.sum / self.weight.max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that is looked at once a second.
    struct Line {
        estimator: Estimator,
        now: Instant,
    }

    impl Line {
        fn new() -> Self {
            Self { estimator: Estimator::default(), now: Instant::now() }
        }

        fn carries(&mut self, bits: u64, seconds: u32) -> f64 {
            for _ in 0..seconds {
                self.now += Duration::from_secs(1);
                self.estimator.add(&sample(bits / 8, 1.0), self.now);
            }
            self.bandwidth()
        }

        fn bandwidth(&self) -> f64 {
            self.estimator.estimate().map_or(0.0, |estimate| estimate.bandwidth)
        }
    }

    fn sample(bytes: u64, seconds: f64) -> Sample {
        let duration = Duration::from_secs_f64(seconds);
        Sample { bytes, duration, latency: Duration::from_millis(20) }
    }

    #[test]
    fn nothing_is_expected_before_anything_came() {
        assert_eq!(Estimator::default().estimate(), None);
    }

    #[test]
    fn a_fall_is_believed_in_seconds_and_a_rise_is_not() {
        let mut line = Line::new();
        assert!((line.carries(800_000, 60) - 800_000.0).abs() < 1.0);
        assert!(line.carries(80_000, 6) < 200_000.0, "after three half-lives of the quick one");
        assert!(line.carries(800_000, 6) < 700_000.0, "the slow one still counts");
        assert!(line.carries(800_000, 40) > 750_000.0);
    }

    #[test]
    fn a_rise_is_told_apart_from_a_fall() {
        let mut line = Line::new();
        let rise = |line: &Line| line.estimator.estimate().map_or(0.0, |estimate| estimate.rise);
        line.carries(100_000, 60);
        line.carries(800_000, 4);
        assert!(rise(&line) > 0.5, "the quick mean is ahead");
        line.carries(800_000, 60);
        line.carries(100_000, 4);
        assert!(rise(&line) == 0.0, "the quick mean is what counts");
    }

    #[test]
    fn what_is_small_counts_only_if_it_took_long() {
        let mut line = Line::new();
        line.carries(100_000, 20);
        assert!(!line.estimator.add(&sample(1000, 0.0001), line.now));
        assert!((line.bandwidth() - 100_000.0).abs() < 1.0);
        assert!(line.estimator.add(&sample(1000, 4.0), line.now));
        assert!(line.bandwidth() < 50_000.0);
    }

    #[test]
    fn a_line_that_is_dead_is_seen_though_nothing_comes() {
        let mut line = Line::new();
        line.carries(100_000, 20);
        assert!(line.carries(0, 8) < 10_000.0);
    }

    #[test]
    fn surprises_widen_what_is_expected() {
        let mut estimator = Estimator::default();
        let now = Instant::now();
        estimator.add(&sample(100_000, 1.0), now);
        let expected = estimator.estimate();
        for _ in 0..40 {
            estimator.learn(&sample(100_000, 1.0), expected);
        }
        let calm = estimator.estimate().expect("samples came").spread;
        for _ in 0..40 {
            estimator.learn(&sample(20_000, 1.0), expected);
        }
        let wild = estimator.estimate().expect("samples came").spread;
        assert!(calm < 0.05 && wild > 1.5, "{calm} {wild}");
    }
}
