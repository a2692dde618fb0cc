//! The bytes behind one URL: written in any order while they are read.
//!
//! A fill writes, readers wait for a range and read it. Bytes are readable the moment they are
//! written: from the chunk that is being filled, from a chunk in flight to the disk, from disk.
//! What is there may go again (rot on disk, or room needed in memory), so readers loop over
//! [`wait_range`](StreamingResource::wait_range) and [`read_at`](StreamingResource::read_at).
//!
//! Trouble with the disk is the cache's, not the reader's: a chunk that the disk does not take stays
//! in memory, and the resource turns its cache off and goes on in memory alone. There it keeps a
//! bounded number of bytes: the oldest that nobody wants are dropped, and the fill waits
//! ([`room`](StreamingResource::room)) while all are wanted.
//!
//! No borrow of the state crosses an await or a call into the device, whose answer may come at once.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::Future,
    io,
    ops::Range,
    rc::Rc,
};

use super::{
    CHUNK_BYTES, Error, Failure, Generation, ObjectId,
    checksum::{Identity, checksum},
    chunk::{Chunk, Filling, Memory, Stored},
    demands::{Demand, Demands},
    range_set::RangeSet,
    stats::Counters,
    volume::{Extent, Refused, Volume},
    waiters::Waiters,
};
use crate::bufpool::{Block, BlockMut, BufPool, Class};

/// Chunks of one resource on their way to the disk at once; a fill waits for the oldest beyond.
pub const WRITES_IN_FLIGHT: usize = 4;

/// What a resource keeps in memory once its cache is off, in bytes (`read_ahead_bytes` of RULES).
pub const KEEP_BYTES: u64 = 1 << 20;

/// Ranges of one resource that are known not to come, at a time. Readers of what is forgotten wait
/// until their fill tries it again.
const LOST_RANGES: usize = 16;

/// No resource has a byte at or beyond this position: what an origin claims of one is nonsense.
const POSITIONS: u64 = 1 << 62;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The range can be read: all of it that lies before the end, or, where bytes are kept in memory
    /// only or the fill has failed, at least its first byte.
    Ready,
    /// The range begins at or beyond the end of the committed resource.
    Eof,
}

/// A resource of one generation. Shared by its fill and its readers; its blocks are free again when
/// the last of them lets go.
pub struct StreamingResource {
    object: ObjectId,
    generation: Generation,
    pool: BufPool,
    keep_bytes: u64,
    counters: Rc<Counters>,
    state: RefCell<State>,
    demands: Demands,
    /// Readers by the range they wait for.
    readers: Waiters<Range<u64>>,
    /// Fills that wait for room, or for their writes to end.
    fills: Waiters<()>,
    /// Chunks that are read from disk now: a second reader joins instead of reading again.
    loading: RefCell<BTreeSet<u64>>,
    joined: Waiters<u64>,
}

/// Bytes and where they start in the resource.
type Piece = (u64, Block);

struct State {
    /// `None` where the cache is off.
    volume: Option<Rc<Volume>>,
    length: Option<u64>,
    /// Behind the last byte that ever came.
    end: u64,
    committed: bool,
    failure: Option<Failure>,
    /// What does not come until somebody asks anew, the oldest first.
    lost: VecDeque<(Range<u64>, Failure)>,
    present: RangeSet,
    chunks: BTreeMap<u64, Chunk>,
    /// Chunks kept in memory, the oldest first.
    kept: VecDeque<u64>,
    writes_in_flight: usize,
    stored_bytes: u64,
    last_token: u64,
    /// The chunk that was last read from disk or written for someone who wants it: readers take
    /// less than a chunk at a time, and several follow each other.
    recent: Option<Piece>,
}

impl StreamingResource {
    /// A resource without a disk. It keeps about `keep_bytes` bytes, at least two chunks.
    pub fn in_memory(pool: BufPool, keep_bytes: u64) -> Rc<Self> {
        let nobody = (ObjectId(0), Generation(0));
        Self::new(nobody, pool, keep_bytes, None, Rc::default())
    }

    pub(super) fn new(
        (object, generation): (ObjectId, Generation),
        pool: BufPool,
        keep_bytes: u64,
        volume: Option<Rc<Volume>>,
        counters: Rc<Counters>,
    ) -> Rc<Self> {
        Rc::new(Self {
            object,
            generation,
            pool,
            keep_bytes: keep_bytes.max(2 * CHUNK_BYTES),
            counters,
            state: RefCell::new(State::new(volume)),
            demands: Demands::default(),
            readers: Waiters::default(),
            fills: Waiters::default(),
            loading: RefCell::default(),
            joined: Waiters::default(),
        })
    }

