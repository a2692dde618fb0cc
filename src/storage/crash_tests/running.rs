//! Volumes of one shard whose devices are slow, full or failing.

use super::*;
use crate::storage::turns::Turns;

/// Nobody waits for the disk of another volume.
#[test]
fn records_are_written_while_another_volume_is_made_durable() {
    let [slow, other] = [Device::default(), Device::default()];
    let disks = vec![slow.disks(), other.disks()];
    let volumes = future::block_on(Volumes::over(disks, SHARES[0], pool())).unwrap();
    let now = Instant::now();
    volumes.pin(ObjectId(0), true);
    let asked = volumes.durable(ObjectId(0));
    let mut asked = std::pin::pin!(asked);
    let poll = |future: std::pin::Pin<&mut _>| future::block_on(future::poll_once(future));
    assert!(poll(asked.as_mut()).is_none());
    slow.data.hold();
    let tick = volumes.tick(now, SYNC_INTERVAL);
    let mut tick = std::pin::pin!(tick);
    assert!(future::block_on(future::poll_once(tick.as_mut())).is_none(), "it does not sync");
    volumes.pin(ObjectId(1), true);
    at_once(volumes.commit(now)).expect("it waits for the other disk");
    let later = now + Duration::from_millis(200);
    at_once(volumes.commit(later)).expect("it waits for the other disk");
    assert!(other.journals[0].length() > 0, "the record is not written");
    slow.data.release_all();
    assert!(future::block_on(future::poll_once(tick.as_mut())).is_some());
    assert!(poll(asked.as_mut()).is_some_and(|durable| durable.is_ok()));
}

/// A bad sector costs its chunk and what else comes of its object; a device that gives nothing is
/// left alone until it does.
#[test]
fn reads_that_fail_turn_off_the_object_and_then_the_volume() {
    let device = Device::default();
    let mut started = Started::over(&device);
    started.volumes.limit_tier(0);
    assert!(started.put(1) && started.put(2));
    let fail = |reads: u64| {
        let now = device.data.operations();
        (now..now + reads).for_each(|read| device.data.fail(read, io::ErrorKind::Other));
    };
    fail(1);
    let resource = started.volumes.find(ObjectId(1)).unwrap();
    assert!(at_once(resource.read_at(0, usize::MAX)).unwrap().unwrap().is_none());
    assert!(!resource.is_cached());
    drop(resource);
    assert_eq!(started.volumes.stats().volumes_off, 0);
    assert_eq!(started.present(1), 2 * CHUNK_BYTES);
    // The two chunks of one object, and those of the other but one.
    fail(4);
    assert_eq!((started.present(1), started.present(2)), (0, CHUNK_BYTES));
    assert_eq!(started.volumes.stats().volumes_off, 1);
    // It is asked in two places.
    let now = device.data.operations();
    [1, 3].into_iter().for_each(|read| device.data.fail(now + read, io::ErrorKind::Other));
    started.tick(Duration::from_secs(11));
    assert_eq!(started.volumes.stats().volumes_off, 1, "it takes bytes and does not give them");
    (0..2).for_each(|_| started.tick(Duration::from_secs(11)));
    assert_eq!(started.volumes.stats().volumes_off, 0);
    assert!(started.put(3) && started.present(3) == 3 * CHUNK_BYTES);
}

/// The best fit is the same block again and again.
#[test]
fn a_bad_place_is_written_to_once() {
    let device = Device::default();
    let mut started = Started::over(&device);
    device.data.bad(4096..8192);
    assert!(!started.put(1));
    for object in 2..=8 {
        assert!(started.put(object), "{object}");
        started.tick(Duration::from_secs(11));
        assert_eq!(started.volumes.stats().volumes_off, 0, "{object}");
    }
    let stats = started.volumes.stats();
    assert_eq!((stats.write_errors, stats.bad_bytes), (1, CHUNK_BYTES));
    assert_eq!(started.volumes.state(VolumeIndex(0)).unwrap().bad_bytes, CHUNK_BYTES);
    assert_eq!(started.volumes.used_bytes(), started.volumes.stored_bytes());
    assert!((2..=8).all(|object| started.present(object) == 3 * CHUNK_BYTES));
}

