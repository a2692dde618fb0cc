//! Queries and Accept fields: never a panic, and every refusal is one of the client's.
#![no_main]

use kithara::server::request::{ObjectRequest, parse_pcm, parse_probe};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (query, accept) = text.split_once('\n').unwrap_or((text, ""));
    for refused in [
        parse_pcm(query, [accept]).err(),
        parse_probe(query).err(),
        ObjectRequest::parse(query, Some(accept)).err(),
    ] {
        assert!(refused.is_none_or(|problem| (400..500).contains(&problem.status())));
    }
});
