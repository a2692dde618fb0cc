//! One volume: a device, what lies on it, and how far it has grown.
//!
//! The file grows by zeros written ahead of need, because overwriting takes 0.12 ms per 256 KiB
//! where a direct write into `fallocate`d space takes 4.0 ms (and appending 0.18). As much is kept
//! ahead as is in use, so that a cache that is hardly used stays small, up to one step of
//! min(64 MiB, a sixteenth of the volume). A chunk that finds no old block appends.
//!
//! A device that refuses a write is left alone for a while: the volume is *off*, takes no chunks,
//! and goes on giving what it has. Every ten seconds one write asks whether it is well again.

mod due;
mod home;
pub(super) mod look;

use std::{
    cell::{Cell, RefCell},
    io,
    ops::Range,
    rc::Rc,
    time::{Duration, Instant},
};

use self::due::Due;
pub(super) use self::home::{Home, Reserved};
use super::{
    BLOCK_BYTES, Error, Generation, ObjectId,
    allocator::Allocator,
    catalog::{Catalog, Slot},
    disk::{Data, Disk},
    format::{Meta, Record},
    journal::Journal,
    stats::Counters,
    tier::Tier,
    waiters::Waiters,
};
use crate::bufpool::{Block, BufPool, Exhausted};

/// The most zeros kept ahead.
const STEP_BYTES: u64 = 64 << 20;
/// Zeros are written in pieces of this size, one at a time: a chunk waits behind one at most.
const ZEROS_BYTES: u64 = 256 << 10;
/// The least kept ahead once a volume is in use.
const AHEAD_BYTES: u64 = 1 << 20;

/// The blocks of one device. One shard owns it.
pub(super) struct Volume {
    disk: Disk,
    journal: Journal,
    catalog: RefCell<Catalog>,
    blocks: RefCell<Allocator>,
    /// Blocks whose bytes were written anew elsewhere. Until the record of that is written, they are
    /// what a crash would leave.
    replaced: RefCell<Vec<Range<u64>>>,
    /// Zeros are being written now.
    growing: Cell<bool>,
    /// The device refused a write.
    off: Cell<bool>,
    due: RefCell<Due>,
    /// Told when there is something to do for a tick.
    stirred: Rc<Stirred>,
    synced: Waiters<()>,
    pool: BufPool,
    /// What of it is in memory, and of the shard's other volumes.
    tier: Rc<Tier>,
    counters: Rc<Counters>,
}

/// What a volume is made of.
pub(super) struct Parts {
    pub(super) disk: Disk,
    pub(super) journal: Journal,
    /// What the journal said.
    pub(super) catalog: Catalog,
    pub(super) capacity_bytes: u64,
    /// How long the data file is.
    pub(super) grown_bytes: u64,
    pub(super) pool: BufPool,
    pub(super) tier: Rc<Tier>,
    pub(super) counters: Rc<Counters>,
    pub(super) stirred: Rc<Stirred>,
}

