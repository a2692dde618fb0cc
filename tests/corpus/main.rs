//! Every file of the corpus through the decoder, against ffmpeg at test time.
//!
//! The material lies beside the checkout (`../shared/material`) or where `TEST_MATERIAL` says.
//! Each file ends as one of three: it agrees, also with the table of what ffmpeg 5.1 made of it; it is
//! refused by a typed error that names its codec, which is none that we play, or the file is listed in
//! [`REFUSED`] with the reason; or it is listed in [`DIFFERS`] with the reason, our frames, and where the
//! samples agree all the same.

#[cfg(feature = "aac")]
mod aac_out;
mod caf;
mod changes;
mod damage;
mod encoded;
mod flac;
mod flac_out;
mod he_aac;
mod hear;
mod index;
mod matroska;
#[cfg(feature = "mp3")]
mod mp3_out;
mod mp4;
mod ogg;
mod opening;
mod opus;
mod opus_out;
mod playlists;
mod surround;
mod transcoded;
mod ts;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use kithara::decode::{Error, Info, Sample};

use self::{
    hear::{Feed, Heard, Random, WHOLE, hear, strings},
    ogg::renumbered,
    opening::block_bytes,
};

/// A file where we and ffmpeg 5.1 differ.
struct Differs {
    file: &'static str,
    /// Frames that we give.
    frames: usize,
    /// Our frame that is ffmpeg's first, so that what overlaps is compared; negative where ffmpeg's
    /// start is earlier. `None`: there is nothing to compare with.
    lead: Option<i64>,
    why: &'static str,
}

const fn differs(
    file: &'static str,
    frames: usize,
    lead: Option<i64>,
    why: &'static str,
) -> Differs {
    Differs { file, frames, lead, why }
}

/// All of them.
const DIFFERS: &[Differs] = &[
    differs("hound_waveformatextensible-24bit-4byte-48kHz-stereo.wav", 2, None, TOP),
    differs("kithara_he_aac_v1_init.mp4", 0, None, BARE),
    differs("kithara_he_aac_v2_init.mp4", 0, None, BARE),
    differs("lofty_m4a_codec_aac.m4a", 68_546, Some(0), TAIL),
    differs("media3_bbb_1ch_8kHz_aac_lc.m4a", 24_000, Some(0), TAIL),
    differs("media3_long_edit_list_audioonly.mp4", 68_282, Some(0), TAIL),
    differs("media3_sample_edit_list_only_preroll_sync_sample.mp4", 24_928, Some(0), TAIL),
    differs("lofty_odd_application_block_last.flac", 44, Some(0), TWICE),
    differs("lofty_odd_stream_info_last.flac", 44, Some(0), TWICE),
    differs("lofty_odd_junk.mp3", 1152, None, LONELY),
    differs("lofty_odd_junk_between_id3_and_mp3.mp3", 441, Some(-1105), HIDDEN),
    differs("media3_mp3_bear-id3-numeric-genre.mp3", 133_632, Some(-1105), HIDDEN),
    differs("media3_mp3_bear-id3.mp3", 133_632, Some(-1105), HIDDEN),
    differs("media3_flac_bear_32bit.flac", 131_568, None, WIDE),
    differs("media3_mka_bear-flac-32bit.mka", 131_568, None, WIDE),
    differs("media3_mp3_100kB-garbage-prefix.mp3", 44_100, None, GARBAGE),
    differs("media3_mp3_200kB-garbage-prefix.mp3", 44_100, None, GARBAGE),
    differs("media3_sample.adts", 147_456, Some(1024), COMMENT),
    differs("media3_sample_cbs_truncated.adts", 146_432, Some(1024), COMMENT),
    differs("media3_sample_alac.mp4", 48_010, Some(2954), SILENCE),
    differs("media3_sample_twos_pcm.mp4", 48_010, Some(2954), SILENCE),
    differs("lofty_odd_zero.wav", 0, None, EMPTY),
    differs("media3_sample_fragmented_uuid.mp4", 47_104, None, MOVED),
];

const TOP: &str =
    "24 valid bits of 32 lie at the top by the format; ffmpeg takes them for 24.8 fixed point";
const TAIL: &str = "ffmpeg 5.1 leaves the encoder's padding at the end of MP4";
const TWICE: &str = "ffmpeg decodes the one frame of this file twice; STREAMINFO says one";
const LONELY: &str = "ffmpeg wants a second MP3 frame to believe the first";
const HIDDEN: &str =
    "junk behind the ID3 tag hides the Info tag from ffmpeg, which plays the delay";
const WIDE: &str = "ffmpeg 5.1 does not decode FLAC of 32 bits";
const GARBAGE: &str = "ffmpeg takes the garbage for AMR";
const COMMENT: &str = "ffmpeg drops a first frame that holds only the encoder's name";
const SILENCE: &str = "ffmpeg leaves out the silence of the empty edit";
const EMPTY: &str = "its data chunk is empty; ffmpeg plays the tags behind it";
const BARE: &str =
    "it is a movie box that no fragment follows; ffmpeg gives nothing, which is what it has";
