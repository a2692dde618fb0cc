//! A prefetch into a cache directory that no node has open.

use std::rc::Rc;

use serde_json::Value;
use url::Url;

use super::{Watched, watch};
use crate::{
    cli::{
        ExitCode, Failure, PrefetchArgs, machine,
        offline::{free_origin, on_a_shard},
        serve,
    },
    config::{Config, Size},
    net,
    pcm::SourceName,
    prefetch::{Prefetches, Refused, Spec, check, status},
    runtime::{self, Queue, signals::Signals},
    server::{self, Cache},
    shard::Shard,
    storage::Directory,
};

/// Fills the cache directory of `config`.
pub(super) fn run(args: &PrefetchArgs, config: &Config) -> Result<ExitCode, Failure> {
    let mut options = serve::options(config)?;
    let spec = spec(args, &mut options)?;
    if options.cache_bytes == 0 {
        return Err(Failure::new(ExitCode::Config, "the cache is off, so nothing can be kept")
            .at("[cache] size"));
    }
    let holds = machine::used_bytes(&options.cache_dir, 2);
    if holds > options.cache_bytes {
        // A node is started with the size that is meant; a command may just not have been told.
        let (holds, size) = (Size(holds), Size(options.cache_bytes));
        let what = format!("the cache takes {holds} on disk, and may take {size} here");
        return Err(Failure::new(ExitCode::Config, what)
            .at(options.cache_dir.display().to_string())
            .hint("give the size that its node has, by --config or --cache-size"));
    }
    // Held until everything is durable.
    let directory = Directory::lock(&options.cache_dir, options.cache_bytes);
    let directory = directory.map_err(|error| Failure::from(server::Error::from(error)))?;
    let signals = Signals::install(1).map_err(server::Error::from)?;
    let (limits, lists) = (options.prefetch, options.lists);
    on_a_shard(options, Cache::Sized(directory.format()), move |shard| async move {
        let mut signals = signals.on(shard.id).map_err(server::Error::from)?;
        let prefetches = Prefetches::in_memory(limits, lists);
        let running = Rc::clone(&prefetches).run(Rc::clone(&shard));
        let running = runtime::spawn(Queue::Background, "prefetches", running);
        let filled = async {
            check(&shard, &spec).map_err(refused)?;
            let id = prefetches.accept(spec).await.map_err(refused)?;
            let here = Here { shard: Rc::clone(&shard), prefetches: Rc::clone(&prefetches), id };
            watch(here, async move { signals.next().await }).await
        };
        let filled = filled.await;
        prefetches.close();
        shard.drain();
        // They have ended or panicked; either was logged.
        let _ = running.await;
        filled
    })
}

/// What is asked for. A URL is a source of the origin that it lies below, so that a node finds it
/// in the cache; one of none becomes an origin of its own.
fn spec(args: &PrefetchArgs, options: &mut server::Options) -> Result<Spec, Failure> {
    let mut sources = Vec::with_capacity(args.sources.len());
    for text in &args.sources {
        sources.push(source(text, options)?);
    }
    let spec = Spec { variants: args.variants, decode: args.decode, ..Spec::of(sources) };
    let spec = spec.with_ranges(&args.ranges);
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
        if let Some(origin) = net::nearest(options.origins.iter(), &url) {
            return Ok(named(&origin.name, &url.as_str()[origin.base.as_str().len()..]));
        }
        let (mut origin, path) = free_origin(&url)?;
        // Each has a name of its own, with a dot as no configured one.
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

/// Why nothing is begun.
fn refused(refused: Refused) -> Failure {
    let code = match &refused {
        Refused::Source { .. } | Refused::NoRoom(_) => ExitCode::Usage,
        Refused::NotKept(_) => ExitCode::Runtime,
    };
    Failure::new(code, refused.to_string())
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
