//! Presentations whose keys change on the way.

use crate::{
    hls::{Form, Form::*, Presentation, differs_at, encrypted, presentation, samples},
    node::node,
    origin::{Builder, origin},
};

const PCM: &str = "/v1/pcm?src=origin:list.m3u8&format=f32le";
const A: [u8; 16] = *b"the first secret";
const B: [u8; 16] = *b"the other secret";
/// The media sequence number of the first segment.
const FIRST: u128 = 7_790;

/// What stands before a segment. DRM stands beside the key that everybody can use.
fn line(at: usize) -> &'static str {
    match at {
        2 => {
            "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://a\",KEYFORMAT=\"com.apple.streamingkeydelivery\",\
             KEYFORMATVERSIONS=\"1\"\n#EXT-X-KEY:METHOD=AES-128,URI=\"a.key\",KEYFORMAT=\"identity\"\n\
             #EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI=\"data:,a\",KEYFORMAT=\"urn:uuid:edef8ba9\"\n"
        }
        4 => "#EXT-X-KEY:METHOD=AES-128,URI=\"b.key\",IV=0xABC\n",
        5 => "#EXT-X-KEY:METHOD=AES-128,URI=\"b.key\"\n",
        6 => "#EXT-X-KEY:METHOD=NONE\n",
        7 => "#EXT-X-KEY:METHOD=AES-128,URI=\"a.key\",IV=0X1\n",
        _ => "",
    }
}

/// The same, encrypted as [`line`] says: by the number of a segment where no vector is given. An init section is
/// encrypted too.
fn changing(clear: &Presentation) -> Builder {
    let parts = clear.parts.iter().enumerate().map(|(at, part)| match at {
        0 | 1 | 6 => part.clone(),
        2 | 3 => encrypted(part, &A, FIRST + at as u128),
        4 => encrypted(part, &B, 0xABC),
        5 => encrypted(part, &B, FIRST + at as u128),
        _ => encrypted(part, &A, 1),
    });
    let init = clear.init.as_ref().map(|init| encrypted(init, &B, 0x77));
    let files = Presentation { parts: parts.collect(), seconds: clear.seconds.clone(), init };
    let playlist = files.playlist(|at| line(at).to_owned());
    let map = "#EXT-X-MAP:URI=\"init.mp4\"\n";
    let playlist = playlist
        .replace(
            map,
            &format!(
                "#EXT-X-KEY:METHOD=AES-128,URI=\"b.key\",IV=0x77\n{map}#EXT-X-KEY:METHOD=NONE\n"
            ),
        )
        .replace("#EXTM3U\n", &format!("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:{FIRST}\n"));
    files.on(origin(), "", &playlist).file("a.key", &A).file("b.key", &B)
}

fn plays_through(form: Form) {
    let sound = "aevalsrc=0.4*sin(2*PI*(300+20*t)*t)|0.3*sin(2*PI*(500-7*t)*t):s=44100:d=20";
    let Some(clear) = presentation(form, sound) else { return };
    assert!(clear.parts.len() > 8, "{form:?} has too few segments");
    let whole = clear.continuous();
    let origin = changing(&clear).start();
    let mut jumps = [3.1, 4.0, 9.99, 12.5, 15.123, 19.0].into_iter();
    let first = node().shards(2).origin(&origin).start();
    let frames = samples(&first.get(PCM).ok().body);
    assert_eq!((frames.len(), differs_at(&frames, &whole)), (whole.len(), None), "{form:?}");
    assert_eq!((origin.asked("a.key").len(), origin.asked("b.key").len()), (1, 1));
    for t in jumps.by_ref() {
        let node = node().origin(&origin).start();
        let part = samples(&node.get(&format!("{PCM}&t={t}&d=1")).ok().body);
        let start = (t * 44_100.0_f64).round() as usize * 2;
        let there = &whole[start..start + part.len()];
        assert_eq!((part.len(), differs_at(&part, there)), (2 * 44_100, None), "{form:?} {t}");
    }
}

#[test]
fn keys_vectors_and_none_change_in_transport_streams() {
    plays_through(Ts);
}

#[test]
fn keys_vectors_and_none_change_in_packed_audio() {
    plays_through(Packed);
}

#[test]
fn keys_vectors_and_none_change_in_fragments_behind_an_encrypted_init_section() {
    plays_through(Fmp4);
}

#[test]
fn where_there_is_nothing_but_drm_its_names_are_said() {
    let list = format!(
        "#EXTM3U\n{}#EXTINF:2,\npart00\n#EXT-X-ENDLIST\n",
        line(2).replace("METHOD=AES-128", "METHOD=SAMPLE-AES")
    );
    let origin = origin().file("list.m3u8", list.as_bytes()).start();
    let answer = node().origin(&origin).start().get(PCM);
    let text = answer.text();
    assert_eq!(answer.status, 415, "{text}");
    for name in
        ["SAMPLE-AES", "com.apple.streamingkeydelivery", "SAMPLE-AES-CTR (urn:uuid:edef8ba9)"]
    {
        assert!(text.contains(name), "{name} is not in {text}");
    }
    assert!(origin.asked("part00").is_empty());
}
