//! The journal of prefetches on disk: appended in batches, written anew when it has grown.
//!
//! One task writes, on the pool for calls that block; whoever needs a record to be durable waits for
//! its batch. A batch that fails is cut off the file again before another is written, so that what comes
//! later stands behind whole lines. What is not answered by then is refused; what had been accepted
//! goes on, and may be done again after a crash. So it is where a start cannot write the file anew, until
//! it can: what stands in it is gone on with all the same.
//!
//! The file lies beside the volumes and is counted in `cache.size`, twice, as it is while it is written
//! anew: its bound is what a cache of that size [leaves it](crate::storage::queue_bytes).

use std::{
    cell::{Cell, OnceCell, RefCell},
    fs::{self, File},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use super::{
    journal::{self, Foreign, Record},
    queue::{Limits, Queue},
};
use crate::runtime::{self, event::Event};

/// The name of the file in the cache directory.
const FILE: &str = "prefetch";

/// A file that has grown to this size since it was written anew, or fourfold, is written anew.
const GROWN_BYTES: u64 = 1 << 20;

/// How often a file that could not be written anew is tried again, in milliseconds.
const RETRY_MS: u64 = 10_000;

/// How long after it was well again further trouble is counted and not said, in milliseconds.
const QUIET_MS: u64 = 60_000;

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is another's, and is left alone.
    #[error("{path}: {why}")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What it is.
        why: Foreign,
    },
    /// The disk failed.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// The disk did not take a record. What it says was logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue cannot be made durable")]
pub struct NotKept;

/// Where the journal is, and how it is read.
#[derive(Debug, Clone)]
struct Home {
    path: PathBuf,
    limits: Limits,
    libraries: Arc<[String]>,
    /// It is not longer.
    most_bytes: u64,
}

/// The journal of one queue.
pub(super) struct Ledger {
    home: Home,
    batch: RefCell<Batch>,
    wanted: Event,
    written: Event,
    is_closed: Cell<bool>,
    /// Nothing is written any more.
    has_ended: Cell<bool>,
    file: RefCell<OnDisk>,
}

/// Records that go to the disk together.
#[derive(Default)]
struct Batch {
    text: String,
    is_kept: Rc<OnceCell<bool>>,
}

/// What there is on disk.
enum OnDisk {
    /// What was there at the start, which is left as it is: it could not be written anew.
    AsItWas {
        /// When that is tried again, in milliseconds of Unix time.
        retry_unix_ms: u64,
    },
    /// What this process wrote.
    Written(Written),
}

/// What is left where somebody took it to write.
impl Default for OnDisk {
    fn default() -> Self {
        Self::AsItWas { retry_unix_ms: 0 }
    }
}

/// The file, positioned at its end.
struct Written {
    file: File,
    bytes: u64,
    /// Its size at which it is written anew.
    grown_bytes: u64,
    /// A part of a batch that failed may stand behind its end.
    is_torn: bool,
    /// The directory may not know it yet: after a crash the one before it would be back.
    is_unnamed: bool,
    /// It has grown and could not be written anew, which was said.
    is_unrenewed: bool,
}

impl Ledger {
    /// Opens the journal in `dir`, and makes a queue of what it says.
    ///
    /// # Errors
    /// See [`Error`]: it cannot be read. Nothing is changed then.
    pub(super) async fn open(
        dir: &Path,
        most_bytes: u64,
        limits: Limits,
        libraries: Vec<String>,
        unix_ms: u64,
    ) -> Result<(Self, Queue), Error> {
        let libraries = libraries.into();
        let home = Home { path: dir.join(FILE), limits, libraries, most_bytes };
        let its_home = home.clone();
        let opened = runtime::blocking(move || its_home.open(unix_ms)).await;
        let panicked =
            || Error::Io { path: home.path.clone(), error: io::Error::other("panicked") };
        let (on_disk, queue) = opened.unwrap_or_else(|_| Err(panicked()))?;
        let ledger = Self {
            home,
            batch: RefCell::default(),
            wanted: Event::new(),
            written: Event::new(),
            is_closed: Cell::new(false),
            has_ended: Cell::new(false),
            file: RefCell::new(on_disk),
        };
        Ok((ledger, queue))
    }

