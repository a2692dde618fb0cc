//! MP3 that we encode: as long as its source to the frame wherever its tag is read, at every rate and bit
//! rate of the format, and no farther from its source than LAME's.

use kithara::encode::{Codec, Encoder, Error, Output};

use crate::{
    WHOLE,
    encoded::{
        self, decoded_by_ffmpeg, distance, encode, encoded_by_ffmpeg, heard, odd_source, source,
        whole,
    },
    has_ffmpeg,
    hear::{Random, hear},
};

fn output(rate_hz: u32, channels: u16, bit_rate: Option<u32>) -> Output {
    encoded::output(Codec::Mp3, rate_hz, channels, bit_rate)
}

fn stored(bytes: &[u8]) -> tempfile::NamedTempFile {
    encoded::stored(Codec::Mp3, bytes)
}

#[test]
fn what_comes_out_is_as_long_as_what_went_in() {
    let has_ffmpeg = has_ffmpeg();
    for (rate_hz, channels) in [(44_100, 2), (22_050, 1)] {
        for frames in [0, 1, 94, 95, 96, 575, 576, 1152, 1153, 100_001] {
            let bytes = whole(&output(rate_hz, channels, None), &source(frames, channels.into()));
            let ours = heard(&bytes);
            let at = format!("{frames} frames of {channels} channels at {rate_hz} Hz");
            assert_eq!((ours.frames(), ours.total()), (frames, Some(frames as u64)), "{at}");
            assert_eq!(ours.info.unwrap().rate_hz, rate_hz);
            if has_ffmpeg && frames > 0 {
                let theirs = decoded_by_ffmpeg(stored(&bytes).path());
                assert_eq!(theirs.len() / usize::from(channels), frames, "{at}");
            }
        }
    }
}

#[test]
fn it_is_as_near_to_its_source_as_lame_comes() {
    if !has_ffmpeg() {
        return;
    }
    for (rate_hz, channels, rate) in
        [(44_100, 2, 128_000), (48_000, 2, 192_000), (44_100, 1, 320_000), (22_050, 1, 64_000)]
    {
        let (samples, wanted) =
            (source(200_000, channels.into()), output(rate_hz, channels, Some(rate)));
        let file = stored(&whole(&wanted, &samples));
        let ours = decoded_by_ffmpeg(file.path());
        let theirs = encoded_by_ffmpeg(&wanted, &samples, &["-c:a", "libmp3lame"]);
        let (our, their) = (distance(&samples, &ours), distance(&samples, &theirs));
        let bytes = file.as_file().metadata().unwrap().len();
        println!(
            "{channels} at {rate_hz}, {rate}: {our:.1} dB in {bytes} bytes, LAME {their:.1} dB"
        );
        assert!(our > their - 0.5 && our > 10.0, "{rate_hz} at {rate}: {our:.1} {their:.1}");
        let bits = bytes as f32 * 8.0 * rate_hz as f32 / 200_000.0;
        assert!((0.98..1.03).contains(&(bits / rate as f32)), "{bits} bits a second for {rate}");
    }
}

#[test]
fn every_rate_has_every_bit_rate_of_its_own() {
    let has_ffmpeg = has_ffmpeg();
    for rate_hz in Codec::Mp3.rates_hz().unwrap() {
        let asked = [8, 56, 100, 320].map(|rate| rate * 1000);
        for (bit_rate, channels) in asked.into_iter().zip([1, 2].into_iter().cycle()) {
            let samples = source(12_000, channels.into());
            let bytes = whole(&output(*rate_hz, channels, Some(bit_rate)), &samples);
            let at = format!("{bit_rate} at {rate_hz}");
            assert_eq!(heard(&bytes).frames(), 12_000, "{at}");
            if has_ffmpeg {
                let theirs = decoded_by_ffmpeg(stored(&bytes).path());
                assert_eq!(theirs.len(), samples.len(), "{at}");
                let near = distance(&samples, &theirs);
                assert!(near > 1.0, "{at}: {near:.1} dB");
            }
        }
    }
}

#[test]
fn what_goes_out_before_its_end_has_its_beginning_where_it_belongs() {
    let samples = source(30_000, 2);
    for (known, total) in [(Some(30_000), Some(30_000)), (None, None)] {
        let output = Output { frames: known, ..output(44_100, 2, None) };
        let encoder = Encoder::new(&output).unwrap();
        let (front, room) = (encoder.front(), encoder.room());
        let stored_bytes = whole(&output, &samples);
        assert!(front == room && front.len() == encoder.final_front().len());
        let sent = [&front, &stored_bytes[front.len()..]].concat();
        let (ours, whole) = (heard(&sent), heard(&stored_bytes));
        assert_eq!(ours.info.as_ref().unwrap().frames.is_some(), total.is_some());
        assert!(ours.planes[0].starts_with(&whole.planes[0]));
        assert_eq!(whole.frames(), 30_000);
        if has_ffmpeg() {
            let theirs = decoded_by_ffmpeg(stored(&sent).path());
            assert!(distance(&samples, &theirs) > 8.0);
            assert!(total.is_none() || theirs.len() == samples.len());
        }
    }
}

#[test]
fn what_was_promised_is_what_the_end_says() {
    let samples = source(30_000, 1);
    let output = Output { frames: Some(30_000), ..output(24_000, 1, None) };
    let front = Encoder::new(&output).unwrap().front();
    let mut whole = whole(&output, &samples);
    // But for the checksum of the audio and that of the tag.
    let checksums = 4 + 9 + 120 + 32..4 + 9 + 120 + 36;
    assert!(whole[checksums.clone()] != front[checksums.clone()]);
    whole[checksums.clone()].copy_from_slice(&front[checksums]);
    assert!(whole.starts_with(&front));
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
    for rate_hz in [48_000, 44_100, 32_000, 24_000, 8000] {
        for (bit_rate, channels) in [(8, 2), (64, 1), (128, 2), (320, 1), (320, 2)] {
            let output = output(rate_hz, channels, Some(bit_rate * 1000));
            let bytes = whole(&output, &odd_source(20_000, channels.into()));
            assert_eq!(hear(&bytes, WHOLE, 0).frames(), 20_000, "{bit_rate} at {rate_hz}");
        }
    }
    for (rate_hz, channels, refused) in [
        (96_000, 2, Error::Rate(Codec::Mp3)),
        (0, 1, Error::Rate(Codec::Mp3)),
        (44_100, 3, Error::Channels(Codec::Mp3)),
        (44_100, 0, Error::Channels(Codec::Mp3)),
    ] {
        assert_eq!(Encoder::new(&output(rate_hz, channels, None)).unwrap_err(), refused);
    }
}
