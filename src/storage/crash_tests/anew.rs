//! Chunks that are written anew, with more of them, and power that is cut before that is durable.

use super::*;

fn write(resource: &Rc<StreamingResource>, range: Range<u64>) {
    let bytes = content(resource.object(), resource.generation(), range.clone());
    at_once(resource.write_at(range.start, &bytes)).unwrap().unwrap();
    at_once(resource.flush()).unwrap();
}

/// Has a chunk of which 30,000 bytes are durable, and which was written whole since.
fn written_anew(device: &Device) -> Started {
    let mut started = Started::over(device);
    let resource = started.volumes.create(ObjectId(1), Generation(1));
    write(&resource, 0..30_000);
    started.volumes.pin(ObjectId(1), true);
    (0..2).for_each(|_| started.tick(Duration::from_secs(6)));
    write(&resource, 30_000..CHUNK_BYTES);
    started.tick(Duration::from_millis(200));
    started
}

/// More of a chunk came, and others came after it: what was durable is in the one place or the other.
#[test]
fn what_was_durable_of_a_chunk_outlives_a_power_cut_after_it_was_written_anew() {
    let device = Device::default();
    let mut first = written_anew(&device);
    (2..=14).for_each(|object| assert!(first.put(object)));
    // All bytes reach the disk, and no record of the last seconds; or the other way round.
    for keeps_data in [true, false] {
        let mut after = device.crash(Crash::Kill, &mut Random(1));
        let mut lost = device.crash(Crash::Lost, &mut Random(1));
        if !keeps_data {
            std::mem::swap(&mut after, &mut lost);
        }
        after = Device { data: after.data, ..lost };
        // What comes back does so for good.
        for start_number in 0..3 {
            let volumes = start(&after, SHARES[0], &pool());
            let object = volumes.find(ObjectId(1)).unwrap();
            let read = at_once(object.read_at(0, usize::MAX)).unwrap().unwrap();
            let length = read.map(|bytes| bytes.len());
            let counts = (length, volumes.stats().corrupt_chunks);
            assert_eq!(counts, (Some(30_000), 0), "{keeps_data}, start {start_number}");
            // From the next sync on it is said that all is durable.
            let other = volumes.create(ObjectId(50), Generation(start_number));
            [0..1_000, 1_000..2_000].into_iter().for_each(|range| write(&other, range));
            let mut started = Started { volumes, now: Instant::now() };
            (0..4).for_each(|_| started.tick(Duration::from_secs(6)));
        }
    }
}

/// The record that all before a sync is durable comes behind those of what came meanwhile.
#[test]
fn what_is_written_anew_during_a_sync_is_in_doubt_until_the_next_one() {
    let device = Device::default();
    let mut started = Started::over(&device);
    let resource = started.volumes.create(ObjectId(1), Generation(1));
    let part = |chunk: u64, part: Range<u64>| {
        write(&resource, chunk * CHUNK_BYTES + part.start..chunk * CHUNK_BYTES + part.end);
    };
    (0..2).for_each(|chunk| part(chunk, 0..30_000));
    started.volumes.pin(ObjectId(1), true);
    (0..2).for_each(|_| started.tick(Duration::from_secs(6)));
    part(0, 30_000..CHUNK_BYTES);
    started.tick(Duration::from_millis(200));
    device.journals[0].hold();
    started.now += Duration::from_secs(6);
    let volumes = started.volumes.clone();
    let mut tick = pin!(volumes.tick(started.now, SYNC_INTERVAL));
    assert!(at_once(tick.as_mut()).is_none(), "it does not sync");
    part(1, 30_000..CHUNK_BYTES);
    device.journals[0].release_all();
    at_once(tick).expect("no operation is held");
    started.tick(Duration::from_millis(200));
    let there = |device: &Device| {
        let volumes = start(device, SHARES[0], &pool());
        let object = volumes.find(ObjectId(1)).unwrap();
        let length = |chunk| {
            let read = at_once(object.read_at(chunk * CHUNK_BYTES, usize::MAX)).unwrap().unwrap();
            read.map(|bytes| bytes.len() as u64)
        };
        ([0, 1].map(length), volumes.stats().corrupt_chunks)
    };
    let [kept, lost] = [Crash::Kill, Crash::Lost].map(|crash| device.crash(crash, &mut Random(1)));
    assert_eq!(there(&kept), ([Some(CHUNK_BYTES); 2], 0));
    // All records reach the disk, and of the data what the sync took.
    let after = Device { data: lost.data, ..kept };
    assert_eq!(there(&after), ([Some(CHUNK_BYTES), Some(30_000)], 0));
}

