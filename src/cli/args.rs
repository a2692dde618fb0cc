//! The command line: its commands, flags, and what they set in the configuration.

use std::{net::SocketAddr, ops::Range, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use url::Url;

use super::{cache::CacheArgs, failure::Failure};
use crate::{
    config::{self, Flag, Merged, Size},
    encode::parse_bit_rate,
    net::literal_addresses,
    pcm::timeline::{self, Seconds},
    prefetch::{Variants, spec::parse_range},
};

const ENVIRONMENT: &str = "\
Environment:
  KITHARA_CONFIG=FILE           the configuration file
  KITHARA_LISTEN=ADDR           any key of the file, `__` between its parts:
  KITHARA_CACHE__DIR=DIR        [cache] dir
  KITHARA_ORIGIN__MUSIC__BASE=URL   [origin.music] base
  NO_COLOR=1                    no colours

Order: defaults < file (kithara.toml) < environment < flags.";

const EXAMPLES: &str = "\
Examples:
  kithara serve --demo
  kithara serve --origin music=https://cdn.example.com/audio/
  kithara config --effective
  kithara doctor

Exit codes: 0 ok, 1 run-time, 2 usage, 69 origin unreachable, 74 I/O, 78 bad configuration.";

const SERVE_EXAMPLES: &str = "\
Examples:
  kithara serve --demo
  kithara serve --library local=/srv/music --listen 0.0.0.0:7700
  kithara serve --origin music=https://cdn.example.com/audio/ --cache-size 100GiB
  kithara serve --check";

const PCM_EXAMPLES: &str = "\
Examples:
  kithara pcm song.flac -o song.wav --rate 48000
  kithara pcm music:album/song.mp3 -o - --format s16le | aplay -f cd";

const TRANSCODE_EXAMPLES: &str = "\
Examples:
  kithara transcode song.mp3 -o song.flac
  kithara transcode song.flac -o song.opus --bitrate 96k
  kithara transcode music:album/song.m4a -o - --format flac --rate 48000 | flac -t -";

const PREFETCH_EXAMPLES: &str = "\
Examples:
  kithara prefetch --node http://127.0.0.1:7711 music:album/song.mp3 music:lists/top.m3u
  kithara prefetch --cache DIR --origin music=https://cdn.example.com/audio/ music:song.flac
  kithara prefetch --node http://127.0.0.1:7711 music:book.m4b --range 0-1000000";

/// An audio edge node: original bytes from a segment cache, exact PCM over HTTP.
#[derive(Debug, Parser)]
#[command(name = "kithara", version, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{ENVIRONMENT}"))]
#[command(arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands. A further one is a variant here and an arm in [`super::run`].
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the node.
    Serve(ServeArgs),
    /// Decodes one source to a file, without a server.
    Pcm(PcmArgs),
    /// Encodes one source to a file, without a server.
    Transcode(TranscodeArgs),
    /// Says what a source is: container, codec, rate, channels, frames, duration, tags.
    Probe(ProbeArgs),
    /// Looks at a cache and tends it, a closed one or a running node's.
    Cache(CacheArgs),
    /// Brings sources into a cache, with a progress bar on a terminal.
    Prefetch(PrefetchArgs),
    /// Prints the merged configuration and where each value came from.
    Config(ConfigArgs),
    /// Checks this machine: kernel, io_uring, limits, disk, ports; each with its remedy.
    Doctor(DoctorArgs),
}

/// What `serve` is told.
#[derive(Debug, Default, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArgs {
    /// Serves material of its own, from an origin inside the process.
    #[arg(long)]
    pub demo: bool,
    /// Checks the configuration and what it needs, and exits.
    #[arg(long)]
    pub check: bool,
    /// What it shares with other commands.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// What `pcm` is told.
