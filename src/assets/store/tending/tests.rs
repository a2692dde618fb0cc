//! What an operator sees and does, told against a store on a simulated disk.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future::{self, block_on};

use super::{super::unix_seconds, *};
use crate::{
    assets::{FillPermit, Key, Lease, Options},
    bufpool::{self, BufPool},
    runtime,
    storage::{CHUNK_BYTES, Disk, Sim, Volumes, device::Device, turns::Turns},
};

const CHUNKS: u64 = 3;

fn store_on(disk: Sim) -> AssetStore {
    let pool = BufPool::new(bufpool::Options { budget_bytes: 8 << 20 });
    AssetStore::new(Options::default(), Volumes::on(vec![Disk::Sim(disk)], 4 << 20, pool))
}

fn key(number: u32) -> Key {
    Key::of_library("music", &format!("{number}.flac"))
}

fn open(store: &AssetStore, number: u32) -> (Lease, Option<FillPermit>) {
    open_key(store, &key(number))
}

fn open_key(store: &AssetStore, key: &Key) -> (Lease, Option<FillPermit>) {
    let found = block_on(store.find(key)).unwrap();
    let lease = found.unwrap_or_else(|| {
        let now = unix_seconds(runtime::wall_clock());
        let mut head = Head { asked: now, answered: now, ..Head::default() };
        head.fields.insert("etag", http::HeaderValue::from_static("\"v\""));
        store.begin(key, head)
    });
    let permit = store.permit(&lease);
    (lease, permit)
}

/// Caches the objects of these numbers, whole.
fn cache(store: &AssetStore, numbers: std::ops::Range<u32>) {
    numbers.for_each(|number| cache_key(store, &key(number)));
}

fn cache_key(store: &AssetStore, key: &Key) {
    let (lease, _permit) = open_key(store, key);
    let resource = Rc::clone(&lease.resource);
    let mut turns = Turns::default();
    turns.spawn(async move {
        resource.set_length(CHUNKS * CHUNK_BYTES).unwrap();
        let bytes = vec![7; (CHUNKS * CHUNK_BYTES) as usize];
        resource.write_at(0, &bytes).await.unwrap();
        resource.flush().await;
        resource.commit().unwrap();
    });
    turns.run();
}

fn walk(from: Spot, most: usize, act: Act, prefix: Option<&str>) -> Walk {
    let prefix = prefix.map(|text| Prefix::Text(text.to_owned()));
    let filter = Filter { prefix, ..Filter::default() };
    Walk { volume: VolumeIndex(0), from, most, filter, act }
}

/// All that a list tells, by pages of `most`.
fn list(store: &AssetStore, most: usize, prefix: Option<&str>) -> Vec<Listed> {
    let (mut all, mut from) = (Vec::new(), Some(Spot::Entry(0)));
    while let Some(spot) = from {
        let met = block_on(store.walk(&walk(spot, most, Act::List, prefix))).unwrap();
        assert!(met.assets.len() <= most);
        all.extend(met.assets);
        from = met.next;
    }
    all
}

#[test]
fn a_list_tells_what_rests_and_what_is_in_use_and_opens_nothing() {
    let store = store_on(Sim::default());
    cache(&store, 0..5);
    let (reader, _) = open(&store, 4);
    for most in [1, 2, 100] {
        let listed = list(&store, most, None);
        assert_eq!(listed.len(), 5, "pages of {most}");
        for asset in &listed {
            assert!(asset.is_complete() && !asset.is_filling && !asset.is_pinned);
            let is_read = asset.id == key(4).id;
            assert_eq!(asset.readers, usize::from(is_read));
            assert_eq!(asset.validator.as_deref(), Some("\"v\""));
            assert!(asset.expires > asset.born && asset.stored_bytes > CHUNKS * CHUNK_BYTES);
        }
    }
    let some = list(&store, 100, Some("library:music/3"));
    assert_eq!(some.iter().map(|asset| asset.id).collect::<Vec<_>>(), [key(3).id]);
    assert_eq!(store.len(), 1, "a look opened something");
    let one = block_on(store.look(key(3).id)).unwrap().unwrap();
    assert_eq!(one.present, vec![0..CHUNKS * CHUNK_BYTES]);
    assert_eq!(block_on(store.look(key(9).id)).unwrap(), None);
    drop(reader);
}