const MOVED: &str = "its fragment says where the audio lay in the file (`base_data_offset` 1244) before a \
                     box of 8 KiB was put in front: of the pictures that lie there now ffmpeg decodes \
                     nothing, we ten packets of noise; without the box both play it";

/// How many of the material's files end in which way.
const COUNTS: [(&str, u32); 3] = [("DIFFERS", 23), ("agrees", 100), ("refused", 70)];

/// Codecs that we play, besides samples as they are, as the table names them. HE-AAC has the name of AAC
/// there.
const PLAYED: [&str; 6] = ["aac", "alac", "flac", "mp3", "opus", "vorbis"];

/// Files with one of them that are refused all the same, by a part of their names, and why.
const REFUSED: &[(&str, &str)] = &[
    (
        "hound_pcmwaveformat-24bit-4byte",
        "it says 24 bits in four bytes, and not which of the 32 those are",
    ),
    ("_sample_opus", "Opus in MP4; out of Ogg and Matroska it is played"),
    ("_ipcm_", "samples as they are in MP4 (ISO/IEC 23003-5); those of WAV and AIFF are played"),
];

/// Files that ffmpeg plays as silence, for it cannot decode one frame of them.
const SILENT: &[&str] =
    &["lofty_odd_issue_82_solidus_in_tag.mp3", "lofty_odd_rev_frame_sync_search.mp3"];

/// What we call refused codecs where ffmpeg's name is another, or none: by a part of the file's name.
const REFUSED_AS: &[(&str, &str)] = &[
    ("hound_pcmwaveformat-24bit-4byte", "pcm in words wider than its samples"),
    ("lofty_mpc_sv", "musepack"),
    ("iamf", "iamf"),
    ("_ac4_protected", "encrypted audio"),
    ("_ac4", "ac4"),
    ("_fpcm_", "fpcm"),
    ("_ipcm_", "ipcm"),
    ("_mpegh_", "mpegh_3d_audio"),
];

fn material() -> Option<PathBuf> {
    material_of("audio")
}

/// A folder of the material.
fn material_of(kind: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/material");
    let root = std::env::var_os("TEST_MATERIAL").map_or(beside, PathBuf::from).join(kind);
    if root.is_dir() {
        return Some(root);
    }
    say_skipped(&format!("no material at {} (set TEST_MATERIAL)", root.display()));
    None
}

