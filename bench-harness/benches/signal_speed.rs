//! The signal side alone: what mixing, resampling, quantising and FLAC cost per second of audio.
//!
//! `cargo bench --bench signal_speed`. The best of several runs of CPU time each.

use kithara::{
    decode::{Dither, Encoding, Frames, Quality, Spec, quantise},
    encode::flac::Encoder,
};
use kithara_bench::{
    Table,
    signal::{resample, tones},
    thread_cpu,
};

const SECONDS: usize = 30;

fn main() {
    let frames = tones(2, SECONDS * 44100);
    let table = Table::new(44, ["stage, stereo", "x real time"]);
    let report = |name: &str, seconds: f64| {
        table.row([name.to_owned(), format!("{:.0}", SECONDS as f64 / seconds)]);
    };
    for encoding in [Encoding::S16le, Encoding::S24le, Encoding::S32le, Encoding::F32le] {
        for dither in [Dither::None, Dither::Tpdf] {
            let seconds = best(|| quantise_all(&frames, encoding, dither));
            report(&format!("quantise {encoding:?}, dither {dither:?}"), seconds);
        }
    }
    for (from_hz, to_hz) in [(44100, 48000), (48000, 44100), (96000, 44100), (44100, 192_000)] {
        for quality in [Quality::Fast, Quality::Good, Quality::Best] {
            let seconds = best(|| resample_all(&frames, from_hz, to_hz, quality));
            report(&format!("{from_hz} to {to_hz} Hz, {quality:?}, s16le"), seconds);
        }
    }
    for bits in [16, 24] {
        let encoding = if bits == 16 { Encoding::S16le } else { Encoding::S24le };
        let mut pcm = vec![0; frames.len() * 2 * encoding.bytes()];
        quantise(encoding, Dither::None, 0, &[&frames.planes[0], &frames.planes[1]], &mut pcm);
        report(&format!("FLAC of {bits} bits"), best(|| flac_all(&pcm, bits)));
    }
}

/// Seconds of CPU time of the fastest of seven runs.
fn best(mut run: impl FnMut()) -> f64 {
    let once = |_| {
        let before = thread_cpu();
        run();
        (thread_cpu() - before).as_secs_f64()
    };
    (0..7).map(once).fold(f64::INFINITY, f64::min)
}

fn quantise_all(frames: &Frames, encoding: Encoding, dither: Dither) {
    let mut block = vec![0; 1024 * 2 * encoding.bytes()];
    let planes = frames.planes[0].chunks_exact(1024).zip(frames.planes[1].chunks_exact(1024));
    for (index, (left, right)) in planes.enumerate() {
        quantise(encoding, dither, index as u64 * 1024, &[left, right], &mut block);
        std::hint::black_box(&block);
    }
}

fn resample_all(frames: &Frames, from_hz: u32, to_hz: u32, quality: Quality) {
    let spec = Spec {
        rate_hz: to_hz,
        channels: 2,
        encoding: Encoding::S16le,
        dither: Dither::None,
        quality,
    };
    resample(frames, from_hz, spec, |block| {
        std::hint::black_box(block);
    });
}

fn flac_all(pcm: &[u8], bits: u16) {
    let mut encoder = Encoder::new(44100, 2, bits, None).expect("possible");
    let mut block = vec![0; 64 << 10];
    for part in pcm.chunks(64 << 10) {
        encoder.push(part);
        while encoder.pull(&mut block) > 0 {
            std::hint::black_box(&block);
        }
    }
}
