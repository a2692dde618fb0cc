//! The reader's side of a resource: what is wanted, waited for, and read.

use std::{cell::OnceCell, ops::Range, rc::Rc};

use super::{
    Piece, StreamingResource, Wait,
    state::{AtHand, Keeping, slice_of},
};
use crate::{
    bufpool::Block,
    storage::{
        CHUNK_BYTES, Demand, Error, Failure, Stats,
        checksum::checksum,
        chunk::valid,
        format::{Filled, HEAD_CHUNK},
        volume::Home,
    },
};

impl StreamingResource {
    /// Says that a reader wants `range`, for as long as the guard lives.
    pub fn demand(self: &Rc<Self>, range: Range<u64>, epoch: u64) -> DemandGuard {
        self.add_demand(Demand { range, epoch, is_paced: false })
    }

    /// Says that `range` is to be here one day, without anybody who waits for it.
    pub fn demand_paced(self: &Rc<Self>, range: Range<u64>) -> DemandGuard {
        self.add_demand(Demand { range, epoch: 0, is_paced: true })
    }

    fn add_demand(self: &Rc<Self>, demand: Demand) -> DemandGuard {
        self.state.borrow_mut().ask_anew(demand.range.start);
        let key = self.demands.add(demand);
        self.note_demands();
        DemandGuard { resource: Rc::clone(self), key }
    }

    /// Has `told` called whenever the disk lost bytes that were here, in place of who was told before:
    /// a fill that has ended sees no demands.
    pub fn on_loss(&self, told: impl Fn() + 'static) {
        *self.on_loss.borrow_mut() = Some(Rc::new(told));
    }

    /// Waits until `range` can be read, or will not come.
    ///
    /// # Errors
    /// The [`Failure`] of the fill, once the first byte of the range is missing for good.
    ///
    /// # Cancellation
    /// A dropped future leaves no trace.
    pub async fn wait_range(&self, range: Range<u64>) -> Result<Wait, Failure> {
        let mut asked = false;
        let look = || {
            let found = self.state.borrow().look(&range);
            // A reader that waits makes room for its chunk, see `is_needed`.
            if found.is_none() && !std::mem::replace(&mut asked, true) {
                self.fills.wake(|()| true);
            }
            found
        };
        self.readers.until(|| range.clone(), look).await
    }

    /// Bytes from `position` on, at most `max`, never across a chunk's boundary; `None` where that
    /// byte is not here (any more): wait again.
    ///
    /// From memory they are shared, from the chunk being filled they are a copy shared by all who
    /// read there, from disk they are one read of the chunk, verified, that keeps it warm for those
    /// who follow. A chunk that fails its checksum is counted and gone.
    ///
    /// # Errors
    /// [`Error::Exhausted`] where the pool has no block to read into.
    ///
    /// # Cancellation
    /// Nothing is changed by a read that is dropped; one that had joined it reads for itself.
    pub async fn read_at(
        self: &Rc<Self>,
        position: u64,
        max: usize,
    ) -> Result<Option<Block>, Error> {
        let stored = self.stored(position / CHUNK_BYTES);
        let at_hand = self.state.borrow_mut().at_hand(position, max, stored, &self.pool)?;
        match at_hand {
            AtHand::Bytes(bytes) => Ok(Some(bytes)),
            AtHand::Nothing => Ok(None),
            AtHand::OnDisk(stored) => {
                let piece = self.piece(&stored).await?;
                Ok(piece.and_then(|piece| slice_of(&piece, position, max)))
            }
        }
    }

    /// The response head, from disk; `None` where it is not there (any more).
    ///
    /// # Errors
    /// [`Error::Exhausted`] where the pool has no block to read into.
    pub async fn head(self: &Rc<Self>) -> Result<Option<Block>, Error> {
        let stored = self.home.as_ref().and_then(|home| home.chunk(HEAD_CHUNK));
        let Some(stored) = stored else { return Ok(None) };
        Ok(self.piece(&stored).await?.map(|(_, bytes)| bytes))
    }

