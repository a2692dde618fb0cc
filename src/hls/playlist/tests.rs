//! Whole playlists, as presentations have them, and as they should not.

use std::{rc::Rc, time::Duration};

use url::Url;

use super::{
    Audio, Content, Error, Limits, Media, Multivariant, Playlist, Track, Variables, parse,
};

const HOME: &str = "https://cdn.example/show/audio/list.m3u8?token=a%2Fb";

fn read(text: &str, imports: &Variables) -> Result<Playlist, Error> {
    parse(text.as_bytes(), &Url::parse(HOME).unwrap(), imports, &Limits::default())
}

/// The error of a playlist of these lines.
fn error(lines: &str) -> Error {
    read(&format!("#EXTM3U\n{lines}"), &Variables::default()).expect_err(lines)
}

/// A media playlist of these lines that has ended.
fn media(lines: &str) -> Media {
    let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n{lines}\n#EXT-X-ENDLIST");
    match read(&text, &Variables::default()) {
        Ok(Playlist::Media(media)) => media,
        other => panic!("{other:?}"),
    }
}

fn multivariant(lines: &str) -> Multivariant {
    match read(&format!("#EXTM3U\n{lines}"), &Variables::default()) {
        Ok(Playlist::Multivariant(multivariant)) => multivariant,
        other => panic!("{other:?}"),
    }
}

/// Where the segments lie, below the playlist's folder.
fn urls(media: &Media) -> Vec<String> {
    let urls = media.segments().iter().map(|segment| media.url(segment.uri).to_string());
    urls.map(|url| url.replace("https://cdn.example/show/audio/", "")).collect()
}

/// Where a key lies, below the playlist's folder, by segment; in the clear it is empty.
fn keys(media: &Media) -> Vec<String> {
    let url = |key: &Rc<super::Key>| media.url(key.uri).path().replace("/show/audio/", "");
    media.segments().iter().map(|segment| segment.key.as_ref().map_or(String::new(), url)).collect()
}

#[test]
fn segments_are_found_from_where_the_playlist_came_from() {
    let media = media(
        "#EXTINF:9.009,\n1.ts\n#EXTINF:9.009,Title, with comma\n../2.ts?x=1\n#EXTINF:3.003\n\
         //b.example/3.ts\n#EXTINF: 1 , \n/4 4.ts",
    );
    let wanted = [
        "1.ts",
        "https://cdn.example/show/2.ts?x=1",
        "https://b.example/3.ts",
        "https://cdn.example/4%204.ts",
    ];
    assert_eq!(urls(&media), wanted);
    assert_eq!(media.duration(), Duration::from_millis(22_021));
    assert_eq!((media.sequence(0), media.sequence(3)), (0, 3));
    assert!(media.segments().iter().all(|segment| segment.key.is_none() && segment.init.is_none()));
}

#[test]
fn a_part_without_offset_follows_the_part_before_it() {
    let media = media(
        "#EXTINF:1,\n#EXT-X-BYTERANGE:100@50\nall.ts\n#EXTINF:1,\n#EXT-X-BYTERANGE:10\nall.ts\n\
         #EXT-X-BYTERANGE:5@\n#EXTINF:1,\nall.ts\n#EXTINF:1,\nother.ts",
    );
    let ranges: Vec<_> =
        media.segments().iter().map(|s| s.byte_range.map(|range| range.positions())).collect();
    assert_eq!(ranges, [Some(50..150), Some(150..160), Some(160..165), None]);
    assert_eq!(media.segments()[0].uri, media.segments()[2].uri);
}

#[test]
fn a_part_that_follows_nothing_is_refused() {
    let part = |before: &str, range: &str| {
        error(&format!("#EXT-X-VERSION:4\n{before}#EXTINF:1,\n#EXT-X-BYTERANGE:{range}\nall.ts"))
    };
    let lacks_offset = |error: Error, line| {
        let text = error.to_string();
        assert!(text.starts_with(&format!("line {line}: EXT-X-BYTERANGE has no offset")), "{text}");
    };
    lacks_offset(part("", "5"), 5);
    lacks_offset(part("#EXTINF:1,\nall.ts\n", "5"), 7);
    lacks_offset(part("#EXTINF:1,\n#EXT-X-BYTERANGE:5@0\nb.ts\n", "5"), 8);
    for range in ["0@5", "18446744073709551615@1", "x", "1@-1", ""] {
        assert!(
            matches!(part("", range), Error::Malformed { tag: "EXT-X-BYTERANGE", .. }),
            "{range}"
        );
    }
}

