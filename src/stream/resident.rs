//! The bytes of a source that lie in memory now: where a reader's async side and a decoder's
//! synchronous side meet.
//!
//! Pure: no I/O, no clock, no executor.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use super::tape::{Join, Start, Tape};
use crate::bufpool::Block;

/// Blocks of one source, by position. A clone is another handle to the same bytes.
///
/// The reader [`insert`](Self::insert)s what became resident; the decoder [`read`](Self::read)s and
/// finds out how far it got. Neither waits in here.
#[derive(Clone, Default)]
pub struct Resident {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// Sorted by position; they may lie apart and never overlap.
    blocks: VecDeque<(u64, Block)>,
    layout: Layout,
}

/// What positions mean.
enum Layout {
    /// Bytes from the start of one object.
    Whole {
        /// Once it is known.
        length: Option<u64>,
        /// What is not here yet comes no sooner than all before it.
        in_order: bool,
    },
    /// Those of a tape.
    Parts(Tape),
}

impl Default for Layout {
    fn default() -> Self {
        Self::Whole { length: None, in_order: false }
    }
}

impl Resident {
    /// Nothing resident; `length` is that of the whole source, where it is known.
    pub fn new(length: Option<u64>) -> Self {
        Self::laid_out(Layout::Whole { length, in_order: false })
    }

    /// Nothing of a tape resident. It is at its first stretch, before which nothing may be missing:
    /// [`rewind`](Self::rewind) says that.
    pub fn of_tape(tape: Tape) -> Self {
        Self::laid_out(Layout::Parts(tape))
    }

    fn laid_out(layout: Layout) -> Self {
        let inner = Inner { blocks: VecDeque::new(), layout };
        Self { inner: Rc::new(RefCell::new(inner)) }
    }

    /// Length of the whole source in bytes, once it is known; never of a tape.
    pub fn length(&self) -> Option<u64> {
        match self.inner.borrow().layout {
            Layout::Whole { length, .. } => length,
            Layout::Parts(_) => None,
        }
    }

    /// The source, which is no tape, turned out to be so many bytes long.
    pub fn set_length(&self, bytes: u64) {
        if let Layout::Whole { length, .. } = &mut self.inner.borrow_mut().layout {
            *length = Some(bytes);
        }
    }

    /// Length of the whole source, if it is known and its end can be had before all the rest: who would
    /// look there first does without where it cannot.
    pub fn length_at_hand(&self) -> Option<u64> {
        match self.inner.borrow().layout {
            Layout::Whole { length, in_order: false } => length,
            _ => None,
        }
    }

    /// Whether what is not here yet comes no sooner than all before it.
    pub fn set_in_order(&self, comes_in_order: bool) {
        if let Layout::Whole { in_order, .. } = &mut self.inner.borrow_mut().layout {
            *in_order = comes_in_order;
        }
    }

    /// Whether it is put together out of parts.
    pub fn is_tape(&self) -> bool {
        matches!(self.inner.borrow().layout, Layout::Parts(_))
    }

    /// Says something of the parts of a tape, or asks it.
    pub fn with_tape<T>(&self, act: impl FnOnce(&mut Tape) -> T) -> Option<T> {
        match &mut self.inner.borrow_mut().layout {
            Layout::Whole { .. } => None,
            Layout::Parts(tape) => Some(act(tape)),
        }
    }

    /// Goes to where the source starts, and says what is missing before.
    pub fn rewind(&self) -> Join {
        self.with_tape(Tape::rewind).unwrap_or(Join { due: None, is_break: false, is_end: false })
    }

    /// Goes on behind what has ended; what is no tape has nothing there.
    pub fn next_stretch(&self) -> Join {
        let end = Join { due: None, is_break: false, is_end: true };
        self.with_tape(Tape::next_stretch).unwrap_or(end)
    }

    /// Where the reading of what is read now starts.
    pub fn start(&self) -> Start {
        self.with_tape(|tape| tape.start()).unwrap_or(Start { head: 0, media: 0 })
    }

    /// Whether parts of it could not be had, which may be there another time.
    pub fn is_torn(&self) -> bool {
        self.with_tape(|tape| tape.is_torn()).unwrap_or(false)
    }

    /// Where the byte of a position lies, which may be one behind the end of its part.
    pub fn normal(&self, position: u64) -> u64 {
        self.inner.borrow().normal(position)
    }

    /// Bytes of the source before a position, as far as is known.
    pub fn bytes_before(&self, position: u64) -> u64 {
        match &self.inner.borrow().layout {
            Layout::Whole { .. } => position,
            Layout::Parts(tape) => tape.bytes_before(position),
        }
    }

    /// Adds bytes that start at `position`. What overlaps bytes already here is left out.
    pub fn insert(&self, position: u64, block: Block) {
        let mut inner = self.inner.borrow_mut();
        let after = inner.blocks.partition_point(|(start, _)| *start <= position);
        let taken_to = match after.checked_sub(1).map(|index| &inner.blocks[index]) {
            Some((start, before)) => start + before.len() as u64,
            None => 0,
        };
        let free_to = inner.blocks.get(after).map_or(u64::MAX, |(start, _)| *start);
        let end = (position + block.len() as u64).min(free_to);
        let start = position.max(taken_to);
        if start < end {
            let part = block.slice((start - position) as usize..(end - position) as usize);
            inner.blocks.insert(after, (start, part));
        }
    }

