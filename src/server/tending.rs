//! The operator's errands on the cache, carried out by the shards that own the volumes.
//!
//! The command line does the same on a cache that no node has open, by a shard of its own.

use std::rc::Rc;

use http::Method;
use serde_json::Value;

use super::{
    assets::{
        Cursor, Errand, Page, Target, cache_json, one_json, page_json, problem_of, report_json,
    },
    explain,
    problem::{Kind, Problem},
};
use crate::{
    assets::{Act, Prefix, Report, Walk},
    file,
    pcm::SourceName,
    runtime::ShardId,
    shard::{Chore, Done, Reach, Refusal, Shard, Undone},
    storage::{ObjectId, VolumeIndex},
};

/// Objects that a page looks at over all volumes, about: each is a read.
const LOOKED_AT: usize = 1000;

/// The answer to a request about the cache: a document, or `None` where it was done and there is
/// nothing to say. `target` is a path with its query.
///
/// # Errors
/// What is wrong with the request, or why it is not done.
pub async fn tend(
    shard: &Rc<Shard>,
    method: &Method,
    target: &str,
) -> Result<Option<Value>, Problem> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let errand = Errand::of(method, path, query)?.ok_or_else(Problem::no_such_path)?;
    carry_out(shard, errand).await
}

/// The same for a request that was read.
pub(super) async fn carry_out(shard: &Rc<Shard>, errand: Errand) -> Result<Option<Value>, Problem> {
    match errand {
        Errand::Page(page) => walk(shard, page).await.map(Some),
        Errand::Verify { after, repair } => verify(shard, after, repair).await.map(Some),
        Errand::Look(target) => {
            let id = resolve(shard, target)?;
            match one(shard, id, Chore::Look(id)).await? {
                Done::Looked(listed) => Ok(Some(one_json(&listed, place(shard, id)))),
                _ => Err(Problem::internal()),
            }
        }
        Errand::Purge(target) => {
            let (reach, id) = (reach(&target), resolve(shard, target)?);
            one(shard, id, Chore::Purge(id, reach)).await?;
            tracing::info!(%id, "purged");
            Ok(None)
        }
        Errand::Invalidate(target) => {
            let (reach, id) = (reach(&target), resolve(shard, target)?);
            one(shard, id, Chore::Invalidate(id, reach)).await?;
            tracing::info!(%id, "invalidated");
            Ok(None)
        }
        Errand::Pin(target, pinned) => {
            let id = resolve(shard, target)?;
            one(shard, id, Chore::Pin(id, pinned)).await?;
            tracing::info!(%id, "{}", if pinned { "pinned" } else { "unpinned" });
            Ok(None)
        }
        Errand::Cache => cache(shard).await.map(Some),
        Errand::Options(_) => Ok(None),
    }
}

async fn one(shard: &Rc<Shard>, id: ObjectId, chore: Chore) -> Result<Done, Problem> {
    let owner = shard.owner_of(id.volume(shard.route.volumes));
    shard.chore(owner, chore).await.map_err(problem_of)
}

/// The volume of an object, and the shard that has it.
fn place(shard: &Shard, id: ObjectId) -> (u32, u16) {
    let volume = id.volume(shard.route.volumes);
    (volume.0, shard.owner_of(volume).0)
}

/// A source or a URL is all that answers to it; an id is one object of them.
fn reach(target: &Target) -> Reach {
    match target {
        Target::Id(_) => Reach::Object,
        Target::Url(_) | Target::Source { .. } => Reach::Url,
    }
}

fn resolve(shard: &Shard, target: Target) -> Result<ObjectId, Problem> {
    match target {
        Target::Id(id) => Ok(id),
        Target::Url(url) => Ok(shard.files.key_of_url(&url).id),
        Target::Source { name, path } => {
            if shard.files.is_library(&name) {
                return Err(in_place(&name));
            }
            let key = shard.files.key(&name, &path);
            Ok(key.map_err(|error| no_source(error, &name, &path))?.id)
        }
    }
}

fn no_source(error: file::Error, name: &str, path: &str) -> Problem {
    let source = SourceName { name: name.to_owned(), path: path.to_owned(), is_file: false };
    explain::problem_of(&Refusal::File(error), &source)
}

