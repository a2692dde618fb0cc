//! Bytes of resources on disk and on their way there.
//!
//! # What lies on what
//!
//! ```text
//! StreamingResource  the bytes behind one URL: write, wait, read, commit, fail   AtomicResource
//!   chunk            64 KiB of it on their way: being filled, or in memory; has one checksum
//! tier               chunks in memory in front of the disk, as long as nobody needs the memory
//! Volume             one data file: its blocks of 16 KiB, and when its journal is written
//!   catalog(P)       what lies in it: objects, chunks, pins     allocator(P): which blocks are free
//!   journal          the catalog, durably: pages(P) of records, two files in turn
//!     superseded(P)  where chunks lay before, until where they lie is durable
//! Disk               positions and bytes: Ring (direct I/O in place), Dma (by glommio) or Sim (tests)
//! format(P)          how all of this looks on disk
//! ```
//!
//! What is to leave, a full volume or the tier, is decided by one [`policy`].
//!
//! A generation that somebody uses has a [`StreamingResource`]; at rest it is an entry in the catalog
//! of its volume, about 100 bytes and, from its second chunk on, 32 and 8 for each chunk. The journal
//! brings it back after a start. They are counted in the budget of the shard.
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
//! A stored chunk that was read, or written while somebody reads, is warm: the tier has it as well.
//!
//! # Invariants
//!
//! - No byte that came from a disk is handed out before its chunk's checksum, seeded with object,
//!   generation, chunk number and valid part, was verified.
//! - Blocks belong to one owner until their write has ended. A reader that comes too late finds other
//!   bytes, and the checksum says so.
//! - A volume and its journals never hold more than their capacity, and no file is sparse by intent:
//!   they grow by writing, the journals ahead of need, so that a full disk is a smaller cache.
//! - What a resource keeps in memory is bounded, and what a reader waits for is never dropped.
//! - A reader of missing bytes waits, gets the failure of the fill, or, after commit, the end. A
//!   disk error is none of these.
//!
//! # What a crash leaves
//!
//! Bytes are written before the record that names them, and neither waits for the other to be
//! durable: a record without its bytes fails their checksum and is a miss. A record is written within
//! 100 ms; what is not lost by a killed process is what was written before that, partial chunks and
//! partial objects included. A power cut loses what was not synced, which is done every few seconds.
//! A start in a smaller cache drops what lies behind its end and moves what is pinned; the file is cut
//! when both are durable. The blocks of a chunk that was dropped are given to others only when the record
//! of that is written, those of one that was written anew when that is durable: so a killed process leaves
//! no chunk whose blocks are another's, and a power cut takes nothing that was durable. Where it left the record
//! of a chunk that was written anew and not its bytes, the start goes back to where it lay before. In a full
//! volume chunks wait for that commit, which does not wait for others then.

#![deny(unsafe_code)]

mod allocator;
mod atomic;
mod catalog;
mod checksum;
mod chunk;
mod chunk_map;
#[cfg(test)]
mod crash_tests;
mod demands;
#[cfg(test)]
pub(crate) mod device;
mod direct;
mod directory;
mod disk;
mod dma;
mod error;
pub mod format;
mod in_flight;
mod journal;
mod notices;
mod pages;
pub mod policy;
#[cfg(test)]
pub(crate) mod promises;
#[cfg(test)]
pub(crate) mod random;
mod range_set;
mod ring;
mod sim;
mod stats;
mod streaming;
#[cfg(test)]
mod streaming_tests;
mod superseded;
mod tier;
#[cfg(test)]
mod tier_tests;
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
pub use catalog::LAST_SECOND;
pub use checksum::{Identity, checksum, crc32c};
pub use demands::Demand;
pub use directory::{Directory, FILES_PER_VOLUME, format_in};
pub use disk::{Data, Device, Disk};
pub use dma::{Dma, Spawn};
pub use error::{Error, Failure, Hindrance, Trouble};
pub use format::{Format, SNAPSHOT_BYTES};
pub use in_flight::InFlight;
pub use range_set::RangeSet;
pub use ring::{Ring, RingFile, Support};
pub use sim::{Crash, Sim};
pub use stats::{Stats, TierStats};
pub use streaming::{DemandGuard, KEEP_BYTES, Said, StreamingResource, WRITES_IN_FLIGHT, Wait};
pub use volume::look::{Resident, State};
pub use volumes::{
    Object, Options, Unopened, VolumeIndex, Volumes,
    check::{Checked, Fault},
    objects_known, queue_bytes, volumes_for,
};

/// The unit of a checksum and of a transfer, in bytes.
pub const CHUNK_BYTES: u64 = 64 << 10;

/// The unit of allocation on disk, in bytes.
pub const BLOCK_BYTES: u64 = 16 << 10;

/// The names that a pin on one of them holds for: objects that stay and go together. Who names objects
/// says which those are.
pub type Kin = fn(ObjectId) -> std::ops::RangeInclusive<ObjectId>;

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
    use std::{future::Future, pin::Pin};

    use super::{Device, Ring};
    use crate::{
        bufpool::{self, Block, BufPool, Class},
        runtime::EventFd,
    };

    /// A ring that a task of this shard runs, with as much locked memory as is asked for.
    pub(super) fn ring(registered_bytes: u64) -> Ring {
        let bell = EventFd::new().unwrap();
        let ring = Ring::new(&bell, registered_bytes).unwrap();
        let running = ring.clone();
        let run = async move { running.run(async || bell.rung().await).await };
        glommio::spawn_local(run).detach();
        ring
    }

    /// What a node opens its files on.
    pub(super) fn device() -> Device {
        Device::Ring(ring(1 << 20))
    }

    /// Starts a task where a test runs.
    pub(super) fn spawn(task: Pin<Box<dyn Future<Output = ()>>>) {
        glommio::spawn_local(task).detach();
    }

    pub(super) fn pool(budget_bytes: usize) -> BufPool {
        BufPool::new(bufpool::Options { budget_bytes })
    }

    /// A whole block of the same byte.
    pub(super) fn block(pool: &BufPool, class: Class, byte: u8) -> Block {
        let mut block = pool.take(class).unwrap();
        block.fill(byte);
        block.freeze(class.bytes())
    }

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
