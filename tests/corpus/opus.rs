//! Opus in Ogg: as libopus decodes it, as long as its granules say, and whole where it is damaged.

use std::fs;

use crate::{
    WHOLE, ffmpeg, has_ffmpeg, hear,
    hear::{Heard, scan, small},
    index::encoded,
    ogg::{pages, renumbered},
    surround,
};

fn made(seconds: u32, arguments: &[&str]) -> Vec<u8> {
    encoded(seconds, &[&["-c:a", "libopus"], arguments].concat(), ".opus")
}

/// What libopus makes of it.
fn libopus(bytes: &[u8]) -> Vec<f32> {
    let file = tempfile::Builder::new().suffix(".opus").tempfile().unwrap();
    fs::write(file.path(), bytes).unwrap();
    ffmpeg(file.path()).expect("libopus decodes it")
}

/// Where a page says how many frames there are up to its end.
fn granule(page: &[u8]) -> i64 {
    i64::from_le_bytes(page[6..14].try_into().expect("eight bytes"))
}

fn heard(bytes: &[u8]) -> Heard {
    let heard = hear(bytes, WHOLE, 0);
    assert_eq!(heard.error, None);
    heard
}

#[test]
fn what_libopus_encoded_is_what_libopus_decodes() {
    if !has_ffmpeg() {
        return;
    }
    let kinds: [&[&str]; 5] = [
        &["-b:a", "96k"],
        &["-b:a", "32k", "-ac", "1", "-frame_duration", "60"],
        &["-b:a", "14k", "-ac", "1", "-application", "voip"],
        &["-b:a", "128k", "-frame_duration", "2.5", "-application", "lowdelay"],
        &["-b:a", "24k", "-frame_duration", "40"],
    ];
    for kind in kinds {
        let bytes = made(9, kind);
        let (ours, theirs) = (heard(&bytes), libopus(&bytes));
        let channels = ours.planes.len();
        assert_eq!((theirs.len() / channels, ours.undecoded), (ours.frames(), 0), "{kind:?}");
        assert_eq!((ours.frames(), ours.total()), (9 * 48_000, Some(9 * 48_000)), "{kind:?}");
        for (channel, plane) in ours.planes.iter().enumerate() {
            let theirs: Vec<f32> = theirs.iter().skip(channel).step_by(channels).copied().collect();
            let pairs = plane.iter().zip(&theirs);
            let worst = pairs.map(|(our, their)| (our - their).abs()).fold(0.0, f32::max);
            println!("{kind:?} {channel}: {worst:.1e}");
            assert!(worst < 1e-3, "{kind:?} {channel}: {worst:.1e}");
        }
    }
}

/// A chain whose packets become shorter: nobody hears where its decoders start anew either.
#[test]
fn a_chain_of_packets_of_another_length_is_what_libopus_decodes() {
    if !has_ffmpeg() {
        return;
    }
    let parts = [made(2, &["-b:a", "96k"]), made(7, &["-b:a", "96k", "-frame_duration", "2.5"])];
    let ours = heard(&parts.concat());
    let theirs: Vec<f32> = parts.iter().flat_map(|part| libopus(part)).collect();
    assert_eq!((ours.frames(), theirs.len()), (9 * 48_000, 2 * 9 * 48_000));
    for (channel, plane) in ours.planes.iter().enumerate() {
        let pairs = plane.iter().zip(theirs.iter().skip(channel).step_by(2));
        let worst = pairs.map(|(our, their)| (our - their).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "{channel}: {worst:.1e}");
    }
}

#[test]
fn six_channels_come_in_the_order_of_wave() {
    if !has_ffmpeg() {
        return;
    }
    let Some(bytes) = surround::encoded("libopus", ".opus") else { return };
    let (ours, theirs) = (heard(&bytes), libopus(&bytes));
    assert_eq!((ours.frames(), theirs.len()), (12_000, 6 * 12_000));
    assert_eq!(ours.info.expect("opened").channels.mask, 0x3F);
    for (channel, plane) in ours.planes.iter().enumerate() {
        let mut pairs = plane.iter().zip(theirs.iter().skip(channel).step_by(6));
        assert!(pairs.all(|(our, their)| (our - their).abs() < 1e-3), "channel {channel}");
        assert!(plane.iter().any(|sample| sample.abs() > 0.1), "channel {channel} is silent");
    }
}

#[test]
fn the_last_granule_says_how_long_it_is() {
    let bytes = small("opus.ogg");
    let whole = heard(&bytes);
    assert_eq!((whole.frames(), whole.total()), (48_000, Some(48_000)));
    // Its last page, cut to end sooner.
    let last = pages(&bytes).pop().unwrap().start;
    for frames in [30_001, 47_040] {
        let mut cut = bytes.clone();
        cut[last + 6..last + 14].copy_from_slice(&(frames + 312_i64).to_le_bytes());
        let cut = heard(&renumbered(&cut, 3));
        assert_eq!(cut.total(), Some(frames as u64));
        assert!(cut.planes[0][..] == whole.planes[0][..frames as usize]);
    }
}

#[test]
fn a_stream_that_was_cut_out_of_another_begins_with_its_first_packet() {
    let bytes = small("opus.ogg");
    let mut later = bytes.clone();
    for page in &pages(&bytes)[2..] {
        let moved = granule(&bytes[page.clone()]) + 1_000_000;
        later[page.start + 6..page.start + 14].copy_from_slice(&moved.to_le_bytes());
    }
    // One page that is first and last says nothing of where it lay.
    assert!(pages(&bytes).len() > 3);
    let (whole, later) = (heard(&bytes), heard(&renumbered(&later, 3)));
    assert!(later.planes == whole.planes && later.total() == whole.total());
}

