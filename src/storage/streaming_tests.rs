//! Tests of streaming resources: by story, and by random interleavings of fills and readers.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use futures_lite::future::or;

use super::{
    BLOCK_BYTES, CHUNK_BYTES, Disk, Error, Failure, Generation, ObjectId, Said, Sim,
    StreamingResource, Volumes, WRITES_IN_FLIGHT, Wait, random::Random, turns::Turns,
};
use crate::bufpool::{BlockMut, BufPool, Class, Options};

const CHUNK: usize = CHUNK_BYTES as usize;
const CAPACITY: u64 = 4 << 20;

/// What every byte of every resource here is.
fn byte(position: u64) -> u8 {
    (position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

fn bytes(start: u64, length: usize) -> Vec<u8> {
    (start..start + length as u64).map(byte).collect()
}

struct Bench {
    sim: Sim,
    pool: BufPool,
    volumes: Volumes,
}

fn bench() -> Bench {
    bench_of(CAPACITY)
}

fn bench_of(capacity_bytes: u64) -> Bench {
    let (sim, pool) = (Sim::default(), BufPool::new(Options { budget_bytes: 64 << 20 }));
    let volumes = Volumes::on(vec![Disk::Sim(sim.clone())], capacity_bytes, pool.clone());
    Bench { sim, pool, volumes }
}

impl Bench {
    fn resource(&self) -> Rc<StreamingResource> {
        self.volumes.create(ObjectId(1), Generation(1))
    }

    /// Has the journal written.
    fn tick(&self) {
        let (start, interval) = (Instant::now(), Duration::from_secs(5));
        for at in [start, start + interval] {
            let volumes = self.volumes.clone();
            self::now(async move { volumes.tick(at, interval).await });
        }
    }
}

/// Runs a future that must not have to wait for anybody else.
fn now<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
    let result = Rc::new(RefCell::new(None));
    let its_result = Rc::clone(&result);
    let mut turns = Turns::default();
    turns.spawn(async move { *its_result.borrow_mut() = Some(future.await) });
    turns.run();
    result.take().expect("it waits")
}

fn write(resource: &Rc<StreamingResource>, position: u64, bytes: Vec<u8>) -> Result<(), Error> {
    let resource = Rc::clone(resource);
    now(async move { resource.write_at(position, &bytes).await })
}

fn flush(resource: &Rc<StreamingResource>) {
    let resource = Rc::clone(resource);
    now(async move { resource.flush().await });
}

fn read(resource: &Rc<StreamingResource>, position: u64, max: usize) -> Option<Vec<u8>> {
    let resource = Rc::clone(resource);
    now(async move { resource.read_at(position, max).await }).unwrap().map(|block| block.to_vec())
}

/// Starts to wait; the answer lies in the cell once it is there.
fn wait(
    turns: &mut Turns,
    resource: &Rc<StreamingResource>,
    range: std::ops::Range<u64>,
) -> Rc<RefCell<Option<Result<Wait, Failure>>>> {
    let (answer, resource) = (Rc::new(RefCell::new(None)), Rc::clone(resource));
    let its_answer = Rc::clone(&answer);
    turns.spawn(async move {
        let outcome = resource.wait_range(range).await;
        *its_answer.borrow_mut() = Some(outcome);
    });
    turns.run();
    answer
}

#[test]
fn bytes_can_be_read_while_their_chunk_fills_flies_and_lies_on_disk() {
    let bench = bench();
    let resource = bench.resource();
    write(&resource, 0, bytes(0, 100)).unwrap();
    assert_eq!(read(&resource, 10, 50).unwrap(), bytes(10, 50));
    assert_eq!(read(&resource, 100, 50), None);
    bench.sim.hold();
    write(&resource, 100, bytes(100, CHUNK)).unwrap();
    assert_eq!(read(&resource, 200, 7).unwrap(), bytes(200, 7));
    assert_eq!(bench.volumes.stats().writes, 0);
    bench.sim.release_all();
    assert_eq!(bench.volumes.stats().writes, 1);
    assert_eq!(read(&resource, 300, 7).unwrap(), bytes(300, 7));
    assert_eq!(read(&resource, 60_000, CHUNK).unwrap(), bytes(60_000, CHUNK - 60_000));
    assert_eq!(bench.volumes.stats().reads, 1, "the second read found the chunk at hand");
}

#[test]
fn the_end_comes_only_after_commit() {
    let bench = bench();
    let (resource, mut turns) = (bench.resource(), Turns::default());
    resource.set_length(100).unwrap();
    write(&resource, 0, bytes(0, 100)).unwrap();
    let at_end = wait(&mut turns, &resource, 100..200);
    let across = wait(&mut turns, &resource, 50..200);
    assert!(at_end.borrow().is_none());
    assert!(matches!(*across.borrow(), Some(Ok(Wait::Ready))));
    resource.commit().unwrap();
    turns.run();
    assert!(matches!(*at_end.borrow(), Some(Ok(Wait::Eof))));
    assert!(resource.is_complete() && resource.is_committed());
}

#[test]
fn a_failure_reaches_who_lacks_bytes_and_never_looks_like_an_end() {
    let bench = bench();
    let (resource, mut turns) = (bench.resource(), Turns::default());
    write(&resource, 0, bytes(0, 100)).unwrap();
    let lacking = wait(&mut turns, &resource, 100..200);
    let partly = wait(&mut turns, &resource, 50..200);
    resource.fail(Failure::new(io::Error::from(io::ErrorKind::TimedOut)));
    turns.run();
    let failure = lacking.borrow_mut().take().unwrap().unwrap_err();
    assert_eq!(failure.cause::<io::Error>().unwrap().kind(), io::ErrorKind::TimedOut);
    assert!(matches!(*partly.borrow(), Some(Ok(Wait::Ready))));
    assert!(matches!(resource.commit(), Err(Error::Failed(_))));
}

#[test]
fn a_lost_range_fails_its_own_readers_until_somebody_sets_out_anew() {
    let bench = bench();
    let (resource, mut turns) = (bench.resource(), Turns::default());
    let demand = resource.demand(0..10, 0);
    let lost = wait(&mut turns, &resource, 100..101);
    let other = wait(&mut turns, &resource, 300..301);
    resource.fail_range(100..200, Failure::new(io::Error::from(io::ErrorKind::TimedOut)));
    turns.run();
    assert!(matches!(*lost.borrow(), Some(Err(_))) && other.borrow().is_none());
    demand.set(50..60, 0);
    assert!(resource.is_lost(150) && !resource.is_lost(200), "going on is not setting out");
    demand.set(250..260, 1);
    assert!(resource.is_lost(150), "that way does not lead there");
    demand.set(50..60, 2);
    assert!(!resource.is_lost(150));
    let again = wait(&mut turns, &resource, 100..101);
    resource.fail_range(100..200, Failure::new(io::Error::from(io::ErrorKind::TimedOut)));
    write(&resource, 100, bytes(100, 50)).unwrap();
    assert!(!resource.is_lost(150), "it came after all");
    turns.run();
    assert!(matches!(*again.borrow(), Some(Ok(Wait::Ready))));
    for at in 0..100 {
        let range = 1000 + at..1001 + at;
        resource.fail_range(range, Failure::new(io::Error::from(io::ErrorKind::TimedOut)));
    }
    assert!(resource.is_lost(1099) && !resource.is_lost(1000), "what is remembered is bounded");
}

#[test]
fn a_length_is_said_once() {
    let resource = bench().resource();
    write(&resource, 0, bytes(0, 100)).unwrap();
    assert!(matches!(resource.set_length(99), Err(Error::LengthChanged { known: 100, said: 99 })));
    resource.set_length(200).unwrap();
    resource.set_length(200).unwrap();
    assert!(matches!(resource.set_length(201), Err(Error::LengthChanged { known: 200, .. })));
    let past = write(&resource, 150, bytes(150, 51));
    assert!(matches!(past, Err(Error::PastEnd { end: 201, length: 200 })));
    assert_eq!(resource.present_from(150), None);
}

#[test]
fn positions_beyond_all_reason_are_refused() {
    let resource = bench().resource();
    assert!(matches!(write(&resource, u64::MAX, vec![1]), Err(Error::PastEnd { .. })));
    assert!(resource.set_length(u64::MAX).is_err());
    let waiting = wait(&mut Turns::default(), &resource, u64::MAX - 1..u64::MAX);
    assert!(waiting.borrow().is_none());
    assert_eq!(read(&resource, u64::MAX, CHUNK), None);
}

#[test]
fn a_partial_chunk_is_stored_with_its_valid_part_and_extended_later() {
    let bench = bench();
    let resource = bench.resource();
    write(&resource, 20_000, bytes(20_000, 10_000)).unwrap();
    flush(&resource);
    assert_eq!(bench.volumes.used_bytes(), 16 << 10);
    assert_eq!(read(&resource, 20_000, CHUNK).unwrap(), bytes(20_000, 10_000));
    assert_eq!(read(&resource, 19_999, CHUNK), None);
    write(&resource, 0, bytes(0, CHUNK)).unwrap();
    flush(&resource);
    assert_eq!(bench.volumes.used_bytes(), 64 << 10);
    assert_eq!(read(&resource, 0, CHUNK).unwrap(), bytes(0, CHUNK));
}

#[test]
fn a_flipped_bit_is_a_miss_and_wanted_again() {
    let bench = bench();
    let resource = bench.resource();
    write(&resource, 0, bytes(0, 2 * CHUNK)).unwrap();
    let demand = resource.demand(0..CHUNK_BYTES, 0);
    let changed = Rc::new(Cell::new(false));
    let (its_changed, its_resource) = (Rc::clone(&changed), Rc::clone(&resource));
    let mut turns = Turns::default();
    turns.spawn(async move {
        its_resource.demands_changed().await;
        its_changed.set(true);
    });
    turns.run();
    bench.sim.flip(12_345, 3);
    assert_eq!(read(&resource, 0, 10), None);
    turns.run();
    assert!(changed.get(), "the fill was not told");
    assert_eq!(bench.volumes.stats().corrupt_chunks, 1);
    assert_eq!(resource.next_gap(0..2 * CHUNK_BYTES), Some(0..CHUNK_BYTES));
    write(&resource, 0, bytes(0, CHUNK)).unwrap();
    drop(demand);
    assert_eq!(read(&resource, 0, CHUNK).unwrap(), bytes(0, CHUNK));
}

#[test]
fn the_bytes_of_another_generation_are_a_miss() {
    let bench = bench();
    let old = bench.resource();
    write(&old, 0, bytes(0, CHUNK)).unwrap();
    let new = bench.volumes.create(ObjectId(1), Generation(2));
    write(&new, 0, vec![0; CHUNK]).unwrap();
    // The device misdirects: the new chunk's place gets the old chunk's bytes.
    bench.sim.copy(0, CHUNK_BYTES, CHUNK);
    assert_eq!(read(&new, 0, 10), None);
    assert_eq!(read(&old, 0, 10).unwrap(), bytes(0, 10));
    assert_eq!(bench.volumes.stats().corrupt_chunks, 1);
}

#[test]
fn a_disk_error_costs_the_cache_and_no_reader() {
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        let bench = bench();
        let resource = bench.resource();
        bench.sim.fail(0, kind);
        write(&resource, 0, bytes(0, 3 * CHUNK)).unwrap();
        assert!(!resource.is_cached());
        assert_eq!(bench.volumes.stats().write_errors, 1);
        assert_eq!(bench.volumes.stats().kept_chunks, 3);
        assert_eq!(read(&resource, 5, CHUNK).unwrap(), bytes(5, CHUNK - 5));
        flush(&resource);
        resource.commit().unwrap();
        assert!(resource.is_complete());
    }
}

