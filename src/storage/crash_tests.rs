//! Random histories of a cache that crashes, rots and fails, against a map of what was written.
//!
//! Each object's bytes follow from its name and generation, so the map needs to hold nothing but
//! lengths. Whatever happened, a read gives those bytes or a miss. `SEEDS` says how many
//! histories are tried, and `SEED` repeats one.

use std::{
    collections::BTreeMap,
    env,
    future::Future,
    io,
    ops::Range,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future;

use super::{
    CHUNK_BYTES, Crash, Disk, Generation, ObjectId, Said, Sim, StreamingResource, Volumes,
    journal::Files,
    random::Random,
    volumes::{Disks, Share},
};
use crate::bufpool::{self, BufPool};

const OBJECTS: u64 = 12;
const SHARE: Share = Share { data_bytes: 3 << 20, journal_bytes: 256 << 10 };
const SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// The four devices of a volume.
#[derive(Clone, Default)]
struct Device {
    data: Sim,
    superblock: Sim,
    journals: [Sim; 2],
}

impl Device {
    fn all(&self) -> [&Sim; 4] {
        [&self.data, &self.superblock, &self.journals[0], &self.journals[1]]
    }

    fn disks(&self) -> Disks {
        let disk = |sim: &Sim| Disk::Sim(sim.clone());
        let [first, second] = &self.journals;
        let journal = Files {
            superblock: disk(&self.superblock),
            journals: [disk(first), disk(second)],
            lengths: [first.length(), second.length()],
        };
        Disks { data: disk(&self.data), grown_bytes: self.data.length(), journal }
    }

    fn crash(&self, crash: Crash, random: &mut Random) -> Self {
        let mut after = |sim: &Sim| sim.crash(crash, |bound| random.below(bound));
        let journals = [after(&self.journals[0]), after(&self.journals[1])];
        Self { data: after(&self.data), superblock: after(&self.superblock), journals }
    }
}

/// A cache, what was put into it, and who has something open.
struct World {
    random: Random,
    device: Device,
    volumes: Volumes,
    pool: BufPool,
    now: Instant,
    lengths: BTreeMap<(ObjectId, Generation), u64>,
    open: BTreeMap<u64, Rc<StreamingResource>>,
}

fn content(object: ObjectId, generation: Generation, range: Range<u64>) -> Vec<u8> {
    let seed = generation.0 ^ (object.0 as u64) << 32;
    range.map(|at| (at ^ at >> 8 ^ seed.wrapping_mul(at / 4096 + 1) >> 24) as u8).collect()
}

fn head_of(object: ObjectId, generation: Generation) -> Vec<u8> {
    format!("head of {object} {generation}\n").into_bytes()
}

/// What a future gives that need not wait.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    future::block_on(future::poll_once(future))
}

impl World {
    fn new(seed: u64) -> Self {
        let (device, pool) = (Device::default(), pool());
        let volumes = start(&device, &pool);
        let (now, lengths, open) = (Instant::now(), BTreeMap::new(), BTreeMap::new());
        Self { random: Random(seed), device, volumes, pool, now, lengths, open }
    }

    fn step(&mut self) {
        let object = self.random.below(OBJECTS);
        match self.random.below(40) {
            0..4 => self.begin(object),
            4..8 => self.find(object),
            8..20 => self.write(object),
            20..23 => self.end(object),
            23..26 => drop(self.open.remove(&object)),
            26 => self.volumes.forget(ObjectId(object.into())),
            27 => self.volumes.pin(ObjectId(object.into()), self.random.below(2) == 0),
            28..32 => self.read_all(),
            32..36 => self.tick(),
            36 => self.fail(),
            37 => drop(self.device.data.flip_some(&mut self.random)),
            38 => self.misdirect(),
            _ => self.crash(),
        }
    }

    fn begin(&mut self, object: u64) {
        self.open.remove(&object);
        let (id, generation) = (ObjectId(object.into()), Generation(self.random.next()));
        let resource = self.volumes.create(id, generation);
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
            match at_once(resource.read_at(at, usize::MAX)).expect("no operation is held") {
                Ok(Some(bytes)) => {
                    let expected = content(name.0, name.1, at..at + bytes.len() as u64);
                    assert!(*bytes == expected, "{name:?} at {at}: {} wrong bytes", bytes.len());
                    at += bytes.len() as u64;
                }
                Ok(None) => at = (at / CHUNK_BYTES * CHUNK_BYTES + CHUNK_BYTES).min(length),
                Err(error) => panic!("{name:?} at {at}: {error}"),
            }
        }
        if let Some(head) = at_once(resource.head()).expect("no operation is held").unwrap() {
            assert_eq!(*head, head_of(name.0, name.1), "{name:?}");
        }
    }

    fn tick(&mut self) {
        self.now += Duration::from_millis(self.random.below(3_000));
        at_once(self.volumes.tick(self.now, SYNC_INTERVAL)).expect("no operation is held");
    }

    /// One of the next operations of some device fails.
    fn fail(&mut self) {
        let kinds =
            [io::ErrorKind::StorageFull, io::ErrorKind::Other, io::ErrorKind::ReadOnlyFilesystem];
        let sim = self.device.all()[self.random.below(4) as usize];
        let operation = sim.operations() + self.random.below(6);
        sim.fail(operation, kinds[self.random.below(3) as usize]);
    }

    /// A write landed in another place as well.
    fn misdirect(&mut self) {
        let pages = self.device.data.length() / 4096;
        if pages > 8 {
            let [from, to] = [0, 0].map(|_| self.random.below(pages) * 4096);
            self.device.data.copy_page(from, to);
        }
    }

    fn crash(&mut self) {
        let crashes = [Crash::Kill, Crash::Lost, Crash::Reordered, Crash::Torn];
        let crash = crashes[self.random.below(4) as usize];
        self.open.clear();
        self.device = self.device.crash(crash, &mut self.random);
        self.volumes = start(&self.device, &self.pool);
        self.check_room();
        self.read_all();
    }

    /// No block belongs to two, and none to nobody.
    fn check_room(&self) {
        let volume = self.volumes.own().next().unwrap();
        let held: u64 = self.volumes.objects(volume).iter().map(|object| object.stored_bytes).sum();
        assert_eq!(self.volumes.used_bytes(), held, "blocks without an owner");
        assert!(held <= SHARE.data_bytes && self.device.data.length() <= SHARE.data_bytes);
        let journals = self.device.journals.iter().map(Sim::length);
        assert!(journals.into_iter().all(|length| length <= SHARE.journal_bytes));
    }
}

fn pool() -> BufPool {
    BufPool::new(bufpool::Options { budget_bytes: 8 << 20 })
}

fn start(device: &Device, pool: &BufPool) -> Volumes {
    let opening = Volumes::over(vec![device.disks()], SHARE, pool.clone());
    future::block_on(opening).expect("what a crash leaves can be opened")
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_happens_a_read_gives_what_was_written_or_a_miss() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("SEEDS").unwrap_or(2_000),
    };
    for seed in seeds {
        let told = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..120).for_each(|_| world.step());
            world.read_all();
            world.crash();
        });
        assert!(told.is_ok(), "SEED={seed} repeats it");
    }
}

/// A process that is killed loses what was not committed, and nothing else.
#[test]
fn what_was_committed_is_there_after_a_kill() {
    for seed in 1..=100 {
        let mut world = World::new(seed);
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
        world.volumes = start(&world.device, &world.pool);
        (0..6).for_each(|object| world.find(object));
        assert_eq!(present(&world), before, "seed {seed}");
        world.read_all();
        world.open.clear();
        world.check_room();
    }
}
