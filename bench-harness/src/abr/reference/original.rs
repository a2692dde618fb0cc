//! The rule of the design this node began with.

use super::{
    super::{Download, LADDER, Rule, View},
    line::Means,
};

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
