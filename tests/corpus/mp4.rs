//! MP4: samples wherever they lie, by tables and by fragments.

use crate::{
    atom, has_ffmpeg,
    hear::{Feed, Random, WHOLE, hear, is_same, strings},
};

/// What ffmpeg makes of one of the demo's files by these arguments.
fn made(file: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    if !has_ffmpeg() {
        return None;
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/material");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made.mp4");
    let mut ffmpeg = std::process::Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(root.join(file)).args(["-strict", "-2"]);
    ffmpeg.args(arguments).arg(&path);
    assert!(ffmpeg.status().expect("ffmpeg runs").success(), "{arguments:?}");
    Some(std::fs::read(path).expect("it made one"))
}

/// Fragments of half a second.
const FRAGMENTED: [&str; 6] =
    ["-c:a", "flac", "-frag_duration", "500000", "-movflags", "empty_moov+default_base_moof"];
/// The same without the flag that says from where runs count.
const BARE: [&str; 6] = ["-c:a", "flac", "-frag_duration", "500000", "-movflags", "empty_moov"];

#[test]
fn tables_and_fragments_give_the_frames_of_the_source() {
    let whole = hear(&strings("strings.flac"), WHOLE, 0);
    let tables = ["-c:a", "flac"];
    let pcm = ["-c:a", "pcm_s16le", "-f", "mov"];
    for arguments in [&tables[..], &pcm, &FRAGMENTED, &BARE] {
        let Some(bytes) = made("strings.flac", arguments) else { return };
        let heard = hear(&bytes, WHOLE, 0);
        assert_eq!(heard.undecoded, 0, "{arguments:?}");
        assert!(is_same(&heard, &whole, 0), "{arguments:?}: {:?}", heard.error);
        for from in [1, 100_000, 200_001, whole.planes[0].len() - 1] {
            let late = hear(&bytes, Feed { piece_bytes: 4096, ..WHOLE }, from as u64);
            assert!(is_same(&late, &whole, from), "{arguments:?} from {from}");
        }
        let feed = Feed { piece_bytes: 1000, in_order: true, ..WHOLE };
        assert!(is_same(&hear(&bytes, feed, 0), &whole, 0), "{arguments:?} in order");
    }
}

#[test]
fn a_frame_far_ahead_is_looked_up_by_the_tables() {
    let Some(bytes) = made("strings.flac", &["-c:a", "flac"]) else { return };
    let whole = hear(&bytes, WHOLE, 0);
    let small = Feed { piece_bytes: 4096, ..WHOLE };
    let late = hear(&bytes, small, 220_000);
    assert!(is_same(&late, &whole, 220_000));
    assert!(late.fed < 64 << 10, "{} of {} bytes read", late.fed, bytes.len());
}

/// Where the boxes of that name start.
fn places(bytes: &[u8], kind: &[u8; 4]) -> Vec<usize> {
    let found = bytes.windows(4).enumerate().filter(|(_, four)| four == kind);
    found.map(|(at, _)| at - 4).collect()
}

#[test]
fn behind_a_damaged_fragment_the_next_lies_where_it_lay() {
    for arguments in [&FRAGMENTED, &BARE] {
        let Some(bytes) = made("strings.flac", arguments) else { return };
        let whole = hear(&bytes, WHOLE, 0);
        let (fragments, media) = (places(&bytes, b"moof"), places(&bytes, b"mdat"));
        assert!(fragments.len() > 5);
        for (name, at, count) in [
            ("its header", fragments[3], 8),
            ("all its boxes", fragments[3], media[3] - fragments[3]),
            ("its media", media[3] + 8, 20_000),
            ("the header of its media", media[3], 8),
        ] {
            let mut damaged = bytes.clone();
            let mut random = Random(at as u64);
            damaged[at..at + count].fill_with(|| random.below(256) as u8);
            let heard = hear(&damaged, WHOLE, 0);
            assert_eq!(heard.error, None, "{name}");
            let (frames, all) = (heard.planes[0].len(), whole.planes[0].len());
            assert_eq!(frames, all, "{name} of {arguments:?}");
            let differs = |frame: &usize| heard.planes[0][*frame] != whole.planes[0][*frame];
            let count = (0..all).filter(differs).count();
            assert!(count <= 7 * 4608, "{name} of {arguments:?}: {count} frames differ");
        }
    }
}

/// A run of four billion samples, of which none is there.
#[test]
fn runs_that_never_end_do() {
    let words =
        |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let bytes = crate::made_mp4(&[], 7);
    for size in [0, 1, 4, u32::MAX] {
        let header = words(&[0x2_0018, 1, 1024, size]);
        let run = words(&[1, u32::MAX, 100]);
        let part = atom(b"traf", &[&atom(b"tfhd", &[&header]), &atom(b"trun", &[&run])]);
        let fragment = atom(b"moof", &[&atom(b"mfhd", &[&words(&[0, 1])]), &part]);
        let heard = hear(&[&bytes[..], &fragment, &atom(b"mdat", &[&[0; 400]])].concat(), WHOLE, 0);
        assert!(heard.undecoded < 1000, "{} packets of {size} bytes", heard.undecoded);
    }
}
