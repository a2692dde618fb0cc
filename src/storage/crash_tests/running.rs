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
