//! `kithara doctor`, and what `serve` checks before it starts.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
};

use super::{
    args::DoctorArgs,
    checks::{self, Check, DirectIo, Verdict},
    failure::{ExitCode, Failure},
    logging, machine,
};
use crate::{
    config::{self, Config},
    runtime, storage,
};

/// Prints every check, as a table or as JSON.
///
/// # Errors
/// A bad configuration. A check that fails is no error, but the exit code says so.
pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let merged = args.node.load()?;
    let checks = examine(&merged.config);
    let stdout = io::stdout();
    let text = match args.json {
        true => json(&checks),
        false => table(&checks, logging::wants_colour(stdout.is_terminal())),
    };
    stdout.lock().write_all(text.as_bytes()).map_err(|error| {
        Failure::new(ExitCode::Io, format!("stdout cannot be written: {error}"))
    })?;
    let has_failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
    Ok(if has_failed { ExitCode::Runtime } else { ExitCode::Ok })
}

/// Checks what a node needs from this machine before it starts, and raises its limit of open
/// files. What is merely not good is logged.
///
/// # Errors
/// The first check that fails, with its cause and remedy.
pub fn preflight(config: &Config) -> Result<(), Failure> {
    raise_open_files();
    for check in examine(config) {
        match check.verdict {
            Verdict::Ok => {}
            Verdict::Warn => {
                let remedy = check.remedy.unwrap_or_default();
                tracing::warn!(remedy, "{}: {}", check.name, check.found);
            }
            Verdict::Fail => return Err(failure(check)),
        }
    }
    Ok(())
}

/// Raises the limit of open files for a command that opens a cache of so many volumes.
///
/// # Errors
/// It cannot have as many open.
pub(super) fn enough_files(volumes: u32) -> Result<(), Failure> {
    raise_open_files();
    let check = checks::open_files(machine::open_files(), 1, volumes, 0);
    if check.verdict == Verdict::Fail { Err(failure(check)) } else { Ok(()) }
}

fn raise_open_files() {
    if let Err(error) = machine::raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

fn failure(check: Check) -> Failure {
    let what = format!("{}: {}", check.name, check.found);
    Failure { code: check.code, what, place: None, hint: check.remedy }
}

/// Every check, on this machine.
pub fn examine(config: &Config) -> Vec<Check> {
    let wanted = config.shard_count(config::cores());
    let shards = config.shard_count(machine::shards_at_most());
    let mut found = vec![
        checks::kernel(&machine::kernel_release()),
        checks::io_uring(&machine::ring()),
        checks::memlock(machine::memlock(), runtime::locked_bytes(1), shards, wanted),
        open_files(config, shards),
        checks::cores(shards, machine::cpus(), machine::cpu_quota()),
        checks::catalog(
            config.memory.0,
            if config.cache.is_on() { config.cache.size.0 } else { 0 },
        ),
    ];
    found.extend(disk(config));
    found.extend([
        checks::port("listen", &config.listen.to_string(), machine::bind(config.listen)),
        checks::port("admin", &config.admin.listen.to_string(), machine::bind(config.admin.listen)),
        checks::clock(machine::unix_seconds()),
    ]);
    found
}

fn open_files(config: &Config, shards: u16) -> Check {
    let cache = &config.cache;
    // How many it has was settled when it began.
    let volumes = || storage::format_in(&cache.dir).map(|format| format.volumes);
    let volumes = match cache.is_on() {
        true => volumes().unwrap_or_else(|| storage::volumes_for(cache.size.0)),
        false => 0,
    };
    checks::open_files(machine::open_files(), shards, volumes, config.limits.connections)
}

fn disk(config: &Config) -> Vec<Check> {
    let cache = &config.cache;
    if !cache.is_on() {
        return vec![checks::direct_io(&DirectIo::Off, ""), checks::space(0, 0, 0)];
    }
    let dir = machine::nearest_existing(&cache.dir);
    let free = machine::free_bytes(&dir).unwrap_or(0);
    let used = machine::used_bytes(&cache.dir, 2);
    vec![
        checks::direct_io(&machine::direct_io(&dir), &dir.display().to_string()),
        checks::space(free, used, cache.size.0),
    ]
}

/// One line per check, and its remedy below it.
fn table(checks: &[Check], colour: bool) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let word = painted(check.verdict, colour);
        writeln!(text, "{word}  {:width$}  {}", check.name, check.found).expect("a string");
        if let Some(remedy) = &check.remedy {
            writeln!(text, "      {:width$}  -> {remedy}", "").expect("a string");
        }
    }
    text
}

