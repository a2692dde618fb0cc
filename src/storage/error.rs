//! What can go wrong with storage, as the callers tell it apart.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::bufpool::Exhausted;

/// Why an operation on storage was refused.
///
/// Trouble with the disk is not among the errors of a resource: it turns the cache off for the
/// object, is counted in [`Stats`](super::Stats), and the bytes go through memory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The buffer memory of the shard is used up. Wait, shed load or refuse; then do it again.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The resource is known to have another length: it changed at its origin.
    #[error("the length was {known} bytes and is said to be {said}")]
    LengthChanged {
        /// The length in bytes that was said first, or the end of the bytes already here.
        known: u64,
        /// The length in bytes that was said now.
        said: u64,
    },
    /// Bytes were written beyond the length of the resource. The origin sends more than it said.
    #[error("bytes up to {end} in a resource of {length} bytes")]
    PastEnd {
        /// Where the written bytes would end.
        end: u64,
        /// The length of the resource in bytes.
        length: u64,
    },
    /// The fill has failed; nothing more can be committed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The cache directory cannot be used: a fault of the installation. Exit with its sentence.
    #[error("cache directory {path}: {problem}")]
    Directory {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The cache directory cannot be used now, since its file system is full or read-only, and holds no
    /// cache yet. Do without, or exit with its sentence.
    #[error("cache directory {path}: {problem}")]
    NotNow {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Another process has the cache directory. Ask that one, or exit.
    #[error(
        "cache directory {path}: in use by another process; stop it or choose another with --cache"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The device has no room for what was to be written. Nothing was, and it waits: go on with what is
    /// there, and try again when room was made.
    #[error("disk: {}", io::ErrorKind::StorageFull)]
    Full,
    /// The device failed.
    #[error("disk: {0}")]
    Io(#[from] io::Error),
}

impl From<Error> for io::Error {
    /// What a device could have said, for who tells it on.
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            Error::Full => io::ErrorKind::StorageFull.into(),
            Error::Exhausted(exhausted) => Self::new(io::ErrorKind::OutOfMemory, exhausted),
            other => Self::other(other),
        }
    }
}

/// What a device said, for all who are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    kind: io::ErrorKind,
    errno: Option<i32>,
}

impl From<&io::Error> for Trouble {
    fn from(error: &io::Error) -> Self {
        Self { kind: error.kind(), errno: error.raw_os_error() }
    }
}

impl From<io::ErrorKind> for Trouble {
    fn from(kind: io::ErrorKind) -> Self {
        Self { kind, errno: None }
    }
}

impl From<Trouble> for io::Error {
    fn from(trouble: Trouble) -> Self {
        trouble.errno.map_or_else(|| trouble.kind.into(), Self::from_raw_os_error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from(*self).fmt(f)
    }
}

/// What keeps a file system from being written to, and may pass while a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// It is full, or its user has had their share.
    Full,
    /// It is mounted read-only, as after an error of its device.
    ReadOnly,
}

impl Hindrance {
    /// The one that an error tells of; `None` for what will not pass by itself.
    pub fn of(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Self::Full),
            io::ErrorKind::ReadOnlyFilesystem => Some(Self::ReadOnly),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Full => "free space there",
            Self::ReadOnly => "mount it writable (mount -o remount,rw)",
        }
    }
}

/// Whether a device takes nothing only because it is full.
pub(super) fn is_no_room(error: &io::Error) -> bool {
    Hindrance::of(error) == Some(Hindrance::Full)
}

/// The error for a file or directory of the cache that cannot be written.
pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Error {
    let path = path.to_owned();
    match Hindrance::of(error) {
        Some(hindrance) => {
            let remedy = hindrance.remedy();
            let problem =
                format!("cannot be written: {error}; {remedy}, or choose another with --cache");
            Error::NotNow { path, problem }
        }
        None => {
            let remedy = "choose another with --cache, or correct its permissions";
            Error::Directory { path, problem: format!("cannot be written: {error}; {remedy}") }
        }
    }
}

/// Why a fill ended without its bytes: what readers get for a position that will not come.
///
/// It carries the error of whoever filled, so that a reader acts on the cause. Never an end.
#[derive(Clone)]
pub struct Failure(Arc<dyn std::error::Error + Send + Sync>);

impl Failure {
    /// A failure caused by `cause`.
    pub fn new(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(cause))
    }

    /// The cause, where it is an `E`.
    pub fn cause<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({:?})", self.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fill failed: {}", self.0)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_the_type_of_its_cause() {
        let failure = Failure::new(io::Error::from(io::ErrorKind::TimedOut)).clone();
        assert_eq!(failure.cause::<io::Error>().unwrap().kind(), io::ErrorKind::TimedOut);
        assert!(failure.cause::<Exhausted>().is_none());
    }
}
