//! The segment cache: which resources this core holds, who reads them, who may fill them.
//!
//! One [`AssetStore`] per shard holds the resources whose volumes the shard owns. Opening a key
//! gives a [`Lease`] on its present generation, hit or miss alike; the first one to open an
//! incomplete resource also gets the [`FillPermit`], and everyone else waits on the same bytes.
//! Because only the owning shard opens a key, single-flight needs no lock.
//!
//! An operator lists, purges, invalidates, pins and checks what is held, without opening any of it:
//! `store/tending`.
//!
//! A generation never changes under its readers. When the origin turns out to have another
//! version, the old one is [forgotten](AssetStore::forget): the next open begins a new generation,
//! and who still holds a lease on the old one reads it to its end or its error.

#![forbid(unsafe_code)]

mod head;
mod key;
mod pace;
mod store;

pub use head::Head;
pub use key::Key;
pub use pace::Pace;
pub use store::{
    Asset, AssetStore, FillPermit, Lease, News, Options, Stats,
    tending::{Act, Filter, Listed, NotPinned, Report, Spot, Walk, Walked},
};
