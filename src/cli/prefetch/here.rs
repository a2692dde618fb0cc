//! A prefetch into a cache directory that no node has open.

use std::{rc::Rc, sync::mpsc};

use serde_json::Value;
use url::Url;

use super::{Watched, watch};
use crate::{
    assets::AssetStore,
    bufpool::{self, BufPool},
    cli::{
        ExitCode, Failure, PrefetchArgs,
        offline::{failure, free_origin},
        serve,
    },
    config::Config,
    decode::Stacks,
    file::Files,
    net::{self, Client, Resolver},
    pcm::SourceName,
    prefetch::{Prefetches, Refused, Spec, gather, status},
    runtime::{
        self, Queue, ShardId,
        event::Event,
        mailbox::{Mailbox, Mesh},
        signals::Signals,
    },
    server,
    shard::{MAILBOX, Mail, Route, Shard, upkeep},
    storage::{self, Device, Directory, Format, Volumes},
};

/// Fills the cache directory of `config`.
pub(super) fn run(args: &PrefetchArgs, config: &Config) -> Result<ExitCode, Failure> {
    let mut options = serve::options(config)?;
    let spec = spec(args, &mut options)?;
    if options.cache_bytes == 0 {
        return Err(Failure::new(ExitCode::Config, "the cache is off, so nothing can be kept")
            .at("[cache] size"));
    }
    // Held until everything is durable.
    let directory = Directory::lock(&options.cache_dir, options.cache_bytes);
    let directory = directory.map_err(|error| Failure::from(server::Error::from(error)))?;
    let start = Start {
        format: directory.format(),
        roots: net::Roots::load(),
        mesh: Mesh::new(1, MAILBOX),
        signals: Signals::install(1).map_err(server::Error::from)?,
        options,
    };
    let (result, outcome) = mpsc::channel();
    let one = runtime::Options { shards: 1, ..runtime::Options::default() };
    runtime::run(one, move |id| {
        let (start, spec, result) = (start.clone(), spec.clone(), result.clone());
        async move {
            // The receiver lives until all shards have ended.
            let _ = result.send(start.fill(id, spec).await);
        }
    })
    .map_err(server::Error::from)?;
    outcome.recv().unwrap_or_else(|_| Err(Failure::new(ExitCode::Runtime, "the shard ended")))
}

/// What is asked for. A URL is a source of the origin that it lies below, so that a node finds it
/// in the cache; one of none becomes an origin of its own.
fn spec(args: &PrefetchArgs, options: &mut server::Options) -> Result<Spec, Failure> {
    let mut sources = Vec::with_capacity(args.sources.len());
    for text in &args.sources {
        sources.push(source(text, options)?);
    }
    let spec = Spec { variants: args.variants, decode: args.decode, ..Spec::of(sources) };
    Ok(Spec { priority: args.priority.unwrap_or(spec.priority), ..spec })
}

fn source(text: &str, options: &mut server::Options) -> Result<SourceName, Failure> {
    let named = |name: &str, path: &str| SourceName {
        name: name.to_owned(),
        path: path.to_owned(),
        is_file: false,
    };
    if let Ok(url) = Url::parse(text)
        && ["http", "https"].contains(&url.scheme())
    {
        let below = |origin: &&net::Origin| url.as_str().starts_with(origin.base.as_str());
        if let Some(origin) = options.origins.iter().find(below) {
            return Ok(named(&origin.name, &url.as_str()[origin.base.as_str().len()..]));
        }
        let (mut origin, path) = free_origin(&url)?;
        // No configured name has a dot in it.
        origin.name = format!("url.{}", options.origins.len());
        let source = named(&origin.name, &path);
        options.origins.push(origin);
        return Ok(source);
    }
    let is_library = |name: &str| options.libraries.iter().any(|library| library.name == name);
    SourceName::parse(text, is_library).map_err(|error| {
        Failure::new(ExitCode::Usage, error.to_string())
            .at(text)
            .hint("a file of this machine needs no cache; an origin is named by --origin NAME=URL")
    })
}

/// What the one shard is given.
#[derive(Clone)]
struct Start {
    options: server::Options,
    format: Format,
    roots: net::Roots,
    mesh: Mesh<Mail>,
    signals: Signals,
}

