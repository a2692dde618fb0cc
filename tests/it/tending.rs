//! What the operator sees of a cache and does to it: at a running node, and at one that is closed.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    client::{self, Response},
    node::{Node, kithara_cache, node, scratch},
    origin::{Origin, origin},
};

const LENGTH: usize = 300_000;

fn song(number: usize) -> Vec<u8> {
    (0..LENGTH).map(|at| (at / 3 * (number + 7) + at) as u8).collect()
}

fn origin_of(songs: usize) -> Origin {
    let song = |origin: crate::origin::Builder, number| origin.file(&name(number), &song(number));
    (0..songs).fold(origin(), song).start()
}

fn name(number: usize) -> String {
    format!("album/song-{number}")
}

#[track_caller]
fn plays(node: &Node, number: usize) {
    let body = node.get(&format!("/o/origin/{}", name(number))).ok().body;
    assert!(body == song(number), "song {number} came back changed");
}

fn admin(node: &Node, method: &str, target: &str) -> Response {
    client::request(node.admin, method, target, "")
}

#[track_caller]
fn document(node: &Node, target: &str) -> Value {
    serde_json::from_str(&admin(node, "GET", target).ok().text()).unwrap()
}

/// A source as one segment of a path.
fn segment(number: usize) -> String {
    format!("origin:{}", name(number).replace('/', "%2F"))
}

