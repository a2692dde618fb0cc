//! Volumes with their tier in memory: what is warm costs no disk read, and stands in nobody's way.

use std::{cell::RefCell, future::Future, rc::Rc};

use super::{
    CHUNK_BYTES, Disk, Error, Generation, ObjectId, Sim, StreamingResource, TierStats, Volumes,
    turns::Turns,
};
use crate::bufpool::{BufPool, Options};

const CHUNK: usize = CHUNK_BYTES as usize;
/// Of the pool, in chunks. The tier has 24 of them.
const POOL: usize = 32;

struct Bench {
    sim: Sim,
    pool: BufPool,
    volumes: Volumes,
}

fn bench() -> Bench {
    let pool = BufPool::new(Options { budget_bytes: POOL * CHUNK });
    let sim = Sim::default();
    let volumes = Volumes::on(vec![Disk::Sim(sim.clone())], 64 << 20, pool.clone());
    Bench { sim, pool, volumes }
}

fn now<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
    let (mut turns, outcome) = (Turns::default(), Rc::new(RefCell::new(None)));
    let its_outcome = Rc::clone(&outcome);
    turns.spawn(async move { *its_outcome.borrow_mut() = Some(future.await) });
    turns.run();
    outcome.take().expect("it ends without anything else happening")
}

fn byte(object: u128, position: usize) -> u8 {
    (object as usize * 31 + position / CHUNK * 7 + position % 251) as u8
}

impl Bench {
    /// An object of so many chunks, read by nobody so far.
    fn store(&self, object: u128, chunks: usize) -> Rc<StreamingResource> {
        let resource = self.volumes.create(ObjectId(object), Generation(object as u64));
        self.fill(&resource, chunks);
        resource
    }

    fn fill(&self, resource: &Rc<StreamingResource>, chunks: usize) {
        let object = resource.object().0;
        let bytes: Vec<u8> = (0..chunks * CHUNK).map(|at| byte(object, at)).collect();
        let resource = Rc::clone(resource);
        now(async move {
            for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
                resource.write_at((index * CHUNK) as u64, chunk).await.unwrap();
            }
            resource.flush().await;
            resource.commit().unwrap();
        });
    }

    /// Opens an object at rest and reads it to its end.
    fn play(&self, object: u128) {
        let resource = self.volumes.find(ObjectId(object)).unwrap();
        let chunks = resource.length().unwrap() / CHUNK_BYTES;
        (0..chunks).for_each(|chunk| read(&resource, chunk).unwrap());
    }

    fn reads(&self) -> u64 {
        self.volumes.stats().reads
    }

    fn tier(&self) -> TierStats {
        self.volumes.stats().tier
    }
}

fn read(resource: &Rc<StreamingResource>, chunk: u64) -> Result<(), Error> {
    let resource = Rc::clone(resource);
    now(async move {
        let bytes = resource.read_at(chunk * CHUNK_BYTES, CHUNK).await?.unwrap();
        let start = (chunk * CHUNK_BYTES) as usize;
        let is_right = |(at, found): (usize, &u8)| *found == byte(resource.object().0, start + at);
        assert!(bytes.len() == CHUNK && bytes.iter().enumerate().all(is_right));
        Ok(())
    })
}

#[test]
fn a_warm_chunk_costs_no_disk_read_however_often_its_resource_is_opened() {
    let bench = bench();
    drop(bench.store(1, 4));
    assert_eq!(bench.tier().admitted, 0, "nobody reads it yet");
    bench.play(1);
    assert_eq!((bench.reads(), bench.tier().misses), (4, 4));
    (0..10).for_each(|_| bench.play(1));
    assert_eq!((bench.reads(), bench.tier().hits), (4, 40));
    assert_eq!(bench.tier().bytes, 4 * CHUNK_BYTES);
    bench.volumes.limit_tier(0);
    bench.play(1);
    assert_eq!((bench.reads(), bench.tier().bytes), (8, 0), "without a tier it is read again");
    assert_eq!(bench.pool.stats().used_bytes, 0);
}

#[test]
fn who_follows_a_fill_reads_from_memory() {
    let bench = bench();
    let resource = bench.volumes.create(ObjectId(1), Generation(1));
    let demand = resource.demand(0..CHUNK_BYTES, 0);
    bench.fill(&resource, 8);
    drop(demand);
    (0..8).for_each(|chunk| read(&resource, chunk).unwrap());
    assert_eq!((bench.reads(), bench.tier().hits), (0, 8));
}

#[test]
fn a_scan_of_many_cold_objects_does_not_flush_what_is_hot() {
    let bench = bench();
    drop(bench.store(1, 12));
    (2..60).for_each(|object| drop(bench.store(object, 4)));
    (0..3).for_each(|_| bench.play(1));
    (2..60).for_each(|object| bench.play(object));
    let reads = bench.reads();
    assert_eq!(reads, 12 + 58 * 4);
    bench.play(1);
    assert_eq!(bench.reads(), reads, "the scan flushed the hot set");
    assert!(bench.tier().evicted > 200 && bench.tier().bytes <= 24 * CHUNK_BYTES);
}

