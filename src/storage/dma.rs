//! A file read and written by direct I/O on glommio's ring.
//!
//! glommio's DMA calls take and return only buffers of its own (they may be registered with the
//! kernel), so each read is copied once into a pool block and each write is gathered once; the
//! memory in between is charged to the pool's budget. [`Ring`](super::Ring) does without these copies,
//! and this is for a kernel that gives none.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    os::fd::AsRawFd,
    path::Path,
    pin::Pin,
    rc::Rc,
};

use super::{
    Error,
    direct::{PROBE, Sample, by_descriptor, create, is_direct, not_direct, rest},
    disk::Data,
};
use crate::bufpool::{Block, BufPool, Class, Exhausted};
use glommio::{
    GlommioError,
    io::{DmaBuffer, DmaFile, OpenOptions},
};

/// Starts a task of the shard that runs to its end: storage knows no executor.
pub type Spawn = fn(Pin<Box<dyn Future<Output = ()>>>);

/// A file opened once for direct I/O. A clone is another handle to it, on the same shard.
#[derive(Clone)]
pub struct Dma {
    handle: Rc<Handle>,
    spawn: Spawn,
}

struct Handle {
    file: RefCell<Rc<DmaFile>>,
    /// Its file system was read-only when it was opened: to be opened anew before it is written.
    is_read_only: Cell<bool>,
}

impl Dma {
    /// Opens or creates the file at `path` and says how long it is, in bytes.
    ///
    /// It is cut to `capacity` bytes where it is longer. The length is asked of the open file, and
    /// from then on the caller owns it: glommio's own `file_size` asks the path, which may by then
    /// name another file. [`probe`](Self::probe) the directory before, on the same shard.
    ///
    /// Each write is a task that `spawn` starts.
    ///
    /// # Errors
    /// [`Error::Directory`] where the file cannot be opened, or not for direct I/O.
    pub async fn open(path: &Path, capacity: u64, spawn: Spawn) -> Result<(Self, u64), Error> {
        let problem = |problem: String| Error::Directory { path: path.to_owned(), problem };
        let (length, is_writable) = create(path, capacity)?;
        let opened = open_direct(path, is_writable).await;
        let file = opened.map_err(|error| problem(not_direct(&error.to_string())))?;
        if !is_direct(file.as_raw_fd()).map_err(|error| problem(error.to_string()))? {
            return Err(problem(not_direct("the flag was dropped, as tmpfs does")));
        }
        let (file, is_read_only) = (RefCell::new(Rc::new(file)), Cell::new(!is_writable));
        Ok((Self { handle: Rc::new(Handle { file, is_read_only }), spawn }, length))
    }

    /// Reads a small file in `dir` by direct I/O: one that is made for it, or, where the file system
    /// takes nothing, one that is there.
    ///
    /// Must run on each shard before its first [`open`](Self::open) on that device. glommio 0.9
    /// finds out at a thread's first DMA open of a device whether completions can be polled for,
    /// by reading the file that is opened. A read of an empty file ends without asking the device,
    /// is taken for a yes, and then all reads of the thread fail with EOPNOTSUPP while writes go on.
    /// So the first file must not be empty.
    ///
    /// # Errors
    /// [`Error::Directory`] where `dir` cannot be written or direct I/O does not work there.
    pub async fn probe(dir: &Path, spawn: Spawn) -> Result<(), Error> {
        let problem = |problem: String| Error::Directory { path: dir.to_owned(), problem };
        let Some(sample) = Sample::of(dir)? else { return Ok(()) };
        let opened = Self::open(&sample.path(), u64::MAX, spawn).await;
        let (disk, _) = opened.map_err(|error| match error {
            Error::Directory { problem: text, .. } => problem(text),
            other => other,
        })?;
        let read = disk.file().read_at_aligned(0, PROBE.len()).await.map_err(plain);
        sample.judge(read.as_deref()).map_err(problem)
    }

