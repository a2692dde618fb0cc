//! The device under a volume: positions and bytes, nothing of objects.
//!
//! Positions and lengths are multiples of 4 KiB, since direct I/O takes no others.

use std::{cell::Cell, io, path::Path, rc::Rc};

use super::{
    Error,
    dma::{Dma, Spawn},
    ring::{Ring, RingFile},
    sim::Sim,
    waiters::Waiters,
};
use crate::bufpool::{Block, BufPool, Exhausted};

/// What direct I/O wants positions and lengths to be multiples of, in bytes. The kernel asks for
/// 512 on most devices and refuses others with EINVAL; 4 KiB suits all of them.
pub(super) const ALIGNMENT: u64 = 4 << 10;

/// A file by direct I/O, or a simulation of one.
#[derive(Clone)]
pub enum Disk {
    /// On the ring of storage, in place.
    Ring(RingFile),
    /// On glommio's ring, by a copy.
    Dma(Dma),
    /// In memory, with faults on demand: for tests.
    Sim(Sim),
}

/// How a shard's files are opened.
#[derive(Clone)]
pub enum Device {
    /// On this ring.
    Ring(Ring),
    /// On glommio's; its writes are tasks that this starts.
    Dma(Spawn),
}

impl Device {
    /// Sees that direct I/O works in `dir`. Once on each shard, before anything is opened there.
    ///
    /// # Errors
    /// [`Error::Directory`] where `dir` can never be written or direct I/O does not work there.
    pub async fn probe(&self, dir: &Path, pool: &BufPool) -> Result<(), Error> {
        match self {
            Device::Ring(ring) => ring.probe(dir, pool).await,
            Device::Dma(spawn) => Dma::probe(dir, *spawn).await,
        }
    }

    /// Opens or creates the file at `path`, cuts it to `capacity` bytes where it is longer, and says how
    /// long it is. From then on the caller owns its length. On a file system that is read-only each write
    /// finds out whether it still is.
    ///
    /// # Errors
    /// [`Error::Directory`] where the file cannot be opened, or not for direct I/O; [`Error::NotNow`]
    /// where it is not there and cannot be made now.
    pub async fn open(&self, path: &Path, capacity: u64) -> Result<(Disk, u64), Error> {
        Ok(match self {
            Device::Ring(ring) => {
                let (file, length) = ring.open(path, capacity)?;
                (Disk::Ring(file), length)
            }
            Device::Dma(spawn) => {
                let (file, length) = Dma::open(path, capacity, *spawn).await?;
                (Disk::Dma(file), length)
            }
        })
    }
}

/// What a write puts on the disk.
pub enum Data {
    /// These bytes.
    Bytes(Block),
    /// So many zeros: the file grows.
    Zeros(usize),
}

impl Data {
    pub(super) fn len(&self) -> usize {
        match self {
            Data::Bytes(block) => block.len(),
            Data::Zeros(length) => *length,
        }
    }

    /// Puts the bytes into a buffer of the same length.
    pub(super) fn copy_to(&self, buffer: &mut [u8]) {
        self.copy_from(0, buffer);
    }

    /// The same of those from the one numbered `at` on.
    pub(super) fn copy_from(&self, at: usize, buffer: &mut [u8]) {
        match self {
            Data::Bytes(block) => buffer.copy_from_slice(&block[at..]),
            Data::Zeros(_) => buffer.fill(0),
        }
    }
}

impl Disk {
    /// Reads `length` bytes, at most 64 KiB, into a block of `pool`.
    ///
    /// # Errors
    /// [`Error::Exhausted`] where the pool has no block, [`Error::Io`] where the device fails or
    /// ends before.
    ///
    /// # Cancellation
    /// Nothing is changed by a read that is dropped.
    pub async fn read(&self, position: u64, length: usize, pool: &BufPool) -> Result<Block, Error> {
        debug_assert!(
            position.is_multiple_of(ALIGNMENT) && (length as u64).is_multiple_of(ALIGNMENT)
        );
        match self {
            Disk::Ring(disk) => disk.read(position, length, pool).await,
            Disk::Dma(disk) => disk.read(position, length, pool).await,
            Disk::Sim(disk) => disk.read(position, length, pool).await,
        }
    }

