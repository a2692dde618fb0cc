//! The two ways to a cache: through the node that has it, or by opening it.

use std::rc::Rc;

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::args::{Node, Place};
use crate::{
    cli::{
        ExitCode, Failure,
        offline::{on_a_core, on_a_shard},
        running::running_node,
        serve, start_log,
    },
    net::{self, Client, Origin, Resolver},
    server,
    shard::Shard,
    storage::{self, Directory},
};

/// The most bytes of an answer: a page of a thousand assets whose URLs are as long as they may be.
const ANSWER_BYTES: usize = 32 << 20;

/// The way to a cache.
pub(super) enum Door {
    /// A directory that nobody else has.
    Closed(Rc<Shard>),
    /// A node's admin listener.
    Node(Client, Box<Origin>),
}

/// Why a cache or its node does not do what it was asked.
pub(super) struct Refused {
    /// As HTTP has it.
    pub status: u16,
    detail: String,
    hint: Option<String>,
}

impl Refused {
    /// The same, as the command line says it.
    pub(super) fn failure(&self) -> Failure {
        let code = if self.status == 400 { ExitCode::Usage } else { ExitCode::Runtime };
        let failure = Failure::new(code, self.detail.clone());
        match &self.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Runs `work` with the way to a cache. With `changes`, what it does to a closed one is durable when
/// this returns; without, nothing of one is written.
///
/// # Errors
/// A cache that cannot be had, or what `work` failed by.
pub(super) fn with<T, F>(place: &Place, changes: bool, work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: AsyncFnOnce(Door) -> Result<T, Failure> + Clone + Send + 'static,
{
    let merged = place.load()?;
    start_log(&merged.config.log)?;
    if let Some(Node(url)) = &place.node {
        let (node, roots) = running_node(url)?;
        return on_a_core(async move |_| {
            let client = Client::new(patient(), &roots, Resolver::system());
            work(Door::Node(client, Box::new(node))).await
        });
    }
    let options = serve::options(&merged.config)?;
    // Held to the end.
    let directory = Directory::lock_existing(&options.cache_dir).map_err(unusable)?;
    let cache = server::Cache::AsItIs { format: directory.format(), changes };
    on_a_shard(options, cache, move |shard| work(Door::Closed(shard)))
}

/// A node may be busy with those it is there for, and a pin waits for the disk.
fn patient() -> net::Options {
    let first_byte = std::time::Duration::from_secs(60);
    net::Options { first_byte, ..net::Options::default() }
}

fn unusable(error: storage::Error) -> Failure {
    match error {
        storage::Error::InUse { path } => Failure::new(ExitCode::Io, "a node has this cache open")
            .at(path.display().to_string())
            .hint("ask the node: --node http://127.0.0.1:7711, or stop it"),
        storage::Error::Directory { path, problem } => {
            Failure::new(ExitCode::Io, problem).at(path.display().to_string())
        }
        other => Failure::new(ExitCode::Io, other.to_string()),
    }
}

impl Door {
    /// Asks, as the admin listener is asked. A document comes back, or `None` where it was done and
    /// there is nothing to say; or what the cache or its node says against it.
    ///
    /// # Errors
    /// Nobody can be asked.
    pub(super) async fn try_ask(
        &self,
        method: Method,
        target: &str,
    ) -> Result<Result<Option<Value>, Refused>, Failure> {
        match self {
            Self::Closed(shard) => {
                let answer = server::tend(shard, &method, target).await;
                Ok(answer.map_err(|problem| Refused {
                    status: problem.status(),
                    detail: problem.detail,
                    hint: problem.hint,
                }))
            }
            Self::Node(client, node) => call(client, node, method, target).await,
        }
    }
}

async fn call(
    client: &Client,
    node: &Origin,
    method: Method,
    target: &str,
) -> Result<Result<Option<Value>, Refused>, Failure> {
    let shown = node.base.origin().ascii_serialization();
    let url = node
        .base
        .join(target)
        .map_err(|error| Failure::new(ExitCode::Runtime, error.to_string()).at(shown.as_str()))?;
    let answer = client.call(node, method, &url, None, ANSWER_BYTES).await.map_err(|error| {
        let what = error.to_string().replace("origin", "node");
        Failure::new(ExitCode::Unavailable, what)
            .at(shown.as_str())
            .hint("is the node running, and is this its admin listener?")
    })?;
    let document: Option<Value> = serde_json::from_slice(&answer.body).ok();
    if answer.status.is_success() {
        return Ok(Ok(document));
    }
    let text = |member: &str| Some(document.as_ref()?.get(member)?.as_str()?.to_owned());
    let status = answer.status.as_u16();
    let detail = text("detail").unwrap_or_else(|| format!("the node answered {status}"));
    Ok(Err(Refused { status, detail, hint: text("hint") }))
}

/// The query of these parameters, those that have a value.
pub(super) fn query(parameters: &[(&str, Option<&str>)]) -> String {
    let mut query = Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    match query.finish() {
        query if query.is_empty() => query,
        query => format!("?{query}"),
    }
}

/// A name as one segment of a path.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}
