//! Freshness: what is given again, what is asked for anew, and what is shared with nobody.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    client,
    node::{Builder, Node, node},
    origin::{Origin, origin},
};

/// Longer than the lifetimes that these stories give, which are of whole seconds.
const STALE: Duration = Duration::from_millis(2_100);

fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn node_of(origin: &Origin) -> Builder {
    node().origin(origin).set("LIMITS__ORIGIN_RETRIES", "0")
}

#[track_caller]
fn status_of(node: &Node, fields: &str) -> String {
    let response = node.get_with("/o/origin/song", fields);
    assert_eq!(response.status, 200, "{}", response.text());
    response.field("cache-status").unwrap().to_owned()
}

#[test]
fn a_herd_on_a_cold_object_makes_one_request() {
    let song = bytes(200_000);
    let origin = origin().file("song", &song).start();
    // One shard, since only 256 of them may cross from one to another.
    let node = node().memory("512MiB").origin(&origin).start();
    let held = origin.hold();
    let listen = node.listen;
    let clients: Vec<_> = (0..500)
        .map(|_| {
            let ask = move || client::get(listen, "/o/origin/song", "");
            thread::Builder::new().stack_size(256 << 10).spawn(ask).unwrap()
        })
        .collect();
    // All of them wait: a request that comes later would be a hit and prove nothing.
    node.wait_for("/sessions/object", 500);
    drop(held);
    let mut collapsed = 0;
    for client in clients {
        let answer = client.join().unwrap().ok();
        assert!(answer.body == song);
        collapsed += usize::from(answer.field("cache-status").unwrap().contains("collapsed"));
    }
    assert_eq!((origin.ranges_asked("song"), collapsed), (vec![0], 499));
}

#[test]
fn what_is_stale_is_asked_for_by_its_validator_and_its_bytes_stay() {
    let song = bytes(300_000);
    let origin = origin().file("song", &song).says("Cache-Control", "max-age=2").start();
    let node = node_of(&origin).start();
    let cold = node.get("/o/origin/song").ok();
    assert_eq!(cold.field("cache-status"), Some("kithara; fwd=uri-miss; stored"));
    assert!(status_of(&node, "").starts_with("kithara; hit; ttl="));
    thread::sleep(STALE);
    // A part of the same generation: it comes from the disk, and the whole does too.
    let part = node.get_with("/o/origin/song", "Range: bytes=1000-1999\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &song[1000..2000]));
    assert!(part.field("cache-status").unwrap().contains("fwd=stale; fwd-status=304"));
    assert!(part.field("server-timing").unwrap().contains("cache;desc=revalidated"));
    let warm = node.get("/o/origin/song").ok();
    assert!(warm.body == song && warm.field("cache-status").unwrap().contains("hit"));
    assert_eq!(origin.sent_bytes("song"), song.len() as u64, "bytes were fetched again");
    let asked = origin.asked("song");
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].field("if-none-match"), Some("\"song-1\""));
}

#[test]
fn what_changed_at_the_origin_is_another_generation_and_a_reader_keeps_its_own() {
    use std::io::{Read, Write};
    let (old, new) = (bytes(4 << 20), vec![7; 4 << 20]);
    let origin = origin().file("song", &old).says("Cache-Control", "max-age=2").start();
    let node = node_of(&origin).start();
    assert!(node.get("/o/origin/song").ok().body == old);
    // A reader of the old one stands in the middle of it.
    let mut reader = client::connect(node.listen);
    let request = format!(
        "GET /o/origin/song HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        node.listen
    );
    reader.write_all(request.as_bytes()).unwrap();
    let mut read = vec![0; 100_000];
    reader.read_exact(&mut read).unwrap();
    thread::sleep(STALE);
    origin.replace("song", &new);
    let replaced = node.get("/o/origin/song").ok();
    assert!(replaced.body == new, "bytes of two versions");
    assert_eq!(replaced.field("cache-status"), Some("kithara; fwd=stale; stored"));
    reader.read_to_end(&mut read).unwrap();
    let head = read.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(read[head..] == old[..], "a reader lost its version");
    assert!(node.get("/o/origin/song").ok().body == new);
}

