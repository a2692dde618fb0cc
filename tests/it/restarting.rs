//! What the cache still has after its process has ended: well, or by force.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::FileExt,
    path::Path,
    thread,
    time::Duration,
};

use crate::{
    client,
    node::{Node, kithara_cache, node, scratch},
    origin::{Origin, origin},
};

const LENGTH: usize = 1_500_000;

fn song(number: usize) -> Vec<u8> {
    (0..LENGTH).map(|at| (at / 3 * (number + 7) + at) as u8).collect()
}

fn name(number: usize) -> String {
    format!("song-{number}")
}

fn origin_of(songs: usize) -> Origin {
    (0..songs).fold(origin(), |origin, number| origin.file(&name(number), &song(number))).start()
}

fn node_of(origin: &Origin, dir: &Path, shards: usize) -> Node {
    node().origin(origin).cache(dir).shards(shards).start()
}

#[track_caller]
fn all_play(node: &Node, songs: usize) {
    for number in 0..songs {
        let body = node.get(&format!("/o/origin/{}", name(number))).ok().body;
        assert!(body == song(number), "song {number} came back changed");
    }
}

fn requests(origin: &Origin, songs: usize) -> usize {
    (0..songs).map(|number| origin.asked(&name(number)).len()).sum()
}

#[test]
fn what_was_cached_is_there_after_a_restart_with_another_number_of_shards() {
    let (origin, dir) = (origin_of(6), scratch());
    let first = node_of(&origin, dir.path(), 2);
    all_play(&first, 6);
    first.signal("-TERM");
    first.ended(Duration::from_secs(20));
    let asked = requests(&origin, 6);
    // More need more cores; that any shard finds its volumes is tested in storage.
    for shards in [1, 2] {
        let node = node_of(&origin, dir.path(), shards);
        all_play(&node, 6);
        assert_eq!(requests(&origin, 6), asked, "something was fetched again by {shards} shards");
        node.signal("-TERM");
        node.ended(Duration::from_secs(20));
    }
}

#[test]
fn what_was_cached_a_second_ago_outlives_a_kill() {
    let (origin, dir) = (origin_of(3), scratch());
    let first = node_of(&origin, dir.path(), 1);
    all_play(&first, 3);
    let asked = requests(&origin, 3);
    // Commits are every 100 ms. There is nothing to see them by from outside.
    std::thread::sleep(Duration::from_secs(1));
    first.signal("-KILL");
    first.ended(Duration::from_secs(20));
    let second = node_of(&origin, dir.path(), 1);
    all_play(&second, 3);
    assert_eq!(requests(&origin, 3), asked, "something was lost");
}

#[test]
fn bytes_that_changed_on_disk_are_fetched_again_and_never_served() {
    let (origin, dir) = (origin_of(1), scratch());
    let first = node_of(&origin, dir.path(), 1);
    all_play(&first, 1);
    first.signal("-TERM");
    first.ended(Duration::from_secs(20));
    let asked = requests(&origin, 1);
    rots(dir.path(), 0);
    let second = node_of(&origin, dir.path(), 1);
    all_play(&second, 1);
    assert!(requests(&origin, 1) > asked);
}

/// Flips a bit of each 100 kB of the volumes, from there on.
fn rots(dir: &Path, from: u64) {
    for volume in fs::read_dir(dir).unwrap() {
        let data = volume.unwrap().path().join("data");
        let Ok(file) = fs::File::options().read(true).write(true).open(data) else { continue };
        for position in (from..file.metadata().unwrap().len()).step_by(100_000) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, position).unwrap();
            file.write_all_at(&[byte[0] ^ 16], position).unwrap();
        }
    }
}

/// Its origin says nothing that would tell one version from another, and has another one now.
#[test]
fn what_a_kill_left_of_an_unproven_song_is_not_completed_with_another() {
    let dir = scratch();
    let origin = origin().file("song", &song(0)).without_validator().at_rate(1 << 20).start();
    let first = node_of(&origin, dir.path(), 1);
    let mut stream = client::connect(first.listen);
    let request = format!("GET /o/origin/song HTTP/1.1\r\nHost: {}\r\n\r\n", first.listen);
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 300_000]).unwrap();
    thread::sleep(Duration::from_millis(300));
    first.signal("-KILL");
    first.ended(Duration::from_secs(20));
    origin.replace("song", &song(1));
    let second = node_of(&origin, dir.path(), 1);
    let body = second.get("/o/origin/song").ok().body;
    assert!(body == song(1), "two versions were mixed, or the old one was served");
    assert_eq!(second.counter("/cache/partial_hits"), 0, "what was dropped was no hit");
    assert_eq!(origin.ranges_asked("song"), [0, 0]);
}

#[test]
fn what_a_repair_left_of_an_unproven_song_is_not_completed_with_another() {
    let (dir, origin) = (scratch(), origin().file("song", &song(0)).without_validator().start());
    let first = node_of(&origin, dir.path(), 1);
    assert!(first.get("/o/origin/song").ok().body == song(0));
    first.signal("-TERM");
    first.ended(Duration::from_secs(20));
    rots(dir.path(), 1_000_000);
    let path = dir.path().to_str().unwrap();
    let (code, out, said) = kithara_cache(&["verify", "--repair", "--cache", path], "1GiB");
    assert!(code == 0 && out.contains("dropped"), "{out}{said}");
    origin.replace("song", &song(1));
    let second = node_of(&origin, dir.path(), 1);
    assert!(second.get("/o/origin/song").ok().body == song(1), "two versions were mixed");
}

#[test]
fn a_cache_of_a_newer_version_is_refused_and_left_alone() {
    let dir = scratch();
    let format = dir.path().join("FORMAT");
    fs::write(&format, "kithara-cache 2\n").unwrap();
    let (code, said) = node().cache(dir.path()).fails();
    assert!(code == 74 && said.contains("version"), "{code}: {said}");
    assert_eq!(fs::read_to_string(&format).unwrap(), "kithara-cache 2\n");
}

/// The port of its origin is another one at each start.
#[test]
fn what_the_demo_played_is_there_at_its_next_start() {
    let dir = scratch();
    let (mut etags, mut status) = (Vec::new(), String::new());
    for _ in 0..2 {
        let node = node().arg("--demo").cache(dir.path()).start();
        let pcm = node.get("/v1/pcm?src=demo:strings.mp3").ok();
        etags.push(pcm.field("etag").expect("of a known length").to_owned());
        let original = node.get("/o/demo/strings.ogg").ok();
        status = original.field("cache-status").unwrap().to_owned();
        node.signal("-TERM");
        node.ended(Duration::from_secs(20));
    }
    assert_eq!(etags[0], etags[1]);
    assert!(status.contains("hit"), "{status}");
}
