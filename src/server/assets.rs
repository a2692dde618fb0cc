//! What the operator asks of the cache, and how the answers look.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! | request | is |
//! |---|---|
//! | `GET /v1/assets?limit=&after=&prefix=&pinned=&complete=` | a page of what there is |
//! | `DELETE /v1/assets?prefix=` | a purge of a page of it; `all=true` for all |
//! | `POST /v1/assets/invalidate?prefix=` | the same, to be asked for at the origin |
//! | `POST /v1/assets/verify?repair=true` | a check of a page of it |
//! | `GET`, `DELETE /v1/assets/ID` | one; its purge |
//! | `POST /v1/assets/ID/invalidate` | one, to be asked for at its origin |
//! | `PUT`, `DELETE /v1/assets/ID/pin` | one, not to be evicted, or to be again |
//! | `GET /v1/cache` | what the cache is, by volume |
//!
//! `ID` is the id of a list, or a source (`NAME:path`) or a URL, percent-encoded as one segment. By a
//! source or a URL all its answers are purged or invalidated, by an id the one; a pin holds for all. A page
//! is bounded by what it looks at, so it may be empty and not the last: `next` is the `after` of the
//! next one, and null after the last.

use std::{fmt, ops::Range, str::FromStr};

use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use url::Url;

use super::{
    problem::{Kind, Problem},
    request::{Query, number},
};
use crate::{
    assets::{Act, Filter, Listed, NotPinned, Report, Spot},
    shard::Undone,
    storage::{BLOCK_BYTES, CHUNK_BYTES, Fault, Format, ObjectId, State, VolumeIndex},
};

/// Assets of a page, where nothing else is asked for, and at most.
const LIMIT: usize = 100;
const LIMIT_MOST: usize = 1000;

/// How often a disk that failed is tried again.
const DISK_SECONDS: u32 = 10;

const ALLOW_LIST: &str = "GET, HEAD, DELETE, OPTIONS";
const ALLOW_ONE: &str = ALLOW_LIST;
const ALLOW_ACTION: &str = "POST, OPTIONS";
const ALLOW_PIN: &str = "PUT, DELETE, OPTIONS";
const ALLOW_READ: &str = "GET, HEAD, OPTIONS";

/// What the operator asks of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// A page of the assets, told or done something to.
    Page(Page),
    /// A check of what lies there, from `after` on.
    Verify {
        /// Where to go on.
        after: Option<Cursor>,
        /// Whether what is not sound is dropped.
        repair: bool,
    },
    /// What there is of one.
    Look(Target),
    /// Its purge.
    Purge(Target),
    /// To be asked for at its origin.
    Invalidate(Target),
    /// Not to be evicted, or to be again.
    Pin(Target, bool),
    /// What the cache is.
    Cache,
    /// OPTIONS: this `Allow`.
    Options(&'static str),
}

/// A page of the assets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most so many.
    pub limit: usize,
    /// Where to go on.
    pub after: Option<Cursor>,
    /// Those whose URL begins so, or this `NAME:path` and what lies below it.
    pub prefix: Option<String>,
    /// The other conditions.
    pub filter: Filter,
    /// What is done to them.
    pub act: Act,
}

/// Which asset is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// By its id.
    Id(ObjectId),
    /// By its URL.
    Url(Url),
    /// By its source.
    Source {
        /// Of the origin.
        name: String,
        /// What follows the colon.
        path: String,
    },
}

/// Where a list of all volumes stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// Before the object of a number in a volume, and there before a chunk, where one checks.
    Entry {
        /// Which volume.
        volume: u32,
        /// Which object.
        entry: u32,
        /// Which chunk.
        chunk: u32,
    },
    /// Before a name, where the list is of those that are pinned. It names its volume.
    Pin(ObjectId),
}

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { volume, entry, chunk: 0 } => write!(f, "{volume}-{entry}"),
            Self::Entry { volume, entry, chunk } => write!(f, "{volume}-{entry}-{chunk}"),
            Self::Pin(id) => write!(f, "{id}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    /// Takes what `Display` writes and nothing else.
    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let cursor = match id(text) {
            Some(id) => Self::Pin(id),
            None => {
                let mut numbers = text.splitn(3, '-').map(number::<u32>);
                let mut next = || numbers.next().flatten();
                let (volume, entry) = (next().ok_or(NoCursor)?, next().ok_or(NoCursor)?);
                Self::Entry { volume, entry, chunk: next().unwrap_or(0) }
            }
        };
        if cursor.to_string() == text { Ok(cursor) } else { Err(NoCursor) }
    }
}

