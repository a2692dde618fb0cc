//! What can go wrong with an origin, as the callers tell it apart.

use std::{io, net::IpAddr, time::Duration};

use super::{redirect::BadRedirect, retry::may_retry};

/// Why a request to an origin gave no body, or not all of it.
///
/// A variant exists because some caller acts differently on it. The details for a human are in
/// the `tracing` event at the place of failure, which also knows the URL and the attempt.
/// Clonable and `Send`, since every reader of one fill gets it, on whatever shard it runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The origin answered, and the answer is no. Not retried, except 408, 429 and most of 5xx.
    #[error("origin answered {0}")]
    Status(u16),
    /// The origin has no room now (429, 503) and says when it has. Retried if that is soon.
    #[error("origin answered {status}, and to come back in {after:?}")]
    Later {
        /// What it answered.
        status: u16,
        /// How long it wants not to be asked.
        after: Duration,
    },
    /// No connection, or the connection broke before the head was there. Retried.
    #[error("connection to the origin failed: {0}")]
    Connection(io::ErrorKind),
    /// No byte arrived for `after`. Retried on a new connection.
    #[error("origin was silent for {after:?}")]
    Silent {
        /// The limit that passed.
        after: Duration,
    },
    /// The body ended or broke before its length, and could not be continued.
    #[error("body was cut at byte {at}")]
    Cut {
        /// Position of the first byte that is missing, in the complete representation.
        at: u64,
    },
    /// The resource changed between two ranges of it: what is stored must be dropped.
    #[error("resource changed at the origin")]
    Changed,
    /// The origin's name stands for an address that no client of ours may reach through us.
    #[error("{address} is no public address, and not in `origin.{origin}.allow_private`")]
    Refused {
        /// The address that was about to be connected to.
        address: IpAddr,
        /// The origin in whose name.
        origin: String,
    },
    /// The origin points elsewhere, to where it is not followed.
    #[error("redirect not followed: {0}")]
    Redirect(#[from] BadRedirect),
    /// No trusted connection: certificate, name or protocol. Not retried.
    #[error("TLS to the origin failed: {0}")]
    Tls(String),
    /// The name of the origin has no address. The resolver already tried more than once.
    #[error("name of the origin was not resolved")]
    Dns,
    /// The answer breaks HTTP, or is not an answer to what was asked. Never stored.
    #[error("origin answered against the protocol: {0}")]
    Malformed(&'static str),
    /// The body is compressed although identity was asked for.
    #[error("origin answered with a content coding that was not asked for")]
    Encoded,
    /// All connections that this shard may have with the origin are in use, and stay so.
    #[error("too many connections with the origin")]
    Busy,
    /// The path would leave the origin's base, or hides how it is read. No request was made.
    #[error("path refused: {0}")]
    Path(&'static str),
    /// The shard is draining; no new request is started.
    #[error("shutting down")]
    Closed,
}

impl Error {
    /// Whether the same question may find its answer another time, with nothing changed at the
    /// origin: it could not be asked now, or not be answered.
    pub fn may_pass(&self) -> bool {
        may_retry(self) || matches!(self, Self::Dns | Self::Busy | Self::Closed)
    }

    /// What the origin answered, where that is why.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status(status) | Self::Later { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the origin could not be asked, rather than that it answered something bad.
    pub fn is_unreachable(&self) -> bool {
        use Error::{Busy, Connection, Cut, Dns, Silent, Tls};
        matches!(self, Connection(_) | Silent { .. } | Cut { .. } | Tls(_) | Dns | Busy)
    }
}

/// Readers of one fill sit on every shard.
const _: () = {
    const fn crosses_shards<T: Clone + Send + Sync + 'static>() {}
    crosses_shards::<Error>();
};
