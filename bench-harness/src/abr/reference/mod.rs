//! Rules that ours is held against, as the public simulator of their authors has them (sabre), and that of the
//! design this node began with.
//!
//! On the same traces the simulator gave nearly the same shares of the optimum, for `3g` with segments of 4 and of
//! 10 s: BOLA-E 84 and 50 % (here 84 and 52), DYNAMIC 81 and 64 % (80 and 63), DYNAMIC with BOLA-E 84 and 50 % (84
//! and 52). Only throughput is better there, 69 and 52 % (63 and 49): what it gives a fetch up for is not taken there,
//! the rule is asked again. What dash.js ships today differs: the buffer that is not there fades, and going up stops
//! at what the line carries instead of one above. That gave 73 and 61 %.

mod bola;
mod bola_e;
mod dynamic;
mod line;
mod original;
mod throughput;

pub use bola_e::BolaE;
pub use dynamic::{Dynamic, DynamicE};
pub use original::Original;
pub use throughput::Throughput;
