//! Random histories of a cache that crashes, rots and fails, against a map of what was written. What its
//! device is asked for ends when the history says so: commits, syncs and turns of journals lie between all else.
//!
//! Each object's bytes follow from its name and generation, so the map needs to hold nothing but
//! lengths. Whatever happened, a read gives those bytes or a miss, what was answered is so
//! (`promises`), and no file is longer than the size of the cache allows, which changes between starts. `SEEDS` says how many histories are tried,
//! and `SEED` repeats one; `FIRST_SEED` lets two processes share the work.

mod anew;
mod running;
mod starts;
mod telling;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    ops::Range,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future;

use super::{
    CHUNK_BYTES, Crash, Generation, ObjectId, SNAPSHOT_BYTES, Said, Sim, StreamingResource,
    VolumeIndex, Volumes,
    device::{Device, Upkeep},
    format::SUPERBLOCK_BYTES,
    promises::{Asked, Damage, Luck, Promises},
    random::{Random, for_each_seed},
    turns::{Turns, at_once},
    volume::Share,
};
use crate::bufpool::{self, BufPool};

const OBJECTS: u64 = 12;
/// What the volume may hold; it changes between two starts.
const SHARES: [Share; 3] = [
    Share { data_bytes: 3 << 20, journal_bytes: 256 << 10 },
    Share { data_bytes: 1 << 20, journal_bytes: 64 << 10 },
    Share { data_bytes: 4 << 20, journal_bytes: 128 << 10 },
];
const SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// A cache, what was put into it, and who has something open.
struct World {
    random: Random,
    device: Device,
    share: Share,
    volumes: Volumes,
    pool: BufPool,
    now: Instant,
    lengths: BTreeMap<(ObjectId, Generation), u64>,
    open: BTreeMap<u64, Rc<StreamingResource>>,
    promises: Promises,
    /// Power was cut, so that a record may be there without its bytes.
    was_cut: bool,
    luck: Luck,
    /// What a shard does for its volumes: ticks and commits, and who waits for them.
    turns: Turns,
    upkeep: Upkeep,
    answered: Rc<RefCell<Vec<Asked>>>,
}

fn content(object: ObjectId, generation: Generation, range: Range<u64>) -> Vec<u8> {
    let seed = generation.0 ^ (object.0 as u64) << 32;
    range.map(|at| (at ^ at >> 8 ^ seed.wrapping_mul(at / 4096 + 1) >> 24) as u8).collect()
}

fn head_of(object: ObjectId, generation: Generation) -> Vec<u8> {
    format!("head of {object} {generation}\n").into_bytes()
}

impl World {
    fn new(seed: u64, luck: Luck) -> Self {
        let (device, share, pool) = (Device::default(), SHARES[0], pool());
        let volumes = start(&device, share, &pool);
        let (now, (lengths, open, promises)) = (Instant::now(), Default::default());
        let (random, was_cut) = (Random(seed), false);
        let (turns, upkeep, answered) = Default::default();
        Self {
            random,
            device,
            share,
            volumes,
            pool,
            now,
            lengths,
            open,
            promises,
            was_cut,
            luck,
            turns,
            upkeep,
            answered,
        }
    }

    fn step(&mut self) {
        let object = self.random.below(OBJECTS);
        match self.random.below(46) {
            0..4 => self.begin(object),
            4..8 => self.find(object),
            8..20 => self.write(object),
            20..23 => self.end(object),
            23..26 => drop(self.open.remove(&object)),
            26 => self.forget(object),
            27..29 => self.pin(object),
            29..32 => self.read_all(),
            32..36 => self.tick(),
            36 => self.some_sim().hold(),
            37..40 => {
                self.some_sim().release_one();
            }
            40 => self.device.release(),
            41 => self.crash(),
            _ if self.luck != Luck::Bad => {}
            42 => {
                self.device.fail(&mut self.random);
                self.promises.damaged(Damage::Failing);
            }
            43 => self.promises.damaged(self.device.rot(&mut self.random)),
            44 => self.promises.damaged(self.device.misdirect(&mut self.random)),
            _ => self.device.set_full(self.random.below(2) == 0),
        }
        self.take_turns();
        self.check_size();
    }