/// Each chunk in doubt is a read before the node takes its first request.
#[test]
fn a_start_reads_no_chunk_of_which_it_is_said_that_it_is_durable() {
    let device = Device::default();
    let mut first = written_anew(&device);
    let reads_of_a_start = || {
        let after = device.crash(Crash::Kill, &mut Random(1));
        start(&after, SHARES[0], &pool());
        after.data.operations()
    };
    assert_eq!(reads_of_a_start(), 1, "it is in doubt");
    (0..2).for_each(|_| first.tick(Duration::from_secs(6)));
    assert_eq!(reads_of_a_start(), 0);
}

/// The other journal does not say where a chunk lay before.
#[test]
fn what_was_durable_of_a_chunk_outlives_a_power_cut_after_a_turn_of_journals() {
    let device = Device::default();
    let mut first = written_anew(&device);
    let turns = device.superblock.operations();
    while device.superblock.operations() == turns {
        first.volumes.remember(VolumeIndex(0), vec![vec![7; SNAPSHOT_BYTES]; 8]);
        first.tick(Duration::from_millis(200));
    }
    let after = device.crash(Crash::Lost, &mut Random(1));
    let volumes = start(&after, SHARES[0], &pool());
    let read = at_once(volumes.find(ObjectId(1)).unwrap().read_at(0, usize::MAX));
    assert!(read.unwrap().unwrap().is_some_and(|bytes| bytes.len() >= 30_000));
}

/// A start looks at no more of them.
#[test]
fn chunks_that_are_written_anew_wait_for_a_sync_when_they_are_many() {
    let device = Device::default();
    let share = Share { data_bytes: 256 << 20, journal_bytes: 4 << 20 };
    let mut started = Started { volumes: start(&device, share, &pool()), now: Instant::now() };
    let resource = started.volumes.create(ObjectId(1), Generation(1));
    let extend = |step: u64| {
        let at = step / 16 * CHUNK_BYTES + step % 16 * 1_000;
        let bytes = content(resource.object(), resource.generation(), at..at + 1_000);
        let _ = at_once(resource.write_at(at, &bytes));
        at_once(resource.flush()).expect("no operation is held");
    };
    let syncs = |started: &mut Started| {
        let before = device.data.operations();
        at_once(started.volumes.tick(started.now, Duration::from_secs(1_000))).unwrap();
        device.data.operations() - before
    };
    (0..1_000).for_each(extend);
    assert_eq!(syncs(&mut started), 0, "it is too early");
    (1_000..1_200).for_each(extend);
    assert_eq!(syncs(&mut started), 1);
    let before = started.volumes.stats().writes;
    (1_200..4_000).for_each(extend);
    let taken = started.volumes.stats().writes - before;
    assert!((2_000..2_300).contains(&taken), "{taken}");
    assert_eq!(syncs(&mut started), 1);
}

/// Who is said to lie where it was found has left: the record of that was lost.
#[test]
fn what_was_found_of_a_chunk_in_doubt_stands_against_who_lay_there_before() {
    let device = Device::default();
    let mut first = Started::over(&device);
    let resource = first.volumes.create(ObjectId(1), Generation(1));
    write(&resource, 0..30_000);
    first.volumes.pin(ObjectId(1), true);
    (2..=4).for_each(|object| assert!(first.put(object)));
    (0..2).for_each(|_| first.tick(Duration::from_secs(6)));
    let page = first.volumes.state(VolumeIndex(0)).unwrap().journal_bytes;
    first.volumes.forget(ObjectId(3));
    first.tick(Duration::from_millis(200));
    // So that the chunk begins behind where the other one did.
    write(&first.volumes.create(ObjectId(5), Generation(5)), 0..100);
    write(&resource, 30_000..CHUNK_BYTES);
    first.tick(Duration::from_millis(200));
    let after = device.crash(Crash::Kill, &mut Random(1));
    after.journals[0].flip(page + 100, 1);
    let second = Started::over(&after);
    assert_eq!(second.volumes.state(VolumeIndex(0)).unwrap().lost_pages, 1);
    assert_eq!(second.present(1), CHUNK_BYTES);
}
