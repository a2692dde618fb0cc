//! The simulated devices of one volume: for tests of this layer and of those above it.

use std::{
    io,
    pin::pin,
    time::{Duration, Instant},
};

use futures_lite::future;

use super::{
    Crash, Disk, Error, Sim, Volumes,
    format::{SUPERBLOCK_BYTES, newest},
    journal::Files,
    promises::Damage,
    random::Random,
    turns::{Turns, at_once},
    volume::{Disks, Share},
};
use crate::bufpool::{self, BufPool};

/// Of what is done in part so many operations are done at most; a start asks for fewer, mostly.
const OPERATIONS: u64 = 64;

/// Data, superblock and journals. A clone is another handle to the same ones.
#[derive(Clone, Default)]
pub(crate) struct Device {
    pub(crate) data: Sim,
    pub(crate) superblock: Sim,
    pub(crate) journals: [Sim; 2],
}

impl Device {
    pub(crate) fn all(&self) -> [&Sim; 4] {
        [&self.data, &self.superblock, &self.journals[0], &self.journals[1]]
    }

    /// Starts a cache of this one volume.
    pub(crate) async fn volumes(
        &self,
        data_bytes: u64,
        journal_bytes: u64,
        pool: BufPool,
    ) -> Result<Volumes, Error> {
        Self::volumes_of(std::slice::from_ref(self), data_bytes, journal_bytes, pool).await
    }

    /// Starts a cache of as many volumes, each with what it holds. As [`Unopened::open`](super::Unopened::open) does with
    /// files, each is cut to its share in the end.
    pub(crate) async fn volumes_of(
        devices: &[Self],
        data_bytes: u64,
        journal_bytes: u64,
        pool: BufPool,
    ) -> Result<Volumes, Error> {
        let share = Share { data_bytes, journal_bytes };
        let disks = devices.iter().map(Self::disks).collect();
        let volumes = Volumes::over(disks, share, pool).await?;
        if volumes.all_fit() {
            for device in devices {
                device.data.cut(data_bytes);
                device.journals.iter().for_each(|journal| journal.cut(journal_bytes));
            }
        }
        Ok(volumes)
    }

    pub(super) fn disks(&self) -> Disks {
        let disk = |sim: &Sim| Disk::Sim(sim.clone());
        let [first, second] = &self.journals;
        let journal = Files {
            superblock: disk(&self.superblock),
            journals: [disk(first), disk(second)],
            lengths: [first.length(), second.length()],
        };
        Disks { data: disk(&self.data), grown_bytes: self.data.length(), journal }
    }

    /// From now on none of them has room but where it was written before, or all have some again.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.all().into_iter().for_each(|sim| sim.set_full(is_full));
    }

    /// One of the next operations of some device fails.
    pub(crate) fn fail(&self, random: &mut Random) {
        let kinds =
            [io::ErrorKind::StorageFull, io::ErrorKind::Other, io::ErrorKind::ReadOnlyFilesystem];
        let sim = self.all()[random.below(4) as usize];
        let operation = sim.operations() + random.below(6);
        sim.fail(operation, kinds[random.below(3) as usize]);
    }

    /// A bit turns over; of what is said.
    pub(crate) fn rot(&self, random: &mut Random) -> Damage {
        let (sim, damage) = self.some(random);
        sim.flip_some(random);
        damage
    }

    /// A write landed in another place of its device as well.
    pub(crate) fn misdirect(&self, random: &mut Random) -> Damage {
        let (sim, damage) = self.some(random);
        let pages = sim.length() / 4096;
        if pages > 1 {
            let [from, to] = [0, 0].map(|_| random.below(pages) * 4096);
            sim.copy_page(from, to);
        }
        damage
    }

    /// A device, mostly that of the data, and what it is to damage it.
    fn some(&self, random: &mut Random) -> (&Sim, Damage) {
        let number = random.below(8).saturating_sub(4) as usize;
        (self.all()[number], if number == 0 { Damage::Data } else { Damage::Journal })
    }

    /// Whether neither copy of the superblock of this, the volume of that number, is sound any more.
    pub(crate) fn is_lost(&self, volume: u32) -> bool {
        let pool = BufPool::new(bufpool::Options { budget_bytes: 1 << 20 });
        let read = |at| self.superblock.read(at, SUPERBLOCK_BYTES, &pool);
        let copies = [0, SUPERBLOCK_BYTES as u64].map(|at| future::block_on(read(at)).ok());
        let [first, second] = &copies;
        newest([first.as_deref(), second.as_deref()], 1, volume) == Ok(None)
    }

    /// Lets all that is held back go on, and holds nothing any more.
    pub(crate) fn release(&self) {
        self.all().into_iter().for_each(Sim::release_all);
    }

    /// Does something until so many of the operations that it asks for are done, in any order, and no more.
    /// What is left is held back; a [`crash`](Self::crash) ends it.
    pub(crate) fn do_in_part(devices: &[Self], work: impl Future, random: &mut Random) {
        let all = || devices.iter().flat_map(Self::all);
        all().for_each(Sim::hold);
        let mut work = pin!(work);
        for _ in 0..random.below(OPERATIONS) {
            if at_once(work.as_mut()).is_some() {
                return;
            }
            let held: Vec<_> = all().filter(|sim| sim.held() > 0).collect();
            // None where it gives others their turn.
            if !held.is_empty() {
                held[random.below(held.len() as u64) as usize].release_one();
            }
        }
    }

    /// What a crash leaves.
    pub(crate) fn crash(&self, crash: Crash, random: &mut Random) -> Self {
        let mut after = |sim: &Sim| sim.crash(crash, |bound| random.below(bound));
        let journals = [after(&self.journals[0]), after(&self.journals[1])];
        Self { data: after(&self.data), superblock: after(&self.superblock), journals }
    }
}

/// What a shard does for its volumes in time, in two tasks as there.
#[derive(Default)]
pub(crate) struct Upkeep([Option<usize>; 2]);

impl Upkeep {
    /// Begins what is not under way.
    pub(crate) fn begin(
        &mut self,
        turns: &mut Turns,
        volumes: &Volumes,
        now: Instant,
        sync_interval: Duration,
    ) {
        for (number, task) in self.0.iter_mut().enumerate() {
            if task.is_some_and(|task| !turns.is_done(task)) {
                continue;
            }
            let volumes = volumes.clone();
            *task = Some(turns.spawn(async move {
                match number {
                    0 => volumes.commit(now).await,
                    _ => volumes.tick(now, sync_interval).await,
                };
            }));
        }
    }

    pub(crate) fn is_done(&self, turns: &Turns) -> bool {
        self.0.iter().flatten().all(|task| turns.is_done(*task))
    }
}
