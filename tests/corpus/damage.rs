//! Sound files with some bytes overwritten: behind the damage every frame lies where it lay.

use std::ops::Range;

use crate::{
    changes::peak,
    hear::{Heard, Random, WHOLE, hear, small, strings},
    matroska::{self, element},
    ogg::{in_ogg, pages, renumbered},
};

/// `bytes` with `count` of them overwritten from `at` on.
fn overwritten(bytes: &[u8], at: usize, count: usize) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    let mut random = Random(at as u64);
    damaged[at..at + count].fill_with(|| random.below(256) as u8);
    damaged
}

/// The frames from the first to the last in which two decodes differ by more than `most`.
fn difference(one: &Heard, other: &Heard, most: f32) -> Range<usize> {
    let (mut first, mut end) = (usize::MAX, 0);
    for (one, other) in one.planes.iter().zip(&other.planes) {
        let differs = |frame: &usize| (one[*frame] - other[*frame]).abs() > most;
        let mut frames = 0..one.len().min(other.len());
        first = first.min(frames.clone().find(differs).unwrap_or(usize::MAX));
        end = end.max(frames.rfind(differs).map_or(0, |frame| frame + 1));
    }
    first.min(end)..end
}

/// Where a file is damaged, with how many bytes.
fn damages(bytes: &[u8], head: usize) -> impl Iterator<Item = (usize, usize)> {
    let room = bytes.len() - head;
    let places = (1..8).map(move |eighth| head + room * eighth / 8);
    places.flat_map(|at| [3, 60, 400, 3000].map(|count| (at, count)))
}

/// What is left of `bytes` with `count` of them overwritten at `at`: a track like the `whole`, and as long.
fn hear_damaged(bytes: &[u8], (at, count): (usize, usize), whole: &Heard) -> Heard {
    let heard = hear(&overwritten(bytes, at, count), WHOLE, 0);
    assert_eq!((&heard.error, &heard.info), (&None, &whole.info), "{count} at {at}");
    assert_eq!(heard.planes[0].len(), whole.planes[0].len(), "{count} at {at}");
    heard
}

#[test]
fn what_damage_took_from_a_lossless_file_is_silence_and_the_rest_is_as_it_was() {
    let bytes = strings("strings.flac");
    let whole = hear(&bytes, WHOLE, 0);
    for (at, count) in damages(&bytes, 9000) {
        let heard = hear_damaged(&bytes, (at, count), &whole);
        let differs = difference(&whole, &heard, 0.0);
        let lost = heard.undecoded as usize * 4096;
        assert!(lost > 0 && differs.len() <= lost, "{count} at {at}: {differs:?} of {lost} lost");
        for plane in &heard.planes {
            assert!(plane[differs.clone()].iter().all(|sample| *sample == 0.0), "{count} at {at}");
        }
    }
}

#[test]
fn behind_a_lost_page_vorbis_lies_where_it_lay() {
    let bytes = strings("strings.ogg");
    let whole = hear(&bytes, WHOLE, 0);
    for (at, count) in damages(&bytes, 16_000) {
        let heard = hear_damaged(&bytes, (at, count), &whole);
        let differs = difference(&whole, &heard, 0.0);
        // Two pages at most, a packet that reaches into each of them, and what overlaps it.
        assert!((1000..80_000).contains(&differs.len()), "{count} at {at}: {differs:?}");
        let lost = heard.undecoded as usize * 1024;
        assert!(differs.len() <= lost + 4096, "{count} at {at}: {differs:?} of {lost} lost");
        let from = differs.end as u64 + 5000;
        let late = hear(&overwritten(&bytes, at, count), WHOLE, from);
        assert!(late.planes[0][..] == whole.planes[0][from as usize..], "from {from}");
        let from = differs.end as u64 - 100;
        let late = hear(&overwritten(&bytes, at, count), WHOLE, from);
        assert!(late.planes[0][..] == heard.planes[0][from as usize..], "from {from}");
    }
}

#[test]
fn a_page_that_was_cut_out_is_as_silent_as_one_that_was_overwritten() {
    let bytes = strings("strings.ogg");
    let pages = pages(&bytes);
    let page = pages[pages.len() / 2].clone();
    let without = [&bytes[..page.start], &bytes[page.end..]].concat();
    let heard = hear(&without, WHOLE, 0);
    let over = hear(&overwritten(&bytes, page.start, page.len()), WHOLE, 0);
    assert!(heard.planes == over.planes);
    assert_eq!(heard.undecoded, over.undecoded);
    assert!(heard.undecoded > 10);
}

