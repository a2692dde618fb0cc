//! Adaptive bitrate in a model.
//!
//! A buffer, a trace of bandwidth and latency that is played in a loop, one latency a request. It is read as the
//! public simulator of BOLA's authors reads it (sabre). A segment is asked for once there is room for the whole of
//! it, and played once all of it is there. The wait for the first one counts as time, but is no stall; what is
//! given up has to come again from its first bit.
//!
//! The score of a playback is the mean over the whole time, stalls included, of log(bitrate / lowest), less five
//! times the stalls in segments; with segments of any length this is the mean over seconds of the logarithm, less
//! five for each second of a stall. It is held against the best that could be done by who knows the trace.

mod media;
mod optimum;
mod ours;
mod player;
mod reference;
mod trace;

use crate::replay::random::Random;
pub use media::{LADDER, MEDIA, Media, utility};
pub use optimum::optimum;
pub use ours::{Ours, Told};
pub use player::{BUFFER, Download, Outcome, Rule, STALL, View, play};
pub use reference::{BolaE, Dynamic, DynamicE, Original, Throughput};
pub use trace::Trace;

/// Uniform from 0 to below 1.
fn unit(random: &mut Random) -> f64 {
    (random.next() >> 11) as f64 / (1u64 << 53) as f64
}
