//! What a request asks for.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Strict on purpose: a parameter that is misspelt, repeated or out of range is an error that
//! names it and what it takes, never a default in silence.
//!
//! - here: which handler a path belongs to, and who may ask the operator's;
//! - `media`: what `/v1/pcm`, `/v1/transcode`, `/v1/probe` and `/o/` are asked for;
//! - `query`: names and values, decoded once.

mod media;
mod query;

use core::net::IpAddr;

use http::Method;

pub use self::media::{
    CHANNELS_MAX, ObjectRequest, parse_pcm, parse_probe, parse_transcode, parse_waveform,
};
pub(super) use self::query::{Query, number};
use super::problem::{Kind, Problem};

/// The methods of everything that is only read.
pub const ALLOW: &str = "GET, HEAD, OPTIONS";

/// The methods of `/v1/prefetch`.
const ALLOW_PREFETCHES: &str = "GET, HEAD, POST, OPTIONS";

/// The methods of one prefetch.
const ALLOW_PREFETCH: &str = "GET, HEAD, DELETE, OPTIONS";

/// The methods of one stream.
const ALLOW_STREAM: &str = "DELETE, OPTIONS";

/// Which listener a request came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The clients'.
    Media,
    /// The operator's, which answers everything the other does.
    Admin,
}

/// Checks that a request to the operator's listener is meant for it: its `Host` is an address or
/// `localhost`. A page of another site, which can make its own name lead to this machine (DNS
/// rebinding), cannot make a browser send those.
///
/// # Errors
/// 421.
pub fn check_admin_host(host: &str) -> Result<(), Problem> {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_local = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
    is_local.then_some(()).ok_or_else(|| {
        Problem::new(Kind::WrongHost, "the operator's listener answers to addresses only")
            .hint("ask for it as http://ADDRESS:PORT/ or http://localhost:PORT/")
    })
}

/// Checks that a request that changes something does not come from a page of another site: browsers
/// name the page's site in `Origin`, which is then this listener, as `Host` has it.
///
/// # Errors
/// 403.
pub fn check_admin_origin(
    method: &Method,
    host: &str,
    origin: Option<&[u8]>,
) -> Result<(), Problem> {
    let Some(origin) = origin.filter(|_| !method.is_safe()) else { return Ok(()) };
    let site = origin.strip_prefix(b"http://").or(origin.strip_prefix(b"https://"));
    let is_own = site.is_some_and(|site| site.eq_ignore_ascii_case(host.as_bytes()));
    is_own.then_some(()).ok_or_else(Problem::foreign_origin)
}

