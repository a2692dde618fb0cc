//! What an operator asks of the cache: never a panic, every refusal is one of the client's, and a
//! cursor is written as it is read.
#![no_main]

use http::Method;
use kithara::server::assets::{Cursor, Errand};
use kithara_fuzz::fuzz_target;

fuzz_target!(|text: &str| {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::OPTIONS] {
        for path in [path, &format!("/v1/assets/{path}")] {
            let refused = Errand::of(&method, path, query).err();
            assert!(refused.is_none_or(|problem| (400..500).contains(&problem.status())));
        }
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text);
    }
});
