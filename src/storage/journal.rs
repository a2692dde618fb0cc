//! The journal of a volume: what its catalog is, durably.
//!
//! Two files take turns. Records are appended to the current one in pages, by group commit; when it
//! has grown to several times what it says, the catalog is written into the other, and the
//! superblock is turned to that. Until then both get what changes, so either is whole at any
//! moment, and a crash leaves the one that the superblock names.
//!
//! Nothing here waits for a sync but the turn of the superblock: data and records are written in any
//! order, because each chunk's checksum says whether the bytes that a record names are there.
//!
//! A write that fails leaves a hole that cannot be mended in place. The journal is then *broken*:
//! nothing more is appended, the volume takes no bytes, and a compaction into the other file makes
//! it whole again.
//!
//! Both files are grown ahead by zeros, to twice what the current one holds at least, so that neither
//! a commit nor a compaction ever wants space of a device that has none. Where that has no room for
//! more zeros the journal is *full*: it goes on in what both files have, and is compacted earlier.

mod compaction;
mod replay;
mod superblock;

use std::{
    cell::{Cell, RefCell, RefMut},
    io,
};

pub(super) use self::replay::Recovered;
use self::{
    replay::{GAP_BYTES, replay},
    superblock::Found,
};
use super::{
    Error,
    catalog::Catalog,
    disk::{Data, Disk},
    error::is_no_room,
    format::{PAGE_BYTES, Record, Superblock, Whose},
    pages::Pages,
};
use crate::bufpool::{Block, BufPool, Class};

/// Records that wait for their commit, in bytes of pages; a volume takes no chunks beyond.
pub(super) const PENDING_BYTES: usize = 256 << 10;

/// The files are grown to multiples of this.
const GROWTH_BYTES: u64 = 64 << 10;
/// Zeros are written in pieces of this size.
const ZEROS_BYTES: u64 = 256 << 10;

/// A journal is not compacted while it is shorter than this.
const COMPACT_BYTES: u64 = 1 << 20;

/// The files of one volume's journal.
pub(super) struct Files {
    pub(super) superblock: Disk,
    pub(super) journals: [Disk; 2],
    /// How long those are, in bytes.
    pub(super) lengths: [u64; 2],
}

/// Which volume of which cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    pub(super) uuid: u128,
    pub(super) volume: u32,
}

/// The journal of one volume.
pub(super) struct Journal {
    files: Files,
    pool: BufPool,
    superblock: Cell<Superblock>,
    current: RefCell<Pages>,
    /// The journal that is being written by a compaction.
    next: RefCell<Option<Pages>>,
    /// How long a journal may get, in bytes.
    capacity_bytes: u64,
    /// How long the files are, in bytes: what is written there wants no new space.
    lengths: Cell<[u64; 2]>,
    /// The device had no room for more of them.
    is_full: Cell<bool>,
    /// Behind the last page of the current file whose write has ended: what was taken may be on its way.
    landed: Cell<u64>,
    /// Behind the last page of the current file that is known to be durable.
    durable: Cell<u64>,
    state: Cell<State>,
}

/// How a journal is.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// It is appended to.
    Whole,
    /// A write failed: it has a hole, or is not the one that counts.
    Broken,
    /// The disk did not even take the first superblock.
    NotBegun,
    /// Some of its pages could not be read: it is kept for a start that can, or until an operator goes on
    /// without them.
    Kept,
    /// What is there could not be read, and is not to be written over.
    Shut,
}

impl Journal {
    /// Opens a volume's journal, or begins one where there is none; it is broken where the disk takes
    /// none.
    ///
    /// # Errors
    /// [`Error::Io`] with what to do, where the volume is not to be used; [`Error::Exhausted`]. Nothing
    /// is changed then.
    pub(super) async fn open(
        name: Name,
        files: Files,
        capacity_bytes: u64,
        blocks: u64,
        pool: BufPool,
    ) -> Result<(Self, Recovered), Error> {
        let capacity_bytes = whole_pages(capacity_bytes);
        let lengths = files.lengths.map(|length| whole_pages(length.min(capacity_bytes)));
        let found = superblock::read(&files.superblock, name, &pool).await?;
        let mut recovered = Recovered { catalog: Catalog::new(blocks), ..Recovered::default() };
        let is_empty = files.lengths == [0, 0];
        let (superblock, end, state) = match found {
            Found::Sound(superblock) => {
                let end = replay(&files, &superblock, &pool, &mut recovered).await?;
                recovered.ill = recovered.is_given_up.then(cannot_be_read);
                let state = match (recovered.unread_pages, recovered.is_given_up) {
                    (0, _) => State::Whole,
                    (_, false) => State::Kept,
                    (_, true) => State::Shut,
                };
                (superblock, end, state)
            }
            Found::Unsound if !is_empty => return Err(superblock::neither_is_sound().into()),
            Found::Unreadable if !is_empty => {
                recovered.ill = Some(cannot_be_read());
                (superblock::first(name), 0, State::Shut)
            }
            Found::Unsound | Found::Unreadable => {
                let first = superblock::first(name);
                // A disk that takes nothing now may do so later: no reason not to start.
                let state = match superblock::begin(&files.superblock, &first, &pool).await {
                    Err(Error::Io(error)) => {
                        recovered.ill = Some(error);
                        State::NotBegun
                    }
                    written => written.map(|()| State::Whole)?,
                };
                (first, 0, state)
            }
        };
        recovered.catalog.shrink();
        let pages = Pages::new(whose(&superblock), (end / PAGE_BYTES as u64) as u32);
        let journal = Self {
            files,
            pool,
            superblock: Cell::new(superblock),
            current: RefCell::new(pages),
            next: RefCell::new(None),
            capacity_bytes,
            lengths: Cell::new(lengths),
            is_full: Cell::new(false),
            landed: Cell::new(end),
            durable: Cell::new(0),
            state: Cell::new(state),
        };
        Ok((journal, recovered))
    }