    fn some_sim(&mut self) -> &Sim {
        self.device.all()[self.random.below(4) as usize]
    }

    /// Whoever can go on does, and who was answered then was promised something.
    fn take_turns(&mut self) {
        self.turns.run();
        for asked in self.answered.take() {
            self.promises.answered(asked);
        }
    }

    fn begin(&mut self, object: u64) {
        self.open.remove(&object);
        let (id, generation) = (ObjectId(object.into()), Generation(self.random.next()));
        let resource = self.volumes.create(id, generation);
        self.promises.gone(id);
        let length = match self.random.below(4) {
            0 => 1 + self.random.below(20_000),
            _ => 1 + self.random.below(6 * CHUNK_BYTES),
        };
        self.lengths.insert((id, generation), length);
        if self.random.below(4) > 0 {
            resource.set_length(length).unwrap();
        }
        let said =
            Said { born: self.random.below(1 << 32), expires: 1 << 40, validator: generation.0 };
        resource.set_head(&head_of(id, generation), said);
        self.open.insert(object, resource);
    }

    fn forget(&mut self, object: u64) {
        let object = ObjectId(object.into());
        self.volumes.forget(object);
        self.promises.gone(object);
    }

    fn pin(&mut self, object: u64) {
        let (object, pinned) = (ObjectId(object.into()), self.random.below(2) == 0);
        let (volumes, answered) = (self.volumes.clone(), Rc::clone(&self.answered));
        volumes.pin(object, pinned);
        let asked = self.promises.asked(&volumes, object, pinned);
        self.turns.spawn(async move {
            if volumes.durable(object).await.is_ok() {
                answered.borrow_mut().push(asked);
            }
        });
        self.turns.run();
        if self.random.below(2) == 0 {
            self.tick();
        }
    }

    fn find(&mut self, object: u64) {
        if let Some(resource) = self.volumes.find(ObjectId(object.into())) {
            self.open.insert(object, resource);
        }
    }

    fn write(&mut self, object: u64) {
        let Some(resource) = self.open.get(&object) else { return };
        let name = (resource.object(), resource.generation());
        let length = self.lengths[&name];
        let mut range = self.random.range(length);
        if self.random.below(2) == 0 {
            range.start -= range.start % CHUNK_BYTES;
        }
        let bytes = content(name.0, name.1, range.clone());
        let _ = at_once(resource.write_at(range.start, &bytes));
        if self.random.below(2) == 0 {
            at_once(resource.flush());
        }
    }

    fn end(&mut self, object: u64) {
        let Some(resource) = self.open.get(&object) else { return };
        at_once(resource.flush());
        let length = self.lengths[&(resource.object(), resource.generation())];
        if resource.present_from(0) == Some(length) {
            resource.set_length(length).unwrap();
            resource.commit().unwrap();
        }
    }

    /// Reads whatever is said to be there, of what is open and of what rests.
    fn read_all(&self) {
        self.open.values().for_each(|resource| self.read(resource));
        for object in (0..OBJECTS).map(|object| ObjectId(object.into())) {
            self.volumes.find(object).iter().for_each(|resource| self.read(resource));
        }
    }

    fn read(&self, resource: &Rc<StreamingResource>) {
        let name = (resource.object(), resource.generation());
        let length = self.lengths[&name];
        assert!(resource.length().is_none_or(|said| said == length), "{name:?}");
        let mut at = 0;
        while at < length {
            match at_once(resource.read_at(at, usize::MAX)) {
                None => return, // Held back.
                Some(Ok(Some(bytes))) => {
                    let expected = content(name.0, name.1, at..at + bytes.len() as u64);
                    assert!(*bytes == expected, "{name:?} at {at}: {} wrong bytes", bytes.len());
                    at += bytes.len() as u64;
                }
                Some(Ok(None)) => at = next_present(resource, at).unwrap_or(length),
                Some(Err(error)) => panic!("{name:?} at {at}: {error}"),
            }
        }
        if let Some(head) = at_once(resource.head()).and_then(Result::unwrap) {
            assert_eq!(*head, head_of(name.0, name.1), "{name:?}");
        }
    }

