//! Redirects: where an origin may send a request on to.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! An origin is configured by a person, the target of its redirect by nobody. So a redirect never
//! leads from TLS to plain text, never to another scheme than HTTP, and takes the configured
//! headers (credentials, most of all) no further than the host they were meant for. The address
//! behind the new host is checked where it is connected to, like every other.

use http::HeaderValue;
use url::Url;

/// Longer targets are no targets: request lines of this length are refused by most servers.
const TARGET_BYTES: usize = 8 << 10;

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRedirect {
    /// There is no `Location`, more than one, or none that can be read.
    #[error("no readable target")]
    Target,
    /// The scheme is neither `http` nor `https`.
    #[error("scheme is not HTTP")]
    Scheme,
    /// From `https` to `http`.
    #[error("target gives up TLS")]
    Downgrade,
    /// The target was already visited.
    #[error("loop")]
    Loop,
    /// More than the allowed number.
    #[error("too many")]
    TooMany,
}

/// The way of one request from host to host.
#[derive(Debug)]
pub struct Hops {
    /// Every URL asked, the current one last. Never empty, never longer than `limit + 1`.
    visited: Vec<Url>,
    limit: usize,
    left_home: bool,
}

impl Hops {
    /// A request that starts at `url` and follows at most `limit` redirects.
    pub fn new(url: Url, limit: usize) -> Self {
        Self { visited: vec![url], limit, left_home: false }
    }

    /// The URL to ask now.
    pub fn url(&self) -> &Url {
        &self.visited[self.visited.len() - 1]
    }

    /// Whether the configured headers may go with the request.
    ///
    /// Once a foreign host was asked, it chose the rest of the way: a redirect that comes back
    /// must not ask what it pleases in the operator's name.
    pub fn at_home(&self) -> bool {
        !self.left_home
    }

    /// Moves on to the target of a redirect, whose `Location` fields are `locations`.
    ///
    /// # Errors
    /// The target is not followed; the request has failed. Nothing has moved.
    pub fn follow<'a>(
        &mut self,
        mut locations: impl Iterator<Item = &'a HeaderValue>,
    ) -> Result<(), BadRedirect> {
        let location = locations.next().ok_or(BadRedirect::Target)?;
        if locations.next().is_some() || location.len() > TARGET_BYTES {
            return Err(BadRedirect::Target);
        }
        let target = self.target(location.as_bytes())?;
        if self.visited.len() > self.limit {
            return Err(BadRedirect::TooMany);
        }
        if self.visited.contains(&target) {
            return Err(BadRedirect::Loop);
        }
        self.left_home |= target.origin() != self.url().origin();
        self.visited.push(target);
        Ok(())
    }

    fn target(&self, location: &[u8]) -> Result<Url, BadRedirect> {
        let text = std::str::from_utf8(location).map_err(|_| BadRedirect::Target)?;
        let mut target = self.url().join(text).map_err(|_| BadRedirect::Target)?;
        match (self.url().scheme(), target.scheme()) {
            ("https", "http") => return Err(BadRedirect::Downgrade),
            (_, "http" | "https") => {}
            _ => return Err(BadRedirect::Scheme),
        }
        // A fragment is not part of the request; a name and password would be the target's idea
        // of who we are.
        target.set_fragment(None);
        target.set_username("").map_err(|()| BadRedirect::Target)?;
        target.set_password(None).map_err(|()| BadRedirect::Target)?;
        Ok(target)
    }
}

/// Whether an answer of this status asks to go elsewhere (RFC 9110 section 15.4).
///
/// All five mean the same for a GET.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(url: &str) -> Hops {
        Hops::new(url.parse().unwrap(), 5)
    }

    fn go(hops: &mut Hops, location: &str) -> Result<String, BadRedirect> {
        let value = HeaderValue::from_bytes(location.as_bytes()).unwrap();
        hops.follow([&value].into_iter())?;
        Ok(hops.url().to_string())
    }

    #[test]
    fn targets_are_resolved_against_the_current_url() {
        let mut hops = hops("http://a.example/x/y?q=1");
        assert_eq!(go(&mut hops, "z#part").unwrap(), "http://a.example/x/z");
        assert_eq!(go(&mut hops, "/top").unwrap(), "http://a.example/top");
        assert_eq!(go(&mut hops, "//b.example/").unwrap(), "http://b.example/");
        assert_eq!(go(&mut hops, "https://b.example/s").unwrap(), "https://b.example/s");
    }

    #[test]
    fn tls_is_not_given_up_and_other_schemes_are_not_followed() {
        assert_eq!(go(&mut hops("https://a/"), "http://a/x"), Err(BadRedirect::Downgrade));
        for target in ["ftp://a/", "file:///etc/passwd", "gopher://a/", "javascript:1", "data:,x"] {
            assert_eq!(go(&mut hops("http://a/"), target), Err(BadRedirect::Scheme), "{target}");
        }
    }

    #[test]
    fn loops_end_at_the_first_repetition() {
        let mut hops = hops("http://a/1");
        go(&mut hops, "/2").unwrap();
        assert_eq!(go(&mut hops, "/1#again"), Err(BadRedirect::Loop));
        assert_eq!(go(&mut hops, "/2"), Err(BadRedirect::Loop));
    }

    #[test]
    fn the_limit_counts_redirects_not_requests() {
        let mut hops = hops("http://a/0");
        for step in 1..=5 {
            go(&mut hops, &format!("/{step}")).unwrap();
        }
        assert_eq!(go(&mut hops, "/6"), Err(BadRedirect::TooMany));
        let mut none = Hops::new("http://a/".parse().unwrap(), 0);
        assert_eq!(go(&mut none, "/1"), Err(BadRedirect::TooMany));
    }

    #[test]
    fn configured_headers_stay_at_home_even_after_a_way_back() {
        let mut hops = hops("https://a/");
        go(&mut hops, "/same").unwrap();
        assert!(hops.at_home());
        go(&mut hops, "https://a:8443/").unwrap();
        assert!(!hops.at_home(), "another port is another server");
        go(&mut hops, "https://a/admin").unwrap();
        assert!(!hops.at_home());
    }

    #[test]
    fn a_missing_a_double_and_an_unreadable_target_are_refused() {
        let value = HeaderValue::from_static("/x");
        assert_eq!(hops("http://a/").follow([].into_iter()), Err(BadRedirect::Target));
        let twice = [&value, &value].into_iter();
        assert_eq!(hops("http://a/").follow(twice), Err(BadRedirect::Target));
        for target in ["http://", "http://[::1", "http://a:99999/"] {
            assert_eq!(go(&mut hops("http://a/"), target), Err(BadRedirect::Target), "{target}");
        }
        let long = format!("/{}", "x".repeat(TARGET_BYTES));
        assert_eq!(go(&mut hops("http://a/"), &long), Err(BadRedirect::Target));
    }

    #[test]
    fn names_and_passwords_in_a_target_are_dropped() {
        assert_eq!(go(&mut hops("http://a/"), "http://me:secret@b/").unwrap(), "http://b/");
    }
}
