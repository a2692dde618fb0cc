//! What a machine's facts mean for a node: ok, warn or fail, each with its remedy.
//!
//! Pure: no I/O, no clock, no executor.

use super::failure::ExitCode;
use crate::{
    config::Size,
    storage::{FILES_PER_VOLUME, Hindrance, objects_known},
};

/// Files that each shard has open besides its volumes and connections: rings, bells, listeners, pipes.
const FILES_PER_SHARD: u64 = 64;

/// Those of the process: the log, the lock of the cache, libraries.
const FILES_OF_ITS_OWN: u64 = 64;

/// What a node with fewer could hardly serve.
const FEWEST_CONNECTIONS: u64 = 32;

/// Without these the executor does not start.
const KERNEL_MIN: (u32, u32) = (5, 8);

/// Since then locked memory is accounted to the cgroup and probing is complete.
const KERNEL_GOOD: (u32, u32) = (5, 15);

/// What an object is taken to hold on the mean: four minutes of compressed music.
const MEAN_OBJECT_BYTES: u64 = 4 << 20;

/// Certificates of today are not valid before.
const YEAR_MIN: u64 = 2025;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// A node runs, and something will be worse than it could be.
    Warn,
    /// A node does not start, or not for long.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do, if anything.
    pub remedy: Option<String>,
    /// How a start that fails because of this ends.
    pub code: ExitCode,
}

impl Verdict {
    /// The word in tables and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        let found = found.into();
        Self { name, verdict: Verdict::Ok, found, remedy: None, code: ExitCode::Runtime }
    }

    fn warn(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { verdict: Verdict::Warn, remedy, ..Self::ok(name, found) }
    }

    fn fail(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(name, found, remedy) }
    }

    fn ending(self, code: ExitCode) -> Self {
        Self { code, ..self }
    }
}

/// What asking for a ring gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ring {
    /// Why there is no ring (`errno`), or `None` if there is one.
    pub(crate) errno: Option<i32>,
    /// Operations that are needed and not there.
    pub(crate) missing: Vec<&'static str>,
    /// What the cache's own ring needs and is not there.
    pub(crate) disk_missing: Vec<&'static str>,
    /// The sysctl `kernel.io_uring_disabled`, where the kernel has it.
    pub(crate) disabled: Option<u32>,
    /// Whether a seccomp filter watches this process.
    pub(crate) is_filtered: bool,
}

/// What trying direct I/O in a directory gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DirectIo {
    /// The cache is off.
    Off,
    /// What was written came back.
    Works,
    /// The file system takes the flag and does not mean it.
    Tmpfs,
    /// The file system refuses the flag (`EINVAL`).
    Refused,
    /// A file could not be made there.
    NotWritable(String),
    /// Nor this, but that may pass while a node runs.
    NotNow {
        /// What it is.
        hindrance: Hindrance,
        /// A cache is there already.
        holds_cache: bool,
    },
    /// Something else went wrong.
    Broken(String),
}

/// The kernel by its release, such as `6.1.0-13-amd64`.
pub(crate) fn kernel(release: &str) -> Check {
    const NAME: &str = "kernel";
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return Check::warn(NAME, format!("{release}, which is no version"), "use Linux 5.15 on");
    };
    match (major, minor) {
        version if version < KERNEL_MIN => {
            Check::fail(NAME, format!("{release} is older than 5.8"), "use Linux 5.15 on")
        }
        version if version < KERNEL_GOOD => {
            Check::warn(NAME, format!("{release} is older than 5.15"), "use Linux 5.15 on")
        }
        _ => Check::ok(NAME, release),
    }
}

