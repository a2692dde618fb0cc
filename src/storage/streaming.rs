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
    BLOCK_BYTES, CHUNK_BYTES, Error, Failure, Generation, ObjectId,
    checksum::{Identity, checksum},
    chunk::{Chunk, Filling, Memory, valid},
    chunk_map::NUMBERS,
    demands::{Demand, Demands},
    format::{Filled, HEAD_CHUNK, Meta},
    range_set::RangeSet,
    stats::Counters,
    volume::{Home, Refused, Reserved},
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
    /// Where its chunks lie on disk; `None` where no volume takes it.
    home: Option<Home>,
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

/// The response head in whole blocks, and how many bytes of them it is.
struct ResponseHead {
    blocks: Block,
    bytes: u32,
}

struct State {
    /// Whether new chunks go to disk.
    caching: bool,
    length: Option<u64>,
    /// Behind the last byte that ever came.
    end: u64,
    committed: bool,
    failure: Option<Failure>,
    /// What does not come until somebody asks anew, the oldest first.
    lost: VecDeque<(Range<u64>, Failure)>,
    present: RangeSet,
    /// Those that are not on disk, or not with all their bytes.
    chunks: BTreeMap<u64, Chunk>,
    /// The response head, until the disk has it.
    head: Option<ResponseHead>,
    /// Chunks kept in memory, the oldest first.
    kept: VecDeque<u64>,
    writes_in_flight: usize,
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
        home: Option<Home>,
        counters: Rc<Counters>,
    ) -> Rc<Self> {
        let state = RefCell::new(State::new(home.as_ref()));
        Rc::new(Self {
            object,
            generation,
            pool,
            keep_bytes: keep_bytes.max(2 * CHUNK_BYTES),
            counters,
            home,
            state,
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
        self.state.borrow().caching
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
        self.home.as_ref().map_or(0, Home::stored_bytes)
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
            self.check_size(&mut state, length);
            length.saturating_sub(1) / CHUNK_BYTES
        };
        if let Some(home) = &self.home {
            home.set_meta(Meta { length: Some(length), ..home.meta() });
        }
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
        self.set_length(length)?;
        if let Some(home) = &self.home {
            home.commit(length);
        }
        Ok(())
    }

    /// It is not to be found in the cache any more; who holds it reads on.
    pub fn discard(&self) {
        self.home.iter().for_each(Home::discard);
    }

    /// What was said of it at its origin, kept beside its bytes as they are: the response head, at
    /// most a chunk long, and in the journal when it was `born`, when it `expires` (in seconds of
    /// Unix time) and a hash of its validator.
    pub fn set_head(self: &Rc<Self>, head: &[u8], said: Said) {
        let Some(home) = &self.home else { return };
        let Said { born, expires, validator } = said;
        home.set_meta(Meta { born, expires, validator, ..home.meta() });
        let Ok(mut block) = self.pool.take(Class::Large) else { return };
        if head.is_empty() || head.len() > CHUNK_BYTES as usize {
            return;
        }
        block[..head.len()].copy_from_slice(head);
        block[head.len()..].fill(0);
        let blocks = block.freeze(head.len().next_multiple_of(BLOCK_BYTES as usize));
        self.state.borrow_mut().head = Some(ResponseHead { blocks, bytes: head.len() as u32 });
        self.store_head();
    }

    /// What [`set_head`](Self::set_head) was told, before this start or after it.
    pub fn said(&self) -> Option<Said> {
        let Meta { born, expires, validator, .. } = self.home.as_ref()?.meta();
        Some(Said { born, expires, validator })
    }

    /// The response head, from disk; `None` where it is not there (any more).
    ///
    /// # Errors
    /// [`Error::Exhausted`] where the pool has no block to read into.
    pub async fn head(self: &Rc<Self>) -> Result<Option<Block>, Error> {
        let stored = self.home.as_ref().and_then(|home| home.chunk(HEAD_CHUNK));
        let Some(stored) = stored else { return Ok(None) };
        Ok(self.load(&stored).await?.map(|(_, bytes)| bytes))
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
            let stored = self.stored(index);
            let at_hand = self.state.borrow_mut().at_hand(position, max, stored, &self.pool)?;
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
            let Some(piece) = self.load(&stored).await? else { return Ok(None) };
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
                let piece = self.load(&stored).await?;
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
    fn open_chunk(&self, index: u64) -> Result<Option<Filled>, Error> {
        let mut state = self.state.borrow_mut();
        let filling = match state.chunks.get(&index) {
            Some(Chunk::Filling(_)) => return Ok(None),
            Some(Chunk::Memory(memory)) => {
                Filling::new(self.take()?, memory.part.start, &memory.bytes())
            }
            None => match self.stored(index) {
                Some(stored) => return Ok(Some(stored)),
                None => Filling::new(self.take()?, 0, &[]),
            },
        };
        state.kept.retain(|kept| *kept != index);
        state.chunks.insert(index, Chunk::Filling(filling));
        Ok(None)
    }

    /// A partial chunk was read to be extended: it is filled again, unless it changed meanwhile.
    ///
    /// What is on disk stays there until the record of what takes its place.
    fn reopen(&self, index: u64, was: &Filled, piece: Option<Piece>) -> Result<(), Error> {
        let Some((_, bytes)) = piece else { return Ok(()) };
        let block = self.take()?;
        let mut state = self.state.borrow_mut();
        if !state.chunks.contains_key(&index) && self.stored(index).as_ref() == Some(was) {
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
        let would_be_stored = self.stored_bytes() + memory.blocks().len() as u64;
        self.check_size(&mut state, would_be_stored);
        drop(state);
        match self.store(index, &memory) {
            Ok(()) => self.store_kept(),
            Err(_) => self.keep(index, token),
        }
    }

    /// Chunks that had no memory to be written with, the oldest first: tried again whenever some may
    /// be there.
    fn store_kept(self: &Rc<Self>) {
        loop {
            self.store_head();
            let mut state = self.state.borrow_mut();
            if !state.caching || state.writes_in_flight >= WRITES_IN_FLIGHT {
                return;
            }
            let Some(index) = state.kept.pop_front() else { return };
            let Some(Chunk::Memory(memory)) = state.chunks.get(&index) else { continue };
            let memory = memory.clone();
            drop(state);
            if self.store(index, &memory).is_err() {
                return self.state.borrow_mut().kept.push_front(index);
            }
        }
    }

    /// Begins to write a frozen chunk.
    ///
    /// # Errors
    /// [`Refused`]; where the volume takes nothing it is not asked again.
    fn store(self: &Rc<Self>, index: u64, memory: &Memory) -> Result<(), Refused> {
        let (token, part) = (memory.token, memory.part.clone());
        let chunk = u32::try_from(index).ok().filter(|chunk| *chunk < NUMBERS);
        let chunk = chunk.ok_or(Refused::Off)?;
        let sum = checksum(&self.identity(chunk, part.clone()), &memory.bytes());
        self.begin_write(memory.blocks(), move |me, written| match written {
            Ok(reserved) => me.written(index, token, (reserved, chunk, part, sum)),
            Err(_) => me.not_written(index, token),
        })
    }

    /// Begins to write the response head, where the disk does not have it yet.
    fn store_head(self: &Rc<Self>) {
        let Some(head) = self.state.borrow_mut().head.take() else { return };
        let part = 0..head.bytes;
        let sum = checksum(&self.identity(HEAD_CHUNK, part.clone()), &valid(&part, &head.blocks));
        let its_part = part.clone();
        let begun = self.begin_write(head.blocks.clone(), move |me, written| {
            if let (Ok(reserved), Some(home)) = (written, &me.home) {
                home.filled(reserved, HEAD_CHUNK, its_part, sum);
            }
        });
        if begun == Err(Refused::Later) {
            self.state.borrow_mut().head = Some(head);
        }
    }

    fn begin_write(
        self: &Rc<Self>,
        blocks: Block,
        done: impl FnOnce(&Rc<Self>, io::Result<Reserved>) + 'static,
    ) -> Result<(), Refused> {
        if !self.is_cached() {
            return Err(Refused::Off);
        }
        let home = self.home.as_ref().ok_or(Refused::Off)?;
        self.state.borrow_mut().writes_in_flight += 1;
        let me = Rc::downgrade(self);
        let begun = home.store(blocks, move |written| {
            let Some(me) = me.upgrade() else { return };
            me.state.borrow_mut().writes_in_flight -= 1;
            done(&me, written);
            me.fills.wake(|()| true);
        });
        begun.inspect_err(|refused| {
            self.state.borrow_mut().writes_in_flight -= 1;
            if *refused == Refused::Off {
                self.counters.count(|stats| stats.no_space += 1);
                self.state.borrow_mut().caching = false;
            }
        })
    }

    /// A chunk is on disk: its memory is let go of, unless someone is about to read it.
    fn written(
        self: &Rc<Self>,
        index: u64,
        token: u64,
        (reserved, chunk, part, sum): (Reserved, u32, Range<u32>, u32),
    ) {
        let wanted = self.is_wanted(index);
        // Where more has come meanwhile, what was written is not the chunk any more.
        if self.state.borrow_mut().settle(index, token, wanted)
            && let Some(home) = &self.home
        {
            home.filled(reserved, chunk, part, sum);
        }
        self.store_kept();
    }

    /// The disk did not take a chunk.
    fn not_written(self: &Rc<Self>, index: u64, token: u64) {
        self.state.borrow_mut().caching = false;
        self.keep(index, token);
        // In memory a wait is satisfied with less.
        self.wake_readers();
    }

    /// An object may hold half its volume (RULES 2); the rest of a larger one goes through memory.
    fn check_size(&self, state: &mut State, bytes: u64) {
        if self.home.as_ref().is_some_and(|home| bytes > home.capacity_bytes() / 2) {
            state.caching = false;
        }
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
            let stored = self.stored(index);
            self.state.borrow_mut().forget(index, stored);
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
        if state.chunks.contains_key(&index) || self.stored(index).is_some() {
            return true;
        }
        if state.caching {
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

    /// Where a chunk lies on disk.
    fn stored(&self, index: u64) -> Option<Filled> {
        self.home.as_ref()?.chunk(u32::try_from(index).ok().filter(|chunk| *chunk < NUMBERS)?)
    }

    /// Reads a chunk from disk and verifies it; `None` where it is not what was written. Then it is
    /// no longer present, and whoever wants it fetches it again.
    ///
    /// Blocks that came to another owner while they were read fail the check as rotten ones do.
    async fn load(&self, stored: &Filled) -> Result<Option<Piece>, Error> {
        let Some(home) = &self.home else { return Ok(None) };
        let index = u64::from(stored.chunk);
        let _loading = Loading::begin(self, index);
        let read = match home.read(stored).await {
            Err(Error::Exhausted(exhausted)) => return Err(exhausted.into()),
            read => read.ok(),
        };
        let Some(read) = read else {
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
        Ok(Some((index * CHUNK_BYTES + u64::from(stored.part.start), bytes)))
    }

    fn identity(&self, chunk: u32, part: Range<u32>) -> Identity {
        let (object, generation) = (self.object, self.generation);
        Identity { object, generation, chunk: u64::from(chunk), part }
    }

    /// The disk lost a chunk, unless it was written anew meanwhile.
    fn lose(&self, stored: &Filled, count: impl FnOnce(&mut super::Stats)) {
        let Some(home) = &self.home else { return };
        if home.chunk(stored.chunk).as_ref() != Some(stored) {
            return;
        }
        tracing::warn!(object = %self.object, chunk = stored.chunk, "a chunk on disk is lost");
        self.counters.count(count);
        home.lose(stored.chunk);
        if stored.chunk != HEAD_CHUNK {
            self.state.borrow_mut().absent(stored);
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
    /// With what is on disk already.
    fn new(home: Option<&Home>) -> Self {
        let meta = home.map(Home::meta).unwrap_or_default();
        let stored = home.map(Home::chunks).unwrap_or_default();
        let (present, end) = presence(&stored);
        Self {
            caching: home.is_some(),
            length: meta.length,
            end,
            committed: meta.committed,
            failure: None,
            lost: VecDeque::new(),
            present,
            chunks: BTreeMap::new(),
            head: None,
            kept: VecDeque::new(),
            writes_in_flight: 0,
            last_token: 0,
            recent: None,
        }
    }

    /// How a wait for `range` ends now; `None` while it does not.
    fn look(&self, range: &Range<u64>) -> Option<Result<Wait, Failure>> {
        let end = self.length.map_or(range.end, |length| range.end.min(length));
        // In memory there may never be room for all of it at once.
        let chunk_end = (range.start / CHUNK_BYTES + 1).saturating_mul(CHUNK_BYTES);
        let end = if self.caching { end } else { end.min(chunk_end) };
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

    fn at_hand(
        &mut self,
        position: u64,
        max: usize,
        stored: Option<Filled>,
        pool: &BufPool,
    ) -> Result<AtHand, Error> {
        if self.present.present_from(position).is_none() || max == 0 {
            return Ok(AtHand::Nothing);
        }
        let (index, at) = (position / CHUNK_BYTES, (position % CHUNK_BYTES) as u32);
        let bytes = match self.chunks.get_mut(&index) {
            Some(Chunk::Filling(filling)) => filling.read(at, max, pool)?,
            Some(Chunk::Memory(memory)) => {
                let start = index * CHUNK_BYTES + u64::from(memory.part.start);
                slice_of(&(start, memory.bytes()), position, max)
            }
            None => {
                let recent =
                    self.recent.as_ref().and_then(|recent| slice_of(recent, position, max));
                match stored {
                    Some(stored) if recent.is_none() => return Ok(AtHand::OnDisk(stored)),
                    _ => recent,
                }
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

    /// A chunk is on disk now, if it is still the frozen one that `token` names.
    fn settle(&mut self, index: u64, token: u64, wanted: bool) -> bool {
        let Some(memory) = self.frozen(index, token) else { return false };
        let piece = (index * CHUNK_BYTES + u64::from(memory.part.start), memory.bytes());
        if wanted {
            self.recent = Some(piece);
        }
        self.chunks.remove(&index);
        true
    }

    /// The chunk, if it is still the frozen one that `token` names.
    fn frozen(&mut self, index: u64, token: u64) -> Option<&mut Memory> {
        match self.chunks.get_mut(&index) {
            Some(Chunk::Memory(memory)) if memory.token == token => Some(memory),
            _ => None,
        }
    }

    fn kept_bytes(&self) -> u64 {
        self.kept.len() as u64 * CHUNK_BYTES
    }

    /// Takes a frozen chunk out: its bytes are missing, but for those that are on disk.
    fn forget(&mut self, index: u64, stored: Option<Filled>) {
        let Some(chunk) = self.chunks.remove(&index) else { return };
        if let Some(part) = chunk.part() {
            self.present.remove(in_object(index, &part));
        }
        if let Some(stored) = stored {
            self.present.insert(in_object(index, &stored.part));
        }
        self.kept.retain(|kept| *kept != index);
    }

    /// What was on disk is not, unless it is in memory as well.
    fn absent(&mut self, stored: &Filled) {
        let index = u64::from(stored.chunk);
        if !self.chunks.contains_key(&index) {
            self.present.remove(in_object(index, &stored.part));
        }
    }
}

/// A part of a chunk, as bytes of the object.
fn in_object(index: u64, part: &Range<u32>) -> Range<u64> {
    let start = index * CHUNK_BYTES;
    start + u64::from(part.start)..start + u64::from(part.end)
}

/// What is present when just `stored` is, and where the last of it ends.
fn presence(stored: &[Filled]) -> (RangeSet, u64) {
    let mut present = RangeSet::default();
    let mut run = 0..0;
    for filled in stored {
        let part = in_object(u64::from(filled.chunk), &filled.part);
        if part.start != run.end {
            present.insert(std::mem::replace(&mut run, part));
        } else {
            run.end = part.end;
        }
    }
    let end = run.end;
    present.insert(run);
    (present, end)
}

/// What the origin said of a resource and when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    /// When this generation began, in seconds of Unix time.
    pub born: u64,
    /// Until when it is taken for unchanged, in seconds of Unix time.
    pub expires: u64,
    /// A hash of what tells it from other versions; 0 for nothing.
    pub validator: u64,
}

/// Where the bytes at a position can be had.
enum AtHand {
    Bytes(Block),
    OnDisk(Filled),
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
