//! Random histories of a store on simulated disks that crash, rot and fail, against a map of what was
//! written: generations come and go, are filled in parts, evicted, pinned, purged and remembered, and
//! some writes never reach the disk.
//!
//! A version's bytes follow from its number, so the map needs to hold nothing but lengths. Whatever
//! happened, a read gives those bytes or a miss, nothing leaves that is held or pinned, and no disk holds
//! more than it may. `SEEDS` says how many histories are tried, and `SEED` repeats one; `FIRST_SEED` lets
//! two processes share the work.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    rc::Rc,
    sync::LazyLock,
    time::{Duration, Instant},
};

use futures_lite::future;
use http::HeaderValue;

use super::{AssetStore, FillPermit, Head, Key, Lease, News, Options};
use crate::{
    bufpool::{self, BufPool},
    storage::{
        CHUNK_BYTES, Error, Generation, ObjectId, Sim,
        device::{Device, Upkeep},
        promises::{Asked, Damage, Luck, Promises},
        random::{Random, for_each_seed},
        turns::{Turns, at_once},
    },
};

const OBJECTS: u64 = 16;
const DEVICES: usize = 2;
/// What each device may hold, which changes between two starts: less than all objects together.
const DATA_BYTES: [u64; 2] = [768 << 10, 448 << 10];
const JOURNAL_BYTES: u64 = 128 << 10;
/// What an object is long at most.
const LENGTH_BYTES: u64 = 6 * CHUNK_BYTES;
const SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// Version and length of what was written, by object and generation.
type Written = BTreeMap<(ObjectId, Generation), (u64, u64)>;

/// A store, what was put into it, and who holds something.
struct World {
    random: Random,
    devices: Vec<Device>,
    data_bytes: u64,
    store: Rc<AssetStore>,
    pool: BufPool,
    now: Instant,
    versions: u64,
    written: Written,
    held: BTreeMap<u64, (Lease, Option<FillPermit>)>,
    evicted: Rc<RefCell<Vec<String>>>,
    promises: Promises,
    /// What a shard does for its cache: ticks and commits, and who waits for them.
    turns: Turns,
    upkeep: Upkeep,
    answered: Rc<RefCell<Vec<Asked>>>,
}

fn key(number: u64) -> Key {
    Key::of_library("simulation", &number.to_string())
}

/// Each version is another window on the same noise, since making noise takes longer than all else.
fn content(version: u64, range: Range<u64>) -> &'static [u8] {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut random = Random(0);
        (0..1 << 17).flat_map(|_| random.next().to_le_bytes()).collect()
    });
    let from = (version * 4099) % (NOISE.len() as u64 - LENGTH_BYTES);
    &NOISE[(from + range.start) as usize..(from + range.end) as usize]
}

fn etag(version: u64) -> HeaderValue {
    format!("\"{version}\"").parse().unwrap()
}

fn started(devices: &[Device], data_bytes: u64, pool: &BufPool) -> Result<Rc<AssetStore>, Error> {
    let volumes = Device::volumes_of(devices, data_bytes, JOURNAL_BYTES, pool.clone());
    Ok(Rc::new(AssetStore::new(Options::default(), future::block_on(volumes)?)))
}

impl World {
    fn new(seed: u64) -> Self {
        let devices: Vec<_> = (0..DEVICES).map(|_| Device::default()).collect();
        let pool = BufPool::new(bufpool::Options { budget_bytes: 8 << 20 });
        let (data_bytes, random) = (DATA_BYTES[0], Random(seed));
        let store = started(&devices, data_bytes, &pool).expect("it is empty");
        let (written, held, evicted, promises) = Default::default();
        let (turns, upkeep, answered) = Default::default();
        let (now, versions) = (Instant::now(), 0);
        let world = Self {
            random,
            devices,
            data_bytes,
            store,
            pool,
            now,
            versions,
            written,
            held,
            evicted,
            promises,
            turns,
            upkeep,
            answered,
        };
        world.watch();
        world
    }

    /// Hears of each eviction.
    fn watch(&self) {
        let evicted = Rc::clone(&self.evicted);
        self.store.observe(move |object, news| {
            if let News::Evicted = news {
                evicted.borrow_mut().push(object.to_owned());
            }
        });
    }

