//! The configuration as plain structs: every key of the file is a field of the same name.
//!
//! Defaults stand here with their reasons. Each layer below has `Options` of its own; what
//! starts the node converts these into those, so that no layer knows the file's form.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use url::Url;

use super::{
    units::{Rate, Size, Time},
    validate::SHARD_MEMORY_MIN_BYTES,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Over how long `limits.min_write_rate` is averaged: a client may pause for a tunnel.
pub const MIN_WRITE_WINDOW: Duration = Duration::from_secs(60);

/// What read-ahead is limited to where the cache is off and it lies in memory.
pub const READ_AHEAD_IN_MEMORY_BYTES: u64 = MIB;

/// Everything a node is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where media is served. Loopback, so that nothing is public by accident.
    pub listen: SocketAddr,
    /// The operator's listener.
    pub admin: Admin,
    /// How many cores serve. All that this process may use, as far as `memory` and the limit on locked
    /// memory have room.
    pub shards: Shards,
    /// Buffers, RAM cache and PCM blocks of all shards together. 1 GiB leaves a small machine
    /// room for the page cache of everything else.
    pub memory: Size,
    /// How long running responses may take to finish at a drain. 30 s is what service managers
    /// and orchestrators wait before they kill.
    pub shutdown_grace: Time,
    /// What is written to stderr.
    pub log: Log,
    /// The segment cache.
    pub cache: Cache,
    /// Bounds on what anyone may ask of the node.
    pub limits: Limits,
    /// Where media comes from, by name.
    pub origin: BTreeMap<String, Origin>,
    /// Folders of this machine that are served in place, by name.
    pub library: BTreeMap<String, Library>,
    /// Signed URLs.
    pub signing: Signing,
}

/// The operator's listener. In the file either an address or a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Its address. Loopback: it purges, stops and shows everything.
    pub listen: SocketAddr,
    /// What a request must carry where the address is not loopback.
    pub token: Option<Secret>,
}

/// How many shards a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shards {
    /// One for each core this process may use, or as many as there is room for.
    Auto,
    /// So many.
    Count(u16),
}

/// What is written to stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a list of `module=level`.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// The segment cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Its directory, on a file system that knows direct I/O.
    pub dir: PathBuf,
    /// What it may take of the disk; 0 turns it off. 10 GiB is a few hundred hours of music. The
    /// queue of prefetches lies beside it: a megabyte or two when it is full, and never over 64 MiB.
    /// A start with less drops what lies beyond it, but for what is pinned; where that has no room,
    /// it is refused.
    pub size: Size,
    /// What leaves first when it is full. S3-FIFO had 0.79 of the best possible hit ratio on 16
    /// measured traces, LRU 0.67.
    pub policy: Policy,
    /// How long media is fresh when its origin names no time. Published audio seldom changes.
    pub media_ttl: Time,
    /// How often dirty volumes are synced: what a power cut may cost is refetched anyway.
    pub sync_interval: Time,
}

/// What leaves a full cache first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Three queues; one-hit wonders leave early (Yang et al., SOSP 2023).
    S3Fifo,
    /// The least recently used.
    Lru,
}

/// A server that media comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// What paths are appended to; `http` or `https`, and ends in `/`.
    pub base: Url,
    /// Private networks its name may resolve to; without them such addresses are refused, so
    /// that a public name cannot be pointed at this network's inside.
    pub allow_private: Vec<IpNet>,
    /// Sent with GET and HEAD only.
    pub headers: BTreeMap<String, Secret>,
    /// Sent with requests for keys of presentations only, before `headers` of the same names.
    pub key_headers: BTreeMap<String, Secret>,
    /// Added to the query of those.
    pub key_query: BTreeMap<String, Secret>,
    /// Names of the query that do not make another resource, such as tokens.
    pub key_ignore: Vec<String>,
    /// Unsafe methods that are passed through, and invalidate.
    pub methods: Vec<String>,
    /// Whether a client's Authorization and Cookie go to this origin. They belong to the node's
    /// own name, so normally not.
    pub forward_credentials: bool,
}

/// A folder of this machine.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Library {
    /// Its files are read in place, never copied.
    pub dir: PathBuf,
}

/// Signed URLs: with keys set, unsigned requests are refused.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Signing {
    /// Base64 keys by their id; several at once, so that they can be changed.
    pub keys: BTreeMap<String, Secret>,
}

/// A text that is never printed.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Secret(String);

/// What stands where a secret would be printed.
pub const REDACTED: &str = "<redacted>";

