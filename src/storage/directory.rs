//! The cache directory: whose it is, and what lies where.
//!
//! [`format`](super::format) draws it. Each volume has a directory of its own, so that its journals
//! and superblocks lie beside its data. A FORMAT that is lost is made anew from the volumes, where they
//! agree (`lost`).

mod lost;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use self::lost::format_of_volumes;
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
    _locks: [File; 2],
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
        let locks = take_locks(dir)?;
        let found = find_format(dir)?;
        sweep(dir);
        let format = match found {
            Some((format, is_written)) => {
                if !is_written && let Err(error) = write_format(dir, &format) {
                    tracing::warn!(%error, "FORMAT cannot be written, the next start does it");
                }
                format
            }
            None => {
                let format = new_format(size_bytes);
                write_format(dir, &format).map_err(|error| cannot_write(dir, &error))?;
                format
            }
        };
        Ok(Self { format, _locks: locks })
    }

    /// The same for a directory that is a cache already: a look at it makes none.
    ///
    /// # Errors
    /// As of [`lock`](Self::lock), and where there is no cache.
    pub fn lock_existing(dir: &Path) -> Result<Self, Error> {
        let none = || unusable(dir, "holds no cache; name it with --cache".into());
        if !dir.join("FORMAT").exists() && !dir.join("volume.0").exists() {
            return Err(none());
        }
        let locks = take_locks(dir)?;
        let (format, _) = find_format(dir)?.ok_or_else(none)?;
        Ok(Self { format, _locks: locks })
    }

    /// Which cache it is.
    pub fn format(&self) -> Format {
        self.format
    }
}

/// Which cache a directory is, as far as its FORMAT says so.
pub fn format_in(dir: &Path) -> Option<Format> {
    read_format(dir).ok().flatten()
}

/// Files that a volume has open.
pub const FILES_PER_VOLUME: u64 = 4;

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

    /// Whether nothing was ever written to any of them.
    pub(super) fn hold_nothing(&self) -> bool {
        let [first, second] = &self.journals;
        let is_empty = |path: &Path| fs::metadata(path).map_or(0, |file| file.len()) == 0;
        [&self.data, &self.superblock, first, second].into_iter().all(|path| is_empty(path))
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

/// Locks the directory itself, and LOCK in it, which is what earlier versions lock. That alone would not do:
/// who takes it away under a running node lets the next one make another, which nobody has locked.
fn take_locks(dir: &Path) -> Result<[File; 2], Error> {
    let open = || Ok([open_directory(dir)?, open_lock(dir)?]);
    let files = open().map_err(|error| cannot_write(dir, &error))?;
    for file in &files {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::InUse { path: dir.to_owned() });
            }
            Err(other) => return Err(unusable(dir, format!("cannot be locked: {other}"))),
        }
    }
    Ok(files)
}

fn open_directory(dir: &Path) -> io::Result<File> {
    match File::open(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir)?;
            File::open(dir)
        }
        opened => opened,
    }
}

/// To read it is enough for a lock, and works where nothing can be written.
fn open_lock(dir: &Path) -> io::Result<File> {
    match File::open(dir.join("LOCK")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => File::create(dir.join("LOCK")),
        opened => opened,
    }
}

/// What FORMAT says, or the volumes where it is lost, and whether it is there; `None` where there is no
/// cache.
fn find_format(dir: &Path) -> Result<Option<(Format, bool)>, Error> {
    let found = read_format(dir).map_err(|problem| unusable(dir, problem))?;
    if let Some(format) = found {
        return Ok(Some((format, true)));
    }
    let rebuilt = format_of_volumes(dir).map_err(|problem| unusable(dir, problem))?;
    if let Some(Format { uuid, volumes }) = &rebuilt {
        let uuid = format!("{uuid:032x}");
        tracing::warn!(
            uuid,
            volumes,
            "FORMAT was missing; it is as the superblocks of the volumes say"
        );
    }
    Ok(rebuilt.map(|format| (format, false)))
}

