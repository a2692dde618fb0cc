//! A bell that the kernel rings: an eventfd that another ring tells of its completions.
//!
//! glommio waits on rings of its own only. A ring beside them, such as the one that storage reads and
//! writes by, is told of an eventfd, and a read of that is in flight on glommio's ring for as long as
//! somebody waits: it wakes an executor that sleeps as any other completion does.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd},
};

use glommio::io::BufferedFile;
use rustix::event::{EventfdFlags, eventfd};

/// What an eventfd holds: how often it was rung since it was read.
const COUNT_BYTES: usize = size_of::<u64>();

/// The bell. Dropping it closes this end; a ring that was told of it keeps its own.
pub struct EventFd {
    file: BufferedFile,
}

impl EventFd {
    /// A bell that was not rung yet.
    ///
    /// # Errors
    /// When no descriptor is left.
    ///
    /// # Panics
    /// Outside of a shard.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC)?;
        // SAFETY: `into_raw_fd` gives up the only ownership of an open descriptor.
        Ok(Self { file: unsafe { BufferedFile::from_raw_fd(fd.into_raw_fd()) } })
    }

    /// Waits until it has been rung since this resolved last.
    ///
    /// # Errors
    /// The kernel's, which would be a fault of this program.
    ///
    /// # Cancellation
    /// A ring that has come may be lost: whoever waits goes on until its shard ends.
    pub async fn rung(&self) -> io::Result<()> {
        self.file.read_at(0, COUNT_BYTES).await?;
        Ok(())
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the file that owns it, which is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.file.as_raw_fd()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtime::{Options, Queue, run, sleep, spawn, timeout};

    #[test]
    fn each_ring_wakes_who_waits_and_rings_in_between_count_as_one() {
        run(Options { shards: 1, blocking_threads: 1, oversubscribe: true }, |_| async {
            let bell = EventFd::new().expect("a descriptor");
            let other_end = bell.as_fd().try_clone_to_owned().expect("a descriptor");
            let ringing = spawn(Queue::Io, "ringing", async move {
                for _ in 0..3 {
                    sleep(Duration::from_millis(2)).await;
                    rustix::io::write(&other_end, &1_u64.to_ne_bytes()).expect("it is open");
                }
                other_end
            });
            let long = Duration::from_secs(10);
            for _ in 0..3 {
                timeout(long, bell.rung()).await.expect("in time").expect("readable");
            }
            let other_end = ringing.await.expect("it ends");
            for _ in 0..2 {
                rustix::io::write(&other_end, &1_u64.to_ne_bytes()).expect("it is open");
            }
            timeout(long, bell.rung()).await.expect("in time").expect("readable");
            assert!(timeout(Duration::from_millis(20), bell.rung()).await.is_err());
        })
        .expect("a shard starts");
    }
}
