//! Adaptive bitrate in a model, beside other rules and the best there could be:
//! `cargo bench --bench abr [-- TRACE...]`, where a TRACE is a JSON list of `{duration_ms, bandwidth_kbps,
//! latency_ms}`.
//!
//! Plays 600 s of audio in seven variants over each trace, in segments of 4 and of 10 s with a buffer of 25 s. A
//! table for each length of segments has a row for each rule and set of traces: the share of the optimum's score
//! that the rule reaches, how much more of the time it is silent, in points, and by how many kbit/s a segment
//! differs from the one before. The sets are recordings of mobile lines (`3g`, a fifth of their bandwidth) and
//! synthetic lines (`sd_fs`, 0.03 of it) below `traces` where `TEST_MATERIAL` says or beside the checkout
//! (`../shared/material`), generated ones, and the traces that are named. What is not there is skipped aloud. It
//! fails where the node's rule is below the best of the others in the mean of one of these sets.
//!
//! What was asked of the node's rule on `3g`, 88 % with segments of 4 s and 75 % with 10 s, is not reached: it gets
//! 84.6 and 71.2 %. The rows `told` are the same rule with the true mean of the next seconds in place of an
//! estimate: told one second it is no better, told two it reaches 87 and 73 %, told four 89 and 80 %. So what was
//! asked takes a rule of this kind more than two seconds of knowledge in advance. Ways that differ in kind were
//! tried and are named in the node's `hls/abr/outlook.rs`. Silence, 1.15 points more than the optimum's at 4 s as
//! asked, is 1.57 at 10 s, of 1.5 asked; segments of 4 s differ by 14.9 kbit/s, of 15 asked. A price of switches a
//! third of that gives 85.1 %, and 20 kbit/s.

#![allow(clippy::print_stdout)]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use kithara_bench::{
    Table,
    abr::{
        BolaE, Dynamic, DynamicE, Media, Original, Ours, Outcome, Rule, Throughput, Told, Trace,
        optimum, play,
    },
};

/// Lines that are generated.
const GENERATED: u64 = 20;

/// Lengths of segments, seconds.
const SEGMENTS: [f64; 2] = [4.0, 10.0];

/// How much is known in advance by the rule that is told, seconds.
const TOLD: [f64; 3] = [1.0, 2.0, 4.0];

/// A set of traces that are told of together.
struct Set {
    name: &'static str,
    traces: Vec<Trace>,
}

fn main() {
    let mut sets = vec![recorded("3g", 0.2), recorded("sd_fs", 0.03)];
    sets.push(Set { name: "generated", traces: (1..=GENERATED).map(Trace::markov).collect() });
    // `cargo bench` adds a flag of its own.
    let given = env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let given = given.map(|path| Trace::read(Path::new(&path), 1.0)).collect();
    sets.push(Set { name: "given", traces: given });
    sets.retain(|set| !set.traces.is_empty());
    for segment in SEGMENTS {
        println!("segments of {segment} s");
        let table = Table::new(24, ["", "optimum, %", "silence, +", "change, kbit/s"]);
        sets.iter().for_each(|set| compare(&table, set, segment));
    }
}

/// The traces of a folder, none where it is not there.
fn recorded(name: &'static str, scale: f64) -> Set {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/material");
    let folder =
        env::var_os("TEST_MATERIAL").map_or(beside, PathBuf::from).join("traces").join(name);
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("*** SKIPPED: no traces at {} (set TEST_MATERIAL) ***", folder.display());
        return Set { name, traces: Vec::new() };
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Set { name, traces: paths.iter().map(|path| Trace::read(path, scale)).collect() }
}

/// A row for each rule.
///
/// # Panics
/// When the node's is not the best of them.
fn compare(table: &Table<4>, set: &Set, segment: f64) {
    let medias = (0..set.traces.len()).map(|seed| Media::new(segment, seed as u64));
    let cases: Vec<_> = set.traces.iter().zip(medias).collect();
    let best = Outcome::mean(cases.iter().map(|(trace, media)| optimum(trace, media)));
    let row = |rule: &str, outcome: Outcome| {
        table.row([
            format!("{}, {rule}", set.name),
            format!("{:.1}", 100.0 * outcome.score / best.score),
            format!("{:.2}", 100.0 * (outcome.silent - best.silent)),
            format!("{:.1}", outcome.change / 1e3),
        ]);
        outcome.score
    };
    let of_others = [
        row("throughput", all(&cases, |_| Throughput::default())),
        row("BOLA-E", all(&cases, |_| BolaE::default())),
        row("DYNAMIC", all(&cases, |_| Dynamic::default())),
        row("DYNAMIC-E", all(&cases, |_| DynamicE::default())),
        row("original", all(&cases, |_| Original::default())),
    ];
    let ours = row("ours", all(&cases, |_| Ours::default()));
    for seconds in TOLD {
        row(&format!("told {seconds} s"), all(&cases, |trace| Told::new(trace, seconds)));
    }
    row("optimum", best);
    let is_best = of_others.iter().all(|&other| other < ours);
    assert!(is_best || set.name == "given", "another rule is better on {}", set.name);
}

fn all<'a, R: Rule>(cases: &'a [(&'a Trace, Media)], rule: impl Fn(&'a Trace) -> R) -> Outcome {
    Outcome::mean(cases.iter().map(|(trace, media)| play(trace, media, &mut rule(trace))))
}
