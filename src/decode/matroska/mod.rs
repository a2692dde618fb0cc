//! Matroska and WebM: elements of EBML, what of a file symphonia's reader is not shown, and what it does
//! not say.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`](super::mp4::Read).
//!
//! Source: RFC 8794 for elements, RFC 9559 for what they mean.
//!
//! - `element`: headers, and what lies behind them;
//! - `hidden`: chapters and cues;
//! - `names`: what tracks are called;
//! - `times`: how long ticks are, and how long a codec's delay;
//! - `block`: the packets of a block.

mod block;
mod element;
mod hidden;
mod names;
mod times;

pub(super) use self::{
    block::{Block, Group, track_of},
    element::{CLUSTER, EBML, Element, GROUP, SEGMENT, SIMPLE_BLOCK, TIMESTAMP, number},
    hidden::without_chapters_and_cues,
    names::names,
    times::Times,
};
