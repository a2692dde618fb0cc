//! Streams that change their channels or their rate, and the small files of the tests.

use kithara::decode::Sample;

use crate::{
    Error,
    hear::{Heard, WHOLE, hear, small, strings},
};

/// What a stream decodes to: rate, channels, frames.
fn shape(heard: &Heard) -> (u32, usize, usize) {
    assert_eq!(heard.error, None);
    let info = heard.info.as_ref().expect("opened");
    (info.rate_hz, heard.planes.len(), heard.planes[0].len())
}

/// The loudest of some frames.
pub(crate) fn peak(plane: &[f32]) -> f32 {
    plane.iter().fold(0.0, |peak, sample| sample.abs().max(peak))
}

/// Packets of AAC after which its decoders start anew.
const GRID_PACKETS: usize = 320;

/// An ADTS stream with its two channels made into one: each frame's header says mono and its body is
/// that of a mono frame which holds silence.
fn silent_mono(frames: usize) -> Vec<u8> {
    // A single channel element of no bands, and the end element.
    let body = [0, 0, 0, 7];
    let length = 7 + body.len() as u8;
    let head = [0xFF, 0xF1, 0x50, 0x40, length >> 3, length << 5 | 0x1F, 0xFC];
    [&head[..], &body].concat().repeat(frames)
}

#[test]
fn adts_that_goes_from_one_channel_to_two_and_back_is_heard_throughout() {
    let stereo = strings("strings.aac");
    let sound = hear(&stereo, WHOLE, 0);
    let frames = sound.planes[0].len();
    let both = hear(&[&silent_mono(50)[..], &stereo, &silent_mono(50)].concat(), WHOLE, 0);
    assert_eq!(shape(&both), (44_100, 1, frames + 100 * 1024));
    assert_eq!(both.undecoded, 0);
    // Down-mixed as everywhere: half of each.
    let middle = &both.planes[0][50 * 1024..][..frames];
    let (left, right) = (&sound.planes[0], &sound.planes[1]);
    for frame in 2048..frames {
        let mean = (left[frame] + right[frame]) * 0.5;
        assert!((middle[frame] - mean).abs() < 1e-6, "frame {frame}");
    }
    assert!(peak(middle) > 0.1);

    // Noise is drawn anew where decoders start anew, so the second begins there as the first does.
    let silence = GRID_PACKETS - frames / 1024;
    let first = hear(&[&stereo[..], &silent_mono(silence), &stereo].concat(), WHOLE, 0);
    assert_eq!(shape(&first), (44_100, 2, frames + GRID_PACKETS * 1024));
    assert_eq!(first.undecoded, 0);
    for (plane, sound) in first.planes.iter().zip(&sound.planes) {
        assert!(plane[..frames] == sound[..]);
        assert!(plane[GRID_PACKETS * 1024 + 2048..] == sound[2048..]);
    }
}

#[test]
fn mp3_that_goes_from_one_channel_to_two_and_back_is_heard_throughout() {
    let bytes = strings("strings-bare.mp3");
    let mono = hear(&bytes, WHOLE, 0);
    let frames = mono.planes[0].len();
    let stereo = frame_of_silence(0x90, 0x00, 417).repeat(40);
    let heard = hear(&[&bytes[..], &stereo, &bytes].concat(), WHOLE, 0);
    assert_eq!(shape(&heard), (44_100, 1, 2 * frames + 40 * 1152));
    assert_eq!(heard.undecoded, 0);
    assert!(heard.planes[0][..frames] == mono.planes[0][..]);
    assert!(heard.planes[0][frames + 40 * 1152 + 1152..] == mono.planes[0][1152..]);
    let heard = hear(&[&stereo[..], &bytes, &stereo].concat(), WHOLE, 0);
    assert_eq!(shape(&heard), (44_100, 2, frames + 80 * 1152));
    for plane in &heard.planes {
        assert!(plane[40 * 1152 + 1152..][..frames - 1152] == mono.planes[0][1152..]);
    }
}

/// An MPEG 1 frame of layer 3 that holds no bits.
fn frame_of_silence(rates: u8, mode: u8, bytes: usize) -> Vec<u8> {
    let mut frame = vec![0; bytes];
    frame[..4].copy_from_slice(&[0xFF, 0xFB, rates, mode]);
    frame
}

