//! A transport stream of any bytes: tables and headers of what it carries, within their bounds.
#![no_main]

use kithara::decode::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::ts(bytes);
});
