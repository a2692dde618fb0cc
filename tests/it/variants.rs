//! HLS: which of a presentation is played, and what is said where nothing is.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use kithara::demo;
use serde_json::json;

use crate::{
    client::Response,
    hls::{Form, Form::*, KEY, Presentation, differs_at, presentation, samples},
    node::{Node, kithara, node, scratch},
    origin::{Builder, origin},
};

/// Six seconds of one tone, in three segments; without losses, so that what is heard is what was made.
fn tone(hertz: u32) -> Option<Presentation> {
    tone_as(Fmp4Flac, hertz)
}

fn tone_as(form: Form, hertz: u32) -> Option<Presentation> {
    let left = format!("0.4*sin(2*PI*{hertz}*t)+0.1*sin(2*PI*(3000+200*t)*t)");
    let tone = presentation(form, &format!("aevalsrc={left}|0.3*sin(2*PI*{hertz}*t):s=44100:d=6"))?;
    assert!(tone.parts.len() >= 3, "{form:?} has {} segments", tone.parts.len());
    Some(tone)
}

fn ask(node: &Node, list: &str, query: &str) -> Response {
    node.get(&format!("/v1/pcm?src=origin:{list}&format=f32le{query}"))
}

/// What is heard is this.
#[track_caller]
fn is_heard(response: Response, whole: &[f32]) {
    let frames = samples(&response.ok().body);
    assert_eq!((frames.len(), differs_at(&frames, whole)), (whole.len(), None));
}

/// It is refused, with this status and these words.
#[track_caller]
fn is_refused(response: &Response, status: u16, words: &[&str]) {
    let text = response.text();
    assert_eq!(response.status, status, "{text}");
    words.iter().for_each(|word| assert!(text.contains(word), "{text} does not say {word}"));
}

/// Where the variants lie, from the lowest on.
const FOLDERS: [&str; 3] = ["low/", "middle/", "high/"];

/// Three of them, each of another tone; and what is heard of each.
fn ladder() -> Option<(Builder, [Vec<f32>; 3])> {
    let mut origin = origin();
    let mut heard = [const { Vec::new() }; 3];
    for (at, folder) in FOLDERS.iter().enumerate() {
        let tone = tone(300 * (at as u32 + 1))?;
        origin = tone.on(origin, folder, &tone.plain());
        heard[at] = tone.continuous();
    }
    Some((origin, heard))
}

/// A playlist of variants, each with its bits per second and its URI.
fn master(variants: &[(u32, &str)]) -> String {
    let variant = |(bandwidth, uri): &(u32, &str)| {
        format!("#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},CODECS=\"fLaC\"\n{uri}\n")
    };
    "#EXTM3U\n".to_owned() + &variants.iter().map(variant).collect::<String>()
}

const LADDER: [(u32, &str); 3] =
    [(2_000_000, "high/list.m3u8"), (100_000, "low/list.m3u8"), (500_000, "middle/list.m3u8")];

#[test]
fn the_variant_is_the_one_that_is_asked_for() {
    let Some((origin, [low, middle, high])) = ladder() else { return };
    let origin = origin.file("all.m3u8", master(&LADDER).as_bytes()).start();
    let node = node().shards(2).origin(&origin).start();
    // By their places in the playlist.
    is_heard(ask(&node, "all.m3u8", "&variant=0"), &high);
    is_heard(ask(&node, "all.m3u8", "&variant=1"), &low);
    is_heard(ask(&node, "all.m3u8", "&variant=2"), &middle);
    is_heard(ask(&node, "all.m3u8", "&variant=max:499999"), &low);
    is_heard(ask(&node, "all.m3u8", "&variant=max:500000"), &middle);
    is_heard(ask(&node, "all.m3u8", "&variant=max:1"), &low);
    let refused = ask(&node, "all.m3u8", "&variant=9");
    is_refused(&refused, 400, &["no such `variant`", "there are 0, 1, 2"]);
    let alone = ask(&node, "low/list.m3u8", "&variant=1");
    is_refused(&alone, 400, &["no such `variant`", "there are 0 alone"]);
}