    /// Whose bytes these are.
    pub fn object(&self) -> ObjectId {
        self.object
    }

    /// Which of the object's contents over time.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Length in bytes, once it is known.
    pub fn length(&self) -> Option<u64> {
        self.state.borrow().length
    }

    /// Whether new chunks go to disk. An object over half its volume, a full volume or a failing
    /// disk turn that off for this resource; what is on disk stays readable.
    pub fn is_cached(&self) -> bool {
        self.state.borrow().volume.is_some()
    }

    /// Whether every byte of a known length is present.
    pub fn is_complete(&self) -> bool {
        let state = self.state.borrow();
        state.length.is_some_and(|length| state.present.covers(&(0..length)))
    }

    /// Bytes that are present, wherever they lie.
    pub fn present_bytes(&self) -> u64 {
        self.state.borrow().present.iter().map(|range| range.end - range.start).sum()
    }

    /// Bytes of its volume that it holds, in whole blocks.
    pub fn stored_bytes(&self) -> u64 {
        self.state.borrow().stored_bytes
    }

    /// Whether the fill ended well.
    pub fn is_committed(&self) -> bool {
        self.state.borrow().committed
    }

    /// Where the presence that includes `position` ends; `None` if that byte is missing.
    pub fn present_from(&self, position: u64) -> Option<u64> {
        self.state.borrow().present.present_from(position)
    }

    /// The first missing range inside `within`: what to fetch next.
    pub fn next_gap(&self, within: Range<u64>) -> Option<Range<u64>> {
        self.state.borrow().present.next_gap(within)
    }

    // ---- the fill ----

    /// The resource is `length` bytes long.
    ///
    /// # Errors
    /// [`Error::LengthChanged`] where another length was said or more bytes are here. Too large an
    /// object is no error: see [`is_cached`](Self::is_cached).
    pub fn set_length(self: &Rc<Self>, length: u64) -> Result<(), Error> {
        let tail = {
            let mut state = self.state.borrow_mut();
            let known = state.length.unwrap_or(length.min(POSITIONS).max(state.end));
            if known != length {
                return Err(Error::LengthChanged { known, said: length });
            }
            state.length = Some(length);
            state.check_size(length);
            length.saturating_sub(1) / CHUNK_BYTES
        };
        self.freeze_if_complete(tail);
        self.wake_readers();
        Ok(())
    }

    /// Writes bytes at `position`. They are copied once and can be read at once; each chunk that
    /// became full begins its way to the disk. Bytes that are present already stay as they are.
    ///
    /// Waits for [`room`](Self::room) before each new chunk.
    ///
    /// # Errors
    /// [`Error::PastEnd`] beyond a known length, with nothing written; [`Error::Exhausted`] where
    /// the pool has no block: chunks before that are written, and all can be written again.
    ///
    /// # Cancellation
    /// A dropped write has written whole pieces up to a chunk's boundary, or nothing.
    pub async fn write_at(self: &Rc<Self>, position: u64, bytes: &[u8]) -> Result<(), Error> {
        let end = position.saturating_add(bytes.len() as u64);
        let length = self.length().unwrap_or(POSITIONS);
        if end > length {
            return Err(Error::PastEnd { end, length });
        }
        let (mut at, mut rest) = (position, bytes);
        while !rest.is_empty() {
            let in_chunk = (CHUNK_BYTES - at % CHUNK_BYTES).min(rest.len() as u64) as usize;
            let (piece, after) = rest.split_at(in_chunk);
            self.write_piece(at, piece).await?;
            (at, rest) = (at + in_chunk as u64, after);
        }
        Ok(())
    }

    /// Resolves when the fill may write at `position`: always within a chunk that has begun; else
    /// while less than [`WRITES_IN_FLIGHT`] chunks are on their way to the disk, or, in memory,
    /// while there is room, something unwanted to drop, or a reader that waits for this very chunk.
    ///
    /// A fill waits for this and for [`demands_changed`](Self::demands_changed) together: the reader
    /// for whom it wanted to write may have gone, and another may need another chunk.
    ///
    /// # Cancellation
    /// Nothing is reserved; a dropped future leaves no trace.
    pub async fn room(&self, position: u64) {
        self.fills.until(|| (), || self.has_room(position / CHUNK_BYTES).then_some(())).await
    }

