//! From a vetted request to a response: which handler, which job, which fields.

use std::{rc::Rc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCEPT, ACCEPT_RANGES, AGE, ALLOW, ALT_SVC, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH,
        CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPECT, HOST, HeaderName, IF_RANGE,
        ORIGIN, RANGE, VARY,
    },
    request::Parts,
};
use http_body::Body as _;
use hyper::body::Incoming;

use super::{
    assets::Errand,
    explain::problem_of,
    metrics, prefetch, probe,
    problem::Problem,
    request::{
        self, Door, ObjectRequest, Route, parse_pcm, parse_probe, parse_transcode, parse_waveform,
    },
    shards, streams, tending, waveform,
    wire::{Abort, Body, Undrained, collect, drain, problem_response},
};
use crate::{
    file::{How, conditional::Conditions, passed_on, range},
    hls::abr::{Mode, VariantIndex},
    pcm::{Ask, timeline},
    prefetch::Prefetches,
    shard::{
        Answer, By, Cached, Command, Job, NoSessionId, ObjectHead, PcmHead, PcmWanted,
        Response as Served, Shard, Unheard, Wanted,
    },
};

const X_AUDIO_FORMAT: HeaderName = HeaderName::from_static("x-audio-format");
const X_CONTENT_DURATION: HeaderName = HeaderName::from_static("x-content-duration");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What a request that has no use for a body may send as one, in bytes.
const BODY_BYTES: u64 = 64 << 10;

/// What a request to prefetch may send, in bytes: as many sources as there may be, with names of
/// a hundred bytes.
const PREFETCH_BYTES: u64 = 1 << 20;

/// Prefetches that a list names; the others it counts.
pub(super) const LISTED_PREFETCHES: usize = 1000;

/// What requests are answered with.
pub(super) struct Desk {
    /// The core's world.
    pub(super) shard: Rc<Shard>,
    /// The node's prefetches, or why there are none here: what follows after "prefetching ".
    pub(super) prefetches: Result<Rc<Prefetches>, &'static str>,
}

/// Answers one request.
///
/// # Errors
/// A request whose own body broke off has no answer.
pub(super) async fn handle(
    desk: Rc<Desk>,
    door: Door,
    request: Request<Incoming>,
) -> Result<Response<Body>, Abort> {
    let (head, body) = request.into_parts();
    let mut rest = Some(body).filter(|body| !body.is_end_stream());
    let head_only = head.method == Method::HEAD;
    let path = head.uri.path().to_owned();
    let outcome = match called(door, &head) {
        Ok(called) => match read(&called, &head.headers, &mut rest).await {
            Ok(sent) => respond(&desk, called, &head, &sent).await,
            Err(Undrained::TooLarge { limit_bytes }) => Err(Problem::body_too_large(limit_bytes)),
            Err(Undrained::Cut) => return Err(Abort::Request),
        },
        Err(problem) => Err(problem),
    };
    let response = match outcome {
        Ok(response) => response,
        Err(problem) => {
            tracing::debug!(%path, status = problem.status(), detail = problem.detail, "refused");
            problem_response(&problem.instance(path))
        }
    };
    let mut response = if head_only { without_body(response) } else { response };
    // Where the next request begins can be told only behind the rest of this one.
    if rest.is_some() || desk.shard.gate.is_closed() {
        set(response.headers_mut(), CONNECTION, "close");
    }
    Ok(response.map(|body| body.with_unread(rest)))
}

/// What a request is for.
enum Called<'a> {
    /// The cache, by its operator.
    Errand(Errand),
    Route(Route<'a>),
}

/// Finds what a request is for. It needs no body for that, so who is in the wrong place is told so
/// before anything of it is waited for.
///
/// # Errors
/// 404, 405, and at the operator's listener what its checks refuse.
fn called(door: Door, head: &Parts) -> Result<Called<'_>, Problem> {
    let path = head.uri.path();
    if door == Door::Admin {
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.unwrap_or_default();
        request::check_admin_host(host)?;
        let origin = head.headers.get(ORIGIN).map(HeaderValue::as_bytes);
        request::check_admin_origin(&head.method, host, origin)?;
        let query = head.uri.query().unwrap_or_default();
        if let Some(errand) = Errand::of(&head.method, path, query)? {
            return Ok(Called::Errand(errand));
        }
    }
    request::route(door, &head.method, path).map(Called::Route)
}

