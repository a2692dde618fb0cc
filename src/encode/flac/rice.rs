//! A residual in Rice codes (RFC 9639 section 9.2.7).
//!
//! Pure: numbers to bits.
//!
//! A residual is cut into 2^n partitions of equal length, the first shorter by the samples in front of
//! the residual. A number goes out folded, so that small ones of either sign are small: what is left
//! of it without its lowest k bits as so many zeros and a one, then those k bits. Each partition has
//! its own k. The code that sends a partition as it is (section 9.2.7.2) is not used: where it were
//! shorter by much, the whole signal goes out as it is.

use super::{
    bits::{BitWriter, PUT_BITS},
    effort::MAX_PARTITION_ORDER,
};

/// Most partitions.
const MAX_PARTITIONS: usize = 1 << MAX_PARTITION_ORDER;
/// The largest parameter of four bits, and of five: all ones is the escape.
const MAX_SHORT: u32 = 14;
const MAX_LONG: u32 = 30;
/// The bits that say how parameters are stored, and how many partitions there are.
const HEAD_BITS: u64 = 2 + 4;

/// A number with a sign as one without: 0, -1, 1, -2 .. become 0, 1, 2, 3 ..
#[inline(always)]
pub(super) fn fold(number: i32) -> u32 {
    ((number << 1) ^ (number >> 31)) as u32
}

/// How a residual is coded.
#[derive(Debug, Clone)]
pub(super) struct Rice {
    partition_order: u32,
    /// One for each partition.
    parameters: [u8; MAX_PARTITIONS],
    /// Bits of a parameter, 4 or 5.
    parameter_bits: u32,
    /// All bits of the coded residual.
    bits: u64,
}

impl Default for Rice {
    fn default() -> Self {
        Self { partition_order: 0, parameters: [0; MAX_PARTITIONS], parameter_bits: 4, bits: 0 }
    }
}

impl Rice {
    /// All bits that [`write`](Self::write) will write.
    pub(super) fn bits(&self) -> u64 {
        self.bits
    }

    /// Finds the partitions and the parameters for a residual behind `order` samples.
    pub(super) fn fit(&mut self, residual: &[u32], order: usize, max_partition_order: u32) {
        let block = residual.len() + order;
        let mut partition_order = most_partitions(block, order, max_partition_order);
        let mut sums = [0; MAX_PARTITIONS];
        for (sum, part) in sums.iter_mut().zip(parts(residual, order, partition_order)) {
            *sum = part.iter().map(|number| u64::from(*number)).sum();
        }
        let mut least = u64::MAX;
        loop {
            let mut tried = Self { partition_order, ..Self::default() };
            let expected = tried.choose(&sums, block, order);
            if expected < least {
                least = expected;
                *self = tried;
            }
            if partition_order == 0 {
                break;
            }
            partition_order -= 1;
            for index in 0..1 << partition_order {
                sums[index] = sums[2 * index] + sums[2 * index + 1];
            }
        }
        self.bits = self.count(residual, order);
    }

    /// Chooses the parameters by the partitions' sums; says what bits are expected.
    fn choose(&mut self, sums: &[u64], block: usize, order: usize) -> u64 {
        let partitions = 1 << self.partition_order;
        let (mut bits, mut largest) = (0, 0);
        for (index, sum) in sums[..partitions].iter().enumerate() {
            let numbers = (block >> self.partition_order) - if index == 0 { order } else { 0 };
            let (parameter, expected) = parameter(*sum, numbers as u64);
            self.parameters[index] = parameter as u8;
            largest = largest.max(parameter);
            bits += expected;
        }
        self.parameter_bits = if largest > MAX_SHORT { 5 } else { 4 };
        HEAD_BITS + bits + partitions as u64 * u64::from(self.parameter_bits)
    }

    /// The bits of the residual, exactly.
    fn count(&self, residual: &[u32], order: usize) -> u64 {
        let mut bits = HEAD_BITS;
        for (part, parameter) in parts(residual, order, self.partition_order).zip(self.parameters) {
            let zeros: u64 = part.iter().map(|number| u64::from(number >> parameter)).sum();
            bits += zeros + part.len() as u64 * (1 + u64::from(parameter));
            bits += u64::from(self.parameter_bits);
        }
        bits
    }

    /// Writes the residual that was fitted.
    pub(super) fn write(&self, residual: &[u32], order: usize, into: &mut BitWriter<'_>) {
        into.put(u64::from(self.parameter_bits - 4), 2);
        into.put(u64::from(self.partition_order), 4);
        for (part, parameter) in parts(residual, order, self.partition_order).zip(self.parameters) {
            let parameter = u32::from(parameter);
            into.put(u64::from(parameter), self.parameter_bits);
            let stop = 1 << parameter;
            for number in part {
                let zeros = number >> parameter;
                let low = u64::from(number & (stop - 1) | stop);
                if zeros + 1 + parameter <= PUT_BITS {
                    into.put(low, zeros + 1 + parameter);
                } else {
                    into.put_unary(zeros);
                    if parameter > 0 {
                        into.put(low - u64::from(stop), parameter);
                    }
                }
            }
        }
    }
}