/// The first page of an Ogg stream that has audio on it.
fn first_of_audio(bytes: &[u8]) -> Range<usize> {
    let granule = |page: &Range<usize>| bytes[page.start + 6..page.start + 14].to_vec();
    let page = pages(bytes).into_iter().find(|page| granule(page).iter().any(|byte| *byte != 0));
    page.expect("there is audio")
}

#[test]
fn what_a_damaged_first_page_of_audio_held_is_silence_and_the_rest_is_heard() {
    let ogg = [strings("strings.ogg"), in_ogg(&strings("strings.flac")), small("opus.ogg")];
    for (bytes, is_exact) in ogg.into_iter().zip([true, true, false]) {
        let (whole, page) = (hear(&bytes, WHOLE, 0), first_of_audio(&bytes));
        let heard = hear_damaged(&bytes, (page.end - 20, 1), &whole);
        let frames = whole.frames();
        assert!(heard.undecoded > 0 && heard.planes[0][..100].iter().all(|sample| *sample == 0.0));
        let (tail, of_whole) =
            (&heard.planes[0][frames * 9 / 10..], &whole.planes[0][frames * 9 / 10..]);
        assert!(!is_exact || tail == of_whole);
        assert!(tail.iter().any(|sample| *sample != 0.0));
    }
}

#[test]
fn a_later_link_of_a_chain_is_heard_though_its_first_page_of_audio_is_damaged() {
    let (link, other) = (strings("strings.ogg"), renumbered(&strings("strings.ogg"), 77));
    let (whole, at) = (hear(&link, WHOLE, 0), link.len() + first_of_audio(&other).end - 20);
    let heard = hear(&overwritten(&[link, other].concat(), at, 1), WHOLE, 0);
    let frames = whole.frames();
    assert_eq!((heard.error, heard.planes[0].len()), (None, 2 * frames));
    assert!(heard.planes[0][frames + frames / 2..] == whole.planes[0][frames / 2..]);
}

#[test]
fn damage_in_one_link_of_a_chain_leaves_the_others_where_they_lay() {
    let link = strings("strings.ogg");
    let chain = [&link[..], &renumbered(&link, 77)].concat();
    let whole = hear(&chain, WHOLE, 0);
    for at in [link.len() / 2, link.len() * 3 / 2] {
        let heard = hear(&overwritten(&chain, at, 400), WHOLE, 0);
        assert_eq!(heard.error, None);
        assert_eq!(heard.planes[0].len(), whole.planes[0].len());
        assert!(difference(&whole, &heard, 0.0).len() < 60_000);
        assert!(heard.undecoded > 0);
    }
    // A link whose headers are gone is none.
    let heard = hear(&overwritten(&chain, link.len() + 100, 400), WHOLE, 0);
    assert_eq!(heard.error, None);
    assert_eq!(heard.planes, hear(&link, WHOLE, 0).planes);
    assert!(heard.undecoded > 0);
}

#[test]
fn behind_a_lost_page_flac_in_ogg_lies_where_it_lay() {
    let bytes = in_ogg(&strings("strings.flac"));
    let whole = hear(&bytes, WHOLE, 0);
    for (at, count) in damages(&bytes, 9000) {
        let heard = hear_damaged(&bytes, (at, count), &whole);
        let differs = difference(&whole, &heard, 0.0);
        assert!((1..=heard.undecoded as usize * 4096).contains(&differs.len()), "{count} at {at}");
        assert_eq!(peak(&heard.planes[0][differs]), 0.0, "{count} at {at}");
    }
}

/// Gives page `page` of an Ogg stream another granule position, and its checksum.
fn with_granule(bytes: &[u8], page: usize, granule: i64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let start = pages(&bytes)[page].start;
    bytes[start + 6..start + 14].copy_from_slice(&granule.to_le_bytes());
    renumbered(&bytes, 1)
}

#[test]
fn granule_positions_that_cannot_be_are_not_followed() {
    let bytes = strings("strings.ogg");
    let whole = hear(&bytes, WHOLE, 0);
    for granule in [i64::MAX, 1 << 40, 0, 77, -1, i64::MIN] {
        let odd = with_granule(&bytes, 12, granule);
        let heard = hear(&odd, WHOLE, 0);
        assert!(heard.planes == whole.planes, "{granule}: no page is missing");
        assert_eq!(heard.undecoded, 0);
        // One is, and the next tells nothing of how long it was.
        let page = pages(&odd)[11].clone();
        let heard = hear(&overwritten(&odd, page.start, page.len()), WHOLE, 0);
        assert_eq!(heard.error, None);
        assert!(heard.planes[0].len() <= whole.planes[0].len(), "{granule}");
        assert!(heard.undecoded > 0);
    }
}

