//! One volume: a device, what lies on it, and how far it has grown.
//!
//! The file grows by zeros written ahead of need, because overwriting takes 0.12 ms per 256 KiB
//! where a direct write into `fallocate`d space takes 4.0 ms (and appending 0.18). As much is kept
//! ahead as is in use, so that a cache that is hardly used stays small, up to one step of
//! min(64 MiB, a sixteenth of the volume). A chunk that finds no old block appends.
//!
//! A device that refuses a write is left alone for a while: the volume is *off*, takes no chunks,
//! and goes on giving what it has. Every ten seconds one write asks whether it is well again. The log
//! says when it goes off and when it is back; of several in ten seconds it names one. One write that fails
//! costs its place, and several in a row turn the volume off; so do reads. A device that has no room for more is *full*: the volume
//! does not grow, and goes on in the space its files have already, as if that were its capacity. Its
//! journal has grown ahead with it, so that this holds for the records too.
//!
//! What the catalog takes in memory is counted in the shard's budget. It may take half of that; then
//! a new object waits until an old one was evicted.

mod bad;
mod doubtful;
mod due;
mod full;
mod home;
mod leaving;
pub(super) mod look;
mod opening;
mod shrink;
mod telling;
mod upkeep;

use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    ops::Range,
    rc::Rc,
};

use self::{bad::Bad, due::Due, leaving::Leaving};
pub(super) use self::{
    home::{Home, Reserved},
    opening::Opening,
};
use super::{
    BLOCK_BYTES, Error, Generation, Kin, ObjectId, Trouble, VolumeIndex,
    allocator::Allocator,
    catalog::{Catalog, PIN_BYTES, Slot},
    disk::{Data, Disk},
    error::is_no_room,
    format::{Meta, Record},
    journal::{Files, Journal},
    notices::Notices,
    policy::Kind,
    stats::Counters,
    tier::Tier,
    waiters::Waiters,
};
use crate::bufpool::{BufPool, Charge};

/// The most zeros kept ahead.
const STEP_BYTES: u64 = 64 << 20;
/// Zeros are written in pieces of this size, one at a time: a chunk waits behind one at most.
const ZEROS_BYTES: u64 = 256 << 10;
/// The least kept ahead once a volume is in use.
const AHEAD_BYTES: u64 = 1 << 20;

/// Pins take at most one in so many bytes of what a journal holds.
const PINS_SHARE: u64 = 4;

/// Memory is counted in such steps, so that not every entry asks the pool.
const COUNTED_BYTES: usize = 64 << 10;

/// The blocks of one device. One shard owns it.
pub(super) struct Volume {
    disk: Disk,
    journal: Journal,
    catalog: RefCell<Catalog>,
    /// Which one of the cache.
    number: VolumeIndex,
    blocks: RefCell<Allocator>,
    /// Blocks that nothing names any more, until the record of that is written.
    leaving: RefCell<Leaving>,
    /// The journal has no snapshot of the eviction policy since it was written anew.
    forgot: Cell<bool>,
    /// Zeros are being written now.
    growing: Cell<bool>,
    /// Why the device is left alone, where it is.
    off: Cell<Option<Trouble>>,
    /// Behind the last block that was ever written.
    written: Cell<u64>,
    /// Blocks that the device had no room for; there are some while it has none for the data.
    withheld: RefCell<Vec<Range<u64>>>,
    /// Blocks that took nothing, though others may.
    bad: RefCell<Bad>,
    /// It had no room for data or journal when that was said last.
    was_full: Cell<bool>,
    /// Records wait for room in the journal.
    waits_for_room: Cell<bool>,
    /// Reads that failed, one after another.
    unread: Cell<u32>,
    /// Pages of its journal that the start found lost, until an operator has it written anew.
    lost_pages: Cell<u64>,
    is_to_renew: Cell<bool>,
    due: RefCell<Due>,
    /// A journal is written now; one at a time.
    writing: Cell<bool>,
    synced: Waiters<()>,
    /// What of the budget the catalog takes, in whole [`COUNTED_BYTES`].
    counted: RefCell<(Charge, usize)>,
    common: Common,
}

/// The devices of one volume.
pub(super) struct Disks {
    pub(super) data: Disk,
    /// How long the data is already, in bytes.
    pub(super) grown_bytes: u64,
    pub(super) journal: Files,
}

/// What of the cache's size a volume has for its chunks, and for each of its two journals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) data_bytes: u64,
    pub(super) journal_bytes: u64,
}