fn in_place(library: &str) -> Problem {
    Problem::new(Kind::Parameter, format!("`{library}` is a library"))
        .hint("its files are read in place; nothing of them is cached")
}

/// How URLs begin: as it is written, or what lies below a `NAME:path`.
fn url_prefix(shard: &Shard, prefix: &str) -> Result<Prefix, Problem> {
    let as_written = || Ok(Prefix::Text(prefix.to_owned()));
    let Some((name, path)) = prefix.split_once(':') else { return as_written() };
    if ["http", "https"].contains(&name) {
        return as_written();
    }
    if shard.files.is_library(name) {
        return Err(in_place(name));
    }
    let path_url = shard.files.url_prefix(name, path);
    path_url.map(Prefix::Path).map_err(|error| no_source(error, name, path))
}

async fn walk(shard: &Rc<Shard>, page: Page) -> Result<Value, Problem> {
    let volumes = shard.route.volumes;
    let mut filter = page.filter.clone();
    filter.prefix = page.prefix.as_deref().map(|text| url_prefix(shard, text)).transpose()?;
    let (mut volume, mut from) = page.start(volumes);
    let (mut assets, mut looked_at) = (Vec::new(), 0);
    while volume.0 < volumes && assets.len() < page.limit && looked_at < LOOKED_AT {
        let most = page.limit - assets.len();
        let walk = Walk { volume, from, most, filter: filter.clone(), act: page.act };
        let met = shard.chore(shard.owner_of(volume), Chore::Walk(walk)).await;
        let met = match met {
            Ok(Done::Walked(met)) => met,
            Ok(_) => return Err(Problem::internal()),
            // What is done is told, where to go on is known: who goes on meets the trouble first.
            Err(Undone::Memory) if !assets.is_empty() => break,
            Err(undone) => return Err(problem_of(undone)),
        };
        looked_at += met.looked_at;
        assets.extend(met.assets);
        (volume, from) = match met.next {
            Some(next) => (volume, next),
            None => (VolumeIndex(volume.0 + 1), page.first()),
        };
    }
    let next = (volume.0 < volumes).then(|| Cursor::at(volume, from, volumes));
    let done = match page.act {
        Act::List => None,
        Act::Purge => Some("purged"),
        Act::Invalidate => Some("invalidated"),
    };
    if let Some(done) = done.filter(|_| !assets.is_empty()) {
        tracing::info!(assets = assets.len(), prefix = page.prefix, "{done}");
    }
    Ok(page_json(&assets, next, |id| place(shard, id)))
}

async fn verify(shard: &Rc<Shard>, after: Option<Cursor>, repair: bool) -> Result<Value, Problem> {
    let (mut volume, mut from) = match after {
        Some(Cursor::Entry { volume, entry, chunk }) => (volume, (entry, chunk)),
        _ => (0, (0, 0)),
    };
    let mut report = Report::default();
    // One chore reads as much as an answer should wait for; empty volumes are none.
    while volume < shard.route.volumes && report.chunks == 0 {
        let chore = Chore::Check { volume: VolumeIndex(volume), from, repair };
        let owner = shard.owner_of(VolumeIndex(volume));
        let part = match shard.chore(owner, chore).await.map_err(problem_of)? {
            Done::Checked(part) => part,
            _ => return Err(Problem::internal()),
        };
        (volume, from) = match part.next {
            Some(next) => (volume, next),
            None => (volume + 1, (0, 0)),
        };
        report.add(part);
    }
    let (entry, chunk) = from;
    let next = (volume < shard.route.volumes).then_some(Cursor::Entry { volume, entry, chunk });
    Ok(report_json(&report, next))
}

async fn cache(shard: &Rc<Shard>) -> Result<Value, Problem> {
    let mut states = Vec::new();
    for owner in 0..shard.route.shards {
        let answered = shard.chore(ShardId(owner), Chore::States).await;
        let of_shard = match answered {
            Ok(Done::States(of_shard)) => Some(of_shard),
            _ => None,
        };
        states.push((owner, of_shard));
    }
    let store = shard.files.store();
    Ok(cache_json(store.volumes().format(), store.policy().name(), &states))
}