    /// Sends what an ended fill left, chunks that are not full, to the disk with their valid part,
    /// and waits until all writes have ended. Whether the disk took them is in
    /// [`is_cached`](Self::is_cached) and [`Stats`](super::Stats): no byte is lost to readers.
    ///
    /// Whenever a run of writes ends, also by a seek or a failure: only chunks that have been ended
    /// count towards the bound of what is kept in memory.
    ///
    /// # Cancellation
    /// The writes go on.
    pub async fn flush(self: &Rc<Self>) {
        let partial = self.state.borrow().partial();
        partial.into_iter().for_each(|index| self.freeze(index));
        self.store_kept();
        self.fills.until(|| (), || (self.state.borrow().writes_in_flight == 0).then_some(())).await
    }

    /// The fill ended well: the length is true, and a reader at it gets [`Wait::Eof`]. Where no
    /// length was said it is the end of the bytes that came.
    ///
    /// # Errors
    /// [`Error::Failed`] where the fill had failed and was not [`resume`](Self::resume)d.
    pub fn commit(self: &Rc<Self>) -> Result<(), Error> {
        let length = {
            let state = self.state.borrow();
            if let Some(failure) = &state.failure {
                return Err(failure.clone().into());
            }
            state.length.unwrap_or(state.end)
        };
        self.state.borrow_mut().committed = true;
        self.set_length(length)
    }

    /// The fill ended without its bytes. Readers of what is present go on; readers of what is not
    /// get `failure`.
    pub fn fail(&self, failure: Failure) {
        self.state.borrow_mut().failure.get_or_insert(failure);
        self.readers.wake(|_| true);
        self.fills.wake(|()| true);
    }

    /// The bytes of `range` that are missing do not come, though others may. Readers whose next byte
    /// is one of them get `failure`, until somebody sets out anew, by a new demand or a jump, from
    /// where the way leads there.
    pub fn fail_range(&self, range: Range<u64>, failure: Failure) {
        self.state.borrow_mut().lose_range(range, failure);
        self.wake_readers();
    }

    /// Whether the byte at `position` is one that [`fail_range`](Self::fail_range) said will not
    /// come, and nobody has asked for it since.
    pub fn is_lost(&self, position: u64) -> bool {
        self.state.borrow().lost_at(position).is_some()
    }

    /// Another fill begins: a failure of the one before is forgotten, and readers wait again.
    pub fn resume(&self) {
        let mut state = self.state.borrow_mut();
        state.failure = None;
        state.lost.clear();
    }

    /// What the readers want now.
    pub fn demands(&self) -> Vec<Demand> {
        self.demands.list()
    }

    /// Resolves when, after this call, a demand came, moved or went, or wanted bytes were lost.
    pub fn demands_changed(&self) -> impl Future<Output = ()> {
        self.demands.changed()
    }

    // ---- readers ----

    /// Says that a reader wants `range`, for as long as the guard lives.
    pub fn demand(self: &Rc<Self>, range: Range<u64>, epoch: u64) -> DemandGuard {
        self.state.borrow_mut().ask_anew(range.start);
        let key = self.demands.add(Demand { range, epoch });
        self.note_demands();
        DemandGuard { resource: Rc::clone(self), key }
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
    /// read there, from disk they are one read of the chunk, verified. A chunk that fails its
    /// checksum is counted and gone.
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
        let index = position / CHUNK_BYTES;
        loop {
            let at_hand = self.state.borrow_mut().at_hand(position, max, &self.pool)?;
            let stored = match at_hand {
                AtHand::Bytes(bytes) => return Ok(Some(bytes)),
                AtHand::Nothing => return Ok(None),
                AtHand::OnDisk(stored) => stored,
            };
            if self.loading.borrow().contains(&index) {
                let ended = || (!self.loading.borrow().contains(&index)).then_some(());
                self.joined.until(|| index, ended).await;
                continue;
            }
            let Some(piece) = self.load(index, &stored).await? else { return Ok(None) };
            let bytes = slice_of(&piece, position, max);
            self.state.borrow_mut().recent = Some(piece);
            return Ok(bytes);
        }
    }

    // ---- how a chunk comes ----

