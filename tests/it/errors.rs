//! What goes wrong is said: which thing, where, and what to do.

use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

use kithara::demo;

use crate::{
    client,
    node::{node, scratch},
    origin::origin,
};

#[track_caller]
fn problem(response: &client::Response, status: u16, names: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.field("content-type"), Some("application/problem+json"));
    let text = response.text();
    assert!(text.contains(names), "{text} does not name {names}");
    assert!(text.contains(&format!("\"status\":{status}")), "{text}");
}

#[test]
fn bad_parameters_are_named_with_their_range() {
    let node = node().arg("--demo").start();
    let name = demo::FILES[0].name;
    for (query, named) in [
        ("&rate=44101", "`rate` takes 8000, 11025"),
        ("&channels=9", "`channels` takes a number from 1 to 8"),
        ("&format=ogg", "`format` takes wav, wav24"),
        ("&quality=superb", "`quality` takes fast, good or best"),
        ("&dither=yes", "`dither` takes none or tpdf"),
        ("&t=-1", "`t` takes seconds from 0"),
        ("&d=never", "`d` takes seconds from 0"),
        ("&track=first", "`track` takes a number here"),
        ("&variant=1", "`variant` takes auto or 0 here"),
        ("&variant=best", "`variant` takes auto, a number"),
        ("&raet=48000", "did you mean `rate`?"),
    ] {
        problem(&node.get(&format!("/v1/pcm?src=demo:{name}{query}")), 400, named);
    }
    problem(&node.get("/v1/pcm"), 400, "`src` is missing");
    let late = node.get(&format!("/v1/pcm?src=demo:{name}&t=100000"));
    problem(&late, 400, "`t` takes seconds from 0, below 24.");
}

#[test]
fn what_is_not_there_is_not_found() {
    let origin = origin().file("gone", b"").status(404).file("broken", b"").status(500).start();
    let node = node().origin(&origin).set("LIMITS__ORIGIN_RETRIES", "0").start();
    problem(&node.get("/v1/pcm?src=nowhere:song"), 404, "nowhere");
    problem(&node.get("/v1/pcm?src=origin:gone"), 404, "gone");
    assert_eq!(node.get("/o/origin/gone").status, 404);
    problem(&node.get("/o/nowhere/gone"), 404, "nowhere");
    problem(&node.get("/v1/pcm?src=origin:broken"), 502, "500");
    problem(&node.get("/nothing/here"), 404, "/nothing/here");
}

#[test]
fn what_cannot_be_decoded_is_refused_by_name() {
    let mut opus = include_bytes!("../material/opus.ogg").to_vec();
    // Another mapping of its channels, of sounds all around.
    opus[28 + 18] = 2;
    let origin = origin()
        .file("page", b"<!doctype html><title>Sign in</title><p>Welcome to the airport network.")
        .file("zeros", &[0; 100_000])
        .file("song.opus", &opus)
        .file("empty", b"")
        .start();
    let node = node().origin(&origin).start();
    problem(&node.get("/v1/pcm?src=origin:page"), 415, "container");
    problem(&node.get("/v1/pcm?src=origin:zeros"), 415, "container");
    problem(&node.get("/v1/pcm?src=origin:song.opus"), 415, "opus (channel mapping family 2)");
    problem(&node.get("/v1/pcm?src=origin:empty"), 415, "container");
}

#[test]
fn what_is_longer_than_any_file_is_refused() {
    let song = vec![1; 900_000];
    let origin = origin().file("long", &song).file("endless", &song).without_length().start();
    let node = node().origin(&origin).set("LIMITS__OBJECT_BYTES", "500KiB").start();
    problem(&node.get("/o/origin/long"), 415, "live");
    // Its length was not known at the head: the body ends short, and not at a clean end.
    let endless = node.get("/o/origin/endless");
    assert!(!endless.complete && endless.body.len() <= 512_000, "{}", endless.body.len());
}

#[test]
fn tables_that_would_take_too_much_memory_are_refused() {
    let song = |ending: &str| {
        let found = demo::FILES.iter().find(|file| file.name.ends_with(ending));
        format!("/v1/pcm?src=demo:{}", found.expect("a demo song").name)
    };
    let node = node().arg("--demo").set("LIMITS__SAMPLE_TABLE_BYTES", "4KiB").start();
    problem(&node.get(&song(".m4a")), 415, "sample tables");
    assert_eq!(node.get(&song(".mp3")).status, 200);
}

#[test]
fn a_silent_origin_is_a_gateway_timeout() {
    let origin = origin().file("song", &[1; 500_000]).stalls_after(0).start();
    let node = node()
        .origin(&origin)
        .set("LIMITS__ORIGIN_INACTIVITY", "200ms")
        .set("LIMITS__ORIGIN_FIRST_BYTE", "200ms")
        .set("LIMITS__ORIGIN_RETRIES", "0")
        .start();
    problem(&node.get("/o/origin/song"), 504, "silent");
}