    fn tick(&mut self) {
        self.now += Duration::from_millis(self.random.below(3_000));
        self.upkeep.begin(&mut self.turns, &self.volumes, self.now, SYNC_INTERVAL);
        self.take_turns();
    }

    fn crash(&mut self) {
        let crash = self.luck.crash(&mut self.random);
        self.open.clear();
        (self.turns, self.upkeep) = Default::default();
        let after = self.device.crash(crash, &mut self.random);
        let before = std::mem::replace(&mut self.device, after);
        // They hold one another: what is held back, and the volume that waits for it.
        before.release();
        if self.luck == Luck::Bad && self.random.below(4) == 0 {
            self.share = SHARES[self.random.below(3) as usize];
        }
        if self.device.is_lost(0) {
            assert!(self.luck == Luck::Bad, "nothing was damaged");
            // Refused. The operator begins anew.
            self.device = Device::default();
        }
        self.volumes = start(&self.device, self.share, &self.pool);
        self.promises.check(&self.volumes);
        self.was_cut |= crash != Crash::Kill;
        if !self.was_cut && self.promises.is_undamaged() {
            self.check_sound();
        }
        self.check_size();
        self.check_room();
        self.read_all();
    }

    /// A kill leaves nothing that a check would take for rot.
    fn check_sound(&self) {
        let objects: Vec<_> = (0..OBJECTS).map(|object| ObjectId(object.into())).collect();
        let checking = self.volumes.check(VolumeIndex(0), &objects, 0, u64::MAX, false);
        assert_eq!(future::block_on(checking).unwrap().faults, []);
    }

    /// No block belongs to two, and none to nobody.
    fn check_room(&self) {
        let volume = self.volumes.own().next().unwrap();
        let held: u64 = self.volumes.objects(volume).iter().map(|object| object.stored_bytes).sum();
        assert_eq!(self.volumes.used_bytes(), held, "blocks without an owner");
        assert_eq!(self.volumes.stored_bytes(), held);
    }

    /// No file is longer than its share, whatever was done and whatever failed.
    fn check_size(&self) {
        let Share { data_bytes, journal_bytes } = self.share;
        assert!(self.device.data.length() <= data_bytes, "{:?}", self.device.data.length());
        assert!(self.device.superblock.length() <= 2 * SUPERBLOCK_BYTES as u64);
        let journals = self.device.journals.each_ref().map(Sim::length);
        assert!(journals.iter().all(|length| *length <= journal_bytes), "{journals:?}");
    }
}

/// Where bytes are present next that do not begin at a chunk's start either.
fn next_present(resource: &StreamingResource, at: u64) -> Option<u64> {
    let starts = resource.ranges(usize::MAX).into_iter().map(|range| range.start);
    starts.filter(|start| *start > at).min()
}

fn pool() -> BufPool {
    BufPool::new(bufpool::Options { budget_bytes: 8 << 20 })
}

fn start(device: &Device, share: Share, pool: &BufPool) -> Volumes {
    let Share { data_bytes, journal_bytes } = share;
    let opening = device.volumes(data_bytes, journal_bytes, pool.clone());
    future::block_on(opening).expect("what a crash leaves can be opened")
}

#[test]
fn whatever_happens_a_read_gives_what_was_written_or_a_miss() {
    for_each_seed(2_000, |seed| {
        let mut world = World::new(seed, Luck::Bad);
        (0..120).for_each(|_| world.step());
        world.read_all();
        world.crash();
    });
}

