//! First bytes of any object: a container or none, and the same when more bytes are there.
#![no_main]

use kithara::decode::sniff;
use kithara_fuzz::fuzz_target;

fuzz_target!(|head: &[u8]| {
    let found = sniff(head);
    assert!(found.is_none_or(|container| !container.name().is_empty()));
    assert_eq!(found, sniff(head), "bytes say the same each time");
});
