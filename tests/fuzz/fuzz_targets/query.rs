//! Queries and Accept fields: never a panic, and every refusal is one of the client's.
#![no_main]

use kithara::server::request::{ObjectRequest, parse_pcm, parse_probe, parse_transcode};
use kithara_fuzz::fuzz_target;

fuzz_target!(|text: &str| {
    let (query, accept) = text.split_once('\n').unwrap_or((text, ""));
    // A name is one of a library, whose paths are files', or one of an origin.
    let is_library = |name: &str| name.len() % 2 == 0;
    for refused in [
        parse_pcm(query, [accept], is_library).err(),
        parse_transcode(query, is_library).err(),
        parse_probe(query, is_library).err(),
        ObjectRequest::parse(query, Some(accept), is_library).err(),
    ] {
        assert!(refused.is_none_or(|problem| (400..500).contains(&problem.status())));
    }
});