/// Nothing is damaged, so that all that was promised is so to the end.
#[test]
fn whenever_power_is_cut_what_was_promised_is_so() {
    for_each_seed(500, |seed| {
        let mut world = World::new(seed, Luck::Power);
        (0..160).for_each(|_| world.step());
        world.crash();
        assert_eq!(world.volumes.stats().volumes_off, 0);
    });
}

/// A process that is killed loses what was not committed, and nothing else.
#[test]
fn what_was_committed_is_there_after_a_kill() {
    for seed in 1..=100 {
        let mut world = World::new(seed, Luck::Good);
        for object in 0..6 {
            world.begin(object);
            let resource = Rc::clone(&world.open[&object]);
            let name = (resource.object(), resource.generation());
            let bytes = content(name.0, name.1, 0..world.lengths[&name]);
            let half = world.random.below(2) == 0;
            let part = if half { bytes.len() / 2 } else { bytes.len() };
            at_once(resource.write_at(0, &bytes[..part])).unwrap().unwrap();
            at_once(resource.flush()).unwrap();
        }
        let present = |world: &World| -> Vec<_> {
            world.open.values().map(|r| (r.object(), r.generation(), r.present_bytes())).collect()
        };
        let before = present(&world);
        world.now += Duration::from_secs(1);
        for _ in 0..2 {
            world.now += Duration::from_millis(200);
            at_once(world.volumes.tick(world.now, SYNC_INTERVAL)).unwrap();
        }
        world.open.clear();
        world.device = world.device.crash(Crash::Kill, &mut world.random);
        world.volumes = start(&world.device, world.share, &world.pool);
        (0..6).for_each(|object| world.find(object));
        assert_eq!(present(&world), before, "seed {seed}");
        world.read_all();
        world.open.clear();
        world.check_room();
    }
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

/// Else they would stand against who has their blocks by then, at the next start.
#[test]
fn chunks_dropped_at_a_start_are_recorded() {
    let device = Device::default();
    assert!(Started::over(&device).put(1));
    // The data did not reach the disk, and the journal did.
    device.data.cut(0);
    let mut second = Started::over(&device);
    assert_eq!((second.present(1), second.volumes.stats().corrupt_chunks), (0, 3));
    assert!(second.put(2));
    let third = Started::over(&device);
    assert_eq!(third.volumes.stats().corrupt_chunks, 0);
    assert_eq!((third.present(1), third.present(2)), (0, 3 * CHUNK_BYTES));
}

/// The superblock may name the other journal by then: what is appended to the old one is lost.
#[test]
fn a_turn_of_journals_that_fails_is_done_again_before_anything_is_appended() {
    let device = Device::default();
    let mut first = Started::over(&device);
    first.turn_and_fail(&device);
    assert!(!first.put(1), "appended to a journal that may not count");
    for _ in 0..3 {
        first.tick(Duration::from_secs(11));
    }
    assert!(first.put(2), "it is not whole again");
    let second = Started::over(&device);
    assert_eq!((second.present(1), second.present(2)), (0, 3 * CHUNK_BYTES));
}

/// The superblock that failed may have reached the disk, and names a journal that is to be written over.
#[test]
fn a_turn_that_is_done_again_and_cut_off_loses_no_pin() {
    for cut in 0..6 {
        let device = Device::default();
        let mut first = Started::over(&device);
        first.volumes.pin(ObjectId(5), true);
        first.tick(Duration::from_secs(6));
        first.turn_and_fail(&device);
        device.journals.iter().for_each(|journal| journal.die(journal.operations() + cut));
        (0..2).for_each(|_| first.tick(Duration::from_secs(11)));
        let after = device.crash(Crash::Kill, &mut Random(1));
        assert!(Started::over(&after).volumes.is_pinned(ObjectId(5)), "cut off at {cut}");
    }
}

/// A journal of a small cache is shorter than what waits may be, and the disk takes its time.
#[test]
fn what_comes_while_a_journal_is_turned_over_waits_rather_than_overflow_it() {
    let device = Device::default();
    let share = Share { data_bytes: 64 << 20, ..SHARES[1] };
    let volumes = start(&device, share, &pool());
    let come_and_go = |objects: Range<u64>| {
        for object in objects {
            let resource = volumes.create(ObjectId(object.into()), Generation(object));
            let _ = at_once(resource.write_at(0, &[7; 100]));
            at_once(resource.flush());
            drop(resource);
            volumes.forget(ObjectId(object.into()));
        }
    };
    come_and_go(100..400);
    device.journals.iter().for_each(Sim::hold);
    let now = Instant::now();
    {
        let mut turn = pin!(volumes.tick(now, SYNC_INTERVAL));
        assert!(at_once(turn.as_mut()).is_none(), "it was not turned over");
        come_and_go(400..2_000);
        device.journals.iter().for_each(Sim::release_all);
        at_once(turn).expect("no operation is held");
    }
    assert_eq!(volumes.stats().volumes_off, 0);
    let mut started = Started { volumes, now };
    started.tick(Duration::from_millis(200));
    assert!(started.put(1), "its disk took it not");
}

/// A check after a kill would take them for rot.
#[test]
fn blocks_of_what_was_dropped_are_nobodys_before_that_is_recorded() {
    let device = Device::default();
    let mut first = Started::over(&device);
    (1..=16).for_each(|object| assert!(first.put(object)));
    assert!(first.volumes.free_bytes() < 3 * CHUNK_BYTES, "it is not full");
    first.volumes.forget(ObjectId(3));
    assert!(first.volumes.free_bytes() >= 3 * CHUNK_BYTES, "what comes free counts");
    let resource = first.volumes.create(ObjectId(20), Generation(20));
    resource.set_length(3 * CHUNK_BYTES).unwrap();
    let bytes = content(resource.object(), resource.generation(), 0..3 * CHUNK_BYTES);
    at_once(resource.write_at(0, &bytes)).unwrap().unwrap();
    assert!(at_once(resource.settled()).is_none(), "it does not wait");
    let killed = Started::over(&device.crash(Crash::Kill, &mut Random(1)));
    assert_eq!(killed.present(3), 3 * CHUNK_BYTES);
    assert_eq!(killed.volumes.stats().corrupt_chunks, 0);
    first.tick(Duration::ZERO);
    assert!(
        at_once(resource.settled()).is_some() && resource.is_cached(),
        "a commit is no group's to wait for"
    );
    first.tick(Duration::from_millis(200));
    let killed = Started::over(&device.crash(Crash::Kill, &mut Random(1)));
    assert_eq!((killed.present(3), killed.present(20)), (0, 3 * CHUNK_BYTES));
}

/// What a larger cache left is cut at the start, journals too, and what fits stays.
#[test]
fn a_smaller_cache_evicts_and_cuts() {
    let device = Device::default();
    let mut first = Started::over(&device);
    (1..=14).for_each(|object| assert!(first.put(object)));
    for turn in 0..25 {
        first.volumes.remember(VolumeIndex(0), vec![vec![7; SNAPSHOT_BYTES]]);
        assert!(first.put(14), "{turn}");
    }
    let longest = device.journals.each_ref().map(Sim::length).into_iter().max().unwrap();
    assert!(longest > SHARES[1].journal_bytes && device.data.length() > SHARES[1].data_bytes);
    drop(first);
    let volumes = start(&device, SHARES[1], &pool());
    assert!(device.data.length() <= SHARES[1].data_bytes);
    let journals = device.journals.each_ref().map(Sim::length);
    assert!(journals.into_iter().all(|length| length <= SHARES[1].journal_bytes), "{journals:?}");
    let second = Started { volumes, now: Instant::now() };
    let kept = (1..=13).filter(|object| second.present(*object) == 3 * CHUNK_BYTES).count();
    assert!(kept >= 4, "{kept}");
    drop(second);
    let third = Started::over(&device);
    let still = (1..=13).filter(|object| third.present(*object) == 3 * CHUNK_BYTES).count();
    assert_eq!(still, kept);
}