/// It is not asked at each of its places.
#[test]
fn a_device_that_refuses_four_writes_in_a_row_is_off() {
    let device = Device::default();
    let mut started = Started::over(&device);
    // There is room already: zeros that are written ahead would end a row as well.
    (1..=8).for_each(|object| assert!(started.put(object)));
    (1..=8).for_each(|object| started.volumes.forget(ObjectId(object)));
    started.tick(Duration::from_millis(200));
    let is_off_without = |started: &mut Started, object| {
        device.data.fail(device.data.operations(), io::ErrorKind::Other);
        assert!(!started.put(object));
        started.volumes.stats().volumes_off == 1
    };
    assert_eq!([1, 2, 3].map(|object| is_off_without(&mut started, object)), [false; 3]);
    assert!(started.put(4), "one that goes well ends the row");
    assert_eq!(
        [5, 6, 7, 8].map(|object| is_off_without(&mut started, object)),
        [false, false, false, true]
    );
    assert_eq!(started.volumes.stats().bad_bytes, 7 * CHUNK_BYTES);
}

/// Whether it is on after eleven seconds more, again and again, with an object that comes each time.
fn on_and_off(started: &mut Started, times: u64) -> Vec<bool> {
    let mut once = |object| {
        started.tick(Duration::from_secs(11));
        let is_on = started.volumes.stats().volumes_off == 0;
        started.put(100 + object % 8);
        is_on
    };
    (0..times).map(&mut once).collect()
}

#[test]
fn a_bad_part_of_a_device_is_passed_over_and_one_at_its_end_is_left_off() {
    let device = Device::default();
    let share = Share { data_bytes: 16 << 20, ..SHARES[0] };
    let volumes = start(&device, share, &pool());
    let mut started = Started { volumes, now: Instant::now() };
    device.data.bad(0..1 << 20);
    on_and_off(&mut started, 20);
    assert!(started.put(1) && started.present(1) == 3 * CHUNK_BYTES);
    assert!(started.volumes.stats().bad_bytes <= 1 << 20);
    // The first page of each chunk: elsewhere the device takes what it is asked with.
    for chunk in (0..16 << 20).step_by(CHUNK_BYTES as usize) {
        device.data.bad(chunk..chunk + 4096);
    }
    on_and_off(&mut started, 100);
    assert_eq!(started.volumes.stats().bad_bytes, 4 << 20, "it has a bound");
    assert_eq!(on_and_off(&mut started, 10), [false; 10]);
    device.data.mend();
    (0..2).for_each(|_| started.tick(Duration::from_secs(11)));
    assert_eq!((started.volumes.stats().volumes_off, started.volumes.stats().bad_bytes), (0, 0));
    assert!(started.put(2) && started.present(2) == 3 * CHUNK_BYTES);
}

/// It took bytes a moment ago, and the last free block is where it is asked.
#[test]
fn one_bad_block_does_not_keep_a_device_off() {
    let device = Device::default();
    let mut started = Started::over(&device);
    assert!(started.put(1));
    let end = device.data.length();
    device.data.bad(end - 4096..end);
    let now = device.data.operations();
    device.data.fail(now, io::ErrorKind::ReadOnlyFilesystem);
    assert!(!started.put(2));
    assert_eq!(started.volumes.stats().volumes_off, 1);
    (0..2).for_each(|_| started.tick(Duration::from_secs(11)));
    assert_eq!(started.volumes.stats().volumes_off, 0);
}

/// What others left of a disk is used, and more as soon as there is more.
#[test]
fn a_device_without_room_to_grow_is_used_as_far_as_it_goes() {
    let device = Device::default();
    let mut started = Started::over(&device);
    (1..=4).for_each(|object| assert!(started.put(object)));
    let before = device.data.length();
    let free = started.volumes.free_bytes();
    let whole = 3 * CHUNK_BYTES;
    device.set_full(true);
    (5..=30).take_while(|object| started.put(*object)).for_each(drop);
    let stats = started.volumes.stats();
    assert_eq!((stats.volumes_off, stats.volumes_full), (0, 1));
    assert!(started.volumes.free_bytes() < whole && free > 2 * whole, "it says what it can take");
    assert_eq!(device.data.length(), before);
    for object in 1..=4 {
        started.volumes.forget(ObjectId(object.into()));
        started.tick(Duration::from_millis(200));
        assert!(started.put(object + 40), "{object} left room");
        assert_eq!(started.present(object + 40), whole);
    }
    device.set_full(false);
    (0..2).for_each(|_| started.tick(Duration::from_secs(11)));
    assert_eq!(started.volumes.stats().volumes_full, 0);
    assert!(started.put(60) && started.put(61));
    assert!(device.data.length() > before);
}

