//! The client: one question to an origin, with its redirects and retries.

use std::{
    borrow::Cow,
    cell::{Cell, OnceCell, RefCell},
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    rc::Rc,
    sync::Arc,
    time::SystemTime,
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response as HttpResponse,
    header::{
        ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, COOKIE, HOST, IF_RANGE, LOCATION, RANGE,
        RETRY_AFTER, USER_AGENT, VIA,
    },
};
use hyper::body::Incoming;
use rustls::ClientConfig;
use tracing::{debug, warn};
use url::{Host, Url};

use super::{
    Answer, Ask, Body, Error, Hops, Options, Origin, Resolver, Roots, Validator,
    address::is_allowed,
    body::Gauge,
    complaints::Complaints,
    connection::{Connection, Outgoing},
    flow::{Watch, Watches},
    pool::{Lease, Pool, Slot},
    rangeless::Rangeless,
    redirect::is_redirect,
    retry::{Attempts, Policy, SILENT_RETRIES, may_retry, retry_after},
};
use crate::runtime;

/// The head of a good answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// 200, 206, or 416 where nothing lies behind the position asked for; 304 to a condition; any
    /// other where it was asked for [as it is](Ask::as_it_is).
    pub status: u16,
    /// Who answered, after all redirects.
    pub url: Url,
    /// Bytes of the complete representation, where the origin says so.
    pub length: Option<u64>,
    /// What a partial answer holds; `None` for a whole one, which begins at 0.
    pub range: Option<Range<u64>>,
    /// What tells this version from others, if the origin says something strong.
    pub validator: Option<Validator>,
    /// All fields, at most `header_bytes` of them.
    pub headers: HeaderMap,
}

/// A good answer. Dropping it cancels the request.
#[derive(Debug)]
pub struct Response {
    /// What is said about the body.
    pub head: Head,
    /// Its bytes.
    pub body: Body,
}

/// Counters of one shard's client since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections opened.
    pub connections: u64,
    /// Requests sent, redirects and retries included.
    pub requests: u64,
    /// Requests sent on a connection that had served one before.
    pub reused: u64,
    /// Attempts after a failure.
    pub retries: u64,
}

/// The HTTP client of one shard. Clones are the same client.
#[derive(Clone)]
pub struct Client {
    inner: Rc<Inner>,
}

struct Inner {
    options: Options,
    tls: Arc<ClientConfig>,
    resolver: Resolver,
    pool: Rc<Pool>,
    stats: Cell<Stats>,
    random: Cell<u64>,
    closed: Cell<bool>,
    complaints: RefCell<Complaints>,
    rangeless: RefCell<Rangeless>,
    watches: OnceCell<Watches>,
}

/// An answer whose head is not judged yet.
struct Raw {
    response: HttpResponse<Incoming>,
    lease: Lease,
}

impl Client {
    /// A client without connections.
    pub fn new(options: Options, roots: &Roots, resolver: Resolver) -> Self {
        let pool = Pool::new(options.connections, options.idle_connections, options.idle);
        let inner = Inner {
            options,
            tls: roots.config(),
            resolver,
            pool,
            stats: Cell::default(),
            random: Cell::new(RandomState::new().hash_one(0)),
            closed: Cell::new(false),
            complaints: RefCell::default(),
            rangeless: RefCell::default(),
            watches: OnceCell::new(),
        };
        Self { inner: Rc::new(inner) }
    }

    /// Asks `url` in the name of `origin`, whose exceptions and headers count.
    ///
    /// # Errors
    /// The last attempt's, when no further one is allowed or promising.
    ///
    /// # Cancellation
    /// The request is given up and its connection closed.
    pub async fn get(&self, origin: &Origin, url: &Url, ask: &Ask) -> Result<Response, Error> {
        let retries = if ask.once { 0 } else { self.inner.options.retries };
        self.get_within(origin, url, ask, &mut self.attempts_of(retries)).await
    }

