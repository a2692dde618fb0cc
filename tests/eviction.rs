//! The eviction policy on recorded and on generated traces, against LRU, Belady, and what a public
//! simulator reached.
//!
//! The traces lie beside the checkout (`../shared/material`) or where `TEST_MATERIAL` says. The
//! table is printed with `--nocapture`; `cargo bench --bench eviction` replays longer ones.

#[expect(unreachable_pub, reason = "it is public in the harness, whose programs use it too")]
#[path = "../bench-harness/src/replay/mod.rs"]
mod replay;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

fn traces() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/material");
    let root = std::env::var_os("TEST_MATERIAL").map_or(beside, PathBuf::from);
    let traces = root.join("cache-traces");
    if traces.is_dir() {
        return Some(traces);
    }
    // Past what the test runner keeps to itself of a test that passes: not by a macro.
    let why = format!("no traces at {} (set TEST_MATERIAL)", traces.display());
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {why} ***\n");
    None
}

#[test]
fn the_policy_comes_near_the_best_there_could_be() {
    let Some(dir) = traces() else { return };
    let mut traces = replay::recorded(&dir).unwrap();
    assert!(!traces.is_empty(), "there is no trace in {}", dir.display());
    traces.extend(replay::generated(200_000));
    let cases = replay::measure(&traces);
    println!("{cases}");
    replay::check(&cases);
}

#[test]
fn listeners_are_served_better_than_by_lru() {
    for case in replay::measure(&replay::generated(50_000)).0 {
        assert!(case.s3_fifo.objects > case.lru.objects && case.s3_fifo.bytes > case.lru.bytes);
    }
}
