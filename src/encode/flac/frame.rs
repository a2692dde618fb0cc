//! One block of all channels as a frame (RFC 9639 section 9).
//!
//! Pure: samples to bytes.

use crc_fast::{CrcAlgorithm, checksum};

use super::{
    BLOCK_FRAMES, Format,
    bits::{BitWriter, SLACK_BYTES},
    effort::{Effort, Stereo},
    subframe::{Plan, Planner, Survey, most_bits},
};

/// Most bytes of a frame header, with its checksum (section 9.1).
const MAX_HEADER_BYTES: usize = 16;
/// Bytes of the checksum behind a frame (section 9.3).
const FOOTER_BYTES: usize = 2;
/// Where left, right, middle and side of two channels lie among the planes.
const SIDES: usize = 4;

/// Which two signals carry two channels, by their places among the planes, and the code of the frame
/// header (section 9.1.3).
const PAIRS: [([usize; 2], u8); 4] = [([0, 1], 1), ([0, 3], 8), ([3, 1], 9), ([2, 3], 10)];

/// Codes blocks of samples.
pub(super) struct Coder {
    format: Format,
    stereo: Stereo,
    planner: Planner,
    plans: Vec<Plan>,
    surveys: Vec<Survey>,
}

impl Coder {
    pub(super) fn new(format: Format, effort: Effort) -> Self {
        let stereo = if format.channels == 2 { effort.stereo } else { Stereo::Independent };
        // Where pairs are tried, the plans of all four wait for the choice.
        let plans = if stereo == Stereo::Tried { SIDES } else { 1 };
        Self {
            format,
            stereo,
            planner: Planner::new(effort, BLOCK_FRAMES),
            plans: (0..plans).map(|_| Plan::new(BLOCK_FRAMES)).collect(),
            surveys: Vec::with_capacity(usize::from(format.channels).max(SIDES)),
        }
    }

    /// Planes that [`encode`](Self::encode) wants: those of the channels, and room for middle and side.
    pub(super) fn planes(&self) -> usize {
        match self.stereo {
            Stereo::Independent => usize::from(self.format.channels),
            Stereo::Estimated | Stereo::Tried => SIDES,
        }
    }

    /// Appends a frame of that number of the first `frames` of all planes, which are spent by it.
    pub(super) fn encode(
        &mut self,
        planes: &mut [Vec<i32>],
        frames: usize,
        number: u64,
        into: &mut Vec<u8>,
    ) {
        let start = into.len();
        into.resize(start + max_frame_bytes(self.format, frames) + SLACK_BYTES, 0);
        let mut writer = BitWriter::new(&mut into[start..]);
        match self.stereo {
            Stereo::Independent => self.independent(planes, frames, number, &mut writer),
            Stereo::Estimated | Stereo::Tried => self.joint(planes, frames, number, &mut writer),
        }
        writer.align();
        let sum = checksum(CrcAlgorithm::Crc16Umts, writer.written());
        writer.put(sum, 16);
        let end = start + writer.written().len();
        into.truncate(end);
    }

    fn independent(
        &mut self,
        planes: &mut [Vec<i32>],
        frames: usize,
        number: u64,
        into: &mut BitWriter<'_>,
    ) {
        let bits = u32::from(self.format.bits);
        header(self.format, frames, self.format.channels as u8 - 1, number, into);
        for plane in planes {
            let samples = &mut plane[..frames];
            let survey = self.planner.survey(samples, bits);
            self.planner.plan(samples, &survey, &mut self.plans[0]);
            self.plans[0].write(samples, into);
        }
    }

    fn joint(
        &mut self,
        planes: &mut [Vec<i32>],
        frames: usize,
        number: u64,
        into: &mut BitWriter<'_>,
    ) {
        decorrelate(planes, frames);
        self.surveys.clear();
        for (index, plane) in planes.iter_mut().enumerate() {
            // The side has a bit more.
            let bits = u32::from(self.format.bits) + u32::from(index == SIDES - 1);
            self.surveys.push(self.planner.survey(&mut plane[..frames], bits));
        }
        let tried = self.stereo == Stereo::Tried;
        if tried {
            for ((plane, survey), plan) in planes.iter().zip(&self.surveys).zip(&mut self.plans) {
                self.planner.plan(&plane[..frames], survey, plan);
            }
        }
        let bits = |side: &usize| match tried {
            true => self.plans[*side].bits() as f64,
            false => self.surveys[*side].bits(frames),
        };
        let total = |pair: &[usize; 2]| pair.iter().map(bits).sum::<f64>();
        let least = PAIRS.iter().min_by(|a, b| total(&a.0).total_cmp(&total(&b.0)));
        let (pair, code) = least.expect("there are four");
        header(self.format, frames, *code, number, into);
        for side in *pair {
            let samples = &planes[side][..frames];
            let plan = if tried { side } else { 0 };
            if !tried {
                self.planner.plan(samples, &self.surveys[side], &mut self.plans[plan]);
            }
            self.plans[plan].write(samples, into);
        }
    }
}

/// Most bytes of a frame: all samples as they are, and a bit more of each for a side.
pub(super) fn max_frame_bytes(format: Format, frames: usize) -> usize {
    let subframe_bits = most_bits(frames, u32::from(format.bits) + 1);
    let bits = usize::from(format.channels) * subframe_bits;
    MAX_HEADER_BYTES + bits.div_ceil(8) + FOOTER_BYTES
}

