//! Scans and starts by a seek index: as many frames as a decode gives, and the same ones.

use std::{fs, path::Path, process::Command, rc::Rc};

use kithara::decode::Index;

use crate::{
    Random, WHOLE, ffmpeg, files, has_ffmpeg,
    hear::{Feed, Heard, hear_by, scan, small},
    material, name, strings,
};

/// Everything that lies in the tree, and beside it, with its name.
fn all() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = ["src/demo/material", "tests/material"].map(|folder| root.join(folder));
    let folders = own.into_iter().chain(material());
    let paths = folders.flat_map(|folder| files(&folder));
    paths.map(|path| (name(&path), fs::read(path).unwrap())).collect()
}

/// `seconds` of a piece with noise in it, as ffmpeg encodes it by these arguments.
pub(crate) fn encoded(seconds: u32, arguments: &[&str], suffix: &str) -> Vec<u8> {
    let file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    let noise = format!("anoisesrc=d={seconds}:c=pink:r=44100:a=0.3:seed=7");
    let tone =
        format!("aevalsrc='0.3*sin(440*2*PI*t)|0.3*sin(550*2*PI*t*t/9)':d={seconds}:s=44100");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", &noise, "-f", "lavfi", "-i", &tone])
        .args(["-filter_complex", "[0:a]aformat=channel_layouts=stereo[n];[n][1:a]amix=2"])
        .args(arguments)
        .arg(file.path())
        .status()
        .expect("ffmpeg runs");
    assert!(status.success(), "{arguments:?}");
    fs::read(file.path()).unwrap()
}

/// Streams that are entered, of several codecs and shapes, and long enough to have many points.
fn made() -> Vec<(String, Vec<u8>)> {
    let mp3 = |rate: &'static str, bits: &'static str| {
        ["-c:a", "libmp3lame", "-ar", rate, "-b:a", bits, "-write_xing", "0"]
    };
    let pieces =
        |micros: &'static str| ["-movflags", "+frag_keyframe+empty_moov", "-frag_duration", micros];
    let made: [(&[&str], &str); 16] = [
        (&mp3("44100", "128k"), ".mp3"),
        (&mp3("48000", "32k"), ".mp3"),
        (&mp3("16000", "8k"), ".mp3"),
        (&["-c:a", "libmp3lame", "-q:a", "4", "-write_xing", "0"], ".mp3"),
        (&[&["-c:a", "aac", "-b:a", "64k"], &pieces("1000000")[..]].concat(), ".mp4"),
        // A fragment has more packets than points lie apart.
        (&[&["-c:a", "aac", "-b:a", "64k"], &pieces("9000000")[..]].concat(), ".mp4"),
        (&[&["-c:a", "flac", "-strict", "-2"], &pieces("2000000")[..]].concat(), ".mp4"),
        (&[&["-c:a", "alac"], &pieces("12000000")[..]].concat(), ".mp4"),
        (&["-c:a", "aac", "-b:a", "48k", "-aac_pns", "1"], ".aac"),
        (&["-c:a", "aac", "-b:a", "128k", "-aac_pns", "0"], ".aac"),
        (&["-c:a", "libvorbis", "-q:a", "3"], ".ogg"),
        (&["-c:a", "flac", "-f", "ogg"], ".ogg"),
        (&["-c:a", "libopus", "-b:a", "64k"], ".opus"),
        (&["-c:a", "libopus", "-b:a", "16k", "-ac", "1", "-frame_duration", "60"], ".opus"),
        (&["-c:a", "libopus", "-b:a", "64k", "-frame_duration", "2.5"], ".opus"),
        // Its pages begin inside of packets.
        (&["-c:a", "libopus", "-b:a", "500k", "-vbr", "off"], ".opus"),
    ];
    let encoded = |(arguments, suffix): &(&[&str], &str)| {
        (format!("{}{suffix}", arguments.join(" ")), encoded(35, arguments, suffix))
    };
    made.iter().map(encoded).collect()
}

