//! The Core Audio Format: whatever order its chunks have, as long as its table says, and each sample as it was.

use kithara::decode::{Error, Info, Sample};

use crate::{
    fragment_packets, has_ffmpeg,
    hear::{Feed, Heard, Random, WHOLE, hear, is_same, scan, small},
    index::encoded,
    surround,
};

/// Seconds that fill no last packet.
const ODD: [&str; 2] = ["-t", "3.00317"];
/// Frames of them.
const FRAMES: usize = 132_440;

type Chunk = ([u8; 4], Vec<u8>);

fn chunks(bytes: &[u8]) -> Vec<Chunk> {
    let (mut chunks, mut rest) = (Vec::new(), &bytes[8..]);
    while let Some((head, behind)) = rest.split_first_chunk::<12>() {
        let length = u64::from_be_bytes(*head.last_chunk().unwrap()) as usize;
        let (body, behind) = behind.split_at(length.min(behind.len()));
        chunks.push((*head.first_chunk().unwrap(), body.to_vec()));
        rest = behind;
    }
    chunks
}

fn file(chunks: &[Chunk]) -> Vec<u8> {
    let chunk =
        |(kind, body): &Chunk| [kind, &(body.len() as u64).to_be_bytes()[..], body].concat();
    [b"caff\0\x01\0\0".to_vec(), chunks.iter().flat_map(chunk).collect()].concat()
}

fn body<'a>(chunks: &'a [Chunk], kind: &[u8; 4]) -> &'a Vec<u8> {
    &chunks.iter().find(|(found, _)| found == kind).expect("it has such a chunk").1
}

/// The same chunks in another order, with empty space before each: those of these names, and the rest behind.
fn ordered(chunks: &[Chunk], kinds: &[&[u8; 4]]) -> Vec<u8> {
    let free = || (*b"free", vec![0x55; 333]);
    let first = kinds.iter().map(|kind| (**kind, body(chunks, kind).clone()));
    let rest = chunks.iter().filter(|(kind, _)| !kinds.contains(&kind)).cloned();
    let spaced: Vec<Chunk> = first.chain(rest).flat_map(|chunk| [free(), chunk]).skip(1).collect();
    file(&spaced)
}

/// The file up to the packets, of which it says that they go on to its end.
fn streamed(bytes: &[u8]) -> Vec<u8> {
    let chunks = chunks(bytes);
    let before: Vec<_> = chunks.iter().take_while(|(kind, _)| kind != b"data").cloned().collect();
    let data = [&b"data"[..], &u64::MAX.to_be_bytes(), body(&chunks, b"data")].concat();
    [file(&before), data].concat()
}

/// A description of packets at 44.1 kHz in two channels.
fn description(kind: &[u8; 4], packet_bytes: u32, packet_frames: u32, bits: u32) -> Chunk {
    let words = [0, packet_bytes, packet_frames, 2, bits].map(u32::to_be_bytes).concat();
    (*b"desc", [&44_100f64.to_be_bytes()[..], kind, &words].concat())
}

/// A table of packets, so many frames of which are heard behind the first ones.
fn table(packets: &[Vec<u8>], frames: u64, priming: u32, remainder: u32) -> Chunk {
    let head = [packets.len() as u64, frames].map(u64::to_be_bytes).concat();
    let trim = [priming, remainder].map(u32::to_be_bytes).concat();
    let entries = packets.iter().flat_map(|packet| {
        let length = packet.len();
        let digits = [length >> 14, length >> 7 & 0x7F, length & 0x7F];
        let first = digits[..2].iter().position(|digit| *digit > 0).unwrap_or(2);
        let last = digits.len() - 1;
        (first..=last).map(move |at| digits[at] as u8 | if at < last { 0x80 } else { 0 })
    });
    (*b"pakt", [head, trim, entries.collect()].concat())
}

fn data(packets: &[Vec<u8>]) -> Chunk {
    (*b"data", [vec![0; 4], packets.concat()].concat())
}

/// The elementary stream descriptor of an AudioSpecificConfig, as a magic cookie.
fn cookie(config: &[u8]) -> Chunk {
    let specific = [&[5, config.len() as u8][..], config].concat();
    let decoder = [&[4, 13 + specific.len() as u8, 0x40, 0x15][..], &[0; 11], &specific].concat();
    let stream = [&[3, 3 + decoder.len() as u8, 0, 0, 0][..], &decoder].concat();
    (*b"kuki", stream)
}

