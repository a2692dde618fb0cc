//! The cache directory: whose it is, and what lies where.
//!
//! [`format`](super::format) draws it. Each volume has a directory of its own, so that its journals
//! and superblocks lie beside its data.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{
    Error, Generation,
    direct::sweep,
    error::cannot_write,
    format::{Format, FormatError},
    volumes_for,
};

/// The right to use a cache directory, for one process. Held until all shards have ended.
#[derive(Debug)]
pub struct Directory {
    format: Format,
    _lock: File,
}

impl Directory {
    /// Creates the directory where it is not there, locks it, and reads which cache it is. A new one
    /// gets the number of volumes that suits `size_bytes`; that stays for good.
    ///
    /// # Errors
    /// [`Error::Directory`]: another process holds it, it cannot be written, or its format is newer
    /// or damaged. Nothing in it is touched then. [`Error::NotNow`]: it is no cache yet, and its file
    /// system takes none now.
    pub fn lock(dir: &Path, size_bytes: u64) -> Result<Self, Error> {
        let lock = take_lock(dir)?;
        let found = read_format(dir).map_err(|problem| unusable(dir, problem))?;
        sweep(dir);
        let format = match found {
            Some(format) => format,
            None => begin(dir, size_bytes).map_err(|error| cannot_write(dir, &error))?,
        };
        Ok(Self { format, _lock: lock })
    }

    /// The same for a directory that is a cache already: a look at it makes none.
    ///
    /// # Errors
    /// As of [`lock`](Self::lock), and where there is no cache.
    pub fn lock_existing(dir: &Path) -> Result<Self, Error> {
        let none = || unusable(dir, "holds no cache; name it with --cache".into());
        if !dir.join("FORMAT").exists() {
            return Err(none());
        }
        let lock = take_lock(dir)?;
        let format = read_format(dir).map_err(|problem| unusable(dir, problem))?;
        Ok(Self { format: format.ok_or_else(none)?, _lock: lock })
    }

    /// Which cache it is.
    pub fn format(&self) -> Format {
        self.format
    }
}

/// Where the files of one volume are.
pub(super) struct VolumeFiles {
    pub(super) data: PathBuf,
    pub(super) superblock: PathBuf,
    pub(super) journals: [PathBuf; 2],
}

impl VolumeFiles {
    pub(super) fn of(dir: &Path, number: u32) -> Self {
        let dir = dir.join(format!("volume.{number}"));
        let journals = [dir.join("journal.0"), dir.join("journal.1")];
        Self { data: dir.join("data"), superblock: dir.join("super"), journals }
    }

    /// Where they all are.
    pub(super) fn dir(&self) -> &Path {
        self.data.parent().expect("a file in a directory")
    }

    /// What kept the volume from being opened, and where it is.
    pub(super) fn unusable(&self, error: Error) -> Error {
        match error {
            Error::Io(error) => unusable(self.dir(), error.to_string()),
            other => other,
        }
    }
}

fn unusable(dir: &Path, problem: String) -> Error {
    Error::Directory { path: dir.to_owned(), problem }
}

fn take_lock(dir: &Path) -> Result<File, Error> {
    let lock = open_lock(dir).map_err(|error| cannot_write(dir, &error))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::InUse { path: dir.to_owned() }),
        Err(other) => Err(unusable(dir, format!("cannot be locked: {other}"))),
    }
}

/// To read it is enough for a lock, and works where nothing can be written.
fn open_lock(dir: &Path) -> io::Result<File> {
    match File::open(dir.join("LOCK")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir)?;
            File::create(dir.join("LOCK"))
        }
        opened => opened,
    }
}

/// What the FORMAT file says; `None` where there is none.
fn read_format(dir: &Path) -> Result<Option<Format>, String> {
    let text = match fs::read(dir.join("FORMAT")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("FORMAT cannot be read: {error}")),
    };
    Format::parse(&text).map(Some).map_err(|error| {
        let remedy = match error {
            FormatError::Newer(_) => {
                "use the version that wrote it, or choose another with --cache"
            }
            _ => "choose another with --cache, or empty this one",
        };
        format!("{error}; {remedy}")
    })
}

/// Makes a directory a cache. FORMAT comes into being whole, or not at all.
fn begin(dir: &Path, size_bytes: u64) -> io::Result<Format> {
    let half = || u128::from(Generation::random().0);
    let format = Format { uuid: half() << 64 | half(), volumes: volumes_for(size_bytes) };
    let temporary = dir.join("FORMAT.new");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(format.encode().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join("FORMAT"))
    });
    if written.is_err() {
        // On a full disk what was begun would hold room for nothing.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(dir)?.sync_all()?;
    Ok(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1 << 30;

    #[test]
    fn a_second_user_is_refused_until_the_first_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("cache");
        let first = Directory::lock(&dir, SIZE).unwrap();
        let refused = Directory::lock(&dir, SIZE).unwrap_err().to_string();
        assert!(refused.contains("in use by another process"), "{refused}");
        assert!(refused.contains(dir.to_str().unwrap()), "{refused}");
        drop(first);
        Directory::lock(&dir, SIZE).unwrap();
    }

    #[test]
    fn a_look_makes_no_cache_where_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("cache");
        for dir in [dir.path(), &missing] {
            let refused = Directory::lock_existing(dir).unwrap_err().to_string();
            assert!(refused.contains("holds no cache"), "{refused}");
        }
        assert!(!missing.exists() && fs::read_dir(dir.path()).unwrap().next().is_none());
        let format = Directory::lock(dir.path(), SIZE).unwrap().format();
        let locked = Directory::lock_existing(dir.path()).unwrap();
        assert_eq!(locked.format(), format);
        let second = Directory::lock_existing(dir.path());
        assert!(matches!(second, Err(Error::InUse { .. })));
    }

    #[test]
    fn the_number_of_volumes_is_settled_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::lock(dir.path(), SIZE).unwrap().format();
        assert_eq!(first.volumes, volumes_for(SIZE));
        assert_eq!(Directory::lock(dir.path(), 100 * SIZE).unwrap().format(), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Directory::lock(other.path(), SIZE).unwrap().format().uuid, first.uuid);
    }

    #[test]
    fn a_newer_or_damaged_format_is_refused_and_left_alone() {
        for (text, word) in [("kithara-cache 9\n", "version"), ("kithara-cache 1\nuuid", "--cache")]
        {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("FORMAT"), text).unwrap();
            let refused = Directory::lock(dir.path(), SIZE).unwrap_err().to_string();
            assert!(refused.contains(word), "{refused}");
            assert_eq!(fs::read_to_string(dir.path().join("FORMAT")).unwrap(), text);
        }
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let refused = Directory::lock(&path, SIZE).unwrap_err().to_string();
        assert!(refused.contains("file") && refused.contains("--cache"), "{refused}");
    }
}
