//! Heads of any fields as answers to a range: what is accepted fits what was asked.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use kithara::net::{Answer, Ask, Validator};
use kithara_fuzz::fuzz_target;

fuzz_target!(|input: (u16, u64, Option<u64>, &[u8])| {
    let (status, from, until, text) = input;
    let status = [200, 206, 416, status][usize::from(status % 4)];
    let mut headers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(&line[colon + 1..]);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let ask =
        Ask { range: Some((from, until)), if_range: Validator::of(&headers), ..Ask::default() };
    let Ok(answer) = Answer::read(status, &headers, &ask) else { return };
    if let Some(range) = answer.range {
        assert_eq!(range.start, from);
        assert!(until.is_none_or(|until| range.end <= until));
        assert_eq!(answer.body_bytes, Some(range.end - range.start));
    }
});
