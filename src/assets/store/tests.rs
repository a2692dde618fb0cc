//! Stories of the store: leases, permits, evictions, what rests and what is remembered.

mod later;
mod scans;

use futures_lite::future::{self, block_on};
use http::HeaderValue;

use super::{room::REMEMBER_INTERVAL, *};
use crate::{
    bufpool::{self, BufPool},
    storage::{
        BLOCK_BYTES, CHUNK_BYTES, Crash, Disk, Sim, device::Device, random::Random, turns::Turns,
    },
};

const CAPACITY: u64 = 4 << 20;

fn pool() -> BufPool {
    BufPool::new(bufpool::Options { budget_bytes: 8 << 20 })
}

fn store() -> AssetStore {
    let volumes = Volumes::on(vec![Disk::Sim(Sim::default())], CAPACITY, pool());
    AssetStore::new(Options::default(), volumes)
}

fn find(store: &AssetStore, key: &Key) -> Option<Lease> {
    block_on(store.find(key)).unwrap()
}

/// As who serves does it: finds or begins, and fills where nobody does.
fn open(store: &AssetStore, key: &Key) -> (Lease, Option<FillPermit>) {
    let begin = || store.begin(key, Head::default());
    let found = find(store, key).inspect(|lease| store.count(lease));
    let lease = found.unwrap_or_else(begin);
    let permit = store.permit(&lease);
    (lease, permit)
}

fn key(number: u32) -> Key {
    Key::of_library("music", &format!("{number}.flac"))
}

/// Fills a resource with `chunks` chunks, all it has.
fn fill(lease: &Lease, chunks: u64) {
    let resource = Rc::clone(&lease.resource);
    let mut turns = Turns::default();
    turns.spawn(async move {
        resource.set_length(chunks * CHUNK_BYTES).unwrap();
        let bytes = vec![7; (chunks * CHUNK_BYTES) as usize];
        resource.write_at(0, &bytes).await.unwrap();
        resource.flush().await;
        resource.commit().unwrap();
    });
    turns.run();
    assert!(lease.resource.is_complete());
}

/// A chunk of its bytes, whoever keeps it.
fn fill_what_the_disk_takes(lease: &Lease) {
    let bytes = vec![7; CHUNK_BYTES as usize];
    block_on(lease.resource.write_at(0, &bytes)).unwrap();
    block_on(lease.resource.flush());
}

#[test]
fn of_two_opens_one_gets_the_permit_and_both_the_same_bytes() {
    let store = store();
    let (first, permit) = open(&store, &key(1));
    let (second, none) = open(&store, &key(1));
    assert!(permit.is_some() && none.is_none());
    assert_eq!(first.generation, second.generation);
    drop(permit);
    let (_third, again) = open(&store, &key(1));
    assert!(again.is_some(), "a permit that was given up is not given again");
    fill(&first, 1);
    drop(again);
    assert!(open(&store, &key(1)).1.is_none(), "nothing is left to fill");
    let Stats { hits, partial_hits, misses, .. } = store.stats();
    assert_eq!((hits, partial_hits, misses), (1, 2, 1));
}

#[test]
fn leases_are_counted_and_the_last_one_tells() {
    let store = store();
    let (first, _permit) = open(&store, &key(1));
    let second = first.clone();
    let asset = Rc::clone(&first.0);
    let mut turns = Turns::default();
    let told = turns.spawn(asset.deserted.listen());
    drop(first);
    turns.run();
    assert!(asset.is_leased() && !turns.is_done(told));
    drop(second);
    turns.run();
    assert!(!asset.is_leased() && turns.is_done(told));
}

#[test]
fn room_is_made_of_what_is_neither_read_nor_filled_nor_pinned() {
    let store = store();
    let told = Rc::new(RefCell::new(Vec::new()));
    let observer = Rc::clone(&told);
    store.observe(move |key, news| match news {
        News::Evicted => observer.borrow_mut().push(key.to_owned()),
        other => panic!("{other:?}"),
    });
    let opened: Vec<_> = (0..5).map(|number| open(&store, &key(number))).collect();
    opened.iter().for_each(|(lease, _)| fill(lease, 6));
    let mut opened = opened.into_iter();
    let (read, _) = opened.next().unwrap();
    let (_, filled) = opened.next().unwrap();
    assert!(filled.is_some());
    store.volumes().pin(key(4).id, true);
    drop(opened);
    let (new, _permit) = open(&store, &key(9));
    let held = |number: u32| {
        let objects = store.volumes().objects(VolumeIndex(0));
        objects.iter().any(|object| object.id == key(number).id)
    };
    store.make_room(&new, store.volumes().free_bytes() + 1);
    let left = [0, 1, 2, 3, 4].map(held);
    assert_eq!(store.stats().evicted, 1);
    assert_eq!((left[0], left[1], left[2] != left[3], left[4]), (true, true, true, true));
    store.make_room(&new, CAPACITY);
    assert_eq!([0, 1, 2, 3, 4].map(held), [true, true, false, false, true]);
    let free = store.volumes().free_bytes();
    let object_bytes = 6 * CHUNK_BYTES + BLOCK_BYTES;
    let taken = 3 * object_bytes + BLOCK_BYTES;
    assert_eq!(free, CAPACITY - taken, "evicted blocks are free at once");
    assert_eq!(read.resource.present_bytes(), 6 * CHUNK_BYTES);
    let mut told = told.take();
    told.sort_unstable();
    let mut evicted = [2, 3].map(|number| key(number).id.to_string());
    evicted.sort_unstable();
    assert_eq!(told, evicted);
}

