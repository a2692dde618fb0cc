//! HLS whose recordings differ: behind a discontinuity may come another rate, other channels, another codec, and one
//! steady stream comes out.

use crate::{
    hls::{self, Form, Form::*, Presentation, decoded_as, differs_at, samples},
    node::{Node, node, scratch},
    origin::{Builder, origin},
};

const PCM: &str = "/v1/pcm?src=origin:list.m3u8&format=f32le";

/// A sound of so many seconds and channels in which nothing repeats.
fn recording(form: Form, rate_hz: u32, channels: usize, seconds: usize) -> Option<Presentation> {
    let channels = (0..channels)
        .map(|channel| {
            let hz = 300 + 170 * channel;
            format!("0.4*sin(2*PI*({hz}+40*t)*t)+0.1*sin(2*PI*4000*t)")
        })
        .collect::<Vec<_>>()
        .join("|");
    hls::presentation(form, &format!("aevalsrc={channels}:s={rate_hz}:d={seconds}"))
}

/// One playlist of several, each with its own folder and behind a discontinuity.
fn playlist(parts: &[&Presentation]) -> String {
    let mut text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:3\n".to_owned();
    for (folder, part) in parts.iter().enumerate() {
        if folder > 0 {
            text += "#EXT-X-DISCONTINUITY\n";
        }
        if part.init.is_some() {
            text += &format!("#EXT-X-MAP:URI=\"{folder}/init.mp4\"\n");
        }
        for (at, seconds) in part.seconds.iter().enumerate() {
            text += &format!("#EXTINF:{seconds},\n{folder}/part{at:02}\n");
        }
    }
    text + "#EXT-X-ENDLIST\n"
}

fn files(parts: &[&Presentation], playlist: &str) -> Builder {
    let origin = origin().file("list.m3u8", playlist.as_bytes());
    parts.iter().enumerate().fold(origin, |origin, (folder, part)| {
        let files = part.files().into_iter();
        files.fold(origin, |origin, (name, bytes)| origin.file(&format!("{folder}/{name}"), bytes))
    })
}

fn bytes(node: &Node, query: &str) -> Vec<u8> {
    node.get(&format!("{PCM}{query}")).ok().body
}

/// A slice of PCM by its bytes, and by its time.
#[track_caller]
fn is_entered_anywhere(node: &Node, query: &str, whole: &[u8]) {
    let url = format!("{PCM}{query}");
    for percent in [1, 19, 37, 52, 68, 83, 99] {
        let start = whole.len() * percent / 100;
        let end = (start + 30_000).min(whole.len()) - 1;
        let part = node.get_with(&url, &format!("Range: bytes={start}-{end}\r\n"));
        assert_eq!(part.status, 206, "{percent} %");
        assert!(part.body == whole[start..=end], "{query} from {percent} %");
    }
}

/// Three recordings: of another rate, other channels and another codec in the middle.
#[test]
fn what_differs_behind_a_discontinuity_comes_out_as_what_began() {
    let (first, other, last) = (
        recording(Ts, 44_100, 2, 8),
        recording(TsMp3, 48_000, 1, 8),
        recording(Fmp4Flac, 32_000, 2, 6),
    );
    let Some(((first, other), last)) = first.zip(other).zip(last) else { return };
    let as_first = ["--rate", "44100", "--channels", "2"];
    let expected: Vec<_> = [&first, &other, &last]
        .iter()
        .flat_map(|part| decoded_as(&part.bytes(), &as_first))
        .collect();
    let parts = [&first, &other, &last];
    let origin = files(&parts, &playlist(&parts)).start();
    let cache = scratch();
    let start = || node().shards(2).origin(&origin).cache(cache.path()).start();
    let node = start();
    let played = bytes(&node, "");
    let heard = samples(&played);
    assert_eq!((heard.len(), differs_at(&heard, &expected)), (expected.len(), None));
    let second = node.get(PCM).ok();
    assert_eq!(second.field("content-length"), Some(&*played.len().to_string()));
    assert!(second.body == played);
    is_entered_anywhere(&node, "", &played);
    let resampled = bytes(&node, "&rate=32000&channels=1");
    // What was made is in memory; another node has an index and the segments.
    drop(node);
    let node = start();
    is_entered_anywhere(&node, "", &played);
    is_entered_anywhere(&node, "&rate=32000&channels=1", &resampled);
    let late = bytes(&node, "&t=11.25&d=1");
    let at = (11.25 * 44_100.0) as usize * 8;
    assert!(late == played[at..at + late.len()], "a jump into the other recording");
}

