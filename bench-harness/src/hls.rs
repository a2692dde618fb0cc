//! Presentations of HLS, an origin that has them, and a node before it in this process.
// Origins and nodes have ordinary threads: nothing here runs on a shard.
#![allow(clippy::disallowed_methods)]

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use kithara::{
    cli::{self, Cli, Parser},
    server::{self, Ready, Tell},
};
use serde_json::Value;

use crate::{Keep, apart};

/// Files by their names, for as long as the program runs.
pub type Files = HashMap<String, &'static [u8]>;

/// How segments are, as ffmpeg is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// AAC in fragments of MP4.
    Fmp4,
    /// AAC in MPEG-TS.
    Ts,
    /// The same, encrypted with AES-128.
    TsAes,
}

/// How much of an answer goes out at a time.
const PIECE_BYTES: usize = 4 << 10;

/// A key of AES-128.
const KEY: &[u8; 16] = b"sixteen  letters";

/// `sound` of ffmpeg's, as AAC of 128 kbit/s in segments of so many seconds: `list.m3u8` and what it names.
///
/// # Panics
/// When ffmpeg is not there or fails.
pub fn presentation(dir: &Path, form: Form, sound: &str, seconds: f64) -> Files {
    fs::create_dir_all(dir).expect("the scratch directory can be written");
    fs::write(dir.join("the.key"), KEY).expect("likewise");
    fs::write(dir.join("key.info"), "the.key\nthe.key\n").expect("likewise");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.current_dir(dir).args(["-v", "error", "-f", "lavfi", "-i", sound]);
    ffmpeg.args(["-c:a", "aac", "-b:a", "128k", "-f", "hls", "-hls_playlist_type", "vod"]);
    ffmpeg.args(["-hls_time", &seconds.to_string(), "-hls_segment_filename", "part%04d"]);
    match form {
        Form::Fmp4 => ffmpeg.args(["-hls_segment_type", "fmp4"]),
        Form::Ts => &mut ffmpeg,
        Form::TsAes => ffmpeg.args(["-hls_key_info_file", "key.info"]),
    };
    let status = ffmpeg.arg("list.m3u8").status().expect("ffmpeg is installed");
    assert!(status.success(), "{ffmpeg:?}");
    let files = fs::read_dir(dir).expect("it was just written").map(|entry| {
        let entry = entry.expect("likewise");
        let bytes = fs::read(entry.path()).expect("likewise");
        (entry.file_name().to_string_lossy().into_owned(), &*bytes.leak())
    });
    files.collect()
}

/// How an origin answers.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// What each of its connections carries, if not as much as it can.
    pub bits_per_second: Option<u32>,
    /// Whether what lies at a path may be kept.
    pub is_kept: fn(&str) -> bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self { bits_per_second: None, is_kept: |_| true }
    }
}

/// Starts an origin whose paths are read by `find`: none is 404.
///
/// # Panics
/// When there is no port.
pub fn origin(
    manner: Manner,
    find: impl Fn(&str) -> Option<&'static [u8]> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let find = Arc::new(find);
    thread::spawn(move || {
        apart();
        for stream in listener.incoming().flatten() {
            let find = Arc::clone(&find);
            thread::spawn(move || {
                apart();
                while answer(&stream, &*find, manner).is_some() {}
            });
        }
    });
    address
}

/// Answers one request; `None` where the connection has ended.
fn answer(
    mut stream: &TcpStream,
    find: &impl Fn(&str) -> Option<&'static [u8]>,
    manner: Manner,
) -> Option<()> {
    let mut head = String::new();
    // A client sends its next request when it has read the answer.
    let mut reader = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let path = head.split(' ').nth(1)?.trim_start_matches('/');
    let Some(bytes) = find(path) else {
        return stream.write_all(b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n").ok();
    };
    let control = if (manner.is_kept)(path) { "max-age=3600" } else { "no-store" };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nCache-Control: {control}\r\nETag: \"a\"\r\n\r\n",
        bytes.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    for piece in bytes.chunks(PIECE_BYTES) {
        stream.write_all(piece).ok()?;
        if let Some(bits) = manner.bits_per_second {
            thread::sleep(Duration::from_secs_f64(piece.len() as f64 * 8.0 / f64::from(bits)));
        }
    }
    Some(())
}

/// A node of one shard in this process, which has the origin as `music:` and lives as long as that; what else it is
/// told, `change` says.
///
/// # Panics
/// When it does not start.
pub fn node(
    origin: SocketAddr,
    scratch: &Path,
    memory: &str,
    change: impl FnOnce(&mut server::Options),
) -> Ready {
    static READY: OnceLock<Ready> = OnceLock::new();
    let (cache, origin) = (scratch.join("cache"), format!("music=http://{origin}/"));
    let arguments = ["kithara", "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let sizes =
        ["--shards", "1", "--cache-size", "256MiB", "--memory", memory, "--origin", &origin];
    let arguments = arguments.iter().chain(&sizes).copied();
    let arguments = arguments.chain(["--cache", cache.to_str().expect("it is text")]);
    let cli::Command::Serve(args) = Cli::parse_from(arguments).command else {
        unreachable!("it serves")
    };
    let options = cli::node_options(&args);
    let mut options = options.unwrap_or_else(|failure| panic!("{}", failure.report()));
    change(&mut options);
    thread::spawn(|| {
        let ready = |ready| READY.set(ready).expect("it gets ready once");
        server::run(options, Tell { ready, failed: |error| panic!("{error}") }).expect("it runs");
    });
    *READY.wait()
}

/// What the one shard says of itself.
///
/// # Panics
/// When it does not.
pub fn shard(admin: SocketAddr) -> Value {
    let text = Keep::new(admin, "/v1/shards").read();
    let document: Value = serde_json::from_slice(&text).expect("it is JSON");
    document["shards"][0].clone()
}