#[test]
fn a_track_is_found_by_its_name_its_language_and_its_number() {
    let Some((origin, [low, _, high])) = ladder() else { return };
    let rendition = |name, language, default, uri| {
        format!(
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"{name}\",LANGUAGE=\"{language}\",\
             DEFAULT={default},URI=\"{uri}list.m3u8\"\n"
        )
    };
    let list = "#EXTM3U\n".to_owned()
        + &rendition("Deutsch", "de-AT", "NO", "low/")
        + &rendition("English", "en", "YES", "high/")
        + "#EXT-X-STREAM-INF:BANDWIDTH=500000,AUDIO=\"a\",CODECS=\"avc1.4d001e,fLaC\"\nmiddle/list.m3u8\n";
    let origin = origin.file("all.m3u8", list.as_bytes()).start();
    let node = node().origin(&origin).start();
    is_heard(ask(&node, "all.m3u8", ""), &high);
    for track in ["Deutsch", "de", "DE-at", "0"] {
        is_heard(ask(&node, "all.m3u8", &format!("&track={track}")), &low);
    }
    is_heard(ask(&node, "all.m3u8", "&track=1"), &high);
    for track in ["Fran%C3%A7ais", "d", "2"] {
        let refused = ask(&node, "all.m3u8", &format!("&track={track}"));
        is_refused(&refused, 400, &["no such audio `track`", "`Deutsch` (de-AT), `English` (en)"]);
    }
    assert!(origin.asked("middle/list.m3u8").is_empty(), "nobody wants the pictures");
}

/// Over HTTP and on the command line, and no secret of a query with it.
#[test]
fn a_probe_lists_what_there_is_to_choose_from() {
    let Some((origin, _)) = ladder() else { return };
    let rendition = "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"Deutsch\",LANGUAGE=\"de\",\
                     URI=\"low/list.m3u8\"\n";
    let list = master(&[(2_000_000, "high/list.m3u8?token=secret"), (100_000, "low/list.m3u8")]);
    let list = list.replace("CODECS", "AUDIO=\"a\",CODECS") + rendition;
    let origin = origin.file("all.m3u8", list.as_bytes()).start();
    let node = node().origin(&origin).start();
    let told = node.get("/v1/probe?src=origin:all.m3u8").ok().text();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let base = format!("http://{}", origin.address());
    let variant = |number: u32, bandwidth: u32, folder: &str| {
        json!({
            "number": number, "bandwidth": bandwidth, "average_bandwidth": null,
            "codecs": ["fLaC"], "url": format!("{base}/{folder}/list.m3u8"),
        })
    };
    let variants = json!([variant(0, 2_000_000, "high"), variant(1, 100_000, "low")]);
    assert_eq!((&told["variants"], &told["codec"]), (&variants, &json!("flac")));
    let track = json!({
        "number": 0, "name": "Deutsch", "language": "de",
        "codec": null, "rate": null, "channels": null, "default": false,
    });
    assert_eq!(told["tracks"], json!([track]));
    let said = kithara(&["probe", &format!("{base}/all.m3u8")]);
    let said = String::from_utf8(said.stdout).unwrap();
    let row = format!("     variant  1: 100000 bit/s  fLaC  {base}/low/list.m3u8\n");
    assert!(said.contains(&row) && said.contains("       track  0: Deutsch (de)\n"), "{said}");
    assert!(!said.contains("secret"));
}

#[test]
fn a_variant_that_is_as_good_stands_in_for_one_that_is_gone() {
    let Some((origin, [low, ..])) = ladder() else { return };
    let list = master(&[(100_000, "gone/list.m3u8"), (100_000, "low/list.m3u8")]);
    let origin = origin.file("all.m3u8", list.as_bytes()).start();
    let node = node().origin(&origin).start();
    is_heard(ask(&node, "all.m3u8", ""), &low);
    assert_eq!(origin.asked("gone/list.m3u8").len(), 1);
}

