//! Samples to bytes: scale, dither, round, clamp and interleave in one pass.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Rounding is to the nearest integer, ties to even, in every encoding. Adding and subtracting a
//! power of two that pushes the fraction out of the mantissa does that rounding in two additions
//! that every vector unit has; `round_ties_even` is a library call per sample on plain x86-64.

/// How a sample is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Signed 16 bit, little endian.
    S16le,
    /// Signed 24 bit in 3 bytes, little endian.
    S24le,
    /// Signed 32 bit, little endian.
    S32le,
    /// IEEE 754 binary32, little endian, not clamped.
    F32le,
    /// Signed 16 bit, big endian (`audio/L16`).
    S16be,
}

impl Encoding {
    /// Bytes of one sample.
    pub fn bytes(self) -> usize {
        match self {
            Self::S16le | Self::S16be => 2,
            Self::S24le => 3,
            Self::S32le | Self::F32le => 4,
        }
    }
}

/// What is added before rounding, so that the error of rounding is not heard as distortion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dither {
    /// Nothing.
    #[default]
    None,
    /// Triangular noise of one step to either side, a function of frame and channel alone.
    Tpdf,
}

/// 1.5 * 2^23: `x + MAGIC` has the nearest integer to x in its low mantissa bits while |x| <= 2^22.
const MAGIC: f32 = 12_582_912.0;
/// The same for `f64`: 1.5 * 2^52. Values that are too large for it are clamped anyway.
const MAGIC_F64: f64 = 6_755_399_441_055_744.0;
/// 2^23: every f32 from here on is an integer.
const INTEGERS_FROM: f32 = 8_388_608.0;
const S16_SCALE: f32 = 32_768.0;
const S24_SCALE: f32 = 8_388_608.0;
const S32_SCALE: f32 = 2_147_483_648.0;

/// Writes planes of `f32` (one slice per channel, all of one length, full scale ±1.0) as
/// interleaved frames; `into` has exactly the bytes for them. `first_frame` is the position of the
/// first frame in the whole output, which seeds dither. NaN is silence in the integer encodings.
///
/// # Panics
/// If `into` has not exactly the bytes of the frames.
pub fn quantise(
    encoding: Encoding,
    dither: Dither,
    first_frame: u64,
    planes: &[&[f32]],
    into: &mut [u8],
) {
    let frames = planes.first().map_or(0, |plane| plane.len());
    assert_eq!(into.len(), frames * planes.len() * encoding.bytes());
    match (encoding, dither) {
        (Encoding::F32le, _) => interleave(planes, into, f32::to_le_bytes),
        (_, Dither::Tpdf) => dithered(encoding, first_frame, planes, f64::from, into),
        (Encoding::S16le, _) => interleave(planes, into, |x| to_s16(x).to_le_bytes()),
        (Encoding::S16be, _) => interleave(planes, into, |x| to_s16(x).to_be_bytes()),
        (Encoding::S24le, _) => interleave(planes, into, |x| low24(to_s24(x))),
        (Encoding::S32le, _) => interleave(planes, into, |x| to_s32(x).to_le_bytes()),
    }
}

/// The same for integers of 32 bits, left-aligned: they keep all their bits in `S32le`, and are
/// rounded once, ties to even, in the narrower encodings.
///
/// # Panics
/// If `into` has not exactly the bytes of the frames.
pub fn quantise_wide(
    encoding: Encoding,
    dither: Dither,
    first_frame: u64,
    planes: &[&[i32]],
    into: &mut [u8],
) {
    let frames = planes.first().map_or(0, |plane| plane.len());
    assert_eq!(into.len(), frames * planes.len() * encoding.bytes());
    let unit = |x: i32| f64::from(x) / f64::from(S32_SCALE);
    match (encoding, dither) {
        (Encoding::F32le, _) => interleave(planes, into, |x| (x as f32 / S32_SCALE).to_le_bytes()),
        (_, Dither::Tpdf) => dithered(encoding, first_frame, planes, unit, into),
        (Encoding::S16le, _) => {
            interleave(planes, into, |x| (narrow::<16>(x) as i16).to_le_bytes())
        }
        (Encoding::S16be, _) => {
            interleave(planes, into, |x| (narrow::<16>(x) as i16).to_be_bytes())
        }
        (Encoding::S24le, _) => interleave(planes, into, |x| low24(narrow::<24>(x))),
        (Encoding::S32le, _) => interleave(planes, into, i32::to_le_bytes),
    }
}