#[test]
fn keys_rotate_and_end() {
    let media = media(
        "#EXT-X-MEDIA-SEQUENCE:7794\n#EXTINF:1,\n0.ts\n#EXT-X-KEY:METHOD=AES-128,URI=\"a.key\"\n\
         #EXTINF:1,\n1.ts\n#EXTINF:1,\n2.ts\n#EXT-X-KEY:METHOD=AES-128, URI=b.key,IV=0X10\n#EXTINF:1,\n3.ts\n\
         #EXT-X-KEY:METHOD=NONE\n#EXTINF:1,\n4.ts\n#EXT-X-KEY:METHOD=AES-128,URI=\"a.key\"\n#EXTINF:1,\n5.ts",
    );
    assert_eq!(keys(&media), ["", "a.key", "a.key", "b.key", "", "a.key"]);
    let iv = |index| u128::from_be_bytes(media.iv(index));
    assert_eq!([iv(1), iv(2), iv(3), iv(5)], [7795, 7796, 16, 7799]);
    let key = |index: usize| media.segments()[index].key.clone().unwrap();
    assert!(Rc::ptr_eq(&key(1), &key(5)), "equal keys are one");
}

#[test]
fn of_several_key_formats_the_identity_is_taken() {
    let drm = "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://1\",KEYFORMAT=\"com.apple.streamingkeydelivery\"\n";
    let identity =
        "#EXT-X-KEY:METHOD=AES-128,URI=\"a.key\",KEYFORMAT=\"identity\",KEYFORMATVERSIONS=\"1\"\n";
    let next = "#EXT-X-KEY:METHOD=AES-128,URI=\"b.key\"\n";
    let found = media(&format!(
        "{drm}{identity}#EXTINF:1,\n1.ts\n#EXTINF:1,\n2.ts\n{next}#EXTINF:1,\n3.ts"
    ));
    assert_eq!(keys(&found), ["a.key", "a.key", "b.key"]);
    let found = media(&format!("{drm}#EXT-X-KEY:METHOD=NONE\n#EXTINF:1,\n1.ts"));
    assert_eq!(keys(&found), [""], "what nothing uses hinders nothing");
}

#[test]
fn keys_of_another_format_are_taken_where_somebody_unwraps_them() {
    let text = "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"a.key\",IV=0x10,KEYFORMAT=\"com.example\",\
                KEYFORMATVERSIONS=\"1/2\"\n#EXTINF:1,\n1.ts\n#EXT-X-ENDLIST";
    let (url, imports, limits) =
        (Url::parse(HOME).unwrap(), Variables::default(), Limits::default());
    let parsed = |formats: &[&str]| {
        super::parse_with_keys(text.as_bytes(), &url, &imports, &limits, formats)
    };
    let refused = parsed(&["identity"]).unwrap_err();
    assert!(refused.to_string().contains("AES-128 (com.example)"), "{refused}");
    let Ok(Playlist::Media(media)) = parsed(&["identity", "com.example"]) else { panic!("taken") };
    let key = media.segments()[0].key.clone().unwrap();
    let format = key.format.as_deref().map(|(format, versions)| (&**format, &**versions));
    assert_eq!(format, Some(("com.example", "1/2")));
    assert_eq!(key.stated_iv(), Some(16_u128.to_be_bytes()));
}

#[test]
fn what_cannot_be_decrypted_is_refused_by_its_name() {
    let name = |keys: &str| match error(&format!("{keys}\n#EXTINF:1,\n1.ts\n#EXT-X-ENDLIST")) {
        Error::Encrypted { name, line } => (name, line),
        other => panic!("{other}"),
    };
    let key = "#EXT-X-KEY:METHOD=";
    assert_eq!(name(&format!("{key}SAMPLE-AES,URI=\"k\"")), ("SAMPLE-AES".into(), 4));
    assert_eq!(name(&format!("{key}AES-256,URI=\"k\"\n#EXT-X-MAP:URI=i")), ("AES-256".into(), 3));
    let drm = format!(
        "{key}SAMPLE-AES,URI=\"skd://1\",KEYFORMAT=\"com.apple.streamingkeydelivery\"\n\
         {key}SAMPLE-AES-CTR,URI=\"data:,a\",KEYFORMAT=\"urn:uuid:edef8ba9\"\n"
    );
    let names = "SAMPLE-AES (com.apple.streamingkeydelivery), SAMPLE-AES-CTR (urn:uuid:edef8ba9)";
    assert_eq!(name(&drm).0, names);
    let formats: String = (0..17).map(|n| format!("{key}SAMPLE-AES,KEYFORMAT=f{n}\n")).collect();
    assert!(matches!(error(&formats), Error::Malformed { line: 18, tag: "EXT-X-KEY", .. }));
}

