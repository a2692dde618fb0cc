//! What is kept on disk of an origin's answer.
#![no_main]

use kithara::assets::Head;
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(head) = Head::decode(bytes, "http://origin/song") {
        assert_eq!(
            Head::decode(&head.encode("http://origin/song"), "http://origin/song"),
            Some(head)
        );
    }
});