    /// Keeps a record, some time soon. Where the disk does not take it, that is logged: after a crash
    /// what it tells of is done again.
    pub(super) fn note(&self, record: &Record) {
        if self.has_ended.get() {
            return;
        }
        self.batch.borrow_mut().text += &journal::encode(record);
        self.wanted.notify_all();
    }

    /// Keeps a record, and waits until no crash can take it away.
    ///
    /// # Errors
    /// The disk did not take it.
    pub(super) async fn keep(&self, record: &Record) -> Result<(), NotKept> {
        if self.has_ended.get() {
            return Err(NotKept);
        }
        self.note(record);
        let is_kept = Rc::clone(&self.batch.borrow().is_kept);
        loop {
            let written = self.written.listen();
            match is_kept.get() {
                Some(true) => return Ok(()),
                Some(false) => return Err(NotKept),
                None => written.await,
            }
        }
    }

    /// Writes until it is [`close`](Self::close)d, and then what is left. Once.
    pub(super) async fn run(&self) {
        self.write(self.file.take()).await;
        self.has_ended.set(true);
        let _ = self.batch.take().is_kept.set(false);
        self.written.notify_all();
    }

    async fn write(&self, mut on_disk: OnDisk) {
        let mut troubles = Troubles::default();
        loop {
            let wanted = self.wanted.listen();
            let batch = self.batch.take();
            if batch.text.is_empty() {
                if self.is_closed.get() {
                    return;
                }
                wanted.await;
                continue;
            }
            let (home, text) = (self.home.clone(), batch.text);
            let unix_ms = super::unix_ms(runtime::wall_clock());
            let done = runtime::blocking(move || {
                let result = on_disk.append(&home, &text, unix_ms);
                (on_disk, result)
            });
            let Ok((back, result)) = done.await else {
                tracing::error!("the queue of prefetches is not made durable any more");
                let _ = batch.is_kept.set(false);
                return;
            };
            on_disk = back;
            let path = self.home.path.display();
            match (troubles.note(result.is_ok(), unix_ms), &result) {
                (Some(Say::Fails), Err(error)) => {
                    tracing::error!(%path, %error, "the queue of prefetches cannot be made durable");
                }
                (Some(Say::IsWell { failed }), _) => {
                    tracing::info!(%path, failed, "the queue of prefetches is made durable again");
                }
                _ => {}
            }
            let _ = batch.is_kept.set(result.is_ok());
            self.written.notify_all();
        }
    }

    /// Lets [`run`](Self::run) come to its end.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.wanted.notify_all();
    }
}

impl OnDisk {
    /// Adds a batch to it, or tries to begin it anew, if it is time.
    fn append(&mut self, home: &Home, text: &str, unix_ms: u64) -> io::Result<()> {
        match self {
            Self::Written(written) => {
                let appended = written.append(home, text, unix_ms);
                written.renew_if_grown(home, unix_ms);
                appended
            }
            Self::AsItWas { retry_unix_ms } if unix_ms < *retry_unix_ms => {
                Err(io::Error::other("it could not be written anew; tried again each 10 s"))
            }
            Self::AsItWas { retry_unix_ms } => {
                *retry_unix_ms = unix_ms + RETRY_MS;
                let (mut written, _) = home.write_anew(unix_ms).map_err(io::Error::other)?;
                let appended = written.append(home, text, unix_ms);
                *self = Self::Written(written);
                appended
            }
        }
    }
}

impl Written {
    fn append(&mut self, home: &Home, text: &str, unix_ms: u64) -> io::Result<()> {
        let bytes = text.len() as u64;
        if self.bytes + bytes > home.most_bytes {
            self.renew(home, unix_ms);
        }
        if self.bytes + bytes > home.most_bytes {
            return Err(io::Error::other("it would be longer than it may be"));
        }
        self.mend(home)?;
        self.is_torn = true;
        let file = &mut self.file;
        let appended = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        match appended {
            Ok(()) => (self.is_torn, self.bytes) = (false, self.bytes + bytes),
            // Where this fails as well, the next batch comes to it first.
            Err(_) => drop(self.mend(home)),
        }
        appended
    }

