//! Objects that are longer than half a volume: a part of them is kept, and the rest passes through.

use crate::{
    node::{Builder, Node, node},
    origin::{Origin, origin},
};

const MIB: usize = 1 << 20;

/// Of a cache of this size a volume holds some 4 MiB, and an object half of that.
const CACHE: &str = "17MiB";

fn book(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn node_of(origin: &Origin) -> Builder {
    node().origin(origin).cache_size(CACHE)
}

#[track_caller]
fn part(node: &Node, name: &str, body: &[u8], from: usize, to: usize) -> String {
    let answer =
        node.get_with(&format!("/o/origin/{name}"), &format!("Range: bytes={from}-{}\r\n", to - 1));
    assert_eq!(answer.status, 206, "{}", answer.text());
    assert!(answer.body == body[from..to], "other bytes");
    answer.field("cache-status").unwrap().to_owned()
}

#[test]
fn the_kept_part_of_a_long_object_is_served_without_the_origin_and_the_rest_by_range() {
    let book = book(9 * MIB);
    let origin = origin().file("book", &book).start();
    let node = node_of(&origin).start();
    let cold = node.get("/o/origin/book").ok();
    assert!(cold.body == book, "other bytes");
    assert_eq!(cold.field("cache-status"), Some("kithara; fwd=uri-miss"), "not all of it is kept");
    assert_eq!(node.counter("/disk/long_objects"), 1);
    let stored = node.counter("/disk/stored_bytes") as usize;
    assert!((MIB..5 * MIB / 2).contains(&stored), "{stored}");
    let asked = origin.asked("book").len();
    let kept = part(&node, "book", &book, 1000, MIB);
    assert!(kept.starts_with("kithara; hit"), "{kept}");
    assert_eq!(origin.asked("book").len(), asked, "what is kept was asked for");
    let rest = part(&node, "book", &book, 5 * MIB, 6 * MIB);
    assert_eq!(rest, "kithara; fwd=partial");
    let again = node.get("/o/origin/book").ok();
    assert!(again.body == book, "other bytes");
    assert_eq!(again.field("cache-status"), Some("kithara; fwd=partial"));
    let ranges = origin.ranges_asked("book");
    assert!(ranges[asked..].iter().all(|from| *from >= MIB as u64), "{ranges:?}");
    assert_eq!(node.counter("/disk/stored_bytes") as usize, stored, "it keeps what it had");
    assert_eq!(node.counter("/cache/evicted"), 0, "for itself it evicts nothing, and not itself");
}

#[test]
fn the_rest_of_a_long_object_comes_by_the_whole_where_there_are_no_ranges() {
    let book = book(6 * MIB);
    let origin = origin().file("book", &book).without_ranges().start();
    let node = node_of(&origin).start();
    assert!(node.get("/o/origin/book").ok().body == book);
    let asked = origin.asked("book").len();
    assert!(part(&node, "book", &book, 0, MIB).starts_with("kithara; hit"));
    assert_eq!(origin.asked("book").len(), asked);
    assert!(node.get("/o/origin/book").ok().body == book);
    assert_eq!(part(&node, "book", &book, 4 * MIB, 5 * MIB), "kithara; fwd=partial");
}

#[test]
fn of_a_long_object_that_nothing_proves_the_same_nothing_is_kept_and_nothing_leaves_for_it() {
    let (book, song) = (book(9 * MIB), book(MIB));
    let songs = (0..12).map(|number| format!("song-{number}"));
    let origin = songs.clone().fold(origin(), |origin, name| origin.file(&name, &song));
    let origin = origin.file("book", &book).without_validator().start();
    let node = node_of(&origin).start();
    songs.for_each(|name| drop(node.get(&format!("/o/origin/{name}")).ok()));
    let evicted = node.counter("/cache/evicted");
    let cold = node.get("/o/origin/book").ok();
    assert!(cold.body == book);
    assert_eq!(cold.field("cache-status"), Some("kithara; fwd=uri-miss"));
    // For the response head one may have to leave.
    assert!(node.counter("/cache/evicted") <= evicted + 1);
    assert!(node.get("/o/origin/book").ok().body == book);
    assert_eq!(origin.ranges_asked("book"), [0, 0]);
}

#[test]
fn for_its_part_a_long_object_takes_the_room_of_others_and_no_more() {
    let (book, song) = (book(20 * MIB), book(MIB / 2));
    let songs: Vec<_> = (0..40).map(|number| format!("song-{number}")).collect();
    let origin = songs.iter().fold(origin(), |origin, name| origin.file(name, &song));
    let origin = origin.file("book", &book).start();
    let node = node_of(&origin).start();
    songs.iter().for_each(|name| drop(node.get(&format!("/o/origin/{name}")).ok()));
    let (evicted, free) = (node.counter("/cache/evicted"), node.counter("/disk/free_bytes"));
    assert!(evicted > 0, "the cache is full");
    assert!(node.get("/o/origin/book").ok().body == book);
    let more = node.counter("/cache/evicted") - evicted;
    assert!((1..=5).contains(&more), "{more} left for two mebibytes");
    assert!(part(&node, "book", &book, 0, MIB).starts_with("kithara; hit"));
    assert!(node.counter("/disk/free_bytes") <= free + 2 * MIB as u64);
}
