//! What keeps the runtime from starting, each with its remedy.

use std::{io, net::SocketAddr};

/// Why no shard runs or no socket listens. All are for the operator: the text names the cause and
/// what to do about it, and the process exits.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no io_uring, or a policy forbids it.
    #[error("io_uring is not available ({source}): {remedy}")]
    IoUring {
        /// What the kernel answered.
        source: io::Error,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// The limit on locked memory is too low for the rings.
    #[error(
        "the limit on locked memory is {limit} bytes and {needed} are needed: raise it \
         (`ulimit -l`, LimitMEMLOCK= in systemd, --ulimit memlock=-1 in Docker)"
    )]
    Memlock {
        /// The hard limit in bytes.
        limit: u64,
        /// What the shards need, in bytes.
        needed: u64,
    },
    /// More shards than CPUs this process may use.
    #[error("{shards} shards were asked for and this process may use {cpus} CPUs: ask for fewer")]
    TooManyShards {
        /// What was asked for.
        shards: usize,
        /// CPUs in the affinity mask of the process.
        cpus: usize,
    },
    /// No shard was asked for.
    #[error("at least one shard is needed")]
    NoShards,
    /// Another process listens on the address.
    #[error("{address} is already in use: stop the other process or listen elsewhere")]
    AddressInUse {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// The address cannot be bound for another reason.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// What was to be bound.
        address: SocketAddr,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A thread, a ring or another resource of the system could not be had.
    #[error("cannot start the shards: {0}")]
    System(#[source] io::Error),
}
