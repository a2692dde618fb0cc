//! Blocks that come home from other cores, told to who waits for memory.

use std::io;

use crate::{
    bufpool::BufPool,
    runtime::{self, Queue, Task},
};

/// From now on, and as long as the task lives, those who wait for memory of `pool` are woken on
/// this shard when another gives some back.
///
/// # Errors
/// When no descriptor is left.
pub fn returns(pool: &BufPool) -> io::Result<Task<()>> {
    let (ringer, mut bell) = runtime::doorbell()?;
    pool.on_return_elsewhere(move || ringer.ring());
    let pool = pool.clone();
    Ok(runtime::spawn(Queue::Io, "returns", async move {
        while bell.rung().await {
            pool.answer();
        }
    }))
}