/// Its journals are written and turned in what they have, at a later start too, and what an operator
/// takes away is away.
#[test]
fn on_a_full_device_objects_come_and_go_without_end() {
    let device = Device::default();
    let mut started = Started::over(&device);
    (1..=4).for_each(|object| assert!(started.put(object)));
    device.set_full(true);
    let lengths = || device.all().map(Sim::length);
    let before = lengths();
    for start in 0..3 {
        let turns = device.superblock.operations();
        for object in 0..400 {
            started.volumes.forget(ObjectId((object % 4 + 1).into()));
            assert!(started.put(object % 4 + 1), "{object} at start {start}");
        }
        assert!(device.superblock.operations() > turns + 4, "the journals never turn");
        assert_eq!(started.volumes.stats().volumes_off, 0);
        started = Started::over(&device);
        assert!((1..=4).all(|object| started.present(object) == 3 * CHUNK_BYTES));
    }
    (1..=4).for_each(|object| started.volumes.forget(ObjectId(object)));
    {
        let mut away = pin!(started.volumes.all_durable(VolumeIndex(0)));
        assert!(future::block_on(future::poll_once(away.as_mut())).is_none());
        at_once(started.volumes.tick(started.now, SYNC_INTERVAL)).unwrap();
        at_once(away).expect("it was synced").unwrap();
    }
    let after = device.crash(Crash::Lost, &mut Random(1));
    assert!((1..=4).all(|object| Started::over(&after).present(object) == 0));
    assert_eq!(lengths(), before);
}

/// Journals as a version left them that did not grow them: what there is is given, and the rest waits.
#[test]
fn a_journal_that_was_not_grown_waits_for_room_and_loses_nothing() {
    let device = Device::default();
    let mut first = Started::over(&device);
    (1..=2).for_each(|object| assert!(first.put(object)));
    device.journals[0].cut(2 * 4096);
    device.journals[1].cut(0);
    device.set_full(true);
    let mut second = Started::over(&device);
    assert!((1..=2).all(|object| second.present(object) == 3 * CHUNK_BYTES));
    second.volumes.pin(ObjectId(1), true);
    {
        let mut pinned = pin!(second.volumes.durable(ObjectId(1)));
        assert!(future::block_on(future::poll_once(pinned.as_mut())).is_none());
        at_once(second.volumes.tick(second.now, SYNC_INTERVAL)).unwrap();
        let refused = at_once(pinned).expect("it is answered").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    }
    let stats = second.volumes.stats();
    assert_eq!((stats.volumes_off, stats.volumes_full), (0, 1));
    assert!(!second.put(3), "its record has no room");
    device.set_full(false);
    (0..2).for_each(|_| second.tick(Duration::from_secs(11)));
    assert!(second.put(4));
    let third = Started::over(&device);
    assert!(third.volumes.is_pinned(ObjectId(1)) && third.present(4) == 3 * CHUNK_BYTES);
}

/// What lies behind the last page are zeros, and a start does not read all of them.
#[test]
fn zeros_ahead_cost_a_start_little() {
    let share = Share { data_bytes: 3 << 20, journal_bytes: 64 << 20 };
    let device = Device::default();
    let pieces = || vec![vec![7; SNAPSHOT_BYTES]; 32];
    let started = start(&device, share, &pool());
    let mut now = Instant::now();
    for _ in 0..8 {
        started.remember(VolumeIndex(0), pieces());
        at_once(started.tick(now, SYNC_INTERVAL)).unwrap();
        now += Duration::from_millis(200);
        at_once(started.tick(now, SYNC_INTERVAL)).unwrap();
    }
    drop(started);
    let [length, _] = device.journals.each_ref().map(Sim::length);
    assert!(length > 2 << 20, "{length}");
    let before = device.journals[0].operations();
    start(&device, share, &pool());
    let reads = device.journals[0].operations() - before;
    assert!(reads <= (1 << 20) / CHUNK_BYTES + 9, "{reads} reads");
}

/// One at a time a terabyte takes hours.
#[test]
fn a_check_keeps_several_reads_in_flight_of_several_objects() {
    let device = Device::default();
    let mut started = Started::over(&device);
    (1..=8).for_each(|object| assert!(started.put(object)));
    let objects: Vec<_> = (1..=8).map(ObjectId).collect();
    let check = started.volumes.check(VolumeIndex(0), &objects, 0, u64::MAX, false);
    let mut check = std::pin::pin!(check);
    device.data.hold();
    assert!(at_once(check.as_mut()).is_none());
    assert_eq!(device.data.held(), 16);
    device.data.release_all();
    let checked = future::block_on(check).unwrap();
    assert_eq!((checked.chunks, checked.faults, checked.next), (24, vec![], None));
}

