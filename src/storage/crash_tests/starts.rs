//! Starts that find something other than was left: another size, another version, damage.

use super::*;

/// Else they would stand against who has their blocks by then, at the next start.
#[test]
fn chunks_dropped_at_a_start_are_recorded() {
    let device = Device::default();
    assert!(Started::over(&device).put(1));
    // The data did not reach the disk, and the journal did.
    device.data.cut(0);
    let mut second = Started::over(&device);
    assert_eq!((second.present(1), second.volumes.stats().corrupt_chunks), (0, 3));
    assert!(second.put(2));
    let third = Started::over(&device);
    assert_eq!(third.volumes.stats().corrupt_chunks, 0);
    assert_eq!((third.present(1), third.present(2)), (0, 3 * CHUNK_BYTES));
}

/// What a larger cache left is cut at the start, journals too, and what fits stays.
#[test]
fn a_smaller_cache_evicts_and_cuts() {
    let device = Device::default();
    let mut first = Started::over(&device);
    (1..=14).for_each(|object| assert!(first.put(object)));
    for turn in 0..25 {
        first.volumes.remember(VolumeIndex(0), vec![vec![7; SNAPSHOT_BYTES]]);
        assert!(first.put(14), "{turn}");
    }
    let longest = device.journals.each_ref().map(Sim::length).into_iter().max().unwrap();
    assert!(longest > SHARES[1].journal_bytes && device.data.length() > SHARES[1].data_bytes);
    drop(first);
    let volumes = start(&device, SHARES[1], &pool());
    assert!(device.data.length() <= SHARES[1].data_bytes);
    let journals = device.journals.each_ref().map(Sim::length);
    assert!(journals.into_iter().all(|length| length <= SHARES[1].journal_bytes), "{journals:?}");
    let second = Started { volumes, now: Instant::now() };
    let kept = (1..=13).filter(|object| second.present(*object) == 3 * CHUNK_BYTES).count();
    assert!(kept >= 4, "{kept}");
    drop(second);
    let third = Started::over(&device);
    let still = (1..=13).filter(|object| third.present(*object) == 3 * CHUNK_BYTES).count();
    assert_eq!(still, kept);
}

/// The cache over a device, as `share` has it; or why it does not start.
fn started(device: &Device, share: Share) -> Result<Started, String> {
    let volumes = open(device, share, &pool()).map_err(|error| error.to_string())?;
    Ok(Started { volumes, now: Instant::now() })
}

const LARGE: Share = SHARES[0];
const SMALL: Share = SHARES[1];
const WHOLE: u64 = 3 * CHUNK_BYTES;

/// A cache with fourteen objects, those of `pinned` pinned.
fn with_pins(device: &Device, pinned: Range<u64>) {
    let mut started = started(device, LARGE).unwrap();
    (1..=14).for_each(|object| assert!(started.put(object)));
    pinned.for_each(|object| started.volumes.pin(ObjectId(object.into()), true));
    started.tick(Duration::from_secs(6));
    assert!(device.data.length() > SMALL.data_bytes);
}

/// They lie behind the new end, and what lay before it makes room.
#[test]
fn what_is_pinned_outlives_a_smaller_cache() {
    let device = Device::default();
    with_pins(&device, 11..15);
    let mut random = Random(1);
    for start in 0..2 {
        let small = started(&device, SMALL).unwrap();
        assert!((11..15).all(|object| small.present(object) == WHOLE), "start {start}");
        let stats = small.volumes.stats();
        assert_eq!((stats.corrupt_chunks, stats.read_errors), (0, 0), "start {start}");
        assert!(device.data.length() <= SMALL.data_bytes);
        // It was durable before anything was cut.
        let crashed = device.crash(Crash::Lost, &mut random);
        let after = started(&crashed, SMALL).unwrap();
        assert!((11..15).all(|object| after.present(object) == WHOLE), "crash {start}");
    }
}

/// Else each start would look whether it is there yet, and where it lay before is no more.
#[test]
fn a_start_reads_nothing_of_what_a_smaller_one_moved() {
    let device = Device::default();
    with_pins(&device, 11..15);
    // Its journal is not written anew.
    let small = Share { journal_bytes: LARGE.journal_bytes, ..SMALL };
    assert_eq!(started(&device, small).unwrap().volumes.stats().moved_chunks, 12);
    let after = device.crash(Crash::Kill, &mut Random(1));
    assert_eq!(started(&after, small).unwrap().volumes.stats().moved_chunks, 0);
    assert_eq!(after.data.operations(), 0);
}

