//! Bytes of resources on disk and on their way there.
//!
//! # What lies on what
//!
//! ```text
//! StreamingResource  the bytes behind one URL: write, wait, read, commit, fail   AtomicResource
//!   chunk            64 KiB of it: being filled, in memory, or on disk; has one checksum
//! Volume             one data file: blocks of 16 KiB, allocated and grown
//! Disk               positions and bytes: Dma (direct I/O on io_uring) or Sim (tests)
//! ```
//!
//! # The life of a chunk
//!
//! ```text
//!            write_at                    full, or flush               the device is done
//!   (missing) ------> Filling (BlockMut) -------------> Memory (Block) -----------------> Stored
//!       ^                                                   |  no room, or an error          |
//!       |        room needed, and nobody wants it           v                                |
//!       +-------------------------------------------- Memory, kept                           |
//!       +------------------------------ checksum wrong, or the device fails -----------------+
//! ```
//!
//! # Invariants
//!
//! - No byte that came from a disk is handed out before its chunk's checksum, seeded with object,
//!   generation, chunk number and valid part, was verified.
//! - Blocks belong to one owner until their write has ended and their last reader is gone.
//! - A volume never holds more than its capacity, and its data file is never sparse by intent: it
//!   grows by writing.
//! - What a resource keeps in memory is bounded, and what a reader waits for is never dropped.
//! - A reader of missing bytes waits, gets the failure of the fill, or, after commit, the end. A
//!   disk error is none of these.
//!
//! # What comes with the journal
//!
//! The records of objects and chunks ([`Volumes::remove`] and the end of a chunk's write are their
//! places), recovery (`Volume::new` is given what is in use), eviction (by
//! [`Volumes::free_bytes`]), and `tick(now)` for what is due in time. A partial chunk that is
//! extended gives its old blocks back when it is opened again; once a record names them they have to
//! wait for the record of the new ones.

#![forbid(unsafe_code)]

mod allocator;
mod atomic;
mod checksum;
mod chunk;
mod demands;
mod directory;
mod disk;
mod dma;
mod error;
pub mod format;
#[cfg(test)]
pub(crate) mod random;
mod range_set;
mod sim;
mod stats;
mod streaming;
#[cfg(test)]
mod streaming_tests;
#[cfg(test)]
pub(crate) mod turns;
mod volume;
mod volumes;
mod waiters;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
};

pub use atomic::AtomicResource;
pub use checksum::{Identity, checksum};
pub use demands::Demand;
pub use directory::Directory;
pub use disk::{Data, Disk};
pub use dma::Dma;
pub use error::{Error, Failure};
pub use range_set::RangeSet;
pub use sim::Sim;
pub use stats::Stats;
pub use streaming::{DemandGuard, KEEP_BYTES, StreamingResource, WRITES_IN_FLIGHT, Wait};
pub use volumes::{Options, VolumeIndex, Volumes, volumes_for};

/// The unit of a checksum and of a transfer, in bytes.
pub const CHUNK_BYTES: u64 = 64 << 10;

/// The unit of allocation on disk, in bytes.
pub const BLOCK_BYTES: u64 = 16 << 10;

/// The name of an object: a hash of 128 bits of its canonical URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub u128);

impl ObjectId {
    /// The number of its volume where there are `volumes`.
    pub fn volume(self, volumes: u32) -> VolumeIndex {
        VolumeIndex((self.0 % u128::from(volumes)) as u32)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Which of an object's contents over time; a changed object gets another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

impl Generation {
    /// One that no other will have. The keys of the standard library's hasher come from the
    /// operating system's generator, and each is used for one number only.
    pub fn random() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    /// A new directory on a file system that has direct I/O; `None`, loudly, where there is none.
    pub(super) fn directory_on_disk() -> Option<tempfile::TempDir> {
        let target = std::env::var("CARGO_TARGET_DIR")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target").to_owned());
        std::fs::create_dir_all(&target).unwrap();
        let magic = rustix::fs::statfs(&target).unwrap().f_type;
        if magic == 0x0102_1994 {
            eprintln!("SKIPPED: {target} is on tmpfs, which has no direct I/O");
            return None;
        }
        Some(tempfile::tempdir_in(target).unwrap())
    }
}