    /// Begins to write `data`; `done` is told how it went, in a later turn of the shard or at once.
    ///
    /// A write that has begun ends, whoever loses interest: blocks may be given to another owner
    /// only after `done`, or the two writes would race. Therefore this is no future.
    ///
    /// # Errors
    /// [`Exhausted`] where the pool's budget has no room for the buffer; nothing has begun.
    pub fn write(
        &self,
        position: u64,
        data: Data,
        pool: &BufPool,
        done: impl FnOnce(io::Result<()>) + 'static,
    ) -> Result<(), Exhausted> {
        debug_assert!(
            position.is_multiple_of(ALIGNMENT) && (data.len() as u64).is_multiple_of(ALIGNMENT)
        );
        match self {
            Disk::Ring(disk) => disk.write(position, data, pool, done),
            Disk::Dma(disk) => disk.write(position, data, pool, done),
            Disk::Sim(disk) => {
                // As much memory as the real thing takes.
                let charge = pool.charge(data.len())?;
                disk.write(position, data, move |outcome| {
                    drop(charge);
                    done(outcome);
                });
                Ok(())
            }
        }
    }

    /// [`write`](Self::write), waited for.
    ///
    /// # Errors
    /// [`Error::Exhausted`], and nothing has begun; what the device says.
    ///
    /// # Cancellation
    /// The write goes on.
    pub(super) async fn write_whole(
        &self,
        position: u64,
        data: Data,
        pool: &BufPool,
    ) -> Result<(), Error> {
        let ended = Rc::new((Cell::new(None), Waiters::default()));
        let its_ended = Rc::clone(&ended);
        self.write(position, data, pool, move |outcome| {
            its_ended.0.set(Some(outcome));
            its_ended.1.wake(|()| true);
        })?;
        Ok(ended.1.until(|| (), || ended.0.take()).await?)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the device says; what was not durable before may be lost.
    pub async fn sync(&self) -> io::Result<()> {
        match self {
            Disk::Ring(disk) => disk.sync().await,
            Disk::Dma(disk) => disk.sync().await,
            Disk::Sim(disk) => disk.sync().await,
        }
    }
}

#[cfg(test)]
mod tests {
    //! What every kind of disk keeps to, tried on each.

    use std::{fs, future::Future, rc::Rc};

    use futures_lite::future;

    use super::*;
    use crate::{
        bufpool::Class,
        storage::{
            dma::tests::on_shard,
            tests::{block, directory_on_disk, pool, ring, spawn},
        },
    };

    const KIB: usize = 1 << 10;
    const LARGE: usize = 64 * KIB;

    /// Runs `test` on an executor of its own for each device, with an empty directory.
    fn on_each_device<F: Future<Output = ()>>(test: impl Fn(Device, std::path::PathBuf) -> F) {
        let Some(dir) = directory_on_disk() else { return };
        type Make = fn() -> Device;
        let devices: [(&str, Make); 3] = [
            ("dma", || Device::Dma(spawn)),
            ("ring", || Device::Ring(ring(0))),
            ("registered", || Device::Ring(ring(1 << 20))),
        ];
        for (name, device) in devices {
            let dir = dir.path().join(name);
            fs::create_dir(&dir).unwrap();
            on_shard(async { test(device(), dir).await });
        }
    }

    /// Runs `test` with an empty disk of each kind, and the megabyte of memory it may use.
    fn on_each_disk<F: Future<Output = ()>>(test: impl Fn(Disk, BufPool) -> F) {
        on_each_device(async |device, dir| {
            let pool = pool(1 << 20);
            device.probe(&dir, &pool).await.unwrap();
            let (disk, length) = device.open(&dir.join("data"), 64 << 20).await.unwrap();
            assert_eq!((length, pool.stats().used_bytes), (0, 0));
            test(disk, pool).await;
        });
        future::block_on(test(Disk::Sim(Sim::default()), pool(1 << 20)));
    }

    #[test]
    fn what_is_written_comes_back_and_all_memory_is_counted() {
        on_each_disk(async |disk, pool| {
            let bytes = block(&pool, Class::Large, 7).slice(4 * KIB..LARGE);
            disk.write_whole(64 << 10, Data::Bytes(bytes), &pool).await.unwrap();
            disk.write_whole(0, Data::Zeros(LARGE), &pool).await.unwrap();
            disk.write_whole(128 << 10, Data::Zeros(4 * LARGE - 16 * KIB), &pool).await.unwrap();
            disk.sync().await.unwrap();
            assert_eq!(pool.stats().used_bytes, 0);
            let read = disk.read(64 << 10, LARGE - 4 * KIB, &pool).await.unwrap();
            assert!(read.len() == LARGE - 4 * KIB && read.iter().all(|byte| *byte == 7));
            let end = (128 << 10) + 4 * LARGE as u64 - (16 << 10);
            for position in [0, 128 << 10, end - (16 << 10)] {
                let read = disk.read(position, 16 * KIB, &pool).await.unwrap();
                assert!(read.iter().all(|byte| *byte == 0), "at {position}");
            }
            assert_eq!(pool.stats().used_bytes, LARGE);
            for (position, length) in [(end, 4 * KIB), (end - (4 << 10), 8 * KIB)] {
                let past = disk.read(position, length, &pool).await;
                let is_end = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
                assert!(matches!(&past, Err(Error::Io(error)) if is_end(error)), "{past:?}");
            }
        });
    }

