//! Files for direct I/O: how they are made, and how one sees that it works.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::disk::ALIGNMENT;

/// What the probe file holds: not empty, and not what an unwritten block would hold.
pub(super) const PROBE: [u8; ALIGNMENT as usize] = [0xA5; ALIGNMENT as usize];

/// The probe's file; removed when dropped.
pub(super) struct Temporary(PathBuf);

impl Temporary {
    pub(super) fn create(dir: &Path) -> io::Result<Self> {
        let thread = rustix::thread::gettid().as_raw_nonzero();
        let path = dir.join(format!(".probe.{thread}"));
        fs::write(&path, PROBE)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A left-over is 4 KiB, and the next probe of this thread's number overwrites it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes sure the file exists and is at most `capacity` bytes; says how long it is.
pub(super) fn create(path: &Path, capacity: u64) -> io::Result<u64> {
    let mut options = fs::OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
    let length = file.metadata()?.len();
    if length > capacity {
        file.set_len(capacity)?;
    }
    Ok(length.min(capacity))
}

/// Whether the open file really is in direct mode: some file systems drop the flag silently.
pub(super) fn is_direct(fd: i32) -> io::Result<bool> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
    Ok(flags & OFlags::DIRECT.bits() != 0)
}

/// Whether the file lies in memory: since Linux 6.6 a tmpfs takes the flag and does not mean it.
pub(super) fn is_in_memory(file: &fs::File) -> io::Result<bool> {
    const TMPFS_MAGIC: i64 = 0x0102_1994; // linux/magic.h
    Ok(rustix::fs::fstatfs(file)?.f_type == TMPFS_MAGIC)
}

/// Whether all of a write was taken.
pub(super) fn whole(written: usize, length: usize) -> io::Result<()> {
    // A regular file takes less than it was given only where the device is full.
    if written < length { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

pub(super) fn cannot_write(error: &io::Error) -> String {
    format!("cannot be written: {error}; choose another with --cache, or correct its permissions")
}

pub(super) fn not_direct(detail: &str) -> String {
    format!("does not work with direct I/O ({detail}); choose a directory on a local disk")
}
