//! Range fields: a part lies within what there is.
#![no_main]

use kithara::file::range::{Selection, content_range, select};
use kithara_fuzz::fuzz_target;

fuzz_target!(|input: (u64, &[u8])| {
    let (length, field) = input;
    if let Selection::Part(part) = select(Some(field), length) {
        assert!(part.start < part.end && part.end <= length);
        content_range(&part, length);
    }
});