    /// From now on what `watches` gives for the URL of a request hears how fast its body comes. The first one
    /// stays.
    pub fn watch(&self, watches: impl Fn(&Url) -> Watch + 'static) {
        let _ = self.inner.watches.set(Box::new(watches));
    }

    /// Starts no more requests and closes idle connections. Running answers go on.
    pub fn close(&self) {
        self.inner.closed.set(true);
        self.inner.pool.clear();
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.inner.stats.get()
    }

    /// What it was told.
    pub(super) fn options(&self) -> &Options {
        &self.inner.options
    }

    pub(super) fn attempts(&self) -> Attempts {
        self.attempts_of(self.inner.options.retries)
    }

    fn attempts_of(&self, retries: u32) -> Attempts {
        let Options { retry_base: base, retry_longest: longest, .. } = self.inner.options;
        Attempts::new(Policy { retries, base, longest })
    }

    /// As [`get`](Self::get), with what is left of the attempts of something larger.
    pub(super) async fn get_within(
        &self,
        origin: &Origin,
        url: &Url,
        ask: &Ask,
        attempts: &mut Attempts,
    ) -> Result<Response, Error> {
        let (mut silences, mut ask) = (0, Cow::Borrowed(ask));
        loop {
            if self.inner.closed.get() {
                return Err(Error::Closed);
            }
            let error = match self.attempt(origin, url, &mut ask).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let is_silent = matches!(error, Error::Silent { .. });
            if is_silent && silences == SILENT_RETRIES {
                return Err(self.complain(url, error));
            }
            silences += u32::from(is_silent);
            let last = self.back_off(error, attempts).await;
            last.map_err(|error| self.complain(url, error))?;
        }
    }