#[test]
fn init_sections_change_and_are_decrypted_with_the_key_before_them() {
    let media = media(
        "#EXT-X-MEDIA-SEQUENCE:5\n#EXT-X-MAP:URI=\"a.mp4\",BYTERANGE=\"720@0\"\n#EXTINF:1,\n1.m4s\n\
         #EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x1\n#EXTINF:1,\n2.m4s\n\
         #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"b.mp4\"\n#EXTINF:1,\n3.m4s\n\
         #EXT-X-KEY:METHOD=NONE\n#EXT-X-MAP:URI=\"a.mp4\",BYTERANGE=\"720\"\n#EXTINF:1,\n4.m4s\n\
         #EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXT-X-MAP:URI=\"b.mp4\"\n#EXTINF:1,\n5.m4s",
    );
    let init = |index: usize| media.segments()[index].init.clone().unwrap();
    assert!(Rc::ptr_eq(&init(0), &init(1)) && Rc::ptr_eq(&init(0), &init(3)), "equal ones are one");
    assert_eq!(init(0).byte_range.map(|range| range.positions()), Some(0..720));
    assert_eq!(init(0).key, None);
    let iv = |index| init(index).key.clone().map(|(_, iv)| u128::from_be_bytes(iv));
    assert_eq!((iv(2), iv(4)), (Some(1), Some(9)), "stated, or of the segment that follows");
    assert_eq!((media.url(init(2).uri).path(), init(2).byte_range), ("/show/audio/b.mp4", None));
}

#[test]
fn discontinuities_gaps_and_dates_belong_to_the_segment_after_them() {
    let media = media(
        "#EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-START:TIME-OFFSET=-1,PRECISE=YES\n#EXTINF:1,\n1.ts\n\
         #EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2010-02-19T14:54:23.031+08:00\n#EXTINF:1,\n2.ts\n\
         #EXT-X-GAP\n#EXT-X-PROGRAM-DATE-TIME:yesterday\n#EXTINF:1,\n3.ts\n#EXT-X-DISCONTINUITY\n\
         #EXT-X-DISCONTINUITY\n#EXTINF:1,\n4.ts",
    );
    let flags: Vec<_> = media.segments().iter().map(|s| (s.is_discontinuity, s.is_gap)).collect();
    assert_eq!(flags, [(false, false), (true, false), (false, true), (true, false)]);
    let numbers: Vec<_> = (0..4).map(|index| media.discontinuity_sequence(index)).collect();
    assert_eq!(numbers, [3, 4, 4, 6]);
    assert_eq!(media.dates_unix_ms(), [(1, 1_266_562_463_031)]);
    let start = media.start().unwrap().in_presentation(media.duration());
    assert_eq!(start, Duration::from_secs(3));
}

#[test]
fn variables_stand_in_uris_and_values() {
    let first = multivariant(
        "#EXT-X-DEFINE:NAME=\"host\",VALUE=\"https://b.example\"\n#EXT-X-DEFINE:QUERYPARAM=\"token\"\n\
         #EXT-X-DEFINE:NAME=\"lang\",VALUE=\"en\"\n\
         #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{$lang}-g\",NAME=\"n\",URI=\"{$host}/{$lang}.m3u8\"\n\
         #EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"en-g\"\n{$host}/v.m3u8?t={$token}",
    );
    assert_eq!(first.variants[0].urls[0].as_str(), "https://b.example/v.m3u8?t=a/b");
    assert_eq!(first.renditions[0].url.as_ref().unwrap().as_str(), "https://b.example/en.m3u8");
    let text = "#EXTM3U\n#EXT-X-DEFINE:IMPORT=\"host\"\n#EXT-X-KEY:METHOD=AES-128,URI=\"{$host}/k\"\n\
                #EXTINF:1,\n{$host}/1.ts\n#EXT-X-ENDLIST";
    let Ok(Playlist::Media(media)) = read(text, &first.variables) else { panic!() };
    assert_eq!(urls(&media), ["https://b.example/1.ts"]);
    assert_eq!(keys(&media), ["/k"]);
    let alone = read(text, &Variables::default()).unwrap_err();
    assert!(matches!(alone, Error::Malformed { line: 2, tag: "EXT-X-DEFINE", .. }));
    let late = error("#EXT-X-VERSION:8\n#EXTINF:1,\n{$a}\n#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\"");
    assert!(matches!(late, Error::Malformed { line: 4, tag: "URI", .. }));
}

