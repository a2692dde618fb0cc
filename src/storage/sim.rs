//! A disk in memory that fails when told to: the ground of the storage tests.
//!
//! Operations are numbered from 0 in the order they are begun. One of them can be made to fail, a place
//! can be bad for good, and all can be held until they are released one by one.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    ops::Range,
    rc::Rc,
};

use super::{
    Error,
    disk::{ALIGNMENT, Data},
    waiters::Waiters,
};
use crate::bufpool::{Block, BufPool, Class};

const PAGE_BYTES: usize = ALIGNMENT as usize;
/// What a device writes whole or not at all, in bytes.
const SECTOR_BYTES: usize = 512;

/// A simulated disk. A clone is another handle to the same one.
#[derive(Clone, Default)]
pub struct Sim {
    state: Rc<RefCell<State>>,
    /// Held reads and syncs, by operation.
    waiting: Rc<Waiters<u64>>,
}

#[derive(Default)]
struct State {
    /// What was written, by page. As in a file, a page that was never written is zeros, where a
    /// later one was, and does not exist behind the last.
    pages: BTreeMap<u64, Page>,
    /// What was written since the last sync, in order, and what was there before.
    unsynced: Vec<(u64, Page)>,
    before: BTreeMap<u64, Page>,
    operations: u64,
    failing: BTreeMap<u64, io::ErrorKind>,
    /// What touches one of these positions fails, whenever it comes.
    bad: Vec<Range<u64>>,
    /// From this operation on all fail.
    dead_from: Option<u64>,
    /// Of these operations only the first half is done.
    short: BTreeSet<u64>,
    /// Something else has the rest of the device.
    is_full: bool,
    holding: bool,
    holding_writes: bool,
    held: VecDeque<Held>,
}

type Page = Box<[u8; PAGE_BYTES]>;

/// What a crash leaves of what was written since the last sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// All of it: the process died, and the kernel did not.
    Kill,
    /// Nothing of it.
    Lost,
    /// Any pages of it, in any order.
    Reordered,
    /// Any sectors of 512 bytes of it.
    Torn,
}

enum Held {
    /// A read or a sync, which goes on by itself once it is no longer in the queue.
    Pass(u64),
    Write(Box<dyn FnOnce()>),
}

impl Sim {
    /// Lets the operation numbered `operation` fail with `kind`.
    pub fn fail(&self, operation: u64, kind: io::ErrorKind) {
        self.state.borrow_mut().failing.insert(operation, kind);
    }

    /// From now on whatever reads or writes some of these positions fails, after a crash too.
    pub fn bad(&self, positions: Range<u64>) {
        self.state.borrow_mut().bad.push(positions);
    }

    /// No position is bad any more.
    pub fn mend(&self) {
        self.state.borrow_mut().bad.clear();
    }

    /// Lets all operations from the one numbered `operation` on fail.
    pub fn die(&self, operation: u64) {
        self.state.borrow_mut().dead_from = Some(operation);
    }

    /// Lets the operation numbered `operation` do half of its work, as a device without room does: a
    /// write fails after its first half, a read meets the end.
    pub fn cut_short(&self, operation: u64) {
        self.state.borrow_mut().short.insert(operation);
    }

    /// How many operations have begun.
    pub fn operations(&self) -> u64 {
        self.state.borrow().operations
    }

    /// From now on operations wait to be released.
    pub fn hold(&self) {
        self.state.borrow_mut().holding = true;
    }

    /// From now on writes wait to be released, and what is there can be read.
    pub fn hold_writes(&self) {
        self.state.borrow_mut().holding_writes = true;
    }

    /// Operations that are held now.
    pub fn held(&self) -> usize {
        self.state.borrow().held.len()
    }

    /// Lets the oldest held operation go on; false where none is held.
    pub fn release_one(&self) -> bool {
        let next = self.state.borrow_mut().held.pop_front();
        match next {
            None => return false,
            Some(Held::Write(write)) => write(),
            Some(Held::Pass(operation)) => self.waiting.wake(|waiting| *waiting == operation),
        }
        true
    }

