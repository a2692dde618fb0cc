//! The node under test: the real binary, in a process of its own.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{
    client::{self, Response},
    origin::Origin,
    wav::Wav,
};

/// Begins to describe a node.
pub fn node() -> Builder {
    let listen = "127.0.0.1:0".to_owned();
    Builder {
        args: Vec::new(),
        environment: Vec::new(),
        listen,
        shards: "1".to_owned(),
        memlock_bytes: None,
        memory: "256MiB",
        cache: None,
        cache_size: "256MiB",
    }
}

pub struct Builder {
    args: Vec<String>,
    environment: Vec<(String, String)>,
    listen: String,
    shards: String,
    memlock_bytes: Option<u64>,
    memory: &'static str,
    cache: Option<PathBuf>,
    cache_size: &'static str,
}

impl Builder {
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards.to_string();
        self
    }

    /// As many shards as there is room for.
    pub fn auto_shards(mut self) -> Self {
        self.shards = "auto".to_owned();
        self
    }

    /// The process may lock no more memory than that.
    pub fn locks_at_most(mut self, bytes: u64) -> Self {
        self.memlock_bytes = Some(bytes);
        self
    }

    pub fn memory(mut self, memory: &'static str) -> Self {
        self.memory = memory;
        self
    }

    pub fn origin(self, origin: &Origin) -> Self {
        self.arg("--origin").arg(&origin.flag())
    }

    pub fn library(self, name: &str, dir: &Path) -> Self {
        self.arg("--library").arg(&format!("{name}={}", dir.display()))
    }

    pub fn cache(mut self, dir: &Path) -> Self {
        self.cache = Some(dir.to_owned());
        self
    }

    pub fn cache_size(mut self, size: &'static str) -> Self {
        self.cache_size = size;
        self
    }

    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address.to_string();
        self
    }

    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// A configuration key as the environment names it: `LIMITS__ORIGIN_INACTIVITY`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.environment.push((format!("KITHARA_{key}"), value.to_owned()));
        self
    }

    /// A variable that is none of the node's own.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self, cache: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kithara"));
        command.args(["serve", "--listen", &self.listen, "--admin", "127.0.0.1:0"]);
        command.args(["--shards", &self.shards, "--cache"]).arg(cache);
        command.args(["--cache-size", self.cache_size, "--memory", self.memory]).args(&self.args);
        command.envs(self.environment.iter().cloned());
        // Whatever lies in the working directory is not the node's configuration.
        command.current_dir(scratch_root()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(bytes) = self.memlock_bytes {
            let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
            let lower = move || Ok(setrlimit(Resource::Memlock, limit)?);
            // SAFETY: between fork and exec it makes one system call and allocates nothing.
            unsafe { command.pre_exec(lower) };
        }
        command
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Node {
        let scratch = scratch();
        let cache = self.cache.clone().unwrap_or_else(|| scratch.path().to_owned());
        let mut child = self.command(&cache).spawn().expect("the binary starts");
        let log = collect(child.stderr.take().unwrap());
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        if !ready.starts_with("ready ") {
            child.wait().unwrap();
            panic!("the node did not get ready:\n{}", log.join().unwrap());
        }
        let at = ready.find("listen=").expect("named in the ready line") + "listen=".len();
        let listen = ready[at..].split_whitespace().next().unwrap().parse().unwrap();
        let at = ready.find("admin=").expect("named in the ready line") + "admin=".len();
        let admin = ready[at..].split_whitespace().next().unwrap().parse().unwrap();
        Node { listen, admin, child, log: Some(log), _scratch: scratch }
    }

    /// Starts it, expecting that it ends by itself; its exit code and what it said.
    pub fn fails(self) -> (i32, String) {
        self.fails_as(|_| {})
    }

    /// The same, for a process that `change` makes different.
    pub fn fails_as(self, change: impl FnOnce(&mut Command)) -> (i32, String) {
        let scratch = scratch();
        let cache = self.cache.clone().unwrap_or_else(|| scratch.path().to_owned());
        let mut command = self.command(&cache);
        change(&mut command);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap_or(-1), text)
    }
}