#[track_caller]
fn heard(bytes: &[u8]) -> Heard {
    let heard = hear(bytes, WHOLE, 0);
    assert_eq!((&heard.error, heard.undecoded), (&None, 0));
    let promised = heard.info.as_ref().and_then(|info| info.frames);
    assert!(promised.is_none_or(|promised| promised == heard.frames() as u64), "{promised:?}");
    heard
}

/// The same frames whole, in order, from frames on, and by a scan.
#[track_caller]
fn assert_is(bytes: &[u8], whole: &Heard) -> Info {
    let heard = heard(bytes);
    assert_eq!(heard.frames(), whole.frames());
    assert!(is_same(&heard, whole, 0));
    assert_eq!(scan(bytes, None).total(), Some(whole.frames() as u64));
    let feed = Feed { piece_bytes: 1000, in_order: true, ..WHOLE };
    assert!(is_same(&hear(bytes, feed, 0), whole, 0), "in order");
    for from in [1, 4095, 100_000, whole.frames() - 1] {
        let late = hear(bytes, Feed { piece_bytes: 4096, ..WHOLE }, from as u64);
        assert!(is_same(&late, whole, from), "from {from}");
    }
    heard.info.expect("opened")
}

#[test]
fn samples_of_every_kind_are_those_of_wave() {
    if !has_ffmpeg() {
        return;
    }
    for (codec, as_wave) in [
        ("pcm_s8", "pcm_u8"),
        ("pcm_s16le", "pcm_s16le"),
        ("pcm_s16be", "pcm_s16le"),
        ("pcm_s24le", "pcm_s24le"),
        ("pcm_s24be", "pcm_s24le"),
        ("pcm_s32le", "pcm_s32le"),
        ("pcm_s32be", "pcm_s32le"),
        ("pcm_f32le", "pcm_f32le"),
        ("pcm_f32be", "pcm_f32le"),
        ("pcm_f64le", "pcm_f64le"),
        ("pcm_f64be", "pcm_f64le"),
        ("pcm_alaw", "pcm_alaw"),
        ("pcm_mulaw", "pcm_mulaw"),
    ] {
        let made = |codec, suffix| encoded(4, &[&["-c:a", codec], &ODD[..]].concat(), suffix);
        let (bytes, wave) = (made(codec, ".caf"), hear(&made(as_wave, ".wav"), WHOLE, 0));
        assert_eq!(wave.frames(), FRAMES);
        let info = assert_is(&bytes, &wave);
        assert_eq!((info.container, info.codec), ("caf", codec));
        let streamed = streamed(&bytes);
        assert_is(&streamed, &wave);
        // Cut inside a frame: what it promised is silence.
        let cut = hear(&bytes[..bytes.len() / 2 + 1], WHOLE, 0);
        assert_eq!((&cut.error, cut.frames()), (&None, FRAMES), "{codec}");
        let there = FRAMES / 2 - 100;
        assert!(cut.planes[1][..there] == wave.planes[1][..there], "{codec}");
        // What goes on to the end ends there.
        let cut = heard(&streamed[..streamed.len() / 2]);
        assert!(cut.frames().abs_diff(FRAMES / 2) < 100, "{codec}: {}", cut.frames());
    }
}

#[test]
fn alac_has_all_its_bits_and_no_frame_too_many() {
    if !has_ffmpeg() {
        return;
    }
    for (format, pcm, bits) in [("s16p", "pcm_s16le", 16), ("s32p", "pcm_s24le", 24)] {
        let made = |codec: &[&str], suffix| encoded(4, &[codec, &ODD[..]].concat(), suffix);
        let bytes = made(&["-c:a", "alac", "-sample_fmt", format], ".caf");
        let wave = hear(&made(&["-c:a", pcm], ".wav"), WHOLE, 0);
        assert_eq!(wave.frames(), FRAMES);
        let info = assert_is(&bytes, &wave);
        assert_eq!((info.codec, info.sample), ("alac", Sample::Integer { bits }));
        assert_eq!(info.frames, Some(FRAMES as u64));
        let chunks = chunks(&bytes);
        for kinds in [[b"desc", b"pakt", b"kuki"], [b"desc", b"kuki", b"data"]] {
            assert_is(&ordered(&chunks, &kinds), &wave);
        }
        let tabled = ordered(&chunks, &[b"desc", b"kuki", b"pakt"]);
        assert_is(&streamed(&tabled), &wave);
        // The cookie without its boxes.
        let bare =
            |(kind, body): &Chunk| (*kind, body[if kind == b"kuki" { 24 } else { 0 }..].to_vec());
        assert_is(&file(&chunks.iter().map(bare).collect::<Vec<_>>()), &wave);
    }
}

