//! `kithara cache`: a look at a cache, and what keeps it in order.
//!
//! The commands ask the same questions whether a node has the cache or nobody: those of the admin
//! listener (`server/assets`). A node is asked over HTTP; a directory that no node has open is locked,
//! opened by a shard of this process, and asked in here. `door` is both ways, `table`(P) is how the
//! answers look to a person; `--json` prints them as they came.

mod args;
mod door;
mod table;

use std::{
    io::{self, IsTerminal, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use http::Method;
use serde_json::Value;

pub use self::args::{
    CacheArgs, CacheCommand, LsArgs, NameArgs, Place, PurgeArgs, StatArgs, VerifyArgs,
};
use self::door::{Door, query, segment};
use super::{ExitCode, Failure};

/// Assets that a list gathers to put them in order; a longer one is printed as it comes.
const SORTED: usize = 10_000;

/// Assets of one page.
const PAGE: &str = "1000";

/// Does as `args` say.
///
/// # Errors
/// A cache that cannot be had, or what it refused.
pub(super) fn run(args: &CacheArgs) -> Result<ExitCode, Failure> {
    match &args.command {
        CacheCommand::Ls(args) => ls(args),
        CacheCommand::Stat(args) => stat(args),
        CacheCommand::Verify(args) => verify(args),
        CacheCommand::Purge(args) => purge(args),
        CacheCommand::Pin(args) => each(args, Method::PUT, "/pin", "pinned"),
        CacheCommand::Unpin(args) => each(args, Method::DELETE, "/pin", "unpinned"),
    }
}

/// Prints to stdout; true once nobody reads it any more.
fn print(text: &str) -> Result<bool, Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Ok(false),
        // A pager that was closed has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(Failure::new(ExitCode::Io, format!("stdout cannot be written: {error}"))),
    }
}

fn now_unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

// ---- ls ----

fn ls(args: &LsArgs) -> Result<ExitCode, Failure> {
    let (prefix, pinned, partial) = (args.prefix.clone(), args.pinned, args.partial);
    let as_json = args.place.json;
    door::with(&args.place, false, async move |door| {
        let mut next = None;
        let mut gathered = Vec::new();
        let mut sorts = true;
        let show = |assets: &[Value]| match as_json {
            true => assets.iter().map(|asset| format!("{asset}\n")).collect(),
            false => table::rows(assets, now_unix_ms()),
        };
        loop {
            let conditions = [
                ("limit", Some(PAGE)),
                ("after", next.as_deref()),
                ("prefix", prefix.as_deref()),
                ("pinned", pinned.then_some("true")),
                ("complete", partial.then_some("false")),
            ];
            let page = door.ask(Method::GET, &format!("/v1/assets{}", query(&conditions))).await?;
            gathered.extend(page["assets"].as_array().cloned().unwrap_or_default());
            next = page["next"].as_str().map(str::to_owned);
            if next.is_none() || gathered.len() > SORTED {
                let is_first = sorts;
                if next.is_none() && sorts {
                    gathered.sort_by_cached_key(table::order);
                }
                sorts = false;
                if is_first && !as_json && !gathered.is_empty() && print(table::HEADING)? {
                    return Ok(ExitCode::Ok);
                }
            }
            if !sorts && print(&show(&std::mem::take(&mut gathered)))? || next.is_none() {
                return Ok(ExitCode::Ok);
            }
        }
    })
}

// ---- stat ----

fn stat(args: &StatArgs) -> Result<ExitCode, Failure> {
    let (as_json, each_volume) = (args.place.json, args.volumes);
    // What a closed one may grow to is the next start's to say.
    let is_open = args.place.node.is_some();
    let shown = args.place.shown()?;
    door::with(&args.place, false, async move |door| {
        let cache = door.ask(Method::GET, "/v1/cache").await?;
        let text = match as_json {
            true => format!("{cache:#}\n"),
            false => table::cache(&cache, &shown, is_open, each_volume),
        };
        print(&text)?;
        Ok(ExitCode::Ok)
    })
}

// ---- verify ----