/// Reads the body of a request to its end, and leaves none in `rest`. One that is of no use stays
/// there, if its client waits to hear whether to send it.
async fn read(
    called: &Called<'_>,
    fields: &HeaderMap,
    rest: &mut Option<Incoming>,
) -> Result<Vec<u8>, Undrained> {
    let is_of_use = matches!(called, Called::Route(Route::Prefetch));
    let Some(body) = rest.as_mut().filter(|_| is_of_use || !fields.contains_key(EXPECT)) else {
        return Ok(Vec::new());
    };
    let sent = match is_of_use {
        true => collect(body, PREFETCH_BYTES).await?,
        false => drain(body, BODY_BYTES).await.map(|()| Vec::new())?,
    };
    *rest = None;
    Ok(sent)
}

async fn respond(
    desk: &Desk,
    called: Called<'_>,
    head: &Parts,
    sent: &[u8],
) -> Result<Response<Body>, Problem> {
    let (shard, head_only) = (&desk.shard, head.method == Method::HEAD);
    let query = head.uri.query().unwrap_or_default();
    let route = match called {
        Called::Errand(errand) => return tend(shard, errand).await,
        Called::Route(route) => route,
    };
    match route {
        Route::Shards => Ok(json(shards::json(&shard.survey().await))),
        Route::Streams => Ok(json(streams::json(&shard.survey().await))),
        Route::Metrics => Ok(metrics(shard).await),
        Route::Events => events(shard),
        Route::Prefetch => prefetch::accept(desk, sent).await,
        Route::Prefetches => prefetch::list(desk),
        Route::PrefetchStatus(id) => prefetch::status(desk, id),
        Route::PrefetchCancel(id) => prefetch::cancel(desk, id).await,
        Route::Cancel(id) => cancel(shard, id).await,
        Route::Livez => Ok(text("alive\n")),
        Route::Readyz if shard.gate.is_closed() => Err(Problem::draining()),
        Route::Readyz => Ok(text("ready\n")),
        Route::Options(allow) => Ok(options(allow)),
        Route::Pcm => pcm(shard, query, &head.headers, head_only).await,
        Route::Transcode => transcode(shard, query, &head.headers, head_only).await,
        Route::Probe => probe(shard, query).await,
        Route::Waveform => waveform(shard, query, &head.headers).await,
        Route::Object(rest) => {
            let is_library = |name: &str| shard.files.is_library(name);
            let asked = ObjectRequest::parse(rest, head.uri.query(), is_library)?;
            object(shard, asked, &head.headers, head_only).await
        }
    }
}

// --- Decoded audio ---------------------------------------------------------------------------

async fn pcm(
    shard: &Rc<Shard>,
    query: &str,
    fields: &HeaderMap,
    head_only: bool,
) -> Result<Response<Body>, Problem> {
    let accept = fields.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ask = parse_pcm(query, accept, |name| shard.files.is_library(name))?;
    let mut response = play(shard, ask, ("/v1/pcm", query), fields, head_only).await?;
    set(response.headers_mut(), VARY, "Accept");
    Ok(response)
}

async fn transcode(
    shard: &Rc<Shard>,
    query: &str,
    fields: &HeaderMap,
    head_only: bool,
) -> Result<Response<Body>, Problem> {
    let ask = parse_transcode(query, |name| shard.files.is_library(name))?;
    play(shard, ask, ("/v1/transcode", query), fields, head_only).await
}

async fn play(
    shard: &Rc<Shard>,
    ask: Ask,
    target: (&str, &str),
    fields: &HeaderMap,
    head_only: bool,
) -> Result<Response<Body>, Problem> {
    let (source, mode) = (ask.source.clone(), ask.choice.variant);
    // A range of a HEAD request means nothing (RFC 9110 section 14.2).
    let range = fields.get(RANGE).filter(|_| !head_only).cloned();
    let (if_range, conditions) = (fields.get(IF_RANGE).cloned(), Conditions::of(fields));
    let wanted = PcmWanted { ask, range, if_range, conditions, head_only, front_last: false };
    let answer = shard.request(Job::Pcm(wanted)).await;
    let response = answer.map_err(|refusal| problem_of(&refusal, &source))?;
    let Answer::Pcm(head) = &response.answer else { return Err(Problem::internal()) };
    let mut out = Response::new(());
    pcm_fields(&mut out, head);
    if let Some(variant) = head.variant.filter(|variant| mode != Mode::Fixed(*variant)) {
        set(out.headers_mut(), CONTENT_LOCATION, &with_variant(target, variant));
    }
    set(out.headers_mut(), SERVER_TIMING, &timing(head.cached, Some(head.decode)));
    if head.unmodified {
        return Ok(unmodified(out));
    }
    let length = head.part.as_ref().map(|part| part.end - part.start).or(head.length);
    Ok(out.map(|()| body(shard, response, length)))
}