#[test]
fn a_full_volume_costs_the_cache_and_no_reader() {
    let bench = bench();
    let (first, second) = (bench.resource(), bench.resource());
    let third = bench.resource();
    let half = CAPACITY as usize / 2;
    write(&first, 0, bytes(0, half)).unwrap();
    write(&second, 0, bytes(0, half)).unwrap();
    assert_eq!(bench.volumes.free_bytes(), 0);
    write(&third, 0, bytes(0, 2 * CHUNK)).unwrap();
    assert!(first.is_cached() && second.is_cached() && !third.is_cached());
    assert_eq!(bench.volumes.stats().no_space, 1);
    assert_eq!(read(&third, 0, CHUNK).unwrap(), bytes(0, CHUNK));
    let reader = Rc::clone(&first);
    first.discard();
    drop(first);
    assert_eq!(bench.volumes.free_bytes(), 0, "a reader still has it");
    drop(reader);
    assert_eq!(bench.volumes.free_bytes(), half as u64);
}

#[test]
fn of_an_object_over_half_its_volume_as_much_is_kept_and_the_rest_goes_through_memory() {
    let half = CAPACITY as usize / 2;
    for is_said in [true, false] {
        let bench = bench();
        let resource = bench.resource();
        resource.set_head(b"head", Said::default());
        if is_said {
            resource.set_length(2 * CAPACITY).unwrap();
        }
        assert!(resource.is_cached() && resource.keeps(0..100));
        assert_eq!(resource.keeps(0..u64::MAX), !is_said, "of an unknown length nobody can tell");
        // The disk is slow: what is on its way counts.
        bench.sim.hold();
        let (mut turns, its_resource) = (Turns::default(), Rc::clone(&resource));
        let all = bytes(0, half + 40 * CHUNK);
        let fill = turns.spawn(async move { its_resource.write_at(0, &all).await.unwrap() });
        while !turns.is_done(fill) {
            turns.run();
            bench.sim.release_one();
        }
        bench.sim.release_all();
        flush(&resource);
        assert!(!resource.is_cached() && resource.has_its_share() && !resource.keeps(0..u64::MAX));
        let used = bench.volumes.used_bytes() as usize;
        assert!((half - CHUNK..=half).contains(&used), "{used}");
        assert_eq!(bench.volumes.stats().long_objects, 1);
        let (first, last) = (0, half as u64 + 39 * CHUNK_BYTES);
        assert_eq!(resource.present_from(last - 30 * CHUNK_BYTES), None, "memory is bounded");
        for at in [first, last] {
            assert_eq!(read(&resource, at, CHUNK).unwrap(), bytes(at, CHUNK));
        }
        // After a rest the same is there, nothing is added, and what is said of it can change.
        drop((turns, resource));
        let again = bench.volumes.find(ObjectId(1)).unwrap();
        assert!(!again.is_cached() && again.present_from(last).is_none());
        assert_eq!(again.stored_bytes_of(&(0..u64::MAX)) as usize, used - BLOCK_BYTES as usize);
        again.set_head(b"another", Said::default());
        write(&again, last, bytes(last, CHUNK)).unwrap();
        flush(&again);
        assert_eq!(read(&again, 0, CHUNK).unwrap(), bytes(0, CHUNK));
        bench.tick();
        assert_eq!(bench.volumes.used_bytes() as usize, used);
        let head = now(async move { again.head().await });
        assert_eq!(head.unwrap().as_deref(), Some(&b"another"[..]));
    }
}

