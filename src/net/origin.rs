//! Origins: where audio comes from, and what of them a request may name.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A client of the node names a path below an origin's base, never a host. What it names is read
//! once, here; whatever another reader behind us could read differently (a second decoding, a
//! backslash, dot segments) is refused rather than repaired.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{borrow::Cow, fmt};

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use url::{Host, Url, form_urlencoded};

use super::{address::is_allowed, error::Error};

/// One configured origin. Immutable; a changed configuration makes a new one.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The name it is asked for by (`NAME:path`).
    pub name: String,
    /// Where its paths begin. `http` or `https`; the path ends in `/`.
    pub base: Url,
    /// Networks that this origin may lie in although they are not public.
    pub allow_private: Vec<IpNet>,
    /// Sent with GET and HEAD, to the scheme, host and port of `base` only.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Added to the query of each request, likewise; no URL that is kept or shown has it.
    pub query: Secrets,
    /// What besides goes with requests for [keys](Self::for_keys) of presentations: before `headers` of the
    /// same names, and in the place of `query`.
    pub key_headers: Vec<(HeaderName, HeaderValue)>,
    /// Likewise.
    pub key_query: Secrets,
    /// Names of query parameters that do not make another resource (tokens).
    pub key_ignore: Vec<String>,
    /// A client's Authorization and Cookie go to it too.
    pub forward_credentials: bool,
    /// The port of this machine at which it listens, whatever its base says: an origin inside this
    /// process has one name at every start, and another port.
    pub loopback_port: Option<u16>,
    /// Whoever runs this process named the whole URL. Nothing of its path is refused, and what two
    /// readers could take for two things is sent as it was typed.
    pub free: bool,
}

/// Names and values of a query that are shown to nobody else.
#[derive(Clone, Default)]
pub struct Secrets(pub Vec<(String, String)>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of them", self.0.len())
    }
}

/// Why a URL cannot be the base of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBase {
    /// Neither `http` nor `https`, or no host.
    #[error("base must be an http or https URL with a host")]
    Scheme,
    /// A name or password would be shown wherever the URL is; they belong in `headers`.
    #[error("base must not hold a name or password: use headers = {{ authorization = .. }}")]
    Credentials,
    /// Paths are appended to the base, so it ends with its path.
    #[error("base must not have a query or fragment")]
    Query,
}

impl Origin {
    /// An origin without exceptions, headers or ignored names.
    ///
    /// # Errors
    /// The URL cannot be a base; the configuration is refused.
    pub fn new(name: impl Into<String>, mut base: Url) -> Result<Self, BadBase> {
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(BadBase::Scheme);
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(BadBase::Credentials);
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(BadBase::Query);
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let (allow_private, headers, key_headers, key_ignore) = Default::default();
        let (query, key_query) = Default::default();
        Ok(Self {
            name: name.into(),
            base,
            allow_private,
            headers,
            query,
            key_headers,
            key_query,
            key_ignore,
            forward_credentials: false,
            loopback_port: None,
            free: false,
        })
    }

    /// Takes every path: see [`free`](Self::free).
    #[must_use]
    pub fn free(mut self) -> Self {
        self.free = true;
        self
    }

    /// The same origin as it is asked for keys.
    #[must_use]
    pub fn for_keys(&self) -> Self {
        let mut origin = self.clone();
        origin.headers.retain(|(name, _)| self.key_headers.iter().all(|(own, _)| own != name));
        origin.headers.extend_from_slice(&self.key_headers);
        origin.query = self.key_query.clone();
        origin
    }

    /// Whether it was told how it is asked for keys.
    pub fn has_keys(&self) -> bool {
        !self.key_headers.is_empty() || !self.key_query.0.is_empty()
    }