    #[test]
    fn what_does_not_fit_the_budget_has_not_begun() {
        on_each_disk(async |disk, _| {
            let pool = pool(LARGE);
            let taken = block(&pool, Class::Large, 1);
            let refused = disk.write(0, Data::Zeros(LARGE), &pool, |_| panic!("it has begun"));
            assert_eq!(refused, Err(Exhausted));
            drop(taken);
            disk.write_whole(0, Data::Zeros(LARGE), &pool).await.unwrap();
            let _taken = block(&pool, Class::Large, 1);
            let refused = disk.read(0, LARGE, &pool).await;
            assert!(matches!(refused, Err(Error::Exhausted(_))), "{refused:?}");
        });
    }

    #[test]
    fn a_read_that_is_dropped_changes_nothing_and_its_memory_comes_home() {
        on_each_disk(async |disk, pool| {
            let first = block(&pool, Class::Large, 1);
            disk.write_whole(0, Data::Bytes(first), &pool).await.unwrap();
            for round in 0..50 {
                // As far as the disk at the second poll, if it waits for anything.
                let dropped = disk.read(0, LARGE, &pool);
                let _ = future::or(async { dropped.await.map(drop) }, async {
                    if round % 2 == 0 {
                        future::yield_now().await;
                    }
                    Ok(())
                })
                .await;
                let mine = block(&pool, Class::Large, 2);
                let read = disk.read(0, LARGE, &pool).await.unwrap();
                assert!(read.iter().all(|byte| *byte == 1), "round {round}");
                assert!(mine.iter().all(|byte| *byte == 2), "round {round}: written into");
            }
            while pool.stats().used_bytes > 0 {
                // Nobody knows of a dropped read; another one ends after it.
                disk.read(0, 4 * KIB, &pool).await.unwrap();
            }
        });
    }

    #[test]
    fn a_write_that_nobody_waits_for_ends() {
        on_each_disk(async |disk, pool| {
            let bytes = block(&pool, Class::Large, 9);
            drop(disk.write_whole(0, Data::Bytes(bytes), &pool));
            let bytes = block(&pool, Class::Large, 3);
            let write = disk.write_whole(64 << 10, Data::Bytes(bytes), &pool);
            future::or(async { write.await.map(drop) }, async { Ok(()) }).await.unwrap();
            while pool.stats().used_bytes > 0 {
                disk.sync().await.unwrap();
            }
            assert_eq!(disk.read(64 << 10, LARGE, &pool).await.unwrap()[5], 3);
        });
    }

