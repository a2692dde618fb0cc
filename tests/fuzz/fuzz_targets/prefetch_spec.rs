//! The body of a request to prefetch: never a panic, and what is read is written as the same.
#![no_main]

use kithara::prefetch::Spec;
use kithara_fuzz::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let is_library = |name: &str| name.len() % 2 == 0;
    match Spec::parse(body, is_library) {
        Ok(spec) => {
            let text = spec.to_json().to_string();
            assert_eq!(Spec::parse(text.as_bytes(), is_library), Ok(spec));
        }
        Err(why) => assert!(!why.hint().is_empty()),
    }
});