#[test]
fn what_has_not_ended_is_live() {
    let list = "#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:9\n#EXTINF:4,\n9.ts";
    assert_eq!(error(list), Error::Live);
    assert_eq!(error(&format!("#EXT-X-PLAYLIST-TYPE:EVENT\n{list}")), Error::Live);
    assert_eq!(error("#EXT-X-TARGETDURATION:4"), Error::Live);
    for ended in ["#EXT-X-PLAYLIST-TYPE:VOD", "#EXT-X-ENDLIST\n#EXT-X-PLAYLIST-TYPE:EVENT"] {
        let text = format!("#EXTM3U\n{ended}\n{list}");
        assert!(matches!(read(&text, &Variables::default()), Ok(Playlist::Media(_))), "{ended}");
    }
    let update = format!("#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n{list}\n#EXT-X-ENDLIST");
    assert_eq!(error(&update), Error::Live);
    assert_eq!(error("#EXT-X-ENDLIST"), Error::Empty);
}

#[test]
fn what_is_no_playlist_of_hls_may_be_something_else() {
    let songs = "#EXTINF:123,A song\nsong.mp3\n#PLAYLIST:Songs";
    assert!(matches!(error(songs), Error::NotHls(why) if why.contains("list of files")));
    assert!(matches!(read("<html>", &Variables::default()), Err(Error::NotHls(_))));
}

#[test]
fn a_line_that_is_wrong_is_named_with_its_remedy() {
    for (lines, wanted) in [
        ("#EXT-X-VERSION:3\n1.ts", "line 3: URI has no duration; write EXTINF"),
        ("#EXT-X-VERSION:3\n#EXTINF:1,\n#EXTINF:1,\n1.ts", "line 3: EXTINF has no URI"),
        ("#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:1,\n1.ts\n#EXTINF:1,", "line 5: EXTINF has no URI"),
        ("#EXT-X-VERSION:3\n#EXTINF:nan,\n1.ts", "line 3: EXTINF is no duration"),
        ("#EXT-X-VERSION:3\n#EXTINF:-1,\n1.ts", "line 3: EXTINF is no duration"),
        ("#EXT-X-VERSION:3\n#EXTINF:99999999,\n1.ts", "line 4: URI ends more than a year"),
        ("#EXT-X-VERSION:3\n#EXTINF:1,\nfile:///etc/passwd", "line 4: URI leads to what"),
        ("#EXT-X-MEDIA-SEQUENCE:-1", "line 2: EXT-X-MEDIA-SEQUENCE is no number"),
        ("#EXT-X-MEDIA-SEQUENCE:18446744073709551615", "line 2: EXT-X-MEDIA-SEQUENCE is no number"),
        ("#EXT-X-MAP:URI=a\n#EXT-X-MEDIA-SEQUENCE:1", "line 3: EXT-X-MEDIA-SEQUENCE stands after"),
        ("#EXT-X-KEY:METHOD=AES-128", "line 2: EXT-X-KEY has no URI"),
        ("#EXT-X-KEY:URI=a", "line 2: EXT-X-KEY has no METHOD"),
        ("#EXT-X-KEY:METHOD=AES-128,URI=a,IV=1", "line 2: EXT-X-KEY has an IV"),
        ("#EXT-X-MAP:URI=a,BYTERANGE=0", "line 2: EXT-X-MAP has a BYTERANGE"),
        (
            "#EXT-X-VERSION:1\n#EXTINF:1,\na\n#EXT-X-STREAM-INF:BANDWIDTH=1\nb",
            "line 5: EXT-X-STREAM-INF stands in",
        ),
        ("#EXT-X-STREAM-INF:BANDWIDTH=1\nb\n#EXTINF:1,\na", "line 4: EXTINF stands in"),
        ("#EXT-X-STREAM-INF:BANDWIDTH=1", "line 2: EXT-X-STREAM-INF has no URI"),
        ("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=a\na", "line 3: URI belongs to no variant"),
        ("#EXT-X-MEDIA:TYPE=AUDIO", "line 2: EXT-X-MEDIA has no GROUP-ID"),
    ] {
        let text = error(lines).to_string();
        assert!(text.starts_with(wanted), "{lines}: {text}");
    }
    assert_eq!(error("#EXT-X-I-FRAMES-ONLY"), Error::NoAudio("it lists I-frames of video"));
}

