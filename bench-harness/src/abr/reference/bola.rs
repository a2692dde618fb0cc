//! BOLA (Spiteri, Urgaonkar and Sitaraman, INFOCOM 2016), with a buffer that grows and shrinks with what was and
//! what is to be played.

use super::{
    super::{BUFFER, LADDER, View, utility},
    line::{Line, within_its_length},
};

/// The buffer decides, but going up is at most one above what the line carries.
#[derive(Default)]
pub(super) struct Bola {
    last: usize,
}

impl Bola {
    /// What is worth as much as one unit of utility.
    const GAIN: f64 = 5.0;

    pub(super) fn choose(&mut self, line: &Line, view: &View) -> usize {
        let mut variant = Self::by_level(view);
        let carried = within_its_length(line, view, 1.0);
        if variant > self.last && variant > carried {
            variant = if self.last > carried { self.last } else { carried + 1 };
        }
        self.last = variant;
        variant
    }

    fn by_level(view: &View) -> usize {
        let segment = view.media.segment;
        let to_an_end = view.segment.min(view.media.segments() - view.segment) as f64;
        let buffer = BUFFER.min(segment * (to_an_end / 2.0).max(3.0));
        let weight = (buffer - segment) / (utility(LADDER.len() - 1) + Self::GAIN);
        let score = |variant: &usize| {
            (weight * (utility(*variant) + Self::GAIN) - view.buffer) / LADDER[*variant]
        };
        (0..LADDER.len()).rev().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or(0)
    }
}