/// Which handler a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/v1/pcm`: see [`parse_pcm`].
    Pcm,
    /// `/v1/transcode`: see [`parse_transcode`].
    Transcode,
    /// `/v1/probe`: see [`parse_probe`].
    Probe,
    /// `/v1/waveform`: see [`parse_waveform`].
    Waveform,
    /// `/o/{origin}/{path}`: see [`ObjectRequest`], which takes this rest.
    Object(&'a str),
    /// `/livez`.
    Livez,
    /// `/readyz`.
    Readyz,
    /// `/v1/shards`, for the operator.
    Shards,
    /// `/v1/streams`, for the operator.
    Streams,
    /// `/metrics`, for the operator.
    Metrics,
    /// `/events`, for the operator.
    Events,
    /// POST of `/v1/prefetch`, for the operator: the one request whose body is read.
    Prefetch,
    /// GET of `/v1/prefetch`, likewise.
    Prefetches,
    /// GET of `/v1/prefetch/{id}`, with that id, likewise.
    PrefetchStatus(&'a str),
    /// DELETE of `/v1/prefetch/{id}`, likewise.
    PrefetchCancel(&'a str),
    /// DELETE of `/v1/streams/{id}`, with that id, for the operator.
    Cancel(&'a str),
    /// OPTIONS at any of these or at `*`: 204 with this `Allow`.
    Options(&'static str),
}

/// Finds the handler for `path`, which is a request target's without its query.
///
/// # Errors
/// 404 where there is nothing, 405 with `Allow` where there is no such method.
pub fn route<'a>(door: Door, method: &Method, path: &'a str) -> Result<Route<'a>, Problem> {
    if let Some(id) = path.strip_prefix("/v1/streams/").filter(|_| door == Door::Admin) {
        return match *method {
            Method::DELETE => Ok(Route::Cancel(id)),
            Method::OPTIONS => Ok(Route::Options(ALLOW_STREAM)),
            _ => Err(Problem::method_not_allowed(ALLOW_STREAM)),
        };
    }
    if let Some(rest) = path.strip_prefix("/v1/prefetch").filter(|_| door == Door::Admin)
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return route_prefetch(method, rest.strip_prefix('/'));
    }
    let route = match path {
        "/v1/shards" if door == Door::Admin => Route::Shards,
        "/v1/streams" if door == Door::Admin => Route::Streams,
        "/metrics" if door == Door::Admin => Route::Metrics,
        "/events" if door == Door::Admin => Route::Events,
        "*" => Route::Options(ALLOW),
        "/v1/pcm" => Route::Pcm,
        "/v1/transcode" => Route::Transcode,
        "/v1/probe" => Route::Probe,
        "/v1/waveform" => Route::Waveform,
        "/livez" => Route::Livez,
        "/readyz" => Route::Readyz,
        _ => Route::Object(path.strip_prefix("/o/").ok_or_else(Problem::no_such_path)?),
    };
    match *method {
        Method::GET | Method::HEAD if path != "*" => Ok(route),
        Method::OPTIONS => Ok(Route::Options(ALLOW)),
        _ => Err(Problem::method_not_allowed(ALLOW)),
    }
}

/// The handler for `/v1/prefetch`, or for one of them.
fn route_prefetch<'a>(method: &Method, id: Option<&'a str>) -> Result<Route<'a>, Problem> {
    let allow = if id.is_some() { ALLOW_PREFETCH } else { ALLOW_PREFETCHES };
    match (method, id) {
        (&Method::OPTIONS, _) => Ok(Route::Options(allow)),
        (&Method::GET | &Method::HEAD, None) => Ok(Route::Prefetches),
        (&Method::GET | &Method::HEAD, Some(id)) => Ok(Route::PrefetchStatus(id)),
        (&Method::POST, None) => Ok(Route::Prefetch),
        (&Method::DELETE, Some(id)) => Ok(Route::PrefetchCancel(id)),
        _ => Err(Problem::method_not_allowed(allow)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_method_find_their_handler() {
        assert_eq!(route(Door::Media, &Method::GET, "/v1/pcm"), Ok(Route::Pcm));
        assert_eq!(route(Door::Media, &Method::HEAD, "/o/demo/a"), Ok(Route::Object("demo/a")));
        assert_eq!(route(Door::Media, &Method::OPTIONS, "/livez"), Ok(Route::Options(ALLOW)));
        assert_eq!(route(Door::Media, &Method::OPTIONS, "*"), Ok(Route::Options(ALLOW)));
        let problem = route(Door::Media, &Method::POST, "/readyz").unwrap_err();
        assert_eq!((problem.status(), problem.allow), (405, Some(ALLOW)));
        assert_eq!(route(Door::Media, &Method::GET, "/v1/pcm/").unwrap_err().status(), 404);
        assert_eq!(route(Door::Media, &Method::POST, "/").unwrap_err().status(), 404);
    }

    #[test]
    fn what_is_the_operators_is_not_there_for_clients() {
        assert_eq!(route(Door::Media, &Method::GET, "/v1/shards").unwrap_err().status(), 404);
        assert_eq!(route(Door::Admin, &Method::GET, "/v1/shards"), Ok(Route::Shards));
        assert_eq!(route(Door::Admin, &Method::GET, "/v1/pcm"), Ok(Route::Pcm));
        assert_eq!(route(Door::Media, &Method::GET, "/metrics").unwrap_err().status(), 404);
        assert_eq!(route(Door::Admin, &Method::HEAD, "/metrics"), Ok(Route::Metrics));
        assert_eq!(route(Door::Media, &Method::GET, "/events").unwrap_err().status(), 404);
        assert_eq!(route(Door::Admin, &Method::GET, "/events"), Ok(Route::Events));
        for path in ["/v1/prefetch", "/v1/prefetch/1"] {
            assert_eq!(route(Door::Media, &Method::GET, path).unwrap_err().status(), 404);
        }
        let admin = |method, path| route(Door::Admin, &method, path);
        assert_eq!(admin(Method::POST, "/v1/prefetch"), Ok(Route::Prefetch));
        assert_eq!(admin(Method::GET, "/v1/prefetch"), Ok(Route::Prefetches));
        assert_eq!(admin(Method::GET, "/v1/prefetch/7"), Ok(Route::PrefetchStatus("7")));
        assert_eq!(admin(Method::DELETE, "/v1/prefetch/7"), Ok(Route::PrefetchCancel("7")));
        let problem = admin(Method::DELETE, "/v1/prefetch").unwrap_err();
        assert_eq!((problem.status(), problem.allow), (405, Some(ALLOW_PREFETCHES)));
        assert_eq!(admin(Method::GET, "/v1/prefetches").unwrap_err().status(), 404);
        let stream = "/v1/streams/0-1";
        assert_eq!(route(Door::Media, &Method::DELETE, stream).unwrap_err().status(), 404);
        assert_eq!(route(Door::Admin, &Method::DELETE, stream), Ok(Route::Cancel("0-1")));
        let problem = route(Door::Admin, &Method::GET, stream).unwrap_err();
        assert_eq!((problem.status(), problem.allow), (405, Some(ALLOW_STREAM)));
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let check = |method, origin: Option<&str>| {
            check_admin_origin(&method, "localhost:7711", origin.map(str::as_bytes)).is_ok()
        };
        assert!(check(Method::DELETE, None));
        assert!(check(Method::DELETE, Some("http://LocalHost:7711")));
        assert!(check(Method::GET, Some("https://evil.example")));
        for origin in
            ["null", "", "http://localhost", "http://localhost:3000", "https://evil.example"]
        {
            assert!(!check(Method::DELETE, Some(origin)), "{origin}");
        }
    }

    #[test]
    fn the_operators_listener_answers_to_addresses() {
        for host in
            ["127.0.0.1", "127.0.0.1:7711", "[::1]:7711", "[::1]", "localhost", "LocalHost:1"]
        {
            assert!(check_admin_host(host).is_ok(), "{host}");
        }
        for host in ["evil.example", "evil.example:7711", "127.0.0.1.evil.example", "", ":7711"] {
            assert_eq!(check_admin_host(host).unwrap_err().status(), 421, "{host}");
        }
    }
}