    fn step(&mut self, luck: Luck) {
        let number = self.random.below(OBJECTS);
        let mut pinned: BTreeSet<_> = self.pinned();
        match self.random.below(48) {
            0..10 => self.open(number),
            10..20 => self.write(number),
            20..24 => self.end(number),
            24..28 => drop(self.held.remove(&number)),
            28 => {
                self.store.purge(key(number).id);
                self.promises.gone(key(number).id);
            }
            29 => drop(self.store.invalidate(key(number).id)),
            30 => {
                if !self.pin(number) {
                    // Who was waiting for room may have it now.
                    pinned.remove(&key(number).id.to_string());
                }
            }
            31..34 => self.read_all(),
            34..38 => {
                let later = Duration::from_millis(self.random.below(6_000));
                if self.random.below(2) == 0 {
                    self.release();
                }
                self.begin_upkeep(later);
            }
            38 => self.some_sims(|sim| sim.hold()),
            39 => self.some_sims(|sim| sim.release_all()),
            40..44 => self.some_sims(|sim| {
                sim.release_one();
            }),
            44 => self.crash(luck),
            _ if luck != Luck::Bad => {}
            45 => {
                self.some_device().fail(&mut self.random);
                self.promises.damaged(Damage::Failing);
            }
            46 => {
                let damage = self.some_device().rot(&mut self.random);
                self.promises.damaged(damage);
            }
            _ => {
                let damage = self.some_device().misdirect(&mut self.random);
                self.promises.damaged(damage);
            }
        }
        self.take_turns();
        self.check_evicted(&pinned);
        self.check_size();
    }

    /// Whoever can go on does, and who was answered then was promised something.
    fn take_turns(&mut self) {
        self.turns.run();
        for asked in self.answered.take() {
            self.promises.answered(asked);
        }
    }

    fn pinned(&self) -> BTreeSet<String> {
        let ids = (0..OBJECTS).map(|number| key(number).id);
        ids.filter(|id| self.store.volumes().is_pinned(*id)).map(|id| id.to_string()).collect()
    }

    /// Takes a lease, on what is there or on a new version.
    fn open(&mut self, number: u64) {
        self.held.remove(&number);
        let key = key(number);
        let is_stale = self.random.below(4) == 0;
        let found = match is_stale {
            true => None,
            // Where the disk holds its operations back, nobody waits for it here.
            false => at_once(self.store.find(&key)).and_then(|found| found.expect("memory")),
        };
        let lease = found.unwrap_or_else(|| self.begin(&key));
        let permit = self.store.permit(&lease);
        self.held.insert(number, (lease, permit));
    }

    fn begin(&mut self, key: &Key) -> Lease {
        self.versions += 1;
        let mut head = Head::default();
        head.fields.insert("etag", etag(self.versions));
        let lease = self.store.begin(key, head);
        self.promises.gone(key.id);
        let length = match self.random.below(4) {
            0 => 1 + self.random.below(20_000),
            _ => 1 + self.random.below(LENGTH_BYTES),
        };
        if self.random.below(4) > 0 {
            lease.resource.set_length(length).unwrap();
        }
        self.written.insert((key.id, lease.generation), (self.versions, length));
        lease
    }

    fn write(&mut self, number: u64) {
        let Some((lease, Some(_))) = self.held.get(&number) else { return };
        let (version, length) = self.written[&(lease.key.id, lease.generation)];
        let mut range = self.random.range(length);
        if self.random.below(2) == 0 {
            range.start -= range.start % CHUNK_BYTES;
        }
        let bytes = content(version, range.clone());
        self.store.make_room(lease.asset(), bytes.len() as u64);
        let _ = at_once(lease.resource.write_at(range.start, bytes));
        if self.random.below(2) == 0 {
            at_once(lease.resource.flush());
        }
    }

    fn end(&mut self, number: u64) {
        let Some((lease, permit)) = self.held.get_mut(&number) else { return };
        if permit.is_none() {
            return;
        }
        let (version, length) = self.written[&(lease.key.id, lease.generation)];
        let missing = lease.resource.next_gap(0..length);
        if let Some(gap) = missing {
            self.store.make_room(lease.asset(), LENGTH_BYTES);
            let _ = at_once(lease.resource.write_at(gap.start, content(version, gap.clone())));
        }
        at_once(lease.resource.flush());
        if lease.resource.present_from(0) == Some(length) {
            lease.resource.set_length(length).unwrap();
            lease.resource.commit().unwrap();
            *permit = None;
        }
    }