fn verify(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let (as_json, repair) = (args.place.json, args.repair);
    let shows_progress = io::stderr().is_terminal();
    door::with(&args.place, repair, async move |door| {
        let mut sums = table::Sums::default();
        let mut next: Option<String> = None;
        loop {
            let conditions = [("after", next.as_deref()), ("repair", repair.then_some("true"))];
            let target = format!("/v1/assets/verify{}", query(&conditions));
            let report = door.ask(Method::POST, &target).await?;
            sums.add(&report);
            let faults = report["faults"].as_array().into_iter().flatten();
            let lines: String = match as_json {
                true => faults.map(|fault| format!("{fault}\n")).collect(),
                false => faults.map(table::fault).collect(),
            };
            if shows_progress {
                // Gone again with the next line.
                let _ = write!(io::stderr(), "\r\x1b[K{}", sums.progress());
            }
            if !lines.is_empty() {
                if shows_progress {
                    let _ = write!(io::stderr(), "\r\x1b[K");
                }
                print(&lines)?;
            }
            next = report["next"].as_str().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        if shows_progress {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        let summary = if as_json { format!("{}\n", sums.json()) } else { sums.summary(repair) };
        print(&summary)?;
        Ok(if sums.are_sound() { ExitCode::Ok } else { ExitCode::Runtime })
    })
}

// ---- purge, pin, unpin ----

fn purge(args: &PurgeArgs) -> Result<ExitCode, Failure> {
    let names = NameArgs { names: args.names.clone(), place: args.place.clone() };
    match (&args.prefix, args.all, args.soft) {
        (None, false, false) => each(&names, Method::DELETE, "", "purged"),
        (None, false, true) => each(&names, Method::POST, "/invalidate", "invalidated"),
        (prefix, all, soft) => purge_many(&args.place, prefix.clone(), all, soft),
    }
}

fn purge_many(
    place: &Place,
    prefix: Option<String>,
    all: bool,
    soft: bool,
) -> Result<ExitCode, Failure> {
    let as_json = place.json;
    let (method, path, done) = match soft {
        true => (Method::POST, "/v1/assets/invalidate", "invalidated"),
        false => (Method::DELETE, "/v1/assets", "purged"),
    };
    door::with(place, true, async move |door| {
        let (mut assets, mut bytes) = (0_u64, 0);
        let mut next: Option<String> = None;
        loop {
            let conditions = [
                ("limit", Some(PAGE)),
                ("after", next.as_deref()),
                ("prefix", prefix.as_deref()),
                ("all", all.then_some("true")),
            ];
            let page = door.ask(method.clone(), &format!("{path}{}", query(&conditions))).await?;
            for asset in page["assets"].as_array().into_iter().flatten() {
                // A pin of which nothing is here is not purged.
                assets += u64::from(!asset["generation"].is_null());
                bytes += asset["stored_bytes"].as_u64().unwrap_or(0);
            }
            next = page["next"].as_str().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        let text = match as_json {
            true => format!("{}\n", serde_json::json!({ done: assets, "bytes": bytes })),
            false => format!("{done} {}, {}\n", table::count(assets, "asset"), table::size(bytes)),
        };
        print(&text)?;
        Ok(ExitCode::Ok)
    })
}

/// Does the same to each name. What is not there is said, and the others are done all the same.
fn each(
    args: &NameArgs,
    method: Method,
    action: &'static str,
    done: &'static str,
) -> Result<ExitCode, Failure> {
    let (names, as_json) = (args.names.clone(), args.place.json);
    door::with(&args.place, true, async move |door| {
        let mut code = ExitCode::Ok;
        for name in &names {
            let target = format!("/v1/assets/{}{action}", segment(name));
            let outcome = door.try_ask(method.clone(), &target).await?;
            let is_there = match outcome {
                Ok(_) => true,
                Err(refused) if refused.status == 404 => false,
                Err(refused) => return Err(refused.failure().at(name.as_str())),
            };
            let text = match (as_json, is_there) {
                (true, _) => format!("{}\n", serde_json::json!({ "name": name, done: is_there })),
                (false, true) => format!("{done} {}\n", name.escape_debug()),
                (false, false) => format!("not in the cache: {}\n", name.escape_debug()),
            };
            print(&text)?;
            if !is_there {
                code = ExitCode::Runtime;
            }
        }
        Ok(code)
    })
}

/// An answer without a document is none to look into.
const NOTHING: Value = Value::Null;

impl Door {
    /// Asks what must have an answer.
    ///
    /// # Errors
    /// What the node or the cache refused, or why it cannot be asked.
    async fn ask(&self, method: Method, target: &str) -> Result<Value, Failure> {
        let answer = self.try_ask(method, target).await?;
        answer.map(|value| value.unwrap_or(NOTHING)).map_err(|refused| refused.failure())
    }
}