    /// The one place where the log is told of a request that failed for good. Queries may hold
    /// tokens and stay out.
    pub(super) fn complain(&self, url: &Url, error: Error) -> Error {
        let host = url.host_str().unwrap_or_default();
        match error {
            Error::Status(status) if status < 500 => {
                debug!(host, path = url.path(), %error, "origin says no");
            }
            _ => {
                let unsaid = self.inner.complaints.borrow_mut().make(host, runtime::now());
                if let Some(more) = unsaid {
                    warn!(host, path = url.path(), %error, more, "origin failed");
                }
            }
        }
        error
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// There is none: the failure itself.
    pub(super) async fn back_off(
        &self,
        error: Error,
        attempts: &mut Attempts,
    ) -> Result<(), Error> {
        let Some(wait) = attempts.after(&error, self.random()) else { return Err(error) };
        debug!(%error, ?wait, "origin is asked again");
        self.count(|stats| stats.retries += 1);
        runtime::sleep(wait).await;
        Ok(())
    }

    /// One attempt. Ranges are a wish of ours: an origin that refuses one is asked for the whole, in
    /// this attempt and in those after it.
    async fn attempt(
        &self,
        origin: &Origin,
        url: &Url,
        ask: &mut Cow<'_, Ask>,
    ) -> Result<Response, Error> {
        if ask.range.is_some()
            && self.inner.rangeless.borrow().contains(url.as_str(), runtime::now())
        {
            *ask = Cow::Owned(ask.for_the_whole());
        }
        let answer = self.follow(origin, url, ask).await;
        let is_refused = match &answer {
            // Good, and empty.
            Ok(Response { head, .. }) => head.status != 416 && ask.is_refused_by(head.status),
            Err(error) => error.status().is_some_and(|status| ask.is_refused_by(status)),
        };
        if !is_refused {
            return answer;
        }
        if let Ok(Response { body, .. }) = answer {
            body.discard().await;
        }
        *ask = Cow::Owned(ask.for_the_whole());
        let whole = self.follow(origin, url, ask).await;
        if whole.as_ref().is_ok_and(|whole| whole.head.status == 200) {
            debug!(host = url.host_str(), path = url.path(), "origin gives no ranges of this");
            self.inner.rangeless.borrow_mut().learn(url.as_str(), runtime::now());
        }
        whole
    }

    /// One question, followed wherever the origin points.
    async fn follow(&self, origin: &Origin, url: &Url, ask: &Ask) -> Result<Response, Error> {
        let mut hops = Hops::new(url.clone(), self.inner.options.redirects);
        let gauge = Gauge::new(self.inner.watches.get().map(|watches| watches(url)));
        loop {
            let raw = self.exchange(origin, &hops, ask).await?;
            if ask.as_it_is || !is_redirect(raw.response.status().as_u16()) {
                let Response { head, body } = self.judge(raw, hops.url(), ask)?;
                return Ok(Response { head, body: body.measured(gauge) });
            }
            let locations = raw.response.headers().get_all(LOCATION);
            hops.follow(locations.iter())?;
            self.unwanted(raw).discard().await;
        }
    }

    fn judge(&self, raw: Raw, url: &Url, ask: &Ask) -> Result<Response, Error> {
        let (parts, incoming) = raw.response.into_parts();
        let status = parts.status.as_u16();
        let answer = Answer::read(status, &parts.headers, ask);
        let answer = answer.map_err(|error| with_wait(error, &parts.headers))?;
        let position = answer.range.as_ref().map_or(0, |range| range.start);
        let inactivity = self.inner.options.inactivity;
        let body = Body::new(incoming, raw.lease, position, answer.body_bytes, inactivity);
        let head = Head {
            status,
            url: url.clone(),
            length: answer.length,
            range: answer.range,
            validator: Validator::of(&parts.headers),
            headers: parts.headers,
        };
        Ok(Response { head, body })
    }

    /// The body of an answer that is only read to use its connection again.
    fn unwanted(&self, raw: Raw) -> Body {
        let incoming = raw.response.into_body();
        let left = http_body::Body::size_hint(&incoming).exact();
        Body::new(incoming, raw.lease, 0, left, self.inner.options.inactivity)
    }

    /// Sends the request to where `hops` stands and waits for the head of the answer.
    async fn exchange(&self, origin: &Origin, hops: &Hops, ask: &Ask) -> Result<Raw, Error> {
        let url = hops.url();
        let at_home = hops.at_home() && url.origin() == origin.base.origin();
        let first_byte = self.inner.options.first_byte;
        let mut may_reuse = true;
        loop {
            let (mut lease, reused) = self.lease(origin, url, may_reuse).await?;
            let request = request(origin, url, at_home, ask)?;
            self.count(|stats| {
                stats.requests += 1;
                stats.reused += u64::from(reused);
            });
            match runtime::timeout(first_byte, lease.send(request)).await {
                Ok(Ok(response)) => return Ok(Raw { response, lease }),
                // The server closed it while it was idle: that is nobody's failure.
                Ok(Err(Error::Connection(_))) if reused => may_reuse = false,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(Error::Silent { after: first_byte }),
            }
        }
    }

    /// A connection with the server of `url`, and whether it has served a request before.
    pub(super) async fn lease(
        &self,
        origin: &Origin,
        url: &Url,
        may_reuse: bool,
    ) -> Result<(Lease, bool), Error> {
        let slot = self.inner.pool.enter(url, self.inner.options.first_byte).await?;
        let idle = if may_reuse {
            slot.idle(|peer| is_allowed(peer, &origin.allow_private))
        } else {
            None
        };
        match idle {
            Some(connection) => Ok((slot.with(connection), true)),
            None => Ok((self.connect(origin, url, slot).await?, false)),
        }
    }

    async fn connect(&self, origin: &Origin, url: &Url, slot: Slot) -> Result<Lease, Error> {
        let addresses = self.addresses(origin, url).await?;
        let tls = (url.scheme() == "https")
            .then(|| (Arc::clone(&self.inner.tls), url.host_str().unwrap_or_default()));
        let connection = Connection::open(&addresses, tls, &self.inner.options).await;
        self.count(|stats| stats.connections += 1);
        Ok(slot.with(connection?))
    }

    /// The addresses of the host of `url` that may be connected to; at least one.
    async fn addresses(&self, origin: &Origin, url: &Url) -> Result<Vec<SocketAddr>, Error> {
        if let Some(port) = origin.loopback_port.filter(|_| url.origin() == origin.base.origin()) {
            return Ok(vec![(Ipv4Addr::LOCALHOST, port).into()]);
        }
        let port = url.port_or_known_default().ok_or(Error::Dns)?;
        let found = match url.host() {
            Some(Host::Ipv4(address)) => vec![address.into()],
            Some(Host::Ipv6(address)) => vec![address.into()],
            Some(Host::Domain(name)) => self.resolve(name).await?.to_vec(),
            None => return Err(Error::Dns),
        };
        let mut allowed = Vec::new();
        let mut refused = None;
        for address in found {
            if is_allowed(address, &origin.allow_private) {
                allowed.push(SocketAddr::new(address, port));
            } else {
                refused.get_or_insert(address);
            }
        }
        match refused {
            Some(address) if allowed.is_empty() => {
                Err(Error::Refused { address, origin: origin.name.clone() })
            }
            _ => Ok(allowed),
        }
    }

    /// A resolver that does not answer in the time of a connection has failed.
    async fn resolve(&self, name: &str) -> Result<Rc<[std::net::IpAddr]>, Error> {
        let limit = self.inner.options.connect;
        runtime::timeout(limit, self.inner.resolver.resolve(name)).await.unwrap_or(Err(Error::Dns))
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.inner.stats.get();
        change(&mut stats);
        self.inner.stats.set(stats);
    }

    /// SplitMix64: jitter needs no more.
    fn random(&self) -> u64 {
        let state = self.inner.random.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.inner.random.set(state);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// The request for `url`, with the origin's own headers and query only `at_home`.
fn request(
    origin: &Origin,
    url: &Url,
    at_home: bool,
    ask: &Ask,
) -> Result<Request<Outgoing>, Error> {
    let asked = if at_home { origin.asked(url) } else { Cow::Borrowed(url) };
    let target = &asked[url::Position::BeforePath..url::Position::AfterQuery];
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let method = if ask.head_only { Method::HEAD } else { Method::GET };
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .body(Outgoing::default())
        .map_err(|_| Error::Path("cannot be a request target"))?;
    *request.headers_mut() = ask.fields.clone();
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| Error::Dns)?);
    headers.append(VIA, HeaderValue::from_static("1.1 kithara"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let agent = HeaderValue::from_static(concat!("kithara/", env!("CARGO_PKG_VERSION")));
    headers.entry(USER_AGENT).or_insert(agent);
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    if at_home {
        // What the operator says goes before what a client says.
        origin.headers.iter().for_each(|(name, _)| drop(headers.remove(name)));
        origin.headers.iter().for_each(|(name, value)| {
            headers.append(name, value.clone());
        });
    } else {
        // A client's secrets are for the origin that it asked.
        headers.remove(AUTHORIZATION);
        headers.remove(COOKIE);
    }
    if let Some((from, until)) = ask.range {
        headers.insert(RANGE, range_field(from, until)?);
        if let Some(validator) = &ask.if_range {
            headers.insert(IF_RANGE, validator.if_range().clone());
        }
    }
    Ok(request)
}

/// `bytes=from-` or `bytes=from-last`.
fn range_field(from: u64, until: Option<u64>) -> Result<HeaderValue, Error> {
    let text = match until {
        Some(until) if until <= from => return Err(Error::Path("empty range")),
        Some(until) => format!("bytes={from}-{}", until - 1),
        None => format!("bytes={from}-"),
    };
    HeaderValue::from_str(&text).map_err(|_| Error::Path("range"))
}

/// Adds when the origin wants the next attempt, where there may be one.
fn with_wait(error: Error, headers: &HeaderMap) -> Error {
    let asked = headers.get(RETRY_AFTER).and_then(|value| retry_after(value, SystemTime::now()));
    match (error, asked) {
        (Error::Status(status), Some(after)) if may_retry(&Error::Status(status)) => {
            Error::Later { status, after }
        }
        (error, _) => error,
    }
}