/// Why a start, by an index or without, is not a slice of the whole.
pub(crate) fn check_start(
    whole: &Heard,
    bytes: &[u8],
    index: Option<&Rc<Index>>,
    from: u64,
) -> Result<(), String> {
    // Half of the starts go on to the end.
    let frames = if from.is_multiple_of(2) { usize::MAX } else { 30_000 };
    let late = hear_by(bytes, Feed { frames, ..WHOLE }, from, index);
    let rest = (from as usize).min(whole.frames());
    let is_long_enough = late.frames() >= frames.min(whole.frames() - rest);
    let mut planes = late.planes.iter().zip(&whole.planes);
    let is_same = is_long_enough && planes.all(|(late, whole)| whole[rest..].starts_with(late));
    if !is_same {
        let planes = late.planes.iter().zip(&whole.planes);
        let differs = planes.filter_map(|(late, whole)| {
            late.iter().zip(&whole[rest..]).position(|(late, whole)| late != whole)
        });
        return Err(format!(
            "from {from} of {}: {} frames, other ones at {:?}",
            whole.frames(),
            late.frames(),
            differs.min()
        ));
    }
    if (&late.error, &late.info) != (&whole.error, &whole.info) {
        return Err(format!("from {from}: {:?} {:?}", late.error, late.info));
    }
    Ok(())
}

/// Random starts, and some near the ends.
fn starts(random: &mut Random, total: u64) -> Vec<u64> {
    let mut starts: Vec<_> = (0..20).map(|_| random.below(total)).collect();
    starts.extend([1, total.saturating_sub(1), total]);
    starts
}

#[test]
fn a_scan_finds_as_many_frames_as_a_decode() {
    let (mut wrong, mut scanned) = (Vec::new(), 0);
    for (name, bytes) in all() {
        let whole = hear_by(&bytes, WHOLE, 0, None);
        let passed = scan(&bytes, None);
        if passed.error != whole.error || passed.info != whole.info {
            wrong.push(format!("{name}: {:?}, decoded {:?}", passed.error, whole.error));
        } else if whole.error.is_none() {
            scanned += 1;
            if passed.total() != Some(whole.frames() as u64) {
                wrong.push(format!("{name}: {:?}, decoded {}", passed.total(), whole.frames()));
            }
            if passed.index != whole.index {
                wrong.push(format!("{name}: {:?}, decoded {:?}", passed.index, whole.index));
            }
            let known = passed.index.as_ref().and_then(|index| index.frames());
            if known != passed.total() {
                wrong.push(format!("{name}: the index says {known:?}"));
            }
        }
    }
    println!("{scanned} scanned");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(scanned >= 15, "{scanned}");
}

#[test]
fn a_start_by_an_index_is_a_slice_of_the_whole() {
    let mut files = all();
    if has_ffmpeg() {
        files.extend(made());
    }
    let (mut random, mut wrong, mut entered) = (Random(11), Vec::new(), 0);
    for (name, bytes) in files {
        let passed = scan(&bytes, None);
        let Some(index) = passed.index.filter(|index| index.reach() > 0) else { continue };
        let index = Rc::new(Index::parse(&index.to_bytes()).expect("what was written is read"));
        let whole = hear_by(&bytes, WHOLE, 0, None);
        entered += 1;
        for from in starts(&mut random, whole.frames() as u64) {
            // One in four does without.
            let index = Some(&index).filter(|_| from % 4 != 3);
            if let Err(why) = check_start(&whole, &bytes, index, from) {
                wrong.push(format!("{name} {why}"));
            }
        }
    }
    println!("{entered} entered");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(entered >= 4, "{entered}");
}

#[test]
fn a_start_by_an_index_leaves_out_what_lies_before() {
    if !has_ffmpeg() {
        return;
    }
    for (name, bytes) in made() {
        let index = scan(&bytes, None).index.expect("an index");
        let whole = hear_by(&bytes, WHOLE, 0, None);
        let late = hear_by(&bytes, WHOLE, whole.frames() as u64 * 9 / 10, Some(&index));
        let length = bytes.len();
        // What a feed brings at once is up to 64 KiB: its first bytes, and its last in Ogg.
        assert!(late.fed < length * 6 / 10 + (128 << 10), "{name}: {} of {length}", late.fed);
        assert!(late.decoded * 2 < whole.decoded, "{name}: {} packets", late.decoded);
    }
}