/// What comes first has the rate: what follows lasts as long, and does not depend on what was before.
#[test]
fn a_recording_of_another_rate_is_the_same_wherever_it_stands() {
    let both = recording(Packed, 48_000, 2, 6).zip(recording(Ts, 44_100, 2, 6));
    let Some((high, low)) = both else { return };
    let parts = [&high, &low, &high, &low];
    let origin = files(&parts, &playlist(&parts)).start();
    let node = node().origin(&origin).start();
    let heard = samples(&bytes(&node, ""));
    let (high, low) =
        (decoded_as(&high.bytes(), &[]), decoded_as(&low.bytes(), &["--rate", "48000"]));
    let expected = [&high[..], &low, &high, &low].concat();
    assert_eq!((heard.len(), differs_at(&heard, &expected)), (expected.len(), None));
    let middle = high.len() + low.len();
    assert!(heard[..middle] == heard[middle..]);
}

/// All of it is counted before anybody plays: the answer has its length, and ranges in each recording.
#[test]
fn recordings_that_are_cached_are_counted_through_all_discontinuities() {
    let both = recording(Ts, 44_100, 2, 8).zip(recording(Ts, 48_000, 2, 8));
    let Some((first, other)) = both else { return };
    let parts = [&first, &other, &first];
    let origin = files(&parts, &playlist(&parts)).start();
    let node = node().shards(2).origin(&origin).set("LIMITS__SCAN_WAIT", "20s").start();
    let told = node.prefetch(r#"{"src": "origin:list.m3u8"}"#);
    node.wait_for_end(&told, "done");
    let head = node.head(PCM).ok();
    let as_first = ["--rate", "44100"];
    let expected: Vec<_> =
        parts.iter().flat_map(|part| decoded_as(&part.bytes(), &as_first)).collect();
    assert_eq!(head.field("content-length"), Some(&*(expected.len() * 4).to_string()));
    let start = expected.len() * 4 / 2 / 8 * 8;
    let part = node.get_with(PCM, &format!("Range: bytes={start}-{}\r\n", start + 79_999));
    assert_eq!(part.status, 206);
    assert_eq!(differs_at(&samples(&part.body), &expected[start / 4..]), None);
    let played = bytes(&node, "");
    assert!(part.body == played[start..start + 80_000]);
}

/// A part of the playlist is a gap: what stands behind it is found by the same frames.
#[test]
fn a_gap_that_the_playlist_names_is_counted_too() {
    let Some(first) = recording(Ts, 44_100, 2, 16) else { return };
    let parts = [&first];
    let playlist = playlist(&parts).replacen("#EXTINF:", "#EXT-X-GAP\n#EXTINF:", 1);
    let gap = playlist.match_indices("#EXTINF:").nth(4).unwrap().0;
    let playlist = format!("{}#EXT-X-GAP\n{}", &playlist[..gap], &playlist[gap..]);
    let origin = files(&parts, &playlist).start();
    let node = node().origin(&origin).start();
    let played = bytes(&node, "");
    let second = node.get(PCM).ok();
    assert_eq!(second.field("content-length"), Some(&*played.len().to_string()));
    assert!(second.body == played);
    let whole = first.continuous();
    // The encoder begins before the audio, and the playlist says of the gap how long it is.
    let (heard, second) = (samples(&played), 2 * 44_100);
    assert!(heard[..second].iter().all(|sample| *sample == 0.0));
    assert_eq!(differs_at(&heard[3 * second..4 * second], &whole[3 * second..4 * second]), None);
    for query in ["&t=6.5&d=1", "&t=12.5&d=1"] {
        let late = bytes(&node, query);
        let at =
            (query[3..].split('&').next().unwrap().parse::<f64>().unwrap() * 44_100.0) as usize;
        assert!(late == played[at * 8..at * 8 + late.len()], "{query}");
    }
}