    /// Makes good what failed before.
    fn mend(&mut self, home: &Home) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
            self.is_torn = false;
        }
        if self.is_unnamed {
            File::open(home.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
            self.is_unnamed = false;
        }
        Ok(())
    }

    fn renew_if_grown(&mut self, home: &Home, unix_ms: u64) {
        if self.bytes >= self.grown_bytes {
            self.renew(home, unix_ms);
        }
    }

    fn renew(&mut self, home: &Home, unix_ms: u64) {
        match home.write_anew(unix_ms) {
            Ok((renewed, _)) => *self = renewed,
            Err(error) => {
                if !std::mem::replace(&mut self.is_unrenewed, true) {
                    tracing::warn!(%error, "the journal of prefetches goes on growing");
                }
                self.grown_bytes = self.bytes * 2;
            }
        }
    }
}

/// What the log is told of batches that fail: when it begins, and how many there were when it ends.
#[derive(Default)]
struct Troubles {
    failed: u64,
    is_said: bool,
    /// Trouble that comes and goes is said this seldom.
    quiet_until_ms: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Say {
    Fails,
    IsWell { failed: u64 },
}

impl Troubles {
    /// How a batch went; what is to be said of that.
    fn note(&mut self, is_ok: bool, unix_ms: u64) -> Option<Say> {
        if is_ok {
            let was = std::mem::take(self);
            self.quiet_until_ms = was.quiet_until_ms;
            if was.is_said {
                self.quiet_until_ms = unix_ms + QUIET_MS;
                return Some(Say::IsWell { failed: was.failed });
            }
            return None;
        }
        self.failed += 1;
        let is_news = !self.is_said && unix_ms >= self.quiet_until_ms;
        self.is_said |= is_news;
        is_news.then_some(Say::Fails)
    }
}

impl Home {
    /// Reads the file, and writes it anew where that can be done.
    fn open(&self, unix_ms: u64) -> Result<(OnDisk, Queue), Error> {
        let queue = self.read(unix_ms)?;
        let on_disk = self.put(&queue).map(OnDisk::Written).unwrap_or_else(|error| {
            let path = self.path.display();
            tracing::error!(
                %path, %error,
                "the queue of prefetches cannot be written: what stands in it goes on, and nothing is taken in"
            );
            OnDisk::AsItWas { retry_unix_ms: unix_ms + RETRY_MS }
        });
        Ok((on_disk, queue))
    }

    /// Reads the file, and puts one in its place that says the same in fewer words. It comes into
    /// being whole, or not at all.
    fn write_anew(&self, unix_ms: u64) -> Result<(Written, Queue), Error> {
        let queue = self.read(unix_ms)?;
        let written = self.put(&queue);
        let written = written.map_err(|error| Error::Io { path: self.path.clone(), error })?;
        Ok((written, queue))
    }

    fn read(&self, unix_ms: u64) -> Result<Queue, Error> {
        let io = |error| Error::Io { path: self.path.clone(), error };
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(io)?,
        };
        let is_library = |name: &str| self.libraries.iter().any(|library| library == name);
        let read = journal::read(&bytes, is_library);
        let read = read.map_err(|why| Error::Foreign { path: self.path.clone(), why })?;
        if read.left_out > 0 {
            tracing::warn!(
                lines = read.left_out,
                "the journal of prefetches was cut or is damaged"
            );
        }
        let mut queue = Queue::new(self.limits);
        read.records.into_iter().for_each(|record| queue.apply(record));
        queue.forget_old(unix_ms);
        Ok(queue)
    }