/// Past what the test runner keeps to itself of a test that passes: not by a macro.
fn say_skipped(why: &str) {
    let _ = writeln!(io::stderr(), "\n*** SKIPPED: {why} ***\n");
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(root).expect("the material is readable").map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Interleaved frames by ffmpeg; `None` where it refuses.
fn ffmpeg(path: &Path) -> Option<Vec<f32>> {
    ffmpeg_words(path, "f32le").map(|words| words.into_iter().map(f32::from_le_bytes).collect())
}

/// Samples of four bytes by ffmpeg.
fn ffmpeg_words(path: &Path, format: &str) -> Option<Vec<[u8; 4]>> {
    // Its own decoder of Opus does speech otherwise than the codec's authors.
    let is_opus = name(path).contains("opus");
    let decoder: &[&str] = if is_opus { &["-c:a", "libopus"] } else { &[] };
    let output = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(decoder)
        .arg("-i")
        .arg(path)
        .args(["-map", "0:a:0", "-f", format, "-"])
        .output()
        .ok()?;
    let words: Vec<[u8; 4]> =
        output.stdout.chunks_exact(4).map(|word| word.try_into().unwrap()).collect();
    (!words.is_empty()).then_some(words)
}

fn has_ffmpeg() -> bool {
    let there = Command::new("ffmpeg").arg("-version").output().is_ok();
    if !there {
        say_skipped("no ffmpeg to compare with");
    }
    there
}

/// Largest difference that a codec may have from ffmpeg's decoder.
fn tolerance(info: &Info) -> f32 {
    match (info.sample, info.codec) {
        (Sample::Integer { .. }, _) => 0.0,
        (_, codec) if codec.starts_with("pcm") => 0.0,
        (_, "aac" | "he-aac" | "he-aac-v2") => 1e-3,
        _ => 1e-4,
    }
}

/// Largest difference where our frame `lead` is ffmpeg's first, and at which of our frames.
fn worst(heard: &Heard, theirs: &[f32], lead: i64) -> (f32, usize) {
    let mut worst = (0.0f32, 0);
    for (index, their) in theirs.chunks_exact(heard.planes.len().max(1)).enumerate() {
        let Ok(ours) = usize::try_from(index as i64 + lead) else { continue };
        for (plane, theirs) in heard.planes.iter().zip(their) {
            let difference = plane.get(ours).map_or(0.0, |our| (our - theirs).abs());
            if difference > worst.0 {
                worst = (difference, ours);
            }
        }
    }
    worst
}

/// `Err` says how we differ.
fn compare(heard: &Heard, theirs: &[f32], lead: i64) -> Result<String, String> {
    let info = heard.info.as_ref().ok_or("ffmpeg decodes it, we refuse")?;
    let channels = heard.planes.len().max(1);
    let frames = heard.planes.first().map_or(0, Vec::len);
    let their_frames = theirs.len() / channels;
    let worst = worst(heard, theirs, lead);
    let seen = format!(
        "{} {} {} Hz {} ch, {frames} frames of {:?}, ffmpeg {their_frames}, worst {:.2e} at {}, \
         {} undecoded",
        info.container,
        info.codec,
        info.rate_hz,
        channels,
        info.frames,
        worst.0,
        worst.1,
        heard.undecoded
    );
    if info.frames.is_some_and(|promised| promised != frames as u64) {
        return Err(format!("PROMISE BROKEN {seen}"));
    }
    if worst.0 > tolerance(info) {
        return Err(format!("samples {seen}"));
    }
    if frames != their_frames {
        return Err(format!("length {seen}"));
    }
    Ok(seen)
}

/// Whether the integers of more than 24 bits are those of ffmpeg.
fn compare_wide(path: &Path, heard: &Heard) -> Result<(), String> {
    if heard.wide.is_empty() {
        return Ok(());
    }
    let words = ffmpeg_words(path, "s32le").ok_or("ffmpeg gives no integers")?;
    let theirs: Vec<i32> = words.into_iter().map(i32::from_le_bytes).collect();
    let channels = heard.wide.len();
    let same = theirs.chunks_exact(channels).enumerate().all(|(index, their)| {
        heard.wide.iter().zip(their).all(|(plane, their)| plane.get(index) == Some(their))
    });
    if same { Ok(()) } else { Err("other integers of 32 bits".to_owned()) }
}

/// Whether a refusal names what the file is, and is not of what we play and ffmpeg gives something of.
fn check_refusal(file: &str, error: &Error, row: Option<&Row>) -> Result<(), String> {
    let codec = row.map_or("", |row| row.codec.as_str());
    let is_played = codec.starts_with("pcm_") || PLAYED.contains(&codec);
    let gives_frames = row.is_some_and(|row| row.frames > 0);
    if is_played && gives_frames && !REFUSED.iter().any(|(part, _)| file.contains(part)) {
        return Err(format!("{codec} is refused: {error}"));
    }
    let Error::Unsupported { name } = error else { return Ok(()) };
    let listed = REFUSED_AS.iter().find(|(part, _)| file.contains(part)).map(|found| found.1);
    let expected = listed.unwrap_or(codec);
    // What ffmpeg finds nothing in has no name to be compared with.
    if expected.is_empty() || name == expected {
        return Ok(());
    }
    Err(format!("refused as {name}, and it is {expected}"))
}

/// What ffmpeg 5.1 made of a file.
struct Row {
    codec: String,
    frames: usize,
    /// The MD5 of all samples as 16 bits.
    md5: String,
}

/// The table beside the material, by file.
fn table(root: &Path) -> BTreeMap<String, Row> {
    let table = fs::read_to_string(root.join("../EXPECT_ffmpeg51.tsv")).expect("the table");
    let rows = table.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    let named = rows.filter_map(|row| {
        let [path, _, codec, _, _, frames, md5, ..] = row[..] else { panic!("{row:?}") };
        let (codec, md5) = (codec.to_owned(), md5.to_owned());
        let frames = frames.parse().unwrap_or(0);
        Some((path.strip_prefix("audio/")?.to_owned(), Row { codec, frames, md5 }))
    });
    named.collect()
}

/// Whether what we gave is what the table says: so many frames, and, where nothing was lost, those bits.
fn compare_row(heard: &Heard, row: &Row) -> Result<(), String> {
    let frames = heard.planes.first().map_or(0, Vec::len);
    if frames != row.frames {
        return Err(format!("{frames} frames, by the table {}", row.frames));
    }
    let is_lossless =
        heard.info.as_ref().is_some_and(|info| matches!(info.sample, Sample::Integer { .. }));
    match is_lossless && md5(&upper_bits(heard)) != row.md5 {
        true => Err("other bits than the table's".to_owned()),
        false => Ok(()),
    }
}

/// Integers as ffmpeg makes 16 bits of them: the upper ones.
fn upper_bits(heard: &Heard) -> Vec<u8> {
    let upper = |channel: usize, frame: usize| match heard.wide.get(channel) {
        Some(plane) => (plane[frame] >> 16) as i16,
        None => ((f64::from(heard.planes[channel][frame]) * 2f64.powi(31)) as i32 >> 16) as i16,
    };
    let frames = 0..heard.planes.first().map_or(0, Vec::len);
    let samples =
        frames.flat_map(|frame| (0..heard.planes.len()).map(move |channel| upper(channel, frame)));
    samples.flat_map(i16::to_le_bytes).collect()
}

fn md5(bytes: &[u8]) -> String {
    let mut sum = Command::new("md5sum");
    let mut sum = sum.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("coreutils");
    sum.stdin.take().unwrap().write_all(bytes).unwrap();
    let said = sum.wait_with_output().unwrap().stdout;
    String::from_utf8_lossy(&said[..32]).into_owned()
}

/// What came of one file, if that is as it should be.
fn verdict(path: &Path, heard: &Heard, table: &BTreeMap<String, Row>) -> Result<String, String> {
    let file = name(path);
    let row = table.get(&file);
    let frames = heard.planes.first().map_or(0, Vec::len);
    if let Some(listed) = DIFFERS.iter().find(|listed| listed.file == file) {
        return differs_as_listed(listed, path, heard).map(|seen| format!("DIFFERS: {seen}"));
    }
    match (&heard.error, ffmpeg(path)) {
        (Some(error @ Error::Unsupported { .. }), _) | (Some(error), None) => {
            check_refusal(&file, error, row)?;
            Ok(format!("refused: {error}"))
        }
        (Some(error), Some(theirs)) if SILENT.contains(&file.as_str()) => {
            assert!(theirs.iter().all(|sample| *sample == 0.0), "{file}: listed as silence");
            Ok(format!("refused: {error}"))
        }
        (Some(error), Some(_)) => Err(format!("ffmpeg decodes it, we say: {error}")),
        (None, Some(theirs)) => {
            compare_wide(path, heard)?;
            let seen = compare(heard, &theirs, 0)?;
            compare_row(heard, row.ok_or("the table does not know it")?)?;
            Ok(seen)
        }
        (None, None) => Err(format!("ffmpeg refuses, we give {frames} frames")),
    }
}

/// What ffmpeg gives for a listed MP3 from the frame with its tag on, without the junk before it.
fn mended(bytes: &[u8]) -> Option<Vec<f32>> {
    let find =
        |name: &'static [u8]| (0..bytes.len()).filter(move |at| bytes[*at..].starts_with(name));
    // The tag stands behind the header and the side information.
    let starts = [&b"Info"[..], b"Xing"]
        .into_iter()
        .flat_map(find)
        .flat_map(|tag| [36, 21, 13].into_iter().filter_map(move |side| tag.checked_sub(side)));
    let is_sync = |at: &usize| bytes[*at] == 0xFF && bytes[*at + 1] & 0xE0 == 0xE0;
    let start = starts.into_iter().find(is_sync)?;
    let whole = tempfile::Builder::new().suffix(".mp3").tempfile().unwrap();
    fs::write(whole.path(), &bytes[start..]).unwrap();
    ffmpeg(whole.path())
}

/// How we agree about a file without the box that was put in front of its offsets.
fn compare_without_box(path: &Path) -> Result<String, String> {
    const HEADER_BYTES: usize = 8;
    let mut bytes = fs::read(path).unwrap();
    let name = bytes.windows(4).position(|name| name == b"uuid").ok_or("there is no such box")?;
    let start = name + 4 - HEADER_BYTES;
    let length = u32::from_be_bytes(bytes[start..start + 4].try_into().unwrap());
    bytes.drain(start..start + length as usize);
    let whole = tempfile::Builder::new().suffix(".mp4").tempfile().unwrap();
    fs::write(whole.path(), &bytes).unwrap();
    let theirs = ffmpeg(whole.path()).ok_or("ffmpeg refuses it all the same")?;
    compare(&hear(&bytes, WHOLE, 0), &theirs, 0)
}

/// A listed file must differ, and as it is listed.
fn differs_as_listed(listed: &Differs, path: &Path, heard: &Heard) -> Result<String, String> {
    let frames = heard.planes.first().map_or(0, Vec::len);
    if let Some(error) = &heard.error {
        return Err(format!("listed as decoded, we say: {error}"));
    }
    if frames != listed.frames {
        return Err(format!("listed with {} frames, we give {frames}", listed.frames));
    }
    let theirs = ffmpeg(path);
    let (difference, at) = match (&theirs, listed.lead) {
        (Some(theirs), Some(lead)) => worst(heard, theirs, lead),
        _ => (0.0, 0),
    };
    let info = heard.info.as_ref().ok_or("nothing was announced")?;
    if difference > tolerance(info) {
        return Err(format!("listed as alike from {:?}, {difference:.2e} at {at}", listed.lead));
    }
    if theirs.is_some_and(|theirs| compare(heard, &theirs, 0).is_ok()) {
        return Err("listed, yet agrees".to_owned());
    }
    let mut seen = format!("worst {difference:.2e} from {:?}", listed.lead);
    // Of the shortest one ffmpeg plays the padding as well.
    if [GARBAGE, HIDDEN].contains(&listed.why) && frames > 1152 {
        let theirs = mended(&fs::read(path).unwrap()).ok_or("it cannot be mended")?;
        seen = format!("mended: {}", compare(heard, &theirs, 0)?);
    }
    if listed.why == MOVED {
        seen = format!("without the box: {}", compare_without_box(path)?);
    }
    Ok(format!("{} ({frames} frames, {seen})", listed.why))
}

#[test]
fn every_file_agrees_or_is_refused_or_differs_for_a_reason() {
    let Some(root) = material() else { return };
    if !has_ffmpeg() {
        return;
    }
    let table = table(&root);
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::<&str, u32>::new());
    for path in files(&root) {
        let heard = hear(&fs::read(&path).unwrap(), WHOLE, 0);
        let name = name(&path);
        match verdict(&path, &heard, &table) {
            Ok(seen) => {
                let kinds = ["DIFFERS", "refused"];
                let kind = kinds.into_iter().find(|kind| seen.starts_with(kind));
                *counts.entry(kind.unwrap_or("agrees")).or_default() += 1;
                println!("ok       {name}: {seen}");
            }
            Err(seen) => wrong.push(format!("{name}: {seen}")),
        }
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "\n{} files:\n  {}\n", wrong.len(), wrong.join("\n  "));
    assert_eq!(counts, COUNTS.into());
}

