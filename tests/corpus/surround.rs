//! The order of six channels, which every container and codec has in its own way.

use std::{fs, process::Command};

use crate::{
    has_ffmpeg,
    hear::{WHOLE, hear, small},
    say_skipped,
};

/// `surround-24.flac`, whose channels are tones of their own, by another encoder.
pub(crate) fn encoded(encoder: &str, ending: &str) -> Option<Vec<u8>> {
    let from = tempfile::NamedTempFile::new().unwrap();
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
