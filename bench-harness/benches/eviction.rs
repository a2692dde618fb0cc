//! Hit ratios of the eviction policy, beside LRU and Belady: `cargo bench --bench eviction -- DIR`,
//! where DIR holds traces in the oracleGeneral layout.
//!
//! Replays those and generated ones, prints a row for each at 1 % and 10 % of its bytes, and fails
//! where a floor is not reached. Without DIR the generated ones are printed alone and nothing is
//! checked, since the floors are means that the recorded ones are part of. `tests/eviction.rs` does the
//! same in little.

use std::{env, path::Path};

use kithara_bench::replay::{check, generated, measure, recorded};

/// Enough for a cache of a tenth to be filled many times.
const REQUESTS: usize = 500_000;

fn main() {
    // `cargo bench` adds a flag of its own.
    let Some(dir) = env::args().skip(1).find(|argument| !argument.starts_with("--")) else {
        println!("{}", measure(&generated(REQUESTS)));
        return;
    };
    let mut traces = recorded(Path::new(&dir)).expect("the traces are readable");
    assert!(!traces.is_empty(), "there is no trace in {dir}");
    traces.extend(generated(REQUESTS));
    let cases = measure(&traces);
    println!("{cases}");
    check(&cases);
}