#[test]
fn fills_that_counted_on_the_same_room_are_all_kept() {
    let store = store();
    for number in 0..10 {
        fill(&open(&store, &key(number)).0, 6);
    }
    let fills: Vec<_> = (10..13).map(|number| open(&store, &key(number))).collect();
    for (lease, _) in &fills {
        store.make_room(lease.asset(), 6 * CHUNK_BYTES);
    }
    fills.iter().for_each(|(lease, _)| fill(lease, 6));
    // What left is recorded before its room is used.
    for _ in 0..2 {
        block_on(store.volumes().tick(Instant::now(), Duration::from_secs(5)));
    }
    for (lease, _) in &fills {
        assert!(lease.resource.is_cached());
        assert_eq!(lease.resource.stored_bytes(), 6 * CHUNK_BYTES + BLOCK_BYTES);
    }
    let evicted = store.stats().evicted;
    assert!((2..=3).contains(&evicted), "{evicted} went for what three of their size need");
}

/// Each chunk that finds no room asks for one who may go.
#[test]
fn where_nobody_may_go_only_who_becomes_free_is_looked_at() {
    let store = store();
    let volume = VolumeIndex(0);
    (0..5).for_each(|number| fill(&open(&store, &key(number)).0, 6));
    let pin = |number, pinned| {
        let _ = block_on(future::poll_once(store.pin(key(number).id, pinned)));
    };
    (0..5).for_each(|number| pin(number, true));
    let evict = || store.held.evict_one(volume);
    assert!(!evict() && !evict());
    store.volumes().pin(key(0).id, false);
    assert!(!evict(), "it was asked again, though the store was told nothing");
    store.volumes().pin(key(0).id, true);
    let is_here = |number: u32| store.volumes().resident(key(number).id).is_some();
    let (read, permit) = open(&store, &key(9));
    fill(&read, 1);
    assert!(!evict(), "it is read");
    drop((read, permit));
    assert!(evict() && !is_here(9), "it rests");
    pin(3, false);
    assert!(evict() && !is_here(3), "it is pinned no more");
    assert!(!evict() && [0, 1, 2, 4].into_iter().all(is_here));
}

#[test]
fn what_the_policy_knows_outlives_a_journal_that_is_written_anew() {
    let device = Device::default();
    let volumes = || block_on(device.volumes(CAPACITY, 64 << 10, pool())).unwrap();
    let store = AssetStore::new(Options::default(), volumes());
    (0..4).for_each(|number| fill(&open(&store, &key(number)).0, 2));
    let mut now = Instant::now();
    let mut turn = |store: &AssetStore| {
        now += Duration::from_secs(6);
        store.remember(now);
        block_on(store.volumes().tick(now, Duration::from_secs(5)));
    };
    turn(&store);
    for round in 0..2_000 {
        store.volumes().pin(key(9).id, round % 2 == 0);
    }
    (0..3).for_each(|_| turn(&store));
    assert!(device.journals[1].length() > 0, "it was not written anew");
    let after = device.crash(Crash::Kill, &mut Random(1));
    let after = block_on(after.volumes(CAPACITY, 64 << 10, pool())).unwrap();
    let remembered = after.remembered(VolumeIndex(0));
    assert!(remembered.memory_bytes() > 0, "it was forgotten");
}

/// Its disk has room for all of them.
#[test]
fn who_leaves_for_want_of_memory_is_counted_apart() {
    let pool = BufPool::new(bufpool::Options { budget_bytes: 512 << 10 });
    let volumes = Volumes::on(vec![Disk::Sim(Sim::default())], 128 << 20, pool);
    let store = AssetStore::new(Options::default(), volumes);
    let mut now = Instant::now();
    for number in 0..3_500 {
        // Its head is kept.
        drop(open(&store, &key(number)));
        if number % 32 == 0 {
            now += Duration::from_secs(1);
            block_on(store.volumes().tick(now, Duration::from_secs(5)));
        }
    }
    let Stats { evicted, evicted_for_memory, .. } = store.stats();
    assert!(evicted > 0 && evicted_for_memory == evicted, "{evicted_for_memory} of {evicted}");
    assert!(store.volumes().free_bytes() > 64 << 20);
}