    /// Lets all held operations go on, and holds none any more.
    pub fn release_all(&self) {
        let mut state = self.state.borrow_mut();
        (state.holding, state.holding_writes) = (false, false);
        drop(state);
        while self.release_one() {}
    }

    /// From now on it has no room but where it was written before, or it has some again.
    pub fn set_full(&self, is_full: bool) {
        self.state.borrow_mut().is_full = is_full;
    }

    /// Turns over one bit of what lies at `position`: rot.
    ///
    /// # Panics
    /// When nothing was written there.
    pub fn flip(&self, position: u64, bit: u8) {
        let mut state = self.state.borrow_mut();
        let page = state.pages.get_mut(&(position / ALIGNMENT)).expect("a written page");
        page[(position % ALIGNMENT) as usize] ^= 1 << bit;
    }

    /// Puts what lies at `from` to `to` as well: a misdirected write.
    ///
    /// # Panics
    /// When nothing was written there.
    pub fn copy(&self, from: u64, to: u64, length: usize) {
        let mut state = self.state.borrow_mut();
        for page in 0..length as u64 / ALIGNMENT {
            let bytes = state.pages[&(from / ALIGNMENT + page)].clone();
            state.pages.insert(to / ALIGNMENT + page, bytes);
        }
    }

    /// Puts one page to another place as well, if it was written.
    #[cfg(test)]
    pub(super) fn copy_page(&self, from: u64, to: u64) {
        let mut state = self.state.borrow_mut();
        if let Some(bytes) = state.pages.get(&(from / ALIGNMENT)).cloned() {
            state.pages.insert(to / ALIGNMENT, bytes);
        }
    }

    /// Flips a bit of some written page; false where none was written.
    #[cfg(test)]
    pub(super) fn flip_some(&self, random: &mut super::random::Random) -> bool {
        let pages: Vec<u64> = self.state.borrow().pages.keys().copied().collect();
        if pages.is_empty() {
            return false;
        }
        let page = pages[random.below(pages.len() as u64) as usize];
        self.flip(page * ALIGNMENT + random.below(ALIGNMENT), random.below(8) as u8);
        true
    }

    /// Cuts it to at most `length` bytes, as a file.
    #[cfg(test)]
    pub(super) fn cut(&self, length: u64) {
        let mut state = self.state.borrow_mut();
        let State { pages, before, unsynced, .. } = &mut *state;
        pages.split_off(&(length / ALIGNMENT));
        before.split_off(&(length / ALIGNMENT));
        unsynced.retain(|(page, _)| *page < length / ALIGNMENT);
    }

    /// How long the disk is, as a file would be.
    pub fn length(&self) -> u64 {
        let state = self.state.borrow();
        state.pages.keys().next_back().map_or(0, |last| (last + 1) * ALIGNMENT)
    }

    /// The disk as a crash leaves it; `draw` gives numbers below its argument.
    pub fn crash(&self, crash: Crash, mut draw: impl FnMut(u64) -> u64) -> Self {
        let state = self.state.borrow();
        let mut pages = state.pages.clone();
        if crash != Crash::Kill {
            pages.extend(state.before.iter().map(|(page, bytes)| (*page, bytes.clone())));
        }
        let mut written: Vec<_> = state.unsynced.iter().collect();
        while !written.is_empty() && matches!(crash, Crash::Reordered | Crash::Torn) {
            let (page, bytes) = written.swap_remove(draw(written.len() as u64) as usize);
            let into = pages.get_mut(page).expect("it was before, as zeros at least");
            for sector in 0..PAGE_BYTES / SECTOR_BYTES {
                if (crash == Crash::Reordered && sector > 0) || draw(2) == 0 {
                    continue;
                }
                let part = match crash {
                    Crash::Torn => sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES,
                    _ => 0..PAGE_BYTES,
                };
                into[part.clone()].copy_from_slice(&bytes[part]);
            }
        }
        let state = State { pages, bad: state.bad.clone(), ..State::default() };
        Self { state: Rc::new(RefCell::new(state)), waiting: Rc::default() }
    }

