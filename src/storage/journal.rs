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

use std::{
    cell::{Cell, RefCell, RefMut},
    io,
};

use super::{
    CHUNK_BYTES, Error, Generation,
    catalog::Catalog,
    disk::{Data, Disk},
    format::{PAGE_BYTES, Record, SUPERBLOCK_BYTES, Superblock, Whose, newest, open, records},
    pages::Pages,
    policy::Snapshot,
};
use crate::bufpool::{Block, BufPool, Class};

/// Records that wait for their commit, in bytes of pages; a volume takes no chunks beyond.
pub(super) const PENDING_BYTES: usize = 256 << 10;

/// So many bytes of invalid pages in a row are the end of a journal. All that can be missing between
/// valid pages is what was written since the last sync.
const GAP_BYTES: u64 = 4 << 20;

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

/// What a journal said when it was opened.
#[derive(Default)]
pub(super) struct Recovered {
    pub(super) catalog: Catalog,
    pub(super) snapshot: Snapshot,
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
    broken: Cell<bool>,
}

impl Journal {
    /// Opens a volume's journal, or begins one where there is none; it is broken where the disk takes
    /// none.
    ///
    /// # Errors
    /// [`SuperblockError::Newer`] as [`io::ErrorKind::Unsupported`]; [`Error::Exhausted`].
    pub(super) async fn open(
        name: Name,
        files: Files,
        capacity_bytes: u64,
        blocks: u64,
        pool: BufPool,
    ) -> Result<(Self, Recovered), Error> {
        let found = read_superblock(&files.superblock, name, &pool).await?;
        let mut recovered = Recovered { catalog: Catalog::new(blocks), ..Recovered::default() };
        let (superblock, end, broken) = match found {
            Some(superblock) => {
                let end = replay(&files, &superblock, &pool, &mut recovered).await?;
                (superblock, end, false)
            }
            None => {
                let first = first_superblock(name);
                // A disk that takes nothing now may do so later: no reason not to start.
                let broken = match write_superblock(&files.superblock, &first, &pool).await {
                    Err(Error::Io(error)) => {
                        tracing::warn!(%error, volume = name.volume, "a volume cannot begin");
                        true
                    }
                    written => written.map(|()| false)?,
                };
                (first, 0, broken)
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
            broken: Cell::new(broken),
        };
        Ok((journal, recovered))
    }

    /// Appends a record; it is written by the next [`commit`](Self::commit).
    pub(super) fn append(&self, record: &Record) {
        if !self.broken.get() {
            self.current.borrow_mut().push(record);
        }
        if let Some(next) = &mut *self.next.borrow_mut() {
            next.push(record);
        }
    }

    /// Whether records of further chunks have room.
    pub(super) fn takes_more(&self) -> bool {
        !self.broken.get() && self.pending_bytes() < PENDING_BYTES
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.current.borrow().len()
    }

    /// How long it is, in bytes, with what waits.
    pub(super) fn length(&self) -> u64 {
        self.current.borrow().end()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Whether the journal is several times as long as what it says, or nearly full.
    pub(super) fn wants_compaction(&self, catalog_bytes: u64) -> bool {
        let length = self.current.borrow().end();
        let nearly_full = length > self.capacity_bytes / 4 * 3;
        // A catalog that fills it by itself gains nothing by being written again and again.
        let gains = length > catalog_bytes + catalog_bytes / 8;
        length > (3 * catalog_bytes).max(COMPACT_BYTES.min(self.capacity_bytes / 2))
            || nearly_full && gains
    }

    /// Whether it is longer than it may get: a larger cache wrote it.
    pub(super) fn is_too_long(&self) -> bool {
        self.current.borrow().end() > self.capacity_bytes
    }

    /// Whether a catalog of that size fits twice, so that compaction always can.
    pub(super) fn holds(&self, catalog_bytes: u64) -> bool {
        catalog_bytes <= self.capacity_bytes / 2
    }

    /// Writes what was appended. One call at a time.
    ///
    /// # Errors
    /// [`Error::Exhausted`] without memory: call again. [`Error::Io`]: the journal is broken.
    pub(super) async fn commit(&self) -> Result<(), Error> {
        let file = &self.files.journals[usize::from(self.superblock.get().journal)];
        let committed = self.write_out(file, || Some(self.current.borrow_mut())).await;
        if matches!(committed, Err(Error::Io(_))) {
            self.broken.set(true);
        }
        committed
    }

    /// Makes what was committed durable.
    pub(super) async fn sync(&self) -> io::Result<()> {
        self.files.journals[usize::from(self.superblock.get().journal)].sync().await
    }

    /// Writes the catalog into the other file and turns to it. One call at a time, and no
    /// [`commit`](Self::commit) meanwhile.
    ///
    /// # Errors
    /// As of [`commit`](Self::commit). After [`Error::Io`] the superblock may name either file, so
    /// that neither may be appended to before another compaction.
    pub(super) async fn compact(&self, catalog: &RefCell<Catalog>) -> Result<(), Error> {
        let was = self.superblock.get();
        let now = Superblock {
            sequence: was.sequence + 1,
            journal: 1 - was.journal,
            epoch: Generation::random().0,
            ..was
        };
        *self.next.borrow_mut() = Some(Pages::new(whose(&now), 0));
        let written = self.write_catalog(catalog, &now).await;
        let next = self.next.borrow_mut().take();
        if matches!(written, Err(Error::Io(_))) {
            self.broken.set(true);
        }
        written?;
        *self.current.borrow_mut() = next.expect("only this function takes it");
        self.superblock.set(now);
        self.broken.set(false);
        Ok(())
    }

    async fn write_catalog(
        &self,
        catalog: &RefCell<Catalog>,
        superblock: &Superblock,
    ) -> Result<(), Error> {
        let file = &self.files.journals[usize::from(superblock.journal)];
        let mut from = Some(0);
        while let Some(number) = from {
            let (records, more) = catalog.borrow().snapshot(number, PIECE_BYTES);
            if let Some(next) = &mut *self.next.borrow_mut() {
                records.iter().for_each(|record| next.push(record));
            }
            self.write_out(file, || {
                RefMut::filter_map(self.next.borrow_mut(), Option::as_mut).ok()
            })
            .await?;
            from = more;
        }
        file.sync().await?;
        write_superblock(&self.files.superblock, superblock, &self.pool).await
    }

    /// Writes pages until none wait. They are looked at anew after each write, since records come
    /// meanwhile.
    async fn write_out<'a>(
        &self,
        file: &Disk,
        pages: impl Fn() -> Option<RefMut<'a, Pages>>,
    ) -> Result<(), Error> {
        loop {
            let (position, data) = {
                let Some(mut pages) = pages().filter(|pages| pages.len() > 0) else {
                    return Ok(());
                };
                if pages.end() > self.capacity_bytes {
                    return Err(io::Error::from(io::ErrorKind::StorageFull).into());
                }
                let mut room = self.pool.take(Class::Large)?;
                let (position, length) = pages.take(&mut room);
                (position, room.freeze(length))
            };
            self.write_pages(file, position, data).await?;
        }
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

/// Records of the catalog that are written at once during a compaction, in bytes: a block of pages.
const PIECE_BYTES: usize = 60 << 10;

fn whose(superblock: &Superblock) -> Whose {
    let Superblock { uuid, volume, epoch, .. } = *superblock;
    Whose { uuid, volume, epoch }
}

/// Of a volume that is used for the first time. The number of its epoch is drawn, so that pages that
/// an earlier cache left in the files are none of this one.
fn first_superblock(Name { uuid, volume }: Name) -> Superblock {
    Superblock { uuid, volume, sequence: 1, journal: 0, epoch: Generation::random().0 }
}

async fn write_superblock(
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

/// The superblock that counts; `None` where the volume is new, or where neither copy is sound.
async fn read_superblock(
    disk: &Disk,
    name: Name,
    pool: &BufPool,
) -> Result<Option<Superblock>, Error> {
    let (mut copies, mut is_new) = ([None, None], true);
    for (number, copy) in copies.iter_mut().enumerate() {
        let read = disk.read((number * SUPERBLOCK_BYTES) as u64, SUPERBLOCK_BYTES, pool).await;
        // What cannot be read is not there: the other copy may be.
        *copy = match read {
            Err(Error::Exhausted(exhausted)) => return Err(exhausted.into()),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            read => {
                is_new = false;
                read.ok()
            }
        };
    }
    let [first, second] = &copies;
    let found = newest([first.as_deref(), second.as_deref()], name.uuid, name.volume);
    if let (Ok(None), false) = (&found, is_new) {
        tracing::warn!(volume = name.volume, "neither superblock is sound: the volume begins anew");
    }
    found.map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error).into())
}

/// Does what the records of the current journal say; the position behind its last page.
///
/// A page that is not sound is passed over, and what it said is lost: the writes since the last
/// sync may have reached the disk in any order.
async fn replay(
    files: &Files,
    superblock: &Superblock,
    pool: &BufPool,
    into: &mut Recovered,
) -> Result<u64, Error> {
    let which = usize::from(superblock.journal);
    let (file, length) = (&files.journals[which], files.lengths[which]);
    let whose = whose(superblock);
    let (mut at, mut end) = (0, 0);
    while at < length && at - end < GAP_BYTES {
        let piece = (length - at).min(CHUNK_BYTES) as usize / PAGE_BYTES * PAGE_BYTES;
        if piece == 0 {
            break;
        }
        let read = match file.read(at, piece, pool).await {
            Err(Error::Exhausted(exhausted)) => return Err(exhausted.into()),
            read => read.ok(),
        };
        for page in read.as_deref().unwrap_or_default().chunks_exact(PAGE_BYTES) {
            let number = (at / PAGE_BYTES as u64) as u32;
            at += PAGE_BYTES as u64;
            if let Some(bytes) = open(page, &whose, number) {
                records(bytes).for_each(|record| into.apply(record));
                end = at;
            }
        }
        if read.is_none() {
            at += piece as u64;
        }
    }
    Ok(end)
}

impl Recovered {
    fn apply(&mut self, record: Record) {
        // Nothing is given back here: what is free shows when all is read.
        self.catalog.apply(&record, &mut drop);
        if let Record::Snapshot { bytes } = record {
            self.snapshot.read(&bytes);
        }
    }
}