#[test]
fn what_is_not_played_is_refused_by_name() {
    let segment = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\npart00\n";
    let sample_aes = segment
        .replace("#EXTINF", "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://a\"\n#EXTINF")
        + "#EXT-X-ENDLIST\n";
    let long = format!("{segment}#EXT-X-ENDLIST\n{}", "#\n".repeat((5 << 20) / 2));
    let mut origin = origin();
    for (name, text) in [("live", segment), ("drm", &sample_aes), ("long", &long)] {
        origin = origin.file(&format!("{name}.m3u8"), text.as_bytes());
        let all = master(&[(100_000, &format!("{name}.m3u8"))]);
        origin = origin.file(&format!("all-{name}.m3u8"), all.as_bytes());
    }
    let nested = master(&[(100_000, "all-live.m3u8")]);
    let origin = origin.file("nested.m3u8", nested.as_bytes()).start();
    let node = node().origin(&origin).start();
    for (name, words) in [("live", "live"), ("drm", "SAMPLE-AES"), ("long", "playlist_bytes")] {
        for list in [format!("{name}.m3u8"), format!("all-{name}.m3u8")] {
            is_refused(&ask(&node, &list, ""), 415, &[words, &list]);
        }
    }
    is_refused(&ask(&node, "nested.m3u8", ""), 422, &["names variants"]);
    assert!(origin.asked("part00").is_empty());
}

/// A presentation and its playlist with a line before its first segment.
fn with_key(tone: &Presentation) -> (Presentation, String) {
    let line = |at| match at {
        0 => "#EXT-X-KEY:METHOD=AES-128,URI=\"the.key\"\n".to_owned(),
        _ => String::new(),
    };
    let encrypted = tone.encrypted(None);
    let playlist = encrypted.playlist(line);
    (encrypted, playlist)
}

#[test]
fn a_key_that_is_gone_is_said_and_no_silence() {
    let Some(tone) = tone(440) else { return };
    let (encrypted, playlist) = with_key(&tone);
    let origin = encrypted.on(origin(), "", &playlist).start();
    let node = node().origin(&origin).start();
    is_refused(&ask(&node, "list.m3u8", ""), 502, &["list.m3u8", "its key", "the.key", "404"]);
}

/// The bytes of all files below a directory that hold anything.
fn pages(dir: &Path) -> Vec<u8> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(pages(&path));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let pages = bytes.chunks(4096).filter(|page| page.iter().any(|byte| *byte != 0));
        pages.for_each(|page| found.extend_from_slice(page));
    }
    found
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn a_key_is_never_on_disk() {
    let Some(tone) = tone(440) else { return };
    let (encrypted, playlist) = with_key(&tone);
    let origin = encrypted.on(origin(), "", &playlist).file("the.key", &KEY).start();
    let cache = scratch();
    let node = node().cache(cache.path()).cache_size("16MiB").origin(&origin).start();
    is_heard(ask(&node, "list.m3u8", ""), &tone.continuous());
    assert_eq!(origin.asked("the.key").len(), 1);
    node.signal("-TERM");
    let (status, _) = node.ended(Duration::from_secs(20));
    assert!(status.success());
    let kept = pages(cache.path());
    assert!(holds(&kept, &encrypted.parts[1][..64]), "what is encrypted is there as it came");
    assert!(!holds(&kept, &tone.parts[1][..64]), "nothing of it is there decrypted");
    assert!(!holds(&kept, &KEY));
}

/// Samples of a segment of two seconds.
const SEGMENT: usize = 2 * 2 * 44_100;
/// Samples of the packets between which segments are cut, and of what a decoder needs to swing in.
const NEAR: usize = 2 * 4608;

/// A segment is silence of about its length, and what stands around it is right.
#[track_caller]
fn has_one_silent(segment: usize, frames: &[f32], whole: &[f32], what: &str) {
    let (count, of) = (frames.len(), whole.len());
    assert!(count.abs_diff(of) <= NEAR, "{what}: {count} samples of {of}");
    let before = (segment * SEGMENT).saturating_sub(NEAR);
    assert_eq!(differs_at(&frames[..before], whole), None, "{what}");
    let end = ((segment + 1) * SEGMENT + NEAR).min(of);
    let silence = &frames[segment * SEGMENT + NEAR..end - 2 * NEAR];
    assert!(silence.iter().all(|sample| *sample == 0.0), "{what}");
    let behind = &whole[end..];
    assert_eq!(differs_at(&frames[count - behind.len()..], behind), None, "{what}");
}