/// Bounds on what anyone may ask of the node. Exceeding one is counted under its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Open client connections: 16 KiB each when idle, so 160 MiB at most.
    pub connections: usize,
    /// Of those, from one address: a household or a small office, not an attacker.
    pub connections_per_client: usize,
    /// Running responses to one address.
    pub streams_per_client: usize,
    /// A request head. 16 KiB carries what browsers send with generous cookies.
    pub header_bytes: Size,
    /// Fields of a request head.
    pub header_fields: usize,
    /// A request target; half a head.
    pub uri_bytes: Size,
    /// From the first byte of a head to its last: a slow-loris bound.
    pub header_timeout: Time,
    /// An idle keep-alive connection; longer than the 60 s of common balancers, so that they
    /// close first.
    pub idle_timeout: Time,
    /// A client that takes no byte at all.
    pub write_stall: Time,
    /// What a client must take over [`MIN_WRITE_WINDOW`]: half of the lowest music bit rate.
    pub min_write_rate: Rate,
    /// The kernel's send buffer of a client: unset, one slow client was seen to hold 3.9 MB.
    pub send_buffer: Size,
    /// The kernel's receive buffer of an origin connection.
    pub receive_buffer: Size,
    /// Ranges of one request.
    pub ranges: usize,
    /// One playlist.
    pub playlist_bytes: Size,
    /// Lines of one playlist: a day of 1 s segments.
    pub playlist_lines: usize,
    /// Variants of one presentation.
    pub variants: usize,
    /// One key file; a key is 16 bytes.
    pub key_bytes: Size,
    /// One init section.
    pub init_bytes: Size,
    /// One media segment.
    pub segment_bytes: Size,
    /// Segments in a row that may be missing: ten minutes of ten seconds.
    pub missing_segments: usize,
    /// One resource: a day of FLAC fits.
    pub object_bytes: Size,
    /// Redirects followed for one request.
    pub redirects: usize,
    /// Connections to one origin, of each shard.
    pub origin_connections: usize,
    /// Of those, kept when idle; 0 turns pooling off.
    pub origin_idle_connections: usize,
    /// To connect, TLS included.
    pub origin_connect: Time,
    /// From the request to the first byte of the answer.
    pub origin_first_byte: Time,
    /// Between two bytes of a body. There is no total timeout: it would kill slow good streams.
    pub origin_inactivity: Time,
    /// Further attempts of a request that may be repeated; one at most where no head came in time, since
    /// a client has then waited twice for an origin that says nothing.
    pub origin_retries: usize,
    /// The pause before the first of them; doubled each time, with full jitter.
    pub origin_backoff: Time,
    /// What that pause grows to.
    pub origin_backoff_max: Time,
    /// How long a head may wait for a scan that counts frames.
    pub scan_wait: Time,
    /// What such a scan may read.
    pub scan_bytes: Size,
    /// Read-ahead of an HLS stream in audio time: going from 25 s to 120 s gained as much as the
    /// best rate adaptation.
    pub read_ahead: Time,
    /// Read-ahead in bytes; [`READ_AHEAD_IN_MEMORY_BYTES`] where the cache is off.
    pub read_ahead_bytes: Size,
    /// Sources that wait to be prefetched, or are.
    pub prefetch_queue: usize,
    /// Of one origin, sources that are prefetched at a time, on all shards together: few, so that
    /// an origin has its connections for clients.
    pub prefetch_connections: usize,
    /// What is prefetched from one origin, on all shards together: half of a gigabit's line.
    pub prefetch_rate: Rate,
    /// Further attempts at a source that cannot be had now, each with the retries of a request.
    pub prefetch_retries: usize,
    /// The pause before the first of them; doubled each time, half of it by chance.
    pub prefetch_backoff: Time,
    /// What that pause grows to.
    pub prefetch_backoff_max: Time,
    /// Share of a core that decoding at pace may be promised: the rest serves bytes, and whoever
    /// reads faster. At 90 % busy all streams of a core began to be late.
    pub decode_share: f64,
    /// Stack reserved for a decoder; only touched pages cost, 5 to 68 KiB were touched.
    pub stack_bytes: Size,
    /// What the tables of one source may take of memory: of samples in MP4, of packets in CAF.
    /// 24 hours of AAC in MP4 are at 16 MiB.
    pub sample_table_bytes: Size,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: loopback(7700),
            admin: Admin::default(),
            shards: Shards::Auto,
            memory: Size(GIB),
            shutdown_grace: seconds(30),
            log: Log::default(),
            cache: Cache::default(),
            limits: Limits::default(),
            origin: BTreeMap::new(),
            library: BTreeMap::new(),
            signing: Signing::default(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: loopback(7711), token: None }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("kithara-cache"),
            size: Size(10 * GIB),
            policy: Policy::S3Fifo,
            media_ttl: seconds(600),
            sync_interval: seconds(5),
        }
    }
}

