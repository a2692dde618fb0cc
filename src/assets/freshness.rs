//! Whether a stored answer may be given again, and which answers may be stored: RFC 9111, for a
//! shared cache.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Where the RFC leaves a choice:
//!
//! - Without explicit freshness a tenth of the time since `Last-Modified` counts, at most a day, and
//!   `media_ttl` where there is no such date (section 4.2.2 leaves that to the cache). For media,
//!   which seldom change, it is always `media_ttl`.
//! - What a client asks for in `Cache-Control` counts: it costs the origin one conditional request,
//!   however many clients ask at the same time.
//! - A stale answer is given while the origin cannot be reached (section 4.2.4 allows that to a
//!   cache that is disconnected), and where it answers 5xx only if `stale-if-error` says so. Media
//!   are given in both cases. `must-revalidate`, `proxy-revalidate` and `no-cache` forbid it;
//!   `s-maxage` does, unless `stale-if-error` allows it by name.
//! - Two values of a directive: the first counts. A value that is no number is 0; an `Age` that is
//!   none, or more than one, is that of something old.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
        CONTENT_RANGE, COOKIE, DATE, ETAG, EXPIRES, LAST_MODIFIED, PRAGMA, SET_COOKIE, VARY,
    },
};

use super::Head;

/// No guess of a lifetime is longer, in seconds.
const GUESS_SECONDS: u64 = 24 * 60 * 60;

/// More seconds than this are as many (section 1.2.2): 68 years.
const LONGEST_SECONDS: u64 = 1 << 31;

/// What an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// To be passed on as it came.
    Original,
    /// To be decoded, or looked into.
    Media,
}

/// What `Cache-Control` says, in an answer or in a request.
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
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(LONGEST_SECONDS).min(LONGEST_SECONDS))
}

/// What may be done with a stored answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is given.
    Fresh,
    /// It is given, and asked for anew behind that.
    Behind,
    /// It is asked for anew first.
    Stale,
}

/// A stored answer, at a moment, for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// What may be done with it.
    pub verdict: Verdict,
    /// Its age in seconds.
    pub age: u64,
    /// Seconds for which it stays fresh; negative where it is not.
    pub ttl: i64,
}

/// How an attempt to ask anew failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The origin answered with a status of 5xx.
    Answered,
    /// There was no answer.
    Unreachable,
}

/// Judges a stored answer for a request with `wishes`, at `now` in seconds of Unix time.
pub fn judge(head: &Head, use_: Use, wishes: &Directives, media_ttl: u64, now: u64) -> Judgement {
    let said = Directives::of(&head.fields);
    let (age, lifetime) = (head.age(now), lifetime(head, use_, media_ttl));
    let ttl = lifetime as i64 - age as i64;
    let is_wanted = match use_ {
        Use::Original => {
            !wishes.no_cache
                && wishes.max_age.is_none_or(|most| age <= most)
                && wishes.min_fresh.is_none_or(|least| ttl >= least as i64)
        }
        Use::Media => true,
    };
    let staleness = u64::try_from(-ttl).unwrap_or(0);
    let must_ask = said.no_cache || said.must_revalidate;
    let is_taken_stale = use_ == Use::Original
        && !must_ask
        && said.s_maxage.is_none()
        && wishes.max_stale.is_some_and(|most| staleness <= most);
    let is_lent = !must_ask && said.stale_while_revalidate.is_some_and(|most| staleness <= most);
    let verdict = match ttl > 0 && !said.no_cache {
        _ if !is_wanted => Verdict::Stale,
        true => Verdict::Fresh,
        false if is_taken_stale => Verdict::Fresh,
        false if is_lent => Verdict::Behind,
        false => Verdict::Stale,
    };
    Judgement { verdict, age, ttl }
}

