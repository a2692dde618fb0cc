//! How a journal is read at a start.
//!
//! A page that is not sound is passed over, and what it said is lost: the writes since the last sync may
//! have reached the disk in any order. One that the device does not give may well be sound, and the device
//! may give it tomorrow. So it is asked for again, and no end is seen behind it.

use std::io;

use super::{Files, whose};
use crate::{
    bufpool::{Block, BufPool},
    storage::{
        CHUNK_BYTES, Error,
        catalog::Catalog,
        disk::Disk,
        format::{PAGE_BYTES, Record, Superblock, open, records},
        policy::Snapshot,
        superseded::Superseded,
    },
};

/// So many bytes of invalid pages in a row are the end of a journal. All that can be missing between
/// valid pages is what was written since the last sync, and a commit that would make that more syncs
/// before. A start reads as much of the zeros behind the last page: at the fastest fills that were
/// measured, 1 GB/s, it is what a volume of four writes in three seconds.
pub(super) const GAP_BYTES: u64 = 512 << 10;

/// Of more pages that the device does not give it is not asked: each may take it seconds.
const UNREAD_PAGES: u64 = 256;

/// What a journal said when it was opened.
#[derive(Default)]
pub(in crate::storage) struct Recovered {
    pub(in crate::storage) catalog: Catalog,
    /// Where chunks lay before they were written anew, as far as that may count again.
    pub(in crate::storage) superseded: Superseded,
    pub(in crate::storage) snapshot: Snapshot,
    /// Pages that the device did not give.
    pub(in crate::storage) unread_pages: u64,
    /// Those were so many that the rest was not read.
    pub(in crate::storage) is_given_up: bool,
    /// Pages between sound ones that are not sound, or were not given: what they said is lost.
    pub(in crate::storage) lost_pages: u64,
    /// What keeps it from being used now.
    pub(in crate::storage) ill: Option<io::Error>,
}

/// Does what the records of the current journal say; the position behind its last page.
pub(super) async fn replay(
    files: &Files,
    superblock: &Superblock,
    pool: &BufPool,
    into: &mut Recovered,
) -> Result<u64, Error> {
    let which = usize::from(superblock.journal);
    let (file, length) = (&files.journals[which], files.lengths[which]);
    let whose = whose(superblock);
    let (mut at, mut end, mut sound_pages) = (0, 0, 0);
    // Bytes that were read and are no pages, since one that is, or that was not given: it may be one.
    let mut gap = 0;
    while at < length && gap < GAP_BYTES && !into.is_given_up {
        let piece = (length - at).min(CHUNK_BYTES) as usize / PAGE_BYTES * PAGE_BYTES;
        if piece == 0 {
            break;
        }
        for pages in read_pages(file, at, piece, pool).await? {
            let Some(pages) = pages else {
                into.unread_pages += 1;
                into.is_given_up = into.unread_pages > UNREAD_PAGES;
                (at, gap) = (at + PAGE_BYTES as u64, 0);
                continue;
            };
            for page in pages.chunks_exact(PAGE_BYTES) {
                let number = (at / PAGE_BYTES as u64) as u32;
                (at, gap) = (at + PAGE_BYTES as u64, gap + PAGE_BYTES as u64);
                if let Some(bytes) = open(page, &whose, number) {
                    records(bytes).for_each(|record| into.apply(number, record));
                    sound_pages += 1;
                    (end, gap) = (at, 0);
                }
            }
        }
    }
    into.lost_pages = end / PAGE_BYTES as u64 - sound_pages;
    Ok(end)
}

/// A piece of a journal; page by page where the device does not give it whole, each twice, and `None` for
/// those that it does not give at all.
async fn read_pages(
    file: &Disk,
    at: u64,
    length: usize,
    pool: &BufPool,
) -> Result<Vec<Option<Block>>, Error> {
    match file.read(at, length, pool).await {
        Ok(pages) => return Ok(vec![Some(pages)]),
        Err(Error::Io(_)) => {}
        Err(error) => return Err(error),
    }
    let mut pages = Vec::new();
    for at in (at..at + length as u64).step_by(PAGE_BYTES) {
        let mut page = file.read(at, PAGE_BYTES, pool).await;
        if matches!(page, Err(Error::Io(_))) {
            page = file.read(at, PAGE_BYTES, pool).await;
        }
        pages.push(match page {
            Ok(page) => Some(page),
            Err(Error::Io(_)) => None,
            Err(error) => return Err(error),
        });
    }
    Ok(pages)
}

impl Recovered {
    /// Does as the record on the page of this number says.
    fn apply(&mut self, page: u32, record: Record) {
        self.superseded.note(&self.catalog, page, &record);
        // Nothing is given back here: what is free shows when all is read.
        self.catalog.apply(&record, &mut drop);
        if let Record::Snapshot { bytes } = record {
            self.snapshot.read(&bytes);
        }
    }
}
