//! Entries of equal length in a table of the file, read a few KiB at a time.

use std::rc::Rc;

use crate::decode::source::Inside;

/// The entries, and those of them that are here.
pub(super) struct Column<'y> {
    inside: Rc<Inside<'y>>,
    /// Where the first lies in the object.
    start: u64,
    entry_bytes: usize,
    count: u64,
    /// The first that is here, and the bytes from it on.
    first: u64,
    bytes: Vec<u8>,
    most_bytes: usize,
}

/// Bytes of a table that are here at once: a minute and a half of AAC.
const WINDOW_BYTES: usize = 16 << 10;

impl<'y> Column<'y> {
    /// `count` entries at `start`, if they end before `end`.
    pub(super) fn new(
        inside: &Rc<Inside<'y>>,
        start: u64,
        end: u64,
        entry_bytes: usize,
        count: u64,
    ) -> Self {
        // Where nothing comes again that has passed, all of it is kept; its bytes were counted.
        let is_seekable = inside.resident.length_at_hand().is_some() || inside.resident.is_tape();
        let most_bytes = if is_seekable { WINDOW_BYTES } else { inside.table_bytes as usize };
        Self {
            inside: Rc::clone(inside),
            start,
            entry_bytes,
            count: count.min(end.saturating_sub(start) / entry_bytes as u64),
            first: 0,
            bytes: Vec::new(),
            most_bytes: most_bytes.max(WINDOW_BYTES),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The entry of that number. `None`: there is none.
    pub(super) fn entry(&mut self, index: u64) -> Option<&[u8]> {
        let have = (self.bytes.len() / self.entry_bytes) as u64;
        if index < self.first || index >= self.first + have {
            self.read_from(index)?;
        }
        let at = (index - self.first) as usize * self.entry_bytes;
        self.bytes.get(at..at + self.entry_bytes)
    }

    /// One word of an entry.
    pub(super) fn word(&mut self, index: u64, word: usize) -> Option<u32> {
        let entry = self.entry(index)?;
        Some(u32::from_be_bytes(entry.get(4 * word..4 * word + 4)?.try_into().ok()?))
    }

    fn read_from(&mut self, index: u64) -> Option<()> {
        let left = self.count.checked_sub(index).filter(|left| *left > 0)?;
        let most = (self.most_bytes / self.entry_bytes) as u64;
        self.bytes.resize(left.min(most) as usize * self.entry_bytes, 0);
        let at = self.start + index * self.entry_bytes as u64;
        let got = self.inside.read_full(at, &mut self.bytes);
        self.bytes.truncate(got);
        self.first = index;
        Some(())
    }
}