#[test]
fn integers_of_32_bits_are_those_of_16_that_they_were_made_from() {
    let Some(root) = material() else { return };
    let read = |name: &str| fs::read(root.join(name)).unwrap();
    let wide = hear(&read("media3_flac_bear_32bit.flac"), WHOLE, 0).wide;
    let narrow = hear(&read("media3_flac_bear.flac"), WHOLE, 0).planes;
    assert_eq!(wide.len(), 2);
    for (wide, narrow) in wide.iter().zip(&narrow) {
        let expected: Vec<i32> = narrow.iter().map(|s| (s * 32_768.0) as i32 * 65_536).collect();
        assert!(*wide == expected);
    }
}

#[test]
fn it_does_not_matter_how_the_bytes_come() {
    let Some(root) = material() else { return };
    let feeds = [
        Feed { piece_bytes: 977, slice: Duration::from_secs(1), ..WHOLE },
        Feed { piece_bytes: 4096, slice: Duration::ZERO, ..WHOLE },
        Feed { piece_bytes: 16_001, slice: Duration::from_micros(50), ..WHOLE },
    ];
    for path in files(&root) {
        let bytes = fs::read(&path).unwrap();
        let whole = hear(&bytes, WHOLE, 0);
        for feed in feeds {
            let fed = hear(&bytes, feed, 0);
            assert_eq!(fed.error, whole.error, "{}", name(&path));
            assert_eq!(fed.info, whole.info, "{}", name(&path));
            assert!(fed.planes == whole.planes, "{}: other frames", name(&path));
        }
    }
}