/// All assets, page by page.
#[track_caller]
fn assets(node: &Node, query: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = document(node, &format!("/v1/assets?limit=2{query}{after}"));
        let assets = page["assets"].as_array().unwrap();
        assert!(assets.len() <= 2);
        all.extend(assets.iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}

/// Their names, in order.
fn names(assets: &[Value]) -> Vec<String> {
    let of = |asset: &Value| asset["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let mut names: Vec<_> = assets.iter().map(of).collect();
    names.sort_unstable();
    names
}

fn ends(node: Node) {
    node.signal("-TERM");
    assert!(node.ended(Duration::from_secs(20)).0.success());
}

#[test]
fn a_list_has_what_is_cached_on_every_shard_once() {
    let origin = origin_of(7);
    let node = node().shards(2).origin(&origin).start();
    (0..6).for_each(|number| plays(&node, number));
    node.get_with(&format!("/o/origin/{}", name(6)), "Range: bytes=0-99\r\n");
    let all = assets(&node, "");
    assert_eq!(names(&all), (0..7).map(|number| format!("song-{number}")).collect::<Vec<_>>());
    let shards: Vec<_> = all.iter().map(|asset| asset["shard"].as_u64().unwrap()).collect();
    assert!(shards.contains(&0) && shards.contains(&1), "{shards:?}");
    let first = all.iter().find(|asset| asset["url"].as_str().unwrap().ends_with('0')).unwrap();
    assert_eq!((&first["length"], &first["present_bytes"]), (&LENGTH.into(), &LENGTH.into()));
    assert_eq!((&first["complete"], &first["pinned"]), (&true.into(), &false.into()));
    assert!(first["expires_unix_ms"].as_u64() > first["born_unix_ms"].as_u64());
    assert_eq!(first["validator"], format!("\"{}-1\"", name(0)));
    assert_eq!(names(&assets(&node, "&prefix=origin:album/song-3")), ["song-3"]);
    let prefix = first["url"].as_str().unwrap();
    assert_eq!(names(&assets(&node, &format!("&prefix={prefix}"))), ["song-0"]);
    assert_eq!(assets(&node, "&prefix=origin:other").len(), 0);
    for target in [first["id"].as_str().unwrap().to_owned(), segment(0)] {
        let one = document(&node, &format!("/v1/assets/{target}"));
        assert_eq!(
            (&one["url"], &one["present"]),
            (&first["url"], &Value::from(vec![vec![0, LENGTH]]))
        );
    }
    assert_eq!(node.get("/v1/assets").status, 404, "it is the operator's alone");
    let cache = document(&node, "/v1/cache");
    assert_eq!((&cache["objects"], &cache["policy"]), (&7.into(), &"s3-fifo".into()));
    assert_eq!(cache["volumes"].as_array().unwrap().len(), 4);
}

#[test]
fn what_is_purged_is_fetched_again_and_who_was_being_served_is_served_on() {
    let long: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
    let origin =
        origin().file("album/song-0", &song(0)).file("long", &long).at_rate(6 << 20).start();
    let node = node().shards(2).origin(&origin).start();
    plays(&node, 0);
    let reader = thread::scope(|threads| {
        let reader = threads.spawn(|| node.get("/o/origin/long").ok());
        while assets(&node, "&prefix=origin:long").is_empty() {}
        assert_eq!(admin(&node, "DELETE", "/v1/assets/origin:long").status, 204);
        reader.join().unwrap()
    });
    assert!(reader.body == long, "a purge changed what somebody was reading");
    assert_eq!(admin(&node, "DELETE", &format!("/v1/assets/{}", segment(0))).status, 204);
    let again = admin(&node, "DELETE", &format!("/v1/assets/{}", segment(0)));
    assert_eq!(again.status, 404, "{}", again.text());
    assert!(assets(&node, "").is_empty());
    plays(&node, 0);
    assert_eq!(origin.asked(&name(0)).len(), 2);
}

#[test]
fn a_purge_by_prefix_takes_that_and_nothing_else() {
    let origin = origin_of(4);
    let node = node().shards(2).origin(&origin).start();
    (0..4).for_each(|number| plays(&node, number));
    for target in ["/v1/assets", "/v1/assets?prefix="] {
        assert_eq!(admin(&node, "DELETE", target).status, 400, "{target}");
    }
    let purged = admin(&node, "DELETE", "/v1/assets?prefix=origin:album/song-2").ok().text();
    let purged: Value = serde_json::from_str(&purged).unwrap();
    assert_eq!(
        (names(purged["assets"].as_array().unwrap()), &purged["next"]),
        (vec!["song-2".into()], &Value::Null)
    );
    assert_eq!(names(&assets(&node, "")), ["song-0", "song-1", "song-3"]);
    admin(&node, "DELETE", "/v1/assets?all=true").ok();
    assert!(assets(&node, "").is_empty());
}

#[test]
fn what_is_invalidated_is_asked_for_at_its_origin_again() {
    let origin = origin_of(2);
    let node = node().origin(&origin).start();
    (0..2).for_each(|number| plays(&node, number));
    assert_eq!(admin(&node, "POST", &format!("/v1/assets/{}/invalidate", segment(0))).status, 204);
    origin.replace(&name(0), &song(9));
    origin.replace(&name(1), &song(9));
    let body = node.get(&format!("/o/origin/{}", name(0))).ok().body;
    assert!(body == song(9), "it was not asked for again");
    plays(&node, 1);
    admin(&node, "POST", "/v1/assets/invalidate?prefix=origin:album").ok();
    let body = node.get(&format!("/o/origin/{}", name(1))).ok().body;
    assert!(body == song(9), "it was not asked for again");
    let missing = admin(&node, "POST", "/v1/assets/origin:nothing/invalidate");
    assert_eq!(missing.status, 404);
}

/// Stale bytes may be served while the origin is asked; those that an operator does not trust may not.
#[test]
fn what_may_be_served_stale_is_not_once_it_is_invalidated() {
    let origin = origin().file(&name(0), &song(0));
    let origin = origin.says("Cache-Control", "max-age=0, stale-while-revalidate=600").start();
    let node = node().origin(&origin).start();
    plays(&node, 0);
    origin.replace(&name(0), &song(9));
    assert_eq!(admin(&node, "POST", &format!("/v1/assets/{}/invalidate", segment(0))).status, 204);
    let body = node.get(&format!("/o/origin/{}", name(0))).ok().body;
    assert!(body == song(9), "the old bytes came first");
}

/// An answer that comes when the operator has acted behind its question.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Late {
    /// What was here is good.
    Same,
    /// There is another.
    Other,
    /// There is one; nothing was here.
    First,
}

impl Late {
    /// Which song it brings, or says is still there.
    fn song(self) -> usize {
        if self == Self::Other { 9 } else { 0 }
    }
}

/// Tells a story for each such answer and each way to act.
fn with_late_answers(story: impl Fn(Late, &Node, &Origin, &dyn Fn())) {
    let one = segment(0);
    let acts = [
        ("POST", format!("/v1/assets/{one}/invalidate")),
        ("DELETE", format!("/v1/assets/{one}")),
        ("POST", "/v1/assets/invalidate?prefix=origin:album".to_owned()),
        ("DELETE", "/v1/assets?prefix=origin:album".to_owned()),
    ];
    for late in [Late::Same, Late::Other, Late::First] {
        for (method, path) in &acts {
            let origin = origin().file(&name(0), &song(0)).says("Cache-Control", "max-age=600");
            let origin = origin.start();
            let node = node().origin(&origin).start();
            if late != Late::First {
                plays(&node, 0);
            }
            if late == Late::Other {
                origin.replace(&name(0), &song(9));
            }
            story(late, &node, &origin, &|| drop(admin(&node, method, path)));
        }
    }
}

/// A client that wants the origin asked, which has the song of that number.
fn asks(node: &Node, number: usize) {
    let answer = node.get_with(&format!("/o/origin/{}", name(0)), "Cache-Control: no-cache\r\n");
    assert!(answer.ok().body == song(number), "it came back changed");
}

#[track_caller]
fn is_asked(origin: &Origin, times: usize) {
    let began = Instant::now();
    while origin.asked(&name(0)).len() < times {
        assert!(began.elapsed() < Duration::from_secs(10), "there is no request {times}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Acts while a question is under way, behind which another may be put; how often had been asked before.
fn acts_meanwhile(late: Late, node: &Node, origin: &Origin, acts: &dyn Fn(), again: bool) -> usize {
    let number = late.song();
    let before = origin.asked(&name(0)).len();
    thread::scope(|threads| {
        let _held = origin.hold();
        threads.spawn(|| asks(node, number));
        is_asked(origin, before + 1);
        acts();
        if again {
            threads.spawn(|| asks(node, number));
            is_asked(origin, before + 2);
        }
    });
    before
}

/// What was asked before it says nothing of what is there by then.
#[test]
fn who_comes_behind_an_act_is_not_answered_by_what_was_asked_before_it() {
    with_late_answers(|late, node, origin, acts| {
        let before = acts_meanwhile(late, node, origin, acts, true);
        // The second was asked behind the act: what it brought holds, whichever came last.
        let answer = node.get(&format!("/o/origin/{}", name(0))).ok();
        assert!(answer.body == song(late.song()), "{late:?}: it came back changed");
        assert_eq!(origin.asked(&name(0)).len(), before + 2, "{late:?}: it was asked for again");
    });
}

#[test]
fn an_act_is_not_undone_by_the_answer_to_what_was_asked_before_it() {
    with_late_answers(|late, node, origin, acts| {
        acts_meanwhile(late, node, origin, acts, false);
        origin.replace(&name(0), &song(5));
        let answer = node.get(&format!("/o/origin/{}", name(0))).ok();
        assert!(answer.body == song(5), "{late:?}: what was asked before is given behind the act");
    });
}

#[test]
fn what_is_done_to_a_name_is_done_to_all_its_versions() {
    let origin = origin().file("song", b"").echoes("accept-language");
    let origin = origin.says("Cache-Control", "max-age=600").start();
    let node = node().shards(2).origin(&origin).start();
    let play = |languages: [&str; 2]| {
        for language in languages {
            let field = format!("Accept-Language: {language}\r\n");
            assert_eq!(node.get_with("/o/origin/song", &field).ok().text(), language);
        }
        origin.asked("song").len()
    };
    let pinned = || assets(&node, "").iter().map(|one| one["pinned"] == true).collect::<Vec<_>>();
    let tend = |method, what: &str| {
        assert_eq!(admin(&node, method, &format!("/v1/assets/origin:song{what}")).status, 204);
    };
    assert_eq!((play(["de", "fr"]), play(["de", "fr"])), (2, 2));
    tend("PUT", "/pin");
    assert_eq!(pinned(), [true, true]);
    tend("DELETE", "/pin");
    assert_eq!(pinned(), [false, false]);
    tend("POST", "/invalidate");
    // The one that does not lie under the name itself comes first.
    assert_eq!(play(["fr", "de"]), 4);
    tend("DELETE", "");
    assert!(assets(&node, "").is_empty());
    assert_eq!(play(["de", "fr"]), 6);
}

#[test]
fn a_pin_outlives_a_kill_that_comes_with_its_answer() {
    let (origin, dir) = (origin_of(1), scratch());
    let first = node().origin(&origin).cache(dir.path()).shards(2).start();
    // Of names that no shard has anything of, on either.
    for number in 0..8 {
        let pinned = admin(&first, "PUT", &format!("/v1/assets/{}/pin", segment(number)));
        assert_eq!(pinned.status, 204, "{}", pinned.text());
    }
    first.signal("-KILL");
    first.ended(Duration::from_secs(20));
    let second = node().origin(&origin).cache(dir.path()).start();
    assert_eq!(assets(&second, "&pinned=true").len(), 8);
    plays(&second, 0);
    let pinned = assets(&second, "&pinned=true");
    assert_eq!(pinned.iter().filter(|asset| asset["complete"] == true).count(), 1);
    assert_eq!(admin(&second, "DELETE", &format!("/v1/assets/{}/pin", segment(0))).status, 204);
    second.signal("-KILL");
    second.ended(Duration::from_secs(20));
    let third = node().origin(&origin).cache(dir.path()).start();
    assert_eq!(assets(&third, "&pinned=true").len(), 7);
}

#[test]
fn where_everything_is_pinned_the_rest_is_served_through_and_nothing_leaves() {
    const SONGS: usize = 70;
    let origin = origin_of(SONGS);
    // Four volumes of 4 MiB, and songs of 22 MiB.
    let node = node().cache_size("16MiB").shards(2).origin(&origin).start();
    for number in 0..SONGS {
        let pinned = admin(&node, "PUT", &format!("/v1/assets/{}/pin", segment(number)));
        assert_eq!(pinned.status, 204);
    }
    (0..SONGS).for_each(|number| plays(&node, number));
    let kept = names(&assets(&node, "&complete=true"));
    assert!((24..SONGS).contains(&kept.len()), "{} of {SONGS} are kept", kept.len());
    // In the other order, and those that were not kept once more.
    (0..SONGS).rev().for_each(|number| plays(&node, number));
    let still = names(&assets(&node, "&complete=true"));
    assert!(kept.iter().all(|name| still.contains(name)), "something that is pinned has left");
    for number in (0..SONGS).filter(|number| kept.contains(&format!("song-{number}"))) {
        assert_eq!(origin.asked(&name(number)).len(), 1, "song {number} was fetched again");
    }
}

#[test]
fn a_cache_that_a_node_has_open_is_left_to_it() {
    let (origin, dir) = (origin_of(1), scratch());
    let node = node().origin(&origin).cache(dir.path()).start();
    plays(&node, 0);
    let path = dir.path().to_str().unwrap();
    for command in ["ls", "stat", "verify"] {
        let (code, out, said) = kithara_cache(&[command, "--cache", path], "1GiB");
        assert_eq!((code, out.as_str()), (74, ""), "{said}");
        assert!(said.contains("--node") && said.contains(path), "{said}");
    }
    let at = format!("{}", node.admin);
    let (code, out, said) = kithara_cache(&["ls", "--node", &at], "1GiB");
    assert!(code == 0 && out.contains("/album/song-0") && out.contains("all"), "{out}{said}");
    let (code, out, _) = kithara_cache(&["pin", "origin:album/song-0", "--node", &at], "1GiB");
    assert_eq!((code, out.as_str()), (0, "pinned origin:album/song-0\n"));
    let (_, out, _) = kithara_cache(&["ls", "--pinned", "--json", "--node", &at], "1GiB");
    let listed: Value = serde_json::from_str(&out).unwrap();
    let url = listed["url"].as_str().unwrap();
    // What a list shows can be given back.
    let (code, out, said) = kithara_cache(&["unpin", url, "--node", &at], "1GiB");
    assert_eq!(code, 0, "{out}{said}");
    let (code, out, said) = kithara_cache(&["purge", url, "origin:x", "--node", &at], "1GiB");
    assert_eq!(code, 1, "{said}");
    assert_eq!(out, format!("purged {url}\nnot in the cache: origin:x\n"));
    assert!(assets(&node, "").is_empty());
    let (code, _, said) = kithara_cache(&["purge", "library", "--node", &at], "1GiB");
    assert!(code == 2 && said.contains("NAME:path"), "{code} {said}");
    drop(node);
    let (code, _, said) = kithara_cache(&["ls", "--node", &at], "1GiB");
    assert!(code == 69 && said.contains(&at), "{code} {said}");
}

/// Nothing says which of its journals counts.
#[test]
fn a_check_of_what_cannot_be_read_does_not_find_all_well() {
    let (origin, dir) = (origin_of(8), scratch());
    let first = node().origin(&origin).cache(dir.path()).shards(2).start();
    (0..8).for_each(|number| plays(&first, number));
    ends(first);
    let path = dir.path().to_str().unwrap();
    let look = |args: &[&str]| kithara_cache(&[args, &["--cache", path]].concat(), "1GiB");
    let (code, out, said) = look(&["verify"]);
    assert!(code == 0 && out.contains("all as it was written"), "{out}{said}");
    let file = |volume: u32, name: &str| dir.path().join(format!("volume.{volume}/{name}"));
    // One that was never written to is as new without its superblock.
    let written = |volume: &u32| fs::metadata(file(*volume, "data")).unwrap().len() > 0;
    let lost = (0..4).find(written).unwrap();
    fs::remove_file(file(lost, "super")).unwrap();
    let (code, out, said) = look(&["verify"]);
    let named = format!("volumes {lost}");
    assert!(code == 1 && out.contains(&named) && !out.contains("all as"), "{out}{said}");
    let (_, out, _) = look(&["verify", "--json"]);
    let summary: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(summary["unread_volumes"], Value::from(vec![lost]));
    let (code, out, _) = look(&["stat"]);
    let off = format!(": {lost}\n");
    assert!(code == 0 && out.contains("4, off") && out.contains(&off), "{out}");
}

#[test]
fn a_closed_cache_is_looked_at_whole_and_as_it_is() {
    const SONGS: usize = 70;
    let (origin, dir) = (origin_of(SONGS), scratch());
    let first = node().origin(&origin).cache(dir.path()).shards(2).start();
    (0..SONGS).for_each(|number| plays(&first, number));
    ends(first);
    // What is configured here is less than what lies there.
    let (path, less) = (dir.path().to_str().unwrap(), "16MiB");
    let (code, out, said) = kithara_cache(&["ls", "--cache", path], less);
    let urls: Vec<_> = out.lines().skip(1).map(|line| line.rsplit('/').next().unwrap()).collect();
    assert_eq!((code, urls.len()), (0, SONGS), "{said}");
    assert!(urls.is_sorted() && out.matches("  all  ").count() == SONGS, "{out}");
    let (code, out, _) = kithara_cache(&["stat", "--json", "--cache", path], less);
    let cache: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &cache["objects"]), (0, &SONGS.into()));
    assert_eq!(cache["format"]["version"], 1);
    let (code, out, _) = kithara_cache(&["verify", "--cache", path], less);
    assert!(code == 0 && out.contains("checked 70 assets"), "{out}");
    let flag = origin.flag();
    let tend = |args: &[&str]| {
        kithara_cache(&[args, &["--cache", path, "--origin", &flag]].concat(), less)
    };
    assert_eq!(tend(&["pin", "origin:album/song-1"]).0, 0);
    let (_, out, _) = kithara_cache(&["ls", "--pinned", "--cache", path], less);
    assert!(out.ends_with("song-1\n") && out.lines().count() == 2, "{out}");
    let (code, out, _) = tend(&["purge", "--prefix", "origin:album/song-69"]);
    assert!(code == 0 && out.starts_with("purged 1 asset"), "{out}");
    let second = node().origin(&origin).cache(dir.path()).start();
    (0..SONGS).for_each(|number| plays(&second, number));
    let asked = |number| origin.asked(&name(number)).len();
    assert!((0..SONGS - 1).all(|number| asked(number) == 1), "a look cost something");
    assert_eq!(asked(69), 2, "what was purged is there");
    assert_eq!(names(&assets(&second, "&pinned=true")), ["song-1"]);
}

#[test]
fn a_directory_without_a_cache_is_named_and_left_alone() {
    let dir = scratch();
    let path = dir.path().join("cache");
    let (code, _, said) = kithara_cache(&["ls", "--cache", path.to_str().unwrap()], "1GiB");
    assert!(code == 74 && said.contains("holds no cache"), "{code} {said}");
    assert!(!path.exists());
}

/// Turns over a bit in every tenth of a megabyte of all that volumes hold.
fn rots(dir: &Path) {
    for volume in fs::read_dir(dir).unwrap() {
        let data = volume.unwrap().path().join("data");
        let Ok(file) = fs::File::options().read(true).write(true).open(data) else { continue };
        for position in (0..file.metadata().unwrap().len()).step_by(100_000) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, position).unwrap();
            file.write_all_at(&[byte[0] ^ 16], position).unwrap();
        }
    }
}

