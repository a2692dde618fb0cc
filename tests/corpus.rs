//! Every file of the corpus through the decoder, against ffmpeg at test time.
//!
//! The material lies beside the checkout (`../shared/material`) or where `KITHARA_MATERIAL` says.
//! Each file ends as one of three: it agrees; it is refused by a typed error that names its codec; or
//! it is listed in [`DIFFERS`] with the reason, our frames, and where the samples agree all the same.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use kithara::{
    bufpool::{BufPool, Class, Options},
    decode::{Ask, Decoder, Error, Info, Sample, StackOptions, Stacks, Step},
    stream::Resident,
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
    differs("lofty_m4a_codec_aac.m4a", 68_546, Some(0), TAIL),
    differs("media3_bbb_1ch_8kHz_aac_lc.m4a", 24_000, Some(0), TAIL),
    differs("media3_long_edit_list_audioonly.mp4", 68_282, Some(0), TAIL),
    differs("media3_sample_edit_list_only_preroll_sync_sample.mp4", 24_928, Some(0), TAIL),
    differs("lofty_odd_application_block_last.flac", 44, Some(0), TWICE),
    differs("lofty_odd_stream_info_last.flac", 44, Some(0), TWICE),
    differs("lofty_odd_junk.mp3", 1152, None, LONELY),
    differs("media3_mp3_play-trimmed.mp3", 1152, None, LONELY),
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
    differs("media3_sample_fragmented_uuid.mp4", 47_104, None, VIDEO),
];

/// Files that ffmpeg decodes and we cannot: what we say, and what it would take.
const GAPS: &[(&str, &str, &str)] = &[(
    "media3_mka_bear-alac.mka",
    "nothing in the media decodes: malformed stream: mkv: missing edition uid",
    "symphonia's Matroska reader insists on the EditionUID of a chapter edition, which the format \
     leaves optional, and fails as a whole; it takes a Matroska reader of ours",
)];

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
const VIDEO: &str = "ffmpeg fails at the video track";

/// What we call refused codecs where ffmpeg's name is another, or none: by a part of the file's name.
const REFUSED_AS: &[(&str, &str)] = &[
    ("kithara_he_aac_v", "aac (HE-AAC)"),
    ("hound_pcmwaveformat-24bit-4byte", "pcm in words wider than its samples"),
    ("lofty_mpc_sv", "musepack"),
    ("iamf", "iamf"),
    ("_ac4_protected", "encrypted audio"),
    ("_ac4", "ac4"),
    ("_fpcm_", "fpcm"),
    ("_ipcm_", "ipcm"),
    ("_mpegh_", "mpegh_3d_audio"),
];

/// Everything a decoder said about a file.
struct Heard {
    info: Option<Info>,
    planes: Vec<Vec<f32>>,
    /// Integers of more than 24 bits beside them.
    wide: Vec<Vec<i32>>,
    error: Option<Error>,
    undecoded: u64,
    decoded: u64,
    steps: u64,
}

/// How bytes are fed.
#[derive(Clone, Copy)]
struct Feed {
    /// Bytes made resident per need.
    piece_bytes: usize,
    /// Length of a slice.
    slice: Duration,
}

const WHOLE: Feed = Feed { piece_bytes: 64 << 10, slice: Duration::from_secs(10) };

/// Frames of one tray at most: a full one and the longest packet, a FLAC block.
const TRAY_FRAMES: usize = 4096 + 65_535;

