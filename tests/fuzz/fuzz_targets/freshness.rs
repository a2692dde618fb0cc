//! Fields of any answer and any request: what is decided of them is decided, and holds together.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use kithara::assets::{
    Head,
    freshness::{Directives, Share, Use, Verdict, is_selected, judge, selecting, share},
};
use kithara_fuzz::fuzz_target;

fuzz_target!(|input: (u16, u32, u32, &[u8], &[u8])| {
    let (status, answered, later, said, asked) = input;
    let (fields, asked) = (fields(said), fields(asked));
    let answered = u64::from(answered);
    let mut head = Head { status, fields, asked: answered, answered, ..Head::default() };
    head.selecting = selecting(&head.fields, &asked);
    if share(&head, &asked, Use::Original, 600) != Share::Alone {
        assert!(is_selected(&head, &asked), "an answer is one to its own request");
    }
    let (now, wishes) = (answered + u64::from(later), Directives::of(&asked));
    let judgement = judge(&head, Use::Original, &wishes, 600, now);
    if judgement.verdict == Verdict::Fresh && wishes.max_stale.is_none() {
        assert!(judgement.ttl > 0);
    }
    // What was said once more is as fresh as on the first day.
    let refreshed = head.refreshed(&head.fields, now, now);
    assert!(refreshed.age(now) <= head.age(now).max(judgement.age));
});

fn fields(text: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}
