//! How a volume is opened: first it is read, then it is made as large as it is to be.
//!
//! Between the two stands whether all volumes of the cache can be that large: one that cannot keeps the
//! node from starting, and nothing of the others is to be gone by then.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
};

use super::{
    Common, Disks, Share, Volume, doubtful,
    shrink::{Plan, Smaller},
};
use crate::{
    bufpool::Charge,
    storage::{
        BLOCK_BYTES, Error, VolumeIndex,
        allocator::Allocator,
        catalog::{Catalog, Run, Slot},
        disk::Disk,
        format::Record,
        journal::{Journal, Name, Recovered, is_kept},
        notices::Notice,
        policy::{Policy, Snapshot},
        stats::Counters,
    },
};

/// A volume that was read. Nothing on its devices has changed, but that a new one has a superblock.
pub(in crate::storage) struct Opening {
    name: Name,
    disk: Disk,
    journal: Journal,
    catalog: Catalog,
    snapshot: Snapshot,
    /// Pages of its journal that are not what was written.
    lost_pages: u64,
    /// What keeps its journal from being used now.
    ill: Option<io::Error>,
    /// How many blocks it is to have, and how many were written.
    blocks: u64,
    grown: u64,
    free: Allocator,
    /// What is to be done where it is to be smaller than it is.
    plan: Option<Plan>,
    charge: Charge,
    common: Common,
}

impl Opening {
    /// Reads what the journal of a volume says.
    ///
    /// # Errors
    /// As of [`Journal::open`], and where the volume cannot be as small as it is to be.
    pub(in crate::storage) async fn read(
        name: Name,
        disks: Disks,
        share: Share,
        common: Common,
    ) -> Result<Self, Error> {
        let (pool, blocks) = (common.pool.clone(), share.data_bytes / BLOCK_BYTES);
        let grown = disks.grown_bytes / BLOCK_BYTES;
        let charge = pool.charge(0)?;
        let (files, before) = (disks.journal, blocks.max(grown));
        let opened = Journal::open(name, files, share.journal_bytes, before, pool).await;
        let (journal, recovered) = opened?;
        tell_lost(&recovered, name, &common);
        let Recovered { mut catalog, superseded, snapshot, unread_pages, lost_pages, .. } =
            recovered;
        let ill = recovered.ill.or_else(|| (unread_pages > 0).then(is_kept));
        let devices = (&disks.data, &journal, &common.pool);
        let sure = doubtful::settle(&mut catalog, superseded, devices).await?;
        let free = allocate(&mut catalog, (before, grown), sure, &journal, &common.counters);
        let plan = match before > blocks {
            // Nobody knows what is to be moved, nor from where.
            true if unread_pages > 0 => return Err(not_smaller(is_kept()).into()),
            true => {
                let by = (&snapshot, common.policy);
                let plan = Plan::of(&catalog, by, common.kin, blocks, grown);
                Some(plan.map_err(io::Error::other)?)
            }
            false => None,
        };
        Ok(Self {
            name,
            disk: disks.data,
            journal,
            catalog,
            snapshot,
            // Behind the last sound page there may have been others.
            lost_pages: lost_pages.max(unread_pages),
            ill,
            blocks,
            grown,
            free,
            plan,
            charge,
            common,
        })
    }

    /// The volume with what its journal says, as large as it is to be, and what it remembers for the
    /// eviction policy.
    ///
    /// # Errors
    /// What is pinned cannot be moved.
    pub(in crate::storage) async fn open(self) -> Result<(Rc<Volume>, Snapshot), Error> {
        let Self { name, disk, journal, mut catalog, snapshot, mut free, common, .. } = self;
        let (blocks, grown) = (self.blocks, self.grown);
        if let Some(plan) = self.plan {
            let smaller =
                Smaller { blocks, grown, disk: &disk, journal: &journal, common: &common };
            free = smaller.shrink(&mut catalog, plan).await?;
        }
        let volume = Rc::new(Volume {
            disk,
            journal,
            catalog: RefCell::new(catalog),
            number: VolumeIndex(name.volume),
            blocks: RefCell::new(free),
            leaving: RefCell::default(),
            forgot: Cell::new(false),
            growing: Cell::new(false),
            off: Cell::new(None),
            written: Cell::new(grown),
            withheld: RefCell::default(),
            bad: RefCell::default(),
            was_full: Cell::new(false),
            waits_for_room: Cell::new(false),
            unread: Cell::new(0),
            lost_pages: Cell::new(self.lost_pages),
            is_to_renew: Cell::new(false),
            due: RefCell::default(),
            writing: Cell::new(false),
            synced: Default::default(),
            counted: RefCell::new((self.charge, 0)),
            common,
        });
        if let Some(error) = self.ill {
            volume.turn_off(&error);
        }
        volume.fit(&snapshot).await;
        Ok((volume, snapshot))
    }
}