#[test]
fn an_object_of_half_its_volume_is_kept_whole() {
    let bench = bench();
    let resource = bench.resource();
    resource.set_head(b"head", Said::default());
    resource.set_length(CAPACITY / 2).unwrap();
    write(&resource, 0, bytes(0, CAPACITY as usize / 2)).unwrap();
    flush(&resource);
    assert!(resource.is_cached() && resource.stored_bytes_of(&(0..CAPACITY)) == CAPACITY / 2);
    assert_eq!(bench.volumes.stats().long_objects, 0);
}

#[test]
fn memory_is_bounded_and_what_is_wanted_is_not_dropped() {
    let pool = BufPool::new(Options { budget_bytes: 64 << 20 });
    let resource = StreamingResource::in_memory(pool.clone(), 4 * CHUNK_BYTES);
    write(&resource, 0, bytes(0, 20 * CHUNK)).unwrap();
    assert!(pool.stats().high_water_bytes <= 6 * CHUNK, "{}", pool.stats().high_water_bytes);
    assert_eq!(resource.present_from(0), None);
    assert_eq!(read(&resource, 16 * CHUNK_BYTES, 9).unwrap(), bytes(16 * CHUNK_BYTES, 9));
    let demand = resource.demand(16 * CHUNK_BYTES..30 * CHUNK_BYTES, 0);
    let mut turns = Turns::default();
    let its_resource = Rc::clone(&resource);
    let fill = turns.spawn(async move {
        let start = 20 * CHUNK_BYTES;
        its_resource.write_at(start, &bytes(start, CHUNK)).await.unwrap();
    });
    turns.run();
    assert!(!turns.is_done(fill), "a wanted chunk was dropped");
    demand.set(18 * CHUNK_BYTES..30 * CHUNK_BYTES, 0);
    turns.run();
    assert!(turns.is_done(fill));
    assert_eq!(resource.present_from(18 * CHUNK_BYTES), Some(21 * CHUNK_BYTES));
    let demands = resource.demands();
    assert_eq!(demands[0].range.start, 18 * CHUNK_BYTES);
    drop(demand);
    assert!(resource.demands().is_empty());
}