    /// What is asked for in the place of `url`, which is one of its own: the same with its own query, before
    /// parameters of the same names.
    pub fn asked<'url>(&self, url: &'url Url) -> Cow<'url, Url> {
        if self.query.0.is_empty() {
            return Cow::Borrowed(url);
        }
        let is_own = |name: &str| self.query.0.iter().any(|(own, _)| *own == name);
        let pairs = url.query().into_iter().flat_map(|query| query.split('&'));
        let others: Vec<&str> = pairs.filter(|pair| !named(pair, is_own)).collect();
        let mut asked = url.clone();
        asked.set_query((!others.is_empty()).then(|| others.join("&")).as_deref());
        asked.query_pairs_mut().extend_pairs(&self.query.0);
        Cow::Owned(asked)
    }

    /// Has it asked at `port` of this machine: see [`loopback_port`](Self::loopback_port).
    #[must_use]
    pub fn on_loopback(mut self, port: u16) -> Self {
        self.allow_private.push(IpAddr::from(Ipv4Addr::LOCALHOST).into());
        self.loopback_port = Some(port);
        self
    }

    /// Allows the address that the base names literally.
    #[must_use]
    pub fn allow_literal(mut self) -> Self {
        self.allow_private.extend(literal_addresses(&self.base).into_iter().map(IpNet::from));
        self
    }

    /// The address that the base names literally, where it is none of those that may be connected
    /// to: every request would be refused.
    pub fn refused_literal(&self) -> Option<IpAddr> {
        let literal = literal_addresses(&self.base);
        let is_any_allowed = literal.iter().any(|at| is_allowed(*at, &self.allow_private));
        literal.first().copied().filter(|_| !is_any_allowed)
    }

    /// The canonical URL of a path (and query) below the base.
    ///
    /// Canonical is: percent-encoded where it must be and nowhere else, hex digits in capitals, no
    /// fragment, no default port. Two spellings of one path are one URL. Reserved characters keep
    /// their spelling, since `+` and `%2B` are two objects to some origins.
    ///
    /// # Errors
    /// [`Error::Path`]: a dot segment, an encoded slash or backslash, a control character, a bad
    /// or a double encoding. Nothing was asked; the client is at fault. Never for a path of a
    /// [`free`](Self::free) origin that comes out of a parsed URL.
    pub fn url(&self, path_and_query: &str) -> Result<Url, Error> {
        if path_and_query.bytes().any(|byte| byte.is_ascii_control() || byte == b'#') {
            return Err(Error::Path("control character or fragment"));
        }
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let path = path.strip_prefix('/').filter(|_| !self.free).unwrap_or(path);
        let path = match check_path(path) {
            Err(error) if !self.free => return Err(error),
            Err(_) => Cow::Borrowed(path),
            // Also of a free origin: its objects are found again by those who configure it.
            Ok(()) => Cow::Owned(canonical_path(path)),
        };
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        url.set_query(query);
        // The URL parser has its own ideas of a path; where they differ from ours, ours is wrong.
        if url.origin() != self.base.origin() || !url.path().starts_with(self.base.path()) {
            return Err(Error::Path("leaves the base"));
        }
        Ok(url)
    }

    /// What names the resource in the cache: its canonical URL without ignored query parameters.
    pub fn key<'url>(&self, url: &'url Url) -> Cow<'url, str> {
        let Some(query) = url.query().filter(|_| !self.key_ignore.is_empty()) else {
            return Cow::Borrowed(url.as_str());
        };
        let kept: Vec<&str> = query.split('&').filter(|pair| !self.ignores(pair)).collect();
        let mut key = url.clone();
        key.set_query((!kept.is_empty()).then(|| kept.join("&")).as_deref());
        Cow::Owned(key.into())
    }

    fn ignores(&self, pair: &str) -> bool {
        named(pair, |name| self.key_ignore.iter().any(|ignored| *ignored == name))
    }
}

/// Whether the name of a pair of a query is such a one.
fn named(pair: &str, is_such: impl FnOnce(&str) -> bool) -> bool {
    let pair = form_urlencoded::parse(pair.as_bytes()).next();
    pair.is_some_and(|(name, _)| is_such(&name))
}

/// The addresses that a URL names without any resolver: a literal one, or loopback for `localhost`
/// (which RFC 6761 section 6.3 makes as good as literal).
pub fn literal_addresses(url: &Url) -> Vec<IpAddr> {
    match url.host() {
        Some(Host::Ipv4(address)) => vec![address.into()],
        Some(Host::Ipv6(address)) => vec![IpAddr::V6(address).to_canonical()],
        Some(Host::Domain(name)) if name.trim_end_matches('.') == "localhost" => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        _ => vec![],
    }
}