    fn put(&self, queue: &Queue) -> io::Result<Written> {
        let mut text = journal::header();
        queue.records().iter().for_each(|record| text += &journal::encode(record));
        let file = self.replace(&text)?;
        let bytes = text.len() as u64;
        let mut written = Written {
            file,
            bytes,
            grown_bytes: (4 * bytes).max(GROWN_BYTES),
            is_torn: false,
            is_unnamed: true,
            is_unrenewed: false,
        };
        // From here on it is the one that is there; where this fails, the first batch comes to it.
        let _ = written.mend(self);
        Ok(written)
    }

    fn replace(&self, text: &str) -> io::Result<File> {
        let temporary = self.path.with_extension("new");
        let replaced = File::create(&temporary).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            Ok(file)
        });
        if replaced.is_err() {
            // On a full disk what was begun would hold room for nothing.
            let _ = fs::remove_file(&temporary);
        }
        replaced
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use futures_lite::future;

    use super::*;
    use crate::{
        pcm::SourceName,
        prefetch::{ListLimits, Prefetches, Refused, Spec},
    };

    struct Scratch {
        dir: tempfile::TempDir,
        home: Home,
    }

    impl Scratch {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(FILE);
            let home =
                Home { path, limits: Limits::default(), libraries: [].into(), most_bytes: 4_000 };
            Self { dir, home }
        }

        fn open(&self) -> Written {
            self.home.write_anew(0).unwrap().0
        }

        /// The numbers of the prefetches that a node would go on with.
        fn kept(&self) -> Vec<u64> {
            let read = journal::read(&fs::read(&self.home.path).unwrap(), |_| false).unwrap();
            assert_eq!(read.left_out, 0, "a line is damaged");
            let mut queue = Queue::new(self.home.limits);
            read.records.into_iter().for_each(|record| queue.apply(record));
            let mut ids: Vec<_> = queue.list(100).0.iter().map(|status| status.id).collect();
            ids.sort_unstable();
            ids
        }
    }

    fn spec() -> Spec {
        Spec::of(vec![SourceName { name: "a".into(), path: "x".into(), is_file: false }])
    }

    fn accepted(id: u64) -> String {
        let summary = journal::Summary::of(&spec(), 0);
        let (spec, ended) = (spec(), vec![]);
        journal::encode(&Record::Accepted { id, unix_ms: 0, spec, asked: 1, ended, summary })
    }

    /// Takes no byte, and cannot be cut either.
    fn full() -> File {
        OpenOptions::new().write(true).open("/dev/full").unwrap()
    }

    #[test]
    fn what_a_failing_disk_left_behind_takes_nothing_with_it() {
        let scratch = Scratch::new();
        let mut written = scratch.open();
        written.append(&scratch.home, &accepted(1), 0).unwrap();
        let sound = std::mem::replace(&mut written.file, full());
        for _ in 0..2 {
            let error = written.append(&scratch.home, &accepted(2), 0).unwrap_err();
            assert!([28, 22].contains(&error.raw_os_error().unwrap()), "{error}");
        }
        // What such a batch may have left: half a line, which nobody could cut.
        written.file = sound;
        written.file.write_all(&accepted(2).as_bytes()[..20]).unwrap();
        written.append(&scratch.home, &accepted(3), 0).unwrap();
        assert_eq!(scratch.kept(), [1, 3]);
    }

    /// As on a disk that is full, or read-only, at the start.
    #[test]
    fn a_queue_that_cannot_be_written_anew_at_a_start_goes_on_and_takes_more_once_it_can() {
        let scratch = Scratch::new();
        scratch.open().append(&scratch.home, &accepted(1), 0).unwrap();
        let blocked = scratch.home.path.with_extension("new");
        fs::create_dir(&blocked).unwrap();
        let (mut on_disk, queue) = scratch.home.open(0).unwrap();
        assert_eq!(queue.list(100).0.len(), 1, "what had been accepted is forgotten");
        on_disk.append(&scratch.home, &accepted(2), RETRY_MS).unwrap_err();
        fs::remove_dir(&blocked).unwrap();
        on_disk.append(&scratch.home, &accepted(3), RETRY_MS + 1).unwrap_err();
        on_disk.append(&scratch.home, &accepted(4), 2 * RETRY_MS).unwrap();
        assert_eq!(scratch.kept(), [1, 4]);
    }

    #[test]
    fn trouble_is_said_when_it_begins_and_when_it_ends() {
        let mut troubles = Troubles::default();
        let mut note = |is_ok, unix_ms| troubles.note(is_ok, unix_ms);
        assert_eq!(note(true, 0), None);
        assert_eq!(note(false, 1), Some(Say::Fails));
        assert!((2..500).all(|at| note(false, at).is_none()));
        assert_eq!(note(true, 500), Some(Say::IsWell { failed: 499 }));
        // It comes and goes.
        assert!((501..600).all(|at| note(at % 2 == 0, at).is_none()));
        assert!(note(false, 600).is_none());
        assert_eq!(note(false, 500 + QUIET_MS), Some(Say::Fails), "and stays");
    }

    #[test]
    fn nothing_is_kept_in_a_file_that_a_crash_would_take_back() {
        let scratch = Scratch::new();
        let mut written = scratch.open();
        let elsewhere =
            Home { path: scratch.dir.path().join("gone/prefetch"), ..scratch.home.clone() };
        written.is_unnamed = true;
        written.append(&elsewhere, &accepted(1), 0).unwrap_err();
        assert!(scratch.kept().is_empty());
        written.append(&scratch.home, &accepted(2), 0).unwrap();
        assert_eq!(scratch.kept(), [2]);
    }

    #[test]
    fn a_journal_that_cannot_be_written_anew_grows_to_its_bound_and_loses_nothing() {
        let scratch = Scratch::new();
        let mut written = scratch.open();
        let blocked = scratch.home.path.with_extension("new");
        fs::create_dir(&blocked).unwrap();
        let taken = (1..)
            .take_while(|id| written.append(&scratch.home, &accepted(*id), 0).is_ok())
            .count() as u64;
        assert!(fs::metadata(&scratch.home.path).unwrap().len() <= scratch.home.most_bytes);
        assert_eq!(scratch.kept(), (1..=taken).collect::<Vec<_>>());
        fs::remove_dir(&blocked).unwrap();
        let cancelled: String = (1..=taken)
            .map(|id| journal::encode(&Record::Cancelled { id, unix_ms: 0 }))
            .take(2)
            .collect();
        written.append(&scratch.home, &cancelled, 0).unwrap_err();
        assert_eq!(scratch.kept(), (1..=taken).collect::<Vec<_>>(), "all of it still counts");
    }

    #[test]
    fn a_full_disk_refuses_what_it_cannot_keep_and_nobody_waits_for_an_end() {
        let scratch = Scratch::new();
        let dir = scratch.dir.path().to_owned();
        let options = runtime::Options { shards: 1, blocking_threads: 1, oversubscribe: true };
        runtime::run(options, move |_| {
            let dir = dir.clone();
            async move {
                let opened = Ledger::open(&dir, 4_000, Limits::default(), Vec::new(), 0).await;
                let (ledger, queue) = opened.unwrap();
                match &mut *ledger.file.borrow_mut() {
                    OnDisk::Written(written) => written.file = full(),
                    OnDisk::AsItWas { .. } => panic!("it was written anew"),
                }
                let lists = ListLimits { bytes: 0, lines: 0 };
                let prefetches = Prefetches::of(queue, Some(ledger), lists);
                let ledger = prefetches.ledger.as_ref().unwrap();
                let asking = async {
                    ledger.note(&Record::LastId(7));
                    let first = prefetches.accept(spec()).await;
                    let second = prefetches.accept(spec()).await;
                    ledger.close();
                    [first, second]
                };
                let (refused, ()) = future::zip(asking, ledger.run()).await;
                let late = prefetches.accept(spec()).await;
                for outcome in refused.into_iter().chain([late]) {
                    assert!(matches!(outcome, Err(Refused::NotKept(_))), "{outcome:?}");
                }
                assert_eq!((prefetches.counts(), prefetches.list(9).0.len()), ((0, 0), 0));
            }
        })
        .unwrap();
        assert!(scratch.kept().is_empty());
    }
}