#[test]
fn who_leaves_for_want_of_a_journal_is_counted_apart() {
    let volumes = block_on(Device::default().volumes(64 << 20, 32 << 10, pool())).unwrap();
    let store = AssetStore::new(Options::default(), volumes);
    let mut now = Instant::now();
    for number in 0..200 {
        drop(open(&store, &key(number)));
        now += Duration::from_secs(1);
        block_on(store.volumes().tick(now, Duration::from_secs(5)));
    }
    let Stats { evicted, evicted_for_memory, evicted_for_journal, .. } = store.stats();
    assert!(evicted > 10 && evicted_for_journal == evicted, "{evicted_for_journal} of {evicted}");
    assert_eq!(evicted_for_memory, 0);
}

/// It is a start that has less room; who is used has proven itself before.
#[test]
fn what_has_no_place_at_a_start_is_the_policys_to_say_and_is_counted() {
    let device = Device::default();
    let volumes = |journal_bytes| block_on(device.volumes(8 << 20, journal_bytes, pool())).unwrap();
    let large = AssetStore::new(Options::default(), volumes(256 << 10));
    let hot = |number| number % 4 == 0;
    let mut now = Instant::now();
    for number in 0..100 {
        let (lease, permit) = open(&large, &key(number));
        fill(&lease, 1);
        drop((lease, permit));
        (0..3).filter(|_| hot(number)).for_each(|_| drop(open(&large, &key(number))));
        now += Duration::from_secs(1);
        block_on(large.volumes().tick(now, Duration::from_secs(5)));
    }
    large.remember_all();
    block_on(large.volumes().close(now)).unwrap();
    drop(large);
    let small = AssetStore::new(Options::default(), volumes(16 << 10));
    let left: Vec<_> = (0..100).filter(|number| find(&small, &key(*number)).is_some()).collect();
    assert!((30..95).contains(&left.len()), "{left:?}");
    assert_eq!(small.stats().evicted, 100 - left.len() as u64);
    assert_eq!(left.iter().filter(|number| hot(**number)).count(), 25, "{left:?}");
}

#[test]
fn nothing_goes_for_what_is_not_kept() {
    let store = store();
    let (kept, _) = open(&store, &key(1));
    fill(&kept, 6);
    drop(kept);
    let alone = store.begin_alone(&key(2), Head::default());
    let large = store.begin(&key(3), Head::default());
    large.resource.pass_through();
    for unkept in [&alone, &large] {
        store.make_room(unkept, CAPACITY);
    }
    assert_eq!(store.stats().evicted, 0);
    let small = store.begin(&key(4), Head::default());
    store.make_room(&small, CAPACITY);
    assert_eq!(store.stats().evicted, 1);
}

#[test]
fn what_rests_is_opened_again_with_its_head_and_its_bytes() {
    let store = store();
    let mut head = Head::default();
    head.fields.insert("etag", HeaderValue::from_static("\"v\""));
    let lease = store.begin(&key(1), head.clone());
    let permit = store.permit(&lease);
    fill(&lease, 3);
    let generation = lease.generation;
    drop((lease, permit));
    assert!(store.is_empty());
    let (again, permit) = open(&store, &key(1));
    assert!(permit.is_none() && again.generation == generation);
    assert_eq!(*again.head(), head);
    assert_eq!(again.resource.present_bytes(), 3 * CHUNK_BYTES);
    assert!(again.resource.is_committed());
}

/// A restart finds who was used last, though the device failed when that was to be kept.
#[test]
fn what_a_failing_device_does_not_take_is_kept_when_it_is_well() {
    let device = Device::default();
    let open_store = || {
        let volumes = block_on(device.volumes(CAPACITY, 256 << 10, pool())).unwrap();
        AssetStore::new(Options::default(), volumes)
    };
    let store = open_store();
    let mut now = Instant::now();
    let mut tick = |later| {
        now += Duration::from_secs(later);
        let due = store.remember(now);
        block_on(store.volumes().tick(now, Duration::from_secs(5)));
        due.map(|due| due - now)
    };
    (0..4).for_each(|number| fill(&open(&store, &key(number)).0, 1));
    tick(0);
    // The next write fails, and the volume is off.
    device.data.fail(device.data.operations(), std::io::ErrorKind::ReadOnlyFilesystem);
    let (lost, _permit) = open(&store, &key(9));
    fill_what_the_disk_takes(&lost);
    for _ in 0..3 {
        drop(find(&store, &key(0)));
    }
    assert_eq!(store.volumes().stats().volumes_off, 1);
    assert_eq!(tick(6), Some(REMEMBER_INTERVAL), "nothing was kept, and nothing is due");
    for _ in 0..4 {
        tick(11);
    }
    assert_eq!(store.volumes().stats().volumes_off, 0);
    drop((lost, store));
    let again = open_store();
    // As of a full volume.
    let victim = |policy: &mut Policy| {
        policy.set_capacity(1);
        policy.victim(|_| true)
    };
    let first = again.held.policy(key(0).id, victim).flatten();
    assert!(first.is_some_and(|first| first != key(0).id), "it was used most");
}