/// Refuses every path that is not what it looks like.
fn check_path(path: &str) -> Result<(), Error> {
    let is_code = |after: &[u8]| matches!(after, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    if !path.as_bytes().split(|byte| *byte == b'%').skip(1).all(is_code) {
        return Err(Error::Path("bad percent encoding"));
    }
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    // More slashes than before is an encoded one.
    let slashes = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'/').count();
    if slashes(&decoded) != slashes(path.as_bytes()) {
        return Err(Error::Path("encoded slash"));
    }
    if decoded.iter().any(|byte| *byte == b'\\' || byte.is_ascii_control()) {
        return Err(Error::Path("backslash or control character"));
    }
    if decoded.split(|byte| *byte == b'/').any(is_dot_segment) {
        return Err(Error::Path("dot segment"));
    }
    if decoded.windows(3).any(is_dangerous_twice) {
        return Err(Error::Path("double encoding"));
    }
    Ok(())
}

/// `.`, `..`, also with a parameter behind it, which some servers cut off before they look.
fn is_dot_segment(segment: &[u8]) -> bool {
    let name = segment.split(|byte| *byte == b';').next().unwrap_or(segment);
    matches!(name, b"." | b"..")
}

/// An encoded `.`, `/`, `\`, `%` or control character left after decoding: an origin that decodes
/// twice would see through it.
fn is_dangerous_twice(code: &[u8]) -> bool {
    let &[b'%', high, low] = code else { return false };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (Some(high), Some(low)) = (digit(high), digit(low)) else { return false };
    matches!(high * 16 + low, 0x00..=0x1F | 0x25 | 0x2E | 0x2F | 0x5C | 0x7F)
}

/// The same path in its one spelling. `path` has been checked.
fn canonical_path(path: &str) -> String {
    let mut canonical = String::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => push_code(&mut canonical, hex_pair(&mut rest)),
            byte if is_path_byte(byte) => canonical.push(char::from(byte)),
            byte => push_escaped(&mut canonical, byte),
        }
    }
    canonical
}

fn hex_pair(rest: &mut impl Iterator<Item = u8>) -> u8 {
    rest.by_ref().take(2).fold(0, |value, digit| {
        value << 4 | char::from(digit).to_digit(16).map_or(0, |digit| digit as u8)
    })
}

/// An encoded byte: bare if it is unreserved (RFC 3986 section 2.3), else as it is.
fn push_code(canonical: &mut String, byte: u8) {
    if is_unreserved(byte) {
        canonical.push(char::from(byte));
    } else {
        push_escaped(canonical, byte);
    }
}

fn push_escaped(canonical: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    canonical.push('%');
    canonical.push(char::from(DIGITS[usize::from(byte >> 4)]));
    canonical.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// `pchar` of RFC 3986 section 3.3 without percent signs, and the slash.
fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/".contains(&byte)
}