    /// It is so at once, and outlives a crash when it is answered. Says whether it is a pin, or lifts one.
    fn pin(&mut self, number: u64) -> bool {
        let (id, pinned) = (key(number).id, self.random.below(3) > 0);
        let asked = self.promises.asked(self.store.volumes(), id, pinned);
        let (store, answered) = (Rc::clone(&self.store), Rc::clone(&self.answered));
        self.turns.spawn(async move {
            if store.pin(id, pinned).await.is_ok() {
                answered.borrow_mut().push(asked);
            }
        });
        self.turns.run();
        if self.random.below(2) == 0 {
            self.begin_upkeep(Duration::ZERO);
        }
        pinned
    }

    /// Reads whatever is said to be there, of what is held and of what rests.
    fn read_all(&self) {
        self.held.values().for_each(|(lease, _)| self.read(lease));
        for key in (0..OBJECTS).map(key) {
            if let Some(Ok(Some(lease))) = at_once(self.store.find(&key)) {
                self.read(&lease);
            }
        }
    }

    fn read(&self, lease: &Lease) {
        let name = (lease.key.id, lease.generation);
        let (version, length) = *self.written.get(&name).expect("a generation of nobody");
        assert_eq!(lease.head().fields.get("etag"), Some(&etag(version)), "{name:?}");
        assert!(lease.resource.length().is_none_or(|said| said == length), "{name:?}");
        let mut at = 0;
        while at < length {
            match at_once(lease.resource.read_at(at, usize::MAX)) {
                None => return, // Held back.
                Some(Ok(Some(bytes))) => {
                    let expected = content(version, at..at + bytes.len() as u64);
                    assert!(*bytes == *expected, "{name:?} at {at}: {} wrong bytes", bytes.len());
                    at += bytes.len() as u64;
                }
                Some(Ok(None)) => {
                    let present = lease.resource.ranges(usize::MAX);
                    let starts = present.into_iter().map(|range| range.start);
                    at = starts.filter(|start| *start > at).min().unwrap_or(length);
                }
                Some(Err(error)) => panic!("{name:?} at {at}: {error}"),
            }
        }
    }

    /// What a shard does for its cache in time, to its end.
    fn tick(&mut self, later: Duration) {
        self.release();
        self.begin_upkeep(later);
        assert!(self.upkeep.is_done(&self.turns), "nothing is held back");
    }

    /// The same, as far as it comes.
    fn begin_upkeep(&mut self, later: Duration) {
        self.now += later;
        self.store.remember(self.now);
        self.upkeep.begin(&mut self.turns, self.store.volumes(), self.now, SYNC_INTERVAL);
        self.take_turns();
    }

    /// Holds nothing back any more.
    fn release(&mut self) {
        self.devices.iter().for_each(Device::release);
        self.take_turns();
    }

    fn some_device(&mut self) -> Device {
        self.devices[self.random.below(DEVICES as u64) as usize].clone()
    }

    fn some_sims(&mut self, act: impl Fn(&Sim)) {
        let device = self.some_device();
        act(&device.data);
        if self.random.below(2) == 0 {
            device.journals.iter().for_each(act);
        }
    }

    /// It stops, and is started again; where power is cut, now and then with another size, and now and then
    /// in vain at first.
    fn crash(&mut self, luck: Luck) {
        self.held.clear();
        (self.turns, self.upkeep) = Default::default();
        self.stop(luck);
        let before = self.data_bytes;
        if luck != Luck::Good && self.random.below(4) == 0 {
            self.data_bytes = DATA_BYTES[self.random.below(2) as usize];
        }
        if luck != Luck::Good && self.random.below(3) == 0 {
            let (pool, devices) = (self.pool.clone(), self.devices.clone());
            let opening = Device::volumes_of(&devices, self.data_bytes, JOURNAL_BYTES, pool);
            Device::do_in_part(&devices, opening, &mut self.random);
            self.stop(luck);
        }
        self.start(before);
        self.promises.check(self.store.volumes());
        if luck == Luck::Good {
            self.check_sound();
        }
        self.watch();
        self.check_size();
        self.check_room();
        self.read_all();
    }

    /// What is held back then never reaches the disk.
    fn stop(&mut self, luck: Luck) {
        let crash = luck.crash(&mut self.random);
        let after = |device: &Device| device.crash(crash, &mut self.random);
        let after: Vec<_> = self.devices.iter().map(after).collect();
        // They hold one another: what is held back, and the volume that waits for it.
        self.devices.iter().for_each(Device::release);
        // One that lost its superblock is refused, and the operator begins it anew.
        let kept = |(volume, device): (usize, Device)| match device.is_lost(volume as u32) {
            true => {
                assert!(luck == Luck::Bad, "nothing was damaged");
                Device::default()
            }
            false => device,
        };
        self.devices = after.into_iter().enumerate().map(kept).collect();
    }

