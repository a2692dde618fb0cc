//! The fill's side of a resource: how a chunk comes, and where it goes.

use std::{future::Future, io, ops::Range, rc::Rc};

use super::{
    POSITIONS, Piece, Said, StreamingResource,
    state::{Keeping, State},
};
use crate::{
    bufpool::{Block, BlockMut, Class, Exhausted},
    storage::{
        BLOCK_BYTES, CHUNK_BYTES, Demand, Error, Failure,
        checksum::checksum,
        chunk::{Chunk, Filling, Memory, valid},
        chunk_map::NUMBERS,
        format::{Filled, HEAD_CHUNK, Meta},
        volume::{Home, Refused, Reserved},
    },
};

impl StreamingResource {
    /// The resource is `length` bytes long.
    ///
    /// # Errors
    /// [`Error::LengthChanged`] where another length was said or more bytes are here. Too long an
    /// object is no error: see [`share_bytes`](Self::share_bytes).
    pub fn set_length(self: &Rc<Self>, length: u64) -> Result<(), Error> {
        let tail = {
            let mut state = self.state.borrow_mut();
            let known = state.length.unwrap_or(length.min(POSITIONS).max(state.end));
            if known != length {
                return Err(Error::LengthChanged { known, said: length });
            }
            state.length = Some(length);
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
    /// while less than [`WRITES_IN_FLIGHT`](super::WRITES_IN_FLIGHT) chunks are on their way to the
    /// disk, or, in memory, while there is room, something unwanted to drop, or a reader that waits
    /// for this very chunk.
    ///
    /// A fill waits for this and for [`demands_changed`](Self::demands_changed) together: the reader
    /// for whom it wanted to write may have gone, and another may need another chunk.
    ///
    /// # Cancellation
    /// Nothing is reserved; a dropped future leaves no trace.
    pub async fn room(&self, position: u64) {
        self.fills.until(|| (), || self.has_room(position / CHUNK_BYTES).then_some(())).await
    }

    /// Sends the chunk that `position` lies in to the disk as it is, though it is not full: its bytes
    /// came a while ago, and are to outlive a crash. More of it can be written all the same; then
    /// what is on disk is read again, and written anew elsewhere.
    pub fn save(self: &Rc<Self>, position: u64) {
        let index = position / CHUNK_BYTES;
        let may_go = |state: &State| state.is_cached() && state.partial().contains(&index);
        if may_go(&self.state.borrow()) {
            self.freeze(index);
        }
    }

    /// Sends what a run of writes left, chunks that are not full, to the disk with their valid part.
    ///
    /// Whenever a run ends, also by a seek or a failure: only chunks that have been ended count towards
    /// the bound of what is kept in memory.
    pub fn end_chunks(self: &Rc<Self>) {
        let partial = self.state.borrow().partial();
        partial.into_iter().for_each(|index| self.freeze(index));
        self.store_kept();
    }

    /// [Ends](Self::end_chunks) what an ended fill left, and waits until all writes have ended. Whether
    /// the disk took them is in [`is_cached`](Self::is_cached) and [`Stats`](crate::storage::Stats): no
    /// byte is lost to readers.
    ///
    /// # Cancellation
    /// The writes go on.
    pub async fn flush(self: &Rc<Self>) {
        self.end_chunks();
        self.settled().await;
    }

    /// Waits until what is on its way to the disk is there, or was not taken.
    ///
    /// # Cancellation
    /// The writes go on.
    pub async fn settled(&self) {
        self.fills.until(|| (), || (self.state.borrow().writes_in_flight == 0).then_some(())).await
    }

    /// Begins once more to write what its volume did not take at the time, as its journal is behind, or
    /// memory was short; whether some of that is left all the same. Nobody is told when it may be taken:
    /// it is to be tried again after a while.
    pub fn store_left(self: &Rc<Self>) -> bool {
        if self.home.as_ref().is_none_or(Home::is_dropped) {
            return false;
        }
        self.store_kept();
        self.state.borrow().has_left()
    }

    /// The fill ended well: the length is true, and a reader at it gets [`Wait::Eof`](super::Wait::Eof). Where no
    /// length was said it is the end of the bytes that came.
    ///
    /// # Errors
    /// [`Error::Failed`] where the fill had failed.
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

    /// No more of it goes to disk: what would be kept would be of no use.
    pub fn pass_through(&self) {
        self.state.borrow_mut().keeping = Keeping::Nothing;
        self.wake_readers();
    }

    /// What was said of it at its origin, kept beside its bytes as they are: the response head, at
    /// most a chunk long, and in the journal when it was `born`, when it `expires` (in seconds of
    /// Unix time) and a hash of its validator.
    pub fn set_head(self: &Rc<Self>, head: &[u8], said: Said) {
        let Some(home) = &self.home else { return };
        let Said { born, expires, validator } = said;
        home.set_meta(Meta { born, expires, validator, ..home.meta() });
        if head.is_empty() || head.len() > CHUNK_BYTES as usize {
            return;
        }
        self.state.borrow_mut().head = Some(head.into());
        self.store_head();
    }

    /// What [`set_head`](Self::set_head) was told, before this start or after it.
    pub fn said(&self) -> Option<Said> {
        let Meta { born, expires, validator, .. } = self.home.as_ref()?.meta();
        Some(Said { born, expires, validator })
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

    /// What the readers want now.
    pub fn demands(&self) -> Vec<Demand> {
        self.demands.list()
    }

    /// Resolves when, after this call, a demand came, moved or went, or wanted bytes were lost.
    pub fn demands_changed(&self) -> impl Future<Output = ()> {
        self.demands.changed()
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
                // First, so that nothing is read that there is no room for.
                let block = self.take()?;
                let piece = self.piece(&stored).await?;
                self.reopen(index, &stored, block, piece);
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
    fn reopen(&self, index: u64, was: &Filled, block: BlockMut, piece: Option<Piece>) {
        let Some((_, bytes)) = piece else { return };
        let mut state = self.state.borrow_mut();
        if !state.chunks.contains_key(&index) && self.stored(index).as_ref() == Some(was) {
            let filling = Filling::new(block, was.part.start, &bytes);
            state.chunks.insert(index, Chunk::Filling(filling));
        }
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
        drop(state);
        match self.store(index, &memory) {
            Ok(()) => self.store_kept(),
            Err(_) => self.keep(index, token),
        }
    }

    /// Begins to write a frozen chunk.
    ///
    /// # Errors
    /// [`Refused`]; where the volume takes nothing it is not asked again.
    pub(super) fn store(self: &Rc<Self>, index: u64, memory: &Memory) -> Result<(), Refused> {
        if !self.is_cached() || !self.has_share_for(memory.blocks().len() as u64) {
            return Err(Refused::Off);
        }
        let (token, part) = (memory.token, memory.part.clone());
        let chunk = u32::try_from(index).ok().filter(|chunk| *chunk < NUMBERS);
        let chunk = chunk.ok_or(Refused::Off)?;
        let sum = checksum(&self.identity(chunk, part.clone()), &memory.bytes());
        self.begin_write(memory.blocks(), move |me, written| match written {
            Ok(reserved) => me.written(index, token, (reserved, chunk, part, sum)),
            Err(_) => me.not_written(index, token),
        })
    }

    /// Begins to write the response head, where the disk does not have it yet. Without it the object
    /// is of no use, so it waits for memory.
    pub(super) fn store_head(self: &Rc<Self>) {
        let Some(head) = self.state.borrow_mut().head.take() else { return };
        if self.begin_head(&head) == Err(Refused::Later) {
            self.state.borrow_mut().head = Some(head);
        }
    }

    fn begin_head(self: &Rc<Self>, head: &[u8]) -> Result<(), Refused> {
        let length = head.len().next_multiple_of(BLOCK_BYTES as usize);
        let block = self.pool.take(Class::holding(length));
        let mut block = block.map_err(|Exhausted| Refused::Later)?;
        block[..head.len()].copy_from_slice(head);
        block[head.len()..].fill(0);
        let (blocks, part) = (block.freeze(length), 0..head.len() as u32);
        let sum = checksum(&self.identity(HEAD_CHUNK, part.clone()), &valid(&part, &blocks));
        self.begin_write(blocks, move |me, written| {
            if let (Ok(reserved), Some(home)) = (written, &me.home) {
                home.filled(reserved, HEAD_CHUNK, part, sum);
            }
        })
    }

    fn begin_write(
        self: &Rc<Self>,
        blocks: Block,
        done: impl FnOnce(&Rc<Self>, io::Result<Reserved>) + 'static,
    ) -> Result<(), Refused> {
        if self.state.borrow().keeping == Keeping::Nothing {
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
                self.state.borrow_mut().keeping = Keeping::Nothing;
            }
        })
    }

    /// A chunk is on disk. Where somebody reads the object, others may follow right behind: then the
    /// chunk stays warm.
    fn written(
        self: &Rc<Self>,
        index: u64,
        token: u64,
        (reserved, chunk, part, sum): (Reserved, u32, Range<u32>, u32),
    ) {
        // Where more has come meanwhile, what was written is not the chunk any more.
        let settled = self.state.borrow_mut().settle(index, token);
        if let (Some(bytes), Some(home)) = (settled, &self.home) {
            let filled = home.filled(reserved, chunk, part, sum);
            if !self.demands.is_empty() {
                home.keep_warm(&filled, bytes);
            }
        }
        self.store_kept();
    }

    /// The disk did not take a chunk.
    fn not_written(self: &Rc<Self>, index: u64, token: u64) {
        self.state.borrow_mut().keeping = Keeping::Nothing;
        self.keep(index, token);
        // In memory a wait is satisfied with less.
        self.wake_readers();
    }

    /// Whether so many bytes more are within its share; where they are not, no other chunk is kept.
    fn has_share_for(&self, bytes: u64) -> bool {
        let mut state = self.state.borrow_mut();
        let is_short = state.length.is_some_and(|length| length <= self.share_bytes());
        if is_short || self.held_bytes(&state) + bytes <= self.share_bytes() {
            return true;
        }
        state.keeping = Keeping::Head;
        drop(state);
        self.counters.count(|stats| stats.long_objects += 1);
        // In memory a wait is satisfied with less.
        self.wake_readers();
        false
    }
}