    async fn write_piece(self: &Rc<Self>, at: u64, piece: &[u8]) -> Result<(), Error> {
        let index = at / CHUNK_BYTES;
        // What was looked at may have changed after each wait, so it is looked at again.
        while !self.state.borrow().present.covers(&(at..at + piece.len() as u64)) {
            if !self.has_room(index) {
                self.room(at).await;
                continue;
            }
            if let Some(stored) = self.open_chunk(index)? {
                let piece = self.load(index, &stored).await?;
                self.reopen(index, &stored, piece)?;
                continue;
            }
            self.state.borrow_mut().add(at, piece);
            self.freeze_if_complete(index);
            self.wake_readers();
        }
        Ok(())
    }

    /// Makes a chunk one that is being filled. Where it is partly on disk it has to be read first.
    fn open_chunk(&self, index: u64) -> Result<Option<Stored>, Error> {
        let mut state = self.state.borrow_mut();
        let filling = match state.chunks.get(&index) {
            Some(Chunk::Filling(_)) => return Ok(None),
            Some(Chunk::Stored(stored)) => return Ok(Some(stored.clone())),
            Some(Chunk::Memory(memory)) => {
                Filling::new(self.take()?, memory.part.start, &memory.bytes())
            }
            None => Filling::new(self.take()?, 0, &[]),
        };
        state.kept.retain(|kept| *kept != index);
        state.chunks.insert(index, Chunk::Filling(filling));
        Ok(None)
    }

    /// A partial chunk was read to be extended: it is filled again, unless it changed meanwhile.
    fn reopen(&self, index: u64, was: &Stored, piece: Option<Piece>) -> Result<(), Error> {
        let Some((_, bytes)) = piece else { return Ok(()) };
        let block = self.take()?;
        let mut state = self.state.borrow_mut();
        if state.is_still(index, was) {
            state.stored_bytes -= was.extent.bytes() as u64;
            let filling = Filling::new(block, was.part.start, &bytes);
            state.chunks.insert(index, Chunk::Filling(filling));
        }
        Ok(())
    }

    fn take(&self) -> Result<BlockMut, Error> {
        Ok(self.pool.take(Class::Large)?)
    }

    fn freeze_if_complete(self: &Rc<Self>, index: u64) {
        if self.state.borrow().is_full(index) {
            self.freeze(index);
        }
    }

    /// Ends the filling of a chunk and sends it to the disk, or keeps it.
    fn freeze(self: &Rc<Self>, index: u64) {
        let mut state = self.state.borrow_mut();
        let Some(Chunk::Filling(filling)) = state.chunks.remove(&index) else { return };
        state.last_token += 1;
        let memory = filling.freeze(state.last_token);
        let token = memory.token;
        state.chunks.insert(index, Chunk::Memory(memory.clone()));
        let would_be_stored = state.stored_bytes + memory.blocks().len() as u64;
        state.check_size(would_be_stored);
        let volume = state.volume.clone();
        drop(state);
        match volume.map(|volume| self.store(index, &volume, &memory)) {
            Some(Ok(())) => self.store_kept(),
            None | Some(Err(_)) => self.keep(index, token),
        }
    }

    /// Chunks that had no memory to be written with, the oldest first: tried again whenever some may
    /// be there.
    fn store_kept(self: &Rc<Self>) {
        loop {
            let mut state = self.state.borrow_mut();
            let Some(volume) = state.volume.clone() else { return };
            if state.writes_in_flight >= WRITES_IN_FLIGHT {
                return;
            }
            let Some(index) = state.kept.pop_front() else { return };
            let Some(Chunk::Memory(memory)) = state.chunks.get(&index) else { continue };
            let memory = memory.clone();
            drop(state);
            if self.store(index, &volume, &memory).is_err() {
                return self.state.borrow_mut().kept.push_front(index);
            }
        }
    }

    /// Begins to write a frozen chunk.
    ///
    /// # Errors
    /// [`Refused`]; where the volume is full it is not asked again.
    fn store(
        self: &Rc<Self>,
        index: u64,
        volume: &Rc<Volume>,
        memory: &Memory,
    ) -> Result<(), Refused> {
        let (token, part) = (memory.token, memory.part.clone());
        let checksum = checksum(&self.identity(index, part.clone()), &memory.bytes());
        self.state.borrow_mut().writes_in_flight += 1;
        let me = Rc::downgrade(self);
        let begun = volume.store(memory.blocks(), move |written| {
            let Some(me) = me.upgrade() else { return };
            me.written(index, token, written.map(|extent| Stored { extent, part, checksum }));
        });
        begun.inspect_err(|refused| {
            self.state.borrow_mut().writes_in_flight -= 1;
            if *refused == Refused::NoSpace {
                self.counters.count(|stats| stats.no_space += 1);
                self.state.borrow_mut().volume = None;
            }
        })
    }

