//! The n-th operation of a disk fails in each way, for every n: while the origin is up no reader notices.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_lite::future;

use super::{
    fill_tests::{KIB, Slow, Song, World, follow, story},
    is_of_another_version,
};
use crate::{
    bufpool::{self, BufPool},
    runtime::{self, now},
    storage::{Volumes, device::Device},
};

const LENGTH: u64 = 130 * KIB + 777;
/// Less than all songs take, so that some are evicted.
const DATA_BYTES: u64 = 512 * KIB;
/// So little that it is compacted in each history.
const JOURNAL_BYTES: u64 = 32 * KIB;
const SONGS: [&str; 4] = ["a", "b", "c", "d"];

/// A song takes a moment.
const PATIENCE: Duration = Duration::from_secs(10);

/// How operations fail.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// This one.
    Kind(io::ErrorKind),
    /// Half of this one.
    Short,
    /// This one and all after it.
    Dead,
}

const FAULTS: [Fault; 4] = [
    Fault::Kind(io::ErrorKind::Other),
    Fault::Kind(io::ErrorKind::StorageFull),
    Fault::Short,
    Fault::Dead,
];

#[test]
fn whichever_operation_of_the_disk_fails_no_reader_notices() {
    every_operation_fails(Song::new(LENGTH), play);
}

/// What is lost of it is not replaced by what may be of another version. That ends what a reader has begun,
/// and nothing else: who has had nothing opens it again and gets all of it, and so does who comes back.
#[test]
fn whichever_operation_fails_under_songs_that_nothing_proves_who_comes_gets_them() {
    every_operation_fails(Song::new(LENGTH).without_validator(), play_again);
}

fn every_operation_fails<P>(song: Song, play: P)
where
    P: AsyncFn(&World, &str, u64) + Copy + Send + 'static,
{
    let origin = Slow::start(song);
    let address = origin.address;
    story(&origin, move |_| async move {
        let whole = Device::default();
        history(&whole, address, play).await;
        let mut told = 0;
        for (number, sim) in whole.all().into_iter().enumerate() {
            assert!(sim.operations() > 4, "device {number} has nothing to do in this history");
            for operation in 0..sim.operations() {
                for fault in FAULTS {
                    println!("device {number}, operation {operation}: {fault:?}");
                    let device = Device::default();
                    let sim = device.all()[number];
                    match fault {
                        Fault::Kind(kind) => sim.fail(operation, kind),
                        Fault::Short => sim.cut_short(operation),
                        Fault::Dead => sim.die(operation),
                    }
                    let off = history(&device, address, play).await;
                    assert!(off == 0 || fault == Fault::Dead, "it stays off");
                    told += 1;
                }
            }
        }
        println!("{told} histories");
    });
}

const LONG: u64 = 10 * 64 * KIB + 777;
/// Two of them fill it, and none has room until another has left.
const LONG_DATA_BYTES: u64 = 24 * 64 * KIB;

/// More chunks of a song than may be on their way at a time wait for the commit that says who has left.
#[test]
fn whichever_operation_of_a_full_disk_fails_no_long_song_stands_still() {
    let origin = Slow::start(Song::new(LONG));
    let address = origin.address;
    story(&origin, move |_| async move {
        let whole = Device::default();
        long_history(&whole, address).await;
        let mut told = 0;
        // Those of the journal and its superblock.
        for (number, sim) in whole.all().into_iter().enumerate().skip(1) {
            for operation in 0..sim.operations() {
                for fault in [Fault::Kind(io::ErrorKind::ReadOnlyFilesystem), Fault::Dead] {
                    println!("device {number}, operation {operation}: {fault:?}");
                    let device = Device::default();
                    match fault {
                        Fault::Kind(kind) => device.all()[number].fail(operation, kind),
                        _ => device.all()[number].die(operation),
                    }
                    long_history(&device, address).await;
                    told += 1;
                }
            }
        }
        println!("{told} histories");
    });
}

