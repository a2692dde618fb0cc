//! What carries a shard's operations to the disk: glommio's ring, or one of storage's own.

use std::io;

use crate::{
    runtime::{self, EventFd, Queue, Task},
    storage::{Device, Ring},
};

/// Stands in what runs the ring; when that panics, the node ends. Whoever waits for the disk would
/// wait for ever, and a node that hangs is found later than one that is gone.
struct Vital;

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            give_up("what runs it panicked");
        }
    }
}

fn keep_running(
    ring: Ring,
    rung: impl AsyncFnMut() -> io::Result<()> + 'static,
) -> Task<io::Result<()>> {
    let run = async move {
        let _vital = Vital;
        let ended = ring.run(rung).await;
        ended.inspect_err(|error| give_up(&error.to_string()))
    };
    runtime::spawn(Queue::Io, "disk", run)
}

fn give_up(why: &str) -> ! {
    runtime::give_up("nothing ends any more on the disk of the cache", why)
}

/// The device that a shard's volumes are opened on.
pub struct ShardDisk {
    device: Device,
    /// What runs the ring.
    running: Option<Task<io::Result<()>>>,
}

impl ShardDisk {
    /// In place where the kernel can do that, with at most so many bytes of the pool's memory locked;
    /// else by a copy.
    pub fn new(registered_bytes: u64) -> Self {
        Self::on_ring(registered_bytes).unwrap_or_else(|error| {
            tracing::warn!(%error, "each read and write of the cache is copied once");
            Self::by_copy()
        })
    }

    /// On a ring that keeps at most so many bytes of the pool's memory locked.
    ///
    /// # Errors
    /// What the kernel lacks.
    pub fn on_ring(registered_bytes: u64) -> io::Result<Self> {
        let support = Ring::support()?;
        if !support.missing.is_empty() {
            return Err(io::Error::other(format!("without {}", support.missing.join(", "))));
        }
        let bell = EventFd::new()?;
        let ring = Ring::new(&bell, registered_bytes)?;
        let running = Some(keep_running(ring.clone(), async move || bell.rung().await));
        Ok(Self { device: Device::Ring(ring), running })
    }

    /// On glommio's ring, whose buffers are its own.
    pub fn by_copy() -> Self {
        let spawn = |write| runtime::spawn(Queue::Io, "write", write).detach();
        Self { device: Device::Dma(spawn), running: None }
    }

    /// What files are opened on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Waits until nothing is under way. The volumes have been closed before.
    pub async fn end(self) {
        let Self { device: Device::Ring(ring), running: Some(running) } = self else { return };
        ring.ended().await;
        running.cancel().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Duration};

    use super::*;

    /// In processes of their own.
    #[test]
    fn a_disk_on_which_nothing_ends_any_more_takes_the_process_with_it() {
        const CHILD: &str = "KITHARA_TEST_DISK_ENDS";
        if let Ok(how) = std::env::var(CHILD) {
            let options = runtime::Options { shards: 1, blocking_threads: 1, oversubscribe: true };
            let _ = runtime::run(options, move |_| {
                let how = how.clone();
                async move {
                    let bell = EventFd::new().expect("an eventfd");
                    let ring = Ring::new(&bell, 0).expect("a ring");
                    keep_running(ring, async move || match how.as_str() {
                        "panics" => panic!("on purpose"),
                        _ => Err(io::Error::other("on purpose")),
                    })
                    .detach();
                    // A node goes on for ever.
                    runtime::sleep(Duration::from_secs(10)).await;
                }
            });
            return;
        }
        let name =
            "shard::disk::tests::a_disk_on_which_nothing_ends_any_more_takes_the_process_with_it";
        for how in ["fails", "panics"] {
            let mut child = Command::new(std::env::current_exe().expect("a test is a file"));
            let child = child.args(["--exact", name, "--nocapture"]).env(CHILD, how).output();
            let child = child.expect("it starts");
            let said = String::from_utf8_lossy(&child.stderr);
            assert_eq!(child.status.code(), Some(70), "{how}: {said}");
            assert!(said.contains("nothing ends any more on the disk"), "{how}: {said}");
        }
    }
}