/// Fills in middle and side (section 4.2). Half of an odd sum is rounded down: the side is odd then too,
/// which tells the decoder.
fn decorrelate(planes: &mut [Vec<i32>], frames: usize) {
    let [left, right, middle, side] = planes else { return };
    let pairs = left[..frames].iter().zip(&right[..frames]);
    let joint = middle.iter_mut().zip(side);
    for ((left, right), (middle, side)) in pairs.zip(joint) {
        *middle = (left + right) >> 1;
        *side = left - right;
    }
}

/// Writes a frame header (section 9.1) with its checksum.
fn header(format: Format, frames: usize, channels: u8, number: u64, into: &mut BitWriter<'_>) {
    let (block, block_bits) = match frames {
        BLOCK_FRAMES => (12, 0),
        1..=256 => (6, 8),
        _ => (7, 16),
    };
    let (rate, rate_value, rate_bits) = rate(format.rate_hz);
    let depth = if format.bits == 16 { 4 } else { 6 };
    // Fourteen ones and a zero, and another zero: blocks are of one size.
    into.put(0xFFF8, 16);
    into.put(block << 4 | rate, 8);
    into.put(u64::from(channels) << 4 | depth << 1, 8);
    coded_number(number, into);
    if block_bits > 0 {
        into.put(frames as u64 - 1, block_bits);
    }
    if rate_bits > 0 {
        into.put(rate_value, rate_bits);
    }
    into.put(header_sum(into.written()), 8);
}

/// The checksum of a header (section 9.1.8): x^8 + x^2 + x + 1 over at most 15 bytes.
fn header_sum(header: &[u8]) -> u64 {
    let shifted = |sum: u8| if sum & 0x80 != 0 { sum << 1 ^ 0x07 } else { sum << 1 };
    let sum = header.iter().fold(0, |sum, byte| (0..8).fold(sum ^ byte, |sum, _| shifted(sum)));
    sum.into()
}

/// The code of a rate, and what stands behind the number and in how many bits (sections 9.1.2, 9.1.7).
fn rate(rate_hz: u32) -> (u64, u64, u32) {
    const CODED_HZ: [u32; 11] =
        [88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];
    let value = u64::from(rate_hz);
    match CODED_HZ.iter().position(|coded| *coded == rate_hz) {
        Some(index) => (index as u64 + 1, 0, 0),
        None if rate_hz <= 0xFFFF => (13, value, 16),
        None if rate_hz.is_multiple_of(1000) && rate_hz <= 255_000 => (12, value / 1000, 8),
        None if rate_hz.is_multiple_of(10) && rate_hz <= 655_350 => (14, value / 10, 16),
        // No code says it: STREAMINFO does, outside of the streamable subset.
        None => (0, 0, 0),
    }
}

/// Writes a number of up to 36 bits as UTF-8 is written (section 9.1.5).
fn coded_number(number: u64, into: &mut BitWriter<'_>) {
    if number < 0x80 {
        return into.put(number, 8);
    }
    // With n bytes behind it the first has 6 - n bits, and each of those six.
    let behind = (1..6).find(|behind| number >> (6 * behind + 6 - behind) == 0).unwrap_or(6);
    let ones = (0xFF80_u64 >> behind) & 0xFF;
    into.put(ones | number >> (6 * behind), 8);
    for index in (0..behind).rev() {
        into.put(0x80 | number >> (6 * index) & 0x3F, 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut BitWriter<'_>)) -> Vec<u8> {
        let mut bytes = [0; 64];
        let mut writer = BitWriter::new(&mut bytes);
        write(&mut writer);
        writer.written().to_vec()
    }

    #[test]
    fn numbers_are_coded_as_characters_are() {
        for code in [0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x1_0000, 0x10_FFFF] {
            let expected = char::from_u32(code).unwrap().to_string().into_bytes();
            assert_eq!(written(|into| coded_number(code.into(), into)), expected);
        }
        let most = written(|into| coded_number((1 << 31) - 1, into));
        assert_eq!(most, [0xFD, 0xBF, 0xBF, 0xBF, 0xBF, 0xBF]);
        let most = written(|into| coded_number((1 << 36) - 1, into));
        assert_eq!(most, [0xFE, 0xBF, 0xBF, 0xBF, 0xBF, 0xBF, 0xBF]);
    }

    #[test]
    fn every_rate_has_the_code_of_the_format() {
        assert_eq!(rate(44_100), (9, 0, 0));
        assert_eq!(rate(96_000), (11, 0, 0));
        assert_eq!(rate(12_345), (13, 12_345, 16));
        assert_eq!(rate(64_000), (13, 64_000, 16));
        assert_eq!(rate(128_000), (12, 128, 8));
        assert_eq!(rate(352_800), (14, 35_280, 16));
        assert_eq!(rate(655_350), (14, 65_535, 16));
        assert_eq!(rate(65_537), (0, 0, 0));
    }

    #[test]
    fn a_header_is_that_of_the_documents_example() {
        // The only frame of RFC 9639 appendix D.1.
        let format = Format { rate_hz: 44_100, channels: 2, bits: 16 };
        let header = written(|into| header(format, 1, 1, 0, into));
        assert_eq!(header, [0xFF, 0xF8, 0x69, 0x18, 0x00, 0x00, 0xBF]);
    }
}
