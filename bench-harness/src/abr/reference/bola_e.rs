//! BOLA-E (Spiteri, Sitaraman and Sparacio, From Theory to Practice, MMSys 2018).

use super::{
    super::{BUFFER, Download, LADDER, Rule, View, utility},
    line::{Line, Means, within_its_length},
    throughput::Careful,
};

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
