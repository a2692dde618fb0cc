//! The device under a volume: positions and bytes, nothing of objects.
//!
//! Positions and lengths are multiples of 4 KiB, since direct I/O takes no others.

use std::{cell::Cell, io, rc::Rc};

use super::{Error, dma::Dma, sim::Sim, waiters::Waiters};
use crate::bufpool::{Block, BufPool, Exhausted};

/// What direct I/O wants positions and lengths to be multiples of, in bytes. The kernel asks for
/// 512 on most devices and refuses others with EINVAL; 4 KiB suits all of them.
pub(super) const ALIGNMENT: u64 = 4 << 10;

/// A file by direct I/O, or a simulation of one.
#[derive(Clone)]
pub enum Disk {
    /// The real thing.
    Dma(Dma),
    /// In memory, with faults on demand: for tests.
    Sim(Sim),
}

/// What a write puts on the disk.
pub enum Data {
    /// These bytes.
    Bytes(Block),
    /// So many zeros: the file grows.
    Zeros(usize),
}

impl Data {
    pub(super) fn len(&self) -> usize {
        match self {
            Data::Bytes(block) => block.len(),
            Data::Zeros(length) => *length,
        }
    }

    /// Puts the bytes into a buffer of the same length.
    pub(super) fn copy_to(&self, buffer: &mut [u8]) {
        match self {
            Data::Bytes(block) => buffer.copy_from_slice(block),
            Data::Zeros(_) => buffer.fill(0),
        }
    }
}

impl Disk {
    /// Reads `length` bytes, at most 64 KiB, into a block of `pool`.
    ///
    /// # Errors
    /// [`Error::Exhausted`] where the pool has no block, [`Error::Io`] where the device fails or
    /// ends before.
    ///
    /// # Cancellation
    /// Nothing is changed by a read that is dropped.
    pub async fn read(&self, position: u64, length: usize, pool: &BufPool) -> Result<Block, Error> {
        debug_assert!(
            position.is_multiple_of(ALIGNMENT) && (length as u64).is_multiple_of(ALIGNMENT)
        );
        match self {
            Disk::Dma(disk) => disk.read(position, length, pool).await,
            Disk::Sim(disk) => disk.read(position, length, pool).await,
        }
    }

    /// Begins to write `data`; `done` is told how it went, in a later turn of the shard or at once.
    ///
    /// A write that has begun ends, whoever loses interest: blocks may be given to another owner
    /// only after `done`, or the two writes would race. Therefore this is no future.
    ///
    /// # Errors
    /// [`Exhausted`] where the pool's budget has no room for the buffer; nothing has begun.
    pub fn write(
        &self,
        position: u64,
        data: Data,
        pool: &BufPool,
        done: impl FnOnce(io::Result<()>) + 'static,
    ) -> Result<(), Exhausted> {
        debug_assert!(
            position.is_multiple_of(ALIGNMENT) && (data.len() as u64).is_multiple_of(ALIGNMENT)
        );
        match self {
            Disk::Dma(disk) => disk.write(position, data, pool, done),
            Disk::Sim(disk) => {
                // As much memory as the real thing takes.
                let charge = pool.charge(data.len())?;
                disk.write(position, data, move |outcome| {
                    drop(charge);
                    done(outcome);
                });
                Ok(())
            }
        }
    }

    /// [`write`](Self::write), waited for.
    ///
    /// # Errors
    /// [`Error::Exhausted`], and nothing has begun; what the device says.
    ///
    /// # Cancellation
    /// The write goes on.
    pub(super) async fn write_whole(
        &self,
        position: u64,
        data: Data,
        pool: &BufPool,
    ) -> Result<(), Error> {
        let ended = Rc::new((Cell::new(None), Waiters::default()));
        let its_ended = Rc::clone(&ended);
        self.write(position, data, pool, move |outcome| {
            its_ended.0.set(Some(outcome));
            its_ended.1.wake(|()| true);
        })?;
        Ok(ended.1.until(|| (), || ended.0.take()).await?)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the device says; what was not durable before may be lost.
    pub async fn sync(&self) -> io::Result<()> {
        match self {
            Disk::Dma(disk) => disk.sync().await,
            Disk::Sim(disk) => disk.sync().await,
        }
    }
}