/// io_uring: whether there is a ring with all it needs, and who forbids it if not.
pub(crate) fn io_uring(ring: &Ring) -> Check {
    const NAME: &str = "io_uring";
    const EPERM: i32 = 1;
    const ENOSYS: i32 = 38;
    const SYSCTL: &str = "sysctl -w kernel.io_uring_disabled=0";
    match (ring.errno, ring.disabled) {
        (None, _) if ring.missing.is_empty() && ring.disk_missing.is_empty() => {
            Check::ok(NAME, "available")
        }
        (None, _) if ring.missing.is_empty() => {
            let found = format!(
                "without {}: the cache copies each read and write once more",
                ring.disk_missing.join(", ")
            );
            Check::warn(NAME, found, "use Linux 5.15 on")
        }
        (None, _) => {
            let found = format!("without {}", ring.missing.join(", "));
            Check::fail(NAME, found, "use Linux 5.15 on")
        }
        (Some(_), Some(2)) => {
            Check::fail(NAME, "kernel.io_uring_disabled is 2: forbidden to everyone", SYSCTL)
        }
        (Some(EPERM), Some(1)) => {
            let found = "kernel.io_uring_disabled is 1: forbidden without CAP_SYS_ADMIN or the \
                 group of kernel.io_uring_group";
            Check::fail(NAME, found, format!("{SYSCTL}, or add the user to that group"))
        }
        (Some(EPERM), _) if ring.is_filtered => {
            let remedy = "allow io_uring_setup, io_uring_enter and io_uring_register: \
                 docker run --security-opt seccomp=PROFILE (or seccomp=unconfined)";
            let found = "a seccomp filter forbids it, as Docker's default profile does";
            Check::fail(NAME, found, remedy)
        }
        (Some(ENOSYS), _) => Check::fail(
            NAME,
            "the kernel has none",
            "use Linux 5.15 on, built with CONFIG_IO_URING",
        ),
        (Some(errno), _) => {
            let found = format!("no ring could be made (errno {errno})");
            Check::fail(NAME, found, "look for a security module that forbids io_uring_setup")
        }
    }
}

/// How many shards may lock `each` bytes within `limit`, `None` for no limit; one in any case, which
/// then fails by [`memlock`].
pub(crate) fn lockable_shards(limit: Option<u64>, each: u64) -> usize {
    limit.map_or(usize::MAX, |limit| usize::try_from(limit / each).unwrap_or(usize::MAX).max(1))
}

/// Memory that may be locked, `None` for no limit, against the `each` bytes on which every one of the
/// `shards` insists. Without the limit there would be `wanted` of them.
pub(crate) fn memlock(limit: Option<u64>, each: u64, shards: u16, wanted: u16) -> Check {
    const NAME: &str = "memlock";
    let Some(limit) = limit else { return Check::ok(NAME, "no limit") };
    let need = |shards: u16| u64::from(shards) * each;
    let remedy = |shards| {
        let kib = need(shards) >> 10;
        format!("ulimit -l {kib} (systemd: LimitMEMLOCK=infinity, docker: --ulimit memlock=-1)")
    };
    if limit < need(shards) {
        let found = format!("{} is less than the shards' {}", Size(limit), Size(need(shards)));
        let fewer = match limit / each {
            0 => String::new(),
            fit => format!(", or --shards {fit}"),
        };
        return Check::fail(NAME, found, format!("{}{fewer}", remedy(shards)));
    }
    if shards < wanted {
        let found = format!("{} is enough for {shards} of {wanted} shards", Size(limit));
        return Check::warn(NAME, found, remedy(wanted));
    }
    Check::ok(NAME, Size(limit).to_string())
}

/// Open files, against those that a node needs before anybody comes, and a connection at each end of each
/// stream. `None` for no limit.
pub(crate) fn open_files(
    limit: Option<u64>,
    shards: u16,
    volumes: u32,
    connections: usize,
) -> Check {
    const NAME: &str = "open files";
    let volume_files = u64::from(volumes) * FILES_PER_VOLUME;
    let own = FILES_OF_ITS_OWN + u64::from(shards) * FILES_PER_SHARD + volume_files;
    let with = |connections: u64| connections.saturating_mul(2).saturating_add(own);
    let need = with(connections as u64);
    let remedy = format!("ulimit -n {need} (systemd: LimitNOFILE={need})");
    match limit {
        None => Check::ok(NAME, "no limit"),
        Some(limit) if limit < with(FEWEST_CONNECTIONS.min(connections as u64)) => {
            let found = format!(
                "{limit}, and {own} are open before anybody comes, {volume_files} of them for {volumes} volumes"
            );
            Check::fail(NAME, found, remedy)
        }
        Some(limit) if limit < need => {
            let found = format!("{limit} is less than {need} for {connections} connections");
            Check::warn(NAME, found, format!("{remedy}, or lower limits.connections"))
        }
        Some(limit) => Check::ok(NAME, limit.to_string()),
    }
}

