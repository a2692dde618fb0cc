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

mod fill;
mod kept;
mod read;
mod state;

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    ops::Range,
    rc::Rc,
};

pub use self::read::DemandGuard;
use self::state::{Keeping, State, in_object};
use super::{
    CHUNK_BYTES, Generation, ObjectId, checksum::Identity, chunk_map::NUMBERS, demands::Demands,
    format::Filled, stats::Counters, volume::Home, waiters::Waiters,
};
use crate::bufpool::{Block, BufPool};

/// Chunks of one resource on their way to the disk at once; a fill waits for the oldest beyond. Four
/// fills at a time keep as much under way as fio does eight writes of 256 KiB deep; with half of it they
/// reached 0.77 of fio, with this 0.93 (`cargo bench --bench storage -- fills`).
pub const WRITES_IN_FLIGHT: usize = 8;

/// What a resource keeps in memory once its cache is off, in bytes (`read_ahead_bytes` of RULES).
pub const KEEP_BYTES: u64 = 1 << 20;

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
    /// Chunks that are read from disk now: a second reader joins instead of reading again, and gets
    /// what the first one read.
    loading: RefCell<BTreeMap<u32, Rc<OnceCell<Piece>>>>,
    joined: Waiters<u32>,
    /// Told when the disk lost bytes.
    on_loss: RefCell<Option<Rc<dyn Fn()>>>,
}

/// Bytes and where they start in the resource.
type Piece = (u64, Block);

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
            on_loss: RefCell::default(),
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

    /// Whether new chunks go to disk. That it holds half its volume, a full volume or a failing disk
    /// turn that off for this resource; what is on disk stays readable.
    pub fn is_cached(&self) -> bool {
        self.state.borrow().is_cached()
    }

    /// What it may hold of its volume, in bytes (RULES 2): the rest of a longer object goes through
    /// memory. 0 where it has no place on disk.
    pub fn share_bytes(&self) -> u64 {
        self.home.as_ref().map_or(0, Home::share_bytes)
    }

    /// Whether it holds its share, so that only because of that no more is kept.
    pub fn has_its_share(&self) -> bool {
        self.state.borrow().keeping == Keeping::Head
    }

    /// Whether it is known to be longer than that.
    pub fn is_long(&self) -> bool {
        let length = self.length().unwrap_or(0);
        self.home.as_ref().is_some_and(|home| length > home.share_bytes())
    }

    /// How much of its share is left.
    pub fn share_left_bytes(&self) -> u64 {
        match self.is_cached() {
            true => self.share_bytes().saturating_sub(self.held_bytes(&self.state.borrow())),
            false => 0,
        }
    }

    /// Whether the disk keeps all of `range`, as far as can be told now.
    pub fn keeps(&self, range: Range<u64>) -> bool {
        let length = self.length();
        let end = length.map_or(range.end, |length| length.min(range.end));
        let missing_bytes = self.state.borrow().present.missing_bytes(range.start.min(end)..end);
        self.is_cached() && (!self.is_long() || missing_bytes <= self.share_left_bytes())
    }

    /// The bytes that it holds on disk, with those on their way.
    fn held_bytes(&self, state: &State) -> u64 {
        self.stored_bytes() + state.writes_in_flight as u64 * CHUNK_BYTES
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

    /// Bytes of `range` that are on disk.
    pub fn stored_bytes_of(&self, range: &Range<u64>) -> u64 {
        let chunks = self.home.as_ref().map(Home::chunks).unwrap_or_default();
        let parts = chunks.iter().map(|chunk| in_object(u64::from(chunk.chunk), &chunk.part));
        let inside = parts.map(|part| part.start.max(range.start)..part.end.min(range.end));
        inside.map(|part| part.end.saturating_sub(part.start)).sum()
    }

    /// Bytes of `range` that are missing.
    pub fn missing_bytes(&self, range: Range<u64>) -> u64 {
        self.state.borrow().present.missing_bytes(range)
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

    /// The first `most` ranges of bytes that are present, in order.
    pub fn ranges(&self, most: usize) -> Vec<Range<u64>> {
        self.state.borrow().present.iter().take(most).cloned().collect()
    }

    /// The first missing range inside `within`: what to fetch next.
    pub fn next_gap(&self, within: Range<u64>) -> Option<Range<u64>> {
        self.state.borrow().present.next_gap(within)
    }

    /// Where a chunk lies on disk.
    fn stored(&self, index: u64) -> Option<Filled> {
        self.home.as_ref()?.chunk(u32::try_from(index).ok().filter(|chunk| *chunk < NUMBERS)?)
    }

    fn identity(&self, chunk: u32, part: Range<u32>) -> Identity {
        let (object, generation) = (self.object, self.generation);
        Identity { object, generation, chunk: u64::from(chunk), part }
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