/// What the FORMAT file says; `None` where there is none.
fn read_format(dir: &Path) -> Result<Option<Format>, String> {
    let text = match fs::read(dir.join("FORMAT")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("FORMAT cannot be read: {error}")),
    };
    Format::parse(&text).map(Some).map_err(|error| match error {
        FormatError::Newer(_) | FormatError::NotOurs => {
            format!("{error}; name another with --cache")
        }
        FormatError::Damaged(_) => format!(
            "{error}; put it back, or remove it alone: it is written anew from the volumes, if they are \
             whole"
        ),
    })
}

fn new_format(size_bytes: u64) -> Format {
    let half = || u128::from(Generation::random().0);
    Format { uuid: half() << 64 | half(), volumes: volumes_for(size_bytes) }
}

/// Makes a directory a cache. FORMAT comes into being whole, or not at all.
fn write_format(dir: &Path, format: &Format) -> io::Result<()> {
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
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::format::Superblock;

    const SIZE: u64 = 1 << 30;

    #[test]
    fn a_second_user_is_refused_until_the_first_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("cache");
        let first = Directory::lock(&dir, SIZE).unwrap();
        let refused = Directory::lock(&dir, SIZE).unwrap_err().to_string();
        assert!(refused.contains("in use by another process"), "{refused}");
        assert!(refused.contains(dir.to_str().unwrap()), "{refused}");
        fs::remove_file(dir.join("LOCK")).unwrap();
        let refused = Directory::lock(&dir, SIZE).unwrap_err();
        assert!(matches!(refused, Error::InUse { .. }), "it is another LOCK: {refused}");
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
        for (text, word) in
            [("kithara-cache 9\n", "version"), ("kithara-cache 1\nuuid", "remove it alone")]
        {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("FORMAT"), text).unwrap();
            let refused = Directory::lock(dir.path(), SIZE).unwrap_err().to_string();
            assert!(refused.contains(word), "{refused}");
            assert_eq!(fs::read_to_string(dir.path().join("FORMAT")).unwrap(), text);
        }
    }

    /// Volumes of a cache in `dir`, each with one superblock.
    fn with_volumes(dir: &Path, uuid: u128, numbers: impl IntoIterator<Item = u32>) {
        for volume in numbers {
            let files = VolumeFiles::of(dir, volume);
            let superblock = Superblock { uuid, volume, sequence: 0, journal: 0, epoch: 1 };
            fs::create_dir_all(files.dir()).unwrap();
            fs::write(files.superblock, superblock.encode()).unwrap();
        }
    }

    #[test]
    fn a_lost_format_is_made_anew_from_the_volumes() {
        let dir = tempfile::tempdir().unwrap();
        with_volumes(dir.path(), 7, 0..8);
        let format = Format { uuid: 7, volumes: 8 };
        let looked = Directory::lock_existing(dir.path()).unwrap();
        assert_eq!(looked.format(), format);
        drop(looked);
        assert!(!dir.path().join("FORMAT").exists(), "a look wrote it");
        assert_eq!(Directory::lock(dir.path(), SIZE).unwrap().format(), format);
        let text = fs::read_to_string(dir.path().join("FORMAT")).unwrap();
        assert_eq!(text, format.encode());
    }

    #[test]
    fn a_lost_format_that_the_volumes_do_not_tell_is_asked_for_and_nothing_is_written() {
        type Damage = fn(&Path);
        let damages: [(&str, Damage); 4] = [
            ("some are missing", |dir| fs::remove_dir_all(dir.join("volume.3")).unwrap()),
            ("some are missing", |dir| fs::remove_dir_all(dir.join("volume.1")).unwrap()),
            ("volume.2 is of another cache", |dir| with_volumes(dir, 8, [2])),
            ("volume.1 is not sound", |dir| {
                fs::write(VolumeFiles::of(dir, 1).superblock, [1; 8192]).unwrap();
            }),
        ];
        for (word, damage) in damages {
            let dir = tempfile::tempdir().unwrap();
            with_volumes(dir.path(), 7, 0..4);
            damage(dir.path());
            let refused = Directory::lock(dir.path(), SIZE).unwrap_err().to_string();
            assert!(refused.contains(word) && refused.contains("Put FORMAT back"), "{refused}");
            assert!(!dir.path().join("FORMAT").exists());
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
