//! Original bytes through the cache: ranges, conditions, libraries.

use std::fs;

use crate::{
    client,
    node::{node, scratch},
    origin::origin,
};

#[test]
fn a_single_range_is_that_part() {
    let song: Vec<u8> = (0..200_000_u32).map(|index| (index / 7) as u8).collect();
    let origin = origin().file("song", &song).start();
    let node = node().origin(&origin).start();
    for (range, from, to) in [
        ("0-0", 0, 1),
        ("65535-65536", 65_535, 65_537),
        ("100-199999", 100, 200_000),
        ("199000-", 199_000, 200_000),
        ("-10", 199_990, 200_000),
        ("0-999999", 0, 200_000),
    ] {
        let part = node.get_with("/o/origin/song", &format!("Range: bytes={range}\r\n"));
        assert_eq!(part.status, 206, "{range}");
        assert!(part.body == song[from..to], "{range}");
        let stated = format!("bytes {from}-{}/200000", to - 1);
        assert_eq!(part.field("content-range"), Some(stated.as_str()));
    }
    let outside = node.get_with("/o/origin/song", "Range: bytes=200000-\r\n");
    assert_eq!(outside.status, 416);
    assert_eq!(outside.field("content-range"), Some("bytes */200000"));
}

#[test]
fn conditions_are_kept() {
    let origin = origin().file("song", b"some bytes").start();
    let node = node().origin(&origin).start();
    let etag = node.get("/o/origin/song").ok().field("etag").unwrap().to_owned();
    let same = node.get_with("/o/origin/song", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((same.status, same.body.len()), (304, 0));
    let of_it = format!("Range: bytes=0-3\r\nIf-Range: {etag}\r\n");
    assert_eq!(node.get_with("/o/origin/song", &of_it).status, 206);
    let of_another = "Range: bytes=0-3\r\nIf-Range: \"another\"\r\n";
    assert_eq!(node.get_with("/o/origin/song", of_another).ok().body, b"some bytes");
}

#[test]
fn conditions_come_before_ranges() {
    let origin = origin().file("song", b"some bytes").start();
    let node = node().origin(&origin).start();
    let etag = node.get("/o/origin/song").ok().field("etag").unwrap().to_owned();
    let outside = "Range: bytes=99-\r\n";
    let status =
        |fields: &str| node.get_with("/o/origin/song", &format!("{outside}{fields}")).status;
    assert_eq!(status(&format!("If-None-Match: {etag}\r\n")), 304);
    assert_eq!(status("If-Match: \"another\"\r\n"), 412);
    assert_eq!(status(""), 416);
}

#[test]
fn a_head_request_has_no_body() {
    let origin = origin().file("song", b"some bytes").start();
    let node = node().origin(&origin).start();
    let head = node.head("/o/origin/song");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.field("content-length"), Some("10"));
    // The connection is not out of step afterwards.
    let two = format!(
        "HEAD /o/origin/song HTTP/1.1\r\nHost: {0}\r\n\r\nGET /livez HTTP/1.1\r\nHost: {0}\r\n\
         Connection: close\r\n\r\n",
        node.listen
    );
    use std::io::{Read, Write};
    let mut stream = client::connect(node.listen);
    stream.write_all(two.as_bytes()).unwrap();
    // Both answers may come in one piece, so they are read as one text.
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let (first, second) = answers.split_once("\r\n\r\n").unwrap();
    assert!(first.starts_with("HTTP/1.1 200"), "{answers}");
    assert!(second.starts_with("HTTP/1.1 200"), "{answers}");
}

