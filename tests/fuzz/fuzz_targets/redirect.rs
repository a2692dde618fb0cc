//! Redirects to any targets, one after another: the way stays on HTTP, never gives up TLS, ends.
#![no_main]

use http::HeaderValue;
use kithara::net::Hops;
use kithara_fuzz::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let home: url::Url = "https://origin.example/audio/song.mp3".parse().unwrap();
    let mut hops = Hops::new(home.clone(), 5);
    let mut followed = 0;
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(location) = HeaderValue::from_bytes(line) else { continue };
        if hops.follow(std::iter::once(&location)).is_err() {
            continue;
        }
        followed += 1;
        assert_eq!(hops.url().scheme(), "https");
        assert!(hops.url().username().is_empty() && hops.url().password().is_none());
        assert!(!hops.at_home() || hops.url().origin() == home.origin());
    }
    assert!(followed <= 5);
});