#[test]
fn a_gap_is_silence_and_nobody_asks_for_it() {
    let Some(tone) = tone(440) else { return };
    let gap = |at| if at == 1 { "#EXT-X-GAP\n".to_owned() } else { String::new() };
    let origin = tone.on(origin(), "", &tone.playlist(gap)).start();
    let node = node().origin(&origin).start();
    let frames = samples(&ask(&node, "list.m3u8", "").ok().body);
    has_one_silent(1, &frames, &tone.continuous(), "a gap");
    assert!(origin.asked("part01").is_empty());
}

/// The node signs in nowhere.
fn a_page_is_silence(form: Form) {
    let page = "<!doctype html><title>Sign in</title><p>Welcome to the airport network.".repeat(50);
    let Some(tone) = tone_as(form, 440) else { return };
    for at in 0..3 {
        let origin = tone.on(origin(), "", &tone.plain());
        let origin = origin.file(&format!("part{at:02}"), page.as_bytes()).start();
        let node = node().origin(&origin).start();
        let frames = samples(&ask(&node, "list.m3u8", "").ok().body);
        has_one_silent(at, &frames, &tone.continuous(), &format!("{form:?} {at}"));
    }
}

#[test]
fn a_page_in_the_place_of_a_transport_stream_is_silence() {
    a_page_is_silence(Ts);
}

#[test]
fn a_page_in_the_place_of_packed_audio_is_silence() {
    a_page_is_silence(Packed);
}

#[test]
fn a_page_in_the_place_of_packed_mp3_is_silence() {
    a_page_is_silence(PackedMp3);
}

#[test]
fn a_page_in_the_place_of_a_fragment_is_silence() {
    a_page_is_silence(Fmp4);
}

#[test]
fn a_page_in_the_place_of_a_fragment_of_flac_is_silence() {
    a_page_is_silence(Fmp4Flac);
}

#[test]
fn segments_are_ranges_of_one_file() {
    let Some(tone) = tone(440) else { return };
    let init = tone.init.as_deref().unwrap();
    // They need not lie in their order.
    let (last, rest) = tone.parts.split_last().unwrap();
    let file = [last, init, &rest.concat()[..]].concat();
    let mut text = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"{}@{}\"\n",
        init.len(),
        last.len()
    );
    for (at, (part, seconds)) in tone.parts.iter().zip(&tone.seconds).enumerate() {
        let place = match at {
            0 => format!("@{}", last.len() + init.len()),
            at if at == rest.len() => "@0".to_owned(),
            _ => String::new(),
        };
        text += &format!("#EXTINF:{seconds},\n#EXT-X-BYTERANGE:{}{place}\nall.mp4\n", part.len());
    }
    text += "#EXT-X-ENDLIST\n";
    let origin = origin().file("all.mp4", &file).file("list.m3u8", text.as_bytes()).start();
    let node = node().origin(&origin).start();
    is_heard(ask(&node, "list.m3u8", ""), &tone.continuous());
}

#[test]
fn recordings_stand_behind_each_other() {
    let Some((one, other)) = tone(440).zip(tone(660)) else { return };
    let both = |folder: &str, tone: &Presentation| {
        let list = tone.plain().replace("part", &format!("{folder}part"));
        list.replace("init.mp4", &format!("{folder}init.mp4"))
    };
    let (first, second) = (both("one/", &one), both("other/", &other));
    let start = second.find("#EXT-X-MAP").unwrap();
    let first = first.replace("#EXT-X-ENDLIST\n", "#EXT-X-DISCONTINUITY\n");
    let list = first + &second[start..];
    let origin = other.on(one.on(origin(), "one/", ""), "other/", "");
    let origin = origin.file("list.m3u8", list.as_bytes()).start();
    let node = node().origin(&origin).start();
    is_heard(ask(&node, "list.m3u8", ""), &[one.continuous(), other.continuous()].concat());
}

