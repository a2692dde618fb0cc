//! The journal of prefetches: whatever it says, the queue keeps its bounds, and what it is written
//! as is read as the same.
#![no_main]

use kithara::prefetch::{Limits, Queue, journal};
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let is_library = |name: &str| name.len() % 2 == 0;
    let limits = Limits { sources: 50, ..Limits::default() };
    let queue = |bytes: &[u8]| {
        let read = journal::read(bytes, is_library).ok()?;
        let mut queue = Queue::new(limits);
        read.records.into_iter().for_each(|record| queue.apply(record));
        Some(queue)
    };
    // As found, and with sums that fit, since nobody guesses those.
    let lines =
        bytes.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let summed = lines.fold(journal::header(), |text, line| {
        format!("{text}{:08x} {line}\n", crc32c::crc32c(line.as_bytes()))
    });
    for bytes in [bytes, summed.as_bytes()] {
        let Some(first) = queue(bytes) else { continue };
        assert!(first.counts().0 <= limits.sources);
        let text = |queue: &Queue| {
            let records = queue.records();
            records.iter().fold(journal::header(), |text, record| text + &journal::encode(record))
        };
        let text_of_first = text(&first);
        let second = queue(text_of_first.as_bytes()).expect("it is ours");
        assert_eq!(text(&second), text_of_first);
    }
});
