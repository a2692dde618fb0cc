//! The cache directory: whose it is, and what lies where.
//!
//! ```text
//! LOCK             held by the process that uses the cache (flock: it dies with its process)
//! FORMAT           not written yet; a directory that has one is newer than this program
//! volume.N/data    the blocks of volume N, from position 0
//! ```
//!
//! Each volume has a directory of its own, so that its journals and superblocks will lie beside its
//! data.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{Error, Options};

/// The right to use a cache directory, for one process. Held until all shards have ended.
#[derive(Debug)]
pub struct Directory {
    _lock: fs::File,
}

impl Directory {
    /// Creates the directory where it is not there, locks it, and removes volumes that a cache of
    /// this size does not have. Before the shards start, once per process.
    ///
    /// # Errors
    /// [`Error::Directory`]: another process holds it, it cannot be written, or its format is newer.
    pub fn lock(options: &Options) -> Result<Self, Error> {
        let dir = &options.dir;
        let problem = |problem: String| Error::Directory { path: dir.clone(), problem };
        let lock = open_lock(dir).map_err(|error| {
            problem(format!("cannot be written: {error}; choose another with --cache"))
        })?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => {
                problem("in use by another process; stop it or choose another with --cache".into())
            }
            other => problem(format!("cannot be locked: {other}")),
        })?;
        if dir.join("FORMAT").exists() {
            return Err(problem("written by a newer version; use that, or choose another".into()));
        }
        remove_volumes_from(dir, options.volume_count())
            .map_err(|error| problem(format!("an old volume cannot be removed: {error}")))?;
        Ok(Self { _lock: lock })
    }
}

/// Where the blocks of a volume lie.
pub(super) fn volume_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("volume.{number}")).join("data")
}

fn open_lock(dir: &Path) -> io::Result<fs::File> {
    fs::create_dir_all(dir)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).open(dir.join("LOCK"))
}

/// A cache that was larger had more volumes: their bytes would count on top of the bound.
///
/// Only what this program made is removed: a `data` file, and its directory if that is then empty.
fn remove_volumes_from(dir: &Path, count: u32) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("volume."));
        let Some(number) = number.and_then(|number| number.parse::<u32>().ok()) else { continue };
        if number >= count && volume_path(dir, number).is_file() {
            fs::remove_file(volume_path(dir, number))?;
            fs::remove_dir(dir.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &Path, volumes: u32) -> Options {
        let dir = dir.to_owned();
        Options { dir, size_bytes: 1 << 20, volumes: Some(volumes), shard: 0, shards: 1 }
    }

    #[test]
    fn a_second_user_is_refused_until_the_first_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(&dir.path().join("cache"), 4);
        let first = Directory::lock(&options).unwrap();
        let refused = Directory::lock(&options).unwrap_err().to_string();
        assert!(refused.contains("in use by another process"), "{refused}");
        assert!(refused.contains(options.dir.to_str().unwrap()), "{refused}");
        drop(first);
        Directory::lock(&options).unwrap();
    }

    #[test]
    fn only_volumes_beyond_the_count_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..4 {
            let path = volume_path(dir.path(), number);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "old").unwrap();
        }
        fs::create_dir(dir.path().join("volume.9")).unwrap();
        Directory::lock(&options(dir.path(), 2)).unwrap();
        let left: Vec<_> =
            (0..10).filter(|n| dir.path().join(format!("volume.{n}")).exists()).collect();
        assert_eq!(left, [0, 1, 9]);
    }

    #[test]
    fn a_newer_format_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("FORMAT"), "kithara 9").unwrap();
        let refused = Directory::lock(&options(dir.path(), 2)).unwrap_err().to_string();
        assert!(refused.contains("newer"), "{refused}");
        assert!(dir.path().join("FORMAT").exists());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let refused = Directory::lock(&options(&path, 2)).unwrap_err().to_string();
        assert!(refused.contains("file") && refused.contains("--cache"), "{refused}");
    }
}