/// Runs `kithara cache`; its exit code, and what it said on stdout and on stderr.
pub fn kithara_cache(args: &[&str], size: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kithara"));
    let dir = scratch();
    command.arg("cache").args(args).env("KITHARA_CACHE__SIZE", size).current_dir(dir.path());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// A directory on a real file system: direct I/O does not work on a temporary one.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(scratch_root()).unwrap()
}

fn scratch_root() -> &'static Path {
    fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).unwrap();
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Runs the binary without a node, in a directory that holds no configuration; how it ended.
pub fn kithara(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kithara"));
    command.args(args).current_dir(scratch_root()).output().expect("the binary starts")
}

/// A running node. It is killed with the test.
pub struct Node {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
    log: Option<JoinHandle<String>>,
    _scratch: tempfile::TempDir,
}

impl Node {
    pub fn get(&self, target: &str) -> Response {
        client::get(self.listen, target, "")
    }

    pub fn get_with(&self, target: &str, fields: &str) -> Response {
        client::get(self.listen, target, fields)
    }

    pub fn head(&self, target: &str) -> Response {
        client::request(self.listen, "HEAD", target, "")
    }

    /// Decoded audio of a source, `query` being more parameters (`&rate=48000`).
    #[track_caller]
    pub fn wav(&self, source: &str, query: &str) -> Wav {
        Wav::parse(&self.get(&format!("/v1/pcm?src={source}{query}")).ok().body)
    }

    /// Asks for a prefetch by its JSON.
    pub fn asks_ahead(&self, spec: &str) -> Response {
        let length = spec.len();
        let text = format!(
            "POST /v1/prefetch HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{spec}",
            self.admin
        );
        client::raw(self.admin, text.as_bytes(), false)
    }

    /// Has a prefetch accepted; where to ask for it.
    #[track_caller]
    pub fn prefetch(&self, spec: &str) -> String {
        let answer = self.asks_ahead(spec);
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.field("location").expect("where to ask").to_owned()
    }

    /// What the operator is told there.
    #[track_caller]
    pub fn told(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&client::get(self.admin, path, "").ok().text()).unwrap()
    }

    /// Waits until a prefetch is so.
    #[track_caller]
    pub fn wait_until(
        &self,
        prefetch: &str,
        is_so: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let began = Instant::now();
        loop {
            let told = self.told(prefetch);
            if is_so(&told) {
                return told;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it stays {told}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a prefetch has ended in this state.
    #[track_caller]
    pub fn wait_for_end(&self, prefetch: &str, state: &str) -> serde_json::Value {
        let ends = ["done", "failed", "cancelled"];
        let told =
            self.wait_until(prefetch, |told| ends.contains(&told["state"].as_str().unwrap()));
        assert_eq!(told["state"], state, "{told}");
        told
    }

    /// A counter of all shards together, as the operator sees it: `/refused/connections`.
    #[track_caller]
    pub fn counter(&self, pointer: &str) -> u64 {
        let text = client::get(self.admin, "/v1/shards", "").ok().text();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let shards = document["shards"].as_array().unwrap().iter();
        shards.map(|shard| shard.pointer(pointer).and_then(|count| count.as_u64()).unwrap()).sum()
    }

    /// Waits until a counter is `value`.
    #[track_caller]
    pub fn wait_for(&self, pointer: &str, value: u64) {
        let began = Instant::now();
        while self.counter(pointer) != value {
            let now = self.counter(pointer);
            assert!(began.elapsed() < Duration::from_secs(20), "{pointer} is {now}, not {value}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits until it has ended; its status and what it said.
    pub fn ended(mut self, within: Duration) -> (ExitStatus, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < within, "the node did not end");
            thread::sleep(Duration::from_millis(5));
        };
        (status, self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(log) = self.log.take()
            && thread::panicking()
        {
            eprintln!("--- what the node said ---\n{}", log.join().unwrap_or_default());
        }
    }
}