#[test]
fn a_crowd_on_a_stale_object_makes_one_request() {
    let song = bytes(100_000);
    let origin = origin().file("song", &song).says("Cache-Control", "max-age=2").start();
    let node = node_of(&origin).shards(2).start();
    node.get("/o/origin/song").ok();
    thread::sleep(STALE);
    let held = origin.hold();
    let listen = node.listen;
    let clients: Vec<_> = (0..50)
        .map(|_| thread::spawn(move || client::get(listen, "/o/origin/song", "").ok()))
        .collect();
    node.wait_for("/sessions/object", 51);
    drop(held);
    for client in clients {
        let answer = client.join().unwrap();
        assert!(answer.body == song);
        assert!(answer.field("cache-status").unwrap().contains("fwd-status=304"));
    }
    assert_eq!(origin.asked("song").len(), 2);
}

#[test]
fn media_are_asked_for_by_their_validator_once_their_time_is_over() {
    let song = kithara::demo::FILES.iter().find(|file| file.name.ends_with(".flac")).unwrap();
    let origin = origin().file("song.flac", song.bytes).start();
    let node = node_of(&origin).set("CACHE__MEDIA_TTL", "1s").start();
    let cold = node.wav("origin:song.flac", "");
    thread::sleep(STALE);
    assert!(node.wav("origin:song.flac", "").data == cold.data);
    assert_eq!(origin.asked("song.flac")[1].field("if-none-match"), Some("\"song.flac-1\""));
    assert_eq!(origin.sent_bytes("song.flac"), song.bytes.len() as u64);
}

#[test]
fn a_stale_answer_is_given_at_once_and_asked_for_behind() {
    let (old, new) = (bytes(50_000), vec![7; 60_000]);
    let control = "max-age=1, stale-while-revalidate=60";
    let origin = origin().file("song", &old).says("Cache-Control", control).start();
    let node = node_of(&origin).start();
    node.get("/o/origin/song").ok();
    thread::sleep(STALE);
    origin.replace("song", &new);
    // The origin does not answer, and the client does not wait for it.
    let held = origin.hold();
    let stale = node.get("/o/origin/song").ok();
    assert!(stale.body == old);
    assert!(stale.field("cache-status").unwrap().contains("hit; ttl=-"), "{:?}", stale.fields);
    assert!(stale.field("age").unwrap().parse::<u64>().unwrap() >= 2);
    assert!(stale.field("server-timing").unwrap().contains("cache;desc=stale"));
    drop(held);
    let began = Instant::now();
    while node.get("/o/origin/song").ok().body != new {
        assert!(began.elapsed() < Duration::from_secs(20), "it was not asked for behind");
    }
}

#[test]
fn where_the_origin_fails_a_stale_answer_is_given_if_it_may() {
    let song = bytes(50_000);
    let with = |control: &str| {
        let origin = origin().file("song", &song).says("Cache-Control", control).start();
        let node = node_of(&origin).start();
        node.get("/o/origin/song").ok();
        (origin, node)
    };
    let cases = [
        with("max-age=1"),
        with("max-age=1, stale-if-error=60"),
        with("max-age=1, must-revalidate"),
    ];
    thread::sleep(STALE);
    cases.iter().for_each(|(origin, _)| origin.answers("song", Some(503)));
    let [plain, lenient, strict] = &cases;
    let kept = lenient.1.get("/o/origin/song").ok();
    assert!(kept.body == song);
    assert!(kept.field("cache-status").unwrap().contains("fwd=stale; fwd-status=503"));
    for (_, node) in [plain, strict] {
        let passed = node.get("/o/origin/song");
        assert_eq!((passed.status, passed.text().as_str()), (503, "status 503"));
    }
    cases.iter().for_each(|(origin, _)| origin.dies());
    for (_, node) in [plain, lenient] {
        assert!(node.get("/o/origin/song").ok().body == song, "not given while unreachable");
    }
    assert_eq!(strict.1.get("/o/origin/song").status, 502);
}