#[test]
fn what_is_dropped_leaves_no_memory_behind() {
    let bench = bench();
    (1..4).for_each(|object| drop(bench.store(object, 4)));
    (1..4).for_each(|object| bench.play(object));
    bench.volumes.forget(ObjectId(1));
    assert_eq!(bench.tier().bytes, 8 * CHUNK_BYTES);
    // One that is read goes when its reader does, whether it was dropped or replaced.
    let (dropped, replaced) = (ObjectId(2), ObjectId(3));
    let readers = [dropped, replaced].map(|object| bench.volumes.find(object).unwrap());
    bench.volumes.forget(dropped);
    let new = bench.volumes.create(replaced, Generation(9));
    let reads = bench.reads();
    readers.iter().for_each(|reader| read(reader, 0).unwrap());
    assert_eq!((bench.reads(), bench.tier().bytes), (reads, 8 * CHUNK_BYTES));
    drop((readers, new));
    assert_eq!((bench.tier().bytes, bench.pool.stats().used_bytes), (0, 0));
}

#[test]
fn two_generations_of_an_object_do_not_share_what_is_warm() {
    let bench = bench();
    let old = bench.store(1, 1);
    read(&old, 0).unwrap();
    let new = bench.volumes.create(ObjectId(1), Generation(2));
    let its_new = Rc::clone(&new);
    now(async move { its_new.write_at(0, &[9; CHUNK]).await.unwrap() });
    let its_new = Rc::clone(&new);
    let bytes = now(async move { its_new.read_at(0, CHUNK).await.unwrap().unwrap() });
    assert!(bytes.iter().all(|byte| *byte == 9));
    read(&old, 0).unwrap();
}

#[test]
fn a_chunk_that_was_extended_is_not_given_as_it_was() {
    let bench = bench();
    let resource = bench.volumes.create(ObjectId(1), Generation(1));
    let write = |from: usize, to: usize| {
        let bytes: Vec<u8> = (from..to).map(|at| byte(1, at)).collect();
        let resource = Rc::clone(&resource);
        now(async move {
            resource.write_at(from as u64, &bytes).await.unwrap();
            resource.flush().await;
        });
    };
    let length = || {
        let resource = Rc::clone(&resource);
        now(async move { resource.read_at(0, CHUNK).await.unwrap().unwrap().len() })
    };
    write(0, 1000);
    assert_eq!((length(), length(), bench.reads()), (1000, 1000, 1));
    write(1000, CHUNK);
    assert_eq!(bench.reads(), 1, "what was there already was warm");
    read(&resource, 0).unwrap();
    read(&resource, 0).unwrap();
    assert_eq!(bench.reads(), 2);
}

#[test]
fn nobody_lacks_memory_because_of_the_tier() {
    let bench = bench();
    (1..8).for_each(|object| drop(bench.store(object, 4)));
    (1..8).for_each(|object| bench.play(object));
    assert_eq!(bench.tier().bytes, 24 * CHUNK_BYTES);
    let stats = bench.pool.stats();
    assert_eq!((stats.idle_bytes, stats.fullness()), (24 * CHUNK, 0.0));
    // Streams take all but what one read and one write need.
    let streams: Vec<_> = (0..POOL - 4).map(|_| bench.pool.charge(CHUNK).unwrap()).collect();
    assert!(bench.tier().bytes <= 4 * CHUNK_BYTES && bench.tier().given_back >= 20);
    (1..8).for_each(|object| bench.play(object));
    assert_eq!(bench.pool.stats().refused, 0);
    drop(bench.store(8, 6));
    bench.play(8);
    let rest = bench.pool.charge(4 * CHUNK).unwrap();
    assert_eq!(bench.tier().bytes, 0);
    drop((streams, rest));
    bench.play(1);
    bench.play(1);
    assert!(bench.tier().bytes >= 4 * CHUNK_BYTES, "what is free is used again");
}

#[test]
fn what_is_hot_is_given_back_last_and_what_is_read_now_not_at_all() {
    let bench = bench();
    drop(bench.store(1, 4));
    (2..8).for_each(|object| drop(bench.store(object, 4)));
    (0..3).for_each(|_| bench.play(1));
    (2..8).for_each(|object| bench.play(object));
    let resource = bench.volumes.find(ObjectId(7)).unwrap();
    let its_resource = Rc::clone(&resource);
    let read_now = now(async move { its_resource.read_at(3 * CHUNK_BYTES, CHUNK).await.unwrap() });
    let reads = bench.reads();
    let streams: Vec<_> = (0..POOL - 6).map(|_| bench.pool.charge(CHUNK).unwrap()).collect();
    bench.play(1);
    read(&resource, 3).unwrap();
    assert_eq!(bench.reads(), reads);
    let rest: Vec<_> = (0..5).map(|_| bench.pool.charge(CHUNK).unwrap()).collect();
    assert!(bench.pool.charge(CHUNK).is_err(), "the last chunk is being read");
    assert_eq!(bench.tier().bytes, CHUNK_BYTES);
    drop((streams, rest, read_now));
}

#[test]
fn without_a_tier_readers_who_come_together_read_once() {
    let bench = bench();
    bench.volumes.limit_tier(0);
    let resource = bench.store(1, 1);
    let mut turns = Turns::default();
    bench.sim.hold();
    for _ in 0..50 {
        let resource = Rc::clone(&resource);
        turns.spawn(async move {
            assert_eq!(resource.read_at(7, CHUNK).await.unwrap().unwrap().len(), CHUNK - 7);
        });
    }
    turns.run();
    bench.sim.release_all();
    turns.run();
    assert_eq!((bench.reads(), resource.waiting()), (1, 0));
}
