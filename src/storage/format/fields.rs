//! Fields of fixed size, taken one by one from the start of some bytes.
//!
//! Pure: no I/O, no clock, no executor.

/// The bytes that were not taken yet. A field that is not there whole is `None`.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_le_bytes)
    }

    /// The next `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_follow_each_other_and_end_with_the_bytes() {
        let mut fields = Fields(&[1, 2, 0, 9, 8, 7]);
        assert_eq!((fields.u8(), fields.u16()), (Some(1), Some(2)));
        assert_eq!(fields.u32(), None);
        assert_eq!((fields.bytes(4), fields.bytes(3)), (None, Some(&[9, 8, 7][..])));
        assert_eq!(fields.u8(), None);
    }
}