#[test]
fn an_origin_that_fails_is_not_asked_by_each_who_can_do_with_what_is_here() {
    let song = bytes(50_000);
    let origin = origin().file("song", &song).says("Cache-Control", "max-age=0, stale-if-error=60");
    let origin = origin.start();
    let node = node_of(&origin).start();
    node.get("/o/origin/song").ok();
    origin.answers("song", Some(503));
    let began = Instant::now();
    for _ in 0..50 {
        assert!(node.get("/o/origin/song").ok().body == song);
    }
    // One question a second, however many there are who would ask.
    let asked = origin.asked("song").len() as u64;
    assert!(asked <= 2 + began.elapsed().as_secs(), "it was asked {asked} times");
    origin.answers("song", None);
    let began = Instant::now();
    while !node.get("/o/origin/song").ok().field("cache-status").unwrap().contains("304") {
        assert!(began.elapsed() < Duration::from_secs(20), "it is never asked again");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_part_of_what_is_not_here_is_asked_for_once_and_where_it_begins() {
    let song = bytes(3 << 20);
    for control in ["private", "max-age=60"] {
        let origin = origin().file("song", &song).says("Cache-Control", control).start();
        let node = node_of(&origin).start();
        let part =
            |range: &str| node.get_with("/o/origin/song", &format!("Range: bytes={range}\r\n"));
        let answer = part("2000000-2000099");
        assert_eq!((answer.status, &answer.body[..]), (206, &song[2_000_000..2_000_100]));
        assert_eq!(origin.ranges_asked("song"), [2_000_000 - 2_000_000 % (64 << 10)], "{control}");
        assert!(node.get("/o/origin/song").ok().body == song);
    }
}

#[test]
fn who_asks_for_what_lies_behind_the_end_leaves_the_file_as_it_is() {
    let song = bytes(3 << 20);
    let origin = origin().file("song", &song).says("Cache-Control", "max-age=60").start();
    let node = node_of(&origin).start();
    let behind = node.get_with("/o/origin/song", "Range: bytes=9000000-\r\n");
    assert_eq!((behind.status, behind.field("content-range")), (416, Some("bytes */3145728")));
    let whole = node.get("/o/origin/song").ok();
    assert!(whole.body == song);
    // What is kept is what describes the file, and not what went with the refusal.
    assert_eq!(whole.field("content-type"), Some("application/octet-stream"));
    assert_eq!(whole.field("etag"), Some("\"song-1\""));
}

#[test]
fn what_is_for_one_client_is_given_to_no_other_and_not_kept() {
    for (name, value) in
        [("Cache-Control", "private"), ("Cache-Control", "no-store"), ("Set-Cookie", "id=1")]
    {
        let origin = origin().file("song", b"for you").says(name, value).start();
        let node = node_of(&origin).start();
        let held = origin.hold();
        let listen = node.listen;
        let clients: Vec<_> = (0..8)
            .map(|_| thread::spawn(move || client::get(listen, "/o/origin/song", "").ok()))
            .collect();
        node.wait_for("/sessions/object", 8);
        drop(held);
        for client in clients {
            let answer = client.join().unwrap();
            assert_eq!(answer.body, b"for you");
            assert_eq!(answer.field(name), Some(value));
            assert!(!answer.field("cache-status").unwrap().contains("stored"));
        }
        assert_eq!(origin.asked("song").len(), 8, "{value} was shared");
        node.get("/o/origin/song").ok();
        assert_eq!(origin.asked("song").len(), 9, "{value} was stored");
    }
}

#[test]
fn what_may_not_be_stored_comes_whole_through_memory() {
    // Longer than what such a resource keeps in memory.
    let song = bytes(5 << 20);
    let origin = origin().file("song", &song).says("Cache-Control", "no-store").start();
    let node = node_of(&origin).start();
    assert!(node.get("/o/origin/song").ok().body == song);
    let part = node.get_with("/o/origin/song", "Range: bytes=4000000-4000099\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &song[4_000_000..4_000_100]));
    let media = kithara::demo::FILES.iter().find(|file| file.name.ends_with(".flac")).unwrap();
    let origin = crate::origin::origin()
        .file("song.flac", media.bytes)
        .says("Cache-Control", "private")
        .start();
    let node = node_of(&origin).start();
    assert_eq!(node.wav("origin:song.flac", "").frames() as u64, media.frames);
}

#[test]
fn answers_that_vary_are_one_for_each_way() {
    let origin =
        origin().file("song", b"").echoes("accept-language").says("Cache-Control", "max-age=60");
    let origin = origin.start();
    let node = node_of(&origin).start();
    let get = |language: &str| {
        let answer =
            node.get_with("/o/origin/song", &format!("Accept-Language: {language}\r\n")).ok();
        (answer.text(), answer.field("cache-status").unwrap().to_owned())
    };
    assert_eq!(get("de"), ("de".into(), "kithara; fwd=uri-miss; stored".into()));
    assert_eq!(get("fr"), ("fr".into(), "kithara; fwd=vary-miss; stored".into()));
    for language in ["de", "fr", "de"] {
        let (text, status) = get(language);
        assert!(text == language && status.contains("hit"), "{language}: {text} {status}");
    }
    assert_eq!(origin.asked("song").len(), 2);
}

#[test]
fn errors_come_as_the_origin_says_them_and_are_kept_only_if_it_says_so() {
    let origin = origin()
        .file("gone", b"")
        .status(410)
        .says("Cache-Control", "max-age=60")
        .file("locked", b"")
        .status(401)
        .says("WWW-Authenticate", "Basic realm=\"x\"")
        .file("full", b"")
        .status(503)
        .says("Retry-After", "77")
        .file("lost", b"")
        .status(404)
        .start();
    let node = node_of(&origin).start();
    for (name, status) in [("gone", 410), ("locked", 401), ("full", 503), ("lost", 404)] {
        let answer = node.get(&format!("/o/origin/{name}"));
        assert_eq!((answer.status, answer.text()), (status, format!("status {status}")));
        node.get(&format!("/o/origin/{name}"));
    }
    let asked = |name: &str| origin.asked(name).len();
    assert_eq!((asked("gone"), asked("locked"), asked("full"), asked("lost")), (1, 2, 2, 2));
    let locked = node.get("/o/origin/locked");
    assert_eq!(locked.field("www-authenticate"), Some("Basic realm=\"x\""));
    assert_eq!(node.get("/o/origin/full").field("retry-after"), Some("77"));
    // Who decodes is told in the node's own words, and when to come back.
    let full = node.get("/v1/pcm?src=origin:full");
    assert_eq!((full.status, full.field("retry-after")), (503, Some("77")));
    // What is known to be gone is gone for everybody.
    assert_eq!(node.get("/v1/pcm?src=origin:gone").status, 404);
    assert_eq!(asked("gone"), 1);
}

#[test]
fn a_redirect_is_passed_on_to_who_wants_the_original_and_followed_for_audio() {
    let song = kithara::demo::FILES.iter().find(|file| file.name.ends_with(".flac")).unwrap();
    let origin = origin()
        .file("song.flac", song.bytes)
        .file("first.flac", b"")
        .redirects_to("/song.flac")
        .file("kept.flac", b"")
        .redirects_to("/song.flac")
        .says("Cache-Control", "max-age=60")
        .start();
    let node = node_of(&origin).start();
    let passed = |name: &str| {
        let answer = node.get(&format!("/o/origin/{name}"));
        assert_eq!((answer.status, answer.field("location")), (302, Some("/song.flac")), "{name}");
        answer.field("cache-status").unwrap().to_owned()
    };
    // Whichever comes first, each gets its own.
    assert_eq!(node.wav("origin:first.flac", "").frames() as u64, song.frames);
    passed("first.flac");
    passed("kept.flac");
    assert_eq!(node.wav("origin:kept.flac", "").frames() as u64, song.frames);
    assert!(passed("kept.flac").contains("hit"));
    let asked = origin.asked("song.flac").len();
    node.wav("origin:kept.flac", "");
    node.wav("origin:first.flac", "");
    assert_eq!(origin.asked("song.flac").len(), asked);
}

#[test]
fn a_head_request_fetches_no_body() {
    let song = bytes(2 << 20);
    let origin = origin().file("song", &song).says("Cache-Control", "max-age=2").start();
    let node = node_of(&origin).start();
    let head = node.head("/o/origin/song");
    let length = song.len().to_string();
    assert_eq!((head.status, head.field("content-length")), (200, Some(length.as_str())));
    assert_eq!(head.field("etag"), Some("\"song-1\""));
    assert_eq!(origin.sent_bytes("song"), 0);
    assert_eq!(origin.asked("song")[0].method, "HEAD");
    // One that is here is answered from here, and validated once it is stale.
    node.get("/o/origin/song").ok();
    assert!(node.head("/o/origin/song").field("cache-status").unwrap().contains("hit"));
    assert_eq!(origin.asked("song").len(), 2);
    thread::sleep(STALE);
    let validated = node.head("/o/origin/song");
    assert!(validated.field("cache-status").unwrap().contains("fwd-status=304"));
    assert_eq!(origin.asked("song")[2].method, "HEAD");
    let status = status_of(&node, "");
    assert!(status.contains("hit"), "{status}");
    assert_eq!(origin.sent_bytes("song"), song.len() as u64);
}

#[test]
fn a_client_may_want_it_from_the_cache_only_or_from_the_origin() {
    let origin = origin().file("song", b"some bytes").says("Cache-Control", "max-age=60").start();
    let node = node_of(&origin).start();
    let only = "Cache-Control: only-if-cached\r\n";
    let absent = node.get_with("/o/origin/song", only);
    assert_eq!(absent.status, 504, "{}", absent.text());
    assert!(origin.asked("song").is_empty());
    node.get("/o/origin/song").ok();
    assert!(status_of(&node, only).contains("hit"));
    assert!(status_of(&node, "Cache-Control: no-cache\r\n").contains("fwd-status=304"));
    assert_eq!(origin.asked("song").len(), 2);
}

#[test]
fn fields_of_a_client_reach_the_origin_but_for_its_secrets() {
    let origin = origin().file("song", b"some bytes").start();
    let node = node_of(&origin).start();
    let fields = "User-Agent: player\r\nAccept-Language: de\r\nCookie: a=b\r\n\
                  Authorization: Basic x\r\nX-Hop: 1\r\nTE: trailers\r\n";
    node.get_with("/o/origin/song", fields).ok();
    let asked = &origin.asked("song")[0];
    assert_eq!(asked.field("user-agent"), Some("player"));
    assert_eq!(asked.field("accept-language"), Some("de"));
    assert_eq!(asked.field("accept-encoding"), Some("identity"));
    assert_eq!(asked.field("via"), Some("1.1 kithara"));
    for absent in ["cookie", "authorization", "te", "connection"] {
        assert_eq!(asked.field(absent), None, "{absent}");
    }
}

#[test]
fn the_secrets_of_clients_go_where_the_operator_says_and_their_answers_are_theirs() {
    let origin = origin().file("song", b"").echoes("authorization").start();
    let node = node_of(&origin).set("ORIGIN__ORIGIN__FORWARD_CREDENTIALS", "true").start();
    for name in ["Basic a", "Basic b", "Basic a"] {
        let answer = node.get_with("/o/origin/song", &format!("Authorization: {name}\r\n")).ok();
        assert_eq!(answer.text(), name);
    }
    assert_eq!(origin.asked("song").len(), 3);
}

#[test]
fn a_validated_object_outlives_a_kill() {
    let dir = crate::node::scratch();
    let song = bytes(300_000);
    let origin = origin().file("song", &song).says("Cache-Control", "max-age=2").start();
    let first = node_of(&origin).cache(dir.path()).start();
    first.get("/o/origin/song").ok();
    thread::sleep(STALE);
    assert!(status_of(&first, "").contains("fwd-status=304"));
    let validated = Instant::now();
    // Commits are every 100 ms. There is nothing to see them by from outside.
    thread::sleep(Duration::from_millis(600));
    first.signal("-KILL");
    first.ended(Duration::from_secs(20));
    let second = node_of(&origin).cache(dir.path()).start();
    let status = status_of(&second, "");
    // It starts within what the origin gave it, or the machine is too busy to tell.
    if validated.elapsed() < Duration::from_millis(1_900) {
        assert!(status.contains("hit"), "{status}");
    }
    assert_eq!(origin.sent_bytes("song"), song.len() as u64);
}

#[test]
fn a_dead_origin_fills_no_log() {
    let origin = origin().file("song", b"").start();
    let node = node().origin(&origin).start();
    origin.dies();
    for _ in 0..5 {
        assert_eq!(node.get("/o/origin/song").status, 502);
    }
    node.signal("-TERM");
    let (_, log) = node.ended(Duration::from_secs(20));
    let warnings = log.lines().filter(|line| line.contains("WARN")).count();
    // One for the first, and one more if those five took over ten seconds.
    assert!((1..=2).contains(&warnings), "{log}");
}