impl Start {
    async fn fill(self, id: ShardId, spec: Spec) -> Result<ExitCode, Failure> {
        let system = |error: std::io::Error| Failure::from(server::Error::from(error));
        let mut signals = self.signals.on(id).map_err(system)?;
        let mailbox = self.mesh.join(id).await;
        let (shard, store) = self.shard(mailbox).await?;
        let at_end = Event::new();
        let upkeep = upkeep(store, self.options.sync, at_end.listen());
        let upkeep = runtime::spawn(Queue::Background, "upkeep", upkeep);
        let attending = runtime::spawn(Queue::Io, "mail", Rc::clone(&shard).attend());
        let prefetches = Prefetches::in_memory(self.options.prefetch);
        let running = Rc::clone(&prefetches).run(Rc::clone(&shard));
        let running = runtime::spawn(Queue::Background, "prefetches", running);

        let filling = async {
            let spec = gather(&shard, spec, self.options.lists).await.map_err(refused)?;
            let id = prefetches.accept(spec).await.map_err(refused)?;
            let here = Here { shard: Rc::clone(&shard), prefetches: Rc::clone(&prefetches), id };
            watch(here, async move { signals.next().await }).await
        };
        let filled = filling.await;

        prefetches.close();
        shard.drain();
        // They have ended or panicked; either was logged.
        let _ = running.await;
        shard.files.close();
        shard.gate.empty().await;
        drop(attending);
        at_end.notify_all();
        match upkeep.await {
            Ok(Err(error)) => Err(Failure::new(ExitCode::Io, error.to_string()).at(self
                .options
                .cache_dir
                .display()
                .to_string())),
            _ => filled,
        }
    }

    async fn shard(&self, mailbox: Mailbox<Mail>) -> Result<(Rc<Shard>, Rc<AssetStore>), Failure> {
        let options = &self.options;
        let pool = BufPool::new(bufpool::Options { budget_bytes: options.memory_bytes });
        let (dir, size_bytes) = (options.cache_dir.clone(), options.cache_bytes);
        let storage =
            storage::Options { dir, format: self.format, size_bytes, shard: 0, shards: 1 };
        let volumes = Volumes::open(&storage, &Device::Dma, pool.clone()).await;
        let volumes = volumes.map_err(|error| Failure::from(server::Error::from(error)))?;
        let route = Route { volumes: volumes.count(), shards: 1 };
        let store = Rc::new(AssetStore::new(options.assets, volumes));
        let client = Client::new(options.net.clone(), &self.roots, Resolver::system());
        let (origins, libraries) = (options.origins.clone(), options.libraries.clone());
        let files = Files::new(Rc::clone(&store), client, origins, libraries);
        let stacks = Stacks::new(options.stacks);
        let shard = Shard::new(route, pool, files, stacks, options.read_ahead_bytes, mailbox);
        Ok((shard, store))
    }
}

/// Why nothing is begun.
fn refused(refused: Refused) -> Failure {
    match &refused {
        Refused::Unread { of, refusal } => failure(refusal, &of.to_string()),
        Refused::Source { .. } | Refused::BadPlaylist { .. } | Refused::NoRoom(_) => {
            Failure::new(ExitCode::Usage, refused.to_string())
        }
        Refused::Cut { .. } | Refused::NotKept(_) => {
            Failure::new(ExitCode::Runtime, refused.to_string())
        }
    }
}

struct Here {
    shard: Rc<Shard>,
    prefetches: Rc<Prefetches>,
    id: u64,
}

impl Watched for Here {
    async fn look(&mut self) -> Result<Value, Failure> {
        let status = self.prefetches.status(self.id);
        let status =
            status.ok_or_else(|| Failure::new(ExitCode::Runtime, "the prefetch is gone"))?;
        Ok(status::json(&status))
    }

    async fn cancel(&mut self) -> Result<(), Failure> {
        let cancelled = self.prefetches.cancel(&self.shard, self.id).await;
        cancelled.map(drop).map_err(|error| Failure::new(ExitCode::Io, error.to_string()))
    }
}
