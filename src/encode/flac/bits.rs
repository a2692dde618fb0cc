//! A writer of bits, most significant first (RFC 9639 section 5).
//!
//! Pure: it writes into the bytes that it was given.

/// Bytes behind the last one written that must be there: bits go out eight bytes at a time.
pub(super) const SLACK_BYTES: usize = 8;
/// Most bits of one [`BitWriter::put`]: with up to seven that wait they fit 64.
pub(super) const PUT_BITS: u32 = 56;

/// Bits on their way into bytes.
pub(super) struct BitWriter<'a> {
    bytes: &'a mut [u8],
    /// Whole bytes that are written.
    at: usize,
    /// The bits behind them, from the top down.
    waiting: u64,
    /// How many those are, 0 to 7.
    waiting_bits: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0, waiting: 0, waiting_bits: 0 }
    }

    /// Writes the lowest `bits` of `value`, 1 to [`PUT_BITS`]; those above are zero.
    #[inline(always)]
    pub(super) fn put(&mut self, value: u64, bits: u32) {
        debug_assert!((1..=PUT_BITS).contains(&bits) && value >> bits == 0);
        self.waiting |= value << (64 - self.waiting_bits - bits);
        // All that wait are stored each time: a store costs less than a branch that is mispredicted.
        self.bytes[self.at..self.at + SLACK_BYTES].copy_from_slice(&self.waiting.to_be_bytes());
        let bits = self.waiting_bits + bits;
        self.at += (bits / 8) as usize;
        self.waiting <<= bits & !7;
        self.waiting_bits = bits % 8;
    }

    /// Writes the lowest `bits` of a number with a sign, 1 to 32.
    pub(super) fn put_signed(&mut self, value: i32, bits: u32) {
        self.put(u64::from(value as u32) & ((1 << bits) - 1), bits);
    }

    /// Writes so many zeros and a one.
    pub(super) fn put_unary(&mut self, mut zeros: u32) {
        while zeros >= PUT_BITS {
            self.put(0, PUT_BITS);
            zeros -= PUT_BITS;
        }
        self.put(1, zeros + 1);
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) {
        if self.waiting_bits > 0 {
            self.put(0, 8 - self.waiting_bits);
        }
    }

    /// Bits that were written.
    pub(super) fn bits(&self) -> u64 {
        self.at as u64 * 8 + u64::from(self.waiting_bits)
    }

    /// The whole bytes that were written.
    pub(super) fn written(&self) -> &[u8] {
        &self.bytes[..self.at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_stand_where_they_were_put() {
        let mut state = 1_u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..200 {
            let mut bytes = [0xAA; 4096];
            let (mut writer, mut expected) = (BitWriter::new(&mut bytes), String::new());
            for _ in 0..100 {
                let bits = 1 + next(32) as u32;
                let value = next(1 << 31) & ((1 << bits) - 1);
                let zeros = next(130) as usize;
                writer.put(value, bits);
                writer.put_signed(-1, bits);
                writer.put_unary(zeros as u32);
                let (width, ones) = (bits as usize, "1".repeat(bits as usize));
                expected += &format!("{value:0width$b}{ones}{}1", "0".repeat(zeros));
            }
            assert_eq!(writer.bits(), expected.len() as u64);
            writer.align();
            let written: String =
                writer.written().iter().map(|byte| format!("{byte:08b}")).collect();
            let filled = expected.len().next_multiple_of(8);
            assert_eq!(written, format!("{expected:0<filled$}"));
        }
    }
}