#[test]
fn a_later_start_gives_the_same_frames_and_decodes_less() {
    let Some(root) = material() else { return };
    let mut skipped = BTreeMap::new();
    let mut wrong = Vec::new();
    for path in files(&root) {
        let bytes = fs::read(&path).unwrap();
        let whole = hear(&bytes, WHOLE, 0);
        let (Some(total), Some(info)) = (whole.planes.first().map(Vec::len), &whole.info) else {
            continue;
        };
        for from in [1, total / 3, total / 2 + 777, total - 1, total, total + 5000] {
            let late = hear(&bytes, WHOLE, from as u64);
            let rest = from.min(total);
            let same = match late.planes.is_empty() {
                true => from >= total,
                false => late.planes.iter().zip(&whole.planes).all(|(l, w)| l[..] == w[rest..]),
            };
            if !same || late.info != whole.info || late.error != whole.error {
                wrong.push(format!("{} from {from} of {total}", name(&path)));
            }
            if from == total / 2 + 777 && whole.decoded > 40 {
                let least: &mut f64 = skipped.entry((info.container, info.codec)).or_insert(1.0);
                *least = least.min(late.decoded as f64 / whole.decoded as f64);
            }
        }
    }
    println!("share of packets decoded from the middle: {skipped:#.2?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    for ((container, codec), share) in skipped {
        // AAC and Opus have a grid that short files end before, nothing counts the frames of ALAC in Matroska,
        // blocks of ADPCM are not frames.
        let is_whole = ["aac", "he-aac", "he-aac-v2", "opus"].contains(&codec)
            || codec.starts_with("adpcm")
            || (container, codec) == ("matroska", "alac");
        assert!(is_whole || share < 0.75, "{codec} in {container} decoded {share:.2}");
    }
}