#[test]
fn headers_that_stand_twice_are_a_link_without_a_packet() {
    let bytes = small("opus.ogg");
    let headers = &bytes[..pages(&bytes)[1].end];
    let (whole, twice) = (heard(&bytes), heard(&[headers, &bytes].concat()));
    assert!(twice.planes == whole.planes);
    assert_eq!((twice.info.unwrap().frames, twice.frames_there), (None, Some(48_000)));
}

#[test]
fn it_says_what_it_is() {
    if !has_ffmpeg() {
        return;
    }
    let bytes = made(1, &["-metadata", "title=Pink", "-metadata", "ARTIST=Noise"]);
    let info = heard(&bytes).info.expect("opened");
    assert_eq!((info.container, info.codec, info.rate_hz), ("ogg", "opus", 48_000));
    for tag in [("title", "Pink"), ("artist", "Noise")] {
        let tag = (tag.0.to_owned(), tag.1.to_owned());
        assert!(info.tags.contains(&tag), "{:?}", info.tags);
    }
}

#[test]
fn a_page_that_is_lost_is_as_much_silence() {
    if !has_ffmpeg() {
        return;
    }
    let bytes = made(9, &["-b:a", "64k"]);
    let (whole, all) = (heard(&bytes), pages(&bytes));
    let lost = all[5].clone();
    let (from, to) = (granule(&bytes[all[4].clone()]), granule(&bytes[lost.clone()]));
    let mut damaged = bytes.clone();
    damaged[lost.start + 40] ^= 0x10;
    let removed = [&bytes[..lost.start], &bytes[lost.end..]].concat();
    for bytes in [damaged, removed] {
        let heard = heard(&bytes);
        let (from, to) = (from as usize - 312, to as usize - 312);
        assert_eq!((heard.frames(), heard.undecoded), (9 * 48_000, 50));
        for (heard, whole) in heard.planes.iter().zip(&whole.planes) {
            assert!(heard[..from] == whole[..from]);
            assert!(heard[from..to].iter().all(|sample| *sample == 0.0));
            assert!(heard[to..].iter().any(|sample| *sample != 0.0));
        }
    }
}

#[test]
fn packets_that_are_none_are_silence_and_the_rest_is_heard() {
    let bytes = small("opus.ogg");
    let mut damaged = bytes.clone();
    let page = pages(&bytes)[2].clone();
    let count = usize::from(bytes[page.start + 26]);
    let packet: usize =
        bytes[page.start + 27..][..10].iter().map(|length| usize::from(*length)).sum();
    // One frame, and padding behind it that is longer than the packet.
    let at = page.start + 27 + count + packet;
    damaged[at] |= 3;
    damaged[at + 1] = 0x41;
    damaged[at + 2..at + usize::from(bytes[page.start + 37])].fill(0xFF);
    let (whole, heard) = (heard(&bytes), heard(&renumbered(&damaged, 3)));
    assert_eq!((heard.undecoded, heard.frames()), (1, whole.frames()));
}

#[test]
fn a_chain_of_opus_plays_link_after_link() {
    let link = small("opus.ogg");
    let one = heard(&link);
    let chain = [&link[..], &renumbered(&link, 77), &renumbered(&link, 78)].concat();
    let heard = heard(&chain);
    assert_eq!((heard.info.unwrap().frames, heard.undecoded), (None, 0));
    assert_eq!(scan(&chain, None).total(), Some(3 * 48_000));
    let plane = &one.planes[0];
    assert!(heard.planes[0] == [&plane[..], plane, plane].concat());
    let total = plane.len();
    for from in [1, total - 1, total, total + 5000, 2 * total + 1] {
        let late = hear(&chain, WHOLE, from as u64);
        assert!(late.planes[0] == heard.planes[0][from..], "from {from}");
    }
}

/// Against RFC 3533, and there all the same: files of one number that were put behind each other.
#[test]
fn a_chain_of_one_number_goes_on_behind_its_first_link() {
    let link = small("opus.ogg");
    let one = heard(&link);
    let plane = &one.planes[0];
    for count in [2, 3, 10] {
        let chain = link.repeat(count);
        let whole = heard(&chain);
        assert_eq!((whole.info.as_ref().unwrap().frames, whole.undecoded), (None, 0));
        assert_eq!(scan(&chain, None).total(), Some(count as u64 * 48_000));
        assert!(whole.planes[0] == plane.repeat(count), "{count}");
        let late = hear(&chain, WHOLE, 50_000);
        assert!(late.planes[0] == whole.planes[0][50_000..], "{count}");
    }
}

#[test]
fn long_links_of_one_number_are_known_by_how_many_pages_there_are() {
    if !has_ffmpeg() {
        return;
    }
    let link = |seconds| renumbered(&made(seconds, &["-b:a", "96k"]), 3);
    let (short, long) = (link(3), link(12));
    let same = heard(&[&long[..], &long].concat());
    assert_eq!((same.info.as_ref().unwrap().frames, same.frames()), (None, 24 * 48_000));
    // Nothing tells that something stands before the longer one: what is promised is its length.
    let cut = heard(&[&short[..], &long].concat());
    assert_eq!((cut.info.as_ref().unwrap().frames, cut.frames()), (Some(12 * 48_000), 12 * 48_000));
    let first = heard(&short);
    assert!(cut.planes[0].starts_with(&first.planes[0]));
    let mut seconds = cut.planes[0].chunks(48_000);
    assert!(seconds.all(|second| second.iter().any(|sample| sample.abs() > 0.01)));
}
