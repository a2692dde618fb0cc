//! A ring of the shard's own, which reads and writes the blocks of its pool in place.
//!
//! glommio's calls take and return only buffers of glommio's, so each read and each write by
//! [`Dma`](super::Dma) is one copy more. This ring belongs to storage: an operation names the memory of
//! a pool block itself, which is aligned as direct I/O wants it.
//!
//! ```text
//! read, write, sync -> queue (user space) -> flight (the kernel) -> eventfd -> who waited
//!                        at most OPERATIONS    at most IN_FLIGHT
//! ```
//!
//! One task of the shard, [`Ring::run`], carries operations over and brings back how they ended. It
//! is woken by who adds to the queue and by an eventfd that the kernel rings at each completion: storage
//! knows no executor, so who runs the task says how one waits for that. What comes in one round of the
//! executor goes to the kernel in one call, which lets the kernel join neighbours to one request.
//!
//! The kernel is told of the hottest blocks beforehand where memory may be locked (`registered`), which
//! saves it from looking up and holding their pages each time.
//!
//! # Against glommio's file and a copy, and against fio
//!
//! `cargo bench --bench storage -- 7`, two virtual AMD Zen 4 cores, ext4 on virtio, fio by io_uring with
//! direct I/O; shares of fio, reads so many at a time:
//!
//! | | ring | nothing locked | glommio and a copy | ring, verified | fio |
//! |---|---|---|---|---|---|
//! | 64 KiB reads, 8 | 0.95 | 0.92 | 0.83 | 0.90 | 1306 MB/s |
//! | their CPU | 1.73 | 2.04 | 2.03 | 1.92 | 144 us/MB |
//! | their p99 | 1.08 | 1.13 | 1.21 | 1.19 | 461 us |
//! | 64 KiB reads, 32 | 1.01 | 0.99 | 0.94 | 0.94 | 1308 MB/s |
//! | their CPU | 1.88 | 2.75 | 2.59 | 2.43 | 79 us/MB |
//! | 256 KiB reads, 8 | 1.01 | 0.99 | 1.01 | 0.92 | 1436 MB/s |
//! | their CPU | 3.20 | 4.18 | 4.65 | 3.80 | 45 us/MB |
//! | fills of 4 MiB, grown volume | 1.06 | - | 0.98 | | 4550 MB/s of 256 KiB writes in order |
//! | their CPU, us/MB | 149 | - | 190 | | |
//! | fills of 4 MiB, growing volume | 0.25 | - | 0.23 | | |
//! | p99 of 64 KiB reads beside a fill of 1 Gbit/s, of quiet | 1.31 | - | 1.31 | | |
//! | the same beside a fill as fast as it goes | 1.82 | - | 1.41 | | |
//!
//! So it costs less CPU in each of these and is as fast or faster in all but one, and a node opens its
//! files on it; the other is for a kernel that has not all of [`Ring::support`].
//!
//! A disk that has few reads to do answers them in bursts, so what passes from an end to the next read is
//! time in which it does nothing. What helped there, of eight reads at a time: a read goes to the kernel at
//! once and not with the round's others, and an end rings at once and not when the shard enters the kernel
//! next (`coop_taskrun`): 0.88 of fio before, 0.95 after; with either alone the median read took 454 us of 473,
//! with both 445. Also a faster checksum (verified 0.82 before, 0.90 after) and memory that is locked. What did not
//! help: completions that wait until they are fetched (`defer_taskrun`, 0.83), and an executor that spins
//! for 50 or 200 us before it sleeps (0.90, at twice the CPU, and 0.77).
//!
//! # Cancellation
//!
//! An operation owns its memory until the kernel is done with it, so dropping a future loses interest
//! and nothing else: the block comes home when the disk has written to it.

mod file;
#[allow(unsafe_code)] // The kernel gets addresses; see there.
mod flight;
mod operation;
mod registered;

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    rc::Rc,
};

pub use file::RingFile;
use flight::Flight;
pub use flight::Support;
use futures_lite::future;
use operation::Operation;

