//! Which replays are made, what they print, and what they must reach.

use std::fmt;

use kithara::storage::policy::Kind;

use super::{Ratio, Trace, belady, replay};

/// Sizes of the cache, in percent of the bytes of all objects.
const PERCENTS: [u64; 2] = [1, 10];
/// Volumes that a cache is cut into for comparison.
const VOLUMES: u32 = 16;

/// Object hit ratios of S3-FIFO that a public simulator gave, by trace and percent. They came with
/// the traces.
const PUBLISHED: [(&str, u64, f64); 6] = [
    ("adaptsize_cdn", 1, 0.245),
    ("adaptsize_cdn", 10, 0.331),
    ("cloudphysics", 1, 0.176),
    ("cloudphysics", 10, 0.246),
    ("web07", 1, 0.438),
    ("web07", 10, 0.582),
];
/// What we may lie below those.
const BELOW_PUBLISHED: f64 = 0.01;
/// The least share of Belady's object hit ratio, mean of all cases.
const SHARE_OF_BELADY: f64 = 0.78;
/// The least share of the object hit ratio that is left when the cache is cut into [`VOLUMES`], mean
/// of all cases.
const SHARE_SHARDED: f64 = 0.98;
/// The same of each. At 1 % of the smallest trace a volume holds 13 objects.
const SHARE_SHARDED_EACH: f64 = 0.97;

/// One trace at one size of the cache.
#[derive(Debug, Clone)]
pub struct Case {
    /// Of the trace.
    pub name: String,
    /// The size of the cache, in percent of the trace's unique bytes.
    pub percent: u64,
    /// S3-FIFO on one volume.
    pub s3_fifo: Ratio,
    /// S3-FIFO on 16 volumes.
    pub sharded: Ratio,
    /// LRU on one volume.
    pub lru: Ratio,
    /// LRU on 16 volumes.
    pub lru_sharded: Ratio,
    /// The best there could be.
    pub belady: Ratio,
}

impl Case {
    fn new(trace: &Trace, percent: u64) -> Self {
        let capacity_bytes = trace.unique_bytes() * percent / 100;
        let replay = |kind, volumes| replay(trace, kind, capacity_bytes, volumes);
        Self {
            name: trace.name.clone(),
            percent,
            s3_fifo: replay(Kind::S3Fifo, 1),
            sharded: replay(Kind::S3Fifo, VOLUMES),
            lru: replay(Kind::Lru, 1),
            lru_sharded: replay(Kind::Lru, VOLUMES),
            belady: belady(trace, capacity_bytes),
        }
    }

    fn share_of_belady(&self) -> f64 {
        self.s3_fifo.objects / self.belady.objects
    }

    fn share_sharded(&self) -> f64 {
        self.sharded.objects / self.s3_fifo.objects
    }

    fn published(&self) -> Option<f64> {
        let is_this = |known: &&(&str, u64, f64)| known.0 == self.name && known.1 == self.percent;
        PUBLISHED.iter().find(is_this).map(|known| known.2)
    }
}

/// A row of a table, without its head.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published = self.published().map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
        write!(f, "{:14}{:3} % {published:>10}", self.name, self.percent)?;
        for ratio in [self.s3_fifo, self.sharded, self.lru, self.lru_sharded, self.belady] {
            write!(f, "  {:.3} {:.3}", ratio.objects, ratio.bytes)?;
        }
        write!(f, "  {:.3}  {:.3}", self.share_of_belady(), self.share_sharded())
    }
}

/// Every trace at every size. Shown as a table.
#[derive(Debug)]
pub struct Cases(pub Vec<Case>);

/// Replays them.
pub fn measure(traces: &[Trace]) -> Cases {
    let each = traces.iter().flat_map(|trace| PERCENTS.map(|percent| (trace, percent)));
    Cases(each.map(|(trace, percent)| Case::new(trace, percent)).collect())
}

impl Cases {
    fn mean(&self, of: impl Fn(&Case) -> f64) -> f64 {
        self.0.iter().map(of).sum::<f64>() / self.0.len() as f64
    }
}

impl fmt::Display for Cases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "hit ratios by objects and by bytes; shares by objects")?;
        write!(f, "{:20}{:>10}", "trace, size", "published")?;
        for column in ["S3-FIFO", "16 volumes", "LRU", "16 volumes", "Belady"] {
            write!(f, "  {column:11}")?;
        }
        writeln!(f, "  of Belady, sharded of one")?;
        self.0.iter().try_for_each(|case| writeln!(f, "{case}"))?;
        let (s3_fifo, sharded) = (self.mean(Case::share_of_belady), self.mean(Case::share_sharded));
        let lru = self.mean(|case| case.lru.objects / case.belady.objects);
        write!(f, "mean share of Belady's: S3-FIFO {s3_fifo:.3}, LRU {lru:.3}; ")?;
        write!(f, "left on {VOLUMES} volumes: {sharded:.3}")
    }
}

/// # Panics
/// When a floor is not reached; the message says which.
pub fn check(cases: &Cases) {
    for case in &cases.0 {
        let floor = case.published().map_or(0.0, |ratio| ratio - BELOW_PUBLISHED);
        assert!(case.s3_fifo.objects >= floor, "below what others reach: {case}");
        assert!(case.s3_fifo.objects > case.lru.objects, "LRU is better: {case}");
        assert!(case.belady.objects > case.s3_fifo.objects, "better than the best: {case}");
        assert!(case.share_sharded() >= SHARE_SHARDED_EACH, "volumes cost too much: {case}");
    }
    let of_belady = cases.mean(Case::share_of_belady);
    assert!(of_belady >= SHARE_OF_BELADY, "{of_belady:.3} of Belady's in the mean");
    let sharded = cases.mean(Case::share_sharded);
    assert!(sharded >= SHARE_SHARDED, "{sharded:.3} is left on {VOLUMES} volumes");
}