/// 48 kHz in a track of 44.1: as long as it lasts, and silent.
#[test]
fn mp3_that_changes_its_rate_goes_on_in_time() {
    let bytes = strings("strings-bare.mp3");
    let sound = hear(&bytes, WHOLE, 0);
    let frames = sound.planes[0].len();
    // 128 kbit/s, mono: 384 bytes.
    let other = frame_of_silence(0x94, 0xC0, 384).repeat(100);
    let heard = hear(&[&bytes[..], &other, &bytes].concat(), WHOLE, 0);
    let between = 100 * 1152 * 44_100 / 48_000;
    assert_eq!(shape(&heard), (44_100, 1, 2 * frames + between));
    assert_eq!(heard.undecoded, 100);
    let plane = &heard.planes[0];
    assert!(plane[..frames] == sound.planes[0][..]);
    assert_eq!(peak(&plane[frames..frames + between]), 0.0);
    assert!(plane[frames + between..] == sound.planes[0][..]);
    for from in [frames - 10, frames + 1000, frames + between + 5000] {
        let late = hear(&[&bytes[..], &other, &bytes].concat(), WHOLE, from as u64);
        assert!(late.planes[0][..] == plane[from..], "from {from}");
    }
}

#[test]
fn a_file_that_changes_channels_and_rate_lasts_as_long_as_it_does() {
    // 40 packets of 44.1 kHz mono, then 44 of 24 kHz stereo.
    let heard = hear(&small("mono-then-stereo.mp3"), WHOLE, 0);
    assert_eq!(shape(&heard), (44_100, 1, 40 * 1152 + 44 * 576 * 44_100 / 24_000));
    assert_eq!(heard.undecoded, 44);
    assert!(peak(&heard.planes[0][..40 * 1152]) > 0.1);
}

#[test]
fn a_tag_longer_than_a_chunk_is_passed() {
    let bytes = small("big-id3.mp3");
    let heard = hear(&bytes, WHOLE, 0);
    assert_eq!(shape(&heard), (22_050, 1, 41 * 576));
    let info = heard.info.expect("opened");
    assert_eq!((info.frames, heard.undecoded), (None, 0));
    assert_eq!(info.tags, [("title".to_owned(), "Seven strings".to_owned())]);
    assert!(heard.planes == hear(&bytes[96 * 1024 + 10..], WHOLE, 0).planes);
}

#[test]
fn files_that_were_cut_give_what_they_have_and_what_they_promised() {
    // The last of 28 packets is cut off.
    assert_eq!(shape(&hear(&small("truncated.mp3"), WHOLE, 0)), (24_000, 2, 27 * 576));
    for (file, expected, there) in [
        ("truncated.flac", (44_100, 2, 44_100), 20_480),
        ("truncated.wav", (22_050, 1, 22_050), 13_000),
    ] {
        let heard = hear(&small(file), WHOLE, 0);
        assert_eq!(shape(&heard), expected, "{file}");
        assert_eq!(heard.info.as_ref().unwrap().frames, Some(expected.2 as u64));
        let last = heard.planes[0].iter().rposition(|sample| *sample != 0.0).unwrap();
        assert!(last > there && last < expected.2 * 11 / 16, "{file}: {last}");
    }
}

#[test]
fn six_channels_of_24_bits_are_what_they_were_made_of() {
    let heard = hear(&small("surround-24.flac"), WHOLE, 0);
    assert_eq!(shape(&heard), (48_000, 6, 12_000));
    let info = heard.info.expect("opened");
    assert_eq!(info.sample, Sample::Integer { bits: 24 });
    assert_eq!((info.channels.count, info.channels.mask), (6, 0x3F));
    let tones =
        [(0.5, 220.0), (0.4, 330.0), (0.3, 440.0), (0.2, 55.0), (0.25, 550.0), (0.2, 660.0)];
    for (plane, (level, tone)) in heard.planes.iter().zip(tones) {
        for (frame, sample) in plane.iter().enumerate() {
            let expected = level * (std::f64::consts::TAU * tone * frame as f64 / 48_000.0).sin();
            assert!((f64::from(*sample) - expected).abs() < 1e-6, "{tone} Hz, frame {frame}");
        }
    }
}

#[test]
fn files_in_which_nothing_is_to_be_heard_say_why() {
    let error = |name: &str| hear(&small(name), WHOLE, 0).error.expect("refused");
    assert_eq!(error("captive-portal.mp3"), Error::NotMedia);
    assert_eq!(error("zeros.mp3"), Error::NotMedia);
    let unsupported = |bytes: &[u8]| match hear(bytes, WHOLE, 0).error {
        Some(Error::Unsupported { name }) => name,
        error => panic!("{error:?}"),
    };
    let free = [&[0xFF, 0xFB, 0, 0x64][..], &[0; 2085]].concat().repeat(9);
    assert_eq!(unsupported(&free), "MPEG audio in the free format");
    assert_eq!(unsupported(b"#EXTM3U\n#EXTINF:6,\na.ts\n"), "hls (a playlist, not media)");
    assert!(matches!(error("no-moov.m4a"), Error::Damaged { .. }), "{:?}", error("no-moov.m4a"));
}