/// Whether a stored answer may be given after an attempt to ask anew came to nothing.
pub fn survives(head: &Head, use_: Use, trouble: Trouble, media_ttl: u64, now: u64) -> bool {
    let said = Directives::of(&head.fields);
    if said.no_cache || said.must_revalidate {
        return false;
    }
    let staleness = head.age(now).saturating_sub(lifetime(head, use_, media_ttl));
    match (said.stale_if_error, trouble) {
        (Some(most), _) => staleness <= most,
        (None, _) if said.s_maxage.is_some() => false,
        (None, Trouble::Unreachable) => true,
        (None, Trouble::Answered) => use_ == Use::Media,
    }
}

/// How long an answer is fresh from its making, in seconds (section 4.2.1).
pub fn lifetime(head: &Head, use_: Use, media_ttl: u64) -> u64 {
    explicit_lifetime(head).unwrap_or_else(|| match use_ {
        Use::Media if head.status == 200 => media_ttl,
        _ => guessed_lifetime(head, media_ttl),
    })
}

fn explicit_lifetime(head: &Head) -> Option<u64> {
    let said = Directives::of(&head.fields);
    said.s_maxage.or(said.max_age).or_else(|| {
        let expires = head.fields.get(EXPIRES)?;
        // What is no date, `0` most of all, is a date in the past (section 5.3).
        Some(date(expires).map_or(0, |expires| expires.saturating_sub(head.made())))
    })
}

fn guessed_lifetime(head: &Head, media_ttl: u64) -> u64 {
    let is_public = Directives::of(&head.fields).public;
    if !is_guessable(head.status) && !is_public {
        return 0;
    }
    match head.fields.get(LAST_MODIFIED).and_then(date) {
        Some(modified) => (head.made().saturating_sub(modified) / 10).min(GUESS_SECONDS),
        // An error that says nothing of its life is over when it was said.
        None if head.status == 200 => media_ttl,
        None => 0,
    }
}

/// Who may have an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Everybody, from the cache.
    Stored,
    /// Those who waited for it when it came.
    Waiting,
    /// The one who asked.
    Alone,
}

/// Who may have an answer (section 3). `asked` are the fields of the request that it answers.
///
/// What may not be stored only because nothing says how long it lasts, an error most of all, does
/// for all who waited for it: an origin that fails is not asked by each of them.
pub fn share(head: &Head, asked: &HeaderMap, use_: Use, media_ttl: u64) -> Share {
    let (said, wishes) = (Directives::of(&head.fields), Directives::of(asked));
    let knows = is_guessable(head.status) || matches!(head.status, 302 | 303 | 307);
    let no_store = if said.must_understand { !knows } else { said.no_store };
    let is_for_one = said.private
        || head.fields.contains_key(SET_COOKIE)
        || ((asked.contains_key(AUTHORIZATION) || asked.contains_key(COOKIE))
            && !said.public
            && !said.must_revalidate
            && said.s_maxage.is_none());
    if no_store || wishes.no_store || is_for_one || varies_by_more_than_fields(&head.fields) {
        return Share::Alone;
    }
    let may = said.public || explicit_lifetime(head).is_some() || is_guessable(head.status);
    let has_validator = head.fields.contains_key(ETAG) || head.fields.contains_key(LAST_MODIFIED);
    // What could neither be given again nor be validated is not worth its place.
    let is_of_use = head.status == 200 || has_validator || lifetime(head, use_, media_ttl) > 0;
    if may && is_of_use { Share::Stored } else { Share::Waiting }
}

/// The statuses whose lifetime may be guessed (RFC 9110 section 15.1).
fn is_guessable(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

// --- Vary ------------------------------------------------------------------------------------

fn varies_by_more_than_fields(fields: &HeaderMap) -> bool {
    names(fields).any(|name| name == "*")
}

/// The names in `Vary`, in small letters.
fn names(fields: &HeaderMap) -> impl Iterator<Item = String> + '_ {
    let values = fields.get_all(VARY).iter();
    values.flat_map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        let names: Vec<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
        names.into_iter().filter(|name| !name.is_empty())
    })
}

/// The fields of a request that chose an answer with these `fields`, to be kept with it.
pub fn selecting(fields: &HeaderMap, asked: &HeaderMap) -> HeaderMap {
    let mut selecting = HeaderMap::new();
    for name in names(fields).filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()) {
        if !selecting.contains_key(&name) {
            asked.get_all(&name).iter().for_each(|value| {
                selecting.append(name.clone(), value.clone());
            });
        }
    }
    selecting
}

