//! Calls that block, run on threads beside the shards.

use std::sync::mpsc;

use glommio::executor;

use super::panics::{Panicked, contain};

/// Runs `work` on this shard's blocking pool, which may use every core, and waits for its result.
///
/// # Cancellation
///
/// Dropping the future does not stop `work`; its result is then dropped on the pool's thread.
///
/// # Panics
///
/// Outside of a shard.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    // glommio keeps a result nobody takes as uninitialised memory and leaks it; a channel does not.
    let (sender, receiver) = mpsc::sync_channel(1);
    executor()
        .spawn_blocking(move || {
            let _ = contain("blocking", || sender.send(contain("blocking", work)));
        })
        .await;
    receiver.try_recv().unwrap_or(Err(Panicked { name: "blocking" }))
}