    /// Copies bytes from `position` on and says how many: 0 means they are not here, or that the
    /// source ends there (see [`at_end`](Self::at_end)).
    pub fn read(&self, position: u64, into: &mut [u8]) -> usize {
        let inner = self.inner.borrow();
        let mut done = 0;
        while done < into.len() {
            let Some(bytes) = inner.bytes_at(position + done as u64) else { break };
            let count = bytes.len().min(into.len() - done);
            into[done..done + count].copy_from_slice(&bytes[..count]);
            done += count;
        }
        done
    }

    /// Up to `most` bytes from `position` on as they lie in one block; `None` where none is here.
    pub fn lend(&self, position: u64, most: usize) -> Option<Block> {
        let inner = self.inner.borrow();
        let position = inner.normal(position);
        let (start, block) = inner.block_at(position)?;
        let from = (position - start) as usize;
        Some(block.slice(from..block.len().min(from.saturating_add(most))))
    }

    /// Whether the source is known to end at or before `position`.
    pub fn at_end(&self, position: u64) -> bool {
        match &self.inner.borrow().layout {
            Layout::Whole { length, .. } => length.is_some_and(|length| position >= length),
            Layout::Parts(tape) => tape.at_end(position),
        }
    }

    /// Where the bytes that are resident from `position` on end; `position` itself if none are.
    pub fn resident_to(&self, position: u64) -> u64 {
        let inner = self.inner.borrow();
        let mut end = inner.normal(position);
        while let Some(bytes) = inner.bytes_at(end) {
            end = inner.normal(end + bytes.len() as u64);
        }
        end
    }

    /// Lets go of everything: what is wanted next lies elsewhere.
    pub fn clear(&self) {
        self.inner.borrow_mut().blocks.clear();
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.inner.borrow().blocks.iter().map(|(_, block)| block.len()).sum()
    }
}

impl Inner {
    /// The block that holds the byte at `position`, and where it starts.
    fn block_at(&self, position: u64) -> Option<&(u64, Block)> {
        let after = self.blocks.partition_point(|(start, _)| *start <= position);
        let found = &self.blocks[after.checked_sub(1)?];
        (position - found.0 < found.1.len() as u64).then_some(found)
    }

    fn normal(&self, position: u64) -> u64 {
        match &self.layout {
            Layout::Whole { .. } => position,
            Layout::Parts(tape) => tape.normal(position),
        }
    }

    fn bytes_at(&self, position: u64) -> Option<&[u8]> {
        let position = self.normal(position);
        let (start, block) = self.block_at(position)?;
        Some(&block[(position - start) as usize..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bufpool::{BufPool, Class, Options};

    fn block(bytes: &[u8]) -> Block {
        let pool = BufPool::new(Options { budget_bytes: 1 << 20 });
        let mut block = pool.take(Class::Small).unwrap();
        block[..bytes.len()].copy_from_slice(bytes);
        block.freeze(bytes.len())
    }

    #[test]
    fn reads_run_over_neighbours_and_stop_at_gaps() {
        let resident = Resident::new(None);
        resident.insert(4, block(b"efgh"));
        resident.insert(0, block(b"abcd"));
        resident.insert(10, block(b"kl"));
        let mut into = [0; 16];
        assert_eq!(resident.read(2, &mut into), 6);
        assert_eq!(&into[..6], b"cdefgh");
        assert_eq!(resident.read(8, &mut into), 0);
        assert_eq!(resident.resident_to(0), 8);
        assert_eq!(resident.resident_to(9), 9);
    }

    #[test]
    fn bytes_are_lent_as_they_lie_up_to_the_end_of_their_block() {
        let resident = Resident::new(None);
        resident.insert(0, block(b"abcd"));
        resident.insert(4, block(b"efgh"));
        let lent = |position, most| resident.lend(position, most).map(|block| block.to_vec());
        assert_eq!(lent(1, 2).as_deref(), Some(&b"bc"[..]));
        assert_eq!(lent(1, 9).as_deref(), Some(&b"bcd"[..]));
        assert_eq!((lent(4, 0).as_deref(), lent(8, 1)), (Some(&b""[..]), None));
        let kept = resident.lend(4, 4).unwrap();
        resident.clear();
        assert_eq!(&kept[..], b"efgh");
    }

    #[test]
    fn overlapping_bytes_are_kept_once() {
        let resident = Resident::new(None);
        resident.insert(2, block(b"cdef"));
        resident.insert(0, block(b"abcd"));
        resident.insert(4, block(b"efgh"));
        let mut into = [0; 16];
        assert_eq!(resident.read(0, &mut into), 8);
        assert_eq!(&into[..8], b"abcdefgh");
        assert_eq!(resident.bytes(), 8);
    }

    #[test]
    fn an_end_that_comes_last_is_known_and_not_at_hand() {
        let resident = Resident::new(Some(8));
        assert_eq!(resident.length_at_hand(), Some(8));
        resident.set_in_order(true);
        assert_eq!((resident.length(), resident.length_at_hand()), (Some(8), None));
    }

    #[test]
    fn what_was_let_go_is_not_there_and_the_end_is_still_known() {
        let resident = Resident::new(Some(8));
        resident.insert(0, block(b"abcd"));
        resident.insert(4, block(b"efgh"));
        resident.clear();
        assert_eq!((resident.bytes(), resident.resident_to(0)), (0, 0));
        assert!(resident.at_end(8) && !resident.at_end(7));
    }
}