fn hear(bytes: &[u8], feed: Feed, from_frame: u64) -> Heard {
    let pool = BufPool::new(Options { budget_bytes: 64 << 20 });
    let resident = Resident::new(Some(bytes.len() as u64));
    let stacks = Stacks::new(StackOptions::default());
    let ask = Ask { from_frame, ..Ask::default() };
    let mut decoder = Decoder::new(&stacks, resident.clone(), ask).unwrap();
    let mut heard = Heard {
        info: None,
        planes: vec![],
        wide: vec![],
        error: None,
        undecoded: 0,
        decoded: 0,
        steps: 0,
    };
    // Far more than any file here needs: what takes longer hangs.
    let most_steps = 20_000 + bytes.len() as u64 * 8;
    loop {
        heard.steps += 1;
        assert!(heard.steps < most_steps, "the decoder does not come to an end");
        match decoder.step(Instant::now() + feed.slice) {
            Ok(Step::Need { position, .. }) => {
                assert!(position < bytes.len() as u64, "asked for bytes behind the end");
                let rest = &bytes[position as usize..];
                let count = rest.len().min(feed.piece_bytes).min(Class::Large.bytes());
                let mut block = pool.take(Class::holding(count)).unwrap();
                block[..count].copy_from_slice(&rest[..count]);
                resident.insert(position, block.freeze(count));
                if resident.bytes() > 16 << 20 {
                    resident.clear();
                }
            }
            Ok(Step::Opened) => heard.info = decoder.info().cloned(),
            Ok(Step::Frames) => {
                let frames = decoder.frames();
                assert!((1..=TRAY_FRAMES).contains(&frames.len()), "{} frames", frames.len());
                if heard.planes.is_empty() {
                    heard.planes = vec![Vec::new(); frames.planes.len()];
                    heard.wide = vec![Vec::new(); frames.wide.len()];
                }
                for (all, new) in heard.wide.iter_mut().zip(&frames.wide) {
                    all.extend(new);
                }
                let expected = from_frame + heard.planes[0].len() as u64;
                assert_eq!(decoder.position(), expected, "frames follow each other");
                for (all, new) in heard.planes.iter_mut().zip(&frames.planes) {
                    assert!(new.iter().all(|sample| sample.is_finite()));
                    all.extend(new);
                }
                let heard_frames = heard.planes[0].len() as u64;
                let promised = heard.info.as_ref().and_then(|info| info.frames);
                // A damaged header may promise much; it comes in bounded trays, and is enough here.
                if heard_frames > 8_000_000 && promised.is_some_and(|p| p >= heard_frames) {
                    break;
                }
                assert!(heard_frames < 40_000_000, "frames without end");
            }
            Ok(Step::Slice) => {}
            Ok(Step::End) => {
                assert_eq!(decoder.step(Instant::now()), Ok(Step::End), "the same again");
                break;
            }
            Err(error) => {
                assert_eq!(decoder.step(Instant::now()), Err(error.clone()), "the same again");
                heard.error = Some(error);
                break;
            }
        }
    }
    heard.undecoded = decoder.undecoded_packets();
    heard.decoded = decoder.decoded_packets();
    heard
}

fn material() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/material");
    let root = std::env::var_os("KITHARA_MATERIAL").map_or(beside, PathBuf::from).join("audio");
    if root.is_dir() {
        return Some(root);
    }
    eprintln!("\n*** SKIPPED: no material at {} (set KITHARA_MATERIAL) ***\n", root.display());
    None
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
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
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
        eprintln!("\n*** SKIPPED: no ffmpeg to compare with ***\n");
    }
    there
}