/// The same request for one variant.
fn with_variant((path, query): (&str, &str), variant: VariantIndex) -> String {
    let others = query.split('&').filter(|pair| !pair.starts_with("variant="));
    let others: Vec<_> = others.filter(|pair| !pair.is_empty()).collect();
    format!("{path}?{}&variant={variant}", others.join("&"))
}

fn pcm_fields(out: &mut Response<()>, head: &PcmHead) {
    let (fields, rendition) = (out.headers_mut(), &head.rendition);
    set(fields, CONTENT_TYPE, &rendition.content_type());
    if let Some(etag) = &head.etag {
        set(fields, ETAG, etag);
    }
    set(fields, X_AUDIO_FORMAT, &rendition.audio_format());
    if let Some(frames) = rendition.frames() {
        set(fields, X_CONTENT_DURATION, &timeline::duration(frames, rendition.spec.rate_hz));
    }
    set(fields, CACHE_STATUS, &cache_status(head.cached));
    let Some(length) = head.length else { return set(fields, ACCEPT_RANGES, "none") };
    set(fields, ACCEPT_RANGES, "bytes");
    if let Some(part) = &head.part {
        set(fields, CONTENT_RANGE, &range::content_range(part, length));
        *out.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
}

// --- Original bytes --------------------------------------------------------------------------

async fn object(
    shard: &Rc<Shard>,
    asked: ObjectRequest,
    fields: &HeaderMap,
    head_only: bool,
) -> Result<Response<Body>, Problem> {
    let source = asked.source;
    // A range of a HEAD request means nothing (RFC 9110 section 14.2).
    let range = fields.get(RANGE).filter(|_| !head_only).cloned();
    let if_range = fields.get(IF_RANGE).cloned();
    let (conditions, fields) = (Conditions::of(fields), passed_on(fields));
    let wanted = Wanted { range, if_range, conditions, fields, by: By::Client, head_only };
    let answer = shard.request(Job::Object { source: source.clone(), wanted }).await;
    let response = answer.map_err(|refusal| problem_of(&refusal, &source))?;
    let Answer::Object(head) = &response.answer else { return Err(Problem::internal()) };
    let mut out = Response::new(());
    object_fields(&mut out, head);
    set(out.headers_mut(), SERVER_TIMING, &timing(head.cached, None));
    if head.unmodified {
        return Ok(unmodified(out));
    }
    let length = head.part.as_ref().map(|part| part.end - part.start).or(head.length);
    Ok(out.map(|()| body(shard, response, length)))
}

fn object_fields(out: &mut Response<()>, head: &ObjectHead) {
    *out.headers_mut() = head.fields.clone();
    let fields = out.headers_mut();
    // A cache before the origin has said what it had; a list tells who is nearer (RFC 9211).
    fields.append(CACHE_STATUS, field(&cache_status(head.cached)));
    // Where the origin was asked for it just now, the age is what it says.
    if let Some(age) = head.cached.found.age.filter(|_| is_from_cache(head.cached)) {
        fields.insert(AGE, HeaderValue::from(age));
    }
    // It leads past this node, to where no cache is.
    fields.remove(ALT_SVC);
    if head.status != 200 {
        *out.status_mut() = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
        return;
    }
    let Some(length) = head.length else { return set(fields, ACCEPT_RANGES, "none") };
    set(fields, ACCEPT_RANGES, "bytes");
    if let Some(part) = &head.part {
        set(fields, CONTENT_RANGE, &range::content_range(part, length));
        *out.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
}

// --- What a source is ------------------------------------------------------------------------

async fn probe(shard: &Rc<Shard>, query: &str) -> Result<Response<Body>, Problem> {
    let source = parse_probe(query, |name| shard.files.is_library(name))?;
    let answer = shard.request(Job::Probe(source.clone())).await;
    let response = answer.map_err(|refusal| problem_of(&refusal, &source))?;
    let Answer::Probe(probed) = &response.answer else { return Err(Problem::internal()) };
    Ok(json(probe::json(&source.to_string(), probed)))
}

async fn waveform(
    shard: &Rc<Shard>,
    query: &str,
    fields: &HeaderMap,
) -> Result<Response<Body>, Problem> {
    let is_library = |name: &str| shard.files.is_library(name);
    let wanted = parse_waveform(query, Conditions::of(fields), is_library)?;
    let source = wanted.source.clone();
    let answer = shard.request(Job::Waveform(wanted)).await;
    let response = answer.map_err(|refusal| problem_of(&refusal, &source))?;
    let Answer::Waveform(drawn) = &response.answer else { return Err(Problem::internal()) };
    let mut out = match &drawn.peaks {
        Some(peaks) => json(waveform::json(&source.to_string(), &drawn.info, peaks)),
        None => unmodified(Response::new(())),
    };
    if let Some(etag) = &drawn.etag {
        set(out.headers_mut(), ETAG, etag);
    }
    Ok(out)
}

// --- For the operator ------------------------------------------------------------------------

async fn cancel(shard: &Shard, id: &str) -> Result<Response<Body>, Problem> {
    let heard = match id.parse() {
        Ok(session) => shard.command(session, Command::Cancel).await,
        Err(NoSessionId) => Err(Unheard::NoSession),
    };
    heard.map(|()| no_content()).map_err(|why| Problem::unheard(id, why))
}

async fn tend(shard: &Rc<Shard>, errand: Errand) -> Result<Response<Body>, Problem> {
    if let Errand::Options(allow) = errand {
        return Ok(options(allow));
    }
    let document = tending::carry_out(shard, errand).await?;
    Ok(document.map_or_else(no_content, |document| json(format!("{document:#}\n"))))
}

fn events(shard: &Shard) -> Result<Response<Body>, Problem> {
    let listening = shard.listen().ok_or_else(|| Problem::busy("another listener", 5))?;
    let mut response = Response::new(Body::events(listening));
    set(response.headers_mut(), CONTENT_TYPE, "text/event-stream");
    set(response.headers_mut(), CACHE_CONTROL, "no-store");
    Ok(response)
}

/// What the shards have done, for a scraper. A copy of it is old at once.
async fn metrics(shard: &Shard) -> Response<Body> {
    let mut response = Response::new(Body::small(metrics::text(shard.survey().await)));
    set(response.headers_mut(), CONTENT_TYPE, metrics::CONTENT_TYPE);
    set(response.headers_mut(), CACHE_CONTROL, "no-store");
    response
}

// --- What all of them share ------------------------------------------------------------------

fn body(shard: &Shard, served: Served, length: Option<u64>) -> Body {
    Body::session(served.body, Some(served.session), length, shard.cut.watch())
}

/// The answer to a client that has what it asks for (RFC 9110 section 15.4.5).
fn unmodified(mut out: Response<()>) -> Response<Body> {
    *out.status_mut() = StatusCode::NOT_MODIFIED;
    out.map(|()| Body::empty())
}

pub(super) fn json(text: String) -> Response<Body> {
    let mut response = Response::new(Body::small(text));
    set(response.headers_mut(), CONTENT_TYPE, "application/json");
    response
}

/// The answer to HEAD: what GET would say, and nothing after it.
fn without_body(response: Response<Body>) -> Response<Body> {
    let length = response.body().size_hint().exact();
    let mut response = response.map(|_| Body::empty());
    if let Some(length) = length
        && response.status() != StatusCode::NOT_MODIFIED
    {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

/// Whether the body was here, whatever the origin was asked about it.
fn is_from_cache(cached: Cached) -> bool {
    use How::{Hit, Kept, Partial, Spared, Stale, Validated};
    matches!(cached.found.how, Hit | Partial | Stale | Spared | Kept { .. } | Validated)
}

/// What the cache did, as RFC 9211 writes it.
fn cache_status(cached: Cached) -> String {
    let Cached { found, stored } = cached;
    let what = match found.how {
        How::Hit | How::Stale | How::Spared => "hit".to_owned(),
        How::Partial => "fwd=partial".to_owned(),
        How::Kept { status: Some(status) } => format!("fwd=stale; fwd-status={status}"),
        How::Kept { status: None } => "fwd=stale".to_owned(),
        How::Validated => "fwd=stale; fwd-status=304".to_owned(),
        How::Replaced => "fwd=stale".to_owned(),
        How::Absent => "fwd=uri-miss".to_owned(),
        How::Unselected => "fwd=vary-miss".to_owned(),
        How::InPlace => "fwd=bypass".to_owned(),
    };
    let fetches = matches!(found.how, How::Partial | How::Replaced | How::Absent | How::Unselected);
    let stored = if stored && fetches { "; stored" } else { "" };
    let collapsed = if found.collapsed { "; collapsed" } else { "" };
    let ttl = match (found.how, found.ttl) {
        (How::Hit | How::Stale | How::Spared | How::Kept { .. } | How::Validated, Some(ttl)) => {
            format!("; ttl={ttl}")
        }
        _ => String::new(),
    };
    format!("kithara; {what}{stored}{collapsed}{ttl}")
}

/// Where the time went until there was an answer.
fn timing(cached: Cached, decode: Option<Duration>) -> String {
    let desc = match cached.found.how {
        How::Hit => "hit",
        How::Partial => "partial",
        How::Stale | How::Spared | How::Kept { .. } => "stale",
        How::Validated => "revalidated",
        How::Replaced | How::Absent | How::Unselected => "miss",
        How::InPlace => "bypass",
    };
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let origin = cached.found.origin.map(|time| format!("origin;dur={:.1}", ms(time)));
    let decode = decode.map(|time| format!("decode;dur={:.1}", ms(time)));
    let parts = [origin, Some(format!("cache;desc={desc}")), decode];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn text(words: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::small(words));
    set(response.headers_mut(), CONTENT_TYPE, "text/plain; charset=utf-8");
    set(response.headers_mut(), CACHE_CONTROL, "no-store");
    response
}

fn options(allow: &str) -> Response<Body> {
    let mut response = no_content();
    set(response.headers_mut(), ALLOW, allow);
    response
}

pub(super) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// A text of our own making, which holds nothing that no field may have.
fn field(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// Sets a field to a text of our own making; a character that no field may have leaves it out.
pub(super) fn set(fields: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        fields.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Found;

    fn cached(how: How, stored: bool) -> Cached {
        Cached {
            found: Found { how, collapsed: false, age: None, ttl: None, origin: None },
            stored,
        }
    }

    #[test]
    fn the_cache_says_what_it_had_and_keeps() {
        for (how, stored, said) in [
            (How::Hit, true, "kithara; hit"),
            (How::Stale, true, "kithara; hit"),
            (How::Spared, true, "kithara; hit"),
            (How::Partial, true, "kithara; fwd=partial; stored"),
            (How::Absent, true, "kithara; fwd=uri-miss; stored"),
            (How::Absent, false, "kithara; fwd=uri-miss"),
            (How::Unselected, true, "kithara; fwd=vary-miss; stored"),
            (How::Replaced, true, "kithara; fwd=stale; stored"),
            (How::Validated, true, "kithara; fwd=stale; fwd-status=304"),
            (How::Kept { status: Some(503) }, true, "kithara; fwd=stale; fwd-status=503"),
            (How::Kept { status: None }, true, "kithara; fwd=stale"),
            (How::InPlace, false, "kithara; fwd=bypass"),
        ] {
            assert_eq!(cache_status(cached(how, stored)), said);
        }
        let mut hit = cached(How::Stale, true);
        hit.found.ttl = Some(-3);
        assert_eq!(cache_status(hit), "kithara; hit; ttl=-3");
        let mut joined = cached(How::Absent, true);
        (joined.found.collapsed, joined.found.ttl) = (true, Some(9));
        assert_eq!(cache_status(joined), "kithara; fwd=uri-miss; stored; collapsed");
    }

    #[test]
    fn the_time_of_an_answer_has_names() {
        assert_eq!(timing(cached(How::Hit, true), None), "cache;desc=hit");
        let mut miss = cached(How::Absent, true);
        miss.found.origin = Some(Duration::from_micros(12_340));
        let said = timing(miss, Some(Duration::from_micros(560)));
        assert_eq!(said, "origin;dur=12.3, cache;desc=miss, decode;dur=0.6");
    }
}
