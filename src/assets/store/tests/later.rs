//! What a volume takes later, as its journal is behind, is not lost for that.

use std::future::Future;

use futures_lite::future;

use super::*;
use crate::storage::SNAPSHOT_BYTES;

/// A tick of the volume comes when it was tried in vain more than once.
const LATE: Duration = Duration::from_millis(500);

/// What `work` leaves in the cache, with a journal that is behind until then.
fn behind<F: Future<Output = ()>>(
    work: impl Fn(Rc<AssetStore>) -> F + Clone + Send + 'static,
    check: impl Fn(&AssetStore) + Clone + Send + 'static,
) {
    let options = runtime::Options { shards: 1, blocking_threads: 1, oversubscribe: true };
    let story = move |_| {
        let (work, check) = (work.clone(), check.clone());
        async move {
            let store = Rc::new(store());
            let volumes = store.volumes().clone();
            let ticking = async {
                runtime::sleep(LATE).await;
                volumes.tick(runtime::now(), Duration::from_secs(5)).await;
                future::pending::<()>().await
            };
            future::or(work(Rc::clone(&store)), ticking).await;
            assert!(store.is_empty());
            check(&store);
        }
    };
    runtime::run(options, story).unwrap();
}

/// From here on it takes no chunk.
fn fall_behind(store: &AssetStore) {
    store.volumes().remember(VolumeIndex(0), vec![vec![7; SNAPSHOT_BYTES]; 70]);
}

#[test]
fn a_fill_that_ends_meanwhile_leaves_all_of_its_bytes() {
    let work = |store: Rc<AssetStore>| async move {
        let (lease, permit) = open(&store, &key(1));
        fall_behind(&store);
        let resource = &lease.resource;
        resource.set_length(3 * CHUNK_BYTES).unwrap();
        resource.write_at(0, &[7; 3 * CHUNK_BYTES as usize]).await.unwrap();
        assert_eq!(resource.stored_bytes(), BLOCK_BYTES, "the head alone");
        resource.commit().unwrap();
        let asset = Rc::clone(lease.asset());
        drop((lease, permit));
        asset.flush().await;
    };
    behind(work, |store| {
        let lease = find(store, &key(1)).expect("it rests");
        assert!(lease.resource.is_complete() && lease.resource.is_committed());
    });
}

#[test]
fn what_the_origin_said_anew_meanwhile_is_kept() {
    let said = |value| {
        let mut head = Head::default();
        head.fields.insert("etag", HeaderValue::from_static(value));
        head
    };
    let work = move |store: Rc<AssetStore>| async move {
        let lease = store.begin(&key(1), said("\"old\""));
        fall_behind(&store);
        store.refresh(&lease, said("\"new\""));
        lease.settled().await;
    };
    behind(work, move |store| {
        assert_eq!(*find(store, &key(1)).expect("it rests").head(), said("\"new\""));
    });
}

#[test]
fn what_was_made_of_a_source_meanwhile_is_kept() {
    let work = |store: Rc<AssetStore>| async move {
        let (lease, permit) = store.begin_derived(&key(1), "v", "long", true);
        fall_behind(&store);
        lease.resource.write_at(0, &[7; 100_000]).await.unwrap();
        assert!(store.settle_derived(&permit, "whole").await);
    };
    behind(work, |store| {
        let lease = block_on(store.find_derived(&key(1), "v", "long")).unwrap().expect("it rests");
        assert_eq!(AssetStore::about(&lease).as_deref(), Some("whole"));
    });
}

/// Nothing takes it for as long as it is tried.
#[test]
fn who_lacks_memory_does_not_wait_for_what_is_left() {
    let work = |store: Rc<AssetStore>| async move {
        let (lease, _permit) = open(&store, &key(1));
        fall_behind(&store);
        lease.resource.write_at(0, &[7; CHUNK_BYTES as usize]).await.unwrap();
        let stats = store.volumes().pool().stats();
        let rest = stats.budget_bytes - stats.in_use_bytes();
        let _lent = store.volumes().pool().charge(rest - (256 << 10)).unwrap();
        lease.flush().await;
        assert!(lease.resource.stored_bytes() < CHUNK_BYTES, "it was not waited for");
    };
    behind(work, |_| {});
}

#[test]
fn what_nobody_finds_any_more_is_not_waited_for() {
    let work = |store: Rc<AssetStore>| async move {
        let (lease, _permit) = open(&store, &key(1));
        fall_behind(&store);
        lease.resource.write_at(0, &[7; CHUNK_BYTES as usize]).await.unwrap();
        store.forget(&lease);
        lease.flush().await;
        assert!(lease.resource.stored_bytes() < CHUNK_BYTES);
    };
    behind(work, |_| {});
}