/// Why a volume took no bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is full, or its device fails: do without.
    Off,
    /// No memory for the buffer now, or the journal is behind: try again.
    Later,
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
    /// A volume with what its journal said. Chunks that cannot be where it says are dropped.
    pub(super) fn new(parts: Parts) -> Rc<Self> {
        let mut catalog = parts.catalog;
        let named: Vec<_> = catalog.runs().collect();
        let runs: Vec<_> = named.iter().map(|(run, ..)| run.clone()).collect();
        let (blocks, impossible) = Allocator::with_used(
            parts.capacity_bytes / BLOCK_BYTES,
            parts.grown_bytes / BLOCK_BYTES,
            &runs,
        );
        for index in impossible {
            let (_, slot, chunk) = named[index];
            let (object, generation) = catalog.name(slot);
            catalog.lose(slot, chunk);
            // Said, or at the next start it would stand against who has the blocks by then.
            parts.journal.append(&Record::Lost { object, generation, chunks: vec![chunk] });
            parts.counters.count(|stats| stats.corrupt_chunks += 1);
        }
        Rc::new(Self {
            disk: parts.disk,
            journal: parts.journal,
            catalog: RefCell::new(catalog),
            blocks: RefCell::new(blocks),
            replaced: RefCell::default(),
            growing: Cell::new(false),
            off: Cell::new(false),
            due: RefCell::default(),
            stirred: parts.stirred,
            synced: Waiters::default(),
            pool: parts.pool,
            tier: parts.tier,
            counters: parts.counters,
        })
    }

    // ---- objects ----

    /// Begins a generation of an object, in place of an older one; `None` where the volume takes
    /// none now.
    pub(super) fn begin(self: &Rc<Self>, object: ObjectId, generation: Generation) -> Option<Home> {
        self.forget(object);
        let has_room = self.journal.holds(self.catalog.borrow().snapshot_bytes());
        if self.off.get() || !has_room || !self.journal.takes_more() {
            return None;
        }
        let meta = Meta::default();
        let slot = self.catalog.borrow_mut().begin(object, generation, meta, &mut self.freeing());
        self.log(&Record::Object { object, generation, meta });
        Some(self.open(slot))
    }

    /// The present generation of an object, where there is one and nobody has it open.
    pub(super) fn find(self: &Rc<Self>, object: ObjectId) -> Option<(Generation, Home)> {
        let catalog = self.catalog.borrow();
        let slot = catalog.find(object).filter(|slot| !catalog.is_in_use(*slot))?;
        let (_, generation) = catalog.name(slot);
        drop(catalog);
        Some((generation, self.open(slot)))
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
            self.tier.forget(object, generation);
        }
        self.catalog.borrow_mut().drop_object(slot, &mut self.freeing());
        self.log(&Record::Drop { object, generation });
    }

    fn open(self: &Rc<Self>, slot: Slot) -> Home {
        self.catalog.borrow_mut().open(slot);
        Home { volume: Rc::clone(self), slot }
    }

    /// Pins an object, or lets go of it: it is not to be evicted.
    pub(super) fn pin(&self, object: ObjectId, pinned: bool) {
        let record = Record::Pin { object, pinned };
        self.catalog.borrow_mut().apply(&record, &mut self.freeing());
        self.log(&record);
    }

    /// What lies here, for those who look and decide.
    pub(super) fn catalog(&self) -> std::cell::Ref<'_, Catalog> {
        self.catalog.borrow()
    }

    /// Has the pieces of a snapshot of the eviction policy written; they come back at the next start.
    pub(super) fn remember(&self, pieces: Vec<Vec<u8>>) {
        pieces.into_iter().for_each(|bytes| self.log(&Record::Snapshot { bytes }));
    }

    fn log(&self, record: &Record) {
        self.journal.append(record);
        self.stirred.stir();
    }

    /// What gives blocks back that nothing names any more.
    fn freeing(&self) -> impl FnMut(Range<u64>) + '_ {
        |run| self.blocks.borrow_mut().release(run)
    }

    // ---- bytes ----

    /// Begins to write `bytes`, whole blocks; `done` gets the blocks they lie in, or why not.
    ///
    /// The write ends even where nobody cares any more, and only then its blocks can be free again.
    ///
    /// # Errors
    /// [`Refused`]: nothing has begun, and `done` is not called.
    fn store(
        self: &Rc<Self>,
        bytes: Block,
        done: impl FnOnce(io::Result<Reserved>) + 'static,
    ) -> Result<(), Refused> {
        if self.off.get() || self.journal.is_broken() {
            return Err(Refused::Off);
        }
        if !self.journal.takes_more() {
            return Err(Refused::Later);
        }
        let (length, count) = (bytes.len() as u64, bytes.len() as u64 / BLOCK_BYTES);
        let run = self.blocks.borrow_mut().allocate(count).ok_or(Refused::Off)?;
        let reserved = Reserved { volume: Rc::clone(self), run };
        let (position, me) = (reserved.position(), Rc::clone(self));
        let written = move |outcome: io::Result<()>| {
            me.note(&outcome, length);
            done(outcome.map(|()| reserved));
        };
        let begun = self.disk.write(position, Data::Bytes(bytes), &self.pool, written);
        begun.map_err(|Exhausted| Refused::Later)?;
        self.grow();
        Ok(())
    }

    /// Counts a write that has ended, and turns the volume off where the device refused it.
    fn note(&self, outcome: &io::Result<()>, length: u64) {
        self.counters.count(|stats| match outcome {
            Ok(()) => {
                (stats.writes, stats.written_bytes) =
                    (stats.writes + 1, stats.written_bytes + length)
            }
            Err(_) => stats.write_errors += 1,
        });
        if let Err(error) = outcome {
            self.turn_off(error);
        }
    }

    fn turn_off(&self, error: &io::Error) {
        if !self.off.replace(true) {
            tracing::warn!(%error, "a volume of the cache takes no more bytes; tried again each 10 s");
            self.stirred.stir();
        }
    }

    /// Writes zeros ahead until enough are there. Goes on by itself, one piece after another.
    fn grow(self: &Rc<Self>) {
        if self.growing.get() || self.blocks.borrow().ahead_blocks() >= self.wanted_ahead() {
            return;
        }
        let Some(run) = self.advance() else { return };
        let reserved = Reserved { volume: Rc::clone(self), run };
        let (position, length) = (reserved.position(), reserved.bytes());
        let (me, counters) = (Rc::clone(self), Rc::clone(&self.counters));
        self.growing.set(true);
        let written = move |outcome: io::Result<()>| {
            drop(reserved);
            me.growing.set(false);
            match outcome {
                Ok(()) => {
                    counters.count(|stats| stats.zeroed_bytes += length as u64);
                    me.grow();
                }
                // The next chunk tries again; until then chunks append.
                Err(_) => counters.count(|stats| stats.write_errors += 1),
            }
        };
        if self.disk.write(position, Data::Zeros(length), &self.pool, written).is_err() {
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

    pub(super) fn free_bytes(&self) -> u64 {
        self.blocks.borrow().free_blocks() * BLOCK_BYTES
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.blocks.borrow().used_blocks() * BLOCK_BYTES
    }

    // ---- what is due in time ----

    /// Does what is due at `now`, and says when to come again; `None` where nothing waits. Only one
    /// task calls it, and it is not dropped half-way: a journal is turned over in here.
    pub(super) async fn tick(
        self: &Rc<Self>,
        now: Instant,
        sync_interval: Duration,
    ) -> Option<Instant> {
        if self.off.get() || self.journal.is_broken() {
            let probe = self.due.borrow_mut().probe_at(now);
            if now >= probe {
                self.due.borrow_mut().probed();
                self.probe().await;
                // Again: it is well now, or the next probe is to be named.
                self.stirred.stir();
            }
            self.answer(0, Some(io::ErrorKind::Other));
            return Some(probe.max(now));
        }
        let pending_bytes = self.journal.pending_bytes();
        if self.due.borrow_mut().wants_commit(now, pending_bytes) {
            self.commit(now).await;
        }
        if self.journal.wants_compaction(self.catalog.borrow().snapshot_bytes()) {
            self.compact().await;
        }
        if self.due.borrow().wants_sync(now, sync_interval) {
            self.sync_all().await;
        }
        self.due.borrow().next(sync_interval)
    }

    async fn commit(&self, now: Instant) {
        let replaced = self.replaced.take();
        match self.journal.commit().await {
            Ok(()) => {
                replaced.into_iter().for_each(self.freeing());
                self.due.borrow_mut().committed(now);
            }
            Err(error) => {
                self.replaced.borrow_mut().extend(replaced);
                if let Error::Io(error) = error {
                    self.turn_off(&error);
                }
            }
        }
    }

    async fn compact(&self) {
        let replaced = self.replaced.take();
        match self.journal.compact(&self.catalog).await {
            Ok(()) => replaced.into_iter().for_each(self.freeing()),
            Err(error) => {
                self.replaced.borrow_mut().extend(replaced);
                if let Error::Io(error) = error {
                    self.turn_off(&error);
                }
            }
        }
    }

    async fn sync_all(&self) {
        let questions = self.due.borrow_mut().begin_sync();
        let outcome = match self.disk.sync().await {
            Ok(()) => self.journal.sync().await,
            failed => failed,
        };
        if let Err(error) = &outcome {
            self.turn_off(error);
        }
        self.answer(questions, outcome.err().map(|error| error.kind()));
    }

    fn answer(&self, questions: u64, outcome: Option<io::ErrorKind>) {
        self.due.borrow_mut().answer(questions, outcome);
        self.synced.wake(|()| true);
    }

    /// Asks the device whether it takes writes again.
    async fn probe(&self) {
        if self.journal.is_broken() {
            self.compact().await;
        }
        if self.journal.is_broken() {
            return;
        }
        let run = self.blocks.borrow_mut().allocate(1);
        let outcome = match &run {
            Some(run) => {
                let zeros = Data::Zeros(BLOCK_BYTES as usize);
                self.disk.write_whole(run.start * BLOCK_BYTES, zeros, &self.pool).await
            }
            None => Ok(()),
        };
        run.into_iter().for_each(self.freeing());
        if outcome.is_ok() {
            self.off.set(false);
            tracing::info!("a volume of the cache takes bytes again");
        }
    }

    /// Waits until everything that was said to the volume so far is durable.
    ///
    /// # Errors
    /// What the device says, by its kind.
    ///
    /// # Cancellation
    /// It is made durable all the same.
    pub(super) async fn durable(&self) -> io::Result<()> {
        let question = self.due.borrow_mut().ask();
        self.stirred.stir();
        self.synced.until(|| (), || self.due.borrow().answer_to(question)).await
    }

    /// Writes and syncs what is left, at the end. Nobody ticks any more.
    pub(super) async fn close(&self, now: Instant) -> io::Result<()> {
        if !self.journal.is_broken() {
            self.commit(now).await;
        }
        self.disk.sync().await?;
        self.journal.sync().await
    }
}
