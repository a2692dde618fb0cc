//! What carries a shard's operations to the disk: glommio's ring, or one of storage's own.

use std::io;

use crate::{
    runtime::{self, EventFd, Queue, Task},
    storage::{Device, Ring},
};

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
        let running = ring.clone();
        let run = async move {
            let ended = running.run(async || bell.rung().await).await;
            ended.inspect_err(|error| {
                tracing::error!(%error, "nothing ends any more on the disk of the cache");
            })
        };
        let running = Some(runtime::spawn(Queue::Io, "disk", run));
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
