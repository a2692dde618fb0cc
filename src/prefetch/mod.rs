//! Bringing sources into the cache before anybody asks for them.
//!
//! One [`Prefetches`] of a node holds the queue: on the shard of the operator's listener, or of the
//! command that fills a cache without a node. It takes prefetches in, durably where there is a cache
//! directory, and has the shard that owns each source do the work, as one of its sessions
//! ([`Job::Prefetch`](crate::shard::Job)).
//!
//! - `spec` (P): the JSON of a request; `playlist` (P): a file that lists sources;
//! - `queue` (P): order, limits, attempts, and what became of each;
//! - `journal` (P), `ledger`: the queue on disk;
//! - `status` (P): what the operator is told;
//! - `prefetches` carries out what the queue decides; `lists` reads the lists among the sources.
//!
//! # How it stays behind clients
//!
//! A step of a prefetch is 256 KiB. Each is allowed by the rate of its origin here, and by the
//! background queue of the core that does it; the fetch takes no byte that no step allows, unless a
//! client waits for it too (`assets/pace`). Of one origin a few run at a time, and a client's fetch
//! takes the place of a prefetch's where a resource has as many as it may (`file/plan`).
//!
//! What is known of an origin (how many run, its rate, until when it asked to be left alone) is of the
//! whole node, since the one queue is on one shard: a lane's slot is the permit that RULES 3 has a
//! prefetch wait for, given before the shard that owns the source hears of it, and each step's credit
//! goes to it by mailbox. What a client's fetch learns of an origin does not come here, nor the other way.
//!
//! # Lists
//!
//! A list among the sources, known by its ending or by the type that its origin gives it, is an item like
//! any other, with the same attempts. When it is read, its sources come behind those of its prefetch, as
//! soon as the queue has room for them, and each of them is an item of its own.
//!
//! # What is there
//!
//! Where a cache is smaller than what is brought into it, the last ones evict the first. So when all
//! sources of a prefetch have ended the shards are asked what they have of them, and that is what is told.
//!
//! # What outlives what
//!
//! A prefetch is accepted when its record is durable, so a crash loses none that was answered; what
//! had ended in the moment before may be looked at again, and is found to be there. At a drain what
//! runs is stopped and stays in the queue: what was fetched of it stays in the cache. Where the disk
//! takes no record, a prefetch is refused, and those that were accepted go on; what they came to is
//! then not remembered, so after a crash they are looked at again (`ledger`).

#![forbid(unsafe_code)]

pub mod journal;
mod ledger;
mod lists;
pub mod playlist;
mod prefetches;
mod queue;
pub mod spec;
pub mod status;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use ledger::{Error, NotKept};
pub use lists::{ListLimits, check};
pub use prefetches::{Options, Prefetches, Refused};
pub use queue::{Again, Came, Failed, Item, Limits, NoRoom, Queue, Settled, Start, State, Status};
pub use spec::{BadSpec, Spec, Variants};

/// Milliseconds since 1970; 0 for a clock that stands before that.
fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