impl Default for Origin {
    /// An origin whose base is not set yet, which [`Config::validate`] refuses.
    fn default() -> Self {
        Self {
            base: Url::parse("unset:").expect("a constant URL"),
            allow_private: Vec::new(),
            headers: BTreeMap::new(),
            key_headers: BTreeMap::new(),
            key_query: BTreeMap::new(),
            key_ignore: Vec::new(),
            methods: Vec::new(),
            forward_credentials: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_client: 256,
            streams_per_client: 64,
            header_bytes: Size(16 * KIB),
            header_fields: 64,
            uri_bytes: Size(8 * KIB),
            header_timeout: seconds(10),
            idle_timeout: seconds(75),
            write_stall: seconds(30),
            min_write_rate: Rate(8 * KIB),
            send_buffer: Size(64 * KIB),
            receive_buffer: Size(256 * KIB),
            ranges: 8,
            playlist_bytes: Size(4 * MIB),
            playlist_lines: 100_000,
            variants: 64,
            key_bytes: Size(64),
            init_bytes: Size(MIB),
            segment_bytes: Size(64 * MIB),
            missing_segments: 60,
            object_bytes: Size(4 * GIB),
            redirects: 5,
            origin_connections: 64,
            origin_idle_connections: 16,
            origin_connect: seconds(3),
            origin_first_byte: seconds(10),
            origin_inactivity: seconds(15),
            origin_retries: 3,
            origin_backoff: Time(Duration::from_millis(100)),
            origin_backoff_max: seconds(5),
            scan_wait: Time(Duration::from_millis(300)),
            scan_bytes: Size(16 * MIB),
            read_ahead: seconds(120),
            read_ahead_bytes: Size(16 * MIB),
            prefetch_queue: 10_000,
            prefetch_connections: 4,
            prefetch_rate: Rate(64 * MIB),
            prefetch_retries: 5,
            prefetch_backoff: seconds(1),
            prefetch_backoff_max: seconds(60),
            decode_share: 0.85,
            stack_bytes: Size(MIB),
            sample_table_bytes: Size(16 * MIB),
        }
    }
}

impl Config {
    /// How many shards run on a machine that has room for `most`, in cores and in what else each of them
    /// takes; at least one. `auto` takes no more than that, nor than `memory` has room for, so that the
    /// defaults start on any machine.
    pub fn shard_count(&self, most: usize) -> u16 {
        let room = usize::try_from(self.memory.0 / SHARD_MEMORY_MIN_BYTES).unwrap_or(usize::MAX);
        match self.shards {
            Shards::Auto => u16::try_from(most.min(room).max(1)).unwrap_or(u16::MAX),
            Shards::Count(count) => count,
        }
    }

    /// Bytes a stream may read ahead: what is set, and less where the cache is off.
    pub fn read_ahead_bytes(&self) -> u64 {
        match self.cache.is_on() {
            true => self.limits.read_ahead_bytes.0,
            false => self.limits.read_ahead_bytes.0.min(READ_AHEAD_IN_MEMORY_BYTES),
        }
    }
}

impl Cache {
    /// Whether there is a cache on disk at all.
    pub fn is_on(&self) -> bool {
        self.size.0 > 0
    }
}

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn seconds(count: u64) -> Time {
    Time(Duration::from_secs(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let shown = format!("{:?}", Signing { keys: [("k1".into(), Secret::new("hush"))].into() });
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn read_ahead_shrinks_where_the_cache_is_off() {
        let mut config = Config::default();
        assert_eq!(config.read_ahead_bytes(), 16 * MIB);
        config.cache.size = Size(0);
        assert_eq!(config.read_ahead_bytes(), MIB);
        config.limits.read_ahead_bytes = Size(64 * KIB);
        assert_eq!(config.read_ahead_bytes(), 64 * KIB);
    }

    #[test]
    fn auto_takes_every_core_and_at_least_one() {
        let mut config = Config::default();
        assert_eq!(config.shard_count(4), 4);
        assert_eq!(config.shard_count(0), 1);
        assert_eq!(config.shard_count(192), 64, "1 GiB has room for 64 shards");
        config.shards = Shards::Count(2);
        assert_eq!(config.shard_count(64), 2);
    }
}