/// What the volumes of a shard have in common.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) pool: BufPool,
    pub(super) tier: Rc<Tier>,
    pub(super) counters: Rc<Counters>,
    /// Told when there is something to do for a tick.
    pub(super) stirred: Rc<Stirred>,
    /// Told when there is something to do for a commit.
    pub(super) said: Rc<Stirred>,
    /// Asked to make room in a volume that is full.
    pub(super) evictor: Rc<Evictor>,
    /// The memory that the catalog of each may take, in bytes.
    pub(super) catalog_bytes: u64,
    /// They are looked at, and nothing is dropped because of its size.
    pub(super) as_they_are: bool,
    /// Which policy says what leaves them.
    pub(super) policy: Kind,
    /// What a pin on a name holds for.
    pub(super) kin: Kin,
    /// What the log was told of them lately.
    pub(super) notices: Rc<RefCell<Notices>>,
}

/// Why a volume took no bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is full, or its device fails: do without.
    Off,
    /// No memory for the buffer now, or the journal is behind: try again.
    Later,
}

/// Who decides what leaves a full volume: evicts one object of the volume, and says whether it could.
pub(super) type Evict = Box<dyn Fn(VolumeIndex) -> bool>;

/// The place for who decides that, which storage does not know.
#[derive(Default)]
pub(super) struct Evictor(pub(super) OnceCell<Evict>);

impl Evictor {
    fn evict_one(&self, volume: VolumeIndex) -> bool {
        self.0.get().is_some_and(|evict| evict(volume))
    }
}

/// Says that some volume has something to do.
#[derive(Default)]
pub(super) struct Stirred {
    is: Cell<bool>,
    waiting: Waiters<()>,
}

impl Stirred {
    pub(super) fn stir(&self) {
        if !self.is.replace(true) {
            self.waiting.wake(|()| true);
        }
    }

    /// Resolves once something was stirred since it resolved last.
    pub(super) async fn wait(&self) {
        self.waiting.until(|| (), || self.is.replace(false).then_some(())).await;
    }
}

impl Volume {
    /// Which one of the cache.
    pub(super) fn number(&self) -> VolumeIndex {
        self.number
    }

    // ---- objects ----

    /// Begins a generation of an object, in place of an older one; `None` where the volume takes
    /// none now. The older one goes all the same.
    pub(super) fn begin(self: &Rc<Self>, object: ObjectId, generation: Generation) -> Option<Home> {
        self.forget(object);
        if !self.has_place() || !self.takes_records() {
            return None;
        }
        let meta = Meta::default();
        let slot = self.catalog.borrow_mut().begin(object, generation, meta);
        self.log(&Record::Object { object, generation, meta });
        Some(self.open_slot(slot))
    }

    /// Whether nothing that counts lies behind its share of any file.
    pub(super) fn fits(&self) -> bool {
        let is_settled = self.journal.pending_bytes() == 0 && !self.is_off();
        is_settled && !self.journal.is_broken() && !self.journal.is_too_long()
    }

    /// Whether there is a place for another object, in memory and in the journal.
    pub(super) fn has_place(&self) -> bool {
        !self.lacks_memory() && self.journal.holds(self.catalog.borrow().snapshot_bytes())
    }

    /// Whether another pin has a place in the journal. Pins stay for ever, and what they take of it no
    /// object has.
    pub(super) fn has_place_for_pin(&self) -> bool {
        self.journal.may_hold(PINS_SHARE * (self.catalog.borrow().pin_bytes() + PIN_BYTES))
    }

    /// Whether the catalog has its share of memory.
    pub(super) fn lacks_memory(&self) -> bool {
        self.catalog.borrow().held_bytes() >= self.common.catalog_bytes
    }

    /// The present generation of an object, where there is one and nobody has it open.
    pub(super) fn find(self: &Rc<Self>, object: ObjectId) -> Option<(Generation, Home)> {
        let catalog = self.catalog.borrow();
        let slot = catalog.find(object).filter(|slot| !catalog.is_in_use(*slot))?;
        let (_, generation) = catalog.name(slot);
        drop(catalog);
        Some((generation, self.open_slot(slot)))
    }

    /// Drops the present generation of an object; what it held comes free when its user lets go.
    pub(super) fn forget(&self, object: ObjectId) {
        let slot = self.catalog.borrow().find(object);
        slot.into_iter().for_each(|slot| self.drop_object(slot));
    }

    fn drop_object(&self, slot: Slot) {
        if self.catalog.borrow().is_dropped(slot) {
            return;
        }
        let (object, generation) = self.catalog.borrow().name(slot);
        if !self.catalog.borrow().is_in_use(slot) {
            self.common.tier.forget(object, generation);
        }
        self.catalog.borrow_mut().drop_object(slot, &mut self.leaving());
        self.log(&Record::Drop { object, generation });
    }

    fn open_slot(self: &Rc<Self>, slot: Slot) -> Home {
        self.catalog.borrow_mut().open(slot);
        Home { volume: Rc::clone(self), slot }
    }

    /// Pins an object, or lets go of it: it is not to be evicted.
    pub(super) fn pin(&self, object: ObjectId, pinned: bool) {
        let record = Record::Pin { object, pinned };
        self.catalog.borrow_mut().apply(&record, &mut self.leaving());
        self.log(&record);
    }