#[test]
fn behind_damage_mp3_of_a_constant_bit_rate_lies_where_it_lay() {
    let bytes = strings("strings-bare.mp3");
    let whole = hear(&bytes, WHOLE, 0);
    for (at, count) in damages(&bytes, 1000).filter(|(_, count)| *count > 3) {
        let heard = hear_damaged(&bytes, (at, count), &whole);
        let differs = difference(&whole, &heard, 0.0);
        // 209 bytes are a packet; those behind lean on the reservoir, and one overlaps.
        let most = (count / 209 + 2 + 4) * 1152;
        assert!((1..=most).contains(&differs.len()), "{count} at {at}: {differs:?}");
        let from = differs.end as u64 - 500;
        let late = hear(&overwritten(&bytes, at, count), WHOLE, from);
        assert!(late.planes[0][..] == heard.planes[0][from as usize..], "from {from}");
    }
}

/// Where the frames of an MP3 or ADTS stream start, by the headers that a sound one has.
fn frames_of(bytes: &[u8], sync: [u8; 2]) -> Vec<usize> {
    let starts = bytes.windows(2).enumerate().filter(|(_, two)| **two == sync);
    starts.map(|(at, _)| at).collect()
}

#[test]
fn a_header_with_a_false_length_costs_no_more_than_its_frame() {
    let bytes = strings("strings-bare.mp3");
    let whole = hear(&bytes, WHOLE, 0);
    let start = frames_of(&bytes, [0xFF, 0xFB])[500];
    // One that ends where another frame does is no sign of damage: 128 kbit/s would.
    for rate in [1, 4, 7, 10] {
        let mut damaged = bytes.clone();
        damaged[start + 2] = damaged[start + 2] & 0x0F | rate << 4;
        let heard = hear(&damaged, WHOLE, 0);
        assert_eq!(heard.planes[0].len(), whole.planes[0].len(), "rate {rate}");
        assert!(difference(&whole, &heard, 0.0).len() < 12 * 1152, "rate {rate}");
    }
}

/// Whether all is as in the sound file but for `most` frames around the damage. AAC puts noise where
/// its encoder asks for it, another one behind a lost packet: it is compared by its energy.
fn is_in_place(whole: &Heard, heard: &Heard, codec: &str, most: usize) -> bool {
    if whole.planes[0].len() != heard.planes[0].len() {
        return false;
    }
    if !codec.contains("aac") {
        return difference(whole, heard, 0.0).len() <= most;
    }
    let energy = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>();
    let pairs = whole.planes[0].chunks(1024).zip(heard.planes[0].chunks(1024));
    let differs = pairs.filter(|(whole, heard)| {
        let between: Vec<f32> = whole.iter().zip(*heard).map(|(one, other)| one - other).collect();
        energy(&between) > 0.1 * energy(whole)
    });
    differs.count() * 1024 <= most
}

/// Where no header says how long the lost frames were, they are taken at the mean of those before:
/// nearly all damages that took a frame or two are silence of the right length, longer ones of about
/// that, and the total that a tag promises holds in any case.
#[test]
fn behind_damage_streams_of_a_variable_bit_rate_lie_where_they_lay_or_a_packet_beside() {
    for (file, head, packet) in [("strings.mp3", 3000, 1152), ("strings.aac", 1000, 1024)] {
        let bytes = strings(file);
        let whole = hear(&bytes, WHOLE, 0);
        let info = whole.info.clone().expect("opened");
        let (mut right, mut all) = (0, 0);
        for (at, count) in damages(&bytes, head).filter(|(_, count)| *count > 3) {
            let heard = hear_damaged(&bytes, (at, count), &whole);
            let (frames, sound) = (heard.planes[0].len(), whole.planes[0].len());
            let most_beside = if count > 400 { 4 } else { 1 };
            assert!(frames.abs_diff(sound) <= most_beside * packet, "{file}: {frames} of {sound}");
            assert!(info.frames.is_none() || frames == sound, "{file}");
            if count <= 400 {
                right += usize::from(is_in_place(&whole, &heard, info.codec, 12 * packet));
                all += 1;
            }
        }
        assert!(right * 5 >= all * 4, "{file}: {right} of {all} are in their place");
    }
}

#[test]
fn tables_keep_the_frames_of_a_damaged_file_where_they_lay() {
    for file in ["strings-alac.m4a", "strings.wav", "strings.aiff"] {
        let bytes = strings(file);
        let whole = hear(&bytes, WHOLE, 0);
        let heard = hear_damaged(&bytes, (bytes.len() / 2, 400), &whole);
        let differs = difference(&whole, &heard, 0.0);
        assert!((1..3 * 4096).contains(&differs.len()), "{file}: {differs:?}");
    }
}

