//! The process as the operating system sees it: threads, files, signals, rest.

use std::{fs, time::Duration};

use kithara::demo;

use crate::{
    client,
    node::{node, scratch},
};

fn threads(pid: u32) -> Vec<(String, String)> {
    let of = |task: fs::DirEntry| {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        (read("comm").trim().to_owned(), read("status"))
    };
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| of(task.unwrap())).collect()
}

/// The names of its threads, without those that the kernel runs for its rings.
fn own_threads(pid: u32) -> Vec<String> {
    let mut names: Vec<_> = threads(pid).into_iter().map(|(name, _)| name).collect();
    names.retain(|name| !name.starts_with("iou-"));
    names.sort();
    names
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once(':').map_or("", |(_, value)| value.trim())
}

#[test]
fn every_shard_is_pinned_to_one_cpu() {
    let node = node().shards(2).arg("--demo").start();
    let shards: Vec<_> = threads(node.pid())
        .into_iter()
        .filter(|(name, _)| name.starts_with("kithara-shard"))
        .collect();
    assert_eq!(shards.len(), 2);
    for (name, status) in shards {
        let cpus = field(&status, "Cpus_allowed_list");
        assert!(cpus.parse::<u32>().is_ok(), "{name} may run on {cpus}");
    }
}

#[test]
fn there_are_as_many_shards_as_may_lock_their_memory() {
    const SHARD_BYTES: u64 = 1 << 20;
    let node_of_one = node().auto_shards().locks_at_most(SHARD_BYTES).arg("--demo").start();
    let names = own_threads(node_of_one.pid());
    let shards = names.iter().filter(|name| name.starts_with("kithara-shard")).count();
    assert_eq!(shards, 1, "{names:?}");
    node_of_one.get(&format!("/v1/pcm?src=demo:{}", demo::FILES[0].name)).ok();
    node_of_one.signal("-TERM");
    let (_, log) = node_of_one.ended(Duration::from_secs(10));
    let warns = |line: &&str| line.contains("WARN") && line.contains("LimitMEMLOCK");
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(log.lines().filter(warns).count(), usize::from(cores > 1), "{log}");
    // Who says how many is told how many fit.
    let (code, said) = node().shards(2).locks_at_most(SHARD_BYTES).fails();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("ulimit -l 2048") && said.contains("or --shards 1"), "{said}");
}