#[test]
fn damaged_files_neither_panic_nor_hang() {
    let Some(root) = material() else { return };
    let mut random = Random(1);
    for path in files(&root) {
        let bytes = fs::read(&path).unwrap();
        if bytes.len() > 128 << 10 {
            continue;
        }
        for _ in 0..2 {
            let mut damaged = bytes.clone();
            for _ in 0..=random.below(20) {
                let at = random.below(damaged.len() as u64) as usize;
                damaged[at] = random.below(256) as u8;
            }
            if random.below(2) == 0 {
                damaged.truncate(random.below(damaged.len() as u64) as usize);
            }
            let heard = hear(&damaged, WHOLE, 0);
            assert_ne!(heard.error, Some(Error::Panicked), "{}", name(&path));
        }
    }
}

#[test]
fn damage_of_any_kind_ends_in_frames_or_an_error() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/material");
    let mut whole = vec![made_mp4(&[PLAIN; 12], 7), made_adts(&[PLAIN; 12], 7)];
    let small = files(&root).into_iter().map(|path| fs::read(path).unwrap());
    whole.extend(small.filter(|bytes| bytes.len() < 20_000));
    let mut random = Random(7);
    for round in 0..300 {
        let mut bytes = whole[round % whole.len()].clone();
        for _ in 0..=random.below(12) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.below(256) as u8;
        }
        // What stands at the start decides most.
        let at = random.below(64.min(bytes.len() as u64)) as usize;
        bytes[at] ^= 1 << random.below(8);
        bytes.truncate(1 + random.below(bytes.len() as u64) as usize);
        let heard = hear(&bytes, WHOLE, random.below(2) * 5000);
        assert_ne!(heard.error, Some(Error::Panicked), "round {round}");
    }
}

#[test]
fn high_efficiency_behind_a_plain_configuration_is_known_at_any_rate_of_its_core() {
    // Nothing of it decodes: there is no channel.
    let is_known = |bytes: &[u8], rate_hz: u32| {
        let info = hear(bytes, WHOLE, 0).info.expect("opened");
        assert!([rate_hz, 2 * rate_hz].contains(&info.rate_hz), "{info:?}");
        (info.codec == "he-aac") == (info.rate_hz == 2 * rate_hz) && info.codec == "he-aac"
    };
    let rates = [(3, 48_000), (4, 44_100), (5, 32_000), (6, 24_000), (7, 22_050), (8, 16_000)];
    for (rate, hz) in rates {
        assert!(is_known(&made_adts(&[EXTENDED; 12], rate), hz), "ADTS, rate {rate}");
        assert!(is_known(&made_mp4(&[EXTENDED; 12], rate), hz), "MP4, rate {rate}");
        assert!(!is_known(&made_adts(&[PLAIN; 12], rate), hz));
        assert!(!is_known(&made_mp4(&[PLAIN; 12], rate), hz));
    }
    // By chance, one packet of a plain stream may look so.
    let mut chance = [PLAIN; 12];
    for (index, packet) in chance.iter_mut().enumerate() {
        packet[2] = index as u8 * 2 + 1;
    }
    chance[3] = EXTENDED;
    assert!(!is_known(&made_adts(&chance, 4), 44_100));
    assert!(!is_known(&made_mp4(&chance, 4), 44_100));
}

/// The samples of the one run in a fragment, by the sizes in its `trun`.
fn fragment_packets(bytes: &[u8]) -> Vec<Vec<u8>> {
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let find = |name: &[u8]| bytes.windows(4).position(|four| four == name).expect("the box");
    let run = find(b"trun") + 4;
    let (flags, count) = (word(run) & 0xFF_FFFF, word(run + 4) as usize);
    let head = 8 + if flags & 1 != 0 { 4 } else { 0 } + if flags & 4 != 0 { 4 } else { 0 };
    let fields = [0x100, 0x200, 0x400, 0x800].iter().filter(|bit| flags & **bit != 0).count();
    let size = if flags & 0x100 != 0 { 4 } else { 0 };
    let mut at = find(b"mdat") + 4;
    let sizes = (0..count).map(|index| word(run + head + index * fields * 4 + size) as usize);
    sizes
        .map(|size| {
            at += size;
            bytes[at - size..at].to_vec()
        })
        .collect()
}

#[test]
fn a_file_that_was_cut_is_silent_up_to_what_it_promised() {
    for file in ["strings.wav", "strings.aiff", "strings.flac", "strings.m4a"] {
        let bytes = strings(file);
        let whole = hear(&bytes, WHOLE, 0);
        let cut = hear(&bytes[..bytes.len() * 5 / 8], WHOLE, 0);
        assert_eq!((&cut.error, &cut.info), (&None, &whole.info), "{file}");
        for (cut, whole) in cut.planes.iter().zip(&whole.planes) {
            assert_eq!(cut.len(), whole.len(), "{file}");
            let half = whole.len() / 2;
            assert!(cut[..half] == whole[..half], "{file}: what is there is heard");
            let silent = cut.len() - 8 * cut.len() / 32;
            assert!(
                cut[silent..].iter().all(|sample| *sample == 0.0),
                "{file}: the rest is silent"
            );
        }
    }
}

