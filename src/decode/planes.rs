//! Decoded samples of any kind into planes of `f32`.

use symphonia::core::audio::{Audio, AudioBuffer, GenericAudioBufferRef, sample::Sample};

use super::Frames;

/// How far a decoded sample may overshoot -1.0..1.0. A damaged packet can come out as 1e16 or as no
/// number at all, and would ring through every filter behind it; no sane one comes near this.
const CODED_LIMIT: f32 = 8.0;
/// The same for samples that no codec made: floating-point PCM is passed on as it is.
const PCM_LIMIT: f32 = 1e6;

/// Appends frames `from..to` of `decoded` to `into`, with the integers beside if `wide`.
///
/// The channels of a track are declared once. A stereo part in a mono stream becomes its mean; other
/// planes that `decoded` has too many of are left out, and those it has too few of repeat its last.
pub(super) fn append(
    decoded: &GenericAudioBufferRef<'_>,
    (from, to): (usize, usize),
    lossy: bool,
    wide: bool,
    into: &mut Frames,
) {
    use GenericAudioBufferRef as Any;
    let limit = if lossy { CODED_LIMIT } else { PCM_LIMIT };
    let planes = &mut into.planes;
    // The tray's room is that of its fullest load: a growth by doubling would never be used.
    planes.iter_mut().for_each(|plane| plane.reserve_exact(to - from));
    match decoded {
        Any::F32(buffer) if planes.len() == 1 && buffer.num_planes() == 2 => {
            fold(buffer, from, to, &mut planes[0], |sample| scrubbed(sample, limit));
        }
        Any::F32(buffer) => map(buffer, from, to, planes, |sample| scrubbed(sample, limit)),
        Any::F64(buffer) => map(buffer, from, to, planes, |sample| scrubbed(sample as f32, limit)),
        Any::S32(buffer) => {
            map(buffer, from, to, planes, |sample| sample as f32 * (1.0 / 2_147_483_648.0));
            if wide {
                map(buffer, from, to, &mut into.wide, |sample| sample);
            }
        }
        Any::S24(buffer) => {
            map(buffer, from, to, planes, |sample| sample.inner() as f32 * (1.0 / 8_388_608.0));
        }
        Any::S16(buffer) => {
            map(buffer, from, to, planes, |sample| f32::from(sample) * (1.0 / 32_768.0));
        }
        Any::S8(buffer) => {
            map(buffer, from, to, planes, |sample| f32::from(sample) * (1.0 / 128.0))
        }
        Any::U8(buffer) => {
            map(buffer, from, to, planes, |sample| (f32::from(sample) - 128.0) * (1.0 / 128.0));
        }
        Any::U16(buffer) => {
            map(buffer, from, to, planes, |s| (f32::from(s) - 32_768.0) * (1.0 / 32_768.0));
        }
        Any::U24(buffer) => map(buffer, from, to, planes, |sample| {
            (sample.inner() as f32 - 8_388_608.0) * (1.0 / 8_388_608.0)
        }),
        Any::U32(buffer) => {
            let signed = |sample: u32| (sample ^ 0x8000_0000) as i32;
            map(buffer, from, to, planes, |s| signed(s) as f32 * (1.0 / 2_147_483_648.0));
            if wide {
                map(buffer, from, to, &mut into.wide, signed);
            }
        }
    }
}

fn map<S: Sample, T>(
    buffer: &AudioBuffer<S>,
    from: usize,
    to: usize,
    planes: &mut [Vec<T>],
    convert: impl Fn(S) -> T,
) {
    let last = buffer.num_planes().saturating_sub(1);
    for (index, plane) in planes.iter_mut().enumerate() {
        let Some(samples) = buffer.plane(index.min(last)) else { continue };
        plane.extend(samples[from..to].iter().map(|sample| convert(*sample)));
    }
}

/// Appends the mean of two planes.
fn fold(
    buffer: &AudioBuffer<f32>,
    from: usize,
    to: usize,
    plane: &mut Vec<f32>,
    convert: impl Fn(f32) -> f32,
) {
    if let (Some(left), Some(right)) = (buffer.plane(0), buffer.plane(1)) {
        let pairs = left[from..to].iter().zip(&right[from..to]);
        plane.extend(pairs.map(|(left, right)| (convert(*left) + convert(*right)) * 0.5));
    }
}

/// `sample` within the limit; what is no number is silence.
fn scrubbed(sample: f32, limit: f32) -> f32 {
    if sample.abs() <= limit {
        sample
    } else if sample.is_nan() {
        0.0
    } else {
        limit.copysign(sample)
    }
}

/// Bits per sample where `format` is of integers.
pub(super) fn integer_bits(decoded: &GenericAudioBufferRef<'_>) -> Option<u32> {
    use GenericAudioBufferRef as Any;
    Some(match decoded {
        Any::U8(_) | Any::S8(_) => 8,
        Any::U16(_) | Any::S16(_) => 16,
        Any::U24(_) | Any::S24(_) => 24,
        Any::U32(_) | Any::S32(_) => 32,
        Any::F32(_) | Any::F64(_) => return None,
    })
}

/// Appends `count` frames of silence.
pub(super) fn append_silence(count: usize, into: &mut Frames) {
    into.planes.iter_mut().for_each(|plane| plane.resize(plane.len() + count, 0.0));
    into.wide.iter_mut().for_each(|plane| plane.resize(plane.len() + count, 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stereo_part_in_a_mono_stream_is_its_mean() {
        use symphonia::core::audio::{AudioMut, AudioSpec, layouts::CHANNEL_LAYOUT_STEREO};
        let spec = AudioSpec::new(48_000, CHANNEL_LAYOUT_STEREO);
        let mut buffer = AudioBuffer::<f32>::new(spec, 2);
        buffer.render_silence(Some(2));
        buffer.plane_mut(0).unwrap().copy_from_slice(&[0.5, -1.0]);
        buffer.plane_mut(1).unwrap().copy_from_slice(&[0.25, 0.5]);
        let decoded = GenericAudioBufferRef::F32(&buffer);
        let mut mono = Frames::new(1);
        append(&decoded, (0, 2), true, false, &mut mono);
        assert_eq!(mono.planes, [[0.375, -0.25]]);
        let mut stereo = Frames::new(2);
        append(&decoded, (1, 2), true, false, &mut stereo);
        assert_eq!(stereo.planes, [[-1.0], [0.5]]);
    }

    #[test]
    fn what_is_no_number_is_silence_and_what_is_too_loud_is_held() {
        assert_eq!(scrubbed(f32::NAN, CODED_LIMIT), 0.0);
        assert_eq!(scrubbed(-1e16, CODED_LIMIT), -8.0);
        assert_eq!(scrubbed(f32::INFINITY, PCM_LIMIT), 1e6);
        assert_eq!(scrubbed(1.25, CODED_LIMIT), 1.25);
    }
}
