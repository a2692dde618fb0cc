//! How hard the encoder searches, by level.
//!
//! Pure: a table.
//!
//! The levels are those of the reference's tool in what they may use and in what they promise: 0 to 2
//! do without linear prediction, 5 is the default, 8 takes its time. All stay within the streamable
//! subset (RFC 9639 section 7), which allows orders to 12 at up to 48 kHz and 2^8 partitions, so that
//! every decoder plays every level.

/// Coefficients of the longest predictor.
pub(super) const MAX_ORDER: usize = 12;
/// Binary logarithm of the most partitions.
pub(super) const MAX_PARTITION_ORDER: u32 = 8;
/// Most windows that a signal is looked at through.
pub(super) const MAX_WINDOWS: usize = 3;

/// How two channels become the two that are coded (RFC 9639 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stereo {
    /// As they are.
    Independent,
    /// The pair of left, right, middle and side that is expected to be smallest.
    Estimated,
    /// All four are coded, and the smallest pair is kept.
    Tried,
}

/// What a level does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    pub(super) stereo: Stereo,
    /// The longest predictor that is computed from the signal; 0 is none.
    pub(super) order: usize,
    /// Binary logarithm of the most partitions of a residual.
    pub(super) partition_order: u32,
    /// Windows through which predictors are computed, each giving one to try: the whole block, then
    /// its halves.
    pub(super) windows: usize,
}

const fn effort(stereo: Stereo, order: usize, partition_order: u32, windows: usize) -> Effort {
    assert!(order <= MAX_ORDER && partition_order <= MAX_PARTITION_ORDER && windows <= MAX_WINDOWS);
    Effort { stereo, order, partition_order, windows }
}

/// All levels.
const LEVELS: [Effort; 9] = [
    effort(Stereo::Independent, 0, 3, 0),
    effort(Stereo::Estimated, 0, 3, 0),
    effort(Stereo::Estimated, 0, 5, 0),
    effort(Stereo::Independent, 6, 4, 1),
    effort(Stereo::Estimated, 8, 4, 1),
    effort(Stereo::Estimated, 8, 5, 1),
    effort(Stereo::Estimated, 8, 6, 3),
    effort(Stereo::Estimated, 12, 6, 3),
    effort(Stereo::Tried, 12, 8, 3),
];

impl Effort {
    /// What a level does; `None` above 8.
    pub(super) fn of(level: u8) -> Option<Self> {
        LEVELS.get(usize::from(level)).copied()
    }
}
