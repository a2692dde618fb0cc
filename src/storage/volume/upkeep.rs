//! What a volume wants in time: commits, compactions, syncs, and probes of a device that failed.

use std::{
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{Error, Record, Trouble, Volume};
use crate::storage::format::PAGE_BYTES;

impl Volume {
    /// Does what is due at `now`, and says when to come again; `None` where nothing waits. Only one
    /// task calls it, and it is not dropped half-way: a journal is turned over in here.
    pub(in crate::storage) async fn tick(
        self: &Rc<Self>,
        now: Instant,
        sync_interval: Duration,
    ) -> Option<Instant> {
        if self.takes_no_chunks() {
            let probe = self.due.borrow_mut().probe_at(now);
            // An operator says to go on without what could not be read.
            let goes_on = self.is_to_renew.get() && self.journal.give_up_unread();
            if now >= probe || goes_on {
                self.due.borrow_mut().probed();
                self.probe().await;
                // Again: it is well now, or the next probe is to be named.
                self.common.stirred.stir();
            }
            if !self.journal.is_broken() {
                // Objects go while the volume is off, too, and pins come.
                self.commit_if_due(now).await;
            }
            self.answer(0, self.off.get().or(Some(io::ErrorKind::Other.into())));
            return Some(self.due.borrow().next_while_off(now, probe));
        }
        if !self.writing.get() && (self.wants_compaction() || self.is_to_renew.get()) {
            self.compact().await;
        }
        self.commit_if_due(now).await;
        if self.waits_for_room.get() {
            self.answer(0, Some(io::ErrorKind::StorageFull.into()));
        }
        // What is not written yet, or could not be, is not to be called durable: of a journal that has just
        // broken nothing waits any more.
        let is_behind = self.journal.pending_bytes() > 0 || self.journal.is_broken();
        let is_written = !is_behind && !self.writing.get();
        if is_written && self.due.borrow().wants_sync(now, sync_interval) {
            self.sync_all().await;
        }
        let next = self.due.borrow().next(now, sync_interval);
        let retry = if self.is_full() { Some(self.try_to_grow(now).await) } else { None };
        [next, retry].into_iter().flatten().min()
    }

    /// Writes the records that wait, if it is time, and says when it will be. Two tasks may call it.
    pub(in crate::storage) async fn commit_if_due(
        self: &Rc<Self>,
        now: Instant,
    ) -> Option<Instant> {
        if self.writing.get() || self.journal.is_broken() {
            return None;
        }
        let pending_bytes = self.journal.pending_bytes();
        if self.due.borrow_mut().wants_commit(now, pending_bytes) {
            // What failed turned the volume off, and what found no memory is tried again later.
            if self.commit(now).await.is_ok() {
                // A sync may have been waiting for this.
                self.common.stirred.stir();
            }
        }
        self.due.borrow().next_commit(now)
    }

    /// Whether its journal is to be turned over.
    pub(in crate::storage) fn wants_compaction(&self) -> bool {
        self.journal.wants_compaction(self.catalog.borrow().snapshot_bytes())
    }

    async fn commit(self: &Rc<Self>, now: Instant) -> Result<(), Error> {
        self.writing.set(true);
        let committed = self.journal.commit().await;
        self.writing.set(false);
        self.waits_for_room.set(matches!(committed, Err(Error::Full)));
        self.note_room();
        match &committed {
            // No record waits, those that came meanwhile were written too.
            Ok(()) => {
                self.due.borrow_mut().committed(now);
                self.free_left(self.take_leaving());
            }
            Err(Error::Io(error)) => self.turn_off(error),
            Err(Error::Full) => self.refuse_waiting(io::ErrorKind::StorageFull),
            Err(_) if self.is_waited_for() => self.free_left(self.take_leaving()),
            Err(_) => {}
        }
        committed
    }

    pub(super) async fn compact(self: &Rc<Self>) {
        let mut left = self.take_leaving();
        self.writing.set(true);
        let compacted = self.journal.compact(&self.catalog, &self.disk).await;
        self.writing.set(false);
        self.note_room();
        // Records that came meanwhile wait in the other journal.
        self.common.said.stir();
        match compacted {
            Ok(()) => {
                if self.journal.pending_bytes() == 0 {
                    left.extend(self.take_leaving());
                }
                self.free_left(left);
                self.forgot.set(true);
                self.is_to_renew.set(false);
                self.common.stirred.stir();
            }
            Err(error) => {
                self.keep_leaving(left);
                if let Error::Io(error) = error {
                    self.turn_off(&error);
                }
            }
        }
    }

    async fn sync_all(self: &Rc<Self>) {
        let questions = self.due.borrow_mut().begin_sync();
        let replaced = self.take_replaced();
        let journal_bytes = self.journal.length();
        let outcome = match self.disk.sync().await {
            Ok(()) => self.journal.sync().await,
            failed => failed,
        };
        match &outcome {
            Ok(()) => {
                if !replaced.is_empty() {
                    self.log(&durable_up_to(journal_bytes));
                }
                self.free_replaced(replaced);
            }
            Err(error) => {
                self.keep_replaced(replaced);
                self.turn_off(error);
            }
        }
        self.answer(questions, outcome.err().map(|error| Trouble::from(&error)));
    }

    fn answer(&self, questions: u64, outcome: Option<Trouble>) {
        self.due.borrow_mut().answer(questions, outcome);
        self.synced.wake(|()| true);
    }

    /// Asks the device whether it takes writes again.
    async fn probe(self: &Rc<Self>) {
        if self.journal.is_broken() {
            self.compact().await;
        }
        if self.journal.is_broken() {
            return;
        }
        if self.takes_bytes().await {
            self.turn_on();
        }
    }

    /// Waits until everything that was said to the volume so far is durable.
    ///
    /// # Errors
    /// What the device says.
    ///
    /// # Cancellation
    /// It is made durable all the same.
    pub(in crate::storage) async fn durable(&self) -> io::Result<()> {
        let question = self.due.borrow_mut().ask();
        self.common.stirred.stir();
        self.synced.until(|| (), || self.due.borrow().answer_to(question)).await
    }

    /// Writes and syncs what is left, at the end. Nobody ticks any more.
    ///
    /// # Errors
    /// What the device says, or that there was no memory: what was said lately is lost.
    pub(in crate::storage) async fn close(self: &Rc<Self>, now: Instant) -> io::Result<()> {
        if self.is_to_renew.get() {
            self.journal.give_up_unread();
            self.compact().await;
        }
        let committed = match self.journal.is_broken() {
            true => Err(io::Error::other("a journal could not be written")),
            false => self.commit(now).await.map_err(io::Error::from),
        };
        self.disk.sync().await?;
        self.journal.sync().await?;
        committed
    }
}

/// That what the first so many bytes of the journal name anew is durable.
pub(super) fn durable_up_to(journal_bytes: u64) -> Record {
    let pages = journal_bytes / PAGE_BYTES as u64;
    Record::Durable { pages: u32::try_from(pages).expect("a page has a number of 32 bits") }
}