    /// Appends a record; it is written by the next [`commit`](Self::commit).
    pub(super) fn append(&self, record: &Record) {
        if !self.is_broken() {
            self.current.borrow_mut().push(record);
        }
        if let Some(next) = &mut *self.next.borrow_mut() {
            next.push(record);
        }
    }

    /// Whether records of further chunks have room: in memory until the next commit, and in the files
    /// until the next compaction is through. An eighth is left to the records that cannot wait.
    pub(super) fn takes_more(&self) -> bool {
        let next = self.next.borrow().as_ref().map_or(0, Pages::end);
        let has_room = self.length().max(next) <= self.room() / 8 * 7;
        !self.is_broken() && self.pending_bytes() < PENDING_BYTES && has_room
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.current.borrow().len()
    }

    /// How long it is, in bytes, with what waits.
    pub(super) fn length(&self) -> u64 {
        self.current.borrow().end()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state.get() != State::Whole
    }

    /// What is there could not be read.
    pub(super) fn is_shut(&self) -> bool {
        self.state.get() == State::Shut
    }

    /// Goes on without the pages that could not be read: the next [`compact`](Self::compact) makes a journal
    /// of what could. Whether that was needed.
    pub(super) fn give_up_unread(&self) -> bool {
        let is_kept = self.state.get() == State::Kept;
        if is_kept {
            self.state.set(State::Broken);
        }
        is_kept
    }

    /// A write failed; a journal that is worse already stays so.
    fn break_off(&self) {
        if self.state.get() == State::Whole {
            self.state.set(State::Broken);
        }
    }

    /// How long a journal may get now, in bytes.
    fn room(&self) -> u64 {
        match self.is_full.get() {
            true => self.lengths.get().into_iter().min().expect("there are two"),
            false => self.capacity_bytes,
        }
    }

