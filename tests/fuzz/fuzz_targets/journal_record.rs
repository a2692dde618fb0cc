//! Records of any bytes: what is read is possible, and says the same when written out.
#![no_main]

use kithara::storage::format::{LENGTH_LIMIT, PAGE_ROOM, Record, records};
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = &bytes[..bytes.len().min(PAGE_ROOM)];
    let found: Vec<Record> = records(bytes).collect();
    let mut written = Vec::new();
    for record in &found {
        check(record);
        let before = written.len();
        record.encode(&mut written);
        assert_eq!(written.len() - before, record.encoded_len());
    }
    assert!(written.len() <= bytes.len());
    assert!(records(&written).eq(found));
});

fn check(record: &Record) {
    match record {
        Record::Object { meta, .. } => {
            assert!(meta.length.is_none_or(|length| length < LENGTH_LIMIT));
        }
        Record::Fill { chunks, .. } => {
            for filled in chunks {
                assert!(!filled.part.is_empty() && filled.part.end <= 65_536);
            }
        }
        Record::Commit { length, .. } => assert!(*length < LENGTH_LIMIT),
        _ => {}
    }
}
