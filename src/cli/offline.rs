//! The one shard of a command, without a server, and what it opens as a source.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
    sync::mpsc,
};

use url::Url;

use super::{ExitCode, Failure, doctor::enough_files, serve};
use crate::{
    config::{Config, Merged},
    file::{self, Library},
    hls,
    net::{self, Origin},
    pcm::{self, SourceName, timeline},
    runtime::{self, ShardId, mailbox::Mesh},
    server::{self, Cache, Life, Together, problem},
    shard::{MAILBOX, Refusal, Shard},
    storage::Failure as Cause,
};

/// What a local file's directory, or a free URL's host, is called among the sources. No configured
/// name has a dot in it.
const HERE: &str = "typed.here";

/// A source as a person types it, and what makes it one: `NAME:path`, an HTTP URL, or a local file.
pub(super) struct Found {
    /// Its name for the shard.
    pub source: SourceName,
    /// What a person typed, without a query, which may hold a secret.
    pub shown: String,
    /// The file that it is, where it is one of this machine.
    pub file: Option<PathBuf>,
    options: server::Options,
}

impl Found {
    /// Looks what `text` is.
    ///
    /// # Errors
    /// Neither a configured source, nor a URL, nor a file.
    pub(super) fn new(text: &str, merged: &Merged) -> Result<Self, Failure> {
        let config: &Config = &merged.config;
        let mut options = serve::options(config)?;
        if let Ok(url) = Url::parse(text)
            && ["http", "https"].contains(&url.scheme())
        {
            let (origin, path) = free_origin(&url)?;
            options.origins.push(origin);
            let shown = text.split(['?', '#']).next().unwrap_or_default().to_owned();
            return Ok(Self { source: named(HERE, &path, false), shown, file: None, options });
        }
        if let Some((name, path)) = text.split_once(':')
            && (config.origin.contains_key(name) || config.library.contains_key(name))
        {
            let source = named(name, path, !config.origin.contains_key(name));
            let file = config.library.get(name).map(|library| library.dir.join(path));
            return Ok(Self { shown: source.to_string(), source, file, options });
        }
        let (dir, name) = local(Path::new(text)).ok_or_else(|| {
            Failure::new(ExitCode::Usage, format!("`{text}` is no file"))
                .hint("give a local file, an http(s) URL, or NAME:path with --origin or --library")
        })?;
        let file = Some(Path::new(&dir).join(&name));
        options.libraries.push(Library { name: HERE.to_owned(), dir: dir.into() });
        Ok(Self { source: named(HERE, &name, true), shown: text.to_owned(), file, options })
    }

    /// Runs `work` on a shard that can open the source; nothing is left on disk.
    ///
    /// # Errors
    /// What `work` failed by, or what kept the shard from starting.
    pub(super) fn run<T, F, Fut>(self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Shard>, SourceName) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<T, Failure>> + 'static,
    {
        let Self { source, options, .. } = self;
        on_a_shard(options, Cache::Off, move |shard| work(shard, source))
    }
}

