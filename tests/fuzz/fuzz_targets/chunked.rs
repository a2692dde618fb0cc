//! Chunked bodies: the answer does not depend on how the bytes arrive.
#![no_main]

use kithara::server::guard::chunked::Chunked;
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = Chunked::default().advance(bytes);
    let mut chunked = Chunked::default();
    let mut taken = 0;
    for byte in bytes {
        match chunked.advance(std::slice::from_ref(byte)) {
            Ok(progress) => taken += progress.taken,
            Err(refusal) => return assert_eq!(whole, Err(refusal)),
        }
    }
    assert_eq!(whole.map(|progress| progress.taken), Ok(taken));
});