/// Of the origins that have a URL the one whose base is longest, whatever their order.
pub fn nearest<'a>(origins: impl Iterator<Item = &'a Origin>, url: &Url) -> Option<&'a Origin> {
    let have = origins.filter(|origin| url.as_str().starts_with(origin.base.as_str()));
    have.max_by_key(|origin| origin.base.as_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(base: &str) -> Origin {
        Origin::new("test", base.parse().unwrap()).unwrap()
    }

    fn url(path: &str) -> Result<String, Error> {
        origin("https://cdn.example/audio").url(path).map(String::from)
    }

    #[test]
    fn paths_are_appended_to_the_base() {
        assert_eq!(url("a/b.mp3").unwrap(), "https://cdn.example/audio/a/b.mp3");
        assert_eq!(url("/a/b.mp3?x=1&y").unwrap(), "https://cdn.example/audio/a/b.mp3?x=1&y");
        assert_eq!(url("").unwrap(), "https://cdn.example/audio/");
        assert_eq!(url("//evil.example/").unwrap(), "https://cdn.example/audio//evil.example/");
        assert_eq!(url("https://evil/").unwrap(), "https://cdn.example/audio/https://evil/");
        assert_eq!(url("@evil").unwrap(), "https://cdn.example/audio/@evil");
    }

    #[test]
    fn two_spellings_are_one_url() {
        let one = url("caf%C3%A9%20x/%41~.mp3").unwrap();
        assert_eq!(one, "https://cdn.example/audio/caf%C3%A9%20x/A~.mp3");
        assert_eq!(url("café x/A%7e.mp3").unwrap(), one);
        assert_ne!(url("a%2Bb").unwrap(), url("a+b").unwrap(), "two objects to some origins");
        assert_eq!(url("a%3fb").unwrap(), "https://cdn.example/audio/a%3Fb");
        assert_eq!(url("100%25").unwrap(), "https://cdn.example/audio/100%25");
    }

    #[test]
    fn canonical_is_a_fixed_point() {
        for path in ["a b", "%41", "a%2bb%3f", "x;y=z", "[1]", "é", "a:b@c", "%25x"] {
            let once = canonical_path(path);
            assert_eq!(canonical_path(&once), once, "{path}");
        }
    }

    #[test]
    fn keys_are_asked_for_with_what_is_told_for_them() {
        let field = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let mut told = origin("https://cdn.example/");
        told.headers = vec![field("authorization", "all"), field("x-a", "all")];
        told.key_headers = vec![field("authorization", "keys"), field("x-b", "keys")];
        told.key_query = Secrets(vec![("token".to_owned(), "a&b".to_owned())]);
        assert!(told.has_keys() && !origin("https://cdn.example/").has_keys());
        let url: Url = "https://cdn.example/k?x=%2F&token=theirs&y".parse().unwrap();
        assert_eq!(*told.asked(&url), url);
        let keys = told.for_keys();
        assert_eq!(keys.asked(&url).as_str(), "https://cdn.example/k?x=%2F&y&token=a%26b");
        let plain = "https://cdn.example/k".parse().unwrap();
        assert_eq!(keys.asked(&plain).as_str(), "https://cdn.example/k?token=a%26b");
        let sent = [field("x-a", "all"), field("authorization", "keys"), field("x-b", "keys")];
        assert_eq!(keys.headers, sent);
        assert!(!format!("{told:?}").contains("a&b"));
    }

    #[test]
    fn no_path_leaves_the_base() {
        for path in [
            "..",
            "../x",
            "a/../../x",
            "a/..",
            ".",
            "./x",
            "a/./b",
            "%2e%2e/x",
            "%2E./x",
            ".%2e",
            "%2e",
            "..;/x",
            "..;a=b/x",
            "%2e%2e%3b/x",
            "..%2fx",
            "..%2Fx",
            "a%2fb",
            "%2f..%2f",
            "..\\x",
            "a\\b",
            "..%5cx",
            "%5C",
            "a%00b",
            "%00",
            "a%0ab",
            "a%0d%0aHost:x",
            "a%1fb",
            "a%7fb",
            "a\tb",
            "a\nb",
            "a\r\nb",
            "a\0b",
            "x#y",
            "%252e%252e/x",
            "%252E",
            "a%252fb",
            "a%255cb",
            "a%2500b",
            "%25%32%65",
            "%2525%32%65",
            "a%250ab",
            "%",
            "%2",
            "%zz",
            "%2g",
            "a%",
            "%u002e%u002e/x",
            "%c0%ae/..",
        ] {
            assert!(matches!(url(path), Err(Error::Path(_))), "{path:?} gave {:?}", url(path));
        }
    }

    #[test]
    fn what_was_typed_as_a_whole_is_taken_as_it_is() {
        let free = origin("http://a.example/").free();
        for path in ["a%2Fb%2fc.mp3", "100%2525", "..;/x", "a%5Cb", "/x//y", "a%00"] {
            assert_eq!(free.url(path).unwrap().as_str(), format!("http://a.example/{path}"));
        }
        // What is one path to every reader keeps its one spelling.
        assert_eq!(
            free.url("caf%c3%a9?x=%2f").unwrap().as_str(),
            "http://a.example/caf%C3%A9?x=%2f"
        );
    }

    /// Random texts of the dangerous characters: what is let through stays below the base.
    #[test]
    fn whatever_passes_stays_below_the_base() {
        let parts =
            ["..", ".", "/", "%2e", "%2f", "\\", "%5c", "a", ";", "?", "%25", "//", "@", ":"];
        let (mut seed, mut passed) = (1u64, 0);
        for _ in 0..20_000 {
            let mut path = String::new();
            for _ in 0..6 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                path.push_str(parts[(seed >> 33) as usize % parts.len()]);
            }
            let Ok(url) = url(&path) else { continue };
            passed += 1;
            assert!(url.starts_with("https://cdn.example/audio/"), "{path} gave {url}");
            let path_sent = url.split('?').next().unwrap();
            assert!(!path_sent.split('/').any(|segment| segment == ".."), "{path} gave {url}");
        }
        assert!(passed > 100, "{passed}");
    }

    #[test]
    fn ignored_parameters_do_not_make_another_key() {
        let mut origin = origin("http://a.example/");
        origin.key_ignore = vec!["token".into(), "e x".into()];
        let key = |text: &str| origin.key(&origin.url(text).unwrap()).into_owned();
        assert_eq!(key("x?token=1"), "http://a.example/x");
        assert_eq!(key("x?a=1&token=2&b=3&e+x=4&%74oken"), "http://a.example/x?a=1&b=3");
        assert_eq!(key("x?tokens=1"), "http://a.example/x?tokens=1");
        assert_ne!(key("x?a=1&b=2"), key("x?b=2&a=1"), "order may matter to the origin");
    }

    #[test]
    fn a_base_is_http_without_secrets_or_query() {
        let new = |base: &str| Origin::new("x", base.parse().unwrap()).map(|_| ());
        assert_eq!(new("ftp://a/"), Err(BadBase::Scheme));
        assert_eq!(new("data:text,x"), Err(BadBase::Scheme));
        assert_eq!(new("http://me@a/"), Err(BadBase::Credentials));
        assert_eq!(new("http://a/?x"), Err(BadBase::Query));
        assert_eq!(origin("http://a:80/x").base.as_str(), "http://a/x/");
    }

    #[test]
    fn a_base_that_names_a_private_address_is_known_before_it_is_asked() {
        let refused = |base: &str| origin(base).refused_literal().map(|at| at.to_string());
        assert_eq!(refused("http://10.0.0.7:8000/").as_deref(), Some("10.0.0.7"));
        assert_eq!(refused("http://[::1]/").as_deref(), Some("::1"));
        assert_eq!(refused("http://localhost/").as_deref(), Some("127.0.0.1"));
        assert_eq!((refused("http://1.1.1.1/"), refused("http://nas.lan/")), (None, None));
        assert_eq!(origin("http://10.0.0.7/").allow_literal().refused_literal(), None);
        let mut one = origin("http://localhost/");
        one.allow_private = vec!["::1/128".parse().unwrap()];
        assert_eq!(one.refused_literal(), None, "one of two is enough");
    }

    #[test]
    fn a_literal_base_allows_its_own_address() {
        let allowed = |base: &str| {
            let nets = origin(base).allow_literal().allow_private;
            nets.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(allowed("http://127.0.0.1:80/"), ["127.0.0.1/32"]);
        assert_eq!(allowed("http://[::1]:80/"), ["::1/128"]);
        assert_eq!(allowed("http://localhost/"), ["127.0.0.1/32", "::1/128"]);
        assert!(allowed("http://example.com/").is_empty());
    }

    #[test]
    fn a_url_is_of_the_nearest_origin() {
        let origin = |base: &str| Origin::new(base, Url::parse(base).unwrap()).unwrap();
        let mut origins = ["http://a/", "http://a/b/c/", "http://a/b/", "http://x/"].map(origin);
        let of = |origins: &[Origin], url| {
            let url = Url::parse(url).unwrap();
            nearest(origins.iter(), &url).map(|origin| origin.name.clone())
        };
        for _ in 0..2 {
            assert_eq!(of(&origins, "http://a/b/c/d").as_deref(), Some("http://a/b/c/"));
            assert_eq!(of(&origins, "http://a/b/cd").as_deref(), Some("http://a/b/"));
            assert_eq!(of(&origins, "http://a/d?e").as_deref(), Some("http://a/"));
            assert_eq!(of(&origins, "http://b/"), None);
            origins.reverse();
        }
    }
}