#[test]
fn what_is_pinned_and_has_no_room_keeps_a_cache_from_getting_smaller() {
    let device = Device::default();
    with_pins(&device, 1..11);
    let length = device.data.length();
    let refused = started(&device, SMALL).err().expect("it is too small");
    assert!(refused.contains("pinned") && refused.contains("cache.size"), "{refused}");
    assert_eq!(device.data.length(), length);
    let again = started(&device, LARGE).unwrap();
    assert!((1..=14).all(|object| again.present(object) == WHOLE));
}

/// The one that cannot be as small is read last.
#[test]
fn a_volume_that_cannot_get_smaller_leaves_the_others_as_they_are() {
    let devices = [Device::default(), Device::default()];
    let start = |Share { data_bytes, journal_bytes }| {
        let opening = Device::volumes_of(&devices, data_bytes, journal_bytes, pool());
        let volumes = future::block_on(opening).map_err(|error| error.to_string())?;
        Ok::<_, String>(Started { volumes, now: Instant::now() })
    };
    let mut large = start(LARGE).unwrap();
    (2..=29_u64).for_each(|object| assert!(large.put(object)));
    let pinned = (2..=21_u64).filter(|object| object % 2 == 1);
    pinned.for_each(|object| large.volumes.pin(ObjectId(object.into()), true));
    large.tick(Duration::from_secs(6));
    let refused = start(SMALL).err().expect("what is pinned in the second has no room");
    assert!(refused.contains("pinned"), "{refused}");
    let again = start(LARGE).unwrap();
    assert!((2..=29).all(|object| again.present(object) == WHOLE));
}

/// A machine that stops in the middle of a smaller start, at any write.
#[test]
fn a_smaller_start_that_fails_loses_nothing_that_is_pinned() {
    for operation in 0..40 {
        let device = Device::default();
        with_pins(&device, 11..15);
        let now = device.all().map(Sim::operations);
        device.all().into_iter().zip(now).for_each(|(sim, now)| sim.die(now + operation));
        let _ = started(&device, SMALL);
        let after = device.crash(Crash::Lost, &mut Random(operation + 1));
        let small = started(&after, SMALL).unwrap();
        assert!((11..15).all(|object| small.present(object) == WHOLE), "operation {operation}");
    }
}

/// Others are moved to where those lay that made room.
#[test]
fn a_smaller_start_that_is_killed_leaves_nothing_that_a_check_would_take_for_rot() {
    for seed in 1..=60 {
        let devices = [Device::default()];
        with_pins(&devices[0], 11..15);
        let opening = Device::volumes_of(&devices, SMALL.data_bytes, SMALL.journal_bytes, pool());
        Device::do_in_part(&devices, opening, &mut Random(seed));
        let after = devices[0].crash(Crash::Kill, &mut Random(seed));
        devices[0].release();
        let again = started(&after, LARGE).unwrap();
        let objects: Vec<_> = (1..=14).map(ObjectId).collect();
        let checking = again.volumes.check(VolumeIndex(0), &objects, 0, u64::MAX, false);
        assert_eq!(future::block_on(checking).unwrap().faults, [], "seed {seed}");
    }
}

#[test]
fn two_damaged_superblocks_are_refused_and_nothing_is_changed() {
    let device = Device::default();
    with_pins(&device, 1..3);
    // The other one was not written yet.
    let damage = || device.superblock.flip(SUPERBLOCK_BYTES as u64 + 50, 1);
    damage();
    let operations = device.all().map(Sim::operations);
    let refused = started(&device, SMALL).err().expect("nothing says which journal counts");
    assert!(refused.contains("superblock") && refused.contains("remove"), "{refused}");
    let reads = device.all().map(Sim::operations);
    let reads: Vec<_> = reads.iter().zip(operations).map(|(now, before)| now - before).collect();
    assert_eq!(reads, [0, 2, 0, 0], "they are read, and nothing else is done");
    damage();
    let again = started(&device, LARGE).unwrap();
    assert!((1..=14).all(|object| again.present(object) == WHOLE));
    assert!(again.volumes.is_pinned(ObjectId(1)));
}