/// Twelve chunks on their way into a full volume of which enough has left: eight of them wait for the
/// commit that says so.
fn waiting_fill(started: &Started) -> (Rc<StreamingResource>, Turns, usize) {
    let resource = started.volumes.create(ObjectId(20), Generation(20));
    let (filled, length) = (Rc::clone(&resource), 12 * CHUNK_BYTES);
    let mut turns = Turns::default();
    let filling = turns.spawn(async move {
        filled.set_length(length).unwrap();
        let bytes = content(filled.object(), filled.generation(), 0..length);
        filled.write_at(0, &bytes).await.unwrap();
        filled.flush().await;
    });
    turns.run();
    assert!(!turns.is_done(filling), "it does not wait");
    (resource, turns, filling)
}

fn full_volume(device: &Device) -> Started {
    let mut started = Started::over(device);
    (1..=16).for_each(|object| assert!(started.put(object)));
    (3..=8).for_each(|object| started.volumes.forget(ObjectId(object)));
    started
}

/// Who counted on it goes on in memory, for as long as the disk is not well.
#[test]
fn chunks_that_wait_for_a_commit_that_fails_wait_no_longer() {
    for kind in [io::ErrorKind::Other, io::ErrorKind::ReadOnlyFilesystem] {
        for is_dead in [false, true] {
            let device = Device::default();
            let mut started = full_volume(&device);
            let (resource, mut turns, filling) = waiting_fill(&started);
            for journal in &device.journals {
                match is_dead {
                    true => journal.die(journal.operations()),
                    false => journal.fail(journal.operations(), kind),
                }
            }
            at_once(started.volumes.tick(started.now, SYNC_INTERVAL)).unwrap();
            turns.run();
            assert!(turns.is_done(filling), "{kind}, {is_dead}: it stands still");
            assert!(!resource.is_cached() && started.volumes.stats().volumes_off == 1);
            drop(resource);
            (0..3).for_each(|_| started.tick(Duration::from_secs(11)));
            assert_eq!(started.volumes.stats().volumes_off, u64::from(is_dead));
            assert_eq!(started.put(21), !is_dead);
        }
    }
}

/// A volume that is off since reads of it failed may have its journal break as well.
#[test]
fn chunks_wait_for_nothing_on_a_volume_that_reads_turned_off() {
    let device = Device::default();
    let started = full_volume(&device);
    started.volumes.limit_tier(0);
    let (_resource, mut turns, filling) = waiting_fill(&started);
    device.data.die(device.data.operations());
    assert_eq!((started.present(9), started.present(10)), (0, 0));
    assert_eq!(started.volumes.stats().volumes_off, 1);
    turns.run();
    assert!(turns.is_done(filling), "it stands still");
}

/// Else others would leave for chunks that have room in a moment.
#[test]
fn what_is_leaving_counts_as_free_while_a_journal_is_turned_over() {
    let device = Device::default();
    let mut started = Started::over(&device);
    (1..=16).for_each(|object| assert!(started.put(object)));
    let evicted = Rc::new(Cell::new(0));
    let count = Rc::clone(&evicted);
    started.volumes.evict_by(move |_| {
        count.set(count.get() + 1);
        false
    });
    while !started.volumes.wants_compaction() {
        started.volumes.remember(VolumeIndex(0), vec![vec![7; SNAPSHOT_BYTES]; 8]);
    }
    (3..=6).for_each(|object| started.volumes.forget(ObjectId(object)));
    let counts = || (started.volumes.used_bytes(), started.volumes.free_bytes());
    let before = counts();
    device.journals.iter().for_each(Sim::hold);
    let volumes = started.volumes.clone();
    let mut tick = pin!(volumes.tick(started.now, SYNC_INTERVAL));
    assert!(at_once(tick.as_mut()).is_none(), "it was not turned over");
    assert_eq!(counts(), before, "what leaves is lost from sight");
    let (resource, mut turns, filling) = waiting_fill(&started);
    assert_eq!(evicted.get(), 0, "others were asked to leave");
    device.journals.iter().for_each(Sim::release_all);
    at_once(tick).expect("no operation is held");
    turns.run();
    for _ in 0..4 {
        at_once(started.volumes.tick(started.now, SYNC_INTERVAL)).unwrap();
        turns.run();
    }
    assert!(turns.is_done(filling) && resource.is_cached() && evicted.get() == 0);
}
