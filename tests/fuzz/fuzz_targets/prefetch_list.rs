//! A list of sources: never a panic, and every source that it names can be named.
#![no_main]

use kithara::{pcm::SourceName, prefetch::playlist};
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let of = SourceName { name: "music".into(), path: "lists/top.m3u".into(), is_file: false };
    let is_known = |name: &str| matches!(name, "music" | "local");
    let is_library = |name: &str| name == "local";
    if let Ok(sources) = playlist::sources(bytes, &of, 100, is_known, is_library) {
        assert!(!sources.is_empty());
        for source in sources {
            assert_eq!(SourceName::parse(&source.text(), is_library), Ok(source));
        }
    }
});