    pub(super) async fn read(
        &self,
        position: u64,
        length: usize,
        pool: &BufPool,
    ) -> Result<Block, Error> {
        let _glommios_buffer = pool.charge(length)?;
        let mut block = pool.take(Class::holding(length))?;
        let read = self.file().read_at_aligned(position, length).await.map_err(plain)?;
        if read.len() < length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        block[..length].copy_from_slice(&read[..length]);
        Ok(block.freeze(length))
    }

    pub(super) fn write(
        &self,
        position: u64,
        data: Data,
        pool: &BufPool,
        done: impl FnOnce(io::Result<()>) + 'static,
    ) -> Result<(), Exhausted> {
        let charge = pool.charge(data.len())?;
        let mut buffer = self.file().alloc_dma_buffer(data.len());
        data.copy_to(buffer.as_bytes_mut());
        let handle = Rc::clone(&self.handle);
        // A task of its own, so that nobody's cancellation cuts the write off half-way.
        (self.spawn)(Box::pin(async move {
            let written = handle.write(buffer, position, &data).await;
            drop((charge, data));
            done(written);
        }));
        Ok(())
    }

    pub(super) async fn sync(&self) -> io::Result<()> {
        self.file().fdatasync().await.map_err(plain)
    }

    fn file(&self) -> Rc<DmaFile> {
        Rc::clone(&self.handle.file.borrow())
    }
}

impl Handle {
    /// Writes `buffer`, which holds `data`, and what was not taken of it again.
    async fn write(&self, mut buffer: DmaBuffer, position: u64, data: &Data) -> io::Result<()> {
        let file = self.writable().await?;
        let (length, mut at) = (data.len(), 0);
        loop {
            let written = file.write_at(buffer, position + at as u64).await.map_err(plain)?;
            if rest(written, length - at)? == 0 {
                return Ok(());
            }
            at += written;
            buffer = file.alloc_dma_buffer(length - at);
            data.copy_from(at, buffer.as_bytes_mut());
        }
    }

    /// The file, opened anew where it could only be read before.
    async fn writable(&self) -> io::Result<Rc<DmaFile>> {
        let file = Rc::clone(&self.file.borrow());
        if !self.is_read_only.get() {
            return Ok(file);
        }
        let file = Rc::new(open_direct(&by_descriptor(&*file), true).await?);
        *self.file.borrow_mut() = Rc::clone(&file);
        self.is_read_only.set(false);
        Ok(file)
    }
}

async fn open_direct(path: &Path, is_writable: bool) -> io::Result<DmaFile> {
    let mut options = OpenOptions::new();
    options.read(true).write(is_writable).dma_open(path).await.map_err(plain)
}

/// The error of the system call, without glommio's text about the file.
fn plain(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.into(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{fs, future::Future};

    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;
    use crate::{
        bufpool,
        storage::{
            Disk,
            tests::{directory_on_disk, spawn},
        },
    };

    /// Runs `test` on a shard's executor.
    pub(in crate::storage) fn on_shard<T>(test: impl Future<Output = T>) -> T {
        let executor = LocalExecutorBuilder::new(Placement::Unbound).make().expect("io_uring");
        executor.run(test)
    }

    /// glommio keeps its finding per thread, so each run here starts from nothing.
    #[test]
    fn after_the_probe_an_empty_file_may_be_opened_first() {
        let Some(dir) = directory_on_disk() else { return };
        on_shard(async {
            Dma::probe(dir.path(), spawn).await.unwrap();
            let pool = BufPool::new(bufpool::Options { budget_bytes: 1 << 20 });
            let (disk, _) = Dma::open(&dir.path().join("empty"), 1 << 20, spawn).await.unwrap();
            let disk = Disk::Dma(disk);
            disk.write_whole(0, Data::Zeros(64 << 10), &pool).await.unwrap();
            assert_eq!(disk.read(0, 64 << 10, &pool).await.unwrap()[0], 0);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the probe left its file");
        });
    }
}