#[test]
fn a_body_that_cannot_be_completed_ends_short() {
    let song = vec![1; 500_000];
    let origin = origin().file("song", &song).stalls_after(300_000).start();
    let node = node()
        .origin(&origin)
        .set("LIMITS__ORIGIN_INACTIVITY", "300ms")
        .set("LIMITS__ORIGIN_RETRIES", "0")
        .start();
    let response = node.get("/o/origin/song");
    assert_eq!(response.status, 200);
    assert!(!response.complete, "a clean end after {} bytes", response.body.len());
    assert!(song.starts_with(&response.body));
}

#[test]
fn a_body_that_nobody_wants_is_not_waited_for() {
    let node = node().start();
    for (request, status) in [
        ("POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n", 405),
        ("GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", 404),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n", 413),
        ("POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 405),
        (
            "PUT /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
            405,
        ),
        (
            "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
            200,
        ),
    ] {
        let response = client::raw(node.listen, request.as_bytes(), false);
        assert_eq!(response.status, status, "{request:?}: {}", response.text());
        assert_eq!(response.field("connection"), Some("close"), "{request:?}");
        assert!(response.complete, "{request:?}");
    }
}

#[test]
fn a_request_that_two_parsers_could_read_in_two_ways_is_refused() {
    let node = node().start();
    for smuggled in [
        "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /livez HTTP/1.1\nHost: x\n\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /livez HTTP/1.1\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
    ] {
        let response = client::raw(node.listen, smuggled.as_bytes(), false);
        assert_eq!(response.status, 400, "{smuggled:?}");
    }
    assert_eq!(node.get("/livez").status, 200);
}

#[test]
fn other_methods_are_refused() {
    let node = node().arg("--demo").start();
    let response = client::request(node.listen, "DELETE", "/v1/pcm?src=demo:x", "");
    assert_eq!(response.status, 405);
    assert_eq!(response.field("allow"), Some("GET, HEAD, OPTIONS"));
}

#[test]
fn a_busy_port_is_an_exit_with_its_address() {
    let running = node().start();
    let (code, text) = node().listen(running.listen).fails();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(&running.listen.to_string()) && text.contains("hint:"), "{text}");
}

#[test]
fn a_cache_directory_that_cannot_be_used_is_an_exit_with_its_name() {
    let dir = scratch();
    let file = dir.path().join("a-file");
    std::fs::write(&file, b"").unwrap();
    let (code, text) = node().cache(&file).fails();
    assert_eq!(code, 74, "{text}");
    assert!(text.contains("a-file"), "{text}");
    // Nobody makes a file there, and `/proc` is not what is missing.
    let (code, text) = node().cache("/proc/kithara".as_ref()).fails();
    assert_eq!(code, 74, "{text}");
    assert!(text.contains("/proc cannot be written"), "{text}");
    assert!(!text.contains("No such file"), "{text}");
    assert!(text.contains("--cache DIR"), "{text}");
}

#[test]
fn no_io_uring_is_an_exit_with_its_cause_and_remedy() {
    let (code, text) = node().fails_as(forbid_io_uring);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("io_uring: a seccomp filter forbids it"), "{text}");
    assert!(text.contains("--security-opt seccomp="), "{text}");
}

/// Starts the process under a filter that forbids io_uring, as Docker's default profile does.
fn forbid_io_uring(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    const SYS_IO_URING_SETUP: u32 = 425;
    // Classic BPF (linux/filter.h): load the call's number, compare, refuse or allow.
    static FILTER: [libc::sock_filter; 4] = [
        libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 },
        libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: SYS_IO_URING_SETUP },
        libc::sock_filter {
            code: 0x06,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        },
        libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let install = || {
        let program = libc::sock_fprog { len: 4, filter: FILTER.as_ptr().cast_mut() };
        let (one, zero): (libc::c_ulong, libc::c_ulong) = (1, 0);
        let mode = libc::c_ulong::from(libc::SECCOMP_MODE_FILTER);
        // SAFETY: both calls only change this process; the filter outlives them and is only read.
        let refused = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, zero, zero, zero)
                | libc::prctl(libc::PR_SET_SECCOMP, mode, std::ptr::from_ref(&program))
        };
        if refused == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec it makes two system calls and allocates nothing.
    unsafe { command.pre_exec(install) };
}

#[test]
fn a_track_that_is_not_there_is_named_with_those_that_are() {
    let node = node().arg("--demo").start();
    for file in demo::FILES {
        let query = format!("/v1/pcm?src=demo:{}", file.name);
        problem(&node.get(&format!("{query}&track=1")), 400, "`track` takes 0 here");
        assert_eq!(node.get(&format!("{query}&track=0&d=0.1")).status, 200, "{}", file.name);
    }
}