use super::{Error, waiters::Waiters};
use crate::bufpool::{BufPool, Exhausted};

/// The most operations that have begun and not ended. Each holds a block, so the pool's budget bounds
/// them too; beyond this the disk is so far behind that more would only wait.
const OPERATIONS: usize = 4096;

/// The ring of a shard. A clone is another handle to it, on the same shard.
#[derive(Clone)]
pub struct Ring {
    inner: Rc<Inner>,
}

struct Inner {
    queue: RefCell<VecDeque<Operation>>,
    flight: RefCell<Flight>,
    /// The task that runs the ring, while there is nothing to carry over.
    idle: Waiters<()>,
    /// Those who wait until nothing is under way.
    ending: Waiters<()>,
}

impl Ring {
    /// A ring that rings `bell`, an eventfd, when something has ended. It keeps at most
    /// `registered_bytes` of the pool's memory locked.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(bell: impl AsFd, registered_bytes: u64) -> io::Result<Self> {
        let flight = RefCell::new(Flight::new(bell.as_fd(), registered_bytes)?);
        let (queue, idle, ending) = Default::default();
        Ok(Self { inner: Rc::new(Inner { queue, flight, idle, ending }) })
    }

    /// What the kernel gives to such a ring.
    ///
    /// # Errors
    /// The kernel's: there is no ring at all.
    pub fn support() -> io::Result<Support> {
        Flight::support()
    }

    /// Carries operations to the kernel and back, for as long as it is polled. `rung` resolves when the
    /// bell was rung since it resolved last; it is never dropped half-way but with all of this.
    ///
    /// # Errors
    /// Those of `rung`. Nothing that is under way ends any more.
    ///
    /// # Cancellation
    /// What is under way is seen to end only if somebody runs the ring again.
    pub async fn run(&self, mut rung: impl AsyncFnMut() -> io::Result<()>) -> io::Result<()> {
        let back = async {
            loop {
                self.inner.bring_back();
                if let Err(error) = rung().await {
                    break Err(error);
                }
            }
        };
        // Polled after `back`, so what that made room for goes at once.
        let over = async {
            loop {
                self.inner.idle.until(|| (), || self.inner.can_carry().then_some(())).await;
                self.inner.carry_over();
                if self.inner.is_refused() {
                    // The kernel is short of memory: another round of the executor, another try.
                    future::yield_now().await;
                }
            }
        };
        future::or(back, over).await
    }

    /// Resolves when nothing is under way any more. Somebody has to run the ring.
    pub async fn ended(&self) {
        self.inner.ending.until(|| (), || (self.inner.under_way() == 0).then_some(())).await;
    }

    /// How many pieces of the pool's memory the kernel knows.
    pub fn registered(&self) -> usize {
        self.inner.flight.borrow().registered()
    }

    /// Reads a small file in `dir` by direct I/O: one that is made for it, or, where the file system
    /// takes nothing, one that is there.
    ///
    /// # Errors
    /// [`Error::Directory`] where `dir` cannot be written or direct I/O does not work there.
    pub(super) async fn probe(&self, dir: &Path, pool: &BufPool) -> Result<(), Error> {
        file::probe(self, dir, pool).await
    }

    /// Opens or creates the file at `path` and says how long it is, in bytes. It is cut to `capacity`
    /// bytes where it is longer. From then on the caller owns its length.
    ///
    /// # Errors
    /// [`Error::Directory`] where the file cannot be opened, or not for direct I/O.
    pub fn open(&self, path: &Path, capacity: u64) -> Result<(RingFile, u64), Error> {
        file::open(self, path, capacity)
    }

    /// Takes an operation over.
    ///
    /// # Errors
    /// [`Exhausted`] where too many are under way; nothing has begun.
    fn begin(&self, operation: Operation) -> Result<(), Exhausted> {
        if self.inner.under_way() >= OPERATIONS {
            return Err(Exhausted);
        }
        self.begin_anyway(operation);
        Ok(())
    }

    fn begin_anyway(&self, operation: Operation) {
        let is_read = operation.action.is_read();
        self.inner.queue.borrow_mut().push_back(operation);
        // A read goes at once: somebody waits for it, and a disk that has caught up would have nothing
        // to do until the round ends. What is written goes with its neighbours.
        if is_read && self.inner.can_carry() {
            self.inner.carry_over();
        }
        if self.inner.can_carry() {
            self.inner.idle.wake(|()| true);
        }
    }
}

