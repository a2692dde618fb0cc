//! The one place that waits for bytes.
//!
//! A [`Reader`] stands between a resource that fills while it is read and a decoder that cannot
//! wait. It registers what it wants as a demand, which the layer that fetches serves; it waits
//! until the first of those bytes are present; and it makes them [`Resident`].

use std::{ops::Range, rc::Rc};

use super::{Patience, Resident, ahead::Ahead};
use crate::{
    assets::Lease,
    bufpool::{Block, BufPool},
    runtime::{ReadError, ReadFile},
    storage::{self, CHUNK_BYTES, DemandGuard, Failure, Wait},
};

/// What a read takes at most: a block, and a buffer of the device that it is copied from.
const READ_BYTES: usize = 2 * CHUNK_BYTES as usize;

/// How full the memory may be while bytes are still asked for ahead of their need.
const AHEAD_UP_TO: f64 = 0.8;

/// Where the bytes of a stream come from.
#[derive(Clone)]
pub enum Source {
    /// A resource of the cache, present or being filled.
    Asset(Lease),
    /// A file of a library, read in place.
    File(Rc<ReadFile>),
}

impl Source {
    /// Length of the whole source in bytes, once it is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Source::Asset(lease) => lease.resource.length(),
            Source::File(file) => Some(file.length()),
        }
    }

    /// Whether all of it is on this node.
    pub fn is_here(&self) -> bool {
        match self {
            Source::Asset(lease) => lease.resource.is_complete(),
            Source::File(_) => true,
        }
    }

    /// Whether what is not here yet comes no sooner than all before it.
    fn comes_in_order(&self) -> bool {
        match self {
            Source::Asset(lease) => lease.in_order.get() && !lease.resource.is_complete(),
            Source::File(_) => false,
        }
    }
}

/// Reads one source for one session, forward or by jumps.
///
/// Every jump begins a new epoch. The demand of the epoch before is withdrawn at that moment, so
/// its fetch is cancelled unless others wait for it; and since a fetch in progress borrows the
/// reader, whatever the older epoch still had under way was dropped before: no byte, end or error
/// of it can be delivered late.
pub struct Reader {
    source: Source,
    pool: BufPool,
    resident: Resident,
    ahead: Ahead,
    epoch: u64,
    demand: Option<DemandGuard>,
    /// Where the last fetch ended: a need that begins elsewhere is a jump.
    next: u64,
}

impl Reader {
    /// A reader at the start of `source`. `ahead_bytes` bounds how far ahead it has fetched.
    pub fn new(source: Source, pool: BufPool, ahead_bytes: u64) -> Self {
        let resident = Resident::new(source.length());
        Self {
            source,
            pool,
            resident,
            ahead: Ahead::new(ahead_bytes),
            epoch: 0,
            demand: None,
            next: 0,
        }
    }

    /// Whether all of the source is on this node.
    pub fn has_all(&self) -> bool {
        self.source.is_here()
    }

    /// The bytes that are in memory, for the side that must not wait.
    pub fn resident(&self) -> Resident {
        self.resident.clone()
    }

    /// How many jumps there were.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Waits until at least the first byte of `need` is resident, or the source is known to end
    /// before it; brings more of `need` if it is there without waiting.
    ///
    /// # Errors
    /// The reason for which the bytes cannot be had. Never an end of the source.
    ///
    /// # Cancellation
    /// Bytes that became resident stay so; the demand stays until the next call or the end of the
    /// reader.
    pub async fn fetch(&mut self, need: Range<u64>) -> Result<(), Failure> {
        self.aim(need.start);
        let mut at = self.resident.resident_to(need.start);
        while at < need.end.max(need.start + 1) && !self.resident.at_end(at) {
            if at > need.start && !self.is_present(at) {
                break;
            }
            let Some(block) = self.read(at).await? else { break };
            self.next = at + block.len() as u64;
            self.resident.insert(at, block);
            at = self.next;
        }
        self.resident.set_in_order(self.source.comes_in_order());
        Ok(())
    }

    /// The bytes at `at`, as many as lie together, for who passes them on as they are. `None`: the
    /// source ends there.
    ///
    /// # Errors
    /// The reason for which the bytes cannot be had. Never an end of the source.
    ///
    /// # Cancellation
    /// As [`fetch`](Self::fetch).
    pub async fn block(&mut self, at: u64) -> Result<Option<Block>, Failure> {
        self.aim(at);
        let block = self.read(at).await?;
        self.next = at + block.as_ref().map_or(0, |block| block.len() as u64);
        Ok(block)
    }

    /// Notes where the stream is now: what lies behind is let go, what lies ahead is demanded.
    ///
    /// Who asks for a byte has copied those before it; one that goes back has them read again.
    fn aim(&mut self, position: u64) {
        if self.resident.resident_to(position) == position {
            self.resident.clear();
            if position != self.next {
                self.epoch += 1;
                self.ahead.jumped();
                self.next = position;
            }
        }
        if let Source::Asset(lease) = &self.source {
            // What is resident here need not be fetched again if the cache has let go of it.
            let from = self.resident.resident_to(position);
            let wanted = from..from.saturating_add(self.ahead_bytes());
            match &self.demand {
                Some(demand) => demand.set(wanted, self.epoch),
                None => self.demand = Some(lease.resource.demand(wanted, self.epoch)),
            }
        }
    }

    /// Where memory runs short, what is needed now comes before what will be.
    fn ahead_bytes(&self) -> u64 {
        match self.pool.stats().fullness() > AHEAD_UP_TO {
            true => CHUNK_BYTES.min(self.ahead.bytes()),
            false => self.ahead.bytes(),
        }
    }

    fn is_present(&self, at: u64) -> bool {
        match &self.source {
            Source::Asset(lease) => lease.resource.present_from(at).is_some(),
            Source::File(_) => true,
        }
    }

    /// The bytes at `at`, once they are there and there is memory to read them into. `None`: the
    /// source ends there.
    async fn read(&mut self, at: u64) -> Result<Option<Block>, Failure> {
        let mut patience = Patience::default();
        loop {
            match self.try_read(at).await {
                Err(failure)
                    if lacks_memory(&failure) && patience.wait(&self.pool, READ_BYTES).await => {}
                read => return read,
            }
        }
    }

    async fn try_read(&mut self, at: u64) -> Result<Option<Block>, Failure> {
        let block = match &self.source {
            Source::File(file) => {
                let read = file.read_at(at, CHUNK_BYTES as usize, &self.pool).await;
                read.map_err(Failure::new)?
            }
            Source::Asset(lease) => loop {
                let resource = &lease.resource;
                if resource.present_from(at).is_none() {
                    self.ahead.waited();
                    if let Wait::Eof = resource.wait_range(at..at + 1).await? {
                        break None;
                    }
                }
                // What was present may be gone again (rot, or no room): then one waits anew.
                let read = resource.read_at(at, CHUNK_BYTES as usize).await;
                if let Some(block) = read.map_err(Failure::new)? {
                    break Some(block);
                }
            },
        };
        if block.is_none() {
            self.resident.set_length(self.source.length().unwrap_or(at));
        }
        Ok(block)
    }
}

/// Whether a read found no block; what a fill lacked, it has waited for itself.
fn lacks_memory(failure: &Failure) -> bool {
    matches!(failure.cause(), Some(storage::Error::Exhausted(_)))
        || matches!(failure.cause(), Some(ReadError::Exhausted(_)))
}
