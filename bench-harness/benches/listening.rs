//! What a listener waits for, and what a crowd of them costs, of decoded audio whose source is in the cache.
//!
//! `cargo bench --bench listening [-- COUNT] [starts] [jumps] [crowd]`. A release node of one shard, pinned to
//! the first CPU, before an nginx that is its origin; the clients share another CPU. All that is asked for is
//! 44.1 kHz made 48 kHz, in 16 bits. Times are those of a client on a connection that is there, from asking to
//! the first byte of PCM, beside what it waits for an answer that wants no work.
//!
//! * `starts`: the first frames of a source whose bytes are cached and of which the node knows what it is, the
//!   first time that anybody listens: a decoder, a resampler and a session are made.
//! * `jumps`: places of a long source by `t`, at random; what had been decoded before is left out.
//! * `crowd`: clients that read one decoded WAV as fast as they can, and the same WAV as a file of nginx. Both
//!   take turns; bytes for each second of CPU time of the server.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::{
    fs,
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use hdrhistogram::Histogram;
use kithara_bench::{
    CODINGS, Keep, Node, Scratch, Stream, Table, cpu_of, leave_first_cpu, median, music,
};

/// Seconds of the source that is jumped about in.
const LONG: usize = 600;
/// Seconds of one that is started.
const SHORT: usize = 20;
/// What is asked for at a time, in seconds: less than a window.
const PIECE: &str = "0.1";
/// Clients that read together, and how often each reads the whole in its turn.
const CROWD: usize = 32;
const READS: usize = 8;
const ROUNDS: usize = 5;

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let count = words.iter().find_map(|word| word.parse().ok()).unwrap_or(200);
    let parts = ["starts", "jumps", "crowd"];
    let named = |part: &str| words.iter().any(|word| word == part);
    let wants = |part: &str| named(part) || !parts.into_iter().any(named);
    let scratch = Scratch::new("listening");
    let web = scratch.path().join("web");
    fs::create_dir_all(&web).expect("a disk");
    if wants("starts") {
        starts(&web, scratch.path(), count);
    }
    if wants("jumps") {
        jumps(&web, scratch.path(), count);
    }
    if wants("crowd") {
        crowd(&web, scratch.path());
    }
}

/// A node with an empty cache before an nginx that has what lies in `web`.
fn before_nginx(web: &Path, scratch: &Path) -> (Nginx, Node) {
    let _ = fs::remove_dir_all(scratch.join("cache"));
    let nginx = Nginx::start(web, scratch);
    let node = Node::before(&format!("http://{}/", nginx.listen), scratch);
    leave_first_cpu();
    (nginx, node)
}

fn pcm(name: &str, start: f64) -> String {
    format!("/v1/pcm?src=music:{name}&rate=48000&format=s16le&t={start:.3}&d={PIECE}")
}

// ---- waiting ----

fn starts(web: &Path, scratch: &Path, count: usize) {
    println!("first PCM of a source that is cached and known, {count} sources each, 1 ms asked\n");
    let table = waits_table();
    for (file, (name, _)) in music(scratch, SHORT).into_iter().zip(CODINGS) {
        let names: Vec<_> = (0..count).map(|copy| format!("{copy}-{name}")).collect();
        for copy in &names {
            fs::copy(&file, web.join(copy)).expect("a disk");
        }
        let (_nginx, node) = before_nginx(web, scratch);
        let mut keep = Keep::new(node.listen, "/livez");
        let mut waits = Waits::default();
        for copy in &names {
            keep.fetch(&format!("/o/music/{copy}"));
            keep.fetch(&format!("/v1/probe?src=music:{copy}"));
        }
        // The filter of a resampler is made once in a process, for all its streams.
        keep.fetch(&pcm(&names[0], 0.0));
        for copy in &names[1..] {
            waits.of_nothing(&mut keep);
            let answer = keep.fetch(&pcm(copy, 0.0));
            assert!(!answer.decode.is_zero(), "it was decoded before");
            waits.add(answer.first, answer.decode);
        }
        table.row(waits.row(name));
        names.iter().for_each(|copy| fs::remove_file(web.join(copy)).expect("a disk"));
    }
}

fn jumps(web: &Path, scratch: &Path, count: usize) {
    println!(
        "\nfirst PCM after a jump, {LONG} s of music, {count} jumps each, p99 of 5 ms asked\n"
    );
    let table = waits_table();
    let files = music(web, LONG);
    let (_nginx, node) = before_nginx(web, scratch);
    for (file, (name, _)) in files.iter().zip(CODINGS) {
        let mut keep = Keep::new(node.listen, "/livez");
        keep.fetch(&format!("/o/music/{name}"));
        keep.fetch(&pcm(name, 0.0));
        let (mut waits, mut random) = (Waits::default(), file.as_os_str().len() as u64 + 1);
        for _ in 0..count {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let start = (random % (LONG as u64 * 1000 - 1000)) as f64 / 1e3;
            waits.of_nothing(&mut keep);
            let answer = keep.fetch(&pcm(name, start));
            if !answer.decode.is_zero() {
                waits.add(answer.first, answer.decode);
            }
        }
        table.row(waits.row(name));
    }
}