#[test]
fn a_check_reads_the_disk_and_not_what_is_hot_in_memory() {
    let (origin, dir) = (origin_of(4), scratch());
    let node = node().origin(&origin).cache(dir.path()).start();
    for _ in 0..4 {
        (0..4).for_each(|number| plays(&node, number));
    }
    let hot = node.counter("/tier/hits");
    assert!(hot > 0, "nothing is hot");
    rots(dir.path());
    let at = node.admin.to_string();
    let (code, out, _) = kithara_cache(&["verify", "--node", &at], "1GiB");
    assert!(code == 1 && out.contains("rotten "), "{out}");
    (0..4).for_each(|number| plays(&node, number));
}

#[test]
fn rot_is_found_and_dropped_in_a_closed_cache_and_at_a_node() {
    let (origin, dir) = (origin_of(4), scratch());
    let path = dir.path().to_str().unwrap();
    for at_a_node in [false, true] {
        let first = node().origin(&origin).cache(dir.path()).shards(2).start();
        (0..4).for_each(|number| plays(&first, number));
        ends(first);
        rots(dir.path());
        let running = at_a_node.then(|| node().origin(&origin).cache(dir.path()).shards(2).start());
        let at = running.as_ref().map(|node| node.admin.to_string());
        let place = match &at {
            Some(address) => ["--node", address.as_str()],
            None => ["--cache", path],
        };
        let verify = |more: &[&str]| kithara_cache(&[&["verify"], more, &place].concat(), "1GiB");
        let (code, out, _) = verify(&[]);
        assert_eq!(code, 1, "{out}");
        assert!(out.contains("rotten ") && out.contains("--repair"), "{out}");
        assert_eq!(verify(&[]).1, out, "a look changes nothing");
        let (code, out, _) = verify(&["--repair"]);
        assert!(code == 0 && out.contains("dropped"), "{out}");
        let (code, out, _) = verify(&[]);
        assert!(code == 0 && out.contains("all as it was written"), "{out}");
        drop(running);
    }
    let last = node().origin(&origin).cache(dir.path()).start();
    (0..4).for_each(|number| plays(&last, number));
}