#[derive(Debug, Args)]
#[command(after_help = PCM_EXAMPLES)]
pub struct PcmArgs {
    /// What it writes.
    #[command(flatten)]
    pub written: WrittenArgs,
    /// wav, wav24, wav32f, s16le, s24le, s32le, f32le, s16be or flac; by the ending of FILE if not
    /// given, else wav.
    #[arg(long, value_name = "F")]
    pub format: Option<String>,
    /// What of it.
    #[command(flatten)]
    pub played: PlayedArgs,
    /// What it shares with other commands.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// What `transcode` is told.
#[derive(Debug, Args)]
#[command(after_help = TRANSCODE_EXAMPLES)]
pub struct TranscodeArgs {
    /// What it writes.
    #[command(flatten)]
    pub written: WrittenArgs,
    /// flac, opus, mp3 or aac; by the ending of FILE if not given, of which stdout has none. mp3 and aac
    /// are in builds with the features of these names. Players drop what mp3 has more than its source;
    /// aac is 1024 frames late.
    #[arg(long, value_name = "F")]
    pub format: Option<String>,
    /// Bits per second, such as 128000 or 128k, where the format has any.
    #[arg(long, value_name = "B", value_parser = bit_rate)]
    pub bitrate: Option<u32>,
    /// How hard to compress, where the format has levels.
    #[arg(long, value_name = "N")]
    pub level: Option<u8>,
    /// What of it.
    #[command(flatten)]
    pub played: PlayedArgs,
    /// What it shares with other commands.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// Flags of everything that writes a source to a file.
#[derive(Debug, Clone, Args)]
pub struct WrittenArgs {
    /// NAME:path, an http(s) URL, or a local file.
    #[arg(value_name = "SRC")]
    pub source: String,
    /// Where to write; `-` is stdout.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Flags of what is decoded: which part of it, and as what.
#[derive(Debug, Clone, Default, Args)]
pub struct PlayedArgs {
    /// Samples per second; the source's if not given.
    #[arg(long, value_name = "HZ")]
    pub rate: Option<u32>,
    /// 1 to 8; the source's if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=8))]
    pub channels: Option<u16>,
    /// Where to begin, in seconds.
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub start: Option<Seconds>,
    /// How much, in seconds; to the end if not given.
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub duration: Option<Seconds>,
}

/// What `prefetch` is told.
#[derive(Debug, Args)]
#[command(after_help = PREFETCH_EXAMPLES)]
pub struct PrefetchArgs {
    /// NAME:path or an http(s) URL; an M3U file (.m3u, .m3u8, or by its media type) lists others, one in
    /// a line, and a playlist of HLS stands for its segments.
    #[arg(value_name = "SRC", required = true)]
    pub sources: Vec<String>,
    /// A running node's admin listener, whose cache is filled; without it the directory's is.
    #[arg(long, value_name = "URL")]
    pub node: Option<Url>,
    /// Which variants of a presentation: all, auto, or a number from 0.
    #[arg(long, value_name = "all|auto|N", default_value = "auto")]
    pub variants: Variants,
    /// Only the bytes from A up to B, without the one at B, of a single source; up to 8 times.
    #[arg(long = "range", value_name = "A-B", value_parser = parse_range, conflicts_with = "decode")]
    pub ranges: Vec<Range<u64>>,
    /// As a check, decodes each once when it is there, and says what does not decode. Nothing decoded is
    /// kept, but how long it is.
    #[arg(long)]
    pub decode: bool,
    /// 0 to 9, of which 9 goes first [default: 5].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=9))]
    pub priority: Option<u8>,
    /// The cache's directory [env: KITHARA_CACHE__DIR] [default: kithara-cache].
    #[arg(long, value_name = "DIR", conflicts_with = "node")]
    pub cache: Option<String>,
    /// What the cache may take of the disk [env: KITHARA_CACHE__SIZE] [default: 10GiB].
    #[arg(long, value_name = "SIZE", conflicts_with = "node")]
    pub cache_size: Option<Size>,
    /// What it shares with other commands.
    #[command(flatten)]
    pub sources_args: SourceArgs,
}

/// What `probe` is told.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// NAME:path, an http(s) URL, or a local file.
    #[arg(value_name = "SRC")]
    pub source: String,
    /// For machines.
    #[arg(long)]
    pub json: bool,
    /// What it shares with other commands.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// What `config` is told.
#[derive(Debug, Default, Args)]
pub struct ConfigArgs {
    /// Every key; without it only those that somebody set.
    #[arg(long)]
    pub effective: bool,
    /// The configuration that is meant.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// What `doctor` is told.
#[derive(Debug, Default, Args)]
pub struct DoctorArgs {
    /// For machines.
    #[arg(long)]
    pub json: bool,
    /// The configuration that is meant.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Flags of everything that concerns a whole node.
#[derive(Debug, Default, Args)]
pub struct NodeArgs {
    /// Where media is served [env: KITHARA_LISTEN] [default: 127.0.0.1:7700].
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// The operator's listener [env: KITHARA_ADMIN] [default: 127.0.0.1:7711].
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// How many cores serve [env: KITHARA_SHARDS] [default: auto].
    #[arg(long, value_name = "N|auto")]
    pub shards: Option<String>,
    /// The cache's directory [env: KITHARA_CACHE__DIR] [default: kithara-cache].
    #[arg(long, value_name = "DIR")]
    pub cache: Option<String>,
    /// What the cache may take of the disk [env: KITHARA_CACHE__SIZE] [default: 10GiB].
    #[arg(long, value_name = "SIZE")]
    pub cache_size: Option<Size>,
    /// Buffers, RAM cache, PCM blocks [env: KITHARA_MEMORY] [default: 1GiB].
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Where media comes from.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// Flags of everything that reads a source.
#[derive(Debug, Clone, Default, Args)]
pub struct SourceArgs {
    /// The configuration file [env: KITHARA_CONFIG] [default: kithara.toml, if there].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// An origin; addresses that URL names literally are allowed.
    #[arg(long = "origin", value_name = "NAME=URL", value_parser = named)]
    pub origins: Vec<(String, String)>,
    /// A folder that is served in place.
    #[arg(long = "library", value_name = "NAME=DIR", value_parser = named)]
    pub libraries: Vec<(String, String)>,
    /// error, warn, info, debug or trace [env: KITHARA_LOG__LEVEL] [default: info].
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// How log lines look [env: KITHARA_LOG__FORMAT] [default: text].
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl NodeArgs {
    /// The configuration these flags complete.
    ///
    /// # Errors
    /// A bad configuration, with its place.
    pub fn load(&self) -> Result<Merged, Failure> {
        Ok(config::load(self.sources.config.as_deref(), self.flags())?)
    }

    fn flags(&self) -> Vec<Flag> {
        let text = |value: Option<&dyn ToString>| value.map(ToString::to_string);
        let given = [
            ("--listen", "listen", text(self.listen.as_ref().map(|a| a as _))),
            ("--admin", "admin.listen", text(self.admin.as_ref().map(|a| a as _))),
            ("--shards", "shards", self.shards.clone()),
            ("--cache", "cache.dir", self.cache.clone()),
            ("--cache-size", "cache.size", text(self.cache_size.as_ref().map(|s| s as _))),
            ("--memory", "memory", text(self.memory.as_ref().map(|s| s as _))),
        ];
        let own = given.into_iter().filter_map(|(name, key, text)| Some(flag(name, key, text?)));
        own.chain(self.sources.flags()).collect()
    }
}

impl PrefetchArgs {
    /// The configuration these flags complete.
    ///
    /// # Errors
    /// A bad configuration, with its place.
    pub fn load(&self) -> Result<Merged, Failure> {
        let dir = self.cache.clone().map(|dir| flag("--cache", "cache.dir", dir));
        let size = self.cache_size.as_ref().map(ToString::to_string);
        let size = size.map(|size| flag("--cache-size", "cache.size", size));
        let flags = dir.into_iter().chain(size).chain(self.sources_args.flags()).collect();
        Ok(config::load(self.sources_args.config.as_deref(), flags)?)
    }
}

impl SourceArgs {
    /// The configuration these flags complete.
    ///
    /// # Errors
    /// A bad configuration, with its place.
    pub fn load(&self) -> Result<Merged, Failure> {
        Ok(config::load(self.config.as_deref(), self.flags())?)
    }

