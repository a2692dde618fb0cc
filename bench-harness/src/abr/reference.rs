//! Rules that ours is held against: throughput, BOLA-E and DYNAMIC as dash.js has them and the public
//! simulator of its authors tells them, and that of the design this node began with.

use super::{BUFFER, Download, LADDER, Rule, View, utility};

/// The highest variant of which a segment comes within its own length.
fn within_its_length(line: &Line, view: &View, safety: f64) -> usize {
    let segment = view.media.segment;
    let fits = |&variant: &usize| {
        line.latency + segment * LADDER[variant] / (line.rate * safety) <= segment
    };
    (1..LADDER.len()).take_while(fits).last().unwrap_or(0)
}

/// What is thought of the line.
#[derive(Clone, Copy)]
struct Line {
    /// Bits per second.
    rate: f64,
    /// Seconds.
    latency: f64,
}

/// Two means with weights that halve over time, of which the more careful counts.
struct Means {
    half_lives: [f64; 2],
    rates: [f64; 2],
    latencies: [f64; 2],
    seconds: f64,
    samples: f64,
}

impl Means {
    fn new(half_lives: [f64; 2]) -> Self {
        Self { half_lives, rates: [0.0; 2], latencies: [0.0; 2], seconds: 0.0, samples: 0.0 }
    }