/// The parts of a residual behind `order` samples.
fn parts(residual: &[u32], order: usize, partition_order: u32) -> impl Iterator<Item = &[u32]> {
    let length = (residual.len() + order) >> partition_order;
    let (first, rest) = residual.split_at(length - order);
    std::iter::once(first).chain(rest.chunks_exact(length.max(1)))
}

/// Binary logarithm of the most partitions that a block can have: all are of one length, and the first
/// must hold the samples in front of the residual.
fn most_partitions(block: usize, order: usize, most: u32) -> u32 {
    let mut partition_order = most.min(block.trailing_zeros());
    while block >> partition_order <= order && partition_order > 0 {
        partition_order -= 1;
    }
    partition_order
}

/// The parameter for so many numbers of that sum, and the bits that they are expected to take.
fn parameter(sum: u64, numbers: u64) -> (u32, u64) {
    let guess = (sum / numbers.max(1)).checked_ilog2().unwrap_or(0);
    let near = guess.saturating_sub(1)..=guess + 1;
    let bits = |parameter: u32| {
        // The bits cut off are half of what they can be on average.
        let cut = (numbers / 2).saturating_sub(numbers >> (parameter + 1));
        numbers * u64::from(parameter + 1) + (sum >> parameter).saturating_sub(cut)
    };
    let tried = near.map(|parameter| parameter.min(MAX_LONG)).map(|k| (k, bits(k)));
    tried.min_by_key(|(_, bits)| *bits).unwrap_or((0, numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of some size, folded.
    fn numbers(seed: u64, count: usize, most_bits: u32) -> Vec<u32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 32) as u32
        };
        (0..count).map(|_| next() >> (32 - most_bits) >> (next() % most_bits)).collect()
    }

    /// Reads the codes back, bit by bit as the format's document says.
    fn read(bytes: &[u8], block: usize, order: usize) -> Vec<u32> {
        let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
        let mut take = |count: u32| {
            (0..count).fold(0, |value, _| value << 1 | u32::from(bits.next().unwrap()))
        };
        let (parameter_bits, partition_order) = (4 + take(2), take(4));
        let mut numbers = Vec::new();
        for partition in 0..1 << partition_order {
            let parameter = take(parameter_bits);
            let count = (block >> partition_order) - if partition == 0 { order } else { 0 };
            for _ in 0..count {
                let mut zeros = 0;
                while take(1) == 0 {
                    zeros += 1;
                }
                numbers.push(zeros << parameter | take(parameter));
            }
        }
        numbers
    }

    #[test]
    fn codes_are_read_as_they_were_written_and_as_long_as_counted() {
        for seed in 0..300_usize {
            let order = seed % 13;
            let block = order + 1 + seed * 37 % 4096;
            let residual = numbers(seed as u64, block - order, 1 + seed as u32 % 31);
            let mut rice = Rice::default();
            rice.fit(&residual, order, seed as u32 % 9);
            let mut bytes = vec![0; rice.bits() as usize / 8 + 16];
            let mut writer = BitWriter::new(&mut bytes);
            rice.write(&residual, order, &mut writer);
            assert_eq!(writer.bits(), rice.bits(), "seed {seed}");
            writer.align();
            assert_eq!(read(writer.written(), block, order), residual, "seed {seed}");
        }
    }

    #[test]
    fn the_parameter_is_near_the_best() {
        for seed in 0..200 {
            let residual = numbers(seed, 512, 2 + seed as u32 % 20);
            let exact =
                |k: u32| residual.iter().map(|n| u64::from(n >> k) + 1 + u64::from(k)).sum();
            let best: u64 = (0..=MAX_LONG).map(exact).min().unwrap();
            let (chosen, _) = parameter(residual.iter().map(|n| u64::from(*n)).sum(), 512);
            let chosen: u64 = exact(chosen);
            assert!(chosen <= best + best / 16, "seed {seed}: {chosen} bits, {best} would do");
        }
    }

    #[test]
    fn parts_differ_where_the_signal_does() {
        let mut residual = vec![0; 2048];
        residual.extend(vec![1 << 12; 2048]);
        let mut rice = Rice::default();
        rice.fit(&residual, 0, 8);
        assert_eq!((rice.partition_order, rice.parameters[0]), (1, 0));
        assert!(rice.parameters[1] >= 11);
    }

    #[test]
    fn extremes_fold_and_are_counted() {
        assert_eq!([0, -1, 1, i32::MIN, i32::MAX].map(fold), [0, 1, 2, u32::MAX, u32::MAX - 1]);
        let residual = [u32::MAX; 64];
        let mut rice = Rice::default();
        rice.fit(&residual, 0, 8);
        assert!(rice.bits() < 64 * 40);
    }
}