/// Matroska says of many packets no length: one that does not decode is as long as the one before.
#[test]
fn a_packet_of_matroska_that_does_not_decode_is_silence_of_its_length() {
    let Some(root) = crate::material() else { return };
    for (file, packet) in
        [("media3_mka_bear-flac-16bit.mka", 4608), ("media3_mka_bear-alac.mka", 4096)]
    {
        let bytes = std::fs::read(root.join(file)).unwrap();
        let whole = hear(&bytes, WHOLE, 0);
        for (at, count) in damages(&bytes, 4000).filter(|(_, count)| *count <= 400) {
            let heard = hear_damaged(&bytes, (at, count), &whole);
            let differs = difference(&whole, &heard, 0.0);
            assert!(
                (1..=2 * packet).contains(&differs.len()),
                "{file}: {count} at {at}: {differs:?}"
            );
        }
    }
}

/// A container can say anything of a packet that does not decode.
#[test]
fn a_packet_that_lasts_for_ages_by_its_container_is_no_silence_without_end() {
    let frame = &strings("strings-bare.mp3")[..417];
    let block = |data: &[u8]| [&[0x81, 0, 0, 0][..], data].concat();
    let ages = element(&[0x9B], &(1_u64 << 50).to_be_bytes());
    let cluster = [
        element(&[0xE7], &[0]),
        element(&[0xA0], &[element(&[0xA1], &block(&[0; 64])), ages].concat()),
        element(&[0xA3], &block(frame)),
        element(&[0xA3], &block(frame)),
    ];
    let cluster = element(&[0x1F, 0x43, 0xB6, 0x75], &cluster.concat());
    let file = matroska::file(&matroska::track(b"A_MPEG/L3", &[], 44_100.0, 0), &cluster);
    let heard = hear(&file, WHOLE, 0);
    assert_eq!((heard.error, heard.undecoded), (None, 1));
    assert!(heard.planes[0].len() <= (1 << 24) + 2 * 1152, "{}", heard.planes[0].len());
}

#[test]
fn junk_before_the_first_frame_and_behind_the_last_is_no_silence() {
    let bytes = strings("strings-bare.mp3");
    let whole = hear(&bytes, WHOLE, 0);
    let junk = [7; 5000];
    let tag = [&b"TAG"[..], &[b' '; 125]].concat();
    for (before, behind) in [(&junk[..], &[][..]), (&[], &junk), (&[], &tag), (&junk, &tag)] {
        let heard = hear(&[before, &bytes, behind].concat(), WHOLE, 0);
        assert!(heard.planes == whole.planes);
        assert_eq!(heard.undecoded, 0);
    }
    // Nor is a tag between two streams that were put behind each other.
    let both = hear(&[&bytes[..], &tag, &bytes].concat(), WHOLE, 0);
    assert_eq!(both.planes[0].len(), 2 * whole.planes[0].len());
}

#[test]
fn what_one_mp3_says_of_its_end_is_not_that_of_another_behind_it() {
    let (first, second) = (strings("strings.mp3"), strings("strings-bare.mp3"));
    let [one, other] = [&first, &second].map(|bytes| hear(bytes, WHOLE, 0).frames());
    let id3 = [&b"ID3\x04\0\0\0\0\0\x40"[..], &[0; 64]].concat();
    let id3v1 = [&b"TAG"[..], &[b' '; 125]].concat();
    for tags in [id3.clone(), [id3v1, id3].concat()] {
        let both = hear(&[&first[..], &tags, &second].concat(), WHOLE, 0);
        // The padding of the first is no more known to be its end.
        let padding = (both.frames()).checked_sub(one + other).expect("both are heard");
        assert!(padding < 1152 && both.error.is_none(), "{padding}");
        let behind_first = hear(&[&first[..], &tags].concat(), WHOLE, 0);
        assert_eq!(behind_first.frames(), one, "tags alone are its end");
    }
}

#[test]
fn the_damaged_files_of_the_tests_are_as_long_as_the_sound_ones() {
    // 24 kHz, MPEG 2: packets of 576 frames.
    let mp3 = hear(&small("damaged.mp3"), WHOLE, 0);
    assert_eq!(mp3.info.expect("opened").rate_hz, 24_000);
    assert_eq!(mp3.planes[0].len(), 44 * 576);
    assert!((1..12).contains(&mp3.undecoded), "{}", mp3.undecoded);
    let flac = hear(&small("damaged.flac"), WHOLE, 0);
    assert_eq!(flac.info.expect("opened").frames, Some(44_100));
    assert_eq!((flac.planes[0].len(), flac.undecoded), (44_100, 2));
    let blocks = flac.planes[0].chunks_exact(4096);
    assert_eq!(blocks.filter(|block| peak(block) == 0.0).count(), 2);
}
