//! Random histories of a cache that crashes, rots and fails, against a map of what was written. What its
//! device is asked for ends when the history says so: commits, syncs and turns of journals lie between all else.
//!
//! Each object's bytes follow from its name and generation, so the map needs to hold nothing but
//! lengths. Whatever happened, a read gives those bytes or a miss, what was answered is so
//! (`promises`), and no file is longer than the size of the cache allows, which changes between starts. `SEEDS` says how many histories are tried,
//! and `SEED` repeats one; `FIRST_SEED` lets two processes share the work.

use std::collections::BTreeMap;

use super::*;
use crate::storage::{
    Said,
    device::Upkeep,
    promises::{Asked, Damage, Luck, Promises},
    random::for_each_seed,
    turns::Turns,
};

const OBJECTS: u64 = 12;

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

    /// Writes all of an object, and nobody has it open any more.
    fn put_all(&mut self, object: u64) {
        let resource = Rc::clone(&self.open[&object]);
        let name = (resource.object(), resource.generation());
        let bytes = content(name.0, name.1, 0..self.lengths[&name]);
        let _ = at_once(resource.write_at(0, &bytes));
        drop(resource);
        self.end(object);
        self.open.remove(&object);
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

    /// It stops, and is started again, now and then with another size, and now and then in vain at first.
    fn crash(&mut self) {
        let share = match self.random.below(4) {
            0 => SHARES[self.random.below(SHARES.len() as u64) as usize],
            _ => self.share,
        };
        let in_vain = u64::from(self.random.below(3) == 0);
        self.restart(share, in_vain);
    }

    /// The same with this size, after so many starts that do not come to their end.
    fn restart(&mut self, share: Share, in_vain: u64) {
        self.open.clear();
        (self.turns, self.upkeep) = Default::default();
        self.stop();
        let before = std::mem::replace(&mut self.share, share);
        (0..in_vain).for_each(|_| self.start_in_part());
        self.start(before);
        self.promises.check(&self.volumes);
        if !self.was_cut && self.promises.is_undamaged() {
            self.check_sound();
        }
        self.check_size();
        self.check_room();
        self.read_all();
    }

    /// The process ends, or the power does: what the device has then is all there is.
    fn stop(&mut self) {
        let crash = self.luck.crash(&mut self.random);
        self.was_cut |= crash != Crash::Kill;
        let after = self.device.crash(crash, &mut self.random);
        let before = std::mem::replace(&mut self.device, after);
        // They hold one another: what is held back, and the volume that waits for it.
        before.release();
        if self.device.is_lost(0) {
            assert!(self.luck == Luck::Bad, "nothing was damaged");
            // Refused. The operator begins anew.
            self.device = Device::default();
        }
    }

    /// As much of a start as its devices do.
    fn start_in_part(&mut self) {
        let devices = std::slice::from_ref(&self.device);
        let Share { data_bytes, journal_bytes } = self.share;
        let opening = Device::volumes_of(devices, data_bytes, journal_bytes, self.pool.clone());
        Device::do_in_part(devices, opening, &mut self.random);
        self.stop();
    }

    /// A start with a size that has no room for what is pinned is refused: the operator takes the one of `before`.
    fn start(&mut self, before: Share) {
        let opened = open(&self.device, self.share, &self.pool);
        self.volumes = opened.unwrap_or_else(|refused| {
            assert!(self.share.data_bytes < before.data_bytes, "{refused}");
            assert!(refused.to_string().contains("pinned"), "{refused}");
            self.share = before;
            start(&self.device, self.share, &self.pool)
        });
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

/// What is pinned is moved then, to where others make room.
#[test]
fn wherever_a_smaller_start_is_cut_off_what_was_promised_is_so() {
    for_each_seed(300, |seed| {
        let mut world = World::new(seed, Luck::Power);
        for object in 0..OBJECTS {
            world.begin(object);
            world.put_all(object);
            if world.random.below(4) == 0 {
                world.pin(object);
            }
        }
        (0..4).for_each(|_| world.tick());
        let share = SHARES[[1, 3][world.random.below(2) as usize]];
        let in_vain = world.random.below(3);
        world.restart(share, in_vain);
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
