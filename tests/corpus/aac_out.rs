//! AAC that we encode: all of its source behind the packet by which every decoder is late, as near to it as
//! ffmpeg's.

use kithara::encode::{Codec, Encoder, Error, Output};

use crate::{
    WHOLE,
    encoded::{
        self, decoded_by_ffmpeg, distance, encode, encoded_by_ffmpeg, odd_source, source, whole,
    },
    has_ffmpeg,
    hear::{Random, hear},
};

/// Frames of a packet.
const PACKET: usize = 1024;

fn output(rate_hz: u32, channels: u16, bit_rate: Option<u32>) -> Output {
    encoded::output(Codec::Aac, rate_hz, channels, bit_rate)
}

fn stored(bytes: &[u8]) -> tempfile::NamedTempFile {
    encoded::stored(Codec::Aac, bytes)
}

#[test]
fn what_comes_out_is_what_went_in_in_whole_packets_behind_the_first() {
    let has_ffmpeg = has_ffmpeg();
    for (rate_hz, channels) in [(44_100, 2), (8000, 1), (96_000, 2)] {
        for frames in [0, 1, 1024, 1025, 50_000] {
            let bytes = whole(&output(rate_hz, channels, None), &source(frames, channels.into()));
            let packets = PACKET + frames.max(1).next_multiple_of(PACKET);
            let ours = hear(&bytes, WHOLE, 0);
            let at = format!("{frames} frames of {channels} channels at {rate_hz} Hz");
            assert_eq!((ours.error.as_ref(), ours.frames()), (None, packets), "{at}");
            if has_ffmpeg {
                let theirs = decoded_by_ffmpeg(stored(&bytes).path());
                assert_eq!(theirs.len() / usize::from(channels), packets, "{at}");
            }
        }
    }
}

#[test]
fn it_is_as_near_to_its_source_as_ffmpeg_comes() {
    if !has_ffmpeg() {
        return;
    }
    for (rate_hz, channels, rate) in
        [(44_100, 2, 128_000), (48_000, 2, 192_000), (44_100, 1, 64_000)]
    {
        let (samples, wanted) =
            (source(200_000, channels.into()), output(rate_hz, channels, Some(rate)));
        let file = stored(&whole(&wanted, &samples));
        let late = PACKET * usize::from(channels);
        let ours = decoded_by_ffmpeg(file.path());
        let theirs = encoded_by_ffmpeg(&wanted, &samples, &["-c:a", "aac"]);
        let (our, their) = (distance(&samples, &ours[late..]), distance(&samples, &theirs[late..]));
        let bytes = file.as_file().metadata().unwrap().len();
        println!(
            "{channels} at {rate_hz}, {rate}: {our:.1} dB in {bytes} bytes, ffmpeg {their:.1} dB"
        );
        assert!(our > their - 0.5 && our > 10.0, "{rate_hz} at {rate}: {our:.1} {their:.1}");
        let bits = bytes as f32 * 8.0 * rate_hz as f32 / 200_000.0;
        assert!((0.9..1.1).contains(&(bits / rate as f32)), "{bits} bits a second for {rate}");
    }
}

#[test]
fn every_rate_has_every_bit_rate_up_to_its_own_highest() {
    for rate_hz in Codec::Aac.rates_hz().unwrap() {
        for (bit_rate, channels) in [(8, 1), (32, 2), (96, 1), (512, 2), (512, 1)] {
            let samples = source(12_000, channels.into());
            let bytes = whole(&output(*rate_hz, channels, Some(bit_rate * 1000)), &samples);
            let at = format!("{bit_rate} at {rate_hz}");
            let ours = hear(&bytes, WHOLE, 0);
            assert_eq!((ours.error.as_ref(), ours.frames()), (None, 13 * PACKET), "{at}");
        }
    }
}

#[test]
fn it_does_not_matter_how_the_samples_come() {
    let samples = source(20_000, 2);
    let output = output(44_100, 2, None);
    let at_once = whole(&output, &samples);
    let mut random = Random(4);
    for _ in 0..3 {
        assert!(encode(&output, &samples, || 1 + random.below(9000) as usize) == at_once);
    }
}

#[test]
fn samples_of_any_kind_are_encoded() {
    for rate_hz in [96_000, 44_100, 24_000, 8000] {
        for (bit_rate, channels) in [(8, 2), (64, 1), (128, 2), (512, 2)] {
            let output = output(rate_hz, channels, Some(bit_rate * 1000));
            let bytes = whole(&output, &odd_source(20_000, channels.into()));
            assert_eq!(hear(&bytes, WHOLE, 0).frames(), 21 * PACKET, "{bit_rate} at {rate_hz}");
        }
    }
    for (rate_hz, channels, refused) in [
        (192_000, 2, Error::Rate(Codec::Aac)),
        (0, 1, Error::Rate(Codec::Aac)),
        (44_100, 3, Error::Channels(Codec::Aac)),
        (44_100, 0, Error::Channels(Codec::Aac)),
    ] {
        assert_eq!(Encoder::new(&output(rate_hz, channels, None)).unwrap_err(), refused);
    }
}
