//! A check of what lies in a volume: it is read, and has to be what was written.
//!
//! One read at a time leaves most disks idle: a terabyte would take hours on one that takes its time for
//! each. So several chunks are read ahead of the one that is judged, of the next objects too.

use std::{ops::Range, slice, vec};

use super::{VolumeIndex, Volumes, look::bytes_of};
use crate::storage::{
    Error, Generation, ObjectId,
    format::{Filled, HEAD_CHUNK},
    in_flight::InFlight,
    volume::{
        Volume,
        look::{Found, Resident},
    },
};

/// Chunks that are read at a time. A megabyte of memory; where there is less, fewer.
const READS: usize = 16;

/// What a check of some objects found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Chunks that were read, the response heads among them.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that are not what was written.
    pub faults: Vec<Fault>,
    /// The object to go on with, and its chunk; `None` behind the last.
    pub next: Option<(ObjectId, u32)>,
}

/// A chunk that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whose it is.
    pub object: ObjectId,
    /// Bytes of the object that are lost with it; `None` where it is the response head, without
    /// which the object is of no use.
    pub bytes: Option<Range<u64>>,
    /// The device gives nothing at all, rather than something else.
    pub is_unreadable: bool,
    /// It was taken out of the cache.
    pub is_dropped: bool,
}

impl Volumes {
    /// Reads objects of a volume, the first of them from chunk number `from` on, at least one chunk and
    /// about `most_bytes` of them, and checks that they are what was written. Those that are not are taken
    /// out where `repair` says so and nobody uses the object: who does finds out for itself.
    ///
    /// # Errors
    /// [`Error::Exhausted`] where the pool has no block to read into.
    pub async fn check(
        &self,
        volume: VolumeIndex,
        objects: &[ObjectId],
        from: u32,
        most_bytes: u64,
        repair: bool,
    ) -> Result<Checked, Error> {
        let mut checked = Checked::default();
        let Some(volume) = self.at(volume) else { return Ok(checked) };
        let mut chunks =
            Chunks { volume, objects: objects.iter(), from, rest: Vec::new().into_iter() };
        let mut reads = InFlight::default();
        loop {
            while reads.len() < READS
                && let Some(chunk) = chunks.next()
            {
                reads.push(async move { (chunk.examine(volume).await, chunk) });
            }
            let Some((verdict, chunk)) = reads.next().await else { return Ok(checked) };
            if checked.chunks > 0 && checked.bytes >= most_bytes {
                checked.next = Some((chunk.object, chunk.filled.chunk));
                return Ok(checked);
            }
            let verdict = match verdict {
                // Those that are under way may have had the memory.
                Err(_) => {
                    reads.ended().await;
                    chunk.examine(volume).await?
                }
                Ok(verdict) => verdict,
            };
            checked.note(volume, &chunk, verdict, repair);
        }
    }
}

impl Checked {
    fn note(&mut self, volume: &Volume, chunk: &Chunk, verdict: Verdict, repair: bool) {
        let Chunk { object, generation, filled } = chunk;
        let is_unreadable = match verdict {
            Verdict::Gone => return,
            // It was read ahead, and went with the head before it.
            _ if !volume.lies_there((*object, *generation), filled) => return,
            Verdict::Sound => None,
            Verdict::Rotten => Some(false),
            Verdict::Unreadable => Some(true),
        };
        self.chunks += 1;
        self.bytes += u64::from(filled.part.end - filled.part.start);
        let Some(is_unreadable) = is_unreadable else { return };
        let is_dropped = repair && volume.take_out((*object, *generation), filled);
        let bytes = (filled.chunk != HEAD_CHUNK).then(|| bytes_of(filled));
        self.faults.push(Fault { object: *object, bytes, is_unreadable, is_dropped });
    }
}

/// A chunk that is to be read.
struct Chunk {
    object: ObjectId,
    generation: Generation,
    filled: Filled,
}

/// What it is, without its bytes: those that are read ahead keep no memory.
enum Verdict {
    Sound,
    Rotten,
    Unreadable,
    Gone,
}

impl Chunk {
    async fn examine(&self, volume: &Volume) -> Result<Verdict, Error> {
        let found = volume.examine((self.object, self.generation), &self.filled).await?;
        Ok(match found {
            Found::Sound(_) => Verdict::Sound,
            Found::Rotten => Verdict::Rotten,
            Found::Unreadable => Verdict::Unreadable,
            Found::Gone => Verdict::Gone,
        })
    }
}

/// The chunks of some objects, one object after the other, each with its response head first.
struct Chunks<'a> {
    volume: &'a Volume,
    objects: slice::Iter<'a, ObjectId>,
    /// The first chunk of the first object.
    from: u32,
    /// Of the present object.
    rest: vec::IntoIter<Chunk>,
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        loop {
            if let Some(chunk) = self.rest.next() {
                return Some(chunk);
            }
            let object = *self.objects.next()?;
            let from = std::mem::take(&mut self.from);
            let Some(Resident { generation, .. }) = self.volume.resident(object) else { continue };
            let head = self.volume.head_of(object).filter(|_| from == 0).map(|(_, head)| head);
            let filled = head.into_iter().chain(self.volume.chunks_of(object, from));
            let chunks = filled.map(|filled| Chunk { object, generation, filled });
            self.rest = chunks.collect::<Vec<_>>().into_iter();
        }
    }
}
