//! Throughput, as dash.js has it.

use super::{
    super::{Download, LADDER, Rule, View},
    line::{Line, Means, within_its_length},
};

/// The highest variant that comes in time at nine tenths of the throughput, if the buffer is enough for it.
#[derive(Default)]
pub struct Throughput {
    means: Means,
    careful: Careful,
}

/// How much of what the buffer lets come in time is asked for; less and less in the beginning.
pub(super) struct Careful(f64);

impl Default for Careful {
    fn default() -> Self {
        Self(0.9)
    }
}

impl Careful {
    /// The highest variant up to `variant` of which a segment comes before the buffer is empty.
    pub(super) fn limit(&mut self, line: &Line, view: &View, variant: usize) -> usize {
        let safe = self.0 * (view.buffer - line.latency) * line.rate;
        self.0 = (self.0 * 0.9).max(0.5);
        let is_safe = |&variant: &usize| LADDER[variant] * view.media.segment <= safe;
        (1..=variant).take_while(is_safe).last().unwrap_or(0)
    }
}

impl Throughput {
    pub(super) fn line(&self, view: &View) -> Option<Line> {
        self.means.line(view.media.segment)
    }

    pub(super) fn choose(&mut self, line: &Line, view: &View) -> usize {
        let variant = within_its_length(line, view, 0.9);
        self.careful.limit(line, view, variant)
    }
}

impl Rule for Throughput {
    fn choose(&mut self, view: &View) -> (usize, f64) {
        let line = self.line(view);
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
        let line = Line { rate, latency: self.line(view)?.latency };
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
