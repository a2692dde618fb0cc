//! A cache whose device crashes, rots and fails: random histories, and stories of what they may not hit on.

mod anew;
mod histories;
mod recording;
mod running;
mod starts;
mod telling;

use std::{
    cell::{Cell, RefCell},
    io,
    ops::Range,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future;

use super::{
    CHUNK_BYTES, Crash, Error, Generation, ObjectId, SNAPSHOT_BYTES, Sim, StreamingResource,
    VolumeIndex, Volumes, device::Device, format::SUPERBLOCK_BYTES, random::Random, turns::at_once,
    volume::Share,
};
use crate::bufpool::{self, BufPool};

/// What the volume may hold; it changes between two starts.
const SHARES: [Share; 4] = [
    Share { data_bytes: 3 << 20, journal_bytes: 256 << 10 },
    Share { data_bytes: 1 << 20, journal_bytes: 64 << 10 },
    Share { data_bytes: 4 << 20, journal_bytes: 128 << 10 },
    // So small that much of what is pinned is moved, and recorded in the journal that was there.
    Share { data_bytes: 512 << 10, journal_bytes: 256 << 10 },
];
const SYNC_INTERVAL: Duration = Duration::from_secs(5);

fn content(object: ObjectId, generation: Generation, range: Range<u64>) -> Vec<u8> {
    // Names are small numbers, and no two objects are to have a chunk in common.
    let seed = (generation.0 ^ (object.0 as u64) << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    range.map(|at| (at ^ at >> 8 ^ seed.wrapping_mul(at / 4096 + 1) >> 24) as u8).collect()
}

fn pool() -> BufPool {
    BufPool::new(bufpool::Options { budget_bytes: 8 << 20 })
}

fn open(device: &Device, share: Share, pool: &BufPool) -> Result<Volumes, Error> {
    let Share { data_bytes, journal_bytes } = share;
    future::block_on(device.volumes(data_bytes, journal_bytes, pool.clone()))
}

fn start(device: &Device, share: Share, pool: &BufPool) -> Volumes {
    open(device, share, pool).expect("what a crash leaves can be opened")
}

/// A cache of one volume over a device, and its clock.
struct Started {
    volumes: Volumes,
    now: Instant,
}

impl Started {
    fn over(device: &Device) -> Self {
        Self { volumes: start(device, SHARES[0], &pool()), now: Instant::now() }
    }

    fn tick(&mut self, later: Duration) {
        at_once(self.volumes.tick(self.now, SYNC_INTERVAL)).unwrap();
        self.now += later;
        at_once(self.volumes.tick(self.now, SYNC_INTERVAL)).unwrap();
    }

    /// Puts an object of three chunks into the cache; whether its disk took it.
    fn put(&mut self, object: u64) -> bool {
        let resource = self.volumes.create(ObjectId(object.into()), Generation(object));
        resource.set_length(3 * CHUNK_BYTES).unwrap();
        let bytes = content(resource.object(), resource.generation(), 0..3 * CHUNK_BYTES);
        at_once(resource.write_at(0, &bytes)).unwrap().unwrap();
        at_once(resource.flush()).unwrap();
        let is_stored = resource.is_cached();
        drop(resource);
        self.tick(Duration::from_millis(200));
        is_stored
    }

    /// Has objects come until the journals turn: the superblock is written, and its sync fails.
    fn turn_and_fail(&mut self, device: &Device) {
        let before = device.superblock.operations();
        device.superblock.fail(before + 1, io::ErrorKind::Other);
        let mut object = 0;
        while device.superblock.operations() < before + 2 {
            object += 1;
            let _ = self.put(object % 8 + 10);
            assert!(object < 10_000, "the journals never turn");
        }
    }

    /// How many bytes of it are there, all of them right.
    fn present(&self, object: u64) -> u64 {
        let Some(resource) = self.volumes.find(ObjectId(object.into())) else { return 0 };
        let mut count = 0;
        for at in (0..3 * CHUNK_BYTES).step_by(CHUNK_BYTES as usize) {
            let Some(bytes) = at_once(resource.read_at(at, usize::MAX)).unwrap().unwrap() else {
                continue;
            };
            let expected = content(resource.object(), resource.generation(), at..at + CHUNK_BYTES);
            assert!(*bytes == expected, "{object} at {at}");
            count += bytes.len() as u64;
        }
        count
    }
}
