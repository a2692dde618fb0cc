//! What the commands about a cache are told.

use std::str::FromStr;

use clap::{Args, Subcommand};
use url::Url;

use crate::{
    cli::{Failure, SourceArgs},
    config::Merged,
};

const EXAMPLES: &str = "\
Examples:
  kithara cache ls --cache /var/cache/kithara
  kithara cache ls --node http://127.0.0.1:7711 --partial
  kithara cache pin music:album/song.flac --node http://127.0.0.1:7711
  kithara cache purge --prefix https://cdn.example.com/audio/old/
  kithara cache verify --repair

A cache that a node has open is reached through that node, by --node.";

/// What `cache` is told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CacheArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// The commands about a cache.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Lists what is cached.
    Ls(LsArgs),
    /// Says what the cache is and holds: format, policy, volumes, bytes, journals.
    Stat(StatArgs),
    /// Reads everything and checks that it is what was written.
    Verify(VerifyArgs),
    /// Takes assets out of the cache. Who is being served is served on.
    Purge(PurgeArgs),
    /// Keeps assets from being evicted, those that are not cached yet too.
    Pin(NameArgs),
    /// Lets assets be evicted again.
    Unpin(NameArgs),
}

/// Which cache is meant.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// The node that has the cache: its admin listener, as http://127.0.0.1:7711.
    #[arg(long, value_name = "URL", value_parser = Node::from_str)]
    pub node: Option<Node>,
    /// The directory of a cache that no node has open [env: KITHARA_CACHE__DIR]
    /// [default: kithara-cache].
    #[arg(long, value_name = "DIR", conflicts_with = "node")]
    pub cache: Option<String>,
    /// For machines; where there are many, one a line.
    #[arg(long)]
    pub json: bool,
    /// What it shares with other commands.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// What `cache ls` is told.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Those whose URL begins so, or NAME:path and what lies below it.
    #[arg(value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Those that are pinned.
    #[arg(long)]
    pub pinned: bool,
    /// Those of which something is missing.
    #[arg(long)]
    pub partial: bool,
    /// Which cache.
    #[command(flatten)]
    pub place: Place,
}

/// What `cache stat` is told.
#[derive(Debug, Args)]
pub struct StatArgs {
    /// Each volume too.
    #[arg(long)]
    pub volumes: bool,
    /// Which cache.
    #[command(flatten)]
    pub place: Place,
}

/// What `cache verify` is told.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Takes out of the cache what is not what was written; it is fetched again when it is wanted.
    #[arg(long)]
    pub repair: bool,
    /// Which cache.
    #[command(flatten)]
    pub place: Place,
}

/// What `cache purge` is told.
#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// NAME:path, a URL or an id, as `ls` shows them.
    #[arg(value_name = "SRC", required_unless_present_any = ["prefix", "all"])]
    pub names: Vec<String>,
    /// All whose URL begins so, or NAME:path and what lies below it.
    #[arg(long, conflicts_with_all = ["names", "all"])]
    pub prefix: Option<String>,
    /// The whole cache.
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
    /// Keeps the bytes, but has the origin asked whether they are still right.
    #[arg(long)]
    pub soft: bool,
    /// Which cache.
    #[command(flatten)]
    pub place: Place,
}

/// What `cache pin` and `cache unpin` are told.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// NAME:path, a URL or an id, as `ls` shows them.
    #[arg(value_name = "SRC", required = true)]
    pub names: Vec<String>,
    /// Which cache.
    #[command(flatten)]
    pub place: Place,
}

/// Where a node's admin listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node(pub Url);

impl FromStr for Node {
    type Err = &'static str;

    /// An address without a scheme is one of HTTP.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        const WRITE: &str = "write http://ADDRESS:PORT";
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&text).map_err(|_| WRITE)?;
        let is_plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let is_web = ["http", "https"].contains(&url.scheme()) && url.has_host();
        if is_plain && is_web { Ok(Self(url)) } else { Err(WRITE) }
    }
}

impl Place {
    /// The configuration these flags complete.
    ///
    /// # Errors
    /// A bad configuration, with its place.
    pub fn load(&self) -> Result<Merged, Failure> {
        self.sources.load_with_cache(self.cache.as_deref())
    }

    /// What a person calls it.
    pub(super) fn shown(&self) -> Result<String, Failure> {
        match &self.node {
            Some(Node(url)) => Ok(url.origin().ascii_serialization()),
            None => Ok(self.load()?.config.cache.dir.display().to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: CacheCommand,
    }

    fn parse(line: &str) -> Result<CacheCommand, clap::Error> {
        let line = ["cache"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(line).map(|line| line.command)
    }

    #[test]
    fn a_node_is_named_by_its_address() {
        for (text, url) in [
            ("127.0.0.1:7711", "http://127.0.0.1:7711/"),
            ("http://localhost:7711", "http://localhost:7711/"),
            ("https://edge.example/", "https://edge.example/"),
        ] {
            assert_eq!(text.parse::<Node>().unwrap().0.as_str(), url);
        }
        for text in ["", "ftp://a", "http://a/b", "http://a?b", "http://"] {
            assert!(text.parse::<Node>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_purge_names_what_it_takes_and_nothing_twice() {
        for line in [
            "purge",
            "purge a:b --all",
            "purge a:b --prefix c",
            "purge --prefix c --all",
            "purge --soft",
            "pin",
            "unpin",
            "ls a b",
            "ls --node 127.0.0.1:1 --cache x",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        for line in ["purge a:b c:d --soft", "purge --all", "purge --prefix c", "ls", "verify"] {
            parse(line).unwrap();
        }
    }
}