    /// A write ended.
    fn written(self: &Rc<Self>, index: u64, token: u64, stored: io::Result<Stored>) {
        self.state.borrow_mut().writes_in_flight -= 1;
        match stored {
            Ok(stored) => {
                let wanted = self.is_wanted(index);
                self.state.borrow_mut().settle(index, token, stored, wanted);
                self.store_kept();
            }
            Err(_) => {
                self.state.borrow_mut().volume = None;
                self.keep(index, token);
                // In memory a wait is satisfied with less.
                self.wake_readers();
            }
        }
        self.fills.wake(|()| true);
    }

    // ---- what is kept in memory ----

    /// No disk takes this chunk: it stays in memory as long as there is room.
    fn keep(&self, index: u64, token: u64) {
        let mut state = self.state.borrow_mut();
        if state.frozen(index, token).is_none() {
            return;
        }
        state.kept.push_back(index);
        drop(state);
        self.counters.count(|stats| stats.kept_chunks += 1);
        self.shrink();
    }

    /// Drops the oldest kept chunks that nobody wants, until the rest is within the bound.
    fn shrink(&self) {
        while self.state.borrow().kept_bytes() > self.keep_bytes {
            let unwanted = self.oldest_unwanted();
            let Some(index) = unwanted else { return };
            self.counters.count(|stats| stats.dropped_chunks += 1);
            self.state.borrow_mut().forget(index);
        }
    }

    fn oldest_unwanted(&self) -> Option<u64> {
        self.state.borrow().kept.iter().copied().find(|index| !self.is_wanted(*index))
    }

    fn is_wanted(&self, index: u64) -> bool {
        let chunk = index * CHUNK_BYTES..(index + 1) * CHUNK_BYTES;
        let wants = |range: &Range<u64>| range.start < chunk.end && chunk.start < range.end;
        self.demands.any(wants) || self.is_needed(index)
    }

    /// Whether a reader cannot go on without this chunk. Such a chunk always has room, or readers
    /// whose demands fill the memory would wait for each other for ever; what that adds to the bound
    /// is a chunk per reader.
    fn is_needed(&self, index: u64) -> bool {
        let begins = |range: &Range<u64>| range.start / CHUNK_BYTES == index;
        self.demands.any(begins) || self.readers.any(begins)
    }

    fn has_room(&self, index: u64) -> bool {
        let state = self.state.borrow();
        if state.chunks.contains_key(&index) {
            return true;
        }
        if state.volume.is_some() {
            return state.writes_in_flight < WRITES_IN_FLIGHT;
        }
        state.kept_bytes() + CHUNK_BYTES <= self.keep_bytes
            || self.is_needed(index)
            || self.oldest_unwanted().is_some()
    }

    /// Demands changed: what was wanted may not be any more.
    fn note_demands(self: &Rc<Self>) {
        if self.demands.is_empty() {
            self.state.borrow_mut().recent = None;
        }
        self.store_kept();
        self.shrink();
        self.fills.wake(|()| true);
    }

    // ---- how a chunk comes back ----

    /// Reads a chunk from disk and verifies it; `None` where it is not what was written. Then it is
    /// no longer present, and whoever wants it fetches it again.
    async fn load(&self, index: u64, stored: &Stored) -> Result<Option<Piece>, Error> {
        let _loading = Loading::begin(self, index);
        let read = match stored.extent.read().await {
            Err(Error::Exhausted(exhausted)) => return Err(exhausted.into()),
            read => read.ok(),
        };
        let Some(read) = read else {
            self.counters.count(|stats| stats.read_errors += 1);
            self.lose(index, stored);
            return Ok(None);
        };
        self.counters.count(|stats| {
            stats.reads += 1;
            stats.read_bytes += read.len() as u64;
        });
        let bytes = stored.valid(&read);
        if checksum(&self.identity(index, stored.part.clone()), &bytes) != stored.checksum {
            self.counters.count(|stats| stats.corrupt_chunks += 1);
            self.lose(index, stored);
            return Ok(None);
        }
        Ok(Some((index * CHUNK_BYTES + u64::from(stored.part.start), bytes)))
    }