/// Turns over a bit in the first page of each journal.
fn journals_rot(dir: &Path) {
    for volume in fs::read_dir(dir).unwrap() {
        let journal = volume.unwrap().path().join("journal.0");
        let Ok(file) = fs::File::options().read(true).write(true).open(journal) else { continue };
        let mut byte = [0];
        // Nothing was ever said of some volumes.
        if file.read_exact_at(&mut byte, 100).is_ok() {
            file.write_all_at(&[byte[0] ^ 16], 100).unwrap();
        }
    }
}

/// Its objects are lost; that they are is not to be told at each start from then on.
#[test]
fn a_closed_cache_of_which_journals_rotted_goes_on_without_those_pages_after_a_repair() {
    let (origin, dir) = (origin_of(4), scratch());
    let path = dir.path().to_str().unwrap();
    // What the second run says stands on pages behind those of the first.
    for _ in 0..2 {
        let node = node().origin(&origin).cache(dir.path()).start();
        (0..4).for_each(|number| plays(&node, number));
        ends(node);
    }
    journals_rot(dir.path());
    let verify =
        |more: &[&str]| kithara_cache(&[&["verify", "--cache", path], more].concat(), "1GiB");
    let (code, out, _) = verify(&[]);
    assert!(code == 1 && out.contains("of journals lost"), "{out}");
    let (code, out, _) = verify(&["--repair"]);
    assert!(code == 0 && out.contains("written anew without them"), "{out}");
    let (code, out, _) = verify(&[]);
    assert!(code == 0 && !out.contains("journals"), "{out}");
    let last = node().origin(&origin).cache(dir.path()).start();
    (0..4).for_each(|number| plays(&last, number));
}
