//! What the lines to origins carry, by what came over them.
//!
//! Pure: no I/O, no clock, no executor.

use std::{cell::RefCell, collections::HashMap, time::Instant};

use crate::hls::abr::{Estimate, Estimator, Sample};

/// Origins that are kept in mind: those that are configured, and more only where there are very many.
const LINES: usize = 1024;

/// Those of all origins.
#[derive(Default)]
pub(super) struct Lines {
    by_origin: RefCell<HashMap<String, Estimator>>,
}

impl Lines {
    /// What is expected of an origin, if anything came of it.
    pub(super) fn estimate(&self, origin: &str) -> Option<Estimate> {
        self.by_origin.borrow().get(origin)?.estimate()
    }

    /// What came of an origin by one fetch, which has just ended.
    pub(super) fn learn(&self, origin: &str, sample: &Sample, now: Instant) {
        let mut by_origin = self.by_origin.borrow_mut();
        if by_origin.len() >= LINES && !by_origin.contains_key(origin) {
            by_origin.clear();
        }
        let line = by_origin.entry(origin.to_owned()).or_default();
        let expected = line.estimate();
        line.add(sample, now);
        line.learn(sample, expected);
    }
}
