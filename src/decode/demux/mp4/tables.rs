//! The samples of a track by its tables (ISO/IEC 14496-12, 8.6 and 8.7), one after another or from
//! any of them on.

use std::rc::Rc;

use super::Sample;
use crate::decode::{
    demux::column::Column,
    mp4::{Tables, u32_at},
    source::Inside,
};

/// Where the next sample lies, and how long it lasts.
pub(super) struct Samples<'y> {
    durations: Column<'y>,
    chunks: Column<'y>,
    sizes: Sizes<'y>,
    offsets: Column<'y>,
    /// Where the file starts in the object.
    base: u64,
    cursor: Cursor,
}

/// What comes next.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Cursor {
    /// Number of the next sample.
    pub(super) next: u64,
    /// The next entry of the durations; how many samples the one before still speaks of, and their
    /// ticks.
    duration: (u64, u32, u32),
    /// The next chunk, and the entry that speaks of it.
    chunk: (u64, u64),
    /// Samples left in the one before, and where the next of them lies.
    left: u64,
    position: u64,
}

/// How long samples are.
enum Sizes<'y> {
    Equal {
        bytes: u32,
        count: u64,
    },
    Words(Column<'y>, u64),
    /// 4, 8 or 16 bits each.
    Compact(Column<'y>, u64, u32),
}

impl<'y> Samples<'y> {
    /// `sample_bytes` are those of plain samples, whatever the tables say.
    pub(super) fn new(
        inside: &Rc<Inside<'y>>,
        base: u64,
        tables: &Tables,
        sample_bytes: Option<u32>,
    ) -> Self {
        let column = |range: &std::ops::Range<u64>, head: u64, bytes: usize| {
            let mut count = [0; 4];
            inside.read_full(base + range.start + 4, &mut count);
            let (start, end) = (base + range.start + head, base + range.end);
            Column::new(inside, start, end, bytes, u32::from_be_bytes(count).into())
        };
        Self {
            durations: column(&tables.durations, 8, 8),
            chunks: column(&tables.chunks, 8, 12),
            offsets: column(&tables.offsets, 8, if tables.is_long { 8 } else { 4 }),
            sizes: Sizes::new(inside, base, tables, sample_bytes),
            base,
            cursor: Cursor::default(),
        }
    }

    /// The next sample, or so many in a row as `together` bytes hold, if all are equal. `None`: there
    /// is none.
    pub(super) fn next(&mut self, together: u32) -> Option<Sample> {
        let bytes = self.sizes.bytes(self.cursor.next)?;
        while self.cursor.left == 0 {
            self.enter_chunk()?;
        }
        while self.cursor.duration.1 == 0 {
            let entry = self.cursor.duration.0;
            self.cursor.duration =
                (entry + 1, self.durations.word(entry, 0)?, self.durations.word(entry, 1)?);
        }
        let most = u64::from(together.checked_div(bytes).unwrap_or(1).max(1));
        let count = match self.sizes {
            Sizes::Equal { count, .. } => most
                .min(self.cursor.left)
                .min(self.cursor.duration.1.into())
                .min(count - self.cursor.next),
            _ => 1,
        };
        let sample = Sample {
            position: self.cursor.position,
            bytes: bytes as usize * count as usize,
            ticks: u64::from(self.cursor.duration.2) * count,
            count,
            place: None,
        };
        (self.cursor.left, self.cursor.next) = (self.cursor.left - count, self.cursor.next + count);
        self.cursor.duration.1 -= count as u32;
        self.cursor.position = self.cursor.position.saturating_add(sample.bytes as u64);
        Some(sample)
    }

    /// Passes what is left of the chunk, and says how many samples and ticks those were.
    pub(super) fn pass_chunk(&mut self) -> (u64, u64) {
        let count = self.cursor.left.min(self.sizes.count().saturating_sub(self.cursor.next));
        self.cursor.left = 0;
        self.cursor.next += count;
        let (mut left, mut ticks) = (count, 0_u64);
        while left > 0 {
            let (entry, of_it, each) = self.cursor.duration;
            let part = left.min(of_it.into());
            ticks = ticks.saturating_add(part.saturating_mul(each.into()));
            self.cursor.duration.1 -= part as u32;
            left -= part;
            if left > 0 {
                let words = (self.durations.word(entry, 0), self.durations.word(entry, 1));
                let (Some(of_it), Some(each)) = words else { break };
                self.cursor.duration = (entry + 1, of_it, each);
            }
        }
        (count, ticks)
    }

    /// Goes on to the next chunk.
    fn enter_chunk(&mut self) -> Option<()> {
        let (chunk, mut entry) = self.cursor.chunk;
        self.cursor.position = self.offset(chunk)?;
        // The entries say from which chunk on they speak, counted from 1.
        while self.chunks.word(entry + 1, 0).is_some_and(|first| u64::from(first) <= chunk + 1) {
            entry += 1;
        }
        self.cursor.left = self.chunks.word(entry, 1)?.into();
        self.cursor.chunk = (chunk + 1, entry);
        Some(())
    }

    /// Where a chunk lies in the object.
    fn offset(&mut self, chunk: u64) -> Option<u64> {
        let entry = self.offsets.entry(chunk)?;
        let offset = entry.iter().fold(0, |offset, byte| offset << 8 | u64::from(*byte));
        Some(self.base.saturating_add(offset))
    }

    /// Where it stands.
    pub(super) fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Goes back to where it stood.
    pub(super) fn go_back(&mut self, cursor: Cursor) {
        self.cursor = cursor;
    }

    /// Goes behind the last sample.
    pub(super) fn go_to_end(&mut self) {
        (self.cursor.left, self.cursor.next) = (0, self.sizes.count());
    }

    /// Goes to a sample by its number, and says it.
    pub(super) fn go_to_sample(&mut self, wanted: u64) -> Option<u64> {
        let mut before = 0_u64;
        for entry in 0..self.durations.count() {
            let (of_it, each) = (self.durations.word(entry, 0)?, self.durations.word(entry, 1)?);
            if wanted - before < u64::from(of_it) {
                let inside = (wanted - before) as u32;
                self.cursor.duration = (entry + 1, of_it - inside, each);
                return self.go_to(wanted).map(|()| wanted);
            }
            before += u64::from(of_it);
        }
        None
    }

    /// Goes to the sample that lasts over tick `wanted`, and says at which it starts. `None`: it stands
    /// anywhere.
    pub(super) fn go_to_tick(&mut self, wanted: u64) -> Option<u64> {
        let (mut sample, mut ticks) = (0_u64, 0_u64);
        for entry in 0..self.durations.count() {
            let (of_it, each) = (self.durations.word(entry, 0)?, self.durations.word(entry, 1)?);
            let all = u64::from(of_it) * u64::from(each);
            if wanted - ticks < all {
                let inside = (wanted - ticks) / u64::from(each);
                self.cursor.duration = (entry + 1, of_it - inside as u32, each);
                self.go_to(sample + inside)?;
                return Some(ticks + inside * u64::from(each));
            }
            (sample, ticks) = (sample + u64::from(of_it), ticks + all);
        }
        None
    }

    /// Finds the chunk of a sample, and where in it the sample lies.
    fn go_to(&mut self, sample: u64) -> Option<()> {
        let mut before = 0_u64;
        for entry in 0..self.chunks.count() {
            let first = u64::from(self.chunks.word(entry, 0)?).checked_sub(1)?;
            let each = u64::from(self.chunks.word(entry, 1)?);
            let next = self.chunks.word(entry + 1, 0).map_or(self.offsets.count() + 1, u64::from);
            let all = next.checked_sub(1)?.checked_sub(first)? * each;
            if sample - before < all {
                let (chunk, inside) = ((sample - before) / each, (sample - before) % each);
                self.cursor.position = self.offset(first + chunk)?;
                for passed in sample - inside..sample {
                    let bytes = self.sizes.bytes(passed)?;
                    self.cursor.position = self.cursor.position.saturating_add(bytes.into());
                }
                self.cursor.chunk = (first + chunk + 1, entry);
                (self.cursor.left, self.cursor.next) = (each - inside, sample);
                return Some(());
            }
            before += all;
        }
        None
    }
}

impl<'y> Sizes<'y> {
    fn new(inside: &Rc<Inside<'y>>, base: u64, tables: &Tables, sample_bytes: Option<u32>) -> Self {
        let mut head = [0; 12];
        inside.read_full(base + tables.sizes.start, &mut head);
        let (start, end) = (base + tables.sizes.start + 12, base + tables.sizes.end);
        let count = u64::from(u32_at(&head, 8));
        match (tables.is_compact, u32_at(&head, 4)) {
            (false, 0) => {
                let words = Column::new(inside, start, end, 4, count);
                Self::Words(words, count)
            }
            (false, bytes) => Self::Equal { bytes: sample_bytes.unwrap_or(bytes), count },
            (true, bits) => {
                let bits = bits & 0xFF;
                let bytes = if bits == 16 { 2 } else { 1 };
                let entries = if bits == 4 { count.div_ceil(2) } else { count };
                Self::Compact(Column::new(inside, start, end, bytes, entries), count, bits)
            }
        }
    }

    fn count(&self) -> u64 {
        match self {
            Self::Equal { count, .. } | Self::Words(_, count) | Self::Compact(_, count, _) => {
                *count
            }
        }
    }

    fn bytes(&mut self, sample: u64) -> Option<u32> {
        if sample >= self.count() {
            return None;
        }
        match self {
            Self::Equal { bytes, .. } => Some(*bytes),
            Self::Words(words, _) => words.word(sample, 0),
            Self::Compact(entries, _, bits) => {
                let entry = if *bits == 4 { sample / 2 } else { sample };
                Some(compact(entries.entry(entry)?, *bits, sample))
            }
        }
    }
}

/// The length of a sample by its entry, which of 4 bits has two.
fn compact(entry: &[u8], bits: u32, sample: u64) -> u32 {
    match (bits, sample % 2) {
        (4, 0) => u32::from(entry[0] >> 4),
        (4, _) => u32::from(entry[0] & 15),
        _ => entry.iter().fold(0, |size, byte| size << 8 | u32::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_sizes_have_4_8_or_16_bits() {
        assert_eq!([6, 7].map(|sample| compact(&[0xA3], 4, sample)), [10, 3]);
        assert_eq!([6, 7].map(|sample| compact(&[0xA3], 8, sample)), [0xA3; 2]);
        assert_eq!([6, 7].map(|sample| compact(&[0xA3, 1], 16, sample)), [0xA301; 2]);
    }
}