/// The left-aligned integer of a sample, for a packet that has no integers of its own.
pub(super) fn to_wide(sample: f32) -> i32 {
    to_s32(sample)
}

/// The sample of a left-aligned integer.
pub(super) fn from_wide(integer: i32) -> f32 {
    integer as f32 * (1.0 / S32_SCALE)
}

#[inline(always)]
fn to_s16(sample: f32) -> i16 {
    let bounded = bounded(sample * S16_SCALE, -S16_SCALE, S16_SCALE - 1.0);
    // The low half of the mantissa of MAGIC is zero, so that of the sum is the integer itself.
    (bounded + MAGIC).to_bits() as i16
}

#[inline(always)]
fn to_s24(sample: f32) -> i32 {
    round(bounded(sample * S24_SCALE, -S24_SCALE, S24_SCALE - 1.0)) as i32
}

#[inline(always)]
fn to_s32(sample: f32) -> i32 {
    // The cast saturates, and 2^31 - 1 is not an f32: nothing else could clamp here.
    round(sample * S32_SCALE) as i32
}

/// `value` between `low` and `high`; NaN is 0.
#[inline(always)]
fn bounded(value: f32, low: f32, high: f32) -> f32 {
    let number = if value.is_nan() { 0.0 } else { value };
    let below = if number < high { number } else { high };
    if below > low { below } else { low }
}

/// `value` to the nearest integer, ties to even, for every f32.
#[inline(always)]
fn round(value: f32) -> f32 {
    let shift = INTEGERS_FROM.copysign(value);
    if value.abs() < INTEGERS_FROM { (value + shift) - shift } else { value }
}

/// The upper `BITS` of a left-aligned integer, rounded to even and clamped.
#[inline(always)]
fn narrow<const BITS: u32>(sample: i32) -> i32 {
    let drop = 32 - BITS;
    let wide = i64::from(sample);
    let half = (1 << (drop - 1)) - 1 + ((wide >> drop) & 1);
    ((wide + half) >> drop).min((1 << (BITS - 1)) - 1) as i32
}

#[inline(always)]
fn low24(value: i32) -> [u8; 3] {
    let [a, b, c, _] = value.to_le_bytes();
    [a, b, c]
}

/// Writes the samples of all planes frame by frame.
#[inline(always)]
fn interleave<T: Copy, const BYTES: usize>(
    planes: &[&[T]],
    into: &mut [u8],
    bytes: impl Fn(T) -> [u8; BYTES],
) {
    match planes {
        [only] => {
            for (x, out) in only.iter().zip(into.chunks_exact_mut(BYTES)) {
                out.copy_from_slice(&bytes(*x));
            }
        }
        [left, right] => {
            let pairs = left.iter().zip(*right);
            for ((l, r), out) in pairs.zip(into.chunks_exact_mut(2 * BYTES)) {
                out[..BYTES].copy_from_slice(&bytes(*l));
                out[BYTES..].copy_from_slice(&bytes(*r));
            }
        }
        _ => {
            let stride = planes.len() * BYTES;
            for (channel, plane) in planes.iter().enumerate() {
                let places = into.chunks_exact_mut(stride);
                for (x, frame) in plane.iter().zip(places) {
                    frame[channel * BYTES..][..BYTES].copy_from_slice(&bytes(*x));
                }
            }
        }
    }
}

