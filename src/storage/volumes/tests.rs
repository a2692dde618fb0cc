//! Stories of a shard's volumes on real files.

use std::{collections::BTreeMap, fs, os::unix::fs::FileExt, path::Path};

use super::*;
use crate::{
    bufpool,
    storage::{
        CHUNK_BYTES, Error,
        directory::VolumeFiles,
        dma::tests::on_shard,
        format::SUPERBLOCK_BYTES,
        tests::{device, directory_on_disk},
    },
};

fn options(dir: &Path, size_bytes: u64, volumes: u32, (shard, shards): (u16, u16)) -> Options {
    let (format, policy) = (Format { uuid: 7, volumes }, Kind::default());
    Options { dir: dir.to_owned(), format, size_bytes, shard, shards, policy, kin: |id| id..=id }
}

async fn opened(options: &Options, pool: BufPool) -> Result<Volumes, Error> {
    Unopened::read(options, &device(), pool).await?.open().await
}

const LENGTH: usize = 150_000;

fn content(object: u128) -> Vec<u8> {
    (0..LENGTH).map(|at| (at as u128 * 31 + object * 7 + at as u128 / 251) as u8).collect()
}

/// How often this process has the data file of each volume below `dir` open. Executors of earlier
/// shards leave theirs open: they close files in a later round than their last.
fn open_files(dir: &Path) -> BTreeMap<u32, usize> {
    let mut open = BTreeMap::new();
    for fd in fs::read_dir("/proc/self/fd").unwrap() {
        let Ok(link) = fs::read_link(fd.unwrap().path()) else { continue };
        let volume = link.strip_prefix(dir).ok().filter(|path| path.ends_with("data"));
        let volume = volume.and_then(|path| path.parent()?.to_str());
        let number = volume.and_then(|name| name.strip_prefix("volume.")?.parse().ok());
        if let Some(number) = number {
            *open.entry(number).or_default() += 1;
        }
    }
    open
}

async fn read_all(resource: &Rc<StreamingResource>) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(block) = resource.read_at(all.len() as u64, usize::MAX).await.unwrap() {
        all.extend_from_slice(&block);
    }
    all
}

async fn fill_and_read_back(volumes: &Volumes, object: ObjectId) -> Rc<StreamingResource> {
    let resource = volumes.create(object, Generation(1));
    resource.set_length(LENGTH as u64).unwrap();
    resource.write_at(0, &content(object.0)).await.unwrap();
    resource.flush().await;
    resource.commit().unwrap();
    assert!(resource.is_cached() && resource.stored_bytes() >= LENGTH as u64);
    assert!(read_all(&resource).await == content(object.0), "{object} came back changed");
    resource
}

#[test]
fn each_shard_opens_its_own_volumes_and_reads_back_what_it_wrote() {
    let Some(dir) = directory_on_disk() else { return };
    for shards in [1, 2, 4] {
        let dir = dir.path().join(shards.to_string());
        for shard in 0..shards {
            let options = options(&dir, 16 << 20, 4, (shard, shards));
            fs::create_dir_all(&dir).unwrap();
            on_shard(serve_own(options));
        }
        let data = |number| fs::metadata(VolumeFiles::of(&dir, number).data).unwrap().len();
        let files = (0..4).map(data);
        assert!(files.sum::<u64>() <= 16 << 20);
    }
}

async fn serve_own(options: Options) {
    let pool = BufPool::new(bufpool::Options { budget_bytes: 4 << 20 });
    let before = open_files(&options.dir);
    let volumes = opened(&options, pool.clone()).await.unwrap();
    let is_own = |number: &u32| volumes.owner(VolumeIndex(*number)) == options.shard;
    let own: Vec<_> = (0..4).filter(is_own).collect();
    let after = open_files(&options.dir);
    let opened: Vec<_> =
        after.keys().copied().filter(|number| before.get(number) != after.get(number)).collect();
    assert_eq!(opened, own);
    for object in (0..8).map(ObjectId) {
        if own.contains(&volumes.of(object).0) {
            fill_and_read_back(&volumes, object).await;
        } else {
            let foreign = volumes.create(object, Generation(1));
            assert!(!foreign.is_cached() && volumes.bytes_of(volumes.of(object)).is_none());
        }
    }
    assert!(volumes.stats().reads >= 2 * 3 && volumes.stats().corrupt_chunks == 0);
    volumes.close(Instant::now()).await.unwrap();
    let used = u64::try_from(own.len()).unwrap() * 2 * LENGTH.next_multiple_of(16 << 10) as u64;
    assert_eq!((volumes.used_bytes(), pool.stats().in_use_bytes()), (used, 0));
}

#[test]
fn whole_and_partial_objects_outlive_every_change_of_the_number_of_shards() {
    let Some(dir) = directory_on_disk() else { return };
    for (start, shards) in [2, 1, 4, 2].into_iter().enumerate() {
        let mut seen = 0;
        for shard in 0..shards {
            let options = options(dir.path(), 16 << 20, 4, (shard, shards));
            seen += on_shard(go_on(options, start as u64));
        }
        assert_eq!(seen, 16, "start {start}");
    }
}