    /// A chunk that is on disk: from memory while it is warm, else by one read for all who want it
    /// now. `None` as for a [`load`](Self::load).
    pub(super) async fn piece(&self, stored: &Filled) -> Result<Option<Piece>, Error> {
        let Some(home) = &self.home else { return Ok(None) };
        loop {
            if let Some(bytes) = home.warm(stored) {
                return Ok(Some((start_of(stored), bytes)));
            }
            let under_way = self.loading.borrow().get(&stored.chunk).cloned();
            let Some(under_way) = under_way else { return self.load(home, stored).await };
            let ended = || (!self.loading.borrow().contains_key(&stored.chunk)).then_some(());
            self.joined.until(|| stored.chunk, ended).await;
            // Bytes of a generation never change: it may only have read fewer of them.
            if let Some(piece) = under_way.get()
                && (piece.0, piece.1.len()) == (start_of(stored), stored.part.len())
            {
                return Ok(Some(piece.clone()));
            }
        }
    }

    /// Reads a chunk from disk and verifies it; `None` where it is not what was written. Then it is
    /// no longer present, and whoever wants it fetches it again.
    ///
    /// Blocks that came to another owner while they were read fail the check as rotten ones do.
    async fn load(&self, home: &Home, stored: &Filled) -> Result<Option<Piece>, Error> {
        let loading = Loading::begin(self, stored.chunk);
        let read = match home.read(stored).await {
            Err(Error::Exhausted(exhausted)) => return Err(exhausted.into()),
            read => read.ok(),
        };
        let Some(read) = read else {
            // What is fetched instead is not given to a device that may lose it again.
            self.state.borrow_mut().keeping = Keeping::Nothing;
            self.lose(stored, |stats| stats.read_errors += 1);
            return Ok(None);
        };
        self.counters.count(|stats| {
            stats.reads += 1;
            stats.read_bytes += read.len() as u64;
        });
        let bytes = valid(&stored.part, &read);
        if checksum(&self.identity(stored.chunk, stored.part.clone()), &bytes) != stored.checksum {
            self.lose(stored, |stats| stats.corrupt_chunks += 1);
            return Ok(None);
        }
        home.keep_warm(stored, bytes.clone());
        let piece = (start_of(stored), bytes);
        let _ = loading.read.set(piece.clone());
        Ok(Some(piece))
    }

    /// The disk lost a chunk, unless it was written anew meanwhile.
    fn lose(&self, stored: &Filled, count: impl FnOnce(&mut Stats)) {
        let Some(home) = &self.home else { return };
        if home.chunk(stored.chunk).as_ref() != Some(stored) {
            return;
        }
        self.counters.count(count);
        home.lose(stored.chunk);
        if stored.chunk != HEAD_CHUNK {
            self.state.borrow_mut().absent(stored);
            self.demands.note_change();
            let told = self.on_loss.borrow().clone();
            told.into_iter().for_each(|told| told());
        }
    }
}

/// Where in the object the valid part of a chunk begins.
fn start_of(stored: &Filled) -> u64 {
    u64::from(stored.chunk) * CHUNK_BYTES + u64::from(stored.part.start)
}

/// A chunk is being read from disk; those who joined go on when this is dropped.
struct Loading<'a> {
    resource: &'a StreamingResource,
    chunk: u32,
    read: Rc<OnceCell<Piece>>,
}

impl<'a> Loading<'a> {
    fn begin(resource: &'a StreamingResource, chunk: u32) -> Self {
        let read = Rc::default();
        resource.loading.borrow_mut().insert(chunk, Rc::clone(&read));
        Self { resource, chunk, read }
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.resource.loading.borrow_mut().remove(&self.chunk);
        self.resource.joined.wake(|chunk| *chunk == self.chunk);
    }
}

/// A reader's wish for bytes; dropping it withdraws the wish.
pub struct DemandGuard {
    resource: Rc<StreamingResource>,
    key: usize,
}

impl DemandGuard {
    /// The reader wants something else now.
    pub fn set(&self, range: Range<u64>, epoch: u64) {
        if self.resource.demands.epoch_of(self.key) != epoch {
            self.resource.state.borrow_mut().ask_anew(range.start);
        }
        self.resource.demands.replace(self.key, range, epoch);
        self.resource.note_demands();
    }
}

impl Drop for DemandGuard {
    fn drop(&mut self) {
        self.resource.demands.withdraw(self.key);
        self.resource.note_demands();
    }
}
