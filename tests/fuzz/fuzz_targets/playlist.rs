//! Playlists of any bytes: an answer each time, and what is read holds together.
#![no_main]

use kithara::hls::playlist::{Limits, Media, Multivariant, Playlist, Track, Variables, parse};
use kithara_fuzz::fuzz_target;
use url::Url;

fuzz_target!(|bytes: &[u8]| {
    let url = Url::parse("https://origin.example/a/list.m3u8?token=1").unwrap();
    let limits = Limits { uri_bytes: 256, variants: 8, ..Limits::default() };
    match parse(bytes, &url, &Variables::default(), &limits) {
        Ok(Playlist::Media(media)) => media_holds(&media),
        Ok(Playlist::Multivariant(multivariant)) => {
            multivariant_holds(&multivariant, bytes, &limits)
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn media_holds(media: &Media) {
    assert!(!media.segments().is_empty());
    let durations = media.segments().iter().map(|segment| segment.duration);
    assert_eq!(media.duration(), durations.sum());
    for (index, segment) in media.segments().iter().enumerate() {
        let init = segment.init.as_ref();
        let of_init = init.and_then(|init| init.key.as_ref()).map(|(key, _)| key.uri);
        let uris = [Some(segment.uri), segment.key.as_ref().map(|key| key.uri)];
        for uri in uris.into_iter().chain([init.map(|init| init.uri), of_init]).flatten() {
            assert!(matches!(media.url(uri).scheme(), "http" | "https"));
        }
        assert!(segment.byte_range.is_none_or(|range| !range.positions().is_empty()));
        assert!(media.discontinuity_sequence(index) >= media.discontinuity_sequence(0));
        assert_eq!(media.sequence(index), media.sequence(0) + index as u64);
        let _ = media.iv(index);
    }
    if let Some(start) = media.start() {
        assert!(start.in_presentation(media.duration()) <= media.duration());
    }
}

/// A media playlist of the same bytes may import its variables.
fn multivariant_holds(multivariant: &Multivariant, bytes: &[u8], limits: &Limits) {
    let urls: usize = multivariant.variants.iter().map(|variant| variant.urls.len()).sum();
    assert!((1..=limits.variants).contains(&urls));
    for number in 0..multivariant.tracks().len() {
        for audio in multivariant.audio(Track::Number(number)).unwrap_or_default() {
            assert!(!audio.urls.is_empty());
            let name = audio.rendition.map_or("", |rendition| &*rendition.name);
            let _ = multivariant.audio(Track::Named(name));
        }
    }
    let _ = multivariant.audio(Track::Default);
    let _ = parse(bytes, &multivariant.variants[0].urls[0], &multivariant.variables, limits);
}
