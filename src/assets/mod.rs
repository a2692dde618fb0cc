//! The segment cache: which resources this core holds, who reads them, who may fill them.
//!
//! One [`AssetStore`] per shard holds the resources whose volumes the shard owns. To find a key
//! gives a [`Lease`] on its present generation; the first one to read an incomplete resource also
//! gets the [`FillPermit`], and everyone else waits on the same bytes. Because only the owning shard
//! opens a key, single-flight needs no lock.
//!
//! Whether a generation may be given, and whether it may be stored at all, is decided by
//! [`freshness`] from its [`Head`]. A generation begins when the origin has answered, and with what
//! it said. When the origin says that it is still so, it gets another head and keeps its bytes. When
//! the origin has another version, the old one is [forgotten](AssetStore::forget): a new generation
//! begins, and who still holds a lease on the old one reads it to its end or its error.
//!
//! What is for one client alone is an [`Asset`] too, which no key leads to and no disk sees.
//!
//! An operator lists, purges, invalidates, pins and checks what is held, without opening any of it:
//! `store/tending`; by a name all answers to its URL: `store/kin`. What is made of a source and lies
//! beside it: `store/derived`. What an origin is being asked meanwhile hears of it: `store/question`.

#![forbid(unsafe_code)]

pub mod freshness;
mod head;
mod key;
mod pace;
#[cfg(test)]
mod simulation;
mod store;

pub use head::Head;
pub use key::{Key, kin};
pub use pace::Pace;
pub use store::{
    Asset, AssetStore, FillPermit, Lease, News, Options, Question, Stats,
    tending::{Act, Filter, Listed, NotPinned, Prefix, Report, Spot, Walk, Walked},
};
