//! All buffer memory of one core: aligned blocks on loan from a slab, under one byte budget.
//!
//! Every byte that waits for a disk, a decoder or a client lies in a [`Block`]. A pool never gives
//! out more than its budget: when it is used up, [`BufPool::take`] says [`Exhausted`] and the
//! caller decides who waits and who is refused. Memory that others insist on allocating for
//! themselves (DMA buffers, decoder state) is counted in the same budget by [`BufPool::charge`].
//!
//! A block is written by one owner ([`BlockMut`]), then frozen and shared ([`Block`]). It may be
//! dropped on any core and comes home to the pool that made it. That way home is the one lock of
//! the data path.
//!
//! Memory that nobody needs need not lie waste: who has a use for it [keeps](Spare) blocks there, and
//! gives them up when they are [asked for](BufPool::on_shortage). They never stand in the way of a
//! loan. And who was refused can [wait](BufPool::turn) in line until there is memory again.

mod block;
mod line;
mod pool;

pub use block::{Block, BlockMut, Memory, Spare};
pub use line::Turn;
pub use pool::{BufPool, Charge, Class, Exhausted, Idle, Options, Stats};