#[test]
fn a_superblock_that_the_device_does_not_give_is_not_written_over() {
    let device = Device::default();
    with_pins(&device, 1..3);
    // Each copy is read twice; writes are taken.
    let now = device.superblock.operations();
    (now..now + 4).for_each(|read| device.superblock.fail(read, io::ErrorKind::Other));
    let mut blind = started(&device, LARGE).unwrap();
    assert_eq!((blind.volumes.stats().volumes_off, blind.present(1)), (1, 0));
    (0..3).for_each(|_| blind.tick(Duration::from_secs(11)));
    assert!(!blind.put(20));
    let healed = device.crash(Crash::Kill, &mut Random(1));
    let again = started(&healed, LARGE).unwrap();
    assert!((1..=14).all(|object| again.present(object) == WHOLE));
    assert!(again.volumes.is_pinned(ObjectId(1)));
}

/// Its disk fails at once, and again when it is tried: before the first superblock is written, or
/// before the one that a compaction turns to. Else there would be journals that no superblock names.
#[test]
fn a_volume_that_could_not_begin_does_so_at_the_next_start() {
    for later in [1, 3] {
        let device = Device::default();
        // Each copy is read twice.
        let first = 4;
        device.superblock.fail(first, io::ErrorKind::Other);
        device.superblock.die(first + later);
        let mut ill = started(&device, LARGE).unwrap();
        (0..3).for_each(|_| ill.tick(Duration::from_secs(11)));
        assert_eq!(ill.volumes.stats().volumes_off, 1);
        let healed = device.crash(Crash::Kill, &mut Random(1));
        assert!(started(&healed, LARGE).unwrap().put(1), "{later}");
    }
}

/// A cache with four objects, each of which came with a commit of its own, and so has a page of its own.
fn with_pages(device: &Device) {
    let mut first = started(device, LARGE).unwrap();
    (1..=4).for_each(|object| assert!(first.put(object)));
    first.volumes.pin(ObjectId(2), true);
    first.tick(Duration::from_secs(6));
}

fn whole(started: &Started) -> Vec<u64> {
    (1..=4).filter(|object| started.present(*object) == WHOLE).collect()
}

const ALL: [u64; 4] = [1, 2, 3, 4];

#[test]
fn a_page_of_a_journal_that_is_read_at_the_third_try_costs_nothing() {
    let device = Device::default();
    with_pages(&device);
    let journal = &device.journals[0];
    // All of it at once, then the second of its pages.
    [0, 2]
        .into_iter()
        .for_each(|read| journal.fail(journal.operations() + read, io::ErrorKind::Other));
    let second = started(&device, LARGE).unwrap();
    assert_eq!((whole(&second), second.volumes.stats().volumes_off), (ALL.into(), 0));
}

/// The device may give it tomorrow, and what it said, pins among it, is said by nobody else.
#[test]
fn a_journal_with_a_page_that_cannot_be_read_is_kept_as_it_is() {
    let device = Device::default();
    with_pages(&device);
    let journals = device.journals.each_ref().map(Sim::length);
    device.journals[0].bad(4096..8192);
    for start in 0..2 {
        let mut second = started(&device, LARGE).unwrap();
        let stats = second.volumes.stats();
        assert_eq!((stats.read_errors, stats.volumes_off), (1, 1), "start {start}");
        let state = second.volumes.state(VolumeIndex(0)).unwrap();
        assert!(state.lost_pages == 1 && !state.is_unread);
        assert_eq!(whole(&second), [1, 3, 4], "what is known is given");
        (0..3).for_each(|_| second.tick(Duration::from_secs(11)));
        assert!(!second.put(5) && second.volumes.stats().volumes_off == 1);
        assert_eq!(device.journals.each_ref().map(Sim::length), journals);
    }
    let refused = started(&device, SMALL).err().expect("it is not known what is to be moved");
    assert!(refused.contains("--repair") && refused.contains("cache.size"), "{refused}");
    device.journals[0].mend();
    let third = started(&device, LARGE).unwrap();
    assert_eq!((whole(&third), third.volumes.stats().volumes_off), (ALL.into(), 0));
    assert!(third.volumes.is_pinned(ObjectId(2)));
}

