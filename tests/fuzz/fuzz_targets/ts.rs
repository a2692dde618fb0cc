//! A transport stream of any bytes: tables and headers of what it carries, within their bounds, and the
//! packets of its segments, at each place where they can be entered.
#![no_main]

use kithara::decode::fuzzing;
use kithara_fuzz::{fuzz_target, play};

fuzz_target!(|bytes: &[u8]| {
    fuzzing::ts(bytes);
    play(&[], bytes);
});
