//! Looks at this machine: the facts that `checks` judges.

use std::{
    fs,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use io_uring::{IoUring, Probe, opcode};
use rustix::{
    fs::{Mode, OFlags},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::checks::{self, DirectIo, Ring};
use crate::{
    config, runtime,
    storage::{self, Hindrance},
};

/// What direct I/O is aligned to; every block device of today takes it.
const ALIGNMENT_BYTES: usize = 4096;

/// `f_type` of a tmpfs (linux/magic.h).
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Operations the executor uses.
const OPERATIONS: &[(&str, u8)] = &[
    ("READ_FIXED", opcode::ReadFixed::CODE),
    ("WRITE_FIXED", opcode::WriteFixed::CODE),
    ("READ", opcode::Read::CODE),
    ("WRITE", opcode::Write::CODE),
    ("FSYNC", opcode::Fsync::CODE),
    ("FALLOCATE", opcode::Fallocate::CODE),
    ("OPENAT", opcode::OpenAt::CODE),
    ("CLOSE", opcode::Close::CODE),
    ("STATX", opcode::Statx::CODE),
    ("ACCEPT", opcode::Accept::CODE),
    ("CONNECT", opcode::Connect::CODE),
    ("SEND", opcode::Send::CODE),
    ("RECV", opcode::Recv::CODE),
    ("SENDMSG", opcode::SendMsg::CODE),
    ("RECVMSG", opcode::RecvMsg::CODE),
    ("POLL_ADD", opcode::PollAdd::CODE),
    ("POLL_REMOVE", opcode::PollRemove::CODE),
    ("TIMEOUT", opcode::Timeout::CODE),
    ("TIMEOUT_REMOVE", opcode::TimeoutRemove::CODE),
    ("LINK_TIMEOUT", opcode::LinkTimeout::CODE),
];

/// The kernel's release, such as `6.1.0-13-amd64`.
pub(crate) fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Makes a ring and asks what it can.
pub(crate) fn ring() -> Ring {
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let filter = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    let made = missing_operations();
    Ring {
        errno: made.as_ref().err().map(|error| error.raw_os_error().unwrap_or(0)),
        missing: made.unwrap_or_default(),
        disk_missing: storage::Ring::support()
            .map_or_else(|_| Vec::new(), |support| support.missing),
        disabled: disabled.ok().and_then(|text| text.trim().parse().ok()),
        is_filtered: filter.is_some_and(|mode| mode.trim() == "2"),
    }
}

fn missing_operations() -> io::Result<Vec<&'static str>> {
    let ring = IoUring::new(8)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let missing = OPERATIONS.iter().filter(|(_, code)| !probe.is_supported(*code));
    Ok(missing.map(|(name, _)| *name).collect())
}

/// Bytes that may be locked, after the start has raised the soft limit; `None` for no limit.
pub(crate) fn memlock() -> Option<u64> {
    getrlimit(Resource::Memlock).maximum
}

/// How many shards there is room for: a core each, and the memory that one has to lock.
pub(crate) fn shards_at_most() -> usize {
    config::cores().min(checks::lockable_shards(memlock(), runtime::locked_bytes(1)))
}

/// Files that may be open, after [`raise_open_files`]; `None` for no limit.
pub(crate) fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// Raises the soft limit of open files to the hard one. The soft one is low only for programs
/// that use `select`; this process and its children do not.
///
/// # Errors
/// The kernel's; the limit is as it was.
pub fn raise_open_files() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

/// Writes one aligned block by direct I/O in `dir`, and reads it back. Leaves nothing behind.
pub(crate) fn direct_io(dir: &Path) -> DirectIo {
    let path = dir.join(format!(".kithara-probe-{}", std::process::id()));
    // A non-empty file by ordinary means comes first: it says whether the directory can be
    // written at all, apart from what the file system thinks of direct I/O.
    let created = fs::File::create_new(&path).and_then(|mut file| file.write_all(&[0; 512]));
    if let Err(error) = created {
        let _ = fs::remove_file(&path);
        if let Some(hindrance) = Hindrance::of(&error) {
            return DirectIo::NotNow { hindrance, holds_cache: dir.join("FORMAT").exists() };
        }
        // The directory is there, so it is not what is missing: `/proc` and its like say this.
        let takes_none = error.kind() == io::ErrorKind::NotFound && dir.is_dir();
        return DirectIo::NotWritable(match takes_none {
            true => "its file system takes no files".to_owned(),
            false => error.to_string(),
        });
    }
    let tried = write_and_read_back(&path);
    let removed = fs::remove_file(&path);
    match (tried, rustix::fs::statfs(dir), removed) {
        (Ok(true), Ok(about), _) if about.f_type == TMPFS_MAGIC => DirectIo::Tmpfs,
        (Ok(true), _, Ok(())) => DirectIo::Works,
        (Ok(true), _, Err(error)) => DirectIo::Broken(error.to_string()),
        (Ok(false), ..) => DirectIo::Broken("what was written did not come back".to_owned()),
        (Err(error), ..) if error.kind() == io::ErrorKind::InvalidInput => DirectIo::Refused,
        (Err(error), ..) => DirectIo::Broken(error.to_string()),
    }
}

fn write_and_read_back(path: &Path) -> io::Result<bool> {
    let file =
        rustix::fs::open(path, OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty())?;
    let mut space = vec![0_u8; 3 * ALIGNMENT_BYTES];
    let start = space.as_ptr().align_offset(ALIGNMENT_BYTES);
    let (written, read) = space[start..start + 2 * ALIGNMENT_BYTES].split_at_mut(ALIGNMENT_BYTES);
    written.fill(0xA5);
    let out = rustix::io::pwrite(&file, &*written, 0)?;
    let back = rustix::io::pread(&file, &mut *read, 0)?;
    Ok(out == ALIGNMENT_BYTES && back == ALIGNMENT_BYTES && written == read)
}

/// `dir`, or the nearest folder above it that is there: where it would be made.
pub(crate) fn nearest_existing(dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    let existing = absolute.ancestors().find(|path| path.exists());
    existing.map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
}

/// Bytes free to this user where `dir` is.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(dir)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// Bytes a cache takes in `dir` already: two levels, as its volumes lie.
pub(crate) fn used_bytes(dir: &Path, levels: u32) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let bytes = entries.flatten().filter_map(|entry| {
        let about = entry.metadata().ok()?;
        match about.is_dir() {
            true if levels > 1 => Some(used_bytes(&entry.path(), levels - 1)),
            true => None,
            false => Some(about.blocks() * 512),
        }
    });
    bytes.fold(0, u64::saturating_add)
}