#[test]
fn what_is_purged_is_gone_and_who_reads_it_reads_on() {
    let store = store_on(Sim::default());
    cache(&store, 0..3);
    let (reader, _) = open(&store, 0);
    assert!(store.purge(key(0).id) && store.purge(key(1).id));
    assert!(!store.purge(key(0).id) && !store.purge(key(9).id));
    assert_eq!(list(&store, 10, None).len(), 1);
    assert_eq!(reader.resource.present_bytes(), CHUNKS * CHUNK_BYTES);
    assert!(block_on(reader.resource.read_at(70_000, 5)).unwrap().is_some());
    assert_ne!(open(&store, 0).0.generation, reader.generation);
    let used = store.volumes().used_bytes();
    drop(reader);
    assert!(store.volumes().used_bytes() < used, "its blocks are free with its last reader");
}

#[test]
fn what_is_done_to_a_url_is_done_to_all_that_answers_it() {
    let store = store_on(Sim::default());
    let (german, french) = (key(1).secondary("de"), key(1).secondary("fr"));
    cache(&store, 1..3);
    [&german, &french].into_iter().for_each(|key| cache_key(&store, key));
    let (reader, _) = open_key(&store, &french);
    let is_pinned = |key: &Key| block_on(store.look(key.id)).unwrap().unwrap().is_pinned;
    let pinned = || [&key(1), &german, &french, &key(2)].map(is_pinned);
    store.volumes().pin(key(1).id, true);
    assert_eq!(pinned(), [true, true, true, false]);
    for most in [1, 2, 100] {
        let mut kept = BTreeSet::from([key(1).id, german.id, french.id]);
        let mut from = Some(Spot::Pin(ObjectId(0)));
        while let Some(spot) = from {
            let met = block_on(store.walk(&walk(spot, most, Act::List, None))).unwrap();
            assert!(met.assets.iter().all(|asset| asset.is_pinned && kept.remove(&asset.id)));
            from = met.next;
        }
        assert!(kept.is_empty(), "pages of {most}: {kept:?}");
    }
    let _ = block_on(future::poll_once(store.pin(german.id, false)));
    assert_eq!(pinned(), [false; 4], "by whichever it is named");
    assert!(block_on(store.invalidate_all(key(1).id)));
    let is_fresh = |key: &Key| !store.is_invalidated(&open_key(&store, key).0);
    assert_eq!([&key(1), &german, &french, &key(2)].map(is_fresh), [false, false, false, true]);
    assert!(store.purge(key(1).id), "one of them alone, by its id");
    assert_eq!(list(&store, 10, None).len(), 3);
    assert!(block_on(store.purge_all(key(1).id)) && !block_on(store.purge_all(key(1).id)));
    let left: Vec<_> = list(&store, 10, None).iter().map(|asset| asset.id).collect();
    assert_eq!((left, reader.resource.present_bytes()), (vec![key(2).id], CHUNKS * CHUNK_BYTES));
}

#[test]
fn a_walk_purges_what_it_is_about_and_no_more_than_it_was_told() {
    let store = store_on(Sim::default());
    cache(&store, 0..12);
    let purge = |from, most| {
        block_on(store.walk(&walk(from, most, Act::Purge, Some("library:music/1")))).unwrap()
    };
    let first = purge(Spot::Entry(0), 2);
    assert_eq!(first.assets.len(), 2);
    assert_eq!(list(&store, 100, None).len(), 10);
    let rest = purge(first.next.unwrap(), 100);
    assert_eq!((rest.assets.len(), rest.next), (1, None));
    let left = list(&store, 100, None);
    assert!(left.len() == 9 && left.iter().all(|a| !a.url.as_ref().unwrap().contains("/1")));
}