#[test]
fn a_fill_waits_while_so_many_chunks_are_on_their_way() {
    const MOST: usize = WRITES_IN_FLIGHT;
    let bench = bench();
    let (resource, mut turns) = (bench.resource(), Turns::default());
    bench.sim.hold();
    let its_resource = Rc::clone(&resource);
    let fill = turns.spawn(async move {
        its_resource.write_at(0, &bytes(0, (MOST + 2) * CHUNK)).await.unwrap();
        its_resource.flush().await;
    });
    turns.run();
    assert_eq!(resource.present_from(0), Some(MOST as u64 * CHUNK_BYTES));
    while !turns.is_done(fill) {
        assert!(bench.sim.release_one(), "the fill waits for nothing");
        turns.run();
    }
    assert_eq!(resource.present_from(0), Some((MOST as u64 + 2) * CHUNK_BYTES));
}

#[test]
fn many_readers_of_one_chunk_read_it_once_even_if_the_first_goes_away() {
    let bench = bench();
    let (resource, mut turns) = (bench.resource(), Turns::default());
    write(&resource, 0, bytes(0, CHUNK)).unwrap();
    bench.sim.hold();
    let readers: Vec<_> = (0..10)
        .map(|_| {
            let resource = Rc::clone(&resource);
            turns.spawn(async move {
                let block = resource.read_at(7, 100).await.unwrap().unwrap();
                assert_eq!(*block, bytes(7, 100));
            })
        })
        .collect();
    turns.run();
    turns.cancel(readers[0]);
    turns.run();
    bench.sim.release_all();
    turns.run();
    assert!(readers.iter().all(|reader| turns.is_done(*reader)));
    assert_eq!(bench.volumes.stats().reads, 1);
    assert_eq!(resource.waiting(), 0);
}