/// Binds `address` and lets it go again.
pub(crate) fn bind(address: SocketAddr) -> Result<(), (i32, String)> {
    let bound = TcpListener::bind(address).map(drop);
    bound.map_err(|error| (error.raw_os_error().unwrap_or(0), error.to_string()))
}

/// Seconds since 1970; 0 if the clock stands before.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Cores this process may be scheduled on, whatever its quota.
pub(crate) fn cpus() -> usize {
    let affinity = rustix::thread::sched_getaffinity(None);
    affinity.map_or_else(|_| config::cores(), |set| set.count() as usize)
}

/// The least CPU quota of this process's cgroup and those above it, in cores (cgroup v2).
pub(crate) fn cpu_quota() -> Option<f64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let quotas = Path::new(group).ancestors().filter_map(|group| {
        let group = group.strip_prefix("/").unwrap_or(group);
        let file = Path::new("/sys/fs/cgroup").join(group).join("cpu.max");
        quota_of(&fs::read_to_string(file).ok()?)
    });
    quotas.min_by(f64::total_cmp)
}

/// `cpu.max`: a quota and its period in microseconds, or `max` for none.
fn quota_of(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then_some(quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_io_leaves_nothing_behind() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let tried = direct_io(dir.path());
        assert!(!matches!(tried, DirectIo::NotWritable(_)), "{tried:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let tried = direct_io(&dir.path().join("none"));
        assert!(matches!(tried, DirectIo::NotWritable(_)), "{tried:?}");
    }

    #[test]
    fn a_tmpfs_is_recognised_although_it_takes_the_flag() {
        let dir = Path::new("/dev/shm");
        let is_tmpfs = rustix::fs::statfs(dir).is_ok_and(|a| a.f_type == TMPFS_MAGIC);
        match is_tmpfs {
            // Kernels before 6.6 refuse O_DIRECT on a tmpfs.
            true => assert!(matches!(direct_io(dir), DirectIo::Tmpfs | DirectIo::Refused)),
            false => eprintln!("skipped: /dev/shm is no tmpfs here"),
        }
    }

    #[test]
    fn a_port_that_is_taken_is_in_use() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let (errno, _) = bind(taken.local_addr().unwrap()).unwrap_err();
        assert_eq!(errno, rustix::io::Errno::ADDRINUSE.raw_os_error());
        bind("127.0.0.1:0".parse().unwrap()).unwrap();
    }

    #[test]
    fn a_directory_to_be_made_is_judged_by_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(nearest_existing(&dir.path().join("a/b")), dir.path());
        fs::write(dir.path().join("data"), [1; 5000]).unwrap();
        assert!(used_bytes(dir.path(), 2) >= 4096);
        assert_eq!(used_bytes(&dir.path().join("none"), 2), 0);
    }

    #[test]
    fn quotas_are_read_in_cores() {
        assert_eq!(quota_of("150000 100000\n"), Some(1.5));
        assert_eq!(quota_of("max 100000\n"), None);
        assert_eq!(quota_of("1 0"), None);
        assert_eq!(quota_of(""), None);
    }

    #[test]
    fn this_machine_answers() {
        assert!(!kernel_release().is_empty());
        assert!(cpus() >= 1);
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
        let ring = ring();
        assert!(ring.errno.is_some() || ring.missing.is_empty(), "{ring:?}");
    }
}
