//! What the volumes of a shard want in time: commits, syncs, compactions.

use std::{
    io,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future;

use crate::{
    assets::AssetStore,
    runtime::{self, event::Listener},
};

/// Ticks the volumes of `store` when something is due, until it is told to `stop`; then everything
/// is made durable. Without work it sleeps.
///
/// # Errors
/// What the devices said at the end.
///
/// # Cancellation
/// Not to be dropped half-way: a journal may just be turned over.
pub async fn upkeep(
    store: Rc<AssetStore>,
    sync_interval: Duration,
    stop: Listener,
) -> io::Result<()> {
    let stopped = async {
        stop.await;
        true
    };
    let mut stopped = pin!(stopped);
    let volumes = store.volumes();
    loop {
        let now = runtime::now();
        let due = [store.remember(now), volumes.tick(now, sync_interval).await];
        let due = due.into_iter().flatten().min();
        let again = async {
            future::or(until(due), volumes.stirred()).await;
            false
        };
        if future::or(stopped.as_mut(), again).await {
            store.remember_all();
            return volumes.close(runtime::now()).await;
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => runtime::sleep(at.saturating_duration_since(runtime::now())).await,
        None => future::pending().await,
    }
}
