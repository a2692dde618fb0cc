//! Memory given back to the system, when those who took it are gone.

use std::{rc::Rc, time::Duration};

use super::{
    Shard,
    thrift::{Next, Thrift},
};
use crate::runtime;

/// Sessions end together, and what they hold is dropped by tasks that have yet to run.
const SETTLING: Duration = Duration::from_secs(1);

/// Gives back what sessions took, some time after most of them ended. Sleeps until one ends.
///
/// # Cancellation
/// Memory stays where it is.
pub async fn reclaim(shard: Rc<Shard>) {
    let mut thrift = Thrift::default();
    loop {
        let ended = shard.ended.listen();
        let (now, memory) = (runtime::now(), shard.pool.stats());
        match thrift.look(memory.peak_bytes, memory.in_use_bytes(), now) {
            Next::Wait => {
                ended.await;
                runtime::sleep(SETTLING).await;
            }
            Next::LookAt(at) => runtime::sleep(at.saturating_duration_since(now)).await,
            Next::GiveBack => {
                let blocks_bytes = shard.pool.release_free();
                // A panic in there was logged.
                let _ = runtime::blocking(runtime::give_back_heap).await;
                shard.stats.borrow_mut().trims += 1;
                tracing::debug!(shard = shard.id.0, blocks_bytes, "free memory was given back");
            }
        }
    }
}
