//! Playlists of HLS: by what they are known, what they say beside their segments, and what of them is refused.

use crate::{
    client,
    hls::{self, Form::*, Presentation, differs_at, samples},
    node::{Node, node},
    origin::origin,
};

const PCM: &str = "/v1/pcm?src=origin:list.m3u8&format=f32le";

/// Four segments of two seconds.
fn short(form: hls::Form) -> Option<Presentation> {
    hls::presentation(form, "aevalsrc=0.4*sin(2*PI*(300+40*t)*t)|0.3*sin(2*PI*500*t):s=44100:d=8")
}

fn heard(node: &Node, source: &str) -> Vec<f32> {
    samples(&node.get(&format!("/v1/pcm?src={source}&format=f32le")).ok().body)
}

/// Bytes of a packet of a transport stream.
const PACKET: usize = 188;

/// The tables of a stream as ffmpeg writes it, and the stream without them.
fn parted(stream: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let is_table = |packet: &&[u8]| {
        let pid = u16::from_be_bytes([packet[1] & 0x1F, packet[2]]);
        [0, 0x11, 0x1000].contains(&pid)
    };
    let (tables, rest): (Vec<_>, Vec<_>) = stream.chunks(PACKET).partition(is_table);
    (tables.concat(), rest.concat())
}

/// RFC 8216, 3.2: each segment has tables, or an init section has them.
#[test]
fn tables_of_a_transport_stream_may_stand_in_an_init_section() {
    for form in [Ts, TsMp3] {
        let Some(whole) = short(form) else { return };
        let (tables, _) = parted(&whole.parts[0]);
        let parts: Vec<_> = whole.parts.iter().map(|part| parted(part).1).collect();
        assert!(parts.iter().zip(&whole.parts).all(|(bare, part)| bare.len() < part.len()));
        let seconds = whole.seconds.clone();
        let bare = Presentation { parts, seconds, init: Some(tables[..3 * PACKET].to_vec()) };
        let origin = bare.on(origin(), "", &bare.plain()).start();
        let node = node().origin(&origin).start();
        let (frames, expected) = (heard(&node, "origin:list.m3u8"), whole.continuous());
        assert_eq!((frames.len(), differs_at(&frames, &expected)), (expected.len(), None));
    }
}

/// Whoever wants to begin there does; the bytes of the whole are the same for all.
#[test]
fn where_a_playlist_wants_to_begin_is_told_and_nothing_is_left_out() {
    let Some(presentation) = short(PackedMp3) else { return };
    let starting = |start: &str| presentation.plain().replacen("\n", &format!("\n{start}\n"), 1);
    let precise = starting("#EXT-X-START:TIME-OFFSET=-3.5,PRECISE=YES");
    let near = starting("#EXT-X-START:TIME-OFFSET=5");
    let master = "#EXTM3U\n#EXT-X-START:TIME-OFFSET=1.25,PRECISE=YES\n\
                  #EXT-X-STREAM-INF:BANDWIDTH=96000\nnear.m3u8\n";
    let origin = presentation
        .on(origin(), "", &precise)
        .file("near.m3u8", near.as_bytes())
        .file("plain.m3u8", presentation.plain().as_bytes())
        .file("master.m3u8", master.as_bytes())
        .start();
    let node = node().origin(&origin).start();
    let start = |name: &str| {
        let told = node.get(&format!("/v1/probe?src=origin:{name}")).ok().text();
        serde_json::from_str::<serde_json::Value>(&told).unwrap()["start"].as_f64()
    };
    let seconds: Vec<f64> = presentation.seconds.iter().map(|text| text.parse().unwrap()).collect();
    let end: f64 = seconds.iter().sum();
    let is_near =
        |told: Option<f64>, start: f64| told.is_some_and(|told| (told - start).abs() < 1e-3);
    assert!(is_near(start("list.m3u8"), end - 3.5), "{:?}", start("list.m3u8"));
    // What is not precise begins with its segment.
    assert!(is_near(start("near.m3u8"), seconds[0] + seconds[1]), "{:?}", start("near.m3u8"));
    assert!(is_near(start("master.m3u8"), 1.25), "{:?}", start("master.m3u8"));
    assert_eq!(start("plain.m3u8"), None);
    assert_eq!(heard(&node, "origin:list.m3u8"), presentation.continuous());
}

