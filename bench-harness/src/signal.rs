//! Synthetic frames and the pipeline alone: what the measurements of the signal side share.

use kithara::decode::{Channels, Frames, Info, Pipeline, Sample, Spec, default_mask};

/// Frames of a packet, as MP3 has them.
const PACKET_FRAMES: usize = 1152;

/// Tones with harmonics and a little noise.
pub fn tones(channels: usize, length: usize) -> Frames {
    let mut state = 1_u32;
    let plane = |channel: usize| {
        let sample = |frame: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = state as i32 as f32 / 2_147_483_648.0 * 0.01;
            let phase = frame as f32 * 0.03 * (channel + 1) as f32;
            phase.sin() * 0.3 + (phase * 3.0).sin() * 0.1 + (phase * 7.0).sin() * 0.05 + noise
        };
        (0..length).map(sample).collect()
    };
    Frames { planes: (0..channels).map(plane).collect(), wide: Vec::new() }
}

/// Makes of `frames` what `spec` says, packet by packet, and shows it to `visit` in parts of at most
/// 64 KiB.
///
/// # Panics
/// When the rates cannot be converted into each other.
pub fn resample(frames: &Frames, from_hz: u32, spec: Spec, mut visit: impl FnMut(&[u8])) {
    let count = frames.planes.len() as u16;
    let info = Info {
        container: "wav",
        codec: "pcm_f32le",
        rate_hz: from_hz,
        channels: Channels { count, mask: default_mask(count) },
        sample: Sample::Float,
        frames: Some(frames.len() as u64),
        tags: Vec::new(),
        tracks: Vec::new(),
    };
    let mut pipeline = Pipeline::new(&info, spec, 0, None).expect("possible");
    let mut block = vec![0; 64 << 10];
    let mut drain = |pipeline: &mut Pipeline| {
        loop {
            match pipeline.pull(&mut block) {
                0 => return,
                count => visit(&block[..count]),
            }
        }
    };
    let (mut packet, mut position) = (Frames::new(frames.planes.len()), 0);
    while position < frames.len() {
        let end = (position + PACKET_FRAMES).min(frames.len());
        packet.clear();
        for (into, from) in packet.planes.iter_mut().zip(&frames.planes) {
            into.extend_from_slice(&from[position..end]);
        }
        while !pipeline.push(position as u64, &packet) {
            drain(&mut pipeline);
        }
        position = end;
    }
    pipeline.finish();
    drain(&mut pipeline);
}