/// Runs `work` on a shard that has these options and this cache. What it did to that is durable when
/// this returns.
///
/// # Errors
/// What `work` failed by, or what kept the shard from starting.
pub(super) fn on_a_shard<T, F, Fut>(
    options: server::Options,
    cache: Cache,
    work: F,
) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce(Rc<Shard>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<T, Failure>> + 'static,
{
    enough_files(cache.format().map_or(0, |format| format.volumes))?;
    // Reading the machine's certificates takes longer than a second of audio.
    let roots = match options.origins.is_empty() {
        true => net::Roots::only([]).expect("nothing is readable"),
        false => net::Roots::load(),
    };
    let options = server::Options { runtime: one_core(), ..options };
    let mesh = Mesh::new(1, MAILBOX);
    on_a_core(async move |id| {
        let mailbox = mesh.join(id).await;
        let life = Life::begin(&options, cache, &roots, mailbox, &Together::new(1)).await?;
        let shard = Rc::clone(&life.shard);
        let worked = work(Rc::clone(&shard)).await;
        shard.files.close();
        shard.gate.empty().await;
        let kept = life.end().await.map_err(|error| {
            Failure::new(ExitCode::Io, format!("the cache cannot be made durable: {error}"))
                .at(options.cache_dir.display().to_string())
        });
        worked.and_then(|done| kept.map(|()| done))
    })
}

/// Runs `work` on the one executor of a command.
///
/// # Errors
/// What `work` failed by, or what kept the executor from starting.
pub(super) fn on_a_core<T, F>(work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: AsyncFnOnce(ShardId) -> Result<T, Failure> + Clone + Send + 'static,
{
    let (result, outcome) = mpsc::channel();
    runtime::run(one_core(), move |id| {
        let (work, result) = (work.clone(), result.clone());
        async move {
            // The receiver lives until all shards have ended.
            let _ = result.send(work(id).await);
        }
    })
    .map_err(server::Error::from)?;
    outcome.recv().unwrap_or_else(|_| Err(Failure::new(ExitCode::Runtime, "the shard ended")))
}

fn one_core() -> runtime::Options {
    runtime::Options { shards: 1, ..runtime::Options::default() }
}

/// The host of a URL as an origin, and the rest as a path of it. Who types a URL means its address,
/// whatever that is.
pub(super) fn free_origin(url: &Url) -> Result<(Origin, String), Failure> {
    let mut base = url.clone();
    base.set_path("/");
    base.set_query(None);
    base.set_fragment(None);
    let bad =
        |error: net::BadBase| Failure::new(ExitCode::Usage, error.to_string()).at(url.as_str());
    let origin = Origin::new(HERE, base).map_err(bad)?.allow_literal().free();
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = url.path().strip_prefix('/').unwrap_or(url.path());
    Ok((origin, format!("{path}{query}")))
}

fn local(path: &Path) -> Option<(String, String)> {
    let path = path.canonicalize().ok().filter(|path| path.is_file())?;
    let name = path.file_name()?.to_str()?.to_owned();
    Some((path.parent()?.to_str()?.to_owned(), name))
}

fn named(name: &str, path: &str, is_file: bool) -> SourceName {
    SourceName { name: name.to_owned(), path: path.to_owned(), is_file }
}

/// Why the source that was typed as `shown` gave nothing, as the command line says it.
pub(super) fn failure(refusal: &Refusal, shown: &str) -> Failure {
    let failure = Failure::new(code_of(refusal), refusal.to_string()).at(shown);
    match refusal {
        Refusal::Pcm(pcm::Error::Timeline(timeline::Error::PastEnd { duration })) => {
            failure.hint(format!("--start takes {}", problem::starts_within(duration)))
        }
        _ => failure,
    }
}

fn code_of(refusal: &Refusal) -> ExitCode {
    match refusal {
        Refusal::File(file::Error::Source(cause)) | Refusal::Pcm(pcm::Error::Source(cause)) => {
            code_of_cause(hls::Missing::reason(cause))
        }
        Refusal::File(file::Error::NotPermitted | file::Error::Unreadable(_)) => ExitCode::Io,
        // By HTTP these are 400: the arguments do not fit the source.
        Refusal::Pcm(pcm::Error::Timeline(_) | pcm::Error::Spec(_)) => ExitCode::Usage,
        _ => ExitCode::Runtime,
    }
}

fn code_of_cause(cause: &Cause) -> ExitCode {
    // What a presentation needs was refused to the node itself.
    if let Some(refusal) = cause.cause::<Refusal>() {
        return code_of(refusal);
    }
    match cause.cause::<net::Error>() {
        Some(error) if error.is_unreachable() => ExitCode::Unavailable,
        Some(_) => ExitCode::Runtime,
        None => ExitCode::Io,
    }
}
