//! Paths of any text: what an origin lets through stays below its base and is canonical.
#![no_main]

use kithara::net::Origin;
use kithara_fuzz::fuzz_target;

fuzz_target!(|path: &str| {
    let origin = Origin::new("fuzz", "https://origin.example/a/b/".parse().unwrap()).unwrap();
    let Ok(url) = origin.url(path) else { return };
    assert_eq!(url.host_str(), Some("origin.example"));
    let below = url.path().strip_prefix("/a/b/").expect("below the base");
    assert!(!below.split('/').any(|segment| segment == ".." || segment == "."));
    // With the slash in front that may be left out, since the path may begin with one of its own.
    let again = match url.query() {
        Some(query) => origin.url(&format!("/{below}?{query}")),
        None => origin.url(&format!("/{below}")),
    };
    assert_eq!(again.expect("canonical paths pass"), url);
});
