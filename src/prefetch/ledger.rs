//! The journal of prefetches on disk: appended in batches, written anew when it has grown.
//!
//! One task writes, on the pool for calls that block; whoever needs a record to be durable waits for
//! its batch. A batch that fails is cut off the file again, so that what comes later stands behind
//! whole lines.

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
}

/// The journal of one queue.
pub(super) struct Ledger {
    home: Home,
    batch: RefCell<Batch>,
    wanted: Event,
    written: Event,
    is_closed: Cell<bool>,
    file: RefCell<Option<Written>>,
}

/// Records that go to the disk together.
#[derive(Default)]
struct Batch {
    text: String,
    is_kept: Rc<OnceCell<bool>>,
}

/// The file, positioned at its end.
struct Written {
    file: File,
    bytes: u64,
    /// Its size at which it is written anew.
    grown_bytes: u64,
}

impl Ledger {
    /// Opens the journal in `dir`, and makes a queue of what it says.
    ///
    /// # Errors
    /// See [`Error`]. Nothing is changed then.
    pub(super) async fn open(
        dir: &Path,
        limits: Limits,
        libraries: Vec<String>,
        unix_ms: u64,
    ) -> Result<(Self, Queue), Error> {
        let home = Home { path: dir.join(FILE), limits, libraries: libraries.into() };
        let its_home = home.clone();
        let opened = runtime::blocking(move || its_home.write_anew(unix_ms)).await;
        let panicked =
            || Error::Io { path: home.path.clone(), error: io::Error::other("panicked") };
        let (written, queue) = opened.unwrap_or_else(|_| Err(panicked()))?;
        let ledger = Self {
            home,
            batch: RefCell::default(),
            wanted: Event::new(),
            written: Event::new(),
            is_closed: Cell::new(false),
            file: RefCell::new(Some(written)),
        };
        Ok((ledger, queue))
    }

    /// Keeps a record, some time soon.
    pub(super) fn note(&self, record: &Record) {
        self.batch.borrow_mut().text += &journal::encode(record);
        self.wanted.notify_all();
    }

    /// Keeps a record, and waits until no crash can take it away.
    ///
    /// # Errors
    /// The disk did not take it.
    pub(super) async fn keep(&self, record: &Record) -> Result<(), NotKept> {
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

    /// Writes until it is [`close`](Self::close)d, and then what is left.
    pub(super) async fn run(&self) {
        let Some(mut written) = self.file.take() else { return };
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
                let result = written.append(&text);
                written.renew_if_grown(&home, unix_ms);
                (written, result)
            });
            let Ok((back, result)) = done.await else {
                // Nobody is told that something was kept from here on.
                let _ = batch.is_kept.set(false);
                return self.written.notify_all();
            };
            written = back;
            if let Err(error) = &result {
                let path = self.home.path.display();
                tracing::error!(%path, %error, "the queue of prefetches cannot be made durable");
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

impl Written {
    fn append(&mut self, text: &str) -> io::Result<()> {
        let appended = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        match appended {
            Ok(()) => self.bytes += text.len() as u64,
            Err(_) => {
                self.file.set_len(self.bytes)?;
                self.file.seek(SeekFrom::Start(self.bytes))?;
            }
        }
        appended
    }

    fn renew_if_grown(&mut self, home: &Home, unix_ms: u64) {
        if self.bytes < self.grown_bytes {
            return;
        }
        match home.write_anew(unix_ms) {
            Ok((renewed, _)) => *self = renewed,
            Err(error) => {
                tracing::warn!(%error, "the journal of prefetches goes on growing");
                self.grown_bytes = self.bytes * 2;
            }
        }
    }
}

impl Home {
    /// Reads the file, and puts one in its place that says the same in fewer words. It comes into
    /// being whole, or not at all.
    fn write_anew(&self, unix_ms: u64) -> Result<(Written, Queue), Error> {
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
        let mut text = journal::header();
        queue.records().iter().for_each(|record| text += &journal::encode(record));
        let file = self.replace(&text).map_err(io)?;
        let bytes = text.len() as u64;
        Ok((Written { file, bytes, grown_bytes: (4 * bytes).max(GROWN_BYTES) }, queue))
    }

    fn replace(&self, text: &str) -> io::Result<File> {
        let temporary = self.path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(file)
    }
}