#[test]
fn an_operator_may_go_on_without_pages_that_cannot_be_read() {
    let device = Device::default();
    with_pages(&device);
    device.journals[0].bad(4096..8192);
    let mut second = started(&device, LARGE).unwrap();
    second.volumes.renew(VolumeIndex(0));
    second.tick(Duration::ZERO);
    let state = second.volumes.state(VolumeIndex(0)).unwrap();
    assert!(!state.is_off && state.lost_pages == 0 && second.put(5));
    second.tick(Duration::from_secs(6));
    let third = started(&device, LARGE).unwrap();
    assert_eq!((whole(&third), third.volumes.stats().volumes_off), (vec![1, 3, 4], 0));
    assert_eq!(third.present(5), WHOLE);
}

/// `kithara cache verify --repair` is over before anything is due.
#[test]
fn an_end_goes_on_without_pages_where_an_operator_said_so_just_before() {
    for is_unreadable in [false, true] {
        let device = Device::default();
        with_pages(&device);
        match is_unreadable {
            true => device.journals[0].bad(4096..8192),
            false => device.journals[0].flip(4096 + 100, 1),
        }
        let second = started(&device, LARGE).unwrap();
        second.volumes.renew(VolumeIndex(0));
        at_once(second.volumes.close(second.now)).unwrap().unwrap();
        let third = started(&device, LARGE).unwrap();
        let state = third.volumes.state(VolumeIndex(0)).unwrap();
        assert_eq!((state.lost_pages, state.is_off), (0, false), "unreadable: {is_unreadable}");
        assert_eq!(whole(&third), [1, 3, 4]);
    }
}

/// More of them than a power cut can make of pages that were written.
#[test]
fn what_lies_behind_many_pages_that_cannot_be_read_is_read() {
    let device = Device::default();
    let share = Share { journal_bytes: 64 << 20, ..LARGE };
    let mut first = started(&device, share).unwrap();
    assert!(first.put(1));
    for _ in 0..20 {
        first.volumes.remember(VolumeIndex(0), vec![vec![7; SNAPSHOT_BYTES]; 8]);
        first.tick(Duration::from_millis(200));
    }
    assert!(first.put(2));
    first.tick(Duration::from_secs(6));
    device.journals[0].bad(16 << 10..600 << 10);
    let second = started(&device, share).unwrap();
    assert_eq!((whole(&second), second.volumes.stats().read_errors), (vec![1, 2], 146));
    assert!(!second.volumes.state(VolumeIndex(0)).unwrap().is_unread);
    // Each may take a dying device seconds.
    device.journals[0].bad(0..64 << 20);
    let before = device.journals[0].operations();
    let third = started(&device, share).unwrap();
    let reads = device.journals[0].operations() - before;
    assert!(third.volumes.state(VolumeIndex(0)).unwrap().is_unread && reads < 600, "{reads}");
    third.volumes.renew(VolumeIndex(0));
    let mut third = third;
    third.tick(Duration::from_secs(11));
    assert_eq!(third.volumes.stats().volumes_off, 1, "what is not known is not written over");
}

/// What stood in it is told by nobody else; an operator hears of it, until the journal is written anew.
#[test]
fn pages_that_rot_in_a_journal_are_told_until_it_is_written_anew() {
    let device = Device::default();
    let mut first = Started::over(&device);
    (1..=4).for_each(|object| assert!(first.put(object)));
    let state = |started: &Started| started.volumes.state(VolumeIndex(0)).unwrap();
    assert_eq!(state(&first).lost_pages, 0);
    device.journals[0].flip(4096 + 100, 1);
    let mut second = Started::over(&device);
    assert_eq!(state(&second).lost_pages, 1);
    second.tick(Duration::from_secs(6));
    assert_eq!(state(&Started::over(&device)).lost_pages, 1, "it is forgotten");
    second.volumes.renew(VolumeIndex(0));
    second.tick(Duration::from_secs(6));
    assert_eq!((state(&second).lost_pages, state(&Started::over(&device)).lost_pages), (0, 0));
}

/// Its journal is not known, so that a check of nothing would find all well.
#[test]
fn a_volume_that_could_not_be_read_says_so() {
    let device = Device::default();
    with_pins(&device, 1..3);
    let now = device.superblock.operations();
    (now..now + 4).for_each(|read| device.superblock.fail(read, io::ErrorKind::Other));
    let blind = started(&device, LARGE).unwrap();
    let [(volume, state)] = blind.volumes.states()[..] else { panic!("there is one") };
    assert!(volume == VolumeIndex(0) && state.is_off && state.is_unread);
    let seeing = started(&device, LARGE).unwrap();
    assert!(!seeing.volumes.state(volume).unwrap().is_unread);
}