#[test]
fn without_memory_nothing_is_lost() {
    let pool = BufPool::new(Options { budget_bytes: 2 * CHUNK });
    let resource = StreamingResource::in_memory(pool, 8 * CHUNK_BYTES);
    let refused = write(&resource, 0, bytes(0, 3 * CHUNK));
    assert!(matches!(refused, Err(Error::Exhausted(_))));
    assert_eq!(resource.present_from(0), Some(2 * CHUNK_BYTES));
    assert_eq!(read(&resource, CHUNK_BYTES, 9).unwrap(), bytes(CHUNK_BYTES, 9));
}

/// All memory there is.
fn take_all(pool: &BufPool) -> Vec<BlockMut> {
    let classes = [Class::Large, Class::Medium, Class::Small];
    classes
        .into_iter()
        .flat_map(|class| std::iter::from_fn(move || pool.take(class).ok()))
        .collect()
}

#[test]
fn a_head_that_finds_no_memory_is_stored_when_there_is_some() {
    let bench = bench();
    let resource = bench.resource();
    let taken = take_all(&bench.pool);
    resource.set_head(b"head", Said::default());
    drop(taken);
    write(&resource, 0, bytes(0, CHUNK)).unwrap();
    flush(&resource);
    drop(resource);
    let again = bench.volumes.find(ObjectId(1)).unwrap();
    assert_eq!(now(async move { again.head().await }).unwrap().as_deref(), Some(&b"head"[..]));
}

