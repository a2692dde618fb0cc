//! Volumes of one shard whose devices are slow, full or failing.

use super::*;

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
    // The two chunks of one object, those of the other but one, and the probe's.
    fail(4);
    assert_eq!((started.present(1), started.present(2)), (0, CHUNK_BYTES));
    assert_eq!(started.volumes.stats().volumes_off, 1);
    let now = device.data.operations();
    device.data.fail(now + 1, io::ErrorKind::Other);
    started.tick(Duration::from_secs(11));
    assert_eq!(started.volumes.stats().volumes_off, 1, "it takes bytes and does not give them");
    (0..2).for_each(|_| started.tick(Duration::from_secs(11)));
    assert_eq!(started.volumes.stats().volumes_off, 0);
    assert!(started.put(3) && started.present(3) == 3 * CHUNK_BYTES);
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
    // Nothing is written behind the end of what is there.
    device.data.limit(Some(before));
    (5..=30).take_while(|object| started.put(*object)).for_each(drop);
    let stats = started.volumes.stats();
    assert_eq!(stats.volumes_off, 0);
    assert!(started.volumes.free_bytes() < whole && free > 2 * whole, "it says what it can take");
    assert_eq!(device.data.length(), before);
    for object in 1..=4 {
        started.volumes.forget(ObjectId(object.into()));
        started.tick(Duration::from_millis(200));
        assert!(started.put(object + 40), "{object} left room");
        assert_eq!(started.present(object + 40), whole);
    }
    device.data.limit(None);
    (0..2).for_each(|_| started.tick(Duration::from_secs(11)));
    assert!(started.put(60) && started.put(61));
    assert!(device.data.length() > before);
}
