//! Files for direct I/O: how they are made, and how one sees that it works.

use std::{
    fs,
    io::{self, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{Error, Hindrance, disk::ALIGNMENT, error::cannot_write};

/// What the probe file holds: not empty, and not what an unwritten block would hold.
pub(super) const PROBE: [u8; ALIGNMENT as usize] = [0xA5; ALIGNMENT as usize];

/// A file that direct I/O is tried on.
pub(super) enum Sample {
    /// It holds [`PROBE`], and has no name any more: nothing of it is left however the process ends.
    Probe(fs::File),
    /// Where nothing can be written: one that the cache has already.
    Existing(PathBuf),
}

impl Sample {
    /// `None` where nothing can be written for now, and nothing was.
    ///
    /// # Errors
    /// `dir` can never be written.
    pub(super) fn of(dir: &Path) -> Result<Option<Self>, Error> {
        let name = format!("{STRAY}{}", rustix::thread::gettid().as_raw_nonzero());
        match Self::probe(&dir.join(name)) {
            Ok(file) => Ok(Some(Self::Probe(file))),
            Err(error) if Hindrance::of(&error).is_some() => Ok(existing(dir).map(Self::Existing)),
            Err(error) => Err(cannot_write(dir, &error)),
        }
    }

    fn probe(path: &Path) -> io::Result<fs::File> {
        let mut options = fs::OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(true).open(path)?;
        let written = file.write_all(&PROBE);
        fs::remove_file(path)?;
        written.map(|()| file)
    }

    /// Where it is opened by.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Probe(file) => by_descriptor(file),
            Self::Existing(path) => path.clone(),
        }
    }

    /// What a read of its first bytes says of direct I/O.
    ///
    /// # Errors
    /// Why that does not work. A device that fails otherwise is no reason against it.
    pub(super) fn judge(&self, read: Result<&[u8], &io::Error>) -> Result<(), String> {
        use io::ErrorKind::{InvalidInput, Unsupported};
        match (self, read) {
            (Self::Probe(_), Ok(bytes)) if *bytes != PROBE => {
                Err(not_direct("a file came back with other bytes"))
            }
            (Self::Probe(_), Err(error)) => Err(not_direct(&error.to_string())),
            (Self::Existing(_), Err(error))
                if [InvalidInput, Unsupported].contains(&error.kind()) =>
            {
                Err(not_direct(&error.to_string()))
            }
            _ => Ok(()),
        }
    }
}

/// How the names of probes begin.
const STRAY: &str = ".probe.";

/// Removes what starts that were killed may have left.
pub(super) fn sweep(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(STRAY)) {
            // It is 4 KiB, and was of no use: no reason to say anything.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A file of the cache that is not empty.
fn existing(dir: &Path) -> Option<PathBuf> {
    let superblocks = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path().join("super"));
    let mut sound =
        superblocks.filter(|path| fs::metadata(path).is_ok_and(|file| file.len() >= ALIGNMENT));
    sound.next()
}

/// The name by which this process can open an open file anew, whatever became of its own.
pub(super) fn by_descriptor(file: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Makes sure the file exists and is at most `capacity` bytes; says how long it is, and whether it can
/// be written. One on a file system that is read-only now can be read.
///
/// # Errors
/// It cannot be written, nor read where that may pass.
pub(super) fn create(path: &Path, capacity: u64) -> Result<(u64, bool), Error> {
    let mut options = fs::OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).open(path);
    let (file, is_writable) = match opened {
        Err(error) if Hindrance::of(&error) == Some(Hindrance::ReadOnly) => {
            (fs::File::open(path).map_err(|_| cannot_write(path, &error))?, false)
        }
        opened => (opened.map_err(|error| cannot_write(path, &error))?, true),
    };
    let cut = || {
        let length = file.metadata()?.len();
        if length > capacity && is_writable {
            file.set_len(capacity)?;
        }
        io::Result::Ok(length.min(capacity))
    };
    let length = cut().map_err(|error| cannot_write(path, &error))?;
    Ok((length, is_writable))
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

/// How much of a write of `length` bytes is to be written still, when `written` of them were. What was taken
/// in part was cut off by something, and only the write of the rest says whether that is a full device.
pub(super) fn rest(written: usize, length: usize) -> io::Result<usize> {
    match written {
        0 if length > 0 => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(length.saturating_sub(written)),
    }
}

pub(super) fn not_direct(detail: &str) -> String {
    format!("does not work with direct I/O ({detail}); choose a directory on a local disk")
}
