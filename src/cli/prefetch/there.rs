//! A prefetch by a running node.

use bytes::Bytes;
use http::{Method, StatusCode, header::LOCATION};
use serde_json::{Value, json};
use url::Url;

use super::{Watched, watch};
use crate::{
    cli::{ExitCode, Failure, PrefetchArgs, offline::on_a_core, running::running_node},
    net::{self, Called, Client, Origin, Resolver},
    prefetch::Variants,
    runtime::{self, signals::Signals},
    server,
};

/// The most bytes of an answer.
const ANSWER_BYTES: usize = 1 << 20;

/// Has the node at `url` bring the sources into its cache, and watches.
pub(super) fn run(args: &PrefetchArgs, url: &Url) -> Result<ExitCode, Failure> {
    let (node, roots) = running_node(url)?;
    let spec = spec(args).to_string();
    let signals = Signals::install(1).map_err(server::Error::from)?;
    on_a_core(async move |id| {
        let mut signals = signals.on(id).map_err(server::Error::from)?;
        let client = Client::new(net::Options::default(), &roots, Resolver::system());
        let there = There { client, node, path: String::new() };
        there.run(spec, async move { signals.next().await }).await
    })
}

fn spec(args: &PrefetchArgs) -> Value {
    let variants = match args.variants {
        Variants::All => "all".into(),
        Variants::Auto => "auto".into(),
        Variants::Number(number) => Value::from(number),
    };
    let mut spec = json!({ "src": args.sources, "variants": variants, "decode": args.decode });
    if !args.ranges.is_empty() {
        let pairs = args.ranges.iter().map(|range| [range.start, range.end]);
        spec["ranges"] = pairs.map(Value::from_iter).collect();
    }
    if let Some(priority) = args.priority {
        spec["priority"] = priority.into();
    }
    spec
}

struct There {
    client: Client,
    node: Origin,
    /// Where to ask for the prefetch, once it is accepted.
    path: String,
}

impl There {
    async fn run(
        mut self,
        spec: String,
        signal: impl Future<Output = runtime::signals::Signal>,
    ) -> Result<ExitCode, Failure> {
        let answer = self.call(Method::POST, "/v1/prefetch", Some(spec.into())).await?;
        let location = answer.headers.get(LOCATION).and_then(|path| path.to_str().ok());
        self.path = location.ok_or_else(|| self.odd("names no place to ask"))?.to_owned();
        watch(self, signal).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Called, Failure> {
        let url = self.node.base.join(path).map_err(|_| self.odd("names no place to ask"))?;
        if url.origin() != self.node.base.origin() {
            return Err(self.odd("points elsewhere"));
        }
        let called = self.client.call(&self.node, method, &url, body, ANSWER_BYTES).await;
        let answer = called.map_err(|error| {
            let what = error.to_string().replace("origin", "node");
            Failure::new(ExitCode::Unavailable, what)
                .at(self.shown())
                .hint("is the node running, and is this its admin listener?")
        })?;
        match answer.status.is_success() {
            true => Ok(answer),
            false => Err(refused(&answer).at(self.shown())),
        }
    }

    fn shown(&self) -> String {
        self.node.base.origin().ascii_serialization()
    }

    fn odd(&self, what: &str) -> Failure {
        Failure::new(ExitCode::Runtime, format!("the node's answer {what}")).at(self.shown())
    }
}

impl Watched for There {
    async fn look(&mut self) -> Result<Value, Failure> {
        let answer = self.call(Method::GET, &self.path, None).await?;
        serde_json::from_slice(&answer.body).map_err(|_| self.odd("is no JSON"))
    }

    async fn cancel(&mut self) -> Result<(), Failure> {
        self.call(Method::DELETE, &self.path, None).await.map(drop)
    }
}

/// What the node says against it.
fn refused(answer: &Called) -> Failure {
    let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |member: &str| document[member].as_str().map(|text| text.escape_debug().to_string());
    let code = match answer.status {
        StatusCode::BAD_REQUEST => ExitCode::Usage,
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => ExitCode::Unavailable,
        _ => ExitCode::Runtime,
    };
    let what = text("detail").unwrap_or_else(|| format!("the node answered {}", answer.status));
    let failure = Failure::new(code, what);
    match text("hint") {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