/// Its head is read from disk for that, which takes a while.
#[test]
fn a_walk_does_nothing_to_what_came_or_was_pinned_while_it_looked() {
    let disk = Sim::default();
    let store = store_on(disk.clone());
    cache(&store, 0..3);
    disk.hold();
    let filter = Filter { pinned: Some(false), ..Filter::default() };
    let purge = Walk { filter, ..walk(Spot::Entry(0), 10, Act::Purge, None) };
    let mut walking = std::pin::pin!(store.walk(&purge));
    assert!(block_on(future::poll_once(walking.as_mut())).is_none(), "it reads no head");
    store.purge(key(1).id);
    let (newer, _) = open(&store, 1);
    store.volumes().pin(key(2).id, true);
    disk.release_all();
    let purged: Vec<_> = block_on(walking).unwrap().assets.iter().map(|asset| asset.id).collect();
    assert_eq!(purged, [key(0).id]);
    let left = [1, 2].map(|number| store.volumes().resident(key(number).id));
    assert!(left[0].as_ref().is_some_and(|asset| asset.generation == newer.generation));
    assert!(left[1].is_some(), "it is pinned");
}

#[test]
fn what_is_invalidated_is_not_fresh_whether_it_is_in_use_or_not() {
    let store = store_on(Sim::default());
    cache(&store, 0..2);
    let (reader, _) = open(&store, 0);
    assert!(store.invalidate(key(0).id) && store.invalidate(key(1).id));
    assert!(!store.invalidate(key(9).id));
    let now = unix_seconds(runtime::wall_clock());
    for asset in list(&store, 10, None) {
        assert!(asset.expires <= now && asset.is_complete(), "{asset:?}");
    }
    assert!(store.is_invalidated(&reader));
    assert!(store.is_invalidated(&open(&store, 1).0));
    store.refresh(&reader, (*reader.head()).clone());
    assert!(!store.is_invalidated(&reader), "it was asked for");
}

/// It may be given for a while, though it is stale: that is what an invalidation ends.
#[test]
fn what_is_stale_is_invalidated_as_what_is_fresh_is() {
    let store = store_on(Sim::default());
    let now = unix_seconds(runtime::wall_clock());
    let mut head = Head { asked: now - 5, answered: now - 5, ..Head::default() };
    let said = http::HeaderValue::from_static("max-age=0, stale-while-revalidate=600");
    head.fields.insert("cache-control", said);
    let lease = store.begin(&key(0), head);
    assert!(!store.is_invalidated(&lease) && store.invalidate(key(0).id));
    assert!(store.is_invalidated(&lease));
}

/// What is known of each was said by a node that took a silent origin's word for less long.
#[test]
fn a_longer_time_to_live_invalidates_nothing() {
    let device = Device::default();
    let store_with = |media_ttl: u64| {
        let pool = BufPool::new(bufpool::Options { budget_bytes: 8 << 20 });
        let volumes = block_on(device.volumes(4 << 20, 256 << 10, pool)).unwrap();
        let media_ttl = Duration::from_secs(media_ttl);
        AssetStore::new(Options { media_ttl, ..Options::default() }, volumes)
    };
    let store = store_with(600);
    cache(&store, 0..2);
    assert!(store.invalidate(key(1).id));
    block_on(store.volumes().close(Instant::now())).unwrap();
    drop(store);
    let store = store_with(6000);
    assert!(!store.is_invalidated(&open(&store, 0).0));
    assert!(store.is_invalidated(&open(&store, 1).0), "an operator wanted that");
}

#[test]
fn a_path_is_a_prefix_of_whole_segments() {
    let takes = |path: &str, url| Prefix::Path(path.to_owned()).takes(url);
    for below in ["http://a/album", "http://a/album/1", "http://a/album?v=2"] {
        assert!(takes("http://a/album", below), "{below}");
    }
    for beside in ["http://a/album2/1", "http://a/album.flac", "http://a/alb"] {
        assert!(!takes("http://a/album", beside), "{beside}");
    }
    assert!(takes("http://a/", "http://a/album2") && takes("http://a/b/", "http://a/b/c"));
    assert!(Prefix::Text("http://a/album".to_owned()).takes("http://a/album2/1"));
}

