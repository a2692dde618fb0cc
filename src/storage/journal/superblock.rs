//! The superblock of a volume, which says which of its two journals counts.
//!
//! It is there in two copies that are written in turn, each made durable before anything rests on it, so
//! that one of them is whole at any moment ([`format`](crate::storage::format) draws it).

use std::io;

use super::Name;
use crate::{
    bufpool::{Block, BufPool, Class},
    storage::{
        Error, Generation,
        disk::{Data, Disk},
        format::{SUPERBLOCK_BYTES, Superblock, newest},
    },
};

/// Of a volume that is used for the first time. The number of its epoch is drawn, so that pages that
/// an earlier cache left in the files are none of this one.
pub(super) fn first(Name { uuid, volume }: Name) -> Superblock {
    Superblock { uuid, volume, sequence: 1, journal: 0, epoch: Generation::random().0 }
}

/// The first one, and zeros in place of the copy to come: that is to want no new space either.
pub(super) async fn begin(
    disk: &Disk,
    superblock: &Superblock,
    pool: &BufPool,
) -> Result<(), Error> {
    let (length, at) = (2 * SUPERBLOCK_BYTES, superblock.copy() as usize);
    let mut block = pool.take(Class::holding(length))?;
    block[..length].fill(0);
    block[at..at + SUPERBLOCK_BYTES].copy_from_slice(&superblock.encode());
    disk.write_whole(0, Data::Bytes(block.freeze(length)), pool).await?;
    Ok(disk.sync().await?)
}

pub(super) async fn write(
    disk: &Disk,
    superblock: &Superblock,
    pool: &BufPool,
) -> Result<(), Error> {
    let mut block = pool.take(Class::Small)?;
    block[..SUPERBLOCK_BYTES].copy_from_slice(&superblock.encode());
    let data = Data::Bytes(block.freeze(SUPERBLOCK_BYTES));
    disk.write_whole(superblock.copy(), data, pool).await?;
    Ok(disk.sync().await?)
}

/// What the two copies of a superblock say.
pub(super) enum Found {
    /// This one counts.
    Sound(Superblock),
    /// Neither is one, and no other is there.
    Unsound,
    /// The device does not give what may be one.
    Unreadable,
}

pub(super) async fn read(disk: &Disk, name: Name, pool: &BufPool) -> Result<Found, Error> {
    let (mut copies, mut is_unreadable) = ([None, None], false);
    for (number, copy) in copies.iter_mut().enumerate() {
        match read_copy(disk, number, pool).await {
            Ok(page) => *copy = Some(page),
            Err(Error::Io(error)) => is_unreadable |= error.kind() != io::ErrorKind::UnexpectedEof,
            Err(error) => return Err(error),
        }
    }
    let [first, second] = &copies;
    match newest([first.as_deref(), second.as_deref()], name.uuid, name.volume) {
        Ok(Some(superblock)) => Ok(Found::Sound(superblock)),
        Ok(None) if is_unreadable => Ok(Found::Unreadable),
        Ok(None) => Ok(Found::Unsound),
        Err(error) => Err(io::Error::new(io::ErrorKind::Unsupported, error).into()),
    }
}

/// What fails once is tried again: the older copy names what the newer one took the place of.
async fn read_copy(disk: &Disk, number: usize, pool: &BufPool) -> Result<Block, Error> {
    let read = || disk.read((number * SUPERBLOCK_BYTES) as u64, SUPERBLOCK_BYTES, pool);
    match read().await {
        Err(Error::Io(_)) => read().await,
        done => done,
    }
}

/// Pages of a journal are sealed with the number of their epoch, which stands in the superblock alone:
/// without it nothing tells which journal counts, nor a page from one of an earlier life.
pub(super) fn neither_is_sound() -> io::Error {
    let problem = "neither copy of the superblock is sound, and the journals hold objects and pins; \
                   put back the file, or remove its directory to begin this volume without them";
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
