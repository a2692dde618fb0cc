//! The executor and all that touches it: shards, task queues, sockets, timers, mailboxes.
//!
//! One pinned glommio executor per core is a *shard*. Everything above this folder is written
//! against these files and never names glommio. glommio 0.9 is not maintained upstream; what was
//! found out about it the hard way stands here, each with its remedy and where that lives.
//!
//! | trap | remedy | where |
//! |---|---|---|
//! | a panic in any task ends the shard's thread | every future is wrapped; a panic becomes a result and one log line | [`spawn`](spawn()), `panics.rs` |
//! | a panic of a shard's main future leaves the other shards running | the process exits with status 70 | `executor.rs` |
//! | the future of a task that lives when the main future returns is dropped without its executor, and what needs that panics | every task is ended first | [`spawn`](spawn()), `executor.rs` |
//! | a panic on the blocking pool never resolves, and the next call panics the shard | caught inside the closure | [`blocking()`] |
//! | the result of a blocking call whose future was dropped leaks | results travel by a channel of std | [`blocking()`] |
//! | dropping an `accept` future can lose a connection and its fd | the accept loop is never cancelled; it ends by shutting the socket | `listener.rs` |
//! | `Latency::Matters` does not bound latency | four queues by shares, a 250 us preemption timer | `queue.rs` |
//! | the blocking pool is pinned to the shard's own core | its threads are fenced to all cores | `executor.rs` |
//! | `TcpStream` has no vectored write | `sendmsg` on the descriptor, glommio only for readiness | `tcp.rs` |
//! | `connect_timeout` loses the descriptor | a socket of our own, non-blocking connect | `tcp.rs` |
//! | timers are not `Send`, hyper wants them so | `send_wrapper`, which checks the thread | `timer.rs` |
//! | hyper wants body bytes `Send`, their credits are not | the same | `lent.rs` |
//! | the first sleep of a shard is 20 ms late | each shard sleeps once before its main future | `executor.rs` |
//! | `ConnectedSender::send` panics when tasks race | only `try_send` is used | `mailbox.rs` |
//! | each poll of a shared channel's receiver stores one more waker | one pump task per peer polls it | `mailbox.rs` |
//! | threads of the pool inherit the shard's name | the thread is named after they are made | `executor.rs` |
//! | an executor that loses its CPU for 250 us between arming its preemption timer and the first task parks though tasks can run | a ring of the shard to itself holds a message while a task can run, so that another round follows instead | `rescue.rs` |
//! | the same before the first task, when nothing can be told to the executor yet | who starts the shard interrupts its thread by `SIGURG` until that task has run | `rescue.rs` |
//! | without io_uring it panics while starting | probed first, typed error | [`probe`] |

mod blocking;
pub mod channel;
mod clock;
mod doorbell;
mod error;
pub mod event;
mod eventfd;
mod executor;
mod heap;
mod lent;
mod listener;
pub mod mailbox;
mod panics;
mod queue;
mod read_file;
mod rescue;
pub mod signals;
mod spawn;
mod stats;
mod tcp;
mod timer;

pub use blocking::blocking;
pub use clock::{
    Alarm, Elapsed, core_time, need_preempt, now, sleep, timeout, wall_clock, yield_if_needed,
    yield_now,
};
pub use doorbell::{Doorbell, Ringer, doorbell};
pub use error::Error;
pub use eventfd::EventFd;
pub use executor::{Options, ShardId, give_up, lockable_bytes, locked_bytes, probe, run};
pub use heap::give_back_heap;
pub use lent::lend;
pub use listener::{Bound, Closer, TcpListener};
pub use panics::Panicked;
pub use queue::Queue;
pub use read_file::{ReadError, ReadFile};
pub use spawn::{Task, spawn};
pub use stats::{QueueStats, Stats, stats};
pub use tcp::{SocketOptions, TcpStream};
pub use timer::HyperTimer;
