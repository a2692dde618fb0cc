//! Opus that we encode: as long as its source, in its order, as near to it as libopus comes, and without
//! a complaint from the format's own tool.

use std::{path::Path, process::Command};

use kithara::encode::{Codec, Encoder, Output};

use crate::{
    encoded::{
        self, decoded_by_ffmpeg, distance, encode, encoded_by_ffmpeg, heard, odd_source, source,
        whole,
    },
    has_ffmpeg,
    hear::Random,
    ogg::pages,
    say_skipped,
};

fn output(channels: u16, bit_rate: Option<u32>) -> Output {
    encoded::output(Codec::Opus, 48_000, channels, bit_rate)
}

fn stored(bytes: &[u8]) -> tempfile::NamedTempFile {
    encoded::stored(Codec::Opus, bytes)
}

#[test]
fn what_comes_out_is_as_long_as_what_went_in() {
    let lengths = [0, 1, 647, 648, 649, 960, 47_999, 48_000, 100_001];
    for (channels, lengths) in [(1, &lengths[..]), (2, &lengths), (6, &[649, 20_000])] {
        for frames in lengths.iter().copied() {
            let bytes = whole(&output(channels, None), &source(frames, channels.into()));
            let ours = heard(&bytes);
            assert_eq!((ours.frames(), ours.total()), (frames, Some(frames as u64)), "{channels}");
            if has_ffmpeg() && frames > 0 {
                let theirs = decoded_by_ffmpeg(stored(&bytes).path());
                assert_eq!(theirs.len() / usize::from(channels), frames, "{channels}");
            }
        }
    }
}

#[test]
fn it_is_as_near_to_its_source_as_libopus_comes() {
    if !has_ffmpeg() {
        return;
    }
    for (channels, rate) in [(2, 128_000), (2, 64_000), (1, 64_000), (2, 256_000)] {
        let samples = source(6 * 48_000, channels.into());
        let file = stored(&whole(&output(channels, Some(rate)), &samples));
        let ours = decoded_by_ffmpeg(file.path());
        let theirs = encoded_by_ffmpeg(
            &output(channels, Some(rate)),
            &samples,
            &["-c:a", "libopus", "-vbr", "constrained"],
        );
        let (our, their) = (distance(&samples, &ours), distance(&samples, &theirs));
        let bytes = file.as_file().metadata().unwrap().len();
        println!("{channels} at {rate}: {our:.1} dB in {bytes} bytes, libopus {their:.1} dB");
        assert!(our > their - 0.5 && our > 8.0, "{channels} at {rate}: {our:.1} {their:.1}");
        let bits = bytes as f32 * 8.0 / 6.0;
        assert!((0.8..1.25).contains(&(bits / rate as f32)), "{bits} bits a second for {rate}");
    }
}

#[test]
fn every_channel_is_in_its_place() {
    for channels in 1..=8u16 {
        let count = usize::from(channels);
        let samples = source(24_000, count);
        let bytes = whole(&output(channels, Some(96_000 * u32::from(channels))), &samples);
        let ours = heard(&bytes);
        let planes = |samples: &[f32]| -> Vec<Vec<f32>> {
            let plane = |channel| samples.iter().skip(channel).step_by(count).copied().collect();
            (0..count).map(plane).collect()
        };
        let sources = planes(&samples);
        let mut decoded = vec![ours.planes];
        if has_ffmpeg() {
            decoded.push(planes(&decoded_by_ffmpeg(stored(&bytes).path())));
        }
        for decoded in decoded {
            for (channel, (decoded, source)) in decoded.iter().zip(&sources).enumerate() {
                // An LFE gets no high tones, and all are alike in noise.
                let near = distance(source, decoded);
                assert!(near > 3.0, "channel {channel} of {channels}: {near:.1} dB");
            }
        }
    }
}

#[test]
fn it_does_not_matter_how_the_samples_come() {
    let samples = source(30_000, 2);
    let at_once = whole(&output(2, None), &samples);
    let mut random = Random(4);
    for _ in 0..3 {
        let bytes = encode(&output(2, None), &samples, || 1 + random.below(9000) as usize);
        assert!(bytes == at_once);
    }
    assert!(
        encode(&output(2, None), &samples[..2000], || 3)
            == whole(&output(2, None), &samples[..2000])
    );
}

#[test]
fn pages_are_a_second_at_most_and_the_last_one_says_so() {
    for (channels, rate) in [(1, 6_000), (2, 128_000), (2, 510_000), (8, 510_000)] {
        let bytes = whole(&output(channels, Some(rate)), &source(200_000, channels.into()));
        let granule = |page: &std::ops::Range<usize>| {
            u64::from_le_bytes(bytes[page.start + 6..page.start + 14].try_into().unwrap())
        };
        let all = pages(&bytes);
        let granules: Vec<u64> = all.iter().map(granule).collect();
        assert!(granules.windows(2).all(|pair| pair[1] - pair[0] <= 48_000), "{granules:?}");
        assert_eq!(granules.last(), Some(&(200_000 + 312)));
        let flags: Vec<u8> = all.iter().map(|page| bytes[page.start + 5]).collect();
        assert!(flags[0] == 2 && flags[flags.len() - 1] == 4);
        assert!(flags[1..flags.len() - 1].iter().all(|flags| *flags == 0));
    }
}

#[test]
fn the_tool_of_the_format_has_no_complaint() {
    let run = |path: &Path| Command::new("opusinfo").arg(path).output();
    for (channels, frames) in [(1, 48_000), (2, 100_001), (6, 50_000)] {
        let bytes = whole(&output(channels, None), &source(frames, channels.into()));
        let Ok(said) = run(stored(&bytes).path()) else {
            return say_skipped("no opusinfo (Debian's opus-tools) to look at Opus");
        };
        let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        assert!(!said.contains("WARNING") && !said.contains("ERROR"), "{said}");
        assert!(said.contains("Pre-skip: 312") && said.contains("kithara"), "{said}");
    }
}

#[test]
fn samples_of_any_kind_are_encoded() {
    let samples = odd_source(20_000, 2);
    let ours = heard(&whole(&output(2, None), &samples));
    assert_eq!(ours.frames(), 20_000);
    let rate = Encoder::new(&Output { rate_hz: 44_100, ..output(2, None) }).unwrap_err();
    assert_eq!(rate.to_string(), "Opus of 2 channels at 44100 Hz; 1 to 8 at 48000 Hz are possible");
    assert!(Encoder::new(&output(9, None)).is_err());
}