    pub(super) async fn read(
        &self,
        position: u64,
        length: usize,
        pool: &BufPool,
    ) -> Result<Block, Error> {
        self.pass().await?;
        let mut block = pool.take(Class::holding(length))?;
        let state = self.state.borrow();
        state.place(position, length)?;
        let behind = state.pages.keys().next_back().map_or(0, |last| last + 1);
        if position / ALIGNMENT + (length / PAGE_BYTES) as u64 > behind {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        for (number, page) in block[..length].chunks_mut(PAGE_BYTES).enumerate() {
            match state.pages.get(&(position / ALIGNMENT + number as u64)) {
                Some(written) => page.copy_from_slice(&written[..]),
                None => page.fill(0),
            }
        }
        Ok(block.freeze(length))
    }

    pub(super) fn write(
        &self,
        position: u64,
        data: Data,
        done: impl FnOnce(io::Result<()>) + 'static,
    ) {
        let (operation, outcome, held) = self.begin();
        let state = Rc::clone(&self.state);
        let write = move || {
            let is_short = state.borrow().short.contains(&operation);
            let length =
                if is_short { data.len() / PAGE_BYTES / 2 * PAGE_BYTES } else { data.len() };
            let outcome = outcome.and_then(|()| state.borrow().place(position, data.len()));
            let outcome = outcome.and_then(|()| state.borrow().room(position, data.len()));
            if outcome.is_ok() {
                state.borrow_mut().put(position, &data, length);
            }
            done(if is_short { Err(io::ErrorKind::StorageFull.into()) } else { outcome });
        };
        match held || self.state.borrow().holding_writes {
            true => self.state.borrow_mut().held.push_back(Held::Write(Box::new(write))),
            false => write(),
        }
    }

    pub(super) async fn sync(&self) -> io::Result<()> {
        self.pass().await?;
        let mut state = self.state.borrow_mut();
        state.unsynced.clear();
        state.before.clear();
        Ok(())
    }

    /// One operation without an effect: waits while held, fails where told to.
    async fn pass(&self) -> io::Result<()> {
        let (operation, outcome, held) = self.begin();
        if held {
            self.state.borrow_mut().held.push_back(Held::Pass(operation));
            let is_held = |held: &Held| matches!(held, Held::Pass(other) if *other == operation);
            let released = || (!self.state.borrow().held.iter().any(is_held)).then_some(());
            self.waiting.until(|| operation, released).await;
        }
        if self.state.borrow().short.contains(&operation) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        outcome
    }

    fn begin(&self) -> (u64, io::Result<()>, bool) {
        let mut state = self.state.borrow_mut();
        let operation = state.operations;
        state.operations += 1;
        let is_dead = state.dead_from.is_some_and(|from| from <= operation);
        let failing = state.failing.get(&operation).copied();
        let failing = failing.or(is_dead.then_some(io::ErrorKind::Other));
        let outcome = failing.map_or(Ok(()), |kind| Err(kind.into()));
        (operation, outcome, state.holding)
    }
}

impl State {
    fn place(&self, position: u64, length: usize) -> io::Result<()> {
        let end = position + length as u64;
        let is_bad = self.bad.iter().any(|bad| bad.start < end && position < bad.end);
        if is_bad { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    }

    fn room(&self, position: u64, length: usize) -> io::Result<()> {
        let (first, count) = (position / ALIGNMENT, (length / PAGE_BYTES) as u64);
        let is_old = |page| self.pages.contains_key(&page);
        match self.is_full && !(first..first + count).all(is_old) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn put(&mut self, position: u64, data: &Data, length: usize) {
        let mut bytes = vec![0; data.len()];
        data.copy_to(&mut bytes);
        for (number, page) in bytes[..length].chunks(PAGE_BYTES).enumerate() {
            let bytes: Page = Box::new(page.try_into().expect("whole pages are written"));
            let page = position / ALIGNMENT + number as u64;
            let before = self.pages.insert(page, bytes.clone());
            self.before.entry(page).or_insert(before.unwrap_or(Box::new([0; PAGE_BYTES])));
            self.unsynced.push((page, bytes));
        }
    }
}