/// The Xing tag of a cut MP3 does not match its bytes, and a cut Ogg stream has no last page: neither
/// promises anything.
#[test]
fn a_file_that_was_cut_and_promises_nothing_ends_where_it_ends() {
    for file in ["strings.mp3", "strings-bare.mp3", "strings.aac", "strings.ogg"] {
        let bytes = strings(file);
        let whole = hear(&bytes, WHOLE, 0);
        let cut = hear(&bytes[..bytes.len() * 5 / 8], WHOLE, 0);
        assert_eq!(cut.error, None, "{file}");
        assert_eq!(cut.info.expect("opened").frames, None, "{file}");
        let (frames, all) = (cut.planes[0].len(), whole.planes[0].len());
        assert!((all / 2..all * 3 / 4).contains(&frames), "{file}: {frames} of {all}");
        // The last packets may lean on what is missing.
        assert!(cut.planes[0][..frames - 4096] == whole.planes[0][..frames - 4096], "{file}");
    }
}

#[test]
fn an_mp3_that_begins_in_the_middle_counts_what_does_not_decode() {
    let bytes = strings("strings-bare.mp3");
    let whole = hear(&bytes, WHOLE, 0);
    assert_eq!(whole.undecoded, 0);
    let late = hear(&bytes, WHOLE, whole.planes[0].len() as u64 / 2);
    assert_eq!(late.undecoded, 0, "what a start in the middle decodes to nothing is not counted");
    let middle = hear(&bytes[bytes.len() / 2..], WHOLE, 0);
    assert!((1..20).contains(&middle.undecoded), "{}", middle.undecoded);
    assert_eq!(middle.planes[0].len() as u64 % 1152, 0);
    let lost = middle.undecoded as usize * 1152;
    assert!(middle.planes[0][..lost].iter().all(|sample| *sample == 0.0));
    // Behind the first frame that decodes and its overlap all is as in the whole.
    let (rest, same) = (&middle.planes[0], &whole.planes[0]);
    let count = rest.len() - lost - 2 * 1152;
    assert!(rest[rest.len() - count..] == same[same.len() - count..]);
}

#[test]
fn alac_says_how_many_bits_its_samples_have() {
    let heard = hear(&strings("strings-alac.m4a"), WHOLE, 0);
    assert_eq!(heard.info.expect("opened").sample, Sample::Integer { bits: 16 });
    assert!(heard.wide.is_empty());
}

#[test]
fn a_chain_plays_link_after_link() {
    let link = strings("strings.ogg");
    let one = hear(&link, WHOLE, 0);
    let chain = [&link[..], &renumbered(&link, 77), &renumbered(&link, 78)].concat();
    let heard = hear(&chain, WHOLE, 0);
    assert_eq!((heard.error, heard.undecoded), (None, 0));
    assert_eq!(heard.info.expect("opened").frames, None, "the first link's length is no promise");
    for (chained, plane) in heard.planes.iter().zip(&one.planes) {
        assert!(*chained == [&plane[..], plane, plane].concat());
    }
    let total = one.planes[0].len();
    for from in [1, total - 1, total, total + 5000, 2 * total + 1] {
        let late = hear(&chain, WHOLE, from as u64);
        assert!(late.planes[0] == heard.planes[0][from..], "from {from}");
    }
}

#[test]
fn a_chain_whose_links_differ_ends_with_the_reason() {
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/material");
    let link = strings("strings.ogg");
    let one = hear(&link, WHOLE, 0);
    let chain = [link, fs::read(small.join("opus.ogg")).unwrap()].concat();
    let heard = hear(&chain, WHOLE, 0);
    let said = heard.error.expect("a reason").to_string();
    assert_eq!(said, "a chain of streams that differ in codec, rate or channels is not supported");
    assert!(heard.planes == one.planes, "what came before is heard");
    assert_eq!(heard.info.expect("opened").frames, None);
}