/// The file with junk in the place of what lay there, here and there.
fn damaged(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..6 {
        let length = 1 + random.below(3000) as usize;
        // The headers stay, so that it opens.
        let at = 8000 + random.below((bytes.len() - 12_000) as u64) as usize;
        match random.below(3) {
            0 => bytes[at..at + length].fill(0x55),
            1 => drop(bytes.drain(at..at + length)),
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
    bytes
}

#[test]
fn damage_is_the_same_from_wherever_one_starts() {
    let mut random = Random(5);
    let mut wrong = Vec::new();
    let mut files: Vec<_> = ["strings.mp3", "strings-bare.mp3", "strings.aac", "strings.ogg"]
        .map(|name| (name.to_owned(), strings(name)))
        .into();
    files.push(("mono-then-stereo.mp3".to_owned(), small("mono-then-stereo.mp3").repeat(12)));
    if has_ffmpeg() {
        files.extend(made());
    }
    for (name, bytes) in files {
        for _ in 0..2 {
            let bytes = damaged(&bytes, &mut random);
            let whole = hear_by(&bytes, WHOLE, 0, None);
            let passed = scan(&bytes, None);
            if passed.total() != Some(whole.frames() as u64) {
                wrong.push(format!("{name}: {:?}, decoded {}", passed.total(), whole.frames()));
            }
            let Some(index) = passed.index else { continue };
            for from in (0..8).map(|_| random.below(whole.frames() as u64)) {
                if let Err(why) = check_start(&whole, &bytes, Some(&index), from) {
                    wrong.push(format!("{name} {why}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_index_goes_on_where_it_ended() {
    let bytes = strings("strings.mp3");
    let whole = scan(&bytes, None).index.expect("an index");
    // Another decoder of the same bytes, as far as they went.
    let half = scan(&bytes[..bytes.len() / 2], None).index.expect("its first half");
    assert!(half.reach() > 0 && half.reach() < whole.reach());
    let more = scan(&bytes, Some(Rc::clone(&half)));
    assert_eq!(more.index, Some(whole.clone()));
    assert!(more.fed < bytes.len() * 2 / 3, "{}", more.fed);
    assert_eq!(scan(&bytes, Some(whole)).index, None, "nothing is new");
}

#[test]
fn an_index_of_other_bytes_is_not_followed_blindly() {
    let index = scan(&strings("strings.mp3"), None).index.expect("an index");
    for name in ["strings.ogg", "strings.aac", "strings.wav", "strings.flac", "strings.m4a"] {
        let bytes = strings(name);
        let whole = hear_by(&bytes, WHOLE, 0, None);
        check_start(&whole, &bytes, Some(&index), whole.frames() as u64 / 2).expect(name);
    }
}

/// Noise that AAC leaves to its decoder is drawn anew from each point of the grid on.
#[test]
fn noise_is_that_of_ffmpeg_up_to_the_grid_and_as_loud_behind_it() {
    /// Frames before the first point of the grid.
    const GRID_FRAMES: usize = 320 * 1024;
    if !has_ffmpeg() {
        return;
    }
    let bytes = encoded(40, &["-c:a", "aac", "-b:a", "48k", "-aac_pns", "1"], ".aac");
    let file = tempfile::Builder::new().suffix(".aac").tempfile().unwrap();
    fs::write(file.path(), &bytes).unwrap();
    let theirs = ffmpeg(file.path()).expect("ffmpeg decodes it");
    let ours = hear_by(&bytes, WHOLE, 0, None);
    assert_eq!(theirs.len(), 2 * ours.frames());
    let plane = |channel: usize| theirs.iter().skip(channel).step_by(2).copied();
    for (channel, ours) in ours.planes.iter().enumerate() {
        let theirs: Vec<f32> = plane(channel).collect();
        let worst = |from: usize, to: usize| {
            let pairs = ours[from..to].iter().zip(&theirs[from..to]);
            pairs.map(|(our, their)| (our - their).abs()).fold(0.0, f32::max)
        };
        assert!(worst(0, GRID_FRAMES) < 1e-3, "{}", worst(0, GRID_FRAMES));
        assert!(worst(GRID_FRAMES, ours.len()) > 1e-2, "there is no noise in it");
        let energy = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>();
        for (our, their) in ours.chunks(44_100).zip(theirs.chunks(44_100)).skip(15) {
            let ratio = energy(our) / energy(their);
            assert!((0.9..1.1).contains(&ratio), "{ratio}");
        }
    }
}
