//! A file read and written by direct I/O on the shard's ring.
//!
//! glommio's DMA calls take and return only buffers of its own (they may be registered with the
//! kernel), so each read is copied once into a pool block and each write is gathered once; the
//! memory in between is charged to the pool's budget. A ring of our own without these copies can
//! become one more arm of [`Disk`](super::Disk).

use std::{
    fs, io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    rc::Rc,
};

use glommio::{
    GlommioError,
    io::{DmaFile, OpenOptions},
};
use rustix::fs::OFlags;

use super::{
    Error,
    disk::{ALIGNMENT, Data},
};
use crate::bufpool::{Block, BufPool, Class, Exhausted};

/// A file opened once for direct I/O. A clone is another handle to it, on the same shard.
#[derive(Clone)]
pub struct Dma {
    file: Rc<DmaFile>,
}

impl Dma {
    /// Opens or creates the file at `path` and says how long it is, in bytes.
    ///
    /// It is cut to `capacity` bytes where it is longer. The length is asked of the open file, and
    /// from then on the caller owns it: glommio's own `file_size` asks the path, which may by then
    /// name another file. [`probe`](Self::probe) the directory before, on the same shard.
    ///
    /// # Errors
    /// [`Error::Directory`] where the file cannot be opened, or not for direct I/O.
    pub async fn open(path: &Path, capacity: u64) -> Result<(Self, u64), Error> {
        let problem = |problem: String| Error::Directory { path: path.to_owned(), problem };
        let length = create(path, capacity).map_err(|error| problem(cannot_write(&error)))?;
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).dma_open(path).await;
        let file = opened.map_err(|error| problem(not_direct(&plain(error).to_string())))?;
        if !is_direct(file.as_raw_fd()).map_err(|error| problem(error.to_string()))? {
            return Err(problem(not_direct("the flag was dropped, as tmpfs does")));
        }
        Ok((Self { file: Rc::new(file) }, length))
    }

    /// Writes a small file in `dir`, reads it back by direct I/O and removes it.
    ///
    /// Must run on each shard before its first [`open`](Self::open) on that device. glommio 0.9
    /// finds out at a thread's first DMA open of a device whether completions can be polled for,
    /// by reading the file that is opened. A read of an empty file ends without asking the device,
    /// is taken for a yes, and then all reads of the thread fail with EOPNOTSUPP while writes go on.
    /// So the first file must not be empty.
    ///
    /// # Errors
    /// [`Error::Directory`] where `dir` cannot be written or direct I/O does not work there.
    pub async fn probe(dir: &Path) -> Result<(), Error> {
        let problem = |problem: String| Error::Directory { path: dir.to_owned(), problem };
        let temporary = Temporary::create(dir).map_err(|error| problem(cannot_write(&error)))?;
        let (disk, _) = Self::open(&temporary.0, ALIGNMENT).await.map_err(|error| match error {
            Error::Directory { problem: text, .. } => problem(text),
            other => other,
        })?;
        let read = disk.file.read_at_aligned(0, PROBE.len()).await;
        let read = read.map_err(|error| problem(not_direct(&plain(error).to_string())))?;
        if read[..] != PROBE {
            return Err(problem(not_direct("a file came back with other bytes")));
        }
        Ok(())
    }

    pub(super) async fn read(
        &self,
        position: u64,
        length: usize,
        pool: &BufPool,
    ) -> Result<Block, Error> {
        let _glommios_buffer = pool.charge(length)?;
        let mut block = pool.take(Class::holding(length))?;
        let read = self.file.read_at_aligned(position, length).await.map_err(plain)?;
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
        let mut buffer = self.file.alloc_dma_buffer(data.len());
        data.copy_to(buffer.as_bytes_mut());
        let (file, length) = (Rc::clone(&self.file), data.len());
        // A task of its own, so that nobody's cancellation cuts the write off half-way.
        glommio::spawn_local(async move {
            let written = file.write_at(buffer, position).await.map_err(plain);
            drop(charge);
            done(written.and_then(|written| whole(written, length)));
        })
        .detach();
        Ok(())
    }

    pub(super) async fn sync(&self) -> io::Result<()> {
        self.file.fdatasync().await.map_err(plain)
    }
}

/// What the probe file holds: not empty, and not what an unwritten block would hold.
const PROBE: [u8; ALIGNMENT as usize] = [0xA5; ALIGNMENT as usize];

/// The probe's file; removed when dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn create(dir: &Path) -> io::Result<Self> {
        let thread = rustix::thread::gettid().as_raw_nonzero();
        let path = dir.join(format!(".probe.{thread}"));
        fs::write(&path, PROBE)?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A left-over is 4 KiB, and the next probe of this thread's number overwrites it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes sure the file exists and is at most `capacity` bytes; says how long it is.
fn create(path: &Path, capacity: u64) -> io::Result<u64> {
    let mut options = fs::OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
    let length = file.metadata()?.len();
    if length > capacity {
        file.set_len(capacity)?;
    }
    Ok(length.min(capacity))
}

/// Whether the open file really is in direct mode: some file systems drop the flag silently.
fn is_direct(fd: i32) -> io::Result<bool> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
    Ok(flags & OFlags::DIRECT.bits() != 0)
}