/// What a playlist names lies beside where it came from in the end.
#[test]
fn playlists_may_come_from_where_the_origin_points_to() {
    let Some((low, high)) = tone(440).zip(tone(660)) else { return };
    let (lower, higher) = (low.continuous(), high.continuous());
    let list = master(&[(100_000, "low.m3u8"), (200_000, "high.m3u8")]);
    let other =
        low.on(origin(), "low/", &low.plain()).file("lists/all.m3u8?token=1", list.as_bytes());
    let other = high.on(other, "high/", &high.plain());
    let other = other.file("lists/low.m3u8", b"").redirects_to("/low/list.m3u8");
    let other = other.file("lists/high.m3u8", b"").redirects_to("/high/list.m3u8").start();
    let there = format!("http://{}/lists/all.m3u8?token=1", other.address());
    let origin = origin().file("all.m3u8", b"").redirects_to(&there).start();
    let cache = scratch();
    for _ in 0..2 {
        let node = node().cache(cache.path()).shards(2).origin(&origin).start();
        is_heard(ask(&node, "all.m3u8", "&variant=0"), &lower);
        is_heard(ask(&node, "all.m3u8", "&variant=1"), &higher);
        node.signal("-TERM");
        assert!(node.ended(Duration::from_secs(20)).0.success());
    }
    // Where it came from is kept with it.
    assert_eq!(other.asked("low/list.m3u8").len(), 1);
}

#[test]
fn the_demo_is_a_presentation_too() {
    let node = node().arg("--demo").start();
    for list in [demo::hls::MASTER, "hls/aes/list.m3u8"] {
        let wav = node.wav(&format!("demo:{list}"), "");
        // The piece and what its encoder needed before it, in whole packets.
        assert_eq!(wav.frames(), 1035 * 1024, "{list}");
    }
}

/// A playlist of segments that lie at another host.
fn elsewhere(tone: &Presentation, host: &str) -> String {
    let list = tone.plain().replace("\npart", &format!("\nhttp://{host}/part"));
    list.replace("\"init.mp4", &format!("\"http://{host}/init.mp4"))
}

#[test]
fn segments_may_lie_where_their_origin_may() {
    let Some(tone) = tone(440) else { return };
    let other = tone.on(origin(), "", "").start();
    let port = other.address().port();
    let here = elsewhere(&tone, &format!("127.0.0.1:{port}"));
    let near = elsewhere(&tone, &format!("127.0.0.2:{port}"));
    let origin = origin().file("here.m3u8", here.as_bytes()).file("near.m3u8", near.as_bytes());
    let origin = origin.start();
    let node = node().origin(&origin).start();
    is_heard(ask(&node, "here.m3u8", ""), &tone.continuous());
    let before = other.order().len();
    // Who named 127.0.0.1 named no other address.
    is_refused(&ask(&node, "near.m3u8", ""), 403, &["allow_private"]);
    assert_eq!(other.order().len(), before, "nobody connects to it");
}

#[test]
fn a_presentation_of_a_library_stays_inside() {
    let Some(tone) = tone(440) else { return };
    let dir = scratch();
    let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
    fs::create_dir_all(inside.join("album")).unwrap();
    fs::create_dir(&outside).unwrap();
    symlink(&outside, inside.join("link")).unwrap();
    for (name, bytes) in tone.files() {
        fs::write(inside.join(&name), bytes).unwrap();
        fs::write(outside.join(&name), bytes).unwrap();
    }
    fs::write(outside.join("list.m3u8"), tone.plain()).unwrap();
    fs::write(inside.join("list.m3u8"), tone.plain()).unwrap();
    let write = |name: &str, uri: &str| {
        fs::write(inside.join("album").join(name), master(&[(100_000, uri)])).unwrap();
    };
    write("up.m3u8", "../list.m3u8");
    let node = node().library("origin", &inside).start();
    is_heard(ask(&node, "list.m3u8", ""), &tone.continuous());
    is_heard(ask(&node, "album/up.m3u8", ""), &tone.continuous());
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    let far = format!("file://{}/list.m3u8", outside.display());
    for (uri, status) in [
        ("../../out/list.m3u8", 404),
        ("../%2e%2e%2fout/list.m3u8", 403),
        ("http://127.0.0.1:9/list.m3u8", 403),
        ("../link/list.m3u8", 403),
        (&format!("../../{name}/out/list.m3u8"), 404),
        (&far, 422),
    ] {
        write("out.m3u8", uri);
        is_refused(&ask(&node, "album/out.m3u8", ""), status, &["album/out.m3u8"]);
    }
}
