//! The release binary, as a node.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The binary that was built beside this program, built again if its sources changed.
///
/// # Panics
/// When it does not build.
pub fn binary() -> PathBuf {
    let here = env::current_exe().expect("this program has a path");
    let release = here.ancestors().nth(2).expect("benches lie in target/release/deps").to_owned();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut build = Command::new(cargo);
    // Cargo tells a bench about its own package; a build script that watches those names would
    // take them for a change and be built again, with all that stands on it.
    let told = |name: &str| name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_");
    for (name, _) in env::vars().filter(|(name, _)| told(name)) {
        build.env_remove(name);
    }
    let status = build
        .args(["build", "--release", "--quiet", "--package", "kithara", "--target-dir"])
        .arg(release.parent().expect("release lies in the target directory"))
        .current_dir(workspace)
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "cargo build --release");
    release.join("kithara")
}

/// What a process has used and holds.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// CPU time of all its threads.
    pub cpu: Duration,
    /// Memory of its own, in bytes.
    pub private_bytes: u64,
    /// The most memory that it ever had in RAM, what it maps of files among it, in bytes.
    pub peak_bytes: u64,
    /// Times that a thread of it went to sleep.
    pub sleeps: u64,
    /// Threads.
    pub threads: usize,
}

/// A running node; it is killed in the end.
pub struct Node {
    /// Where clients come in.
    pub listen: SocketAddr,
    child: Child,
}

impl Node {
    /// A node of so many shards with `library` as `local:`, and the working directory `scratch`.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn start(shards: usize, library: &Path, scratch: &Path) -> Self {
        let cache = scratch.join("cache");
        let library = format!("local={}", library.display());
        let sizes = ["--cache-size", "256MiB", "--memory", "512MiB", "--cache"].map(OsStr::new);
        let rest = [cache.as_os_str(), OsStr::new("--library"), OsStr::new(&library)];
        Self::spawn(shards, &[&sizes[..], &rest].concat(), scratch)
    }

    /// A node of so many shards over a cache directory, with sizes as its command line takes them.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn open(shards: usize, cache: &Path, cache_size: &str, memory: &str) -> Self {
        let sizes = ["--cache-size", cache_size, "--memory", memory, "--cache"].map(OsStr::new);
        Self::spawn(shards, &[&sizes[..], &[cache.as_os_str()]].concat(), cache)
    }

    /// A node of one shard that has the origin at `base` as `music:`.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn before(base: &str, scratch: &Path) -> Self {
        let (cache, origin) = (scratch.join("cache"), format!("music={base}"));
        let sizes = ["--cache-size", "1GiB", "--memory", "512MiB", "--cache"].map(OsStr::new);
        let rest = [cache.as_os_str(), OsStr::new("--origin"), OsStr::new(&origin)];
        Self::spawn(1, &[&sizes[..], &rest].concat(), scratch)
    }

    fn spawn(shards: usize, arguments: &[&OsStr], scratch: &Path) -> Self {
        let mut child = Command::new(binary())
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--shards"])
            .arg(shards.to_string())
            .args(arguments)
            .current_dir(scratch)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("it was asked for");
        BufReader::new(stdout).read_line(&mut ready).expect("a line");
        let listen = ready.split("listen=").nth(1).and_then(|rest| rest.split(' ').next());
        let listen = listen.and_then(|address| address.parse().ok());
        Self { listen: listen.expect("the node says where it listens"), child }
    }

    /// What it has used so far.
    ///
    /// # Panics
    /// When it is gone.
    pub fn usage(&self) -> Usage {
        let dir = PathBuf::from(format!("/proc/{}", self.child.id()));
        let read = |path: PathBuf| fs::read_to_string(path).expect("the node runs");
        let tasks: Vec<_> = fs::read_dir(dir.join("task"))
            .expect("the node runs")
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
            .collect();
        Usage {
            cpu: cpu_of(self.child.id()),
            private_bytes: field(&read(dir.join("smaps_rollup")), "Anonymous:") << 10,
            peak_bytes: field(&read(dir.join("status")), "VmHWM:") << 10,
            sleeps: tasks.iter().map(|status| field(status, "voluntary_ctxt_switches:")).sum(),
            threads: tasks.len(),
        }
    }
}

/// CPU time of a process, all its threads and those that ended.
///
/// # Panics
/// When it is gone.
pub fn cpu_of(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let after_name = stat.rsplit(')').next().expect("a line");
    let ticks = |index| after_name.split(' ').nth(index).and_then(|t| t.parse::<u64>().ok());
    let ticks = ticks(12).zip(ticks(13)).map_or(0, |(user, system)| user + system);
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1))
}

/// Leaves the first CPU to a node, whose one shard is pinned to it: this thread, and those that it starts,
/// go to the others.
pub fn leave_first_cpu() {
    let Ok(mut cpus) = sched_getaffinity(None) else { return };
    let first = (0..CpuSet::MAX_CPU).find(|cpu| cpus.is_set(*cpu));
    if let Some(first) = first.filter(|_| cpus.count() > 1) {
        cpus.unset(first);
        let _ = sched_setaffinity(None, &cpus);
    }
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
