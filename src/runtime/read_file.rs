//! A file of somebody else, read in place: a library's.
//!
//! Through the page cache, unlike the node's own files: the operator's other programs read these
//! too, and the node caches nothing of them.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd},
    path::Path,
};

use glommio::io::BufferedFile;
use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2},
    io::Errno,
};

use super::blocking;
use crate::bufpool::{Block, BufPool, Class, Exhausted};

/// Why bytes of an open file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is not any more what was opened: what was read before must not be continued.
    #[error("the file changed while it was read")]
    Changed,
    /// There is no block to read into.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The disk failed.
    #[error("the file cannot be read: {0}")]
    Io(io::Error),
}

/// A file open for reading, and the version of it that was opened.
pub struct ReadFile {
    file: BufferedFile,
    version: Version,
}

/// What a change of the file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, u64),
}

impl Version {
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            length: stat.st_size.max(0) as u64,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
        }
    }
}

impl ReadFile {
    /// Opens `path` below `root`. No `..`, no absolute path and no link leads out of it: the kernel
    /// resolves the path and holds it inside.
    ///
    /// # Errors
    /// `NotFound` for what is not there or is no regular file, `CrossesDevices` for a path or a link
    /// that leads out or in a circle, `InvalidInput` for a NUL, and whatever else the file system
    /// says.
    pub async fn open_beneath(root: &Path, path: &str) -> io::Result<Self> {
        let root = root.to_owned();
        let path = CString::new(path).map_err(|_| io::ErrorKind::InvalidInput)?;
        let opened = blocking(move || open_regular(&root, &path)).await;
        let (fd, stat) = opened.unwrap_or_else(|_| Err(io::Error::other("opening panicked")))?;
        // SAFETY: `into_raw_fd` gives up the only ownership of an open descriptor.
        let file = unsafe { BufferedFile::from_raw_fd(fd.into_raw_fd()) };
        Ok(Self { file, version: Version::of(&stat) })
    }

    /// Its length in bytes, as it was opened.
    pub fn length(&self) -> u64 {
        self.version.length
    }

    /// When it was last changed, in whole seconds since 1970; 0 for anything before.
    pub fn modified_seconds(&self) -> u64 {
        u64::try_from(self.version.modified.0).unwrap_or(0)
    }

    /// Names this version of the file.
    pub fn version(&self) -> String {
        let Version { device, inode, length, modified: (seconds, nanoseconds) } = self.version;
        format!("{device:x}-{inode:x}-{length:x}-{seconds:x}.{nanoseconds:x}")
    }

    /// Reads up to `max` bytes at `position` into a block; `None` at the end.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_at(
        &self,
        position: u64,
        max: usize,
        pool: &BufPool,
    ) -> Result<Option<Block>, ReadError> {
        let left = self.version.length.saturating_sub(position);
        let count = left.min(max.min(Class::Large.bytes()) as u64) as usize;
        if count == 0 {
            return Ok(None);
        }
        let mut block = pool.take(Class::holding(count))?;
        let read = self.file.read_at(position, count).await;
        let read = read.map_err(|error| ReadError::Io(error.into()))?;
        // Looked at after the read: what changed before it is then seen.
        if read.is_empty() || self.has_changed() {
            return Err(ReadError::Changed);
        }
        block[..read.len()].copy_from_slice(&read);
        Ok(Some(block.freeze(read.len())))
    }

    fn has_changed(&self) -> bool {
        // SAFETY: the descriptor is open as long as `self.file`, which outlives the borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(self.file.as_raw_fd()) };
        fstat(fd).is_ok_and(|stat| Version::of(&stat) != self.version)
    }
}

fn open_regular(root: &Path, path: &CString) -> io::Result<(OwnedFd, Stat)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let root = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let fd = openat2(&root, path.as_c_str(), flags, Mode::empty(), beneath).map_err(|errno| {
        match errno {
            // What the kernel says to a way out (openat2(2)), and to a link into itself.
            Errno::XDEV | Errno::LOOP => io::Error::from(io::ErrorKind::CrossesDevices),
            errno => io::Error::from(errno),
        }
    })?;
    let stat = fstat(&fd)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((fd, stat)),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}