#[test]
fn what_a_playlist_may_take_is_bounded() {
    let limits = Limits { playlist_bytes: 400, playlist_lines: 20, variants: 2, uri_bytes: 60 };
    let over = |lines: &str| {
        let text = format!("#EXTM3U\n#EXT-X-VERSION:8\n{lines}");
        let url = Url::parse(HOME).unwrap();
        match parse(text.as_bytes(), &url, &Variables::default(), &limits) {
            Err(Error::Limit { name, line, .. }) => (name, line),
            other => panic!("{lines}: {other:?}"),
        }
    };
    assert_eq!(over(&"#\n".repeat(300)), ("playlist_bytes", 0));
    assert_eq!(over(&"\n".repeat(30)), ("playlist_lines", 21));
    assert_eq!(over(&"#EXT-X-STREAM-INF:A=1\nb\n".repeat(3)), ("variants", 8));
    let long = "a".repeat(61);
    assert_eq!(over(&format!("#EXTINF:1,\n{long}")), ("uri_bytes", 4));
    assert_eq!(over(&format!("#EXT-X-STREAM-INF:{long}\nb")), ("uri_bytes", 3));
    let define = "#EXT-X-DEFINE:NAME=a,VALUE=0123456789012345678901234567890\n";
    assert_eq!(over(&format!("{define}#EXTINF:1,\n{{$a}}{{$a}}")), ("uri_bytes", 5));
}

#[test]
fn uris_do_not_swell_by_variables_without_end() {
    let value = "v".repeat(8000);
    let mut text = format!("#EXTM3U\n#EXT-X-DEFINE:NAME=\"a\",VALUE=\"{value}\"\n");
    for n in 0..2000 {
        text += &format!("#EXTINF:1,\n{{$a}}{n}\n");
    }
    let limits = Limits { playlist_bytes: 1 << 16, ..Limits::default() };
    let url = Url::parse(HOME).unwrap();
    let swollen = parse(text.as_bytes(), &url, &Variables::default(), &limits).unwrap_err();
    assert!(matches!(swollen, Error::Malformed { tag: "URI", .. }), "{swollen}");
}

const GROUPS: &str = "\
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"lo\",NAME=\"English\",LANGUAGE=\"en-GB\",DEFAULT=YES,AUTOSELECT=YES
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"lo\",NAME=\"Français\",LANGUAGE=\"fr\",AUTOSELECT=YES, URI=\"fr-lo.m3u8\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"hi\",NAME=\"English\",LANGUAGE=\"en-GB\",CHANNELS=\"6/JOC\",URI=\"en-hi.m3u8\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"hi\",NAME=\"Deutsch\",LANGUAGE=\"de\",AUTOSELECT=YES,URI=\"de-hi.m3u8\"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"hi\",NAME=\"Latin\",URI=\"la.m3u8\"
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=195023,CODECS=\"mp4a.40.5\", AUDIO=\"lo\"
lo.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=260000,AVERAGE-BANDWIDTH=200000,CODECS=\"avc1.42e01e, mp4a.40.2\",AUDIO=\"hi\"
hi.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS=\"avc1.42e01e\",RESOLUTION=640x360
video.m3u8";

#[test]
fn variants_keep_their_order_and_say_what_is_in_them() {
    let read = multivariant(GROUPS);
    let content: Vec<_> = read.variants.iter().map(|variant| variant.content).collect();
    assert_eq!(content, [Content::Audio, Content::Any, Content::Video]);
    let numbers = |index: usize| {
        let variant = &read.variants[index];
        (variant.bandwidth, variant.average_bandwidth, variant.codecs.len())
    };
    assert_eq!(numbers(0), (Some(195_023), None, 1));
    assert_eq!(numbers(1), (Some(260_000), Some(200_000), 2));
    assert_eq!(read.renditions.len(), 4, "those of audio");
    assert_eq!(read.renditions[2].channels, Some(6));
}