    /// The same, of a cache that is named apart.
    ///
    /// # Errors
    /// A bad configuration, with its place.
    pub(super) fn load_with_cache(&self, dir: Option<&str>) -> Result<Merged, Failure> {
        let dir = dir.map(|dir| flag("--cache", "cache.dir", dir.to_owned()));
        let flags = dir.into_iter().chain(self.flags()).collect();
        Ok(config::load(self.config.as_deref(), flags)?)
    }

    fn flags(&self) -> Vec<Flag> {
        let mut flags = Vec::new();
        for (name, url) in &self.origins {
            flags.push(named_flag("--origin", ["origin", name, "base"], url.clone()));
            for network in literal_networks(url) {
                let path = ["origin", name, "allow_private"];
                flags
                    .push(Flag { adds: true, ..named_flag("--origin", path, network.to_string()) });
            }
        }
        for (name, dir) in &self.libraries {
            flags.push(named_flag("--library", ["library", name, "dir"], dir.clone()));
        }
        flags.extend(self.log.clone().map(|level| flag("--log", "log.level", level)));
        let format = self.log_format.map(|format| match format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        });
        flags.extend(format.map(|format| flag("--log-format", "log.format", format.to_owned())));
        flags
    }
}

fn literal_networks(url: &str) -> Vec<IpNet> {
    let addresses = Url::parse(url).map(|url| literal_addresses(&url)).unwrap_or_default();
    addresses.into_iter().map(IpNet::from).collect()
}

fn flag(name: &str, key: &str, text: String) -> Flag {
    let key = key.split('.').map(str::to_owned).collect();
    Flag { name: name.to_owned(), key, text, adds: false }
}

fn named_flag(name: &str, key: [&str; 3], text: String) -> Flag {
    Flag { name: name.to_owned(), key: key.map(str::to_owned).into(), text, adds: false }
}

fn named(text: &str) -> Result<(String, String), &'static str> {
    let (name, rest) = text.split_once('=').ok_or("write NAME=VALUE")?;
    match name.is_empty() || rest.is_empty() {
        true => Err("write NAME=VALUE"),
        false => Ok((name.to_owned(), rest.to_owned())),
    }
}

fn seconds(text: &str) -> Result<Seconds, timeline::Error> {
    text.parse()
}

fn bit_rate(text: &str) -> Result<u32, &'static str> {
    parse_bit_rate(text).ok_or("bits per second, such as 128000 or 128k")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    /// The commands whose work is elsewhere, as the command line will have them.
    #[derive(Debug, Parser)]
    #[command(name = "kithara")]
    enum Node {
        /// Runs the node.
        Serve(ServeArgs),
        /// Decodes a source to a file, without a server.
        Pcm(PcmArgs),
        /// Shows what a source is.
        Probe(ProbeArgs),
        /// Brings sources into a cache.
        Prefetch(PrefetchArgs),
    }

