//! What is recorded when: turns of journals that fail, wait or are cut off, and blocks that come free.

use super::*;

/// The superblock may name the other journal by then: what is appended to the old one is lost.
#[test]
fn a_turn_of_journals_that_fails_is_done_again_before_anything_is_appended() {
    let device = Device::default();
    let mut first = Started::over(&device);
    first.turn_and_fail(&device);
    assert!(!first.put(1), "appended to a journal that may not count");
    for _ in 0..3 {
        first.tick(Duration::from_secs(11));
    }
    assert!(first.put(2), "it is not whole again");
    let second = Started::over(&device);
    assert_eq!((second.present(1), second.present(2)), (0, 3 * CHUNK_BYTES));
}

/// The superblock that failed may have reached the disk, and names a journal that is to be written over.
#[test]
fn a_turn_that_is_done_again_and_cut_off_loses_no_pin() {
    for cut in 0..6 {
        let device = Device::default();
        let mut first = Started::over(&device);
        first.volumes.pin(ObjectId(5), true);
        first.tick(Duration::from_secs(6));
        first.turn_and_fail(&device);
        device.journals.iter().for_each(|journal| journal.die(journal.operations() + cut));
        (0..2).for_each(|_| first.tick(Duration::from_secs(11)));
        let after = device.crash(Crash::Kill, &mut Random(1));
        assert!(Started::over(&after).volumes.is_pinned(ObjectId(5)), "cut off at {cut}");
    }
}

/// A journal of a small cache is shorter than what waits may be, and the disk takes its time.
#[test]
fn what_comes_while_a_journal_is_turned_over_waits_rather_than_overflow_it() {
    let device = Device::default();
    let share = Share { data_bytes: 64 << 20, ..SHARES[1] };
    let volumes = start(&device, share, &pool());
    let come_and_go = |objects: Range<u64>| {
        for object in objects {
            let resource = volumes.create(ObjectId(object.into()), Generation(object));
            let _ = at_once(resource.write_at(0, &[7; 100]));
            at_once(resource.flush());
            drop(resource);
            volumes.forget(ObjectId(object.into()));
        }
    };
    come_and_go(100..400);
    device.journals.iter().for_each(Sim::hold);
    let now = Instant::now();
    {
        let mut turn = pin!(volumes.tick(now, SYNC_INTERVAL));
        assert!(at_once(turn.as_mut()).is_none(), "it was not turned over");
        come_and_go(400..2_000);
        device.journals.iter().for_each(Sim::release_all);
        at_once(turn).expect("no operation is held");
    }
    assert_eq!(volumes.stats().volumes_off, 0);
    let mut started = Started { volumes, now };
    started.tick(Duration::from_millis(200));
    assert!(started.put(1), "its disk took it not");
}

/// A check after a kill would take them for rot.
#[test]
fn blocks_of_what_was_dropped_are_nobodys_before_that_is_recorded() {
    let device = Device::default();
    let mut first = Started::over(&device);
    (1..=16).for_each(|object| assert!(first.put(object)));
    assert!(first.volumes.free_bytes() < 3 * CHUNK_BYTES, "it is not full");
    first.volumes.forget(ObjectId(3));
    assert!(first.volumes.free_bytes() >= 3 * CHUNK_BYTES, "what comes free counts");
    let resource = first.volumes.create(ObjectId(20), Generation(20));
    resource.set_length(3 * CHUNK_BYTES).unwrap();
    let bytes = content(resource.object(), resource.generation(), 0..3 * CHUNK_BYTES);
    at_once(resource.write_at(0, &bytes)).unwrap().unwrap();
    assert!(at_once(resource.settled()).is_none(), "it does not wait");
    let killed = Started::over(&device.crash(Crash::Kill, &mut Random(1)));
    assert_eq!(killed.present(3), 3 * CHUNK_BYTES);
    assert_eq!(killed.volumes.stats().corrupt_chunks, 0);
    first.tick(Duration::ZERO);
    assert!(
        at_once(resource.settled()).is_some() && resource.is_cached(),
        "a commit is no group's to wait for"
    );
    first.tick(Duration::from_millis(200));
    let killed = Started::over(&device.crash(Crash::Kill, &mut Random(1)));
    assert_eq!((killed.present(3), killed.present(20)), (0, 3 * CHUNK_BYTES));
}