/// Memory of the catalogs, which know what is in the cache: how many objects of a usual size, and how many of
/// them the cache would hold.
pub(crate) fn catalog(memory: u64, size: u64) -> Check {
    const NAME: &str = "catalog";
    let (known, held) = (objects_known(memory, MEAN_OBJECT_BYTES), size / MEAN_OBJECT_BYTES);
    let mean = Size(MEAN_OBJECT_BYTES);
    let found = format!("memory for {known} objects, and {} holds {held} of {mean}", Size(size));
    match size {
        0 => Check::ok(NAME, "the cache is off"),
        _ if known >= held => Check::ok(NAME, found),
        _ => {
            let mib = memory.saturating_mul(held).div_ceil(known.max(1)).div_ceil(1 << 20);
            let remedy =
                format!("--memory {mib}MiB; with less, objects leave that would have room");
            Check::warn(NAME, found, remedy)
        }
    }
}

/// Direct I/O on the cache directory.
pub(crate) fn direct_io(tried: &DirectIo, dir: &str) -> Check {
    const NAME: &str = "direct I/O";
    let elsewhere = "put cache.dir on ext4, xfs or btrfs, or turn the cache off by size 0B";
    let check = match tried {
        DirectIo::Off => Check::ok(NAME, "the cache is off"),
        DirectIo::Works => Check::ok(NAME, format!("works in {dir}")),
        DirectIo::Tmpfs => {
            Check::fail(NAME, format!("{dir} is a tmpfs, which ignores O_DIRECT"), elsewhere)
        }
        DirectIo::Refused => {
            Check::fail(NAME, format!("the file system of {dir} knows no O_DIRECT"), elsewhere)
        }
        DirectIo::NotWritable(why) => {
            let found = format!("{dir} cannot be written: {why}");
            Check::fail(NAME, found, "give this user the directory, or name another by --cache DIR")
        }
        DirectIo::NotNow { hindrance, holds_cache } => {
            return not_now(*hindrance, *holds_cache, dir);
        }
        DirectIo::Broken(why) => {
            Check::fail(NAME, format!("in {dir}: {why}"), format!("check the disk; {elsewhere}"))
        }
    };
    check.ending(ExitCode::Io)
}

/// A restart on a full or read-only disk is to serve what is there, or at least from the origins.
fn not_now(hindrance: Hindrance, holds_cache: bool, dir: &str) -> Check {
    let state = match hindrance {
        Hindrance::Full => "has no space left",
        Hindrance::ReadOnly => "is read-only",
    };
    let (outcome, again) = match (holds_cache, hindrance) {
        (true, Hindrance::Full) => {
            ("the cache goes on in the space it has", "tried again each 10 s")
        }
        (true, Hindrance::ReadOnly) => ("the cache gives what it has", "tried again each 10 s"),
        (false, _) => ("a node runs without a cache", "then start it again"),
    };
    let found = format!("{dir} {state}: {outcome}");
    Check::warn("direct I/O", found, format!("{}; {again}", hindrance.remedy()))
}

/// Room for the cache: what is free and what the cache has already, in bytes.
pub(crate) fn space(free: u64, used: u64, size: u64) -> Check {
    const NAME: &str = "space";
    // Within one percent a person sees the same number; whole MiB are readable.
    let room = free.saturating_add(used);
    let shown = Size(room >> 20 << 20);
    match room {
        _ if size == 0 => Check::ok(NAME, "the cache is off"),
        room if room < size => {
            let found = format!("{shown} for a cache of {}", Size(size));
            Check::warn(NAME, found, format!("make room, or --cache-size {shown}"))
        }
        _ => Check::ok(NAME, format!("{shown} for a cache of {}", Size(size))),
    }
}

/// A port, by what binding it gave: nothing, or the error's `errno` and its text.
pub(crate) fn port(name: &'static str, address: &str, bound: Result<(), (i32, String)>) -> Check {
    const EACCES: i32 = 13;
    const EADDRINUSE: i32 = 98;
    const EADDRNOTAVAIL: i32 = 99;
    let Err((errno, text)) = bound else { return Check::ok(name, format!("{address} is free")) };
    match errno {
        EADDRINUSE => Check::fail(
            name,
            format!("{address} is in use"),
            format!("stop what listens there (ss -ltnp), or choose another by --{name} ADDR"),
        ),
        EACCES => Check::fail(
            name,
            format!("{address} is not allowed to this user"),
            "choose a port from 1024 on, or give CAP_NET_BIND_SERVICE",
        ),
        EADDRNOTAVAIL => Check::fail(
            name,
            format!("{address} is no address of this machine"),
            format!("choose one that `ip addr` shows, by --{name} ADDR"),
        ),
        _ => Check::fail(name, format!("{address}: {text}"), format!("choose another --{name}")),
    }
}

