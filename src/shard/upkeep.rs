//! What the volumes of a shard want in time: commits, syncs, compactions.

use std::{
    cell::Cell,
    io,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future;

use crate::{
    assets::AssetStore,
    runtime::{self, event::Listener},
    storage::Volumes,
};

/// Ticks the volumes of `store` when something is due, until it is told to `stop`; then everything
/// is made durable. Without work it sleeps. Records are written by a task beside it, since one volume
/// that is made durable, or whose journal is turned over, would keep those of all others waiting.
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
    let ends = Cell::new(false);
    future::zip(tick(&store, sync_interval, stop, &ends), commit(store.volumes(), &ends)).await;
    store.remember_all();
    store.volumes().close(runtime::now()).await
}

async fn tick(store: &AssetStore, sync_interval: Duration, stop: Listener, ends: &Cell<bool>) {
    let stopped = async {
        stop.await;
        true
    };
    let mut stopped = pin!(stopped);
    let volumes = store.volumes();
    while !ends.get() {
        let now = runtime::now();
        let due = [store.remember(now), volumes.tick(now, sync_interval).await];
        let due = due.into_iter().flatten().min();
        let again = async {
            future::or(until(due), volumes.stirred()).await;
            false
        };
        ends.set(future::or(stopped.as_mut(), again).await);
    }
    volumes.stir();
}

async fn commit(volumes: &Volumes, ends: &Cell<bool>) {
    while !ends.get() {
        let due = volumes.commit(runtime::now()).await;
        future::or(until(due), volumes.said()).await;
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => runtime::sleep(at.saturating_duration_since(runtime::now())).await,
        None => future::pending().await,
    }
}