#[test]
fn no_stream_has_a_thread() {
    let node = node().shards(2).arg("--demo").start();
    let before = own_threads(node.pid());
    let streams: Vec<_> = (0..40)
        .map(|index| {
            use std::io::{Read, Write};
            let mut stream = client::connect(node.listen);
            let name = demo::FILES[index % demo::FILES.len()].name;
            let request =
                format!("GET /v1/pcm?src=demo:{name} HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen);
            stream.write_all(request.as_bytes()).unwrap();
            stream.read_exact(&mut [0; 1]).unwrap();
            stream
        })
        .collect();
    assert_eq!(own_threads(node.pid()), before);
    drop(streams);
}

/// Memory of its own, in MiB.
fn own_mebibytes(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    field(&rollup, "Anonymous").trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn the_memory_of_a_crowd_goes_back_to_the_system() {
    // Of Vorbis each holds its codebooks, and is little work: a crowd that a slow core lets in too. No two
    // want the same, so that each has a decoder.
    let dir = scratch();
    let song = demo::FILES.iter().find(|file| file.name == "strings.ogg").unwrap().bytes;
    (0..40).for_each(|number| fs::write(dir.path().join(format!("{number}.ogg")), song).unwrap());
    let node = node().library("local", dir.path()).start();
    let streams: Vec<_> = (0..40)
        .map(|number| {
            use std::io::{Read, Write};
            let mut stream = client::connect(node.listen);
            let target = format!("/v1/pcm?src=local:{number}.ogg");
            let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen);
            stream.write_all(request.as_bytes()).unwrap();
            stream.read_exact(&mut [0; 64 << 10]).unwrap();
            stream
        })
        .collect();
    let during = own_mebibytes(node.pid());
    assert!(during >= 32, "{during} MiB are no crowd");
    drop(streams);
    node.wait_for("/memory/trims", 1);
    let kept = node.counter("/memory/idle_bytes") >> 20;
    let after = own_mebibytes(node.pid()).saturating_sub(kept);
    assert!(after < during / 2, "of {during} MiB {after} stay, and {kept} of audio");
}

#[test]
fn data_files_are_open_for_direct_io() {
    const O_DIRECT: u32 = 0o40_000;
    let node = node().arg("--demo").start();
    node.get(&format!("/v1/pcm?src=demo:{}", demo::FILES[0].name)).ok();
    let mut found = 0;
    for fd in fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap() {
        let fd = fd.unwrap();
        let target = fs::read_link(fd.path()).unwrap_or_default();
        if target.file_name().is_some_and(|name| name == "data") {
            let number = fd.file_name().into_string().unwrap();
            let info = format!("/proc/{}/fdinfo/{number}", node.pid());
            let info = fs::read_to_string(info).unwrap();
            let flags = u32::from_str_radix(field(&info, "flags"), 8).unwrap();
            assert!(flags & O_DIRECT != 0, "{} is open with {flags:o}", target.display());
            found += 1;
        }
    }
    assert!(found >= 4, "{found} data files");
}

#[test]
fn an_idle_node_rests() {
    let node = node().shards(2).arg("--demo").start();
    node.get(&format!("/v1/pcm?src=demo:{}", demo::FILES[0].name)).ok();
    let switches = || -> u64 {
        let of = |(_, status): &(String, String)| -> u64 {
            field(status, "voluntary_ctxt_switches").parse().unwrap()
        };
        threads(node.pid()).iter().map(of).sum()
    };
    std::thread::sleep(Duration::from_millis(300));
    let before = switches();
    std::thread::sleep(Duration::from_secs(2));
    let woken = switches() - before;
    // One look at dirty volumes each five seconds, and the kernel's own few; a poll each 10 ms
    // would be 400.
    assert!(woken < 40, "woken {woken} times in two idle seconds");
}

#[test]
fn a_signal_drains_and_ends_cleanly() {
    let node = node().shards(2).arg("--demo").start();
    assert_eq!(node.get("/readyz").status, 200);
    node.signal("-TERM");
    let (status, log) = node.ended(Duration::from_secs(10));
    assert!(status.success(), "{status}: {log}");
}

#[test]
fn who_wants_the_configuration_read_again_is_told_that_it_is_not() {
    let node = node().arg("--demo").start();
    node.signal("-HUP");
    assert_eq!(node.get("/livez").status, 200);
    node.signal("-TERM");
    let (status, log) = node.ended(Duration::from_secs(10));
    assert!(status.success(), "{status}: {log}");
    assert!(log.contains("is not read again") && log.contains("restart"), "{log}");
}

#[test]
fn while_draining_new_work_is_refused_by_name() {
    use std::io::{Read, Write};
    let node = node().arg("--demo").start();
    let mut slow = client::connect(node.listen);
    let request = format!(
        "GET /v1/pcm?src=demo:strings.mp3&rate=192000&format=f32le HTTP/1.1\r\nHost: {}\r\n\r\n",
        node.listen
    );
    slow.write_all(request.as_bytes()).unwrap();
    slow.read_exact(&mut [0; 1000]).unwrap();
    node.signal("-TERM");
    // A connection that the signal finds idle is closed without a word, as any idle one may be.
    let ready = || -> String {
        let mut stream = client::connect(node.listen);
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        let count = stream.read(&mut answer).unwrap_or(0);
        String::from_utf8_lossy(&answer[..count]).into_owned()
    };
    while ready() != "HTTP/1.1 503" {}
    assert_eq!(node.get("/livez").status, 200);
    assert_eq!(node.get("/v1/pcm?src=demo:strings.mp3").status, 503);
    slow.read_to_end(&mut Vec::new()).unwrap();
    assert!(node.ended(Duration::from_secs(10)).0.success());
}

#[test]
fn a_response_under_way_is_finished_before_the_end() {
    use std::io::{Read, Write};
    let node = node().arg("--demo").start();
    let file = demo::FILES.iter().find(|file| file.name.ends_with(".flac")).unwrap();
    let mut stream = client::connect(node.listen);
    let request = format!(
        "GET /v1/pcm?src=demo:{}&rate=96000 HTTP/1.1\r\nHost: {}\r\n\r\n",
        file.name, node.listen
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut begun = [0; 1000];
    stream.read_exact(&mut begun).unwrap();
    node.signal("-TERM");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let text = String::from_utf8_lossy(&begun);
    let length = text.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap();
    let head = text.find("\r\n\r\n").unwrap() + 4;
    assert_eq!(begun.len() - head + rest.len(), length.parse::<usize>().unwrap());
    assert!(node.ended(Duration::from_secs(10)).0.success());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    use std::io::{Read, Write};
    let node = node().arg("--demo").start();
    let mut slow = client::connect(node.listen);
    let request = format!(
        "GET /v1/pcm?src=demo:strings.mp3&rate=192000&format=f32le HTTP/1.1\r\nHost: {}\r\n\r\n",
        node.listen
    );
    slow.write_all(request.as_bytes()).unwrap();
    slow.read_exact(&mut [0; 1000]).unwrap();
    node.signal("-TERM");
    // The first was heard; one that comes before that is the same to the kernel.
    let begin = std::time::Instant::now();
    while node.get("/readyz").status != 503 {
        assert!(begin.elapsed() < Duration::from_secs(10), "the signal was not heard");
    }
    node.signal("-TERM");
    let (status, _) = node.ended(Duration::from_secs(5));
    assert_eq!(status.code(), Some(128 + 15));
}

#[test]
fn without_descriptors_clients_wait_and_are_served_later() {
    use std::io::{Read, Write};

    use rustix::process::{Pid, Resource, getrlimit, prlimit};
    let node = node().arg("--demo").start();
    assert_eq!(node.get("/livez").status, 200);
    let (pid, before) = (Pid::from_raw(node.pid() as i32), getrlimit(Resource::Nofile));
    let open = fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap().count() as u64;
    let mut tight = getrlimit(Resource::Nofile);
    tight.current = Some(open + 2);
    prlimit(pid, Resource::Nofile, tight).unwrap();
    let ask = |stream: &mut std::net::TcpStream| {
        write!(stream, "GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen).unwrap();
    };
    let mut streams: Vec<_> = (0..8).map(|_| client::connect(node.listen)).collect();
    streams.iter_mut().for_each(ask);
    let last = streams.last_mut().unwrap();
    last.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(last.read(&mut [0; 12]).is_err(), "there were descriptors for everybody");
    prlimit(pid, Resource::Nofile, before).unwrap();
    last.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answer = [0; 12];
    last.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}
