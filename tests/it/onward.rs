//! A player of its own behind `/o/`: playlists go through byte for byte, and what follows a segment is fetched
//! before the player asks.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    node::{Node, node},
    origin::{Builder, Origin, origin},
};

const SEGMENTS: usize = 30;

fn segment(at: usize) -> Vec<u8> {
    (0..40_000).map(|index| (index * 7 + at * 31) as u8).collect()
}

/// Segments of four seconds by these names.
fn playlist(name: impl Fn(usize) -> String) -> String {
    playlist_of(SEGMENTS, name)
}

fn playlist_of(segments: usize, name: impl Fn(usize) -> String) -> String {
    let mut text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n".to_owned();
    (0..segments).for_each(|at| text += &format!("#EXTINF:4.0,  title \n{}\n", name(at)));
    text + "#EXT-X-ENDLIST\n"
}

fn with_segments() -> Builder {
    (0..SEGMENTS)
        .fold(origin(), |origin, at| origin.file(&format!("hls/part{at:02}.ts"), &segment(at)))
}

/// Names of segments that were asked for at the origin.
fn fetched(origin: &Origin) -> Vec<String> {
    let mut names: Vec<_> =
        origin.order().into_iter().filter(|name| name.contains("part")).collect();
    names.sort();
    names
}

/// Waits until so many segments were asked for and no more are.
#[track_caller]
fn settles(origin: &Origin) -> usize {
    let begun = Instant::now();
    loop {
        let before = fetched(origin).len();
        thread::sleep(Duration::from_millis(400));
        if fetched(origin).len() == before {
            return before;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it goes on without end");
    }
}

#[track_caller]
fn waits_for(origin: &Origin, name: &str) {
    let begun = Instant::now();
    while origin.asked(name).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{name}: {:?}", origin.order());
        thread::sleep(Duration::from_millis(5));
    }
}

/// The playlist as it is, and then a segment: it is known by then which it is.
#[track_caller]
fn plays(node: &Node, origin: &Origin, list: &str, text: &str, first: &str) {
    let answer = node.get(&format!("/o/origin/{list}")).ok();
    assert!(answer.body == text.as_bytes(), "byte for byte");
    let begun = Instant::now();
    // A shard may still read the playlist when the first segment passes.
    while fetched(origin).len() < 2 {
        node.get(&format!("/o/origin/{first}")).ok();
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing is fetched ahead");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_follows_a_segment_is_fetched_before_it_is_asked_for() {
    let text = playlist(|at| format!("part{at:02}.ts"));
    for shards in [1, 2] {
        let origin = with_segments().file("hls/list.m3u8", text.as_bytes()).start();
        let node = node().shards(shards).origin(&origin).start();
        plays(&node, &origin, "hls/list.m3u8", &text, "hls/part03.ts");
        waits_for(&origin, "hls/part04.ts");
        let few = settles(&origin);
        assert!(few <= 4, "one that was asked for once has little fetched: {:?}", fetched(&origin));
        for at in 4..10 {
            let name = format!("hls/part{at:02}.ts");
            assert!(node.get(&format!("/o/origin/{name}")).ok().body == segment(at));
            waits_for(&origin, &format!("hls/part{:02}.ts", at + 1));
        }
        settles(&origin);
        let names = fetched(&origin);
        let mut once = names.clone();
        once.dedup();
        assert_eq!(once, names, "each is fetched once, for whomever");
        assert!(once.len() > 8 && !once.contains(&"hls/part00.ts".to_owned()), "{once:?}");
    }
}

#[test]
fn segments_may_be_named_in_full() {
    // A URL in full is that of the origin itself.
    let origin = with_segments().file("hls/list.m3u8", b"").start();
    let in_full = playlist(|at| format!("http://{}/hls/part{at:02}.ts", origin.address()));
    origin.replace("hls/list.m3u8", in_full.as_bytes());
    let node = node().shards(2).origin(&origin).start();
    plays(&node, &origin, "hls/list.m3u8", &in_full, "hls/part05.ts");
    waits_for(&origin, "hls/part06.ts");
}

/// Bytes of one file that were sent when a range of it was asked for, with or without its playlist before.
fn sent_of_ranges(passes_list: bool) -> u64 {
    // More than is fetched behind the range that is asked for, by the way.
    const BYTES: usize = 3_000_000;
    let whole: Vec<u8> = (0..10 * BYTES).map(|index| (index / 7) as u8).collect();
    let ranges = playlist_of(10, |at| match at {
        0 => format!("#EXT-X-BYTERANGE:{BYTES}@0\nall.ts"),
        _ => format!("#EXT-X-BYTERANGE:{BYTES}\nall.ts"),
    });
    let origin = origin().file("list.m3u8", ranges.as_bytes()).file("all.ts", &whole).start();
    let node = node().origin(&origin).start();
    if passes_list {
        assert!(node.get("/o/origin/list.m3u8").ok().body == ranges.as_bytes());
        // It is read while others wait for nothing.
        node.wait_for("/hls/playlists_read", 1);
        thread::sleep(Duration::from_millis(100));
    }
    let (start, end) = (6 * BYTES, 7 * BYTES - 1);
    let answer = node.get_with("/o/origin/all.ts", &format!("Range: bytes={start}-{end}\r\n"));
    assert!(answer.status == 206 && answer.body == whole[start..=end]);
    loop {
        let before = origin.sent_bytes("all.ts");
        thread::sleep(Duration::from_millis(400));
        if origin.sent_bytes("all.ts") == before {
            assert!(origin.ranges_asked("all.ts").iter().all(|from| *from > 5_000_000));
            return before;
        }
    }
}

#[test]
fn segments_that_are_ranges_of_one_file_are_told_apart() {
    let (alone, ahead) = (sent_of_ranges(false), sent_of_ranges(true));
    assert!((alone + 1_000_000..alone + 4_000_000).contains(&ahead), "{alone}, then {ahead}");
}

#[test]
fn nothing_is_fetched_ahead_of_what_is_live_or_not_kept_or_only_looked_at() {
    let text = playlist(|at| format!("part{at:02}.ts"));
    let live = text.replace("#EXT-X-ENDLIST\n", "");
    let origin = with_segments()
        .file("hls/live.m3u8", live.as_bytes())
        .file("hls/list.m3u8", text.as_bytes())
        .says("Cache-Control", "no-store")
        .start();
    let node = node().origin(&origin).start();
    for list in ["live", "list"] {
        node.get(&format!("/o/origin/hls/{list}.m3u8")).ok();
    }
    node.get("/o/origin/hls/part03.ts").ok();
    assert_eq!(settles(&origin), 1, "{:?}", fetched(&origin));

    let origin = with_segments().file("hls/list.m3u8", text.as_bytes()).start();
    let node = self::node().origin(&origin).start();
    node.get("/o/origin/hls/list.m3u8").ok();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(node.head("/o/origin/hls/part03.ts").status, 200);
    settles(&origin);
    assert!(fetched(&origin).iter().all(|name| name.ends_with("part03.ts")));
}
