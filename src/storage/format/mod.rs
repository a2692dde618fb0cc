//! The cache directory on disk: format 1.
//!
//! ```text
//! cache/
//!   FORMAT           text: version, uuid, number of volumes, sizes       format/directory.rs
//!   LOCK             empty; locked, as the directory is, by the process that uses the cache
//!   prefetch         text: what a node has still to prefetch             prefetch/journal.rs
//!   volume.N/
//!     data           blocks of 16 KiB: bytes of chunks, nothing else
//!     super          two copies of one page: which journal counts        format/superblock.rs
//!     journal.0      pages of 4 KiB, each with its checksum              format/page.rs
//!     journal.1        records: what is where in data                    format/record.rs
//! ```
//!
//! All integers are little-endian, all checksums CRC-32C (RFC 3720, appendix B.4). Bytes that are
//! not spoken of are zero, and are not looked at.
//!
//! # What points to what
//!
//! ```text
//! FORMAT -uuid-> super -epoch-> page -> record -object, generation, chunk, part-> blocks in data
//! ```
//!
//! Each arrow is checked by a checksum that begins with what stands left of it, or names it: a page
//! counts for one volume of one cache in one life of its journal, and a chunk's bytes count for one
//! place in one generation of one object. So nothing has to be erased: what an earlier life left in
//! a file does not count in this one. And the order of writes to `data` and to a journal needs no
//! barrier: a record that overtook its bytes names bytes whose checksum is another, which is a miss.
//!
//! # Why a journal, and why two
//!
//! Where a chunk lies is 16 bytes. Kept beside the chunk they would be written at random places and
//! read by a walk over the whole device; in a journal they are appended, many to a page, and read in
//! one pass at start. A journal grows with what happened, not with what is there. So at times all
//! that still holds is written to the other journal under a new epoch, and then one page of `super`
//! is written that names it: the old journal counts until that moment, the new one after it. Behind
//! its last page a journal has zeros, so that neither wants space of a disk that is full.
//!
//! # What later versions may change
//!
//! Within version 1: new kinds of records, and new fields at the end of a record or of the
//! superblock; an older program passes over both. All else is a new version. A program refuses a
//! version that it does not know and changes nothing: to delete what cannot be read would lose a
//! terabyte to a downgrade.
//!
//! # Damage
//!
//! Every parser takes any bytes. None panics, and none allocates more than its input is long, give
//! or take a factor of two. What is damaged is left out, never guessed.
//!
//! Of `super` one copy is enough. Where neither is sound and a journal holds anything, a start is
//! refused: the epoch stands nowhere else, so no page can be told from one of an earlier life, and to
//! begin anew would lose what was pinned. Where the device does not give them, which may pass, the
//! volume is off until the next start, and nothing in it is written. So it is where pages of the journal
//! are not given: what the others say is served, and an operator may go on without them.
//!
//! All that `FORMAT` says stands in the volumes as well: their superblocks name the cache, and how many
//! there are is how many lie there, always a power of two. So a `FORMAT` that is lost is written anew,
//! where every volume from the first to the last is of the same cache; else the start is refused, since
//! a new name beside old volumes would make all of them another cache's.

mod directory;
mod fields;
mod page;
mod record;
mod superblock;

pub use directory::{Format, FormatError};
pub use page::{PAGE_BYTES, PAGE_ROOM, Whose, open, seal};
pub use record::{
    FILLED_PER_RECORD, Filled, HEAD_CHUNK, LENGTH_LIMIT, LENGTH_UNKNOWN, LOST_PER_RECORD, Meta,
    Record, SNAPSHOT_BYTES, records,
};
pub use superblock::{SUPERBLOCK_BYTES, Superblock, SuperblockError, newest, uuid_of};

#[cfg(test)]
mod tests {
    /// Two digits a byte, for golden tests.
    pub(super) fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
