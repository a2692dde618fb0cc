//! Request heads: the answer does not depend on how the bytes arrive.
#![no_main]

use kithara::server::guard::{Limits, head::HeadScan};
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = HeadScan::new(Limits::default()).advance(bytes);
    let mut scan = HeadScan::new(Limits::default());
    let pieces = (1..=bytes.len())
        .map(|end| scan.advance(&bytes[..end]))
        .find(|answer| !matches!(answer, Ok(None)))
        .unwrap_or(Ok(None));
    assert_eq!(whole, pieces);
});
