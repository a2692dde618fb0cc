//! Records on their way into pages of a journal.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A page that was taken is never written again: the next record begins another, since a page torn
//! in the middle of being overwritten would lose records that were durable before.

use super::format::{PAGE_BYTES, PAGE_ROOM, Record, Whose, seal};

/// Pages that are not written yet, and the number of the first of them.
pub(super) struct Pages {
    whose: Whose,
    first: u32,
    bytes: Vec<u8>,
    /// Bytes of records in each.
    used: Vec<usize>,
    scratch: Vec<u8>,
}

impl Pages {
    pub(super) fn new(whose: Whose, first: u32) -> Self {
        Self { whose, first, bytes: Vec::new(), used: Vec::new(), scratch: Vec::new() }
    }

    pub(super) fn push(&mut self, record: &Record) {
        self.scratch.clear();
        record.encode(&mut self.scratch);
        let length = self.scratch.len();
        assert!(length <= PAGE_ROOM, "a record of {length} bytes fits no page");
        if self.used.last().is_none_or(|used| used + length > PAGE_ROOM) {
            self.bytes.resize(self.bytes.len() + PAGE_BYTES, 0);
            self.used.push(0);
        }
        let page = self.used.len() - 1;
        let at = page * PAGE_BYTES + (PAGE_BYTES - PAGE_ROOM) + self.used[page];
        self.bytes[at..at + length].copy_from_slice(&self.scratch);
        self.used[page] += length;
    }

    /// Bytes of whole pages that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The position in the file behind all pages, written or not.
    pub(super) fn end(&self) -> u64 {
        self.written() + self.bytes.len() as u64
    }

    /// The position in the file behind all pages that were taken.
    pub(super) fn written(&self) -> u64 {
        u64::from(self.first) * PAGE_BYTES as u64
    }

    /// Seals the oldest pages, as many as `room` holds, into it; where in the file they go, and how
    /// many bytes they are.
    pub(super) fn take(&mut self, room: &mut [u8]) -> (u64, usize) {
        let count = self.used.len().min(room.len() / PAGE_BYTES);
        let position = self.written();
        let length = count * PAGE_BYTES;
        for (number, used) in (self.first..).zip(self.used.drain(..count)) {
            let at = (number - self.first) as usize * PAGE_BYTES;
            seal(&mut self.bytes[at..at + PAGE_BYTES], used, &self.whose, number);
        }
        room[..length].copy_from_slice(&self.bytes[..length]);
        self.bytes.drain(..length);
        self.first += count as u32;
        (position, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{
        Generation, ObjectId,
        format::{self, records},
    };

    fn drop_of(object: u128) -> Record {
        Record::Drop { object: ObjectId(object), generation: Generation(1) }
    }

    #[test]
    fn what_goes_in_comes_out_in_order_and_no_page_is_written_twice() {
        let whose = Whose { uuid: 1, volume: 2, epoch: 3 };
        let mut pages = Pages::new(whose.clone(), 7);
        let (mut file, mut written) = (vec![0; 64 << 10], 0);
        for object in 0..300 {
            pages.push(&drop_of(object));
            if object % 77 == 0 {
                let (position, length) = pages.take(&mut file[written..]);
                assert_eq!(position, (7 * PAGE_BYTES + written) as u64);
                written += length;
                assert_eq!((pages.len(), pages.end()), (0, (7 * PAGE_BYTES + written) as u64));
            }
        }
        written += pages.take(&mut file[written..]).1;
        let page = |number: usize| {
            let bytes = &file[number * PAGE_BYTES..(number + 1) * PAGE_BYTES];
            format::open(bytes, &whose, 7 + number as u32).expect("sealed").to_vec()
        };
        let found: Vec<_> =
            (0..written / PAGE_BYTES).flat_map(|n| records(&page(n)).collect::<Vec<_>>()).collect();
        assert!(found.into_iter().eq((0..300).map(drop_of)));
    }

    #[test]
    fn only_as_much_is_taken_as_there_is_room() {
        let mut pages = Pages::new(Whose { uuid: 1, volume: 2, epoch: 3 }, 0);
        (0..1_000).for_each(|object| pages.push(&drop_of(object)));
        let waiting = pages.len();
        let mut room = [0; 2 * PAGE_BYTES];
        assert_eq!(pages.take(&mut room), (0, 2 * PAGE_BYTES));
        assert_eq!(pages.take(&mut room), (2 * PAGE_BYTES as u64, 2 * PAGE_BYTES));
        assert_eq!(pages.len(), waiting - 4 * PAGE_BYTES);
    }
}