    fn push(&mut self, download: &Download, segment: f64) {
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

    fn line(&self, segment: f64) -> Option<Line> {
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

/// The highest variant that comes in time at nine tenths of the throughput, if the buffer is enough for it.
#[derive(Default)]
pub struct Throughput {
    means: Means,
    careful: Careful,
}

/// How much of what the buffer lets come in time is asked for; less and less in the beginning.
struct Careful(f64);

impl Default for Careful {
    fn default() -> Self {
        Self(0.9)
    }
}

impl Careful {
    /// The highest variant up to `variant` of which a segment comes before the buffer is empty.
    fn limit(&mut self, line: &Line, view: &View, variant: usize) -> usize {
        let safe = self.0 * (view.buffer - line.latency) * line.rate;
        self.0 = (self.0 * 0.9).max(0.5);
        let is_safe = |&variant: &usize| LADDER[variant] * view.media.segment <= safe;
        (1..=variant).take_while(is_safe).last().unwrap_or(0)
    }
}

impl Throughput {
    fn choose(&mut self, line: &Line, view: &View) -> usize {
        let variant = within_its_length(line, view, 0.9);
        self.careful.limit(line, view, variant)
    }
}

impl Rule for Throughput {
    fn choose(&mut self, view: &View) -> (usize, f64) {
        let line = self.means.line(view.media.segment);
        (line.map_or(0, |line| Self::choose(self, &line, view)), 0.0)
    }

    fn abandon(&mut self, view: &View, download: &Download) -> Option<usize> {
        let receiving = download.time - download.latency;
        if download.time < 0.5 || receiving <= 0.0 || download.got <= 0.0 {
            return None;
        }
        let rate = download.got / receiving;
        let left = download.bits - download.got;
        let is_late = download.time + left / rate > 1.8 * view.media.segment;
        let line = Line { rate, latency: self.means.line(view.media.segment)?.latency };
        let instead = within_its_length(&line, view, 0.9);
        let bits = download.bits * LADDER[instead] / LADDER[download.variant];
        (is_late && instead < download.variant && bits < left).then_some(instead)
    }

    fn fetched(&mut self, view: &View, download: &Download, abandoned: Option<usize>) {
        if abandoned.is_none() {
            self.means.push(download, view.media.segment);
        }
    }
}

/// BOLA-E: the buffer decides, with a placeholder for what it would hold had the line been fast from the start.
pub struct BolaE {
    means: Means,
    careful: Careful,
    /// Seconds of buffer per unit of utility.
    weight: f64,
    gain: f64,
    placeholder: f64,
    last: usize,
    is_steady: bool,
}

impl BolaE {
    /// The buffer below which the lowest variant is taken, seconds.
    const MINIMUM: f64 = 10.0;
    /// What each variant asks of the buffer beyond that, seconds.
    const EACH: f64 = 2.0;

    /// For the ladder and buffer of the model.
    pub fn new() -> Self {
        let buffer = BUFFER.max(Self::MINIMUM + Self::EACH * LADDER.len() as f64);
        let gain = utility(LADDER.len() - 1) / (buffer / Self::MINIMUM - 1.0);
        Self {
            means: Means::default(),
            careful: Careful::default(),
            weight: Self::MINIMUM / gain,
            gain,
            placeholder: 0.0,
            last: 0,
            is_steady: false,
        }
    }

    /// Utilities begin at 1 here.
    fn reach(&self, variant: usize) -> f64 {
        self.weight * (1.0 + utility(variant) + self.gain)
    }

    fn score(&self, variant: usize, level: f64, bits: f64) -> f64 {
        (self.reach(variant) - level) / bits
    }

    fn by_level(&self, level: f64) -> usize {
        let score = |variant: &usize| self.score(*variant, level, LADDER[*variant]);
        (0..LADDER.len()).rev().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or(0)
    }

    /// The level from which on `variant` is preferred to all below.
    fn least_level(&self, variant: usize) -> f64 {
        let (rate, worth) = (LADDER[variant], 1.0 + utility(variant));
        let beyond = |lower: usize| {
            let (lower_rate, lower_worth) = (LADDER[lower], 1.0 + utility(lower));
            let crossing = (rate * lower_worth - lower_rate * worth) / (rate - lower_rate);
            self.weight * (self.gain + crossing)
        };
        (0..variant).map(beyond).fold(0.0, f64::max)
    }

    fn begin(&mut self, line: &Line, view: &View) -> usize {
        self.is_steady = true;
        let variant = within_its_length(line, view, 1.0);
        self.placeholder = (self.least_level(variant) - view.buffer).max(0.0);
        variant
    }

    fn go_on(&mut self, line: &Line, view: &View) -> (usize, f64) {
        let mut variant = self.by_level(view.buffer + self.placeholder);
        let carried = within_its_length(line, view, 1.0);
        if variant > self.last && variant > carried {
            variant = self.last.max(carried) + 1;
            variant = variant.min(self.by_level(view.buffer + self.placeholder));
        }
        let wait = self.wait(view, variant);
        let safe = self.careful.limit(line, view, variant);
        if safe == variant {
            return (variant, wait);
        }
        let most = (self.least_level(safe) - view.buffer).max(0.0);
        self.placeholder = self.placeholder.min(most);
        (safe, 0.0)
    }

    /// What is too much in the buffer is taken from the placeholder first.
    fn wait(&mut self, view: &View, variant: usize) -> f64 {
        let over = (view.buffer + self.placeholder - self.reach(variant)).max(0.0);
        let from_placeholder = over.min(self.placeholder);
        self.placeholder -= from_placeholder;
        if variant == LADDER.len() - 1 { 0.0 } else { over - from_placeholder }
    }
}

impl Default for BolaE {
    fn default() -> Self {
        Self::new()
    }
}

impl Rule for BolaE {
    fn choose(&mut self, view: &View) -> (usize, f64) {
        match self.means.line(view.media.segment) {
            None => (self.last, 0.0),
            Some(line) if !self.is_steady => (self.begin(&line, view), 0.0),
            Some(line) => self.go_on(&line, view),
        }
    }

    fn abandon(&mut self, view: &View, download: &Download) -> Option<usize> {
        let receiving = download.time - download.latency;
        if download.got <= 0.0 || receiving <= 0.0 {
            return None;
        }
        // As it will be after the latency of another request.
        let level = (view.buffer + self.placeholder - download.latency).max(0.0);
        let left = download.bits - download.got - download.latency * download.got / receiving;
        if left <= 0.0 {
            return None;
        }
        let mut best = (self.score(download.variant, level, left), None);
        for (variant, rate) in LADDER.iter().enumerate().take(download.variant) {
            let bits = download.bits * rate / LADDER[download.variant];
            let score = self.score(variant, level, bits);
            if bits < left && score > best.0 {
                best = (score, Some(variant));
            }
        }
        best.1
    }

    fn fetched(&mut self, view: &View, download: &Download, abandoned: Option<usize>) {
        self.last = download.variant;
        if let Some(instead) = abandoned {
            let wanted = if instead > 0 { self.least_level(instead) } else { Self::MINIMUM };
            self.placeholder = self.placeholder.min((wanted - view.buffer).max(0.0));
            return;
        }
        self.means.push(download, view.media.segment);
        let level = (view.buffer - view.media.segment).max(0.0);
        let before = level + download.time;
        self.placeholder = self.placeholder.min((self.reach(download.variant) - before).max(0.0));
        if level > 0.0 {
            self.placeholder = self.placeholder.max(self.least_level(download.variant) - before);
        }
    }

    fn waited(&mut self, seconds: f64) {
        self.placeholder += seconds;
    }
}

/// DYNAMIC: throughput while the buffer is low, BOLA-E once it is not.
#[derive(Default)]
pub struct Dynamic {
    bola: BolaE,
    throughput: Throughput,
    by_buffer: bool,
}

impl Dynamic {
    /// Where the buffer ceases to decide, and where it begins to, seconds.
    const LOW: f64 = 5.0;
    const HIGH: f64 = 10.0;
}

impl Rule for Dynamic {
    fn choose(&mut self, view: &View) -> (usize, f64) {
        let threshold = if self.by_buffer { Self::LOW } else { Self::HIGH };
        self.by_buffer = view.buffer > threshold;
        if self.by_buffer {
            self.bola.choose(view)
        } else {
            Rule::choose(&mut self.throughput, view)
        }
    }

    fn abandon(&mut self, view: &View, download: &Download) -> Option<usize> {
        if self.by_buffer {
            self.bola.abandon(view, download)
        } else {
            self.throughput.abandon(view, download)
        }
    }

    fn fetched(&mut self, view: &View, download: &Download, abandoned: Option<usize>) {
        self.bola.fetched(view, download, abandoned);
        self.throughput.fetched(view, download, abandoned);
    }

    fn waited(&mut self, seconds: f64) {
        self.bola.waited(seconds);
    }
}

/// The original design's: two thirds of the throughput, up only where that is 1.3 times the present rate and ten
/// seconds are there, and thirty seconds between switches.
pub struct Original {
    means: Means,
    current: usize,
    switched: f64,
}

impl Default for Original {
    fn default() -> Self {
        Self { means: Means::new([2.0, 10.0]), current: 0, switched: f64::NEG_INFINITY }
    }
}

impl Rule for Original {
    fn choose(&mut self, view: &View) -> (usize, f64) {
        let Some(line) = self.means.line(view.media.segment) else { return (self.current, 0.0) };
        let carried = line.rate / 1.5;
        let wanted = (1..LADDER.len()).take_while(|&at| LADDER[at] <= carried).last().unwrap_or(0);
        let is_up = wanted > self.current;
        let may_go_up = carried >= 1.3 * LADDER[self.current] && view.buffer >= 10.0;
        let has_held = view.now - self.switched >= 30.0;
        if wanted != self.current && has_held && (!is_up || may_go_up) {
            self.current = wanted;
            self.switched = view.now;
        }
        (self.current, 0.0)
    }

    fn fetched(&mut self, view: &View, download: &Download, _abandoned: Option<usize>) {
        // Samples below 16 kB are dropped.
        if download.bits >= 128e3 {
            self.means.push(download, view.media.segment);
        }
    }
}