/// Integers with triangular noise of ±1 step, summed and rounded in `f64`.
fn dithered<T: Copy>(
    encoding: Encoding,
    first_frame: u64,
    planes: &[&[T]],
    unit: impl Fn(T) -> f64,
    into: &mut [u8],
) {
    let bits = encoding.bytes() as u32 * 8;
    let scale = f64::from(1_u32 << (bits - 1));
    let stride = planes.len() * encoding.bytes();
    for (channel, plane) in planes.iter().enumerate() {
        let places =
            into.chunks_exact_mut(stride).map(|frame| &mut frame[channel * encoding.bytes()..]);
        for ((x, out), frame) in plane.iter().zip(places).zip(first_frame..) {
            let noisy = unit(*x) * scale + triangle(frame, channel as u64);
            // Rounded before it is clamped: the bounds are integers, so the order does not matter.
            let value = ((noisy + MAGIC_F64) - MAGIC_F64).clamp(-scale, scale - 1.0) as i32;
            let bytes = value.to_le_bytes();
            match encoding {
                Encoding::S16be => out[..2].copy_from_slice(&[bytes[1], bytes[0]]),
                _ => out[..encoding.bytes()].copy_from_slice(&bytes[..encoding.bytes()]),
            }
        }
    }
}

/// Noise in -1.0..1.0, triangular, from the position alone: the same in every range of the output.
fn triangle(frame: u64, channel: u64) -> f64 {
    // SplitMix64 over (frame, channel); eight channels at most, so positions do not collide.
    let mut z = (frame * 8 + channel).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    let (high, low) = ((z >> 32) as u32, z as u32);
    (f64::from(high) - f64::from(low)) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTEGERS: [Encoding; 4] =
        [Encoding::S16le, Encoding::S16be, Encoding::S24le, Encoding::S32le];

    fn reference(encoding: Encoding, sample: f32) -> i64 {
        let scale = f64::from(1_u32 << (encoding.bytes() * 8 - 1));
        let value = (f64::from(sample) * scale).round_ties_even();
        if value.is_nan() { 0 } else { value.clamp(-scale, scale - 1.0) as i64 }
    }

    fn read(encoding: Encoding, bytes: &[u8]) -> i64 {
        match (encoding, bytes) {
            (Encoding::S16be, [a, b]) => i16::from_be_bytes([*a, *b]).into(),
            (_, [a, b]) => i16::from_le_bytes([*a, *b]).into(),
            (_, [a, b, c]) => (i32::from_le_bytes([0, *a, *b, *c]) >> 8).into(),
            (_, [a, b, c, d]) => i32::from_le_bytes([*a, *b, *c, *d]).into(),
            _ => unreachable!("a sample has 2 to 4 bytes"),
        }
    }

    fn written(encoding: Encoding, dither: Dither, first: u64, planes: &[&[f32]]) -> Vec<u8> {
        let mut bytes = vec![0; planes.len() * planes[0].len() * encoding.bytes()];
        quantise(encoding, dither, first, planes, &mut bytes);
        bytes
    }

    /// Every tie of 16 bit and its neighbours, edges of the ranges, and patterns from all of f32.
    fn samples() -> Vec<f32> {
        let mut samples = vec![0.0, -0.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        samples.extend([f32::MIN_POSITIVE, 1e-40, f32::MAX, f32::MIN, 1e16, -1e16]);
        for step in -32_800..=32_800 {
            let tie = (step as f32 + 0.5) / 32_768.0;
            samples.extend([step as f32 / 32_768.0, tie, tie.next_up(), tie.next_down()]);
        }
        for bits in 0..32 {
            let edge = (1_i64 << bits) as f32 / 2_147_483_648.0;
            for edge in [edge, -edge] {
                samples.extend([edge, edge.next_up(), edge.next_down(), 1.5 * edge, 1.25 * edge]);
            }
        }
        let mut state = 1_u64;
        samples.extend((0..400_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            f32::from_bits((state >> 32) as u32)
        }));
        samples.extend((0..400_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        }));
        samples
    }

    #[test]
    fn rounding_is_ties_to_even_and_clamped_for_every_sample() {
        let samples = samples();
        for encoding in INTEGERS {
            let bytes = written(encoding, Dither::None, 0, &[&samples]);
            for (x, bytes) in samples.iter().zip(bytes.chunks_exact(encoding.bytes())) {
                assert_eq!(read(encoding, bytes), reference(encoding, *x), "{encoding:?} {x:e}");
            }
        }
    }

    #[test]
    fn floats_keep_their_bits() {
        let samples = [0.1, -0.0, 1.5, f32::MIN_POSITIVE];
        let bytes = written(Encoding::F32le, Dither::Tpdf, 0, &[&samples]);
        let expected: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn any_number_of_channels_interleaves_frame_by_frame() {
        for encoding in INTEGERS {
            for channels in 1..=8_usize {
                let planes: Vec<Vec<f32>> = (0..channels)
                    .map(|channel| {
                        (0..37).map(|frame| (frame * 8 + channel) as f32 / 512.0 - 0.3).collect()
                    })
                    .collect();
                let slices: Vec<&[f32]> = planes.iter().map(Vec::as_slice).collect();
                let bytes = written(encoding, Dither::None, 0, &slices);
                for (index, bytes) in bytes.chunks_exact(encoding.bytes()).enumerate() {
                    let x = planes[index % channels][index / channels];
                    assert_eq!(read(encoding, bytes), reference(encoding, x));
                }
            }
        }
    }

    #[test]
    fn integers_of_up_to_24_bits_are_exact_through_f32() {
        for value in (-8_388_608..8_388_608).step_by(97).chain([8_388_607, -8_388_608]) {
            let sample = value as f32 / 8_388_608.0;
            assert_eq!(to_s24(sample), value);
            assert_eq!(to_s32(sample), value << 8);
            assert_eq!(i32::from(to_s16(sample)), narrow::<16>(value << 8));
        }
    }

    #[test]
    fn wide_integers_round_once() {
        let edges = [i32::MIN, i32::MAX, 0x7FFF_8000, 0x0000_8000, 0x0001_8000, -0x8000, -0x18000];
        let mut state = 9_u64;
        let random = (0..100_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 32) as i32
        });
        let planes: Vec<i32> = edges.into_iter().chain(random).collect();
        for encoding in INTEGERS {
            let mut bytes = vec![0; planes.len() * encoding.bytes()];
            quantise_wide(encoding, Dither::None, 0, &[&planes], &mut bytes);
            let step = (1_u64 << (32 - encoding.bytes() * 8)) as f64;
            let most = f64::from(1_u32 << (encoding.bytes() * 8 - 1)) - 1.0;
            for (x, bytes) in planes.iter().zip(bytes.chunks_exact(encoding.bytes())) {
                let expected = (f64::from(*x) / step).round_ties_even().min(most) as i64;
                assert_eq!(read(encoding, bytes), expected, "{encoding:?} {x:#x}");
            }
        }
    }

    #[test]
    fn dither_depends_on_frame_and_channel_only() {
        let plane: Vec<f32> = (0..1000).map(|frame| (frame as f32 * 0.01).sin() * 0.1).collect();
        for encoding in INTEGERS {
            let whole = written(encoding, Dither::Tpdf, 5000, &[&plane, &plane]);
            let tail = written(encoding, Dither::Tpdf, 5300, &[&plane[300..], &plane[300..]]);
            assert_eq!(whole[300 * 2 * encoding.bytes()..], tail);
            assert_ne!(whole, written(encoding, Dither::Tpdf, 5001, &[&plane, &plane]));
        }
    }

    #[test]
    fn dither_is_triangular_and_does_not_shift_the_mean() {
        let noise: Vec<f64> = (0..200_000).map(|frame| triangle(frame, frame & 1)).collect();
        let mean = noise.iter().sum::<f64>() / noise.len() as f64;
        let power = noise.iter().map(|x| x * x).sum::<f64>() / noise.len() as f64;
        assert!(mean.abs() < 0.005, "{mean}");
        assert!((power - 1.0 / 6.0).abs() < 0.002, "{power}");
        assert!(noise.iter().all(|x| x.abs() < 1.0));
    }

    #[test]
    fn dithered_silence_stays_within_one_step() {
        let bytes = written(Encoding::S16le, Dither::Tpdf, 0, &[&[0.0; 4096], &[f32::NAN; 4096]]);
        let (mut seen, mut sum) = ([0; 3], 0);
        for bytes in bytes.chunks_exact(2) {
            let value = read(Encoding::S16le, bytes);
            seen[(value + 1) as usize] += 1;
            sum += value;
        }
        assert!(seen.iter().all(|count| *count > 200), "{seen:?}");
        assert!(sum.abs() < 400, "{sum}");
    }
}
