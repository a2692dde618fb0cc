//! `/v1/prefetch`: sources that the operator wants in the cache.

use http::{
    Response, StatusCode,
    header::{CACHE_CONTROL, LOCATION},
};

use super::{
    explain::of_file,
    http::{Desk, LISTED_PREFETCHES, json, no_content, set},
    problem::{Kind, Problem},
    wire::Body,
};
use crate::prefetch::{BadSpec, NoRoom, NotKept, Prefetches, Refused, Spec, check, status};

/// When to come back to a full queue, in seconds: a few songs are done by then.
const FULL_SECONDS: u32 = 10;

/// Takes a prefetch in.
pub(super) async fn accept(desk: &Desk, sent: &[u8]) -> Result<Response<Body>, Problem> {
    let (shard, prefetches) = (&desk.shard, prefetches(desk)?);
    if shard.gate.is_closed() {
        return Err(Problem::draining());
    }
    let spec = Spec::parse(sent, |name| shard.files.is_library(name)).map_err(of_spec)?;
    check(shard, &spec).map_err(of_refused)?;
    let id = prefetches.accept(spec).await.map_err(of_refused)?;
    let status = prefetches.status(id).ok_or_else(Problem::internal)?;
    let mut response = document(&status::json(&status));
    *response.status_mut() = StatusCode::ACCEPTED;
    set(response.headers_mut(), LOCATION, &format!("/v1/prefetch/{id}"));
    Ok(response)
}

/// The youngest prefetches.
pub(super) fn list(desk: &Desk) -> Result<Response<Body>, Problem> {
    let prefetches = prefetches(desk)?;
    let listed = prefetches.list(LISTED_PREFETCHES);
    Ok(document(&status::list(listed, prefetches.counts())))
}

/// How far one of them is.
pub(super) fn status(desk: &Desk, id: &str) -> Result<Response<Body>, Problem> {
    let prefetches = prefetches(desk)?;
    let status = number(id).and_then(|number| prefetches.status(number));
    Ok(document(&status::json(&status.ok_or_else(|| no_such(id))?)))
}

/// Ends one of them.
pub(super) async fn cancel(desk: &Desk, id: &str) -> Result<Response<Body>, Problem> {
    let number = number(id).ok_or_else(|| no_such(id))?;
    match prefetches(desk)?.cancel(&desk.shard, number).await {
        Ok(true) => Ok(no_content()),
        Ok(false) => Err(no_such(id)),
        Err(not_kept) => Err(of_refused(not_kept.into())),
    }
}

fn document(value: &serde_json::Value) -> Response<Body> {
    let mut response = json(format!("{value:#}\n"));
    set(response.headers_mut(), CACHE_CONTROL, "no-store");
    response
}

fn prefetches(desk: &Desk) -> Result<&Prefetches, Problem> {
    desk.prefetches
        .as_deref()
        .map_err(|why| Problem::new(Kind::Conflict, format!("prefetching {why}")))
}

/// A number as it is written, and in no other way.
fn number(id: &str) -> Option<u64> {
    let number: u64 = id.parse().ok()?;
    (number.to_string() == id).then_some(number)
}

fn no_such(id: &str) -> Problem {
    Problem::no_such("prefetch", id).hint("see /v1/prefetch")
}

fn of_spec(why: BadSpec) -> Problem {
    match why {
        BadSpec::Url(_) => Problem::free_url(),
        why => Problem::new(Kind::Parameter, why.to_string()).hint(why.hint()),
    }
}

fn of_refused(refused: Refused) -> Problem {
    match refused {
        Refused::NoRoom(NoRoom::Now) => Problem::busy("another prefetch", FULL_SECONDS)
            .hint("`limits.prefetch_queue` is how many sources may wait"),
        Refused::NoRoom(why @ NoRoom::Never) => Problem::new(Kind::Parameter, why.to_string())
            .hint("ask for fewer at a time; `limits.prefetch_queue` is how many sources may wait"),
        Refused::NotKept(why @ NotKept) => {
            Problem::new(Kind::Busy, why.to_string()).retry_after(FULL_SECONDS)
        }
        Refused::Source { of, error } => of_file(&error, &of),
    }
}