#[test]
fn a_table_says_which_frames_are_heard() {
    if !has_ffmpeg() {
        return;
    }
    let bytes = encoded(4, &[&["-c:a", "alac"], &ODD[..]].concat(), ".caf");
    let (all, chunks) = (heard(&bytes), chunks(&bytes));
    for (frames, priming, remainder) in
        [(131_000, 1000, 440), (100, 4096 * 3, 0), (127_000, 0, 4000)]
    {
        let trimmed = |chunk: &Chunk| {
            let mut chunk = chunk.clone();
            if &chunk.0 == b"pakt" {
                let said = [&(frames as u64).to_be_bytes()[..], &(priming as u32).to_be_bytes()];
                chunk.1[8..24].copy_from_slice(
                    &[said.concat(), i32::to_be_bytes(remainder).to_vec()].concat(),
                );
            }
            chunk
        };
        let chunks: Vec<_> = chunks.iter().map(trimmed).collect();
        let planes = all.planes.iter().map(|plane| plane[priming..priming + frames].to_vec());
        let whole = Heard { planes: planes.collect(), ..heard(&bytes) };
        for bytes in [file(&chunks), ordered(&chunks, &[b"desc", b"kuki", b"pakt"])] {
            let heard = heard(&bytes);
            assert_eq!(heard.info.clone().and_then(|info| info.frames), Some(frames as u64));
            assert!(is_same(&heard, &whole, 0), "{frames} behind {priming}");
            let feed = Feed { piece_bytes: 1000, in_order: true, ..WHOLE };
            assert!(is_same(&hear(&bytes, feed, 0), &whole, 0), "{frames} in order");
            assert_eq!(scan(&bytes, None).total(), Some(frames as u64));
            let from = frames * 3 / 4;
            assert!(is_same(&hear(&bytes, WHOLE, from as u64), &whole, from), "from {from}");
        }
    }
}

/// Packets of ADTS without their headers.
fn packets_of(adts: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut rest) = (Vec::new(), adts);
    while rest.len() > 7 {
        let length =
            usize::from(rest[3] & 3) << 11 | usize::from(rest[4]) << 3 | usize::from(rest[5]) >> 5;
        let (frame, behind) = rest.split_at(length.min(rest.len()));
        packets.push(frame[7..].to_vec());
        rest = behind;
    }
    packets
}

#[test]
fn aac_is_what_it_is_in_adts_without_its_priming() {
    if !has_ffmpeg() {
        return;
    }
    // More than two points of its grid.
    let adts = encoded(20, &["-c:a", "aac", "-b:a", "96k"], ".aac");
    let (packets, all) = (packets_of(&adts), hear(&adts, WHOLE, 0));
    let (priming, remainder) = (2112, 300);
    let frames = all.frames() - priming - remainder;
    let table = table(&packets, frames as u64, priming as u32, remainder as u32);
    let planes = all.planes.iter().map(|plane| plane[priming..priming + frames].to_vec());
    let whole = Heard { planes: planes.collect(), ..heard(&adts) };
    let described = description(b"aac ", 0, 1024, 0);
    let cookie = cookie(&[0x12, 0x10]);
    let free = (*b"free", vec![0; 4000]);
    let as_converted = [described.clone(), cookie.clone(), free, data(&packets), table.clone()];
    let info = assert_is(&file(&as_converted), &whole);
    assert_eq!((info.codec, info.rate_hz), ("aac", 44_100));
    let in_front = [described, cookie, table, data(&packets)];
    assert_is(&file(&in_front), &whole);
    assert_is(&streamed(&file(&in_front)), &whole);
    // Of one that was cut all is there up to the cut, and then silence.
    let bytes = file(&in_front);
    let cut = hear(&bytes[..bytes.len() / 2], WHOLE, 0);
    assert_eq!((&cut.error, cut.frames()), (&None, frames));
    let there = frames * 2 / 5;
    assert!(cut.planes[0][..there] == whole.planes[0][..there]);
    let end = frames * 3 / 5;
    assert!(cut.planes[0][end..].iter().all(|sample| *sample == 0.0));
}