#[test]
fn valid_files_without_a_frame_are_empty_and_not_damaged() {
    let ogg = strings("strings.ogg");
    let second = ogg.windows(4).skip(1).position(|four| four == b"OggS").unwrap() + 1;
    let audio = ogg[second + 4..].windows(4).position(|four| four == b"OggS").unwrap();
    let mut flac = strings("strings.flac");
    let mut end = 4;
    while flac[end] & 0x80 == 0 {
        end += block_bytes(&flac, end);
    }
    end += block_bytes(&flac, end);
    flac[21] &= 0xF0;
    flac[22..26].fill(0);
    let mut wav = strings("strings.wav");
    let data = wav.windows(4).position(|four| four == b"data").unwrap() + 4;
    wav[data..data + 4].fill(0);
    let mut mp3 = strings("strings.mp3");
    let first = mp3.windows(2).position(|two| two == [0xFF, 0xFB]).unwrap();
    let next = mp3[first + 4..].windows(2).position(|two| two == [0xFF, 0xFB]).unwrap() + 4;
    // What its tag counts.
    mp3[first + 44..first + 48].fill(0);
    for (bytes, codec) in [
        (&ogg[..second + 4 + audio], "vorbis"),
        (&flac[..end], "flac"),
        (&wav[..data + 4], "pcm_s16le"),
        (&mp3[..first + next], "mp3"),
        (&made_mp4(&[], 4), "aac"),
    ] {
        let heard = hear(bytes, WHOLE, 0);
        assert_eq!(heard.error, None, "{codec}");
        let info = heard.info.expect("opened");
        assert_eq!((info.codec, heard.planes.len()), (codec, 0));
        assert!(info.frames.is_none_or(|frames| frames == 0), "{codec}");
        assert_eq!(info.rate_hz, if codec == "pcm_s16le" { 22_050 } else { 44_100 });
    }
}

#[test]
fn a_stream_whose_only_frame_has_no_reservoir_is_damaged() {
    let mut frame = vec![0; 417];
    frame[..5].copy_from_slice(&[0xFF, 0xFB, 0x90, 0x00, 200]);
    let heard = hear(&frame, WHOLE, 0);
    assert_eq!(
        heard.error.map(|error| error.to_string()).as_deref(),
        Some("nothing in the media decodes: malformed stream: a frame without its bit reservoir")
    );
    assert_eq!(heard.undecoded, 1);
}

/// A raw data block of nothing but a fill element with band replication data, and its end.
const EXTENDED: [u8; 4] = [0xC5, 0xAA, 0xAB, 0xC0];
/// The same with padding in it.
const PLAIN: [u8; 4] = [0xC4, 0x2A, 0xAB, 0xC0];

/// Packets in ADTS: Low Complexity, stereo, of a rate by its index (7 is 22.05 kHz).
fn made_adts(packets: &[[u8; 4]], rate: u8) -> Vec<u8> {
    let head = [0xFF, 0xF1, 0x40 | rate << 2, 0x80, 0x01, 0x7F, 0xFC];
    packets.iter().flat_map(|packet| [&head[..], packet].concat()).collect()
}

/// Packets in MP4 with the same configuration.
fn made_mp4(packets: &[[u8; 4]], rate: u8) -> Vec<u8> {
    let count = packets.len() as u32;
    // Without packets the tables have no entries.
    let some = count.min(1);
    let words =
        |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let mut bytes = atom(b"ftyp", &[b"M4A \0\0\0\0M4A "]);
    let offset = bytes.len() as u32 + 8;
    bytes.extend(atom(b"mdat", &[&packets.concat()]));
    let mut esds =
        *b"\0\0\0\0\x03\x19\0\x01\0\x04\x11\x40\x15\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x13\x90\x06\x01\x02";
    let config = 2u16 << 11 | u16::from(rate) << 7 | 2 << 3;
    esds[26..28].copy_from_slice(&config.to_be_bytes());
    let mut entry = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 16, 0, 0, 0, 0];
    entry.extend((22_050u32 << 16).to_be_bytes());
    let entry = atom(b"mp4a", &[&entry, &atom(b"esds", &[&esds])]);
    let table = atom(
        b"stbl",
        &[
            &atom(b"stsd", &[&words(&[0, 1]), &entry]),
            &atom(b"stts", &[&words(&[0, some, count, 1024][..if some > 0 { 4 } else { 2 }])]),
            &atom(b"stsc", &[&words(&[0, some, 1, count, 1][..if some > 0 { 5 } else { 2 }])]),
            &atom(b"stsz", &[&words(&[0, 4, count])]),
            &atom(b"stco", &[&words(&[0, some, offset][..if some > 0 { 3 } else { 2 }])]),
        ],
    );
    let reference = atom(b"dref", &[&words(&[0, 1]), &atom(b"url ", &[&words(&[1])])]);
    let media = atom(
        b"mdia",
        &[
            &atom(b"mdhd", &[&words(&[0, 0, 0, 22_050, count * 1024, 0x55C4_0000])]),
            &atom(b"hdlr", &[&words(&[0, 0]), b"soun", &[0; 13]]),
            &atom(b"minf", &[&atom(b"smhd", &[&[0; 8]]), &atom(b"dinf", &[&reference]), &table]),
        ],
    );
    let header = atom(b"tkhd", &[&words(&[3, 0, 0, 1, 0, count * 1024]), &[0; 60]]);
    let movie = atom(b"mvhd", &[&words(&[0, 0, 0, 22_050, count * 1024, 0x1_0000]), &[0; 76]]);
    bytes.extend(atom(b"moov", &[&movie, &atom(b"trak", &[&header, &media])]));
    bytes
}

fn atom(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, &body].concat()
}