impl Inner {
    fn under_way(&self) -> usize {
        self.queue.borrow().len() + self.flight.borrow().len()
    }

    /// Whether something waits that the kernel can take.
    fn can_carry(&self) -> bool {
        let flight = self.flight.borrow();
        flight.is_refused() || (!self.queue.borrow().is_empty() && flight.has_room())
    }

    fn is_refused(&self) -> bool {
        self.flight.borrow().is_refused()
    }

    fn carry_over(&self) {
        let (mut queue, mut flight) = (self.queue.borrow_mut(), self.flight.borrow_mut());
        while flight.has_room() {
            let Some(operation) = queue.pop_front() else { break };
            flight.push(operation);
        }
        flight.submit();
    }

    /// Tells those who waited for what has ended. They may begin others: nothing is borrowed then.
    fn bring_back(&self) {
        while let Some((operation, outcome)) = self.reap() {
            let Operation { action, ended, .. } = operation;
            // A panic of who is told is not to end the others' operations.
            if catch_unwind(AssertUnwindSafe(|| ended(action, outcome))).is_err() {
                tracing::error!("what was to follow an operation of the disk panicked");
            }
        }
        if self.under_way() == 0 {
            self.ending.wake(|()| true);
        }
    }

    fn reap(&self) -> Option<(Operation, io::Result<usize>)> {
        self.flight.borrow_mut().reap()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        future::Future,
        pin::pin,
        task::{Context, Waker},
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{
        bufpool::Class,
        storage::{
            Data,
            dma::tests::on_shard,
            tests::{block, directory_on_disk, pool, ring},
        },
    };

    const LARGE: usize = 64 << 10;

    fn nobody() -> std::os::fd::OwnedFd {
        rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap()
    }

    fn poll_once(future: impl Future) {
        let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    }

    #[test]
    fn a_sleeping_shard_is_woken_by_each_end() {
        let Some(dir) = directory_on_disk() else { return };
        on_shard(async {
            let (ring, pool) = (ring(1 << 20), pool(1 << 20));
            let (file, _) = ring.open(&dir.path().join("data"), 1 << 20).unwrap();
            file.write(0, Data::Zeros(LARGE), &pool, |_| ()).unwrap();
            ring.ended().await;
            let began = Instant::now();
            for _ in 0..500 {
                file.read(0, 4 << 10, &pool).await.unwrap();
            }
            // One that nothing woke would sleep for ever.
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        });
    }

    /// What the pool freed and allocated anew may lie where the kernel knew other memory.
    #[test]
    fn the_kernel_never_takes_one_piece_of_memory_for_another() {
        let Some(dir) = directory_on_disk() else { return };
        on_shard(async {
            let (ring, pool) = (ring(3 * LARGE as u64), pool(256 << 10));
            let (file, _) = ring.open(&dir.path().join("data"), 1 << 20).unwrap();
            for round in 0..40_u8 {
                let written: Vec<_> =
                    (0..2).map(|at| block(&pool, Class::Large, round ^ at)).collect();
                for (at, bytes) in (0..).zip(&written) {
                    let data = Data::Bytes(bytes.clone());
                    file.write(at * LARGE as u64, data, &pool, |done| done.unwrap()).unwrap();
                }
                ring.ended().await;
                for at in 0..2 {
                    let read = file.read(at * LARGE as u64, LARGE, &pool).await.unwrap();
                    assert!(read.iter().all(|byte| *byte == round ^ at as u8), "round {round}");
                }
                drop(written);
                // All large blocks go back to the allocator, which may give their memory out again.
                let small: Vec<_> = (0..64).map(|_| block(&pool, Class::Small, 0xEE)).collect();
                drop(small);
            }
            assert!((1..=3).contains(&ring.registered()), "{}", ring.registered());
        });
    }

    /// The kernel looks a place up when it comes to the operation, after all of a burst were pushed.
    #[test]
    fn a_burst_of_more_memory_than_the_kernel_may_know_ends_well() {
        let Some(dir) = directory_on_disk() else { return };
        on_shard(async {
            let (ring, pool) = (ring(4 * LARGE as u64), pool(8 << 20));
            let path = dir.path().join("data");
            std::fs::write(&path, vec![7; 1 << 20]).unwrap();
            let (file, _) = ring.open(&path, 1 << 20).unwrap();
            for round in 0..10 {
                let mut reads: Vec<_> =
                    (0..100).map(|_| Box::pin(file.read(0, LARGE, &pool))).collect();
                reads.iter_mut().for_each(|read| poll_once(read.as_mut()));
                for read in reads {
                    let read = read.await;
                    assert!(read.is_ok_and(|read| read[9] == 7), "round {round}");
                }
            }
            assert_eq!(ring.registered(), 4);
        });
    }

    #[test]
    fn more_than_can_be_under_way_is_refused_and_goes_later() {
        let Some(dir) = directory_on_disk() else { return };
        on_shard(async {
            let pool = pool(1 << 20);
            let bell = nobody();
            let ring = Ring::new(&bell, 0).unwrap();
            let (file, _) = ring.open(&dir.path().join("data"), 1 << 20).unwrap();
            let (bytes, ended) = (block(&pool, Class::Small, 1), Rc::new(Cell::new(0)));
            let write = || {
                let ended = Rc::clone(&ended);
                let done = move |outcome: io::Result<()>| {
                    outcome.unwrap();
                    ended.set(ended.get() + 1);
                };
                file.write(0, Data::Bytes(bytes.clone()), &pool, done)
            };
            (0..OPERATIONS).for_each(|_| write().unwrap());
            assert_eq!(write(), Err(Exhausted));
            let refused = file.read(0, 4 << 10, &pool).await;
            assert!(matches!(refused, Err(Error::Exhausted(_))), "{refused:?}");
            assert_eq!(ended.get(), 0);
        });
    }

    #[test]
    fn what_is_in_flight_when_a_ring_is_dropped_ends_before_its_memory_goes() {
        let Some(dir) = directory_on_disk() else { return };
        let pool = pool(4 << 20);
        let path = dir.path().join("data");
        std::fs::write(&path, vec![5; 1 << 20]).unwrap();
        let bell = nobody();
        let ring = Ring::new(&bell, 1 << 20).unwrap();
        let (file, _) = ring.open(&path, 1 << 20).unwrap();
        let mut reads: Vec<_> = (0..32).map(|_| Box::pin(file.read(0, LARGE, &pool))).collect();
        // They are with the kernel at once, and nobody brings them back.
        reads.iter_mut().for_each(|read| poll_once(read.as_mut()));
        assert_eq!(ring.inner.flight.borrow().len(), 32);
        drop(reads);
        assert_eq!(pool.stats().used_bytes, 32 * LARGE, "the kernel still writes there");
        drop((ring, file));
        assert_eq!(pool.stats().used_bytes, 0);
    }

    #[test]
    fn a_panic_of_one_who_is_told_ends_nobody_elses_operation() {
        let Some(dir) = directory_on_disk() else { return };
        on_shard(async {
            let (ring, pool) = (ring(0), pool(1 << 20));
            let (file, _) = ring.open(&dir.path().join("data"), 1 << 20).unwrap();
            file.write(0, Data::Zeros(LARGE), &pool, |_| panic!("on purpose")).unwrap();
            file.write(0, Data::Zeros(LARGE), &pool, |_| ()).unwrap();
            file.sync().await.unwrap();
            ring.ended().await;
            assert_eq!(file.read(0, LARGE, &pool).await.unwrap()[0], 0);
        });
    }

    #[test]
    fn this_machine_gives_a_ring() {
        let support = Ring::support().unwrap();
        assert!(support.missing.is_empty(), "{support:?}");
    }
}