    /// More than any ring takes at once.
    #[test]
    fn hundreds_at_a_time_all_end_in_their_own_place() {
        on_each_disk(async |disk, _| {
            let (pool, ended) = (pool(8 << 20), Rc::new((Cell::new(0), Waiters::default())));
            for page in 0..700_u64 {
                let (bytes, ended) = (block(&pool, Class::Small, page as u8), Rc::clone(&ended));
                let done = move |outcome: io::Result<()>| {
                    outcome.unwrap();
                    ended.0.set(ended.0.get() + 1);
                    ended.1.wake(|()| true);
                };
                disk.write(page * ALIGNMENT, Data::Bytes(bytes), &pool, done).unwrap();
            }
            ended.1.until(|| (), || (ended.0.get() == 700).then_some(())).await;
            let page = async |page: u64| {
                let read = disk.read(page * ALIGNMENT, 4 * KIB, &pool).await.unwrap();
                assert!(read.iter().all(|byte| *byte == page as u8), "page {page}");
            };
            let mut reads: Vec<_> = (0..700).map(|number| Box::pin(page(number))).collect();
            future::poll_fn(|context| {
                reads.retain_mut(|read| read.as_mut().poll(context).is_pending());
                if reads.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
            assert_eq!(pool.stats().used_bytes, 0);
        });
    }

    #[test]
    fn a_file_that_lost_its_name_still_works() {
        on_each_device(async |device, dir| {
            let pool = pool(1 << 20);
            device.probe(&dir, &pool).await.unwrap();
            let (disk, _) = device.open(&dir.join("data"), 1 << 20).await.unwrap();
            fs::rename(dir.join("data"), dir.join("other")).unwrap();
            let bytes = block(&pool, Class::Large, 3);
            disk.write_whole(0, Data::Bytes(bytes), &pool).await.unwrap();
            assert_eq!(disk.read(0, LARGE, &pool).await.unwrap()[9], 3);
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "the probe left its file");
        });
    }

    /// Only the rest of such a write says what cut it off: a full device, a bad place, or, as here, a limit
    /// of the process on the length of its files. So it is a process of its own, that such a limit does not
    /// kill.
    #[test]
    fn a_write_that_is_cut_off_ends_as_its_rest() {
        const LIMITED: &str = "KITHARA_TEST_LIMITED";
        if std::env::var_os(LIMITED).is_none() {
            let name = "storage::disk::tests::a_write_that_is_cut_off_ends_as_its_rest";
            let run = "trap '' XFSZ; exec \"$0\" --exact \"$1\" --nocapture";
            let mut sh = std::process::Command::new("sh");
            sh.args(["-c", run]).arg(std::env::current_exe().unwrap()).arg(name).env(LIMITED, "1");
            let told = sh.output().unwrap();
            let text =
                String::from_utf8_lossy(&told.stdout) + String::from_utf8_lossy(&told.stderr);
            assert!(told.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        on_each_device(async |device, dir| {
            let pool = pool(1 << 20);
            device.probe(&dir, &pool).await.unwrap();
            let (disk, _) = device.open(&dir.join("data"), 1 << 20).await.unwrap();
            let limit = |current| {
                let limit = rustix::process::Rlimit { current, maximum: None };
                rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
            };
            limit(Some(96 << 10));
            for data in [Data::Bytes(block(&pool, Class::Large, 7)), Data::Zeros(LARGE)] {
                let cut = disk.write_whole(64 << 10, data, &pool).await;
                let is_limit = |error: &io::Error| error.kind() == io::ErrorKind::FileTooLarge;
                assert!(matches!(&cut, Err(Error::Io(error)) if is_limit(error)), "{cut:?}");
            }
            limit(None);
            let bytes = block(&pool, Class::Large, 3);
            disk.write_whole(0, Data::Bytes(bytes), &pool).await.unwrap();
            assert_eq!(pool.stats().used_bytes, 0);
        });
    }

    #[test]
    fn a_file_longer_than_the_capacity_is_cut() {
        on_each_device(async |device, dir| {
            let path = dir.join("data");
            fs::write(&path, vec![1; 256 * KIB]).unwrap();
            device.probe(&dir, &pool(1 << 20)).await.unwrap();
            let (_disk, length) = device.open(&path, 128 << 10).await.unwrap();
            assert_eq!((length, fs::metadata(&path).unwrap().len()), (128 << 10, 128 << 10));
        });
    }

    #[test]
    fn every_file_is_open_for_direct_io() {
        on_each_device(async |device, dir| {
            device.probe(&dir, &pool(1 << 20)).await.unwrap();
            let path = dir.join("data");
            let _open = device.open(&path, 1 << 20).await.unwrap();
            let fds = fs::read_dir("/proc/self/fd").unwrap().map(|fd| fd.unwrap().path());
            let own: Vec<_> =
                fds.filter(|fd| fs::read_link(fd).is_ok_and(|file| file == path)).collect();
            assert_eq!(own.len(), 1);
            let info = own[0].to_str().unwrap().replace("/fd/", "/fdinfo/");
            let info = fs::read_to_string(info).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
            let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
            assert_ne!(flags & rustix::fs::OFlags::DIRECT.bits(), 0, "{info}");
        });
    }

    #[test]
    fn a_file_system_that_drops_the_flag_is_refused() {
        let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
            eprintln!("SKIPPED: no /dev/shm to try tmpfs on");
            return;
        };
        on_each_device(async |device, _| {
            let refused = device.probe(memory.path(), &pool(1 << 20)).await.unwrap_err();
            let refused = refused.to_string();
            assert!(refused.contains("direct I/O") && refused.contains("choose"), "{refused}");
        });
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        on_each_device(async |device, _| {
            let missing = Path::new("/nowhere/at/all");
            let refused = device.probe(missing, &pool(1 << 20)).await.unwrap_err().to_string();
            assert!(
                refused.contains("/nowhere/at/all") && refused.contains("written"),
                "{refused}"
            );
        });
    }
}