    /// What lies here, for those who look and decide.
    pub(super) fn catalog(&self) -> std::cell::Ref<'_, Catalog> {
        self.catalog.borrow()
    }

    /// Has the pieces of a snapshot of the eviction policy written; they come back at the next start.
    pub(super) fn remember(&self, pieces: Vec<Vec<u8>>) {
        self.forgot.set(false);
        pieces.into_iter().for_each(|bytes| self.log(&Record::Snapshot { bytes }));
    }

    /// Whether more is to be said of it now. What a volume that is off would gather has no bound, and is
    /// old when it is back.
    pub(super) fn takes_records(&self) -> bool {
        !self.is_off() && self.journal.takes_more()
    }

    /// Whether its journal was written anew, without such pieces, and takes them now.
    pub(super) fn forgot(&self) -> bool {
        self.forgot.get() && self.takes_records()
    }

    fn log(&self, record: &Record) {
        self.journal.append(record);
        self.count_memory();
        self.common.stirred.stir();
        self.common.said.stir();
    }

    /// Counts what the catalog takes now.
    fn count_memory(&self) {
        let bytes = self.catalog.borrow().memory_bytes() as usize;
        let bytes = bytes - bytes % COUNTED_BYTES;
        let (charge, counted) = &mut *self.counted.borrow_mut();
        if bytes == *counted {
            return;
        }
        charge.set(bytes);
        let before = std::mem::replace(counted, bytes);
        self.common.counters.count(|stats| {
            stats.catalog_bytes = stats.catalog_bytes - before as u64 + bytes as u64;
        });
    }

    /// What gives blocks back that no record names.
    fn freeing(&self) -> impl FnMut(Range<u64>) + '_ {
        |run| self.blocks.borrow_mut().release(run)
    }

    // ---- bytes ----

    fn reserve(self: &Rc<Self>, run: Range<u64>) -> Reserved {
        let is_new = run.end > self.written.get();
        Reserved { volume: Rc::clone(self), run, is_new }
    }

    /// Counts a write that has ended.
    fn note(&self, outcome: &io::Result<()>, length: u64) {
        self.common.counters.count(|stats| match outcome {
            Ok(()) => {
                (stats.writes, stats.written_bytes) =
                    (stats.writes + 1, stats.written_bytes + length)
            }
            Err(_) => stats.write_errors += 1,
        });
    }

    /// Writes zeros ahead until enough are there. Goes on by itself, one piece after another.
    fn grow(self: &Rc<Self>) {
        if self.growing.get() || self.blocks.borrow().ahead_blocks() >= self.wanted_ahead() {
            return;
        }
        let Some(run) = self.advance() else { return };
        let reserved = self.reserve(run);
        let (position, length) = (reserved.position(), reserved.bytes());
        let (me, counters) = (Rc::clone(self), Rc::clone(&self.common.counters));
        self.growing.set(true);
        let written = move |outcome: io::Result<()>| {
            me.growing.set(false);
            match outcome {
                Ok(()) => {
                    me.note_written(&reserved);
                    drop(reserved);
                    counters.count(|stats| stats.zeroed_bytes += length as u64);
                    me.grow();
                }
                // The next chunk tries again, and appends until then; or the volume is full.
                Err(error) => {
                    counters.count(|stats| stats.write_errors += 1);
                    if is_no_room(&error) {
                        me.refused(reserved, &error);
                    }
                }
            }
        };
        if self.disk.write(position, Data::Zeros(length), &self.common.pool, written).is_err() {
            self.growing.set(false);
        }
    }

    /// The next piece beyond all that was ever written, shorter at the end of the volume.
    fn advance(&self) -> Option<Range<u64>> {
        let mut blocks = self.blocks.borrow_mut();
        let rest = blocks.free_blocks() - blocks.ahead_blocks();
        let piece = rest.min(ZEROS_BYTES / BLOCK_BYTES);
        if piece == 0 { None } else { blocks.advance(piece) }
    }

    fn wanted_ahead(&self) -> u64 {
        let blocks = self.blocks.borrow();
        let step = (STEP_BYTES / BLOCK_BYTES).min(blocks.capacity() / 16);
        blocks.used_blocks().max(AHEAD_BYTES / BLOCK_BYTES).min(step)
    }

    pub(super) fn capacity_bytes(&self) -> u64 {
        self.blocks.borrow().capacity() * BLOCK_BYTES
    }

    /// With what is leaving, but for what chunks wait for.
    pub(super) fn free_bytes(&self) -> u64 {
        let leaving_blocks = self.leaving.borrow().unwanted_blocks();
        (self.blocks.borrow().free_blocks() + leaving_blocks) * BLOCK_BYTES
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let leaving_blocks = self.leaving.borrow().all_blocks();
        let bad_blocks = self.bad.borrow().blocks();
        (self.blocks.borrow().used_blocks() - leaving_blocks - bad_blocks) * BLOCK_BYTES
    }
}
