//! The simulated devices of one volume: for tests of this layer and of those above it.

use super::{
    Crash, Disk, Error, Sim, Volumes,
    journal::Files,
    random::Random,
    volume::{Disks, Share},
};
use crate::bufpool::BufPool;

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

    /// Starts a cache of this one volume, with what it holds. As [`Volumes::open`] does with files,
    /// it is cut to its share in the end.
    pub(crate) async fn volumes(
        &self,
        data_bytes: u64,
        journal_bytes: u64,
        pool: BufPool,
    ) -> Result<Volumes, Error> {
        let share = Share { data_bytes, journal_bytes };
        let volumes = Volumes::over(vec![self.disks()], share, pool).await?;
        if volumes.all_fit() {
            self.data.cut(data_bytes);
            self.journals.iter().for_each(|journal| journal.cut(journal_bytes));
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

    pub(crate) fn crash(&self, crash: Crash, random: &mut Random) -> Self {
        let mut after = |sim: &Sim| sim.crash(crash, |bound| random.below(bound));
        let journals = [after(&self.journals[0]), after(&self.journals[1])];
        Self { data: after(&self.data), superblock: after(&self.superblock), journals }
    }
}
