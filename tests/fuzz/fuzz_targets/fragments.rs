//! Fragments of MP4 of any bytes behind an init section of any: the packets of its segments, at each place
//! where they can be entered.
#![no_main]

use kithara_fuzz::{fuzz_target, play};

fuzz_target!(|bytes: &[u8]| {
    // All before the first fragment is the init section.
    let name = bytes.windows(4).position(|name| name == b"moof");
    let (head, media) = bytes.split_at(name.unwrap_or(0).saturating_sub(4));
    play(head, media);
});
