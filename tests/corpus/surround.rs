//! Many channels, which every container and codec has in an order of its own.

use std::{fs, path::Path, process::Command, time::Instant};

use kithara::decode::Error;
use tempfile::NamedTempFile;

use crate::{
    ffmpeg, has_ffmpeg,
    hear::{Heard, WHOLE, hear, small},
    say_skipped,
};

/// `surround-24.flac`, whose channels are tones of their own, by another encoder.
pub(crate) fn encoded(encoder: &str, ending: &str) -> Option<Vec<u8>> {
    let from = NamedTempFile::new().unwrap();
    fs::write(from.path(), small("surround-24.flac")).unwrap();
    let to = tempfile::Builder::new().suffix(ending).tempfile().unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y", "-i"]).arg(from.path()).args(["-c:a", encoder]);
    let made = ffmpeg.arg(to.path()).status().unwrap().success();
    if !made {
        say_skipped(&format!("this ffmpeg has no {encoder}"));
    }
    made.then(|| fs::read(to.path()).unwrap())
}

#[test]
fn six_channels_are_in_one_order_whatever_held_them() {
    if !has_ffmpeg() {
        return;
    }
    let source = hear(&small("surround-24.flac"), WHOLE, 0).planes;
    for (encoder, ending) in [("alac", ".m4a"), ("pcm_s24be", ".aiff")] {
        let Some(bytes) = encoded(encoder, ending) else { continue };
        let heard = hear(&bytes, WHOLE, 0);
        assert_eq!(heard.error, None, "{encoder}");
        let channels = heard.info.expect("opened").channels;
        assert_eq!((channels.count, channels.mask), (6, 0x3F), "{encoder}");
        for (channel, plane) in heard.planes.iter().enumerate() {
            let same = source.iter().position(|other| other == plane);
            assert_eq!(same, Some(channel), "{encoder}: what is in place of channel {channel}");
        }
    }
}

/// Seconds of a tone of its own in each channel of a layout, as ffmpeg names it, by ffmpeg's encoder of AAC.
fn aac(layout: &str, channels: usize, seconds: u32, ending: &str) -> NamedTempFile {
    let tones: Vec<_> = (2..channels + 2).map(|at| format!("0.1*sin(2*PI*t*{at}00)")).collect();
    let tones = format!("aevalsrc={}:c={layout}:s=48000:d={seconds}", tones.join("|"));
    let to = tempfile::Builder::new().suffix(ending).tempfile().unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    // Noise that is made up comes out of each decoder as its own.
    let options = ["-c:a", "aac", "-aac_pns", "0", "-b:a", "384k"];
    ffmpeg.args(["-v", "error", "-y", "-f", "lavfi", "-i", &tones]).args(options).arg(to.path());
    assert!(ffmpeg.status().unwrap().success(), "{layout}");
    to
}

/// The largest difference of what is heard of a file from what ffmpeg hears, of every channel.
fn difference(heard: &Heard, path: &Path) -> f32 {
    let (theirs, channels) = (ffmpeg(path).expect("ffmpeg decodes it"), heard.planes.len());
    // It does not cut the padding of MP4.
    assert!(theirs.len() >= channels * heard.frames(), "{}", path.display());
    let planes = heard.planes.iter().enumerate().flat_map(|(channel, plane)| {
        plane.iter().zip(theirs.iter().skip(channel).step_by(channels))
    });
    planes.map(|(our, their)| (our - their).abs()).fold(0.0, f32::max)
}

#[test]
fn aac_of_many_channels_is_what_ffmpeg_makes_of_it() {
    if !has_ffmpeg() {
        return;
    }
    let anywhere = [".m4a", ".aac", ".ts", ".mka"];
    // What no channel configuration says, a program does: ffmpeg has the low frequencies of 5.1 with side
    // channels in a single one at the sides, and those at the back.
    for (layout, mask, endings) in [
        ("3.0", 0x7u32, &anywhere[..1]),
        ("4.0", 0x107, &anywhere[..1]),
        ("5.0", 0x37, &anywhere[..1]),
        ("5.1", 0x3F, &anywhere[..]),
        ("7.1", 0x63F, &anywhere[..]),
        ("2.1", 0xB, &anywhere[..1]),
        ("quad", 0x33, &[".m4a", ".mka"]),
        ("5.0(side)", 0x607, &anywhere[..1]),
        ("5.1(side)", 0x3F, &[".m4a", ".mka"]),
    ] {
        for ending in endings {
            let file = aac(layout, mask.count_ones() as usize, 1, ending);
            let heard = hear(&fs::read(file.path()).unwrap(), WHOLE, 0);
            assert_eq!((&heard.error, heard.undecoded), (&None, 0), "{layout} in {ending}");
            let info = heard.info.clone().expect("opened");
            let said = (info.codec, info.rate_hz, info.channels.mask, heard.planes.len());
            assert_eq!(
                said,
                ("aac", 48_000, mask, mask.count_ones() as usize),
                "{layout} in {ending}"
            );
            assert!(difference(&heard, file.path()) < 1e-6, "{layout} in {ending}");
        }
    }
}

#[test]
fn aac_of_many_channels_is_the_same_from_wherever_it_is_begun() {
    if !has_ffmpeg() {
        return;
    }
    let bytes = fs::read(aac("5.1", 6, 9, ".m4a").path()).unwrap();
    let whole = hear(&bytes, WHOLE, 0).planes;
    // Around the first point of its grid, and far behind.
    for from in [1, 320 * 1024 - 1024, 320 * 1024 + 1, 400_000] {
        let rest = hear(&bytes, WHOLE, from as u64).planes;
        let is_same = rest.iter().zip(&whole).all(|(rest, whole)| rest[..] == whole[from..]);
        assert!(is_same, "from frame {from}");
    }
}

#[test]
fn aac_whose_channels_nobody_can_name_is_refused() {
    if !has_ffmpeg() {
        return;
    }
    let file = aac("quad", 4, 1, ".aac");
    let heard = hear(&fs::read(file.path()).unwrap(), WHOLE, 0);
    let error = heard.error.expect("refused").to_string();
    assert!(error.contains("aac (channels by program config in ADTS)"), "{error}");
}

/// Elements by the hundred in one packet: it is refused before they take their time.
#[test]
fn a_packet_of_very_many_elements_does_not_hold_the_core() {
    /// An element of one channel that holds nothing, in bits.
    const ELEMENT_BITS: usize = 29;
    /// The longest packet of eight channels.
    const PACKET_BYTES: usize = 6144;
    let mut packet = vec![0u8; PACKET_BYTES];
    let end = (PACKET_BYTES * 8 / ELEMENT_BITS - 1) * ELEMENT_BITS;
    (end..end + 3).for_each(|bit| packet[bit / 8] |= 0x80 >> (bit % 8));
    let length = PACKET_BYTES as u32 + 7;
    // 48 kHz, channel configuration 7.
    let mut frame = vec![0xFF, 0xF1, 0x40 | 3 << 2 | 1, 0xC0];
    frame[3] |= (length >> 11) as u8;
    frame.extend([(length >> 3) as u8, (length << 5) as u8 | 0x1F, 0xFC]);
    frame.extend(packet);
    let began = Instant::now();
    let heard = hear(&frame.repeat(50), WHOLE, 0);
    assert!(matches!(heard.error, Some(Error::Damaged { .. })), "{:?}", heard.error);
    assert!(began.elapsed().as_secs() < 2, "{:?}", began.elapsed());
}