    fn serve(line: &str) -> ServeArgs {
        match Node::try_parse_from(line.split_whitespace()) {
            Ok(Node::Serve(args)) => args,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        Node::command().debug_assert();
    }

    #[test]
    fn serve_takes_every_flag() {
        let args = serve(
            "kithara serve --demo --check --config a.toml --listen [::1]:0 --admin 127.0.0.1:0 \
             --shards auto --cache /c --cache-size 1GiB --memory 2GiB --origin a=http://x/ \
             --origin b=http://y/ --library l=/srv --log debug --log-format json",
        );
        assert!(args.demo && args.check);
        let flags = args.node.flags();
        let keys: Vec<_> = flags.iter().map(|flag| flag.key.join(".")).collect();
        let wanted = "listen admin.listen shards cache.dir cache.size memory origin.a.base \
             origin.b.base library.l.dir log.level log.format";
        assert_eq!(keys, wanted.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn flags_win_and_are_named_as_the_source() {
        let flags = serve("kithara serve --cache-size 1GiB --shards 2").node.flags();
        let merged = Merged::new(&config::Inputs { flags, ..Default::default() }).unwrap();
        assert_eq!(merged.config.cache.size, Size(1 << 30));
        assert_eq!(merged.source("cache.size").to_string(), "--cache-size");
        assert_eq!(merged.source("shards").to_string(), "--shards");
    }

    #[test]
    fn an_origin_flag_allows_the_addresses_its_url_names() {
        for (url, networks) in [
            ("http://127.0.0.1:8000/", vec!["127.0.0.1/32"]),
            ("http://[::1]/", vec!["::1/128"]),
            ("http://localhost/", vec!["127.0.0.1/32", "::1/128"]),
            ("http://10.1.2.3/", vec!["10.1.2.3/32"]),
            ("http://cdn.example.com/", vec![]),
            ("nonsense", vec![]),
        ] {
            let shown: Vec<_> = literal_networks(url).iter().map(ToString::to_string).collect();
            assert_eq!(shown, networks, "{url}");
        }
        let flags = serve("kithara serve --origin a=http://127.0.0.1:1/").node.flags();
        let merged = Merged::new(&config::Inputs { flags, ..Default::default() }).unwrap();
        assert_eq!(merged.config.origin["a"].allow_private.len(), 1);
    }

    #[test]
    fn a_wrong_command_line_is_a_usage_error() {
        for line in [
            "kithara serve --nonsense",
            "kithara serve --origin music",
            "kithara serve --origin =http://x/",
            "kithara serve --cache-size 10",
            "kithara serve --listen :7700",
            "kithara serve --log-format xml",
            "kithara pcm song.mp3",
            "kithara pcm song.mp3 -o x --channels 9",
            "kithara pcm song.mp3 -o x --start -1",
            "kithara pcm song.mp3 -o x --duration nan",
            "kithara pcm song.mp3 -o x --duration 1e1",
            "kithara transcode song.mp3",
            "kithara transcode song.mp3 -o x.opus --bitrate fast",
            "kithara probe",
            "kithara prefetch",
            "kithara prefetch a:b --variants best",
            "kithara prefetch a:b --priority 10",
            "kithara prefetch a:b --node nowhere",
            "kithara prefetch a:b --node http://x/ --cache c",
        ] {
            let error = Node::try_parse_from(line.split_whitespace()).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
            assert_ne!(error.kind(), ErrorKind::DisplayHelp, "{line}");
        }
    }

    #[test]
    fn what_is_no_size_is_told_how_one_is_written() {
        for size in ["10", "10Gb", "ten"] {
            let error =
                Node::try_parse_from(["kithara", "serve", "--cache-size", size]).unwrap_err();
            assert!(error.to_string().contains("10GiB"), "{error}");
        }
    }

    #[test]
    fn help_is_a_command_too() {
        for (line, part) in [
            ("kithara help", "Exit codes"),
            ("kithara help pcm", "--duration"),
            ("kithara help cache purge", "Usage: kithara cache purge"),
        ] {
            let error = Cli::try_parse_from(line.split_whitespace()).expect_err(line);
            assert_eq!((error.kind(), error.exit_code()), (ErrorKind::DisplayHelp, 0), "{line}");
            assert!(error.to_string().contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn pcm_and_probe_take_their_flags() {
        let line = "kithara pcm demo:a.mp3 -o - --format s16le --rate 48000 --channels 2 \
             --start 1.5 --duration 2";
        let Ok(Node::Pcm(args)) = Node::try_parse_from(line.split_whitespace()) else {
            panic!("{line}")
        };
        let played = &args.played;
        assert_eq!((played.rate, played.channels), (Some(48_000), Some(2)));
        assert_eq!((played.start, played.duration), ("1.5".parse().ok(), "2".parse().ok()));
        let Ok(Node::Probe(args)) = Node::try_parse_from(["kithara", "probe", "x", "--json"])
        else {
            panic!("probe")
        };
        assert!(args.json);
    }

    /// `UPDATE_GOLDEN=1` writes the file anew, for a person to look at.
    #[test]
    fn the_help_of_serve_looks_as_it_is_written_down() {
        let mut command = Node::command().term_width(100);
        command.build();
        let serve = command.find_subcommand_mut("serve").expect("a command");
        let help = serve.render_help().to_string();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/serve_help.txt");
            std::fs::write(path, &help).unwrap();
        }
        assert_eq!(help, include_str!("serve_help.txt"));
    }
}
