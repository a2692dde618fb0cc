//! Which place of a chunk that was written anew is the one that counts, at a start.

use super::{BLOCK_BYTES, BufPool, Catalog, Disk, Error, Record, look::sound};
use crate::storage::{
    catalog::{Run, Slot, run_of},
    format::Filled,
    in_flight::InFlight,
    journal::Journal,
    superseded::{Doubtful, Superseded},
};

/// Chunks that are looked at together: a megabyte of memory at most.
const READS: usize = 16;

/// Looks where each chunk in doubt lies, and says where that is not its newest place. Those that were found,
/// with their blocks: whoever else is said to lie there does not.
///
/// # Errors
/// [`Error::Exhausted`].
pub(super) async fn settle(
    catalog: &mut Catalog,
    superseded: Superseded,
    (disk, journal, pool): (&Disk, &Journal, &BufPool),
) -> Result<Vec<(Run, Slot, u32)>, Error> {
    let doubtful = superseded.doubtful(catalog);
    let mut places = Vec::with_capacity(doubtful.len());
    let (mut rest, mut reads) = (doubtful.iter(), InFlight::default());
    loop {
        while reads.len() < READS
            && let Some(chunk) = rest.next()
        {
            let name = catalog.name(chunk.slot);
            reads.push(async move {
                for filled in std::iter::once(&chunk.newest).chain(&chunk.older) {
                    let run = run_of(filled);
                    let length = ((run.end - run.start) * BLOCK_BYTES) as usize;
                    match disk.read(run.start * BLOCK_BYTES, length, pool).await {
                        Ok(blocks) if sound(name, filled, &blocks).is_some() => {
                            return Ok(Some(filled));
                        }
                        Ok(_) | Err(Error::Io(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(None)
            });
        }
        match reads.next().await {
            None => break,
            Some(place) => places.push(place?),
        }
    }
    drop(reads);
    for (chunk, place) in doubtful.iter().zip(&places) {
        if let Some(place) = place.filter(|place| **place != chunk.newest) {
            put_back(catalog, journal, chunk, place);
        }
    }
    let found = doubtful
        .iter()
        .zip(places)
        .filter_map(|(chunk, place)| place.map(|place| (run_of(place), chunk.slot, place.chunk)));
    Ok(found.collect())
}

fn put_back(catalog: &mut Catalog, journal: &Journal, chunk: &Doubtful, place: &Filled) {
    let (object, generation) = catalog.name(chunk.slot);
    catalog.fill(chunk.slot, place);
    journal.append(&Record::Fill { object, generation, chunks: vec![place.clone()] });
}