/// Whether a stored answer was chosen as a request with the fields `asked` would (section 4.1).
pub fn is_selected(head: &Head, asked: &HeaderMap) -> bool {
    secondary(&head.fields, asked) == secondary(&head.fields, &head.selecting)
}

/// What tells a request's answer from others of its URL, where they vary as those `fields` say.
pub fn secondary(fields: &HeaderMap, asked: &HeaderMap) -> String {
    let mut names: Vec<_> = names(fields).collect();
    names.sort_unstable();
    names.dedup();
    let lines = names.iter().map(|name| format!("{name}: {}\n", normal(asked, name)));
    lines.collect()
}

/// All values of a field as one, without what blanks make of it.
fn normal(asked: &HeaderMap, name: &str) -> String {
    let mut values = Vec::new();
    for value in asked.get_all(name) {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
        values.extend(members.map(str::to_owned));
    }
    values.join(",")
}

// --- Time ------------------------------------------------------------------------------------

impl Head {
    /// Its age at `now` in seconds (section 4.2.3).
    pub fn age(&self, now: u64) -> u64 {
        let mut ages = self.fields.get_all(AGE).iter();
        let said = match (ages.next(), ages.next()) {
            (None, _) => 0,
            (Some(age), None) => age.to_str().ok().and_then(number).unwrap_or(LONGEST_SECONDS),
            (Some(_), Some(_)) => LONGEST_SECONDS,
        };
        let said = said + self.answered.saturating_sub(self.asked);
        let apparent = self.answered.saturating_sub(self.made());
        apparent.max(said) + now.saturating_sub(self.answered)
    }

    /// When it was made at its origin, in seconds of Unix time.
    pub fn made(&self) -> u64 {
        self.fields.get(DATE).and_then(date).unwrap_or(self.answered)
    }

    /// What it is once an answer of 304 with these fields has come for it (section 3.2).
    #[must_use]
    pub fn refreshed(&self, fields: &HeaderMap, asked: u64, answered: u64) -> Self {
        let mut head = Self { asked, answered, ..self.clone() };
        // Of the answer that was validated, not of the one that says so.
        head.fields.remove(AGE);
        for name in fields.keys().filter(|name| !describes_stored_bytes(name)) {
            head.fields.remove(name);
            for value in fields.get_all(name) {
                head.fields.append(name.clone(), value.clone());
            }
        }
        if !fields.contains_key(DATE) {
            head.fields.insert(DATE, http_date(answered));
        }
        head
    }
}

/// What an answer without a body says of one is not about the bytes that are here. Nor is another
/// tag: the origin was asked about this one, and said yes.
fn describes_stored_bytes(name: &HeaderName) -> bool {
    [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG].contains(name) || *name == "content-md5"
}