impl Volume {
    /// Drops what less memory, or a smaller journal, has no place for, and writes a journal anew that is
    /// too long. What was found out at the start is durable then, or the volume is off.
    async fn fit(self: &Rc<Self>, snapshot: &Snapshot) {
        if !self.has_place() && !self.common.as_they_are {
            self.make_place(snapshot);
        }
        self.count_memory();
        if self.journal.is_too_long() && !self.common.as_they_are {
            self.compact().await;
        }
        if self.journal.pending_bytes() > 0 && !self.common.as_they_are {
            self.settle().await;
            self.free_recorded();
        }
    }

    /// Evicts, as the policy says that this snapshot is of, until there is a place for another object.
    fn make_place(&self, snapshot: &Snapshot) {
        let catalog = self.catalog.borrow();
        let objects = catalog.objects();
        let objects = objects.map(|(object, slot)| (object, catalog.stored_bytes(slot)));
        let Common { policy, kin, counters, .. } = &self.common;
        let mut policy = Policy::restore(*policy, self.capacity_bytes(), snapshot, objects);
        drop(catalog);
        while !self.has_place() {
            let may_go = |object| !self.catalog.borrow().has_pin(kin(object));
            policy.set_full();
            let Some(object) = policy.victim(may_go) else { return };
            let lacks_memory = u64::from(self.lacks_memory());
            self.forget(object);
            counters.count(|stats| {
                stats.unplaced += 1;
                stats.unplaced_for_memory += lacks_memory;
            });
        }
    }

    async fn settle(&self) {
        let settled = match self.journal.commit().await {
            Ok(()) => self.journal.sync().await,
            Err(Error::Io(error)) => Err(error),
            // It is tried again by a tick.
            Err(_) => Ok(()),
        };
        settled.unwrap_or_else(|error| self.turn_off(&error));
    }
}

/// A crash may lose pages as well: those that were written since the last sync.
fn tell_lost(recovered: &Recovered, name: Name, common: &Common) {
    let Recovered { unread_pages, lost_pages, .. } = *recovered;
    common.counters.count(|stats| stats.read_errors += unread_pages);
    if (unread_pages > 0 || lost_pages > 0) && common.notes(Notice::Pages) {
        let volume = name.volume;
        tracing::warn!(volume, unread_pages, lost_pages, "pages of a journal are lost");
    }
}

fn not_smaller(error: io::Error) -> io::Error {
    let problem = format!("it cannot get smaller now: {error}, with the cache.size of before");
    io::Error::new(error.kind(), problem)
}

/// The blocks of a volume that its catalog does not name are free. Chunks that cannot be where it
/// says are taken out of it: where others are `sure` to be, and of two others the one behind.
fn allocate(
    catalog: &mut Catalog,
    (blocks, grown): (u64, u64),
    mut sure: Vec<(Run, Slot, u32)>,
    journal: &Journal,
    counters: &Counters,
) -> Allocator {
    let mut named: Vec<_> = catalog.runs().collect();
    let mut gone = Vec::new();
    sure.sort_unstable_by_key(|(run, ..)| run.start);
    let is_in_the_way = |(run, slot, chunk): &(Run, Slot, u32)| {
        let at = sure.partition_point(|(sure, ..)| sure.end <= run.start);
        let other =
            sure.get(at).filter(|(_, its_slot, its_chunk)| (its_slot, its_chunk) != (slot, chunk));
        other.is_some_and(|(sure, ..)| sure.start < run.end)
    };
    gone.extend(named.extract_if(.., |named| is_in_the_way(named)));
    let runs: Vec<_> = named.iter().map(|(run, ..)| run.clone()).collect();
    let (allocator, impossible) = Allocator::with_used(blocks, grown, &runs);
    gone.extend(impossible.into_iter().map(|index| named[index].clone()));
    for (_, slot, chunk) in gone {
        let (object, generation) = catalog.name(slot);
        catalog.lose(slot, chunk);
        // Said, or at the next start it would stand against who has the blocks by then.
        journal.append(&Record::Lost { object, generation, chunks: vec![chunk] });
        counters.count(|stats| stats.corrupt_chunks += 1);
    }
    allocator
}