/// Largest difference that a codec may have from ffmpeg's decoder.
fn tolerance(info: &Info) -> f32 {
    match (info.sample, info.codec) {
        (Sample::Integer { .. }, _) => 0.0,
        (_, codec) if codec.starts_with("pcm") => 0.0,
        (_, "aac") => 1e-3,
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

/// Whether a refusal names what the file is.
fn check_name(file: &str, error: &Error, codecs: &BTreeMap<String, String>) -> Result<(), String> {
    let Error::Unsupported { name } = error else { return Ok(()) };
    let listed = REFUSED_AS.iter().find(|(part, _)| file.contains(part)).map(|found| found.1);
    let expected = listed.or(codecs.get(file).map(String::as_str)).unwrap_or_default();
    // What ffmpeg finds nothing in has no name to be compared with.
    if expected.is_empty() || name == expected {
        return Ok(());
    }
    Err(format!("refused as {name}, and it is {expected}"))
}

/// The codec of every file as ffmpeg 5.1 named it, by the table beside the material.
fn codecs(root: &Path) -> BTreeMap<String, String> {
    let table = fs::read_to_string(root.join("../EXPECT_ffmpeg51.tsv")).expect("the table");
    let rows = table.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    let named = rows.filter_map(|row| {
        Some((row.first()?.strip_prefix("audio/")?.to_owned(), (*row.get(2)?).to_owned()))
    });
    named.collect()
}

/// What came of one file, if that is as it should be.
fn verdict(
    path: &Path,
    heard: &Heard,
    codecs: &BTreeMap<String, String>,
) -> Result<String, String> {
    let file = name(path);
    let frames = heard.planes.first().map_or(0, Vec::len);
    if let Some(gap) = GAPS.iter().find(|gap| gap.0 == file) {
        let said = heard.error.as_ref().map(Error::to_string);
        assert_eq!(said.as_deref(), Some(gap.1), "{file}: listed as a gap");
        return Ok(format!("GAP: {}", gap.2));
    }
    if let Some(listed) = DIFFERS.iter().find(|listed| listed.file == file) {
        return differs_as_listed(listed, path, heard).map(|seen| format!("DIFFERS: {seen}"));
    }
    match (&heard.error, ffmpeg(path)) {
        (Some(error @ Error::Unsupported { .. }), _) | (Some(error), None) => {
            check_name(&file, error, codecs)?;
            Ok(format!("refused: {error}"))
        }
        (Some(error), Some(_)) => Err(format!("ffmpeg decodes it, we say: {error}")),
        (None, Some(theirs)) => {
            compare_wide(path, heard)?;
            compare(heard, &theirs, 0)
        }
        (None, None) => Err(format!("ffmpeg refuses, we give {frames} frames")),
    }
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
    Ok(format!("{} ({frames} frames, worst {difference:.2e} from {:?})", listed.why, listed.lead))
}

#[test]
fn every_file_agrees_or_is_refused_or_differs_for_a_reason() {
    let Some(root) = material() else { return };
    if !has_ffmpeg() {
        return;
    }
    let codecs = codecs(&root);
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::<&str, u32>::new());
    for path in files(&root) {
        let heard = hear(&fs::read(&path).unwrap(), WHOLE, 0);
        let name = name(&path);
        match verdict(&path, &heard, &codecs) {
            Ok(seen) => {
                let kinds = ["DIFFERS", "GAP", "refused"];
                let kind = kinds.into_iter().find(|kind| seen.starts_with(kind));
                *counts.entry(kind.unwrap_or("agrees")).or_default() += 1;
                println!("ok       {name}: {seen}");
            }
            Err(seen) => wrong.push(format!("{name}: {seen}")),
        }
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "\n{} files:\n  {}\n", wrong.len(), wrong.join("\n  "));
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
        Feed { piece_bytes: 977, slice: Duration::from_secs(1) },
        Feed { piece_bytes: 4096, slice: Duration::ZERO },
        Feed { piece_bytes: 16_001, slice: Duration::from_micros(50) },
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
        // AAC is not reproducible, Matroska's times are not exact, blocks of ADPCM are not frames.
        let is_whole = codec == "aac" || codec.starts_with("adpcm") || container == "matroska";
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
    let mut whole = vec![made_mp4(&[PLAIN; 12]), made_adts(&[PLAIN; 12])];
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
fn high_efficiency_behind_a_plain_configuration_is_refused() {
    let refused = |bytes: &[u8]| {
        let error = hear(bytes, WHOLE, 0).error;
        error.is_some_and(|error| error.to_string() == "aac (HE-AAC) is not supported")
    };
    assert!(refused(&made_adts(&[EXTENDED; 12])));
    assert!(refused(&made_mp4(&[EXTENDED; 12])));
    assert!(!refused(&made_adts(&[PLAIN; 12])));
    assert!(!refused(&made_mp4(&[PLAIN; 12])));
}

#[test]
fn high_efficiency_is_refused_though_its_configuration_was_made_plain() {
    let Some(root) = material() else { return };
    for version in ["v1", "v2"] {
        let read = |part: &str| fs::read(root.join(format!("kithara_he_aac_{version}_{part}")));
        let mut bytes = read("init.mp4").unwrap();
        let at = bytes.windows(2).position(|word| word == [5, 4]);
        let config = at.expect("a configuration of four bytes") + 2;
        // Low Complexity at 22.05 kHz, stereo (v1) or mono (v2), and nothing behind it.
        let channels = if version == "v1" { 2 } else { 1 };
        bytes[config..config + 4].copy_from_slice(&[0x13, 0x80 | channels << 3, 0, 0]);
        bytes.extend(read("segment.m4s").unwrap());
        let error = hear(&bytes, WHOLE, 0).error.map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("aac (HE-AAC) is not supported"), "{version}");
    }
}

/// A raw data block of nothing but a fill element with band replication data, and its end.
const EXTENDED: [u8; 4] = [0xC5, 0xAA, 0xAB, 0xC0];
/// The same with padding in it.
const PLAIN: [u8; 4] = [0xC4, 0x2A, 0xAB, 0xC0];

/// Packets in ADTS: Low Complexity, 22.05 kHz, stereo.
fn made_adts(packets: &[[u8; 4]]) -> Vec<u8> {
    let frame =
        |packet: &[u8; 4]| [&[0xFF, 0xF1, 0x5C, 0x80, 0x01, 0x7F, 0xFC], &packet[..]].concat();
    packets.iter().flat_map(frame).collect()
}

/// Packets in MP4 with the same configuration.
fn made_mp4(packets: &[[u8; 4]]) -> Vec<u8> {
    let count = packets.len() as u32;
    let words =
        |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let mut bytes = atom(b"ftyp", &[b"M4A \0\0\0\0M4A "]);
    let offset = bytes.len() as u32 + 8;
    bytes.extend(atom(b"mdat", &[&packets.concat()]));
    let esds = b"\0\0\0\0\x03\x19\0\x01\0\x04\x11\x40\x15\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x13\x90\x06\x01\x02";
    let mut entry = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 16, 0, 0, 0, 0];
    entry.extend((22_050u32 << 16).to_be_bytes());
    let entry = atom(b"mp4a", &[&entry, &atom(b"esds", &[esds])]);
    let table = atom(
        b"stbl",
        &[
            &atom(b"stsd", &[&words(&[0, 1]), &entry]),
            &atom(b"stts", &[&words(&[0, 1, count, 1024])]),
            &atom(b"stsc", &[&words(&[0, 1, 1, count, 1])]),
            &atom(b"stsz", &[&words(&[0, 4, count])]),
            &atom(b"stco", &[&words(&[0, 1, offset])]),
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

/// SplitMix64: enough for a test, and a failing seed is all that is needed to repeat it.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound.max(1)
    }
}