#[test]
fn high_efficiency_is_what_it_is_in_mp4() {
    for (name, kind, codec, config) in [
        ("he-aac.mp4", b"aach", "he-aac", &[0x2B, 0x92, 0x08, 0x00]),
        ("he-aac-v2.mp4", b"aacp", "he-aac-v2", &[0xEB, 0x8A, 0x08, 0x00]),
    ] {
        let (mp4, packets) = (small(name), fragment_packets(&small(name)));
        let all = heard(&mp4);
        let (priming, frames) = (5186, 30_000);
        let planes = all.planes.iter().map(|plane| plane[priming..priming + frames].to_vec());
        let whole = Heard { planes: planes.collect(), ..heard(&mp4) };
        // Frames are counted as they are heard, or as those of the core.
        for halves in [1, 2] {
            let counted = |frames: usize| (frames / halves) as u64;
            let remainder = all.frames() - frames - priming;
            let said = table(
                &packets,
                counted(frames),
                counted(priming) as u32,
                counted(remainder) as u32,
            );
            let described = description(kind, 0, 2048 / halves as u32, 0);
            let bytes = file(&[described, cookie(config), said, data(&packets)]);
            let heard = heard(&bytes);
            assert_eq!(
                heard.info.as_ref().map(|info| (info.codec, info.rate_hz)),
                Some((codec, 44_100))
            );
            assert_eq!(heard.frames(), frames);
            assert!(is_same(&heard, &whole, 0), "{codec}");
        }
    }
}

#[test]
fn six_channels_are_in_the_order_of_wave() {
    if !has_ffmpeg() {
        return;
    }
    let source = hear(&small("surround-24.flac"), WHOLE, 0);
    for encoder in ["alac", "pcm_s24be"] {
        let Some(bytes) = surround::encoded(encoder, ".caf") else { continue };
        let heard = heard(&bytes);
        assert!(is_same(&heard, &source, 0), "{encoder}");
        assert_eq!(heard.info.map(|info| info.channels.mask), Some(0x3F), "{encoder}");
    }
}

#[test]
fn packets_without_a_table_are_refused_by_what_is_missing() {
    let lone = [description(b"alac", 0, 4096, 0), data(&[vec![1; 100]])];
    let why = |error: Option<Error>| error.map(|error| error.to_string()).unwrap_or_default();
    let refused = why(hear(&file(&lone), WHOLE, 0).error);
    assert!(refused.contains("packet table is missing"), "{refused}");
    let other =
        [description(b"opus", 0, 960, 0), table(&[vec![1; 9]], 960, 0, 0), data(&[vec![1; 9]])];
    assert_eq!(why(hear(&file(&other), WHOLE, 0).error), "opus is not supported");
    let empty = [description(b"aac ", 0, 1024, 0), table(&[], 0, 0, 0), data(&[])];
    let heard = hear(&file(&empty), WHOLE, 0);
    assert_eq!((heard.error, heard.info.and_then(|info| info.frames)), (None, Some(0)));
}

#[test]
fn a_table_that_takes_too_much_is_refused_before_it_is_read() {
    let mut bytes = file(&[description(b"alac", 0, 4096, 0), table(&[], 0, 0, 0), data(&[])]);
    let at = bytes.windows(4).position(|name| name == b"pakt").unwrap();
    bytes[at + 4..at + 12].copy_from_slice(&(1_u64 << 40).to_be_bytes());
    bytes.extend(file(&[data(&[])]).split_off(8));
    let heard = hear(&bytes, WHOLE, 0);
    // The packets are behind it, so that is what is said of the file.
    assert!(matches!(heard.error, Some(Error::Damaged { .. })), "{:?}", heard.error);
    let data = file(&[description(b"alac", 0, 4096, 0), data(&[])]);
    let at = data.len();
    let mut bytes = [data, file(&[table(&[], 0, 0, 0)]).split_off(8)].concat();
    bytes[at + 4..at + 12].copy_from_slice(&(1_u64 << 40).to_be_bytes());
    assert!(matches!(hear(&bytes, WHOLE, 0).error, Some(Error::TooLarge { .. })));
}

#[test]
fn any_damage_ends_in_frames_or_an_error() {
    let packets = fragment_packets(&small("he-aac.mp4"));
    let table = table(&packets, 30_000, 5000, 10_000);
    let sound =
        file(&[description(b"aac ", 0, 2048, 0), cookie(&[0x13, 0x90]), table, data(&packets)]);
    let mut random = Random(11);
    for round in 0..200 {
        let mut damaged = sound.clone();
        for _ in 0..=random.below(6) {
            // More often than not before the packets.
            let most = if random.below(3) > 0 { 250 } else { damaged.len() as u64 };
            let at = random.below(most) as usize;
            damaged[at] = random.below(256) as u8;
        }
        damaged.truncate(100 + random.below(damaged.len() as u64) as usize);
        let heard = hear(&damaged, WHOLE, random.below(2) * 9000);
        assert_ne!(heard.error, Some(Error::Panicked), "round {round}");
        let scanned = scan(&damaged, None);
        assert_ne!(scanned.error, Some(Error::Panicked), "round {round}");
    }
}
