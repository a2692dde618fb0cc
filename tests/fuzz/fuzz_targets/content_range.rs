//! `Content-Range` of any bytes: what is read is consistent, and says the same when written out.
#![no_main]

use kithara::net::ContentRange;
use kithara_fuzz::fuzz_target;

fuzz_target!(|value: &[u8]| {
    match ContentRange::parse(value) {
        Some(ContentRange::Bytes { range, length }) => {
            assert!(range.start < range.end);
            assert!(length.is_none_or(|length| range.end <= length));
            let all = length.map_or("*".to_owned(), |length| length.to_string());
            let text = format!("bytes {}-{}/{all}", range.start, range.end - 1);
            let again = ContentRange::parse(text.as_bytes());
            assert_eq!(again, Some(ContentRange::Bytes { range, length }));
        }
        Some(ContentRange::Unsatisfied { length }) => {
            let text = format!("bytes */{length}");
            let again = ContentRange::parse(text.as_bytes());
            assert_eq!(again, Some(ContentRange::Unsatisfied { length }));
        }
        None => {}
    }
});