/// 32 hexadecimal digits, as `Display` writes them.
fn id(text: &str) -> Option<ObjectId> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_id = text.len() == 32 && text.bytes().all(is_digit);
    is_id.then(|| u128::from_str_radix(text, 16).ok().map(ObjectId))?
}

impl FromStr for Target {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        if let Some(id) = id(text) {
            return Ok(Self::Id(id));
        }
        let bad = || {
            Problem::bad_parameter("id", text, "the id of an asset, NAME:path, or an http(s) URL")
        };
        let (name, path) = text.split_once(':').ok_or_else(bad)?;
        if ["http", "https"].contains(&name) {
            return Url::parse(text).map(Self::Url).map_err(|_| bad());
        }
        if name.is_empty() || path.is_empty() || path.starts_with('/') {
            return Err(bad());
        }
        Ok(Self::Source { name: name.to_owned(), path: path.to_owned() })
    }
}

const AFTER: &str = "the `next` of the page before";
const LIMITS: &str = "a number from 1 to 1000";
const BOOLEANS: &str = "true or false";
const PREFIXES: &str = "how URLs begin, or NAME:path";

impl Errand {
    /// What a request asks for; `None` where its path is none of the cache's.
    ///
    /// # Errors
    /// 400 with the parameter and what it takes, 404 for a path that is nothing, 405 with `Allow`.
    pub fn of(method: &Method, path: &str, query: &str) -> Result<Option<Self>, Problem> {
        let rest = match path.strip_prefix("/v1/assets") {
            Some("") => return Self::of_list(method, query).map(Some),
            Some(rest) => rest.strip_prefix('/'),
            None if path == "/v1/cache" => {
                return match is_read(method, ALLOW_READ)? {
                    true => Query::parse(query, &[]).map(|_| Some(Self::Cache)),
                    false => Ok(Some(Self::Options(ALLOW_READ))),
                };
            }
            None => None,
        };
        rest.map(|rest| Self::of_one(method, rest, query)).transpose()
    }

    fn of_list(method: &Method, query: &str) -> Result<Self, Problem> {
        match *method {
            Method::GET | Method::HEAD => page(query, Act::List).map(Self::Page),
            Method::DELETE => page(query, Act::Purge).map(Self::Page),
            Method::OPTIONS => Ok(Self::Options(ALLOW_LIST)),
            _ => Err(Problem::method_not_allowed(ALLOW_LIST)),
        }
    }

    fn of_one(method: &Method, rest: &str, query: &str) -> Result<Self, Problem> {
        match rest {
            "invalidate" | "verify" if *method == Method::OPTIONS => {
                return Ok(Self::Options(ALLOW_ACTION));
            }
            "invalidate" | "verify" if *method != Method::POST => {
                return Err(Problem::method_not_allowed(ALLOW_ACTION));
            }
            "invalidate" => return page(query, Act::Invalidate).map(Self::Page),
            "verify" => return verify(query),
            _ => {}
        }
        let (segment, action) = match rest.split_once('/') {
            Some((segment, action)) => (segment, Some(action)),
            None => (rest, None),
        };
        let (errand, allow): (fn(&Method, Target) -> Option<Self>, _) = match action {
            None => (one, ALLOW_ONE),
            Some("pin") => (pin, ALLOW_PIN),
            Some("invalidate") => (invalidate, ALLOW_ACTION),
            Some(_) => {
                return Err(Problem::no_such_path()
                    .hint("an asset is named by one segment: write the slashes in it as %2F"));
            }
        };
        if *method == Method::OPTIONS {
            return Ok(Self::Options(allow));
        }
        Query::parse(query, &[])?;
        let decoded = percent_decode_str(segment).decode_utf8();
        let decoded = decoded.map_err(|_| Problem::bad_parameter("id", segment, "UTF-8"))?;
        errand(method, decoded.parse()?).ok_or_else(|| Problem::method_not_allowed(allow))
    }
}