/// How long clients waited, in microseconds.
struct Waits {
    nothing: Histogram<u64>,
    first: Histogram<u64>,
    decode: Histogram<u64>,
}

impl Default for Waits {
    fn default() -> Self {
        let [nothing, first, decode] =
            [(); 3].map(|()| Histogram::new(3).expect("3 digits are possible"));
        Self { nothing, first, decode }
    }
}

fn waits_table() -> Table<8> {
    let heads = ["ms", "/livez p50", "p50", "p90", "p99", "max", "decoding p50", "p99"];
    Table::new(16, heads)
}

impl Waits {
    fn of_nothing(&mut self, keep: &mut Keep) {
        let answer = keep.fetch("/livez");
        let _ = self.nothing.record(answer.first.as_micros() as u64);
    }

    fn add(&mut self, first: Duration, decode: Duration) {
        let _ = self.first.record(first.as_micros() as u64);
        let _ = self.decode.record(decode.as_micros() as u64);
    }

    fn row(&self, name: &str) -> [String; 8] {
        let ms = |of: &Histogram<u64>, quantile| {
            format!("{:.2}", of.value_at_quantile(quantile) as f64 / 1e3)
        };
        [
            name.to_owned(),
            ms(&self.nothing, 0.5),
            ms(&self.first, 0.5),
            ms(&self.first, 0.9),
            ms(&self.first, 0.99),
            ms(&self.first, 1.0),
            ms(&self.decode, 0.5),
            ms(&self.decode, 0.99),
        ]
    }
}

// ---- a crowd ----

fn crowd(web: &Path, scratch: &Path) {
    let files = music(web, 60);
    let (nginx, node) = before_nginx(web, scratch);
    println!(
        "\n{CROWD} clients read one minute of WAV {READS} times, {ROUNDS} rounds, 0.5 asked\n"
    );
    let file = files[2].file_name().and_then(|name| name.to_str()).expect("it is text");
    let pcm = format!("/v1/pcm?src=music:{file}");
    // Whoever comes later finds it decoded.
    read(node.listen, &pcm);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(served(|| node.usage().cpu, || all_read(node.listen, &pcm)));
        theirs.push(served(|| cpu_of(nginx.child.id()), || all_read(nginx.listen, "/music.wav")));
    }
    let ratio = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs);
    let (ratio, ours, theirs) = (median(ratio.collect()), median(ours), median(theirs));
    // A minute that one listener plays.
    let listeners = |megabytes: f64| format!("{:.0}", megabytes * 1e6 / (44_100.0 * 4.0));
    let table = Table::new(16, ["", "MB/core second", "listeners", "of nginx"]);
    table.row(["decoded".to_owned(), format!("{ours:.0}"), listeners(ours), format!("{ratio:.2}")]);
    table.row(["nginx".to_owned(), format!("{theirs:.0}"), listeners(theirs), "1.00".to_owned()]);
}

/// MB that `work` gets for each second of CPU time that `cpu` counts.
fn served(cpu: impl Fn() -> Duration, work: impl FnOnce() -> u64) -> f64 {
    let before = cpu();
    let bytes = work();
    bytes as f64 / 1e6 / (cpu() - before).as_secs_f64()
}

fn all_read(server: SocketAddr, path: &str) -> u64 {
    thread::scope(|scope| {
        let client = || (0..READS).map(|_| read(server, path)).sum::<u64>();
        let clients: Vec<_> = (0..CROWD).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().expect("it reads")).sum()
    })
}

fn read(server: SocketAddr, path: &str) -> u64 {
    let mut stream = Stream::open(server, path, None).expect("it answers");
    let (mut into, mut bytes) = (vec![0; 256 << 10], 0);
    loop {
        match stream.read(&mut into).expect("the body is sound") {
            0 => return bytes,
            count => bytes += count as u64,
        }
    }
}

// ---- an origin ----

/// An nginx of one process; it is killed in the end.
struct Nginx {
    listen: SocketAddr,
    child: Child,
}

impl Nginx {
    fn start(root: &Path, scratch: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let listen = free.local_addr().expect("it has one");
        drop(free);
        let (config, below) = (scratch.join("nginx.conf"), scratch.display());
        let text = format!(
            "daemon off; master_process off; user root; pid {below}/nginx.pid; error_log stderr crit;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n\
             client_body_temp_path {below}/a; proxy_temp_path {below}/b; fastcgi_temp_path {below}/c;\n\
             uwsgi_temp_path {below}/d; scgi_temp_path {below}/e; types {{ audio/x-wav wav; }}\n\
             server {{ listen {listen}; root {}; }} }}\n",
            root.display()
        );
        fs::write(&config, text).expect("a disk");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::inherit());
        let child = command.spawn().expect("nginx is installed");
        while TcpStream::connect(listen).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        Self { listen, child }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