/// The clock, in seconds since 1970. A wrong one breaks TLS, freshness and signatures.
pub(crate) fn clock(unix_seconds: u64) -> Check {
    const NAME: &str = "clock";
    const YEAR_SECONDS: u64 = 31_556_952; // The Gregorian mean.
    let year = 1970 + unix_seconds / YEAR_SECONDS;
    match year {
        year if year < YEAR_MIN => {
            let found = format!("says {year}: certificates are not valid yet");
            Check::warn(NAME, found, "set it (timedatectl set-ntp true)")
        }
        _ => Check::ok(NAME, format!("says {year}")),
    }
}

/// Cores: those this process may run on, and its cgroup's quota in cores.
pub(crate) fn cores(shards: u16, cpus: usize, quota: Option<f64>) -> Check {
    const NAME: &str = "cores";
    if usize::from(shards) > cpus {
        let found = format!("{shards} shards, and {cpus} cores to pin them to");
        return Check::fail(NAME, found, format!("--shards {cpus}")).ending(ExitCode::Config);
    }
    match quota {
        Some(quota) if quota + 0.01 < f64::from(shards) => {
            let whole = (quota.floor() as u16).max(1);
            let found =
                format!("{shards} shards, and a cgroup quota of {quota:.2} cores: they stall");
            Check::warn(NAME, found, format!("--shards {whole}, or raise the quota"))
        }
        Some(quota) => Check::ok(NAME, format!("{shards} shards, {cpus} cores, quota {quota:.2}")),
        None => Check::ok(NAME, format!("{shards} shards, {cpus} cores")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict::*, *};

    #[test]
    fn kernels_by_their_release() {
        for (release, verdict) in [
            ("6.18.0", Ok),
            ("5.15.0-91-generic", Ok),
            ("5.10.0-28-amd64", Warn),
            ("5.4.0", Fail),
            ("4.19.0", Fail),
            ("unknown", Warn),
            ("", Warn),
        ] {
            assert_eq!(kernel(release).verdict, verdict, "{release}");
        }
    }

    #[test]
    fn a_missing_ring_names_who_forbids_it() {
        let ring = |errno, disabled, is_filtered| Ring {
            errno: Some(errno),
            disabled,
            is_filtered,
            ..Ring::default()
        };
        for (ring, word) in [
            (ring(1, Some(2), false), "forbidden to everyone"),
            (ring(1, Some(1), false), "io_uring_group"),
            (ring(1, Some(0), true), "Docker's default profile"),
            (ring(1, None, true), "Docker's default profile"),
            (ring(1, Some(0), false), "errno 1"),
            (ring(38, None, false), "the kernel has none"),
            (Ring { missing: vec!["STATX"], ..Ring::default() }, "without STATX"),
        ] {
            let check = io_uring(&ring);
            assert_eq!(check.verdict, Fail, "{ring:?}");
            assert!(check.found.contains(word), "{ring:?}: {}", check.found);
            assert!(check.remedy.is_some());
        }
        assert_eq!(io_uring(&Ring::default()).verdict, Ok);
        let copies = io_uring(&Ring { disk_missing: vec!["NODROP"], ..Ring::default() });
        assert!(copies.verdict == Warn && copies.found.contains("without NODROP"), "{copies:?}");
    }

    #[test]
    fn limits_against_what_is_needed() {
        let cases = [
            (open_files(None, 2, 256, 10_000), Ok),
            (open_files(Some(256), 2, 32, 10_000), Fail),
            (open_files(Some(1024), 2, 32, 10_000), Warn),
            (open_files(Some(1024), 2, 256, 10_000), Fail),
            (open_files(Some(65_536), 2, 256, 10_000), Ok),
            (open_files(Some(65_536), 2, 256, usize::MAX), Warn),
            (catalog(1 << 30, 1 << 40), Ok),
            (catalog(128 << 20, 1 << 40), Warn),
            (catalog(128 << 20, 10 << 30), Ok),
            (catalog(128 << 20, 0), Ok),
        ];
        for (check, verdict) in cases {
            assert_eq!(check.verdict, verdict, "{check:?}");
        }
        let files = open_files(Some(1024), 2, 256, 10_000);
        assert!(files.found.contains("1024 of them for 256 volumes"), "{files:?}");
        assert!(files.remedy.unwrap().contains("ulimit -n 21216"));
        let more = catalog(128 << 20, 1 << 40).remedy.unwrap();
        let mib: u64 = more.split(['y', 'M']).nth(1).unwrap().trim().parse().unwrap();
        assert_eq!(catalog(mib << 20, 1 << 40).verdict, Ok, "{more}");
    }

    #[test]
    fn as_many_shards_as_memory_may_be_locked_for() {
        const MIB: u64 = 1 << 20;
        let fit = |limit| lockable_shards(limit, MIB);
        assert_eq!([0, MIB - 1, MIB, 8 * MIB + 1].map(|limit| fit(Some(limit))), [1, 1, 1, 8]);
        assert_eq!(fit(None), usize::MAX);
        for (limit, shards, wanted, verdict, remedy) in [
            (None, 64, 64, Ok, ""),
            (Some(8 * MIB), 8, 8, Ok, ""),
            (Some(8 * MIB), 8, 12, Warn, "ulimit -l 12288 (systemd: LimitMEMLOCK="),
            (Some(8 * MIB), 12, 12, Fail, "memlock=-1), or --shards 8"),
            (Some(64 << 10), 1, 2, Fail, "ulimit -l 1024 "),
        ] {
            let check = memlock(limit, MIB, shards, wanted);
            assert_eq!(check.verdict, verdict, "{check:?}");
            assert!(check.remedy.clone().unwrap_or_default().contains(remedy), "{check:?}");
        }
        let none = memlock(Some(64 << 10), MIB, 1, 2).remedy.unwrap();
        assert!(!none.contains("--shards"), "{none}");
    }

    #[test]
    fn a_cache_directory_that_does_not_work_ends_with_74() {
        for (tried, verdict) in [
            (DirectIo::Off, Ok),
            (DirectIo::Works, Ok),
            (DirectIo::Tmpfs, Fail),
            (DirectIo::Refused, Fail),
            (DirectIo::NotWritable("denied".into()), Fail),
            (DirectIo::Broken("short read".into()), Fail),
        ] {
            let check = direct_io(&tried, "/c");
            assert_eq!((check.verdict, check.code), (verdict, ExitCode::Io), "{tried:?}");
        }
    }

    #[test]
    fn a_full_or_read_only_disk_is_no_reason_not_to_start() {
        for (hindrance, remedy) in [(Hindrance::Full, "free"), (Hindrance::ReadOnly, "mount")] {
            for (holds_cache, outcome) in [(true, "the cache"), (false, "without a cache")] {
                let check = direct_io(&DirectIo::NotNow { hindrance, holds_cache }, "/c");
                assert_eq!(check.verdict, Warn, "{check:?}");
                assert!(check.found.contains(outcome) && check.remedy.unwrap().contains(remedy));
            }
        }
    }

    #[test]
    fn what_the_cache_has_already_counts_as_room() {
        assert_eq!(space(5 << 30, 0, 10 << 30).verdict, Warn);
        assert_eq!(space(5 << 30, 5 << 30, 10 << 30).verdict, Ok);
        assert_eq!(space(0, 0, 0).verdict, Ok);
        assert_eq!(space(u64::MAX, u64::MAX, 1).verdict, Ok);
    }

    #[test]
    fn ports_say_why_they_cannot_be_had() {
        for (errno, word) in [(98, "in use"), (13, "not allowed"), (99, "no address"), (5, "odd")] {
            let check = port("listen", "127.0.0.1:1", Err((errno, "odd".into())));
            assert_eq!(check.verdict, Fail);
            assert!(check.found.contains(word), "{check:?}");
        }
        assert_eq!(port("admin", "127.0.0.1:1", Result::Ok(())).verdict, Ok);
    }

    #[test]
    fn more_shards_than_cores_is_a_bad_configuration() {
        let check = cores(3, 2, None);
        assert_eq!((check.verdict, check.code), (Fail, ExitCode::Config));
        assert_eq!(cores(2, 2, Some(1.5)).verdict, Warn);
        assert_eq!(cores(2, 2, Some(1.5)).remedy.unwrap(), "--shards 1, or raise the quota");
        assert_eq!(cores(2, 2, Some(2.0)).verdict, Ok);
        assert_eq!(cores(2, 4, None).verdict, Ok);
    }

    #[test]
    fn a_clock_at_1970_is_seen() {
        assert_eq!(clock(0).verdict, Warn);
        assert_eq!(clock(1_800_000_000).verdict, Ok);
    }
}