fn whole(written: usize, length: usize) -> io::Result<()> {
    // A regular file takes less than it was given only where the device is full.
    if written < length { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

/// The error of the system call, without glommio's text about the file.
fn plain(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.into(),
    }
}

fn cannot_write(error: &io::Error) -> String {
    format!("cannot be written: {error}; choose another with --cache, or correct its permissions")
}

fn not_direct(detail: &str) -> String {
    format!("does not work with direct I/O ({detail}); choose a directory on a local disk")
}

#[cfg(test)]
pub(super) mod tests {
    use std::{cell::RefCell, future::Future};

    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;
    use crate::{bufpool, storage::tests::directory_on_disk};

    /// Runs `test` on a shard's executor.
    pub(in crate::storage) fn on_shard<T>(test: impl Future<Output = T>) -> T {
        let executor = LocalExecutorBuilder::new(Placement::Unbound).make().expect("io_uring");
        executor.run(test)
    }

    fn pool() -> BufPool {
        BufPool::new(bufpool::Options { budget_bytes: 1 << 20 })
    }

    fn block(pool: &BufPool, byte: u8) -> Block {
        let mut block = pool.take(Class::Large).unwrap();
        block.fill(byte);
        block.freeze(64 << 10)
    }

    async fn write(disk: &Dma, position: u64, data: Data, pool: &BufPool) -> io::Result<()> {
        let outcome = Rc::new(RefCell::new(None));
        let its_outcome = Rc::clone(&outcome);
        let done = move |result| *its_outcome.borrow_mut() = Some(result);
        disk.write(position, data, pool, done).expect("budget");
        loop {
            if let Some(outcome) = outcome.borrow_mut().take() {
                return outcome;
            }
            glommio::executor().yield_now().await;
        }
    }

    #[test]
    fn what_is_written_comes_back_and_all_memory_is_counted() {
        let Some(dir) = directory_on_disk() else { return };
        on_shard(async {
            Dma::probe(dir.path()).await.unwrap();
            let pool = pool();
            let (disk, length) = Dma::open(&dir.path().join("data"), 1 << 20).await.unwrap();
            assert_eq!(length, 0);
            let bytes = block(&pool, 7);
            write(&disk, 64 << 10, Data::Bytes(bytes), &pool).await.unwrap();
            write(&disk, 0, Data::Zeros(64 << 10), &pool).await.unwrap();
            disk.sync().await.unwrap();
            assert_eq!(pool.stats().used_bytes, 0);
            let read = disk.read(64 << 10, 64 << 10, &pool).await.unwrap();
            assert!(read.iter().all(|byte| *byte == 7));
            assert!(disk.read(0, 16 << 10, &pool).await.unwrap().iter().all(|byte| *byte == 0));
            assert_eq!(pool.stats().used_bytes, 64 << 10);
            assert!(pool.stats().high_water_bytes >= 128 << 10);
            let past = disk.read(128 << 10, 4 << 10, &pool).await;
            assert!(matches!(past, Err(Error::Io(_))), "{past:?}");
        });
    }

    /// glommio keeps its finding per thread, so each run here starts from nothing.
    #[test]
    fn after_the_probe_an_empty_file_may_be_opened_first() {
        let Some(dir) = directory_on_disk() else { return };
        on_shard(async {
            Dma::probe(dir.path()).await.unwrap();
            let pool = pool();
            let (disk, _) = Dma::open(&dir.path().join("empty"), 1 << 20).await.unwrap();
            write(&disk, 0, Data::Bytes(block(&pool, 1)), &pool).await.unwrap();
            assert_eq!(disk.read(0, 64 << 10, &pool).await.unwrap()[0], 1);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the probe left its file");
        });
    }

    #[test]
    fn a_file_that_lost_its_name_still_works() {
        let Some(dir) = directory_on_disk() else { return };
        on_shard(async {
            Dma::probe(dir.path()).await.unwrap();
            let (pool, path) = (pool(), dir.path().join("data"));
            let (disk, _) = Dma::open(&path, 1 << 20).await.unwrap();
            fs::rename(&path, dir.path().join("other")).unwrap();
            write(&disk, 0, Data::Bytes(block(&pool, 3)), &pool).await.unwrap();
            assert_eq!(disk.read(0, 64 << 10, &pool).await.unwrap()[9], 3);
        });
    }

    #[test]
    fn a_file_longer_than_the_capacity_is_cut() {
        let Some(dir) = directory_on_disk() else { return };
        let path = dir.path().join("data");
        fs::write(&path, vec![1; 256 << 10]).unwrap();
        on_shard(async {
            Dma::probe(dir.path()).await.unwrap();
            let (_disk, length) = Dma::open(&path, 128 << 10).await.unwrap();
            assert_eq!((length, fs::metadata(&path).unwrap().len()), (128 << 10, 128 << 10));
        });
    }

    #[test]
    fn a_file_system_that_drops_the_flag_is_refused() {
        let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
            eprintln!("SKIPPED: no /dev/shm to try tmpfs on");
            return;
        };
        let refused = on_shard(Dma::probe(dir.path())).unwrap_err().to_string();
        assert!(refused.contains("direct I/O") && refused.contains("choose"), "{refused}");
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let missing = Path::new("/nowhere/at/all");
        let refused = on_shard(Dma::probe(missing)).unwrap_err().to_string();
        assert!(refused.contains("/nowhere/at/all") && refused.contains("written"), "{refused}");
    }

    #[test]
    fn a_write_without_budget_has_not_begun() {
        let Some(dir) = directory_on_disk() else { return };
        on_shard(async {
            Dma::probe(dir.path()).await.unwrap();
            let pool = BufPool::new(bufpool::Options { budget_bytes: 64 << 10 });
            let path = dir.path().join("data");
            let (disk, _) = Dma::open(&path, 1 << 20).await.unwrap();
            let bytes = block(&pool, 1);
            let refused = disk.write(0, Data::Bytes(bytes), &pool, |_| panic!("it has begun"));
            assert_eq!(refused, Err(Exhausted));
            assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        });
    }
}