fn painted(verdict: Verdict, colour: bool) -> String {
    let code = match verdict {
        Verdict::Ok => 32,
        Verdict::Warn => 33,
        Verdict::Fail => 31,
    };
    match colour {
        true => format!("\x1b[{code}m{:4}\x1b[0m", verdict.word()),
        false => format!("{:4}", verdict.word()),
    }
}

fn json(checks: &[Check]) -> String {
    let worst = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    let check = |check: &Check| {
        serde_json::json!({
            "name": check.name,
            "verdict": check.verdict.word(),
            "found": check.found,
            "remedy": check.remedy,
        })
    };
    let checks: Vec<_> = checks.iter().map(check).collect();
    format!("{:#}\n", serde_json::json!({ "verdict": worst.word(), "checks": checks }))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A configuration whose ports and directory are free.
    fn quiet(dir: &tempfile::TempDir) -> Config {
        let mut config = Config::default();
        config.listen.set_port(0);
        config.admin.listen.set_port(0);
        config.cache.dir = dir.path().join("cache");
        config
    }

    fn here() -> tempfile::TempDir {
        tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap()
    }

    #[test]
    fn every_subject_is_examined_and_nothing_is_made() {
        let dir = here();
        let names: Vec<_> = examine(&quiet(&dir)).iter().map(|check| check.name).collect();
        let wanted =
            "kernel,io_uring,memlock,open files,cores,catalog,direct I/O,space,listen,admin,clock";
        assert_eq!(names.join(","), wanted);
        assert!(!dir.path().join("cache").exists());
    }

    #[test]
    fn a_port_in_use_stops_the_start_with_its_remedy() {
        let (dir, taken) = (here(), TcpListener::bind("127.0.0.1:0").unwrap());
        let mut config = quiet(&dir);
        config.listen = taken.local_addr().unwrap();
        let check = examine(&config).into_iter().find(|check| check.name == "listen").unwrap();
        let failure = failure(check);
        assert_eq!(failure.code, ExitCode::Runtime);
        assert!(failure.what.contains("in use"), "{failure}");
        assert!(failure.hint.unwrap().contains("--listen"));
    }

    #[test]
    fn a_cache_directory_below_a_file_stops_the_start_with_74() {
        let dir = here();
        let mut config = quiet(&dir);
        std::fs::write(&config.cache.dir, "a file").unwrap();
        config.cache.dir.push("below");
        let check = disk(&config).remove(0);
        assert_eq!((check.verdict, check.code), (Verdict::Fail, ExitCode::Io), "{check:?}");
    }

    #[test]
    fn json_is_for_machines_and_a_table_for_people() {
        let checks = [checks::kernel("4.1.0"), checks::clock(1_800_000_000)];
        let value: serde_json::Value = serde_json::from_str(&json(&checks)).unwrap();
        assert_eq!(value["verdict"], "fail");
        assert_eq!(value["checks"][0]["name"], "kernel");
        assert_eq!(value["checks"][1]["remedy"], serde_json::Value::Null);
        let plain = table(&checks, false);
        assert!(plain.starts_with("fail  kernel  4.1.0 is older than 5.8\n"), "{plain}");
        assert!(plain.contains("-> use Linux 5.15 on"), "{plain}");
        assert!(table(&checks, true).contains("\x1b[31mfail\x1b[0m"));
    }
}