/// Checks what this shard has of 16 objects, and adds a piece to each that is partial. How many
/// objects it has.
async fn go_on(options: Options, start: u64) -> usize {
    const FROM: u64 = 30_000;
    const PIECE: u64 = 25_000;
    let pool = BufPool::new(bufpool::Options { budget_bytes: 4 << 20 });
    let volumes = opened(&options, pool).await.unwrap();
    let is_own = |object: &ObjectId| volumes.bytes_of(volumes.of(*object)).is_some();
    let own: Vec<_> = (0..16).map(ObjectId).filter(is_own).collect();
    for object in &own {
        let all = content(object.0);
        if start == 0 && object.0 % 2 == 0 {
            fill_and_read_back(&volumes, *object).await;
            continue;
        }
        let resource = match start {
            0 => volumes.create(*object, Generation(1)),
            _ => volumes.find(*object).expect("it is lost"),
        };
        if object.0 % 2 == 0 {
            assert!(resource.is_committed() && read_all(&resource).await == all);
            continue;
        }
        let mut at = FROM;
        while let Some(block) = resource.read_at(at, usize::MAX).await.unwrap() {
            assert_eq!(*block, all[at as usize..at as usize + block.len()], "{object}");
            at += block.len() as u64;
        }
        assert_eq!(at, FROM + start * PIECE, "{object} at start {start}");
        let piece = &all[at as usize..(at + PIECE) as usize];
        resource.write_at(at, piece).await.unwrap();
        resource.flush().await;
        assert_eq!(resource.present_bytes(), (start + 1) * PIECE);
    }
    volumes.close(Instant::now()).await.unwrap();
    own.len()
}

#[test]
fn a_byte_that_was_flipped_on_disk_is_a_miss_and_is_counted() {
    let Some(dir) = directory_on_disk() else { return };
    let dir = dir.path().to_owned();
    on_shard(async move {
        let options = options(&dir, 8 << 20, 1, (0, 1));
        let pool = BufPool::new(bufpool::Options { budget_bytes: 4 << 20 });
        let volumes = opened(&options, pool).await.unwrap();
        let resource = fill_and_read_back(&volumes, ObjectId(3)).await;
        // What is in memory would be right all the same.
        volumes.limit_tier(0);
        flip(&VolumeFiles::of(&dir, 0).data, 100);
        assert!(resource.read_at(100, 10).await.unwrap().is_none());
        assert_eq!(volumes.stats().corrupt_chunks, 1);
        assert_eq!(resource.next_gap(0..LENGTH as u64), Some(0..CHUNK_BYTES));
        assert!(!resource.is_complete());
        resource.write_at(0, &content(3)).await.unwrap();
        resource.flush().await;
        assert!(read_all(&resource).await == content(3), "it was not healed");
    });
}

/// One has lost its superblock; of another a first start left no more than the directory.
#[test]
fn a_look_tells_of_volumes_that_it_cannot_read() {
    let Some(dir) = directory_on_disk() else { return };
    let dir = dir.path().to_owned();
    on_shard(async move {
        let format = Format { uuid: 7, volumes: 4 };
        let options = Options {
            dir: dir.clone(),
            size_bytes: 16 << 20,
            format,
            shard: 0,
            shards: 1,
            policy: Kind::default(),
            kin: |id| id..=id,
        };
        let pool = BufPool::new(bufpool::Options { budget_bytes: 4 << 20 });
        let volumes = opened(&options, pool.clone()).await.unwrap();
        for object in (0..8).map(ObjectId) {
            fill_and_read_back(&volumes, object).await;
        }
        volumes.close(Instant::now()).await.unwrap();
        drop(volumes);
        fs::remove_file(VolumeFiles::of(&dir, 1).superblock).unwrap();
        fs::remove_dir_all(VolumeFiles::of(&dir, 2).dir()).unwrap();
        let looked = Volumes::open_as_they_are(&dir, format, &device(), pool).await.unwrap();
        let states = looked.states();
        let unread: Vec<_> = states.iter().map(|(_, state)| state.is_unread).collect();
        assert_eq!(unread, [false, true, false, false]);
        let off: Vec<_> = states.iter().map(|(_, state)| state.is_off).collect();
        assert_eq!(off, unread);
        assert!(!VolumeFiles::of(&dir, 1).superblock.exists(), "a look wrote it");
    });
}

#[test]
fn a_volume_of_an_unknown_version_is_left_as_it_is() {
    let Some(dir) = directory_on_disk() else { return };
    let dir = dir.path().to_owned();
    on_shard(async move {
        let large = options(&dir, 16 << 20, 1, (0, 1));
        let pool = BufPool::new(bufpool::Options { budget_bytes: 4 << 20 });
        let volumes = opened(&large, pool.clone()).await.unwrap();
        for object in 0..20 {
            fill_and_read_back(&volumes, ObjectId(object)).await;
        }
        volumes.close(Instant::now()).await.unwrap();
        let files = VolumeFiles::of(&dir, 0);
        let mut copies = fs::read(&files.superblock).unwrap();
        for copy in copies.chunks_exact_mut(SUPERBLOCK_BYTES) {
            copy[4] = 2;
            let sum = crate::storage::crc32c(&copy[4..]);
            copy[..4].copy_from_slice(&sum.to_le_bytes());
        }
        fs::write(&files.superblock, copies).unwrap();
        let bytes = || [&files.data, &files.journals[0]].map(|path| fs::read(path).unwrap());
        let before = bytes();
        let small = Options { size_bytes: 2 << 20, ..large };
        let refused = opened(&small, pool).await.err().expect("version 2");
        assert!(refused.to_string().contains("the version that wrote it"), "{refused}");
        assert!(before[0].len() > 2 << 20 && bytes() == before, "it was changed");
    });
}

/// Turns over a bit of what an empty volume was given first.
fn flip(path: &Path, position: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[byte[0] ^ 4], position).unwrap();
    file.sync_all().unwrap();
}