#[test]
fn what_cannot_be_written_at_the_end_for_want_of_memory_is_told() {
    let bench = bench();
    let close = || {
        let volumes = bench.volumes.clone();
        now(async move { volumes.close(Instant::now()).await })
    };
    bench.volumes.pin(ObjectId(1), true);
    let taken = take_all(&bench.pool);
    assert_eq!(close().unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    drop(taken);
    close().unwrap();
}

// ---- random interleavings ----

/// Serves what readers want, piece by piece, until told to stop.
async fn fill(resource: Rc<StreamingResource>, seed: u64, stop: Rc<Cell<bool>>) {
    let mut random = Random(seed);
    while !stop.get() {
        let changed = resource.demands_changed();
        let gaps = resource.demands().into_iter().filter_map(|demand| {
            let end = demand.range.end.min(resource.length().expect("said at the start"));
            resource.next_gap(demand.range.start.min(end)..end)
        });
        let gaps: Vec<_> = gaps.collect();
        let Some(gap) = gaps.get(random.below(gaps.len().max(1) as u64) as usize) else {
            changed.await;
            continue;
        };
        let room = async {
            resource.room(gap.start).await;
            true
        };
        let moved = async {
            changed.await;
            false
        };
        if or(room, moved).await {
            let in_chunk = CHUNK_BYTES - gap.start % CHUNK_BYTES;
            let most = in_chunk.min(gap.end - gap.start);
            let length = 1 + random.below(most);
            let length = if random.below(2) == 0 { most } else { length };
            resource.write_at(gap.start, &bytes(gap.start, length as usize)).await.unwrap();
        }
        give_way().await;
    }
}

/// Reads from `start` to the end, and checks every byte.
async fn follow(resource: Rc<StreamingResource>, start: u64, seed: u64) {
    let mut random = Random(seed);
    let length = resource.length().unwrap();
    let demand = resource.demand(start..start + 1, 0);
    let mut at = start;
    loop {
        let window = 1 + random.below(4 * CHUNK_BYTES);
        demand.set(at..at + window, 0);
        match resource.wait_range(at..at + window).await.unwrap() {
            Wait::Eof => break,
            Wait::Ready => {}
        }
        let max = 1 + random.below(CHUNK_BYTES) as usize;
        if let Some(block) = resource.read_at(at, max).await.unwrap() {
            assert!(!block.is_empty() && block.len() <= max);
            let right = block.iter().zip(at..).all(|(found, position)| *found == byte(position));
            assert!(right, "a wrong byte from {at}");
            at += block.len() as u64;
        }
        give_way().await;
    }
    assert_eq!(at, length.max(start), "a false end");
}

/// Lets another task have a turn.
async fn give_way() {
    let mut given = false;
    poll_fn(|context| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// One history: a fill, readers of which some are cancelled, a disk that is slow, fails and rots.
#[test]
fn a_chunk_that_had_no_memory_for_its_write_goes_to_disk_once_there_is_some() {
    let (sim, pool) = (Sim::default(), BufPool::new(Options { budget_bytes: 5 * CHUNK }));
    let volumes = Volumes::on(vec![Disk::Sim(sim)], CAPACITY, pool.clone());
    for retry in ["flush", "demand", "write"] {
        let resource = volumes.create(ObjectId(1), Generation(1));
        let others = (0..4).map(|_| pool.charge(CHUNK).unwrap()).collect::<Vec<_>>();
        let written = volumes.stats().writes;
        write(&resource, 0, bytes(0, CHUNK)).unwrap();
        assert!(resource.is_cached() && resource.stored_bytes() == 0);
        flush(&resource);
        assert_eq!(volumes.stats().writes, written, "there was no memory");
        assert_eq!(read(&resource, 5, 70).unwrap(), bytes(5, 70));
        drop(others);
        match retry {
            "flush" => flush(&resource),
            "demand" => drop(resource.demand(0..10, 0)),
            _ => write(&resource, CHUNK_BYTES, bytes(CHUNK_BYTES, CHUNK)).unwrap(),
        }
        flush(&resource);
        assert!(resource.stored_bytes() >= CHUNK_BYTES, "after a {retry} it is still in memory");
        assert!(volumes.stats().writes > written);
        assert_eq!(pool.stats().in_use_bytes(), 0, "after a {retry} its memory is not free");
        assert_eq!(read(&resource, 5, 70).unwrap(), bytes(5, 70));
    }
}

fn history(seed: u64) {
    let mut random = Random(seed);
    // In the smaller one an object of over three chunks is a long one.
    let bench = bench_of([CAPACITY, 6 * CHUNK_BYTES][random.below(2) as usize]);
    let resource = match random.below(3) {
        0 => StreamingResource::in_memory(bench.pool.clone(), random.below(4) * CHUNK_BYTES),
        _ => bench.resource(),
    };
    let length = random.below(8 * CHUNK_BYTES);
    resource.set_length(length).unwrap();
    resource.commit().unwrap();
    if random.below(2) == 0 {
        bench.sim.hold();
    }
    for _ in 0..random.below(3) {
        bench.sim.fail(random.below(20), io::ErrorKind::Other);
    }
    let (mut turns, stop) = (Turns::default(), Rc::new(Cell::new(false)));
    turns.spawn(fill(Rc::clone(&resource), seed ^ 1, Rc::clone(&stop)));
    let readers: Vec<_> = (0..1 + random.below(4))
        .map(|_| {
            let start = random.below(length + 10);
            turns.spawn(follow(Rc::clone(&resource), start, random.below(u64::MAX)))
        })
        .collect();
    while readers.iter().any(|reader| !turns.is_done(*reader)) {
        let chance = random.below(200);
        let reader = readers[random.below(readers.len() as u64) as usize];
        let moved = match chance {
            0 if readers.len() > 1 => {
                turns.cancel(reader);
                true
            }
            1 => bench.sim.flip_some(&mut random),
            2..40 => bench.sim.release_one(),
            _ => turns.step(&mut random),
        };
        let stuck = !moved && !turns.step(&mut random) && !bench.sim.release_one();
        assert!(!stuck, "seed {seed}: a reader waits and nobody will wake it");
    }
    stop.set(true);
    drop(resource.demand(0..1, 0));
    bench.sim.release_all();
    turns.run();
    assert_eq!(resource.waiting(), 0, "seed {seed}: a waiter was left behind");
    assert!(resource.demands().is_empty(), "seed {seed}");
    resource.discard();
    drop((turns, resource));
    bench.tick();
    assert_eq!(bench.volumes.used_bytes(), 0, "seed {seed}: blocks were lost");
    assert_eq!(bench.pool.stats().used_bytes, 0, "seed {seed}: memory was lost");
}

#[test]
fn readers_get_the_right_bytes_in_every_interleaving() {
    let seeds = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = seeds.map_or(1..=400, |seed| seed..=seed);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| history(seed));
        if let Err(panic) = outcome {
            eprintln!("failing seed: {seed}; SEED={seed} repeats it");
            std::panic::resume_unwind(panic);
        }
    }
}