    /// A start with a size that has no room for what is pinned is refused: the operator takes the one of `before`.
    fn start(&mut self, before: u64) {
        let started = |data_bytes| started(&self.devices, data_bytes, &self.pool);
        self.store = started(self.data_bytes).unwrap_or_else(|refused| {
            assert!(self.data_bytes < before, "{refused}");
            assert!(refused.to_string().contains("pinned"), "{refused}");
            self.data_bytes = before;
            started(before).expect("what a crash leaves can be opened")
        });
    }

    /// What was evicted in a step was neither pinned before it nor held.
    fn check_evicted(&self, pinned: &BTreeSet<String>) {
        let held: BTreeSet<_> =
            self.held.values().map(|(lease, _)| lease.key.id.to_string()).collect();
        for object in self.evicted.take() {
            assert!(!pinned.contains(&object), "{object} was pinned");
            assert!(!held.contains(&object), "{object} was held");
        }
    }

    /// A kill leaves nothing that a check would take for rot.
    fn check_sound(&self) {
        for volume in self.store.volumes().own() {
            let report = future::block_on(self.store.check(volume, (0, 0), false)).unwrap();
            assert!(report.faults.is_empty() && report.next.is_none(), "{report:?}");
        }
    }

    /// No block belongs to two, and none to nobody.
    fn check_room(&self) {
        let volumes = self.store.volumes();
        let objects = volumes.own().flat_map(|volume| volumes.objects(volume));
        let held: u64 = objects.map(|object| object.stored_bytes).sum();
        assert_eq!(volumes.used_bytes(), held, "blocks without an owner");
        assert_eq!(volumes.stored_bytes(), held);
    }

    /// No file is longer than its share.
    fn check_size(&self) {
        for device in &self.devices {
            assert!(device.data.length() <= self.data_bytes, "{}", device.data.length());
            let journals = device.journals.each_ref().map(|journal| journal.length());
            assert!(journals.iter().all(|length| *length <= JOURNAL_BYTES), "{journals:?}");
        }
    }

    /// What is complete, and where nobody is at work on it.
    fn complete(&self) -> BTreeSet<(ObjectId, Generation)> {
        let found = (0..OBJECTS).filter_map(|n| at_once(self.store.find(&key(n)))?.unwrap());
        let complete = found.filter(|lease| {
            lease.resource.is_complete()
                && lease.resource.stored_bytes() >= lease.resource.present_bytes()
        });
        complete.map(|lease| (lease.key.id, lease.generation)).collect()
    }
}

#[test]
fn whatever_happens_a_store_gives_what_was_written_or_a_miss() {
    for_each_seed(1_000, |seed| {
        let mut world = World::new(seed);
        (0..160).for_each(|_| world.step(Luck::Bad));
        world.release();
        world.read_all();
        world.crash(Luck::Bad);
    });
}

/// Nothing is damaged, so that all that was promised is so to the end.
#[test]
fn whenever_power_is_cut_a_store_has_what_it_promised() {
    for_each_seed(500, |seed| {
        let mut world = World::new(seed);
        (0..200).for_each(|_| world.step(Luck::Power));
        world.crash(Luck::Power);
        assert_eq!(world.store.volumes().stats().volumes_off, 0);
    });
}

/// A killed process loses what was not committed, and the policy takes nothing that it does not say.
#[test]
fn what_was_complete_and_did_not_leave_is_there_after_a_kill() {
    for_each_seed(300, |seed| {
        let mut world = World::new(seed);
        for _ in 0..6 {
            (0..40).for_each(|_| world.step(Luck::Good));
            world.held.clear();
            // The second one writes what the first one found due.
            (0..2).for_each(|_| world.tick(Duration::from_millis(200)));
            let (complete, pinned) = (world.complete(), world.pinned());
            world.crash(Luck::Good);
            assert_eq!(world.store.volumes().stats().volumes_off, 0, "seed {seed}");
            assert_eq!(world.complete(), complete, "seed {seed}");
            assert_eq!(world.pinned(), pinned, "seed {seed}");
        }
    });
}