#[test]
fn a_library_is_read_in_place() {
    let dir = scratch();
    let song = vec![9; 150_000];
    fs::create_dir(dir.path().join("album")).unwrap();
    fs::write(dir.path().join("album/song"), &song).unwrap();
    fs::write(dir.path().parent().unwrap().join("secret"), b"not yours").unwrap();
    std::os::unix::fs::symlink("../secret", dir.path().join("out")).unwrap();
    let node = node().library("local", dir.path()).start();
    assert!(node.get("/o/local/album/song").ok().body == song);
    let part = node.get_with("/o/local/album/song", "Range: bytes=149999-\r\n");
    assert_eq!(part.body, [9]);
    for outside in
        ["/o/local/../secret", "/o/local/%2e%2e/secret", "/o/local/out", "/o/local/album"]
    {
        let refused = node.get(outside);
        assert!([400, 403, 404].contains(&refused.status), "{outside}: {}", refused.status);
        assert!(!refused.text().contains("not yours"));
    }
}

#[test]
fn a_condition_on_a_known_object_costs_no_fetch() {
    let song = vec![5; 8 << 20];
    let origin = origin().file("song", &song).at_rate(4 << 20).start();
    let node = node().origin(&origin).start();
    let part = node.get_with("/o/origin/song", "Range: bytes=0-99\r\n");
    let etag = part.field("etag").unwrap().to_owned();
    let asked = origin.asked("song").len();
    let unmodified = node.get_with("/o/origin/song", &format!("If-None-Match: \"x\", {etag}\r\n"));
    assert_eq!((unmodified.status, unmodified.field("etag")), (304, Some(etag.as_str())));
    // A far part, too: nobody goes to get it for a client that has it.
    let far = format!("Range: bytes=8000000-8000099\r\nIf-None-Match: {etag}\r\n");
    assert_eq!(node.get_with("/o/origin/song", &far).status, 304);
    assert_eq!(node.get_with("/o/origin/song", "If-Match: \"another\"\r\n").status, 412);
    assert_eq!(node.head("/o/origin/song").status, 200);
    assert_eq!(origin.asked("song").len(), asked);
}

#[test]
fn a_file_is_found_by_its_name_whatever_is_in_it() {
    let dir = scratch();
    let recording = kithara::demo::FILES.iter().find(|file| file.name.ends_with(".wav")).unwrap();
    let node = node().library("local", dir.path()).start();
    for (name, encoded) in [
        ("one two.wav", "one%20two.wav"),
        ("what?.wav", "what%3F.wav"),
        ("100%.wav", "100%25.wav"),
        ("%41.wav", "%2541.wav"),
        ("#1.wav", "%231.wav"),
        ("Café.wav", "Caf%C3%A9.wav"),
        ("a+b&c=d.wav", "a%2Bb%26c%3Dd.wav"),
    ] {
        fs::write(dir.path().join(name), recording.bytes).unwrap();
        let original = node.get(&format!("/o/local/{encoded}")).ok();
        assert!(original.body == recording.bytes, "{name}");
        let wav = node.wav(&format!("local:{encoded}"), "");
        assert_eq!(wav.frames() as u64, recording.frames, "{name}");
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    // Encoded twice is another name.
    fs::write(dir.path().join("a b.wav"), recording.bytes).unwrap();
    assert_eq!(node.get("/v1/pcm?src=local:a%2520b.wav").status, 404);
    assert_eq!(node.get("/o/local/a%2520b.wav").status, 404);
}

#[test]
fn links_are_followed_inside_of_a_library_and_not_out_of_it() {
    use std::os::unix::fs::symlink;
    let (dir, outside) = (scratch(), scratch());
    fs::write(dir.path().join("song"), b"music").unwrap();
    fs::write(outside.path().join("secret"), b"not yours").unwrap();
    symlink("song", dir.path().join("inside")).unwrap();
    symlink(outside.path().join("secret"), dir.path().join("out")).unwrap();
    symlink("circle", dir.path().join("circle")).unwrap();
    let node = node().library("local", dir.path()).start();
    assert_eq!(node.get("/o/local/inside").ok().body, b"music");
    for link in ["out", "circle"] {
        let refused = node.get(&format!("/o/local/{link}"));
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert!(refused.text().contains("a link"), "{}", refused.text());
    }
    assert_eq!(node.get("/o/local/song/below").status, 404);
    assert_eq!(node.get("/o/local//song").status, 400);
}