    /// Whether the device has no room for longer files.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.get()
    }

    /// Whether the journal is several times as long as what it says, or nearly full.
    pub(super) fn wants_compaction(&self, catalog_bytes: u64) -> bool {
        let (length, room) = (self.current.borrow().end(), self.room());
        // A catalog that fills it by itself gains nothing by being written again and again.
        let with_some = catalog_bytes + catalog_bytes / 8;
        let nearly_full = length > room / 4 * 3 && length > with_some;
        let is_long = length > (3 * catalog_bytes).max(COMPACT_BYTES.min(room / 2));
        (is_long || nearly_full) && with_some <= room
    }

    /// Whether it is longer than it may get: a larger cache wrote it.
    pub(super) fn is_too_long(&self) -> bool {
        self.length() > self.capacity_bytes
    }

    /// Whether a catalog of that size fits twice, so that compaction always can.
    pub(super) fn holds(&self, catalog_bytes: u64) -> bool {
        catalog_bytes <= self.room() / 2
    }

    /// The same of one that has grown to what it may get, whatever room the device has now.
    pub(super) fn may_hold(&self, catalog_bytes: u64) -> bool {
        catalog_bytes <= self.capacity_bytes / 2
    }

    /// Writes what was appended. One call at a time.
    ///
    /// # Errors
    /// [`Error::Exhausted`] without memory: call again. [`Error::Full`]: pages wait for the device to
    /// have room, or for a compaction. [`Error::Io`]: the journal is broken.
    pub(super) async fn commit(&self) -> Result<(), Error> {
        let which = self.which();
        let committed = self.write_out(which, || Some(self.current.borrow_mut())).await;
        if matches!(committed, Err(Error::Io(_))) {
            self.break_off();
        }
        committed
    }

    /// Makes what was committed durable, but for what a [`commit`](Self::commit) is writing meanwhile.
    pub(super) async fn sync(&self) -> io::Result<()> {
        let landed = self.landed.get();
        self.files.journals[self.which()].sync().await?;
        self.durable.set(landed);
        Ok(())
    }

    /// The number of the current file.
    fn which(&self) -> usize {
        usize::from(self.superblock.get().journal)
    }

    /// Tries whether a device that had no room for longer files has some now. Not during a
    /// [`commit`](Self::commit) or a [`compact`](Self::compact).
    ///
    /// # Errors
    /// [`Error::Exhausted`], and nothing is known; what the device says.
    pub(super) async fn try_to_grow(&self) -> Result<(), Error> {
        self.is_full.set(false);
        self.grow_ahead(self.length()).await
    }

    /// Has both files grow where the current one, or the one to come, is to hold `end` bytes and that
    /// is more than half of what they have. A device without room is no error.
    async fn grow_ahead(&self, end: u64) -> Result<(), Error> {
        let grown = self.lengths.get().into_iter().min().expect("there are two");
        if self.is_full.get() || 2 * end <= grown {
            return Ok(());
        }
        let to = (4 * end).next_multiple_of(GROWTH_BYTES).min(self.capacity_bytes);
        match self.grow(to).await {
            Err(Error::Io(error)) if is_no_room(&error) => self.is_full.set(true),
            other => other?,
        }
        Ok(())
    }

    async fn grow(&self, to: u64) -> Result<(), Error> {
        for (which, file) in self.files.journals.iter().enumerate() {
            while let at = self.lengths.get()[which]
                && at < to
            {
                let length = ZEROS_BYTES.min(to - at);
                file.write_whole(at, Data::Zeros(length as usize), &self.pool).await?;
                let mut lengths = self.lengths.get();
                lengths[which] = at + length;
                self.lengths.set(lengths);
            }
        }
        Ok(())
    }

    /// Writes pages until none wait. They are looked at anew after each write, since records come
    /// meanwhile.
    async fn write_out<'a>(
        &self,
        which: usize,
        pages: impl Fn() -> Option<RefMut<'a, Pages>>,
    ) -> Result<(), Error> {
        loop {
            let Some(end) = pages().filter(|pages| pages.len() > 0).map(|pages| pages.end()) else {
                return Ok(());
            };
            self.grow_ahead(end).await?;
            let (position, data) = {
                let Some(mut pages) = pages() else { return Ok(()) };
                if pages.end() > self.lengths.get()[which] {
                    return Err(Error::Full);
                }
                let mut room = self.pool.take(Class::Large)?;
                let (position, length) = pages.take(&mut room);
                (position, room.freeze(length))
            };
            let (is_current, length) = (which == self.which(), data.len() as u64);
            if is_current {
                self.bound_gap(position, length).await?;
            }
            self.write_pages(&self.files.journals[which], position, data).await?;
            if is_current {
                self.landed.set(position + length);
            }
        }
    }

    /// Before pages are written to the current file: what a power cut may take before their end is less
    /// than what a start looks behind.
    async fn bound_gap(&self, position: u64, length: u64) -> io::Result<()> {
        if position + length - self.durable.get() > GAP_BYTES {
            self.files.journals[self.which()].sync().await?;
            self.durable.set(position);
        }
        Ok(())
    }

    /// Pages that were taken are gone when this fails, for want of memory too.
    async fn write_pages(&self, file: &Disk, position: u64, pages: Block) -> Result<(), Error> {
        let written = file.write_whole(position, Data::Bytes(pages), &self.pool).await;
        written.map_err(|error| match error {
            Error::Exhausted(_) => io::Error::from(io::ErrorKind::OutOfMemory).into(),
            other => other,
        })
    }
}

fn whole_pages(bytes: u64) -> u64 {
    bytes - bytes % PAGE_BYTES as u64
}

fn whose(superblock: &Superblock) -> Whose {
    let Superblock { uuid, volume, epoch, .. } = *superblock;
    Whose { uuid, volume, epoch }
}

fn cannot_be_read() -> io::Error {
    let problem = "its superblock, or too much of its journal, cannot be read, so that it is off until the next \
                   start";
    io::Error::other(problem)
}

/// What they said, pins among it, would be lost for good if the journal were written anew.
pub(super) fn is_kept() -> io::Error {
    let problem = "pages of its journal cannot be read, so that it is kept as it is until a start that can; \
                   `kithara cache verify --repair` goes on without them";
    io::Error::other(problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{
        ObjectId,
        device::Device,
        tests::pool,
        turns::{Turns, at_once},
    };

    /// A power cut would take more than what a start looks behind.
    #[test]
    fn pages_on_their_way_during_a_sync_are_not_called_durable() {
        let device = Device::default();
        let name = Name { uuid: 1, volume: 0 };
        let opening = Journal::open(name, device.disks().journal, 4 << 20, 1, pool(1 << 20));
        let journal = std::rc::Rc::new(at_once(opening).unwrap().unwrap().0);
        let commit = || {
            let (mut turns, committing) = (Turns::default(), std::rc::Rc::clone(&journal));
            journal.append(&Record::Pin { object: ObjectId(1), pinned: true });
            turns.spawn(async move { committing.commit().await.unwrap() });
            turns.run();
            turns
        };
        commit();
        device.journals[0].hold_writes();
        let mut second = commit();
        at_once(journal.sync()).expect("syncs are not held").unwrap();
        assert_eq!(journal.durable.get(), PAGE_BYTES as u64);
        device.journals[0].release_all();
        second.run();
        at_once(journal.sync()).unwrap().unwrap();
        assert_eq!(journal.durable.get(), 2 * PAGE_BYTES as u64);
    }
}