#[test]
fn a_start_past_the_end_is_refused_though_only_the_end_tells() {
    let node = node().arg("--demo").start();
    for ending in ["bare.mp3", ".aac"] {
        let file = demo::FILES.iter().find(|file| file.name.ends_with(ending)).unwrap();
        let query = format!("/v1/pcm?src=demo:{}&t=1000", file.name);
        let seconds = file.frames as f64 / f64::from(file.rate_hz);
        problem(&node.get(&query), 400, &format!("the duration is {seconds:.3} s"));
    }
}

#[test]
fn an_origin_that_is_full_is_told_from_one_that_fails() {
    let origin = origin()
        .file("full", b"")
        .status(503)
        .file("locked", b"")
        .status(403)
        .file("gone", b"")
        .status(410)
        .file("private", b"")
        .status(401)
        .file("many", b"")
        .status(429)
        .start();
    let node = node().origin(&origin).set("LIMITS__ORIGIN_RETRIES", "0").start();
    let full = node.get("/v1/pcm?src=origin:full");
    problem(&full, 503, "urn:kithara:problem:origin-busy");
    assert!(full.field("retry-after").is_some());
    problem(&node.get("/v1/pcm?src=origin:locked"), 502, "403");
    // Who wants the original gets what the origin says, as it says it.
    for (name, status) in
        [("locked", 403), ("full", 503), ("gone", 410), ("private", 401), ("many", 429)]
    {
        let answer = node.get(&format!("/o/origin/{name}"));
        assert_eq!((answer.status, answer.text()), (status, format!("status {status}")));
    }
}

#[test]
fn a_library_has_no_origin_and_no_cache() {
    let dir = scratch();
    std::fs::write(dir.path().join("a.wav"), demo::FILES[0].bytes).unwrap();
    let node = node().library("lib", dir.path()).start();
    problem(&node.get("/o/lib/none"), 404, "in its library");
    let found = node.get("/o/lib/a.wav");
    assert_eq!(found.field("cache-status"), Some("kithara; fwd=bypass"));
    assert_eq!(found.field("content-type"), Some("audio/wav"));
    assert!(found.field("last-modified").unwrap().ends_with(" GMT"));
    assert!(found.field("server-timing").unwrap().starts_with("cache;desc=bypass"));
}

#[test]
fn clients_do_not_shut_the_operators_door() {
    let node = node().arg("--demo").set("LIMITS__CONNECTIONS", "2").start();
    let held: Vec<_> = (0..4).map(|_| std::net::TcpStream::connect(node.listen).unwrap()).collect();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let response = client::get(node.admin, "/livez", "");
    assert_eq!(response.status, 200, "{}", response.text());
    drop(held);
}

#[test]
fn a_key_that_nothing_reads_yet_is_not_taken_in_silence() {
    let dir = scratch();
    let path = dir.path().join("kithara.toml");
    let text = "[origin.a]\nbase = \"https://a.example/\"\nmethods = [\"PUT\"]\n";
    std::fs::write(&path, text).unwrap();
    let (code, said) = node().arg("--config").arg(path.to_str().unwrap()).arg("--check").fails();
    assert_ne!(code, 0);
    assert!(said.contains("methods"), "{said}");
}

/// The operator is told of it before the first client is, and then by the log.
#[test]
fn an_origin_at_a_private_address_names_the_key_that_allows_it() {
    let origin = origin().file("song", b"x").start();
    let dir = scratch();
    let path = dir.path().join("kithara.toml");
    let base = format!("http://{}/", origin.address());
    std::fs::write(&path, format!("[origin.nas]\nbase = \"{base}\"\n")).unwrap();
    let with_file = || node().arg("--config").arg(path.to_str().unwrap());
    let key = "origin.nas.allow_private";
    let checked = Command::new(env!("CARGO_BIN_EXE_kithara"))
        .args(["serve", "--check", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"])
        .arg(&path)
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.contains("WARN") && said.contains(key), "{said}");
    let refusing = with_file().start();
    let answer = refusing.get("/v1/pcm?src=nas:song");
    problem(&answer, 403, key);
    assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    problem(&refusing.get("/o/nas/song"), 403, key);
    assert!(origin.asked("song").is_empty());
    refusing.signal("-TERM");
    let (_, log) = refusing.ended(std::time::Duration::from_secs(10));
    let lines: Vec<_> = log.lines().filter(|line| line.contains(key)).collect();
    assert!(lines.len() == 2 && lines[1].contains("origin failed"), "{log}");
    std::fs::write(
        &path,
        format!("[origin.nas]\nbase = \"{base}\"\nallow_private = [\"127.0.0.1\"]\n"),
    )
    .unwrap();
    let allowing = with_file().start();
    assert_eq!(allowing.get("/o/nas/song").ok().body, b"x");
    allowing.signal("-TERM");
    let (_, log) = allowing.ended(std::time::Duration::from_secs(10));
    assert!(!log.contains(key), "{log}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_decode_quietly() {
    let song = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/material/strings.mp3");
    let scratch = scratch();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kithara"));
    command.arg("pcm").arg(song).args(["-o", "-"]).current_dir(scratch.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut head = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut head).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(&head, b"RIFF");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{} {said}", output.status);
}
