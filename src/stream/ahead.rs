//! How far ahead of its position a stream has bytes fetched.
//!
//! Pure: no I/O, no clock, no executor.

use crate::storage::CHUNK_BYTES;

/// Where every stream begins, and begins again after a jump: four chunks.
const FIRST_BYTES: u64 = 4 * CHUNK_BYTES;

/// The read-ahead of one stream, in bytes. It doubles each time the stream had to wait, since that
/// means the fetch ahead of it was cut too short; a jump starts over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    bytes: u64,
    limit_bytes: u64,
}

impl Ahead {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self { bytes: FIRST_BYTES.min(limit_bytes), limit_bytes }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn waited(&mut self) {
        self.bytes = (self.bytes * 2).min(self.limit_bytes);
    }

    pub(super) fn jumped(&mut self) {
        *self = Self::new(self.limit_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_doubles_it_up_to_the_limit_and_a_jump_starts_over() {
        let mut ahead = Ahead::new(1 << 20);
        assert_eq!(ahead.bytes(), 256 << 10);
        (0..9).for_each(|_| ahead.waited());
        assert_eq!(ahead.bytes(), 1 << 20);
        ahead.jumped();
        assert_eq!(ahead.bytes(), 256 << 10);
    }
}