#[test]
fn a_pin_returns_when_it_is_durable_and_may_come_before_there_is_anything() {
    let disk = Sim::default();
    let store = Rc::new(store_on(disk));
    let done = Rc::new(RefCell::new(None));
    let mut turns = Turns::default();
    let (pinning, its_done) = (Rc::clone(&store), Rc::clone(&done));
    turns.spawn(async move {
        *its_done.borrow_mut() = Some(pinning.pin(key(7).id, true).await);
    });
    turns.run();
    assert!(done.borrow().is_none(), "nobody has synced yet");
    let ticking = Rc::clone(&store);
    turns.spawn(async move {
        ticking.volumes().tick(Instant::now(), std::time::Duration::from_secs(5)).await;
    });
    turns.run();
    assert_eq!(*done.borrow(), Some(Ok(())));
    let pins = walk(Spot::Pin(ObjectId(0)), 10, Act::List, None);
    let pinned = block_on(store.walk(&pins)).unwrap().assets;
    assert_eq!((pinned.len(), pinned[0].id, &pinned[0].url), (1, key(7).id, &None));
    cache(&store, 7..8);
    assert!(store.purge(key(7).id));
    assert!(store.volumes().is_pinned(key(7).id), "a pin is on the name");
}

/// Else they would take all of it, and nothing would be cached any more.
#[test]
fn pins_take_a_part_of_the_journal_and_no_more() {
    let device = Device::default();
    let pool = BufPool::new(bufpool::Options { budget_bytes: 8 << 20 });
    let volumes = block_on(device.volumes(4 << 20, 256 << 10, pool)).unwrap();
    let store = AssetStore::new(Options::default(), volumes);
    let pin = |number| block_on(future::poll_once(store.pin(key(number).id, true)));
    // Who is not refused waits for the disk.
    let pinned = (0..100_000).take_while(|number| pin(*number).is_none()).count() as u32;
    assert!((1_000..2_000).contains(&pinned), "{pinned}");
    assert_eq!(pin(pinned), Some(Err(NotPinned::TooMany)));
    assert_eq!(pin(0), None, "it is pinned already");
    cache(&store, 0..3);
    assert_eq!((list(&store, 100, None).len(), store.stats().evicted), (3, 0));
    let _ = block_on(future::poll_once(store.pin(key(5).id, false)));
    assert_eq!(pin(pinned), None);
}

#[test]
fn without_a_cache_nothing_is_pinned() {
    let pool = BufPool::new(bufpool::Options { budget_bytes: 8 << 20 });
    let store = AssetStore::new(Options::default(), Volumes::off(4, 1, pool));
    assert_eq!(block_on(store.pin(key(1).id, true)), Err(NotPinned::Off));
    assert!(list(&store, 10, None).is_empty());
}

#[test]
fn a_check_finds_every_flipped_bit_and_takes_it_out_only_where_it_may() {
    let disk = Sim::default();
    let store = store_on(disk.clone());
    cache(&store, 0..4);
    let check = |repair| block_on(store.check(VolumeIndex(0), (0, 0), repair)).unwrap();
    let sound = check(false);
    assert_eq!((sound.objects, sound.chunks), (4, 4 * (CHUNKS + 1)));
    assert!(sound.faults.is_empty() && sound.next.is_none());
    // A chunk of one that rests, one of one that is read, and a head.
    let (reader, _) = open(&store, 1);
    for (number, chunk) in [(0, Some(1)), (1, Some(2)), (2, None)] {
        disk.flip(store.volumes().place_of(key(number).id, chunk) + 9, 4);
    }
    for repair in [false, false, true] {
        let report = check(repair);
        let mut faults: Vec<_> = report.faults.iter().collect();
        faults.sort_by_key(|(_, fault)| (0..4).position(|n| key(n).id == fault.object));
        let dropped: Vec<_> = faults.iter().map(|(_, fault)| fault.is_dropped).collect();
        assert_eq!(dropped, [repair, false, repair]);
        let bytes: Vec<_> = faults.iter().map(|(_, fault)| fault.bytes.clone()).collect();
        let chunk = |number: u64| Some(number * CHUNK_BYTES..(number + 1) * CHUNK_BYTES);
        assert_eq!(bytes, [chunk(1), chunk(2), None]);
    }
    assert_eq!(list(&store, 10, None).len(), 3, "without its head an object is of no use");
    let one = block_on(store.look(key(0).id)).unwrap().unwrap();
    assert_eq!(one.present, [0..CHUNK_BYTES, 2 * CHUNK_BYTES..3 * CHUNK_BYTES]);
    assert_eq!(check(false).faults.len(), 1);
    drop(reader);
    assert!(check(true).faults[0].1.is_dropped && check(false).faults.is_empty());
}