    fn identity(&self, chunk: u64, part: Range<u32>) -> Identity {
        Identity { object: self.object, generation: self.generation, chunk, part }
    }

    /// The disk lost a chunk.
    fn lose(&self, index: u64, stored: &Stored) {
        let mut state = self.state.borrow_mut();
        if state.is_still(index, stored) {
            tracing::warn!(object = %self.object, chunk = index, "a chunk on disk is lost");
            state.forget(index);
            drop(state);
            self.demands.note_change();
        }
    }

    fn wake_readers(&self) {
        let state = self.state.borrow();
        self.readers.wake(|range| state.look(range).is_some());
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.readers.len() + self.fills.len() + self.joined.len()
    }
}

impl State {
    fn new(volume: Option<Rc<Volume>>) -> Self {
        Self {
            volume,
            length: None,
            end: 0,
            committed: false,
            failure: None,
            lost: VecDeque::new(),
            present: RangeSet::default(),
            chunks: BTreeMap::new(),
            kept: VecDeque::new(),
            writes_in_flight: 0,
            stored_bytes: 0,
            last_token: 0,
            recent: None,
        }
    }

    /// How a wait for `range` ends now; `None` while it does not.
    fn look(&self, range: &Range<u64>) -> Option<Result<Wait, Failure>> {
        let end = self.length.map_or(range.end, |length| range.end.min(length));
        // In memory there may never be room for all of it at once.
        let chunk_end = (range.start / CHUNK_BYTES + 1).saturating_mul(CHUNK_BYTES);
        let end = if self.volume.is_none() { end.min(chunk_end) } else { end };
        if self.committed && self.length.is_some_and(|length| range.start >= length) {
            return Some(Ok(Wait::Eof));
        }
        let is_here = range.start < end && self.present.covers(&(range.start..end));
        if is_here || range.is_empty() {
            return Some(Ok(Wait::Ready));
        }
        let gap = || self.present.next_gap(range.start..end).map_or(range.start, |gap| gap.start);
        let failure = self.failure.as_ref().or_else(|| self.lost_at(gap()))?;
        match self.present.present_from(range.start) {
            Some(_) => Some(Ok(Wait::Ready)),
            None => Some(Err(failure.clone())),
        }
    }

    fn lose_range(&mut self, range: Range<u64>, failure: Failure) {
        self.lost.push_back((range, failure));
        if self.lost.len() > LOST_RANGES {
            self.lost.pop_front();
        }
    }

    /// Why the missing byte at `position` does not come.
    fn lost_at(&self, position: u64) -> Option<&Failure> {
        let lost = self.lost.iter().rev().find(|(range, _)| range.contains(&position));
        lost.map(|(_, failure)| failure)
    }

    /// Somebody sets out from `position`: what is lost on that way is tried again.
    fn ask_anew(&mut self, position: u64) {
        self.lost.retain(|(lost, _)| lost.end <= position);
    }

    fn at_hand(&mut self, position: u64, max: usize, pool: &BufPool) -> Result<AtHand, Error> {
        if self.present.present_from(position).is_none() || max == 0 {
            return Ok(AtHand::Nothing);
        }
        let (index, at) = (position / CHUNK_BYTES, (position % CHUNK_BYTES) as u32);
        let bytes = match self.chunks.get_mut(&index) {
            None => None,
            Some(Chunk::Filling(filling)) => filling.read(at, max, pool)?,
            Some(Chunk::Memory(memory)) => {
                let start = index * CHUNK_BYTES + u64::from(memory.part.start);
                slice_of(&(start, memory.bytes()), position, max)
            }
            Some(Chunk::Stored(stored)) => {
                let recent =
                    self.recent.as_ref().and_then(|recent| slice_of(recent, position, max));
                if recent.is_none() {
                    return Ok(AtHand::OnDisk(stored.clone()));
                }
                recent
            }
        };
        Ok(bytes.map_or(AtHand::Nothing, AtHand::Bytes))
    }