/// Whether it is to be read; else it is OPTIONS.
fn is_read(method: &Method, allow: &'static str) -> Result<bool, Problem> {
    match *method {
        Method::GET | Method::HEAD => Ok(true),
        Method::OPTIONS => Ok(false),
        _ => Err(Problem::method_not_allowed(allow)),
    }
}

fn one(method: &Method, target: Target) -> Option<Errand> {
    match *method {
        Method::GET | Method::HEAD => Some(Errand::Look(target)),
        Method::DELETE => Some(Errand::Purge(target)),
        _ => None,
    }
}

fn pin(method: &Method, target: Target) -> Option<Errand> {
    match *method {
        Method::PUT => Some(Errand::Pin(target, true)),
        Method::DELETE => Some(Errand::Pin(target, false)),
        _ => None,
    }
}

fn invalidate(method: &Method, target: Target) -> Option<Errand> {
    (*method == Method::POST).then_some(Errand::Invalidate(target))
}

fn page(query: &str, act: Act) -> Result<Page, Problem> {
    let known: &[_] = match act {
        Act::List => &["limit", "after", "prefix", "pinned", "complete"],
        Act::Purge | Act::Invalidate => &["limit", "after", "prefix", "pinned", "complete", "all"],
    };
    let query = Query::parse(query, known)?;
    let limit = |text: &str| number(text).filter(|limit| (1..=LIMIT_MOST).contains(limit));
    let prefix = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let page = Page {
        limit: query.read("limit", LIMITS, limit)?.unwrap_or(LIMIT),
        after: query.read("after", AFTER, |text| text.parse().ok())?,
        prefix: query.read("prefix", PREFIXES, prefix)?,
        filter: Filter {
            prefix: None,
            pinned: query.read("pinned", BOOLEANS, boolean)?,
            complete: query.read("complete", BOOLEANS, boolean)?,
        },
        act,
    };
    let all = query.read("all", "true", |text| (text == "true").then_some(()))?;
    // A script whose variable is empty must not empty the cache.
    if act != Act::List && page.prefix.is_none() && all.is_none() {
        let problem = Problem::missing_parameter("prefix", PREFIXES);
        return Err(problem.hint("give `prefix`, or `all=true` for the whole cache"));
    }
    let fits = match page.after {
        Some(Cursor::Pin(_)) => page.filter.pinned == Some(true),
        Some(Cursor::Entry { chunk, .. }) => page.filter.pinned != Some(true) && chunk == 0,
        None => true,
    };
    match fits {
        true => Ok(page),
        false => Err(Problem::bad_parameter("after", "of another list", AFTER)),
    }
}