#[test]
fn a_playlist_is_known_by_its_start_where_nothing_says_what_it_is() {
    let Some(presentation) = short(PackedMp3) else { return };
    let marked = format!("\u{feff}{}", presentation.plain());
    let origin = presentation
        .on(origin(), "", "")
        .file("play", presentation.plain().as_bytes())
        .file("play.php?id=3", marked.as_bytes())
        .says("Content-Type", "text/plain; charset=utf-8")
        .file("old.m3u", presentation.plain().as_bytes())
        .start();
    let node = node().shards(2).origin(&origin).start();
    let whole = presentation.continuous();
    for source in ["origin:play", "origin:play.php%3Fid%3D3", "origin:old.m3u"] {
        assert_eq!(differs_at(&heard(&node, source), &whole), None, "{source}");
        let part = node.get_with(
            &format!("/v1/pcm?src={source}&format=f32le"),
            "Range: bytes=800000-800999\r\n",
        );
        assert_eq!((part.status, part.body.len()), (206, 1000), "{source}");
    }
    let choice = node.get("/v1/pcm?src=origin:play&variant=3");
    assert!(choice.status == 400 && choice.text().contains("variant"), "{}", choice.text());
}

#[test]
fn a_live_playlist_is_refused_by_name_and_an_event_that_has_ended_plays() {
    let Some(presentation) = short(PackedMp3) else { return };
    let event = |text: String| text.replacen("\n", "\n#EXT-X-PLAYLIST-TYPE:EVENT\n", 1);
    let ended = event(presentation.plain());
    let running = ended.replace("#EXT-X-ENDLIST\n", "");
    let live = presentation.plain().replace("#EXT-X-ENDLIST\n", "");
    let vod = live.replacen("\n", "\n#EXT-X-PLAYLIST-TYPE:VOD\n", 1);
    let origin = presentation
        .on(origin(), "", &ended)
        .file("live.m3u8", live.as_bytes())
        .file("running.m3u8", running.as_bytes())
        .file("vod.m3u8", vod.as_bytes())
        .start();
    let node = node().origin(&origin).start();
    for name in ["live.m3u8", "running.m3u8"] {
        let answer = node.get(&format!("/v1/pcm?src=origin:{name}"));
        let told: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!((answer.status, &told["type"]), (415, &"urn:kithara:problem:live".into()));
        assert!(told["detail"].as_str().unwrap().contains("EXT-X-ENDLIST"), "{told}");
        // Its bytes go through all the same.
        node.get(&format!("/o/origin/{name}")).ok();
    }
    let whole = presentation.continuous();
    for name in ["list.m3u8", "vod.m3u8"] {
        assert_eq!(heard(&node, &format!("origin:{name}")), whole, "{name}");
    }
}

#[test]
fn a_long_playlist_is_read_once_for_all_who_want_it() {
    let Some(presentation) = short(PackedMp3) else { return };
    let segment = "#EXTINF:0.001,\n#EXT-X-GAP\ngone\n".repeat(30_000);
    let playlist = presentation.plain().replace("#EXT-X-ENDLIST\n", &segment) + "#EXT-X-ENDLIST\n";
    let origin = presentation.on(origin(), "", &playlist).start();
    let node = node().origin(&origin).start();
    let first = node.get(&format!("{PCM}&d=0.1")).ok();
    for _ in 0..5 {
        assert!(node.get(&format!("{PCM}&d=0.1")).ok().body == first.body);
    }
    assert_eq!(node.counter("/hls/playlists_read"), 1);
    // Another version is another playlist.
    origin.replace("list.m3u8", presentation.plain().as_bytes());
    let assets = format!("/v1/assets/{}/invalidate", "origin:list.m3u8");
    assert!(client::request(node.admin, "POST", &assets, "").status < 300);
    node.get(&format!("{PCM}&d=0.1")).ok();
    assert_eq!(node.counter("/hls/playlists_read"), 2);
}