#[test]
fn what_the_policies_know_is_counted() {
    let store = store();
    let used = || store.volumes().pool().stats().used_bytes;
    let before = used();
    let object = |number: u128| ObjectId(number);
    for number in 0..10_000 {
        store.held.policy(object(number), |policy| policy.insert(object(number), 1));
    }
    let counted = used() - before;
    assert!((5 * COUNTED_BYTES..10 * COUNTED_BYTES).contains(&counted), "{counted}");
    for number in 0..10_000 {
        store.held.policy(object(number), |policy| policy.remove(object(number)));
    }
    assert!(used() < before + counted, "the index is smaller");
}

/// Times are kept up to a last second, and many an `Expires` lies beyond it.
#[test]
fn what_is_fresh_for_ever_is_so_after_a_rest() {
    let store = store();
    let expires = HeaderValue::from_static("Fri, 31 Dec 9999 23:59:59 GMT");
    let mut head = Head { answered: 1 << 30, asked: 1 << 30, ..Head::default() };
    head.fields.insert(http::header::EXPIRES, expires);
    let lease = store.begin(&key(1), head);
    assert!(!store.is_invalidated(&lease));
    fill(&lease, 1);
    drop(lease);
    assert!(!store.is_invalidated(&find(&store, &key(1)).unwrap()));
}

#[test]
fn what_was_said_of_another_url_is_not_taken_for_this() {
    let store = store();
    let (lease, permit) = open(&store, &key(1));
    fill(&lease, 1);
    let generation = lease.generation;
    drop((lease, permit));
    let forged = Key { id: key(1).id, url: "http://elsewhere/".into() };
    let (other, permit) = open(&store, &forged);
    assert!(other.generation != generation && permit.is_some());
    assert_eq!(other.resource.present_bytes(), 0);
}

#[test]
fn what_the_origin_says_anew_is_kept_and_the_generation_with_its_bytes_stays() {
    let store = store();
    let (lease, permit) = open(&store, &key(1));
    fill(&lease, 2);
    let generation = lease.generation;
    let new = Head { answered: 1_000, asked: 1_000, ..Head::default() };
    let mut turns = Turns::default();
    store.refresh(&lease, new.clone());
    turns.run();
    assert_eq!(lease.resource.said().unwrap().expires, 1_600);
    drop((lease, permit));
    let again = find(&store, &key(1)).unwrap();
    assert_eq!((again.generation, &*again.head()), (generation, &new));
    assert_eq!(again.resource.present_bytes(), 2 * CHUNK_BYTES);
}

#[test]
fn what_is_for_one_is_found_by_nobody_and_leaves_nothing() {
    let store = store();
    let free = store.volumes().free_bytes();
    let lease = store.begin_alone(&key(1), Head::default());
    let permit = store.permit(&lease);
    assert!(permit.is_some() && !lease.is_shared());
    fill(&lease, 2);
    assert!(find(&store, &key(1)).is_none() && store.is_empty());
    assert_eq!(store.volumes().free_bytes(), free);
}

#[test]
fn what_no_disk_holds_goes_with_its_last_user() {
    let pool = pool();
    let store = AssetStore::new(Options::default(), Volumes::off(4, 1, pool.clone()));
    for number in 0..100 {
        let (lease, permit) = open(&store, &key(number));
        fill(&lease, 4);
        drop(permit);
        assert_eq!(store.len(), 1);
    }
    assert_eq!((store.len(), pool.stats().used_bytes), (0, 0));
    let (lease, permit) = open(&store, &key(1));
    drop(lease);
    assert_eq!(store.len(), 1, "a fill still uses it");
    drop(permit);
    assert!(store.is_empty());
}

#[test]
fn a_forgotten_generation_is_read_on_and_not_opened_again() {
    let store = store();
    let (old, _) = open(&store, &key(1));
    fill(&old, 1);
    store.forget(&old);
    let (new, permit) = open(&store, &key(1));
    assert!(permit.is_some() && new.generation != old.generation);
    store.forget(&old);
    assert_eq!(open(&store, &key(1)).0.generation, new.generation);
    assert_eq!(old.resource.present_bytes(), CHUNK_BYTES);
}