async fn long_history(device: &Device, address: SocketAddr) {
    let pool = BufPool::new(bufpool::Options { budget_bytes: 8 << 20 });
    let volumes = device.volumes(LONG_DATA_BYTES, JOURNAL_BYTES, pool.clone()).await;
    let volumes = volumes.expect("a disk that fails is no reason not to start");
    let world = World::over(address, volumes.clone(), pool);
    for song in SONGS {
        let playing = async {
            let mut reader = world.open_song(song).await.expect("the origin is up");
            Some(follow(&mut reader, 0, 1).await)
        };
        let kept = async {
            loop {
                volumes.tick(now(), Duration::from_secs(5)).await;
                // Time for as many to wait as may.
                runtime::sleep(Duration::from_millis(20)).await;
            }
        };
        let stands_still = async {
            runtime::sleep(PATIENCE).await;
            None
        };
        let played = future::or(future::or(playing, kept), stands_still).await;
        let (end, failure) = played.expect("the song stands still");
        assert!(failure.is_none() && end == LONG, "{song} ends at {end}: {failure:?}");
    }
}

/// Songs are played, evicted, played again; the node ends without a word and starts once more. How
/// many volumes are off at the end.
async fn history(
    device: &Device,
    address: SocketAddr,
    play: impl AsyncFn(&World, &str, u64),
) -> u64 {
    let mut at = now();
    let mut off = 0;
    for _ in 0..2 {
        let pool = BufPool::new(bufpool::Options { budget_bytes: 8 << 20 });
        let volumes = device.volumes(DATA_BYTES, JOURNAL_BYTES, pool.clone()).await;
        let volumes = volumes.expect("a disk that fails is no reason not to start");
        // Every read is one of the disk.
        volumes.limit_tier(0);
        let world = World::over(address, volumes.clone(), pool);
        for (from, song) in [0, 70 * KIB, 0, 0].into_iter().zip(SONGS) {
            play(&world, song, from).await;
            tick(&volumes, &mut at, Duration::from_millis(200)).await;
        }
        play(&world, SONGS[1], 0).await;
        play(&world, SONGS[3], 0).await;
        // A sync, then as many probes as a broken journal and a volume that is off want.
        for seconds in [6, 11, 11, 11] {
            tick(&volumes, &mut at, Duration::from_secs(seconds)).await;
        }
        play(&world, SONGS[2], 0).await;
        for seconds in [1, 11, 11] {
            tick(&volumes, &mut at, Duration::from_secs(seconds)).await;
        }
        off = volumes.stats().volumes_off;
    }
    off
}

async fn play(world: &World, song: &str, from: u64) {
    let mut reader = world.open_song(song).await.expect("the origin is up");
    let (end, failure) = follow(&mut reader, from, 1).await;
    assert!(failure.is_none() && end == LENGTH, "{song} ends at {end}: {failure:?}");
}

/// As a client is served: as long as it has had nothing, what was opened is opened again, once.
async fn play_again(world: &World, song: &str, from: u64) {
    let (mut tries, mut came_back) = (0, false);
    loop {
        tries += 1;
        let mut reader = world.open_song(song).await.expect("the origin is up");
        let (end, failure) = follow(&mut reader, from, 1).await;
        let Some(failure) = failure else {
            return assert!(end == LENGTH, "{song} ends at {end}");
        };
        assert!(is_of_another_version(&failure), "{song} ends at {end}: {failure:?}");
        if end > from {
            assert!(!came_back, "who comes back to {song} gets no further than {end}");
            (tries, came_back) = (0, true);
        }
        assert!(tries < 2, "who has had nothing of {song} fails");
    }
}

async fn tick(volumes: &Volumes, at: &mut Instant, later: Duration) {
    const SYNC_INTERVAL: Duration = Duration::from_secs(5);
    volumes.tick(*at, SYNC_INTERVAL).await;
    *at += later;
    volumes.tick(*at, SYNC_INTERVAL).await;
}