/// Each as the number of a variant and the file of its audio.
fn heard<'a>(of: &'a Multivariant, track: Track) -> Result<Vec<(usize, &'a str)>, Error> {
    let file = |audio: &Audio<'a>| {
        (audio.variant, audio.urls[0].path().strip_prefix("/show/audio/").expect("beside the list"))
    };
    Ok(of.audio(track)?.iter().map(file).collect())
}

#[test]
fn a_track_is_chosen_by_number_name_or_language() {
    let read = multivariant(GROUPS);
    let heard = |track| heard(&read, track);
    let names: Vec<_> = read.tracks().iter().map(|track| &*track.name).collect();
    assert_eq!(names, ["English", "Français", "Deutsch"]);
    let english = Ok(vec![(0, "lo.m3u8"), (1, "en-hi.m3u8")]);
    assert_eq!(heard(Track::Number(0)), english);
    assert_eq!(heard(Track::Named("English")), english);
    assert_eq!(heard(Track::Named("en-gb")), english);
    assert_eq!(heard(Track::Named("EN")), english);
    assert_eq!(heard(Track::Number(1)), Ok(vec![(0, "fr-lo.m3u8")]));
    assert_eq!(heard(Track::Named("de")), Ok(vec![(1, "de-hi.m3u8")]));
    let by_default = [(0, "lo.m3u8"), (1, "de-hi.m3u8")];
    assert_eq!(
        heard(Track::Default),
        Ok(by_default.to_vec()),
        "DEFAULT, else AUTOSELECT, of each group"
    );
    for track in
        [Track::Number(3), Track::Named("e"), Track::Named("Latin"), Track::Named("en-GB-x")]
    {
        let text = heard(track).unwrap_err().to_string();
        assert!(text.contains("`English` (en-GB), `Français` (fr), `Deutsch` (de)"), "{text}");
    }
}

#[test]
fn variants_without_renditions_have_one_track() {
    let read = multivariant(
        "#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"gone\"\na\n#EXT-X-STREAM-INF:BANDWIDTH=x\nb",
    );
    let both = Ok(vec![(0, "a"), (1, "b")]);
    assert_eq!(
        (heard(&read, Track::Default), heard(&read, Track::Number(0))),
        (both.clone(), both)
    );
    assert!(matches!(heard(&read, Track::Number(1)), Err(Error::NoTrack(_))));
    assert_eq!(read.variants[1].bandwidth, None);
}

#[test]
fn a_presentation_without_audio_is_refused_and_one_with_audio_beside_the_video_is_not() {
    let video =
        "#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1.42e01e,stpp.ttml\",AUDIO=\"a\"\nv.m3u8\n";
    let silent = multivariant(video);
    assert!(matches!(silent.audio(Track::Default), Err(Error::NoAudio(_))));
    let audio = "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"n\",URI=\"a.m3u8\"\n";
    let beside = multivariant(&format!("{video}{audio}"));
    assert_eq!(heard(&beside, Track::Default), Ok(vec![(0, "a.m3u8")]));
}

#[test]
fn redundant_variants_are_one_with_several_urls() {
    let read = multivariant(
        "#EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"a.key\"\n\
         #EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"a.key\"\n\
         #EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI=\"skd://1\",KEYFORMAT=\"com.apple.streamingkeydelivery\"\n\
         #EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"mp4a.40.2\",PATHWAY-ID=A\n1.m3u8\n\
         #EXT-X-STREAM-INF:BANDWIDTH=2\n2.m3u8\n\
         #EXT-X-STREAM-INF:CODECS=\"mp4a.40.2\",BANDWIDTH=1,PATHWAY-ID=B\n//b.example/1.m3u8\n\
         #EXT-X-STREAM-INF:BANDWIDTH=2\n2.m3u8",
    );
    let urls: Vec<_> = read.variants.iter().map(|variant| variant.urls.len()).collect();
    assert_eq!(urls, [2, 1]);
    assert_eq!(read.variants[0].urls[1].as_str(), "https://b.example/1.m3u8");
    assert_eq!(read.session_keys.len(), 1);
}
