//! One file on the shard's ring.

use std::{
    cell::{Cell, RefCell},
    fs::{self, File},
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::Path,
    rc::Rc,
};

use rustix::fs::OFlags;

use super::{
    Ring,
    operation::{Action, Operation},
};
use crate::{
    bufpool::{Block, BufPool, Class, Exhausted},
    storage::{
        Error,
        direct::{PROBE, Sample, by_descriptor, create, is_direct, is_in_memory, not_direct, rest},
        disk::Data,
        waiters::Waiters,
    },
};

/// A file opened once for direct I/O. A clone is another handle to it, on the same shard.
#[derive(Clone)]
pub struct RingFile {
    ring: Ring,
    handle: Rc<Handle>,
}

struct Handle {
    file: RefCell<Rc<File>>,
    /// Its file system was read-only when it was opened: to be opened anew before it is written.
    is_read_only: Cell<bool>,
}

pub(super) fn open(ring: &Ring, path: &Path, capacity: u64) -> Result<(RingFile, u64), Error> {
    let problem = |problem: String| Error::Directory { path: path.to_owned(), problem };
    let (length, is_writable) = create(path, capacity)?;
    let opened = open_direct(path, is_writable);
    let file = opened.map_err(|error| problem(not_direct(&error.to_string())))?;
    let means_it = is_direct(file.as_raw_fd()).and_then(|it| Ok(it && !is_in_memory(&file)?));
    if !means_it.map_err(|error| problem(error.to_string()))? {
        return Err(problem(not_direct("the flag was dropped, as tmpfs does")));
    }
    let (file, is_read_only) = (RefCell::new(Rc::new(file)), Cell::new(!is_writable));
    Ok((RingFile { ring: ring.clone(), handle: Rc::new(Handle { file, is_read_only }) }, length))
}

fn open_direct(path: &Path, is_writable: bool) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    let options = options.read(true).write(is_writable);
    options.custom_flags(OFlags::DIRECT.bits() as i32).open(path)
}

pub(super) async fn probe(ring: &Ring, dir: &Path, pool: &BufPool) -> Result<(), Error> {
    let problem = |problem: String| Error::Directory { path: dir.to_owned(), problem };
    let Some(sample) = Sample::of(dir)? else { return Ok(()) };
    let opened = open(ring, &sample.path(), u64::MAX).map_err(|error| match error {
        Error::Directory { problem: text, .. } => problem(text),
        other => other,
    });
    let read = match opened?.0.read(0, PROBE.len(), pool).await {
        Err(Error::Io(error)) => Err(error),
        read => Ok(read?),
    };
    sample.judge(read.as_deref()).map_err(problem)
}

/// How an operation ended that a future waits for.
type Landing = Rc<(Cell<Option<(Action, io::Result<usize>)>>, Waiters<()>)>;

impl RingFile {
    pub(in crate::storage) async fn read(
        &self,
        position: u64,
        length: usize,
        pool: &BufPool,
    ) -> Result<Block, Error> {
        let into = pool.take(Class::holding(length))?;
        let landing = Landing::default();
        self.ring.begin(self.landing(Action::Read { into, position, length }, &landing))?;
        let (action, read) = landed(&landing).await;
        match (action, read?) {
            (Action::Read { into, .. }, read) if read == length => Ok(into.freeze(length)),
            _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    pub(in crate::storage) fn write(
        &self,
        position: u64,
        data: Data,
        pool: &BufPool,
        done: impl FnOnce(io::Result<()>) + 'static,
    ) -> Result<(), Exhausted> {
        let file = match self.writable() {
            Ok(file) => file,
            Err(error) => {
                done(Err(error));
                return Ok(());
            }
        };
        let length = data.len();
        let action = match data {
            Data::Bytes(from) => Action::Write { from, position },
            Data::Zeros(length) => Action::Zeros { zeros: zeros(length, pool)?, position, length },
        };
        self.ring.begin(writing(self.ring.clone(), file, action, length, Box::new(done)))
    }

    fn file(&self) -> Rc<File> {
        Rc::clone(&self.handle.file.borrow())
    }

    /// The file, opened anew where it could only be read before.
    fn writable(&self) -> io::Result<Rc<File>> {
        if self.handle.is_read_only.get() {
            let file = open_direct(&by_descriptor(&*self.file()), true)?;
            *self.handle.file.borrow_mut() = Rc::new(file);
            self.handle.is_read_only.set(false);
        }
        Ok(self.file())
    }

    pub(in crate::storage) async fn sync(&self) -> io::Result<()> {
        let landing = Landing::default();
        // No more of these than there are files, and no memory: beyond the bound of the others.
        self.ring.begin_anyway(self.landing(Action::Sync, &landing));
        landed(&landing).await.1.map(drop)
    }

    fn landing(&self, action: Action, landing: &Landing) -> Operation {
        let landing = Rc::clone(landing);
        let ended = Box::new(move |action: Action, outcome: io::Result<usize>| {
            landing.0.set(Some((action, outcome)));
            landing.1.wake(|()| true);
        });
        Operation { file: self.file(), action, ended }
    }
}

/// Is told how a write ended.
type Done = Box<dyn FnOnce(io::Result<()>)>;

/// A write of `length` bytes that goes on until all were taken.
fn writing(ring: Ring, file: Rc<File>, action: Action, length: usize, done: Done) -> Operation {
    let same = Rc::clone(&file);
    let ended = Box::new(move |action: Action, written: io::Result<usize>| {
        let rest = written.and_then(|written| Ok((written, rest(written, length)?)));
        match rest {
            Ok((_, 0)) => done(Ok(())),
            Ok((written, left)) => {
                let action = action.from(written, left);
                // In the place of what has just ended: beyond no bound.
                ring.begin_anyway(writing(ring.clone(), same, action, left, done));
            }
            Err(error) => done(Err(error)),
        }
    });
    Operation { file, action, ended }
}

async fn landed(landing: &Landing) -> (Action, io::Result<usize>) {
    landing.1.until(|| (), || landing.0.take()).await
}

/// A block of zeros, as large as `length` or to be written several times.
fn zeros(length: usize, pool: &BufPool) -> Result<Block, Exhausted> {
    let mut block = pool.take(Class::holding(length))?;
    let length = length.min(block.len());
    block[..length].fill(0);
    Ok(block.freeze(length))
}