    /// Adds bytes to a chunk that is being filled.
    fn add(&mut self, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        if let Some(Chunk::Filling(filling)) = self.chunks.get_mut(&(at / CHUNK_BYTES)) {
            filling.add((at % CHUNK_BYTES) as u32, bytes);
            self.present.insert(at..end);
            // They came after all.
            self.lost.retain(|(lost, _)| lost.end <= at || end <= lost.start);
            self.end = self.end.max(end);
        }
    }

    /// Whether a chunk that is being filled has all the bytes it will ever have.
    fn is_full(&self, index: u64) -> bool {
        let start = index * CHUNK_BYTES;
        let end = self.length.unwrap_or(u64::MAX).min(start + CHUNK_BYTES);
        let Some(Chunk::Filling(filling)) = self.chunks.get(&index) else { return false };
        end > start && filling.is_complete(end - start)
    }

    /// Chunks that are being filled and can be stored as they are. Those with holes stay in memory.
    fn partial(&self) -> Vec<u64> {
        let is_partial = |chunk: &Chunk| matches!(chunk, Chunk::Filling(f) if f.is_one_part());
        self.chunks.iter().filter(|(_, chunk)| is_partial(chunk)).map(|(index, _)| *index).collect()
    }

    /// An object may hold half its volume (RULES 2); the rest of a larger one goes through memory.
    fn check_size(&mut self, bytes: u64) {
        if self.volume.as_ref().is_some_and(|volume| bytes > volume.capacity_bytes() / 2) {
            self.volume = None;
        }
    }

    /// A chunk is on disk now: its memory is let go of, unless someone is about to read it.
    fn settle(&mut self, index: u64, token: u64, stored: Stored, wanted: bool) {
        let Some(memory) = self.frozen(index, token) else { return };
        let piece = (index * CHUNK_BYTES + u64::from(memory.part.start), memory.bytes());
        if wanted {
            self.recent = Some(piece);
        }
        self.stored_bytes += stored.extent.bytes() as u64;
        self.chunks.insert(index, Chunk::Stored(stored));
    }

    /// The chunk, if it is still the frozen one that `token` names.
    fn frozen(&mut self, index: u64, token: u64) -> Option<&mut Memory> {
        match self.chunks.get_mut(&index) {
            Some(Chunk::Memory(memory)) if memory.token == token => Some(memory),
            _ => None,
        }
    }

    fn is_still(&self, index: u64, stored: &Stored) -> bool {
        let same = |extent: &Rc<Extent>| Rc::ptr_eq(extent, &stored.extent);
        matches!(self.chunks.get(&index), Some(Chunk::Stored(now)) if same(&now.extent))
    }

    fn kept_bytes(&self) -> u64 {
        self.kept.len() as u64 * CHUNK_BYTES
    }

    /// Takes a frozen chunk out: its bytes are missing.
    fn forget(&mut self, index: u64) {
        let Some(chunk) = self.chunks.remove(&index) else { return };
        if let Chunk::Stored(stored) = &chunk {
            self.stored_bytes -= stored.extent.bytes() as u64;
        }
        if let Some(part) = chunk.part() {
            let start = index * CHUNK_BYTES;
            self.present.remove(start + u64::from(part.start)..start + u64::from(part.end));
        }
        self.kept.retain(|kept| *kept != index);
    }
}

/// Where the bytes at a position can be had.
enum AtHand {
    Bytes(Block),
    OnDisk(Stored),
    Nothing,
}

/// What of a piece lies at `position`, at most `max` bytes.
fn slice_of((start, bytes): &Piece, position: u64, max: usize) -> Option<Block> {
    let from = usize::try_from(position.checked_sub(*start)?).ok()?;
    let to = bytes.len().min(from.saturating_add(max));
    (from < to).then(|| bytes.slice(from..to))
}

/// A chunk is being read from disk; those who joined go on when this is dropped.
struct Loading<'a> {
    resource: &'a StreamingResource,
    index: u64,
}

impl<'a> Loading<'a> {
    fn begin(resource: &'a StreamingResource, index: u64) -> Self {
        resource.loading.borrow_mut().insert(index);
        Self { resource, index }
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.resource.loading.borrow_mut().remove(&self.index);
        self.resource.joined.wake(|index| *index == self.index);
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
        self.resource.demands.replace(self.key, Demand { range, epoch });
        self.resource.note_demands();
    }
}

impl Drop for DemandGuard {
    fn drop(&mut self) {
        self.resource.demands.withdraw(self.key);
        self.resource.note_demands();
    }
}
