//! What `Cache-Control` says, in an answer or in a request: RFC 9111 section 5.2.
//!
//! Pure: no I/O, no clock, no executor.

use http::{
    HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, PRAGMA},
};

/// More seconds than this are as many (section 1.2.2): 68 years.
pub(super) const LONGEST_SECONDS: u64 = 1 << 31;

/// The directives of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// Seconds an answer is fresh; of a request the age it takes.
    pub max_age: Option<u64>,
    /// The same, for shared caches only.
    pub s_maxage: Option<u64>,
    /// Nothing of it is to be kept.
    pub no_store: bool,
    /// It is not to be given again without asking.
    pub no_cache: bool,
    /// It is for one client.
    pub private: bool,
    /// It may be stored though it looks as if it might not.
    pub public: bool,
    /// Once stale it is not to be given without asking.
    pub must_revalidate: bool,
    /// `no-store` is only for caches that do not know the status.
    pub must_understand: bool,
    /// Seconds for which a stale one is given while it is asked for anew.
    pub stale_while_revalidate: Option<u64>,
    /// Seconds for which a stale one is given if the origin fails.
    pub stale_if_error: Option<u64>,
    /// Seconds of staleness that a client takes.
    pub max_stale: Option<u64>,
    /// Seconds of freshness that a client wants to be left.
    pub min_fresh: Option<u64>,
    /// The client wants what is stored or nothing.
    pub only_if_cached: bool,
}

impl Directives {
    /// Those of these fields.
    pub fn of(fields: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for value in fields.get_all(CACHE_CONTROL) {
            members(value.as_bytes()).for_each(|(name, value)| directives.take(&name, value));
        }
        let says_pragma = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"no-cache");
        // What clients of HTTP/1.0 have for it (section 5.4). Answers do not say it.
        directives.no_cache |=
            !fields.contains_key(CACHE_CONTROL) && fields.get_all(PRAGMA).iter().any(says_pragma);
        directives
    }

    fn take(&mut self, name: &str, value: Option<String>) {
        let seconds = || Some(seconds(value.as_deref().unwrap_or_default()));
        match name {
            "max-age" => self.max_age = self.max_age.or_else(seconds),
            "s-maxage" => self.s_maxage = self.s_maxage.or_else(seconds),
            "stale-while-revalidate" => {
                self.stale_while_revalidate = self.stale_while_revalidate.or_else(seconds);
            }
            "stale-if-error" => self.stale_if_error = self.stale_if_error.or_else(seconds),
            "min-fresh" => self.min_fresh = self.min_fresh.or_else(seconds),
            // Without a value any staleness is taken.
            "max-stale" if value.is_none() => self.max_stale = Some(LONGEST_SECONDS),
            "max-stale" => self.max_stale = self.max_stale.or_else(seconds),
            "no-store" => self.no_store = true,
            // Those that name fields count as if they did not: that forbids more.
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "public" => self.public = true,
            "must-revalidate" | "proxy-revalidate" => self.must_revalidate = true,
            "must-understand" => self.must_understand = true,
            "only-if-cached" => self.only_if_cached = true,
            _ => {}
        }
    }
}

/// The members of a list of directives, names in small letters, values without their quotes.
fn members(list: &[u8]) -> impl Iterator<Item = (String, Option<String>)> {
    let text = String::from_utf8_lossy(list).into_owned();
    let mut members = Vec::new();
    let mut member = String::new();
    let mut characters = text.chars();
    let mut is_quoted = false;
    while let Some(character) = characters.next() {
        match character {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted => member.extend(characters.next()),
            ',' if !is_quoted => members.push(std::mem::take(&mut member)),
            other => member.push(other),
        }
    }
    members.push(member);
    members.into_iter().map(|member| match member.split_once('=') {
        Some((name, value)) => (name.trim().to_ascii_lowercase(), Some(value.trim().to_owned())),
        None => (member.trim().to_ascii_lowercase(), None),
    })
}

/// Seconds; what are none are 0, which is the careful reading.
fn seconds(text: &str) -> u64 {
    number(text).unwrap_or(0)
}

/// Digits, up to a bound.
pub(super) fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(LONGEST_SECONDS).min(LONGEST_SECONDS))
}