fn verify(query: &str) -> Result<Errand, Problem> {
    let query = Query::parse(query, &["after", "repair"])?;
    let entry = |text: &str| text.parse().ok().filter(|at| matches!(at, Cursor::Entry { .. }));
    Ok(Errand::Verify {
        after: query.read("after", AFTER, entry)?,
        repair: query.read("repair", BOOLEANS, boolean)?.unwrap_or(false),
    })
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

impl Page {
    /// Where it begins: the volume and the place in it, where there are `volumes`.
    pub fn start(&self, volumes: u32) -> (VolumeIndex, Spot) {
        match self.after {
            Some(Cursor::Entry { volume, entry, .. }) => (VolumeIndex(volume), Spot::Entry(entry)),
            Some(Cursor::Pin(id)) => (id.volume(volumes), Spot::Pin(id)),
            None => (VolumeIndex(0), self.first()),
        }
    }

    /// Where a volume begins.
    pub fn first(&self) -> Spot {
        match self.filter.pinned {
            Some(true) => Spot::Pin(ObjectId(0)),
            _ => Spot::Entry(0),
        }
    }
}

impl Cursor {
    /// That of a place in a volume; of its pins, only one that is there names the volume.
    pub fn at(volume: VolumeIndex, spot: Spot, volumes: u32) -> Self {
        match spot {
            Spot::Entry(entry) => Self::Entry { volume: volume.0, entry, chunk: 0 },
            // The least name of that volume.
            Spot::Pin(ObjectId(0)) => Self::Pin(ObjectId((volume.0 % volumes).into())),
            Spot::Pin(id) => Self::Pin(id),
        }
    }
}

// ---- how the answers look ----

/// A page: what was met, and where to go on.
pub(super) fn page_json(
    assets: &[Listed],
    next: Option<Cursor>,
    owner: impl Fn(ObjectId) -> (u32, u16),
) -> Value {
    let assets: Vec<_> = assets.iter().map(|asset| asset_json(asset, owner(asset.id))).collect();
    json!({ "assets": assets, "next": next.map(|next| next.to_string()) })
}

/// One asset, with the ranges of it that are here.
pub(super) fn one_json(asset: &Listed, owner: (u32, u16)) -> Value {
    let mut value = asset_json(asset, owner);
    let ranges: Vec<_> = asset.present.iter().map(|Range { start, end }| [start, end]).collect();
    value["present"] = json!(ranges);
    value
}

fn asset_json(asset: &Listed, (volume, shard): (u32, u16)) -> Value {
    let cached = asset.generation.is_some();
    json!({
        "id": asset.id.to_string(),
        "url": asset.url,
        "generation": asset.generation.map(|generation| generation.to_string()),
        "length": asset.length,
        "present_bytes": asset.present_bytes,
        "stored_bytes": asset.stored_bytes,
        "complete": asset.is_complete(),
        "pinned": asset.is_pinned,
        "filling": asset.is_filling,
        "readers": asset.readers,
        "born_unix_ms": cached.then_some(asset.born.saturating_mul(1000)),
        "expires_unix_ms": cached.then_some(asset.expires.saturating_mul(1000)),
        "validator": asset.validator,
        "volume": volume,
        "shard": shard,
    })
}

/// What a check found so far.
pub(super) fn report_json(report: &Report, next: Option<Cursor>) -> Value {
    let fault = |(url, fault): &(Option<String>, Fault)| {
        let Fault { object, bytes, is_unreadable, is_dropped } = fault;
        json!({
            "id": object.to_string(),
            "url": url,
            "bytes": bytes.as_ref().map(|bytes| [bytes.start, bytes.end]),
            "problem": if *is_unreadable { "unreadable" } else { "rotten" },
            "dropped": is_dropped,
        })
    };
    json!({
        "objects": report.objects,
        "chunks": report.chunks,
        "bytes": report.bytes,
        "faults": report.faults.iter().map(fault).collect::<Vec<_>>(),
        "unread_volumes": report.unread_volumes.iter().map(|volume| volume.0).collect::<Vec<_>>(),
        "lost_pages": report.lost_pages,
        "renewed_pages": report.renewed_pages,
        "next": next.map(|next| next.to_string()),
    })
}

/// The volumes of a shard; `None` where it did not answer.
pub(super) type States = Option<Vec<(VolumeIndex, State)>>;

/// What the cache is, by what each shard said.
pub(super) fn cache_json(format: Option<Format>, policy: &str, states: &[(u16, States)]) -> Value {
    let silent = states.iter().filter(|(_, states)| states.is_none()).map(|(shard, _)| *shard);
    let silent: Vec<_> = silent.collect();
    let of_shard = |(shard, states): &(u16, States)| {
        let shard = *shard;
        let states = states.clone().unwrap_or_default();
        states.into_iter().map(move |(volume, state): (VolumeIndex, State)| (volume, shard, state))
    };
    let mut volumes: Vec<_> = states.iter().flat_map(of_shard).collect();
    volumes.sort_unstable_by_key(|(volume, ..)| *volume);
    let sum = |of: fn(&State) -> u64| volumes.iter().map(|(.., state)| of(state)).sum::<u64>();
    let volume = |(volume, shard, state): &(VolumeIndex, u16, State)| {
        json!({
            "volume": volume.0,
            "shard": shard,
            "objects": state.objects,
            "chunks": state.chunks,
            "pins": state.pins,
            "used_bytes": state.used_bytes,
            "free_bytes": state.free_bytes,
            "bad_bytes": state.bad_bytes,
            "journal_bytes": state.journal_bytes,
            "off": state.is_off,
            "full": state.is_full,
            "unread": state.is_unread,
            "lost_pages": state.lost_pages,
        })
    };
    let format = format.map(|format| {
        json!({
            "version": Format::VERSION,
            "uuid": format!("{:032x}", format.uuid),
            "volumes": format.volumes,
            "block_bytes": BLOCK_BYTES,
            "chunk_bytes": CHUNK_BYTES,
        })
    });
    json!({
        "format": format,
        "policy": policy,
        "objects": sum(|state| state.objects),
        "chunks": sum(|state| state.chunks),
        "pins": sum(|state| state.pins),
        "used_bytes": sum(|state| state.used_bytes),
        "free_bytes": sum(|state| state.free_bytes),
        "journal_bytes": sum(|state| state.journal_bytes),
        "volumes": volumes.iter().map(volume).collect::<Vec<_>>(),
        "silent_shards": silent,
    })
}

/// Why a chore was not done, as a problem.
pub(super) fn problem_of(undone: Undone) -> Problem {
    let busy = Problem::new(Kind::Busy, undone.to_string());
    match undone {
        Undone::NoObject => Problem::new(Kind::NotFound, undone.to_string()).hint("see /v1/assets"),
        Undone::Draining => Problem::draining(),
        Undone::NotPinned(NotPinned::Device(_)) | Undone::NotDurable(_) => {
            let disk = Problem::new(Kind::Disk, undone.to_string()).retry_after(DISK_SECONDS);
            disk.hint("it is so for now, and may not be after a restart; see /v1/cache")
        }
        Undone::NotPinned(_) => busy.hint("see /v1/cache"),
        Undone::Full | Undone::Memory | Undone::Silent => busy.retry_after(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errand(method: Method, target: &str) -> Result<Option<Errand>, Problem> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Errand::of(&method, path, query)
    }

    fn status(method: Method, target: &str) -> u16 {
        errand(method, target).unwrap_err().status()
    }

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn an_asset_is_named_by_its_id_its_source_or_its_url() {
        let id = ObjectId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let look = |segment: &str| errand(Method::GET, &format!("/v1/assets/{segment}"));
        assert_eq!(look(ID), Ok(Some(Errand::Look(Target::Id(id)))));
        let source = Target::Source { name: "music".into(), path: "a/b c.mp3?v=1".into() };
        assert_eq!(look("music:a%2Fb%20c.mp3%3Fv=1"), Ok(Some(Errand::Look(source))));
        let url = Target::Url("https://cdn.example/a".parse().unwrap());
        assert_eq!(look("https:%2F%2Fcdn.example%2Fa"), Ok(Some(Errand::Look(url))));
        for bad in ["", "nonsense", "%ff", ":a", "a:", "a:%2Fb", "http:%2F%2F", &ID[1..]] {
            assert_eq!(look(bad).unwrap_err().status(), 400, "{bad}");
        }
        let problem = look("music:a/b.mp3").unwrap_err();
        assert_eq!(problem.status(), 404);
        assert!(problem.hint.unwrap().contains("%2F"));
    }

    #[test]
    fn methods_are_told_apart_and_named() {
        let id = || Target::Id(super::id(ID).unwrap());
        let of = |method, end: &str| errand(method, &format!("/v1/assets/{ID}{end}")).unwrap();
        assert_eq!(of(Method::DELETE, ""), Some(Errand::Purge(id())));
        assert_eq!(of(Method::PUT, "/pin"), Some(Errand::Pin(id(), true)));
        assert_eq!(of(Method::DELETE, "/pin"), Some(Errand::Pin(id(), false)));
        assert_eq!(of(Method::POST, "/invalidate"), Some(Errand::Invalidate(id())));
        assert_eq!(of(Method::OPTIONS, "/pin"), Some(Errand::Options(ALLOW_PIN)));
        for (method, target, allow) in [
            (Method::PUT, format!("/v1/assets/{ID}"), ALLOW_ONE),
            (Method::GET, format!("/v1/assets/{ID}/pin"), ALLOW_PIN),
            (Method::GET, format!("/v1/assets/{ID}/invalidate"), ALLOW_ACTION),
            (Method::GET, "/v1/assets/verify".into(), ALLOW_ACTION),
            (Method::PUT, "/v1/assets".into(), ALLOW_LIST),
            (Method::POST, "/v1/cache".into(), ALLOW_READ),
        ] {
            let problem = errand(method, &target).unwrap_err();
            assert_eq!((problem.status(), problem.allow), (405, Some(allow)), "{target}");
        }
        for other in ["/v1/assetsx", "/v1/asset", "/v1/cache/", "/v1/caches", "/"] {
            assert_eq!(errand(Method::GET, other), Ok(None), "{other}");
        }
    }

    #[test]
    fn a_purge_of_everything_is_asked_for_by_name() {
        for target in
            ["/v1/assets", "/v1/assets?prefix=", "/v1/assets?all=false", "/v1/assets?all="]
        {
            assert_eq!(status(Method::DELETE, target), 400, "{target}");
        }
        assert_eq!(status(Method::POST, "/v1/assets/invalidate?pinned=true"), 400);
        assert_eq!(status(Method::GET, "/v1/assets?all=true"), 400);
        for target in ["/v1/assets?all=true", "/v1/assets?prefix=music:a&limit=1"] {
            let Ok(Some(Errand::Page(page))) = errand(Method::DELETE, target) else { panic!() };
            assert_eq!(page.act, Act::Purge);
        }
    }

    #[test]
    fn parameters_are_read_strictly() {
        let target =
            "/v1/assets?limit=7&after=3-1042&prefix=http%3A%2F%2Fa&pinned=false&complete=true";
        let Ok(Some(Errand::Page(page))) = errand(Method::GET, target) else { panic!() };
        assert_eq!((page.limit, page.prefix.as_deref()), (7, Some("http://a")));
        assert_eq!(page.start(4), (VolumeIndex(3), Spot::Entry(1042)));
        assert_eq!((page.filter.pinned, page.filter.complete), (Some(false), Some(true)));
        for query in [
            "limit=0",
            "limit=1001",
            "limit=+1",
            "after=",
            "after=3",
            "after=3-",
            "after=03-1",
            "after=3-1-2-3",
            "after=3-1-0",
            "after=3-1-2",
            "after=4294967296-0",
            "pinned=1",
            "limt=1",
            "limit=1&limit=1",
            // Of the other list.
            "after=3-1&pinned=true",
            "after=0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(status(Method::GET, &format!("/v1/assets?{query}")), 400, "{query}");
        }
        let verify = errand(Method::POST, "/v1/assets/verify?after=3-1-2&repair=true");
        let after = Some(Cursor::Entry { volume: 3, entry: 1, chunk: 2 });
        assert_eq!(verify, Ok(Some(Errand::Verify { after, repair: true })));
        assert_eq!(status(Method::POST, &format!("/v1/assets/verify?after={ID}")), 400);
    }

    #[test]
    fn a_cursor_of_pins_names_their_volume() {
        for volumes in [1, 4, 256] {
            for volume in 0..volumes {
                let volume = VolumeIndex(volume);
                let cursor = Cursor::at(volume, Spot::Pin(ObjectId(0)), volumes);
                let Cursor::Pin(id) = cursor else { panic!() };
                assert_eq!(id.volume(volumes), volume);
                assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
        }
    }
}