fn date(value: &HeaderValue) -> Option<u64> {
    let time = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// A time as HTTP writes it.
pub fn http_date(unix_seconds: u64) -> HeaderValue {
    // 9999-01-01: beyond is what no date of HTTP says.
    let since = Duration::from_secs(unix_seconds.min(253_370_764_800));
    let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since);
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// Takes out what is about a connection and not about what came over it (section 3.1).
pub fn end_to_end(fields: &mut HeaderMap) {
    let named: Vec<_> = fields
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named {
        fields.remove(name);
    }
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ] {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000;
    const TTL: u64 = 600;

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in pairs {
            fields.append(*name, HeaderValue::from_str(value).unwrap());
        }
        fields
    }

    /// An answer that came just now.
    fn head(pairs: &[(&'static str, &str)]) -> Head {
        Head { fields: fields(pairs), asked: NOW, answered: NOW, ..Head::default() }
    }

    fn cache_control(text: &str) -> Head {
        head(&[("cache-control", text)])
    }

    fn after(head: &Head, seconds: u64) -> Verdict {
        judge(head, Use::Original, &Directives::default(), TTL, NOW + seconds).verdict
    }

    fn wishes(text: &str) -> Directives {
        Directives::of(&fields(&[("cache-control", text)]))
    }

    fn shared(head: &Head) -> Share {
        share(head, &HeaderMap::new(), Use::Original, TTL)
    }

    fn stored(head: &Head) -> bool {
        shared(head) == Share::Stored
    }

    #[test]
    fn an_answer_is_fresh_for_as_long_as_it_says() {
        for (text, life) in [
            ("max-age=60", 60),
            ("max-age=\"60\"", 60),
            ("MAX-AGE=60", 60),
            ("public,max-age=60 , max-age=5", 60),
            ("max-age=600, s-maxage=60", 60),
            ("a=\"max-age=7, \\\" s-maxage=9\", max-age=60", 60),
            ("max-age=99999999999999999999", LONGEST_SECONDS),
            ("max-age=sixty", 0),
            ("max-age=-1", 0),
            ("max-age=1.5", 0),
            ("max-age", 0),
        ] {
            assert_eq!(lifetime(&cache_control(text), Use::Original, TTL), life, "{text}");
        }
        assert_eq!(after(&cache_control("max-age=60"), 59), Verdict::Fresh);
        assert_eq!(after(&cache_control("max-age=60"), 60), Verdict::Stale);
    }

    #[test]
    fn a_date_of_expiry_counts_from_the_date_of_the_answer() {
        let at = |seconds: u64| http_date(seconds).to_str().unwrap().to_owned();
        let made = head(&[("date", &at(NOW - 100)), ("expires", &at(NOW + 200))]);
        assert_eq!(lifetime(&made, Use::Original, TTL), 300);
        assert_eq!((after(&made, 199), after(&made, 200)), (Verdict::Fresh, Verdict::Stale));
        assert_eq!(lifetime(&head(&[("expires", &at(NOW + 9))]), Use::Original, TTL), 9);
        for past in ["0", "never", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            assert_eq!(lifetime(&head(&[("expires", past)]), Use::Original, TTL), 0, "{past}");
        }
        let both = head(&[("expires", &at(NOW + 9)), ("cache-control", "max-age=60")]);
        assert_eq!(lifetime(&both, Use::Original, TTL), 60);
    }

    #[test]
    fn without_a_word_of_it_freshness_is_guessed() {
        let at = |seconds: u64| http_date(seconds).to_str().unwrap().to_owned();
        let modified = |ago: u64| head(&[("last-modified", &at(NOW - ago))]);
        assert_eq!(lifetime(&modified(1000), Use::Original, TTL), 100);
        assert_eq!(lifetime(&modified(1000 * GUESS_SECONDS), Use::Original, TTL), GUESS_SECONDS);
        assert_eq!(lifetime(&modified(1000), Use::Media, TTL), TTL);
        assert_eq!(lifetime(&head(&[]), Use::Original, TTL), TTL);
        let not_found = Head { status: 404, ..head(&[]) };
        assert_eq!(lifetime(&not_found, Use::Original, TTL), 0);
        let forbidden = Head { status: 403, ..modified(1000) };
        assert_eq!(lifetime(&forbidden, Use::Original, TTL), 0);
    }

    #[test]
    fn an_age_is_what_was_said_and_what_passed() {
        let mut aged = head(&[("age", "30"), ("cache-control", "max-age=60")]);
        assert_eq!((aged.age(NOW), aged.age(NOW + 5)), (30, 35));
        aged.asked = NOW - 4;
        assert_eq!(aged.age(NOW), 34);
        let date = http_date(NOW - 50);
        aged.fields.insert(DATE, date);
        assert_eq!(aged.age(NOW), 50);
        aged.fields.remove(AGE);
        assert_eq!(aged.age(NOW - 100), 50, "a clock that was set back");
        for unclear in [&["x"][..], &["-1"], &["1.5"], &["0, 0"], &["0", "7"], &["1;a=b"]] {
            let pairs: Vec<_> = unclear.iter().map(|age| ("age", *age)).collect();
            assert!(head(&pairs).age(NOW) >= LONGEST_SECONDS, "{unclear:?}");
        }
    }

    #[test]
    fn what_must_be_asked_for_is_asked_for() {
        assert_eq!(after(&cache_control("no-cache, max-age=60"), 0), Verdict::Stale);
        assert_eq!(after(&cache_control("no-cache=\"set-cookie\", max-age=60"), 0), Verdict::Stale);
        let lent = cache_control("max-age=60, stale-while-revalidate=10");
        assert_eq!(after(&lent, 59), Verdict::Fresh);
        assert_eq!(after(&lent, 70), Verdict::Behind);
        assert_eq!(after(&lent, 71), Verdict::Stale);
        let strict = cache_control("max-age=60, stale-while-revalidate=10, must-revalidate");
        assert_eq!(after(&strict, 61), Verdict::Stale);
    }

    #[test]
    fn the_wishes_of_a_client_count() {
        let stored = cache_control("max-age=60");
        let judged = |wish: &str, seconds| {
            judge(&stored, Use::Original, &wishes(wish), TTL, NOW + seconds).verdict
        };
        assert_eq!(judged("no-cache", 0), Verdict::Stale);
        assert_eq!(
            (judged("max-age=10", 10), judged("max-age=10", 11)),
            (Verdict::Fresh, Verdict::Stale)
        );
        assert_eq!(
            (judged("min-fresh=10", 50), judged("min-fresh=10", 51)),
            (Verdict::Fresh, Verdict::Stale)
        );
        assert_eq!(
            (judged("max-stale=10", 70), judged("max-stale=10", 71)),
            (Verdict::Fresh, Verdict::Stale)
        );
        assert_eq!(judged("max-stale", 9999), Verdict::Fresh);
        let media = judge(&stored, Use::Media, &wishes("no-cache"), TTL, NOW);
        assert_eq!(media.verdict, Verdict::Fresh);
        let strict = cache_control("s-maxage=60");
        let judged = judge(&strict, Use::Original, &wishes("max-stale"), TTL, NOW + 61);
        assert_eq!(judged.verdict, Verdict::Stale);
        let pragma = Directives::of(&fields(&[("pragma", "No-Cache")]));
        assert!(pragma.no_cache && wishes("only-if-cached").only_if_cached);
    }

    #[test]
    fn a_failing_origin_leaves_what_may_be_left() {
        use Trouble::{Answered, Unreachable};
        let left = |text: &str, use_, trouble, seconds| {
            survives(&cache_control(text), use_, trouble, TTL, NOW + seconds)
        };
        assert!(left("max-age=1", Use::Original, Unreachable, 1000));
        assert!(!left("max-age=1", Use::Original, Answered, 2));
        assert!(left("max-age=1", Use::Media, Answered, 2));
        assert!(left("max-age=1, stale-if-error=9", Use::Original, Answered, 10));
        assert!(!left("max-age=1, stale-if-error=9", Use::Original, Unreachable, 11));
        assert!(left("s-maxage=1, stale-if-error=9", Use::Original, Answered, 10));
        for strict in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=1"] {
            let text = format!("max-age=1, {strict}");
            assert!(!left(&text, Use::Media, Unreachable, 2), "{strict}");
        }
    }

    #[test]
    fn only_what_may_be_shared_is_stored() {
        assert!(stored(&head(&[])) && stored(&cache_control("max-age=0")));
        for never in ["no-store", "private", "private=\"x\"", "No-Store, max-age=60"] {
            assert_eq!(shared(&cache_control(never)), Share::Alone, "{never}");
        }
        let understood = cache_control("no-store, must-understand, max-age=9");
        assert!(stored(&understood));
        assert_eq!(shared(&Head { status: 599, ..understood }), Share::Alone);
        let cookie = head(&[("set-cookie", "a=b"), ("cache-control", "max-age=9")]);
        assert_eq!(shared(&cookie), Share::Alone);
        assert_eq!(shared(&head(&[("vary", "accept, *")])), Share::Alone);
        let with = |asked: &[(&'static str, &str)], text| {
            share(&cache_control(text), &fields(asked), Use::Original, TTL) == Share::Stored
        };
        let secret = [("authorization", "Basic x")];
        assert!(!with(&secret, "max-age=60"));
        assert!(!with(&[("cookie", "id=1")], "max-age=60"), "as personal as a password");
        for shared in ["public", "s-maxage=60", "must-revalidate, max-age=60"] {
            assert!(with(&secret, shared), "{shared}");
        }
        assert!(!with(&[("cache-control", "no-store")], "max-age=60"));
    }

    #[test]
    fn a_status_is_stored_if_it_says_so_or_has_a_life_to_guess() {
        let with = |status, text: &str| stored(&Head { status, ..cache_control(text) });
        for status in [302, 307, 403, 404, 410, 500, 503] {
            assert!(with(status, "max-age=60"), "{status}");
            let silent = Head { status, ..cache_control("x") };
            assert_eq!(shared(&silent), Share::Waiting, "{status}");
        }
        let modified = http_date(NOW - 1000).to_str().unwrap().to_owned();
        let dated = |status| Head { status, ..head(&[("last-modified", &modified)]) };
        assert!(stored(&dated(404)) && stored(&dated(301)) && !stored(&dated(403)));
    }

    #[test]
    fn an_answer_is_for_requests_like_the_one_that_chose_it() {
        let asked = fields(&[("accept-language", "de , fr"), ("x", "1")]);
        let mut head = head(&[("vary", "Accept-Language"), ("vary", "accept , x-absent")]);
        head.selecting = selecting(&head.fields, &asked);
        assert_eq!(head.selecting, fields(&[("accept-language", "de , fr")]));
        for (name, value, is_same) in [
            ("accept-language", "de,fr", true),
            ("accept-language", "fr,de", false),
            ("accept-language", "en", false),
            ("y", "x", false),
        ] {
            assert_eq!(is_selected(&head, &fields(&[(name, value)])), is_same, "{value}");
        }
        let more = fields(&[("accept-language", "de,fr"), ("x-absent", "here")]);
        assert!(!is_selected(&head, &more));
        let lines = fields(&[("accept-language", "de"), ("accept-language", "fr"), ("x", "2")]);
        assert!(is_selected(&head, &lines));
    }

    #[test]
    fn a_304_renews_what_it_says_and_nothing_of_the_bytes() {
        let old = head(&[("etag", "\"a\""), ("age", "9"), ("content-encoding", "x"), ("x", "1")]);
        let says = [
            ("cache-control", "max-age=5"),
            ("content-encoding", "y"),
            ("content-length", "0"),
            ("etag", "\"b\""),
            ("x", "2"),
        ];
        let new = old.refreshed(&fields(&says), NOW + 7, NOW + 8);
        let date = http_date(NOW + 8);
        let expected = [
            ("etag", "\"a\""),
            ("content-encoding", "x"),
            ("x", "2"),
            ("cache-control", "max-age=5"),
            ("date", date.to_str().unwrap()),
        ];
        assert_eq!(new.fields, fields(&expected));
        assert_eq!((new.asked, new.answered, new.age(NOW + 8)), (NOW + 7, NOW + 8, 1));
    }

    #[test]
    fn what_is_about_a_connection_is_not_kept() {
        let mut some = fields(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "1"),
            ("x", "1"),
        ]);
        end_to_end(&mut some);
        assert_eq!(some, fields(&[("x", "1")]));
    }

    /// Bytes from outside: whatever they are, they are read to an end.
    #[test]
    fn any_text_is_read() {
        use crate::storage::random::Random;
        let mut random = Random(1);
        let parts =
            ["max-age", "=", ",", "\"", "\\", " ", "9", "no-store", "\t", ";", "é", "s-maxage"];
        for _ in 0..20_000 {
            let text: String =
                (0..8).map(|_| parts[random.below(parts.len() as u64) as usize]).collect();
            let mut fields = HeaderMap::new();
            fields.insert(CACHE_CONTROL, HeaderValue::from_bytes(text.as_bytes()).unwrap());
            let head = Head { fields, ..Head::default() };
            judge(&head, Use::Original, &Directives::default(), TTL, random.below(NOW));
        }
    }
}
